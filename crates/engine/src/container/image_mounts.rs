//! `--mount type=image`: the files of an image in a container, not to be written.
//!
//! As in Docker they are mounted through a layer of their own over the image's, which is made and removed with
//! the container.

use engine_api::error::{ApiError, Result};
use engine_api::types::{MountPoint, MountSpec};
use runtime::path::clean;

use super::mounts::is_local;
use crate::Engine;
use crate::state::{Container, Data, Mount};

/// The layer of a container's image mount.
fn layer(container: &str, number: usize) -> String {
    format!("{container}-image{number}")
}

impl Engine {
    /// What a `--mount` of an image asks for; its layer is made when the whole container is known to be right.
    pub(super) fn image_mount(&self, spec: &MountSpec) -> Result<Mount> {
        let invalid = |what: &str| {
            ApiError::invalid(format!("invalid mount config for type \"image\": {what}"))
        };
        if spec.source.is_empty() {
            return Err(invalid("field Source must not be empty"));
        }
        let subpath = spec.image_options.as_ref();
        let subpath = subpath.map_or("", |options| options.subpath.as_str());
        if !is_local(subpath) {
            return Err(invalid("subpath must be a relative path within the volume"));
        }
        let image = self.find_image(&spec.source)?;
        Ok(Mount {
            point: MountPoint {
                kind: "image".to_string(),
                name: spec.source.clone(),
                destination: clean(&spec.target),
                propagation: "rprivate".to_string(),
                ..MountPoint::default()
            },
            subpath: clean(subpath).trim_start_matches('/').to_string(),
            image: image.id.to_string(),
            ..Mount::default()
        })
    }

    /// Makes the layers of a new container's image mounts.
    pub(super) fn make_image_layers(&self, data: &mut Data) -> Result<()> {
        let system = |error: layers::StoreError| ApiError::system(error.to_string());
        let own = |mount: &&mut Mount| !mount.image.is_empty() && mount.layer.is_empty();
        for (number, mount) in data.mounts.iter_mut().filter(own).enumerate() {
            let image = self.find_image(&mount.image)?;
            mount.layer = layer(&data.id, number);
            self.store
                .create_tree(&mount.layer, image.chain.last().copied())
                .map_err(system)?;
            let paths = self.store.container_paths(&mount.layer).map_err(system)?;
            mount.point.source = paths.merged;
        }
        Ok(())
    }

    /// Mounts one, for a start.
    pub(super) fn mount_image(&self, mount: &Mount) -> Result<()> {
        self.store
            .mount_container(&mount.layer)
            .map_err(|error| ApiError::system(error.to_string()))?;
        match mount.subpath.is_empty() {
            true => Ok(()),
            false => self.check_subpath(mount),
        }
    }

    /// Takes them away when the container has ended.
    pub(crate) fn unmount_images(&self, container: &Container) {
        for mount in &container.data.borrow().mounts {
            // One of `--volumes-from` belongs to the other container.
            if mount.layer.starts_with(&container.id) {
                let _ = self.store.unmount_container(&mount.layer);
            }
        }
    }

    /// Removes the layers, with the container or because it did not come about.
    pub(super) fn remove_image_layers(&self, container: &str) {
        let mut layers = (0..).map(|number| layer(container, number));
        while let Some(layer) = layers.next()
            && self.store.container_paths(&layer).is_ok()
        {
            let _ = self.store.remove_container(&layer);
        }
    }
}
