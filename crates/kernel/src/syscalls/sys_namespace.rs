//! System calls: namespaces (`unshare(2)`, `setns(2)`, `sethostname(2)`).

use std::rc::Rc;

use abi::{Errno, Result};
use vfs::Capability;

use super::SysResult;
use super::table::{Arg, Row};
use crate::kernel::Kernel;
use crate::namespaces::CLONE_NEW_ALL;
use crate::namespaces::nsfs::{NAMES, NsFile, NsRef};
use crate::namespaces::uts::NAME_MAX;
use crate::pidfd::PidFd;
use crate::task::Task;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::partial(
        97,
        "unshare",
        sys_unshare,
        &[Arg::CloneFlags],
        "no time namespaces (EINVAL)",
    ),
    Row::partial(
        268,
        "setns",
        sys_setns,
        &[Arg::Fd, Arg::CloneFlags],
        "no time namespaces (EINVAL)",
    ),
    Row::full(161, "sethostname", sys_sethostname, &[Arg::Buf, Arg::Uint]),
    Row::full(
        162,
        "setdomainname",
        sys_setdomainname,
        &[Arg::Buf, Arg::Uint],
    ),
];

fn sys_unshare(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    k.unshare(t, a[0])?;
    Ok(0)
}

fn sys_setns(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let file = t.files().get(a[0] as i32)?;
    let wanted = a[1] & 0xffff_ffff;
    if let Some(NsFile(ns)) = file.file.as_any().downcast_ref::<NsFile>() {
        if wanted != 0 && wanted != ns.flag() {
            return Err(Errno::EINVAL.into());
        }
        k.join_namespace(t, ns)?;
        return Ok(0);
    }
    let pidfd = file
        .file
        .as_any()
        .downcast_ref::<PidFd>()
        .ok_or(Errno::EINVAL)?;
    join_all(k, t, pidfd, wanted)?;
    Ok(0)
}

/// With a pidfd: several namespaces of a process at once, the user namespace first (it may give the
/// right to the others) and the mount namespace last.
fn join_all(k: &Rc<Kernel>, t: &Rc<Task>, pidfd: &PidFd, wanted: u64) -> Result<()> {
    if wanted == 0 || wanted & !CLONE_NEW_ALL != 0 {
        return Err(Errno::EINVAL);
    }
    let target = pidfd
        .group()
        .any_task()
        .filter(|task| !task.is_dead())
        .ok_or(Errno::ESRCH)?;
    crate::proc::may_inspect(k, &target).map_err(|_| Errno::EPERM)?;
    let theirs = target.ns();
    let mut names = NAMES.to_vec();
    order::sort_by_key(&mut names, |&name| match name {
        "user" => 0,
        "mnt" => 2,
        _ => 1,
    });
    for name in names.into_iter().filter(|&name| name != "pid_for_children") {
        let Some(ns) = NsRef::of(&theirs, name) else {
            continue;
        };
        if wanted & ns.flag() != 0 {
            k.join_namespace(t, &ns)?;
        }
    }
    Ok(())
}

fn read_name(k: &Kernel, t: &Task, address: u64, len: u64) -> Result<Vec<u8>> {
    if !k.capable_in(t, &t.ns().uts.owner, Capability::SysAdmin) {
        return Err(Errno::EPERM);
    }
    if len as i32 as i64 != len as i64 || len as usize > NAME_MAX {
        return Err(Errno::EINVAL);
    }
    let mut name = vec![0; len as usize];
    t.read_memory(address, &mut name)?;
    Ok(name)
}

fn sys_sethostname(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    t.ns().uts.set_hostname(&read_name(k, t, a[0], a[1])?)?;
    Ok(0)
}

fn sys_setdomainname(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    t.ns().uts.set_domainname(&read_name(k, t, a[0], a[1])?)?;
    Ok(0)
}
