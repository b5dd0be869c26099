//! The virtual file system: inodes, open files, mounts, path walk, tmpfs and overlay.
//!
//! Reading order: [`inode`] (what a file system implements), [`file`] (what an open file can do),
//! [`path`] and [`mount`] (dentries, mounts, namespaces), [`walk`] (path resolution), [`context`] (the
//! operations syscalls and daemons call, with permission checks), [`tmpfs`], [`overlay`], [`lazy`].
//!
//! Not here: file descriptors, pipes, sockets, terminals, /proc (crate `kernel`). Blocking is not
//! here either: an operation that cannot go on returns `EAGAIN`, and [`file::File::poll`] registers
//! who wants to try again. `Errno::NOT_HERE_YET` means the same for lazily fetched file content.

pub mod inode;

pub mod file;

pub mod path;

pub mod mount;

pub mod mountinfo;

mod propagate;

pub mod walk;

pub mod credentials;

pub mod context;

pub mod registry;

pub mod tmpfs;

pub mod overlay;

pub mod lazy;

pub mod lock;

pub mod write_count;

pub mod notify;

pub use abi::{Errno, Result};
pub use context::FsContext;
pub use credentials::{Capability, Credentials};
