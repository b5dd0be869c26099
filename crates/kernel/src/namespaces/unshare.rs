//! New namespaces: `clone(2)` with `CLONE_NEW…`, `unshare(2)`; joining others: `setns(2)`.

use std::rc::Rc;

use abi::{Errno, Result};
use vfs::{Capability, Credentials};

use super::nsfs::NsRef;
use super::{
    CLONE_NEW_ALL, CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID,
    CLONE_NEWTIME, CLONE_NEWUSER, CLONE_NEWUTS, CgroupNs, IpcNs, MntNs, Namespaces, NetNs,
    PidNamespace, UserNs,
};
use crate::cgroup::Cgroup;
use crate::kernel::Kernel;
use crate::task::{FsInfo, Task, clone_flags};

/// Who makes namespaces.
pub struct Maker<'a> {
    /// The set that is replaced in part.
    pub from: &'a Namespaces,
    /// Global effective ids: owner of a new user namespace.
    pub euid: u32,
    /// See `euid`.
    pub egid: u32,
    /// Root of a new cgroup namespace.
    pub cgroup: Rc<Cgroup>,
}

impl Kernel {
    /// A set of namespaces with those in `flags` new. Permission has been checked.
    pub fn new_namespaces(&self, maker: &Maker<'_>, flags: u64) -> Result<Namespaces> {
        let from = maker.from;
        let mut new = from.clone();
        if flags & CLONE_NEWUSER != 0 {
            new.user = UserNs::new(&from.user, self.inums.next(), maker.euid, maker.egid)?;
        }
        let owner = || Rc::clone(&new.user);
        let user = owner();
        if flags & CLONE_NEWNS != 0 {
            let (mounts, translate) = from.mnt.mounts.copy_tree();
            new.mnt = MntNs::copied(
                self.inums.next(),
                Rc::clone(&user),
                mounts,
                Box::new(translate),
            );
        }
        if flags & CLONE_NEWUTS != 0 {
            new.uts = Rc::new(from.uts.copy(self.inums.next(), Rc::clone(&user)));
        }
        if flags & CLONE_NEWIPC != 0 {
            new.ipc = Rc::new(IpcNs::new(self.inums.next(), Rc::clone(&user)));
        }
        if flags & CLONE_NEWNET != 0 {
            new.net = Rc::new(NetNs::new(
                self.inums.next(),
                Rc::clone(&user),
                &self.net,
                Some(&self.init_ns.net),
            ));
        }
        if flags & CLONE_NEWCGROUP != 0 {
            let (inum, owner, root) = (
                self.inums.next(),
                Rc::clone(&user),
                Rc::clone(&maker.cgroup),
            );
            new.cgroup = Rc::new(CgroupNs { inum, owner, root });
        }
        if flags & CLONE_NEWPID != 0 {
            // One generation at a time: who has unshared already must fork first.
            if !Rc::ptr_eq(&from.pid, &from.pid_for_children) {
                return Err(Errno::EINVAL);
            }
            let ns = PidNamespace::new_child(&from.pid, self.inums.next())?;
            *ns.owner.borrow_mut() = Some(Rc::clone(&user));
            new.pid_for_children = ns;
        }
        Ok(new)
    }

    /// May `task` make the namespaces in `flags`? A new user namespace needs nothing and gives
    /// everything over the others made with it.
    fn may_unshare(&self, task: &Task, flags: u64) -> Result<()> {
        let needs_admin = flags & CLONE_NEW_ALL & !CLONE_NEWUSER != 0 && flags & CLONE_NEWUSER == 0;
        if needs_admin && !self.capable_in(task, &task.ns().user, Capability::SysAdmin) {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    /// The namespaces of a child made by `clone(2)` with these flags.
    pub(crate) fn namespaces_for_clone(
        &self,
        parent: &Rc<Task>,
        flags: u64,
    ) -> Result<Rc<Namespaces>> {
        let ns = parent.ns();
        if flags & CLONE_NEW_ALL == 0 {
            return Ok(ns);
        }
        self.may_unshare(parent, flags)?;
        let creds = parent.creds();
        let maker = Maker {
            from: &ns,
            euid: creds.euid,
            egid: creds.egid,
            cgroup: parent.cgroup(),
        };
        Ok(Rc::new(self.new_namespaces(&maker, flags)?))
    }

    /// Root and working directory of a child: the same places in its own mount namespace.
    pub(crate) fn fs_for_clone(
        &self,
        parent: &Rc<Task>,
        ns: &Rc<Namespaces>,
        fs: Rc<FsInfo>,
    ) -> Rc<FsInfo> {
        if !Rc::ptr_eq(&parent.ns().mnt, &ns.mnt) {
            ns.mnt.translate(&fs);
        }
        fs
    }

    /// Credentials of a child: all capabilities in a new user namespace.
    pub(crate) fn creds_for_clone(
        &self,
        parent: &Rc<Task>,
        _ns: &Rc<Namespaces>,
        flags: u64,
    ) -> Rc<Credentials> {
        let creds = parent.creds();
        if flags & CLONE_NEWUSER == 0 {
            return creds;
        }
        Rc::new(all_capabilities(&creds))
    }

    /// `unshare(2)`.
    pub fn unshare(&self, task: &Rc<Task>, flags: u64) -> Result<()> {
        let known = CLONE_NEW_ALL
            | clone_flags::FS
            | clone_flags::FILES
            | clone_flags::SYSVSEM
            | clone_flags::THREAD
            | clone_flags::SIGHAND
            | clone_flags::VM;
        if flags & !known != 0 || flags & CLONE_NEWTIME != 0 {
            return Err(Errno::EINVAL);
        }
        let alone = task.group.thread_count() == 1;
        let thread_flags = clone_flags::THREAD | clone_flags::SIGHAND | clone_flags::VM;
        if !alone && flags & (CLONE_NEWUSER | thread_flags) != 0 {
            return Err(Errno::EINVAL);
        }
        self.may_unshare(task, flags)?;
        let (ns, creds) = (task.ns(), task.creds());
        let maker = Maker {
            from: &ns,
            euid: creds.euid,
            egid: creds.egid,
            cgroup: task.cgroup(),
        };
        let new = self.new_namespaces(&maker, flags)?;
        // From here on nothing can fail.
        if flags & (CLONE_NEWNS | CLONE_NEWUSER | clone_flags::FS) != 0 {
            task.set_fs(task.fs().duplicate());
        }
        if flags & CLONE_NEWNS != 0 {
            new.mnt.translate(&task.fs());
        }
        if flags & clone_flags::FILES != 0 {
            task.set_files(Rc::new(task.files().fork()));
        }
        if flags & CLONE_NEWUSER != 0 {
            task.set_creds(all_capabilities(&creds));
        }
        task.set_ns(Rc::new(new));
        Ok(())
    }

    /// `setns(2)` for one namespace.
    pub fn join_namespace(&self, task: &Rc<Task>, target: &NsRef) -> Result<()> {
        let ns = task.ns();
        let mut new = (*ns).clone();
        let admin = |user: &Rc<UserNs>| self.capable_in(task, user, Capability::SysAdmin);
        if let NsRef::User(user) = target {
            return self.join_user(task, &ns, user);
        }
        let owner = target.owner(&self.init_ns.user);
        if !admin(&owner) || !admin(&ns.user) {
            return Err(Errno::EPERM);
        }
        match target {
            NsRef::Mnt(mnt) => {
                if !self.capable_in(task, &ns.user, Capability::SysChroot) {
                    return Err(Errno::EPERM);
                }
                // The task's own reference and ours.
                if Rc::strong_count(&task.fs()) > 2 {
                    return Err(Errno::EINVAL);
                }
                let root = mnt.mounts.root();
                let fs = task.fs();
                *fs.root.borrow_mut() = root.clone();
                *fs.cwd.borrow_mut() = root;
                new.mnt = Rc::clone(mnt);
            }
            NsRef::Pid(pid) => {
                if !ns.pid.contains(pid) {
                    return Err(Errno::EINVAL);
                }
                new.pid_for_children = Rc::clone(pid);
            }
            NsRef::Uts(uts) => new.uts = Rc::clone(uts),
            NsRef::Ipc(ipc) => new.ipc = Rc::clone(ipc),
            NsRef::Net(net) => new.net = Rc::clone(net),
            NsRef::Cgroup(cgroup) => new.cgroup = Rc::clone(cgroup),
            NsRef::User(_) => {}
        }
        task.set_ns(Rc::new(new));
        Ok(())
    }

    fn join_user(&self, task: &Rc<Task>, ns: &Namespaces, user: &Rc<UserNs>) -> Result<()> {
        let shares_fs = Rc::strong_count(&task.fs()) > 2;
        if Rc::ptr_eq(&ns.user, user) || task.group.thread_count() > 1 || shares_fs {
            return Err(Errno::EINVAL);
        }
        if !self.capable_in(task, user, Capability::SysAdmin) {
            return Err(Errno::EPERM);
        }
        task.set_creds(all_capabilities(&task.creds()));
        task.set_ns(Rc::new(Namespaces {
            user: Rc::clone(user),
            ..ns.clone()
        }));
        Ok(())
    }
}

/// What entering a user namespace makes of somebody.
fn all_capabilities(creds: &Credentials) -> Credentials {
    let all = vfs::credentials::ALL_CAPABILITIES;
    Credentials {
        effective: all,
        permitted: all,
        bounding: all,
        inheritable: 0,
        ambient: 0,
        securebits: 0,
        ..creds.clone()
    }
}

/// Who a task is to the file system. Capabilities over files are those of the machine's own user
/// namespace: in another one a task has only what its global ids give it. What stays is CAP_SYS_ADMIN,
/// for mounts of a mount namespace it owns.
#[must_use]
pub fn fs_credentials(task: &Task) -> Rc<Credentials> {
    let (creds, ns) = (task.creds(), task.ns());
    if ns.user.is_initial() {
        return creds;
    }
    let admin = Capability::SysAdmin;
    let mounts = ns
        .mnt
        .owner
        .allows(&ns.user, creds.euid, creds.effective, admin as u32);
    let effective = if mounts { admin.bit() } else { 0 };
    Rc::new(Credentials {
        effective,
        ..(*creds).clone()
    })
}
