//! `DELETE /networks/{id}`.

use engine_api::error::{ApiError, Result};
use engine_api::json;
use engine_api::types::Network;
use serve::Response;

use super::is_built_in;
use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation.
    pub(crate) async fn network_delete(&self, context: Context) -> Result<Response> {
        let network = self.find_network(context.param(0))?;
        self.remove_network(&network)?;
        Ok(json::no_content())
    }

    /// Removes a network that no running container is on.
    pub(crate) fn remove_network(&self, network: &Network) -> Result<()> {
        let Network { name, id, .. } = network;
        if is_built_in(name) {
            return Err(ApiError::forbidden(format!(
                "{name} is a pre-defined network and cannot be removed"
            )));
        }
        if !self.endpoints_of(name).is_empty() {
            return Err(ApiError::forbidden(format!(
                "error while removing network: network {name} id {id} has active endpoints"
            )));
        }
        if network.config_only {
            let networks = self.networks.borrow();
            if networks
                .values()
                .any(|other| other.config_from.network == *name)
            {
                return Err(ApiError::forbidden(format!(
                    "error while removing network: configuration network \"{name}\" is in use"
                )));
            }
        }
        match network.driver.as_str() {
            "bridge" => self.remove_bridge(network),
            _ => self.remove_parent(network),
        }
        self.chosen_subnets.borrow_mut().remove(id);
        self.networks.borrow_mut().remove(name);
        self.save_networks();
        let more = [("name", name.as_str()), ("type", &network.driver)];
        self.network_event("destroy", id, &more);
        Ok(())
    }
}
