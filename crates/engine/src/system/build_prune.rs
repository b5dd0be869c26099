//! `POST /build/prune`: forgets what builds would find again.

use engine_api::error::Result;
use engine_api::json;
use serde_json::json;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    pub(crate) async fn build_prune(&self, context: Context) -> Result<Response> {
        let (removed, reclaimed) = self.prune_build_cache(context.query.flag("all"));
        self.prune_event("builder", reclaimed);
        let removed = (!removed.is_empty()).then_some(removed);
        Ok(json::emit(
            200,
            &json!({ "CachesDeleted": removed, "SpaceReclaimed": reclaimed }),
        ))
    }
}
