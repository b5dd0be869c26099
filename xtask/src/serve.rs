//! `cargo xtask serve`: builds images and page, and serves the folder on loopback.

pub mod http;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::{hints, images, setup, test, tools};

const USAGE: &str =
    "usage: cargo xtask serve [--port N] [--base /PATH/] [--no-images] [--no-build] [--measure]

  --port N        listen on 127.0.0.1:N (8080; 0 takes a free one)
  --base /PATH/   serve below a path, as a host with other pages would
  --no-images     don't look whether the images are up to date
  --no-build      serve dist/ as it is
  --measure       measure the page in Chromium and end, instead of serving on";

/// Runs the command.
pub fn run(args: &[String]) -> Result<()> {
    let mut port = 8080;
    let mut base = "/".to_owned();
    let mut build = true;
    let mut with_images = true;
    let mut measuring = false;
    let mut args = args.iter();
    while let Some(argument) = args.next() {
        let mut value = || {
            args.next()
                .with_context(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--port" => port = value()?.parse().context("--port takes a number")?,
            "--base" => base = value()?.clone(),
            "--no-build" => build = false,
            "--measure" => measuring = true,
            "--no-images" => with_images = false,
            "-h" | "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            _ => bail!("unknown argument {argument:?}\n{USAGE}"),
        }
    }
    if build {
        setup::page()?;
        if with_images {
            images::run(&[])?;
        }
        build_page()?;
    }
    let dist = tools::root().join("dist");
    if !dist.join("index.html").is_file() {
        bail!("there is no dist/index.html; run without --no-build first");
    }
    if measuring {
        println!("{}", measure()?);
        return Ok(());
    }
    let server = http::Server::bind(&dist, &base, port, http::Line::new(0))
        .with_context(|| format!("listening on 127.0.0.1:{port} (--port takes another)"))?;
    println!("\n  Drydock is at  {}\n  Ctrl+C ends it.\n", server.url());
    server.run();
    Ok(())
}

/// Bytes per second of the line a first visit is measured on: 20 Mbit/s.
const COLD_LINE: u64 = 20_000_000 / 8;

/// Measures `dist/` in Chromium, as JSON: a first visit on a slow line with an empty cache, a
/// second one on a fast line, and commands. `tests/browser/measure.mjs` has the details.
pub fn measure() -> Result<String> {
    setup::browser_tests()?;
    let dist = tools::root().join("dist");
    let (cold, warm) = (http::Line::new(COLD_LINE), http::Line::new(0));
    let mut node = tools::command("node", &["tests/browser/measure.mjs"])?;
    node.env("CHROMIUM", setup::chromium()?);
    node.env("DRYDOCK_WORK", crate::bench::commands());
    let cold_server = http::Server::bind(&dist, "/", 0, Arc::clone(&cold))?;
    let warm_server = http::Server::bind(&dist, "/", 0, warm)?;
    node.env("DRYDOCK_COLD_URL", cold_server.url());
    node.env("DRYDOCK_URL", warm_server.url());
    std::thread::spawn(move || cold_server.run());
    std::thread::spawn(move || warm_server.run());
    let printed = tools::output(node)?;
    let times = printed.trim().trim_start_matches('{');
    Ok(format!("{{\"cold_bytes\":{},{times}", cold.sent()))
}

/// Builds `dist/` as it is published.
pub fn build_page() -> Result<()> {
    setup::say("the page (trunk build --release)");
    let mut trunk = tools::command("trunk", &["build", "--release"])?;
    // Trunk reads NO_COLOR as a boolean and refuses the usual "1".
    trunk.env_remove("NO_COLOR");
    tools::run(trunk)
}

/// `cargo xtask stage`, which Trunk calls before it moves a build into place: puts the images
/// into it (links, not copies: they are large and never change), hints the worker's branches, drops
/// the names of functions of both programs and tells its loader how large its program is, and which one it is.
pub fn stage(_args: &[String]) -> Result<()> {
    let staging = std::env::var_os("TRUNK_STAGING_DIR");
    let staging = PathBuf::from(staging.context("TRUNK_STAGING_DIR is not set: Trunk calls this")?);
    let program = staging.join("worker_bg.wasm");
    let built = fs::read(&program).with_context(|| format!("reading {}", program.display()))?;
    let (hinted, _) = hints::add(&built).context("hinting the worker's branches")?;
    let hinted = hints::without_names(&hinted)?;
    fs::write(&program, &hinted).with_context(|| format!("writing {}", program.display()))?;
    let program = hinted;
    let page = staging.join(test::wasm_of(&staging, "drydock-")?);
    let built = fs::read(&page).with_context(|| format!("reading {}", page.display()))?;
    fs::write(&page, hints::without_names(&built)?)
        .with_context(|| format!("writing {}", page.display()))?;
    let loader = staging.join("worker_loader.js");
    let mut text = fs::read_to_string(&loader).context("reading worker_loader.js")?;
    for (unknown, known) in [
        (
            "const PROGRAM_BYTES = 0;",
            format!("const PROGRAM_BYTES = {};", program.len()),
        ),
        (
            "const PROGRAM_DIGEST = \"\";",
            format!("const PROGRAM_DIGEST = \"{}\";", oci::Digest::of(&program)),
        ),
    ] {
        if !text.contains(unknown) {
            bail!("{} has no {unknown:?}", loader.display());
        }
        text = text.replace(unknown, &known);
    }
    fs::write(&loader, text).context("writing worker_loader.js")?;
    let images = tools::root().join("target/images/v2");
    if !images.is_dir() {
        setup::say("no images in target/images yet: the page will have none (cargo xtask images)");
        return Ok(());
    }
    link_tree(&images, &staging.join("v2"))?;
    let packages = tools::root().join("target/images/packages");
    if packages.is_dir() {
        link_tree(&packages, &staging.join("packages"))?;
    }
    Ok(())
}

fn link_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            link_tree(&from, &to)?;
            continue;
        }
        match fs::hard_link(&from, &to) {
            Ok(()) => {}
            // Another file system, or one without links.
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
            }
            Err(error) => return Err(error).with_context(|| format!("linking {}", to.display())),
        }
    }
    Ok(())
}
