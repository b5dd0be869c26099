//! Timers as files (`timerfd_create(2)`).

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use abi::{Errno, Result};
use clock::{Clock, Instant};
use vfs::file::{Events, File};

/// Whoever waits for the timer. Wakers must be `Send` by their type, hence a lock nobody waits for.
#[derive(Default)]
struct Waiters(Mutex<Vec<Waker>>);

impl Waiters {
    fn register(&self, waker: &Waker) {
        let mut waiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiters.iter().any(|known| known.will_wake(waker)) {
            waiters.push(waker.clone());
        }
    }

    fn wake_all(&self) {
        let waiters = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for waker in waiters {
            waker.wake();
        }
    }
}

impl Wake for Waiters {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }
}

/// When a timer runs out, and how often after that.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Setting {
    /// The next expiration; `None`: disarmed.
    pub next: Option<Instant>,
    /// Nanoseconds between expirations; 0: only once.
    pub interval: u64,
}

/// A timer behind a descriptor.
pub struct TimerFd {
    clock: Clock,
    /// `CLOCK_REALTIME` rather than `CLOCK_MONOTONIC`.
    pub realtime: bool,
    setting: Cell<Setting>,
    /// Expirations not yet read.
    expirations: Cell<u64>,
    armed: Cell<Option<(Instant, u64)>>,
    waiters: Arc<Waiters>,
}

impl TimerFd {
    /// A disarmed timer.
    #[must_use]
    pub fn new(clock: &Clock, realtime: bool) -> Rc<TimerFd> {
        Rc::new(TimerFd {
            clock: clock.clone(),
            realtime,
            setting: Cell::default(),
            expirations: Cell::new(0),
            armed: Cell::new(None),
            waiters: Arc::default(),
        })
    }

    /// `timerfd_settime(2)`. Gives what [`TimerFd::remaining`] said before.
    pub fn set(&self, setting: Setting) -> (u64, u64) {
        let old = self.remaining();
        self.setting.set(setting);
        self.expirations.set(0);
        self.arm();
        self.waiters.wake_all();
        old
    }

    /// `timerfd_gettime(2)`: nanoseconds to the next expiration (0: disarmed) and between them.
    #[must_use]
    pub fn remaining(&self) -> (u64, u64) {
        self.settle();
        let setting = self.setting.get();
        let left = setting
            .next
            .map_or(0, |next| next.since(self.clock.now()).max(1));
        (left, setting.interval)
    }

    fn arm(&self) {
        if let Some(key) = self.armed.take() {
            self.clock.cancel(key);
        }
        if let Some(next) = self.setting.get().next {
            self.armed.set(Some(
                self.clock
                    .wake_at(next, Waker::from(Arc::clone(&self.waiters))),
            ));
        }
    }

    /// Counts the expirations up to now.
    fn settle(&self) {
        let mut setting = self.setting.get();
        let Some(next) = setting.next else { return };
        let now = self.clock.now();
        if now < next {
            return;
        }
        let more = now.since(next).checked_div(setting.interval).unwrap_or(0);
        self.expirations
            .set(self.expirations.get().saturating_add(1 + more));
        setting.next =
            (setting.interval > 0).then(|| next.plus((1 + more).saturating_mul(setting.interval)));
        self.setting.set(setting);
        self.arm();
    }
}

impl File for TimerFd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> Result<usize> {
        let target = buf.get_mut(..8).ok_or(Errno::EINVAL)?;
        self.settle();
        let count = self.expirations.get();
        if count == 0 {
            return Err(Errno::EAGAIN);
        }
        self.expirations.set(0);
        target.copy_from_slice(&count.to_le_bytes());
        Ok(8)
    }

    fn poll(&self, waker: Option<&Waker>) -> Events {
        self.settle();
        if let Some(waker) = waker {
            self.waiters.register(waker);
        }
        if self.expirations.get() > 0 {
            Events::IN | Events::RDNORM
        } else {
            Events::empty()
        }
    }

    fn anonymous_name(&self) -> Option<String> {
        Some("anon_inode:[timerfd]".to_string())
    }
}

impl Drop for TimerFd {
    fn drop(&mut self) {
        if let Some(key) = self.armed.take() {
            self.clock.cancel(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(timer: &TimerFd) -> Result<u64> {
        let mut buf = [0; 8];
        timer.read_at(0, &mut buf).map(|_| u64::from_le_bytes(buf))
    }

    #[test]
    fn counts_expirations_in_virtual_time() {
        let clock = Clock::new(0);
        let timer = TimerFd::new(&clock, false);
        assert_eq!(count(&timer), Err(Errno::EAGAIN));
        timer.set(Setting {
            next: Some(Instant(100)),
            interval: 50,
        });
        assert_eq!(timer.remaining(), (100, 50));
        clock.advance_to(Instant(99));
        assert_eq!(timer.poll(None), Events::empty());
        clock.advance_to(Instant(260));
        assert_eq!(timer.poll(None), Events::IN | Events::RDNORM);
        assert_eq!(count(&timer), Ok(4));
        assert_eq!(count(&timer), Err(Errno::EAGAIN));
        assert_eq!(timer.remaining(), (40, 50));
        timer.set(Setting::default());
        assert_eq!(timer.remaining(), (0, 0));
        assert_eq!(clock.next_deadline(), None);
    }

    #[test]
    fn once_is_once() {
        let clock = Clock::new(0);
        let timer = TimerFd::new(&clock, false);
        timer.set(Setting {
            next: Some(Instant(10)),
            interval: 0,
        });
        clock.advance_to(Instant(1000));
        assert_eq!(count(&timer), Ok(1));
        assert_eq!(timer.remaining(), (0, 0));
    }
}
