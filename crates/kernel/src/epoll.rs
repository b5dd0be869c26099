//! Event polls (`epoll(7)`): level and edge triggered, one-shot, nested.
//!
//! Each watched file has one waker, which puts the item on the ready list. Asking the file again
//! (`File::poll`) both tells what is ready and registers the waker anew. So an edge is a wake-up: an
//! edge-triggered item leaves the ready list when it has been reported, a level-triggered one goes to its
//! end and is asked again next time.
//!
//! The ready list is shared with wakers, which are `Send` by their type; its lock is never waited for.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use abi::{Errno, Result};
use vfs::file::{Events, File, OpenFile};

/// Wake-up edges only.
pub const EPOLLET: u32 = 1 << 31;
/// Report once, then wait for `EPOLL_CTL_MOD`.
pub const EPOLLONESHOT: u32 = 1 << 30;
/// Wake few of several waiting polls.
pub const EPOLLEXCLUSIVE: u32 = 1 << 28;

/// What goes together with it: IN, OUT, ERR, HUP, WAKEUP, ET.
const EXCLUSIVE_OK: u32 = 0x1 | 0x4 | 0x8 | 0x10 | 1 << 29 | EPOLLET | EPOLLEXCLUSIVE;

/// Deepest chain of polls watching polls (EP_MAX_NESTS).
const NESTS_MAX: usize = 5;

/// What a wake-up of a file touches.
#[derive(Default)]
struct Shared {
    ready: Mutex<VecDeque<u32>>,
    waiters: Mutex<Vec<Waker>>,
}

impl Shared {
    fn push(&self, id: u32) {
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(id);
    }

    fn pop(&self) -> Option<u32> {
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    fn len(&self) -> usize {
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    fn register(&self, waker: &Waker) {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiters.iter().any(|known| known.will_wake(waker)) {
            waiters.push(waker.clone());
        }
    }

    fn wake(&self) {
        let waiters =
            std::mem::take(&mut *self.waiters.lock().unwrap_or_else(PoisonError::into_inner));
        for waker in waiters {
            waker.wake();
        }
    }
}

struct ItemWaker {
    id: u32,
    queued: AtomicBool,
    shared: Arc<Shared>,
}

impl ItemWaker {
    fn queue(&self) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.shared.push(self.id);
        }
    }
}

impl Wake for ItemWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.queue();
        self.shared.wake();
    }
}

struct Item {
    key: (i32, usize),
    file: Weak<OpenFile>,
    events: u32,
    data: u64,
    /// Reported once: waits for `EPOLL_CTL_MOD`.
    disarmed: bool,
}

/// A slot keeps its waker when the item goes, so that wakers left behind in wait queues stay few.
struct Slot {
    item: Option<Item>,
    state: Arc<ItemWaker>,
    waker: Waker,
}

#[derive(Default)]
struct Items {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_key: BTreeMap<(i32, usize), u32>,
}

/// What `epoll_ctl` does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    /// Watch the file with these events and this user data.
    Add(u32, u64),
    /// Watch other events.
    Modify(u32, u64),
    /// Watch no more.
    Delete,
}

/// An epoll instance.
#[derive(Default)]
pub struct Epoll {
    shared: Arc<Shared>,
    items: RefCell<Items>,
}

impl Epoll {
    /// An epoll instance that watches nothing.
    #[must_use]
    pub fn new() -> Rc<Epoll> {
        Rc::new(Epoll::default())
    }

    /// `epoll_ctl(2)` for descriptor `fd`, which refers to `file`.
    pub fn control(&self, fd: i32, file: &Rc<OpenFile>, control: Control) -> Result<()> {
        if file.file.always_ready() {
            return Err(Errno::EPERM);
        }
        let key = (fd, Rc::as_ptr(file) as usize);
        match control {
            Control::Add(events, data) => self.add(key, file, events, data),
            Control::Modify(events, data) => self.modify(key, events, data),
            Control::Delete => self.delete(key),
        }
    }

    fn add(&self, key: (i32, usize), file: &Rc<OpenFile>, events: u32, data: u64) -> Result<()> {
        if events & EPOLLEXCLUSIVE != 0 && events & !EXCLUSIVE_OK != 0 {
            return Err(Errno::EINVAL);
        }
        if let Some(inner) = file.file.as_any().downcast_ref::<Epoll>()
            && (events & EPOLLEXCLUSIVE != 0 || std::ptr::eq(inner, self))
        {
            return Err(Errno::EINVAL);
        }
        if let Some(inner) = file.file.as_any().downcast_ref::<Epoll>()
            && (inner.watches(self, NESTS_MAX) || inner.depth(NESTS_MAX) >= NESTS_MAX)
        {
            return Err(Errno::ELOOP);
        }
        self.forget_closed(key);
        let item = Item {
            key,
            file: Rc::downgrade(file),
            events,
            data,
            disarmed: false,
        };
        let id = {
            let mut items = self.items.borrow_mut();
            if items.by_key.contains_key(&key) {
                return Err(Errno::EEXIST);
            }
            let id = match items.free.pop() {
                Some(id) => {
                    items.slots[id as usize].item = Some(item);
                    id
                }
                None => {
                    let id = items.slots.len() as u32;
                    let state = Arc::new(ItemWaker {
                        id,
                        queued: AtomicBool::new(false),
                        shared: Arc::clone(&self.shared),
                    });
                    let waker = Waker::from(Arc::clone(&state));
                    items.slots.push(Slot {
                        item: Some(item),
                        state,
                        waker,
                    });
                    id
                }
            };
            items.by_key.insert(key, id);
            id
        };
        self.look(id);
        Ok(())
    }

    fn modify(&self, key: (i32, usize), events: u32, data: u64) -> Result<()> {
        let id = {
            let mut items = self.items.borrow_mut();
            let id = *items.by_key.get(&key).ok_or(Errno::ENOENT)?;
            let item = items.slots[id as usize]
                .item
                .as_mut()
                .ok_or(Errno::ENOENT)?;
            if item.events & EPOLLEXCLUSIVE != 0 || events & EPOLLEXCLUSIVE != 0 {
                return Err(Errno::EINVAL);
            }
            item.events = events;
            item.data = data;
            item.disarmed = false;
            id
        };
        self.look(id);
        Ok(())
    }

    fn delete(&self, key: (i32, usize)) -> Result<()> {
        let mut items = self.items.borrow_mut();
        let id = items.by_key.remove(&key).ok_or(Errno::ENOENT)?;
        items.slots[id as usize].item = None;
        items.free.push(id);
        Ok(())
    }

    /// An item of a file that was closed may have the same number and address as a new one.
    fn forget_closed(&self, key: (i32, usize)) {
        let closed = {
            let items = self.items.borrow();
            items.by_key.get(&key).is_some_and(|&id| {
                items.slots[id as usize]
                    .item
                    .as_ref()
                    .is_none_or(|item| item.file.strong_count() == 0)
            })
        };
        if closed {
            let _ = self.delete(key);
        }
    }

    /// Asks the file of a new or changed item and queues the item when something is ready.
    fn look(&self, id: u32) {
        if !self.ask(id).is_empty() {
            let state = self
                .items
                .borrow()
                .slots
                .get(id as usize)
                .map(|slot| Arc::clone(&slot.state));
            if let Some(state) = state {
                state.queue();
                self.shared.wake();
            }
        }
    }

    /// What is ready of what an item asks for; registers its waker.
    fn ask(&self, id: u32) -> Events {
        let (file, waker, wanted) = {
            let items = self.items.borrow();
            let Some(slot) = items.slots.get(id as usize) else {
                return Events::empty();
            };
            let Some(item) = &slot.item else {
                return Events::empty();
            };
            if item.disarmed {
                return Events::empty();
            }
            (item.file.upgrade(), slot.waker.clone(), item.events)
        };
        let Some(file) = file else {
            return Events::empty();
        };
        let wanted = Events::from_bits_truncate(wanted) | Events::ERR | Events::HUP;
        file.file.poll(Some(&waker)) & wanted
    }

    /// Reports up to `limit` ready items as (events, user data).
    pub fn collect(
        &self,
        limit: usize,
        emit: &mut dyn FnMut(u32, u64) -> Result<()>,
    ) -> Result<usize> {
        let mut count = 0;
        // Level-triggered items come back to the end of the list: look at each once.
        for _ in 0..self.shared.len() {
            if count == limit {
                break;
            }
            let Some(id) = self.shared.pop() else { break };
            if let Some(slot) = self.items.borrow().slots.get(id as usize) {
                slot.state.queued.store(false, Ordering::Relaxed);
            }
            let ready = self.ask(id);
            if ready.is_empty() {
                self.drop_if_closed(id);
                continue;
            }
            let Some((flags, data)) = self.reported(id) else {
                continue;
            };
            if let Err(error) = emit(ready.bits(), data) {
                self.requeue(id);
                return if count > 0 { Ok(count) } else { Err(error) };
            }
            count += 1;
            if flags & EPOLLONESHOT != 0 {
                if let Some(item) = &mut self.items.borrow_mut().slots[id as usize].item {
                    item.disarmed = true;
                }
            } else if flags & EPOLLET == 0 {
                self.requeue(id);
            }
        }
        Ok(count)
    }

    fn reported(&self, id: u32) -> Option<(u32, u64)> {
        let items = self.items.borrow();
        let item = items.slots.get(id as usize)?.item.as_ref()?;
        Some((item.events, item.data))
    }

    fn requeue(&self, id: u32) {
        let state = self
            .items
            .borrow()
            .slots
            .get(id as usize)
            .map(|slot| Arc::clone(&slot.state));
        if let Some(state) = state {
            state.queue();
        }
    }

    fn drop_if_closed(&self, id: u32) {
        let closed = {
            let items = self.items.borrow();
            let item = items
                .slots
                .get(id as usize)
                .and_then(|slot| slot.item.as_ref());
            item.filter(|item| item.file.strong_count() == 0)
                .map(|item| item.key)
        };
        if let Some(key) = closed {
            let _ = self.delete(key);
        }
    }

    /// True when something is ready; `waker` is woken when that may have changed.
    pub fn is_ready(&self, waker: Option<&Waker>) -> bool {
        if let Some(waker) = waker {
            self.shared.register(waker);
        }
        for _ in 0..self.shared.len() {
            let Some(id) = self.shared.pop() else { break };
            if let Some(slot) = self.items.borrow().slots.get(id as usize) {
                slot.state.queued.store(false, Ordering::Relaxed);
            }
            if self.ask(id).is_empty() {
                self.drop_if_closed(id);
            } else {
                self.requeue(id);
                return true;
            }
        }
        false
    }

    fn inner_polls(&self) -> Vec<Rc<OpenFile>> {
        let items = self.items.borrow();
        let files = items
            .slots
            .iter()
            .filter_map(|slot| slot.item.as_ref()?.file.upgrade());
        files
            .filter(|file| file.file.as_any().is::<Epoll>())
            .collect()
    }

    fn watches(&self, wanted: &Epoll, depth: usize) -> bool {
        depth > 0
            && self.inner_polls().iter().any(|file| {
                let inner = file.file.as_any().downcast_ref::<Epoll>();
                inner.is_some_and(|inner| {
                    std::ptr::eq(inner, wanted) || inner.watches(wanted, depth - 1)
                })
            })
    }

    fn depth(&self, limit: usize) -> usize {
        if limit == 0 {
            return 1;
        }
        let polls = self.inner_polls();
        let inner = polls
            .iter()
            .filter_map(|file| file.file.as_any().downcast_ref::<Epoll>());
        1 + inner.map(|inner| inner.depth(limit - 1)).max().unwrap_or(0)
    }

    /// Watched descriptors with events and data, for `/proc/PID/fdinfo`.
    #[must_use]
    pub fn list(&self) -> Vec<(i32, u32, u64)> {
        let items = self.items.borrow();
        items
            .slots
            .iter()
            .filter_map(|slot| slot.item.as_ref())
            .map(|item| (item.key.0, item.events, item.data))
            .collect()
    }
}

impl File for Epoll {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn poll(&self, waker: Option<&Waker>) -> Events {
        if self.is_ready(waker) {
            Events::IN | Events::RDNORM
        } else {
            Events::empty()
        }
    }

    fn anonymous_name(&self) -> Option<String> {
        Some("anon_inode:[eventpoll]".to_string())
    }

    fn fdinfo(&self) -> Option<String> {
        let line =
            |(fd, events, data)| format!("tfd: {fd:8} events: {events:8x} data: {data:16x}\n");
        Some(self.list().into_iter().map(line).collect())
    }
}

#[cfg(test)]
mod tests {
    use vfs::file::OpenFlags;

    use super::*;
    use crate::eventfd::EventFd;
    use crate::pipe::Pipe;

    const IN: u32 = 1;
    const OUT: u32 = 4;
    const HUP: u32 = 0x10;

    fn open(file: Rc<dyn File>) -> Rc<OpenFile> {
        OpenFile::new(file, None, OpenFlags::RDWR)
    }

    fn ready(epoll: &Epoll) -> Vec<(u32, u64)> {
        let mut found = Vec::new();
        epoll
            .collect(10, &mut |events, data| {
                found.push((events, data));
                Ok(())
            })
            .unwrap();
        found
    }

    fn pipe() -> (Rc<OpenFile>, Rc<OpenFile>) {
        let pipe = Pipe::new(1, None);
        (
            open(Rc::new(pipe.open(true, false))),
            open(Rc::new(pipe.open(false, true))),
        )
    }

    #[test]
    fn level_reports_until_drained() {
        let (reader, writer) = pipe();
        let epoll = Epoll::new();
        epoll.control(3, &reader, Control::Add(IN, 7)).unwrap();
        assert_eq!(ready(&epoll), []);
        writer.write(b"ab").unwrap();
        assert_eq!(ready(&epoll), [(IN, 7)]);
        assert_eq!(ready(&epoll), [(IN, 7)]);
        reader.read(&mut [0; 9]).unwrap();
        assert_eq!(ready(&epoll), []);
        drop(writer);
        assert_eq!(ready(&epoll), [(HUP, 7)]);
    }

    #[test]
    fn edge_reports_once_for_each_arrival() {
        let (reader, writer) = pipe();
        let epoll = Epoll::new();
        epoll
            .control(3, &reader, Control::Add(IN | EPOLLET, 7))
            .unwrap();
        writer.write(b"ab").unwrap();
        assert_eq!(ready(&epoll), [(IN, 7)]);
        // epoll(7): the half that was not read brings no event, new data does.
        reader.read(&mut [0; 1]).unwrap();
        assert_eq!(ready(&epoll), []);
        writer.write(b"c").unwrap();
        assert_eq!(ready(&epoll), [(IN, 7)]);
        assert_eq!(ready(&epoll), []);
    }

    #[test]
    fn data_before_adding_is_an_edge_too() {
        let (reader, writer) = pipe();
        writer.write(b"ab").unwrap();
        let epoll = Epoll::new();
        epoll
            .control(3, &reader, Control::Add(IN | EPOLLET, 7))
            .unwrap();
        assert_eq!(ready(&epoll), [(IN, 7)]);
        assert_eq!(ready(&epoll), []);
        epoll
            .control(3, &reader, Control::Modify(IN | EPOLLET, 8))
            .unwrap();
        assert_eq!(ready(&epoll), [(IN, 8)]);
    }

    #[test]
    fn one_shot_waits_to_be_armed() {
        let counter = open(EventFd::new(1, false));
        let epoll = Epoll::new();
        epoll
            .control(3, &counter, Control::Add(IN | EPOLLONESHOT, 7))
            .unwrap();
        assert_eq!(ready(&epoll), [(IN, 7)]);
        counter.write(&1u64.to_le_bytes()).unwrap();
        assert_eq!(ready(&epoll), []);
        epoll
            .control(3, &counter, Control::Modify(IN | OUT | EPOLLONESHOT, 7))
            .unwrap();
        assert_eq!(ready(&epoll), [(IN | OUT, 7)]);
    }

    #[test]
    fn errors_of_control() {
        let (reader, _writer) = pipe();
        let epoll = Epoll::new();
        assert_eq!(
            epoll.control(3, &reader, Control::Delete),
            Err(Errno::ENOENT)
        );
        assert_eq!(
            epoll.control(3, &reader, Control::Modify(IN, 0)),
            Err(Errno::ENOENT)
        );
        assert_eq!(epoll.control(3, &reader, Control::Add(IN, 0)), Ok(()));
        assert_eq!(
            epoll.control(3, &reader, Control::Add(IN, 0)),
            Err(Errno::EEXIST)
        );
        assert_eq!(epoll.control(4, &reader, Control::Add(IN, 0)), Ok(()));
        assert_eq!(epoll.control(3, &reader, Control::Delete), Ok(()));
        assert_eq!(epoll.list(), [(4, IN, 0)]);
    }

    #[test]
    fn closed_files_leave_and_slots_are_used_again() {
        let epoll = Epoll::new();
        for round in 0..50 {
            let (reader, writer) = pipe();
            epoll.control(3, &reader, Control::Add(IN, round)).unwrap();
            writer.write(b"x").unwrap();
            drop(reader);
            assert_eq!(ready(&epoll), []);
        }
        assert!(epoll.items.borrow().slots.len() < 3);
    }

    #[test]
    fn nested_polls_and_loops() {
        let (reader, writer) = pipe();
        let inner = Epoll::new();
        inner.control(3, &reader, Control::Add(IN, 1)).unwrap();
        let inner_file = open(Rc::clone(&inner) as Rc<dyn File>);
        let outer = Epoll::new();
        outer.control(4, &inner_file, Control::Add(IN, 2)).unwrap();
        assert_eq!(ready(&outer), []);
        writer.write(b"x").unwrap();
        assert_eq!(ready(&outer), [(IN, 2)]);
        assert_eq!(ready(&inner), [(IN, 1)]);
        reader.read(&mut [0; 4]).unwrap();
        assert_eq!(ready(&outer), []);
        let outer_file = open(Rc::clone(&outer) as Rc<dyn File>);
        assert_eq!(
            inner.control(5, &outer_file, Control::Add(IN, 3)),
            Err(Errno::ELOOP)
        );
        assert_eq!(
            inner.control(5, &inner_file, Control::Add(IN, 3)),
            Err(Errno::EINVAL)
        );
    }
}
