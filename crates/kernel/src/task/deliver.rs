//! Delivering signals: what the action is, and what becomes of a system call that was interrupted
//! (`signal(7)`, "Interruption of system calls").

use std::rc::Rc;

use abi::Errno;
use abi::signal::{SIGCONT, SIGKILL, SIGSEGV, SIGSTOP, SigInfo, SigSet, sa};

use super::signals::{SIG_DFL, SIG_IGN, STOP_SIGNALS, SigAction};
use super::{Task, TaskState, WaitStatus};
use crate::kernel::Kernel;
use crate::syscalls::{Next, Restart};

/// Instruction bytes of an `ecall`.
const ECALL_LEN: u64 = 4;

/// What came of the signals that were pending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// None of them did anything to the program.
    Nothing,
    /// A handler is about to run.
    Handler,
    /// The task is stopped or dead.
    Left,
}

impl Kernel {
    /// Delivers pending signals to a task that is not in a system call.
    pub(crate) fn deliver_signals(&self, task: &Rc<Task>) {
        self.act_on_signals(task, None);
    }

    /// Delivers pending signals to a task whose system call waits, and decides whether the call is run again.
    pub(crate) fn deliver_during_syscall(&self, task: &Rc<Task>, restart: Restart) -> Next {
        match self.act_on_signals(task, Some(restart)) {
            Outcome::Handler => Next::Continue,
            Outcome::Left => Next::Leave,
            Outcome::Nothing => {
                // No handler ran: run the call again, as if nothing had happened.
                self.make_runnable(task);
                Next::Leave
            }
        }
    }

    fn act_on_signals(&self, task: &Rc<Task>, restart: Option<Restart>) -> Outcome {
        let mut outcome = Outcome::Nothing;
        let mut restart = restart;
        loop {
            if let Some(status) = task.group.exiting.get() {
                self.exit_task(task, status);
                return Outcome::Left;
            }
            let wanted = SigSet(!task.sigmask.get().0);
            let Some(info) = task.take_signal(wanted.union(SigSet::of(SIGKILL))) else {
                return outcome;
            };
            let handlers = Rc::clone(&task.group.handlers.borrow());
            let action = handlers.get(info.signal);
            if task.traced.get() {
                self.trace_signal(task, &info);
            }
            match action.handler {
                SIG_IGN if info.signal != SIGKILL => {}
                SIG_DFL if self.init_shrugs(&task.group, &info) => {}
                SIG_DFL | SIG_IGN => {
                    if self.default_action(task, info.signal) {
                        return Outcome::Left;
                    }
                }
                _ => {
                    if let Some(restart) = restart.take() {
                        end_interrupted_call(task, restart, action);
                    }
                    if action.flags & sa::RESETHAND != 0 {
                        handlers.set(info.signal, SigAction::default());
                    }
                    self.enter_handler(task, &info, action);
                    outcome = Outcome::Handler;
                }
            }
        }
    }

    /// True when the task cannot go on.
    fn default_action(&self, task: &Rc<Task>, signal: u32) -> bool {
        if task.group.handlers.borrow().ignores(signal) || signal == SIGCONT {
            return false;
        }
        if STOP_SIGNALS.has(signal) {
            // A group nobody could continue is not stopped from the terminal.
            if signal != SIGSTOP && task.group.process_group().is_orphaned(None) {
                return false;
            }
            self.stop_group(&task.group, signal);
            return true;
        }
        // Core files are not written, so the core bit of the status is never set.
        self.exit_group(
            task,
            WaitStatus::Signaled {
                signal,
                core: false,
            },
        );
        true
    }

    fn enter_handler(&self, task: &Rc<Task>, info: &SigInfo, action: SigAction) {
        let old_mask = task.saved_sigmask.take().unwrap_or(task.sigmask.get());
        if self.push_frame(task, info, action, old_mask).is_err() {
            if info.signal == SIGSEGV {
                task.group
                    .handlers
                    .borrow()
                    .set(SIGSEGV, SigAction::default());
            }
            task.sigmask.set(old_mask);
            self.force_signal(task, SigInfo::kernel(SIGSEGV));
            return;
        }
        let mut mask = task.sigmask.get().union(action.mask);
        if action.flags & sa::NODEFER == 0 {
            mask = mask.union(SigSet::of(info.signal));
        }
        task.sigmask.set(mask.minus(super::signals::UNBLOCKABLE));
    }
}

/// Sets the registers so that the call is made again when the handler returns, or has failed with `EINTR`.
fn end_interrupted_call(task: &Task, restart: Restart, action: SigAction) {
    let again = restart == Restart::Sys && action.flags & sa::RESTART != 0;
    if !again {
        let mut hart = task.hart.borrow_mut();
        hart.x[10] = crate::syscalls::errno_value(Errno::EINTR);
        hart.pc = hart.pc.wrapping_add(ECALL_LEN);
    }
    task.syscall.clear();
    debug_assert!(task.state() != TaskState::Dead);
}
