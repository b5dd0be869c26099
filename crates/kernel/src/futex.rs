//! Futexes: who sleeps at which word of memory (`futex(2)`).
//!
//! A private word is named by address space and address; a shared one by the page it is on, so processes
//! that map the page at different addresses meet. A waiter leaves the table when it is woken or when its
//! system call ends (its ticket is dropped).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

/// A word of memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FutexKey {
    /// In one address space.
    Private {
        /// Address of the `Mm`.
        space: usize,
        /// Address.
        address: u64,
    },
    /// On a page that several map.
    Shared {
        /// Address of the page's bytes.
        page: usize,
        /// Offset in the page.
        offset: u64,
    },
}

/// One sleeper.
pub struct Waiter {
    key: Cell<FutexKey>,
    bits: u32,
    woken: Cell<bool>,
    waker: Waker,
    /// Keeps a shared page alive, so that no other can get its name.
    _page: Option<mem::Page>,
}

impl Waiter {
    /// Somebody woke it.
    #[must_use]
    pub fn is_woken(&self) -> bool {
        self.woken.get()
    }
}

type Queues = Rc<RefCell<BTreeMap<FutexKey, VecDeque<Rc<Waiter>>>>>;

/// All sleepers of a machine.
#[derive(Default)]
pub struct FutexTable {
    queues: Queues,
}

/// A place in the table; dropping it leaves.
pub struct Ticket {
    /// The sleeper.
    pub waiter: Rc<Waiter>,
    queues: Queues,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        remove(&self.queues, &self.waiter);
    }
}

fn remove(queues: &Queues, waiter: &Rc<Waiter>) {
    let mut queues = queues.borrow_mut();
    let key = waiter.key.get();
    if let Some(queue) = queues.get_mut(&key) {
        queue.retain(|known| !Rc::ptr_eq(known, waiter));
        if queue.is_empty() {
            queues.remove(&key);
        }
    }
}

impl FutexTable {
    /// Goes to sleep at `key`; woken by wakes that have one of `bits`.
    pub fn wait(&self, key: FutexKey, bits: u32, waker: &Waker, page: Option<mem::Page>) -> Ticket {
        let waiter = Rc::new(Waiter {
            key: Cell::new(key),
            bits,
            woken: Cell::new(false),
            waker: waker.clone(),
            _page: page,
        });
        self.queues
            .borrow_mut()
            .entry(key)
            .or_default()
            .push_back(Rc::clone(&waiter));
        Ticket {
            waiter,
            queues: Rc::clone(&self.queues),
        }
    }

    /// Somebody sleeps there.
    #[must_use]
    pub fn has_waiters(&self, key: FutexKey) -> bool {
        self.queues.borrow().contains_key(&key)
    }

    /// Wakes at most `count` sleepers that have one of `bits`; gives how many.
    pub fn wake(&self, key: FutexKey, count: u64, bits: u32) -> u64 {
        let mut woken = 0;
        let mut queues = self.queues.borrow_mut();
        let Some(queue) = queues.get_mut(&key) else {
            return 0;
        };
        queue.retain(|waiter| {
            let chosen = woken < count && waiter.bits & bits != 0;
            if chosen {
                woken += 1;
                waiter.woken.set(true);
                waiter.waker.wake_by_ref();
            }
            !chosen
        });
        if queue.is_empty() {
            queues.remove(&key);
        }
        woken
    }

    /// Wakes `wake` sleepers of `from` and lets `requeue` others sleep at `to`; gives the numbers.
    pub fn requeue(&self, from: FutexKey, to: FutexKey, wake: u64, requeue: u64) -> (u64, u64) {
        let woken = self.wake(from, wake, u32::MAX);
        if from == to {
            return (woken, 0);
        }
        let mut queues = self.queues.borrow_mut();
        let Some(queue) = queues.get_mut(&from) else {
            return (woken, 0);
        };
        let count = (queue.len() as u64).min(requeue) as usize;
        let moved: Vec<_> = queue.drain(..count).collect();
        if queue.is_empty() {
            queues.remove(&from);
        }
        if !moved.is_empty() {
            let target = queues.entry(to).or_default();
            for waiter in moved {
                waiter.key.set(to);
                target.push_back(waiter);
            }
        }
        (woken, count as u64)
    }

    /// Sleepers in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queues.borrow().values().map(VecDeque::len).sum()
    }

    /// Nobody sleeps.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.borrow().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: u64) -> FutexKey {
        FutexKey::Private { space: 1, address }
    }

    #[test]
    fn sleepers_wake_in_order_by_bits_and_leave_when_dropped() {
        let table = FutexTable::default();
        let waker = Waker::noop();
        let tickets: Vec<_> = [1, 2, 3]
            .iter()
            .map(|&bits| table.wait(key(8), bits, waker, None))
            .collect();
        assert_eq!(table.wake(key(8), 1, 2), 1);
        assert!(!tickets[0].waiter.is_woken() && tickets[1].waiter.is_woken());
        assert_eq!(table.requeue(key(8), key(16), 0, 5), (0, 2));
        assert_eq!((table.wake(key(8), 9, u32::MAX), table.len()), (0, 2));
        drop(tickets);
        assert!(table.is_empty());
    }
}
