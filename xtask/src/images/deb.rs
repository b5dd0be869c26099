//! Debian packages read into trees, and dpkg's own records about them.
//!
//! The archive format is left to the host's `dpkg-deb`, which writes plain tar whatever the
//! package is compressed with.

use std::collections::{BTreeMap, BTreeSet};
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
/// `dpkg -S` and apt's resolver tell the truth about the image. What was left out is no dependency:
/// the packages work without it as they are used here, and apt refuses to do anything in a system
/// whose dependencies are not met.
pub fn write_dpkg_records(tree: &mut Tree, packages: &[&Package], left_out: &BTreeSet<&str>) {
    let mut packages: Vec<&&Package> = packages.iter().collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    let mut status = String::new();
    let mut triggers: BTreeMap<String, String> = BTreeMap::new();
    for package in packages {
        let control = without_dependencies(&package.control, left_out);
        let (name, rest) = control.split_once('\n').unwrap_or((&control, ""));
        status.push_str(&format!("{name}\nStatus: install ok installed\n{rest}\n\n"));
        let base = format!("var/lib/dpkg/info/{}", package.record_name());
        let mut list = String::from("/.\n");
        for (path, _) in package.files.iter() {
            list.push_str(&format!("/{path}\n"));
        }
        tree.file(&format!("{base}.list"), 0o644, list);
        for (record, (mode, bytes)) in &package.records {
            if record == "triggers" {
                interests(
                    &String::from_utf8_lossy(bytes),
                    &package.record_name(),
                    &mut triggers,
                );
            }
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
    // Without these dpkg takes the records for those of a dpkg that knew no triggers, and runs them all.
    tree.file("var/lib/dpkg/triggers/Lock", 0o600, "");
    tree.file("var/lib/dpkg/triggers/Unincorp", 0o644, "");
    for (name, text) in triggers {
        tree.file(&format!("var/lib/dpkg/triggers/{name}"), 0o644, text);
    }
    tree.file("var/lib/dpkg/lock", 0o640, "");
    tree.file("var/lib/dpkg/lock-frontend", 0o640, "");
}

/// A control paragraph without the dependencies that packages left out would have met.
fn without_dependencies(control: &str, left_out: &BTreeSet<&str>) -> String {
    let named = |alternative: &str| {
        let name = alternative.trim().split([' ', ':', '(']).next();
        name.is_some_and(|name| left_out.contains(name))
    };
    let mut lines = Vec::new();
    for line in control.lines() {
        let Some((field @ ("Depends" | "Pre-Depends"), clauses)) = line.split_once(':') else {
            lines.push(line.to_string());
            continue;
        };
        let clauses = clauses.split(',').map(str::trim);
        let kept: Vec<&str> = clauses
            .filter(|clause| !clause.split('|').any(named))
            .collect();
        if !kept.is_empty() {
            lines.push(format!("{field}: {}", kept.join(", ")));
        }
    }
    lines.join("\n")
}

/// Files under `/var/lib/dpkg/triggers` what a package's `triggers` file says it is interested in: paths in
/// `File`, names in files of their own.
fn interests(text: &str, package: &str, to: &mut BTreeMap<String, String>) {
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(directive), Some(name)) = (words.next(), words.next()) else {
            continue;
        };
        let suffix = match directive {
            "interest" | "interest-await" => "",
            "interest-noawait" => "/noawait",
            _ => continue,
        };
        if name.starts_with('/') {
            let file = to.entry("File".to_string()).or_default();
            file.push_str(&format!("{name} {package}{suffix}\n"));
        } else {
            let file = to.entry(name.to_string()).or_default();
            file.push_str(&format!("{package}{suffix}\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_no_dependency() {
        let control = "Package: a\nPre-Depends: debconf (>= 0.5) | debconf-2.0\n\
                       Depends: libc6 (>= 2.38), perl:any, perl-base | perl, x\nDescription: b\n perl: c";
        let left_out = BTreeSet::from(["debconf", "perl"]);
        assert_eq!(
            without_dependencies(control, &left_out),
            "Package: a\nDepends: libc6 (>= 2.38), x\nDescription: b\n perl: c"
        );
        assert_eq!(without_dependencies(control, &BTreeSet::new()), control);
    }

    #[test]
    fn interests_are_filed_by_kind() {
        let text =
            "# comment\ninterest-noawait ldconfig\ninterest /usr/share/man\nactivate-noawait x\n";
        let mut filed = BTreeMap::new();
        interests(text, "libc-bin", &mut filed);
        let expected = [
            ("File", "/usr/share/man libc-bin\n"),
            ("ldconfig", "libc-bin/noawait\n"),
        ];
        let expected = expected.map(|(name, text)| (name.to_string(), text.to_string()));
        assert_eq!(filed, BTreeMap::from(expected));
    }
}
