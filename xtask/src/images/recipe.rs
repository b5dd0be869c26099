//! The stock images: what goes in, what they are called, what they say about themselves.
//!
//! An image that goes by a name it is not (another distribution's, another version's) stands in
//! for it: it has the name tutorials type, and says in its label, its description and, for another
//! distribution, in `/etc/os-release`, that it is a Drydock rebuild from Debian packages.

use anyhow::Context;
use oci::ContainerConfig;

use super::estargz::First;
use super::extras;
use super::fixups;
use super::hello;
use super::seed::Seed;
use super::servers;
use super::tree::Tree;

/// What the images are built from, as they say it.
pub const BUILT_FROM: &str = "Debian GNU/Linux 13 (trixie)";

/// One layer on top of another recipe's, and the tags it goes by.
#[derive(Clone)]
pub struct Recipe {
    /// The repository as the static registry names it: `library/busybox`.
    pub repository: &'static str,
    /// Distinguishes recipes of one repository; the first tag.
    pub variant: String,
    /// Tags whose name says what the image is.
    pub tags: Vec<String>,
    /// Tags whose name says something else, often typed in tutorials.
    pub stand_in_tags: Vec<String>,
    /// The repository and variant this one is built on.
    pub base: Option<(&'static str, &'static str)>,
    /// Packages; their dependencies come along.
    pub packages: Vec<&'static str>,
    /// Packages of the closure that only maintainer scripts or parts left out would need.
    pub left_out: &'static [&'static str],
    /// Whether `/bin` and the like are links into `/usr`.
    pub merged_usr: bool,
    /// Whether the image has dpkg's records.
    pub dpkg_records: bool,
    /// Whether to compile Python's library.
    pub python_bytecode: bool,
    /// Whether to compile Go's library.
    pub go_cache: bool,
    /// Whether npm comes along, from its own registry.
    pub npm: bool,
    /// What to do after unpacking.
    pub fixup: Fixup,
    /// Files that only the image's own programs can make.
    pub seed: Option<Seed>,
    /// Whether it is built only when asked for: large, or seldom used.
    pub extra: bool,
    /// Whether `servers` describes it.
    pub server: bool,
    /// The files that a first start reads.
    pub prefetch: fn(&Tree) -> Vec<First>,
    /// The files a stand-in identifies itself with.
    pub identity: Option<Identity>,
    /// Container defaults.
    pub config: ContainerConfig,
    /// The step that `docker history` shows.
    pub created_by: String,
    /// One sentence for `docker search`.
    pub description: String,
}

impl Recipe {
    /// Whether the image differs from its base in files, not only in its config.
    pub fn has_layer(&self) -> bool {
        self.base.is_none() || !self.packages.is_empty() || self.identity.is_some() || self.server
    }

    /// Whether a package that comes along is not unpacked.
    pub fn leaves_out(&self, package: &str) -> bool {
        self.left_out.contains(&package)
    }
}

/// The step after unpacking.
pub type Fixup = fn(&mut Tree) -> anyhow::Result<()>;

/// Whose name an image goes by.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `ID`.
    pub id: &'static str,
    /// `ID_LIKE`.
    pub id_like: &'static str,
    /// `NAME`.
    pub name: &'static str,
    /// `VERSION_ID`.
    pub version: String,
    /// `VERSION_CODENAME`.
    pub codename: &'static str,
    /// Docker's name for the original.
    pub stands_in_for: String,
    /// Further release files.
    pub release_files: &'static [&'static str],
    /// Package managers users will try.
    pub managers: &'static [&'static str],
}

impl Identity {
    /// Writes the identity files.
    pub fn apply(&self, tree: &mut Tree) -> anyhow::Result<()> {
        let pretty = format!(
            "{} {} stand-in (Drydock rebuild from Debian 13 packages)",
            self.name, self.version
        );
        let codename = match self.codename {
            "" => String::new(),
            codename => format!("VERSION_CODENAME={codename}\n"),
        };
        let text = format!(
            "PRETTY_NAME=\"{pretty}\"\nNAME=\"{}\"\nID={}\nID_LIKE=\"{}\"\nVERSION_ID=\"{}\"\n\
             {codename}VARIANT=\"Drydock stand-in\"\nVARIANT_ID=drydock-stand-in\n\
             DRYDOCK_STANDS_IN_FOR=\"{}\"\nDRYDOCK_BUILT_FROM=\"{BUILT_FROM}\"\n",
            self.name, self.id, self.id_like, self.version, self.stands_in_for
        );
        if tree.contains("usr/lib/os-release") {
            tree.file("usr/lib/os-release", 0o644, text);
        } else {
            tree.file("etc/os-release", 0o644, text);
        }
        for file in self.release_files {
            let text = match *file {
                "etc/alpine-release" => format!("{}\n", self.version),
                "etc/lsb-release" => format!(
                    "DISTRIB_ID={}\nDISTRIB_RELEASE={}\nDISTRIB_CODENAME={}\n\
                     DISTRIB_DESCRIPTION=\"{pretty}\"\n",
                    self.name, self.version, self.codename
                ),
                _ => format!("{pretty}\n"),
            };
            tree.remove(file);
            tree.file(file, 0o644, text);
        }
        for manager in self.managers {
            let script = include_str!("files/standin-package-manager");
            tree.file(&format!("usr/bin/{manager}"), 0o755, script);
        }
        if self.id == "alpine" {
            tree.file("etc/issue", 0o644, format!("{pretty}\n"));
        }
        Ok(())
    }
}

/// Owned copies.
pub fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

/// A search path and a command.
pub fn command(items: &[&str]) -> ContainerConfig {
    ContainerConfig {
        env: vec![fixups::path_variable()],
        cmd: Some(strings(items)),
        ..ContainerConfig::default()
    }
}

/// Keys without values: exposed ports, volumes.
pub fn keys(names: &[&str]) -> std::collections::BTreeMap<String, oci::Empty> {
    names
        .iter()
        .map(|name| (name.to_string(), oci::Empty {}))
        .collect()
}

fn nothing(_: &mut Tree) -> anyhow::Result<()> {
    Ok(())
}

fn no_prefetch(_: &Tree) -> Vec<First> {
    Vec::new()
}

/// A recipe with defaults.
pub fn recipe(repository: &'static str, variant: &str) -> Recipe {
    Recipe {
        repository,
        variant: variant.to_string(),
        tags: vec![variant.to_string()],
        stand_in_tags: Vec::new(),
        base: None,
        packages: Vec::new(),
        left_out: &[],
        merged_usr: false,
        dpkg_records: false,
        python_bytecode: false,
        go_cache: false,
        npm: false,
        fixup: nothing,
        seed: None,
        extra: false,
        server: false,
        prefetch: no_prefetch,
        identity: None,
        config: command(&["sh"]),
        created_by: String::new(),
        description: String::new(),
    }
}

/// Debian's own images: the essential packages, apt, and what adds users.
pub const DEBIAN: &[&str] = &[
    "?essential",
    "apt",
    "passwd",
    "mount",
    "tzdata",
    "debian-archive-keyring",
];

const NODE: &[&str] = &[
    "?essential",
    "mount",
    "passwd",
    "procps",
    "psmisc",
    "iproute2",
    "iputils-ping",
    "netcat-openbsd",
    "iptables",
    "tcpdump",
    "traceroute",
    "net-tools",
    "bind9-dnsutils",
    "htop",
    "curl",
    "ca-certificates",
    "less",
    "nano",
    "vim-tiny",
    "jq",
    "file",
    "tree",
    "git",
    "tini",
    "tmux",
    "xz-utils",
    "gawk",
    "sqlite3",
    "docker-cli",
    "docker-buildx",
    "docker-compose",
    "bash-completion",
    "libpam-modules",
    "libpam-runtime",
    "util-linux-extra",
    "bsdextrautils",
    "openssh-client",
    "openssh-server",
];

/// Perl's full library: git's mail and import scripts want it, `perl` itself does not.
const NODE_LEFT_OUT: &[&str] = &[
    "debconf",
    "init-system-helpers",
    "perl",
    "perl-modules-5.40",
    "libperl5.40",
    "liberror-perl",
    "libgdbm6t64",
    "libgdbm-compat4t64",
    "vim-common",
    "media-types",
    "gcc-14-base",
    // tcpdump's account is made by a fixup; what speaks nftables is left out of iptables.
    "adduser",
    "libnetfilter-conntrack3",
    "libnfnetlink0",
    "libnftnl11",
    // OpenSSH's server is there to be started by hand: it comes without a service manager.
    "systemd",
    "libsystemd-shared",
    "runit-helper",
    "libseccomp2",
    "libapparmor1",
    "ucf",
    "sensible-utils",
    "libtext-charwidth-perl",
    "libtext-wrapi18n-perl",
];

/// All recipes, bases before what is built on them.
pub fn all() -> Vec<Recipe> {
    let mut recipes = vec![
        Recipe {
            tags: strings(&["latest", "linux"]),
            fixup: |tree| {
                tree.file("hello", 0o755, hello::program());
                Ok(())
            },
            config: ContainerConfig {
                env: vec![fixups::path_variable()],
                cmd: Some(strings(&["/hello"])),
                working_dir: "/".to_string(),
                ..ContainerConfig::default()
            },
            created_by: "COPY hello / # made by cargo xtask images".to_string(),
            description: "Hello World! (a minimal image, written for Drydock)".to_string(),
            ..recipe("library/hello-world", "latest")
        },
        Recipe {
            tags: strings(&[
                "latest", "1", "1.37", "1.37.0", "stable", "unstable", "glibc",
            ]),
            stand_in_tags: strings(&[
                "1.36", "1.36.1", "1.35", "1.35.0", "1.34", "1.33", "1.32", "1.31", "1.30", "1.29",
                "1.28", "1.28.4", "1.27", "1.26", "1.25", "musl", "uclibc",
            ]),
            packages: vec!["busybox-static"],
            fixup: fixups::busybox,
            created_by: "busybox-static, unpacked by cargo xtask images".to_string(),
            description: "Busybox base image (Debian's static busybox 1.37).".to_string(),
            ..recipe("library/busybox", "latest")
        },
        Recipe {
            tags: strings(&[
                "latest",
                "trixie",
                "trixie-slim",
                "13",
                "13-slim",
                "stable",
                "stable-slim",
            ]),
            stand_in_tags: strings(&[
                "bookworm",
                "bookworm-slim",
                "12",
                "12-slim",
                "bullseye",
                "bullseye-slim",
                "11",
                "buster",
                "buster-slim",
                "10",
                "stretch",
                "stretch-slim",
                "9",
                "jessie",
                "8",
                "sid",
                "testing",
                "unstable",
                "wheezy",
            ]),
            packages: DEBIAN.to_vec(),
            merged_usr: true,
            dpkg_records: true,
            fixup: fixups::debian_base,
            config: command(&["bash"]),
            created_by: "Debian trixie essential packages and apt, unpacked by cargo xtask images"
                .to_string(),
            description: "Debian 13 (trixie), slim: rebuilt by Drydock from Debian packages."
                .to_string(),
            ..recipe("library/debian", "latest")
        },
        Recipe {
            tags: strings(&[
                "latest",
                "3",
                "3.13",
                "slim",
                "3-slim",
                "3.13-slim",
                "trixie",
                "3-trixie",
                "3.13-trixie",
                "slim-trixie",
            ]),
            stand_in_tags: strings(&[
                "3.14",
                "3.12",
                "3.11",
                "3.10",
                "3.9",
                "3.8",
                "3.7",
                "3.6",
                "alpine",
                "3-alpine",
                "3.12-slim",
                "3.11-slim",
                "3.10-slim",
                "3.9-slim",
                "3.8-slim",
                "3.12-alpine",
                "3.11-alpine",
                "3.10-alpine",
                "3.9-alpine",
                "3.8-alpine",
                "3.7-alpine",
            ]),
            base: Some(("library/debian", "latest")),
            packages: vec!["python3", "python3-venv", "ca-certificates", "netbase"],
            left_out: &["python3-setuptools-whl"],
            merged_usr: true,
            dpkg_records: true,
            python_bytecode: true,
            fixup: fixups::python,
            config: ContainerConfig {
                env: vec![fixups::path_variable(), "LANG=C.UTF-8".to_string()],
                ..command(&["python3"])
            },
            created_by: "python3, its library and pip, compiled, unpacked by cargo xtask images"
                .to_string(),
            description: "Python 3.13 on Debian 13: rebuilt by Drydock from Debian packages."
                .to_string(),
            ..recipe("library/python", "latest")
        },
        Recipe {
            tags: strings(&["latest", "5", "5.40", "slim", "5-slim"]),
            base: Some(("library/debian", "latest")),
            packages: vec!["perl"],
            merged_usr: true,
            dpkg_records: true,
            fixup: |tree| {
                fixups::alternatives(tree);
                Ok(())
            },
            config: command(&["perl", "-de0"]),
            created_by: "perl and its library, unpacked by cargo xtask images".to_string(),
            description: "Perl 5.40 on Debian 13: rebuilt by Drydock from Debian packages."
                .to_string(),
            ..recipe("library/perl", "latest")
        },
        Recipe {
            tags: strings(&["latest", "5", "5.2", "5.2.37"]),
            stand_in_tags: strings(&["5.3", "5.1", "5.0", "4", "4.4", "devel"]),
            base: Some(("library/debian", "latest")),
            merged_usr: true,
            created_by: "nothing of its own".to_string(),
            config: command(&["bash"]),
            description: "GNU bash 5.2 on Debian 13: rebuilt by Drydock from Debian packages."
                .to_string(),
            ..recipe("library/bash", "latest")
        },
        Recipe {
            packages: NODE.to_vec(),
            left_out: NODE_LEFT_OUT,
            merged_usr: true,
            dpkg_records: true,
            fixup: fixups::node,
            prefetch: fixups::node_prefetch,
            config: ContainerConfig {
                env: vec![fixups::path_variable(), "LANG=C.UTF-8".to_string()],
                working_dir: "/root".to_string(),
                ..command(&["bash", "-l"])
            },
            created_by: "a Drydock node's root file system, unpacked by cargo xtask images"
                .to_string(),
            description: "The root file system of a Drydock node.".to_string(),
            ..recipe("drydock/node", "latest")
        },
    ];
    recipes.extend(stand_ins());
    recipes.extend(servers::recipes());
    recipes.extend(extras::recipes());
    recipes
}

/// Other distributions. Each version has an identity layer of its own on a shared base.
fn stand_ins() -> Vec<Recipe> {
    let mut recipes = Vec::new();
    // Version, further tags.
    let alpine: &[(&str, &[&str])] = &[
        ("3.22", &["latest", "3"]),
        ("3.21", &[]),
        ("3.20", &[]),
        ("3.19", &[]),
        ("3.18", &[]),
        ("3.17", &[]),
        ("3.16", &[]),
        ("3.15", &[]),
        ("3.14", &[]),
        ("3.13", &[]),
        ("3.12", &[]),
        ("3.11", &[]),
        ("3.10", &[]),
        ("3.9", &[]),
        ("3.9.3", &[]),
        ("3.8", &[]),
        ("3.7", &[]),
        ("3.6", &[]),
        ("3.5", &[]),
        ("3.4", &[]),
        ("edge", &[]),
    ];
    for (version, tags) in alpine {
        let identity = Identity {
            id: "alpine",
            id_like: "debian",
            name: "Alpine Linux",
            version: version.to_string(),
            codename: "",
            stands_in_for: format!("docker.io/library/alpine:{version}"),
            release_files: &["etc/alpine-release"],
            managers: &["apk"],
        };
        recipes.push(Recipe {
            base: Some(("library/busybox", "latest")),
            config: command(&["/bin/sh"]),
            description: "Stand-in for Alpine: Debian's static busybox under Alpine's name, \
                          without musl and apk. A Drydock rebuild from Debian packages."
                .to_string(),
            ..stand_in("library/alpine", version, tags, identity)
        });
    }
    let ubuntu: &[(&str, &str, &[&str])] = &[
        ("24.04", "noble", &["latest"]),
        ("22.04", "jammy", &[]),
        ("20.04", "focal", &[]),
        ("18.04", "bionic", &[]),
        ("16.04", "xenial", &[]),
        ("14.04", "trusty", &[]),
    ];
    for (version, codename, tags) in ubuntu {
        let identity = Identity {
            id: "ubuntu",
            id_like: "debian",
            name: "Ubuntu",
            version: version.to_string(),
            codename,
            stands_in_for: format!("docker.io/library/ubuntu:{version}"),
            release_files: &["etc/lsb-release", "etc/issue", "etc/issue.net"],
            managers: &[],
        };
        let mut tags = tags.to_vec();
        tags.push(codename);
        recipes.push(Recipe {
            base: Some(("library/debian", "latest")),
            merged_usr: true,
            config: command(&["/bin/bash"]),
            description: "Stand-in for Ubuntu: Debian 13 under Ubuntu's name. \
                          A Drydock rebuild from Debian packages."
                .to_string(),
            ..stand_in("library/ubuntu", version, &tags, identity)
        });
    }
    let centos: &[(&str, &[&str])] = &[
        ("7", &["centos7"]),
        ("8", &["latest", "centos8"]),
        ("6", &["centos6"]),
    ];
    for (version, tags) in centos {
        let identity = Identity {
            id: "centos",
            id_like: "debian",
            name: "CentOS Linux",
            version: version.to_string(),
            codename: "",
            stands_in_for: format!("docker.io/library/centos:{version}"),
            release_files: &[
                "etc/centos-release",
                "etc/redhat-release",
                "etc/system-release",
            ],
            managers: &["yum", "dnf", "rpm"],
        };
        recipes.push(Recipe {
            base: Some(("library/debian", "latest")),
            merged_usr: true,
            config: command(&["/bin/bash"]),
            description:
                "Stand-in for CentOS: Debian 13 under CentOS's name, without yum and rpm. \
                          A Drydock rebuild from Debian packages."
                    .to_string(),
            ..stand_in("library/centos", version, tags, identity)
        });
    }
    recipes
}

fn stand_in(repository: &'static str, version: &str, tags: &[&str], identity: Identity) -> Recipe {
    let mut all_tags = vec![version.to_string()];
    all_tags.extend(strings(tags));
    Recipe {
        tags: Vec::new(),
        stand_in_tags: all_tags,
        created_by: format!(
            "identity files of {}, a Drydock stand-in from Debian packages",
            identity.stands_in_for
        ),
        identity: Some(identity),
        ..recipe(repository, version)
    }
}

/// The position of a recipe's base in `recipes`.
pub fn base_index(recipes: &[Recipe], recipe: &Recipe) -> anyhow::Result<Option<usize>> {
    let Some((repository, variant)) = recipe.base else {
        return Ok(None);
    };
    let found = recipes
        .iter()
        .position(|other| other.repository == repository && other.variant == variant);
    Ok(Some(found.with_context(|| {
        format!("no recipe {repository}:{variant}")
    })?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_and_used_once() {
        let recipes = all();
        let mut seen = std::collections::BTreeSet::new();
        for (index, recipe) in recipes.iter().enumerate() {
            let base = base_index(&recipes, recipe).unwrap();
            assert!(
                base.is_none_or(|base| base < index),
                "{}",
                recipe.repository
            );
            assert!(!recipe.description.is_empty() && !recipe.created_by.is_empty());
            for tag in recipe.tags.iter().chain(&recipe.stand_in_tags) {
                let name = format!("{}:{tag}", recipe.repository);
                let reference = oci::Reference::parse(&name).unwrap();
                assert_eq!(oci::static_repository(&reference), recipe.repository);
                assert!(seen.insert(name.clone()), "{name} twice");
            }
        }
    }

    #[test]
    fn stand_ins_say_so() {
        for recipe in all().iter().filter(|recipe| recipe.identity.is_some()) {
            assert!(recipe.tags.is_empty() && recipe.description.contains("Debian"));
            let mut tree = Tree::new();
            recipe.identity.as_ref().unwrap().apply(&mut tree).unwrap();
            let text = tree.read_text("etc/os-release").unwrap();
            assert!(
                text.contains("stand-in") && text.contains(BUILT_FROM),
                "{text}"
            );
        }
    }
}
