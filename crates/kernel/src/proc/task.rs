//! `/proc/PID` and `/proc/PID/task/TID`: one table of what is in there.

use std::rc::{Rc, Weak};

use abi::{Errno, Result};
use vfs::file::OpenFlags;
use vfs::inode::{InodeRef, S_IFLNK};

use super::{ProcFs, fd, kind, links, maps, may_inspect, net, parse_pid, status};
use crate::Kernel;
use crate::pseudo::{Body, Content, Dir, Entry, Maker, ino_of};
use crate::task::Task;

/// A task as the files of its directory see it.
#[derive(Clone)]
pub struct TaskRef {
    /// The procfs.
    pub fs: Rc<ProcFs>,
    task: Weak<Task>,
    /// In `task/TID`: this thread alone, not the whole process.
    pub thread: bool,
}

/// What a generator gets.
pub struct View {
    /// The kernel.
    pub kernel: Rc<Kernel>,
    /// The procfs.
    pub fs: Rc<ProcFs>,
    /// The task (of a process: its leader, or a thread that is left).
    pub task: Rc<Task>,
    /// Only this thread is meant.
    pub thread: bool,
}

impl TaskRef {
    /// The task; `ESRCH` once it was reaped.
    pub fn view(&self) -> Result<View> {
        let kernel = self.fs.kernel()?;
        let task = self.task.upgrade().ok_or(Errno::ESRCH)?;
        if !kernel.tasks.borrow().contains_key(&task.id) {
            return Err(Errno::ESRCH);
        }
        Ok(View {
            kernel,
            fs: Rc::clone(&self.fs),
            task,
            thread: self.thread,
        })
    }

    /// Owner of the directory's files: who the task acts as, or root when it must not be dumped.
    fn owner(&self) -> (u32, u32) {
        match self.task.upgrade() {
            Some(task) if task.group.dumpable.get() == 1 => (task.creds().euid, task.creds().egid),
            _ => (0, 0),
        }
    }

    fn maker(&self) -> Maker {
        self.fs.maker_for(self.owner())
    }
}

impl View {
    /// Refuses who may not look behind the mode bits.
    pub fn inspect(&self) -> Result<()> {
        may_inspect(&self.kernel, &self.task)
    }
}

type Read = fn(&View) -> Result<Vec<u8>>;
type Write = fn(&View, &[u8]) -> Result<()>;

enum What {
    /// Text everybody with the mode bits may see.
    Text(Read),
    /// Text only for who may inspect the task: checked when it is opened.
    Private(Read),
    /// Text that can be written.
    ReadWrite(Read, Write),
    /// A magic link.
    Magic(links::Kind),
    /// A directory.
    Dir(fn(&TaskRef, u64) -> InodeRef),
    /// `mem`.
    Mem,
}

struct Spec {
    name: &'static str,
    perm: u32,
    /// Also in `task/TID`.
    per_thread: bool,
    what: What,
}

const fn text(name: &'static str, read: Read) -> Spec {
    Spec {
        name,
        perm: 0o444,
        per_thread: true,
        what: What::Text(read),
    }
}

const fn private(name: &'static str, perm: u32, read: Read) -> Spec {
    Spec {
        name,
        perm,
        per_thread: true,
        what: What::Private(read),
    }
}

const fn writable(name: &'static str, read: Read, write: Write) -> Spec {
    Spec {
        name,
        perm: 0o644,
        per_thread: true,
        what: What::ReadWrite(read, write),
    }
}

const fn magic(name: &'static str, kind: links::Kind) -> Spec {
    Spec {
        name,
        perm: 0o777,
        per_thread: true,
        what: What::Magic(kind),
    }
}

const FILES: &[Spec] = &[
    Spec {
        name: "task",
        perm: 0o555,
        per_thread: false,
        what: What::Dir(thread_dirs),
    },
    Spec {
        name: "fd",
        perm: 0o500,
        per_thread: true,
        what: What::Dir(fd::fd_dir),
    },
    Spec {
        name: "fdinfo",
        perm: 0o555,
        per_thread: true,
        what: What::Dir(fd::fdinfo_dir),
    },
    Spec {
        name: "ns",
        perm: 0o511,
        per_thread: true,
        what: What::Dir(links::ns_dir),
    },
    Spec {
        name: "net",
        perm: 0o555,
        per_thread: true,
        what: What::Dir(net::net_dir),
    },
    private("environ", 0o400, maps::environ),
    private("auxv", 0o400, maps::auxv),
    text("status", status::status),
    private("personality", 0o400, |_| Ok(b"00000000\n".to_vec())),
    text("limits", status::limits),
    Spec {
        perm: 0o644,
        ..text("sched", status::sched)
    },
    writable("comm", status::comm, status::write_comm),
    private("syscall", 0o400, status::syscall),
    text("cmdline", maps::cmdline),
    text("stat", status::stat),
    text("statm", status::statm),
    private("maps", 0o444, maps::maps),
    Spec {
        name: "mem",
        perm: 0o600,
        per_thread: true,
        what: What::Mem,
    },
    magic("cwd", links::Kind::Cwd),
    magic("root", links::Kind::Root),
    magic("exe", links::Kind::Exe),
    text("mounts", status::mounts),
    text("mountinfo", status::mountinfo),
    Spec {
        perm: 0o400,
        per_thread: false,
        ..private("mountstats", 0o400, status::mountstats)
    },
    private("smaps", 0o444, maps::smaps),
    private("smaps_rollup", 0o444, maps::smaps_rollup),
    text("wchan", |_| Ok(b"0".to_vec())),
    private("stack", 0o400, |_| Ok(Vec::new())),
    text("schedstat", status::schedstat),
    text("cpuset", |_| Ok(b"/\n".to_vec())),
    text("cgroup", status::cgroup),
    text("oom_score", status::oom_score),
    writable("oom_adj", status::oom_adj, status::write_oom_adj),
    writable(
        "oom_score_adj",
        status::oom_score_adj,
        status::write_oom_score_adj,
    ),
    writable(
        "coredump_filter",
        |_| Ok(b"00000033\n".to_vec()),
        |_, _| Ok(()),
    ),
    private("io", 0o400, status::io),
    writable("uid_map", status::uid_map, status::write_uid_map),
    writable("gid_map", status::gid_map, status::write_gid_map),
    writable("projid_map", |_| Ok(Vec::new()), |_, _| Err(Errno::EPERM)),
    writable("setgroups", status::setgroups, status::write_setgroups),
    Spec {
        per_thread: false,
        ..writable(
            "timerslack_ns",
            status::timer_slack,
            status::write_timer_slack,
        )
    },
    Spec {
        perm: 0o200,
        per_thread: false,
        ..writable("clear_refs", |_| Err(Errno::EINVAL), |_, _| Ok(()))
    },
    Spec {
        per_thread: true,
        ..text("children", status::children)
    },
];

/// Inode number of a file in the directory of a task.
#[must_use]
pub fn ino(tid: u32, name: &str) -> u64 {
    ino_of(
        name.as_bytes(),
        u64::from(tid).wrapping_mul(0x9e37_79b9_7f4a_7c15),
    )
}

/// `/proc/PID`.
#[must_use]
pub fn process_dir(fs: &Rc<ProcFs>, task: &Rc<Task>) -> InodeRef {
    dir(fs, task, false)
}

fn dir(fs: &Rc<ProcFs>, task: &Rc<Task>, thread: bool) -> InodeRef {
    let task_ref = TaskRef {
        fs: Rc::clone(fs),
        task: Rc::downgrade(task),
        thread,
    };
    let number = ino(task.tid(), if thread { "thread" } else { "" });
    task_ref
        .maker()
        .node(number, 0o555, Body::Dir(Box::new(TaskDir(task_ref))))
}

struct TaskDir(TaskRef);

impl TaskDir {
    fn specs(&self) -> impl Iterator<Item = &'static Spec> {
        let thread = self.0.thread;
        FILES.iter().filter(move |spec| {
            if thread {
                spec.per_thread
            } else {
                spec.name != "children"
            }
        })
    }
}

impl Dir for TaskDir {
    fn lookup(&self, name: &[u8]) -> Result<InodeRef> {
        let TaskDir(task) = self;
        let view = task.view().map_err(|_| Errno::ENOENT)?;
        let spec = self
            .specs()
            .find(|spec| spec.name.as_bytes() == name)
            .ok_or(Errno::ENOENT)?;
        let number = ino(view.task.tid(), spec.name) ^ u64::from(task.thread) << 39;
        let content = |read: Read, write: Option<Write>, private: bool| {
            Body::File(Rc::new(TaskFile {
                task: task.clone(),
                read,
                write,
                private,
            }))
        };
        let body = match spec.what {
            What::Text(read) => content(read, None, false),
            What::Private(read) => content(read, None, true),
            What::ReadWrite(read, write) => content(read, Some(write), false),
            What::Magic(kind) => Body::Magic(Box::new(links::TaskLink {
                task: task.clone(),
                kind,
            })),
            What::Dir(make) => return Ok(make(task, number)),
            What::Mem => maps::mem_body(task),
        };
        Ok(task.maker().node(number, spec.perm, body))
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let TaskDir(task) = self;
        let tid = task.view().map_err(|_| Errno::ENOENT)?.task.tid();
        let entry = |spec: &Spec| Entry {
            name: spec.name.as_bytes().to_vec(),
            ino: ino(tid, spec.name) ^ u64::from(task.thread) << 39,
            file_type: match spec.what {
                What::Magic(_) => S_IFLNK,
                What::Dir(_) => kind(true),
                _ => kind(false),
            },
        };
        Ok(self.specs().map(entry).collect())
    }
}

impl TaskRef {
    /// A directory of this task.
    pub fn sub_dir(&self, number: u64, perm: u32, dir: impl Dir) -> InodeRef {
        self.maker().node(number, perm, Body::Dir(Box::new(dir)))
    }

    /// A node in a directory of this task.
    pub fn node(&self, number: u64, perm: u32, body: Body) -> InodeRef {
        self.maker().node(number, perm, body)
    }

    /// A text file in a directory of this task.
    pub fn text_file(
        &self,
        number: u64,
        perm: u32,
        read: impl Fn(&View) -> Result<Vec<u8>> + 'static,
    ) -> InodeRef {
        let task = self.clone();
        self.maker()
            .read_only(number, perm, move || read(&task.view()?))
    }
}

struct TaskFile {
    task: TaskRef,
    read: Read,
    write: Option<Write>,
    private: bool,
}

impl Content for TaskFile {
    fn read(&self) -> Result<Vec<u8>> {
        (self.read)(&self.task.view()?)
    }

    fn write(&self, text: &[u8]) -> Result<()> {
        let write = self.write.ok_or(Errno::EINVAL)?;
        write(&self.task.view()?, text)
    }

    fn check_open(&self, _flags: OpenFlags) -> Result<()> {
        if self.private {
            self.task.view()?.inspect()
        } else {
            Ok(())
        }
    }
}

/// `/proc/PID/task`.
fn thread_dirs(task: &TaskRef, number: u64) -> InodeRef {
    task.sub_dir(number, 0o555, ThreadDirs(task.clone()))
}

struct ThreadDirs(TaskRef);

impl ThreadDirs {
    fn threads(&self) -> Result<Vec<Rc<Task>>> {
        let view = self.0.view()?;
        let mut threads = view.task.group.threads();
        if threads.is_empty() {
            // A zombie still has its leader.
            threads.push(Rc::clone(&view.task));
        }
        order::sort_by_key(&mut threads, |thread| thread.tid());
        Ok(threads)
    }
}

impl Dir for ThreadDirs {
    fn lookup(&self, name: &[u8]) -> Result<InodeRef> {
        let fs = &self.0.fs;
        let number = parse_pid(name).ok_or(Errno::ENOENT)?;
        let threads = self.threads()?;
        let thread = threads
            .iter()
            .find(|thread| thread.tid_in(&fs.ns) == number);
        thread
            .map(|thread| dir(fs, thread, true))
            .ok_or(Errno::ENOENT)
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let fs = &self.0.fs;
        let entry = |thread: &Rc<Task>| Entry {
            name: thread.tid_in(&fs.ns).to_string().into_bytes(),
            ino: ino(thread.tid(), "thread"),
            file_type: kind(true),
        };
        Ok(self.threads()?.iter().map(entry).collect())
    }
}
