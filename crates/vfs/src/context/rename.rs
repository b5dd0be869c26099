//! `renameat2(2)`.

use std::rc::Rc;

use abi::{Errno, Result};

use super::FsContext;
use crate::credentials::{Capability, MAY_WRITE};
use crate::notify::{self, event};
use crate::path::{Path, same_inode};
use crate::walk::{Last, Located, LookupFlags};

/// Fail when the new name exists.
pub const RENAME_NOREPLACE: u32 = 1;
/// Let the two change places.
pub const RENAME_EXCHANGE: u32 = 2;
/// Leave a whiteout (character device 0) at the old name.
pub const RENAME_WHITEOUT: u32 = 4;

impl<'a> FsContext<'a> {
    /// `renameat2(2)` with its flags.
    pub fn rename(
        &self,
        old_base: Option<&Path>,
        old: &[u8],
        new_base: Option<&Path>,
        new: &[u8],
        flags: u32,
    ) -> Result<()> {
        let exchange = flags & RENAME_EXCHANGE != 0;
        if flags & !7 != 0 || (exchange && flags & (RENAME_NOREPLACE | RENAME_WHITEOUT) != 0) {
            return Err(Errno::EINVAL);
        }
        if flags & RENAME_WHITEOUT != 0 && !self.creds.has_cap(Capability::Mknod) {
            return Err(Errno::EPERM);
        }
        let from = self.locate(old_base, old, LookupFlags::ENTRY)?;
        let to = self.locate(new_base, new, LookupFlags::ENTRY)?;
        if !Rc::ptr_eq(&from.parent.mount, &to.parent.mount) {
            return Err(Errno::EXDEV);
        }
        let (Last::Name(old_name), Last::Name(new_name)) = (&from.last, &to.last) else {
            return Err(Errno::EBUSY);
        };
        self.writable(&from.parent.mount)?;
        let source = from.child.as_ref().ok_or(Errno::ENOENT)?;
        if flags & RENAME_NOREPLACE != 0 && to.child.is_some() {
            return Err(Errno::EEXIST);
        }
        if exchange && to.child.is_none() {
            return Err(Errno::ENOENT);
        }
        if !self.check_rename(&from, &to, source, exchange)? {
            return Ok(());
        }
        self.not_a_mount_point(&from.parent, source)?;
        if let Some(target) = &to.child {
            self.not_a_mount_point(&to.parent, target)?;
        }
        from.parent
            .inode()
            .rename(old_name, &to.parent.inode(), new_name, flags)?;
        let sb = from.parent.mount.super_block();
        if exchange {
            from.parent
                .dentry
                .exchanged(old_name, &to.parent.dentry, new_name);
            if let Some(target) = &to.child {
                self.tell_moved(&to, new_name, &from, old_name, target);
            }
            self.tell_moved(&from, old_name, &to, new_name, source);
            return Ok(());
        }
        if let Some(target) = &to.child {
            self.removed(&to.parent, new_name, target, true);
        }
        from.parent
            .dentry
            .moved(sb, old_name, &to.parent.dentry, new_name);
        self.tell_moved(&from, old_name, &to, new_name, source);
        Ok(())
    }

    fn tell_moved(
        &self,
        from: &Located<'_>,
        old_name: &[u8],
        to: &Located<'_>,
        new_name: &[u8],
        moved: &Path,
    ) {
        let is_dir = notify::directory_bit(&moved.inode());
        // The time tells one move from another.
        let cookie = (self.clock.now().0 as u32).max(1);
        let (from, to) = (from.parent.inode(), to.parent.inode());
        notify::tell(&from, event::MOVED_FROM | is_dir, cookie, old_name);
        notify::tell(&to, event::MOVED_TO | is_dir, cookie, new_name);
        notify::tell(&moved.inode(), event::MOVE_SELF | is_dir, 0, b"");
    }

    /// Types, permissions and the tree's shape. False when there is nothing to do.
    fn check_rename(
        &self,
        from: &Located<'_>,
        to: &Located<'_>,
        source: &Path,
        exchange: bool,
    ) -> Result<bool> {
        let attr = source.inode().attr()?;
        let target = to.child.as_ref();
        // Neither side may be an ancestor of the other one's directory.
        if to.parent.dentry.is_within(&source.dentry) {
            return Err(Errno::EINVAL);
        }
        if let Some(target) = target
            && from.parent.dentry.is_within(&target.dentry)
        {
            return Err(if exchange {
                Errno::EINVAL
            } else {
                Errno::ENOTEMPTY
            });
        }
        let target_attr = match target {
            Some(target) => Some(target.inode().attr()?),
            None => None,
        };
        let slash = from.trailing_slash || (to.trailing_slash && !exchange);
        if slash && !attr.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        if exchange && to.trailing_slash && target_attr.is_some_and(|target| !target.is_dir()) {
            return Err(Errno::ENOTDIR);
        }
        if target.is_some_and(|target| same_inode(&target.inode(), &source.inode())) {
            return Ok(false);
        }
        let from_dir = self.may_change_dir(&from.parent)?;
        self.check_sticky(&from_dir, &attr)?;
        let to_dir = self.may_change_dir(&to.parent)?;
        if let Some(target_attr) = &target_attr {
            self.check_sticky(&to_dir, target_attr)?;
            if !exchange {
                match (attr.is_dir(), target_attr.is_dir()) {
                    (true, false) => return Err(Errno::ENOTDIR),
                    (false, true) => return Err(Errno::EISDIR),
                    _ => {}
                }
            }
        }
        if to.parent.dentry.is_deleted() {
            return Err(Errno::ENOENT);
        }
        // A directory that gets another parent has its `..` written.
        if !Rc::ptr_eq(&from.parent.dentry, &to.parent.dentry) {
            let moves_target = target_attr.filter(|target| exchange && target.is_dir());
            for moved in [Some(attr).filter(|attr| attr.is_dir()), moves_target]
                .iter()
                .flatten()
            {
                if !self.creds.may(moved, MAY_WRITE) {
                    return Err(Errno::EACCES);
                }
            }
        }
        Ok(true)
    }
}
