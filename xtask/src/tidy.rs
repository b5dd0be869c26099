//! `cargo xtask tidy`: the repository's own conventions, those that no compiler checks.
//!
//! Each check answers with one line per offence, `file: what is wrong`. What is allowed against
//! the rule is listed here, where it has to be argued.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::tools;

/// Lines after which a file is two ideas.
const LINES_MAX: usize = 1000;

/// Files that may be longer, and why.
const LONG: &[(&str, &str)] = &[];

/// Packages that may name `kernel`: the composition, the programs above it, and fuzzing. All others know
/// the machine only through crate `os` (design §3).
const ABOVE_KERNEL: [&str; 6] = ["playground", "drydockd", "sim", "xtask", "drydock", "fuzz"];

/// Runs the command.
pub fn run(args: &[String]) -> Result<()> {
    if let Some(first) = args.first() {
        bail!("tidy takes no arguments, got {first:?}");
    }
    let files = tracked()?;
    let mut offences = Vec::new();
    offences.extend(rust_files(&files));
    offences.extend(manifests(&files));
    offences.extend(host_names(&files, &registry_hosts()));
    offences.extend(kernel_users()?);
    let dist = tools::root().join("dist");
    if dist.is_dir() {
        only_relative_urls(&dist)?;
    }
    if offences.is_empty() {
        return Ok(());
    }
    bail!("not tidy:\n  {}", offences.join("\n  "))
}

/// Every file git knows or would add, with its text; what is not text is no business of ours.
fn tracked() -> Result<Vec<(String, String)>> {
    let arguments = [
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ];
    let names = tools::output(tools::command("git", &arguments)?)?;
    let root = tools::root();
    let read = |name: &str| Some((name.to_owned(), fs::read_to_string(root.join(name)).ok()?));
    Ok(names.split_terminator('\0').filter_map(read).collect())
}

fn rust_files(files: &[(String, String)]) -> Vec<String> {
    let mut offences = Vec::new();
    for (name, text) in files {
        if !name.ends_with(".rs") {
            continue;
        }
        let first = text.lines().find(|line| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with("#!")
        });
        if !first.unwrap_or_default().starts_with("//!") {
            offences.push(format!(
                "{name}: no module header (`//!` what it is, what it is not)"
            ));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX && !LONG.iter().any(|(long, _)| long == name) {
            offences.push(format!("{name}: {lines} lines; split it by verb or family"));
        }
        // The lint is denied for the workspace; only the named files may allow it for themselves.
        let allows = concat!("allow(unsafe", "_code)");
        if text.contains(allows) && !name.ends_with("_unsafe.rs") {
            offences.push(format!(
                "{name}: unsafe code belongs in a file named *_unsafe.rs"
            ));
        }
    }
    offences
}

/// A package that forgets the workspace's lints is outside of all of them.
fn manifests(files: &[(String, String)]) -> Vec<String> {
    let own = |name: &str| name.ends_with("Cargo.toml") && !name.contains("wasm-bindgen/");
    files
        .iter()
        .filter(|(name, text)| own(name) && text.contains("[package]"))
        .filter(|(name, _)| !name.starts_with("fuzz/"))
        .filter(|(_, text)| !text.contains("[lints]\nworkspace = true"))
        .map(|(name, _)| format!("{name}: does not inherit the workspace's lints"))
        .collect()
}

/// The package mirrors of the machine we run on are its own: a file that names one would send
/// everybody else there. They are read from the machine's configuration, never written here.
fn registry_hosts() -> BTreeSet<String> {
    let mut configuration = String::new();
    let mut folders = vec![
        PathBuf::from("/etc/apt"),
        PathBuf::from("/etc/apt/sources.list.d"),
    ];
    folders.extend(std::env::var_os("CARGO_HOME").map(PathBuf::from));
    if let Some(home) = std::env::var_os("HOME").map(PathBuf::from) {
        folders.push(home.join(".cargo"));
    }
    for entry in folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
    {
        for file in entry.flatten().map(|entry| entry.path()) {
            let extension = file.extension().and_then(|extension| extension.to_str());
            if matches!(extension, Some("list" | "sources" | "toml")) {
                configuration.push_str(&fs::read_to_string(&file).unwrap_or_default());
            }
        }
    }
    for (program, arguments) in [
        ("apt-config", &["dump"][..]),
        ("npm", &["config", "get", "registry"][..]),
        ("pip", &["config", "list"][..]),
    ] {
        configuration.push_str(&tools::probe(program, arguments).unwrap_or_default());
        configuration.push('\n');
    }
    hosts_of(&configuration)
}

/// Host names of the URLs in a text; loopback is everybody's.
fn hosts_of(text: &str) -> BTreeSet<String> {
    let mut hosts = BTreeSet::new();
    for rest in text.split("://").skip(1) {
        let authority = rest
            .split(|c: char| c.is_whitespace() || "/\"';,)]>".contains(c))
            .next()
            .unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default();
        if host.contains('.') && !host.starts_with("127.") {
            hosts.insert(host.to_ascii_lowercase());
        }
    }
    hosts
}

fn host_names(files: &[(String, String)], hosts: &BTreeSet<String>) -> Vec<String> {
    let mut offences = Vec::new();
    for (name, text) in files {
        for (number, line) in text.lines().enumerate() {
            if hosts.iter().any(|host| line.contains(host.as_str())) {
                let number = number + 1;
                offences.push(format!("{name}:{number}: names a package registry's host"));
            }
        }
    }
    offences
}

/// Who depends on `kernel`.
fn kernel_users() -> Result<Vec<String>> {
    let arguments = [
        "tree",
        "--workspace",
        "--locked",
        "--invert=kernel",
        "--depth=1",
        "--prefix=depth",
        "--edges=normal,build",
        "--format= {p}",
    ];
    let tree = tools::output(tools::cargo(&arguments)?)?;
    let users = tree.lines().filter_map(|line| line.strip_prefix("1 "));
    Ok(users
        .filter_map(|package| package.split_whitespace().next())
        .filter(|package| !ABOVE_KERNEL.contains(package))
        .map(|package| format!("{package}: names `kernel`; below playground only `os` is known"))
        .collect())
}

/// The page may be hosted under any path: nothing in what Trunk wrote may be absolute.
pub fn only_relative_urls(dist: &Path) -> Result<()> {
    let mut offences = Vec::new();
    for entry in fs::read_dir(dist).context("reading dist")?.flatten() {
        let path = entry.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !matches!(extension, Some("html" | "css")) {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        offences.extend(
            absolute_urls(&text)
                .into_iter()
                .map(|url| format!("{}: {url}", path.display())),
        );
    }
    if offences.is_empty() {
        return Ok(());
    }
    bail!("absolute addresses:\n  {}", offences.join("\n  "))
}

fn absolute_urls(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for opening in ["href=\"", "src=\"", "from '", "from \"", "url(", "path: '"] {
        for rest in text.split(opening).skip(1) {
            let url = rest.split(['"', '\'', ')']).next().unwrap_or_default();
            if url.starts_with('/') || url.contains("://") && !url.starts_with("data:") {
                found.push(url.to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> (String, String) {
        (name.to_owned(), text.to_owned())
    }

    #[test]
    fn headers_lengths_and_unsafe() {
        let long = format!("//! Long.\n{}", "\n".repeat(LINES_MAX));
        let unsafe_code = concat!("#![allow(unsafe", "_code)]\n//! Raw.\n");
        let files = [
            file("good.rs", "//! Good.\n"),
            file("raw_unsafe.rs", unsafe_code),
            file("raw.rs", unsafe_code),
            file("bare.rs", "fn main() {}\n"),
            file("long.rs", &long),
            file("notes.md", "no header"),
        ];
        let offences = rust_files(&files);
        let names: Vec<_> = offences
            .iter()
            .map(|offence| offence.split(':').next().unwrap())
            .collect();
        assert_eq!(names, ["raw.rs", "bare.rs", "long.rs"]);
    }

    #[test]
    fn hosts_are_found_and_recognised() {
        let configuration = "deb http://mirror.example.net:80/debian x\n\
             registry = \"https://user:key@npm.example.org/a\"\nproxy http://127.0.0.1:3128";
        let hosts = hosts_of(configuration);
        assert_eq!(
            hosts.iter().collect::<Vec<_>>(),
            ["mirror.example.net", "npm.example.org"]
        );
        let files = [
            file("a", "fine\nsee mirror.example.net/x"),
            file("b", "fine"),
        ];
        assert_eq!(
            host_names(&files, &hosts),
            ["a:2: names a package registry's host"]
        );
    }

    #[test]
    fn absolute_addresses_are_found() {
        let text = "<a href=\"./x\"><a href=\"/y\"><link href=\"data:image/svg+xml,http://w3\">\
             import init from '/z.js'; url(http://h/f)";
        assert_eq!(absolute_urls(text), ["/y", "/z.js", "http://h/f"]);
    }
}
