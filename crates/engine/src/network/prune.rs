//! `POST /networks/prune`.

use engine_api::container::prune::Prune;
use engine_api::error::Result;
use engine_api::json;
use engine_api::timestamp;
use engine_api::types::Network;
use serve::Response;

use super::is_built_in;
use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation: users' networks that no container is on, running or not.
    pub(crate) async fn network_prune(&self, context: Context) -> Result<Response> {
        let prune = Prune::parse(&context.query, &["label", "label!", "until"], self.now())?;
        let networks: Vec<Network> = self.networks.borrow().values().cloned().collect();
        let mut deleted = Vec::new();
        for network in networks {
            let created = timestamp::parse_rfc3339(&network.created).unwrap_or(0);
            let used = self.all_containers().iter().any(|container| {
                let data = container.data.borrow();
                data.networking.endpoints_config.contains_key(&network.name)
            });
            // Docker leaves networks without a driver of their own.
            if is_built_in(&network.name)
                || network.config_only
                || used
                || prune.until.is_some_and(|until| created >= until)
                || !prune.filters.labels(&network.labels)
            {
                continue;
            }
            if self.remove_network(&network).is_ok() {
                deleted.push(network.name);
            }
        }
        self.prune_event("network", 0);
        let deleted = (!deleted.is_empty()).then_some(deleted);
        let answer = serde_json::json!({ "NetworksDeleted": deleted });
        Ok(json::emit(200, &answer))
    }
}
