//! `POST /build/prune`: there is no builder in this version, so there is never a build cache to remove.

use engine_api::error::Result;
use engine_api::json;
use serde_json::json;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    pub(crate) async fn build_prune(&self, _context: Context) -> Result<Response> {
        Ok(json::emit(
            200,
            &json!({ "CachesDeleted": null, "SpaceReclaimed": 0 }),
        ))
    }
}
