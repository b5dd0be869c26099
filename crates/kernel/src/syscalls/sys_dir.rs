//! System calls: names in directories.

use std::rc::Rc;

use abi::Errno;
use vfs::walk::LookupFlags;

use super::SysResult;
use super::sys_file::{AT_EMPTY_PATH, base_of};
use super::table::{Arg, Row};
use crate::kernel::Kernel;
use crate::task::Task;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(
        33,
        "mknodat",
        sys_mknodat,
        &[Arg::DirFd, Arg::Path, Arg::Mode, Arg::Hex],
    ),
    Row::full(
        34,
        "mkdirat",
        sys_mkdirat,
        &[Arg::DirFd, Arg::Path, Arg::Mode],
    ),
    Row::full(
        35,
        "unlinkat",
        sys_unlinkat,
        &[Arg::DirFd, Arg::Path, Arg::Hex],
    ),
    Row::full(
        36,
        "symlinkat",
        sys_symlinkat,
        &[Arg::Path, Arg::DirFd, Arg::Path],
    ),
    Row::full(
        37,
        "linkat",
        sys_linkat,
        &[Arg::DirFd, Arg::Path, Arg::DirFd, Arg::Path, Arg::Hex],
    ),
    Row::full(
        78,
        "readlinkat",
        sys_readlinkat,
        &[Arg::DirFd, Arg::Path, Arg::OutBuf, Arg::Uint],
    ),
    Row::full(
        276,
        "renameat2",
        sys_renameat2,
        &[Arg::DirFd, Arg::Path, Arg::DirFd, Arg::Path, Arg::Hex],
    ),
];

/// `AT_REMOVEDIR`.
const AT_REMOVEDIR: u64 = 0x200;
/// `AT_SYMLINK_FOLLOW`.
const AT_SYMLINK_FOLLOW: u64 = 0x400;

fn sys_mknodat(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let name = t.read_path(a[1])?;
    let base = base_of(t, a[0], &name)?;
    k.with_fs(t, |fs| {
        fs.mknod(
            base.as_ref(),
            &name,
            a[2] as u32 & 0o177_777,
            a[3] & 0xffff_ffff,
        )
    })?;
    Ok(0)
}

fn sys_mkdirat(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let name = t.read_path(a[1])?;
    let base = base_of(t, a[0], &name)?;
    k.with_fs(t, |fs| fs.mkdir(base.as_ref(), &name, a[2] as u32 & 0o7777))?;
    Ok(0)
}

fn sys_unlinkat(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    if a[2] & !AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL.into());
    }
    let name = t.read_path(a[1])?;
    let base = base_of(t, a[0], &name)?;
    k.with_fs(t, |fs| {
        if a[2] & AT_REMOVEDIR != 0 {
            fs.rmdir(base.as_ref(), &name)
        } else {
            fs.unlink(base.as_ref(), &name)
        }
    })?;
    Ok(0)
}

fn sys_symlinkat(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let target = t.read_path(a[0])?;
    let name = t.read_path(a[2])?;
    let base = base_of(t, a[1], &name)?;
    k.with_fs(t, |fs| fs.symlink(&target, base.as_ref(), &name))?;
    Ok(0)
}

fn sys_linkat(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    if a[4] & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let old = t.read_path(a[1])?;
    let new = t.read_path(a[3])?;
    if old.is_empty() && a[4] & AT_EMPTY_PATH == 0 {
        return Err(Errno::ENOENT.into());
    }
    let old_base = base_of(t, a[0], &old)?;
    let new_base = base_of(t, a[2], &new)?;
    k.with_fs(t, |fs| {
        fs.link(
            old_base.as_ref(),
            &old,
            new_base.as_ref(),
            &new,
            a[4] & AT_SYMLINK_FOLLOW != 0,
        )
    })?;
    Ok(0)
}

fn sys_readlinkat(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    if a[3] as i32 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let name = t.read_path(a[1])?;
    let base = base_of(t, a[0], &name)?;
    let target = k.with_fs(t, |fs| {
        let path = fs.resolve_with(base.as_ref(), &name, LookupFlags::EMPTY_PATH)?;
        match fs.read_link_at(&path) {
            // readlinkat(2): an empty path that is no link is not found.
            Err(Errno::EINVAL) if name.is_empty() => Err(Errno::ENOENT),
            other => other,
        }
    })?;
    let count = target.len().min(a[3] as i32 as usize);
    t.write_memory(a[2], &target[..count])?;
    Ok(count as u64)
}

fn sys_renameat2(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let old = t.read_path(a[1])?;
    let new = t.read_path(a[3])?;
    let old_base = base_of(t, a[0], &old)?;
    let new_base = base_of(t, a[2], &new)?;
    k.with_fs(t, |fs| {
        fs.rename(
            old_base.as_ref(),
            &old,
            new_base.as_ref(),
            &new,
            a[4] as u32,
        )
    })?;
    Ok(0)
}
