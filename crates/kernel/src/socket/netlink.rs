//! Netlink sockets (`netlink(7)`, `rtnetlink(7)`) and the old interface ioctls (`netdevice(7)`): what `ip addr`,
//! `ip link`, `getifaddrs` and `getaddrinfo` ask, of a namespace whose only interface is `lo`.

use std::any::Any;
use std::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::task::Waker;

use abi::{Errno, Result};
use vfs::Capability;
use vfs::file::{Events, UserMemory};

use super::channel::Channel;
use super::{Ancillary, Caller, Outgoing, Received, SockAddr, Socket, consts as c};
use crate::kernel::Kernel;
use crate::namespaces::NetNs;
use crate::task::Task;

/// Index of the loopback interface.
const LO: u32 = 1;
const LO_MTU: u32 = 65536;
const LO_QUEUE: u32 = 1000;

/// `IFF_UP`, `IFF_LOOPBACK`, `IFF_RUNNING`, `IFF_LOWER_UP`.
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;
const IFF_RUNNING: u32 = 0x40;
const IFF_LOWER_UP: u32 = 0x10000;

/// Message types.
mod kind {
    pub const ERROR: u16 = 2;
    pub const DONE: u16 = 3;
    pub const NEWLINK: u16 = 16;
    pub const GETLINK: u16 = 18;
    pub const SETLINK: u16 = 19;
    pub const NEWADDR: u16 = 20;
    pub const GETADDR: u16 = 22;
    pub const GETROUTE: u16 = 26;
    /// The last of the types there are (RTM_MAX of this protocol).
    pub const LAST: u16 = 127;
}

const NLM_F_MULTI: u16 = 2;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;

/// Interface flags of `lo`.
fn lo_flags(net: &NetNs) -> u32 {
    if net.loopback_up.get() {
        IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_LOWER_UP
    } else {
        IFF_LOOPBACK
    }
}

/// A netlink message under construction.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16, request: &Header) -> Message {
        let mut raw = vec![0; 16];
        raw[4..6].copy_from_slice(&kind.to_le_bytes());
        raw[6..8].copy_from_slice(&flags.to_le_bytes());
        raw[8..12].copy_from_slice(&request.sequence.to_le_bytes());
        raw[12..16].copy_from_slice(&request.port.to_le_bytes());
        Message(raw)
    }

    fn bytes(mut self, bytes: &[u8]) -> Message {
        self.0.extend_from_slice(bytes);
        self
    }

    fn attribute(mut self, number: u16, value: &[u8]) -> Message {
        self.0
            .extend_from_slice(&(4 + value.len() as u16).to_le_bytes());
        self.0.extend_from_slice(&number.to_le_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn finish(mut self) -> Vec<u8> {
        let len = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len.to_le_bytes());
        self.0
    }
}

/// `struct nlmsghdr` of a request.
#[derive(Clone, Copy)]
struct Header {
    len: usize,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
}

impl Header {
    fn parse(raw: &[u8]) -> Option<Header> {
        let word = |at: usize| Some(u32::from_le_bytes(raw.get(at..at + 4)?.try_into().ok()?));
        let half = |at: usize| Some(u16::from_le_bytes(raw.get(at..at + 2)?.try_into().ok()?));
        let len = word(0)? as usize;
        let header = Header {
            len,
            kind: half(4)?,
            flags: half(6)?,
            sequence: word(8)?,
            port: word(12)?,
        };
        (16..=raw.len()).contains(&len).then_some(header)
    }
}

/// A route netlink socket.
pub struct NetlinkSocket {
    net: Rc<NetNs>,
    port: Cell<u32>,
    groups: Cell<u32>,
    inbox: Rc<Channel>,
}

/// A new netlink socket: `NETLINK_ROUTE` is the only protocol.
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
    if protocol != 0 {
        return Err(Errno::EPROTONOSUPPORT);
    }
    Ok(Rc::new(NetlinkSocket {
        net: Rc::clone(net),
        port: Cell::new(0),
        groups: Cell::new(0),
        inbox: Channel::new(),
    }))
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
        let outcome = if header.flags & NLM_F_DUMP == NLM_F_DUMP {
            let found = self.dump(header, body);
            if !found.is_empty() {
                self.reply(&found);
            }
            self.reply(
                &Message::new(kind::DONE, NLM_F_MULTI, header)
                    .bytes(&0i32.to_le_bytes())
                    .finish(),
            );
            return;
        } else {
            self.single(caller, header, body)
        };
        let error = match outcome {
            Ok(()) if header.flags & NLM_F_ACK == 0 => return,
            Ok(()) => 0,
            Err(errno) => -errno.0,
        };
        let mut original = [0; 16];
        original[..4].copy_from_slice(&(header.len as u32).to_le_bytes());
        original[4..6].copy_from_slice(&header.kind.to_le_bytes());
        original[6..8].copy_from_slice(&header.flags.to_le_bytes());
        original[8..12].copy_from_slice(&header.sequence.to_le_bytes());
        original[12..].copy_from_slice(&header.port.to_le_bytes());
        self.reply(
            &Message::new(kind::ERROR, 0, header)
                .bytes(&error.to_le_bytes())
                .bytes(&original)
                .finish(),
        );
    }

    fn dump(&self, header: &Header, body: &[u8]) -> Vec<u8> {
        let family = body.first().copied().unwrap_or(0);
        match header.kind {
            kind::GETLINK => self.link(header, NLM_F_MULTI),
            kind::GETADDR => self.addresses(header, family),
            // No routes but those of the local table, which `ip route` does not show; no neighbours, rules, …
            _ => Vec::new(),
        }
    }

    fn single(&self, caller: Caller<'_>, header: &Header, body: &[u8]) -> Result<()> {
        match header.kind {
            kind::GETLINK => {
                check_is_lo(body)?;
                self.reply(&self.link(header, 0));
                Ok(())
            }
            kind::NEWLINK | kind::SETLINK => {
                if !caller
                    .k
                    .capable_in(caller.t, &self.net.owner, Capability::NetAdmin)
                {
                    return Err(Errno::EPERM);
                }
                check_is_lo(body)?;
                let word = |at: usize| {
                    body.get(at..at + 4)
                        .map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                };
                let (flags, change) = (word(8), word(12));
                if change & IFF_UP != 0 || flags & IFF_UP != 0 {
                    self.net.loopback_up.set(flags & IFF_UP != 0);
                }
                Ok(())
            }
            kind::GETROUTE => Err(Errno::ENETUNREACH),
            0..=15 => Ok(()),
            _ if header.kind > kind::LAST => Err(Errno::EOPNOTSUPP),
            _ if !caller
                .k
                .capable_in(caller.t, &self.net.owner, Capability::NetAdmin) =>
            {
                Err(Errno::EPERM)
            }
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    /// `RTM_NEWLINK` about `lo`.
    fn link(&self, header: &Header, flags: u16) -> Vec<u8> {
        let up = self.net.loopback_up.get();
        let mut info = [0; 16];
        info[2..4].copy_from_slice(&772u16.to_le_bytes());
        info[4..8].copy_from_slice(&LO.to_le_bytes());
        info[8..12].copy_from_slice(&lo_flags(&self.net).to_le_bytes());
        let mut stats = [0; 192];
        let (packets, bytes) = (
            self.net.loopback_packets.get(),
            self.net.loopback_bytes.get(),
        );
        for (at, value) in [packets, packets, bytes, bytes].into_iter().enumerate() {
            stats[at * 8..at * 8 + 8].copy_from_slice(&value.to_le_bytes());
        }
        // Operational state: unknown when up, down otherwise.
        let state = if up { 0 } else { 2 };
        Message::new(kind::NEWLINK, flags, header)
            .bytes(&info)
            .attribute(3, b"lo\0")
            .attribute(13, &LO_QUEUE.to_le_bytes())
            .attribute(16, &[state])
            .attribute(17, &[0])
            .attribute(4, &LO_MTU.to_le_bytes())
            .attribute(27, &0u32.to_le_bytes())
            .attribute(30, &0u32.to_le_bytes())
            .attribute(31, &1u32.to_le_bytes())
            .attribute(32, &1u32.to_le_bytes())
            .attribute(33, &[1])
            .attribute(6, if up { b"noqueue\0" } else { b"noop\0" })
            .attribute(1, &[0; 6])
            .attribute(2, &[0; 6])
            .attribute(23, &stats)
            .finish()
    }

    /// `RTM_NEWADDR` about the addresses of `lo`: 127.0.0.1/8 and ::1/128.
    fn addresses(&self, header: &Header, family: u8) -> Vec<u8> {
        const HOST: u8 = 254;
        const PERMANENT: u8 = 0x80;
        let mut found = Vec::new();
        if !self.net.loopback_up.get() {
            return found;
        }
        let forever = [[0xff; 8], [0; 8]].concat();
        let about = |family: u16, prefix: u8| {
            let mut info = [family as u8, prefix, PERMANENT, HOST, 0, 0, 0, 0];
            info[4..].copy_from_slice(&LO.to_le_bytes());
            Message::new(kind::NEWADDR, NLM_F_MULTI, header).bytes(&info)
        };
        if matches!(u16::from(family), c::AF_UNSPEC | c::AF_INET) {
            let ip = Ipv4Addr::LOCALHOST.octets();
            found.extend(
                about(c::AF_INET, 8)
                    .attribute(1, &ip)
                    .attribute(2, &ip)
                    .attribute(3, b"lo\0")
                    .attribute(8, &u32::from(PERMANENT).to_le_bytes())
                    .attribute(6, &forever)
                    .finish(),
            );
        }
        if matches!(u16::from(family), c::AF_UNSPEC | c::AF_INET6) {
            found.extend(
                about(c::AF_INET6, 128)
                    .attribute(1, &Ipv6Addr::LOCALHOST.octets())
                    .attribute(6, &forever)
                    .attribute(8, &u32::from(PERMANENT).to_le_bytes())
                    .finish(),
            );
        }
        found
    }
}

/// `ENODEV` unless an `ifinfomsg` with its attributes names `lo`, by index or by name.
fn check_is_lo(body: &[u8]) -> Result<()> {
    let index = body
        .get(4..8)
        .map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    if index != 0 {
        return if index == LO {
            Ok(())
        } else {
            Err(Errno::ENODEV)
        };
    }
    let mut rest = body.get(16..).unwrap_or_default();
    while rest.len() >= 4 {
        let len = usize::from(u16::from_le_bytes([rest[0], rest[1]]));
        let number = u16::from_le_bytes([rest[2], rest[3]]);
        let Some(value) = rest.get(4..len) else { break };
        // IFLA_IFNAME and IFLA_ALT_IFNAME.
        if matches!(number, 3 | 53) {
            let name = value.split(|&byte| byte == 0).next().unwrap_or_default();
            return if name == b"lo" {
                Ok(())
            } else {
                Err(Errno::ENODEV)
            };
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Err(Errno::EINVAL)
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

    fn set_option(&self, _caller: Caller<'_>, level: u32, _name: u32, _value: &[u8]) -> Result<()> {
        // Groups, extended acknowledgements, strict checks: nothing changes by itself that could be told.
        if level == SOL_NETLINK {
            Ok(())
        } else {
            Err(Errno::ENOPROTOOPT)
        }
    }
}

/// `SOL_NETLINK`.
const SOL_NETLINK: u32 = 270;

/// Bytes of `struct ifreq`: name, then a union.
const IFREQ_LEN: usize = 40;

/// `SIOCGIF…` and `SIOCSIFFLAGS` about `lo`; `ENOTTY` for everything else.
pub fn interface_ioctl(
    net: &NetNs,
    request: u32,
    argument: u64,
    memory: &dyn UserMemory,
) -> Result<u64> {
    const SIOCGIFNAME: u32 = 0x8910;
    const SIOCGIFCONF: u32 = 0x8912;
    const SIOCSIFFLAGS: u32 = 0x8914;
    if !(0x8910..=0x8970).contains(&request) {
        return Err(Errno::ENOTTY);
    }
    if request == SIOCGIFCONF {
        return interface_list(net, argument, memory);
    }
    let mut raw = [0; IFREQ_LEN];
    memory.read(argument, &mut raw)?;
    if request == SIOCGIFNAME {
        if raw[16..20] != LO.to_le_bytes() {
            return Err(Errno::ENODEV);
        }
        raw[..3].copy_from_slice(b"lo\0");
        memory.write(argument, &raw)?;
        return Ok(0);
    }
    let name = raw[..16]
        .split(|&byte| byte == 0 || byte == b':')
        .next()
        .unwrap_or_default();
    if name != b"lo" {
        return Err(Errno::ENODEV);
    }
    let inet = |ip: [u8; 4]| {
        let mut address = [0; 16];
        address[..2].copy_from_slice(&c::AF_INET.to_le_bytes());
        address[4..8].copy_from_slice(&ip);
        address
    };
    let value: Vec<u8> = match request {
        0x8913 => (lo_flags(net) as u16).to_le_bytes().to_vec(),
        SIOCSIFFLAGS => {
            net.loopback_up.set(u32::from(raw[16]) & IFF_UP != 0);
            return Ok(0);
        }
        // Address, destination, broadcast, netmask.
        0x8915 | 0x8917 if !net.loopback_up.get() => return Err(Errno::EADDRNOTAVAIL),
        0x8915 | 0x8917 => inet([127, 0, 0, 1]).to_vec(),
        0x8919 => inet([0; 4]).to_vec(),
        0x891b => inet([255, 0, 0, 0]).to_vec(),
        0x891d => 0u32.to_le_bytes().to_vec(),
        0x8921 => LO_MTU.to_le_bytes().to_vec(),
        0x8927 => {
            let mut address = [0; 16];
            address[..2].copy_from_slice(&772u16.to_le_bytes());
            address.to_vec()
        }
        0x8933 => LO.to_le_bytes().to_vec(),
        0x8942 => LO_QUEUE.to_le_bytes().to_vec(),
        0x8970 => vec![0; 24],
        _ => return Err(Errno::EOPNOTSUPP),
    };
    raw[16..16 + value.len()].copy_from_slice(&value);
    memory.write(argument, &raw)?;
    Ok(0)
}

/// `SIOCGIFCONF`: a list of `ifreq` with the IPv4 address of each interface that has one.
fn interface_list(net: &NetNs, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
    let mut raw = [0; 16];
    memory.read(argument, &mut raw)?;
    let room = i32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
    let mut pointer = [0; 8];
    pointer.copy_from_slice(&raw[8..]);
    let target = u64::from_le_bytes(pointer);
    let count = usize::from(net.loopback_up.get());
    let mut len = count * IFREQ_LEN;
    if target != 0 {
        if usize::try_from(room).map_err(|_| Errno::EINVAL)? < len {
            len = 0;
        }
        if len > 0 {
            let mut entry = [0; IFREQ_LEN];
            entry[..2].copy_from_slice(b"lo");
            entry[16..18].copy_from_slice(&c::AF_INET.to_le_bytes());
            entry[20..24].copy_from_slice(&[127, 0, 0, 1]);
            memory.write(target, &entry)?;
        }
    }
    memory.write(argument, &(len as i32).to_le_bytes())?;
    Ok(0)
}
