//! `cargo xtask soak`: the long soak, an hour of playground time; crate `sim` says what that is.

use anyhow::Result;

use crate::{images, setup, tools};

/// Runs the command; its arguments are those of `sim` (`--seed N`, `--minutes M`, …).
pub fn run(args: &[String]) -> Result<()> {
    images::run(&[])?;
    setup::say("soak: build");
    let mut sim = tools::cargo(&["run", "--locked", "--profile=native", "--package=sim", "--"])?;
    sim.args(args);
    tools::run(sim)
}
