//! `POST /containers/{id}/kill`: a signal.

use engine_api::container::kill::parse_signal;
use engine_api::error::{ApiError, Result};
use engine_api::json;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;
use crate::state::Container;

const SIGKILL: u32 = 9;

impl Engine {
    /// The operation.
    pub(crate) async fn container_kill(&self, context: Context) -> Result<Response> {
        let name = context.param(0).to_string();
        self.kill(context).await.map_err(|error| ApiError {
            message: format!("cannot kill container: {name}: {}", error.message),
            ..error
        })
    }

    async fn kill(&self, context: Context) -> Result<Response> {
        let signal = match context.query.text("signal") {
            "" => SIGKILL,
            text => parse_signal(text)?,
        };
        let container = self.find_container(context.param(0))?;
        let not_running =
            |_| ApiError::conflict(format!("container {} is not running", container.id));
        if container.data.borrow().state.restarting {
            self.cancel_restart(&container);
            container.wait_stopped().await;
            return Ok(json::no_content());
        }
        container.running().map_err(not_running)?;
        if signal == SIGKILL || signal == Engine::stop_signal(&container) {
            container.update(&self.os, |data| data.has_been_manually_stopped = true);
        }
        self.signal(&container, signal)?;
        if signal == SIGKILL {
            container.wait_stopped().await;
        }
        Ok(json::no_content())
    }

    /// Sends a signal to the first process. A frozen container is thawed, so that it can act on it.
    pub(crate) fn signal(&self, container: &Container, signal: u32) -> Result<()> {
        let runtime = container.running()?;
        runtime.kill(signal).map_err(|error| {
            ApiError::system(format!("cannot kill container: {}: {error}", container.id))
        })?;
        if container.data.borrow().state.paused && runtime.resume().is_ok() {
            container.update(&self.os, |data| data.state.paused = false);
        }
        self.container_event(container, "kill", &[("signal", signal.to_string())]);
        Ok(())
    }
}
