//! `docker save`: images as one archive that is an OCI image layout, and has beside it the two files by
//! which older programs find their way (`manifest.json`, `repositories`), as Docker 25 and later write it.

use std::collections::BTreeMap;
use std::io::Read;

use oci::{Descriptor, Digest, Hasher, Index, Manifest, MediaType, Reference, annotation};
use os::Metadata;
use serde::{Deserialize, Serialize};
use serve::BodySender;

use crate::archive::pack::{BLOCK, Header};
use crate::store::{Image, Store, StoreError};

/// Bytes sent at a time.
const CHUNK: usize = 256 * 1024;
/// The annotation with a name in full, which containerd's tools read.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// An image of `manifest.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Entry {
    /// Path of the config.
    pub(crate) config: String,
    /// Names, familiar form.
    pub(crate) repo_tags: Option<Vec<String>>,
    /// Paths of the layers, base first.
    pub(crate) layers: Vec<String>,
    /// The layers by diff id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) layer_sources: BTreeMap<String, Descriptor>,
}

/// Where something of the archive comes from.
enum Source {
    Bytes(Vec<u8>),
    Layer { chain: Digest, size: u64 },
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// What goes into the archive.
#[derive(Default)]
struct Layout {
    blobs: BTreeMap<Digest, Source>,
    entries: Vec<Entry>,
    index: Vec<Descriptor>,
    repositories: BTreeMap<String, BTreeMap<String, String>>,
}

impl Layout {
    fn blob(&mut self, bytes: Vec<u8>) -> Descriptor {
        let descriptor = Descriptor::of("", &bytes);
        self.blobs.insert(descriptor.digest, Source::Bytes(bytes));
        descriptor
    }

    fn add(&mut self, store: &Store, image: &Image, names: &[Reference]) -> Result<(), StoreError> {
        let mut layers = Vec::new();
        for (chain, diff_id) in image.chain.iter().zip(&image.config.rootfs.diff_ids) {
            let tar = store.graph().tar(chain).map_err(corrupt)?;
            let (chain, size) = (*chain, tar.size());
            self.blobs.insert(*diff_id, Source::Layer { chain, size });
            let mut layer = Descriptor::of(MediaType::LAYER, b"");
            (layer.digest, layer.size) = (*diff_id, size);
            layers.push(layer);
        }
        let mut config = self.blob(store.raw_config(&image.id)?);
        config.media_type = MediaType::CONFIG.to_string();
        let manifest = Manifest {
            schema_version: 2,
            media_type: MediaType::MANIFEST.to_string(),
            config,
            layers,
            annotations: BTreeMap::new(),
        };
        let bytes = serde_json::to_vec(&manifest).map_err(corrupt)?;
        let mut whole = self.blob(bytes);
        whole.media_type = MediaType::MANIFEST.to_string();
        if names.is_empty() {
            self.index.push(whole.clone());
        }
        for name in names {
            let tag = name.tag().unwrap_or_default().to_string();
            let mut named = whole.clone();
            named.annotations = BTreeMap::from([
                (IMAGE_NAME.to_string(), name.to_string()),
                (annotation::REF_NAME.to_string(), tag.clone()),
            ]);
            self.index.push(named);
            if let Some(top) = image.config.rootfs.diff_ids.last() {
                let tags = self.repositories.entry(name.familiar_name()).or_default();
                tags.insert(tag, top.hex());
            }
        }
        self.entries.push(Entry {
            config: path(&image.id),
            repo_tags: (!names.is_empty()).then(|| names.iter().map(Reference::familiar).collect()),
            layers: manifest
                .layers
                .iter()
                .map(|layer| path(&layer.digest))
                .collect(),
            layer_sources: manifest
                .layers
                .iter()
                .map(|layer| (layer.digest.to_string(), layer.clone()))
                .collect(),
        });
        Ok(())
    }
}

fn corrupt(error: impl ToString) -> StoreError {
    StoreError::Corrupt(error.to_string())
}

/// The archive as it is sent.
struct Writer<'a> {
    store: &'a Store,
    out: &'a BodySender,
    /// Seconds since 1970: everything's time.
    now: i64,
}

/// Nobody reads any more.
struct Gone;

impl Writer<'_> {
    async fn send(&self, bytes: Vec<u8>) -> Result<(), Gone> {
        self.out.send(bytes).await.map_err(|_| Gone)
    }

    async fn header(&self, name: &str, mode: u32, size: u64) -> Result<(), Gone> {
        let mut metadata = Metadata {
            mode,
            size,
            ..Metadata::default()
        };
        metadata.mtime.sec = self.now;
        let mut header = Header::new(name.as_bytes(), &metadata);
        header.size = size;
        if metadata.is_dir() {
            header = header.directory();
        }
        self.send(header.emit()).await
    }

    async fn file(&self, name: &str, bytes: Vec<u8>) -> Result<(), Gone> {
        self.header(name, 0o100_644, bytes.len() as u64).await?;
        let mut padded = bytes;
        padded.resize(padded.len().next_multiple_of(BLOCK), 0);
        self.send(padded).await
    }

    /// A layer. The outer error is a reader that went away, the inner one a layer that is not what it was.
    async fn layer(
        &self,
        diff_id: &Digest,
        chain: &Digest,
        size: u64,
    ) -> Result<Result<(), StoreError>, Gone> {
        self.header(&path(diff_id), 0o100_644, size).await?;
        let mut tar = match self.store.graph().tar(chain) {
            Ok(tar) => tar,
            Err(error) => return Ok(Err(corrupt(error))),
        };
        let mut hasher = Hasher::new();
        loop {
            let mut buf = vec![0; CHUNK];
            let count = match tar.read(&mut buf) {
                Ok(count) => count,
                Err(error) => return Ok(Err(corrupt(error))),
            };
            if count == 0 {
                break;
            }
            buf.truncate(count);
            hasher.update(&buf);
            self.send(buf).await?;
        }
        if hasher.finish() != *diff_id {
            return Ok(Err(corrupt(format!("layer {diff_id} is not what it was"))));
        }
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        self.send(vec![0; padding as usize]).await?;
        Ok(Ok(()))
    }

    async fn all(&self, layout: Layout) -> Result<Result<(), StoreError>, Gone> {
        for directory in ["blobs", "blobs/sha256"] {
            self.header(directory, 0o040_755, 0).await?;
        }
        for (digest, source) in layout.blobs {
            match source {
                Source::Bytes(bytes) => self.file(&path(&digest), bytes).await?,
                Source::Layer { chain, size } => {
                    if let Err(error) = self.layer(&digest, &chain, size).await? {
                        return Ok(Err(error));
                    }
                }
            }
        }
        let json = |value: Result<Vec<u8>, serde_json::Error>| value.unwrap_or_default();
        let index = Index::new(layout.index);
        self.file("index.json", json(serde_json::to_vec(&index)))
            .await?;
        self.file("manifest.json", json(serde_json::to_vec(&layout.entries)))
            .await?;
        let version = br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec();
        self.file("oci-layout", version).await?;
        if !layout.repositories.is_empty() {
            let bytes = json(serde_json::to_vec(&layout.repositories));
            self.file("repositories", bytes).await?;
        }
        self.send(vec![0; 2 * BLOCK]).await?;
        Ok(Ok(()))
    }
}

impl Store {
    /// Sends images, each with the names it is to have, as an archive. `now`: seconds since 1970.
    ///
    /// What is missing is an error before anything is sent, where that can be known.
    pub fn save(
        &self,
        images: &[(Image, Vec<Reference>)],
        now: i64,
    ) -> Result<impl AsyncFnOnce(&BodySender) -> Result<(), StoreError> + use<>, StoreError> {
        let mut layout = Layout::default();
        for (image, names) in images {
            layout.add(self, image, names)?;
        }
        let store = self.clone();
        Ok(async move |out: &BodySender| {
            let writer = Writer {
                store: &store,
                out,
                now,
            };
            writer.all(layout).await.unwrap_or(Ok(()))
        })
    }
}
