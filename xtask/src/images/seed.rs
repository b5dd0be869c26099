//! Files that only an image's own programs can make, such as a database's first data directory.
//!
//! A tree as built so far becomes an image in a registry of its own; the headless machine runs a
//! script in a container of it, and what the script leaves comes back as a tar stream. Time there
//! is virtual and chance is seeded, so the same packages and the same checkout give the same files.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use oci::{ImageConfig, Manifest, MediaType};

use super::deb;
use super::estargz;
use super::registry::{self, Registry};
use super::tree::Tree;

/// What to run and what to keep.
#[derive(Clone, Debug)]
pub struct Seed {
    /// Run by `sh` as root in a container of the image.
    pub script: &'static str,
    /// The directory to keep, without a leading slash.
    pub path: &'static str,
}

/// The image's name in the scratch registry.
const NAME: &str = "library/seed";

/// Runs the script in a machine and puts what it left into `tree`. `out` has the node's image;
/// `scratch` is a directory to work in.
pub fn grow(tree: &mut Tree, seed: &Seed, out: &Path, scratch: &Path) -> anyhow::Result<()> {
    let _ = std::fs::remove_dir_all(scratch);
    publish(tree, out, scratch)?;
    let script = format!(
        "set -o pipefail; docker pull -q seed >/dev/null && \
         docker run --name seed seed sh -c {} >&2 && docker cp seed:/{} -",
        quoted(seed.script),
        seed.path
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["run", "--quiet", "--profile", "native", "-p", "drydockd"])
        .args(["--", "--memory", "3072", "--images"])
        .arg(scratch.canonicalize()?)
        .args(["run", &script])
        .stdin(Stdio::null())
        .output()
        .context("running the headless machine")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || output.stdout.is_empty() {
        bail!("making /{} failed: {}", seed.path, said.trim());
    }
    let parent = seed.path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let mut put = |name: &str, node| tree.insert(&format!("{parent}/{name}"), node);
    deb::each_entry(&output.stdout[..], &mut put)
        .with_context(|| format!("reading /{}: {}", seed.path, said.trim()))?;
    std::fs::remove_dir_all(scratch).with_context(|| format!("removing {}", scratch.display()))
}

/// The tree as an image of one layer, beside the node's image.
fn publish(tree: &Tree, out: &Path, scratch: &Path) -> anyhow::Result<()> {
    let mut registry = Registry::new(scratch);
    let layer = estargz::write(&tree.layer_over(&Tree::new()), &[])?;
    registry.put(&layer.blob)?;
    let config = ImageConfig {
        architecture: "riscv64".to_string(),
        os: "linux".to_string(),
        rootfs: oci::RootFs {
            diff_ids: vec![layer.diff_id],
            ..oci::RootFs::default()
        },
        ..ImageConfig::default()
    };
    let config = registry.put_json(MediaType::CONFIG, &config)?;
    registry.tag(
        NAME,
        oci::DEFAULT_TAG,
        &Manifest::new(config, vec![layer.descriptor]),
    )?;
    registry::copy_image(out, scratch, "drydock/node", oci::DEFAULT_TAG)
        .context("copying the node's image")?;
    registry.finish(Vec::new(), true)
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
