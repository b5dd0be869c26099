//! `cargo xtask test`: every check, cheapest first, each installed for when it is due.
//!
//! Stops at the first step that fails. Nothing is skipped silently: `--fast` says what it left
//! out.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{images, serve, setup, tidy, tools};

const USAGE: &str = "usage: cargo xtask test [--fast] [STEP...]

  --fast   leave out what needs a browser
  STEP     only these: tidy fmt clippy images native page browser";

/// Packages that are for a real Linux only and are not built for wasm32.
const NATIVE_ONLY: [&str; 3] = ["drydockd", "os-linux", "xtask"];

/// What the page's program may cost after brotli (design §6).
const PAGE_BROTLI_BYTES_MAX: u64 = 300 * 1024;

/// What the worker's program may cost.
const WORKER_BROTLI_BYTES_MAX: u64 = 1500 * 1024;

/// A step: its name, whether it needs a browser, and what it does.
type Step = (&'static str, bool, fn() -> Result<()>);

const STEPS: [Step; 7] = [
    ("tidy", false, || tidy::run(&[])),
    ("fmt", false, fmt),
    ("clippy", false, clippy),
    ("images", false, || images::run(&[])),
    ("native", false, native),
    ("page", false, page),
    ("browser", true, browser),
];

/// Runs the command.
pub fn run(args: &[String]) -> Result<()> {
    let mut fast = false;
    let mut only = Vec::new();
    for argument in args {
        match argument.as_str() {
            "--fast" => fast = true,
            "-h" | "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            name if STEPS.iter().any(|(step, ..)| *step == name) => only.push(name),
            _ => bail!("unknown argument {argument:?}\n{USAGE}"),
        }
    }
    let mut times = Vec::new();
    for (name, needs_browser, step) in STEPS {
        if !only.is_empty() && !only.contains(&name) {
            continue;
        }
        if fast && needs_browser {
            times.push(format!("{name} left out (--fast)"));
            continue;
        }
        setup::say(&format!("test: {name}"));
        let started = Instant::now();
        step().with_context(|| format!("step {name:?}"))?;
        times.push(format!("{name} {:.0} s", started.elapsed().as_secs_f64()));
    }
    setup::say(&format!("all passed: {}", times.join(", ")));
    Ok(())
}

fn fmt() -> Result<()> {
    tools::run(tools::cargo(&["fmt", "--all", "--check"])?)?;
    let manifest = "--manifest-path=xtask/wasm-bindgen/Cargo.toml";
    tools::run(tools::cargo(&["fmt", manifest, "--check"])?)
}

/// Natively everything, for wasm32 everything that can end up in the page.
fn clippy() -> Result<()> {
    let deny = ["--", "-D", "warnings"];
    let mut native = tools::cargo(&["clippy", "--workspace", "--all-targets", "--locked"])?;
    native.args(deny);
    tools::run(native)?;
    setup::wasm_target()?;
    let target = "--target=wasm32-unknown-unknown";
    let mut wasm = tools::cargo(&["clippy", "--workspace", "--locked", target])?;
    for package in NATIVE_ONLY {
        if tools::root().join("crates").join(package).is_dir() || package == "xtask" {
            wasm.args(["--exclude", package]);
        }
    }
    wasm.args(deny);
    tools::run(wasm)
}

fn native() -> Result<()> {
    setup::native_tests()?;
    // The guest of the kernel's tests.
    images::tree("busybox")?;
    tools::run(tools::cargo(&["test", "--workspace", "--locked"])?)
}

/// Builds the page as it is published, and looks at what came out.
fn page() -> Result<()> {
    setup::page()?;
    serve::build_page()?;
    let dist = tools::root().join("dist");
    tidy::only_relative_urls(&dist)?;
    let page = wasm_of(&dist, "drydock-")?;
    let page_bytes = brotli_bytes(&page)?;
    let worker_bytes = brotli_bytes("worker_bg.wasm")?;
    let kib = |bytes: u64| bytes.div_ceil(1024);
    setup::say(&format!(
        "after brotli: page {} KiB (at most {}), worker {} KiB (at most {})",
        kib(page_bytes),
        kib(PAGE_BROTLI_BYTES_MAX),
        kib(worker_bytes),
        kib(WORKER_BROTLI_BYTES_MAX),
    ));
    if page_bytes > PAGE_BROTLI_BYTES_MAX || worker_bytes > WORKER_BROTLI_BYTES_MAX {
        bail!("a program of the page is too large");
    }
    Ok(())
}

/// The name of Trunk's hashed output.
pub fn wasm_of(dist: &Path, prefix: &str) -> Result<String> {
    let entries = std::fs::read_dir(dist).context("reading dist")?;
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .find(|name| name.starts_with(prefix) && name.ends_with(".wasm"))
        .with_context(|| format!("no {prefix}*.wasm in dist"))
}

/// The size of a file of `dist/` as a web host would send it. Node has the compressor.
pub fn brotli_bytes(name: &str) -> Result<u64> {
    let script = "const zlib = require('zlib'), fs = require('fs');\
         console.log(zlib.brotliCompressSync(fs.readFileSync(process.argv[1])).length)";
    let file = format!("dist/{name}");
    let printed = tools::output(tools::command("node", &["-e", script, &file])?)?;
    printed.trim().parse().context("node printed no number")
}

/// The page in Chromium, at the root of a host and deep below it.
fn browser() -> Result<()> {
    setup::browser_tests()?;
    let chromium = setup::chromium()?;
    let dist = tools::root().join("dist");
    if !dist.join("index.html").is_file() {
        page()?;
    }
    let mut playwright = tools::command("npm", &["test", "--silent"])?;
    for (variable, base) in [
        ("DRYDOCK_URL", "/"),
        ("DRYDOCK_DEEP_URL", "/some/where/deep/"),
    ] {
        let server = serve::http::Server::bind(&dist, base, 0, serve::http::Line::new(0))?;
        playwright.env(variable, server.url());
        std::thread::spawn(move || server.run());
    }
    playwright.env("CHROMIUM", chromium);
    tools::run(playwright)
}
