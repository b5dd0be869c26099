//! Watching files for changes (`inotify(7)`): the queue behind a descriptor and the watches that fill it.
//!
//! Not here: saying that something happened, which `vfs::notify` and the system calls do.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::task::Waker;

use abi::{Errno, Result};
use clock::WaitQueue;
use vfs::file::{Events, File, UserMemory};
use vfs::notify::{self, Watcher, event};
use vfs::path::{Dentry, Path};

/// Events that wait at most (`/proc/sys/fs/inotify/max_queued_events`).
pub const QUEUE_MAX: usize = 16384;
/// Watches of an instance at most.
pub const WATCHES_MAX: usize = 65536;
/// Bytes of `struct inotify_event` without the name.
const HEADER: usize = 16;
const FIONREAD: u32 = 0x541b;

#[allow(missing_docs, reason = "named as in inotify(7)")]
pub mod flag {
    pub const UNMOUNT: u32 = 0x2000;
    pub const Q_OVERFLOW: u32 = 0x4000;
    pub const IGNORED: u32 = 0x8000;
    pub const ONLYDIR: u32 = 0x0100_0000;
    pub const DONT_FOLLOW: u32 = 0x0200_0000;
    pub const EXCL_UNLINK: u32 = 0x0400_0000;
    pub const MASK_CREATE: u32 = 0x1000_0000;
    pub const MASK_ADD: u32 = 0x2000_0000;
    pub const ONESHOT: u32 = 0x8000_0000;
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Event {
    wd: i32,
    mask: u32,
    cookie: u32,
    name: Box<[u8]>,
}

impl Event {
    /// Bytes of the name as it is read: with its end, rounded up to a header's size.
    fn name_len(&self) -> usize {
        match self.name.len() {
            0 => 0,
            len => (len + 1).next_multiple_of(HEADER),
        }
    }

    fn emit(&self, buf: &mut [u8]) {
        let name_len = self.name_len();
        buf[..HEADER + name_len].fill(0);
        let fields = [self.wd as u32, self.mask, self.cookie, name_len as u32];
        for (at, field) in fields.iter().enumerate() {
            buf[at * 4..at * 4 + 4].copy_from_slice(&field.to_le_bytes());
        }
        buf[HEADER..HEADER + self.name.len()].copy_from_slice(&self.name);
    }
}

/// A watched file. It keeps the file's dentry, so that the inode stays the one that is watched.
struct Watch {
    wd: i32,
    mask: Cell<u32>,
    owner: Weak<Inotify>,
    dentry: Rc<Dentry>,
}

impl Watcher for Watch {
    fn notify(&self, mask: u32, cookie: u32, name: &[u8]) {
        let Some(owner) = self.owner.upgrade() else {
            return;
        };
        let wanted = mask & self.mask.get() & event::ALL;
        if wanted != 0 {
            owner.push(Event {
                wd: self.wd,
                mask: wanted | mask & event::ISDIR,
                cookie,
                name: name.into(),
            });
        }
        let once = wanted != 0 && self.mask.get() & flag::ONESHOT != 0;
        if once || mask & event::DELETE_SELF != 0 {
            // The caller holds this watch, so it outlives its own removal.
            let _ = owner.remove(self.wd);
        }
    }
}

/// An instance.
pub struct Inotify {
    me: Weak<Inotify>,
    watches: RefCell<BTreeMap<i32, Rc<Watch>>>,
    queue: RefCell<VecDeque<Event>>,
    last: Cell<i32>,
    readable: WaitQueue,
}

impl Inotify {
    /// One that watches nothing.
    #[must_use]
    pub fn new() -> Rc<Inotify> {
        Rc::new_cyclic(|me| Inotify {
            me: Weak::clone(me),
            watches: RefCell::default(),
            queue: RefCell::default(),
            last: Cell::new(0),
            readable: WaitQueue::new(),
        })
    }

    /// `inotify_add_watch(2)` on what a path leads to.
    pub fn add(&self, path: &Path, mask: u32) -> Result<i32> {
        let inode = path.inode();
        let known = self
            .watches
            .borrow()
            .values()
            .find(|watch| vfs::path::same_inode(watch.dentry.inode(), &inode))
            .cloned();
        if let Some(watch) = known {
            if mask & flag::MASK_CREATE != 0 {
                return Err(Errno::EEXIST);
            }
            let kept = match mask & flag::MASK_ADD {
                0 => 0,
                _ => watch.mask.get(),
            };
            watch.mask.set(kept | mask);
            return Ok(watch.wd);
        }
        if self.watches.borrow().len() >= WATCHES_MAX {
            return Err(Errno::ENOSPC);
        }
        let wd = self.last.get() + 1;
        self.last.set(wd);
        let watch = Rc::new(Watch {
            wd,
            mask: Cell::new(mask),
            owner: Weak::clone(&self.me),
            dentry: Rc::clone(&path.dentry),
        });
        let weak: Weak<dyn Watcher> = {
            let weak: Weak<Watch> = Rc::downgrade(&watch);
            weak
        };
        // Files that keep nothing, those of /proc, never tell: as on Linux, where nothing happens there.
        notify::watch(&inode, weak);
        self.watches.borrow_mut().insert(wd, watch);
        Ok(wd)
    }

    /// `inotify_rm_watch(2)`.
    pub fn remove(&self, wd: i32) -> Result<()> {
        let watch = self.watches.borrow_mut().remove(&wd);
        let watch = watch.ok_or(Errno::EINVAL)?;
        self.push(Event {
            wd,
            mask: flag::IGNORED,
            cookie: 0,
            name: Box::default(),
        });
        drop(watch);
        Ok(())
    }

    fn push(&self, event: Event) {
        let mut queue = self.queue.borrow_mut();
        if queue.back() == Some(&event) {
            return;
        }
        match queue.len() {
            len if len < QUEUE_MAX => queue.push_back(event),
            QUEUE_MAX => queue.push_back(Event {
                wd: -1,
                mask: flag::Q_OVERFLOW,
                cookie: 0,
                name: Box::default(),
            }),
            _ => {}
        }
        drop(queue);
        self.readable.wake_all();
    }
}

impl File for Inotify {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> Result<usize> {
        let mut queue = self.queue.borrow_mut();
        let mut done = 0;
        while let Some(event) = queue.front() {
            let len = HEADER + event.name_len();
            if len > buf.len() - done {
                break;
            }
            event.emit(&mut buf[done..done + len]);
            done += len;
            queue.pop_front();
        }
        match (done, queue.is_empty()) {
            (0, true) => Err(Errno::EAGAIN),
            (0, false) => Err(Errno::EINVAL),
            _ => Ok(done),
        }
    }

    fn write_at(&self, _offset: u64, _buf: &[u8]) -> Result<usize> {
        Err(Errno::EBADF)
    }

    fn poll(&self, waker: Option<&Waker>) -> Events {
        if let Some(waker) = waker {
            self.readable.register(waker);
        }
        if self.queue.borrow().is_empty() {
            Events::empty()
        } else {
            Events::IN | Events::RDNORM
        }
    }

    fn ioctl(&self, request: u32, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
        if request != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let waiting: usize = self
            .queue
            .borrow()
            .iter()
            .map(|event| HEADER + event.name_len())
            .sum();
        memory.write(argument, &(waiting as i32).to_le_bytes())?;
        Ok(0)
    }

    fn anonymous_name(&self) -> Option<String> {
        Some("anon_inode:inotify".to_string())
    }

    fn fdinfo(&self) -> Option<String> {
        let watches = self.watches.borrow();
        let line = |watch: &Rc<Watch>| {
            let ino = watch.dentry.inode().attr().map_or(0, |attr| attr.ino);
            format!(
                "inotify wd:{:x} ino:{ino:x} sdev:0 mask:{:x} ignored_mask:0\n",
                watch.wd,
                watch.mask.get()
            )
        };
        Some(watches.values().map(line).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(wd: i32, name: &[u8]) -> Event {
        Event {
            wd,
            mask: event::CREATE,
            cookie: 0,
            name: name.into(),
        }
    }

    #[test]
    fn events_are_read_whole() {
        let inotify = Inotify::new();
        let mut buf = [0; 64];
        assert_eq!(inotify.read_at(0, &mut buf), Err(Errno::EAGAIN));
        inotify.push(event(1, b"a"));
        inotify.push(event(1, b"a"));
        inotify.push(event(2, b"sixteen-letters!"));
        assert_eq!(inotify.read_at(0, &mut buf[..20]), Err(Errno::EINVAL));
        assert_eq!(inotify.read_at(0, &mut buf[..40]), Ok(32));
        assert_eq!(buf[12], 16);
        assert_eq!(inotify.read_at(0, &mut buf), Ok(48));
        assert_eq!(&buf[16..33], b"sixteen-letters!\0");
    }

    #[test]
    fn a_full_queue_says_so_once() {
        let inotify = Inotify::new();
        for wd in 0..QUEUE_MAX as i32 + 10 {
            inotify.push(event(wd, b""));
        }
        assert_eq!(inotify.queue.borrow().len(), QUEUE_MAX + 1);
        assert_eq!(
            inotify.queue.borrow().back().map(|event| event.wd),
            Some(-1)
        );
    }
}
