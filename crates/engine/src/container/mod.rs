//! Operations on containers, a verb a file.

mod archive;
mod attach;
mod changes;
mod checkpoint;
pub(crate) mod create;
mod delete;
mod export;
mod image_mounts;
mod inspect;
mod kill;
mod list;
mod logs;
mod mounts;
mod pause;
mod prune;
mod rename;
mod resize;
mod restart;
mod start;
mod stats;
mod stop;
mod top;
mod update;
pub(crate) mod validate;
mod wait;

pub(crate) use start::start_failure;
