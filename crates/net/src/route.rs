//! Routes: the tables of a namespace, and which route a packet takes.

use std::net::IpAddr;

use abi::{Errno, Result};

use crate::link::Scope;
use crate::types::{Cidr, LinkId};

/// Routes of a namespace at most.
const ROUTES_MAX: usize = 8192;

/// `RT_TABLE_…`.
pub mod table {
    #![allow(missing_docs, reason = "named as in rtnetlink(7)")]
    pub const DEFAULT: u32 = 253;
    pub const MAIN: u32 = 254;
    pub const LOCAL: u32 = 255;
}

/// `RTPROT_…`.
pub mod protocol {
    #![allow(missing_docs, reason = "named as in rtnetlink(7)")]
    pub const KERNEL: u8 = 2;
    pub const BOOT: u8 = 3;
    pub const STATIC: u8 = 4;
}

/// What a route does with a packet (`RTN_…`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RouteKind {
    /// Sends it on.
    Unicast,
    /// It is for this host.
    Local,
    /// It is for everybody on the link, this host too.
    Broadcast,
    /// An address of the subnet's routers (IPv6).
    Anycast,
    /// A group.
    Multicast,
    /// Drops it silently.
    Blackhole,
    /// Drops it and says "host unreachable".
    Unreachable,
    /// Drops it and says "prohibited".
    Prohibit,
}

impl RouteKind {
    /// `RTN_…`.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            RouteKind::Unicast => 1,
            RouteKind::Local => 2,
            RouteKind::Broadcast => 3,
            RouteKind::Anycast => 4,
            RouteKind::Multicast => 5,
            RouteKind::Blackhole => 6,
            RouteKind::Unreachable => 7,
            RouteKind::Prohibit => 8,
        }
    }

    /// From `RTN_…`.
    #[must_use]
    pub fn from_number(number: u8) -> Option<RouteKind> {
        Some(match number {
            1 => RouteKind::Unicast,
            2 => RouteKind::Local,
            3 => RouteKind::Broadcast,
            4 => RouteKind::Anycast,
            5 => RouteKind::Multicast,
            6 => RouteKind::Blackhole,
            7 => RouteKind::Unreachable,
            8 => RouteKind::Prohibit,
            _ => return None,
        })
    }
}

/// A route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Destination network.
    pub dst: Cidr,
    /// The router to send to; without it the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The link; none for those that drop.
    pub link: Option<LinkId>,
    /// The source address packets get that have none.
    pub source: Option<IpAddr>,
    /// Of several routes to a network the one with the least is taken.
    pub metric: u32,
    /// `RT_TABLE_…`.
    pub table: u32,
    /// `RTPROT_…`: who made it.
    pub protocol: u8,
    /// How far the destination is.
    pub scope: Scope,
    /// What it does.
    pub kind: RouteKind,
}

impl Route {
    /// A route of the main table through a link.
    #[must_use]
    pub fn unicast(dst: Cidr, gateway: Option<IpAddr>, link: Option<LinkId>) -> Route {
        Route {
            dst: dst.network(),
            gateway,
            link,
            source: None,
            metric: if dst.ip.is_ipv6() { 1024 } else { 0 },
            table: table::MAIN,
            protocol: protocol::BOOT,
            scope: if gateway.is_some() || dst.ip.is_ipv6() {
                Scope::Global
            } else {
                Scope::Link
            },
            kind: RouteKind::Unicast,
        }
    }

    /// The same destination, table and metric: what replaces or removes means this one.
    fn has_key_of(&self, other: &Route) -> bool {
        self.dst == other.dst && self.table == other.table && self.metric == other.metric
    }
}

/// Where a packet goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// What the route does.
    pub kind: RouteKind,
    /// Through which link.
    pub link: LinkId,
    /// To which neighbour.
    pub neighbour: IpAddr,
    /// The source address the route prefers.
    pub source: Option<IpAddr>,
}

/// The tables of a namespace. The order is that of looking up: the longest prefix first, then the least
/// metric.
#[derive(Default, Debug)]
pub struct Routes {
    routes: Vec<Route>,
}

/// How a route is added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Add {
    /// `EEXIST` when there is one.
    New,
    /// Takes the place of one.
    Replace,
    /// Another one for the same destination (`append`).
    Append,
}

impl Routes {
    /// All routes.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// Adds a route.
    pub fn add(&mut self, route: Route, how: Add) -> Result<()> {
        if self.routes.len() >= ROUTES_MAX {
            return Err(Errno::ENOBUFS);
        }
        if how != Add::Replace && self.routes.contains(&route) {
            return Err(Errno::EEXIST);
        }
        let known = self.routes.iter().position(|old| {
            old.has_key_of(&route) && (route.dst.ip.is_ipv4() || old.link == route.link)
        });
        match (known, how) {
            (Some(_), Add::New) => return Err(Errno::EEXIST),
            (Some(at), Add::Replace) => {
                self.routes[at] = route;
                return Ok(());
            }
            _ => {}
        }
        let order = |route: &Route| (std::cmp::Reverse(route.dst.prefix), route.metric);
        let at = self
            .routes
            .partition_point(|old| order(old) <= order(&route));
        self.routes.insert(at, route);
        Ok(())
    }

    /// Removes the first route that `is_meant`.
    pub fn remove(&mut self, is_meant: impl Fn(&Route) -> bool) -> Result<Route> {
        let at = self.routes.iter().position(is_meant);
        at.map(|at| self.routes.remove(at)).ok_or(Errno::ESRCH)
    }

    /// Keeps the routes that `stay`.
    pub fn retain(&mut self, stay: impl Fn(&Route) -> bool) {
        self.routes.retain(stay);
    }

    /// The route to `dst`, of the local table, then main, then default; only through `only` if given.
    #[must_use]
    pub fn find(&self, dst: IpAddr, only: Option<LinkId>) -> Option<&Route> {
        [table::LOCAL, table::MAIN, table::DEFAULT]
            .into_iter()
            .find_map(|table| {
                self.routes.iter().find(|route| {
                    route.table == table
                        && route.dst.contains(dst)
                        && (only.is_none()
                            || route.link == only
                            || route.kind == RouteKind::Local
                            || route.link.is_none())
                })
            })
    }

    /// Where a packet to `dst` goes, or why nowhere.
    pub fn lookup(&self, dst: IpAddr, only: Option<LinkId>) -> Result<Hop> {
        let route = self.find(dst, only).ok_or(Errno::ENETUNREACH)?;
        let link = match route.kind {
            RouteKind::Blackhole => return Err(Errno::EINVAL),
            RouteKind::Unreachable => return Err(Errno::EHOSTUNREACH),
            RouteKind::Prohibit => return Err(Errno::EACCES),
            _ => route.link.ok_or(Errno::ENETUNREACH)?,
        };
        Ok(Hop {
            kind: route.kind,
            link,
            neighbour: route.gateway.unwrap_or(dst),
            source: route.source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(dst: &str, gateway: Option<&str>, link: u32, metric: u32) -> Route {
        let mut route = Route::unicast(
            dst.parse().unwrap(),
            gateway.map(|ip| ip.parse().unwrap()),
            Some(LinkId(link)),
        );
        route.metric = metric;
        route
    }

    fn via(routes: &Routes, dst: &str) -> Result<(u32, String)> {
        let hop = routes.lookup(dst.parse().unwrap(), None)?;
        Ok((hop.link.0, hop.neighbour.to_string()))
    }

    #[test]
    fn the_longest_prefix_then_the_least_metric() {
        let mut routes = Routes::default();
        assert_eq!(via(&routes, "8.8.8.8"), Err(Errno::ENETUNREACH));
        for new in [
            route("0.0.0.0/0", Some("10.0.0.1"), 1, 100),
            route("0.0.0.0/0", Some("10.0.0.2"), 2, 50),
            route("10.0.0.0/8", None, 3, 0),
            route("10.1.0.0/16", None, 4, 0),
        ] {
            routes.add(new, Add::New).unwrap();
        }
        assert_eq!(via(&routes, "8.8.8.8"), Ok((2, "10.0.0.2".to_string())));
        assert_eq!(via(&routes, "10.2.3.4"), Ok((3, "10.2.3.4".to_string())));
        assert_eq!(via(&routes, "10.1.3.4"), Ok((4, "10.1.3.4".to_string())));
        let again = route("10.1.0.0/16", None, 5, 0);
        assert_eq!(routes.add(again.clone(), Add::New), Err(Errno::EEXIST));
        routes.add(again, Add::Replace).unwrap();
        assert_eq!(via(&routes, "10.1.3.4").unwrap().0, 5);
        let mut hole = route("10.1.2.3", None, 0, 0);
        (hole.kind, hole.link) = (RouteKind::Unreachable, None);
        routes.add(hole, Add::New).unwrap();
        assert_eq!(via(&routes, "10.1.2.3"), Err(Errno::EHOSTUNREACH));
        routes.remove(|route| route.dst.is_host()).unwrap();
        assert_eq!(via(&routes, "10.1.2.3").unwrap().0, 5);
    }
}
