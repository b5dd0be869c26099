//! The address space: the page table and the TLBs made from it, kept in step.

use std::rc::Rc;

use mem::{Account, Full, Kind, PAGE_SIZE, Page};

use super::table::{Entry, Table};
use super::tlb_unsafe::Tables;
use super::{Access, Fault, Mapped, Prot, Sharing, Store, USER_END};
use crate::block::CodePage;
use crate::cache::CodeCache;

const PAGE: u64 = PAGE_SIZE as u64;

/// The memory one process sees. Threads share one; the kernel fills it page by page, normally when
/// an access faults.
pub struct AddressSpace {
    table: Table,
    pub(super) tlb: Store,
    code: Rc<CodeCache>,
    /// Evictions of `code` that the TLB has heard of.
    evictions: u64,
}

impl Default for AddressSpace {
    fn default() -> Self {
        AddressSpace::new()
    }
}

impl AddressSpace {
    /// Nothing is mapped, and nobody counts.
    #[must_use]
    pub fn new() -> AddressSpace {
        AddressSpace::with(Account::new(None), Rc::default())
    }

    /// Nothing is mapped; `account` pays for page tables and copies, `code` counts what is decoded.
    #[must_use]
    pub fn with(account: Rc<Account>, code: Rc<CodeCache>) -> AddressSpace {
        AddressSpace {
            table: Table::new(account),
            tlb: Store::new(),
            evictions: code.evictions(),
            code,
        }
    }

    /// Who pays from now on.
    pub fn set_account(&mut self, account: Rc<Account>) {
        self.table.set_account(account);
    }

    /// Who pays.
    #[must_use]
    pub fn account(&self) -> &Rc<Account> {
        self.table.account()
    }

    /// The last changes made page tables, and with them the account went above its limit.
    pub fn tables_over(&mut self) -> Option<Full> {
        self.table
            .take_grown()
            .then(|| self.account().over())
            .flatten()
    }

    /// Lets go of decoded code that was evicted: the TLB may be the last to hold it.
    pub fn drop_evicted(&mut self) {
        if self.evictions != self.code.evictions() {
            self.evictions = self.code.evictions();
            self.tlb.flush_dead_fetches();
        }
    }

    /// Where decoded code is counted.
    pub(crate) fn code_cache(&self) -> &Rc<CodeCache> {
        &self.code
    }

    /// Puts `page` at `va` (page aligned, below 2^47; anything else is ignored, for no instruction could
    /// access it), replacing what was there.
    pub fn map(&mut self, va: u64, page: Page, prot: Prot, sharing: Sharing) {
        debug_assert!(va.is_multiple_of(PAGE) && va < USER_END, "map at {va:#x}");
        if !va.is_multiple_of(PAGE) || va >= USER_END {
            return;
        }
        self.tlb.flush_page(va);
        self.table.insert(
            va,
            Entry {
                page,
                prot,
                sharing,
            },
        );
    }

    /// Removes the pages in `va..va + len` (page aligned). What is not there costs nothing.
    pub fn unmap(&mut self, va: u64, len: u64) {
        let end = va.saturating_add(len).min(USER_END);
        if va < end {
            self.flush(va, end);
            self.table.remove(va, end);
        }
    }

    /// Gives all pages in `va..va + len` other rights.
    pub fn protect(&mut self, va: u64, len: u64, prot: Prot) {
        let end = va.saturating_add(len).min(USER_END);
        let mut changed = Vec::new();
        self.table.for_each(va, end, |va, entry, _| {
            if entry.prot != prot {
                changed.push(va);
            }
        });
        if changed.is_empty() {
            return;
        }
        self.flush(va, end);
        for va in changed {
            if let Some(entry) = self.table.get_mut(va) {
                entry.prot = prot;
            }
        }
    }

    /// The page that contains `va`.
    #[must_use]
    pub fn lookup(&self, va: u64) -> Option<Mapped<'_>> {
        self.table.get(va).map(|(entry, own)| mapped(entry, own))
    }

    /// Calls `f` with the address of every populated page in `va..va + len`, in order.
    pub fn for_each_page(&self, va: u64, len: u64, mut f: impl FnMut(u64, Mapped<'_>)) {
        let end = va.saturating_add(len).min(USER_END);
        self.table
            .for_each(va, end, |va, entry, own| f(va, mapped(entry, own)));
    }

    /// Populated pages in `va..va + len`.
    #[must_use]
    pub fn resident_in(&self, va: u64, len: u64) -> u64 {
        let mut pages = 0;
        self.for_each_page(va, len, |_, _| pages += 1);
        pages
    }

    /// All populated pages.
    #[must_use]
    pub fn resident_pages(&self) -> u64 {
        self.table.populated()
    }

    /// The memory of a forked process: the same pages. Whoever stores to a private one first faults and
    /// copies it; shared ones stay shared. The cost does not depend on the number of pages.
    #[must_use]
    pub fn fork(&mut self) -> AddressSpace {
        self.tlb.flush_writes();
        AddressSpace {
            table: self.table.clone(),
            tlb: Store::new(),
            code: Rc::clone(&self.code),
            evictions: self.code.evictions(),
        }
    }

    /// What a write fault on a [copy-on-write](Mapped::cow) page needs: makes the page at `va` this
    /// process's own, with a copy when someone else holds it too. `None` when nothing is mapped there or
    /// it is shared; `Some(true)` when it was copied. Fails when the copy cannot be paid.
    pub fn break_cow(&mut self, va: u64) -> Result<Option<bool>, Full> {
        self.tlb.flush_page(va);
        let account = Rc::clone(self.table.account());
        let entry = self.table.get_mut(va);
        let Some(entry) = entry.filter(|entry| entry.sharing != Sharing::Shared) else {
            return Ok(None);
        };
        let copied = entry.page.is_shared();
        if copied {
            entry.page = entry.page.duplicate_in(&account, Kind::Anon)?;
        }
        entry.sharing = Sharing::Private;
        Ok(Some(copied))
    }

    fn flush(&mut self, va: u64, end: u64) {
        // A few pages one by one, more by looking at all entries.
        if end - va <= 32 * PAGE {
            (va..end)
                .step_by(PAGE_SIZE)
                .for_each(|va| self.tlb.flush_page(va));
        } else {
            self.tlb.flush_range(va, end);
        }
    }

    pub(crate) fn tables(&self) -> *mut Tables {
        self.tlb.as_ptr()
    }

    /// The page that a load at `va` goes to.
    pub(crate) fn readable(&mut self, va: u64) -> Result<&Page, Fault> {
        let fault = Fault {
            addr: va,
            access: Access::Read,
        };
        let (entry, _) = self.table.get(va).ok_or(fault)?;
        if !entry.prot.contains(Prot::READ) {
            return Err(fault);
        }
        self.tlb.add_read(va, &entry.page);
        Ok(&entry.page)
    }

    /// The page that a store at `va` goes to. Pages with decoded code never get into the TLB, so that
    /// every store to them is seen.
    pub(crate) fn writable(&mut self, va: u64) -> Result<&Page, Fault> {
        let fault = Fault {
            addr: va,
            access: Access::Write,
        };
        let (entry, own) = self.table.get(va).ok_or(fault)?;
        if !entry.prot.contains(Prot::WRITE) || mapped(entry, own).cow {
            return Err(fault);
        }
        if !entry.page.has_code() {
            if entry.sharing == Sharing::Shared {
                entry.page.mark_stored_elsewhere();
            }
            self.tlb.add_write(va, &entry.page);
        }
        Ok(&entry.page)
    }

    /// The page that an instruction fetch at `va` reads.
    pub(crate) fn executable(&self, va: u64) -> Result<Page, Fault> {
        match self.table.get(va) {
            Some((entry, _)) if entry.prot.contains(Prot::EXEC) => Ok(entry.page.clone()),
            _ => Err(Fault {
                addr: va,
                access: Access::Execute,
            }),
        }
    }

    /// The decoded code of the page that contains `va`, if it is in the TLB.
    pub(crate) fn fetched(&mut self, va: u64) -> Option<Rc<CodePage>> {
        self.tlb.fetched(va)
    }

    /// The decoded code of the page that contains `va`.
    pub(crate) fn fetchable(&mut self, va: u64) -> Result<(Rc<CodePage>, Page), Fault> {
        let page = self.executable(va)?;
        let code = match page
            .code()
            .and_then(|code| code.as_any().downcast::<CodePage>().ok())
        {
            Some(code) if code.is_current(&page) => code,
            _ => {
                let code = Rc::new(CodePage::new(&page, &self.code));
                self.code.add(page.set_code(code.clone()), &code);
                code
            }
        };
        // Nobody got a pointer to store through since: pages with code are not given one.
        if self.tlb.has_fetch(va, &code) {
            return Ok((code, page));
        }
        // Another address space may have attached the code while this one could still store to the page.
        if code.is_first_seen_by(self.tlb.as_ptr() as usize) {
            self.tlb.flush_writes_to(&page);
        }
        if !page.is_stored_elsewhere() {
            self.tlb.add_fetch(va, &page, &code);
        }
        Ok((code, page))
    }
}

fn mapped(entry: &Entry, own: bool) -> Mapped<'_> {
    let cow = match entry.sharing {
        Sharing::Shared => false,
        Sharing::Cow => true,
        Sharing::Private => !own || entry.page.is_shared(),
    };
    Mapped {
        page: &entry.page,
        prot: entry.prot,
        sharing: entry.sharing,
        cow,
    }
}
