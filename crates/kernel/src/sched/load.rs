//! The load averages: how many tasks run, wait for their turn or sleep uninterruptibly, looked at every five
//! seconds and averaged with half-lives of about one, five and fifteen minutes.
//!
//! Source: `proc_loadavg(5)`; the numbers are those of Linux, binary fractions of eleven bits.

use std::cell::Cell;

use clock::{Instant, NANOS_PER_SEC};

use crate::kernel::Kernel;
use crate::task::TaskState;

const PERIOD: u64 = 5 * NANOS_PER_SEC;
/// One, as the averages have it.
pub const FIXED_1: u64 = 1 << 11;
/// What is left of an average after a period: `FIXED_1` times exp(-5 s / 1, 5, 15 min).
const KEPT: [u64; 3] = [1884, 2014, 2037];

/// The averages.
pub struct LoadAverage {
    /// When to look next.
    pub(crate) next: Cell<Instant>,
    averages: Cell<[u64; 3]>,
}

impl LoadAverage {
    pub(crate) fn new(boot: Instant) -> LoadAverage {
        LoadAverage {
            next: Cell::new(boot.plus(PERIOD)),
            averages: Cell::default(),
        }
    }

    /// `active` tasks were seen in each period that ended by `now`.
    fn update(&self, now: Instant, active: u64) {
        let periods = now.since(self.next.get()) / PERIOD + 1;
        self.next.set(self.next.get().plus(periods * PERIOD));
        let active = active * FIXED_1;
        let mut averages = self.averages.get();
        for (average, kept) in averages.iter_mut().zip(KEPT) {
            for _ in 0..periods {
                let rounding = if active >= *average { FIXED_1 - 1 } else { 0 };
                let new = (*average * kept + active * (FIXED_1 - kept) + rounding) / FIXED_1;
                if new == *average {
                    break;
                }
                *average = new;
            }
        }
        self.averages.set(averages);
    }

    /// The averages over one, five and fifteen minutes, in parts of [`FIXED_1`].
    #[must_use]
    pub fn get(&self) -> [u64; 3] {
        self.averages.get()
    }
}

impl Kernel {
    /// Looks how many are active when it is time to.
    pub(crate) fn sample_load(&self) {
        let now = self.clock.now();
        if now < self.load.next.get() {
            return;
        }
        let tasks = self.tasks.borrow();
        let asleep = tasks.values().filter(|task| {
            task.state()
                == TaskState::Blocked {
                    interruptible: false,
                }
        });
        let active = self.run_queue.len() + asleep.count();
        self.load.update(now, active as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_busy_loops_approach_ten_and_an_idle_machine_nothing() {
        let load = LoadAverage::new(Instant(0));
        let minutes = |count: u64| Instant(count * 60 * NANOS_PER_SEC);
        load.update(minutes(1), 10);
        let [one, five, fifteen] = load.get().map(|load| load as f64 / FIXED_1 as f64);
        assert!((6.2..6.5).contains(&one), "{one}");
        assert!(five < one && fifteen < five, "{five} {fifteen}");
        load.update(minutes(16), 10);
        assert!(load.get()[0] > 10 * FIXED_1 - 20, "{:?}", load.get());
        load.update(minutes(60), 0);
        assert_eq!(load.get()[0], 0);
        assert_eq!(load.next.get(), minutes(60).plus(PERIOD));
    }
}
