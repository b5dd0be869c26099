//! `cargo xtask bench`: measures, prints, and keeps the results in `benches/results/`.
//!
//! Native numbers come from `crates/drydockd/benches/machine.rs`, the browser's from
//! `tests/browser/measure.mjs`, sizes from the built page. A result file says on which machine and
//! commit it was made; only ratios within one file can be compared with another's.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{images, serve, setup, test, tools};

const USAGE: &str =
    "usage: cargo xtask bench [--native]\n\n  --native   leave out the page and the browser";

/// Runs the command.
pub fn run(args: &[String]) -> Result<()> {
    let native_only = match args {
        [] => false,
        [flag] if flag == "--native" => true,
        _ => bail!("{USAGE}"),
    };
    setup::qemu()?;
    images::run(&[])?;
    images::tree("busybox")?;
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
        let measured = serve::measure()?;
        report.push_str(&browser(&measured)?);
        let page = test::wasm_of(&tools::root().join("dist"), "drydock-")?;
        for (name, file) in [("page", page.as_str()), ("worker", "worker_bg.wasm")] {
            let bytes = test::brotli_bytes(file)?;
            let _ = writeln!(report, "{name} wasm after brotli\t{bytes}\tbytes");
        }
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

/// Work that `tests/browser/measure.mjs` has the page do: program of the node image and arguments.
const WORK: [(&str, &str, &[&str]); 4] = [
    ("sha256sum", "usr/bin/sha256sum", &[]),
    ("gzip", "usr/bin/gzip", &["-c"]),
    ("sort", "usr/bin/sort", &[]),
    (
        "awk",
        "usr/bin/gawk",
        &["BEGIN{for(i=0;i<600000;i++)s+=i%7;print s}"],
    ),
];

/// The page's numbers a line each, and those of its work as ratios to qemu-user's time.
fn browser(measured: &str) -> Result<String> {
    let mut report = String::new();
    let measured = measured
        .trim()
        .trim_start_matches('{')
        .trim_end_matches('}');
    let values: Vec<(&str, f64)> = measured
        .split(',')
        .filter_map(|pair| {
            let (name, value) = pair.split_once(':')?;
            Some((name.trim().trim_matches('"'), value.trim().parse().ok()?))
        })
        .collect();
    for (name, value) in &values {
        let _ = writeln!(
            report,
            "{name}\t{value}\t{}",
            if name.contains("_ms") { "ms" } else { "bytes" }
        );
    }
    let numbers: String = (1..=600_000).map(|n| format!("{n}\n")).collect();
    let tree = images::tree("drydock/node")?;
    let input = tree.with_file_name("bench-input");
    std::fs::write(&input, numbers).with_context(|| format!("writing {}", input.display()))?;
    for (name, program, arguments) in WORK {
        let key = format!("work_{name}_ms_best");
        let Some((_, page)) = values.iter().find(|(known, _)| *known == key) else {
            continue;
        };
        let qemu = qemu_ms(&tree, program, arguments, &input)?;
        let _ = writeln!(report, "{name} under qemu-user\t{qemu:.0}\tms");
        let _ = writeln!(
            report,
            "{name} in Chromium / qemu-user\t{:.2}\tx",
            page / qemu
        );
    }
    Ok(report)
}

/// The best of three runs of a program of the node image under qemu-user, in milliseconds.
fn qemu_ms(tree: &Path, program: &str, arguments: &[&str], input: &Path) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let started = std::time::Instant::now();
        let status = std::process::Command::new("qemu-riscv64")
            .arg("-L")
            .arg(tree)
            .arg(tree.join(program))
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(std::fs::File::open(input)?)
            .stdout(std::process::Stdio::null())
            .status()
            .context("running qemu-riscv64")?;
        if !status.success() {
            bail!("{program} failed under qemu-riscv64");
        }
        best = best.min(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(best)
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
