//! A lock for operations on one container that take several steps (start, stop, remove).

use std::cell::Cell;
use std::rc::Rc;

use clock::WaitQueue;

/// The lock. Clones are the same lock.
#[derive(Clone, Default)]
pub(crate) struct Lock(Rc<Inner>);

#[derive(Default)]
struct Inner {
    taken: Cell<bool>,
    wait: WaitQueue,
}

/// Whoever has it; dropping gives it back.
pub(crate) struct Guard(Rc<Inner>);

impl Lock {
    /// Takes it, waiting for its turn.
    pub(crate) async fn take(&self) -> Guard {
        self.0
            .wait
            .wait_for(|| (!self.0.taken.replace(true)).then_some(()))
            .await;
        Guard(Rc::clone(&self.0))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.taken.set(false);
        self.0.wait.wake_all();
    }
}
