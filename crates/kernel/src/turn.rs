//! A turn: the machine runs until its fuel is used up or nobody can run.

use std::rc::Rc;

use abi::signal::{SIGBUS, SIGILL, SIGTRAP, SigInfo, si};
use clock::Instant;
use rv64::{Counters, Exit};

use crate::kernel::Kernel;
use crate::syscalls::Next;
use crate::task::{Held, Task, TaskState};

/// Instructions a task may execute before the next gets its turn.
const SLICE: u64 = 400_000;
/// What a system call costs beside its instructions, in instructions.
const SYSCALL_COST: u64 = 200;
/// What a fault costs. Everything costs something, so that no program can hold the machine up.
const FAULT_COST: u64 = 500;

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
        if self.run_queue.is_empty() {
            self.idle_ns
                .set(self.idle_ns.get() + self.clock.now().since(before));
        }
        let mut left = fuel;
        loop {
            if let Some(text) = self.crashed() {
                return Turn::Crashed(text);
            }
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
        }
        Turn::Ran {
            busy: !self.run_queue.is_empty(),
            next_deadline: self.clock.next_deadline(),
            used: fuel - left,
        }
    }

    /// Runs one task until it sleeps, its slice is over or someone more urgent wakes up. Gives the fuel used.
    fn run_slice(self: &Rc<Self>, task: &Rc<Task>, slice: u64) -> u64 {
        *self.current.borrow_mut() = Some(Rc::clone(task));
        self.switches.set(self.switches.get() + 1);
        let budget = task
            .cgroup()
            .cpu_budget(self.clock.now())
            .map_or(slice, |ns| slice.min(ns.max(1000)));
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
        if task.state() == TaskState::Runnable && task.held.get() == Held::No {
            task.is_hog.set(left == 0);
            if left == 0 {
                task.count(|usage| usage.involuntary_switches += 1);
            }
            self.make_runnable(task);
        } else {
            task.is_hog.set(false);
        }
        let old = self.current.borrow_mut().take();
        drop(old);
        budget - left
    }

    /// Runs the task's program while it can and has fuel.
    fn run_program(self: &Rc<Self>, task: &Rc<Task>, left: &mut u64) {
        loop {
            if task.signal_pending() {
                self.deliver_signals(task);
            }
            if task.state() != TaskState::Runnable || *left == 0 {
                return;
            }
            let exit = self.execute(task, left);
            if !matches!(exit, Exit::Budget | Exit::Ecall) {
                *left = left.saturating_sub(FAULT_COST);
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
        task.count(|usage| usage.user_ns += used);
        self.pass_time(task, used, 0);
        exit
    }

    fn charged_system_call(self: &Rc<Self>, task: &Rc<Task>, left: &mut u64) -> Next {
        let next = self.system_call(task);
        let cost = SYSCALL_COST.min(*left);
        *left -= cost;
        task.count(|usage| usage.system_ns += cost);
        self.pass_time(task, 0, cost);
        next
    }

    fn pass_time(&self, task: &Task, user: u64, system: u64) {
        let now = self.clock.now().plus(user + system);
        self.clock.advance_to(now);
        task.cgroup().charge_cpu(now, user, system);
        self.charge_cpu_timers(task, user, system);
    }
}
