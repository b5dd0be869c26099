//! System V shared memory (`shmget(2)`, `sysvipc(7)`): segments of an IPC namespace.
//!
//! A segment's pages are shared by whoever has it mapped; how many have is the number of references to
//! them. A removed segment stays until the last one detaches.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::Kernel;
use crate::mm::{PAGE, SharedPages, page_up};
use crate::namespaces::{IpcNs, Namespaces, Pid};
use crate::sysv_perm::{self, IPC_CREAT, IPC_EXCL, IPC_PRIVATE};
use crate::task::Task;
use abi::{Errno, Result};

/// Mode bit of a removed segment that somebody still has.
const SHM_DEST: u32 = 0o1000;

/// Identifier of a segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ShmId(pub i32);

/// What somebody wants to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Attach for reading, look at.
    Read,
    /// Attach for reading and writing.
    Write,
    /// Change or remove.
    Owner,
}

/// A segment.
pub struct Segment {
    /// Identifier.
    pub id: ShmId,
    key: Cell<i32>,
    size: u64,
    /// The memory.
    pub pages: Rc<SharedPages>,
    uid: Cell<u32>,
    gid: Cell<u32>,
    creator: (u32, u32),
    mode: Cell<u32>,
    removed: Cell<bool>,
    creator_pid: Rc<Pid>,
    last_pid: RefCell<Option<Rc<Pid>>>,
    attach_time: Cell<u64>,
    detach_time: Cell<u64>,
    change_time: Cell<u64>,
}

/// The segments of a namespace.
#[derive(Default)]
pub struct Segments {
    by_id: RefCell<BTreeMap<ShmId, Rc<Segment>>>,
    next: Cell<i32>,
}

impl Segments {
    /// Those of a namespace.
    #[must_use]
    pub fn of(ns: &IpcNs) -> Rc<Segments> {
        ns.state.get_or_insert_with(Segments::default)
    }

    /// `shmget(2)`.
    pub fn get(
        &self,
        kernel: &Kernel,
        task: &Task,
        key: i32,
        size: u64,
        flags: u32,
    ) -> Result<i32> {
        self.collect();
        let known = self
            .by_id
            .borrow()
            .values()
            .find(|segment| segment.key.get() == key)
            .cloned();
        if let Some(segment) = known.filter(|_| key != IPC_PRIVATE) {
            if flags & IPC_CREAT != 0 && flags & IPC_EXCL != 0 {
                return Err(Errno::EEXIST);
            }
            if size > segment.size {
                return Err(Errno::EINVAL);
            }
            if flags & 0o444 != 0 {
                segment.check(
                    kernel,
                    task,
                    if flags & 0o222 != 0 {
                        Access::Write
                    } else {
                        Access::Read
                    },
                )?;
            }
            return Ok(segment.id.0);
        }
        if key != IPC_PRIVATE && flags & IPC_CREAT == 0 {
            return Err(Errno::ENOENT);
        }
        let limits = &task.ns().ipc;
        if size == 0 || size > limits.shm_max.get() || size > 1 << 46 {
            return Err(Errno::EINVAL);
        }
        if self.by_id.borrow().len() as u64 >= limits.shm_count_max.get() {
            return Err(Errno::ENOSPC);
        }
        let id = ShmId(self.next.get());
        self.next.set(id.0.checked_add(1).unwrap_or(0));
        let creds = task.creds();
        let segment = Rc::new(Segment {
            id,
            key: Cell::new(key),
            size,
            pages: SharedPages::new(),
            uid: Cell::new(creds.euid),
            gid: Cell::new(creds.egid),
            creator: (creds.euid, creds.egid),
            mode: Cell::new(flags & 0o777),
            removed: Cell::new(false),
            creator_pid: task.group.pid(),
            last_pid: RefCell::new(None),
            attach_time: Cell::new(0),
            detach_time: Cell::new(0),
            change_time: Cell::new(kernel.clock.unix_seconds()),
        });
        self.by_id.borrow_mut().insert(id, segment);
        Ok(id.0)
    }

    /// The segment with that identifier; `EIDRM` is for those removed in the meantime, which nobody can
    /// tell from ones that never were.
    pub fn find(&self, id: ShmId) -> Result<Rc<Segment>> {
        self.by_id.borrow().get(&id).cloned().ok_or(Errno::EINVAL)
    }

    /// The segment whose memory this is.
    #[must_use]
    pub fn with_pages(&self, pages: &Rc<SharedPages>) -> Option<Rc<Segment>> {
        self.by_id
            .borrow()
            .values()
            .find(|segment| Rc::ptr_eq(&segment.pages, pages))
            .cloned()
    }

    /// The segment at a place in the table (`SHM_STAT`).
    #[must_use]
    pub fn at_index(&self, index: usize) -> Option<Rc<Segment>> {
        self.by_id.borrow().values().nth(index).cloned()
    }

    /// Highest place in use.
    #[must_use]
    pub fn highest_index(&self) -> u64 {
        (self.by_id.borrow().len() as u64).saturating_sub(1)
    }

    /// Number, pages in all and resident pages.
    #[must_use]
    pub fn totals(&self) -> (u64, u64, u64) {
        let segments = self.by_id.borrow();
        let pages = segments
            .values()
            .map(|segment| segment.mapped_len() / PAGE)
            .sum();
        let resident = segments
            .values()
            .map(|segment| segment.pages.resident())
            .sum();
        (segments.len() as u64, pages, resident)
    }

    /// `IPC_RMID`: gone when nobody has it mapped any more; nobody finds it by key from now on.
    pub fn remove(&self, segment: &Segment) {
        segment.removed.set(true);
        segment.key.set(IPC_PRIVATE);
    }

    /// Frees removed segments that nobody has.
    pub fn collect(&self) {
        self.by_id
            .borrow_mut()
            .retain(|_, segment| !segment.removed.get() || segment.attach_count() > 0);
    }
}

impl Segment {
    /// Bytes of a mapping.
    #[must_use]
    pub fn mapped_len(&self) -> u64 {
        page_up(self.size)
    }

    /// How many have it mapped.
    #[must_use]
    pub fn attach_count(&self) -> u64 {
        Rc::strong_count(&self.pages) as u64 - 1
    }

    /// `EACCES` or `EPERM` for who may not.
    pub fn check(&self, kernel: &Kernel, task: &Task, access: Access) -> Result<()> {
        let owner = (self.uid.get(), self.gid.get());
        sysv_perm::check(kernel, task, owner, self.creator, self.mode.get(), access)
    }

    /// Somebody mapped it.
    pub fn attached(&self, kernel: &Kernel, task: &Task) {
        self.attach_time.set(kernel.clock.unix_seconds());
        *self.last_pid.borrow_mut() = Some(task.group.pid());
    }

    /// Somebody unmapped it.
    pub fn detached(&self, kernel: &Kernel, task: &Task) {
        self.detach_time.set(kernel.clock.unix_seconds());
        *self.last_pid.borrow_mut() = Some(task.group.pid());
    }

    /// `IPC_SET`.
    pub fn set(&self, kernel: &Kernel, uid: u32, gid: u32, mode: u32) {
        self.uid.set(uid);
        self.gid.set(gid);
        self.mode.set(mode & 0o777);
        self.change_time.set(kernel.clock.unix_seconds());
    }

    fn shown_mode(&self) -> u32 {
        self.mode.get() | if self.removed.get() { SHM_DEST } else { 0 }
    }

    /// `struct shmid64_ds` as somebody in these namespaces sees it.
    #[must_use]
    pub fn stat(&self, ns: &Namespaces) -> [u8; 112] {
        let mut raw = [0; 112];
        let mut put = |at: usize, bytes: &[u8]| raw[at..at + bytes.len()].copy_from_slice(bytes);
        let (user, pids) = (&ns.user, &ns.pid);
        put(0, &self.key.get().to_le_bytes());
        put(4, &user.shown_uid(self.uid.get()).to_le_bytes());
        put(8, &user.shown_gid(self.gid.get()).to_le_bytes());
        put(12, &user.shown_uid(self.creator.0).to_le_bytes());
        put(16, &user.shown_gid(self.creator.1).to_le_bytes());
        put(20, &self.shown_mode().to_le_bytes());
        put(48, &self.size.to_le_bytes());
        put(56, &self.attach_time.get().to_le_bytes());
        put(64, &self.detach_time.get().to_le_bytes());
        put(72, &self.change_time.get().to_le_bytes());
        put(80, &self.creator_pid.in_ns(pids).to_le_bytes());
        let last = self
            .last_pid
            .borrow()
            .as_ref()
            .map_or(0, |pid| pid.in_ns(pids));
        put(84, &last.to_le_bytes());
        put(88, &self.attach_count().to_le_bytes());
        raw
    }
}

/// `/proc/sysvipc/shm`.
#[must_use]
pub fn proc_shm(kernel: &Rc<Kernel>) -> String {
    let ns = kernel
        .current()
        .map_or_else(|| Rc::clone(&kernel.init_ns), |task| task.ns());
    let mut text = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n".to_string();
    for segment in Segments::of(&ns.ipc).by_id.borrow().values() {
        let last = segment
            .last_pid
            .borrow()
            .as_ref()
            .map_or(0, |pid| pid.in_ns(&ns.pid));
        text.push_str(&format!(
            "{:>10} {:>10}  {:>4o} {:>21} {:>5} {last:>5}  {:>5} {:>5} {:>5} {:>5} {:>5} {:>10} {:>10} {:>10} {:>21} {:>21}\n",
            segment.key.get(),
            segment.id.0,
            segment.shown_mode(),
            segment.size,
            segment.creator_pid.in_ns(&ns.pid),
            segment.attach_count(),
            ns.user.shown_uid(segment.uid.get()),
            ns.user.shown_gid(segment.gid.get()),
            ns.user.shown_uid(segment.creator.0),
            ns.user.shown_gid(segment.creator.1),
            segment.attach_time.get(),
            segment.detach_time.get(),
            segment.change_time.get(),
            segment.pages.resident() * PAGE,
            0,
        ));
    }
    text
}
