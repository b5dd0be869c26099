//! A container's place on its networks: addresses, a pair of links each, and the way out.
//!
//! Everything that can be refused (names, addresses, ports) is settled before the container's first
//! process is made: [`Engine::join_networks`]. The links follow when there is a namespace to put them in:
//! [`Engine::plug`]. [`Engine::leave_networks`] takes all of it back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use engine_api::error::{ApiError, Result};
use engine_api::types::{EndpointSettings, Network};
use os::network::{LinkChange, Mac, NewLink, Route};
use os::{OsExt, TaskId, View};

use super::dns::Resolver;
use super::lan::Lan;
use super::ports::Published;
use super::{Plan, Pool};
use crate::Engine;
use crate::state::Container;

const HOST: View = View::Host;

/// A container's addresses on a network, and the link that has them.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) ip: Ipv4Addr,
    pub(crate) prefix: u8,
    pub(crate) v6: Option<AddressV6>,
    /// Those of `--link-local-ip`.
    pub(crate) link_local: Vec<IpAddr>,
    /// A link of `ipvlan` has that of its parent.
    pub(crate) mac: Option<Mac>,
    /// Where the default route leads; an internal network leads nowhere.
    pub(crate) gateway: Option<Ipv4Addr>,
    /// The link's name in the container.
    pub(crate) link: String,
    /// Its largest packet, if the network says so.
    pub(crate) mtu: Option<u32>,
    pub(crate) via: Via,
}

/// The same of IPv6.
#[derive(Clone, Debug)]
pub(crate) struct AddressV6 {
    pub(crate) ip: Ipv6Addr,
    pub(crate) prefix: u8,
    pub(crate) gateway: Option<Ipv6Addr>,
}

/// What a container's link hangs on.
#[derive(Clone, Debug)]
pub(crate) enum Via {
    /// A pair to a bridge.
    Bridge {
        bridge: String,
        /// The other end's name on the host.
        veth: String,
    },
    /// A link of the host.
    Lan {
        link: NewLink,
        /// There is no gateway: everything leaves by the link.
        routed: bool,
    },
}

impl Address {
    /// Its addresses that have names.
    pub(crate) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        let v6 = self.v6.as_ref().map(|v6| IpAddr::V6(v6.ip));
        [IpAddr::V4(self.ip)].into_iter().chain(v6)
    }

    /// Whether a default route of a family leads over it.
    fn leads_out(&self, v6: bool) -> bool {
        match v6 {
            false => self.gateway.is_some(),
            true => self.v6.as_ref().is_some_and(|v6| v6.gateway.is_some()),
        }
    }

    fn gateway(&self, v6: bool) -> Option<IpAddr> {
        match v6 {
            false => self.gateway.map(IpAddr::V4),
            true => self.v6.as_ref()?.gateway.map(IpAddr::V6),
        }
    }
}

/// A container on a network.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) id: String,
    pub(crate) network: String,
    /// `host` and `none` give none.
    pub(crate) address: Option<Address>,
}

/// A network namespace of a running container, as Docker sees it.
pub(crate) struct Sandbox {
    pub(crate) id: String,
    /// Whose namespace it is, once it is there.
    pub(crate) task: Option<TaskId>,
    /// By the order in which they were joined.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Its published ports.
    pub(crate) published: Vec<Published>,
    /// The networks its default routes go over: of IPv4, of IPv6.
    pub(crate) ways_out: [Option<String>; 2],
    /// Rules of the packet filter that `--link` needed.
    pub(crate) link_rules: Vec<String>,
    /// How many links it has had, by the stem of their names.
    pub(crate) links: BTreeMap<String, u32>,
    /// Its name server, if it is on a user's network.
    pub(crate) resolver: Option<Resolver>,
}

/// `02:42:ac:11:00:02`.
pub(crate) fn mac_text(mac: &Mac) -> String {
    let parts: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    parts.join(":")
}

/// Six pairs of hexadecimal digits between colons.
pub(crate) fn parse_mac(text: &str) -> Option<Mac> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|part| u8::from_str_radix(part, 16).ok())
        .collect();
    bytes?.try_into().ok()
}

/// Go's word for what could not be done to a link.
fn failed(what: &str) -> impl Fn(os::Errno) -> ApiError + use<> {
    let what = what.to_string();
    move |errno| ApiError::system(format!("{what}: {}", errno.go_description()))
}

fn no_address(network: &Network, v6: bool) -> ApiError {
    let family = if v6 { "IPv6" } else { "IPv4" };
    ApiError::system(format!(
        "no available {family} addresses on this network's address pools: {} ({})",
        network.name, network.id
    ))
}

impl Endpoint {
    /// As inspect shows it, over what was asked for.
    pub(crate) fn show(&self, settings: &mut EndpointSettings) {
        settings.endpoint_id.clone_from(&self.id);
        if let Some(address) = &self.address {
            settings.mac_address = address.mac.as_ref().map(mac_text).unwrap_or_default();
            settings.ip_address = address.ip.to_string();
            settings.ip_prefix_len = i64::from(address.prefix);
            settings.gateway = address.gateway.map(|ip| ip.to_string()).unwrap_or_default();
            if let Some(v6) = &address.v6 {
                settings.global_ipv6_address = v6.ip.to_string();
                settings.global_ipv6_prefix_len = i64::from(v6.prefix);
                settings.ipv6_gateway = v6.gateway.map(|ip| ip.to_string()).unwrap_or_default();
            }
        }
    }
}

impl Sandbox {
    /// The endpoint with the default route of a family.
    pub(crate) fn outward(&self, v6: bool) -> Option<&Endpoint> {
        let name = self.ways_out[usize::from(v6)].as_ref()?;
        self.endpoints
            .iter()
            .find(|endpoint| endpoint.network == *name)
    }

    /// The networks whose gateways are to be the default routes: the first by name that lead out.
    fn choose_ways_out(&self) -> [Option<String>; 2] {
        [false, true].map(|v6| {
            let leads_out =
                |one: &&Endpoint| one.address.as_ref().is_some_and(|at| at.leads_out(v6));
            let names = self.endpoints.iter().filter(leads_out);
            names.map(|endpoint| &endpoint.network).min().cloned()
        })
    }

    /// The next name of a link.
    fn take_link_name(&mut self, stem: &str) -> String {
        let count = self.links.entry(stem.to_string()).or_default();
        *count += 1;
        format!("{stem}{}", *count - 1)
    }
}

impl Engine {
    /// Gives a container its addresses and publishes its ports. After an error
    /// [`Engine::leave_networks`] is due.
    pub(crate) fn join_networks(&self, container: &Rc<Container>) -> Result<()> {
        let mode = container.data.borrow().host_config.network_mode.clone();
        if mode.starts_with("container:") {
            return Ok(());
        }
        *container.sandbox.borrow_mut() = Some(Sandbox {
            id: self.os.rng().hex(32),
            task: None,
            endpoints: Vec::new(),
            published: Vec::new(),
            ways_out: [None, None],
            link_rules: Vec::new(),
            links: BTreeMap::new(),
            resolver: None,
        });
        let wanted = container.data.borrow().networking.endpoints_config.clone();
        for (name, settings) in &wanted {
            let network = match settings.network_id.as_str() {
                "" => self.find_network(name),
                // Another network of the same name is not the one it was on.
                id => self.find_network(id),
            };
            let network = match network {
                Err(_) if wanted.len() > 1 && *name == mode => {
                    return Err(ApiError::not_found(format!(
                        "could not find a network matching network mode {name}: network {name} not found"
                    )));
                }
                network => network?,
            };
            self.allocate(container, &network, settings)?;
        }
        container.update(&self.os, |data| {
            for (name, settings) in &mut data.networking.endpoints_config {
                if let Ok(network) = self.find_network(name) {
                    settings.network_id = network.id;
                }
            }
        });
        if let Some(sandbox) = &mut *container.sandbox.borrow_mut() {
            sandbox.ways_out = sandbox.choose_ways_out();
        }
        self.open_links(container);
        self.publish(container)
    }

    /// An endpoint with an address, not yet with a link.
    pub(crate) fn allocate(
        &self,
        container: &Container,
        network: &Network,
        settings: &EndpointSettings,
    ) -> Result<Endpoint> {
        if network.config_only {
            return Err(ApiError::forbidden(
                "cannot create endpoint on configuration-only network",
            ));
        }
        let address = match network.driver.as_str() {
            "host" | "null" => None,
            _ => Some(self.address_for(container, network, settings)?),
        };
        let endpoint = Endpoint {
            id: self.os.rng().hex(32),
            network: network.name.clone(),
            address,
        };
        if let Some(sandbox) = &mut *container.sandbox.borrow_mut() {
            sandbox.endpoints.push(endpoint.clone());
        }
        Ok(endpoint)
    }

    fn address_for(
        &self,
        container: &Container,
        network: &Network,
        settings: &EndpointSettings,
    ) -> Result<Address> {
        let lan = Lan::of(network)?;
        let plan = Plan::of(network);
        let (ip, pool) = self.choose_ip(network, &plan, settings, false)?;
        let mut v6 = None;
        if plan.first(true).is_some() {
            let (ip, pool) = self.choose_ip(network, &plan, settings, true)?;
            v6 = Some((ip, pool.subnet.prefix, pool.gateway));
        }
        let leads_out = !network.internal && lan.as_ref().is_none_or(Lan::leads_out);
        let v6 = v6.and_then(|(ip, prefix, gateway)| match (ip, gateway) {
            (IpAddr::V6(ip), IpAddr::V6(gateway)) => Some(AddressV6 {
                ip,
                prefix,
                gateway: leads_out.then_some(gateway),
            }),
            _ => None,
        });
        let (IpAddr::V4(ip), IpAddr::V4(gateway)) = (ip, pool.gateway) else {
            return Err(no_address(network, false));
        };
        let stem = network
            .options
            .get("com.docker.network.container_iface_prefix");
        let stem = stem.map_or("eth", String::as_str);
        let mut sandbox = container.sandbox.borrow_mut();
        let link = sandbox.as_mut().map(|sandbox| sandbox.take_link_name(stem));
        let [a, b, c, d] = ip.octets();
        let mac = parse_mac(&settings.mac_address).unwrap_or([0x02, 0x42, a, b, c, d]);
        Ok(Address {
            ip,
            prefix: pool.subnet.prefix,
            v6,
            link_local: super::link_local_ips(settings),
            mac: lan.as_ref().is_none_or(Lan::has_mac).then_some(mac),
            gateway: leads_out.then_some(gateway),
            link: link.unwrap_or_default(),
            mtu: super::mtu_of(network).filter(|_| lan.is_none()),
            via: match &lan {
                Some(lan) => Via::Lan {
                    link: lan.link(network),
                    routed: lan.is_routed(),
                },
                None => Via::Bridge {
                    bridge: plan.bridge.clone(),
                    veth: format!("veth{}", &self.os.rng().hex(4)[..7]),
                },
            },
        })
    }

    /// An address of a family that nobody has: the one that is asked for, or the first of the ranges.
    fn choose_ip<'a>(
        &self,
        network: &Network,
        plan: &'a Plan,
        settings: &EndpointSettings,
        v6: bool,
    ) -> Result<(IpAddr, &'a Pool)> {
        let endpoints = self.endpoints_of(&network.name);
        let taken: BTreeSet<IpAddr> = endpoints
            .iter()
            .filter_map(|(_, endpoint)| endpoint.address.as_ref())
            .flat_map(Address::ips)
            .chain(
                plan.pools
                    .iter()
                    .flat_map(|pool| pool.reserved.iter().copied()),
            )
            .collect();
        let mut pools = plan.pools.iter().filter(|pool| pool.subnet.is_v6() == v6);
        if let Some(ip) = super::wanted_ip(settings, v6) {
            let pool = pools.find(|pool| pool.subnet.contains(ip));
            let pool = pool.ok_or_else(|| {
                ApiError::invalid(format!(
                    "Invalid address {ip}: It does not belong to any of this network's subnets"
                ))
            })?;
            return match taken.contains(&ip) || pool.subnet.is_special(ip) {
                true => Err(ApiError::forbidden("Address already in use")),
                false => Ok((ip, pool)),
            };
        }
        let free = |pool: &'a Pool| {
            let ip = pool
                .subnet
                .lowest_free(&pool.range, |ip| taken.contains(&ip))?;
            Some((ip, pool))
        };
        pools.find_map(free).ok_or_else(|| no_address(network, v6))
    }

    /// The running containers that have a network namespace of their own, by name, with a task in it.
    #[must_use]
    pub fn sandboxes(&self) -> Vec<(String, TaskId)> {
        let named = |container: Rc<Container>| {
            let task = container.sandbox.borrow().as_ref()?.task?;
            Some((container.data.borrow().name.clone(), task))
        };
        self.all_containers()
            .into_iter()
            .filter_map(named)
            .collect()
    }

    /// Running containers on a network, with how they are on it.
    pub(crate) fn endpoints_of(&self, network: &str) -> Vec<(Rc<Container>, Endpoint)> {
        let mut found = Vec::new();
        let hidden: Vec<_> = self.build_containers.borrow().values().cloned().collect();
        for container in self.all_containers().into_iter().chain(hidden) {
            let sandbox = container.sandbox.borrow();
            let endpoints = sandbox.iter().flat_map(|sandbox| &sandbox.endpoints);
            let own = endpoints
                .filter(|endpoint| endpoint.network == network)
                .cloned();
            found.extend(own.map(|endpoint| (Rc::clone(&container), endpoint)));
        }
        found
    }

    /// Puts the links into the namespace of the container's first process.
    pub(crate) fn plug(&self, container: &Rc<Container>, task: TaskId) -> Result<()> {
        let endpoints = match &mut *container.sandbox.borrow_mut() {
            Some(sandbox) => {
                sandbox.task = Some(task);
                sandbox.endpoints.clone()
            }
            None => return Ok(()),
        };
        for endpoint in &endpoints {
            self.plug_endpoint(endpoint, task)?;
        }
        self.default_routes(container, task)?;
        self.ensure_resolver(container, task)
    }

    /// Starts the name server of a container on a user's network, unless it runs.
    pub(crate) fn ensure_resolver(&self, container: &Rc<Container>, task: TaskId) -> Result<()> {
        let runs = match &*container.sandbox.borrow() {
            Some(sandbox) => sandbox.resolver.is_some(),
            None => true,
        };
        if runs || !self.needs_resolver(container) {
            return Ok(());
        }
        let resolver = self
            .start_resolver(container, task)
            .map_err(failed("failed to start the name server of the sandbox"))?;
        if let Some(sandbox) = &mut *container.sandbox.borrow_mut() {
            sandbox.resolver = Some(resolver);
        }
        self.write_resolv_conf(container)
    }

    /// The link of an endpoint, and what is at its other end.
    pub(crate) fn plug_endpoint(&self, endpoint: &Endpoint, task: TaskId) -> Result<()> {
        let Some(address) = &endpoint.address else {
            return Ok(());
        };
        let (view, os) = (View::Task(task), &self.os);
        let link = address.link.as_str();
        match &address.via {
            Via::Bridge { bridge, veth } => self.plug_pair(address, bridge, veth, view),
            Via::Lan { link: new, .. } => self.plug_lan(address, new, view),
        }?;
        // A network without IPv6 gives no address of it, not even a link's own; and a container may want none.
        let path = "/proc/sys/net/ipv6/conf/all/disable_ipv6";
        let disabled = os.read_file_now(view, path.as_bytes());
        let has_v6 = address.v6.is_some() && !disabled.is_ok_and(|text| text.starts_with(b"1"));
        let links = os.links(view).unwrap_or_default();
        let own = links.iter().filter(|found| found.name == link && !has_v6);
        for &(ip, prefix) in own.flat_map(|found| &found.addresses) {
            if ip.is_ipv6() {
                let _ = os.address_delete(view, link, ip, prefix);
            }
        }
        let v6 = address.v6.as_ref().filter(|_| has_v6);
        let extra = address
            .link_local
            .iter()
            .map(|&ip| (ip, if ip.is_ipv6() { 64 } else { 16 }));
        let more = v6
            .map(|v6| (IpAddr::V6(v6.ip), v6.prefix))
            .into_iter()
            .chain(extra);
        for (ip, prefix) in more {
            os.address_add(view, link, ip, prefix)
                .map_err(failed("failed to add interface to sandbox"))?;
        }
        Ok(())
    }

    /// One pair of links.
    fn plug_pair(&self, address: &Address, bridge: &str, veth: &str, view: View) -> Result<()> {
        let (os, link) = (&self.os, address.link.as_str());
        let pair = NewLink::Veth {
            mac: None,
            peer_view: view,
            peer: link.to_string(),
            peer_mac: None,
        };
        let master = LinkChange::Master(Some(bridge.to_string()));
        let added = failed(&format!("failed to add interface {veth} to sandbox"));
        let refused = |errno| {
            let mac = address.mac.as_ref().map(mac_text).unwrap_or_default();
            failed(&format!(
                "failed to add interface {veth} to sandbox: error setting interface \"{veth}\" MAC to \"{mac}\""
            ))(errno)
        };
        let mac = LinkChange::Mac(address.mac.unwrap_or_default());
        let mtu = |view, link| match address.mtu {
            Some(mtu) => os.link_set(view, link, &LinkChange::Mtu(mtu)),
            None => Ok(()),
        };
        os.link_add(HOST, veth, &pair).map_err(&added)?;
        os.link_set(view, link, &mac).map_err(refused)?;
        mtu(HOST, veth)
            .and_then(|()| mtu(view, link))
            .and_then(|()| os.link_set(HOST, veth, &master))
            .and_then(|()| os.link_set(HOST, veth, &LinkChange::Up(true)))
            .and_then(|()| os.address_add(view, link, IpAddr::V4(address.ip), address.prefix))
            .and_then(|()| os.link_set(view, link, &LinkChange::Up(true)))
            .map_err(added)
    }

    /// A link beside the host's own.
    fn plug_lan(&self, address: &Address, new: &NewLink, view: View) -> Result<()> {
        let (os, link) = (&self.os, address.link.as_str());
        let kind = match new {
            NewLink::Ipvlan { .. } => "ipvlan",
            _ => "macvlan",
        };
        let name = format!("veth{}", &os.rng().hex(4)[..7]);
        os.link_add(HOST, &name, new)
            .map_err(failed(&format!("failed to create the {kind} port")))?;
        let moved = os
            .link_set(HOST, &name, &LinkChange::Namespace(view))
            .and_then(|()| os.link_set(view, &name, &LinkChange::Name(link.to_string())));
        if let Err(errno) = moved {
            let _ = os.link_delete(HOST, &name);
            return Err(failed("failed to add interface to sandbox")(errno));
        }
        match address.mac {
            Some(mac) => os.link_set(view, link, &LinkChange::Mac(mac)),
            None => Ok(()),
        }
        .and_then(|()| os.address_add(view, link, IpAddr::V4(address.ip), address.prefix))
        .and_then(|()| os.link_set(view, link, &LinkChange::Up(true)))
        .map_err(failed("failed to add interface to sandbox"))
    }

    /// Adds the default routes of a container.
    fn default_routes(&self, container: &Container, task: TaskId) -> Result<()> {
        let sandbox = container.sandbox.borrow();
        for v6 in [false, true] {
            let outward = sandbox.as_ref().and_then(|sandbox| sandbox.outward(v6));
            outward.map_or(Ok(()), |endpoint| {
                self.default_route(endpoint, task, v6, true)
            })?;
        }
        Ok(())
    }

    /// Adds or removes a default route over an endpoint.
    fn default_route(&self, endpoint: &Endpoint, task: TaskId, v6: bool, add: bool) -> Result<()> {
        let Some(address) = &endpoint.address else {
            return Ok(());
        };
        let any: IpAddr = match v6 {
            false => Ipv4Addr::UNSPECIFIED.into(),
            true => Ipv6Addr::UNSPECIFIED.into(),
        };
        let routed = matches!(address.via, Via::Lan { routed: true, .. });
        let route = Route {
            destination: (any, 0),
            gateway: address.gateway(v6).filter(|_| !routed),
            link: Some(address.link.clone()),
            metric: 0,
        };
        let outcome = match add {
            true => self.os.route_add(View::Task(task), &route),
            false => self.os.route_delete(View::Task(task), &route),
        };
        match outcome {
            // The container wants no IPv6.
            Err(_) if v6 => Ok(()),
            outcome => outcome.map_err(failed("failed to set gateway")),
        }
    }

    /// After a network has come or gone: the default routes and the published ports go over the right one.
    pub(crate) fn turn_ways_out(&self, container: &Rc<Container>) -> Result<()> {
        let (before, task) = {
            let mut sandbox = container.sandbox.borrow_mut();
            let Some(sandbox) = &mut *sandbox else {
                return Ok(());
            };
            let chosen = sandbox.choose_ways_out();
            if chosen == sandbox.ways_out {
                return Ok(());
            }
            let before = [false, true].map(|v6| sandbox.outward(v6).cloned());
            sandbox.ways_out = chosen;
            (before, sandbox.task)
        };
        self.unpublish(container);
        if let Some(task) = task {
            for (v6, before) in [false, true].into_iter().zip(before) {
                if let Some(before) = before {
                    // It may have gone with its link.
                    let _ = self.default_route(&before, task, v6, false);
                }
            }
            self.default_routes(container, task)?;
        }
        self.publish(container)
    }

    /// Takes away one endpoint's links.
    pub(crate) fn unplug_endpoint(&self, endpoint: &Endpoint) {
        match endpoint.address.as_ref().map(|address| &address.via) {
            // With the namespace its links have gone already.
            Some(Via::Bridge { veth, .. }) => drop(self.os.link_delete(HOST, veth)),
            Some(Via::Lan { .. }) | None => {}
        }
    }

    /// The same for a container that goes on: its own end goes too.
    pub(crate) fn unplug_from(&self, endpoint: &Endpoint, task: Option<TaskId>) {
        self.unplug_endpoint(endpoint);
        if let (Some(address), Some(task)) = (&endpoint.address, task)
            && let Via::Lan { .. } = address.via
        {
            let _ = self.os.link_delete(View::Task(task), &address.link);
        }
    }

    /// Takes back what [`Engine::join_networks`] and [`Engine::plug`] gave.
    pub(crate) fn leave_networks(&self, container: &Container) {
        self.unpublish(container);
        let Some(sandbox) = container.sandbox.borrow_mut().take() else {
            return;
        };
        for endpoint in &sandbox.endpoints {
            self.unplug_endpoint(endpoint);
        }
        for rule in &sandbox.link_rules {
            // Somebody may have flushed the table.
            let _ = self
                .os
                .packet_filter(HOST, false, "filter", &format!("-D {rule}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses() {
        let mac = [2, 0x42, 0xac, 0x11, 0, 2];
        assert_eq!(mac_text(&mac), "02:42:ac:11:00:02");
        assert_eq!(parse_mac("02:42:AC:11:00:02"), Some(mac));
        for wrong in ["", "02:42:ac:11:00", "02:42:ac:11:00:0g", "1:2:3:4:5:6:7"] {
            assert_eq!(parse_mac(wrong), None, "{wrong}");
        }
    }
}
