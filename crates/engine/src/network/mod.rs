//! Networks: the three every Docker has, and those of users. A network of driver `bridge` is a bridge on
//! the host with rules of the packet filter; a container on it has a pair of links.
//!
//! Reading order: `subnet` (addresses), `bridge` (the host's side), `sandbox` (a container's side),
//! `ports` and `proxy` (publishing), `files` (`/etc/hosts`, `/etc/resolv.conf`), `dns` (names of containers);
//! then a verb a file.

mod bridge;
mod connect;
mod create;
mod delete;
mod disconnect;
mod dns;
mod files;
mod inspect;
mod links;
mod list;
pub(crate) mod ports;
mod proxy;
mod prune;
pub(crate) mod sandbox;
mod subnet;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use engine_api::error::{ApiError, Result};
use engine_api::timestamp;
use engine_api::types::{
    EndpointResource, EndpointSettings, HostConfig, Ipam, IpamConfig, Network, NetworkingConfig,
};
use os::{OsExt, View};

use crate::Engine;
use crate::state::{Container, Data};
use sandbox::mac_text;
use subnet::Subnet;

/// Name and driver of the networks that are always there.
const BUILT_IN: [(&str, &str); 3] = [("bridge", "bridge"), ("host", "host"), ("none", "null")];

/// Option with the name of a network's bridge.
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";

/// A user's network on disk, and whether the user chose its subnet.
type Kept = (Network, bool);

/// How a bridge network's addresses are laid out.
pub(crate) struct Plan {
    pub(crate) subnet: Subnet,
    /// Where containers' addresses are chosen.
    pub(crate) range: Subnet,
    pub(crate) gateway: Ipv4Addr,
    /// Addresses that containers do not get.
    pub(crate) reserved: Vec<Ipv4Addr>,
    /// The bridge.
    pub(crate) bridge: String,
}

impl Plan {
    pub(crate) fn of(network: &Network) -> Result<Plan> {
        let broken = || ApiError::system(format!("network {} has no subnet", network.name));
        let config = network.ipam.config.iter().flatten().next();
        let config = config.ok_or_else(broken)?;
        let subnet = Subnet::parse(&config.subnet).ok_or_else(broken)?;
        let gateway = config.gateway.parse().map_err(|_| broken())?;
        let spare = config.auxiliary_addresses.iter().flatten();
        let spare = spare.filter_map(|(_, ip)| ip.parse().ok());
        Ok(Plan {
            subnet,
            range: Subnet::parse(&config.ip_range).unwrap_or(subnet),
            gateway,
            reserved: spare.chain([gateway]).collect(),
            bridge: bridge_name(network),
        })
    }
}

/// What a network's bridge is called.
fn bridge_name(network: &Network) -> String {
    match network.options.get(BRIDGE_NAME) {
        Some(name) => name.clone(),
        None => format!("br-{}", &network.id[..12]),
    }
}

/// Whether Docker made it.
pub(crate) fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|(known, _)| *known == name)
}

/// The address of `--ip`.
fn wanted_ip(settings: &EndpointSettings) -> Option<Ipv4Addr> {
    wanted(settings, "IPv4Address")?.parse().ok()
}

/// An address the user asks for, as it was written.
fn wanted<'a>(settings: &'a EndpointSettings, which: &str) -> Option<&'a str> {
    let config = settings.ipam_config.as_ref()?;
    config[which].as_str().filter(|text| !text.is_empty())
}

impl Engine {
    /// The networks of a new daemon.
    pub(crate) fn built_in_networks(&self) -> BTreeMap<String, Network> {
        let make = |(name, driver): (&str, &str)| {
            let mut network = Network {
                name: name.to_string(),
                id: oci::Digest::of(format!("{} network {name}", self.id).as_bytes()).hex(),
                created: timestamp::format(self.now()),
                scope: "local".to_string(),
                driver: driver.to_string(),
                ipam: Ipam {
                    driver: "default".to_string(),
                    ..Ipam::default()
                },
                ..Network::default()
            };
            if driver == "bridge" {
                network.ipam.config = Some(vec![IpamConfig {
                    subnet: "172.17.0.0/16".to_string(),
                    gateway: "172.17.0.1".to_string(),
                    ..IpamConfig::default()
                }]);
                network.options = [
                    ("default_bridge", "true"),
                    ("enable_icc", "true"),
                    ("enable_ip_masquerade", "true"),
                    ("host_binding_ipv4", "0.0.0.0"),
                    ("name", "docker0"),
                ]
                .map(|(key, value)| {
                    let key = format!("com.docker.network.bridge.{key}");
                    (key, value.to_string())
                })
                .into();
                let mtu = "com.docker.network.driver.mtu".to_string();
                network.options.insert(mtu, "1500".to_string());
            }
            (name.to_string(), network)
        };
        BUILT_IN.into_iter().map(make).collect()
    }

    /// By name, whole id, or the beginning of an id.
    pub(crate) fn find_network(&self, typed: &str) -> Result<Network> {
        let networks = self.networks.borrow();
        if let Some(found) = networks.get(typed) {
            return Ok(found.clone());
        }
        let mut fitting = networks
            .values()
            .filter(|network| !typed.is_empty() && network.id.starts_with(typed));
        match (fitting.next(), fitting.next()) {
            (Some(found), None) => Ok(found.clone()),
            (Some(_), Some(_)) => Err(ApiError::invalid(format!(
                "network {typed} is ambiguous (2 matches found based on ID prefix)"
            ))),
            (None, _) => Err(ApiError::not_found(format!("network {typed} not found"))),
        }
    }

    /// What is asked for, by the networks' names; the one of the network mode is always among them.
    pub(crate) fn networking(
        &self,
        asked: NetworkingConfig,
        host: &HostConfig,
        mac_address: &str,
    ) -> Result<NetworkingConfig> {
        let mode = &host.network_mode;
        if mode.starts_with("container:") {
            return Ok(NetworkingConfig::default());
        }
        let name_of = |typed: &str| match typed {
            "default" => mode.clone(),
            typed => self
                .find_network(typed)
                .map_or(typed.to_string(), |network| network.name),
        };
        let main = name_of(mode);
        let mut all: BTreeMap<String, EndpointSettings> = asked
            .endpoints_config
            .into_iter()
            .map(|(typed, settings)| (name_of(&typed), settings))
            .collect();
        let own = all.entry(main).or_default();
        if own.mac_address.is_empty() {
            own.mac_address = mac_address.to_string();
        }
        for (name, settings) in &all {
            self.check_endpoint(name, settings).map_err(|error| {
                let text = error.message;
                ApiError::invalid(format!("invalid config for network {name}: {text}"))
            })?;
        }
        Ok(NetworkingConfig {
            endpoints_config: all,
        })
    }

    /// What a network cannot give.
    pub(crate) fn check_endpoint(&self, name: &str, settings: &EndpointSettings) -> Result<()> {
        const NO_SUBNET: &str = "user specified IP address is supported only when connecting to networks with \
                                 user configured subnets";
        let mut wrong = Vec::new();
        let (v4, v6) = (
            wanted(settings, "IPv4Address"),
            wanted(settings, "IPv6Address"),
        );
        let invalid_v4 = format!("invalid IPv4 address: {}", v4.unwrap_or_default());
        let outside = format!(
            "no configured subnet or ip-range contain the IP address {}",
            v4.unwrap_or_default()
        );
        if v4.is_some() && wanted_ip(settings).is_none() {
            wrong.push(invalid_v4.as_str());
        }
        if is_built_in(name) {
            if settings
                .aliases
                .as_ref()
                .is_some_and(|list| !list.is_empty())
            {
                wrong.push(
                    "network-scoped alias is supported only for containers in user defined networks",
                );
            }
            if v4.or(v6).is_some() {
                wrong.push("user specified IP address is supported on user defined networks only");
            }
        } else if let Ok(network) = self.find_network(name) {
            let plan = Plan::of(&network).ok();
            let contains = |ip| plan.as_ref().is_some_and(|plan| plan.subnet.contains(ip));
            match wanted_ip(settings) {
                Some(_) if !self.has_own_subnet(&network) => wrong.push(NO_SUBNET),
                Some(ip) if !contains(ip) => wrong.push(&outside),
                _ => {}
            }
            // Networks have no subnet of IPv6.
            if v6.is_some() {
                wrong.push(NO_SUBNET);
            }
        }
        let mac = &settings.mac_address;
        let invalid_mac = format!("invalid MAC address: {mac}");
        if !mac.is_empty() && sandbox::parse_mac(mac).is_none() {
            wrong.push(&invalid_mac);
        }
        match wrong[..] {
            [] => Ok(()),
            [one] => Err(ApiError::invalid(format!(
                "invalid endpoint settings:\n{one}"
            ))),
            _ => Err(ApiError::invalid(format!(
                "invalid endpoint settings:\n* {}",
                wrong.join("\n* ")
            ))),
        }
    }

    /// Whether the user said which subnet it has.
    fn has_own_subnet(&self, network: &Network) -> bool {
        let chosen = self.chosen_subnets.borrow();
        chosen.contains(&network.id)
    }

    /// How a container is on its networks, as inspect and the list show it.
    pub(crate) fn endpoint_settings(
        &self,
        container: &Container,
        data: &Data,
    ) -> BTreeMap<String, EndpointSettings> {
        let mut all = data.networking.endpoints_config.clone();
        let sandbox = container.sandbox.borrow();
        for (name, settings) in &mut all {
            if let Ok(network) = self.find_network(name) {
                settings.network_id = network.id;
            }
            let mut endpoints = sandbox.iter().flat_map(|sandbox| &sandbox.endpoints);
            if let Some(endpoint) = endpoints.find(|endpoint| endpoint.network == *name) {
                endpoint.show(settings);
            }
            if !is_built_in(name) {
                settings.dns_names = Some(self.dns_names(&container.id, data, settings));
            }
        }
        all
    }

    /// The names a container has on a user's network.
    pub(crate) fn dns_names(
        &self,
        id: &str,
        data: &Data,
        settings: &EndpointSettings,
    ) -> Vec<String> {
        let mut names = vec![data.name.clone()];
        let aliases = settings.aliases.iter().flatten().cloned();
        let more = aliases.chain([
            id[..id.len().min(12)].to_string(),
            data.config.hostname.clone(),
        ]);
        for name in more {
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Says that a container has joined or left its networks.
    pub(crate) fn say_networks(&self, container: &Container, action: &str) {
        if container.data.borrow().hidden {
            return;
        }
        let names: Vec<String> = match &*container.sandbox.borrow() {
            Some(sandbox) => sandbox
                .endpoints
                .iter()
                .map(|endpoint| endpoint.network.clone())
                .collect(),
            None => Vec::new(),
        };
        for name in names {
            self.say_network(&container.id, &name, action);
        }
    }

    /// Says that a container has joined or left one network.
    pub(crate) fn say_network(&self, container: &str, name: &str, action: &str) {
        if let Ok(network) = self.find_network(name) {
            let more = [
                ("container", container),
                ("name", &network.name),
                ("type", &network.driver),
            ];
            self.network_event(action, &network.id, &more);
        }
    }

    /// A network's document with who is on it.
    pub(crate) fn describe_network(&self, mut network: Network) -> Network {
        for (container, endpoint) in self.endpoints_of(&network.name) {
            let mut resource = EndpointResource {
                name: container.name(),
                endpoint_id: endpoint.id.clone(),
                ..EndpointResource::default()
            };
            if let Some(address) = &endpoint.address {
                resource.mac_address = mac_text(&address.mac);
                resource.ipv4_address = format!("{}/{}", address.ip, address.prefix);
            }
            network.containers.insert(container.id.clone(), resource);
        }
        network
    }

    fn networks_path(&self) -> String {
        format!("{}/network/files/networks.json", self.config.root)
    }

    /// The networks every Docker has and those an earlier daemon left.
    pub(crate) fn load_networks(&self) {
        let mut networks = self.built_in_networks();
        let path = self.networks_path();
        let kept = self.os.read_file_now(View::Host, path.as_bytes()).ok();
        let kept = kept.and_then(|bytes| serde_json::from_slice::<Vec<Kept>>(&bytes).ok());
        for (network, chosen) in kept.into_iter().flatten() {
            if chosen {
                self.chosen_subnets.borrow_mut().insert(network.id.clone());
            }
            networks.insert(network.name.clone(), network);
        }
        *self.networks.borrow_mut() = networks;
    }

    /// Keeps users' networks on disk. As for containers, a full disk is no reason to stop.
    pub(crate) fn save_networks(&self) {
        let networks = self.networks.borrow();
        let kept: Vec<Kept> = networks
            .values()
            .filter(|network| !is_built_in(&network.name))
            .map(|network| (network.clone(), self.has_own_subnet(network)))
            .collect();
        let path = self.networks_path();
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let _ = self.os.mkdir_all(View::Host, directory.as_bytes(), 0o750);
        let document = serde_json::to_vec(&kept).unwrap_or_default();
        let _ = self
            .os
            .write_file(View::Host, path.as_bytes(), &document, 0o600);
    }
}
