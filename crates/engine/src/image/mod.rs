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

impl Engine {
    /// An image by what a user typed.
    fn find_image(&self, typed: &str) -> Result<Image> {
        self.store.resolve(typed).map_err(|error| match error {
            StoreError::NoSuchImage(_) => {
                let shown = oci::Reference::parse(typed).map_or(typed.to_string(), |reference| {
                    reference.with_default_tag().familiar()
                });
                ApiError::not_found(format!("No such image: {shown}"))
            }
            other => store_error(other),
        })
    }

    /// Containers made of an image.
    fn containers_of(&self, image: &Image) -> Vec<std::rc::Rc<crate::state::Container>> {
        let id = image.id.to_string();
        let mut all = self.all_containers();
        all.retain(|container| container.data.borrow().image == id);
        all
    }
}
