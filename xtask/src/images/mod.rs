//! `cargo xtask images`: the stock images, built from Debian packages.

use anyhow::bail;

/// Runs the command.
pub fn run(_args: &[String]) -> anyhow::Result<()> {
    bail!("not written yet")
}
