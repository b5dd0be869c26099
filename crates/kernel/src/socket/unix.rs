//! Unix sockets (`unix(7)`): stream, datagram and sequenced packets, by path, abstract name or pair.
//!
//! A connected socket receives from its inbox and sends to its peer's. A bound path is a socket inode with
//! a [`Bound`] attached; abstract names are in the network namespace.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::task::Waker;

use abi::{Errno, Result};
use clock::WaitQueue;
use vfs::credentials::MAY_WRITE;
use vfs::file::Events;
use vfs::inode::{InodeRef, S_IFSOCK};

use super::channel::Channel;
use super::{Caller, Outgoing, PeerCred, Received, SockAddr, Socket, consts as c};
use crate::namespaces::NetNs;

/// Longest path in a `struct sockaddr_un`.
const PATH_MAX: usize = 108;
/// Most connections that wait to be accepted (`net.core.somaxconn`).
const BACKLOG_MAX: u32 = 4096;
/// Datagrams that wait at a socket (`net.unix.max_dgram_qlen` is 10 upstream; distributions raise it).
const DATAGRAMS_MAX: usize = 512;

/// Stream, datagram or sequenced packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Bytes.
    Stream,
    /// Messages to anybody.
    Datagram,
    /// Messages over a connection.
    SeqPacket,
}

/// What hangs on a socket's inode.
#[derive(Default)]
struct Bound(RefCell<Weak<UnixSocket>>);

/// Abstract names of a network namespace.
#[derive(Default)]
struct AbstractNames {
    names: RefCell<BTreeMap<Vec<u8>, Weak<UnixSocket>>>,
    next: Cell<u32>,
}

impl AbstractNames {
    fn of(net: &NetNs) -> Rc<AbstractNames> {
        net.state.get_or_insert_with(AbstractNames::default)
    }

    fn find(&self, name: &[u8]) -> Option<Rc<UnixSocket>> {
        self.names.borrow().get(name).and_then(Weak::upgrade)
    }
}

/// What a name in a `struct sockaddr_un` is.
enum Name<'a> {
    Path(&'a [u8]),
    Abstract(&'a [u8]),
    Unnamed,
}

fn parse(address: &SockAddr) -> Result<Name<'_>> {
    if address.family() != c::AF_UNIX {
        return Err(Errno::EINVAL);
    }
    let name = &address.bytes()[2..];
    if name.len() > PATH_MAX {
        return Err(Errno::EINVAL);
    }
    Ok(match name {
        [] => Name::Unnamed,
        [0, rest @ ..] => Name::Abstract(rest),
        path => Name::Path(path.split(|&byte| byte == 0).next().unwrap_or(path)),
    })
}

/// The connections that wait at a listening socket.
struct Backlog {
    waiting: RefCell<VecDeque<Rc<UnixSocket>>>,
    limit: Cell<u32>,
    /// Waits for room.
    room: WaitQueue,
}

/// A Unix socket.
pub struct UnixSocket {
    me: Weak<UnixSocket>,
    kind: Kind,
    net: Rc<NetNs>,
    inbox: Rc<Channel>,
    /// Where sent data goes: the inbox of the peer.
    outbox: RefCell<Option<Rc<Channel>>>,
    /// The connected peer; for datagram sockets where they send to.
    peer: RefCell<Weak<UnixSocket>>,
    was_connected: Cell<bool>,
    name: RefCell<Option<SockAddr>>,
    peer_name: RefCell<Option<SockAddr>>,
    /// Who bound or connected it.
    cred: RefCell<Option<PeerCred>>,
    peer_cred: RefCell<Option<PeerCred>>,
    backlog: RefCell<Option<Rc<Backlog>>>,
    error: Cell<Option<Errno>>,
    sends_cred: Cell<bool>,
    /// Woken when it is connected or gets an error.
    changed: WaitQueue,
}

impl UnixSocket {
    /// A socket that is neither bound nor connected.
    #[must_use]
    pub fn new(kind: Kind, net: &Rc<NetNs>) -> Rc<UnixSocket> {
        Rc::new_cyclic(|me| UnixSocket {
            me: Weak::clone(me),
            kind,
            net: Rc::clone(net),
            inbox: Channel::new(net.payer.get()),
            outbox: RefCell::default(),
            peer: RefCell::default(),
            was_connected: Cell::new(false),
            name: RefCell::default(),
            peer_name: RefCell::default(),
            cred: RefCell::default(),
            peer_cred: RefCell::default(),
            backlog: RefCell::default(),
            error: Cell::new(None),
            sends_cred: Cell::new(false),
            changed: WaitQueue::new(),
        })
    }

    /// Two connected sockets (`socketpair(2)`).
    #[must_use]
    pub fn pair(kind: Kind, net: &Rc<NetNs>, cred: &PeerCred) -> (Rc<UnixSocket>, Rc<UnixSocket>) {
        let (a, b) = (UnixSocket::new(kind, net), UnixSocket::new(kind, net));
        a.join(&b, cred);
        b.join(&a, cred);
        (a, b)
    }

    /// Makes `other` the peer.
    fn join(&self, other: &Rc<UnixSocket>, other_cred: &PeerCred) {
        *self.outbox.borrow_mut() = Some(Rc::clone(&other.inbox));
        *self.peer.borrow_mut() = Rc::downgrade(other);
        *self.peer_cred.borrow_mut() = Some(other_cred.clone());
        *self.peer_name.borrow_mut() = *other.name.borrow();
        self.was_connected.set(true);
    }

    /// True when it is connected, or was until the peer went.
    fn is_connected(&self) -> bool {
        self.was_connected.get()
    }

    /// Binds it to a socket inode that was just made.
    pub fn bind_inode(&self, inode: &InodeRef, shown: &SockAddr) -> Result<()> {
        let attachments = inode.attachments().ok_or(Errno::EOPNOTSUPP)?;
        let bound = attachments.get_or_insert_with(Bound::default);
        *bound.0.borrow_mut() = Weak::clone(&self.me);
        *self.name.borrow_mut() = Some(*shown);
        Ok(())
    }

    /// Starts to listen in the name of `cred`.
    pub fn listen_as(&self, backlog: u32, cred: PeerCred) -> Result<()> {
        if self.kind == Kind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        if self.name.borrow().is_none() || self.is_connected() {
            return Err(Errno::EINVAL);
        }
        *self.cred.borrow_mut() = Some(cred);
        let limit = backlog.min(BACKLOG_MAX);
        let known = self.backlog.borrow().clone();
        if let Some(known) = known {
            known.limit.set(limit);
            known.room.wake_all();
            return Ok(());
        }
        let backlog = Backlog {
            waiting: RefCell::default(),
            limit: Cell::new(limit),
            room: WaitQueue::new(),
        };
        *self.backlog.borrow_mut() = Some(Rc::new(backlog));
        Ok(())
    }

    /// The socket bound to an inode.
    pub fn at_inode(inode: &InodeRef) -> Result<Rc<UnixSocket>> {
        if inode.attr()?.file_type() != S_IFSOCK {
            return Err(Errno::ECONNREFUSED);
        }
        let bound = inode
            .attachments()
            .and_then(|attachments| attachments.get::<Bound>());
        bound
            .and_then(|bound| bound.0.borrow().upgrade())
            .ok_or(Errno::ECONNREFUSED)
    }

    /// Connects to a listening socket. `EAGAIN` when its backlog is full.
    pub fn connect_to(&self, listener: &UnixSocket, cred: PeerCred) -> Result<()> {
        if listener.kind != self.kind {
            return Err(Errno::EPROTOTYPE);
        }
        let backlog = listener
            .backlog
            .borrow()
            .clone()
            .ok_or(Errno::ECONNREFUSED)?;
        if listener.inbox.is_refused() {
            return Err(Errno::ECONNREFUSED);
        }
        if backlog.waiting.borrow().len() > backlog.limit.get() as usize {
            return Err(Errno::EAGAIN);
        }
        let me = self.me.upgrade().ok_or(Errno::EIO)?;
        let server = UnixSocket::new(self.kind, &listener.net);
        *server.name.borrow_mut() = *listener.name.borrow();
        let listener_cred = listener
            .cred
            .borrow()
            .clone()
            .unwrap_or_else(PeerCred::host);
        server.sends_cred.set(listener.sends_cred.get());
        self.join(&server, &listener_cred);
        server.join(&me, &cred);
        backlog.waiting.borrow_mut().push_back(server);
        listener.changed.wake_all();
        self.changed.wake_all();
        Ok(())
    }

    /// Takes the next connection; `EAGAIN` when there is none.
    pub fn accept_next(&self) -> Result<Rc<UnixSocket>> {
        let backlog = self.backlog.borrow().clone().ok_or(Errno::EINVAL)?;
        let next = backlog.waiting.borrow_mut().pop_front();
        if next.is_some() {
            backlog.room.wake_all();
        } else if self.inbox.is_refused() {
            return Err(Errno::EINVAL);
        }
        next.ok_or(Errno::EAGAIN)
    }

    /// Finds the socket that `address` names.
    fn find(&self, caller: Caller<'_>, address: &SockAddr) -> Result<Rc<UnixSocket>> {
        match parse(address)? {
            Name::Unnamed => Err(Errno::EINVAL),
            Name::Abstract(name) => AbstractNames::of(&self.net)
                .find(name)
                .ok_or(Errno::ECONNREFUSED),
            Name::Path(path) => {
                let path = caller.k.with_fs(caller.t, |fs| {
                    let path = fs.resolve(None, path, true)?;
                    fs.permission(&path, &path.inode().attr()?, MAY_WRITE)?;
                    Ok(path)
                })?;
                UnixSocket::at_inode(&path.inode())
            }
        }
    }

    /// Takes a name nobody has (autobind): five hexadecimal digits.
    fn autobind(&self) -> Result<()> {
        let names = AbstractNames::of(&self.net);
        for _ in 0..0x10_0000 {
            let number = names.next.get();
            names.next.set((number + 1) & 0xf_ffff);
            let name = format!("{number:05x}");
            if names.find(name.as_bytes()).is_none() {
                return self.bind_abstract(name.as_bytes());
            }
        }
        Err(Errno::ENOSPC)
    }

    fn bind_abstract(&self, name: &[u8]) -> Result<()> {
        let names = AbstractNames::of(&self.net);
        if names.find(name).is_some() {
            return Err(Errno::EADDRINUSE);
        }
        names
            .names
            .borrow_mut()
            .insert(name.to_vec(), Weak::clone(&self.me));
        let raw = [&c::AF_UNIX.to_le_bytes()[..], &[0], name].concat();
        *self.name.borrow_mut() = Some(SockAddr::new(&raw));
        Ok(())
    }

    fn shown_name(&self) -> SockAddr {
        self.name
            .borrow()
            .unwrap_or_else(|| SockAddr::unnamed(c::AF_UNIX))
    }

    fn send_datagram(&self, target: &Rc<UnixSocket>, message: Outgoing<'_>) -> Result<usize> {
        if target.kind != Kind::Datagram {
            return Err(Errno::EPROTOTYPE);
        }
        // Who is connected to someone else takes from nobody but him.
        let only_from = target.peer.borrow().clone();
        if target.was_connected.get() && !only_from.ptr_eq(&self.me) && only_from.strong_count() > 0
        {
            return Err(Errno::EPERM);
        }
        if target.inbox.is_refused() {
            return Err(Errno::EPIPE);
        }
        target.inbox.send_message(
            message.data,
            message.ancillary,
            *self.name.borrow(),
            DATAGRAMS_MAX,
        )
    }

    /// Where to, for a datagram socket.
    fn datagram_target(
        &self,
        caller: Option<Caller<'_>>,
        to: Option<&SockAddr>,
    ) -> Result<Rc<UnixSocket>> {
        match (to, caller) {
            (Some(address), Some(caller)) => self.find(caller, address),
            _ if self.was_connected.get() => {
                self.peer.borrow().upgrade().ok_or(Errno::ECONNREFUSED)
            }
            _ => Err(Errno::ENOTCONN),
        }
    }
}

impl Socket for UnixSocket {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn bind(&self, caller: Caller<'_>, address: &SockAddr) -> Result<()> {
        let name = parse(address)?;
        if self.name.borrow().is_some() {
            return Err(Errno::EINVAL);
        }
        match name {
            Name::Unnamed => self.autobind(),
            Name::Abstract(name) => self.bind_abstract(name),
            Name::Path(path) => {
                let place = caller
                    .k
                    .with_fs(caller.t, |fs| fs.bind_socket_node(path, 0o777))?;
                // getsockname(2) includes the zero at the end.
                let raw = [&c::AF_UNIX.to_le_bytes()[..], path, &[0]].concat();
                self.bind_inode(&place.inode(), &SockAddr::new(&raw))
            }
        }
    }

    fn listen(&self, caller: Caller<'_>, backlog: u32) -> Result<()> {
        self.listen_as(backlog, PeerCred::of(caller.t))
    }

    fn connect(&self, caller: Caller<'_>, address: &SockAddr, _nonblocking: bool) -> Result<()> {
        if self.kind == Kind::Datagram {
            if address.family() == c::AF_UNSPEC {
                *self.peer.borrow_mut() = Weak::new();
                self.was_connected.set(false);
                return Ok(());
            }
            let target = self.find(caller, address)?;
            if target.kind != Kind::Datagram {
                return Err(Errno::EPROTOTYPE);
            }
            *self.peer.borrow_mut() = Rc::downgrade(&target);
            *self.peer_name.borrow_mut() = *target.name.borrow();
            self.was_connected.set(true);
            return Ok(());
        }
        if self.is_connected() {
            return Err(Errno::EISCONN);
        }
        if self.backlog.borrow().is_some() {
            return Err(Errno::EINVAL);
        }
        let listener = self.find(caller, address)?;
        let outcome = self.connect_to(&listener, PeerCred::of(caller.t));
        if outcome == Err(Errno::EAGAIN)
            && let Some(backlog) = &*listener.backlog.borrow()
        {
            backlog.room.register(caller.t.waker());
        }
        outcome
    }

    fn accept(&self) -> Result<(Rc<dyn Socket>, SockAddr)> {
        if self.kind == Kind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        let socket = self.accept_next()?;
        let peer = socket
            .peer_name
            .borrow()
            .unwrap_or_else(|| SockAddr::unnamed(c::AF_UNIX));
        Ok((socket, peer))
    }

    fn send(&self, caller: Option<Caller<'_>>, mut message: Outgoing<'_>) -> Result<usize> {
        if message.flags & c::MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if let Some(errno) = self.error.take() {
            return Err(errno);
        }
        if self.kind == Kind::Datagram {
            let target = self.datagram_target(caller, message.to.as_ref())?;
            if target.sends_cred.get() && message.ancillary.cred.is_none() {
                message.ancillary.cred = caller.map(|caller| PeerCred::of(caller.t));
            }
            if self.sends_cred.get() && self.name.borrow().is_none() {
                self.autobind()?;
            }
            let outcome = self.send_datagram(&target, message);
            if outcome == Err(Errno::EAGAIN)
                && let Some(caller) = caller
            {
                target.inbox.writable.register(caller.t.waker());
            }
            return outcome;
        }
        if message.to.is_some() {
            return Err(if self.is_connected() {
                Errno::EISCONN
            } else {
                Errno::EOPNOTSUPP
            });
        }
        let outbox = self.outbox.borrow().clone().ok_or(Errno::ENOTCONN)?;
        if outbox.is_refused() || outbox.is_ended() {
            return Err(Errno::EPIPE);
        }
        let peer_wants = self
            .peer
            .borrow()
            .upgrade()
            .is_some_and(|peer| peer.sends_cred.get());
        if peer_wants && message.ancillary.cred.is_none() {
            message.ancillary.cred = caller.map(|caller| PeerCred::of(caller.t));
        }
        match self.kind {
            Kind::SeqPacket => {
                outbox.send_message(message.data, message.ancillary, None, usize::MAX)
            }
            _ => outbox.send_stream(message.data, message.ancillary),
        }
    }

    fn receive(&self, buf: &mut [u8], flags: u32) -> Result<Received> {
        let peek = flags & c::MSG_PEEK != 0;
        if flags & c::MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if self.kind != Kind::Datagram && !self.is_connected() {
            return Err(if self.kind == Kind::SeqPacket {
                Errno::ENOTCONN
            } else {
                Errno::EINVAL
            });
        }
        let mut received = match self.kind {
            Kind::Stream => self.inbox.receive_stream(buf, peek)?,
            _ => self.inbox.receive_message(buf, peek)?,
        };
        if self.kind == Kind::SeqPacket && received.full > 0 {
            received.flags |= c::MSG_EOR;
        }
        if !self.sends_cred.get() {
            received.ancillary.cred = None;
        }
        Ok(received)
    }

    fn shutdown(&self, read: bool, write: bool) -> Result<()> {
        // Unlike TCP, a socket that is not connected takes it too.
        if read {
            self.inbox.refuse();
            self.inbox.end();
        }
        if write
            && self.kind != Kind::Datagram
            && let Some(outbox) = &*self.outbox.borrow()
        {
            outbox.end();
        }
        self.changed.wake_all();
        Ok(())
    }

    fn local_name(&self) -> Result<SockAddr> {
        Ok(self.shown_name())
    }

    fn peer_name(&self) -> Result<SockAddr> {
        if !self.is_connected() {
            return Err(Errno::ENOTCONN);
        }
        Ok(self
            .peer_name
            .borrow()
            .unwrap_or_else(|| SockAddr::unnamed(c::AF_UNIX)))
    }

    fn poll(&self, waker: Option<&Waker>) -> Events {
        if let Some(waker) = waker {
            self.inbox.readable.register(waker);
            self.changed.register(waker);
            if let Some(outbox) = &*self.outbox.borrow() {
                outbox.writable.register(waker);
            }
        }
        let mut events = Events::empty();
        if self.error.get().is_some() || self.inbox.error().is_some() {
            events |= Events::ERR;
        }
        if let Some(backlog) = &*self.backlog.borrow() {
            if !backlog.waiting.borrow().is_empty() {
                events |= Events::IN | Events::RDNORM;
            }
            return events;
        }
        if self.inbox.is_readable() {
            events |= Events::IN | Events::RDNORM;
        }
        if self.kind == Kind::Datagram {
            let peer = self.peer.borrow().upgrade();
            if let (Some(waker), Some(peer)) = (waker, &peer) {
                peer.inbox.writable.register(waker);
            }
            if peer.is_none_or(|peer| peer.inbox.is_writable()) {
                events |= Events::OUT | Events::WRNORM;
            }
            return events;
        }
        if !self.is_connected() {
            return events | Events::OUT | Events::WRNORM | Events::HUP;
        }
        let outbox = self.outbox.borrow().clone();
        let no_more_out = outbox
            .as_ref()
            .is_none_or(|outbox| outbox.is_ended() || outbox.is_refused());
        if self.inbox.is_ended() {
            events |= Events::RDHUP | Events::IN | Events::RDNORM;
            if no_more_out {
                events |= Events::HUP;
            }
        }
        if outbox.is_some_and(|outbox| outbox.is_writable()) || no_more_out {
            events |= Events::OUT | Events::WRNORM;
        }
        events
    }

    fn peer_cred(&self) -> Option<PeerCred> {
        self.peer_cred.borrow().clone()
    }

    fn take_error(&self) -> Option<Errno> {
        self.error.take().or_else(|| self.inbox.take_error())
    }

    fn is_listening(&self) -> bool {
        self.backlog.borrow().is_some()
    }

    fn readable(&self) -> usize {
        if self.kind == Kind::Stream {
            self.inbox.bytes()
        } else {
            self.inbox.first_len()
        }
    }

    fn common_option(&self, name: u32, value: i32) {
        if name == c::SO_PASSCRED {
            self.sends_cred.set(value != 0);
        }
    }

    fn describe(&self) -> Option<String> {
        let kind = match self.kind {
            Kind::Stream => 1,
            Kind::Datagram => 2,
            Kind::SeqPacket => 5,
        };
        let listening = self.is_listening();
        let state = if self.is_connected() { 3 } else { 1 };
        let name = self.shown_name();
        let shown = match parse(&name) {
            Ok(Name::Path(path)) => String::from_utf8_lossy(path).into_owned(),
            Ok(Name::Abstract(name)) => format!("@{}", String::from_utf8_lossy(name)),
            _ => String::new(),
        };
        Some(format!(
            "{:08X} {kind:04X} {state:02X} {shown}",
            if listening { 0x10000 } else { 0 }
        ))
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let unread = self.inbox.refuse();
        if let Some(outbox) = self.outbox.get_mut().take() {
            if unread && self.kind == Kind::Stream {
                outbox.fail(Errno::ECONNRESET);
            }
            outbox.end();
        }
        // Connections that nobody accepted end with the listener: dropping them tells their peers.
        let backlog = self.backlog.get_mut().take();
        if let Some(backlog) = &backlog {
            for server in backlog.waiting.borrow().iter() {
                if let Some(outbox) = &*server.outbox.borrow() {
                    outbox.fail(Errno::ECONNRESET);
                }
            }
            backlog.room.wake_all();
        }
        let name = self.name.get_mut().take();
        if let Some(name) = &name
            && let Ok(Name::Abstract(name)) = parse(name)
        {
            AbstractNames::of(&self.net).names.borrow_mut().remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Ancillary;
    use super::*;
    use crate::namespaces::UserNs;

    fn net() -> Rc<NetNs> {
        let stack = crate::namespaces::NetStack::new(&clock::Clock::new(0), 1);
        Rc::new(NetNs::new(1, UserNs::initial(), &stack, None))
    }

    fn send(socket: &UnixSocket, data: &[u8]) -> Result<usize> {
        socket.send(
            None,
            Outgoing {
                data,
                to: None,
                ancillary: Ancillary::default(),
                flags: 0,
            },
        )
    }

    fn receive(socket: &UnixSocket) -> Result<Vec<u8>> {
        let mut buf = [0; 100];
        socket
            .receive(&mut buf, 0)
            .map(|received| buf[..received.count].to_vec())
    }

    #[test]
    fn a_stream_has_no_boundaries_and_ends() {
        let (a, b) = UnixSocket::pair(Kind::Stream, &net(), &PeerCred::host());
        assert_eq!(receive(&b), Err(Errno::EAGAIN));
        send(&a, b"one").unwrap();
        send(&a, b"two").unwrap();
        assert_eq!(receive(&b).unwrap(), b"onetwo");
        a.shutdown(false, true).unwrap();
        assert_eq!(receive(&b).unwrap(), b"");
        assert_eq!(send(&a, b"x"), Err(Errno::EPIPE));
        assert!(
            b.poll(None)
                .contains(Events::IN | Events::RDHUP | Events::OUT)
        );
        assert!(!b.poll(None).contains(Events::HUP));
        send(&b, b"back").unwrap();
        assert_eq!(receive(&a).unwrap(), b"back");
        drop(a);
        assert_eq!(send(&b, b"x"), Err(Errno::EPIPE));
        assert!(b.poll(None).contains(Events::HUP));
    }

    #[test]
    fn messages_keep_boundaries_and_are_cut() {
        let (a, b) = UnixSocket::pair(Kind::SeqPacket, &net(), &PeerCred::host());
        send(&a, b"hello").unwrap();
        send(&a, b"you").unwrap();
        let mut buf = [0; 2];
        let received = b.receive(&mut buf, 0).unwrap();
        assert_eq!((received.count, received.full), (2, 5));
        assert_eq!(receive(&b).unwrap(), b"you");
    }

    #[test]
    fn unread_data_resets_the_peer() {
        let (a, b) = UnixSocket::pair(Kind::Stream, &net(), &PeerCred::host());
        send(&a, b"never read").unwrap();
        drop(b);
        assert_eq!(receive(&a), Err(Errno::ECONNRESET));
        assert_eq!(receive(&a).unwrap(), b"");
    }

    #[test]
    fn a_full_stream_takes_what_fits() {
        let (a, b) = UnixSocket::pair(Kind::Stream, &net(), &PeerCred::host());
        let big = vec![1; 300_000];
        let sent = send(&a, &big).unwrap();
        assert_eq!(sent, super::super::channel::CAPACITY);
        assert_eq!(send(&a, &big), Err(Errno::EAGAIN));
        assert!(!a.poll(None).contains(Events::OUT));
        let mut buf = vec![0; 200_000];
        b.receive(&mut buf, 0).unwrap();
        assert!(a.poll(None).contains(Events::OUT));
    }

    #[test]
    fn listening_connecting_and_accepting() {
        let net = net();
        let server = UnixSocket::new(Kind::Stream, &net);
        server.bind_abstract(b"name").unwrap();
        let other = UnixSocket::new(Kind::Stream, &net);
        assert_eq!(other.bind_abstract(b"name"), Err(Errno::EADDRINUSE));
        let client = UnixSocket::new(Kind::Stream, &net);
        assert_eq!(
            client.connect_to(&server, PeerCred::host()),
            Err(Errno::ECONNREFUSED)
        );
        server.listen_as(0, PeerCred::host()).unwrap();
        assert_eq!(server.accept_next().err(), Some(Errno::EAGAIN));
        client.connect_to(&server, PeerCred::host()).unwrap();
        let second = UnixSocket::new(Kind::Stream, &net);
        assert_eq!(
            second.connect_to(&server, PeerCred::host()),
            Err(Errno::EAGAIN)
        );
        send(&client, b"early").unwrap();
        assert!(server.poll(None).contains(Events::IN));
        let accepted = server.accept_next().unwrap();
        assert_eq!(receive(&accepted).unwrap(), b"early");
        assert_eq!(client.peer_name().unwrap().bytes(), b"\x01\0\0name");
        second.connect_to(&server, PeerCred::host()).unwrap();
        drop(server);
        assert_eq!(receive(&second), Err(Errno::ECONNRESET));
        let again = UnixSocket::new(Kind::Stream, &net);
        again.bind_abstract(b"name").unwrap();
    }

    #[test]
    fn descriptors_stop_a_stream_read() {
        let (a, b) = UnixSocket::pair(Kind::Stream, &net(), &PeerCred::host());
        let file = vfs::file::OpenFile::new(
            crate::eventfd::EventFd::new(0, false),
            None,
            vfs::file::OpenFlags::RDWR,
        );
        send(&a, b"plain").unwrap();
        let ancillary = Ancillary {
            rights: vec![file],
            ..Ancillary::default()
        };
        a.send(
            None,
            Outgoing {
                data: b"with",
                to: None,
                ancillary,
                flags: 0,
            },
        )
        .unwrap();
        send(&a, b"after").unwrap();
        assert_eq!(receive(&b).unwrap(), b"plain");
        let mut buf = [0; 100];
        let received = b.receive(&mut buf, 0).unwrap();
        assert_eq!(
            (&buf[..received.count], received.ancillary.rights.len()),
            (&b"with"[..], 1)
        );
        assert_eq!(receive(&b).unwrap(), b"after");
    }
}
