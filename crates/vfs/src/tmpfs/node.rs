//! The inode of tmpfs.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use abi::{Errno, Result};
use mem::{Charge, PAGE_SIZE, Page};

use super::Core;
use super::content::Content;
use super::dir::Entries;
use super::xattrs::{XATTR_BYTES, Xattrs};
use crate::context::{RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, timestamp};
use crate::file::{DirFile, File, OpenFlags};
use crate::inode::{
    Attachments, Attr, DirEntry, FileSystem, Inode, InodeRef, NewNode, S_IFBLK, S_IFCHR, S_IFDIR,
    S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, SetAttr, Timestamp,
};

/// `fallocate(2)`: keep the size.
const FALLOC_FL_KEEP_SIZE: u32 = 1;
/// `fallocate(2)`: make a hole.
const FALLOC_FL_PUNCH_HOLE: u32 = 2;
/// `fallocate(2)`: make zeros.
const FALLOC_FL_ZERO_RANGE: u32 = 16;

/// How long an access time may be old before reading renews it although the content is older.
const RELATIME_SECONDS: i64 = 24 * 60 * 60;

/// What one more name of a file costs.
const NAME_BYTES: i64 = 512;

/// Names of a file on a disk at most, as on ext4.
const DISK_LINKS_MAX: u32 = 65_000;

enum Data {
    Dir(RefCell<Entries<Rc<Node>>>),
    File(RefCell<Content>),
    Link(Box<[u8]>),
    Special(u64),
}

/// An inode of tmpfs.
pub struct Node {
    core: Rc<Core>,
    me: Weak<Node>,
    ino: u64,
    mode: Cell<u32>,
    nlink: Cell<u32>,
    uid: Cell<u32>,
    gid: Cell<u32>,
    atime: Cell<Timestamp>,
    mtime: Cell<Timestamp>,
    ctime: Cell<Timestamp>,
    btime: Timestamp,
    /// Made by `O_TMPFILE` and without a name so far.
    linkable: Cell<bool>,
    /// What it costs without its content.
    charge: RefCell<Option<Charge>>,
    data: Data,
    xattrs: Xattrs,
    attachments: Attachments,
}

impl Node {
    /// An inode without a name, which has been paid.
    pub(super) fn new(core: &Rc<Core>, node: &NewNode<'_>, charge: Option<Charge>) -> Rc<Node> {
        let now = timestamp(&core.clock);
        let data = match node.mode & S_IFMT {
            S_IFDIR => Data::Dir(RefCell::default()),
            S_IFLNK => Data::Link(node.target.into()),
            S_IFREG => Data::File(RefCell::default()),
            _ => Data::Special(node.rdev),
        };
        Rc::new_cyclic(|me| Node {
            core: Rc::clone(core),
            me: me.clone(),
            ino: core.new_ino(),
            mode: Cell::new(node.mode),
            nlink: Cell::new(0),
            uid: Cell::new(node.uid),
            gid: Cell::new(node.gid),
            atime: Cell::new(now),
            mtime: Cell::new(now),
            ctime: Cell::new(now),
            btime: now,
            linkable: Cell::new(false),
            charge: RefCell::new(charge),
            data,
            xattrs: Xattrs::default(),
            attachments: Attachments::default(),
        })
    }

    pub(super) fn set_nlink(&self, count: u32) {
        self.nlink.set(count);
    }

    fn is_dir(&self) -> bool {
        matches!(self.data, Data::Dir(_))
    }

    fn entries(&self) -> Result<&RefCell<Entries<Rc<Node>>>> {
        match &self.data {
            Data::Dir(entries) => Ok(entries),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn content(&self) -> Result<&RefCell<Content>> {
        match &self.data {
            Data::File(content) => Ok(content),
            Data::Dir(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    fn now(&self) -> Timestamp {
        timestamp(&self.core.clock)
    }

    /// Content or entries changed.
    fn changed(&self) {
        let now = self.now();
        self.mtime.set(now);
        self.ctime.set(now);
    }

    fn read(&self) {
        let (atime, now) = (self.atime.get(), self.now());
        let stale = atime <= self.mtime.get()
            || atime <= self.ctime.get()
            || now.sec - atime.sec >= RELATIME_SECONDS;
        if stale {
            self.atime.set(now);
        }
    }

    fn child(&self, name: &[u8]) -> Result<Rc<Node>> {
        self.entries()?
            .borrow()
            .get(name)
            .cloned()
            .ok_or(Errno::ENOENT)
    }

    fn add_link(&self, more: i32) {
        self.nlink.set(self.nlink.get().saturating_add_signed(more));
        self.ctime.set(self.now());
    }

    /// Enters `child` under a free name.
    fn enter(&self, name: &[u8], child: &Rc<Node>) -> Result<()> {
        let old = self.entries()?.borrow_mut().insert(name, Rc::clone(child));
        debug_assert!(old.is_none());
        if child.is_dir() {
            self.nlink.set(self.nlink.get() + 1);
        }
        self.changed();
        Ok(())
    }

    /// Takes an entry out; a directory's `..` goes with it.
    fn leave(&self, name: &[u8]) -> Result<Rc<Node>> {
        let child = self
            .entries()?
            .borrow_mut()
            .remove(name)
            .ok_or(Errno::ENOENT)?;
        if child.is_dir() {
            self.nlink.set(self.nlink.get().saturating_sub(1));
        }
        self.changed();
        Ok(child)
    }

    /// A child that may be replaced or removed: not a directory with entries.
    fn check_empty(&self) -> Result<()> {
        match &self.data {
            Data::Dir(entries) if !entries.borrow().is_empty() => Err(Errno::ENOTEMPTY),
            _ => Ok(()),
        }
    }

    /// The name of a child is gone.
    fn dropped(&self) {
        self.add_link(if self.is_dir() { -2 } else { -1 });
        if !self.is_dir() && self.nlink.get() > 0 {
            // Giving back cannot fail.
            let _ = self.pay(-NAME_BYTES);
            self.core.count_name(-1);
        }
    }

    /// Changes what the inode costs.
    fn pay(&self, more: i64) -> Result<()> {
        if let Some(charge) = &mut *self.charge.borrow_mut() {
            let bytes = charge.bytes().saturating_add_signed(more);
            charge
                .resize(bytes)
                .map_err(|full| self.core.refused(full))?;
        }
        Ok(())
    }

    fn same_fs<'n>(&self, other: &'n InodeRef) -> Result<&'n Node> {
        let node = other.as_any().downcast_ref::<Node>().ok_or(Errno::EXDEV)?;
        if Rc::ptr_eq(&node.core, &self.core) {
            Ok(node)
        } else {
            Err(Errno::EXDEV)
        }
    }

    fn exchange(&self, old: &[u8], dir: &Node, new: &[u8]) -> Result<()> {
        let (one, other) = (self.child(old)?, dir.child(new)?);
        if one.is_dir() != other.is_dir() && !std::ptr::eq(self, dir) {
            let (gives, gets) = if one.is_dir() {
                (self, dir)
            } else {
                (dir, self)
            };
            gives.add_link(-1);
            gets.add_link(1);
        }
        self.entries()?.borrow_mut().insert(old, Rc::clone(&other));
        dir.entries()?.borrow_mut().insert(new, Rc::clone(&one));
        for node in [self, dir] {
            node.changed();
        }
        one.ctime.set(self.now());
        other.ctime.set(self.now());
        Ok(())
    }
}

impl Inode for Node {
    fn fs(&self) -> Rc<dyn FileSystem> {
        self.core.fs()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<Attr> {
        let (size, blocks, rdev) = match &self.data {
            // Linux's tmpfs counts twenty bytes an entry, `.` and `..` included.
            Data::Dir(entries) => ((entries.borrow().len() as u64 + 2) * 20, 0, 0),
            Data::File(content) => {
                let content = content.borrow();
                (
                    content.size(),
                    content.page_count() * (PAGE_SIZE as u64 / 512),
                    0,
                )
            }
            Data::Link(target) => (target.len() as u64, 0, 0),
            Data::Special(rdev) => (0, 0, *rdev),
        };
        Ok(Attr {
            ino: self.ino,
            mode: self.mode.get(),
            nlink: self.nlink.get(),
            uid: self.uid.get(),
            gid: self.gid.get(),
            rdev,
            size,
            blocks,
            blksize: PAGE_SIZE as u32,
            atime: self.atime.get(),
            mtime: self.mtime.get(),
            ctime: self.ctime.get(),
            btime: self.btime,
        })
    }

    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        if let Some(size) = change.size {
            if i64::try_from(size).is_err() {
                return Err(Errno::EFBIG);
            }
            let freed = self.content()?.borrow_mut().truncate(size);
            self.core.give_pages(freed);
            self.mtime.set(self.now());
        }
        if let Some(perm) = change.perm {
            self.mode.set(self.mode.get() & S_IFMT | perm & 0o7777);
        }
        if let Some(uid) = change.uid {
            self.uid.set(uid);
        }
        if let Some(gid) = change.gid {
            self.gid.set(gid);
        }
        if let Some(time) = change.atime {
            self.atime.set(time);
        }
        if let Some(time) = change.mtime {
            self.mtime.set(time);
        }
        self.ctime.set(self.now());
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<InodeRef> {
        match self.entries()?.borrow().get(name) {
            Some(node) => Ok(Rc::<Node>::clone(node)),
            None => Err(Errno::ENOENT),
        }
    }

    fn create(&self, name: &[u8], node: &NewNode<'_>) -> Result<InodeRef> {
        if self.entries()?.borrow().get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        if self.nlink.get() == 0 {
            return Err(Errno::ENOENT);
        }
        let charge = self.core.charge_inode(node.target.len())?;
        let child = Node::new(&self.core, node, charge);
        child.set_nlink(if child.is_dir() { 2 } else { 1 });
        self.enter(name, &child)?;
        Ok(child)
    }

    fn tmpfile(&self, node: &NewNode<'_>, linkable: bool) -> Result<InodeRef> {
        self.entries()?;
        let charge = self.core.charge_inode(0)?;
        let file = Node::new(&self.core, node, charge);
        file.linkable.set(linkable);
        Ok(file)
    }

    fn link(&self, name: &[u8], target: &InodeRef) -> Result<()> {
        let target = self.same_fs(target)?.me.upgrade().ok_or(Errno::ENOENT)?;
        if self.entries()?.borrow().get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        if target.is_dir() {
            return Err(Errno::EPERM);
        }
        if self.nlink.get() == 0 {
            return Err(Errno::ENOENT);
        }
        // A removed file stays removed; only one that never had a name may get one.
        if target.nlink.get() == 0 && !target.linkable.get() {
            return Err(Errno::ENOENT);
        }
        if self.core.is_disk() && target.nlink.get() >= DISK_LINKS_MAX {
            return Err(Errno::EMLINK);
        }
        if !target.linkable.replace(false) {
            self.core.check_inode()?;
            target.pay(NAME_BYTES)?;
            self.core.count_name(1);
        }
        target.add_link(1);
        self.enter(name, &target)
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        if self.child(name)?.is_dir() {
            return Err(Errno::EISDIR);
        }
        self.leave(name)?.dropped();
        Ok(())
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        let child = self.child(name)?;
        if !child.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        child.check_empty()?;
        self.leave(name)?.dropped();
        Ok(())
    }

    fn rename(&self, old: &[u8], new_dir: &InodeRef, new: &[u8], flags: u32) -> Result<()> {
        let dir = self.same_fs(new_dir)?;
        if flags & RENAME_EXCHANGE != 0 {
            return self.exchange(old, dir, new);
        }
        let child = self.child(old)?;
        match dir.child(new) {
            Ok(_) if flags & RENAME_NOREPLACE != 0 => return Err(Errno::EEXIST),
            // Two names of one file: POSIX says that nothing happens.
            Ok(target) if Rc::ptr_eq(&target, &child) => return Ok(()),
            Ok(target) => {
                target.check_empty()?;
                match (child.is_dir(), target.is_dir()) {
                    (true, false) => return Err(Errno::ENOTDIR),
                    (false, true) => return Err(Errno::EISDIR),
                    _ => {}
                }
            }
            Err(_) => {}
        }
        if dir.nlink.get() == 0 {
            return Err(Errno::ENOENT);
        }
        // Paid before anything is changed; the whiteout's own charge then has room.
        if flags & RENAME_WHITEOUT != 0 {
            drop(self.core.charge_inode(0)?);
        }
        if let Ok(target) = dir.leave(new) {
            target.dropped();
        }
        self.leave(old)?;
        dir.enter(new, &child)?;
        child.ctime.set(self.now());
        if flags & RENAME_WHITEOUT != 0 {
            let mode = S_IFCHR;
            self.create(
                old,
                &NewNode {
                    mode,
                    uid: 0,
                    gid: 0,
                    rdev: 0,
                    target: b"",
                },
            )?;
        }
        Ok(())
    }

    fn read_dir(&self, cursor: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        self.read();
        for (next, name, node) in self.entries()?.borrow().after(cursor) {
            let file_type = node.mode.get() & S_IFMT;
            if !emit(DirEntry {
                name,
                ino: node.ino,
                file_type,
                next,
            }) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        match &self.data {
            Data::Link(target) => Ok(target.to_vec()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn open(self: Rc<Self>, flags: OpenFlags) -> Result<Rc<dyn File>> {
        match self.mode.get() & S_IFMT {
            S_IFDIR => Ok(Rc::new(DirFile(self))),
            S_IFLNK => Err(Errno::ELOOP),
            S_IFCHR | S_IFBLK | S_IFIFO | S_IFSOCK => Err(Errno::ENXIO),
            _ => Ok(Rc::new(TmpFile {
                node: self,
                touch: !flags.contains(OpenFlags::NOATIME),
            })),
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        Ok(self.content()?.borrow().read(offset, buf))
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<usize> {
        let content = self.content()?;
        let done = content
            .borrow_mut()
            .write(offset, buf, || self.core.new_page())?;
        self.changed();
        Ok(done)
    }

    fn page(&self, index: u64, write: bool) -> Result<Option<Page>> {
        let mut content = self.content()?.borrow_mut();
        let page = content.page(index, write, || self.core.new_page())?;
        drop(content);
        if write {
            self.changed();
        }
        Ok(page)
    }

    fn seek_data(&self, offset: u64, data: bool) -> Result<u64> {
        self.content()?
            .borrow()
            .seek(offset, data)
            .ok_or(Errno::ENXIO)
    }

    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<()> {
        let end = offset
            .checked_add(len)
            .filter(|&end| i64::try_from(end).is_ok());
        let end = end.ok_or(Errno::EFBIG)?;
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let content = self.content().map_err(|_| Errno::ENODEV)?;
        let keep = mode & FALLOC_FL_KEEP_SIZE != 0;
        match mode & !FALLOC_FL_KEEP_SIZE {
            // Room is checked, not taken: a guest that reserves a terabyte costs nothing.
            0 => self.core.check_room(len)?,
            FALLOC_FL_PUNCH_HOLE if keep => {
                let freed = content.borrow_mut().punch(offset, len);
                self.core.give_pages(freed);
            }
            FALLOC_FL_ZERO_RANGE => {
                let freed = content.borrow_mut().punch(offset, len);
                self.core.give_pages(freed);
            }
            _ => return Err(Errno::EOPNOTSUPP),
        }
        if !keep && end > content.borrow().size() {
            content.borrow_mut().truncate(end);
        }
        self.changed();
        Ok(())
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        self.xattrs.get(name)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
        let before = self.xattrs.bytes();
        self.pay((name.len() + value.len() + XATTR_BYTES) as i64)?;
        let done = self.xattrs.set(name, value, flags);
        let after = self.xattrs.bytes();
        // Back to what there is now; giving back cannot fail.
        let paid = before + name.len() + value.len() + XATTR_BYTES;
        let _ = self.pay(after as i64 - paid as i64);
        done?;
        self.ctime.set(self.now());
        Ok(())
    }

    fn list_xattr(&self) -> Result<Vec<Vec<u8>>> {
        Ok(self.xattrs.list())
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        let before = self.xattrs.bytes();
        self.xattrs.remove(name)?;
        // Giving back cannot fail.
        let _ = self.pay(self.xattrs.bytes() as i64 - before as i64);
        self.ctime.set(self.now());
        Ok(())
    }

    fn attachments(&self) -> Option<&Attachments> {
        Some(&self.attachments)
    }
}

impl Drop for Node {
    /// Frees a tree of directories one by one, however deep it is.
    fn drop(&mut self) {
        self.core.give_inode();
        match &mut self.data {
            Data::File(content) => self.core.give_pages(content.get_mut().page_count()),
            Data::Dir(entries) => {
                let mut work: Vec<Rc<Node>> = entries.get_mut().take().collect();
                while let Some(child) = work.pop() {
                    if let Ok(mut node) = Rc::try_unwrap(child)
                        && let Data::Dir(entries) = &mut node.data
                    {
                        work.extend(entries.get_mut().take());
                    }
                }
            }
            _ => {}
        }
    }
}

/// An open regular file.
struct TmpFile {
    node: Rc<Node>,
    touch: bool,
}

impl File for TmpFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        if self.touch {
            self.node.read();
        }
        self.node.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<usize> {
        self.node.write_at(offset, buf)
    }

    fn always_ready(&self) -> bool {
        true
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn page(&self, index: u64, write: bool) -> Result<Option<Page>> {
        self.node.page(index, write)
    }
}
