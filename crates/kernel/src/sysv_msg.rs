//! System V message queues (`msgget(2)`, `msgop(2)`): queues of an IPC namespace.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use abi::{Errno, Result};
use clock::WaitQueue;

use crate::Kernel;
use crate::namespaces::{IpcNs, Namespaces, Pid};
use crate::sysv_perm::{IPC_CREAT, IPC_EXCL, IPC_PRIVATE, IpcPerm};
use crate::task::Task;

/// Take what does not fit in part.
pub const MSG_NOERROR: u32 = 0o10000;
/// The first of another type.
pub const MSG_EXCEPT: u32 = 0o20000;
/// A copy, by number.
pub const MSG_COPY: u32 = 0o40000;

/// A message.
pub struct Message {
    /// Its type, above 0.
    pub kind: i64,
    /// Its text.
    pub text: Box<[u8]>,
}

/// A queue.
pub struct Queue {
    /// Identifier.
    pub id: i32,
    /// Owner and mode.
    pub perm: IpcPerm,
    messages: RefCell<VecDeque<Message>>,
    bytes: Cell<u64>,
    bytes_max: Cell<u64>,
    changed: WaitQueue,
    removed: Cell<bool>,
    /// When somebody sent, received, changed it.
    times: [Cell<u64>; 3],
    last: RefCell<[Option<Rc<Pid>>; 2]>,
}

/// The queues of a namespace.
#[derive(Default)]
pub struct Queues {
    by_id: RefCell<BTreeMap<i32, Rc<Queue>>>,
    next: Cell<i32>,
}

impl Queues {
    /// Those of a namespace.
    #[must_use]
    pub fn of(ns: &IpcNs) -> Rc<Queues> {
        ns.state.get_or_insert_with(Queues::default)
    }

    /// `msgget(2)`.
    pub fn get(&self, k: &Kernel, t: &Task, key: i32, flags: u32) -> Result<i32> {
        let known = self
            .by_id
            .borrow()
            .values()
            .find(|queue| key != IPC_PRIVATE && queue.perm.key.get() == key)
            .cloned();
        if let Some(queue) = known {
            if flags & IPC_CREAT != 0 && flags & IPC_EXCL != 0 {
                return Err(Errno::EEXIST);
            }
            queue.perm.check_flags(k, t, flags)?;
            return Ok(queue.id);
        }
        if key != IPC_PRIVATE && flags & IPC_CREAT == 0 {
            return Err(Errno::ENOENT);
        }
        let ns = t.ns();
        if self.by_id.borrow().len() as u64 >= ns.ipc.msg_count_max.get() {
            return Err(Errno::ENOSPC);
        }
        let id = self.next.get();
        self.next.set(id.checked_add(1).unwrap_or(0));
        let now = k.clock.unix_seconds();
        let queue = Queue {
            id,
            perm: IpcPerm::new(t, key, flags),
            messages: RefCell::default(),
            bytes: Cell::new(0),
            bytes_max: Cell::new(ns.ipc.msg_queue_bytes.get()),
            changed: WaitQueue::new(),
            removed: Cell::new(false),
            times: [Cell::new(0), Cell::new(0), Cell::new(now)],
            last: RefCell::default(),
        };
        self.by_id.borrow_mut().insert(id, Rc::new(queue));
        Ok(id)
    }

    /// The queue with that identifier.
    pub fn find(&self, id: i32) -> Result<Rc<Queue>> {
        self.by_id.borrow().get(&id).cloned().ok_or(Errno::EINVAL)
    }

    /// The queue at a place in the table (`MSG_STAT`).
    #[must_use]
    pub fn at_index(&self, index: usize) -> Option<Rc<Queue>> {
        self.by_id.borrow().values().nth(index).cloned()
    }

    /// Queues, messages and bytes.
    #[must_use]
    pub fn totals(&self) -> (u64, u64, u64) {
        let queues = self.by_id.borrow();
        let messages: usize = queues
            .values()
            .map(|queue| queue.messages.borrow().len())
            .sum();
        let bytes = queues.values().map(|queue| queue.bytes.get()).sum();
        (queues.len() as u64, messages as u64, bytes)
    }

    /// `IPC_RMID`.
    pub fn remove(&self, queue: &Queue) {
        self.by_id.borrow_mut().remove(&queue.id);
        queue.removed.set(true);
        queue.changed.wake_all();
    }
}

impl Queue {
    /// It was removed while somebody waited.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.removed.get()
    }

    /// Where one waits for a change.
    #[must_use]
    pub fn changes(&self) -> &WaitQueue {
        &self.changed
    }

    /// Puts a message in; gives it back when there is no room.
    pub fn send(&self, k: &Kernel, t: &Task, message: Message) -> std::result::Result<(), Message> {
        let len = message.text.len() as u64;
        let mut messages = self.messages.borrow_mut();
        let most = self.bytes_max.get();
        if self.bytes.get() + len > most || messages.len() as u64 + 1 > most {
            return Err(message);
        }
        messages.push_back(message);
        drop(messages);
        self.bytes.set(self.bytes.get() + len);
        self.used(k, t, 0);
        Ok(())
    }

    /// Takes the message that is asked for; `None`: it is not there. `E2BIG` when it is larger than `room`.
    pub fn receive(
        &self,
        k: &Kernel,
        t: &Task,
        kind: i64,
        room: u64,
        flags: u32,
    ) -> Result<Option<Message>> {
        let mut messages = self.messages.borrow_mut();
        let index = match kind {
            _ if flags & MSG_COPY != 0 => Some(kind as usize).filter(|&at| at < messages.len()),
            0 => (!messages.is_empty()).then_some(0),
            1.. => messages
                .iter()
                .position(|message| (message.kind == kind) != (flags & MSG_EXCEPT != 0)),
            _ => {
                let up_to = kind.checked_neg().unwrap_or(i64::MAX);
                let fits = messages.iter().filter(|message| message.kind <= up_to);
                let lowest = fits.map(|message| message.kind).min();
                messages
                    .iter()
                    .position(|message| Some(message.kind) == lowest)
            }
        };
        let Some(index) = index else { return Ok(None) };
        if messages[index].text.len() as u64 > room && flags & MSG_NOERROR == 0 {
            return Err(Errno::E2BIG);
        }
        if flags & MSG_COPY != 0 {
            let Message { kind, text } = &messages[index];
            return Ok(Some(Message {
                kind: *kind,
                text: text.clone(),
            }));
        }
        let message = messages.remove(index);
        drop(messages);
        if let Some(message) = &message {
            self.bytes.set(self.bytes.get() - message.text.len() as u64);
            self.used(k, t, 1);
        }
        Ok(message)
    }

    fn used(&self, k: &Kernel, t: &Task, how: usize) {
        self.times[how].set(k.clock.unix_seconds());
        self.last.borrow_mut()[how] = Some(t.group.pid());
        self.changed.wake_all();
    }

    /// `IPC_SET`: owner, mode and size.
    pub fn set(&self, k: &Kernel, t: &Task, raw: &[u8]) -> Result<()> {
        let ns = t.ns();
        let most = u64::from_le_bytes(raw[88..96].try_into().unwrap_or_default());
        let raises = most > ns.ipc.msg_queue_bytes.get();
        if raises && !k.capable_in(t, &ns.ipc.owner, vfs::Capability::SysResource) {
            return Err(Errno::EPERM);
        }
        self.perm.set(&ns, raw)?;
        self.bytes_max.set(most);
        self.times[2].set(k.clock.unix_seconds());
        self.changed.wake_all();
        Ok(())
    }

    fn last_pids(&self, ns: &Namespaces) -> [u32; 2] {
        let last = self.last.borrow();
        [0, 1].map(|how: usize| last[how].as_ref().map_or(0, |pid| pid.in_ns(&ns.pid)))
    }

    /// `struct msqid64_ds`.
    #[must_use]
    pub fn stat(&self, ns: &Namespaces) -> Vec<u8> {
        let mut raw = self.perm.emit(ns).to_vec();
        let [sent, received, changed] = [0, 1, 2].map(|which: usize| self.times[which].get());
        let [sender, receiver] = self.last_pids(ns);
        let words = [
            sent,
            received,
            changed,
            self.bytes.get(),
            self.messages.borrow().len() as u64,
            self.bytes_max.get(),
            u64::from(sender) | u64::from(receiver) << 32,
            0,
            0,
        ];
        raw.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        raw
    }
}

/// `/proc/sysvipc/msg`.
#[must_use]
pub fn proc_msg(kernel: &Rc<Kernel>) -> String {
    let ns = kernel
        .current()
        .map_or_else(|| Rc::clone(&kernel.init_ns), |task| task.ns());
    let mut text = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n".to_string();
    for queue in Queues::of(&ns.ipc).by_id.borrow().values() {
        let [key, uid, gid, cuid, cgid, mode] = queue.perm.fields(&ns);
        let [sender, receiver] = queue.last_pids(&ns);
        text.push_str(&format!(
            "{:>10} {:>10}  {mode:>4o}  {:>10} {:>10} {sender:>5} {receiver:>5} {uid:>5} {gid:>5} {cuid:>5} {cgid:>5} {:>10} {:>10} {:>10}\n",
            key as i32,
            queue.id,
            queue.bytes.get(),
            queue.messages.borrow().len(),
            queue.times[0].get(),
            queue.times[1].get(),
            queue.times[2].get(),
        ));
    }
    text
}
