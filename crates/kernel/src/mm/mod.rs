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

use mem::{Account, Charge, Full, Kind, PAGE_SIZE, Page, Payer};
use rv64::{AddressSpace, CodeCache};
use vfs::file::OpenFile;

use crate::cgroup::Cgroup;

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

/// What a process costs beside its pages and page tables: TLBs and the rest of [`Mm`].
const BASE_BYTES: u64 = 24 * 1024;
/// Ranges that are paid for together, and with how much.
const RANGES: u64 = 32;
const RANGES_BYTES: u64 = PAGE;

/// What all processes of a machine share.
pub struct Common {
    /// What untouched memory reads as.
    zero: Page,
    /// Where decoded code is counted.
    code: Rc<CodeCache>,
    /// Who pays for pages of files.
    payer: Rc<Payer>,
}

impl Common {
    /// For a machine whose file systems charge `payer`.
    #[must_use]
    pub fn new(payer: &Rc<Payer>) -> Rc<Common> {
        Rc::new(Common {
            zero: Page::zeroed(),
            code: Rc::default(),
            payer: Rc::clone(payer),
        })
    }

    /// Where decoded code is counted.
    #[must_use]
    pub fn code(&self) -> &Rc<CodeCache> {
        &self.code
    }
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
    /// What it is charged with beside pages.
    charge: RefCell<Charge>,
    /// Most pages that were resident.
    pub peak_resident: Cell<u64>,
    /// Bytes mapped at most (`VmPeak`).
    pub peak_size: Cell<u64>,
    /// Bytes locked by mlock.
    pub locked: Cell<u64>,
    /// `mlockall(MCL_FUTURE)`.
    pub lock_future: Cell<bool>,
    common: Rc<Common>,
    /// `membarrier(2)` registrations.
    pub membarrier: Cell<u32>,
}

/// Bytes a process with so many ranges is charged with beside pages.
fn base_bytes(ranges: usize) -> u64 {
    BASE_BYTES + ranges as u64 / RANGES * RANGES_BYTES
}

impl Mm {
    /// Nothing mapped.
    #[must_use]
    pub fn new(cgroup: &Cgroup, common: &Rc<Common>) -> Rc<Mm> {
        let account = &cgroup.memory.account;
        let space = AddressSpace::with(Rc::clone(account), Rc::clone(&common.code));
        // A new program takes the place of one: that it is a little too much shows at its first fault.
        let charge = Charge::unchecked(account, Kind::Kernel, BASE_BYTES);
        Rc::new(Mm::build(charge, space, Vmas::default(), common))
    }

    fn build(charge: Charge, space: AddressSpace, vmas: Vmas, common: &Rc<Common>) -> Mm {
        Mm {
            space: RefCell::new(space),
            vmas: RefCell::new(vmas),
            layout: Cell::default(),
            brk: Cell::new(0),
            exe: RefCell::new(None),
            auxv: RefCell::default(),
            vdso: Cell::new(0),
            charge: RefCell::new(charge),
            peak_resident: Cell::new(0),
            peak_size: Cell::new(0),
            locked: Cell::new(0),
            lock_future: Cell::new(false),
            common: Rc::clone(common),
            membarrier: Cell::new(0),
        }
    }

    /// The memory of a forked process: the same pages, copied when written. They stay charged to who
    /// touched them first; what the child copies is charged to its cgroup.
    pub fn fork(&self, cgroup: &Cgroup) -> Result<Rc<Mm>, Full> {
        let account = &cgroup.memory.account;
        let charge = Charge::new(
            account,
            Kind::Kernel,
            base_bytes(self.vmas.borrow().count()),
        )?;
        let mut space = self.space.borrow_mut().fork();
        space.set_account(Rc::clone(account));
        let vmas = self.vmas.borrow().fork();
        let child = Mm::build(charge, space, vmas, &self.common);
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
        Ok(Rc::new(child))
    }

    /// Who pays for new pages.
    #[must_use]
    pub fn account(&self) -> Rc<Account> {
        Rc::clone(self.space.borrow().account())
    }

    /// The process was moved to another cgroup: that pays from now on. What is charged stays where it is.
    pub(crate) fn set_cgroup(&self, cgroup: &Cgroup) {
        let account = Rc::clone(&cgroup.memory.account);
        self.space.borrow_mut().set_account(account);
    }

    /// Pays for one more range; false when that is too much.
    pub(crate) fn charge_range(&self) -> bool {
        let bytes = base_bytes(self.vmas.borrow().count() + 1);
        let mut charge = self.charge.borrow_mut();
        bytes <= charge.bytes() || charge.resize(bytes).is_ok()
    }

    /// Removes the pages of a range.
    pub(crate) fn drop_pages(&self, start: u64, len: u64) {
        self.space.borrow_mut().unmap(start, len);
    }

    /// Resident pages.
    #[must_use]
    pub fn resident_pages(&self) -> u64 {
        self.space.borrow().resident_pages()
    }

    /// Anonymous pages that are mapped, for the report of the out-of-memory killer.
    #[must_use]
    pub fn anonymous_pages(&self) -> u64 {
        let mut pages = 0;
        let count = |_, mapped: rv64::Mapped<'_>| {
            pages += u64::from(mapped.page.kind() == Some(Kind::Anon));
        };
        self.space.borrow().for_each_page(0, USER_END, count);
        pages
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
