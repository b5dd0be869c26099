//! `POST /…/prune`: the parameters are the same for every noun.

use crate::Filters;
use crate::error::{ApiError, Result};
use crate::query::Query;
use crate::timestamp;

/// The parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prune {
    /// Only those made before this time (nanoseconds since 1970).
    pub until: Option<u64>,
    /// Labels and more.
    pub filters: Filters,
}

impl Prune {
    /// Parses; `known` are the filters of the noun, `now` is nanoseconds since 1970.
    pub fn parse(query: &Query, known: &[&str], now: u64) -> Result<Prune> {
        let filters = Filters::parse(query.text("filters"))?;
        filters.accept(known)?;
        let mut until = None;
        if filters.values("until").count() > 1 {
            return Err(ApiError::invalid("more than one until filter specified"));
        }
        for value in filters.values("until") {
            until = timestamp::parse(value, now).map_err(ApiError::invalid)?;
        }
        Ok(Prune { until, filters })
    }
}
