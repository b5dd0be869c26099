//! `GET /containers/{id}/logs`.

use crate::error::{ApiError, Result};
use crate::query::Query;
use crate::timestamp;

/// The parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logs {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Go on with what comes.
    pub follow: bool,
    /// Times in front of lines.
    pub timestamps: bool,
    /// Attributes (`--log-opt labels=…`) before each line.
    pub details: bool,
    /// Only what came at or after this time (nanoseconds since 1970).
    pub since: Option<u64>,
    /// Only what came before this time.
    pub until: Option<u64>,
    /// The last so many lines.
    pub tail: Option<usize>,
}

impl Logs {
    /// Parses; `now` is nanoseconds since 1970.
    pub fn parse(query: &Query, now: u64) -> Result<Logs> {
        let (stdout, stderr) = (query.flag("stdout"), query.flag("stderr"));
        if !stdout && !stderr {
            return Err(ApiError::invalid(
                "Bad parameters: you must choose at least one stream",
            ));
        }
        let time = |name| timestamp::parse(query.text(name), now).map_err(ApiError::invalid);
        Ok(Logs {
            stdout,
            stderr,
            follow: query.flag("follow"),
            timestamps: query.flag("timestamps"),
            details: query.flag("details"),
            since: time("since")?,
            until: time("until")?,
            // What is no number is all, as in Docker.
            tail: query.text("tail").parse().ok(),
        })
    }
}
