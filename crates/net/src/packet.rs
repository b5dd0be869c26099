//! A frame on its way, and what stands in its IP header.
//!
//! A frame is one buffer: 14 bytes of Ethernet header, then the packet. It moves by value through
//! namespaces, so nothing is copied until a bridge floods it or a capture wants it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A hardware address.
pub use smoltcp::wire::EthernetAddress as Mac;
use smoltcp::wire::{Ipv4Packet, Ipv6Packet};

use crate::netfilter::Track;

/// Bytes of an Ethernet header, which is also where the packet begins in a frame.
pub const ETHERNET_BYTES: usize = 14;
/// Bytes of an IPv4 header without options, and of an IPv6 header.
pub const IPV4_BYTES: usize = 20;
/// Bytes of an IPv6 header.
pub const IPV6_BYTES: usize = 40;

/// Ethernet types.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// `IPPROTO_…`.
pub mod proto {
    #![allow(missing_docs, reason = "named as in RFC 790 and its successors")]
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ICMPV6: u8 = 58;
}

/// An Ethernet frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Ethernet header and packet.
    pub bytes: Vec<u8>,
    /// The checksum of the transport header is not filled in yet: the packet was made on this machine, and
    /// only who puts it on a wire or into a capture needs it.
    pub partial: bool,
    /// The connection it belongs to; kept over loopback, forgotten between namespaces.
    pub track: Option<Track>,
    /// The firewall mark.
    pub mark: u32,
    /// Bytes of data in each of the TCP segments it stands for ([`crate::segment`]); 0: it is one.
    pub segment: u16,
}

impl Frame {
    /// A frame as it came from a wire.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Frame {
        Frame {
            bytes,
            partial: false,
            track: None,
            mark: 0,
            segment: 0,
        }
    }

    /// A frame around a packet made on this machine, with room for the Ethernet header.
    #[must_use]
    pub fn for_packet(len: usize) -> Frame {
        Frame {
            partial: true,
            ..Frame::new(vec![0; ETHERNET_BYTES + len])
        }
    }

    /// The packet.
    #[must_use]
    pub fn packet(&self) -> &[u8] {
        self.bytes.get(ETHERNET_BYTES..).unwrap_or_default()
    }

    /// The packet, to be changed.
    pub fn packet_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(ETHERNET_BYTES..).unwrap_or_default()
    }

    /// The Ethernet type; 0 when there is none.
    #[must_use]
    pub fn ethertype(&self) -> u16 {
        match self.bytes.get(12..14) {
            Some(raw) => u16::from_be_bytes([raw[0], raw[1]]),
            None => 0,
        }
    }

    /// The hardware address at 0 (destination) or 6 (source).
    #[must_use]
    pub fn mac(&self, at: usize) -> Mac {
        match self.bytes.get(at..at + 6) {
            Some(raw) => Mac::from_bytes(raw),
            None => Mac([0; 6]),
        }
    }

    /// Writes the Ethernet header.
    pub fn set_ethernet(&mut self, destination: Mac, source: Mac, ethertype: u16) {
        if let Some(header) = self.bytes.get_mut(..ETHERNET_BYTES) {
            header[..6].copy_from_slice(&destination.0);
            header[6..12].copy_from_slice(&source.0);
            header[12..].copy_from_slice(&ethertype.to_be_bytes());
        }
    }

    /// Fills in the checksum of the transport header.
    pub fn complete(&mut self) {
        if !std::mem::take(&mut self.partial) {
            return;
        }
        if let Some(ip) = Ip::parse(self.packet())
            && ip.fragment.is_none()
        {
            fill_checksum(self.packet_mut(), &ip);
        }
    }
}

/// A fragment's place in its packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// What the fragments of a packet have in common.
    pub id: u32,
    /// Where its bytes begin.
    pub offset: usize,
    /// It is not the last.
    pub more: bool,
}

/// What an IP header says.
#[derive(Clone, Copy, Debug)]
pub struct Ip {
    /// Source.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// Transport protocol.
    pub proto: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Type of service, or traffic class.
    pub tos: u8,
    /// Where the transport header begins in the packet.
    pub header: usize,
    /// Where the packet ends.
    pub end: usize,
    /// May not be cut into fragments on the way.
    pub dont_fragment: bool,
    /// It is a fragment.
    pub fragment: Option<Fragment>,
}

impl Ip {
    /// Reads the header of a packet; `None` when it is malformed. The IPv4 header checksum is not looked at.
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Ip> {
        match packet.first()? >> 4 {
            4 => Ip::parse_v4(packet),
            6 => Ip::parse_v6(packet),
            _ => None,
        }
    }

    fn parse_v4(packet: &[u8]) -> Option<Ip> {
        let ip = Ipv4Packet::new_checked(packet).ok()?;
        let (header, end) = (usize::from(ip.header_len()), usize::from(ip.total_len()));
        if header < IPV4_BYTES || end < header {
            return None;
        }
        let fragment = (ip.more_frags() || ip.frag_offset() > 0).then(|| Fragment {
            id: u32::from(ip.ident()),
            offset: usize::from(ip.frag_offset()),
            more: ip.more_frags(),
        });
        Some(Ip {
            src: ip.src_addr().into(),
            dst: ip.dst_addr().into(),
            proto: packet[9],
            ttl: ip.hop_limit(),
            tos: packet[1],
            header,
            end,
            dont_fragment: ip.dont_frag(),
            fragment,
        })
    }

    fn parse_v6(packet: &[u8]) -> Option<Ip> {
        let ip = Ipv6Packet::new_checked(packet).ok()?;
        let end = ip.total_len();
        let (mut proto, mut header) = (packet[6], IPV6_BYTES);
        let mut fragment = None;
        // Extension headers: hop-by-hop, routing, destination options, fragment. Few, or it is hostile.
        for _ in 0..8 {
            match proto {
                0 | 43 | 60 => {
                    let raw = packet.get(header..header + 2)?;
                    proto = raw[0];
                    header += 8 + 8 * usize::from(raw[1]);
                }
                44 => {
                    let raw = packet.get(header..header + 8)?;
                    let word = u16::from_be_bytes([raw[2], raw[3]]);
                    fragment = Some(Fragment {
                        id: u32::from_be_bytes([raw[4], raw[5], raw[6], raw[7]]),
                        offset: usize::from(word & !7),
                        more: word & 1 != 0,
                    });
                    proto = raw[0];
                    header += 8;
                }
                _ => break,
            }
        }
        (header <= end).then_some(Ip {
            src: ip.src_addr().into(),
            dst: ip.dst_addr().into(),
            proto,
            ttl: ip.hop_limit(),
            tos: ip.traffic_class(),
            header,
            end,
            dont_fragment: true,
            fragment,
        })
    }

    /// It is an IPv6 packet.
    #[must_use]
    pub fn is_v6(&self) -> bool {
        self.src.is_ipv6()
    }

    /// The transport header and what follows.
    #[must_use]
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet.get(self.header..self.end).unwrap_or_default()
    }

    /// Source and destination port; of an echo its identifier, once for each direction.
    #[must_use]
    pub fn ports(&self, packet: &[u8]) -> Option<(u16, u16)> {
        if self.fragment.is_some_and(|fragment| fragment.offset > 0) {
            return None;
        }
        let raw = self.payload(packet);
        let word = |at: usize| Some(u16::from_be_bytes([*raw.get(at)?, *raw.get(at + 1)?]));
        match self.proto {
            proto::TCP | proto::UDP => Some((word(0)?, word(2)?)),
            _ => None,
        }
    }

    /// The type of an ICMP message.
    #[must_use]
    pub fn icmp(&self, packet: &[u8]) -> Option<(u8, u8)> {
        let raw = self.payload(packet);
        let is_icmp = self.proto
            == if self.is_v6() {
                proto::ICMPV6
            } else {
                proto::ICMP
            };
        (is_icmp && raw.len() >= 8).then(|| (raw[0], raw[1]))
    }

    /// It is an ICMP message that reports an error, which must not be answered with another.
    #[must_use]
    pub fn is_icmp_error(&self, packet: &[u8]) -> bool {
        match self.icmp(packet) {
            Some((kind, _)) if self.is_v6() => kind < 128,
            Some((kind, _)) => matches!(kind, 3 | 4 | 5 | 11 | 12),
            None => false,
        }
    }
}

/// The sum of the Internet checksum (RFC 1071), not folded.
fn sum(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    // Eight bytes at once: sums of big words fold to the sum of the small ones.
    let mut total = 0u64;
    for word in &mut words {
        let word = u64::from_be_bytes([
            word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7],
        ]);
        total += (word >> 32) + (word & 0xffff_ffff);
    }
    let mut rest = [0; 8];
    let tail = words.remainder();
    rest[..tail.len()].copy_from_slice(tail);
    let word = u64::from_be_bytes(rest);
    total + (word >> 32) + (word & 0xffff_ffff)
}

fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

/// The Internet checksum of `bytes`.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    fold(sum(bytes))
}

/// The checksum of a transport message between two addresses (with their pseudo header).
#[must_use]
pub fn transport_checksum(src: IpAddr, dst: IpAddr, proto: u8, message: &[u8]) -> u16 {
    let addresses = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => sum(&src.octets()) + sum(&dst.octets()),
        (IpAddr::V6(src), IpAddr::V6(dst)) => sum(&src.octets()) + sum(&dst.octets()),
        _ => 0,
    };
    fold(addresses + u64::from(proto) + message.len() as u64 + sum(message))
}

/// Where the checksum of a transport protocol is.
fn checksum_at(proto: u8) -> Option<usize> {
    match proto {
        proto::TCP => Some(16),
        proto::UDP => Some(6),
        proto::ICMP | proto::ICMPV6 => Some(2),
        _ => None,
    }
}

/// Computes the checksum of the transport header.
pub fn fill_checksum(packet: &mut [u8], ip: &Ip) {
    let Some(at) = checksum_at(ip.proto) else {
        return;
    };
    let Some(message) = packet.get_mut(ip.header..ip.end) else {
        return;
    };
    if message.len() < at + 2 {
        return;
    }
    message[at..at + 2].fill(0);
    let mut value = if ip.proto == proto::ICMP {
        checksum(message)
    } else {
        transport_checksum(ip.src, ip.dst, ip.proto, message)
    };
    if value == 0 && ip.proto == proto::UDP {
        value = 0xffff;
    }
    message[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// The checksum of the transport header is right (or UDP's is not there).
#[must_use]
pub fn checksum_is_right(packet: &[u8], ip: &Ip) -> bool {
    let message = ip.payload(packet);
    match (ip.proto, checksum_at(ip.proto)) {
        (_, Some(at)) if message.len() < at + 2 => false,
        (proto::UDP, _) if !ip.is_v6() && message[6..8] == [0, 0] => true,
        (proto::ICMP, _) => checksum(message) == 0,
        (proto, Some(_)) => transport_checksum(ip.src, ip.dst, proto, message) == 0,
        (_, None) => true,
    }
}

/// Computes the header checksum of an IPv4 packet.
pub fn fill_header_checksum(packet: &mut [u8]) {
    if packet.first().is_some_and(|first| first >> 4 == 4) {
        let len = usize::from(packet[0] & 15) * 4;
        if let Some(header) = packet.get_mut(..len)
            && len >= IPV4_BYTES
        {
            header[10..12].fill(0);
            let value = checksum(header);
            header[10..12].copy_from_slice(&value.to_be_bytes());
        }
    }
}

/// Counts one hop: false when none is left.
pub fn decrement_ttl(packet: &mut [u8]) -> bool {
    let at = match packet.first().map(|first| first >> 4) {
        Some(4) => 8,
        Some(6) => 7,
        _ => return false,
    };
    let Some(ttl) = packet.get_mut(at) else {
        return false;
    };
    if *ttl <= 1 {
        return false;
    }
    *ttl -= 1;
    fill_header_checksum(packet);
    true
}

/// What a packet is made with.
#[derive(Clone, Copy, Debug)]
pub struct IpSpec {
    /// Source.
    pub src: IpAddr,
    /// Destination, of the same family.
    pub dst: IpAddr,
    /// Transport protocol.
    pub proto: u8,
    /// Time to live.
    pub ttl: u8,
    /// Type of service.
    pub tos: u8,
    /// May not be cut into fragments.
    pub dont_fragment: bool,
    /// What fragments have in common, if it is cut.
    pub id: u16,
}

/// Makes a packet around a transport message whose checksum is still to be filled in.
#[must_use]
pub fn build(spec: &IpSpec, message: &[&[u8]]) -> Frame {
    let len: usize = message.iter().map(|part| part.len()).sum();
    let header = if spec.dst.is_ipv4() {
        IPV4_BYTES
    } else {
        IPV6_BYTES
    };
    let mut frame = Frame::for_packet(header + len);
    let packet = frame.packet_mut();
    write_header(packet, spec, len);
    let mut at = header;
    for part in message {
        packet[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    frame
}

fn write_header(packet: &mut [u8], spec: &IpSpec, len: usize) {
    match (spec.src, spec.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            packet[0] = 0x45;
            packet[1] = spec.tos;
            packet[2..4].copy_from_slice(&((IPV4_BYTES + len) as u16).to_be_bytes());
            packet[4..6].copy_from_slice(&spec.id.to_be_bytes());
            packet[6] = if spec.dont_fragment { 0x40 } else { 0 };
            packet[8] = spec.ttl;
            packet[9] = spec.proto;
            packet[12..16].copy_from_slice(&src.octets());
            packet[16..20].copy_from_slice(&dst.octets());
            fill_header_checksum(packet);
        }
        (src, dst) => {
            packet[0] = 0x60 | spec.tos >> 4;
            packet[1] = spec.tos << 4;
            packet[4..6].copy_from_slice(&(len as u16).to_be_bytes());
            packet[6] = spec.proto;
            packet[7] = spec.ttl;
            packet[8..24].copy_from_slice(&v6(src).octets());
            packet[24..40].copy_from_slice(&v6(dst).octets());
        }
    }
}

fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// No address, of the family of `like`.
#[must_use]
pub fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Puts other addresses and ports into a packet; checksums stay right.
pub fn rewrite(
    frame: &mut Frame,
    ip: &Ip,
    src: Option<(IpAddr, Option<u16>)>,
    dst: Option<(IpAddr, Option<u16>)>,
) {
    let first_fragment = ip.fragment.is_none_or(|fragment| fragment.offset == 0);
    let partial = frame.partial;
    let packet = frame.packet_mut();
    let addresses = if ip.is_v6() { (8, 24, 16) } else { (12, 16, 4) };
    let mut change = Change::default();
    for (is_source, new) in [(true, src), (false, dst)] {
        let Some((address, port)) = new else { continue };
        let at = if is_source { addresses.0 } else { addresses.1 };
        let Some(field) = packet.get_mut(at..at + addresses.2) else {
            return;
        };
        match address {
            IpAddr::V4(address) if addresses.2 == 4 => change.write(field, &address.octets()),
            IpAddr::V6(address) if addresses.2 == 16 => change.write(field, &address.octets()),
            _ => return,
        }
        let port_at = match ip.proto {
            proto::TCP | proto::UDP => ip.header + if is_source { 0 } else { 2 },
            // The identifier of an echo.
            proto::ICMP | proto::ICMPV6 => ip.header + 4,
            _ => continue,
        };
        if let Some(port) = port
            && first_fragment
            && let Some(field) = packet.get_mut(port_at..port_at + 2)
        {
            if ip.proto == proto::ICMP {
                // Its checksum covers no addresses.
                let mut own = Change::default();
                own.write(field, &port.to_be_bytes());
                if !partial {
                    own.apply(packet, ip.header + 2);
                }
            } else {
                change.write(field, &port.to_be_bytes());
            }
        }
    }
    fill_header_checksum(packet);
    if partial || !first_fragment || ip.proto == proto::ICMP {
        return;
    }
    if let Some(at) = checksum_at(ip.proto) {
        let at = ip.header + at;
        if ip.proto == proto::UDP && packet.get(at..at + 2) == Some(&[0, 0]) {
            return;
        }
        change.apply(packet, at);
    }
}

/// An incremental update of a checksum (RFC 1624).
#[derive(Default)]
struct Change(u64);

impl Change {
    fn write(&mut self, field: &mut [u8], new: &[u8]) {
        for (old, new) in field.chunks_exact(2).zip(new.chunks_exact(2)) {
            self.0 += u64::from(!u16::from_be_bytes([old[0], old[1]]));
            self.0 += u64::from(u16::from_be_bytes([new[0], new[1]]));
        }
        field.copy_from_slice(new);
    }

    fn apply(&self, packet: &mut [u8], at: usize) {
        if let Some(field) = packet.get_mut(at..at + 2) {
            let old = u16::from_be_bytes([field[0], field[1]]);
            let new = fold(u64::from(!old) + self.0);
            field.copy_from_slice(&new.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp(partial: bool) -> Frame {
        let spec = IpSpec {
            src: Ipv4Addr::new(10, 0, 0, 1).into(),
            dst: Ipv4Addr::new(10, 0, 0, 2).into(),
            proto: proto::UDP,
            ttl: 64,
            tos: 0,
            dont_fragment: true,
            id: 7,
        };
        let header = [0x30, 0x39, 0, 53, 0, 13, 0, 0];
        let mut frame = build(&spec, &[&header, b"hello"]);
        if !partial {
            frame.complete();
        }
        frame
    }

    #[test]
    fn what_is_built_can_be_read() {
        let frame = udp(false);
        let ip = Ip::parse(frame.packet()).unwrap();
        assert_eq!((ip.proto, ip.ttl, ip.header), (proto::UDP, 64, 20));
        assert_eq!(ip.ports(frame.packet()), Some((12345, 53)));
        assert!(checksum_is_right(frame.packet(), &ip));
        assert_eq!(checksum(&frame.packet()[..20]), 0);
    }

    #[test]
    fn checksums_stay_right_when_addresses_change() {
        let mut frame = udp(false);
        let ip = Ip::parse(frame.packet()).unwrap();
        let new = Ipv4Addr::new(192, 168, 77, 3).into();
        rewrite(&mut frame, &ip, Some((new, Some(40000))), None);
        let ip = Ip::parse(frame.packet()).unwrap();
        assert_eq!((ip.src, ip.ports(frame.packet())), (new, Some((40000, 53))));
        assert!(checksum_is_right(frame.packet(), &ip));
        assert_eq!(checksum(&frame.packet()[..20]), 0);
    }

    #[test]
    fn cut_packets_are_malformed() {
        let frame = udp(false);
        for len in 0..frame.packet().len() {
            assert!(Ip::parse(&frame.packet()[..len]).is_none(), "{len}");
        }
    }
}
