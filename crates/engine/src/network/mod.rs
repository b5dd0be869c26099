//! Networks: the three every Docker has, and those of users. A network of driver `bridge` is a bridge on
//! the host with rules of the packet filter; a container on it has a pair of links. One of driver `macvlan` or
//! `ipvlan` puts containers beside the host on one of its own links.
//!
//! Reading order: `subnet` (addresses), `bridge` and `lan` (the host's side), `sandbox` (a container's side),
//! `ports` and `proxy` (publishing), `files` and `resolv` (`/etc/hosts`, `/etc/resolv.conf`), `dns` (names of
//! containers), `settings` (`daemon.json`); then a verb a file.

mod bridge;
mod connect;
mod create;
mod delete;
mod disconnect;
mod dns;
mod files;
mod inspect;
mod lan;
mod links;
mod list;
pub(crate) mod ports;
mod proxy;
mod prune;
mod resolv;
pub(crate) mod sandbox;
pub(crate) mod settings;
mod subnet;

use std::collections::BTreeMap;
use std::net::IpAddr;

use engine_api::error::{ApiError, Result};
use engine_api::json;
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

/// A user's network on disk, and how many of its subnets the user chose: they are the first.
type Kept = (Network, usize);

/// A subnet of a network.
pub(crate) struct Pool {
    pub(crate) subnet: Subnet,
    /// Where containers' addresses are chosen.
    pub(crate) range: Subnet,
    pub(crate) gateway: IpAddr,
    /// Addresses that containers do not get.
    pub(crate) reserved: Vec<IpAddr>,
}

impl Pool {
    fn of(config: &IpamConfig) -> Option<Pool> {
        let subnet = Subnet::parse(&config.subnet)?;
        let range = Subnet::parse(&config.ip_range).unwrap_or(subnet);
        let spare = config.auxiliary_addresses.iter().flatten();
        let mut reserved: Vec<IpAddr> = spare.filter_map(|(_, ip)| ip.parse().ok()).collect();
        let gateway = match config.gateway.parse() {
            Ok(gateway) => gateway,
            // Inspect shows only the gateway that the user or Docker's pools name.
            Err(_) => subnet.lowest_free(&range, |ip| reserved.contains(&ip))?,
        };
        reserved.push(gateway);
        Some(Pool {
            subnet,
            range,
            gateway,
            reserved,
        })
    }
}

/// How a network's addresses are laid out.
pub(crate) struct Plan {
    /// As they were asked for; those of IPv6 only if the network has IPv6.
    pub(crate) pools: Vec<Pool>,
    /// The bridge of a bridge network.
    pub(crate) bridge: String,
}

impl Plan {
    pub(crate) fn of(network: &Network) -> Plan {
        let pools = network.ipam.config.iter().flatten().filter_map(Pool::of);
        Plan {
            pools: pools
                .filter(|pool| network.enable_ipv6 || !pool.subnet.is_v6())
                .collect(),
            bridge: bridge_name(network),
        }
    }

    /// The first subnet of a family.
    pub(crate) fn first(&self, v6: bool) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.subnet.is_v6() == v6)
    }
}

/// An option of a bridge network.
fn bridge_option<'a>(network: &'a Network, name: &str) -> Option<&'a str> {
    let value = network
        .options
        .iter()
        .find(|(key, _)| key.strip_prefix("com.docker.network.bridge.") == Some(name));
    value.map(|(_, value)| value.as_str())
}

/// As Go reads a boolean.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The largest packet that a network's options name.
pub(crate) fn mtu_of(network: &Network) -> Option<u32> {
    let mtu = network.options.get("com.docker.network.driver.mtu")?;
    mtu.parse().ok().filter(|&mtu| mtu > 0)
}

/// What a network's bridge is called.
fn bridge_name(network: &Network) -> String {
    match network.options.get(BRIDGE_NAME) {
        Some(name) => name.clone(),
        None => format!("br-{}", &network.id[..12]),
    }
}

/// Several errors as one text.
pub(crate) fn join(errors: &[String]) -> String {
    match errors {
        [one] => one.clone(),
        _ => format!("* {}", errors.join("\n* ")),
    }
}

/// Whether Docker made it.
pub(crate) fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|(known, _)| *known == name)
}

/// The address of `--ip` or `--ip6`.
fn wanted_ip(settings: &EndpointSettings, v6: bool) -> Option<IpAddr> {
    let key = if v6 { "IPv6Address" } else { "IPv4Address" };
    let ip: IpAddr = wanted(settings, key)?.parse().ok()?;
    (ip.is_ipv6() == v6).then_some(ip)
}

/// The addresses of `--link-local-ip`.
fn link_local_ips(settings: &EndpointSettings) -> Vec<IpAddr> {
    let config = settings.ipam_config.as_ref();
    let list = config.and_then(|config| config["LinkLocalIPs"].as_array());
    let list = list.into_iter().flatten();
    list.filter_map(|ip| ip.as_str()?.parse().ok()).collect()
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
                self.settings_of_bridge(&mut network);
            }
            (name.to_string(), network)
        };
        BUILT_IN.into_iter().map(make).collect()
    }

    /// What of the default bridge `daemon.json` says.
    fn settings_of_bridge(&self, network: &mut Network) {
        let settings = &self.settings.borrow().network;
        let bip = if settings.bip.is_empty() {
            "172.17.0.1/16"
        } else {
            &settings.bip
        };
        if let Some((ip, prefix)) = subnet::parse_prefix(bip) {
            network.ipam.config = Some(vec![IpamConfig {
                subnet: Subnet::of(ip, prefix).to_string(),
                ip_range: settings.fixed_cidr.clone(),
                gateway: ip.to_string(),
                ..IpamConfig::default()
            }]);
        }
        network.enable_ipv6 = settings.ipv6;
        if settings.ipv6 {
            let subnet = match Subnet::parse(&settings.fixed_cidr_v6) {
                Some(subnet) => Some(subnet),
                None => self.own_pools_v6().next(),
            };
            network
                .ipam
                .config
                .get_or_insert_default()
                .extend(subnet.map(|subnet| IpamConfig {
                    subnet: subnet.to_string(),
                    ..IpamConfig::default()
                }));
        }
        let host_binding = if settings.ip.is_empty() {
            "0.0.0.0"
        } else {
            &settings.ip
        };
        network.options = [
            ("default_bridge", "true"),
            ("enable_icc", if settings.icc { "true" } else { "false" }),
            (
                "enable_ip_masquerade",
                if settings.ip_masq { "true" } else { "false" },
            ),
            ("host_binding_ipv4", host_binding),
            ("name", "docker0"),
        ]
        .map(|(key, value)| {
            let key = format!("com.docker.network.bridge.{key}");
            (key, value.to_string())
        })
        .into();
        let mtu = "com.docker.network.driver.mtu".to_string();
        network.options.insert(mtu, settings.mtu.to_string());
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
            for (name, settings) in &asked.endpoints_config {
                self.check_asked(name, settings)?;
            }
            return Ok(NetworkingConfig::default());
        }
        let name_of = |typed: &str| match typed {
            "default" => mode.clone(),
            typed => self
                .find_network(typed)
                .map_or(typed.to_string(), |network| network.name),
        };
        let main = name_of(mode);
        let mut all: BTreeMap<String, EndpointSettings> = order::map(
            asked
                .endpoints_config
                .into_iter()
                .map(|(typed, settings)| (name_of(&typed), settings)),
        );
        let own = all.entry(main).or_default();
        if own.mac_address.is_empty() {
            own.mac_address = mac_address.to_string();
        }
        for (name, settings) in &all {
            self.check_asked(name, settings)?;
        }
        Ok(NetworkingConfig {
            endpoints_config: all,
        })
    }

    /// What a new container cannot have on a network.
    fn check_asked(&self, name: &str, settings: &EndpointSettings) -> Result<()> {
        self.check_endpoint(name, settings).map_err(|error| {
            let text = error.message;
            ApiError::invalid(format!("invalid config for network {name}: {text}"))
        })
    }

    /// What a network cannot give.
    pub(crate) fn check_endpoint(&self, name: &str, settings: &EndpointSettings) -> Result<()> {
        let mut wrong: Vec<String> = Vec::new();
        let asked = [(false, "IPv4"), (true, "IPv6")].map(|(v6, family)| {
            let text = wanted(settings, &format!("{family}Address"));
            if let Some(text) = text
                && wanted_ip(settings, v6).is_none()
            {
                wrong.push(format!("invalid {family} address: {text}"));
            }
            (v6, text)
        });
        let mac = &settings.mac_address;
        if !mac.is_empty() && sandbox::parse_mac(mac).is_none() {
            wrong.push(format!("invalid MAC address: {mac}"));
        }
        if is_built_in(name) || name.starts_with("container:") {
            if asked.iter().any(|(_, text)| text.is_some()) {
                wrong.push(
                    "user specified IP address is supported on user defined networks only"
                        .to_string(),
                );
            }
            if settings
                .aliases
                .as_ref()
                .is_some_and(|list| !list.is_empty())
            {
                wrong.push(
                    "network-scoped alias is supported only for containers in user defined networks".to_string(),
                );
            }
        }
        if let Ok(network) = self.find_network(name) {
            let chosen = self.chosen_subnets(&network);
            for (v6, text) in asked {
                let Some(text) = text else {
                    continue;
                };
                let own: Vec<&Subnet> = chosen.iter().filter(|one| one.is_v6() == v6).collect();
                let ip = text.parse();
                if own.is_empty() {
                    wrong.push(
                        "user specified IP address is supported only when connecting to networks with user \
                         configured subnets"
                            .to_string(),
                    );
                } else if !ip.is_ok_and(|ip| own.iter().any(|subnet| subnet.contains(ip))) {
                    wrong.push(format!(
                        "no configured subnet or ip-range contain the IP address {text}"
                    ));
                }
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(ApiError::invalid(format!(
            "invalid endpoint settings:\n{}",
            join(&wrong)
        )))
    }

    /// The subnets that the user said it has.
    fn chosen_subnets(&self, network: &Network) -> Vec<Subnet> {
        let chosen = self.chosen_subnets.borrow();
        let count = chosen.get(&network.id).copied().unwrap_or(0);
        let config = network.ipam.config.iter().flatten().take(count);
        config
            .filter_map(|config| Subnet::parse(&config.subnet))
            .collect()
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
            if settings.network_id.is_empty()
                && let Ok(network) = self.find_network(name)
            {
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
                resource.mac_address = address.mac.as_ref().map(mac_text).unwrap_or_default();
                resource.ipv4_address = format!("{}/{}", address.ip, address.prefix);
                if let Some(v6) = &address.v6 {
                    resource.ipv6_address = format!("{}/{}", v6.ip, v6.prefix);
                }
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
        let kept = kept.and_then(|bytes| json::parse::<Vec<Kept>>(&bytes).ok());
        for (network, chosen) in kept.into_iter().flatten() {
            self.chosen_subnets
                .borrow_mut()
                .insert(network.id.clone(), chosen);
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
            .map(|network| (network.clone(), self.chosen_subnets(network).len()))
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
