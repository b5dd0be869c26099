//! `/etc/resolv.conf` of a container: what the host's has, what `--dns`, `--dns-search` and `--dns-option` (or
//! `daemon.json`) say instead, and what of it a container can use.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use super::files::RESOLVER;

/// What is asked when nobody names a server that a container can reach.
const DEFAULT_SERVERS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4)),
];

/// How a container comes to its names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// In the host's namespace: as the host.
    Host,
    /// It asks the servers itself.
    Legacy,
    /// It asks the daemon.
    Internal,
}

/// A name server that the daemon asks for a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Server {
    pub(crate) ip: IpAddr,
    /// It can be reached from the host's namespace only.
    pub(crate) from_host: bool,
}

/// What is said in place of the host's.
#[derive(Default, Debug)]
pub(crate) struct Overrides {
    pub(crate) servers: Vec<String>,
    pub(crate) search: Vec<String>,
    pub(crate) options: Vec<String>,
}

/// The file, taken apart.
#[derive(Default, Debug)]
pub(crate) struct ResolvConf {
    /// The host has such a file.
    has_file: bool,
    servers: Vec<IpAddr>,
    search: Vec<String>,
    options: Vec<String>,
    /// Lines with other words.
    others: Vec<String>,
    /// Which parts are not the host's.
    overrides: Vec<&'static str>,
    /// Who said `ndots`.
    ndots_from: Option<&'static str>,
}

fn has_ndots(options: &[String]) -> bool {
    options.iter().any(|option| option.starts_with("ndots:"))
}

impl ResolvConf {
    /// The host's file, if there is one, with what is said instead.
    pub(crate) fn new(file: Option<&str>, said: Overrides) -> ResolvConf {
        let mut conf = ResolvConf {
            has_file: file.is_some(),
            ..ResolvConf::default()
        };
        for line in file.unwrap_or_default().lines() {
            conf.take_line(line.trim());
        }
        if has_ndots(&conf.options) {
            conf.ndots_from = Some("host");
        }
        if !said.servers.is_empty() {
            conf.servers = said
                .servers
                .iter()
                .filter_map(|ip| ip.parse().ok())
                .collect();
            conf.overrides.push("nameservers");
        }
        if !said.search.is_empty() {
            conf.search = said.search;
            // `--dns-search .`: none at all.
            if conf.search == ["."] {
                conf.search.clear();
            }
            conf.overrides.push("search");
        }
        if !said.options.is_empty() {
            conf.options = said.options;
            conf.overrides.push("options");
            conf.ndots_from = has_ndots(&conf.options).then_some("override");
        }
        conf
    }

    fn take_line(&mut self, line: &str) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            return;
        }
        let mut words = line.split_ascii_whitespace().map(str::to_string);
        match words.next().as_deref() {
            Some("nameserver") => {
                let ip = words.next().unwrap_or_default();
                let bare = ip.split('%').next().unwrap_or_default();
                self.servers.extend(bare.parse::<IpAddr>());
            }
            Some("domain") => self.search = words.take(1).collect(),
            Some("search") => self.search = words.collect(),
            Some("options") => self.options.extend(words),
            _ => self.others.push(line.to_string()),
        }
    }

    fn says_servers(&self) -> bool {
        self.overrides.contains(&"nameservers")
    }

    /// The servers a container asks itself; whether they are the default ones.
    fn reachable(&self, has_ipv6: bool) -> (Vec<IpAddr>, bool) {
        if self.says_servers() {
            return (self.servers.clone(), false);
        }
        let reachable = |ip: &&IpAddr| !ip.is_loopback() && (ip.is_ipv4() || has_ipv6);
        let found: Vec<IpAddr> = self.servers.iter().filter(reachable).copied().collect();
        match found.is_empty() {
            true => (DEFAULT_SERVERS.to_vec(), true),
            false => (found, false),
        }
    }

    /// The servers the daemon asks; whether they are the default ones.
    pub(crate) fn asked(&self) -> (Vec<Server>, bool) {
        let says = self.says_servers();
        let server = |&ip: &IpAddr| Server {
            ip,
            from_host: !says && (ip.is_loopback() || ip.is_ipv6()),
        };
        match self.servers.is_empty() {
            true => (DEFAULT_SERVERS.iter().map(server).collect(), true),
            false => (self.servers.iter().map(server).collect(), false),
        }
    }

    /// The file for a container.
    pub(crate) fn emit(&self, way: Way, has_ipv6: bool) -> String {
        let (mut options, mut ndots_from) = (self.options.clone(), self.ndots_from);
        let mut text = String::from(
            "# Generated by Docker Engine.\n# This file can be edited; Docker Engine will not make further changes \
             once it\n# has been modified.\n\n",
        );
        let (servers, defaults) = match way {
            Way::Host => (self.servers.clone(), false),
            Way::Legacy => self.reachable(has_ipv6),
            Way::Internal => {
                let own = RESOLVER.parse().ok();
                (own.into_iter().collect(), self.asked().1)
            }
        };
        for server in servers {
            let _ = writeln!(text, "nameserver {server}");
        }
        if !self.search.is_empty() {
            let _ = writeln!(text, "search {}", self.search.join(" "));
        }
        if way == Way::Internal && !has_ndots(&options) {
            options.push("ndots:0".to_string());
            ndots_from = Some("internal");
        }
        if !options.is_empty() {
            let _ = writeln!(text, "options {}", options.join(" "));
        }
        for line in &self.others {
            let _ = writeln!(text, "{line}");
        }
        let path = if self.has_file {
            "/etc/resolv.conf"
        } else {
            ""
        };
        let how = match way {
            Way::Host => "",
            Way::Legacy => " (legacy)",
            Way::Internal => " (internal resolver)",
        };
        let _ = writeln!(text, "\n# Based on host file: '{path}'{how}");
        if defaults {
            text.push_str("# Used default nameservers.\n");
        }
        if way == Way::Internal {
            let show = |server: &Server| match server.from_host {
                true => format!("host({})", server.ip),
                false => server.ip.to_string(),
            };
            let asked: Vec<String> = self.asked().0.iter().map(show).collect();
            let _ = writeln!(text, "# ExtServers: [{}]", asked.join(" "));
        }
        let _ = writeln!(text, "# Overrides: [{}]", self.overrides.join(" "));
        if let Some(from) = ndots_from {
            let _ = writeln!(text, "# Option ndots from: {from}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_ascii_whitespace().map(str::to_string).collect()
    }

    /// The file for a container without the lines that are always the same.
    fn shown(file: Option<&str>, said: [&str; 3], way: Way) -> String {
        let [servers, search, options] = said.map(words);
        let said = Overrides {
            servers,
            search,
            options,
        };
        let text = ResolvConf::new(file, said).emit(way, false);
        let lines = text.lines().skip(4).filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join("|")
    }

    #[test]
    fn what_a_container_gets() {
        let plain = Some("nameserver 192.168.0.1\nsearch lan\noptions timeout:2\n");
        let local = Some(
            "# c\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\nsearch .\ndomain foo\nsortlist x\n",
        );
        for (file, said, way, expected) in [
            (
                plain,
                ["", "", ""],
                Way::Legacy,
                "nameserver 192.168.0.1|search lan|options timeout:2|# Based on host file: '/etc/resolv.conf' \
                 (legacy)|# Overrides: []",
            ),
            (
                plain,
                ["9.9.9.9", ".", "ndots:3"],
                Way::Internal,
                "nameserver 127.0.0.11|options ndots:3|# Based on host file: '/etc/resolv.conf' (internal \
                 resolver)|# ExtServers: [9.9.9.9]|# Overrides: [nameservers search options]|# Option ndots from: \
                 override",
            ),
            (
                local,
                ["", "", ""],
                Way::Legacy,
                "nameserver 8.8.8.8|nameserver 8.8.4.4|search foo|sortlist x|# Based on host file: \
                 '/etc/resolv.conf' (legacy)|# Used default nameservers.|# Overrides: []",
            ),
            (
                local,
                ["", "", ""],
                Way::Internal,
                "nameserver 127.0.0.11|search foo|options ndots:0|sortlist x|# Based on host file: \
                 '/etc/resolv.conf' (internal resolver)|# ExtServers: [host(127.0.0.53) host(fe80::1)]|# \
                 Overrides: []|# Option ndots from: internal",
            ),
            (
                local,
                ["9.9.9.9", "", ""],
                Way::Host,
                "nameserver 9.9.9.9|search foo|sortlist x|# Based on host file: '/etc/resolv.conf'|# Overrides: \
                 [nameservers]",
            ),
            (
                None,
                ["", "", ""],
                Way::Legacy,
                "nameserver 8.8.8.8|nameserver 8.8.4.4|# Based on host file: '' (legacy)|# Used default \
                 nameservers.|# Overrides: []",
            ),
        ] {
            assert_eq!(shown(file, said, way), expected);
        }
    }
}
