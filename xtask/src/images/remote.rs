//! Images that others reach over the network to work in or with: an SSH server, git, a git server.

use oci::ContainerConfig;

use super::extras::{description, unpacked};
use super::fixups::{certificates, git_without_perl, ssh_server};
use super::recipe::{Recipe, keys};
use super::server_fixups::entrypoint as start_script;
use super::servers::{entrypoint, server, tags};

/// What comes along with OpenSSH's packages and only their maintainer scripts and services use.
const SSH_LEFT_OUT: &[&str] = &[
    "systemd",
    "libsystemd-shared",
    "runit-helper",
    "procps",
    "libproc2-0",
    "libncursesw6",
    "libseccomp2",
    "libapparmor1",
    "debconf",
    "init-system-helpers",
    "adduser",
    "ucf",
    "sensible-utils",
    "libtext-charwidth-perl",
    "libtext-wrapi18n-perl",
];

/// All of them, bases before what is built on them.
pub fn recipes() -> Vec<Recipe> {
    let git = git();
    let server = git_server(&git);
    vec![sshd(), git, server]
}

fn sshd() -> Recipe {
    let base = server("drydock/sshd", &[], &["/usr/sbin/sshd", "-D", "-e"]);
    Recipe {
        packages: vec!["openssh-server", "openssh-client"],
        left_out: SSH_LEFT_OUT,
        fixup: |tree| {
            ssh_server(tree)?;
            // Containers are entered as root; the start script says with what.
            let conf = "etc/ssh/sshd_config.d/docker.conf";
            tree.file(conf, 0o644, "PermitRootLogin yes\n");
            start_script(tree, include_str!("files/servers/sshd-entrypoint.sh"));
            Ok(())
        },
        config: ContainerConfig {
            entrypoint: entrypoint(&["docker-entrypoint.sh"]),
            exposed_ports: keys(&["22/tcp"]),
            ..base.config
        },
        created_by: unpacked("openssh-server"),
        description: description("OpenSSH 10.0, server,"),
        ..base
    }
}

fn git() -> Recipe {
    let (_, stand_in_tags) = tags(
        "",
        "latest v2 2.47.3 v2.47.2 2.49.0 v2.49.1 2.45.2 v2.45.2 2.43.0 2.40.1 v2.36.3",
    );
    let base = server("alpine/git", &[], &["--help"]);
    Recipe {
        tags: Vec::new(),
        stand_in_tags,
        packages: vec!["git", "openssh-client", "ca-certificates"],
        left_out: &[
            "debconf",
            "adduser",
            "git-man",
            "perl",
            "perl-modules-5.40",
            "libperl5.40",
            "libgdbm6t64",
            "libgdbm-compat4t64",
            "liberror-perl",
        ],
        fixup: |tree| {
            tree.dir("git", 0o755);
            git_without_perl(tree);
            for program in ["usr/bin/scalar", "usr/lib/git-core/git-imap-send"] {
                tree.remove(program);
            }
            certificates(tree)
        },
        config: ContainerConfig {
            entrypoint: entrypoint(&["git"]),
            volumes: keys(&["/git"]),
            working_dir: "/git".to_string(),
            ..base.config
        },
        created_by: unpacked("git and openssh-client"),
        description: description("Git 2.47"),
        ..base
    }
}

fn git_server(git: &Recipe) -> Recipe {
    let base = server(
        "drydock/git-server",
        &[],
        &["lighttpd", "-D", "-f", "/etc/lighttpd/lighttpd.conf"],
    );
    Recipe {
        base: Some(("alpine/git", "latest")),
        packages: vec!["lighttpd"],
        left_out: git.left_out,
        fixup: |tree| {
            tree.dir("srv/git", 0o755);
            tree.file(
                "etc/gitconfig",
                0o644,
                "[http]\n\treceivepack = true\n[safe]\n\tdirectory = *\n",
            );
            tree.file(
                "etc/lighttpd/lighttpd.conf",
                0o644,
                include_str!("files/servers/git-server.conf"),
            );
            Ok(())
        },
        config: ContainerConfig {
            exposed_ports: keys(&["80/tcp"]),
            volumes: keys(&["/srv/git"]),
            ..base.config
        },
        created_by: unpacked("lighttpd"),
        description: description("Git repositories over HTTP (lighttpd and git-http-backend)"),
        ..base
    }
}
