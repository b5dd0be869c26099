//! Sockets for `ss` (`sock_diag(7)`): those of TCP, UDP and raw. Unix sockets are read from `/proc/net/unix`,
//! as `ss` does when this says that it does not know.

use std::net::IpAddr;

use abi::{Errno, Result};
use net::Endpoint;
use net::socket::Kind;

use super::super::consts as c;
use super::super::inet::shown::{Shown, family, shown};
use super::kind;
use super::message::{Header, MULTI, Message, word_at};
use crate::namespaces::NetNs;

/// `INET_DIAG_SKV6ONLY`, and states as TCP numbers them.
const SKV6ONLY: u16 = 11;
const CLOSED: u8 = 7;
const LISTENING: u8 = 10;

/// `struct inet_diag_req_v2`: family, protocol, extensions, states, addresses.
pub fn dump(net: &NetNs, header: &Header, body: &[u8]) -> Result<Vec<Vec<u8>>> {
    let wanted = u16::from(body.first().copied().unwrap_or(0));
    if header.kind != kind::DIAG_BY_FAMILY || !matches!(wanted, c::AF_INET | c::AF_INET6) {
        return Err(Errno::ENOENT);
    }
    if body.len() < 56 {
        return Err(Errno::EINVAL);
    }
    let (protocol, states) = (body[1], word_at(body, 4));
    let fits: fn(Kind) -> bool = match protocol {
        6 => |kind| kind == Kind::Tcp,
        17 => |kind| kind == Kind::Udp,
        255 => |kind| matches!(kind, Kind::Raw(_)),
        _ => return Err(Errno::ENOENT),
    };
    let is_meant = |socket: &Shown| {
        family(socket) == wanted && fits(socket.kind) && states >> socket.state & 1 != 0
    };
    Ok(shown(net)
        .iter()
        .filter(|socket| is_meant(socket))
        .map(|socket| describe(socket, wanted, header))
        .collect())
}

fn address(endpoint: Endpoint, family: u16) -> [u8; 16] {
    let mut raw = [0; 16];
    match endpoint.ip {
        IpAddr::V4(ip) if family == c::AF_INET => raw[..4].copy_from_slice(&ip.octets()),
        IpAddr::V4(ip) if ip.is_unspecified() => {}
        IpAddr::V4(ip) => raw.copy_from_slice(&ip.to_ipv6_mapped().octets()),
        IpAddr::V6(ip) => raw.copy_from_slice(&ip.octets()),
    }
    raw
}

/// `struct inet_diag_msg`.
fn describe(socket: &Shown, family: u16, header: &Header) -> Vec<u8> {
    let mut raw = vec![family as u8, socket.state, 0, 0];
    raw.extend_from_slice(&socket.local.port.to_be_bytes());
    raw.extend_from_slice(&socket.remote.port.to_be_bytes());
    raw.extend_from_slice(&address(socket.local, family));
    raw.extend_from_slice(&address(socket.remote, family));
    raw.extend_from_slice(&socket.link.to_le_bytes());
    let (uid, ino) = socket.owner;
    let cookie = [ino as u32, (ino >> 32) as u32];
    let numbers = [
        cookie[0],
        cookie[1],
        0,
        socket.queues.1 as u32,
        socket.queues.0 as u32,
        uid,
        ino as u32,
    ];
    for number in numbers {
        raw.extend_from_slice(&number.to_le_bytes());
    }
    let message = Message::new(kind::DIAG_BY_FAMILY, MULTI, header).bytes(&raw);
    // Without it `ss` takes a socket for one of IPv6 alone. Connections do not say.
    let says = family == c::AF_INET6 && matches!(socket.state, CLOSED | LISTENING);
    if says {
        let only = [u8::from(socket.v6_only)];
        return message.attribute(SKV6ONLY, &only).finish();
    }
    message.finish()
}
