//! The operations that syscalls and daemons call, with permission checks.
//!
//! An [`FsContext`] says who asks and from where; it is cheap to build for each syscall. Names are
//! resolved in `walk`; each family of calls has its file here.

mod attr;
mod create;
mod mounts;
mod open;
mod remove;
mod rename;
mod xattr;

pub use attr::TimeChange;
pub use mounts::{UMOUNT_DETACH, UMOUNT_EXPIRE, UMOUNT_FORCE, UMOUNT_NOFOLLOW};
pub use rename::{RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT};

use std::rc::Rc;

use abi::{Errno, Result};
use clock::{Clock, NANOS_PER_SEC};

use crate::credentials::{Credentials, MAY_EXEC, MAY_WRITE};
use crate::inode::{Attr, S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK, StatFs, Timestamp};
use crate::mount::{Mount, MountNamespace};
use crate::mountinfo::walk_up;
use crate::path::Path;

/// Who asks, and from where.
#[derive(Clone, Copy)]
pub struct FsContext<'a> {
    /// Where absolute paths start.
    pub root: &'a Path,
    /// Where relative paths start.
    pub cwd: &'a Path,
    /// The identity.
    pub creds: &'a Credentials,
    /// Permission bits that new files do not get.
    pub umask: u32,
    /// The time.
    pub clock: &'a Clock,
    /// The mounts.
    pub namespace: &'a Rc<MountNamespace>,
}

/// What `stat(2)` returns.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// The inode's attributes.
    pub attr: Attr,
    /// `st_dev`.
    pub dev: u64,
    /// `stx_mnt_id`.
    pub mount_id: u64,
}

impl Path {
    /// What `stat(2)` says about it.
    pub fn stat(&self) -> Result<Stat> {
        Ok(Stat {
            attr: self.inode().attr()?,
            dev: self.mount.super_block().device,
            mount_id: u64::from(self.mount.id),
        })
    }

    /// What `statfs(2)` says about its file system.
    #[must_use]
    pub fn statfs(&self) -> StatFs {
        self.mount.fs().statfs()
    }
}

/// The time stamp of this instant.
#[must_use]
pub fn timestamp(clock: &Clock) -> Timestamp {
    let now = clock.realtime();
    Timestamp {
        sec: (now / NANOS_PER_SEC) as i64,
        nsec: (now % NANOS_PER_SEC) as u32,
    }
}

impl<'a> FsContext<'a> {
    /// `stat(2)`, `lstat(2)`.
    pub fn stat(&self, base: Option<&Path>, path: &[u8], follow_last: bool) -> Result<Stat> {
        self.resolve(base, path, follow_last)?.stat()
    }

    /// `statfs(2)`.
    pub fn statfs(&self, base: Option<&Path>, path: &[u8]) -> Result<StatFs> {
        Ok(self.resolve(base, path, true)?.statfs())
    }

    /// `readlink(2)`. A link of /proc that leads to an object answers with the object's name.
    pub fn read_link(&self, base: Option<&Path>, path: &[u8]) -> Result<Vec<u8>> {
        let flags = crate::walk::LookupFlags::EMPTY_PATH;
        self.read_link_at(&self.resolve_with(base, path, flags)?)
    }

    /// `readlink(2)` of a resolved link.
    pub fn read_link_at(&self, path: &Path) -> Result<Vec<u8>> {
        let inode = path.inode();
        match inode.read_link() {
            Err(Errno::EINVAL) => match inode.magic_link() {
                Some(object) => Ok(self.absolute_name(&object?)),
                None => Err(Errno::EINVAL),
            },
            other => other,
        }
    }

    /// `chdir(2)`, `chroot(2)`: the directory, if it may be searched.
    pub fn directory(&self, base: Option<&Path>, path: &[u8]) -> Result<Path> {
        let found = self.resolve(base, path, true)?;
        self.check_directory(&found)?;
        Ok(found)
    }

    /// As [`FsContext::directory`], for `fchdir(2)`.
    pub fn check_directory(&self, path: &Path) -> Result<()> {
        let attr = path.inode().attr()?;
        if !attr.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        self.may_search(&attr)
    }

    /// The name of a path as this task sees it: for getcwd, `/proc/self/fd`, maps. What is not below
    /// the root starts with `(unreachable)`, what has no name any more ends with ` (deleted)`.
    #[must_use]
    pub fn absolute_name(&self, path: &Path) -> Vec<u8> {
        let mut name = match walk_up(path, self.root) {
            Ok(name) => name,
            Err(name) => [b"(unreachable)", &name[..]].concat(),
        };
        if path.dentry.is_deleted() {
            name.extend_from_slice(b" (deleted)");
        }
        name
    }

    /// `EACCES` unless the mode bits or capabilities allow `mask` (`MAY_…`); `EROFS` for a write on a
    /// read-only mount.
    pub fn permission(&self, path: &Path, attr: &Attr, mask: u32) -> Result<()> {
        if mask & MAY_WRITE != 0 && !is_special(attr) {
            self.writable(&path.mount)?;
        }
        if self.creds.may(attr, mask) {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    pub(crate) fn writable(&self, mount: &Mount) -> Result<()> {
        if mount.is_read_only() {
            Err(Errno::EROFS)
        } else {
            Ok(())
        }
    }

    /// Checks that entries may be made in or removed from `dir`; gives its attributes.
    pub(crate) fn may_change_dir(&self, dir: &Path) -> Result<Attr> {
        let attr = dir.inode().attr()?;
        self.writable(&dir.mount)?;
        if !self.creds.may(&attr, MAY_WRITE | MAY_EXEC) {
            return Err(Errno::EACCES);
        }
        Ok(attr)
    }

    /// In a sticky directory only the owner of the file or of the directory removes it.
    pub(crate) fn check_sticky(&self, dir: &Attr, victim: &Attr) -> Result<()> {
        let sticky = dir.mode & 0o1000 != 0;
        if sticky && self.creds.fsuid != dir.uid && !self.creds.owns(victim) {
            return Err(Errno::EPERM);
        }
        Ok(())
    }
}

/// Devices, FIFOs and sockets: writing to them does not write to the file system.
pub(crate) fn is_special(attr: &Attr) -> bool {
    matches!(attr.file_type(), S_IFCHR | S_IFBLK | S_IFIFO | S_IFSOCK)
}
