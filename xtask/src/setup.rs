//! `cargo xtask setup`: installs what is missing to build, serve and test, after saying so.
//!
//! Every step first looks whether its work is done, by version, so that a second run does
//! nothing. What only `git`, `rustup` and a C toolchain can give is not installed here: without
//! them this program does not run. The other commands call the part they need.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::tools::{self, TRUNK, WASM_BINDGEN};

/// The oldest Node.js that esbuild and Playwright run on.
const NODE_MAJOR_MIN: u32 = 18;

/// A Debian package, and the program by which we know that it is there.
pub type Package = (&'static str, &'static str);

/// Needed to bundle the terminal and to run the browser tests.
pub const NODE: [Package; 2] = [("node", "nodejs"), ("npm", "npm")];

/// What compiles `tests/syscalls` for this computer and for the machine.
const COMPILERS: [Package; 2] = [
    ("gcc", "build-essential"),
    (
        "riscv64-linux-gnu-gcc",
        "gcc-riscv64-linux-gnu libc6-dev-riscv64-cross",
    ),
];

/// The reference the CPU is compared with.
const QEMU: Package = ("qemu-riscv64", "qemu-user");

/// Runs the command.
pub fn run(args: &[String]) -> Result<()> {
    match args {
        [] => {}
        [first, ..] => bail!("setup takes no arguments, got {first:?}"),
    }
    page()?;
    native_tests()?;
    browser_tests()?;
    say("everything is there");
    Ok(())
}

/// Announces a step.
pub fn say(what: &str) {
    eprintln!("==> {what}");
}

/// What building the page needs.
pub fn page() -> Result<()> {
    wasm_target()?;
    wasm_bindgen()?;
    trunk()?;
    node()?;
    npm_packages()?;
    bundle()
}

/// What the native tests need beyond cargo.
pub fn native_tests() -> Result<()> {
    qemu()?;
    apt(&COMPILERS)?;
    docker_client();
    Ok(())
}

/// A Docker client, which transcripts are also run with. Debian's package has it alone, Ubuntu's with its
/// daemon; where neither is to be had the test says that it is passed over.
fn docker_client() {
    let packages = [("docker", "docker-cli"), ("docker", "docker.io")];
    if !packages.iter().any(|package| apt(&[*package]).is_ok()) {
        say(
            "no Docker client to be had: the transcripts with #!client are run with the machine's alone",
        );
    }
}

/// What building images needs too, to run an image's Python.
pub fn qemu() -> Result<()> {
    apt(&[QEMU])
}

/// What the browser tests need beyond the page.
pub fn browser_tests() -> Result<()> {
    node()?;
    npm_packages()?;
    chromium().map(drop)
}

/// Chromium's path: `CHROMIUM=`, or one on PATH, or the distribution's, installed.
pub fn chromium() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM").filter(|value| !value.is_empty()) {
        let named = PathBuf::from(named);
        if !named.is_file() {
            bail!("CHROMIUM={} is not a file", named.display());
        }
        return Ok(named);
    }
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = || names.iter().find_map(|name| tools::find(name));
    if let Some(found) = found() {
        return Ok(found);
    }
    apt(&[("chromium", "chromium")])?;
    found().context(
        "Chromium is not on PATH even now (Ubuntu's package installs a snap): name one by CHROMIUM=",
    )
}

/// `rust-toolchain.toml` names the target, but an old installation may lack it.
pub fn wasm_target() -> Result<()> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let sysroot = tools::output(tools::command("rustc", &["--print", "sysroot"])?)?;
    let library = PathBuf::from(sysroot.trim())
        .join("lib/rustlib")
        .join(TARGET);
    if library.is_dir() {
        return Ok(());
    }
    say("rustup: the wasm32 standard library");
    tools::run(tools::command("rustup", &["target", "add", TARGET])?)
}

/// The tool that makes a `.wasm` file callable; built from `xtask/wasm-bindgen`.
fn wasm_bindgen() -> Result<()> {
    let folder = tools::tool("wasm-bindgen", WASM_BINDGEN)?;
    let version = tools::probe(folder.join("bin/wasm-bindgen"), &["--version"]);
    if version.is_some_and(|version| version.ends_with(WASM_BINDGEN)) {
        return Ok(());
    }
    say(&format!(
        "wasm-bindgen {WASM_BINDGEN} into {} (once; 1 to 2 minutes)",
        folder.display()
    ));
    cargo_install(
        "wasm-bindgen",
        WASM_BINDGEN,
        &["--path", "xtask/wasm-bindgen"],
    )
}

/// The page's builder. Without default features it has no TLS: it cannot download anything.
fn trunk() -> Result<()> {
    let folder = tools::tool("trunk", TRUNK)?;
    let version = tools::probe(folder.join("bin/trunk"), &["--version"]);
    if version.is_some_and(|version| version.ends_with(TRUNK)) {
        return Ok(());
    }
    say(&format!(
        "Trunk {TRUNK} into {} (once; 3 to 10 minutes)",
        folder.display()
    ));
    let source = ["trunk", "--version", TRUNK, "--no-default-features"];
    cargo_install("trunk", TRUNK, &source)
}

/// `cargo install` into the tool's own folder. Optimised for the build, not for the run: a tool is
/// compiled once and runs for a second.
fn cargo_install(name: &str, version: &str, source: &[&str]) -> Result<()> {
    let build = tools::cache()?.join("build").join(name);
    let mut command = tools::cargo(&["install", "--locked", "--force"])?;
    command
        .args(source)
        .arg("--root")
        .arg(tools::tool(name, version)?)
        .env("CARGO_TARGET_DIR", &build)
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    tools::run(command)?;
    // Kept until now so that an interrupted build goes on where it was.
    fs::remove_dir_all(&build).with_context(|| format!("removing {}", build.display()))
}

fn node() -> Result<()> {
    apt(&NODE)?;
    let version = tools::probe("node", &["--version"]).context("node does not run")?;
    let major = version.trim_start_matches('v').split('.').next();
    let major: u32 = major.unwrap_or_default().parse().unwrap_or(0);
    if major < NODE_MAJOR_MIN {
        bail!("Node.js {version} is too old: {NODE_MAJOR_MIN} is the oldest that works");
    }
    Ok(())
}

/// The npm packages of `package-lock.json`, exactly. A copy of the lock file beside them tells
/// what is there.
fn npm_packages() -> Result<()> {
    let root = tools::root();
    let lock = fs::read(root.join("package-lock.json")).context("reading package-lock.json")?;
    let stamp = root.join("node_modules/.drydock-lock.json");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    say("npm packages (terminal, bundler, browser test runner)");
    // No install scripts: esbuild's only replaces a launcher, and Playwright's downloads browsers.
    let mut npm = tools::command(
        "npm",
        &["ci", "--ignore-scripts", "--no-fund", "--no-audit"],
    )?;
    npm.env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1");
    tools::run(npm)?;
    fs::write(&stamp, lock).with_context(|| format!("writing {}", stamp.display()))
}

/// The terminal as one script. Third-party code is not committed, so it is made here.
fn bundle() -> Result<()> {
    let root = tools::root();
    let made = root.join("static/vendor/.made-from");
    let mut inputs = Vec::new();
    for input in [
        "package-lock.json",
        "package.json",
        "static/xterm_bundle.js",
    ] {
        inputs.extend(fs::read(root.join(input)).with_context(|| format!("reading {input}"))?);
    }
    if fs::read(&made).is_ok_and(|from| from == inputs) {
        return Ok(());
    }
    say("xterm.js into static/vendor");
    tools::run(tools::command("npm", &["run", "--silent", "bundle"])?)?;
    fs::write(&made, inputs).with_context(|| format!("writing {}", made.display()))
}

/// Installs the Debian packages whose programs are missing, after saying so.
pub fn apt(packages: &[Package]) -> Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .filter(|(program, _)| tools::find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let root = tools::probe("id", &["-u"]).is_some_and(|id| id == "0");
    let sudo = if root { "" } else { "sudo " };
    let line = format!("{sudo}apt-get install -y {}", missing.join(" "));
    if tools::find("apt-get").is_none() || (!root && tools::find("sudo").is_none()) {
        bail!(
            "missing: {}; on Debian or Ubuntu: {line}",
            missing.join(", ")
        );
    }
    say(&format!("Debian packages are missing; running: {line}"));
    let apt = |arguments: &[&str]| {
        let words = ["sudo", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
        let words = if root { &words[1..] } else { &words[..] };
        let words = [words, arguments].concat();
        // `env` takes the assignment for root; sudo takes it itself.
        let program = if root { "env" } else { words[0] };
        let rest = if root { &words[..] } else { &words[1..] };
        tools::run(tools::command(program, rest)?)
    };
    apt(&["update", "-q"])?;
    let mut install = vec!["install", "-y", "-q", "--no-install-recommends"];
    install.extend(missing.iter().flat_map(|names| names.split(' ')));
    apt(&install).with_context(|| format!("`{line}` by hand shows why"))
}
