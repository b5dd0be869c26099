//! sysfs: the few files of `/sys` that programs read (`sysfs(5)`).
//!
//! One table of paths and texts; directories follow from the paths. What is about interfaces is in `net`.

mod net;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::{Rc, Weak};

use abi::{Errno, Result};
use vfs::inode::{FileSystem, InodeRef, S_IFDIR, S_IFLNK, S_IFREG, StatFs, Timestamp};

use crate::Kernel;
use crate::namespaces::NetNs;
use crate::proc::system::{disk_counts, disk_size};
use crate::pseudo::{Body, Dir, Entry, Maker, NodeCache, ino_of};

/// `SYSFS_MAGIC`.
pub const MAGIC: u64 = 0x6265_6572;

enum What {
    /// An empty directory, or one with entries of its own.
    Dir,
    /// Fixed text.
    Text(&'static str),
    /// Text about the machine.
    Machine(fn(&Kernel) -> String),
    /// A symbolic link.
    Link(&'static str),
}

use What::{Link, Machine, Text};

const FILES: &[(&str, What)] = &[
    ("block/vda", Link("../devices/virtual/block/vda")),
    ("bus", What::Dir),
    ("class/block/vda", Link("../../devices/virtual/block/vda")),
    ("class/net", What::Dir),
    ("class/tty", What::Dir),
    ("dev/block/254:0", Link("../../devices/virtual/block/vda")),
    ("dev/char", What::Dir),
    (
        "devices/system/clocksource/clocksource0/available_clocksource",
        Text("riscv_clocksource\n"),
    ),
    (
        "devices/system/clocksource/clocksource0/current_clocksource",
        Text("riscv_clocksource\n"),
    ),
    ("devices/system/cpu/cpu0/topology/core_cpus", Text("1\n")),
    (
        "devices/system/cpu/cpu0/topology/core_cpus_list",
        Text("0\n"),
    ),
    ("devices/system/cpu/cpu0/topology/core_id", Text("0\n")),
    (
        "devices/system/cpu/cpu0/topology/core_siblings",
        Text("1\n"),
    ),
    (
        "devices/system/cpu/cpu0/topology/core_siblings_list",
        Text("0\n"),
    ),
    (
        "devices/system/cpu/cpu0/topology/physical_package_id",
        Text("0\n"),
    ),
    (
        "devices/system/cpu/cpu0/topology/thread_siblings",
        Text("1\n"),
    ),
    (
        "devices/system/cpu/cpu0/topology/thread_siblings_list",
        Text("0\n"),
    ),
    ("devices/system/cpu/isolated", Text("\n")),
    ("devices/system/cpu/kernel_max", Text("0\n")),
    ("devices/system/cpu/offline", Text("\n")),
    ("devices/system/cpu/online", Text("0\n")),
    ("devices/system/cpu/possible", Text("0\n")),
    ("devices/system/cpu/present", Text("0\n")),
    ("devices/system/node/has_cpu", Text("0\n")),
    ("devices/system/node/has_memory", Text("0\n")),
    ("devices/system/node/node0/cpulist", Text("0\n")),
    ("devices/system/node/node0/cpumap", Text("1\n")),
    ("devices/system/node/node0/distance", Text("10\n")),
    ("devices/system/node/online", Text("0\n")),
    ("devices/system/node/possible", Text("0\n")),
    ("devices/virtual/block/vda/dev", Text("254:0\n")),
    ("devices/virtual/block/vda/queue/rotational", Text("0\n")),
    ("devices/virtual/block/vda/removable", Text("0\n")),
    ("devices/virtual/block/vda/ro", Text("0\n")),
    (
        "devices/virtual/block/vda/size",
        Machine(|k| format!("{}\n", disk_size(k) / 512)),
    ),
    (
        "devices/virtual/block/vda/stat",
        Machine(|k| format!("{}\n", disk_counts(k))),
    ),
    (
        "devices/virtual/block/vda/uevent",
        Text("MAJOR=254\nMINOR=0\nDEVNAME=vda\nDEVTYPE=disk\n"),
    ),
    ("devices/virtual/net", What::Dir),
    ("firmware", What::Dir),
    ("fs/cgroup", What::Dir),
    ("hypervisor", What::Dir),
    ("kernel/mm/hugepages", What::Dir),
    (
        "kernel/mm/transparent_hugepage/defrag",
        Text("always defer defer+madvise madvise [never]\n"),
    ),
    (
        "kernel/mm/transparent_hugepage/enabled",
        Text("always madvise [never]\n"),
    ),
    (
        "kernel/mm/transparent_hugepage/hpage_pmd_size",
        Text("2097152\n"),
    ),
    (
        "kernel/mm/transparent_hugepage/shmem_enabled",
        Text("always within_size advise [never] deny force\n"),
    ),
    ("kernel/security", What::Dir),
    ("module", What::Dir),
    ("power", What::Dir),
];

/// The sysfs of a machine.
pub struct SysFs {
    kernel: Weak<Kernel>,
    cache: Rc<NodeCache>,
    time: Timestamp,
    me: Weak<SysFs>,
}

#[derive(Default)]
struct Mounted(RefCell<Weak<SysFs>>);

impl SysFs {
    /// The sysfs of a machine; the same one as long as it is mounted.
    #[must_use]
    pub fn of(kernel: &Rc<Kernel>) -> Rc<SysFs> {
        let mounted = kernel.extension(Mounted::default);
        let known = mounted.0.borrow().upgrade();
        known.unwrap_or_else(|| {
            let fs = Rc::new_cyclic(|me| SysFs {
                kernel: Rc::downgrade(kernel),
                cache: Rc::default(),
                time: vfs::context::timestamp(&kernel.clock),
                me: me.clone(),
            });
            *mounted.0.borrow_mut() = Rc::downgrade(&fs);
            fs
        })
    }

    fn maker(self: &Rc<Self>) -> Maker {
        let fs: Rc<dyn FileSystem> = self.clone();
        Maker {
            cache: Rc::clone(&self.cache),
            fs,
            owner: (0, 0),
            size: 4096,
            time: self.time,
        }
    }

    /// The network namespace of whoever looks.
    fn net(&self) -> Result<Rc<NetNs>> {
        let kernel = self.kernel.upgrade().ok_or(Errno::ENODEV)?;
        Ok(net::namespace(&kernel))
    }

    fn node(self: &Rc<Self>, path: String) -> Result<InodeRef> {
        let (maker, ino) = (self.maker(), ino_of(path.as_bytes(), 2));
        let ns = self.net()?;
        if let Some(found) = net::node(&ns, &path) {
            return Ok(match found? {
                net::Node::Dir => maker.lasting_dir(ino, 0o755, SysDir::new(self, path)),
                net::Node::Link(target) => maker.link(ino, move || Ok(target.clone().into_bytes())),
                net::Node::File(perm, file) => {
                    let kernel = self.kernel.clone();
                    maker.node(ino, perm, Body::File(Rc::new(net::Shown { kernel, file })))
                }
            });
        }
        let spec = FILES.iter().find(|(known, _)| *known == path);
        match spec.map(|(_, what)| what) {
            Some(Text(text)) => Ok(maker.text(ino, 0o444, *text)),
            Some(Link(target)) => Ok(maker.link(ino, move || Ok(target.as_bytes().to_vec()))),
            Some(&Machine(text)) => {
                let kernel = self.kernel.clone();
                Ok(maker.read_only(ino, 0o444, move || {
                    let kernel = kernel.upgrade().ok_or(Errno::ENODEV)?;
                    Ok(text(&kernel).into_bytes())
                }))
            }
            Some(What::Dir) => Ok(maker.lasting_dir(ino, 0o755, SysDir::new(self, path))),
            None if has_children(&path) => {
                Ok(maker.lasting_dir(ino, 0o755, SysDir::new(self, path)))
            }
            None => Err(Errno::ENOENT),
        }
    }
}

fn below<'p>(path: &'p str, dir: &str) -> Option<&'p str> {
    if dir.is_empty() {
        Some(path)
    } else {
        path.strip_prefix(dir)?.strip_prefix('/')
    }
}

fn has_children(dir: &str) -> bool {
    FILES.iter().any(|(path, _)| below(path, dir).is_some())
}

impl FileSystem for SysFs {
    fn name(&self) -> &'static str {
        "sysfs"
    }

    fn root(&self) -> InodeRef {
        match self.me.upgrade() {
            Some(fs) => fs
                .maker()
                .lasting_dir(1, 0o555, SysDir::new(&fs, String::new())),
            None => unreachable!("a file system that answers is alive"),
        }
    }

    fn statfs(&self) -> StatFs {
        StatFs {
            magic: MAGIC,
            bsize: 4096,
            namelen: 255,
            ..StatFs::default()
        }
    }
}

struct SysDir {
    fs: Rc<SysFs>,
    path: String,
}

impl SysDir {
    fn new(fs: &Rc<SysFs>, path: String) -> SysDir {
        let fs = Rc::clone(fs);
        SysDir { fs, path }
    }

    fn join(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_string()
        } else {
            format!("{}/{name}", self.path)
        }
    }
}

impl Dir for SysDir {
    fn lookup(&self, name: &[u8]) -> Result<InodeRef> {
        let name = std::str::from_utf8(name).map_err(|_| Errno::ENOENT)?;
        self.fs.node(self.join(name))
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let entry = |name: &str, file_type| Entry {
            name: name.as_bytes().to_vec(),
            ino: ino_of(self.join(name).as_bytes(), 2),
            file_type,
        };
        let ns = self.fs.net()?;
        if let Some(found) = net::entries(&ns, &self.path) {
            let found = found?;
            let entries = found.iter().map(|(name, kind)| entry(name, *kind));
            return Ok(entries.collect());
        }
        let names: BTreeSet<&str> = order::set(
            FILES
                .iter()
                .filter_map(|(path, _)| below(path, &self.path))
                .filter_map(|rest| rest.split('/').next()),
        );
        let typed = |name: &str| {
            let path = self.join(name);
            let spec = FILES.iter().find(|(known, _)| *known == path);
            let file_type = match spec.map(|(_, what)| what) {
                Some(Text(_) | Machine(_)) => S_IFREG,
                Some(Link(_)) => S_IFLNK,
                Some(What::Dir) | None => S_IFDIR,
            };
            entry(name, file_type)
        };
        Ok(names.into_iter().map(typed).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_a_tree() {
        for (path, what) in FILES {
            let is_dir = matches!(what, What::Dir);
            assert!(
                is_dir || !has_children(path),
                "{path} is a file with children"
            );
            assert_eq!(
                FILES.iter().filter(|(other, _)| other == path).count(),
                1,
                "{path} twice"
            );
        }
        assert!(has_children("devices/system") && !has_children("devices/sys"));
    }
}
