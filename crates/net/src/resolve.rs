//! From IP addresses to hardware addresses: ARP (RFC 826), and neighbour discovery of IPv6 (RFC 4861).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use abi::{Errno, Result};
use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr};

use crate::icmp::Problem;
use crate::link::LinkKind;
use crate::neighbour::{DELAY_NS, KEEP_NS, Neighbour, PROBES_MAX, REACHABLE_NS, RETRY_NS, State};
use crate::network::{Network, Timer};
use crate::packet::{
    self, ETHERNET_BYTES, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Frame, Ip, IpSpec, Mac,
    proto,
};
use crate::types::{LinkId, NsId};
use crate::upper::IpvlanMode;

/// Neighbour solicitation and advertisement.
pub(crate) const SOLICITATION: u8 = 135;
pub(crate) const ADVERTISEMENT: u8 = 136;

impl Network {
    /// Sends a packet to a neighbour, after asking for its hardware address if that is not known.
    pub(crate) fn send_to_neighbour(
        &mut self,
        ns: NsId,
        id: LinkId,
        neighbour: IpAddr,
        mut frame: Frame,
    ) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let (own, kind) = (
            link.mac,
            if neighbour.is_ipv4() {
                ETHERTYPE_IPV4
            } else {
                ETHERTYPE_IPV6
            },
        );
        if let Some(mac) = self.fixed_mac(ns, id, neighbour) {
            frame.set_ethernet(mac, own, kind);
            self.transmit(id, frame);
            return;
        }
        let now = self.now;
        let key = (id, neighbour);
        let Some(space) = self.spaces.get_mut(&ns) else {
            return;
        };
        if !space.neighbours.entries.contains_key(&key) && !space.neighbours.make_room() {
            return;
        }
        let entry = space
            .neighbours
            .entries
            .entry(key)
            .or_insert_with(|| Neighbour::new(State::Failed, Mac([0; 6]), now));
        match entry.state {
            State::Failed => {
                (entry.state, entry.since, entry.probes) = (State::Incomplete, now, 0);
                entry.wait(frame);
                self.probe(ns, id, neighbour);
                return;
            }
            State::Incomplete => {
                entry.wait(frame);
                return;
            }
            State::Reachable if now.since(entry.since) >= REACHABLE_NS => {
                entry.state = State::Stale;
            }
            _ => {}
        }
        let mac = entry.mac;
        if entry.state == State::Stale {
            (entry.state, entry.since) = (State::Delay, now);
            self.arm_neighbour(ns, id, neighbour, DELAY_NS);
        }
        frame.set_ethernet(mac, own, kind);
        self.transmit(id, frame);
    }

    /// Hardware addresses that need no asking: those of groups and broadcasts, and of links without neighbours.
    fn fixed_mac(&self, ns: NsId, id: LinkId, ip: IpAddr) -> Option<Mac> {
        let link = self.links.get(&id)?;
        if matches!(link.kind, LinkKind::Loopback | LinkKind::Dummy) {
            return Some(Mac([0; 6]));
        }
        if matches!(link.kind, LinkKind::Ipvlan { mode, .. } if mode != IpvlanMode::L2) {
            return Some(link.mac);
        }
        match ip {
            IpAddr::V4(ip) if ip.is_multicast() => {
                let o = ip.octets();
                Some(Mac([1, 0, 0x5e, o[1] & 0x7f, o[2], o[3]]))
            }
            IpAddr::V6(ip) if ip.is_multicast() => {
                let o = ip.octets();
                Some(Mac([0x33, 0x33, o[12], o[13], o[14], o[15]]))
            }
            IpAddr::V4(v4) => {
                let is_broadcast = v4.is_broadcast()
                    || self
                        .spaces
                        .get(&ns)?
                        .routes
                        .find(ip, None)
                        .is_some_and(|route| route.kind == crate::route::RouteKind::Broadcast);
                is_broadcast.then_some(Mac::BROADCAST)
            }
            IpAddr::V6(_) => None,
        }
    }

    fn arm_neighbour(&mut self, ns: NsId, id: LinkId, ip: IpAddr, after_ns: u64) {
        let at = self.now.plus(after_ns);
        let timer = Timer::Neighbour(ns, id, ip);
        let Some(entry) = self.neighbour(ns, id, ip) else {
            return;
        };
        if let Some(old) = entry.timer.replace(at) {
            self.disarm(old, timer);
        }
        self.arm(at, timer);
    }

    fn neighbour(&mut self, ns: NsId, id: LinkId, ip: IpAddr) -> Option<&mut Neighbour> {
        self.spaces
            .get_mut(&ns)?
            .neighbours
            .entries
            .get_mut(&(id, ip))
    }

    /// Asks for a hardware address and waits for the answer.
    fn probe(&mut self, ns: NsId, id: LinkId, ip: IpAddr) {
        let Some(entry) = self.neighbour(ns, id, ip) else {
            return;
        };
        entry.probes += 1;
        let to = (entry.state == State::Probe).then_some(entry.mac);
        self.arm_neighbour(ns, id, ip, RETRY_NS);
        match ip {
            IpAddr::V4(ip) => self.arp_request(ns, id, ip, to),
            IpAddr::V6(ip) => self.solicit(ns, id, ip, to),
        }
    }

    pub(crate) fn neighbour_timer(&mut self, ns: NsId, id: LinkId, ip: IpAddr) {
        let now = self.now;
        let Some(entry) = self.neighbour(ns, id, ip) else {
            return;
        };
        if entry.timer.is_none_or(|at| at > now) {
            return;
        }
        entry.timer = None;
        match entry.state {
            State::Delay => {
                (entry.state, entry.probes) = (State::Probe, 0);
                self.probe(ns, id, ip);
            }
            State::Incomplete | State::Probe if entry.probes < PROBES_MAX => {
                self.probe(ns, id, ip);
            }
            State::Incomplete | State::Probe => {
                (entry.state, entry.since) = (State::Failed, now);
                let lost = entry.take_waiting();
                self.arm_neighbour(ns, id, ip, KEEP_NS);
                for frame in lost {
                    if let Some(about) = Ip::parse(frame.packet()) {
                        self.icmp_error(ns, None, &frame, &about, Problem::Host);
                    }
                }
            }
            // Nobody asked again: the entry is not needed.
            State::Failed => {
                if let Some(space) = self.spaces.get_mut(&ns) {
                    space.neighbours.entries.remove(&(id, ip));
                }
            }
            _ => {}
        }
    }

    /// A hardware address was heard. Only an answer to our question confirms it.
    pub(crate) fn heard(&mut self, ns: NsId, id: LinkId, ip: IpAddr, mac: Mac, how: Heard) {
        if !mac.is_unicast() || ip.is_unspecified() {
            return;
        }
        let now = self.now;
        let Some(space) = self.spaces.get_mut(&ns) else {
            return;
        };
        let key = (id, ip);
        if !space.neighbours.entries.contains_key(&key) {
            if !how.creates || !space.neighbours.make_room() {
                return;
            }
            let new = Neighbour::new(State::Stale, mac, now);
            space.neighbours.entries.insert(key, new);
        }
        let Some(entry) = space.neighbours.entries.get_mut(&key) else {
            return;
        };
        if entry.state == State::Permanent {
            return;
        }
        let is_news = entry.mac != mac || !entry.state.is_valid();
        entry.mac = mac;
        entry.is_router |= how.is_router;
        if how.confirms {
            (entry.state, entry.since, entry.timer) = (State::Reachable, now, None);
        } else if is_news {
            (entry.state, entry.since, entry.timer) = (State::Stale, now, None);
        }
        let waiting = entry.take_waiting();
        for frame in waiting {
            self.send_to_neighbour(ns, id, ip, frame);
        }
    }

    /// `ip neigh add`, `replace`.
    pub fn set_neighbour(&mut self, id: LinkId, ip: IpAddr, mac: Mac, state: State) -> Result<()> {
        let ns = self.link(id)?.ns;
        let now = self.now;
        let space = self.space_mut(ns)?;
        if !space.neighbours.make_room() {
            return Err(Errno::ENOBUFS);
        }
        let entry = Neighbour::new(state, mac, now);
        space.neighbours.entries.insert((id, ip), entry);
        Ok(())
    }

    /// `ip neigh del`.
    pub fn remove_neighbour(&mut self, id: LinkId, ip: IpAddr) -> Result<()> {
        let ns = self.link(id)?.ns;
        let gone = self.space_mut(ns)?.neighbours.entries.remove(&(id, ip));
        gone.map(|_| ()).ok_or(Errno::ENOENT)
    }

    // ---- ARP ----

    fn arp_request(&mut self, ns: NsId, id: LinkId, ip: Ipv4Addr, to: Option<Mac>) {
        let source = self.arp_source(ns, id, ip);
        self.send_arp(
            id,
            to.unwrap_or(Mac::BROADCAST),
            ArpOperation::Request,
            source,
            (to.unwrap_or(Mac([0; 6])), ip),
        );
    }

    /// The address we ask as: one of the target's network.
    fn arp_source(&self, ns: NsId, id: LinkId, ip: Ipv4Addr) -> Ipv4Addr {
        let hop = crate::route::Hop {
            kind: crate::route::RouteKind::Unicast,
            link: id,
            neighbour: ip.into(),
            source: None,
        };
        match self.source_for(ns, ip.into(), &hop) {
            Ok(IpAddr::V4(source)) => source,
            _ => Ipv4Addr::UNSPECIFIED,
        }
    }

    fn send_arp(
        &mut self,
        id: LinkId,
        to: Mac,
        operation: ArpOperation,
        source: Ipv4Addr,
        target: (Mac, Ipv4Addr),
    ) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let own = link.mac;
        let repr = ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: own,
            source_protocol_addr: source,
            target_hardware_addr: target.0,
            target_protocol_addr: target.1,
        };
        let mut frame = Frame::for_packet(repr.buffer_len());
        frame.partial = false;
        repr.emit(&mut ArpPacket::new_unchecked(frame.packet_mut()));
        frame.set_ethernet(to, own, ETHERTYPE_ARP);
        self.transmit(id, frame);
    }

    pub(crate) fn arp_input(&mut self, ns: NsId, id: LinkId, frame: &Frame) {
        let Ok(packet) = ArpPacket::new_checked(frame.packet()) else {
            return;
        };
        let Ok(ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: mac,
            source_protocol_addr: source,
            target_protocol_addr: target,
            ..
        }) = ArpRepr::parse(&packet)
        else {
            return;
        };
        if source.is_loopback() || source.is_multicast() || target.is_loopback() {
            return;
        }
        // Any address of the host is answered for at any of its links (arp_ignore 0).
        let for_us = self.is_local(ns, target.into());
        let how = Heard {
            creates: for_us && operation == ArpOperation::Request,
            confirms: operation == ArpOperation::Reply && frame.mac(0).is_unicast(),
            is_router: false,
        };
        self.heard(ns, id, source.into(), mac, how);
        if for_us && operation == ArpOperation::Request && !self.is_local(ns, source.into()) {
            self.send_arp(id, mac, ArpOperation::Reply, target, (mac, source));
        }
    }

    // ---- IPv6 ----

    fn solicit(&mut self, ns: NsId, id: LinkId, target: Ipv6Addr, to: Option<Mac>) {
        let o = target.octets();
        let group = Ipv6Addr::from([
            0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, o[13], o[14], o[15],
        ]);
        let dst = if to.is_some() { target } else { group };
        let hop = crate::route::Hop {
            kind: crate::route::RouteKind::Unicast,
            link: id,
            neighbour: target.into(),
            source: None,
        };
        let Ok(IpAddr::V6(source)) = self.source_for(ns, target.into(), &hop) else {
            return;
        };
        let Some(own) = self.links.get(&id).map(|link| link.mac) else {
            return;
        };
        let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(&o);
        // Source link-layer address.
        message.extend_from_slice(&[1, 1]);
        message.extend_from_slice(&own.0);
        self.send_discovery(id, source, dst, &message, to);
    }

    fn send_discovery(
        &mut self,
        id: LinkId,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        message: &[u8],
        to: Option<Mac>,
    ) {
        let Some(own) = self.links.get(&id).map(|link| link.mac) else {
            return;
        };
        let spec = IpSpec {
            src: src.into(),
            dst: dst.into(),
            proto: proto::ICMPV6,
            ttl: 255,
            tos: 0,
            dont_fragment: true,
            id: 0,
        };
        let mut frame = packet::build(&spec, &[message]);
        frame.complete();
        let o = dst.octets();
        let mac = to.unwrap_or(Mac([0x33, 0x33, o[12], o[13], o[14], o[15]]));
        frame.set_ethernet(mac, own, ETHERTYPE_IPV6);
        self.transmit(id, frame);
    }

    /// A neighbour solicitation or advertisement.
    pub(crate) fn discovery_input(&mut self, ns: NsId, id: LinkId, frame: &Frame, ip: &Ip) {
        let message = ip.payload(frame.packet());
        // Only a neighbour can send with the greatest hop limit.
        if ip.ttl != 255 || message.len() < 24 || frame.bytes.len() < ETHERNET_BYTES {
            return;
        }
        let mut raw = [0; 16];
        raw.copy_from_slice(&message[8..24]);
        let target = Ipv6Addr::from(raw);
        let (IpAddr::V6(source), false) = (ip.src, target.is_multicast()) else {
            return;
        };
        if message[0] == SOLICITATION {
            if !self.owns(id, target.into()) {
                return;
            }
            if let Some(mac) = link_layer_option(&message[24..], 1) {
                let how = Heard {
                    creates: true,
                    confirms: false,
                    is_router: false,
                };
                self.heard(ns, id, source.into(), mac, how);
            }
            self.advertise(ns, id, target, source, frame.mac(6));
            return;
        }
        let mac = link_layer_option(&message[24..], 2).unwrap_or(frame.mac(6));
        let how = Heard {
            creates: false,
            confirms: message[4] & 0x40 != 0,
            is_router: message[4] & 0x80 != 0,
        };
        self.heard(ns, id, target.into(), mac, how);
    }

    fn advertise(&mut self, ns: NsId, id: LinkId, target: Ipv6Addr, to: Ipv6Addr, mac: Mac) {
        let Some(own) = self.links.get(&id).map(|link| link.mac) else {
            return;
        };
        let is_router = self
            .spaces
            .get(&ns)
            .is_some_and(|space| space.settings.forward_v6);
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let solicited = !to.is_unspecified();
        let flags = u8::from(is_router) << 7 | u8::from(solicited) << 6 | 0x20;
        let mut message = vec![ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
        message.extend_from_slice(&target.octets());
        message.extend_from_slice(&[2, 1]);
        message.extend_from_slice(&own.0);
        if solicited {
            self.send_discovery(id, target, to, &message, Some(mac));
        } else {
            self.send_discovery(id, target, all_nodes, &message, None);
        }
    }
}

/// What a heard hardware address is worth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    /// The sender is about to talk to us: worth an entry.
    pub(crate) creates: bool,
    /// It answers our question.
    pub(crate) confirms: bool,
    pub(crate) is_router: bool,
}

/// The hardware address in the options of a discovery message.
fn link_layer_option(mut options: &[u8], kind: u8) -> Option<Mac> {
    while options.len() >= 8 {
        let len = usize::from(options[1]) * 8;
        if len == 0 || len > options.len() {
            return None;
        }
        if options[0] == kind {
            return Some(Mac::from_bytes(&options[2..8]));
        }
        options = &options[len..];
    }
    None
}
