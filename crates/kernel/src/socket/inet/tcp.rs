//! TCP sockets over loopback (`tcp(7)`).

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::Waker;

use abi::{Errno, Result};
use clock::WaitQueue;
use vfs::file::Events;

use super::super::channel::Channel;
use super::super::{Ancillary, Caller, Outgoing, Received, SockAddr, Socket, consts as c};
use super::options::{IPPROTO_IPV6, IPV6_V6ONLY, Options};
use super::ports::{Portable, Ports};
use super::{Endpoint, check_local, check_port, route, source_for};
use crate::namespaces::NetNs;

/// Most connections that wait to be accepted (`net.core.somaxconn`).
const BACKLOG_MAX: u32 = 4096;
/// A full backlog takes this many more before connections are refused, as there are no SYNs to be sent
/// again later.
const BACKLOG_SLACK: usize = 128;

/// Where a socket is in its life. Data and its end are the channels' business.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Closed,
    Listening,
    /// Connected; `told` is false while a non-blocking `connect` has not heard of it.
    Connected {
        told: bool,
    },
}

/// A TCP socket.
pub struct TcpSocket {
    me: Weak<TcpSocket>,
    net: Rc<NetNs>,
    family: u16,
    state: Cell<State>,
    local: Cell<Option<Endpoint>>,
    remote: Cell<Option<Endpoint>>,
    /// It has its port from the namespace's table, and gives it back.
    owns_port: Cell<bool>,
    inbox: Rc<Channel>,
    outbox: RefCell<Option<Rc<Channel>>>,
    waiting: RefCell<VecDeque<Rc<TcpSocket>>>,
    backlog: Cell<u32>,
    error: Cell<Option<Errno>>,
    read_shut: Cell<bool>,
    /// The peer is gone and has told so: the next write is the last that succeeds.
    peer_gone: Cell<bool>,
    options: Options,
    v6_only: Cell<bool>,
    reuse_address: Cell<bool>,
    reuse_port: Cell<bool>,
    resets_on_close: Cell<bool>,
    changed: WaitQueue,
}

impl Portable for TcpSocket {
    fn bound_to(&self) -> Option<Endpoint> {
        self.local.get()
    }

    fn is_v6_only(&self) -> bool {
        self.v6_only.get()
    }

    fn shares_with(&self, other: &TcpSocket) -> bool {
        let listens = |socket: &TcpSocket| socket.state.get() == State::Listening;
        self.reuse_port.get() && other.reuse_port.get()
            || self.reuse_address.get()
                && other.reuse_address.get()
                && !listens(self)
                && !listens(other)
    }
}

impl TcpSocket {
    /// A socket that is neither bound nor connected.
    #[must_use]
    pub fn new(net: &Rc<NetNs>, family: u16) -> Rc<TcpSocket> {
        Rc::new_cyclic(|me| TcpSocket {
            me: Weak::clone(me),
            net: Rc::clone(net),
            family,
            state: Cell::new(State::Closed),
            local: Cell::new(None),
            remote: Cell::new(None),
            owns_port: Cell::new(false),
            inbox: Channel::new(),
            outbox: RefCell::default(),
            waiting: RefCell::default(),
            backlog: Cell::new(0),
            error: Cell::new(None),
            read_shut: Cell::new(false),
            peer_gone: Cell::new(false),
            options: Options::default(),
            v6_only: Cell::new(false),
            reuse_address: Cell::new(false),
            reuse_port: Cell::new(false),
            resets_on_close: Cell::new(false),
            changed: WaitQueue::new(),
        })
    }

    fn strong(&self) -> Result<Rc<TcpSocket>> {
        self.me.upgrade().ok_or(Errno::EIO)
    }

    /// The state as `/proc/net/tcp` and `TCP_INFO` number it.
    #[must_use]
    pub fn state_number(&self) -> u8 {
        const ESTABLISHED: u8 = 1;
        const FIN_WAIT2: u8 = 5;
        const CLOSE: u8 = 7;
        const CLOSE_WAIT: u8 = 8;
        const LAST_ACK: u8 = 9;
        const LISTEN: u8 = 10;
        match self.state.get() {
            State::Closed => CLOSE,
            State::Listening => LISTEN,
            State::Connected { .. } => {
                let sent_fin = self
                    .outbox
                    .borrow()
                    .as_ref()
                    .is_none_or(|outbox| outbox.is_ended());
                match (sent_fin, self.inbox.is_ended()) {
                    (false, false) => ESTABLISHED,
                    (true, false) => FIN_WAIT2,
                    (false, true) => CLOSE_WAIT,
                    (true, true) => LAST_ACK,
                }
            }
        }
    }

    /// Binds to `endpoint`, whose address and privilege have been checked.
    pub fn bind_to(&self, endpoint: Endpoint) -> Result<()> {
        if self.local.get().is_some() {
            return Err(Errno::EINVAL);
        }
        let taken = Ports::of(&self.net).take(&self.strong()?, endpoint)?;
        self.local.set(Some(taken));
        self.owns_port.set(true);
        Ok(())
    }

    /// Starts to listen, at a port of its own choice when it is not bound.
    pub fn start_listening(&self, backlog: u32) -> Result<()> {
        if matches!(self.state.get(), State::Connected { .. }) {
            return Err(Errno::EINVAL);
        }
        if self.local.get().is_none() {
            self.bind_to(Endpoint::unspecified(self.family))?;
        }
        self.backlog.set(backlog.min(BACKLOG_MAX));
        self.state.set(State::Listening);
        Ok(())
    }

    /// Connects to `target`.
    pub fn connect_to(&self, target: Endpoint) -> Result<()> {
        let target = route(&self.net, target)?;
        if self.v6_only.get() && target.ip.is_ipv4() {
            return Err(Errno::ENETUNREACH);
        }
        let source = source_for(&target);
        match self.local.get() {
            None => self.bind_to(Endpoint {
                ip: source,
                port: 0,
            })?,
            Some(local) if local.ip.is_unspecified() => self.local.set(Some(Endpoint {
                ip: source,
                port: local.port,
            })),
            Some(_) => {}
        }
        let listener = Ports::<TcpSocket>::of(&self.net)
            .find(target, |socket| socket.state.get() == State::Listening);
        let listener = listener.ok_or(Errno::ECONNREFUSED)?;
        if listener.waiting.borrow().len() > listener.backlog.get() as usize + BACKLOG_SLACK {
            return Err(Errno::ECONNREFUSED);
        }
        let server = TcpSocket::new(&self.net, listener.family);
        server.local.set(Some(target));
        server.remote.set(self.local.get());
        server.v6_only.set(listener.v6_only.get());
        server.state.set(State::Connected { told: true });
        *server.outbox.borrow_mut() = Some(Rc::clone(&self.inbox));
        *self.outbox.borrow_mut() = Some(Rc::clone(&server.inbox));
        self.remote.set(Some(target));
        self.state.set(State::Connected { told: true });
        self.net.count_loopback(40);
        listener.waiting.borrow_mut().push_back(server);
        listener.changed.wake_all();
        self.changed.wake_all();
        Ok(())
    }

    /// Takes the next connection.
    pub fn accept_next(&self) -> Result<Rc<TcpSocket>> {
        if self.state.get() != State::Listening {
            return Err(Errno::EINVAL);
        }
        let next = self.waiting.borrow_mut().pop_front();
        next.ok_or(Errno::EAGAIN)
    }

    fn close(&self) {
        let unread = self.inbox.refuse();
        let outbox = self.outbox.borrow_mut().take();
        if let Some(outbox) = outbox {
            if unread || self.resets_on_close.get() {
                outbox.fail(Errno::ECONNRESET);
            }
            outbox.end();
        }
    }

    fn give_port_back(&self) {
        if self.owns_port.replace(false)
            && let Some(local) = self.local.get()
        {
            Ports::<TcpSocket>::of(&self.net).give_back(local.port, std::ptr::from_ref(self));
        }
    }
}

impl Socket for TcpSocket {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn bind(&self, caller: Caller<'_>, address: &SockAddr) -> Result<()> {
        let endpoint = Endpoint::parse(address, self.family)?;
        check_local(&self.net, endpoint.ip)?;
        check_port(caller.k, caller.t, &self.net, endpoint.port)?;
        self.bind_to(endpoint)
    }

    fn listen(&self, _caller: Caller<'_>, backlog: u32) -> Result<()> {
        self.start_listening(backlog)
    }

    fn connect(&self, _caller: Caller<'_>, address: &SockAddr, nonblocking: bool) -> Result<()> {
        if address.family() == c::AF_UNSPEC {
            self.close();
            self.state.set(State::Closed);
            self.remote.set(None);
            return Ok(());
        }
        if let Some(errno) = self.error.take() {
            return Err(errno);
        }
        match self.state.get() {
            State::Connected { told: false } => {
                self.state.set(State::Connected { told: true });
                return Ok(());
            }
            State::Connected { .. } | State::Listening => return Err(Errno::EISCONN),
            State::Closed => {}
        }
        match self.connect_to(Endpoint::parse(address, self.family)?) {
            // The answer to a SYN comes later, even on loopback: programs rely on it.
            Ok(()) if nonblocking => {
                self.state.set(State::Connected { told: false });
                Err(Errno::EINPROGRESS)
            }
            Err(Errno::ECONNREFUSED) if nonblocking => {
                self.error.set(Some(Errno::ECONNREFUSED));
                self.changed.wake_all();
                Err(Errno::EINPROGRESS)
            }
            other => other,
        }
    }

    fn accept(&self) -> Result<(Rc<dyn Socket>, SockAddr)> {
        let socket = self.accept_next()?;
        let peer = socket.peer_name()?;
        Ok((socket, peer))
    }

    fn send(&self, _caller: Option<Caller<'_>>, message: Outgoing<'_>) -> Result<usize> {
        if let Some(errno) = self.take_error() {
            self.peer_gone.set(true);
            return Err(errno);
        }
        let outbox = self.outbox.borrow().clone();
        let Some(outbox) = outbox else {
            return Err(if self.state.get() == State::Closed {
                Errno::ENOTCONN
            } else {
                Errno::EPIPE
            });
        };
        if outbox.is_ended() {
            return Err(Errno::EPIPE);
        }
        if outbox.is_refused() {
            // The first segment after the peer's close is answered with a reset.
            return if self.peer_gone.replace(true) {
                Err(Errno::EPIPE)
            } else {
                Ok(message.data.len())
            };
        }
        let count = outbox.send_stream(message.data, Ancillary::default())?;
        self.net.count_loopback(count as u64);
        Ok(count)
    }

    fn receive(&self, buf: &mut [u8], flags: u32) -> Result<Received> {
        if flags & c::MSG_OOB != 0 {
            return Err(Errno::EINVAL);
        }
        if let Some(errno) = self.error.take() {
            return Err(errno);
        }
        if !matches!(self.state.get(), State::Connected { .. }) {
            return Err(Errno::ENOTCONN);
        }
        if self.read_shut.get() && self.inbox.is_empty() {
            return Ok(Received::default());
        }
        self.inbox.receive_stream(buf, flags & c::MSG_PEEK != 0)
    }

    fn shutdown(&self, read: bool, write: bool) -> Result<()> {
        match self.state.get() {
            State::Closed => return Err(Errno::ENOTCONN),
            State::Listening if read => {
                // Ends listening: who waits in accept fails.
                self.state.set(State::Closed);
                self.waiting.borrow_mut().clear();
            }
            _ => {}
        }
        if read {
            self.read_shut.set(true);
            self.inbox.readable.wake_all();
        }
        if write && let Some(outbox) = &*self.outbox.borrow() {
            outbox.end();
        }
        self.changed.wake_all();
        Ok(())
    }

    fn local_name(&self) -> Result<SockAddr> {
        let local = self
            .local
            .get()
            .unwrap_or_else(|| Endpoint::unspecified(self.family));
        Ok(local.emit(self.family))
    }

    fn peer_name(&self) -> Result<SockAddr> {
        self.remote
            .get()
            .map(|remote| remote.emit(self.family))
            .ok_or(Errno::ENOTCONN)
    }

    fn poll(&self, waker: Option<&Waker>) -> Events {
        if let Some(waker) = waker {
            self.changed.register(waker);
            self.inbox.readable.register(waker);
            if let Some(outbox) = &*self.outbox.borrow() {
                outbox.writable.register(waker);
            }
        }
        let (input, output) = (Events::IN | Events::RDNORM, Events::OUT | Events::WRNORM);
        let mut events = Events::empty();
        if self.error.get().is_some() || self.inbox.error().is_some() {
            events |= Events::ERR;
        }
        match self.state.get() {
            State::Listening => {
                if !self.waiting.borrow().is_empty() {
                    events |= input;
                }
            }
            State::Closed if events.is_empty() => events |= output | Events::HUP,
            State::Closed => events |= input | output | Events::HUP | Events::RDHUP,
            State::Connected { .. } => {
                if self.inbox.is_readable() || self.read_shut.get() {
                    events |= input;
                }
                let no_more_in = self.inbox.is_ended() || self.read_shut.get();
                if no_more_in {
                    events |= Events::RDHUP;
                }
                let outbox = self.outbox.borrow();
                let no_more_out = outbox.as_ref().is_none_or(|outbox| outbox.is_ended());
                if no_more_in && no_more_out {
                    events |= Events::HUP;
                }
                if outbox.as_ref().is_none_or(|outbox| {
                    outbox.is_writable() || outbox.is_ended() || outbox.is_refused()
                }) {
                    events |= output;
                }
            }
        }
        events
    }

    fn take_error(&self) -> Option<Errno> {
        let errno = self.error.take().or_else(|| self.inbox.take_error());
        if self.state.get() == (State::Connected { told: false }) {
            self.state.set(State::Connected { told: true });
        }
        errno
    }

    fn is_listening(&self) -> bool {
        self.state.get() == State::Listening
    }

    fn readable(&self) -> usize {
        self.inbox.bytes()
    }

    fn get_option(&self, level: u32, name: u32) -> Result<i32> {
        self.options.get(self.family, true, level, name)
    }

    fn set_option(&self, _caller: Caller<'_>, level: u32, name: u32, value: &[u8]) -> Result<()> {
        let v6_only = (level, name) == (IPPROTO_IPV6, IPV6_V6ONLY);
        if v6_only && self.local.get().is_some() {
            return Err(Errno::EINVAL);
        }
        let value = self.options.set(self.family, true, level, name, value)?;
        if v6_only {
            self.v6_only.set(value != 0);
        }
        Ok(())
    }

    fn common_option(&self, name: u32, value: i32) {
        match name {
            c::SO_REUSEADDR => self.reuse_address.set(value != 0),
            c::SO_REUSEPORT => self.reuse_port.set(value != 0),
            c::SO_LINGER => self.resets_on_close.set(value == 0),
            _ => {}
        }
    }

    fn describe(&self) -> Option<String> {
        let local = self.local.get()?;
        let remote = self
            .remote
            .get()
            .unwrap_or_else(|| Endpoint::unspecified(self.family));
        let (local, remote) = (local.proc_text(self.family), remote.proc_text(self.family));
        Some(format!("{local} {remote} {:02X}", self.state_number()))
    }
}

impl Drop for TcpSocket {
    fn drop(&mut self) {
        self.give_port_back();
        self.close();
        // Connections that nobody accepted are reset.
        for server in self.waiting.get_mut().drain(..) {
            server.resets_on_close.set(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::namespaces::UserNs;

    fn net() -> Rc<NetNs> {
        Rc::new(NetNs::new(1, UserNs::initial(), true))
    }

    fn local(port: u16) -> Endpoint {
        Endpoint {
            ip: Ipv4Addr::LOCALHOST.into(),
            port,
        }
    }

    fn send(socket: &TcpSocket, data: &[u8]) -> Result<usize> {
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

    fn receive(socket: &TcpSocket) -> Result<Vec<u8>> {
        let mut buf = [0; 100];
        socket
            .receive(&mut buf, 0)
            .map(|received| buf[..received.count].to_vec())
    }

    fn connected(net: &Rc<NetNs>) -> (Rc<TcpSocket>, Rc<TcpSocket>) {
        let listener = TcpSocket::new(net, c::AF_INET);
        listener.bind_to(local(80)).unwrap();
        listener.start_listening(5).unwrap();
        let client = TcpSocket::new(net, c::AF_INET);
        client.connect_to(local(80)).unwrap();
        (client, listener.accept_next().unwrap())
    }

    #[test]
    fn half_closed_connections_still_talk() {
        let (client, server) = connected(&net());
        send(&client, b"request").unwrap();
        client.shutdown(false, true).unwrap();
        assert_eq!(receive(&server).unwrap(), b"request");
        assert_eq!(receive(&server).unwrap(), b"");
        send(&server, b"answer").unwrap();
        assert_eq!(receive(&client).unwrap(), b"answer");
        assert_eq!(send(&client, b"x"), Err(Errno::EPIPE));
        assert!(
            server
                .poll(None)
                .contains(Events::RDHUP | Events::IN | Events::OUT)
        );
        assert!(!server.poll(None).contains(Events::HUP));
        assert_eq!((client.state_number(), server.state_number()), (5, 8));
    }

    #[test]
    fn unread_data_resets() {
        let (client, server) = connected(&net());
        send(&client, b"never read").unwrap();
        drop(server);
        assert!(client.poll(None).contains(Events::ERR));
        assert_eq!(receive(&client), Err(Errno::ECONNRESET));
        assert_eq!(receive(&client).unwrap(), b"");
    }

    #[test]
    fn writing_to_a_closed_peer_fails_the_second_time() {
        let (client, server) = connected(&net());
        drop(server);
        assert_eq!(receive(&client).unwrap(), b"");
        assert_eq!(send(&client, b"x"), Ok(1));
        assert_eq!(send(&client, b"x"), Err(Errno::EPIPE));
    }

    #[test]
    fn refused_unreachable_and_in_use() {
        let net = net();
        let socket = TcpSocket::new(&net, c::AF_INET);
        assert_eq!(socket.connect_to(local(81)), Err(Errno::ECONNREFUSED));
        let far = Endpoint {
            ip: Ipv4Addr::new(10, 0, 0, 1).into(),
            port: 80,
        };
        assert_eq!(socket.connect_to(far), Err(Errno::ENETUNREACH));
        let one = TcpSocket::new(&net, c::AF_INET);
        one.bind_to(local(80)).unwrap();
        let two = TcpSocket::new(&net, c::AF_INET);
        assert_eq!(two.bind_to(local(80)), Err(Errno::EADDRINUSE));
        let any = Endpoint {
            ip: Ipv4Addr::UNSPECIFIED.into(),
            port: 80,
        };
        assert_eq!(two.bind_to(any), Err(Errno::EADDRINUSE));
        let other = Endpoint {
            ip: Ipv4Addr::new(127, 0, 0, 2).into(),
            port: 80,
        };
        assert_eq!(two.bind_to(other), Ok(()));
        drop(one);
        let three = TcpSocket::new(&net, c::AF_INET);
        assert_eq!(three.bind_to(local(80)), Ok(()));
    }

    #[test]
    fn a_dual_stack_listener_takes_both() {
        let net = net();
        let listener = TcpSocket::new(&net, c::AF_INET6);
        listener
            .bind_to(Endpoint {
                ip: Ipv6Addr::UNSPECIFIED.into(),
                port: 8080,
            })
            .unwrap();
        listener.start_listening(5).unwrap();
        let client = TcpSocket::new(&net, c::AF_INET);
        client.connect_to(local(8080)).unwrap();
        let server = listener.accept_next().unwrap();
        let peer = Endpoint::parse(&server.peer_name().unwrap(), c::AF_INET6).unwrap();
        assert_eq!(peer, client.local.get().unwrap());
        let client6 = TcpSocket::new(&net, c::AF_INET6);
        client6
            .connect_to(Endpoint {
                ip: Ipv6Addr::LOCALHOST.into(),
                port: 8080,
            })
            .unwrap();
    }

    #[test]
    fn a_listener_that_goes_resets_who_waits() {
        let net = net();
        let listener = TcpSocket::new(&net, c::AF_INET);
        listener.start_listening(5).unwrap();
        let port = listener.local.get().unwrap().port;
        let client = TcpSocket::new(&net, c::AF_INET);
        client.connect_to(local(port)).unwrap();
        drop(listener);
        assert_eq!(receive(&client), Err(Errno::ECONNRESET));
    }
}
