//! `POST /containers/{id}/exec`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use engine_api::container::attach::detach_keys;
use engine_api::error::{ApiError, Result};
use engine_api::json;
use engine_api::types::ExecConfig;
use serve::Response;

use super::Exec;
use crate::Engine;
use crate::dispatch::Context;
use crate::streams::Streams;

/// Ended processes that are remembered, so that their exit code can be asked for.
const REMEMBERED: usize = 256;

impl Engine {
    /// The operation.
    pub(crate) async fn exec_create(&self, context: Context) -> Result<Response> {
        let container = self.find_container(context.param(0))?;
        let config: ExecConfig = json::read(context.body).await?;
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            return Err(ApiError::invalid("No exec command specified"));
        }
        detach_keys(&config.detach_keys)?;
        container.running()?;
        if container.data.borrow().state.paused {
            return Err(ApiError::conflict(format!(
                "container {} is paused, unpause the container before exec",
                container.id
            )));
        }
        let id = self.os.rng().hex(32);
        let exec = Rc::new(Exec {
            id: id.clone(),
            container: container.id.clone(),
            config,
            running: Cell::default(),
            started: Cell::default(),
            exit_code: Cell::default(),
            pid: Cell::default(),
            console: RefCell::default(),
            streams: Streams::default(),
        });
        let action = format!("exec_create: {}", exec.command());
        self.container_event(&container, &action, &[("execID", id.clone())]);
        let mut execs = self.execs.borrow_mut();
        if execs.len() >= REMEMBERED {
            let ended = |exec: &Rc<Exec>| exec.started.get() && !exec.running.get();
            let oldest = execs
                .iter()
                .find(|(_, exec)| ended(exec))
                .map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                execs.remove(&oldest);
            }
        }
        execs.insert(id.clone(), exec);
        Ok(json::emit(201, &serde_json::json!({ "Id": id })))
    }
}
