//! The pids controller: how many tasks, `fork(2)` answers `EAGAIN` above `pids.max`.

use std::cell::Cell;

use abi::{Errno, Result};

use super::Cgroup;

/// State of the pids controller of one cgroup.
#[derive(Default)]
pub struct Pids {
    /// `pids.current`: tasks here and below, zombies included.
    pub current: Cell<u64>,
    /// `pids.max`; `None` is `max`.
    pub max: Cell<Option<u64>>,
    /// `pids.peak`.
    pub peak: Cell<u64>,
    /// `pids.events` max: forks that failed because of the limit here.
    pub denied: Cell<u64>,
}

impl Cgroup {
    /// Charges one task here and above, or none.
    pub(super) fn charge_pid(&self) -> Result<()> {
        let mut full = false;
        self.for_each_up(|cgroup| {
            let pids = &cgroup.pids;
            if !full && pids.max.get().is_some_and(|max| pids.current.get() >= max) {
                pids.denied.set(pids.denied.get() + 1);
                full = true;
            }
        });
        if full {
            return Err(Errno::EAGAIN);
        }
        self.charge_pid_unchecked();
        Ok(())
    }

    pub(super) fn charge_pid_unchecked(&self) {
        self.for_each_up(|cgroup| {
            let pids = &cgroup.pids;
            pids.current.set(pids.current.get() + 1);
            pids.peak.set(pids.peak.get().max(pids.current.get()));
        });
    }

    pub(super) fn uncharge_pid(&self) {
        self.for_each_up(|cgroup| {
            let current = &cgroup.pids.current;
            current.set(current.get().saturating_sub(1));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_above_binds_below_and_is_counted_where_it_is() {
        let root = Cgroup::new_root(None);
        let outer = root.create(b"outer", (0, 0)).unwrap();
        let inner = outer.create(b"inner", (0, 0)).unwrap();
        outer.pids.max.set(Some(2));
        inner.fork(1).unwrap();
        inner.fork(2).unwrap();
        assert_eq!(inner.fork(3), Err(Errno::EAGAIN));
        assert_eq!((outer.pids.denied.get(), inner.pids.denied.get()), (1, 0));
        assert_eq!((root.pids.current.get(), inner.pids.peak.get()), (2, 2));
        inner.exit(1);
        inner.release();
        inner.fork(3).unwrap();
    }
}
