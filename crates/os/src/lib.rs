//! **The seam**: everything the daemons ask of a Linux kernel, as small Linux-shaped verbs.
//!
//! Container runtime, layer mounts, engine and (later) kubelet and kube-proxy are written once against
//! [`Os`]; the emulated `kernel` implements it now, a native back-end (namespaces, cgroups, overlayfs)
//! can later. The verbs are those a privileged daemon uses: make a task that is not running a program
//! yet, give it namespaces, mounts, limits, descriptors and credentials one by one, then `exec`.
//! Cgroups, sysctls and process lists have no verbs of their own: they are files under
//! `/sys/fs/cgroup` and `/proc`, read and written like any other file.
//!
//! Nothing blocks. What can take time is a `poll_…` function with a waker; [`ext`] has the futures.
//! Errors are error numbers; who calls adds what it was doing.

pub mod ext;
pub mod network;
pub mod testsuite;
mod types;

use std::rc::Rc;
use std::task::{Context, Poll};

pub use abi::{Errno, Result};
use clock::{Clock, Executor, Rng};
pub use ext::OsExt;
pub use types::{
    CloneSpec, Credentials, DirEntry, ExitStatus, FilterInstruction, Metadata, MountFlags,
    NamespaceFlags, NamespaceKind, NewPty, OpenFlags, StatFs, TaskId, TimeSpec, View, WindowSize,
};

/// An open file, pipe end, pseudo-terminal or socket held by a daemon. Dropping it closes it.
pub trait Handle {
    /// Reads what is there; 0 at the end of the file or stream.
    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize>>;

    /// Writes what fits. `EPIPE` when nobody can read it any more.
    fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>>;

    /// `pread(2)`; `NOT_HERE_YET` is possible for lazily fetched files (use [`OsExt::read_file`] or
    /// [`ext::read_exact_at`], which wait).
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize>;

    /// `pwrite(2)`.
    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<usize>;

    /// Completes when [`Handle::read_at`] that said `NOT_HERE_YET` is worth another try.
    fn poll_arrival(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// `poll(2)` for `POLLPRI`: completes when a file that tells of changes, such as `memory.events` of a
    /// cgroup, has another content than when it was read last.
    fn poll_change(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// `fstat(2)`.
    fn metadata(&self) -> Result<Metadata>;

    /// `ftruncate(2)`.
    fn set_len(&self, len: u64) -> Result<()>;

    /// `TIOCSWINSZ`: the size of a terminal; its foreground process group gets `SIGWINCH`.
    fn set_window_size(&self, size: WindowSize) -> Result<()>;

    /// `shutdown(2)` of the writing side of a socket.
    fn shutdown_write(&self) -> Result<()>;

    /// For down-casting by the back-end that made it.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// A listening Unix socket. Dropping it closes it.
pub trait Listener {
    /// The next connection.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<Rc<dyn Handle>>>;
}

/// A Linux kernel, seen by root.
pub trait Os: network::Network + 'static {
    /// The clock of the machine.
    fn clock(&self) -> Clock;

    /// Where daemons run.
    fn executor(&self) -> Executor;

    /// Random numbers for ids and keys.
    fn rng(&self) -> Rc<Rng>;

    /// How many tasks could run right now, and how many wait for a disk (`procs_running` and
    /// `procs_blocked` of `/proc/stat`).
    fn running_and_blocked(&self) -> (usize, usize);

    // ---- files: paths are resolved in the root directory and mount namespace of `view` ----

    /// `openat(2)`.
    fn open(&self, view: View, path: &[u8], flags: OpenFlags, mode: u32) -> Result<Rc<dyn Handle>>;

    /// `stat(2)`, or `lstat(2)` without `follow`.
    fn metadata(&self, view: View, path: &[u8], follow: bool) -> Result<Metadata>;

    /// All entries but `.` and `..`, in the order the directory gives them.
    fn read_dir(&self, view: View, path: &[u8]) -> Result<Vec<DirEntry>>;

    /// `readlink(2)`.
    fn read_link(&self, view: View, path: &[u8]) -> Result<Vec<u8>>;

    /// `realpath(3)`: the name in `view` without links, `.` and `..`.
    fn canonicalize(&self, view: View, path: &[u8]) -> Result<Vec<u8>>;

    /// `mkdir(2)`; no umask is applied.
    fn mkdir(&self, view: View, path: &[u8], mode: u32) -> Result<()>;

    /// `mknod(2)`: regular files, devices, FIFOs and sockets by the type bits of `mode`.
    fn mknod(&self, view: View, path: &[u8], mode: u32, rdev: u64) -> Result<()>;

    /// `symlink(2)`.
    fn symlink(&self, view: View, target: &[u8], path: &[u8]) -> Result<()>;

    /// `link(2)`; a link at the end of `old` is not followed.
    fn link(&self, view: View, old: &[u8], new: &[u8]) -> Result<()>;

    /// `unlink(2)`.
    fn unlink(&self, view: View, path: &[u8]) -> Result<()>;

    /// `rmdir(2)`.
    fn rmdir(&self, view: View, path: &[u8]) -> Result<()>;

    /// `rename(2)`.
    fn rename(&self, view: View, old: &[u8], new: &[u8]) -> Result<()>;

    /// `chmod(2)`.
    fn chmod(&self, view: View, path: &[u8], mode: u32) -> Result<()>;

    /// `lchown(2)`.
    fn lchown(&self, view: View, path: &[u8], uid: u32, gid: u32) -> Result<()>;

    /// `utimensat(2)` without following a link.
    fn set_times(&self, view: View, path: &[u8], atime: TimeSpec, mtime: TimeSpec) -> Result<()>;

    /// `lsetxattr(2)`.
    fn set_xattr(&self, view: View, path: &[u8], name: &[u8], value: &[u8]) -> Result<()>;

    /// `lgetxattr(2)`.
    fn get_xattr(&self, view: View, path: &[u8], name: &[u8]) -> Result<Vec<u8>>;

    /// `llistxattr(2)`.
    fn list_xattr(&self, view: View, path: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// `statfs(2)`.
    fn statfs(&self, view: View, path: &[u8]) -> Result<StatFs>;

    // ---- mounts ----

    /// `mount(2)` in the mount namespace of `view`. The emulated kernel has the types of a Linux kernel
    fn mount(
        &self,
        view: View,
        source: &[u8],
        target: &[u8],
        fstype: &str,
        flags: MountFlags,
        data: &[u8],
    ) -> Result<()>;

    /// `umount2(2)`; `detach` is `MNT_DETACH`.
    fn umount(&self, view: View, target: &[u8], detach: bool) -> Result<()>;

    /// `pivot_root(2)` for `task`, then its root and working directory are the new root.
    fn pivot_root(&self, task: TaskId, new_root: &[u8], put_old: &[u8]) -> Result<()>;

    // ---- tasks ----

    /// `clone(2)`: a new task that is a child of the calling daemon, with `spec.new` namespaces of its
    /// own and `spec.join` namespaces of others. It runs nothing until [`Os::exec`]. It has root's
    /// credentials, no descriptors, a session of its own and the daemon's root directory (after joining
    /// a mount namespace: the root directory of the task whose namespace it is).
    fn clone_task(&self, spec: &CloneSpec) -> Result<TaskId>;

    /// Puts `handle` at descriptor `fd` of a task that has not called exec.
    fn set_fd(&self, task: TaskId, fd: u32, handle: &Rc<dyn Handle>) -> Result<()>;

    /// Makes the terminal at descriptor `fd` the controlling terminal of the task's session.
    fn set_controlling_terminal(&self, task: TaskId, fd: u32) -> Result<()>;

    /// `chdir(2)` with the task's credentials and root.
    fn set_cwd(&self, task: TaskId, path: &[u8]) -> Result<()>;

    /// `sethostname(2)` in the task's UTS namespace.
    fn set_hostname(&self, task: TaskId, name: &[u8]) -> Result<()>;

    /// `setdomainname(2)` in the task's UTS namespace.
    fn set_domainname(&self, task: TaskId, name: &[u8]) -> Result<()>;

    /// `setresuid`, `setresgid`, `setgroups`, `capset` and `PR_SET_NO_NEW_PRIVS` in one.
    fn set_credentials(&self, task: TaskId, credentials: &Credentials) -> Result<()>;

    /// `seccomp(2)`: a filter over the system calls of a task that has not called exec.
    fn set_seccomp(&self, task: TaskId, filter: &[FilterInstruction]) -> Result<()>;

    /// The system calls there are, by name and number, for who writes filters.
    fn system_calls(&self) -> Vec<(&'static str, u32)>;

    /// `prlimit64(2)`; `resource` by Linux number (`RLIMIT_NOFILE` is 7).
    fn set_rlimit(&self, task: TaskId, resource: u32, soft: u64, hard: u64) -> Result<()>;

    /// `execve(2)` with the task's root, working directory and credentials. `path` is not searched in
    /// `$PATH`. On an error the task is as before.
    fn exec(&self, task: TaskId, path: &[u8], argv: &[Vec<u8>], envp: &[Vec<u8>]) -> Result<()>;

    /// `kill(2)`. Signal 0 asks whether it exists.
    fn kill(&self, task: TaskId, signal: u32) -> Result<()>;

    /// `waitpid(2)` for a task made by [`Os::clone_task`]; reaps it. A killed task that never called
    /// exec ends with its signal.
    fn poll_wait(&self, task: TaskId, cx: &mut Context<'_>) -> Poll<Result<ExitStatus>>;

    /// The task's pid as its own innermost pid namespace numbers it.
    fn namespaced_pid(&self, task: TaskId) -> Result<u32>;

    /// Brings a network interface of the task's network namespace up; `lo` always exists.
    fn link_up(&self, task: TaskId, name: &str) -> Result<()>;

    // ---- channels ----

    /// `pipe(2)`: (reading end, writing end).
    fn pipe(&self) -> Result<(Rc<dyn Handle>, Rc<dyn Handle>)>;

    /// A pseudo-terminal of the devpts mounted at `/dev/pts` of `view`.
    fn open_pty(&self, view: View) -> Result<NewPty>;

    /// Binds and listens on a Unix stream socket; an old socket file is replaced.
    fn unix_listen(&self, view: View, path: &[u8], mode: u32) -> Result<Rc<dyn Listener>>;

    /// Connects to a Unix stream socket.
    fn unix_connect(&self, view: View, path: &[u8]) -> Result<Rc<dyn Handle>>;
}
