//! Who has a regular file open for writing and who executes it: the two exclude each other (`ETXTBSY`).

use std::cell::Cell;
use std::rc::Rc;

use abi::{Errno, Result};

use crate::inode::Inode;

/// What hangs on the inode: positive for writers, negative for programs that run from it.
#[derive(Default)]
struct Count(Cell<i64>);

/// One of them, for as long as it is kept.
pub struct WriteHold {
    count: Rc<Count>,
    by: i64,
}

impl WriteHold {
    fn take(inode: &dyn Inode, by: i64) -> Result<Option<WriteHold>> {
        let Some(attachments) = inode.attachments() else {
            return Ok(None);
        };
        let count = attachments.get_or_insert_with(Count::default);
        if count.0.get() * by < 0 {
            return Err(Errno::ETXTBSY);
        }
        count.0.set(count.0.get() + by);
        Ok(Some(WriteHold { count, by }))
    }

    /// The file is open for writing; `ETXTBSY` while it is executed.
    pub fn writer(inode: &dyn Inode) -> Result<Option<WriteHold>> {
        WriteHold::take(inode, 1)
    }

    /// The file is executed; `ETXTBSY` while it is open for writing.
    pub fn program(inode: &dyn Inode) -> Result<Option<WriteHold>> {
        WriteHold::take(inode, -1)
    }
}

impl Drop for WriteHold {
    fn drop(&mut self) {
        self.count.0.set(self.count.0.get() - self.by);
    }
}
