//! What can go wrong, with the words of the program that would have said it.

use std::fmt;

use os::Errno;

/// An error of the runtime. [`fmt::Display`] gives Docker's whole text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RuntimeError {
    /// `runc create` failed.
    Create(String),
    /// `runc create` refused the specification.
    Invalid(String),
    /// `runc exec` failed.
    Exec(String),
    /// The daemon found it before asking a runtime.
    Daemon(String),
    /// There is no such process any more.
    NotRunning,
}

impl RuntimeError {
    /// An error of the container's first process before its program runs.
    pub(crate) fn init(what: impl fmt::Display) -> RuntimeError {
        RuntimeError::Create(format!("error during container init: {what}"))
    }

    /// The same failure, said by `runc exec`.
    #[must_use]
    pub(crate) fn in_exec(self) -> RuntimeError {
        match self {
            RuntimeError::Create(detail) => RuntimeError::Exec(detail),
            other => other,
        }
    }
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RuntimeError::Create(detail) => write!(
                f,
                "failed to create task for container: failed to create shim task: OCI runtime create \
                 failed: runc create failed: unable to start container process: {detail}: unknown"
            ),
            RuntimeError::Invalid(detail) => write!(
                f,
                "failed to create task for container: failed to create shim task: OCI runtime create \
                 failed: runc create failed: {detail}: unknown"
            ),
            RuntimeError::Exec(detail) => write!(
                f,
                "OCI runtime exec failed: exec failed: unable to start container process: {detail}: \
                 unknown"
            ),
            RuntimeError::Daemon(text) => f.write_str(text),
            RuntimeError::NotRunning => f.write_str("process already finished: not found"),
        }
    }
}

impl std::error::Error for RuntimeError {}

/// Adds what was being done to an error number of container init.
pub(crate) trait Doing<T> {
    /// `what: no such file or directory`, with Go's small first letter.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, RuntimeError>;
}

impl<T> Doing<T> for Result<T, Errno> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, RuntimeError> {
        self.map_err(|errno| RuntimeError::init(format!("{}: {}", what(), errno.go_description())))
    }
}
