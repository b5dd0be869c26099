//! System calls: watching files for changes (`inotify(7)`), and file handles, which are refused.

use std::rc::Rc;

use abi::Errno;
use vfs::file::{OpenFile, OpenFlags};

use super::SysResult;
use super::table::{Arg, Row};
use crate::inotify::{Inotify, flag};
use crate::kernel::Kernel;
use crate::task::Task;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(26, "inotify_init1", sys_inotify_init1, &[Arg::Hex]),
    Row::partial(
        27,
        "inotify_add_watch",
        sys_inotify_add_watch,
        &[Arg::Fd, Arg::Path, Arg::Hex],
        "no IN_UNMOUNT; IN_EXCL_UNLINK is taken and does nothing",
    ),
    Row::full(
        28,
        "inotify_rm_watch",
        sys_inotify_rm_watch,
        &[Arg::Fd, Arg::Int],
    ),
    Row::enosys(262, "fanotify_init", "as a kernel without CONFIG_FANOTIFY"),
    Row::enosys(263, "fanotify_mark", "as fanotify_init"),
    Row::enosys(
        264,
        "name_to_handle_at",
        "as a kernel without CONFIG_FHANDLE",
    ),
    Row::enosys(265, "open_by_handle_at", "as name_to_handle_at"),
];

fn sys_inotify_init1(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let flags = OpenFlags::from_bits_retain(a[0] as u32);
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    k.watched.set(true);
    let file = OpenFile::new(Inotify::new(), None, flags & OpenFlags::NONBLOCK);
    let cloexec = flags.contains(OpenFlags::CLOEXEC);
    Ok(super::sys_file::install(t, file, cloexec)?)
}

fn sys_inotify_add_watch(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let mask = a[2] as u32;
    if mask & vfs::notify::event::ALL == 0
        || mask & flag::MASK_ADD != 0 && mask & flag::MASK_CREATE != 0
    {
        return Err(Errno::EINVAL.into());
    }
    let file = t.files().get(a[0] as i32)?;
    let inotify = file.file.as_any().downcast_ref::<Inotify>();
    let inotify = inotify.ok_or(Errno::EINVAL)?;
    let name = t.read_path(a[1])?;
    let path = k.with_fs(t, |fs| {
        let path = fs.resolve(None, &name, mask & flag::DONT_FOLLOW == 0)?;
        if mask & flag::ONLYDIR != 0 && !path.inode().attr()?.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        fs.access_at(&path, vfs::credentials::MAY_READ)?;
        Ok(path)
    })?;
    Ok(inotify.add(&path, mask)? as u64)
}

fn sys_inotify_rm_watch(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().get(a[0] as i32)?;
    let inotify = file.file.as_any().downcast_ref::<Inotify>();
    inotify.ok_or(Errno::EINVAL)?.remove(a[1] as i32)?;
    Ok(0)
}
