//! System V semaphores (`semget(2)`, `semop(2)`): sets of an IPC namespace, and what is undone at exit.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use abi::{Errno, Result};
use clock::WaitQueue;

use crate::Kernel;
use crate::namespaces::{IpcNs, Namespaces, Pid};
use crate::sysv_perm::{IPC_CREAT, IPC_EXCL, IPC_NOWAIT, IPC_PRIVATE, IpcPerm, PERM_LEN};
use crate::task::{Task, ThreadGroup};

/// Largest value.
pub const VALUE_MAX: i32 = 32_767;
/// Semaphores of a set.
pub const SET_MAX: u32 = 32_000;
/// Sets of a namespace.
pub const SETS_MAX: usize = 32_000;
/// Operations of one call.
pub const OPERATIONS_MAX: usize = 500;
/// Semaphores of a namespace together: what a guest may make the kernel hold.
const SEMAPHORES_MAX: usize = 1 << 20;
const SEM_UNDO: u16 = 0o10000;

/// `struct sembuf`.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Which semaphore.
    pub number: u16,
    /// What is added; 0 waits for zero.
    pub by: i16,
    /// `IPC_NOWAIT`, `SEM_UNDO`.
    pub flags: u16,
}

#[derive(Clone, Default)]
struct Semaphore {
    value: i32,
    last_pid: Option<Rc<Pid>>,
}

/// A set.
pub struct SemSet {
    /// Identifier.
    pub id: i32,
    /// Owner and mode.
    pub perm: IpcPerm,
    semaphores: RefCell<Vec<Semaphore>>,
    /// What the processes' ends add, by process.
    undo: RefCell<BTreeMap<u32, Vec<i32>>>,
    /// Who waits: semaphore, and for zero.
    waiting: RefCell<Vec<(u16, bool)>>,
    changed: WaitQueue,
    removed: Cell<bool>,
    operation_time: Cell<u64>,
    change_time: Cell<u64>,
}

/// What became of a list of operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// All were done.
    Done,
    /// None was: this one has to wait.
    Waits(usize),
}

/// A call that waits; forgets itself when the call ends.
pub struct Waiter {
    /// The set.
    pub set: Rc<SemSet>,
    on: (u16, bool),
}

impl Waiter {
    /// Counts the caller among those who wait.
    #[must_use]
    pub fn new(set: &Rc<SemSet>, operation: Operation) -> Waiter {
        let on = (operation.number, operation.by == 0);
        set.waiting.borrow_mut().push(on);
        Waiter {
            set: Rc::clone(set),
            on,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.set.waiting.borrow_mut();
        if let Some(at) = waiting.iter().position(|on| *on == self.on) {
            waiting.swap_remove(at);
        }
    }
}

/// The sets of a namespace.
#[derive(Default)]
pub struct SemSets {
    by_id: RefCell<BTreeMap<i32, Rc<SemSet>>>,
    next: Cell<i32>,
}

impl SemSets {
    /// Those of a namespace.
    #[must_use]
    pub fn of(ns: &IpcNs) -> Rc<SemSets> {
        ns.state.get_or_insert_with(SemSets::default)
    }

    /// `semget(2)`.
    pub fn get(&self, k: &Kernel, t: &Task, key: i32, count: i32, flags: u32) -> Result<i32> {
        if !(0..=SET_MAX as i32).contains(&count) {
            return Err(Errno::EINVAL);
        }
        let known = self
            .by_id
            .borrow()
            .values()
            .find(|set| key != IPC_PRIVATE && set.perm.key.get() == key)
            .cloned();
        if let Some(set) = known {
            if flags & IPC_CREAT != 0 && flags & IPC_EXCL != 0 {
                return Err(Errno::EEXIST);
            }
            if count as usize > set.len() {
                return Err(Errno::EINVAL);
            }
            set.perm.check_flags(k, t, flags)?;
            return Ok(set.id);
        }
        if key != IPC_PRIVATE && flags & IPC_CREAT == 0 {
            return Err(Errno::ENOENT);
        }
        if count == 0 {
            return Err(Errno::EINVAL);
        }
        let used: usize = self.by_id.borrow().values().map(|set| set.len()).sum();
        if self.by_id.borrow().len() >= SETS_MAX || used + count as usize > SEMAPHORES_MAX {
            return Err(Errno::ENOSPC);
        }
        let id = self.next.get();
        self.next.set(id.checked_add(1).unwrap_or(0));
        let set = SemSet {
            id,
            perm: IpcPerm::new(t, key, flags),
            semaphores: RefCell::new(vec![Semaphore::default(); count as usize]),
            undo: RefCell::default(),
            waiting: RefCell::default(),
            changed: WaitQueue::new(),
            removed: Cell::new(false),
            operation_time: Cell::new(0),
            change_time: Cell::new(k.clock.unix_seconds()),
        };
        self.by_id.borrow_mut().insert(id, Rc::new(set));
        Ok(id)
    }

    /// The set with that identifier.
    pub fn find(&self, id: i32) -> Result<Rc<SemSet>> {
        self.by_id.borrow().get(&id).cloned().ok_or(Errno::EINVAL)
    }

    /// The set at a place in the table (`SEM_STAT`).
    #[must_use]
    pub fn at_index(&self, index: usize) -> Option<Rc<SemSet>> {
        self.by_id.borrow().values().nth(index).cloned()
    }

    /// Sets, and semaphores in them.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let sets = self.by_id.borrow();
        let semaphores: usize = sets.values().map(|set| set.len()).sum();
        (sets.len() as u64, semaphores as u64)
    }

    /// `IPC_RMID`.
    pub fn remove(&self, set: &SemSet) {
        self.by_id.borrow_mut().remove(&set.id);
        set.removed.set(true);
        set.changed.wake_all();
    }
}

impl SemSet {
    /// Semaphores in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.semaphores.borrow().len()
    }

    /// Never true.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

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

    /// Does all of them, or none.
    pub fn operate(&self, k: &Kernel, t: &Task, operations: &[Operation]) -> Result<Outcome> {
        let process = t.group.pid().global();
        let mut values: Vec<i32> = Vec::with_capacity(operations.len());
        let semaphores = self.semaphores.borrow();
        let undo = self.undo.borrow();
        let mut adjustments = undo.get(&process).cloned().unwrap_or_default();
        let undoes = operations.iter().any(|op| op.flags & SEM_UNDO != 0);
        adjustments.resize(semaphores.len(), 0);
        for (index, op) in operations.iter().enumerate() {
            let number = usize::from(op.number);
            let earlier = operations[..index]
                .iter()
                .rposition(|o| o.number == op.number);
            let now = match earlier {
                Some(earlier) => values[earlier],
                None => semaphores.get(number).ok_or(Errno::EFBIG)?.value,
            };
            let next = now + i32::from(op.by);
            if next < 0 || op.by == 0 && now != 0 {
                return if u32::from(op.flags) & IPC_NOWAIT != 0 {
                    Err(Errno::EAGAIN)
                } else {
                    Ok(Outcome::Waits(index))
                };
            }
            if next > VALUE_MAX {
                return Err(Errno::ERANGE);
            }
            if op.flags & SEM_UNDO != 0 {
                adjustments[number] -= i32::from(op.by);
                if adjustments[number].abs() > VALUE_MAX {
                    return Err(Errno::ERANGE);
                }
            }
            values.push(next);
        }
        drop((semaphores, undo));
        let mut semaphores = self.semaphores.borrow_mut();
        for (op, value) in operations.iter().zip(&values) {
            let semaphore = &mut semaphores[usize::from(op.number)];
            semaphore.value = *value;
            semaphore.last_pid = Some(t.group.pid());
        }
        drop(semaphores);
        if undoes {
            self.undo.borrow_mut().insert(process, adjustments);
        }
        self.operation_time.set(k.clock.unix_seconds());
        if operations.iter().any(|op| op.by != 0) {
            self.changed.wake_all();
        }
        Ok(Outcome::Done)
    }

    /// A process ends: what it asked to be undone is.
    fn undo(&self, group: &ThreadGroup) {
        let Some(adjustments) = self.undo.borrow_mut().remove(&group.pid().global()) else {
            return;
        };
        let mut semaphores = self.semaphores.borrow_mut();
        for (semaphore, by) in semaphores.iter_mut().zip(adjustments) {
            if by != 0 {
                semaphore.value = (semaphore.value + by).clamp(0, VALUE_MAX);
                semaphore.last_pid = Some(group.pid());
            }
        }
        drop(semaphores);
        self.changed.wake_all();
    }

    /// A semaphore's value.
    pub fn value(&self, number: u64) -> Result<i32> {
        let semaphores = self.semaphores.borrow();
        let semaphore = semaphores.get(number as usize).ok_or(Errno::EINVAL)?;
        Ok(semaphore.value)
    }

    /// Who changed it last, as seen in these namespaces.
    pub fn last_pid(&self, number: u64, ns: &Namespaces) -> Result<u32> {
        let semaphores = self.semaphores.borrow();
        let semaphore = semaphores.get(number as usize).ok_or(Errno::EINVAL)?;
        let pid = semaphore.last_pid.as_ref();
        Ok(pid.map_or(0, |pid| pid.in_ns(&ns.pid)))
    }

    /// How many wait for it to grow, or for zero.
    pub fn waiters(&self, number: u64, for_zero: bool) -> Result<u64> {
        self.value(number)?;
        let waiting = self.waiting.borrow();
        let these = waiting
            .iter()
            .filter(|on| **on == (number as u16, for_zero));
        Ok(these.count() as u64)
    }

    /// All values.
    #[must_use]
    pub fn values(&self) -> Vec<u16> {
        let semaphores = self.semaphores.borrow();
        semaphores.iter().map(|one| one.value as u16).collect()
    }

    /// Sets values from `first` on; what would be undone to them is forgotten.
    pub fn set_values(&self, k: &Kernel, t: &Task, first: u64, values: &[i32]) -> Result<()> {
        if values.iter().any(|value| !(0..=VALUE_MAX).contains(value)) {
            return Err(Errno::ERANGE);
        }
        let first = usize::try_from(first).map_err(|_| Errno::EINVAL)?;
        let mut semaphores = self.semaphores.borrow_mut();
        let end = first.checked_add(values.len()).ok_or(Errno::EINVAL)?;
        let these = semaphores.get_mut(first..end).ok_or(Errno::EINVAL)?;
        for (semaphore, value) in these.iter_mut().zip(values) {
            semaphore.value = *value;
            semaphore.last_pid = Some(t.group.pid());
        }
        drop(semaphores);
        for adjustments in self.undo.borrow_mut().values_mut() {
            adjustments[first..end].fill(0);
        }
        self.change_time.set(k.clock.unix_seconds());
        self.changed.wake_all();
        Ok(())
    }

    /// `IPC_SET`.
    pub fn set(&self, k: &Kernel, ns: &Namespaces, raw: &[u8]) -> Result<()> {
        self.perm.set(ns, raw)?;
        self.change_time.set(k.clock.unix_seconds());
        Ok(())
    }

    /// `struct semid64_ds`.
    #[must_use]
    pub fn stat(&self, ns: &Namespaces) -> Vec<u8> {
        let mut raw = self.perm.emit(ns).to_vec();
        debug_assert_eq!(raw.len(), PERM_LEN);
        let words = [
            self.operation_time.get(),
            self.change_time.get(),
            self.len() as u64,
            0,
            0,
        ];
        raw.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        raw
    }
}

/// The sets in which a process has something to undo.
#[derive(Default)]
pub struct UndoLists(RefCell<BTreeMap<u32, Vec<Weak<SemSet>>>>);

impl UndoLists {
    /// Remembers that a process may have to undo something there.
    pub fn note(k: &Kernel, group: &ThreadGroup, set: &Rc<SemSet>, operations: &[Operation]) {
        if operations.iter().all(|op| op.flags & SEM_UNDO == 0) {
            return;
        }
        let lists = k.extension(UndoLists::default);
        let mut lists = lists.0.borrow_mut();
        let sets = lists.entry(group.pid().global()).or_default();
        if !sets.iter().any(|known| known.as_ptr() == Rc::as_ptr(set)) {
            sets.push(Rc::downgrade(set));
        }
    }

    /// A process ends.
    pub fn process_ended(k: &Kernel, group: &ThreadGroup) {
        let lists = k.extension(UndoLists::default);
        let sets = lists.0.borrow_mut().remove(&group.pid().global());
        for set in sets.iter().flatten().filter_map(Weak::upgrade) {
            set.undo(group);
        }
    }
}

/// `/proc/sysvipc/sem`.
#[must_use]
pub fn proc_sem(kernel: &Rc<Kernel>) -> String {
    let ns = kernel
        .current()
        .map_or_else(|| Rc::clone(&kernel.init_ns), |task| task.ns());
    let mut text =
        "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n"
            .to_string();
    for set in SemSets::of(&ns.ipc).by_id.borrow().values() {
        let [key, uid, gid, cuid, cgid, mode] = set.perm.fields(&ns);
        text.push_str(&format!(
            "{:>10} {:>10}  {mode:>4o} {:>10} {uid:>5} {gid:>5} {cuid:>5} {cgid:>5} {:>10} {:>10}\n",
            key as i32,
            set.id,
            set.len(),
            set.operation_time.get(),
            set.change_time.get(),
        ));
    }
    text
}
