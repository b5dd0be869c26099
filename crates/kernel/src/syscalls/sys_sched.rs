//! System calls: sched.

use super::table::Row;

/// The rows of this family.
pub const ROWS: &[Row] = &[];
