//! What `npm install` finds in machines and containers: a registry of static files below
//! `target/images/packages/npm`, with the packages named in `files/npm.txt`. And npm itself, for the `node` image.
//!
//! This computer's npm fetches them from wherever it is configured to; the hashes are committed. Nothing is
//! compiled: a package whose install script builds something is not among them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use flate2::read::GzDecoder;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha512};

use super::deb::member_path;
use super::registry::write_if_changed;
use super::tree::Tree;
use crate::{setup, tools};

/// The lock file: name, version, integrity.
pub const LOCK: &str = include_str!("files/npm.txt");

/// Where the machines find it.
const REGISTRY: &str = "http://packages.drydock/npm";

/// Packages asked for by one call of npm, and calls at a time.
const PER_CALL: usize = 40;
const CALLS: usize = 4;

/// A line of the lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    name: String,
    version: String,
    integrity: String,
}

impl std::fmt::Display for Locked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.name, self.version, self.integrity)
    }
}

impl Locked {
    /// The archive's name in a registry: without the scope.
    fn file(&self) -> String {
        let name = self.name.rsplit('/').next().unwrap_or(&self.name);
        format!("{name}-{}.tgz", self.version)
    }

    /// The archive's name as `npm pack` writes it.
    fn packed(&self) -> String {
        let name = self.name.trim_start_matches('@').replace('/', "-");
        format!("{name}-{}.tgz", self.version)
    }
}

/// Writes the registry below `root`; gives its files' paths there.
pub fn publish(out: &Path, root: &Path) -> anyhow::Result<Vec<String>> {
    let locked = locked(LOCK)?;
    let dir = out.join("tarballs");
    fetch(&locked, &dir)?;
    let mut files = Vec::new();
    let mut put = |path: String, bytes: &[u8]| -> anyhow::Result<()> {
        write_if_changed(&root.join(&path), bytes)?;
        files.push(path);
        Ok(())
    };
    let mut packages: BTreeMap<&str, Vec<(&Locked, Value)>> = BTreeMap::new();
    for package in &locked {
        let bytes = std::fs::read(dir.join(package.packed()))?;
        let manifest = manifest(&bytes).with_context(|| format!("reading {}", package.packed()))?;
        let versions = packages.entry(&package.name).or_default();
        versions.push((package, manifest));
        put(format!("{}/-/{}", package.name, package.file()), &bytes)?;
    }
    let names: Vec<&str> = packages.keys().copied().collect();
    put(
        "index.json".to_string(),
        &serde_json::to_vec_pretty(&names)?,
    )?;
    for (name, versions) in packages {
        let document = serde_json::to_vec(&document(name, &versions))?;
        put(format!("{name}/index.json"), &document)?;
    }
    Ok(files)
}

/// npm's own line of the lock file.
pub fn itself() -> anyhow::Result<Locked> {
    let mut locked = locked(LOCK)?.into_iter();
    let npm = locked.find(|package| package.name == "npm");
    npm.context("npm.txt has no npm")
}

/// npm where Docker's image has it. Debian's own would bring some hundred packages along.
pub fn install(tree: &mut Tree, out: &Path) -> anyhow::Result<()> {
    const LIBRARY: &str = "usr/local/lib/node_modules/npm";
    let (npm, dir) = (itself()?, out.join("tarballs"));
    fetch(std::slice::from_ref(&npm), &dir)?;
    let bytes = std::fs::read(dir.join(npm.packed()))?;
    each_file(&bytes, |path, mode, bytes| {
        let documents = path.starts_with("man/") || path.starts_with("docs/");
        if !documents {
            let mode = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
            tree.file(&format!("{LIBRARY}/{path}"), mode, bytes);
        }
    })?;
    for name in ["npm", "npx"] {
        let target = format!("../lib/node_modules/npm/bin/{name}-cli.js");
        tree.symlink(&format!("usr/local/bin/{name}"), &target);
    }
    tree.file(
        &format!("{LIBRARY}/npmrc"),
        0o644,
        include_str!("files/npmrc"),
    );
    Ok(())
}

/// The lines of the lock file.
fn locked(text: &str) -> anyhow::Result<Vec<Locked>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [name, version, integrity] = words[..] else {
                bail!("npm.txt: {line:?}");
            };
            ensure!(integrity.starts_with("sha512-"), "npm.txt: {line:?}");
            Ok(Locked {
                name: name.to_string(),
                version: version.to_string(),
                integrity: integrity.to_string(),
            })
        })
        .collect()
}

/// Fetches what is not in `dir` yet.
fn fetch(locked: &[Locked], dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)?;
    let have = |package: &&Locked| {
        let bytes = std::fs::read(dir.join(package.packed()));
        bytes.is_ok_and(|bytes| integrity(&bytes) == package.integrity)
    };
    let missing: Vec<&Locked> = locked.iter().filter(|package| !have(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("  npm: fetching {} packages", missing.len());
    setup::apt(&setup::NODE)?;
    let calls: Vec<&[&Locked]> = missing.chunks(PER_CALL).collect();
    for calls in calls.chunks(CALLS) {
        let mut running = Vec::new();
        for packages in calls {
            let names = packages.iter().map(|p| format!("{}@{}", p.name, p.version));
            let mut npm = tools::command("npm", &["pack", "--silent", "--ignore-scripts"])?;
            npm.arg("--pack-destination").arg(dir).args(names);
            npm.stdout(std::process::Stdio::null());
            running.push(npm.spawn().context("npm does not run")?);
        }
        for mut npm in running {
            ensure!(npm.wait()?.success(), "npm pack failed");
        }
    }
    if let Some(package) = missing.iter().find(|package| !have(package)) {
        bail!(
            "{} {} is not what npm.txt names",
            package.name,
            package.version
        );
    }
    Ok(())
}

/// Subresource integrity, as lock files have it.
fn integrity(bytes: &[u8]) -> String {
    format!("sha512-{}", base64(&Sha512::digest(bytes)))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0_u32, |group, byte| group << 8 | u32::from(*byte));
        let group = group << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let six = group >> (18 - 6 * digit) & 63;
            let digit = if digit <= chunk.len() {
                DIGITS[six as usize]
            } else {
                b'='
            };
            text.push(char::from(digit));
        }
    }
    text
}

/// Every file of a package, with its mode. Owners are often no numbers.
fn each_file(archive: &[u8], mut take: impl FnMut(&str, u32, Vec<u8>)) -> anyhow::Result<()> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = member_path(&entry.path_bytes())?;
        // The first folder is `package` by custom only.
        let path = path.split_once('/').map(|(_, path)| path.to_string());
        if let (Some(path), tar::EntryType::Regular) = (path, entry.header().entry_type()) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            take(&path, entry.header().mode()?, bytes);
        }
    }
    Ok(())
}

/// A package's `package.json`.
fn manifest(archive: &[u8]) -> anyhow::Result<Value> {
    let mut manifest = None;
    each_file(archive, |path, _, bytes| {
        if path == "package.json" {
            manifest = Some(bytes);
        }
    })?;
    let manifest = manifest.context("no package.json")?;
    let text = manifest.strip_prefix("\u{feff}".as_bytes());
    serde_json::from_slice(text.unwrap_or(&manifest)).context("package.json")
}

/// What a registry says about a package, as far as installing needs it.
fn document(name: &str, versions: &[(&Locked, Value)]) -> Value {
    const FIELDS: &[&str] = &[
        "bin",
        "bundleDependencies",
        "bundledDependencies",
        "cpu",
        "dependencies",
        "description",
        "engines",
        "funding",
        "libc",
        "license",
        "optionalDependencies",
        "os",
        "peerDependencies",
        "peerDependenciesMeta",
    ];
    let mut all = Map::new();
    for (package, manifest) in versions {
        let mut version: Map<String, Value> = FIELDS
            .iter()
            .filter_map(|field| Some((field.to_string(), manifest.get(*field)?.clone())))
            .collect();
        let scripts = ["preinstall", "install", "postinstall"];
        if scripts
            .iter()
            .any(|script| manifest["scripts"].get(*script).is_some())
        {
            version.insert("hasInstallScript".to_string(), json!(true));
        }
        version.insert("name".to_string(), json!(name));
        version.insert("version".to_string(), json!(package.version));
        let tarball = format!("{REGISTRY}/{name}/-/{}", package.file());
        let dist = json!({"tarball": tarball, "integrity": package.integrity});
        version.insert("dist".to_string(), dist);
        all.insert(package.version.clone(), Value::Object(version));
    }
    // The lock file has them in order.
    let latest = versions.last().map(|(package, _)| &package.version);
    json!({"name": name, "dist-tags": {"latest": latest}, "versions": all})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_rfc_4648() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (text, expected) in cases {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }

    #[test]
    fn the_lock_file_is_in_order() {
        let locked = locked(LOCK).unwrap();
        let numbers = |version: &str| -> Vec<u64> {
            let plain = version.split('-').next().unwrap_or_default();
            plain
                .split('.')
                .map(|number| number.parse().unwrap())
                .collect()
        };
        for pair in locked.windows(2) {
            let keys = [&pair[0], &pair[1]].map(|p| (p.name.clone(), numbers(&p.version)));
            assert!(keys[0] < keys[1], "{keys:?}");
        }
        assert!(super::locked("express 4").is_err());
        assert!(super::locked("express 4.0.0 sha1-x").is_err());
    }

    #[test]
    fn files_are_named_as_in_registries() {
        let package = |name: &str| Locked {
            name: name.to_string(),
            version: "1.2.3".to_string(),
            integrity: String::new(),
        };
        let scoped = package("@redis/client");
        assert_eq!(
            (scoped.file(), scoped.packed()),
            ("client-1.2.3.tgz".into(), "redis-client-1.2.3.tgz".into())
        );
        assert_eq!(package("ms").file(), "ms-1.2.3.tgz");
        let manifest = json!({"dependencies": {"ms": "2"}, "scripts": {"install": "x", "test": "y"}, "main": "z"});
        let document = document("@redis/client", &[(&scoped, manifest)]);
        assert_eq!(document["dist-tags"]["latest"], "1.2.3");
        let version = &document["versions"]["1.2.3"];
        assert_eq!(
            version["dist"]["tarball"],
            format!("{REGISTRY}/@redis/client/-/client-1.2.3.tgz")
        );
        assert_eq!(version["hasInstallScript"], true);
        assert_eq!(version["dependencies"]["ms"], "2");
        assert_eq!(version.get("main"), None);
    }
}
