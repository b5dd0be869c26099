//! `cargo xtask test`: not written yet.

use anyhow::bail;

/// Runs the command.
pub fn run(_args: &[String]) -> anyhow::Result<()> {
    bail!("not written yet")
}
