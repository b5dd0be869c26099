//! `POST /images/prune`.

use engine_api::container::prune::Prune;
use engine_api::error::Result;
use engine_api::json;
use serve::Response;

use super::created;
use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation: dangling images, or with `dangling=false` all that no container has.
    pub(crate) async fn image_prune(&self, context: Context) -> Result<Response> {
        let known = ["dangling", "label", "label!", "until"];
        let prune = Prune::parse(&context.query, &known, self.now())?;
        let dangling = prune.filters.boolean("dangling")?.unwrap_or(true);
        let before = self.store.layers_size();
        let mut deleted = Vec::new();
        for image in self.store.images() {
            let wanted = (!dangling || image.repo_tags.is_empty())
                && prune.until.is_none_or(|until| created(&image) < until)
                && prune.filters.labels(&image.config.config.labels)
                && self.users_of_image(&image).is_empty()
                && self.store.children(&image.id).is_empty();
            if wanted {
                deleted.extend(self.prune_image(&image)?);
            }
        }
        let reclaimed = before.saturating_sub(self.store.layers_size());
        let deleted = match deleted.is_empty() {
            true => serde_json::Value::Null,
            false => serde_json::to_value(&deleted).unwrap_or_default(),
        };
        let answer = serde_json::json!({ "ImagesDeleted": deleted, "SpaceReclaimed": reclaimed });
        self.prune_event("image", reclaimed);
        Ok(json::emit(200, &answer))
    }
}
