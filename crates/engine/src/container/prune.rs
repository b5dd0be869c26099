//! `POST /containers/prune`.

use engine_api::container::prune::Prune;
use engine_api::error::Result;
use engine_api::json;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation.
    pub(crate) async fn container_prune(&self, context: Context) -> Result<Response> {
        let prune = Prune::parse(&context.query, &["label", "label!", "until"], self.now())?;
        let (mut deleted, mut reclaimed) = (Vec::new(), 0);
        for container in self.all_containers() {
            let wanted = {
                let data = container.data.borrow();
                !data.state.running
                    && prune.until.is_none_or(|until| data.created_nanos < until)
                    && prune.filters.labels(&data.config.labels)
            };
            if !wanted {
                continue;
            }
            let size = self.store.size_rw(&container.id).unwrap_or(0);
            if self.remove(&container, false, false).await.is_ok() {
                reclaimed += size;
                deleted.push(container.id.clone());
            }
        }
        let deleted = if deleted.is_empty() {
            serde_json::Value::Null
        } else {
            deleted.into()
        };
        let answer =
            serde_json::json!({ "ContainersDeleted": deleted, "SpaceReclaimed": reclaimed });
        self.prune_event("container", reclaimed);
        Ok(json::emit(200, &answer))
    }
}
