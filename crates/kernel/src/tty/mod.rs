//! Terminals: [`Tty`] is a pseudo-terminal (or the console) between a master side, which plays keyboard and
//! screen, and slave files, which programs have open (`pty(7)`, `tty_ioctl(4)`).
//!
//! The line discipline is in [`line_discipline`]. Job control that depends on the calling task (background
//! reads, `TIOCSPGRP`, …) is in `syscalls/sys_tty.rs`; here a terminal only knows its session and its
//! foreground process group, and asks [`JobControl`] to deliver signals.
//!
//! Borrow rule: signals and wake-ups are sent after all borrows of a terminal have ended.

mod console;
pub mod line_discipline;
mod pty;
pub mod termios;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::Waker;

use abi::{Errno, Result};
use clock::WaitQueue;
use vfs::file::{Events, UserMemory};

pub use console::Console;
use line_discipline::{Effect, LineDiscipline};
pub use pty::{PtyMaster, PtySlave};
use termios::{TERMIOS_LEN, TERMIOS2_LEN, Termios};

use crate::task::{ControllingTerminal, ProcessGroup, Session};

/// Bytes typed that the line discipline has no room for yet.
const PENDING_MAX: usize = 64 * 1024;
/// Bytes written that the master has not read yet.
const OUTPUT_MAX: usize = 64 * 1024;

/// `SIGHUP`.
const SIGHUP: u32 = 1;
/// `SIGWINCH`.
const SIGWINCH: u32 = 28;

/// `ioctl_tty(2)` requests.
#[allow(missing_docs, reason = "named as in ioctl_tty(2)")]
pub mod request {
    pub const TCGETS: u32 = 0x5401;
    pub const TCSETS: u32 = 0x5402;
    pub const TCSETSW: u32 = 0x5403;
    pub const TCSETSF: u32 = 0x5404;
    pub const TCSBRK: u32 = 0x5409;
    pub const TCXONC: u32 = 0x540a;
    pub const TCFLSH: u32 = 0x540b;
    pub const TIOCEXCL: u32 = 0x540c;
    pub const TIOCNXCL: u32 = 0x540d;
    pub const TIOCSCTTY: u32 = 0x540e;
    pub const TIOCGPGRP: u32 = 0x540f;
    pub const TIOCSPGRP: u32 = 0x5410;
    pub const TIOCOUTQ: u32 = 0x5411;
    pub const TIOCSTI: u32 = 0x5412;
    pub const TIOCGWINSZ: u32 = 0x5413;
    pub const TIOCSWINSZ: u32 = 0x5414;
    pub const FIONREAD: u32 = 0x541b;
    pub const TIOCPKT: u32 = 0x5420;
    pub const TIOCNOTTY: u32 = 0x5422;
    pub const TIOCSETD: u32 = 0x5423;
    pub const TIOCGETD: u32 = 0x5424;
    pub const TCSBRKP: u32 = 0x5425;
    pub const TIOCGSID: u32 = 0x5429;
    pub const TCGETS2: u32 = 0x802c_542a;
    pub const TCSETS2: u32 = 0x402c_542b;
    pub const TCSETSW2: u32 = 0x402c_542c;
    pub const TCSETSF2: u32 = 0x402c_542d;
    pub const TIOCGPTN: u32 = 0x8004_5430;
    pub const TIOCSPTLCK: u32 = 0x4004_5431;
    pub const TIOCSIG: u32 = 0x4004_5436;
    pub const TIOCGPKT: u32 = 0x8004_5438;
    pub const TIOCGPTLCK: u32 = 0x8004_5439;
    pub const TIOCGPTPEER: u32 = 0x5441;
}
use request as r;

/// Packet mode (`TIOCPKT`): what the byte in front of each read says.
mod packet {
    /// Bits of the control byte.
    pub const FLUSHREAD: u8 = 1;
    pub const FLUSHWRITE: u8 = 2;
    pub const STOP: u8 = 4;
    pub const START: u8 = 8;
}

/// Who delivers the signals of terminals: the kernel.
pub trait JobControl {
    /// Sends `signal` to every process of a group.
    fn signal_group(&self, group: &Rc<ProcessGroup>, signal: u32);
    /// The terminal is gone: the leader of the session gets SIGHUP and SIGCONT, and the session has no
    /// terminal any more.
    fn hang_up_session(&self, session: &Rc<Session>);
}

/// Nobody to signal: for tests and terminals without programs.
pub struct NoJobControl;

impl JobControl for NoJobControl {
    fn signal_group(&self, _group: &Rc<ProcessGroup>, _signal: u32) {}
    fn hang_up_session(&self, _session: &Rc<Session>) {}
}

/// `struct winsize`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct WindowSize {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
    /// Width in pixels.
    pub xpixel: u16,
    /// Height in pixels.
    pub ypixel: u16,
}

/// A terminal.
pub struct Tty {
    me: Weak<Tty>,
    /// Device number, as `/proc/PID/stat` shows it.
    pub rdev: u64,
    /// Number below `/dev/pts`; `None` for the console.
    pub index: Option<u32>,
    discipline: RefCell<LineDiscipline>,
    /// Typed, not yet seen by the line discipline.
    pending: RefCell<VecDeque<u8>>,
    /// Written by programs and echo, not yet read by the master.
    output: RefCell<VecDeque<u8>>,
    window: Cell<WindowSize>,
    /// `TIOCEXCL`: nobody else opens it.
    pub(crate) exclusive: Cell<bool>,
    session: RefCell<Weak<Session>>,
    foreground: RefCell<Weak<ProcessGroup>>,
    slaves: Cell<usize>,
    /// A slave has been opened at least once.
    was_opened: Cell<bool>,
    /// The master is gone.
    hung_up: Cell<bool>,
    locked: Cell<bool>,
    packet: Cell<bool>,
    packet_status: Cell<u8>,
    jobs: Rc<dyn JobControl>,
    /// Waits for input, for room to write, or for a hangup.
    slave_wait: WaitQueue,
    /// Waits for output, for room to type, or for slaves to go.
    master_wait: WaitQueue,
}

impl Tty {
    /// A terminal nobody has open. Slaves of pseudo-terminals are locked until `TIOCSPTLCK`.
    #[must_use]
    pub fn new(rdev: u64, index: Option<u32>, jobs: Rc<dyn JobControl>) -> Rc<Tty> {
        Rc::new_cyclic(|me| Tty {
            me: Weak::clone(me),
            rdev,
            index,
            discipline: RefCell::new(LineDiscipline::new(Termios::default())),
            pending: RefCell::default(),
            output: RefCell::default(),
            window: Cell::default(),
            exclusive: Cell::new(false),
            session: RefCell::default(),
            foreground: RefCell::default(),
            slaves: Cell::new(0),
            was_opened: Cell::new(false),
            hung_up: Cell::new(false),
            locked: Cell::new(index.is_some()),
            packet: Cell::new(false),
            packet_status: Cell::new(0),
            jobs,
            slave_wait: WaitQueue::new(),
            master_wait: WaitQueue::new(),
        })
    }

    /// A counted reference to it.
    #[must_use]
    pub fn strong(&self) -> Option<Rc<Tty>> {
        self.me.upgrade()
    }

    /// The session whose controlling terminal it is.
    #[must_use]
    pub fn session(&self) -> Option<Rc<Session>> {
        self.session.borrow().upgrade()
    }

    /// The foreground process group.
    #[must_use]
    pub fn foreground_group(&self) -> Option<Rc<ProcessGroup>> {
        self.foreground.borrow().upgrade()
    }

    /// Makes it the controlling terminal of `session`, with `foreground` in front.
    pub fn attach(self: &Rc<Tty>, session: &Rc<Session>, foreground: &Rc<ProcessGroup>) {
        *self.session.borrow_mut() = Rc::downgrade(session);
        *self.foreground.borrow_mut() = Rc::downgrade(foreground);
        let terminal = Rc::clone(self) as Rc<dyn ControllingTerminal>;
        let old = session.terminal.borrow_mut().replace(terminal);
        drop(old);
    }

    /// It is nobody's controlling terminal any more.
    pub fn detach(&self) {
        let session = std::mem::take(&mut *self.session.borrow_mut()).upgrade();
        *self.foreground.borrow_mut() = Weak::new();
        if let Some(session) = session {
            let old = session.terminal.borrow_mut().take();
            drop(old);
        }
    }

    /// Puts a process group in front.
    pub fn set_foreground(&self, group: &Rc<ProcessGroup>) {
        *self.foreground.borrow_mut() = Rc::downgrade(group);
    }

    /// The master side is gone.
    #[must_use]
    pub fn is_hung_up(&self) -> bool {
        self.hung_up.get()
    }

    /// Opening the slave is refused (`TIOCSPTLCK`).
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.locked.get()
    }

    /// Locks or unlocks the slave.
    pub fn set_locked(&self, locked: bool) {
        self.locked.set(locked);
    }

    /// A copy of the settings.
    #[must_use]
    pub fn termios(&self) -> Termios {
        *self.discipline.borrow().termios()
    }

    /// Rows and columns.
    #[must_use]
    pub fn window(&self) -> WindowSize {
        self.window.get()
    }

    /// Sets rows and columns; the foreground process group gets SIGWINCH when they differ.
    pub fn set_window(&self, window: WindowSize) {
        if self.window.replace(window) != window {
            self.signal_foreground(SIGWINCH);
        }
    }

    /// Signals the foreground process group.
    pub fn signal_foreground(&self, signal: u32) {
        if let Some(group) = self.foreground_group() {
            self.jobs.signal_group(&group, signal);
        }
    }

    /// `TCSETS*`: changes the settings, perhaps dropping unread input.
    pub fn set_termios(&self, termios: Termios, flush: bool) {
        {
            let mut discipline = self.discipline.borrow_mut();
            if flush {
                discipline.flush_input();
            }
            discipline.set_termios(termios);
        }
        self.pump();
        self.slave_wait.wake_all();
    }

    /// A signal key would do this too: drops input, output or both (`TCFLSH` 0, 1, 2).
    pub fn flush(&self, queue: u64) -> Result<()> {
        if queue > 2 {
            return Err(Errno::EINVAL);
        }
        if queue != 1 {
            self.discipline.borrow_mut().flush_input();
            self.pending.borrow_mut().clear();
            self.add_packet_status(packet::FLUSHREAD);
        }
        if queue != 0 {
            self.discipline.borrow_mut().flush_output();
            self.output.borrow_mut().clear();
            self.add_packet_status(packet::FLUSHWRITE);
        }
        self.master_wait.wake_all();
        self.slave_wait.wake_all();
        Ok(())
    }

    fn add_packet_status(&self, bits: u8) {
        if self.packet.get() {
            self.packet_status.set(self.packet_status.get() | bits);
        }
    }

    /// Types: what the master writes. `EAGAIN` when the queue is full.
    pub fn type_bytes(&self, bytes: &[u8]) -> Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let count = {
            let mut pending = self.pending.borrow_mut();
            let count = bytes.len().min(PENDING_MAX - pending.len());
            pending.extend(&bytes[..count]);
            count
        };
        if count == 0 {
            return Err(Errno::EAGAIN);
        }
        self.pump();
        Ok(count)
    }

    /// Moves typed bytes through the line discipline as far as it has room.
    fn pump(&self) {
        let mut signals = Vec::new();
        {
            let mut discipline = self.discipline.borrow_mut();
            let mut pending = self.pending.borrow_mut();
            let mut output = self.output.borrow_mut();
            let was_stopped = discipline.is_stopped();
            // Echo cannot push output beyond its bound: what is typed then waits.
            while discipline.room() > 0 && output.len() < OUTPUT_MAX {
                let Some(byte) = pending.pop_front() else {
                    break;
                };
                discipline.receive(byte);
                while let Some(effect) = discipline.take_effect() {
                    match effect {
                        Effect::FlushOutput => {
                            output.clear();
                            self.add_packet_status(packet::FLUSHREAD | packet::FLUSHWRITE);
                        }
                        Effect::Signal(signal) => signals.push(signal),
                    }
                }
                discipline.take_echo(&mut output);
            }
            match (was_stopped, discipline.is_stopped()) {
                (false, true) => self.add_packet_status(packet::STOP),
                (true, false) => self.add_packet_status(packet::START),
                _ => {}
            }
            discipline.take_echo(&mut output);
        }
        for signal in signals {
            self.signal_foreground(signal);
        }
        self.slave_wait.wake_all();
        self.master_wait.wake_all();
    }

    /// Takes what programs and echo put on the screen; `None` when there is nothing.
    pub fn take_output(&self, buf: &mut [u8]) -> Option<usize> {
        let count = {
            let mut output = self.output.borrow_mut();
            let count = output.len().min(buf.len());
            crate::pipe::copy_front(&output, &mut buf[..count]);
            output.drain(..count);
            count
        };
        if count == 0 {
            return None;
        }
        self.pump();
        Some(count)
    }

    /// `read(2)` on a slave, without blocking.
    fn slave_read(&self, buf: &mut [u8]) -> Result<usize> {
        if self.hung_up.get() || buf.is_empty() {
            return Ok(0);
        }
        let taken = self.discipline.borrow_mut().read(buf);
        match taken {
            Some(count) => {
                self.pump();
                Ok(count)
            }
            None if self.raw_limits() == Some((0, 0)) => Ok(0),
            None => Err(Errno::EAGAIN),
        }
    }

    /// VMIN and VTIME when they count: not in canonical mode.
    #[must_use]
    pub fn raw_limits(&self) -> Option<(u8, u8)> {
        let discipline = self.discipline.borrow();
        let termios = discipline.termios();
        (!termios.local(termios::ICANON))
            .then(|| (termios.cc[termios::VMIN], termios.cc[termios::VTIME]))
    }

    /// Bytes a read could take now.
    #[must_use]
    pub fn readable(&self) -> usize {
        self.discipline.borrow().readable()
    }

    /// Wakes `waker` when there is more to read.
    pub fn wait_for_input(&self, waker: &Waker) {
        self.slave_wait.register(waker);
    }

    fn slave_write(&self, buf: &[u8]) -> Result<usize> {
        if self.hung_up.get() {
            return Err(Errno::EIO);
        }
        let count = {
            let mut discipline = self.discipline.borrow_mut();
            let mut output = self.output.borrow_mut();
            let room = OUTPUT_MAX.saturating_sub(output.len());
            if discipline.is_stopped() || room == 0 {
                return Err(Errno::EAGAIN);
            }
            let count = buf.len().min(room);
            discipline.process_output(&buf[..count], &mut output);
            count
        };
        self.master_wait.wake_all();
        Ok(count)
    }

    fn slave_poll(&self, waker: Option<&Waker>) -> Events {
        if let Some(waker) = waker {
            self.slave_wait.register(waker);
        }
        if self.hung_up.get() {
            return Events::IN
                | Events::OUT
                | Events::ERR
                | Events::HUP
                | Events::RDNORM
                | Events::WRNORM;
        }
        let discipline = self.discipline.borrow();
        let enough = match self.raw_limits() {
            Some((min, 0)) if min > 0 => discipline.readable() >= usize::from(min),
            _ => discipline.has_input(),
        };
        let mut events = Events::empty();
        if enough {
            events |= Events::IN | Events::RDNORM;
        }
        if !discipline.is_stopped() && self.output.borrow().len() < OUTPUT_MAX {
            events |= Events::OUT | Events::WRNORM;
        }
        events
    }

    fn master_read(&self, buf: &mut [u8]) -> Result<usize> {
        if self.packet.get() {
            return self.master_read_packet(buf);
        }
        match self.take_output(buf) {
            Some(count) => Ok(count),
            None if buf.is_empty() => Ok(0),
            None if self.slaves_are_gone() => Err(Errno::EIO),
            None => Err(Errno::EAGAIN),
        }
    }

    fn master_read_packet(&self, buf: &mut [u8]) -> Result<usize> {
        let Some((first, rest)) = buf.split_first_mut() else {
            return Ok(0);
        };
        let status = self.packet_status.replace(0);
        if status != 0 {
            *first = status;
            return Ok(1);
        }
        match self.take_output(rest) {
            Some(count) => {
                *first = 0;
                Ok(count + 1)
            }
            None if self.slaves_are_gone() => Err(Errno::EIO),
            None => Err(Errno::EAGAIN),
        }
    }

    fn slaves_are_gone(&self) -> bool {
        self.slaves.get() == 0 && self.was_opened.get()
    }

    fn master_poll(&self, waker: Option<&Waker>) -> Events {
        if let Some(waker) = waker {
            self.master_wait.register(waker);
        }
        let mut events = Events::empty();
        if !self.output.borrow().is_empty() {
            events |= Events::IN | Events::RDNORM;
        }
        if self.packet_status.get() != 0 {
            events |= Events::IN | Events::RDNORM | Events::PRI;
        }
        if self.pending.borrow().len() < PENDING_MAX {
            events |= Events::OUT | Events::WRNORM;
        }
        if self.slaves_are_gone() {
            events |= Events::HUP;
        }
        events
    }

    fn slave_opened(&self) {
        self.slaves.set(self.slaves.get() + 1);
        self.was_opened.set(true);
        self.master_wait.wake_all();
    }

    fn slave_closed(&self) {
        self.slaves.set(self.slaves.get() - 1);
        if self.slaves.get() == 0 {
            self.master_wait.wake_all();
        }
    }

    /// The master was closed: programs see an end of file, the session leader gets SIGHUP.
    pub fn hang_up(&self) {
        if self.hung_up.replace(true) {
            return;
        }
        let session = self.session();
        self.detach();
        self.slave_wait.wake_all();
        self.master_wait.wake_all();
        if let Some(session) = session {
            self.jobs.hang_up_session(&session);
        }
    }

    /// Requests that both sides understand and that need no calling task.
    fn ioctl(&self, request: u32, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
        match request {
            r::TCGETS => memory.write(argument, &self.termios().emit()[..TERMIOS_LEN])?,
            r::TCGETS2 => memory.write(argument, &self.termios().emit())?,
            r::TCSETS | r::TCSETSW | r::TCSETSF => {
                let mut raw = [0; TERMIOS_LEN];
                memory.read(argument, &mut raw)?;
                self.set_termios(self.termios().parse(&raw), request == r::TCSETSF);
            }
            r::TCSETS2 | r::TCSETSW2 | r::TCSETSF2 => {
                let mut raw = [0; TERMIOS2_LEN];
                memory.read(argument, &mut raw)?;
                self.set_termios(self.termios().parse(&raw), request == r::TCSETSF2);
            }
            // Output is never in the wire and a break has nowhere to go.
            r::TCSBRK | r::TCSBRKP => {}
            r::TIOCEXCL | r::TIOCNXCL => self.exclusive.set(request == r::TIOCEXCL),
            r::TCXONC => self.flow_control(argument)?,
            r::TIOCGWINSZ => {
                let window = self.window.get();
                let mut raw = [0; 8];
                for (at, value) in [window.rows, window.cols, window.xpixel, window.ypixel]
                    .into_iter()
                    .enumerate()
                {
                    raw[at * 2..at * 2 + 2].copy_from_slice(&value.to_le_bytes());
                }
                memory.write(argument, &raw)?;
            }
            r::TIOCSWINSZ => {
                let mut raw = [0; 8];
                memory.read(argument, &mut raw)?;
                let field = |at: usize| u16::from_le_bytes([raw[at], raw[at + 1]]);
                self.set_window(WindowSize {
                    rows: field(0),
                    cols: field(2),
                    xpixel: field(4),
                    ypixel: field(6),
                });
            }
            r::TIOCGETD => memory.write(argument, &0i32.to_le_bytes())?,
            r::TIOCSETD => {
                let mut raw = [0; 4];
                memory.read(argument, &mut raw)?;
                if raw != [0; 4] {
                    return Err(Errno::EINVAL);
                }
            }
            // Typing into another's terminal: switched off in today's kernels.
            r::TIOCSTI => return Err(Errno::EIO),
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }

    /// `TCXONC`: TCOOFF, TCOON; TCIOFF and TCION type the stop and start character.
    fn flow_control(&self, action: u64) -> Result<()> {
        match action {
            0 | 1 => {
                self.discipline.borrow_mut().set_stopped(action == 0);
                self.pump();
                Ok(())
            }
            2 | 3 => {
                let byte = self.termios().cc[if action == 2 {
                    termios::VSTOP
                } else {
                    termios::VSTART
                }];
                if byte != 0 {
                    self.output.borrow_mut().push_back(byte);
                    self.master_wait.wake_all();
                }
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        }
    }
}

impl ControllingTerminal for Tty {
    fn device(&self) -> u64 {
        self.rdev
    }

    fn foreground(&self) -> Option<Rc<ProcessGroup>> {
        self.foreground_group()
    }

    fn session_ended(&self) {
        let group = self.foreground_group();
        self.detach();
        if let Some(group) = group {
            self.jobs.signal_group(&group, SIGHUP);
        }
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
