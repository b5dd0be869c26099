//! mmap and its family: where a mapping goes, and what changes one.

use std::rc::Rc;

use abi::{Errno, Result};
use mem::Page;
use rv64::{Prot, Sharing};
use vfs::file::OpenFile;
use vfs::inode::InodeRef;

use crate::kernel::Kernel;

use super::{
    Backing, MMAP_BOTTOM, MMAP_TOP, Mm, PAGE, USER_END, Vma, VmaFlags, page_down, page_up,
};

/// Most ranges of one process (`/proc/sys/vm/max_map_count`).
const MAP_COUNT_MAX: usize = 65_530;
/// Larger requests go above 4 GiB at once, so that the low memory is left for what is used.
const LOW_SIZE_MAX: u64 = 1 << 30;
/// Where mappings go that do not fit below 4 GiB.
const HIGH_BOTTOM: u64 = 1 << 32;
/// One above them.
const HIGH_TOP: u64 = 0x3fff_ffff_f000;

/// `MAP_…` (asm-generic/mman.h).
#[allow(missing_docs, reason = "named as in mmap(2)")]
pub mod map_flags {
    pub const SHARED: u64 = 1;
    pub const PRIVATE: u64 = 2;
    pub const SHARED_VALIDATE: u64 = 3;
    pub const TYPE: u64 = 15;
    pub const FIXED: u64 = 0x10;
    pub const ANONYMOUS: u64 = 0x20;
    pub const GROWSDOWN: u64 = 0x100;
    pub const LOCKED: u64 = 0x2000;
    pub const NORESERVE: u64 = 0x4000;
    pub const POPULATE: u64 = 0x8000;
    pub const STACK: u64 = 0x2_0000;
    pub const FIXED_NOREPLACE: u64 = 0x10_0000;
}

/// `MADV_…`.
#[allow(missing_docs, reason = "named as in madvise(2)")]
pub mod advice {
    pub const NORMAL: u64 = 0;
    pub const RANDOM: u64 = 1;
    pub const SEQUENTIAL: u64 = 2;
    pub const WILLNEED: u64 = 3;
    pub const DONTNEED: u64 = 4;
    pub const FREE: u64 = 8;
    pub const REMOVE: u64 = 9;
    pub const DONTFORK: u64 = 10;
    pub const DOFORK: u64 = 11;
    pub const MERGEABLE: u64 = 12;
    pub const UNMERGEABLE: u64 = 13;
    pub const HUGEPAGE: u64 = 14;
    pub const NOHUGEPAGE: u64 = 15;
    pub const DONTDUMP: u64 = 16;
    pub const DODUMP: u64 = 17;
    pub const WIPEONFORK: u64 = 18;
    pub const KEEPONFORK: u64 = 19;
    pub const COLD: u64 = 20;
    pub const PAGEOUT: u64 = 21;
    pub const POPULATE_READ: u64 = 22;
    pub const POPULATE_WRITE: u64 = 23;
}

/// Where a mapping goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// Anywhere, at this address if it is free (0: no wish).
    Hint(u64),
    /// Here, in place of what is there.
    Fixed(u64),
    /// Here, or `EEXIST`.
    NoReplace(u64),
}

/// Riscv pages that are writable are readable.
pub(crate) fn effective_prot(bits: u64) -> Prot {
    let prot = Prot::from_bits(bits as u32);
    if prot.contains(Prot::WRITE) {
        prot | Prot::READ
    } else {
        prot
    }
}

impl Mm {
    /// Maps `len` bytes (rounded up by the caller); gives the address.
    pub fn map(
        &self,
        placement: Placement,
        len: u64,
        prot: Prot,
        flags: VmaFlags,
        backing: Backing,
        name: &'static str,
    ) -> Result<u64> {
        if len == 0 || !len.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        if len > USER_END || self.vmas.borrow().count() >= MAP_COUNT_MAX {
            return Err(Errno::ENOMEM);
        }
        if !self.charge_range() {
            return Err(Errno::ENOMEM);
        }
        let start = self.place(placement, len)?;
        let mut flags = flags;
        if self.lock_future.get() {
            flags.insert(VmaFlags::LOCKED);
        }
        self.vmas.borrow_mut().insert(Vma {
            start,
            end: start + len,
            prot,
            flags,
            backing,
            name,
        });
        self.note_size();
        Ok(start)
    }

    fn place(&self, placement: Placement, len: u64) -> Result<u64> {
        match placement {
            Placement::Fixed(start) | Placement::NoReplace(start) => {
                if !start.is_multiple_of(PAGE) {
                    return Err(Errno::EINVAL);
                }
                if start.checked_add(len).is_none_or(|end| end > USER_END) {
                    return Err(Errno::ENOMEM);
                }
                // mmap_min_addr: a null pointer must fault.
                if start < MMAP_BOTTOM {
                    return Err(Errno::EPERM);
                }
                if matches!(placement, Placement::NoReplace(_))
                    && !self.vmas.borrow().is_free(start, start + len)
                {
                    return Err(Errno::EEXIST);
                }
                self.unmap(start, len)?;
                Ok(start)
            }
            Placement::Hint(hint) => {
                let hint = page_down(hint);
                let vmas = self.vmas.borrow();
                let fits = hint >= MMAP_BOTTOM
                    && hint
                        .checked_add(len)
                        .is_some_and(|end| end <= USER_END && vmas.is_free(hint, end));
                if fits {
                    return Ok(hint);
                }
                let low = (len <= LOW_SIZE_MAX)
                    .then(|| vmas.find_gap(len, MMAP_BOTTOM, MMAP_TOP))
                    .flatten();
                low.or_else(|| vmas.find_gap(len, HIGH_BOTTOM, HIGH_TOP))
                    .ok_or(Errno::ENOMEM)
            }
        }
    }

    /// `munmap(2)`.
    pub fn unmap(&self, start: u64, len: u64) -> Result<()> {
        if !start.is_multiple_of(PAGE) || len == 0 {
            return Err(Errno::EINVAL);
        }
        let end = start
            .checked_add(page_up(len))
            .filter(|&end| end <= USER_END && end > start)
            .ok_or(Errno::EINVAL)?;
        let taken = self.vmas.borrow_mut().take(start, end);
        if !taken.is_empty() {
            self.drop_pages(start, end - start);
        }
        Ok(())
    }

    /// `mprotect(2)`.
    pub fn protect(&self, start: u64, len: u64, bits: u64) -> Result<()> {
        let (start, end) = range(start, len)?;
        if start == end {
            return Ok(());
        }
        let prot = effective_prot(bits);
        {
            let vmas = self.vmas.borrow();
            if !vmas.covers(start, end) {
                return Err(Errno::ENOMEM);
            }
            let refuses = |vma: &Vma| {
                vma.flags
                    .intersects(VmaFlags::NEVER_WRITE | VmaFlags::SPECIAL)
            };
            if prot.contains(Prot::WRITE) && vmas.overlapping(start, end).any(refuses) {
                return Err(Errno::EACCES);
            }
            if vmas.count() + 2 > MAP_COUNT_MAX {
                return Err(Errno::ENOMEM);
            }
        }
        if !self.charge_range() {
            return Err(Errno::ENOMEM);
        }
        self.vmas
            .borrow_mut()
            .change(start, end, |vma| vma.prot = prot);
        self.space.borrow_mut().protect(start, end - start, prot);
        Ok(())
    }

    /// `mremap(2)`: gives the new address.
    pub fn remap(&self, old: u64, old_len: u64, new_len: u64, flags: u64, new: u64) -> Result<u64> {
        const MAYMOVE: u64 = 1;
        const FIXED: u64 = 2;
        const DONTUNMAP: u64 = 4;
        let (old_len, new_len) = (page_up(old_len), page_up(new_len));
        let fixed = flags & FIXED != 0;
        let bad_flags = flags & !7 != 0 || flags & (FIXED | DONTUNMAP) != 0 && flags & MAYMOVE == 0;
        if bad_flags || !old.is_multiple_of(PAGE) || new_len == 0 || new_len > USER_END {
            return Err(Errno::EINVAL);
        }
        let vma = self.vmas.borrow().find(old).cloned().ok_or(Errno::EFAULT)?;
        let leaves = flags & DONTUNMAP != 0;
        let stays = old_len == 0 && !vma.is_shared() || leaves && old_len != new_len;
        if stays || leaves && vma.flags.contains(VmaFlags::SPECIAL) {
            return Err(Errno::EINVAL);
        }
        if old_len == 0 {
            return self.map_again(&vma, old, new_len, flags, fixed.then_some(new));
        }
        let old_end = old
            .checked_add(old_len)
            .filter(|&end| end <= vma.end)
            .ok_or(Errno::EFAULT)?;
        if fixed {
            let overlaps = new < old_end && old < new.saturating_add(new_len);
            if !new.is_multiple_of(PAGE) || overlaps {
                return Err(Errno::EINVAL);
            }
        } else if leaves {
            // It moves whatever room there is.
        } else if new_len <= old_len {
            if new_len < old_len {
                self.unmap(old + new_len, old_len - new_len)?;
            }
            return Ok(old);
        } else {
            let new_end = old + new_len;
            if old_end == vma.end
                && new_end < USER_END
                && self.vmas.borrow().is_free(old_end, new_end)
            {
                let mut vmas = self.vmas.borrow_mut();
                for mut part in vmas.take(old, old_end) {
                    part.end = new_end;
                    vmas.insert(part);
                }
                drop(vmas);
                self.note_size();
                return Ok(old);
            }
            if flags & MAYMOVE == 0 {
                return Err(Errno::ENOMEM);
            }
        }
        let placement = if fixed {
            Placement::Fixed(new)
        } else {
            Placement::Hint(0)
        };
        let target = self.place(placement, new_len)?;
        let left = leaves.then(|| vma.part(old, old_end));
        let moved = self.move_range(old, old_len.min(new_len), target, new_len, old_len)?;
        if let Some(left) = left {
            self.vmas.borrow_mut().insert(left);
            self.note_size();
        }
        Ok(moved)
    }

    /// Maps what is at `at` a second time: `mremap(2)` of shared memory with an old size of 0.
    fn map_again(
        &self,
        vma: &Vma,
        at: u64,
        len: u64,
        flags: u64,
        fixed: Option<u64>,
    ) -> Result<u64> {
        if flags & 1 == 0 {
            return Err(Errno::ENOMEM);
        }
        let target = self.place(fixed.map_or(Placement::Hint(0), Placement::Fixed), len)?;
        let mut again = vma.part(at, vma.end);
        again.start = target;
        again.end = target + len;
        self.vmas.borrow_mut().insert(again);
        self.note_size();
        Ok(target)
    }

    fn move_range(
        &self,
        old: u64,
        keep: u64,
        target: u64,
        new_len: u64,
        old_len: u64,
    ) -> Result<u64> {
        let taken = self.vmas.borrow_mut().take(old, old + old_len);
        let mut part = taken.into_iter().next().ok_or(Errno::EFAULT)?;
        part.start = target;
        part.end = target + new_len;
        self.vmas.borrow_mut().insert(part);
        let mut space = self.space.borrow_mut();
        let mut pages: Vec<(u64, Page, Prot, Sharing)> = Vec::new();
        space.for_each_page(old, keep, |va, mapped| {
            pages.push((va, mapped.page.clone(), mapped.prot, mapped.sharing));
        });
        space.unmap(old, old_len);
        for (va, page, prot, sharing) in pages {
            space.map(target + (va - old), page, prot, sharing);
        }
        drop(space);
        self.note_size();
        Ok(target)
    }

    /// `madvise(2)`, but for populating.
    pub fn advise(&self, start: u64, len: u64, what: u64) -> Result<()> {
        let (start, end) = range(start, len)?;
        let known =
            what <= advice::DONTNEED || (advice::FREE..=advice::POPULATE_WRITE).contains(&what);
        if !known {
            return Err(Errno::EINVAL);
        }
        if start == end {
            return Ok(());
        }
        let parts: Vec<Vma> = self
            .vmas
            .borrow()
            .overlapping(start, end)
            .cloned()
            .collect();
        for vma in &parts {
            let (from, to) = (vma.start.max(start), vma.end.min(end));
            let anonymous = matches!(vma.backing, Backing::Anon);
            match what {
                advice::DONTNEED | advice::FREE => {
                    if vma.flags.intersects(VmaFlags::LOCKED | VmaFlags::SPECIAL) {
                        return Err(Errno::EINVAL);
                    }
                    if what == advice::FREE && (!anonymous || vma.is_shared()) {
                        return Err(Errno::EINVAL);
                    }
                    self.drop_pages(from, to - from);
                }
                advice::REMOVE => return Err(Errno::EINVAL),
                advice::DONTFORK => self.set_flags(from, to, VmaFlags::DONT_FORK, true),
                advice::DOFORK => self.set_flags(from, to, VmaFlags::DONT_FORK, false),
                advice::WIPEONFORK if !anonymous || vma.is_shared() => return Err(Errno::EINVAL),
                advice::WIPEONFORK => self.set_flags(from, to, VmaFlags::WIPE_ON_FORK, true),
                advice::KEEPONFORK => self.set_flags(from, to, VmaFlags::WIPE_ON_FORK, false),
                _ => {}
            }
        }
        if self.vmas.borrow().covers(start, end) {
            Ok(())
        } else {
            Err(Errno::ENOMEM)
        }
    }

    /// Pages of a file behind its new end are gone, those that were written to privately as well.
    fn forget_behind(&self, inode: &InodeRef, size: u64) {
        let is_of = |vma: &&Vma| match &vma.backing {
            Backing::File { file, .. } => file.inode().is_some_and(|of| Rc::ptr_eq(&of, inode)),
            _ => false,
        };
        let parts: Vec<Vma> = self.vmas.borrow().iter().filter(is_of).cloned().collect();
        for vma in parts {
            let first = page_up(size).saturating_sub(vma.file_offset(vma.start));
            let from = vma.start.saturating_add(first);
            if from < vma.end {
                self.drop_pages(from, vma.end - from);
            }
        }
    }

    /// `mlock(2)` and `munlock(2)`.
    pub fn lock(&self, start: u64, len: u64, lock: bool) -> Result<()> {
        let first = page_down(start);
        let end = start
            .checked_add(len)
            .map(page_up)
            .filter(|&end| end >= first)
            .ok_or(Errno::EINVAL)?;
        if first == end {
            return Ok(());
        }
        if !self.vmas.borrow().covers(first, end) {
            return Err(Errno::ENOMEM);
        }
        self.set_flags(first, end, VmaFlags::LOCKED, lock);
        self.count_locked();
        Ok(())
    }

    /// `mlockall(2)` and `munlockall(2)`.
    pub fn lock_all(&self, lock: bool) {
        self.set_flags(0, USER_END, VmaFlags::LOCKED, lock);
        self.count_locked();
    }

    fn count_locked(&self) {
        let vmas = self.vmas.borrow();
        let locked = vmas
            .iter()
            .filter(|vma| vma.flags.contains(VmaFlags::LOCKED))
            .map(Vma::len)
            .sum();
        self.locked.set(locked);
    }

    fn set_flags(&self, start: u64, end: u64, flags: VmaFlags, on: bool) {
        self.vmas
            .borrow_mut()
            .change(start, end, |vma| vma.flags.set(flags, on));
    }

    /// `mincore(2)`: calls `f` for each page with whether it is resident.
    pub fn resident(&self, start: u64, len: u64, mut f: impl FnMut(bool)) -> Result<()> {
        let (start, end) = range(start, len)?;
        if !self.vmas.borrow().covers(start, end) {
            return Err(Errno::ENOMEM);
        }
        let space = self.space.borrow();
        let mut at = start;
        while at < end {
            f(space.lookup(at).is_some());
            at += PAGE;
        }
        Ok(())
    }

    /// The mapping of shared memory that starts at `address`, for `shmdt(2)`.
    #[must_use]
    pub fn shared_at(&self, address: u64) -> Option<(Rc<super::SharedPages>, u64)> {
        let vmas = self.vmas.borrow();
        let vma = vmas.find(address).filter(|vma| vma.start == address)?;
        match &vma.backing {
            Backing::Shared { pages, first: 0 } => Some((Rc::clone(pages), vma.len())),
            _ => None,
        }
    }
}

/// A page-aligned start and a length that is rounded up.
fn range(start: u64, len: u64) -> Result<(u64, u64)> {
    if !start.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let len = if len == 0 { 0 } else { page_up(len).max(1) };
    let end = start
        .checked_add(len)
        .filter(|&end| end <= USER_END)
        .ok_or(Errno::ENOMEM)?;
    if len != 0 && len < PAGE {
        Err(Errno::EINVAL)
    } else {
        Ok((start, end))
    }
}

/// What hangs on the inode of a file that was mapped once.
struct WasMapped;

/// Remembers that a file is mapped, so that cutting other files stays cheap.
pub fn note_mapped(file: &OpenFile) {
    if let Some(inode) = file.inode()
        && let Some(attachments) = inode.attachments()
    {
        attachments.get_or_insert_with(|| WasMapped);
    }
}

impl Kernel {
    /// A shared mapping of the file, of whoever, may write to it.
    pub(crate) fn is_mapped_writable(&self, inode: &InodeRef) -> bool {
        let writes = |vma: &Vma| match &vma.backing {
            Backing::File { file, .. } => {
                vma.is_shared()
                    && !vma.flags.contains(VmaFlags::NEVER_WRITE)
                    && file.inode().is_some_and(|of| Rc::ptr_eq(&of, inode))
            }
            _ => false,
        };
        let tasks: Vec<_> = self.tasks.borrow().values().cloned().collect();
        tasks
            .iter()
            .any(|task| task.mm().vmas.borrow().iter().any(writes))
    }

    /// A file became `size` bytes: whoever maps what was behind that gets SIGBUS there.
    pub(crate) fn file_was_cut(&self, inode: &InodeRef, size: u64) {
        let mapped = inode
            .attachments()
            .and_then(|attachments| attachments.get::<WasMapped>());
        if mapped.is_none() {
            return;
        }
        let tasks: Vec<_> = self.tasks.borrow().values().cloned().collect();
        for task in tasks.iter().filter(|task| task.is_leader()) {
            task.mm().forget_behind(inode, size);
        }
    }
}
