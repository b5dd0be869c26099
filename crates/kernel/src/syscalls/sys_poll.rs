//! System calls: waiting for one of several descriptors (`poll(2)`, `select(2)`).

use std::rc::Rc;

use abi::Errno;
use abi::signal::SigSet;
use clock::{Instant, NANOS_PER_SEC};
use vfs::file::{Events, OpenFlags};

use super::table::{Arg, Row};
use super::{Block, Restart, Stop, SysResult};
use crate::kernel::Kernel;
use crate::task::{RLIMIT_NOFILE, Task};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(
        72,
        "pselect6",
        sys_pselect6,
        &[
            Arg::Int,
            Arg::Ptr,
            Arg::Ptr,
            Arg::Ptr,
            Arg::Timespec,
            Arg::Ptr,
        ],
    ),
    Row::full(
        73,
        "ppoll",
        sys_ppoll,
        &[Arg::Ptr, Arg::Uint, Arg::Timespec, Arg::SigSet, Arg::Uint],
    ),
];

/// Bytes of `struct pollfd`.
const POLLFD_LEN: usize = 8;

/// SIGKILL and SIGSTOP cannot be blocked.
const UNBLOCKABLE: SigSet = SigSet::of_all(&[abi::signal::SIGKILL, abi::signal::SIGSTOP]);

/// Blocks other signals while the call waits. The old mask comes back when the call ends.
pub(super) fn set_temporary_mask(t: &Task, address: u64, size: u64) -> Result<(), Errno> {
    if address == 0 || t.saved_sigmask.get().is_some() {
        return Ok(());
    }
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    let mut raw = [0; 8];
    t.read_memory(address, &mut raw)?;
    t.saved_sigmask.set(Some(t.sigmask.get()));
    t.sigmask
        .set(SigSet(u64::from_le_bytes(raw)).minus(UNBLOCKABLE));
    Ok(())
}

/// A relative `struct timespec` at `address` as a deadline; `None` without one. Read at the first run only.
pub(super) fn relative_deadline(
    k: &Kernel,
    t: &Task,
    address: u64,
) -> Result<Option<Instant>, Errno> {
    if address == 0 {
        return Ok(None);
    }
    if let Some(deadline) = t.syscall.deadline.get() {
        return Ok(Some(deadline));
    }
    let mut raw = [0; 16];
    t.read_memory(address, &mut raw)?;
    let sec = u64::from_le_bytes(raw[..8].try_into().unwrap_or_default());
    let nsec = u64::from_le_bytes(raw[8..].try_into().unwrap_or_default());
    if sec > i64::MAX as u64 || nsec >= NANOS_PER_SEC {
        return Err(Errno::EINVAL);
    }
    Ok(t.syscall.deadline_or(|| {
        Some(
            k.clock
                .now()
                .plus(sec.saturating_mul(NANOS_PER_SEC).saturating_add(nsec)),
        )
    }))
}

/// `poll` and `select` write back how much of the timeout is left. That the memory may be read-only is no
/// error (poll_select_finish).
fn write_time_left(k: &Kernel, t: &Task, address: u64, deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        let left = deadline.since(k.clock.now());
        let mut raw = [0; 16];
        raw[..8].copy_from_slice(&(left / NANOS_PER_SEC).to_le_bytes());
        raw[8..].copy_from_slice(&(left % NANOS_PER_SEC).to_le_bytes());
        let _ = t.write_memory(address, &raw);
    }
}

/// Nothing is ready: waits until `deadline`, unless it has passed.
pub(super) fn wait_until(k: &Kernel, deadline: Option<Instant>) -> Option<Stop> {
    if deadline.is_some_and(|deadline| deadline <= k.clock.now()) {
        return None;
    }
    Some(Stop::Block(Block {
        deadline,
        restart: Restart::NoHand,
    }))
}

/// What is ready at a descriptor; registers the caller's waker when `wait`.
fn ready(t: &Task, fd: i32, wanted: Events, wait: bool) -> Events {
    let Ok(file) = t.files().get(fd) else {
        return Events::NVAL;
    };
    if file.flags.get().contains(OpenFlags::PATH) {
        return Events::NVAL;
    }
    file.file.poll(wait.then(|| t.waker())) & (wanted | Events::ERR | Events::HUP)
}

fn sys_ppoll(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let count = a[1] as u32 as usize;
    if count as u64 > t.group.limits.soft(RLIMIT_NOFILE) {
        return Err(Errno::EINVAL.into());
    }
    let deadline = relative_deadline(k, t, a[2])?;
    set_temporary_mask(t, a[3], a[4])?;
    let mut buf = k.take_scratch(count * POLLFD_LEN);
    let outcome = poll_all(k, t, a[0], &mut buf[..count * POLLFD_LEN], deadline);
    k.put_scratch(buf);
    if !matches!(outcome, Err(Stop::Block(_))) || t.signal_pending() {
        write_time_left(k, t, a[2], deadline);
    }
    outcome
}

fn poll_all(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    address: u64,
    fds: &mut [u8],
    deadline: Option<Instant>,
) -> SysResult {
    t.read_memory(address, fds)?;
    let mut found = 0;
    for entry in fds.chunks_exact_mut(POLLFD_LEN) {
        let fd = i32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]);
        let wanted = Events::from_bits_retain(u32::from(u16::from_le_bytes([entry[4], entry[5]])));
        let events = if fd < 0 {
            Events::empty()
        } else {
            ready(t, fd, wanted, found == 0)
        };
        found += u64::from(!events.is_empty());
        entry[6..8].copy_from_slice(&(events.bits() as u16).to_le_bytes());
    }
    if found == 0
        && let Some(stop) = wait_until(k, deadline)
    {
        return Err(stop);
    }
    t.write_memory(address, fds)?;
    Ok(found)
}

/// One `fd_set` of up to 1024 descriptors, which is all that `select` of glibc and musl can have.
type FdSet = [u64; 16];

/// What each of the three sets asks for (POLLIN_SET, POLLOUT_SET, POLLEX_SET).
const SET_EVENTS: [Events; 3] = [
    Events::from_bits_retain(0x1 | 0x40 | 0x80 | 0x10 | 0x8),
    Events::from_bits_retain(0x4 | 0x100 | 0x200 | 0x8),
    Events::from_bits_retain(0x2),
];

fn sys_pselect6(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let count = usize::try_from(a[0] as i32)
        .map_err(|_| Errno::EINVAL)?
        .min(1024);
    let deadline = relative_deadline(k, t, a[4])?;
    if a[5] != 0 {
        let mut raw = [0; 16];
        t.read_memory(a[5], &mut raw)?;
        let word = |at: usize| u64::from_le_bytes(raw[at..at + 8].try_into().unwrap_or_default());
        set_temporary_mask(t, word(0), word(8))?;
    }
    let outcome = select_all(k, t, count, &[a[1], a[2], a[3]], deadline);
    if !matches!(outcome, Err(Stop::Block(_))) || t.signal_pending() {
        write_time_left(k, t, a[4], deadline);
    }
    outcome
}

fn select_all(
    k: &Rc<Kernel>,
    t: &Rc<Task>,
    count: usize,
    addresses: &[u64; 3],
    deadline: Option<Instant>,
) -> SysResult {
    let words = count.div_ceil(64);
    let mut wanted: [FdSet; 3] = [[0; 16]; 3];
    let mut raw = [0; 128];
    for (set, &address) in wanted.iter_mut().zip(addresses) {
        if address == 0 {
            continue;
        }
        t.read_memory(address, &mut raw[..words * 8])?;
        for (word, bytes) in set.iter_mut().zip(raw[..words * 8].chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        }
    }
    let mut result: [FdSet; 3] = [[0; 16]; 3];
    let mut found = 0;
    for fd in 0..count {
        let (word, bit) = (fd / 64, 1u64 << (fd % 64));
        let asked: Events = (0..3)
            .filter(|&set| wanted[set][word] & bit != 0)
            .map(|set| SET_EVENTS[set])
            .collect();
        if asked.is_empty() {
            continue;
        }
        let events = ready(t, fd as i32, asked, found == 0);
        if events.contains(Events::NVAL) {
            return Err(Errno::EBADF.into());
        }
        for set in 0..3 {
            if wanted[set][word] & bit != 0 && events.intersects(SET_EVENTS[set]) {
                result[set][word] |= bit;
                found += 1;
            }
        }
    }
    if found == 0
        && let Some(stop) = wait_until(k, deadline)
    {
        return Err(stop);
    }
    for (set, &address) in result.iter().zip(addresses) {
        if address == 0 {
            continue;
        }
        for (word, bytes) in set.iter().zip(raw[..words * 8].chunks_exact_mut(8)) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        t.write_memory(address, &raw[..words * 8])?;
    }
    Ok(found)
}
