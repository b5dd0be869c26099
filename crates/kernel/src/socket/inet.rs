//! Internet sockets on the loopback interface.

use std::rc::Rc;

use abi::{Errno, Result};

use super::{Socket, SocketFile};
use crate::kernel::Kernel;
use crate::namespaces::NetNs;
use crate::task::Task;

pub fn new(
    _k: &Rc<Kernel>,
    _t: &Task,
    _net: &Rc<NetNs>,
    _family: u16,
    _kind: u32,
    _protocol: u32,
) -> Result<Rc<dyn Socket>> {
    Err(Errno::EAFNOSUPPORT)
}

pub fn shown_protocol(_family: u16, _kind: u32, protocol: u32) -> u32 {
    protocol
}

pub fn structured_option(_socket: &SocketFile, _level: u32, _name: u32) -> Option<Vec<u8>> {
    None
}
