//! The repository of Debian packages inside the playground: what `apt-get` in a machine or a container finds.
//!
//! Static files below `target/images/packages`, beside the registry: packages exactly as Debian built them, in
//! a pool, with lists of our own selection. The lists are not signed: whoever builds the page would have to
//! publish the key together with what it signs, and everything comes from the playground's own folder, as the
//! machines do. So the images' sources say `Trusted: yes`.
//!
//! What `pip` and `npm` find lies beside it: [`super::pypi`], [`super::npm`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use oci::Digest;
use serde::{Deserialize, Serialize};

use super::apt::{ARCHITECTURE, Apt, PackageFile, SUITE};
use super::recipe::DEBIAN;
use super::registry::write_if_changed;
use super::tree::EPOCH_DATE;
use super::{Builder, NODE, Options, megabytes, npm, pypi, sources_digest};

/// What tutorials install; dependencies come along.
const PACKAGES: &[&str] = &[
    "apt-transport-https",
    "bc",
    "bind9-dnsutils",
    "bzip2",
    "ca-certificates",
    "curl",
    "dialog",
    "dnsutils",
    "figlet",
    "file",
    "fortune-mod",
    "gettext-base",
    "hello",
    "htop",
    "iproute2",
    "iputils-ping",
    "jq",
    "less",
    "lsb-release",
    "make",
    "nano",
    "net-tools",
    "netcat-openbsd",
    "netcat-traditional",
    "nginx",
    "openssh-client",
    "openssl",
    "patch",
    "procps",
    "psmisc",
    "python3",
    "sl",
    "socat",
    "sqlite3",
    "stress",
    "tcpdump",
    "telnet",
    "tmux",
    "traceroute",
    "tree",
    "unzip",
    "vim",
    "vim-tiny",
    "wget",
    "xz-utils",
    "zip",
];

/// What is there besides after `cargo xtask images --all`: large, or seldom installed.
const MORE: &[&str] = &[
    "apache2",
    "apache2-utils",
    "apt-utils",
    "bash-completion",
    "cowsay",
    "cron",
    "default-mysql-client",
    "gawk",
    "git",
    "gnupg",
    "haproxy",
    "iperf3",
    "iptables",
    "lighttpd",
    "locales",
    "lolcat",
    "lsof",
    "man-db",
    "mariadb-client",
    "memcached",
    "nmap",
    "openssh-server",
    "perl",
    "php-cli",
    "postgresql-client",
    "python3-flask",
    "python3-pip",
    "python3-venv",
    "redis-server",
    "redis-tools",
    "rsync",
    "screen",
    "siege",
    "strace",
    "sudo",
    "supervisor",
];

/// What was published, so that a second run has nothing to do.
#[derive(Default, Serialize, Deserialize)]
struct Record {
    key: String,
    more: bool,
    files: Vec<String>,
}

impl Record {
    /// What is recorded there, or nothing.
    fn read(path: &Path) -> Record {
        let bytes = std::fs::read(path).ok();
        let record = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        record.unwrap_or_default()
    }
}

/// Makes the repositories beside the images, unless they are there: where images were named, those that these
/// use.
pub fn publish(builder: &Builder, options: &Options) -> anyhow::Result<()> {
    let out = &options.out;
    if !builder.partial {
        debian(builder, options)?;
    }
    if builder.wants("library/python") {
        let source = [include_str!("pypi.rs"), include_str!("zip.rs"), pypi::LOCK];
        locked(out, "pypi", &source, |root| pypi::publish(out, root))?;
    }
    if builder.wants("library/node") {
        let source = [include_str!("npm.rs"), npm::LOCK];
        locked(out, "npm", &source, |root| npm::publish(out, root))?;
    }
    Ok(())
}

/// A repository whose content a lock file and the source say.
fn locked(
    out: &Path,
    name: &str,
    source: &[&str],
    publish: impl Fn(&Path) -> anyhow::Result<Vec<String>>,
) -> anyhow::Result<()> {
    let record_path = out.join(format!("{name}.json"));
    let record = Record::read(&record_path);
    let key = sources_digest(source).to_string();
    let root = out.join("packages").join(name);
    if record.key == key && record.files.iter().all(|file| root.join(file).is_file()) {
        return Ok(());
    }
    let files = publish(&root)?;
    sweep(&root, &files)?;
    let more = false;
    let record = Record { key, more, files };
    write_if_changed(&record_path, &serde_json::to_vec_pretty(&record)?)
}

/// The packages of Debian. Once made with `--all`, they stay so.
fn debian(builder: &Builder, options: &Options) -> anyhow::Result<()> {
    let out = &options.out;
    let record_path = out.join("packages.json");
    let record = Record::read(&record_path);
    let more = options.all || record.more;
    let names: Vec<&str> = match more {
        true => [PACKAGES, MORE].concat(),
        false => PACKAGES.to_vec(),
    };
    let source = sources_digest(&[include_str!("packages.rs")]);
    let everywhere = everywhere(builder)?;
    let everywhere_digest = Digest::of(format!("{everywhere:?}").as_bytes());
    let key = format!("{source} {everywhere_digest} {names:?}");
    let root = out.join("packages/debian");
    let there = |file: &String| root.join(file).is_file();
    if record.key == key && !options.update && record.files.iter().all(there) {
        return Ok(());
    }
    let apt = Apt::open(&builder.apt_root, false)?;
    let packages = select(&apt, &names, &everywhere)?;
    let bytes: u64 = packages.iter().map(|package| package.size).sum();
    println!(
        "  {} packages in the repository: {}",
        packages.len(),
        megabytes(bytes)
    );
    let files = write(&apt, &packages, &root)?;
    sweep(&root, &files)?;
    let record = Record { key, more, files };
    write_if_changed(&record_path, &serde_json::to_vec_pretty(&record)?)
}

/// The packages that the machines and all images built on Debian's were made of.
fn everywhere(builder: &Builder) -> anyhow::Result<BTreeSet<PackageFile>> {
    let contents = |repository: &str| -> anyhow::Result<BTreeSet<PackageFile>> {
        let index = builder
            .recipes
            .iter()
            .position(|r| r.repository == repository);
        let index = index.with_context(|| format!("no recipe for {repository}"))?;
        let used = |file: &&PackageFile| {
            let name = file.file.split('_').next().unwrap_or_default();
            !builder.recipes[index].leaves_out(name)
        };
        Ok(builder.closures[index]
            .iter()
            .filter(used)
            .cloned()
            .collect())
    };
    let (debian, node) = (contents("library/debian")?, contents(NODE)?);
    Ok(debian.intersection(&node).cloned().collect())
}

/// The packages themselves: all that `names` need but what is everywhere. Where the mirror has moved on since
/// the images were made, a newer version is not.
fn select(
    apt: &Apt,
    names: &[&str],
    everywhere: &BTreeSet<PackageFile>,
) -> anyhow::Result<Vec<PackageFile>> {
    let all = [DEBIAN, names].concat();
    let mut packages = apt.closure(&all)?;
    packages.retain(|file| !everywhere.contains(file));
    let have = |file: &PackageFile| {
        std::fs::metadata(apt.path(file)).is_ok_and(|metadata| metadata.len() == file.size)
    };
    if !packages.iter().all(have) {
        apt.download(&all)?;
    }
    if let Some(file) = packages.iter().find(|file| !have(file)) {
        bail!(
            "{} is no longer on the mirror; run again with --update",
            file.file
        );
    }
    Ok(packages)
}

/// Writes the pool, `Packages` and `Release`; gives the files' paths below `root`.
fn write(apt: &Apt, packages: &[PackageFile], root: &Path) -> anyhow::Result<Vec<String>> {
    let mut files = Vec::new();
    let mut stanzas = BTreeMap::new();
    for package in packages {
        let source = apt.path(package);
        let output = Command::new("dpkg-deb")
            .arg("--field")
            .arg(&source)
            .output();
        let output = output.context("dpkg-deb does not run")?;
        let control = String::from_utf8(output.stdout)?;
        let bytes = std::fs::read(&source).with_context(|| format!("reading {}", package.file))?;
        let name = control
            .lines()
            .find_map(|line| line.strip_prefix("Package: "));
        let name = name.with_context(|| format!("{} names no package", package.file))?;
        let file = pool_path(name, &package.file);
        let stanza = format!(
            "{}\nFilename: {file}\nSize: {}\nSHA256: {}\n",
            control.trim_end(),
            bytes.len(),
            Digest::of(&bytes).hex(),
        );
        stanzas.insert(name.to_string(), stanza);
        write_if_changed(&root.join(&file), &bytes)?;
        files.push(file);
    }
    let stanzas: Vec<String> = stanzas.into_values().collect();
    let list = stanzas.join("\n");
    let path = format!("main/binary-{ARCHITECTURE}/Packages");
    let release = release(&path, list.as_bytes());
    for (path, text) in [(path, list), ("Release".to_string(), release)] {
        let path = format!("dists/{SUITE}/{path}");
        write_if_changed(&root.join(&path), text.as_bytes())?;
        files.push(path);
    }
    Ok(files)
}

/// Where a package is, as in Debian's archive: below the first letter of its name. Some hosts read a `+` in a
/// path as a blank, so only plain characters stay.
fn pool_path(name: &str, file: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let file = file.replace("%3a", "_");
    let (name, file): (String, String) = (
        name.chars().map(plain).collect(),
        file.chars().map(plain).collect(),
    );
    let letters = if name.starts_with("lib") { 4 } else { 1 };
    let letters = name.get(..letters).unwrap_or(&name);
    format!("pool/main/{letters}/{name}/{file}")
}

/// The list is not compressed: static hosts that compress do so on the way, and take a file that already is for
/// one that is to be unpacked.
fn release(path: &str, list: &[u8]) -> String {
    format!(
        "Origin: Drydock\nLabel: Drydock\nSuite: stable\nCodename: {SUITE}\nDate: {EPOCH_DATE}\n\
         Architectures: {ARCHITECTURE}\nComponents: main\n\
         Description: Debian 13 packages, a selection for this playground\n\
         SHA256:\n {} {} {path}\n",
        Digest::of(list).hex(),
        list.len(),
    )
}

/// Removes what is not of this repository.
fn sweep(root: &Path, files: &[String]) -> anyhow::Result<()> {
    let kept: BTreeSet<PathBuf> = files.iter().map(|file| root.join(file)).collect();
    let mut dirs = vec![root.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else if !kept.contains(&path) {
                std::fs::remove_file(&path)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_paths_are_plain() {
        let cases = [
            (
                "curl",
                "curl_8.14.1-2+deb13u2_riscv64.deb",
                "pool/main/c/curl/curl_8.14.1-2_deb13u2_riscv64.deb",
            ),
            (
                "libc6",
                "libc6_2.41~1_riscv64.deb",
                "pool/main/libc/libc6/libc6_2.41_1_riscv64.deb",
            ),
            (
                "vim",
                "vim_2%3a9.1-2_riscv64.deb",
                "pool/main/v/vim/vim_2_9.1-2_riscv64.deb",
            ),
        ];
        for (name, file, path) in cases {
            assert_eq!(pool_path(name, file), path);
        }
    }

    #[test]
    fn names_are_there_once() {
        let all = [PACKAGES, MORE].concat();
        let set: BTreeSet<&&str> = all.iter().collect();
        assert_eq!(set.len(), all.len());
    }
}
