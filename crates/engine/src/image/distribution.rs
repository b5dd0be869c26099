//! `GET /distribution/{name}/json`: what a registry has under a name, without pulling it.

use engine_api::error::{ApiError, Result};
use engine_api::json;
use layers::registry::{Access, RegistryError, Repository};
use oci::{ImageConfig, ManifestDocument, Platform, Reference};
use serde_json::{Value, json as value};
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

fn platform(platform: &Platform) -> Value {
    let mut shown = value!({ "architecture": platform.architecture, "os": platform.os });
    if let Some(variant) = &platform.variant {
        shown["variant"] = value!(variant);
    }
    shown
}

impl Engine {
    /// The operation.
    pub(crate) async fn distribution_inspect(&self, context: Context) -> Result<Response> {
        let reference = Reference::parse(context.param(0));
        let reference = reference.map_err(|error| ApiError::invalid(error.to_string()))?;
        let reference = &reference.with_default_tag();
        let registry = self.registry.with_credentials(context.credentials());
        let answer = registry.over(reference, Access::Pull, async |from: &Repository| {
            let (document, digest, bytes) = from.manifest(reference).await?;
            let (kind, platforms) = match document {
                ManifestDocument::Index(index) => {
                    let platforms = index.manifests.iter();
                    let platforms = platforms.filter_map(|manifest| manifest.platform.as_ref());
                    (index.media_type, platforms.map(platform).collect())
                }
                ManifestDocument::Manifest(manifest) => {
                    let raw = from.blob(&manifest.config).await?;
                    let config: ImageConfig = serde_json::from_slice(&raw).unwrap_or_default();
                    let one = value!({ "architecture": config.architecture, "os": config.os });
                    (manifest.media_type, vec![one])
                }
            };
            Ok::<_, RegistryError>(value!({
                "Descriptor": { "mediaType": kind, "digest": digest.to_string(), "size": bytes.len() },
                "Platforms": platforms,
            }))
        });
        let answer = answer.await.map_err(|error| {
            let text = error.of_pull(reference);
            match error {
                error if error.is_not_found() => ApiError::not_found(text),
                _ => ApiError::system(text),
            }
        });
        Ok(json::emit(200, &answer?))
    }
}
