//! Parameters of the container operations, a file each.

pub mod archive;
pub mod attach;
pub mod create;
pub mod delete;
pub mod kill;
pub mod list;
pub mod logs;
pub mod prune;
pub mod resize;
pub mod stats;
pub mod stop;
pub mod top;
pub mod wait;
