//! System calls about processes: clone, execve, exit, wait, process groups and sessions.
//!
//! Source: `clone(2)`, `execve(2)`, `exit_group(2)`, `wait(2)`, `setpgid(2)`, `setsid(2)`.

use std::rc::Rc;

use abi::Errno;
use abi::signal::{SIGCHLD, SigFields, SigInfo, si};

use super::table::{Arg, Row};
use super::{Block, Restart, Stop, SysResult};
use crate::kernel::Kernel;
use crate::task::{
    CLONE_OPTIONS, CloneArgs, ExecRequest, Task, Usage, WCONTINUED, WEXITED, WNOHANG, WNOWAIT,
    WSTOPPED, WaitEvent, WaitFor, WaitStatus, clone_flags,
};

use Arg::{CloneFlags, Fd, Hex, Int, Path, Ptr, StrList};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(93, "exit", sys_exit, &[Int]),
    Row::full(94, "exit_group", sys_exit_group, &[Int]),
    Row::full(95, "waitid", sys_waitid, &[Int, Int, Ptr, Hex, Ptr]),
    Row::full(96, "set_tid_address", sys_set_tid_address, &[Ptr]),
    Row::full(154, "setpgid", sys_setpgid, &[Int, Int]),
    Row::full(155, "getpgid", sys_getpgid, &[Int]),
    Row::full(156, "getsid", sys_getsid, &[Int]),
    Row::full(157, "setsid", sys_setsid, &[]),
    Row::full(172, "getpid", sys_getpid, &[]),
    Row::full(173, "getppid", sys_getppid, &[]),
    Row::full(178, "gettid", sys_gettid, &[]),
    Row::partial(
        220,
        "clone",
        sys_clone,
        &[CloneFlags, Ptr, Ptr, Hex, Ptr],
        "no CLONE_PTRACE; processes never share what CLONE_SYSVSEM would undo",
    ),
    Row::full(221, "execve", sys_execve, &[Path, StrList, StrList]),
    Row::full(260, "wait4", sys_wait4, &[Int, Ptr, Hex, Ptr]),
    Row::full(
        281,
        "execveat",
        sys_execveat,
        &[Fd, Path, StrList, StrList, Hex],
    ),
    Row::partial(
        435,
        "clone3",
        sys_clone3,
        &[Ptr, Int],
        "no set_tid (EPERM), no CLONE_INTO_CGROUP (EINVAL)",
    ),
];

/// Most argument and environment strings together.
const STRINGS_MAX: usize = 1 << 20;
const AT_FDCWD: i32 = -100;
const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
const AT_EMPTY_PATH: u64 = 0x1000;

fn sys_exit(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    k.exit_task(t, WaitStatus::Exited(args[0] as u8));
    Err(Stop::Gone)
}

fn sys_exit_group(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    k.exit_group(t, WaitStatus::Exited(args[0] as u8));
    Err(Stop::Gone)
}

fn sys_set_tid_address(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    t.clear_child_tid.set(args[0]);
    Ok(u64::from(t.tid_in(&t.pid_ns())))
}

fn sys_getpid(_: &Rc<Kernel>, t: &Rc<Task>, _: &[u64; 6]) -> SysResult {
    Ok(u64::from(t.group.tgid_in(&t.pid_ns())))
}

fn sys_gettid(_: &Rc<Kernel>, t: &Rc<Task>, _: &[u64; 6]) -> SysResult {
    Ok(u64::from(t.tid_in(&t.pid_ns())))
}

fn sys_getppid(_: &Rc<Kernel>, t: &Rc<Task>, _: &[u64; 6]) -> SysResult {
    Ok(u64::from(
        t.group
            .parent()
            .map_or(0, |parent| parent.tgid_in(&t.pid_ns())),
    ))
}

fn sys_clone(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    if t.syscall.data.borrow().is_some() {
        return vfork_done(t);
    }
    let flags = args[0] & 0xffff_ffff;
    if flags & clone_flags::PIDFD != 0 && flags & clone_flags::PARENT_SETTID != 0 {
        return Err(Errno::EINVAL.into());
    }
    let request = CloneArgs {
        flags: flags & !clone_flags::CSIGNAL,
        exit_signal: (flags & clone_flags::CSIGNAL) as u32,
        stack: args[1],
        parent_tid: args[2],
        tls: args[3],
        child_tid: args[4],
        pidfd: args[2],
    };
    clone(k, t, &request)
}

/// `struct clone_args`: eleven words, of which older callers give eight or ten.
fn sys_clone3(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    const SIZE: u64 = 88;
    const FIRST_SIZE: u64 = 64;
    if t.syscall.data.borrow().is_some() {
        return vfork_done(t);
    }
    let (address, size) = (args[0], args[1]);
    if size < FIRST_SIZE {
        return Err(Errno::EINVAL.into());
    }
    if size > crate::mm::PAGE {
        return Err(Errno::E2BIG.into());
    }
    let mut raw = vec![0; size.max(SIZE) as usize];
    t.read_memory(address, &mut raw[..size as usize])?;
    if raw[SIZE as usize..].iter().any(|&byte| byte != 0) {
        return Err(Errno::E2BIG.into());
    }
    let word = |index: usize| {
        u64::from_le_bytes(raw[index * 8..index * 8 + 8].try_into().unwrap_or_default())
    };
    let (flags, exit_signal) = (word(0), word(4));
    let (stack, stack_size) = (word(5), word(6));
    let known =
        0xffff_ffff & !(clone_flags::CSIGNAL | clone_flags::DETACHED) | clone_flags::CLEAR_SIGHAND;
    let has = |flag| flags & flag != 0;
    let bad = flags & !known != 0
        || exit_signal > u64::from(abi::signal::SIGNAL_MAX)
        || (stack == 0) != (stack_size == 0)
        || has(clone_flags::SIGHAND) && has(clone_flags::CLEAR_SIGHAND)
        || has(clone_flags::THREAD | clone_flags::PARENT) && exit_signal != 0
        || (word(8) == 0) != (word(9) == 0);
    if bad {
        return Err(Errno::EINVAL.into());
    }
    if word(9) != 0 {
        // To choose the child's number is for checkpointing, which is not here.
        return Err(Errno::EPERM.into());
    }
    let request = CloneArgs {
        flags,
        exit_signal: exit_signal as u32,
        stack: if stack == 0 {
            0
        } else {
            stack.wrapping_add(stack_size)
        },
        parent_tid: word(3),
        tls: word(7),
        child_tid: word(2),
        pidfd: word(1),
    };
    clone(k, t, &request)
}

fn clone(k: &Rc<Kernel>, t: &Rc<Task>, request: &CloneArgs) -> SysResult {
    let child = k.clone_task(t, request)?;
    let number = child.tid_in(&t.pid_ns());
    if request.flags & clone_flags::PIDFD != 0 {
        let fd = k.open_pidfd(t, &child.group)?;
        t.write_u32(request.pidfd, fd as u32)?;
    }
    if request.flags & clone_flags::VFORK != 0 {
        *t.syscall.data.borrow_mut() = Some(Box::new(number));
        return vfork_done(t);
    }
    Ok(u64::from(number))
}

/// The parent of a vfork sleeps until the child has its own memory or is gone.
fn vfork_done(t: &Rc<Task>) -> SysResult {
    if !t.syscall.woken.get() {
        return Err(Block::uninterruptible());
    }
    let data = t.syscall.data.borrow();
    let number = data
        .as_ref()
        .and_then(|data| data.downcast_ref::<u32>())
        .copied();
    Ok(u64::from(number.unwrap_or(0)))
}

fn read_strings(t: &Rc<Task>, address: u64) -> Result<Vec<Vec<u8>>, Errno> {
    let mut strings = Vec::new();
    if address == 0 {
        return Ok(strings);
    }
    let mut total = 0;
    loop {
        let pointer = t.read_u64(address.wrapping_add(8 * strings.len() as u64))?;
        if pointer == 0 {
            return Ok(strings);
        }
        let text = t.read_string(pointer, 128 * 1024)?.ok_or(Errno::E2BIG)?;
        total += text.len() + 9;
        if total > 8 * STRINGS_MAX || strings.len() > STRINGS_MAX {
            return Err(Errno::E2BIG);
        }
        strings.push(text);
    }
}

fn sys_execve(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    exec(k, t, AT_FDCWD, args[0], args[1], args[2], 0)
}

fn sys_execveat(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    exec(k, t, args[0] as i32, args[1], args[2], args[3], args[4])
}

fn exec(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    dir: i32,
    path: u64,
    argv: u64,
    envp: u64,
    flags: u64,
) -> SysResult {
    if flags & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let name = t.read_path(path)?;
    let argv = read_strings(t, argv)?;
    let envp = read_strings(t, envp)?;
    let base = match (dir, name.first()) {
        (AT_FDCWD, _) | (_, Some(b'/')) => None,
        (fd, _) => Some(t.files().get(fd)?.path.clone().ok_or(Errno::EACCES)?),
    };
    let (target, name) = if name.is_empty() {
        if flags & AT_EMPTY_PATH == 0 {
            return Err(Errno::ENOENT.into());
        }
        let target = base.ok_or(Errno::EACCES)?;
        (target, format!("/dev/fd/{dir}").into_bytes())
    } else {
        let follow = flags & AT_SYMLINK_NOFOLLOW == 0;
        let target = k.with_fs(t, |ctx| ctx.resolve(base.as_ref(), &name, follow))?;
        if target.inode().attr()?.file_type() == vfs::inode::S_IFLNK {
            return Err(Errno::ELOOP.into());
        }
        (target, name)
    };
    k.exec_task(
        t,
        ExecRequest {
            path: target,
            name: &name,
            argv,
            envp: &envp,
        },
    )?;
    Err(Stop::Gone)
}

fn sys_wait4(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [pid, status, options, usage, ..] = *args;
    if options & !(WNOHANG | WSTOPPED | WCONTINUED | CLONE_OPTIONS) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let which = match pid as i32 {
        i32::MIN => return Err(Errno::ESRCH.into()),
        -1 => WaitFor::Any,
        0 => WaitFor::Group(t.group.process_group().pid.in_ns(&t.pid_ns())),
        pid if pid < 0 => WaitFor::Group(pid.unsigned_abs()),
        pid => WaitFor::Pid(pid as u32),
    };
    // The pointers are looked at first: a status that was taken cannot be put back.
    for (pointer, len) in [(status, 4), (usage, 144)] {
        if pointer != 0 {
            t.check_writable(pointer, len)?;
        }
    }
    match k.wait_child(t, &which, options | WEXITED)? {
        Some(result) => {
            if status != 0 {
                t.write_u32(status, result.word())?;
            }
            if usage != 0 {
                t.write_words(usage, &usage_words(result.usage))?;
            }
            Ok(u64::from(result.pid))
        }
        None if options & WNOHANG != 0 => Ok(0),
        None => {
            t.group.child_wait.register(t.waker());
            Err(Block::restartable())
        }
    }
}

/// `struct rusage`.
pub(super) fn usage_words(usage: Usage) -> [u64; 18] {
    let split = |nanos: u64| (nanos / 1_000_000_000, nanos % 1_000_000_000 / 1000);
    let (user, system) = (split(usage.user_ns), split(usage.system_ns));
    let mut words = [0; 18];
    (words[0], words[1], words[2], words[3]) = (user.0, user.1, system.0, system.1);
    words[4] = usage.max_rss_kb;
    words[8] = usage.minor_faults;
    words[9] = usage.major_faults;
    words[16] = usage.voluntary_switches;
    words[17] = usage.involuntary_switches;
    words
}

fn sys_waitid(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [kind, id, info, options, usage, _] = *args;
    let events = WEXITED | WSTOPPED | WCONTINUED;
    if options & events == 0 || options & !(events | WNOHANG | WNOWAIT | CLONE_OPTIONS) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let which = match kind {
        0 => WaitFor::Any,
        1 if id as i32 > 0 => WaitFor::Pid(id as u32),
        2 if id as i32 == 0 => WaitFor::Group(t.group.process_group().pid.in_ns(&t.pid_ns())),
        2 if id as i32 > 0 => WaitFor::Group(id as u32),
        3 => WaitFor::Process(k.process_of_pidfd(t, id as i32)?),
        _ => return Err(Errno::EINVAL.into()),
    };
    for (pointer, len) in [(info, 128), (usage, 144)] {
        if pointer != 0 {
            t.check_writable(pointer, len)?;
        }
    }
    let found = k.wait_child(t, &which, options)?;
    let signal = match &found {
        Some(result) => {
            let (code, status) = match result.event {
                WaitEvent::Ended(WaitStatus::Exited(code)) => (si::CLD_EXITED, i32::from(code)),
                WaitEvent::Ended(WaitStatus::Signaled {
                    signal,
                    core: false,
                }) => (si::CLD_KILLED, signal as i32),
                WaitEvent::Ended(WaitStatus::Signaled { signal, .. }) => {
                    (si::CLD_DUMPED, signal as i32)
                }
                WaitEvent::Stopped(signal) => (si::CLD_STOPPED, signal as i32),
                WaitEvent::Continued => (si::CLD_CONTINUED, abi::signal::SIGCONT as i32),
            };
            let fields = SigFields::Child {
                pid: result.pid,
                uid: result.uid,
                status,
                utime: 0,
                stime: 0,
            };
            SigInfo {
                signal: SIGCHLD,
                errno: 0,
                code,
                fields,
            }
        }
        None if options & WNOHANG != 0 => SigInfo::default(),
        None => {
            t.group.child_wait.register(t.waker());
            return Err(Stop::Block(Block {
                deadline: None,
                restart: Restart::Sys,
            }));
        }
    };
    if info != 0 {
        // Linux leaves what lies behind `si_status` alone.
        t.write_memory(info, &signal.emit()[..28])?;
    }
    if let (Some(result), true) = (&found, usage != 0) {
        t.write_words(usage, &usage_words(result.usage))?;
    }
    Ok(0)
}

/// The process with this number as the caller sees it; 0 is its own.
fn process(t: &Rc<Task>, pid: u64) -> Result<Rc<crate::task::ThreadGroup>, Errno> {
    match pid as i32 {
        0 => Ok(Rc::clone(&t.group)),
        pid if pid < 0 => Err(Errno::EINVAL),
        pid => {
            let task = t.pid_ns().task(pid as u32).ok_or(Errno::ESRCH)?;
            Ok(Rc::clone(&task.group))
        }
    }
}

fn sys_setpgid(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let namespace = t.pid_ns();
    let target = process(t, args[0])?;
    let own = target.tgid_in(&namespace);
    let number = match args[1] as i32 {
        number if number < 0 => return Err(Errno::EINVAL.into()),
        0 => own,
        number => number as u32,
    };
    let is_child = target
        .parent()
        .is_some_and(|parent| Rc::ptr_eq(&parent, &t.group));
    if is_child {
        if !Rc::ptr_eq(&target.session(), &t.group.session()) {
            return Err(Errno::EPERM.into());
        }
        if target.did_exec.get() {
            return Err(Errno::EACCES.into());
        }
    } else if !Rc::ptr_eq(&target, &t.group) {
        return Err(Errno::ESRCH.into());
    }
    if target.is_session_leader() {
        return Err(Errno::EPERM.into());
    }
    k.set_process_group(&target, number, &namespace)?;
    Ok(0)
}

fn sys_getpgid(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let group = process(t, args[0]).map_err(|_| Errno::ESRCH)?;
    Ok(u64::from(group.process_group().pid.in_ns(&t.pid_ns())))
}

fn sys_getsid(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let group = process(t, args[0]).map_err(|_| Errno::ESRCH)?;
    Ok(u64::from(group.session().pid.in_ns(&t.pid_ns())))
}

fn sys_setsid(k: &Rc<Kernel>, t: &Rc<Task>, _: &[u64; 6]) -> SysResult {
    k.new_session(&t.group)?;
    Ok(u64::from(t.group.tgid_in(&t.pid_ns())))
}
