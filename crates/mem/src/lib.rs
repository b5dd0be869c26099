//! Guest memory pages: 4 KiB of bytes that files, page caches and address spaces share, and who pays for
//! them.
//!
//! A [`Page`] is a counted reference. A file holds its content as pages, `mmap` puts the same page into
//! an address space, `fork` counts one more owner: copying happens only when someone writes to a page
//! that is [shared](Page::is_shared) and private to him. The page also carries the
//! decoded form of the code it holds ([`Page::code`]), so processes that map one file share it.
//!
//! Guest memory is charged to an [`Account`] before it is allocated, and a page knows its account: it is
//! charged once, to whoever touched it first, until its last owner is gone.
//!
//! Not here: permissions, virtual addresses, TLBs (crate `rv64`), what a file is (crate `vfs`).

mod account;
mod page_unsafe;

pub use account::{Account, Charge, Full, Kind, Payer};
pub use page_unsafe::{Code, CodeLink, PAGE_SIZE, Page};
