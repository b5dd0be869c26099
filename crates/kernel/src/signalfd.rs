//! Signals as files (`signalfd(2)`): reading takes the pending signals of the reading task.

use std::any::Any;
use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::task::Waker;

use abi::signal::{SIGKILL, SIGSTOP, SigFields, SigInfo, SigSet};
use abi::{Errno, Result};
use vfs::file::{Events, File};

use crate::kernel::Kernel;

/// Bytes of `struct signalfd_siginfo`.
const INFO_LEN: usize = 128;

/// A set of signals that are read instead of handled.
pub struct SignalFd {
    kernel: Weak<Kernel>,
    mask: Cell<SigSet>,
}

impl SignalFd {
    /// A file from which the signals of `mask` are read.
    #[must_use]
    pub fn new(kernel: &Rc<Kernel>, mask: SigSet) -> Rc<SignalFd> {
        let file = SignalFd {
            kernel: Rc::downgrade(kernel),
            mask: Cell::default(),
        };
        file.set_mask(mask);
        Rc::new(file)
    }

    /// Reads other signals.
    pub fn set_mask(&self, mask: SigSet) {
        self.mask
            .set(mask.minus(SigSet::of_all(&[SIGKILL, SIGSTOP])));
    }
}

fn emit(info: &SigInfo) -> [u8; INFO_LEN] {
    let mut raw = [0; INFO_LEN];
    let mut put = |at: usize, value: u32| raw[at..at + 4].copy_from_slice(&value.to_le_bytes());
    put(0, info.signal);
    put(8, info.code as u32);
    let mut value_of = 0;
    match info.fields {
        SigFields::Sender { pid, uid, value } => {
            put(12, pid);
            put(16, uid);
            put(44, value as u32);
            value_of = value;
        }
        SigFields::Timer { id, overrun, value } => {
            put(24, id as u32);
            put(32, overrun as u32);
            put(44, value as u32);
            value_of = value;
        }
        SigFields::Child {
            pid, uid, status, ..
        } => {
            put(12, pid);
            put(16, uid);
            put(40, status as u32);
        }
        _ => {}
    }
    raw[48..56].copy_from_slice(&value_of.to_le_bytes());
    raw
}

impl File for SignalFd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> Result<usize> {
        if buf.len() < INFO_LEN {
            return Err(Errno::EINVAL);
        }
        let task = self
            .kernel
            .upgrade()
            .and_then(|kernel| kernel.current())
            .ok_or(Errno::EAGAIN)?;
        let mut count = 0;
        for record in buf.chunks_exact_mut(INFO_LEN) {
            let Some(info) = task.take_signal(self.mask.get()) else {
                break;
            };
            record.copy_from_slice(&emit(&info));
            count += INFO_LEN;
        }
        if count == 0 {
            Err(Errno::EAGAIN)
        } else {
            Ok(count)
        }
    }

    fn poll(&self, waker: Option<&Waker>) -> Events {
        let Some(task) = self.kernel.upgrade().and_then(|kernel| kernel.current()) else {
            return Events::empty();
        };
        if let Some(waker) = waker {
            task.group.signal_wait.register(waker);
        }
        if task.pending_set().and(self.mask.get()).is_empty() {
            Events::empty()
        } else {
            Events::IN | Events::RDNORM
        }
    }

    fn anonymous_name(&self) -> Option<String> {
        Some("anon_inode:[signalfd]".to_string())
    }
}
