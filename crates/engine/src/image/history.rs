//! `GET /images/{name}/history`.

use engine_api::error::Result;
use engine_api::image::platform::platform;
use engine_api::types::HistoryItem;
use engine_api::{Version, json, timestamp};
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation: newest step first. Images that were pulled have ids for their newest step only.
    pub(crate) async fn image_history(&self, context: Context) -> Result<Response> {
        let image = self.find_image_for(
            context.param(0),
            platform(&context.query, context.version, Version(1, 48))?.as_ref(),
        )?;
        let mut layers = image.chain.iter();
        let mut rows: Vec<HistoryItem> = Vec::new();
        for item in &image.config.history {
            let layer = if item.empty_layer {
                None
            } else {
                layers.next()
            };
            let size = layer
                .and_then(|chain| self.store.graph().get(chain))
                .map_or(0, |layer| layer.size);
            let created = item
                .created
                .as_deref()
                .and_then(timestamp::parse_rfc3339)
                .unwrap_or(0);
            rows.push(HistoryItem {
                comment: item.comment.clone().unwrap_or_default(),
                created: (created / 1_000_000_000) as i64,
                created_by: item.created_by.clone().unwrap_or_default(),
                id: "<missing>".to_string(),
                size,
                tags: None,
            });
        }
        rows.reverse();
        let mut next = Some(image);
        for row in &mut rows {
            let Some(image) = next else { break };
            row.id = image.id.to_string();
            row.tags = (!image.repo_tags.is_empty()).then_some(image.repo_tags);
            next = image.parent.and_then(|parent| self.store.image(&parent));
        }
        Ok(json::emit(200, &rows))
    }
}
