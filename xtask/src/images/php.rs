//! PHP: the command line, with Apache, and WordPress on it.

use anyhow::Context;
use oci::ContainerConfig;

use super::extras::{description, unpacked};
use super::fixups::certificates;
use super::recipe::{Recipe, keys};
use super::server_fixups::entrypoint as start_script;
use super::servers::{entrypoint, server, tags};
use super::tree::{Kind, Tree};

/// What Apache's and WordPress's packages bring for their maintainer scripts, for pictures (of
/// which PHP can do without: WordPress then makes no thumbnails), and for databases on the same host.
const LEFT_OUT: &[&str] = &[
    "debconf",
    "init-system-helpers",
    "adduser",
    "ucf",
    "sensible-utils",
    "libtext-charwidth-perl",
    "libtext-wrapi18n-perl",
    "ssl-cert",
    "perl",
    "libperl5.40",
    "libgdbm-compat4t64",
    "procps",
    "libproc2-0",
    "libncursesw6",
    "psmisc",
    "libconfig-inifiles-perl",
    "default-mysql-client",
    "mysql-common",
    "mariadb-common",
    "mariadb-client",
    "mariadb-client-core",
    "mariadb-client-compat",
    "libmariadb3",
    "libncurses6",
    "javascript-common",
    "php-gd",
    "php8.4-gd",
    "libgd3",
    "libheif1",
    "libheif-plugin-dav1d",
    "libheif-plugin-libde265",
    "libde265-0",
    "libdav1d7",
    "libavif16",
    "libaom3",
    "librav1e0.7",
    "libsvtav1enc2",
    "libgav1-1",
    "libabsl20240722",
    "libyuv0",
    "libsharpyuv0",
    "libwebp7",
    "libtiff6",
    "libjbig0",
    "libdeflate0",
    "liblerc4",
    "libjpeg62-turbo",
    "libpng16-16t64",
    "libfreetype6",
    "libfontconfig1",
    "fontconfig-config",
    "fonts-dejavu-core",
    "fonts-dejavu-mono",
    "libx11-6",
    "libx11-data",
    "libxcb1",
    "libxau6",
    "libxdmcp6",
    "libxpm4",
    "libimagequant0",
    "libgomp1",
    "libjs-prototype",
    "libjs-scriptaculous",
    "libapache2-mod-php",
    "php-mysql",
    "libpcre2-posix3",
];

/// All of them, bases before what is built on them.
pub fn recipes() -> Vec<Recipe> {
    let apache = apache();
    let wordpress = wordpress(&apache);
    vec![cli(), apache, wordpress]
}

fn cli() -> Recipe {
    let (tags, stand_in_tags) = tags(
        "latest cli 8 8-cli 8.4 8.4-cli 8.4-cli-trixie",
        "alpine cli-alpine 8-cli-alpine 8.4-cli-alpine 8.3 8.3-cli 8.3-cli-alpine 8.2 8.2-cli 8.1 \
         8.1-cli 8.0 8.0-cli 7 7-cli 7.4 7.4-cli 7.4-cli-alpine 7.3 7.3-cli 7.2-cli 7.0-cli 5 5-cli 5.6-cli",
    );
    let base = server(
        "library/php",
        &[
            "PHP_INI_DIR=/usr/local/etc/php",
            // Where Debian has its extensions' settings, and where tutorials put theirs.
            "PHP_INI_SCAN_DIR=/etc/php/8.4/cli/conf.d:/usr/local/etc/php/conf.d",
        ],
        &["php", "-a"],
    );
    Recipe {
        tags,
        stand_in_tags,
        packages: vec![
            "php8.4-cli",
            "php8.4-mysql",
            "php8.4-sqlite3",
            "php8.4-mbstring",
            "ca-certificates",
        ],
        fixup: command_line,
        config: ContainerConfig {
            entrypoint: entrypoint(&["docker-php-entrypoint"]),
            ..base.config
        },
        created_by: unpacked("php8.4-cli and extensions"),
        description: description("PHP 8.4 (command line)"),
        ..base
    }
}

fn apache() -> Recipe {
    let (tags, stand_in_tags) = tags(
        "apache 8-apache 8.4-apache 8.4-apache-trixie",
        "apache-trixie apache-bookworm 8.3-apache 8.2-apache 8.1-apache 8.0-apache 7-apache 7.4-apache \
         7.3-apache 7.2-apache 7.1-apache 7.0-apache 5-apache 5.6-apache",
    );
    let base = cli();
    Recipe {
        variant: "apache".to_string(),
        tags,
        stand_in_tags,
        base: Some(("library/php", "latest")),
        packages: vec!["apache2", "libapache2-mod-php8.4"],
        left_out: LEFT_OUT,
        fixup: with_apache,
        config: ContainerConfig {
            cmd: Some(vec!["apache2-foreground".to_string()]),
            exposed_ports: keys(&["80/tcp"]),
            stop_signal: Some("SIGWINCH".to_string()),
            working_dir: "/var/www/html".to_string(),
            env: [
                base.config.env.clone(),
                vec![
                    "APACHE_CONFDIR=/etc/apache2".to_string(),
                    "APACHE_ENVVARS=/etc/apache2/envvars".to_string(),
                ],
            ]
            .concat(),
            ..base.config
        },
        created_by: unpacked("apache2 and libapache2-mod-php8.4"),
        description: description("PHP 8.4, command line and Apache,"),
        ..base
    }
}

fn wordpress(apache: &Recipe) -> Recipe {
    let (tags, stand_in_tags) = tags(
        "latest apache 6 6-apache 6.8 6.8-apache php8.4 php8.4-apache",
        "6.9 6.7 6.6 6.5 6.4 6.2 6.1 6.0 5 5.9 5.8 5.7 5.6 4.8-apache 4.9 php8.3-apache \
         php8.2-apache php8.1-apache php8.0-apache php7.4-apache",
    );
    Recipe {
        repository: "library/wordpress",
        variant: "latest".to_string(),
        tags,
        stand_in_tags,
        base: Some(("library/php", "apache")),
        packages: vec!["wordpress", "wordpress-theme-twentytwentyfive"],
        fixup: blog,
        config: ContainerConfig {
            entrypoint: entrypoint(&["docker-entrypoint.sh"]),
            volumes: keys(&["/var/www/html"]),
            ..apache.config.clone()
        },
        created_by: unpacked("wordpress"),
        description: description("WordPress 6.8"),
        ..apache.clone()
    }
}

/// PHP's command line, its extensions switched on, settings in `/usr/local/etc/php/conf.d` too.
fn command_line(tree: &mut Tree) -> anyhow::Result<()> {
    let mut extensions: Vec<(String, Vec<u8>)> = Vec::new();
    for (path, node) in tree.iter() {
        let Some(name) = path.strip_suffix(".ini").and_then(|p| p.rsplit('/').next()) else {
            continue;
        };
        let Kind::File(bytes) = &node.kind else {
            continue;
        };
        if path.starts_with("usr/share/php8.4-") {
            extensions.push((name.to_string(), bytes.to_vec()));
        }
    }
    anyhow::ensure!(extensions.len() > 10, "php has no extensions");
    for (name, bytes) in extensions {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let priority = text
            .lines()
            .find_map(|line| line.strip_prefix("; priority="))
            .unwrap_or("20");
        let available = format!("etc/php/8.4/mods-available/{name}.ini");
        tree.symlink(
            &format!("etc/php/8.4/cli/conf.d/{priority}-{name}.ini"),
            &format!("/{available}"),
        );
        tree.file(&available, 0o644, text);
    }
    tree.dir("usr/local/etc/php/conf.d", 0o755);
    tree.dir("var/www/html", 0o755);
    tree.chown("var/www/html", 0o777, 33, 33)?;
    for kind in ["development", "production"] {
        let ini = tree
            .read(&format!("usr/lib/php/8.4/php.ini-{kind}"))
            .context("php has no php.ini")?
            .clone();
        tree.file(&format!("usr/local/etc/php/php.ini-{kind}"), 0o644, ini);
    }
    tree.symlink("usr/bin/php", "php8.4");
    tree.symlink("usr/local/bin/php", "/usr/bin/php8.4");
    for verb in ["install", "enable", "configure"] {
        tree.file(
            &format!("usr/local/bin/docker-php-ext-{verb}"),
            0o755,
            include_str!("files/servers/php-extension"),
        );
    }
    tree.dir("var/lib/php/sessions", 0o1733);
    run_by_default(tree, "php");
    certificates(tree)
}

/// Options alone, and words that are no command of the image, are the program's arguments.
fn run_by_default(tree: &mut Tree, program: &str) {
    let script = include_str!("files/servers/run-by-default.sh").replace("@PROGRAM@", program);
    tree.file("usr/local/bin/docker-php-entrypoint", 0o755, script);
}

/// Debian's Apache as its package enables it, with PHP, and what Docker's image adds.
fn with_apache(tree: &mut Tree) -> anyhow::Result<()> {
    const MODULES: &str = "access_compat alias auth_basic authn_core authn_file authz_core \
        authz_host authz_user autoindex deflate dir env filter mime mpm_prefork negotiation \
        php8.4 reqtimeout setenvif status";
    const CONFIGURATIONS: &str = "charset security other-vhosts-access-log serve-cgi-bin";
    tree.file(
        "etc/apache2/conf-available/docker-php.conf",
        0o644,
        include_str!("files/servers/php-apache.conf"),
    );
    for module in MODULES.split_whitespace() {
        enable(tree, "mods", module, &["load", "conf"])?;
    }
    for name in CONFIGURATIONS.split_whitespace().chain(["docker-php"]) {
        enable(tree, "conf", name, &["conf"])?;
    }
    enable(tree, "sites", "000-default", &["conf"])?;
    for (log, stream) in [
        ("access", "stdout"),
        ("error", "stderr"),
        ("other_vhosts_access", "stdout"),
    ] {
        tree.symlink(
            &format!("var/log/apache2/{log}.log"),
            &format!("/dev/{stream}"),
        );
    }
    tree.file(
        "usr/local/bin/apache2-foreground",
        0o755,
        include_str!("files/servers/apache2-foreground"),
    );
    run_by_default(tree, "apache2-foreground");
    // `a2enmod` needs one module more than the essential Perl has.
    tree.retain(|path, node| {
        let module = path.starts_with("usr/share/perl/") && node.kind != Kind::Dir;
        !module || path.ends_with("/if.pm") || matches!(node.kind, Kind::Symlink(_))
    });
    tree.remove_empty_dirs("usr/share/perl");
    anyhow::ensure!(
        tree.resolve("usr/share/perl/5.40/if.pm", true).is_some(),
        "no if.pm"
    );
    Ok(())
}

/// What `a2enmod`, `a2enconf` and `a2ensite` do.
fn enable(tree: &mut Tree, kind: &str, name: &str, endings: &[&str]) -> anyhow::Result<()> {
    let mut found = false;
    for ending in endings {
        let file = format!("{name}.{ending}");
        if tree.contains(&format!("etc/apache2/{kind}-available/{file}")) {
            found = true;
            tree.symlink(
                &format!("etc/apache2/{kind}-enabled/{file}"),
                &format!("../{kind}-available/{file}"),
            );
        }
    }
    anyhow::ensure!(found, "apache has no {kind} {name}");
    Ok(())
}

/// WordPress in `/usr/src/wordpress`, whole: Debian's has links to libraries of other packages.
fn blog(tree: &mut Tree) -> anyhow::Result<()> {
    const FROM: &str = "usr/share/wordpress";
    let paths: Vec<String> = tree
        .iter()
        .map(|(path, _)| path.to_string())
        .filter(|path| path.starts_with("usr/share/wordpress/"))
        .collect();
    anyhow::ensure!(paths.len() > 1000, "no wordpress");
    for path in paths {
        let rest = path.trim_start_matches(FROM);
        // Its own configuration reads another place, and so does what it says to Apache.
        if matches!(rest, "/wp-config.php" | "/.htaccess") {
            continue;
        }
        let real = tree
            .resolve(&path, true)
            .with_context(|| format!("{path} leads nowhere"))?;
        let node = tree.get(&real).context("no such file")?.clone();
        tree.insert(&format!("usr/src/wordpress{rest}"), node);
    }
    for gone in [
        FROM,
        "usr/share/javascript",
        "usr/share/nodejs",
        "usr/share/php/getid3",
        "usr/bin/wp-setup",
        "etc/wordpress",
        "etc/apparmor.d",
    ] {
        tree.remove(gone);
    }
    for (name, text) in [
        (
            "wp-config-docker.php",
            include_str!("files/servers/wordpress-config.php"),
        ),
        (
            ".htaccess",
            include_str!("files/servers/wordpress-htaccess"),
        ),
    ] {
        tree.file(&format!("usr/src/wordpress/{name}"), 0o644, text);
    }
    for module in ["rewrite", "expires"] {
        enable(tree, "mods", module, &["load", "conf"])?;
    }
    start_script(tree, include_str!("files/servers/wordpress-entrypoint.sh"));
    certificates(tree)
}
