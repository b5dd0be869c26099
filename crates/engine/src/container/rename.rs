//! `POST /containers/{id}/rename`.

use engine_api::error::{ApiError, Result};
use engine_api::json;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation.
    pub(crate) async fn container_rename(&self, context: Context) -> Result<Response> {
        let typed = context.query.text("name");
        let wanted = typed.trim_start_matches('/');
        if typed.is_empty() {
            return Err(ApiError::invalid("Neither old nor new names may be empty"));
        }
        let container = self.find_container(context.param(0))?;
        let old = container.name();
        if old == wanted {
            return Err(ApiError::invalid(
                "Renaming a container with the same name as its current name",
            ));
        }
        let name = self
            .reserve_new_name(wanted, &container.id)
            .map_err(|error| ApiError {
                message: format!(
                    "Error when allocating new name: {}",
                    // Here Docker has put the slash before the name already.
                    error.message.replace("name (", "name (/")
                ),
                ..error
            })?;
        container.update(&self.os, |data| data.name.clone_from(&name));
        self.release_name(&name);
        self.container_event(&container, "rename", &[("oldName", format!("/{old}"))]);
        Ok(json::no_content())
    }
}
