//! Links: `lo`, the ends of veth pairs, bridges, and the machine's ports on a switch.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clock::Instant;

use crate::bridge::Bridge;
use crate::packet::{Frame, Mac};
use crate::types::{Cidr, LinkId, NsId, flags};
use crate::upper::{IpvlanMode, MacvlanMode};

/// Longest name of a link, its closing zero not counted.
pub const NAME_BYTES_MAX: usize = 15;
/// Frames that wait in a capture at most, and their bytes.
const CAPTURE_FRAMES_MAX: usize = 4096;
const CAPTURE_BYTES_MAX: usize = 4 << 20;
/// MTU of loopback; an IPv4 packet can have one byte less.
pub const LOOPBACK_MTU: u32 = 65_536;
/// MTU of everything else until somebody sets another.
pub const ETHERNET_MTU: u32 = 1500;

/// What kind of link it is.
#[derive(Clone, Debug)]
pub enum LinkKind {
    /// `lo`.
    Loopback,
    /// An end of a pair; `None` when the other end is gone.
    Veth {
        /// The other end.
        peer: Option<LinkId>,
    },
    /// A bridge.
    Bridge(Box<Bridge>),
    /// A port on a switch outside the machine.
    Ethernet {
        /// The cable is plugged in.
        plugged: bool,
    },
    /// Takes everything and gives nothing (`ip link add type dummy`).
    Dummy,
    /// A hardware address of its own on another link.
    Macvlan {
        /// The other link.
        lower: LinkId,
        /// Whom it reaches.
        mode: MacvlanMode,
    },
    /// IP addresses of its own on another link.
    Ipvlan {
        /// The other link.
        lower: LinkId,
        /// How packets find their way.
        mode: IpvlanMode,
    },
}

impl LinkKind {
    /// As `ip link add type` names it; nothing for what cannot be added.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        match self {
            LinkKind::Loopback | LinkKind::Ethernet { .. } => None,
            LinkKind::Veth { .. } => Some("veth"),
            LinkKind::Bridge(_) => Some("bridge"),
            LinkKind::Dummy => Some("dummy"),
            LinkKind::Macvlan { .. } => Some("macvlan"),
            LinkKind::Ipvlan { .. } => Some("ipvlan"),
        }
    }
}

/// How far an address is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scope {
    /// Everywhere.
    Global,
    /// On its link.
    Link,
    /// On this host.
    Host,
}

impl Scope {
    /// `RT_SCOPE_…`.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Scope::Global => 0,
            Scope::Link => 253,
            Scope::Host => 254,
        }
    }

    /// From `RT_SCOPE_…`.
    #[must_use]
    pub fn from_number(number: u8) -> Scope {
        match number {
            254 => Scope::Host,
            253 => Scope::Link,
            _ => Scope::Global,
        }
    }
}

/// An address of a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// Address and prefix.
    pub cidr: Cidr,
    /// Broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// How far it is known.
    pub scope: Scope,
    /// Name that `ip addr` shows (`eth0`, `eth0:1`).
    pub label: String,
}

/// What went through a link.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counters {
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Received frames that were thrown away.
    pub rx_dropped: u64,
    /// Malformed ones among them.
    pub rx_errors: u64,
    /// Multicast frames received.
    pub rx_multicast: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames that could not be sent.
    pub tx_dropped: u64,
}

/// A captured frame.
#[derive(Clone, Debug)]
pub struct Captured {
    /// When.
    pub at: Instant,
    /// The link sent it; it received it otherwise.
    pub sent: bool,
    /// Its bytes, checksums filled in.
    pub bytes: Vec<u8>,
}

/// Frames of a link that somebody looks at.
#[derive(Default, Debug)]
pub struct Capture {
    frames: VecDeque<Captured>,
    bytes: usize,
    /// Frames that did not fit.
    pub missed: u64,
}

impl Capture {
    fn add(&mut self, captured: Captured) {
        self.bytes += captured.bytes.len();
        self.frames.push_back(captured);
        while self.frames.len() > CAPTURE_FRAMES_MAX || self.bytes > CAPTURE_BYTES_MAX {
            let Some(oldest) = self.frames.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes.len();
            self.missed += 1;
        }
    }

    /// Takes what has been captured.
    pub fn take(&mut self) -> Vec<Captured> {
        self.bytes = 0;
        self.frames.drain(..).collect()
    }
}

/// A link.
#[derive(Debug)]
pub struct Link {
    /// Its namespace.
    pub ns: NsId,
    /// Index in the namespace.
    pub index: u32,
    /// Name in the namespace.
    pub name: String,
    /// Other names are not kept; this is the one of `ip link set alias`.
    pub alias: Option<String>,
    /// Kind.
    pub kind: LinkKind,
    /// Hardware address.
    pub mac: Mac,
    /// Somebody chose it: a bridge keeps it when ports come and go.
    pub mac_is_set: bool,
    /// Largest packet.
    pub mtu: u32,
    /// `txqueuelen`.
    pub queue_len: u32,
    /// Administratively up.
    pub up: bool,
    /// It has been up before, and there has been a carrier: what tools show remembers that.
    pub was_up: bool,
    /// There has been a carrier.
    pub had_carrier: bool,
    /// `IFF_PROMISC` and its like, as somebody set them.
    pub extra_flags: u32,
    /// The bridge it is a port of.
    pub master: Option<LinkId>,
    /// The links that are on it.
    pub uppers: Vec<LinkId>,
    /// As a port: frames may go out where they came in (`hairpin on`).
    pub hairpin: bool,
    /// Addresses, in the order they were added.
    pub addresses: Vec<Address>,
    /// Counters.
    pub counters: Counters,
    /// Somebody captures.
    pub capture: Option<Capture>,
}

impl Link {
    /// A link that is down and has no address.
    #[must_use]
    pub fn new(ns: NsId, index: u32, name: &str, kind: LinkKind, mac: Mac) -> Link {
        let is_loopback = matches!(kind, LinkKind::Loopback);
        Link {
            ns,
            index,
            name: name.to_string(),
            alias: None,
            mtu: if is_loopback {
                LOOPBACK_MTU
            } else {
                ETHERNET_MTU
            },
            kind,
            mac,
            mac_is_set: false,
            queue_len: 1000,
            up: false,
            was_up: false,
            had_carrier: false,
            extra_flags: 0,
            master: None,
            uppers: Vec::new(),
            hairpin: false,
            addresses: Vec::new(),
            counters: Counters::default(),
            capture: None,
        }
    }

    /// It is `lo`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        matches!(self.kind, LinkKind::Loopback)
    }

    /// The link it is on.
    #[must_use]
    pub fn lower(&self) -> Option<LinkId> {
        match self.kind {
            LinkKind::Macvlan { lower, .. } | LinkKind::Ipvlan { lower, .. } => Some(lower),
            _ => None,
        }
    }

    /// The bridge behind it, if it is one.
    #[must_use]
    pub fn bridge(&self) -> Option<&Bridge> {
        match &self.kind {
            LinkKind::Bridge(bridge) => Some(bridge),
            _ => None,
        }
    }

    /// `IFF_…`; whether there is a carrier is the network's business.
    #[must_use]
    pub fn flags(&self, carrier: bool) -> u32 {
        let mut bits = self.extra_flags;
        bits |= match self.kind {
            LinkKind::Loopback => flags::LOOPBACK,
            LinkKind::Dummy => flags::BROADCAST | 0x80,
            _ => flags::BROADCAST | flags::MULTICAST,
        };
        if self.up {
            bits |= flags::UP;
            if carrier {
                bits |= flags::RUNNING | flags::LOWER_UP;
            }
        }
        bits
    }

    /// The frame is for this host: its own address, or everybody's.
    #[must_use]
    pub fn takes(&self, destination: Mac) -> bool {
        destination == self.mac || !destination.is_unicast() || self.is_loopback()
    }

    /// An IPv4 address whose network another address of the link stands for.
    #[must_use]
    pub fn is_secondary(&self, address: &Address) -> bool {
        address.cidr.ip.is_ipv4()
            && self
                .addresses
                .iter()
                .take_while(|other| other.cidr != address.cidr)
                .any(|other| {
                    other.cidr.prefix == address.cidr.prefix
                        && other.cidr.network() == address.cidr.network()
                })
    }

    /// The first IPv4 address.
    #[must_use]
    pub fn ipv4(&self) -> Option<(Ipv4Addr, &Address)> {
        self.addresses
            .iter()
            .find_map(|address| match address.cidr.ip {
                IpAddr::V4(ip) => Some((ip, address)),
                IpAddr::V6(_) => None,
            })
    }

    /// Counts a received frame and shows it to who captures.
    pub fn received(&mut self, now: Instant, frame: &Frame) {
        self.counters.rx_packets += 1;
        self.counters.rx_bytes += self.counted(frame);
        if !self.is_loopback() && !frame.mac(0).is_unicast() && !frame.mac(0).is_broadcast() {
            self.counters.rx_multicast += 1;
        }
        self.show(now, false, frame);
    }

    /// Counts a sent frame and shows it to who captures.
    pub fn sent(&mut self, now: Instant, frame: &Frame) {
        self.counters.tx_packets += 1;
        self.counters.tx_bytes += self.counted(frame);
        // On loopback everything would be seen twice.
        if !self.is_loopback() {
            self.show(now, true, frame);
        }
    }

    /// Loopback counts packets, the others frames.
    fn counted(&self, frame: &Frame) -> u64 {
        let header = if self.is_loopback() {
            crate::packet::ETHERNET_BYTES
        } else {
            0
        };
        (frame.bytes.len() - header.min(frame.bytes.len())) as u64
    }

    fn show(&mut self, now: Instant, sent: bool, frame: &Frame) {
        if let Some(capture) = &mut self.capture {
            let mut frame = frame.clone();
            frame.complete();
            capture.add(Captured {
                at: now,
                sent,
                bytes: frame.bytes,
            });
        }
    }
}

/// The link-local IPv6 address that follows from a hardware address (RFC 4291, appendix A).
#[must_use]
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let m = mac.0;
    Ipv6Addr::from([
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        m[0] ^ 2,
        m[1],
        m[2],
        0xff,
        0xfe,
        m[3],
        m[4],
        m[5],
    ])
}

/// A name that a link may have (dev_valid_name).
#[must_use]
pub fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name != "."
        && name != ".."
        && !name
            .bytes()
            .any(|byte| byte == b'/' || byte == b':' || byte.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        assert!(is_valid_name("veth0123abc"));
        for bad in ["", ".", "..", "a/b", "a:1", "a b", "sixteen-bytes-xx"] {
            assert!(!is_valid_name(bad), "{bad}");
        }
        let mac = Mac([0x02, 0x42, 0xac, 0x11, 0, 2]);
        assert_eq!(link_local(mac).to_string(), "fe80::42:acff:fe11:2");
    }
}
