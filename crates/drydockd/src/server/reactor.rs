//! Sockets of this computer as streams: who waits for which is what `poll(2)` is asked.
//!
//! One thread: the machine, its daemons and all connections take turns. A connection may move so much per
//! turn ([`SHARE`]) that one that never ends does not keep the others from theirs.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use clock::WaitQueue;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serve::{Io, IoError, IoStream};

/// Bytes that a connection may move in one direction before everybody else had a turn.
const SHARE: usize = 1 << 20;

/// A connection of either family.
pub enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    fn read(&self, buf: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Socket::Unix(socket) => (&*socket).read(buf),
            Socket::Tcp(socket) => (&*socket).read(buf),
        }
    }

    fn write(&self, buf: &[u8]) -> std::io::Result<usize> {
        match self {
            Socket::Unix(socket) => (&*socket).write(buf),
            Socket::Tcp(socket) => (&*socket).write(buf),
        }
    }

    fn set_nonblocking(&self) -> std::io::Result<()> {
        match self {
            Socket::Unix(socket) => socket.set_nonblocking(true),
            Socket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                // Answers are small and someone waits for them.
                socket.set_nodelay(true)
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Unix(socket) => socket.as_fd(),
            Socket::Tcp(socket) => socket.as_fd(),
        }
    }
}

/// One direction of a connection.
struct Direction {
    wait: WaitQueue,
    left: Cell<usize>,
}

impl Direction {
    fn new() -> Direction {
        Direction {
            wait: WaitQueue::new(),
            left: Cell::new(SHARE),
        }
    }

    /// Does a call on the socket, or waits until it can be done.
    fn call(
        &self,
        cx: &mut Context<'_>,
        length: usize,
        mut call: impl FnMut(usize) -> std::io::Result<usize>,
    ) -> Poll<Result<usize, IoError>> {
        let length = length.min(self.left.get());
        let outcome = match length {
            0 => Err(ErrorKind::WouldBlock.into()),
            _ => loop {
                match call(length) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    outcome => break outcome,
                }
            },
        };
        match outcome {
            Ok(count) => {
                self.left.set(self.left.get() - count);
                Poll::Ready(Ok(count))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.wait.register(cx.waker());
                Poll::Pending
            }
            Err(_) => Poll::Ready(Err(IoError("the connection broke"))),
        }
    }
}

struct Source {
    socket: Socket,
    read: Direction,
    write: Direction,
}

impl Source {
    /// What somebody waits for.
    fn interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, !self.read.wait.is_empty());
        flags.set(PollFlags::OUT, !self.write.wait.is_empty());
        flags
    }

    fn tell(&self, flags: PollFlags) {
        let ended = flags.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
        if ended || flags.contains(PollFlags::IN) {
            self.read.wait.wake_all();
        }
        if ended || flags.contains(PollFlags::OUT) {
            self.write.wait.wake_all();
        }
    }
}

struct Stream(Rc<Source>);

impl IoStream for Stream {
    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoError>> {
        let source = &self.0;
        let length = buf.len();
        source
            .read
            .call(cx, length, |length| source.socket.read(&mut buf[..length]))
    }

    fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, IoError>> {
        let source = &self.0;
        source
            .write
            .call(cx, buf.len(), |length| source.socket.write(&buf[..length]))
    }

    fn shutdown_write(&self) {
        // A peer that is gone already makes no difference.
        let _ = match &self.0.socket {
            Socket::Unix(socket) => socket.shutdown(Shutdown::Write),
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Write),
        };
    }
}

/// All connections.
#[derive(Default)]
pub struct Reactor {
    sources: RefCell<Vec<Weak<Source>>>,
}

impl Reactor {
    /// A connection as a stream. It ends when the stream is dropped.
    pub fn add(&self, socket: Socket) -> std::io::Result<Io> {
        socket.set_nonblocking()?;
        let source = Rc::new(Source {
            socket,
            read: Direction::new(),
            write: Direction::new(),
        });
        self.sources.borrow_mut().push(Rc::downgrade(&source));
        Ok(Io::new(Rc::new(Stream(source))))
    }

    /// Waits until a connection or one of `others` (to be read) can go on, for `time` at most; gives which
    /// of `others` can. `None`: for ever.
    pub fn wait(
        &self,
        others: &[BorrowedFd<'_>],
        time: Option<Duration>,
    ) -> std::io::Result<Vec<bool>> {
        let mut sources: Vec<Rc<Source>> = Vec::new();
        self.sources.borrow_mut().retain(|source| {
            let source = source.upgrade();
            let there = source.is_some();
            sources.extend(source);
            there
        });
        for source in &sources {
            source.read.left.set(SHARE);
            source.write.left.set(SHARE);
        }
        // Nobody waits for most of them: they are not asked about, so that a hang-up that nobody
        // wants to know of does not keep the loop going.
        sources.retain(|source| !source.interest().is_empty());
        let mut fds: Vec<PollFd<'_>> = sources
            .iter()
            .map(|source| PollFd::new(&source.socket, source.interest()))
            .chain(
                others
                    .iter()
                    .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)),
            )
            .collect();
        let time = time.map(|time| Timespec {
            tv_sec: time.as_secs().min(1 << 30) as i64,
            tv_nsec: time.subsec_nanos().into(),
        });
        match poll(&mut fds, time.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let flags: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        for (source, flags) in sources.iter().zip(&flags) {
            source.tell(*flags);
        }
        Ok(flags[sources.len()..]
            .iter()
            .map(|flags| !flags.is_empty())
            .collect())
    }
}
