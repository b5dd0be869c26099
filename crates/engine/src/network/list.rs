//! `GET /networks`.

use engine_api::error::{ApiError, Result};
use engine_api::types::Network;
use engine_api::{Filters, json};
use serve::Response;

use super::is_built_in;
use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation.
    pub(crate) async fn network_list(&self, context: Context) -> Result<Response> {
        let filters = Filters::parse(context.query.text("filters"))?;
        filters.accept(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
        let dangling = filters.boolean("dangling").map_err(|_| {
            ApiError::invalid(
                "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")",
            )
        })?;
        if let Some(value) = filters
            .values("type")
            .find(|value| !["builtin", "custom"].contains(value))
        {
            return Err(ApiError::invalid(format!(
                "invalid filter: 'type'='{value}'"
            )));
        }
        let kind = |network: &Network| match is_built_in(&network.name) {
            true => "builtin",
            false => "custom",
        };
        let networks: Vec<Network> = self.networks.borrow().values().cloned().collect();
        let rows: Vec<Network> = networks
            .into_iter()
            .filter(|network| {
                // Docker does not look who is on them when it lists.
                let unused = !is_built_in(&network.name);
                filters.any("name", |value| network.name.contains(value))
                    && filters.any("id", |value| network.id.starts_with(value))
                    && filters.exact("driver", &network.driver)
                    && filters.exact("scope", &network.scope)
                    && filters.exact("type", kind(network))
                    && dangling.is_none_or(|wanted| wanted == unused)
                    && filters.labels(&network.labels)
            })
            .collect();
        Ok(json::emit(200, &rows))
    }
}
