//! The way of a frame that arrives: link, bridge, IP, and then up to a socket or on to another link.

use std::net::IpAddr;

use crate::fragment;
use crate::icmp::Problem;
use crate::link::LinkKind;
use crate::netfilter::Hook;
use crate::network::Network;
use crate::output::Filtered;
use crate::packet::{
    self, ETHERNET_BYTES, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Frame, Ip,
    checksum_is_right, proto,
};
use crate::route::{Hop, RouteKind};
use crate::types::{LinkId, NsId, is_link_local};

impl Network {
    /// A frame has arrived at a link.
    pub(crate) fn receive(&mut self, id: LinkId, frame: Frame) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if !link.up {
            link.counters.rx_dropped += 1;
            return;
        }
        if frame.bytes.len() < ETHERNET_BYTES {
            link.counters.rx_errors += 1;
            return;
        }
        link.received(self.now, &frame);
        let master = link.master;
        let uppers = match link.uppers.is_empty() {
            true => Vec::new(),
            false => link.uppers.clone(),
        };
        self.tap_received(id, &frame);
        match master {
            Some(bridge) => self.bridge_input(bridge, id, frame),
            None if uppers.is_empty() => self.rise(id, frame),
            None => {
                if let Some(frame) = self.lower_input(&uppers, frame) {
                    self.rise(id, frame);
                }
            }
        }
    }

    /// A frame comes in at a port of a bridge.
    fn bridge_input(&mut self, bridge_id: LinkId, port: LinkId, frame: Frame) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&bridge_id) else {
            return;
        };
        let (up, own) = (link.up, link.mac);
        let LinkKind::Bridge(bridge) = &mut link.kind else {
            return;
        };
        if !up {
            return;
        }
        bridge.learn(frame.mac(6), port, now);
        let destination = frame.mac(0);
        if destination == own {
            link.received(now, &frame);
            self.tap_received(bridge_id, &frame);
            self.rise(bridge_id, frame);
            return;
        }
        if !destination.is_unicast() {
            link.received(now, &frame);
            self.tap_received(bridge_id, &frame);
            let copy = frame.clone();
            self.bridge_forward(bridge_id, Some(port), frame);
            self.rise(bridge_id, copy);
            return;
        }
        self.bridge_forward(bridge_id, Some(port), frame);
    }

    /// Sends a frame out of a bridge's ports: the one it is behind, or all.
    pub(crate) fn bridge_forward(&mut self, bridge_id: LinkId, from: Option<LinkId>, frame: Frame) {
        let mut frame = frame;
        if from.is_some() && !self.may_bridge(bridge_id, &mut frame) {
            return;
        }
        let now = self.now;
        let destination = frame.mac(0);
        let known = self
            .links
            .get(&bridge_id)
            .and_then(|link| link.bridge())
            .and_then(|bridge| bridge.find(destination, now));
        if let Some(port) = known.filter(|_| destination.is_unicast()) {
            let may_return =
                from != Some(port) || self.links.get(&port).is_some_and(|link| link.hairpin);
            if may_return {
                self.transmit(port, frame);
            }
            return;
        }
        for port in self.ports_of(bridge_id) {
            let Some(link) = self.links.get(&port) else {
                continue;
            };
            if link.up && (from != Some(port) || link.hairpin) {
                self.transmit(port, frame.clone());
            }
        }
    }

    /// What the chain FORWARD says to a frame between two ports, where it is asked. Bridged packets are not
    /// tracked, so nothing of them is translated.
    fn may_bridge(&mut self, bridge_id: LinkId, frame: &mut Frame) -> bool {
        let Some(link) = self.links.get(&bridge_id) else {
            return false;
        };
        let ns = link.ns;
        let space = self.spaces.get(&ns);
        let asked = space.is_some_and(|space| space.settings.filter_bridged);
        if !asked || frame.ethertype() != ETHERTYPE_IPV4 {
            return true;
        }
        let Some(mut ip) = Ip::parse(frame.packet()) else {
            return true;
        };
        let both = (Some(bridge_id), Some(bridge_id));
        let filtered = self.filter(ns, Hook::Forward, frame, &mut ip, both);
        matches!(filtered, Filtered::Pass { .. })
    }

    /// A frame that is for the host goes to its protocol.
    fn rise(&mut self, id: LinkId, frame: Frame) {
        self.tap_risen(id, &frame);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        // What is for another is only seen because somebody floods.
        if !link.takes(frame.mac(0)) {
            return;
        }
        let ns = link.ns;
        match frame.ethertype() {
            ETHERTYPE_ARP => self.arp_input(ns, id, &frame),
            ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => self.ip_input(ns, id, frame),
            _ => link.counters.rx_dropped += 1,
        }
    }

    /// Why a packet cannot be what it says.
    fn is_martian(&self, ns: NsId, id: LinkId, ip: &Ip) -> bool {
        let is_loopback = self.links.get(&id).is_none_or(|link| link.is_loopback());
        if is_loopback {
            return false;
        }
        let localnet = self
            .spaces
            .get(&ns)
            .is_some_and(|space| space.settings.route_localnet);
        let loops = ip.src.is_loopback() || ip.dst.is_loopback();
        ip.src.is_multicast()
            || matches!(ip.src, IpAddr::V4(src) if src.is_broadcast())
            || (loops && (ip.is_v6() || !localnet))
    }

    fn ip_input(&mut self, ns: NsId, id: LinkId, mut frame: Frame) {
        let parsed = Ip::parse(frame.packet());
        let Some(space) = self.spaces.get_mut(&ns) else {
            return;
        };
        space.snmp.ip_in_receives += 1;
        let Some(mut ip) = parsed else {
            space.snmp.ip_in_hdr_errors += 1;
            return;
        };
        let header_is_right =
            frame.partial || ip.is_v6() || packet::checksum(&frame.packet()[..ip.header]) == 0;
        if !header_is_right || (ip.is_v6() && space.settings.no_ipv6) {
            space.snmp.ip_in_hdr_errors += 1;
            return;
        }
        // Padding of short frames is no part of the packet.
        frame.bytes.truncate(ETHERNET_BYTES + ip.end);
        if self.is_martian(ns, id, &ip) {
            self.count(ns, |snmp| snmp.ip_in_addr_errors += 1);
            return;
        }
        if ip.fragment.is_some() {
            let now = self.now;
            let Some(space) = self.spaces.get_mut(&ns) else {
                return;
            };
            space.snmp.ip_reasm_reqds += 1;
            let Some(whole) = space.reassembly.add(&frame, &ip, now) else {
                return;
            };
            space.snmp.ip_reasm_oks += 1;
            frame = whole;
            match Ip::parse(frame.packet()) {
                Some(whole) => ip = whole,
                None => return,
            }
        }
        match self.filter(ns, Hook::Prerouting, &mut frame, &mut ip, (Some(id), None)) {
            Filtered::Pass { .. } => {}
            Filtered::Drop | Filtered::Reject(_) => return,
        }
        match self.input_route(ns, id, &ip) {
            Some(hop) if is_for_us(&hop) => self.local_input(ns, id, frame, ip),
            found => self.forward(ns, id, frame, ip, found),
        }
    }

    /// Where a packet that came in goes. Groups and broadcasts are for everybody.
    fn input_route(&self, ns: NsId, id: LinkId, ip: &Ip) -> Option<Hop> {
        let everybody = ip.dst.is_multicast()
            || matches!(ip.dst, IpAddr::V4(dst) if dst.is_broadcast())
            || (is_link_local(ip.dst) && self.owns(id, ip.dst));
        if everybody {
            return Some(Hop {
                kind: RouteKind::Local,
                link: id,
                neighbour: ip.dst,
                source: None,
            });
        }
        self.spaces.get(&ns)?.routes.lookup(ip.dst, None).ok()
    }

    /// The link of a namespace that has this address.
    pub(crate) fn owner(&self, ns: NsId, ip: IpAddr) -> Option<LinkId> {
        self.links
            .iter()
            .find(|&(&id, link)| link.ns == ns && self.owns(id, ip))
            .map(|(&id, _)| id)
    }

    /// The link has this address.
    pub(crate) fn owns(&self, id: LinkId, ip: IpAddr) -> bool {
        self.links
            .get(&id)
            .is_some_and(|link| link.addresses.iter().any(|address| address.cidr.ip == ip))
    }

    /// A packet for this host.
    fn local_input(&mut self, ns: NsId, id: LinkId, mut frame: Frame, mut ip: Ip) {
        match self.filter(ns, Hook::Input, &mut frame, &mut ip, (Some(id), None)) {
            Filtered::Pass { .. } => {}
            Filtered::Drop => return,
            Filtered::Reject(with) => {
                self.reject(ns, Some(id), &frame, &ip, with);
                return;
            }
        }
        if !frame.partial && !checksum_is_right(frame.packet(), &ip) {
            self.count(ns, |snmp| match ip.proto {
                proto::TCP => snmp.tcp_in_errs += 1,
                proto::UDP => snmp.udp_in_errors += 1,
                _ => snmp.icmp_in_errors += 1,
            });
            return;
        }
        self.count(ns, |snmp| snmp.ip_in_delivers += 1);
        let somebody = self.raw_input(ns, id, &frame, &ip);
        match ip.proto {
            proto::TCP => self.tcp_input(ns, id, frame, &ip),
            proto::UDP => self.udp_input(ns, id, &frame, &ip),
            proto::ICMP if !ip.is_v6() => self.icmp_input(ns, id, &frame, &ip),
            proto::ICMPV6 if ip.is_v6() => self.icmp_input(ns, id, &frame, &ip),
            // No next header.
            59 if ip.is_v6() => {}
            _ if somebody => {}
            _ => {
                self.count(ns, |snmp| snmp.ip_in_unknown_protos += 1);
                self.icmp_error(ns, Some(id), &frame, &ip, Problem::Protocol);
            }
        }
    }

    /// A packet for somebody else.
    fn forward(&mut self, ns: NsId, id: LinkId, mut frame: Frame, mut ip: Ip, hop: Option<Hop>) {
        let Some(space) = self.spaces.get_mut(&ns) else {
            return;
        };
        if !space.forwards(ip.is_v6()) || is_link_local(ip.src) || is_link_local(ip.dst) {
            space.snmp.ip_in_addr_errors += 1;
            return;
        }
        let Some(hop) = hop else {
            let problem = match space.routes.lookup(ip.dst, None) {
                Err(abi::Errno::EHOSTUNREACH) => Problem::Host,
                Err(abi::Errno::EACCES) => Problem::Prohibited,
                // A black hole tells nobody.
                Err(abi::Errno::EINVAL) => return,
                _ => Problem::Network,
            };
            space.snmp.ip_out_no_routes += 1;
            self.icmp_error(ns, Some(id), &frame, &ip, problem);
            return;
        };
        if hop.kind != RouteKind::Unicast {
            return;
        }
        if !packet::decrement_ttl(frame.packet_mut()) {
            self.icmp_error(ns, Some(id), &frame, &ip, Problem::TimeExceeded);
            return;
        }
        ip.ttl -= 1;
        match self.filter(
            ns,
            Hook::Forward,
            &mut frame,
            &mut ip,
            (Some(id), Some(hop.link)),
        ) {
            Filtered::Pass { .. } => {}
            Filtered::Drop => return,
            Filtered::Reject(with) => {
                self.reject(ns, Some(id), &frame, &ip, with);
                return;
            }
        }
        self.count(ns, |snmp| snmp.ip_forw_datagrams += 1);
        let mtu = self.links.get(&hop.link).map_or(1500, |link| link.mtu);
        if frame.largest(&ip) > mtu as usize && (ip.dont_fragment || ip.is_v6()) {
            self.icmp_error(ns, Some(id), &frame, &ip, Problem::TooBig(mtu));
            return;
        }
        match self.filter(
            ns,
            Hook::Postrouting,
            &mut frame,
            &mut ip,
            (Some(id), Some(hop.link)),
        ) {
            Filtered::Pass { .. } => self.emit(ns, frame, &ip, &hop),
            Filtered::Drop | Filtered::Reject(_) => {}
        }
    }

    /// Sends a packet that has passed everything, in pieces if it has to be.
    pub(crate) fn emit(&mut self, ns: NsId, mut frame: Frame, ip: &Ip, hop: &Hop) {
        frame.track = None;
        let mtu = self.links.get(&hop.link).map_or(1500, |link| link.mtu) as usize;
        if frame.largest(ip) <= mtu {
            self.send_to_neighbour(ns, hop.link, hop.neighbour, frame);
            return;
        }
        let id = self.rng.next_u64() as u32;
        let pieces = fragment::cut(frame, ip, mtu, id);
        self.count(ns, |snmp| snmp.ip_frag_creates += pieces.len() as u64);
        for piece in pieces {
            self.send_to_neighbour(ns, hop.link, hop.neighbour, piece);
        }
    }

    pub(crate) fn count(&mut self, ns: NsId, what: impl FnOnce(&mut crate::namespace::Snmp)) {
        if let Some(space) = self.spaces.get_mut(&ns) {
            what(&mut space.snmp);
        }
    }
}

fn is_for_us(hop: &Hop) -> bool {
    matches!(
        hop.kind,
        RouteKind::Local | RouteKind::Broadcast | RouteKind::Anycast | RouteKind::Multicast
    )
}
