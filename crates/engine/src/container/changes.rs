//! `GET /containers/{id}/changes` (`docker diff`).

use engine_api::error::{ApiError, Result};
use engine_api::json;
use layers::ChangeKind;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation.
    pub(crate) async fn container_changes(&self, context: Context) -> Result<Response> {
        let container = self.find_container(context.param(0))?;
        let changes = self
            .store
            .changes(&container.id)
            .map_err(|error| ApiError::system(error.to_string()))?;
        let rows: Vec<serde_json::Value> = changes
            .iter()
            .map(|change| {
                let kind = match change.kind {
                    ChangeKind::Modified => 0,
                    ChangeKind::Added => 1,
                    ChangeKind::Deleted => 2,
                };
                serde_json::json!({ "Path": String::from_utf8_lossy(&change.path), "Kind": kind })
            })
            .collect();
        Ok(json::emit(200, &rows))
    }
}
