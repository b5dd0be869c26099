//! The page itself. This file is the only one in the crate with `unsafe`: the bytes are in an
//! [`UnsafeCell`] because an interpreter's TLB keeps raw pointers to them.
#![allow(unsafe_code)]

use std::any::Any;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::fmt;
use std::rc::Rc;

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

struct Inner {
    bytes: Bytes,
    /// What the CPU decoded from these bytes; dropped when they change.
    code: RefCell<Option<Rc<dyn Code>>>,
    has_code: Cell<bool>,
    /// See [`Page::mark_stored_elsewhere`].
    stored_elsewhere: Cell<bool>,
}

/// A counted reference to 4 KiB of guest memory. Cloning it shares the bytes.
#[derive(Clone)]
pub struct Page(Rc<Inner>);

impl Page {
    /// A new page of zero bytes.
    #[must_use]
    pub fn zeroed() -> Page {
        Page(Rc::new(Inner {
            bytes: Bytes(UnsafeCell::new([0; PAGE_SIZE])),
            code: RefCell::new(None),
            has_code: Cell::new(false),
            stored_elsewhere: Cell::new(false),
        }))
    }

    /// A new page that begins with `bytes` (at most [`PAGE_SIZE`]) and is zero behind them.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Page {
        let page = Page::zeroed();
        page.write(0, bytes);
        page
    }

    /// A new page with the same bytes: what copy-on-write does. Decoded code is not taken along.
    #[must_use]
    pub fn duplicate(&self) -> Page {
        let copy = Page::zeroed();
        // SAFETY: both pointers are to live pages of PAGE_SIZE bytes and `copy` is new, so they differ.
        unsafe { std::ptr::copy_nonoverlapping(self.as_ptr(), copy.as_ptr(), PAGE_SIZE) };
        copy
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
        self.0.bytes.0.get().cast()
    }

    /// True when someone else holds this page too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        Rc::strong_count(&self.0) > 1
    }

    /// True when both are the same page (not merely equal bytes).
    #[must_use]
    pub fn is_same(&self, other: &Page) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// What the CPU attached with [`Page::set_code`], if the bytes have not changed since.
    #[must_use]
    pub fn code(&self) -> Option<Rc<dyn Code>> {
        self.0.code.borrow().clone()
    }

    /// True when decoded code is attached: stores must then go through a path that calls
    /// [`Page::written`].
    #[must_use]
    pub fn has_code(&self) -> bool {
        self.0.has_code.get()
    }

    /// Attaches the decoded form of the page's bytes.
    pub fn set_code(&self, code: Rc<dyn Code>) {
        self.forget_code();
        *self.0.code.borrow_mut() = Some(code);
        self.0.has_code.set(true);
    }

    /// Tells the attached code that bytes changed; true when it was dropped for that.
    pub fn written(&self, offset: usize, len: usize) -> bool {
        if !self.has_code() {
            return false;
        }
        let stale = self
            .0
            .code
            .borrow()
            .as_ref()
            .is_some_and(|code| code.written(offset, len));
        if stale {
            self.forget_code();
        }
        stale
    }

    /// Drops the decoded form.
    pub fn forget_code(&self) {
        if self.0.has_code.replace(false)
            && let Some(code) = self.0.code.borrow_mut().take()
        {
            code.forget();
        }
    }

    /// Notes for good that a write TLB of some address space may hold a pointer to this page while
    /// another address space executes it (a `MAP_SHARED` mapping): code decoded from it must be compared
    /// with the bytes whenever it is entered.
    pub fn mark_stored_elsewhere(&self) {
        self.0.stored_elsewhere.set(true);
    }

    /// See [`Page::mark_stored_elsewhere`].
    #[must_use]
    pub fn is_stored_elsewhere(&self) -> bool {
        self.0.stored_elsewhere.get()
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Page({:p}, {} owners)",
            self.as_ptr(),
            Rc::strong_count(&self.0)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duplicate_has_the_bytes_and_its_own_life() {
        let page = Page::from_bytes(b"hello");
        let copy = page.duplicate();
        copy.write(0, b"J");
        let (mut a, mut b) = ([0; 5], [0; 5]);
        page.read(0, &mut a);
        copy.read(0, &mut b);
        assert_eq!((&a, &b), (b"hello", b"Jello"));
        assert!(!page.is_same(&copy) && !page.is_shared());
        let other = page.clone();
        assert!(page.is_shared() && other.is_same(&page));
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
        page.set_code(code.clone());
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
    }
}
