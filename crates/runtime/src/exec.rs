//! `exec`: one more process in a running container.

use std::rc::Rc;

use os::{CloneSpec, NamespaceKind, Os, OsExt, TaskId};

use crate::create::{INIT_NAME, discard};
use crate::error::Doing;
use crate::process::{self, DaemonEnds, Stdio};
use crate::state::exit_code;
use crate::{Container, ProcessSpec, RuntimeError};

/// A process made by [`exec`].
pub struct Process {
    os: Rc<dyn Os>,
    task: TaskId,
}

impl Process {
    /// Its pid, in the machine's numbering.
    #[must_use]
    pub fn task(&self) -> TaskId {
        self.task
    }

    /// Waits for its end; gives the exit code a shell would show. Once only.
    pub async fn wait(&self) -> Result<i32, RuntimeError> {
        let status = self.os.wait(self.task).await;
        status.map(exit_code).map_err(|_| RuntimeError::NotRunning)
    }
}

/// Namespaces a process joins.
const JOINED: [NamespaceKind; 6] = [
    NamespaceKind::Ipc,
    NamespaceKind::Uts,
    NamespaceKind::Net,
    NamespaceKind::Pid,
    NamespaceKind::Cgroup,
    NamespaceKind::Mount,
];

/// Executes a program in `container`. `spec.capabilities` is what it has when it is privileged, else
/// (0) those of the container.
pub async fn exec(
    os: &Rc<dyn Os>,
    container: &Container,
    spec: &ProcessSpec,
    stdio: Stdio,
) -> Result<(Process, DaemonEnds), RuntimeError> {
    let clone = CloneSpec {
        join: JOINED.iter().map(|&kind| (kind, container.init)).collect(),
        name: INIT_NAME.to_string(),
        cgroup: container.cgroup.clone(),
        ..CloneSpec::default()
    };
    let task = os
        .clone_task(&clone)
        .doing(|| "unable to clone".to_string())
        .map_err(RuntimeError::in_exec)?;
    match run(os, task, container, spec, stdio).await {
        Ok(ends) => Ok((
            Process {
                os: Rc::clone(os),
                task,
            },
            ends,
        )),
        Err(error) => {
            discard(os, task).await;
            Err(error.in_exec())
        }
    }
}

async fn run(
    os: &Rc<dyn Os>,
    task: TaskId,
    container: &Container,
    spec: &ProcessSpec,
    stdio: Stdio,
) -> Result<DaemonEnds, RuntimeError> {
    let mut spec = spec.clone();
    if spec.capabilities == 0 {
        spec.capabilities = container.capabilities;
    }
    spec.no_new_privileges |= container.no_new_privileges;
    spec.seccomp.clone_from(&container.seccomp);
    let user = process::resolve_user(os, task, &spec).await?;
    let ends = process::connect(os, task, &spec, stdio)?.ends;
    let program = process::finish(os, task, &spec, &user)?;
    process::execute(os, task, &program)
        .await
        .map_err(|errno| {
            RuntimeError::Create(format!("exec {}: {}", program.path, errno.go_description()))
        })?;
    Ok(ends)
}
