//! UTS namespaces: host and domain name (`uts_namespaces(7)`).

use std::cell::RefCell;
use std::rc::Rc;

use abi::{Errno, Result};
use clock::WaitQueue;

use super::UserNs;

/// Longest name.
pub const NAME_MAX: usize = 64;

/// A UTS namespace.
pub struct UtsNs {
    /// Inode number.
    pub inum: u64,
    /// Who has power over it.
    pub owner: Rc<UserNs>,
    hostname: RefCell<Vec<u8>>,
    domainname: RefCell<Vec<u8>>,
    /// A name changed (`poll` on `/proc/sys/kernel/hostname`).
    pub changed: WaitQueue,
}

impl UtsNs {
    /// A namespace with these names.
    #[must_use]
    pub fn new(inum: u64, owner: Rc<UserNs>, hostname: &[u8], domainname: &[u8]) -> UtsNs {
        UtsNs {
            inum,
            owner,
            hostname: RefCell::new(hostname.to_vec()),
            domainname: RefCell::new(domainname.to_vec()),
            changed: WaitQueue::new(),
        }
    }

    /// A copy of this namespace for `unshare`.
    #[must_use]
    pub fn copy(&self, inum: u64, owner: Rc<UserNs>) -> UtsNs {
        UtsNs::new(
            inum,
            owner,
            &self.hostname.borrow(),
            &self.domainname.borrow(),
        )
    }

    /// The host name.
    #[must_use]
    pub fn hostname(&self) -> Vec<u8> {
        self.hostname.borrow().clone()
    }

    /// The NIS domain name.
    #[must_use]
    pub fn domainname(&self) -> Vec<u8> {
        self.domainname.borrow().clone()
    }

    /// `sethostname(2)`; `EINVAL` when too long.
    pub fn set_hostname(&self, name: &[u8]) -> Result<()> {
        self.set(&self.hostname, name)
    }

    /// `setdomainname(2)`.
    pub fn set_domainname(&self, name: &[u8]) -> Result<()> {
        self.set(&self.domainname, name)
    }

    fn set(&self, slot: &RefCell<Vec<u8>>, name: &[u8]) -> Result<()> {
        if name.len() > NAME_MAX {
            return Err(Errno::EINVAL);
        }
        *slot.borrow_mut() = name.to_vec();
        self.changed.wake_all();
        Ok(())
    }
}
