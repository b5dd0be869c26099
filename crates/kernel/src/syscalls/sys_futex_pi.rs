//! Locks with an owner in the word (`FUTEX_LOCK_PI` and its family, `futex(2)`). There is one processor and
//! no real-time priority to inherit, so what is left is who owns the lock and who is next.

use std::rc::Rc;

use abi::Errno;

use super::sys_futex::read_deadline;
use super::{Block, Restart, Stop, SysResult};
use crate::futex::Ticket;
use crate::kernel::Kernel;
use crate::task::Task;

const WAITERS: u32 = 0x8000_0000;
const OWNER_DIED: u32 = 0x4000_0000;
const TID_MASK: u32 = 0x3fff_ffff;

/// `FUTEX_LOCK_PI`, `FUTEX_LOCK_PI2` (`realtime` says on which clock the time is) and, without `waits`,
/// `FUTEX_TRYLOCK_PI`.
pub(super) fn lock(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    address: u64,
    private: bool,
    timeout: u64,
    realtime: bool,
    waits: bool,
) -> SysResult {
    let deadline = match timeout {
        0 => None,
        _ if !waits => None,
        timeout => Some(read_deadline(k, t, timeout, Some(realtime))?),
    };
    let (key, page) = k.futex_key(t, address, private)?;
    // Out of the queue while we look; back to its end when the lock went to somebody else.
    t.syscall.data.borrow_mut().take();
    let word = t.read_u32(address)?;
    let me = t.tid_in(&t.pid_ns());
    let owner = word & TID_MASK;
    if owner == me {
        return Err(Errno::EDEADLK.into());
    }
    if owner == 0 {
        let others = if k.futexes.has_waiters(key) {
            WAITERS
        } else {
            0
        };
        t.write_u32(address, me | word & OWNER_DIED | others)?;
        return Ok(0);
    }
    if !waits {
        return Err(Errno::EAGAIN.into());
    }
    if t.pid_ns().task(owner).is_none() {
        return Err(Errno::ESRCH.into());
    }
    if deadline.is_some_and(|deadline| deadline <= k.clock.now()) {
        return Err(Errno::ETIMEDOUT.into());
    }
    t.write_u32(address, word | WAITERS)?;
    let ticket: Ticket = k.futexes.wait(key, u32::MAX, t.waker(), page);
    *t.syscall.data.borrow_mut() = Some(Box::new(ticket));
    Err(Stop::Block(Block {
        deadline,
        restart: Restart::Sys,
    }))
}

/// `FUTEX_UNLOCK_PI`.
pub(super) fn unlock(k: &Rc<Kernel>, t: &Rc<Task>, address: u64, private: bool) -> SysResult {
    let (key, _) = k.futex_key(t, address, private)?;
    let word = t.read_u32(address)?;
    if word & TID_MASK != t.tid_in(&t.pid_ns()) {
        return Err(Errno::EPERM.into());
    }
    // With the bit set nobody can take it without asking here, so the woken one finds it free.
    let left = if k.futexes.has_waiters(key) {
        WAITERS
    } else {
        0
    };
    t.write_u32(address, left)?;
    k.futexes.wake(key, 1, u32::MAX);
    Ok(0)
}
