//! System calls that make files out of events: eventfd, timerfd, signalfd, memfd, pidfd.

use std::rc::Rc;

use abi::signal::SigSet;
use abi::{Errno, Result};
use clock::{Instant, NANOS_PER_SEC};
use vfs::file::{File, OpenFile, OpenFlags};

use super::SysResult;
use super::sys_file::install;
use super::table::{Arg, Row};
use crate::eventfd::EventFd;
use crate::kernel::Kernel;
use crate::memfd;
use crate::pidfd::PidFd;
use crate::signalfd::SignalFd;
use crate::task::Task;
use crate::timerfd::{Setting, TimerFd};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(19, "eventfd2", sys_eventfd2, &[Arg::Uint, Arg::OpenFlags]),
    Row::full(
        74,
        "signalfd4",
        sys_signalfd4,
        &[Arg::Fd, Arg::SigSet, Arg::Uint, Arg::OpenFlags],
    ),
    Row::partial(
        85,
        "timerfd_create",
        sys_timerfd_create,
        &[Arg::Int, Arg::OpenFlags],
        "the alarm clocks count like the ordinary ones",
    ),
    Row::partial(
        86,
        "timerfd_settime",
        sys_timerfd_settime,
        &[Arg::Fd, Arg::Hex, Arg::Ptr, Arg::Ptr],
        "TFD_TIMER_CANCEL_ON_SET never cancels",
    ),
    Row::full(
        87,
        "timerfd_gettime",
        sys_timerfd_gettime,
        &[Arg::Fd, Arg::Ptr],
    ),
    Row::partial(
        279,
        "memfd_create",
        sys_memfd_create,
        &[Arg::Path, Arg::Hex],
        "no huge pages; F_SEAL_FUTURE_WRITE counts as F_SEAL_WRITE",
    ),
    Row::full(
        424,
        "pidfd_send_signal",
        sys_pidfd_send_signal,
        &[Arg::Fd, Arg::Signal, Arg::Ptr, Arg::Hex],
    ),
    Row::partial(
        434,
        "pidfd_open",
        sys_pidfd_open,
        &[Arg::Int, Arg::Hex],
        "no PIDFD_THREAD",
    ),
    Row::full(
        438,
        "pidfd_getfd",
        sys_pidfd_getfd,
        &[Arg::Fd, Arg::Fd, Arg::Hex],
    ),
];

/// A descriptor for a file without a name; of the flags `NONBLOCK` and `CLOEXEC` count.
fn install_anonymous(t: &Task, file: Rc<dyn File>, flags: OpenFlags) -> SysResult {
    let open = OpenFile::new(file, None, (flags & OpenFlags::NONBLOCK) | OpenFlags::RDWR);
    Ok(install(t, open, flags.contains(OpenFlags::CLOEXEC))?)
}

/// `O_CLOEXEC` and `O_NONBLOCK`, and nothing else.
fn creation_flags(flags: u64) -> Result<OpenFlags> {
    let flags = OpenFlags::from_bits_retain(flags as u32);
    if (OpenFlags::CLOEXEC | OpenFlags::NONBLOCK).contains(flags) {
        Ok(flags)
    } else {
        Err(Errno::EINVAL)
    }
}

fn sys_eventfd2(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    const EFD_SEMAPHORE: u64 = 1;
    let flags = creation_flags(a[1] & !EFD_SEMAPHORE)?;
    install_anonymous(
        t,
        EventFd::new(a[0] as u32, a[1] & EFD_SEMAPHORE != 0),
        flags,
    )
}

fn sys_signalfd4(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    if a[2] != 8 {
        return Err(Errno::EINVAL.into());
    }
    let flags = creation_flags(a[3])?;
    let mut raw = [0; 8];
    t.read_memory(a[1], &mut raw)?;
    let mask = SigSet(u64::from_le_bytes(raw));
    if a[0] as i32 != -1 {
        let file = t.files().get(a[0] as i32)?;
        file.file
            .as_any()
            .downcast_ref::<SignalFd>()
            .ok_or(Errno::EINVAL)?
            .set_mask(mask);
        return Ok(a[0]);
    }
    install_anonymous(t, SignalFd::new(k, mask), flags)
}

fn sys_timerfd_create(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    // CLOCK_REALTIME, MONOTONIC, BOOTTIME and the two alarm clocks.
    if !matches!(a[0], 0 | 1 | 7 | 8 | 9) {
        return Err(Errno::EINVAL.into());
    }
    let flags = creation_flags(a[1])?;
    install_anonymous(t, TimerFd::new(&k.clock, matches!(a[0], 0 | 8)), flags)
}

/// `struct itimerspec` in nanoseconds: interval, value.
fn parse_itimerspec(raw: &[u8; 32]) -> Result<(u64, u64)> {
    let word = |at: usize| u64::from_le_bytes(raw[at..at + 8].try_into().unwrap_or_default());
    let nanos = |at: usize| {
        let (sec, nsec) = (word(at), word(at + 8));
        if sec > i64::MAX as u64 || nsec >= NANOS_PER_SEC {
            return Err(Errno::EINVAL);
        }
        Ok(sec.saturating_mul(NANOS_PER_SEC).saturating_add(nsec))
    };
    Ok((nanos(0)?, nanos(16)?))
}

fn emit_itimerspec((left, interval): (u64, u64)) -> [u8; 32] {
    let mut raw = [0; 32];
    for (at, nanos) in [(0, interval), (16, left)] {
        raw[at..at + 8].copy_from_slice(&(nanos / NANOS_PER_SEC).to_le_bytes());
        raw[at + 8..at + 16].copy_from_slice(&(nanos % NANOS_PER_SEC).to_le_bytes());
    }
    raw
}

fn with_timer<R>(t: &Task, fd: u64, f: impl FnOnce(&TimerFd) -> R) -> Result<R> {
    let file = t.files().get(fd as i32)?;
    file.file
        .as_any()
        .downcast_ref::<TimerFd>()
        .map(f)
        .ok_or(Errno::EINVAL)
}

fn sys_timerfd_settime(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    const ABSTIME: u64 = 1;
    const CANCEL_ON_SET: u64 = 2;
    if a[1] & !(ABSTIME | CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut raw = [0; 32];
    t.read_memory(a[2], &mut raw)?;
    let (interval, value) = parse_itimerspec(&raw)?;
    let now = k.clock.now();
    let old = with_timer(t, a[0], |timer| {
        let next = if value == 0 {
            None
        } else if a[1] & ABSTIME == 0 {
            Some(now.plus(value))
        } else if timer.realtime {
            Some(now.plus(value.saturating_sub(k.clock.realtime())))
        } else {
            Some(Instant(value))
        };
        timer.set(Setting {
            next,
            interval: if next.is_some() { interval } else { 0 },
        })
    })?;
    if a[3] != 0 {
        t.write_memory(a[3], &emit_itimerspec(old))?;
    }
    Ok(0)
}

fn sys_timerfd_gettime(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let left = with_timer(t, a[0], TimerFd::remaining)?;
    t.write_memory(a[1], &emit_itimerspec(left))?;
    Ok(0)
}

fn sys_memfd_create(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let name = t.read_path(a[0])?;
    if name.len() > 249 || a[1] & !memfd::KNOWN_FLAGS != 0 {
        return Err(Errno::EINVAL.into());
    }
    let open = memfd::create(k, t, &name, a[1])?;
    Ok(install(t, open, a[1] & memfd::MFD_CLOEXEC != 0)?)
}

fn sys_pidfd_open(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let flags = OpenFlags::from_bits_retain(a[1] as u32);
    if (a[0] as i32) <= 0 || !OpenFlags::NONBLOCK.contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let ns = t.pid_ns();
    let task = ns.task(a[0] as u32).ok_or(Errno::ESRCH)?;
    let group = ns.process(a[0] as u32).ok_or(if task.is_leader() {
        Errno::ESRCH
    } else {
        Errno::EINVAL
    })?;
    install_anonymous(t, PidFd::new(&group), flags | OpenFlags::CLOEXEC)
}

fn sys_pidfd_send_signal(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    if a[3] != 0 {
        return Err(Errno::EINVAL.into());
    }
    let file = t.files().get(a[0] as i32)?;
    let group = file
        .file
        .as_any()
        .downcast_ref::<PidFd>()
        .ok_or(Errno::EBADF)?
        .group();
    let signal = a[1] as u32;
    if signal > abi::signal::SIGNAL_MAX {
        return Err(Errno::EINVAL.into());
    }
    if group.is_zombie() && group.any_task().is_none() {
        return Err(Errno::ESRCH.into());
    }
    if !k.may_signal(t, &group, signal) {
        return Err(Errno::EPERM.into());
    }
    if signal != 0 {
        k.signal_process(
            &group,
            k.signal_from(t, &group, signal, abi::signal::si::USER),
        )?;
    }
    Ok(0)
}

fn sys_pidfd_getfd(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    if a[2] != 0 {
        return Err(Errno::EINVAL.into());
    }
    let file = t.files().get(a[0] as i32)?;
    let group = file
        .file
        .as_any()
        .downcast_ref::<PidFd>()
        .ok_or(Errno::EBADF)?
        .group();
    let task = group
        .any_task()
        .filter(|task| !task.is_dead())
        .ok_or(Errno::ESRCH)?;
    if !Rc::ptr_eq(&task.group, &t.group) && !k.capable_over(t, &task, vfs::Capability::SysPtrace) {
        return Err(Errno::EPERM.into());
    }
    let other = task.files().get(a[1] as i32)?;
    Ok(install(t, other, true)?)
}
