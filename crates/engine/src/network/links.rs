//! `--link` on the default bridge: variables that tell where the other container is.

use engine_api::error::{ApiError, Result};
use os::View;

use crate::Engine;
use crate::state::{Container, Data};

/// Ports that a container exposes: TCP first.
fn exposed(data: &Data) -> Vec<(u16, &str)> {
    let exposed = data.config.exposed_ports.iter().flatten();
    let mut ports: Vec<(u16, &str)> = exposed
        .filter_map(|(port, _)| {
            let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
            Some((number.parse().ok()?, protocol))
        })
        .collect();
    ports.sort_by_key(|&(port, protocol)| (protocol != "tcp", port));
    ports
}

impl Engine {
    /// Whether all links can be made: to containers that run, and on the default bridge.
    pub(crate) fn check_running_links(&self, data: &Data) -> Result<()> {
        let linked = self.linked(data);
        for (_, child) in &linked {
            let child = child.data.borrow();
            if !child.networking.endpoints_config.contains_key("bridge") {
                return Err(ApiError::system(format!(
                    "Cannot link to /{}, as it does not belong to the default network",
                    child.name
                )));
            }
        }
        for (alias, child) in &linked {
            if child.live.borrow().is_none() {
                return Err(ApiError::system(format!(
                    "Cannot link to a non running container: /{} AS /{}/{alias}",
                    child.data.borrow().name,
                    data.name
                )));
            }
        }
        Ok(())
    }

    /// Where containers on the default bridge may not talk to each other (`icc` in `daemon.json`), a link opens
    /// the ports that the other one exposes.
    pub(crate) fn open_links(&self, container: &Container) {
        let bridge = self.find_network("bridge").ok();
        let icc = bridge
            .as_ref()
            .and_then(|bridge| super::bridge_option(bridge, "enable_icc"));
        let (Some("false"), Some(own)) = (icc, self.bridge_ip(container)) else {
            return;
        };
        let mut rules = Vec::new();
        for (_, child) in self.linked(&container.data.borrow()) {
            let Some(ip) = self.bridge_ip(&child) else {
                continue;
            };
            for (port, protocol) in exposed(&child.data.borrow()) {
                let both = format!("-i docker0 -o docker0 -p {protocol} -m {protocol}");
                rules.push(format!(
                    "DOCKER -s {own}/32 -d {ip}/32 {both} --dport {port} -j ACCEPT"
                ));
                rules.push(format!(
                    "DOCKER -s {ip}/32 -d {own}/32 {both} --sport {port} -j ACCEPT"
                ));
            }
        }
        for rule in &rules {
            // What cannot be opened stays shut.
            let _ = self
                .os
                .packet_filter(View::Host, false, "filter", &format!("-I {rule}"));
        }
        if let Some(sandbox) = &mut *container.sandbox.borrow_mut() {
            sandbox.link_rules = rules;
        }
    }

    /// `ALIAS_PORT_80_TCP_ADDR` and so on of all links.
    pub(crate) fn link_environment(&self, data: &Data) -> Vec<String> {
        let mut env = Vec::new();
        for (alias, child) in self.linked(data) {
            let Some(ip) = self.bridge_ip(&child) else {
                continue;
            };
            let child = child.data.borrow();
            let prefix = alias.replace('-', "_").to_ascii_uppercase();
            let ports = exposed(&child);
            if let Some((port, protocol)) = ports.first() {
                env.push(format!("{prefix}_PORT={protocol}://{ip}:{port}"));
            }
            for (port, protocol) in ports {
                let name = format!("{prefix}_PORT_{port}_{}", protocol.to_ascii_uppercase());
                env.push(format!("{name}={protocol}://{ip}:{port}"));
                env.push(format!("{name}_ADDR={ip}"));
                env.push(format!("{name}_PORT={port}"));
                env.push(format!("{name}_PROTO={protocol}"));
            }
            env.push(format!("{prefix}_NAME=/{}/{alias}", data.name));
            for entry in child.config.env.iter().flatten() {
                let name = entry.split('=').next().unwrap_or_default();
                if entry.contains('=') && !matches!(name, "HOME" | "PATH") {
                    env.push(format!("{prefix}_ENV_{entry}"));
                }
            }
        }
        env
    }
}
