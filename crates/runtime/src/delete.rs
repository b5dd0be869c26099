//! `delete`: what is left of a container that has ended.

use crate::{Container, cgroup};

impl Container {
    /// Kills whatever is still in the cgroup (with a shared pid namespace, children outlive their
    /// parent) and removes it.
    pub fn delete(&self) {
        cgroup::remove(&self.os, &self.cgroup);
    }
}
