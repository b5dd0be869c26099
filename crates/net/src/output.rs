//! The way of a packet that is made here, the hooks of the packet filter, and the last step onto a link.

use std::net::{IpAddr, Ipv4Addr};

use abi::{Errno, Result};

use crate::link::{LinkKind, Scope};
use crate::namespace::Namespace;
use crate::netfilter::conntrack::CtState;
use crate::netfilter::nat::{self, Manip, Range};
use crate::netfilter::rule::{AddressType, Seen, Target, ct_bits};
use crate::netfilter::{Hook, TableName, Verdict};
use crate::network::Network;
use crate::packet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Frame, Ip, Mac, proto, unspecified};
use crate::route::{Hop, RouteKind, Routes};
use crate::types::{LinkId, NsId, is_link_local};

/// What the packet filter did.
pub(crate) enum Filtered {
    /// It goes on.
    Pass {
        /// Its destination is another now: it needs another route.
        rerouted: bool,
    },
    /// It is gone.
    Drop,
    /// It is gone, and the sender is to be told this.
    Reject(&'static str),
}

impl Network {
    /// A packet that was made here sets out. Errors are those of `sendto(2)`.
    pub(crate) fn output(
        &mut self,
        ns: NsId,
        mut frame: Frame,
        only: Option<LinkId>,
    ) -> Result<()> {
        let mut ip = Ip::parse(frame.packet()).ok_or(Errno::EINVAL)?;
        self.count(ns, |snmp| snmp.ip_out_requests += 1);
        let mut hop = match self.route(ns, ip.dst, only) {
            Ok(hop) => hop,
            Err(errno) => {
                self.count(ns, |snmp| snmp.ip_out_no_routes += 1);
                return Err(errno);
            }
        };
        let out = self.output_link(ns, &hop);
        match self.filter(ns, Hook::Output, &mut frame, &mut ip, (None, out)) {
            Filtered::Pass { rerouted: false } => {}
            Filtered::Pass { rerouted: true } => hop = self.route(ns, ip.dst, None)?,
            Filtered::Drop => return Err(Errno::EPERM),
            Filtered::Reject(with) => {
                self.reject(ns, None, &frame, &ip, with);
                return Err(Errno::EPERM);
            }
        }
        let out = self.output_link(ns, &hop);
        match self.filter(ns, Hook::Postrouting, &mut frame, &mut ip, (None, out)) {
            Filtered::Pass { .. } => {}
            Filtered::Drop | Filtered::Reject(_) => return Err(Errno::EPERM),
        }
        let mtu = out
            .and_then(|link| self.links.get(&link))
            .map_or(1500, |link| link.mtu as usize);
        if frame.largest(&ip) > mtu && ip.dont_fragment && !ip.is_v6() {
            return Err(Errno::EMSGSIZE);
        }
        match hop.kind {
            RouteKind::Local | RouteKind::Anycast => self.loop_back(ns, frame, &ip),
            kind => {
                // What is for everybody is for this host too.
                if kind == RouteKind::Broadcast {
                    self.loop_back(ns, frame.clone(), &ip);
                }
                self.emit(ns, frame, &ip, &hop);
            }
        }
        Ok(())
    }

    fn output_link(&self, ns: NsId, hop: &Hop) -> Option<LinkId> {
        match hop.kind {
            RouteKind::Local | RouteKind::Anycast => self.loopback(ns),
            _ => Some(hop.link),
        }
    }

    fn loop_back(&mut self, ns: NsId, mut frame: Frame, ip: &Ip) {
        let Some(id) = self.loopback(ns) else { return };
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if !link.up {
            link.counters.tx_dropped += 1;
            return;
        }
        let none = Mac([0; 6]);
        frame.set_ethernet(none, none, ethertype(ip));
        link.sent(self.now, &frame);
        self.tap_sent(id, &frame);
        self.arrive(id, frame);
    }

    /// The route of a packet made here.
    pub(crate) fn route(&self, ns: NsId, dst: IpAddr, only: Option<LinkId>) -> Result<Hop> {
        let space = self.spaces.get(&ns).ok_or(Errno::ENETUNREACH)?;
        if let IpAddr::V4(ip) = dst
            && ip.is_broadcast()
        {
            let link = only.or_else(|| {
                space
                    .routes
                    .find(Ipv4Addr::new(1, 1, 1, 1).into(), None)?
                    .link
            });
            return Ok(Hop {
                kind: RouteKind::Broadcast,
                link: link.ok_or(Errno::ENETUNREACH)?,
                neighbour: dst,
                source: None,
            });
        }
        let is_group = dst.is_multicast();
        if let (true, Some(link)) = (is_group, only) {
            return Ok(Hop {
                kind: RouteKind::Multicast,
                link,
                neighbour: dst,
                source: None,
            });
        }
        let mut hop = space.routes.lookup(dst, only)?;
        if is_group {
            (hop.kind, hop.neighbour) = (RouteKind::Multicast, dst);
        }
        let is_up = |id: LinkId| self.links.get(&id).is_some_and(|link| link.up);
        let loopback_is_up = || self.loopback(ns).is_some_and(is_up);
        match hop.kind {
            RouteKind::Local if !loopback_is_up() => Err(Errno::ENETUNREACH),
            RouteKind::Local => Ok(hop),
            _ if is_up(hop.link) => Ok(hop),
            _ => Err(Errno::ENETUNREACH),
        }
    }

    /// The source address of a packet to `dst` over `hop`.
    pub(crate) fn source_for(&self, ns: NsId, dst: IpAddr, hop: &Hop) -> Result<IpAddr> {
        if hop.kind == RouteKind::Local {
            return Ok(match dst {
                dst if dst.is_loopback() && dst.is_ipv4() => {
                    hop.source.unwrap_or(Ipv4Addr::LOCALHOST.into())
                }
                dst => dst,
            });
        }
        if let Some(source) = hop.source {
            return Ok(source);
        }
        let on = |id: LinkId| {
            self.links
                .get(&id)
                .into_iter()
                .flat_map(|link| link.addresses.iter())
                .filter(|address| address.cidr.ip.is_ipv4() == dst.is_ipv4())
        };
        let wants_local =
            is_link_local(dst) || matches!(dst, IpAddr::V6(dst) if dst.octets()[..2] == [0xff, 2]);
        let fits = |scope: Scope| {
            if dst.is_ipv6() && wants_local {
                scope == Scope::Link
            } else {
                scope == Scope::Global || dst.is_ipv4() && scope != Scope::Host
            }
        };
        // One of the neighbour's network, else any of the link, else any of the host.
        on(hop.link)
            .filter(|address| fits(address.scope))
            .max_by_key(|address| address.cidr.contains(hop.neighbour))
            .or_else(|| {
                self.links
                    .iter()
                    .filter(|(_, link)| link.ns == ns)
                    .find_map(|(&id, _)| on(id).find(|address| fits(address.scope)))
            })
            .map(|address| address.cidr.ip)
            .ok_or(Errno::EADDRNOTAVAIL)
    }

    /// Sends a frame out of a link.
    pub(crate) fn transmit(&mut self, id: LinkId, mut frame: Frame) {
        // A bridge sends to whom it can; its ports have a carrier or not.
        let is_bridge = self
            .links
            .get(&id)
            .is_some_and(|link| link.bridge().is_some());
        let carrier = is_bridge || self.has_carrier(id);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if !link.up || !carrier {
            link.counters.tx_dropped += 1;
            return;
        }
        // A longer frame than the link takes is lost, as on any bridge between links of different sizes.
        if frame.packet().len() > link.mtu as usize && !fits(&frame, link.mtu as usize) {
            link.counters.tx_dropped += 1;
            return;
        }
        link.sent(self.now, &frame);
        self.tap_sent(id, &frame);
        let Some(link) = self.links.get(&id) else {
            return;
        };
        match link.kind {
            LinkKind::Loopback => self.arrive(id, frame),
            LinkKind::Dummy => {}
            LinkKind::Veth { peer } => {
                (frame.track, frame.mark) = (None, 0);
                if let Some(peer) = peer {
                    self.arrive(peer, frame);
                }
            }
            LinkKind::Bridge(_) => self.bridge_forward(id, None, frame),
            LinkKind::Macvlan { lower, .. } | LinkKind::Ipvlan { lower, .. } => {
                self.upper_output(id, lower, frame);
            }
            LinkKind::Ethernet { .. } => {
                for segment in frame.into_segments() {
                    if !self.transmit_outside(id, segment.bytes)
                        && let Some(link) = self.links.get_mut(&id)
                    {
                        link.counters.tx_dropped += 1;
                    }
                }
            }
        }
    }

    /// Shows a packet to the packet filter at a hook, and translates its addresses.
    pub(crate) fn filter(
        &mut self,
        ns: NsId,
        hook: Hook,
        frame: &mut Frame,
        ip: &mut Ip,
        links: (Option<LinkId>, Option<LinkId>),
    ) -> Filtered {
        const PASS: Filtered = Filtered::Pass { rerouted: false };
        let now = self.now;
        let Some(space) = self.spaces.get_mut(&ns) else {
            return Filtered::Drop;
        };
        let tables = space.tables(ip.is_v6());
        let (tracks, filters) = (tables.needs_tracking(), tables.filters());
        if !tracks && !filters {
            return PASS;
        }
        let begins = matches!(hook, Hook::Prerouting | Hook::Output);
        if tracks && begins && frame.track.is_none() {
            match space.conntrack.track(frame.packet(), ip, now) {
                Some(track) => frame.track = Some(track),
                None => return Filtered::Drop,
            }
            if frame.track.is_some_and(|track| track.state == CtState::New) {
                self.sweep_soon(ns);
            }
        }
        let before = ip.dst;
        if begins && !self.translate(ns, hook, frame, ip, links, Manip::Destination) {
            return self.dropped(ns, frame, Filtered::Drop);
        }
        if filters && !matches!(hook, Hook::Prerouting | Hook::Postrouting) {
            match self.ask(ns, TableName::Filter, hook, frame, ip, links) {
                Verdict::Accept | Verdict::Translate(_) => {}
                Verdict::Drop => return self.dropped(ns, frame, Filtered::Drop),
                Verdict::Reject(with) => {
                    return self.dropped(ns, frame, Filtered::Reject(with));
                }
            }
        }
        if matches!(hook, Hook::Input | Hook::Postrouting) {
            if !self.translate(ns, hook, frame, ip, links, Manip::Source) {
                return self.dropped(ns, frame, Filtered::Drop);
            }
            if let (Some(track), Some(space)) = (frame.track, self.spaces.get_mut(&ns)) {
                space.conntrack.confirm(track);
            }
        }
        Filtered::Pass {
            rerouted: ip.dst != before,
        }
    }

    fn dropped(&mut self, ns: NsId, frame: &Frame, how: Filtered) -> Filtered {
        if let (Some(track), Some(space)) = (frame.track, self.spaces.get_mut(&ns)) {
            space.conntrack.forget_unconfirmed(track);
        }
        how
    }

    /// What a table says to a packet.
    fn ask(
        &self,
        ns: NsId,
        table: TableName,
        hook: Hook,
        frame: &mut Frame,
        ip: &Ip,
        links: (Option<LinkId>, Option<LinkId>),
    ) -> Verdict {
        let Some(space) = self.spaces.get(&ns) else {
            return Verdict::Drop;
        };
        let name = |id: Option<LinkId>| {
            id.and_then(|id| self.links.get(&id))
                .map_or("", |link| link.name.as_str())
        };
        let connection = frame.track.and_then(|track| space.conntrack.get(track));
        let state = frame.track.map_or(CtState::Untracked, |track| track.state);
        let packet = frame.packet();
        let mut seen = Seen {
            src: ip.src,
            dst: ip.dst,
            in_link: name(links.0),
            out_link: name(links.1),
            proto: ip.proto,
            ports: ip.ports(packet),
            tcp_flags: if ip.proto == proto::TCP {
                ip.payload(packet).get(13).copied().unwrap_or(0)
            } else {
                0
            },
            icmp: ip.icmp(packet),
            ct_bits: ct_bits(
                state,
                connection.is_some_and(|one| one.has_snat()),
                connection.is_some_and(|one| one.has_dnat()),
            ),
            mark: frame.mark,
            len: ip.end as u64,
            now_ns: self.now.0,
            dice: self.rng.next_u64() as u32,
            address_type: &|ip| address_type(&space.routes, ip),
        };
        let verdict = space.tables(ip.is_v6()).run(table, hook, &mut seen);
        let mark = seen.mark;
        frame.mark = mark;
        verdict
    }

    /// Decides and does the translation of one end. False: the packet has to be dropped.
    fn translate(
        &mut self,
        ns: NsId,
        hook: Hook,
        frame: &mut Frame,
        ip: &mut Ip,
        links: (Option<LinkId>, Option<LinkId>),
        manip: Manip,
    ) -> bool {
        let Some(track) = frame.track else {
            return true;
        };
        let Some(space) = self.spaces.get(&ns) else {
            return false;
        };
        let decides = track.state == CtState::New
            && !track.is_reply
            && !nat::is_set_up(&space.conntrack, track, manip);
        if decides {
            let range = match self.ask(ns, TableName::Nat, hook, frame, ip, links) {
                Verdict::Translate(target) => self.range_of(ns, &target, hook, ip, links),
                Verdict::Accept => None,
                Verdict::Drop | Verdict::Reject(_) => return false,
            };
            if let Some(space) = self.spaces.get_mut(&ns)
                && !nat::set_up(&mut space.conntrack, track, manip, range.as_ref())
            {
                return false;
            }
        }
        let Some(Namespace { conntrack, .. }) = self.spaces.get_mut(&ns) else {
            return false;
        };
        if nat::apply(conntrack, frame, ip, track, manip)
            && let Some(new) = Ip::parse(frame.packet())
        {
            *ip = new;
        }
        true
    }

    /// What a target of `nat` says an end becomes.
    fn range_of(
        &self,
        ns: NsId,
        target: &Target,
        hook: Hook,
        ip: &Ip,
        links: (Option<LinkId>, Option<LinkId>),
    ) -> Option<Range> {
        let to = |address: IpAddr, range: &Range| Range {
            addresses: Some((address, address)),
            ports: range.ports,
        };
        let first_of = |id: Option<LinkId>| {
            let link = self.links.get(&id?)?;
            let fits = |address: &IpAddr| address.is_ipv4() == ip.dst.is_ipv4();
            link.addresses
                .iter()
                .map(|address| address.cidr.ip)
                .find(fits)
        };
        match target {
            Target::Snat(range) | Target::Dnat(range) => Some(*range),
            Target::Masquerade(range) => {
                let hop = self.route(ns, ip.dst, links.1).ok()?;
                let address = self.source_for(ns, ip.dst, &hop).ok()?;
                Some(to(address, range))
            }
            Target::Redirect(range) if hook == Hook::Output => {
                let address = match unspecified(ip.dst) {
                    IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                    IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
                };
                Some(to(address, range))
            }
            Target::Redirect(range) => Some(to(first_of(links.0)?, range)),
            _ => None,
        }
    }
}

/// The segments that a large frame stands for fit a link.
fn fits(frame: &Frame, mtu: usize) -> bool {
    Ip::parse(frame.packet()).is_some_and(|ip| frame.largest(&ip) <= mtu)
}

fn address_type(routes: &Routes, ip: IpAddr) -> AddressType {
    if ip.is_multicast() {
        return AddressType::Multicast;
    }
    match routes.find(ip, None).map(|route| route.kind) {
        Some(RouteKind::Local) => AddressType::Local,
        Some(RouteKind::Broadcast) => AddressType::Broadcast,
        _ if ip == IpAddr::V4(Ipv4Addr::BROADCAST) => AddressType::Broadcast,
        _ => AddressType::Unicast,
    }
}

pub(crate) fn ethertype(ip: &Ip) -> u16 {
    if ip.is_v6() {
        ETHERTYPE_IPV6
    } else {
        ETHERTYPE_IPV4
    }
}
