//! Operations on images, a verb a file.

mod commit;
pub(crate) mod create;
mod delete;
mod distribution;
mod history;
mod import;
mod inspect;
pub(crate) mod lines;
mod list;
mod load;
mod prune;
mod push;
mod save;
mod search;
pub(crate) mod tag;

use engine_api::error::{ApiError, Result};
use engine_api::timestamp;
use layers::{Image, StoreError};

use crate::Engine;
pub(crate) use inspect::config as shown_config;

/// The class of a store's error.
pub(crate) fn store_error(error: StoreError) -> ApiError {
    match error {
        StoreError::NoSuchImage(_) => ApiError::not_found(error.to_string()),
        StoreError::Ambiguous(_) => ApiError::invalid(error.to_string()),
        _ => ApiError::system(error.to_string()),
    }
}

/// When an image was made, in nanoseconds since 1970.
fn created(image: &Image) -> u64 {
    image
        .config
        .created
        .as_deref()
        .and_then(timestamp::parse_rfc3339)
        .unwrap_or(0)
}

/// What an image is for.
pub(crate) fn image_platform(image: &Image) -> oci::Platform {
    oci::Platform {
        architecture: image.config.architecture.clone(),
        os: image.config.os.clone(),
        variant: image
            .config
            .variant
            .clone()
            .filter(|variant| !variant.is_empty()),
        os_version: None,
    }
}

impl Engine {
    /// An image by what a user typed.
    pub(crate) fn find_image(&self, typed: &str) -> Result<Image> {
        self.store.resolve(typed).map_err(|error| match error {
            StoreError::NoSuchImage(_) => match oci::Reference::parse(typed) {
                Ok(reference) => {
                    let shown = reference.with_default_tag().familiar();
                    ApiError::not_found(format!("No such image: {shown}"))
                }
                Err(wrong) if wrong.to_string().contains("64-byte") => {
                    ApiError::not_found(format!("No such image: {typed}"))
                }
                Err(wrong) => ApiError::invalid(wrong.to_string()),
            },
            other => store_error(other),
        })
    }

    /// The same, of one platform.
    fn find_image_for(&self, typed: &str, wanted: Option<&oci::Platform>) -> Result<Image> {
        let image = self.find_image(typed)?;
        match wanted {
            Some(wanted) if !image_platform(&image).runs_on(wanted) => Err(
                engine_api::image::platform::mismatch(typed, &image_platform(&image), wanted),
            ),
            _ => Ok(image),
        }
    }

    /// Containers made of an image.
    fn containers_of(&self, image: &Image) -> Vec<std::rc::Rc<crate::state::Container>> {
        let id = image.id.to_string();
        let mut all = self.all_containers();
        all.retain(|container| container.data.borrow().image == id);
        all
    }

    /// Containers an image cannot be taken away from: made of it, or with it mounted.
    fn users_of_image(&self, image: &Image) -> Vec<std::rc::Rc<crate::state::Container>> {
        let id = image.id.to_string();
        let mut all = self.all_containers();
        all.retain(|container| {
            let data = container.data.borrow();
            data.image == id || data.mounts.iter().any(|mount| mount.image == id)
        });
        all
    }
}
