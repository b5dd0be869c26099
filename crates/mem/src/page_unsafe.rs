//! The page itself. This file is the only one in the crate with `unsafe`: an interpreter's TLB keeps raw
//! pointers to the bytes, and pages count their owners themselves because an [`Rc`] cannot be made
//! without the abort that a failed allocation is.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::any::Any;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::rc::Rc;

use crate::account::{Account, Full, Kind};

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;

#[repr(C, align(16))]
struct Bytes(UnsafeCell<[u8; PAGE_SIZE]>);

/// What a CPU attaches to a page: the decoded form of the instructions in it.
pub trait Code: Any {
    /// `len` bytes from `offset` have new values. True when that makes this code wrong: the page then
    /// calls [`Code::forget`] and drops its reference. Data next to code need not invalidate it.
    fn written(&self, offset: usize, len: usize) -> bool;

    /// The page drops this code. Whoever still holds it must not start to run it again.
    fn forget(&self);

    /// For the owner to get his own type back.
    fn as_any(self: Rc<Self>) -> Rc<dyn Any>;
}

/// Where the page is whose code this is; empty once the page has dropped it. Only this file fills it.
type Home = Rc<Cell<Option<NonNull<Inner>>>>;

struct Attached {
    code: Rc<dyn Code>,
    home: Home,
}

#[repr(C)]
struct Inner {
    bytes: Bytes,
    owners: Cell<usize>,
    /// Who pays, if anybody does.
    account: Option<Rc<Account>>,
    /// What the CPU decoded from these bytes; dropped when they change.
    code: RefCell<Option<Attached>>,
    has_code: Cell<bool>,
    /// See [`Page::mark_stored_elsewhere`].
    stored_elsewhere: Cell<bool>,
    kind: Kind,
}

/// A counted reference to 4 KiB of guest memory. Cloning it shares the bytes.
pub struct Page(NonNull<Inner>, PhantomData<Rc<Inner>>);

/// Leads from decoded code to the page it hangs on, without keeping the page.
pub struct CodeLink(Home);

impl CodeLink {
    /// Makes the page drop the code, if it still has it.
    pub fn forget(&self) {
        if let Some(inner) = self.0.get() {
            // SAFETY: a page empties the link before it drops the code, and drops the code before it goes
            // away, so a filled link leads to a page that lives. It is counted as one more owner here, so
            // it outlives whatever dropping the code drops.
            let page = unsafe {
                let owners = &inner.as_ref().owners;
                owners.set(owners.get() + 1);
                Page(inner, PhantomData)
            };
            page.forget_code();
        }
    }
}

impl Inner {
    fn forget_code(&self) {
        if self.has_code.replace(false) {
            // The borrow must end before the code hears of it.
            let attached = self.code.borrow_mut().take();
            if let Some(attached) = attached {
                attached.home.set(None);
                attached.code.forget();
            }
        }
    }
}

const LAYOUT: Layout = Layout::new::<Inner>();

impl Clone for Page {
    #[inline]
    fn clone(&self) -> Page {
        let owners = &self.inner().owners;
        owners.set(owners.get() + 1);
        Page(self.0, PhantomData)
    }
}

impl Drop for Page {
    #[inline]
    fn drop(&mut self) {
        let owners = self.inner().owners.get() - 1;
        self.inner().owners.set(owners);
        if owners == 0 {
            self.free();
        }
    }
}

impl Page {
    fn inner(&self) -> &Inner {
        // SAFETY: the page lives while it has an owner, and `self` is one. Only shared references to it
        // are ever made; what changes in it is in cells.
        unsafe { self.0.as_ref() }
    }

    /// The last owner went.
    fn free(&mut self) {
        self.inner().forget_code();
        if let Some(account) = &self.inner().account {
            account.uncharge(self.inner().kind, PAGE_SIZE as u64);
        }
        // SAFETY: nobody else owns the page, and it was allocated with this layout in `place`.
        unsafe {
            self.0.drop_in_place();
            dealloc(self.0.as_ptr().cast(), LAYOUT);
        }
    }

    /// Makes a page of an allocation of [`LAYOUT`], whose bytes are set; `None` when there is none.
    fn place(memory: *mut u8, account: Option<Rc<Account>>, kind: Kind) -> Option<Page> {
        let inner = NonNull::new(memory.cast::<Inner>())?;
        let at = inner.as_ptr();
        // SAFETY: the allocation is large enough and aligned for `Inner` and nobody knows it yet. All
        // fields but `bytes` are written here; those are plain bytes that the caller has set.
        unsafe {
            (&raw mut (*at).owners).write(Cell::new(1));
            (&raw mut (*at).account).write(account);
            (&raw mut (*at).code).write(RefCell::new(None));
            (&raw mut (*at).has_code).write(Cell::new(false));
            (&raw mut (*at).stored_elsewhere).write(Cell::new(false));
            (&raw mut (*at).kind).write(kind);
        }
        Some(Page(inner, PhantomData))
    }

    /// A new page of zero bytes that nobody pays for: the kernel's own few, and tests.
    #[must_use]
    pub fn zeroed() -> Page {
        // SAFETY: the layout is not empty.
        let memory = unsafe { alloc_zeroed(LAYOUT) };
        Page::place(memory, None, Kind::Kernel).unwrap_or_else(|| handle_alloc_error(LAYOUT))
    }

    /// A new page of zero bytes, charged to `account`. Fails when that is full, or the host is.
    pub fn new_in(account: &Rc<Account>, kind: Kind) -> Result<Page, Full> {
        account.charge(kind, PAGE_SIZE as u64)?;
        // SAFETY: the layout is not empty.
        let memory = unsafe { alloc_zeroed(LAYOUT) };
        Page::charged(memory, account, kind)
    }

    /// A new page with the same bytes, charged to `account`: what copy-on-write does. Decoded code is not
    /// taken along.
    pub fn duplicate_in(&self, account: &Rc<Account>, kind: Kind) -> Result<Page, Full> {
        account.charge(kind, PAGE_SIZE as u64)?;
        // SAFETY: the layout is not empty. The copy fills all the bytes of the new page, which begin where
        // the allocation does; this page is another one.
        let memory = unsafe {
            let memory = alloc(LAYOUT);
            if !memory.is_null() {
                std::ptr::copy_nonoverlapping(self.as_ptr(), memory, PAGE_SIZE);
            }
            memory
        };
        Page::charged(memory, account, kind)
    }

    fn charged(memory: *mut u8, account: &Rc<Account>, kind: Kind) -> Result<Page, Full> {
        if memory.is_null() {
            account.uncharge(kind, PAGE_SIZE as u64);
            return Err(account.host_refused());
        }
        Page::place(memory, Some(Rc::clone(account)), kind).ok_or_else(|| account.host_refused())
    }

    /// A new page that begins with `bytes` (at most [`PAGE_SIZE`]) and is zero behind them.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Page {
        let page = Page::zeroed();
        page.write(0, bytes);
        page
    }

    /// What the page was charged as; `None` when nobody pays for it.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.inner().account.is_some().then_some(self.inner().kind)
    }

    /// Copies `buf.len()` bytes out, from `offset`. Panics when the range leaves the page.
    pub fn read(&self, offset: usize, buf: &mut [u8]) {
        assert!(offset + buf.len() <= PAGE_SIZE);
        // SAFETY: the range was checked; `buf` is host memory that is never a page's own bytes,
        // for no reference to those is ever handed out.
        unsafe {
            std::ptr::copy_nonoverlapping(self.as_ptr().add(offset), buf.as_mut_ptr(), buf.len())
        };
    }

    /// Copies `buf` in, at `offset`, and forgets code decoded from the old bytes.
    /// Panics when the range leaves the page.
    pub fn write(&self, offset: usize, buf: &[u8]) {
        assert!(offset + buf.len() <= PAGE_SIZE);
        // SAFETY: as in `read`.
        unsafe {
            std::ptr::copy_nonoverlapping(buf.as_ptr(), self.as_ptr().add(offset), buf.len())
        };
        self.written(offset, buf.len());
    }

    /// Fills `len` bytes from `offset` with `value`. Panics when the range leaves the page.
    pub fn fill(&self, offset: usize, len: usize, value: u8) {
        assert!(offset + len <= PAGE_SIZE);
        // SAFETY: the range was checked.
        unsafe { std::ptr::write_bytes(self.as_ptr().add(offset), value, len) };
        self.written(offset, len);
    }

    /// Where the bytes are, for a TLB. The pointer is valid (16-byte aligned, for reads and writes of
    /// [`PAGE_SIZE`] bytes) as long as any clone of this page lives. Who writes through it calls
    /// [`Page::written`] when [`Page::has_code`].
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.inner().bytes.0.get().cast()
    }

    /// True when someone else holds this page too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.inner().owners.get() > 1
    }

    /// True when both are the same page (not merely equal bytes).
    #[must_use]
    pub fn is_same(&self, other: &Page) -> bool {
        self.0 == other.0
    }

    /// What the CPU attached with [`Page::set_code`], if the bytes have not changed since.
    #[must_use]
    pub fn code(&self) -> Option<Rc<dyn Code>> {
        let attached = self.inner().code.borrow();
        attached.as_ref().map(|attached| Rc::clone(&attached.code))
    }

    /// True when decoded code is attached: stores must then go through a path that calls
    /// [`Page::written`].
    #[must_use]
    pub fn has_code(&self) -> bool {
        self.inner().has_code.get()
    }

    /// Attaches the decoded form of the page's bytes. The link is for who wants to have it dropped.
    pub fn set_code(&self, code: Rc<dyn Code>) -> CodeLink {
        self.forget_code();
        let home = Rc::new(Cell::new(Some(self.0)));
        let link = CodeLink(Rc::clone(&home));
        *self.inner().code.borrow_mut() = Some(Attached { code, home });
        self.inner().has_code.set(true);
        link
    }

    /// Tells the attached code that bytes changed; true when it was dropped for that.
    pub fn written(&self, offset: usize, len: usize) -> bool {
        if !self.has_code() {
            return false;
        }
        let stale = self
            .inner()
            .code
            .borrow()
            .as_ref()
            .is_some_and(|attached| attached.code.written(offset, len));
        if stale {
            self.forget_code();
        }
        stale
    }

    /// Drops the decoded form.
    pub fn forget_code(&self) {
        self.inner().forget_code();
    }

    /// Notes for good that a write TLB of some address space may hold a pointer to this page while
    /// another address space executes it (a `MAP_SHARED` mapping): code decoded from it must be compared
    /// with the bytes whenever it is entered.
    pub fn mark_stored_elsewhere(&self) {
        self.inner().stored_elsewhere.set(true);
    }

    /// See [`Page::mark_stored_elsewhere`].
    #[must_use]
    pub fn is_stored_elsewhere(&self) -> bool {
        self.inner().stored_elsewhere.get()
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Page({:p}, {} owners)",
            self.as_ptr(),
            self.inner().owners.get()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duplicate_has_the_bytes_and_its_own_life() {
        let account = Account::new(None);
        let page = Page::from_bytes(b"hello");
        let copy = page.duplicate_in(&account, Kind::Anon).unwrap();
        copy.write(0, b"J");
        let (mut a, mut b) = ([0; 5], [0; 5]);
        page.read(0, &mut a);
        copy.read(0, &mut b);
        assert_eq!((&a, &b), (b"hello", b"Jello"));
        assert!(!page.is_same(&copy) && !page.is_shared());
        let other = page.clone();
        assert!(page.is_shared() && other.is_same(&page));
        assert_eq!((page.kind(), copy.kind()), (None, Some(Kind::Anon)));
    }

    #[test]
    fn a_page_is_charged_once_and_until_its_last_owner_goes() {
        let account = Account::new(None);
        account.set_max(Some(2 * PAGE_SIZE as u64));
        let page = Page::new_in(&account, Kind::Shmem).unwrap();
        let other = page.clone();
        assert_eq!(account.of_kind(Kind::Shmem), 4096);
        let copy = page.duplicate_in(&account, Kind::Anon).unwrap();
        assert!(Page::new_in(&account, Kind::Anon).is_err());
        drop(page);
        assert_eq!(account.current(), 8192);
        drop(other);
        assert_eq!(
            (account.current(), account.of_kind(Kind::Anon)),
            (4096, 4096)
        );
        drop(copy);
        assert_eq!(account.current(), 0);
    }

    /// Code in the first half of a page.
    struct FirstHalf(Cell<bool>);

    impl Code for FirstHalf {
        fn written(&self, offset: usize, _len: usize) -> bool {
            offset < PAGE_SIZE / 2
        }
        fn forget(&self) {
            self.0.set(true);
        }
        fn as_any(self: Rc<Self>) -> Rc<dyn Any> {
            self
        }
    }

    #[test]
    fn a_write_to_code_forgets_it() {
        let page = Page::zeroed();
        let code = Rc::new(FirstHalf(Cell::new(false)));
        let link = page.set_code(code.clone());
        assert!(
            page.code()
                .unwrap()
                .as_any()
                .downcast::<FirstHalf>()
                .is_ok()
        );
        page.write(4095, b"x");
        assert!(page.has_code() && !code.0.get());
        page.fill(16, 4, 1);
        assert!(!page.has_code() && page.code().is_none() && code.0.get());
        link.forget();
    }

    #[test]
    fn code_can_be_dropped_from_afar_while_its_page_lives() {
        let page = Page::zeroed();
        let (old, code) = (
            Rc::new(FirstHalf(Cell::new(false))),
            Rc::new(FirstHalf(Cell::new(false))),
        );
        let stale = page.set_code(old.clone());
        let link = page.set_code(code.clone());
        stale.forget();
        assert!(old.0.get() && page.has_code() && !code.0.get());
        link.forget();
        assert!(!page.has_code() && code.0.get());
        let link = page.set_code(code);
        drop(page);
        link.forget();
    }
}
