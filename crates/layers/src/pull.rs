//! `docker pull`: from a reference to an image in the store.

use std::fmt;

use futures_util::StreamExt;
use futures_util::stream;
use oci::{Descriptor, Digest, ImageConfig, Manifest, ManifestDocument, Platform, Reference};

use crate::archive::UnpackError;
use crate::download::Download;
use crate::graph::chain_ids;
use crate::registry::{Registry, RegistryError};
use crate::store::{Store, StoreError};

/// Layers downloaded at a time (Docker's `max-concurrent-downloads`).
const DOWNLOADS_MAX: usize = 3;

/// What happens during a pull, in Docker's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PullEvent {
    /// `TAG: Pulling from NAME`.
    PullingFrom {
        /// Tag or digest.
        tag: String,
        /// Repository path, such as `library/busybox`.
        name: String,
    },
    /// A layer's state changed.
    Layer {
        /// The first twelve digits of the blob's digest.
        id: String,
        /// `Pulling fs layer`, `Waiting`, `Downloading`, `Verifying Checksum`, `Download complete`,
        /// `Extracting`, `Pull complete` or `Already exists`.
        status: &'static str,
        /// Bytes done and in all, where the status has them.
        progress: Option<(u64, u64)>,
    },
}

/// What a pull brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PulledImage {
    /// The image id.
    pub id: Digest,
    /// The digest of the manifest or index that the name led to.
    pub digest: Digest,
    /// False when the name led to this image before.
    pub newer: bool,
}

/// Why a pull failed. The texts are Docker's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PullError {
    /// The registry.
    Registry(RegistryError),
    /// No variant for this platform.
    NoMatchingManifest(String),
    /// The config is not usable.
    Config(String),
    /// A layer could not be unpacked.
    Layer(UnpackError),
    /// The store.
    Store(StoreError),
}

impl fmt::Display for PullError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PullError::Registry(error) => error.fmt(f),
            PullError::NoMatchingManifest(platform) => {
                write!(
                    f,
                    "no matching manifest for {platform} in the manifest list entries"
                )
            }
            PullError::Config(reason) => write!(f, "invalid image configuration: {reason}"),
            PullError::Layer(error) => write!(f, "failed to register layer: {error}"),
            PullError::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PullError {}

impl From<RegistryError> for PullError {
    fn from(error: RegistryError) -> PullError {
        PullError::Registry(error)
    }
}

impl From<StoreError> for PullError {
    fn from(error: StoreError) -> PullError {
        PullError::Store(error)
    }
}

impl Store {
    /// Pulls `reference` (with a tag or digest) for `platform`.
    pub async fn pull(
        &self,
        registry: &Registry,
        reference: &Reference,
        platform: &Platform,
        progress: &dyn Fn(PullEvent),
    ) -> Result<PulledImage, PullError> {
        let (document, digest, _) = registry.manifest(reference).await?;
        let tag = match reference.digest() {
            Some(digest) => digest.to_string(),
            None => reference.tag().unwrap_or("latest").to_string(),
        };
        progress(PullEvent::PullingFrom {
            tag,
            name: reference.path().to_string(),
        });
        let manifest = match document {
            ManifestDocument::Manifest(manifest) => manifest,
            ManifestDocument::Index(index) => {
                let missing = || PullError::NoMatchingManifest(platform.to_string());
                let chosen = index.select(platform).ok_or_else(missing)?;
                match registry
                    .manifest(&reference.with_digest(chosen.digest))
                    .await?
                    .0
                {
                    ManifestDocument::Manifest(manifest) => manifest,
                    ManifestDocument::Index(_) => return Err(missing()),
                }
            }
        };
        let id = manifest.config.digest;
        if self.image(&id).is_none() {
            self.fetch(registry, reference, &manifest, progress).await?;
        }
        let newer = self.add_pulled_names(reference, id, digest)?;
        Ok(PulledImage { id, digest, newer })
    }

    async fn fetch(
        &self,
        registry: &Registry,
        reference: &Reference,
        manifest: &Manifest,
        progress: &dyn Fn(PullEvent),
    ) -> Result<(), PullError> {
        let raw = registry.blob(reference, &manifest.config).await?;
        let config: ImageConfig =
            serde_json::from_slice(&raw).map_err(|error| PullError::Config(error.to_string()))?;
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            return Err(PullError::Config(format!(
                "{} layers but {} diff ids",
                manifest.layers.len(),
                diff_ids.len()
            )));
        }
        if config.os != "linux" {
            return Err(PullError::Config(format!(
                "image operating system {:?} cannot be used on this platform",
                config.os
            )));
        }
        let chain = chain_ids(diff_ids);
        let present = chain
            .iter()
            .take_while(|chain| self.graph().get(chain).is_some())
            .count();
        let tell = |layer: &Descriptor, status, bytes| {
            progress(PullEvent::Layer {
                id: layer.digest.short(),
                status,
                progress: bytes,
            });
        };
        for (index, layer) in manifest.layers.iter().enumerate() {
            tell(
                layer,
                if index < present {
                    "Already exists"
                } else {
                    "Pulling fs layer"
                },
                None,
            );
        }
        let wanted = &manifest.layers[present..];
        for layer in wanted.iter().skip(DOWNLOADS_MAX) {
            tell(layer, "Waiting", None);
        }
        // Downloads overlap; layers are unpacked in order, each on the one below it.
        let mut downloads = stream::iter(wanted.iter().map(|layer| async move {
            let seen = |seen| tell(layer, "Downloading", Some((seen, layer.size)));
            let blob = self.download(registry, reference, layer, &seen).await;
            if blob.is_ok() {
                tell(layer, "Verifying Checksum", None);
                tell(layer, "Download complete", None);
            }
            (layer, blob)
        }))
        .buffered(DOWNLOADS_MAX);
        let mut parent = present.checked_sub(1).map(|last| chain[last]);
        for diff_id in &diff_ids[present..] {
            let Some((layer, blob)) = downloads.next().await else {
                break;
            };
            let blob = blob?;
            tell(layer, "Extracting", Some((0, layer.size)));
            parent = Some(
                self.graph()
                    .register(parent, *diff_id, blob.reader())
                    .await
                    .map_err(PullError::Layer)?,
            );
            tell(layer, "Extracting", Some((layer.size, layer.size)));
            tell(layer, "Pull complete", None);
        }
        drop(downloads);
        self.add_image(manifest.config.digest, &raw)?;
        Ok(())
    }

    /// Downloads a layer to the disk.
    async fn download(
        &self,
        registry: &Registry,
        reference: &Reference,
        layer: &Descriptor,
        seen: &dyn Fn(u64),
    ) -> Result<Download, RegistryError> {
        let failed = |(operation, error)| RegistryError::Keep(operation, error);
        let mut blob = Download::new(self.os(), self.root()).map_err(failed)?;
        let keep = |bytes: &[u8]| blob.write(bytes).map_err(failed);
        registry.blob_to(reference, layer, keep, seen).await?;
        Ok(blob)
    }
}
