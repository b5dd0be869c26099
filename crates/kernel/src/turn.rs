//! A turn: the machine runs until its fuel is used up or nobody can run.

use std::rc::Rc;

use abi::signal::{SIGBUS, SIGILL, SIGTRAP, SigInfo, si};
use clock::Instant;
use rv64::{Counters, Exit};

use crate::kernel::Kernel;
use crate::syscalls::{Block, Next, Restart};
use crate::task::{Held, Task, TaskState};

/// Instructions a task may execute before the next gets its turn.
const SLICE: u64 = 400_000;
/// What a system call costs beside its instructions, in instructions.
const SYSCALL_COST: u64 = 200;
/// What a fault costs. Everything costs something, so that no program can hold the machine up.
const FAULT_COST: u64 = 500;

/// [`Kernel::pace`] of an instruction that takes a nanosecond.
pub(crate) const PACE_UNIT: u64 = 65_536;
/// Nanoseconds that an instruction is charged with at most: more is not computing but a tab asleep.
const PACE_MAX: u64 = 64;

/// How a turn ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Turn {
    /// The machine goes on.
    Ran {
        /// Somebody could run on at once: the fuel was used up.
        busy: bool,
        /// When the next timer is due.
        next_deadline: Option<Instant>,
        /// Instructions executed.
        used: u64,
    },
    /// A bug in the kernel stopped the machine; the text says which.
    Crashed(String),
}

impl Kernel {
    /// Runs the machine from `now` on, for at most about `fuel` instructions; daemons on the machine's
    /// executor run in between. Time passes with the instructions, a nanosecond each.
    pub fn turn(self: &Rc<Self>, now: Instant, fuel: u64) -> Turn {
        self.turns.set(self.turns.get() + 1);
        let before = self.clock.now();
        self.clock.advance_to(now);
        // The owner of the clock may have set it.
        self.vdso.update(&self.clock);
        let passed = self.clock.now().since(before);
        self.sample_load();
        if self.run_queue.is_empty() {
            self.idle_ns.set(self.idle_ns.get() + passed);
        } else {
            self.learn_pace(passed);
        }
        let mut left = fuel;
        loop {
            if let Some(text) = self.crashed() {
                return Turn::Crashed(text);
            }
            if self.power.get().is_some() {
                break;
            }
            self.net.poll_if_due();
            self.executor.run_until_stalled();
            self.take_woken();
            if left == 0 {
                break;
            }
            let Some(task) = self.next_task() else {
                if self.executor.has_ready() {
                    continue;
                }
                break;
            };
            left = left.saturating_sub(self.run_slice(&task, left.min(SLICE)).max(1));
            if self.clock.now() >= self.load.next.get() {
                self.sample_load();
            }
        }
        self.turn_used.set(fuel - left);
        Turn::Ran {
            busy: !self.run_queue.is_empty() && self.power.get().is_none(),
            next_deadline: self.clock.next_deadline(),
            used: fuel - left,
        }
    }

    /// The last turn ended with work left, and `passed` went by until this one: that is how much longer
    /// its instructions took than the nanosecond each that the clock gave them.
    fn learn_pace(&self, passed: u64) {
        let used = self.turn_used.get();
        // A short turn says little.
        if used >= 10_000 {
            let measured = (used.saturating_add(passed)).saturating_mul(PACE_UNIT) / used;
            let measured = measured.clamp(PACE_UNIT, PACE_UNIT * PACE_MAX);
            self.pace.set((3 * self.pace.get() + measured) / 4);
        }
    }

    /// Processor time that instructions are charged with: what they took on this computer. In virtual
    /// time that is a nanosecond each.
    fn processor_time(&self, instructions: u64) -> u64 {
        instructions * self.pace.get() / PACE_UNIT
    }

    /// Runs one task until it sleeps, its slice is over or someone more urgent wakes up. Gives the fuel used.
    fn run_slice(self: &Rc<Self>, task: &Rc<Task>, slice: u64) -> u64 {
        *self.current.borrow_mut() = Some(Rc::clone(task));
        self.payer.switch(&task.cgroup().memory.account, true);
        self.switches.set(self.switches.get() + 1);
        let budget = task
            .cgroup()
            .cpu_budget(self.clock.now())
            .map_or(slice, |ns| {
                slice.min((ns.saturating_mul(PACE_UNIT) / self.pace.get()).max(1000))
            });
        self.slice_used.set(0);
        let mut left = budget;
        if task.syscall.active.get() {
            // Woken in a system call: run it again.
            let next = self.charged_system_call(task, &mut left);
            if next == Next::Continue {
                self.run_program(task, &mut left);
            }
        } else {
            self.run_program(task, &mut left);
        }
        let go_on = task.state() == TaskState::Runnable && task.held.get() == Held::No;
        if go_on && left == 0 {
            task.count(|usage| usage.involuntary_switches += 1);
        }
        let used = self.slice_used.get();
        self.run_queue.put_back(task, used, go_on, self.clock.now());
        let old = self.current.borrow_mut().take();
        drop(old);
        self.payer.switch(&self.cgroup_root.memory.account, false);
        self.forget_evicted_code();
        used
    }

    /// When decoded code was evicted, lets go of what processes that do not run still hold of it.
    fn forget_evicted_code(&self) {
        let evictions = self.mm_common.code().evictions();
        if self.evictions_seen.replace(evictions) != evictions {
            for task in self.tasks.borrow().values() {
                task.mm().space.borrow_mut().drop_evicted();
            }
        }
    }

    /// Runs the task's program while it can and has fuel.
    fn run_program(self: &Rc<Self>, task: &Rc<Task>, left: &mut u64) {
        loop {
            if task.signal_pending() {
                self.deliver_signals(task);
            }
            if self.cgroup_root.memory.account.above_high() != self.above_high_seen.get() {
                self.slow_down_above_high(task);
            }
            if task.state() != TaskState::Runnable || *left == 0 || self.delay(task) {
                return;
            }
            let exit = self.execute(task, left);
            if !matches!(exit, Exit::Budget | Exit::Ecall) {
                *left = left.saturating_sub(FAULT_COST);
                self.pass_time(task, 0, FAULT_COST);
            }
            match exit {
                Exit::Budget => return,
                Exit::Ecall => {
                    if self.charged_system_call(task, left) == Next::Leave {
                        return;
                    }
                }
                Exit::Fault(fault) => {
                    if !self.handle_fault(task, fault) {
                        return;
                    }
                }
                Exit::Ebreak => {
                    let pc = task.hart.borrow().pc;
                    self.force_signal(task, SigInfo::fault(SIGTRAP, si::TRAP_BRKPT, pc));
                }
                Exit::Illegal { .. } => {
                    let pc = task.hart.borrow().pc;
                    self.force_signal(task, SigInfo::fault(SIGILL, si::ILL_ILLOPC, pc));
                }
                Exit::Misaligned { addr } => {
                    self.force_signal(task, SigInfo::fault(SIGBUS, si::BUS_ADRALN, addr));
                }
            }
        }
    }

    /// Puts the task to sleep when its last system call or fault is to take longer. Only death ends that.
    fn delay(&self, task: &Rc<Task>) -> bool {
        let Some(until) = task.delayed_until.get() else {
            return false;
        };
        if until <= self.clock.now() || task.fatal_pending() {
            task.delayed_until.set(None);
            return false;
        }
        self.block_task(
            task,
            Block {
                deadline: Some(until),
                restart: Restart::Uninterruptible,
            },
        );
        true
    }

    /// Executes instructions; time passes with them.
    fn execute(self: &Rc<Self>, task: &Rc<Task>, left: &mut u64) -> Exit {
        let mm = task.mm();
        let before = *left;
        let exit = {
            let mut hart = task.hart.borrow_mut();
            let mut space = mm.space.borrow_mut();
            rv64::run(
                &mut hart,
                &mut space,
                left,
                Counters {
                    time: self.clock.now().0,
                    time_per_65536: 65536,
                    instret: self.instructions.get(),
                },
            )
        };
        let used = before - *left;
        self.instructions.set(self.instructions.get() + used);
        self.pass_time(task, used, 0);
        exit
    }

    fn charged_system_call(self: &Rc<Self>, task: &Rc<Task>, left: &mut u64) -> Next {
        let next = self.system_call(task);
        let cost = SYSCALL_COST + task.call_cost.take();
        *left = if task.yields.get() {
            0
        } else {
            left.saturating_sub(cost)
        };
        self.pass_time(task, 0, cost);
        next
    }

    fn pass_time(&self, task: &Task, user: u64, system: u64) {
        self.slice_used.set(self.slice_used.get() + user + system);
        let now = self.clock.now().plus(user + system);
        self.clock.advance_to(now);
        let (user, system) = (self.processor_time(user), self.processor_time(system));
        task.count(|usage| {
            usage.user_ns += user;
            usage.system_ns += system;
        });
        task.cgroup().charge_cpu(now, user, system);
        self.charge_cpu_timers(task, user, system);
    }
}

#[cfg(test)]
mod tests {
    use clock::{Clock, Executor};
    use vfs::inode::FileSystem;
    use vfs::tmpfs::{Tmpfs, TmpfsOptions};

    use super::*;

    #[test]
    fn processor_time_follows_how_long_turns_take() {
        let clock = Clock::new(0);
        let root: Rc<dyn FileSystem> = Tmpfs::new(&clock, TmpfsOptions::default());
        let kernel = Kernel::new(clock, Executor::new(), crate::Config::default(), &root);
        assert_eq!(kernel.processor_time(1000), 1000);
        // A computer that takes four nanoseconds for each instruction.
        for _ in 0..20 {
            kernel.turn_used.set(1_000_000);
            kernel.learn_pace(3_000_000);
        }
        let near = kernel.processor_time(1000);
        assert!((3900..=4000).contains(&near), "{near}");
        // A tab that slept for an hour in between is not a slow computer for long.
        kernel.learn_pace(3_600_000_000_000);
        assert!(kernel.processor_time(1) <= PACE_MAX);
        kernel.power_off();
    }
}
