//! System calls: attributes of files and file systems.

use std::rc::Rc;

use abi::{Errno, Result};
use vfs::context::{Stat, TimeChange};
use vfs::inode::{Attr, S_IFLNK, StatFs, Timestamp};
use vfs::walk::LookupFlags;

use super::SysResult;
use super::sys_file::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, at_path, base_of, path_of};
use super::table::{Arg, Row};
use crate::kernel::Kernel;
use crate::task::Task;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(43, "statfs", sys_statfs, &[Arg::Path, Arg::Ptr]),
    Row::full(44, "fstatfs", sys_fstatfs, &[Arg::Fd, Arg::Ptr]),
    Row::full(45, "truncate", sys_truncate, &[Arg::Path, Arg::Int]),
    Row::full(46, "ftruncate", sys_ftruncate, &[Arg::Fd, Arg::Int]),
    Row::full(
        48,
        "faccessat",
        sys_faccessat,
        &[Arg::DirFd, Arg::Path, Arg::Mode],
    ),
    Row::full(52, "fchmod", sys_fchmod, &[Arg::Fd, Arg::Mode]),
    Row::full(
        53,
        "fchmodat",
        sys_fchmodat,
        &[Arg::DirFd, Arg::Path, Arg::Mode],
    ),
    Row::full(
        54,
        "fchownat",
        sys_fchownat,
        &[Arg::DirFd, Arg::Path, Arg::Int, Arg::Int, Arg::Hex],
    ),
    Row::full(55, "fchown", sys_fchown, &[Arg::Fd, Arg::Int, Arg::Int]),
    Row::full(
        79,
        "newfstatat",
        sys_newfstatat,
        &[Arg::DirFd, Arg::Path, Arg::Ptr, Arg::Hex],
    ),
    Row::full(80, "fstat", sys_fstat, &[Arg::Fd, Arg::Ptr]),
    Row::full(
        88,
        "utimensat",
        sys_utimensat,
        &[Arg::DirFd, Arg::Path, Arg::Ptr, Arg::Hex],
    ),
    Row::full(
        291,
        "statx",
        sys_statx,
        &[Arg::DirFd, Arg::Path, Arg::Hex, Arg::Hex, Arg::Ptr],
    ),
    Row::full(
        439,
        "faccessat2",
        sys_faccessat2,
        &[Arg::DirFd, Arg::Path, Arg::Mode, Arg::Hex],
    ),
    Row::full(
        452,
        "fchmodat2",
        sys_fchmodat2,
        &[Arg::DirFd, Arg::Path, Arg::Mode, Arg::Hex],
    ),
];

/// `AT_NO_AUTOMOUNT`: nothing is mounted by itself here.
const AT_NO_AUTOMOUNT: u64 = 0x800;
/// `AT_EACCESS`.
const AT_EACCESS: u64 = 0x200;
/// `AT_STATX_SYNC_TYPE`: everything is always in sync.
const AT_STATX_SYNC: u64 = 0x6000;

/// Device of pipes, sockets and other files without a name.
const ANON_DEVICE: u64 = 15;

/// Attributes of an open file, also of one without a name.
pub(super) fn stat_file(file: &vfs::file::OpenFile) -> Result<Stat> {
    match &file.path {
        Some(path) => path.stat(),
        None => {
            let attr = file.file.anonymous_attr().unwrap_or(Attr {
                ino: 1,
                mode: 0o600,
                nlink: 1,
                blksize: 4096,
                ..Attr::default()
            });
            Ok(Stat {
                attr,
                dev: ANON_DEVICE,
                mount_id: 0,
            })
        }
    }
}

/// Little-endian fields one after the other.
struct Fields<'a>(&'a mut [u8], usize);

impl Fields<'_> {
    fn u64(&mut self, value: u64) -> &mut Self {
        self.0[self.1..self.1 + 8].copy_from_slice(&value.to_le_bytes());
        self.1 += 8;
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.0[self.1..self.1 + 4].copy_from_slice(&value.to_le_bytes());
        self.1 += 4;
        self
    }

    fn time(&mut self, time: Timestamp) -> &mut Self {
        self.u64(time.sec as u64).u64(u64::from(time.nsec))
    }
}

/// Owner and group as the caller's user namespace shows them.
fn shown_ids(t: &Task, attr: &Attr) -> (u32, u32) {
    let ns = t.ns();
    (ns.user.shown_uid(attr.uid), ns.user.shown_gid(attr.gid))
}

/// `struct stat` of asm-generic/stat.h.
fn emit_stat(t: &Task, stat: &Stat) -> [u8; 128] {
    let mut raw = [0; 128];
    let attr = &stat.attr;
    let (uid, gid) = shown_ids(t, attr);
    Fields(&mut raw, 0)
        .u64(stat.dev)
        .u64(attr.ino)
        .u32(attr.mode)
        .u32(attr.nlink)
        .u32(uid)
        .u32(gid)
        .u64(attr.rdev)
        .u64(0)
        .u64(attr.size)
        .u32(attr.blksize)
        .u32(0)
        .u64(attr.blocks)
        .time(attr.atime)
        .time(attr.mtime)
        .time(attr.ctime);
    raw
}

fn sys_fstat(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let stat = stat_file(&*t.files().get(a[0] as i32)?)?;
    t.write_memory(a[1], &emit_stat(t, &stat))?;
    Ok(0)
}

/// What `newfstatat` and `statx` look at.
fn stat_at(k: &Rc<Kernel>, t: &Rc<Task>, dirfd: u64, path: u64, flags: u64) -> Result<Stat> {
    let name = if path == 0 && flags & AT_EMPTY_PATH != 0 {
        Vec::new()
    } else {
        t.read_path(path)?
    };
    if name.is_empty() && flags & AT_EMPTY_PATH != 0 && dirfd as i32 >= 0 {
        return stat_file(&*t.files().get(dirfd as i32)?);
    }
    let base = base_of(t, dirfd, &name)?;
    let mut how = LookupFlags::empty();
    how.set(LookupFlags::FOLLOW, flags & AT_SYMLINK_NOFOLLOW == 0);
    how.set(LookupFlags::EMPTY_PATH, flags & AT_EMPTY_PATH != 0);
    k.with_fs(t, |fs| fs.resolve_with(base.as_ref(), &name, how)?.stat())
}

fn sys_newfstatat(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    if a[3] & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let stat = stat_at(k, t, a[0], a[1], a[3])?;
    t.write_memory(a[2], &emit_stat(t, &stat))?;
    Ok(0)
}

fn sys_statx(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    /// `STATX_BASIC_STATS`, `STATX_BTIME` and `STATX_MNT_ID`.
    const GIVEN: u32 = 0x7ff | 0x800 | 0x1000;
    if a[2] & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_SYNC) != 0
        || a[2] & AT_STATX_SYNC == AT_STATX_SYNC
    {
        return Err(Errno::EINVAL.into());
    }
    if a[3] & (1 << 31) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let stat = stat_at(k, t, a[0], a[1], a[2])?;
    let attr = &stat.attr;
    let (uid, gid) = shown_ids(t, attr);
    let mut raw = [0; 256];
    let mut fields = Fields(&mut raw, 0);
    fields
        .u32(GIVEN)
        .u32(attr.blksize)
        .u64(0)
        .u32(attr.nlink)
        .u32(uid)
        .u32(gid);
    fields
        .u32(attr.mode & 0xffff)
        .u64(attr.ino)
        .u64(attr.size)
        .u64(attr.blocks)
        .u64(0);
    for time in [attr.atime, attr.btime, attr.ctime, attr.mtime] {
        fields.u64(time.sec as u64).u32(time.nsec).u32(0);
    }
    for device in [attr.rdev, stat.dev] {
        fields
            .u32(vfs::mountinfo::major(device) as u32)
            .u32(vfs::mountinfo::minor(device) as u32);
    }
    fields.u64(stat.mount_id);
    t.write_memory(a[4], &raw)?;
    Ok(0)
}

fn emit_statfs(statfs: &StatFs, flags: u64) -> [u8; 120] {
    let mut raw = [0; 120];
    Fields(&mut raw, 0)
        .u64(statfs.magic)
        .u64(statfs.bsize)
        .u64(statfs.blocks)
        .u64(statfs.bfree)
        .u64(statfs.bavail)
        .u64(statfs.files)
        .u64(statfs.ffree)
        .u64(0)
        .u64(statfs.namelen)
        .u64(statfs.bsize)
        .u64(flags);
    raw
}

/// `f_flags`: `ST_VALID` and those mount flags that have the same numbers there.
fn statfs_flags(path: &vfs::path::Path) -> u64 {
    let flags = path.mount.flags.get().bits();
    let mut shown = 0x20 | u64::from(flags) & 0xf;
    if flags & 1024 != 0 {
        shown |= 0x400;
    }
    if flags & (1 << 21) != 0 {
        shown |= 0x1000;
    }
    shown
}

fn sys_statfs(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let name = t.read_path(a[0])?;
    let path = k.with_fs(t, |fs| fs.resolve(None, &name, true))?;
    t.write_memory(a[1], &emit_statfs(&path.statfs(), statfs_flags(&path)))?;
    Ok(0)
}

fn sys_fstatfs(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().get(a[0] as i32)?;
    let raw = match &file.path {
        Some(path) => emit_statfs(&path.statfs(), statfs_flags(path)),
        None => emit_statfs(
            &StatFs {
                magic: 0x5049_5045,
                bsize: 4096,
                namelen: 255,
                ..StatFs::default()
            },
            0x20,
        ),
    };
    t.write_memory(a[1], &raw)?;
    Ok(0)
}

fn size_argument(size: u64) -> Result<u64> {
    if size > i64::MAX as u64 {
        Err(Errno::EINVAL)
    } else {
        Ok(size)
    }
}

fn sys_truncate(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let size = size_argument(a[1])?;
    let name = t.read_path(a[0])?;
    super::sys_file::check_file_size(k, t, size)?;
    let path = k.with_fs(t, |fs| fs.resolve(None, &name, true))?;
    k.with_fs(t, |fs| fs.truncate_at(&path, size, true))?;
    k.file_was_cut(&path.inode(), size);
    Ok(0)
}

fn sys_ftruncate(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let size = size_argument(a[1])?;
    let file = t.files().get(a[0] as i32)?;
    if file.flags.get().contains(vfs::file::OpenFlags::PATH) {
        return Err(Errno::EBADF.into());
    }
    if !file.flags.get().writable() {
        return Err(Errno::EINVAL.into());
    }
    super::sys_file::check_file_size(k, t, size)?;
    let path = file.path.as_ref().ok_or(Errno::EINVAL)?;
    crate::memfd::check_resize(path, size)?;
    k.with_fs(t, |fs| fs.truncate_at(path, size, false))?;
    k.file_was_cut(&path.inode(), size);
    Ok(0)
}

fn access(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6], flags: u64) -> SysResult {
    if a[2] & !7 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let name = if a[1] == 0 && flags & AT_EMPTY_PATH != 0 {
        Vec::new()
    } else {
        t.read_path(a[1])?
    };
    let mask = a[2] as u32;
    if name.is_empty() && flags & AT_EMPTY_PATH != 0 {
        if let Some(path) = at_path(k, t, a[0], &name, flags)? {
            k.with_fs(t, |fs| fs.access_at(&path, mask))?;
        }
        return Ok(0);
    }
    let base = base_of(t, a[0], &name)?;
    k.with_fs(t, |fs| {
        fs.access(
            base.as_ref(),
            &name,
            mask,
            flags & AT_EACCESS != 0,
            flags & AT_SYMLINK_NOFOLLOW == 0,
        )
    })?;
    Ok(0)
}

fn sys_faccessat(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    access(k, t, a, 0)
}

fn sys_faccessat2(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    if a[3] & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    access(k, t, a, a[3])
}

fn sys_fchmod(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().get(a[0] as i32)?;
    // The mode of a pipe or socket matters to nobody.
    let Some(path) = path_of(&file)? else {
        return Ok(0);
    };
    k.with_fs(t, |fs| fs.chmod_at(&path, a[1] as u32 & 0o7777))?;
    Ok(0)
}

fn sys_fchmodat(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let name = t.read_path(a[1])?;
    let base = base_of(t, a[0], &name)?;
    k.with_fs(t, |fs| fs.chmod(base.as_ref(), &name, a[2] as u32 & 0o7777))?;
    Ok(0)
}

fn sys_fchmodat2(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    if a[3] & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let name = t.read_path(a[1])?;
    let Some(path) = at_path(k, t, a[0], &name, a[3])? else {
        return Ok(0);
    };
    if path.inode().attr()?.file_type() == S_IFLNK {
        return Err(Errno::EOPNOTSUPP.into());
    }
    k.with_fs(t, |fs| fs.chmod_at(&path, a[2] as u32 & 0o7777))?;
    Ok(0)
}

/// New owner or group as the machine knows it; -1 leaves it as it is.
fn owner_arguments(t: &Task, uid: u64, gid: u64) -> Result<(Option<u32>, Option<u32>)> {
    let ns = t.ns();
    let given = |id: u64| Some(id as u32).filter(|&id| id != u32::MAX);
    let uid = given(uid).map(|id| ns.user.global_uid(id)).transpose()?;
    let gid = given(gid).map(|id| ns.user.global_gid(id)).transpose()?;
    Ok((uid, gid))
}

fn sys_fchown(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().get(a[0] as i32)?;
    let (uid, gid) = owner_arguments(t, a[1], a[2])?;
    let Some(path) = path_of(&file)? else {
        return Ok(0);
    };
    k.with_fs(t, |fs| fs.chown_at(&path, uid, gid))?;
    Ok(0)
}

fn sys_fchownat(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    if a[4] & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (uid, gid) = owner_arguments(t, a[2], a[3])?;
    let name = t.read_path(a[1])?;
    let Some(path) = at_path(k, t, a[0], &name, a[4])? else {
        return Ok(0);
    };
    k.with_fs(t, |fs| fs.chown_at(&path, uid, gid))?;
    Ok(0)
}

fn time_change(sec: u64, nsec: u64) -> Result<TimeChange> {
    match nsec {
        0x3fff_ffff => Ok(TimeChange::Now),
        0x3fff_fffe => Ok(TimeChange::Omit),
        0..1_000_000_000 => Ok(TimeChange::At(Timestamp {
            sec: sec as i64,
            nsec: nsec as u32,
        })),
        _ => Err(Errno::EINVAL),
    }
}

fn sys_utimensat(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    if a[3] & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (mut atime, mut mtime) = (TimeChange::Now, TimeChange::Now);
    if a[2] != 0 {
        let mut raw = [0; 32];
        t.read_memory(a[2], &mut raw)?;
        let word = |at: usize| u64::from_le_bytes(raw[at..at + 8].try_into().unwrap_or_default());
        atime = time_change(word(0), word(8))?;
        mtime = time_change(word(16), word(24))?;
    }
    if a[1] == 0 {
        let file = t.files().get(a[0] as i32)?;
        let Some(path) = path_of(&file)? else {
            return Ok(0);
        };
        k.with_fs(t, |fs| fs.utimens_at(&path, atime, mtime))?;
        return Ok(0);
    }
    let name = t.read_path(a[1])?;
    let Some(path) = at_path(k, t, a[0], &name, a[3])? else {
        return Ok(0);
    };
    k.with_fs(t, |fs| fs.utimens_at(&path, atime, mtime))?;
    Ok(0)
}
