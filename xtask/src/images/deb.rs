//! Debian packages read into trees, and dpkg's own records about them.
//!
//! The archive format is left to the host's `dpkg-deb`, which writes plain tar whatever the
//! package is compressed with.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::tree::{EPOCH, Kind, Node, Tree};

/// A package's files and records.
#[derive(Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `riscv64` or `all`.
    pub architecture: String,
    /// The source package and its version.
    pub source: (String, String),
    /// Whether other architectures' versions may be installed beside it; dpkg then files its
    /// records under `name:arch`.
    pub multi_arch_same: bool,
    /// The control paragraph as it came.
    pub control: String,
    /// The other control members: `md5sums`, `conffiles`, `postinst`, …
    pub records: BTreeMap<String, (u32, Vec<u8>)>,
    /// The files, before any pruning.
    pub files: Tree,
}

impl Package {
    /// Reads a `.deb`.
    pub fn read(path: &Path) -> anyhow::Result<Package> {
        Package::read_inner(path).with_context(|| format!("reading {}", path.display()))
    }

    fn read_inner(path: &Path) -> anyhow::Result<Package> {
        let mut files = Tree::new();
        for_each_member(path, "--fsys-tarfile", |member, node| {
            files.insert(member, node)
        })?;
        files.clamp_times(EPOCH);
        let mut records = BTreeMap::new();
        for_each_member(path, "--ctrl-tarfile", |member, node| {
            if let Kind::File(bytes) = node.kind {
                records.insert(member.to_string(), (node.mode, bytes.to_vec()));
            }
        })?;
        let (_, control) = records
            .remove("control")
            .context("the package has no control file")?;
        let control = String::from_utf8(control)?.trim_end().to_string();
        let field = |name| field(&control, name).map(str::to_string);
        let name = field("Package").context("no Package field")?;
        let version = field("Version").context("no Version field")?;
        let source = match field("Source") {
            None => (name.clone(), version.clone()),
            Some(text) => match text.split_once(" (") {
                Some((source, version)) => (
                    source.to_string(),
                    version.trim_end_matches(')').to_string(),
                ),
                None => (text, version.clone()),
            },
        };
        Ok(Package {
            architecture: field("Architecture").context("no Architecture field")?,
            multi_arch_same: field("Multi-Arch").as_deref() == Some("same"),
            name,
            version,
            source,
            control,
            records,
            files,
        })
    }

    /// What dpkg calls the package in file names.
    fn record_name(&self) -> String {
        if self.multi_arch_same {
            format!("{}:{}", self.name, self.architecture)
        } else {
            self.name.clone()
        }
    }
}

/// The value of a one-line control field.
fn field<'a>(control: &'a str, name: &str) -> Option<&'a str> {
    control
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

fn for_each_member(
    path: &Path,
    part: &str,
    mut take: impl FnMut(&str, Node),
) -> anyhow::Result<()> {
    let mut child = Command::new("dpkg-deb")
        .arg(part)
        .arg(path)
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .context("dpkg-deb does not run")?;
    let stdout = child.stdout.take().context("no pipe from dpkg-deb")?;
    each_entry(stdout, &mut take)?;
    // dpkg-deb may still be writing padding; let it end before judging it.
    let _ = child.wait()?;
    Ok(())
}

/// Every entry of a tar stream but its root directory.
pub fn each_entry(archive: impl Read, mut take: impl FnMut(&str, Node)) -> anyhow::Result<()> {
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let member = member_path(&entry.path_bytes())?;
        if !member.is_empty() {
            let node = read_node(&mut entry)?;
            take(&member, node);
        }
    }
    Ok(())
}

/// Reads one tar entry of the kinds packages have.
pub fn read_node<R: Read>(entry: &mut tar::Entry<'_, R>) -> anyhow::Result<Node> {
    let header = entry.header();
    let (mode, uid, gid) = (header.mode()? & 0o7777, header.uid()?, header.gid()?);
    let mtime = header.mtime()?;
    let link = || -> anyhow::Result<String> {
        let target = entry.link_name_bytes().context("a link without a target")?;
        Ok(String::from_utf8(target.into_owned())?)
    };
    let kind = match header.entry_type() {
        tar::EntryType::Directory => Kind::Dir,
        tar::EntryType::Symlink => Kind::Symlink(link()?),
        tar::EntryType::Link => Kind::Hardlink(member_path(link()?.as_bytes())?),
        tar::EntryType::Regular | tar::EntryType::Continuous => {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            Kind::File(bytes.into())
        }
        other => bail!("tar entry type {other:?} is not expected in a package"),
    };
    Ok(Node {
        kind,
        mode,
        uid: u32::try_from(uid)?,
        gid: u32::try_from(gid)?,
        mtime,
    })
}

/// `./usr/bin/` as `usr/bin`.
pub fn member_path(bytes: &[u8]) -> anyhow::Result<String> {
    let text = std::str::from_utf8(bytes)?;
    let path = text.trim_start_matches("./").trim_matches('/');
    if path.split('/').any(|part| part == "..") {
        bail!("path {text:?} leads out of the tree");
    }
    Ok(if path == "." {
        String::new()
    } else {
        path.to_string()
    })
}

/// Writes `/var/lib/dpkg` as if `packages` had been installed, so that `dpkg -l`, `dpkg -L`,
/// `dpkg -S` and apt's resolver tell the truth about the image.
pub fn write_dpkg_records(tree: &mut Tree, packages: &[&Package]) {
    let mut packages: Vec<&&Package> = packages.iter().collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    let mut status = String::new();
    for package in packages {
        let (name, rest) = package
            .control
            .split_once('\n')
            .unwrap_or((&package.control, ""));
        status.push_str(&format!("{name}\nStatus: install ok installed\n{rest}\n\n"));
        let base = format!("var/lib/dpkg/info/{}", package.record_name());
        let mut list = String::from("/.\n");
        for (path, _) in package.files.iter() {
            list.push_str(&format!("/{path}\n"));
        }
        tree.file(&format!("{base}.list"), 0o644, list);
        for (record, (mode, bytes)) in &package.records {
            // Templates are debconf's source text, which it would have copied already.
            if record != "templates" {
                tree.file(&format!("{base}.{record}"), mode & 0o755, bytes);
            }
        }
    }
    tree.file("var/lib/dpkg/status", 0o644, status);
    tree.file("var/lib/dpkg/info/format", 0o644, "1\n");
    tree.file("var/lib/dpkg/available", 0o644, "");
    tree.file("var/lib/dpkg/diversions", 0o644, "");
    tree.file("var/lib/dpkg/statoverride", 0o644, "");
    tree.file("var/lib/dpkg/arch", 0o644, "riscv64\n");
    for dir in ["alternatives", "parts", "triggers", "updates"] {
        tree.dir(&format!("var/lib/dpkg/{dir}"), 0o755);
    }
    tree.file("var/lib/dpkg/lock", 0o640, "");
    tree.file("var/lib/dpkg/lock-frontend", 0o640, "");
}
