//! The cpu controller: processor time used, `cpu.weight`, the share that the scheduler gives
//! ([`crate::sched::fair`]), and `cpu.max`, the quota per period that `--cpus` sets.
//!
//! A cgroup that used up its quota is throttled until its period ends; what a slice ran over is owed
//! in the next period, so the average holds whatever the length of slices.

use std::cell::Cell;

use clock::Instant;

use super::Cgroup;
use crate::sched::fair::{WEIGHT_IDLE, WEIGHT_UNIT};

/// `cpu.max` period unless set, in microseconds.
pub const PERIOD_US: u64 = 100_000;

/// State of the cpu controller of one cgroup.
pub struct Cpu {
    /// Nanoseconds of user mode.
    pub user_ns: Cell<u64>,
    /// Nanoseconds of system mode.
    pub system_ns: Cell<u64>,
    /// `cpu.max` quota in microseconds; `None` is `max`.
    pub quota_us: Cell<Option<u64>>,
    /// `cpu.max` period in microseconds.
    pub period_us: Cell<u64>,
    /// `cpu.weight`, as the scheduler counts: [`WEIGHT_UNIT`] stands for 100.
    pub shares: Cell<u64>,
    /// `cpu.idle`.
    pub idle: Cell<bool>,
    /// `cpu.max.burst` in microseconds: kept only.
    pub burst_us: Cell<u64>,
    /// `nr_periods`: periods in which somebody ran under a quota.
    pub periods: Cell<u64>,
    /// `nr_throttled`.
    pub throttled: Cell<u64>,
    /// `throttled_usec`, in nanoseconds.
    pub throttled_ns: Cell<u64>,
    period_start: Cell<Instant>,
    used_ns: Cell<u64>,
}

impl Default for Cpu {
    fn default() -> Cpu {
        Cpu {
            user_ns: Cell::new(0),
            system_ns: Cell::new(0),
            quota_us: Cell::new(None),
            period_us: Cell::new(PERIOD_US),
            shares: Cell::new(WEIGHT_UNIT),
            idle: Cell::new(false),
            burst_us: Cell::new(0),
            periods: Cell::new(0),
            throttled: Cell::new(0),
            throttled_ns: Cell::new(0),
            period_start: Cell::new(Instant(0)),
            used_ns: Cell::new(0),
        }
    }
}

impl Cpu {
    pub(super) fn reset_limits(&self) {
        self.quota_us.set(None);
        self.period_us.set(PERIOD_US);
        self.shares.set(WEIGHT_UNIT);
        self.idle.set(false);
        self.burst_us.set(0);
    }

    /// Its share among its siblings.
    #[must_use]
    pub fn weight(&self) -> u64 {
        if self.idle.get() {
            WEIGHT_IDLE
        } else {
            self.shares.get()
        }
    }

    fn period_end(&self) -> Instant {
        self.period_start.get().plus(self.period_us.get() * 1000)
    }

    /// Begins a new period when the last one is over; each period that passed pays a quota back.
    fn refill(&self, now: Instant, quota_ns: u64) {
        let period_ns = self.period_us.get() * 1000;
        let passed = now.since(self.period_start.get()) / period_ns;
        if passed > 0 {
            let owed = self.used_ns.get();
            self.used_ns
                .set(owed.saturating_sub(quota_ns.saturating_mul(passed)));
            let start = self.period_start.get().plus(passed * period_ns);
            self.period_start.set(start);
            self.periods.set(self.periods.get() + 1);
        }
    }

    /// Nanoseconds left in this period; `None` without a quota.
    fn left(&self, now: Instant) -> Option<u64> {
        let quota_ns = self.quota_us.get()? * 1000;
        self.refill(now, quota_ns);
        Some(quota_ns.saturating_sub(self.used_ns.get()))
    }

    fn charge(&self, now: Instant, user_ns: u64, system_ns: u64) {
        self.user_ns.set(self.user_ns.get() + user_ns);
        self.system_ns.set(self.system_ns.get() + system_ns);
        let Some(quota_us) = self.quota_us.get() else {
            return;
        };
        self.refill(now, quota_us * 1000);
        let before = self.used_ns.get();
        let after = before + user_ns + system_ns;
        self.used_ns.set(after);
        if before < quota_us * 1000 && after >= quota_us * 1000 {
            self.throttled.set(self.throttled.get() + 1);
            let until = self.period_end();
            self.throttled_ns
                .set(self.throttled_ns.get() + until.since(now));
        }
    }
}

impl Cgroup {
    /// A task of this cgroup ran, up to `now`.
    pub fn charge_cpu(&self, now: Instant, user_ns: u64, system_ns: u64) {
        self.for_each_up(|cgroup| cgroup.cpu.charge(now, user_ns, system_ns));
    }

    /// When tasks of this cgroup may run again; `None`: now.
    #[must_use]
    pub fn throttled_until(&self, now: Instant) -> Option<Instant> {
        let mut until = None;
        self.for_each_up(|cgroup| {
            if cgroup.cpu.left(now) == Some(0) {
                until = until.max(Some(cgroup.cpu.period_end()));
            }
        });
        until
    }

    /// How long a task of this cgroup may run from now on; `None`: as long as the scheduler likes.
    #[must_use]
    pub fn cpu_budget(&self, now: Instant) -> Option<u64> {
        let mut budget: Option<u64> = None;
        self.for_each_up(|cgroup| {
            if let Some(left) = cgroup.cpu.left(now) {
                budget = Some(budget.map_or(left, |known| known.min(left)));
            }
        });
        budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn half_a_cpu_gets_half_the_time_over_many_periods() {
        let root = Cgroup::new_root(None);
        let group = root.create(b"half", (0, 0)).unwrap();
        group.cpu.quota_us.set(Some(50_000));
        let (mut now, mut ran) = (Instant(0), 0);
        while now < Instant(10_000 * MS) {
            match group.throttled_until(now) {
                Some(until) => {
                    assert!(until > now);
                    now = until;
                }
                None => {
                    // Slices that do not divide the quota evenly run over it.
                    now = now.plus(7 * MS);
                    ran += 7;
                    group.charge_cpu(now, 7 * MS, 0);
                }
            }
        }
        assert!((4900..=5100).contains(&ran), "{ran} ms of 10 s");
        assert_eq!(root.cpu.user_ns.get(), ran * MS);
        assert!(group.cpu.throttled.get() >= 90);
    }

    #[test]
    fn a_quota_above_binds_and_gives_the_budget() {
        let root = Cgroup::new_root(None);
        let outer = root.create(b"outer", (0, 0)).unwrap();
        let inner = outer.create(b"inner", (0, 0)).unwrap();
        assert_eq!(inner.cpu_budget(Instant(0)), None);
        outer.cpu.quota_us.set(Some(10_000));
        assert_eq!(inner.cpu_budget(Instant(0)), Some(10 * MS));
        inner.charge_cpu(Instant(10 * MS), 6 * MS, 4 * MS);
        assert_eq!(
            inner.throttled_until(Instant(10 * MS)),
            Some(Instant(100 * MS))
        );
        assert_eq!(root.throttled_until(Instant(10 * MS)), None);
        assert_eq!(inner.throttled_until(Instant(100 * MS)), None);
        assert_eq!(outer.cpu.system_ns.get(), 4 * MS);
    }
}
