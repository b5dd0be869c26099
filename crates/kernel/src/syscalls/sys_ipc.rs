//! System calls: System V IPC (`sysvipc(7)`): shared memory.

use std::rc::Rc;

use abi::{Errno, Result};
use rv64::Prot;

use super::SysResult;
use super::table::{Arg, Row};
use crate::kernel::Kernel;
use crate::mm::{Backing, PAGE, Placement, VmaFlags};
use crate::sysv::{Access, Segment, Segments, ShmId};
use crate::task::Task;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(194, "shmget", sys_shmget, &[Arg::Hex, Arg::Uint, Arg::Hex]),
    Row::partial(
        195,
        "shmctl",
        sys_shmctl,
        &[Arg::Int, Arg::Int, Arg::Ptr],
        "IPC_STAT, IPC_SET, IPC_RMID, IPC_INFO, SHM_INFO, SHM_STAT, locks",
    ),
    Row::full(196, "shmat", sys_shmat, &[Arg::Int, Arg::Ptr, Arg::Hex]),
    Row::full(197, "shmdt", sys_shmdt, &[Arg::Ptr]),
];

const SHM_RDONLY: u64 = 0o10000;
const SHM_RND: u64 = 0o20000;
const SHM_REMAP: u64 = 0o40000;
const SHM_EXEC: u64 = 0o100_000;

const IPC_RMID: u64 = 0;
const IPC_SET: u64 = 1;
const IPC_STAT: u64 = 2;
const IPC_INFO: u64 = 3;
const SHM_LOCK: u64 = 11;
const SHM_UNLOCK: u64 = 12;
const SHM_STAT: u64 = 13;
const SHM_INFO: u64 = 14;
const SHM_STAT_ANY: u64 = 15;

fn sys_shmget(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let segments = Segments::of(&t.ns().ipc);
    let id = segments.get(k, t, a[0] as i32, a[1], a[2] as u32)?;
    Ok(id as u64)
}

fn segment(k: &Kernel, t: &Task, id: u64, access: Access) -> Result<Rc<Segment>> {
    let segments = Segments::of(&t.ns().ipc);
    let segment = segments.find(ShmId(id as i32))?;
    segment.check(k, t, access)?;
    Ok(segment)
}

fn sys_shmat(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let (id, address, flags) = (a[0], a[1], a[2]);
    let read_only = flags & SHM_RDONLY != 0;
    let segment = segment(
        k,
        t,
        id,
        if read_only {
            Access::Read
        } else {
            Access::Write
        },
    )?;
    let placement = match address {
        0 if flags & SHM_REMAP != 0 => return Err(Errno::EINVAL.into()),
        0 => Placement::Hint(0),
        _ => {
            let rounded = if flags & SHM_RND != 0 {
                address & !(PAGE - 1)
            } else {
                address
            };
            if !rounded.is_multiple_of(PAGE) {
                return Err(Errno::EINVAL.into());
            }
            if flags & SHM_REMAP != 0 {
                Placement::Fixed(rounded)
            } else {
                Placement::NoReplace(rounded)
            }
        }
    };
    let mut prot = Prot::READ;
    if !read_only {
        prot = prot | Prot::WRITE;
    }
    if flags & SHM_EXEC != 0 {
        prot = prot | Prot::EXEC;
    }
    let mut vma_flags = VmaFlags::SHARED;
    if read_only {
        vma_flags |= VmaFlags::NEVER_WRITE;
    }
    let backing = Backing::Shared {
        pages: Rc::clone(&segment.pages),
        first: 0,
    };
    let start = t
        .mm()
        .map(
            placement,
            segment.mapped_len(),
            prot,
            vma_flags,
            backing,
            "",
        )
        .map_err(|errno| {
            if errno == Errno::EEXIST {
                Errno::EINVAL
            } else {
                errno
            }
        })?;
    segment.attached(k, t);
    Ok(start)
}

fn sys_shmdt(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let address = a[0];
    let mm = t.mm();
    let found = mm
        .vmas
        .borrow()
        .find(address)
        .and_then(|vma| match &vma.backing {
            Backing::Shared { pages, first: 0 } if vma.start == address => Some(Rc::clone(pages)),
            _ => None,
        });
    let pages = found.ok_or(Errno::EINVAL)?;
    let segments = Segments::of(&t.ns().ipc);
    let segment = segments.with_pages(&pages).ok_or(Errno::EINVAL)?;
    drop(pages);
    mm.unmap(address, segment.mapped_len())?;
    segment.detached(k, t);
    segments.collect();
    Ok(0)
}

fn sys_shmctl(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let (id, command, address) = (a[0], a[1], a[2]);
    let ns = t.ns();
    let segments = Segments::of(&ns.ipc);
    match command {
        IPC_RMID => {
            let segment = segments.find(ShmId(id as i32))?;
            segment.check(k, t, Access::Owner)?;
            segments.remove(&segment);
            drop(segment);
            segments.collect();
            Ok(0)
        }
        IPC_STAT => {
            let segment = segment(k, t, id, Access::Read)?;
            t.write_memory(address, &segment.stat(&t.ns()))?;
            Ok(0)
        }
        SHM_STAT | SHM_STAT_ANY => {
            let segment = segments.at_index(id as usize).ok_or(Errno::EINVAL)?;
            if command == SHM_STAT {
                segment.check(k, t, Access::Read)?;
            }
            t.write_memory(address, &segment.stat(&t.ns()))?;
            Ok(segment.id.0 as u64)
        }
        IPC_SET => {
            let segment = segments.find(ShmId(id as i32))?;
            segment.check(k, t, Access::Owner)?;
            let raw: [u8; 24] = t.read_bytes(address)?;
            let field =
                |at: usize| u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
            let user = &t.ns().user;
            segment.set(
                k,
                user.global_uid(field(4))?,
                user.global_gid(field(8))?,
                field(20),
            );
            Ok(0)
        }
        IPC_INFO => {
            // struct shminfo64: max, min, mni, seg, all, and four unused words.
            let limits = [
                ns.ipc.shm_max.get(),
                1,
                ns.ipc.shm_count_max.get(),
                ns.ipc.shm_count_max.get(),
                ns.ipc.shm_all.get(),
            ];
            t.write_words(address, &[&limits[..], &[0; 4]].concat())?;
            Ok(segments.highest_index())
        }
        SHM_INFO => {
            let (count, total, resident) = segments.totals();
            t.write_words(address, &[count, total, resident, 0, 0, 0])?;
            Ok(segments.highest_index())
        }
        SHM_LOCK | SHM_UNLOCK => {
            segment(k, t, id, Access::Owner)?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}
