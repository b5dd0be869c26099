//! Mapped ranges: what is behind them, and how a set of them splits and joins.

use std::collections::BTreeMap;
use std::rc::Rc;

use bitflags::bitflags;
use mem::Page;
use rv64::Prot;
use vfs::file::OpenFile;

use super::{PAGE, SharedPages};

bitflags! {
    /// Properties of a mapped range.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct VmaFlags: u16 {
        /// Stores go to the file or to everybody (`MAP_SHARED`).
        const SHARED = 1;
        /// Grows downwards when touched below (`MAP_GROWSDOWN`, the stack).
        const GROWS_DOWN = 2;
        /// Not in forked children.
        const DONT_FORK = 4;
        /// Zeros in forked children.
        const WIPE_ON_FORK = 8;
        /// `mlock(2)`.
        const LOCKED = 16;
        /// Cannot become writable: a shared mapping of a file opened for reading.
        const NEVER_WRITE = 32;
        /// `MAP_NORESERVE`.
        const NO_RESERVE = 64;
        /// The kernel's own (vDSO): munmap may remove it, mprotect may not make it writable.
        const SPECIAL = 128;
    }
}

/// What is behind a range.
#[derive(Clone)]
pub enum Backing {
    /// Zeros.
    Anon,
    /// A file, from `offset` (page aligned) at the start of the range.
    File {
        /// The open file.
        file: Rc<OpenFile>,
        /// Where.
        offset: u64,
    },
    /// Shared memory without a file, from page `first`.
    Shared {
        /// The segment.
        pages: Rc<SharedPages>,
        /// Page at the start of the range.
        first: u64,
    },
    /// Pages of the kernel, from page `first`.
    Special {
        /// The pages.
        pages: Rc<[Page]>,
        /// Page at the start of the range.
        first: u64,
    },
}

/// A mapped range.
#[derive(Clone)]
pub struct Vma {
    /// First address.
    pub start: u64,
    /// Behind the last address.
    pub end: u64,
    /// Rights.
    pub prot: Prot,
    /// Properties.
    pub flags: VmaFlags,
    /// What is behind it.
    pub backing: Backing,
    /// `[heap]`, `[stack]`, `[vdso]`; empty for others.
    pub name: &'static str,
}

impl Vma {
    /// Bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Never true.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// True when it is shared.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.flags.contains(VmaFlags::SHARED)
    }

    /// Offset in the file at `address`, for files.
    #[must_use]
    pub fn file_offset(&self, address: u64) -> u64 {
        match &self.backing {
            Backing::File { offset, .. } => offset + (address - self.start),
            Backing::Shared { first, .. } | Backing::Special { first, .. } => {
                first * PAGE + (address - self.start)
            }
            Backing::Anon => 0,
        }
    }

    /// The part of it in `start..end`, which it contains.
    pub(super) fn part(&self, start: u64, end: u64) -> Vma {
        let skip = start - self.start;
        let backing = match &self.backing {
            Backing::Anon => Backing::Anon,
            Backing::File { file, offset } => Backing::File {
                file: Rc::clone(file),
                offset: offset + skip,
            },
            Backing::Shared { pages, first } => Backing::Shared {
                pages: Rc::clone(pages),
                first: first + skip / PAGE,
            },
            Backing::Special { pages, first } => Backing::Special {
                pages: Rc::clone(pages),
                first: first + skip / PAGE,
            },
        };
        Vma {
            start,
            end,
            backing,
            ..self.clone()
        }
    }

    /// True when `next` goes on where this ends and could be one range with it.
    fn joins(&self, next: &Vma) -> bool {
        let same = self.end == next.start
            && self.prot == next.prot
            && self.flags == next.flags
            && self.name == next.name
            && !self.flags.contains(VmaFlags::GROWS_DOWN);
        same && match (&self.backing, &next.backing) {
            (Backing::Anon, Backing::Anon) => true,
            (
                Backing::File { file, offset },
                Backing::File {
                    file: other,
                    offset: at,
                },
            ) => Rc::ptr_eq(file, other) && offset + self.len() == *at,
            _ => false,
        }
    }
}

/// The ranges of a process, disjoint, by start address.
#[derive(Default)]
pub struct Vmas {
    by_start: BTreeMap<u64, Vma>,
    total: u64,
}

impl Vmas {
    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_start.len()
    }

    /// Bytes in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// In order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Vma> {
        self.by_start.values()
    }

    /// The range that contains `address`.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<&Vma> {
        let (_, vma) = self.by_start.range(..=address).next_back()?;
        (address < vma.end).then_some(vma)
    }

    /// The first range that ends above `address`.
    #[must_use]
    pub fn find_from(&self, address: u64) -> Option<&Vma> {
        self.find(address)
            .or_else(|| self.by_start.range(address..).next().map(|(_, vma)| vma))
    }

    /// The ranges that overlap `start..end`.
    pub fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = &Vma> {
        let first = self.find(start).map_or(start, |vma| vma.start);
        self.by_start
            .range(first..end.max(first))
            .map(|(_, vma)| vma)
    }

    /// True when nothing is mapped in `start..end`.
    #[must_use]
    pub fn is_free(&self, start: u64, end: u64) -> bool {
        self.overlapping(start, end).next().is_none()
    }

    /// True when all of `start..end` is mapped.
    #[must_use]
    pub fn covers(&self, start: u64, end: u64) -> bool {
        let mut at = start;
        for vma in self.overlapping(start, end) {
            if vma.start > at {
                return false;
            }
            at = vma.end;
        }
        at >= end
    }

    /// Adds a range where nothing is mapped; joins it with its neighbours where possible.
    pub fn insert(&mut self, vma: Vma) {
        self.total += vma.len();
        let mut vma = vma;
        if let Some((_, before)) = self.by_start.range(..vma.start).next_back()
            && before.joins(&vma)
        {
            let start = before.start;
            let mut joined = before.clone();
            joined.end = vma.end;
            self.by_start.remove(&start);
            vma = joined;
        }
        if let Some(after) = self.by_start.get(&vma.end)
            && vma.joins(after)
        {
            let end = after.end;
            self.by_start.remove(&vma.end);
            vma.end = end;
        }
        self.by_start.insert(vma.start, vma);
    }

    /// Takes `start..end` out and gives what was there.
    pub fn take(&mut self, start: u64, end: u64) -> Vec<Vma> {
        let keys: Vec<u64> = self.overlapping(start, end).map(|vma| vma.start).collect();
        let mut taken = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(vma) = self.by_start.remove(&key) else {
                continue;
            };
            let (from, to) = (vma.start.max(start), vma.end.min(end));
            if vma.start < from {
                self.by_start.insert(vma.start, vma.part(vma.start, from));
            }
            if to < vma.end {
                self.by_start.insert(to, vma.part(to, vma.end));
            }
            self.total -= to - from;
            taken.push(vma.part(from, to));
        }
        taken
    }

    /// Changes what is mapped in `start..end`.
    pub fn change(&mut self, start: u64, end: u64, mut f: impl FnMut(&mut Vma)) {
        for mut vma in self.take(start, end) {
            f(&mut vma);
            self.insert(vma);
        }
    }

    /// Lets the range that starts at `start` begin at `new_start`, lower.
    pub fn grow_down(&mut self, start: u64, new_start: u64) {
        if let Some(mut vma) = self.by_start.remove(&start) {
            self.total += start - new_start;
            vma.start = new_start;
            self.by_start.insert(new_start, vma);
        }
    }

    /// The highest gap of `len` bytes in `bottom..top`; gives its start.
    #[must_use]
    pub fn find_gap(&self, len: u64, bottom: u64, top: u64) -> Option<u64> {
        let mut end = top;
        for vma in self.by_start.range(..top).rev().map(|(_, vma)| vma) {
            if vma.end < end && end - vma.end >= len {
                break;
            }
            end = end.min(vma.start);
            if end < bottom {
                return None;
            }
        }
        let start = end.checked_sub(len)?;
        (start >= bottom).then_some(start)
    }

    /// The ranges of a forked process.
    #[must_use]
    pub fn fork(&self) -> Vmas {
        let mut child = Vmas::default();
        for vma in self
            .iter()
            .filter(|vma| !vma.flags.contains(VmaFlags::DONT_FORK))
        {
            let mut vma = vma.clone();
            vma.flags.remove(VmaFlags::LOCKED);
            child.total += vma.len();
            child.by_start.insert(vma.start, vma);
        }
        child
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anon(start: u64, end: u64, prot: Prot) -> Vma {
        Vma {
            start,
            end,
            prot,
            flags: VmaFlags::empty(),
            backing: Backing::Anon,
            name: "",
        }
    }

    fn ranges(vmas: &Vmas) -> Vec<(u64, u64)> {
        vmas.iter().map(|vma| (vma.start, vma.end)).collect()
    }

    #[test]
    fn ranges_split_and_join() {
        let mut vmas = Vmas::default();
        vmas.insert(anon(0x1000, 0x5000, Prot::READ));
        vmas.change(0x2000, 0x3000, |vma| vma.prot = Prot::NONE);
        assert_eq!(
            ranges(&vmas),
            [(0x1000, 0x2000), (0x2000, 0x3000), (0x3000, 0x5000)]
        );
        vmas.change(0x2000, 0x3000, |vma| vma.prot = Prot::READ);
        assert_eq!(ranges(&vmas), [(0x1000, 0x5000)]);
        assert_eq!(vmas.take(0x4000, 0x9000).len(), 1);
        assert_eq!(
            (ranges(&vmas), vmas.total()),
            (vec![(0x1000, 0x4000)], 0x3000)
        );
        assert!(vmas.covers(0x1000, 0x4000) && !vmas.covers(0x1000, 0x4001));
        assert!(vmas.is_free(0x4000, 0x8000) && !vmas.is_free(0x3000, 0x8000));
    }

    #[test]
    fn gaps_are_found_from_the_top() {
        let mut vmas = Vmas::default();
        vmas.insert(anon(0x8000, 0x9000, Prot::READ));
        vmas.insert(anon(0xb000, 0x10000, Prot::READ));
        assert_eq!(vmas.find_gap(0x1000, 0x1000, 0x10000), Some(0xa000));
        assert_eq!(vmas.find_gap(0x3000, 0x1000, 0x10000), Some(0x5000));
        assert_eq!(vmas.find_gap(0x8000, 0x1000, 0x10000), None);
        assert_eq!(vmas.find_gap(0x1000, 0x1000, 0xc000), Some(0xa000));
        assert_eq!(
            Vmas::default().find_gap(0x1000, 0x1000, 0x4000),
            Some(0x3000)
        );
    }
}
