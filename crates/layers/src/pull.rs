//! `docker pull`: from a reference to an image in the store.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use oci::{Descriptor, Digest, ImageConfig, Manifest, ManifestDocument, Platform, Reference};

use crate::archive::UnpackError;
use crate::download::Download;
use crate::graph::chain_ids;
use crate::registry::{Access, Registry, RegistryError, Repository};
use crate::store::{Store, StoreError};
use crate::transfer::{Claim, Pin, Told};

/// Layers downloaded at a time (Docker's `max-concurrent-downloads`).
const DOWNLOADS_MAX: usize = 3;
/// Further attempts at a download or upload whose connection broke, and the seconds before the first.
pub(crate) const RETRIES_MAX: u64 = 4;
const RETRY_SECONDS: u64 = 5;

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
        /// The blob's digest.
        digest: Digest,
        /// `Pulling fs layer`, `Waiting`, `Downloading`, `Verifying Checksum`, `Download complete`,
        /// `Extracting`, `Pull complete`, `Already exists` or `Retrying in 5 seconds`.
        status: Cow<'static, str>,
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
    /// The config cannot be had.
    NoConfig(String),
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
            PullError::NoConfig(why) => write!(
                f,
                "error pulling image configuration: download failed after attempts=1: {why}"
            ),
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

/// What it means that an image's config cannot be had.
fn config_error(error: RegistryError) -> PullError {
    let why = match error {
        RegistryError::Verify(digest) => {
            format!("image config verification failed for digest {digest}")
        }
        error => error.to_string(),
    };
    PullError::NoConfig(why)
}

/// What a name of a registry's means for one platform.
#[derive(Clone, Debug)]
pub struct RemoteImage {
    /// The digest of the manifest or index that the name leads to.
    pub digest: Digest,
    /// The image's configuration.
    pub config: ImageConfig,
    /// Its parts.
    pub manifest: Manifest,
    /// It as its digest has it.
    pub raw: Vec<u8>,
    /// The documents on the way to the layers, and their bytes.
    pub documents: Vec<(Digest, u64)>,
}

/// The manifest for the platform, of what a name leads to. The configuration is not read yet.
async fn choose(
    from: &Repository,
    reference: &Reference,
    platform: &Platform,
    (document, digest, bytes): (ManifestDocument, Digest, Bytes),
) -> Result<RemoteImage, PullError> {
    let mut documents = vec![(digest, bytes.len() as u64)];
    let manifest = match document {
        ManifestDocument::Manifest(manifest) => manifest,
        ManifestDocument::Index(index) => {
            let missing = || PullError::NoMatchingManifest(platform.to_string());
            let chosen = index.select(platform).ok_or_else(missing)?;
            let (document, digest, bytes) =
                from.manifest(&reference.with_digest(chosen.digest)).await?;
            documents.push((digest, bytes.len() as u64));
            match document {
                ManifestDocument::Manifest(manifest) => manifest,
                ManifestDocument::Index(_) => return Err(missing()),
            }
        }
    };
    documents.push((manifest.config.digest, manifest.config.size));
    Ok(RemoteImage {
        digest,
        config: ImageConfig::default(),
        raw: Vec::new(),
        manifest,
        documents,
    })
}

/// The configuration of an image that can be used here, as its digest has it too.
async fn read_config(
    from: &Repository,
    manifest: &Manifest,
) -> Result<(ImageConfig, Vec<u8>), PullError> {
    let raw = from.blob(&manifest.config).await.map_err(config_error)?;
    let config: ImageConfig =
        serde_json::from_slice(&raw).map_err(|error| PullError::Config(error.to_string()))?;
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers != diff_ids {
        return Err(PullError::Config(format!(
            "{layers} layers but {diff_ids} diff ids"
        )));
    }
    if config.os != "linux" {
        return Err(PullError::Config(format!(
            "image operating system {:?} cannot be used on this platform",
            config.os
        )));
    }
    Ok((config, raw))
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
        registry
            .over(reference, Access::Pull, async |from: &Repository| {
                self.pull_from(from, reference, platform, progress).await
            })
            .await
    }

    async fn pull_from(
        &self,
        from: &Repository,
        reference: &Reference,
        platform: &Platform,
        progress: &dyn Fn(PullEvent),
    ) -> Result<PulledImage, PullError> {
        let named = from.manifest(reference).await?;
        let tag = match reference.digest() {
            Some(digest) => digest.to_string(),
            None => reference.tag().unwrap_or("latest").to_string(),
        };
        progress(PullEvent::PullingFrom {
            tag,
            name: reference.path().to_string(),
        });
        let found = choose(from, reference, platform, named).await?;
        let (id, digest) = (found.manifest.config.digest, found.digest);
        if self.image(&id).is_none() {
            let (config, raw) = read_config(from, &found.manifest).await?;
            let pin = self.fetch(from, &found.manifest, &config, progress).await?;
            self.add_image(id, &raw)?;
            drop(pin);
        }
        let newer = self.add_pulled_names(reference, id, digest)?;
        Ok(PulledImage { id, digest, newer })
    }

    /// Finds out what `reference` is for `platform`, without its layers.
    pub async fn look_up(
        &self,
        registry: &Registry,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<RemoteImage, PullError> {
        registry
            .over(reference, Access::Pull, async |from: &Repository| {
                let named = from.manifest(reference).await?;
                let mut found = choose(from, reference, platform, named).await?;
                (found.config, found.raw) = read_config(from, &found.manifest).await?;
                Ok(found)
            })
            .await
    }

    /// Brings the layers of what was looked up. There is no image of them; they stay as long as the pin, or as
    /// something is made of them.
    pub async fn pull_layers(
        &self,
        registry: &Registry,
        reference: &Reference,
        image: &RemoteImage,
        progress: &dyn Fn(PullEvent),
    ) -> Result<Pin, PullError> {
        registry
            .over(reference, Access::Pull, async |from: &Repository| {
                self.fetch(from, &image.manifest, &image.config, progress)
                    .await
            })
            .await
    }

    async fn fetch(
        &self,
        from: &Repository,
        manifest: &Manifest,
        config: &ImageConfig,
        progress: &dyn Fn(PullEvent),
    ) -> Result<Pin, PullError> {
        let diff_ids = &config.rootfs.diff_ids;
        let chain = chain_ids(diff_ids);
        let pin = self.pin(&chain);
        let present = chain
            .iter()
            .take_while(|chain| self.graph().get(chain).is_some())
            .count();
        let tell = |layer: &Descriptor, (status, bytes): Told| {
            progress(PullEvent::Layer {
                digest: layer.digest,
                status,
                progress: bytes,
            });
        };
        for (index, layer) in manifest.layers.iter().enumerate() {
            let status = match index < present {
                true => "Already exists",
                false => "Pulling fs layer",
            };
            tell(layer, (status.into(), None));
        }
        let wanted = &manifest.layers[present..];
        for layer in wanted.iter().skip(DOWNLOADS_MAX) {
            tell(layer, ("Waiting".into(), None));
        }
        // Downloads overlap; layers are unpacked in order, each on the one below it.
        let parts = wanted.iter().zip(&chain[present..]);
        let mut downloads = stream::iter(parts.map(|(layer, chain)| async move {
            let tell = |told| tell(layer, told);
            (layer, self.bring(from, layer, *chain, &tell).await)
        }))
        .buffered(DOWNLOADS_MAX);
        let mut parent = present.checked_sub(1).map(|last| chain[last]);
        for (diff_id, chain) in diff_ids.iter().zip(&chain).skip(present) {
            let Some((layer, brought)) = downloads.next().await else {
                break;
            };
            if let Some((claim, blob)) = brought? {
                let tell = |status: &'static str, bytes| {
                    claim.tell((status.into(), bytes));
                    tell(layer, (status.into(), bytes));
                };
                tell("Extracting", Some((0, layer.size)));
                let registered = self.graph().register(parent, *diff_id, blob.reader());
                registered.await.map_err(PullError::Layer)?;
                tell("Extracting", Some((layer.size, layer.size)));
                tell("Pull complete", None);
            }
            self.note_seen(diff_id, layer.digest, from.reference().name());
            parent = Some(*chain);
        }
        drop(downloads);
        Ok(pin)
    }

    /// Brings a layer to the disk. `None`: somebody else did, and it is unpacked.
    async fn bring(
        &self,
        from: &Repository,
        layer: &Descriptor,
        chain: Digest,
        tell: &dyn Fn(Told),
    ) -> Result<Option<(Claim, Download)>, RegistryError> {
        let claim = loop {
            if self.graph().get(&chain).is_some() {
                return Ok(None);
            }
            match self.claim(chain) {
                Ok(claim) => break claim,
                Err(other) => other.follow(tell).await,
            }
        };
        let both = |told: Told| {
            claim.tell(told.clone());
            tell(told);
        };
        let mut attempts = 0;
        let blob = loop {
            let seen = |seen| both(("Downloading".into(), Some((seen, layer.size))));
            match self.download(from, layer, &seen).await {
                Ok(blob) => break blob,
                Err(error) if error.is_transport() && attempts < RETRIES_MAX => {
                    attempts += 1;
                    self.wait_to_retry(attempts, &both).await;
                }
                Err(error) => return Err(error),
            }
        };
        both(("Verifying Checksum".into(), None));
        both(("Download complete".into(), None));
        Ok(Some((claim, blob)))
    }

    /// Waits before the next attempt, longer each time, and counts the seconds aloud.
    pub(crate) async fn wait_to_retry(&self, attempt: u64, tell: &dyn Fn(Told)) {
        for left in (1..=attempt * RETRY_SECONDS).rev() {
            let plural = if left == 1 { "" } else { "s" };
            tell((format!("Retrying in {left} second{plural}").into(), None));
            self.os().clock().sleep(1_000_000_000).await;
        }
    }

    /// Downloads a layer to the disk.
    async fn download(
        &self,
        from: &Repository,
        layer: &Descriptor,
        seen: &dyn Fn(u64),
    ) -> Result<Download, RegistryError> {
        let failed = |(operation, error)| RegistryError::Keep(operation, error);
        let mut blob = Download::new(self.os(), self.root()).map_err(failed)?;
        let keep = |bytes: &[u8]| blob.write(bytes).map_err(failed);
        from.blob_to(layer, keep, seen).await?;
        Ok(blob)
    }
}
