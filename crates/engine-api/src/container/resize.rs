//! `POST /containers/{id}/resize` and `POST /exec/{id}/resize`.

use crate::error::{ApiError, Result};
use crate::query::Query;

/// The parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

impl Resize {
    /// Parses.
    pub fn parse(query: &Query) -> Result<Resize> {
        let side = |name: &str| {
            query.text(name).parse().map_err(|_| {
                let text = query.text(name);
                ApiError::invalid(format!("strconv.Atoi: parsing \"{text}\": invalid syntax"))
            })
        };
        Ok(Resize {
            rows: side("h")?,
            cols: side("w")?,
        })
    }
}
