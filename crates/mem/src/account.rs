//! Who pays for memory: a tree of counters with limits.
//!
//! A charge goes to an [`Account`] and to everything above it, or nowhere: the cgroups of a machine, the
//! machine, all machines of a playground. So one walk up says whether the guest may have a page, before
//! it is allocated. A [`Page`](crate::Page) remembers its account and takes its charge back when its last
//! owner drops it; a [`Charge`] does that for memory that is not in pages.
//!
//! An account keeps the ones above it alive. That is what becomes of a cgroup that is removed while
//! somebody still has its pages: nobody finds it any more, and its charge stays in those above.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

/// What the bytes are, as `memory.stat` breaks them down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Anonymous pages: heap, stack, private copies of file pages.
    Anon,
    /// Pages of files in memory: tmpfs and shared memory.
    Shmem,
    /// Page tables.
    PageTables,
    /// What the kernel has for each task.
    KernelStack,
    /// Inodes, names, attributes.
    Slab,
    /// Data that waits in sockets.
    Sock,
    /// The kernel's own that is none of the others: pipes.
    Kernel,
    /// Data on a disk, which is no memory of the machine but is in memory of ours.
    Disk,
}

const KINDS: usize = Kind::Disk as usize + 1;

/// A refused charge: this account has no room for it.
#[derive(Clone)]
pub struct Full(pub Rc<Account>);

impl fmt::Debug for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Full({:?})", self.0)
    }
}

/// Counters and limits of those who are charged together.
pub struct Account {
    parent: Option<Rc<Account>>,
    /// Bytes that the account has for itself: the parent is charged with what is above.
    own: u64,
    current: Cell<u64>,
    max: Cell<u64>,
    peak: Cell<u64>,
    high: Cell<u64>,
    /// Bytes that were charged while some account of the tree was above what it should have.
    above_high: Rc<Cell<u64>>,
    kinds: [Cell<u64>; KINDS],
    /// See [`Account::keep_ballast`].
    ballast: RefCell<Vec<u8>>,
}

impl Account {
    /// An account without limits below `parent`.
    #[must_use]
    pub fn new(parent: Option<&Rc<Account>>) -> Rc<Account> {
        Account::with_own(parent, 0)
    }

    /// As [`Account::new`], but `own` bytes are its already: who made it has set them aside above.
    #[must_use]
    pub fn with_own(parent: Option<&Rc<Account>>, own: u64) -> Rc<Account> {
        Rc::new(Account {
            parent: parent.cloned(),
            own,
            current: Cell::new(0),
            max: Cell::new(u64::MAX),
            peak: Cell::new(0),
            high: Cell::new(u64::MAX),
            above_high: parent.map_or_else(Rc::default, |parent| Rc::clone(&parent.above_high)),
            kinds: [const { Cell::new(0) }; KINDS],
            ballast: RefCell::default(),
        })
    }

    /// Bytes charged here and below.
    #[must_use]
    pub fn current(&self) -> u64 {
        self.current.get()
    }

    /// Bytes of one kind.
    #[must_use]
    pub fn of_kind(&self, kind: Kind) -> u64 {
        self.kinds[kind as usize].get()
    }

    /// The most [`Account::current`] has been.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak.get()
    }

    /// Bytes it may have; `None`: no limit.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        Some(self.max.get()).filter(|&max| max != u64::MAX)
    }

    /// Sets the limit. What is charged already stays.
    pub fn set_max(&self, max: Option<u64>) {
        self.max.set(max.unwrap_or(u64::MAX));
    }

    /// Bytes above which whoever is charged is to be slowed down; `None`: never.
    #[must_use]
    pub fn high(&self) -> Option<u64> {
        Some(self.high.get()).filter(|&high| high != u64::MAX)
    }

    /// Sets where charging begins to slow down.
    pub fn set_high(&self, high: Option<u64>) {
        self.high.set(high.unwrap_or(u64::MAX));
    }

    /// Bytes ever charged above [`Account::high`], of this or any other account of the tree: who sees the
    /// number change looks whose they were.
    #[must_use]
    pub fn above_high(&self) -> u64 {
        self.above_high.get()
    }

    /// Bytes that could be charged now, here and above.
    #[must_use]
    pub fn room(&self) -> u64 {
        let here = self.max.get().saturating_sub(self.current.get());
        let own = self.own.saturating_sub(self.current.get());
        match &self.parent {
            Some(parent) => here.min(parent.room().saturating_add(own)),
            None => here,
        }
    }

    /// The innermost account from here up that is above its limit, for it was lowered or
    /// [charged in any case](Account::charge_unchecked).
    #[must_use]
    pub fn over(self: &Rc<Self>) -> Option<Full> {
        let mut account = self;
        loop {
            if account.current.get() > account.max.get() {
                return Some(Full(Rc::clone(account)));
            }
            account = account.parent.as_ref()?;
        }
    }

    fn above_own(&self, bytes: u64) -> u64 {
        bytes.saturating_sub(self.own)
    }

    /// Charges `bytes` here and above, or nothing: then the account whose limit is hit comes back.
    pub fn charge(self: &Rc<Self>, kind: Kind, bytes: u64) -> Result<(), Full> {
        let mut account = self;
        let mut more = bytes;
        loop {
            if account.current.get() + more > account.max.get() {
                self.take_back(kind, bytes, Some(account));
                return Err(Full(Rc::clone(account)));
            }
            more = account.add(kind, more);
            match &account.parent {
                Some(parent) if more > 0 => account = parent,
                _ => return Ok(()),
            }
        }
    }

    /// Charges even above the limit: for what is there already, or must not fail.
    pub fn charge_unchecked(&self, kind: Kind, bytes: u64) {
        let mut account = self;
        let mut more = bytes;
        loop {
            more = account.add(kind, more);
            match &account.parent {
                Some(parent) if more > 0 => account = parent,
                _ => return,
            }
        }
    }

    /// Adds to this account alone; gives what that adds to the one above.
    #[inline]
    fn add(&self, kind: Kind, more: u64) -> u64 {
        let old = self.current.get();
        let new = old + more;
        self.current.set(new);
        let of_kind = &self.kinds[kind as usize];
        of_kind.set(of_kind.get() + more);
        if new > self.peak.get() {
            self.peak.set(new);
        }
        if new > self.high.get() {
            self.above_high.set(self.above_high.get() + more);
        }
        self.above_own(new) - self.above_own(old)
    }

    /// Takes a charge back.
    pub fn uncharge(&self, kind: Kind, bytes: u64) {
        self.take_back(kind, bytes, None);
    }

    fn take_back(&self, kind: Kind, bytes: u64, end: Option<&Rc<Account>>) {
        let mut account = self;
        let mut less = bytes;
        loop {
            if end.is_some_and(|end| std::ptr::eq(account, &raw const **end)) {
                return;
            }
            let old = account.current.get();
            let new = old.saturating_sub(less);
            account.current.set(new);
            let of_kind = &account.kinds[kind as usize];
            of_kind.set(of_kind.get().saturating_sub(less));
            less = account.above_own(old) - account.above_own(new);
            match &account.parent {
                Some(parent) if less > 0 => account = parent,
                _ => return,
            }
        }
    }

    /// Sets memory aside that is given back when the host refuses to give a page: whatever else has to be
    /// allocated until some guest is killed comes out of it. For the account at the top.
    pub fn keep_ballast(&self, bytes: usize) {
        let mut ballast = Vec::new();
        if ballast.try_reserve_exact(bytes).is_ok() {
            *self.ballast.borrow_mut() = ballast;
        }
    }

    /// The host has no memory for what was charged: from now on there is no more than is in use.
    /// Gives the account at the top, whose limit that is.
    #[cold]
    pub(crate) fn host_refused(self: &Rc<Self>) -> Full {
        let mut top = self;
        while let Some(parent) = &top.parent {
            top = parent;
        }
        *top.ballast.borrow_mut() = Vec::new();
        top.max.set(top.max.get().min(top.current.get()));
        Full(Rc::clone(top))
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {:?} bytes", self.current(), self.max())
    }
}

/// Bytes charged to an account for as long as this lives.
pub struct Charge {
    account: Rc<Account>,
    kind: Kind,
    bytes: u64,
}

impl Charge {
    /// Charges `bytes`.
    pub fn new(account: &Rc<Account>, kind: Kind, bytes: u64) -> Result<Charge, Full> {
        account.charge(kind, bytes)?;
        Ok(Charge {
            account: Rc::clone(account),
            kind,
            bytes,
        })
    }

    /// Charges `bytes` even above the limit.
    #[must_use]
    pub fn unchecked(account: &Rc<Account>, kind: Kind, bytes: u64) -> Charge {
        account.charge_unchecked(kind, bytes);
        Charge {
            account: Rc::clone(account),
            kind,
            bytes,
        }
    }

    /// How many bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Changes the number of bytes; on failure it stays as it was.
    pub fn resize(&mut self, bytes: u64) -> Result<(), Full> {
        if bytes > self.bytes {
            self.account.charge(self.kind, bytes - self.bytes)?;
        } else {
            self.account.uncharge(self.kind, self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.uncharge(self.kind, self.bytes);
    }
}

/// The account of whoever is at work on a machine now: who touches a page of a file first pays for it.
pub struct Payer {
    account: RefCell<Rc<Account>>,
    /// The work is a task's, which waits while room is made for it.
    is_task: Cell<bool>,
    refused: RefCell<Option<Full>>,
}

impl Payer {
    /// Nobody in particular: the machine itself.
    #[must_use]
    pub fn new(machine: &Rc<Account>) -> Rc<Payer> {
        Rc::new(Payer {
            account: RefCell::new(Rc::clone(machine)),
            is_task: Cell::new(false),
            refused: RefCell::default(),
        })
    }

    /// Who pays now.
    #[must_use]
    pub fn account(&self) -> Rc<Account> {
        Rc::clone(&self.account.borrow())
    }

    /// True while it is a task.
    #[must_use]
    pub fn is_task(&self) -> bool {
        self.is_task.get()
    }

    /// From now on `account` pays.
    pub fn switch(&self, account: &Rc<Account>, is_task: bool) {
        self.is_task.set(is_task);
        let mut payer = self.account.borrow_mut();
        if !Rc::ptr_eq(&payer, account) {
            *payer = Rc::clone(account);
        }
    }

    /// Keeps a refusal for [`Payer::take_refusal`].
    pub fn refuse(&self, full: Full) {
        *self.refused.borrow_mut() = Some(full);
    }

    /// The last refusal.
    #[must_use]
    pub fn take_refusal(&self) -> Option<Full> {
        self.refused.borrow_mut().take()
    }
}

impl fmt::Debug for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payer({:?})", self.account.borrow())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_add_up_the_tree_and_the_limit_names_its_account() {
        let root = Account::new(None);
        let outer = Account::new(Some(&root));
        let inner = Account::new(Some(&outer));
        outer.set_max(Some(8192));
        assert!(inner.charge(Kind::Anon, 4096).is_ok());
        assert!(inner.charge(Kind::Shmem, 4096).is_ok());
        let Full(full) = inner.charge(Kind::Anon, 4096).unwrap_err();
        assert!(Rc::ptr_eq(&full, &outer));
        assert_eq!((root.current(), inner.current()), (8192, 8192));
        assert_eq!(
            (root.of_kind(Kind::Anon), root.of_kind(Kind::Shmem)),
            (4096, 4096)
        );
        inner.uncharge(Kind::Anon, 4096);
        assert!(inner.charge(Kind::Anon, 4096).is_ok());
        assert_eq!((outer.peak(), outer.room()), (8192, 0));
        assert!(inner.over().is_none());
        inner.charge_unchecked(Kind::Slab, 1);
        assert!(Rc::ptr_eq(&inner.over().unwrap().0, &outer));
    }

    #[test]
    fn what_an_account_owns_is_not_taken_from_above() {
        let top = Account::new(None);
        top.set_max(Some(100));
        let (one, two) = (
            Account::with_own(Some(&top), 50),
            Account::with_own(Some(&top), 50),
        );
        one.charge(Kind::Anon, 150).unwrap();
        assert_eq!((top.current(), one.room(), two.room()), (100, 0, 50));
        let Full(full) = one.charge(Kind::Anon, 1).unwrap_err();
        assert!(Rc::ptr_eq(&full, &top));
        assert_eq!(one.current(), 150);
        two.charge(Kind::Anon, 50).unwrap();
        assert!(two.charge(Kind::Anon, 1).is_err());
        one.uncharge(Kind::Anon, 120);
        assert_eq!((top.current(), two.room()), (0, 100));
    }

    #[test]
    fn a_charge_ends_with_its_owner() {
        let account = Account::new(None);
        account.set_max(Some(10));
        let mut charge = Charge::new(&account, Kind::Slab, 4).unwrap();
        assert!(charge.resize(11).is_err());
        assert_eq!(charge.bytes(), 4);
        charge.resize(10).unwrap();
        assert!(Charge::new(&account, Kind::Slab, 1).is_err());
        charge.resize(1).unwrap();
        assert_eq!(account.current(), 1);
        drop(charge);
        assert_eq!(account.current(), 0);
    }
}
