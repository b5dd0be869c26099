//! The static registry on disk: writing images into it, and reading them back out.
//!
//! The paths are `oci::static_path`'s. Blobs go by digest, so writing one twice is writing it once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use oci::{
    Catalog, CatalogImage, Descriptor, Digest, Index, Manifest, ManifestDocument, MediaType,
    Platform, TagList,
};
use serde::Serialize;

use crate::added::{self, Added};

use super::deb::{member_path, read_node};
use super::tree::{Kind, Node, Tree};

/// The registry below a directory that holds `v2`.
#[derive(Debug)]
pub struct Registry {
    root: PathBuf,
    /// Repository, tag, index digest.
    tags: BTreeMap<String, BTreeMap<String, Digest>>,
    kept: BTreeSet<Digest>,
    /// What `images add` copied: it stays, and its tags are its own.
    added: BTreeMap<String, Vec<Added>>,
}

impl Registry {
    /// A registry below `root`.
    pub fn new(root: &Path) -> Registry {
        Registry {
            root: root.to_path_buf(),
            tags: BTreeMap::new(),
            kept: BTreeSet::new(),
            added: added::tags(root),
        }
    }

    /// Whether a blob is there with the right size.
    pub fn has(&self, descriptor: &Descriptor) -> bool {
        std::fs::metadata(self.root.join(oci::blob_path(&descriptor.digest)))
            .is_ok_and(|metadata| metadata.len() == descriptor.size)
    }

    /// Stores a blob.
    pub fn put(&mut self, bytes: &[u8]) -> anyhow::Result<Digest> {
        let digest = Digest::of(bytes);
        self.write_if_changed(&oci::blob_path(&digest), bytes)?;
        self.kept.insert(digest);
        Ok(digest)
    }

    /// Stores a document as a blob, and describes it.
    pub fn put_json(
        &mut self,
        media_type: &str,
        document: &impl Serialize,
    ) -> anyhow::Result<Descriptor> {
        let bytes = serde_json::to_vec(document)?;
        self.put(&bytes)?;
        Ok(Descriptor::of(media_type, &bytes))
    }

    /// Keeps a blob that is already there.
    pub fn keep(&mut self, digest: Digest) {
        self.kept.insert(digest);
    }

    /// Makes `manifest` the image that `repository:tag` names.
    pub fn tag(
        &mut self,
        repository: &str,
        tag: &str,
        manifest: &Manifest,
    ) -> anyhow::Result<Digest> {
        let mut descriptor = self.put_json(MediaType::MANIFEST, manifest)?;
        descriptor.platform = Some(Platform::host());
        let bytes = serde_json::to_vec(&Index::new(vec![descriptor]))?;
        let digest = self.put(&bytes)?;
        let added = self.added.get(repository).into_iter().flatten();
        if !added.into_iter().any(|added| added.tag == tag) {
            self.write_if_changed(&oci::tag_path(repository, tag), &bytes)?;
        }
        self.tags
            .entry(repository.to_string())
            .or_default()
            .insert(tag.to_string(), digest);
        Ok(digest)
    }

    /// Writes the lists, and removes tags and blobs that this build did not make. After a build of
    /// only some recipes (`partial`), nothing is removed and the catalogue keeps the others.
    pub fn finish(&mut self, mut images: Vec<CatalogImage>, partial: bool) -> anyhow::Result<()> {
        self.keep_added();
        for (repository, tags) in &self.tags {
            let list = TagList {
                name: repository.clone(),
                tags: tags.keys().cloned().collect(),
            };
            let path = format!("v2/{repository}/tags/list");
            self.write_if_changed(&path, &serde_json::to_vec(&list)?)?;
            let dir = self.root.join(format!("v2/{repository}/manifests"));
            for entry in std::fs::read_dir(&dir)? {
                let entry = entry?;
                if !tags.contains_key(&*entry.file_name().to_string_lossy()) {
                    std::fs::remove_file(entry.path())?;
                }
            }
        }
        let mut repositories: BTreeSet<String> = self.tags.keys().cloned().collect();
        let before = std::fs::read(self.root.join(oci::catalog_path())).ok();
        let before: Catalog = before
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        if partial {
            let made: BTreeSet<String> = images.iter().map(|image| image.name.clone()).collect();
            images.extend(
                before
                    .images
                    .into_iter()
                    .filter(|image| !made.contains(&image.name)),
            );
            repositories.extend(before.repositories);
        } else {
            for gone in before
                .repositories
                .iter()
                .filter(|name| !self.tags.contains_key(*name))
            {
                for part in ["manifests", "tags"] {
                    let _ = std::fs::remove_dir_all(self.root.join(format!("v2/{gone}/{part}")));
                }
            }
        }
        added::catalogue(&self.root, &mut images);
        let repositories = repositories.into_iter().collect();
        let catalog = serde_json::to_vec_pretty(&Catalog {
            repositories,
            images,
        })?;
        self.write_if_changed(oci::catalog_path(), &catalog)?;
        self.write_if_changed("v2/version.json", b"{}")?;
        if partial {
            return Ok(());
        }
        for entry in std::fs::read_dir(self.root.join("v2/blobs/sha256"))? {
            let entry = entry?;
            let digest = Digest::from_hex(&entry.file_name().to_string_lossy());
            if !digest.is_ok_and(|digest| self.kept.contains(&digest)) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Counts what was added to what is there.
    fn keep_added(&mut self) {
        for added in self.added.values().flatten() {
            self.kept.extend(&added.blobs);
            if let Some(index) = added.blobs.last() {
                let tags = self.tags.entry(added.repository.clone()).or_default();
                tags.insert(added.tag.clone(), *index);
            }
        }
    }

    /// All tags, as `repository:tag` and the digest of the index.
    pub fn tags(&self) -> BTreeMap<String, Digest> {
        let names = |(repository, tags): (&String, &BTreeMap<String, Digest>)| {
            let repository = repository.clone();
            tags.iter()
                .map(move |(tag, digest)| (format!("{repository}:{tag}"), *digest))
                .collect::<Vec<_>>()
        };
        self.tags.iter().flat_map(names).collect()
    }

    fn write_if_changed(&self, path: &str, bytes: &[u8]) -> anyhow::Result<()> {
        write_if_changed(&self.root.join(path), bytes)
    }
}

/// Writes through a temporary name, so that a reader never sees half a file, and leaves a file
/// alone that already has these bytes.
pub fn write_if_changed(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let same_size =
        std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == bytes.len() as u64);
    if same_size && std::fs::read(path)? == bytes {
        return Ok(());
    }
    let write = || -> std::io::Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let part = path.with_extension("part");
        std::fs::write(&part, bytes)?;
        std::fs::rename(&part, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// The repositories that the registry below `root` lists.
pub fn repositories(root: &Path) -> BTreeSet<String> {
    let bytes = std::fs::read(root.join(oci::catalog_path())).unwrap_or_default();
    let catalog: Catalog = serde_json::from_slice(&bytes).unwrap_or_default();
    catalog.repositories.into_iter().collect()
}

/// Reads `name` (as a user types it) out of the registry below `root`, layers applied.
pub fn read_image(root: &Path, name: &str) -> anyhow::Result<Tree> {
    let reference = oci::Reference::parse(name)?.with_default_tag();
    let repository = oci::static_repository(&reference);
    let tag = reference.tag().unwrap_or(oci::DEFAULT_TAG);
    let (_, manifest) = read_manifest(root, &repository, tag)?;
    let mut tree = Tree::new();
    for layer in &manifest.layers {
        apply_layer(&mut tree, &read_blob(root, &layer.digest)?)?;
    }
    Ok(tree)
}

fn read_blob(root: &Path, digest: &Digest) -> anyhow::Result<Vec<u8>> {
    let bytes = std::fs::read(root.join(oci::blob_path(digest)))?;
    anyhow::ensure!(Digest::of(&bytes) == *digest, "blob {digest} is damaged");
    Ok(bytes)
}

/// The manifest that a tag leads to, and its digest.
fn read_manifest(root: &Path, repository: &str, tag: &str) -> anyhow::Result<(Digest, Manifest)> {
    let path = root.join(oci::tag_path(repository, tag));
    let bytes = std::fs::read(&path).with_context(|| {
        format!(
            "no image {repository}:{tag} in {}; run `cargo xtask images` first",
            root.display()
        )
    })?;
    let ManifestDocument::Index(index) = ManifestDocument::parse(&bytes)? else {
        bail!("{} is not an index", path.display());
    };
    let digest = index
        .select(&Platform::host())
        .context("no manifest for riscv64")?
        .digest;
    match ManifestDocument::parse(&read_blob(root, &digest)?)? {
        ManifestDocument::Manifest(manifest) => Ok((digest, manifest)),
        _ => bail!("the index of {repository}:{tag} does not point to a manifest"),
    }
}

/// Puts an image of the registry below `from` into the one below `to`.
pub fn copy_image(from: &Path, to: &Path, repository: &str, tag: &str) -> anyhow::Result<()> {
    let (digest, manifest) = read_manifest(from, repository, tag)?;
    let mut paths = vec![
        oci::blob_path(&digest),
        oci::blob_path(&manifest.config.digest),
        oci::tag_path(repository, tag),
    ];
    paths.extend(manifest.layers.iter().map(|l| oci::blob_path(&l.digest)));
    for path in paths {
        let target = to.join(&path);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::copy(from.join(&path), &target).with_context(|| format!("copying {path}"))?;
    }
    Ok(())
}

fn apply_layer(tree: &mut Tree, blob: &[u8]) -> anyhow::Result<()> {
    let mut raw = Vec::new();
    flate2::read::MultiGzDecoder::new(blob).read_to_end(&mut raw)?;
    let mut nodes: Vec<(String, Node)> = Vec::new();
    for entry in tar::Archive::new(&raw[..]).entries()? {
        let mut entry = entry?;
        let path = member_path(&entry.path_bytes())?;
        let (parent, file) = path.rsplit_once('/').unwrap_or(("", &path));
        if let Some(hidden) = file.strip_prefix(".wh.") {
            let separator = if parent.is_empty() { "" } else { "/" };
            tree.remove(&format!("{parent}{separator}{hidden}"));
            continue;
        }
        let ours = matches!(
            path.as_str(),
            "stargz.index.json" | ".prefetch.landmark" | ".no.prefetch.landmark"
        );
        if !ours {
            nodes.push((path, read_node(&mut entry)?));
        }
    }
    for (path, node) in nodes {
        if node.kind != Kind::Dir {
            tree.remove(&path);
        }
        tree.insert(&path, node);
    }
    Ok(())
}
