//! The tests of the crate that use it from outside. One binary, a module a subject.

mod model;
mod script;
mod transcripts;
