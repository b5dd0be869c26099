//! What a run needs of this computer: Debian's packages unpacked, QEMU known to the kernel, a certificate; and the
//! run itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{folder, is_there};
use crate::images::{self, apt};
use crate::{setup, tools};

/// The daemon with what it calls.
const DAEMON: [&str; 5] = ["docker.io", "containerd", "runc", "iptables", "tini"];
/// The node's client and its plug-ins, and what runs the node's other programs.
const CLIENT: [&str; 4] = ["docker-cli", "docker-buildx", "docker-compose", "qemu-user"];
/// Suites that have Docker 26 and 28.
const SUITE_OF_28: &str = "forky";

/// Programs that come before the node's of the same name.
const DAEMON_PROGRAMS: [&str; 8] = [
    "usr/sbin/dockerd",
    "usr/bin/containerd",
    "usr/bin/containerd-shim-runc-v2",
    "usr/bin/docker-init",
    "usr/bin/docker-proxy",
    "usr/sbin/docker-proxy",
    "usr/sbin/runc",
    "usr/sbin/xtables-legacy-multi",
];
const CLIENT_PROGRAMS: [&str; 2] = ["usr/bin/docker", "usr/bin/docker-compose"];
const PLUGINS: [&str; 2] = [
    "usr/libexec/docker/cli-plugins",
    "usr/lib/docker/cli-plugins",
];

/// The longest a transcript may take.
const SESSION_SECONDS_MAX: u64 = 900;

const CERTIFICATE_DAYS: &str = "3650";
const HUB: &str = "registry-1.docker.io";

const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

/// The cgroup version whose controllers can be used.
pub fn cgroup_version() -> &'static str {
    // A controller is in v2 when no hierarchy of v1 has it.
    let known = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let in_v1 = known.lines().any(|line| {
        let mut fields = line.split_whitespace();
        fields.next() == Some("memory") && fields.next().is_some_and(|hierarchy| hierarchy != "0")
    });
    if in_v1 { "v1" } else { "v2" }
}

/// Whether root may do here what root may do: a container or a sandbox may have less.
pub fn has_all_capabilities() -> bool {
    let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap_or_default();
    let last: u32 = last.trim().parse().unwrap_or(40);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bound = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bound = u64::from_str_radix(bound.unwrap_or_default().trim(), 16).unwrap_or(0);
    bound == (2 << last) - 1
}

/// All that runs share.
#[derive(Debug)]
pub struct Host {
    run: PathBuf,
    lower: String,
    cgroup: &'static str,
    version: String,
    _registration: Option<Registration>,
}

impl Host {
    /// Fetches, unpacks and registers what is missing.
    pub fn prepare(docker: u32, cgroup: &'static str) -> Result<Host> {
        allowed()?;
        setup::apt(&[
            ("unshare", "util-linux"),
            ("ip", "iproute2"),
            ("python3", "python3"),
            ("mkfs.ext4", "e2fsprogs"),
            ("openssl", "openssl"),
        ])?;
        images::ensure(&["drydock/node", "library/busybox"])?;
        let node = images::tree("drydock/node")?;
        let client = unpacked(apt::SUITE, &CLIENT)?;
        let daemon = match docker {
            28 => unpacked(SUITE_OF_28, &DAEMON)?,
            _ => unpacked(apt::SUITE, &DAEMON)?,
        };
        remove_left()?;
        let run = folder(&format!("run-{}", std::process::id()))?;
        let over = over(&run, &daemon, &client)?;
        let registration = register_qemu(&node, &client)?;
        let version = Command::new("chroot")
            .arg(&daemon)
            .args(["/usr/sbin/dockerd", "--version"])
            .output()?;
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        let version = version.split([' ', '+', ',']).nth(2).unwrap_or_default();
        let lower = [over, node, daemon, client].map(|tree| tree.display().to_string());
        let host = Host {
            run,
            lower: lower.join(":"),
            cgroup,
            version: version.to_owned(),
            _registration: registration,
        };
        certificate(&host.run)?;
        fs::write(host.run.join("inside.sh"), include_str!("inside.sh"))?;
        fs::write(host.run.join("hub.py"), include_str!("hub.py"))?;
        Ok(host)
    }

    /// The daemon's version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether programs run in QEMU.
    pub fn emulates(&self) -> bool {
        std::env::consts::ARCH != "riscv64"
    }

    fn group(&self) -> String {
        format!("drydock-judge-{}", std::process::id())
    }

    /// Runs a shell script on a fresh Docker host and gives what it prints.
    pub fn session(&self, script: &str) -> Result<String> {
        fs::write(self.run.join("session.sh"), script)?;
        let printed = self.run.join("printed");
        let _ = fs::remove_file(&printed);
        let log = fs::File::create(self.run.join("inside.log"))?;
        // Killed, we take the host with us.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare"])
            .args(["--mount", "--net", "--pid", "--uts", "--ipc", "--fork"])
            .args(["--kill-child", "--propagation", "private", "/bin/bash"])
            .arg(self.run.join("inside.sh"))
            .env("STAGE", "cgroups")
            .env("LOWER", &self.lower)
            .env("RUN", &self.run)
            .env("TLS", &self.run)
            .env("GROUP", self.group())
            .env("CGROUP", self.cgroup)
            .env("HUB", self.run.join("hub.py"))
            .env("IMAGES", images::default_out())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("setpriv does not start")?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if begun.elapsed() > Duration::from_secs(SESSION_SECONDS_MAX) {
                child.kill()?;
                child.wait()?;
                break None;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        self.remove_cgroups()?;
        let said = || fs::read_to_string(self.run.join("inside.log")).unwrap_or_default();
        match status {
            None => println!("ended after {SESSION_SECONDS_MAX} seconds"),
            Some(status) if !status.success() => bail!("the host: {status}\n{}", said()),
            Some(_) => {}
        }
        let printed = fs::read(&printed).with_context(said)?;
        Ok(String::from_utf8_lossy(&printed).replace("\r\n", "\n"))
    }

    /// Killed containers leave their cgroups behind.
    fn remove_cgroups(&self) -> Result<()> {
        let script = r#"cd "$RUN/root"
            for controller in unified cpu cpuacct cpuset memory blkio pids devices freezer name=systemd; do
                case $controller in
                    unified) [ "$CGROUP" = v2 ] && mount -t cgroup2 none . ;;
                    name=systemd) mount -t cgroup -o none,name=systemd cgroup . ;;
                    *) [ "$CGROUP" = v1 ] && mount -t cgroup -o $controller cgroup . ;;
                esac 2>/dev/null || continue
                for _ in 1 2 3 4 5 6 7 8 9 10; do
                    [ -d "$RUN/root/$GROUP" ] || break
                    find "$RUN/root/$GROUP" -depth -type d -exec rmdir {} + 2>/dev/null && break
                    sleep 0.1
                done
                umount "$RUN/root"
            done"#;
        let mut remove = Command::new("unshare");
        remove
            .args(["--mount", "--propagation", "private", "/bin/sh", "-c"])
            .arg(script);
        remove
            .env("RUN", &self.run)
            .env("GROUP", self.group())
            .env("CGROUP", self.cgroup);
        remove.status().context("unshare does not start")?;
        Ok(())
    }
}

/// A run that was killed leaves its folder.
fn remove_left() -> Result<()> {
    for entry in fs::read_dir(folder("")?)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if let Some(process) = name.strip_prefix("run-")
            && !Path::new("/proc").join(process).exists()
        {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.run);
    }
}

/// Root, and namespaces.
fn allowed() -> Result<()> {
    if tools::probe("id", &["-u"]).is_none_or(|id| id != "0") {
        bail!("a Docker host needs root: namespaces, mounts, cgroups");
    }
    let arguments = ["--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup"];
    let mut unshare = Command::new("unshare");
    unshare
        .args(arguments)
        .args(["--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
    if !unshare.status().is_ok_and(|status| status.success()) {
        bail!("Linux does not give this process namespaces of its own, in which it may mount");
    }
    Ok(())
}

/// A suite's packages with all they depend on, as a tree.
fn unpacked(suite: &str, packages: &[&str]) -> Result<PathBuf> {
    let architecture = tools::probe("dpkg", &["--print-architecture"])
        .context("dpkg does not run: the judge needs a Debian or Ubuntu host")?;
    let tree = folder("")?.join(format!("{suite}-{}", packages[0]));
    let stamp = tree.with_file_name(format!("{suite}-{}.packages", packages[0]));
    // What is there is used; who wants newer packages removes target/judge.
    let wanted = packages.join(" ");
    if fs::read_to_string(&stamp).is_ok_and(|known| known == wanted) {
        return Ok(tree);
    }
    let root = folder(&format!("apt-{suite}"))?;
    let apt = apt::Apt::open_for(&root, suite, &architecture, false)?;
    apt.download(packages)?;
    let closure = apt.closure(packages)?;
    setup::say(&format!(
        "{} packages of Debian {suite} into {}",
        closure.len(),
        tree.display()
    ));
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(tree.join("usr").join(name))?;
        std::os::unix::fs::symlink(format!("usr/{name}"), tree.join(name))?;
    }
    for package in &closure {
        let mut extract = tools::command("dpkg-deb", &["--extract"])?;
        extract.arg(apt.path(package)).arg(&tree);
        tools::run(extract)?;
    }
    fs::write(stamp, wanted)?;
    Ok(tree)
}

/// The files that come before the node's.
fn over(run: &Path, daemon: &Path, client: &Path) -> Result<PathBuf> {
    let over = run.join("over");
    let take = |from: &Path, file: &str| -> Result<()> {
        if is_there(&from.join(file)) {
            let to = over.join(file);
            fs::create_dir_all(to.parent().context("a file has a folder")?)?;
            fs::hard_link(from.join(file), &to).with_context(|| format!("linking {file}"))?;
        }
        Ok(())
    };
    for file in DAEMON_PROGRAMS {
        take(daemon, file)?;
    }
    for file in CLIENT_PROGRAMS {
        take(client, file)?;
    }
    for folder in PLUGINS {
        for entry in fs::read_dir(client.join(folder)).into_iter().flatten() {
            let name = entry?.file_name();
            take(client, &format!("{folder}/{}", name.to_string_lossy()))?;
        }
    }
    for name in ["iptables", "ip6tables", "iptables-save", "iptables-restore"] {
        let link = over.join("usr/sbin").join(name);
        std::os::unix::fs::symlink("xtables-legacy-multi", link)?;
    }
    // Where the node has it.
    fs::hard_link(over.join("usr/sbin/dockerd"), over.join("usr/bin/dockerd"))?;
    let node = tools::root().join("crates/playground/src/node");
    fs::create_dir_all(over.join("etc/init.d"))?;
    fs::copy(node.join("docker.init"), over.join("etc/init.d/docker"))?;
    fs::copy(node.join("service"), over.join("usr/sbin/service"))?;
    use std::os::unix::fs::PermissionsExt;
    for script in ["etc/init.d/docker", "usr/sbin/service"] {
        fs::set_permissions(over.join(script), fs::Permissions::from_mode(0o755))?;
    }
    Ok(over)
}

/// The Hub's certificate, which signs itself.
fn certificate(folder: &Path) -> Result<()> {
    let config = "[req]\ndistinguished_name=name\nx509_extensions=v3\nprompt=no\n[name]\nCN=drydock judge\n\
                  [v3]\nbasicConstraints=CA:TRUE\nsubjectAltName=DNS:*.docker.io\n";
    fs::write(folder.join("hub.conf"), config)?;
    let mut openssl = tools::command(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            CERTIFICATE_DAYS,
        ],
    )?;
    openssl
        .arg("-config")
        .arg(folder.join("hub.conf"))
        .arg("-keyout")
        .arg(folder.join("hub.key"))
        .arg("-out")
        .arg(folder.join("hub.pem"))
        .stderr(Stdio::null());
    tools::run(openssl).with_context(|| format!("making a certificate for {HUB}"))
}

/// A registration of ours, taken back at the end.
#[derive(Debug)]
struct Registration {
    name: String,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let _ = binfmt(&format!("printf -- -1 > {BINFMT}/{}", self.name));
    }
}

/// Writes to binfmt_misc, which need not be mounted.
fn binfmt(script: &str) -> Result<()> {
    let script =
        format!("[ -e {BINFMT}/register ] || mount -t binfmt_misc none {BINFMT}\n{script}");
    let mut unshare = tools::command("unshare", &["--mount", "/bin/sh", "-ec", &script])?;
    unshare.stdin(Stdio::null());
    tools::run(unshare)
}

/// Lets the kernel run riscv64 programs, if it does not.
fn register_qemu(node: &Path, client: &Path) -> Result<Option<Registration>> {
    let runs = || {
        let mut program = Command::new("chroot");
        program.arg(node).arg("/bin/true").stderr(Stdio::null());
        program.status().is_ok_and(|status| status.success())
    };
    if runs() {
        return Ok(None);
    }
    let qemu = client.join("usr/bin/qemu-riscv64");
    let registration = Registration {
        name: format!("drydock-judge-{}", std::process::id()),
    };
    // An ELF of RISC-V, 64 bits, little endian. F: the interpreter is opened now, not by its name in a container.
    let elf = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xf3\x00";
    let mask = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff";
    binfmt(&format!(
        "printf '%s' ':{}:M::{elf}:{mask}:{}:FPOC' > {BINFMT}/register",
        registration.name,
        qemu.display()
    ))
    .context("the kernel takes no interpreter (binfmt_misc)")?;
    if !runs() {
        bail!("{} does not run the node's programs", qemu.display());
    }
    Ok(Some(registration))
}
