//! The machine's `/dev`: a tmpfs with the device files of a Linux host in it (`devtmpfs`). All mounts show
//! the same tree.

use std::cell::RefCell;
use std::rc::Rc;

use abi::Result;
use vfs::inode::{FileSystem, InodeRef, NewNode, S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, StatFs};
use vfs::mountinfo::makedev;
use vfs::tmpfs::{Tmpfs, TmpfsOptions};

use crate::kernel::Kernel;

/// Name, mode, group, major and minor number.
const NODES: &[(&str, u32, u32, u64, u64)] = &[
    ("null", 0o666, 0, 1, 3),
    ("zero", 0o666, 0, 1, 5),
    ("full", 0o666, 0, 1, 7),
    ("random", 0o666, 0, 1, 8),
    ("urandom", 0o666, 0, 1, 9),
    ("kmsg", 0o644, 0, 1, 11),
    ("tty", 0o666, 5, 5, 0),
    ("console", 0o600, 5, 5, 1),
    ("ptmx", 0o666, 5, 5, 2),
    ("tty0", 0o620, 5, 4, 0),
    ("tty1", 0o620, 5, 4, 1),
];

/// Debian's group `disk`.
const DISK_GROUP: u32 = 6;

/// Directories to mount on.
const DIRECTORIES: &[&str] = &["pts", "shm", "mqueue"];

/// Name and target.
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
];

/// A tmpfs that says it is a devtmpfs.
struct DevTmpfs(Rc<Tmpfs>);

impl FileSystem for DevTmpfs {
    fn name(&self) -> &'static str {
        "devtmpfs"
    }

    fn root(&self) -> InodeRef {
        self.0.root()
    }

    fn statfs(&self) -> StatFs {
        self.0.statfs()
    }

    fn show_options(&self) -> String {
        self.0.show_options()
    }

    fn remount(&self, data: &[u8]) -> Result<()> {
        self.0.remount(data)
    }
}

/// The one instance of a machine.
#[derive(Default)]
struct Instance(RefCell<Option<Rc<DevTmpfs>>>);

/// Registers the type.
pub(super) fn register(k: &Rc<Kernel>) {
    let instance = Rc::new(Instance::default());
    let options = TmpfsOptions::in_memory(&k.payer, k.config.memory);
    k.registry.register("devtmpfs", move |request| {
        let known = instance.0.borrow().clone();
        let fs = match known {
            Some(fs) => fs,
            None => {
                let fs = Rc::new(DevTmpfs(populated(request.context.clock, options.clone())?));
                *instance.0.borrow_mut() = Some(Rc::clone(&fs));
                fs
            }
        };
        Ok(fs as Rc<dyn FileSystem>)
    });
}

/// A tmpfs with everything that belongs into `/dev`.
pub fn populated(clock: &clock::Clock, options: TmpfsOptions) -> Result<Rc<Tmpfs>> {
    let fs = Tmpfs::new(
        clock,
        TmpfsOptions {
            mode: 0o755,
            ..options
        },
    );
    let root = fs.root();
    let plain = NewNode {
        mode: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        target: b"",
    };
    for &(name, mode, gid, major, minor) in NODES {
        let node = NewNode {
            mode: S_IFCHR | mode,
            gid,
            rdev: makedev(major, minor),
            ..plain.clone()
        };
        root.create(name.as_bytes(), &node)?;
    }
    let (major, minor) = crate::cgroup::io::DEVICE;
    let disk = NewNode {
        mode: S_IFBLK | 0o660,
        gid: DISK_GROUP,
        rdev: makedev(major.into(), minor.into()),
        ..plain.clone()
    };
    root.create(crate::cgroup::io::DEVICE_NAME.as_bytes(), &disk)?;
    for name in DIRECTORIES {
        root.create(
            name.as_bytes(),
            &NewNode {
                mode: S_IFDIR | 0o755,
                ..plain.clone()
            },
        )?;
    }
    for (name, target) in LINKS {
        let node = NewNode {
            mode: S_IFLNK | 0o777,
            target: target.as_bytes(),
            ..plain.clone()
        };
        root.create(name.as_bytes(), &node)?;
    }
    Ok(fs)
}
