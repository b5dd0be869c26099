//! System calls: making sure content is kept, reserving room for it, advice about it.
//!
//! Everything a file system here holds is as safe as it will ever be, so syncing has nothing to do but to
//! check its arguments.

use std::rc::Rc;

use abi::Errno;
use vfs::file::OpenFlags;
use vfs::inode::{S_IFDIR, S_IFIFO, S_IFREG};

use super::SysResult;
use super::table::{Arg, Row};
use crate::kernel::Kernel;
use crate::task::Task;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(
        47,
        "fallocate",
        sys_fallocate,
        &[Arg::Fd, Arg::Hex, Arg::Int, Arg::Int],
    ),
    Row::full(81, "sync", sys_sync, &[]),
    Row::full(82, "fsync", sys_fsync, &[Arg::Fd]),
    Row::full(83, "fdatasync", sys_fsync, &[Arg::Fd]),
    Row::full(
        84,
        "sync_file_range",
        sys_sync_file_range,
        &[Arg::Fd, Arg::Int, Arg::Int, Arg::Hex],
    ),
    Row::full(
        213,
        "readahead",
        sys_readahead,
        &[Arg::Fd, Arg::Int, Arg::Uint],
    ),
    Row::full(
        223,
        "fadvise64",
        sys_fadvise64,
        &[Arg::Fd, Arg::Int, Arg::Int, Arg::Int],
    ),
    Row::full(267, "syncfs", sys_syncfs, &[Arg::Fd]),
];

fn sys_sync(_: &Rc<Kernel>, _: &Rc<Task>, _: &[u64; 6]) -> SysResult {
    Ok(0)
}

fn sys_fsync(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().get(a[0] as i32)?;
    if file.flags.get().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF.into());
    }
    // Pipes, sockets and terminals have nothing that could be synced.
    if file.file.always_ready() && file.path.is_some() {
        Ok(0)
    } else {
        Err(Errno::EINVAL.into())
    }
}

fn sys_syncfs(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().get(a[0] as i32)?;
    if file.flags.get().contains(OpenFlags::PATH) {
        Err(Errno::EBADF.into())
    } else {
        Ok(0)
    }
}

fn sys_sync_file_range(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().get(a[0] as i32)?;
    if a[3] & !7 != 0 || a[1] > i64::MAX as u64 || a[2] > i64::MAX as u64 {
        return Err(Errno::EINVAL.into());
    }
    if file.file.is_seekable() {
        Ok(0)
    } else {
        Err(Errno::ESPIPE.into())
    }
}

fn sys_readahead(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().get(a[0] as i32)?;
    if !file.flags.get().readable() {
        return Err(Errno::EBADF.into());
    }
    let inode = file.inode().ok_or(Errno::EINVAL)?;
    if inode.attr()?.file_type() != S_IFREG {
        return Err(Errno::EINVAL.into());
    }
    // Asks for what is not in the machine yet; nobody waits for it.
    let _ = inode.ensure_content(a[1], a[2]);
    Ok(0)
}

fn sys_fadvise64(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    const WILLNEED: u64 = 3;
    let file = t.files().get(a[0] as i32)?;
    if super::sys_stat::stat_file(&file)?.attr.file_type() == S_IFIFO {
        return Err(Errno::ESPIPE.into());
    }
    if a[3] > 5 || a[2] > i64::MAX as u64 {
        return Err(Errno::EINVAL.into());
    }
    if a[3] == WILLNEED
        && let Some(inode) = file.inode()
    {
        let len = if a[2] == 0 { u64::MAX } else { a[2] };
        let _ = inode.ensure_content(a[1], len);
    }
    Ok(0)
}

fn sys_fallocate(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    const KEEP_SIZE: u32 = 1;
    let file = t.files().get(a[0] as i32)?;
    let (offset, len) = (a[2], a[3]);
    if offset > i64::MAX as u64 || len > i64::MAX as u64 || len == 0 {
        return Err(Errno::EINVAL.into());
    }
    if !file.flags.get().writable() {
        return Err(Errno::EBADF.into());
    }
    let path = file.path.as_ref().ok_or(Errno::ESPIPE)?;
    let inode = path.inode();
    match inode.attr()?.file_type() {
        S_IFREG => {}
        S_IFDIR => return Err(Errno::EISDIR.into()),
        S_IFIFO => return Err(Errno::ESPIPE.into()),
        _ => return Err(Errno::ENODEV.into()),
    }
    let end = offset
        .checked_add(len)
        .filter(|&end| end <= i64::MAX as u64)
        .ok_or(Errno::EFBIG)?;
    let mode = a[1] as u32;
    if mode & KEEP_SIZE == 0 {
        super::sys_file::check_file_size(k, t, end)?;
        if end > inode.attr()?.size {
            crate::memfd::check_resize(path, end)?;
        }
    }
    inode.allocate(mode, offset, len)?;
    Ok(0)
}
