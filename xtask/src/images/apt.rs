//! Debian packages through the host's own apt, in a private root below `target/`.
//!
//! Nothing of the host is changed and nothing is asked of it but its mirror, its proxy settings
//! and Debian's keyring: apt verifies the release's signature and every package's hash itself.
//! The mirror is `DRYDOCK_DEBIAN_MIRROR`, or else the one a Debian host is configured with.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Debian 13.
pub const SUITE: &str = "trixie";
/// The machines'.
pub const ARCHITECTURE: &str = "riscv64";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A private apt root.
#[derive(Debug)]
pub struct Apt {
    root: PathBuf,
    suite: String,
    architecture: String,
}

/// One package file as apt names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageFile {
    /// `name_version_arch.deb`, the name in apt's archive directory.
    pub file: String,
    /// Size in bytes.
    pub size: u64,
    /// The hash apt checks, as it prints it.
    pub hash: String,
}

impl Apt {
    /// For the packages that images are made of.
    pub fn open(root: &Path, update: bool) -> anyhow::Result<Apt> {
        Apt::open_for(root, SUITE, ARCHITECTURE, update)
    }

    /// Makes the root and, if it has none or `update` is set, fetches the package lists.
    pub fn open_for(
        root: &Path,
        suite: &str,
        architecture: &str,
        update: bool,
    ) -> anyhow::Result<Apt> {
        for dir in ["lists/partial", "cache/archives/partial", "none/partial"] {
            std::fs::create_dir_all(root.join(dir))?;
        }
        let apt = Apt {
            root: root.canonicalize()?,
            suite: suite.to_string(),
            architecture: architecture.to_string(),
        };
        apt.configure()?;
        let have_lists = std::fs::read_dir(apt.root.join("lists"))?
            .filter_map(Result::ok)
            .any(|entry| entry.file_name().to_string_lossy().ends_with("_Packages"));
        if update || !have_lists {
            apt.update()?;
        }
        Ok(apt)
    }

    /// Fetches the package lists.
    pub fn update(&self) -> anyhow::Result<()> {
        let (suite, architecture) = (&self.suite, &self.architecture);
        println!("  apt: fetching the package lists of Debian {suite} for {architecture}");
        let status = self.command("apt-get").args(["-qq", "update"]).status()?;
        // apt-get update succeeds with a warning when it could fetch nothing at all.
        let lists = std::fs::read_dir(self.root.join("lists"))?
            .filter_map(Result::ok)
            .any(|entry| entry.file_name().to_string_lossy().ends_with("_Packages"));
        if !status.success() || !lists {
            bail!("apt-get update failed; is the mirror right, and does it carry {architecture}?");
        }
        Ok(())
    }

    fn configure(&self) -> anyhow::Result<()> {
        if !Path::new(KEYRING).exists() {
            bail!("{KEYRING} is missing: apt-get install debian-archive-keyring");
        }
        let mirror = mirror()?;
        let (suite, architecture) = (&self.suite, &self.architecture);
        let source =
            format!("deb [arch={architecture} signed-by={KEYRING}] {mirror} {suite} main\n");
        std::fs::write(self.root.join("sources.list"), source)?;
        std::fs::write(self.root.join("status"), "")?;
        let root = self.root.display();
        let mut config = host_acquire_settings()?;
        if *suite != *SUITE {
            // Testing is published twice a day, and out of date for a computer whose clock is ahead.
            config.push_str("Acquire::Check-Valid-Until \"false\";\n");
        }
        config.push_str(&format!(
            r#"APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Dir::State "{root}";
Dir::State::lists "{root}/lists";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
Dir::Etc::sourcelist "{root}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"#
        ));
        std::fs::write(self.root.join("apt.conf"), config)?;
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("APT_CONFIG", self.root.join("apt.conf"))
            .env("LC_ALL", "C");
        command.stdin(Stdio::null());
        command
    }

    /// The packages that installing `names` on an empty system would bring, in name order.
    pub fn closure(&self, names: &[&str]) -> anyhow::Result<Vec<PackageFile>> {
        let empty_cache = format!("Dir::Cache::archives={}", self.root.join("none").display());
        let output = self
            .command("apt-get")
            .args(["-o", &empty_cache, "install", "-qq", "-y", "--print-uris"])
            .args(names)
            .output()
            .context("running apt-get")?;
        if !output.status.success() {
            bail!(
                "apt-get could not resolve {}: {}",
                names.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        let mut files = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter(|line| line.starts_with('\''))
            .map(parse_print_uris)
            .collect::<anyhow::Result<Vec<_>>>()?;
        files.sort();
        if files.is_empty() {
            bail!("apt-get found nothing to install for {}", names.join(" "));
        }
        Ok(files)
    }

    /// Downloads the closure of `names` into the archive directory.
    pub fn download(&self, names: &[&str]) -> anyhow::Result<()> {
        let run = || {
            self.command("apt-get")
                .args(["install", "-y", "-q", "--download-only"])
                .args(names)
                .stdout(Stdio::null())
                .status()
                .context("running apt-get")
        };
        if run()?.success() {
            return Ok(());
        }
        // The usual cause: the mirror has moved on since the lists were fetched.
        self.update()?;
        if !run()?.success() {
            bail!("apt-get could not download the packages");
        }
        Ok(())
    }

    /// Where a downloaded package is.
    pub fn path(&self, package: &PackageFile) -> PathBuf {
        self.root.join("cache/archives").join(&package.file)
    }
}

/// `'uri' file size hash`.
fn parse_print_uris(line: &str) -> anyhow::Result<PackageFile> {
    let mut fields = line.split(' ').skip(1);
    let (Some(file), Some(size)) = (fields.next(), fields.next()) else {
        bail!("cannot read apt-get's line {line:?}");
    };
    let hash = fields.next().unwrap_or_default().to_string();
    Ok(PackageFile {
        file: file.to_string(),
        size: size.parse()?,
        hash,
    })
}

/// Proxies and the like, which a host may need to reach any mirror.
fn host_acquire_settings() -> anyhow::Result<String> {
    let output = Command::new("apt-config")
        .arg("dump")
        .output()
        .context("apt-config does not run: `cargo xtask images` needs a Debian or Ubuntu host")?;
    let wanted = |line: &&str| {
        [
            "Acquire::http",
            "Acquire::https",
            "Acquire::ftp",
            "Acquire::Retries",
            "Acquire::Force",
        ]
        .iter()
        .any(|start| line.starts_with(start))
    };
    let dump = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(dump
        .lines()
        .filter(wanted)
        .map(|line| format!("{line}\n"))
        .collect())
}

fn mirror() -> anyhow::Result<String> {
    if let Ok(mirror) = std::env::var("DRYDOCK_DEBIAN_MIRROR")
        && !mirror.trim().is_empty()
    {
        return Ok(mirror.trim().trim_end_matches('/').to_string());
    }
    let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !os_release
        .lines()
        .any(|line| matches!(line, "ID=debian" | "ID=\"debian\""))
    {
        bail!(
            "this host is not Debian, so its apt configuration names no Debian mirror; \
             set DRYDOCK_DEBIAN_MIRROR to the address of one (the directory that holds `dists`)"
        );
    }
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = std::fs::read_dir("/etc/apt/sources.list.d") {
        let mut parts: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .collect();
        parts.sort();
        files.extend(parts);
    }
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let uris = match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => one_line_uris(&text),
            Some("sources") => deb822_uris(&text),
            _ => continue,
        };
        if let Some(uri) = uris.into_iter().find(|uri| is_debian_archive(uri)) {
            return Ok(uri.trim_end_matches('/').to_string());
        }
    }
    bail!(
        "no Debian mirror in the host's apt configuration; \
         set DRYDOCK_DEBIAN_MIRROR to the address of one (the directory that holds `dists`)"
    )
}

/// `deb [options] uri suite component…` lines.
fn one_line_uris(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let rest = line.trim().strip_prefix("deb ")?.trim_start();
            let rest = match rest.strip_prefix('[') {
                Some(options) => options.split_once(']')?.1.trim_start(),
                None => rest,
            };
            rest.split_whitespace().next().map(str::to_string)
        })
        .collect()
}

/// `URIs:` fields of stanzas that are not switched off.
fn deb822_uris(text: &str) -> Vec<String> {
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    text.split("\n\n")
        .filter(|stanza| !stanza.to_ascii_lowercase().contains("enabled: no"))
        .flat_map(|stanza| stanza.lines())
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("uris").then_some(value)
        })
        .flat_map(|value| value.split_whitespace().map(str::to_string))
        .collect()
}

/// The main archive, not the security archive or a vendor's own.
fn is_debian_archive(uri: &str) -> bool {
    let scheme = uri.split(':').next().unwrap_or_default();
    let path = uri.trim_end_matches('/');
    matches!(
        scheme,
        "http" | "https" | "file" | "copy" | "mirror+http" | "mirror+https"
    ) && (path.ends_with("/debian") || path.contains("/debian/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_in_both_source_formats() {
        let list = "# deb http://a.example/debian x\ndeb [arch=amd64 a=b] http://b.example/debian/ x main\ndeb-src http://c.example/debian x\n";
        assert_eq!(one_line_uris(list), ["http://b.example/debian/"]);
        let sources = "Types: deb\nURIs: http://a.example/other\nEnabled: no\n\n# c\nTypes: deb\nURIs: http://b.example/debian-security http://b.example/debian\n";
        let uris = deb822_uris(sources);
        assert_eq!(
            uris,
            [
                "http://b.example/debian-security",
                "http://b.example/debian"
            ]
        );
        let archive: Vec<&String> = uris.iter().filter(|uri| is_debian_archive(uri)).collect();
        assert_eq!(archive, ["http://b.example/debian"]);
    }

    #[test]
    fn print_uris_lines() {
        let line = "'http://a.example/p/b_1%2b2_riscv64.deb' b_1%3a1+2_riscv64.deb 12 SHA256:ab";
        let package = parse_print_uris(line).unwrap();
        assert_eq!(package.file, "b_1%3a1+2_riscv64.deb");
        assert_eq!((package.size, package.hash.as_str()), (12, "SHA256:ab"));
        assert!(parse_print_uris("'x'").is_err());
    }
}
