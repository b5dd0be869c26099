//! System calls: mounts (`mount(2)`, `umount2(2)`, `pivot_root(2)`).

use std::rc::Rc;

use abi::{Errno, Result};
use vfs::mount::MountFlags;

use super::SysResult;
use super::table::{Arg, Row};
use crate::kernel::Kernel;
use crate::task::Task;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::partial(
        39,
        "umount2",
        sys_umount2,
        &[Arg::Path, Arg::Hex],
        "MNT_FORCE and MNT_EXPIRE do nothing of their own",
    ),
    Row::partial(
        40,
        "mount",
        sys_mount,
        &[Arg::Path, Arg::Path, Arg::Path, Arg::Hex, Arg::Ptr],
        "the types of this machine (/proc/filesystems); a copy that would come to lie below another mount is left out",
    ),
    Row::full(41, "pivot_root", sys_pivot_root, &[Arg::Path, Arg::Path]),
    Row::enosys(
        428,
        "open_tree",
        "the calls of the new mount interface: libmount falls back to mount",
    ),
    Row::enosys(429, "move_mount", "as open_tree"),
    Row::enosys(430, "fsopen", "as open_tree"),
    Row::enosys(431, "fsconfig", "as open_tree"),
    Row::enosys(432, "fsmount", "as open_tree"),
    Row::enosys(433, "fspick", "as open_tree"),
    Row::enosys(442, "mount_setattr", "as open_tree"),
    Row::enosys(457, "statmount", "as open_tree"),
    Row::enosys(458, "listmount", "as open_tree"),
];

/// Largest data argument: a page.
const DATA_MAX: usize = 4096;

/// A string argument that may be missing.
fn optional(t: &Task, address: u64) -> Result<Vec<u8>> {
    if address == 0 {
        return Ok(Vec::new());
    }
    t.read_string(address, DATA_MAX)?.ok_or(Errno::EINVAL)
}

fn sys_mount(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    /// `MS_MGC_VAL`: a magic number old programs put above the flags.
    const MAGIC: u64 = 0xc0ed_0000;
    let source = optional(t, a[0])?;
    let target = t.read_path(a[1])?;
    let fstype = optional(t, a[2])?;
    let data = optional(t, a[4])?;
    let flags = if a[3] & 0xffff_0000 == MAGIC {
        a[3] & 0xffff
    } else {
        a[3]
    };
    let flags = MountFlags::from_bits_truncate(flags as u32);
    k.with_fs(t, |fs| {
        fs.mount(&source, &target, &fstype, flags, &data, &k.registry)
    })?;
    Ok(0)
}

fn sys_umount2(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let target = t.read_path(a[0])?;
    k.with_fs(t, |fs| fs.umount(&target, a[1] as u32))?;
    Ok(0)
}

fn sys_pivot_root(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let new_root = t.read_path(a[0])?;
    let put_old = t.read_path(a[1])?;
    let (old, new) = k.with_fs(t, |fs| fs.pivot_root(&new_root, &put_old))?;
    k.move_roots(t, &old, &new);
    Ok(0)
}

impl Kernel {
    /// After `pivot_root`: every task of the mount namespace of `t` whose root or working directory is the
    /// old root gets the new one.
    pub fn move_roots(&self, t: &Task, old: &vfs::path::Path, new: &vfs::path::Path) {
        let ns = t.ns();
        let tasks: Vec<Rc<Task>> = self.tasks.borrow().values().cloned().collect();
        for task in tasks {
            if !Rc::ptr_eq(&task.ns().mnt, &ns.mnt) {
                continue;
            }
            let fs = task.fs();
            for place in [&fs.root, &fs.cwd] {
                if *place.borrow() == *old {
                    let before = place.replace(new.clone());
                    drop(before);
                }
            }
        }
    }
}
