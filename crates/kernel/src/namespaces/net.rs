//! Network namespaces (`network_namespaces(7)`): a loopback interface, a table of abstract socket
//! names, and settings under `/proc/sys/net`.
//!
//! What sockets hang on a namespace is theirs: see [`NetNs::state`].

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use vfs::inode::Attachments;

use super::UserNs;

/// A network namespace.
pub struct NetNs {
    /// Inode number.
    pub inum: u64,
    /// Who has power over it.
    pub owner: Rc<UserNs>,
    /// The loopback interface is up.
    pub loopback_up: Cell<bool>,
    /// Bytes and packets that went through loopback.
    pub loopback_bytes: Cell<u64>,
    /// Packets that went through loopback.
    pub loopback_packets: Cell<u64>,
    /// Values written below `/proc/sys/net`, by path; what is not here has its default.
    pub sysctls: RefCell<BTreeMap<String, String>>,
    /// What the socket families keep per namespace: abstract names, ports.
    pub state: Attachments,
}

impl NetNs {
    /// A namespace with nothing but a loopback interface.
    #[must_use]
    pub fn new(inum: u64, owner: Rc<UserNs>, loopback_up: bool) -> NetNs {
        NetNs {
            inum,
            owner,
            loopback_up: Cell::new(loopback_up),
            loopback_bytes: Cell::new(0),
            loopback_packets: Cell::new(0),
            sysctls: RefCell::default(),
            state: Attachments::default(),
        }
    }

    /// A packet went through loopback.
    pub fn count_loopback(&self, bytes: u64) {
        self.loopback_bytes.set(self.loopback_bytes.get() + bytes);
        self.loopback_packets.set(self.loopback_packets.get() + 1);
    }
}
