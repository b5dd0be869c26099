//! Cgroup namespaces: which cgroup looks like the root (`cgroup_namespaces(7)`).

use std::rc::Rc;

use super::UserNs;
use crate::cgroup::Cgroup;

/// A cgroup namespace.
pub struct CgroupNs {
    /// Inode number.
    pub inum: u64,
    /// Who has power over it.
    pub owner: Rc<UserNs>,
    /// The cgroup its maker was in.
    pub root: Rc<Cgroup>,
}
