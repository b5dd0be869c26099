//! OCI digests, image references, and image and distribution documents.
//!
//! Only data: parsing, validating and emitting. Nothing here fetches, stores or unpacks; that is
//! crate `layers`. Sources: the OCI image-spec and distribution-spec, Docker's image manifest v2
//! schema 2, and the grammar and error texts of `distribution/reference`.
//!
//! Unknown JSON fields are tolerated everywhere, and Go's `null` for an empty list or map reads as
//! empty, because Docker writes both.

mod reference;

mod digest;

mod config;
mod manifest;
mod media_type;
mod platform;

mod distribution;
mod static_registry;

pub use config::{ContainerConfig, Empty, Healthcheck, History, ImageConfig, RootFs};
pub use digest::{Digest, DigestError, Hasher, Verifier, VerifyError};
pub use distribution::{ApiError, Catalog, CatalogImage, ErrorBody, TagList};
pub use manifest::{
    Descriptor, Index, LAYER_COUNT_MAX, MANIFEST_SIZE_MAX, Manifest, ManifestDocument,
    ManifestError, annotation,
};
pub use media_type::{Compression, MediaType};
pub use platform::Platform;
pub use reference::{DEFAULT_DOMAIN, DEFAULT_TAG, Reference, ReferenceError};
pub use static_registry::{blob_path, catalog_path, static_path, static_repository, tag_path};

/// Reads `null` as the type's default. Go encodes empty slices and maps that way.
pub(crate) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or_default())
}
