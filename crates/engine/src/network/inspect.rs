//! `GET /networks/{id}`.

use engine_api::error::Result;
use engine_api::json;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation.
    pub(crate) async fn network_inspect(&self, context: Context) -> Result<Response> {
        let network = self.find_network(context.param(0))?;
        Ok(json::emit(200, &self.describe_network(network)))
    }
}
