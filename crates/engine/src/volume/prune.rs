//! `POST /volumes/prune`.

use engine_api::container::prune::Prune;
use engine_api::error::Result;
use engine_api::types::Volume;
use engine_api::{Version, json};
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation: anonymous volumes, or with `all=true` (and for old clients) named ones too.
    pub(crate) async fn volume_prune(&self, context: Context) -> Result<Response> {
        let prune = Prune::parse(&context.query, &["all", "label", "label!"], self.now())?;
        let all = prune
            .filters
            .boolean("all")?
            .unwrap_or(context.version < Version(1, 42));
        let none = std::collections::BTreeMap::new();
        let volumes: Vec<Volume> = self.volumes.borrow().values().cloned().collect();
        let (mut deleted, mut reclaimed) = (Vec::new(), 0);
        for volume in volumes {
            let labels = volume.labels.as_ref().unwrap_or(&none);
            let anonymous = labels.contains_key("com.docker.volume.anonymous");
            if !(all || anonymous) || !prune.filters.labels(labels) {
                continue;
            }
            let size = self.directory_size(&volume.mountpoint);
            if self.remove_volume(&volume.name).is_ok() {
                reclaimed += size;
                deleted.push(volume.name);
            }
        }
        let answer = serde_json::json!({ "VolumesDeleted": deleted, "SpaceReclaimed": reclaimed });
        self.prune_event("volume", reclaimed);
        Ok(json::emit(200, &answer))
    }
}
