//! Sockets (`socket(2)`): what is common to all families, and the file behind a socket descriptor.
//!
//! A family implements [`Socket`]; [`SocketFile`] is the open file on it and keeps what all sockets have
//! (timeouts, flags). Families: [`unix`], [`inet`] (on crate `net`), [`netlink`], [`packet`]. Nothing blocks: `EAGAIN` means wait with [`Socket::poll`].

pub mod channel;
pub mod inet;
pub mod netlink;
pub mod packet;
pub mod unix;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::Waker;

use abi::{Errno, Result};
use vfs::file::{Events, File, OpenFile, UserMemory};
use vfs::inode::{Attr, S_IFSOCK};

use crate::kernel::Kernel;
use crate::namespaces::NetNs;
use crate::namespaces::pid::Pid;
use crate::task::Task;

/// Address families, socket types, levels and options (asm-generic/socket.h and its kin).
#[allow(
    missing_docs,
    reason = "named as in socket(2), socket(7), tcp(7), ip(7), unix(7)"
)]
pub mod consts {
    pub const AF_UNSPEC: u16 = 0;
    pub const AF_UNIX: u16 = 1;
    pub const AF_INET: u16 = 2;
    pub const AF_INET6: u16 = 10;
    pub const AF_NETLINK: u16 = 16;
    pub const AF_PACKET: u16 = 17;

    pub const SOCK_STREAM: u32 = 1;
    pub const SOCK_DGRAM: u32 = 2;
    pub const SOCK_RAW: u32 = 3;
    pub const SOCK_SEQPACKET: u32 = 5;

    pub const SOL_SOCKET: u32 = 1;
    pub const SO_DEBUG: u32 = 1;
    pub const SO_REUSEADDR: u32 = 2;
    pub const SO_TYPE: u32 = 3;
    pub const SO_ERROR: u32 = 4;
    pub const SO_DONTROUTE: u32 = 5;
    pub const SO_BROADCAST: u32 = 6;
    pub const SO_SNDBUF: u32 = 7;
    pub const SO_RCVBUF: u32 = 8;
    pub const SO_KEEPALIVE: u32 = 9;
    pub const SO_OOBINLINE: u32 = 10;
    pub const SO_PRIORITY: u32 = 12;
    pub const SO_LINGER: u32 = 13;
    pub const SO_REUSEPORT: u32 = 15;
    pub const SO_PASSCRED: u32 = 16;
    pub const SO_PEERCRED: u32 = 17;
    pub const SO_RCVLOWAT: u32 = 18;
    pub const SO_SNDLOWAT: u32 = 19;
    pub const SO_RCVTIMEO: u32 = 20;
    pub const SO_SNDTIMEO: u32 = 21;
    pub const SO_ATTACH_FILTER: u32 = 26;
    pub const SO_DETACH_FILTER: u32 = 27;
    pub const SO_TIMESTAMP: u32 = 29;
    pub const SO_ACCEPTCONN: u32 = 30;
    pub const SO_PEERSEC: u32 = 31;
    pub const SO_SNDBUFFORCE: u32 = 32;
    pub const SO_RCVBUFFORCE: u32 = 33;
    pub const SO_PASSSEC: u32 = 34;
    pub const SO_MARK: u32 = 36;
    pub const SO_PROTOCOL: u32 = 38;
    pub const SO_DOMAIN: u32 = 39;
    pub const SO_RXQ_OVFL: u32 = 40;
    pub const SO_BPF_EXTENSIONS: u32 = 48;
    pub const SO_PEERGROUPS: u32 = 59;
    pub const SO_BINDTODEVICE: u32 = 25;
    /// Room for the name of a network device, its end included.
    pub const IFNAMSIZ: usize = 16;
    pub const SO_COOKIE: u32 = 57;
    pub const SO_PEERPIDFD: u32 = 77;

    pub const MSG_OOB: u32 = 1;
    pub const MSG_PEEK: u32 = 2;
    pub const MSG_CTRUNC: u32 = 8;
    pub const MSG_TRUNC: u32 = 0x20;
    pub const MSG_DONTWAIT: u32 = 0x40;
    pub const MSG_EOR: u32 = 0x80;
    pub const MSG_WAITALL: u32 = 0x100;
    pub const MSG_ERRQUEUE: u32 = 0x2000;
    pub const MSG_NOSIGNAL: u32 = 0x4000;
    pub const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;
}
use consts as c;

/// A `struct sockaddr` of any family, as bytes; the first two are the family.
#[derive(Clone, Copy)]
pub struct SockAddr {
    bytes: [u8; 128],
    len: usize,
}

impl SockAddr {
    /// An address from its bytes; longer ones are cut to what a `sockaddr_storage` holds.
    #[must_use]
    pub fn new(raw: &[u8]) -> SockAddr {
        let len = raw.len().min(128);
        let mut bytes = [0; 128];
        bytes[..len].copy_from_slice(&raw[..len]);
        SockAddr { bytes, len }
    }

    /// An address that is only a family: an unnamed Unix socket.
    #[must_use]
    pub fn unnamed(family: u16) -> SockAddr {
        SockAddr::new(&family.to_le_bytes())
    }

    /// The family; `AF_UNSPEC` when it is too short to have one.
    #[must_use]
    pub fn family(&self) -> u16 {
        if self.len < 2 {
            c::AF_UNSPEC
        } else {
            u16::from_le_bytes([self.bytes[0], self.bytes[1]])
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Who is at the other end (`struct ucred`); numbers are those of the machine itself.
#[derive(Clone)]
pub struct PeerCred {
    /// The process; `None` is shown as 0.
    pub pid: Option<Rc<Pid>>,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl PeerCred {
    /// The credentials of a task.
    #[must_use]
    pub fn of(t: &Task) -> PeerCred {
        let creds = t.creds();
        PeerCred {
            pid: Some(t.group.pid()),
            uid: creds.euid,
            gid: creds.egid,
        }
    }

    /// Root, and no process: daemons of the machine.
    #[must_use]
    pub fn host() -> PeerCred {
        PeerCred {
            pid: None,
            uid: 0,
            gid: 0,
        }
    }

    fn same(&self, other: &PeerCred) -> bool {
        let pid = |cred: &PeerCred| cred.pid.as_ref().map(|pid| pid.global());
        pid(self) == pid(other) && self.uid == other.uid && self.gid == other.gid
    }
}

/// What goes along with data (`cmsg(3)`).
#[derive(Clone, Default)]
pub struct Ancillary {
    /// `SCM_RIGHTS`.
    pub rights: Vec<Rc<OpenFile>>,
    /// `SCM_CREDENTIALS`.
    pub cred: Option<PeerCred>,
    /// Other control messages: level, type, integer (`IP_TTL`, `IPV6_HOPLIMIT`).
    pub numbers: Vec<(u32, u32, i32)>,
    /// Those that are no integer: level, type, bytes (`IP_PKTINFO`, `IP_RECVERR`).
    pub others: Vec<(u32, u32, Vec<u8>)>,
}

/// What is sent.
pub struct Outgoing<'a> {
    /// The data.
    pub data: &'a [u8],
    /// Where to; `None`: the connected peer.
    pub to: Option<SockAddr>,
    /// What goes along.
    pub ancillary: Ancillary,
    /// `MSG_…`.
    pub flags: u32,
}

/// What was received.
#[derive(Default)]
pub struct Received {
    /// Bytes put into the buffer.
    pub count: usize,
    /// Bytes the message had: more than `count` when it was cut.
    pub full: usize,
    /// Who sent it.
    pub from: Option<SockAddr>,
    /// What came along.
    pub ancillary: Ancillary,
    /// `MSG_…` for `msg_flags`.
    pub flags: u32,
}

/// The machine and the caller, for operations that depend on them.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The machine.
    pub k: &'a Rc<Kernel>,
    /// The task.
    pub t: &'a Rc<Task>,
}

/// A socket of some family.
pub trait Socket: Any {
    /// For down-casting by its own family.
    fn as_any(&self) -> &dyn Any;
    /// `bind(2)`.
    fn bind(&self, caller: Caller<'_>, address: &SockAddr) -> Result<()>;
    /// `listen(2)`.
    fn listen(&self, _caller: Caller<'_>, _backlog: u32) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// `connect(2)`; `EAGAIN` when a blocking caller has to wait, `EINPROGRESS` when it goes on by itself.
    fn connect(&self, caller: Caller<'_>, address: &SockAddr, nonblocking: bool) -> Result<()>;
    /// `accept(2)`: the connection as a socket, and its peer's name.
    fn accept(&self) -> Result<(Rc<dyn Socket>, SockAddr)> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Sends; gives how much.
    fn send(&self, caller: Option<Caller<'_>>, message: Outgoing<'_>) -> Result<usize>;
    /// Receives into `buf`.
    fn receive(&self, buf: &mut [u8], flags: u32) -> Result<Received>;
    /// `shutdown(2)`: reading, writing.
    fn shutdown(&self, read: bool, write: bool) -> Result<()>;
    /// `getsockname(2)`.
    fn local_name(&self) -> Result<SockAddr>;
    /// `getpeername(2)`.
    fn peer_name(&self) -> Result<SockAddr>;
    /// What is ready.
    fn poll(&self, waker: Option<&Waker>) -> Events;
    /// Credentials of the peer, for Unix sockets.
    fn peer_cred(&self) -> Option<PeerCred> {
        None
    }
    /// `SO_ERROR`: takes the pending error.
    fn take_error(&self) -> Option<Errno> {
        None
    }
    /// `SO_ACCEPTCONN`.
    fn is_listening(&self) -> bool {
        false
    }
    /// Bytes that can be read (`FIONREAD`).
    fn readable(&self) -> usize {
        0
    }
    /// Bytes that were written and have not arrived (`SIOCOUTQ`).
    fn unsent(&self) -> usize {
        0
    }
    /// `SO_BINDTODEVICE`; no name is any device.
    fn bind_device(&self, _name: &str) -> Result<()> {
        Ok(())
    }
    /// The device of `SO_BINDTODEVICE`.
    fn bound_device(&self) -> Option<String> {
        None
    }
    /// Options of the family's own levels: an integer. Default: there are none.
    fn get_option(&self, _level: u32, _name: u32) -> Result<i32> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Sets an option of the family's own levels.
    fn set_option(
        &self,
        _caller: Caller<'_>,
        _level: u32,
        _name: u32,
        _value: &[u8],
    ) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// An option of `SOL_SOCKET` was set that the family acts on (`SO_PASSCRED`, `SO_REUSEADDR`, …).
    fn common_option(&self, _name: u32, _value: i32) {}
    /// `SO_ATTACH_FILTER` and `SO_DETACH_FILTER`. Most sockets get nothing that a filter would keep out.
    fn attach_filter(&self, _program: Option<net::bpf::Program>) -> Result<()> {
        Ok(())
    }
    /// Memory that `mmap(2)` shows.
    fn page(&self, _index: u64) -> Result<Option<mem::Page>> {
        Err(Errno::ENODEV)
    }
    /// The numbers that `/proc/net` shows.
    fn describe(&self) -> Option<String> {
        None
    }
}

/// `shutdown(SHUT_WR)` of a file; `ENOTSOCK` when it is no socket.
pub fn shutdown_write(file: &dyn File) -> Result<()> {
    file.as_any()
        .downcast_ref::<SocketFile>()
        .ok_or(Errno::ENOTSOCK)?
        .socket
        .shutdown(false, true)
}

/// Options of `SOL_SOCKET` that are kept and given back.
#[derive(Default)]
struct Options {
    values: RefCell<Vec<(u32, i32)>>,
    linger: Cell<(i32, i32)>,
    receive_timeout: Cell<u64>,
    send_timeout: Cell<u64>,
}

/// All sockets of a network namespace, for `/proc/net` and `ss`.
#[derive(Default)]
struct SocketList(RefCell<Vec<Weak<SocketFile>>>);

impl SocketList {
    fn add(&self, file: &Rc<SocketFile>) {
        let mut list = self.0.borrow_mut();
        // Only when it would grow anyway: adding stays cheap.
        if list.len() == list.capacity() {
            list.retain(|file| file.strong_count() > 0);
        }
        list.push(Rc::downgrade(file));
    }
}

/// The sockets of a network namespace.
#[must_use]
pub fn sockets_of(net: &NetNs) -> Vec<Rc<SocketFile>> {
    let list = net.state.get_or_insert_with(SocketList::default);
    let known = list.0.borrow();
    known.iter().filter_map(Weak::upgrade).collect()
}

/// The lines of `/proc/net/unix`.
#[must_use]
pub fn proc_unix(_k: &Kernel, net: &NetNs) -> String {
    let unix = sockets_of(net)
        .into_iter()
        .filter(|file| file.family == c::AF_UNIX);
    unix.filter_map(|file| {
        let about = file.socket.describe()?;
        let mut words = about.splitn(4, ' ');
        let (flags, kind, state) = (words.next()?, words.next()?, words.next()?);
        let name = words
            .next()
            .filter(|name| !name.is_empty())
            .map(|name| format!(" {name}"))
            .unwrap_or_default();
        Some(format!(
            "{:016x}: 00000002 00000000 {flags} {kind} {state} {:5}{name}\n",
            file.ino, file.ino
        ))
    })
    .collect()
}

/// The file behind a socket descriptor.
pub struct SocketFile {
    /// Inode number (`socket:[N]`).
    pub ino: u64,
    /// `AF_…`.
    pub family: u16,
    /// `SOCK_…`.
    pub kind: u32,
    /// Protocol.
    pub protocol: u32,
    /// The socket.
    pub socket: Rc<dyn Socket>,
    /// The network namespace it was made in.
    pub net: Rc<NetNs>,
    /// Who made it.
    pub uid: u32,
    options: Options,
}

impl SocketFile {
    /// A file for `socket`.
    #[must_use]
    pub fn new(
        k: &Kernel,
        net: &Rc<NetNs>,
        what: (u16, u32, u32),
        socket: Rc<dyn Socket>,
    ) -> Rc<SocketFile> {
        let (family, kind, protocol) = what;
        let ino = crate::dev::next_anonymous_ino(k);
        let net = Rc::clone(net);
        let list = net.state.get_or_insert_with(SocketList::default);
        let uid = k.current().map_or(0, |task| task.creds().euid);
        let file = Rc::new(SocketFile {
            ino,
            uid,
            family,
            kind,
            protocol,
            socket,
            net,
            options: Options::default(),
        });
        list.add(&file);
        file
    }

    /// The timeout of reading or writing, in nanoseconds.
    #[must_use]
    pub fn timeout(&self, write: bool) -> Option<u64> {
        let timeout = if write {
            self.options.send_timeout.get()
        } else {
            self.options.receive_timeout.get()
        };
        (timeout > 0).then_some(timeout)
    }

    /// Sets the timeout of reading or writing; 0 is none.
    pub fn set_timeout(&self, write: bool, nanos: u64) {
        if write {
            self.options.send_timeout.set(nanos)
        } else {
            self.options.receive_timeout.set(nanos)
        }
    }

    /// `write(2)` by a task.
    pub fn send(&self, caller: Caller<'_>, data: &[u8]) -> Result<usize> {
        let ancillary = Ancillary::default();
        self.socket.send(
            Some(caller),
            Outgoing {
                data,
                to: None,
                ancillary,
                flags: 0,
            },
        )
    }

    /// Data keeps its boundaries: datagrams and sequenced packets.
    #[must_use]
    pub fn is_message(&self) -> bool {
        self.kind != c::SOCK_STREAM
    }

    /// `SO_LINGER`: on or off, seconds.
    #[must_use]
    pub fn linger(&self) -> (i32, i32) {
        self.options.linger.get()
    }

    /// Sets `SO_LINGER`.
    pub fn set_linger(&self, on: i32, seconds: i32) {
        self.options.linger.set((i32::from(on != 0), seconds));
        self.socket
            .common_option(c::SO_LINGER, if on != 0 { seconds } else { -1 });
    }

    /// An integer option of `SOL_SOCKET`.
    pub fn common(&self, name: u32) -> Result<i32> {
        let kept = self
            .options
            .values
            .borrow()
            .iter()
            .find(|entry| entry.0 == name)
            .map(|entry| entry.1);
        Ok(match name {
            c::SO_TYPE => self.kind as i32,
            c::SO_PROTOCOL => self.protocol as i32,
            c::SO_DOMAIN => i32::from(self.family),
            c::SO_ERROR => self.socket.take_error().map_or(0, |errno| errno.0),
            c::SO_ACCEPTCONN => i32::from(self.socket.is_listening()),
            c::SO_SNDBUF | c::SO_RCVBUF => kept.unwrap_or(212_992),
            c::SO_RCVLOWAT | c::SO_SNDLOWAT => kept.unwrap_or(1),
            // No extension of filters but those that are always there.
            c::SO_BPF_EXTENSIONS => 64,
            c::SO_DEBUG
            | c::SO_REUSEADDR
            | c::SO_DONTROUTE
            | c::SO_BROADCAST
            | c::SO_KEEPALIVE
            | c::SO_OOBINLINE
            | c::SO_PRIORITY
            | c::SO_REUSEPORT
            | c::SO_PASSCRED
            | c::SO_TIMESTAMP
            | c::SO_PASSSEC
            | c::SO_MARK
            | c::SO_RXQ_OVFL => kept.unwrap_or(0),
            _ => return Err(Errno::ENOPROTOOPT),
        })
    }

    /// Sets an integer option of `SOL_SOCKET`.
    pub fn set_common(&self, name: u32, value: i32) -> Result<()> {
        let value = match name {
            // The kernel doubles what is asked for, for its own book-keeping.
            c::SO_SNDBUF | c::SO_RCVBUF | c::SO_SNDBUFFORCE | c::SO_RCVBUFFORCE => {
                value.clamp(1024, 212_992) * 2
            }
            c::SO_DEBUG
            | c::SO_REUSEADDR
            | c::SO_DONTROUTE
            | c::SO_BROADCAST
            | c::SO_KEEPALIVE
            | c::SO_OOBINLINE
            | c::SO_REUSEPORT
            | c::SO_PASSCRED
            | c::SO_TIMESTAMP
            | c::SO_PASSSEC
            | c::SO_RXQ_OVFL => i32::from(value != 0),
            c::SO_PRIORITY | c::SO_RCVLOWAT | c::SO_MARK => value,
            _ => return Err(Errno::ENOPROTOOPT),
        };
        let name = match name {
            c::SO_SNDBUFFORCE => c::SO_SNDBUF,
            c::SO_RCVBUFFORCE => c::SO_RCVBUF,
            other => other,
        };
        {
            let mut values = self.options.values.borrow_mut();
            values.retain(|entry| entry.0 != name);
            values.push((name, value));
        }
        self.socket.common_option(name, value);
        Ok(())
    }
}

impl File for SocketFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> Result<usize> {
        if buf.is_empty() && self.kind == c::SOCK_STREAM {
            return Ok(0);
        }
        self.socket.receive(buf, 0).map(|received| received.count)
    }

    fn write_at(&self, _offset: u64, buf: &[u8]) -> Result<usize> {
        self.socket.send(
            None,
            Outgoing {
                data: buf,
                to: None,
                ancillary: Ancillary::default(),
                flags: 0,
            },
        )
    }

    fn poll(&self, waker: Option<&Waker>) -> Events {
        self.socket.poll(waker)
    }

    fn page(&self, index: u64, _write: bool) -> Result<Option<mem::Page>> {
        self.socket.page(index)
    }

    fn ioctl(&self, request: u32, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
        const FIONREAD: u32 = 0x541b;
        const SIOCOUTQ: u32 = 0x5411;
        match request {
            FIONREAD if self.socket.is_listening() => Err(Errno::EINVAL),
            FIONREAD => memory
                .write(argument, &(self.socket.readable() as i32).to_le_bytes())
                .map(|()| 0),
            SIOCOUTQ => memory
                .write(argument, &(self.socket.unsent() as i32).to_le_bytes())
                .map(|()| 0),
            _ => netlink::interface_ioctl(&self.net, request, argument, memory),
        }
    }

    fn anonymous_name(&self) -> Option<String> {
        Some(format!("socket:[{}]", self.ino))
    }

    fn anonymous_attr(&self) -> Option<Attr> {
        Some(Attr {
            ino: self.ino,
            mode: S_IFSOCK | 0o777,
            nlink: 1,
            blksize: 4096,
            ..Attr::default()
        })
    }
}
