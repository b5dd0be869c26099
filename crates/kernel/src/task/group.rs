//! Processes (thread groups), process groups and sessions (`credentials(7)`).

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use abi::signal::SigSet;
use abi::{Errno, Result};
use clock::{Instant, WaitQueue};

use super::limits::Limits;
use super::signals::{Pending, SigHandlers};
use super::{Task, TaskState};
use crate::kernel::Kernel;
use crate::namespaces::pid::{Pid, PidNamespace};
use crate::timer::GroupTimers;

/// A terminal as job control sees it; `tty` implements it.
pub trait ControllingTerminal {
    /// `st_rdev` of the terminal, for /proc/PID/stat and `ps`.
    fn device(&self) -> u64;
    /// The foreground process group.
    fn foreground(&self) -> Option<Rc<ProcessGroup>>;
    /// The session leader ended: the terminal is nobody's any more.
    fn session_ended(&self);
    /// For down-casting by the terminal's own file.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// A session: process groups that share a controlling terminal.
pub struct Session {
    /// Named after this task.
    pub pid: Rc<Pid>,
    /// The controlling terminal.
    pub terminal: RefCell<Option<Rc<dyn ControllingTerminal>>>,
}

impl Session {
    /// A session named after `pid`.
    #[must_use]
    pub fn new(pid: Rc<Pid>) -> Rc<Session> {
        let session = Rc::new(Session {
            pid: Rc::clone(&pid),
            terminal: RefCell::new(None),
        });
        *pid.session.borrow_mut() = Rc::downgrade(&session);
        session
    }
}

/// A process group: what the terminal signals together.
pub struct ProcessGroup {
    /// Named after this task.
    pub pid: Rc<Pid>,
    /// The session it is in.
    pub session: Rc<Session>,
    members: RefCell<Vec<Weak<ThreadGroup>>>,
}

impl ProcessGroup {
    /// A process group named after `pid`, still without members.
    #[must_use]
    pub fn new(pid: Rc<Pid>, session: Rc<Session>) -> Rc<ProcessGroup> {
        let group = Rc::new(ProcessGroup {
            pid: Rc::clone(&pid),
            session,
            members: RefCell::default(),
        });
        *pid.process_group.borrow_mut() = Rc::downgrade(&group);
        group
    }

    /// The processes in it, zombies included.
    #[must_use]
    pub fn members(&self) -> Vec<Rc<ThreadGroup>> {
        self.members
            .borrow()
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    pub(super) fn add(&self, group: &Rc<ThreadGroup>) {
        let mut members = self.members.borrow_mut();
        members.retain(|member| member.strong_count() > 0);
        members.push(Rc::downgrade(group));
    }

    pub(super) fn remove(&self, group: &Rc<ThreadGroup>) {
        self.members
            .borrow_mut()
            .retain(|member| !std::ptr::eq(member.as_ptr(), Rc::as_ptr(group)));
    }

    /// True when no member has a parent in another group of the same session: nobody could continue a
    /// stopped member (POSIX "orphaned process group"). `leaving` is left out of the count.
    #[must_use]
    pub fn is_orphaned(self: &Rc<Self>, leaving: Option<&Rc<ThreadGroup>>) -> bool {
        !self.members().iter().any(|member| {
            if leaving.is_some_and(|leaving| Rc::ptr_eq(leaving, member)) || member.is_zombie() {
                return false;
            }
            let Some(parent) = member.parent() else {
                return false;
            };
            if parent.is_kernel_task() {
                return false;
            }
            let group = parent.process_group();
            !Rc::ptr_eq(&group, self) && Rc::ptr_eq(&group.session, &self.session)
        })
    }
}

/// What `wait(2)` reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitStatus {
    /// `exit(2)` with this code.
    Exited(u8),
    /// Killed by a signal.
    Signaled {
        /// The signal.
        signal: u32,
        /// The core bit.
        core: bool,
    },
}

impl WaitStatus {
    /// The status word.
    #[must_use]
    pub fn word(self) -> u32 {
        match self {
            WaitStatus::Exited(code) => u32::from(code) << 8,
            WaitStatus::Signaled { signal, core } => signal | u32::from(core) << 7,
        }
    }
}

/// Resources used, as `getrusage(2)` tells.
#[derive(Clone, Copy, Default, Debug)]
pub struct Usage {
    /// Nanoseconds in user mode.
    pub user_ns: u64,
    /// Nanoseconds in the kernel.
    pub system_ns: u64,
    /// Page faults without I/O.
    pub minor_faults: u64,
    /// Page faults that waited for content.
    pub major_faults: u64,
    /// Times it gave the CPU up.
    pub voluntary_switches: u64,
    /// Times it was preempted.
    pub involuntary_switches: u64,
    /// Nanoseconds it could run and waited for its turn.
    pub waited_ns: u64,
    /// Times it got its turn.
    pub slices: u64,
    /// Largest resident set, in KiB.
    pub max_rss_kb: u64,
}

impl Usage {
    /// The sum (the larger of the maxima).
    #[must_use]
    pub fn plus(self, other: Usage) -> Usage {
        Usage {
            user_ns: self.user_ns + other.user_ns,
            system_ns: self.system_ns + other.system_ns,
            minor_faults: self.minor_faults + other.minor_faults,
            major_faults: self.major_faults + other.major_faults,
            voluntary_switches: self.voluntary_switches + other.voluntary_switches,
            involuntary_switches: self.involuntary_switches + other.involuntary_switches,
            waited_ns: self.waited_ns + other.waited_ns,
            slices: self.slices + other.slices,
            max_rss_kb: self.max_rss_kb.max(other.max_rss_kb),
        }
    }
}

/// What a process read and wrote.
#[derive(Clone, Copy, Default, Debug)]
pub struct IoCounters {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Calls that read.
    pub reads: u64,
    /// Calls that wrote.
    pub writes: u64,
    /// Bytes read that came from the disk.
    pub disk_read_bytes: u64,
    /// Bytes written that went to the disk.
    pub disk_written_bytes: u64,
}

/// A process: the threads that share an address space, signal handlers and a pid.
pub struct ThreadGroup {
    pid: RefCell<Rc<Pid>>,
    leader: RefCell<Option<Rc<Task>>>,
    /// Live threads, oldest first.
    pub(super) threads: RefCell<Vec<Rc<Task>>>,
    pub(super) parent: RefCell<Weak<ThreadGroup>>,
    pub(super) children: RefCell<Vec<Rc<ThreadGroup>>>,
    pub(super) process_group: RefCell<Rc<ProcessGroup>>,
    /// No user code: daemons and the machine's init (`ps` shows them in brackets).
    pub(super) kernel_task: Cell<bool>,
    /// Somebody outside the guest waits for it with `os::Os::poll_wait`; it is not reaped by itself.
    pub claimed: Cell<bool>,
    /// Signal to the parent at the end.
    pub exit_signal: Cell<u32>,
    /// What signals do.
    pub handlers: RefCell<Rc<SigHandlers>>,
    /// Signals to the process as a whole.
    pub pending: RefCell<Pending>,
    /// Who polls for signals (signalfd) or sleeps in rt_sigtimedwait is woken by new ones.
    pub signal_wait: WaitQueue,
    /// Resource limits.
    pub limits: Limits,
    /// All threads are to end with this status.
    pub exiting: Cell<Option<WaitStatus>>,
    /// How it ended; set when the last thread is gone.
    pub(super) status: Cell<Option<WaitStatus>>,
    /// Stopped by this signal.
    pub stopped_by: Cell<Option<u32>>,
    pub(super) stop_unreported: Cell<bool>,
    pub(super) continue_unreported: Cell<bool>,
    /// Used by threads that have ended.
    pub(super) ended_usage: Cell<Usage>,
    /// Used by children that were waited for.
    pub(super) children_usage: Cell<Usage>,
    /// Its own wait(2) callers: woken when a child changes state.
    pub child_wait: WaitQueue,
    /// Woken when it ends, stops or continues (pidfd, the seam).
    pub state_wait: WaitQueue,
    /// Interval timers and POSIX timers.
    pub timers: GroupTimers,
    /// `PR_SET_CHILD_SUBREAPER`.
    pub subreaper: Cell<bool>,
    /// Has called execve since fork.
    pub did_exec: Cell<bool>,
    /// `PR_SET_DUMPABLE`.
    pub dumpable: Cell<u32>,
    /// `/proc/PID/oom_score_adj`.
    pub oom_score_adj: Cell<i32>,
    /// When it began.
    pub start: Instant,
    /// Killed by the out-of-memory killer.
    pub oom_killed: Cell<bool>,
    /// Bytes moved by read and write (`/proc/PID/io`).
    pub io: Cell<IoCounters>,
    /// Time slack of `PR_SET_TIMERSLACK`; kept only.
    pub timer_slack: Cell<u64>,
}

/// What a new process starts with.
pub(super) struct GroupSeed {
    pub pid: Rc<Pid>,
    pub parent: Weak<ThreadGroup>,
    pub process_group: Rc<ProcessGroup>,
    pub handlers: Rc<SigHandlers>,
    pub limits: Limits,
    pub exit_signal: u32,
    pub start: Instant,
    pub kernel_task: bool,
}

impl ThreadGroup {
    pub(super) fn new(seed: GroupSeed) -> Rc<ThreadGroup> {
        let group = Rc::new(ThreadGroup {
            pid: RefCell::new(seed.pid),
            leader: RefCell::new(None),
            threads: RefCell::default(),
            parent: RefCell::new(seed.parent),
            children: RefCell::default(),
            process_group: RefCell::new(Rc::clone(&seed.process_group)),
            kernel_task: Cell::new(seed.kernel_task),
            claimed: Cell::new(false),
            exit_signal: Cell::new(seed.exit_signal),
            handlers: RefCell::new(seed.handlers),
            pending: RefCell::default(),
            signal_wait: WaitQueue::new(),
            limits: seed.limits,
            exiting: Cell::new(None),
            status: Cell::new(None),
            stopped_by: Cell::new(None),
            stop_unreported: Cell::new(false),
            continue_unreported: Cell::new(false),
            ended_usage: Cell::default(),
            children_usage: Cell::default(),
            child_wait: WaitQueue::new(),
            state_wait: WaitQueue::new(),
            timers: GroupTimers::default(),
            subreaper: Cell::new(false),
            did_exec: Cell::new(false),
            dumpable: Cell::new(1),
            oom_score_adj: Cell::new(0),
            start: seed.start,
            oom_killed: Cell::new(false),
            io: Cell::default(),
            timer_slack: Cell::new(50_000),
        });
        seed.process_group.add(&group);
        group
    }

    /// The process's number.
    #[must_use]
    pub fn pid(&self) -> Rc<Pid> {
        Rc::clone(&self.pid.borrow())
    }

    /// The process's number in the machine's own pid namespace.
    #[must_use]
    pub fn tgid(&self) -> u32 {
        self.pid.borrow().global()
    }

    /// The process's number seen from `namespace`; 0 when it cannot be seen.
    #[must_use]
    pub fn tgid_in(&self, namespace: &PidNamespace) -> u32 {
        self.pid.borrow().in_ns(namespace)
    }

    /// The thread that has the process's number; a zombie's too, until it is reaped.
    #[must_use]
    pub fn leader(&self) -> Option<Rc<Task>> {
        self.leader.borrow().clone()
    }

    pub(super) fn set_leader(&self, task: Option<Rc<Task>>) {
        let old = std::mem::replace(&mut *self.leader.borrow_mut(), task);
        drop(old);
    }

    /// The live threads.
    #[must_use]
    pub fn threads(&self) -> Vec<Rc<Task>> {
        self.threads.borrow().clone()
    }

    /// How many threads live.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        self.threads.borrow().len()
    }

    /// Some live thread; for a zombie its leader.
    #[must_use]
    pub fn any_task(&self) -> Option<Rc<Task>> {
        let first = self.threads.borrow().first().cloned();
        first.or_else(|| self.leader())
    }

    /// The parent process; `None` for the machine's init.
    #[must_use]
    pub fn parent(&self) -> Option<Rc<ThreadGroup>> {
        self.parent.borrow().upgrade()
    }

    /// The children, zombies included.
    #[must_use]
    pub fn children(&self) -> Vec<Rc<ThreadGroup>> {
        self.children.borrow().clone()
    }

    /// The process group.
    #[must_use]
    pub fn process_group(&self) -> Rc<ProcessGroup> {
        Rc::clone(&self.process_group.borrow())
    }

    pub(super) fn set_process_group(self: &Rc<Self>, group: Rc<ProcessGroup>) {
        if Rc::ptr_eq(&self.process_group.borrow(), &group) {
            return;
        }
        group.add(self);
        let old = std::mem::replace(&mut *self.process_group.borrow_mut(), group);
        old.remove(self);
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> Rc<Session> {
        Rc::clone(&self.process_group.borrow().session)
    }

    /// True when the session is named after it.
    #[must_use]
    pub fn is_session_leader(&self) -> bool {
        Rc::ptr_eq(&self.process_group.borrow().session.pid, &self.pid.borrow())
    }

    /// The controlling terminal.
    #[must_use]
    pub fn terminal(&self) -> Option<Rc<dyn ControllingTerminal>> {
        let session = self.session();
        let terminal = session.terminal.borrow();
        terminal.clone()
    }

    /// Has no user code.
    #[must_use]
    pub fn is_kernel_task(&self) -> bool {
        self.kernel_task.get()
    }

    /// Has ended and was not reaped yet.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        self.status.get().is_some()
    }

    /// How it ended.
    #[must_use]
    pub fn status(&self) -> Option<WaitStatus> {
        self.status.get()
    }

    /// Is the init of its innermost pid namespace.
    #[must_use]
    pub fn is_ns_init(&self) -> bool {
        self.pid.borrow().innermost() == 1
    }

    /// Resources used by all its threads, dead and alive.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let threads = self.threads.borrow();
        threads
            .iter()
            .fold(self.ended_usage.get(), |sum, task| sum.plus(task.usage()))
    }

    /// Resources used by children that were waited for.
    #[must_use]
    pub fn children_usage(&self) -> Usage {
        self.children_usage.get()
    }

    /// Signals to the process that wait.
    #[must_use]
    pub fn pending_set(&self) -> SigSet {
        self.pending.borrow().set
    }

    /// The letter of /proc/PID/stat.
    #[must_use]
    pub fn state_letter(&self) -> char {
        if self.is_zombie() {
            return 'Z';
        }
        match self.any_task() {
            Some(task) => task.state_letter(),
            None => 'X',
        }
    }

    /// True when every thread is in state `Stopped`.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped_by.get().is_some()
            && self
                .threads
                .borrow()
                .iter()
                .all(|task| task.state() == TaskState::Stopped)
    }
}

impl Kernel {
    /// `setpgid(2)` after its checks: moves a process to the group with this number, which may be new.
    pub fn set_process_group(
        &self,
        target: &Rc<ThreadGroup>,
        number: u32,
        namespace: &PidNamespace,
    ) -> Result<()> {
        let session = target.session();
        if number == target.tgid_in(namespace) {
            let pid = target.pid();
            let known = pid.process_group.borrow().upgrade();
            let group = known.unwrap_or_else(|| ProcessGroup::new(pid, session));
            target.set_process_group(group);
            return Ok(());
        }
        let pid = namespace.pid(number).ok_or(Errno::EPERM)?;
        let group = pid.process_group.borrow().upgrade().ok_or(Errno::EPERM)?;
        if !Rc::ptr_eq(&group.session, &session) || group.members().is_empty() {
            return Err(Errno::EPERM);
        }
        target.set_process_group(group);
        Ok(())
    }

    /// `setsid(2)`: a session and a process group of its own, without a terminal.
    pub fn new_session(&self, group: &Rc<ThreadGroup>) -> Result<()> {
        let pid = group.pid();
        let leads = pid
            .process_group
            .borrow()
            .upgrade()
            .is_some_and(|known| !known.members().is_empty());
        if leads {
            return Err(Errno::EPERM);
        }
        let session = Session::new(Rc::clone(&pid));
        group.set_process_group(ProcessGroup::new(pid, session));
        Ok(())
    }
}
