//! How much of the host's memory guests get, all machines together.
//!
//! A tab's WebAssembly memory ends at 4 GiB, and an allocation that fails in there ends every machine. So all
//! that guests can fill at will (memory, disks, the machines' image) is charged to one account that
//! ends well below. A part of it is set aside for the memory and the disk of each machine that may exist:
//! one that takes all it can get leaves the others enough to go on, and a full disk leaves memory.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use mem::Account;

/// Bytes that are given back when the host refuses a page before the budget is used up.
const BALLAST_BYTES: usize = 16 << 20;
/// The part of all that is set aside for a machine's memory: one of so many.
const MEMORY_PART: u64 = 16;
/// The same for its disk.
const DISK_PART: u64 = 48;

/// The memory of a playground.
pub struct Budget {
    top: Rc<Account>,
    /// Accounts that have something of their own.
    parts: RefCell<Vec<Weak<Account>>>,
    guests: u64,
    disk: u64,
    /// What machines share.
    common: u64,
}

/// The accounts of a machine.
#[derive(Clone, Debug)]
pub struct MachineBudget {
    /// Its memory.
    pub memory: Rc<Account>,
    /// Its disk.
    pub disk: Rc<Account>,
}

impl Budget {
    /// `guests` bytes for up to `machines` machines, each of which has a disk of `disk` bytes.
    #[must_use]
    pub fn new(guests: u64, machines: u64, disk: u64) -> Budget {
        let set_aside = machines * (guests / MEMORY_PART + guests / DISK_PART);
        let common = guests.saturating_sub(set_aside);
        let top = Account::new(None);
        top.set_max(Some(common));
        top.keep_ballast(BALLAST_BYTES);
        Budget {
            top,
            parts: RefCell::default(),
            guests,
            disk,
            common,
        }
    }

    /// An account for something that is never more than `bytes`, which are set aside for it.
    #[must_use]
    pub fn reserve(&self, bytes: u64) -> Rc<Account> {
        self.top.set_max(Some(self.common.saturating_sub(bytes)));
        let account = self.part(bytes);
        account.set_max(Some(bytes));
        account
    }

    /// The accounts of a new machine.
    #[must_use]
    pub fn machine(&self) -> MachineBudget {
        let memory = self.part(self.guests / MEMORY_PART);
        let disk = self.part(self.guests / DISK_PART);
        disk.set_max(Some(self.disk));
        MachineBudget { memory, disk }
    }

    fn part(&self, own: u64) -> Rc<Account> {
        let account = Account::with_own(Some(&self.top), own);
        let mut parts = self.parts.borrow_mut();
        parts.retain(|part| part.strong_count() > 0);
        parts.push(Rc::downgrade(&account));
        account
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        let parts = self.parts.borrow();
        let parts = parts.iter().filter_map(Weak::upgrade);
        parts.map(|part| part.current()).sum()
    }
}

#[cfg(test)]
mod tests {
    use mem::Kind;

    use super::*;

    #[test]
    fn a_greedy_machine_leaves_the_others_their_part() {
        // For each machine thirty and ten are set aside, and 280 are common.
        let budget = Budget::new(480, 5, 330);
        let image = budget.reserve(80);
        let (greedy, other) = (budget.machine(), budget.machine());
        greedy.disk.charge(Kind::Disk, 210).unwrap();
        assert!(greedy.disk.charge(Kind::Disk, 1).is_err());
        assert_eq!((greedy.memory.room(), other.memory.room()), (30, 30));
        other.memory.charge(Kind::Anon, 30).unwrap();
        assert!(other.memory.charge(Kind::Anon, 1).is_err());
        image.charge(Kind::Disk, 80).unwrap();
        assert!(image.charge(Kind::Disk, 1).is_err());
        assert_eq!(budget.used(), 320);
        greedy.disk.uncharge(Kind::Disk, 210);
        assert_eq!(other.memory.room(), 200);
        other.disk.charge(Kind::Disk, 210).unwrap();
        assert_eq!(greedy.memory.room(), 30);
    }
}
