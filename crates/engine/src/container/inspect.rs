//! `GET /containers/{id}/json`.

use engine_api::error::Result;
use engine_api::types::{ContainerInspect, GraphDriver, NetworkSettings};
use engine_api::{json, timestamp};
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;
use crate::state::Container;

impl Engine {
    /// The operation.
    pub(crate) async fn container_inspect(&self, context: Context) -> Result<Response> {
        let container = self.find_container(context.param(0))?;
        Ok(json::emit(
            200,
            &self.inspect(&container, context.query.flag("size")),
        ))
    }

    fn inspect(&self, container: &Container, size: bool) -> ContainerInspect {
        let data = container.data.borrow();
        let file = |name: &str| format!("{}/{name}", container.directory);
        let started = data.has_been_started_before;
        let path = |name: &str| if started { file(name) } else { String::new() };
        let mode = data.host_config.network_mode.clone();
        let networks = match mode.starts_with("container:") {
            true => Default::default(),
            false => [(mode.clone(), self.endpoint(&mode))].into(),
        };
        let running: Vec<String> = self
            .execs
            .borrow()
            .values()
            .filter(|exec| exec.container_id() == container.id && exec.is_running())
            .map(|exec| exec.id().to_string())
            .collect();
        let exposed = data.config.exposed_ports.iter().flatten();
        let ports = exposed
            .filter(|_| data.state.running)
            .map(|(port, _)| (port.clone(), None))
            .collect();
        let (size_rw, size_root_fs) = self.sizes(container, &data.image, size);
        ContainerInspect {
            id: container.id.clone(),
            created: timestamp::format(data.created_nanos),
            path: data.path.clone(),
            args: data.args.clone(),
            state: data.state.clone(),
            image: data.image.clone(),
            resolv_conf_path: path("resolv.conf"),
            hostname_path: path("hostname"),
            hosts_path: path("hosts"),
            log_path: if started {
                container.log.path().to_string()
            } else {
                String::new()
            },
            name: format!("/{}", data.name),
            restart_count: data.restart_count,
            driver: "overlay2".to_string(),
            platform: "linux".to_string(),
            mount_label: String::new(),
            process_label: String::new(),
            app_armor_profile: String::new(),
            exec_ids: (!running.is_empty()).then_some(running),
            host_config: data.host_config.clone(),
            graph_driver: self.graph_driver(container),
            size_rw: size.then_some(size_rw.unwrap_or(0)),
            size_root_fs,
            mounts: data
                .mounts
                .iter()
                // Docker shows --tmpfs only in HostConfig.
                .filter(|mount| {
                    let tmpfs = data.host_config.tmpfs.as_ref();
                    !tmpfs.is_some_and(|tmpfs| tmpfs.contains_key(&mount.point.destination))
                })
                .map(|mount| mount.point.clone())
                .collect(),
            config: data.config.clone(),
            network_settings: NetworkSettings {
                sandbox_id: if data.state.running {
                    container.id.clone()
                } else {
                    String::new()
                },
                ports,
                networks,
                ..NetworkSettings::default()
            },
        }
    }

    fn graph_driver(&self, container: &Container) -> GraphDriver {
        let mut driver = GraphDriver {
            name: "overlay2".to_string(),
            ..GraphDriver::default()
        };
        if let Ok(mount) = self.store.container_paths(&container.id) {
            driver.data = [
                ("LowerDir", mount.lower.join(":")),
                ("MergedDir", mount.merged),
                ("UpperDir", mount.upper),
                ("WorkDir", mount.work),
            ]
            .map(|(name, value)| (name.to_string(), value))
            .into();
        }
        driver
    }
}
