//! System calls: how one is made, blocks, is interrupted and restarted.
//!
//! [`table`] has one row per call. The functions are in the `sys_…` files, one family each; each file
//! exports its rows. A function has the signature [`SyscallFn`] and must be safe to run again from the start
//! after it returned [`Stop::Block`].

pub mod table;

mod sys_dir;
mod sys_epoll;
mod sys_eventfd;
mod sys_file;
mod sys_futex;
mod sys_futex_pi;
mod sys_id;
mod sys_inotify;
mod sys_ipc;
mod sys_ipc_queues;
mod sys_lock;
mod sys_memory;
mod sys_misc;
mod sys_mount;
mod sys_namespace;
mod sys_pipe;
mod sys_poll;
mod sys_prctl;
mod sys_process;
mod sys_read_write;
mod sys_resource;
mod sys_sched;
mod sys_signal;
mod sys_socket;
mod sys_splice;
mod sys_stat;
mod sys_sync;
mod sys_syslog;
mod sys_time;
mod sys_tty;
mod sys_xattr;

use std::rc::Rc;

use abi::Errno;
use clock::Instant;

use crate::kernel::Kernel;
use crate::task::{Task, TaskState};

/// What a system call gives: the value of `a0`, or why there is none yet.
pub type SysResult = Result<u64, Stop>;

/// A system call: kernel, caller, arguments.
pub type SyscallFn = fn(&Rc<Kernel>, &Rc<Task>, &[u64; 6]) -> SysResult;

/// Why a system call has no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It failed.
    Errno(Errno),
    /// It waits; the task's waker has been registered with what it waits for.
    Block(Block),
    /// The registers are not the call's to set any more: execve, exit, rt_sigreturn.
    Gone,
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Stop {
        Stop::Errno(errno)
    }
}

/// How a system call waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// The call is run again at this time at the latest.
    pub deadline: Option<Instant>,
    /// What a signal does.
    pub restart: Restart,
}

/// What a signal does to a waiting system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restart {
    /// `EINTR` after a handler, but run again when it was set up with `SA_RESTART` (`ERESTARTSYS`).
    Sys,
    /// `EINTR` after any handler; run again when none ran (`ERESTARTNOHAND`).
    NoHand,
    /// `EINTR` in any case, even when no handler ran.
    Never,
    /// Only death ends it.
    Uninterruptible,
}

impl Block {
    /// Waits, interruptibly, to be restarted after a signal.
    #[must_use]
    pub const fn restartable() -> Stop {
        Stop::Block(Block {
            deadline: None,
            restart: Restart::Sys,
        })
    }

    /// Waits until `deadline`; `EINTR` after any handler, as calls with a timeout do.
    #[must_use]
    pub const fn until(deadline: Option<Instant>) -> Stop {
        Stop::Block(Block {
            deadline,
            restart: Restart::NoHand,
        })
    }

    /// Waits for what certainly comes.
    #[must_use]
    pub const fn uninterruptible() -> Stop {
        Stop::Block(Block {
            deadline: None,
            restart: Restart::Uninterruptible,
        })
    }
}

/// What the scheduler does with the task after a system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Look at signals, then go on with its program.
    Continue,
    /// It sleeps, is stopped or dead.
    Leave,
}

/// Registers: arguments, return value and number.
const A0: usize = 10;
const A7: usize = 17;

impl Kernel {
    /// Runs the system call the task is at, or runs the one in progress again.
    pub(crate) fn system_call(self: &Rc<Self>, task: &Rc<Task>) -> Next {
        let mut refused = None;
        if !task.syscall.active.get() {
            let hart = task.hart.borrow();
            let number = hart.x[A7];
            let mut args = [0; 6];
            args.copy_from_slice(&hart.x[A0..A0 + 6]);
            drop(hart);
            task.syscall.begin(number, args);
            if task.traced.get() {
                self.trace_enter(task);
            }
            refused = self.filter_system_call(task, number, &args);
        }
        let args = task.syscall.args.get();
        let number = task.syscall.number.get();
        let result = loop {
            if let Some(refused) = refused {
                break refused;
            }
            let result = match self.syscall_table.get(number) {
                Some(row) => (row.call)(self, task, &args),
                None => self.unknown_syscall(task, number),
            };
            if !matches!(result, Err(Stop::Errno(Errno::OVER_LIMIT))) || !self.make_room(task) {
                break result;
            }
        };
        match result {
            Ok(value) => self.complete(task, value),
            Err(Stop::Errno(Errno::NOT_HERE_YET)) => {
                // What waits by a path, such as the copy-up of an open for writing, has no open file
                // that would have registered it.
                let ns = task.ns();
                ns.mnt.mounts.table().arrivals().register(task.waker());
                self.sleep(
                    task,
                    Block {
                        deadline: None,
                        restart: Restart::Uninterruptible,
                    },
                )
            }
            Err(Stop::Errno(Errno::OVER_LIMIT)) => self.complete(task, errno_value(Errno::ENOMEM)),
            Err(Stop::Errno(errno)) => self.complete(task, errno_value(errno)),
            Err(Stop::Gone) => {
                if task.traced.get() {
                    self.trace_exit(task, None);
                }
                task.syscall.clear();
                if task.state() == TaskState::Runnable {
                    Next::Continue
                } else {
                    Next::Leave
                }
            }
            Err(Stop::Block(block)) => self.sleep(task, block),
        }
    }

    /// Has somebody killed because the call was refused memory. False when it is the caller who has to go.
    fn make_room(self: &Rc<Self>, task: &Rc<Task>) -> bool {
        if let Some(full) = self.payer.take_refusal() {
            self.out_of_memory(&full);
        }
        task.group.exiting.get().is_none()
    }

    /// Sets the value and goes on behind the `ecall`.
    fn complete(&self, task: &Rc<Task>, value: u64) -> Next {
        let mut hart = task.hart.borrow_mut();
        hart.x[A0] = value;
        hart.pc = hart.pc.wrapping_add(4);
        drop(hart);
        if let Some(mask) = task.saved_sigmask.take() {
            task.sigmask.set(mask);
        }
        if task.traced.get() {
            self.trace_exit(task, Some(value));
        }
        task.syscall.clear();
        if task.state() == TaskState::Runnable {
            Next::Continue
        } else {
            Next::Leave
        }
    }

    /// The call waits: puts the task to sleep unless a signal ends it at once.
    fn sleep(self: &Rc<Self>, task: &Rc<Task>, block: Block) -> Next {
        let interruptible = block.restart != Restart::Uninterruptible;
        if task.fatal_pending() || interruptible && task.signal_pending() {
            return self.interrupt(task, block.restart);
        }
        if block
            .deadline
            .is_some_and(|deadline| deadline <= self.clock.now())
        {
            // Run again at once: the call sees that its time is over.
            self.make_runnable(task);
            return Next::Leave;
        }
        self.block_task(task, block);
        Next::Leave
    }

    /// A signal ends the wait. Whether the call is run again is decided with the signal's action
    /// ([`Kernel::deliver_signals`]).
    fn interrupt(self: &Rc<Self>, task: &Rc<Task>, restart: Restart) -> Next {
        if restart == Restart::Never {
            return self.complete(task, errno_value(Errno::EINTR));
        }
        self.deliver_during_syscall(task, restart)
    }

    /// The number is in no row: `ENOSYS`, and one line says which.
    fn unknown_syscall(&self, task: &Rc<Task>, number: u64) -> SysResult {
        let name = String::from_utf8_lossy(&task.comm()).into_owned();
        self.log_once(number, || {
            format!("{name}[{}]: unknown system call {number}", task.tid())
        });
        Err(Stop::Errno(Errno::ENOSYS))
    }
}

/// An error as `a0` has it.
#[must_use]
pub fn errno_value(errno: Errno) -> u64 {
    (-i64::from(errno.0)) as u64
}

/// Rows of calls that are known by name and answered `ENOSYS` (or another honest refusal) on purpose.
pub(crate) fn sys_enosys(_: &Rc<Kernel>, _: &Rc<Task>, _: &[u64; 6]) -> SysResult {
    Err(Stop::Errno(Errno::ENOSYS))
}

/// Refused to everybody: `EPERM`.
pub(crate) fn sys_eperm(_: &Rc<Kernel>, _: &Rc<Task>, _: &[u64; 6]) -> SysResult {
    Err(Stop::Errno(Errno::EPERM))
}
