//! The images of servers and language runtimes.
//!
//! Each keeps the contract of Docker's image of that name: command, ports, volumes, environment,
//! stop signal, and the paths tutorials edit (`server_fixups` has those). The small ones are built
//! by default; the others are `extra`.

use oci::ContainerConfig;

use super::fixups;
use super::recipe::{Recipe, command, keys, recipe, strings};
use super::server_fixups as fixup;

/// The texts that `server_fixups` puts into images: when one changes, servers are built anew.
pub const FILES: &[&str] = &[
    include_str!("npm.rs"),
    include_str!("files/npmrc"),
    include_str!("files/servers/httpd-foreground"),
    include_str!("files/servers/httpd-program"),
    include_str!("files/servers/httpd.conf"),
    include_str!("files/servers/memcached-entrypoint.sh"),
    include_str!("files/servers/nginx-default.conf"),
    include_str!("files/servers/nginx-entrypoint.sh"),
    include_str!("files/servers/nginx.conf"),
    include_str!("files/servers/redis-entrypoint.sh"),
    include_str!("files/servers/registry-config.yml"),
    include_str!("files/servers/registry-entrypoint.sh"),
    include_str!("files/servers/run-by-default.sh"),
];

/// What comes with packages for their maintainer scripts, among it a second, full Perl.
const LEFT_OUT: &[&str] = &[
    "adduser",
    "ucf",
    "sensible-utils",
    "libtext-charwidth-perl",
    "libtext-wrapi18n-perl",
    "ssl-cert",
    "perl",
    "perl-modules-5.40",
    "libperl5.40",
    "libgdbm-compat4t64",
    "libdbi-perl",
    "libconfig-inifiles-perl",
    "libjson-perl",
    "libio-pty-perl",
    "libipc-run-perl",
    "galera-4",
    "lsof",
    "liblsof0",
    "rsync",
    "libpopt0",
    "socat",
    "libwrap0",
];

/// A server on Debian's base, with the search path and `env` as its environment.
pub fn server(repository: &'static str, env: &[&str], cmd: &[&str]) -> Recipe {
    let mut config = command(cmd);
    config.env.extend(strings(env));
    Recipe {
        base: Some(("library/debian", "latest")),
        left_out: LEFT_OUT,
        merged_usr: true,
        dpkg_records: true,
        server: true,
        config,
        ..recipe(repository, "latest")
    }
}

/// An entry point of fixed words.
pub fn entrypoint(words: &[&str]) -> Option<Vec<String>> {
    Some(strings(words))
}

/// The names of an image: what it is, and what it stands in for.
pub fn tags(own: &str, stand_ins: &str) -> (Vec<String>, Vec<String>) {
    let words = |text: &str| text.split_whitespace().map(str::to_string).collect();
    (words(own), words(stand_ins))
}

/// All of them, bases before what is built on them.
pub fn recipes() -> Vec<Recipe> {
    vec![nginx(), httpd(), redis(), memcached(), registry(), node()]
}

fn nginx() -> Recipe {
    let (tags, stand_in_tags) = tags(
        "latest stable mainline 1 1.26 1.26.3 trixie",
        "alpine stable-alpine mainline-alpine 1-alpine 1.29 1.28 1.27 1.25 1.24 1.23 1.22 1.21 1.20 \
         1.19 1.18 1.17 1.16 1.16.1 1.15 1.14 1.14.2 1.13 1.12 1.11 1.10 1.9 1.8 1.7.9 \
         1.29-alpine 1.28-alpine 1.27-alpine 1.26-alpine 1.25-alpine 1.24-alpine 1.23-alpine \
         1.22-alpine 1.21-alpine 1.20-alpine 1.19-alpine 1.17-alpine 1.15-alpine 1.13-alpine \
         1.25.3 1.25.4 1.24.0 1.23.3 1.21.6 1.19.6",
    );
    let base = server(
        "library/nginx",
        &["NGINX_VERSION=1.26.3"],
        &["nginx", "-g", "daemon off;"],
    );
    Recipe {
        tags,
        stand_in_tags,
        packages: vec!["nginx", "curl", "ca-certificates", "gettext-base"],
        left_out: &[],
        fixup: fixup::nginx,
        config: ContainerConfig {
            entrypoint: entrypoint(&["/docker-entrypoint.sh"]),
            exposed_ports: keys(&["80/tcp"]),
            stop_signal: Some("SIGQUIT".to_string()),
            ..base.config
        },
        created_by: "nginx and curl, unpacked by cargo xtask images".to_string(),
        description: "nginx 1.26 on Debian 13: rebuilt by Drydock from Debian packages."
            .to_string(),
        ..base
    }
}

fn httpd() -> Recipe {
    let (tags, stand_in_tags) = tags(
        "latest 2 2.4 trixie 2-trixie 2.4-trixie",
        "alpine 2-alpine 2.4-alpine bookworm 2.4-bookworm",
    );
    let base = server("library/httpd", &[], &["httpd-foreground"]);
    let path = fixups::path_variable().replace("PATH=", "PATH=/usr/local/apache2/bin:");
    Recipe {
        tags,
        stand_in_tags,
        packages: vec![
            "apache2-bin",
            "apache2-data",
            "apache2-utils",
            "media-types",
            "ca-certificates",
        ],
        fixup: fixup::httpd,
        config: ContainerConfig {
            env: vec![path, "HTTPD_PREFIX=/usr/local/apache2".to_string()],
            exposed_ports: keys(&["80/tcp"]),
            stop_signal: Some("SIGWINCH".to_string()),
            working_dir: "/usr/local/apache2".to_string(),
            ..base.config
        },
        created_by: "apache2-bin and apache2-utils, unpacked by cargo xtask images".to_string(),
        description: "Apache httpd 2.4 on Debian 13: rebuilt by Drydock from Debian packages."
            .to_string(),
        ..base
    }
}

fn redis() -> Recipe {
    let (tags, stand_in_tags) = tags(
        "latest 8 8.0 8.0.2 trixie 8-trixie",
        "alpine 8-alpine 8.0-alpine 7 7.4 7.2 7.0 7-alpine 7.2-alpine 7.0-alpine 6 6.2 6.0 6-alpine \
         6.2-alpine 6.0-alpine 5 5.0 5.0.4 5-alpine 4 4.0 4-alpine 3 3.2 3-alpine bookworm 7-bookworm",
    );
    let base = server("library/redis", &["REDIS_VERSION=8.0.2"], &["redis-server"]);
    Recipe {
        tags,
        stand_in_tags,
        packages: vec!["redis-server", "redis-tools"],
        left_out: &[],
        fixup: fixup::redis,
        config: ContainerConfig {
            entrypoint: entrypoint(&["docker-entrypoint.sh"]),
            exposed_ports: keys(&["6379/tcp"]),
            volumes: keys(&["/data"]),
            working_dir: "/data".to_string(),
            ..base.config
        },
        created_by: "redis-server and redis-tools, unpacked by cargo xtask images".to_string(),
        description: "Redis 8.0 on Debian 13: rebuilt by Drydock from Debian packages.".to_string(),
        ..base
    }
}

fn memcached() -> Recipe {
    let (tags, stand_in_tags) = tags(
        "latest 1 1.6 1.6.38 trixie 1.6-trixie",
        "alpine 1-alpine 1.6-alpine 1.5 1.5-alpine",
    );
    let base = server(
        "library/memcached",
        &["MEMCACHED_VERSION=1.6.38"],
        &["memcached"],
    );
    Recipe {
        tags,
        stand_in_tags,
        packages: vec!["memcached"],
        fixup: fixup::memcached,
        config: ContainerConfig {
            entrypoint: entrypoint(&["docker-entrypoint.sh"]),
            exposed_ports: keys(&["11211/tcp"]),
            user: "memcache".to_string(),
            ..base.config
        },
        created_by: "memcached, unpacked by cargo xtask images".to_string(),
        description: "Memcached 1.6 on Debian 13: rebuilt by Drydock from Debian packages."
            .to_string(),
        ..base
    }
}

fn registry() -> Recipe {
    let (tags, stand_in_tags) = tags(
        "2 2.8 2.8.3",
        "latest 3 3.0 2.7 2.6 2.5 2.4 2.3 2.2 2.1 2.0",
    );
    let base = server(
        "library/registry",
        &[],
        &["/etc/docker/registry/config.yml"],
    );
    Recipe {
        tags,
        stand_in_tags,
        packages: vec!["docker-registry", "ca-certificates"],
        fixup: fixup::registry,
        config: ContainerConfig {
            entrypoint: entrypoint(&["/entrypoint.sh"]),
            exposed_ports: keys(&["5000/tcp"]),
            volumes: keys(&["/var/lib/registry"]),
            ..base.config
        },
        created_by: "docker-registry, unpacked by cargo xtask images".to_string(),
        description: "Docker's registry 2.8 on Debian 13: rebuilt by Drydock from Debian packages."
            .to_string(),
        ..base
    }
}

fn node() -> Recipe {
    let (tags, stand_in_tags) = tags(
        "20 20-slim iron iron-slim 20-trixie 20-trixie-slim",
        "latest lts current slim lts-slim alpine lts-alpine current-alpine 24 24-alpine 22 22-alpine \
         22-slim 21 21-alpine 20-alpine 20-bullseye 18 18-alpine 18-slim 17 17-alpine 16 16-alpine \
         16-slim 15 14 14-alpine 14-slim 13 12 12-alpine 12-slim 12.18.1 11 10 10-alpine 9 8 8-alpine \
         6 4 boron argon",
    );
    let base = server("library/node", &[], &["node"]);
    Recipe {
        tags,
        stand_in_tags,
        packages: vec!["nodejs", "ca-certificates"],
        npm: true,
        fixup: fixup::node,
        config: ContainerConfig {
            entrypoint: entrypoint(&["docker-entrypoint.sh"]),
            ..base.config
        },
        created_by: "nodejs and npm, unpacked by cargo xtask images".to_string(),
        description: "Node.js 20 and npm 10 on Debian 13: rebuilt by Drydock from Debian packages."
            .to_string(),
        ..base
    }
}
