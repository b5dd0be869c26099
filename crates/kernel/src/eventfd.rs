//! Event counters (`eventfd(2)`).

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;
use std::task::Waker;

use abi::{Errno, Result};
use clock::WaitQueue;
use vfs::file::{Events, File};

/// The largest value the counter reaches.
const MAX: u64 = u64::MAX - 1;

/// An event counter.
pub struct EventFd {
    count: Cell<u64>,
    semaphore: bool,
    changed: WaitQueue,
}

impl EventFd {
    /// A counter that starts at `initial`; with `semaphore`, a read takes one instead of all.
    #[must_use]
    pub fn new(initial: u32, semaphore: bool) -> Rc<EventFd> {
        Rc::new(EventFd {
            count: Cell::new(u64::from(initial)),
            semaphore,
            changed: WaitQueue::new(),
        })
    }
}

impl File for EventFd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> Result<usize> {
        let target = buf.get_mut(..8).ok_or(Errno::EINVAL)?;
        let count = self.count.get();
        if count == 0 {
            return Err(Errno::EAGAIN);
        }
        let taken = if self.semaphore { 1 } else { count };
        target.copy_from_slice(&taken.to_le_bytes());
        self.count.set(count - taken);
        self.changed.wake_all();
        Ok(8)
    }

    fn write_at(&self, _offset: u64, buf: &[u8]) -> Result<usize> {
        let bytes = buf.first_chunk::<8>().ok_or(Errno::EINVAL)?;
        let add = u64::from_le_bytes(*bytes);
        if add == u64::MAX {
            return Err(Errno::EINVAL);
        }
        if add > MAX - self.count.get() {
            return Err(Errno::EAGAIN);
        }
        self.count.set(self.count.get() + add);
        self.changed.wake_all();
        Ok(8)
    }

    fn poll(&self, waker: Option<&Waker>) -> Events {
        if let Some(waker) = waker {
            self.changed.register(waker);
        }
        let mut events = Events::empty();
        if self.count.get() > 0 {
            events |= Events::IN | Events::RDNORM;
        }
        if self.count.get() < MAX {
            events |= Events::OUT | Events::WRNORM;
        }
        events
    }

    fn anonymous_name(&self) -> Option<String> {
        Some("anon_inode:[eventfd]".to_string())
    }

    fn fdinfo(&self) -> Option<String> {
        Some(format!("eventfd-count: {:16x}\n", self.count.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_semaphores() {
        let mut buf = [0; 8];
        let counter = EventFd::new(2, false);
        assert_eq!(counter.write_at(0, &3u64.to_le_bytes()), Ok(8));
        assert_eq!(counter.read_at(0, &mut buf), Ok(8));
        assert_eq!(u64::from_le_bytes(buf), 5);
        assert_eq!(counter.read_at(0, &mut buf), Err(Errno::EAGAIN));
        assert_eq!(counter.read_at(0, &mut buf[..4]), Err(Errno::EINVAL));
        assert_eq!(
            counter.write_at(0, &u64::MAX.to_le_bytes()),
            Err(Errno::EINVAL)
        );
        assert_eq!(counter.write_at(0, &MAX.to_le_bytes()), Ok(8));
        assert_eq!(counter.poll(None), Events::IN | Events::RDNORM);
        assert_eq!(counter.write_at(0, &1u64.to_le_bytes()), Err(Errno::EAGAIN));
        let semaphore = EventFd::new(2, true);
        for _ in 0..2 {
            assert_eq!(semaphore.read_at(0, &mut buf), Ok(8));
            assert_eq!(u64::from_le_bytes(buf), 1);
        }
        assert_eq!(semaphore.read_at(0, &mut buf), Err(Errno::EAGAIN));
    }
}
