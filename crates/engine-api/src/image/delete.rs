//! `DELETE /images/{name}`.

use crate::query::Query;

/// The parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Even if containers have it.
    pub force: bool,
    /// Keep untagged parents.
    pub no_prune: bool,
}

impl Delete {
    /// Parses.
    #[must_use]
    pub fn parse(query: &Query) -> Delete {
        Delete {
            force: query.flag("force"),
            no_prune: query.flag("noprune"),
        }
    }
}
