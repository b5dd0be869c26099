//! `POST /build/cancel`: ends a build by its id. Builds over a connection of their own end with it, so there is
//! nothing to look up: as in Docker, an id that is not known is no error.

use engine_api::error::{ApiError, Result};
use engine_api::json;
use serve::{Body, Response};

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation.
    pub(crate) async fn build_cancel(&self, context: Context) -> Result<Response> {
        match context.query.text("id") {
            "" => Err(ApiError::system("build ID not provided")),
            _ => Ok(json::response(200, Body::empty(), Some("application/json"))),
        }
    }
}
