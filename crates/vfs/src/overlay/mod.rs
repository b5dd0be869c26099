//! overlayfs (Documentation/filesystems/overlayfs.rst): an upper directory over lower ones.

use std::rc::Rc;

use abi::{Errno, Result};

use crate::inode::FileSystem;
use crate::registry::MountRequest;

/// The factory for the registry.
pub fn mount(_request: &MountRequest<'_>) -> Result<Rc<dyn FileSystem>> {
    Err(Errno::ENODEV)
}
