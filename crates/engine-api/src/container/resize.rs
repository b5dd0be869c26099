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
        // Docker takes 32 bits, of which a terminal has 16.
        let side = |name: &str, what: &str| {
            let text = query.text(name);
            let refuse =
                |why| ApiError::invalid(format!("invalid resize {what} \"{text}\": {why}"));
            match text.parse::<i128>() {
                Ok(number) => u32::try_from(number)
                    .map(|number| number as u16)
                    .map_err(|_| refuse("value out of range")),
                Err(_) => Err(refuse("invalid syntax")),
            }
        };
        Ok(Resize {
            rows: side("h", "height")?,
            cols: side("w", "width")?,
        })
    }
}
