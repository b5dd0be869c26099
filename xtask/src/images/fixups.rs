//! What maintainer scripts would have done, and what Docker's own images leave out.
//!
//! Packages are unpacked, not installed: no script of theirs runs. This file is the complete list
//! of what that would leave undone for the packages the recipes name, plus the pruning.

use std::ops::Range;

use anyhow::Context;

use super::elf;
use super::estargz::First;
use super::tree::{Kind, Tree};
use super::zip;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The search path every image but python's declares.
pub fn path_variable() -> String {
    PATH.to_string()
}

/// Directories nobody reads in a container. Copyright files are kept: licences want them there.
const PRUNED: &[&str] = &[
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
    "usr/share/doc-base",
    "usr/share/gcc",
    "usr/share/gdb",
    "usr/share/fish",
    "usr/share/zsh",
    "usr/share/icons",
    "usr/share/pixmaps",
    "usr/share/applications",
    "usr/share/menu",
    "usr/share/gitweb",
    "usr/share/cmake",
    "usr/share/pkgconfig",
    "usr/share/initramfs-tools",
    "usr/share/polkit-1",
    "usr/share/apport",
    "usr/lib/systemd",
    "usr/lib/mime",
    "usr/lib/sysusers.d",
    "usr/lib/tmpfiles.d",
    "usr/lib/udev",
    "usr/lib/riscv64-linux-gnu/gconv",
    "usr/lib/riscv64-linux-gnu/perl/debian-config-data-5.40.1",
    "etc/init.d",
    "etc/cron.daily",
    "etc/cron.d",
    "etc/logrotate.d",
    "etc/systemd",
    "etc/kernel",
    "etc/update-motd.d",
    "etc/rc0.d",
    "etc/rc1.d",
    "etc/rc2.d",
    "etc/rc3.d",
    "etc/rc4.d",
    "etc/rc5.d",
    "etc/rc6.d",
    "etc/rcS.d",
];

/// Takes out of a package's files what no image carries.
pub fn prune(tree: &mut Tree) {
    for path in PRUNED {
        tree.remove(path);
    }
    tree.retain(|path, node| {
        let Some(rest) = path.strip_prefix("usr/share/doc/") else {
            return true;
        };
        // A package may ship its whole directory as a link to another's.
        !rest.contains('/') && node.kind == Kind::Dir
            || matches!(node.kind, Kind::Symlink(_)) && !rest.contains('/')
            || rest.ends_with("/copyright")
    });
    tree.remove_empty_dirs("usr/share/doc");
}

/// The directories merged into `/usr`, made before any package lands in them.
pub fn merged_usr(tree: &mut Tree) {
    for name in ["bin", "sbin", "lib"] {
        tree.dir(&format!("usr/{name}"), 0o755);
        tree.symlink(name, &format!("usr/{name}"));
    }
}

/// What every Debian system has after its essential packages are configured.
pub fn debian_base(tree: &mut Tree) -> anyhow::Result<()> {
    for (from, to) in [
        ("usr/share/base-passwd/passwd.master", "etc/passwd"),
        ("usr/share/base-passwd/group.master", "etc/group"),
        ("usr/share/base-files/profile", "etc/profile"),
        ("usr/share/base-files/dot.bashrc", "root/.bashrc"),
        ("usr/share/base-files/dot.profile", "root/.profile"),
        ("usr/share/base-files/motd", "etc/motd"),
        ("usr/share/libc-bin/nsswitch.conf", "etc/nsswitch.conf"),
    ] {
        let bytes = tree
            .read(from)
            .with_context(|| format!("{from} is gone"))?
            .clone();
        tree.file(to, 0o644, bytes);
    }
    // Group numbers are Debian's: shadow is 42, mail is 8, utmp is 43.
    package_manager(tree)?;
    shadow_files(tree)?;
    for (path, mode, group) in [
        ("proc", 0o555, 0),
        ("sys", 0o555, 0),
        ("dev", 0o755, 0),
        ("run", 0o755, 0),
        ("run/lock", 0o1777, 0),
        ("tmp", 0o1777, 0),
        ("root", 0o700, 0),
        ("mnt", 0o755, 0),
        ("media", 0o755, 0),
        ("opt", 0o755, 0),
        ("srv", 0o755, 0),
        ("home", 0o755, 0),
        ("usr/local/bin", 0o755, 0),
        ("usr/local/sbin", 0o755, 0),
        ("usr/local/lib", 0o755, 0),
        ("usr/local/share", 0o755, 0),
        ("usr/local/etc", 0o755, 0),
        ("usr/local/include", 0o755, 0),
        ("usr/local/src", 0o755, 0),
        ("var/tmp", 0o1777, 0),
        ("var/log", 0o755, 0),
        ("var/cache", 0o755, 0),
        ("var/spool", 0o755, 0),
        ("var/lib/misc", 0o755, 0),
        ("var/mail", 0o2775, 8),
        ("var/local", 0o2775, 50),
    ] {
        tree.dir(path, mode);
        tree.chown(path, mode, 0, group)?;
    }
    for (path, target) in [
        ("var/run", "/run"),
        ("var/lock", "/run/lock"),
        ("var/spool/mail", "../mail"),
        ("etc/mtab", "/proc/mounts"),
        ("etc/localtime", "/usr/share/zoneinfo/Etc/UTC"),
    ] {
        tree.remove(path);
        tree.symlink(path, target);
    }
    for (path, text) in [
        (
            "etc/hosts",
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        ),
        ("etc/hostname", "localhost\n"),
        ("etc/resolv.conf", ""),
        ("etc/fstab", "# There is nothing to mount here.\n"),
        ("etc/timezone", "Etc/UTC\n"),
        ("etc/environment", ""),
        (
            "etc/shells",
            "/bin/sh\n/usr/bin/sh\n/bin/bash\n/usr/bin/bash\n/bin/rbash\n/usr/bin/rbash\n/usr/bin/dash\n",
        ),
        ("etc/subuid", ""),
        ("etc/subgid", ""),
        ("var/log/lastlog", ""),
    ] {
        tree.file(path, 0o644, text);
    }
    pam(tree);
    alternatives(tree);
    certificates(tree)
}

/// Where apt finds packages, the account it fetches them as, and how it and dpkg are set in Debian's
/// own container images: no manual pages, no copies of what was installed, no services started.
fn package_manager(tree: &mut Tree) -> anyhow::Result<()> {
    let passwd = tree.read_text("etc/passwd")?;
    let line = "_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n";
    tree.file("etc/passwd", 0o644, passwd + line);
    tree.file("usr/sbin/policy-rc.d", 0o755, "#!/bin/sh\nexit 101\n");
    for (path, text) in [
        (
            "apt/sources.list.d/debian.sources",
            include_str!("files/apt-sources"),
        ),
        ("apt/apt.conf.d/drydock", include_str!("files/apt-conf")),
        ("dpkg/dpkg.cfg.d/drydock", include_str!("files/dpkg-cfg")),
    ] {
        tree.file(&format!("etc/{path}"), 0o644, text);
    }
    Ok(())
}

/// Locked passwords for every account, as in Debian's own images.
fn shadow_files(tree: &mut Tree) -> anyhow::Result<()> {
    let locked = |master: &str, rest: &str| -> String {
        let names = master.lines().filter_map(|line| line.split(':').next());
        names.map(|name| format!("{name}:*:{rest}\n")).collect()
    };
    // Days since 1970 of the images' date.
    let days = super::tree::EPOCH / 86_400;
    let shadow = locked(
        &tree.read_text("etc/passwd")?,
        &format!("{days}:0:99999:7:::"),
    );
    let gshadow = locked(&tree.read_text("etc/group")?, ":");
    for (path, text) in [("etc/shadow", shadow), ("etc/gshadow", gshadow)] {
        tree.file(path, 0o640, text);
        tree.chown(path, 0o640, 0, 42)?;
    }
    Ok(())
}

/// What `pam-auth-update` writes when there are only passwords.
fn pam(tree: &mut Tree) {
    if !tree.contains("usr/lib/riscv64-linux-gnu/security/pam_unix.so") {
        return;
    }
    let stack = |kind: &str, options: &str| {
        format!(
            "{kind}\t[success=1 default=ignore]\tpam_unix.so{options}\n\
             {kind}\trequisite\tpam_deny.so\n{kind}\trequired\tpam_permit.so\n"
        )
    };
    let session = "session\trequired\tpam_permit.so\nsession\trequired\tpam_unix.so\n".to_string();
    for (name, text) in [
        ("auth", stack("auth", " nullok")),
        ("account", stack("account", "")),
        ("password", stack("password", " obscure yescrypt")),
        ("session", session.clone()),
        ("session-noninteractive", session),
    ] {
        tree.file(&format!("etc/pam.d/common-{name}"), 0o644, text);
    }
}

/// The links of `update-alternatives`, for the choices whose program is there.
pub fn alternatives(tree: &mut Tree) {
    // Name, where its link lives, candidates in Debian's order of priority.
    const CHOICES: &[(&str, &str, &[&str])] = &[
        ("awk", "usr/bin", &["usr/bin/gawk", "usr/bin/mawk"]),
        ("nawk", "usr/bin", &["usr/bin/gawk", "usr/bin/mawk"]),
        ("vi", "usr/bin", &["usr/bin/vim.tiny"]),
        ("vim", "usr/bin", &["usr/bin/vim.tiny"]),
        ("view", "usr/bin", &["usr/bin/vim.tiny"]),
        ("ex", "usr/bin", &["usr/bin/vim.tiny"]),
        ("editor", "usr/bin", &["usr/bin/nano", "usr/bin/vim.tiny"]),
        ("pager", "usr/bin", &["usr/bin/less", "usr/bin/more"]),
        ("nc", "usr/bin", &["usr/bin/nc.openbsd"]),
        ("traceroute", "usr/bin", &["usr/bin/traceroute.db"]),
        ("traceroute6", "usr/bin", &["usr/bin/traceroute6.db"]),
        ("tcptraceroute", "usr/sbin", &["usr/sbin/tcptraceroute.db"]),
        // As after `update-alternatives --set iptables /usr/sbin/iptables-legacy`.
        ("iptables", "usr/sbin", &["usr/sbin/iptables-legacy"]),
        (
            "iptables-restore",
            "usr/sbin",
            &["usr/sbin/iptables-legacy-restore"],
        ),
        (
            "iptables-save",
            "usr/sbin",
            &["usr/sbin/iptables-legacy-save"],
        ),
        ("ip6tables", "usr/sbin", &["usr/sbin/ip6tables-legacy"]),
        (
            "ip6tables-restore",
            "usr/sbin",
            &["usr/sbin/ip6tables-legacy-restore"],
        ),
        (
            "ip6tables-save",
            "usr/sbin",
            &["usr/sbin/ip6tables-legacy-save"],
        ),
        ("netcat", "usr/bin", &["usr/bin/nc.openbsd"]),
        ("which", "usr/bin", &["usr/bin/which.debianutils"]),
        ("rename", "usr/bin", &["usr/bin/rename.ul"]),
        ("w", "usr/bin", &["usr/bin/w.procps"]),
        ("pinentry", "usr/bin", &["usr/bin/pinentry-curses"]),
    ];
    for (name, dir, candidates) in CHOICES {
        let link = format!("{dir}/{name}");
        let Some(program) = candidates.iter().find(|path| tree.contains(path)) else {
            continue;
        };
        if matches!(
            tree.get(&link).map(|node| &node.kind),
            Some(Kind::File(_) | Kind::Hardlink(_))
        ) {
            continue;
        }
        tree.symlink(&link, &format!("/etc/alternatives/{name}"));
        tree.symlink(&format!("etc/alternatives/{name}"), &format!("/{program}"));
    }
}

/// The bundle that `update-ca-certificates` makes.
pub fn certificates(tree: &mut Tree) -> anyhow::Result<()> {
    let mut bundle = Vec::new();
    let mut names = String::new();
    for (path, node) in tree.children("usr/share/ca-certificates/mozilla") {
        if let Kind::File(bytes) = &node.kind {
            bundle.extend_from_slice(bytes);
            names.push_str(path.trim_start_matches("usr/share/ca-certificates/"));
            names.push('\n');
        }
    }
    if bundle.is_empty() {
        return Ok(());
    }
    tree.file("etc/ssl/certs/ca-certificates.crt", 0o644, bundle);
    tree.file("etc/ca-certificates.conf", 0o644, names);
    Ok(())
}

/// Busybox with a name for every applet, laid out as Docker's busybox image: everything in `/bin`.
pub fn busybox(tree: &mut Tree) -> anyhow::Result<()> {
    let program = tree.read("usr/bin/busybox").context("no busybox")?.clone();
    let copyright = tree.read("usr/share/doc/busybox-static/copyright").cloned();
    let applets = busybox_applets(&program)?;
    *tree = Tree::new();
    for (path, mode) in [
        ("bin", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("home", 0o755),
        ("lib", 0o755),
        ("proc", 0o555),
        ("root", 0o700),
        ("run", 0o755),
        ("sbin", 0o755),
        ("sys", 0o555),
        ("tmp", 0o1777),
        ("usr/bin", 0o755),
        ("usr/sbin", 0o755),
        ("usr/lib", 0o755),
        ("var/log", 0o755),
        ("var/spool/mail", 0o755),
        ("var/www", 0o755),
    ] {
        tree.dir(path, mode);
    }
    tree.file("bin/busybox", 0o755, program);
    for applet in applets.iter().filter(|applet| *applet != "busybox") {
        tree.hardlink(&format!("bin/{applet}"), "bin/busybox")?;
    }
    tree.symlink("usr/bin/env", "../../bin/env");
    tree.symlink("var/run", "/run");
    for (path, text) in [
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n\
             bin:x:2:2:bin:/bin:/bin/false\nsys:x:3:3:sys:/dev:/bin/false\n\
             mail:x:8:8:mail:/var/spool/mail:/bin/false\n\
             www-data:x:33:33:www-data:/var/www:/bin/false\n\
             nobody:x:65534:65534:nobody:/home:/bin/false\n",
        ),
        (
            "etc/group",
            "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nmail:x:8:\n\
             wheel:x:10:root\nwww-data:x:33:\nusers:x:100:\nnobody:x:65534:\n",
        ),
        ("etc/hosts", "127.0.0.1\tlocalhost\n"),
        ("etc/hostname", "localhost\n"),
        ("etc/resolv.conf", ""),
        (
            "etc/nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\n",
        ),
    ] {
        tree.file(path, 0o644, text);
    }
    tree.file(
        "etc/shadow",
        0o600,
        "root:*::0:99999:7:::\nnobody:*::0:99999:7:::\n",
    );
    if let Some(copyright) = copyright {
        tree.file("usr/share/doc/busybox-static/copyright", 0o644, copyright);
    }
    Ok(())
}

/// Reads the applet names out of the program: a sorted table of C strings that begins with `[`.
/// Running it would need an emulator on the host.
fn busybox_applets(program: &[u8]) -> anyhow::Result<Vec<String>> {
    const START: &[u8] = b"[\0[[\0";
    let start = program
        .windows(START.len())
        .position(|window| window == START)
        .context("no applet table in busybox")?;
    let mut names: Vec<String> = Vec::new();
    for name in program[start..].split(|&byte| byte == 0) {
        let sorted = names.last().is_none_or(|last| last.as_bytes() < name);
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'[' | b'_' | b'-' | b'.');
        if !sorted || name.is_empty() || !name.iter().all(plain) {
            break;
        }
        names.push(String::from_utf8_lossy(name).into_owned());
    }
    for expected in ["ash", "cat", "ls", "sh", "wget", "zcat"] {
        anyhow::ensure!(
            names.iter().any(|name| name == expected),
            "busybox has no {expected}"
        );
    }
    Ok(names)
}

/// Root's shell, the notice and the completion of a Drydock node.
pub fn node(tree: &mut Tree) -> anyhow::Result<()> {
    debian_base(tree)?;
    network_tools(tree)?;
    tree.file("etc/profile", 0o644, include_str!("files/node-profile"));
    tree.file(
        "etc/bash.bashrc",
        0o644,
        include_str!("files/node-bash.bashrc"),
    );
    tree.file("etc/skel/.bashrc", 0o644, include_str!("files/node-bashrc"));
    tree.file("root/.bashrc", 0o644, include_str!("files/node-bashrc"));
    tree.file(
        "root/.profile",
        0o644,
        "[ -n \"${BASH-}\" ] && . ~/.bashrc\n",
    );
    tree.file("etc/motd", 0o644, include_str!("files/node-motd"));
    super::samples::install(tree);
    tree.file(
        "etc/vim/vimrc.tiny",
        0o644,
        include_str!("files/node-vimrc"),
    );
    tree.file("etc/vim/vimrc", 0o644, include_str!("files/node-vimrc"));
    // The loader in bash.bashrc takes its place.
    for path in [
        "etc/profile.d/bash_completion.sh",
        "etc/profile.d/gawk.csh",
        "etc/profile.d/gawk.sh",
    ] {
        tree.remove(path);
    }
    tree.dir("root/.docker", 0o700);
    tree.dir("var/lib/docker", 0o710);
    tree.dir("etc/docker", 0o755);
    let group = tree.read_text("etc/group")?;
    if !group.contains("\ndocker:") {
        tree.file("etc/group", 0o644, format!("{group}docker:x:998:\n"));
    }
    git_without_perl(tree);
    for server in [
        "git-daemon",
        "git-http-backend",
        "git-http-push",
        "git-imap-send",
    ] {
        tree.remove(&format!("usr/lib/git-core/{server}"));
    }
    ssh_server(tree)?;
    // The bundle has them all.
    tree.remove("usr/share/ca-certificates/mozilla");
    // Perl has had these tables in its program since 5.32; only a module that is not in the node reads them.
    tree.remove("usr/lib/riscv64-linux-gnu/perl-base/unicore/lib");
    unused_completions(tree);
    Ok(())
}

/// Git without its scripts that need all of Perl (mail, CVS, Subversion), and each program once.
pub fn git_without_perl(tree: &mut Tree) {
    let programs: Vec<String> = tree
        .children("usr/lib/git-core")
        .filter(|(path, _)| {
            let perl = |bytes: &[u8]| bytes.starts_with(b"#!/usr/bin/perl");
            tree.read(path).is_some_and(|bytes| perl(bytes))
        })
        .map(|(path, _)| path.to_string())
        .collect();
    for program in programs {
        tree.remove(&program);
    }
    same_programs_once(tree);
}

/// The tools that look at networks, without what a node has no use for: a host has `iptables` speak to the
/// kernel either through nftables or through the older tables, and the node's kernel has the older ones.
fn network_tools(tree: &mut Tree) -> anyhow::Result<()> {
    const XTABLES: &str = "usr/lib/riscv64-linux-gnu/xtables/";
    let speaks_nftables = |path: &str, kind: &Kind| match kind {
        Kind::Symlink(target) => target.ends_with("xtables-nft-multi"),
        _ => path == "usr/sbin/xtables-nft-multi",
    };
    tree.retain(|path, node| {
        let module = path.strip_prefix(XTABLES);
        !speaks_nftables(path, &node.kind)
            && !module
                .is_some_and(|name| name.starts_with("libebt_") || name.starts_with("libarpt_"))
    });
    for path in [
        // Needs the library of netlink's connection tracking.
        "usr/lib/riscv64-linux-gnu/xtables/libxt_connlabel.so",
        "usr/share/iptables",
        "usr/sbin/nfnl_osf",
        "usr/lib/libsupp.a",
        "usr/include",
        "etc/apparmor.d",
        // For serial lines and parallel ports, which a node has not.
        "usr/sbin/slattach",
        "usr/sbin/plipconfig",
        "usr/sbin/mii-tool",
        "usr/bin/dnstap-read",
    ] {
        tree.remove(path);
    }
    // Whom tcpdump becomes once its socket is open.
    account(tree, "tcpdump", 101, "/nonexistent")
}

/// Takes out what dpkg knows of libraries for those who build packages: nobody does on a node, and every file
/// of the node costs its place in the list that is fetched before the first prompt.
pub fn node_records(tree: &mut Tree) {
    tree.retain(|path, _| {
        let record = path.strip_prefix("var/lib/dpkg/info/");
        let kind = record.and_then(|name| name.rsplit_once('.'));
        !kind.is_some_and(|(_, kind)| matches!(kind, "symbols" | "shlibs"))
    });
}

/// Debian ships some of git's programs twice; the second becomes a link to the first.
fn same_programs_once(tree: &mut Tree) {
    let links: Vec<(String, String)> = tree
        .children("usr/lib/git-core")
        .filter_map(|(path, node)| {
            let Kind::File(bytes) = &node.kind else {
                return None;
            };
            let name = path.rsplit('/').next()?;
            let same = tree.read(&format!("usr/bin/{name}")) == Some(bytes);
            same.then(|| (path.to_string(), format!("../../bin/{name}")))
        })
        .collect();
    for (path, target) in links {
        // Hard links to the removed copy go with it, so they are made anew as symbolic links.
        let others: Vec<String> = tree
            .children("usr/lib/git-core")
            .filter(|(_, node)| node.kind == Kind::Hardlink(path.clone()))
            .map(|(other, _)| other.to_string())
            .collect();
        tree.remove(&path);
        for link in others.iter().chain([&path]) {
            tree.symlink(link, &target);
        }
    }
}

/// Keeps completions of commands that are there; a listing of a thousand files costs every start.
fn unused_completions(tree: &mut Tree) {
    const DIR: &str = "usr/share/bash-completion/completions/";
    let here: Vec<String> = tree
        .children("usr/share/bash-completion/completions")
        .map(|(path, _)| path.to_string())
        .filter(|path| {
            let command = path[DIR.len()..].trim_start_matches('_');
            let command = command.strip_suffix(".bash").unwrap_or(command);
            ["usr/bin", "usr/sbin"]
                .iter()
                .any(|dir| tree.contains(&format!("{dir}/{command}")))
        })
        .collect();
    // What is kept may be a link to what would go.
    let mut keep: std::collections::BTreeSet<String> = here.iter().cloned().collect();
    keep.extend(here.iter().filter_map(|path| tree.resolve(path, true)));
    tree.retain(|path, _| !path.starts_with(DIR) || keep.contains(path));
}

/// The files a node reads until its first prompt, libraries first, and nothing else: everything
/// here is downloaded before anything is seen.
pub fn node_prefetch(tree: &Tree) -> Vec<First> {
    let mut paths = elf::closure(tree, "usr/bin/bash");
    for path in [
        "etc/passwd",
        "etc/group",
        "etc/nsswitch.conf",
        "etc/hosts",
        "etc/hostname",
        "etc/profile",
        "etc/bash.bashrc",
        "etc/inputrc",
        "etc/motd",
        "root/.profile",
        "root/.bashrc",
        "root/.bash_profile",
        "usr/lib/terminfo/x/xterm-256color",
        "usr/lib/terminfo/x/xterm",
        "usr/share/terminfo/x/xterm-256color",
        "usr/share/terminfo/x/xterm",
        "usr/lib/locale/C.utf8/LC_CTYPE",
        "usr/lib/locale/C.utf8/LC_COLLATE",
        "usr/lib/locale/C.utf8/LC_MESSAGES/SYS_LC_MESSAGES",
        "usr/lib/locale/C.utf8/LC_IDENTIFICATION",
        "usr/lib/locale/C.utf8/LC_MEASUREMENT",
        "usr/lib/locale/C.utf8/LC_TELEPHONE",
        "usr/lib/locale/C.utf8/LC_ADDRESS",
        "usr/lib/locale/C.utf8/LC_NAME",
        "usr/lib/locale/C.utf8/LC_PAPER",
        "usr/lib/locale/C.utf8/LC_MONETARY",
        "usr/lib/locale/C.utf8/LC_NUMERIC",
        "usr/lib/locale/C.utf8/LC_TIME",
    ] {
        for name in [tree.resolve(path, false), tree.resolve(path, true)]
            .into_iter()
            .flatten()
        {
            if tree.contains(&name) && !paths.contains(&name) {
                paths.push(name);
            }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    // The links that merge directories lead to all of the above.
    for name in ["lib", "sbin", "bin"] {
        paths.insert(0, name.to_string());
    }
    let pages = |path: &str| first_pages(path, tree.read(path)?.len());
    let first = |path: String| First {
        pages: pages(&path).unwrap_or_default(),
        path,
    };
    paths.into_iter().map(first).collect()
}

/// What of a large file is read until the first prompt: seen by starting a node from an image with chunks of
/// a page and no prefetching. Of a file of another size, so of another version, nothing is known.
fn first_pages(path: &str, size: usize) -> Option<Vec<Range<usize>>> {
    // A line is a path, the file's size, and runs of pages: the first, and the one behind the last.
    let lines = include_str!("files/node-first-pages").lines();
    let mut words = lines
        .map(str::split_whitespace)
        .find_map(|mut words| (words.next() == Some(path)).then_some(words))?;
    (words.next()?.parse() == Ok(size)).then_some(())?;
    let run = |word: &str| {
        let (start, end) = word.split_once('-')?;
        Some(start.parse().ok()?..end.parse().ok()?)
    };
    words.map(run).collect()
}

/// Python as Docker's image has it: `python` works, and so does `/usr/local/bin/python3`.
pub fn python(tree: &mut Tree) -> anyhow::Result<()> {
    for (path, target) in [
        ("usr/bin/python", "python3"),
        ("usr/local/bin/python3", "/usr/bin/python3"),
        ("usr/local/bin/python", "/usr/bin/python3"),
    ] {
        tree.symlink(path, target);
    }
    // The standard library's own test suite and the marker that only apt may install packages.
    tree.remove("usr/lib/python3.13/test");
    tree.remove("usr/lib/python3.13/EXTERNALLY-MANAGED");
    alternatives(tree);
    pip(tree)?;
    certificates(tree)
}

/// pip where Docker's image has it, out of the wheel that Debian has for `python -m venv`.
fn pip(tree: &mut Tree) -> anyhow::Result<()> {
    const LIBRARY: &str = "usr/local/lib/python3.13/dist-packages";
    let wheel = tree
        .children("usr/share/python-wheels")
        .find(|(path, _)| path.contains("/pip-"))
        .map(|(path, _)| path.to_string());
    let wheel = wheel.context("there is no wheel of pip")?;
    let members = zip::members(tree.read(&wheel).context("reading pip")?, |_| true)?;
    let mut programs = String::new();
    for name in ["pip", "pip3", "pip3.13"] {
        let program = "#!/usr/local/bin/python3\nimport sys\nfrom pip._internal.cli.main import main\n\
                       if __name__ == '__main__':\n    sys.exit(main())\n";
        tree.file(&format!("usr/local/bin/{name}"), 0o755, program);
        programs.push_str(&format!("../../../bin/{name},,\n"));
    }
    for member in members {
        let path = format!("{LIBRARY}/{}", member.path);
        if let Some(info) = path.strip_suffix("/RECORD") {
            // So that pip can replace itself.
            let record = [&*member.bytes, programs.as_bytes()].concat();
            tree.file(&path, 0o644, record);
            tree.file(&format!("{info}/INSTALLER"), 0o644, "pip\n");
        } else {
            tree.file(&path, 0o644, member.bytes);
        }
    }
    // Where stages of a build copy packages from; Debian's name for it is another.
    tree.symlink("usr/local/lib/python3.13/site-packages", "dist-packages");
    tree.file("etc/pip.conf", 0o644, include_str!("files/pip.conf"));
    Ok(())
}

/// Adds a system account and its group, both with the number `id`.
pub fn account(tree: &mut Tree, name: &str, id: u32, home: &str) -> anyhow::Result<()> {
    let passwd = tree.read_text("etc/passwd")?;
    let group = tree.read_text("etc/group")?;
    let line = format!("{name}:x:{id}:{id}:{name}:{home}:/usr/sbin/nologin\n");
    tree.file("etc/passwd", 0o644, passwd + &line);
    tree.file("etc/group", 0o644, format!("{group}{name}:x:{id}:\n"));
    shadow_files(tree)
}

/// What the server's package would have set up: its account, configuration and run directory.
/// Host keys are each machine's own: `ssh-keygen -A` makes them.
pub fn ssh_server(tree: &mut Tree) -> anyhow::Result<()> {
    account(tree, "sshd", 102, "/run/sshd")?;
    let conf = tree.read_text("usr/share/openssh/sshd_config")?;
    tree.file("etc/ssh/sshd_config", 0o644, conf);
    tree.dir("run/sshd", 0o755);
    for path in [
        // Other service managers' files.
        "etc/default/ssh",
        "etc/sv",
        "etc/runit",
        "etc/ufw",
        "usr/share/runit",
        "var/log/runit",
        "usr/lib/openssh/ssh-session-cleanup",
        "usr/share/openssh/sshd_config.md5sum",
        // Keys on cards.
        "usr/lib/openssh/ssh-pkcs11-helper",
        "usr/lib/openssh/ssh-sk-helper",
        "usr/bin/ssh-argv0",
    ] {
        tree.remove(path);
    }
    Ok(())
}
