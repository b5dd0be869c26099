//! System calls: opening and closing, duplicating, `fcntl`, the working directory.

use std::rc::Rc;

use abi::signal::{SIGXFSZ, SigInfo};
use abi::{Errno, Result};
use vfs::file::{OpenFile, OpenFlags};
use vfs::path::Path;
use vfs::walk::LookupFlags;

use super::table::{Arg, Row};
use super::{Block, SysResult, sys_lock};
use crate::fifo::PeerCount;
use crate::kernel::Kernel;
use crate::pipe::PipeEnd;
use crate::task::{RLIMIT_FSIZE, Task};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(17, "getcwd", sys_getcwd, &[Arg::Ptr, Arg::Uint]),
    Row::full(23, "dup", sys_dup, &[Arg::Fd]),
    Row::full(24, "dup3", sys_dup3, &[Arg::Fd, Arg::Fd, Arg::OpenFlags]),
    Row::partial(
        25,
        "fcntl",
        sys_fcntl,
        &[Arg::Fd, Arg::Int, Arg::Hex],
        "no leases, no F_NOTIFY; F_SETOWN is kept but SIGIO is not sent",
    ),
    Row::full(49, "chdir", sys_chdir, &[Arg::Path]),
    Row::full(50, "fchdir", sys_fchdir, &[Arg::Fd]),
    Row::full(51, "chroot", sys_chroot, &[Arg::Path]),
    Row::full(
        56,
        "openat",
        sys_openat,
        &[Arg::DirFd, Arg::Path, Arg::OpenFlags, Arg::Mode],
    ),
    Row::full(57, "close", sys_close, &[Arg::Fd]),
    Row::full(166, "umask", sys_umask, &[Arg::Mode]),
    Row::full(
        436,
        "close_range",
        sys_close_range,
        &[Arg::Fd, Arg::Fd, Arg::Hex],
    ),
    Row::full(
        437,
        "openat2",
        sys_openat2,
        &[Arg::DirFd, Arg::Path, Arg::Ptr, Arg::Uint],
    ),
];

/// `AT_FDCWD`.
pub(super) const AT_FDCWD: i32 = -100;
/// `AT_SYMLINK_NOFOLLOW`.
pub(super) const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
/// `AT_EMPTY_PATH`.
pub(super) const AT_EMPTY_PATH: u64 = 0x1000;

/// Where a path relative to `dirfd` starts; `None` is the working directory. An absolute path does not
/// look at `dirfd`.
pub(super) fn base_of(t: &Task, dirfd: u64, path: &[u8]) -> Result<Option<Path>> {
    if dirfd as i32 == AT_FDCWD || path.first() == Some(&b'/') {
        return Ok(None);
    }
    let file = t.files().get(dirfd as i32)?;
    file.path.clone().map(Some).ok_or(Errno::ENOTDIR)
}

/// The place of an open file that may be changed through it; `None` for pipes, sockets and their like.
pub(super) fn path_of(file: &OpenFile) -> Result<Option<Path>> {
    if file.flags.get().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    Ok(file.path.clone())
}

/// Resolves the path of an `…at` call with its `AT_…` flags. `None`: the descriptor of an anonymous file.
pub(super) fn at_path(
    k: &Kernel,
    t: &Task,
    dirfd: u64,
    path: &[u8],
    flags: u64,
) -> Result<Option<Path>> {
    if path.is_empty() && flags & AT_EMPTY_PATH != 0 {
        if dirfd as i32 == AT_FDCWD {
            return Ok(Some(t.fs().cwd()));
        }
        return Ok(t.files().get(dirfd as i32)?.path.clone());
    }
    let base = base_of(t, dirfd, path)?;
    k.with_fs(t, |fs| {
        fs.resolve(base.as_ref(), path, flags & AT_SYMLINK_NOFOLLOW == 0)
    })
    .map(Some)
}

/// `EFBIG` and SIGXFSZ when a file may not become that large (`RLIMIT_FSIZE`).
pub(super) fn check_file_size(k: &Kernel, t: &Rc<Task>, size: u64) -> Result<()> {
    if size > t.group.limits.soft(RLIMIT_FSIZE) {
        k.signal_task(t, SigInfo::kernel(SIGXFSZ))?;
        return Err(Errno::EFBIG);
    }
    Ok(())
}

/// Gives an open file a descriptor.
pub(super) fn install(t: &Task, file: Rc<OpenFile>, cloexec: bool) -> Result<u64> {
    t.files()
        .insert(file, cloexec, t.nofile())
        .map(|fd| fd as u64)
}

fn sys_openat(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    open(
        k,
        t,
        a[0],
        a[1],
        OpenFlags::from_bits_truncate(a[2] as u32),
        a[3] as u32 & 0o7777,
        LookupFlags::empty(),
    )
}

/// A FIFO that is being opened, until the other end is there.
struct OpeningFifo {
    file: Rc<OpenFile>,
    peers: PeerCount,
}

fn open(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    dirfd: u64,
    path: u64,
    flags: OpenFlags,
    mode: u32,
    resolve: LookupFlags,
) -> SysResult {
    let cloexec = flags.contains(OpenFlags::CLOEXEC);
    let waiting = t.syscall.data.borrow_mut().take();
    if let Some(fifo) = waiting.and_then(|data| data.downcast::<OpeningFifo>().ok()) {
        return finish_fifo(t, *fifo, cloexec);
    }
    let name = t.read_path(path)?;
    let base = base_of(t, dirfd, &name)?;
    let file = k.with_fs(t, |fs| {
        fs.open_with(base.as_ref(), &name, flags, mode, resolve)
    })?;
    if let Some(end) = file.file.as_any().downcast_ref::<PipeEnd>()
        && !flags.contains(OpenFlags::NONBLOCK)
        && file
            .inode()
            .is_some_and(|inode| crate::fifo::is_fifo_of(&inode, end))
    {
        let peers = PeerCount::of(end);
        return finish_fifo(t, OpeningFifo { file, peers }, cloexec);
    }
    if flags.contains(OpenFlags::TRUNC)
        && let Some(inode) = file.inode()
    {
        k.file_was_cut(&inode, 0);
    }
    if super::sys_tty::is_exclusive(&file) && !k.capable(t, vfs::Capability::SysAdmin) {
        return Err(Errno::EBUSY.into());
    }
    super::sys_tty::opened(t, &file, flags);
    Ok(install(t, file, cloexec)?)
}

/// A blocking open of a FIFO waits for the other end.
fn finish_fifo(t: &Rc<Task>, fifo: OpeningFifo, cloexec: bool) -> SysResult {
    if let Some(end) = fifo.file.file.as_any().downcast_ref::<PipeEnd>()
        && !fifo.peers.is_met(end)
    {
        end.pipe.wait_for_peer(t.waker());
        *t.syscall.data.borrow_mut() = Some(Box::new(fifo));
        return Err(Block::restartable());
    }
    Ok(install(t, fifo.file, cloexec)?)
}

/// `struct open_how` and its `RESOLVE_…` bits.
fn sys_openat2(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    if a[3] < 24 {
        return Err(Errno::EINVAL.into());
    }
    if a[3] > 24 {
        // A newer caller: what we do not know must be zero.
        let mut rest = vec![0; (a[3] - 24).min(4096) as usize];
        t.read_memory(a[2].wrapping_add(24), &mut rest)?;
        if rest.iter().any(|&byte| byte != 0) {
            return Err(Errno::E2BIG.into());
        }
    }
    let mut raw = [0; 24];
    t.read_memory(a[2], &mut raw)?;
    let word = |at: usize| u64::from_le_bytes(raw[at..at + 8].try_into().unwrap_or_default());
    let (flags, mode, resolve) = (word(0), word(8), word(16));
    let known = u64::from(OpenFlags::all().bits());
    let creates = flags
        & u64::from((OpenFlags::CREAT | OpenFlags::TMPFILE).bits() & !OpenFlags::DIRECTORY.bits())
        != 0;
    if flags & !known != 0 || mode & !0o7777 != 0 || mode != 0 && !creates || resolve & !0x3f != 0 {
        return Err(Errno::EINVAL.into());
    }
    if resolve & 0x20 != 0 {
        // RESOLVE_CACHED: nothing is ever certain to be in the cache.
        return Err(Errno::EAGAIN.into());
    }
    let bits = [
        (1, LookupFlags::NO_XDEV),
        (2, LookupFlags::NO_MAGICLINKS),
        (4, LookupFlags::NO_SYMLINKS),
        (8, LookupFlags::BENEATH),
        (16, LookupFlags::IN_ROOT),
    ];
    let mut how = LookupFlags::empty();
    for (bit, flag) in bits {
        how.set(flag, resolve & bit != 0);
    }
    if how.contains(LookupFlags::BENEATH | LookupFlags::IN_ROOT) {
        return Err(Errno::EINVAL.into());
    }
    open(
        k,
        t,
        a[0],
        a[1],
        OpenFlags::from_bits_truncate(flags as u32),
        mode as u32,
        how,
    )
}

/// What closing a descriptor does beside dropping it: POSIX record locks of the process go.
fn closed(k: &Kernel, t: &Task, file: Rc<OpenFile>) {
    sys_lock::descriptor_closed(k, t, &file);
    drop(file);
}

fn sys_close(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().remove(a[0] as i32)?;
    closed(k, t, file);
    Ok(0)
}

fn sys_close_range(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    const UNSHARE: u64 = 2;
    const CLOEXEC: u64 = 4;
    let (first, last) = (a[0] as u32, a[1] as u32);
    if first > last || a[2] & !(UNSHARE | CLOEXEC) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if a[2] & UNSHARE != 0 {
        t.set_files(Rc::new(t.files().fork()));
    }
    let files = t.files();
    if a[2] & CLOEXEC != 0 {
        files.set_cloexec_range(first, last);
    } else {
        for file in files.take_range(first, last) {
            closed(k, t, file);
        }
    }
    Ok(0)
}

fn sys_dup(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().get(a[0] as i32)?;
    Ok(install(t, file, false)?)
}

fn sys_dup3(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let flags = a[2] as u32;
    if flags & !OpenFlags::CLOEXEC.bits() != 0 || a[0] as i32 == a[1] as i32 {
        return Err(Errno::EINVAL.into());
    }
    let files = t.files();
    let file = files.get(a[0] as i32)?;
    let old = files.replace(a[1] as i32, file, flags != 0, t.nofile())?;
    if let Some(old) = old {
        closed(k, t, old);
    }
    Ok(a[1] as u32 as u64)
}

/// `fcntl(2)` commands.
mod command {
    pub const DUPFD: u64 = 0;
    pub const GETFD: u64 = 1;
    pub const SETFD: u64 = 2;
    pub const GETFL: u64 = 3;
    pub const SETFL: u64 = 4;
    pub const GETLK: u64 = 5;
    pub const SETLKW: u64 = 7;
    pub const SETOWN: u64 = 8;
    pub const GETOWN: u64 = 9;
    pub const SETSIG: u64 = 10;
    pub const GETSIG: u64 = 11;
    pub const SETOWN_EX: u64 = 15;
    pub const GETOWN_EX: u64 = 16;
    pub const OFD_GETLK: u64 = 36;
    pub const OFD_SETLKW: u64 = 38;
    pub const GETLEASE: u64 = 1025;
    pub const DUPFD_QUERY: u64 = 1027;
    pub const DUPFD_CLOEXEC: u64 = 1030;
    pub const SETPIPE_SZ: u64 = 1031;
    pub const GETPIPE_SZ: u64 = 1032;
    pub const ADD_SEALS: u64 = 1033;
    pub const GET_SEALS: u64 = 1034;
}

fn sys_fcntl(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    use command as c;
    let (fd, argument) = (a[0] as i32, a[2]);
    let files = t.files();
    let file = files.get(fd)?;
    let path_only = [
        c::DUPFD,
        c::DUPFD_CLOEXEC,
        c::GETFD,
        c::SETFD,
        c::GETFL,
        c::DUPFD_QUERY,
    ];
    if file.flags.get().contains(OpenFlags::PATH) && !path_only.contains(&a[1]) {
        return Err(Errno::EBADF.into());
    }
    Ok(match a[1] {
        c::DUPFD | c::DUPFD_CLOEXEC => {
            if argument >= t.nofile() {
                return Err(Errno::EINVAL.into());
            }
            files.insert_from(argument as u32, file, a[1] == c::DUPFD_CLOEXEC, t.nofile())? as u64
        }
        c::GETFD => u64::from(files.entry(fd)?.cloexec),
        c::SETFD => {
            files.set_cloexec(fd, argument & 1 != 0)?;
            0
        }
        c::GETFL => u64::from((file.flags.get() | OpenFlags::LARGEFILE).bits()),
        c::SETFL => {
            let settable = OpenFlags::APPEND
                | OpenFlags::NONBLOCK
                | OpenFlags::ASYNC
                | OpenFlags::DIRECT
                | OpenFlags::NOATIME;
            set_flags(
                &file,
                settable,
                OpenFlags::from_bits_truncate(argument as u32),
            );
            0
        }
        c::GETLK..=c::SETLKW | c::OFD_GETLK..=c::OFD_SETLKW => {
            return sys_lock::fcntl_lock(k, t, &file, a[1], argument);
        }
        c::SETOWN => {
            file.owner.set(argument as i32);
            0
        }
        c::GETOWN => i64::from(file.owner.get()) as u64,
        c::SETOWN_EX => {
            let mut raw = [0; 8];
            t.read_memory(argument, &mut raw)?;
            let id = i32::from_le_bytes([raw[4], raw[5], raw[6], raw[7]]);
            file.owner.set(if raw[0] == 2 { -id } else { id });
            0
        }
        c::GETOWN_EX => {
            let owner = file.owner.get();
            let kind: i32 = if owner < 0 { 2 } else { 1 };
            let mut raw = [0; 8];
            raw[..4].copy_from_slice(&kind.to_le_bytes());
            raw[4..].copy_from_slice(&owner.abs().to_le_bytes());
            t.write_memory(argument, &raw)?;
            0
        }
        c::SETSIG | c::GETSIG => 0,
        // No lease: F_UNLCK.
        c::GETLEASE => 2,
        c::DUPFD_QUERY => u64::from(Rc::ptr_eq(&file, &files.get(argument as i32)?)),
        c::GETPIPE_SZ => pipe_of(&file)?.capacity() as u64,
        c::SETPIPE_SZ => pipe_of(&file)?
            .set_capacity(usize::try_from(argument as i32).map_err(|_| Errno::EINVAL)?)?
            as u64,
        c::ADD_SEALS => crate::memfd::add_seals(k, &file, argument as u32)?,
        c::GET_SEALS => crate::memfd::get_seals(&file)?,
        _ => return Err(Errno::EINVAL.into()),
    })
}

fn pipe_of(file: &OpenFile) -> Result<Rc<crate::pipe::Pipe>> {
    file.file
        .as_any()
        .downcast_ref::<PipeEnd>()
        .map(|end| Rc::clone(&end.pipe))
        .ok_or(Errno::EBADF)
}

/// Changes those status flags that are in `mask`.
pub(super) fn set_flags(file: &OpenFile, mask: OpenFlags, flags: OpenFlags) {
    let flags = (file.flags.get() - mask) | (flags & mask);
    file.flags.set(flags);
    file.file.set_flags(flags);
}

fn sys_getcwd(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let cwd = t.fs().cwd();
    if cwd.dentry.is_deleted() {
        return Err(Errno::ENOENT.into());
    }
    let mut name = k.with_fs(t, |fs| fs.absolute_name(&cwd));
    name.push(0);
    if (name.len() as u64) > a[1] {
        return Err(Errno::ERANGE.into());
    }
    t.write_memory(a[0], &name)?;
    Ok(name.len() as u64)
}

fn sys_chdir(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let name = t.read_path(a[0])?;
    let path = k.with_fs(t, |fs| fs.directory(None, &name))?;
    let old = t.fs().cwd.replace(path);
    drop(old);
    Ok(0)
}

fn sys_fchdir(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().get(a[0] as i32)?;
    let path = file.path.clone().ok_or(Errno::ENOTDIR)?;
    k.with_fs(t, |fs| fs.check_directory(&path))?;
    let old = t.fs().cwd.replace(path);
    drop(old);
    Ok(0)
}

fn sys_chroot(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let name = t.read_path(a[0])?;
    let path = k.with_fs(t, |fs| fs.directory(None, &name))?;
    t.require(vfs::Capability::SysChroot)?;
    let old = t.fs().root.replace(path);
    drop(old);
    Ok(0)
}

fn sys_umask(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    Ok(u64::from(t.fs().umask.replace(a[0] as u32 & 0o777)))
}
