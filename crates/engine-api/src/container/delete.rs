//! `DELETE /containers/{id}`.

use crate::query::Query;

/// The parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Anonymous volumes too.
    pub volumes: bool,
    /// A link, not a container.
    pub link: bool,
    /// Kill it first.
    pub force: bool,
}

impl Delete {
    /// Parses.
    #[must_use]
    pub fn parse(query: &Query) -> Delete {
        Delete {
            volumes: query.flag("v"),
            link: query.flag("link"),
            force: query.flag("force"),
        }
    }
}
