//! The tests of the crate that use it from outside. One binary, a module a subject.

mod counting_unsafe;
mod model;
mod robust;
mod script;
mod transcripts;
