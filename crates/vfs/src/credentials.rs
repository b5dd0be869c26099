//! Who asks: user and group ids and capabilities (`credentials(7)`, `capabilities(7)`).
//!
//! Only what permission checks need to know. How ids and capabilities change (setuid, execve) is the
//! kernel's.

use crate::inode::Attr;

/// Capability numbers (`linux/capability.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs, reason = "capabilities(7) describes each")]
pub enum Capability {
    Chown = 0,
    DacOverride = 1,
    DacReadSearch = 2,
    Fowner = 3,
    Fsetid = 4,
    Kill = 5,
    Setgid = 6,
    Setuid = 7,
    Setpcap = 8,
    LinuxImmutable = 9,
    NetBindService = 10,
    NetBroadcast = 11,
    NetAdmin = 12,
    NetRaw = 13,
    IpcLock = 14,
    IpcOwner = 15,
    SysModule = 16,
    SysRawio = 17,
    SysChroot = 18,
    SysPtrace = 19,
    SysPacct = 20,
    SysAdmin = 21,
    SysBoot = 22,
    SysNice = 23,
    SysResource = 24,
    SysTime = 25,
    SysTtyConfig = 26,
    Mknod = 27,
    Lease = 28,
    AuditWrite = 29,
    AuditControl = 30,
    Setfcap = 31,
    MacOverride = 32,
    MacAdmin = 33,
    Syslog = 34,
    WakeAlarm = 35,
    BlockSuspend = 36,
    AuditRead = 37,
    Perfmon = 38,
    Bpf = 39,
    CheckpointRestore = 40,
}

impl Capability {
    /// Its bit in a capability set.
    #[must_use]
    pub fn bit(self) -> u64 {
        1 << (self as u8)
    }
}

/// All capabilities.
pub const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

/// May read.
pub const MAY_READ: u32 = 4;
/// May write.
pub const MAY_WRITE: u32 = 2;
/// May execute or search.
pub const MAY_EXEC: u32 = 1;

/// The identity a task acts with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// Real user.
    pub uid: u32,
    /// Effective user.
    pub euid: u32,
    /// Saved user.
    pub suid: u32,
    /// User for file access.
    pub fsuid: u32,
    /// Real group.
    pub gid: u32,
    /// Effective group.
    pub egid: u32,
    /// Saved group.
    pub sgid: u32,
    /// Group for file access.
    pub fsgid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Capabilities in force.
    pub effective: u64,
    /// Capabilities that may be put in force.
    pub permitted: u64,
    /// Capabilities kept over execve of programs that inherit them.
    pub inheritable: u64,
    /// Capabilities execve can give.
    pub bounding: u64,
    /// Capabilities kept over execve of ordinary programs.
    pub ambient: u64,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privs: bool,
    /// `PR_SET_SECUREBITS`.
    pub securebits: u32,
}

impl Credentials {
    /// The first process: user 0 with all capabilities.
    #[must_use]
    pub fn root() -> Credentials {
        Credentials {
            effective: ALL_CAPABILITIES,
            permitted: ALL_CAPABILITIES,
            bounding: ALL_CAPABILITIES,
            ..Credentials::user(0, 0)
        }
    }

    /// An ordinary user without capabilities.
    #[must_use]
    pub fn user(uid: u32, gid: u32) -> Credentials {
        Credentials {
            uid,
            euid: uid,
            suid: uid,
            fsuid: uid,
            gid,
            egid: gid,
            sgid: gid,
            fsgid: gid,
            groups: Vec::new(),
            effective: 0,
            permitted: 0,
            inheritable: 0,
            bounding: ALL_CAPABILITIES,
            ambient: 0,
            no_new_privs: false,
            securebits: 0,
        }
    }

    /// True when the capability is in force.
    #[must_use]
    pub fn has_cap(&self, capability: Capability) -> bool {
        self.effective & capability.bit() != 0
    }

    /// True when `gid` is the group for file access or a supplementary group.
    #[must_use]
    pub fn in_group(&self, gid: u32) -> bool {
        self.fsgid == gid || self.groups.contains(&gid)
    }

    /// True for the owner of the inode or who may act as one.
    #[must_use]
    pub fn owns(&self, attr: &Attr) -> bool {
        self.fsuid == attr.uid || self.has_cap(Capability::Fowner)
    }

    /// True when the mode bits or capabilities allow all of `mask` (`MAY_…`).
    #[must_use]
    pub fn may(&self, attr: &Attr, mask: u32) -> bool {
        let bits = if self.fsuid == attr.uid {
            attr.mode >> 6
        } else if self.in_group(attr.gid) {
            attr.mode >> 3
        } else {
            attr.mode
        };
        if bits & mask == mask {
            return true;
        }
        let is_dir = attr.is_dir();
        let wants_write = mask & MAY_WRITE != 0;
        let wants_exec = mask & MAY_EXEC != 0;
        if self.has_cap(Capability::DacReadSearch) && !wants_write && (is_dir || !wants_exec) {
            return true;
        }
        // Nobody executes a file that has no x bit at all.
        self.has_cap(Capability::DacOverride) && (is_dir || !wants_exec || attr.mode & 0o111 != 0)
    }
}
