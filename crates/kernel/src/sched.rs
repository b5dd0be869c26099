//! Who runs next, and what becomes of those who cannot.
//!
//! [`fair`] has the order of those who can run. A woken task is ahead of those who did not sleep, so a shell
//! stays responsive beside busy loops: it waits for the slice that is being run, and within a cgroup that
//! competes with others for that cgroup's turn. Tasks of frozen or throttled cgroups are parked outside the
//! queues.

pub mod fair;
pub mod load;

use std::rc::Rc;
use std::sync::PoisonError;

use crate::kernel::Kernel;
use crate::syscalls::{Block, Restart};
use crate::task::{Held, Task, TaskState};

pub use fair::RunQueue;

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
            self.run_queue.enqueue(task, self.clock.now());
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
            let task = self.run_queue.pick(&self.cgroup_root)?;
            let now = self.clock.now();
            let runs =
                task.state() == TaskState::Runnable && (task.fatal_pending() || !self.park(&task));
            if !runs {
                self.run_queue.put_back(&task, 0, false, now);
                continue;
            }
            let waited = now.since(task.queued_at.get());
            task.count(|usage| {
                usage.waited_ns += waited;
                usage.slices += 1;
            });
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
