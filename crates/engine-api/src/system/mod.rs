//! Parameters of the system operations, a file each.

pub mod events;
