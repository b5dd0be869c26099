//! A task's memory as system calls see it: copying with the user's rights, faults resolved on the way.

use std::rc::Rc;

use abi::signal::SigInfo;
use abi::{Errno, Result};
use mem::Full;
use rv64::{Access, Fault};
use vfs::file::UserMemory;

use super::{RLIMIT_STACK, Task, WaitStatus};
use crate::kernel::Kernel;
use crate::mm::FaultError;

/// Longest path, with its NUL.
const PATH_MAX: usize = 4096;

impl Task {
    /// Resolves a fault; the signal it would be otherwise.
    fn resolve(&self, fault: Fault) -> std::result::Result<(), FaultError> {
        self.count(|usage| usage.minor_faults += 1);
        let limit = self.group.limits.soft(RLIMIT_STACK);
        self.mm().fault(fault, limit, self.waker())
    }

    /// As [`Task::resolve`], for system calls: a wrong access is `EFAULT`.
    fn resolve_for_call(&self, fault: Fault) -> Result<()> {
        loop {
            match self.resolve(fault) {
                Ok(()) => return Ok(()),
                Err(FaultError::Signal(_)) => return Err(Errno::EFAULT),
                Err(FaultError::NotHereYet) => return Err(Errno::NOT_HERE_YET),
                Err(FaultError::OverLimit(over)) => {
                    let kernel = self.kernel().ok_or(Errno::EFAULT)?;
                    kernel.out_of_memory(&over);
                    // The caller need not be whose memory it is: the parent writes to its new child. Once it
                    // is to die itself, it gets no room made any more.
                    if self.group.exiting.get().is_some() || kernel.current_is_dying() {
                        return Err(Errno::EFAULT);
                    }
                }
            }
        }
    }

    /// Makes a page present, as an access would.
    pub(crate) fn touch(&self, fault: Fault) -> Result<()> {
        self.resolve_for_call(fault)
    }

    /// Copies from the task.
    pub fn read_memory(&self, address: u64, buf: &mut [u8]) -> Result<()> {
        let mm = self.mm();
        loop {
            let outcome = mm.space.borrow_mut().read(address, buf);
            match outcome {
                Ok(()) => return Ok(()),
                Err(fault) => self.resolve_for_call(fault)?,
            }
        }
    }

    /// Copies to the task.
    pub fn write_memory(&self, address: u64, buf: &[u8]) -> Result<()> {
        let mm = self.mm();
        loop {
            let outcome = mm.space.borrow_mut().write(address, buf);
            match outcome {
                Ok(()) => return Ok(()),
                Err(fault) => self.resolve_for_call(fault)?,
            }
        }
    }

    /// Fills with zeros.
    pub fn clear_memory(&self, address: u64, len: usize) -> Result<()> {
        let mm = self.mm();
        loop {
            let outcome = mm.space.borrow_mut().fill(address, len, 0);
            match outcome {
                Ok(()) => return Ok(()),
                Err(fault) => self.resolve_for_call(fault)?,
            }
        }
    }

    /// Makes sure a range can be written before something that cannot be undone is done.
    pub fn check_writable(&self, address: u64, len: u64) -> Result<()> {
        let mut at = address;
        let end = address.checked_add(len).ok_or(Errno::EFAULT)?;
        let mm = self.mm();
        while at < end {
            let writable = {
                let space = mm.space.borrow();
                space
                    .lookup(at)
                    .is_some_and(|page| page.prot.contains(rv64::Prot::WRITE) && !page.cow)
            };
            if !writable {
                self.resolve_for_call(Fault {
                    addr: at,
                    access: Access::Write,
                })?;
            }
            at = crate::mm::page_down(at) + crate::mm::PAGE;
        }
        Ok(())
    }

    /// Reads an array of bytes.
    pub fn read_bytes<const N: usize>(&self, address: u64) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_memory(address, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads four bytes.
    pub fn read_u32(&self, address: u64) -> Result<u32> {
        Ok(u32::from_le_bytes(self.read_bytes(address)?))
    }

    /// Reads eight bytes.
    pub fn read_u64(&self, address: u64) -> Result<u64> {
        Ok(u64::from_le_bytes(self.read_bytes(address)?))
    }

    /// Writes four bytes.
    pub fn write_u32(&self, address: u64, value: u32) -> Result<()> {
        self.write_memory(address, &value.to_le_bytes())
    }

    /// Writes eight bytes.
    pub fn write_u64(&self, address: u64, value: u64) -> Result<()> {
        self.write_memory(address, &value.to_le_bytes())
    }

    /// Writes several 64-bit words.
    pub fn write_words(&self, address: u64, words: &[u64]) -> Result<()> {
        for (index, word) in words.iter().enumerate() {
            self.write_u64(address.wrapping_add(8 * index as u64), *word)?;
        }
        Ok(())
    }

    /// Reads a `struct timespec` (or `timeval`).
    pub fn read_time_pair(&self, address: u64) -> Result<(i64, i64)> {
        Ok((
            self.read_u64(address)? as i64,
            self.read_u64(address.wrapping_add(8))? as i64,
        ))
    }

    /// Reads a string without its NUL; `None` when it is longer than `max`.
    pub fn read_string(&self, address: u64, max: usize) -> Result<Option<Vec<u8>>> {
        let mm = self.mm();
        let mut out = Vec::new();
        loop {
            out.clear();
            let outcome = mm.space.borrow_mut().read_cstr(address, max, &mut out);
            match outcome {
                Ok(true) => return Ok(Some(out)),
                Ok(false) => return Ok(None),
                Err(fault) => self.resolve_for_call(fault)?,
            }
        }
    }

    /// Reads a path: `ENAMETOOLONG` when it is too long. An empty one is returned as it is.
    pub fn read_path(&self, address: u64) -> Result<Vec<u8>> {
        self.read_string(address, PATH_MAX)?
            .ok_or(Errno::ENAMETOOLONG)
    }
}

impl UserMemory for Task {
    fn read(&self, address: u64, buf: &mut [u8]) -> Result<()> {
        self.read_memory(address, buf)
    }

    fn write(&self, address: u64, buf: &[u8]) -> Result<()> {
        self.write_memory(address, buf)
    }
}

impl Kernel {
    /// The program could not access memory. False when it cannot go on now.
    pub(crate) fn handle_fault(self: &Rc<Self>, task: &Rc<Task>, fault: Fault) -> bool {
        match task.resolve(fault) {
            Ok(()) => true,
            Err(FaultError::Signal(info)) => {
                self.force_signal(task, info);
                true
            }
            Err(FaultError::NotHereYet) => {
                task.count(|usage| usage.major_faults += 1);
                self.block_task(
                    task,
                    crate::syscalls::Block {
                        deadline: None,
                        restart: crate::syscalls::Restart::Uninterruptible,
                    },
                );
                false
            }
            Err(FaultError::OverLimit(over)) => {
                self.out_of_memory(&over);
                true
            }
        }
    }

    /// Makes room in a cgroup that is at its memory limit, or in the machine when that or the playground
    /// is: kills the largest process (`Documentation/admin-guide/cgroup-v2.rst`, memory.max). If that is the
    /// caller's own it dies as soon as the system call returns; others are gone at once.
    pub(crate) fn out_of_memory(self: &Rc<Self>, full: &Full) {
        let limit = &self
            .cgroup_root
            .with_account(&full.0)
            .unwrap_or_else(|| Rc::clone(&self.cgroup_root));
        limit.count_memory_max();
        // Who was killed and still needs memory on its way out takes nobody with it.
        if self.current_is_dying() {
            limit.count_oom(0);
            return;
        }
        let mut victim: Option<(i64, Rc<Task>)> = None;
        for id in limit.members_below() {
            let Some(task) = self.tasks.borrow().get(&id).cloned() else {
                continue;
            };
            let group = &task.group;
            let adjust = i64::from(group.oom_score_adj.get());
            if adjust <= -1000 || group.is_kernel_task() || group.exiting.get().is_some() {
                continue;
            }
            let total = (self.config.memory / crate::mm::PAGE) as i64;
            let badness = task.mm().resident_pages() as i64 + adjust * total / 1000;
            if victim.as_ref().is_none_or(|(worst, _)| badness > *worst) {
                victim = Some((badness, task));
            }
        }
        let current = self.current();
        let Some((_, task)) = victim else {
            // Everybody left is dying already or may not be killed: the caller must not loop for ever.
            limit.count_oom(0);
            if let Some(current) = current {
                self.begin_group_exit(
                    &current.group,
                    WaitStatus::Signaled {
                        signal: 9,
                        core: false,
                    },
                );
            }
            return;
        };
        let mut victims = vec![Rc::clone(&task)];
        if let Some(together) = task.cgroup().oom_group_within(limit) {
            let ids = together.members_below();
            victims = ids
                .iter()
                .filter_map(|id| self.tasks.borrow().get(id).cloned())
                .collect();
        }
        let mut killed = 0;
        for task in victims {
            if task.is_dead() || task.group.is_kernel_task() || task.group.exiting.get().is_some() {
                continue;
            }
            killed += 1;
            task.group.oom_killed.set(true);
            self.log(&format!(
                "Memory cgroup out of memory: Killed process {} ({}) anon-rss:{}kB, UID:{}",
                task.group.tgid(),
                String::from_utf8_lossy(&task.comm()),
                task.mm().anonymous_pages() * 4,
                task.creds().uid,
            ));
            let status = WaitStatus::Signaled {
                signal: 9,
                core: false,
            };
            self.begin_group_exit(&task.group, status);
            let is_current = current
                .as_ref()
                .is_some_and(|current| Rc::ptr_eq(&current.group, &task.group));
            if !is_current {
                for thread in task.group.threads() {
                    self.exit_task(&thread, status);
                }
            }
        }
        limit.count_oom(killed);
    }

    /// The task that runs was killed: it ends as soon as it is back from the kernel.
    pub(crate) fn current_is_dying(&self) -> bool {
        let current = self.current();
        current.is_some_and(|current| current.group.exiting.get().is_some())
    }

    /// A signal about a fault found by the kernel itself, such as a bad signal frame.
    pub(crate) fn fault_signal(&self, task: &Rc<Task>, address: u64) {
        let info = SigInfo::fault(abi::signal::SIGSEGV, abi::signal::si::SEGV_MAPERR, address);
        self.force_signal(task, info);
    }
}
