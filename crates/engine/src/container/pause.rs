//! `POST /containers/{id}/pause` and `…/unpause`.

use std::rc::Rc;

use engine_api::error::{ApiError, Result};
use engine_api::json;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;
use crate::state::Container;

impl Engine {
    /// Freezes.
    pub(crate) async fn container_pause(&self, context: Context) -> Result<Response> {
        let container = self.find_container(context.param(0))?;
        let state = container.data.borrow().state.clone();
        if state.paused {
            return Err(ApiError::conflict(format!(
                "Container {} is already paused",
                container.id
            )));
        }
        if state.restarting {
            return Err(ApiError::conflict(format!(
                "Container {} is restarting, wait until the container is running",
                container.id
            )));
        }
        self.freeze(&container)?;
        Ok(json::no_content())
    }

    /// Freezes a container that runs.
    pub(crate) fn freeze(&self, container: &Rc<Container>) -> Result<()> {
        let failed =
            |error| ApiError::system(format!("cannot pause container {}: {error}", container.id));
        container.running()?.pause().map_err(failed)?;
        container.update(&self.os, |data| data.state.paused = true);
        container.end_health();
        self.container_event(container, "pause", &[]);
        Ok(())
    }

    /// Thaws.
    pub(crate) async fn container_unpause(&self, context: Context) -> Result<Response> {
        let container = self.find_container(context.param(0))?;
        if !container.data.borrow().state.paused {
            return Err(ApiError::system(format!(
                "Container {} is not paused",
                container.id
            )));
        }
        self.thaw(&container)?;
        Ok(json::no_content())
    }

    /// Thaws a container that is frozen.
    pub(crate) fn thaw(&self, container: &Rc<Container>) -> Result<()> {
        let failed = |error| {
            ApiError::system(format!(
                "Cannot unpause container {}: {error}",
                container.id
            ))
        };
        container.running()?.resume().map_err(failed)?;
        container.update(&self.os, |data| data.state.paused = false);
        self.watch_health(container);
        self.container_event(container, "unpause", &[]);
        Ok(())
    }
}
