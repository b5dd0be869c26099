//! `ioctl(2)`, and what terminals ask of the calling task: job control, controlling terminals, raw reads
//! with a minimum or a timer.

use std::rc::Rc;

use abi::signal::{SIGCONT, SIGHUP, SIGTTIN, SIGTTOU, SigInfo};
use abi::{Errno, Result};
use vfs::file::{OpenFile, OpenFlags, UserMemory};

use super::sys_file::{install, set_flags};
use super::table::{Arg, Row};
use super::{Block, Restart, Stop, SysResult};
use crate::kernel::Kernel;
use crate::namespaces::nsfs::{self, NsFile};
use crate::task::Task;
use crate::tty::{PtyMaster, PtySlave, Tty, request as r};

/// The rows of this family.
pub const ROWS: &[Row] = &[Row::partial(
    29,
    "ioctl",
    sys_ioctl,
    &[Arg::Fd, Arg::Hex, Arg::Ptr],
    "terminals, sockets, FIO*; what a file does not know is ENOTTY, FICLONE is EOPNOTSUPP",
)];

/// Requests that every file understands.
mod any {
    pub const FIONBIO: u32 = 0x5421;
    pub const FIONCLEX: u32 = 0x5450;
    pub const FIOCLEX: u32 = 0x5451;
    pub const FIOASYNC: u32 = 0x5452;
    pub const FIONREAD: u32 = 0x541b;
    pub const FIGETBSZ: u32 = 2;
    pub const FICLONE: u32 = 0x4004_9409;
    pub const FICLONERANGE: u32 = 0x4020_940d;
    pub const FIDEDUPERANGE: u32 = 0xc018_9436;
}

/// The memory of a task, for files.
pub(super) struct TaskMemory<'a>(pub &'a Task);

impl UserMemory for TaskMemory<'_> {
    fn read(&self, address: u64, buf: &mut [u8]) -> Result<()> {
        self.0.read_memory(address, buf)
    }

    fn write(&self, address: u64, buf: &[u8]) -> Result<()> {
        self.0.write_memory(address, buf)
    }
}

fn sys_ioctl(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let (fd, request, argument) = (a[0] as i32, a[1] as u32, a[2]);
    let file = t.files().get(fd)?;
    if file.flags.get().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF.into());
    }
    let memory = TaskMemory(t);
    match request {
        any::FIOCLEX | any::FIONCLEX => t.files().set_cloexec(fd, request == any::FIOCLEX)?,
        any::FIONBIO | any::FIOASYNC => {
            let mut raw = [0; 4];
            t.read_memory(argument, &mut raw)?;
            let flag = if request == any::FIONBIO {
                OpenFlags::NONBLOCK
            } else {
                OpenFlags::ASYNC
            };
            set_flags(
                &file,
                flag,
                if raw == [0; 4] {
                    OpenFlags::empty()
                } else {
                    flag
                },
            );
        }
        any::FIONREAD if file.file.always_ready() => {
            let size = file
                .inode()
                .map_or(Ok(0), |inode| inode.attr().map(|attr| attr.size))?;
            let left = size
                .saturating_sub(file.position.get())
                .min(i32::MAX as u64) as i32;
            t.write_memory(argument, &left.to_le_bytes())?;
        }
        any::FIGETBSZ if file.path.is_some() => t.write_memory(argument, &4096i32.to_le_bytes())?,
        any::FICLONE | any::FICLONERANGE | any::FIDEDUPERANGE => {
            return Err(Errno::EOPNOTSUPP.into());
        }
        _ => return terminal_or_file(k, t, &file, request, argument, &memory),
    }
    Ok(0)
}

fn terminal_or_file(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    file: &Rc<OpenFile>,
    request: u32,
    argument: u64,
    memory: &TaskMemory<'_>,
) -> SysResult {
    if let Some(master) = file.file.as_any().downcast_ref::<PtyMaster>() {
        match request {
            r::TIOCGPGRP => return write_group(t, master.tty(), argument),
            r::TIOCGSID => return write_session(t, master.tty(), argument),
            r::TIOCGPTPEER => return open_peer(t, file, master, argument),
            _ => {}
        }
    }
    if let Some(namespace) = file.file.as_any().downcast_ref::<NsFile>()
        && let Some(result) = nsfs::ioctl(k, t, namespace, request)
    {
        return Ok(result?);
    }
    if crate::socket::netlink::interface::changes(request)
        && let Some(socket) = file
            .file
            .as_any()
            .downcast_ref::<crate::socket::SocketFile>()
        && !k.capable_in(t, &socket.net.owner, vfs::Capability::NetAdmin)
    {
        return Err(Errno::EPERM.into());
    }
    let Some(slave) = file.file.as_any().downcast_ref::<PtySlave>() else {
        return Ok(file.file.ioctl(request, argument, memory)?);
    };
    let tty = slave.tty();
    if changes_terminal(request) {
        check_background(k, t, tty, SIGTTOU)?;
    }
    match request {
        r::TIOCSCTTY => set_controlling(k, t, tty, argument),
        r::TIOCNOTTY => give_up_terminal(k, t, tty),
        r::TIOCGPGRP if !is_controlling(t, tty) => Err(Errno::ENOTTY.into()),
        r::TIOCGPGRP => write_group(t, tty, argument),
        r::TIOCSPGRP => set_foreground(t, tty, argument),
        r::TIOCGSID if !is_controlling(t, tty) => Err(Errno::ENOTTY.into()),
        r::TIOCGSID => write_session(t, tty, argument),
        _ => Ok(file.file.ioctl(request, argument, memory)?),
    }
}

/// Requests that a background process must not make (tty_check_change).
fn changes_terminal(request: u32) -> bool {
    matches!(
        request,
        r::TCSETS
            | r::TCSETSW
            | r::TCSETSF
            | r::TCSETS2
            | r::TCSETSW2
            | r::TCSETSF2
            | r::TCFLSH
            | r::TCXONC
            | r::TCSBRK
            | r::TCSBRKP
            | r::TIOCSPGRP
            | r::TIOCSETD
    )
}

/// The terminal is the controlling terminal of the task's session.
fn is_controlling(t: &Task, tty: &Tty) -> bool {
    tty.session()
        .is_some_and(|session| Rc::ptr_eq(&session, &t.group.session()))
}

/// A task in the background gets `signal` with its whole group and tries again when it is in front; it
/// fails with `EIO` when nobody could continue it.
fn check_background(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    tty: &Tty,
    signal: u32,
) -> std::result::Result<(), Stop> {
    if !is_controlling(t, tty) {
        return Ok(());
    }
    let group = t.group.process_group();
    let Some(foreground) = tty.foreground_group() else {
        return Ok(());
    };
    if Rc::ptr_eq(&group, &foreground) {
        return Ok(());
    }
    let ignored = t.group.handlers.borrow().ignores(signal) || t.sigmask.get().has(signal);
    if ignored {
        return if signal == SIGTTIN {
            Err(Errno::EIO.into())
        } else {
            Ok(())
        };
    }
    if group.is_orphaned(None) {
        return Err(Errno::EIO.into());
    }
    k.signal_process_group(&group, SigInfo::kernel(signal));
    Err(Block::restartable())
}

/// Checks before a read: a background process may not.
pub(super) fn before_read(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    file: &OpenFile,
) -> std::result::Result<(), Stop> {
    match file.file.as_any().downcast_ref::<PtySlave>() {
        Some(slave) => check_background(k, t, slave.tty(), SIGTTIN),
        None => Ok(()),
    }
}

/// Checks before a write: with TOSTOP a background process may not.
pub(super) fn before_write(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    file: &OpenFile,
) -> std::result::Result<(), Stop> {
    match file.file.as_any().downcast_ref::<PtySlave>() {
        Some(slave) if slave.tty().termios().local(crate::tty::termios::TOSTOP) => {
            check_background(k, t, slave.tty(), SIGTTOU)
        }
        _ => Ok(()),
    }
}

/// Reads once from a file without a position. A terminal in raw mode waits for VMIN bytes or VTIME.
pub(super) fn read_stream(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    file: &OpenFile,
    buf: &mut [u8],
) -> std::result::Result<usize, Stop> {
    if let Some(slave) = file.file.as_any().downcast_ref::<PtySlave>()
        && !file.flags.get().contains(OpenFlags::NONBLOCK)
        && let Some((min, time)) = slave.tty().raw_limits()
        && (min > 1 || time > 0)
        && !slave.tty().is_hung_up()
    {
        wait_for_raw(k, t, slave.tty(), usize::from(min).min(buf.len()), time)?;
        return match file.file.read_at(0, buf) {
            // The timer ran out with nothing typed.
            Err(Errno::EAGAIN) => Ok(0),
            other => Ok(other?),
        };
    }
    Ok(file.file.read_at(file.position.get(), buf)?)
}

/// The four cases of non-canonical reads in `termios(3)` but for the trivial ones.
fn wait_for_raw(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    tty: &Tty,
    min: usize,
    time: u8,
) -> std::result::Result<(), Stop> {
    let now = k.clock.now();
    let have = tty.readable();
    let tick = || Some(now.plus(u64::from(time) * 100_000_000));
    if have >= min.max(1) {
        return Ok(());
    }
    let deadline = match (min, time) {
        (0, _) => t.syscall.deadline_or(tick),
        (_, 0) => None,
        // The timer starts anew with each byte, the first included.
        _ if have == 0 => None,
        _ => {
            if t.syscall.done.replace(have as u64) != have as u64 {
                t.syscall.deadline.set(tick());
            }
            t.syscall.deadline.get()
        }
    };
    if deadline.is_some_and(|deadline| deadline <= now) {
        return Ok(());
    }
    tty.wait_for_input(t.waker());
    Err(Stop::Block(Block {
        deadline,
        restart: Restart::Sys,
    }))
}

/// A terminal that its user wants for himself (`TIOCEXCL`).
pub(super) fn is_exclusive(file: &OpenFile) -> bool {
    let slave = file.file.as_any().downcast_ref::<PtySlave>();
    slave.is_some_and(|slave| slave.tty().exclusive.get())
}

/// A session leader without a terminal gets the one it opens.
pub(super) fn opened(t: &Task, file: &OpenFile, flags: OpenFlags) {
    let Some(slave) = file.file.as_any().downcast_ref::<PtySlave>() else {
        return;
    };
    if flags.contains(OpenFlags::NOCTTY) || !t.group.is_session_leader() {
        return;
    }
    let session = t.group.session();
    if session.terminal.borrow().is_none() && slave.tty().session().is_none() {
        slave.tty().attach(&session, &t.group.process_group());
    }
}

fn set_controlling(k: &Kernel, t: &Task, tty: &Rc<Tty>, argument: u64) -> SysResult {
    let session = t.group.session();
    if t.group.is_session_leader() && is_controlling(t, tty) {
        return Ok(0);
    }
    if !t.group.is_session_leader() || session.terminal.borrow().is_some() {
        return Err(Errno::EPERM.into());
    }
    if tty.session().is_some() {
        // Root may steal it.
        if argument != 1 || !k.capable(t, vfs::Capability::SysAdmin) {
            return Err(Errno::EPERM.into());
        }
        tty.detach();
    }
    tty.attach(&session, &t.group.process_group());
    Ok(0)
}

/// `TIOCNOTTY`. The terminal belongs to the session, so only its leader can give it up.
fn give_up_terminal(k: &Kernel, t: &Task, tty: &Tty) -> SysResult {
    if !is_controlling(t, tty) {
        return Err(Errno::ENOTTY.into());
    }
    if t.group.is_session_leader() {
        let group = tty.foreground_group();
        tty.detach();
        if let Some(group) = group {
            k.signal_process_group(&group, SigInfo::kernel(SIGHUP));
            k.signal_process_group(&group, SigInfo::kernel(SIGCONT));
        }
    }
    Ok(0)
}

fn write_group(t: &Task, tty: &Tty, address: u64) -> SysResult {
    let number = tty
        .foreground_group()
        .map_or(0, |group| group.pid.in_ns(&t.pid_ns()));
    t.write_memory(address, &number.to_le_bytes())?;
    Ok(0)
}

fn write_session(t: &Task, tty: &Tty, address: u64) -> SysResult {
    let session = tty.session().ok_or(Errno::ENOTTY)?;
    t.write_memory(address, &session.pid.in_ns(&t.pid_ns()).to_le_bytes())?;
    Ok(0)
}

fn set_foreground(t: &Task, tty: &Tty, address: u64) -> SysResult {
    if !is_controlling(t, tty) {
        return Err(Errno::ENOTTY.into());
    }
    let mut raw = [0; 4];
    t.read_memory(address, &mut raw)?;
    let number = u32::try_from(i32::from_le_bytes(raw)).map_err(|_| Errno::EINVAL)?;
    let pid = t.pid_ns().pid(number).ok_or(Errno::ESRCH)?;
    let group = pid.process_group.borrow().upgrade().ok_or(Errno::ESRCH)?;
    if !Rc::ptr_eq(&group.session, &t.group.session()) {
        return Err(Errno::EPERM.into());
    }
    tty.set_foreground(&group);
    Ok(0)
}

/// `TIOCGPTPEER`: opens the slave of a master, also where its devpts is not in sight.
fn open_peer(t: &Task, file: &OpenFile, master: &PtyMaster, flags: u64) -> SysResult {
    let flags = OpenFlags::from_bits_truncate(flags as u32);
    let slave = PtySlave::open(master.tty())?;
    let path = file
        .path
        .as_ref()
        .and_then(|path| crate::dev::slave_path(path, master.tty()));
    let open = OpenFile::new(slave, path, flags);
    opened(t, &open, flags);
    Ok(install(t, open, flags.contains(OpenFlags::CLOEXEC))?)
}
