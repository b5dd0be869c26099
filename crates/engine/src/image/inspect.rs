//! `GET /images/{name}/json`.

use engine_api::error::{ApiError, Result};
use engine_api::image::platform::platform;
use engine_api::types::{Config, GraphDriver, ImageInspect, RootFs};
use engine_api::{Version, json};
use oci::ContainerConfig;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

/// An image's configuration as the API shows it.
pub(crate) fn config(image: &ContainerConfig) -> Config {
    let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    Config {
        user: image.user.clone(),
        exposed_ports: (!image.exposed_ports.is_empty()).then(|| image.exposed_ports.clone()),
        env: some(&image.env),
        cmd: image.cmd.clone(),
        entrypoint: image.entrypoint.clone(),
        volumes: (!image.volumes.is_empty()).then(|| image.volumes.clone()),
        working_dir: image.working_dir.clone(),
        labels: image.labels.clone(),
        stop_signal: image.stop_signal.clone().unwrap_or_default(),
        healthcheck: image.healthcheck.clone(),
        on_build: some(&image.on_build),
        shell: some(&image.shell),
        ..Config::default()
    }
}

/// Since 1.50 without what only containers have.
fn shown(image: &ContainerConfig, version: Version) -> serde_json::Value {
    const OF_CONTAINERS: [&str; 9] = [
        "AttachStderr",
        "AttachStdin",
        "AttachStdout",
        "Domainname",
        "Hostname",
        "Image",
        "OpenStdin",
        "StdinOnce",
        "Tty",
    ];
    let mut shown = serde_json::to_value(config(image)).unwrap_or_default();
    if let Some(fields) = shown.as_object_mut() {
        if image.labels.is_empty() {
            fields.insert("Labels".to_string(), serde_json::Value::Null);
        }
        if version >= Version(1, 50) {
            fields.retain(|name, _| !OF_CONTAINERS.contains(&name.as_str()));
        }
    }
    shown
}

impl Engine {
    /// The operation.
    pub(crate) async fn image_inspect(&self, context: Context) -> Result<Response> {
        let version = context.version;
        let wanted = platform(&context.query, version, Version(1, 49))?;
        let manifests = version >= Version(1, 48) && context.query.flag("manifests");
        if manifests && wanted.is_some() {
            return Err(ApiError::invalid(
                "conflicting options: manifests and platform options cannot both be set",
            ));
        }
        let image = self.find_image_for(context.param(0), wanted.as_ref())?;
        let lower = self
            .store
            .graph()
            .lower_directories(image.chain.last().copied());
        let mut driver = GraphDriver {
            name: "overlay2".to_string(),
            ..GraphDriver::default()
        };
        if let Some((upper, below)) = lower.split_first() {
            driver.data.insert("UpperDir".to_string(), upper.clone());
            let base = upper.trim_end_matches("/diff");
            driver
                .data
                .insert("MergedDir".to_string(), format!("{base}/merged"));
            driver
                .data
                .insert("WorkDir".to_string(), format!("{base}/work"));
            if !below.is_empty() {
                driver.data.insert("LowerDir".to_string(), below.join(":"));
            }
        }
        let oci = &image.config;
        let answer = ImageInspect {
            id: image.id.to_string(),
            repo_tags: image.repo_tags.clone(),
            repo_digests: image.repo_digests.clone(),
            parent: image
                .parent
                .map_or(String::new(), |parent| parent.to_string()),
            comment: oci
                .history
                .last()
                .and_then(|item| item.comment.clone())
                .unwrap_or_default(),
            created: oci.created.clone().unwrap_or_default(),
            container_config: (version < Version(1, 45)).then(|| self.container_config(&image.id)),
            docker_version: oci.docker_version.clone().unwrap_or_default(),
            author: oci.author.clone().unwrap_or_default(),
            architecture: oci.architecture.clone(),
            variant: oci.variant.clone().unwrap_or_default(),
            os: oci.os.clone(),
            size: image.size,
            virtual_size: (version < Version(1, 44)).then_some(image.size),
            graph_driver: driver,
            root_fs: RootFs {
                kind: "layers".to_string(),
                layers: oci
                    .rootfs
                    .diff_ids
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            },
            metadata: serde_json::json!({ "LastTagTime": engine_api::timestamp::ZERO }),
            config: shown(&oci.config, version),
        };
        Ok(json::emit(200, &answer))
    }

    /// The configuration of the container an image was made from, where its document has one.
    fn container_config(&self, id: &oci::Digest) -> Config {
        let document = self.store.raw_config(id).ok();
        let document: Option<serde_json::Value> =
            document.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let config = document.and_then(|document| json::fit(&document["container_config"]).ok());
        config.unwrap_or_default()
    }
}
