//! `ip`, `iptables`, `sysctl` and what they show.

use std::fmt::Write as _;

use abi::Errno;
use clock::Instant;
use net::link::Scope;
use net::netfilter::TableName;
use net::route::{Add, Route, table};
use net::upper::{IpvlanMode, MacvlanMode};
use net::{Cidr, LinkId, Mac, NsId, address};

use super::{Machine, Reply};

fn mac(text: &str) -> Mac {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    Mac::from_bytes(&bytes)
}

fn after<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| *word == name)?;
    words.get(at + 1).copied()
}

impl Machine {
    fn space_of(&self, name: Option<&str>, default: NsId) -> NsId {
        name.map_or(default, |name| self.spaces[name])
    }

    pub fn ip(&mut self, ns: NsId, words: &[&str]) -> Reply {
        match (words[0], words.get(1).copied().unwrap_or("show")) {
            ("link", "add") => self.link_add(ns, &words[2..])?,
            ("link", "del") => {
                let link = self.network.find_link(ns, words[2])?;
                self.network.delete_link(link)?;
            }
            ("link", "set") => self.link_set(ns, words[2], &words[3..])?,
            ("link", "show") => return Ok(self.links(ns, false)),
            ("addr", "show") => return Ok(self.links(ns, true)),
            ("addr", verb) => {
                let cidr: Cidr = words[2].parse()?;
                let link = self.network.find_link(ns, words[4])?;
                if verb == "add" {
                    let new = address(cidr, Scope::Global);
                    self.network.add_address(link, new)?;
                } else {
                    self.network.remove_address(link, cidr)?;
                }
            }
            ("route", "show") => return self.routes(ns, words.get(3).copied()),
            ("route", "get") => return self.route_get(ns, words[2]),
            ("route", verb) => self.route_change(ns, verb, &words[2..])?,
            ("neigh", _) => return Ok(self.neighbours(ns)),
            other => panic!("no ip {other:?}"),
        }
        Ok(String::new())
    }

    fn link_add(&mut self, ns: NsId, words: &[&str]) -> Result<(), Errno> {
        let name = words[0];
        let address = after(words, "address").map(mac);
        match after(words, "type").unwrap() {
            "bridge" => drop(self.network.add_bridge(ns, name, address)?),
            "dummy" => drop(self.network.add_dummy(ns, name, address)?),
            kind @ ("macvlan" | "ipvlan") => {
                let lower = self.network.find_link(ns, after(words, "link").unwrap())?;
                let network = &mut self.network;
                let mode = after(words, "mode").unwrap();
                if kind == "macvlan" {
                    let mode = match mode {
                        "private" => MacvlanMode::Private,
                        "vepa" => MacvlanMode::Vepa,
                        "bridge" => MacvlanMode::Bridge,
                        _ => MacvlanMode::Passthru,
                    };
                    network.add_macvlan(ns, name, lower, mode, address)?;
                } else {
                    let mode = match mode {
                        "l2" => IpvlanMode::L2,
                        "l3" => IpvlanMode::L3,
                        _ => IpvlanMode::L3s,
                    };
                    network.add_ipvlan(ns, name, lower, mode)?;
                }
            }
            "veth" => {
                let at = words.iter().position(|word| *word == "peer").unwrap();
                let peer = &words[at..];
                let peer_ns = self.space_of(after(peer, "netns"), ns);
                let peer_mac = after(peer, "address").map(mac);
                let own_mac = after(&words[..at], "address").map(mac);
                let peer = (peer_ns, after(peer, "name"));
                self.network.add_veth(ns, name, peer, (own_mac, peer_mac))?;
            }
            other => panic!("no type {other}"),
        }
        Ok(())
    }

    fn link_set(&mut self, ns: NsId, name: &str, words: &[&str]) -> Result<(), Errno> {
        let link = self.network.find_link(ns, name)?;
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || *words.next().unwrap();
            match *word {
                "up" => self.network.set_up(link, true)?,
                "down" => self.network.set_up(link, false)?,
                "master" => {
                    let master = self.network.find_link(ns, value())?;
                    self.network.set_master(link, Some(master))?;
                }
                "nomaster" => self.network.set_master(link, None)?,
                "netns" => {
                    let to = self.spaces[value()];
                    self.network.move_link(link, to)?;
                }
                "name" => self.network.rename_link(link, value())?,
                "mtu" => self.network.set_mtu(link, value().parse().unwrap())?,
                "hairpin" => {
                    let on = value() == "on";
                    self.network.change_link(link, |link| link.hairpin = on)?;
                }
                other => panic!("no setting {other}"),
            }
        }
        Ok(())
    }

    fn links(&self, ns: NsId, addresses: bool) -> String {
        let mut text = String::new();
        for (id, link) in self.network.links_of(ns) {
            let carrier = self.network.has_carrier(id);
            let flags = link.flags(carrier);
            let names = [(1, "UP"), (0x1_0000, "LOWER_UP"), (8, "LOOPBACK")];
            let flags: Vec<&str> = names
                .iter()
                .filter(|(bit, _)| flags & bit != 0)
                .map(|(_, name)| *name)
                .collect();
            let master = link
                .master
                .and_then(|master| self.network.link(master).ok())
                .map(|master| format!(" master {}", master.name))
                .unwrap_or_default();
            let _ = writeln!(
                text,
                "{}: {}: <{}> mtu {}{master}",
                link.index,
                link.name,
                flags.join(","),
                link.mtu
            );
            for address in link.addresses.iter().filter(|_| addresses) {
                let _ = writeln!(text, "    {} {:?}", address.cidr, address.scope);
            }
        }
        text
    }

    fn name(&self, link: Option<LinkId>) -> String {
        link.and_then(|link| self.network.link(link).ok())
            .map_or("?".to_string(), |link| link.name.clone())
    }

    fn routes(&self, ns: NsId, wanted: Option<&str>) -> Reply {
        let wanted = match wanted {
            Some("local") => table::LOCAL,
            _ => table::MAIN,
        };
        let mut text = String::new();
        for route in self.network.space(ns)?.routes.iter() {
            if route.table != wanted || route.dst.ip.is_ipv6() {
                continue;
            }
            let kind = match route.kind {
                net::route::RouteKind::Unicast => String::new(),
                other => format!("{other:?} ").to_lowercase(),
            };
            let _ = write!(text, "{kind}");
            let _ = match route.dst {
                dst if dst.prefix == 0 => write!(text, "default"),
                dst if dst.is_host() => write!(text, "{}", dst.ip),
                dst => write!(text, "{dst}"),
            };
            if let Some(gateway) = route.gateway {
                let _ = write!(text, " via {gateway}");
            }
            if route.link.is_some() {
                let _ = write!(text, " dev {}", self.name(route.link));
            }
            if let Some(source) = route.source {
                let _ = write!(text, " src {source}");
            }
            if route.metric > 0 {
                let _ = write!(text, " metric {}", route.metric);
            }
            text.push('\n');
        }
        Ok(text)
    }

    fn route_get(&self, ns: NsId, ip: &str) -> Reply {
        let ip = ip.parse().unwrap();
        let hop = self.network.space(ns)?.routes.lookup(ip, None)?;
        Ok(format!(
            "{:?} via {} dev {}",
            hop.kind,
            hop.neighbour,
            self.name(Some(hop.link))
        ))
    }

    fn route_change(&mut self, ns: NsId, verb: &str, words: &[&str]) -> Result<(), Errno> {
        let (kind, words) = match words[0] {
            "blackhole" => (Some(net::route::RouteKind::Blackhole), &words[1..]),
            "unreachable" => (Some(net::route::RouteKind::Unreachable), &words[1..]),
            _ => (None, words),
        };
        let dst = match words[0] {
            "default" => Cidr::all(false),
            dst => dst.parse()?,
        };
        let gateway = after(words, "via").map(|ip| ip.parse().unwrap());
        let link = match after(words, "dev") {
            Some(name) => Some(self.network.find_link(ns, name)?),
            None => None,
        };
        let mut route = Route::unicast(dst, gateway, link);
        if let Some(metric) = after(words, "metric") {
            route.metric = metric.parse().unwrap();
        }
        if let Some(kind) = kind {
            route.kind = kind;
        }
        match verb {
            "del" => {
                self.network.remove_route(ns, |old| {
                    old.dst == route.dst
                        && old.table == table::MAIN
                        && (route.gateway.is_none() || old.gateway == route.gateway)
                })?;
            }
            "replace" => self.network.add_route(ns, route, Add::Replace)?,
            _ => self.network.add_route(ns, route, Add::New)?,
        }
        Ok(())
    }

    fn neighbours(&self, ns: NsId) -> String {
        let mut text = String::new();
        for ((link, ip), entry) in &self.network.space(ns).unwrap().neighbours.entries {
            let mac = if entry.state.is_valid() {
                format!(" lladdr {}", entry.mac).replace('-', ":")
            } else {
                String::new()
            };
            let state = format!("{:?}", entry.state).to_uppercase();
            let _ = writeln!(text, "{ip} dev {}{mac} {state}", self.name(Some(*link)));
        }
        text
    }

    pub fn sysctl(&mut self, ns: NsId, setting: &str) -> Reply {
        let settings = &mut self.network.space_mut(ns)?.settings;
        match setting {
            "ip_forward=1" => settings.forward_v4 = true,
            "ipv6_forward=1" => settings.forward_v6 = true,
            other => panic!("no setting {other}"),
        }
        Ok(String::new())
    }

    pub fn iptables(&mut self, ns: NsId, line: &str) -> Reply {
        let v6 = line.starts_with("ip6tables");
        let line = line.split_once(' ').unwrap().1;
        let (table, line) = match line.strip_prefix("-t ") {
            Some(rest) => {
                let (table, line) = rest.split_once(' ').unwrap();
                (TableName::parse(table)?, line)
            }
            None => (TableName::Filter, line),
        };
        let tables = self.network.space_mut(ns)?.tables_mut(v6);
        tables.command(table, line)?;
        Ok(String::new())
    }

    pub fn fdb(&mut self, name: &str, now: Instant) -> Reply {
        let ns = self.spaces[""];
        let link = self.network.find_link(ns, name)?;
        let bridge = self.network.link(link)?.bridge().unwrap();
        Ok(bridge
            .entries(now)
            .map(|(mac, seen)| format!("{mac} dev {}\n", self.name(Some(seen.port))))
            .collect::<String>()
            .replace('-', ":"))
    }

    pub fn counters(&mut self, ns: NsId, name: &str) -> Reply {
        let link = self.network.find_link(ns, name)?;
        let counters = self.network.link(link)?.counters;
        Ok(format!(
            "rx {} packets {} bytes, tx {} packets {} bytes",
            counters.rx_packets, counters.rx_bytes, counters.tx_packets, counters.tx_bytes
        ))
    }
}
