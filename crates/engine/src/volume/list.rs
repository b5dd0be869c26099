//! `GET /volumes`.

use engine_api::error::Result;
use engine_api::json;
use engine_api::types::Volume;
use engine_api::volume::list::{VolumeList, parse};
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation.
    pub(crate) async fn volume_list(&self, context: Context) -> Result<Response> {
        let filters = parse(&context.query)?;
        let dangling = filters.boolean("dangling")?;
        let none = std::collections::BTreeMap::new();
        let all: Vec<Volume> = self.volumes.borrow().values().cloned().collect();
        let volumes = all
            .into_iter()
            .filter(|volume| {
                dangling.is_none_or(|wanted| self.users_of(&volume.name).is_empty() == wanted)
                    && filters.any("name", |value| volume.name.contains(value))
                    && filters.exact("driver", "local")
                    && filters.labels(volume.labels.as_ref().unwrap_or(&none))
            })
            .collect();
        Ok(json::emit(
            200,
            &VolumeList {
                volumes,
                warnings: None,
            },
        ))
    }
}
