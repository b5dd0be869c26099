//! What the images that are built only when asked for have besides their packages.

use super::fixups::{account, alternatives, certificates};
use super::server_fixups::{entrypoint, owned};
use super::tree::Tree;

/// PostgreSQL with Docker's account number, listening to everyone, the data directory's content
/// still to be made (`recipe::Seed`).
pub fn postgres(tree: &mut Tree) -> anyhow::Result<()> {
    account(tree, "postgres", 999, "/var/lib/postgresql")?;
    const SAMPLE: &str = "usr/share/postgresql/17/postgresql.conf.sample";
    let sample = tree.read_text(SAMPLE)?;
    let listen = sample.replacen(
        "#listen_addresses = 'localhost'",
        "listen_addresses = '*'",
        1,
    );
    anyhow::ensure!(listen != sample, "{SAMPLE} has no listen_addresses");
    tree.file(SAMPLE, 0o644, listen);
    owned(tree, "var/lib/postgresql", 0o755, 999)?;
    owned(tree, "var/lib/postgresql/data", 0o777, 999)?;
    tree.dir("run/postgresql", 0o755);
    tree.chown("run/postgresql", 0o3775, 999, 999)?;
    tree.dir("docker-entrypoint-initdb.d", 0o755);
    entrypoint(tree, include_str!("files/servers/postgres-entrypoint.sh"));
    Ok(())
}

/// MariaDB without TLS, the data directory's content still to be made.
pub fn mariadb(tree: &mut Tree) -> anyhow::Result<()> {
    account(tree, "mysql", 999, "/var/lib/mysql")?;
    let conf = include_str!("files/servers/mariadb.cnf");
    tree.file("etc/mysql/mariadb.conf.d/99-docker.cnf", 0o644, conf);
    tree.file(
        "etc/mysql/my.cnf",
        0o644,
        "[client-server]\n!includedir /etc/mysql/conf.d/\n!includedir /etc/mysql/mariadb.conf.d/\n",
    );
    // Their logging and their socket are another's.
    tree.remove("etc/mysql/mariadb.conf.d/50-mysqld_safe.cnf");
    tree.remove("etc/mysql/mariadb.conf.d/50-server.cnf");
    tree.remove("etc/mysql/mariadb.conf.d/60-galera.cnf");
    tree.dir("etc/mysql/conf.d", 0o755);
    owned(tree, "var/lib/mysql", 0o755, 999)?;
    owned(tree, "run/mysqld", 0o777, 999)?;
    owned(tree, "var/log/mysql", 0o755, 999)?;
    tree.dir("docker-entrypoint-initdb.d", 0o755);
    // Programs of some megabytes that neither the start script nor tutorials call.
    for program in [
        "innotop",
        "mariadb-conv",
        "mariadb-slap",
        "replace",
        "resolve_stack_dump",
        "mariadb-plugin",
        "perror",
        "mariadb-waitpid",
        "mytop",
        "mariadb-access",
        "mariadb-hotcopy",
        "mariadb-report",
        "mariadb-setpermission",
    ] {
        tree.remove(&format!("usr/bin/{program}"));
    }
    entrypoint(tree, include_str!("files/servers/mariadb-entrypoint.sh"));
    Ok(())
}

/// HAProxy with its configuration in `/usr/local/etc/haproxy`.
pub fn haproxy(tree: &mut Tree) -> anyhow::Result<()> {
    account(tree, "haproxy", 99, "/var/lib/haproxy")?;
    owned(tree, "var/lib/haproxy", 0o755, 99)?;
    tree.dir("usr/local/etc/haproxy", 0o755);
    tree.symlink("usr/local/etc/haproxy/errors", "/etc/haproxy/errors");
    tree.symlink("usr/local/sbin/haproxy", "/usr/sbin/haproxy");
    entrypoint(tree, include_str!("files/servers/haproxy-entrypoint.sh"));
    Ok(())
}

/// etcd where its authors' image has it.
pub fn etcd(tree: &mut Tree) -> anyhow::Result<()> {
    for program in ["etcd", "etcdctl"] {
        anyhow::ensure!(tree.contains(&format!("usr/bin/{program}")), "no {program}");
        tree.symlink(
            &format!("usr/local/bin/{program}"),
            &format!("/usr/bin/{program}"),
        );
    }
    tree.dir("var/etcd", 0o755);
    tree.dir("var/lib/etcd", 0o700);
    Ok(())
}

/// Java where Temurin's image has it.
pub fn java(tree: &mut Tree) -> anyhow::Result<()> {
    tree.symlink("opt/java/openjdk", "/usr/lib/jvm/java-21-openjdk-riscv64");
    // Fonts and sound need libraries that only a desktop's runtime depends on.
    for library in ["libfontmanager.so", "libjsound.so"] {
        tree.remove(&format!(
            "usr/lib/jvm/java-21-openjdk-riscv64/lib/{library}"
        ));
    }
    for program in ["java", "keytool"] {
        let path = format!("usr/lib/jvm/java-21-openjdk-riscv64/bin/{program}");
        anyhow::ensure!(tree.contains(&path), "no {path}");
        tree.symlink(&format!("usr/bin/{program}"), &format!("/{path}"));
    }
    certificates(tree)
}

/// Flask, for the applications of tutorials that install it with pip.
pub fn flask(tree: &mut Tree) -> anyhow::Result<()> {
    anyhow::ensure!(
        tree.contains("usr/lib/python3/dist-packages/flask/__init__.py"),
        "no flask"
    );
    alternatives(tree);
    Ok(())
}

/// lighttpd serving `/var/www/html`.
pub fn lighttpd(tree: &mut Tree) -> anyhow::Result<()> {
    tree.dir("var/www/html", 0o755);
    tree.dir("var/log/lighttpd", 0o755);
    tree.chown("var/log/lighttpd", 0o750, 33, 33)?;
    tree.dir("var/cache/lighttpd", 0o755);
    tree.chown("var/cache/lighttpd", 0o750, 33, 33)?;
    tree.file(
        "etc/lighttpd/lighttpd.conf",
        0o644,
        include_str!("files/servers/lighttpd.conf"),
    );
    Ok(())
}
