//! Faults: an access that the page table does not allow, resolved from what the range is mapped to.

use std::rc::Rc;
use std::task::Waker;

use abi::Errno;
use abi::signal::{SIGBUS, SIGSEGV, SigInfo, si};
use mem::{Full, Kind, Page};
use rv64::{Access, Fault, Prot, Sharing};
use vfs::file::OpenFile;

use super::{Backing, Mm, PAGE, Vma, VmaFlags, page_down};

/// Distance the stack keeps from what is mapped below it.
const STACK_GUARD: u64 = 256 * PAGE;

/// Why an access cannot be.
pub enum FaultError {
    /// A signal: the access is wrong.
    Signal(SigInfo),
    /// The content is on its way; the waker was registered.
    NotHereYet,
    /// Who pays has no room for a page.
    OverLimit(Full),
}

impl From<Full> for FaultError {
    fn from(full: Full) -> FaultError {
        FaultError::OverLimit(full)
    }
}

fn segv(code: i32, address: u64) -> FaultError {
    FaultError::Signal(SigInfo::fault(SIGSEGV, code, address))
}

impl Mm {
    /// Makes the access possible, or says why it is not. `stack_limit` is RLIMIT_STACK.
    pub fn fault(&self, fault: Fault, stack_limit: u64, waker: &Waker) -> Result<(), FaultError> {
        // A statement of its own: the borrow must end before the stack grows.
        let known = self.vmas.borrow().find(fault.addr).cloned();
        let vma = match known {
            Some(vma) => vma,
            None => self
                .grow_stack(fault.addr, stack_limit)
                .ok_or_else(|| segv(si::SEGV_MAPERR, fault.addr))?,
        };
        let wanted = match fault.access {
            Access::Read => Prot::READ,
            Access::Write => Prot::WRITE,
            Access::Execute => Prot::EXEC,
        };
        if !vma.prot.contains(wanted) {
            return Err(segv(si::SEGV_ACCERR, fault.addr));
        }
        let write = fault.access == Access::Write;
        if vma.is_shared() {
            self.fault_shared(&vma, fault.addr, write, waker)?;
        } else {
            self.fault_private(&vma, fault.addr, write, waker)?;
        }
        let mut space = self.space.borrow_mut();
        let resident = space.resident_pages();
        if let Some(full) = space.tables_over() {
            return Err(full.into());
        }
        drop(space);
        if resident > self.peak_resident.get() {
            self.peak_resident.set(resident);
        }
        Ok(())
    }

    /// A range below which `address` lies may grow to it.
    fn grow_stack(&self, address: u64, limit: u64) -> Option<Vma> {
        let mut vmas = self.vmas.borrow_mut();
        let above = vmas.find_from(address)?;
        if !above.flags.contains(VmaFlags::GROWS_DOWN) || address >= above.end {
            return None;
        }
        let (start, end, new_start) = (above.start, above.end, page_down(address));
        if end - new_start > limit {
            return None;
        }
        if !vmas.is_free(new_start.saturating_sub(STACK_GUARD), start) {
            return None;
        }
        vmas.grow_down(start, new_start);
        vmas.find(address).cloned()
    }

    fn fault_private(
        &self,
        vma: &Vma,
        at: u64,
        write: bool,
        waker: &Waker,
    ) -> Result<(), FaultError> {
        let address = page_down(at);
        let state = {
            let space = self.space.borrow();
            space
                .lookup(address)
                .map(|mapped| (mapped.cow, mapped.prot))
        };
        if let Some((cow, prot)) = state {
            if prot != vma.prot {
                self.space.borrow_mut().protect(address, PAGE, vma.prot);
            }
            if write && cow {
                self.space.borrow_mut().break_cow(address)?;
            }
            return Ok(());
        }
        let source = match &vma.backing {
            Backing::Anon => None,
            Backing::File { file, .. } => {
                self.file_page(file, vma.file_offset(address) / PAGE, false, at, waker)?
            }
            Backing::Shared { pages, .. } => {
                Some(pages.page(vma.file_offset(address) / PAGE, &self.account())?)
            }
            Backing::Special { pages, .. } => {
                let page = pages
                    .get((vma.file_offset(address) / PAGE) as usize)
                    .cloned();
                Some(page.ok_or_else(|| segv(si::SEGV_MAPERR, address))?)
            }
        };
        let page = if write {
            let account = self.account();
            match source {
                Some(page) => page.duplicate_in(&account, Kind::Anon)?,
                None => Page::new_in(&account, Kind::Anon)?,
            }
        } else {
            source.unwrap_or_else(|| self.common.zero.clone())
        };
        self.space
            .borrow_mut()
            .map(address, page, vma.prot, Sharing::Private);
        Ok(())
    }

    fn fault_shared(
        &self,
        vma: &Vma,
        at: u64,
        write: bool,
        waker: &Waker,
    ) -> Result<(), FaultError> {
        let address = page_down(at);
        let index = vma.file_offset(address) / PAGE;
        let (page, sharing) = match &vma.backing {
            Backing::File { file, .. } => match self.file_page(file, index, write, at, waker)? {
                // A page that was only read: a store faults again and then asks to write.
                Some(page) if !write => (page, Sharing::Cow),
                Some(page) => (page, Sharing::Shared),
                // A hole. Where it can be written to later it is filled now, so that writes to the file
                // are seen here too.
                None if vma.flags.contains(VmaFlags::NEVER_WRITE) => {
                    (self.common.zero.clone(), Sharing::Cow)
                }
                None => match self.file_page(file, index, true, at, waker)? {
                    Some(page) => (page, Sharing::Cow),
                    None => (self.common.zero.clone(), Sharing::Cow),
                },
            },
            Backing::Shared { pages, .. } => (pages.page(index, &self.account())?, Sharing::Shared),
            Backing::Special { pages, .. } => {
                let page = pages.get(index as usize).cloned();
                (
                    page.ok_or_else(|| segv(si::SEGV_MAPERR, address))?,
                    Sharing::Shared,
                )
            }
            Backing::Anon => (Page::new_in(&self.account(), Kind::Anon)?, Sharing::Private),
        };
        self.space
            .borrow_mut()
            .map(address, page, vma.prot, sharing);
        Ok(())
    }

    /// A page of a file. Behind the end of the file, or of its disk, is SIGBUS.
    fn file_page(
        &self,
        file: &Rc<OpenFile>,
        index: u64,
        write: bool,
        address: u64,
        waker: &Waker,
    ) -> Result<Option<Page>, FaultError> {
        match file.file.page(index, write) {
            Ok(page) => Ok(page),
            Err(Errno::NOT_HERE_YET) => {
                file.file.poll(Some(waker));
                Err(FaultError::NotHereYet)
            }
            Err(Errno::OVER_LIMIT) => {
                let refusal = self.common.payer.take_refusal();
                Err(refusal.unwrap_or_else(|| Full(self.account())).into())
            }
            Err(_) => Err(FaultError::Signal(SigInfo::fault(
                SIGBUS,
                si::BUS_ADRERR,
                address,
            ))),
        }
    }
}
