//! `--link` on the default bridge: variables that tell where the other container is.

use crate::Engine;
use crate::state::Data;

impl Engine {
    /// `ALIAS_PORT_80_TCP_ADDR` and so on of all links.
    pub(crate) fn link_environment(&self, data: &Data) -> Vec<String> {
        let mut env = Vec::new();
        for (alias, child) in self.linked(data) {
            let Some(ip) = self.bridge_ip(&child) else {
                continue;
            };
            let child = child.data.borrow();
            let prefix = alias.replace('-', "_").to_ascii_uppercase();
            let mut ports: Vec<(u16, &str)> = child
                .config
                .exposed_ports
                .iter()
                .flatten()
                .filter_map(|(port, _)| {
                    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
                    Some((number.parse().ok()?, protocol))
                })
                .collect();
            ports.sort_by_key(|&(port, protocol)| (protocol != "tcp", port));
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
