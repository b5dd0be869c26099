//! System calls: reading and writing through descriptors, positions, directory entries.
//!
//! Data goes through the kernel's scratch buffer in bounded chunks. A *stream* (pipe, socket, terminal) is
//! read with one call of its file, because the second could have to wait or belong to another message; a
//! file with a position is read until the request is satisfied or it ends. What a blocked write has already
//! moved is kept in [`crate::task::SyscallState::done`].

use std::rc::Rc;

use abi::signal::{SIGPIPE, SIGXFSZ, SigInfo};
use abi::{Errno, Result};
use vfs::file::{OpenFile, OpenFlags};
use vfs::inode::{S_IFDIR, S_IFREG, SetAttr};
use vfs::notify;

use super::sys_tty;
use super::table::{Arg, Row};
use super::{Block, Restart, Stop, SysResult};
use crate::kernel::Kernel;
use crate::socket::{Caller, SocketFile};
use crate::task::{RLIMIT_FSIZE, Task};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(
        61,
        "getdents64",
        sys_getdents64,
        &[Arg::Fd, Arg::Ptr, Arg::Uint],
    ),
    Row::full(62, "lseek", sys_lseek, &[Arg::Fd, Arg::Int, Arg::Int]),
    Row::full(63, "read", sys_read, &[Arg::Fd, Arg::OutBuf, Arg::Uint]),
    Row::full(64, "write", sys_write, &[Arg::Fd, Arg::Buf, Arg::Uint]),
    Row::full(65, "readv", sys_readv, &[Arg::Fd, Arg::Ptr, Arg::Int]),
    Row::full(66, "writev", sys_writev, &[Arg::Fd, Arg::Ptr, Arg::Int]),
    Row::full(
        67,
        "pread64",
        sys_pread64,
        &[Arg::Fd, Arg::OutBuf, Arg::Uint, Arg::Int],
    ),
    Row::full(
        68,
        "pwrite64",
        sys_pwrite64,
        &[Arg::Fd, Arg::Buf, Arg::Uint, Arg::Int],
    ),
    Row::full(
        69,
        "preadv",
        sys_preadv,
        &[Arg::Fd, Arg::Ptr, Arg::Int, Arg::Int],
    ),
    Row::full(
        70,
        "pwritev",
        sys_pwritev,
        &[Arg::Fd, Arg::Ptr, Arg::Int, Arg::Int],
    ),
    Row::full(
        286,
        "preadv2",
        sys_preadv2,
        &[Arg::Fd, Arg::Ptr, Arg::Int, Arg::Int, Arg::Int, Arg::Hex],
    ),
    Row::full(
        287,
        "pwritev2",
        sys_pwritev2,
        &[Arg::Fd, Arg::Ptr, Arg::Int, Arg::Int, Arg::Int, Arg::Hex],
    ),
];

/// Bytes moved between a file and memory at a time.
pub(super) const CHUNK: usize = 64 * 1024;
/// Largest single message that is read or written in one piece.
const MESSAGE_MAX: usize = 256 * 1024;
/// Most bytes one call moves (MAX_RW_COUNT).
pub(super) const RW_MAX: u64 = 0x7fff_f000;
/// Most pieces of a vector (UIO_MAXIOV).
const IOV_MAX: u64 = 1024;

/// `RWF_NOWAIT`.
const RWF_NOWAIT: u64 = 8;
/// `RWF_APPEND`.
const RWF_APPEND: u64 = 16;
/// `RWF_HIPRI`, `RWF_DSYNC`, `RWF_SYNC`: nothing to do.
const RWF_HINTS: u64 = 7;

/// A piece of guest memory: address and length.
pub(super) type Segment = (u64, u64);

/// Where in a file, and how.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    /// An explicit position instead of the file's own.
    pub at: Option<u64>,
    /// Do not wait, whatever the file's flags say.
    pub nowait: bool,
    /// Write at the end.
    pub append: bool,
}

/// Reads a vector of segments from guest memory.
pub(super) fn read_segments(t: &Task, address: u64, count: u64) -> Result<Vec<Segment>> {
    if count > IOV_MAX {
        return Err(Errno::EINVAL);
    }
    let mut raw = [0; 16];
    let mut left = RW_MAX;
    let mut segments = Vec::with_capacity(count as usize);
    for index in 0..count {
        t.read_memory(address.wrapping_add(index * 16), &mut raw)?;
        let (base, len) = raw.split_at(8);
        let base = u64::from_le_bytes(base.try_into().unwrap_or_default());
        let len = u64::from_le_bytes(len.try_into().unwrap_or_default());
        if len > i64::MAX as u64 {
            return Err(Errno::EINVAL);
        }
        let len = len.min(left);
        left -= len;
        segments.push((base, len));
    }
    Ok(segments)
}

/// Copies to a list of segments, `skip` bytes into them. Gives how much fitted before a bad address.
pub(super) fn scatter(t: &Task, segments: &[Segment], skip: u64, bytes: &[u8]) -> usize {
    let (mut skip, mut done) = (skip, 0);
    for &(base, len) in segments {
        if skip >= len {
            skip -= len;
            continue;
        }
        let count = ((len - skip).min((bytes.len() - done) as u64)) as usize;
        let copied = copy_out_partly(t, base.wrapping_add(skip), &bytes[done..done + count]);
        done += copied;
        if copied < count || done == bytes.len() {
            break;
        }
        skip = 0;
    }
    done
}

/// Copies from a list of segments, `skip` bytes into them. Gives how much came before a bad address.
pub(super) fn gather(t: &Task, segments: &[Segment], skip: u64, buf: &mut [u8]) -> usize {
    let (mut skip, mut done) = (skip, 0);
    for &(base, len) in segments {
        if skip >= len {
            skip -= len;
            continue;
        }
        let count = ((len - skip).min((buf.len() - done) as u64)) as usize;
        let copied = copy_in_partly(t, base.wrapping_add(skip), &mut buf[done..done + count]);
        done += copied;
        if copied < count || done == buf.len() {
            break;
        }
        skip = 0;
    }
    done
}

/// Bytes from `address` to the end of its page.
fn to_page_end(address: u64) -> usize {
    4096 - (address % 4096) as usize
}

fn copy_out_partly(t: &Task, address: u64, bytes: &[u8]) -> usize {
    if t.write_memory(address, bytes).is_ok() {
        return bytes.len();
    }
    let mut done = 0;
    while done < bytes.len() {
        let here = address.wrapping_add(done as u64);
        let count = to_page_end(here).min(bytes.len() - done);
        if t.write_memory(here, &bytes[done..done + count]).is_err() {
            break;
        }
        done += count;
    }
    done
}

fn copy_in_partly(t: &Task, address: u64, buf: &mut [u8]) -> usize {
    if t.read_memory(address, buf).is_ok() {
        return buf.len();
    }
    let mut done = 0;
    while done < buf.len() {
        let here = address.wrapping_add(done as u64);
        let count = to_page_end(here).min(buf.len() - done);
        if t.read_memory(here, &mut buf[done..done + count]).is_err() {
            break;
        }
        done += count;
    }
    done
}

/// How an operation on `file` that gave `errno` goes on: waiting, or failing.
/// `write` says which of a socket's timeouts counts.
pub(super) fn wait_or_fail(
    k: &Kernel,
    t: &Task,
    file: &OpenFile,
    errno: Errno,
    nowait: bool,
    write: bool,
) -> Stop {
    match errno {
        Errno::NOT_HERE_YET => {
            let _ = file.file.poll(Some(t.waker()));
            Block::uninterruptible()
        }
        Errno::EAGAIN if !nowait && !file.flags.get().contains(OpenFlags::NONBLOCK) => {
            let timeout = file
                .file
                .as_any()
                .downcast_ref::<SocketFile>()
                .and_then(|socket| socket.timeout(write));
            let Some(timeout) = timeout else {
                let _ = file.file.poll(Some(t.waker()));
                return Block::restartable();
            };
            let deadline = t.syscall.deadline_or(|| Some(k.clock.now().plus(timeout)));
            if deadline.is_some_and(|deadline| deadline <= k.clock.now()) {
                return Stop::Errno(Errno::EAGAIN);
            }
            let _ = file.file.poll(Some(t.waker()));
            Stop::Block(Block {
                deadline,
                restart: Restart::Never,
            })
        }
        errno => Stop::Errno(errno),
    }
}

/// Tells watchers that bytes were read or written.
pub(super) fn note_access(k: &Kernel, file: &OpenFile, count: u64, event: u32) {
    if k.watched.get()
        && count > 0
        && let Some(path) = &file.path
    {
        notify::tell_both(&path.dentry, event);
    }
}

/// `read(2)` and its kin.
pub(super) fn read_file(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    file: &Rc<OpenFile>,
    segments: &[Segment],
    place: Place,
) -> SysResult {
    if !file.flags.get().readable() {
        return Err(Errno::EBADF.into());
    }
    let total = segments
        .iter()
        .map(|&(_, len)| len)
        .sum::<u64>()
        .min(RW_MAX);
    let seekable = file.file.is_seekable();
    if place.at.is_some() && !seekable {
        return Err(Errno::ESPIPE.into());
    }
    sys_tty::before_read(k, t, file)?;
    let limit = if seekable { CHUNK } else { MESSAGE_MAX };
    let mut buf = k.take_scratch(total.min(limit as u64) as usize);
    let outcome = if seekable {
        read_positioned(t, file, segments, total, place, &mut buf)
    } else {
        let want = total.min(limit as u64) as usize;
        let outcome = sys_tty::read_stream(k, t, file, &mut buf[..want]);
        outcome.and_then(|count| match scatter(t, segments, 0, &buf[..count]) {
            0 if count > 0 => Err(Errno::EFAULT.into()),
            copied => Ok(copied as u64),
        })
    };
    k.put_scratch(buf);
    match outcome {
        Err(Stop::Errno(errno)) => Err(wait_or_fail(k, t, file, errno, place.nowait, false)),
        Ok(count) => {
            note_access(k, file, count, notify::event::ACCESS);
            crate::cgroup::io::count_read(k.clock.now(), t, file, count);
            Ok(count)
        }
        other => other,
    }
}

/// Reads a file with a position until the request is satisfied or the file ends.
fn read_positioned(
    t: &Task,
    file: &OpenFile,
    segments: &[Segment],
    total: u64,
    place: Place,
    buf: &mut [u8],
) -> SysResult {
    let start = place.at.unwrap_or_else(|| file.position.get());
    let mut done = 0;
    while done < total {
        let want = ((total - done) as usize).min(CHUNK);
        let count = match file.file.read_at(start + done, &mut buf[..want]) {
            Ok(count) => count,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno.into()),
        };
        let copied = scatter(t, segments, done, &buf[..count]);
        done += copied as u64;
        if copied < count {
            if done == 0 {
                return Err(Errno::EFAULT.into());
            }
            break;
        }
        if count < want {
            break;
        }
    }
    if place.at.is_none() {
        file.position.set(start + done);
    }
    Ok(done)
}

/// `write(2)` and its kin.
pub(super) fn write_file(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    file: &Rc<OpenFile>,
    segments: &[Segment],
    place: Place,
) -> SysResult {
    if !file.flags.get().writable() {
        return Err(Errno::EBADF.into());
    }
    let total = segments
        .iter()
        .map(|&(_, len)| len)
        .sum::<u64>()
        .min(RW_MAX);
    let seekable = file.file.is_seekable();
    if place.at.is_some() && !seekable {
        return Err(Errno::ESPIPE.into());
    }
    sys_tty::before_write(k, t, file)?;
    let is_message = file
        .file
        .as_any()
        .downcast_ref::<SocketFile>()
        .is_some_and(SocketFile::is_message);
    if is_message && total > MESSAGE_MAX as u64 {
        return Err(Errno::EMSGSIZE.into());
    }
    let chunk = if is_message { MESSAGE_MAX } else { CHUNK };
    let mut buf = k.take_scratch(total.min(chunk as u64) as usize);
    let outcome = if seekable {
        write_positioned(k, t, file, segments, total, place, &mut buf)
    } else {
        write_stream(k, t, file, segments, total, chunk, &mut buf)
    };
    k.put_scratch(buf);
    let result = finish_write(k, t, file, outcome, place.nowait);
    if let Ok(count) = result {
        note_access(k, file, count, notify::event::MODIFY);
        crate::cgroup::io::count_write(k.clock.now(), t, file, count);
    }
    result
}

/// What a write that stopped early gives, and the signal that goes with it.
pub(super) fn finish_write(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    file: &OpenFile,
    outcome: SysResult,
    nowait: bool,
) -> SysResult {
    let Err(Stop::Errno(errno)) = outcome else {
        return outcome;
    };
    let done = t.syscall.done.get();
    match errno {
        Errno::EPIPE => {
            k.signal_task(t, SigInfo::kernel(SIGPIPE))?;
            if done > 0 {
                Ok(done)
            } else {
                Err(errno.into())
            }
        }
        Errno::EFBIG => {
            k.signal_task(t, SigInfo::kernel(SIGXFSZ))?;
            Err(errno.into())
        }
        errno => match wait_or_fail(k, t, file, errno, nowait, true) {
            // What has been written cannot be taken back: a signal or an error now leaves a short write.
            Stop::Block(block)
                if done > 0 && block.restart != Restart::Uninterruptible && t.signal_pending() =>
            {
                Ok(done)
            }
            Stop::Errno(_) if done > 0 => Ok(done),
            stop => Err(stop),
        },
    }
}

fn write_stream(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    file: &OpenFile,
    segments: &[Segment],
    total: u64,
    chunk: usize,
    buf: &mut [u8],
) -> SysResult {
    let mut done = t.syscall.done.get();
    loop {
        let want = ((total - done) as usize).min(chunk);
        let have = gather(t, segments, done, &mut buf[..want]);
        if have == 0 && want > 0 {
            return if done > 0 {
                Ok(done)
            } else {
                Err(Errno::EFAULT.into())
            };
        }
        let count = match file.file.as_any().downcast_ref::<SocketFile>() {
            // A socket wants to know who sends: SO_PASSCRED, netlink.
            Some(socket) => socket.send(Caller { k, t }, &buf[..have])?,
            None => file.file.write_at(0, &buf[..have])?,
        };
        done += count as u64;
        t.syscall.done.set(done);
        if done >= total || count == 0 || have < want {
            return Ok(done);
        }
    }
}

fn write_positioned(
    k: &Kernel,
    t: &Rc<Task>,
    file: &OpenFile,
    segments: &[Segment],
    total: u64,
    place: Place,
    buf: &mut [u8],
) -> SysResult {
    let inode = file.inode();
    let append = place.append || file.flags.get().contains(OpenFlags::APPEND);
    let mut start = place.at.unwrap_or_else(|| file.position.get());
    if let Some(inode) = &inode {
        let attr = inode.attr()?;
        if append {
            start = attr.size;
        }
        if attr.mode & 0o6000 != 0 && attr.file_type() == S_IFREG && total > 0 {
            let perm = k.with_fs(t, |fs| fs.stripped_mode(&attr));
            if perm.is_some() {
                inode.set_attr(&SetAttr {
                    perm,
                    ..SetAttr::default()
                })?;
            }
        }
    }
    let end = t.group.limits.soft(RLIMIT_FSIZE).min(i64::MAX as u64);
    if start >= end && total > 0 {
        return Err(Errno::EFBIG.into());
    }
    let total = total.min(end - start.min(end));
    let mut done = t.syscall.done.get();
    while done < total {
        let want = ((total - done) as usize).min(CHUNK);
        let have = gather(t, segments, done, &mut buf[..want]);
        if have == 0 {
            if done == 0 {
                return Err(Errno::EFAULT.into());
            }
            break;
        }
        let count = match file.file.write_at(start + done, &buf[..have]) {
            Ok(count) => count,
            Err(errno) if done == 0 || errno == Errno::NOT_HERE_YET => {
                t.syscall.done.set(done);
                return Err(errno.into());
            }
            Err(_) => break,
        };
        done += count as u64;
        if count < want {
            break;
        }
    }
    if place.at.is_none() {
        file.position.set(start + done);
    }
    Ok(done)
}

fn sys_read(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().get(a[0] as i32)?;
    read_file(k, t, &file, &[(a[1], length(a[2])?)], Place::default())
}

fn sys_write(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().get(a[0] as i32)?;
    write_file(k, t, &file, &[(a[1], length(a[2])?)], Place::default())
}

/// A byte count; those that are negative as `ssize_t` are refused.
fn length(count: u64) -> Result<u64> {
    if count > i64::MAX as u64 {
        Err(Errno::EINVAL)
    } else {
        Ok(count.min(RW_MAX))
    }
}

/// A position; negative ones are refused.
fn position(offset: u64) -> Result<u64> {
    if offset > i64::MAX as u64 {
        Err(Errno::EINVAL)
    } else {
        Ok(offset)
    }
}

fn sys_readv(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().get(a[0] as i32)?;
    read_file(
        k,
        t,
        &file,
        &read_segments(t, a[1], a[2])?,
        Place::default(),
    )
}

fn sys_writev(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().get(a[0] as i32)?;
    write_file(
        k,
        t,
        &file,
        &read_segments(t, a[1], a[2])?,
        Place::default(),
    )
}

fn sys_pread64(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let place = Place {
        at: Some(position(a[3])?),
        ..Place::default()
    };
    let file = t.files().get(a[0] as i32)?;
    read_file(k, t, &file, &[(a[1], length(a[2])?)], place)
}

fn sys_pwrite64(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let place = Place {
        at: Some(position(a[3])?),
        ..Place::default()
    };
    let file = t.files().get(a[0] as i32)?;
    write_file(k, t, &file, &[(a[1], length(a[2])?)], place)
}

fn sys_preadv(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let place = Place {
        at: Some(position(a[3])?),
        ..Place::default()
    };
    let file = t.files().get(a[0] as i32)?;
    read_file(k, t, &file, &read_segments(t, a[1], a[2])?, place)
}

fn sys_pwritev(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let place = Place {
        at: Some(position(a[3])?),
        ..Place::default()
    };
    let file = t.files().get(a[0] as i32)?;
    write_file(k, t, &file, &read_segments(t, a[1], a[2])?, place)
}

/// The position and flags of `preadv2`: -1 is the file's own position.
fn place_with_flags(a: &[u64; 6]) -> Result<Place> {
    if a[5] & !(RWF_NOWAIT | RWF_APPEND | RWF_HINTS) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let at = if a[3] == u64::MAX {
        None
    } else {
        Some(position(a[3])?)
    };
    Ok(Place {
        at,
        nowait: a[5] & RWF_NOWAIT != 0,
        append: a[5] & RWF_APPEND != 0,
    })
}

fn sys_preadv2(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let place = place_with_flags(a)?;
    let file = t.files().get(a[0] as i32)?;
    read_file(k, t, &file, &read_segments(t, a[1], a[2])?, place)
}

fn sys_pwritev2(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let place = place_with_flags(a)?;
    let file = t.files().get(a[0] as i32)?;
    write_file(k, t, &file, &read_segments(t, a[1], a[2])?, place)
}

fn sys_lseek(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().get(a[0] as i32)?;
    if file.flags.get().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF.into());
    }
    if !file.file.is_seekable() {
        return Err(Errno::ESPIPE.into());
    }
    let offset = a[1] as i64;
    let size = || {
        file.inode()
            .map_or(Ok(0), |inode| inode.attr().map(|attr| attr.size))
    };
    let target = match a[2] {
        0 => Some(offset),
        1 => (file.position.get() as i64).checked_add(offset),
        2 => (size()? as i64).checked_add(offset),
        3 | 4 if offset < 0 => return Err(Errno::ENXIO.into()),
        3 | 4 => match file.inode() {
            Some(inode) => Some(inode.seek_data(offset as u64, a[2] == 3)? as i64),
            None => return Err(Errno::EINVAL.into()),
        },
        _ => return Err(Errno::EINVAL.into()),
    };
    let target = target.ok_or(Errno::EINVAL)?;
    let target = u64::try_from(target).map_err(|_| Errno::EINVAL)?;
    let position = file.file.seek_to(target)?;
    file.position.set(position);
    Ok(position)
}

/// `d_type` of the type bits of a mode.
fn dirent_type(file_type: u32) -> u8 {
    (file_type >> 12) as u8
}

/// Cursor of a directory as programs see it: 0 is `.`, 1 is `..`, then the file system's own plus 2.
fn sys_getdents64(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().get(a[0] as i32)?;
    let Some(path) = &file.path else {
        return Err(Errno::ENOTDIR.into());
    };
    if file.flags.get().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF.into());
    }
    let attr = path.inode().attr()?;
    if !attr.is_dir() {
        return Err(Errno::ENOTDIR.into());
    }
    if path.dentry.is_deleted() {
        return Err(Errno::ENOENT.into());
    }
    let capacity = (a[2] as u32 as usize).min(CHUNK);
    let mut buf = k.take_scratch(capacity);
    let mut listing = Listing {
        buf: &mut buf[..capacity],
        used: 0,
        cursor: file.position.get(),
        full: false,
    };
    let outcome = (|| {
        if listing.cursor == 0 {
            listing.push(b".", attr.ino, S_IFDIR, 1);
        }
        if listing.cursor == 1 && !listing.full {
            let up = path.up().unwrap_or_else(|| path.clone());
            listing.push(b"..", up.inode().attr()?.ino, S_IFDIR, 2);
        }
        if listing.cursor >= 2 && !listing.full {
            let start = listing.cursor - 2;
            file.file.read_dir(start, &mut |entry| {
                listing.push(
                    entry.name,
                    entry.ino,
                    entry.file_type,
                    entry.next.saturating_add(2),
                )
            })?;
        }
        Ok::<(), Errno>(())
    })();
    let (used, cursor, full) = (listing.used, listing.cursor, listing.full);
    let outcome = match outcome {
        Err(errno) if used == 0 => Err(wait_or_fail(k, t, &file, errno, false, false)),
        _ if used == 0 && full => Err(Errno::EINVAL.into()),
        _ => t
            .write_memory(a[1], &buf[..used])
            .map(|()| used as u64)
            .map_err(Stop::from),
    };
    k.put_scratch(buf);
    if outcome.is_ok() {
        file.position.set(cursor);
    }
    outcome
}

/// `struct linux_dirent64`s as far as they fit.
struct Listing<'a> {
    buf: &'a mut [u8],
    used: usize,
    cursor: u64,
    full: bool,
}

impl Listing<'_> {
    fn push(&mut self, name: &[u8], ino: u64, file_type: u32, next: u64) -> bool {
        let len = (19 + name.len() + 1).next_multiple_of(8);
        let Some(record) = self.buf.get_mut(self.used..self.used + len) else {
            self.full = true;
            return false;
        };
        record.fill(0);
        record[..8].copy_from_slice(&ino.to_le_bytes());
        record[8..16].copy_from_slice(&next.to_le_bytes());
        record[16..18].copy_from_slice(&(len as u16).to_le_bytes());
        record[18] = dirent_type(file_type);
        record[19..19 + name.len()].copy_from_slice(name);
        self.used += len;
        self.cursor = next;
        true
    }
}
