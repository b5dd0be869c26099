//! What `pip install` finds in machines and containers: an index (PEP 503) of static files below
//! `target/images/packages/pypi`, with the wheels named in `files/pypi.txt`.
//!
//! This computer's pip fetches them from wherever it is configured to; the hashes are committed. Only wheels: a
//! container has no compiler, and pip would need another index to build with. Many are plain Python, the rest is
//! published for riscv64.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use oci::Digest;

use super::registry::write_if_changed;
use super::zip;
use crate::{setup, tools};

/// The lock file: requirements with hashes, as pip reads them.
pub const LOCK: &str = include_str!("files/pypi.txt");

/// What the images' Python can use, for pip to look for.
const TARGET: &[&str] = &[
    "--only-binary=:all:",
    "--python-version=3.13",
    "--implementation=cp",
    "--abi=cp313",
    "--abi=abi3",
    "--abi=none",
    "--platform=manylinux_2_31_riscv64",
    "--platform=manylinux_2_38_riscv64",
];

/// A line of the lock file.
#[derive(Debug, PartialEq, Eq)]
struct Locked {
    name: String,
    digest: Digest,
}

/// Writes the index below `root`; gives its files' paths there.
pub fn publish(out: &Path, root: &Path) -> anyhow::Result<Vec<String>> {
    let locked = locked(LOCK)?;
    let wheels = wheels(&locked, &out.join("wheels"))?;
    let mut files = Vec::new();
    let mut put = |path: String, bytes: &[u8]| -> anyhow::Result<()> {
        write_if_changed(&root.join(&path), bytes)?;
        files.push(path);
        Ok(())
    };
    let mut pages: BTreeMap<&str, String> = BTreeMap::new();
    for package in &locked {
        let (file, bytes) = &wheels[&package.digest];
        let metadata = metadata(bytes).with_context(|| format!("reading {file}"))?;
        let row = row(file, &package.digest, &metadata);
        pages.entry(&package.name).or_default().push_str(&row);
        put(format!("pool/{file}"), bytes)?;
        put(format!("pool/{file}.metadata"), metadata.as_bytes())?;
    }
    let names: String = pages
        .keys()
        .map(|name| format!("<a href=\"{name}/\">{name}</a><br>\n"))
        .collect();
    put(
        "simple/index.html".to_string(),
        page("Simple index", &names).as_bytes(),
    )?;
    for (name, rows) in &pages {
        let page = page(&format!("Links for {name}"), rows);
        put(format!("simple/{name}/index.html"), page.as_bytes())?;
    }
    Ok(files)
}

/// The lines of the lock file.
fn locked(text: &str) -> anyhow::Result<Vec<Locked>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let parts = line.split_once("==").zip(line.split_once("--hash=sha256:"));
            let ((name, _), (_, hash)) = parts.with_context(|| format!("pypi.txt: {line:?}"))?;
            Ok(Locked {
                name: name.to_string(),
                digest: Digest::from_hex(hash).with_context(|| format!("pypi.txt: {line:?}"))?,
            })
        })
        .collect()
}

/// The wheels by digest, with their file names; fetched into `dir` unless they are there.
fn wheels(locked: &[Locked], dir: &Path) -> anyhow::Result<BTreeMap<Digest, (String, Vec<u8>)>> {
    std::fs::create_dir_all(dir)?;
    let mut wheels = read(dir)?;
    let missing = |wheels: &BTreeMap<Digest, _>| {
        let package = locked
            .iter()
            .find(|package| !wheels.contains_key(&package.digest));
        package.map(|package| package.name.clone())
    };
    if missing(&wheels).is_some() {
        println!("  pip: fetching {} packages", locked.len());
        setup::apt(&[("pip3", "python3-pip")])?;
        let lock = dir.join("requirements.txt");
        std::fs::write(&lock, LOCK)?;
        let mut pip = tools::command("pip3", &["download", "-q", "--no-deps", "--require-hashes"])?;
        pip.args(TARGET).arg("-d").arg(dir).arg("-r").arg(&lock);
        tools::run(pip).context("fetching Python packages")?;
        wheels = read(dir)?;
    }
    if let Some(name) = missing(&wheels) {
        bail!("pip has not fetched the version of {name} that pypi.txt names");
    }
    Ok(wheels)
}

fn read(dir: &Path) -> anyhow::Result<BTreeMap<Digest, (String, Vec<u8>)>> {
    let mut wheels = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".whl") {
            let bytes = std::fs::read(entry.path())?;
            wheels.insert(Digest::of(&bytes), (name, bytes));
        }
    }
    Ok(wheels)
}

/// A wheel's own description.
fn metadata(wheel: &[u8]) -> anyhow::Result<String> {
    let wanted = |path: &str| {
        let folder = path.strip_suffix(".dist-info/METADATA");
        folder.is_some_and(|folder| !folder.contains('/'))
    };
    let mut members = zip::members(wheel, wanted)?;
    ensure!(members.len() == 1, "{} descriptions", members.len());
    Ok(String::from_utf8(members.remove(0).bytes)?)
}

/// A wheel's line in the page of its project: with the description's hash (PEP 658), so that pip need not fetch
/// wheels to learn what they depend on.
fn row(file: &str, digest: &Digest, metadata: &str) -> String {
    let hash = digest.hex();
    let metadata_hash = Digest::of(metadata.as_bytes()).hex();
    let headers = metadata.lines().take_while(|line| !line.is_empty());
    let python = headers
        .filter_map(|line| line.strip_prefix("Requires-Python:"))
        .next();
    let python = python.map(|python| {
        let python = python.trim().replace('<', "&lt;").replace('>', "&gt;");
        format!(" data-requires-python=\"{python}\"")
    });
    format!(
        "<a href=\"../../pool/{file}#sha256={hash}\"{} data-core-metadata=\"sha256={metadata_hash}\">{file}</a><br>\n",
        python.unwrap_or_default()
    )
}

fn page(title: &str, rows: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html>\n<head>\n<meta name=\"pypi:repository-version\" content=\"1.0\">\n\
         <title>{title}</title>\n</head>\n<body>\n{rows}</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::zip::tests::archive;
    use super::*;

    #[test]
    fn the_lock_file_is_read() {
        let locked = locked(LOCK).unwrap();
        assert!(locked.len() > 40);
        for package in &locked {
            let normal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(package.name.chars().all(normal), "{}", package.name);
        }
        for wrong in [
            "flask",
            "flask==1",
            "flask==1 --hash=sha256:12",
            "flask==1 --hash=md5:1",
        ] {
            assert!(super::locked(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rows_say_what_pip_asks() {
        let text =
            "Metadata-Version: 2.1\nName: a\nRequires-Python: >=3.9,<4\n\nRequires-Python: no\n";
        let wheel = archive(&[("a/__init__.py", ""), ("a-1.dist-info/METADATA", text)]);
        let metadata = metadata(&wheel).unwrap();
        assert_eq!(metadata, text);
        let row = row("a-1-py3-none-any.whl", &Digest::of(&wheel), &metadata);
        assert!(
            row.contains(" data-requires-python=\"&gt;=3.9,&lt;4\" "),
            "{row}"
        );
        assert!(
            row.contains(&format!("whl#sha256={}\"", Digest::of(&wheel).hex())),
            "{row}"
        );
    }
}
