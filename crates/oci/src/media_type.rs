//! Media types of manifests, configs and layers, OCI's and Docker's.
//!
//! Dispatch goes by the `mediaType` inside a document or its descriptor, never by an HTTP header:
//! a plain file server does not know what it serves.

/// Media type strings.
#[derive(Clone, Copy, Debug)]
pub struct MediaType;

impl MediaType {
    /// OCI image index.
    pub const INDEX: &'static str = "application/vnd.oci.image.index.v1+json";
    /// OCI image manifest.
    pub const MANIFEST: &'static str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image config.
    pub const CONFIG: &'static str = "application/vnd.oci.image.config.v1+json";
    /// OCI layer, uncompressed tar.
    pub const LAYER: &'static str = "application/vnd.oci.image.layer.v1.tar";
    /// OCI layer, gzip; eStargz layers have this type too.
    pub const LAYER_GZIP: &'static str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// OCI layer, zstd.
    pub const LAYER_ZSTD: &'static str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker manifest list.
    pub const DOCKER_LIST: &'static str =
        "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker image manifest, schema 2.
    pub const DOCKER_MANIFEST: &'static str =
        "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker image config.
    pub const DOCKER_CONFIG: &'static str = "application/vnd.docker.container.image.v1+json";
    /// Docker layer, gzip.
    pub const DOCKER_LAYER: &'static str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker layer, uncompressed.
    pub const DOCKER_LAYER_TAR: &'static str = "application/vnd.docker.image.rootfs.diff.tar";

    /// Whether a document of this type lists manifests.
    pub fn is_index(media_type: &str) -> bool {
        matches!(media_type, MediaType::INDEX | MediaType::DOCKER_LIST)
    }

    /// Whether a document of this type is an image manifest.
    pub fn is_manifest(media_type: &str) -> bool {
        matches!(media_type, MediaType::MANIFEST | MediaType::DOCKER_MANIFEST)
    }

    /// How a layer of this type is compressed; `None` if it is no layer type.
    pub fn layer_compression(media_type: &str) -> Option<Compression> {
        Some(match media_type {
            MediaType::LAYER | MediaType::DOCKER_LAYER_TAR => Compression::None,
            MediaType::LAYER_GZIP | MediaType::DOCKER_LAYER => Compression::Gzip,
            MediaType::LAYER_ZSTD => Compression::Zstd,
            // Deprecated but still found: layers that may not be pushed elsewhere.
            "application/vnd.oci.image.layer.nondistributable.v1.tar" => Compression::None,
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Compression::Gzip,
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd" => Compression::Zstd,
            _ => return None,
        })
    }
}

/// How a layer's tar is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Plain tar.
    None,
    /// gzip, possibly of several members.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// Judges by the first bytes, for archives that come without a media type (`docker load`).
    pub fn detect(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_types() {
        let cases = [
            (MediaType::LAYER, Some(Compression::None)),
            (MediaType::LAYER_GZIP, Some(Compression::Gzip)),
            (MediaType::LAYER_ZSTD, Some(Compression::Zstd)),
            (MediaType::DOCKER_LAYER, Some(Compression::Gzip)),
            (MediaType::CONFIG, None),
            ("", None),
        ];
        for (media_type, compression) in cases {
            assert_eq!(
                MediaType::layer_compression(media_type),
                compression,
                "{media_type}"
            );
        }
        assert_eq!(Compression::detect(&[0x1f, 0x8b, 8]), Compression::Gzip);
        assert_eq!(
            Compression::detect(&[0x28, 0xb5, 0x2f, 0xfd]),
            Compression::Zstd
        );
        assert_eq!(Compression::detect(b"usr/"), Compression::None);
    }
}
