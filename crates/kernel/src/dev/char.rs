//! Character devices without state: `null(4)`, `zero(4)`, `full(4)`, `random(4)`, `kmsg`.

use std::any::Any;
use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::task::Waker;

use abi::{Errno, Result};
use clock::Rng;
use mem::Page;
use vfs::file::{Events, File};

use crate::kernel::Kernel;

/// Always ready for both.
const READY: Events = Events::from_bits_retain(0x1 | 0x4 | 0x40 | 0x100);

/// `/dev/null`: empty, and swallows everything.
pub struct Null;

impl File for Null {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> Result<usize> {
        Ok(0)
    }

    fn write_at(&self, _offset: u64, buf: &[u8]) -> Result<usize> {
        Ok(buf.len())
    }

    fn always_ready(&self) -> bool {
        true
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn seek_to(&self, _offset: u64) -> Result<u64> {
        Ok(0)
    }
}

/// `/dev/zero`: zeros without end; mapped it is memory.
pub struct Zero;

impl File for Zero {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> Result<usize> {
        buf.fill(0);
        Ok(buf.len())
    }

    fn write_at(&self, _offset: u64, buf: &[u8]) -> Result<usize> {
        Ok(buf.len())
    }

    fn always_ready(&self) -> bool {
        true
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn seek_to(&self, _offset: u64) -> Result<u64> {
        Ok(0)
    }

    fn page(&self, _index: u64, write: bool) -> Result<Option<Page>> {
        Ok(write.then(Page::zeroed))
    }
}

/// `/dev/full`: reads zeros, and is always full.
pub struct Full;

impl File for Full {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> Result<usize> {
        buf.fill(0);
        Ok(buf.len())
    }

    fn write_at(&self, _offset: u64, _buf: &[u8]) -> Result<usize> {
        Err(Errno::ENOSPC)
    }

    fn always_ready(&self) -> bool {
        true
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn seek_to(&self, _offset: u64) -> Result<u64> {
        Ok(0)
    }
}

/// `/dev/random` and `/dev/urandom`: what follows from the machine's seed.
pub struct Random(pub Rc<Rng>);

impl File for Random {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.0.fill(buf);
        Ok(buf.len())
    }

    fn write_at(&self, _offset: u64, buf: &[u8]) -> Result<usize> {
        Ok(buf.len())
    }

    fn poll(&self, _waker: Option<&Waker>) -> Events {
        READY
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn seek_to(&self, _offset: u64) -> Result<u64> {
        Ok(0)
    }
}

/// `/dev/kmsg`: the kernel log, a record for each read.
pub struct Kmsg {
    kernel: Weak<Kernel>,
    next: Cell<u64>,
}

impl Kmsg {
    /// The log from its oldest record on.
    #[must_use]
    pub fn open(k: &Rc<Kernel>) -> Rc<Kmsg> {
        Rc::new(Kmsg {
            kernel: Rc::downgrade(k),
            next: Cell::new(0),
        })
    }
}

impl File for Kmsg {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> Result<usize> {
        let k = self.kernel.upgrade().ok_or(Errno::EIO)?;
        let lines = k.log_lines();
        let line = lines
            .iter()
            .find(|line| line.sequence >= self.next.get())
            .ok_or(Errno::EAGAIN)?;
        let micros = line.at.since(k.boot) / 1000;
        let text = format!("6,{},{micros},-;{}\n", line.sequence, line.text);
        let target = buf.get_mut(..text.len()).ok_or(Errno::EINVAL)?;
        target.copy_from_slice(text.as_bytes());
        self.next.set(line.sequence + 1);
        Ok(text.len())
    }

    fn write_at(&self, _offset: u64, buf: &[u8]) -> Result<usize> {
        let k = self.kernel.upgrade().ok_or(Errno::EIO)?;
        if buf.len() > 1000 {
            return Err(Errno::EINVAL);
        }
        let text = String::from_utf8_lossy(buf);
        // A priority such as <6> in front is not shown.
        let text = text
            .strip_prefix('<')
            .and_then(|rest| rest.split_once('>'))
            .map_or(&*text, |(_, rest)| rest);
        k.log(text.trim_end());
        Ok(buf.len())
    }

    fn poll(&self, waker: Option<&Waker>) -> Events {
        let Some(k) = self.kernel.upgrade() else {
            return Events::ERR;
        };
        if let Some(waker) = waker {
            k.log_wait.register(waker);
        }
        let more = k
            .log_lines()
            .last()
            .is_some_and(|line| line.sequence >= self.next.get());
        if more {
            READY
        } else {
            Events::OUT | Events::WRNORM
        }
    }
}
