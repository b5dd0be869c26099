//! Secure computing (`seccomp(2)`): programs of the classic packet filter that say which system calls a task
//! may make. A task's filters are a chain, newest first; all are asked, and the strictest answer counts.
//!
//! A filter sees `struct seccomp_data`: number, architecture, instruction pointer, arguments. What it answers
//! without looking at more than the first two is the same at every call, so it is worked out once: a call that
//! all filters always allow costs a bit test.

use std::rc::Rc;

use abi::signal::SigInfo;
use abi::{Errno, Result};
use net::bpf::{About, Instruction, Program};
use vfs::Capability;

use crate::kernel::Kernel;
use crate::syscalls::{Stop, SysResult};
use crate::task::{Task, WaitStatus};

/// `AUDIT_ARCH_RISCV64`.
pub const ARCH: u32 = 0xc000_00f3;
/// Bytes of `struct seccomp_data`.
const DATA: usize = 64;
/// Words of the bitmap of calls.
const WORDS: usize = 8;
/// Filters a task may have; Linux counts instructions (32768).
const CHAIN_MAX: u32 = 64;
const SIGSYS: u32 = 31;
/// `SYS_SECCOMP`.
const SYS_SECCOMP: i32 = 1;

/// What a filter says: the upper half of its value.
mod action {
    pub const KILL_PROCESS: u32 = 0x8000_0000;
    pub const KILL_THREAD: u32 = 0;
    pub const TRAP: u32 = 0x0003_0000;
    pub const ERRNO: u32 = 0x0005_0000;
    pub const LOG: u32 = 0x7ffc_0000;
    pub const ALLOW: u32 = 0x7fff_0000;
    pub const MASK: u32 = 0xffff_0000;
}

/// A filter with those before it.
pub struct Filter {
    /// `None`: strict mode, which allows four calls.
    program: Option<Program>,
    before: Option<Rc<Filter>>,
    /// How many there are with this one.
    count: u32,
    /// Calls that this filter and all before it allow, whatever their arguments.
    allowed: [u64; WORDS],
}

impl Filter {
    /// A filter on top of others. `EINVAL` when it is no program for this.
    pub fn new(instructions: Vec<Instruction>, before: Option<Rc<Filter>>) -> Result<Rc<Filter>> {
        let program = Program::new(adapted(instructions)?)?;
        let count = before.as_ref().map_or(0, |filter| filter.count) + 1;
        if count > CHAIN_MAX {
            return Err(Errno::ENOMEM);
        }
        let mut allowed = before
            .as_ref()
            .map_or([u64::MAX; WORDS], |filter| filter.allowed);
        for (word, bits) in allowed.iter_mut().enumerate() {
            for bit in 0..64 {
                // Cut short, so that a look at an argument ends it with another answer.
                let data = data(word as u64 * 64 + bit, 0, &[0; 6]);
                if program.run(&data[..8], &About::default()) != action::ALLOW {
                    *bits &= !(1 << bit);
                }
            }
        }
        Ok(Rc::new(Filter {
            program: Some(program),
            before,
            count,
            allowed,
        }))
    }

    /// `SECCOMP_MODE_STRICT`.
    fn strict() -> Rc<Filter> {
        Rc::new(Filter {
            program: None,
            before: None,
            count: 0,
            allowed: [0; WORDS],
        })
    }

    /// The strictest answer of the chain.
    fn run(&self, data: &[u8; DATA], number: u64) -> u32 {
        let mut found = action::ALLOW;
        let mut next = Some(self);
        while let Some(filter) = next {
            let answer = match &filter.program {
                Some(program) => program.run(data, &About::default()),
                // read, write, exit, rt_sigreturn.
                None if matches!(number, 63 | 64 | 93 | 139) => action::ALLOW,
                None => action::KILL_THREAD,
            };
            // Killing the process is the highest bit: as a signed number it is the smallest.
            if ((answer & action::MASK) as i32) < (found & action::MASK) as i32 {
                found = answer;
            }
            next = filter.before.as_deref();
        }
        found
    }
}

/// The program as it is run: only what `seccomp(2)` allows, and the length of the data as a constant.
fn adapted(mut instructions: Vec<Instruction>) -> Result<Vec<Instruction>> {
    for one in &mut instructions {
        match one.code {
            // ld [k]
            0x20 if one.k % 4 == 0 && (one.k as usize) < DATA => {}
            // ld len, ldx len
            0x80 | 0x81 => (one.code, one.k) = (one.code & 1, DATA as u32),
            // ld #k, ldx #k, memory
            0x00 | 0x01 | 0x60 | 0x61 => {}
            code if code & 7 > 1 => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok(instructions)
}

/// `struct seccomp_data`. A filter loads words in the order of this computer's bytes, the interpreter in that
/// of the network, so words are written in the latter.
fn data(number: u64, pc: u64, args: &[u64; 6]) -> [u8; DATA] {
    let mut words = [0; DATA / 4];
    (words[0], words[1]) = (number as u32, ARCH);
    for (index, value) in std::iter::once(&pc).chain(args).enumerate() {
        words[2 + 2 * index] = *value as u32;
        words[3 + 2 * index] = (value >> 32) as u32;
    }
    let mut bytes = [0; DATA];
    for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

impl Task {
    /// `Seccomp` and `Seccomp_filters` of `/proc/PID/status`.
    #[must_use]
    pub fn seccomp_mode(&self) -> (u32, u32) {
        match &*self.seccomp.borrow() {
            None => (0, 0),
            Some(filter) if filter.program.is_none() => (1, 0),
            Some(filter) => (2, filter.count),
        }
    }

    /// Filters its system calls from now on.
    pub fn set_seccomp(&self, filter: Rc<Filter>) {
        *self.seccomp.borrow_mut() = Some(filter);
    }

    /// Adds a filter to those there are.
    pub fn add_seccomp(&self, instructions: Vec<Instruction>) -> Result<()> {
        let before = self.seccomp.borrow().clone();
        self.set_seccomp(Filter::new(instructions, before)?);
        Ok(())
    }
}

impl Kernel {
    /// Asks a task's filters about a system call; gives what becomes of it instead of being made.
    pub(crate) fn filter_system_call(
        self: &Rc<Self>,
        task: &Rc<Task>,
        number: u64,
        args: &[u64; 6],
    ) -> Option<SysResult> {
        let filter = task.seccomp.borrow().clone()?;
        let word = filter.allowed.get((number / 64) as usize);
        if word.is_some_and(|bits| bits >> (number % 64) & 1 == 1) {
            return None;
        }
        let pc = task.hart.borrow().pc;
        let answer = filter.run(&data(number, pc, args), number);
        let value = answer & 0xffff;
        Some(match answer & action::MASK {
            action::ALLOW => return None,
            action::LOG => {
                self.log_seccomp(task, number, answer);
                return None;
            }
            action::ERRNO => match value.min(4095) {
                0 => Ok(0),
                errno => Err(Stop::Errno(Errno(errno as i32))),
            },
            action::TRAP => {
                // The program goes on behind the call, if it handles the signal.
                let info = SigInfo {
                    errno: value as i32,
                    ..SigInfo::fault(SIGSYS, SYS_SECCOMP, pc)
                };
                self.force_signal(task, info);
                Err(Stop::Errno(Errno::ENOSYS))
            }
            action::KILL_THREAD if task.group.thread_count() > 1 => {
                self.log_seccomp(task, number, answer);
                self.exit_task(task, killed());
                Err(Stop::Gone)
            }
            action::KILL_THREAD | action::KILL_PROCESS => {
                self.log_seccomp(task, number, answer);
                self.exit_group(task, killed());
                Err(Stop::Gone)
            }
            // Nobody traces, nobody listens.
            _ => Err(Stop::Errno(Errno::ENOSYS)),
        })
    }

    /// The line of the audit system.
    fn log_seccomp(&self, task: &Task, number: u64, answer: u32) {
        let creds = task.creds();
        let signal = if answer & action::MASK == action::LOG {
            0
        } else {
            SIGSYS
        };
        self.log(&format!(
            "audit: type=1326 auid=4294967295 uid={} gid={} pid={} comm=\"{}\" sig={signal} arch={ARCH:x} \
             syscall={number} compat=0 ip={:#x} code={:#x}",
            creds.uid,
            creds.gid,
            task.tid(),
            String::from_utf8_lossy(&task.comm()),
            task.hart.borrow().pc,
            answer & action::MASK,
        ));
    }
}

fn killed() -> WaitStatus {
    WaitStatus::Signaled {
        signal: SIGSYS,
        core: false,
    }
}

/// `SECCOMP_SET_MODE_…` and questions.
const SET_STRICT: u64 = 0;
const SET_FILTER: u64 = 1;
const ACTION_AVAIL: u64 = 2;
/// `SECCOMP_FILTER_FLAG_TSYNC`, `…_LOG`, `…_SPEC_ALLOW`.
const FLAGS: u64 = 7;
const TSYNC: u64 = 1;

pub(crate) fn sys_seccomp(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [operation, flags, address, ..] = *args;
    match operation {
        SET_STRICT if flags == 0 && address == 0 => set_strict(t),
        SET_FILTER if flags & !FLAGS == 0 => {
            set_filter(t, address)?;
            if flags & TSYNC != 0 {
                let filter = t.seccomp.borrow().clone();
                for thread in t.group.threads() {
                    thread.seccomp.borrow_mut().clone_from(&filter);
                }
            }
            Ok(0)
        }
        ACTION_AVAIL if flags == 0 => {
            let mut word = [0; 4];
            t.read_memory(address, &mut word)?;
            let known = [
                action::KILL_PROCESS,
                action::KILL_THREAD,
                action::TRAP,
                action::ERRNO,
                action::LOG,
                action::ALLOW,
            ];
            match known.contains(&u32::from_le_bytes(word)) {
                true => Ok(0),
                false => Err(Errno::EOPNOTSUPP.into()),
            }
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

/// `prctl(PR_SET_SECCOMP)`.
pub(crate) fn prctl(t: &Rc<Task>, mode: u64, address: u64) -> SysResult {
    match mode {
        1 => set_strict(t),
        2 => set_filter(t, address),
        _ => Err(Errno::EINVAL.into()),
    }
}

fn set_strict(t: &Rc<Task>) -> SysResult {
    match t.seccomp_mode().0 {
        2 => Err(Errno::EINVAL.into()),
        _ => {
            t.set_seccomp(Filter::strict());
            Ok(0)
        }
    }
}

/// `struct sock_fprog` at `address`.
fn set_filter(t: &Rc<Task>, address: u64) -> SysResult {
    let creds = t.creds();
    if !creds.no_new_privs && !creds.has_cap(Capability::SysAdmin) {
        return Err(Errno::EACCES.into());
    }
    let mut count = [0; 2];
    t.read_memory(address, &mut count)?;
    let at = t.read_u64(address.wrapping_add(8))?;
    let count = usize::from(u16::from_le_bytes(count));
    if count == 0 || count > 4096 {
        return Err(Errno::EINVAL.into());
    }
    let mut raw = vec![0; count * 8];
    t.read_memory(at, &mut raw)?;
    let instructions = raw.chunks_exact(8).map(|raw| Instruction {
        code: u16::from_le_bytes([raw[0], raw[1]]),
        yes: raw[2],
        no: raw[3],
        k: u32::from_le_bytes([raw[4], raw[5], raw[6], raw[7]]),
    });
    t.add_seccomp(instructions.collect())?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(code: u16, yes: u8, no: u8, k: u32) -> Instruction {
        Instruction { code, yes, no, k }
    }

    /// Allows everything but call 5, which fails with 1, and call 6 with a first argument of 7.
    fn filter() -> Rc<Filter> {
        let text = vec![
            one(0x20, 0, 0, 0),
            one(0x15, 0, 1, 5),
            one(0x06, 0, 0, action::ERRNO | 1),
            one(0x15, 0, 3, 6),
            one(0x20, 0, 0, 16),
            one(0x15, 0, 1, 7),
            one(0x06, 0, 0, action::KILL_PROCESS),
            one(0x06, 0, 0, action::ALLOW),
        ];
        Filter::new(text, None).expect("a good filter")
    }

    #[test]
    fn what_is_always_allowed_is_known_beforehand() {
        let filter = filter();
        assert_eq!(filter.allowed[0], !(1 << 5 | 1 << 6));
        let ask = |number, first| filter.run(&data(number, 0, &[first, 0, 0, 0, 0, 0]), number);
        assert_eq!(ask(4, 7), action::ALLOW);
        assert_eq!(ask(5, 0), action::ERRNO | 1);
        assert_eq!(ask(6, 8), action::ALLOW);
        assert_eq!(ask(6, 7), action::KILL_PROCESS);
        // The upper half of an argument is another word.
        assert_eq!(ask(6, 7 << 32), action::ALLOW);
    }

    #[test]
    fn the_strictest_of_a_chain_counts() {
        let traps = vec![one(0x06, 0, 0, action::TRAP)];
        let both = Filter::new(traps, Some(filter())).expect("a good filter");
        assert_eq!(both.count, 2);
        assert_eq!(both.allowed, [0; WORDS]);
        let ask = |number, first| both.run(&data(number, 0, &[first, 0, 0, 0, 0, 0]), number);
        assert_eq!(ask(5, 0), action::TRAP);
        assert_eq!(ask(6, 7), action::KILL_PROCESS);
    }

    #[test]
    fn other_programs_are_refused() {
        // A byte, a word that is not aligned, one behind the data.
        for load in [one(0x30, 0, 0, 0), one(0x20, 0, 0, 2), one(0x20, 0, 0, 64)] {
            let text = vec![load, one(0x06, 0, 0, 0)];
            assert_eq!(Filter::new(text, None).err(), Some(Errno::EINVAL));
        }
    }
}
