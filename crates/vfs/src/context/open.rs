//! `open(2)`, `openat2(2)`, `creat(2)`: finding or making a file and opening it.

use std::rc::Rc;

use abi::{Errno, Result};

use super::{FsContext, is_special};
use crate::credentials::{Capability, MAY_READ, MAY_WRITE};
use crate::file::{File, OpenFile, OpenFlags};
use crate::inode::{Attr, NewNode, S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG, S_IFSOCK, SetAttr};
use crate::mount::MountFlags;
use crate::notify::{self, event};
use crate::path::{Dentry, Path};
use crate::walk::{Last, Located, LookupFlags};
use crate::write_count::WriteHold;

/// An `O_PATH` file: a place, and nothing can be done with it.
struct PathOnly;

impl File for PathOnly {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> Result<usize> {
        Err(Errno::EBADF)
    }

    fn write_at(&self, _offset: u64, _buf: &[u8]) -> Result<usize> {
        Err(Errno::EBADF)
    }

    fn ioctl(&self, _: u32, _: u64, _: &dyn crate::file::UserMemory) -> Result<u64> {
        Err(Errno::EBADF)
    }
}

impl<'a> FsContext<'a> {
    /// `openat(2)`. `mode` is for a file that is made; the umask is applied here.
    pub fn open(
        &self,
        base: Option<&Path>,
        path: &[u8],
        flags: OpenFlags,
        mode: u32,
    ) -> Result<Rc<OpenFile>> {
        self.open_with(base, path, flags, mode, LookupFlags::empty())
    }

    /// `openat2(2)`: as [`FsContext::open`] with restrictions on the resolution.
    pub fn open_with(
        &self,
        base: Option<&Path>,
        path: &[u8],
        flags: OpenFlags,
        mode: u32,
        resolve: LookupFlags,
    ) -> Result<Rc<OpenFile>> {
        let mut how = resolve;
        let exclusive = flags.contains(OpenFlags::CREAT | OpenFlags::EXCL);
        if !flags.contains(OpenFlags::NOFOLLOW) && !exclusive {
            how |= LookupFlags::FOLLOW;
        }
        if flags.contains(OpenFlags::PATH) {
            return self.open_place(base, path, flags, how);
        }
        if flags.contains(OpenFlags::TMPFILE) {
            return self.open_tmpfile(base, path, flags, mode, how);
        }
        if flags.contains(OpenFlags::CREAT | OpenFlags::DIRECTORY) {
            return Err(Errno::EINVAL);
        }
        if !flags.contains(OpenFlags::CREAT) {
            return self.open_path(&self.resolve_with(base, path, how)?, flags);
        }
        if exclusive {
            how |= LookupFlags::ENTRY;
        }
        let found = self.locate(base, path, how)?;
        match &found.child {
            Some(_) if exclusive => Err(Errno::EEXIST),
            Some(child) => {
                let attr = child.inode().attr()?;
                if attr.is_dir() || found.trailing_slash {
                    return Err(Errno::EISDIR);
                }
                self.open_path(child, flags)
            }
            None => self.open_new(&found, flags, mode),
        }
    }

    fn open_place(
        &self,
        base: Option<&Path>,
        path: &[u8],
        flags: OpenFlags,
        how: LookupFlags,
    ) -> Result<Rc<OpenFile>> {
        let found = self.resolve_with(base, path, how)?;
        if flags.contains(OpenFlags::DIRECTORY) && !found.inode().attr()?.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let kept = OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW;
        Ok(OpenFile::new(Rc::new(PathOnly), Some(found), flags & kept))
    }

    fn open_new(&self, found: &Located<'_>, flags: OpenFlags, mode: u32) -> Result<Rc<OpenFile>> {
        let Last::Name(name) = &found.last else {
            return Err(Errno::EISDIR);
        };
        if found.trailing_slash {
            return Err(Errno::EISDIR);
        }
        let child = self.make(&found.parent, name, S_IFREG | (mode & 0o7777), 0, b"")?;
        // Who makes a file may open it whatever its mode says.
        self.open_file(child, flags - OpenFlags::TRUNC)
    }

    fn open_tmpfile(
        &self,
        base: Option<&Path>,
        path: &[u8],
        flags: OpenFlags,
        mode: u32,
        how: LookupFlags,
    ) -> Result<Rc<OpenFile>> {
        if !flags.writable() {
            return Err(Errno::EINVAL);
        }
        let dir = self.resolve_with(base, path, how | LookupFlags::DIRECTORY)?;
        let dir_attr = self.may_change_dir(&dir)?;
        let node = self.new_node(&dir_attr, S_IFREG | (mode & 0o7777), 0, b"");
        // With O_EXCL it never gets a name.
        let linkable = !flags.contains(OpenFlags::EXCL);
        let inode = dir.inode().tmpfile(&node, linkable)?;
        let name = format!("#{}", inode.attr()?.ino);
        let dentry = Dentry::unnamed(&dir.dentry, name.as_bytes(), inode);
        self.open_file(
            Path {
                mount: dir.mount,
                dentry,
            },
            flags,
        )
    }

    /// Opens what a path leads to: links of /proc, execve, `open_by_handle_at`.
    pub fn open_path(&self, path: &Path, flags: OpenFlags) -> Result<Rc<OpenFile>> {
        let attr = path.inode().attr()?;
        match attr.file_type() {
            S_IFLNK => return Err(Errno::ELOOP),
            S_IFDIR if flags.writable() || flags.contains(OpenFlags::CREAT) => {
                return Err(Errno::EISDIR);
            }
            kind if kind != S_IFDIR && flags.contains(OpenFlags::DIRECTORY) => {
                return Err(Errno::ENOTDIR);
            }
            S_IFCHR | S_IFBLK if path.mount.flags.get().contains(MountFlags::NODEV) => {
                return Err(Errno::EACCES);
            }
            S_IFSOCK => return Err(Errno::ENXIO),
            _ => {}
        }
        let truncate = flags.contains(OpenFlags::TRUNC) && attr.file_type() == S_IFREG;
        self.permission(
            path,
            &attr,
            wanted_access(flags) | if truncate { MAY_WRITE } else { 0 },
        )?;
        if flags.contains(OpenFlags::NOATIME) && !self.creds.owns(&attr) {
            return Err(Errno::EPERM);
        }
        if truncate {
            let _writer = WriteHold::writer(&*path.inode())?;
            self.truncate_inode(path, &attr, 0)?;
            notify::tell_both(&path.dentry, event::MODIFY);
        }
        self.open_file(path.clone(), flags)
    }

    /// The open itself, with access already granted.
    fn open_file(&self, path: Path, flags: OpenFlags) -> Result<Rc<OpenFile>> {
        let inode = path.inode();
        let hold = match flags.writable() {
            true if inode.attr()?.file_type() == S_IFREG => WriteHold::writer(&*inode)?,
            _ => None,
        };
        let mut how = flags;
        how.set(OpenFlags::NOATIME, !self.keeps_atime(&path, flags));
        let file = match Rc::clone(&inode).open(how) {
            Err(Errno::ENXIO) => self.open_special(&path, flags)?,
            other => other?,
        };
        notify::tell_both(&path.dentry, event::OPEN);
        let file = OpenFile::new(file, Some(path), flags);
        *file.hold.borrow_mut() = hold;
        Ok(file)
    }

    /// Whether reading this file renews its access time.
    fn keeps_atime(&self, path: &Path, flags: OpenFlags) -> bool {
        let quiet = path.mount.flags.get().contains(MountFlags::NOATIME);
        !flags.contains(OpenFlags::NOATIME) && !quiet && !path.mount.is_read_only()
    }

    /// Device files and FIFOs on a file system that only stores them.
    fn open_special(&self, path: &Path, flags: OpenFlags) -> Result<Rc<dyn File>> {
        let attr = path.inode().attr()?;
        if !is_special(&attr) {
            return Err(Errno::ENXIO);
        }
        let special = self.namespace.table().special_files().ok_or(Errno::ENXIO)?;
        special.open(path, &attr, flags)
    }

    pub(crate) fn truncate_inode(&self, path: &Path, attr: &Attr, size: u64) -> Result<()> {
        let perm = self.stripped_mode(attr);
        path.inode().set_attr(&SetAttr {
            size: Some(size),
            perm,
            ..SetAttr::default()
        })
    }

    /// The mode without set-ID bits, as a write by someone without `CAP_FSETID` leaves it; `None` when
    /// that changes nothing. The kernel's `write` uses it too.
    #[must_use]
    pub fn stripped_mode(&self, attr: &Attr) -> Option<u32> {
        if self.creds.has_cap(Capability::Fsetid) || attr.is_dir() {
            return None;
        }
        let mut mode = attr.mode & 0o7777 & !0o4000;
        if attr.mode & 0o2010 == 0o2010 {
            mode &= !0o2000;
        }
        (mode != attr.mode & 0o7777).then_some(mode)
    }

    pub(crate) fn new_node<'n>(
        &self,
        dir: &Attr,
        mode: u32,
        rdev: u64,
        target: &'n [u8],
    ) -> NewNode<'n> {
        let is_link = mode & crate::inode::S_IFMT == S_IFLNK;
        let mut mode = if is_link {
            S_IFLNK | 0o777
        } else {
            mode & !(self.umask & 0o777)
        };
        let mut gid = self.creds.fsgid;
        if dir.mode & 0o2000 != 0 {
            gid = dir.gid;
            if mode & crate::inode::S_IFMT == S_IFDIR {
                mode |= 0o2000;
            } else if mode & 0o2010 == 0o2010
                && !self.creds.in_group(gid)
                && !self.creds.has_cap(Capability::Fsetid)
            {
                mode &= !0o2000;
            }
        }
        NewNode {
            mode,
            uid: self.creds.fsuid,
            gid,
            rdev,
            target,
        }
    }
}

fn wanted_access(flags: OpenFlags) -> u32 {
    match flags.bits() & 3 {
        0 => MAY_READ,
        1 => MAY_WRITE,
        _ => MAY_READ | MAY_WRITE,
    }
}
