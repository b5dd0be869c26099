//! A container's place on its networks: addresses, a pair of links each, and the way out.
//!
//! Everything that can be refused (names, addresses, ports) is settled before the container's first
//! process is made: [`Engine::join_networks`]. The links follow when there is a namespace to put them in:
//! [`Engine::plug`]. [`Engine::leave_networks`] takes all of it back.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use engine_api::error::{ApiError, Result};
use engine_api::types::{EndpointSettings, Network};
use os::network::{LinkChange, Mac, NewLink, Route};
use os::{TaskId, View};

use super::dns::Resolver;
use super::ports::Published;
use crate::Engine;
use crate::state::Container;

const HOST: View = View::Host;

/// An address on a bridge.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) ip: Ipv4Addr,
    pub(crate) prefix: u8,
    pub(crate) mac: Mac,
    /// The bridge's own address; an internal network leads nowhere.
    pub(crate) gateway: Option<Ipv4Addr>,
    /// The bridge.
    pub(crate) bridge: String,
    /// The link's name in the container.
    pub(crate) link: String,
    /// The other end's name on the host.
    pub(crate) veth: String,
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
    /// The network its default route goes over.
    pub(crate) way_out: Option<String>,
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
fn failed(what: &str) -> impl Fn(os::Errno) -> ApiError {
    move |errno| ApiError::system(format!("{what}: {}", errno.go_description()))
}

impl Endpoint {
    /// As inspect shows it, over what was asked for.
    pub(crate) fn show(&self, settings: &mut EndpointSettings) {
        settings.endpoint_id.clone_from(&self.id);
        if let Some(address) = &self.address {
            settings.mac_address = mac_text(&address.mac);
            settings.ip_address = address.ip.to_string();
            settings.ip_prefix_len = i64::from(address.prefix);
            settings.gateway = address.gateway.map(|ip| ip.to_string()).unwrap_or_default();
        }
    }
}

impl Sandbox {
    /// The endpoint with the default route.
    pub(crate) fn outward(&self) -> Option<&Endpoint> {
        let name = self.way_out.as_ref()?;
        self.endpoints
            .iter()
            .find(|endpoint| endpoint.network == *name)
    }

    /// The network whose gateway is to be the default route: the first by name that leads out.
    fn choose_way_out(&self) -> Option<String> {
        let leads_out =
            |address: &Option<Address>| address.as_ref().is_some_and(|at| at.gateway.is_some());
        let mut names: Vec<&String> = self
            .endpoints
            .iter()
            .filter(|endpoint| leads_out(&endpoint.address))
            .map(|endpoint| &endpoint.network)
            .collect();
        names.sort();
        names.first().map(|name| (*name).clone())
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
            way_out: None,
            resolver: None,
        });
        let wanted = container.data.borrow().networking.endpoints_config.clone();
        for (name, settings) in &wanted {
            let network = self.find_network(name)?;
            self.allocate(container, &network, settings)?;
        }
        if let Some(sandbox) = &mut *container.sandbox.borrow_mut() {
            sandbox.way_out = sandbox.choose_way_out();
        }
        self.publish(container)
    }

    /// An endpoint with an address, not yet with a link.
    pub(crate) fn allocate(
        &self,
        container: &Container,
        network: &Network,
        settings: &EndpointSettings,
    ) -> Result<Endpoint> {
        let address = match network.driver.as_str() {
            "bridge" => Some(self.address_for(container, network, settings)?),
            _ => None,
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
        let plan = super::Plan::of(network)?;
        let taken: BTreeSet<Ipv4Addr> = self
            .endpoints_of(&network.name)
            .into_iter()
            .filter_map(|(_, endpoint)| Some(endpoint.address?.ip))
            .chain(plan.reserved.iter().copied())
            .collect();
        let asked = super::wanted_ip(settings);
        let ip = match asked {
            Some(ip) if taken.contains(&ip) => {
                return Err(ApiError::forbidden("Address already in use"));
            }
            Some(ip) if !plan.subnet.contains(ip) => {
                return Err(ApiError::invalid(format!(
                    "Invalid address {ip}: It does not belong to any of this network's subnets"
                )));
            }
            Some(ip) => ip,
            None => plan
                .subnet
                .lowest_free(&plan.range, |ip| taken.contains(&ip))
                .ok_or_else(|| {
                    ApiError::system(format!(
                        "no available IPv4 addresses on this network's address pools: {} ({})",
                        network.name, network.id
                    ))
                })?,
        };
        let [a, b, c, d] = ip.octets();
        let sandbox = container.sandbox.borrow();
        let links: Vec<&str> = sandbox
            .iter()
            .flat_map(|sandbox| &sandbox.endpoints)
            .filter_map(|endpoint| Some(endpoint.address.as_ref()?.link.as_str()))
            .collect();
        let link = (0..)
            .map(|number| format!("eth{number}"))
            .find(|name| !links.contains(&name.as_str()))
            .unwrap_or_default();
        Ok(Address {
            ip,
            prefix: plan.subnet.prefix,
            mac: parse_mac(&settings.mac_address).unwrap_or([0x02, 0x42, a, b, c, d]),
            gateway: (!network.internal).then_some(plan.gateway),
            bridge: plan.bridge,
            link,
            veth: format!("veth{}", &self.os.rng().hex(4)[..7]),
        })
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
        {
            let sandbox = container.sandbox.borrow();
            let outward = sandbox.as_ref().and_then(Sandbox::outward);
            outward.map_or(Ok(()), |endpoint| self.default_route(endpoint, task, true))?;
        }
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

    /// One pair of links.
    pub(crate) fn plug_endpoint(&self, endpoint: &Endpoint, task: TaskId) -> Result<()> {
        let Some(address) = &endpoint.address else {
            return Ok(());
        };
        let (view, os) = (View::Task(task), &self.os);
        let (veth, link) = (address.veth.as_str(), address.link.as_str());
        let pair = NewLink::Veth {
            mac: None,
            peer_view: view,
            peer: link.to_string(),
            peer_mac: Some(address.mac),
        };
        let master = LinkChange::Master(Some(address.bridge.clone()));
        let ip = IpAddr::V4(address.ip);
        os.link_add(HOST, veth, &pair)
            .and_then(|()| os.link_set(HOST, veth, &master))
            .and_then(|()| os.link_set(HOST, veth, &LinkChange::Up(true)))
            .and_then(|()| os.address_add(view, link, ip, address.prefix))
            .and_then(|()| os.link_set(view, link, &LinkChange::Up(true)))
            .map_err(failed("failed to add interface to sandbox"))?;
        // A network without IPv6 gives no address of it, not even a link's own.
        let links = os.links(view).unwrap_or_default();
        let own = links.iter().filter(|found| found.name == link);
        for &(ip, prefix) in own.flat_map(|found| &found.addresses) {
            if ip.is_ipv6() {
                let _ = os.address_delete(view, link, ip, prefix);
            }
        }
        Ok(())
    }

    /// Adds or removes the default route over an endpoint.
    pub(crate) fn default_route(&self, endpoint: &Endpoint, task: TaskId, add: bool) -> Result<()> {
        let Some(address) = &endpoint.address else {
            return Ok(());
        };
        let route = Route {
            destination: (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            gateway: address.gateway.map(IpAddr::V4),
            link: Some(address.link.clone()),
            metric: 0,
        };
        let outcome = match add {
            true => self.os.route_add(View::Task(task), &route),
            false => self.os.route_delete(View::Task(task), &route),
        };
        outcome.map_err(failed("failed to set gateway"))
    }

    /// After a network has come or gone: the default route and the published ports go over the right one.
    pub(crate) fn turn_way_out(&self, container: &Rc<Container>) -> Result<()> {
        let (before, task) = {
            let mut sandbox = container.sandbox.borrow_mut();
            let Some(sandbox) = &mut *sandbox else {
                return Ok(());
            };
            let chosen = sandbox.choose_way_out();
            if chosen == sandbox.way_out {
                return Ok(());
            }
            let before = sandbox.outward().cloned();
            sandbox.way_out = chosen;
            (before, sandbox.task)
        };
        self.unpublish(container);
        if let Some(task) = task {
            if let Some(before) = before {
                // It may have gone with its link.
                let _ = self.default_route(&before, task, false);
            }
            let sandbox = container.sandbox.borrow();
            let outward = sandbox.as_ref().and_then(Sandbox::outward);
            outward.map_or(Ok(()), |endpoint| self.default_route(endpoint, task, true))?;
        }
        self.publish(container)
    }

    /// Takes away one endpoint's links.
    pub(crate) fn unplug_endpoint(&self, endpoint: &Endpoint) {
        if let Some(address) = &endpoint.address {
            // With the namespace its links have gone already.
            let _ = self.os.link_delete(HOST, &address.veth);
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
