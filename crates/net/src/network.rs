//! The network of a machine: all namespaces, links and sockets, and the work between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use abi::{Errno, Result};
use clock::{Instant, Rng, WaitQueue};

use crate::link::{self, Address, Capture, Captured, Link, LinkKind, Scope};
use crate::namespace::Namespace;
use crate::packet::{Frame, Mac};
use crate::route::RouteKind;
use crate::socket::Socket;
use crate::tap::Tap;
use crate::types::{Cidr, LinkId, NsId, SocketId};

/// Frames on their way inside the machine at most: what loops in a ring of bridges ends here.
const WORK_MAX: usize = 4096;
/// Frames that are worked on before somebody else gets a turn; and when it goes on then. Only a storm, in a
/// ring of bridges, is that long.
const WORK_PER_POLL: usize = 2000;
const PAUSE_NS: u64 = 10_000_000;
/// Frames that wait to be fetched by the switch at most.
const OUTBOX_MAX: usize = 2048;
/// Links of a machine at most.
const LINKS_MAX: usize = 4096;

/// What happened that tools want to hear about (`ip monitor`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A link was made or changed.
    Link(NsId, LinkId),
    /// A link is gone; its index.
    LinkGone(NsId, u32),
    /// Addresses of a link changed.
    Address(NsId, LinkId),
    /// Routes changed.
    Route(NsId),
}

/// What is due at some time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    Socket(SocketId),
    Neighbour(NsId, LinkId, IpAddr),
    Sweep(NsId),
}

/// The network of one machine.
#[derive(Debug)]
pub struct Network {
    pub(crate) now: Instant,
    pub(crate) spaces: BTreeMap<NsId, Namespace>,
    pub(crate) links: BTreeMap<LinkId, Link>,
    pub(crate) sockets: BTreeMap<SocketId, Socket>,
    pub(crate) taps: BTreeMap<SocketId, Tap>,
    /// Frames that arrived at links.
    pub(crate) work: VecDeque<(LinkId, Frame)>,
    timers: BTreeSet<(Instant, Timer)>,
    pub(crate) rng: Rng,
    outbox: VecDeque<(LinkId, Instant, Vec<u8>)>,
    pub(crate) woken: Vec<Rc<WaitQueue>>,
    events: VecDeque<Event>,
    next_id: u32,
    /// Frames dropped because too many were on their way.
    pub overruns: u64,
}

impl Network {
    /// A network without namespaces; everything random follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Network {
        Network {
            now: Instant(0),
            spaces: BTreeMap::new(),
            links: BTreeMap::new(),
            sockets: BTreeMap::new(),
            taps: BTreeMap::new(),
            work: VecDeque::new(),
            timers: BTreeSet::new(),
            rng: Rng::new(seed),
            outbox: VecDeque::new(),
            woken: Vec::new(),
            events: VecDeque::new(),
            next_id: 1,
            overruns: 0,
        }
    }

    // ---- time ----

    /// The same network, at `now`: every call is made at some time (`network.at(now).send(…)`).
    pub fn at(&mut self, now: Instant) -> &mut Network {
        self.now = self.now.max(now);
        self
    }

    /// Does what is due at `now`, and moves frames until none is on its way.
    pub fn poll(&mut self, now: Instant) {
        self.at(now);
        self.run();
        while let Some(&(at, timer)) = self.timers.first()
            && at <= self.now
        {
            self.timers.pop_first();
            match timer {
                Timer::Socket(socket) => self.socket_timer(socket),
                Timer::Neighbour(ns, link, ip) => self.neighbour_timer(ns, link, ip),
                Timer::Sweep(ns) => self.sweep(ns),
            }
            self.run();
        }
    }

    /// When [`Network::poll`] is to be called next.
    #[must_use]
    pub fn poll_at(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|&(at, _)| at);
        if self.work.is_empty() {
            return timer;
        }
        let on = self.now.plus(PAUSE_NS);
        Some(timer.map_or(on, |at| at.min(on)))
    }

    pub(crate) fn arm(&mut self, at: Instant, timer: Timer) {
        self.timers.insert((at, timer));
    }

    pub(crate) fn disarm(&mut self, at: Instant, timer: Timer) {
        self.timers.remove(&(at, timer));
    }

    /// Moves frames until none is on its way, or it has been enough for now.
    pub(crate) fn run(&mut self) {
        for _ in 0..WORK_PER_POLL {
            let Some((link, frame)) = self.work.pop_front() else {
                return;
            };
            self.receive(link, frame);
        }
    }

    /// A frame arrives at a link as soon as what came before is done.
    pub(crate) fn arrive(&mut self, link: LinkId, frame: Frame) {
        if self.work.len() >= WORK_MAX {
            self.overruns += 1;
            return;
        }
        self.work.push_back((link, frame));
    }

    // ---- who is to be told ----

    pub(crate) fn wake(&mut self, queue: &Rc<WaitQueue>) {
        if !self.woken.iter().any(|known| Rc::ptr_eq(known, queue)) {
            self.woken.push(Rc::clone(queue));
        }
    }

    /// Who has to be woken because of what happened; to be done when nobody borrows the network.
    pub fn take_woken(&mut self) -> Vec<Rc<WaitQueue>> {
        std::mem::take(&mut self.woken)
    }

    pub(crate) fn tell(&mut self, event: Event) {
        if self.events.len() >= 1024 {
            self.events.pop_front();
        }
        if self.events.back() != Some(&event) {
            self.events.push_back(event);
        }
    }

    /// What happened to links, addresses and routes since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.drain(..).collect()
    }

    // ---- the wire ----

    pub(crate) fn transmit_outside(&mut self, link: LinkId, bytes: Vec<u8>) -> bool {
        if self.outbox.len() >= OUTBOX_MAX {
            return false;
        }
        self.outbox.push_back((link, self.now, bytes));
        true
    }

    /// The frames for Ethernet ports, and when each was sent.
    pub fn take_sent(&mut self) -> Vec<(LinkId, Instant, Vec<u8>)> {
        self.outbox.drain(..).collect()
    }

    /// Frames that leave the machine by its Ethernet ports, in order.
    pub fn take_frames(&mut self) -> Vec<(LinkId, Vec<u8>)> {
        let frames = self.outbox.drain(..);
        frames.map(|(link, _, bytes)| (link, bytes)).collect()
    }

    /// The next frame that leaves by this port.
    pub fn take_frame(&mut self, link: LinkId) -> Option<Vec<u8>> {
        let at = self.outbox.iter().position(|(port, ..)| *port == link)?;
        self.outbox.remove(at).map(|(.., bytes)| bytes)
    }

    /// Some frame waits to be taken.
    #[must_use]
    pub fn has_frames(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// A frame comes in at an Ethernet port.
    pub fn deliver(&mut self, link: LinkId, bytes: Vec<u8>) {
        let plugged = self
            .links
            .get(&link)
            .is_some_and(|link| matches!(link.kind, LinkKind::Ethernet { plugged: true }));
        if plugged {
            self.arrive(link, Frame::new(bytes));
            self.run();
        }
    }

    /// Plugs the cable of an Ethernet port in or out.
    pub fn plug(&mut self, id: LinkId, plug: bool) -> Result<()> {
        let link = self.links.get_mut(&id).ok_or(Errno::ENODEV)?;
        match &mut link.kind {
            LinkKind::Ethernet { plugged } => *plugged = plug,
            _ => return Err(Errno::EOPNOTSUPP),
        }
        let ns = link.ns;
        self.tell(Event::Link(ns, id));
        self.carrier_changed(id);
        Ok(())
    }

    // ---- namespaces ----

    fn fresh(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    pub(crate) fn fresh_socket(&mut self) -> SocketId {
        SocketId(self.fresh())
    }

    /// A namespace with a loopback link that is down.
    pub fn add_namespace(&mut self) -> NsId {
        let ns = NsId(self.fresh());
        self.spaces.insert(
            ns,
            Namespace {
                next_index: 1,
                ..Namespace::default()
            },
        );
        // A namespace that was just made has room for its first link.
        let loopback = self.add_link(ns, "lo", LinkKind::Loopback, None).ok();
        if let Some(space) = self.spaces.get_mut(&ns) {
            space.loopback = loopback;
        }
        ns
    }

    /// Removes a namespace with its sockets and virtual links. Ethernet ports go to `heir`, as
    /// hardware does.
    pub fn remove_namespace(&mut self, ns: NsId, heir: Option<NsId>) {
        let sockets: Vec<SocketId> = self
            .sockets
            .iter()
            .filter(|(_, socket)| socket.ns == ns)
            .map(|(&id, _)| id)
            .collect();
        for socket in sockets {
            self.drop_socket(socket);
        }
        self.taps.retain(|_, tap| tap.ns != ns);
        let links: Vec<LinkId> = self.links_of(ns).map(|(id, _)| id).collect();
        for id in links {
            let is_hardware = self
                .links
                .get(&id)
                .is_some_and(|link| matches!(link.kind, LinkKind::Ethernet { .. }));
            match heir {
                Some(heir) if is_hardware => drop(self.move_link(id, heir)),
                _ => self.forget_link(id),
            }
        }
        let space = self.spaces.remove(&ns);
        if let Some(at) = space.and_then(|space| space.sweep) {
            self.disarm(at, Timer::Sweep(ns));
        }
    }

    /// How much is planned.
    pub(crate) fn timer_count(&self) -> usize {
        self.timers.len()
    }

    /// A namespace.
    pub fn space(&self, ns: NsId) -> Result<&Namespace> {
        self.spaces.get(&ns).ok_or(Errno::ENOENT)
    }

    /// A namespace, to be changed: rules, settings, routes.
    pub fn space_mut(&mut self, ns: NsId) -> Result<&mut Namespace> {
        self.spaces.get_mut(&ns).ok_or(Errno::ENOENT)
    }

    // ---- links ----

    /// The links of a namespace, by index.
    pub fn links_of(&self, ns: NsId) -> impl Iterator<Item = (LinkId, &Link)> {
        let mut links: Vec<(LinkId, &Link)> = self
            .links
            .iter()
            .filter(|(_, link)| link.ns == ns)
            .map(|(&id, link)| (id, link))
            .collect();
        order::sort_by_key(&mut links, |(_, link)| link.index);
        links.into_iter()
    }

    /// A link.
    pub fn link(&self, id: LinkId) -> Result<&Link> {
        self.links.get(&id).ok_or(Errno::ENODEV)
    }

    /// The link of a name.
    pub fn find_link(&self, ns: NsId, name: &str) -> Result<LinkId> {
        self.links
            .iter()
            .find(|(_, link)| link.ns == ns && link.name == name)
            .map(|(&id, _)| id)
            .ok_or(Errno::ENODEV)
    }

    /// The link of an index.
    pub fn link_by_index(&self, ns: NsId, index: u32) -> Result<LinkId> {
        self.links
            .iter()
            .find(|(_, link)| link.ns == ns && link.index == index)
            .map(|(&id, _)| id)
            .ok_or(Errno::ENODEV)
    }

    /// The loopback link of a namespace.
    pub(crate) fn loopback(&self, ns: NsId) -> Option<LinkId> {
        self.spaces.get(&ns)?.loopback
    }

    fn random_mac(&mut self) -> Mac {
        let mut raw = [0; 6];
        self.rng.fill(&mut raw);
        // Locally administered, unicast.
        raw[0] = raw[0] & 0xfc | 2;
        Mac(raw)
    }

    /// A name of the form `vethN` that is free.
    fn free_name(&self, ns: NsId, stem: &str) -> String {
        let mut number = 0;
        loop {
            let name = format!("{stem}{number}");
            if self.find_link(ns, &name).is_err() {
                return name;
            }
            number += 1;
        }
    }

    pub(crate) fn add_link(
        &mut self,
        ns: NsId,
        name: &str,
        kind: LinkKind,
        mac: Option<Mac>,
    ) -> Result<LinkId> {
        if !link::is_valid_name(name) {
            return Err(Errno::EINVAL);
        }
        if self.find_link(ns, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        if self.links.len() >= LINKS_MAX {
            return Err(Errno::ENFILE);
        }
        if mac.is_some_and(|mac| !mac.is_unicast()) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let index = self.take_index(ns)?;
        let address = match (&kind, mac) {
            (LinkKind::Loopback, _) => Mac([0; 6]),
            (_, Some(mac)) => mac,
            (_, None) => self.random_mac(),
        };
        let id = LinkId(self.fresh());
        let mut new = Link::new(ns, index, name, kind, address);
        new.mac_is_set = mac.is_some();
        self.links.insert(id, new);
        self.tell(Event::Link(ns, id));
        Ok(id)
    }

    fn take_index(&mut self, ns: NsId) -> Result<u32> {
        let space = self.spaces.get_mut(&ns).ok_or(Errno::ENOENT)?;
        let index = space.next_index;
        space.next_index += 1;
        Ok(index)
    }

    /// `ip link add NAME type bridge`.
    pub fn add_bridge(&mut self, ns: NsId, name: &str, mac: Option<Mac>) -> Result<LinkId> {
        self.add_link(ns, name, LinkKind::Bridge(Box::default()), mac)
    }

    /// `ip link add NAME type dummy`.
    pub fn add_dummy(&mut self, ns: NsId, name: &str, mac: Option<Mac>) -> Result<LinkId> {
        self.add_link(ns, name, LinkKind::Dummy, mac)
    }

    /// A port on a switch; the cable is plugged in.
    pub fn add_ethernet(&mut self, ns: NsId, name: &str, mac: Mac) -> Result<LinkId> {
        self.add_link(ns, name, LinkKind::Ethernet { plugged: true }, Some(mac))
    }

    /// `ip link add NAME type veth peer name PEER netns PEER_NS`; without a name the kernel chooses.
    pub fn add_veth(
        &mut self,
        ns: NsId,
        name: &str,
        peer: (NsId, Option<&str>),
        macs: (Option<Mac>, Option<Mac>),
    ) -> Result<(LinkId, LinkId)> {
        // The peer is registered first, so it has the lower index.
        let peer_name = match peer.1 {
            Some(name) => name.to_string(),
            None => self.free_name(peer.0, "veth"),
        };
        let two = self.add_link(peer.0, &peer_name, LinkKind::Veth { peer: None }, macs.1)?;
        let kind = LinkKind::Veth { peer: Some(two) };
        let one = match self.add_link(ns, name, kind, macs.0) {
            Ok(one) => one,
            Err(errno) => {
                self.forget_link(two);
                return Err(errno);
            }
        };
        if let Some(link) = self.links.get_mut(&two) {
            link.kind = LinkKind::Veth { peer: Some(one) };
        }
        Ok((one, two))
    }

    /// `ip link del`; of a pair both ends go.
    pub fn delete_link(&mut self, id: LinkId) -> Result<()> {
        match self.link(id)?.kind {
            LinkKind::Loopback | LinkKind::Ethernet { .. } => return Err(Errno::EOPNOTSUPP),
            _ => {}
        }
        self.forget_link(id);
        Ok(())
    }

    fn forget_link(&mut self, id: LinkId) {
        let _ = self.set_master(id, None);
        let _ = self.set_up(id, false);
        let ports: Vec<LinkId> = self.ports_of(id);
        for port in ports {
            let _ = self.set_master(port, None);
        }
        let uppers = self.links.get(&id).map(|link| link.uppers.clone());
        for upper in uppers.into_iter().flatten() {
            self.forget_link(upper);
        }
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        self.tell(Event::LinkGone(link.ns, link.index));
        if let Some(lower) = link.lower().and_then(|lower| self.links.get_mut(&lower)) {
            lower.uppers.retain(|&upper| upper != id);
        }
        if let Some(space) = self.spaces.get_mut(&link.ns) {
            space.routes.retain(|route| route.link != Some(id));
            space.neighbours.entries.retain(|key, _| key.0 != id);
        }
        if let LinkKind::Veth { peer: Some(peer) } = link.kind {
            self.forget_link(peer);
        }
    }

    /// `ip link set NAME netns`: it arrives down and without addresses, as on Linux.
    pub fn move_link(&mut self, id: LinkId, ns: NsId) -> Result<()> {
        let link = self.link(id)?;
        if link.is_loopback() {
            return Err(Errno::EINVAL);
        }
        let (old_ns, old_index, name) = (link.ns, link.index, link.name.clone());
        if old_ns == ns {
            return Ok(());
        }
        self.space(ns)?;
        let taken = self.find_link(ns, &name).is_ok();
        if taken && !matches!(self.link(id)?.kind, LinkKind::Ethernet { .. }) {
            return Err(Errno::EEXIST);
        }
        let name = if taken {
            self.free_name(ns, "dev")
        } else {
            name
        };
        self.set_master(id, None)?;
        self.set_up(id, false)?;
        for address in self.link(id)?.addresses.clone() {
            self.remove_address(id, address.cidr)?;
        }
        if let Some(space) = self.spaces.get_mut(&old_ns) {
            space.routes.retain(|route| route.link != Some(id));
            space.neighbours.entries.retain(|key, _| key.0 != id);
        }
        let index = if self.link_by_index(ns, old_index).is_err() {
            let space = self.space_mut(ns)?;
            space.next_index = space.next_index.max(old_index + 1);
            old_index
        } else {
            self.take_index(ns)?
        };
        let link = self.links.get_mut(&id).ok_or(Errno::ENODEV)?;
        (link.ns, link.index, link.name) = (ns, index, name);
        self.tell(Event::LinkGone(old_ns, old_index));
        self.tell(Event::Link(ns, id));
        Ok(())
    }

    /// `ip link set NAME name NEW`: the link has to be down.
    pub fn rename_link(&mut self, id: LinkId, name: &str) -> Result<()> {
        let link = self.link(id)?;
        if link.name == name {
            return Ok(());
        }
        if !link::is_valid_name(name) {
            return Err(Errno::EINVAL);
        }
        if link.up && link.is_loopback() {
            return Err(Errno::EBUSY);
        }
        let ns = link.ns;
        if self.find_link(ns, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        if let Some(link) = self.links.get_mut(&id) {
            for address in &mut link.addresses {
                address.label = name.to_string();
            }
            link.name = name.to_string();
        }
        self.tell(Event::Link(ns, id));
        Ok(())
    }

    /// Changes what needs no other link: `mtu`, `txqueuelen`, `promisc`, `alias`, hairpin.
    pub fn change_link(&mut self, id: LinkId, change: impl FnOnce(&mut Link)) -> Result<()> {
        let link = self.links.get_mut(&id).ok_or(Errno::ENODEV)?;
        change(link);
        let ns = link.ns;
        self.tell(Event::Link(ns, id));
        Ok(())
    }

    /// `ip link set NAME mtu`.
    pub fn set_mtu(&mut self, id: LinkId, mtu: u32) -> Result<()> {
        let max = 65_535 + u32::from(self.link(id)?.is_loopback());
        if !(68..=max).contains(&mtu) {
            return Err(Errno::EINVAL);
        }
        self.change_link(id, |link| link.mtu = mtu)
    }

    /// `ip link set NAME address`.
    pub fn set_mac(&mut self, id: LinkId, mac: Mac) -> Result<()> {
        if !mac.is_unicast() {
            return Err(Errno::EADDRNOTAVAIL);
        }
        if self.link(id)?.is_loopback() {
            return Err(Errno::EOPNOTSUPP);
        }
        self.change_link(id, |link| (link.mac, link.mac_is_set) = (mac, true))
    }

    /// The ports of a bridge.
    #[must_use]
    pub fn ports_of(&self, bridge: LinkId) -> Vec<LinkId> {
        self.links
            .get(&bridge)
            .and_then(Link::bridge)
            .map(|bridge| bridge.ports.clone())
            .unwrap_or_default()
    }

    /// `ip link set NAME master BRIDGE`, or `nomaster`.
    pub fn set_master(&mut self, id: LinkId, master: Option<LinkId>) -> Result<()> {
        let link = self.link(id)?;
        let (ns, old) = (link.ns, link.master);
        if old == master {
            return Ok(());
        }
        if let Some(master) = master {
            let bridge = self.link(master)?;
            if bridge.bridge().is_none() {
                return Err(Errno::EOPNOTSUPP);
            }
            if bridge.ns != ns || master == id || link.is_loopback() {
                return Err(Errno::EINVAL);
            }
            if link.bridge().is_some() {
                return Err(Errno::ELOOP);
            }
            if !link.uppers.is_empty() {
                return Err(Errno::EBUSY);
            }
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.master = master;
        }
        for (bridge, joins) in [(old, false), (master, true)] {
            if let Some(bridge) = bridge
                && let Some(link) = self.links.get_mut(&bridge)
                && let LinkKind::Bridge(bridge) = &mut link.kind
            {
                bridge.forget(id);
                bridge.ports.retain(|&port| port != id);
                if joins {
                    bridge.ports.push(id);
                }
            }
        }
        for bridge in [old, master].into_iter().flatten() {
            self.choose_bridge_mac(bridge);
            self.carrier_changed(bridge);
            self.tell(Event::Link(ns, bridge));
        }
        self.tell(Event::Link(ns, id));
        Ok(())
    }

    /// A bridge whose address nobody chose has the least of its ports'.
    fn choose_bridge_mac(&mut self, bridge: LinkId) {
        let ports = self.ports_of(bridge);
        let least = ports
            .iter()
            .filter_map(|port| self.links.get(port).map(|link| link.mac.0))
            .min();
        if let (Some(link), Some(mac)) = (self.links.get_mut(&bridge), least)
            && !link.mac_is_set
        {
            link.mac = Mac(mac);
        }
    }

    /// There is something at the other end.
    #[must_use]
    pub fn has_carrier(&self, id: LinkId) -> bool {
        let Some(link) = self.links.get(&id) else {
            return false;
        };
        match &link.kind {
            LinkKind::Loopback | LinkKind::Dummy => true,
            LinkKind::Ethernet { plugged } => *plugged,
            LinkKind::Veth { peer } => peer
                .and_then(|peer| self.links.get(&peer))
                .is_some_and(|peer| peer.up),
            LinkKind::Macvlan { lower, .. } | LinkKind::Ipvlan { lower, .. } => {
                self.links.get(lower).is_some_and(|lower| lower.up) && self.has_carrier(*lower)
            }
            LinkKind::Bridge(bridge) => bridge.ports.iter().any(|&port| {
                self.links.get(&port).is_some_and(|link| link.up) && self.has_carrier(port)
            }),
        }
    }

    /// `ip link set NAME up` or `down`.
    pub fn set_up(&mut self, id: LinkId, up: bool) -> Result<()> {
        let link = self.links.get_mut(&id).ok_or(Errno::ENODEV)?;
        if link.up == up {
            return Ok(());
        }
        link.up = up;
        link.was_up |= up;
        let (ns, is_loopback) = (link.ns, link.is_loopback());
        if up {
            for address in self.link(id)?.addresses.clone() {
                self.add_address_routes(id, &address);
            }
            if is_loopback {
                let _ = self.add_address(id, loopback_v4());
            }
            if is_loopback && !self.space(ns)?.settings.no_ipv6 {
                let _ = self.add_address(id, loopback_v6());
            }
        } else {
            self.flush_link(id);
            self.tap_down(id);
        }
        self.tell(Event::Link(ns, id));
        self.carrier_changed(id);
        Ok(())
    }

    /// A link, and so the other end of its pair and the bridges both are ports of, may have a carrier now:
    /// then it gets its link-local address.
    fn carrier_changed(&mut self, id: LinkId) {
        let peer = match self.links.get(&id).map(|link| &link.kind) {
            Some(LinkKind::Veth { peer }) => *peer,
            _ => None,
        };
        for end in [Some(id), peer].into_iter().flatten() {
            let Some(link) = self.links.get(&end) else {
                continue;
            };
            let (master, uppers) = (link.master, link.uppers.clone());
            for id in [Some(end), master].into_iter().flatten().chain(uppers) {
                self.check_carrier(id);
            }
        }
    }

    /// The address of IPv6 that a link has without being told.
    pub(crate) fn give_own_v6(&mut self, id: LinkId) {
        let is_up_loopback = self
            .links
            .get(&id)
            .is_some_and(|link| link.is_loopback() && link.up);
        if is_up_loopback {
            let _ = self.add_address(id, loopback_v6());
        }
        self.check_carrier(id);
    }

    fn check_carrier(&mut self, id: LinkId) {
        if !self.has_carrier(id) {
            return;
        }
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.had_carrier |= link.up;
        let (ns, mac, up) = (link.ns, link.mac, link.up);
        let has_one = link
            .addresses
            .iter()
            .any(|address| crate::types::is_link_local(address.cidr.ip));
        let is_port = link.master.is_some();
        self.tell(Event::Link(ns, id));
        let wanted = self.links.get(&id).is_some_and(|link| !link.is_loopback())
            && self
                .spaces
                .get(&ns)
                .is_some_and(|space| !space.settings.no_ipv6);
        if up && wanted && !has_one && !is_port {
            let local = Cidr::new(link::link_local(mac).into(), 64);
            let _ = self.add_address(id, address(local, Scope::Link));
        }
    }

    /// What goes when a link goes down: its routes but to its own addresses, its IPv6 addresses, its
    /// neighbours.
    fn flush_link(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.addresses.retain(|address| address.cidr.ip.is_ipv4());
        let Some(space) = self.spaces.get_mut(&link.ns) else {
            return;
        };
        space.routes.retain(|route| {
            route.link != Some(id) || (route.kind == RouteKind::Local && route.dst.ip.is_ipv4())
        });
        space.neighbours.entries.retain(|key, _| key.0 != id);
        for other in self.links.values_mut() {
            if let LinkKind::Bridge(bridge) = &mut other.kind {
                bridge.forget(id);
            }
        }
        let ns = self.links.get(&id).map(|link| link.ns);
        if let Some(ns) = ns {
            self.tell(Event::Route(ns));
        }
    }

    // ---- captures ----

    /// Begins to keep a copy of every frame of a link.
    pub fn start_capture(&mut self, id: LinkId) -> Result<()> {
        let link = self.links.get_mut(&id).ok_or(Errno::ENODEV)?;
        link.capture.get_or_insert_with(Capture::default);
        Ok(())
    }

    /// The frames since the last call.
    pub fn take_capture(&mut self, id: LinkId) -> Vec<Captured> {
        self.links
            .get_mut(&id)
            .and_then(|link| link.capture.as_mut())
            .map(Capture::take)
            .unwrap_or_default()
    }

    /// Keeps no copies any more.
    pub fn stop_capture(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.capture = None;
        }
    }
}

/// An address with what follows from it.
#[must_use]
pub fn address(cidr: Cidr, scope: Scope) -> Address {
    Address {
        cidr,
        broadcast: None,
        scope,
        label: String::new(),
    }
}

fn loopback_v4() -> Address {
    address(Cidr::new(Ipv4Addr::LOCALHOST.into(), 8), Scope::Host)
}

fn loopback_v6() -> Address {
    address(Cidr::new(Ipv6Addr::LOCALHOST.into(), 128), Scope::Host)
}
