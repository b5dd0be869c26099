//! `GET /containers/{id}/stats`.

use crate::query::Query;

/// The parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Go on, once a second.
    pub stream: bool,
    /// Do not wait for a second sample.
    pub one_shot: bool,
}

impl Stats {
    /// Parses.
    #[must_use]
    pub fn parse(query: &Query) -> Stats {
        Stats {
            stream: query.flag_or("stream", true),
            one_shot: query.flag("one-shot"),
        }
    }
}
