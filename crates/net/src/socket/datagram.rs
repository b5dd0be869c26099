//! UDP (`udp(7)`), echoes of `ping` (`icmp(7)`), and raw sockets (`raw(7)`).

use std::collections::VecDeque;
use std::net::IpAddr;

use abi::{Errno, Result};

use super::{Kind, QueuedError, Ready, Socket};
use crate::icmp::{Problem, errno_of};
use crate::namespace::Endpoint;
use crate::netfilter::conntrack::parse_quoted;
use crate::network::Network;
use crate::packet::{self, Frame, Ip, IpSpec, proto};
use crate::route::RouteKind;
use crate::types::{LinkId, NsId, SocketId, is_link_local};

/// Bytes that wait at most, each datagram with what it costs beside.
const QUEUE_BYTES_MAX: usize = 212_992;
const OVERHEAD_BYTES: usize = 256;
/// Largest datagram of UDP over IPv4, and message of a raw socket.
const UDP_BYTES_MAX: usize = 65_507;
const RAW_BYTES_MAX: usize = 65_515;

/// A datagram that arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its data.
    pub data: Vec<u8>,
    /// Who sent it.
    pub from: Endpoint,
    /// Where it was sent to.
    pub to: IpAddr,
    /// The link it came by.
    pub link: LinkId,
    /// Time to live it came with.
    pub ttl: u8,
    /// Type of service it came with.
    pub tos: u8,
}

/// Datagrams that wait.
#[derive(Default, Debug)]
pub struct Datagrams {
    queue: VecDeque<Arrival>,
    bytes: usize,
    read_shut: bool,
    write_shut: bool,
    /// Datagrams that found no room.
    pub drops: u64,
}

impl Datagrams {
    /// Bytes of the first one.
    #[must_use]
    pub fn first_len(&self) -> usize {
        self.queue.front().map_or(0, |arrival| arrival.data.len())
    }

    /// Bytes of all.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn ready(&self) -> Ready {
        Ready {
            readable: !self.queue.is_empty() || self.read_shut,
            writable: true,
            peer_ended: self.read_shut,
            hung_up: self.read_shut && self.write_shut,
            ..Ready::default()
        }
    }

    fn add(&mut self, arrival: Arrival) -> bool {
        let cost = arrival.data.len() + OVERHEAD_BYTES;
        if self.bytes + cost > QUEUE_BYTES_MAX {
            self.drops += 1;
            return false;
        }
        self.bytes += cost;
        self.queue.push_back(arrival);
        true
    }

    fn take(&mut self) -> Option<Arrival> {
        let arrival = self.queue.pop_front()?;
        self.bytes -= arrival.data.len() + OVERHEAD_BYTES;
        Some(arrival)
    }
}

impl Network {
    /// Puts a datagram where the socket finds it.
    fn put(&mut self, id: SocketId, arrival: Arrival) -> bool {
        let added = self
            .sockets
            .get_mut(&id)
            .and_then(Socket::datagrams_mut)
            .is_some_and(|datagrams| datagrams.add(arrival));
        if added {
            self.touch(id);
        }
        added
    }

    pub(crate) fn udp_input(&mut self, ns: NsId, link: LinkId, frame: &Frame, ip: &Ip) {
        let packet = frame.packet();
        let message = ip.payload(packet);
        let (Some((src, dst)), true) = (ip.ports(packet), message.len() >= 8) else {
            self.count(ns, |snmp| snmp.udp_in_errors += 1);
            return;
        };
        let len = usize::from(u16::from_be_bytes([message[4], message[5]]));
        let Some(data) = message.get(8..len) else {
            self.count(ns, |snmp| snmp.udp_in_errors += 1);
            return;
        };
        let from = Endpoint::new(ip.src, src);
        let arrival = Arrival {
            data: data.to_vec(),
            from,
            to: ip.dst,
            link,
            ttl: ip.ttl,
            tos: ip.tos,
        };
        if ip.dst.is_multicast() || self.is_broadcast(ns, ip.dst) {
            for id in self.group_receivers(ns, Endpoint::new(ip.dst, dst), from, link) {
                self.put(id, arrival.clone());
            }
            return;
        }
        match self.find_udp(ns, Endpoint::new(ip.dst, dst), from, link) {
            Some(id) => {
                let added = self.put(id, arrival);
                self.count(ns, |snmp| {
                    snmp.udp_in_datagrams += u64::from(added);
                    snmp.udp_rcvbuf_errors += u64::from(!added);
                });
            }
            None => {
                self.count(ns, |snmp| snmp.udp_no_ports += 1);
                self.icmp_error(ns, Some(link), frame, ip, Problem::Port);
            }
        }
    }

    /// The socket a datagram is for: the one bound and connected most exactly.
    fn find_udp(&self, ns: NsId, to: Endpoint, from: Endpoint, link: LinkId) -> Option<SocketId> {
        let owners = self.spaces.get(&ns)?.udp_ports.get(&to.port)?;
        let scored = owners.iter().filter_map(|&id| {
            let score = self.sockets.get(&id)?.fit(to.ip, Some(from), link)?;
            Some((score, id))
        });
        // Of equals the one that came last, as Linux does without SO_REUSEPORT.
        scored
            .max_by_key(|&(score, id)| (score, id))
            .map(|(_, id)| id)
    }

    fn group_receivers(
        &self,
        ns: NsId,
        to: Endpoint,
        from: Endpoint,
        link: LinkId,
    ) -> Vec<SocketId> {
        let owners = self
            .spaces
            .get(&ns)
            .and_then(|space| space.udp_ports.get(&to.port));
        let fits = |id: &&SocketId| {
            self.sockets
                .get(id)
                .is_some_and(|socket| socket.fit(to.ip, Some(from), link).is_some())
        };
        owners.into_iter().flatten().filter(fits).copied().collect()
    }

    /// An echo came back.
    pub(crate) fn ping_input(&mut self, ns: NsId, link: LinkId, frame: &Frame, ip: &Ip) {
        let mut whole = frame.clone();
        whole.complete();
        let message = ip.payload(whole.packet());
        let identifier = u16::from_be_bytes([message[4], message[5]]);
        let owners = self
            .spaces
            .get(&ns)
            .and_then(|space| space.ping_ids.get(&identifier).cloned())
            .unwrap_or_default();
        for id in owners {
            let fits = self.sockets.get(&id).is_some_and(|socket| {
                socket.v6 == ip.is_v6()
                    && socket.fit(ip.dst, None, link).is_some()
                        | socket.remote.is_some_and(|remote| remote.ip == ip.src)
            });
            if fits {
                let arrival = Arrival {
                    data: message.to_vec(),
                    from: Endpoint::new(ip.src, 0),
                    to: ip.dst,
                    link,
                    ttl: ip.ttl,
                    tos: ip.tos,
                };
                self.put(id, arrival);
            }
        }
    }

    /// Gives raw sockets their copy. True: somebody took one.
    pub(crate) fn raw_input(&mut self, ns: NsId, link: LinkId, frame: &Frame, ip: &Ip) -> bool {
        let Some(space) = self.spaces.get(&ns) else {
            return false;
        };
        if space.raw.is_empty() {
            return false;
        }
        let takes = |id: &&SocketId| {
            let Some(socket) = self.sockets.get(id) else {
                return false;
            };
            let here = socket
                .local
                .is_none_or(|local| local.ip.is_unspecified() || local.ip == ip.dst);
            let there = socket.remote.is_none_or(|remote| remote.ip == ip.src);
            let wanted = ip.icmp(frame.packet()).is_none_or(|(kind, _)| {
                socket.options.icmp_filter[usize::from(kind >> 5)] >> (kind & 31) & 1 == 0
            });
            socket.kind == Kind::Raw(ip.proto)
                && socket.v6 == ip.is_v6()
                && here
                && there
                && wanted
                && socket.options.link.is_none_or(|bound| bound == link)
        };
        let takers: Vec<SocketId> = space.raw.iter().filter(takes).copied().collect();
        if takers.is_empty() {
            return false;
        }
        let mut whole = frame.clone();
        whole.complete();
        for id in &takers {
            let data = if ip.is_v6() {
                ip.payload(whole.packet()).to_vec()
            } else {
                whole.packet()[..ip.end].to_vec()
            };
            let arrival = Arrival {
                data,
                from: Endpoint::new(ip.src, 0),
                to: ip.dst,
                link,
                ttl: ip.ttl,
                tos: ip.tos,
            };
            self.put(*id, arrival);
        }
        true
    }

    /// An ICMP error arrived: the socket whose packet it quotes is told.
    pub(crate) fn error_input(
        &mut self,
        ns: NsId,
        link: LinkId,
        frame: &Frame,
        ip: &Ip,
        kind: u8,
        code: u8,
    ) {
        let packet = frame.packet();
        let message = ip.payload(packet);
        let Some(about) = message.get(8..).and_then(parse_quoted) else {
            return;
        };
        let quoted = &message[8..];
        let Some((errno, is_fatal)) = errno_of(ip.is_v6(), kind, code) else {
            return;
        };
        let info = u32::from_be_bytes([message[4], message[5], message[6], message[7]]);
        let too_big = errno == Errno::EMSGSIZE;
        let (src, dst) = about.ports(quoted).unwrap_or((0, 0));
        let local = Endpoint::new(about.src, src);
        let remote = Endpoint::new(about.dst, dst);
        let queued = |data: &[u8]| QueuedError {
            errno,
            origin: if ip.is_v6() { 3 } else { 2 },
            kind,
            code,
            info: if too_big { info } else { 0 },
            offender: ip.src,
            destination: remote,
            data: data.to_vec(),
        };
        let body = quoted.get(about.header..).unwrap_or_default();
        match about.proto {
            proto::TCP => {
                let mtu = too_big.then_some(if info == 0 { 1280 } else { info & 0xffff });
                self.stream_error(ns, (local, remote), errno, mtu);
            }
            proto::UDP => {
                if let Some(id) = self.find_udp(ns, local, remote, link) {
                    let data = body.get(8..).unwrap_or_default();
                    self.tell_error(id, queued(data), is_fatal);
                }
            }
            proto::ICMP | proto::ICMPV6 => {
                let identifier = body
                    .get(4..6)
                    .map_or(0, |raw| u16::from_be_bytes([raw[0], raw[1]]));
                let pings = self.spaces.get(&ns).and_then(|space| {
                    let owners = space.ping_ids.get(&identifier)?;
                    Some(owners.clone())
                });
                for id in pings.into_iter().flatten() {
                    self.tell_error(id, queued(body), is_fatal);
                }
            }
            _ => {}
        }
        self.tell_raw(ns, about.proto, about.dst, &queued(body), is_fatal);
    }

    fn tell_raw(
        &mut self,
        ns: NsId,
        proto: u8,
        remote: IpAddr,
        error: &QueuedError,
        is_fatal: bool,
    ) {
        let sockets = self
            .spaces
            .get(&ns)
            .map(|space| space.raw.clone())
            .unwrap_or_default();
        for id in sockets {
            let meant = self.sockets.get(&id).is_some_and(|socket| {
                socket.kind == Kind::Raw(proto)
                    && socket.remote.is_none_or(|known| known.ip == remote)
            });
            if meant {
                self.tell_error(id, error.clone(), is_fatal);
            }
        }
    }

    /// A connected socket gets the error of its packet; others only if they asked for it.
    fn tell_error(&mut self, id: SocketId, error: QueuedError, is_fatal: bool) {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        let asked = socket.options.receive_errors;
        let connected = socket.remote.is_some();
        if asked {
            let errno = error.errno;
            socket.queue_error(error);
            socket.error = Some(errno);
        } else if connected && is_fatal {
            socket.error = Some(error.errno);
        } else {
            return;
        }
        self.touch(id);
    }

    // ---- system calls ----

    /// `connect(2)`: where to send, and whom to hear.
    pub fn connect_datagrams(
        &mut self,
        id: SocketId,
        to: Endpoint,
        scope: Option<LinkId>,
    ) -> Result<()> {
        let mut to = to;
        if to.ip.is_unspecified() {
            to.ip = match to.ip {
                IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            };
        }
        let (hop, source) = self.path(id, to.ip, scope)?;
        let socket = self.get(id)?;
        if hop.kind == RouteKind::Broadcast && !socket.options.broadcast {
            return Err(Errno::EACCES);
        }
        let is_raw = matches!(socket.kind, Kind::Raw(_));
        let local = if is_raw {
            socket.local
        } else {
            Some(self.autobind(id)?)
        };
        let socket = self.get_mut(id)?;
        socket.remote = Some(if socket.kind == Kind::Udp {
            to
        } else {
            Endpoint::new(to.ip, 0)
        });
        socket.scope = scope.filter(|_| is_link_local(to.ip)).or(socket.scope);
        if let Some(local) = local
            && local.ip.is_unspecified()
        {
            socket.local = Some(Endpoint::new(source, local.port));
        }
        self.touch(id);
        Ok(())
    }

    /// `connect(2)` to `AF_UNSPEC`.
    pub fn disconnect_datagrams(&mut self, id: SocketId) -> Result<()> {
        let kept = self.get(id)?.bound_by_user;
        if !kept {
            self.give_port_back(id);
        }
        let socket = self.get_mut(id)?;
        socket.remote = None;
        if !kept && !matches!(socket.kind, Kind::Raw(_)) {
            socket.local = None;
        }
        Ok(())
    }

    /// Sends a datagram.
    pub fn send_datagram(
        &mut self,
        id: SocketId,
        data: &[u8],
        to: Option<(Endpoint, Option<LinkId>)>,
    ) -> Result<usize> {
        let socket = self.get_mut(id)?;
        // Who sends from a raw socket does not hear here what became of what he sent before.
        let hears = !matches!(socket.kind, Kind::Raw(_));
        if let Some(errno) = socket.error.take_if(|_| hears) {
            return Err(errno);
        }
        let datagrams = socket.datagrams_mut().ok_or(Errno::EOPNOTSUPP)?;
        if datagrams.write_shut {
            return Err(Errno::EPIPE);
        }
        let (mut to, scope) = match (to, socket.remote) {
            (Some(to), _) => to,
            (None, Some(remote)) => (remote, socket.scope),
            (None, None) => return Err(Errno::EDESTADDRREQ),
        };
        if to.ip.is_unspecified() {
            to.ip = match to.ip {
                IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            };
        }
        let kind = socket.kind;
        let may_broadcast = socket.options.broadcast;
        let max = if kind == Kind::Udp {
            UDP_BYTES_MAX
        } else {
            RAW_BYTES_MAX
        };
        if data.len() > max {
            return Err(Errno::EMSGSIZE);
        }
        if kind == Kind::Udp && to.port == 0 {
            return Err(Errno::EINVAL);
        }
        let (hop, source) = self.path(id, to.ip, scope)?;
        if hop.kind == RouteKind::Broadcast && !may_broadcast {
            return Err(Errno::EACCES);
        }
        let frame = match kind {
            Kind::Udp => self.udp_packet(id, data, to, source)?,
            Kind::Ping => self.ping_packet(id, data, to.ip, source)?,
            _ => self.raw_packet(id, data, to.ip, source)?,
        };
        let socket = self.get(id)?;
        let ns = socket.ns;
        let is_limited = matches!(to.ip, IpAddr::V4(to) if to.is_broadcast());
        let group = to.ip.is_multicast() || is_link_local(to.ip) || is_limited;
        let only = socket
            .options
            .link
            .or(scope.or(socket.scope).filter(|_| group))
            .or(Some(hop.link).filter(|_| group));
        let mut frame = frame;
        frame.mark = socket.options.mark;
        let outcome = self.output(ns, frame, only);
        self.run();
        outcome.map(|()| data.len())
    }

    fn spec(&mut self, id: SocketId, src: IpAddr, dst: IpAddr, proto: u8) -> Result<IpSpec> {
        let socket = self.get(id)?;
        let options = &socket.options;
        let (ns, tos, dont_fragment) = (socket.ns, options.tos, options.dont_fragment);
        let (ttl, multicast_ttl) = (options.ttl, options.multicast_ttl);
        let space = self.space_mut(ns)?;
        let ttl = if dst.is_multicast() {
            multicast_ttl
        } else {
            ttl.filter(|&ttl| ttl > 0).unwrap_or(space.settings.ttl)
        };
        Ok(IpSpec {
            src,
            dst,
            proto,
            ttl,
            tos,
            dont_fragment,
            id: space.take_ip_id(),
        })
    }

    /// Datagrams longer than the link takes are cut here, at the source, if they have not been told to stay
    /// whole.
    fn build(&self, id: SocketId, mut spec: IpSpec, message: &[&[u8]]) -> Frame {
        let len: usize = message.iter().map(|part| part.len()).sum();
        if spec.dont_fragment
            && let Ok((hop, _)) = self.path(id, spec.dst, None)
            && let Some(link) = self.links.get(&hop.link)
            && len + 20 > link.mtu as usize
        {
            // What Linux does unless IP_PMTUDISC_DO asks for EMSGSIZE.
            spec.dont_fragment = false;
        }
        packet::build(&spec, message)
    }

    fn udp_packet(
        &mut self,
        id: SocketId,
        data: &[u8],
        to: Endpoint,
        source: IpAddr,
    ) -> Result<Frame> {
        let port = self.autobind(id)?.port;
        let ns = self.get(id)?.ns;
        self.count(ns, |snmp| snmp.udp_out_datagrams += 1);
        let mut header = [0; 8];
        header[..2].copy_from_slice(&port.to_be_bytes());
        header[2..4].copy_from_slice(&to.port.to_be_bytes());
        header[4..6].copy_from_slice(&((8 + data.len()) as u16).to_be_bytes());
        let spec = self.spec(id, source, to.ip, proto::UDP)?;
        Ok(self.build(id, spec, &[&header, data]))
    }

    fn ping_packet(
        &mut self,
        id: SocketId,
        data: &[u8],
        to: IpAddr,
        source: IpAddr,
    ) -> Result<Frame> {
        if data.len() < 8 {
            return Err(Errno::EINVAL);
        }
        let (request, proto) = if to.is_ipv4() {
            (8, proto::ICMP)
        } else {
            (128, proto::ICMPV6)
        };
        if data[0] != request || data[1] != 0 {
            return Err(Errno::EINVAL);
        }
        let identifier = self.autobind(id)?.port;
        let mut message = data.to_vec();
        message[4..6].copy_from_slice(&identifier.to_be_bytes());
        let spec = self.spec(id, source, to, proto)?;
        Ok(self.build(id, spec, &[&message]))
    }

    fn raw_packet(
        &mut self,
        id: SocketId,
        data: &[u8],
        to: IpAddr,
        source: IpAddr,
    ) -> Result<Frame> {
        let socket = self.get(id)?;
        let Kind::Raw(proto) = socket.kind else {
            return Err(Errno::EINVAL);
        };
        if socket.options.header_included && !socket.v6 {
            return raw_with_header(data, to, source);
        }
        let spec = self.spec(id, source, to, proto)?;
        let mut frame = self.build(id, spec, &[data]);
        // What a raw socket sends is as it is, but for the checksum of ICMPv6.
        frame.partial = proto == proto::ICMPV6;
        frame.complete();
        Ok(frame)
    }

    /// Takes the next datagram; with `peek` it stays. At the end of a socket that was shut down: nothing.
    pub fn receive_datagram(&mut self, id: SocketId, peek: bool) -> Result<Option<Arrival>> {
        let socket = self.get_mut(id)?;
        if let Some(errno) = socket.error.take() {
            return Err(errno);
        }
        let datagrams = socket.datagrams_mut().ok_or(Errno::EOPNOTSUPP)?;
        let next = if peek {
            datagrams.queue.front().cloned()
        } else {
            datagrams.take()
        };
        match next {
            Some(arrival) => Ok(Some(arrival)),
            None if datagrams.read_shut => Ok(None),
            None => Err(Errno::EAGAIN),
        }
    }

    /// `shutdown(2)` of a datagram socket.
    pub fn shutdown_datagrams(&mut self, id: SocketId, read: bool, write: bool) -> Result<()> {
        let socket = self.get_mut(id)?;
        let connected = socket.remote.is_some();
        let datagrams = socket.datagrams_mut().ok_or(Errno::EOPNOTSUPP)?;
        if connected {
            datagrams.read_shut |= read;
            datagrams.write_shut |= write;
        }
        self.touch(id);
        // The effect is there even so (inet_shutdown).
        if connected {
            Ok(())
        } else {
            Err(Errno::ENOTCONN)
        }
    }
}

/// A packet whose IPv4 header the program has made; what it left 0 is filled in.
fn raw_with_header(data: &[u8], to: IpAddr, source: IpAddr) -> Result<Frame> {
    let mut frame = Frame::for_packet(data.len());
    frame.partial = false;
    let packet = frame.packet_mut();
    packet.copy_from_slice(data);
    let header = usize::from(packet.first().ok_or(Errno::EINVAL)? & 15) * 4;
    if header < 20 || header > packet.len() || packet[0] >> 4 != 4 {
        return Err(Errno::EINVAL);
    }
    let len = packet.len() as u16;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    if let (IpAddr::V4(source), true) = (source, packet[12..16] == [0; 4]) {
        packet[12..16].copy_from_slice(&source.octets());
    }
    if let IpAddr::V4(to) = to {
        packet[16..20].copy_from_slice(&to.octets());
    }
    packet::fill_header_checksum(packet);
    Ok(frame)
}
