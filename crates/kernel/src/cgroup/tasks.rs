//! What the cgroup files do with tasks: list them, move them, kill them.
//!
//! The numbers shown and taken are those of the reader's or writer's pid namespace; daemons of the
//! machine use the machine's own.

use std::rc::Rc;

use abi::signal::{SIGKILL, SigInfo};
use abi::{Errno, Result};
use vfs::Capability;

use super::Cgroup;
use crate::Kernel;
use crate::namespaces::PidNamespace;
use crate::task::{Task, ThreadGroup};

/// The pid namespace numbers are meant in.
fn caller_ns(kernel: &Kernel) -> Rc<PidNamespace> {
    kernel
        .current()
        .map_or_else(|| Rc::clone(&kernel.init_ns.pid), |task| task.pid_ns())
}

fn lines(numbers: impl Iterator<Item = u32>) -> String {
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.iter().map(|number| format!("{number}\n")).collect()
}

/// The live tasks of a cgroup itself.
#[must_use]
pub fn members(kernel: &Kernel, cgroup: &Cgroup) -> Vec<Rc<Task>> {
    let ids = cgroup.members();
    let tasks = kernel.tasks.borrow();
    ids.iter().filter_map(|id| tasks.get(id).cloned()).collect()
}

/// The live tasks of a cgroup and of those below.
#[must_use]
pub fn members_below(kernel: &Kernel, cgroup: &Rc<Cgroup>) -> Vec<Rc<Task>> {
    let ids = cgroup.members_below();
    let tasks = kernel.tasks.borrow();
    ids.iter().filter_map(|id| tasks.get(id).cloned()).collect()
}

/// Reading `cgroup.procs`.
pub fn procs(kernel: &Rc<Kernel>, cgroup: &Rc<Cgroup>) -> Result<String> {
    let ns = caller_ns(kernel);
    Ok(lines(
        members(kernel, cgroup)
            .iter()
            .map(|task| task.group.tgid_in(&ns)),
    ))
}

/// Reading `cgroup.threads`.
pub fn threads(kernel: &Rc<Kernel>, cgroup: &Rc<Cgroup>) -> Result<String> {
    let ns = caller_ns(kernel);
    Ok(lines(
        members(kernel, cgroup).iter().map(|task| task.tid_in(&ns)),
    ))
}

/// Writing `cgroup.procs`: the whole process moves.
pub fn write_procs(kernel: &Rc<Kernel>, cgroup: &Rc<Cgroup>, text: &str) -> Result<()> {
    let group = named_process(kernel, text)?;
    let threads = group.threads();
    if let Some(task) = threads.first() {
        may_move(kernel, task, cgroup)?;
    }
    cgroup.may_hold_tasks()?;
    for task in threads {
        move_task(kernel, &task, cgroup)?;
    }
    Ok(())
}

/// Writing `cgroup.threads`: a thread may only move within its threaded domain, and there are none.
pub fn write_threads(kernel: &Rc<Kernel>, cgroup: &Rc<Cgroup>, text: &str) -> Result<()> {
    let group = named_process(kernel, text)?;
    match group.any_task() {
        Some(task) if Rc::ptr_eq(&task.cgroup(), cgroup) => Ok(()),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// The process a number names; 0 is the writer itself.
fn named_process(kernel: &Rc<Kernel>, text: &str) -> Result<Rc<ThreadGroup>> {
    let number: u32 = text.trim().parse().map_err(|_| Errno::EINVAL)?;
    if number == 0 {
        return kernel
            .current()
            .map(|task| Rc::clone(&task.group))
            .ok_or(Errno::ESRCH);
    }
    let task = caller_ns(kernel).task(number).ok_or(Errno::ESRCH)?;
    Ok(Rc::clone(&task.group))
}

/// Who moves a process writes, in effect, to `cgroup.procs` of the nearest common ancestor too, and sees
/// neither end outside his cgroup namespace.
fn may_move(kernel: &Kernel, task: &Task, to: &Rc<Cgroup>) -> Result<()> {
    let Some(writer) = kernel.current() else {
        return Ok(());
    };
    let (from, root) = (task.cgroup(), Rc::clone(&writer.ns().cgroup.root));
    if !from.is_within(&root) || !to.is_within(&root) {
        return Err(Errno::ENOENT);
    }
    let creds = writer.creds();
    if creds.has_cap(Capability::DacOverride) {
        return Ok(());
    }
    let common = from
        .chain()
        .into_iter()
        .find(|cgroup| to.is_within(cgroup))
        .unwrap_or(root);
    let (uid, _, mode) = common.file_owner("cgroup.procs", 0o644);
    let allowed = uid == creds.fsuid && mode & 0o200 != 0;
    if allowed { Ok(()) } else { Err(Errno::EACCES) }
}

/// Moves one task, with its charge.
pub fn move_task(kernel: &Kernel, task: &Rc<Task>, to: &Rc<Cgroup>) -> Result<()> {
    let from = task.cgroup();
    if task.is_dead() || Rc::ptr_eq(&from, to) {
        return Ok(());
    }
    from.migrate(task.id, to)?;
    task.set_cgroup(Rc::clone(to));
    kernel.run_queue.moved(task, &from, to);
    Ok(())
}

/// Writing `cgroup.kill`.
pub fn kill_all(kernel: &Rc<Kernel>, cgroup: &Rc<Cgroup>, text: &str) -> Result<()> {
    match text.trim() {
        "1" => {}
        text if text.parse::<i64>().is_ok() => return Err(Errno::ERANGE),
        _ => return Err(Errno::EINVAL),
    }
    for task in members_below(kernel, cgroup) {
        if task.is_leader() || task.group.leader().is_none_or(|leader| leader.is_dead()) {
            kernel.signal_process(&task.group, SigInfo::kernel(SIGKILL))?;
        }
    }
    Ok(())
}
