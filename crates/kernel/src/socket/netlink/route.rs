//! Routes and rules: `RTM_NEWROUTE`, `RTM_DELROUTE`, `RTM_GETROUTE`, `RTM_GETRULE`.

use std::net::IpAddr;

use abi::{Errno, Result};
use net::link::Scope;
use net::route::{Add, Route, RouteKind, protocol, table};
use net::{Cidr, Network};

use super::super::{Caller, consts as c};
use super::kind;
use super::message::{APPEND, Attributes, CREATE, Header, MULTI, Message, REPLACE, octets};
use crate::namespaces::NetNs;

/// Bytes of `struct rtmsg`.
const INFO_BYTES: usize = 12;

/// `RTA_…`.
mod attribute {
    pub const DST: u16 = 1;
    pub const OIF: u16 = 4;
    pub const GATEWAY: u16 = 5;
    pub const PRIORITY: u16 = 6;
    pub const PREFSRC: u16 = 7;
    pub const CACHEINFO: u16 = 12;
    pub const TABLE: u16 = 15;
    pub const PREF: u16 = 20;
    pub const UID: u16 = 25;
    /// Of rules.
    pub const RULE_PRIORITY: u16 = 6;
    pub const RULE_TABLE: u16 = 15;
}
use attribute as a;

fn family_of(ip: IpAddr) -> u8 {
    let family = if ip.is_ipv4() {
        c::AF_INET
    } else {
        c::AF_INET6
    };
    family as u8
}

/// All routes of a family.
pub fn dump(net: &NetNs, header: &Header, family: u16) -> Vec<Vec<u8>> {
    net.with(|network| {
        let Ok(space) = network.space(net.id) else {
            return Vec::new();
        };
        let wanted = |route: &&Route| match family {
            c::AF_INET => route.dst.ip.is_ipv4(),
            c::AF_INET6 => route.dst.ip.is_ipv6(),
            _ => true,
        };
        let mut routes: Vec<&Route> = space.routes.iter().filter(wanted).collect();
        // As Linux walks its tables: by table, then by destination. Those of IPv4 with the default first, those of
        // IPv6 with it last, as every network behind the ones it contains.
        let order = |route: &&Route| {
            let Cidr { ip, prefix } = route.dst;
            let walk = match ip {
                IpAddr::V4(ip) => (u128::from(ip.to_bits()), prefix),
                IpAddr::V6(ip) => {
                    let rest = u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
                    (ip.to_bits() | rest, 128 - prefix)
                }
            };
            (ip.is_ipv6(), route.table, walk, route.metric)
        };
        order::sort_by_key(&mut routes, order);
        routes
            .into_iter()
            .map(|route| describe(network, route, header))
            .collect()
    })
}

fn describe(network: &Network, route: &Route, header: &Header) -> Vec<u8> {
    let info = [
        family_of(route.dst.ip),
        route.dst.prefix,
        0,
        0,
        u8::try_from(route.table).unwrap_or(0),
        route.protocol,
        route.scope.number(),
        route.kind.number(),
    ];
    let link = route.link.and_then(|link| network.link(link).ok());
    // A link without a carrier: RTNH_F_LINKDOWN.
    let is_down = route
        .link
        .is_some_and(|link| !network.has_carrier(link) && route.kind == RouteKind::Unicast);
    let flags: u32 = if is_down { 16 } else { 0 };
    let mut message = Message::new(kind::NEWROUTE, MULTI, header)
        .bytes(&info)
        .bytes(&flags.to_le_bytes())
        .attribute(a::TABLE, &route.table.to_le_bytes());
    if route.dst.prefix > 0 {
        message = message.attribute(a::DST, &octets(route.dst.ip));
    }
    if route.metric > 0 {
        message = message.attribute(a::PRIORITY, &route.metric.to_le_bytes());
    }
    if let Some(source) = route.source {
        message = message.attribute(a::PREFSRC, &octets(source));
    }
    if let Some(gateway) = route.gateway {
        message = message.attribute(a::GATEWAY, &octets(gateway));
    }
    if let Some(link) = link {
        message = message.attribute(a::OIF, &link.index.to_le_bytes());
    }
    if route.dst.ip.is_ipv6() {
        message = message.attribute(a::PREF, &[0]);
    }
    message.finish()
}

/// What a request is about.
struct Request {
    route: Route,
    has_link: bool,
    has_metric: bool,
    has_protocol: bool,
}

fn parse(network: &Network, net: &NetNs, body: &[u8]) -> Result<Request> {
    if body.len() < INFO_BYTES {
        return Err(Errno::EINVAL);
    }
    let attributes = Attributes::parse(&body[INFO_BYTES..]);
    let v6 = match u16::from(body[0]) {
        c::AF_INET => false,
        c::AF_INET6 => true,
        _ => return Err(Errno::EAFNOSUPPORT),
    };
    let dst = match attributes.ip(a::DST)? {
        Some(ip) => Cidr::new(ip, body[1]),
        None => Cidr::all(v6),
    };
    if dst.network() != dst && !v6 {
        return Err(Errno::EINVAL);
    }
    let link = match attributes.word(a::OIF) {
        Some(index) => Some(network.link_by_index(net.id, index)?),
        None => None,
    };
    let mut route = Route::unicast(dst, attributes.ip(a::GATEWAY)?, link);
    route.source = attributes.ip(a::PREFSRC)?;
    if let Some(metric) = attributes.word(a::PRIORITY) {
        route.metric = metric;
    }
    let short = match u32::from(body[4]) {
        0 => table::MAIN,
        number => number,
    };
    route.table = attributes
        .word(a::TABLE)
        .filter(|&t| t != 0)
        .unwrap_or(short);
    route.protocol = if body[5] == 0 {
        protocol::BOOT
    } else {
        body[5]
    };
    route.scope = Scope::from_number(body[6]);
    if body[7] != 0 {
        route.kind = RouteKind::from_number(body[7]).ok_or(Errno::EINVAL)?;
    }
    Ok(Request {
        route,
        has_link: link.is_some(),
        has_metric: attributes.word(a::PRIORITY).is_some(),
        has_protocol: body[5] != 0,
    })
}

/// `RTM_NEWROUTE`.
pub fn add(net: &NetNs, header: &Header, body: &[u8]) -> Result<()> {
    net.with(|network| {
        let request = parse(network, net, body)?;
        let how = if header.flags & REPLACE != 0 {
            Add::Replace
        } else if header.flags & APPEND != 0 {
            Add::Append
        } else {
            Add::New
        };
        let known = || {
            network.space(net.id).is_ok_and(|space| {
                space
                    .routes
                    .iter()
                    .any(|old| old.dst == request.route.dst && old.table == request.route.table)
            })
        };
        if header.flags & CREATE == 0 && !known() {
            return Err(Errno::ENOENT);
        }
        network.add_route(net.id, request.route, how)
    })
}

/// `RTM_DELROUTE`: what the request does not say does not matter.
pub fn delete(net: &NetNs, body: &[u8]) -> Result<()> {
    net.with(|network| {
        let request = parse(network, net, body)?;
        let wanted = request.route;
        let is_meant = |old: &Route| {
            old.dst == wanted.dst
                && old.table == wanted.table
                && (wanted.kind == RouteKind::Unicast || old.kind == wanted.kind)
                && (!request.has_link || old.link == wanted.link)
                && (!request.has_metric || old.metric == wanted.metric)
                && (!request.has_protocol || old.protocol == wanted.protocol)
                && (wanted.gateway.is_none() || old.gateway == wanted.gateway)
                && (wanted.source.is_none() || old.source == wanted.source)
        };
        network.remove_route(net.id, is_meant).map(drop)
    })
}

/// `RTM_GETROUTE` of one destination (`ip route get`).
pub fn get(caller: Caller<'_>, net: &NetNs, header: &Header, body: &[u8]) -> Result<Vec<u8>> {
    let uid = caller.t.creds().euid;
    let attributes = Attributes::parse(body.get(INFO_BYTES..).unwrap_or_default());
    let dst = attributes.ip(a::DST)?.ok_or(Errno::EINVAL)?;
    net.with(|network| {
        let only = match attributes.word(a::OIF) {
            Some(index) => Some(network.link_by_index(net.id, index)?),
            None => None,
        };
        let (hop, source) = network.route_get(net.id, dst, only)?;
        let link = network.link(hop.link)?;
        let is_local = hop.kind == RouteKind::Local;
        let shown = if is_local {
            network
                .find_link(net.id, "lo")
                .and_then(|lo| network.link(lo))?
        } else {
            link
        };
        // RTM_F_CLONED: made for this question; RTCF_LOCAL.
        let flags: u32 = if is_local { 0x8000_0200 } else { 0x200 };
        let info = [
            family_of(dst),
            if dst.is_ipv4() { 32 } else { 128 },
            0,
            0,
            table::MAIN as u8,
            0,
            Scope::Global.number(),
            hop.kind.number(),
        ];
        let mut message = Message::new(kind::NEWROUTE, 0, header)
            .bytes(&info)
            .bytes(&flags.to_le_bytes())
            .attribute(a::TABLE, &table::MAIN.to_le_bytes())
            .attribute(a::DST, &octets(dst))
            .attribute(a::OIF, &shown.index.to_le_bytes())
            .attribute(a::PREFSRC, &octets(source));
        if hop.neighbour != dst {
            message = message.attribute(a::GATEWAY, &octets(hop.neighbour));
        }
        let message = message.attribute(a::UID, &uid.to_le_bytes());
        Ok(message.attribute(a::CACHEINFO, &[0; 32]).finish())
    })
}

/// The rules there always are: local, main and default table.
pub fn dump_rules(header: &Header, family: u16) -> Vec<Vec<u8>> {
    let families = match family {
        c::AF_INET => vec![c::AF_INET],
        c::AF_INET6 => vec![c::AF_INET6],
        _ => vec![c::AF_INET, c::AF_INET6],
    };
    let mut found = Vec::new();
    for family in families {
        let rules = [
            (0u32, table::LOCAL),
            (32_766, table::MAIN),
            (32_767, table::DEFAULT),
        ];
        for (priority, number) in rules {
            // IPv6 has no default table until somebody puts something there.
            if family == c::AF_INET6 && number == table::DEFAULT {
                continue;
            }
            // FR_ACT_TO_TBL.
            let info = [family as u8, 0, 0, 0, number as u8, 0, 0, 1, 0, 0, 0, 0];
            let mut message = Message::new(kind::NEWRULE, MULTI, header)
                .bytes(&info)
                .attribute(a::RULE_TABLE, &number.to_le_bytes());
            if priority > 0 {
                message = message.attribute(a::RULE_PRIORITY, &priority.to_le_bytes());
            }
            found.push(message.finish());
        }
    }
    found
}
