//! `POST /networks/create`.

use std::net::{IpAddr, Ipv6Addr};

use engine_api::error::{ApiError, Result};
use engine_api::types::{Ipam, IpamConfig, Network, NetworkCreateBody};
use engine_api::{json, timestamp};
use os::View;
use serve::Response;

use super::subnet::{Subnet, parse_prefix};
use super::{BRIDGE_NAME, Plan, is_built_in, join, lan, parse_bool};
use crate::Engine;
use crate::dispatch::Context;

const OVERLAPS: &str = "Pool overlaps with other one on this address space";

fn forbidden(text: &str) -> ApiError {
    ApiError::forbidden(text.to_string())
}

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
        let name = body.name.trim().to_string();
        if is_built_in(&name) || name == "default" {
            return Err(ApiError::forbidden(format!(
                "operation is not permitted on predefined {name} network"
            )));
        }
        let (driver, from, config_only) = (
            body.driver.clone(),
            body.config_from.clone(),
            body.config_only,
        );
        if driver == "overlay" {
            return Err(forbidden(
                "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this \
                 node to swarm and try again.",
            ));
        }
        let from = from.unwrap_or_default();
        let mut network = self.network_asked(&name, body)?;
        if !from.network.is_empty() {
            check_config_from(&network)?;
        }
        network.driver = match driver.as_str() {
            _ if config_only => "null".to_string(),
            "" => "bridge".to_string(),
            driver => driver.to_string(),
        };
        let mut chosen = network.ipam.config.as_ref().map_or(0, Vec::len);
        if !config_only {
            check_driver(&network)?;
            if !from.network.is_empty() {
                self.take_config(&mut network, &from.network)?;
                chosen = network.ipam.config.as_ref().map_or(0, Vec::len);
            }
            self.complete_addresses(&mut network)?;
            self.make_network(&network)?;
        }
        if chosen > 0 {
            let mut all = self.chosen_subnets.borrow_mut();
            all.insert(network.id.clone(), chosen);
        }
        let (id, driver) = (network.id.clone(), network.driver.clone());
        self.networks.borrow_mut().insert(name.clone(), network);
        self.save_networks();
        let more = [("name", name.as_str()), ("type", driver.as_str())];
        self.network_event("create", &id, &more);
        Ok(id)
    }

    /// The document of what is asked for, as far as that can be judged alone.
    fn network_asked(&self, name: &str, body: NetworkCreateBody) -> Result<Network> {
        let enable_ipv6 = body.enable_ipv6 == Some(true);
        let ipam = body.ipam.unwrap_or_default();
        let mut config = ipam.config.unwrap_or_default();
        check_ipam(&config, enable_ipv6)?;
        if name.is_empty() {
            return Err(ApiError::invalid("invalid name: name is empty"));
        }
        if self.networks.borrow().contains_key(name) {
            return Err(ApiError::conflict(format!(
                "network with name {name} already exists"
            )));
        }
        if body.config_only {
            if body.ingress
                || body.internal
                || body.attachable
                || !matches!(body.scope.as_str(), "" | "local")
            {
                return Err(forbidden(
                    "configuration network can only contain network specific fields. Network operator fields like [ \
                     ingress | internal | attachable | scope ] are not supported.",
                ));
            }
            if body
                .config_from
                .as_ref()
                .is_some_and(|from| !from.network.is_empty())
            {
                return Err(forbidden(
                    "a configuration network cannot depend on another configuration network",
                ));
            }
        }
        match ipam.driver.as_str() {
            "" | "default" | "null" => {}
            other => return Err(ApiError::not_found(format!("plugin \"{other}\" not found"))),
        }
        // Docker keeps the two families apart.
        config.sort_by_key(|config| config.subnet.contains(':'));
        let scope = if body.scope.is_empty() {
            "local"
        } else {
            &body.scope
        };
        Ok(Network {
            name: name.to_string(),
            id: self.os.rng().hex(32),
            created: timestamp::format(self.now()),
            scope: scope.to_string(),
            enable_ipv6,
            ipam: Ipam {
                driver: if ipam.driver.is_empty() {
                    "default".to_string()
                } else {
                    ipam.driver
                },
                options: Some(ipam.options.unwrap_or_default()),
                config: Some(config),
            },
            internal: body.internal,
            attachable: body.attachable,
            ingress: body.ingress,
            config_only: body.config_only,
            config_from: body.config_from.unwrap_or_default(),
            options: body.options.unwrap_or_default(),
            labels: body.labels.unwrap_or_default(),
            ..Network::default()
        })
    }

    /// What a configuration-only network says.
    fn take_config(&self, network: &mut Network, from: &str) -> Result<()> {
        let config = self
            .find_network(from)
            .ok()
            .filter(|found| found.config_only);
        let config = config.ok_or_else(|| {
            ApiError::not_found(format!("configuration network \"{from}\" does not exist"))
        })?;
        network.config_from.network = config.name;
        network.enable_ipv6 = config.enable_ipv6;
        network.ipam = config.ipam;
        network.options = config.options;
        network.labels = config.labels;
        Ok(())
    }

    /// Checks the addresses asked for against those of other networks, and chooses what was not said.
    fn complete_addresses(&self, network: &mut Network) -> Result<()> {
        if network.ipam.driver == "null" {
            return Err(ApiError::invalid("ipv4 pool is empty"));
        }
        let mut given = self.given_subnets();
        let config = network.ipam.config.get_or_insert_default();
        let mut has = [false, false];
        for config in config.iter() {
            let Some(subnet) = Subnet::parse(&config.subnet) else {
                continue;
            };
            if subnet.is_v6() && !network.enable_ipv6 {
                continue;
            }
            if given.iter().any(|one| one.overlaps(&subnet)) {
                return Err(forbidden(OVERLAPS));
            }
            check_special(config, &subnet)?;
            has[usize::from(subnet.is_v6())] = true;
            given.push(subnet);
        }
        let families = [(!has[0], false), (!has[1] && network.enable_ipv6, true)];
        for (_, v6) in families.iter().filter(|(wanted, _)| *wanted) {
            let subnet = self.free_pool(&given, *v6)?;
            let gateway = subnet.lowest_free(&subnet, |_| false);
            config.push(IpamConfig {
                subnet: subnet.to_string(),
                gateway: gateway.map(|ip| ip.to_string()).unwrap_or_default(),
                ..IpamConfig::default()
            });
        }
        Ok(())
    }

    /// The subnets of all networks that have some.
    fn given_subnets(&self) -> Vec<Subnet> {
        let networks = self.networks.borrow();
        let own = networks.values().filter(|one| !one.config_only);
        own.flat_map(|one| Plan::of(one).pools)
            .map(|pool| pool.subnet)
            .collect()
    }

    /// The networks of this daemon's own part of `fd00::/8` (RFC 4193).
    pub(super) fn own_pools_v6(&self) -> impl Iterator<Item = Subnet> + use<> {
        let hash = oci::Digest::of(self.id.as_bytes()).hex();
        let global = u64::from_str_radix(&hash[..10], 16).unwrap_or(0);
        let bits = 0xfd << 120 | u128::from(global) << 80;
        Subnet::of(Ipv6Addr::from_bits(bits), 48).parts(64)
    }

    /// The first of the pools that neither a network nor a route of the host has.
    fn free_pool(&self, given: &[Subnet], v6: bool) -> Result<Subnet> {
        let routes = self.os.routes(View::Host).unwrap_or_default();
        let routes = routes.iter().filter(|route| route.destination.1 > 0);
        let mut used: Vec<Subnet> = routes
            .map(|route| Subnet::of(route.destination.0, route.destination.1))
            .collect();
        used.extend(given);
        let free = |pool: &Subnet| pool.is_v6() == v6 && !used.iter().any(|one| one.overlaps(pool));
        let pools = self.settings.borrow().network.pools();
        let mut pools = pools.into_iter().flat_map(|(pool, size)| pool.parts(size));
        let mut found = pools.find(free);
        if v6 {
            found = found.or_else(|| self.own_pools_v6().find(free));
        }
        found.ok_or_else(|| {
            let family = if v6 { "IPv6" } else { "IPv4" };
            ApiError::invalid(format!(
                "could not find an available, non-overlapping {family} address pool among the defaults to assign to \
                 the network"
            ))
        })
    }

    /// The host's side of a network.
    fn make_network(&self, network: &Network) -> Result<()> {
        match network.driver.as_str() {
            "bridge" => {
                check_bridge_options(network)?;
                self.check_bridge_name(network)?;
                let pools = Plan::of(network).pools;
                let several = |v6| {
                    pools
                        .iter()
                        .filter(|pool| pool.subnet.is_v6() == v6)
                        .count()
                        > 1
                };
                if several(false) || several(true) {
                    return Err(forbidden("bridge driver doesn't support multiple subnets"));
                }
                self.make_bridge(network)
                    .inspect_err(|_| self.remove_bridge(network))
            }
            driver => match lan::Lan::of(network)? {
                Some(parent) => self.make_parent(network, &parent),
                None => Err(ApiError::forbidden(format!(
                    "only one instance of \"{driver}\" network is allowed"
                ))),
            },
        }
    }

    fn check_bridge_name(&self, network: &Network) -> Result<()> {
        let Some(name) = network.options.get(BRIDGE_NAME) else {
            return Ok(());
        };
        let networks = self.networks.borrow();
        let taken = networks
            .values()
            .find(|other| other.options.get(BRIDGE_NAME) == Some(name) && other.driver == "bridge");
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

/// Whether such a network can be here at all.
fn check_driver(network: &Network) -> Result<()> {
    let driver = network.driver.as_str();
    if !["bridge", "host", "null", "macvlan", "ipvlan"].contains(&driver) {
        return Err(ApiError::not_found(format!(
            "plugin \"{driver}\" not found"
        )));
    }
    if network.ingress {
        return Err(forbidden(
            "Ingress network can only be global scope network",
        ));
    }
    if network.scope == "swarm" {
        return Err(forbidden(
            "cannot create a swarm scoped network when swarm is not active",
        ));
    }
    Ok(())
}

/// A network that takes its configuration from another says nothing of its own.
fn check_config_from(network: &Network) -> Result<()> {
    let ipam = &network.ipam;
    let has_own = network.enable_ipv6
        || !network.labels.is_empty()
        || ipam.driver != "default"
        || ipam
            .options
            .as_ref()
            .is_some_and(|options| !options.is_empty())
        || ipam
            .config
            .as_ref()
            .is_some_and(|config| !config.is_empty());
    match () {
        () if has_own => Err(forbidden(
            "user specified configurations are not supported if the network depends on a configuration network",
        )),
        () if !network.options.is_empty() => Err(forbidden(
            "network driver options are not supported if the network depends on a configuration network",
        )),
        () => Ok(()),
    }
}

/// What of the addresses cannot be, whatever other networks there are.
fn check_ipam(all: &[IpamConfig], enable_ipv6: bool) -> Result<()> {
    let mut wrong = Vec::new();
    for config in all {
        let text = &config.subnet;
        let Some((ip, prefix)) = parse_prefix(text) else {
            wrong.push(format!(
                "invalid subnet {text}: invalid CIDR block notation"
            ));
            continue;
        };
        let subnet = Subnet::of(ip, prefix);
        if subnet.is_v6() && !enable_ipv6 {
            continue;
        }
        if subnet.address != ip {
            wrong.push(format!(
                "invalid subnet {ip}/{prefix}: it should be {subnet}"
            ));
        }
        check_range(&config.ip_range, &subnet, &mut wrong);
        if let Some(why) = outside(&config.gateway, &subnet) {
            wrong.push(format!("invalid gateway {}: {why}", config.gateway));
        }
        for (name, spare) in config.auxiliary_addresses.iter().flatten() {
            if let Some(why) = outside(spare, &subnet) {
                wrong.push(format!("invalid auxiliary address {name}: {why}"));
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(ApiError::invalid(format!(
            "invalid network config:\n{}",
            join(&wrong)
        ))),
    }
}

fn family(subnet: &Subnet) -> &'static str {
    if subnet.is_v6() { "IPv6" } else { "IPv4" }
}

fn check_range(text: &str, subnet: &Subnet, wrong: &mut Vec<String>) {
    if text.is_empty() {
        return;
    }
    let mut say = |why: String| wrong.push(format!("invalid ip-range {text}: {why}"));
    let Some((ip, prefix)) = parse_prefix(text) else {
        return say("invalid CIDR block notation".to_string());
    };
    let range = Subnet::of(ip, prefix);
    if range.is_v6() != subnet.is_v6() {
        return say(format!("parent subnet is an {} block", family(subnet)));
    }
    if prefix < subnet.prefix {
        say(format!(
            "CIDR block is bigger than its parent subnet {subnet}"
        ));
    }
    if range.address != ip {
        say(format!("it should be {range}"));
    }
    if !range.overlaps(subnet) {
        say(format!("parent subnet {subnet} doesn't contain ip-range"));
    }
}

/// Why an address is none of a subnet.
fn outside(text: &str, subnet: &Subnet) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    match text.parse::<IpAddr>() {
        Err(_) => Some("invalid address".to_string()),
        Ok(ip) if ip.is_ipv6() != subnet.is_v6() => {
            Some(format!("parent subnet is an {} block", family(subnet)))
        }
        Ok(ip) if !subnet.contains(ip) => Some(format!(
            "parent subnet {subnet} doesn't contain this address"
        )),
        Ok(_) => None,
    }
}

/// The gateway and the addresses that nobody gets are each taken once.
fn check_special(config: &IpamConfig, subnet: &Subnet) -> Result<()> {
    let gateway = config.gateway.parse::<IpAddr>().ok();
    if gateway.is_some_and(|ip| subnet.is_special(ip)) {
        return Err(ApiError::forbidden(format!(
            "failed to allocate gateway ({}): Address already in use",
            config.gateway
        )));
    }
    let range = Subnet::parse(&config.ip_range).unwrap_or(*subnet);
    let gateway = gateway.or_else(|| subnet.lowest_free(&range, |_| false));
    let mut taken: Vec<IpAddr> = gateway.into_iter().collect();
    for (name, text) in config.auxiliary_addresses.iter().flatten() {
        let Ok(ip) = text.parse::<IpAddr>() else {
            continue;
        };
        if subnet.is_special(ip) || taken.contains(&ip) {
            return Err(ApiError::system(format!(
                "failed to allocate secondary ip address ({name}:{text}): Address already in use"
            )));
        }
        taken.push(ip);
    }
    Ok(())
}

/// Options that the bridge driver reads.
fn check_bridge_options(network: &Network) -> Result<()> {
    const BOOLEANS: [&str; 4] = [
        "default_bridge",
        "enable_icc",
        "enable_ip_masquerade",
        "inhibit_ipv4",
    ];
    for (key, value) in &network.options {
        let wrong = |why: &str| {
            Err(ApiError::invalid(format!(
                "failed to parse {key} value: {value} ({why})"
            )))
        };
        if key == "com.docker.network.driver.mtu" {
            match value.parse::<i64>() {
                Ok(mtu) if mtu < 0 => {
                    return Err(ApiError::invalid(format!("invalid MTU number: {mtu}")));
                }
                Ok(_) => {}
                Err(_) => {
                    return wrong(&format!(
                        "strconv.Atoi: parsing \"{value}\": invalid syntax"
                    ));
                }
            }
        }
        let Some(name) = key.strip_prefix("com.docker.network.bridge.") else {
            continue;
        };
        if BOOLEANS.contains(&name) && parse_bool(value).is_none() {
            return wrong(&format!(
                "strconv.ParseBool: parsing \"{value}\": invalid syntax"
            ));
        }
        if name == "host_binding_ipv4" && value.parse::<IpAddr>().is_err() {
            return wrong("nil ip");
        }
    }
    Ok(())
}
