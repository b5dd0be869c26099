//! Parameters of the volume operations, a file each.

pub mod list;
