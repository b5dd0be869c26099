//! The inode of an overlay: which sides a file has, and what it shows of them.
//!
//! A node exists only while someone uses the file; untouched files cost nothing. It keeps its
//! identity (and what the kernel attached: locks, FIFOs, sockets) when it is copied up or renamed.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use abi::{Errno, Result};
use mem::Page;

use super::file::RegularFile;
use super::readdir::DirectoryFile;
use super::{Core, STORED_WHITEOUT};
use crate::file::{File, OpenFlags};
use crate::inode::{
    Attachments, Attr, DirEntry, FileSystem, Inode, InodeRef, NewNode, S_IFBLK, S_IFCHR, S_IFDIR,
    S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK, SetAttr,
};

/// A file in a lower layer.
#[derive(Clone)]
pub(super) struct Lower {
    /// Index of the layer, 0 the topmost.
    pub(super) layer: usize,
    /// The file there.
    pub(super) inode: InodeRef,
}

/// An inode of an overlay.
pub(super) struct Node {
    pub(super) core: Rc<Core>,
    pub(super) me: Weak<Node>,
    pub(super) ino: u64,
    /// Type bits; never change.
    pub(super) file_type: u32,
    /// In the upper layer. Set once, by copy-up.
    pub(super) upper: RefCell<Option<InodeRef>>,
    /// In the lower layers, topmost first. Directories: all that are merged; else at most one.
    pub(super) lower: Vec<Lower>,
    pub(super) parent: RefCell<Option<Rc<Node>>>,
    pub(super) name: RefCell<Rc<[u8]>>,
    /// The lower name of a renamed directory, or the path of it from the root of the layers.
    pub(super) redirect: RefCell<Option<Rc<[u8]>>>,
    /// It has no name any more: copy-up gives it none either.
    pub(super) gone: Cell<bool>,
    pub(super) children: RefCell<HashMap<Rc<[u8]>, Weak<Node>>>,
    attachments: Attachments,
}

impl Node {
    pub(super) fn new(
        core: &Rc<Core>,
        parent: Option<Rc<Node>>,
        name: &[u8],
        upper: Option<InodeRef>,
        lower: Vec<Lower>,
        ino: u64,
    ) -> Result<Rc<Node>> {
        let real = upper
            .as_ref()
            .or(lower.first().map(|lower| &lower.inode))
            .ok_or(Errno::ENOENT)?;
        let attr = real.attr()?;
        let file_type = if is_stored_whiteout(real, &attr) {
            S_IFCHR
        } else {
            attr.file_type()
        };
        Ok(Rc::new_cyclic(|me| Node {
            core: Rc::clone(core),
            me: me.clone(),
            ino,
            file_type,
            upper: RefCell::new(upper),
            lower,
            parent: RefCell::new(parent),
            name: RefCell::new(Rc::from(name)),
            redirect: RefCell::new(None),
            gone: Cell::new(false),
            children: RefCell::default(),
            attachments: Attachments::default(),
        }))
    }

    pub(super) fn is_dir(&self) -> bool {
        self.file_type == S_IFDIR
    }

    /// The file whose content and attributes show.
    pub(super) fn real(&self) -> Result<InodeRef> {
        if let Some(upper) = &*self.upper.borrow() {
            return Ok(Rc::clone(upper));
        }
        self.lower
            .first()
            .map(|lower| Rc::clone(&lower.inode))
            .ok_or(Errno::EIO)
    }

    /// The file in the upper layer; `EROFS` before copy-up.
    pub(super) fn upper(&self) -> Result<InodeRef> {
        self.upper.borrow().clone().ok_or(Errno::EROFS)
    }

    pub(super) fn has_upper(&self) -> bool {
        self.upper.borrow().is_some()
    }

    /// A directory made of more than one.
    fn is_merged(&self) -> bool {
        self.is_dir() && self.lower.len() + usize::from(self.has_upper()) > 1
    }

    /// The overlay's own node behind an inode.
    pub(super) fn same_fs<'n>(&self, other: &'n InodeRef) -> Result<&'n Node> {
        let node = other.as_any().downcast_ref::<Node>().ok_or(Errno::EXDEV)?;
        if Rc::ptr_eq(&node.core, &self.core) {
            Ok(node)
        } else {
            Err(Errno::EXDEV)
        }
    }

    pub(super) fn rc(&self) -> Result<Rc<Node>> {
        self.me.upgrade().ok_or(Errno::ENOENT)
    }

    /// Enters a child into the cache of names.
    pub(super) fn remember(&self, name: &[u8], child: &Rc<Node>) {
        self.children
            .borrow_mut()
            .insert(Rc::from(name), Rc::downgrade(child));
    }
}

/// True for a regular file that stands for a character device 0/0.
pub(super) fn is_stored_whiteout(inode: &InodeRef, attr: &Attr) -> bool {
    attr.file_type() == S_IFREG && attr.size == 0 && inode.get_xattr(STORED_WHITEOUT).is_ok()
}

impl Inode for Node {
    fn fs(&self) -> Rc<dyn FileSystem> {
        let known = self.core.fs.borrow().upgrade();
        match known.map_or_else(|| self.core.with_root(), Ok) {
            Ok(fs) => fs,
            // Only when a layer fails to tell its root's attributes, which it did at mount.
            Err(_) => self.core.upper.as_ref().map_or_else(
                || Rc::clone(self.core.lower[0].mount.fs()),
                |upper| Rc::clone(upper.mount.fs()),
            ),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<Attr> {
        let mut attr = self.real()?.attr()?;
        attr.ino = self.ino;
        attr.mode = self.file_type | attr.mode & !S_IFMT;
        if self.is_merged() {
            // Subdirectories of all layers would have to be counted; 1 says "not known" to find(1).
            attr.nlink = 1;
        }
        Ok(attr)
    }

    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        self.copy_up(change.size != Some(0))?;
        self.upper()?.set_attr(change)
    }

    fn lookup(&self, name: &[u8]) -> Result<InodeRef> {
        if !self.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let node: InodeRef = self.find(name)?;
        Ok(node)
    }

    fn create(&self, name: &[u8], node: &NewNode<'_>) -> Result<InodeRef> {
        let node: InodeRef = self.make(name, node)?;
        Ok(node)
    }

    fn tmpfile(&self, node: &NewNode<'_>, linkable: bool) -> Result<InodeRef> {
        self.copy_up(true)?;
        let upper = self.upper()?.tmpfile(node, linkable)?;
        let ino = upper.attr()?.ino;
        let file = Node::new(
            &self.core,
            Some(self.rc()?),
            b"",
            Some(upper),
            Vec::new(),
            ino,
        )?;
        file.gone.set(true);
        Ok(file)
    }

    fn ensure_content(&self, offset: u64, len: u64) -> Result<()> {
        self.real()?.ensure_content(offset, len)
    }

    fn link(&self, name: &[u8], target: &InodeRef) -> Result<()> {
        self.make_link(name, self.same_fs(target)?)
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        self.remove(name, false)
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        self.remove(name, true)
    }

    fn rename(&self, old: &[u8], new_dir: &InodeRef, new: &[u8], flags: u32) -> Result<()> {
        self.rename_entry(old, self.same_fs(new_dir)?, new, flags)
    }

    fn read_dir(&self, cursor: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        self.list()?.give(cursor, emit);
        Ok(())
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        self.real()?.read_link()
    }

    fn open(self: Rc<Self>, flags: OpenFlags) -> Result<Rc<dyn File>> {
        match self.file_type {
            S_IFDIR => return Ok(Rc::new(DirectoryFile::new(self))),
            S_IFCHR | S_IFBLK | S_IFIFO | S_IFSOCK => return self.real()?.open(flags),
            _ => {}
        }
        if flags.writable() || flags.contains(OpenFlags::TRUNC) {
            self.copy_up(!flags.contains(OpenFlags::TRUNC))?;
        }
        Ok(Rc::new(RegularFile::new(self, flags)?))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.real()?.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<usize> {
        self.copy_up(true)?;
        self.upper()?.write_at(offset, buf)
    }

    fn page(&self, index: u64, write: bool) -> Result<Option<Page>> {
        if write {
            self.copy_up(true)?;
        }
        self.real()?.page(index, write)
    }

    fn seek_data(&self, offset: u64, data: bool) -> Result<u64> {
        self.real()?.seek_data(offset, data)
    }

    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<()> {
        self.copy_up(true)?;
        self.upper()?.allocate(mode, offset, len)
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        self.xattr_value(name)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
        self.change_xattr(name, Some(value), flags)
    }

    fn list_xattr(&self) -> Result<Vec<Vec<u8>>> {
        self.xattr_names()
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        self.change_xattr(name, None, 0)
    }

    fn attachments(&self) -> Option<&Attachments> {
        Some(&self.attachments)
    }
}

impl Drop for Node {
    /// Leaves the caches, and frees the chain of parents one by one.
    fn drop(&mut self) {
        leave(self);
        let mut above = self.parent.get_mut().take();
        while let Some(parent) = above {
            above = match Rc::try_unwrap(parent) {
                Ok(mut parent) => {
                    leave(&mut parent);
                    parent.parent.get_mut().take()
                }
                Err(_) => None,
            };
        }
    }
}

fn leave(node: &mut Node) {
    if !node.is_dir()
        && let Some(upper) = node.upper.get_mut()
        && let Ok(mut links) = node.core.hard_links.try_borrow_mut()
    {
        let key = Rc::as_ptr(upper).cast::<()>();
        if links.get(&key).is_some_and(|weak| weak.strong_count() == 0) {
            links.remove(&key);
        }
    }
    if let Some(parent) = node.parent.get_mut()
        && let Ok(mut names) = parent.children.try_borrow_mut()
    {
        let name = node.name.get_mut();
        if names
            .get(&name[..])
            .is_some_and(|weak| weak.strong_count() == 0)
        {
            names.remove(&name[..]);
        }
    }
}
