//! The io controller: bytes and operations on the machine's one block device, where its root, Docker's data
//! and with them the file systems of containers are; and `io.max`, which slows those down who go above it.
//! Memory file systems and streams do not count.
//!
//! There is no page cache: what is read or written goes to the device at once, so the counters are those of
//! a host that always reads and writes directly.

use std::cell::Cell;

use clock::{Instant, NANOS_PER_SEC};
use vfs::file::OpenFile;

use super::Cgroup;
use crate::task::Task;

/// Number of the device: the first virtio disk.
pub const DEVICE: (u32, u32) = (254, 0);
/// Its name.
pub const DEVICE_NAME: &str = "vda";

/// Bytes that are copied in the time of an instruction.
const COPY_RATE: u64 = 16;

/// One direction of a cgroup's traffic.
#[derive(Default)]
pub struct Flow {
    /// Bytes.
    pub bytes: Cell<u64>,
    /// Operations.
    pub operations: Cell<u64>,
    /// `rbps`, `wbps`: bytes per second.
    pub bytes_max: Cell<Option<u64>>,
    /// `riops`, `wiops`: operations per second.
    pub operations_max: Cell<Option<u64>>,
    /// When the limits allow the next operation.
    free_at: Cell<Instant>,
}

impl Flow {
    /// Counts an operation; gives when it is over, as the limits have it.
    fn charge(&self, now: Instant, bytes: u64) -> Instant {
        self.bytes.set(self.bytes.get() + bytes);
        self.operations.set(self.operations.get() + 1);
        let time = |amount: u64, per_second: Option<u64>| match per_second {
            Some(rate) => u128::from(amount) * u128::from(NANOS_PER_SEC) / u128::from(rate.max(1)),
            None => 0,
        };
        let takes = time(bytes, self.bytes_max.get()).max(time(1, self.operations_max.get()));
        if takes == 0 {
            return now;
        }
        let over = self.free_at.get().max(now).plus(takes as u64);
        self.free_at.set(over);
        over
    }

    fn reset_limits(&self) {
        self.bytes_max.set(None);
        self.operations_max.set(None);
    }
}

/// A weight from 1 to 10000.
pub struct Weight(pub Cell<u32>);

impl Default for Weight {
    fn default() -> Weight {
        Weight(Cell::new(100))
    }
}

/// State of the io controller of one cgroup.
#[derive(Default)]
pub struct Io {
    /// `io.weight`: its share when several wait for the device. Nobody does here: without `io.max` every
    /// operation is over at once.
    pub weight: Weight,
    /// What is read.
    pub read: Flow,
    /// What is written.
    pub write: Flow,
}

impl Io {
    pub(super) fn reset_limits(&self) {
        self.read.reset_limits();
        self.write.reset_limits();
    }
}

impl Cgroup {
    fn charge_io(&self, now: Instant, bytes: u64, which: impl Fn(&Io) -> &Flow) -> Instant {
        let mut over = now;
        self.for_each_up(|cgroup| over = over.max(which(&cgroup.io).charge(now, bytes)));
        over
    }

    /// A task of this cgroup reads from the device. Gives when it is done, with limits here or above later
    /// than `now`.
    pub fn charge_read(&self, now: Instant, bytes: u64) -> Instant {
        self.charge_io(now, bytes, |io| &io.read)
    }

    /// A task of this cgroup writes to the device.
    pub fn charge_write(&self, now: Instant, bytes: u64) -> Instant {
        self.charge_io(now, bytes, |io| &io.write)
    }
}

/// True for files that are on the block device.
fn is_on_device(file: &OpenFile) -> bool {
    let path = file.path.as_ref().filter(|_| file.file.always_ready());
    path.is_some_and(|path| path.mount.fs().is_on_disk())
}

/// A task read `bytes` from an open file: for `/proc/PID/io` and `io.stat`.
pub fn count_read(now: Instant, task: &Task, file: &OpenFile, bytes: u64) {
    task.call_cost.set(task.call_cost.get() + bytes / COPY_RATE);
    let mut io = task.group.io.get();
    io.read_bytes += bytes;
    io.reads += 1;
    if bytes > 0 && is_on_device(file) {
        io.disk_read_bytes += bytes;
        task.delay_until(now, task.cgroup().charge_read(now, bytes));
    }
    task.group.io.set(io);
}

/// A task wrote `bytes` to an open file.
pub fn count_write(now: Instant, task: &Task, file: &OpenFile, bytes: u64) {
    task.call_cost.set(task.call_cost.get() + bytes / COPY_RATE);
    let mut io = task.group.io.get();
    io.written_bytes += bytes;
    io.writes += 1;
    if bytes > 0 && is_on_device(file) {
        io.disk_written_bytes += bytes;
        task.delay_until(now, task.cgroup().charge_write(now, bytes));
    }
    task.group.io.set(io);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_all_levels_hold_on_average() {
        let root = Cgroup::new_root(None);
        let outer = root.create(b"outer", (0, 0)).unwrap();
        let inner = outer.create(b"inner", (0, 0)).unwrap();
        let now = Instant(NANOS_PER_SEC);
        assert_eq!(inner.charge_write(now, 1 << 20), now);
        outer.io.write.bytes_max.set(Some(1 << 20));
        inner.io.write.operations_max.set(Some(10));
        // A mebibyte takes a second, the next one goes on from there; reading is not bound.
        assert_eq!(inner.charge_write(now, 1 << 20), Instant(2 * NANOS_PER_SEC));
        assert_eq!(inner.charge_write(now, 1 << 20), Instant(3 * NANOS_PER_SEC));
        assert_eq!(inner.charge_read(now, 1 << 20), now);
        // Small operations are bound by their number.
        let later = Instant(9 * NANOS_PER_SEC);
        assert_eq!(inner.charge_write(later, 1), later.plus(NANOS_PER_SEC / 10));
        assert_eq!(root.io.write.bytes.get(), (3 << 20) + 1);
        assert_eq!(root.io.read.operations.get(), 1);
    }
}
