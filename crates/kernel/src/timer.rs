//! Timers that send signals: interval timers and POSIX timers (`setitimer(2)`, `timer_create(2)`).
//!
//! Timers on wall clocks are futures on the machine's executor that sleep until the next expiry; timers on
//! CPU clocks are charged with the time a process runs.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use abi::signal::{SIGALRM, SIGKILL, SIGPROF, SIGVTALRM, SIGXCPU, SigFields, SigInfo, si};
use clock::{Instant, JoinHandle};

use crate::kernel::Kernel;
use crate::task::{RLIM_INFINITY, RLIMIT_CPU, Rlimit, Task, ThreadGroup};

/// Most POSIX timers of one process.
pub const POSIX_TIMERS_MAX: usize = 1024;

/// An expiry and an interval, in nanoseconds; 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Setting {
    /// Time to the first expiry; 0 disarms.
    pub value: u64,
    /// Time between later ones; 0 for one expiry only.
    pub interval: u64,
}

/// What a CPU timer counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpuClock {
    /// User time of the process.
    Virtual,
    /// User and system time of the process.
    Process,
    /// User and system time of one thread.
    Thread(u32),
}

/// What a timer counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerClock {
    /// Time that passes.
    Wall {
        /// `CLOCK_REALTIME`: absolute times are since 1970.
        realtime: bool,
    },
    /// Time that is used.
    Cpu(CpuClock),
}

/// What an expiry does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notify {
    /// Nothing: the program looks by itself.
    None,
    /// A signal to the process.
    Process {
        /// Which.
        signal: u32,
        /// `si_value`.
        value: u64,
    },
    /// A signal to a thread.
    Thread {
        /// Which.
        signal: u32,
        /// `si_value`.
        value: u64,
        /// Global number of the thread.
        tid: u32,
    },
}

/// One timer.
pub struct Timer {
    /// What it counts.
    pub clock: TimerClock,
    /// What it does.
    pub notify: Notify,
    /// `timer_create` id; -1 for interval timers.
    pub id: i32,
    interval: Cell<u64>,
    /// Next expiry of a wall timer.
    expires: Cell<Option<Instant>>,
    /// Time left of a CPU timer.
    cpu_left: Cell<u64>,
    /// Expirations that the last signal taken stood for, beside its own.
    pub overrun: Cell<i32>,
    /// Expirations since then.
    missed: Cell<i32>,
    sleeper: RefCell<Option<JoinHandle<()>>>,
}

impl Timer {
    /// A disarmed timer.
    #[must_use]
    pub fn new(clock: TimerClock, notify: Notify, id: i32) -> Rc<Timer> {
        Rc::new(Timer {
            clock,
            notify,
            id,
            interval: Cell::new(0),
            expires: Cell::new(None),
            cpu_left: Cell::new(0),
            overrun: Cell::new(0),
            missed: Cell::new(0),
            sleeper: RefCell::new(None),
        })
    }

    /// Its signal is taken: gives the overruns that it stands for.
    fn taken(&self) -> i32 {
        self.overrun.set(self.missed.take());
        self.overrun.get()
    }

    fn miss(&self, more: u64) {
        let more = i32::try_from(more).unwrap_or(i32::MAX);
        self.missed.set(self.missed.get().saturating_add(more));
    }

    /// What is left, and the interval.
    #[must_use]
    pub fn get(&self, now: Instant) -> Setting {
        let value = match self.clock {
            TimerClock::Wall { .. } => self.expires.get().map_or(0, |at| at.since(now).max(1)),
            TimerClock::Cpu(_) => self.cpu_left.get(),
        };
        Setting {
            value,
            interval: self.interval.get(),
        }
    }

    fn stop(&self) {
        let sleeper = self.sleeper.borrow_mut().take();
        if let Some(sleeper) = sleeper {
            sleeper.abort();
        }
        self.expires.set(None);
        self.cpu_left.set(0);
    }
}

/// The timers of a process.
#[derive(Default)]
pub struct GroupTimers {
    /// `ITIMER_REAL`, `ITIMER_VIRTUAL`, `ITIMER_PROF`.
    interval: RefCell<[Option<Rc<Timer>>; 3]>,
    /// By `timer_t`.
    posix: RefCell<BTreeMap<i32, Rc<Timer>>>,
    next_id: Cell<i32>,
    /// Some timer counts CPU time: the scheduler asks this first.
    cpu_armed: Cell<bool>,
}

impl GroupTimers {
    /// A POSIX timer.
    #[must_use]
    pub fn get(&self, id: i32) -> Option<Rc<Timer>> {
        self.posix.borrow().get(&id).cloned()
    }

    /// The signal of a timer is taken: puts the overruns since it was sent into it (`timer_getoverrun(2)`).
    pub fn signal_taken(&self, info: &mut SigInfo) {
        if info.code == si::TIMER
            && let SigFields::Timer { id, overrun, .. } = &mut info.fields
            && let Some(timer) = self.posix.borrow().get(id)
        {
            *overrun = timer.taken();
        }
    }

    /// All POSIX timers.
    #[must_use]
    pub fn list(&self) -> Vec<Rc<Timer>> {
        self.posix.borrow().values().cloned().collect()
    }

    /// Adds a POSIX timer made by `new`, which is given the id.
    pub fn add(&self, new: impl FnOnce(i32) -> Rc<Timer>) -> Option<i32> {
        let mut timers = self.posix.borrow_mut();
        if timers.len() >= POSIX_TIMERS_MAX {
            return None;
        }
        let mut id = self.next_id.get();
        while timers.contains_key(&id) {
            id = id.wrapping_add(1) & i32::MAX;
        }
        self.next_id.set(id.wrapping_add(1) & i32::MAX);
        timers.insert(id, new(id));
        Some(id)
    }

    /// Removes a POSIX timer.
    pub fn remove(&self, id: i32) -> bool {
        let timer = self.posix.borrow_mut().remove(&id);
        if let Some(timer) = &timer {
            timer.stop();
        }
        timer.is_some()
    }

    /// Removes the POSIX timers (execve).
    pub fn clear_posix(&self) {
        let timers = std::mem::take(&mut *self.posix.borrow_mut());
        for timer in timers.values() {
            timer.stop();
        }
    }

    /// Stops everything (exit).
    pub fn clear(&self) {
        self.clear_posix();
        let timers = std::mem::take(&mut *self.interval.borrow_mut());
        for timer in timers.iter().flatten() {
            timer.stop();
        }
    }

    /// The interval timer `which` (0 to 2).
    #[must_use]
    pub fn interval(&self, which: usize) -> Rc<Timer> {
        let mut timers = self.interval.borrow_mut();
        let timer = timers[which].get_or_insert_with(|| {
            let (clock, signal) = match which {
                0 => (TimerClock::Wall { realtime: false }, SIGALRM),
                1 => (TimerClock::Cpu(CpuClock::Virtual), SIGVTALRM),
                _ => (TimerClock::Cpu(CpuClock::Process), SIGPROF),
            };
            Timer::new(clock, Notify::Process { signal, value: 0 }, -1)
        });
        Rc::clone(timer)
    }
}

/// Sleeps until each expiry of one timer in turn.
struct Sleeper {
    kernel: Weak<Kernel>,
    group: Weak<ThreadGroup>,
    timer: Weak<Timer>,
    sleep: clock::Sleep,
}

impl Future for Sleeper {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if Pin::new(&mut self.sleep).poll(cx).is_pending() {
                return Poll::Pending;
            }
            let (Some(kernel), Some(group), Some(timer)) = (
                self.kernel.upgrade(),
                self.group.upgrade(),
                self.timer.upgrade(),
            ) else {
                return Poll::Ready(());
            };
            let Some(at) = timer.expires.get() else {
                return Poll::Ready(());
            };
            let interval = timer.interval.get();
            // Without an interval it was the only expiry.
            let missed = kernel.clock.now().since(at).checked_div(interval);
            let next = missed.map(|missed| at.plus((missed + 1).saturating_mul(interval)));
            timer.expires.set(next);
            let missed = missed.unwrap_or(0);
            kernel.timer_expired(&group, &timer, missed);
            match timer.expires.get() {
                Some(next) => self.sleep = kernel.clock.sleep_until(next),
                None => return Poll::Ready(()),
            }
        }
    }
}

impl Kernel {
    /// Arms (or disarms) a timer. With `absolute`, `setting.value` is a time on the timer's clock.
    pub fn set_timer(
        self: &Rc<Self>,
        group: &Rc<ThreadGroup>,
        timer: &Rc<Timer>,
        setting: Setting,
        absolute: bool,
    ) {
        timer.stop();
        timer.interval.set(setting.interval);
        timer.overrun.set(0);
        timer.missed.set(0);
        if setting.value == 0 {
            return;
        }
        let now = self.clock.now();
        match timer.clock {
            TimerClock::Wall { realtime } => {
                let at = match (absolute, realtime) {
                    (false, _) => now.plus(setting.value),
                    (true, false) => Instant(setting.value),
                    (true, true) => now.plus(setting.value.saturating_sub(self.clock.realtime())),
                };
                timer.expires.set(Some(at));
                let sleeper = self.executor.spawn(Sleeper {
                    kernel: Rc::downgrade(self),
                    group: Rc::downgrade(group),
                    timer: Rc::downgrade(timer),
                    sleep: self.clock.sleep_until(at),
                });
                *timer.sleeper.borrow_mut() = Some(sleeper);
            }
            TimerClock::Cpu(clock) => {
                let used = if absolute {
                    self.cpu_time(group, clock)
                } else {
                    0
                };
                timer
                    .cpu_left
                    .set(setting.value.saturating_sub(used).max(1));
                group.timers.cpu_armed.set(true);
            }
        }
    }

    /// The CPU time a clock shows.
    #[must_use]
    pub fn cpu_time(&self, group: &ThreadGroup, clock: CpuClock) -> u64 {
        match clock {
            CpuClock::Virtual => group.usage().user_ns,
            CpuClock::Process => {
                let usage = group.usage();
                usage.user_ns + usage.system_ns
            }
            CpuClock::Thread(tid) => self.task(tid).map_or(0, |task| {
                let usage = task.usage();
                usage.user_ns + usage.system_ns
            }),
        }
    }

    fn timer_expired(&self, group: &Rc<ThreadGroup>, timer: &Rc<Timer>, missed: u64) {
        let info = |signal, value| {
            if timer.id < 0 {
                SigInfo::kernel(signal)
            } else {
                let fields = SigFields::Timer {
                    id: timer.id,
                    overrun: 0,
                    value,
                };
                SigInfo {
                    signal,
                    errno: 0,
                    code: si::TIMER,
                    fields,
                }
            }
        };
        timer.miss(missed);
        match timer.notify {
            Notify::None => {}
            Notify::Process { signal, value } => {
                if timer.id >= 0 && group.pending_set().has(signal) {
                    timer.miss(1);
                    return;
                }
                // A full queue loses the expiry, which the overrun count of the next one shows.
                let _ = self.signal_process(group, info(signal, value));
            }
            Notify::Thread { signal, value, tid } => {
                let Some(task) = self.task(tid) else { return };
                if task.pending.borrow().set.has(signal) {
                    timer.miss(1);
                    return;
                }
                let _ = self.signal_task(&task, info(signal, value));
            }
        }
    }

    /// A task ran: its process's CPU timers go down, and RLIMIT_CPU is looked at.
    pub(crate) fn charge_cpu_timers(&self, task: &Task, user: u64, system: u64) {
        if task.group.timers.cpu_armed.get() {
            self.charge_armed(task, user, system);
        }
        if task.group.limits.soft(RLIMIT_CPU) != RLIM_INFINITY {
            self.check_cpu_limit(&task.group);
        }
    }

    /// SIGXCPU at the soft limit and each second behind it, SIGKILL at the hard one (`getrlimit(2)`).
    fn check_cpu_limit(&self, group: &Rc<ThreadGroup>) {
        let limit = group.limits.get(RLIMIT_CPU);
        let usage = group.usage();
        let used = usage.user_ns.saturating_add(usage.system_ns) / 1_000_000_000;
        let signal = if used >= limit.hard {
            SIGKILL
        } else if used >= limit.soft {
            let soft = limit.soft.saturating_add(1);
            group.limits.set(RLIMIT_CPU, Rlimit { soft, ..limit });
            SIGXCPU
        } else {
            return;
        };
        let _ = self.signal_process(group, SigInfo::kernel(signal));
    }

    fn charge_armed(&self, task: &Task, user: u64, system: u64) {
        let group = &task.group;
        let mut timers: Vec<Rc<Timer>> = group.timers.list();
        timers.extend(group.timers.interval.borrow().iter().flatten().cloned());
        let mut armed = false;
        for timer in timers {
            let TimerClock::Cpu(clock) = timer.clock else {
                continue;
            };
            let used = match clock {
                CpuClock::Virtual => user,
                CpuClock::Process => user + system,
                CpuClock::Thread(tid) if tid == task.tid() => user + system,
                CpuClock::Thread(_) => 0,
            };
            let left = timer.cpu_left.get();
            if left == 0 {
                continue;
            }
            if used < left {
                timer.cpu_left.set(left - used);
                armed = true;
                continue;
            }
            let interval = timer.interval.get();
            let over = used - left;
            let missed = over.checked_div(interval).unwrap_or(0);
            timer
                .cpu_left
                .set(over.checked_rem(interval).map_or(0, |into| interval - into));
            armed |= interval != 0;
            self.timer_expired(group, &timer, missed);
        }
        group.timers.cpu_armed.set(armed);
    }
}
