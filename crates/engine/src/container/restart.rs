//! `POST /containers/{id}/restart`: stop, if it runs, and start.

use engine_api::container::stop::Stop;
use engine_api::error::{ApiError, Class, Result};
use engine_api::json;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation.
    pub(crate) async fn container_restart(&self, context: Context) -> Result<Response> {
        let container = self.find_container(context.param(0))?;
        let stop = Stop::parse(&context.query)?;
        // With --rm the end would be the end of everything; Docker keeps it for a restart.
        let auto_remove = container.data.borrow().host_config.auto_remove;
        container.data.borrow_mut().host_config.auto_remove = false;
        let stopped = match container.is_running() {
            true => self.stop(&container, stop).await,
            false => Ok(()),
        };
        container.data.borrow_mut().host_config.auto_remove = auto_remove;
        let started = match stopped {
            Ok(()) => self.start(&container).await,
            Err(error) => Err(error),
        };
        if let Err(error) = started
            && error.class != Class::NotModified
        {
            return Err(ApiError::system(format!(
                "Cannot restart container {}: {}",
                context.param(0),
                error.message
            )));
        }
        self.container_event(&container, "restart", &[]);
        Ok(json::no_content())
    }
}
