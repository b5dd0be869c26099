//! `kill`: a signal for the first process.

use os::Errno;

use crate::{Container, RuntimeError, Status};

impl Container {
    /// Sends `signal`.
    pub fn kill(&self, signal: u32) -> Result<(), RuntimeError> {
        if self.status() == Status::Stopped {
            return Err(RuntimeError::NotRunning);
        }
        self.os
            .kill(self.init, signal)
            .map_err(|errno| match errno {
                Errno::ESRCH => RuntimeError::NotRunning,
                other => RuntimeError::Daemon(format!(
                    "unable to signal init: {}",
                    other.go_description()
                )),
            })
    }
}
