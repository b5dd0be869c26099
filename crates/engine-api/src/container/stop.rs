//! `POST /containers/{id}/stop` and `…/restart`.

use crate::container::kill::parse_signal;
use crate::error::{ApiError, Result};
use crate::query::Query;

/// The parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Seconds before it is killed; `None`: the container's own; below 0: without end.
    pub timeout: Option<i64>,
    /// Sent first; `None`: the container's own; an error: what was said is none.
    pub signal: Option<Result<u32>>,
}

impl Stop {
    /// Parses.
    pub fn parse(query: &Query) -> Result<Stop> {
        let signal = match query.text("signal") {
            "" => None,
            text => Some(parse_signal(text)),
        };
        Ok(Stop {
            timeout: query
                .number("t")
                .map_err(|error| ApiError::system(error.message))?,
            signal,
        })
    }
}
