//! Running other programs, and where the project's own tools are kept.
//!
//! Tools are kept per user, not per checkout, in a folder named by version: a second clone (as CI
//! is one) finds them, and a new pin never meets an old binary.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Trunk's pin. 0.22 needs a newer Rust than ours.
pub const TRUNK: &str = "0.21.14";

/// wasm-bindgen's pin; the page's Cargo.toml and `xtask/wasm-bindgen` say the same.
pub const WASM_BINDGEN: &str = "0.2.130";

/// The repository's root, wherever xtask is called from.
pub fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// The per-user folder of everything that is slow to make and the same for every checkout.
pub fn cache() -> Result<PathBuf> {
    let named = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    if let Some(folder) = named("XDG_CACHE_HOME") {
        return Ok(PathBuf::from(folder).join("drydock"));
    }
    let home = named("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/drydock"))
}

/// A tool's own folder; its programs are in `bin` below it.
pub fn tool(name: &str, version: &str) -> Result<PathBuf> {
    Ok(cache()?.join("tools").join(format!("{name}-{version}")))
}

/// PATH with the project's tools first.
pub fn path() -> Result<OsString> {
    let mut folders = vec![
        tool("trunk", TRUNK)?.join("bin"),
        tool("wasm-bindgen", WASM_BINDGEN)?.join("bin"),
    ];
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&inherited));
    Ok(std::env::join_paths(folders)?)
}

/// A command in the repository's root with the project's tools on its PATH.
pub fn command(program: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(root())
        .env("PATH", path()?);
    Ok(command)
}

/// Cargo, at the version that runs us.
pub fn cargo(arguments: &[&str]) -> Result<Command> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    command(&cargo, arguments)
}

/// Runs a command to its end, its output going where ours goes.
pub fn run(mut command: Command) -> Result<()> {
    let shown = shown(&command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Runs a command and takes what it prints.
pub fn output(mut command: Command) -> Result<String> {
    let shown = shown(&command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed ({})", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What a program prints for these arguments, if it is there and succeeds.
pub fn probe(program: impl AsRef<Path>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program.as_ref())
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// Where a program is on PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}
