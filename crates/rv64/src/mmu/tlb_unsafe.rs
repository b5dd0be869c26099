//! The software TLBs: three direct-mapped tables of raw pointers, for loads, stores and fetches.
//!
//! An entry is only ever made from the page table (`space.rs`) and is removed whenever the page table
//! entry it came from changes, so its pointer is valid as long as it can be found here.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::rc::Rc;

use mem::{PAGE_SIZE, Page};

use crate::block::CodePage;

/// Entries in the tables for loads and stores. Programs with much data gain from more, short-lived
/// processes from fewer.
pub(crate) const TLB_SIZE: usize = 512;
/// Entries in the table for fetches.
pub(crate) const FETCH_SIZE: usize = 256;
const PAGE_MASK: u64 = !(PAGE_SIZE as u64 - 1);
/// No page-aligned address equals this.
const NEVER: u64 = u64::MAX;

/// A page that loads (or stores) may go to.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct TlbEntry {
    /// The page's address.
    pub tag: u64,
    /// Host address of the page minus `tag`, wrapping: host address = guest address + addend.
    pub addend: usize,
}

/// A page that instructions may be fetched from.
#[repr(C)]
pub(crate) struct FetchEntry {
    /// The page's address.
    pub tag: u64,
    /// Its decoded code; check that it [lives](CodePage::live).
    pub code: Option<Rc<CodePage>>,
    /// Its bytes.
    pub bytes: *const u8,
}

pub(crate) struct Tables {
    pub read: [TlbEntry; TLB_SIZE],
    pub write: [TlbEntry; TLB_SIZE],
    pub fetch: [FetchEntry; FETCH_SIZE],
}

/// The three tables of one address space. They are behind a raw pointer because the interpreter keeps
/// pointers to them across calls that borrow the address space.
pub(crate) struct Store(NonNull<Tables>);

fn slot(va: u64) -> usize {
    (va / PAGE_SIZE as u64) as usize % TLB_SIZE
}

fn fetch_slot(va: u64) -> usize {
    (va / PAGE_SIZE as u64) as usize % FETCH_SIZE
}

impl Store {
    pub fn new() -> Store {
        let none = TlbEntry {
            tag: NEVER,
            addend: 0,
        };
        let tables = Tables {
            read: [none; TLB_SIZE],
            write: [none; TLB_SIZE],
            fetch: [const {
                FetchEntry {
                    tag: NEVER,
                    code: None,
                    bytes: std::ptr::null(),
                }
            }; FETCH_SIZE],
        };
        Store(NonNull::from(Box::leak(Box::new(tables))))
    }

    pub fn as_ptr(&self) -> *mut Tables {
        self.0.as_ptr()
    }

    fn tables(&mut self) -> &mut Tables {
        // SAFETY: the pointer is to the allocation made in `new`, which lives until `drop`. The
        // interpreter reads and writes it through the raw pointer only while it holds no reference from
        // here, for it does not keep what `Store`'s methods return.
        unsafe { self.0.as_mut() }
    }

    pub fn add_read(&mut self, va: u64, page: &Page) {
        self.tables().read[slot(va)] = entry(va, page);
    }

    pub fn add_write(&mut self, va: u64, page: &Page) {
        self.tables().write[slot(va)] = entry(va, page);
    }

    pub fn add_fetch(&mut self, va: u64, page: &Page, code: &Rc<CodePage>) {
        self.tables().fetch[fetch_slot(va)] = FetchEntry {
            tag: va & PAGE_MASK,
            code: Some(code.clone()),
            bytes: page.as_ptr(),
        };
    }

    /// True when instructions at `va` are fetched from `code` already.
    pub fn has_fetch(&mut self, va: u64, code: &Rc<CodePage>) -> bool {
        let entry = &self.tables().fetch[fetch_slot(va)];
        entry.tag == va & PAGE_MASK
            && entry
                .code
                .as_ref()
                .is_some_and(|known| Rc::ptr_eq(known, code))
    }

    /// The code at `va`, if fetches from it may go straight through.
    pub fn fetched(&mut self, va: u64) -> Option<Rc<CodePage>> {
        let entry = &self.tables().fetch[fetch_slot(va)];
        let code = entry.code.as_ref().filter(|code| code.live())?;
        (entry.tag == va & PAGE_MASK).then(|| code.clone())
    }

    /// Forgets the page at `va`.
    pub fn flush_page(&mut self, va: u64) {
        let tag = va & PAGE_MASK;
        let tables = self.tables();
        let i = slot(va);
        if tables.read[i].tag == tag {
            tables.read[i].tag = NEVER;
        }
        if tables.write[i].tag == tag {
            tables.write[i].tag = NEVER;
        }
        let fetch = &mut tables.fetch[fetch_slot(va)];
        if fetch.tag == tag {
            forget_fetch(fetch);
        }
    }

    /// Forgets all pages in `start..end`.
    pub fn flush_range(&mut self, start: u64, end: u64) {
        let tables = self.tables();
        let range = start..end;
        for entry in tables.read.iter_mut().chain(&mut tables.write) {
            if range.contains(&entry.tag) {
                entry.tag = NEVER;
            }
        }
        for entry in &mut tables.fetch {
            if range.contains(&entry.tag) {
                forget_fetch(entry);
            }
        }
    }

    /// Forgets code that is not to be entered any more.
    pub fn flush_dead_fetches(&mut self) {
        for entry in &mut self.tables().fetch {
            if entry.code.as_ref().is_some_and(|code| !code.live()) {
                forget_fetch(entry);
            }
        }
    }

    /// Forgets where stores may go.
    pub fn flush_writes(&mut self) {
        for entry in &mut self.tables().write {
            entry.tag = NEVER;
        }
    }

    /// Forgets every address at which stores go to `page`.
    pub fn flush_writes_to(&mut self, page: &Page) {
        let host = page.as_ptr() as usize;
        for entry in &mut self.tables().write {
            if (entry.tag as usize).wrapping_add(entry.addend) == host {
                entry.tag = NEVER;
            }
        }
    }
}

fn entry(va: u64, page: &Page) -> TlbEntry {
    let tag = va & PAGE_MASK;
    TlbEntry {
        tag,
        addend: (page.as_ptr() as usize).wrapping_sub(tag as usize),
    }
}

fn forget_fetch(entry: &mut FetchEntry) {
    *entry = FetchEntry {
        tag: NEVER,
        code: None,
        bytes: std::ptr::null(),
    };
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: `new` leaked this box; nobody uses the tables after the address space is gone.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
