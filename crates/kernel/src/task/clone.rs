//! New tasks: `clone(2)`, and those the machine makes for itself.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Waker;

use abi::signal::{SIGCHLD, SIGNAL_MAX, SigSet};
use abi::{Errno, Result};
use rv64::Hart;
use vfs::Credentials;

use super::group::GroupSeed;
use super::{
    AltStack, FsInfo, Held, Limits, Pending, ProcessGroup, RLIMIT_NPROC, Session, SigHandlers,
    SyscallState, Task, TaskState, TaskWaker, ThreadGroup, Usage,
};
use crate::cgroup::Cgroup;
use crate::fd::FdTable;
use crate::kernel::Kernel;
use crate::mm::Mm;
use crate::namespaces::Namespaces;
use crate::namespaces::pid::Pid;
use crate::sched::fair::Entity;

/// Most tasks of a machine, whatever the limits say: a fork bomb must not take the page with it.
const TASKS_MAX: usize = 4096;
/// What the kernel has for a task.
const STACK_BYTES: u64 = 16 * 1024;

/// `CLONE_…` (linux/sched.h); those of namespaces are in [`crate::namespaces`].
#[allow(missing_docs, reason = "named as in clone(2)")]
pub mod clone_flags {
    pub const CSIGNAL: u64 = 0xff;
    pub const VM: u64 = 0x100;
    pub const FS: u64 = 0x200;
    pub const FILES: u64 = 0x400;
    pub const SIGHAND: u64 = 0x800;
    pub const PIDFD: u64 = 0x1000;
    pub const PTRACE: u64 = 0x2000;
    pub const VFORK: u64 = 0x4000;
    pub const PARENT: u64 = 0x8000;
    pub const THREAD: u64 = 0x1_0000;
    pub const SYSVSEM: u64 = 0x4_0000;
    pub const SETTLS: u64 = 0x8_0000;
    pub const PARENT_SETTID: u64 = 0x10_0000;
    pub const CHILD_CLEARTID: u64 = 0x20_0000;
    pub const DETACHED: u64 = 0x40_0000;
    pub const UNTRACED: u64 = 0x80_0000;
    pub const CHILD_SETTID: u64 = 0x100_0000;
    pub const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
}
use clone_flags as flag;

/// The arguments of `clone(2)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneArgs {
    /// `CLONE_…`.
    pub flags: u64,
    /// What the parent gets when the child ends; 0: nothing.
    pub exit_signal: u32,
    /// The child's stack pointer; 0: the parent's.
    pub stack: u64,
    /// Where the parent's memory gets the child's number.
    pub parent_tid: u64,
    /// Thread pointer.
    pub tls: u64,
    /// Where the child's memory gets its number, and where it is cleared at the end.
    pub child_tid: u64,
    /// Where the parent's memory gets a pidfd.
    pub pidfd: u64,
}

/// A task that is not cloned from a program: it has root's credentials, no memory and no descriptors,
/// and does nothing until [`Kernel::exec_task`].
pub struct NewTask {
    /// Parent; `None`: the machine's init.
    pub parent: Option<Rc<ThreadGroup>>,
    /// Its name.
    pub name: Vec<u8>,
    /// Its namespaces; `None`: the machine's.
    pub ns: Option<Rc<Namespaces>>,
    /// Root and working directory; `None`: the root of its mount namespace.
    pub fs: Option<Rc<FsInfo>>,
    /// Its cgroup; `None`: the root.
    pub cgroup: Option<Rc<Cgroup>>,
    /// Who it is.
    pub creds: Credentials,
    /// In a session of its own.
    pub new_session: bool,
    /// Never gets a program.
    pub kernel_task: bool,
}

impl NewTask {
    /// A child of init in the machine's namespaces.
    #[must_use]
    pub fn named(name: &str) -> NewTask {
        NewTask {
            parent: None,
            name: name.as_bytes().to_vec(),
            ns: None,
            fs: None,
            cgroup: None,
            creds: Credentials::root(),
            new_session: false,
            kernel_task: false,
        }
    }
}

/// What a task is put together from.
struct Parts {
    pid: Rc<Pid>,
    group: Rc<ThreadGroup>,
    hart: Hart,
    mm: Rc<Mm>,
    fs: Rc<FsInfo>,
    files: Rc<FdTable>,
    ns: Rc<Namespaces>,
    creds: Rc<Credentials>,
    cgroup: Rc<Cgroup>,
    comm: Vec<u8>,
    sigmask: SigSet,
    altstack: AltStack,
    nice: i32,
    sched_policy: u32,
    seccomp: Option<Rc<crate::seccomp::Filter>>,
    traced: bool,
}

impl Kernel {
    fn build_task(self: &Rc<Self>, id: u32, parts: Parts) -> Rc<Task> {
        let task_waker = Arc::new(TaskWaker {
            tid: id,
            queued: AtomicBool::new(false),
            woken: Arc::clone(&self.woken),
        });
        let sched = Entity::new_in(&parts.cgroup.sched.queue);
        let task = Rc::new(Task {
            id,
            kernel: Rc::downgrade(self),
            pid: RefCell::new(Rc::clone(&parts.pid)),
            group: Rc::clone(&parts.group),
            hart: RefCell::new(parts.hart),
            mm: RefCell::new(parts.mm),
            fs: RefCell::new(parts.fs),
            files: RefCell::new(parts.files),
            ns: RefCell::new(parts.ns),
            creds: RefCell::new(parts.creds),
            // Bounded with the number of tasks, and counted at the next charge that can be refused.
            charge: Cell::new(Some(mem::Charge::unchecked(
                &parts.cgroup.memory.account,
                mem::Kind::KernelStack,
                STACK_BYTES,
            ))),
            cgroup: RefCell::new(parts.cgroup),
            comm: Cell::new([0; 16]),
            state: Cell::new(TaskState::New),
            held: Cell::new(Held::No),
            sched,
            queued_at: Cell::new(self.clock.now()),
            yields: Cell::new(false),
            delayed_until: Cell::new(None),
            pages_above_high: Cell::new(0),
            call_cost: Cell::new(0),
            waker: Waker::from(Arc::clone(&task_waker)),
            task_waker,
            syscall: SyscallState::default(),
            sleep_timer: Cell::new(None),
            sleep: Cell::new(None),
            sigmask: Cell::new(parts.sigmask),
            saved_sigmask: Cell::new(None),
            pending: RefCell::new(Pending::default()),
            altstack: Cell::new(parts.altstack),
            robust_list: Cell::new(0),
            clear_child_tid: Cell::new(0),
            vfork_parent: RefCell::new(None),
            parent_death_signal: Cell::new(0),
            nice: Cell::new(parts.nice),
            sched_policy: Cell::new(parts.sched_policy),
            usage: Cell::new(Usage::default()),
            seccomp: RefCell::new(parts.seccomp),
            traced: Cell::new(parts.traced),
            start: self.clock.now(),
            exit_status: Cell::new(None),
        });
        task.set_comm(&parts.comm);
        parts.pid.set_task(&task);
        parts.group.threads.borrow_mut().push(Rc::clone(&task));
        self.tasks.borrow_mut().insert(id, Rc::clone(&task));
        self.forks.set(self.forks.get() + 1);
        task
    }

    /// Makes a task that has no program yet.
    pub fn new_task(self: &Rc<Self>, new: NewTask) -> Result<Rc<Task>> {
        let parent = new.parent.or_else(|| self.init());
        let ns = new.ns.unwrap_or_else(|| Rc::clone(&self.init_ns));
        let id = self.next_id()?;
        let pid = Pid::allocate(&ns.pid_for_children)?;
        let cgroup = new.cgroup.unwrap_or_else(|| Rc::clone(&self.cgroup_root));
        cgroup.fork(id)?;
        let process_group = match &parent {
            Some(parent) if !new.new_session => parent.process_group(),
            _ => ProcessGroup::new(Rc::clone(&pid), Session::new(Rc::clone(&pid))),
        };
        let group = ThreadGroup::new(GroupSeed {
            pid: Rc::clone(&pid),
            parent: parent.as_ref().map_or_else(Weak::new, Rc::downgrade),
            process_group,
            handlers: Rc::new(SigHandlers::default()),
            limits: Limits::initial(TASKS_MAX as u64 / 2),
            exit_signal: SIGCHLD,
            start: self.clock.now(),
            kernel_task: new.kernel_task,
        });
        let fs = new.fs.unwrap_or_else(|| FsInfo::new(ns.mnt.mounts.root()));
        let mut ns = ns;
        if !Rc::ptr_eq(&ns.pid, &ns.pid_for_children) {
            ns = Rc::new(Namespaces {
                pid: Rc::clone(&ns.pid_for_children),
                ..(*ns).clone()
            });
        }
        let task = self.build_task(
            id,
            Parts {
                pid,
                group: Rc::clone(&group),
                hart: Hart::default(),
                mm: Rc::clone(&self.empty_mm),
                fs,
                files: Rc::new(FdTable::new(Some(&self.payer))),
                ns,
                creds: Rc::new(new.creds),
                cgroup,
                comm: new.name,
                sigmask: SigSet::EMPTY,
                altstack: AltStack::NONE,
                nice: 0,
                sched_policy: 0,
                seccomp: None,
                traced: self.trace_new_tasks.get(),
            },
        );
        group.set_leader(Some(Rc::clone(&task)));
        self.adopt(parent, &group);
        Ok(task)
    }

    fn adopt(&self, parent: Option<Rc<ThreadGroup>>, child: &Rc<ThreadGroup>) {
        if let Some(parent) = parent {
            parent.children.borrow_mut().push(Rc::clone(child));
        }
        if child.is_ns_init() {
            let namespace = Rc::clone(child.pid().namespace());
            namespace.set_init(child);
        }
    }

    fn next_id(&self) -> Result<u32> {
        let tasks = self.tasks.borrow();
        if tasks.len() >= TASKS_MAX {
            return Err(Errno::EAGAIN);
        }
        let mut id = self.next_task_id.get();
        while tasks.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        self.next_task_id.set(id.wrapping_add(1));
        Ok(id)
    }

    /// Tasks of a user, for RLIMIT_NPROC.
    fn tasks_of(&self, uid: u32) -> u64 {
        let tasks = self.tasks.borrow();
        tasks
            .values()
            .filter(|task| task.creds.borrow().uid == uid && !task.is_dead())
            .count() as u64
    }

    fn check_task_limit(&self, parent: &Rc<Task>) -> Result<()> {
        let limit = parent.group.limits.soft(RLIMIT_NPROC);
        let creds = parent.creds();
        let exempt = creds.uid == 0
            || self.capable(parent, vfs::Capability::SysResource)
            || self.capable(parent, vfs::Capability::SysAdmin);
        if !exempt && self.tasks_of(creds.uid) >= limit {
            return Err(Errno::EAGAIN);
        }
        Ok(())
    }

    /// `clone(2)`: a child of `parent` that is about to run; the child's number as the parent sees it comes
    /// with [`Task::tid_in`].
    pub fn clone_task(self: &Rc<Self>, parent: &Rc<Task>, args: &CloneArgs) -> Result<Rc<Task>> {
        let flags = args.flags;
        check_flags(parent, args)?;
        self.check_task_limit(parent)?;
        let is_thread = flags & flag::THREAD != 0;
        let ns = self.namespaces_for_clone(parent, flags)?;
        let id = self.next_id()?;
        let pid = Pid::allocate(if is_thread {
            &ns.pid
        } else {
            &ns.pid_for_children
        })?;
        let cgroup = parent.cgroup();
        cgroup.fork(id)?;

        let mm = if flags & flag::VM != 0 {
            parent.mm()
        } else {
            match parent.mm().fork(&cgroup) {
                Ok(mm) => mm,
                Err(full) => {
                    cgroup.exit(id);
                    cgroup.release();
                    self.payer.refuse(full);
                    return Err(Errno::OVER_LIMIT);
                }
            }
        };
        let fs = if flags & flag::FS != 0 {
            parent.fs()
        } else {
            parent.fs().duplicate()
        };
        let fs = self.fs_for_clone(parent, &ns, fs);
        let files = if flags & flag::FILES != 0 {
            parent.files()
        } else {
            Rc::new(parent.files().fork())
        };
        let group = if is_thread {
            Rc::clone(&parent.group)
        } else {
            self.clone_group(parent, args, &pid)
        };
        let mut ns = ns;
        if !is_thread && !Rc::ptr_eq(&ns.pid, &ns.pid_for_children) {
            ns = Rc::new(Namespaces {
                pid: Rc::clone(&ns.pid_for_children),
                ..(*ns).clone()
            });
        }

        let mut hart = parent.hart.borrow().clone();
        hart.clear_reservation();
        hart.x[10] = 0;
        hart.pc = hart.pc.wrapping_add(4);
        if args.stack != 0 {
            hart.x[2] = args.stack;
        }
        if flags & flag::SETTLS != 0 {
            hart.x[4] = args.tls;
        }
        let keeps_altstack = flags & flag::VM == 0 || flags & flag::VFORK != 0;
        let creds = self.creds_for_clone(parent, &ns, flags);
        let task = self.build_task(
            id,
            Parts {
                pid,
                group: Rc::clone(&group),
                hart,
                mm,
                fs,
                files,
                ns,
                creds,
                cgroup,
                comm: parent.comm(),
                sigmask: parent.sigmask.get(),
                altstack: if keeps_altstack {
                    parent.altstack.get()
                } else {
                    AltStack::NONE
                },
                nice: parent.nice.get(),
                sched_policy: parent.sched_policy.get(),
                seccomp: parent.seccomp.borrow().clone(),
                traced: parent.traced.get(),
            },
        );
        if !is_thread {
            group.set_leader(Some(Rc::clone(&task)));
            self.adopt(group.parent(), &group);
        }
        if flags & flag::CHILD_CLEARTID != 0 {
            task.clear_child_tid.set(args.child_tid);
        }
        if flags & flag::CHILD_SETTID != 0 {
            let number = task.tid_in(&task.pid_ns());
            // As Linux: a bad address is the child's problem.
            let _ = task.write_u32(args.child_tid, number);
        }
        if flags & flag::PARENT_SETTID != 0 {
            let _ = parent.write_u32(args.parent_tid, task.tid_in(&parent.pid_ns()));
        }
        if flags & flag::VFORK != 0 {
            *task.vfork_parent.borrow_mut() = Some(Rc::clone(parent));
        }
        self.make_runnable(&task);
        Ok(task)
    }

    fn clone_group(&self, parent: &Rc<Task>, args: &CloneArgs, pid: &Rc<Pid>) -> Rc<ThreadGroup> {
        let flags = args.flags;
        let from = &parent.group;
        let handlers = Rc::clone(&from.handlers.borrow());
        let shares_handlers = flags & flag::SIGHAND != 0;
        let sibling = flags & flag::PARENT != 0;
        let group = ThreadGroup::new(GroupSeed {
            pid: Rc::clone(pid),
            parent: if sibling {
                from.parent.borrow().clone()
            } else {
                Rc::downgrade(from)
            },
            process_group: from.process_group(),
            handlers: if shares_handlers {
                handlers
            } else if flags & flag::CLEAR_SIGHAND != 0 {
                handlers.after_exec()
            } else {
                handlers.duplicate()
            },
            limits: from.limits.clone(),
            exit_signal: if sibling {
                from.exit_signal.get()
            } else {
                args.exit_signal
            },
            start: self.clock.now(),
            kernel_task: false,
        });
        group.dumpable.set(from.dumpable.get());
        group.oom_score_adj.set(from.oom_score_adj.get());
        group.timer_slack.set(from.timer_slack.get());
        group
    }

    /// Lets the parent of a vfork go on.
    pub(crate) fn end_vfork(&self, child: &Task) {
        let parent = child.vfork_parent.borrow_mut().take();
        if let Some(parent) = parent {
            parent.syscall.woken.set(true);
            parent.waker().wake_by_ref();
        }
    }
}

/// The combinations that `clone(2)` refuses.
fn check_flags(parent: &Task, args: &CloneArgs) -> Result<()> {
    let flags = args.flags;
    let has = |flag| flags & flag != 0;
    let newns = crate::namespaces::CLONE_NEWNS;
    let newuser = crate::namespaces::CLONE_NEWUSER;
    let newpid = crate::namespaces::CLONE_NEWPID;
    let bad = has(newns) && has(flag::FS)
        || has(newuser) && has(flag::FS)
        || has(flag::THREAD) && !has(flag::SIGHAND)
        || has(flag::SIGHAND) && !has(flag::VM)
        || has(flag::THREAD) && has(newuser | newpid)
        || has(flag::PARENT) && parent.group.is_ns_init()
        || has(flag::PIDFD) && has(flag::DETACHED)
        || args.exit_signal > SIGNAL_MAX;
    if bad { Err(Errno::EINVAL) } else { Ok(()) }
}
