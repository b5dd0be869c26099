//! The memory controller: `memory.max` with an out-of-memory killer, `memory.high`, above which allocating
//! takes time, and what `memory.stat` counts.
//!
//! Charged are pages that a task made resident: anonymous memory, its copies of file pages, tmpfs and
//! shared memory, page tables and the kernel's own. The counters are in crate `mem`, where every page
//! knows who pays for it until it is freed. Files on a machine's disk and in image layers are no memory
//! here: on a host they would be page cache, which is dropped when memory is short. So there is nothing to
//! reclaim, and a charge above `memory.max` calls the killer at once.

use std::cell::Cell;
use std::rc::Rc;

use clock::{NANOS_PER_SEC, WaitQueue};
use mem::Account;

use super::Cgroup;
use crate::kernel::Kernel;
use crate::task::Task;

/// State of the memory controller of one cgroup.
pub struct Memory {
    /// What is charged, with `memory.max` and `memory.high`.
    pub account: Rc<Account>,
    /// `memory.low`, protection: kept only.
    pub low: Cell<u64>,
    /// `memory.min`, protection: kept only.
    pub min: Cell<u64>,
    /// `memory.swap.max`: kept only, there is no swap.
    pub swap_max: Cell<Option<u64>>,
    /// `memory.oom.group`.
    pub oom_group: Cell<bool>,
    /// `memory.stat` pgfault.
    pub faults: Cell<u64>,
    /// `memory.stat` pgmajfault: content that had to be fetched.
    pub major_faults: Cell<u64>,
    /// `memory.events` of this cgroup and those below.
    pub events: Events,
    /// `memory.events.local`.
    pub local_events: Events,
    /// `memory.events` changed.
    pub events_changed: WaitQueue,
}

/// The counters of `memory.events`.
#[derive(Default)]
pub struct Events {
    /// Times somebody was to be slowed down for being above `memory.high`.
    pub high: Cell<u64>,
    /// Charges that would have gone above `memory.max`.
    pub max: Cell<u64>,
    /// Times out of memory.
    pub oom: Cell<u64>,
    /// Processes killed.
    pub oom_kill: Cell<u64>,
}

fn add(cell: &Cell<u64>, count: u64) {
    cell.set(cell.get() + count);
}

impl Memory {
    /// Nothing charged; `above` is charged with it.
    pub(super) fn new(above: Option<&Rc<Account>>) -> Memory {
        Memory {
            account: Account::new(above),
            low: Cell::new(0),
            min: Cell::new(0),
            swap_max: Cell::new(None),
            oom_group: Cell::new(false),
            faults: Cell::new(0),
            major_faults: Cell::new(0),
            events: Events::default(),
            local_events: Events::default(),
            events_changed: WaitQueue::new(),
        }
    }

    pub(super) fn reset_limits(&self) {
        self.account.set_max(None);
        self.account.set_high(None);
        self.low.set(0);
        self.min.set(0);
        self.swap_max.set(None);
        self.oom_group.set(false);
    }

    /// Above `memory.max` (it was lowered).
    #[must_use]
    pub fn is_over(&self) -> bool {
        let max = self.account.max();
        max.is_some_and(|max| self.account.current() > max)
    }
}

/// Pages a task may charge between two looks at `memory.high` (MEMCG_CHARGE_BATCH).
const BATCH_PAGES: u64 = 64;
/// Longest sleep of one look, in nanoseconds (MEMCG_MAX_HIGH_DELAY_JIFFIES).
const DELAY_MAX: u64 = 2 * NANOS_PER_SEC;
/// Shorter ones are left out.
const DELAY_MIN: u64 = NANOS_PER_SEC / 100;

/// How long somebody sleeps who charged `pages` to a cgroup that has `current` bytes and should have `high`:
/// with the square of what it is above, as Linux does (mem_cgroup_handle_over_high).
fn high_delay(current: u64, high: u64, pages: u64) -> u64 {
    let over = u128::from(current.saturating_sub(high));
    let overage = (over << 20) / u128::from(high.max(1));
    let delay = (overage * overage * u128::from(NANOS_PER_SEC)) >> 34;
    let delay = (delay * u128::from(pages) / u128::from(BATCH_PAGES)).min(u128::from(DELAY_MAX));
    if delay <= u128::from(DELAY_MIN) {
        0
    } else {
        delay as u64
    }
}

impl Kernel {
    /// Somebody was charged above a `memory.high` since the last look, and `task` has run since: it sleeps.
    #[cold]
    pub(crate) fn slow_down_above_high(&self, task: &Task) {
        let charged = self.cgroup_root.memory.account.above_high();
        let bytes = charged - self.above_high_seen.replace(charged);
        let pages = task.pages_above_high.get() + bytes / 4096;
        task.pages_above_high.set(pages);
        if pages < BATCH_PAGES {
            return;
        }
        task.pages_above_high.set(0);
        let mut delay = 0;
        task.cgroup().for_each_up(|cgroup| {
            let account = &cgroup.memory.account;
            if let Some(high) = account.high().filter(|&high| account.current() > high) {
                cgroup.count_memory_event(|events| &events.high, 1);
                delay = delay.max(high_delay(account.current(), high, pages));
            }
        });
        let now = self.clock.now();
        task.delay_until(now, now.plus(delay));
    }
}

impl Cgroup {
    /// Counts a page fault (`memory.stat` pgfault).
    pub fn count_fault(&self, major: bool) {
        self.for_each_up(|cgroup| {
            add(&cgroup.memory.faults, 1);
            add(&cgroup.memory.major_faults, u64::from(major));
        });
    }

    /// The cgroup here or below whose charges an account counts.
    #[must_use]
    pub fn with_account(self: &Rc<Self>, account: &Rc<Account>) -> Option<Rc<Cgroup>> {
        let mut found = None;
        self.for_each_down(&mut |cgroup| {
            if Rc::ptr_eq(&cgroup.memory.account, account) {
                found = Some(Rc::clone(cgroup));
            }
        });
        found
    }

    /// A charge was refused at this cgroup's limit.
    pub fn count_memory_max(&self) {
        self.count_memory_event(|events| &events.max, 1);
    }

    /// The killer was called for this cgroup and killed `killed` processes.
    pub fn count_oom(&self, killed: u64) {
        self.count_memory_event(|events| &events.oom, 1);
        if killed > 0 {
            self.count_memory_event(|events| &events.oom_kill, killed);
        }
    }

    fn count_memory_event(&self, which: impl Fn(&Events) -> &Cell<u64>, count: u64) {
        add(which(&self.memory.local_events), count);
        self.for_each_up(|cgroup| {
            add(which(&cgroup.memory.events), count);
            cgroup.memory.events_changed.wake_all();
        });
    }

    /// The cgroup whose members all go when one is killed: the outermost one below or at `limit` with
    /// `memory.oom.group`, seen from this (the victim's) cgroup.
    #[must_use]
    pub fn oom_group_within(self: &Rc<Self>, limit: &Rc<Cgroup>) -> Option<Rc<Cgroup>> {
        let chain = self.chain();
        let end = chain.iter().position(|cgroup| Rc::ptr_eq(cgroup, limit))?;
        chain[..=end]
            .iter()
            .rev()
            .find(|cgroup| cgroup.memory.oom_group.get())
            .cloned()
    }
}

#[cfg(test)]
mod tests {
    use mem::{Kind, Page};

    use super::*;

    #[test]
    fn a_removed_cgroup_leaves_its_charge_to_those_above() {
        let root = Cgroup::new_root(None);
        let outer = root.create(b"outer", (0, 0)).unwrap();
        let inner = outer.create(b"inner", (0, 0)).unwrap();
        let page = Page::new_in(&inner.memory.account, Kind::Shmem).unwrap();
        outer.count_oom(1);
        assert_eq!(outer.memory.local_events.oom_kill.get(), 1);
        assert_eq!(root.memory.events.oom_kill.get(), 1);
        assert_eq!(inner.memory.events.oom_kill.get(), 0);
        let found = root.with_account(&inner.memory.account).unwrap();
        assert!(Rc::ptr_eq(&found, &inner));
        drop((inner, found));
        outer.remove(b"inner").unwrap();
        assert_eq!(outer.memory.account.current(), 4096);
        assert_eq!(root.memory.account.of_kind(Kind::Shmem), 4096);
        drop(page);
        assert_eq!(root.memory.account.current(), 0);
        assert_eq!(outer.memory.account.peak(), 4096);
    }

    #[test]
    fn the_further_above_high_the_longer_it_takes() {
        let mib = |count: u64| count << 20;
        assert_eq!(high_delay(mib(64), mib(64), 64), 0);
        assert_eq!(high_delay(mib(65), mib(64), 64), 15_625_000);
        assert_eq!(high_delay(mib(68), mib(64), 64), NANOS_PER_SEC / 4);
        assert_eq!(high_delay(mib(68), mib(64), 128), NANOS_PER_SEC / 2);
        assert_eq!(high_delay(mib(128), mib(64), 64), DELAY_MAX);
        assert_eq!(high_delay(mib(1), 0, 64), DELAY_MAX);
    }

    #[test]
    fn the_outermost_oom_group_below_the_limit_dies_together() {
        let root = Cgroup::new_root(None);
        let outer = root.create(b"outer", (0, 0)).unwrap();
        let inner = outer.create(b"inner", (0, 0)).unwrap();
        assert!(inner.oom_group_within(&outer).is_none());
        inner.memory.oom_group.set(true);
        assert!(Rc::ptr_eq(&inner.oom_group_within(&outer).unwrap(), &inner));
        outer.memory.oom_group.set(true);
        assert!(Rc::ptr_eq(&inner.oom_group_within(&outer).unwrap(), &outer));
    }
}
