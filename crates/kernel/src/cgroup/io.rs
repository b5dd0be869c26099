//! The io controller: bytes and operations on the machine's one block device.

use std::cell::Cell;

use super::Cgroup;

/// Device number shown in `io.stat`: the first virtio disk.
pub const DEVICE: (u32, u32) = (254, 0);

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
