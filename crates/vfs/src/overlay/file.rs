//! An open regular file of an overlay: the real file, reopened when it is copied up.
//!
//! So a reader sees what is written after he opened the file, although he began in a lower layer.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use std::task::Waker;

use abi::Result;
use mem::Page;

use super::node::Node;
use crate::file::{Events, File, OpenFlags};
use crate::inode::Inode;

pub(super) struct RegularFile {
    node: Rc<Node>,
    flags: OpenFlags,
    real: RefCell<Real>,
}

struct Real {
    file: Rc<dyn File>,
    in_upper: bool,
}

impl Real {
    fn open(node: &Node, flags: OpenFlags) -> Result<Real> {
        let in_upper = node.has_upper();
        // Reading does not change a layer: it may belong to other containers too.
        let quiet = if in_upper {
            OpenFlags::empty()
        } else {
            OpenFlags::NOATIME
        };
        let flags = flags - (OpenFlags::TRUNC | OpenFlags::CREAT | OpenFlags::EXCL);
        Ok(Real {
            file: node.real()?.open(flags | quiet)?,
            in_upper,
        })
    }
}

impl RegularFile {
    pub(super) fn new(node: Rc<Node>, flags: OpenFlags) -> Result<RegularFile> {
        let real = RefCell::new(Real::open(&node, flags)?);
        Ok(RegularFile { node, flags, real })
    }

    fn real(&self) -> Result<Rc<dyn File>> {
        let mut real = self.real.borrow_mut();
        if !real.in_upper && self.node.has_upper() {
            *real = Real::open(&self.node, self.flags)?;
        }
        Ok(Rc::clone(&real.file))
    }
}

impl File for RegularFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.real()?.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<usize> {
        self.node.copy_up(true)?;
        self.real()?.write_at(offset, buf)
    }

    fn poll(&self, waker: Option<&Waker>) -> Events {
        match self.real() {
            Ok(real) => real.poll(waker),
            Err(_) => Events::ERR,
        }
    }

    fn always_ready(&self) -> bool {
        true
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn page(&self, index: u64, write: bool) -> Result<Option<Page>> {
        if write {
            return self.node.page(index, true);
        }
        self.real()?.page(index, false)
    }
}
