//! Descriptors, image indexes and image manifests.
//!
//! [`ManifestDocument::parse`] is the one way in from bytes: it decides by the body what a
//! document is, bounds what it lists, and refuses what this client cannot use with Docker's text.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::media_type::MediaType;
use crate::null_default;
use crate::platform::Platform;

/// The largest manifest or index a client reads, as in Docker.
pub const MANIFEST_SIZE_MAX: usize = 4 << 20;
/// More layers than this cannot be mounted; Docker's own limit is 128.
pub const LAYER_COUNT_MAX: usize = 256;

/// Annotation keys.
pub mod annotation {
    /// SHA-256 of an eStargz layer's uncompressed table of contents.
    pub const TOC_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";
    /// Where the table of contents of an eStargz layer begins, which else only its footer says; ours.
    pub const TOC_OFFSET: &str = "drydock.stargz.toc.offset";
    /// Uncompressed size of a layer, as stargz tools write it.
    pub const UNCOMPRESSED_SIZE: &str = "io.containers.estargz.uncompressed-size";
    /// Human title.
    pub const TITLE: &str = "org.opencontainers.image.title";
    /// Human description.
    pub const DESCRIPTION: &str = "org.opencontainers.image.description";
    /// The name a manifest goes by in an OCI layout.
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
}

/// A typed pointer to content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The platform, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free annotations.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// Describes `bytes`.
    pub fn of(media_type: &str, bytes: &[u8]) -> Descriptor {
        Descriptor {
            media_type: media_type.to_string(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            platform: None,
            annotations: BTreeMap::new(),
        }
    }

    /// The digest of the eStargz table of contents, if the layer is declared to have one.
    pub fn toc_digest(&self) -> Option<Digest> {
        self.annotations.get(annotation::TOC_DIGEST)?.parse().ok()
    }

    /// Where the table of contents of an eStargz layer begins.
    #[must_use]
    pub fn toc_offset(&self) -> Option<u64> {
        self.annotations.get(annotation::TOC_OFFSET)?.parse().ok()
    }
}

/// An image index (or Docker manifest list): one image for several platforms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// [`MediaType::INDEX`] or [`MediaType::DOCKER_LIST`]; OCI allows leaving it out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The manifests, in order of preference.
    #[serde(default, deserialize_with = "null_default")]
    pub manifests: Vec<Descriptor>,
    /// Free annotations.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// An OCI index of `manifests`.
    pub fn new(manifests: Vec<Descriptor>) -> Index {
        Index {
            schema_version: 2,
            media_type: MediaType::INDEX.to_string(),
            manifests,
            annotations: BTreeMap::new(),
        }
    }

    /// The first manifest that runs on `host`. Attestations (`unknown/unknown`) never match.
    pub fn select(&self, host: &Platform) -> Option<&Descriptor> {
        self.manifests
            .iter()
            .find(|manifest| match &manifest.platform {
                Some(platform) => platform.runs_on(host),
                // A single manifest without a platform: its config decides.
                None => self.manifests.len() == 1,
            })
    }
}

/// An image manifest: a config and the layers, base first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// [`MediaType::MANIFEST`] or [`MediaType::DOCKER_MANIFEST`]; OCI allows leaving it out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The image config.
    pub config: Descriptor,
    /// The layers, base first.
    #[serde(default, deserialize_with = "null_default")]
    pub layers: Vec<Descriptor>,
    /// Free annotations.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// An OCI manifest.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
        Manifest {
            schema_version: 2,
            media_type: MediaType::MANIFEST.to_string(),
            config,
            layers,
            annotations: BTreeMap::new(),
        }
    }
}

/// What a `manifests/` answer can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestDocument {
    /// Several platforms.
    Index(Index),
    /// One image.
    Manifest(Manifest),
}

/// Why a manifest document cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// Larger than [`MANIFEST_SIZE_MAX`].
    TooLarge(usize),
    /// Not JSON, or not of the document's shape.
    Malformed(String),
    /// Docker's schema 1, given up by Docker as well.
    SchemaOne,
    /// A schema version nobody defined.
    SchemaVersion(u64),
    /// A media type that is neither index nor manifest.
    MediaType(String),
    /// More layers than can be mounted.
    LayerCount(usize),
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ManifestError::TooLarge(size) => {
                write!(
                    f,
                    "manifest of {size} bytes is larger than {MANIFEST_SIZE_MAX}"
                )
            }
            ManifestError::Malformed(reason) => write!(f, "invalid manifest: {reason}"),
            ManifestError::SchemaOne => f.write_str(
                "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support \
                 has been removed",
            ),
            ManifestError::SchemaVersion(version) => {
                write!(f, "unsupported schema version {version}")
            }
            ManifestError::MediaType(media_type) => {
                write!(
                    f,
                    "unsupported manifest media type and no default available: {media_type}"
                )
            }
            ManifestError::LayerCount(count) => {
                write!(
                    f,
                    "max depth exceeded: {count} layers, at most {LAYER_COUNT_MAX}"
                )
            }
        }
    }
}

impl std::error::Error for ManifestError {}

impl ManifestDocument {
    /// Reads an index or a manifest.
    pub fn parse(bytes: &[u8]) -> Result<ManifestDocument, ManifestError> {
        if bytes.len() > MANIFEST_SIZE_MAX {
            return Err(ManifestError::TooLarge(bytes.len()));
        }
        let head: Head = from_json(bytes)?;
        match head.schema_version {
            2 => {}
            1 => return Err(ManifestError::SchemaOne),
            other => return Err(ManifestError::SchemaVersion(other)),
        }
        let is_index = match head.media_type.as_str() {
            "" => head.manifests.is_some(),
            media_type if MediaType::is_index(media_type) => true,
            media_type if MediaType::is_manifest(media_type) => false,
            media_type => return Err(ManifestError::MediaType(media_type.to_string())),
        };
        // A document that is both would be read differently by different clients.
        let both = if is_index {
            head.layers.is_some()
        } else {
            head.manifests.is_some()
        };
        if both {
            return Err(ManifestError::Malformed(
                "both layers and manifests are set".to_string(),
            ));
        }
        if is_index {
            return Ok(ManifestDocument::Index(from_json(bytes)?));
        }
        let manifest: Manifest = from_json(bytes)?;
        if manifest.layers.len() > LAYER_COUNT_MAX {
            return Err(ManifestError::LayerCount(manifest.layers.len()));
        }
        Ok(ManifestDocument::Manifest(manifest))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    schema_version: u64,
    #[serde(default, deserialize_with = "null_default")]
    media_type: String,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
}

fn from_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ManifestError> {
    serde_json::from_slice(bytes).map_err(|error| ManifestError::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str) -> String {
        let digest = Digest::of(b"");
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":0,"unknown":[1]}}"#)
    }

    #[test]
    fn documents() {
        let config = descriptor(MediaType::CONFIG);
        let layer = descriptor(MediaType::LAYER_GZIP);
        let many = vec![layer.clone(); LAYER_COUNT_MAX + 1].join(",");
        let of = |media_type: &str, body: &str| {
            format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}",{body}}}"#)
        };
        let manifest = format!(r#""config":{config},"layers":[{layer}]"#);
        let cases: &[(String, Result<&str, &str>)] = &[
            (of(MediaType::MANIFEST, &manifest), Ok("manifest")),
            (of(MediaType::DOCKER_MANIFEST, &manifest), Ok("manifest")),
            (
                format!(r#"{{"schemaVersion":2,{manifest}}}"#),
                Ok("manifest"),
            ),
            (of(MediaType::INDEX, r#""manifests":[]"#), Ok("index")),
            (
                of(MediaType::DOCKER_LIST, r#""manifests":null"#),
                Ok("index"),
            ),
            (
                r#"{"schemaVersion":2,"manifests":[]}"#.to_string(),
                Ok("index"),
            ),
            (
                of(
                    MediaType::MANIFEST,
                    &format!(r#""config":{config},"layers":null"#),
                ),
                Ok("manifest"),
            ),
            ("".to_string(), Err("invalid manifest: EOF")),
            ("[]".to_string(), Err("invalid manifest: ")),
            (
                r#"{"schemaVersion":1}"#.to_string(),
                Err("Docker Image Format v1"),
            ),
            (
                r#"{"schemaVersion":3}"#.to_string(),
                Err("unsupported schema version 3"),
            ),
            (
                of("text/html", r#""a":1"#),
                Err("unsupported manifest media type"),
            ),
            (
                of(MediaType::MANIFEST, r#""layers":[]"#),
                Err("invalid manifest: missing field `config`"),
            ),
            (
                of(
                    MediaType::MANIFEST,
                    &format!(r#"{manifest},"manifests":[]"#),
                ),
                Err("invalid manifest: both"),
            ),
            (
                of(
                    MediaType::MANIFEST,
                    &format!(r#""config":{config},"layers":[{many}]"#),
                ),
                Err("max depth"),
            ),
            (
                of(
                    MediaType::MANIFEST,
                    r#""config":{"digest":"sha256:../x","size":1},"layers":[]"#,
                ),
                Err("invalid manifest: invalid checksum"),
            ),
            (
                of(
                    MediaType::MANIFEST,
                    &format!(
                        r#""config":{},"layers":[]"#,
                        config.replace("\"size\":0", "\"size\":-1")
                    ),
                ),
                Err("invalid manifest: invalid value"),
            ),
        ];
        for (text, expected) in cases {
            let kind = ManifestDocument::parse(text.as_bytes()).map(|document| match document {
                ManifestDocument::Index(_) => "index",
                ManifestDocument::Manifest(_) => "manifest",
            });
            match (kind, expected) {
                (Ok(kind), Ok(expected)) => assert_eq!(kind, *expected, "{text}"),
                (Err(error), Err(start)) => {
                    assert!(error.to_string().starts_with(start), "{text}: {error}");
                }
                (kind, _) => panic!("{text}: {kind:?}"),
            }
        }
    }

    #[test]
    fn platform_selection() {
        let entry = |platform: Option<&str>| Descriptor {
            platform: platform.and_then(Platform::parse),
            ..Descriptor::of(MediaType::MANIFEST, platform.unwrap_or_default().as_bytes())
        };
        let select = |platforms: &[Option<&str>]| {
            let index = Index::new(platforms.iter().map(|p| entry(*p)).collect());
            let digest = index.select(&Platform::host())?.digest;
            index
                .manifests
                .iter()
                .position(|manifest| manifest.digest == digest)
        };
        assert_eq!(
            select(&[Some("linux/amd64"), Some("linux/riscv64")]),
            Some(1)
        );
        assert_eq!(
            select(&[Some("linux/amd64"), Some("unknown/unknown")]),
            None
        );
        assert_eq!(select(&[None]), Some(0));
        assert_eq!(select(&[]), None);
    }

    #[test]
    fn emitted_documents_read_back() {
        let config = Descriptor::of(MediaType::CONFIG, b"{}");
        let mut layer = Descriptor::of(MediaType::LAYER_GZIP, b"");
        let toc = Digest::of(b"toc");
        layer
            .annotations
            .insert(annotation::TOC_DIGEST.to_string(), toc.to_string());
        assert_eq!(layer.toc_digest(), Some(toc));
        let manifest = Manifest::new(config, vec![layer]);
        let bytes = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(
            ManifestDocument::parse(&bytes),
            Ok(ManifestDocument::Manifest(manifest))
        );
    }
}
