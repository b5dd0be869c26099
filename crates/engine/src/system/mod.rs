//! Operations on the daemon itself, a verb a file.

mod auth;
mod build_prune;
mod df;
mod events;
mod info;
mod ping;
mod version;
