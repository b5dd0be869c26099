//! The host's side of a bridge network: the bridge with its address, and the rules that let packets of its
//! containers out, keep other networks away and let published ports in. The chains are Docker's.

use std::net::{IpAddr, Ipv6Addr};

use engine_api::error::{ApiError, Result};
use engine_api::types::Network;
use os::network::{LinkChange, NewLink};
use os::{Errno, OsExt, View};

use super::Plan;
use super::lan::Lan;
use crate::Engine;

const HOST: View = View::Host;

/// Longest name of a link.
const LINK_NAME_MAX: usize = 15;

/// Chains that are there whatever networks are: table, chain.
const CHAINS: [(&str, &str); 5] = [
    ("nat", "DOCKER"),
    ("filter", "DOCKER"),
    ("filter", "DOCKER-ISOLATION-STAGE-1"),
    ("filter", "DOCKER-ISOLATION-STAGE-2"),
    ("filter", "DOCKER-USER"),
];

/// Their rules, in order.
const RULES: [(&str, &str); 7] = [
    ("nat", "PREROUTING -m addrtype --dst-type LOCAL -j DOCKER"),
    (
        "nat",
        "OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER",
    ),
    ("filter", "FORWARD -j DOCKER-USER"),
    ("filter", "FORWARD -j DOCKER-ISOLATION-STAGE-1"),
    ("filter", "DOCKER-ISOLATION-STAGE-1 -j RETURN"),
    ("filter", "DOCKER-ISOLATION-STAGE-2 -j RETURN"),
    ("filter", "DOCKER-USER -j RETURN"),
];

/// At the chain's end: behind the rules that open what is refused otherwise.
const LAST: &str = "FORWARD last";

/// The rules of one bridge: table, chain and place, rule. Those of a place are inserted from the last, so
/// they stand there in this order.
fn rules(network: &Network, plan: &Plan) -> Vec<(&'static str, &'static str, String)> {
    let bridge = &plan.bridge;
    let Some(subnet) = plan.first(false).map(|pool| pool.subnet) else {
        return Vec::new();
    };
    if network.internal {
        return vec![
            (
                "filter",
                "DOCKER-ISOLATION-STAGE-1",
                format!("! -s {subnet} -o {bridge} -j DROP"),
            ),
            (
                "filter",
                "DOCKER-ISOLATION-STAGE-1",
                format!("! -d {subnet} -i {bridge} -j DROP"),
            ),
            (
                "filter",
                "FORWARD 3",
                format!("-i {bridge} -o {bridge} -j ACCEPT"),
            ),
        ];
    }
    let option =
        |name: &str| super::bridge_option(network, name).and_then(super::parse_bool) != Some(false);
    let own = if option("enable_icc") {
        "ACCEPT"
    } else {
        "DROP"
    };
    let mut list = vec![
        ("nat", "DOCKER", format!("-i {bridge} -j RETURN")),
        (
            "filter",
            "FORWARD 3",
            format!("-o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
        ),
        ("filter", "FORWARD 3", format!("-o {bridge} -j DOCKER")),
        (
            "filter",
            "FORWARD 3",
            format!("-i {bridge} ! -o {bridge} -j ACCEPT"),
        ),
        (
            "filter",
            if own == "DROP" { LAST } else { "FORWARD 3" },
            format!("-i {bridge} -o {bridge} -j {own}"),
        ),
        (
            "filter",
            "DOCKER-ISOLATION-STAGE-1",
            format!("-i {bridge} ! -o {bridge} -j DOCKER-ISOLATION-STAGE-2"),
        ),
        (
            "filter",
            "DOCKER-ISOLATION-STAGE-2",
            format!("-o {bridge} -j DROP"),
        ),
    ];
    if option("enable_ip_masquerade") {
        let rule = format!("-s {subnet} ! -o {bridge} -j MASQUERADE");
        list.push(("nat", "POSTROUTING", rule));
    }
    list
}

impl Engine {
    fn filter(&self, table: &str, line: &str) -> os::Result<()> {
        self.os.packet_filter(HOST, false, table, line)
    }

    /// Forwarding and Docker's chains. Those of an earlier daemon are used again.
    fn prepare_packet_filter(&self) -> os::Result<()> {
        self.os
            .write_control(HOST, "/proc/sys/net/ipv4/ip_forward", "1\n")?;
        self.filter("filter", "-P FORWARD DROP")?;
        for (table, chain) in CHAINS {
            match self.filter(table, &format!("-N {chain}")) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        for (table, rule) in RULES {
            if self.filter(table, &format!("-C {rule}")).is_err() {
                self.filter(table, &format!("-A {rule}"))?;
            }
        }
        Ok(())
    }

    /// Everything of the host's side, when the daemon starts.
    pub(crate) fn prepare_networks(&self) {
        // A host that cannot do this says so when a container wants a network.
        let _ = self.prepare_packet_filter();
        let networks: Vec<Network> = self.networks.borrow().values().cloned().collect();
        for network in networks.iter().filter(|one| !one.config_only) {
            match network.driver.as_str() {
                "bridge" => drop(self.make_bridge(network)),
                _ => {
                    if let Ok(Some(lan)) = Lan::of(network) {
                        let _ = self.make_parent(network, &lan);
                    }
                }
            }
        }
    }

    /// Makes a network's bridge, unless it is there, and its rules.
    pub(crate) fn make_bridge(&self, network: &Network) -> Result<()> {
        let plan = Plan::of(network);
        if plan.bridge.len() > LINK_NAME_MAX {
            return Err(ApiError::system("numerical result out of range"));
        }
        let failed = |errno: Errno| ApiError::system(errno.go_description().to_string());
        let random = self.os.rng().next_u64().to_be_bytes();
        let mac = [0x02, 0x42, random[0], random[1], random[2], random[3]];
        let new = NewLink::Bridge { mac: Some(mac) };
        match self.os.link_add(HOST, &plan.bridge, &new) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
        if let Some(mtu) = super::mtu_of(network) {
            let mtu = LinkChange::Mtu(mtu);
            self.os.link_set(HOST, &plan.bridge, &mtu).map_err(failed)?;
        }
        self.bridge_addresses(network, &plan).map_err(failed)?;
        if super::bridge_option(network, "enable_icc").and_then(super::parse_bool) == Some(false) {
            let path = "/proc/sys/net/bridge/bridge-nf-call-iptables";
            self.os.write_control(HOST, path, "1\n").map_err(failed)?;
        }
        self.os
            .link_set(HOST, &plan.bridge, &LinkChange::Up(true))
            .map_err(failed)?;
        let failed = |what: String| {
            move |errno: Errno| ApiError::system(format!("{what}: {}", errno.go_description()))
        };
        for (table, place, rule) in rules(network, &plan).iter().rev() {
            let chain = place.split(' ').next().unwrap_or_default();
            let verb = match *place {
                LAST => {
                    // An earlier daemon may have allowed it.
                    let other = rule.replace("-j DROP", "-j ACCEPT");
                    let _ = self.filter(table, &format!("-D {chain} {other}"));
                    format!("-A {chain}")
                }
                place => {
                    let other = rule.replace("-j ACCEPT", "-j DROP");
                    if other != *rule {
                        let _ = self.filter(table, &format!("-D {chain} {other}"));
                    }
                    format!("-I {place}")
                }
            };
            if self.filter(table, &format!("-C {chain} {rule}")).is_err() {
                self.filter(table, &format!("{verb} {rule}"))
                    .map_err(failed(format!(
                        "iptables failed: iptables --wait -t {table} {verb} {rule}"
                    )))?;
            }
        }
        Ok(())
    }

    /// The bridge's addresses are the network's gateways; what an earlier daemon gave it goes.
    fn bridge_addresses(&self, network: &Network, plan: &Plan) -> os::Result<()> {
        let inhibits = super::bridge_option(network, "inhibit_ipv4").and_then(super::parse_bool);
        let mut wanted: Vec<(IpAddr, u8)> = plan
            .pools
            .iter()
            .filter(|pool| pool.subnet.is_v6() || inhibits != Some(true))
            .map(|pool| (pool.gateway, pool.subnet.prefix))
            .collect();
        if plan.first(true).is_some() {
            self.os
                .write_control(HOST, "/proc/sys/net/ipv6/conf/all/forwarding", "1\n")?;
            wanted.push((Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(), 64));
        }
        let links = self.os.links(HOST)?;
        let own = links.into_iter().filter(|link| link.name == plan.bridge);
        let there: Vec<(IpAddr, u8)> = own.flat_map(|link| link.addresses).collect();
        for &(ip, prefix) in there
            .iter()
            .filter(|one| one.0.is_ipv4() && !wanted.contains(one))
        {
            self.os.address_delete(HOST, &plan.bridge, ip, prefix)?;
        }
        for &(ip, prefix) in wanted.iter().filter(|one| !there.contains(one)) {
            self.os.address_add(HOST, &plan.bridge, ip, prefix)?;
        }
        Ok(())
    }

    /// Takes a network's bridge and rules away.
    pub(crate) fn remove_bridge(&self, network: &Network) {
        let plan = Plan::of(network);
        // Whoever took one away before did what is wanted.
        for (table, place, rule) in rules(network, &plan) {
            let chain = place.split(' ').next().unwrap_or_default();
            let _ = self.filter(table, &format!("-D {chain} {rule}"));
        }
        let _ = self.os.link_delete(HOST, &plan.bridge);
    }
}
