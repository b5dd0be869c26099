//! Something that is had once, however often and by however many it is asked for.

use std::cell::{Cell, RefCell};

use clock::WaitQueue;

/// See the module's comment.
pub(crate) struct Once<T> {
    value: RefCell<Option<T>>,
    begun: Cell<bool>,
    wait: WaitQueue,
}

impl<T> Default for Once<T> {
    fn default() -> Once<T> {
        Once {
            value: RefCell::new(None),
            begun: Cell::new(false),
            wait: WaitQueue::new(),
        }
    }
}

impl<T: Clone> Once<T> {
    /// The value; who asks first makes it.
    pub(crate) async fn get(&self, make: impl Future<Output = T>) -> T {
        if !self.begun.replace(true) {
            let value = make.await;
            self.set(value);
        }
        self.wait().await
    }

    /// Here it is.
    pub(crate) fn set(&self, value: T) {
        self.begun.set(true);
        *self.value.borrow_mut() = Some(value);
        self.wait.wake_all();
    }

    /// Waits for somebody to make it.
    pub(crate) async fn wait(&self) -> T {
        self.wait.wait_for(|| self.now()).await
    }

    /// The value, if it is there.
    pub(crate) fn now(&self) -> Option<T> {
        self.value.borrow().clone()
    }
}
