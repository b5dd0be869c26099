//! The executor daemons run on: local, first in first out, no threads.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::WaitQueue;

type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// Ids of tasks to poll. Wakers must be `Send` by their type, hence a lock nobody ever waits for.
type ReadyQueue = Arc<Mutex<VecDeque<u64>>>;

struct TaskWaker {
    id: u64,
    queued: AtomicBool,
    ready: ReadyQueue,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_back(self.id);
        }
    }
}

struct Task {
    future: LocalFuture,
    waker: Arc<TaskWaker>,
}

#[derive(Default)]
struct Inner {
    tasks: RefCell<BTreeMap<u64, Task>>,
    next_id: Cell<u64>,
    ready: ReadyQueue,
}

/// A handle to an executor. Clones share it.
#[derive(Clone, Default)]
pub struct Executor(Rc<Inner>);

impl Executor {
    /// An executor without tasks.
    #[must_use]
    pub fn new() -> Executor {
        Executor::default()
    }

    /// Starts a future; it is first polled at the next [`Executor::run_until_stalled`].
    /// Dropping the handle lets it go on alone.
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        let slot = Rc::new(Slot {
            value: RefCell::new(None),
            done: Cell::new(false),
            wait: WaitQueue::new(),
        });
        let result = Rc::clone(&slot);
        let id = self.0.next_id.get();
        self.0.next_id.set(id + 1);
        let waker = Arc::new(TaskWaker {
            id,
            queued: AtomicBool::new(false),
            ready: Arc::clone(&self.0.ready),
        });
        let future = Box::pin(async move {
            let value = future.await;
            *result.value.borrow_mut() = Some(value);
            result.done.set(true);
            result.wait.wake_all();
        });
        self.0.tasks.borrow_mut().insert(
            id,
            Task {
                future,
                waker: Arc::clone(&waker),
            },
        );
        waker.wake();
        JoinHandle {
            slot,
            id,
            executor: self.clone(),
        }
    }

    /// Polls whoever is ready until nobody is. Returns true when anything was polled.
    pub fn run_until_stalled(&self) -> bool {
        let mut polled = false;
        while let Some(id) = self.pop_ready() {
            polled = true;
            let Some(mut task) = self.0.tasks.borrow_mut().remove(&id) else {
                continue;
            };
            task.waker.queued.store(false, Ordering::Relaxed);
            let waker = Waker::from(Arc::clone(&task.waker));
            if task
                .future
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
            {
                self.0.tasks.borrow_mut().insert(id, task);
            }
        }
        polled
    }

    /// True when a task is ready to be polled.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        !self
            .0
            .ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    /// How many tasks have not completed.
    #[must_use]
    pub fn task_count(&self) -> usize {
        self.0.tasks.borrow().len()
    }

    /// Drops every task: the daemons of a machine that is switched off.
    pub fn clear(&self) {
        let tasks = std::mem::take(&mut *self.0.tasks.borrow_mut());
        drop(tasks);
    }

    fn pop_ready(&self) -> Option<u64> {
        self.0
            .ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }
}

struct Slot<T> {
    value: RefCell<Option<T>>,
    done: Cell<bool>,
    wait: WaitQueue,
}

/// The result of a spawned future; awaiting it gives the value.
pub struct JoinHandle<T> {
    slot: Rc<Slot<T>>,
    id: u64,
    executor: Executor,
}

impl<T> JoinHandle<T> {
    /// True when the future has completed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.slot.done.get()
    }

    /// The value, once, if the future has completed.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        self.slot.value.borrow_mut().take()
    }

    /// Drops the future where it stands.
    pub fn abort(&self) {
        let task = self.executor.0.tasks.borrow_mut().remove(&self.id);
        drop(task);
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match self.slot.value.borrow_mut().take() {
            Some(value) => Poll::Ready(value),
            None => {
                self.slot.wait.register(cx.waker());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, Instant};

    #[test]
    fn timers_fire_in_order_and_tasks_run_first_in_first_out() {
        let (clock, executor) = (Clock::new(0), Executor::new());
        let log = Rc::new(RefCell::new(Vec::new()));
        for (name, at) in [("late", 20), ("early", 10), ("same", 20)] {
            let (clock, log) = (clock.clone(), Rc::clone(&log));
            executor.spawn(async move {
                clock.sleep_until(Instant(at)).await;
                log.borrow_mut().push(name);
            });
        }
        executor.run_until_stalled();
        while let Some(at) = clock.next_deadline() {
            clock.advance_to(at);
            executor.run_until_stalled();
        }
        assert_eq!(*log.borrow(), ["early", "late", "same"]);
        assert_eq!((executor.task_count(), clock.now()), (0, Instant(20)));
    }

    #[test]
    fn a_join_handle_gives_the_value_and_abort_ends_a_task() {
        let executor = Executor::new();
        let first = executor.spawn(async { 6 });
        let second = executor.spawn(async move { first.await * 7 });
        executor.run_until_stalled();
        assert_eq!(second.take(), Some(42));
        let endless = executor.spawn(std::future::pending::<()>());
        executor.run_until_stalled();
        endless.abort();
        assert_eq!(executor.task_count(), 0);
    }
}
