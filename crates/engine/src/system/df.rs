//! `GET /system/df`.

use engine_api::error::{ApiError, Result};
use engine_api::image::list::List;
use engine_api::types::Volume;
use engine_api::{Filters, json, timestamp};
use serde_json::json;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation. `type` asks for parts.
    pub(crate) async fn system_disk_usage(&self, context: Context) -> Result<Response> {
        let wanted = context.query.all("type");
        let known = ["container", "image", "volume", "build-cache"];
        if let Some(other) = wanted.iter().find(|kind| !known.contains(&kind.as_str())) {
            return Err(ApiError::invalid(format!("unknown object type: {other}")));
        }
        let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|kind| kind == part);
        let mut answer = json!({ "LayersSize": 0, "Images": null, "Containers": null, "Volumes": null,
            "BuildCache": null });
        let serialize = |value: serde_json::Result<serde_json::Value>| value.unwrap_or_default();
        if wants("image") {
            let list = List {
                all: true,
                shared_size: true,
                filters: Filters::default(),
            };
            answer["LayersSize"] = json!(self.store.layers_size());
            answer["Images"] = serialize(serde_json::to_value(self.image_summaries(&list)?));
        }
        if wants("container") {
            let rows: Vec<_> = self
                .all_containers()
                .iter()
                .map(|container| self.summary(container, true))
                .collect();
            answer["Containers"] = serialize(serde_json::to_value(rows));
        }
        if wants("volume") {
            let volumes: Vec<Volume> = self.volumes.borrow().values().cloned().collect();
            let volumes: Vec<Volume> = volumes
                .into_iter()
                .map(|volume| self.with_usage(volume))
                .collect();
            answer["Volumes"] = serialize(serde_json::to_value(volumes));
        }
        if wants("build-cache") {
            let rows = self.build_cache_entries().into_iter();
            let rows = rows.map(|(id, entry, size, shared)| {
                json!({
                    "ID": &id.hex()[..25],
                    "Type": "regular",
                    "Description": entry.description,
                    "InUse": false,
                    "Shared": shared,
                    "Size": size,
                    "CreatedAt": timestamp::format(entry.created),
                    "LastUsedAt": timestamp::format(entry.used),
                    "UsageCount": entry.usage_count,
                })
            });
            answer["BuildCache"] = serde_json::Value::Array(rows.collect());
        }
        Ok(json::emit(200, &answer))
    }
}
