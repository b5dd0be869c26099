//! Netlink sockets (`netlink(7)`, `rtnetlink(7)`, `sock_diag(7)`): what `ip`, `bridge`, `ss`, `getifaddrs` and
//! `getaddrinfo` ask and change. A kind of object a file; [`message`] reads and writes.

mod address;
mod diag;
pub mod interface;
mod link;
mod message;
mod neighbour;
mod route;

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;
use std::task::Waker;

use abi::{Errno, Result};
use net::{Event, Network};
use vfs::Capability;
use vfs::file::Events;

use super::channel::Channel;
use super::{Ancillary, Caller, Outgoing, Received, SockAddr, Socket, consts as c};
use crate::kernel::Kernel;
use crate::namespaces::{NetListener, NetNs};
use crate::task::Task;
pub use interface::interface_ioctl;
use message::{ACK, DUMP, Header, MULTI, Message};

/// Message types.
mod kind {
    pub const ERROR: u16 = 2;
    pub const DONE: u16 = 3;
    pub const NEWLINK: u16 = 16;
    pub const DELLINK: u16 = 17;
    pub const GETLINK: u16 = 18;
    pub const SETLINK: u16 = 19;
    pub const NEWADDR: u16 = 20;
    pub const DELADDR: u16 = 21;
    pub const GETADDR: u16 = 22;
    pub const NEWROUTE: u16 = 24;
    pub const DELROUTE: u16 = 25;
    pub const GETROUTE: u16 = 26;
    pub const NEWNEIGH: u16 = 28;
    pub const DELNEIGH: u16 = 29;
    pub const GETNEIGH: u16 = 30;
    pub const NEWRULE: u16 = 32;
    pub const GETRULE: u16 = 34;
    pub const NEWNSID: u16 = 88;
    pub const GETNSID: u16 = 90;
    /// The last of the types there are (RTM_MAX of this protocol).
    pub const LAST: u16 = 127;
    /// Of the protocol that tells of sockets.
    pub const DIAG_BY_FAMILY: u16 = 20;
}

/// Protocols.
const ROUTE: u32 = 0;
const SOCK_DIAG: u32 = 4;

/// Groups of `ip monitor`, as bits.
const GROUP_LINK: u32 = 1;

/// Bytes of a dump that go into one datagram, as far as messages can be cut there: readers have buffers of
/// a page.
const DATAGRAM_BYTES: usize = 3500;

/// A netlink socket.
pub struct NetlinkSocket {
    net: Rc<NetNs>,
    protocol: u32,
    port: Cell<u32>,
    groups: Cell<u32>,
    /// Errors come with a text (`NETLINK_EXT_ACK`).
    explains: Cell<bool>,
    inbox: Rc<Channel>,
}

/// A new netlink socket.
pub fn new(
    _k: &Rc<Kernel>,
    _t: &Task,
    net: &Rc<NetNs>,
    kind: u32,
    protocol: u32,
) -> Result<Rc<dyn Socket>> {
    if !matches!(kind, c::SOCK_RAW | c::SOCK_DGRAM) {
        return Err(Errno::ESOCKTNOSUPPORT);
    }
    if !matches!(protocol, ROUTE | SOCK_DIAG) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    let socket = Rc::new(NetlinkSocket {
        net: Rc::clone(net),
        protocol,
        port: Cell::new(0),
        groups: Cell::new(0),
        explains: Cell::new(false),
        inbox: Channel::new(net.payer.get()),
    });
    if protocol == ROUTE {
        let weak: std::rc::Weak<NetlinkSocket> = Rc::downgrade(&socket);
        net.stack.listen(weak);
    }
    Ok(socket)
}

/// `struct sockaddr_nl`.
fn address(port: u32, groups: u32) -> SockAddr {
    let mut raw = [0; 12];
    raw[..2].copy_from_slice(&c::AF_NETLINK.to_le_bytes());
    raw[4..8].copy_from_slice(&port.to_le_bytes());
    raw[8..].copy_from_slice(&groups.to_le_bytes());
    SockAddr::new(&raw)
}

fn parse_address(address: &SockAddr) -> Result<(u32, u32)> {
    let raw = address.bytes();
    if address.family() != c::AF_NETLINK || raw.len() < 12 {
        return Err(Errno::EINVAL);
    }
    let word = |at: usize| u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
    Ok((word(4), word(8)))
}

impl NetlinkSocket {
    fn autobind(&self, t: &Task) {
        if self.port.get() == 0 {
            self.port.set(t.group.tgid_in(&t.pid_ns()));
        }
    }

    fn reply(&self, bytes: &[u8]) {
        // A full queue loses the answer; real ones say ENOBUFS, which no program here expects.
        let _ =
            self.inbox
                .send_message(bytes, Ancillary::default(), Some(address(0, 0)), usize::MAX);
    }

    fn answer(&self, caller: Caller<'_>, header: &Header, body: &[u8]) {
        let outcome = if header.flags & DUMP == DUMP {
            match self.dump(header, body) {
                Ok(found) => {
                    self.reply_dump(header, &found);
                    return;
                }
                Err(errno) => Err(errno),
            }
        } else {
            self.single(caller, header, body)
        };
        let error = match outcome {
            Ok(()) if header.flags & ACK == 0 => return,
            Ok(()) => 0,
            Err(errno) => -errno.0,
        };
        let mut original = [0; 16];
        original[..4].copy_from_slice(&(header.len as u32).to_le_bytes());
        original[4..6].copy_from_slice(&header.kind.to_le_bytes());
        original[6..8].copy_from_slice(&header.flags.to_le_bytes());
        original[8..12].copy_from_slice(&header.sequence.to_le_bytes());
        original[12..].copy_from_slice(&header.port.to_le_bytes());
        let explained = outcome
            .err()
            .filter(|_| self.explains.get())
            .and_then(|errno| explanation(header.kind, errno, body));
        // NLM_F_ACK_TLVS.
        let flags = if explained.is_some() { 0x200 } else { 0 };
        let mut answer = Message::new(kind::ERROR, flags, header)
            .bytes(&error.to_le_bytes())
            .bytes(&original);
        if error != 0 {
            // What was asked comes back with an error.
            answer = answer.bytes(body).pad();
        }
        if let Some(text) = explained {
            answer = answer.attribute(1, format!("{text}\0").as_bytes());
        }
        self.reply(&answer.finish());
    }

    fn reply_dump(&self, header: &Header, found: &[Vec<u8>]) {
        let mut datagram = Vec::new();
        for message in found {
            if !datagram.is_empty() && datagram.len() + message.len() > DATAGRAM_BYTES {
                self.reply(&datagram);
                datagram.clear();
            }
            datagram.extend_from_slice(message);
            datagram.resize(datagram.len().next_multiple_of(4), 0);
        }
        if !datagram.is_empty() {
            self.reply(&datagram);
        }
        let done = Message::new(kind::DONE, MULTI, header).bytes(&0i32.to_le_bytes());
        self.reply(&done.finish());
    }

    fn dump(&self, header: &Header, body: &[u8]) -> Result<Vec<Vec<u8>>> {
        let family = u16::from(body.first().copied().unwrap_or(0));
        if self.protocol == SOCK_DIAG {
            return diag::dump(&self.net, header, body);
        }
        Ok(match header.kind {
            kind::GETLINK if family == neighbour::BRIDGE => link::dump_ports(&self.net, header),
            kind::GETLINK => link::dump(&self.net, header),
            kind::GETADDR => address::dump(&self.net, header, family, word_of_index(body)),
            kind::GETROUTE => route::dump(&self.net, header, family),
            kind::GETRULE => route::dump_rules(header, family),
            kind::GETNEIGH => neighbour::dump(&self.net, header, family),
            kind if kind > kind::LAST => return Err(Errno::EOPNOTSUPP),
            // Tables there are none of: qdiscs, address labels, …
            _ => Vec::new(),
        })
    }

    fn single(&self, caller: Caller<'_>, header: &Header, body: &[u8]) -> Result<()> {
        if self.protocol == SOCK_DIAG {
            return Err(Errno::ENOENT);
        }
        let reads = matches!(
            header.kind,
            kind::GETLINK | kind::GETROUTE | kind::GETADDR | kind::GETNEIGH | kind::GETNSID | 0
                ..=15
        );
        let may = || {
            caller
                .k
                .capable_in(caller.t, &self.net.owner, Capability::NetAdmin)
        };
        if header.kind > kind::LAST {
            return Err(Errno::EOPNOTSUPP);
        }
        if !reads && !may() {
            return Err(Errno::EPERM);
        }
        match header.kind {
            0..=15 => Ok(()),
            kind::GETLINK => {
                let found = link::get(&self.net, header, body)?;
                self.reply(&found);
                Ok(())
            }
            kind::GETNSID => {
                // Namespaces have no numbers here: NETNSA_NSID_NOT_ASSIGNED.
                let answer = Message::new(kind::NEWNSID, 0, header).bytes(&[0; 4]);
                self.reply(&answer.attribute(1, &(-1i32).to_le_bytes()).finish());
                Ok(())
            }
            kind::NEWLINK | kind::SETLINK => link::change(caller, &self.net, header, body),
            kind::DELLINK => link::delete(&self.net, body),
            kind::NEWADDR => address::add(&self.net, header, body),
            kind::DELADDR => address::delete(&self.net, body),
            kind::GETROUTE => {
                let found = route::get(caller, &self.net, header, body)?;
                self.reply(&found);
                Ok(())
            }
            kind::NEWROUTE => route::add(&self.net, header, body),
            kind::DELROUTE => route::delete(&self.net, body),
            kind::NEWNEIGH => neighbour::add(&self.net, body),
            kind::DELNEIGH => neighbour::delete(&self.net, body),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }
}

/// What Linux says beside the error number.
fn explanation(kind: u16, errno: Errno, body: &[u8]) -> Option<&'static str> {
    let v6 = u16::from(body.first().copied().unwrap_or(0)) == c::AF_INET6;
    Some(match (kind, errno, v6) {
        (kind::NEWADDR, Errno::EEXIST, false) => "ipv4: Address already assigned",
        (kind::NEWADDR, Errno::EEXIST, true) => "ipv6: address already assigned",
        (kind::DELADDR, Errno::EADDRNOTAVAIL, false) => "ipv4: Address not found",
        (kind::DELADDR, Errno::EADDRNOTAVAIL, true) => "ipv6: address not found",
        (kind::NEWROUTE, Errno::ENETUNREACH, false) => "Nexthop has invalid gateway",
        (kind::NEWLINK, Errno::EOPNOTSUPP, _) => "Unknown device type",
        _ => return None,
    })
}

/// The interface a dump of addresses is limited to (`struct ifaddrmsg`).
fn word_of_index(body: &[u8]) -> u32 {
    message::word_at(body, 4)
}

impl NetListener for NetlinkSocket {
    fn changed(&self, network: &Network, event: Event) {
        if self.groups.get() & GROUP_LINK == 0 {
            return;
        }
        let header = Header::unasked();
        match event {
            Event::Link(ns, id) if ns == self.net.id => {
                if let Some(text) = link::describe(network, id, &header, 0) {
                    self.reply(&text);
                }
            }
            Event::LinkGone(ns, index) if ns == self.net.id => {
                self.reply(&link::gone(index, &header));
            }
            _ => {}
        }
    }
}

impl Socket for NetlinkSocket {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn bind(&self, caller: Caller<'_>, address: &SockAddr) -> Result<()> {
        let (port, groups) = parse_address(address)?;
        self.groups.set(groups);
        if port != 0 {
            self.port.set(port);
        }
        self.autobind(caller.t);
        Ok(())
    }

    fn connect(&self, caller: Caller<'_>, address: &SockAddr, _nonblocking: bool) -> Result<()> {
        let (port, _) = parse_address(address)?;
        self.autobind(caller.t);
        if port == 0 {
            Ok(())
        } else {
            Err(Errno::ECONNREFUSED)
        }
    }

    fn send(&self, caller: Option<Caller<'_>>, message: Outgoing<'_>) -> Result<usize> {
        if let Some(to) = &message.to
            && parse_address(to)?.0 != 0
        {
            return Err(Errno::ECONNREFUSED);
        }
        let Some(caller) = caller else {
            // write(2): the kernel knows who is calling.
            return Err(Errno::EOPNOTSUPP);
        };
        self.autobind(caller.t);
        let mut rest = message.data;
        while let Some(mut header) = Header::parse(rest) {
            header.port = self.port.get();
            self.answer(caller, &header, &rest[16..header.len]);
            rest = rest
                .get(header.len.next_multiple_of(4)..)
                .unwrap_or_default();
        }
        Ok(message.data.len())
    }

    fn receive(&self, buf: &mut [u8], flags: u32) -> Result<Received> {
        self.inbox.receive_message(buf, flags & c::MSG_PEEK != 0)
    }

    fn shutdown(&self, _read: bool, _write: bool) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    fn local_name(&self) -> Result<SockAddr> {
        Ok(address(self.port.get(), self.groups.get()))
    }

    fn peer_name(&self) -> Result<SockAddr> {
        Ok(address(0, 0))
    }

    fn poll(&self, waker: Option<&Waker>) -> Events {
        if let Some(waker) = waker {
            self.inbox.readable.register(waker);
        }
        let mut events = Events::OUT | Events::WRNORM;
        if self.inbox.is_readable() {
            events |= Events::IN | Events::RDNORM;
        }
        events
    }

    fn readable(&self) -> usize {
        self.inbox.first_len()
    }

    fn get_option(&self, level: u32, _name: u32) -> Result<i32> {
        if level == SOL_NETLINK {
            Ok(0)
        } else {
            Err(Errno::ENOPROTOOPT)
        }
    }

    fn set_option(&self, _caller: Caller<'_>, level: u32, name: u32, value: &[u8]) -> Result<()> {
        const ADD_MEMBERSHIP: u32 = 1;
        const EXT_ACK: u32 = 11;
        if level != SOL_NETLINK {
            return Err(Errno::ENOPROTOOPT);
        }
        if name == EXT_ACK {
            self.explains.set(value.first().is_some_and(|&on| on != 0));
        }
        // Strict checks change nothing for who writes right requests.
        if name == ADD_MEMBERSHIP && value.len() >= 4 {
            let group = u32::from_le_bytes([value[0], value[1], value[2], value[3]]);
            let bit = group.checked_sub(1).and_then(|bit| 1u32.checked_shl(bit));
            self.groups.set(self.groups.get() | bit.unwrap_or(0));
        }
        Ok(())
    }
}

/// `SOL_NETLINK`.
const SOL_NETLINK: u32 = 270;
