//! Virtual memory of one process: which pages are where, with what rights, and fast paths to them.
//!
//! - [`AddressSpace`] (`space.rs`) is what the kernel changes;
//! - `table.rs` is the page table, a sparse tree whose nodes forked processes share;
//! - `tlb_unsafe.rs` holds the raw pointers that loads, stores and fetches go through;
//! - `copy.rs` is the kernel's access with the user's rights.

mod copy;
mod space;
mod table;
mod tlb_unsafe;

use std::ops::BitOr;

use mem::Page;

pub use space::AddressSpace;
pub(crate) use tlb_unsafe::{FETCH_SIZE, FetchEntry, Store, TLB_SIZE, Tables, TlbEntry};

/// One above the highest user address (47 bits, as on Sv48).
pub(crate) const USER_END: u64 = 1 << 47;

/// Rights to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct Prot(u8);

impl Prot {
    /// No access.
    pub const NONE: Prot = Prot(0);
    /// Loads are allowed.
    pub const READ: Prot = Prot(1);
    /// Stores are allowed.
    pub const WRITE: Prot = Prot(2);
    /// Instruction fetches are allowed.
    pub const EXEC: Prot = Prot(4);

    /// The rights as `PROT_*` bits of `mmap`; others are ignored.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Prot {
        Prot((bits & 7) as u8)
    }

    /// As `PROT_*` bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0 as u32
    }

    /// True when all of `other` is in `self`.
    #[must_use]
    pub const fn contains(self, other: Prot) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Prot {
    type Output = Prot;

    fn bitor(self, other: Prot) -> Prot {
        Prot(self.0 | other.0)
    }
}

/// Whose the stores to a page are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// This process's own. While anyone else holds the page (a forked process, a file), a store faults
    /// so that the kernel can copy it: [`AddressSpace::break_cow`].
    Private,
    /// As `Private`, but the first store faults in any case.
    Cow,
    /// Everybody's who maps the page: stores go into it, fork does not change that.
    Shared,
}

/// What an instruction wanted of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store, or an atomic operation.
    Write,
    /// An instruction fetch.
    Execute,
}

/// An access that the address space does not allow (or not yet: the kernel may map a page and retry).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The first byte that could not be accessed.
    pub addr: u64,
    /// What for.
    pub access: Access,
}

/// A page in an address space.
#[derive(Clone, Copy, Debug)]
pub struct Mapped<'a> {
    /// The page.
    pub page: &'a Page,
    /// The rights to it.
    pub prot: Prot,
    /// As it was mapped.
    pub sharing: Sharing,
    /// A store would fault although `prot` allows it, because the page must be copied first.
    pub cow: bool,
}
