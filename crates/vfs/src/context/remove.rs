//! `unlink(2)` and `rmdir(2)`.

use std::rc::Rc;

use abi::{Errno, Result};

use super::FsContext;
use crate::notify::{self, event};
use crate::path::Path;
use crate::walk::{Last, LookupFlags};

impl<'a> FsContext<'a> {
    /// `unlinkat(2)` without `AT_REMOVEDIR`.
    pub fn unlink(&self, base: Option<&Path>, path: &[u8]) -> Result<()> {
        let found = self.locate(base, path, LookupFlags::ENTRY)?;
        let Last::Name(name) = &found.last else {
            return Err(Errno::EISDIR);
        };
        self.writable(&found.parent.mount)?;
        let child = found.child.as_ref().ok_or(Errno::ENOENT)?;
        let attr = child.inode().attr()?;
        if found.trailing_slash {
            return Err(if attr.is_dir() {
                Errno::EISDIR
            } else {
                Errno::ENOTDIR
            });
        }
        let dir_attr = self.may_change_dir(&found.parent)?;
        self.check_sticky(&dir_attr, &attr)?;
        if attr.is_dir() {
            return Err(Errno::EISDIR);
        }
        self.not_a_mount_point(&found.parent, child)?;
        found.parent.inode().unlink(name)?;
        self.removed(&found.parent, name, child, false);
        Ok(())
    }

    /// `rmdir(2)`.
    pub fn rmdir(&self, base: Option<&Path>, path: &[u8]) -> Result<()> {
        let found = self.locate(base, path, LookupFlags::ENTRY)?;
        let name = match &found.last {
            Last::Name(name) => name,
            Last::Dot => return Err(Errno::EINVAL),
            Last::DotDot => return Err(Errno::ENOTEMPTY),
            Last::Root => return Err(Errno::EBUSY),
        };
        self.writable(&found.parent.mount)?;
        let child = found.child.as_ref().ok_or(Errno::ENOENT)?;
        let attr = child.inode().attr()?;
        let dir_attr = self.may_change_dir(&found.parent)?;
        self.check_sticky(&dir_attr, &attr)?;
        if !attr.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        self.not_a_mount_point(&found.parent, child)?;
        found.parent.inode().rmdir(name)?;
        self.removed(&found.parent, name, child, false);
        Ok(())
    }

    /// `EBUSY` when something is mounted on the entry in this task's namespace.
    pub(crate) fn not_a_mount_point(&self, dir: &Path, child: &Path) -> Result<()> {
        if !Rc::ptr_eq(&dir.mount, &child.mount) {
            return Err(Errno::EBUSY);
        }
        if child.dentry.mounted.get() == 0 {
            return Ok(());
        }
        let mounts = self.namespace.table().mounts_on(&child.dentry);
        if mounts.iter().any(|mount| self.namespace.contains(mount)) {
            return Err(Errno::EBUSY);
        }
        Ok(())
    }

    /// Takes the dentry out, tells watchers, and unmounts what other namespaces have mounted on it.
    pub(crate) fn removed(&self, dir: &Path, name: &[u8], child: &Path, replaced: bool) {
        dir.dentry.forget(dir.mount.super_block(), name);
        let is_dir = notify::directory_bit(child.dentry.inode());
        if is_dir == 0 {
            notify::tell(child.dentry.inode(), event::ATTRIB, 0, b"");
        }
        // Held by the caller's `child` only.
        notify::tell_if_gone(&child.dentry, 1);
        if !replaced {
            notify::tell(dir.dentry.inode(), event::DELETE | is_dir, 0, name);
        }
        if child.dentry.mounted.get() > 0 {
            for mount in self.namespace.table().mounts_on(&child.dentry) {
                mount.detach();
            }
        }
    }
}
