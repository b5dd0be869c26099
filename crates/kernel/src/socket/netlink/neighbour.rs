//! Neighbours, and what bridges have learned: `RTM_NEWNEIGH`, `RTM_DELNEIGH`, `RTM_GETNEIGH`.

use abi::{Errno, Result};
use net::neighbour::State;
use net::{LinkId, Mac, Network};

use super::super::consts as c;
use super::kind;
use super::message::{Attributes, Header, MULTI, Message, octets, word_at};
use crate::namespaces::NetNs;

/// Bytes of `struct ndmsg`.
const INFO_BYTES: usize = 12;
/// `AF_BRIDGE`.
pub const BRIDGE: u16 = 7;

/// `NDA_…`.
mod attribute {
    pub const DST: u16 = 1;
    pub const LLADDR: u16 = 2;
    pub const MASTER: u16 = 9;
}
use attribute as a;

/// All neighbours of a family; of bridges the addresses they have learned.
pub fn dump(net: &NetNs, header: &Header, family: u16) -> Vec<Vec<u8>> {
    net.with(|network| {
        if family == BRIDGE {
            return learned(network, net, header);
        }
        let Ok(space) = network.space(net.id) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for ((link, ip), entry) in &space.neighbours.entries {
            let own = if ip.is_ipv4() {
                c::AF_INET
            } else {
                c::AF_INET6
            };
            let Ok(link) = network.link(*link) else {
                continue;
            };
            if family != c::AF_UNSPEC && family != own {
                continue;
            }
            // NTF_ROUTER.
            let flags = if entry.is_router { 0x80 } else { 0 };
            let info = info(own, link.index, entry.state.number(), flags);
            let mut message = Message::new(kind::NEWNEIGH, MULTI, header)
                .bytes(&info)
                .attribute(a::DST, &octets(*ip));
            if entry.state.is_valid() {
                message = message.attribute(a::LLADDR, &entry.mac.0);
            }
            found.push(message.finish());
        }
        found
    })
}

fn info(family: u16, index: u32, state: u16, flags: u8) -> [u8; INFO_BYTES] {
    let mut info = [0; INFO_BYTES];
    info[0] = family as u8;
    info[4..8].copy_from_slice(&index.to_le_bytes());
    info[8..10].copy_from_slice(&state.to_le_bytes());
    info[10] = flags;
    // RTN_UNICAST.
    info[11] = 1;
    info
}

/// The forwarding tables of all bridges.
fn learned(network: &Network, net: &NetNs, header: &Header) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for (_, link) in network.links_of(net.id) {
        let Some(bridge) = link.bridge() else {
            continue;
        };
        for (mac, seen) in bridge.entries(network.now()) {
            let Ok(port) = network.link(seen.port) else {
                continue;
            };
            let message = Message::new(kind::NEWNEIGH, MULTI, header)
                .bytes(&info(BRIDGE, port.index, State::Reachable.number(), 0))
                .attribute(a::LLADDR, &mac.0)
                .attribute(a::MASTER, &link.index.to_le_bytes());
            found.push(message.finish());
        }
    }
    found
}

fn parse(network: &Network, net: &NetNs, body: &[u8]) -> Result<(LinkId, std::net::IpAddr)> {
    let attributes = Attributes::parse(body.get(INFO_BYTES..).unwrap_or_default());
    let link = network.link_by_index(net.id, word_at(body, 4))?;
    Ok((link, attributes.ip(a::DST)?.ok_or(Errno::EINVAL)?))
}

/// `RTM_NEWNEIGH`.
pub fn add(net: &NetNs, body: &[u8]) -> Result<()> {
    let attributes = Attributes::parse(body.get(INFO_BYTES..).unwrap_or_default());
    let mac = attributes.mac(a::LLADDR)?;
    let number = body
        .get(8..10)
        .map_or(0, |raw| u16::from_le_bytes([raw[0], raw[1]]));
    let state = match number {
        2 => State::Reachable,
        4 => State::Stale,
        _ => State::Permanent,
    };
    net.with(|network| {
        let (link, ip) = parse(network, net, body)?;
        network.set_neighbour(link, ip, mac.unwrap_or(Mac([0; 6])), state)
    })
}

/// `RTM_DELNEIGH`.
pub fn delete(net: &NetNs, body: &[u8]) -> Result<()> {
    net.with(|network| {
        let (link, ip) = parse(network, net, body)?;
        network.remove_neighbour(link, ip)
    })
}
