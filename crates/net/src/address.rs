//! Addresses of links, the routes that follow from them, and those that are added.

use std::net::{IpAddr, Ipv6Addr};

use abi::{Errno, Result};
use clock::Instant;

use crate::link::{Address, Scope};
use crate::namespace::Endpoint;
use crate::network::{Event, Network};
use crate::route::{Add, Hop, Route, RouteKind, protocol, table};
use crate::types::{Cidr, LinkId, NsId, is_link_local};

/// How far an address of IPv6 is known: on its host, its link, everywhere.
fn reach(ip: IpAddr) -> u8 {
    match ip {
        ip if ip.is_loopback() => 1,
        ip if is_link_local(ip) => 2,
        _ => 14,
    }
}

impl Network {
    // ---- addresses ----

    /// `ipv6.conf.all.disable_ipv6`: the addresses of a namespace go, or those come that links have by themselves.
    pub fn set_ipv6(&mut self, ns: NsId, on: bool) -> Result<()> {
        self.space_mut(ns)?.settings.no_ipv6 = !on;
        let links: Vec<LinkId> = self.links_of(ns).map(|(id, _)| id).collect();
        for id in links {
            if on {
                self.give_own_v6(id);
                continue;
            }
            let own = self.link(id)?.addresses.iter().map(|address| address.cidr);
            let own: Vec<Cidr> = own.filter(|cidr| cidr.ip.is_ipv6()).collect();
            for cidr in own {
                self.remove_address(id, cidr)?;
            }
        }
        Ok(())
    }

    /// `ip addr add`.
    pub fn add_address(&mut self, id: LinkId, mut new: Address) -> Result<()> {
        let link = self.links.get_mut(&id).ok_or(Errno::ENODEV)?;
        let ip = new.cidr.ip;
        if ip.is_multicast() || (ip.is_unspecified() && ip.is_ipv6()) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        if link.addresses.iter().any(|old| old.cidr == new.cidr) {
            return Err(Errno::EEXIST);
        }
        if link.addresses.len() >= 1024 {
            return Err(Errno::ENOBUFS);
        }
        if new.label.is_empty() {
            new.label = link.name.clone();
        }
        // Linux sorts those of IPv6 by how far they are known, the newest first.
        let farther = |old: &Address| old.cidr.ip.is_ipv6() && reach(old.cidr.ip) <= reach(ip);
        let at = link
            .addresses
            .iter()
            .position(|old| ip.is_ipv6() && farther(old));
        let at = at.unwrap_or(link.addresses.len());
        link.addresses.insert(at, new.clone());
        let (ns, up) = (link.ns, link.up);
        self.add_address_routes(id, &new);
        if !up {
            // Its own address is known at once, the network behind it only when the link is up.
            self.remove_network_routes(id, &new);
        }
        self.tell(Event::Address(ns, id));
        Ok(())
    }

    pub(crate) fn add_address_routes(&mut self, id: LinkId, new: &Address) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let (ns, is_loopback) = (link.ns, link.is_loopback());
        let is_secondary = link.is_secondary(new);
        let Some(space) = self.spaces.get_mut(&ns) else {
            return;
        };
        let mut add = |dst: Cidr, kind: RouteKind, table: u32, scope: Scope, metric: u32| {
            let route = Route {
                dst,
                gateway: None,
                link: Some(id),
                source: dst.ip.is_ipv4().then_some(new.cidr.ip),
                metric,
                table,
                protocol: protocol::KERNEL,
                scope,
                kind,
            };
            // One that is there already is as good.
            let _ = space.routes.add(route, Add::Append);
        };
        let ip = new.cidr.ip;
        add(
            Cidr::host(ip),
            RouteKind::Local,
            table::LOCAL,
            Scope::Host,
            0,
        );
        let network = new.cidr.network();
        if is_secondary {
            // The first address of a network stands for all.
        } else if ip.is_ipv4() {
            if is_loopback && ip.is_loopback() && !network.is_host() {
                add(network, RouteKind::Local, table::LOCAL, Scope::Host, 0);
            } else if !network.is_host() {
                add(network, RouteKind::Unicast, table::MAIN, Scope::Link, 0);
            }
            if let Some(last) = network.broadcast() {
                let last = Cidr::host(last.into());
                add(last, RouteKind::Broadcast, table::LOCAL, Scope::Link, 0);
            }
        } else {
            if !network.is_host() {
                add(network, RouteKind::Unicast, table::MAIN, Scope::Global, 256);
            }
            if !is_loopback {
                let groups = Cidr::new(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(), 8);
                add(
                    groups,
                    RouteKind::Multicast,
                    table::LOCAL,
                    Scope::Global,
                    256,
                );
            }
        }
        self.tell(Event::Route(ns));
    }

    fn remove_network_routes(&mut self, id: LinkId, old: &Address) {
        let Some(ns) = self.links.get(&id).map(|link| link.ns) else {
            return;
        };
        let network = old.cidr.network();
        if let Some(space) = self.spaces.get_mut(&ns) {
            space.routes.retain(|route| {
                route.link != Some(id)
                    || route.protocol != protocol::KERNEL
                    || (route.dst != network || route.kind == RouteKind::Local)
                        && (route.kind != RouteKind::Broadcast || route.source != Some(old.cidr.ip))
            });
        }
    }

    /// `ip addr del`.
    pub fn remove_address(&mut self, id: LinkId, cidr: Cidr) -> Result<()> {
        let link = self.links.get_mut(&id).ok_or(Errno::ENODEV)?;
        let at = link
            .addresses
            .iter()
            .position(|address| address.cidr == cidr)
            .ok_or(Errno::EADDRNOTAVAIL)?;
        let is_first = cidr.ip.is_ipv4() && !link.is_secondary(&link.addresses[at]);
        let old = link.addresses.remove(at);
        let ns = link.ns;
        let elsewhere = self.links.values().any(|link| {
            link.ns == ns
                && link
                    .addresses
                    .iter()
                    .any(|address| address.cidr.ip == cidr.ip)
        });
        if is_first || cidr.ip.is_ipv6() {
            self.remove_network_routes(id, &old);
        }
        if let Some(space) = self.spaces.get_mut(&ns) {
            let host = Cidr::host(cidr.ip);
            space.routes.retain(|route| {
                route.link != Some(id)
                    || (elsewhere || route.dst != host || route.kind != RouteKind::Local)
                        && (elsewhere || route.source != Some(cidr.ip))
            });
        }
        // The others of its network go with the first (promote_secondaries is 0).
        let link = self.link(id)?;
        let next = link
            .addresses
            .iter()
            .map(|address| address.cidr)
            .find(|other| is_first && other.network() == cidr.network());
        if let Some(next) = next {
            self.remove_address(id, next)?;
        }
        self.tell(Event::Address(ns, id));
        self.tell(Event::Route(ns));
        Ok(())
    }

    // ---- routes ----

    /// `ip route add`, `replace`, `append`. The gateway has to be on a link.
    pub fn add_route(&mut self, ns: NsId, mut route: Route, how: Add) -> Result<()> {
        route.dst = route.dst.network();
        let drops = matches!(
            route.kind,
            RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit
        );
        if let Some(gateway) = route.gateway {
            let hop = self
                .space(ns)?
                .routes
                .find(gateway, route.link)
                .filter(|known| known.gateway.is_none() && known.kind == RouteKind::Unicast)
                .ok_or(Errno::ENETUNREACH)?;
            route.link = route.link.or(hop.link);
        } else if route.link.is_none() && !drops {
            return Err(Errno::EINVAL);
        }
        if let Some(id) = route.link {
            let link = self.link(id)?;
            if link.ns != ns {
                return Err(Errno::ENODEV);
            }
            if !link.up {
                return Err(Errno::ENETDOWN);
            }
        }
        if let Some(source) = route.source
            && !self.is_local(ns, source)
        {
            return Err(Errno::EINVAL);
        }
        self.space_mut(ns)?.routes.add(route, how)?;
        self.tell(Event::Route(ns));
        Ok(())
    }

    /// `ip route del`.
    pub fn remove_route(&mut self, ns: NsId, is_meant: impl Fn(&Route) -> bool) -> Result<Route> {
        let gone = self.space_mut(ns)?.routes.remove(is_meant)?;
        self.tell(Event::Route(ns));
        Ok(gone)
    }

    /// Where a packet to `dst` goes, and from which address (`ip route get`).
    pub fn route_get(&self, ns: NsId, dst: IpAddr, only: Option<LinkId>) -> Result<(Hop, IpAddr)> {
        let hop = self.route(ns, dst, only)?;
        let source = self.source_for(ns, dst, &hop)?;
        Ok((hop, source))
    }

    /// The network's time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The address belongs to this namespace.
    #[must_use]
    pub fn is_local(&self, ns: NsId, ip: IpAddr) -> bool {
        self.spaces.get(&ns).is_some_and(|space| {
            space
                .routes
                .find(ip, None)
                .is_some_and(|route| route.kind == RouteKind::Local)
        })
    }

    /// Connections that are over but still remembered: their ends.
    #[must_use]
    pub fn time_wait(&self, ns: NsId) -> Vec<(Endpoint, Endpoint)> {
        let space = self.spaces.get(&ns);
        let fresh = space.into_iter().flat_map(|space| &space.time_wait);
        fresh
            .filter(|(_, old)| old.expires > self.now)
            .map(|(&ends, _)| ends)
            .collect()
    }
}
