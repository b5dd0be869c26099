//! `GET /volumes`.

use serde::Serialize;

use crate::Filters;
use crate::error::Result;
use crate::query::Query;
use crate::types::Volume;

/// The filters.
pub fn parse(query: &Query) -> Result<Filters> {
    let filters = Filters::parse(query.text("filters"))?;
    filters.accept(&["dangling", "driver", "label", "label!", "name"])?;
    Ok(filters)
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VolumeList {
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// What should be known.
    pub warnings: Option<Vec<String>>,
}
