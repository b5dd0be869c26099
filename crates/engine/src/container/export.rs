//! `GET /containers/{id}/export`: the whole file system as a tar archive.

use engine_api::error::{ApiError, Result};
use engine_api::json;
use os::View;
use serve::{Body, BodyError, Response};

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation.
    pub(crate) async fn container_export(&self, context: Context) -> Result<Response> {
        let container = self.find_container(context.param(0))?;
        let mount = self
            .store
            .mount_container(&container.id)
            .map_err(|error| ApiError::system(error.to_string()))?;
        let (sender, body) = Body::channel();
        let engine = self.rc();
        self.os.executor().spawn(async move {
            let merged = mount.merged.as_bytes();
            let packed = layers::archive::pack(&engine.os, View::Host, merged, b"", &sender).await;
            if packed.is_err() {
                sender.abort(BodyError::Aborted);
            }
            engine.unmount_idle(&container).await;
            engine.container_event(&container, "export", &[]);
        });
        Ok(json::response(200, body, Some("application/octet-stream")))
    }

    /// Unmounts a container's file system unless it runs.
    pub(crate) async fn unmount_idle(&self, container: &crate::state::Container) {
        let _guard = container.lock.take().await;
        if container.live.borrow().is_none() && !container.removed.get() {
            let _ = self.store.unmount_container(&container.id);
        }
    }
}
