//! Sockets: what TCP, UDP, ICMP and raw sockets have in common.
//!
//! A call that cannot go on now fails with `EAGAIN`; the socket's wait queue is woken when it is worth
//! another try. Errors are those of the system calls. Addresses of IPv4 that a socket of IPv6 sees as mapped
//! are plain IPv4 here; `v6` says which family the socket was made for.

mod datagram;
mod engine;
mod stream;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use abi::{Errno, Result};
use clock::{Instant, WaitQueue};

pub use datagram::{Arrival, Datagrams};
pub use engine::TcpState;
pub(crate) use engine::TimeWait;
pub use stream::{Stream, StreamInfo};

use crate::namespace::Endpoint;
use crate::network::{Network, Timer};
use crate::types::{LinkId, NsId, SocketId, is_link_local};

/// Sockets of a machine at most.
const SOCKETS_MAX: usize = 32_768;
/// Errors that wait in an error queue at most.
const ERRORS_MAX: usize = 64;

/// What kind of socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `SOCK_STREAM`.
    Tcp,
    /// `SOCK_DGRAM`.
    Udp,
    /// `SOCK_DGRAM` of `IPPROTO_ICMP` or `IPPROTO_ICMPV6`.
    Ping,
    /// `SOCK_RAW` of a protocol.
    Raw(u8),
}

/// Options of a socket. Who changes them through [`Network::set_options`] need not do more.
#[derive(Clone, Debug)]
pub struct Options {
    /// `SO_REUSEADDR`.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// `SO_BROADCAST`.
    pub broadcast: bool,
    /// `SO_KEEPALIVE`.
    pub keep_alive: bool,
    /// `TCP_KEEPIDLE` and `TCP_KEEPINTVL` in seconds.
    pub keep_alive_s: (u32, u32),
    /// `SO_LINGER`: seconds, if it is on.
    pub linger_s: Option<u32>,
    /// `TCP_NODELAY`.
    pub no_delay: bool,
    /// `TCP_USER_TIMEOUT` in milliseconds; 0 is the system's.
    pub user_timeout_ms: u32,
    /// `IPV6_V6ONLY`.
    pub v6_only: bool,
    /// `IP_TTL`, `IPV6_UNICAST_HOPS`; the system's if not set.
    pub ttl: Option<u8>,
    /// `IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`.
    pub multicast_ttl: u8,
    /// `IP_TOS`, `IPV6_TCLASS`.
    pub tos: u8,
    /// `IP_MTU_DISCOVER` is not "don't": datagrams are not cut on the way.
    pub dont_fragment: bool,
    /// `SO_BINDTODEVICE`.
    pub link: Option<LinkId>,
    /// `SO_MARK`.
    pub mark: u32,
    /// `IP_RECVERR`, `IPV6_RECVERR`.
    pub receive_errors: bool,
    /// `IP_HDRINCL`.
    pub header_included: bool,
    /// `ICMP_FILTER`: types of ICMP that are not wanted, a bit each.
    pub icmp_filter: [u32; 8],
    /// `SO_SNDBUF`, `SO_RCVBUF`.
    pub buffers: (usize, usize),
}

impl Default for Options {
    fn default() -> Self {
        Options {
            reuse_address: false,
            reuse_port: false,
            broadcast: false,
            keep_alive: false,
            keep_alive_s: (7200, 75),
            linger_s: None,
            no_delay: false,
            user_timeout_ms: 0,
            v6_only: false,
            ttl: None,
            multicast_ttl: 1,
            tos: 0,
            dont_fragment: true,
            link: None,
            mark: 0,
            receive_errors: false,
            header_included: false,
            icmp_filter: [0; 8],
            buffers: (engine::BUFFER_BYTES, engine::BUFFER_BYTES),
        }
    }
}

/// An entry of the error queue (`IP_RECVERR`).
#[derive(Clone, Debug)]
pub struct QueuedError {
    /// Error number.
    pub errno: Errno,
    /// `SO_EE_ORIGIN_ICMP` is 2, `…_ICMP6` 3, `…_LOCAL` 1.
    pub origin: u8,
    /// Type of the ICMP message.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// What it says beside, such as the MTU.
    pub info: u32,
    /// Who sent it.
    pub offender: IpAddr,
    /// Where the packet was to go.
    pub destination: Endpoint,
    /// What was sent.
    pub data: Vec<u8>,
}

/// What is ready.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Ready {
    /// Something can be received, be it the end or a connection.
    pub readable: bool,
    /// Something can be sent.
    pub writable: bool,
    /// The peer sends no more.
    pub peer_ended: bool,
    /// Nothing goes either way.
    pub hung_up: bool,
    /// An error waits.
    pub error: bool,
    /// The error queue has an entry.
    pub queued_error: bool,
}

/// The part of a socket that its kind decides.
#[derive(Debug)]
pub enum State {
    /// TCP.
    Stream(Box<Stream>),
    /// UDP, ICMP, raw.
    Datagrams(Datagrams),
}

/// A socket.
#[derive(Debug)]
pub struct Socket {
    /// Its namespace.
    pub ns: NsId,
    /// Its kind.
    pub kind: Kind,
    /// It is one of IPv6.
    pub v6: bool,
    /// Where it is bound.
    pub local: Option<Endpoint>,
    /// It has its port from the table of the namespace.
    pub(crate) owns_port: bool,
    /// `bind` named a port or address, which `connect` to nobody keeps.
    pub(crate) bound_by_user: bool,
    /// Whom it is connected to.
    pub remote: Option<Endpoint>,
    /// The link of link-local addresses.
    pub scope: Option<LinkId>,
    /// Options.
    pub options: Options,
    /// The error that waits (`SO_ERROR`).
    pub error: Option<Errno>,
    /// The error queue.
    pub(crate) errors: VecDeque<QueuedError>,
    /// Woken when something changes.
    pub wait: Rc<WaitQueue>,
    pub(crate) state: State,
    /// When its timer is set for.
    pub(crate) timer: Option<Instant>,
    /// Nobody has it open any more; it only ends what it began.
    pub(crate) is_orphan: bool,
}

impl Socket {
    fn new(ns: NsId, kind: Kind, v6: bool) -> Socket {
        let state = match kind {
            Kind::Tcp => State::Stream(Box::default()),
            _ => State::Datagrams(Datagrams::default()),
        };
        Socket {
            ns,
            kind,
            v6,
            local: None,
            owns_port: false,
            bound_by_user: false,
            remote: None,
            scope: None,
            options: Options::default(),
            error: None,
            errors: VecDeque::new(),
            wait: Rc::new(WaitQueue::new()),
            state,
            timer: None,
            is_orphan: false,
        }
    }

    /// Any address of its family.
    #[must_use]
    pub fn any(&self) -> IpAddr {
        if self.v6 {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        }
    }

    /// An address of this family can be the socket's.
    fn may_have(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(_) => !self.v6 || !self.options.v6_only,
            IpAddr::V6(_) => self.v6,
        }
    }

    /// A packet to `ip` is for it, as far as addresses say; the more exact, the higher.
    fn fit(&self, ip: IpAddr, from: Option<Endpoint>, link: LinkId) -> Option<u32> {
        let local = self.local?;
        let mut score = 0;
        if self.options.link.is_some_and(|bound| bound != link) || !self.may_have(ip) {
            return None;
        }
        score += u32::from(self.options.link.is_some());
        if local.ip.is_unspecified() {
            if local.ip.is_ipv4() && ip.is_ipv6() {
                return None;
            }
            score += u32::from(local.ip.is_ipv4() == ip.is_ipv4());
        } else if local.ip == ip {
            score += 4;
        } else {
            return None;
        }
        match self.remote {
            Some(remote) if from == Some(remote) => score += 8,
            Some(_) => return None,
            None => {}
        }
        Some(score)
    }

    /// The stream behind it.
    pub(crate) fn stream(&self) -> Option<&Stream> {
        match &self.state {
            State::Stream(stream) => Some(stream),
            State::Datagrams(_) => None,
        }
    }

    pub(crate) fn stream_mut(&mut self) -> Option<&mut Stream> {
        match &mut self.state {
            State::Stream(stream) => Some(stream),
            State::Datagrams(_) => None,
        }
    }

    pub(crate) fn datagrams_mut(&mut self) -> Option<&mut Datagrams> {
        match &mut self.state {
            State::Datagrams(datagrams) => Some(datagrams),
            State::Stream(_) => None,
        }
    }

    pub(crate) fn queue_error(&mut self, error: QueuedError) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push_back(error);
        }
    }
}

impl Network {
    /// `socket(2)`.
    pub fn socket(&mut self, ns: NsId, kind: Kind, v6: bool) -> Result<SocketId> {
        if self.sockets.len() >= SOCKETS_MAX {
            return Err(Errno::ENOBUFS);
        }
        let id = self.fresh_socket();
        let mut socket = Socket::new(ns, kind, v6);
        if let Kind::Raw(proto) = kind {
            socket.local = Some(Endpoint::new(socket.any(), u16::from(proto)));
            socket.options.header_included = proto == 255;
            self.space_mut(ns)?.raw.push(id);
        }
        self.sockets.insert(id, socket);
        Ok(id)
    }

    /// A socket.
    pub fn get(&self, id: SocketId) -> Result<&Socket> {
        self.sockets.get(&id).ok_or(Errno::EBADF)
    }

    pub(crate) fn get_mut(&mut self, id: SocketId) -> Result<&mut Socket> {
        self.sockets.get_mut(&id).ok_or(Errno::EBADF)
    }

    /// The sockets of a namespace, those included that nobody has open any more.
    pub fn sockets_of(&self, ns: NsId) -> impl Iterator<Item = (SocketId, &Socket)> {
        self.sockets
            .iter()
            .filter(move |(_, socket)| socket.ns == ns)
            .map(|(&id, socket)| (id, socket))
    }

    /// Who is interested in the socket looks again.
    pub(crate) fn touch(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get(&id) {
            let queue = Rc::clone(&socket.wait);
            self.wake(&queue);
        }
    }

    /// Changes options.
    pub fn set_options(&mut self, id: SocketId, change: impl FnOnce(&mut Options)) -> Result<()> {
        change(&mut self.get_mut(id)?.options);
        self.stream_options_changed(id);
        Ok(())
    }

    /// Takes the error that waits.
    pub fn take_error(&mut self, id: SocketId) -> Option<Errno> {
        self.sockets.get_mut(&id)?.error.take()
    }

    /// Takes an entry of the error queue. The error that waits is then that of the next one.
    pub fn take_queued_error(&mut self, id: SocketId) -> Option<QueuedError> {
        let socket = self.sockets.get_mut(&id)?;
        let taken = socket.errors.pop_front()?;
        socket.error = socket.errors.front().map(|next| next.errno);
        Some(taken)
    }

    /// What is ready.
    #[must_use]
    pub fn ready(&self, id: SocketId) -> Ready {
        let Some(socket) = self.sockets.get(&id) else {
            return Ready {
                hung_up: true,
                ..Ready::default()
            };
        };
        let mut ready = match &socket.state {
            State::Stream(stream) => stream.ready(),
            State::Datagrams(datagrams) => datagrams.ready(),
        };
        ready.error |= socket.error.is_some();
        ready.queued_error = !socket.errors.is_empty();
        ready
    }

    // ---- addresses and ports ----

    /// `bind(2)`. Whether the caller may have a privileged port is the caller's business.
    pub fn bind(&mut self, id: SocketId, to: Endpoint, scope: Option<LinkId>) -> Result<()> {
        let socket = self.get(id)?;
        let ns = socket.ns;
        let is_raw = matches!(socket.kind, Kind::Raw(_));
        if socket.local.is_some() && !is_raw {
            return Err(Errno::EINVAL);
        }
        let any_of_v6 = socket.v6 && to.ip.is_unspecified();
        if !socket.may_have(to.ip) && !any_of_v6 {
            return Err(Errno::EADDRNOTAVAIL);
        }
        if is_link_local(to.ip) && scope.is_none() {
            return Err(Errno::EINVAL);
        }
        let is_datagram = socket.kind != Kind::Tcp;
        let fits = to.ip.is_unspecified()
            || self.is_local(ns, to.ip)
            || (is_link_local(to.ip) && scope.is_some_and(|link| self.owns(link, to.ip)))
            // Groups and broadcast addresses can be received at.
            || (is_datagram
                && (to.ip.is_multicast() || self.is_broadcast(ns, to.ip)));
        if !fits {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let socket = self.get_mut(id)?;
        socket.scope = scope.filter(|_| is_link_local(to.ip));
        if is_raw {
            let proto = socket.local.map_or(0, |local| local.port);
            socket.local = Some(Endpoint::new(to.ip, proto));
            return Ok(());
        }
        self.take_port(id, to)?;
        self.get_mut(id)?.bound_by_user = true;
        Ok(())
    }

    pub(crate) fn is_broadcast(&self, ns: NsId, ip: IpAddr) -> bool {
        matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
            || self.spaces.get(&ns).is_some_and(|space| {
                space
                    .routes
                    .find(ip, None)
                    .is_some_and(|route| route.kind == crate::route::RouteKind::Broadcast)
            })
    }

    fn port_table(
        &mut self,
        id: SocketId,
    ) -> Option<&mut std::collections::BTreeMap<u16, Vec<SocketId>>> {
        let socket = self.sockets.get(&id)?;
        let (ns, kind) = (socket.ns, socket.kind);
        let space = self.spaces.get_mut(&ns)?;
        match kind {
            Kind::Tcp => Some(&mut space.tcp_ports),
            Kind::Udp => Some(&mut space.udp_ports),
            Kind::Ping => Some(&mut space.ping_ids),
            Kind::Raw(_) => None,
        }
    }

    /// Takes the port `to` names, or a free one, from the namespace.
    pub(crate) fn take_port(&mut self, id: SocketId, to: Endpoint) -> Result<Endpoint> {
        let port = if to.port == 0 {
            self.free_port(id, to.ip)?
        } else if self.is_in_use(id, to) {
            return Err(Errno::EADDRINUSE);
        } else {
            to.port
        };
        let taken = Endpoint::new(to.ip, port);
        if let Some(table) = self.port_table(id) {
            table.entry(port).or_default().push(id);
        }
        let socket = self.get_mut(id)?;
        (socket.local, socket.owns_port) = (Some(taken), true);
        Ok(taken)
    }

    fn free_port(&mut self, id: SocketId, ip: IpAddr) -> Result<u16> {
        let socket = self.get(id)?;
        let (first, last) = if socket.kind == Kind::Ping {
            (1, u16::MAX)
        } else {
            self.space(socket.ns)?.settings.ports
        };
        let span = u32::from(last.saturating_sub(first)) + 1;
        let start = self.rng.next_u64() as u32 % span;
        (0..span)
            .map(|step| first + ((start + step) % span) as u16)
            .find(|&port| {
                // One that nobody has at all: a shared port would steal connections.
                self.port_table(id)
                    .is_none_or(|table| table.get(&port).is_none_or(Vec::is_empty))
                    && !self.is_in_use(id, Endpoint::new(ip, port))
            })
            .ok_or(Errno::EADDRINUSE)
    }

    /// Somebody has an address and port that overlaps, and does not share it.
    fn is_in_use(&mut self, id: SocketId, to: Endpoint) -> bool {
        let owners = self
            .port_table(id)
            .and_then(|table| table.get(&to.port).cloned())
            .unwrap_or_default();
        let Some(socket) = self.sockets.get(&id) else {
            return true;
        };
        let clashes = |other: &Socket| {
            let Some(local) = other.local else {
                return false;
            };
            let families = to.ip.is_ipv4() == local.ip.is_ipv4()
                || (to.ip.is_ipv6() && to.ip.is_unspecified() && !socket.options.v6_only)
                || (local.ip.is_ipv6() && local.ip.is_unspecified() && !other.options.v6_only);
            let addresses =
                to.ip == local.ip || to.ip.is_unspecified() || local.ip.is_unspecified();
            let links = match (socket.options.link, other.options.link) {
                (Some(one), Some(two)) => one == two,
                _ => true,
            };
            families && addresses && links && !shares(socket, other)
        };
        let bound = owners
            .iter()
            .filter(|&&other| other != id)
            .filter_map(|other| self.sockets.get(other))
            .any(clashes);
        // Connections that are over hold their port for a while, unless one says it does not mind.
        let lingers = socket.kind == Kind::Tcp
            && !socket.options.reuse_address
            && self.spaces.get(&socket.ns).is_some_and(|space| {
                space.time_wait.iter().any(|((local, _), old)| {
                    local.port == to.port
                        && old.expires > self.now
                        && (to.ip == local.ip || to.ip.is_unspecified())
                })
            });
        bound || lingers
    }

    /// Gives the port back.
    pub(crate) fn give_port_back(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        if !std::mem::take(&mut socket.owns_port) {
            return;
        }
        let Some(port) = socket.local.map(|local| local.port) else {
            return;
        };
        if let Some(table) = self.port_table(id)
            && let Some(owners) = table.get_mut(&port)
        {
            owners.retain(|&other| other != id);
            if owners.is_empty() {
                table.remove(&port);
            }
        }
    }

    /// Makes sure that a socket that is not bound has a port.
    pub(crate) fn autobind(&mut self, id: SocketId) -> Result<Endpoint> {
        let socket = self.get(id)?;
        match socket.local {
            Some(local) => Ok(local),
            None => {
                let any = socket.any();
                self.take_port(id, Endpoint::new(any, 0))
            }
        }
    }

    /// Where a socket that wants to talk to `to` sends, and from which address.
    pub(crate) fn path(
        &self,
        id: SocketId,
        to: IpAddr,
        scope: Option<LinkId>,
    ) -> Result<(crate::route::Hop, IpAddr)> {
        let socket = self.get(id)?;
        if !socket.may_have(to) {
            return Err(Errno::ENETUNREACH);
        }
        let is_limited = matches!(to, IpAddr::V4(to) if to.is_broadcast());
        // What is for everybody on a link goes out by the link whose address the socket has.
        let own = socket
            .local
            .filter(|local| !local.ip.is_unspecified())
            .filter(|_| is_limited || to.is_multicast())
            .and_then(|local| self.owner(socket.ns, local.ip));
        let only = socket.options.link.or(scope).or(socket.scope).or(own);
        if is_link_local(to) && only.is_none() {
            return Err(Errno::EINVAL);
        }
        let only = only.filter(|_| socket.options.link.is_some() || needs_scope(to) || is_limited);
        let hop = self.route(socket.ns, to, only)?;
        let source = match socket.local {
            Some(local) if !local.ip.is_unspecified() => {
                if local.ip.is_ipv4() != to.is_ipv4() {
                    return Err(if to.is_ipv4() {
                        Errno::ENETUNREACH
                    } else {
                        Errno::EINVAL
                    });
                }
                if local.ip.is_multicast() || self.is_broadcast(socket.ns, local.ip) {
                    self.source_for(socket.ns, to, &hop)?
                } else {
                    local.ip
                }
            }
            _ => self.source_for(socket.ns, to, &hop)?,
        };
        Ok((hop, source))
    }

    // ---- closing ----

    /// `close(2)` of the last descriptor.
    pub fn close(&mut self, id: SocketId) {
        match self.sockets.get(&id).map(|socket| socket.kind) {
            Some(Kind::Tcp) => self.close_stream(id),
            Some(_) => self.drop_socket(id),
            None => {}
        }
        self.run();
    }

    /// Removes a socket from everywhere.
    pub(crate) fn drop_socket(&mut self, id: SocketId) {
        self.give_port_back(id);
        self.forget_connection(id);
        let Some(socket) = self.sockets.remove(&id) else {
            return;
        };
        if let Some(at) = socket.timer {
            self.disarm(at, Timer::Socket(id));
        }
        if let Some(space) = self.spaces.get_mut(&socket.ns) {
            space.raw.retain(|&other| other != id);
        }
        let queue = socket.wait;
        self.wake(&queue);
    }

    /// Sets the timer of a socket. One that is set for earlier stays: when it is due, the socket looks what
    /// there is to do and sets it again. So a segment and its acknowledgement cost no timer.
    pub(crate) fn set_socket_timer(&mut self, id: SocketId, at: Option<Instant>) {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        if at.is_none() || socket.timer.is_some_and(|old| at >= Some(old)) {
            return;
        }
        let old = std::mem::replace(&mut socket.timer, at);
        if let Some(old) = old {
            self.disarm(old, Timer::Socket(id));
        }
        if let Some(at) = at {
            self.arm(at, Timer::Socket(id));
        }
    }
}

/// The link matters for these addresses.
fn needs_scope(ip: IpAddr) -> bool {
    is_link_local(ip) || ip.is_multicast()
}

/// Two sockets may have the same port.
fn shares(one: &Socket, two: &Socket) -> bool {
    let listens = |socket: &Socket| socket.stream().is_some_and(Stream::is_listening);
    if one.options.reuse_port && two.options.reuse_port {
        return true;
    }
    one.options.reuse_address
        && two.options.reuse_address
        && !(one.kind == Kind::Tcp && (listens(one) || listens(two)))
}
