//! System calls about signals.
//!
//! Source: `kill(2)`, `sigaction(2)`, `sigprocmask(2)`, `sigsuspend(2)`, `sigwaitinfo(2)`, `sigaltstack(2)`.

use std::rc::Rc;

use abi::Errno;
use abi::signal::{SIGINFO_SIZE, SIGNAL_MAX, SigInfo, SigSet, si};
use clock::NANOS_PER_SEC;

use super::table::{Arg, Row};
use super::{Block, Restart, Stop, SysResult};
use crate::kernel::Kernel;
use crate::task::{AltStack, SigAction, Task, ThreadGroup, UNBLOCKABLE, altstack_flags, sanitise};

use Arg::{Int, Ptr, SigHow, Signal, Timespec, Uint};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(129, "kill", sys_kill, &[Int, Signal]),
    Row::full(130, "tkill", sys_tkill, &[Int, Signal]),
    Row::full(131, "tgkill", sys_tgkill, &[Int, Int, Signal]),
    Row::full(132, "sigaltstack", sys_sigaltstack, &[Ptr, Ptr]),
    Row::full(
        133,
        "rt_sigsuspend",
        sys_rt_sigsuspend,
        &[Arg::SigSet, Uint],
    ),
    Row::full(
        134,
        "rt_sigaction",
        sys_rt_sigaction,
        &[Signal, Ptr, Ptr, Uint],
    ),
    Row::full(
        135,
        "rt_sigprocmask",
        sys_rt_sigprocmask,
        &[SigHow, Arg::SigSet, Ptr, Uint],
    ),
    Row::full(136, "rt_sigpending", sys_rt_sigpending, &[Ptr, Uint]),
    Row::full(
        137,
        "rt_sigtimedwait",
        sys_rt_sigtimedwait,
        &[Arg::SigSet, Ptr, Timespec, Uint],
    ),
    Row::full(
        138,
        "rt_sigqueueinfo",
        sys_rt_sigqueueinfo,
        &[Int, Signal, Ptr],
    ),
    Row::full(139, "rt_sigreturn", sys_rt_sigreturn, &[]),
    Row::full(
        240,
        "rt_tgsigqueueinfo",
        sys_rt_tgsigqueueinfo,
        &[Int, Int, Signal, Ptr],
    ),
];

/// Smallest alternate stack.
const MINSIGSTKSZ: u64 = 2048;
const SS_DISABLE: u32 = 2;
const SS_ONSTACK: u32 = 1;
const SS_AUTODISARM: u32 = 1 << 31;

fn signal_number(value: u64) -> Result<u32, Errno> {
    u32::try_from(value as i32)
        .ok()
        .filter(|&signal| signal <= SIGNAL_MAX)
        .ok_or(Errno::EINVAL)
}

fn check_set_size(size: u64) -> Result<(), Errno> {
    if size == 8 {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// Sends to one process if allowed; signal 0 only asks.
fn send(k: &Rc<Kernel>, t: &Rc<Task>, group: &Rc<ThreadGroup>, signal: u32) -> Result<(), Errno> {
    if !k.may_signal(t, group, signal) {
        return Err(Errno::EPERM);
    }
    if signal != 0 {
        k.signal_process(group, k.signal_from(t, group, signal, si::USER))?;
    }
    Ok(())
}

/// Sends to many: succeeds when any of them got it.
fn send_all(k: &Rc<Kernel>, t: &Rc<Task>, groups: &[Rc<ThreadGroup>], signal: u32) -> SysResult {
    let mut result = Err(Errno::ESRCH);
    for group in groups {
        match send(k, t, group, signal) {
            Ok(()) => result = Ok(()),
            Err(errno) if result != Ok(()) => result = Err(errno),
            Err(_) => {}
        }
    }
    result?;
    Ok(0)
}

fn sys_kill(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let signal = signal_number(args[1])?;
    let namespace = t.pid_ns();
    match args[0] as i32 {
        pid if pid > 0 => {
            let task = namespace.task(pid as u32).ok_or(Errno::ESRCH)?;
            send(k, t, &task.group, signal)?;
            Ok(0)
        }
        0 => send_all(k, t, &t.group.process_group().members(), signal),
        -1 => {
            let mut targets = namespace.processes();
            targets.retain(|group| !Rc::ptr_eq(group, &t.group) && group.tgid_in(&namespace) > 1);
            send_all(k, t, &targets, signal)
        }
        i32::MIN => Err(Errno::ESRCH.into()),
        pid => {
            let pid = namespace.pid(pid.unsigned_abs()).ok_or(Errno::ESRCH)?;
            let group = pid.process_group.borrow().upgrade().ok_or(Errno::ESRCH)?;
            send_all(k, t, &group.members(), signal)
        }
    }
}

fn thread(t: &Rc<Task>, tgid: Option<i32>, tid: i32) -> Result<Rc<Task>, Errno> {
    if tid <= 0 || tgid.is_some_and(|tgid| tgid <= 0) {
        return Err(Errno::EINVAL);
    }
    let namespace = t.pid_ns();
    let task = namespace.task(tid as u32).ok_or(Errno::ESRCH)?;
    let right_group = tgid.is_none_or(|tgid| task.group.tgid_in(&namespace) == tgid as u32);
    if right_group {
        Ok(task)
    } else {
        Err(Errno::ESRCH)
    }
}

fn send_thread(k: &Rc<Kernel>, t: &Rc<Task>, target: &Rc<Task>, signal: u32) -> SysResult {
    if !k.may_signal(t, &target.group, signal) {
        return Err(Errno::EPERM.into());
    }
    if signal != 0 {
        k.signal_task(target, k.signal_from(t, &target.group, signal, si::TKILL))?;
    }
    Ok(0)
}

fn sys_tkill(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let signal = signal_number(args[1])?;
    let target = thread(t, None, args[0] as i32)?;
    send_thread(k, t, &target, signal)
}

fn sys_tgkill(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let signal = signal_number(args[2])?;
    let target = thread(t, Some(args[0] as i32), args[1] as i32)?;
    send_thread(k, t, &target, signal)
}

fn read_info(t: &Rc<Task>, address: u64, signal: u32, to_self: bool) -> Result<SigInfo, Errno> {
    let bytes: [u8; SIGINFO_SIZE] = t.read_bytes(address)?;
    let info = SigInfo {
        signal,
        ..SigInfo::parse(&bytes)
    };
    // Nobody may look like the kernel or kill(2) to others.
    if !to_self && (info.code >= 0 || info.code == si::TKILL) {
        return Err(Errno::EPERM);
    }
    Ok(info)
}

fn sys_rt_sigqueueinfo(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let signal = signal_number(args[1])?;
    let target = thread(t, None, args[0] as i32)?;
    let info = read_info(t, args[2], signal, Rc::ptr_eq(&target.group, &t.group))?;
    if !k.may_signal(t, &target.group, signal) {
        return Err(Errno::EPERM.into());
    }
    if signal != 0 {
        k.signal_process(&target.group, info)?;
    }
    Ok(0)
}

fn sys_rt_tgsigqueueinfo(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let signal = signal_number(args[2])?;
    let target = thread(t, Some(args[0] as i32), args[1] as i32)?;
    let info = read_info(t, args[3], signal, Rc::ptr_eq(&target.group, &t.group))?;
    if !k.may_signal(t, &target.group, signal) {
        return Err(Errno::EPERM.into());
    }
    if signal != 0 {
        k.signal_task(&target, info)?;
    }
    Ok(0)
}

fn sys_rt_sigaction(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [signal, new, old, size, ..] = *args;
    check_set_size(size)?;
    let signal = signal_number(signal)?;
    if signal == 0 || new != 0 && UNBLOCKABLE.has(signal) {
        return Err(Errno::EINVAL.into());
    }
    let action = if new == 0 {
        None
    } else {
        let (handler, flags) = t.read_time_pair(new)?;
        let mask = SigSet(t.read_u64(new.wrapping_add(16))?);
        Some(sanitise(SigAction {
            handler: handler as u64,
            flags: flags as u64,
            mask,
        }))
    };
    let handlers = Rc::clone(&t.group.handlers.borrow());
    if old != 0 {
        let known = handlers.get(signal);
        t.write_words(old, &[known.handler, known.flags, known.mask.0])?;
    }
    if let Some(action) = action {
        handlers.set(signal, action);
        // A pending signal that is ignored from now on is gone.
        if handlers.ignores(signal) {
            let set = SigSet::of(signal);
            t.group.pending.borrow_mut().discard(set);
            for thread in t.group.threads() {
                thread.pending.borrow_mut().discard(set);
            }
        }
    }
    Ok(0)
}

fn sys_rt_sigprocmask(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [how, new, old, size, ..] = *args;
    check_set_size(size)?;
    let known = t.sigmask.get();
    if new != 0 {
        let set = SigSet(t.read_u64(new)?).minus(UNBLOCKABLE);
        let mask = match how {
            0 => known.union(set),
            1 => known.minus(set),
            2 => set,
            _ => return Err(Errno::EINVAL.into()),
        };
        t.sigmask.set(mask);
    }
    if old != 0 {
        t.write_u64(old, known.0)?;
    }
    Ok(0)
}

fn sys_rt_sigpending(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    if args[1] > 8 {
        return Err(Errno::EINVAL.into());
    }
    let pending = t.pending_set().and(t.sigmask.get()).0.to_le_bytes();
    t.write_memory(args[0], &pending[..args[1] as usize])?;
    Ok(0)
}

fn sys_rt_sigsuspend(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    check_set_size(args[1])?;
    let mask = SigSet(t.read_u64(args[0])?);
    t.mask_during_call(mask);
    Err(Stop::Block(Block {
        deadline: None,
        restart: Restart::NoHand,
    }))
}

fn sys_rt_sigtimedwait(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [set, info, timeout, size, ..] = *args;
    check_set_size(size)?;
    let wanted = SigSet(t.read_u64(set)?).minus(UNBLOCKABLE);
    if let Some(signal) = t.take_signal(wanted) {
        if info != 0 {
            t.write_memory(info, &signal.emit())?;
        }
        return Ok(u64::from(signal.signal));
    }
    let deadline = if timeout == 0 {
        None
    } else {
        let (sec, nsec) = t.read_time_pair(timeout)?;
        if sec < 0 || !(0..NANOS_PER_SEC as i64).contains(&nsec) {
            return Err(Errno::EINVAL.into());
        }
        let nanos = (sec as u64)
            .saturating_mul(NANOS_PER_SEC)
            .saturating_add(nsec as u64);
        t.syscall.deadline_or(|| Some(k.clock.now().plus(nanos)))
    };
    if deadline.is_some_and(|deadline| deadline <= k.clock.now()) {
        return Err(Errno::EAGAIN.into());
    }
    t.group.signal_wait.register(t.waker());
    Err(Stop::Block(Block {
        deadline,
        restart: Restart::Never,
    }))
}

fn sys_rt_sigreturn(k: &Rc<Kernel>, t: &Rc<Task>, _: &[u64; 6]) -> SysResult {
    if k.pop_frame(t).is_err() {
        let sp = t.hart.borrow().x[2];
        k.fault_signal(t, sp);
    }
    Err(Stop::Gone)
}

fn sys_sigaltstack(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [new, old, ..] = *args;
    let sp = t.hart.borrow().x[2];
    let known = t.altstack.get();
    let wanted = if new == 0 {
        None
    } else {
        let base = t.read_u64(new)?;
        let flags = t.read_u32(new.wrapping_add(8))?;
        let size = t.read_u64(new.wrapping_add(16))?;
        Some((base, flags, size))
    };
    if old != 0 {
        t.write_words(
            old,
            &[known.base, u64::from(altstack_flags(known, sp)), known.size],
        )?;
    }
    if let Some((base, flags, size)) = wanted {
        if altstack_flags(known, sp) & SS_ONSTACK != 0 && known.size != 0 {
            return Err(Errno::EPERM.into());
        }
        let stack = match flags & !SS_AUTODISARM {
            SS_DISABLE => AltStack::NONE,
            0 | SS_ONSTACK if size < MINSIGSTKSZ => return Err(Errno::ENOMEM.into()),
            0 | SS_ONSTACK => AltStack {
                base,
                size,
                flags: flags & SS_AUTODISARM,
            },
            _ => return Err(Errno::EINVAL.into()),
        };
        t.altstack.set(stack);
    }
    Ok(0)
}
