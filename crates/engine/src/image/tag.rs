//! `POST /images/{name}/tag`.

use engine_api::error::{ApiError, Result};
use engine_api::json;
use oci::Reference;
use serve::{Body, Response};

use super::store_error;
use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation.
    pub(crate) async fn image_tag(&self, context: Context) -> Result<Response> {
        let image = self
            .find_image(context.param(0))
            .map_err(|error| ApiError::not_found(error.message))?;
        let (repo, tag) = (context.query.text("repo"), context.query.text("tag"));
        if repo.is_empty() {
            return Ok(json::response(200, Body::empty(), None));
        }
        let reference = tag_reference(repo, tag)?;
        self.store.tag(&image.id, &reference).map_err(store_error)?;
        self.image_event("tag", &image.id.to_string(), &reference.familiar());
        Ok(json::response(201, Body::empty(), None))
    }
}

/// The name an image gets.
pub(crate) fn tag_reference(repo: &str, tag: &str) -> Result<Reference> {
    let invalid = |error: oci::ReferenceError| ApiError::invalid(error.to_string());
    let reference = Reference::parse(repo).map_err(invalid)?;
    if reference.familiar_name() == "sha256" {
        return Err(ApiError::invalid(
            "refusing to create an ambiguous tag using digest algorithm as name",
        ));
    }
    if reference.digest().is_some() {
        return Err(ApiError::invalid(
            "refusing to create a tag with a digest reference",
        ));
    }
    match tag {
        "" => Ok(reference.with_default_tag()),
        tag => reference
            .with_tag(tag)
            .map_err(|_| ApiError::invalid("invalid tag format")),
    }
}
