//! Wait queues: who wants to be woken when something changes.
//!
//! One mechanism for guest tasks (a syscall that blocks registers the task's waker and is done again
//! when woken) and for daemons (futures). Wakes may be spurious: who is woken looks again.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Wakers to call, in the order they came, at the next [`WaitQueue::wake_all`].
#[derive(Default, Debug)]
pub struct WaitQueue {
    wakers: RefCell<Vec<Waker>>,
    generation: Cell<u64>,
}

impl WaitQueue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> WaitQueue {
        WaitQueue::default()
    }

    /// Asks for one wake-up. A waker that is already waiting here is not added again.
    pub fn register(&self, waker: &Waker) {
        let mut wakers = self.wakers.borrow_mut();
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    /// Takes a registration back.
    pub fn unregister(&self, waker: &Waker) {
        self.wakers
            .borrow_mut()
            .retain(|known| !known.will_wake(waker));
    }

    /// Wakes everybody who registered, and empties the queue.
    pub fn wake_all(&self) {
        self.generation.set(self.generation.get() + 1);
        if self.wakers.borrow().is_empty() {
            return;
        }
        let wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        for waker in wakers {
            waker.wake();
        }
    }

    /// True when nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wakers.borrow().is_empty()
    }

    /// How often [`WaitQueue::wake_all`] was called.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// Waits until `condition` gives something; it is asked now and after each wake-up.
    pub async fn wait_for<T>(&self, mut condition: impl FnMut() -> Option<T>) -> T {
        poll_fn(|cx| match condition() {
            Some(value) => Poll::Ready(value),
            None => {
                self.register(cx.waker());
                Poll::Pending
            }
        })
        .await
    }
}
