//! The io controller: bytes and operations on the machine's one block device, where the file systems of
//! containers (overlay) are said to be. Memory file systems and streams do not count.

use std::cell::Cell;

use vfs::file::OpenFile;

use super::Cgroup;
use crate::task::Task;

/// Device number shown in `io.stat`: the first virtio disk.
pub const DEVICE: (u32, u32) = (254, 0);

/// Bytes that are copied in the time of an instruction.
const COPY_RATE: u64 = 16;

/// State of the io controller of one cgroup.
#[derive(Default)]
pub struct Io {
    /// Bytes read.
    pub read_bytes: Cell<u64>,
    /// Bytes written.
    pub written_bytes: Cell<u64>,
    /// Read operations.
    pub reads: Cell<u64>,
    /// Write operations.
    pub writes: Cell<u64>,
}

impl Cgroup {
    /// A task of this cgroup read from a file that is not in memory by nature.
    pub fn charge_read(&self, bytes: u64) {
        self.for_each_up(|cgroup| {
            let io = &cgroup.io;
            io.read_bytes.set(io.read_bytes.get() + bytes);
            io.reads.set(io.reads.get() + 1);
        });
    }

    /// A task of this cgroup wrote to such a file.
    pub fn charge_write(&self, bytes: u64) {
        self.for_each_up(|cgroup| {
            let io = &cgroup.io;
            io.written_bytes.set(io.written_bytes.get() + bytes);
            io.writes.set(io.writes.get() + 1);
        });
    }
}

/// True for files that are on the block device.
fn is_on_device(file: &OpenFile) -> bool {
    let path = file.path.as_ref().filter(|_| file.file.always_ready());
    path.is_some_and(|path| path.mount.fs().name() == "overlay")
}

/// A task read `bytes` from an open file: for `/proc/PID/io` and `io.stat`.
pub fn count_read(task: &Task, file: &OpenFile, bytes: u64) {
    task.call_cost.set(task.call_cost.get() + bytes / COPY_RATE);
    let mut io = task.group.io.get();
    io.read_bytes += bytes;
    io.reads += 1;
    task.group.io.set(io);
    if bytes > 0 && is_on_device(file) {
        task.cgroup().charge_read(bytes);
    }
}

/// A task wrote `bytes` to an open file.
pub fn count_write(task: &Task, file: &OpenFile, bytes: u64) {
    task.call_cost.set(task.call_cost.get() + bytes / COPY_RATE);
    let mut io = task.group.io.get();
    io.written_bytes += bytes;
    io.writes += 1;
    task.group.io.set(io);
    if bytes > 0 && is_on_device(file) {
        task.cgroup().charge_write(bytes);
    }
}
