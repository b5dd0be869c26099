//! Go: its compiler and its standard library, with the library's most used part compiled.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use oci::ContainerConfig;

use super::extras::{description, search_path, unpacked};
use super::fixups::certificates;
use super::recipe::Recipe;
use super::servers::{server, tags};
use super::tree::{Node, Tree};
use crate::setup;

/// The `golang` image.
pub fn recipe() -> Recipe {
    let (tags, stand_in_tags) = tags(
        "1.24 1.24.4 1.24-trixie 1.24.4-trixie",
        "latest 1 trixie bookworm 1-trixie 1-bookworm alpine 1-alpine 1.25 1.25-alpine 1.24-alpine \
         1.24-bookworm 1.23 1.23-alpine 1.22 1.22-alpine 1.21 1.21-alpine 1.20 1.20-alpine 1.19 \
         1.19-alpine 1.18 1.18-alpine 1.17 1.17-alpine 1.16 1.16-alpine 1.15 1.14 1.13 1.13-alpine \
         1.12 1.11 1.11-alpine 1.10 1.9 1.8",
    );
    let base = server("library/golang", &[], &["bash"]);
    Recipe {
        tags,
        stand_in_tags,
        packages: vec!["golang-1.24-go", "ca-certificates"],
        fixup: toolchain,
        go_cache: true,
        config: ContainerConfig {
            env: vec![
                search_path("/go/bin:/usr/local/go/bin"),
                "GOLANG_VERSION=1.24.4".to_string(),
                "GOTOOLCHAIN=local".to_string(),
                "GOPATH=/go".to_string(),
            ],
            working_dir: "/go".to_string(),
            ..base.config
        },
        created_by: unpacked("golang-1.24-go and golang-1.24-src"),
        description: description("Go 1.24"),
        ..base
    }
}

/// Go where Docker's image has it, without what only Go's own developers run.
fn toolchain(tree: &mut Tree) -> anyhow::Result<()> {
    const ROOT: &str = "usr/lib/go-1.24";
    anyhow::ensure!(tree.contains(&format!("{ROOT}/bin/go")), "no go");
    tree.symlink("usr/local/go", "/usr/lib/go-1.24");
    tree.retain(|path, _| {
        let Some(path) = path.strip_prefix("usr/share/go-1.24/") else {
            return true;
        };
        let tests = path.ends_with("_test.go") || path.contains("/testdata");
        let developers = ["test", "api", "misc", "src/cmd"];
        let own = developers.iter().any(|dir| {
            path.strip_prefix(dir)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        !tests && !own
    });
    for tool in ["distpack", "trace"] {
        tree.remove(&format!("{ROOT}/pkg/tool/linux_riscv64/{tool}"));
    }
    tree.get("usr/share/go-1.24/src/net/http/server.go")
        .context("no standard library")?;
    for dir in ["go/bin", "go/src"] {
        tree.dir(dir, 0o1777);
    }
    certificates(tree)
}

/// What small servers and tools import. With it, only the program itself is left to compile; without it
/// a first `go build` takes an emulated processor some minutes.
const LIBRARY: &[&str] = &[
    "encoding/json",
    "html/template",
    "log",
    "net/http",
    "os/exec",
];

/// Where Go looks for what it has compiled before.
const CACHE: &str = "root/.cache/go-build";

/// 2100: Go keeps what is younger than five days, and leaves the times of what it need not refresh.
const NEVER_OLD: u64 = 4_102_444_800;

/// Compiles [`LIBRARY`] with the image's own compiler, run under qemu-user, into Go's cache. Entries are
/// found by what went into them, so they are those a build in a container would make.
pub fn compile_library(tree: &mut Tree, scratch: &Path) -> anyhow::Result<()> {
    setup::qemu()?;
    let _ = std::fs::remove_dir_all(scratch);
    tree.unpack(scratch)?;
    let root = scratch.canonicalize()?;
    let (go, work) = (root.join("usr/lib/go-1.24"), root.join("work"));
    std::fs::create_dir_all(&work)?;
    let imports: String = LIBRARY
        .iter()
        .map(|name| format!("import _ {name:?}\n"))
        .collect();
    std::fs::write(work.join("go.mod"), "module library\n\ngo 1.24\n")?;
    std::fs::write(
        work.join("main.go"),
        format!("package main\n\n{imports}\nfunc main() {{}}\n"),
    )?;
    let output = Command::new("qemu-riscv64")
        .arg(go.join("bin/go"))
        .args(["build", "-toolexec", "qemu-riscv64", "-o", "program", "."])
        .current_dir(&work)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", &work)
        .env("GOROOT", &go)
        .env("GOPATH", work.join("path"))
        .env("GOCACHE", work.join("cache"))
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .output()
        .context("qemu-riscv64 does not run")?;
    if !output.status.success() {
        bail!(
            "compiling Go's library failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let mut entries = 0;
    for folder in std::fs::read_dir(work.join("cache"))? {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(folder.path())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let mut bytes = std::fs::read(entry.path())?;
            if name.ends_with("-a") {
                same_time(&mut bytes)?;
            }
            let path = format!("{CACHE}/{}/{name}", folder.file_name().to_string_lossy());
            tree.file(&path, 0o644, bytes);
            let node = tree.get(&path).context("no such file")?.clone();
            tree.insert(
                &path,
                Node {
                    mtime: NEVER_OLD,
                    ..node
                },
            );
            entries += 1;
        }
    }
    anyhow::ensure!(entries > 400, "only {entries} entries in Go's cache");
    std::fs::remove_dir_all(&root).context("removing the scratch directory")
}

/// An entry says when it was made, in its last field: the same bytes every time need the same time.
fn same_time(entry: &mut [u8]) -> anyhow::Result<()> {
    const WIDTH: usize = 20;
    let end = entry.len().checked_sub(1).context("an empty entry")?;
    let start = end.checked_sub(WIDTH).context("a short entry")?;
    let field = &mut entry[start..end];
    let digits = |byte: &u8| byte.is_ascii_digit() || *byte == b' ';
    anyhow::ensure!(field.iter().all(digits), "an entry without a time");
    let time = super::tree::EPOCH * 1_000_000_000;
    field.copy_from_slice(format!("{time:>WIDTH$}").as_bytes());
    Ok(())
}
