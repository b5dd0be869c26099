//! `POST /exec/{id}/resize`.

use engine_api::error::{ApiError, Result};
use engine_api::exec::Resize;
use engine_api::json;
use os::WindowSize;
use serve::{Body, Response};

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation.
    pub(crate) async fn exec_resize(&self, context: Context) -> Result<Response> {
        let Resize { rows, cols } = Resize::parse(&context.query)?;
        let exec = self.find_exec(context.param(0))?;
        if exec.exit_code.get().is_some() {
            return Err(ApiError::not_found(format!(
                "NotFound: process does not exist {}: not found",
                exec.id
            )));
        }
        let console = exec.console.borrow().clone();
        if let Some(console) = console {
            console
                .set_window_size(WindowSize { rows, cols })
                .map_err(|errno| {
                    ApiError::system(format!("cannot resize: {}", errno.go_description()))
                })?;
        }
        Ok(json::response(200, Body::empty(), None))
    }
}
