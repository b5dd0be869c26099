//! The composition: machines, their images, what a page or a console needs of them.
//!
//! A [`Playground`] is a value: it has no clock, no threads and no I/O of its own. Whoever owns it
//! calls [`Playground::turn`] with the time, carries its [`FetchRequest`]s out and gives the answers
//! back, and moves bytes between terminals and consoles.
//!
//! Reading order: [`playground`], [`guard`] (what a crash of one machine stops at), [`machine`] (one host:
//! kernel, daemons, consoles), [`power`] (its end), [`rootfs`] (its root file system, fetched file by file), [`fetch`] and
//! [`registry`] (static files as a registry), [`socket`] (HTTP on a Unix socket of the machine), [`lan`] (the
//! switch between machines), [`gateway`] (the playground's own host on it), [`web`] (what that host serves),
//! [`internet`] (the way out, usually closed), [`ports`] (OPEN PORT), [`capture`] (what goes through the links
//! of machines, in the lines of [`dissect`]), [`views`] (what a Docker has, as the page shows it) and [`transfer`]
//! (images between the user's files and a Docker).

mod calls;
mod cookies;
mod dockerd;
mod playground;
mod power;

pub mod budget;
pub mod capture;
pub mod dissect;
pub mod fetch;
pub mod gateway;
pub mod guard;
pub mod internet;
pub mod lan;
pub mod machine;
pub mod ports;
pub mod registry;
pub mod rootfs;
pub mod socket;
pub mod transfer;
pub mod views;
pub mod web;

pub use fetch::{FetchRequest, Fetched, Fetcher};
pub use kernel::Power;
pub use machine::{Machine, MachineConfig};
pub use net::{Cable, Fault};
pub use playground::{Config, ConsoleMode, Event, Playground, Stats, Turn};
