//! `mount(2)`, `umount2(2)`, `pivot_root(2)`.

use std::rc::Rc;

use abi::{Errno, Result};

use super::FsContext;
use crate::credentials::Capability;
use crate::inode::FileSystem;
use crate::mount::{Mount, MountFlags};
use crate::path::Path;
use crate::propagate;
use crate::registry::{FsRegistry, MountRequest};

/// `MNT_FORCE`: no effect here.
pub const UMOUNT_FORCE: u32 = 1;
/// `MNT_DETACH`: out of the tree now, gone when nobody uses it.
pub const UMOUNT_DETACH: u32 = 2;
/// `MNT_EXPIRE`.
pub const UMOUNT_EXPIRE: u32 = 4;
/// `UMOUNT_NOFOLLOW`.
pub const UMOUNT_NOFOLLOW: u32 = 8;

impl<'a> FsContext<'a> {
    fn may_mount(&self) -> Result<()> {
        if self.creds.has_cap(Capability::SysAdmin) {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }

    /// `mount(2)`.
    pub fn mount(
        &self,
        source: &[u8],
        target: &[u8],
        fstype: &[u8],
        flags: MountFlags,
        data: &[u8],
        registry: &FsRegistry,
    ) -> Result<()> {
        self.may_mount()?;
        let place = self.resolve(None, target, true)?;
        self.is_ours(&place.mount)?;
        if flags.contains(MountFlags::REMOUNT) {
            return self.remount(&place, flags, data);
        }
        if flags.contains(MountFlags::BIND) {
            return self.bind(&self.resolve(None, source, true)?, &place, flags);
        }
        if flags.intersects(MountFlags::PROPAGATION) {
            return set_propagation(&place, flags);
        }
        if flags.contains(MountFlags::MOVE) {
            return self.move_mount(&self.resolve(None, source, true)?, &place);
        }
        let request = MountRequest {
            fstype,
            source,
            data,
            flags,
            context: self,
        };
        let fs = registry.create(&request)?;
        self.mount_fs(&fs, source, &place, flags)
    }

    /// Hangs a file system at `place`: for those who have one at hand.
    pub fn mount_fs(
        &self,
        fs: &Rc<dyn FileSystem>,
        source: &[u8],
        place: &Path,
        flags: MountFlags,
    ) -> Result<()> {
        if !fs.root().attr()?.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let mount = self.namespace.table().mount(fs, source, flags);
        self.hang(&mount, place)
    }

    /// Hangs a mount (or a tree of mounts) at `place`, over what is there.
    fn hang(&self, mount: &Rc<Mount>, place: &Path) -> Result<()> {
        let place = place.clone().with_mounts();
        if mount.root().inode().attr()?.is_dir() != place.inode().attr()?.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        if place.dentry.is_deleted() {
            return Err(Errno::ENOENT);
        }
        self.namespace.check_room(mount.subtree().len())?;
        propagate::hang(mount, &place)
    }

    /// `EINVAL` for a mount that is not in this task's namespace.
    fn is_ours(&self, mount: &Mount) -> Result<()> {
        if self.namespace.contains(mount) {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        }
    }

    /// `MS_BIND`, and `open_tree`/`move_mount` of a clone: shows `source` at `place` too.
    pub fn bind(&self, source: &Path, place: &Path, flags: MountFlags) -> Result<()> {
        self.may_mount()?;
        if source.mount.propagation.get().unbindable {
            return Err(Errno::EINVAL);
        }
        let recurse = flags.contains(MountFlags::REC);
        let copy = source
            .mount
            .copy_tree(&source.dentry, recurse, false, &mut |_, _| {});
        self.hang(&copy, place)
    }

    fn remount(&self, place: &Path, flags: MountFlags, data: &[u8]) -> Result<()> {
        if !place.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        let mount = &place.mount;
        if !flags.contains(MountFlags::BIND) {
            mount.fs().remount(data)?;
            let sb = mount.super_block();
            sb.flags.set(flags & MountFlags::PER_SUPER);
        }
        let times = MountFlags::NOATIME | MountFlags::RELATIME | MountFlags::NODIRATIME;
        let mut new = flags.for_mount();
        if !flags.intersects(times | MountFlags::STRICTATIME) {
            new = (new - times) | (mount.flags.get() & times);
        }
        mount.flags.set(new);
        Ok(())
    }

    /// `MS_MOVE`.
    pub fn move_mount(&self, source: &Path, place: &Path) -> Result<()> {
        self.may_mount()?;
        self.is_ours(&source.mount)?;
        let mount = &source.mount;
        let Some(parent) = mount.mount_point().filter(|_| source.is_mount_root()) else {
            return Err(Errno::EINVAL);
        };
        if parent.mount.propagation.get().shared.is_some() {
            return Err(Errno::EINVAL);
        }
        if place.is_within(source) {
            return Err(Errno::ELOOP);
        }
        if source.inode().attr()?.is_dir() != place.inode().attr()?.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let mount = Rc::clone(mount);
        mount.detach();
        propagate::hang(&mount, &place.clone().with_mounts()).inspect_err(|_| mount.attach(&parent))
    }

    /// `umount2(2)`.
    pub fn umount(&self, target: &[u8], flags: u32) -> Result<()> {
        if flags & !15 != 0 {
            return Err(Errno::EINVAL);
        }
        self.may_mount()?;
        let place = self.resolve(None, target, flags & UMOUNT_NOFOLLOW == 0)?;
        self.is_ours(&place.mount)?;
        if !place.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        let mount = place.mount;
        if mount.mount_point().is_none() {
            // The root of the namespace.
            return Err(if flags & UMOUNT_DETACH == 0 {
                Errno::EBUSY
            } else {
                Errno::EINVAL
            });
        }
        // Two holders are expected: the parent's list and this function.
        let in_use = Rc::strong_count(&mount) > 2 || !mount.children().is_empty();
        if flags & UMOUNT_DETACH == 0 && in_use {
            return Err(Errno::EBUSY);
        }
        propagate::take(&mount)
    }

    /// `pivot_root(2)`. Gives the old and the new root: the caller moves every task of the namespace
    /// whose root or working directory is the old one.
    pub fn pivot_root(&self, new_root: &[u8], put_old: &[u8]) -> Result<(Path, Path)> {
        self.may_mount()?;
        let new = self.directory(None, new_root)?;
        let old = self.directory(None, put_old)?;
        let root = self.root.clone();
        self.is_ours(&root.mount)?;
        self.is_ours(&new.mount)?;
        let shared = |mount: &Mount| mount.propagation.get().shared.is_some();
        let parent_shared = |mount: &Mount| {
            mount
                .mount_point()
                .is_some_and(|place| shared(&place.mount))
        };
        if shared(&old.mount) || parent_shared(&new.mount) || parent_shared(&root.mount) {
            return Err(Errno::EINVAL);
        }
        if new.dentry.is_deleted() {
            return Err(Errno::ENOENT);
        }
        if Rc::ptr_eq(&new.mount, &root.mount) || Rc::ptr_eq(&old.mount, &root.mount) {
            return Err(Errno::EBUSY);
        }
        let movable = new.mount.mount_point().is_some();
        if !root.is_mount_root() || !new.is_mount_root() || !movable {
            return Err(Errno::EINVAL);
        }
        if !old.is_within(&new) || !new.is_within(&root) {
            return Err(Errno::EINVAL);
        }
        let above = root.mount.mount_point();
        new.mount.detach();
        match above {
            Some(place) => {
                root.mount.detach();
                new.mount.attach(&place);
            }
            None => self.namespace.set_root(&new.mount),
        }
        root.mount.attach(&old);
        Ok((root, new))
    }
}

fn set_propagation(place: &Path, flags: MountFlags) -> Result<()> {
    let kinds = flags & MountFlags::PROPAGATION;
    let allowed = MountFlags::PROPAGATION | MountFlags::REC | MountFlags::SILENT;
    if kinds.bits().count_ones() != 1 || !place.is_mount_root() || !allowed.contains(flags) {
        return Err(Errno::EINVAL);
    }
    if flags.contains(MountFlags::REC) {
        place
            .mount
            .subtree()
            .iter()
            .for_each(|mount| mount.set_propagation(flags));
    } else {
        place.mount.set_propagation(flags);
    }
    Ok(())
}
