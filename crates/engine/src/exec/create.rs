//! `POST /containers/{id}/exec`.

use engine_api::container::attach::detach_keys;
use engine_api::error::{ApiError, Result};
use engine_api::json;
use engine_api::types::ExecConfig;
use os::View;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;
use crate::state::Container;

impl Engine {
    /// The operation.
    pub(crate) async fn exec_create(&self, mut context: Context) -> Result<Response> {
        let config: ExecConfig = context.json().await?;
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            return Err(ApiError::invalid("No exec command specified"));
        }
        let container = self.find_container(context.param(0))?;
        check_active(&container, context.param(0))?;
        detach_keys(&config.detach_keys).map_err(|_| {
            ApiError::system(format!(
                "Invalid escape keys ({}) provided",
                config.detach_keys
            ))
        })?;
        if !config.user.is_empty() {
            let init = container.running()?.init();
            self.resolve_user(&config.user, View::Task(init)).await?;
        }
        let exec = self.new_exec(&container, config);
        Ok(json::emit(201, &serde_json::json!({ "Id": exec.id() })))
    }
}

/// Processes are started only in containers that run; `shown` is how a paused one is named.
pub(super) fn check_active(container: &Container, shown: &str) -> Result<()> {
    let data = container.data.borrow();
    if !data.state.restarting {
        container.running()?;
    }
    if data.state.paused {
        return Err(ApiError::conflict(format!(
            "Container {shown} is paused, unpause the container before exec"
        )));
    }
    if data.state.restarting {
        return Err(ApiError::conflict(format!(
            "Container {} is restarting, wait until the container is running",
            container.id
        )));
    }
    Ok(())
}
