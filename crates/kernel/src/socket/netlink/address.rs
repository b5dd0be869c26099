//! Addresses: `RTM_NEWADDR`, `RTM_DELADDR`, `RTM_GETADDR`.

use std::net::{IpAddr, Ipv4Addr};

use abi::{Errno, Result};
use net::link::{Address, Link, Scope};
use net::{Cidr, LinkId, Network, is_link_local};

use super::super::consts as c;
use super::kind;
use super::message::{Attributes, EXCL, Header, MULTI, Message, REPLACE, octets, word_at};
use crate::namespaces::NetNs;

/// Bytes of `struct ifaddrmsg`.
const INFO_BYTES: usize = 8;

/// `IFA_…`.
mod attribute {
    pub const ADDRESS: u16 = 1;
    pub const LOCAL: u16 = 2;
    pub const LABEL: u16 = 3;
    pub const BROADCAST: u16 = 4;
    pub const CACHEINFO: u16 = 6;
    pub const FLAGS: u16 = 8;
}
use attribute as a;

const PERMANENT: u8 = 0x80;
const SECONDARY: u8 = 0x01;

/// The addresses of all links, or of the one with that index.
pub fn dump(net: &NetNs, header: &Header, family: u16, index: u32) -> Vec<Vec<u8>> {
    net.with(|network| {
        let mut found = Vec::new();
        // IPv4 first, as two subsystems answer one after the other.
        for v6 in [false, true] {
            let wanted = if v6 { c::AF_INET6 } else { c::AF_INET };
            if family != c::AF_UNSPEC && family != wanted {
                continue;
            }
            for (_, link) in network.links_of(net.id) {
                if index != 0 && link.index != index {
                    continue;
                }
                let of_family = link
                    .addresses
                    .iter()
                    .filter(|address| address.cidr.ip.is_ipv6() == v6);
                found.extend(of_family.map(|address| describe(link, address, header)));
            }
        }
        found
    })
}

fn describe(link: &Link, address: &Address, header: &Header) -> Vec<u8> {
    let ip = address.cidr.ip;
    let family = if ip.is_ipv4() {
        c::AF_INET
    } else {
        c::AF_INET6
    };
    let mut flags = PERMANENT;
    if link.is_secondary(address) {
        flags |= SECONDARY;
    }
    let mut info = [
        family as u8,
        address.cidr.prefix,
        flags,
        address.scope.number(),
        0,
        0,
        0,
        0,
    ];
    info[4..].copy_from_slice(&link.index.to_le_bytes());
    let forever = [[0xff; 8], [0; 8]].concat();
    let bytes = octets(ip);
    let broadcast = address.broadcast.map(|ip| ip.octets().to_vec());
    let label = [address.label.as_bytes(), b"\0"].concat();
    let mut message = Message::new(kind::NEWADDR, MULTI, header)
        .bytes(&info)
        .attribute(a::ADDRESS, &bytes);
    if ip.is_ipv4() {
        message = message
            .attribute(a::LOCAL, &bytes)
            .optional(a::BROADCAST, broadcast.as_deref())
            .attribute(a::LABEL, &label)
            .attribute(a::FLAGS, &u32::from(flags).to_le_bytes())
            .attribute(a::CACHEINFO, &forever);
    } else {
        message = message
            .attribute(a::CACHEINFO, &forever)
            .attribute(a::FLAGS, &u32::from(flags).to_le_bytes());
    }
    message.finish()
}

/// What a request is about.
struct Request {
    cidr: Option<Cidr>,
    scope: Scope,
    broadcast: Option<Ipv4Addr>,
    label: String,
}

fn parse(body: &[u8]) -> Result<Request> {
    if body.len() < INFO_BYTES {
        return Err(Errno::EINVAL);
    }
    let attributes = Attributes::parse(&body[INFO_BYTES..]);
    let ip = attributes.ip(a::LOCAL)?.or(attributes.ip(a::ADDRESS)?);
    let cidr = ip.map(|ip| Cidr::new(ip, body[1]));
    let broadcast = match attributes.ip(a::BROADCAST)? {
        Some(IpAddr::V4(ip)) => Some(ip),
        _ => None,
    };
    let label = attributes.text(a::LABEL)?.unwrap_or_default().to_string();
    Ok(Request {
        cidr,
        scope: Scope::from_number(body[3]),
        broadcast,
        label,
    })
}

fn link(network: &Network, net: &NetNs, body: &[u8]) -> Result<LinkId> {
    network.link_by_index(net.id, word_at(body, 4))
}

/// `RTM_NEWADDR`.
pub fn add(net: &NetNs, header: &Header, body: &[u8]) -> Result<()> {
    let request = parse(body)?;
    let cidr = request.cidr.ok_or(Errno::EINVAL)?;
    let scope = match cidr.ip {
        ip if ip.is_ipv6() && ip.is_loopback() => Scope::Host,
        ip if is_link_local(ip) => Scope::Link,
        ip if ip.is_ipv6() => Scope::Global,
        _ => request.scope,
    };
    let new = Address {
        cidr,
        broadcast: request.broadcast,
        scope,
        label: request.label,
    };
    net.with(|network| {
        let id = link(network, net, body)?;
        match network.add_address(id, new) {
            Err(Errno::EEXIST) if header.flags & REPLACE != 0 && header.flags & EXCL == 0 => Ok(()),
            other => other,
        }
    })
}

/// `RTM_DELADDR`.
pub fn delete(net: &NetNs, body: &[u8]) -> Result<()> {
    let cidr = parse(body)?.cidr.ok_or(Errno::EINVAL)?;
    net.with(|network| {
        let id = link(network, net, body)?;
        network.remove_address(id, cidr)
    })
}
