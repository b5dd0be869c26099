//! Internet sockets (`ip(7)`, `tcp(7)`, `udp(7)`, `icmp(7)`, `raw(7)`, `ipv6(7)`): the system calls on the
//! sockets of crate `net`, where everything happens.

mod arrival;
mod options;
pub mod shown;
mod xtables;

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::task::Waker;

use abi::{Errno, Result};
use clock::WaitQueue;
use net::socket::{Kind, Ready, TcpState};
use net::{Endpoint, LinkId, Network, SocketId};
use vfs::Capability;
use vfs::file::Events;

pub use options::structured_option;
pub use shown::{proc_inet, proc_sockstat, state_number};

use super::{Caller, Outgoing, Received, SockAddr, Socket, consts as c};
use crate::kernel::Kernel;
use crate::namespaces::NetNs;
use crate::task::Task;
use options::Options;

/// `IPPROTO_…`.
const ICMP: u32 = 1;
const TCP: u32 = 6;
const UDP: u32 = 17;
const ICMPV6: u32 = 58;

/// Reads a `sockaddr_in` or `sockaddr_in6` given to a socket of `family`, and the link it names. Mapped
/// addresses (`::ffff:127.0.0.1`) are what they stand for.
pub fn parse_address(
    net: &NetNs,
    address: &SockAddr,
    family: u16,
) -> Result<(Endpoint, Option<LinkId>)> {
    let raw = address.bytes();
    let needed = if family == c::AF_INET { 16 } else { 24 };
    if raw.len() < needed && (address.family() == family || raw.len() < 16) {
        return Err(Errno::EINVAL);
    }
    let port = u16::from_be_bytes([raw[2], raw[3]]);
    match (address.family(), family) {
        (c::AF_INET, c::AF_INET) => {
            let ip = Ipv4Addr::new(raw[4], raw[5], raw[6], raw[7]);
            Ok((Endpoint::new(ip, port), None))
        }
        (c::AF_INET6, c::AF_INET6) => {
            let bytes: [u8; 16] = raw[8..24].try_into().map_err(|_| Errno::EINVAL)?;
            let ip = Ipv6Addr::from(bytes).to_canonical();
            let scope = raw
                .get(24..28)
                .map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let link = match scope {
                0 => None,
                index => Some(net.with(|network| network.link_by_index(net.id, index))?),
            };
            Ok((Endpoint::new(ip, port), link))
        }
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// Writes an address as a socket of `family` shows it.
#[must_use]
pub fn emit_address(endpoint: Endpoint, family: u16, scope: u32) -> SockAddr {
    let mut raw = [0; 28];
    raw[..2].copy_from_slice(&family.to_le_bytes());
    raw[2..4].copy_from_slice(&endpoint.port.to_be_bytes());
    if family == c::AF_INET {
        if let IpAddr::V4(ip) = endpoint.ip {
            raw[4..8].copy_from_slice(&ip.octets());
        }
        return SockAddr::new(&raw[..16]);
    }
    let ip = match endpoint.ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    raw[8..24].copy_from_slice(&ip.octets());
    if net::is_link_local(endpoint.ip) {
        raw[24..28].copy_from_slice(&scope.to_le_bytes());
    }
    SockAddr::new(&raw)
}

/// The first port that needs no privilege.
fn first_free_port(net: &NetNs) -> u16 {
    let sysctls = net.sysctls.borrow();
    sysctls
        .get("net/ipv4/ip_unprivileged_port_start")
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1024)
}

/// `EACCES` when the caller may not bind to a privileged port.
fn check_port(caller: Caller<'_>, net: &NetNs, port: u16) -> Result<()> {
    if port == 0
        || port >= first_free_port(net)
        || caller
            .k
            .capable_in(caller.t, &net.owner, Capability::NetBindService)
    {
        return Ok(());
    }
    Err(Errno::EACCES)
}

/// `EACCES` when none of the caller's groups may send echo requests without `CAP_NET_RAW` (icmp(7)).
fn check_ping(t: &Task, net: &NetNs) -> Result<()> {
    let sysctls = net.sysctls.borrow();
    let range = sysctls.get("net/ipv4/ping_group_range");
    let mut ends = range
        .iter()
        .flat_map(|text| text.split_ascii_whitespace())
        .filter_map(|word| word.parse::<u32>().ok());
    // Without a setting, nobody.
    let (first, last) = (ends.next().unwrap_or(1), ends.next().unwrap_or(0));
    let creds = t.creds();
    let groups = creds.groups.iter().chain([&creds.egid]);
    if groups.copied().any(|group| (first..=last).contains(&group)) {
        Ok(())
    } else {
        Err(Errno::EACCES)
    }
}

/// A new socket of `AF_INET` or `AF_INET6`.
pub fn new(
    k: &Rc<Kernel>,
    t: &Task,
    net: &Rc<NetNs>,
    family: u16,
    kind: u32,
    protocol: u32,
) -> Result<Rc<dyn Socket>> {
    let icmp = if family == c::AF_INET { ICMP } else { ICMPV6 };
    let kind = match (kind, protocol) {
        (c::SOCK_STREAM, 0 | TCP) => Kind::Tcp,
        (c::SOCK_DGRAM, 0 | UDP) => Kind::Udp,
        (c::SOCK_DGRAM, protocol) if protocol == icmp => {
            check_ping(t, net)?;
            Kind::Ping
        }
        (c::SOCK_RAW, 0) => return Err(Errno::EPROTONOSUPPORT),
        (c::SOCK_RAW, _) if !k.capable_in(t, &net.owner, Capability::NetRaw) => {
            return Err(Errno::EPERM);
        }
        (c::SOCK_RAW, protocol) => Kind::Raw(u8::try_from(protocol).map_err(|_| Errno::EINVAL)?),
        (c::SOCK_STREAM | c::SOCK_DGRAM, _) => return Err(Errno::EPROTONOSUPPORT),
        _ => return Err(Errno::ESOCKTNOSUPPORT),
    };
    Ok(InetSocket::new(net, family, kind)?)
}

/// The protocol that `SO_PROTOCOL` tells.
#[must_use]
pub fn shown_protocol(family: u16, kind: u32, protocol: u32) -> u32 {
    match (family, kind, protocol) {
        (c::AF_INET | c::AF_INET6, c::SOCK_STREAM, 0) => TCP,
        (c::AF_INET | c::AF_INET6, c::SOCK_DGRAM, 0) => UDP,
        _ => protocol,
    }
}

/// An internet socket. Dropping it closes it.
pub struct InetSocket {
    net: Rc<NetNs>,
    family: u16,
    kind: Kind,
    /// Its number in the network.
    pub id: SocketId,
    wait: Rc<WaitQueue>,
    options: Options,
}

impl InetSocket {
    /// A socket that is neither bound nor connected.
    pub fn new(net: &Rc<NetNs>, family: u16, kind: Kind) -> Result<Rc<InetSocket>> {
        let id = net.with(|network| network.socket(net.id, kind, family == c::AF_INET6))?;
        InetSocket::wrap(net, family, kind, id)
    }

    fn wrap(net: &Rc<NetNs>, family: u16, kind: Kind, id: SocketId) -> Result<Rc<InetSocket>> {
        let wait = net.with(|network| network.get(id).map(|socket| Rc::clone(&socket.wait)))?;
        Ok(Rc::new(InetSocket {
            net: Rc::clone(net),
            family,
            kind,
            id,
            wait,
            options: Options::default(),
        }))
    }

    /// Works with the network.
    fn with<R>(&self, f: impl FnOnce(&mut Network) -> R) -> R {
        self.net.with(f)
    }

    /// Binds; whether the port is allowed has been checked.
    pub fn bind_to(&self, to: Endpoint, scope: Option<LinkId>) -> Result<()> {
        self.with(|network| network.bind(self.id, to, scope))
    }

    /// Starts to listen.
    pub fn start_listening(&self, backlog: u32) -> Result<()> {
        self.with(|network| network.listen(self.id, backlog))
    }

    /// Connects.
    pub fn connect_to(&self, to: Endpoint, scope: Option<LinkId>, nonblocking: bool) -> Result<()> {
        self.with(|network| match self.kind {
            Kind::Tcp => network.connect_stream(self.id, to, scope, nonblocking),
            _ => network.connect_datagrams(self.id, to, scope),
        })
    }

    /// Takes the next connection.
    pub fn accept_next(&self) -> Result<Rc<InetSocket>> {
        let id = self.with(|network| network.accept(self.id))?;
        let accepted = InetSocket::wrap(&self.net, self.family, self.kind, id)?;
        accepted.options.inherit(&self.options);
        Ok(accepted)
    }

    /// Looks at the network.
    fn read<R>(&self, f: impl FnOnce(&Network) -> R) -> R {
        self.net.stack.read(f)
    }

    fn state(&self) -> TcpState {
        self.read(|network| network.stream_info(self.id))
            .map_or(TcpState::Closed, |info| info.state)
    }

    fn index_of(network: &Network, link: Option<LinkId>) -> u32 {
        link.and_then(|link| network.link(link).ok())
            .map_or(0, |link| link.index)
    }

    fn name(&self, remote: bool) -> Result<Option<SockAddr>> {
        self.read(|network| {
            let socket = network.get(self.id)?;
            let endpoint = if remote { socket.remote } else { socket.local };
            let scope = InetSocket::index_of(network, socket.scope);
            Ok(endpoint.map(|endpoint| emit_address(endpoint, self.family, scope)))
        })
    }
}

impl Socket for InetSocket {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn bind(&self, caller: Caller<'_>, address: &SockAddr) -> Result<()> {
        let mut known = *address;
        // An address of no family at all is "any" in old programs (inet_bind).
        if self.family == c::AF_INET
            && address.family() == c::AF_UNSPEC
            && address.bytes().get(4..8) == Some(&[0; 4])
        {
            let mut raw = address.bytes().to_vec();
            raw[..2].copy_from_slice(&c::AF_INET.to_le_bytes());
            known = SockAddr::new(&raw);
        }
        let (to, scope) = parse_address(&self.net, &known, self.family)?;
        if matches!(self.kind, Kind::Tcp | Kind::Udp) {
            check_port(caller, &self.net, to.port)?;
        }
        self.bind_to(to, scope)
    }

    fn listen(&self, _caller: Caller<'_>, backlog: u32) -> Result<()> {
        if self.kind != Kind::Tcp {
            return Err(Errno::EOPNOTSUPP);
        }
        self.start_listening(backlog)
    }

    fn connect(&self, _caller: Caller<'_>, address: &SockAddr, nonblocking: bool) -> Result<()> {
        if address.bytes().len() < 2 {
            return Err(Errno::EINVAL);
        }
        if address.family() == c::AF_UNSPEC {
            return self.with(|network| match self.kind {
                Kind::Tcp => network.disconnect_stream(self.id),
                _ => network.disconnect_datagrams(self.id),
            });
        }
        let (to, scope) = parse_address(&self.net, address, self.family)?;
        self.connect_to(to, scope, nonblocking)
    }

    fn accept(&self) -> Result<(Rc<dyn Socket>, SockAddr)> {
        if self.kind != Kind::Tcp {
            return Err(Errno::EOPNOTSUPP);
        }
        let socket = self.accept_next()?;
        let peer = socket.peer_name()?;
        Ok((socket, peer))
    }

    fn send(&self, _caller: Option<Caller<'_>>, message: Outgoing<'_>) -> Result<usize> {
        if self.kind == Kind::Tcp {
            if message.flags & c::MSG_OOB != 0 {
                return Err(Errno::EOPNOTSUPP);
            }
            return self.with(|network| network.send_stream(self.id, message.data));
        }
        let to = match &message.to {
            Some(address) => Some(parse_address(&self.net, address, self.family)?),
            None => None,
        };
        self.with(|network| network.send_datagram(self.id, message.data, to))
    }

    fn receive(&self, buf: &mut [u8], flags: u32) -> Result<Received> {
        if flags & c::MSG_ERRQUEUE != 0 {
            return self.receive_error(buf);
        }
        let peek = flags & c::MSG_PEEK != 0;
        if self.kind != Kind::Tcp {
            return self.receive_arrival(buf, peek);
        }
        if flags & c::MSG_OOB != 0 {
            return Err(Errno::EINVAL);
        }
        let count = self.with(|network| network.receive_stream(self.id, buf, peek))?;
        Ok(Received {
            count,
            full: count,
            ..Received::default()
        })
    }

    fn shutdown(&self, read: bool, write: bool) -> Result<()> {
        self.with(|network| match self.kind {
            Kind::Tcp => network.shutdown_stream(self.id, read, write),
            _ => network.shutdown_datagrams(self.id, read, write),
        })
    }

    fn local_name(&self) -> Result<SockAddr> {
        let any = if self.family == c::AF_INET {
            Endpoint::new(Ipv4Addr::UNSPECIFIED, 0)
        } else {
            Endpoint::new(Ipv6Addr::UNSPECIFIED, 0)
        };
        let name = self.name(false)?;
        Ok(name.unwrap_or_else(|| emit_address(any, self.family, 0)))
    }

    fn peer_name(&self) -> Result<SockAddr> {
        let gone =
            self.kind == Kind::Tcp && matches!(self.state(), TcpState::Closed | TcpState::SynSent);
        self.name(true)?.filter(|_| !gone).ok_or(Errno::ENOTCONN)
    }

    fn poll(&self, waker: Option<&Waker>) -> Events {
        if let Some(waker) = waker {
            self.wait.register(waker);
        }
        events(&self.read(|network| network.ready(self.id)))
    }

    fn take_error(&self) -> Option<Errno> {
        self.with(|network| network.take_error(self.id))
    }

    fn is_listening(&self) -> bool {
        self.kind == Kind::Tcp && self.state() == TcpState::Listen
    }

    fn readable(&self) -> usize {
        self.read(|network| network.readable(self.id))
    }

    fn unsent(&self) -> usize {
        self.read(|network| network.stream_info(self.id))
            .map_or(0, |info| info.send_queue)
    }

    fn get_option(&self, level: u32, name: u32) -> Result<i32> {
        self.options
            .get(self.family, self.kind == Kind::Tcp, level, name)
    }

    fn set_option(&self, _caller: Caller<'_>, level: u32, name: u32, value: &[u8]) -> Result<()> {
        self.set_inet_option(level, name, value)
    }

    fn common_option(&self, name: u32, value: i32) {
        self.set_common_option(name, value);
    }

    fn bind_device(&self, name: &str) -> Result<()> {
        self.with(|network| {
            let ns = network.get(self.id)?.ns;
            let link = match name {
                "" => None,
                name => Some(network.find_link(ns, name)?),
            };
            network.set_options(self.id, |options| options.link = link)
        })
    }

    fn bound_device(&self) -> Option<String> {
        self.with(|network| {
            let link = network.get(self.id).ok()?.options.link?;
            network.link(link).ok().map(|link| link.name.clone())
        })
    }
}

impl Drop for InetSocket {
    fn drop(&mut self) {
        self.with(|network| network.close(self.id));
    }
}

fn events(ready: &Ready) -> Events {
    let mut events = Events::empty();
    for (is_so, bits) in [
        (ready.readable, Events::IN | Events::RDNORM),
        (ready.writable, Events::OUT | Events::WRNORM),
        (ready.peer_ended, Events::RDHUP),
        (ready.hung_up, Events::HUP),
        (ready.error || ready.queued_error, Events::ERR),
    ] {
        if is_so {
            events |= bits;
        }
    }
    events
}

#[cfg(test)]
mod tests;
