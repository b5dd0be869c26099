//! `POST /networks/create`.

use std::net::Ipv4Addr;

use engine_api::error::{ApiError, Result};
use engine_api::types::{Ipam, IpamConfig, Network, NetworkCreateBody};
use engine_api::{json, timestamp};
use os::View;
use serve::Response;

use super::subnet::{Subnet, pools};
use super::{BRIDGE_NAME, Plan, is_built_in};
use crate::Engine;
use crate::dispatch::Context;

/// The drivers of Docker that Drydock does not have.
const ABSENT_DRIVERS: [&str; 3] = ["macvlan", "ipvlan", "overlay"];

impl Engine {
    /// The operation.
    pub(crate) async fn network_create(&self, mut context: Context) -> Result<Response> {
        let body: NetworkCreateBody = context.json().await?;
        let id = self.create_network(body)?;
        Ok(json::emit(
            201,
            &serde_json::json!({ "Id": id, "Warning": "" }),
        ))
    }

    fn create_network(&self, body: NetworkCreateBody) -> Result<String> {
        let name = body.name.trim();
        if is_built_in(name) {
            return Err(ApiError::forbidden(format!(
                "operation is not permitted on predefined {name} network"
            )));
        }
        if name.is_empty() {
            return Err(ApiError::invalid("invalid name: name is empty"));
        }
        if self.networks.borrow().contains_key(name) {
            return Err(ApiError::conflict(format!(
                "network with name {name} already exists"
            )));
        }
        let driver = match body.driver.as_str() {
            "" | "bridge" => "bridge",
            "host" | "null" => {
                return Err(ApiError::forbidden(format!(
                    "only one instance of \"{}\" network is allowed",
                    body.driver
                )));
            }
            other if ABSENT_DRIVERS.contains(&other) => {
                return Err(ApiError::unsupported(format!("the network driver {other}")));
            }
            other => {
                return Err(ApiError::not_found(format!("plugin \"{other}\" not found")));
            }
        };
        for (asked, what) in [
            (body.enable_ipv6 == Some(true), "IPv6 of networks"),
            (body.ingress || body.config_only, "networks of a swarm"),
        ] {
            if asked {
                return Err(ApiError::unsupported(what));
            }
        }
        let ipam = body.ipam.unwrap_or_default();
        if !matches!(ipam.driver.as_str(), "" | "default") {
            return Err(ApiError::invalid(format!(
                "invalid ipam driver: {}",
                ipam.driver
            )));
        }
        let (config, chosen) = self.addresses(ipam.config.unwrap_or_default())?;
        let network = Network {
            name: name.to_string(),
            id: self.os.rng().hex(32),
            created: timestamp::format(self.now()),
            scope: "local".to_string(),
            driver: driver.to_string(),
            ipam: Ipam {
                driver: "default".to_string(),
                options: Some(ipam.options.unwrap_or_default()),
                config: Some(vec![config]),
            },
            internal: body.internal,
            attachable: body.attachable,
            options: body.options.unwrap_or_default(),
            labels: body.labels.unwrap_or_default(),
            ..Network::default()
        };
        self.check_bridge_name(&network)?;
        if let Err(error) = self.make_bridge(&network) {
            self.remove_bridge(&network);
            return Err(error);
        }
        if chosen {
            self.chosen_subnets.borrow_mut().insert(network.id.clone());
        }
        let id = network.id.clone();
        let more = [("name", network.name.clone()), ("type", driver.to_string())];
        self.networks
            .borrow_mut()
            .insert(network.name.clone(), network);
        self.save_networks();
        let more = more.each_ref().map(|(key, value)| (*key, value.as_str()));
        self.network_event("create", &id, &more);
        Ok(id)
    }

    /// The addresses asked for, made complete; and whether the subnet was said.
    fn addresses(&self, asked: Vec<IpamConfig>) -> Result<(IpamConfig, bool)> {
        if asked.len() > 1 {
            return Err(ApiError::unsupported("a network with several subnets"));
        }
        let mut config = asked.into_iter().next().unwrap_or_default();
        let chosen = !config.subnet.is_empty();
        let invalid = |text: &str| {
            ApiError::invalid(format!(
                "invalid network config:\ninvalid subnet {text}: invalid CIDR block notation"
            ))
        };
        let subnet = match chosen {
            true => Subnet::parse(&config.subnet).ok_or_else(|| invalid(&config.subnet))?,
            false => self.free_pool()?,
        };
        if chosen && self.given_subnets().iter().any(|one| one.overlaps(&subnet)) {
            return Err(ApiError::forbidden(
                "Pool overlaps with other one on this address space",
            ));
        }
        if chosen && config.subnet != subnet.to_string() {
            return Err(ApiError::invalid(format!(
                "invalid network config:\ninvalid subnet {}: it should be {subnet}",
                config.subnet
            )));
        }
        if !config.ip_range.is_empty() {
            let range = Subnet::parse(&config.ip_range).ok_or_else(|| invalid(&config.ip_range))?;
            if !subnet.contains(range.address) || range.prefix < subnet.prefix {
                return Err(ApiError::invalid(format!(
                    "invalid network config:\ninvalid ip-range {range}: parent subnet {subnet} doesn't contain \
                     ip-range"
                )));
            }
        }
        config.subnet = subnet.to_string();
        if config.gateway.is_empty() {
            let range = Subnet::parse(&config.ip_range).unwrap_or(subnet);
            let first = subnet.lowest_free(&range, |_| false);
            config.gateway = first.map(|ip| ip.to_string()).unwrap_or_default();
        }
        match config.gateway.parse::<Ipv4Addr>() {
            Ok(ip) if subnet.contains(ip) => Ok((config, chosen)),
            Ok(ip) => Err(ApiError::invalid(format!(
                "invalid network config:\ninvalid gateway {ip}: parent subnet {subnet} doesn't contain this address"
            ))),
            Err(_) => Err(ApiError::invalid(format!(
                "invalid network config:\ninvalid gateway {}: invalid address",
                config.gateway
            ))),
        }
    }

    fn given_subnets(&self) -> Vec<Subnet> {
        let networks = self.networks.borrow();
        let plans = networks.values().filter_map(|one| Plan::of(one).ok());
        plans.map(|plan| plan.subnet).collect()
    }

    /// The first of Docker's pools that neither a network nor a route of the host has.
    fn free_pool(&self) -> Result<Subnet> {
        let routes = self.os.routes(View::Host).unwrap_or_default();
        let mut used = self.given_subnets();
        used.extend(routes.iter().filter_map(|route| match route.destination {
            (std::net::IpAddr::V4(ip), prefix) if prefix > 0 => Some(Subnet::of(ip, prefix)),
            _ => None,
        }));
        let mut free = pools().filter(|pool| !used.iter().any(|one| one.overlaps(pool)));
        free.next().ok_or_else(|| {
            ApiError::invalid(
                "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to \
                 the network",
            )
        })
    }

    fn check_bridge_name(&self, network: &Network) -> Result<()> {
        let Some(name) = network.options.get(BRIDGE_NAME) else {
            return Ok(());
        };
        let networks = self.networks.borrow();
        let taken = networks
            .values()
            .find(|other| other.options.get(BRIDGE_NAME) == Some(name));
        match taken {
            Some(other) => Err(ApiError::forbidden(format!(
                "cannot create network {} ({name}): conflicts with network {} ({name}): networks have same bridge \
                 name",
                network.id, other.id
            ))),
            None => Ok(()),
        }
    }
}
