//! What an open file can do ([`File`]), and the open file description ([`OpenFile`], `open(2)`).

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use abi::{Errno, Result};
use bitflags::bitflags;
use mem::Page;

use crate::inode::{DirEntry, InodeRef};
use crate::lock::{LockOwner, LockTable};
use crate::notify::{self, event};
use crate::path::Path;
use crate::write_count::WriteHold;

bitflags! {
    /// `open(2)` flags, asm-generic numbers. The low two bits are the access mode.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct OpenFlags: u32 {
        /// Write only.
        const WRONLY = 0o1;
        /// Read and write.
        const RDWR = 0o2;
        /// Create if missing.
        const CREAT = 0o100;
        /// Fail if it exists.
        const EXCL = 0o200;
        /// Do not become the controlling terminal.
        const NOCTTY = 0o400;
        /// Truncate.
        const TRUNC = 0o1000;
        /// Write at the end.
        const APPEND = 0o2000;
        /// Do not block.
        const NONBLOCK = 0o4000;
        /// Synchronised data.
        const DSYNC = 0o10000;
        /// Signal-driven I/O.
        const ASYNC = 0o20000;
        /// Direct I/O.
        const DIRECT = 0o40000;
        /// Large files (no effect on 64 bit).
        const LARGEFILE = 0o100_000;
        /// Must be a directory.
        const DIRECTORY = 0o200_000;
        /// Do not follow a link at the end.
        const NOFOLLOW = 0o400_000;
        /// Do not update access time.
        const NOATIME = 0o1_000_000;
        /// Close on exec; kept with the descriptor, not the description.
        const CLOEXEC = 0o2_000_000;
        /// Synchronised (bit beside DSYNC).
        const SYNC = 0o4_010_000;
        /// Only a reference to the path.
        const PATH = 0o10_000_000;
        /// Unnamed temporary file (bit beside DIRECTORY).
        const TMPFILE = 0o20_200_000;
    }

    /// `poll(2)` events; epoll uses the same numbers.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Events: u32 {
        /// Data to read.
        const IN = 0x1;
        /// Urgent data.
        const PRI = 0x2;
        /// Room to write.
        const OUT = 0x4;
        /// Error.
        const ERR = 0x8;
        /// Hung up.
        const HUP = 0x10;
        /// Not open (poll only).
        const NVAL = 0x20;
        /// Normal data to read.
        const RDNORM = 0x40;
        /// Priority data to read.
        const RDBAND = 0x80;
        /// Room for normal data.
        const WRNORM = 0x100;
        /// Room for priority data.
        const WRBAND = 0x200;
        /// A message.
        const MSG = 0x400;
        /// The peer stopped writing.
        const RDHUP = 0x2000;
    }
}

impl OpenFlags {
    /// Open for reading.
    #[must_use]
    pub fn readable(self) -> bool {
        matches!(self.bits() & 3, 0 | 2) && !self.contains(OpenFlags::PATH)
    }

    /// Open for writing.
    #[must_use]
    pub fn writable(self) -> bool {
        matches!(self.bits() & 3, 1 | 2) && !self.contains(OpenFlags::PATH)
    }
}

/// The calling task's memory, for `ioctl`. Addresses are guest virtual addresses; errors are `EFAULT`.
pub trait UserMemory {
    /// Copies from the task.
    fn read(&self, address: u64, buf: &mut [u8]) -> Result<()>;
    /// Copies to the task.
    fn write(&self, address: u64, buf: &[u8]) -> Result<()>;
}

/// No memory: daemons that call `ioctl` through typed means.
pub struct NoMemory;

impl UserMemory for NoMemory {
    fn read(&self, _address: u64, _buf: &mut [u8]) -> Result<()> {
        Err(Errno::EFAULT)
    }

    fn write(&self, _address: u64, _buf: &[u8]) -> Result<()> {
        Err(Errno::EFAULT)
    }
}

/// The behaviour of an open file. Nothing blocks: `EAGAIN` means register with [`File::poll`] and try
/// again. Streams ignore `offset`.
pub trait File: Any {
    /// For down-casting (sockets, epoll, terminals).
    fn as_any(&self) -> &dyn Any;

    /// Reads at `offset`; 0 at the end.
    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> Result<usize> {
        Err(Errno::EINVAL)
    }

    /// Writes at `offset`.
    fn write_at(&self, _offset: u64, _buf: &[u8]) -> Result<usize> {
        Err(Errno::EINVAL)
    }

    /// What can be done now. With a waker, it is called once when that may have changed. Regular files
    /// are always ready.
    fn poll(&self, _waker: Option<&Waker>) -> Events {
        Events::IN | Events::OUT | Events::RDNORM | Events::WRNORM
    }

    /// True for files on which epoll refuses (`EPERM`): regular files and directories.
    fn always_ready(&self) -> bool {
        false
    }

    /// True when there is a position (`lseek` works): regular files, directories, most of /proc.
    fn is_seekable(&self) -> bool {
        false
    }

    /// Checks or adapts a new position; directories take cursors. Default: any.
    fn seek_to(&self, offset: u64) -> Result<u64> {
        Ok(offset)
    }

    /// Entries behind `cursor`, for directories, without `.` and `..`.
    fn read_dir(&self, _cursor: u64, _emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        Err(Errno::ENOTDIR)
    }

    /// `ioctl(2)`.
    fn ioctl(&self, _request: u32, _argument: u64, _memory: &dyn UserMemory) -> Result<u64> {
        Err(Errno::ENOTTY)
    }

    /// Page for a mapping of this file, as [`crate::inode::Inode::page`].
    fn page(&self, _index: u64, _write: bool) -> Result<Option<Page>> {
        Err(Errno::ENODEV)
    }

    /// The `F_SETFL` flags changed (a file that keeps its own non-blocking flag).
    fn set_flags(&self, _flags: OpenFlags) {}

    /// For files without a name in the tree, what `/proc/PID/fd/N` shows: `pipe:[17]`,
    /// `anon_inode:[eventpoll]`.
    fn anonymous_name(&self) -> Option<String> {
        None
    }

    /// Lines of `/proc/PID/fdinfo/N` beside those that every file has, each with its line break.
    fn fdinfo(&self) -> Option<String> {
        None
    }

    /// For files without a name in the tree, what `fstat` tells.
    fn anonymous_attr(&self) -> Option<crate::inode::Attr> {
        None
    }

    /// The last descriptor of the description was closed. Dropping does the rest.
    fn release(&self) {}
}

/// An open regular file whose content is the inode's pages.
pub struct PagedFile(pub InodeRef);

impl File for PagedFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.0.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<usize> {
        self.0.write_at(offset, buf)
    }

    fn always_ready(&self) -> bool {
        true
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn page(&self, index: u64, write: bool) -> Result<Option<Page>> {
        self.0.page(index, write)
    }
}

/// An open directory.
pub struct DirFile(pub InodeRef);

impl File for DirFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> Result<usize> {
        Err(Errno::EISDIR)
    }

    fn always_ready(&self) -> bool {
        true
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn read_dir(&self, cursor: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        self.0.read_dir(cursor, emit)
    }
}

/// An open file description: what descriptors refer to, shared by `dup` and `fork`.
pub struct OpenFile {
    /// What it does.
    pub file: Rc<dyn File>,
    /// Where it was opened; `None` for pipes, sockets and other files without a name in the tree.
    pub path: Option<Path>,
    /// Access mode and status flags.
    pub flags: Cell<OpenFlags>,
    /// File position.
    pub position: Cell<u64>,
    /// `F_SETOWN` process (negative: group) for SIGIO/SIGURG.
    pub owner: Cell<i32>,
    /// Counts it among the writers of the file, or among the programs that run from it.
    pub hold: RefCell<Option<WriteHold>>,
    /// It may hold locks of its own (`flock(2)`, `F_OFD_SETLK`), which end with it.
    pub has_locks: Cell<bool>,
}

impl OpenFile {
    /// A description of `file`, at position 0.
    #[must_use]
    pub fn new(file: Rc<dyn File>, path: Option<Path>, flags: OpenFlags) -> Rc<OpenFile> {
        let kept = flags
            - (OpenFlags::CLOEXEC
                | OpenFlags::CREAT
                | OpenFlags::EXCL
                | OpenFlags::NOCTTY
                | OpenFlags::TRUNC);
        Rc::new(OpenFile {
            file,
            path,
            flags: Cell::new(kept),
            position: Cell::new(0),
            owner: Cell::new(0),
            hold: RefCell::new(None),
            has_locks: Cell::new(false),
        })
    }

    /// The inode, for files that have one in the tree.
    #[must_use]
    pub fn inode(&self) -> Option<InodeRef> {
        self.path.as_ref().map(Path::inode)
    }

    /// Who holds the locks of this description.
    #[must_use]
    pub fn lock_owner(&self) -> LockOwner {
        LockOwner::Description(std::ptr::from_ref(self) as u64)
    }

    /// `read(2)`: at the position, which moves on.
    pub fn read(&self, buf: &mut [u8]) -> Result<usize> {
        if !self.flags.get().readable() {
            return Err(Errno::EBADF);
        }
        let count = self.file.read_at(self.position.get(), buf)?;
        self.advance(count);
        Ok(count)
    }

    /// `write(2)`: at the position or, with O_APPEND, at the end; the position moves on.
    pub fn write(&self, buf: &[u8]) -> Result<usize> {
        if !self.flags.get().writable() {
            return Err(Errno::EBADF);
        }
        if self.flags.get().contains(OpenFlags::APPEND)
            && self.file.is_seekable()
            && let Some(inode) = self.inode()
        {
            self.position.set(inode.attr()?.size);
        }
        let count = self.file.write_at(self.position.get(), buf)?;
        self.advance(count);
        Ok(count)
    }

    fn advance(&self, count: usize) {
        if self.file.is_seekable() {
            self.position.set(self.position.get() + count as u64);
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if self.has_locks.get()
            && let Some(inode) = self.inode()
            && let Ok(locks) = LockTable::of(&*inode)
        {
            locks.release(self.lock_owner());
        }
        self.file.release();
        if let Some(path) = &self.path
            && !self.flags.get().contains(OpenFlags::PATH)
        {
            let wrote = self.flags.get().writable();
            let closed = if wrote {
                event::CLOSE_WRITE
            } else {
                event::CLOSE_NOWRITE
            };
            notify::tell_both(&path.dentry, closed);
            notify::tell_if_gone(&path.dentry, 1);
        }
    }
}
