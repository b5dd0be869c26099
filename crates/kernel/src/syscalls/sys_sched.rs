//! System calls about scheduling. There is one CPU; of the policies only SCHED_IDLE counts, real-time priorities
//! are kept.
//!
//! Source: `sched(7)`, `sched_setaffinity(2)`, `getcpu(2)`.

use std::rc::Rc;

use abi::Errno;

use super::SysResult;
use super::table::{Arg, Row};
use crate::kernel::Kernel;
use crate::task::Task;

use Arg::{Int, Ptr, Uint};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::partial(
        118,
        "sched_setparam",
        sys_sched_setparam,
        &[Int, Ptr],
        "kept, without effect",
    ),
    Row::partial(
        119,
        "sched_setscheduler",
        sys_sched_setscheduler,
        &[Int, Int, Ptr],
        "SCHED_IDLE has its weight; real-time policies are kept, without effect",
    ),
    Row::full(120, "sched_getscheduler", sys_sched_getscheduler, &[Int]),
    Row::full(121, "sched_getparam", sys_sched_getparam, &[Int, Ptr]),
    Row::full(
        122,
        "sched_setaffinity",
        sys_sched_setaffinity,
        &[Int, Uint, Ptr],
    ),
    Row::full(
        123,
        "sched_getaffinity",
        sys_sched_getaffinity,
        &[Int, Uint, Ptr],
    ),
    Row::full(124, "sched_yield", sys_sched_yield, &[]),
    Row::full(125, "sched_get_priority_max", sys_priority_max, &[Int]),
    Row::full(126, "sched_get_priority_min", sys_priority_min, &[Int]),
    Row::full(127, "sched_rr_get_interval", sys_rr_interval, &[Int, Ptr]),
    Row::full(168, "getcpu", sys_getcpu, &[Ptr, Ptr, Ptr]),
    Row::enosys(274, "sched_setattr", "sched_setscheduler is the fallback"),
    Row::enosys(275, "sched_getattr", "sched_getscheduler is the fallback"),
];

const POLICY_MAX: u32 = 6;
const RESET_ON_FORK: u32 = 0x4000_0000;

fn target(t: &Rc<Task>, pid: u64) -> Result<Rc<Task>, Errno> {
    match pid as i32 {
        0 => Ok(Rc::clone(t)),
        pid if pid < 0 => Err(Errno::EINVAL),
        pid => t.pid_ns().task(pid as u32).ok_or(Errno::ESRCH),
    }
}

fn sys_sched_yield(k: &Rc<Kernel>, t: &Rc<Task>, _: &[u64; 6]) -> SysResult {
    t.yields.set(!k.run_queue.is_empty());
    Ok(0)
}

fn sys_sched_getaffinity(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [pid, size, mask, ..] = *args;
    target(t, pid)?;
    if size < 8 || !size.is_multiple_of(8) {
        return Err(Errno::EINVAL.into());
    }
    t.write_u64(mask, 1)?;
    Ok(8)
}

fn sys_sched_setaffinity(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [pid, size, mask, ..] = *args;
    target(t, pid)?;
    if size == 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut first = [0];
    t.read_memory(mask, &mut first)?;
    if first[0] & 1 == 0 {
        Err(Errno::EINVAL.into())
    } else {
        Ok(0)
    }
}

fn sys_sched_getscheduler(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    Ok(u64::from(target(t, args[0])?.sched_policy.get()))
}

fn sys_sched_setscheduler(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let target = target(t, args[0])?;
    let policy = args[1] as u32 & !RESET_ON_FORK;
    let priority = t.read_u32(args[2])?;
    let real_time = matches!(policy, 1 | 2);
    if policy > POLICY_MAX || policy == 4 || real_time != (1..=99).contains(&priority) {
        return Err(Errno::EINVAL.into());
    }
    if real_time && !k.capable_over(t, &target, vfs::Capability::SysNice) {
        return Err(Errno::EPERM.into());
    }
    target.sched_policy.set(policy);
    Ok(0)
}

fn sys_sched_getparam(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let target = target(t, args[0])?;
    t.write_u32(
        args[1],
        u32::from(matches!(target.sched_policy.get(), 1 | 2)),
    )?;
    Ok(0)
}

fn sys_sched_setparam(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let target = target(t, args[0])?;
    let priority = t.read_u32(args[1])?;
    let real_time = matches!(target.sched_policy.get(), 1 | 2);
    if real_time == (priority == 0) || priority > 99 {
        Err(Errno::EINVAL.into())
    } else {
        Ok(0)
    }
}

fn sys_priority_max(_: &Rc<Kernel>, _: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    match args[0] as u32 {
        1 | 2 => Ok(99),
        0 | 3 | 5 | 6 => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}

fn sys_priority_min(_: &Rc<Kernel>, _: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    match args[0] as u32 {
        1 | 2 => Ok(1),
        0 | 3 | 5 | 6 => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}

fn sys_rr_interval(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    target(t, args[0])?;
    t.write_words(args[1], &[0, 4_000_000])?;
    Ok(0)
}

fn sys_getcpu(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    for &address in &args[..2] {
        if address != 0 {
            t.write_u32(address, 0)?;
        }
    }
    Ok(0)
}
