//! The playground page: what runs in the browser tab around the machines.
//!
//! Two programs are built from here: the page (`main.rs`, Yew) and the worker
//! (`bin/worker`), which holds the machines. They share `protocol` and nothing else. No
//! machine, kernel or Docker logic lives here; that is crate `playground` and below.
//!
//! Reading order: `protocol`, then `store` and `app` for the page, `worker` for the other side.
//! The modules that touch the DOM exist only on wasm32; the rest is plain Rust and tested natively.

pub mod protocol;

pub mod docker;
pub mod files;
pub mod i18n;
pub mod internet;
pub mod network;
pub mod panels;
pub mod ports;
pub mod saved;
pub mod store;
pub mod units;

#[cfg(target_arch = "wasm32")]
pub mod app;
#[cfg(target_arch = "wasm32")]
pub mod bridge;
#[cfg(target_arch = "wasm32")]
pub mod components;
#[cfg(target_arch = "wasm32")]
pub mod pages;
#[cfg(target_arch = "wasm32")]
pub mod port_worker;
#[cfg(target_arch = "wasm32")]
pub mod preferences;
#[cfg(target_arch = "wasm32")]
pub mod terminal;

pub mod flow;
pub mod worker;
