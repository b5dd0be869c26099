//! System calls about memory.
//!
//! Source: `mmap(2)`, `mprotect(2)`, `mremap(2)`, `madvise(2)`, `mincore(2)`, `mlock(2)`, `msync(2)`, `brk(2)`.

use std::rc::Rc;

use abi::Errno;
use rv64::{Access, Fault, Prot};

use super::table::{Arg, Row};
use super::{Stop, SysResult};
use crate::kernel::Kernel;
use crate::mm::{
    Backing, Mm, PAGE, Placement, SharedPages, VmaFlags, advice, map_flags as flag, page_up,
};
use crate::task::{RLIM_INFINITY, RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK, Task};

use Arg::{Fd, Hex, Int, MapFlags, Ptr, Uint};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(214, "brk", sys_brk, &[Ptr]),
    Row::full(215, "munmap", sys_munmap, &[Ptr, Uint]),
    Row::full(216, "mremap", sys_mremap, &[Ptr, Uint, Uint, Hex, Ptr]),
    Row::partial(
        222,
        "mmap",
        sys_mmap,
        &[Ptr, Uint, Arg::Prot, MapFlags, Fd, Hex],
        "no huge pages, no MAP_SYNC",
    ),
    Row::full(226, "mprotect", sys_mprotect, &[Ptr, Uint, Arg::Prot]),
    Row::full(227, "msync", sys_msync, &[Ptr, Uint, Hex]),
    Row::full(228, "mlock", sys_mlock, &[Ptr, Uint]),
    Row::full(229, "munlock", sys_munlock, &[Ptr, Uint]),
    Row::full(230, "mlockall", sys_mlockall, &[Hex]),
    Row::full(231, "munlockall", sys_munlockall, &[]),
    Row::full(232, "mincore", sys_mincore, &[Ptr, Uint, Ptr]),
    Row::partial(
        233,
        "madvise",
        sys_madvise,
        &[Ptr, Uint, Int],
        "MADV_REMOVE is EINVAL; FREE frees at once",
    ),
    Row::full(284, "mlock2", sys_mlock2, &[Ptr, Uint, Hex]),
    Row::partial(
        283,
        "membarrier",
        sys_membarrier,
        &[Int, Hex],
        "one CPU: every barrier is a no-op",
    ),
    Row::enosys(234, "remap_file_pages", "obsolete"),
    Row::enosys(235, "mbind", "no NUMA"),
    Row::enosys(236, "get_mempolicy", "no NUMA"),
    Row::enosys(237, "set_mempolicy", "no NUMA"),
    Row::enosys(288, "pkey_mprotect", "no protection keys"),
    Row::enosys(289, "pkey_alloc", "no protection keys"),
    Row::enosys(290, "pkey_free", "no protection keys"),
];

fn sys_brk(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let mm = t.mm();
    let limit = t.group.limits.soft(RLIMIT_DATA);
    // As Linux: on failure the old end comes back.
    let more = args[0].saturating_sub(mm.brk());
    if args[0] != 0 && fits_address_space(t, &mm, more) && may_exist(k, t, more) {
        let _ = mm.move_brk(args[0], limit);
    }
    Ok(mm.brk())
}

fn fits_address_space(t: &Rc<Task>, mm: &Mm, more: u64) -> bool {
    let limit = t.group.limits.soft(RLIMIT_AS);
    limit == RLIM_INFINITY || mm.size().saturating_add(more) <= limit
}

/// `vm.overcommit_memory` 0: what is more than the whole machine is refused, anything less is believed.
fn may_exist(k: &Rc<Kernel>, t: &Task, len: u64) -> bool {
    const ALWAYS: i64 = 1;
    len <= k.config.memory
        || crate::proc::sysctl::number(k, &t.ns(), "vm/overcommit_memory") == Some(ALWAYS)
}

fn sys_mmap(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [address, len, prot, flags, fd, offset] = *args;
    if len == 0 || !offset.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL.into());
    }
    let shared = match flags & flag::TYPE {
        flag::SHARED | flag::SHARED_VALIDATE => true,
        flag::PRIVATE => false,
        _ => return Err(Errno::EINVAL.into()),
    };
    // What mmap has always taken; SHARED_VALIDATE, unlike SHARED, says when something else is asked for.
    const LEGACY: u64 = 0x7c17_f93f;
    let validates = flags & flag::TYPE == flag::SHARED_VALIDATE && flags & flag::ANONYMOUS == 0;
    if validates && flags & !LEGACY != 0 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let len = page_up(len);
    let mm = t.mm();
    if len == 0 || !fits_address_space(t, &mm, len) {
        return Err(Errno::ENOMEM.into());
    }
    let placement = if flags & flag::FIXED_NOREPLACE != 0 {
        Placement::NoReplace(address)
    } else if flags & flag::FIXED != 0 {
        Placement::Fixed(address)
    } else {
        Placement::Hint(address)
    };
    let prot = crate::mm::effective_prot(prot);
    let mut vma_flags = VmaFlags::empty();
    vma_flags.set(VmaFlags::SHARED, shared);
    vma_flags.set(VmaFlags::GROWS_DOWN, flags & flag::GROWSDOWN != 0);
    vma_flags.set(VmaFlags::NO_RESERVE, flags & flag::NORESERVE != 0);
    vma_flags.set(VmaFlags::LOCKED, flags & flag::LOCKED != 0);
    let needs_memory = flags & flag::ANONYMOUS != 0 || !shared;
    if needs_memory
        && prot.contains(Prot::WRITE)
        && flags & flag::NORESERVE == 0
        && !may_exist(k, t, len)
    {
        return Err(Errno::ENOMEM.into());
    }
    let backing = if flags & flag::ANONYMOUS != 0 {
        if shared {
            Backing::Shared {
                pages: SharedPages::new(),
                first: 0,
            }
        } else {
            Backing::Anon
        }
    } else {
        let file = t.files().get(fd as i32)?;
        let open = file.flags.get();
        if open.contains(vfs::file::OpenFlags::PATH) {
            return Err(Errno::EBADF.into());
        }
        if !open.readable() {
            return Err(Errno::EACCES.into());
        }
        let sealed = shared && crate::memfd::forbids_writing(&file);
        if sealed && prot.contains(Prot::WRITE) {
            return Err(Errno::EPERM.into());
        }
        if shared && (!open.writable() || sealed) {
            if prot.contains(Prot::WRITE) {
                return Err(Errno::EACCES.into());
            }
            vma_flags.insert(VmaFlags::NEVER_WRITE);
        }
        let noexec = file.path.as_ref().is_some_and(|path| {
            path.mount
                .flags
                .get()
                .contains(vfs::mount::MountFlags::NOEXEC)
        });
        if noexec && prot.contains(Prot::EXEC) {
            return Err(Errno::EPERM.into());
        }
        if offset.checked_add(len).is_none() {
            return Err(Errno::EOVERFLOW.into());
        }
        // Files that cannot be mapped say so now and not at the first access.
        match file.file.page(offset / PAGE, false) {
            Err(Errno::ENODEV) => return Err(Errno::ENODEV.into()),
            Err(Errno::EACCES) => return Err(Errno::EACCES.into()),
            _ => {}
        }
        crate::mm::note_mapped(&file);
        Backing::File { file, offset }
    };
    let start = mm.map(placement, len, prot, vma_flags, backing, "")?;
    if flags & (flag::POPULATE | flag::LOCKED) != 0 && prot != Prot::NONE {
        // Populating is a wish: what fails now faults later.
        let _ = populate(t, start, len, prot.contains(Prot::WRITE));
    }
    Ok(start)
}

/// Touches every page of a range.
fn populate(t: &Rc<Task>, start: u64, len: u64, write: bool) -> Result<(), Stop> {
    let mm = t.mm();
    let mut at = start;
    while at < start + len {
        let there = {
            let space = mm.space.borrow();
            space.lookup(at).is_some_and(|page| !write || !page.cow)
        };
        if !there {
            let access = if write { Access::Write } else { Access::Read };
            t.touch(Fault { addr: at, access })?;
        }
        at += PAGE;
    }
    Ok(())
}

fn sys_munmap(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    t.mm().unmap(args[0], args[1])?;
    Ok(0)
}

fn sys_mprotect(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    const GROWSDOWN: u64 = 0x0100_0000;
    const GROWSUP: u64 = 0x0200_0000;
    if args[2] & !(7 | GROWSDOWN | GROWSUP | 8) != 0 {
        return Err(Errno::EINVAL.into());
    }
    t.mm().protect(args[0], args[1], args[2])?;
    Ok(0)
}

fn sys_mremap(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let mm = t.mm();
    let [old, old_len, new_len, flags, new, _] = *args;
    if !fits_address_space(t, &mm, new_len.saturating_sub(old_len)) {
        return Err(Errno::ENOMEM.into());
    }
    Ok(mm.remap(old, old_len, new_len, flags, new)?)
}

fn sys_madvise(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [start, len, what, ..] = *args;
    let mm = t.mm();
    mm.advise(start, len, what)?;
    if what == advice::POPULATE_READ || what == advice::POPULATE_WRITE {
        populate(t, start, page_up(len), what == advice::POPULATE_WRITE)?;
    }
    Ok(0)
}

fn sys_msync(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [start, len, flags, ..] = *args;
    if !start.is_multiple_of(PAGE) || flags & !7 != 0 || flags & 5 == 5 {
        return Err(Errno::EINVAL.into());
    }
    let end = start.checked_add(page_up(len)).ok_or(Errno::ENOMEM)?;
    // Mapped pages are the file's own: there is nothing to write.
    if t.mm().vmas.borrow().covers(start, end) {
        Ok(0)
    } else {
        Err(Errno::ENOMEM.into())
    }
}

fn may_lock(k: &Rc<Kernel>, t: &Rc<Task>, more: u64) -> Result<(), Errno> {
    if k.capable(t, vfs::Capability::IpcLock) {
        return Ok(());
    }
    let limit = t.group.limits.soft(RLIMIT_MEMLOCK);
    match limit {
        0 => Err(Errno::EPERM),
        limit if t.mm().locked.get().saturating_add(more) > limit => Err(Errno::ENOMEM),
        _ => Ok(()),
    }
}

fn sys_mlock(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    may_lock(k, t, args[1])?;
    t.mm().lock(args[0], args[1], true)?;
    Ok(0)
}

fn sys_mlock2(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    if args[2] & !1 != 0 {
        return Err(Errno::EINVAL.into());
    }
    sys_mlock(k, t, args)
}

fn sys_munlock(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    t.mm().lock(args[0], args[1], false)?;
    Ok(0)
}

fn sys_mlockall(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    const CURRENT: u64 = 1;
    const FUTURE: u64 = 2;
    if args[0] == 0 || args[0] & !7 != 0 || args[0] == 4 {
        return Err(Errno::EINVAL.into());
    }
    let mm = t.mm();
    may_lock(k, t, mm.size())?;
    if args[0] & CURRENT != 0 {
        mm.lock_all(true);
    }
    mm.lock_future.set(args[0] & FUTURE != 0);
    Ok(0)
}

fn sys_munlockall(_: &Rc<Kernel>, t: &Rc<Task>, _: &[u64; 6]) -> SysResult {
    let mm = t.mm();
    mm.lock_all(false);
    mm.lock_future.set(false);
    Ok(0)
}

fn sys_mincore(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [start, len, vector, ..] = *args;
    // The answer is a byte a page: bounded like any other buffer.
    if len > 1 << 36 {
        return Err(Errno::ENOMEM.into());
    }
    let mut bytes = Vec::new();
    t.mm()
        .resident(start, len, |resident| bytes.push(u8::from(resident)))?;
    t.write_memory(vector, &bytes)?;
    Ok(0)
}

fn sys_membarrier(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    const GLOBAL: u32 = 1;
    const GLOBAL_EXPEDITED: u32 = 2;
    const REGISTER_GLOBAL_EXPEDITED: u32 = 4;
    const PRIVATE_EXPEDITED: u32 = 8;
    const REGISTER_PRIVATE_EXPEDITED: u32 = 16;
    const PRIVATE_SYNC_CORE: u32 = 32;
    const REGISTER_PRIVATE_SYNC_CORE: u32 = 64;
    let all = GLOBAL
        | GLOBAL_EXPEDITED
        | REGISTER_GLOBAL_EXPEDITED
        | PRIVATE_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED
        | PRIVATE_SYNC_CORE
        | REGISTER_PRIVATE_SYNC_CORE;
    let mm = t.mm();
    let command = args[0] as u32;
    if args[1] != 0 {
        return Err(Errno::EINVAL.into());
    }
    match command {
        0 => Ok(u64::from(all)),
        GLOBAL | GLOBAL_EXPEDITED => Ok(0),
        REGISTER_GLOBAL_EXPEDITED | REGISTER_PRIVATE_EXPEDITED | REGISTER_PRIVATE_SYNC_CORE => {
            mm.membarrier.set(mm.membarrier.get() | command);
            Ok(0)
        }
        PRIVATE_EXPEDITED | PRIVATE_SYNC_CORE => {
            if mm.membarrier.get() & command << 1 == 0 {
                Err(Errno::EPERM.into())
            } else {
                Ok(0)
            }
        }
        _ => Err(Errno::EINVAL.into()),
    }
}
