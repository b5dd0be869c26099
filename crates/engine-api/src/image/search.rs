//! `GET /images/search`.

use serde::Serialize;

use crate::Filters;
use crate::error::{ApiError, Result};
use crate::query::Query;

/// The parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// What to look for.
    pub term: String,
    /// At most so many.
    pub limit: usize,
    /// Only these.
    pub filters: Filters,
}

/// Docker's default and highest limit.
const LIMIT: (i64, i64) = (25, 100);

impl Search {
    /// Parses.
    pub fn parse(query: &Query) -> Result<Search> {
        let filters = Filters::parse(query.text("filters"))?;
        filters.accept(&["is-automated", "is-official", "stars"])?;
        let limit = query
            .number("limit")?
            .filter(|&limit| limit != 0)
            .unwrap_or(LIMIT.0);
        if !(1..=LIMIT.1).contains(&limit) {
            return Err(ApiError::invalid(format!(
                "limit {limit} is outside the range of [1, {}]",
                LIMIT.1
            )));
        }
        Ok(Search {
            term: query.text("term").to_string(),
            limit: limit as usize,
            filters,
        })
    }
}

/// A row of the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Stars; a playground has none.
    pub star_count: i64,
    /// Whether it stands for one of Docker's official images.
    pub is_official: bool,
    /// Name.
    pub name: String,
    /// Always false.
    pub is_automated: bool,
    /// One line.
    pub description: String,
}
