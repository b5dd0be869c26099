//! `POST /containers/{id}/attach`.

use crate::error::{ApiError, Result};
use crate::query::Query;
use crate::stream::{DETACH_KEYS, parse_detach_keys};

/// The parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// Take input.
    pub stdin: bool,
    /// Give standard output.
    pub stdout: bool,
    /// Give standard error.
    pub stderr: bool,
    /// What is in the log first.
    pub logs: bool,
    /// Then what comes.
    pub stream: bool,
    /// What ends it.
    pub detach_keys: Vec<u8>,
}

impl Attach {
    /// Parses.
    pub fn parse(query: &Query) -> Result<Attach> {
        Ok(Attach {
            stdin: query.flag("stdin"),
            stdout: query.flag("stdout"),
            stderr: query.flag("stderr"),
            logs: query.flag("logs"),
            stream: query.flag("stream"),
            detach_keys: detach_keys(query.text("detachKeys"))?,
        })
    }
}

/// The default without a text.
pub fn detach_keys(text: &str) -> Result<Vec<u8>> {
    match text {
        "" => Ok(DETACH_KEYS.to_vec()),
        text => parse_detach_keys(text)
            .map_err(|_| ApiError::invalid(format!("Invalid detach keys ({text}) provided"))),
    }
}
