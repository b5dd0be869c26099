//! Byte streams: what HTTP runs over and what an upgraded connection becomes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use clock::WaitQueue;

/// A stream broke.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoError(pub &'static str);

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for IoError {}

/// A byte stream in both directions. Dropping the last reference closes it.
pub trait IoStream {
    /// Reads what is there; 0 when the other side has stopped writing.
    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoError>>;
    /// Writes what fits.
    fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, IoError>>;
    /// Stops writing; reading goes on (a half-closed connection).
    fn shutdown_write(&self);
}

/// A shared stream, possibly with bytes that were read too far ahead.
#[derive(Clone)]
pub struct Io {
    stream: Rc<dyn IoStream>,
    ahead: Rc<RefCell<VecDeque<u8>>>,
}

impl Io {
    /// Wraps a stream.
    #[must_use]
    pub fn new(stream: Rc<dyn IoStream>) -> Io {
        Io::with_ahead(stream, Vec::new())
    }

    /// Wraps a stream of which `ahead` has been read already.
    #[must_use]
    pub fn with_ahead(stream: Rc<dyn IoStream>, ahead: Vec<u8>) -> Io {
        Io {
            stream,
            ahead: Rc::new(RefCell::new(ahead.into())),
        }
    }

    /// Reads what is there; 0 when the other side has stopped writing.
    pub async fn read(&self, buf: &mut [u8]) -> Result<usize, IoError> {
        poll_fn(|cx| self.poll_read(cx, buf)).await
    }

    /// Writes everything.
    pub async fn write_all(&self, mut bytes: &[u8]) -> Result<(), IoError> {
        while !bytes.is_empty() {
            let count = poll_fn(|cx| self.stream.poll_write(cx, bytes)).await?;
            bytes = &bytes[count..];
        }
        Ok(())
    }
}

impl IoStream for Io {
    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoError>> {
        let mut ahead = self.ahead.borrow_mut();
        if ahead.is_empty() {
            return self.stream.poll_read(cx, buf);
        }
        let count = ahead.len().min(buf.len());
        for (slot, byte) in buf.iter_mut().zip(ahead.drain(..count)) {
            *slot = byte;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, IoError>> {
        self.stream.poll_write(cx, buf)
    }

    fn shutdown_write(&self) {
        self.stream.shutdown_write();
    }
}

/// Bytes one direction of a [`duplex`] holds.
const DUPLEX_BYTES: usize = 64 * 1024;

#[derive(Default)]
struct Lane {
    bytes: RefCell<VecDeque<u8>>,
    ended: Cell<bool>,
    reader_gone: Cell<bool>,
    wait: WaitQueue,
}

struct DuplexEnd {
    read: Rc<Lane>,
    write: Rc<Lane>,
}

/// Two streams connected to each other, for calling a server in the same process.
#[must_use]
pub fn duplex() -> (Io, Io) {
    let (a, b) = (Rc::new(Lane::default()), Rc::new(Lane::default()));
    let left = DuplexEnd {
        read: Rc::clone(&a),
        write: Rc::clone(&b),
    };
    let right = DuplexEnd { read: b, write: a };
    (Io::new(Rc::new(left)), Io::new(Rc::new(right)))
}

impl IoStream for DuplexEnd {
    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoError>> {
        let mut bytes = self.read.bytes.borrow_mut();
        if bytes.is_empty() && !self.read.ended.get() {
            self.read.wait.register(cx.waker());
            return Poll::Pending;
        }
        let count = bytes.len().min(buf.len());
        for (slot, byte) in buf.iter_mut().zip(bytes.drain(..count)) {
            *slot = byte;
        }
        drop(bytes);
        self.read.wait.wake_all();
        Poll::Ready(Ok(count))
    }

    fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, IoError>> {
        if self.write.reader_gone.get() || self.write.ended.get() {
            return Poll::Ready(Err(IoError("broken pipe")));
        }
        let room = DUPLEX_BYTES - self.write.bytes.borrow().len();
        if room == 0 {
            self.write.wait.register(cx.waker());
            return Poll::Pending;
        }
        let count = room.min(buf.len());
        self.write.bytes.borrow_mut().extend(&buf[..count]);
        self.write.wait.wake_all();
        Poll::Ready(Ok(count))
    }

    fn shutdown_write(&self) {
        self.write.ended.set(true);
        self.write.wait.wake_all();
    }
}

impl Drop for DuplexEnd {
    fn drop(&mut self) {
        self.shutdown_write();
        self.read.reader_gone.set(true);
        self.read.wait.wake_all();
    }
}
