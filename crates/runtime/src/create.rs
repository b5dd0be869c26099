//! `create`: a task in its namespaces, cgroup and root, with everything but its program.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use os::{CloneSpec, NamespaceFlags, NamespaceKind, Os, OsExt, TaskId, View};

use crate::error::Doing;
use crate::process::{self, Connected, DaemonEnds, Stdio};
use crate::{Container, Mount, RuntimeError, Spec, Status, cgroup, rootfs};

/// The name `ps` shows until the program runs, as with runc.
pub(crate) const INIT_NAME: &str = "runc:[2:INIT]";

/// Creates a container. On an error nothing is left of it.
pub async fn create(
    os: &Rc<dyn Os>,
    spec: &Spec,
    stdio: Stdio,
) -> Result<(Container, DaemonEnds), RuntimeError> {
    check_sysctls(spec)?;
    cgroup::create(os, &spec.cgroup)?;
    let outcome = create_in_cgroup(os, spec, stdio).await;
    if outcome.is_err() {
        cgroup::remove(os, &spec.cgroup);
    }
    outcome
}

/// Kernel parameters are for those who have the namespace they belong to.
fn check_sysctls(spec: &Spec) -> Result<(), RuntimeError> {
    let shares_host = |kind| {
        !spec
            .namespaces
            .iter()
            .any(|namespace| namespace.kind == kind)
    };
    for name in spec.sysctl.keys() {
        let refused = |why: &str| Err(RuntimeError::Invalid(format!("sysctl \"{name}\" {why}")));
        if name.starts_with("net.") {
            if shares_host(NamespaceKind::Net) {
                return refused("not allowed in host network namespace");
            }
        } else if name == "kernel.domainname" {
            if shares_host(NamespaceKind::Uts) {
                return refused("is not in a separate kernel namespace");
            }
        } else if name.starts_with("kernel.") || name.starts_with("fs.mqueue.") {
            if shares_host(NamespaceKind::Ipc) {
                return refused("is not allowed in the hosts ipc namespace");
            }
        } else {
            return refused("is not in a separate kernel namespace");
        }
    }
    Ok(())
}

async fn create_in_cgroup(
    os: &Rc<dyn Os>,
    spec: &Spec,
    stdio: Stdio,
) -> Result<(Container, DaemonEnds), RuntimeError> {
    cgroup::apply(os, &spec.cgroup, &spec.resources)?;
    let mut clone = CloneSpec {
        name: INIT_NAME.to_string(),
        cgroup: spec.cgroup.clone(),
        ..CloneSpec::default()
    };
    for namespace in &spec.namespaces {
        match namespace.join {
            Some(task) => clone.join.push((namespace.kind, task)),
            None => clone.new = clone.new | NamespaceFlags::of(namespace.kind),
        }
    }
    let task = os
        .clone_task(&clone)
        .doing(|| "unable to clone".to_string())?;
    match build(os, task, spec, stdio).await {
        Ok(built) => Ok(built),
        Err(error) => {
            discard(os, task).await;
            Err(error)
        }
    }
}

/// Kills and reaps a task that never ran a program.
pub(crate) async fn discard(os: &Rc<dyn Os>, task: TaskId) {
    let _ = os.kill(task, 9);
    let _ = os.wait(task).await;
}

async fn build(
    os: &Rc<dyn Os>,
    task: TaskId,
    spec: &Spec,
    stdio: Stdio,
) -> Result<(Container, DaemonEnds), RuntimeError> {
    let view = View::Task(task);
    let is_new = |kind| {
        spec.namespaces
            .iter()
            .any(|ns| ns.kind == kind && ns.join.is_none())
    };
    rootfs::enter(os, task, &spec.rootfs, &spec.mounts)?;
    rootfs::populate_dev(os, task, spec)?;
    if is_new(NamespaceKind::Uts) {
        os.set_hostname(task, spec.hostname.as_bytes())
            .doing(|| "sethostname".to_string())?;
        if !spec.domainname.is_empty() {
            os.set_domainname(task, spec.domainname.as_bytes())
                .doing(|| "setdomainname".to_string())?;
        }
    }
    if is_new(NamespaceKind::Net) {
        // A kernel without networks has nothing to bring up.
        let _ = os.link_up(task, "lo");
    }
    let user = process::resolve_user(os, task, &spec.process).await?;
    let Connected {
        ends,
        last_word,
        terminal,
    } = process::connect(os, task, &spec.process, stdio)?;
    if let Some(number) = terminal {
        rootfs::bind_console(os, task, number, user.uid)?;
    }
    let cwd = spec.process.cwd.as_bytes();
    if !cwd.is_empty() && !os.exists(view, cwd) {
        os.mkdir_all(view, cwd, 0o755)
            .doing(|| format!("mkdir {}", spec.process.cwd))?;
    }
    rootfs::seal(os, task, spec)?;
    let program = process::finish(os, task, &spec.process, &user)?;
    let container = Container {
        os: Rc::clone(os),
        init: task,
        cgroup: spec.cgroup.clone(),
        capabilities: spec.process.capabilities,
        no_new_privileges: spec.process.no_new_privileges,
        seccomp: spec.process.seccomp.clone(),
        status: Cell::new(Status::Created),
        program,
        last_word: RefCell::new(Some(last_word)),
        exec_failed: Cell::new(None),
    };
    Ok((container, ends))
}

/// A task that runs nothing and sees `rootfs` with `mounts`: how the daemon looks into a container that
/// does not run. Who asks for it kills it.
pub async fn mount_only(
    os: &Rc<dyn Os>,
    rootfs: &str,
    mounts: &[Mount],
) -> Result<TaskId, RuntimeError> {
    let clone = CloneSpec {
        name: "dockerd:[fs]".to_string(),
        new: NamespaceFlags::of(NamespaceKind::Mount),
        ..CloneSpec::default()
    };
    let task = os
        .clone_task(&clone)
        .doing(|| "unable to clone".to_string())?;
    match rootfs::enter(os, task, rootfs, mounts) {
        Ok(()) => Ok(task),
        Err(error) => {
            discard(os, task).await;
            Err(error)
        }
    }
}
