//! System calls: epoll.

use std::rc::Rc;

use abi::{Errno, Result};
use clock::Instant;
use vfs::file::{OpenFile, OpenFlags};

use super::SysResult;
use super::sys_file::install;
use super::sys_poll::{relative_deadline, set_temporary_mask, wait_until};
use super::table::{Arg, Row};
use crate::epoll::{Control, Epoll};
use crate::kernel::Kernel;
use crate::task::Task;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(20, "epoll_create1", sys_epoll_create1, &[Arg::OpenFlags]),
    Row::full(
        21,
        "epoll_ctl",
        sys_epoll_ctl,
        &[Arg::Fd, Arg::Int, Arg::Fd, Arg::Ptr],
    ),
    Row::full(
        22,
        "epoll_pwait",
        sys_epoll_pwait,
        &[
            Arg::Fd,
            Arg::Ptr,
            Arg::Int,
            Arg::Int,
            Arg::SigSet,
            Arg::Uint,
        ],
    ),
    Row::full(
        441,
        "epoll_pwait2",
        sys_epoll_pwait2,
        &[
            Arg::Fd,
            Arg::Ptr,
            Arg::Int,
            Arg::Timespec,
            Arg::SigSet,
            Arg::Uint,
        ],
    ),
];

/// Bytes of `struct epoll_event` on riscv64: events, padding, data.
const EVENT_LEN: u64 = 16;

fn sys_epoll_create1(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let flags = OpenFlags::from_bits_retain(a[0] as u32);
    if !OpenFlags::CLOEXEC.contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let file = OpenFile::new(Epoll::new(), None, OpenFlags::RDWR);
    Ok(install(t, file, flags.contains(OpenFlags::CLOEXEC))?)
}

fn sys_epoll_ctl(_: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    const ADD: u64 = 1;
    const DEL: u64 = 2;
    const MOD: u64 = 3;
    let mut raw = [0; EVENT_LEN as usize];
    if a[1] != DEL {
        t.read_memory(a[3], &mut raw)?;
    }
    let events = u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
    let data = u64::from_le_bytes(raw[8..].try_into().unwrap_or_default());
    let files = t.files();
    let poll = files.get(a[0] as i32)?;
    let watched = files.get(a[2] as i32)?;
    if watched.flags.get().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF.into());
    }
    let epoll = poll
        .file
        .as_any()
        .downcast_ref::<Epoll>()
        .ok_or(Errno::EINVAL)?;
    let control = match a[1] {
        ADD => Control::Add(events, data),
        MOD => Control::Modify(events, data),
        DEL => Control::Delete,
        _ => return Err(Errno::EINVAL.into()),
    };
    epoll.control(a[2] as i32, &watched, control)?;
    Ok(0)
}

fn sys_epoll_pwait(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let timeout = a[3] as i32;
    let deadline = match timeout {
        ..0 => None,
        _ => t
            .syscall
            .deadline_or(|| Some(k.clock.now().plus(timeout as u64 * 1_000_000))),
    };
    wait(k, t, a, deadline)
}

fn sys_epoll_pwait2(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let deadline = relative_deadline(k, t, a[3])?;
    wait(k, t, a, deadline)
}

fn wait(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6], deadline: Option<Instant>) -> SysResult {
    let limit = usize::try_from(a[2] as i32)
        .ok()
        .filter(|&limit| limit > 0)
        .ok_or(Errno::EINVAL)?;
    let file = t.files().get(a[0] as i32)?;
    let epoll = file
        .file
        .as_any()
        .downcast_ref::<Epoll>()
        .ok_or(Errno::EINVAL)?;
    set_temporary_mask(t, a[4], a[5])?;
    let mut at = a[1];
    let count = epoll.collect(limit, &mut |events, data| {
        emit_event(t, at, events, data)?;
        at = at.wrapping_add(EVENT_LEN);
        Ok(())
    })?;
    if count > 0 {
        return Ok(count as u64);
    }
    let Some(stop) = wait_until(k, deadline) else {
        return Ok(0);
    };
    // Nothing was ready a moment ago, so this only registers the waker.
    if epoll.is_ready(Some(t.waker())) {
        t.waker().wake_by_ref();
    }
    Err(stop)
}

fn emit_event(t: &Task, address: u64, events: u32, data: u64) -> Result<()> {
    let mut raw = [0; EVENT_LEN as usize];
    raw[..4].copy_from_slice(&events.to_le_bytes());
    raw[8..].copy_from_slice(&data.to_le_bytes());
    t.write_memory(address, &raw)
}
