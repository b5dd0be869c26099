//! How much decoded code a machine keeps.
//!
//! Decoded code is several times as large as the instructions it comes from, and hangs on pages that may
//! live for ever. When all of a machine's is more than the bound, all of it is dropped: what is used is
//! decoded again at once, the rest was ballast. Counting costs nothing but when something is decoded.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use mem::CodeLink;

use crate::block::CodePage;

/// Bytes of decoded code that a machine keeps unless it is told otherwise.
const BYTES_MAX: usize = 48 << 20;

/// The decoded code of a machine.
pub struct CodeCache {
    bytes_max: usize,
    bytes: Cell<usize>,
    evictions: Cell<u64>,
    pages: RefCell<Vec<(CodeLink, Weak<CodePage>)>>,
}

impl Default for CodeCache {
    fn default() -> CodeCache {
        CodeCache::new(BYTES_MAX)
    }
}

impl CodeCache {
    /// An empty cache for so many bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> CodeCache {
        CodeCache {
            bytes_max,
            bytes: Cell::new(0),
            evictions: Cell::new(0),
            pages: RefCell::default(),
        }
    }

    /// Bytes of decoded code that are there.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// How often everything was dropped.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions.get()
    }

    /// Something that took `old` bytes takes `new` now.
    pub(crate) fn count(&self, old: usize, new: usize) {
        self.bytes.set(self.bytes.get() + new - old);
    }

    /// Notes code that was attached to a page.
    pub(crate) fn add(&self, link: CodeLink, code: &Rc<CodePage>) {
        let mut pages = self.pages.borrow_mut();
        // The list is as long as twice the code that lives, at most.
        if pages.len() == pages.capacity() {
            pages.retain(|(_, code)| code.strong_count() > 0);
            let room = pages.len().max(64);
            pages.reserve(room);
        }
        pages.push((link, Rc::downgrade(code)));
    }

    /// Drops everything when there is too much. Not while code is being executed.
    pub(crate) fn evict(&self) {
        if self.bytes.get() <= self.bytes_max {
            return;
        }
        self.evictions.set(self.evictions.get() + 1);
        let pages = std::mem::take(&mut *self.pages.borrow_mut());
        for (link, code) in pages {
            link.forget();
            // TLBs hold it until they hear of the eviction.
            if let Some(code) = code.upgrade() {
                code.discard();
            }
        }
    }
}
