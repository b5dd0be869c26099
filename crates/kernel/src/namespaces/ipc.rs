//! IPC namespaces: System V objects and their limits (`ipc_namespaces(7)`).

use std::cell::Cell;
use std::rc::Rc;

use vfs::inode::Attachments;

use super::UserNs;

/// An IPC namespace.
pub struct IpcNs {
    /// Inode number.
    pub inum: u64,
    /// Who has power over it.
    pub owner: Rc<UserNs>,
    /// `kernel.shmmax`.
    pub shm_max: Cell<u64>,
    /// `kernel.shmall`, in pages.
    pub shm_all: Cell<u64>,
    /// `kernel.shmmni`.
    pub shm_count_max: Cell<u64>,
    /// `kernel.msgmax`.
    pub msg_max: Cell<u64>,
    /// `kernel.msgmnb`.
    pub msg_queue_bytes: Cell<u64>,
    /// `kernel.msgmni`.
    pub msg_count_max: Cell<u64>,
    /// The tables of segments, semaphores and queues: see `sysv`.
    pub state: Attachments,
}

impl IpcNs {
    /// A namespace without objects.
    #[must_use]
    pub fn new(inum: u64, owner: Rc<UserNs>) -> IpcNs {
        IpcNs {
            inum,
            owner,
            shm_max: Cell::new(18_446_744_073_692_774_399),
            shm_all: Cell::new(18_446_744_073_692_774_399),
            shm_count_max: Cell::new(4096),
            msg_max: Cell::new(8192),
            msg_queue_bytes: Cell::new(16_384),
            msg_count_max: Cell::new(32_000),
            state: Attachments::default(),
        }
    }
}
