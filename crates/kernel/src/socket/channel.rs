//! One direction of a connection, or the inbox of a datagram socket: a bounded queue of messages.
//!
//! A stream appends to the last message as long as nothing goes along with the data, so its queue stays
//! short; `receive` then takes bytes over the boundaries.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use abi::{Errno, Result};
use clock::WaitQueue;
use mem::{Kind, Payer};

use super::{Ancillary, Received, SockAddr};
use crate::cgroup::queue::QueueCharge;
use crate::pipe::copy_front;

/// Bytes that wait at most (the default `SO_SNDBUF`).
pub const CAPACITY: usize = 212_992;
/// Messages that wait at most: empty ones have no bytes to count.
const MESSAGES_MAX: usize = 1024;

/// What a message costs beside its bytes.
const MESSAGE_BYTES: usize = 128;
/// What a descriptor costs that is on its way.
const RIGHT_BYTES: usize = 256;

struct Message {
    data: VecDeque<u8>,
    /// What it costs beside its data.
    extra: usize,
    ancillary: Ancillary,
    from: Option<SockAddr>,
}

/// A queue of messages.
pub struct Channel {
    messages: RefCell<VecDeque<Message>>,
    bytes: Cell<usize>,
    /// What all that waits costs.
    cost: Cell<usize>,
    charge: QueueCharge,
    /// Nobody will send any more.
    ended: Cell<bool>,
    /// Nobody will receive any more.
    refused: Cell<bool>,
    /// The sender went away with unread data of ours: `ECONNRESET`, told once.
    error: Cell<Option<Errno>>,
    /// Waits for messages or the end.
    pub readable: WaitQueue,
    /// Waits for room or refusal.
    pub writable: WaitQueue,
}

impl Channel {
    /// An empty channel. Who sends pays.
    #[must_use]
    pub fn new(payer: Option<&Rc<Payer>>) -> Rc<Channel> {
        Rc::new(Channel {
            messages: RefCell::default(),
            bytes: Cell::new(0),
            cost: Cell::new(0),
            charge: QueueCharge::new(payer, Kind::Sock),
            ended: Cell::new(false),
            refused: Cell::new(false),
            error: Cell::new(None),
            readable: WaitQueue::new(),
            writable: WaitQueue::new(),
        })
    }

    /// Pays for `cost` bytes that are about to be added.
    fn pay(&self, cost: usize) -> Result<()> {
        self.charge.grow(self.cost.get() + cost)?;
        self.cost.set(self.cost.get() + cost);
        Ok(())
    }

    /// `cost` bytes are gone.
    fn took(&self, cost: usize) {
        self.cost.set(self.cost.get().saturating_sub(cost));
        if self.cost.get() == 0 {
            self.charge.emptied();
        }
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.borrow().is_empty()
    }

    /// Bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Bytes of the first message.
    #[must_use]
    pub fn first_len(&self) -> usize {
        self.messages
            .borrow()
            .front()
            .map_or(0, |message| message.data.len())
    }

    /// No more will come once it is empty.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended.get()
    }

    /// The receiver takes nothing any more.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused.get()
    }

    /// Something is there to be received, be it the end or an error.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        !self.is_empty() || self.ended.get() || self.error.get().is_some()
    }

    /// Enough room that writing is worth while.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.bytes.get() <= CAPACITY / 4 * 3 && self.messages.borrow().len() < MESSAGES_MAX
    }

    /// The sender stops.
    pub fn end(&self) {
        self.ended.set(true);
        self.readable.wake_all();
        self.writable.wake_all();
    }

    /// The receiver stops: what waits is dropped. Gives whether something did.
    pub fn refuse(&self) -> bool {
        self.refused.set(true);
        let dropped = std::mem::take(&mut *self.messages.borrow_mut());
        self.bytes.set(0);
        self.took(self.cost.get());
        self.readable.wake_all();
        self.writable.wake_all();
        !dropped.is_empty()
    }

    /// Puts an error where the receiver finds it after the data.
    pub fn fail(&self, errno: Errno) {
        self.error.set(Some(errno));
        self.readable.wake_all();
        self.writable.wake_all();
    }

    /// The error that waits.
    #[must_use]
    pub fn error(&self) -> Option<Errno> {
        self.error.get()
    }

    /// Takes the error that waits.
    pub fn take_error(&self) -> Option<Errno> {
        self.error.take()
    }

    /// Adds bytes to a stream: as many as fit, `EAGAIN` when none do.
    pub fn send_stream(&self, data: &[u8], ancillary: Ancillary) -> Result<usize> {
        let room = CAPACITY - self.bytes.get().min(CAPACITY);
        if data.is_empty() {
            return Ok(0);
        }
        if room == 0 {
            return Err(Errno::EAGAIN);
        }
        let count = room.min(data.len());
        {
            let mut messages = self.messages.borrow_mut();
            match messages.back_mut() {
                Some(last) if can_join(last, &ancillary) => {
                    self.pay(count)?;
                    last.data.extend(&data[..count]);
                }
                _ => {
                    let extra = extra_cost(&ancillary);
                    self.pay(count + extra)?;
                    messages.push_back(Message {
                        data: data[..count].iter().copied().collect(),
                        extra,
                        ancillary,
                        from: None,
                    });
                }
            }
        }
        self.bytes.set(self.bytes.get() + count);
        self.readable.wake_all();
        Ok(count)
    }

    /// Adds a message as a whole: `EAGAIN` when it does not fit now, `EMSGSIZE` when it never will.
    pub fn send_message(
        &self,
        data: &[u8],
        ancillary: Ancillary,
        from: Option<SockAddr>,
        messages_max: usize,
    ) -> Result<usize> {
        if data.len() > CAPACITY {
            return Err(Errno::EMSGSIZE);
        }
        if self.bytes.get() + data.len() > CAPACITY
            || self.messages.borrow().len() >= messages_max.min(MESSAGES_MAX)
        {
            return Err(Errno::EAGAIN);
        }
        let extra = extra_cost(&ancillary);
        self.pay(data.len() + extra)?;
        let message = Message {
            data: data.iter().copied().collect(),
            extra,
            ancillary,
            from,
        };
        self.messages.borrow_mut().push_back(message);
        self.bytes.set(self.bytes.get() + data.len());
        self.readable.wake_all();
        Ok(data.len())
    }

    /// What is left when no message waits: the error, the end, or `EAGAIN`.
    fn nothing(&self) -> Result<Received> {
        if let Some(errno) = self.error.take() {
            return Err(errno);
        }
        if self.ended.get() || self.refused.get() {
            Ok(Received::default())
        } else {
            Err(Errno::EAGAIN)
        }
    }

    /// Takes bytes of a stream; with `peek` they stay. Stops where something else goes along with the data.
    pub fn receive_stream(&self, buf: &mut [u8], peek: bool) -> Result<Received> {
        let mut received = Received::default();
        let mut index = 0;
        let mut dropped = Vec::new();
        {
            let mut messages = self.messages.borrow_mut();
            while received.count < buf.len() {
                let Some(message) = messages.get_mut(index) else {
                    break;
                };
                let is_first = received.count == 0;
                if !is_first && !can_follow(&received.ancillary, &message.ancillary) {
                    break;
                }
                if is_first {
                    received.ancillary = if peek {
                        message.ancillary.clone()
                    } else {
                        take_ancillary(message)
                    };
                    received.from = message.from;
                }
                let count = message.data.len().min(buf.len() - received.count);
                copy_front(
                    &message.data,
                    &mut buf[received.count..received.count + count],
                );
                received.count += count;
                if peek {
                    index += 1;
                    continue;
                }
                message.data.drain(..count);
                if message.data.is_empty() {
                    dropped.extend(messages.pop_front());
                }
            }
        }
        if received.count == 0 {
            return self.nothing();
        }
        received.full = received.count;
        if !peek {
            self.bytes.set(self.bytes.get() - received.count);
            let extra: usize = dropped.iter().map(|message| message.extra).sum();
            self.took(received.count + extra);
            self.writable.wake_all();
        }
        Ok(received)
    }

    /// Takes one message, cut to `buf`; with `peek` it stays.
    pub fn receive_message(&self, buf: &mut [u8], peek: bool) -> Result<Received> {
        let taken = {
            let mut messages = self.messages.borrow_mut();
            match messages.front() {
                None => None,
                Some(message) if peek => {
                    let data = message.data.clone();
                    Some(Message {
                        data,
                        extra: 0,
                        ancillary: message.ancillary.clone(),
                        from: message.from,
                    })
                }
                Some(_) => messages.pop_front(),
            }
        };
        let Some(message) = taken else {
            return self.nothing();
        };
        let count = message.data.len().min(buf.len());
        copy_front(&message.data, &mut buf[..count]);
        if !peek {
            self.bytes.set(self.bytes.get() - message.data.len());
            self.took(message.data.len() + message.extra);
            self.writable.wake_all();
        }
        Ok(Received {
            count,
            full: message.data.len(),
            from: message.from,
            ancillary: message.ancillary,
            flags: 0,
        })
    }
}

fn extra_cost(ancillary: &Ancillary) -> usize {
    MESSAGE_BYTES + ancillary.rights.len() * RIGHT_BYTES
}

/// Credentials stay with the rest of a message that was read in part; descriptors come once.
fn take_ancillary(message: &mut Message) -> Ancillary {
    Ancillary {
        rights: std::mem::take(&mut message.ancillary.rights),
        cred: message.ancillary.cred.clone(),
        numbers: message.ancillary.numbers.clone(),
        others: message.ancillary.others.clone(),
    }
}

fn same_cred(a: &Ancillary, b: &Ancillary) -> bool {
    match (&a.cred, &b.cred) {
        (None, None) => true,
        (Some(a), Some(b)) => a.same(b),
        _ => false,
    }
}

fn can_join(last: &Message, next: &Ancillary) -> bool {
    last.ancillary.rights.is_empty() && next.rights.is_empty() && same_cred(&last.ancillary, next)
}

fn can_follow(first: &Ancillary, next: &Ancillary) -> bool {
    next.rights.is_empty() && first.rights.is_empty() && same_cred(first, next)
}
