//! `POST /commit`: an image of a container and what it changed.

use std::rc::Rc;

use engine_api::error::{ApiError, Result};
use engine_api::image::commit::Commit;
use engine_api::json;
use engine_api::types::Config;
use oci::{Digest, Reference};
use serde_json::{Value, json as value};
use serve::Response;

use super::store_error;
use super::tag::tag_reference;
use crate::Engine;
use crate::build::changes;
use crate::dispatch::Context;
use crate::state::Container;

/// The name a new image is to have; none if none was given.
pub(super) fn new_name(repo: &str, tag: &str) -> Result<Option<Reference>> {
    if repo.is_empty() {
        return Ok(None);
    }
    let reference = Reference::parse(repo).map_err(|error| ApiError::invalid(error.to_string()))?;
    if reference.digest().is_some() {
        return Err(ApiError::invalid("cannot import digest reference"));
    }
    tag_reference(repo, tag).map(Some)
}

/// What is not said about the new image is as the container has it.
fn merge(config: &mut Config, container: &Config) {
    if config.user.is_empty() {
        config.user.clone_from(&container.user);
    }
    let ports = container.exposed_ports.iter().flatten();
    for (port, empty) in ports {
        let mine = config.exposed_ports.get_or_insert_default();
        mine.entry(port.clone()).or_insert(*empty);
    }
    let name = |entry: &str| entry.split('=').next().map(str::to_string);
    for entry in container.env.iter().flatten() {
        let mine = config.env.get_or_insert_default();
        if !mine.iter().any(|known| name(known) == name(entry)) {
            mine.push(entry.clone());
        }
    }
    for (label, text) in &container.labels {
        let mine = config.labels.entry(label.clone());
        mine.or_insert_with(|| text.clone());
    }
    if config.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd.clone_from(&container.cmd);
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&container.entrypoint);
        }
    }
    if config.healthcheck.is_none() {
        config.healthcheck.clone_from(&container.healthcheck);
    }
    if config.working_dir.is_empty() {
        config.working_dir.clone_from(&container.working_dir);
    }
    for (path, empty) in container.volumes.iter().flatten() {
        let mine = config.volumes.get_or_insert_default();
        mine.entry(path.clone()).or_insert(*empty);
    }
}

/// A container that stands still as long as this is there, whatever becomes of the request.
struct Frozen<'a> {
    engine: &'a Engine,
    container: &'a Rc<Container>,
}

impl Frozen<'_> {
    fn new<'a>(engine: &'a Engine, container: &'a Rc<Container>) -> Result<Frozen<'a>> {
        engine.freeze(container)?;
        Ok(Frozen { engine, container })
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // It may have been killed meanwhile; then there is nothing to thaw.
        let _ = self.engine.thaw(self.container);
    }
}

impl Engine {
    /// The operation.
    pub(crate) async fn image_commit(&self, mut context: Context) -> Result<Response> {
        let commit = Commit::parse(&context.query);
        let mut config: Config = context.json().await?;
        let container = self.find_container(&commit.container)?;
        changes::apply(&mut config, &commit.changes)?;
        let name = new_name(&commit.repo, &commit.tag)?;
        merge(&mut config, &container.data.borrow().config);
        let frozen = match commit.pause && container.status() == "running" {
            true => Some(Frozen::new(self, &container)?),
            false => None,
        };
        let id = self.commit(&container, &commit, &config, name).await?;
        drop(frozen);
        Ok(json::emit(201, &value!({ "Id": id.to_string() })))
    }

    async fn commit(
        &self,
        container: &Rc<Container>,
        commit: &Commit,
        config: &Config,
        name: Option<Reference>,
    ) -> Result<Digest> {
        let layer = self.store.commit_container(&container.id).await;
        let layer = layer.map_err(|error| ApiError::system(error.to_string()))?;
        let id = self.commit_image(container, commit, config, layer)?;
        let mut more = vec![
            ("comment", commit.comment.clone()),
            ("imageID", id.to_string()),
        ];
        if let Some(name) = name {
            self.store.tag(&id, &name).map_err(store_error)?;
            self.image_event("tag", &id.to_string(), &name.familiar());
            more.push(("imageRef", name.familiar()));
        }
        self.container_event(container, "commit", &more);
        Ok(id)
    }

    fn commit_image(
        &self,
        container: &Rc<Container>,
        commit: &Commit,
        config: &Config,
        layer: Option<Digest>,
    ) -> Result<Digest> {
        let data = container.data.borrow();
        let base = self.store.resolve(&data.image).map_err(store_error)?;
        let raw = self.store.raw_config(&base.id).map_err(store_error)?;
        let mut document: Value =
            serde_json::from_slice(&raw).map_err(|error| ApiError::system(error.to_string()))?;
        let created = engine_api::timestamp::format(self.now());
        let command = data.config.cmd.clone().unwrap_or_default().join(" ");
        let mut step = value!({ "created": created, "created_by": command });
        for (key, text) in [("author", &commit.author), ("comment", &commit.comment)] {
            if !text.is_empty() {
                step[key] = value!(text);
            }
        }
        if layer.is_none() {
            step["empty_layer"] = value!(true);
        }
        let append = |list: &mut Value, item: Value| match list {
            Value::Array(list) => list.push(item),
            other => *other = Value::Array(vec![item]),
        };
        append(&mut document["history"], step);
        if let Some(layer) = layer {
            append(
                &mut document["rootfs"]["diff_ids"],
                value!(layer.to_string()),
            );
        }
        document["config"] = value!(config);
        document["container"] = value!(container.id);
        document["container_config"] = value!(data.config);
        document["created"] = value!(created);
        document["docker_version"] = value!(self.config.version);
        if let Value::Object(fields) = &mut document {
            fields.remove("author");
            if !commit.author.is_empty() {
                fields.insert("author".to_string(), value!(commit.author));
            }
        }
        let id = self.add_document(&document)?;
        self.store.set_parent(&id, base.id).map_err(store_error)?;
        Ok(id)
    }

    /// Adds an image by its config.
    pub(crate) fn add_document(&self, document: &Value) -> Result<Digest> {
        let raw =
            serde_json::to_vec(document).map_err(|error| ApiError::system(error.to_string()))?;
        let id = Digest::of(&raw);
        self.store.add_image(id, &raw).map_err(store_error)?;
        Ok(id)
    }
}
