//! Memory that processes share without a file: `MAP_SHARED | MAP_ANONYMOUS` and System V segments.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use mem::{Account, Full, Kind, Page};

/// Pages by index, made when first touched and charged to who does.
#[derive(Default)]
pub struct SharedPages(RefCell<BTreeMap<u64, Page>>);

impl SharedPages {
    /// No page yet.
    #[must_use]
    pub fn new() -> Rc<SharedPages> {
        Rc::default()
    }

    /// The page at `index`, zeros when it is new.
    pub fn page(&self, index: u64, account: &Rc<Account>) -> Result<Page, Full> {
        if let Some(page) = self.0.borrow().get(&index) {
            return Ok(page.clone());
        }
        let page = Page::new_in(account, Kind::Shmem)?;
        self.0.borrow_mut().insert(index, page.clone());
        Ok(page)
    }

    /// Resident pages.
    #[must_use]
    pub fn resident(&self) -> u64 {
        self.0.borrow().len() as u64
    }
}
