//! Python's library compiled by the image's own interpreter, run under qemu-user.
//!
//! Without bytecode a Python program starts two to nine times slower. The interpreter must be the
//! image's: bytecode of another version is ignored. The files carry a hash of their source that is
//! not checked at run time, so they do not depend on times.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::tree::{Kind, Tree};
use crate::setup;

const LIBRARIES: &[&str] = &[
    "usr/lib/python3.13",
    "usr/lib/python3/dist-packages",
    "usr/local/lib/python3.13/dist-packages",
];

/// Adds `__pycache__` directories to `tree`; `scratch` is a directory to work in.
pub fn compile(tree: &mut Tree, scratch: &Path) -> anyhow::Result<()> {
    setup::qemu()?;
    let _ = std::fs::remove_dir_all(scratch);
    tree.unpack(scratch)?;
    let root = scratch.canonicalize()?;
    let root_text = root.display().to_string();
    let output = Command::new("qemu-riscv64")
        .args(["-L", &root_text])
        .arg(root.join("usr/bin/python3.13"))
        // Isolated, without site: nothing but the library is imported.
        .args(["-I", "-S", "-m", "compileall", "-q", "-f"])
        .args([
            "--invalidation-mode",
            "unchecked-hash",
            "-s",
            &root_text,
            "-p",
            "/",
        ])
        .args(LIBRARIES.iter().map(|library| root.join(library)))
        .env_clear()
        .env("PYTHONHASHSEED", "0")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .context("qemu-riscv64 does not run")?;
    if !output.status.success() {
        bail!(
            "compiling Python's library failed: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let sources: Vec<String> = LIBRARIES
        .iter()
        .flat_map(|library| tree.children(library))
        .filter(|(path, node)| path.ends_with(".py") && matches!(node.kind, Kind::File(_)))
        .map(|(path, _)| path.to_string())
        .collect();
    let mut compiled = 0;
    for source in sources {
        let Some((dir, name)) = source.rsplit_once('/') else {
            continue;
        };
        let stem = name.trim_end_matches(".py");
        let path = format!("{dir}/__pycache__/{stem}.cpython-313.pyc");
        if let Ok(bytes) = std::fs::read(root.join(&path)) {
            tree.file(&path, 0o644, bytes);
            compiled += 1;
        }
    }
    std::fs::remove_dir_all(&root)?;
    // A few files of the library are templates that do not parse; most must have worked.
    if compiled < 200 {
        bail!("only {compiled} files of Python's library were compiled");
    }
    Ok(())
}
