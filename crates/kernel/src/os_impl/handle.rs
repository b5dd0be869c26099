//! Open files, pipes, terminals and sockets in the hands of daemons.

use std::any::Any;
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use os::{Errno, Handle, Listener, Metadata, NewPty, Result, WindowSize};
use vfs::FsContext;
use vfs::file::{Events, OpenFile, OpenFlags, UserMemory};
use vfs::inode::{S_IFSOCK, SetAttr};

use super::metadata;
use crate::kernel::Kernel;
use crate::pipe::Pipe;
use crate::socket::unix::{Kind, UnixSocket};
use crate::socket::{PeerCred, SockAddr, Socket, SocketFile, consts};
use crate::task::Task;
use crate::tty::{PtyMaster, PtySlave, request};

/// An open file description held by a daemon.
pub struct OsHandle {
    /// It.
    pub file: Rc<OpenFile>,
    /// Whose view it was opened in: `/proc/sys/net` written through a container's view is the container's.
    acting: Option<(Weak<Kernel>, Weak<Task>)>,
    /// Who waits for content that is not in the machine yet.
    waiting: RefCell<Vec<Waker>>,
}

impl OsHandle {
    /// A handle of `file`, as the machine itself.
    #[must_use]
    pub fn of(file: Rc<OpenFile>) -> Rc<dyn Handle> {
        Rc::new(OsHandle {
            file,
            acting: None,
            waiting: RefCell::default(),
        })
    }

    /// A handle of `file`, used as `task` would.
    pub(super) fn acting_as(
        kernel: &Rc<Kernel>,
        task: Option<&Rc<Task>>,
        file: Rc<OpenFile>,
    ) -> Rc<dyn Handle> {
        let acting = task.map(|task| (Rc::downgrade(kernel), Rc::downgrade(task)));
        Rc::new(OsHandle {
            file,
            acting,
            waiting: RefCell::default(),
        })
    }

    /// Does something with the file in the name of whoever's view it is.
    fn with<R>(&self, f: impl FnOnce(&OpenFile) -> R) -> R {
        let acting = self.acting.as_ref();
        let acting = acting.and_then(|(kernel, task)| Some((kernel.upgrade()?, task.upgrade()?)));
        match acting {
            Some((kernel, task)) => super::acting(&kernel, Some(&task), || f(&self.file)),
            None => f(&self.file),
        }
    }

    /// The description as a program gets it: it blocks. Daemons never do, whatever the flag says.
    pub(super) fn for_program(&self) -> Rc<OpenFile> {
        let flags = self.file.flags.get() - OpenFlags::NONBLOCK;
        self.file.flags.set(flags);
        self.file.file.set_flags(flags);
        Rc::clone(&self.file)
    }

    /// Tries, and registers for another try when it is too early.
    fn poll(
        &self,
        cx: &Context<'_>,
        attempt: &mut dyn FnMut(&OpenFile) -> Result<usize>,
    ) -> Poll<Result<usize>> {
        // The second attempt is for what became ready while it was registered.
        for _ in 0..2 {
            match self.with(&mut *attempt) {
                Err(Errno::EAGAIN | Errno::NOT_HERE_YET) => {
                    self.file.file.poll(Some(cx.waker()));
                }
                other => return Poll::Ready(other),
            }
        }
        Poll::Pending
    }
}

impl Handle for OsHandle {
    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize>> {
        self.poll(cx, &mut |file| file.read(buf))
    }

    fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        self.poll(cx, &mut |file| file.write(buf))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        if !self.file.flags.get().readable() {
            return Err(Errno::EBADF);
        }
        self.with(|open| open.file.read_at(offset, buf))
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<usize> {
        if !self.file.flags.get().writable() {
            return Err(Errno::EBADF);
        }
        self.with(|open| open.file.write_at(offset, buf))
    }

    fn poll_arrival(&self, cx: &mut Context<'_>) -> Poll<()> {
        // The first call registers, the next one of the same waiter completes.
        let mut waiting = self.waiting.borrow_mut();
        if let Some(index) = waiting.iter().position(|known| known.will_wake(cx.waker())) {
            waiting.swap_remove(index);
            return Poll::Ready(());
        }
        waiting.push(cx.waker().clone());
        drop(waiting);
        self.file.file.poll(Some(cx.waker()));
        Poll::Pending
    }

    fn poll_change(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.file.file.poll(Some(cx.waker())).contains(Events::PRI) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    fn metadata(&self) -> Result<Metadata> {
        match (&self.file.path, self.file.file.anonymous_attr()) {
            (_, Some(attr)) => Ok(metadata(&attr, 0)),
            (Some(path), None) => {
                let stat = path.stat()?;
                Ok(metadata(&stat.attr, stat.dev))
            }
            (None, None) => Err(Errno::EBADF),
        }
    }

    fn set_len(&self, len: u64) -> Result<()> {
        if !self.file.flags.get().writable() {
            return Err(Errno::EINVAL);
        }
        let inode = self.file.inode().ok_or(Errno::EINVAL)?;
        inode.set_attr(&SetAttr {
            size: Some(len),
            ..SetAttr::default()
        })
    }

    fn set_window_size(&self, size: WindowSize) -> Result<()> {
        let any = self.file.file.as_any();
        let tty = match (
            any.downcast_ref::<PtyMaster>(),
            any.downcast_ref::<PtySlave>(),
        ) {
            (Some(master), _) => master.tty(),
            (_, Some(slave)) => slave.tty(),
            _ => return Err(Errno::ENOTTY),
        };
        tty.set_window(OsHandle::window(size));
        Ok(())
    }

    fn shutdown_write(&self) -> Result<()> {
        crate::socket::shutdown_write(&*self.file.file)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Memory for an `ioctl` made by the kernel itself: a few bytes at address 0.
struct Scratch(RefCell<[u8; 16]>);

impl UserMemory for Scratch {
    fn read(&self, address: u64, buf: &mut [u8]) -> Result<()> {
        let memory = self.0.borrow();
        let start = usize::try_from(address).map_err(|_| Errno::EFAULT)?;
        buf.copy_from_slice(memory.get(start..start + buf.len()).ok_or(Errno::EFAULT)?);
        Ok(())
    }

    fn write(&self, address: u64, buf: &[u8]) -> Result<()> {
        let mut memory = self.0.borrow_mut();
        let start = usize::try_from(address).map_err(|_| Errno::EFAULT)?;
        memory
            .get_mut(start..start + buf.len())
            .ok_or(Errno::EFAULT)?
            .copy_from_slice(buf);
        Ok(())
    }
}

/// `pipe(2)`.
pub(super) fn pipe(kernel: &Rc<Kernel>) -> (Rc<dyn Handle>, Rc<dyn Handle>) {
    let pipe = Pipe::new(crate::dev::next_anonymous_ino(kernel), Some(&kernel.payer));
    let reader = OpenFile::new(Rc::new(pipe.open(true, false)), None, OpenFlags::NONBLOCK);
    let writer = OpenFile::new(
        Rc::new(pipe.open(false, true)),
        None,
        OpenFlags::NONBLOCK | OpenFlags::WRONLY,
    );
    (OsHandle::of(reader), OsHandle::of(writer))
}

/// A terminal of the devpts at `/dev/pts`.
pub(super) fn open_pty(fs: &FsContext<'_>) -> Result<NewPty> {
    let flags = OpenFlags::RDWR | OpenFlags::NOCTTY;
    let master = fs.open(None, b"/dev/pts/ptmx", flags | OpenFlags::NONBLOCK, 0)?;
    let memory = Scratch(RefCell::new([0; 16]));
    master.file.ioctl(request::TIOCSPTLCK, 0, &memory)?;
    master.file.ioctl(request::TIOCGPTN, 0, &memory)?;
    let mut number = [0; 4];
    memory.read(0, &mut number)?;
    let number = u32::from_le_bytes(number);
    let slave = fs.open(None, format!("/dev/pts/{number}").as_bytes(), flags, 0)?;
    Ok(NewPty {
        master: OsHandle::of(master),
        slave: OsHandle::of(slave),
        number,
    })
}

/// The Unix stream socket of a daemon as a file.
fn socket_file(kernel: &Kernel, socket: Rc<UnixSocket>) -> Rc<dyn Handle> {
    let what = (consts::AF_UNIX, consts::SOCK_STREAM, 0);
    let file = SocketFile::new(kernel, &kernel.init_ns.net, what, socket);
    OsHandle::of(OpenFile::new(
        file,
        None,
        OpenFlags::RDWR | OpenFlags::NONBLOCK,
    ))
}

/// `struct sockaddr_un` of a path.
fn address(path: &[u8]) -> SockAddr {
    let mut raw = consts::AF_UNIX.to_le_bytes().to_vec();
    raw.extend_from_slice(path);
    raw.push(0);
    SockAddr::new(&raw)
}

/// A listening Unix stream socket.
struct UnixListener {
    kernel: Rc<Kernel>,
    socket: Rc<UnixSocket>,
}

impl Listener for UnixListener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<Rc<dyn Handle>>> {
        for _ in 0..2 {
            match self.socket.accept_next() {
                Err(Errno::EAGAIN) => {
                    self.socket.poll(Some(cx.waker()));
                }
                other => return Poll::Ready(other.map(|socket| socket_file(&self.kernel, socket))),
            }
        }
        Poll::Pending
    }
}

/// Binds and listens; an old socket file is replaced.
pub(super) fn unix_listen(
    kernel: &Rc<Kernel>,
    fs: &FsContext<'_>,
    path: &[u8],
    mode: u32,
) -> Result<Rc<dyn Listener>> {
    match fs.stat(None, path, false) {
        Ok(stat) if stat.attr.file_type() == S_IFSOCK => fs.unlink(None, path)?,
        Ok(_) => return Err(Errno::EADDRINUSE),
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    let place = fs.bind_socket_node(path, mode)?;
    let socket = UnixSocket::new(Kind::Stream, &kernel.init_ns.net);
    socket.bind_inode(&place.inode(), &address(path))?;
    socket.listen_as(BACKLOG, PeerCred::host())?;
    Ok(Rc::new(UnixListener {
        kernel: Rc::clone(kernel),
        socket,
    }))
}

/// Connections that may wait: as many as the system allows.
const BACKLOG: u32 = 4096;

/// Connects to a listening Unix stream socket.
pub(super) fn unix_connect(
    kernel: &Rc<Kernel>,
    fs: &FsContext<'_>,
    path: &[u8],
) -> Result<Rc<dyn Handle>> {
    let listener = UnixSocket::at_inode(&fs.resolve(None, path, true)?.inode())?;
    let socket = UnixSocket::new(Kind::Stream, &kernel.init_ns.net);
    socket.connect_to(&listener, PeerCred::host())?;
    Ok(socket_file(kernel, socket))
}
