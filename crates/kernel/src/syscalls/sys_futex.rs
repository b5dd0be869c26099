//! Futexes.
//!
//! Source: `futex(2)`, `get_robust_list(2)`.

use std::rc::Rc;

use abi::Errno;
use clock::{Instant, NANOS_PER_SEC};

use super::sys_futex_pi;
use super::table::{Arg, Row};
use super::{Block, Restart, Stop, SysResult};
use crate::futex::{FutexKey, Ticket};
use crate::kernel::Kernel;
use crate::task::Task;

use Arg::{FutexOp, Hex, Int, Ptr, Timespec, Uint};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::partial(
        98,
        "futex",
        sys_futex,
        &[Ptr, FutexOp, Uint, Timespec, Ptr, Hex],
        "FUTEX_WAIT_REQUEUE_PI and FUTEX_CMP_REQUEUE_PI are ENOSYS",
    ),
    Row::full(99, "set_robust_list", sys_set_robust_list, &[Ptr, Uint]),
    Row::full(
        100,
        "get_robust_list",
        sys_get_robust_list,
        &[Int, Ptr, Ptr],
    ),
    Row::enosys(449, "futex_waitv", "only Wine asks for it"),
];

const WAIT: u32 = 0;
const WAKE: u32 = 1;
const REQUEUE: u32 = 3;
const CMP_REQUEUE: u32 = 4;
const WAKE_OP: u32 = 5;
const LOCK_PI: u32 = 6;
const UNLOCK_PI: u32 = 7;
const TRYLOCK_PI: u32 = 8;
const WAIT_BITSET: u32 = 9;
const WAKE_BITSET: u32 = 10;
const LOCK_PI2: u32 = 13;
const PRIVATE: u32 = 128;
const CLOCK_REALTIME: u32 = 256;
const ROBUST_LIST_HEAD: u64 = 24;

impl Kernel {
    /// The name of a word, and the page that has to stay alive for the name to mean something.
    pub(super) fn futex_key(
        &self,
        t: &Rc<Task>,
        address: u64,
        private: bool,
    ) -> Result<(FutexKey, Option<mem::Page>), Errno> {
        if !address.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        let mm = t.mm();
        let private_key = FutexKey::Private {
            space: Rc::as_ptr(&mm) as usize,
            address,
        };
        if private {
            return Ok((private_key, None));
        }
        // Private memory is private however it is asked for.
        let shared = mm
            .vmas
            .borrow()
            .find(address)
            .is_some_and(crate::mm::Vma::is_shared);
        if !shared {
            return Ok((private_key, None));
        }
        t.read_u32(address)?;
        let space = mm.space.borrow();
        let page = space.lookup(address).ok_or(Errno::EFAULT)?.page.clone();
        let key = FutexKey::Shared {
            page: page.as_ptr() as usize,
            offset: address % crate::mm::PAGE,
        };
        Ok((key, Some(page)))
    }

    /// Wakes sleepers of a word that the kernel itself changed, however they named it.
    pub(crate) fn futex_wake_both(&self, t: &Rc<Task>, address: u64, count: u64) {
        for private in [true, false] {
            if let Ok((key, _)) = self.futex_key(t, address, private) {
                self.futexes.wake(key, count, u32::MAX);
            }
        }
    }
}

fn sys_futex(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [address, op, value, timeout, other, value3] = *args;
    let op = op as u32;
    let (value, value3) = (value as u32, value3 as u32);
    let private = op & PRIVATE != 0;
    let realtime = op & CLOCK_REALTIME != 0;
    let command = op & !(PRIVATE | CLOCK_REALTIME);
    if realtime && !matches!(command, WAIT_BITSET | WAIT | LOCK_PI2) {
        return Err(Errno::ENOSYS.into());
    }
    let key = |address| k.futex_key(t, address, private).map(|(key, _)| key);
    match command {
        WAIT => wait(k, t, address, private, value, u32::MAX, timeout, None),
        WAIT_BITSET => wait(
            k,
            t,
            address,
            private,
            value,
            value3,
            timeout,
            Some(realtime),
        ),
        WAKE => Ok(k.futexes.wake(key(address)?, u64::from(value), u32::MAX)),
        WAKE_BITSET if value3 == 0 => Err(Errno::EINVAL.into()),
        WAKE_BITSET => Ok(k.futexes.wake(key(address)?, u64::from(value), value3)),
        REQUEUE | CMP_REQUEUE => {
            let (from, to) = (key(address)?, key(other)?);
            if (value as i32) < 0 || (timeout as i32) < 0 {
                return Err(Errno::EINVAL.into());
            }
            if command == CMP_REQUEUE && t.read_u32(address)? != value3 {
                return Err(Errno::EAGAIN.into());
            }
            let (woken, moved) =
                k.futexes
                    .requeue(from, to, u64::from(value), timeout & 0xffff_ffff);
            Ok(woken + moved)
        }
        WAKE_OP => {
            let (from, to) = (key(address)?, key(other)?);
            let old = apply_op(t, other, value3)?;
            let mut woken = k.futexes.wake(from, u64::from(value), u32::MAX);
            if compare(old, value3)? {
                woken += k.futexes.wake(to, timeout & 0xffff_ffff, u32::MAX);
            }
            Ok(woken)
        }
        // The older call's time is on the realtime clock, always.
        LOCK_PI => sys_futex_pi::lock(k, t, address, private, timeout, true, true),
        LOCK_PI2 => sys_futex_pi::lock(k, t, address, private, timeout, realtime, true),
        TRYLOCK_PI => sys_futex_pi::lock(k, t, address, private, 0, false, false),
        UNLOCK_PI => sys_futex_pi::unlock(k, t, address, private),
        _ => Err(Errno::ENOSYS.into()),
    }
}

/// `absolute`: the timeout is absolute, and on the realtime clock or not; `None`: it is relative.
fn wait(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    address: u64,
    private: bool,
    value: u32,
    bits: u32,
    timeout: u64,
    absolute: Option<bool>,
) -> SysResult {
    if bits == 0 {
        return Err(Errno::EINVAL.into());
    }
    let deadline = if timeout == 0 {
        None
    } else {
        Some(read_deadline(k, t, timeout, absolute)?)
    };
    let waits = {
        let data = t.syscall.data.borrow();
        data.as_ref()
            .and_then(|data| data.downcast_ref::<Ticket>())
            .map(|ticket| ticket.waiter.is_woken())
    };
    match waits {
        Some(true) => return Ok(0),
        Some(false) => {}
        None => {
            let (key, page) = k.futex_key(t, address, private)?;
            if t.read_u32(address)? != value {
                return Err(Errno::EAGAIN.into());
            }
            let ticket = k.futexes.wait(key, bits, t.waker(), page);
            *t.syscall.data.borrow_mut() = Some(Box::new(ticket));
        }
    }
    if deadline.is_some_and(|deadline| deadline <= k.clock.now()) {
        return Err(Errno::ETIMEDOUT.into());
    }
    // With a timeout the call is not restarted after a handler, as Linux's restart block would not either.
    let restart = if deadline.is_some() {
        Restart::NoHand
    } else {
        Restart::Sys
    };
    Err(Stop::Block(Block { deadline, restart }))
}

pub(super) fn read_deadline(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    timeout: u64,
    absolute: Option<bool>,
) -> Result<Instant, Errno> {
    if let Some(deadline) = t.syscall.deadline.get() {
        return Ok(deadline);
    }
    let (sec, nsec) = t.read_time_pair(timeout)?;
    if sec < 0 || !(0..NANOS_PER_SEC as i64).contains(&nsec) {
        return Err(Errno::EINVAL);
    }
    let nanos = (sec as u64)
        .saturating_mul(NANOS_PER_SEC)
        .saturating_add(nsec as u64);
    let now = k.clock.now();
    let deadline = match absolute {
        None => now.plus(nanos),
        Some(false) => Instant(nanos),
        Some(true) => now.plus(nanos.saturating_sub(k.clock.realtime())),
    };
    t.syscall.deadline.set(Some(deadline));
    Ok(deadline)
}

/// The operation of `FUTEX_WAKE_OP`; gives the old value.
fn apply_op(t: &Rc<Task>, address: u64, encoded: u32) -> Result<u32, Errno> {
    let shift = encoded >> 28 & 8 != 0;
    let argument = (encoded << 8) as i32 >> 20;
    let argument = if shift {
        1_i32.wrapping_shl(argument as u32 & 31)
    } else {
        argument
    } as u32;
    let old = t.read_u32(address)?;
    let new = match encoded >> 28 & 7 {
        0 => argument,
        1 => old.wrapping_add(argument),
        2 => old | argument,
        3 => old & !argument,
        4 => old ^ argument,
        _ => return Err(Errno::ENOSYS),
    };
    t.write_u32(address, new)?;
    Ok(old)
}

fn compare(old: u32, encoded: u32) -> Result<bool, Errno> {
    let old = old as i32;
    let argument = (encoded << 20) as i32 >> 20;
    Ok(match encoded >> 24 & 15 {
        0 => old == argument,
        1 => old != argument,
        2 => old < argument,
        3 => old <= argument,
        4 => old > argument,
        5 => old >= argument,
        _ => return Err(Errno::ENOSYS),
    })
}

fn sys_set_robust_list(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    if args[1] != ROBUST_LIST_HEAD {
        return Err(Errno::EINVAL.into());
    }
    t.robust_list.set(args[0]);
    Ok(0)
}

fn sys_get_robust_list(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let target = match args[0] as i32 {
        0 => Rc::clone(t),
        tid => t.pid_ns().task(tid as u32).ok_or(Errno::ESRCH)?,
    };
    let same_user = t.creds().uid == target.creds().uid;
    if !same_user && !k.capable_over(t, &target, vfs::Capability::SysPtrace) {
        return Err(Errno::EPERM.into());
    }
    t.write_u64(args[2], ROBUST_LIST_HEAD)?;
    t.write_u64(args[1], target.robust_list.get())?;
    Ok(0)
}
