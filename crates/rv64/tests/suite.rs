//! The CPU's tests: against qemu-user, against itself, and by tables.

#[path = "../examples/support/program.rs"]
mod program;

mod suite {
    pub mod assemble;
    pub mod generate;
    pub mod rng;

    mod differential;
    mod equivalence;
    mod memory;
    mod tables;
}
