//! System calls about users, groups and capabilities. Ids in credentials are global; what a program says and
//! sees is translated by its user namespace.
//!
//! Source: `credentials(7)`, `setuid(2)`, `setresuid(2)`, `setgroups(2)`, `capget(2)`, `capabilities(7)`.

use std::rc::Rc;

use abi::Errno;
use vfs::{Capability, Credentials};

use super::SysResult;
use super::table::{Arg, Row};
use crate::kernel::Kernel;
use crate::task::Task;

use Arg::{Int, Ptr};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(90, "capget", sys_capget, &[Ptr, Ptr]),
    Row::full(91, "capset", sys_capset, &[Ptr, Ptr]),
    Row::full(143, "setregid", sys_setregid, &[Int, Int]),
    Row::full(144, "setgid", sys_setgid, &[Int]),
    Row::full(145, "setreuid", sys_setreuid, &[Int, Int]),
    Row::full(146, "setuid", sys_setuid, &[Int]),
    Row::full(147, "setresuid", sys_setresuid, &[Int, Int, Int]),
    Row::full(148, "getresuid", sys_getresuid, &[Ptr, Ptr, Ptr]),
    Row::full(149, "setresgid", sys_setresgid, &[Int, Int, Int]),
    Row::full(150, "getresgid", sys_getresgid, &[Ptr, Ptr, Ptr]),
    Row::full(151, "setfsuid", sys_setfsuid, &[Int]),
    Row::full(152, "setfsgid", sys_setfsgid, &[Int]),
    Row::full(158, "getgroups", sys_getgroups, &[Int, Ptr]),
    Row::full(159, "setgroups", sys_setgroups, &[Int, Ptr]),
    Row::full(
        174,
        "getuid",
        |_, t, _| Ok(shown_uid(t, t.creds().uid)),
        &[],
    ),
    Row::full(
        175,
        "geteuid",
        |_, t, _| Ok(shown_uid(t, t.creds().euid)),
        &[],
    ),
    Row::full(
        176,
        "getgid",
        |_, t, _| Ok(shown_gid(t, t.creds().gid)),
        &[],
    ),
    Row::full(
        177,
        "getegid",
        |_, t, _| Ok(shown_gid(t, t.creds().egid)),
        &[],
    ),
];

/// "Leave it": -1.
const KEEP: u32 = u32::MAX;
/// Most supplementary groups.
const NGROUPS_MAX: u64 = 65536;
/// `SECBIT_NO_SETUID_FIXUP`.
const SECBIT_NO_SETUID_FIXUP: u32 = 4;
/// `SECBIT_KEEP_CAPS`.
const SECBIT_KEEP_CAPS: u32 = 16;
/// Capabilities that belong to the user id for file access.
const FS_CAPABILITIES: u64 =
    1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 9 | 1 << 27 | 1 << 32;

fn shown_uid(t: &Task, uid: u32) -> u64 {
    u64::from(t.ns().user.shown_uid(uid))
}

fn shown_gid(t: &Task, gid: u32) -> u64 {
    u64::from(t.ns().user.shown_gid(gid))
}

fn global_uid(t: &Task, uid: u64) -> Result<Option<u32>, Errno> {
    if uid as u32 == KEEP {
        Ok(None)
    } else {
        t.ns().user.global_uid(uid as u32).map(Some)
    }
}

fn global_gid(t: &Task, gid: u64) -> Result<Option<u32>, Errno> {
    if gid as u32 == KEEP {
        Ok(None)
    } else {
        t.ns().user.global_gid(gid as u32).map(Some)
    }
}

/// What happens to capabilities when user ids change from or to 0 (`capabilities(7)`).
fn fix_capabilities(t: &Task, old: &Credentials, new: &mut Credentials) {
    if new.securebits & SECBIT_NO_SETUID_FIXUP != 0 {
        return;
    }
    let Ok(root) = t.ns().user.global_uid(0) else {
        return;
    };
    let had_root = [old.uid, old.euid, old.suid].contains(&root);
    let has_root = [new.uid, new.euid, new.suid].contains(&root);
    if had_root && !has_root {
        if new.securebits & SECBIT_KEEP_CAPS == 0 {
            new.permitted = 0;
            new.effective = 0;
        }
        new.ambient = 0;
    }
    if old.euid == root && new.euid != root {
        new.effective = 0;
    }
    if old.euid != root && new.euid == root {
        new.effective = new.permitted;
    }
}

fn change_users(t: &Task, change: impl FnOnce(&mut Credentials) -> Result<(), Errno>) -> SysResult {
    let old = t.creds();
    let mut new = (*old).clone();
    change(&mut new)?;
    new.fsuid = new.euid;
    fix_capabilities(t, &old, &mut new);
    if new.euid != old.euid || new.egid != old.egid {
        t.group.dumpable.set(0);
        t.parent_death_signal.set(0);
    }
    t.set_creds(new);
    Ok(0)
}

fn change_groups(
    t: &Task,
    change: impl FnOnce(&mut Credentials) -> Result<(), Errno>,
) -> SysResult {
    let mut new = (*t.creds()).clone();
    change(&mut new)?;
    new.fsgid = new.egid;
    t.set_creds(new);
    Ok(0)
}

fn sys_setuid(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let uid = global_uid(t, args[0])?.ok_or(Errno::EINVAL)?;
    change_users(t, |new| {
        if new.has_cap(Capability::Setuid) {
            new.uid = uid;
            new.suid = uid;
        } else if uid != new.uid && uid != new.suid {
            return Err(Errno::EPERM);
        }
        new.euid = uid;
        Ok(())
    })
}

fn sys_setgid(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let gid = global_gid(t, args[0])?.ok_or(Errno::EINVAL)?;
    change_groups(t, |new| {
        if new.has_cap(Capability::Setgid) {
            new.gid = gid;
            new.sgid = gid;
        } else if gid != new.gid && gid != new.sgid {
            return Err(Errno::EPERM);
        }
        new.egid = gid;
        Ok(())
    })
}

/// True when `id` may be taken without a capability: it is one of `known`, or nothing is asked.
fn allowed(id: Option<u32>, known: &[u32]) -> bool {
    id.is_none_or(|id| known.contains(&id))
}

fn sys_setreuid(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let (real, effective) = (global_uid(t, args[0])?, global_uid(t, args[1])?);
    change_users(t, |new| {
        let old_uid = new.uid;
        let free = allowed(real, &[new.uid, new.euid])
            && allowed(effective, &[new.uid, new.euid, new.suid]);
        if !free && !new.has_cap(Capability::Setuid) {
            return Err(Errno::EPERM);
        }
        new.uid = real.unwrap_or(new.uid);
        new.euid = effective.unwrap_or(new.euid);
        if real.is_some() || effective.is_some_and(|uid| uid != old_uid) {
            new.suid = new.euid;
        }
        Ok(())
    })
}

fn sys_setregid(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let (real, effective) = (global_gid(t, args[0])?, global_gid(t, args[1])?);
    change_groups(t, |new| {
        let old_gid = new.gid;
        let free = allowed(real, &[new.gid, new.egid])
            && allowed(effective, &[new.gid, new.egid, new.sgid]);
        if !free && !new.has_cap(Capability::Setgid) {
            return Err(Errno::EPERM);
        }
        new.gid = real.unwrap_or(new.gid);
        new.egid = effective.unwrap_or(new.egid);
        if real.is_some() || effective.is_some_and(|gid| gid != old_gid) {
            new.sgid = new.egid;
        }
        Ok(())
    })
}

fn sys_setresuid(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let ids = [
        global_uid(t, args[0])?,
        global_uid(t, args[1])?,
        global_uid(t, args[2])?,
    ];
    change_users(t, |new| {
        let known = [new.uid, new.euid, new.suid];
        if !ids.iter().all(|&id| allowed(id, &known)) && !new.has_cap(Capability::Setuid) {
            return Err(Errno::EPERM);
        }
        new.uid = ids[0].unwrap_or(new.uid);
        new.euid = ids[1].unwrap_or(new.euid);
        new.suid = ids[2].unwrap_or(new.suid);
        Ok(())
    })
}

fn sys_setresgid(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let ids = [
        global_gid(t, args[0])?,
        global_gid(t, args[1])?,
        global_gid(t, args[2])?,
    ];
    change_groups(t, |new| {
        let known = [new.gid, new.egid, new.sgid];
        if !ids.iter().all(|&id| allowed(id, &known)) && !new.has_cap(Capability::Setgid) {
            return Err(Errno::EPERM);
        }
        new.gid = ids[0].unwrap_or(new.gid);
        new.egid = ids[1].unwrap_or(new.egid);
        new.sgid = ids[2].unwrap_or(new.sgid);
        Ok(())
    })
}

fn sys_getresuid(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let creds = t.creds();
    for (address, uid) in args.iter().zip([creds.uid, creds.euid, creds.suid]) {
        t.write_u32(*address, shown_uid(t, uid) as u32)?;
    }
    Ok(0)
}

fn sys_getresgid(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let creds = t.creds();
    for (address, gid) in args.iter().zip([creds.gid, creds.egid, creds.sgid]) {
        t.write_u32(*address, shown_gid(t, gid) as u32)?;
    }
    Ok(0)
}

fn sys_setfsuid(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let mut new = (*t.creds()).clone();
    let old = new.fsuid;
    if let Ok(Some(uid)) = global_uid(t, args[0])
        && ([new.uid, new.euid, new.suid, new.fsuid].contains(&uid)
            || new.has_cap(Capability::Setuid))
    {
        new.fsuid = uid;
        if let Ok(root) = t.ns().user.global_uid(0) {
            if old == root && uid != root {
                new.effective &= !FS_CAPABILITIES;
            } else if old != root && uid == root {
                new.effective |= new.permitted & FS_CAPABILITIES;
            }
        }
        t.set_creds(new);
    }
    Ok(shown_uid(t, old))
}

fn sys_setfsgid(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let mut new = (*t.creds()).clone();
    let old = new.fsgid;
    if let Ok(Some(gid)) = global_gid(t, args[0])
        && ([new.gid, new.egid, new.sgid, new.fsgid].contains(&gid)
            || new.has_cap(Capability::Setgid))
    {
        new.fsgid = gid;
        t.set_creds(new);
    }
    Ok(shown_gid(t, old))
}

fn sys_getgroups(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let creds = t.creds();
    let size = args[0] as i32;
    if size < 0 || size != 0 && (size as usize) < creds.groups.len() {
        return Err(Errno::EINVAL.into());
    }
    if size != 0 {
        for (index, gid) in creds.groups.iter().enumerate() {
            t.write_u32(
                args[1].wrapping_add(4 * index as u64),
                shown_gid(t, *gid) as u32,
            )?;
        }
    }
    Ok(creds.groups.len() as u64)
}

fn sys_setgroups(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let ns = t.ns();
    if !t.creds().has_cap(Capability::Setgid) || !ns.user.setgroups_allowed.get() {
        return Err(Errno::EPERM.into());
    }
    if args[0] > NGROUPS_MAX {
        return Err(Errno::EINVAL.into());
    }
    let mut groups = Vec::with_capacity(args[0] as usize);
    for index in 0..args[0] {
        let gid = t.read_u32(args[1].wrapping_add(4 * index))?;
        groups.push(ns.user.global_gid(gid)?);
    }
    groups.sort_unstable();
    t.set_creds(Credentials {
        groups,
        ..(*t.creds()).clone()
    });
    Ok(0)
}

const CAPABILITY_VERSION_1: u32 = 0x1998_0330;
const CAPABILITY_VERSION_2: u32 = 0x2007_1026;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Reads the header of capget and capset: the number of 32-bit words per set, and the pid.
fn read_header(t: &Rc<Task>, header: u64) -> Result<(u64, i32), Errno> {
    let version = t.read_u32(header)?;
    let words = match version {
        CAPABILITY_VERSION_1 => 1,
        CAPABILITY_VERSION_2 | CAPABILITY_VERSION_3 => 2,
        _ => {
            t.write_u32(header, CAPABILITY_VERSION_3)?;
            return Err(Errno::EINVAL);
        }
    };
    Ok((words, t.read_u32(header.wrapping_add(4))? as i32))
}

fn sys_capget(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [header, data, ..] = *args;
    let (words, pid) = match read_header(t, header) {
        // A null data pointer only asks for the version.
        Err(Errno::EINVAL) if data == 0 => return Ok(0),
        other => other?,
    };
    if pid < 0 {
        return Err(Errno::EINVAL.into());
    }
    let target = if pid == 0 {
        Rc::clone(t)
    } else {
        t.pid_ns().task(pid as u32).ok_or(Errno::ESRCH)?
    };
    if data == 0 {
        return Ok(0);
    }
    let creds = target.creds();
    for word in 0..words {
        for (index, set) in [creds.effective, creds.permitted, creds.inheritable]
            .iter()
            .enumerate()
        {
            let address = data.wrapping_add(12 * word + 4 * index as u64);
            t.write_u32(address, (set >> (32 * word)) as u32)?;
        }
    }
    Ok(0)
}

fn sys_capset(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [header, data, ..] = *args;
    let (words, pid) = read_header(t, header)?;
    let own = t.tid_in(&t.pid_ns());
    if pid != 0 && pid as u32 != own {
        return Err(Errno::EPERM.into());
    }
    let mut sets = [0_u64; 3];
    for word in 0..words {
        for (index, set) in sets.iter_mut().enumerate() {
            let value = t.read_u32(data.wrapping_add(12 * word + 4 * index as u64))?;
            *set |= u64::from(value) << (32 * word);
        }
    }
    let known = vfs::credentials::ALL_CAPABILITIES;
    let [effective, permitted, inheritable] = sets.map(|set| set & known);
    let old = t.creds();
    let may_inherit = old.inheritable
        | if old.has_cap(Capability::Setpcap) {
            old.bounding
        } else {
            old.permitted
        };
    let wrong = inheritable & !(old.inheritable | may_inherit) != 0
        || inheritable & !(old.inheritable | old.bounding) != 0
        || permitted & !old.permitted != 0
        || effective & !permitted != 0;
    if wrong {
        return Err(Errno::EPERM.into());
    }
    let ambient = old.ambient & permitted & inheritable;
    t.set_creds(Credentials {
        effective,
        permitted,
        inheritable,
        ambient,
        ..(*old).clone()
    });
    Ok(0)
}
