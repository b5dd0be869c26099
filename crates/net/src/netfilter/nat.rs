//! Address translation: which tuple a connection gets, and the rewriting of its packets.

use std::net::IpAddr;

use super::conntrack::{Conntrack, CtState, Track, Tuple, parse_quoted};
use crate::packet::{self, Frame, Ip, proto};

/// Which end of a packet is translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manip {
    /// The source: POSTROUTING and INPUT.
    Source,
    /// The destination: PREROUTING and OUTPUT.
    Destination,
}

/// What an end may become.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Range {
    /// Addresses, first and last; `None` leaves the address.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// Ports, first and last; `None` leaves the port where that is possible.
    pub ports: Option<(u16, u16)>,
}

impl Range {
    /// The first address, or another in a fixed relation to the client's: a client keeps its address.
    fn address(&self, client: IpAddr) -> Option<IpAddr> {
        let (first, last) = self.addresses?;
        match (first, last, client) {
            (IpAddr::V4(first), IpAddr::V4(last), IpAddr::V4(client)) if first != last => {
                let (first, last) = (u32::from(first), u32::from(last).max(u32::from(first)));
                let count = u64::from(last - first) + 1;
                let at = (u64::from(u32::from(client)) * 0x9e37_79b1) % count;
                Some(std::net::Ipv4Addr::from(first + at as u32).into())
            }
            _ => Some(first),
        }
    }
}

/// Decides the translation of one end of a new connection; without a range the end stays, unless its
/// tuple belongs to another connection already. False: no tuple is free, the packet has to be dropped.
pub fn set_up(table: &mut Conntrack, track: Track, manip: Manip, range: Option<&Range>) -> bool {
    let Some(known) = table.get(track) else {
        return true;
    };
    let current = known.reply.inverse();
    let mut wanted = current;
    if let Some(range) = range {
        let client = current.src;
        let address = range.address(client);
        match manip {
            Manip::Source => wanted.src = address.unwrap_or(wanted.src),
            Manip::Destination => wanted.dst = address.unwrap_or(wanted.dst),
        }
    }
    let ports = range.and_then(|range| range.ports);
    let Some(chosen) = free_tuple(table, track.id, wanted, manip, ports) else {
        return false;
    };
    if let Some(known) = table.get_mut(track) {
        known.reply = chosen.inverse();
        known.is_set_up[index(manip)] = true;
    }
    true
}

fn index(manip: Manip) -> usize {
    match manip {
        Manip::Source => 0,
        Manip::Destination => 1,
    }
}

/// Whether the translation of that end has been decided.
#[must_use]
pub fn is_set_up(table: &Conntrack, track: Track, manip: Manip) -> bool {
    table
        .get(track)
        .is_none_or(|known| known.is_set_up[index(manip)])
}

/// A tuple whose answers nobody else gets: the port stays if it can.
fn free_tuple(
    table: &Conntrack,
    id: u64,
    wanted: Tuple,
    manip: Manip,
    ports: Option<(u16, u16)>,
) -> Option<Tuple> {
    let port_of = |tuple: &Tuple| match manip {
        _ if matches!(tuple.proto, proto::ICMP | proto::ICMPV6) => tuple.src_port,
        Manip::Source => tuple.src_port,
        Manip::Destination => tuple.dst_port,
    };
    let with_port = |port: u16| {
        let mut tuple = wanted;
        if matches!(tuple.proto, proto::ICMP | proto::ICMPV6) || manip == Manip::Source {
            tuple.src_port = port;
        } else {
            tuple.dst_port = port;
        }
        tuple
    };
    let has_ports = matches!(
        wanted.proto,
        proto::TCP | proto::UDP | proto::ICMP | proto::ICMPV6
    );
    let is_free = |tuple: &Tuple| !table.is_taken(&tuple.inverse(), id);
    if !has_ports {
        return Some(wanted);
    }
    let present = port_of(&wanted);
    if let Some((first, last)) = ports {
        let last = last.max(first);
        if (first..=last).contains(&present) && is_free(&wanted) {
            return Some(wanted);
        }
        // A destination is told apart by its source as well: the first will do for several.
        return (first..=last).map(with_port).find(is_free);
    }
    if is_free(&wanted) || manip == Manip::Destination {
        return Some(wanted);
    }
    let (first, last) = match present {
        _ if matches!(wanted.proto, proto::ICMP | proto::ICMPV6) => (0, u16::MAX),
        1..512 => (1, 511),
        512..1024 => (600, 1023),
        _ => (1024, u16::MAX),
    };
    let span = u32::from(last - first) + 1;
    let start = u32::from(present).wrapping_mul(0x9e37) % span;
    (0..span)
        .map(|step| with_port(first + ((start + step) % span) as u16))
        .find(is_free)
}

/// Rewrites a packet of a translated connection. True: addresses changed.
pub fn apply(table: &Conntrack, frame: &mut Frame, ip: &Ip, track: Track, manip: Manip) -> bool {
    let Some(known) = table.get(track) else {
        return false;
    };
    // As a packet of this direction looks after translation.
    let target = if track.is_reply {
        known.original.inverse()
    } else {
        known.reply.inverse()
    };
    let translated = match (manip, track.is_reply) {
        (Manip::Destination, false) | (Manip::Source, true) => known.has_dnat(),
        (Manip::Source, false) | (Manip::Destination, true) => known.has_snat(),
    };
    if !translated {
        return false;
    }
    let is_icmp = matches!(target.proto, proto::ICMP | proto::ICMPV6);
    let (address, port) = match manip {
        Manip::Source => (target.src, target.src_port),
        Manip::Destination if is_icmp => (target.dst, target.src_port),
        Manip::Destination => (target.dst, target.dst_port),
    };
    if track.state == CtState::Related {
        rewrite_error(frame, ip, address, port, manip);
        return true;
    }
    let new = Some((address, Some(port)));
    match manip {
        Manip::Source => packet::rewrite(frame, ip, new, None),
        Manip::Destination => packet::rewrite(frame, ip, None, new),
    }
    true
}

/// Rewrites an ICMP error, and in the packet it quotes the other end.
fn rewrite_error(frame: &mut Frame, ip: &Ip, address: IpAddr, port: u16, manip: Manip) {
    let inner_at = ip.header + 8;
    let Some(quoted) = frame.packet().get(inner_at..ip.end) else {
        return;
    };
    let Some(about) = parse_quoted(quoted) else {
        return;
    };
    let mut inner = Frame::new([&[0; packet::ETHERNET_BYTES][..], quoted].concat());
    // Its own checksum covers bytes that are not quoted: it is left alone, as nobody can check it.
    inner.partial = true;
    let new = Some((address, Some(port)));
    match manip {
        Manip::Source => packet::rewrite(&mut inner, &about, None, new),
        Manip::Destination => packet::rewrite(&mut inner, &about, new, None),
    }
    let rewritten = inner.packet().to_vec();
    if let Some(place) = frame.packet_mut().get_mut(inner_at..ip.end) {
        place.copy_from_slice(&rewritten);
    }
    let outer = Some((address, None));
    let was_partial = std::mem::replace(&mut frame.partial, true);
    match manip {
        Manip::Source => packet::rewrite(frame, ip, outer, None),
        Manip::Destination => packet::rewrite(frame, ip, None, outer),
    }
    frame.partial = was_partial;
    if !was_partial && let Some(ip) = Ip::parse(frame.packet()) {
        packet::fill_checksum(frame.packet_mut(), &ip);
    }
}
