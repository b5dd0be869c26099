//! `docker push`: from an image of the store to a repository.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::StreamExt;
use futures_util::future::join;
use futures_util::stream;
use oci::{Digest, Hasher, MediaType, Reference};
use serve::{Body, BodyError, BodySender};

use crate::metadata::Seen;
use crate::pull::RETRIES_MAX;
use crate::registry::{RegistryError, Repository};
use crate::store::{Image, Store, StoreError};
use crate::transfer::Told;

/// Layers uploaded at a time (Docker's `max-concurrent-uploads`).
const UPLOADS_MAX: usize = 5;
/// Bytes of a tar compressed at a time.
const CHUNK: usize = 64 * 1024;
/// Other repositories of the registry that a large, a middling and a small layer may be mounted from.
const MOUNTS_MAX: [(u64, usize); 3] = [(100 << 20, 4), (10 << 20, 3), (0, 1)];

/// A layer's state changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PushEvent {
    /// The first twelve digits of the layer's own digest.
    pub id: String,
    /// `Preparing`, `Waiting`, `Pushing`, `Pushed`, `Layer already exists`, `Mounted from NAME`.
    pub status: Cow<'static, str>,
    /// Bytes done and in all, where the status has them.
    pub progress: Option<(u64, u64)>,
}

/// Why a push failed. The texts are Docker's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PushError {
    /// The registry.
    Registry(RegistryError),
    /// The store.
    Store(StoreError),
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Docker tells of the cause alone.
            PushError::Registry(RegistryError::NoCredentials(_)) => {
                f.write_str(RegistryError::NO_CREDENTIALS)
            }
            PushError::Registry(error) => error.fmt(f),
            PushError::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PushError {}

impl From<RegistryError> for PushError {
    fn from(error: RegistryError) -> PushError {
        PushError::Registry(error)
    }
}

impl From<StoreError> for PushError {
    fn from(error: StoreError) -> PushError {
        PushError::Store(error)
    }
}

/// A blob that a registry has.
#[derive(Clone, Copy)]
struct Blob {
    digest: Digest,
    size: u64,
}

fn corrupt(error: io::Error) -> PushError {
    PushError::Store(StoreError::Corrupt(error.to_string()))
}

impl Store {
    /// Pushes an image under the tag of `reference`; gives digest and size of its manifest.
    pub async fn push(
        &self,
        to: &Repository,
        image: &Image,
        reference: &Reference,
        progress: &dyn Fn(PushEvent),
    ) -> Result<(Digest, u64), PushError> {
        let pin = self.pin(&image.chain);
        let diff_ids = &image.config.rootfs.diff_ids;
        let tell = |diff_id: &Digest, (status, bytes): Told| {
            progress(PushEvent {
                id: diff_id.short(),
                status,
                progress: bytes,
            });
        };
        // Docker begins at the top. A layer that an image has twice is sent once.
        let mut layers: Vec<(Digest, Digest)> = Vec::new();
        for pair in diff_ids.iter().copied().zip(image.chain.iter().copied()) {
            if !layers.iter().any(|(known, _)| *known == pair.0) {
                layers.push(pair);
            }
        }
        layers.reverse();
        for (diff_id, _) in &layers {
            tell(diff_id, ("Preparing".into(), None));
        }
        for (diff_id, _) in layers.iter().skip(UPLOADS_MAX) {
            tell(diff_id, ("Waiting".into(), None));
        }
        let mut uploads = stream::iter(layers.iter().map(|(diff_id, chain)| async move {
            let tell = |told| tell(diff_id, told);
            let blob = self.push_layer(to, diff_id, chain, &tell).await;
            blob.map(|blob| (*diff_id, blob))
        }))
        .buffer_unordered(UPLOADS_MAX);
        let mut blobs = BTreeMap::new();
        while let Some(pushed) = uploads.next().await {
            let (diff_id, blob) = pushed?;
            blobs.insert(diff_id, blob);
        }
        drop(uploads);
        let raw = self.raw_config(&image.id)?;
        let config = Blob {
            digest: image.id,
            size: raw.len() as u64,
        };
        push_config(to, &image.id, raw).await?;
        let manifest = manifest(&config, diff_ids.iter().filter_map(|id| blobs.get(id)));
        let (digest, size) = (Digest::of(manifest.as_bytes()), manifest.len() as u64);
        let tag = reference.tag().unwrap_or("latest");
        to.put_manifest(tag, MediaType::DOCKER_MANIFEST, manifest.into_bytes())
            .await?;
        self.add_digest(reference, image.id, digest)?;
        drop(pin);
        Ok((digest, size))
    }

    /// Sees to it that the registry has a layer.
    async fn push_layer(
        &self,
        to: &Repository,
        diff_id: &Digest,
        chain: &Digest,
        tell: &dyn Fn(Told),
    ) -> Result<Blob, PushError> {
        let name = to.reference().name();
        let known = self.seen_as(diff_id);
        let exists = |digest: Digest, size: u64| {
            tell(("Layer already exists".into(), None));
            Ok(Blob { digest, size })
        };
        let mut asked = false;
        for seen in known.iter().rev() {
            if seen.source_repository != name {
                continue;
            }
            asked = true;
            if let Some(size) = to.blob_size(&seen.digest).await? {
                return exists(seen.digest, size);
            }
            self.forget_seen(diff_id, seen);
        }
        // Somebody else may have put there what another repository of this registry has it as.
        let domain = to.reference().domain();
        let other = known.iter().rev().find(|seen| {
            let source = Reference::parse(&seen.source_repository);
            source.is_ok_and(|source| source.domain() == domain)
        });
        if let Some(seen) = other.filter(|_| !asked)
            && let Ok(Some(size)) = to.blob_size(&seen.digest).await
        {
            self.note_seen(diff_id, seen.digest, name);
            return exists(seen.digest, size);
        }
        if let Some(blob) = self.mount_layer(to, diff_id, chain, &known, tell).await? {
            return Ok(blob);
        }
        let mut attempts = 0;
        let blob = loop {
            match self.upload_layer(to, chain, tell).await {
                Ok(blob) => break blob,
                Err(PushError::Registry(error))
                    if error.is_transport() && attempts < RETRIES_MAX =>
                {
                    attempts += 1;
                    self.wait_to_retry(attempts, tell).await;
                }
                Err(error) => return Err(error),
            }
        };
        tell(("Pushed".into(), None));
        self.note_seen(diff_id, blob.digest, name);
        Ok(blob)
    }

    /// Takes a layer over from another repository of the same registry, if one has it.
    async fn mount_layer(
        &self,
        to: &Repository,
        diff_id: &Digest,
        chain: &Digest,
        known: &[Seen],
        tell: &dyn Fn(Told),
    ) -> Result<Option<Blob>, PushError> {
        let domain = to.reference().domain();
        let size = self.graph().get(chain).map_or(0, |layer| layer.size);
        let limit = MOUNTS_MAX.iter().find(|(from, _)| size >= *from);
        let sources = known.iter().rev().filter_map(|seen| {
            let source = Reference::parse(&seen.source_repository).ok()?;
            let other = source.domain() == domain && source.path() != to.reference().path();
            other.then_some((seen, source))
        });
        for (seen, source) in sources.take(limit.map_or(0, |(_, mounts)| *mounts)) {
            let mounted = to
                .start_upload(Some((&seen.digest, source.path())))
                .await?
                .is_none();
            if !mounted {
                continue;
            }
            if let Some(size) = to.blob_size(&seen.digest).await? {
                tell((format!("Mounted from {}", source.path()).into(), None));
                let digest = seen.digest;
                self.note_seen(diff_id, digest, to.reference().name());
                return Ok(Some(Blob { digest, size }));
            }
        }
        Ok(None)
    }

    async fn upload_layer(
        &self,
        to: &Repository,
        chain: &Digest,
        tell: &dyn Fn(Told),
    ) -> Result<Blob, PushError> {
        let tar = self.graph().tar(chain).map_err(corrupt)?;
        let Some(url) = to.start_upload(None).await? else {
            let broken = "the registry says it has what it was not asked for";
            return Err(RegistryError::Transport(broken.to_string()).into());
        };
        let total = tar.size();
        tell(("Pushing".into(), Some((0, total))));
        let (sender, body) = Body::channel();
        let seen = |seen| tell(("Pushing".into(), Some((seen, total))));
        let compressing = self.compress(tar, sender, &seen);
        let (answer, blob) = join(to.upload(&url, body), compressing).await;
        // An answer that came early is why the rest could not be sent.
        let url = answer?;
        let blob = blob?;
        to.end_upload(&url, &blob.digest).await?;
        Ok(blob)
    }

    /// Sends a layer's tar compressed.
    async fn compress(
        &self,
        mut tar: impl Read,
        sender: BodySender,
        seen: &dyn Fn(u64),
    ) -> Result<Blob, PushError> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let mut hasher = Hasher::new();
        let (mut buf, mut done) = (vec![0; CHUNK], 0);
        loop {
            let count = match tar.read(&mut buf) {
                Ok(count) => count,
                Err(error) => {
                    sender.abort(BodyError::Aborted);
                    return Err(corrupt(error));
                }
            };
            // Writing to memory does not fail.
            let _ = encoder.write_all(&buf[..count]);
            if count == 0 {
                let rest = encoder.finish().unwrap_or_default();
                hasher.update(&rest);
                let _ = sender.send(rest).await;
                break;
            }
            let ready = std::mem::take(encoder.get_mut());
            hasher.update(&ready);
            if sender.send(ready).await.is_err() {
                break;
            }
            done += count as u64;
            seen(done);
            crate::pause(self.os()).await;
        }
        Ok(Blob {
            size: hasher.size(),
            digest: hasher.finish(),
        })
    }
}

async fn push_config(to: &Repository, id: &Digest, raw: Vec<u8>) -> Result<(), RegistryError> {
    if to.blob_size(id).await?.is_some() {
        return Ok(());
    }
    let Some(url) = to.start_upload(None).await? else {
        return Ok(());
    };
    let url = to.upload(&url, raw.into()).await?;
    to.end_upload(&url, id).await
}

/// A manifest as Docker writes it: its digest depends on every space.
fn manifest<'a>(config: &Blob, layers: impl Iterator<Item = &'a Blob>) -> String {
    let object = |media_type: &str, blob: &Blob, indent: &str| {
        format!(
            "{{\n{indent}   \"mediaType\": \"{media_type}\",\n{indent}   \"size\": {},\n{indent}   \
             \"digest\": \"{}\"\n{indent}}}",
            blob.size, blob.digest
        )
    };
    let layers: Vec<String> = layers
        .map(|blob| format!("      {}", object(MediaType::DOCKER_LAYER, blob, "      ")))
        .collect();
    let layers = match layers.is_empty() {
        true => "[]".to_string(),
        false => format!("[\n{}\n   ]", layers.join(",\n")),
    };
    format!(
        "{{\n   \"schemaVersion\": 2,\n   \"mediaType\": \"{}\",\n   \"config\": {},\n   \"layers\": {layers}\n}}",
        MediaType::DOCKER_MANIFEST,
        object(MediaType::DOCKER_CONFIG, config, "   "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_of_one_layer_has_528_bytes() {
        let blob = |size| Blob {
            digest: Digest::of(b""),
            size,
        };
        let text = manifest(&blob(1469), [blob(2_811_478)].iter());
        assert_eq!(text.len(), 528);
        let read = oci::ManifestDocument::parse(text.as_bytes()).unwrap();
        assert!(matches!(read, oci::ManifestDocument::Manifest(read) if read.layers.len() == 1));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["config"]["size"], 1469);
    }
}
