//! The kernel of one machine: tasks, memory, files, namespaces and system calls of Linux on riscv64.
//!
//! Reading order: [`kernel`] (the machine as a value), [`turn`] and [`sched`] (who runs when),
//! [`task`] (what runs), [`mm`] (its memory), [`loader`] (how a program gets there), [`syscalls`] (what it
//! can ask for), then the objects behind descriptors ([`fd`], [`pipe`], [`tty`], [`socket`], …), and what
//! containers are made of ([`namespaces`], [`cgroup`], [`os_impl`]).
//!
//! Not here: instructions (crate `rv64`), file systems in general (crate `vfs`), daemons (above the seam).
//!
//! # How a system call blocks
//! It does not. A system call that cannot go on registers the task's waker with what it waits for and
//! returns [`Stop::Block`]; when the task is woken the whole call is run again from its arguments. What must
//! survive between the runs (an absolute deadline, bytes already moved) is in [`task::SyscallState`].
//!
//! # Borrow rules
//! Everything hangs on `Rc<Kernel>` and uses `Cell`/`RefCell`. A borrow is never held across a call into
//! `vfs`, into a file, or into another subsystem: /proc reads tasks while a path is walked. Clone the `Rc`
//! out, end the borrow, call. Inside one subsystem borrows nest only in this order:
//! task table → thread group → task → mm (vmas → space) → leaf objects (queues, tables).

pub mod census;
pub mod kernel;
pub mod sched;
pub mod turn;

pub mod loader;
pub mod mm;
pub mod task;

pub mod futex;
pub mod strace;
pub mod syscalls;
pub mod timer;

pub mod fd;

pub mod builtin;
pub mod dev;
pub mod epoll;
pub mod eventfd;
pub mod fifo;
pub mod inotify;
pub mod memfd;
pub mod pidfd;
pub mod pipe;
pub mod power;
pub mod seccomp;
pub mod signalfd;
pub mod socket;
pub mod timerfd;
pub mod tty;

pub mod cgroup;
pub mod namespaces;
pub mod os_impl;
pub mod proc;
pub mod pseudo;
pub mod sys;
pub mod sysv;
pub mod sysv_msg;
pub mod sysv_perm;
pub mod sysv_sem;

#[cfg(not(target_arch = "wasm32"))]
pub mod harness;

pub use abi::{Errno, Result};
pub use kernel::{Config, Kernel};
pub use os_impl::KernelOs;
pub use os_impl::boot::{DISK, mount_standard};
pub use power::Power;
pub use syscalls::{Block, Restart, Stop, SysResult};
pub use task::{Task, ThreadGroup};
pub use turn::Turn;
