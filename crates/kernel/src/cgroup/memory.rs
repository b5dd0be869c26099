//! The memory controller: bytes of guest memory by kind, `memory.max` with an out-of-memory killer.
//!
//! Charged are pages that a task made resident: anonymous memory, its copies of file pages, tmpfs and
//! shared memory. Pages of image layers are shared by everybody and charged to nobody. There is
//! nothing to reclaim, so a charge above `memory.max` calls the killer at once.

use std::cell::Cell;
use std::rc::Rc;

use super::Cgroup;
use clock::WaitQueue;

/// What the bytes are, as `memory.stat` breaks them down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Anonymous pages: heap, stack, private copies of file pages.
    Anon,
    /// Pages of files in memory: tmpfs and shared memory.
    Shmem,
    /// The kernel's own: page tables, pipes, sockets.
    Kernel,
}

/// State of the memory controller of one cgroup.
#[derive(Default)]
pub struct Memory {
    /// `memory.current`.
    pub current: Cell<u64>,
    /// `memory.peak`.
    pub peak: Cell<u64>,
    /// `memory.max`; `None` is `max`.
    pub max: Cell<Option<u64>>,
    /// `memory.high`; `None` is `max`. Kept and counted; it does not slow anybody down.
    pub high: Cell<Option<u64>>,
    /// `memory.low`, protection: kept only.
    pub low: Cell<u64>,
    /// `memory.min`, protection: kept only.
    pub min: Cell<u64>,
    /// `memory.swap.max`: kept only, there is no swap.
    pub swap_max: Cell<Option<u64>>,
    /// `memory.oom.group`.
    pub oom_group: Cell<bool>,
    /// `memory.stat` anon.
    pub anon: Cell<u64>,
    /// `memory.stat` shmem (and file).
    pub shmem: Cell<u64>,
    /// `memory.stat` kernel.
    pub kernel: Cell<u64>,
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
    /// Charges above `memory.high`.
    pub high: Cell<u64>,
    /// Charges that would have gone above `memory.max`.
    pub max: Cell<u64>,
    /// Times out of memory.
    pub oom: Cell<u64>,
    /// Processes killed.
    pub oom_kill: Cell<u64>,
}

/// A charge was refused: this cgroup is at its limit, and somebody in it must be killed.
pub struct OverLimit(pub Rc<Cgroup>);

fn add(cell: &Cell<u64>, bytes: u64) {
    cell.set(cell.get() + bytes);
}

fn subtract(cell: &Cell<u64>, bytes: u64) {
    cell.set(cell.get().saturating_sub(bytes));
}

impl Memory {
    fn kind(&self, kind: Kind) -> &Cell<u64> {
        match kind {
            Kind::Anon => &self.anon,
            Kind::Shmem => &self.shmem,
            Kind::Kernel => &self.kernel,
        }
    }

    pub(super) fn reset_limits(&self) {
        self.max.set(None);
        self.high.set(None);
        self.low.set(0);
        self.min.set(0);
        self.swap_max.set(None);
        self.oom_group.set(false);
    }

    /// Above `memory.max` (it was lowered).
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.max.get().is_some_and(|max| self.current.get() > max)
    }
}

impl Cgroup {
    /// Charges `bytes` here and above, or nothing: then the cgroup whose limit is hit comes back.
    pub fn charge_memory(self: &Rc<Self>, kind: Kind, bytes: u64) -> Result<(), OverLimit> {
        if !self.has_room(bytes) {
            return Err(OverLimit(self.full_one(bytes)));
        }
        self.charge_memory_unchecked(kind, bytes);
        Ok(())
    }

    /// Charges even above the limit: what must not fail (the last page of a task that is being killed).
    pub fn charge_memory_unchecked(&self, kind: Kind, bytes: u64) {
        self.for_each_up(|cgroup| {
            let memory = &cgroup.memory;
            add(&memory.current, bytes);
            add(memory.kind(kind), bytes);
            if memory.current.get() > memory.peak.get() {
                memory.peak.set(memory.current.get());
            }
            if memory
                .high
                .get()
                .is_some_and(|high| memory.current.get() > high)
            {
                add(&memory.events.high, 1);
            }
        });
    }

    /// Takes a charge back.
    pub fn uncharge_memory(&self, kind: Kind, bytes: u64) {
        self.for_each_up(|cgroup| {
            subtract(&cgroup.memory.current, bytes);
            subtract(cgroup.memory.kind(kind), bytes);
        });
    }

    /// Counts a page fault (`memory.stat` pgfault).
    pub fn count_fault(&self, major: bool) {
        self.for_each_up(|cgroup| {
            add(&cgroup.memory.faults, 1);
            add(&cgroup.memory.major_faults, u64::from(major));
        });
    }

    fn has_room(&self, bytes: u64) -> bool {
        let mut room = true;
        self.for_each_up(|cgroup| {
            let memory = &cgroup.memory;
            room &= memory
                .max
                .get()
                .is_none_or(|max| memory.current.get() + bytes <= max);
        });
        room
    }

    /// The innermost cgroup that `bytes` more would put above its limit; it counts the event.
    fn full_one(self: &Rc<Self>, bytes: u64) -> Rc<Cgroup> {
        let chain = self.chain();
        let full = chain.iter().find(|cgroup| {
            let memory = &cgroup.memory;
            memory
                .max
                .get()
                .is_some_and(|max| memory.current.get() + bytes > max)
        });
        let full = full.unwrap_or(self);
        full.count_memory_event(|events| &events.max, 1);
        Rc::clone(full)
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
    use super::*;

    #[test]
    fn charges_add_up_the_chain_and_the_limit_names_its_cgroup() {
        let root = Cgroup::new_root();
        let outer = root.create(b"outer", (0, 0)).unwrap();
        let inner = outer.create(b"inner", (0, 0)).unwrap();
        outer.memory.max.set(Some(8192));
        assert!(inner.charge_memory(Kind::Anon, 4096).is_ok());
        assert!(inner.charge_memory(Kind::Shmem, 4096).is_ok());
        let Err(OverLimit(full)) = inner.charge_memory(Kind::Anon, 4096) else {
            panic!("the limit must bind");
        };
        assert!(Rc::ptr_eq(&full, &outer));
        assert_eq!(root.memory.current.get(), 8192);
        assert_eq!(
            (root.memory.anon.get(), root.memory.shmem.get()),
            (4096, 4096)
        );
        full.count_oom(1);
        assert_eq!(outer.memory.local_events.oom_kill.get(), 1);
        assert_eq!(inner.memory.events.oom_kill.get(), 0);
        assert_eq!(root.memory.events.max.get(), 1);
        inner.uncharge_memory(Kind::Anon, 4096);
        assert!(inner.charge_memory(Kind::Anon, 4096).is_ok());
        assert_eq!(outer.memory.peak.get(), 8192);
    }

    #[test]
    fn the_outermost_oom_group_below_the_limit_dies_together() {
        let root = Cgroup::new_root();
        let outer = root.create(b"outer", (0, 0)).unwrap();
        let inner = outer.create(b"inner", (0, 0)).unwrap();
        assert!(inner.oom_group_within(&outer).is_none());
        inner.memory.oom_group.set(true);
        assert!(Rc::ptr_eq(&inner.oom_group_within(&outer).unwrap(), &inner));
        outer.memory.oom_group.set(true);
        assert!(Rc::ptr_eq(&inner.oom_group_within(&outer).unwrap(), &outer));
    }
}
