//! System calls: System V semaphores and message queues (`sysvipc(7)`).

use std::rc::Rc;

use abi::{Errno, Result};

use super::table::{Arg, Row};
use super::{Block, Restart, Stop, SysResult};
use crate::kernel::Kernel;
use crate::sysv::Access;
use crate::sysv_msg::{MSG_COPY, MSG_EXCEPT, Message, Queue, Queues};
use crate::sysv_perm::IPC_NOWAIT;
use crate::sysv_sem::{self, Operation, Outcome, SemSet, SemSets, UndoLists, Waiter};
use crate::task::Task;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(186, "msgget", sys_msgget, &[Arg::Hex, Arg::Hex]),
    Row::full(187, "msgctl", sys_msgctl, &[Arg::Int, Arg::Int, Arg::Ptr]),
    Row::full(
        188,
        "msgrcv",
        sys_msgrcv,
        &[Arg::Int, Arg::Ptr, Arg::Uint, Arg::Int, Arg::Hex],
    ),
    Row::full(
        189,
        "msgsnd",
        sys_msgsnd,
        &[Arg::Int, Arg::Ptr, Arg::Uint, Arg::Hex],
    ),
    Row::full(190, "semget", sys_semget, &[Arg::Hex, Arg::Int, Arg::Hex]),
    Row::full(
        191,
        "semctl",
        sys_semctl,
        &[Arg::Int, Arg::Int, Arg::Int, Arg::Hex],
    ),
    Row::full(
        192,
        "semtimedop",
        sys_semtimedop,
        &[Arg::Int, Arg::Ptr, Arg::Uint, Arg::Timespec],
    ),
    Row::full(193, "semop", sys_semop, &[Arg::Int, Arg::Ptr, Arg::Uint]),
];

const IPC_RMID: u64 = 0;
const IPC_SET: u64 = 1;
const IPC_STAT: u64 = 2;
const IPC_INFO: u64 = 3;
const MSG_STAT: u64 = 11;
const MSG_INFO: u64 = 12;
const MSG_STAT_ANY: u64 = 13;
const GETPID: u64 = 11;
const GETVAL: u64 = 12;
const GETALL: u64 = 13;
const GETNCNT: u64 = 14;
const GETZCNT: u64 = 15;
const SETVAL: u64 = 16;
const SETALL: u64 = 17;
const SEM_STAT: u64 = 18;
const SEM_INFO: u64 = 19;
const SEM_STAT_ANY: u64 = 20;

fn sys_semget(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let sets = SemSets::of(&t.ns().ipc);
    Ok(sets.get(k, t, a[0] as i32, a[1] as i32, a[2] as u32)? as u64)
}

fn sys_semop(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    semop(k, t, a, 0)
}

fn sys_semtimedop(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    semop(k, t, a, a[3])
}

fn read_operations(t: &Task, address: u64, count: u64) -> Result<Vec<Operation>> {
    if count == 0 {
        return Err(Errno::EINVAL);
    }
    if count > sysv_sem::OPERATIONS_MAX as u64 {
        return Err(Errno::E2BIG);
    }
    let mut raw = vec![0; count as usize * 6];
    t.read_memory(address, &mut raw)?;
    let half = |bytes: &[u8]| u16::from_le_bytes([bytes[0], bytes[1]]);
    let operation = |bytes: &[u8]| Operation {
        number: half(bytes),
        by: half(&bytes[2..]) as i16,
        flags: half(&bytes[4..]),
    };
    Ok(raw.chunks_exact(6).map(operation).collect())
}

fn semop(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6], timeout: u64) -> SysResult {
    let operations = read_operations(t, a[1], a[2])?;
    let timeout = match timeout {
        0 => None,
        address => Some(super::sys_time::read_timespec(t, address)?),
    };
    // A set that is removed while one waits is told from one that never was.
    let waited = t.syscall.data.borrow_mut().take();
    let set = match waited.and_then(|data| data.downcast::<Waiter>().ok()) {
        Some(waiter) if waiter.set.is_removed() => return Err(Errno::EIDRM.into()),
        Some(waiter) => Rc::clone(&waiter.set),
        None => {
            let set = SemSets::of(&t.ns().ipc).find(a[0] as i32)?;
            if operations
                .iter()
                .any(|op| usize::from(op.number) >= set.len())
            {
                return Err(Errno::EFBIG.into());
            }
            let alters = operations.iter().any(|op| op.by != 0);
            let access = if alters { Access::Write } else { Access::Read };
            set.perm.check(k, t, access)?;
            set
        }
    };
    match set.operate(k, t, &operations)? {
        Outcome::Done => {
            UndoLists::note(k, &t.group, &set, &operations);
            Ok(0)
        }
        Outcome::Waits(on) => {
            let deadline = match timeout {
                Some(timeout) => t.syscall.deadline_or(|| Some(k.clock.now().plus(timeout))),
                None => None,
            };
            if deadline.is_some_and(|deadline| deadline <= k.clock.now()) {
                return Err(Errno::EAGAIN.into());
            }
            set.changes().register(t.waker());
            let waiter = Waiter::new(&set, operations[on]);
            *t.syscall.data.borrow_mut() = Some(Box::new(waiter));
            Err(Stop::Block(Block {
                deadline,
                restart: Restart::Never,
            }))
        }
    }
}

fn sem_set(k: &Kernel, t: &Task, id: u64, access: Access) -> Result<Rc<SemSet>> {
    let set = SemSets::of(&t.ns().ipc).find(id as i32)?;
    set.perm.check(k, t, access)?;
    Ok(set)
}

fn sys_semctl(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let [id, number, command, argument, ..] = *a;
    // Without IPC_64, which has no meaning here, glibc sends the plain number.
    let number = u64::from(number as u32);
    let ns = t.ns();
    let sets = SemSets::of(&ns.ipc);
    Ok(match command as u32 as u64 {
        IPC_RMID => {
            sets.remove(&*sem_set(k, t, id, Access::Owner)?);
            0
        }
        IPC_SET => {
            let raw: [u8; 88] = t.read_bytes(argument)?;
            sem_set(k, t, id, Access::Owner)?.set(k, &ns, &raw)?;
            0
        }
        IPC_STAT => {
            let set = sem_set(k, t, id, Access::Read)?;
            t.write_memory(argument, &set.stat(&ns))?;
            0
        }
        which @ (SEM_STAT | SEM_STAT_ANY) => {
            let set = sets.at_index(id as usize).ok_or(Errno::EINVAL)?;
            if which == SEM_STAT {
                set.perm.check(k, t, Access::Read)?;
            }
            t.write_memory(argument, &set.stat(&ns))?;
            set.id as u64
        }
        which @ (IPC_INFO | SEM_INFO) => {
            let (count, semaphores) = sets.totals();
            let (used, adjust) = match which {
                IPC_INFO => (20, sysv_sem::VALUE_MAX as u64),
                _ => (count, semaphores),
            };
            // struct seminfo: map, mni, mns, mnu, msl, opm, ume, usz, vmx, aem.
            let words = [
                1_024_000_000,
                sysv_sem::SETS_MAX as u64,
                1_024_000_000,
                1_024_000_000,
                u64::from(sysv_sem::SET_MAX),
                sysv_sem::OPERATIONS_MAX as u64,
                sysv_sem::OPERATIONS_MAX as u64,
                used,
                sysv_sem::VALUE_MAX as u64,
                adjust,
            ];
            let raw: Vec<u8> = words
                .iter()
                .flat_map(|&word| (word as u32).to_le_bytes())
                .collect();
            t.write_memory(argument, &raw)?;
            count.saturating_sub(1)
        }
        GETVAL => sem_set(k, t, id, Access::Read)?.value(number)? as u64,
        GETPID => u64::from(sem_set(k, t, id, Access::Read)?.last_pid(number, &ns)?),
        GETNCNT => sem_set(k, t, id, Access::Read)?.waiters(number, false)?,
        GETZCNT => sem_set(k, t, id, Access::Read)?.waiters(number, true)?,
        GETALL => {
            let values = sem_set(k, t, id, Access::Read)?.values();
            let raw: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            t.write_memory(argument, &raw)?;
            0
        }
        SETVAL => {
            let set = sem_set(k, t, id, Access::Write)?;
            set.set_values(k, t, number, &[argument as i32])?;
            0
        }
        SETALL => {
            let set = sem_set(k, t, id, Access::Write)?;
            let mut raw = vec![0; set.len() * 2];
            t.read_memory(argument, &mut raw)?;
            let values: Vec<i32> = raw
                .chunks_exact(2)
                .map(|bytes| i32::from(u16::from_le_bytes([bytes[0], bytes[1]])))
                .collect();
            set.set_values(k, t, 0, &values)?;
            0
        }
        _ => return Err(Errno::EINVAL.into()),
    })
}

fn sys_msgget(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let queues = Queues::of(&t.ns().ipc);
    Ok(queues.get(k, t, a[0] as i32, a[1] as u32)? as u64)
}

/// The queue of a call that may have waited.
fn queue_or_waited(k: &Kernel, t: &Task, id: u64, access: Access) -> Result<Rc<Queue>> {
    let waited = t.syscall.data.borrow_mut().take();
    match waited.and_then(|data| data.downcast::<Rc<Queue>>().ok()) {
        Some(queue) if queue.is_removed() => Err(Errno::EIDRM),
        Some(queue) => Ok(*queue),
        None => {
            let queue = Queues::of(&t.ns().ipc).find(id as i32)?;
            queue.perm.check(k, t, access)?;
            Ok(queue)
        }
    }
}

fn wait_for(t: &Task, queue: Rc<Queue>) -> Stop {
    queue.changes().register(t.waker());
    *t.syscall.data.borrow_mut() = Some(Box::new(queue));
    Stop::Block(Block {
        deadline: None,
        restart: Restart::Never,
    })
}

fn sys_msgsnd(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let [id, address, len, flags, ..] = *a;
    let kind = t.read_u64(address)? as i64;
    if len > t.ns().ipc.msg_max.get() || (id as i32) < 0 || kind < 1 {
        return Err(Errno::EINVAL.into());
    }
    let mut text = vec![0; len as usize];
    t.read_memory(address.wrapping_add(8), &mut text)?;
    let queue = queue_or_waited(k, t, id, Access::Write)?;
    let text = text.into_boxed_slice();
    match queue.send(k, t, Message { kind, text }) {
        Ok(()) => Ok(0),
        Err(_) if flags as u32 & IPC_NOWAIT != 0 => Err(Errno::EAGAIN.into()),
        Err(_) => Err(wait_for(t, queue)),
    }
}

fn sys_msgrcv(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let [id, address, room, kind, flags, _] = *a;
    let flags = flags as u32;
    let bad_copy = flags & MSG_COPY != 0 && (flags & MSG_EXCEPT != 0 || flags & IPC_NOWAIT == 0);
    if (id as i32) < 0 || i64::try_from(room).is_err() || bad_copy {
        return Err(Errno::EINVAL.into());
    }
    let queue = queue_or_waited(k, t, id, Access::Read)?;
    match queue.receive(k, t, kind as i64, room, flags)? {
        Some(message) => {
            let len = message.text.len().min(room as usize);
            t.write_u64(address, message.kind as u64)?;
            t.write_memory(address.wrapping_add(8), &message.text[..len])?;
            Ok(len as u64)
        }
        None if flags & IPC_NOWAIT != 0 => Err(Errno::ENOMSG.into()),
        None => Err(wait_for(t, queue)),
    }
}

fn sys_msgctl(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let [id, command, address, ..] = *a;
    let ns = t.ns();
    let queues = Queues::of(&ns.ipc);
    let queue = |access| -> Result<Rc<Queue>> {
        let queue = queues.find(id as i32)?;
        queue.perm.check(k, t, access)?;
        Ok(queue)
    };
    Ok(match command as u32 as u64 {
        IPC_RMID => {
            queues.remove(&*queue(Access::Owner)?);
            0
        }
        IPC_SET => {
            let raw: [u8; 120] = t.read_bytes(address)?;
            queue(Access::Owner)?.set(k, t, &raw)?;
            0
        }
        IPC_STAT => {
            t.write_memory(address, &queue(Access::Read)?.stat(&ns))?;
            0
        }
        which @ (MSG_STAT | MSG_STAT_ANY) => {
            let queue = queues.at_index(id as usize).ok_or(Errno::EINVAL)?;
            if which == MSG_STAT {
                queue.perm.check(k, t, Access::Read)?;
            }
            t.write_memory(address, &queue.stat(&ns))?;
            queue.id as u64
        }
        which @ (IPC_INFO | MSG_INFO) => {
            let (count, messages, bytes) = queues.totals();
            let (pool, map, total) = match which {
                MSG_INFO => (count, messages, bytes),
                _ => (512_000, 16_384, 16_384),
            };
            // struct msginfo: pool, map, max, mnb, mni, ssz, tql, and seg, which is a short.
            let words = [
                pool,
                map,
                ns.ipc.msg_max.get(),
                ns.ipc.msg_queue_bytes.get(),
                ns.ipc.msg_count_max.get(),
                16,
                total,
                0xffff,
            ];
            let raw: Vec<u8> = words
                .iter()
                .flat_map(|&word| (word as u32).to_le_bytes())
                .collect();
            t.write_memory(address, &raw)?;
            count.saturating_sub(1)
        }
        _ => return Err(Errno::EINVAL.into()),
    })
}
