//! `cargo xtask images add REFERENCE`: an image of another registry among the stock images.
//!
//! The image's variant for riscv64 is fetched, its layers are written as eStargz, and what it was is kept in
//! labels. `added.json` beside the tree lists what was added, so that a later build of the stock images
//! leaves it there, also where it has the name of one of them.

mod client;
mod convert;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use oci::{
    CatalogImage, Descriptor, Digest, Index, Manifest, ManifestDocument, MediaType, Platform,
    Reference,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use client::Client;

const USAGE: &str = "\
usage: cargo xtask images add REFERENCE [options]
  copies the linux/riscv64 variant of an image from its registry among the stock images
  --as NAME           the name it gets here (its own otherwise)
  --description TEXT  what `docker search` says of it
  --plain-http        the registry speaks no TLS (on loopback that is known)
  --out DIR           below DIR instead of target/images
";

/// Prefix of the labels that say what an image was before its layers were converted.
const LABEL: &str = "dev.drydock.original";

/// An image that was added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// Where it came from.
    pub from: String,
    /// Its repository in the static tree.
    pub repository: String,
    /// Its tag.
    pub tag: String,
    /// The index that the tag names, and all blobs behind it.
    pub blobs: Vec<Digest>,
    /// Familiar name, for the catalogue.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// Compressed bytes of the layers.
    pub size: u64,
}

/// What was added to the tree below `root`.
pub fn read(root: &Path) -> Vec<Added> {
    let text = std::fs::read(root.join("added.json")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Adds the rows of what was added to a catalogue's.
pub fn catalogue(root: &Path, images: &mut Vec<CatalogImage>) {
    for added in read(root) {
        match images.iter_mut().find(|image| image.name == added.name) {
            Some(image) if image.tags.contains(&added.tag) => {}
            Some(image) => {
                image.tags.push(added.tag);
                image.tags.sort();
            }
            None => images.push(CatalogImage {
                name: added.name,
                description: added.description,
                stands_in_for: None,
                tags: vec![added.tag],
                size: added.size,
            }),
        }
    }
    images.sort_by(|a, b| a.name.cmp(&b.name));
}

#[derive(Debug, Default)]
struct Options {
    reference: Option<Reference>,
    alias: Option<Reference>,
    description: String,
    plain_http: bool,
    out: PathBuf,
}

/// Runs the command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    let mut options = Options {
        out: crate::tools::root().join("target/images"),
        ..Options::default()
    };
    let named = |text: &str| -> anyhow::Result<Reference> {
        Ok(Reference::parse(text)
            .with_context(|| format!("{text:?}"))?
            .with_default_tag())
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || {
            let value = args.next().cloned();
            value.with_context(|| format!("{arg} needs a value"))
        };
        match arg.as_str() {
            "--as" => options.alias = Some(named(&value()?)?),
            "--description" => options.description = value()?,
            "--plain-http" => options.plain_http = true,
            "--out" => options.out = PathBuf::from(value()?),
            "-h" | "--help" => {
                print!("{USAGE}");
                return Ok(());
            }
            text if text.starts_with('-') || options.reference.is_some() => {
                bail!("unknown option {arg:?}\n{USAGE}")
            }
            text => options.reference = Some(named(text)?),
        }
    }
    let Some(from) = &options.reference else {
        bail!("no image named\n{USAGE}");
    };
    let name = options.alias.as_ref().unwrap_or(from);
    // Names with a port lead to the machines' own network, never to the stock images.
    ensure!(
        !name.domain().contains(':') && name.domain() != "localhost",
        "{} would be looked for on a machine's network: say with --as how the image is called here",
        name.familiar()
    );
    let client = Client::new(from, options.plain_http)?;
    let added = add(&client, from, name, &options)?;
    println!(
        "{} is {} here: {} layers' bytes, {} blobs",
        added.from,
        name.familiar(),
        added.size,
        added.blobs.len()
    );
    Ok(())
}

/// The manifest for riscv64 that a reference leads to.
fn manifest(client: &Client, from: &Reference) -> anyhow::Result<(Digest, Manifest)> {
    let host = Platform::host();
    let (digest, document) = client.manifest(&match from.digest() {
        Some(digest) => digest.to_string(),
        None => from.tag().unwrap_or(oci::DEFAULT_TAG).to_string(),
    })?;
    let index = match document {
        ManifestDocument::Manifest(manifest) => return Ok((digest, manifest)),
        ManifestDocument::Index(index) => index,
    };
    let Some(chosen) = index.select(&host) else {
        let there = index
            .manifests
            .iter()
            .filter_map(|one| one.platform.as_ref());
        let there: Vec<String> = there
            .filter(|platform| platform.os != "unknown")
            .map(ToString::to_string)
            .collect();
        bail!(
            "no matching manifest for {host} in the manifest list entries: {from} has {}",
            there.join(", ")
        );
    };
    match client.manifest(&chosen.digest.to_string())? {
        (digest, ManifestDocument::Manifest(manifest)) => Ok((digest, manifest)),
        _ => bail!("{from}: an index in an index"),
    }
}

/// Writes below the tree's root, whole or not at all.
fn write(root: &Path, path: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let target = root.join(path);
    let part = target.with_extension("part");
    let written = std::fs::create_dir_all(target.parent().unwrap_or(root))
        .and_then(|()| std::fs::write(&part, bytes))
        .and_then(|()| std::fs::rename(&part, &target));
    written.with_context(|| format!("writing {}", target.display()))
}

/// The config with other layers, and labels that say what it was.
fn config(
    raw: &[u8],
    diff_ids: &[Digest],
    labels: &[(&str, String)],
) -> anyhow::Result<(Vec<Digest>, Vec<u8>)> {
    let mut config: Value = serde_json::from_slice(raw).context("the image's config")?;
    let text = |name: &str| config[name].as_str().unwrap_or_default().to_string();
    let (os, architecture) = (text("os"), text("architecture"));
    ensure!(
        (os.as_str(), architecture.as_str()) == ("linux", "riscv64"),
        "the image is for {os}/{architecture}, not for linux/riscv64"
    );
    let originals = serde_json::from_value(config["rootfs"]["diff_ids"].clone());
    let originals: Vec<Digest> = originals.context("the config's layers")?;
    let ids: Vec<String> = diff_ids.iter().map(ToString::to_string).collect();
    config["rootfs"]["diff_ids"] = json!(ids);
    for (name, value) in labels {
        if !config["config"]["Labels"].is_object() {
            config["config"]["Labels"] = json!({});
        }
        config["config"]["Labels"][format!("{LABEL}.{name}")] = json!(value);
    }
    Ok((originals, serde_json::to_vec(&config)?))
}

fn add(
    client: &Client,
    from: &Reference,
    name: &Reference,
    options: &Options,
) -> anyhow::Result<Added> {
    let out = &options.out;
    let (original, manifest) = manifest(client, from)?;
    let raw = client.blob(&manifest.config)?;
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    let mut originals = Vec::new();
    let mut blobs = Vec::new();
    for layer in &manifest.layers {
        let blob = client.blob(layer)?;
        let tar = convert::decompress(&blob)?;
        originals.push(Digest::of(&tar));
        let converted =
            convert::estargz(&tar).with_context(|| format!("converting layer {}", layer.digest))?;
        write(
            out,
            &oci::blob_path(&converted.descriptor.digest),
            &converted.blob,
        )?;
        blobs.push(converted.descriptor.digest);
        diff_ids.push(converted.diff_id);
        layers.push(converted.descriptor);
    }
    let digests: Vec<String> = manifest
        .layers
        .iter()
        .map(|layer| layer.digest.to_string())
        .collect();
    let labels = [
        ("name", from.to_string()),
        ("manifest", original.to_string()),
        ("config", manifest.config.digest.to_string()),
        ("layers", digests.join(",")),
    ];
    let (claimed, config) = config(&raw, &diff_ids, &labels)?;
    ensure!(
        claimed == originals,
        "the layers of {from} are not those that its config names"
    );
    let mut put = |media_type: &str, bytes: &[u8]| -> anyhow::Result<Descriptor> {
        let descriptor = Descriptor::of(media_type, bytes);
        write(out, &oci::blob_path(&descriptor.digest), bytes)?;
        blobs.push(descriptor.digest);
        Ok(descriptor)
    };
    let size = layers.iter().map(|layer| layer.size).sum();
    let config = put(MediaType::CONFIG, &config)?;
    let manifest = serde_json::to_vec(&Manifest::new(config, layers))?;
    let mut manifest = put(MediaType::MANIFEST, &manifest)?;
    manifest.platform = Some(Platform::host());
    let index = serde_json::to_vec(&Index::new(vec![manifest]))?;
    put(MediaType::INDEX, &index)?;
    let repository = oci::static_repository(name);
    let tag = name.tag().unwrap_or(oci::DEFAULT_TAG).to_string();
    write(out, &oci::tag_path(&repository, &tag), &index)?;
    let added = Added {
        from: from.to_string(),
        name: name.familiar_name(),
        description: match options.description.as_str() {
            "" => format!("{from}, copied"),
            text => text.to_string(),
        },
        repository,
        tag,
        blobs,
        size,
    };
    list(out, &added)?;
    Ok(added)
}

/// Lists an image where clients and later builds look for it.
fn list(out: &Path, added: &Added) -> anyhow::Result<()> {
    let mut all = read(out);
    all.retain(|other| (&other.repository, &other.tag) != (&added.repository, &added.tag));
    all.push(added.clone());
    write(out, "added.json", &serde_json::to_vec_pretty(&all)?)?;
    let path = format!("v2/{}/tags/list", added.repository);
    let tags = std::fs::read(out.join(&path)).unwrap_or_default();
    let mut tags: oci::TagList = serde_json::from_slice(&tags).unwrap_or_default();
    tags.name.clone_from(&added.repository);
    if !tags.tags.contains(&added.tag) {
        tags.tags.push(added.tag.clone());
        tags.tags.sort();
    }
    write(out, &path, &serde_json::to_vec(&tags)?)?;
    let catalog = std::fs::read(out.join(oci::catalog_path())).unwrap_or_default();
    let mut catalog: oci::Catalog = serde_json::from_slice(&catalog).unwrap_or_default();
    if !catalog.repositories.contains(&added.repository) {
        catalog.repositories.push(added.repository.clone());
        catalog.repositories.sort();
    }
    catalogue(out, &mut catalog.images);
    write(
        out,
        oci::catalog_path(),
        &serde_json::to_vec_pretty(&catalog)?,
    )
}

/// Tags of a repository that were added, for the lists of a build.
pub fn tags(root: &Path) -> BTreeMap<String, Vec<Added>> {
    let mut tags: BTreeMap<String, Vec<Added>> = BTreeMap::new();
    for added in read(root) {
        tags.entry(added.repository.clone())
            .or_default()
            .push(added);
    }
    tags
}
