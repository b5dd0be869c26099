//! Device files: what is behind the numbers ([`char`]), the tree they are in ([`devtmpfs`]), terminals
//! ([`devpts`]).
//!
//! Any file system can hold a device file; opening one comes here through [`vfs::mount::SpecialFiles`],
//! with its number. FIFOs come the same way.

pub mod char;
pub mod devpts;
pub mod devtmpfs;

use std::cell::Cell;
use std::cell::RefCell;
use std::rc::{Rc, Weak};

use abi::{Errno, Result};
use vfs::file::{File, OpenFile, OpenFlags};
use vfs::inode::{Attr, S_IFBLK, S_IFCHR, S_IFIFO};
use vfs::mount::SpecialFiles;
use vfs::mountinfo::{major, minor};
use vfs::path::Path;

use crate::kernel::Kernel;
use crate::task::{ControllingTerminal, ProcessGroup, Session};
use crate::tty::{Console, JobControl, PtyMaster, PtySlave, Tty};
use devpts::DevPts;

/// What the devices of one machine share.
#[derive(Default)]
pub struct DeviceState {
    next_ino: Cell<u64>,
    console: RefCell<Option<Rc<Tty>>>,
}

fn state(k: &Kernel) -> Rc<DeviceState> {
    k.extension(DeviceState::default)
}

/// Inode number for one more pipe, socket or other file without a name.
#[must_use]
pub fn next_anonymous_ino(k: &Kernel) -> u64 {
    let state = state(k);
    // Numbers of a host that has been up for a while: nobody takes them for descriptors.
    let ino = state.next_ino.get().max(10_000) + 1;
    state.next_ino.set(ino);
    ino
}

/// Registers device files and their file systems with a new machine.
pub fn init(k: &Rc<Kernel>) {
    let kernel = Rc::downgrade(k);
    k.init_ns
        .mnt
        .mounts
        .set_special_files(Rc::new(Devices(Weak::clone(&kernel))));
    devpts::register(k);
    devtmpfs::register(k);
}

/// The terminal behind `/dev/console`.
#[must_use]
pub fn console(k: &Kernel) -> Option<Rc<Tty>> {
    state(k).console.borrow().clone()
}

/// Makes `tty` the terminal behind `/dev/console`.
pub fn set_console(k: &Kernel, tty: &Rc<Tty>) {
    let old = state(k).console.borrow_mut().replace(Rc::clone(tty));
    drop(old);
}

/// A new terminal on the devpts mounted at `/dev/pts` of the machine: the host's side, and the slave for a
/// program. The first becomes `/dev/console`.
pub fn new_console(k: &Rc<Kernel>) -> Result<(Rc<Console>, Rc<OpenFile>)> {
    let (master, slave) = k.with_host_fs(|fs| {
        let pts = fs.resolve(None, b"/dev/pts", true)?;
        open_pty(&pts)
    })?;
    if console(k).is_none() {
        set_console(k, master.tty());
    }
    let Ok(master) = Rc::try_unwrap(master) else {
        return Err(Errno::EIO);
    };
    Ok((Rc::new(Console::new(master)), slave))
}

/// A new pseudo-terminal of the devpts whose root is at `pts`: master, and slave open for reading and
/// writing. The slave is unlocked.
pub fn open_pty(pts: &Path) -> Result<(Rc<PtyMaster>, Rc<OpenFile>)> {
    let devpts = DevPts::of(pts).ok_or(Errno::ENODEV)?;
    let master = devpts.open_master()?;
    master.tty().set_locked(false);
    let name = master.tty().index.ok_or(Errno::EIO)?.to_string();
    let slave = PtySlave::open(master.tty())?;
    let slave = OpenFile::new(slave, Some(pts.child(name.as_bytes())?), OpenFlags::RDWR);
    Ok((master, slave))
}

/// The name of the slave of a master that was opened at `ptmx`: beside it in devpts, or below `pts`.
#[must_use]
pub fn slave_path(ptmx: &Path, tty: &Tty) -> Option<Path> {
    let name = tty.index?.to_string();
    let dir = ptmx.up()?;
    let found = dir
        .child(name.as_bytes())
        .or_else(|_| dir.child(b"pts")?.child(name.as_bytes()))
        .ok()?;
    let same = devpts::tty_of(&found).is_some_and(|found| std::ptr::eq(&*found, tty));
    same.then_some(found)
}

/// Opens device files by number, and FIFOs.
struct Devices(Weak<Kernel>);

impl SpecialFiles for Devices {
    fn open(&self, path: &Path, attr: &Attr, flags: OpenFlags) -> Result<Rc<dyn File>> {
        let k = self.0.upgrade().ok_or(Errno::ENXIO)?;
        match attr.file_type() {
            S_IFIFO => crate::fifo::open(&k.payer, &path.inode(), flags),
            S_IFCHR => open_char(&k, path, (major(attr.rdev), minor(attr.rdev))),
            S_IFBLK => Err(Errno::ENXIO),
            _ => Err(Errno::ENXIO),
        }
    }
}

fn open_char(k: &Rc<Kernel>, path: &Path, number: (u64, u64)) -> Result<Rc<dyn File>> {
    Ok(match number {
        (1, 3) => Rc::new(char::Null),
        (1, 5) => Rc::new(char::Zero),
        (1, 7) => Rc::new(char::Full),
        (1, 8 | 9) => Rc::new(char::Random(Rc::clone(&k.rng))),
        (1, 11) => char::Kmsg::open(k),
        (5, 0) => {
            let task = k.current().ok_or(Errno::ENXIO)?;
            let terminal = task.group.terminal().ok_or(Errno::ENXIO)?;
            PtySlave::open(&as_tty(&*terminal).ok_or(Errno::ENXIO)?)?
        }
        (5, 1) | (4, 0 | 1) => PtySlave::open(&console(k).ok_or(Errno::ENXIO)?)?,
        (5, 2) => {
            // The instance beside it: /dev/ptmx belongs to /dev/pts.
            let pts = path.up().ok_or(Errno::ENODEV)?.child(b"pts")?;
            DevPts::of(&pts).ok_or(Errno::ENODEV)?.open_master()?
        }
        _ => return Err(Errno::ENXIO),
    })
}

/// The terminal behind a session's controlling terminal.
fn as_tty(terminal: &dyn ControllingTerminal) -> Option<Rc<Tty>> {
    terminal
        .as_any()
        .downcast_ref::<Tty>()
        .and_then(Tty::strong)
}

/// Delivers the signals of terminals.
pub(crate) struct KernelJobs(Weak<Kernel>);

impl KernelJobs {
    pub(crate) fn new(k: &Rc<Kernel>) -> Rc<KernelJobs> {
        Rc::new(KernelJobs(Rc::downgrade(k)))
    }
}

impl JobControl for KernelJobs {
    fn signal_group(&self, group: &Rc<ProcessGroup>, signal: u32) {
        if let Some(k) = self.0.upgrade() {
            k.signal_process_group(group, abi::signal::SigInfo::kernel(signal));
        }
    }

    fn hang_up_session(&self, session: &Rc<Session>) {
        let leader = session.pid.task();
        if let (Some(k), Some(leader)) = (self.0.upgrade(), leader) {
            for signal in [abi::signal::SIGHUP, abi::signal::SIGCONT] {
                // A dead leader is nobody to tell.
                let _ = k.signal_process(&leader.group, abi::signal::SigInfo::kernel(signal));
            }
        }
    }
}
