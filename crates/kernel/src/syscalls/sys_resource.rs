//! System calls: resource.

use super::table::Row;

/// The rows of this family.
pub const ROWS: &[Row] = &[];
