//! `pause`: freezes every process of the container.

use os::{OsExt, View};

use crate::{Container, RuntimeError, Status, cgroup};

impl Container {
    /// Freezes.
    pub fn pause(&self) -> Result<(), RuntimeError> {
        self.freeze("1")?;
        self.status.set(Status::Paused);
        Ok(())
    }

    pub(crate) fn freeze(&self, value: &str) -> Result<(), RuntimeError> {
        let path = format!("{}/cgroup.freeze", cgroup::directory(&self.cgroup));
        self.os
            .write_control(View::Host, &path, value)
            .map_err(|errno| {
                RuntimeError::Daemon(format!("unable to freeze: {}", errno.go_description()))
            })
    }
}
