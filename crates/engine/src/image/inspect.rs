//! `GET /images/{name}/json`.

use engine_api::error::Result;
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

impl Engine {
    /// The operation.
    pub(crate) async fn image_inspect(&self, context: Context) -> Result<Response> {
        let image = self.find_image(context.param(0))?;
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
            docker_version: oci.docker_version.clone().unwrap_or_default(),
            author: oci.author.clone().unwrap_or_default(),
            config: config(&oci.config),
            architecture: oci.architecture.clone(),
            variant: oci.variant.clone().unwrap_or_default(),
            os: oci.os.clone(),
            size: image.size,
            virtual_size: (context.version < Version(1, 44)).then_some(image.size),
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
        };
        Ok(json::emit(200, &answer))
    }
}
