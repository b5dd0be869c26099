//! Dentries (a name in a tree, with its inode) and [`Path`]: a dentry seen through a mount.
//!
//! Ownership: a dentry holds its parent, a directory only knows its children weakly, and each
//! [`SuperBlock`] keeps the newest few thousand dentries alive. So nothing needs to be torn down
//! by hand, and a removed file is gone when its last user is.
//!
//! A known dentry is checked against `Inode::lookup` each time it is found. That is one more hash
//! lookup, and the reason why changes behind our back are harmless: an overlay writes to its upper
//! directory directly, and the entries of procfs come and go.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use abi::Result;

use crate::inode::{FileSystem, InodeRef};
use crate::mount::{Mount, MountFlags};

/// How many dentries nobody uses a file system keeps for the next lookup.
const KEPT_DENTRIES_MAX: usize = 4096;

/// The slot of a dentry that is not kept.
const NOT_KEPT: usize = usize::MAX;

/// A file system as it is mounted, shared by all its mounts.
pub struct SuperBlock {
    /// The file system.
    pub fs: Rc<dyn FileSystem>,
    /// Flags that hold for all mounts of it (`MS_RDONLY`).
    pub flags: Cell<MountFlags>,
    /// `st_dev` of its inodes.
    pub device: u64,
    root: Rc<Dentry>,
    kept: RefCell<Kept>,
}

/// A ring of dentries; a new one takes the place of the oldest.
#[derive(Default)]
struct Kept {
    ring: Vec<Option<Rc<Dentry>>>,
    next: usize,
}

impl SuperBlock {
    /// A file system with the dentry of its root.
    #[must_use]
    pub fn new(fs: Rc<dyn FileSystem>, device: u64, flags: MountFlags) -> Rc<SuperBlock> {
        let root = Dentry::new(None, b"/", fs.root());
        Rc::new(SuperBlock {
            fs,
            flags: Cell::new(flags),
            device,
            root,
            kept: RefCell::default(),
        })
    }

    /// The dentry of the root directory.
    #[must_use]
    pub fn root(&self) -> &Rc<Dentry> {
        &self.root
    }

    fn keep(&self, dentry: &Rc<Dentry>) {
        let old = {
            let mut kept = self.kept.borrow_mut();
            let slot = kept.next;
            kept.next = (slot + 1) % KEPT_DENTRIES_MAX;
            dentry.slot.set(slot);
            if slot == kept.ring.len() {
                kept.ring.push(Some(Rc::clone(dentry)));
                None
            } else {
                kept.ring[slot].replace(Rc::clone(dentry))
            }
        };
        // Dropped outside the borrow: it may free a whole chain of parents.
        if let Some(old) = old {
            old.slot.set(NOT_KEPT);
        }
    }

    fn let_go(&self, dentry: &Dentry) {
        let slot = dentry.slot.replace(NOT_KEPT);
        let old = self
            .kept
            .borrow_mut()
            .ring
            .get_mut(slot)
            .and_then(Option::take);
        drop(old);
    }

    /// Drops the dentries kept only for the next lookup, and with them the inodes that have no name.
    pub fn shrink(&self) {
        let kept = std::mem::take(&mut *self.kept.borrow_mut());
        for dentry in kept.ring.into_iter().flatten() {
            dentry.slot.set(NOT_KEPT);
        }
    }
}

/// A name in a directory and the inode it stands for.
pub struct Dentry {
    inode: InodeRef,
    parent: RefCell<Option<Rc<Dentry>>>,
    name: RefCell<Rc<[u8]>>,
    children: RefCell<HashMap<Rc<[u8]>, Weak<Dentry>>>,
    /// How many mounts hang on this dentry, in all namespaces.
    pub(crate) mounted: Cell<u32>,
    deleted: Cell<bool>,
    slot: Cell<usize>,
}

impl Dentry {
    fn new(parent: Option<Rc<Dentry>>, name: &[u8], inode: InodeRef) -> Rc<Dentry> {
        Rc::new(Dentry {
            inode,
            parent: RefCell::new(parent),
            name: RefCell::new(Rc::from(name)),
            children: RefCell::default(),
            mounted: Cell::new(0),
            deleted: Cell::new(false),
            slot: Cell::new(NOT_KEPT),
        })
    }

    /// A dentry without a place in the tree: an unnamed temporary file.
    pub(crate) fn unnamed(parent: &Rc<Dentry>, name: &[u8], inode: InodeRef) -> Rc<Dentry> {
        let dentry = Dentry::new(Some(Rc::clone(parent)), name, inode);
        dentry.deleted.set(true);
        dentry
    }

    /// The inode.
    #[must_use]
    pub fn inode(&self) -> &InodeRef {
        &self.inode
    }

    /// The directory it is in; `None` for a root.
    #[must_use]
    pub fn parent(&self) -> Option<Rc<Dentry>> {
        self.parent.borrow().clone()
    }

    /// Its name; `/` for a root.
    #[must_use]
    pub fn name(&self) -> Rc<[u8]> {
        Rc::clone(&self.name.borrow())
    }

    /// True when the name was removed from its directory.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted.get()
    }

    /// True when this is `ancestor` or below it.
    #[must_use]
    pub fn is_within(self: &Rc<Dentry>, ancestor: &Rc<Dentry>) -> bool {
        let mut here = Some(Rc::clone(self));
        while let Some(dentry) = here {
            if Rc::ptr_eq(&dentry, ancestor) {
                return true;
            }
            here = dentry.parent();
        }
        false
    }

    /// The entry `name`, found in the cache or made from the inode's own `lookup`.
    pub fn child(self: &Rc<Dentry>, sb: &SuperBlock, name: &[u8]) -> Result<Rc<Dentry>> {
        let known = self.children.borrow().get(name).and_then(Weak::upgrade);
        if let Some(known) = &known
            && known.mounted.get() > 0
        {
            // A mount point stays what it is, also where each lookup makes a new inode (procfs).
            return Ok(Rc::clone(known));
        }
        match (self.inode.lookup(name), known) {
            (Ok(inode), Some(known)) if same_inode(&inode, &known.inode) => Ok(known),
            (Ok(inode), _) => Ok(self.add(sb, name, inode)),
            (Err(errno), known) => {
                if let Some(known) = known.filter(|_| errno == abi::Errno::ENOENT) {
                    self.forget(sb, name);
                    drop(known);
                }
                Err(errno)
            }
        }
    }

    /// Enters a name that was just made or found.
    pub(crate) fn add(
        self: &Rc<Dentry>,
        sb: &SuperBlock,
        name: &[u8],
        inode: InodeRef,
    ) -> Rc<Dentry> {
        let dentry = Dentry::new(Some(Rc::clone(self)), name, inode);
        self.children
            .borrow_mut()
            .insert(dentry.name(), Rc::downgrade(&dentry));
        if !self.inode.is_volatile() {
            sb.keep(&dentry);
        }
        dentry
    }

    /// Something is mounted here: from now on every look-up finds this very dentry, also where each makes a
    /// new inode (procfs) and a later look-up has taken the name.
    pub(crate) fn cover(self: &Rc<Dentry>) {
        self.mounted.set(self.mounted.get() + 1);
        if let Some(parent) = self.parent().filter(|_| !self.is_deleted()) {
            let mut siblings = parent.children.borrow_mut();
            siblings.insert(self.name(), Rc::downgrade(self));
        }
    }

    /// The name was removed: who still holds the dentry sees it as deleted.
    pub(crate) fn forget(&self, sb: &SuperBlock, name: &[u8]) {
        let known = self
            .children
            .borrow_mut()
            .remove(name)
            .and_then(|weak| weak.upgrade());
        if let Some(known) = known {
            known.deleted.set(true);
            sb.let_go(&known);
        }
    }

    /// The entry was renamed: the dentry goes along, so that who holds it sees the new name.
    pub(crate) fn moved(
        self: &Rc<Dentry>,
        sb: &SuperBlock,
        old: &[u8],
        new_dir: &Rc<Dentry>,
        new: &[u8],
    ) {
        new_dir.forget(sb, new);
        let taken = self
            .children
            .borrow_mut()
            .remove(old)
            .and_then(|weak| weak.upgrade());
        if let Some(dentry) = taken {
            dentry.place(new_dir, new);
        }
    }

    /// Two entries changed places (`RENAME_EXCHANGE`).
    pub(crate) fn exchanged(self: &Rc<Dentry>, old: &[u8], new_dir: &Rc<Dentry>, new: &[u8]) {
        let one = self
            .children
            .borrow_mut()
            .remove(old)
            .and_then(|weak| weak.upgrade());
        let other = new_dir
            .children
            .borrow_mut()
            .remove(new)
            .and_then(|weak| weak.upgrade());
        if let Some(dentry) = one {
            dentry.place(new_dir, new);
        }
        if let Some(dentry) = other {
            dentry.place(self, old);
        }
    }

    fn place(self: &Rc<Dentry>, dir: &Rc<Dentry>, name: &[u8]) {
        let old = self.parent.replace(Some(Rc::clone(dir)));
        *self.name.borrow_mut() = Rc::from(name);
        dir.children
            .borrow_mut()
            .insert(self.name(), Rc::downgrade(self));
        drop(old);
    }
}

impl Drop for Dentry {
    /// Takes the name out of the parent and frees the chain of parents one by one: a tree a hundred
    /// thousand levels deep must not use as many stack frames.
    fn drop(&mut self) {
        leave_parent(self);
        let mut above = self.parent.get_mut().take();
        while let Some(parent) = above {
            above = match Rc::try_unwrap(parent) {
                Ok(mut parent) => {
                    leave_parent(&mut parent);
                    parent.parent.get_mut().take()
                }
                Err(_) => None,
            };
        }
    }
}

fn leave_parent(dentry: &mut Dentry) {
    let me: *const Dentry = dentry;
    let Some(parent) = dentry.parent.get_mut() else {
        return;
    };
    let Ok(mut siblings) = parent.children.try_borrow_mut() else {
        return;
    };
    let name = dentry.name.get_mut();
    // A dead entry is ours (or as dead as ours); a live one belongs to a dentry that took the name.
    if siblings
        .get(&name[..])
        .is_some_and(|weak| weak.strong_count() == 0 || weak.as_ptr() == me)
    {
        siblings.remove(&name[..]);
    }
}

/// True when both are the same inode object.
#[must_use]
pub fn same_inode(a: &InodeRef, b: &InodeRef) -> bool {
    std::ptr::addr_eq(Rc::as_ptr(a), Rc::as_ptr(b))
}

/// A place in the tree: a dentry and the mount it is seen through.
#[derive(Clone)]
pub struct Path {
    /// The mount.
    pub mount: Rc<Mount>,
    /// The dentry, in the mounted file system.
    pub dentry: Rc<Dentry>,
}

impl PartialEq for Path {
    fn eq(&self, other: &Path) -> bool {
        Rc::ptr_eq(&self.mount, &other.mount) && Rc::ptr_eq(&self.dentry, &other.dentry)
    }
}

impl Eq for Path {}

impl std::fmt::Debug for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Path({}:{})",
            self.mount.id,
            String::from_utf8_lossy(&self.dentry.name())
        )
    }
}

impl Path {
    /// The inode.
    #[must_use]
    pub fn inode(&self) -> InodeRef {
        Rc::clone(self.dentry.inode())
    }

    /// The last component, as the dentry has it.
    #[must_use]
    pub fn name(&self) -> Rc<[u8]> {
        self.dentry.name()
    }

    /// True when this is the root of its mount.
    #[must_use]
    pub fn is_mount_root(&self) -> bool {
        Rc::ptr_eq(&self.dentry, self.mount.root())
    }

    /// The entry `name` below, with the mounts on it.
    pub fn child(&self, name: &[u8]) -> Result<Path> {
        let dentry = self.dentry.child(self.mount.super_block(), name)?;
        Ok(Path {
            mount: Rc::clone(&self.mount),
            dentry,
        }
        .with_mounts())
    }

    /// The top of what is mounted here, or this path itself.
    #[must_use]
    pub fn with_mounts(self) -> Path {
        let mut here = self;
        while here.dentry.mounted.get() > 0 {
            match here.mount.mounted_at(&here.dentry) {
                Some(mount) => here = mount.root_path(),
                None => break,
            }
        }
        here
    }

    /// Where `..` leads, without regard to a root; `None` at the top.
    #[must_use]
    pub fn up(&self) -> Option<Path> {
        let mut here = self.clone();
        while here.is_mount_root() {
            here = here.mount.mount_point()?;
        }
        let dentry = here.dentry.parent()?;
        Some(
            Path {
                mount: here.mount,
                dentry,
            }
            .with_mounts(),
        )
    }

    /// True when this is `ancestor` or below it, over mounts.
    #[must_use]
    pub fn is_within(&self, ancestor: &Path) -> bool {
        let mut here = self.clone();
        loop {
            if Rc::ptr_eq(&here.mount, &ancestor.mount) {
                return here.dentry.is_within(&ancestor.dentry);
            }
            match here.mount.mount_point() {
                Some(above) => here = above,
                None => return false,
            }
        }
    }
}
