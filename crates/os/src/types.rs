//! Plain values of the seam.

use std::rc::Rc;

use crate::Handle;

/// A task's pid in the machine's initial pid namespace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskId(pub u32);

/// Whose root directory and mount namespace a path is resolved in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// The machine's own.
    Host,
    /// The task's, as `/proc/PID/root` shows them.
    Task(TaskId),
}

/// Flags of [`crate::Os::open`]; `O_CLOEXEC` is implied.
#[derive(Clone, Copy, Default, Debug)]
pub struct OpenFlags {
    /// Open for reading.
    pub read: bool,
    /// Open for writing.
    pub write: bool,
    /// Create when missing.
    pub create: bool,
    /// With `create`: fail when it exists.
    pub exclusive: bool,
    /// Cut to length 0.
    pub truncate: bool,
    /// Write at the end.
    pub append: bool,
    /// Fail with `ELOOP` on a symbolic link at the end.
    pub no_follow: bool,
}

/// Seconds and nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct TimeSpec {
    /// Seconds.
    pub sec: i64,
    /// 0 to 999,999,999.
    pub nsec: u32,
}

/// What `stat(2)` tells.
#[derive(Clone, Copy, Default, Debug)]
pub struct Metadata {
    /// Device of the file system.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Type and permission bits.
    pub mode: u32,
    /// Hard links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device file.
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// 512-byte units in use.
    pub blocks: u64,
    /// Last access.
    pub atime: TimeSpec,
    /// Last change of content.
    pub mtime: TimeSpec,
    /// Last change of the inode.
    pub ctime: TimeSpec,
}

impl Metadata {
    /// Type bits, `S_IFDIR` and so on.
    #[must_use]
    pub fn file_type(&self) -> u32 {
        self.mode & 0o170_000
    }

    /// A directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.file_type() == 0o040_000
    }

    /// A symbolic link.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.file_type() == 0o120_000
    }

    /// A regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.file_type() == 0o100_000
    }
}

/// An entry of a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DirEntry {
    /// Name.
    pub name: Vec<u8>,
    /// Inode number.
    pub ino: u64,
    /// Type bits; 0 when the directory does not tell.
    pub file_type: u32,
}

/// What `statfs(2)` tells.
#[derive(Clone, Copy, Default, Debug)]
pub struct StatFs {
    /// Magic number of the type.
    pub magic: u64,
    /// Block size.
    pub bsize: u64,
    /// Blocks.
    pub blocks: u64,
    /// Free blocks.
    pub bfree: u64,
}

/// Flags of `mount(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MountFlags(pub u64);

#[allow(missing_docs, reason = "named as in mount(2)")]
impl MountFlags {
    pub const RDONLY: MountFlags = MountFlags(1);
    pub const NOSUID: MountFlags = MountFlags(2);
    pub const NODEV: MountFlags = MountFlags(4);
    pub const NOEXEC: MountFlags = MountFlags(8);
    pub const REMOUNT: MountFlags = MountFlags(32);
    pub const BIND: MountFlags = MountFlags(4096);
    pub const MOVE: MountFlags = MountFlags(8192);
    pub const REC: MountFlags = MountFlags(16384);
    pub const PRIVATE: MountFlags = MountFlags(1 << 18);
    pub const SLAVE: MountFlags = MountFlags(1 << 19);
    pub const SHARED: MountFlags = MountFlags(1 << 20);
    pub const RELATIME: MountFlags = MountFlags(1 << 21);
    pub const STRICTATIME: MountFlags = MountFlags(1 << 24);
}

impl std::ops::BitOr for MountFlags {
    type Output = MountFlags;

    fn bitor(self, other: MountFlags) -> MountFlags {
        MountFlags(self.0 | other.0)
    }
}

/// The kinds of namespaces (`namespaces(7)`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "named as in namespaces(7)")]
pub enum NamespaceKind {
    Cgroup,
    Ipc,
    Mount,
    Net,
    Pid,
    User,
    Uts,
}

/// Namespaces to create, with the numbers of `clone(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NamespaceFlags(pub u32);

impl NamespaceFlags {
    /// The flag of one kind (`CLONE_NEWNS` for mounts, and so on).
    #[must_use]
    pub const fn of(kind: NamespaceKind) -> NamespaceFlags {
        NamespaceFlags(match kind {
            NamespaceKind::Cgroup => 0x0200_0000,
            NamespaceKind::Ipc => 0x0800_0000,
            NamespaceKind::Mount => 0x0002_0000,
            NamespaceKind::Net => 0x4000_0000,
            NamespaceKind::Pid => 0x2000_0000,
            NamespaceKind::User => 0x1000_0000,
            NamespaceKind::Uts => 0x0400_0000,
        })
    }

    /// True when `kind` is among them.
    #[must_use]
    pub fn contains(self, kind: NamespaceKind) -> bool {
        self.0 & NamespaceFlags::of(kind).0 != 0
    }
}

impl std::ops::BitOr for NamespaceFlags {
    type Output = NamespaceFlags;

    fn bitor(self, other: NamespaceFlags) -> NamespaceFlags {
        NamespaceFlags(self.0 | other.0)
    }
}

/// What [`crate::Os::clone_task`] makes.
#[derive(Clone, Default, Debug)]
pub struct CloneSpec {
    /// Namespaces of its own.
    pub new: NamespaceFlags,
    /// Namespaces of other tasks to be in.
    pub join: Vec<(NamespaceKind, TaskId)>,
    /// Name that `ps` shows until exec, at most 15 bytes (`runc:[2:INIT]` is what one sees with Docker).
    pub name: String,
    /// Cgroup to start in: a path below `/sys/fs/cgroup`, such as `/docker/ID`; empty: the daemon's.
    pub cgroup: String,
    /// Parent in the process tree; `None`: the machine's init. A shim is such a parent.
    pub parent: Option<TaskId>,
}

/// Who a task is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Credentials {
    /// Real, effective, saved and file-system user.
    pub uid: u32,
    /// Real, effective, saved and file-system group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Capability bounding set, bit n is capability n (`capabilities(7)`).
    pub bounding: u64,
    /// Effective set.
    pub effective: u64,
    /// Permitted set.
    pub permitted: u64,
    /// Inheritable set.
    pub inheritable: u64,
    /// Ambient set.
    pub ambient: u64,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privs: bool,
}

/// An instruction of a filter of system calls (`struct sock_filter`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FilterInstruction {
    /// What it does.
    pub code: u16,
    /// How many to skip when it is so.
    pub yes: u8,
    /// How many to skip when it is not.
    pub no: u8,
    /// Operand.
    pub k: u32,
}

/// How a task ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitStatus {
    /// By `exit(2)`.
    Exited(u8),
    /// By a signal.
    Signaled(u32),
}

impl ExitStatus {
    /// The status a shell shows: 128 + n for signal n.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            ExitStatus::Exited(code) => i32::from(code),
            ExitStatus::Signaled(signal) => 128 + signal as i32,
        }
    }
}

/// Rows and columns of a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct WindowSize {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// A new pseudo-terminal.
pub struct NewPty {
    /// The master side.
    pub master: Rc<dyn Handle>,
    /// The slave side.
    pub slave: Rc<dyn Handle>,
    /// Its number: the slave is `/dev/pts/N`.
    pub number: u32,
}
