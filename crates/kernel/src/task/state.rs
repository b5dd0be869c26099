//! What a task is waiting for, and what of a system call survives until it is run again.

use std::any::Any;
use std::cell::{Cell, RefCell};

use clock::Instant;

/// Whether a task can run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskState {
    /// Made, but has no program yet (or never will: a kernel task).
    New,
    /// Runs or waits for its turn.
    Runnable,
    /// Sleeps in a system call.
    Blocked {
        /// A signal ends the sleep (`S`); otherwise only a fatal one does (`D`).
        interruptible: bool,
    },
    /// Stopped by a signal (`T`).
    Stopped,
    /// Has exited; a zombie until it is reaped.
    Dead,
}

/// The system call in progress. All of it is forgotten when the call completes.
#[derive(Default)]
pub struct SyscallState {
    /// A call is in progress.
    pub active: Cell<bool>,
    /// Its number.
    pub number: Cell<u64>,
    /// Its arguments as they were at the `ecall`.
    pub args: Cell<[u64; 6]>,
    /// When a timeout that was given relative ends; set at the first run.
    pub deadline: Cell<Option<Instant>>,
    /// Bytes (or items) already done.
    pub done: Cell<u64>,
    /// What was waited for has come (a futex was woken).
    pub woken: Cell<bool>,
    /// Larger state of one call; its `Drop` takes registrations back.
    pub data: RefCell<Option<Box<dyn Any>>>,
}

impl SyscallState {
    /// A new call begins.
    pub fn begin(&self, number: u64, args: [u64; 6]) {
        self.active.set(true);
        self.number.set(number);
        self.args.set(args);
    }

    /// The call has completed.
    pub fn clear(&self) {
        self.active.set(false);
        self.deadline.set(None);
        self.done.set(0);
        self.woken.set(false);
        if self.data.borrow().is_some() {
            // Dropped after the borrow: it may wake others.
            let data = self.data.borrow_mut().take();
            drop(data);
        }
    }

    /// The absolute deadline: `first` decides it at the first run.
    pub fn deadline_or(&self, first: impl FnOnce() -> Option<Instant>) -> Option<Instant> {
        if self.deadline.get().is_none() {
            self.deadline.set(first());
        }
        self.deadline.get()
    }
}
