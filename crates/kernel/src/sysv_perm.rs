//! What System V objects have in common (`sysvipc(7)`): key, owner, mode, and who may do what.

use std::cell::Cell;

use abi::{Errno, Result};
use vfs::Capability;

use crate::Kernel;
use crate::namespaces::Namespaces;
use crate::sysv::Access;
use crate::task::Task;

/// A key that is nobody's.
pub const IPC_PRIVATE: i32 = 0;
/// Make it when it is not there.
pub const IPC_CREAT: u32 = 0o1000;
/// Fail when it is.
pub const IPC_EXCL: u32 = 0o2000;
/// Do not wait.
pub const IPC_NOWAIT: u32 = 0o4000;
/// Bytes of `struct ipc64_perm`.
pub const PERM_LEN: usize = 48;

/// `struct ipc64_perm`.
pub struct IpcPerm {
    /// Key; 0 for private ones.
    pub key: Cell<i32>,
    uid: Cell<u32>,
    gid: Cell<u32>,
    creator: (u32, u32),
    mode: Cell<u32>,
}

impl IpcPerm {
    /// That of an object `task` makes.
    #[must_use]
    pub fn new(task: &Task, key: i32, flags: u32) -> IpcPerm {
        let creds = task.creds();
        IpcPerm {
            key: Cell::new(key),
            uid: Cell::new(creds.euid),
            gid: Cell::new(creds.egid),
            creator: (creds.euid, creds.egid),
            mode: Cell::new(flags & 0o777),
        }
    }

    /// `EACCES` or `EPERM` for who may not.
    pub fn check(&self, kernel: &Kernel, task: &Task, access: Access) -> Result<()> {
        let (uid, gid) = (self.uid.get(), self.gid.get());
        check(
            kernel,
            task,
            (uid, gid),
            self.creator,
            self.mode.get(),
            access,
        )
    }

    /// `EACCES` when the flags of a `…get` call ask for more than the caller may have.
    pub fn check_flags(&self, kernel: &Kernel, task: &Task, flags: u32) -> Result<()> {
        match (flags & 0o444 != 0, flags & 0o222 != 0) {
            (_, true) => self.check(kernel, task, Access::Write),
            (true, false) => self.check(kernel, task, Access::Read),
            (false, false) => Ok(()),
        }
    }

    /// `IPC_SET`, from the head of the structure that the caller gives.
    pub fn set(&self, ns: &Namespaces, raw: &[u8]) -> Result<()> {
        let field =
            |at: usize| u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
        let (uid, gid) = (ns.user.global_uid(field(4))?, ns.user.global_gid(field(8))?);
        self.uid.set(uid);
        self.gid.set(gid);
        self.mode.set(field(20) & 0o777);
        Ok(())
    }

    /// The structure as somebody in these namespaces sees it.
    #[must_use]
    pub fn emit(&self, ns: &Namespaces) -> [u8; PERM_LEN] {
        let mut raw = [0; PERM_LEN];
        for (at, value) in self.fields(ns).into_iter().enumerate() {
            raw[at * 4..at * 4 + 4].copy_from_slice(&value.to_le_bytes());
        }
        raw
    }

    /// Key, uid, gid, creator's uid and gid, mode.
    #[must_use]
    pub fn fields(&self, ns: &Namespaces) -> [u32; 6] {
        let user = &ns.user;
        [
            self.key.get() as u32,
            user.shown_uid(self.uid.get()),
            user.shown_gid(self.gid.get()),
            user.shown_uid(self.creator.0),
            user.shown_gid(self.creator.1),
            self.mode.get(),
        ]
    }
}

/// `ipcperms`: whether `task` may do this to an object.
pub fn check(
    kernel: &Kernel,
    task: &Task,
    owner: (u32, u32),
    creator: (u32, u32),
    mode: u32,
    access: Access,
) -> Result<()> {
    let creds = task.creds();
    let is_owner = creds.euid == owner.0 || creds.euid == creator.0;
    let user_ns = task.ns().ipc.owner.clone();
    if access == Access::Owner {
        let admin = kernel.capable_in(task, &user_ns, Capability::SysAdmin);
        return if is_owner || admin {
            Ok(())
        } else {
            Err(Errno::EPERM)
        };
    }
    let in_group = |gid: u32| creds.egid == gid || creds.groups.contains(&gid);
    let bits = if is_owner {
        mode >> 6
    } else if in_group(owner.1) || in_group(creator.1) {
        mode >> 3
    } else {
        mode
    };
    let wanted = if access == Access::Write { 0o6 } else { 0o4 };
    // Semaphores and queues ask for `write` alone; who may write may read, so the two are one here.
    let allowed =
        bits & wanted == wanted || kernel.capable_in(task, &user_ns, Capability::IpcOwner);
    if allowed { Ok(()) } else { Err(Errno::EACCES) }
}
