//! `GET /containers/json`.

use std::rc::Rc;

use engine_api::container::list::List;
use engine_api::error::{ApiError, Result};
use engine_api::types::{ContainerSummary, HostConfigSummary, NetworkSettingsSummary};
use engine_api::{Version, json};
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;
use crate::state::Container;

/// Path and arguments on one line, as `docker ps` shows them.
fn command(path: &str, args: &[String]) -> String {
    let mut text = path.to_string();
    for arg in args {
        text.push(' ');
        match arg.contains(' ') {
            true => text.push_str(&format!("'{arg}'")),
            false => text.push_str(arg),
        }
    }
    text
}

/// Why a `publish` or `expose` filter is no port or range of ports.
fn port_filter(value: &str) -> Option<String> {
    let ports = value.split('/').next().unwrap_or_default();
    ports.split('-').find_map(|port| {
        let why = match port.parse::<u64>() {
            Ok(number) if number > 65535 => "value out of range",
            Ok(_) => return None,
            Err(_) => "invalid syntax",
        };
        Some(format!("strconv.ParseUint: parsing \"{port}\": {why}"))
    })
}

impl Engine {
    /// The operation.
    pub(crate) async fn container_list(&self, context: Context) -> Result<Response> {
        let list = List::parse(&context.query)?;
        let mut rows: Vec<ContainerSummary> = self
            .select(&list)?
            .iter()
            .map(|container| self.summary(container, list.size))
            .collect();
        if context.version < Version(1, 46) {
            for row in &mut rows {
                row.host_config.annotations = None;
            }
        }
        Ok(json::emit(200, &rows))
    }

    fn select(&self, list: &List) -> Result<Vec<Rc<Container>>> {
        let filters = &list.filters;
        // A filter for a state looks at all, as does a limit.
        let everything = list.all || list.limit > 0 || filters.has("status");
        let moment = |key: &str| match filters.values(key).next() {
            Some(name) => self
                .find_container(name)
                .map(|found| Some(found.data.borrow().created_nanos)),
            None => Ok(None),
        };
        let (before, since) = (moment("before")?, moment("since")?);
        let mut ancestors = Vec::new();
        for name in filters.values("ancestor") {
            if let Ok(image) = self.store.resolve(name) {
                ancestors.extend(image.chain.last().copied());
            }
        }
        // What is no pattern fits nothing.
        let names: Vec<regex_lite::Regex> = filters
            .values("name")
            .filter_map(|pattern| regex_lite::Regex::new(pattern).ok())
            .collect();
        for value in filters.values("status") {
            const STATES: [&str; 7] = [
                "created",
                "running",
                "paused",
                "restarting",
                "removing",
                "exited",
                "dead",
            ];
            if !STATES.contains(&value) {
                return Err(ApiError::invalid(format!(
                    "invalid filter 'status={value}': invalid value for state ({value}): must be one of {}",
                    STATES.join(", ")
                )));
            }
        }
        const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];
        if let Some(value) = filters
            .values("health")
            .find(|value| !HEALTHS.contains(value))
        {
            return Err(ApiError::invalid(format!(
                "invalid filter 'health={value}': invalid value for health ({value}): must be one of {}",
                HEALTHS.join(", ")
            )));
        }
        filters.boolean("is-task")?;
        for key in ["publish", "expose"] {
            let wrong = |value| Some((value, port_filter(value)?));
            if let Some((value, why)) = filters.values(key).find_map(wrong) {
                return Err(ApiError::system(format!(
                    "error while looking up for {key} {value}: {why}"
                )));
            }
        }
        if let Some(value) = filters
            .values("exited")
            .find(|value| value.parse::<i64>().is_err())
        {
            return Err(ApiError::invalid(format!(
                "invalid filter 'exited={value}': strconv.Atoi: parsing \"{value}\": invalid syntax"
            )));
        }
        let wanted = |container: &Rc<Container>| {
            let data = container.data.borrow();
            let health = data.state.health.as_ref();
            let health = health.map_or("none", |health| health.status.as_str());
            let exited = filters.any("exited", |value| {
                container.status() == "exited" && value.parse() == Ok(data.state.exit_code)
            });
            let ancestor = !filters.has("ancestor") || {
                let chain = data
                    .image
                    .parse()
                    .ok()
                    .and_then(|id| self.store.image(&id))
                    .map(|image| image.chain)
                    .unwrap_or_default();
                ancestors.iter().any(|top| chain.contains(top))
            };
            let volume = filters.any("volume", |value| {
                data.mounts.iter().any(|mount| {
                    let point = &mount.point;
                    let name = if point.name.is_empty() {
                        &point.source
                    } else {
                        &point.name
                    };
                    name == value || point.destination == value
                })
            });
            let expose = |value: &str| {
                let ports = data.config.exposed_ports.iter().flatten();
                ports
                    .into_iter()
                    .any(|(port, _)| port == value || port.split('/').next() == Some(value))
            };
            (everything || data.state.running)
                && filters.exact("status", container.status())
                && exited
                && ancestor
                && volume
                && before.is_none_or(|before| data.created_nanos < before)
                && since.is_none_or(|since| data.created_nanos > since)
                && filters.any("id", |value| container.id.starts_with(value))
                && (!filters.has("name")
                    || names.iter().any(|name| {
                        name.is_match(&data.name) || name.is_match(&format!("/{}", data.name))
                    }))
                && filters.any("network", |value| {
                    let mut names = data.networking.endpoints_config.keys();
                    names.any(|name| {
                        name == value
                            || self
                                .find_network(name)
                                .is_ok_and(|network| network.id.starts_with(value))
                    })
                })
                && filters.exact("health", health)
                && filters.exact("is-task", "false")
                && filters.any("expose", expose)
                && filters.any("publish", |value| self.publishes(container, value))
                && filters.labels(&data.config.labels)
        };
        let mut found: Vec<_> = self.all_containers().into_iter().filter(wanted).collect();
        if let Ok(limit @ 1..) = usize::try_from(list.limit) {
            found.truncate(limit);
        }
        Ok(found)
    }

    /// A row of the list.
    pub(crate) fn summary(&self, container: &Container, size: bool) -> ContainerSummary {
        let data = container.data.borrow();
        let mode = data.host_config.network_mode.clone();
        let networks = self.endpoint_settings(container, &data);
        let (size_rw, size_root_fs) = self.sizes(container, &data.image, size);
        ContainerSummary {
            id: container.id.clone(),
            names: vec![format!("/{}", data.name)],
            image: self.shown_image(&data.config.image, &data.image),
            image_id: data.image.clone(),
            command: command(&data.path, &data.args),
            created: data.created_nanos / 1_000_000_000,
            ports: self.port_list(container),
            size_rw,
            size_root_fs,
            labels: data.config.labels.clone(),
            state: container.status().to_string(),
            status: container.status_text(self.now()),
            host_config: HostConfigSummary {
                network_mode: mode,
                annotations: data.host_config.annotations.clone(),
            },
            network_settings: NetworkSettingsSummary { networks },
            mounts: data
                .mounts
                .iter()
                .map(|mount| mount.point.clone())
                .collect(),
        }
    }

    /// The image by the name it was created with, while that name still leads to it.
    fn shown_image(&self, name: &str, id: &str) -> String {
        match self.store.resolve(name) {
            Ok(image) if image.id.to_string() == id => name.to_string(),
            _ => id.to_string(),
        }
    }

    /// Bytes of the writable layer, and of everything.
    pub(crate) fn sizes(
        &self,
        container: &Container,
        image: &str,
        wanted: bool,
    ) -> (Option<u64>, Option<u64>) {
        if !wanted {
            return (None, None);
        }
        let own = self.store.size_rw(&container.id).unwrap_or(0);
        let below = image
            .parse()
            .ok()
            .and_then(|id| self.store.image(&id))
            .map_or(0, |image| image.size);
        (Some(own).filter(|&own| own > 0), Some(own + below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        let args = ["-c", "echo hi"].map(str::to_string);
        assert_eq!(command("sh", &args), "sh -c 'echo hi'");
        assert_eq!(command("sh", &[]), "sh");
    }
}
