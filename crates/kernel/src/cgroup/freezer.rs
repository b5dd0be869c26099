//! `cgroup.freeze` (`docker pause`): the tasks of a frozen cgroup and of those below do not run.
//!
//! The scheduler asks [`Cgroup::is_frozen`] before it runs a task and parks the waker of one that is
//! with [`Cgroup::park`]; SIGKILL gets through. As nobody runs in the middle of a write to the file,
//! the cgroup is frozen as soon as it is told to.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Waker;

use clock::WaitQueue;

use super::Cgroup;

/// State of the freezer of one cgroup.
#[derive(Default)]
pub struct Freezer {
    /// What was written to `cgroup.freeze`.
    asked: Cell<bool>,
    /// Asked for here or above.
    effective: Cell<bool>,
    parked: WaitQueue,
}

impl Freezer {
    /// A new cgroup below a frozen one.
    pub(super) fn inherit(&self, frozen: bool) {
        self.effective.set(frozen);
    }

    /// What `cgroup.freeze` shows.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.get()
    }

    /// Frozen here or above.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.effective.get()
    }
}

impl Cgroup {
    /// True when tasks of this cgroup must not run.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.freezer.is_frozen()
    }

    /// Wakes `waker` when the cgroup thaws.
    pub fn park(&self, waker: &Waker) {
        self.freezer.parked.register(waker);
    }

    /// A write to `cgroup.freeze`.
    pub fn set_frozen(self: &Rc<Self>, frozen: bool) {
        self.freezer.asked.set(frozen);
        self.for_each_down(&mut |cgroup| {
            let above = cgroup.parent().is_some_and(|parent| parent.is_frozen());
            let effective = cgroup.freezer.asked.get() || above;
            if cgroup.freezer.effective.replace(effective) != effective {
                cgroup.events_changed.wake_all();
                if !effective {
                    cgroup.freezer.parked.wake_all();
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freezing_goes_down_and_thawing_respects_who_asked() {
        let root = Cgroup::new_root(None);
        let outer = root.create(b"outer", (0, 0)).unwrap();
        let inner = outer.create(b"inner", (0, 0)).unwrap();
        outer.set_frozen(true);
        assert!(inner.is_frozen() && !inner.freezer.is_asked() && !root.is_frozen());
        assert!(inner.create(b"new", (0, 0)).unwrap().is_frozen());
        inner.set_frozen(true);
        outer.set_frozen(false);
        assert!(inner.is_frozen() && !outer.is_frozen());
        inner.set_frozen(false);
        assert!(!inner.is_frozen());
    }
}
