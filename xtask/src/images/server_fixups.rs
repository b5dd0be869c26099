//! What the images of servers have besides their packages: the paths and the start scripts that
//! Docker's images of the same name promise.

use anyhow::Context;

use super::fixups::{account, alternatives, certificates};
use super::tree::{Kind, Tree};

/// A start script in the search path, with the name that `docker ps` shows.
pub fn entrypoint(tree: &mut Tree, text: &str) {
    tree.file("usr/local/bin/docker-entrypoint.sh", 0o755, text);
}

/// A directory that belongs to a server's account.
pub fn owned(tree: &mut Tree, path: &str, mode: u32, id: u32) -> anyhow::Result<()> {
    tree.dir(path, mode);
    tree.chown(path, mode, id, id)
}

/// nginx: `conf.d`, `/usr/share/nginx/html`, templates, logs to the standard streams.
pub fn nginx(tree: &mut Tree) -> anyhow::Result<()> {
    account(tree, "nginx", 101, "/nonexistent")?;
    for path in [
        "etc/nginx/sites-enabled",
        "etc/nginx/sites-available",
        "etc/ufw",
        "var/www",
    ] {
        tree.remove(path);
    }
    for (path, text) in [
        (
            "etc/nginx/nginx.conf",
            include_str!("files/servers/nginx.conf"),
        ),
        (
            "etc/nginx/conf.d/default.conf",
            include_str!("files/servers/nginx-default.conf"),
        ),
        (
            "usr/share/nginx/html/50x.html",
            "<!DOCTYPE html>\n<html>\n<head><title>Error</title></head>\n<body>\n\
             <h1>An error occurred.</h1>\n<p>The server's error log says more.</p>\n\
             </body>\n</html>\n",
        ),
    ] {
        tree.file(path, 0o644, text);
    }
    anyhow::ensure!(
        tree.contains("usr/share/nginx/html/index.html"),
        "nginx has no index.html"
    );
    for dir in ["var/log/nginx", "var/lib/nginx", "var/cache/nginx"] {
        tree.dir(dir, 0o755);
    }
    tree.dir("docker-entrypoint.d", 0o755);
    let script = include_str!("files/servers/nginx-entrypoint.sh");
    tree.file("docker-entrypoint.sh", 0o755, script);
    tree.symlink("var/log/nginx/access.log", "/dev/stdout");
    tree.symlink("var/log/nginx/error.log", "/dev/stderr");
    alternatives(tree);
    certificates(tree)
}

/// Redis with its data in `/data`.
pub fn redis(tree: &mut Tree) -> anyhow::Result<()> {
    account(tree, "redis", 999, "/data")?;
    owned(tree, "data", 0o755, 999)?;
    owned(tree, "var/lib/redis", 0o750, 999)?;
    owned(tree, "var/log/redis", 0o750, 999)?;
    // Owned by a group number that only the package's script would have given a name.
    if tree.contains("etc/redis/redis.conf") {
        tree.chown("etc/redis/redis.conf", 0o640, 999, 999)?;
    }
    entrypoint(tree, include_str!("files/servers/redis-entrypoint.sh"));
    alternatives(tree);
    Ok(())
}

/// Apache httpd below `/usr/local/apache2`, where Docker's image is compiled to be.
pub fn httpd(tree: &mut Tree) -> anyhow::Result<()> {
    const ROOT: &str = "usr/local/apache2";
    for dir in ["bin", "build", "cgi-bin", "conf/extra", "htdocs", "logs"] {
        tree.dir(&format!("{ROOT}/{dir}"), 0o755);
    }
    for (name, target) in [
        ("modules", "/usr/lib/apache2/modules"),
        ("icons", "/usr/share/apache2/icons"),
        ("error", "/usr/share/apache2/error"),
        ("conf/magic", "/etc/apache2/magic"),
        ("conf/mime.types", "/etc/mime.types"),
        ("bin/apachectl", "httpd"),
    ] {
        tree.symlink(&format!("{ROOT}/{name}"), target);
    }
    for program in ["ab", "htdbm", "htdigest", "htpasswd", "logresolve"] {
        anyhow::ensure!(
            tree.contains(&format!("usr/bin/{program}")),
            "httpd has no {program}"
        );
        tree.symlink(
            &format!("{ROOT}/bin/{program}"),
            &format!("/usr/bin/{program}"),
        );
    }
    tree.symlink(&format!("{ROOT}/bin/rotatelogs"), "/usr/bin/rotatelogs");
    let program = include_str!("files/servers/httpd-program");
    tree.file(&format!("{ROOT}/bin/httpd"), 0o755, program);
    let foreground = include_str!("files/servers/httpd-foreground");
    tree.file("usr/local/bin/httpd-foreground", 0o755, foreground);
    let conf = include_str!("files/servers/httpd.conf");
    tree.file(&format!("{ROOT}/conf/httpd.conf"), 0o644, conf);
    tree.file(
        &format!("{ROOT}/conf/extra/httpd-vhosts.conf"),
        0o644,
        "# A `<VirtualHost *:80>` for each name; httpd.conf has the line that includes this file.\n",
    );
    tree.file(
        &format!("{ROOT}/htdocs/index.html"),
        0o644,
        "<html><body><h1>It works!</h1></body></html>\n",
    );
    // Every module that the configuration names must be there, loaded or not.
    for line in conf.lines() {
        let Some(rest) = line.trim_start_matches('#').strip_prefix("LoadModule ") else {
            continue;
        };
        let module = rest.split(' ').nth(1).context("a module without a file")?;
        let path = format!("usr/lib/apache2/{module}");
        anyhow::ensure!(tree.contains(&path), "httpd.conf names {path}");
    }
    certificates(tree)
}

/// Memcached with an account of its own.
pub fn memcached(tree: &mut Tree) -> anyhow::Result<()> {
    account(tree, "memcache", 11211, "/nonexistent")?;
    entrypoint(tree, include_str!("files/servers/memcached-entrypoint.sh"));
    Ok(())
}

/// Docker's registry: `registry`, `/entrypoint.sh`, `/etc/docker/registry/config.yml`.
pub fn registry(tree: &mut Tree) -> anyhow::Result<()> {
    anyhow::ensure!(
        matches!(
            tree.get("usr/bin/docker-registry").map(|node| &node.kind),
            Some(Kind::File(_))
        ),
        "no docker-registry"
    );
    tree.symlink("usr/bin/registry", "docker-registry");
    let script = include_str!("files/servers/registry-entrypoint.sh");
    tree.file("entrypoint.sh", 0o755, script);
    tree.file(
        "etc/docker/registry/config.yml",
        0o644,
        include_str!("files/servers/registry-config.yml"),
    );
    tree.dir("var/lib/registry", 0o755);
    certificates(tree)
}

/// A start script that runs `program` with whatever is no command.
pub fn run_by_default(tree: &mut Tree, program: &str) {
    let script = include_str!("files/servers/run-by-default.sh");
    entrypoint(tree, &script.replace("@PROGRAM@", program));
}

/// Node.js.
pub fn node(tree: &mut Tree) -> anyhow::Result<()> {
    account(tree, "node", 1000, "/home/node")?;
    owned(tree, "home/node", 0o755, 1000)?;
    tree.symlink("usr/local/bin/node", "/usr/bin/node");
    tree.symlink("usr/local/bin/nodejs", "/usr/bin/node");
    run_by_default(tree, "node");
    certificates(tree)
}
