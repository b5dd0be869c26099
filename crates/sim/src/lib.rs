//! A playground under load and under attack, in virtual time, and what must be left of it: nothing.
//!
//! [`soak::run`] boots machines, warms them up, and counts what they hold ([`check`]). Then servers run in
//! containers ([`plan`]) and clients ask them, while every few seconds a step ([`steps`]) kills, stops, pauses,
//! pulls, executes, or makes a cable bad. At the end the cables are mended, every server has to answer, all
//! is removed, and everything is counted again: what is more than before is a leak.
//!
//! Everything follows from the seed. Each step goes into the [`digest`]; the same seed gives the same one, and
//! a failure says at which step it was.

pub mod check;
pub mod digest;
pub mod heap_unsafe;
pub mod plan;
pub mod soak;
pub mod steps;
pub mod world;
