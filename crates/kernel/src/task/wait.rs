//! Waiting for children (`wait(2)`, `waitid(2)`).

use std::rc::Rc;

use abi::signal::SIGCONT;
use abi::{Errno, Result};

use super::{Task, ThreadGroup, Usage, WaitStatus};
use crate::kernel::Kernel;

/// Which children.
#[derive(Clone)]
pub enum WaitFor {
    /// Any.
    Any,
    /// The one with this number in the caller's pid namespace.
    Pid(u32),
    /// Those of this process group (number in the caller's namespace).
    Group(u32),
    /// This one (pidfd).
    Process(Rc<ThreadGroup>),
}

/// `WNOHANG`.
pub const WNOHANG: u64 = 1;
/// `WUNTRACED`, `WSTOPPED`.
pub const WSTOPPED: u64 = 2;
/// `WEXITED`.
pub const WEXITED: u64 = 4;
/// `WCONTINUED`.
pub const WCONTINUED: u64 = 8;
/// `WNOWAIT`.
pub const WNOWAIT: u64 = 0x0100_0000;
const WNOTHREAD: u64 = 0x2000_0000;
const WALL: u64 = 0x4000_0000;
const WCLONE: u64 = 0x8000_0000;
/// Options that only say which children of cloned threads count.
pub const CLONE_OPTIONS: u64 = WNOTHREAD | WALL | WCLONE;

/// What happened to a child.
#[derive(Clone, Debug)]
pub enum WaitEvent {
    /// It ended.
    Ended(WaitStatus),
    /// It was stopped by a signal.
    Stopped(u32),
    /// It goes on.
    Continued,
}

/// A child that changed.
#[derive(Clone)]
pub struct WaitResult {
    /// Its number in the caller's namespace.
    pub pid: u32,
    /// Its real user.
    pub uid: u32,
    /// What happened.
    pub event: WaitEvent,
    /// What it used.
    pub usage: Usage,
}

impl WaitResult {
    /// The status word of `wait4(2)`.
    #[must_use]
    pub fn word(&self) -> u32 {
        match self.event {
            WaitEvent::Ended(status) => status.word(),
            WaitEvent::Stopped(signal) => signal << 8 | 0x7f,
            WaitEvent::Continued => 0xffff,
        }
    }
}

impl Kernel {
    /// Looks for a child that changed as `options` ask for; `None`: there are children, but none did.
    pub fn wait_child(
        &self,
        task: &Rc<Task>,
        which: &WaitFor,
        options: u64,
    ) -> Result<Option<WaitResult>> {
        let parent = &task.group;
        let namespace = task.pid_ns();
        let mut any = false;
        for child in parent.children() {
            let eligible = match which {
                WaitFor::Any => true,
                WaitFor::Pid(pid) => child.tgid_in(&namespace) == *pid,
                WaitFor::Group(group) => child.process_group().pid.in_ns(&namespace) == *group,
                WaitFor::Process(process) => Rc::ptr_eq(process, &child),
            };
            if !eligible || !may_wait(&child, options) {
                continue;
            }
            any = true;
            if let Some(event) = take_event(&child, options) {
                let result = WaitResult {
                    pid: child.tgid_in(&namespace),
                    uid: child.any_task().map_or(0, |task| task.creds().uid),
                    usage: child.usage().plus(child.children_usage()),
                    event,
                };
                if matches!(result.event, WaitEvent::Ended(_)) && options & WNOWAIT == 0 {
                    self.reap(&child);
                }
                return Ok(Some(result));
            }
        }
        if any { Ok(None) } else { Err(Errno::ECHILD) }
    }

    /// For the seam: how a process that was claimed ended; reaps it.
    pub fn wait_claimed(&self, group: &Rc<ThreadGroup>) -> Option<WaitStatus> {
        let status = group.status()?;
        self.reap(group);
        Some(status)
    }

    /// Continues a stopped process: SIGCONT was sent.
    pub(crate) fn continue_group(&self, group: &Rc<ThreadGroup>) {
        if group.stopped_by.get().is_none() {
            return;
        }
        self.set_stopped(group, None);
        group.stop_unreported.set(false);
        group.continue_unreported.set(true);
        for task in group.threads() {
            if task.state() == super::TaskState::Stopped {
                self.make_runnable(&task);
            }
        }
        self.notify_parent_of_change(group, abi::signal::si::CLD_CONTINUED, SIGCONT);
    }

    /// Notes by which signal a process is stopped, and how many are.
    pub(super) fn set_stopped(&self, group: &ThreadGroup, signal: Option<u32>) {
        let before = group.stopped_by.replace(signal);
        let count = self.stopped_processes.get() + u32::from(signal.is_some());
        self.stopped_processes
            .set(count - u32::from(before.is_some()));
    }

    /// Stops all threads of a process.
    pub(crate) fn stop_group(&self, group: &Rc<ThreadGroup>, signal: u32) {
        self.set_stopped(group, Some(signal));
        group.stop_unreported.set(true);
        group.continue_unreported.set(false);
        for task in group.threads() {
            if !task.is_dead() {
                if let Some(timer) = task.sleep_timer.take() {
                    self.clock.cancel(timer);
                }
                task.set_state(super::TaskState::Stopped);
            }
        }
        self.notify_parent_of_change(group, abi::signal::si::CLD_STOPPED, signal);
    }

    fn notify_parent_of_change(&self, group: &Rc<ThreadGroup>, code: i32, signal: u32) {
        group.state_wait.wake_all();
        let Some(parent) = group.parent() else { return };
        let action = parent.handlers.borrow().get(abi::signal::SIGCHLD);
        let wanted = action.flags & abi::signal::sa::NOCLDSTOP == 0;
        if wanted && !parent.is_kernel_task() {
            let info = self.child_info(group, &parent, abi::signal::SIGCHLD, code, signal as i32);
            let _ = self.signal_process(&parent, info);
        }
        parent.child_wait.wake_all();
    }
}

/// Children that do not send SIGCHLD are waited for only on request.
fn may_wait(child: &ThreadGroup, options: u64) -> bool {
    let is_clone = child.exit_signal.get() != abi::signal::SIGCHLD;
    options & WALL != 0 || is_clone == (options & WCLONE != 0)
}

fn take_event(child: &ThreadGroup, options: u64) -> Option<WaitEvent> {
    let keep = options & WNOWAIT != 0;
    if let Some(status) = child.status() {
        return (options & WEXITED != 0).then_some(WaitEvent::Ended(status));
    }
    if options & WSTOPPED != 0
        && child.stop_unreported.get()
        && let Some(signal) = child.stopped_by.get()
    {
        child.stop_unreported.set(keep);
        return Some(WaitEvent::Stopped(signal));
    }
    if options & WCONTINUED != 0 && child.continue_unreported.get() {
        child.continue_unreported.set(keep);
        return Some(WaitEvent::Continued);
    }
    None
}
