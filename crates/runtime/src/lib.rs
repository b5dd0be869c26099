//! OCI runtime lifecycle over the seam [`os::Os`]: what runc is to Docker, a verb a file.
//!
//! A container is made in two steps, as the OCI runtime specification has it: [`create()`] prepares a
//! task that sees its namespaces, mounts, limits and descriptors but runs nothing, [`Container::start`]
//! executes the program. Error texts are runc's, because people and scripts read them.
//!
//! Not here: what a container is called, its logs, restart policy, layers; that is `engine`.
//! Source: OCI runtime-spec 1.2 (`config.md`, `config-linux.md`, `runtime.md`).

pub mod capabilities;
pub mod cgroup;
mod create;
pub mod defaults;
mod delete;
mod error;
mod exec;
mod kill;
mod lookup;
pub mod path;
mod pause;
mod process;
mod resume;
mod rootfs;
pub mod seccomp;
mod spec;
mod start;
mod state;
mod update;
pub mod user;

pub use create::{create, mount_only};
pub use error::RuntimeError;
pub use exec::{Process, exec};
pub use process::{DaemonEnds, Stdio};
pub use rootfs::mount_options;
pub use spec::{
    Device, IoLimit, Mount, Namespace, ProcessSpec, Propagation, Resources, Rlimit, Spec,
};
pub use state::{Container, Status};
