//! UDP sockets over loopback (`udp(7)`).

use std::any::Any;
use std::cell::Cell;
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

/// Largest datagram.
const DATAGRAM_MAX: usize = 65507;

/// A UDP socket.
pub struct UdpSocket {
    me: Weak<UdpSocket>,
    net: Rc<NetNs>,
    family: u16,
    local: Cell<Option<Endpoint>>,
    remote: Cell<Option<Endpoint>>,
    inbox: Rc<Channel>,
    error: Cell<Option<Errno>>,
    write_shut: Cell<bool>,
    options: Options,
    v6_only: Cell<bool>,
    reuse: Cell<bool>,
    changed: WaitQueue,
}

impl Portable for UdpSocket {
    fn bound_to(&self) -> Option<Endpoint> {
        self.local.get()
    }

    fn is_v6_only(&self) -> bool {
        self.v6_only.get()
    }

    fn shares_with(&self, other: &UdpSocket) -> bool {
        self.reuse.get() && other.reuse.get()
    }
}

impl UdpSocket {
    /// A socket that is neither bound nor connected.
    #[must_use]
    pub fn new(net: &Rc<NetNs>, family: u16) -> Rc<UdpSocket> {
        Rc::new_cyclic(|me| UdpSocket {
            me: Weak::clone(me),
            net: Rc::clone(net),
            family,
            local: Cell::new(None),
            remote: Cell::new(None),
            inbox: Channel::new(),
            error: Cell::new(None),
            write_shut: Cell::new(false),
            options: Options::default(),
            v6_only: Cell::new(false),
            reuse: Cell::new(false),
            changed: WaitQueue::new(),
        })
    }

    fn bind_to(&self, endpoint: Endpoint) -> Result<()> {
        if self.local.get().is_some() {
            return Err(Errno::EINVAL);
        }
        let me = self.me.upgrade().ok_or(Errno::EIO)?;
        self.local
            .set(Some(Ports::of(&self.net).take(&me, endpoint)?));
        Ok(())
    }

    /// Gets a port when it has none.
    fn autobind(&self) -> Result<Endpoint> {
        if self.local.get().is_none() {
            self.bind_to(Endpoint::unspecified(self.family))?;
        }
        self.local.get().ok_or(Errno::EINVAL)
    }

    fn send_to(&self, target: Endpoint, data: &[u8]) -> Result<usize> {
        if data.len() > DATAGRAM_MAX {
            return Err(Errno::EMSGSIZE);
        }
        let target = route(&self.net, target)?;
        let mut from = self.autobind()?;
        if from.ip.is_unspecified() {
            from.ip = source_for(&target);
        }
        self.net.count_loopback(data.len() as u64 + 28);
        let takes = |socket: &UdpSocket| socket.remote.get().is_none_or(|remote| remote == from);
        match Ports::<UdpSocket>::of(&self.net).find(target, takes) {
            Some(receiver) => {
                let from = from.emit(receiver.family);
                // A full queue loses the datagram; nobody is told.
                let _ =
                    receiver
                        .inbox
                        .send_message(data, Ancillary::default(), Some(from), usize::MAX);
            }
            None if self.remote.get() == Some(target) => {
                // What the ICMP message "port unreachable" does to a connected socket.
                self.error.set(Some(Errno::ECONNREFUSED));
                self.changed.wake_all();
            }
            None => {}
        }
        Ok(data.len())
    }
}

impl Socket for UdpSocket {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn bind(&self, caller: Caller<'_>, address: &SockAddr) -> Result<()> {
        let endpoint = Endpoint::parse(address, self.family)?;
        check_local(&self.net, endpoint.ip)?;
        check_port(caller.k, caller.t, &self.net, endpoint.port)?;
        self.bind_to(endpoint)
    }

    fn connect(&self, _caller: Caller<'_>, address: &SockAddr, _nonblocking: bool) -> Result<()> {
        if address.family() == c::AF_UNSPEC {
            self.remote.set(None);
            return Ok(());
        }
        let target = route(&self.net, Endpoint::parse(address, self.family)?)?;
        let local = self.autobind()?;
        if local.ip.is_unspecified() {
            self.local.set(Some(Endpoint {
                ip: source_for(&target),
                port: local.port,
            }));
        }
        self.remote.set(Some(target));
        Ok(())
    }

    fn send(&self, _caller: Option<Caller<'_>>, message: Outgoing<'_>) -> Result<usize> {
        if let Some(errno) = self.error.take() {
            return Err(errno);
        }
        if self.write_shut.get() {
            return Err(Errno::EPIPE);
        }
        let target = match &message.to {
            Some(address) => Endpoint::parse(address, self.family)?,
            None => self.remote.get().ok_or(Errno::EDESTADDRREQ)?,
        };
        if target.port == 0 {
            return Err(Errno::EINVAL);
        }
        self.send_to(target, message.data)
    }

    fn receive(&self, buf: &mut [u8], flags: u32) -> Result<Received> {
        if let Some(errno) = self.error.take() {
            return Err(errno);
        }
        self.inbox.receive_message(buf, flags & c::MSG_PEEK != 0)
    }

    fn shutdown(&self, read: bool, write: bool) -> Result<()> {
        if self.remote.get().is_none() {
            return Err(Errno::ENOTCONN);
        }
        if read {
            self.inbox.end();
        }
        if write {
            self.write_shut.set(true);
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
            self.inbox.readable.register(waker);
            self.changed.register(waker);
        }
        let mut events = Events::OUT | Events::WRNORM;
        if self.inbox.is_readable() {
            events |= Events::IN | Events::RDNORM;
        }
        if self.error.get().is_some() {
            events |= Events::ERR;
        }
        events
    }

    fn take_error(&self) -> Option<Errno> {
        self.error.take()
    }

    fn readable(&self) -> usize {
        self.inbox.first_len()
    }

    fn get_option(&self, level: u32, name: u32) -> Result<i32> {
        self.options.get(self.family, false, level, name)
    }

    fn set_option(&self, _caller: Caller<'_>, level: u32, name: u32, value: &[u8]) -> Result<()> {
        let value = self.options.set(self.family, false, level, name, value)?;
        if (level, name) == (IPPROTO_IPV6, IPV6_V6ONLY) {
            self.v6_only.set(value != 0);
        }
        Ok(())
    }

    fn common_option(&self, name: u32, value: i32) {
        if matches!(name, c::SO_REUSEADDR | c::SO_REUSEPORT) {
            self.reuse.set(value != 0);
        }
    }

    fn describe(&self) -> Option<String> {
        let local = self.local.get()?.proc_text(self.family);
        let remote = self.remote.get();
        let state = if remote.is_some() { 1 } else { 7 };
        let remote = remote
            .unwrap_or_else(|| Endpoint::unspecified(self.family))
            .proc_text(self.family);
        Some(format!("{local} {remote} {state:02X}"))
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        if let Some(local) = self.local.get() {
            Ports::<UdpSocket>::of(&self.net).give_back(local.port, std::ptr::from_ref(self));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::namespaces::UserNs;

    #[test]
    fn datagrams_go_there_and_back() {
        let net = Rc::new(NetNs::new(1, UserNs::initial(), true));
        let server = UdpSocket::new(&net, c::AF_INET);
        let place = Endpoint {
            ip: Ipv4Addr::LOCALHOST.into(),
            port: 53,
        };
        server.bind_to(place).unwrap();
        let client = UdpSocket::new(&net, c::AF_INET);
        assert_eq!(client.send_to(place, b"query"), Ok(5));
        let mut buf = [0; 3];
        let received = server.receive(&mut buf, 0).unwrap();
        assert_eq!((received.count, received.full), (3, 5));
        let from = Endpoint::parse(&received.from.unwrap(), c::AF_INET).unwrap();
        assert_eq!(from.ip, place.ip);
        server.send_to(from, b"yes").unwrap();
        assert_eq!(client.receive(&mut buf, 0).unwrap().count, 3);
        client.remote.set(Some(Endpoint { port: 54, ..place }));
        let message = || Outgoing {
            data: b"x",
            to: None,
            ancillary: Ancillary::default(),
            flags: 0,
        };
        assert_eq!(client.send(None, message()), Ok(1));
        assert_eq!(client.send(None, message()), Err(Errno::ECONNREFUSED));
    }
}
