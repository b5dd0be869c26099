//! Memory that processes share without a file: `MAP_SHARED | MAP_ANONYMOUS` and System V segments.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use mem::Page;

use super::PAGE;
use crate::cgroup::Cgroup;
use crate::cgroup::memory::{Kind, OverLimit};

/// Pages by index, made when first touched, charged to the cgroup of who made the segment.
pub struct SharedPages {
    pages: RefCell<BTreeMap<u64, Page>>,
    cgroup: Rc<Cgroup>,
    charged: Cell<u64>,
}

impl SharedPages {
    /// No page yet.
    #[must_use]
    pub fn new(cgroup: Rc<Cgroup>) -> Rc<SharedPages> {
        Rc::new(SharedPages {
            pages: RefCell::default(),
            cgroup,
            charged: Cell::new(0),
        })
    }

    /// The page at `index`, zeros when it is new.
    pub fn page(&self, index: u64) -> Result<Page, OverLimit> {
        if let Some(page) = self.pages.borrow().get(&index) {
            return Ok(page.clone());
        }
        self.cgroup.charge_memory(Kind::Shmem, PAGE)?;
        self.charged.set(self.charged.get() + 1);
        let page = Page::zeroed();
        self.pages.borrow_mut().insert(index, page.clone());
        Ok(page)
    }

    /// Resident pages.
    #[must_use]
    pub fn resident(&self) -> u64 {
        self.pages.borrow().len() as u64
    }
}

impl Drop for SharedPages {
    fn drop(&mut self) {
        self.cgroup
            .uncharge_memory(Kind::Shmem, self.charged.get() * PAGE);
    }
}
