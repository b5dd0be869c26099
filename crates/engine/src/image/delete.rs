//! `DELETE /images/{name}`: a name goes, and with the last name the image.

use engine_api::error::{ApiError, Result};
use engine_api::image::delete::Delete;
use engine_api::json;
use engine_api::types::DeletedImage;
use layers::{Image, Removed};
use oci::Reference;
use serve::Response;

use super::store_error;
use crate::Engine;
use crate::dispatch::Context;

fn shown(removed: Vec<Removed>) -> impl Iterator<Item = DeletedImage> {
    removed.into_iter().map(|item| match item {
        Removed::Untagged(name) => DeletedImage::Untagged(name),
        Removed::Deleted(digest) => DeletedImage::Deleted(digest.to_string()),
    })
}

/// `image` as `docker rmi` names it when it refuses: the short id.
fn short(image: &Image) -> String {
    image.id.hex()[..12].to_string()
}

impl Engine {
    /// The operation.
    pub(crate) async fn image_delete(&self, context: Context) -> Result<Response> {
        let typed = context.param(0);
        let image = self.find_image(typed)?;
        let delete = Delete::parse(&context.query);
        Ok(json::emit(
            200,
            &self.delete_image(typed, &image, delete.force)?,
        ))
    }

    /// The name that was typed, if it is one and not an id.
    fn typed_name(&self, typed: &str, image: &Image) -> Option<String> {
        let reference = Reference::parse(typed).ok()?;
        let name = match reference.digest() {
            Some(digest) => reference.with_digest(digest).familiar(),
            None => reference.with_default_tag().familiar(),
        };
        image
            .repo_tags
            .iter()
            .chain(&image.repo_digests)
            .find(|known| **known == name)
            .cloned()
    }

    fn delete_image(&self, typed: &str, image: &Image, force: bool) -> Result<Vec<DeletedImage>> {
        let by_name = self.typed_name(typed, image);
        let containers = self.containers_of(image);
        let mut done = Vec::new();
        if let Some(name) = &by_name {
            let others = image.repo_tags.iter().filter(|tag| *tag != name).count();
            let last = others == 0 || name.contains('@') && image.repo_tags.is_empty();
            if last
                && !force
                && let Some(container) = containers.first()
            {
                return Err(ApiError::conflict(format!(
                    "conflict: unable to remove repository reference \"{typed}\" (must force) - container {} is \
                     using its referenced image {}",
                    container.short_id(),
                    short(image)
                )));
            }
            done.extend(self.untag(name, image)?);
            if !last || !containers.is_empty() {
                return Ok(done);
            }
        } else {
            let repositories: std::collections::BTreeSet<String> = image
                .repo_tags
                .iter()
                .filter_map(|tag| Some(Reference::parse(tag).ok()?.familiar_name()))
                .collect();
            if repositories.len() > 1 && !force {
                return Err(ApiError::conflict(format!(
                    "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
                    short(image)
                )));
            }
            if let Some(running) = containers.iter().find(|container| container.is_running()) {
                return Err(ApiError::conflict(format!(
                    "conflict: unable to delete {} (cannot be forced) - image is being used by running container {}",
                    short(image),
                    running.short_id()
                )));
            }
            if !force && let Some(container) = containers.first() {
                return Err(ApiError::conflict(format!(
                    "conflict: unable to delete {} (must be forced) - image is being used by stopped container {}",
                    short(image),
                    container.short_id()
                )));
            }
            for name in image.repo_tags.iter().chain(&image.repo_digests) {
                done.extend(self.untag(name, image)?);
            }
        }
        let removed = self.store.remove_image(&image.id).map_err(store_error)?;
        self.image_event("delete", &image.id.to_string(), &image.id.to_string());
        done.extend(shown(removed));
        Ok(done)
    }

    fn untag(&self, name: &str, image: &Image) -> Result<Vec<DeletedImage>> {
        let removed = self.store.untag(name).map_err(store_error)?;
        for item in &removed {
            if let Removed::Untagged(_) = item {
                self.image_event("untag", &image.id.to_string(), &image.id.to_string());
            }
        }
        Ok(shown(removed).collect())
    }

    /// Removes an image nobody names and no container has; for prune.
    pub(crate) fn prune_image(&self, image: &Image) -> Result<Vec<DeletedImage>> {
        let mut done = Vec::new();
        for name in image.repo_tags.iter().chain(&image.repo_digests) {
            done.extend(self.untag(name, image)?);
        }
        done.extend(shown(
            self.store.remove_image(&image.id).map_err(store_error)?,
        ));
        self.image_event("delete", &image.id.to_string(), &image.id.to_string());
        Ok(done)
    }
}
