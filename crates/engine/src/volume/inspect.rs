//! `GET /volumes/{name}`.

use engine_api::error::Result;
use engine_api::json;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation.
    pub(crate) async fn volume_inspect(&self, context: Context) -> Result<Response> {
        Ok(json::emit(200, &self.find_volume(context.param(0))?))
    }
}
