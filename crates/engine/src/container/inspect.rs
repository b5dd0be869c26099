//! `GET /containers/{id}/json`.

use engine_api::error::Result;
use engine_api::types::{ContainerInspect, GraphDriver, NetworkSettings};
use engine_api::{json, timestamp};
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;
use crate::state::{Container, Data};

/// The value of an option of `--security-opt`; empty: not said.
fn security_option(data: &Data, name: &str) -> String {
    let said = data.host_config.security_opt.iter().flatten();
    said.filter_map(|option| option.split_once('=').or_else(|| option.split_once(':')))
        .rfind(|(key, _)| *key == name)
        .map_or(String::new(), |(_, value)| value.to_string())
}

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
        let networks = self.endpoint_settings(container, &data);
        let bridge = networks.get("bridge").cloned().unwrap_or_default();
        let sandbox_id = match &*container.sandbox.borrow() {
            Some(sandbox) => sandbox.id.clone(),
            None => String::new(),
        };
        let running: Vec<String> = self
            .execs
            .borrow()
            .values()
            .filter(|exec| exec.container_id() == container.id && exec.is_running())
            .map(|exec| exec.id().to_string())
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
            app_armor_profile: security_option(&data, "apparmor"),
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
                sandbox_key: match sandbox_id.get(..12) {
                    Some(short) => format!("/var/run/docker/netns/{short}"),
                    None => String::new(),
                },
                sandbox_id,
                ports: self.port_map(container),
                endpoint_id: bridge.endpoint_id,
                gateway: bridge.gateway,
                ip_address: bridge.ip_address,
                ip_prefix_len: bridge.ip_prefix_len,
                mac_address: bridge.mac_address,
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
                ("ID", container.id.clone()),
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
