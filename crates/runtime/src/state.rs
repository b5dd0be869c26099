//! A container of the runtime and what state it is in.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;

use os::{ExitStatus, Handle, Os, TaskId};

use crate::RuntimeError;
use crate::process::Program;

/// The states of the runtime specification, and `Paused`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Prepared; its program does not run yet.
    Created,
    /// Its program runs.
    Running,
    /// Frozen.
    Paused,
    /// Its first process has ended.
    Stopped,
}

/// A container that has been created.
pub struct Container {
    pub(crate) os: Rc<dyn Os>,
    pub(crate) init: TaskId,
    pub(crate) cgroup: String,
    pub(crate) capabilities: u64,
    pub(crate) no_new_privileges: bool,
    pub(crate) seccomp: Option<Rc<[os::FilterInstruction]>>,
    pub(crate) status: Cell<Status>,
    pub(crate) program: Program,
    /// The first process's standard error, kept until its program runs.
    pub(crate) last_word: RefCell<Option<Rc<dyn Handle>>>,
    /// Set when the program could not be executed: what the exit code is then.
    pub(crate) exec_failed: Cell<Option<i32>>,
}

impl Container {
    /// The first process, in the machine's numbering.
    #[must_use]
    pub fn init(&self) -> TaskId {
        self.init
    }

    /// Its cgroup: `/docker/ID`.
    #[must_use]
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// The state.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.get()
    }

    /// Waits for the first process to end; gives the exit code a shell would show. Once only.
    pub async fn wait(&self) -> Result<i32, RuntimeError> {
        let status = poll_fn(|cx| self.os.poll_wait(self.init, cx)).await;
        self.status.set(Status::Stopped);
        match (status, self.exec_failed.get()) {
            (_, Some(code)) => Ok(code),
            (Ok(status), None) => Ok(status.code()),
            (Err(_), None) => Err(RuntimeError::NotRunning),
        }
    }
}

/// The code of a status, for processes of `exec` too.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code()
}
