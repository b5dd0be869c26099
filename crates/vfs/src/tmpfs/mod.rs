//! tmpfs (`tmpfs(5)`): a file system in memory.
//!
//! [`node`] is the inode, [`dir`] the entries of a directory, [`content`] the pages of a file,
//! [`xattrs`] the extended attributes. Files are sparse, pages are shared with mappings, limits on
//! size and inodes hold. There is no swap and no quota by user.
//!
//! [`Storage`] says what it stands for: memory of the machine, which is charged to the task that touches
//! it first, or the machine's disk.

pub mod content;
pub mod dir;
mod node;
pub mod xattrs;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use abi::{Errno, Result};
use clock::Clock;
use mem::{Account, Charge, Full, Kind, PAGE_SIZE, Page, Payer};

pub use node::Node;

use crate::inode::{FileSystem, InodeRef, NewNode, S_IFDIR, StatFs};
use crate::registry::{MountRequest, split_options};

/// `TMPFS_MAGIC`.
pub const TMPFS_MAGIC: u64 = 0x0102_1994;

/// What an inode with its name costs.
const INODE_BYTES: u64 = 1024;
/// Bytes of a disk for which there is an inode.
const BYTES_PER_INODE: u64 = 8192;

/// Who pays for content.
#[derive(Clone, Debug, Default)]
pub enum Storage {
    /// Nobody.
    #[default]
    Free,
    /// Memory: the task that touches a page or makes a file. When it has no room: `OVER_LIMIT`, and
    /// `ENOMEM` for the machine's own daemons.
    Memory(Rc<Payer>),
    /// A disk, which several file systems may share. When it is full: `ENOSPC`.
    Disk(Rc<Account>),
}

/// What can be said at `mount`.
#[derive(Clone, Debug)]
pub struct TmpfsOptions {
    /// Who pays.
    pub storage: Storage,
    /// Most bytes of content; `None`: no limit.
    pub size: Option<u64>,
    /// Most inodes; `None`: no limit.
    pub inodes: Option<u64>,
    /// Permission bits of the root directory.
    pub mode: u32,
    /// Owner of the root directory.
    pub uid: u32,
    /// Group of the root directory.
    pub gid: u32,
    /// What `/proc/mounts` shows; empty: what differs from the defaults.
    pub shown: String,
}

impl Default for TmpfsOptions {
    fn default() -> Self {
        TmpfsOptions {
            storage: Storage::Free,
            size: None,
            inodes: None,
            mode: 0o1777,
            uid: 0,
            gid: 0,
            shown: String::new(),
        }
    }
}

/// What the inodes of one tmpfs share. It does not hold the root, so there is no cycle.
pub(crate) struct Core {
    pub(crate) clock: Clock,
    fs: RefCell<Weak<Tmpfs>>,
    limits: RefCell<TmpfsOptions>,
    pages: Cell<u64>,
    inodes: Cell<u64>,
    next_ino: Cell<u64>,
}

/// A tmpfs.
pub struct Tmpfs {
    core: Rc<Core>,
    root: Rc<Node>,
}

impl Tmpfs {
    /// An empty file system.
    #[must_use]
    pub fn new(clock: &Clock, options: TmpfsOptions) -> Rc<Tmpfs> {
        let node = NewNode {
            mode: S_IFDIR | (options.mode & 0o7777),
            uid: options.uid,
            gid: options.gid,
            rdev: 0,
            target: b"",
        };
        let core = Rc::new(Core {
            clock: clock.clone(),
            fs: RefCell::default(),
            limits: RefCell::new(options),
            pages: Cell::new(0),
            inodes: Cell::new(0),
            next_ino: Cell::new(1),
        });
        core.with_root(&node)
    }

    /// The root directory as this file system's own type, for building trees directly.
    #[must_use]
    pub fn root_node(&self) -> &Rc<Node> {
        &self.root
    }

    /// Pages of content in use.
    #[must_use]
    pub fn pages_used(&self) -> u64 {
        self.core.pages.get()
    }

    /// Inodes in use.
    #[must_use]
    pub fn inodes_used(&self) -> u64 {
        self.core.inodes.get()
    }
}

impl Core {
    fn with_root(self: &Rc<Self>, node: &NewNode<'_>) -> Rc<Tmpfs> {
        let root = Node::new(self, node, None);
        root.set_nlink(2);
        let fs = Rc::new(Tmpfs {
            core: Rc::clone(self),
            root,
        });
        *self.fs.borrow_mut() = Rc::downgrade(&fs);
        fs
    }

    /// The file system. When it was unmounted and only open files are left, an empty one that has
    /// the same counters.
    pub(crate) fn fs(self: &Rc<Self>) -> Rc<Tmpfs> {
        if let Some(fs) = self.fs.borrow().upgrade() {
            return fs;
        }
        self.with_root(&NewNode {
            mode: S_IFDIR | 0o755,
            uid: 0,
            gid: 0,
            rdev: 0,
            target: b"",
        })
    }

    pub(crate) fn new_page(&self) -> Result<Page> {
        let used = self.pages.get() + 1;
        let limits = self.limits.borrow();
        if limits
            .size
            .is_some_and(|size| used > size.div_ceil(PAGE_SIZE as u64))
        {
            return Err(Errno::ENOSPC);
        }
        let page = match &limits.storage {
            Storage::Free => Ok(Page::zeroed()),
            Storage::Memory(payer) => Page::new_in(&payer.account(), Kind::Shmem),
            Storage::Disk(disk) => Page::new_in(disk, Kind::Disk),
        };
        let page = page.map_err(|full| limits.storage.refused(full))?;
        self.pages.set(used);
        Ok(page)
    }

    /// What a refused charge means to who asked.
    pub(crate) fn refused(&self, full: Full) -> Errno {
        self.limits.borrow().storage.refused(full)
    }

    /// Pays for one more inode, with `more` bytes beside the usual.
    pub(crate) fn charge_inode(&self, more: usize) -> Result<Option<Charge>> {
        self.check_inode()?;
        let bytes = INODE_BYTES + more as u64;
        let limits = self.limits.borrow();
        let charge = match &limits.storage {
            Storage::Free => return Ok(None),
            Storage::Memory(payer) => Charge::new(&payer.account(), Kind::Slab, bytes),
            Storage::Disk(disk) => Charge::new(disk, Kind::Disk, bytes),
        };
        charge
            .map(Some)
            .map_err(|full| limits.storage.refused(full))
    }

    /// `ENOSPC` when the limit leaves no room for so many bytes more.
    pub(crate) fn check_room(&self, bytes: u64) -> Result<()> {
        let wanted = (self.pages.get() * PAGE_SIZE as u64).saturating_add(bytes);
        let limits = self.limits.borrow();
        let full = limits.size.is_some_and(|size| wanted > size)
            || matches!(&limits.storage, Storage::Disk(disk) if bytes > disk.room());
        if full { Err(Errno::ENOSPC) } else { Ok(()) }
    }

    pub(crate) fn give_pages(&self, count: u64) {
        self.pages.set(self.pages.get().saturating_sub(count));
    }

    /// `ENOSPC` when there is no room for one more inode.
    pub(crate) fn check_inode(&self) -> Result<()> {
        let full = self
            .limits
            .borrow()
            .inodes
            .is_some_and(|most| self.inodes.get() >= most);
        if full { Err(Errno::ENOSPC) } else { Ok(()) }
    }

    pub(crate) fn new_ino(&self) -> u64 {
        self.inodes.set(self.inodes.get() + 1);
        let ino = self.next_ino.get();
        self.next_ino.set(ino + 1);
        ino
    }

    /// True when content is on a disk.
    pub(crate) fn is_disk(&self) -> bool {
        matches!(self.limits.borrow().storage, Storage::Disk(_))
    }

    /// In memory a further name of a file counts as an inode does.
    pub(crate) fn count_name(&self, more: i64) {
        if matches!(self.limits.borrow().storage, Storage::Memory(_)) {
            self.inodes
                .set(self.inodes.get().saturating_add_signed(more));
        }
    }

    pub(crate) fn give_inode(&self) {
        self.inodes.set(self.inodes.get().saturating_sub(1));
    }
}

impl Storage {
    fn refused(&self, full: Full) -> Errno {
        match self {
            Storage::Memory(payer) if payer.is_task() => {
                payer.refuse(full);
                Errno::OVER_LIMIT
            }
            Storage::Memory(_) => Errno::ENOMEM,
            Storage::Free | Storage::Disk(_) => Errno::ENOSPC,
        }
    }
}

impl FileSystem for Tmpfs {
    fn name(&self) -> &'static str {
        "tmpfs"
    }

    fn is_on_disk(&self) -> bool {
        matches!(self.core.limits.borrow().storage, Storage::Disk(_))
    }

    fn root(&self) -> InodeRef {
        Rc::<Node>::clone(&self.root)
    }

    fn statfs(&self) -> StatFs {
        let limits = self.core.limits.borrow();
        // Without a limit Linux shows zeros; df leaves such file systems out.
        let blocks = limits
            .size
            .map_or(0, |size| size.div_ceil(PAGE_SIZE as u64));
        let mut blocks = blocks;
        let mut bfree = blocks.saturating_sub(self.core.pages.get());
        if let (Storage::Disk(disk), None) = (&limits.storage, limits.size) {
            blocks = disk.max().unwrap_or(0) / PAGE_SIZE as u64;
            bfree = disk.room() / PAGE_SIZE as u64;
        }
        let files = limits.inodes.unwrap_or(0);
        StatFs {
            magic: TMPFS_MAGIC,
            bsize: PAGE_SIZE as u64,
            blocks,
            bfree,
            bavail: bfree,
            files,
            ffree: files.saturating_sub(self.core.inodes.get()),
            namelen: 255,
        }
    }

    fn show_options(&self) -> String {
        let (limits, usual) = (self.core.limits.borrow(), TmpfsOptions::default());
        if !limits.shown.is_empty() {
            return limits.shown.clone();
        }
        let mut shown = Vec::new();
        if let Some(size) = limits.size {
            shown.push(format!(
                "size={}k",
                size.div_ceil(PAGE_SIZE as u64) * (PAGE_SIZE as u64 / 1024)
            ));
        }
        shown.extend(limits.inodes.map(|count| format!("nr_inodes={count}")));
        if limits.mode != usual.mode {
            shown.push(format!("mode={:o}", limits.mode));
        }
        if limits.uid != 0 {
            shown.push(format!("uid={}", limits.uid));
        }
        if limits.gid != 0 {
            shown.push(format!("gid={}", limits.gid));
        }
        shown.join(",")
    }

    fn remount(&self, data: &[u8]) -> Result<()> {
        let mut options = self.core.limits.borrow().clone();
        options.shown.clear();
        parse_options(data, &mut options)?;
        let used = self.core.pages.get() * PAGE_SIZE as u64;
        if options.size.is_some_and(|size| size < used) {
            return Err(Errno::EINVAL);
        }
        *self.core.limits.borrow_mut() = options;
        Ok(())
    }
}

/// The factory for the registry: no limits unless the options set them, and nobody pays.
pub fn mount(request: &MountRequest<'_>) -> Result<Rc<dyn FileSystem>> {
    mount_with(request, TmpfsOptions::default())
}

impl TmpfsOptions {
    /// Memory of a machine that has `memory` bytes: half of them, which is Linux's default for size and
    /// number of inodes.
    #[must_use]
    pub fn in_memory(payer: &Rc<Payer>, memory: u64) -> TmpfsOptions {
        TmpfsOptions {
            storage: Storage::Memory(Rc::clone(payer)),
            size: Some(memory / 2),
            inodes: Some(memory / 2 / PAGE_SIZE as u64),
            ..TmpfsOptions::default()
        }
    }

    /// As large as what is left of a disk.
    #[must_use]
    pub fn on_disk(disk: &Rc<Account>) -> TmpfsOptions {
        TmpfsOptions {
            storage: Storage::Disk(Rc::clone(disk)),
            inodes: disk.max().map(|max| max / BYTES_PER_INODE),
            mode: 0o755,
            ..TmpfsOptions::default()
        }
    }
}

/// A factory for those who know better: `options` holds unless the mount says otherwise.
pub fn mount_with(
    request: &MountRequest<'_>,
    mut options: TmpfsOptions,
) -> Result<Rc<dyn FileSystem>> {
    // ramfs takes any option and knows none.
    if request.fstype != b"ramfs" {
        parse_options(request.data, &mut options)?;
    }
    Ok(Tmpfs::new(request.context.clock, options))
}

/// Reads mount options into `options`.
pub fn parse_options(data: &[u8], options: &mut TmpfsOptions) -> Result<()> {
    for (name, value) in split_options(data) {
        let text = std::str::from_utf8(value).map_err(|_| Errno::EINVAL)?;
        let octal = || u32::from_str_radix(text, 8).map_err(|_| Errno::EINVAL);
        let decimal = || text.parse().map_err(|_| Errno::EINVAL);
        match name {
            b"size" => options.size = Some(scaled(text)?).filter(|&size| size > 0),
            b"nr_blocks" => {
                let size = scaled(text)?.saturating_mul(PAGE_SIZE as u64);
                options.size = Some(size).filter(|&size| size > 0);
            }
            b"nr_inodes" => options.inodes = Some(scaled(text)?).filter(|&count| count > 0),
            b"mode" => options.mode = octal()? & 0o7777,
            b"uid" => options.uid = decimal()?,
            b"gid" => options.gid = decimal()?,
            b"huge" | b"mpol" | b"inode32" | b"inode64" | b"noswap" | b"source" => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok(())
}

/// A number with `k`, `m`, `g` or `%` behind it. Percent is of the 4 GiB a machine can have.
fn scaled(text: &str) -> Result<u64> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 1 << 30),
        Some(b'%') => (&text[..text.len() - 1], (4 << 30) / 100),
        _ => (text, 1),
    };
    let number: u64 = digits.parse().map_err(|_| Errno::EINVAL)?;
    number.checked_mul(unit).ok_or(Errno::EINVAL)
}
