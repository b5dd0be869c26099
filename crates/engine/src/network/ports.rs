//! Published ports: which are asked for, which are free, and the rules and proxies that serve them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use engine_api::error::{ApiError, Result};
use engine_api::types::{Port, PortBinding};
use os::{Errno, OsExt, View};

use super::proxy::Proxy;
use super::sandbox::{Address, Via};
use crate::Engine;
use crate::state::{Container, Data};

/// How often another port is tried when somebody listens on the one chosen.
const ATTEMPTS: usize = 10;

/// A published port.
pub(crate) struct Published {
    /// In the container.
    port: u16,
    protocol: &'static str,
    host_ip: IpAddr,
    host_port: u16,
    to: IpAddr,
    bridge: String,
    _proxy: Proxy,
}

/// A port that is to be published.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    port: u16,
    protocol: &'static str,
    /// `None`: all addresses of both families.
    host_ip: Option<IpAddr>,
    /// First and last; `None`: whichever is free.
    host_ports: Option<(u16, u16)>,
}

/// `80/tcp`; without a protocol it is TCP.
fn parse_port(text: &str) -> Option<(u16, &'static str)> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        _ => return None,
    };
    Some((number.parse().ok()?, protocol))
}

/// `8080` or `8000-8010`; nothing: whichever is free.
fn parse_host_ports(text: &str) -> Option<Option<(u16, u16)>> {
    if matches!(text, "" | "0") {
        return Some(None);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(Some((first, last)))
}

/// Refuses what is no port.
pub(crate) fn check(host: &engine_api::types::HostConfig) -> Result<()> {
    let invalid = |text: &str| ApiError::invalid(format!("invalid port specification: \"{text}\""));
    for (port, bindings) in &host.port_bindings {
        if parse_port(port).is_none() {
            return Err(invalid(port.split('/').next().unwrap_or_default()));
        }
        for binding in bindings {
            parse_host_ports(&binding.host_port).ok_or_else(|| invalid(&binding.host_port))?;
            if !binding.host_ip.is_empty() && binding.host_ip.parse::<IpAddr>().is_err() {
                return Err(ApiError::invalid(format!(
                    "invalid host IP address: {}",
                    binding.host_ip
                )));
            }
        }
    }
    Ok(())
}

/// What a container is to publish: first what has a port of its own, then what takes a free one.
fn wanted(data: &Data) -> Vec<Wanted> {
    let host = &data.host_config;
    let mut all = Vec::new();
    for (port, bindings) in &host.port_bindings {
        let Some((port, protocol)) = parse_port(port) else {
            continue;
        };
        all.extend(bindings.iter().map(|binding| Wanted {
            port,
            protocol,
            host_ip: binding.host_ip.parse().ok(),
            host_ports: parse_host_ports(&binding.host_port).flatten(),
        }));
    }
    if host.publish_all_ports {
        let exposed = data.config.exposed_ports.iter().flatten();
        let more = exposed
            .filter(|(port, _)| host.port_bindings.get(*port).is_none_or(Vec::is_empty))
            .filter_map(|(port, _)| parse_port(port))
            .map(|(port, protocol)| Wanted {
                port,
                protocol,
                host_ip: None,
                host_ports: None,
            });
        all.extend(more);
    }
    order::sort_by_key(&mut all, |wanted| {
        (wanted.host_ports.is_none(), wanted.port)
    });
    all
}

/// Why a port is not to be had.
enum Refused {
    /// Docker gave it to another container.
    Allocated(u16),
    /// Somebody listens there.
    InUse(u16, Errno),
    /// All of a range are given.
    Exhausted,
    /// The kernel does not have the protocol.
    NoProtocol,
}

impl Refused {
    fn text(&self, ip: IpAddr, protocol: &str) -> String {
        let family = if ip.is_ipv4() { '4' } else { '6' };
        let at = |port: u16| SocketAddr::new(ip, port);
        match self {
            Refused::Allocated(port) => {
                format!("Bind for {} failed: port is already allocated", at(*port))
            }
            Refused::Exhausted => "all ports are allocated".to_string(),
            Refused::NoProtocol => {
                "Error starting userland proxy: protocol not supported".to_string()
            }
            Refused::InUse(port, errno) => format!(
                "Error starting userland proxy: listen {protocol}{family} {}: bind: {}",
                at(*port),
                errno.go_description()
            ),
        }
    }
}

impl Published {
    /// The rules, as `iptables` takes them: table and line behind `-A` or `-D`.
    fn rules(&self) -> Vec<(&'static str, String)> {
        let (IpAddr::V4(host_ip), IpAddr::V4(to)) = (self.host_ip, self.to) else {
            // Over IPv6 only the proxy serves.
            return Vec::new();
        };
        let (bridge, protocol, port) = (&self.bridge, self.protocol, self.port);
        let destination = match host_ip.is_unspecified() {
            true => String::new(),
            false => format!("-d {host_ip}/32 "),
        };
        vec![
            (
                "nat",
                format!(
                    "DOCKER {destination}! -i {bridge} -p {protocol} -m {protocol} --dport {} -j DNAT \
                     --to-destination {to}:{port}",
                    self.host_port
                ),
            ),
            (
                "filter",
                format!(
                    "DOCKER -d {to}/32 ! -i {bridge} -o {bridge} -p {protocol} -m {protocol} --dport {port} -j \
                     ACCEPT"
                ),
            ),
            (
                "nat",
                format!(
                    "POSTROUTING -s {to}/32 -d {to}/32 -p {protocol} -m {protocol} --dport {port} -j MASQUERADE"
                ),
            ),
        ]
    }

    fn key(&self) -> String {
        format!("{}/{}", self.port, self.protocol)
    }
}

impl Engine {
    /// Publishes the ports of a container over its way out.
    pub(crate) fn publish(&self, container: &Rc<Container>) -> Result<()> {
        let (wanted, name) = {
            let data = container.data.borrow();
            (wanted(&data), data.name.clone())
        };
        let endpoint = {
            let sandbox = container.sandbox.borrow();
            let sandbox = sandbox.as_ref();
            sandbox.and_then(|sandbox| sandbox.outward(false).cloned())
        };
        let Some((endpoint, address)) = endpoint.and_then(|found| {
            let address = found.address.clone()?;
            Some((found, address))
        }) else {
            return Ok(());
        };
        // What is on the host's own network needs no port of the host.
        let Via::Bridge { bridge, .. } = &address.via else {
            return Ok(());
        };
        let binding = self.find_network(&endpoint.network)?;
        let binding =
            super::bridge_option(&binding, "host_binding_ipv4").and_then(|ip| ip.parse().ok());
        let binding = binding.filter(|ip: &IpAddr| !ip.is_unspecified());
        for wanted in &wanted {
            let published = self
                .bind_port(wanted, &address, binding, bridge)
                .map_err(|text| {
                    ApiError::system(format!(
                        "driver failed programming external connectivity on endpoint {name} ({}): {text}",
                        endpoint.id
                    ))
                })?;
            for (table, rule) in published.iter().flat_map(Published::rules) {
                let line = format!("-A {rule}");
                self.os
                    .packet_filter(View::Host, false, table, &line)
                    .map_err(|errno| {
                        ApiError::system(format!(
                            "driver failed programming external connectivity on endpoint {name} ({}): iptables \
                             failed: iptables --wait -t {table} {line}: {}",
                            endpoint.id,
                            errno.go_description()
                        ))
                    })?;
            }
            if let Some(sandbox) = &mut *container.sandbox.borrow_mut() {
                sandbox.published.extend(published);
            }
        }
        Ok(())
    }

    /// Takes back what [`Engine::publish`] gave.
    pub(crate) fn unpublish(&self, container: &Container) {
        let published = match &mut *container.sandbox.borrow_mut() {
            Some(sandbox) => std::mem::take(&mut sandbox.published),
            None => return,
        };
        for (table, rule) in published.iter().flat_map(Published::rules) {
            // Somebody may have flushed the table.
            let line = format!("-D {rule}");
            let _ = self.os.packet_filter(View::Host, false, table, &line);
        }
    }

    /// Finds a port of the host and listens there, on one address or on all of both families.
    fn bind_port(
        &self,
        wanted: &Wanted,
        to: &Address,
        binding: Option<IpAddr>,
        bridge: &str,
    ) -> std::result::Result<Vec<Published>, String> {
        let addresses = match wanted.host_ip.or(binding) {
            Some(ip) => vec![ip],
            None if self.has_ipv6() => vec![
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            ],
            None => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        };
        if wanted.protocol == "sctp" {
            return Err(Refused::NoProtocol.text(addresses[0], wanted.protocol));
        }
        let (first, last) = wanted.host_ports.unwrap_or_else(|| self.ephemeral_ports());
        let exact = first == last;
        // A port that was free before is not given again at once.
        let place = (addresses[0], wanted.protocol);
        let begin = match wanted.host_ports {
            None => {
                let next = self.next_ports.borrow().get(&place).copied();
                next.unwrap_or(first).clamp(first, last)
            }
            Some(_) => first,
        };
        let (mut attempts, mut why) = (0, Refused::Exhausted);
        let mut refused_at = addresses[0];
        for host_port in (begin..=last).chain(first..begin) {
            let mut published = Vec::new();
            for &ip in &addresses {
                if self.is_allocated(ip, host_port, wanted.protocol) {
                    if exact {
                        (why, refused_at) = (Refused::Allocated(host_port), ip);
                    }
                    break;
                }
                let from = SocketAddr::new(ip, host_port);
                let behind = match &to.v6 {
                    Some(v6) if ip.is_ipv6() => IpAddr::V6(v6.ip),
                    _ => IpAddr::V4(to.ip),
                };
                let behind = SocketAddr::new(behind, wanted.port);
                match Proxy::start(&self.os, wanted.protocol == "udp", from, behind) {
                    Ok(proxy) => published.push(Published {
                        port: wanted.port,
                        protocol: wanted.protocol,
                        host_ip: ip,
                        host_port,
                        to: behind.ip(),
                        bridge: bridge.to_string(),
                        _proxy: proxy,
                    }),
                    Err(errno) => {
                        (why, refused_at) = (Refused::InUse(host_port, errno), ip);
                        attempts += 1;
                        break;
                    }
                }
            }
            if published.len() == addresses.len() {
                if wanted.host_ports.is_none() {
                    self.next_ports
                        .borrow_mut()
                        .insert(place, host_port.saturating_add(1));
                }
                return Ok(published);
            }
            if attempts == ATTEMPTS {
                break;
            }
        }
        Err(why.text(refused_at, wanted.protocol))
    }

    fn is_allocated(&self, ip: IpAddr, port: u16, protocol: &str) -> bool {
        self.containers.borrow().values().any(|container| {
            let sandbox = container.sandbox.borrow();
            let mut published = sandbox.iter().flat_map(|sandbox| &sandbox.published);
            published.any(|other| {
                other.host_ip == ip && other.host_port == port && other.protocol == protocol
            })
        })
    }

    fn ephemeral_ports(&self) -> (u16, u16) {
        let path = b"/proc/sys/net/ipv4/ip_local_port_range";
        let text = self.os.read_file_now(View::Host, path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut numbers = text.split_whitespace().map(str::parse::<u16>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(first)), Some(Ok(last))) if first <= last => (first, last),
            _ => (32_768, 60_999),
        }
    }

    fn has_ipv6(&self) -> bool {
        let any_port = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        self.os.tcp_listen(View::Host, any_port).is_ok()
    }

    /// Exposed and published ports of a running container, as inspect shows them.
    pub(crate) fn port_map(
        &self,
        container: &Container,
    ) -> std::collections::BTreeMap<String, Option<Vec<PortBinding>>> {
        let data = container.data.borrow();
        let sandbox = container.sandbox.borrow();
        let Some(sandbox) = sandbox.as_ref().filter(|_| data.state.running) else {
            return Default::default();
        };
        let exposed = data.config.exposed_ports.iter().flatten();
        let mut map: std::collections::BTreeMap<_, Option<Vec<_>>> =
            exposed.map(|(port, _)| (port.clone(), None)).collect();
        for published in &sandbox.published {
            let list = map.entry(published.key()).or_default();
            list.get_or_insert_default().push(PortBinding {
                host_ip: published.host_ip.to_string(),
                host_port: published.host_port.to_string(),
            });
        }
        map
    }

    /// The same as a list.
    pub(crate) fn port_list(&self, container: &Container) -> Vec<Port> {
        let mut list = Vec::new();
        for (port, bindings) in self.port_map(container) {
            let Some((private_port, kind)) = parse_port(&port) else {
                continue;
            };
            let row = |ip: String, public_port| Port {
                ip,
                private_port,
                public_port,
                kind: kind.to_string(),
            };
            match bindings {
                None => list.push(row(String::new(), None)),
                Some(bindings) => list.extend(
                    bindings
                        .into_iter()
                        .map(|at| row(at.host_ip, at.host_port.parse().ok())),
                ),
            }
        }
        list
    }

    /// Whether a container publishes a port of the filter `publish`: `80`, `80/udp`, `80-90/tcp`.
    pub(crate) fn publishes(&self, container: &Container, value: &str) -> bool {
        let (numbers, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
        let Some(Some((first, last))) = parse_host_ports(numbers) else {
            return false;
        };
        let sandbox = container.sandbox.borrow();
        let mut published = sandbox.iter().flat_map(|sandbox| &sandbox.published);
        published.any(|published| {
            (first..=last).contains(&published.host_port) && published.protocol == protocol
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn what_is_published_and_in_what_order() {
        let binding = |host_ip: &str, host_port: &str| PortBinding {
            host_ip: host_ip.to_string(),
            host_port: host_port.to_string(),
        };
        let mut data = Data::default();
        data.host_config.port_bindings = BTreeMap::from([
            ("53/udp".to_string(), vec![binding("", "")]),
            ("80".to_string(), vec![binding("127.0.0.1", "8000-8002")]),
        ]);
        data.host_config.publish_all_ports = true;
        let exposed = ["53/udp", "443/tcp"].map(|port| (port.to_string(), oci::Empty {}));
        data.config.exposed_ports = Some(exposed.into());
        assert!(check(&data.host_config).is_ok());
        let got: Vec<_> = wanted(&data)
            .iter()
            .map(|one| {
                (
                    one.port,
                    one.protocol,
                    one.host_ip.is_some(),
                    one.host_ports,
                )
            })
            .collect();
        let expected = [
            (80, "tcp", true, Some((8000, 8002))),
            (53, "udp", false, None),
            (443, "tcp", false, None),
        ];
        assert_eq!(got, expected);
    }

    #[test]
    fn wrong_ports_are_refused() {
        for (port, host_port, text) in [
            ("x/tcp", "1", "invalid port specification: \"x\""),
            ("80/tcp", "9-8", "invalid port specification: \"9-8\""),
            ("80/tcp", "99999", "invalid port specification: \"99999\""),
        ] {
            let mut host = engine_api::types::HostConfig::default();
            let binding = PortBinding {
                host_port: host_port.to_string(),
                ..PortBinding::default()
            };
            host.port_bindings = BTreeMap::from([(port.to_string(), vec![binding])]);
            let error = check(&host).unwrap_err();
            assert_eq!(error.message, text);
        }
    }
}
