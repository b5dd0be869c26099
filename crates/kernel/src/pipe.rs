//! Pipes and FIFOs (`pipe(7)`, `fifo(7)`).
//!
//! One [`Pipe`] is the buffer; a [`PipeEnd`] is an open file on it, for reading, writing or (FIFOs
//! opened with `O_RDWR`) both. A FIFO's pipe hangs on its inode's attachments and lives as long as it
//! is open somewhere.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use abi::{Errno, Result};
use clock::WaitQueue;
use mem::{Kind, Payer};
use vfs::file::{Events, File, OpenFlags, UserMemory};
use vfs::inode::{Attr, S_IFIFO};

use crate::cgroup::queue::QueueCharge;

/// Writes up to this many bytes are not mixed with others (`PIPE_BUF`).
pub const PIPE_BUF: usize = 4096;
/// Capacity of a new pipe.
pub const DEFAULT_CAPACITY: usize = 65536;
/// Largest capacity that `F_SETPIPE_SZ` gives (`/proc/sys/fs/pipe-max-size`).
pub const MAX_CAPACITY: usize = 1 << 20;

/// `FIONREAD`: bytes that can be read.
const FIONREAD: u32 = 0x541b;

/// The buffer between readers and writers.
pub struct Pipe {
    /// Inode number in the kernel's own pipe file system.
    pub ino: u64,
    bytes: RefCell<VecDeque<u8>>,
    /// Lengths of what was written, and which of it are packets; empty while there is no packet.
    marks: RefCell<VecDeque<(usize, bool)>>,
    charge: QueueCharge,
    capacity: Cell<usize>,
    readers: Cell<usize>,
    writers: Cell<usize>,
    /// How often a reader, a writer opened it: blocking FIFO opens wait for a change.
    reader_opens: Cell<u64>,
    writer_opens: Cell<u64>,
    /// Whoever waits for data, room, or the other side to come or go.
    readable: WaitQueue,
    writable: WaitQueue,
}

impl Pipe {
    /// An empty pipe nobody has open. Who writes pays.
    #[must_use]
    pub fn new(ino: u64, payer: Option<&Rc<Payer>>) -> Rc<Pipe> {
        Rc::new(Pipe {
            ino,
            bytes: RefCell::default(),
            marks: RefCell::default(),
            charge: QueueCharge::new(payer, Kind::Kernel),
            capacity: Cell::new(DEFAULT_CAPACITY),
            readers: Cell::new(0),
            writers: Cell::new(0),
            reader_opens: Cell::new(0),
            writer_opens: Cell::new(0),
            readable: WaitQueue::new(),
            writable: WaitQueue::new(),
        })
    }

    /// Opens it for reading, writing or both.
    #[must_use]
    pub fn open(self: &Rc<Pipe>, reads: bool, writes: bool) -> PipeEnd {
        if reads {
            self.readers.set(self.readers.get() + 1);
            self.reader_opens.set(self.reader_opens.get() + 1);
            self.writable.wake_all();
        }
        if writes {
            self.writers.set(self.writers.get() + 1);
            self.writer_opens.set(self.writer_opens.get() + 1);
            self.readable.wake_all();
        }
        PipeEnd {
            pipe: Rc::clone(self),
            reads,
            writes,
            packets: Cell::new(false),
            writer_opens_at_open: if self.writers.get() > 0 {
                u64::MAX
            } else {
                self.writer_opens.get()
            },
        }
    }

    /// Someone has it open for reading.
    #[must_use]
    pub fn has_reader(&self) -> bool {
        self.readers.get() > 0
    }

    /// Someone has it open for writing.
    #[must_use]
    pub fn has_writer(&self) -> bool {
        self.writers.get() > 0
    }

    /// How often it was opened for reading and for writing.
    #[must_use]
    pub fn open_counts(&self) -> (u64, u64) {
        (self.reader_opens.get(), self.writer_opens.get())
    }

    /// Wakes `waker` when a reader or writer comes.
    pub fn wait_for_peer(&self, waker: &Waker) {
        self.readable.register(waker);
        self.writable.register(waker);
    }

    /// Bytes in the buffer.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.borrow().len()
    }

    /// Nothing to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `F_GETPIPE_SZ`.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity.get()
    }

    /// `F_SETPIPE_SZ`: rounds up to a power of two of pages; `EBUSY` when it holds more.
    pub fn set_capacity(&self, wanted: usize) -> Result<usize> {
        if wanted > MAX_CAPACITY {
            return Err(Errno::EPERM);
        }
        let capacity = wanted.max(PIPE_BUF).next_power_of_two();
        if self.len() > capacity {
            return Err(Errno::EBUSY);
        }
        self.capacity.set(capacity);
        self.writable.wake_all();
        Ok(capacity)
    }

    /// Copies the first bytes without taking them (`tee`).
    #[must_use]
    pub fn peek(&self, buf: &mut [u8]) -> usize {
        let bytes = self.bytes.borrow();
        let count = bytes.len().min(buf.len());
        copy_front(&bytes, &mut buf[..count]);
        count
    }

    fn take(&self, buf: &mut [u8]) -> usize {
        let mut bytes = self.bytes.borrow_mut();
        let mut marks = self.marks.borrow_mut();
        // What of a packet does not fit is lost.
        let (available, drop) = match marks.front() {
            None => (bytes.len(), 0),
            Some(&(len, true)) => (len, len),
            Some(&(len, false)) => (len, 0),
        };
        let count = available.min(buf.len());
        copy_front(&bytes, &mut buf[..count]);
        bytes.drain(..count.max(drop));
        if let Some(front) = marks.front_mut() {
            front.0 -= count.max(drop);
            if front.0 == 0 {
                marks.pop_front();
            }
        }
        if bytes.is_empty() && bytes.capacity() > DEFAULT_CAPACITY {
            *bytes = VecDeque::new();
            self.charge.emptied();
        }
        count
    }

    /// Puts bytes in; they fit. All that the queue ever grows to is paid until it is gone.
    fn put(&self, buf: &[u8], packets: bool) -> Result<()> {
        let mut bytes = self.bytes.borrow_mut();
        let len = bytes.len() + buf.len();
        if len > bytes.capacity() {
            let capacity = len.next_power_of_two();
            self.charge.grow(capacity)?;
            let more = capacity - bytes.len();
            bytes.reserve_exact(more);
        }
        let mut marks = self.marks.borrow_mut();
        if packets {
            if marks.is_empty() && !bytes.is_empty() {
                marks.push_back((bytes.len(), false));
            }
            marks.extend(buf.chunks(PIPE_BUF).map(|packet| (packet.len(), true)));
        } else {
            match marks.back_mut() {
                Some((len, false)) => *len += buf.len(),
                Some(_) => marks.push_back((buf.len(), false)),
                None => {}
            }
        }
        bytes.extend(buf);
        Ok(())
    }

    /// Packets take a page of the capacity each, however short they are.
    fn full_of_packets(&self) -> bool {
        self.marks.borrow().len() >= self.capacity.get() / PIPE_BUF
    }

    fn room(&self) -> usize {
        if self.full_of_packets() {
            return 0;
        }
        self.capacity.get().saturating_sub(self.len())
    }
}

/// Copies from the front of a byte queue; `buf` is not longer than the queue.
pub(crate) fn copy_front(bytes: &VecDeque<u8>, buf: &mut [u8]) {
    let (first, second) = bytes.as_slices();
    let split = first.len().min(buf.len());
    buf[..split].copy_from_slice(&first[..split]);
    let rest = buf.len() - split;
    buf[split..].copy_from_slice(&second[..rest]);
}

/// An open end of a pipe.
pub struct PipeEnd {
    /// The buffer.
    pub pipe: Rc<Pipe>,
    reads: bool,
    writes: bool,
    /// `O_DIRECT`: every write is a packet.
    packets: Cell<bool>,
    /// A FIFO opened for reading before any writer came has not been hung up. `u64::MAX`: there was one.
    writer_opens_at_open: u64,
}

impl PipeEnd {
    /// The pipe.
    #[must_use]
    pub fn pipe(&self) -> &Rc<Pipe> {
        &self.pipe
    }

    /// Opened for reading.
    #[must_use]
    pub fn reads(&self) -> bool {
        self.reads
    }

    /// Opened for writing.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.writes
    }
}

impl File for PipeEnd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> Result<usize> {
        if !self.reads {
            return Err(Errno::EBADF);
        }
        if buf.is_empty() {
            return Ok(0);
        }
        let count = self.pipe.take(buf);
        if count > 0 {
            self.pipe.writable.wake_all();
            return Ok(count);
        }
        if self.pipe.has_writer() {
            Err(Errno::EAGAIN)
        } else {
            Ok(0)
        }
    }

    fn write_at(&self, _offset: u64, buf: &[u8]) -> Result<usize> {
        if !self.writes {
            return Err(Errno::EBADF);
        }
        if buf.is_empty() {
            return Ok(0);
        }
        if !self.pipe.has_reader() {
            return Err(Errno::EPIPE);
        }
        let room = self.pipe.room();
        if room == 0 || (buf.len() <= PIPE_BUF && room < buf.len()) {
            return Err(Errno::EAGAIN);
        }
        let count = room.min(buf.len());
        self.pipe.put(&buf[..count], self.packets.get())?;
        self.pipe.readable.wake_all();
        Ok(count)
    }

    fn poll(&self, waker: Option<&Waker>) -> Events {
        let mut events = Events::empty();
        if self.reads {
            if let Some(waker) = waker {
                self.pipe.readable.register(waker);
            }
            if !self.pipe.is_empty() {
                events |= Events::IN | Events::RDNORM;
            }
            if !self.pipe.has_writer() && self.writer_opens_at_open != self.pipe.writer_opens.get()
            {
                events |= Events::HUP;
            }
        }
        if self.writes {
            if let Some(waker) = waker {
                self.pipe.writable.register(waker);
            }
            if self.pipe.room() >= PIPE_BUF {
                events |= Events::OUT | Events::WRNORM;
            }
            if !self.pipe.has_reader() {
                events |= Events::ERR;
            }
        }
        events
    }

    fn set_flags(&self, flags: OpenFlags) {
        self.packets.set(flags.contains(OpenFlags::DIRECT));
    }

    fn anonymous_name(&self) -> Option<String> {
        Some(format!("pipe:[{}]", self.pipe.ino))
    }

    fn anonymous_attr(&self) -> Option<Attr> {
        Some(Attr {
            ino: self.pipe.ino,
            mode: S_IFIFO | 0o600,
            nlink: 1,
            blksize: 4096,
            ..Attr::default()
        })
    }

    fn ioctl(&self, request: u32, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
        if request != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        memory.write(argument, &(self.pipe.len() as i32).to_le_bytes())?;
        Ok(0)
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        if self.reads {
            self.pipe.readers.set(self.pipe.readers.get() - 1);
            if !self.pipe.has_reader() {
                self.pipe.writable.wake_all();
            }
        }
        if self.writes {
            self.pipe.writers.set(self.pipe.writers.get() - 1);
            if !self.pipe.has_writer() {
                self.pipe.readable.wake_all();
            }
        }
        // A FIFO that nobody has open forgets what was not read.
        if !self.pipe.has_reader() && !self.pipe.has_writer() {
            self.pipe.bytes.borrow_mut().clear();
            self.pipe.marks.borrow_mut().clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (PipeEnd, PipeEnd) {
        let pipe = Pipe::new(1, None);
        (pipe.open(true, false), pipe.open(false, true))
    }

    #[test]
    fn bytes_come_in_order_and_end_with_the_writer() {
        let (reader, writer) = pair();
        let mut buf = [0; 4];
        assert_eq!(reader.read_at(0, &mut buf), Err(Errno::EAGAIN));
        assert_eq!(writer.write_at(0, b"hello"), Ok(5));
        assert_eq!(reader.poll(None), Events::IN | Events::RDNORM);
        assert_eq!(reader.read_at(0, &mut buf), Ok(4));
        assert_eq!(&buf, b"hell");
        drop(writer);
        assert_eq!(reader.poll(None), Events::IN | Events::RDNORM | Events::HUP);
        assert_eq!(reader.read_at(0, &mut buf), Ok(1));
        assert_eq!(reader.read_at(0, &mut buf), Ok(0));
        assert_eq!(reader.poll(None), Events::HUP);
    }

    #[test]
    fn small_writes_are_whole_and_large_ones_partial() {
        let (reader, writer) = pair();
        assert_eq!(
            writer.write_at(0, &vec![1; DEFAULT_CAPACITY - 10]),
            Ok(DEFAULT_CAPACITY - 10)
        );
        assert_eq!(writer.write_at(0, &[2; 11]), Err(Errno::EAGAIN));
        assert_eq!(writer.write_at(0, &[2; 5000]), Ok(10));
        assert_eq!(writer.write_at(0, &[2; 1]), Err(Errno::EAGAIN));
        assert_eq!(writer.poll(None), Events::empty());
        let mut buf = vec![0; 4096];
        assert_eq!(reader.read_at(0, &mut buf), Ok(4096));
        assert_eq!(writer.poll(None), Events::OUT | Events::WRNORM);
        drop(reader);
        assert_eq!(writer.write_at(0, b"x"), Err(Errno::EPIPE));
        assert!(writer.poll(None).contains(Events::ERR));
    }

    #[test]
    fn packets_are_read_one_by_one() {
        let (reader, writer) = pair();
        let mut buf = [0; 8];
        writer.write_at(0, b"plain").unwrap();
        writer.set_flags(OpenFlags::DIRECT);
        writer.write_at(0, b"one").unwrap();
        writer.write_at(0, b"three").unwrap();
        writer.set_flags(OpenFlags::empty());
        writer.write_at(0, b"rest").unwrap();
        assert_eq!(reader.read_at(0, &mut buf), Ok(5));
        assert_eq!(reader.read_at(0, &mut buf[..2]), Ok(2));
        assert_eq!(reader.read_at(0, &mut buf), Ok(5));
        assert_eq!(&buf[..5], b"three");
        assert_eq!(reader.read_at(0, &mut buf), Ok(4));
        writer.set_flags(OpenFlags::DIRECT);
        for _ in 0..16 {
            assert_eq!(writer.write_at(0, b"x"), Ok(1));
        }
        assert_eq!(writer.write_at(0, b"x"), Err(Errno::EAGAIN));
    }

    #[test]
    fn capacity_can_be_changed() {
        let (_reader, writer) = pair();
        assert_eq!(writer.pipe.set_capacity(5000), Ok(8192));
        assert_eq!(writer.write_at(0, &[0; 9000]), Ok(8192));
        assert_eq!(writer.pipe.set_capacity(4096), Err(Errno::EBUSY));
        assert_eq!(
            writer.pipe.set_capacity(MAX_CAPACITY + 1),
            Err(Errno::EPERM)
        );
        assert_eq!(writer.pipe.set_capacity(0).err(), Some(Errno::EBUSY));
    }

    #[test]
    fn a_fifo_without_a_first_writer_is_not_hung_up() {
        let fifo = Pipe::new(1, None);
        let reader = fifo.open(true, false);
        assert_eq!(reader.poll(None), Events::empty());
        let writer = fifo.open(false, true);
        drop(writer);
        assert_eq!(reader.poll(None), Events::HUP);
    }
}
