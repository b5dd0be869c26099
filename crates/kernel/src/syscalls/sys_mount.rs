//! System calls: mounts (`mount(2)`, `umount2(2)`, `pivot_root(2)`).

use std::rc::Rc;

use abi::Errno;
use vfs::Capability;
use vfs::mount::MountFlags;

use super::SysResult;
use super::table::{Arg, Row};
use crate::kernel::Kernel;
use crate::task::Task;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::partial(
        40,
        "mount",
        sys_mount,
        &[Arg::Path, Arg::Path, Arg::Path, Arg::Hex, Arg::Ptr],
        "propagation types are kept, but mounts do not propagate",
    ),
    Row::full(39, "umount2", sys_umount2, &[Arg::Path, Arg::Hex]),
    Row::full(41, "pivot_root", sys_pivot_root, &[Arg::Path, Arg::Path]),
    Row::enosys(428, "open_tree", "mount(8) falls back to mount(2)"),
    Row::enosys(429, "move_mount", "mount(8) falls back to mount(2)"),
    Row::enosys(430, "fsopen", "mount(8) falls back to mount(2)"),
    Row::enosys(431, "fsconfig", "mount(8) falls back to mount(2)"),
    Row::enosys(432, "fsmount", "mount(8) falls back to mount(2)"),
    Row::enosys(433, "fspick", "mount(8) falls back to mount(2)"),
    Row::enosys(442, "mount_setattr", "mount(8) falls back to mount(2)"),
    Row::enosys(457, "statmount", "programs fall back to /proc/self/mountinfo"),
    Row::enosys(458, "listmount", "programs fall back to /proc/self/mountinfo"),
];

/// Longest type name and options, as Linux copies at most a page.
const DATA_MAX: usize = 4096;
/// The magic number that old programs put into the flags.
const MS_MGC_VAL: u64 = 0xc0ed_0000;
const MS_MGC_MSK: u64 = 0xffff_0000;

fn optional_string(t: &Task, address: u64) -> abi::Result<Vec<u8>> {
    if address == 0 {
        return Ok(Vec::new());
    }
    t.read_string(address, DATA_MAX)?.ok_or(Errno::EINVAL)
}

/// Mounting needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace.
fn may_mount(k: &Kernel, t: &Task) -> abi::Result<()> {
    if k.capable_in(t, &t.ns().mnt.owner, Capability::SysAdmin) { Ok(()) } else { Err(Errno::EPERM) }
}

/// Types that a user namespace other than the first may mount.
fn allowed_in_user_ns(fstype: &[u8]) -> bool {
    [&b"proc"[..], b"sysfs", b"tmpfs", b"ramfs", b"devpts", b"mqueue", b"cgroup2", b"overlay"].contains(&fstype)
}

fn sys_mount(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let source = optional_string(t, a[0])?;
    let target = t.read_path(a[1])?;
    let fstype = optional_string(t, a[2])?;
    let mut flags = a[3];
    if flags & MS_MGC_MSK == MS_MGC_VAL {
        flags &= !MS_MGC_MSK;
    }
    let flags = MountFlags::from_bits_truncate(flags as u32);
    let special = MountFlags::REMOUNT | MountFlags::BIND | MountFlags::MOVE | MountFlags::PROPAGATION;
    let data = optional_string(t, a[4])?;
    may_mount(k, t)?;
    if !flags.intersects(special) {
        if fstype.is_empty() {
            return Err(Errno::EINVAL.into());
        }
        if !t.ns().user.is_initial() && !allowed_in_user_ns(&fstype) {
            return Err(Errno::EPERM.into());
        }
    }
    k.with_fs(t, |fs| fs.mount(&source, &target, &fstype, flags, &data, &k.registry))?;
    Ok(0)
}

fn sys_umount2(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let target = t.read_path(a[0])?;
    may_mount(k, t)?;
    k.with_fs(t, |fs| fs.umount(&target, a[1] as u32))?;
    Ok(0)
}

fn sys_pivot_root(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let (new_root, put_old) = (t.read_path(a[0])?, t.read_path(a[1])?);
    may_mount(k, t)?;
    let (old, new) = k.with_fs(t, |fs| fs.pivot_root(&new_root, &put_old))?;
    k.root_was_pivoted(&t.ns().mnt, &old, &new);
    Ok(0)
}
