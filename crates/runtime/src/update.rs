//! `update`: new limits for a running container.

use crate::{Container, Resources, RuntimeError, cgroup};

impl Container {
    /// Writes the limits that are set.
    pub fn update(&self, resources: &Resources) -> Result<(), RuntimeError> {
        cgroup::apply(&self.os, &self.cgroup, resources)
    }
}
