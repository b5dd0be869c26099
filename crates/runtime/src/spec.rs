//! What a container is to be made of: the part of the OCI runtime configuration that Docker uses.

use std::collections::BTreeMap;
use std::rc::Rc;

use os::{FilterInstruction, NamespaceKind, TaskId, WindowSize};

/// A whole container.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// The first process.
    pub process: ProcessSpec,
    /// The root file system, mounted on the machine.
    pub rootfs: String,
    /// Remount the root read-only at the end.
    pub readonly_rootfs: bool,
    /// Host name, with a UTS namespace of its own.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// Mounts, in the order they are made.
    pub mounts: Vec<Mount>,
    /// Namespaces; a kind that is not listed is the machine's.
    pub namespaces: Vec<Namespace>,
    /// Path below `/sys/fs/cgroup`: `/docker/ID`.
    pub cgroup: String,
    /// Limits.
    pub resources: Resources,
    /// Paths that must not be seen.
    pub masked_paths: Vec<String>,
    /// Paths that must not be written.
    pub readonly_paths: Vec<String>,
    /// Devices to make in `/dev`.
    pub devices: Vec<Device>,
    /// Kernel parameters by dotted name.
    pub sysctl: BTreeMap<String, String>,
}

/// A process of a container.
#[derive(Clone, Debug, Default)]
pub struct ProcessSpec {
    /// Give it a terminal.
    pub terminal: bool,
    /// The size of that terminal, when known.
    pub console_size: Option<WindowSize>,
    /// `user[:group]`, names or numbers, looked up in the container's files; empty: root.
    pub user: String,
    /// Further groups by name or number (`--group-add`).
    pub additional_groups: Vec<String>,
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// Capabilities root has, bit n is capability n.
    pub capabilities: u64,
    /// Take `setuid` bits and file capabilities away.
    pub no_new_privileges: bool,
    /// The filter of its system calls.
    pub seccomp: Option<Rc<[FilterInstruction]>>,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// `/proc/PID/oom_score_adj`.
    pub oom_score_adj: i32,
}

/// A mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// Where in the container.
    pub destination: String,
    /// `bind`, `tmpfs`, `proc`, …
    pub kind: String,
    /// What; for `bind` a path of the machine.
    pub source: String,
    /// As `mount -o` has them.
    pub options: Vec<String>,
}

/// How mounts of a bind spread (`mount_namespaces(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Propagation {
    /// Not at all.
    #[default]
    Private,
    /// Into the container.
    Slave,
    /// Both ways.
    Shared,
}

/// A namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its kind.
    pub kind: NamespaceKind,
    /// The task whose namespace it is; `None`: a new one.
    pub join: Option<TaskId>,
}

/// A device file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Path in the container.
    pub path: String,
    /// Type and permission bits.
    pub mode: u32,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Group.
    pub gid: u32,
}

/// One resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// Linux number of the resource.
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// Limits of a cgroup; `None` leaves a value alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Bytes; -1: no limit.
    pub memory: Option<i64>,
    /// Bytes of memory and swap together; -1: no limit.
    pub memory_swap: Option<i64>,
    /// Bytes below which memory is not taken away.
    pub memory_reservation: Option<i64>,
    /// cgroup v1 shares, 2 to 262144.
    pub cpu_shares: Option<u64>,
    /// Microseconds per period; -1: no limit.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// CPUs, such as `0-1`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes.
    pub cpuset_mems: Option<String>,
    /// Tasks; 0 or less: no limit.
    pub pids: Option<i64>,
    /// cgroup v1 weight of input and output, 10 to 1000.
    pub blkio_weight: Option<u64>,
    /// Bounds of input and output.
    pub io: Vec<IoLimit>,
}

/// A bound of a block device's traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoLimit {
    /// Major number of the device.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// As `io.max` has it: `rbps`, `wbps`, `riops`, `wiops`.
    pub key: &'static str,
    /// Bytes or operations per second.
    pub rate: u64,
}
