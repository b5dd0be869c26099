//! The two sides of a pseudo-terminal as open files (`pty(7)`).

use std::any::Any;
use std::rc::Rc;
use std::task::Waker;

use abi::{Errno, Result};
use vfs::file::{Events, File, UserMemory};

use super::{Tty, request as r};

/// The master: what is read was written by programs, what is written is typed.
pub struct PtyMaster {
    tty: Rc<Tty>,
    /// Frees the number in devpts.
    on_close: Option<Box<dyn Fn()>>,
}

impl PtyMaster {
    /// The master of `tty`. There is one; when it is dropped the terminal hangs up and `on_close` runs.
    #[must_use]
    pub fn new(tty: &Rc<Tty>, on_close: Option<Box<dyn Fn()>>) -> PtyMaster {
        PtyMaster {
            tty: Rc::clone(tty),
            on_close,
        }
    }

    /// The terminal.
    #[must_use]
    pub fn tty(&self) -> &Rc<Tty> {
        &self.tty
    }
}

impl File for PtyMaster {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.tty.master_read(buf)
    }

    fn write_at(&self, _offset: u64, buf: &[u8]) -> Result<usize> {
        self.tty.type_bytes(buf)
    }

    fn poll(&self, waker: Option<&Waker>) -> Events {
        self.tty.master_poll(waker)
    }

    fn ioctl(&self, request: u32, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
        let tty = &self.tty;
        let flag = || {
            let mut raw = [0; 4];
            memory.read(argument, &mut raw).map(|()| raw != [0; 4])
        };
        match request {
            r::TIOCGPTN => {
                let index = tty.index.ok_or(Errno::ENOTTY)?;
                memory.write(argument, &index.to_le_bytes())?;
            }
            r::TIOCSPTLCK => tty.set_locked(flag()?),
            r::TIOCGPTLCK => memory.write(argument, &i32::from(tty.is_locked()).to_le_bytes())?,
            r::TIOCPKT => {
                tty.packet.set(flag()?);
                tty.packet_status.set(0);
            }
            r::TIOCGPKT => memory.write(argument, &i32::from(tty.packet.get()).to_le_bytes())?,
            r::TIOCSIG => match u32::try_from(argument) {
                Ok(signal @ (2 | 3 | 20)) => tty.signal_foreground(signal),
                _ => return Err(Errno::EINVAL),
            },
            r::FIONREAD | r::TIOCOUTQ => {
                let count = if request == r::FIONREAD {
                    tty.output.borrow().len()
                } else {
                    tty.pending.borrow().len()
                };
                memory.write(argument, &(count as i32).to_le_bytes())?;
            }
            // Flushing the master's input is flushing the slave's output.
            r::TCFLSH => tty.flush(match argument {
                0 => 1,
                1 => 0,
                other => other,
            })?,
            _ => return tty.ioctl(request, argument, memory),
        }
        Ok(0)
    }
}

impl Drop for PtyMaster {
    fn drop(&mut self) {
        self.tty.hang_up();
        if let Some(on_close) = &self.on_close {
            on_close();
        }
    }
}

/// A slave: the terminal as programs have it open.
pub struct PtySlave {
    tty: Rc<Tty>,
}

impl PtySlave {
    /// Opens the slave; `EIO` when it is locked or its master is gone.
    pub fn open(tty: &Rc<Tty>) -> Result<Rc<PtySlave>> {
        if tty.is_locked() || tty.is_hung_up() {
            return Err(Errno::EIO);
        }
        tty.slave_opened();
        Ok(Rc::new(PtySlave {
            tty: Rc::clone(tty),
        }))
    }

    /// The terminal.
    #[must_use]
    pub fn tty(&self) -> &Rc<Tty> {
        &self.tty
    }
}

impl File for PtySlave {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.tty.slave_read(buf)
    }

    fn write_at(&self, _offset: u64, buf: &[u8]) -> Result<usize> {
        self.tty.slave_write(buf)
    }

    fn poll(&self, waker: Option<&Waker>) -> Events {
        self.tty.slave_poll(waker)
    }

    fn ioctl(&self, request: u32, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
        if self.tty.is_hung_up() {
            return Err(Errno::EIO);
        }
        match request {
            r::FIONREAD => memory.write(argument, &(self.tty.readable() as i32).to_le_bytes())?,
            r::TIOCOUTQ => memory.write(
                argument,
                &(self.tty.output.borrow().len() as i32).to_le_bytes(),
            )?,
            r::TCFLSH => self.tty.flush(argument)?,
            _ => return self.tty.ioctl(request, argument, memory),
        }
        Ok(0)
    }
}

impl Drop for PtySlave {
    fn drop(&mut self) {
        self.tty.slave_closed();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::super::{JobControl, WindowSize};
    use super::*;
    use crate::namespaces::pid::{Pid, PidNamespace};
    use crate::task::{ProcessGroup, Session};

    #[derive(Default)]
    struct Log(RefCell<Vec<String>>);

    impl JobControl for Log {
        fn signal_group(&self, group: &Rc<ProcessGroup>, signal: u32) {
            self.0
                .borrow_mut()
                .push(format!("signal {signal} to group {}", group.pid.global()));
        }

        fn hang_up_session(&self, session: &Rc<Session>) {
            self.0
                .borrow_mut()
                .push(format!("hangup of session {}", session.pid.global()));
        }
    }

    type Jobs = (Rc<Log>, Rc<Session>, Rc<ProcessGroup>);

    fn pair() -> (PtyMaster, Rc<PtySlave>, Jobs) {
        let log = Rc::new(Log::default());
        let tty = Tty::new(0x8803, Some(3), Rc::clone(&log) as Rc<dyn JobControl>);
        assert_eq!(PtySlave::open(&tty).err(), Some(Errno::EIO));
        tty.set_locked(false);
        let pids = PidNamespace::new_root(1, 100);
        let session = Session::new(Pid::allocate(&pids).unwrap());
        let group = ProcessGroup::new(Pid::allocate(&pids).unwrap(), Rc::clone(&session));
        tty.attach(&session, &group);
        let slave = PtySlave::open(&tty).unwrap();
        (PtyMaster::new(&tty, None), slave, (log, session, group))
    }

    fn read(file: &dyn File) -> Result<String> {
        let mut buf = [0; 1000];
        file.read_at(0, &mut buf)
            .map(|count| String::from_utf8_lossy(&buf[..count]).into_owned())
    }

    #[test]
    fn keyboard_and_screen() {
        let (master, slave, (log, _session, _group)) = pair();
        assert_eq!(read(&*slave), Err(Errno::EAGAIN));
        master.write_at(0, b"ls\rpwd\r").unwrap();
        assert_eq!(read(&*slave).unwrap(), "ls\n");
        assert_eq!(
            slave.poll(None),
            Events::IN | Events::OUT | Events::RDNORM | Events::WRNORM
        );
        assert_eq!(read(&*slave).unwrap(), "pwd\n");
        slave.write_at(0, b"a\nb").unwrap();
        assert_eq!(read(&master).unwrap(), "ls\r\npwd\r\na\r\nb");
        assert_eq!(read(&master), Err(Errno::EAGAIN));
        master.write_at(0, &[3]).unwrap();
        master.tty().set_window(WindowSize {
            rows: 24,
            cols: 80,
            ..WindowSize::default()
        });
        master.tty().set_window(WindowSize {
            rows: 24,
            cols: 80,
            ..WindowSize::default()
        });
        assert_eq!(
            *log.0.borrow(),
            ["signal 2 to group 2", "signal 28 to group 2"]
        );
    }

    #[test]
    fn closing_the_slaves_ends_the_master() {
        let (master, slave, _) = pair();
        slave.write_at(0, b"bye").unwrap();
        let tty = Rc::clone(slave.tty());
        drop(slave);
        assert_eq!(read(&master).unwrap(), "bye");
        assert_eq!(read(&master), Err(Errno::EIO));
        assert!(master.poll(None).contains(Events::HUP));
        let again = PtySlave::open(&tty).unwrap();
        assert_eq!(read(&master), Err(Errno::EAGAIN));
        drop(again);
    }

    #[test]
    fn closing_the_master_hangs_up() {
        let (master, slave, (log, session, _group)) = pair();
        drop(master);
        assert_eq!(read(&*slave).unwrap(), "");
        assert_eq!(slave.write_at(0, b"x"), Err(Errno::EIO));
        assert!(slave.poll(None).contains(Events::HUP | Events::IN));
        assert_eq!(*log.0.borrow(), ["hangup of session 1"]);
        assert!(session.terminal.borrow().is_none());
        assert_eq!(PtySlave::open(slave.tty()).err(), Some(Errno::EIO));
    }

    #[test]
    fn a_long_paste_is_taken_as_the_reader_goes() {
        let (master, slave, _) = pair();
        let paste = "0123456789\r".repeat(2000);
        let mut sent = 0;
        let mut lines = 0;
        while lines < 2000 {
            if sent < paste.len() {
                sent += master.write_at(0, &paste.as_bytes()[sent..]).unwrap_or(0);
            }
            if read(&*slave).is_ok_and(|line| line == "0123456789\n") {
                lines += 1;
            }
            let _ = read(&master);
        }
        assert_eq!(read(&*slave), Err(Errno::EAGAIN));
    }

    #[test]
    fn packet_mode_tells_of_flushes() {
        let (master, slave, _) = pair();
        master.tty().packet.set(true);
        slave.write_at(0, b"x").unwrap();
        assert_eq!(read(&master).unwrap(), "\0x");
        slave.tty().flush(2).unwrap();
        assert_eq!(read(&master).unwrap(), "\x03");
    }

    #[test]
    fn raw_reads_poll_by_vmin() {
        let (master, slave, _) = pair();
        let mut termios = slave.tty().termios();
        termios.lflag = 0;
        termios.cc[super::super::termios::VMIN] = 3;
        slave.tty().set_termios(termios, false);
        master.write_at(0, b"ab").unwrap();
        assert!(!slave.poll(None).contains(Events::IN));
        master.write_at(0, b"c").unwrap();
        assert!(slave.poll(None).contains(Events::IN));
        termios.cc[super::super::termios::VMIN] = 0;
        slave.tty().set_termios(termios, true);
        assert_eq!(read(&*slave), Ok(String::new()));
    }
}
