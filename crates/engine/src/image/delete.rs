//! `DELETE /images/{name}`: a name goes, and with the last name the image.

use engine_api::error::{ApiError, Result};
use engine_api::image::delete::Delete;
use engine_api::image::platform::decode;
use engine_api::types::DeletedImage;
use engine_api::{Version, json};
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

/// One tag at most, and digests of its repository only.
fn single_reference(image: &Image) -> bool {
    let repository = |name: &String| Some(Reference::parse(name).ok()?.familiar_name());
    let repositories: std::collections::BTreeSet<_> = order::set(
        image
            .repo_tags
            .iter()
            .chain(&image.repo_digests)
            .map(repository),
    );
    image.repo_tags.len() <= 1 && repositories.len() == 1
}

impl Engine {
    /// The operation.
    pub(crate) async fn image_delete(&self, context: Context) -> Result<Response> {
        let typed = context.param(0);
        let platforms = match context.version < Version(1, 50) {
            true => Vec::new(),
            false => context.query.all("platforms").to_vec(),
        };
        let platforms: Vec<_> = platforms
            .iter()
            .map(|text| decode(text))
            .collect::<Result<_>>()?;
        let image = match platforms.as_slice() {
            [] => self.find_image(typed)?,
            wanted => {
                let image = self.find_image_for(typed, wanted.first())?;
                if wanted.len() > 1 {
                    self.find_image_for(typed, wanted.get(1))?;
                }
                image
            }
        };
        let delete = Delete::parse(&context.query);
        Ok(json::emit(200, &self.delete_image(typed, &image, delete)?))
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

    /// Why an image cannot be removed, if so.
    fn conflict(&self, image: &Image, references: bool, stopped: bool) -> Option<ApiError> {
        let containers = self.users_of_image(image);
        let refused = |how: &str, why: String| {
            Some(ApiError::conflict(format!(
                "conflict: unable to delete {} ({how}) - {why}",
                short(image)
            )))
        };
        if !self.store.children(&image.id).is_empty() {
            let why = "image has dependent child images";
            return refused("cannot be forced", why.to_string());
        }
        let running = containers.iter().find(|container| container.is_running());
        if let Some(container) = running {
            let why = "image is being used by running container";
            return refused(
                "cannot be forced",
                format!("{why} {}", container.short_id()),
            );
        }
        if references && !(image.repo_tags.is_empty() && image.repo_digests.is_empty()) {
            let why = "image is referenced in multiple repositories";
            return refused("must be forced", why.to_string());
        }
        let container = containers.first().filter(|_| stopped)?;
        let why = "image is being used by stopped container";
        refused("must be forced", format!("{why} {}", container.short_id()))
    }

    fn delete_image(
        &self,
        typed: &str,
        image: &Image,
        delete: Delete,
    ) -> Result<Vec<DeletedImage>> {
        let force = delete.force;
        let mut done = Vec::new();
        if let Some(name) = &self.typed_name(typed, image) {
            if !force
                && single_reference(image)
                && let Some(container) = self.users_of_image(image).first()
            {
                return Err(ApiError::conflict(format!(
                    "conflict: unable to remove repository reference \"{typed}\" (must force) - container {} is \
                     using its referenced image {}",
                    container.short_id(),
                    short(image)
                )));
            }
            done.extend(self.untag(name, image)?);
            let Some(left) = self.store.image(&image.id) else {
                return Ok(done);
            };
            // What has another name or a container stays, and that is not worth a word.
            if !(left.repo_tags.is_empty() && left.repo_digests.is_empty())
                || self.conflict(&left, false, !force).is_some()
            {
                return Ok(done);
            }
        } else {
            let single = single_reference(image);
            if let Some(conflict) = self.conflict(image, !single && !force, !force) {
                return Err(conflict);
            }
        }
        done.extend(self.prune_image(image)?);
        let mut next = image.parent.filter(|_| !delete.no_prune);
        while let Some(parent) = next.and_then(|id| self.store.image(&id)) {
            let named = !(parent.repo_tags.is_empty() && parent.repo_digests.is_empty());
            if named || self.conflict(&parent, true, true).is_some() {
                break;
            }
            done.extend(self.prune_image(&parent)?);
            next = parent.parent;
        }
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

    /// Removes an image with all its names.
    pub(crate) fn prune_image(&self, image: &Image) -> Result<Vec<DeletedImage>> {
        let mut done = Vec::new();
        let left = self.store.image(&image.id).unwrap_or_else(|| image.clone());
        for name in left.repo_tags.iter().chain(&left.repo_digests) {
            done.extend(self.untag(name, image)?);
        }
        done.extend(shown(
            self.store.remove_image(&image.id).map_err(store_error)?,
        ));
        self.image_event("delete", &image.id.to_string(), &image.id.to_string());
        Ok(done)
    }
}
