//! `/etc/hosts` and `/etc/resolv.conf` of a container.

use std::fmt::Write as _;
use std::net::IpAddr;

use engine_api::error::{ApiError, Result};
use engine_api::types::HostConfig;
use os::{OsExt, View};

use super::is_built_in;
use super::resolv::{Overrides, ResolvConf, Way};
use super::sandbox::{Address, Sandbox};
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
            ("hostname", hostname),
        ] {
            self.write_file_of(container, name, &content)?;
        }
        self.keep_resolv_conf(container, &self.resolv_conf(container, &data))
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
            text.push_str(&own_line(ip, data));
        }
        text
    }

    /// The address that `host-gateway` stands for: that of the default bridge, unless `daemon.json` names one.
    fn host_gateway(&self) -> String {
        let said = self.settings.borrow().network.host_gateway_ip.clone();
        if !said.is_empty() {
            return said;
        }
        let bridge = self.find_network("bridge").ok();
        let plan = bridge.as_ref().map(super::Plan::of);
        let pool = plan.as_ref().and_then(|plan| plan.first(false));
        pool.map_or("127.0.0.1".to_string(), |pool| pool.gateway.to_string())
    }

    /// Writes `/etc/hosts` again after a network has come. What the container wrote itself stays.
    pub(crate) fn add_hosts(&self, container: &Container, address: &Address) {
        let data = container.data.borrow();
        let lines: String = address.ips().map(|ip| own_line(ip, &data)).collect();
        let text = self.hosts_now(container) + &lines;
        let _ = self.write_file_of(container, "hosts", &text);
    }

    /// Takes the names of a user's network out of `/etc/hosts`. As with Docker that is every line that ends with
    /// one of them, also one of another network.
    pub(crate) fn remove_hosts(&self, container: &Container, names: &[String]) {
        let old = self.hosts_now(container);
        let names_it = |line: &&str| {
            let last = line.trim_end().rsplit_once('\t');
            last.is_none_or(|(_, last)| !names.iter().any(|name| name == last))
        };
        let text: String = old.split_inclusive('\n').filter(names_it).collect();
        let _ = self.write_file_of(container, "hosts", &text);
    }

    fn hosts_now(&self, container: &Container) -> String {
        let path = format!("{}/hosts", container.directory);
        let old = self.os.read_file_now(View::Host, path.as_bytes());
        String::from_utf8_lossy(&old.unwrap_or_default()).into_owned()
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
                let old = self.hosts_now(&parent);
                let lines = old.split_inclusive('\n');
                let mut text: String = lines.filter(|line| !line.ends_with(&names)).collect();
                text.push_str(&format!("{ip}{names}"));
                let _ = self.write_file_of(&parent, "hosts", &text);
            }
        }
    }

    /// Writes `/etc/resolv.conf` again after the first user's network has come. What the container wrote itself
    /// stays.
    pub(crate) fn write_resolv_conf(&self, container: &Container) -> Result<()> {
        let path = format!("{}/resolv.conf", container.directory);
        let kept = self.os.read_file_now(View::Host, path.as_bytes());
        let ours = self
            .os
            .read_file_now(View::Host, hash_path(&path).as_bytes());
        if let (Ok(kept), Ok(ours)) = (kept, ours)
            && oci::Digest::of(&kept).to_string().as_bytes() != ours
        {
            return Ok(());
        }
        let text = self.resolv_conf(container, &container.data.borrow());
        self.keep_resolv_conf(container, &text)
    }

    /// The file, and what it was when the daemon wrote it.
    fn keep_resolv_conf(&self, container: &Container, text: &str) -> Result<()> {
        let hash = oci::Digest::of(text.as_bytes()).to_string();
        self.write_file_of(container, "resolv.conf", text)?;
        self.write_file_of(container, "resolv.conf.hash", &hash)
    }

    fn resolv_conf(&self, container: &Container, data: &Data) -> String {
        let way = match () {
            () if data.host_config.network_mode == "host" => Way::Host,
            () if self.needs_resolver(container) => Way::Internal,
            () => Way::Legacy,
        };
        let sandbox = container.sandbox.borrow();
        let has_ipv6 = sandbox
            .iter()
            .flat_map(Sandbox::addresses)
            .any(|ip| ip.is_ipv6());
        self.names_of(&data.host_config).emit(way, has_ipv6)
    }

    /// Where names come from: the host's file, and what the user or `daemon.json` says instead.
    pub(crate) fn names_of(&self, host: &HostConfig) -> ResolvConf {
        let own = self.os.read_file_now(View::Host, b"/etc/resolv.conf").ok();
        let own = own.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let settings = self.settings.borrow();
        let said = |asked: &Option<Vec<String>>, daemon: &Vec<String>| match asked {
            Some(list) if !list.is_empty() => list.clone(),
            _ => daemon.clone(),
        };
        let said = Overrides {
            servers: said(&host.dns, &settings.network.dns),
            search: said(&host.dns_search, &settings.network.dns_search),
            options: said(&host.dns_options, &settings.network.dns_opts),
        };
        ResolvConf::new(own.as_deref(), said)
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

/// The file beside `resolv.conf` that tells whether somebody changed it.
fn hash_path(path: &str) -> String {
    format!("{path}.hash")
}

/// The line of a container's own name.
fn own_line(ip: IpAddr, data: &Data) -> String {
    let (host, domain) = (&data.config.hostname, &data.config.domainname);
    let whole = match domain.is_empty() {
        true => host.clone(),
        false => format!("{host}.{domain}"),
    };
    match whole.split_once('.') {
        Some((short, _)) => format!("{ip}\t{whole} {short}\n"),
        None => format!("{ip}\t{whole}\n"),
    }
}

impl Sandbox {
    /// Addresses in the order of the links.
    fn addresses(&self) -> Vec<IpAddr> {
        let addresses = self.endpoints.iter().filter_map(|one| one.address.as_ref());
        addresses.flat_map(Address::ips).collect()
    }
}
