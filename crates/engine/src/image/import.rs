//! `POST /images/create?fromSrc=-`: a tar as an image of one layer.

use engine_api::error::{ApiError, Result};
use engine_api::image::create::Import;
use engine_api::image::platform::specifier;
use engine_api::image::progress;
use engine_api::json;
use engine_api::types::Config;
use layers::download::Download;
use oci::Platform;
use serde_json::json as value;
use serve::{Body, Response};

use super::commit::new_name;
use super::store_error;
use crate::Engine;
use crate::build::changes;

impl Engine {
    /// Puts a request's body on the disk.
    pub(crate) async fn receive(&self, mut body: Body) -> Result<Download> {
        let failed = |(operation, error): (String, os::Errno)| {
            ApiError::system(format!("{operation}: {}", error.go_description()))
        };
        let mut file = Download::new(&self.os, &self.config.root).map_err(failed)?;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| ApiError::invalid(error.to_string()))?;
            file.write(&chunk).map_err(failed)?;
        }
        Ok(file)
    }

    /// The operation.
    pub(super) async fn image_import(&self, import: Import, body: Body) -> Result<Response> {
        if import.source != "-" {
            return Err(ApiError::unsupported("docker import of a URL"));
        }
        let mut config = Config::default();
        changes::apply(&mut config, &import.changes)?;
        let name = new_name(&import.repo, &import.tag)?;
        let platform = specifier(&import.platform)?.unwrap_or_else(Platform::host);
        let tar = self.receive(body).await?;
        let layer = self.store.import_layer(&tar).await;
        let layer = layer.map_err(|error| ApiError::system(error.to_string()))?;
        let created = engine_api::timestamp::format(self.now());
        let comment = match import.message.as_str() {
            "" => "Imported from -",
            message => message,
        };
        let diff_ids: Vec<String> = layer.iter().map(ToString::to_string).collect();
        let id = self.add_document(&value!({
            "architecture": platform.architecture,
            "comment": comment,
            "config": config,
            "container_config": config,
            "created": created,
            "docker_version": self.config.version,
            "history": [{ "created": created, "comment": comment }],
            "os": platform.os,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        }))?;
        if let Some(name) = &name {
            self.store.tag(&id, name).map_err(store_error)?;
            self.image_event("tag", &id.to_string(), &name.familiar());
        }
        self.image_event("import", &id.to_string(), &id.to_string());
        let line = progress::status(None, &id.to_string());
        Ok(json::response(
            200,
            Body::from(line),
            Some("application/json"),
        ))
    }
}
