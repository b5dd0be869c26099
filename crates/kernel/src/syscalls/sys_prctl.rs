//! System calls: prctl.

use super::table::Row;

/// The rows of this family.
pub const ROWS: &[Row] = &[];
