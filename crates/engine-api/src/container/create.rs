//! `POST /containers/create`.

use crate::error::{ApiError, Result};
use crate::query::Query;
use crate::types::CreateBody;

/// The parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Create {
    /// `--name`, or empty.
    pub name: String,
    /// `--platform`, or empty.
    pub platform: String,
    /// The document.
    pub body: CreateBody,
}

impl Create {
    /// Puts them together.
    pub fn parse(query: &Query, body: CreateBody) -> Result<Create> {
        Ok(Create {
            name: query.text("name").trim_start_matches('/').to_string(),
            platform: query.text("platform").to_string(),
            body,
        })
    }
}

/// Refuses what is no name of a container or volume.
pub fn check_name(kind: &str, name: &str) -> Result<()> {
    const PATTERN: &str = "[a-zA-Z0-9][a-zA-Z0-9_.-]";
    let mut bytes = name.bytes();
    let valid = bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && name.len() >= 2
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    match (valid, kind) {
        (true, _) => Ok(()),
        (false, "container") => Err(ApiError::invalid(format!(
            "Invalid container name ({name}), only {PATTERN} are allowed"
        ))),
        (false, _) if name.len() == 1 => Err(ApiError::invalid(format!(
            "create {name}: volume name is too short, names should be at least two alphanumeric characters"
        ))),
        (false, _) => Err(ApiError::invalid(format!(
            "create {name}: \"{name}\" includes invalid characters for a local volume name, only \
             \"{PATTERN}\" are allowed. If you intended to pass a host directory, use absolute path"
        ))),
    }
}
