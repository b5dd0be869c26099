//! `cargo xtask ci`: what `.ci/run` stands for. The same as `cargo xtask test`: what CI judges,
//! anyone can run.

/// Runs the command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    crate::test::run(args)
}
