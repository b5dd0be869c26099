//! The descriptor table of a process (`open(2)`, `dup(2)`, `fcntl(2)`).
//!
//! A descriptor is an index here; what it refers to is an open file description ([`OpenFile`]), which
//! `dup` and `fork` share. Threads share the whole table (`CLONE_FILES`). Dropping the table closes
//! everything.
//!
//! Borrow rule: an entry that leaves the table is dropped only after the borrow has ended, because
//! closing the last descriptor of a pipe or socket wakes others.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use abi::{Errno, Result};
use mem::{Kind, Payer};
use vfs::file::OpenFile;
use vfs::inode::InodeRef;
use vfs::lock::{LockOwner, LockTable};

use crate::cgroup::queue::QueueCharge;

/// Most descriptors a process can ever have (`/proc/sys/fs/nr_open`).
pub const NR_OPEN: u64 = 1 << 20;

/// Descriptors that are no more than what a process costs anyway.
const FREE_SLOTS: usize = 64;
/// What one costs, with the open file behind it.
const SLOT_BYTES: usize = 256;

/// What a descriptor is.
#[derive(Clone)]
pub struct FdEntry {
    /// The open file description.
    pub file: Rc<OpenFile>,
    /// `FD_CLOEXEC`.
    pub cloexec: bool,
}

/// The descriptors of a process.
pub struct FdTable {
    entries: RefCell<Vec<Option<FdEntry>>>,
    charge: QueueCharge,
    /// No descriptor below this one is free.
    lowest_free: Cell<usize>,
    /// POSIX record locks may be held in its name.
    has_locks: Cell<bool>,
}

impl FdTable {
    /// An empty table. Who makes it large pays.
    #[must_use]
    pub fn new(payer: Option<&Rc<Payer>>) -> FdTable {
        FdTable {
            entries: RefCell::default(),
            charge: QueueCharge::new(payer, Kind::Slab),
            lowest_free: Cell::new(0),
            has_locks: Cell::new(false),
        }
    }

    /// Makes room for `len` descriptors.
    fn extend(&self, entries: &mut Vec<Option<FdEntry>>, len: usize) -> Result<()> {
        if len > FREE_SLOTS {
            // The file is open already: nobody is killed for it, the call just fails.
            self.charge
                .grow((len - FREE_SLOTS) * SLOT_BYTES)
                .map_err(|_| Errno::ENOMEM)?;
        }
        entries.resize(len, None);
        Ok(())
    }

    /// What `fd` refers to.
    pub fn get(&self, fd: i32) -> Result<Rc<OpenFile>> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        match self.entries.borrow().get(index) {
            Some(Some(entry)) => Ok(Rc::clone(&entry.file)),
            _ => Err(Errno::EBADF),
        }
    }

    /// The entry of `fd`: file and close-on-exec flag.
    pub fn entry(&self, fd: i32) -> Result<FdEntry> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        self.entries
            .borrow()
            .get(index)
            .cloned()
            .flatten()
            .ok_or(Errno::EBADF)
    }

    /// Puts `file` at the lowest free descriptor that is at least `from` and below `limit`.
    pub fn insert_from(
        &self,
        from: u32,
        file: Rc<OpenFile>,
        cloexec: bool,
        limit: u64,
    ) -> Result<i32> {
        let limit = limit.min(NR_OPEN) as usize;
        let mut entries = self.entries.borrow_mut();
        let start = self.lowest_free.get().max(from as usize);
        let mut index = start;
        while index < entries.len() && entries[index].is_some() {
            index += 1;
        }
        if index >= limit {
            return Err(Errno::EMFILE);
        }
        if index >= entries.len() {
            self.extend(&mut entries, index + 1)?;
        }
        entries[index] = Some(FdEntry { file, cloexec });
        if from as usize <= self.lowest_free.get() {
            self.lowest_free.set(index + 1);
        }
        Ok(index as i32)
    }

    /// Puts `file` at the lowest free descriptor.
    pub fn insert(&self, file: Rc<OpenFile>, cloexec: bool, limit: u64) -> Result<i32> {
        self.insert_from(0, file, cloexec, limit)
    }

    /// Puts `file` at `fd` (`dup3`), and gives what was there before.
    pub fn replace(
        &self,
        fd: i32,
        file: Rc<OpenFile>,
        cloexec: bool,
        limit: u64,
    ) -> Result<Option<Rc<OpenFile>>> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        if index as u64 >= limit.min(NR_OPEN) {
            return Err(Errno::EBADF);
        }
        let mut entries = self.entries.borrow_mut();
        if index >= entries.len() {
            self.extend(&mut entries, index + 1)?;
        }
        let old = entries[index].replace(FdEntry { file, cloexec });
        Ok(old.map(|entry| entry.file))
    }

    /// Takes `fd` out of the table (`close`); the caller drops it.
    pub fn remove(&self, fd: i32) -> Result<Rc<OpenFile>> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        let entry = self
            .entries
            .borrow_mut()
            .get_mut(index)
            .and_then(Option::take)
            .ok_or(Errno::EBADF)?;
        if index < self.lowest_free.get() {
            self.lowest_free.set(index);
        }
        Ok(entry.file)
    }

    /// Sets `FD_CLOEXEC` of `fd`.
    pub fn set_cloexec(&self, fd: i32, cloexec: bool) -> Result<()> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        match self.entries.borrow_mut().get_mut(index) {
            Some(Some(entry)) => {
                entry.cloexec = cloexec;
                Ok(())
            }
            _ => Err(Errno::EBADF),
        }
    }

    /// A copy for a new process: same open file descriptions.
    #[must_use]
    pub fn fork(&self) -> FdTable {
        let entries = self.entries.borrow().clone();
        let charge = QueueCharge::new(self.charge.payer(), Kind::Slab);
        if entries.len() > FREE_SLOTS {
            charge.grow_unchecked((entries.len() - FREE_SLOTS) * SLOT_BYTES);
        }
        FdTable {
            entries: RefCell::new(entries),
            charge,
            lowest_free: self.lowest_free.clone(),
            has_locks: Cell::new(false),
        }
    }

    /// Takes out every descriptor with `FD_CLOEXEC`, for `execve`; the caller drops them.
    #[must_use]
    pub fn take_cloexec(&self) -> Vec<Rc<OpenFile>> {
        self.take_where(|_, entry| entry.cloexec)
    }

    /// Takes out the descriptors from `first` to `last` (`close_range`); the caller drops them.
    #[must_use]
    pub fn take_range(&self, first: u32, last: u32) -> Vec<Rc<OpenFile>> {
        self.take_where(|fd, _| (first..=last).contains(&fd))
    }

    fn take_where(&self, wanted: impl Fn(u32, &FdEntry) -> bool) -> Vec<Rc<OpenFile>> {
        let mut taken = Vec::new();
        for (index, slot) in self.entries.borrow_mut().iter_mut().enumerate() {
            if slot
                .as_ref()
                .is_some_and(|entry| wanted(index as u32, entry))
            {
                taken.extend(slot.take().map(|entry| entry.file));
                self.lowest_free.set(self.lowest_free.get().min(index));
            }
        }
        taken
    }

    /// Marks the descriptors from `first` to `last` close-on-exec (`CLOSE_RANGE_CLOEXEC`).
    pub fn set_cloexec_range(&self, first: u32, last: u32) {
        for (index, slot) in self.entries.borrow_mut().iter_mut().enumerate() {
            if let Some(entry) = slot
                && (first..=last).contains(&(index as u32))
            {
                entry.cloexec = true;
            }
        }
    }

    /// Everything in use, in order: for `/proc/PID/fd`.
    #[must_use]
    pub fn list(&self) -> Vec<(i32, FdEntry)> {
        let entries = self.entries.borrow();
        entries
            .iter()
            .enumerate()
            .filter_map(|(fd, slot)| Some((fd as i32, slot.clone()?)))
            .collect()
    }

    /// Who holds the POSIX record locks of the processes that share this table.
    #[must_use]
    pub fn lock_owner(&self) -> LockOwner {
        LockOwner::Process(std::ptr::from_ref(self) as u64)
    }

    /// A record lock is taken in its name.
    pub fn note_lock(&self) {
        self.has_locks.set(true);
    }

    /// Record locks may be held in its name.
    #[must_use]
    pub fn has_locks(&self) -> bool {
        self.has_locks.get()
    }

    /// Gives up its record locks on a file.
    pub fn release_locks(&self, inode: &InodeRef) {
        if let Ok(locks) = LockTable::of(&**inode) {
            locks.unset(self.lock_owner(), 0, u64::MAX);
        }
    }

    /// The lowest descriptor in use that is at least `from` (directory cursors of `/proc/PID/fd`).
    #[must_use]
    pub fn next_in_use(&self, from: u32) -> Option<i32> {
        let entries = self.entries.borrow();
        (from as usize..entries.len())
            .find(|&fd| entries[fd].is_some())
            .map(|fd| fd as i32)
    }

    /// Slots the table has (`FDSize` of `/proc/PID/status`), in steps of 64.
    #[must_use]
    pub fn size(&self) -> usize {
        self.entries.borrow().len().max(1).div_ceil(64) * 64
    }
}

impl Drop for FdTable {
    fn drop(&mut self) {
        if !self.has_locks.get() {
            return;
        }
        let inodes: Vec<InodeRef> = self
            .entries
            .get_mut()
            .iter()
            .flatten()
            .filter_map(|entry| entry.file.inode())
            .collect();
        for inode in inodes {
            self.release_locks(&inode);
        }
    }
}

#[cfg(test)]
mod tests {
    use vfs::file::{File, OpenFlags};

    use super::*;

    struct Nothing;

    impl File for Nothing {
        fn as_any(&self) -> &dyn std::any::Any {
            self
        }
    }

    fn file() -> Rc<OpenFile> {
        OpenFile::new(Rc::new(Nothing), None, OpenFlags::RDWR)
    }

    #[test]
    fn lowest_free_descriptor_is_used() {
        let table = FdTable::new(None);
        for expected in 0..5 {
            assert_eq!(table.insert(file(), false, 1024), Ok(expected));
        }
        table.remove(3).unwrap();
        table.remove(1).unwrap();
        assert_eq!(table.insert(file(), false, 1024), Ok(1));
        assert_eq!(table.insert_from(4, file(), true, 1024), Ok(5));
        assert_eq!(table.insert(file(), false, 1024), Ok(3));
        assert_eq!(table.insert(file(), false, 1024), Ok(6));
        assert_eq!(table.insert(file(), false, 7), Err(Errno::EMFILE));
    }

    #[test]
    fn replace_leaves_holes_that_are_found() {
        let table = FdTable::new(None);
        assert!(table.replace(9, file(), false, 1024).unwrap().is_none());
        assert!(table.replace(9, file(), true, 1024).unwrap().is_some());
        assert_eq!(
            table.replace(2000, file(), false, 1024).err(),
            Some(Errno::EBADF)
        );
        assert_eq!(table.insert(file(), false, 1024), Ok(0));
        let fork = table.fork();
        assert_eq!(fork.take_cloexec().len(), 1);
        assert_eq!(fork.get(9).err(), Some(Errno::EBADF));
        assert!(table.get(9).is_ok());
        assert_eq!(table.take_range(0, u32::MAX).len(), 2);
        assert_eq!(table.insert(file(), false, 1024), Ok(0));
    }
}
