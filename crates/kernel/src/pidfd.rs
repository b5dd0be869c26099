//! Processes as files (`pidfd_open(2)`): readable when the process has ended.

use std::any::Any;
use std::rc::Rc;
use std::task::Waker;

use abi::{Errno, Result};
use vfs::file::{Events, File, OpenFile, OpenFlags};

use crate::kernel::Kernel;
use crate::task::{Task, ThreadGroup};

/// A descriptor's hold on a process.
pub struct PidFd {
    group: Rc<ThreadGroup>,
}

impl PidFd {
    /// A file that stands for `group`.
    #[must_use]
    pub fn new(group: &Rc<ThreadGroup>) -> Rc<PidFd> {
        Rc::new(PidFd {
            group: Rc::clone(group),
        })
    }

    /// The process.
    #[must_use]
    pub fn group(&self) -> Rc<ThreadGroup> {
        Rc::clone(&self.group)
    }
}

impl File for PidFd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn poll(&self, waker: Option<&Waker>) -> Events {
        if let Some(waker) = waker {
            self.group.state_wait.register(waker);
        }
        if self.group.is_zombie() {
            Events::IN | Events::RDNORM
        } else {
            Events::empty()
        }
    }

    fn anonymous_name(&self) -> Option<String> {
        Some("anon_inode:[pidfd]".to_string())
    }
}

impl Kernel {
    /// Opens a descriptor of `group` in the caller's table.
    pub fn open_pidfd(&self, t: &Task, group: &Rc<ThreadGroup>) -> Result<i32> {
        let file = OpenFile::new(PidFd::new(group), None, OpenFlags::RDWR);
        t.files().insert(file, true, t.nofile())
    }

    /// The process that a descriptor of the caller stands for.
    pub fn process_of_pidfd(&self, t: &Task, fd: i32) -> Result<Rc<ThreadGroup>> {
        let file = t.files().get(fd)?;
        file.file
            .as_any()
            .downcast_ref::<PidFd>()
            .map(PidFd::group)
            .ok_or(Errno::EBADF)
    }
}
