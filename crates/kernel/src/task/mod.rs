//! Tasks: what the scheduler runs, each with registers, memory, descriptors, namespaces and signals.
//!
//! - `group.rs`: processes, process groups, sessions; `state.rs`: what a task waits for
//! - `clone.rs`, `exec.rs`, `exit.rs`, `wait.rs`: its life
//! - `signals.rs`: sending, and what is pending; `deliver.rs`: actions and signal frames
//! - `limits.rs`: resource limits; `memory.rs`: its memory as system calls see it
//!
//! Source: `clone(2)`, `credentials(7)`, `signal(7)`.

mod clone;
mod deliver;
mod exec;
mod exec_creds;
mod exit;
mod frame;
mod group;
mod limits;
mod memory;
mod signals;
mod state;
mod wait;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use abi::signal::SigSet;
use abi::{Errno, Result};
use clock::Instant;
use rv64::Hart;
use vfs::Credentials;
use vfs::path::Path;

use crate::cgroup::Cgroup;
use crate::fd::FdTable;
use crate::kernel::Kernel;
use crate::mm::Mm;
use crate::namespaces::Namespaces;
use crate::namespaces::pid::{Pid, PidNamespace};

pub use clone::{CloneArgs, NewTask, clone_flags};
pub use exec::ExecRequest;
pub(crate) use exec_creds::FileRights;
pub use frame::SIGNAL_FRAME_SIZE;
pub(crate) use frame::altstack_flags;
pub use group::{ControllingTerminal, ProcessGroup, Session, ThreadGroup, Usage, WaitStatus};
pub use limits::{
    Limits, RLIM_INFINITY, RLIM_NLIMITS, RLIMIT_AS, RLIMIT_CORE, RLIMIT_CPU, RLIMIT_DATA,
    RLIMIT_FSIZE, RLIMIT_MEMLOCK, RLIMIT_NICE, RLIMIT_NOFILE, RLIMIT_NPROC, RLIMIT_SIGPENDING,
    RLIMIT_STACK, Rlimit,
};
pub use signals::{
    AltStack, Pending, SIG_DFL, SIG_IGN, SigAction, SigHandlers, UNBLOCKABLE, sanitise,
};
pub use state::{SyscallState, TaskState};
pub use wait::{
    CLONE_OPTIONS, WCONTINUED, WEXITED, WNOHANG, WNOWAIT, WSTOPPED, WaitEvent, WaitFor, WaitResult,
};

/// Root, working directory and umask; shared with `CLONE_FS`.
pub struct FsInfo {
    /// `chroot(2)`.
    pub root: RefCell<Path>,
    /// `chdir(2)`.
    pub cwd: RefCell<Path>,
    /// `umask(2)`.
    pub umask: Cell<u32>,
}

impl FsInfo {
    /// Root and working directory at `root`, umask 022.
    #[must_use]
    pub fn new(root: Path) -> Rc<FsInfo> {
        Rc::new(FsInfo {
            cwd: RefCell::new(root.clone()),
            root: RefCell::new(root),
            umask: Cell::new(0o022),
        })
    }

    /// A copy of its own, for fork and unshare.
    #[must_use]
    pub fn duplicate(&self) -> Rc<FsInfo> {
        Rc::new(FsInfo {
            root: RefCell::new(self.root.borrow().clone()),
            cwd: RefCell::new(self.cwd.borrow().clone()),
            umask: self.umask.clone(),
        })
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> Path {
        self.root.borrow().clone()
    }

    /// The working directory.
    #[must_use]
    pub fn cwd(&self) -> Path {
        self.cwd.borrow().clone()
    }
}

/// Global numbers of tasks that were woken. Wakers must be `Send` by their type, hence a lock nobody ever
/// waits for.
pub(crate) type WakeList = Arc<Mutex<Vec<u32>>>;

struct TaskWaker {
    tid: u32,
    queued: AtomicBool,
    woken: WakeList,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.woken
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(self.tid);
        }
    }
}

/// Why a task does not run although it could.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Held {
    #[default]
    No,
    /// In a scheduler queue.
    Queued,
    /// Its cgroup is frozen or throttled.
    Parked,
}

/// A task: one thread of a process.
pub struct Task {
    /// Global number, for the task table and wakers: never changes, unlike [`Task::tid`] (`execve` by a
    /// thread takes over the leader's).
    pub id: u32,
    kernel: Weak<Kernel>,
    pid: RefCell<Rc<Pid>>,
    /// The process it belongs to.
    pub group: Rc<ThreadGroup>,
    /// Its registers.
    pub hart: RefCell<Hart>,
    mm: RefCell<Rc<Mm>>,
    fs: RefCell<Rc<FsInfo>>,
    files: RefCell<Rc<FdTable>>,
    ns: RefCell<Rc<Namespaces>>,
    creds: RefCell<Rc<Credentials>>,
    cgroup: RefCell<Rc<Cgroup>>,
    /// What it is charged with itself, while it lives.
    pub(super) charge: Cell<Option<mem::Charge>>,
    comm: Cell<[u8; 16]>,
    state: Cell<TaskState>,
    pub(crate) held: Cell<Held>,
    /// Its place among those who wait for the processor.
    pub(crate) sched: crate::sched::fair::Entity,
    /// Since when it waits for its turn.
    pub(crate) queued_at: Cell<Instant>,
    /// `sched_yield(2)`: the slice ends here.
    pub(crate) yields: Cell<bool>,
    /// It sleeps until then before it goes on with its program: what it did takes longer than it took here
    /// (`io.max`), or it is slowed down (`memory.high`).
    pub(crate) delayed_until: Cell<Option<Instant>>,
    /// Pages it was charged above `memory.high` and has not slept for.
    pub(crate) pages_above_high: Cell<u64>,
    /// What the system call in progress costs beside being one, in instructions: bytes that were copied.
    pub(crate) call_cost: Cell<u64>,
    waker: Waker,
    task_waker: Arc<TaskWaker>,
    /// The system call in progress.
    pub syscall: SyscallState,
    /// Where the timer of the present sleep is in the clock.
    pub(crate) sleep_timer: Cell<Option<(Instant, u64)>>,
    /// Why the present sleep may end, and until when.
    pub(crate) sleep: Cell<Option<crate::syscalls::Block>>,
    /// Blocked signals.
    pub sigmask: Cell<SigSet>,
    /// The mask to go back to when the system call in progress ends (`ppoll`, `rt_sigsuspend`).
    pub saved_sigmask: Cell<Option<SigSet>>,
    /// Signals to this thread alone.
    pub pending: RefCell<Pending>,
    /// The alternate signal stack.
    pub altstack: Cell<AltStack>,
    /// `set_robust_list(2)`.
    pub robust_list: Cell<u64>,
    /// `set_tid_address(2)`: cleared, and a futex there woken, at the end.
    pub clear_child_tid: Cell<u64>,
    /// Who sleeps in vfork until this task execs or exits.
    pub(crate) vfork_parent: RefCell<Option<Rc<Task>>>,
    /// `PR_SET_PDEATHSIG`.
    pub parent_death_signal: Cell<u32>,
    /// `setpriority(2)`.
    pub nice: Cell<i32>,
    /// Kept for `sched_getscheduler(2)`.
    pub sched_policy: Cell<u32>,
    pub(crate) usage: Cell<Usage>,
    /// What filters its system calls, if anything does.
    pub(crate) seccomp: RefCell<Option<Rc<crate::seccomp::Filter>>>,
    /// System calls are printed.
    pub traced: Cell<bool>,
    /// When it began.
    pub start: Instant,
    exit_status: Cell<Option<WaitStatus>>,
}

impl Task {
    /// Its number in the machine's own pid namespace.
    #[must_use]
    pub fn tid(&self) -> u32 {
        self.pid.borrow().global()
    }

    /// The machine it is in; `None` when that is being dropped.
    #[must_use]
    pub fn kernel(&self) -> Option<Rc<Kernel>> {
        self.kernel.upgrade()
    }

    /// Its numbers.
    #[must_use]
    pub fn pid(&self) -> Rc<Pid> {
        Rc::clone(&self.pid.borrow())
    }

    /// Its number seen from `namespace`.
    #[must_use]
    pub fn tid_in(&self, namespace: &PidNamespace) -> u32 {
        self.pid.borrow().in_ns(namespace)
    }

    /// The pid namespace it is in.
    #[must_use]
    pub fn pid_ns(&self) -> Rc<PidNamespace> {
        Rc::clone(self.pid.borrow().namespace())
    }

    /// True for the thread that has the process's number.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        Rc::ptr_eq(&self.pid.borrow(), &self.group.pid())
    }

    /// Its memory.
    #[must_use]
    pub fn mm(&self) -> Rc<Mm> {
        Rc::clone(&self.mm.borrow())
    }

    pub(crate) fn set_mm(&self, mm: Rc<Mm>) {
        let old = std::mem::replace(&mut *self.mm.borrow_mut(), mm);
        drop(old);
    }

    /// Root, working directory, umask.
    #[must_use]
    pub fn fs(&self) -> Rc<FsInfo> {
        Rc::clone(&self.fs.borrow())
    }

    /// Replaces root, working directory and umask (unshare).
    pub fn set_fs(&self, fs: Rc<FsInfo>) {
        let old = std::mem::replace(&mut *self.fs.borrow_mut(), fs);
        drop(old);
    }

    /// Its descriptors.
    #[must_use]
    pub fn files(&self) -> Rc<FdTable> {
        Rc::clone(&self.files.borrow())
    }

    /// Replaces its descriptor table (unshare, exec, exit).
    pub fn set_files(&self, files: Rc<FdTable>) {
        let old = std::mem::replace(&mut *self.files.borrow_mut(), files);
        drop(old);
    }

    /// Its namespaces.
    #[must_use]
    pub fn ns(&self) -> Rc<Namespaces> {
        Rc::clone(&self.ns.borrow())
    }

    /// Replaces its namespaces.
    pub fn set_ns(&self, ns: Rc<Namespaces>) {
        let old = std::mem::replace(&mut *self.ns.borrow_mut(), ns);
        drop(old);
    }

    /// Who it is.
    #[must_use]
    pub fn creds(&self) -> Rc<Credentials> {
        Rc::clone(&self.creds.borrow())
    }

    /// Makes it someone else.
    pub fn set_creds(&self, creds: Credentials) {
        let old = std::mem::replace(&mut *self.creds.borrow_mut(), Rc::new(creds));
        drop(old);
    }

    /// Its cgroup.
    #[must_use]
    pub fn cgroup(&self) -> Rc<Cgroup> {
        Rc::clone(&self.cgroup.borrow())
    }

    /// Notes the cgroup it was moved to; the charge has been moved ([`Cgroup::migrate`]).
    pub fn set_cgroup(&self, cgroup: Rc<Cgroup>) {
        // A task without a program shares the empty memory with others like it.
        if self.state.get() != TaskState::New {
            self.mm().set_cgroup(&cgroup);
        }
        let old = std::mem::replace(&mut *self.cgroup.borrow_mut(), cgroup);
        drop(old);
    }

    /// It is to sleep until `until` before its program goes on.
    pub(crate) fn delay_until(&self, now: Instant, until: Instant) {
        if until > now {
            self.delayed_until
                .set(self.delayed_until.get().max(Some(until)));
        }
    }

    /// Its name, at most 15 bytes.
    #[must_use]
    pub fn comm(&self) -> Vec<u8> {
        let comm = self.comm.get();
        comm.iter().copied().take_while(|&byte| byte != 0).collect()
    }

    /// Names it (`prctl(PR_SET_NAME)`); cut to 15 bytes.
    pub fn set_comm(&self, name: &[u8]) {
        let mut comm = [0; 16];
        let len = name
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(name.len())
            .min(15);
        comm[..len].copy_from_slice(&name[..len]);
        self.comm.set(comm);
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> TaskState {
        self.state.get()
    }

    pub(crate) fn set_state(&self, state: TaskState) {
        self.state.set(state);
    }

    /// The letter of /proc/PID/stat.
    #[must_use]
    pub fn state_letter(&self) -> char {
        match self.state.get() {
            TaskState::New if self.group.is_kernel_task() => 'S',
            TaskState::New => 'S',
            TaskState::Runnable => 'R',
            TaskState::Blocked {
                interruptible: true,
            } => 'S',
            TaskState::Blocked {
                interruptible: false,
            } => 'D',
            TaskState::Stopped => 'T',
            TaskState::Dead => 'Z',
        }
    }

    /// Has exited.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.state.get() == TaskState::Dead
    }

    /// Wakes the task: it runs its system call again.
    #[must_use]
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    pub(crate) fn was_woken(&self) {
        self.task_waker.queued.store(false, Ordering::Relaxed);
    }

    /// What it has used.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage.get()
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Usage)) {
        let mut usage = self.usage.get();
        change(&mut usage);
        self.usage.set(usage);
    }

    /// Blocks `mask` instead of the present set until the system call in progress ends (`ppoll`,
    /// `epoll_pwait`, `rt_sigsuspend`). Safe to call at every run of the call.
    pub fn mask_during_call(&self, mask: SigSet) {
        if self.saved_sigmask.get().is_none() {
            self.saved_sigmask.set(Some(self.sigmask.get()));
            self.sigmask.set(mask.minus(UNBLOCKABLE));
        }
    }

    /// Its soft limit of descriptors.
    #[must_use]
    pub fn nofile(&self) -> u64 {
        self.group.limits.soft(RLIMIT_NOFILE)
    }

    /// The argument registers of the system call in progress.
    #[must_use]
    pub fn syscall_args(&self) -> [u64; 6] {
        self.syscall.args.get()
    }

    /// Refuses with `EPERM` without the capability in the task's own user namespace.
    pub fn require(&self, capability: vfs::Capability) -> Result<()> {
        if self.creds().has_cap(capability) {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }

    /// How this thread ended.
    #[must_use]
    pub fn exit_status(&self) -> Option<WaitStatus> {
        self.exit_status.get()
    }
}
