//! The memory of a process: which ranges are mapped to what (`mmap(2)`), filled page by page on faults.
//!
//! - `vma.rs`: mapped ranges and how they split and join
//! - `fault.rs`: an access to a page that is not there (yet), or not ours to write
//! - `map.rs`: mmap, munmap, mprotect, mremap, madvise; `brk.rs`: the heap
//! - `vdso.rs`: the page of code every process gets from the kernel
//!
//! Addresses the kernel chooses lie below 4 GiB while there is room (design decision 3).
//!
//! Borrow rule: `vmas` before `space`; neither is held while a file is asked for a page.

mod brk;
mod fault;
mod map;
mod shared;
mod vdso;
mod vma;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mem::{PAGE_SIZE, Page};
use rv64::AddressSpace;
use vfs::file::OpenFile;

use crate::cgroup::Cgroup;
use crate::cgroup::memory::{Kind, OverLimit};

pub use fault::FaultError;
pub(crate) use map::effective_prot;
pub use map::{Placement, advice, map_flags, note_mapped};
pub use shared::SharedPages;
pub use vdso::VdsoImage;
pub use vma::{Backing, Vma, VmaFlags, Vmas};

/// Bytes of a page.
pub const PAGE: u64 = PAGE_SIZE as u64;
/// Where mmap begins to look, downwards.
pub const MMAP_TOP: u64 = 0xf000_0000;
/// Lowest address mmap gives by itself.
pub const MMAP_BOTTOM: u64 = 0x1_0000;
/// One above the main thread's stack.
pub const STACK_TOP: u64 = 0xffff_f000;
/// Where position-independent programs are loaded.
pub const PIE_BASE: u64 = 0x2000_0000;
/// One above the highest address of a process.
pub const USER_END: u64 = 1 << 47;

/// Rounds down to a page.
#[must_use]
pub const fn page_down(address: u64) -> u64 {
    address & !(PAGE - 1)
}

/// Rounds up to a page; wraps to 0 at the very end.
#[must_use]
pub const fn page_up(address: u64) -> u64 {
    address.wrapping_add(PAGE - 1) & !(PAGE - 1)
}

/// Where the parts of the program are, for /proc/PID/{stat,cmdline,environ}.
#[derive(Clone, Copy, Default, Debug)]
pub struct Layout {
    /// First byte of code.
    pub start_code: u64,
    /// Behind the code.
    pub end_code: u64,
    /// First byte of data.
    pub start_data: u64,
    /// Behind the data.
    pub end_data: u64,
    /// Where the heap begins.
    pub start_brk: u64,
    /// The stack pointer at the start.
    pub start_stack: u64,
    /// The argument strings.
    pub arg_start: u64,
    /// Behind them.
    pub arg_end: u64,
    /// The environment strings.
    pub env_start: u64,
    /// Behind them.
    pub env_end: u64,
}

/// The memory of a process; threads and vfork children share it.
pub struct Mm {
    /// The pages.
    pub space: RefCell<AddressSpace>,
    /// The mapped ranges.
    pub vmas: RefCell<Vmas>,
    /// Where the parts of the program are.
    pub layout: Cell<Layout>,
    brk: Cell<u64>,
    /// The program's file.
    pub exe: RefCell<Option<Rc<OpenFile>>>,
    /// The auxiliary vector as it is on the stack (`/proc/PID/auxv`).
    pub auxv: RefCell<Vec<u8>>,
    /// Where the vDSO is: signal handlers return there.
    pub vdso: Cell<u64>,
    /// Who pays for its pages: pages charged to each cgroup it was in, the present one last.
    charges: RefCell<Vec<(Rc<Cgroup>, u64)>>,
    /// Most pages that were resident.
    pub peak_resident: Cell<u64>,
    /// Bytes mapped at most (`VmPeak`).
    pub peak_size: Cell<u64>,
    /// Bytes locked by mlock.
    pub locked: Cell<u64>,
    /// `mlockall(MCL_FUTURE)`.
    pub lock_future: Cell<bool>,
    /// What untouched memory reads as.
    zero: Page,
    /// `membarrier(2)` registrations.
    pub membarrier: Cell<u32>,
}

impl Mm {
    /// Nothing mapped.
    #[must_use]
    pub fn new(cgroup: Rc<Cgroup>) -> Rc<Mm> {
        Rc::new(Mm::build(cgroup, AddressSpace::new(), Vmas::default()))
    }

    fn build(cgroup: Rc<Cgroup>, space: AddressSpace, vmas: Vmas) -> Mm {
        Mm {
            space: RefCell::new(space),
            vmas: RefCell::new(vmas),
            layout: Cell::default(),
            brk: Cell::new(0),
            exe: RefCell::new(None),
            auxv: RefCell::default(),
            vdso: Cell::new(0),
            charges: RefCell::new(vec![(cgroup, 0)]),
            peak_resident: Cell::new(0),
            peak_size: Cell::new(0),
            locked: Cell::new(0),
            lock_future: Cell::new(false),
            zero: Page::zeroed(),
            membarrier: Cell::new(0),
        }
    }

    /// The memory of a forked process: the same pages, copied when written.
    #[must_use]
    pub fn fork(&self, cgroup: Rc<Cgroup>) -> Rc<Mm> {
        let space = self.space.borrow_mut().fork();
        let vmas = self.vmas.borrow().fork();
        let child = Mm::build(cgroup, space, vmas);
        child.layout.set(self.layout.get());
        child.brk.set(self.brk.get());
        *child.exe.borrow_mut() = self.exe.borrow().clone();
        *child.auxv.borrow_mut() = self.auxv.borrow().clone();
        child.vdso.set(self.vdso.get());
        child.peak_resident.set(self.peak_resident.get());
        child.peak_size.set(self.peak_size.get());
        for vma in self.vmas.borrow().iter() {
            if vma
                .flags
                .intersects(VmaFlags::DONT_FORK | VmaFlags::WIPE_ON_FORK)
            {
                child.space.borrow_mut().unmap(vma.start, vma.len());
            }
        }
        Rc::new(child)
    }

    /// Charges a new page to the cgroup.
    pub(crate) fn charge(&self) -> Result<(), OverLimit> {
        let mut charges = self.charges.borrow_mut();
        if let Some((cgroup, pages)) = charges.last_mut() {
            cgroup.charge_memory(Kind::Anon, PAGE)?;
            *pages += 1;
        }
        Ok(())
    }

    fn uncharge(&self, pages: u64) {
        let mut left = pages;
        for (cgroup, charged) in self.charges.borrow_mut().iter_mut().rev() {
            let part = left.min(*charged);
            if part > 0 {
                *charged -= part;
                left -= part;
                cgroup.uncharge_memory(Kind::Anon, part * PAGE);
            }
        }
    }

    /// The process was moved to another cgroup: that pays from now on. What is charged stays where it is.
    pub(crate) fn set_cgroup(&self, cgroup: Rc<Cgroup>) {
        let mut charges = self.charges.borrow_mut();
        let known = charges
            .iter()
            .position(|(known, _)| Rc::ptr_eq(known, &cgroup));
        let old = known.map_or(0, |index| charges.remove(index).1);
        charges.retain(|(_, pages)| *pages > 0);
        charges.push((cgroup, old));
    }

    /// Who pays.
    #[must_use]
    pub fn cgroup(&self) -> Option<Rc<Cgroup>> {
        self.charges
            .borrow()
            .last()
            .map(|(cgroup, _)| Rc::clone(cgroup))
    }

    /// Removes the pages of a range and takes their charge back.
    pub(crate) fn drop_pages(&self, start: u64, len: u64) {
        let mut space = self.space.borrow_mut();
        let mut own = 0;
        space.for_each_page(start, len, |_, mapped| {
            own += u64::from(mapped.sharing != rv64::Sharing::Shared && !mapped.page.is_shared());
        });
        space.unmap(start, len);
        drop(space);
        self.uncharge(own);
    }

    /// Resident pages.
    #[must_use]
    pub fn resident_pages(&self) -> u64 {
        self.space.borrow().resident_pages()
    }

    /// Pages charged to the cgroup: what goes when it is killed.
    #[must_use]
    pub fn charged_pages(&self) -> u64 {
        self.charges.borrow().iter().map(|(_, pages)| pages).sum()
    }

    /// Bytes mapped (`VmSize`).
    #[must_use]
    pub fn size(&self) -> u64 {
        self.vmas.borrow().total()
    }

    /// The mapped ranges in order, for /proc/PID/maps.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Vma> {
        self.vmas.borrow().iter().cloned().collect()
    }

    /// Reads without asking for rights, for /proc/PID/{mem,cmdline,environ}; what is not resident reads as
    /// an error.
    pub fn peek(&self, address: u64, buf: &mut [u8]) -> abi::Result<()> {
        self.space
            .borrow()
            .read_force(address, buf)
            .map_err(|_| abi::Errno::EIO)
    }

    pub(crate) fn note_size(&self) {
        let size = self.size();
        if size > self.peak_size.get() {
            self.peak_size.set(size);
        }
    }
}

impl Drop for Mm {
    fn drop(&mut self) {
        self.uncharge(u64::MAX);
    }
}
