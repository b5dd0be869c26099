//! `GET /containers/{id}/top`.

use serde::Serialize;

use crate::query::Query;

/// The arguments of `ps`.
#[must_use]
pub fn arguments(query: &Query) -> Vec<String> {
    match query.text("ps_args") {
        "" => vec!["-ef".to_string()],
        text => text.split_whitespace().map(str::to_string).collect(),
    }
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Top {
    /// Rows.
    pub processes: Vec<Vec<String>>,
    /// Names of columns.
    pub titles: Vec<String>,
}
