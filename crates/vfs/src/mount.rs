//! Mounts and mount namespaces (`mount_namespaces(7)`).
//!
//! A mount holds the mounts on it, a namespace holds its topmost mount, and a mount knows where it
//! hangs only weakly: dropping the last reference to a namespace unmounts everything in it, while
//! an open file keeps its own mount and file system alive.
//!
//! The verbs with permission checks are in `context::mount`; `/proc/PID/mountinfo` is printed by
//! `mountinfo`.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};

use abi::{Errno, Result};
use bitflags::bitflags;
use clock::WaitQueue;

use crate::file::{File, OpenFlags};
use crate::inode::{Attr, FileSystem};
use crate::lock::LockWaits;
use crate::mountinfo::makedev;
use crate::path::{Dentry, Path, SuperBlock};

/// Most mounts in a namespace (`fs.mount-max`).
pub const MOUNTS_MAX: usize = 100_000;

bitflags! {
    /// `mount(2)` flags.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MountFlags: u32 {
        /// Read-only.
        const RDONLY = 1;
        /// Ignore set-user-ID bits.
        const NOSUID = 2;
        /// Device files cannot be opened.
        const NODEV = 4;
        /// Programs cannot be executed.
        const NOEXEC = 8;
        /// Writes are synchronous.
        const SYNCHRONOUS = 16;
        /// Change flags of a mount.
        const REMOUNT = 32;
        /// Do not follow symbolic links here.
        const NOSYMFOLLOW = 256;
        /// No access times.
        const NOATIME = 1024;
        /// No access times of directories.
        const NODIRATIME = 2048;
        /// Show a tree at another place.
        const BIND = 4096;
        /// Move a mount.
        const MOVE = 8192;
        /// With `BIND` or a propagation flag: the mounts below too.
        const REC = 16384;
        /// No messages.
        const SILENT = 32768;
        /// Cannot be bound.
        const UNBINDABLE = 1 << 17;
        /// No propagation.
        const PRIVATE = 1 << 18;
        /// Propagation into here only.
        const SLAVE = 1 << 19;
        /// Propagation both ways.
        const SHARED = 1 << 20;
        /// Access times only when older than the content.
        const RELATIME = 1 << 21;
        /// Access times at every read.
        const STRICTATIME = 1 << 24;
        /// Times written lazily.
        const LAZYTIME = 1 << 25;
    }
}

impl MountFlags {
    /// Flags that belong to one mount.
    pub const PER_MOUNT: MountFlags = MountFlags::RDONLY
        .union(MountFlags::NOSUID)
        .union(MountFlags::NODEV)
        .union(MountFlags::NOEXEC)
        .union(MountFlags::NOATIME)
        .union(MountFlags::NODIRATIME)
        .union(MountFlags::NOSYMFOLLOW)
        .union(MountFlags::RELATIME);

    /// Flags that belong to the file system.
    pub const PER_SUPER: MountFlags = MountFlags::RDONLY
        .union(MountFlags::SYNCHRONOUS)
        .union(MountFlags::LAZYTIME);

    /// Flags that change the propagation type.
    pub const PROPAGATION: MountFlags = MountFlags::UNBINDABLE
        .union(MountFlags::PRIVATE)
        .union(MountFlags::SLAVE)
        .union(MountFlags::SHARED);

    /// What a mount made with these flags keeps: relatime unless said otherwise.
    #[must_use]
    pub fn for_mount(self) -> MountFlags {
        let mut kept = self & MountFlags::PER_MOUNT;
        if !self.intersects(MountFlags::NOATIME | MountFlags::STRICTATIME) {
            kept |= MountFlags::RELATIME;
        }
        if self.contains(MountFlags::NOATIME) {
            kept -= MountFlags::RELATIME;
        }
        kept
    }
}

/// How a mount takes part in propagation (`shared:`, `master:` in mountinfo).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Propagation {
    /// Peer group it shares with.
    pub shared: Option<u32>,
    /// Peer group it receives from.
    pub master: Option<u32>,
    /// Cannot be bound.
    pub unbindable: bool,
}

/// A file system (or a part of one) hung into the tree.
pub struct Mount {
    /// Mount id, as in mountinfo.
    pub id: u32,
    /// What was mounted: a device, a path, or a word.
    pub source: Vec<u8>,
    /// `ro`, `nosuid`, `nodev`, `noexec` and access time flags.
    pub flags: Cell<MountFlags>,
    /// Propagation type.
    pub propagation: Cell<Propagation>,
    sb: Rc<SuperBlock>,
    root: Rc<Dentry>,
    place: RefCell<Option<Place>>,
    children: RefCell<Vec<Rc<Mount>>>,
    table: Rc<MountTable>,
    namespace: RefCell<Weak<MountNamespace>>,
}

/// Where a mount hangs.
struct Place {
    mount: Weak<Mount>,
    dentry: Rc<Dentry>,
}

/// Opens device files, FIFOs and sockets of file systems that do not open them themselves.
pub trait SpecialFiles {
    /// Opens the file at `path`, whose type and device number are in `attr`.
    fn open(&self, path: &Path, attr: &Attr, flags: OpenFlags) -> Result<Rc<dyn File>>;
}

/// What the mount namespaces of one machine share: ids, super blocks, and who opens device files.
#[derive(Default)]
pub struct MountTable {
    next_mount: Cell<u32>,
    next_group: Cell<u32>,
    next_namespace: Cell<u64>,
    next_device: Cell<u64>,
    super_blocks: RefCell<Vec<Weak<SuperBlock>>>,
    /// Mounts by the dentry they hang on, for removing a directory that is a mount point elsewhere.
    mounted_on: RefCell<HashMap<*const Dentry, Vec<Weak<Mount>>>>,
    /// All there are, for propagation.
    all: RefCell<Vec<Weak<Mount>>>,
    special: RefCell<Option<Rc<dyn SpecialFiles>>>,
    arrivals: Rc<WaitQueue>,
    /// Who waits for which file lock.
    pub lock_waits: LockWaits,
}

impl MountTable {
    /// The super block of `fs`, made at its first mount: all mounts of a file system share dentries.
    fn super_block(&self, fs: &Rc<dyn FileSystem>, flags: MountFlags) -> Rc<SuperBlock> {
        let mut known = self.super_blocks.borrow_mut();
        known.retain(|weak| weak.strong_count() > 0);
        if let Some(sb) = known
            .iter()
            .filter_map(Weak::upgrade)
            .find(|sb| Rc::ptr_eq(&sb.fs, fs))
        {
            return sb;
        }
        let device = match fs.device() {
            0 => {
                self.next_device.set(self.next_device.get() + 1);
                // Minor numbers of unnamed devices; the first few look like a booted host's.
                makedev(0, 31 + self.next_device.get())
            }
            device => device,
        };
        let sb = SuperBlock::new(Rc::clone(fs), device, flags & MountFlags::PER_SUPER);
        known.push(Rc::downgrade(&sb));
        sb
    }

    fn next_id(&self) -> u32 {
        self.next_mount.set(self.next_mount.get() + 1);
        self.next_mount.get()
    }

    pub(crate) fn next_group(&self) -> u32 {
        self.next_group.set(self.next_group.get() + 1);
        self.next_group.get()
    }

    /// A mount of `fs` that hangs nowhere yet.
    #[must_use]
    pub fn mount(
        self: &Rc<Self>,
        fs: &Rc<dyn FileSystem>,
        source: &[u8],
        flags: MountFlags,
    ) -> Rc<Mount> {
        let sb = self.super_block(fs, flags);
        let root = Rc::clone(sb.root());
        self.make(sb, root, source, flags.for_mount())
    }

    fn make(
        self: &Rc<Self>,
        sb: Rc<SuperBlock>,
        root: Rc<Dentry>,
        source: &[u8],
        flags: MountFlags,
    ) -> Rc<Mount> {
        let mount = Rc::new(Mount {
            id: self.next_id(),
            source: source.to_vec(),
            flags: Cell::new(flags),
            propagation: Cell::default(),
            sb,
            root,
            place: RefCell::new(None),
            children: RefCell::default(),
            table: Rc::clone(self),
            namespace: RefCell::default(),
        });
        let mut all = self.all.borrow_mut();
        if all.len() == all.capacity() {
            all.retain(|known| known.strong_count() > 0);
        }
        all.push(Rc::downgrade(&mount));
        mount
    }

    /// The mounts that hang somewhere, in whatever namespace, oldest first.
    pub(crate) fn attached(&self) -> Vec<Rc<Mount>> {
        let all = self.all.borrow();
        all.iter()
            .filter_map(Weak::upgrade)
            .filter(|mount| mount.namespace().is_some())
            .collect()
    }

    /// Mounts and file systems there are, also those that hang nowhere any more but are in use.
    #[must_use]
    pub fn living(&self) -> (usize, usize) {
        fn alive<T>(list: &[Weak<T>]) -> usize {
            list.iter().filter(|weak| weak.strong_count() > 0).count()
        }
        (
            alive(&self.all.borrow()),
            alive(&self.super_blocks.borrow()),
        )
    }

    /// The mounts that hang on `dentry`, in any namespace.
    pub(crate) fn mounts_on(&self, dentry: &Rc<Dentry>) -> Vec<Rc<Mount>> {
        let known = self.mounted_on.borrow();
        let list = known.get(&Rc::as_ptr(dentry));
        list.into_iter()
            .flatten()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Woken when lazily fetched content came: after `NOT_HERE_YET` a task registers here and does the
    /// operation again. Lazy trees of this machine are made with this queue.
    #[must_use]
    pub fn arrivals(&self) -> &Rc<WaitQueue> {
        &self.arrivals
    }

    /// Who opens device files, FIFOs and sockets.
    #[must_use]
    pub fn special_files(&self) -> Option<Rc<dyn SpecialFiles>> {
        self.special.borrow().clone()
    }
}

impl Mount {
    /// The file system.
    #[must_use]
    pub fn fs(&self) -> &Rc<dyn FileSystem> {
        &self.sb.fs
    }

    /// What all mounts of the file system share.
    #[must_use]
    pub fn super_block(&self) -> &SuperBlock {
        &self.sb
    }

    /// The dentry that shows at the mount point.
    #[must_use]
    pub fn root(&self) -> &Rc<Dentry> {
        &self.root
    }

    /// The path of its root.
    #[must_use]
    pub fn root_path(self: &Rc<Self>) -> Path {
        Path {
            mount: Rc::clone(self),
            dentry: Rc::clone(&self.root),
        }
    }

    /// Where it hangs; `None` for the top of a namespace and what was unmounted.
    #[must_use]
    pub fn mount_point(&self) -> Option<Path> {
        let place = self.place.borrow();
        let place = place.as_ref()?;
        Some(Path {
            mount: place.mount.upgrade()?,
            dentry: Rc::clone(&place.dentry),
        })
    }

    pub(crate) fn table(&self) -> &Rc<MountTable> {
        &self.table
    }

    /// The namespace it is in.
    #[must_use]
    pub fn namespace(&self) -> Option<Rc<MountNamespace>> {
        self.namespace.borrow().upgrade()
    }

    /// True when it cannot be written through.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        (self.flags.get() | self.sb.flags.get()).contains(MountFlags::RDONLY)
    }

    /// The mount on `dentry` of this mount.
    #[must_use]
    pub fn mounted_at(&self, dentry: &Rc<Dentry>) -> Option<Rc<Mount>> {
        let children = self.children.borrow();
        let found = children.iter().rev().find(|child| {
            child
                .place
                .borrow()
                .as_ref()
                .is_some_and(|place| Rc::ptr_eq(&place.dentry, dentry))
        });
        found.cloned()
    }

    /// The mounts on this one, oldest first.
    #[must_use]
    pub fn children(&self) -> Vec<Rc<Mount>> {
        self.children.borrow().clone()
    }

    /// A mount of the same tree from `dentry` down, hanging nowhere, in no peer group.
    #[must_use]
    pub fn clone_at(&self, dentry: &Rc<Dentry>) -> Rc<Mount> {
        self.table.make(
            Rc::clone(&self.sb),
            Rc::clone(dentry),
            &self.source,
            self.flags.get(),
        )
    }

    /// This and all mounts below, parents first.
    #[must_use]
    pub fn subtree(self: &Rc<Self>) -> Vec<Rc<Mount>> {
        let mut all = vec![Rc::clone(self)];
        let mut next = 0;
        while next < all.len() {
            let children = all[next].children();
            all.extend(children);
            next += 1;
        }
        all
    }

    /// Hangs this mount (and what is on it) at `place`.
    pub(crate) fn attach(self: &Rc<Self>, place: &Path) {
        let dentry = Rc::clone(&place.dentry);
        dentry.cover();
        let mut mounted_on = self.table.mounted_on.borrow_mut();
        mounted_on
            .entry(Rc::as_ptr(&dentry))
            .or_default()
            .push(Rc::downgrade(self));
        *self.place.borrow_mut() = Some(Place {
            mount: Rc::downgrade(&place.mount),
            dentry,
        });
        place.mount.children.borrow_mut().push(Rc::clone(self));
        let namespace = place.mount.namespace.borrow().clone();
        for mount in self.subtree() {
            *mount.namespace.borrow_mut() = namespace.clone();
        }
    }

    /// Takes this mount, with what is on it, out of the tree.
    pub(crate) fn detach(self: &Rc<Self>) {
        let parent = self.mount_point().map(|place| place.mount);
        self.leave_place();
        if let Some(parent) = parent {
            parent
                .children
                .borrow_mut()
                .retain(|child| !Rc::ptr_eq(child, self));
        }
        for mount in self.subtree() {
            *mount.namespace.borrow_mut() = Weak::new();
        }
    }

    fn leave_place(&self) {
        let Some(place) = self.place.borrow_mut().take() else {
            return;
        };
        place
            .dentry
            .mounted
            .set(place.dentry.mounted.get().saturating_sub(1));
        let mut mounted_on = self.table.mounted_on.borrow_mut();
        if let Some(list) = mounted_on.get_mut(&Rc::as_ptr(&place.dentry)) {
            list.retain(|weak| weak.strong_count() > 0 && !std::ptr::eq(weak.as_ptr(), self));
            if list.is_empty() {
                mounted_on.remove(&Rc::as_ptr(&place.dentry));
            }
        }
    }

    /// A copy of this tree of mounts as seen from `dentry`, hanging nowhere. With `recurse`, the
    /// mounts below are copied too. `copied` hears of each pair.
    pub(crate) fn copy_tree(
        self: &Rc<Self>,
        dentry: &Rc<Dentry>,
        recurse: bool,
        keep_unbindable: bool,
        copied: &mut dyn FnMut(&Rc<Mount>, &Rc<Mount>),
    ) -> Rc<Mount> {
        let top = self.clone_at(dentry);
        top.propagation.set(self.propagation.get());
        copied(self, &top);
        if !recurse {
            return top;
        }
        let mut work = VecDeque::from([(Rc::clone(self), Rc::clone(&top))]);
        while let Some((old, new)) = work.pop_front() {
            for child in old.children() {
                let Some(place) = child.mount_point() else {
                    continue;
                };
                let outside = Rc::ptr_eq(&old, self) && !place.dentry.is_within(dentry);
                if outside || (child.propagation.get().unbindable && !keep_unbindable) {
                    continue;
                }
                let copy = child.clone_at(&child.root);
                copy.propagation.set(child.propagation.get());
                copy.attach(&Path {
                    mount: Rc::clone(&new),
                    dentry: place.dentry,
                });
                copied(&child, &copy);
                work.push_back((child, copy));
            }
        }
        top
    }

    /// Sets the propagation type; `flags` has one of the four.
    pub(crate) fn set_propagation(&self, flags: MountFlags) {
        let old = self.propagation.get();
        let new = if flags.contains(MountFlags::SHARED) {
            let shared = old.shared.unwrap_or_else(|| self.table.next_group());
            Propagation {
                shared: Some(shared),
                unbindable: false,
                ..old
            }
        } else if flags.contains(MountFlags::SLAVE) {
            Propagation {
                shared: None,
                // Without a peer there is nobody to receive from.
                master: old
                    .shared
                    .filter(|&group| !self.table.is_alone(self, group))
                    .or(old.master),
                unbindable: false,
            }
        } else {
            Propagation {
                unbindable: flags.contains(MountFlags::UNBINDABLE),
                ..Propagation::default()
            }
        };
        self.propagation.set(new);
    }
}

impl Drop for Mount {
    /// Frees a stack of mounts on mounts one by one.
    fn drop(&mut self) {
        self.leave_place();
        let mut below = std::mem::take(self.children.get_mut());
        while let Some(mount) = below.pop() {
            // A mount someone still uses hangs nowhere from now on.
            mount.leave_place();
            if let Ok(mut mount) = Rc::try_unwrap(mount) {
                below.append(mount.children.get_mut());
            }
        }
    }
}

/// The tree of mounts a task sees.
pub struct MountNamespace {
    /// Number of the namespace (`/proc/PID/ns/mnt`).
    pub id: u64,
    root: RefCell<Rc<Mount>>,
    table: Rc<MountTable>,
}

impl MountNamespace {
    /// The first namespace of a machine, with `fs` at the root.
    #[must_use]
    pub fn new(fs: &Rc<dyn FileSystem>, source: &[u8], flags: MountFlags) -> Rc<MountNamespace> {
        let table = Rc::new(MountTable::default());
        let root = table.mount(fs, source, flags);
        MountNamespace::over(table, root)
    }

    fn over(table: Rc<MountTable>, root: Rc<Mount>) -> Rc<MountNamespace> {
        table.next_namespace.set(table.next_namespace.get() + 1);
        let id = 0xf000_0000 + table.next_namespace.get();
        let namespace = Rc::new(MountNamespace {
            id,
            root: RefCell::new(root),
            table,
        });
        for mount in namespace.root_mount().subtree() {
            *mount.namespace.borrow_mut() = Rc::downgrade(&namespace);
        }
        namespace
    }

    /// What all namespaces of the machine share.
    #[must_use]
    pub fn table(&self) -> &Rc<MountTable> {
        &self.table
    }

    /// Says who opens device files, FIFOs and sockets, in all namespaces of the machine.
    pub fn set_special_files(&self, special: Rc<dyn SpecialFiles>) {
        *self.table.special.borrow_mut() = Some(special);
    }

    /// The topmost mount.
    #[must_use]
    pub fn root_mount(&self) -> Rc<Mount> {
        Rc::clone(&self.root.borrow())
    }

    /// The root directory, as a new task in the namespace sees it.
    #[must_use]
    pub fn root(&self) -> Path {
        self.root_mount().root_path().with_mounts()
    }

    pub(crate) fn set_root(self: &Rc<Self>, mount: &Rc<Mount>) {
        for part in mount.subtree() {
            *part.namespace.borrow_mut() = Rc::downgrade(self);
        }
        let old = self.root.replace(Rc::clone(mount));
        drop(old);
    }

    /// True when the mount hangs in this namespace.
    #[must_use]
    pub fn contains(self: &Rc<Self>, mount: &Mount) -> bool {
        std::ptr::eq(mount.namespace.borrow().as_ptr(), Rc::as_ptr(self))
    }

    /// All mounts, parents before children.
    #[must_use]
    pub fn mounts(&self) -> Vec<Rc<Mount>> {
        self.root_mount().subtree()
    }

    /// `ENOSPC` when `more` mounts do not fit.
    pub(crate) fn check_room(&self, more: usize) -> Result<()> {
        if self.mounts().len() + more > MOUNTS_MAX {
            return Err(Errno::ENOSPC);
        }
        Ok(())
    }

    /// A copy of the namespace for `CLONE_NEWNS`, and how to find the same place in it: the caller
    /// translates the root and working directory of the task.
    pub fn copy_tree(&self) -> (Rc<MountNamespace>, impl Fn(&Path) -> Path + use<>) {
        let mut pairs = HashMap::new();
        let root = self.root_mount();
        let copy = root.copy_tree(root.root(), true, true, &mut |old, new| {
            pairs.insert(old.id, Rc::clone(new));
        });
        let namespace = MountNamespace::over(Rc::clone(&self.table), copy);
        let translate = move |path: &Path| match pairs.get(&path.mount.id) {
            Some(mount) => Path {
                mount: Rc::clone(mount),
                dentry: Rc::clone(&path.dentry),
            },
            None => path.clone(),
        };
        (namespace, translate)
    }
}

impl Drop for MountNamespace {
    fn drop(&mut self) {
        // Files still open keep single mounts alive; those must not find each other any more.
        for mount in self.root.get_mut().subtree() {
            mount.leave_place();
        }
    }
}
