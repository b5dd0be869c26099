//! Who runs next: two queues, for tasks that slept before their slice was used up and for the others.
//!
//! A woken task goes to the end of the first queue, so a shell stays responsive beside busy loops; a task
//! of the second runs when the first is empty or after every fourth of the first, so nobody starves.
//! Tasks of frozen or throttled cgroups are parked outside the queues.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::PoisonError;

use crate::kernel::Kernel;
use crate::syscalls::{Block, Restart};
use crate::task::{Held, Task, TaskState};

/// After so many tasks of the first queue one of the second gets its turn.
const FAIRNESS: u32 = 4;

/// The queues.
#[derive(Default)]
pub struct RunQueue {
    interactive: RefCell<VecDeque<Rc<Task>>>,
    hogs: RefCell<VecDeque<Rc<Task>>>,
    favoured: Cell<u32>,
}

impl RunQueue {
    fn push(&self, task: &Rc<Task>) {
        let queue = if task.is_hog.get() {
            &self.hogs
        } else {
            &self.interactive
        };
        queue.borrow_mut().push_back(Rc::clone(task));
    }

    fn pop(&self) -> Option<Rc<Task>> {
        let favoured = self.favoured.get();
        let first = if favoured < FAIRNESS {
            &self.interactive
        } else {
            &self.hogs
        };
        let second = if favoured < FAIRNESS {
            &self.hogs
        } else {
            &self.interactive
        };
        let from_first = first.borrow_mut().pop_front();
        if let Some(task) = from_first {
            self.favoured
                .set(if favoured < FAIRNESS { favoured + 1 } else { 0 });
            return Some(task);
        }
        self.favoured.set(0);
        second.borrow_mut().pop_front()
    }

    /// Tasks that wait for their turn.
    #[must_use]
    pub fn len(&self) -> usize {
        self.interactive.borrow().len() + self.hogs.borrow().len()
    }

    /// Nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Kernel {
    /// Lets a task run (again).
    pub(crate) fn make_runnable(&self, task: &Rc<Task>) {
        if task.is_dead() {
            return;
        }
        if let Some(timer) = task.sleep_timer.take() {
            self.clock.cancel(timer);
        }
        task.set_state(TaskState::Runnable);
        if task.held.get() != Held::Queued {
            task.held.set(Held::Queued);
            self.run_queue.push(task);
        }
    }

    /// Puts a task to sleep in its system call.
    pub(crate) fn block_task(&self, task: &Rc<Task>, block: Block) {
        task.sleep.set(Some(block));
        task.set_state(TaskState::Blocked {
            interruptible: block.restart != Restart::Uninterruptible,
        });
        task.count(|usage| usage.voluntary_switches += 1);
        if let Some(deadline) = block.deadline {
            task.sleep_timer
                .set(Some(self.clock.wake_at(deadline, task.waker().clone())));
        }
    }

    /// Makes everybody runnable whose waker was called.
    pub(crate) fn take_woken(&self) {
        loop {
            let woken = {
                let mut list = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
                if list.is_empty() {
                    return;
                }
                std::mem::take(&mut *list)
            };
            for id in woken {
                let task = self.tasks.borrow().get(&id).cloned();
                let Some(task) = task else { continue };
                task.was_woken();
                match task.state() {
                    TaskState::Blocked { .. } => self.make_runnable(&task),
                    // Parked by its cgroup; the queue decides again.
                    TaskState::Runnable if task.held.get() == Held::Parked => {
                        self.make_runnable(&task)
                    }
                    _ => {}
                }
            }
        }
    }

    /// The next task to run, not counting those whose cgroup is frozen or has used up its time.
    pub(crate) fn next_task(&self) -> Option<Rc<Task>> {
        loop {
            let task = self.run_queue.pop()?;
            task.held.set(Held::No);
            if task.state() != TaskState::Runnable {
                continue;
            }
            if !task.fatal_pending() && self.park(&task) {
                continue;
            }
            return Some(task);
        }
    }

    /// Takes a task out of the queue while its cgroup must not run.
    fn park(&self, task: &Rc<Task>) -> bool {
        let cgroup = task.cgroup();
        if cgroup.is_frozen() {
            cgroup.park(task.waker());
        } else if let Some(until) = cgroup.throttled_until(self.clock.now()) {
            let old = task
                .sleep_timer
                .replace(Some(self.clock.wake_at(until, task.waker().clone())));
            if let Some(old) = old {
                self.clock.cancel(old);
            }
        } else {
            return false;
        }
        task.held.set(Held::Parked);
        true
    }
}
