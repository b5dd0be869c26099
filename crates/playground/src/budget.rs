//! How much of the host's memory guests get, all machines together.
//!
//! A tab's WebAssembly memory ends at 4 GiB, and an allocation that fails in there ends every machine. So all
//! that guests can fill at will (memory, disks, the machines' image) is charged to one account that
//! ends well below. A part of it is set aside for each machine that may exist: one that takes all it can
//! get leaves the others enough to go on.

use std::rc::Rc;

use mem::Account;

/// Bytes that are given back when the host refuses a page before the budget is used up.
const BALLAST_BYTES: usize = 16 << 20;

/// The memory of a playground.
pub struct Budget {
    top: Rc<Account>,
    /// What each machine has for itself.
    own: u64,
    disk: u64,
    /// What machines share.
    common: u64,
}

/// The accounts of a machine.
#[derive(Clone, Debug)]
pub struct MachineBudget {
    /// Everything of it.
    pub all: Rc<Account>,
    /// Its disk.
    pub disk: Rc<Account>,
}

impl Budget {
    /// `guests` bytes, of which half are set aside for `machines` machines; each has a disk of `disk` bytes.
    #[must_use]
    pub fn new(guests: u64, machines: u64, disk: u64) -> Budget {
        let own = guests / 2 / machines.max(1);
        let common = guests - own * machines;
        let top = Account::new(None);
        top.set_max(Some(common));
        top.keep_ballast(BALLAST_BYTES);
        Budget {
            top,
            own,
            disk,
            common,
        }
    }

    /// An account for something that is never more than `bytes`, which are set aside for it.
    #[must_use]
    pub fn reserve(&self, bytes: u64) -> Rc<Account> {
        self.top.set_max(Some(self.common.saturating_sub(bytes)));
        let account = Account::with_own(Some(&self.top), bytes);
        account.set_max(Some(bytes));
        account
    }

    /// The accounts of a new machine.
    #[must_use]
    pub fn machine(&self) -> MachineBudget {
        let all = Account::with_own(Some(&self.top), self.own);
        let disk = Account::new(Some(&all));
        disk.set_max(Some(self.disk));
        MachineBudget { all, disk }
    }

    /// Bytes in use of what machines share.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.top.current()
    }
}

#[cfg(test)]
mod tests {
    use mem::Kind;

    use super::*;

    #[test]
    fn a_greedy_machine_leaves_the_others_their_part() {
        let budget = Budget::new(1000, 5, 600);
        let image = budget.reserve(100);
        let (greedy, other) = (budget.machine(), budget.machine());
        // Its own hundred, and all that is common.
        greedy.disk.charge(Kind::Disk, 500).unwrap();
        assert!(greedy.all.charge(Kind::Anon, 1).is_err());
        assert_eq!((greedy.all.room(), other.all.room()), (0, 100));
        other.disk.charge(Kind::Disk, 100).unwrap();
        assert!(other.disk.charge(Kind::Disk, 1).is_err());
        image.charge(Kind::Disk, 100).unwrap();
        assert!(image.charge(Kind::Disk, 1).is_err());
        greedy.disk.uncharge(Kind::Disk, 500);
        assert_eq!((budget.used(), other.disk.room()), (0, 400));
        other.disk.charge(Kind::Disk, 400).unwrap();
        assert_eq!(greedy.disk.room(), 100);
    }
}
