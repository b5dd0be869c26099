//! The clock of one world and futures that wait for it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::NANOS_PER_SEC;

/// Nanoseconds since the world began (what `CLOCK_MONOTONIC` shows).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Instant(pub u64);

impl Instant {
    /// This instant moved on by `nanos`; stays at the end of time instead of wrapping.
    #[must_use]
    pub fn plus(self, nanos: u64) -> Instant {
        Instant(self.0.saturating_add(nanos))
    }

    /// Nanoseconds from `earlier` to here, 0 if it is later.
    #[must_use]
    pub fn since(self, earlier: Instant) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

struct Inner {
    now: Cell<Instant>,
    /// Nanoseconds from 1970-01-01 to instant 0.
    epoch: Cell<u64>,
    next_key: Cell<u64>,
    timers: RefCell<BTreeMap<(Instant, u64), Waker>>,
}

/// A handle to the clock of a world. Clones show the same time.
#[derive(Clone)]
pub struct Clock(Rc<Inner>);

impl Clock {
    /// A clock at instant 0, which is `epoch_ns` nanoseconds after 1970-01-01 UTC.
    #[must_use]
    pub fn new(epoch_ns: u64) -> Clock {
        Clock(Rc::new(Inner {
            now: Cell::default(),
            epoch: Cell::new(epoch_ns),
            next_key: Cell::new(0),
            timers: RefCell::default(),
        }))
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.0.now.get()
    }

    /// Nanoseconds since 1970-01-01 UTC (what `CLOCK_REALTIME` shows).
    #[must_use]
    pub fn realtime(&self) -> u64 {
        self.0.epoch.get().saturating_add(self.now().0)
    }

    /// Seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn unix_seconds(&self) -> u64 {
        self.realtime() / NANOS_PER_SEC
    }

    /// Sets the real-time clock, as `clock_settime(2)` does.
    pub fn set_realtime(&self, epoch_now_ns: u64) {
        self.0.epoch.set(epoch_now_ns.saturating_sub(self.now().0));
    }

    /// Moves time on to `now` (never back) and wakes every timer that is due, in order.
    pub fn advance_to(&self, now: Instant) {
        if now > self.now() {
            self.0.now.set(now);
        }
        loop {
            let due = {
                let mut timers = self.0.timers.borrow_mut();
                match timers.first_key_value() {
                    Some((&(at, _), _)) if at <= self.now() => timers.pop_first(),
                    _ => None,
                }
            };
            match due {
                Some((_, waker)) => waker.wake(),
                None => return,
            }
        }
    }

    /// When the earliest timer is due. The end of time is never: who has nothing else to wait for would
    /// jump there.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let timers = self.0.timers.borrow();
        let first = timers.first_key_value().map(|(&(at, _), _)| at);
        first.filter(|at| *at < Instant(u64::MAX))
    }

    /// Wakes `waker` at `at`. The key takes it back with [`Clock::cancel`].
    pub fn wake_at(&self, at: Instant, waker: Waker) -> (Instant, u64) {
        let key = (at, self.0.next_key.get());
        self.0.next_key.set(key.1 + 1);
        self.0.timers.borrow_mut().insert(key, waker);
        key
    }

    /// Takes a timer back; one that has fired is not there any more, which is no error.
    pub fn cancel(&self, key: (Instant, u64)) {
        self.0.timers.borrow_mut().remove(&key);
    }

    /// Completes at `at`.
    #[must_use]
    pub fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep {
            clock: self.clone(),
            at,
            key: None,
        }
    }

    /// Completes `nanos` from now.
    #[must_use]
    pub fn sleep(&self, nanos: u64) -> Sleep {
        self.sleep_until(self.now().plus(nanos))
    }
}

/// See [`Clock::sleep_until`]. Dropping it takes the timer back.
pub struct Sleep {
    clock: Clock,
    at: Instant,
    key: Option<(Instant, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(key) = self.key.take() {
            self.clock.cancel(key);
        }
        if self.clock.now() >= self.at {
            return Poll::Ready(());
        }
        self.key = Some(self.clock.wake_at(self.at, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.clock.cancel(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_time_is_never_due() {
        let clock = Clock::new(0);
        let key = clock.wake_at(Instant(5).plus(u64::MAX), Waker::noop().clone());
        assert_eq!(clock.next_deadline(), None);
        clock.wake_at(Instant(7), Waker::noop().clone());
        assert_eq!(clock.next_deadline(), Some(Instant(7)));
        clock.advance_to(Instant(7));
        clock.cancel(key);
        assert_eq!(clock.next_deadline(), None);
    }
}
