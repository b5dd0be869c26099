//! Named pipes: the pipe that hangs on a FIFO's inode (`fifo(7)`).
//!
//! Opening one end waits for the other. [`open`] does what can be done at once; the system call blocks
//! with [`wait_for_peer`] until it is done.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use abi::{Errno, Result};
use mem::Payer;
use vfs::file::{File, OpenFlags};
use vfs::inode::InodeRef;

use crate::pipe::{Pipe, PipeEnd};

/// What hangs on the inode: the pipe, as long as someone has it open.
#[derive(Default)]
struct Attached(RefCell<Weak<Pipe>>);

/// The pipe of a FIFO's inode, made when nobody has it open.
pub fn pipe_of(payer: &Rc<Payer>, inode: &InodeRef) -> Result<Rc<Pipe>> {
    let attachments = inode.attachments().ok_or(Errno::ENXIO)?;
    let attached = attachments.get_or_insert_with(Attached::default);
    let known = attached.0.borrow().upgrade();
    if let Some(pipe) = known {
        return Ok(pipe);
    }
    let pipe = Pipe::new(inode.attr()?.ino, Some(payer));
    *attached.0.borrow_mut() = Rc::downgrade(&pipe);
    Ok(pipe)
}

/// Opens a FIFO without waiting. `ENXIO` for a non-blocking writer without a reader.
pub fn open(payer: &Rc<Payer>, inode: &InodeRef, flags: OpenFlags) -> Result<Rc<dyn File>> {
    let pipe = pipe_of(payer, inode)?;
    let (reads, writes) = (flags.readable(), flags.writable());
    if writes && !reads && flags.contains(OpenFlags::NONBLOCK) && !pipe.has_reader() {
        return Err(Errno::ENXIO);
    }
    Ok(Rc::new(pipe.open(reads, writes)))
}

/// True when `end` is of the FIFO itself, and not of a pipe opened again through /proc: opening those
/// never waits (`fifo_open`).
#[must_use]
pub fn is_fifo_of(inode: &InodeRef, end: &PipeEnd) -> bool {
    let attached = inode
        .attachments()
        .and_then(|attachments| attachments.get::<Attached>());
    attached.is_some_and(|attached| attached.0.borrow().as_ptr() == Rc::as_ptr(&end.pipe))
}

/// What an open of one end saw of the other; blocking opens wait until `is_met`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerCount {
    readers: u64,
    writers: u64,
}

impl PeerCount {
    /// How often the pipe of `end` had been opened just now.
    #[must_use]
    pub fn of(end: &PipeEnd) -> PeerCount {
        let (readers, writers) = end.pipe.open_counts();
        PeerCount { readers, writers }
    }

    /// The other end is open, or was opened since.
    #[must_use]
    pub fn is_met(&self, end: &PipeEnd) -> bool {
        let now = PeerCount::of(end);
        (end.reads() && end.writes())
            || (end.reads() && (end.pipe.has_writer() || now.writers != self.writers))
            || (end.writes() && (end.pipe.has_reader() || now.readers != self.readers))
    }
}
