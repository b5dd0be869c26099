//! Namespaces: what of the machine a task sees as its own.
//!
//! Reading order: this file (the set a task has, identities), [`user`] (id maps and capabilities
//! relative to an owner), [`pid`] (numbers at every level), [`uts`], [`ipc`], [`net`], [`cgroup`],
//! then [`unshare`] (new namespaces at clone and unshare, `setns`) and [`nsfs`] (their files).
//!
//! Not here: time namespaces (unsharing one is `EINVAL`, as in a kernel built without them).
//!
//! Source: namespaces(7) and the page of each kind.

pub mod cgroup;
pub mod ipc;
pub mod net;
pub mod nsfs;
pub mod pid;
pub mod unshare;
pub mod user;
pub mod uts;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use vfs::mount::MountNamespace;
use vfs::path::Path;

pub use cgroup::CgroupNs;
pub use ipc::IpcNs;
pub use net::{NetListener, NetNs, NetStack};
pub use pid::{Pid, PidNamespace};
pub use user::UserNs;
pub use uts::UtsNs;

use crate::cgroup::Cgroup;
use crate::task::FsInfo;

/// `CLONE_NEWNS`.
pub const CLONE_NEWNS: u64 = 0x0002_0000;
/// `CLONE_NEWCGROUP`.
pub const CLONE_NEWCGROUP: u64 = 0x0200_0000;
/// `CLONE_NEWUTS`.
pub const CLONE_NEWUTS: u64 = 0x0400_0000;
/// `CLONE_NEWIPC`.
pub const CLONE_NEWIPC: u64 = 0x0800_0000;
/// `CLONE_NEWUSER`.
pub const CLONE_NEWUSER: u64 = 0x1000_0000;
/// `CLONE_NEWPID`.
pub const CLONE_NEWPID: u64 = 0x2000_0000;
/// `CLONE_NEWNET`.
pub const CLONE_NEWNET: u64 = 0x4000_0000;
/// `CLONE_NEWTIME`: shares its number with a bit of the exit signal; only `unshare` knows it.
pub const CLONE_NEWTIME: u64 = 0x80;
/// Every kind there is.
pub const CLONE_NEW_ALL: u64 = CLONE_NEWNS
    | CLONE_NEWCGROUP
    | CLONE_NEWUTS
    | CLONE_NEWIPC
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET;

/// `kernel.pid_max` of a new machine.
pub const PID_MAX: u32 = 32_768;

/// Inode number of the first namespace that is not an initial one.
const FIRST_INUM: u64 = 4_026_532_200;

/// Gives out the inode numbers of namespaces (`/proc/PID/ns/*`).
pub struct Inums(Cell<u64>);

impl Default for Inums {
    fn default() -> Inums {
        Inums(Cell::new(FIRST_INUM))
    }
}

impl Inums {
    /// The next number.
    pub fn next(&self) -> u64 {
        let inum = self.0.get();
        self.0.set(inum + 1);
        inum
    }
}

/// A mount namespace with its identity and owner; what it holds is the vfs's business.
pub struct MntNs {
    /// Inode number.
    pub inum: u64,
    /// Who has power over it.
    pub owner: Rc<UserNs>,
    /// The mounts.
    pub mounts: Rc<MountNamespace>,
    /// For a copy: finds the same place in it. Used once, by its first task.
    translate: RefCell<Option<Translate>>,
}

/// Finds a place of one mount namespace in its copy.
type Translate = Box<dyn Fn(&Path) -> Path>;

impl MntNs {
    /// A copy of another namespace.
    #[must_use]
    pub fn copied(
        inum: u64,
        owner: Rc<UserNs>,
        mounts: Rc<MountNamespace>,
        translate: Translate,
    ) -> Rc<MntNs> {
        Rc::new(MntNs {
            inum,
            owner,
            mounts,
            translate: RefCell::new(Some(translate)),
        })
    }

    /// Moves root and working directory of the first task in a copy to the same places there.
    pub fn translate(&self, fs: &FsInfo) {
        let Some(translate) = self.translate.borrow_mut().take() else {
            return;
        };
        let (root, cwd) = (translate(&fs.root()), translate(&fs.cwd()));
        *fs.root.borrow_mut() = root;
        *fs.cwd.borrow_mut() = cwd;
    }
}

/// The namespaces of a task. Never changed in place: a task gets another set.
#[derive(Clone)]
pub struct Namespaces {
    /// Mounts.
    pub mnt: Rc<MntNs>,
    /// Host name.
    pub uts: Rc<UtsNs>,
    /// System V IPC and message queues.
    pub ipc: Rc<IpcNs>,
    /// Process numbers (the namespace the task itself is in).
    pub pid: Rc<PidNamespace>,
    /// The pid namespace of future children: differs after `unshare(CLONE_NEWPID)` and `setns`.
    pub pid_for_children: Rc<PidNamespace>,
    /// Network.
    pub net: Rc<NetNs>,
    /// Ids and capabilities.
    pub user: Rc<UserNs>,
    /// Root of the cgroup tree as seen.
    pub cgroup: Rc<CgroupNs>,
}

impl Namespaces {
    /// The initial namespaces of a machine.
    #[must_use]
    pub fn initial(
        mounts: Rc<MountNamespace>,
        cgroup_root: &Rc<Cgroup>,
        hostname: &[u8],
        stack: &Rc<NetStack>,
    ) -> Namespaces {
        let user = UserNs::initial();
        let pid = PidNamespace::new_root(4_026_531_836, PID_MAX);
        *pid.owner.borrow_mut() = Some(Rc::clone(&user));
        Namespaces {
            mnt: Rc::new(MntNs {
                inum: 4_026_531_841,
                owner: Rc::clone(&user),
                mounts,
                translate: RefCell::new(None),
            }),
            uts: Rc::new(UtsNs::new(
                4_026_531_838,
                Rc::clone(&user),
                hostname,
                b"(none)",
            )),
            ipc: Rc::new(IpcNs::new(4_026_531_839, Rc::clone(&user))),
            pid: Rc::clone(&pid),
            pid_for_children: pid,
            net: Rc::new(NetNs::new(4_026_531_840, Rc::clone(&user), stack, None)),
            cgroup: Rc::new(CgroupNs {
                inum: 4_026_531_835,
                owner: Rc::clone(&user),
                root: Rc::clone(cgroup_root),
            }),
            user,
        }
    }
}
