//! New names: `mkdir(2)`, `mknod(2)`, `symlink(2)`, `link(2)`, and the node a bound socket has.

use abi::{Errno, Result};

use super::FsContext;
use crate::credentials::{Capability, MAY_READ, MAY_WRITE};
use crate::inode::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK};
use crate::notify::{self, event};
use crate::path::Path;
use crate::walk::{Last, Located, LookupFlags, PATH_MAX};

impl<'a> FsContext<'a> {
    /// `mkdir(2)`.
    pub fn mkdir(&self, base: Option<&Path>, path: &[u8], mode: u32) -> Result<Path> {
        let found = self.new_name(base, path, true)?;
        self.make(
            &found.parent,
            name(&found)?,
            S_IFDIR | (mode & 0o1777),
            0,
            b"",
        )
    }

    /// `mknod(2)`. Without type bits it makes a regular file.
    pub fn mknod(&self, base: Option<&Path>, path: &[u8], mode: u32, rdev: u64) -> Result<Path> {
        let kind = match mode & S_IFMT {
            0 => S_IFREG,
            kind @ (S_IFREG | S_IFCHR | S_IFBLK | S_IFIFO | S_IFSOCK) => kind,
            S_IFDIR => return Err(Errno::EPERM),
            _ => return Err(Errno::EINVAL),
        };
        let found = self.new_name(base, path, false)?;
        let is_device = matches!(kind, S_IFCHR | S_IFBLK);
        // Whiteouts (device 0) of overlayfs may be made by anyone.
        let whiteout = kind == S_IFCHR && rdev == 0;
        if is_device && !whiteout && !self.creds.has_cap(Capability::Mknod) {
            return Err(Errno::EPERM);
        }
        let rdev = if is_device { rdev } else { 0 };
        self.make(
            &found.parent,
            name(&found)?,
            kind | (mode & 0o7777),
            rdev,
            b"",
        )
    }

    /// `bind(2)` of a Unix socket: its node.
    pub fn bind_socket_node(&self, path: &[u8], mode: u32) -> Result<Path> {
        match self.mknod(None, path, S_IFSOCK | (mode & 0o7777), 0) {
            Err(Errno::EEXIST) => Err(Errno::EADDRINUSE),
            other => other,
        }
    }

    /// `symlinkat(2)`.
    pub fn symlink(&self, target: &[u8], base: Option<&Path>, path: &[u8]) -> Result<Path> {
        if target.is_empty() {
            return Err(Errno::ENOENT);
        }
        if target.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let found = self.new_name(base, path, false)?;
        self.make(&found.parent, name(&found)?, S_IFLNK | 0o777, 0, target)
    }

    /// `linkat(2)`; `follow` is `AT_SYMLINK_FOLLOW`. An empty old path means the base itself.
    pub fn link(
        &self,
        old_base: Option<&Path>,
        old: &[u8],
        new_base: Option<&Path>,
        new: &[u8],
        follow: bool,
    ) -> Result<()> {
        let mut how = LookupFlags::EMPTY_PATH;
        how.set(LookupFlags::FOLLOW, follow);
        let source = self.resolve_with(old_base, old, how)?;
        let found = self.new_name(new_base, new, false)?;
        self.writable(&found.parent.mount)?;
        if !std::rc::Rc::ptr_eq(&source.mount, &found.parent.mount) {
            return Err(Errno::EXDEV);
        }
        let attr = source.inode().attr()?;
        self.may_change_dir(&found.parent)?;
        if attr.is_dir() {
            return Err(Errno::EPERM);
        }
        // fs.protected_hardlinks, as every distribution sets it.
        let safe = attr.file_type() == S_IFREG
            && attr.mode & 0o4000 == 0
            && attr.mode & 0o2010 != 0o2010
            && self.creds.may(&attr, MAY_READ | MAY_WRITE);
        if !safe && !self.creds.owns(&attr) {
            return Err(Errno::EPERM);
        }
        let entry = name(&found)?;
        found.parent.inode().link(entry, &source.inode())?;
        found
            .parent
            .dentry
            .add(found.parent.mount.super_block(), entry, source.inode());
        notify::tell(&source.inode(), event::ATTRIB, 0, b"");
        notify::tell(&found.parent.inode(), event::CREATE, 0, entry);
        Ok(())
    }

    /// Resolves a name that must not exist. A slash behind it is for directories only.
    fn new_name<'p>(
        &self,
        base: Option<&Path>,
        path: &'p [u8],
        directory: bool,
    ) -> Result<Located<'p>> {
        let found = self.locate(base, path, LookupFlags::ENTRY)?;
        if found.child.is_some() || !matches!(found.last, Last::Name(_)) {
            return Err(Errno::EEXIST);
        }
        if found.trailing_slash && !directory {
            return Err(Errno::ENOENT);
        }
        Ok(found)
    }

    /// Makes an entry with the owner, group and mode the caller and directory give it.
    pub(crate) fn make(
        &self,
        dir: &Path,
        name: &[u8],
        mode: u32,
        rdev: u64,
        target: &[u8],
    ) -> Result<Path> {
        let dir_attr = self.may_change_dir(dir)?;
        if dir.dentry.is_deleted() {
            return Err(Errno::ENOENT);
        }
        let node = self.new_node(&dir_attr, mode, rdev, target);
        let inode = dir.inode().create(name, &node)?;
        let is_dir = notify::directory_bit(&inode);
        let dentry = dir.dentry.add(dir.mount.super_block(), name, inode);
        notify::tell(dir.dentry.inode(), event::CREATE | is_dir, 0, name);
        Ok(Path {
            mount: std::rc::Rc::clone(&dir.mount),
            dentry,
        })
    }
}

pub(super) fn name<'l>(found: &'l Located<'_>) -> Result<&'l [u8]> {
    match &found.last {
        Last::Name(name) => Ok(name),
        _ => Err(Errno::EINVAL),
    }
}
