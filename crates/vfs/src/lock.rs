//! File locks: POSIX record locks and open file description locks (`fcntl(2)`), and `flock(2)`.
//!
//! A [`LockTable`] hangs on the inode ([`LockTable::of`]). Owners are numbers the kernel gives: a
//! process for POSIX locks, an open file description for the other two. A call that would have to wait
//! returns `EAGAIN`; the caller registers with [`LockTable::wait`] and tries again. Who waits for whom
//! is kept in [`LockWaits`], one in a machine, so that a circle is `EDEADLK`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use abi::{Errno, Result};
use clock::WaitQueue;

use crate::inode::Inode;

/// Most record locks on one file; more is `ENOLCK`.
const LOCKS_MAX: usize = 16384;

/// Who holds a lock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LockOwner {
    /// A process, by the number of its descriptor table: POSIX locks.
    Process(u64),
    /// An open file description: `F_OFD_…` locks and `flock`.
    Description(u64),
}

/// What others may do meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockKind {
    /// Others may read-lock too (`F_RDLCK`, `LOCK_SH`).
    Shared,
    /// Nobody else (`F_WRLCK`, `LOCK_EX`).
    Exclusive,
}

/// A record lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordLock {
    /// Who holds it.
    pub owner: LockOwner,
    /// The pid that `F_GETLK` tells; -1 for descriptions.
    pub pid: i32,
    /// Shared or exclusive.
    pub kind: LockKind,
    /// First byte.
    pub start: u64,
    /// Last byte; `u64::MAX`: to the end of the file, however long it gets.
    pub end: u64,
}

impl RecordLock {
    fn overlaps(&self, other: &RecordLock) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    fn conflicts(&self, other: &RecordLock) -> bool {
        let exclusive = self.kind == LockKind::Exclusive || other.kind == LockKind::Exclusive;
        self.owner != other.owner && exclusive && self.overlaps(other)
    }
}

/// The range of a `struct flock`: `start` is absolute, `len` 0 means to the end, a negative one what is
/// before `start`. First and last byte.
pub fn range(start: i64, len: i64) -> Result<(u64, u64)> {
    let (first, last) = match len {
        0 => (start, i64::MAX),
        1.. => (start, start.checked_add(len - 1).ok_or(Errno::EOVERFLOW)?),
        _ => (start.checked_add(len).ok_or(Errno::EINVAL)?, start - 1),
    };
    let first = u64::try_from(first).map_err(|_| Errno::EINVAL)?;
    let end = if len == 0 {
        u64::MAX
    } else {
        last.unsigned_abs()
    };
    Ok((first, end))
}

/// The locks of one inode.
#[derive(Default)]
pub struct LockTable {
    records: RefCell<Vec<RecordLock>>,
    whole: RefCell<Vec<(LockOwner, LockKind)>>,
    /// Woken when a lock is given up.
    pub wait: WaitQueue,
}

impl LockTable {
    /// The table of an inode; `ENOLCK` when its file system keeps none.
    pub fn of(inode: &dyn Inode) -> Result<Rc<LockTable>> {
        let attachments = inode.attachments().ok_or(Errno::ENOLCK)?;
        Ok(attachments.get_or_insert_with(LockTable::default))
    }

    /// `F_GETLK`: a lock that is in the way.
    #[must_use]
    pub fn conflict(&self, wanted: &RecordLock) -> Option<RecordLock> {
        self.records
            .borrow()
            .iter()
            .find(|known| known.conflicts(wanted))
            .copied()
    }

    /// `F_SETLK`: `EAGAIN` when somebody is in the way.
    pub fn set(&self, wanted: RecordLock) -> Result<()> {
        if self.conflict(&wanted).is_some() {
            return Err(Errno::EAGAIN);
        }
        let mut records = self.records.borrow_mut();
        if records.len() >= LOCKS_MAX {
            return Err(Errno::ENOLCK);
        }
        let shrinks = cut(&mut records, &wanted);
        join(&mut records, wanted);
        drop(records);
        if shrinks {
            // An exclusive lock may have become a shared one.
            self.wait.wake_all();
        }
        Ok(())
    }

    /// `F_SETLKW`: as [`LockTable::set`], but `EDEADLK` when waiting would never end. On `EAGAIN` the
    /// owner is noted as waiting until it succeeds or [`LockWaits::stop`].
    pub fn set_or_wait(&self, wanted: RecordLock, waits: &LockWaits) -> Result<()> {
        match self.conflict(&wanted) {
            None => {
                waits.stop(wanted.owner);
                self.set(wanted)
            }
            Some(blocker) => {
                waits.start(wanted.owner, blocker.owner)?;
                Err(Errno::EAGAIN)
            }
        }
    }

    /// `F_UNLCK` of a range.
    pub fn unset(&self, owner: LockOwner, start: u64, end: u64) {
        let hole = RecordLock {
            owner,
            pid: 0,
            kind: LockKind::Shared,
            start,
            end,
        };
        let removed = cut(&mut self.records.borrow_mut(), &hole);
        if removed {
            self.wait.wake_all();
        }
    }

    /// The owner closed the file: its record locks and `flock` go.
    pub fn release(&self, owner: LockOwner) {
        self.unset(owner, 0, u64::MAX);
        self.unflock(owner);
    }

    /// `flock(2)`. Changing the kind gives the old lock up first, as Linux does.
    pub fn flock(&self, owner: LockOwner, kind: LockKind) -> Result<()> {
        let mut whole = self.whole.borrow_mut();
        if whole.contains(&(owner, kind)) {
            return Ok(());
        }
        let had = whole.len();
        whole.retain(|(known, _)| *known != owner);
        let gave_up = whole.len() < had;
        let exclusive = kind == LockKind::Exclusive;
        let free = !whole
            .iter()
            .any(|(_, known)| exclusive || *known == LockKind::Exclusive);
        if free {
            whole.push((owner, kind));
        }
        drop(whole);
        if gave_up {
            self.wait.wake_all();
        }
        if free { Ok(()) } else { Err(Errno::EAGAIN) }
    }

    /// `LOCK_UN`.
    pub fn unflock(&self, owner: LockOwner) {
        let mut whole = self.whole.borrow_mut();
        let had = whole.len();
        whole.retain(|(known, _)| *known != owner);
        let removed = whole.len() < had;
        drop(whole);
        if removed {
            self.wait.wake_all();
        }
    }

    /// All record locks, for `/proc/locks`.
    #[must_use]
    pub fn records(&self) -> Vec<RecordLock> {
        self.records.borrow().clone()
    }
}

/// Takes the range of `hole` out of the locks of its owner; true when there was something.
fn cut(records: &mut Vec<RecordLock>, hole: &RecordLock) -> bool {
    let mut rest = Vec::new();
    let before = records.len();
    records.retain(|known| {
        let hit = known.owner == hole.owner && known.overlaps(hole);
        if hit && known.start < hole.start {
            rest.push(RecordLock {
                end: hole.start - 1,
                ..*known
            });
        }
        if hit && known.end > hole.end {
            rest.push(RecordLock {
                start: hole.end + 1,
                ..*known
            });
        }
        !hit
    });
    let removed = records.len() < before;
    records.append(&mut rest);
    removed
}

/// Adds a lock, made one with its neighbours of the same kind.
fn join(records: &mut Vec<RecordLock>, mut lock: RecordLock) {
    records.retain(|known| {
        let touches =
            known.end.saturating_add(1) >= lock.start && lock.end.saturating_add(1) >= known.start;
        let same = known.owner == lock.owner && known.kind == lock.kind && touches;
        if same {
            lock.start = lock.start.min(known.start);
            lock.end = lock.end.max(known.end);
        }
        !same
    });
    records.push(lock);
}

/// Who waits for whom, over all files of a machine.
#[derive(Default)]
pub struct LockWaits(RefCell<HashMap<LockOwner, LockOwner>>);

impl LockWaits {
    fn start(&self, waiter: LockOwner, holder: LockOwner) -> Result<()> {
        let mut waits = self.0.borrow_mut();
        let mut next = Some(holder);
        let mut steps = waits.len() + 1;
        while let Some(owner) = next {
            // Descriptions are no threads of control: circles over them are not found, as on Linux.
            if owner == waiter && matches!(waiter, LockOwner::Process(_)) {
                waits.remove(&waiter);
                return Err(Errno::EDEADLK);
            }
            if steps == 0 {
                break;
            }
            steps -= 1;
            next = waits.get(&owner).copied();
        }
        waits.insert(waiter, holder);
        Ok(())
    }

    /// The owner does not wait any more: it was interrupted, or has its lock.
    pub fn stop(&self, waiter: LockOwner) {
        self.0.borrow_mut().remove(&waiter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: LockOwner = LockOwner::Process(1);
    const TWO: LockOwner = LockOwner::Process(2);

    fn lock(owner: LockOwner, kind: LockKind, start: u64, end: u64) -> RecordLock {
        RecordLock {
            owner,
            pid: 1,
            kind,
            start,
            end,
        }
    }

    fn shown(table: &LockTable) -> String {
        let mut records = table.records();
        order::sort_by_key(&mut records, |record| record.start);
        let show =
            |record: &RecordLock| format!("{:?} {}-{}", record.kind, record.start, record.end);
        records.iter().map(show).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn ranges_split_and_join() {
        use LockKind::{Exclusive, Shared};
        let table = LockTable::default();
        table.set(lock(ONE, Exclusive, 0, 99)).unwrap();
        table.unset(ONE, 40, 59);
        assert_eq!(shown(&table), "Exclusive 0-39, Exclusive 60-99");
        table.set(lock(ONE, Shared, 30, 69)).unwrap();
        assert_eq!(
            shown(&table),
            "Exclusive 0-29, Shared 30-69, Exclusive 70-99"
        );
        table.set(lock(ONE, Exclusive, 30, 69)).unwrap();
        assert_eq!(shown(&table), "Exclusive 0-99");
        assert_eq!(
            table.set(lock(TWO, Shared, 99, u64::MAX)),
            Err(Errno::EAGAIN)
        );
        table.set(lock(TWO, Shared, 100, u64::MAX)).unwrap();
        assert_eq!(
            table
                .conflict(&lock(ONE, Exclusive, 500, 501))
                .unwrap()
                .owner,
            TWO
        );
        assert_eq!(table.conflict(&lock(ONE, Shared, 500, 501)), None);
        table.release(TWO);
        table.release(ONE);
        assert_eq!(shown(&table), "");
    }

    #[test]
    fn a_circle_of_waiting_processes_is_a_deadlock() {
        let (a, b, waits) = (
            LockTable::default(),
            LockTable::default(),
            LockWaits::default(),
        );
        let whole = |owner| lock(owner, LockKind::Exclusive, 0, u64::MAX);
        a.set(whole(ONE)).unwrap();
        b.set(whole(TWO)).unwrap();
        assert_eq!(b.set_or_wait(whole(ONE), &waits), Err(Errno::EAGAIN));
        assert_eq!(a.set_or_wait(whole(TWO), &waits), Err(Errno::EDEADLK));
        b.release(TWO);
        assert_eq!(b.set_or_wait(whole(ONE), &waits), Ok(()));
        assert_eq!(a.set_or_wait(whole(TWO), &waits), Err(Errno::EAGAIN));
    }

    #[test]
    fn flock_is_held_by_descriptions() {
        let table = LockTable::default();
        let (one, two) = (LockOwner::Description(1), LockOwner::Description(2));
        table.flock(one, LockKind::Shared).unwrap();
        table.flock(two, LockKind::Shared).unwrap();
        assert_eq!(table.flock(one, LockKind::Exclusive), Err(Errno::EAGAIN));
        // The old lock was given up by trying.
        assert_eq!(table.flock(two, LockKind::Exclusive), Ok(()));
        table.unflock(two);
        assert_eq!(table.flock(one, LockKind::Exclusive), Ok(()));
    }

    #[test]
    fn ranges_of_struct_flock() {
        assert_eq!(range(10, 5), Ok((10, 14)));
        assert_eq!(range(10, 0), Ok((10, u64::MAX)));
        assert_eq!(range(10, -5), Ok((5, 9)));
        assert_eq!(range(3, -5), Err(Errno::EINVAL));
        assert_eq!(range(-1, 5), Err(Errno::EINVAL));
        assert_eq!(range(i64::MAX, 5), Err(Errno::EOVERFLOW));
    }
}
