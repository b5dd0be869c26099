//! What a file system implements: inodes and the file system they are on.

use std::any::Any;
use std::rc::Rc;

use abi::{Errno, Result};
use mem::Page;

use crate::file::{File, OpenFlags};

/// Type bits of a mode (`inode(7)`).
pub const S_IFMT: u32 = 0o170_000;
/// Socket.
pub const S_IFSOCK: u32 = 0o140_000;
/// Symbolic link.
pub const S_IFLNK: u32 = 0o120_000;
/// Regular file.
pub const S_IFREG: u32 = 0o100_000;
/// Block device.
pub const S_IFBLK: u32 = 0o060_000;
/// Directory.
pub const S_IFDIR: u32 = 0o040_000;
/// Character device.
pub const S_IFCHR: u32 = 0o020_000;
/// FIFO.
pub const S_IFIFO: u32 = 0o010_000;

/// A counted reference to an inode.
pub type InodeRef = Rc<dyn Inode>;

/// A time stamp: seconds since 1970 and nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 UTC.
    pub sec: i64,
    /// 0 to 999,999,999.
    pub nsec: u32,
}

/// What `stat(2)` tells about an inode. `st_dev` comes from the file system.
#[derive(Clone, Copy, Default, Debug)]
pub struct Attr {
    /// Inode number.
    pub ino: u64,
    /// Type and permission bits.
    pub mode: u32,
    /// Hard links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// For device files: the device (`makedev(3)` encoding of Linux's `stat`).
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// 512-byte units in use.
    pub blocks: u64,
    /// Preferred I/O size.
    pub blksize: u32,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Creation.
    pub btime: Timestamp,
}

impl Attr {
    /// The type bits alone, one of `S_IF…`.
    #[must_use]
    pub fn file_type(&self) -> u32 {
        self.mode & S_IFMT
    }

    /// True for a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.file_type() == S_IFDIR
    }
}

/// Changes to an inode's attributes; `None` leaves one as it is. Permission has been checked.
#[derive(Clone, Copy, Default, Debug)]
pub struct SetAttr {
    /// New permission bits (07777).
    pub perm: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New size: truncates or extends with zeros.
    pub size: Option<u64>,
    /// New access time.
    pub atime: Option<Timestamp>,
    /// New modification time.
    pub mtime: Option<Timestamp>,
}

/// What to create in a directory.
#[derive(Clone, Debug)]
pub struct NewNode<'a> {
    /// Type and permission bits, the umask already applied.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// For device files.
    pub rdev: u64,
    /// For symbolic links: the target.
    pub target: &'a [u8],
}

/// One entry of a directory, as `getdents64(2)` gives it.
#[derive(Clone, Debug)]
pub struct DirEntry<'a> {
    /// Name, without slashes.
    pub name: &'a [u8],
    /// Inode number.
    pub ino: u64,
    /// Type bits (`S_IF…`), 0 when not known.
    pub file_type: u32,
    /// Cursor that continues behind this entry.
    pub next: u64,
}

/// What `statfs(2)` tells.
#[derive(Clone, Copy, Default, Debug)]
pub struct StatFs {
    /// Magic number, such as 0x01021994 for tmpfs.
    pub magic: u64,
    /// Block size.
    pub bsize: u64,
    /// Blocks in all, free, and free for users.
    pub blocks: u64,
    /// Free blocks.
    pub bfree: u64,
    /// Blocks free for users.
    pub bavail: u64,
    /// Inodes in all.
    pub files: u64,
    /// Free inodes.
    pub ffree: u64,
    /// Longest name.
    pub namelen: u64,
}

/// A mounted file system (a superblock).
pub trait FileSystem: Any {
    /// Name as in `/proc/filesystems`: `tmpfs`, `overlay`, `proc`.
    fn name(&self) -> &'static str;
    /// `st_dev` of its inodes, when the file system insists on one. Default 0: its first mount gives
    /// it the next free number of the machine (`SuperBlock::device`).
    fn device(&self) -> u64 {
        0
    }
    /// The root directory.
    fn root(&self) -> InodeRef;
    /// Capacity and use.
    fn statfs(&self) -> StatFs;
    /// Its files are on the machine's disk: reading and writing them counts as input and output.
    fn is_on_disk(&self) -> bool {
        false
    }
    /// The options that `/proc/mounts` shows behind `rw`, such as `size=64k`; empty or starting without a comma.
    fn show_options(&self) -> String {
        String::new()
    }
    /// `MS_REMOUNT` with new options. Default: options are ignored.
    fn remount(&self, _data: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// A file system object. All methods are called with permission checked and names valid (1 to 255
/// bytes, no slash, neither `.` nor `..`). The defaults refuse as Linux refuses on an inode of
/// another type.
pub trait Inode: Any {
    /// The file system it is on.
    fn fs(&self) -> Rc<dyn FileSystem>;

    /// For down-casting by the file system that made it.
    fn as_any(&self) -> &dyn Any;

    /// Its attributes.
    fn attr(&self) -> Result<Attr>;

    /// Changes attributes.
    fn set_attr(&self, _change: &SetAttr) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// The entry `name` of a directory.
    fn lookup(&self, _name: &[u8]) -> Result<InodeRef> {
        Err(Errno::ENOTDIR)
    }

    /// True when dentries of this directory must not be kept (procfs: entries come and go by themselves).
    fn is_volatile(&self) -> bool {
        false
    }

    /// Makes the entry `name`: file, directory, symbolic link, device, FIFO or socket.
    fn create(&self, _name: &[u8], _node: &NewNode<'_>) -> Result<InodeRef> {
        Err(Errno::EPERM)
    }

    /// Makes a file that has no name yet (`O_TMPFILE`), and never gets one unless it is `linkable`.
    fn tmpfile(&self, _node: &NewNode<'_>, _linkable: bool) -> Result<InodeRef> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Makes sure that the content from `offset` on is in the machine, or asks for all that is missing
    /// and returns `NOT_HERE_YET`. Lazily fetched files only.
    fn ensure_content(&self, _offset: u64, _len: u64) -> Result<()> {
        Ok(())
    }

    /// Makes `name` one more hard link to `target`.
    fn link(&self, _name: &[u8], _target: &InodeRef) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Removes the entry `name`, not a directory.
    fn unlink(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Removes the empty directory `name`.
    fn rmdir(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Renames `old` here to `new` in `new_dir` (same file system), with `renameat2(2)` flags.
    fn rename(&self, _old: &[u8], _new_dir: &InodeRef, _new: &[u8], _flags: u32) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Gives the entries behind `cursor` (0 = the first), until `emit` returns false. `.` and `..` are
    /// added by the caller.
    fn read_dir(&self, _cursor: u64, _emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        Err(Errno::ENOTDIR)
    }

    /// The target of a symbolic link.
    fn read_link(&self) -> Result<Vec<u8>> {
        Err(Errno::EINVAL)
    }

    /// For the links of /proc that lead to an object and not to a name (`/proc/self/fd/1`, `exe`,
    /// `root`, `ns/net`): the object. `None` for ordinary links.
    fn magic_link(&self) -> Option<Result<crate::path::Path>> {
        None
    }

    /// Opens it: gives what an open file of this inode does. Flags for access have been checked.
    /// Regular files of a page-cached file system return [`crate::file::PagedFile`].
    fn open(self: Rc<Self>, flags: OpenFlags) -> Result<Rc<dyn File>>;

    /// Reads content at `offset`; 0 at the end.
    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> Result<usize> {
        Err(Errno::EINVAL)
    }

    /// Writes content at `offset`.
    fn write_at(&self, _offset: u64, _buf: &[u8]) -> Result<usize> {
        Err(Errno::EINVAL)
    }

    /// The page of content at `index` (offset / 4096), for `mmap`. `Ok(None)`: a hole of a file opened
    /// for reading (map zeros). With `write`, the page exists afterwards and writes to it are writes
    /// to the file. Behind the end: `EFAULT` (the task gets SIGBUS).
    fn page(&self, _index: u64, _write: bool) -> Result<Option<Page>> {
        Err(Errno::ENODEV)
    }

    /// `lseek(2)` with `SEEK_DATA` (`data`) or `SEEK_HOLE`: where the next data or hole is; `ENXIO` when
    /// there is none. Default: a file without holes, but for the one at its end.
    fn seek_data(&self, offset: u64, data: bool) -> Result<u64> {
        let size = self.attr()?.size;
        match offset < size {
            true if data => Ok(offset),
            true => Ok(size),
            false => Err(Errno::ENXIO),
        }
    }

    /// `fallocate(2)`.
    fn allocate(&self, _mode: u32, _offset: u64, _len: u64) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Value of an extended attribute.
    fn get_xattr(&self, _name: &[u8]) -> Result<Vec<u8>> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Sets an extended attribute, with `setxattr(2)` flags.
    fn set_xattr(&self, _name: &[u8], _value: &[u8], _flags: u32) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Names of the extended attributes.
    fn list_xattr(&self) -> Result<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }

    /// Removes an extended attribute.
    fn remove_xattr(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// A slot the kernel uses for what hangs on an inode: a bound Unix socket, a FIFO's pipe, file locks.
    fn attachments(&self) -> Option<&Attachments> {
        None
    }
}

/// Objects the kernel hangs on an inode, one per Rust type.
#[derive(Default)]
pub struct Attachments(std::cell::RefCell<Vec<Rc<dyn Any>>>);

impl Attachments {
    /// The attached object of type `T`.
    #[must_use]
    pub fn get<T: 'static>(&self) -> Option<Rc<T>> {
        self.0
            .borrow()
            .iter()
            .find_map(|item| Rc::clone(item).downcast::<T>().ok())
    }

    /// The attached object of type `T`, made by `new` when there is none.
    pub fn get_or_insert_with<T: 'static>(&self, new: impl FnOnce() -> T) -> Rc<T> {
        self.get().unwrap_or_else(|| {
            let item = Rc::new(new());
            self.0.borrow_mut().push(Rc::<T>::clone(&item));
            item
        })
    }

    /// Attaches an object, in place of one of the same type.
    pub fn set<T: 'static>(&self, item: Rc<T>) {
        let mut items = self.0.borrow_mut();
        items.retain(|known| !known.is::<T>());
        items.push(item);
    }

    /// Takes the object of type `T` away.
    pub fn remove<T: 'static>(&self) {
        self.0.borrow_mut().retain(|known| !known.is::<T>());
    }
}
