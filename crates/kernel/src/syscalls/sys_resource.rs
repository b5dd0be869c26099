//! System calls about resource limits and use.
//!
//! Source: `getrlimit(2)`, `getrusage(2)`, `getpriority(2)`, `sysinfo(2)`.

use std::rc::Rc;

use abi::Errno;
use clock::NANOS_PER_SEC;
use vfs::Capability;

use super::SysResult;
use super::sys_process::usage_words;
use super::table::{Arg, Row};
use crate::kernel::Kernel;
use crate::task::{RLIM_NLIMITS, RLIMIT_NICE, RLIMIT_NOFILE, Rlimit, Task};

use Arg::{Int, Ptr};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(140, "setpriority", sys_setpriority, &[Int, Int, Int]),
    Row::full(141, "getpriority", sys_getpriority, &[Int, Int]),
    Row::full(163, "getrlimit", sys_getrlimit, &[Int, Ptr]),
    Row::full(164, "setrlimit", sys_setrlimit, &[Int, Ptr]),
    Row::full(165, "getrusage", sys_getrusage, &[Int, Ptr]),
    Row::full(179, "sysinfo", sys_sysinfo, &[Ptr]),
    Row::full(261, "prlimit64", sys_prlimit64, &[Int, Int, Ptr, Ptr]),
    Row::partial(
        30,
        "ioprio_set",
        |_, _, _| Ok(0),
        &[Int, Int, Int],
        "accepted, there is no disk to share",
    ),
    Row::partial(
        31,
        "ioprio_get",
        |_, _, _| Ok(0),
        &[Int, Int],
        "always none",
    ),
];

/// Most descriptors anybody may be given.
const NR_OPEN: u64 = 1 << 20;

fn resource(number: u64) -> Result<usize, Errno> {
    usize::try_from(number as u32)
        .ok()
        .filter(|&number| number < RLIM_NLIMITS)
        .ok_or(Errno::EINVAL)
}

fn set_limit(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    target: &Rc<Task>,
    resource: usize,
    new: Rlimit,
) -> Result<(), Errno> {
    if new.soft > new.hard
        || resource == RLIMIT_NOFILE && new.hard > NR_OPEN && new.hard != u64::MAX
    {
        return Err(if new.soft > new.hard {
            Errno::EINVAL
        } else {
            Errno::EPERM
        });
    }
    let known = target.group.limits.get(resource);
    if new.hard > known.hard && !k.capable(t, Capability::SysResource) {
        return Err(Errno::EPERM);
    }
    target.group.limits.set(resource, new);
    Ok(())
}

fn sys_getrlimit(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let limit = t.group.limits.get(resource(args[0])?);
    t.write_words(args[1], &[limit.soft, limit.hard])?;
    Ok(0)
}

fn sys_setrlimit(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let resource = resource(args[0])?;
    let new = Rlimit {
        soft: t.read_u64(args[1])?,
        hard: t.read_u64(args[1].wrapping_add(8))?,
    };
    set_limit(k, t, t, resource, new)?;
    Ok(0)
}

fn sys_prlimit64(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [pid, number, new, old, ..] = *args;
    let resource = resource(number)?;
    let target = match pid as u32 {
        0 => Rc::clone(t),
        pid => t.pid_ns().task(pid).ok_or(Errno::ESRCH)?,
    };
    if !Rc::ptr_eq(&target.group, &t.group) {
        let (mine, theirs) = (t.creds(), target.creds());
        let same = [theirs.uid, theirs.euid, theirs.suid]
            .iter()
            .all(|&uid| uid == mine.uid);
        if !same && !k.capable_over(t, &target, Capability::SysResource) {
            return Err(Errno::EPERM.into());
        }
    }
    let known = target.group.limits.get(resource);
    if new != 0 {
        let new = Rlimit {
            soft: t.read_u64(new)?,
            hard: t.read_u64(new.wrapping_add(8))?,
        };
        set_limit(k, t, &target, resource, new)?;
    }
    if old != 0 {
        t.write_words(old, &[known.soft, known.hard])?;
    }
    Ok(0)
}

fn sys_getrusage(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let mut usage = match args[0] as i32 {
        0 => t.group.usage(),
        -1 => t.group.children_usage(),
        1 => t.usage(),
        _ => return Err(Errno::EINVAL.into()),
    };
    if args[0] as i32 >= 0 {
        usage.max_rss_kb = t.mm().peak_resident.get() * 4;
    }
    t.write_words(args[1], &usage_words(usage))?;
    Ok(0)
}

/// The tasks `getpriority(2)` means.
fn priority_targets(t: &Rc<Task>, which: u64, who: u64) -> Result<Vec<Rc<Task>>, Errno> {
    let namespace = t.pid_ns();
    let who = who as u32;
    let targets: Vec<Rc<Task>> = match which {
        0 if who == 0 => vec![Rc::clone(t)],
        0 => namespace.task(who).into_iter().collect(),
        1 => {
            let group = match who {
                0 => Some(t.group.process_group()),
                who => namespace
                    .pid(who)
                    .and_then(|pid| pid.process_group.borrow().upgrade()),
            };
            let members = group.map(|group| group.members()).unwrap_or_default();
            members.iter().flat_map(|member| member.threads()).collect()
        }
        2 => {
            let uid = if who == 0 {
                t.creds().uid
            } else {
                t.ns().user.global_uid(who)?
            };
            let mut tasks = namespace.tasks();
            tasks.retain(|task| task.creds().uid == uid);
            tasks
        }
        _ => return Err(Errno::EINVAL),
    };
    if targets.is_empty() {
        Err(Errno::ESRCH)
    } else {
        Ok(targets)
    }
}

fn sys_getpriority(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let targets = priority_targets(t, args[0], args[1])?;
    let nice = targets
        .iter()
        .map(|task| task.nice.get())
        .min()
        .unwrap_or(0);
    // The call gives 20 - nice, so that no value looks like an error.
    Ok((20 - nice) as u64)
}

fn sys_setpriority(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let nice = (args[2] as i32).clamp(-20, 19);
    for target in priority_targets(t, args[0], args[1])? {
        let creds = t.creds();
        let owns = [target.creds().uid, target.creds().euid].contains(&creds.euid);
        let admin = k.capable_over(t, &target, Capability::SysNice);
        if !owns && !admin {
            return Err(Errno::EPERM.into());
        }
        let lowest = 20 - target.group.limits.soft(RLIMIT_NICE).min(40) as i32;
        if nice < target.nice.get() && nice < lowest && !admin {
            return Err(Errno::EACCES.into());
        }
        target.nice.set(nice);
    }
    Ok(0)
}

fn sys_sysinfo(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let account = &k.cgroup_root.memory.account;
    let total = k.config.memory;
    let tasks = k.tasks.borrow().len() as u64;
    let mut words = [0; 14];
    words[0] = k.clock.now().since(k.boot) / NANOS_PER_SEC;
    words[4] = total;
    // Averages in parts of 65536.
    for (word, load) in words[1..4].iter_mut().zip(k.load.get()) {
        *word = load << 5;
    }
    words[5] = account.room();
    words[6] = account.of_kind(mem::Kind::Shmem);
    words[10] = tasks & 0xffff;
    // `mem_unit` is the 32-bit word behind two words of high memory.
    words[13] = 1;
    t.write_words(args[0], &words)?;
    Ok(0)
}
