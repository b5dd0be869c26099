//! Signals: what is pending, what a process does about them, and sending (`signal(7)`, `kill(2)`).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use abi::signal::{
    SIGCHLD, SIGCONT, SIGKILL, SIGNAL_MAX, SIGRTMIN, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG,
    SIGWINCH, SigInfo, SigSet, sa, si,
};
use abi::{Errno, Result};

use super::{ProcessGroup, RLIMIT_SIGPENDING, Task, TaskState, ThreadGroup};
use crate::kernel::Kernel;

/// Handler value of the default action.
pub const SIG_DFL: u64 = 0;
/// Handler value of "ignore".
pub const SIG_IGN: u64 = 1;

/// Signals that stop a process by default.
pub const STOP_SIGNALS: SigSet = SigSet::of_all(&[SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU]);
/// Signals that nobody can block, catch or ignore.
pub const UNBLOCKABLE: SigSet = SigSet::of_all(&[SIGKILL, SIGSTOP]);
const IGNORED_BY_DEFAULT: SigSet = SigSet::of_all(&[SIGCHLD, SIGCONT, SIGURG, SIGWINCH]);
/// Signals of faults; delivered first.
pub const SYNCHRONOUS: SigSet = SigSet::of_all(&[4, 5, 7, 8, 11, 31]);

/// What to do about a signal (`struct sigaction` of riscv64: no restorer).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SigAction {
    /// `SIG_DFL`, `SIG_IGN` or an address.
    pub handler: u64,
    /// `SA_…`.
    pub flags: u64,
    /// Blocked while the handler runs.
    pub mask: SigSet,
}

/// The actions for all signals; shared with `CLONE_SIGHAND`.
pub struct SigHandlers(RefCell<[SigAction; SIGNAL_MAX as usize + 1]>);

impl Default for SigHandlers {
    fn default() -> Self {
        SigHandlers(RefCell::new(
            [SigAction::default(); SIGNAL_MAX as usize + 1],
        ))
    }
}

impl SigHandlers {
    /// The action for `signal`.
    #[must_use]
    pub fn get(&self, signal: u32) -> SigAction {
        self.0.borrow()[signal as usize]
    }

    /// Sets the action for `signal`.
    pub fn set(&self, signal: u32, action: SigAction) {
        self.0.borrow_mut()[signal as usize] = action;
    }

    /// A copy of its own, for fork.
    #[must_use]
    pub fn duplicate(&self) -> Rc<SigHandlers> {
        Rc::new(SigHandlers(RefCell::new(*self.0.borrow())))
    }

    /// What execve leaves: handlers become the default, ignored stays ignored.
    #[must_use]
    pub fn after_exec(&self) -> Rc<SigHandlers> {
        let mut actions = *self.0.borrow();
        for action in &mut actions {
            let handler = if action.handler == SIG_IGN {
                SIG_IGN
            } else {
                SIG_DFL
            };
            *action = SigAction {
                handler,
                ..SigAction::default()
            };
        }
        Rc::new(SigHandlers(RefCell::new(actions)))
    }

    /// True when the signal would be thrown away.
    #[must_use]
    pub fn ignores(&self, signal: u32) -> bool {
        match self.get(signal).handler {
            SIG_IGN => true,
            SIG_DFL => IGNORED_BY_DEFAULT.has(signal),
            _ => false,
        }
    }

    /// The sets of ignored and of caught signals, for /proc/PID/status.
    #[must_use]
    pub fn sets(&self) -> (SigSet, SigSet) {
        let actions = self.0.borrow();
        let (mut ignored, mut caught) = (SigSet::EMPTY, SigSet::EMPTY);
        for signal in 1..=SIGNAL_MAX {
            match actions[signal as usize].handler {
                SIG_DFL => {}
                SIG_IGN => ignored = ignored.union(SigSet::of(signal)),
                _ => caught = caught.union(SigSet::of(signal)),
            }
        }
        (ignored, caught)
    }
}

/// The alternate stack (`sigaltstack(2)`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AltStack {
    /// Lowest address.
    pub base: u64,
    /// Bytes; 0 when there is none.
    pub size: u64,
    /// `SS_AUTODISARM` or 0.
    pub flags: u32,
}

impl AltStack {
    /// No alternate stack.
    pub const NONE: AltStack = AltStack {
        base: 0,
        size: 0,
        flags: 0,
    };

    /// True when `sp` is on it.
    #[must_use]
    pub fn contains(&self, sp: u64) -> bool {
        self.size != 0 && sp > self.base && sp - self.base <= self.size
    }
}

/// Pending signals: ordinary ones once, real-time ones in a queue.
#[derive(Default)]
pub struct Pending {
    /// The signals in the queue.
    pub set: SigSet,
    queue: VecDeque<SigInfo>,
}

impl Pending {
    fn push(&mut self, info: SigInfo, limit: u64) -> Result<()> {
        if info.signal < SIGRTMIN && self.set.has(info.signal) {
            return Ok(());
        }
        if self.queue.len() as u64 >= limit.max(1) {
            // As Linux: kill(2) still sets the bit, but loses who sent it; sigqueue(3) says EAGAIN.
            if info.signal >= SIGRTMIN && info.code != si::USER {
                return Err(Errno::EAGAIN);
            }
            if self.queue.len() as u64 >= limit.saturating_add(u64::from(SIGNAL_MAX)) {
                return Ok(());
            }
        }
        self.set = self.set.union(SigSet::of(info.signal));
        self.queue.push_back(info);
        Ok(())
    }

    /// Takes the next signal out of those in `wanted`: faults first, then the lowest number.
    pub fn take(&mut self, wanted: SigSet) -> Option<SigInfo> {
        let ready = self.set.and(wanted);
        let signal = ready.and(SYNCHRONOUS).first().or_else(|| ready.first())?;
        let index = self.queue.iter().position(|info| info.signal == signal)?;
        let info = self.queue.remove(index);
        if !self.queue.iter().any(|info| info.signal == signal) {
            self.set = self.set.minus(SigSet::of(signal));
        }
        info
    }

    /// Throws signals away.
    pub fn discard(&mut self, signals: SigSet) {
        self.set = self.set.minus(signals);
        self.queue.retain(|info| !signals.has(info.signal));
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl Task {
    /// Signals that are pending for this thread, its own and the process's.
    #[must_use]
    pub fn pending_set(&self) -> SigSet {
        self.pending.borrow().set.union(self.group.pending_set())
    }

    /// True when a signal waits that is to be delivered now: a system call must stop waiting.
    #[must_use]
    pub fn signal_pending(&self) -> bool {
        !self.pending_set().minus(self.sigmask.get()).is_empty()
            || self.group.exiting.get().is_some()
    }

    /// True when it is about to die.
    #[must_use]
    pub fn fatal_pending(&self) -> bool {
        self.group.exiting.get().is_some() || self.pending_set().has(SIGKILL)
    }

    /// Takes the next signal in `wanted`, the thread's own before the process's.
    pub fn take_signal(&self, wanted: SigSet) -> Option<SigInfo> {
        let own = self.pending.borrow_mut().take(wanted);
        let mut info = own.or_else(|| self.group.pending.borrow_mut().take(wanted))?;
        self.group.timers.signal_taken(&mut info);
        Some(info)
    }
}

/// Somebody sent it, as opposed to the kernel.
fn is_sent(info: &SigInfo) -> bool {
    [si::USER, si::TKILL, si::QUEUE].contains(&info.code)
}

impl Kernel {
    /// Sends a signal to one thread (`tgkill(2)`), without asking for permission.
    pub fn signal_task(&self, task: &Rc<Task>, info: SigInfo) -> Result<()> {
        if task.is_dead() {
            return Ok(());
        }
        if !self.prepare(&task.group, info.signal) && !task.sigmask.get().has(info.signal) {
            return Ok(());
        }
        let blocked = task.sigmask.get().has(info.signal);
        if !blocked && self.init_is_immune(&task.group, &info) {
            return Ok(());
        }
        let limit = task.group.limits.soft(RLIMIT_SIGPENDING);
        task.pending.borrow_mut().push(info, limit)?;
        task.group.signal_wait.wake_all();
        self.signal_wake(task, info.signal);
        Ok(())
    }

    /// Sends a signal to a process (`kill(2)`), without asking for permission.
    pub fn signal_process(&self, group: &Rc<ThreadGroup>, info: SigInfo) -> Result<()> {
        if group.is_zombie() {
            return Ok(());
        }
        let wanted = self.prepare(group, info.signal);
        let blocked = |task: &Rc<Task>| task.sigmask.get().has(info.signal);
        if !wanted && !group.threads().iter().all(blocked) {
            return Ok(());
        }
        // Who blocks a signal may be waiting for it (sigtimedwait(2)), an init too.
        if !group.threads().iter().all(blocked) && self.init_is_immune(group, &info) {
            return Ok(());
        }
        if group.is_kernel_task() {
            // It has no code that could take it. Only SIGKILL has an effect, on tasks that never got a program.
            if info.signal == SIGKILL {
                self.kill_new(group, info.signal);
            }
            return Ok(());
        }
        let limit = group.limits.soft(RLIMIT_SIGPENDING);
        group.pending.borrow_mut().push(info, limit)?;
        group.signal_wait.wake_all();
        if let Some(task) = self.pick_receiver(group, info.signal) {
            self.signal_wake(&task, info.signal);
        }
        Ok(())
    }

    /// Sends a signal to every process of a group.
    pub fn signal_process_group(&self, group: &Rc<ProcessGroup>, info: SigInfo) {
        for member in group.members() {
            // A full queue loses the signal, as with kill(2) on Linux.
            let _ = self.signal_process(&member, info);
        }
    }

    /// What a signal does before anybody takes it: SIGCONT continues and the stop signals cancel it.
    /// False when it is ignored.
    fn prepare(&self, group: &Rc<ThreadGroup>, signal: u32) -> bool {
        let discard = |signals: SigSet| {
            group.pending.borrow_mut().discard(signals);
            for task in group.threads.borrow().iter() {
                task.pending.borrow_mut().discard(signals);
            }
        };
        if signal == SIGCONT {
            discard(STOP_SIGNALS);
            self.continue_group(group);
        } else if STOP_SIGNALS.has(signal) {
            discard(SigSet::of(SIGCONT));
        }
        let ignored = group.handlers.borrow().ignores(signal);
        !ignored
    }

    /// The init of a pid namespace gets only signals it has a handler for from inside; from outside also
    /// SIGKILL and SIGSTOP. `pid` 0 in the sender's field is how an ancestor namespace looks.
    fn init_is_immune(&self, group: &Rc<ThreadGroup>, info: &SigInfo) -> bool {
        if !group.is_ns_init() || group.handlers.borrow().get(info.signal).handler > SIG_IGN {
            return false;
        }
        let from_outside = match info.fields {
            abi::signal::SigFields::Sender { pid, .. } => pid == 0,
            _ => info.code > 0,
        };
        is_sent(info) && !(from_outside && UNBLOCKABLE.has(info.signal))
    }

    /// What an init blocked when it was sent, and has no handler for when it is taken.
    pub(super) fn init_shrugs(&self, group: &Rc<ThreadGroup>, info: &SigInfo) -> bool {
        group.is_ns_init() && is_sent(info) && !UNBLOCKABLE.has(info.signal)
    }

    /// A thread that takes the signal: the leader if it can, else any that does not block it.
    fn pick_receiver(&self, group: &Rc<ThreadGroup>, signal: u32) -> Option<Rc<Task>> {
        let threads = group.threads.borrow();
        let takes = |task: &&Rc<Task>| !task.sigmask.get().has(signal) || signal == SIGKILL;
        let sleeps = |task: &&Rc<Task>| {
            matches!(
                task.state(),
                TaskState::Blocked {
                    interruptible: true
                }
            )
        };
        let candidates = || threads.iter().filter(takes);
        candidates()
            .find(|task| task.is_leader())
            .or_else(|| candidates().find(|task| !sleeps(task)))
            .or_else(|| candidates().next())
            .cloned()
    }

    /// Makes a sleeping task look at its signals.
    pub(crate) fn signal_wake(&self, task: &Rc<Task>, signal: u32) {
        let blocked = task.sigmask.get().has(signal) && signal != SIGKILL;
        match task.state() {
            TaskState::Blocked {
                interruptible: true,
            } if !blocked => self.make_runnable(task),
            TaskState::Blocked { .. } | TaskState::Stopped if signal == SIGKILL => {
                self.make_runnable(task)
            }
            TaskState::New if signal == SIGKILL => self.kill_new(&task.group, signal),
            _ => {}
        }
        // A frozen or throttled task must still die.
        if signal == SIGKILL && task.held.get() == super::Held::Parked {
            self.make_runnable(task);
        }
    }

    /// Sends the signal of a timer or a fault even when it is blocked or ignored: then it kills.
    pub(crate) fn force_signal(&self, task: &Rc<Task>, info: SigInfo) {
        let set = SigSet::of(info.signal);
        let handlers = Rc::clone(&task.group.handlers.borrow());
        let action = handlers.get(info.signal);
        if action.handler == SIG_IGN || task.sigmask.get().has(info.signal) {
            handlers.set(info.signal, SigAction::default());
            task.sigmask.set(task.sigmask.get().minus(set));
        }
        task.pending.borrow_mut().discard(set);
        // One signal always fits, the queue has room for every number.
        let _ = task.pending.borrow_mut().push(info, u64::MAX);
    }

    /// True when `sender` may signal `receiver` (`kill(2)`).
    #[must_use]
    pub fn may_signal(&self, sender: &Task, receiver: &ThreadGroup, signal: u32) -> bool {
        let Some(target) = receiver.any_task() else {
            return false;
        };
        if Rc::ptr_eq(&target.group, &sender.group) {
            return true;
        }
        let (from, to) = (sender.creds(), target.creds());
        let same_user = [to.uid, to.suid]
            .iter()
            .any(|&uid| uid == from.uid || uid == from.euid);
        same_user
            || self.capable_over(sender, &target, vfs::Capability::Kill)
            || signal == SIGCONT && Rc::ptr_eq(&sender.group.session(), &receiver.session())
    }

    /// The signal a process sends, as its receiver sees it.
    #[must_use]
    pub fn signal_from(
        &self,
        sender: &Task,
        receiver: &ThreadGroup,
        signal: u32,
        code: i32,
    ) -> SigInfo {
        let namespace = Rc::clone(receiver.pid().namespace());
        SigInfo::user(
            signal,
            code,
            sender.group.tgid_in(&namespace),
            sender.creds().uid,
        )
    }
}

/// Normalises what a program asks for.
#[must_use]
pub fn sanitise(action: SigAction) -> SigAction {
    SigAction {
        mask: action.mask.minus(UNBLOCKABLE),
        flags: action.flags
            & (sa::NOCLDSTOP
                | sa::NOCLDWAIT
                | sa::SIGINFO
                | sa::ONSTACK
                | sa::RESTART
                | sa::NODEFER
                | sa::RESETHAND
                | 0x400
                | 0x800),
        ..action
    }
}

#[cfg(test)]
mod tests {
    use abi::signal::{SIGSEGV, SIGTERM, SIGUSR1};

    use super::*;

    #[test]
    fn ordinary_signals_merge_and_real_time_signals_queue_in_order() {
        let mut pending = Pending::default();
        for signal in [SIGTERM, SIGTERM, 40, 40, 35, SIGSEGV, SIGUSR1] {
            pending.push(SigInfo::kernel(signal), 100).unwrap();
        }
        let mut order = Vec::new();
        while let Some(info) = pending.take(SigSet(u64::MAX)) {
            order.push(info.signal);
        }
        assert_eq!(order, [SIGSEGV, SIGUSR1, SIGTERM, 35, 40, 40]);
    }

    #[test]
    fn a_full_queue_refuses_sigqueue() {
        let mut pending = Pending::default();
        let info = SigInfo {
            signal: 40,
            code: si::QUEUE,
            ..SigInfo::default()
        };
        assert_eq!(
            (0..5)
                .map(|_| pending.push(info, 3).is_ok())
                .filter(|&ok| ok)
                .count(),
            3
        );
        assert!(pending.push(SigInfo::kernel(SIGTERM), 3).is_ok());
    }
}
