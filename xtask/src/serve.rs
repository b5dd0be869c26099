//! `cargo xtask serve`: builds images and page, and serves the folder on loopback.

pub mod http;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{images, setup, tools};

const USAGE: &str = "usage: cargo xtask serve [--port N] [--base /PATH/] [--no-images] [--no-build]

  --port N        listen on 127.0.0.1:N (8080; 0 takes a free one)
  --base /PATH/   serve below a path, as a host with other pages would
  --no-images     don't look whether the images are up to date
  --no-build      serve dist/ as it is";

/// Runs the command.
pub fn run(args: &[String]) -> Result<()> {
    let mut port = 8080;
    let mut base = "/".to_owned();
    let mut build = true;
    let mut with_images = true;
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
    let server = http::Server::bind(&dist, &base, port)
        .with_context(|| format!("listening on 127.0.0.1:{port} (--port takes another)"))?;
    println!("\n  Drydock is at  {}\n  Ctrl+C ends it.\n", server.url());
    server.run();
    Ok(())
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
/// into it. Links, not copies: they are large and never change.
pub fn stage(_args: &[String]) -> Result<()> {
    let staging = std::env::var_os("TRUNK_STAGING_DIR");
    let staging = PathBuf::from(staging.context("TRUNK_STAGING_DIR is not set: Trunk calls this")?);
    let images = tools::root().join("target/images/v2");
    if !images.is_dir() {
        setup::say("no images in target/images yet: the page will have none (cargo xtask images)");
        return Ok(());
    }
    link_tree(&images, &staging.join("v2"))
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
