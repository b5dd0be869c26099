//! Networks. There are the three every Docker has; containers get a loopback interface and nothing
//! else until a later version, and `bridge` says so by having no subnet.

use engine_api::error::{ApiError, Result};
use engine_api::{Filters, json, timestamp};
use serde_json::{Value, json};
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;
use crate::state::Container;

/// Name and driver of each network.
const NETWORKS: [(&str, &str); 3] = [("bridge", "bridge"), ("host", "host"), ("none", "null")];

/// The id of a network: the same for the life of a daemon.
pub(crate) fn id_of(daemon: &str, name: &str) -> String {
    if NETWORKS.iter().all(|(known, _)| *known != name) {
        return String::new();
    }
    oci::Digest::of(format!("{daemon} network {name}").as_bytes()).hex()
}

impl Engine {
    /// Refuses a network that is not there.
    pub(crate) fn check_network(&self, mode: &str) -> Result<()> {
        let known =
            mode.starts_with("container:") || NETWORKS.iter().any(|(name, _)| *name == mode);
        match known {
            true => Ok(()),
            false => Err(ApiError::not_found(format!("network {mode} not found"))),
        }
    }

    /// Says that a container has joined or left its network.
    pub(crate) fn say_network(&self, container: &Container, action: &str) {
        let mode = container.data.borrow().host_config.network_mode.clone();
        if let Some((name, driver)) = NETWORKS.into_iter().find(|(name, _)| *name == mode) {
            let more = [
                ("container", container.id.as_str()),
                ("name", name),
                ("type", driver),
            ];
            self.network_event(action, &id_of(&self.id, name), more);
        }
    }

    fn network(&self, name: &str, driver: &str, detailed: bool) -> Value {
        let containers: serde_json::Map<String, Value> = self
            .all_containers()
            .iter()
            .filter(|container| detailed && container.is_running())
            .filter(|container| container.data.borrow().host_config.network_mode == name)
            .map(|container| {
                let entry = json!({
                    "Name": container.name(),
                    "EndpointID": "",
                    "MacAddress": "",
                    "IPv4Address": "",
                    "IPv6Address": "",
                });
                (container.id.clone(), entry)
            })
            .collect();
        json!({
            "Name": name,
            "Id": id_of(&self.id, name),
            "Created": timestamp::format(0),
            "Scope": "local",
            "Driver": driver,
            "EnableIPv6": false,
            "IPAM": { "Driver": "default", "Options": null, "Config": [] },
            "Internal": false,
            "Attachable": false,
            "Ingress": false,
            "ConfigFrom": { "Network": "" },
            "ConfigOnly": false,
            "Containers": containers,
            "Options": {},
            "Labels": {},
        })
    }

    /// `GET /networks`.
    pub(crate) async fn network_list(&self, context: Context) -> Result<Response> {
        let filters = Filters::parse(context.query.text("filters"))?;
        filters.accept(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
        let dangling = filters.boolean("dangling")?;
        let rows: Vec<Value> = NETWORKS
            .into_iter()
            .filter(|(name, driver)| {
                filters.any("name", |value| name.contains(value))
                    && filters.any("id", |value| id_of(&self.id, name).starts_with(value))
                    && filters.exact("driver", driver)
                    && filters.exact("scope", "local")
                    && filters.exact("type", "builtin")
                    && dangling != Some(true)
                    && filters.labels(&std::collections::BTreeMap::new())
            })
            .map(|(name, driver)| self.network(name, driver, false))
            .collect();
        Ok(json::emit(200, &rows))
    }

    fn find_network(&self, typed: &str) -> Result<(&'static str, &'static str)> {
        let found = NETWORKS.into_iter().find(|(name, _)| {
            *name == typed || !typed.is_empty() && id_of(&self.id, name).starts_with(typed)
        });
        found.ok_or_else(|| ApiError::not_found(format!("network {typed} not found")))
    }

    /// `GET /networks/{id}`.
    pub(crate) async fn network_inspect(&self, context: Context) -> Result<Response> {
        let (name, driver) = self.find_network(context.param(0))?;
        Ok(json::emit(200, &self.network(name, driver, true)))
    }

    /// `DELETE /networks/{id}`.
    pub(crate) async fn network_delete(&self, context: Context) -> Result<Response> {
        let (name, _) = self.find_network(context.param(0))?;
        Err(ApiError::forbidden(format!(
            "{name} is a pre-defined network and cannot be removed"
        )))
    }

    /// `POST /networks/prune`.
    pub(crate) async fn network_prune(&self, _context: Context) -> Result<Response> {
        self.prune_event("network", 0);
        Ok(json::emit(200, &json!({ "NetworksDeleted": null })))
    }
}
