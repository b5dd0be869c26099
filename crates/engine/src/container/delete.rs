//! `DELETE /containers/{id}`.

use std::rc::Rc;

use engine_api::container::delete::Delete;
use engine_api::error::{ApiError, Result};
use engine_api::json;
use os::{OsExt, View};
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;
use crate::state::Container;

impl Engine {
    /// The operation.
    pub(crate) async fn container_delete(&self, context: Context) -> Result<Response> {
        let container = self.find_container(context.param(0))?;
        let delete = Delete::parse(&context.query);
        if delete.link {
            return Err(ApiError::system(
                "Conflict, cannot remove the default link name of the container",
            ));
        }
        if container.is_running() && !delete.force {
            let why = match container.status() {
                "paused" => "paused and must be unpaused first".to_string(),
                status => {
                    format!("{status}: stop the container before removing or force remove")
                }
            };
            return Err(ApiError::conflict(format!(
                "cannot remove container \"{}\": container is {why}",
                context.param(0)
            )));
        }
        self.remove(&container, delete.force, delete.volumes)
            .await?;
        Ok(json::no_content())
    }

    /// Removes a container.
    pub(crate) async fn remove(
        &self,
        container: &Rc<Container>,
        force: bool,
        volumes: bool,
    ) -> Result<()> {
        if container.is_running() {
            if !force {
                return Err(ApiError::conflict("container is running"));
            }
            self.kill_and_wait(container).await?;
        }
        let _guard = container.lock.take().await;
        if container.removed.get() {
            return Ok(());
        }
        let failed = |why: String| {
            ApiError::system(format!(
                "container {}: driver \"overlay2\" failed to remove root filesystem: {why}",
                container.id
            ))
        };
        self.store
            .remove_container(&container.id)
            .map_err(|error| failed(error.to_string()))?;
        self.remove_image_layers(&container.id);
        self.os
            .remove_all(View::Host, container.directory.as_bytes())
            .map_err(|errno| failed(errno.go_description()))?;
        self.containers.borrow_mut().remove(&container.id);
        self.build_containers.borrow_mut().remove(&container.id);
        self.execs
            .borrow_mut()
            .retain(|_, exec| exec.container_id() != container.id);
        container.removed.set(true);
        if volumes {
            let anonymous: Vec<String> = container
                .data
                .borrow()
                .mounts
                .iter()
                .filter(|mount| mount.anonymous)
                .map(|mount| mount.point.name.clone())
                .collect();
            for name in anonymous {
                // One that another container has too stays.
                let _ = self.remove_volume(&name);
            }
        }
        self.container_event(container, "destroy", &[]);
        container.changed.wake_all();
        container.log.written.wake_all();
        Ok(())
    }
}
