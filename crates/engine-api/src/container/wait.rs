//! `POST /containers/{id}/wait`.

use crate::error::{ApiError, Result};
use crate::query::Query;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It does not run (now, or when it ends).
    NotRunning,
    /// Its next end.
    NextExit,
    /// Its removal.
    Removed,
}

impl Condition {
    /// Parses.
    pub fn parse(query: &Query) -> Result<Condition> {
        match query.text("condition") {
            "" | "not-running" => Ok(Condition::NotRunning),
            "next-exit" => Ok(Condition::NextExit),
            "removed" => Ok(Condition::Removed),
            other => Err(ApiError::invalid(format!("invalid condition: \"{other}\""))),
        }
    }
}
