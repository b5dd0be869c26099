//! System calls: file locks (`fcntl(2)` record locks, open file description locks, `flock(2)`).
//!
//! The locks themselves are in [`vfs::lock`]. A process holds POSIX locks through its descriptor table:
//! threads share them, and closing any descriptor of the file ends them.

use std::rc::Rc;

use abi::{Errno, Result};
use vfs::file::{OpenFile, OpenFlags};
use vfs::inode::InodeRef;
use vfs::lock::{LockKind, LockOwner, LockTable, LockWaits, RecordLock, range};

use super::table::{Arg, Row};
use super::{Block, SysResult};
use crate::kernel::Kernel;
use crate::task::Task;

/// The rows of this family.
pub const ROWS: &[Row] = &[Row::full(32, "flock", sys_flock, &[Arg::Fd, Arg::Hex])];

/// Closing any descriptor of a file ends the process's record locks on it (`fcntl(2)`).
pub(super) fn descriptor_closed(_: &Kernel, t: &Task, file: &OpenFile) {
    let files = t.files();
    if files.has_locks()
        && let Some(inode) = file.inode()
    {
        files.release_locks(&inode);
    }
}

fn lock_table(file: &OpenFile) -> Result<Rc<LockTable>> {
    let inode: InodeRef = file.inode().ok_or(Errno::EBADF)?;
    LockTable::of(&*inode)
}

/// `struct flock`: type, whence, start, length, pid.
struct FlockArgument {
    kind: i16,
    whence: i16,
    start: i64,
    len: i64,
    pid: i32,
}

const F_RDLCK: i16 = 0;
const F_WRLCK: i16 = 1;
const F_UNLCK: i16 = 2;

impl FlockArgument {
    fn read(t: &Task, address: u64) -> Result<FlockArgument> {
        let raw: [u8; 32] = t.read_bytes(address)?;
        let word = |at: usize| i64::from_le_bytes(raw[at..at + 8].try_into().unwrap_or_default());
        let half = |at: usize| i16::from_le_bytes([raw[at], raw[at + 1]]);
        Ok(FlockArgument {
            kind: half(0),
            whence: half(2),
            start: word(8),
            len: word(16),
            pid: word(24) as i32,
        })
    }

    fn write(&self, t: &Task, address: u64) -> Result<()> {
        let mut raw = [0; 32];
        raw[..2].copy_from_slice(&self.kind.to_le_bytes());
        raw[2..4].copy_from_slice(&self.whence.to_le_bytes());
        raw[8..16].copy_from_slice(&self.start.to_le_bytes());
        raw[16..24].copy_from_slice(&self.len.to_le_bytes());
        raw[24..28].copy_from_slice(&self.pid.to_le_bytes());
        t.write_memory(address, &raw)
    }

    /// First and last byte in the file.
    fn range(&self, file: &OpenFile) -> Result<(u64, u64)> {
        let base = match self.whence {
            0 => 0,
            1 => file.position.get() as i64,
            2 => file
                .inode()
                .map_or(Ok(0), |inode| inode.attr().map(|attr| attr.size))? as i64,
            _ => return Err(Errno::EINVAL),
        };
        range(
            base.checked_add(self.start).ok_or(Errno::EOVERFLOW)?,
            self.len,
        )
    }
}

/// `F_GETLK`, `F_SETLK`, `F_SETLKW` and their open file description kin.
pub(super) fn fcntl_lock(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    file: &Rc<OpenFile>,
    command: u64,
    address: u64,
) -> SysResult {
    let of_description = command >= 36;
    let mut argument = FlockArgument::read(t, address)?;
    if of_description && argument.pid != 0 {
        return Err(Errno::EINVAL.into());
    }
    let table = lock_table(file)?;
    let (start, end) = argument.range(file)?;
    let files = t.files();
    let (owner, pid) = if of_description {
        (file.lock_owner(), -1)
    } else {
        (files.lock_owner(), t.group.tgid_in(&t.pid_ns()) as i32)
    };
    let kind = match argument.kind {
        F_RDLCK => LockKind::Shared,
        F_WRLCK => LockKind::Exclusive,
        F_UNLCK if !matches!(command, 5 | 36) => {
            table.unset(owner, start, end);
            return Ok(0);
        }
        _ => return Err(Errno::EINVAL.into()),
    };
    let wanted = RecordLock {
        owner,
        pid,
        kind,
        start,
        end,
    };
    if matches!(command, 5 | 36) {
        argument.kind = F_UNLCK;
        if let Some(lock) = table.conflict(&wanted) {
            argument.kind = if lock.kind == LockKind::Shared {
                F_RDLCK
            } else {
                F_WRLCK
            };
            argument.whence = 0;
            argument.start = lock.start as i64;
            argument.len = if lock.end == u64::MAX {
                0
            } else {
                (lock.end - lock.start + 1) as i64
            };
            argument.pid = lock.pid;
        }
        argument.write(t, address)?;
        return Ok(0);
    }
    let flags = file.flags.get();
    let may = if kind == LockKind::Shared {
        flags.readable()
    } else {
        flags.writable()
    };
    if !may {
        return Err(Errno::EBADF.into());
    }
    if of_description {
        file.has_locks.set(true)
    } else {
        files.note_lock()
    }
    let waits = k.extension(LockWaits::default);
    let outcome = if matches!(command, 7 | 38) {
        table.set_or_wait(wanted, &waits)
    } else {
        table.set(wanted)
    };
    match outcome {
        Err(Errno::EAGAIN) if matches!(command, 7 | 38) => {
            // Taken back when the call ends in any way, so that nobody seems to wait who does not.
            *t.syscall.data.borrow_mut() = Some(Box::new(Waiting { waits, owner }));
            table.wait.register(t.waker());
            Err(Block::restartable())
        }
        other => {
            other?;
            Ok(0)
        }
    }
}

/// The owner waits for a lock.
struct Waiting {
    waits: Rc<LockWaits>,
    owner: LockOwner,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.waits.stop(self.owner);
    }
}

fn sys_flock(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    const LOCK_NB: u64 = 4;
    let file = t.files().get(a[0] as i32)?;
    if file.flags.get().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF.into());
    }
    let table = lock_table(&file)?;
    let owner = file.lock_owner();
    let kind = match a[1] & !LOCK_NB {
        1 => LockKind::Shared,
        2 => LockKind::Exclusive,
        8 => {
            table.unflock(owner);
            return Ok(0);
        }
        _ => return Err(Errno::EINVAL.into()),
    };
    file.has_locks.set(true);
    match table.flock(owner, kind) {
        Err(Errno::EAGAIN) if a[1] & LOCK_NB == 0 => {
            table.wait.register(t.waker());
            Err(Block::restartable())
        }
        other => {
            other?;
            Ok(0)
        }
    }
}
