//! The verbs of the seam about tasks.

use std::rc::Rc;
use std::task::{Poll, Waker};

use abi::signal::{SIGNAL_MAX, SigInfo, si};
use os::{CloneSpec, Errno, ExitStatus, NamespaceKind, Result, TaskId};

use super::KernelOs;
use crate::fd::NR_OPEN;
use crate::kernel::Kernel;
use crate::namespaces::unshare::Maker;
use crate::namespaces::{CLONE_NEWNS, MntNs, Namespaces};
use crate::task::{
    ExecRequest, FsInfo, NewTask, RLIM_NLIMITS, RLIMIT_NOFILE, Rlimit, Task, TaskState, WaitStatus,
};
use crate::tty::PtySlave;
use vfs::path::Path;

impl KernelOs {
    pub(super) fn make_task(&self, spec: &CloneSpec) -> Result<TaskId> {
        let kernel = &self.kernel;
        let parent = match spec.parent {
            Some(id) => Some(Rc::clone(&self.task(id)?.group)),
            None => None,
        };
        let cgroup = kernel.cgroup_root.find(spec.cgroup.as_bytes())?;
        let mut fs = FsInfo::new(kernel.init_ns.mnt.mounts.root());
        let mut base = (*kernel.init_ns).clone();
        for &(kind, id) in &spec.join {
            self.join(&mut base, &mut fs, kind, &*self.task(id)?);
        }
        let maker = Maker {
            from: &base,
            euid: 0,
            egid: 0,
            cgroup: Rc::clone(&cgroup),
        };
        let flags = u64::from(spec.new.0);
        let ns = kernel.new_namespaces(&maker, flags)?;
        if flags & CLONE_NEWNS != 0 {
            ns.mnt.translate(&fs);
        }
        let task = kernel.new_task(NewTask {
            parent,
            ns: Some(Rc::new(ns)),
            fs: Some(fs),
            cgroup: Some(cgroup),
            new_session: true,
            ..NewTask::named(&spec.name)
        })?;
        task.group.claimed.set(true);
        self.children
            .borrow_mut()
            .insert(task.tid(), Rc::clone(&task.group));
        Ok(TaskId(task.tid()))
    }

    fn join(&self, base: &mut Namespaces, fs: &mut Rc<FsInfo>, kind: NamespaceKind, other: &Task) {
        let theirs = other.ns();
        match kind {
            NamespaceKind::Mount => {
                base.mnt = Rc::clone(&theirs.mnt);
                *fs = FsInfo::new(other.fs().root());
            }
            NamespaceKind::Pid => {
                base.pid_for_children = Rc::clone(&theirs.pid);
                // New namespaces are made below the one joined.
                base.pid = Rc::clone(&theirs.pid);
            }
            NamespaceKind::Uts => base.uts = Rc::clone(&theirs.uts),
            NamespaceKind::Ipc => base.ipc = Rc::clone(&theirs.ipc),
            NamespaceKind::Net => base.net = Rc::clone(&theirs.net),
            NamespaceKind::User => base.user = Rc::clone(&theirs.user),
            NamespaceKind::Cgroup => base.cgroup = Rc::clone(&theirs.cgroup),
        }
    }

    /// The task, which has no program yet.
    fn embryo(&self, id: TaskId) -> Result<Rc<Task>> {
        let task = self.task(id)?;
        if task.state() == TaskState::New {
            Ok(task)
        } else {
            Err(Errno::EBUSY)
        }
    }

    pub(super) fn take_terminal(&self, id: TaskId, fd: u32) -> Result<()> {
        let task = self.embryo(id)?;
        let file = task
            .files()
            .get(i32::try_from(fd).map_err(|_| Errno::EBADF)?)?;
        let slave = file
            .file
            .as_any()
            .downcast_ref::<PtySlave>()
            .ok_or(Errno::ENOTTY)?;
        let session = task.group.session();
        if !task.group.is_session_leader() || session.terminal.borrow().is_some() {
            return Err(Errno::EPERM);
        }
        // As root with TIOCSCTTY and 1: it is taken away from another session.
        slave.tty().detach();
        slave.tty().attach(&session, &task.group.process_group());
        Ok(())
    }

    pub(super) fn become_user(&self, id: TaskId, wanted: &os::Credentials) -> Result<()> {
        let task = self.embryo(id)?;
        task.set_creds(vfs::Credentials {
            uid: wanted.uid,
            euid: wanted.uid,
            suid: wanted.uid,
            fsuid: wanted.uid,
            gid: wanted.gid,
            egid: wanted.gid,
            sgid: wanted.gid,
            fsgid: wanted.gid,
            groups: wanted.groups.clone(),
            effective: wanted.effective,
            permitted: wanted.permitted,
            inheritable: wanted.inheritable,
            bounding: wanted.bounding,
            ambient: wanted.ambient,
            no_new_privs: wanted.no_new_privs,
            securebits: 0,
        });
        Ok(())
    }

    pub(super) fn filter_calls(&self, id: TaskId, filter: &[os::FilterInstruction]) -> Result<()> {
        let instructions = filter.iter().map(|one| net::bpf::Instruction {
            code: one.code,
            yes: one.yes,
            no: one.no,
            k: one.k,
        });
        self.embryo(id)?.add_seccomp(instructions.collect())
    }

    pub(super) fn limit(&self, id: TaskId, resource: u32, soft: u64, hard: u64) -> Result<()> {
        let task = self.task(id)?;
        let resource = resource as usize;
        if resource >= RLIM_NLIMITS || soft > hard {
            return Err(Errno::EINVAL);
        }
        if resource == RLIMIT_NOFILE && hard > NR_OPEN {
            return Err(Errno::EPERM);
        }
        task.group.limits.set(resource, Rlimit { soft, hard });
        Ok(())
    }

    pub(super) fn execute(
        &self,
        id: TaskId,
        path: &[u8],
        argv: &[Vec<u8>],
        envp: &[Vec<u8>],
    ) -> Result<()> {
        let task = self.embryo(id)?;
        let found = self
            .kernel
            .with_fs(&task, |fs| fs.resolve(None, path, true))?;
        let request = ExecRequest {
            path: found,
            name: path,
            argv: argv.to_vec(),
            envp,
        };
        self.kernel.exec_task(&task, request)
    }

    pub(super) fn signal(&self, id: TaskId, signal: u32) -> Result<()> {
        let task = self.kernel.task(id.0).ok_or(Errno::ESRCH)?;
        if signal > SIGNAL_MAX {
            return Err(Errno::EINVAL);
        }
        if signal == 0 || task.group.is_zombie() {
            return Ok(());
        }
        // Pid 0: the sender is outside of the receiver's namespace, or the kernel.
        self.kernel
            .signal_process(&task.group, SigInfo::user(signal, si::USER, 0, 0))
    }

    pub(super) fn wait_for(&self, id: TaskId, waker: &Waker) -> Poll<Result<ExitStatus>> {
        let group = self.children.borrow().get(&id.0).cloned();
        let Some(group) = group else {
            return Poll::Ready(Err(Errno::ECHILD));
        };
        match self.kernel.wait_claimed(&group) {
            Some(status) => {
                self.children.borrow_mut().remove(&id.0);
                Poll::Ready(Ok(exit_status(status)))
            }
            None => {
                group.state_wait.register(waker);
                Poll::Pending
            }
        }
    }
}

fn exit_status(status: WaitStatus) -> ExitStatus {
    match status {
        WaitStatus::Exited(code) => ExitStatus::Exited(code),
        WaitStatus::Signaled { signal, .. } => ExitStatus::Signaled(signal),
    }
}

impl Kernel {
    /// After `pivot_root(2)`: every task of the namespace whose root or working directory was the old root
    /// gets the new one.
    pub(crate) fn root_was_pivoted(&self, ns: &Rc<MntNs>, old: &Path, new: &Path) {
        let tasks: Vec<Rc<Task>> = self.tasks.borrow().values().cloned().collect();
        for task in tasks.iter().filter(|task| Rc::ptr_eq(&task.ns().mnt, ns)) {
            let fs = task.fs();
            for place in [&fs.root, &fs.cwd] {
                if *place.borrow() == *old {
                    let before = place.replace(new.clone());
                    drop(before);
                }
            }
        }
    }
}
