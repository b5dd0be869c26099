//! System calls about time: clocks, sleeping, timers.
//!
//! Source: `clock_gettime(2)`, `clock_nanosleep(2)`, `timer_create(2)`, `setitimer(2)`, `times(2)`.

use std::rc::Rc;

use abi::Errno;
use abi::signal::{SIGALRM, SIGNAL_MAX};
use clock::{Instant, NANOS_PER_SEC};

use super::table::{Arg, Row};
use super::{Block, Restart, Stop, SysResult, sys_eperm};
use crate::kernel::Kernel;
use crate::task::Task;
use crate::timer::{CpuClock, Notify, Setting, Timer, TimerClock};

use Arg::{Hex, Int, Ptr, Timespec};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(101, "nanosleep", sys_nanosleep, &[Timespec, Ptr]),
    Row::full(102, "getitimer", sys_getitimer, &[Int, Ptr]),
    Row::full(103, "setitimer", sys_setitimer, &[Int, Ptr, Ptr]),
    Row::full(107, "timer_create", sys_timer_create, &[Int, Ptr, Ptr]),
    Row::full(108, "timer_gettime", sys_timer_gettime, &[Int, Ptr]),
    Row::full(109, "timer_getoverrun", sys_timer_getoverrun, &[Int]),
    Row::full(
        110,
        "timer_settime",
        sys_timer_settime,
        &[Int, Hex, Ptr, Ptr],
    ),
    Row::full(111, "timer_delete", sys_timer_delete, &[Int]),
    Row::full(112, "clock_settime", sys_clock_settime, &[Int, Timespec]),
    Row::full(113, "clock_gettime", sys_clock_gettime, &[Int, Ptr]),
    Row::full(114, "clock_getres", sys_clock_getres, &[Int, Ptr]),
    Row::full(
        115,
        "clock_nanosleep",
        sys_clock_nanosleep,
        &[Int, Int, Timespec, Ptr],
    ),
    Row::full(153, "times", sys_times, &[Ptr]),
    Row::full(169, "gettimeofday", sys_gettimeofday, &[Ptr, Ptr]),
    Row::full(170, "settimeofday", sys_settimeofday, &[Ptr, Ptr]),
    Row::partial(
        171,
        "adjtimex",
        sys_adjtimex,
        &[Ptr],
        "reads as synchronised, changes are EPERM",
    ),
    Row::refused(
        266,
        "clock_adjtime",
        sys_eperm,
        &[Int, Ptr],
        "the clock is the playground's",
    ),
];

const REALTIME: i32 = 0;
const MONOTONIC: i32 = 1;
const PROCESS_CPUTIME: i32 = 2;
const THREAD_CPUTIME: i32 = 3;
const BOOTTIME: i32 = 7;
const REALTIME_ALARM: i32 = 8;
const BOOTTIME_ALARM: i32 = 9;
const TAI: i32 = 11;
const TIMER_ABSTIME: u64 = 1;
/// Clock ticks a second (`sysconf(_SC_CLK_TCK)`).
const TICKS: u64 = 100;

fn is_realtime(clock: i32) -> bool {
    matches!(clock, REALTIME | 5 | REALTIME_ALARM | TAI)
}

fn is_monotonic(clock: i32) -> bool {
    matches!(clock, MONOTONIC | 4 | 6 | BOOTTIME | BOOTTIME_ALARM)
}

/// What a clock counts; negative ids name CPU clocks of processes and threads (`clock_getcpuclockid(3)`).
fn cpu_clock(t: &Rc<Task>, clock: i32) -> Result<(Rc<crate::task::ThreadGroup>, CpuClock), Errno> {
    let own = Rc::clone(&t.group);
    match clock {
        PROCESS_CPUTIME => return Ok((own, CpuClock::Process)),
        THREAD_CPUTIME => return Ok((own, CpuClock::Thread(t.tid()))),
        clock if clock >= 0 => return Err(Errno::EINVAL),
        _ => {}
    }
    let number = !(clock >> 3) as u32;
    let per_thread = clock & 4 != 0;
    if clock & 3 == 3 {
        return Err(Errno::EINVAL);
    }
    let task = match number {
        0 => Rc::clone(t),
        number => t.pid_ns().task(number).ok_or(Errno::EINVAL)?,
    };
    let group = Rc::clone(&task.group);
    Ok(match (per_thread, clock & 3) {
        (true, _) => (group, CpuClock::Thread(task.tid())),
        (false, 1) => (group, CpuClock::Virtual),
        (false, _) => (group, CpuClock::Process),
    })
}

fn clock_now(k: &Rc<Kernel>, t: &Rc<Task>, clock: i32) -> Result<u64, Errno> {
    if is_realtime(clock) {
        Ok(k.clock.realtime())
    } else if is_monotonic(clock) {
        Ok(k.clock.now().0)
    } else {
        let (group, clock) = cpu_clock(t, clock)?;
        Ok(k.cpu_time(&group, clock))
    }
}

fn write_timespec(t: &Rc<Task>, address: u64, nanos: u64) -> Result<(), Errno> {
    t.write_words(address, &[nanos / NANOS_PER_SEC, nanos % NANOS_PER_SEC])
}

/// A `struct timespec` as nanoseconds.
pub(super) fn read_timespec(t: &Rc<Task>, address: u64) -> Result<u64, Errno> {
    let (sec, nsec) = t.read_time_pair(address)?;
    if sec < 0 || !(0..NANOS_PER_SEC as i64).contains(&nsec) {
        return Err(Errno::EINVAL);
    }
    Ok((sec as u64)
        .saturating_mul(NANOS_PER_SEC)
        .saturating_add(nsec as u64))
}

/// A `struct timeval` as nanoseconds.
fn read_timeval(t: &Rc<Task>, address: u64) -> Result<u64, Errno> {
    let (sec, usec) = t.read_time_pair(address)?;
    if sec < 0 || !(0..1_000_000).contains(&usec) {
        return Err(Errno::EINVAL);
    }
    Ok((sec as u64)
        .saturating_mul(NANOS_PER_SEC)
        .saturating_add(usec as u64 * 1000))
}

fn sys_clock_gettime(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let now = clock_now(k, t, args[0] as i32)?;
    write_timespec(t, args[1], now)?;
    Ok(0)
}

fn sys_clock_getres(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let clock = args[0] as i32;
    clock_now(k, t, clock)?;
    if args[1] != 0 {
        // The coarse clocks tick with the timer, at 250 Hz.
        write_timespec(
            t,
            args[1],
            if matches!(clock, 5 | 6) { 4_000_000 } else { 1 },
        )?;
    }
    Ok(0)
}

fn sys_clock_settime(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    if args[0] as i32 != REALTIME {
        return Err(Errno::EINVAL.into());
    }
    let time = read_timespec(t, args[1])?;
    set_time(k, t, time)
}

fn set_time(k: &Rc<Kernel>, t: &Rc<Task>, time: u64) -> SysResult {
    k.require(t, vfs::Capability::SysTime)?;
    k.clock.set_realtime(time);
    k.vdso.update(&k.clock);
    Ok(0)
}

fn sys_gettimeofday(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let now = k.clock.realtime();
    if args[0] != 0 {
        t.write_words(args[0], &[now / NANOS_PER_SEC, now % NANOS_PER_SEC / 1000])?;
    }
    if args[1] != 0 {
        t.write_u64(args[1], 0)?;
    }
    Ok(0)
}

fn sys_settimeofday(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    if args[0] == 0 {
        return k
            .require(t, vfs::Capability::SysTime)
            .map(|()| 0)
            .map_err(Stop::from);
    }
    let time = read_timeval(t, args[0])?;
    set_time(k, t, time)
}

fn sys_adjtimex(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    if t.read_u32(args[0])? != 0 {
        return Err(Errno::EPERM.into());
    }
    t.clear_memory(args[0], 208)?;
    Ok(0)
}

fn sys_times(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let tick = NANOS_PER_SEC / TICKS;
    if args[0] != 0 {
        let (own, children) = (t.group.usage(), t.group.children_usage());
        let words = [
            own.user_ns,
            own.system_ns,
            children.user_ns,
            children.system_ns,
        ]
        .map(|nanos| nanos / tick);
        t.write_words(args[0], &words)?;
    }
    Ok(k.clock.now().0 / tick)
}

fn sys_nanosleep(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let deadline = match t.syscall.deadline.get() {
        Some(deadline) => deadline,
        None => {
            let nanos = read_timespec(t, args[0])?;
            k.clock.now().plus(nanos)
        }
    };
    sleep(k, t, deadline, args[1])
}

fn sys_clock_nanosleep(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [clock, flags, request, remain, ..] = *args;
    let clock = clock as i32;
    if !is_realtime(clock) && !is_monotonic(clock) {
        let refused = if clock == PROCESS_CPUTIME {
            Errno::EOPNOTSUPP
        } else {
            Errno::EINVAL
        };
        return Err(refused.into());
    }
    let absolute = flags & TIMER_ABSTIME != 0;
    let deadline = match t.syscall.deadline.get() {
        Some(deadline) => deadline,
        None => {
            let nanos = read_timespec(t, request)?;
            match (absolute, is_realtime(clock)) {
                (false, _) => k.clock.now().plus(nanos),
                (true, false) => Instant(nanos),
                (true, true) => k.clock.now().plus(nanos.saturating_sub(k.clock.realtime())),
            }
        }
    };
    sleep(k, t, deadline, if absolute { 0 } else { remain })
}

fn sleep(k: &Rc<Kernel>, t: &Rc<Task>, deadline: Instant, remain: u64) -> SysResult {
    t.syscall.deadline.set(Some(deadline));
    let now = k.clock.now();
    if deadline <= now {
        return Ok(0);
    }
    // A signal may end the sleep here: then the rest is what is left now.
    if remain != 0 && t.signal_pending() {
        write_timespec(t, remain, deadline.since(now))?;
    }
    Err(Stop::Block(Block {
        deadline: Some(deadline),
        restart: Restart::NoHand,
    }))
}

fn write_setting(t: &Rc<Task>, address: u64, setting: Setting, unit: u64) -> Result<(), Errno> {
    let pair = |nanos: u64| [nanos / NANOS_PER_SEC, nanos % NANOS_PER_SEC / unit];
    let (interval, value) = (pair(setting.interval), pair(setting.value));
    t.write_words(address, &[interval[0], interval[1], value[0], value[1]])
}

fn sys_getitimer(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    if args[0] > 2 {
        return Err(Errno::EINVAL.into());
    }
    let setting = t.group.timers.interval(args[0] as usize).get(k.clock.now());
    write_setting(t, args[1], setting, 1000)?;
    Ok(0)
}

fn sys_setitimer(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [which, new, old, ..] = *args;
    if which > 2 {
        return Err(Errno::EINVAL.into());
    }
    let setting = if new == 0 {
        Setting::default()
    } else {
        Setting {
            interval: read_timeval(t, new)?,
            value: read_timeval(t, new.wrapping_add(16))?,
        }
    };
    let timer = t.group.timers.interval(which as usize);
    let known = timer.get(k.clock.now());
    k.set_timer(&t.group, &timer, setting, false);
    if old != 0 {
        write_setting(t, old, known, 1000)?;
    }
    Ok(0)
}

fn sys_timer_create(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    const SIGEV_SIGNAL: u32 = 0;
    const SIGEV_NONE: u32 = 1;
    const SIGEV_THREAD_ID: u32 = 4;
    let [clock, event, result, ..] = *args;
    let clock = clock as i32;
    let counts = if is_realtime(clock) || is_monotonic(clock) {
        if matches!(clock, 4..=6) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        TimerClock::Wall {
            realtime: is_realtime(clock),
        }
    } else {
        let (group, cpu) = cpu_clock(t, clock)?;
        if !Rc::ptr_eq(&group, &t.group) {
            return Err(Errno::EINVAL.into());
        }
        TimerClock::Cpu(cpu)
    };
    let (notify, default_value) = if event == 0 {
        (
            Notify::Process {
                signal: SIGALRM,
                value: 0,
            },
            true,
        )
    } else {
        let value = t.read_u64(event)?;
        let signal = t.read_u32(event.wrapping_add(8))?;
        let kind = t.read_u32(event.wrapping_add(12))?;
        if kind != SIGEV_NONE && (signal == 0 || signal > SIGNAL_MAX) {
            return Err(Errno::EINVAL.into());
        }
        let notify = match kind {
            SIGEV_SIGNAL => Notify::Process { signal, value },
            SIGEV_NONE => Notify::None,
            SIGEV_THREAD_ID => {
                let number = t.read_u32(event.wrapping_add(16))?;
                let target = t
                    .pid_ns()
                    .task(number)
                    .filter(|task| Rc::ptr_eq(&task.group, &t.group));
                Notify::Thread {
                    signal,
                    value,
                    tid: target.ok_or(Errno::EINVAL)?.tid(),
                }
            }
            _ => return Err(Errno::EINVAL.into()),
        };
        (notify, false)
    };
    t.check_writable(result, 4)?;
    let id = t.group.timers.add(|id| {
        let notify = match notify {
            Notify::Process { signal, .. } if default_value => Notify::Process {
                signal,
                value: id as u64,
            },
            other => other,
        };
        Timer::new(counts, notify, id)
    });
    let id = id.ok_or(Errno::EAGAIN)?;
    t.write_u32(result, id as u32)?;
    Ok(0)
}

fn timer(t: &Rc<Task>, id: u64) -> Result<Rc<Timer>, Errno> {
    t.group.timers.get(id as i32).ok_or(Errno::EINVAL)
}

fn sys_timer_settime(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [id, flags, new, old, ..] = *args;
    let setting = Setting {
        interval: read_timespec(t, new)?,
        value: read_timespec(t, new.wrapping_add(16))?,
    };
    let timer = timer(t, id)?;
    let known = timer.get(k.clock.now());
    k.set_timer(&t.group, &timer, setting, flags & TIMER_ABSTIME != 0);
    if old != 0 {
        write_setting(t, old, known, 1)?;
    }
    Ok(0)
}

fn sys_timer_gettime(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let setting = timer(t, args[0])?.get(k.clock.now());
    write_setting(t, args[1], setting, 1)?;
    Ok(0)
}

fn sys_timer_getoverrun(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    Ok(timer(t, args[0])?.overrun.get() as u64)
}

fn sys_timer_delete(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    if t.group.timers.remove(args[0] as i32) {
        Ok(0)
    } else {
        Err(Errno::EINVAL.into())
    }
}
