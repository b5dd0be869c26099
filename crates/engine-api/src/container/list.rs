//! `GET /containers/json`.

use crate::Filters;
use crate::error::Result;
use crate::query::Query;

/// The parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Those that do not run too.
    pub all: bool,
    /// At most so many; 0 or less: no limit.
    pub limit: i64,
    /// With sizes.
    pub size: bool,
    /// Only these.
    pub filters: Filters,
}

/// Filters this operation knows.
const FILTERS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

impl List {
    /// Parses.
    pub fn parse(query: &Query) -> Result<List> {
        let filters = Filters::parse(query.text("filters"))?;
        filters.accept(&FILTERS)?;
        Ok(List {
            all: query.flag("all"),
            limit: query
                .number("limit")
                .map_err(|error| crate::ApiError::system(error.message))?
                .unwrap_or(0),
            size: query.flag("size"),
            filters,
        })
    }
}
