//! How many of everything a machine has. When what was started has ended and what was made is removed, the
//! counts are as before; crate `sim` holds the machine to that.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use mem::Kind;

use crate::kernel::Kernel;

/// Counts by name. Names ending in `bytes` are sizes.
pub type Census = BTreeMap<&'static str, u64>;

/// Kinds of memory, as [`Kernel::census`] names them.
const MEMORY: [(Kind, &str); 7] = [
    (Kind::Anon, "anonymous bytes"),
    (Kind::Shmem, "shared bytes"),
    (Kind::PageTables, "page table bytes"),
    (Kind::KernelStack, "kernel stack bytes"),
    (Kind::Slab, "slab bytes"),
    (Kind::Sock, "socket bytes"),
    (Kind::Kernel, "kernel bytes"),
];

impl Kernel {
    /// Counts everything.
    #[must_use]
    pub fn census(self: &Rc<Self>) -> Census {
        let mut census = Census::from_iter(self.net.read(net::Network::census));
        let tasks: Vec<_> = self.tasks.borrow().values().cloned().collect();
        let mut files = BTreeSet::new();
        let (mut descriptors, mut tables) = (0, BTreeSet::new());
        for task in &tasks {
            let table = task.files();
            if tables.insert(Rc::as_ptr(&table).cast::<()>()) {
                for (_, entry) in table.list() {
                    descriptors += 1;
                    files.insert(Rc::as_ptr(&entry.file).cast::<()>());
                }
            }
        }
        let account = &self.cgroup_root.memory.account;
        let disk = self.config.disk.as_ref();
        let (mounts, file_systems) = self.init_ns.mnt.mounts.table().living();
        census.extend([
            ("tasks", tasks.len() as u64),
            ("processes", self.init_ns.pid.processes().len() as u64),
            ("descriptors", descriptors),
            ("open files", files.len() as u64),
            ("mounts", mounts as u64),
            ("file systems", file_systems as u64),
            ("cgroups", self.cgroup_root.descendant_count()),
            ("futexes waited for", self.futexes.len() as u64),
            ("daemons' tasks", self.executor.task_count() as u64),
            ("memory bytes", account.current()),
            ("disk bytes", disk.map_or(0, |disk| disk.current())),
            ("decoded code bytes", self.mm_common.code().bytes() as u64),
            ("instructions", self.instructions.get()),
        ]);
        census.extend(MEMORY.map(|(kind, name)| (name, account.of_kind(kind))));
        census
    }
}
