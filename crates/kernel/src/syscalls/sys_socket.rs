//! System calls: sockets.

use std::rc::Rc;

use abi::signal::{SIGPIPE, SigInfo};
use abi::{Errno, Result};
use vfs::file::{OpenFile, OpenFlags};

use super::sys_file::install;
use super::sys_pipe::install_pair;
use super::sys_read_write::{Segment, gather, read_segments, scatter, wait_or_fail};
use super::table::{Arg, Row};
use super::{Block, Stop, SysResult};
use crate::kernel::Kernel;
use crate::socket::consts as c;
use crate::socket::inet::InetSocket;
use crate::socket::unix::{Kind, UnixSocket};
use crate::socket::{
    Ancillary, Caller, Outgoing, PeerCred, Received, SockAddr, Socket, SocketFile,
};
use crate::task::Task;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::partial(
        198,
        "socket",
        sys_socket,
        &[Arg::Int, Arg::Hex, Arg::Int],
        "AF_UNIX; AF_INET and AF_INET6: TCP, UDP, ICMP, raw; AF_NETLINK: route, sock_diag; AF_PACKET",
    ),
    Row::partial(
        199,
        "socketpair",
        sys_socketpair,
        &[Arg::Int, Arg::Hex, Arg::Int, Arg::Ptr],
        "AF_UNIX",
    ),
    Row::full(200, "bind", sys_bind, &[Arg::Fd, Arg::Ptr, Arg::Uint]),
    Row::full(201, "listen", sys_listen, &[Arg::Fd, Arg::Int]),
    Row::full(202, "accept", sys_accept, &[Arg::Fd, Arg::Ptr, Arg::Ptr]),
    Row::full(203, "connect", sys_connect, &[Arg::Fd, Arg::Ptr, Arg::Uint]),
    Row::full(
        204,
        "getsockname",
        sys_getsockname,
        &[Arg::Fd, Arg::Ptr, Arg::Ptr],
    ),
    Row::full(
        205,
        "getpeername",
        sys_getpeername,
        &[Arg::Fd, Arg::Ptr, Arg::Ptr],
    ),
    Row::full(
        206,
        "sendto",
        sys_sendto,
        &[Arg::Fd, Arg::Buf, Arg::Uint, Arg::Hex, Arg::Ptr, Arg::Uint],
    ),
    Row::full(
        207,
        "recvfrom",
        sys_recvfrom,
        &[
            Arg::Fd,
            Arg::OutBuf,
            Arg::Uint,
            Arg::Hex,
            Arg::Ptr,
            Arg::Ptr,
        ],
    ),
    Row::partial(
        208,
        "setsockopt",
        sys_setsockopt,
        &[Arg::Fd, Arg::Int, Arg::Int, Arg::Ptr, Arg::Uint],
        "buffer sizes and most TCP tuning are kept but change nothing",
    ),
    Row::partial(
        209,
        "getsockopt",
        sys_getsockopt,
        &[Arg::Fd, Arg::Int, Arg::Int, Arg::Ptr, Arg::Ptr],
        "as setsockopt",
    ),
    Row::full(210, "shutdown", sys_shutdown, &[Arg::Fd, Arg::Int]),
    Row::full(211, "sendmsg", sys_sendmsg, &[Arg::Fd, Arg::Ptr, Arg::Hex]),
    Row::full(212, "recvmsg", sys_recvmsg, &[Arg::Fd, Arg::Ptr, Arg::Hex]),
    Row::full(
        242,
        "accept4",
        sys_accept4,
        &[Arg::Fd, Arg::Ptr, Arg::Ptr, Arg::Hex],
    ),
    Row::full(
        243,
        "recvmmsg",
        sys_recvmmsg,
        &[Arg::Fd, Arg::Ptr, Arg::Uint, Arg::Hex, Arg::Timespec],
    ),
    Row::full(
        269,
        "sendmmsg",
        sys_sendmmsg,
        &[Arg::Fd, Arg::Ptr, Arg::Uint, Arg::Hex],
    ),
];

/// Largest message.
const MESSAGE_MAX: usize = 256 * 1024;
/// Most descriptors in one message (SCM_MAX_FD).
const RIGHTS_MAX: usize = 253;
/// Largest buffer of control messages that is looked at.
const CONTROL_MAX: u64 = 16 * 1024;

const SCM_RIGHTS: u32 = 1;
const SCM_CREDENTIALS: u32 = 2;

/// The open file of a socket descriptor.
fn socket_file(t: &Task, fd: u64) -> Result<Rc<OpenFile>> {
    let file = t.files().get(fd as i32)?;
    if file.flags.get().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    if file.file.as_any().is::<SocketFile>() {
        Ok(file)
    } else {
        Err(Errno::ENOTSOCK)
    }
}

/// What is behind it; [`socket_file`] has checked.
fn socket_of(file: &OpenFile) -> Result<&SocketFile> {
    file.file
        .as_any()
        .downcast_ref::<SocketFile>()
        .ok_or(Errno::ENOTSOCK)
}

/// Type and flags of `socket(2)`.
fn type_and_flags(kind: u64) -> Result<(u32, OpenFlags)> {
    let flags = OpenFlags::from_bits_retain(kind as u32 & !0xf);
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL);
    }
    Ok((kind as u32 & 0xf, flags))
}

fn open_socket(file: Rc<SocketFile>, flags: OpenFlags) -> Rc<OpenFile> {
    OpenFile::new(file, None, (flags & OpenFlags::NONBLOCK) | OpenFlags::RDWR)
}

fn unix_kind(kind: u32) -> Result<Kind> {
    match kind {
        c::SOCK_STREAM => Ok(Kind::Stream),
        // SOCK_RAW of a Unix socket is a datagram socket (unix_create).
        c::SOCK_DGRAM | c::SOCK_RAW => Ok(Kind::Datagram),
        c::SOCK_SEQPACKET => Ok(Kind::SeqPacket),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

fn sys_socket(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let (kind, flags) = type_and_flags(a[1])?;
    let (family, protocol) = (a[0] as u32, a[2] as u32);
    let ns = t.ns();
    let socket: Rc<dyn Socket> = match u16::try_from(family).unwrap_or(u16::MAX) {
        c::AF_UNIX if protocol > 1 => return Err(Errno::EPROTONOSUPPORT.into()),
        c::AF_UNIX => UnixSocket::new(unix_kind(kind)?, &ns.net),
        family @ (c::AF_INET | c::AF_INET6) => {
            crate::socket::inet::new(k, t, &ns.net, family, kind, protocol)?
        }
        c::AF_NETLINK => crate::socket::netlink::new(k, t, &ns.net, kind, protocol)?,
        c::AF_PACKET => crate::socket::packet::new(k, t, &ns.net, kind, protocol)?,
        _ => return Err(Errno::EAFNOSUPPORT.into()),
    };
    let protocol = crate::socket::inet::shown_protocol(family as u16, kind, protocol);
    let file = SocketFile::new(k, &ns.net, (family as u16, kind, protocol), socket);
    Ok(install(
        t,
        open_socket(file, flags),
        flags.contains(OpenFlags::CLOEXEC),
    )?)
}

fn sys_socketpair(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let (kind, flags) = type_and_flags(a[1])?;
    match a[0] as u16 {
        c::AF_UNIX => {}
        c::AF_INET | c::AF_INET6 | c::AF_NETLINK | c::AF_PACKET => {
            return Err(Errno::EOPNOTSUPP.into());
        }
        _ => return Err(Errno::EAFNOSUPPORT.into()),
    }
    if a[2] as u32 > 1 {
        return Err(Errno::EPROTONOSUPPORT.into());
    }
    let ns = t.ns();
    let (one, two) = UnixSocket::pair(unix_kind(kind)?, &ns.net, &PeerCred::of(t));
    let open = |socket| {
        open_socket(
            SocketFile::new(k, &ns.net, (c::AF_UNIX, kind, 0), socket),
            flags,
        )
    };
    install_pair(
        t,
        open(one),
        open(two),
        flags.contains(OpenFlags::CLOEXEC),
        a[3],
    )
}

/// Reads a `struct sockaddr`.
fn read_address(t: &Task, address: u64, len: u64) -> Result<SockAddr> {
    let len = usize::try_from(len as i32)
        .ok()
        .filter(|&len| len <= 128)
        .ok_or(Errno::EINVAL)?;
    let mut raw = [0; 128];
    t.read_memory(address, &mut raw[..len])?;
    Ok(SockAddr::new(&raw[..len]))
}

/// Writes an address as far as it fits, and its real length.
fn write_address(t: &Task, name: &SockAddr, address: u64, len_address: u64) -> Result<()> {
    if address == 0 {
        return Ok(());
    }
    let room = t.read_u32(len_address)? as i32;
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let bytes = name.bytes();
    t.write_memory(address, &bytes[..bytes.len().min(room)])?;
    t.write_u32(len_address, bytes.len() as u32)
}

fn sys_bind(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = socket_file(t, a[0])?;
    let name = read_address(t, a[1], a[2])?;
    socket_of(&file)?.socket.bind(Caller { k, t }, &name)?;
    Ok(0)
}

fn sys_listen(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = socket_file(t, a[0])?;
    let backlog = (a[1] as i32).max(0) as u32;
    socket_of(&file)?.socket.listen(Caller { k, t }, backlog)?;
    Ok(0)
}

fn sys_connect(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = socket_file(t, a[0])?;
    let socket = socket_of(&file)?;
    let nonblocking = file.flags.get().contains(OpenFlags::NONBLOCK);
    let name = read_address(t, a[1], a[2])?;
    match socket.socket.connect(Caller { k, t }, &name, nonblocking) {
        Ok(()) => Ok(0),
        Err(errno) => Err(wait_or_fail(k, t, &file, errno, false, true)),
    }
}

fn sys_accept(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    accept(k, t, a, OpenFlags::empty())
}

fn sys_accept4(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let flags = OpenFlags::from_bits_retain(a[3] as u32);
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    accept(k, t, a, flags)
}

fn accept(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6], flags: OpenFlags) -> SysResult {
    let file = socket_file(t, a[0])?;
    let listener = socket_of(&file)?;
    let (socket, peer) = match listener.socket.accept() {
        Ok(accepted) => accepted,
        Err(errno) => return Err(wait_or_fail(k, t, &file, errno, false, false)),
    };
    let what = (listener.family, listener.kind, listener.protocol);
    let accepted = SocketFile::new(k, &listener.net, what, socket);
    let fd = install(
        t,
        open_socket(accepted, flags),
        flags.contains(OpenFlags::CLOEXEC),
    )?;
    if let Err(errno) = write_address(t, &peer, a[1], a[2]) {
        drop(t.files().remove(fd as i32)?);
        return Err(errno.into());
    }
    Ok(fd)
}

fn sys_getsockname(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = socket_file(t, a[0])?;
    write_address(t, &socket_of(&file)?.socket.local_name()?, a[1], a[2])?;
    Ok(0)
}

fn sys_getpeername(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = socket_file(t, a[0])?;
    write_address(t, &socket_of(&file)?.socket.peer_name()?, a[1], a[2])?;
    Ok(0)
}

fn sys_shutdown(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = socket_file(t, a[0])?;
    let (read, write) = match a[1] {
        0 => (true, false),
        1 => (false, true),
        2 => (true, true),
        _ => return Err(Errno::EINVAL.into()),
    };
    socket_of(&file)?.socket.shutdown(read, write)?;
    Ok(0)
}

/// Sends the segments as one message or, on a stream, as much as goes; blocks as the file and flags say.
fn send(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    file: &Rc<OpenFile>,
    segments: &[Segment],
    to: Option<SockAddr>,
    mut ancillary: Ancillary,
    flags: u32,
) -> SysResult {
    let socket = socket_of(file)?;
    let total = segments.iter().map(|&(_, len)| len).sum::<u64>();
    if socket.is_message() && total > MESSAGE_MAX as u64 {
        return Err(Errno::EMSGSIZE.into());
    }
    let mut done = t.syscall.done.get();
    let mut buf = k.take_scratch(total.min(MESSAGE_MAX as u64) as usize);
    let outcome = loop {
        let want = ((total - done) as usize).min(MESSAGE_MAX);
        if gather(t, segments, done, &mut buf[..want]) < want {
            break if done > 0 {
                Ok(done)
            } else {
                Err(Stop::Errno(Errno::EFAULT))
            };
        }
        let data = &buf[..want];
        // A run that sends nothing must leave what goes along for the next.
        let along = ancillary.clone();
        let message = Outgoing {
            data,
            to,
            ancillary: along,
            flags,
        };
        match socket.socket.send(Some(Caller { k, t }), message) {
            Ok(count) => {
                ancillary.rights.clear();
                done += count as u64;
                t.syscall.done.set(done);
                if done >= total || count == 0 || socket.is_message() {
                    break Ok(done);
                }
            }
            Err(errno) => break Err(Stop::Errno(errno)),
        }
    };
    k.put_scratch(buf);
    let Err(Stop::Errno(errno)) = outcome else {
        return outcome;
    };
    if errno == Errno::EPIPE {
        if flags & c::MSG_NOSIGNAL == 0 && !matches!(socket.kind, c::SOCK_DGRAM | c::SOCK_RAW) {
            k.signal_task(t, SigInfo::kernel(SIGPIPE))?;
        }
        return if done > 0 {
            Ok(done)
        } else {
            Err(errno.into())
        };
    }
    match wait_or_fail(k, t, file, errno, flags & c::MSG_DONTWAIT != 0, true) {
        Stop::Block(_) if done > 0 && t.signal_pending() => Ok(done),
        Stop::Errno(_) if done > 0 => Ok(done),
        stop => Err(stop),
    }
}

fn sys_sendto(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = socket_file(t, a[0])?;
    let to = if a[4] == 0 {
        None
    } else {
        Some(read_address(t, a[4], a[5])?)
    };
    let len = if a[2] > i64::MAX as u64 {
        return Err(Errno::EINVAL.into());
    } else {
        a[2].min(0x7fff_f000)
    };
    send(
        k,
        t,
        &file,
        &[(a[1], len)],
        to,
        Ancillary::default(),
        a[3] as u32,
    )
}

/// Receives into the segments; blocks as the file and flags say.
fn receive(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    file: &Rc<OpenFile>,
    segments: &[Segment],
    flags: u32,
) -> std::result::Result<Received, Stop> {
    let socket = socket_of(file)?;
    // The error queue is never waited for.
    let from_errors = flags & c::MSG_ERRQUEUE != 0;
    if from_errors && !matches!(socket.family, c::AF_INET | c::AF_INET6) {
        return Err(Errno::EAGAIN.into());
    }
    let total = segments.iter().map(|&(_, len)| len).sum::<u64>();
    let wait_all = flags & c::MSG_WAITALL != 0
        && flags & (c::MSG_PEEK | c::MSG_DONTWAIT) == 0
        && !socket.is_message();
    if total == 0 && !socket.is_message() {
        return Ok(Received::default());
    }
    let mut buf = k.take_scratch(total.min(MESSAGE_MAX as u64) as usize);
    let before = t.syscall.done.get();
    let want = ((total - before) as usize).min(MESSAGE_MAX);
    let outcome = socket.socket.receive(&mut buf[..want], flags);
    let outcome = match outcome {
        Ok(received) if scatter(t, segments, before, &buf[..received.count]) < received.count => {
            Err(Errno::EFAULT)
        }
        other => other,
    };
    k.put_scratch(buf);
    match outcome {
        Ok(mut received) => {
            let all = before + received.count as u64;
            let is_end = received.count == 0;
            received.count = all as usize;
            received.full = received.full.max(all as usize);
            if wait_all
                && !is_end
                && all < total
                && received.ancillary.rights.is_empty()
                && !t.signal_pending()
            {
                t.syscall.done.set(all);
                let _ = file.file.poll(Some(t.waker()));
                // Something may be there already: look again at once.
                t.waker().wake_by_ref();
                return Err(Block::restartable());
            }
            Ok(received)
        }
        Err(errno) => match wait_or_fail(
            k,
            t,
            file,
            errno,
            from_errors || flags & c::MSG_DONTWAIT != 0,
            false,
        ) {
            Stop::Errno(_) if before > 0 => Ok(Received {
                count: before as usize,
                full: before as usize,
                ..Received::default()
            }),
            Stop::Block(_) if before > 0 && t.signal_pending() => Ok(Received {
                count: before as usize,
                full: before as usize,
                ..Received::default()
            }),
            stop => Err(stop),
        },
    }
}

/// What a receiving call returns: with MSG_TRUNC the real length.
fn received_len(received: &Received, flags: u32) -> u64 {
    if flags & c::MSG_TRUNC != 0 {
        received.full as u64
    } else {
        received.count as u64
    }
}

fn sys_recvfrom(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = socket_file(t, a[0])?;
    let len = a[2].min(0x7fff_f000);
    let flags = a[3] as u32;
    let received = receive(k, t, &file, &[(a[1], len)], flags)?;
    if a[4] != 0 {
        match &received.from {
            Some(from) => write_address(t, from, a[4], a[5])?,
            None => t.write_u32(a[5], 0)?,
        }
    }
    Ok(received_len(&received, flags))
}

/// `struct msghdr`.
#[derive(Clone, Copy)]
struct MessageHeader {
    address: u64,
    name: u64,
    name_len: u32,
    iov: u64,
    iov_len: u64,
    control: u64,
    control_len: u64,
}

impl MessageHeader {
    fn read(t: &Task, address: u64) -> Result<MessageHeader> {
        let raw: [u8; 56] = t.read_bytes(address)?;
        let word = |at: usize| u64::from_le_bytes(raw[at..at + 8].try_into().unwrap_or_default());
        Ok(MessageHeader {
            address,
            name: word(0),
            name_len: word(8) as u32,
            iov: word(16),
            iov_len: word(24),
            control: word(32),
            control_len: word(40),
        })
    }
}

/// Reads the control messages of a `sendmsg`.
fn read_control(t: &Task, header: &MessageHeader) -> Result<Ancillary> {
    let mut ancillary = Ancillary::default();
    if header.control == 0 || header.control_len == 0 {
        return Ok(ancillary);
    }
    if header.control_len > CONTROL_MAX {
        return Err(Errno::ENOBUFS);
    }
    let mut raw = vec![0; header.control_len as usize];
    t.read_memory(header.control, &mut raw)?;
    let mut rest = &raw[..];
    while rest.len() >= 16 {
        let len = u64::from_le_bytes(rest[..8].try_into().unwrap_or_default()) as usize;
        let field = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap_or_default());
        let (level, kind) = (field(8), field(12));
        let Some(data) = rest.get(16..len) else {
            return Err(Errno::EINVAL);
        };
        match (level, kind) {
            (c::SOL_SOCKET, SCM_RIGHTS) => {
                for fd in data.chunks_exact(4) {
                    let fd = i32::from_le_bytes(fd.try_into().unwrap_or_default());
                    ancillary.rights.push(t.files().get(fd)?);
                }
                if ancillary.rights.len() > RIGHTS_MAX {
                    return Err(Errno::EINVAL);
                }
            }
            (c::SOL_SOCKET, SCM_CREDENTIALS) => ancillary.cred = Some(claimed_cred(t, data)?),
            (c::SOL_SOCKET, _) => return Err(Errno::EINVAL),
            // IP_PKTINFO and its like: the source address is chosen by the route anyway.
            _ => {}
        }
        rest = rest.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(ancillary)
}

/// A task may name itself; only root may name others.
fn claimed_cred(t: &Task, data: &[u8]) -> Result<PeerCred> {
    let field = |at: usize| {
        data.get(at..at + 4)
            .map(|b| u32::from_le_bytes(b.try_into().unwrap_or_default()))
            .ok_or(Errno::EINVAL)
    };
    let (pid, uid, gid) = (field(0)?, field(4)?, field(8)?);
    let (ns, creds) = (t.ns(), t.creds());
    let (uid, gid) = (ns.user.global_uid(uid)?, ns.user.global_gid(gid)?);
    let own_pid = pid == t.group.tgid_in(&t.pid_ns());
    let pid = if own_pid {
        Some(t.group.pid())
    } else {
        t.pid_ns().pid(pid)
    };
    let allowed = (own_pid || creds.has_cap(vfs::Capability::SysAdmin))
        && ([creds.uid, creds.euid, creds.suid].contains(&uid)
            || creds.has_cap(vfs::Capability::Setuid))
        && ([creds.gid, creds.egid, creds.sgid].contains(&gid)
            || creds.has_cap(vfs::Capability::Setgid));
    if !allowed {
        return Err(Errno::EPERM);
    }
    Ok(PeerCred {
        pid: Some(pid.ok_or(Errno::ESRCH)?),
        uid,
        gid,
    })
}

/// `struct ucred` as the task sees it.
fn emit_cred(t: &Task, cred: &PeerCred) -> [u8; 12] {
    let ns = t.ns();
    let pid = cred.pid.as_ref().map_or(0, |pid| pid.in_ns(&t.pid_ns()));
    let mut raw = [0; 12];
    raw[..4].copy_from_slice(&pid.to_le_bytes());
    raw[4..8].copy_from_slice(&ns.user.shown_uid(cred.uid).to_le_bytes());
    raw[8..].copy_from_slice(&ns.user.shown_gid(cred.gid).to_le_bytes());
    raw
}

/// Writes the control messages of a `recvmsg`; gives their length and whether some were cut.
fn write_control(
    t: &Task,
    header: &MessageHeader,
    ancillary: Ancillary,
    cloexec: bool,
) -> Result<(u64, bool)> {
    let mut raw = Vec::new();
    let mut cut = false;
    let room = header.control_len.min(CONTROL_MAX) as usize;
    let mut push = |level: u32, kind: u32, data: &[u8], room: usize| {
        let len = 16 + data.len();
        if raw.len() + len > room {
            return false;
        }
        raw.extend_from_slice(&(len as u64).to_le_bytes());
        raw.extend_from_slice(&level.to_le_bytes());
        raw.extend_from_slice(&kind.to_le_bytes());
        raw.extend_from_slice(data);
        raw.resize(raw.len().next_multiple_of(8).min(room), 0);
        true
    };
    for (level, kind, value) in &ancillary.numbers {
        cut |= !push(*level, *kind, &value.to_le_bytes(), room);
    }
    for (level, kind, value) in &ancillary.others {
        cut |= !push(*level, *kind, value, room);
    }
    if let Some(cred) = &ancillary.cred {
        cut |= !push(c::SOL_SOCKET, SCM_CREDENTIALS, &emit_cred(t, cred), room);
    }
    if !ancillary.rights.is_empty() {
        let before = if ancillary.cred.is_some() { 32 } else { 0 };
        let fit = room.saturating_sub(before + 16) / 4;
        let mut numbers = Vec::new();
        let count = ancillary.rights.len();
        for file in ancillary.rights.into_iter().take(fit) {
            let Ok(fd) = install(t, file, cloexec) else {
                break;
            };
            numbers.extend_from_slice(&(fd as u32).to_le_bytes());
        }
        cut |= numbers.len() / 4 < count;
        if !numbers.is_empty() {
            push(c::SOL_SOCKET, SCM_RIGHTS, &numbers, room);
        }
    }
    if !raw.is_empty() {
        t.write_memory(header.control, &raw)?;
    }
    Ok((raw.len() as u64, cut))
}

fn send_message(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    file: &Rc<OpenFile>,
    address: u64,
    flags: u32,
) -> SysResult {
    let header = MessageHeader::read(t, address)?;
    let to = if header.name == 0 || header.name_len == 0 {
        None
    } else {
        Some(read_address(t, header.name, u64::from(header.name_len))?)
    };
    if header.iov_len > 1024 {
        return Err(Errno::EMSGSIZE.into());
    }
    let segments = read_segments(t, header.iov, header.iov_len)?;
    let ancillary = read_control(t, &header)?;
    send(k, t, file, &segments, to, ancillary, flags)
}

fn sys_sendmsg(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = socket_file(t, a[0])?;
    send_message(k, t, &file, a[1], a[2] as u32)
}

fn receive_message(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    file: &Rc<OpenFile>,
    address: u64,
    flags: u32,
) -> SysResult {
    let header = MessageHeader::read(t, address)?;
    if header.iov_len > 1024 {
        return Err(Errno::EMSGSIZE.into());
    }
    let segments = read_segments(t, header.iov, header.iov_len)?;
    let received = receive(k, t, file, &segments, flags)?;
    let len = received_len(&received, flags);
    let mut shown = received.flags;
    if received.full > received.count {
        shown |= c::MSG_TRUNC;
    }
    if header.name != 0 {
        let bytes = received.from.as_ref().map_or(&[][..], SockAddr::bytes);
        t.write_memory(
            header.name,
            &bytes[..bytes.len().min(header.name_len as usize)],
        )?;
        t.write_u32(header.address + 8, bytes.len() as u32)?;
    }
    let cloexec = flags & c::MSG_CMSG_CLOEXEC != 0;
    let (control_len, cut) = write_control(t, &header, received.ancillary, cloexec)?;
    if cut {
        shown |= c::MSG_CTRUNC;
    }
    t.write_u64(header.address + 40, control_len)?;
    t.write_u32(header.address + 48, shown | (flags & c::MSG_CMSG_CLOEXEC))?;
    Ok(len)
}

fn sys_recvmsg(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = socket_file(t, a[0])?;
    receive_message(k, t, &file, a[1], a[2] as u32)
}

/// Bytes of `struct mmsghdr`, and where its length is.
const MMSGHDR_LEN: u64 = 64;
const MMSGHDR_COUNT: u64 = 56;

fn sys_sendmmsg(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = socket_file(t, a[0])?;
    let mut sent = 0;
    while sent < a[2].min(1024) {
        let address = a[1].wrapping_add(sent * MMSGHDR_LEN);
        // Only the first may wait: what has been sent cannot be sent again.
        let flags = a[3] as u32 | if sent > 0 { c::MSG_DONTWAIT } else { 0 };
        match send_message(k, t, &file, address, flags) {
            Ok(count) => t.write_u32(address + MMSGHDR_COUNT, count as u32)?,
            Err(_) if sent > 0 => break,
            Err(stop) => return Err(stop),
        }
        t.syscall.done.set(0);
        sent += 1;
    }
    Ok(sent)
}

fn sys_recvmmsg(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    const MSG_WAITFORONE: u32 = 0x10000;
    let file = socket_file(t, a[0])?;
    let mut got = 0;
    while got < a[2].min(1024) {
        let address = a[1].wrapping_add(got * MMSGHDR_LEN);
        let flags = a[3] as u32 & !MSG_WAITFORONE | if got > 0 { c::MSG_DONTWAIT } else { 0 };
        match receive_message(k, t, &file, address, flags) {
            Ok(count) => t.write_u32(address + MMSGHDR_COUNT, count as u32)?,
            Err(_) if got > 0 => break,
            Err(stop) => return Err(stop),
        }
        t.syscall.done.set(0);
        got += 1;
    }
    Ok(got)
}

/// `struct timeval` in nanoseconds.
fn read_timeval(raw: &[u8]) -> Result<u64> {
    let word = |at: usize| {
        raw.get(at..at + 8)
            .map(|b| i64::from_le_bytes(b.try_into().unwrap_or_default()))
            .ok_or(Errno::EINVAL)
    };
    let (sec, usec) = (word(0)?, word(8)?);
    if !(0..1_000_000).contains(&usec) {
        return Err(Errno::EDOM);
    }
    Ok(if sec < 0 {
        0
    } else {
        (sec as u64)
            .saturating_mul(1_000_000_000)
            .saturating_add(usec as u64 * 1000)
    })
}

/// Reads a `struct sock_fprog` and the program it leads to.
fn read_filter(t: &Task, value: &[u8]) -> Result<net::bpf::Program> {
    let raw = value.first_chunk::<16>().ok_or(Errno::EINVAL)?;
    let len = usize::from(u16::from_le_bytes([raw[0], raw[1]]));
    let address = u64::from_le_bytes(raw[8..].try_into().unwrap_or_default());
    let mut raw = vec![0; len * 8];
    t.read_memory(address, &mut raw)?;
    let instruction = |raw: &[u8]| net::bpf::Instruction {
        code: u16::from_le_bytes([raw[0], raw[1]]),
        yes: raw[2],
        no: raw[3],
        k: u32::from_le_bytes([raw[4], raw[5], raw[6], raw[7]]),
    };
    net::bpf::Program::new(raw.chunks_exact(8).map(instruction).collect())
}

fn sys_setsockopt(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = socket_file(t, a[0])?;
    let socket = socket_of(&file)?;
    let (level, name) = (a[1] as u32, a[2] as u32);
    let len = usize::try_from(a[4] as i32)
        .map_err(|_| Errno::EINVAL)?
        .min(256);
    if let Some(inet) = socket.socket.as_any().downcast_ref::<InetSocket>() {
        let whole = usize::try_from(a[4] as i32).unwrap_or(0);
        if let Some(done) = inet.set_tables(k, t, (level, name), (a[3], whole)) {
            done?;
            return Ok(0);
        }
    }
    let mut raw = [0; 256];
    t.read_memory(a[3], &mut raw[..len])?;
    let value = &raw[..len];
    let integer = || {
        value
            .get(..4)
            .map(|b| i32::from_le_bytes(b.try_into().unwrap_or_default()))
            .ok_or(Errno::EINVAL)
    };
    if level != c::SOL_SOCKET {
        socket
            .socket
            .set_option(Caller { k, t }, level, name, value)?;
        return Ok(0);
    }
    match name {
        c::SO_RCVTIMEO | c::SO_SNDTIMEO => {
            socket.set_timeout(name == c::SO_SNDTIMEO, read_timeval(value)?)
        }
        c::SO_LINGER => {
            let seconds = value
                .get(4..8)
                .map(|b| i32::from_le_bytes(b.try_into().unwrap_or_default()));
            socket.set_linger(integer()?, seconds.ok_or(Errno::EINVAL)?);
        }
        c::SO_ATTACH_FILTER => {
            let program = read_filter(t, value)?;
            socket.socket.attach_filter(Some(program))?;
        }
        c::SO_DETACH_FILTER => socket.socket.attach_filter(None)?,
        c::SO_BINDTODEVICE => {
            let device = value.split(|&byte| byte == 0).next().unwrap_or_default();
            socket
                .socket
                .bind_device(&String::from_utf8_lossy(device))?;
        }
        _ => socket.set_common(name, integer()?)?,
    }
    Ok(0)
}

fn sys_getsockopt(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = socket_file(t, a[0])?;
    let socket = socket_of(&file)?;
    let (level, name) = (a[1] as u32, a[2] as u32);
    let room = usize::try_from(t.read_u32(a[4])? as i32).map_err(|_| Errno::EINVAL)?;
    if let Some(inet) = socket.socket.as_any().downcast_ref::<InetSocket>()
        && let Some(done) = inet.get_tables(k, t, (level, name), (a[3], a[4]))
    {
        done?;
        return Ok(0);
    }
    let mut raw = Vec::new();
    let packet = (socket.family == c::AF_PACKET).then(|| {
        let mut given = [0; 4];
        let known = room.min(4);
        t.read_memory(a[3], &mut given[..known])?;
        crate::socket::packet::packet_option(&*socket.socket, level, name, &given[..known])
            .transpose()
    });
    if let Some(value) = packet.transpose()?.flatten() {
        raw.extend(value);
    } else if level != c::SOL_SOCKET {
        raw.extend(
            crate::socket::inet::structured_option(socket, level, name).map_or_else(
                || {
                    socket
                        .socket
                        .get_option(level, name)
                        .map(|value| value.to_le_bytes().to_vec())
                },
                Ok,
            )?,
        );
    } else {
        match name {
            c::SO_LINGER => {
                let (on, seconds) = socket.linger();
                raw.extend(on.to_le_bytes());
                raw.extend(seconds.to_le_bytes());
            }
            c::SO_RCVTIMEO | c::SO_SNDTIMEO => {
                let nanos = socket.timeout(name == c::SO_SNDTIMEO).unwrap_or(0);
                raw.extend((nanos / 1_000_000_000).to_le_bytes());
                raw.extend((nanos % 1_000_000_000 / 1000).to_le_bytes());
            }
            c::SO_PEERCRED => {
                let nobody = PeerCred {
                    pid: None,
                    uid: u32::MAX,
                    gid: u32::MAX,
                };
                let cred = socket.socket.peer_cred().unwrap_or(nobody);
                raw.extend(if cred.uid == u32::MAX {
                    [[0; 4], [0xff; 4], [0xff; 4]].concat()
                } else {
                    emit_cred(t, &cred).to_vec()
                });
            }
            // The name with its end, or nothing at all.
            c::SO_BINDTODEVICE => {
                if let Some(name) = socket.socket.bound_device() {
                    if room < c::IFNAMSIZ {
                        return Err(Errno::EINVAL.into());
                    }
                    raw.extend(name.as_bytes());
                    raw.push(0);
                }
            }
            c::SO_COOKIE => raw.extend(socket.ino.to_le_bytes()),
            c::SO_PEERSEC | c::SO_PEERGROUPS | c::SO_PEERPIDFD => {
                return Err(Errno::ENOPROTOOPT.into());
            }
            _ => raw.extend(socket.common(name)?.to_le_bytes()),
        }
    }
    raw.truncate(room);
    t.write_memory(a[3], &raw)?;
    t.write_u32(a[4], raw.len() as u32)?;
    Ok(0)
}
