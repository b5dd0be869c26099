//! Netlink sockets and the old interface ioctls.

use abi::{Errno, Result};
use vfs::file::UserMemory;

use crate::namespaces::NetNs;

/// `SIOCGIF…` (`netdevice(7)`).
pub fn interface_ioctl(
    _net: &NetNs,
    _request: u32,
    _argument: u64,
    _memory: &dyn UserMemory,
) -> Result<u64> {
    Err(Errno::ENOTTY)
}

pub fn new(
    _k: &std::rc::Rc<crate::kernel::Kernel>,
    _t: &crate::task::Task,
    _net: &std::rc::Rc<NetNs>,
    _kind: u32,
    _protocol: u32,
) -> Result<std::rc::Rc<dyn super::Socket>> {
    Err(Errno::EAFNOSUPPORT)
}
