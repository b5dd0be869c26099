//! The seam: crate `os` for this kernel ([`KernelOs`]).
//!
//! - this file: the verbs about files and mounts
//! - `tasks.rs`: clone, credentials, exec, wait
//! - [`handle`]: open files as daemons hold them, pipes, terminals, sockets
//! - [`boot`]: the mounts of a machine
//!
//! Daemons act as root of the machine's own namespaces. Paths of a `View::Task` are resolved in that
//! task's root directory and mount namespace, with root's rights, as through `/proc/PID/root`.

pub mod boot;
pub mod handle;
mod network;
mod tasks;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll};

use clock::{Clock, Executor, Rng};
use os::{
    CloneSpec, DirEntry, Errno, ExitStatus, Handle, Listener, Metadata, MountFlags, NewPty,
    OpenFlags, Os, Result, StatFs, TaskId, TimeSpec, View, WindowSize,
};
use vfs::FsContext;
use vfs::context::{TimeChange, UMOUNT_DETACH};
use vfs::file::{OpenFile, OpenFlags as VfsFlags};
use vfs::inode::Timestamp;

use crate::kernel::Kernel;
use crate::task::{Task, ThreadGroup};
use handle::OsHandle;

/// The emulated kernel as daemons see it.
pub struct KernelOs {
    kernel: Rc<Kernel>,
    /// Processes made by [`Os::clone_task`] that were not waited for yet, by their number.
    children: RefCell<BTreeMap<u32, Rc<ThreadGroup>>>,
}

impl KernelOs {
    /// The seam of `kernel`.
    #[must_use]
    pub fn new(kernel: Rc<Kernel>) -> Rc<KernelOs> {
        Rc::new(KernelOs {
            kernel,
            children: RefCell::default(),
        })
    }

    /// The kernel behind it, for who composes machines.
    #[must_use]
    pub fn kernel(&self) -> &Rc<Kernel> {
        &self.kernel
    }

    /// The task with that number; `ESRCH` when there is none or it has ended.
    fn task(&self, id: TaskId) -> Result<Rc<Task>> {
        let task = self.kernel.task(id.0).filter(|task| !task.is_dead());
        task.ok_or(Errno::ESRCH)
    }

    /// Runs `f` with the file system as `view` has it, as root with umask 0. What depends on who looks
    /// (`/proc/self`, settings of a network namespace, what a new procfs shows) is as the task of the view
    /// has it.
    fn with_view<R>(&self, view: View, f: impl FnOnce(&FsContext<'_>) -> Result<R>) -> Result<R> {
        let id = match view {
            View::Host => return self.kernel.with_host_fs(f),
            View::Task(id) => id,
        };
        let task = self.task(id)?;
        let (root, ns) = (task.fs().root(), task.ns());
        acting(&self.kernel, Some(&task), || {
            f(&FsContext {
                root: &root,
                cwd: &root,
                creds: &vfs::Credentials::root(),
                umask: 0,
                clock: &self.kernel.clock,
                namespace: &ns.mnt.mounts,
            })
        })
    }

    /// A handle of a file of `view`.
    fn handle(&self, view: View, file: Rc<OpenFile>) -> Rc<dyn Handle> {
        let acting = match view {
            View::Host => None,
            View::Task(id) => self.kernel.task(id.0),
        };
        OsHandle::acting_as(&self.kernel, acting.as_ref(), file)
    }
}

/// Runs `f` with `task` as the one whose namespaces count.
pub(crate) fn acting<R>(kernel: &Kernel, task: Option<&Rc<Task>>, f: impl FnOnce() -> R) -> R {
    let Some(task) = task else { return f() };
    let before = kernel.current.replace(Some(Rc::clone(task)));
    let result = f();
    let acting = kernel.current.replace(before);
    drop(acting);
    result
}

fn open_flags(flags: OpenFlags) -> VfsFlags {
    let mut out = match (flags.read, flags.write) {
        (true, true) => VfsFlags::RDWR,
        (false, true) => VfsFlags::WRONLY,
        _ => VfsFlags::empty(),
    };
    for (on, flag) in [
        (flags.create, VfsFlags::CREAT),
        (flags.exclusive, VfsFlags::EXCL),
        (flags.truncate, VfsFlags::TRUNC),
        (flags.append, VfsFlags::APPEND),
        (flags.no_follow, VfsFlags::NOFOLLOW),
    ] {
        if on {
            out |= flag;
        }
    }
    out | VfsFlags::NONBLOCK | VfsFlags::NOCTTY
}

fn time(time: Timestamp) -> TimeSpec {
    TimeSpec {
        sec: time.sec,
        nsec: time.nsec,
    }
}

/// Attributes as the seam has them.
pub(crate) fn metadata(attr: &vfs::inode::Attr, dev: u64) -> Metadata {
    Metadata {
        dev,
        ino: attr.ino,
        mode: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        size: attr.size,
        blocks: attr.blocks,
        atime: time(attr.atime),
        mtime: time(attr.mtime),
        ctime: time(attr.ctime),
    }
}

fn mount_flags(flags: MountFlags) -> vfs::mount::MountFlags {
    vfs::mount::MountFlags::from_bits_retain(flags.0 as u32)
}

impl Os for KernelOs {
    fn clock(&self) -> Clock {
        self.kernel.clock.clone()
    }

    fn executor(&self) -> Executor {
        self.kernel.executor.clone()
    }

    fn rng(&self) -> Rc<Rng> {
        Rc::clone(&self.kernel.rng)
    }

    fn running_and_blocked(&self) -> (usize, usize) {
        let tasks = self.kernel.tasks.borrow();
        let count = |wanted| {
            let letters = tasks.values().map(|task| task.state_letter());
            letters.filter(|&letter| letter == wanted).count()
        };
        (count('R'), count('D'))
    }

    fn open(&self, view: View, path: &[u8], flags: OpenFlags, mode: u32) -> Result<Rc<dyn Handle>> {
        let file = self.with_view(view, |fs| fs.open(None, path, open_flags(flags), mode))?;
        Ok(self.handle(view, file))
    }

    fn metadata(&self, view: View, path: &[u8], follow: bool) -> Result<Metadata> {
        let stat = self.with_view(view, |fs| fs.stat(None, path, follow))?;
        Ok(metadata(&stat.attr, stat.dev))
    }

    fn read_dir(&self, view: View, path: &[u8]) -> Result<Vec<DirEntry>> {
        let file = self.with_view(view, |fs| fs.open(None, path, VfsFlags::DIRECTORY, 0))?;
        let mut entries = Vec::new();
        file.file.read_dir(0, &mut |entry| {
            entries.push(DirEntry {
                name: entry.name.to_vec(),
                ino: entry.ino,
                file_type: entry.file_type,
            });
            true
        })?;
        Ok(entries)
    }

    fn read_link(&self, view: View, path: &[u8]) -> Result<Vec<u8>> {
        self.with_view(view, |fs| fs.read_link(None, path))
    }

    fn canonicalize(&self, view: View, path: &[u8]) -> Result<Vec<u8>> {
        self.with_view(view, |fs| {
            Ok(fs.absolute_name(&fs.resolve(None, path, true)?))
        })
    }

    fn mkdir(&self, view: View, path: &[u8], mode: u32) -> Result<()> {
        self.with_view(view, |fs| fs.mkdir(None, path, mode).map(drop))
    }

    fn mknod(&self, view: View, path: &[u8], mode: u32, rdev: u64) -> Result<()> {
        self.with_view(view, |fs| fs.mknod(None, path, mode, rdev).map(drop))
    }

    fn symlink(&self, view: View, target: &[u8], path: &[u8]) -> Result<()> {
        self.with_view(view, |fs| fs.symlink(target, None, path).map(drop))
    }

    fn link(&self, view: View, old: &[u8], new: &[u8]) -> Result<()> {
        self.with_view(view, |fs| fs.link(None, old, None, new, false))
    }

    fn unlink(&self, view: View, path: &[u8]) -> Result<()> {
        self.with_view(view, |fs| fs.unlink(None, path))
    }

    fn rmdir(&self, view: View, path: &[u8]) -> Result<()> {
        self.with_view(view, |fs| fs.rmdir(None, path))
    }

    fn rename(&self, view: View, old: &[u8], new: &[u8]) -> Result<()> {
        self.with_view(view, |fs| fs.rename(None, old, None, new, 0))
    }

    fn chmod(&self, view: View, path: &[u8], mode: u32) -> Result<()> {
        self.with_view(view, |fs| fs.chmod(None, path, mode))
    }

    fn lchown(&self, view: View, path: &[u8], uid: u32, gid: u32) -> Result<()> {
        self.with_view(view, |fs| fs.chown(None, path, Some(uid), Some(gid), false))
    }

    fn set_times(&self, view: View, path: &[u8], atime: TimeSpec, mtime: TimeSpec) -> Result<()> {
        let at = |time: TimeSpec| {
            TimeChange::At(Timestamp {
                sec: time.sec,
                nsec: time.nsec,
            })
        };
        self.with_view(view, |fs| {
            fs.utimens(None, path, at(atime), at(mtime), false)
        })
    }

    fn set_xattr(&self, view: View, path: &[u8], name: &[u8], value: &[u8]) -> Result<()> {
        self.with_view(view, |fs| {
            fs.set_xattr(&fs.resolve(None, path, false)?, name, value, 0)
        })
    }

    fn get_xattr(&self, view: View, path: &[u8], name: &[u8]) -> Result<Vec<u8>> {
        self.with_view(view, |fs| {
            fs.get_xattr(&fs.resolve(None, path, false)?, name)
        })
    }

    fn list_xattr(&self, view: View, path: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.with_view(view, |fs| fs.list_xattr(&fs.resolve(None, path, false)?))
    }

    fn statfs(&self, view: View, path: &[u8]) -> Result<StatFs> {
        let stat = self.with_view(view, |fs| fs.statfs(None, path))?;
        Ok(StatFs {
            magic: stat.magic,
            bsize: stat.bsize,
            blocks: stat.blocks,
            bfree: stat.bfree,
        })
    }

    fn mount(
        &self,
        view: View,
        source: &[u8],
        target: &[u8],
        fstype: &str,
        flags: MountFlags,
        data: &[u8],
    ) -> Result<()> {
        self.with_view(view, |fs| {
            fs.mount(
                source,
                target,
                fstype.as_bytes(),
                mount_flags(flags),
                data,
                &self.kernel.registry,
            )
        })
    }

    fn umount(&self, view: View, target: &[u8], detach: bool) -> Result<()> {
        self.with_view(view, |fs| {
            fs.umount(target, if detach { UMOUNT_DETACH } else { 0 })
        })
    }

    fn pivot_root(&self, task: TaskId, new_root: &[u8], put_old: &[u8]) -> Result<()> {
        let id = task;
        let task = self.task(id)?;
        let (old, new) = self.with_view(View::Task(id), |fs| fs.pivot_root(new_root, put_old))?;
        self.kernel.root_was_pivoted(&task.ns().mnt, &old, &new);
        let fs = task.fs();
        *fs.root.borrow_mut() = new.clone();
        *fs.cwd.borrow_mut() = new;
        Ok(())
    }

    fn clone_task(&self, spec: &CloneSpec) -> Result<TaskId> {
        self.make_task(spec)
    }

    fn set_fd(&self, task: TaskId, fd: u32, handle: &Rc<dyn Handle>) -> Result<()> {
        let task = self.task(task)?;
        let handle = handle
            .as_any()
            .downcast_ref::<OsHandle>()
            .ok_or(Errno::EBADF)?;
        let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
        let file = handle.for_program();
        let old = task.files().replace(fd, file, false, task.nofile())?;
        drop(old);
        Ok(())
    }

    fn set_controlling_terminal(&self, task: TaskId, fd: u32) -> Result<()> {
        self.take_terminal(task, fd)
    }

    fn set_cwd(&self, task: TaskId, path: &[u8]) -> Result<()> {
        let task = self.task(task)?;
        let cwd = self.kernel.with_fs(&task, |fs| fs.directory(None, path))?;
        let old = task.fs().cwd.replace(cwd);
        drop(old);
        Ok(())
    }

    fn set_hostname(&self, task: TaskId, name: &[u8]) -> Result<()> {
        self.task(task)?.ns().uts.set_hostname(name)
    }

    fn set_domainname(&self, task: TaskId, name: &[u8]) -> Result<()> {
        self.task(task)?.ns().uts.set_domainname(name)
    }

    fn set_credentials(&self, task: TaskId, credentials: &os::Credentials) -> Result<()> {
        self.become_user(task, credentials)
    }

    fn set_seccomp(&self, task: TaskId, filter: &[os::FilterInstruction]) -> Result<()> {
        self.filter_calls(task, filter)
    }

    fn system_calls(&self) -> Vec<(&'static str, u32)> {
        let rows = crate::syscalls::table::all_rows();
        rows.map(|row| (row.name, u32::from(row.nr))).collect()
    }

    fn set_rlimit(&self, task: TaskId, resource: u32, soft: u64, hard: u64) -> Result<()> {
        self.limit(task, resource, soft, hard)
    }

    fn exec(&self, task: TaskId, path: &[u8], argv: &[Vec<u8>], envp: &[Vec<u8>]) -> Result<()> {
        self.execute(task, path, argv, envp)
    }

    fn kill(&self, task: TaskId, signal: u32) -> Result<()> {
        self.signal(task, signal)
    }

    fn poll_wait(&self, task: TaskId, cx: &mut Context<'_>) -> Poll<Result<ExitStatus>> {
        self.wait_for(task, cx.waker())
    }

    fn namespaced_pid(&self, task: TaskId) -> Result<u32> {
        let task = self.kernel.task(task.0).ok_or(Errno::ESRCH)?;
        Ok(task.group.pid().innermost())
    }

    fn link_up(&self, task: TaskId, name: &str) -> Result<()> {
        let net = Rc::clone(&self.task(task)?.ns().net);
        net.with(|network| {
            let link = network.find_link(net.id, name)?;
            network.set_up(link, true)
        })
    }

    fn pipe(&self) -> Result<(Rc<dyn Handle>, Rc<dyn Handle>)> {
        Ok(handle::pipe(&self.kernel))
    }

    fn open_pty(&self, view: View) -> Result<NewPty> {
        self.with_view(view, handle::open_pty)
    }

    fn unix_listen(&self, view: View, path: &[u8], mode: u32) -> Result<Rc<dyn Listener>> {
        self.with_view(view, |fs| handle::unix_listen(&self.kernel, fs, path, mode))
    }

    fn unix_connect(&self, view: View, path: &[u8]) -> Result<Rc<dyn Handle>> {
        self.with_view(view, |fs| handle::unix_connect(&self.kernel, fs, path))
    }
}

impl OsHandle {
    /// The terminal size as the kernel has it.
    pub(crate) fn window(size: WindowSize) -> crate::tty::WindowSize {
        crate::tty::WindowSize {
            rows: size.rows,
            cols: size.cols,
            xpixel: 0,
            ypixel: 0,
        }
    }
}
