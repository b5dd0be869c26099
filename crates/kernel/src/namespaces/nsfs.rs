//! Namespaces as files: what `/proc/PID/ns/*` leads to and `setns(2)` takes (`namespaces(7)`,
//! `ioctl_ns(2)`).

use std::any::Any;
use std::rc::{Rc, Weak};

use abi::{Errno, Result};
use vfs::file::{File, OpenFile, OpenFlags, UserMemory};
use vfs::inode::{Attr, FileSystem, Inode, InodeRef, S_IFREG, StatFs};
use vfs::mount::{MountFlags, MountTable};
use vfs::mountinfo::makedev;
use vfs::path::Path;

use super::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER,
    CLONE_NEWUTS, CgroupNs, IpcNs, MntNs, Namespaces, NetNs, PidNamespace, UserNs, UtsNs,
};
use crate::kernel::Kernel;
use crate::task::Task;

/// `NSFS_MAGIC`.
pub const MAGIC: u64 = 0x6e73_6673;

const NS_GET_USERNS: u32 = 0xb701;
const NS_GET_PARENT: u32 = 0xb702;
const NS_GET_NSTYPE: u32 = 0xb703;
const NS_GET_OWNER_UID: u32 = 0xb704;

/// A namespace of any kind.
#[derive(Clone)]
pub enum NsRef {
    /// Mounts.
    Mnt(Rc<MntNs>),
    /// Host name.
    Uts(Rc<UtsNs>),
    /// System V IPC.
    Ipc(Rc<IpcNs>),
    /// Process numbers.
    Pid(Rc<PidNamespace>),
    /// Network.
    Net(Rc<NetNs>),
    /// Ids.
    User(Rc<UserNs>),
    /// Cgroup root.
    Cgroup(Rc<CgroupNs>),
}

/// The files of `/proc/PID/ns`.
pub const NAMES: [&str; 8] = [
    "cgroup",
    "ipc",
    "mnt",
    "net",
    "pid",
    "pid_for_children",
    "user",
    "uts",
];

impl NsRef {
    /// The namespace behind a file of `/proc/PID/ns`.
    #[must_use]
    pub fn of(ns: &Namespaces, name: &str) -> Option<NsRef> {
        Some(match name {
            "cgroup" => NsRef::Cgroup(Rc::clone(&ns.cgroup)),
            "ipc" => NsRef::Ipc(Rc::clone(&ns.ipc)),
            "mnt" => NsRef::Mnt(Rc::clone(&ns.mnt)),
            "net" => NsRef::Net(Rc::clone(&ns.net)),
            "pid" => NsRef::Pid(Rc::clone(&ns.pid)),
            "pid_for_children" => NsRef::Pid(Rc::clone(&ns.pid_for_children)),
            "user" => NsRef::User(Rc::clone(&ns.user)),
            "uts" => NsRef::Uts(Rc::clone(&ns.uts)),
            _ => return None,
        })
    }

    /// Its inode number.
    #[must_use]
    pub fn inum(&self) -> u64 {
        match self {
            NsRef::Mnt(ns) => ns.inum,
            NsRef::Uts(ns) => ns.inum,
            NsRef::Ipc(ns) => ns.inum,
            NsRef::Pid(ns) => ns.inode,
            NsRef::Net(ns) => ns.inum,
            NsRef::User(ns) => ns.inum,
            NsRef::Cgroup(ns) => ns.inum,
        }
    }

    /// The word in `mnt:[4026531841]`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            NsRef::Mnt(_) => "mnt",
            NsRef::Uts(_) => "uts",
            NsRef::Ipc(_) => "ipc",
            NsRef::Pid(_) => "pid",
            NsRef::Net(_) => "net",
            NsRef::User(_) => "user",
            NsRef::Cgroup(_) => "cgroup",
        }
    }

    /// Its `CLONE_NEW…` flag.
    #[must_use]
    pub fn flag(&self) -> u64 {
        match self {
            NsRef::Mnt(_) => CLONE_NEWNS,
            NsRef::Uts(_) => CLONE_NEWUTS,
            NsRef::Ipc(_) => CLONE_NEWIPC,
            NsRef::Pid(_) => CLONE_NEWPID,
            NsRef::Net(_) => CLONE_NEWNET,
            NsRef::User(_) => CLONE_NEWUSER,
            NsRef::Cgroup(_) => CLONE_NEWCGROUP,
        }
    }

    /// The user namespace with power over it. `initial` owns what is as old as the machine.
    #[must_use]
    pub fn owner(&self, initial: &Rc<UserNs>) -> Rc<UserNs> {
        match self {
            NsRef::Mnt(ns) => Rc::clone(&ns.owner),
            NsRef::Uts(ns) => Rc::clone(&ns.owner),
            NsRef::Ipc(ns) => Rc::clone(&ns.owner),
            NsRef::Pid(ns) => ns
                .owner
                .borrow()
                .clone()
                .unwrap_or_else(|| Rc::clone(initial)),
            NsRef::Net(ns) => Rc::clone(&ns.owner),
            NsRef::User(ns) => ns.parent.clone().unwrap_or_else(|| Rc::clone(ns)),
            NsRef::Cgroup(ns) => Rc::clone(&ns.owner),
        }
    }

    /// What `readlink` shows.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}:[{}]", self.kind(), self.inum())
    }

    /// A path to its file, in a mount that hangs nowhere.
    #[must_use]
    pub fn path(&self, table: &Rc<MountTable>) -> Path {
        let fs = Rc::new_cyclic(|me| NsFs {
            ns: self.clone(),
            me: me.clone(),
        });
        let fs: Rc<dyn FileSystem> = fs;
        table.mount(&fs, b"nsfs", MountFlags::empty()).root_path()
    }
}

/// A file system with one file.
struct NsFs {
    ns: NsRef,
    me: Weak<NsFs>,
}

impl FileSystem for NsFs {
    fn name(&self) -> &'static str {
        "nsfs"
    }

    /// All namespaces are on one device: programs compare device and inode number.
    fn device(&self) -> u64 {
        makedev(0, 4)
    }

    fn root(&self) -> InodeRef {
        match self.me.upgrade() {
            Some(fs) => Rc::new(NsInode(fs)),
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

struct NsInode(Rc<NsFs>);

impl Inode for NsInode {
    fn fs(&self) -> Rc<dyn FileSystem> {
        self.0.clone()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<Attr> {
        Ok(Attr {
            ino: self.0.ns.inum(),
            mode: S_IFREG | 0o444,
            nlink: 1,
            blksize: 4096,
            ..Attr::default()
        })
    }

    fn open(self: Rc<Self>, flags: OpenFlags) -> Result<Rc<dyn File>> {
        if flags.writable() {
            return Err(Errno::EPERM);
        }
        Ok(Rc::new(NsFile(self.0.ns.clone())))
    }
}

/// An open namespace file.
pub struct NsFile(pub NsRef);

/// The `ioctl_ns(2)` requests that give a descriptor: the owning user namespace and the parent of a pid or
/// user namespace. `None` for other requests, which the file answers itself. Namespaces above the caller's
/// are not shown (`EPERM`).
pub fn ioctl(kernel: &Kernel, task: &Task, file: &NsFile, request: u32) -> Option<Result<u64>> {
    let found = match request {
        NS_GET_USERNS => visible_user(task, Some(file.0.owner(&kernel.init_ns.user))),
        NS_GET_PARENT => match &file.0 {
            NsRef::User(ns) => visible_user(task, ns.parent.clone()),
            NsRef::Pid(ns) => {
                let parent = ns
                    .parent
                    .clone()
                    .filter(|parent| task.ns().pid.contains(parent));
                parent.map(NsRef::Pid).ok_or(Errno::EPERM)
            }
            _ => Err(Errno::EINVAL),
        },
        _ => return None,
    };
    Some(found.and_then(|ns| {
        let path = ns.path(kernel.init_ns.mnt.mounts.table());
        let file = OpenFile::new(Rc::new(NsFile(ns)), Some(path), OpenFlags::empty());
        task.files()
            .insert(file, true, task.nofile())
            .map(|fd| fd as u64)
    }))
}

fn visible_user(task: &Task, ns: Option<Rc<UserNs>>) -> Result<NsRef> {
    let ns = ns.filter(|ns| ns.descends_from(&task.ns().user));
    ns.map(NsRef::User).ok_or(Errno::EPERM)
}

impl File for NsFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn always_ready(&self) -> bool {
        true
    }

    fn ioctl(&self, request: u32, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
        match request {
            NS_GET_NSTYPE => Ok(self.0.flag()),
            NS_GET_OWNER_UID => match &self.0 {
                NsRef::User(ns) => {
                    memory.write(argument, &ns.owner_uid.to_le_bytes())?;
                    Ok(0)
                }
                _ => Err(Errno::EINVAL),
            },
            _ => Err(Errno::ENOTTY),
        }
    }

    fn anonymous_name(&self) -> Option<String> {
        Some(self.0.text())
    }
}
