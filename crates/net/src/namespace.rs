//! What one network namespace has: links by index, routes, neighbours, rules, connections, ports.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clock::Instant;

use crate::fragment::Reassembly;
use crate::neighbour::Neighbours;
use crate::netfilter::{Conntrack, Tables};
use crate::route::Routes;
use crate::socket::TimeWait;
use crate::types::{LinkId, SocketId};

/// An address and a port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Endpoint {
    /// Address; IPv4 addresses that a socket of IPv6 sees as mapped are kept as IPv4.
    pub ip: IpAddr,
    /// Port.
    pub port: u16,
}

impl Endpoint {
    /// `ip` with `port`.
    #[must_use]
    pub fn new(ip: impl Into<IpAddr>, port: u16) -> Endpoint {
        Endpoint {
            ip: ip.into(),
            port,
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::net::SocketAddr::new(self.ip, self.port).fmt(f)
    }
}

/// What `/proc/sys/net` sets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `ipv4.ip_forward`.
    pub forward_v4: bool,
    /// `ipv6.conf.all.forwarding`.
    pub forward_v6: bool,
    /// `ipv4.ip_default_ttl`.
    pub ttl: u8,
    /// `ipv4.ip_local_port_range`.
    pub ports: (u16, u16),
    /// `ipv4.icmp_echo_ignore_all`.
    pub ignore_echo: bool,
    /// `ipv4.conf.all.route_localnet`: 127.0.0.0/8 may come from and go to a wire.
    pub route_localnet: bool,
    /// `ipv6.conf.all.disable_ipv6`.
    pub no_ipv6: bool,
    /// `bridge.bridge-nf-call-iptables`: IPv4 packets from port to port of a bridge pass the chain FORWARD.
    pub filter_bridged: bool,
    /// `core.somaxconn`.
    pub backlog_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            forward_v4: false,
            forward_v6: false,
            ttl: 64,
            ports: (32_768, 60_999),
            ignore_echo: false,
            route_localnet: false,
            no_ipv6: false,
            filter_bridged: false,
            backlog_max: 4096,
        }
    }
}

/// Counters of protocols (`/proc/net/snmp`).
#[derive(Clone, Copy, Default, Debug)]
#[allow(missing_docs, reason = "named as in /proc/net/snmp")]
pub struct Snmp {
    pub ip_in_receives: u64,
    pub ip_in_hdr_errors: u64,
    pub ip_in_addr_errors: u64,
    pub ip_forw_datagrams: u64,
    pub ip_in_unknown_protos: u64,
    pub ip_in_discards: u64,
    pub ip_in_delivers: u64,
    pub ip_out_requests: u64,
    pub ip_out_discards: u64,
    pub ip_out_no_routes: u64,
    pub ip_reasm_reqds: u64,
    pub ip_reasm_oks: u64,
    pub ip_frag_creates: u64,
    pub icmp_in_msgs: u64,
    pub icmp_in_errors: u64,
    pub icmp_out_msgs: u64,
    pub icmp_in_echos: u64,
    pub tcp_active_opens: u64,
    pub tcp_passive_opens: u64,
    pub tcp_attempt_fails: u64,
    pub tcp_estab_resets: u64,
    pub tcp_in_segs: u64,
    pub tcp_out_segs: u64,
    pub tcp_in_errs: u64,
    pub tcp_out_rsts: u64,
    pub tcp_listen_drops: u64,
    pub udp_in_datagrams: u64,
    pub udp_no_ports: u64,
    pub udp_in_errors: u64,
    pub udp_out_datagrams: u64,
    pub udp_rcvbuf_errors: u64,
}

/// A network namespace.
#[derive(Debug, Default)]
pub struct Namespace {
    /// Routes.
    pub routes: Routes,
    /// Neighbours.
    pub neighbours: Neighbours,
    /// Rules for IPv4.
    pub tables_v4: Tables,
    /// Rules for IPv6.
    pub tables_v6: Tables,
    /// Tracked connections.
    pub conntrack: Conntrack,
    /// Settings.
    pub settings: Settings,
    /// Counters.
    pub snmp: Snmp,
    pub(crate) loopback: Option<LinkId>,
    pub(crate) next_index: u32,
    pub(crate) next_ip_id: u16,
    pub(crate) reassembly: Reassembly,
    /// Connections of TCP by local and remote end.
    pub(crate) connections: BTreeMap<(Endpoint, Endpoint), SocketId>,
    /// Connections that are over but may still be talked to.
    pub(crate) time_wait: BTreeMap<(Endpoint, Endpoint), TimeWait>,
    pub(crate) time_wait_order: std::collections::VecDeque<(Instant, (Endpoint, Endpoint))>,
    /// When what is over is forgotten.
    pub(crate) sweep: Option<Instant>,
    /// Sockets bound to ports.
    pub(crate) tcp_ports: BTreeMap<u16, Vec<SocketId>>,
    pub(crate) udp_ports: BTreeMap<u16, Vec<SocketId>>,
    /// Sockets of `ping` by identifier.
    pub(crate) ping_ids: BTreeMap<u16, Vec<SocketId>>,
    /// Raw sockets.
    pub(crate) raw: Vec<SocketId>,
}

impl Namespace {
    /// The rules of a family.
    #[must_use]
    pub fn tables(&self, v6: bool) -> &Tables {
        if v6 { &self.tables_v6 } else { &self.tables_v4 }
    }

    /// The rules of a family, to be changed.
    pub fn tables_mut(&mut self, v6: bool) -> &mut Tables {
        if v6 {
            &mut self.tables_v6
        } else {
            &mut self.tables_v4
        }
    }

    /// Packets of this family are forwarded.
    #[must_use]
    pub fn forwards(&self, v6: bool) -> bool {
        if v6 {
            self.settings.forward_v6
        } else {
            self.settings.forward_v4
        }
    }

    /// Forgets ends of connections that nobody talks to any more, and the oldest when there are too many.
    pub(crate) fn forget_time_waits(&mut self, now: Instant, max: usize) {
        while let Some(&(at, key)) = self.time_wait_order.front()
            && (at <= now || self.time_wait_order.len() >= max)
        {
            self.time_wait_order.pop_front();
            let known = self.time_wait.get(&key);
            if known.is_some_and(|old| old.expires == at) {
                self.time_wait.remove(&key);
            }
        }
    }

    pub(crate) fn take_ip_id(&mut self) -> u16 {
        self.next_ip_id = self.next_ip_id.wrapping_add(1);
        self.next_ip_id
    }
}
