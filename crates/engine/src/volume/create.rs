//! `POST /volumes/create`.

use engine_api::error::{ApiError, Result};
use engine_api::json;
use engine_api::types::VolumeCreateBody;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation. A volume that is there already is given as it is.
    pub(crate) async fn volume_create(&self, mut context: Context) -> Result<Response> {
        let body: VolumeCreateBody = context.json().await?;
        let mut labels = body.labels;
        if body.cluster_volume_spec.is_some() {
            return Err(ApiError::unavailable(crate::swarm::NOT_A_MANAGER));
        }
        if !matches!(body.driver.as_str(), "" | "local") {
            return Err(ApiError::not_found(format!(
                "create {}: error looking up volume plugin {}: plugin \"{}\" not found",
                body.name, body.driver, body.driver
            )));
        }
        super::mount::check_options(&body.driver_opts).map_err(|error| ApiError {
            message: format!("create {}: {}", body.name, error.message),
            ..error
        })?;
        let name = match body.name.as_str() {
            "" => {
                labels.insert("com.docker.volume.anonymous".to_string(), String::new());
                self.os.rng().hex(32)
            }
            name => name.to_string(),
        };
        Ok(json::emit(
            201,
            &self.ensure_volume(&name, labels, body.driver_opts)?,
        ))
    }
}
