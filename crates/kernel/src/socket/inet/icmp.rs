//! ICMP sockets (`icmp(7)`): what `ping` uses. The only answer there is on loopback is an echo.

use std::any::Any;
use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::Waker;

use abi::{Errno, Result};
use vfs::file::Events;

use super::super::channel::Channel;
use super::super::{Ancillary, Caller, Outgoing, Received, SockAddr, Socket, consts as c};
use super::options::{IPPROTO_IP, IPPROTO_IPV6, Options};
use super::{Endpoint, check_local, route, source_for};
use crate::namespaces::NetNs;

/// Echo request and reply.
const ECHO: (u8, u8) = (8, 0);
const ECHO_V6: (u8, u8) = (128, 129);
/// `IP_RECVTTL`, and the control message it brings.
const IP_RECVTTL: u32 = 12;
const IP_TTL: u32 = 2;
/// `IPV6_RECVHOPLIMIT`, and the control message it brings.
const IPV6_RECVHOPLIMIT: u32 = 51;
const IPV6_HOPLIMIT: u32 = 52;
/// `SOL_RAW` and `SOL_ICMPV6`: filters, which let echoes through anyway.
const SOL_RAW: u32 = 255;
const SOL_ICMPV6: u32 = 58;

const TTL: u8 = 64;

/// An ICMP socket.
pub struct IcmpSocket {
    net: Rc<NetNs>,
    family: u16,
    /// A raw socket: it writes its own identifier and reads IPv4 headers.
    raw: bool,
    local: Cell<Option<Endpoint>>,
    remote: Cell<Option<Endpoint>>,
    inbox: Rc<Channel>,
    options: Options,
}

/// The internet checksum (RFC 1071).
fn checksum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([
            pair[0],
            pair.get(1).copied().unwrap_or(0),
        ]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

impl IcmpSocket {
    /// A socket that is neither bound nor connected.
    #[must_use]
    pub fn new(net: &Rc<NetNs>, family: u16, raw: bool) -> Rc<IcmpSocket> {
        Rc::new(IcmpSocket {
            net: Rc::clone(net),
            family,
            raw,
            local: Cell::new(None),
            remote: Cell::new(None),
            inbox: Channel::new(),
            options: Options::default(),
        })
    }

    /// The identifier of an unprivileged socket: its port.
    fn identifier(&self) -> u16 {
        if self.local.get().is_none_or(|local| local.port == 0) {
            // Unique among those that are open: the address of the socket decides.
            let port = (std::ptr::from_ref(self) as usize >> 4) as u16 | 1;
            let ip = self
                .local
                .get()
                .map_or(Endpoint::unspecified(self.family).ip, |local| local.ip);
            self.local.set(Some(Endpoint { ip, port }));
        }
        self.local.get().map_or(1, |local| local.port)
    }

    /// The answer to an echo request.
    fn echo(&self, target: IpAddr, request: &[u8]) -> Vec<u8> {
        let mut reply = request.to_vec();
        reply[0] = if target.is_ipv4() { ECHO.1 } else { ECHO_V6.1 };
        if !self.raw {
            reply[4..6].copy_from_slice(&self.identifier().to_be_bytes());
        }
        reply[2..4].fill(0);
        // The pseudo header of ICMPv6: twice ::1, length, next header.
        let pseudo = if target.is_ipv4() {
            0
        } else {
            2 + reply.len() as u32 + SOL_ICMPV6
        };
        let sum = checksum(&reply, pseudo);
        reply[2..4].copy_from_slice(&sum.to_be_bytes());
        let IpAddr::V4(from) = target else {
            return reply;
        };
        if !self.raw {
            return reply;
        }
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, TTL, 1, 0, 0];
        packet[2..4].copy_from_slice(&(20 + reply.len() as u16).to_be_bytes());
        packet.extend_from_slice(&from.octets());
        packet.extend_from_slice(&[127, 0, 0, 1]);
        let sum = checksum(&packet, 0);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend_from_slice(&reply);
        packet
    }

    fn control(&self) -> Vec<(u32, u32, i32)> {
        let asked = |level, name| {
            self.options
                .get(self.family, false, level, name)
                .is_ok_and(|value| value != 0)
        };
        let mut numbers = Vec::new();
        if self.family == c::AF_INET && asked(IPPROTO_IP, IP_RECVTTL) {
            numbers.push((IPPROTO_IP, IP_TTL, i32::from(TTL)));
        }
        if self.family == c::AF_INET6 && asked(IPPROTO_IPV6, IPV6_RECVHOPLIMIT) {
            numbers.push((IPPROTO_IPV6, IPV6_HOPLIMIT, i32::from(TTL)));
        }
        numbers
    }
}

impl Socket for IcmpSocket {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn bind(&self, _caller: Caller<'_>, address: &SockAddr) -> Result<()> {
        let endpoint = Endpoint::parse(address, self.family)?;
        check_local(&self.net, endpoint.ip)?;
        self.local.set(Some(endpoint));
        Ok(())
    }

    fn connect(&self, _caller: Caller<'_>, address: &SockAddr, _nonblocking: bool) -> Result<()> {
        if address.family() == c::AF_UNSPEC {
            self.remote.set(None);
            return Ok(());
        }
        let target = route(&self.net, Endpoint::parse(address, self.family)?)?;
        let port = self.local.get().map_or(0, |local| local.port);
        self.local.set(Some(Endpoint {
            ip: source_for(&target),
            port,
        }));
        self.remote.set(Some(target));
        Ok(())
    }

    fn send(&self, _caller: Option<Caller<'_>>, message: Outgoing<'_>) -> Result<usize> {
        let target = match &message.to {
            Some(address) => Endpoint::parse(address, self.family)?,
            None => self.remote.get().ok_or(Errno::EDESTADDRREQ)?,
        };
        let target = route(&self.net, target)?;
        if message.data.len() < 8 {
            return Err(Errno::EINVAL);
        }
        let request = if target.ip.is_ipv4() {
            ECHO.0
        } else {
            ECHO_V6.0
        };
        if message.data[0] != request && !self.raw {
            return Err(Errno::EINVAL);
        }
        self.net.count_loopback(message.data.len() as u64 + 20);
        if message.data[0] == request {
            let reply = self.echo(target.ip, message.data);
            let from = Endpoint {
                ip: target.ip,
                port: 0,
            }
            .emit(self.family);
            let ancillary = Ancillary {
                numbers: self.control(),
                ..Ancillary::default()
            };
            // A full queue loses the answer; nobody is told.
            let _ = self
                .inbox
                .send_message(&reply, ancillary, Some(from), usize::MAX);
        }
        Ok(message.data.len())
    }

    fn receive(&self, buf: &mut [u8], flags: u32) -> Result<Received> {
        self.inbox.receive_message(buf, flags & c::MSG_PEEK != 0)
    }

    fn shutdown(&self, read: bool, _write: bool) -> Result<()> {
        if read {
            self.inbox.end();
        }
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

    fn get_option(&self, level: u32, name: u32) -> Result<i32> {
        self.options.get(self.family, false, level, name)
    }

    fn set_option(&self, _caller: Caller<'_>, level: u32, name: u32, value: &[u8]) -> Result<()> {
        if matches!(level, SOL_RAW | SOL_ICMPV6) {
            return Ok(());
        }
        self.options
            .set(self.family, false, level, name, value)
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::namespaces::UserNs;

    #[test]
    fn an_echo_comes_back_with_a_good_checksum() {
        let net = Rc::new(NetNs::new(1, UserNs::initial(), true));
        for raw in [false, true] {
            let socket = IcmpSocket::new(&net, c::AF_INET, raw);
            let to = Endpoint {
                ip: Ipv4Addr::LOCALHOST.into(),
                port: 0,
            }
            .emit(c::AF_INET);
            let request = [8, 0, 0, 0, 0x12, 0x34, 0, 1, b'd', b'a', b't'];
            let message = Outgoing {
                data: &request,
                to: Some(to),
                ancillary: Ancillary::default(),
                flags: 0,
            };
            socket.send(None, message).unwrap();
            let mut buf = [0; 64];
            let count = socket.receive(&mut buf, 0).unwrap().count;
            let reply = &buf[if raw { 20 } else { 0 }..count];
            assert_eq!((reply[0], &reply[6..]), (0, &request[6..]));
            assert_eq!(checksum(reply, 0), 0);
            assert_eq!(raw, reply[4..6] == request[4..6]);
        }
    }
}
