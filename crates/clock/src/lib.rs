//! Time as a value: instants, timers, wait queues, a local executor and a seeded generator.
//!
//! Nothing here reads a real clock. Whoever owns the world advances [`Clock`] (paced in the browser,
//! jumping in tests); daemons are futures on the [`Executor`], run between slices of the kernel.
//! Everything is single-threaded, FIFO and deterministic.

mod executor;
mod rng;
mod time;
mod wait;

pub use executor::{Executor, JoinHandle};
pub use rng::Rng;
pub use time::{Clock, Instant, Sleep};
pub use wait::WaitQueue;

/// Nanoseconds in a second.
pub const NANOS_PER_SEC: u64 = 1_000_000_000;
