//! `POST /containers/{id}/resize`: the size of its terminal.

use engine_api::container::resize::Resize;
use engine_api::error::{ApiError, Result};
use engine_api::json;
use os::WindowSize;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation.
    pub(crate) async fn container_resize(&self, context: Context) -> Result<Response> {
        let Resize { rows, cols } = Resize::parse(&context.query)?;
        let container = self.find_container(context.param(0))?;
        container.running()?;
        let console = container
            .live
            .borrow()
            .as_ref()
            .and_then(|live| live.console.clone());
        if let Some(console) = console {
            console
                .set_window_size(WindowSize { rows, cols })
                .map_err(|errno| {
                    ApiError::system(format!("cannot resize: {}", errno.go_description()))
                })?;
        }
        let more = [("height", rows.to_string()), ("width", cols.to_string())];
        self.container_event(&container, "resize", &more);
        Ok(json::response(200, serve::Body::empty(), None))
    }
}
