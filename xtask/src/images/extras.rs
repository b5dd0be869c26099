//! The images that are built only when asked for (`--all`, `--only NAME`): databases, language
//! runtimes and what is seldom used. Pulling one that is not there fails as on Docker Hub.

use oci::ContainerConfig;

use super::extra_fixups as fixup;
use super::fixups;
use super::golang;
use super::php;
use super::recipe::{Recipe, keys};
use super::remote;
use super::seed::Seed;
use super::servers::{entrypoint, server, tags};

/// The texts that `extra_fixups` puts into images.
pub const FILES: &[&str] = &[
    include_str!("extra_fixups.rs"),
    include_str!("extras.rs"),
    include_str!("golang.rs"),
    include_str!("php.rs"),
    include_str!("remote.rs"),
    include_str!("files/servers/apache2-foreground"),
    include_str!("files/servers/git-server.conf"),
    include_str!("files/servers/haproxy-entrypoint.sh"),
    include_str!("files/servers/lighttpd.conf"),
    include_str!("files/servers/mariadb-entrypoint.sh"),
    include_str!("files/servers/mariadb.cnf"),
    include_str!("files/servers/php-apache.conf"),
    include_str!("files/servers/php-extension"),
    include_str!("files/servers/postgres-entrypoint.sh"),
    include_str!("files/servers/run-by-default.sh"),
    include_str!("files/servers/sshd-entrypoint.sh"),
    include_str!("files/servers/wordpress-config.php"),
    include_str!("files/servers/wordpress-entrypoint.sh"),
    include_str!("files/servers/wordpress-htaccess"),
];

/// All of them, bases before what is built on them.
pub fn recipes() -> Vec<Recipe> {
    let mariadb = mariadb();
    let mysql = mysql(&mariadb);
    let mut recipes = vec![
        postgres(),
        mariadb,
        mysql,
        haproxy(),
        lighttpd(),
        etcd(),
        flask(),
    ];
    recipes.extend(java());
    recipes.extend(php::recipes());
    recipes.extend(remote::recipes());
    recipes.push(golang::recipe());
    for recipe in &mut recipes {
        recipe.extra = true;
    }
    recipes
}

/// The sentence for `docker search`.
pub fn description(what: &str) -> String {
    format!("{what} on Debian 13: rebuilt by Drydock from Debian packages.")
}

/// The step for `docker history`.
pub fn unpacked(packages: &str) -> String {
    format!("{packages}, unpacked by cargo xtask images")
}

/// The search path with a directory in front.
pub fn search_path(first: &str) -> String {
    fixups::path_variable().replace("PATH=", &format!("PATH={first}:"))
}

fn postgres() -> Recipe {
    let (tags, stand_in_tags) = tags(
        "latest 17 trixie 17-trixie",
        "18 16 15 14 13 12 11 10 9 9.6 9.5 9.4 9.3 alpine 18-alpine 17-alpine 16-alpine 15-alpine \
         14-alpine 13-alpine 12-alpine 11-alpine 10-alpine 9.6-alpine 9-alpine bookworm 16-bookworm \
         15.1 14.1 14.5-alpine",
    );
    let base = server("library/postgres", &[], &["postgres"]);
    Recipe {
        tags,
        stand_in_tags,
        packages: vec!["postgresql-17"],
        left_out: &[
            "debconf",
            "init-system-helpers",
            "adduser",
            "ucf",
            "sensible-utils",
            "libtext-charwidth-perl",
            "libtext-wrapi18n-perl",
            "ssl-cert",
            "perl",
            "perl-modules-5.40",
            "libperl5.40",
            "libgdbm6t64",
            "libgdbm-compat4t64",
            "libjson-perl",
            "libio-pty-perl",
            "libipc-run-perl",
            "postgresql-common",
            "postgresql-common-dev",
            "postgresql-client-common",
            "procps",
            "libproc2-0",
            "libncursesw6",
            "locales",
            "libc-l10n",
            "openssl",
            "netbase",
        ],
        fixup: fixup::postgres,
        seed: Some(Seed {
            script: "set -e; d=/usr/share/postgresql/17/initdb; mkdir -p $d; chown postgres $d; \
                     cd /; setpriv --reuid=postgres --regid=postgres --init-groups \
                     env LANG=C.UTF-8 TZ=UTC /usr/lib/postgresql/17/bin/initdb -D $d -U postgres",
            path: "usr/share/postgresql/17/initdb",
        }),
        config: ContainerConfig {
            env: vec![
                search_path("/usr/lib/postgresql/17/bin"),
                "LANG=C.UTF-8".to_string(),
                "PG_MAJOR=17".to_string(),
                "PGDATA=/var/lib/postgresql/data".to_string(),
            ],
            entrypoint: entrypoint(&["docker-entrypoint.sh"]),
            exposed_ports: keys(&["5432/tcp"]),
            volumes: keys(&["/var/lib/postgresql/data"]),
            stop_signal: Some("SIGINT".to_string()),
            ..base.config
        },
        created_by: unpacked("postgresql-17 and its first data directory"),
        description: description("PostgreSQL 17"),
        ..base
    }
}

fn mariadb() -> Recipe {
    let (tags, stand_in_tags) = tags(
        "latest lts 11 11.8 trixie",
        "12 11.7 11.4 11.2 11.1 11.0 10 10.11 10.9 10.8 10.7 10.6 10.6.4-focal 10.5 10.4 10.3 10.2 \
         10.1 10.0 5.5 noble jammy",
    );
    let base = server("library/mariadb", &["LANG=C.UTF-8"], &["mariadbd"]);
    Recipe {
        tags,
        stand_in_tags,
        packages: vec!["mariadb-server-core", "mariadb-client"],
        fixup: fixup::mariadb,
        seed: Some(Seed {
            script: "set -e; d=/usr/share/mariadb/datadir; mkdir -p $d; chown mysql:mysql $d; \
                     mariadb-install-db --user=mysql --datadir=$d --skip-test-db \
                     --skip-name-resolve --auth-root-authentication-method=normal; \
                     rm -f $d/*.err $d/*.pid",
            path: "usr/share/mariadb/datadir",
        }),
        config: ContainerConfig {
            entrypoint: entrypoint(&["docker-entrypoint.sh"]),
            exposed_ports: keys(&["3306/tcp"]),
            volumes: keys(&["/var/lib/mysql"]),
            ..base.config
        },
        created_by: unpacked("mariadb-server and its first data directory"),
        description: description("MariaDB 11.8"),
        ..base
    }
}

/// There is no MySQL in Debian: MariaDB under its name.
fn mysql(mariadb: &Recipe) -> Recipe {
    let (_, stand_in_tags) = tags(
        "",
        "latest 9 9.4 9.0 8 8.4 8.0 8.0.31 8.0-debian 8.0.19 lts innovation 5 5.7 5.6 5.5",
    );
    let base = server("library/mysql", &[], &["mysqld"]);
    Recipe {
        tags: Vec::new(),
        stand_in_tags,
        base: Some(("library/mariadb", "latest")),
        packages: vec!["mariadb-client-compat"],
        config: ContainerConfig {
            cmd: base.config.cmd,
            ..mariadb.config.clone()
        },
        created_by: unpacked("MySQL's names for MariaDB's programs"),
        description: description("Stand-in for MySQL: MariaDB 11.8"),
        ..base
    }
}

fn haproxy() -> Recipe {
    let (tags, stand_in_tags) = tags(
        "3 3.0 3.0-trixie lts",
        "latest alpine 3.2 3.1 3.0-alpine 2 2.9 2.8 2.7 2.6 2.5 2.4 2.3 2.2 2.1 2.0 1.9 1.8 1.7 1.6 \
         1.5 1.7-alpine lts-alpine",
    );
    let base = server(
        "library/haproxy",
        &[],
        &["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"],
    );
    Recipe {
        tags,
        stand_in_tags,
        packages: vec!["haproxy"],
        fixup: fixup::haproxy,
        config: ContainerConfig {
            entrypoint: entrypoint(&["docker-entrypoint.sh"]),
            user: "haproxy".to_string(),
            working_dir: "/var/lib/haproxy".to_string(),
            stop_signal: Some("SIGUSR1".to_string()),
            ..base.config
        },
        created_by: unpacked("haproxy"),
        description: description("HAProxy 3.0"),
        ..base
    }
}

fn lighttpd() -> Recipe {
    let base = server(
        "drydock/lighttpd",
        &[],
        &["lighttpd", "-D", "-f", "/etc/lighttpd/lighttpd.conf"],
    );
    Recipe {
        packages: vec!["lighttpd"],
        fixup: fixup::lighttpd,
        config: ContainerConfig {
            exposed_ports: keys(&["80/tcp"]),
            ..base.config
        },
        created_by: unpacked("lighttpd"),
        description: description("lighttpd 1.4"),
        ..base
    }
}

fn etcd() -> Recipe {
    let (tags, stand_in_tags) = tags(
        "v3.5.16 v3.5",
        "latest v3.6.0 v3.5.0 v3.5.9 v3.5.17 v3.5.21 v3.4.0 v3.4.27 v3.3.8 v3.2 v2.3.8",
    );
    let base = server("quay.io/coreos/etcd", &[], &["/usr/local/bin/etcd"]);
    Recipe {
        variant: "v3.5.16".to_string(),
        tags,
        stand_in_tags,
        packages: vec!["etcd-server", "etcd-client"],
        fixup: fixup::etcd,
        config: ContainerConfig {
            exposed_ports: keys(&["2379/tcp", "2380/tcp"]),
            ..base.config
        },
        created_by: unpacked("etcd-server and etcd-client"),
        description: description("etcd 3.5"),
        ..base
    }
}

fn flask() -> Recipe {
    let base = server(
        "drydock/flask",
        &["LANG=C.UTF-8"],
        &["flask", "run", "--host=0.0.0.0"],
    );
    Recipe {
        base: Some(("library/python", "latest")),
        packages: vec!["python3-flask"],
        python_bytecode: true,
        fixup: fixup::flask,
        config: ContainerConfig {
            exposed_ports: keys(&["5000/tcp"]),
            ..base.config
        },
        created_by: unpacked("python3-flask"),
        description: description("Flask 3.1 on Python 3.13"),
        ..base
    }
}

/// Temurin's and OpenJDK's names for Debian's runtime.
fn java() -> [Recipe; 2] {
    let (_, temurin) = tags(
        "",
        "21-jre latest 21 21-jdk 21-jre-noble 21-jre-jammy 21-jre-alpine 21-alpine 17 17-jre \
         17-jre-focal 17-jre-alpine 17-jdk-alpine 11 11-jre 11-jre-alpine 8 8-jre 8-jre-alpine",
    );
    let (_, openjdk) = tags(
        "",
        "21 latest 21-slim 21-jdk 21-jdk-slim 17 17-slim 17-alpine 17-jdk-slim 11 11-slim 11-jre \
         11-jre-slim 11-jdk-slim 8 8-jre 8-jre-alpine 8-jdk-alpine 8-alpine alpine slim",
    );
    let base = server("library/eclipse-temurin", &[], &["bash"]);
    let temurin = Recipe {
        tags: Vec::new(),
        stand_in_tags: temurin,
        packages: vec!["openjdk-21-jre-headless"],
        fixup: fixup::java,
        config: ContainerConfig {
            env: vec![
                search_path("/opt/java/openjdk/bin"),
                "JAVA_HOME=/opt/java/openjdk".to_string(),
                "LANG=C.UTF-8".to_string(),
            ],
            ..base.config.clone()
        },
        created_by: unpacked("openjdk-21-jre-headless"),
        description: description("Stand-in for Eclipse Temurin: OpenJDK 21's runtime"),
        ..base.clone()
    };
    let openjdk = Recipe {
        repository: "library/openjdk",
        base: Some(("library/eclipse-temurin", "latest")),
        stand_in_tags: openjdk,
        packages: Vec::new(),
        fixup: |_| Ok(()),
        server: false,
        created_by: "nothing of its own".to_string(),
        description: description("Stand-in for OpenJDK's image: OpenJDK 21's runtime"),
        ..temurin.clone()
    };
    [temurin, openjdk]
}
