//! The machine as a value: everything one kernel has, and how one is made.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use abi::{Errno, Result};
use clock::{Clock, Executor, Instant, Rng};
use mem::{Account, Payer};
use vfs::context::FsContext;
use vfs::inode::FileSystem;
use vfs::mount::{MountFlags, MountNamespace};
use vfs::registry::FsRegistry;
use vfs::{Capability, Credentials};

use crate::cgroup::Cgroup;
use crate::futex::FutexTable;
use crate::mm::{Common, Mm, VdsoImage};
use crate::namespaces::{Inums, Namespaces, NetStack, UserNs};
use crate::sched::RunQueue;
use crate::sched::load::LoadAverage;
use crate::strace::TraceSink;
use crate::syscalls::table::Table;
use crate::task::{NewTask, Task, ThreadGroup, WakeList};

/// Lines of the kernel log that are kept.
const LOG_LINES: usize = 1000;

/// What a machine is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Everything random follows from it.
    pub seed: u64,
    /// Memory of the machine in bytes (`MemTotal`); guests together get no more.
    pub memory: u64,
    /// Host name.
    pub hostname: String,
    /// What `uname -r` says.
    pub release: String,
    /// What is charged with the machine's memory, too: that of the playground.
    pub budget: Option<Rc<Account>>,
    /// The machine's disk. Without one, all its file systems are in memory.
    pub disk: Option<Rc<Account>>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            seed: 1,
            memory: 2 << 30,
            hostname: "node1".to_string(),
            release: "6.12.0-drydock".to_string(),
            budget: None,
            disk: None,
        }
    }
}

/// A line of the kernel log.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// When.
    pub at: Instant,
    /// Number since boot.
    pub sequence: u64,
    /// Text without line break.
    pub text: String,
}

/// The kernel of one machine.
pub struct Kernel {
    /// The machine's time.
    pub clock: Clock,
    /// Where its daemons run.
    pub executor: Executor,
    /// Everything random.
    pub rng: Rc<Rng>,
    /// As it was made.
    pub config: Config,
    /// File system types.
    pub registry: FsRegistry,
    /// Gives out inode numbers of namespaces.
    pub inums: Inums,
    /// The root of the cgroup tree.
    pub cgroup_root: Rc<Cgroup>,
    /// The network of the machine.
    pub net: Rc<NetStack>,
    /// The namespaces of the machine itself.
    pub init_ns: Rc<Namespaces>,
    /// When the machine began.
    pub boot: Instant,
    /// Objects of other subsystems, one per Rust type ([`Kernel::extension`]).
    extensions: vfs::inode::Attachments,
    pub(crate) syscall_table: Table,
    pub(crate) tasks: RefCell<BTreeMap<u32, Rc<Task>>>,
    pub(crate) next_task_id: Cell<u32>,
    init: RefCell<Option<Rc<ThreadGroup>>>,
    pub(crate) current: RefCell<Option<Rc<Task>>>,
    pub(crate) run_queue: RunQueue,
    pub(crate) woken: WakeList,
    pub(crate) futexes: FutexTable,
    pub(crate) vdso: VdsoImage,
    pub(crate) empty_mm: Rc<Mm>,
    pub(crate) mm_common: Rc<Common>,
    /// Evictions of decoded code that all processes have heard of.
    pub(crate) evictions_seen: Cell<u64>,
    /// Who pays for what is touched now: the task whose system call it is, or the machine.
    pub payer: Rc<Payer>,
    /// Instructions retired since boot.
    pub(crate) instructions: Cell<u64>,
    /// Processor time per instruction, in 65536ths of a nanosecond, as the last turns showed it.
    pub(crate) pace: Cell<u64>,
    /// How many could run, on average.
    pub(crate) load: LoadAverage,
    /// [`Account::above_high`] at the last look.
    pub(crate) above_high_seen: Cell<u64>,
    /// Instructions, and what else costs as many, of the slice that is being run.
    pub(crate) slice_used: Cell<u64>,
    /// Instructions of the last turn.
    pub(crate) turn_used: Cell<u64>,
    /// Time in which nothing ran, in nanoseconds.
    pub idle_ns: Cell<u64>,
    /// Tasks ever made (`processes` of /proc/stat).
    pub forks: Cell<u64>,
    /// Context switches (`ctxt` of /proc/stat).
    pub switches: Cell<u64>,
    /// Processes that are stopped: while there is none, no group can be orphaned in a way that counts.
    pub(crate) stopped_processes: Cell<u32>,
    pub(crate) scratch: RefCell<Vec<u8>>,
    log: RefCell<VecDeque<LogLine>>,
    log_sequence: Cell<u64>,
    /// Woken when a line is logged.
    pub log_wait: clock::WaitQueue,
    logged_calls: RefCell<BTreeSet<u64>>,
    pub(crate) trace_sink: RefCell<Option<TraceSink>>,
    /// New tasks print their system calls.
    pub trace_new_tasks: Cell<bool>,
    oops: RefCell<Option<String>>,
    /// It has stopped itself, and what its owner is to do now.
    pub(crate) power: Cell<Option<crate::power::Power>>,
    /// Somebody has asked for an inotify instance: reads and writes look for watches.
    pub(crate) watched: Cell<bool>,
    pub(crate) turns: Cell<u64>,
}

impl Kernel {
    /// A machine whose root file system is `root`. Its init is a kernel task with pid 1 that adopts and
    /// reaps orphans.
    #[must_use]
    pub fn new(
        clock: Clock,
        executor: Executor,
        config: Config,
        root: &Rc<dyn FileSystem>,
    ) -> Rc<Kernel> {
        let mounts = MountNamespace::new(root, b"rootfs", MountFlags::empty());
        let cgroup_root = Cgroup::new_root(config.budget.as_ref());
        let payer = Payer::new(&cgroup_root.memory.account);
        let mm_common = Common::new(&payer);
        let net = NetStack::new(&clock, config.seed);
        let init_ns = Rc::new(Namespaces::initial(
            mounts,
            &cgroup_root,
            config.hostname.as_bytes(),
            &net,
        ));
        init_ns.net.loopback_up();
        // As systemd sets it on every host: anybody may ping.
        let everybody = "0\t2147483647".to_string();
        init_ns
            .net
            .set_sysctl("net/ipv4/ping_group_range", everybody);
        let _ = init_ns.net.payer.set(Rc::clone(&payer));
        cgroup_root.memory.account.set_max(Some(config.memory));
        let vdso = VdsoImage::new(&clock);
        let boot = clock.now();
        let kernel = Rc::new(Kernel {
            boot,
            clock,
            executor,
            rng: Rc::new(Rng::new(config.seed)),
            registry: FsRegistry::new(),
            inums: Inums::default(),
            empty_mm: Mm::new(&cgroup_root, &mm_common),
            mm_common,
            evictions_seen: Cell::new(0),
            payer,
            cgroup_root,
            net,
            init_ns,
            extensions: vfs::inode::Attachments::default(),
            syscall_table: Table::default(),
            tasks: RefCell::default(),
            next_task_id: Cell::new(1),
            init: RefCell::new(None),
            current: RefCell::new(None),
            run_queue: RunQueue::default(),
            woken: WakeList::default(),
            futexes: FutexTable::default(),
            vdso,
            instructions: Cell::new(0),
            pace: Cell::new(crate::turn::PACE_UNIT),
            load: LoadAverage::new(boot),
            above_high_seen: Cell::new(0),
            slice_used: Cell::new(0),
            turn_used: Cell::new(0),
            idle_ns: Cell::new(0),
            forks: Cell::new(0),
            switches: Cell::new(0),
            stopped_processes: Cell::new(0),
            scratch: RefCell::default(),
            log: RefCell::default(),
            log_sequence: Cell::new(0),
            log_wait: clock::WaitQueue::new(),
            logged_calls: RefCell::default(),
            trace_sink: RefCell::new(None),
            trace_new_tasks: Cell::new(false),
            oops: RefCell::new(None),
            power: Cell::new(None),
            watched: Cell::new(false),
            turns: Cell::new(0),
            config,
        });
        crate::dev::init(&kernel);
        crate::os_impl::boot::register(&kernel);
        kernel.make_init();
        kernel
    }

    fn make_init(self: &Rc<Self>) {
        match self.new_kernel_task(None, "init") {
            Ok(init) => {
                self.init_ns.pid.set_init(&init.group);
                *self.init.borrow_mut() = Some(Rc::clone(&init.group));
            }
            Err(errno) => self.oops(&format!("no init: {errno}")),
        }
    }

    /// The process with pid 1.
    #[must_use]
    pub fn init(&self) -> Option<Rc<ThreadGroup>> {
        self.init.borrow().clone()
    }

    /// A task without user code that shows in `ps`: a daemon of the machine.
    pub fn new_kernel_task(
        self: &Rc<Self>,
        parent: Option<&Rc<ThreadGroup>>,
        name: &str,
    ) -> Result<Rc<Task>> {
        let task = self.new_task(NewTask {
            parent: parent.cloned().or_else(|| self.init()),
            kernel_task: true,
            new_session: true,
            ..NewTask::named(name)
        })?;
        Ok(task)
    }

    /// The task whose system call is being run, or whose program is.
    #[must_use]
    pub fn current(&self) -> Option<Rc<Task>> {
        self.current.borrow().clone()
    }

    /// The task with that global number ([`Task::tid`]).
    #[must_use]
    pub fn task(&self, tid: u32) -> Option<Rc<Task>> {
        self.init_ns.pid.task(tid)
    }

    /// The object of type `T` another subsystem keeps in this machine, made when there is none.
    pub fn extension<T: 'static>(&self, new: impl FnOnce() -> T) -> Rc<T> {
        self.extensions.get_or_insert_with(new)
    }

    /// Runs `f` with the view of the file system that `task` has.
    pub fn with_fs<R>(&self, task: &Task, f: impl FnOnce(&FsContext<'_>) -> R) -> R {
        let fs = task.fs();
        let (root, cwd) = (fs.root(), fs.cwd());
        let (creds, ns) = (crate::namespaces::unshare::fs_credentials(task), task.ns());
        f(&FsContext {
            root: &root,
            cwd: &cwd,
            creds: &creds,
            umask: fs.umask.get(),
            clock: &self.clock,
            namespace: &ns.mnt.mounts,
        })
    }

    /// Runs `f` with the view of the machine itself: its root, as root, umask 0.
    pub fn with_host_fs<R>(&self, f: impl FnOnce(&FsContext<'_>) -> R) -> R {
        let namespace = &self.init_ns.mnt.mounts;
        let root = namespace.root();
        f(&FsContext {
            root: &root,
            cwd: &root,
            creds: &Credentials::root(),
            umask: 0,
            clock: &self.clock,
            namespace,
        })
    }

    /// True when `task` has a capability over what `user_ns` owns.
    #[must_use]
    pub fn capable_in(&self, task: &Task, user_ns: &Rc<UserNs>, capability: Capability) -> bool {
        let creds = task.creds();
        user_ns.allows(
            &task.ns().user,
            creds.euid,
            creds.effective,
            capability as u32,
        )
    }

    /// True when `task` has a capability over `other`.
    #[must_use]
    pub fn capable_over(&self, task: &Task, other: &Task, capability: Capability) -> bool {
        self.capable_in(task, &other.ns().user, capability)
    }

    /// True when `task` has a capability in the machine's own user namespace.
    #[must_use]
    pub fn capable(&self, task: &Task, capability: Capability) -> bool {
        self.capable_in(task, &self.init_ns.user, capability)
    }

    /// `EPERM` unless `task` has a capability in the machine's own user namespace.
    pub fn require(&self, task: &Task, capability: Capability) -> Result<()> {
        if self.capable(task, capability) {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }

    /// A buffer for data on its way between files and guest memory. Taken out so that nobody is in the way
    /// of a re-entrant use; give it back with [`Kernel::put_scratch`].
    #[must_use]
    pub fn take_scratch(&self, len: usize) -> Vec<u8> {
        let mut buf = std::mem::take(&mut *self.scratch.borrow_mut());
        if buf.len() < len {
            buf.resize(len, 0);
        }
        buf
    }

    /// Gives the buffer of [`Kernel::take_scratch`] back.
    pub fn put_scratch(&self, buf: Vec<u8>) {
        // A large one is not kept: it was a rare call.
        if buf.len() <= 256 * 1024 {
            *self.scratch.borrow_mut() = buf;
        }
    }

    /// Writes a line to the kernel log (`dmesg`).
    pub fn log(&self, text: &str) {
        let sequence = self.log_sequence.get();
        self.log_sequence.set(sequence + 1);
        let mut log = self.log.borrow_mut();
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(LogLine {
            at: self.clock.now(),
            sequence,
            text: text.to_string(),
        });
        drop(log);
        self.log_wait.wake_all();
    }

    /// As [`Kernel::log`], but only the first time for `key`.
    pub(crate) fn log_once(&self, key: u64, text: impl FnOnce() -> String) {
        let mut known = self.logged_calls.borrow_mut();
        if known.len() < 4096 && known.insert(key) {
            drop(known);
            self.log(&text());
        }
    }

    /// The kernel log, oldest line first.
    #[must_use]
    pub fn log_lines(&self) -> Vec<LogLine> {
        self.log.borrow().iter().cloned().collect()
    }

    /// An invariant is broken: the machine stops here and says why.
    pub fn oops(&self, text: &str) {
        let text = self.describe_crash(text);
        self.log(&format!("oops: {text}"));
        self.oops.borrow_mut().get_or_insert(text);
    }

    /// The text of a crash, with what is needed to make it happen again.
    #[must_use]
    pub fn describe_crash(&self, text: &str) -> String {
        format!(
            "{text} (seed {}, turn {})",
            self.config.seed,
            self.turns.get()
        )
    }

    /// Why the machine is dead.
    #[must_use]
    pub fn crashed(&self) -> Option<String> {
        self.oops.borrow().clone()
    }

    /// Switches the machine off: everything ends without a signal, and the circles of references that
    /// tasks and their processes are go.
    pub fn power_off(&self) {
        self.executor.clear();
        let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        for task in tasks.values() {
            self.forget_task(task);
        }
        *self.init.borrow_mut() = None;
    }
}
