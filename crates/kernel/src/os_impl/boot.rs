//! What a machine mounts when it starts.

use std::rc::Rc;

use abi::{Errno, Result};
use vfs::FsContext;
use vfs::inode::FileSystem;
use vfs::mount::MountFlags;
use vfs::tmpfs::TmpfsOptions;

use crate::cgroup::fs::CgroupFs;
use crate::kernel::Kernel;
use crate::proc::ProcFs;

/// Target, type, flags and options, in the order they are mounted.
const MOUNTS: &[(&str, &str, MountFlags, &str)] = &[
    ("/proc", "proc", SAFE, ""),
    ("/sys", "sysfs", SAFE, ""),
    ("/sys/fs/cgroup", "cgroup2", SAFE, ""),
    ("/dev", "devtmpfs", MountFlags::NOSUID, "mode=755"),
    (
        "/dev/pts",
        "devpts",
        MountFlags::NOSUID.union(MountFlags::NOEXEC),
        "gid=5,mode=620,ptmxmode=666",
    ),
    (
        "/dev/shm",
        "tmpfs",
        MountFlags::NOSUID.union(MountFlags::NODEV),
        "mode=1777",
    ),
    (
        "/run",
        "tmpfs",
        MountFlags::NOSUID.union(MountFlags::NODEV),
        "mode=755",
    ),
    (
        "/tmp",
        "tmpfs",
        MountFlags::NOSUID.union(MountFlags::NODEV),
        "mode=1777",
    ),
];

const SAFE: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

/// The type of a file system on the machine's disk. It looks as a tmpfs does; where a machine has no disk it
/// is one.
pub const DISK: &str = "diskfs";

/// Registers the file system types of this part of the kernel.
pub fn register(kernel: &Rc<Kernel>) {
    let weak = Rc::downgrade(kernel);
    let get = move || weak.upgrade().ok_or(Errno::ENODEV);
    let kernel_of = get.clone();
    kernel.registry.register("proc", move |_| {
        let kernel = kernel_of()?;
        let ns = kernel
            .current()
            .map_or_else(|| Rc::clone(&kernel.init_ns), |task| task.ns());
        Ok(ProcFs::of(&kernel, &ns.pid) as Rc<dyn FileSystem>)
    });
    let kernel_of = get.clone();
    kernel.registry.register("cgroup2", move |_| {
        let kernel = kernel_of()?;
        let ns = kernel
            .current()
            .map_or_else(|| Rc::clone(&kernel.init_ns), |task| task.ns());
        Ok(CgroupFs::of(&kernel, &ns.cgroup.root) as Rc<dyn FileSystem>)
    });
    let in_memory = TmpfsOptions::in_memory(&kernel.payer, kernel.config.memory);
    let options = in_memory.clone();
    kernel.registry.register("mqueue", move |request| {
        let options = options.clone();
        let queues = vfs::tmpfs::Tmpfs::new(request.context.clock, options);
        Ok(Rc::new(MessageQueues(queues)) as Rc<dyn FileSystem>)
    });
    let on_disk = kernel.config.disk.as_ref().map(TmpfsOptions::on_disk);
    let kinds = [
        ("tmpfs", in_memory.clone()),
        ("ramfs", in_memory.clone()),
        (DISK, on_disk.unwrap_or(in_memory)),
    ];
    for (fstype, options) in kinds {
        kernel.registry.register(fstype, move |request| {
            vfs::tmpfs::mount_with(request, options.clone())
        });
    }
    kernel.registry.register("sysfs", move |_| {
        Ok(crate::sys::SysFs::of(&get()?) as Rc<dyn FileSystem>)
    });
}

/// Mounts what every machine has over its root file system and switches the cgroup controllers on.
/// Mount points that are missing are made.
pub fn mount_standard(kernel: &Rc<Kernel>) -> Result<()> {
    for &(target, fstype, flags, options) in MOUNTS {
        kernel.with_host_fs(|fs| {
            make_directory(fs, target)?;
            let source = if fstype == "devtmpfs" { "udev" } else { fstype };
            fs.mount(
                source.as_bytes(),
                target.as_bytes(),
                fstype.as_bytes(),
                flags,
                options.as_bytes(),
                &kernel.registry,
            )
        })?;
    }
    kernel
        .cgroup_root
        .write_subtree_control("+cpuset +cpu +io +memory +pids")
}

fn make_directory(fs: &FsContext<'_>, path: &str) -> Result<()> {
    match fs.mkdir(None, path.as_bytes(), 0o755) {
        Err(Errno::EEXIST) => Ok(()),
        other => other.map(drop),
    }
}

/// The file system of POSIX message queues. There are none (`mq_open` is not there), so it stays empty.
struct MessageQueues(Rc<vfs::tmpfs::Tmpfs>);

impl FileSystem for MessageQueues {
    fn name(&self) -> &'static str {
        "mqueue"
    }

    fn root(&self) -> vfs::inode::InodeRef {
        self.0.root()
    }

    fn statfs(&self) -> vfs::inode::StatFs {
        vfs::inode::StatFs {
            magic: 0x1980_0202,
            ..self.0.statfs()
        }
    }
}
