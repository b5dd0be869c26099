//! Builtin programs: Rust futures behind an executable file (decision 13 of the design), for daemons that are
//! part of the machine and yet are to be started, signalled and waited for like any other program.
//!
//! The file is a real executable of a few instructions. It makes one system call that no Linux has, which
//! carries the future out and gives its exit code, and then exits with it. So a builtin is an ordinary task:
//! it has a pid, arguments in its memory, descriptors, credentials, a parent that waits. Its signals are
//! blocked, and the future takes them one by one; SIGKILL ends the task, and the future is told.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use abi::Errno;
use abi::signal::SigSet;
use clock::JoinHandle;

use crate::kernel::Kernel;
use crate::os_impl::handle::OsHandle;
use crate::syscalls::{Block, SysResult};
use crate::task::{Task, UNBLOCKABLE};

/// Number of the system call; Linux has none near it.
pub const NUMBER: u16 = 500;
/// Arguments at most.
const ARGUMENTS_MAX: u64 = 256;
/// Bytes of an argument at most.
const ARGUMENT_MAX: usize = 4096;

/// What a builtin program does, until it exits.
pub type Program = Rc<dyn Fn(Invocation) -> Pin<Box<dyn Future<Output = u8>>>>;

/// A builtin program that has been started.
pub struct Invocation {
    task: Rc<Task>,
    /// Its name and arguments.
    pub argv: Vec<Vec<u8>>,
}

impl Invocation {
    /// Its pid on the machine.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.task.group.pid().global()
    }

    /// Who runs it.
    #[must_use]
    pub fn euid(&self) -> u32 {
        self.task.creds().euid
    }

    /// An open descriptor of it.
    #[must_use]
    pub fn descriptor(&self, fd: i32) -> Option<Rc<dyn os::Handle>> {
        Some(OsHandle::of(self.task.files().get(fd).ok()?))
    }

    /// The next signal; `None`: it has been killed.
    pub async fn signal(&self) -> Option<u32> {
        let group = &self.task.group;
        poll_fn(|cx| {
            group.signal_wait.register(cx.waker());
            group.state_wait.register(cx.waker());
            if self.is_killed() {
                return Poll::Ready(None);
            }
            match self.task.take_signal(SigSet(u64::MAX).minus(UNBLOCKABLE)) {
                Some(info) => Poll::Ready(Some(info.signal)),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Whether it has been killed.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.task.is_dead() || self.task.group.exiting.get().is_some()
    }
}

/// The builtin programs of a machine.
#[derive(Default)]
struct Builtins {
    programs: RefCell<Vec<Program>>,
    /// Those that run, by the number of their task.
    running: RefCell<BTreeMap<u32, JoinHandle<u8>>>,
}

impl Kernel {
    /// Adds a builtin program; gives the content of its executable file.
    pub fn add_builtin(&self, program: Program) -> Vec<u8> {
        let builtins = self.extension(Builtins::default);
        let mut programs = builtins.programs.borrow_mut();
        programs.push(program);
        executable(programs.len() as u32 - 1)
    }
}

/// `builtin(index, stack)`: carries the program out; its value is the exit code.
pub(crate) fn sys_builtin(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let builtins = k.extension(Builtins::default);
    let mut running = builtins.running.borrow_mut();
    if let Some(handle) = running.get_mut(&t.id) {
        return match Pin::new(handle).poll(&mut Context::from_waker(t.waker())) {
            Poll::Ready(code) => {
                running.remove(&t.id);
                Ok(u64::from(code))
            }
            Poll::Pending => Err(Block::restartable()),
        };
    }
    let programs = builtins.programs.borrow();
    let program = usize::try_from(args[0])
        .ok()
        .and_then(|at| programs.get(at));
    // They belong to the machine: to a container they are not there.
    let at_home = Rc::ptr_eq(&t.ns().mnt, &k.init_ns.mnt);
    let program = program.filter(|_| at_home).ok_or(Errno::ENOSYS)?;
    let invocation = Invocation {
        argv: arguments(t, args[1])?,
        task: Rc::clone(t),
    };
    t.sigmask.set(SigSet(u64::MAX).minus(UNBLOCKABLE));
    let (future, id, kernel) = (program(invocation), t.id, Rc::downgrade(k));
    let handle = k.executor.spawn(async move {
        let code = future.await;
        // A task that was killed never asks for the code.
        if let Some(kernel) = kernel.upgrade()
            && !kernel.tasks.borrow().contains_key(&id)
        {
            let builtins = kernel.extension(Builtins::default);
            builtins.running.borrow_mut().remove(&id);
        }
        code
    });
    running.insert(t.id, handle);
    drop(running);
    sys_builtin(k, t, args)
}

/// The arguments on the stack a program starts with.
fn arguments(t: &Task, stack: u64) -> Result<Vec<Vec<u8>>, Errno> {
    let count = t.read_u64(stack)?.min(ARGUMENTS_MAX);
    (1..=count)
        .map(|index| {
            let address = t.read_u64(stack.wrapping_add(8 * index))?;
            t.read_string(address, ARGUMENT_MAX)?.ok_or(Errno::E2BIG)
        })
        .collect()
}

/// An executable whose only work is the system call.
fn executable(index: u32) -> Vec<u8> {
    const BASE: u64 = 0x10000;
    const HEADERS: u64 = 64 + 56;
    let addi = |rd: u32, rs: u32, value: u32| value << 20 | rs << 15 | rd << 7 | 0x13;
    const ECALL: u32 = 0x73;
    let code = [
        addi(10, 0, index),
        // a1 = sp
        addi(11, 2, 0),
        addi(17, 0, u32::from(NUMBER)),
        ECALL,
        // exit_group(a0)
        addi(17, 0, 94),
        ECALL,
    ];
    let size = HEADERS + 4 * code.len() as u64;
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // Executable, RISC-V, version 1.
    file.extend([2, 0, 243, 0, 1, 0, 0, 0]);
    for word in [BASE + HEADERS, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    // Double-precision floating point; one program header of 56 bytes, no sections.
    file.extend([4, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    // PT_LOAD, readable and executable.
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    for instruction in code {
        file.extend(instruction.to_le_bytes());
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_whole() {
        let file = executable(1);
        assert_eq!(file.len(), 64 + 56 + 24);
        let entry = u64::from_le_bytes(file[24..32].try_into().unwrap_or_default());
        assert_eq!(entry, 0x10000 + 120);
        let first = u32::from_le_bytes(file[120..124].try_into().unwrap_or_default());
        assert_eq!(first, 0x0010_0513, "li a0, 1");
    }
}
