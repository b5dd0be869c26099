//! `cargo xtask bench`: measures, prints, and keeps the results in `benches/results/`.
//!
//! Native numbers come from `crates/drydockd/benches/machine.rs`, the browser's from
//! `tests/browser/measure.mjs`, sizes from the built page. A result file says on which machine and
//! commit it was made; only ratios within one file can be compared with another's.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

use crate::{images, serve, setup, tools};

const USAGE: &str =
    "usage: cargo xtask bench [--native]\n\n  --native   leave out the page and the browser";

/// Runs the command.
pub fn run(args: &[String]) -> Result<()> {
    let native_only = match args {
        [] => false,
        [flag] if flag == "--native" => true,
        _ => bail!("{USAGE}"),
    };
    setup::native_tests()?;
    images::run(&[])?;
    let mut report = String::new();
    let _ = writeln!(
        report,
        "commit\t{}",
        first_line("git", &["rev-parse", "--short", "HEAD"])
    );
    let _ = writeln!(report, "processor\t{}", processor());
    setup::say("bench: native (a machine, its Docker, the interpreter beside qemu-user)");
    let bench = [
        "bench",
        "--locked",
        "--profile=native",
        "--package=drydockd",
        "--bench=machine",
    ];
    report.push_str(&tools::output(tools::cargo(&bench)?)?);
    if !native_only {
        setup::page()?;
        serve::build_page()?;
        setup::browser_tests()?;
        setup::say("bench: the page in Chromium");
        report.push_str(&serve::measure()?);
    }
    print!("{report}");
    let folder = tools::root().join("benches/results");
    std::fs::create_dir_all(&folder)?;
    let day = first_line("date", &["-u", "+%Y-%m-%d-%H%M"]);
    let file = folder.join(format!("{day}.tsv"));
    std::fs::write(&file, report).with_context(|| format!("writing {}", file.display()))?;
    setup::say(&format!("kept in {}", file.display()));
    Ok(())
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = tools::command(program, arguments).and_then(tools::output);
    output
        .ok()
        .and_then(|text| text.lines().next().map(str::to_owned))
        .unwrap_or_default()
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let count = info
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    format!("{} x {}", count, model.unwrap_or("unknown"))
}
