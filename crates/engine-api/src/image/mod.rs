//! Parameters of the image operations, a file each.

pub mod build;
pub mod commit;
pub mod create;
pub mod delete;
pub mod list;
pub mod platform;
pub mod progress;
pub mod search;
