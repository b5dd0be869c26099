//! `resume`: lets a frozen container go on.

use crate::{Container, RuntimeError, Status};

impl Container {
    /// Thaws.
    pub fn resume(&self) -> Result<(), RuntimeError> {
        self.freeze("0")?;
        self.status.set(Status::Running);
        Ok(())
    }
}
