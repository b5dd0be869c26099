//! `/etc/hosts` and `/etc/resolv.conf` of a container.

use std::fmt::Write as _;

use engine_api::error::{ApiError, Result};
use engine_api::types::HostConfig;
use os::{OsExt, View};

use super::{is_built_in, sandbox::Sandbox};
use crate::Engine;
use crate::state::{Container, Data};

const LOCAL_HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\t\
                           ip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\t\
                           ip6-allrouters\n";

/// Where the name server of users' networks listens in a container.
pub(crate) const RESOLVER: &str = "127.0.0.11";

impl Engine {
    /// Writes `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf` of a container that joins its networks.
    pub(crate) fn write_files(&self, container: &Container) -> Result<()> {
        let data = container.data.borrow();
        let hostname = format!("{}\n", data.config.hostname);
        for (name, content) in [
            ("hosts", self.hosts(container, &data)),
            ("resolv.conf", self.resolv_conf(container, &data)),
            ("hostname", hostname),
        ] {
            self.write_file_of(container, name, &content)?;
        }
        Ok(())
    }

    fn write_file_of(&self, container: &Container, name: &str, content: &str) -> Result<()> {
        let path = format!("{}/{name}", container.directory);
        self.os
            .write_file(View::Host, path.as_bytes(), content.as_bytes(), 0o644)
            .map_err(|errno| ApiError::system(format!("open {path}: {}", errno.go_description())))
    }

    fn hosts(&self, container: &Container, data: &Data) -> String {
        let host = &data.host_config;
        let mut text = match self.os.read_file_now(View::Host, b"/etc/hosts") {
            Ok(own) if host.network_mode == "host" => String::from_utf8_lossy(&own).into_owned(),
            _ => LOCAL_HOSTS.to_string(),
        };
        for entry in host.extra_hosts.iter().flatten() {
            if let Some((name, address)) = entry.split_once([':', '=']) {
                let address = match address {
                    "host-gateway" => self.host_gateway(),
                    address => address.trim_matches(['[', ']']).to_string(),
                };
                let _ = writeln!(text, "{address}\t{name}");
            }
        }
        for (alias, child) in self.linked(data) {
            let names = linked_names(&alias, &child.data.borrow());
            if let Some(ip) = self.bridge_ip(&child) {
                let _ = writeln!(text, "{ip}\t{names}");
            }
        }
        let sandbox = container.sandbox.borrow();
        for ip in sandbox.iter().flat_map(Sandbox::addresses) {
            text.push_str(&own_line(&ip, data));
        }
        text
    }

    /// The address that `host-gateway` stands for: that of the default bridge.
    fn host_gateway(&self) -> String {
        self.find_network("bridge")
            .and_then(|network| super::Plan::of(&network))
            .map_or("127.0.0.1".to_string(), |plan| plan.gateway.to_string())
    }

    /// Writes `/etc/hosts` again after a network has come or gone. What the container wrote itself stays.
    pub(crate) fn rewrite_hosts(
        &self,
        container: &Container,
        gone: Option<&str>,
        new: Option<&str>,
    ) {
        let data = container.data.borrow();
        let path = format!("{}/hosts", container.directory);
        let old = self
            .os
            .read_file_now(View::Host, path.as_bytes())
            .unwrap_or_default();
        let mut text = String::from_utf8_lossy(&old).into_owned();
        if let Some(ip) = gone {
            text = text.replace(&own_line(ip, &data), "");
        }
        if let Some(ip) = new {
            text.push_str(&own_line(ip, &data));
        }
        let _ = self.write_file_of(container, "hosts", &text);
    }

    /// Where a container is on the default bridge has changed: those with a link to it are told.
    pub(crate) fn rewrite_links_to(&self, child: &Container) {
        let Some(ip) = self.bridge_ip(child) else {
            return;
        };
        for parent in self.all_containers() {
            if parent.live.borrow().is_none() || parent.id == child.id {
                continue;
            }
            let links = self.linked(&parent.data.borrow());
            for (alias, _) in links.iter().filter(|(_, linked)| linked.id == child.id) {
                let names = format!("\t{}\n", linked_names(alias, &child.data.borrow()));
                let path = format!("{}/hosts", parent.directory);
                let old = self.os.read_file_now(View::Host, path.as_bytes());
                let old = String::from_utf8_lossy(&old.unwrap_or_default()).into_owned();
                let lines = old.split_inclusive('\n');
                let mut text: String = lines.filter(|line| !line.ends_with(&names)).collect();
                text.push_str(&format!("{ip}{names}"));
                let _ = self.write_file_of(&parent, "hosts", &text);
            }
        }
    }

    /// Writes `/etc/resolv.conf`, also after the first user's network has come.
    pub(crate) fn write_resolv_conf(&self, container: &Container) -> Result<()> {
        let text = self.resolv_conf(container, &container.data.borrow());
        self.write_file_of(container, "resolv.conf", &text)
    }

    fn resolv_conf(&self, container: &Container, data: &Data) -> String {
        let host = &data.host_config;
        let own = self
            .os
            .read_file_now(View::Host, b"/etc/resolv.conf")
            .unwrap_or_default();
        let own = String::from_utf8_lossy(&own).into_owned();
        if host.network_mode == "host" && !says_names(host) {
            return own;
        }
        let words = |word: &str| -> Vec<String> {
            let lines = own.lines().filter_map(|line| line.strip_prefix(word));
            lines.map(|rest| rest.trim().to_string()).collect()
        };
        let mut text = String::new();
        let internal = self.needs_resolver(container);
        let servers = match internal {
            true => vec![RESOLVER.to_string()],
            false => self.name_servers(host),
        };
        for server in servers {
            let _ = writeln!(text, "nameserver {server}");
        }
        for (word, said) in [("search", &host.dns_search), ("options", &host.dns_options)] {
            let said = said.as_ref().filter(|list| !list.is_empty());
            let mut list = said.map_or_else(|| words(&format!("{word} ")), Clone::clone);
            // `--dns-search .`: none at all.
            list.retain(|entry| entry != ".");
            if internal && word == "options" && !list.iter().any(|one| one.starts_with("ndots:")) {
                list.push("ndots:0".to_string());
            }
            if !list.is_empty() {
                let _ = writeln!(text, "{word} {}", list.join(" "));
            }
        }
        text
    }

    /// The name servers of `--dns`, or the host's that a container can reach.
    pub(crate) fn name_servers(&self, host: &HostConfig) -> Vec<String> {
        if let Some(said) = host.dns.as_ref().filter(|list| !list.is_empty()) {
            return said.clone();
        }
        let own = self
            .os
            .read_file_now(View::Host, b"/etc/resolv.conf")
            .unwrap_or_default();
        String::from_utf8_lossy(&own)
            .lines()
            .filter_map(|line| line.strip_prefix("nameserver "))
            .map(|server| server.trim().to_string())
            .filter(|server| !server.starts_with("127.") && server != "::1")
            .collect()
    }

    /// Whether a container is on a user's network, whose names only the daemon knows.
    pub(crate) fn needs_resolver(&self, container: &Container) -> bool {
        let sandbox = container.sandbox.borrow();
        let mut endpoints = sandbox.iter().flat_map(|sandbox| &sandbox.endpoints);
        endpoints.any(|endpoint| !is_built_in(&endpoint.network))
    }

    /// The running containers of `--link` on the default bridge, by alias.
    pub(crate) fn linked(&self, data: &Data) -> Vec<(String, std::rc::Rc<Container>)> {
        if data.host_config.network_mode != "bridge" {
            return Vec::new();
        }
        let links = data.host_config.links.iter().flatten();
        links
            .filter_map(|link| {
                let (name, alias) = link.split_once(':').unwrap_or((link, link));
                let alias = alias.rsplit('/').next().unwrap_or(alias);
                Some((alias.to_string(), self.find_container(name).ok()?))
            })
            .collect()
    }

    /// A container's address on the default bridge.
    pub(crate) fn bridge_ip(&self, container: &Container) -> Option<String> {
        let sandbox = container.sandbox.borrow();
        let mut endpoints = sandbox.iter().flat_map(|sandbox| &sandbox.endpoints);
        let own = endpoints.find(|endpoint| endpoint.network == "bridge")?;
        Some(own.address.as_ref()?.ip.to_string())
    }
}

/// The names of a link in `/etc/hosts`.
fn linked_names(alias: &str, child: &Data) -> String {
    let mut names = format!("{alias} {}", child.config.hostname);
    if alias != child.name {
        let _ = write!(names, " {}", child.name);
    }
    names
}

/// The line of a container's own name.
fn own_line(ip: &str, data: &Data) -> String {
    let (host, domain) = (&data.config.hostname, &data.config.domainname);
    match domain.is_empty() {
        true => format!("{ip}\t{host}\n"),
        false => format!("{ip}\t{host}.{domain} {host}\n"),
    }
}

fn says_names(host: &HostConfig) -> bool {
    [&host.dns, &host.dns_search, &host.dns_options]
        .iter()
        .any(|list| list.as_ref().is_some_and(|list| !list.is_empty()))
}

impl Sandbox {
    /// Addresses in the order of the links.
    fn addresses(&self) -> Vec<String> {
        let addresses = self.endpoints.iter().filter_map(|one| one.address.as_ref());
        addresses.map(|address| address.ip.to_string()).collect()
    }
}
