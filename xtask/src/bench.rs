//! `cargo xtask bench`: measures, prints, and keeps the results in `benches/results/`.
//!
//! Native numbers come from `crates/drydockd/benches/machine.rs`, the browser's from
//! `tests/browser/measure.mjs`, sizes from the built page. A result file says on which machine and
//! commit it was made; only ratios within one file can be compared with another's.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{images, serve, setup, test, tools};

const USAGE: &str = "usage: cargo xtask bench [--native]

  --native   leave out the page and the browser

Images that are there are used as they are; `cargo xtask images` brings them up to date.";

/// Runs the command.
pub fn run(args: &[String]) -> Result<()> {
    let native_only = match args {
        [] => false,
        [flag] if flag == "--native" => true,
        _ => bail!("{USAGE}"),
    };
    setup::native_tests()?;
    images::ensure(&[
        "drydock/node",
        "library/busybox",
        "library/nginx",
        "library/redis",
    ])?;
    images::tree("busybox")?;
    images::tree("drydock/node")?;
    guest()?;
    let mut report = String::new();
    let _ = writeln!(
        report,
        "commit\t{}",
        first_line("git", &["rev-parse", "--short", "HEAD"])
    );
    let _ = writeln!(report, "processor\t{}", processor());
    let _ = writeln!(report, "load average at the start\t{}", load());
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

/// What the page's interpreter and qemu-user do both: a program of the node image.
struct Work {
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    /// How often the lines 1 to 600,000 are its standard input.
    input: usize,
}

/// Straight arithmetic, memory, branches, floating point, interpreters, and the start of a Go program.
const WORK: [Work; 8] = [
    work("sha256sum", "sha256sum", &[], 8),
    work("gzip", "gzip", &["-c"], 1),
    work("sort", "sort", &[], 1),
    work(
        "awk",
        "gawk",
        &["BEGIN{for(i=0;i<600000;i++)s+=i%7;print s}"],
        0,
    ),
    work(
        "float",
        "gawk",
        &["BEGIN{for(i=1;i<300000;i++)s+=sin(i)*sqrt(i)/log(i+1);print s}"],
        0,
    ),
    work(
        "perl",
        "perl",
        &[
            "-e",
            "for$i(1..400000){$h{$i%5000}.=chr(65+$i%26);$n+=length $h{$i%5000}}print $n",
        ],
        0,
    ),
    work("docker", "docker", &["--version"], 0),
    // Too short for V8 to be done with warming up when it is the first.
    work("sha256sum_short", "sha256sum", &[], 1),
];

const fn work(
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    input: usize,
) -> Work {
    Work {
        name,
        program,
        arguments,
        input,
    }
}

/// The work as `tests/browser/measure.mjs` takes it: pairs of name and command.
pub fn commands() -> String {
    let pairs: Vec<[String; 2]> = WORK
        .iter()
        .map(|work| {
            let mut text = format!("LC_ALL=C {}", work.program);
            for argument in work.arguments {
                let _ = write!(text, " '{argument}'");
            }
            text.push_str(match work.input {
                0 => " </dev/null",
                1 => " </tmp/x",
                _ => " </tmp/x8",
            });
            [work.name.to_owned(), text]
        })
        .collect();
    serde_json::json!(pairs).to_string()
}

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
    for work in &WORK {
        let Work { name, .. } = work;
        std::fs::write(&input, numbers.repeat(work.input))
            .with_context(|| format!("writing {}", input.display()))?;
        let qemu = qemu_ms(&tree, work, &input)?;
        let _ = writeln!(report, "{name} under qemu-user\t{qemu:.0}\tms");
        for (run, what) in [("best", ""), ("first", ", first run")] {
            let key = format!("work_{name}_ms_{run}");
            if let Some((_, page)) = values.iter().find(|(known, _)| *known == key) {
                let ratio = page / qemu;
                let _ = writeln!(
                    report,
                    "{name} in Chromium / qemu-user{what}\t{ratio:.2}\tx"
                );
            }
        }
    }
    Ok(report)
}

/// Runs under qemu-user that the time is the mean of: the kernel counts in steps of 10 ms.
const QEMU_RUNS: u32 = 5;

/// Processor time under qemu-user, in milliseconds.
fn qemu_ms(tree: &Path, work: &Work, input: &Path) -> Result<f64> {
    let program = tree.join("usr/bin").join(work.program);
    let before = children_ms();
    for _ in 0..QEMU_RUNS {
        let status = std::process::Command::new("qemu-riscv64")
            .arg("-L")
            .arg(tree)
            .arg(&program)
            .args(work.arguments)
            .env("LC_ALL", "C")
            .stdin(std::fs::File::open(input)?)
            .stdout(std::process::Stdio::null())
            .status()
            .context("running qemu-riscv64")?;
        if !status.success() {
            bail!("{} failed under qemu-riscv64", work.program);
        }
    }
    Ok((children_ms() - before) / f64::from(QEMU_RUNS))
}

/// Processor time of the children that have ended, in milliseconds.
fn children_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(13).take(2);
    ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        * 10.0
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = tools::command(program, arguments).and_then(tools::output);
    output
        .ok()
        .and_then(|text| text.lines().next().map(str::to_owned))
        .unwrap_or_default()
}

/// Compiles the program that both a machine and qemu-user run.
fn guest() -> Result<()> {
    let folder = tools::root().join("target/bench");
    std::fs::create_dir_all(&folder)?;
    let program = folder.join("guest");
    let mut compiler = tools::command("riscv64-linux-gnu-gcc", &["-static", "-O2", "-o"])?;
    compiler.arg(program).arg("benches/guest/bench.c");
    tools::run(compiler)
}

/// How busy others kept the computer: above all rates say little then, ratios something.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
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
