//! Cutting packets that are too long for a link, and putting the pieces together again (RFC 791, RFC 8200).

use std::collections::BTreeMap;
use std::net::IpAddr;

use clock::{Instant, NANOS_PER_SEC};

use crate::packet::{self, ETHERNET_BYTES, Frame, IPV4_BYTES, IPV6_BYTES, Ip};

/// How long pieces are kept.
const TIMEOUT_NS: u64 = 30 * NANOS_PER_SEC;
/// Packets that are being put together at most, and their bytes.
const PACKETS_MAX: usize = 64;
const PIECES_MAX: usize = 256;
const BYTES_MAX: usize = 65_535;

type Key = (IpAddr, IpAddr, u8, u32);

#[derive(Debug)]
struct Pieces {
    since: Instant,
    /// By offset.
    pieces: BTreeMap<usize, Vec<u8>>,
    /// Length of the whole, once the last piece is there.
    total: Option<usize>,
    /// The header in front of the first piece.
    header: Vec<u8>,
}

/// Packets that are being put together.
#[derive(Default, Debug)]
pub struct Reassembly {
    packets: BTreeMap<Key, Pieces>,
}

impl Reassembly {
    /// Adds a piece; gives the packet when it was the last that was missing.
    pub fn add(&mut self, frame: &Frame, ip: &Ip, now: Instant) -> Option<Frame> {
        let fragment = ip.fragment?;
        let data = ip.payload(frame.packet());
        let end = fragment.offset + data.len();
        if data.is_empty() || end > BYTES_MAX || (fragment.more && !data.len().is_multiple_of(8)) {
            return None;
        }
        self.packets
            .retain(|_, pieces| now.since(pieces.since) < TIMEOUT_NS);
        let key = (ip.src, ip.dst, ip.proto, fragment.id);
        if self.packets.len() >= PACKETS_MAX && !self.packets.contains_key(&key) {
            self.packets.pop_first();
        }
        let pieces = self.packets.entry(key).or_insert_with(|| Pieces {
            since: now,
            pieces: BTreeMap::new(),
            total: None,
            header: Vec::new(),
        });
        // Pieces that overlap are an attack (RFC 5722): the packet is given up.
        let before = pieces.pieces.range(..=fragment.offset).next_back();
        let after = pieces.pieces.range(fragment.offset + 1..).next();
        let overlaps = before.is_some_and(|(at, data)| at + data.len() > fragment.offset)
            || after.is_some_and(|(at, _)| *at < end);
        if overlaps || pieces.pieces.len() >= PIECES_MAX {
            self.packets.remove(&key);
            return None;
        }
        if !fragment.more {
            pieces.total = Some(end);
        }
        if fragment.offset == 0 {
            let len = if ip.is_v6() { IPV6_BYTES } else { ip.header };
            pieces.header = frame.packet()[..len].to_vec();
        }
        pieces.pieces.insert(fragment.offset, data.to_vec());
        if !pieces.is_whole() {
            return None;
        }
        let pieces = self.packets.remove(&key)?;
        pieces.join(frame, ip.proto)
    }
}

impl Pieces {
    fn is_whole(&self) -> bool {
        let mut at = 0;
        for (&offset, data) in &self.pieces {
            if offset != at {
                return false;
            }
            at += data.len();
        }
        self.total == Some(at)
    }

    fn join(self, last: &Frame, proto: u8) -> Option<Frame> {
        let total = self.total?;
        let mut whole = Frame::for_packet(self.header.len() + total);
        whole.bytes[..ETHERNET_BYTES].copy_from_slice(&last.bytes[..ETHERNET_BYTES]);
        (whole.partial, whole.mark) = (false, last.mark);
        let packet = whole.packet_mut();
        packet[..self.header.len()].copy_from_slice(&self.header);
        let mut at = self.header.len();
        for data in self.pieces.values() {
            packet[at..at + data.len()].copy_from_slice(data);
            at += data.len();
        }
        if packet[0] >> 4 == 4 {
            let len = u16::try_from(packet.len()).ok()?;
            packet[2..4].copy_from_slice(&len.to_be_bytes());
            packet[6..8].fill(0);
            packet::fill_header_checksum(packet);
        } else {
            let len = u16::try_from(total).ok()?;
            packet[4..6].copy_from_slice(&len.to_be_bytes());
            packet[6] = proto;
        }
        Some(whole)
    }
}

/// Cuts a packet into pieces of at most `mtu` bytes.
#[must_use]
pub fn cut(mut frame: Frame, ip: &Ip, mtu: usize, id: u32) -> Vec<Frame> {
    frame.complete();
    let header = if ip.is_v6() {
        IPV6_BYTES + 8
    } else {
        IPV4_BYTES
    };
    let step = mtu.saturating_sub(header) & !7;
    if step == 0 {
        return Vec::new();
    }
    let start = if ip.is_v6() { IPV6_BYTES } else { ip.header };
    let data = frame.packet()[start..ip.end].to_vec();
    let (base, more_after) = match ip.fragment {
        Some(fragment) if !ip.is_v6() => (fragment.offset, fragment.more),
        _ => (0, false),
    };
    let mut pieces = Vec::new();
    for (number, chunk) in data.chunks(step).enumerate() {
        let at = number * step;
        let more = at + chunk.len() < data.len() || more_after;
        let mut piece = Frame::for_packet(header + chunk.len());
        (piece.partial, piece.mark) = (false, frame.mark);
        piece.bytes[..ETHERNET_BYTES].copy_from_slice(&frame.bytes[..ETHERNET_BYTES]);
        let packet = piece.packet_mut();
        packet[header..].copy_from_slice(chunk);
        if ip.is_v6() {
            packet[..IPV6_BYTES].copy_from_slice(&frame.packet()[..IPV6_BYTES]);
            packet[4..6].copy_from_slice(&((8 + chunk.len()) as u16).to_be_bytes());
            packet[40] = packet[6];
            packet[6] = 44;
            let word = at as u16 | u16::from(more);
            packet[42..44].copy_from_slice(&word.to_be_bytes());
            packet[44..48].copy_from_slice(&id.to_be_bytes());
        } else {
            packet[..IPV4_BYTES].copy_from_slice(&frame.packet()[..IPV4_BYTES]);
            packet[0] = 0x45;
            let len = (header + chunk.len()) as u16;
            packet[2..4].copy_from_slice(&len.to_be_bytes());
            let word = ((base + at) / 8) as u16 | u16::from(more) << 13;
            packet[6..8].copy_from_slice(&word.to_be_bytes());
            packet::fill_header_checksum(packet);
        }
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{IpSpec, build, proto};

    fn long(v6: bool) -> Frame {
        let spec = IpSpec {
            src: if v6 { "fd00::1" } else { "10.0.0.1" }.parse().unwrap(),
            dst: if v6 { "fd00::2" } else { "10.0.0.2" }.parse().unwrap(),
            proto: proto::UDP,
            ttl: 64,
            tos: 0,
            dont_fragment: false,
            id: 7,
        };
        let data: Vec<u8> = (0..4000u32).map(|at| at as u8).collect();
        let header = [0, 1, 0, 2, 0x0f, 0xa8, 0, 0];
        build(&spec, &[&header, &data])
    }

    #[test]
    fn pieces_in_any_order_make_the_packet_again() {
        for v6 in [false, true] {
            let mut whole = long(v6);
            whole.complete();
            let ip = Ip::parse(whole.packet()).unwrap();
            let mut pieces = cut(whole.clone(), &ip, 1500, 9);
            assert_eq!(pieces.len(), 3);
            assert!(pieces.iter().all(|piece| piece.packet().len() <= 1500));
            pieces.rotate_left(1);
            let mut reassembly = Reassembly::default();
            let mut joined = None;
            for piece in &pieces {
                let ip = Ip::parse(piece.packet()).unwrap();
                joined = reassembly.add(piece, &ip, Instant(0));
            }
            let joined = joined.expect("all pieces are there");
            let ip = Ip::parse(joined.packet()).unwrap();
            assert!(packet::checksum_is_right(joined.packet(), &ip));
            assert_eq!(ip.payload(joined.packet()).len(), 4008);
        }
    }

    #[test]
    fn overlapping_pieces_are_given_up() {
        let whole = long(false);
        let ip = Ip::parse(whole.packet()).unwrap();
        let pieces = cut(whole, &ip, 1500, 9);
        let mut reassembly = Reassembly::default();
        for piece in [&pieces[0], &pieces[1], &pieces[1], &pieces[2]] {
            let ip = Ip::parse(piece.packet()).unwrap();
            assert!(reassembly.add(piece, &ip, Instant(0)).is_none());
        }
    }
}
