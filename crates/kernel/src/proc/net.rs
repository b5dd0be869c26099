//! `/proc/PID/net`: the network of the task's namespace.
//!
//! Tables of sockets come from the socket families, the rest from crate `net`.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use abi::{Errno, Result};
use net::Network;
use net::route::{Route, RouteKind, table};
use vfs::inode::{InodeRef, S_IFREG};

use super::task::{TaskRef, View, ino};
use crate::namespaces::NetNs;
use crate::pseudo::{Dir, Entry};
use crate::socket;

type Text = fn(&View, &Rc<NetNs>) -> String;

const FILES: &[(&str, Text)] = &[
    ("arp", arp),
    ("dev", dev),
    ("dev_mcast", |_, _| String::new()),
    ("fib_trie", |_, _| String::new()),
    ("icmp", |view, ns| inet(view, ns, INET_HEADING, "icmp")),
    ("icmp6", |view, ns| inet(view, ns, INET6_HEADING, "icmp6")),
    ("if_inet6", if_inet6),
    ("igmp", |_, _| {
        "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n".into()
    }),
    ("ip_tables_names", |_, ns| table_names(ns, false)),
    ("ip6_tables_names", |_, ns| table_names(ns, true)),
    ("ipv6_route", ipv6_route),
    ("netlink", |_, _| {
        "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"
            .into()
    }),
    ("netstat", |_, _| {
        "TcpExt: SyncookiesSent\nTcpExt: 0\nIpExt: InOctets OutOctets\nIpExt: 0 0\n".into()
    }),
    ("packet", |_, ns| socket::packet::proc_packet(ns)),
    ("protocols", |_, _| {
        "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re sp bi br ha uh gp em\n"
            .into()
    }),
    ("nf_conntrack", |_, ns| {
        ns.with(|network| {
            let now = network.now();
            let space = network.space(ns.id);
            space.map_or_else(|_| String::new(), |space| space.conntrack.dump(now))
        })
    }),
    ("raw", |view, ns| inet(view, ns, INET_HEADING, "raw")),
    ("raw6", |view, ns| inet(view, ns, INET6_HEADING, "raw6")),
    ("route", route),
    ("rt_cache", |_, _| String::new()),
    ("snmp", snmp),
    ("sockstat", |_, ns| socket::inet::proc_sockstat(ns)),
    ("tcp", |view, ns| inet(view, ns, TCP_HEADING, "tcp")),
    ("tcp6", |view, ns| inet(view, ns, INET6_HEADING, "tcp6")),
    ("udp", |view, ns| inet(view, ns, INET_HEADING, "udp")),
    ("udp6", |view, ns| inet(view, ns, INET6_HEADING, "udp6")),
    ("unix", |view, ns| {
        "Num       RefCount Protocol Flags    Type St Inode Path\n".to_string()
            + &socket::proc_unix(&view.kernel, ns)
    }),
];

const TCP_HEADING: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     \n";
const INET_HEADING: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops             \n";
const INET6_HEADING: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
/// A table of internet sockets.
fn inet(_: &View, ns: &Rc<NetNs>, heading: &str, table: &str) -> String {
    heading.to_string() + &socket::inet::proc_inet(ns, table)
}

const DEV_HEADING: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
";

fn dev(_: &View, ns: &Rc<NetNs>) -> String {
    let mut text = DEV_HEADING.to_string();
    ns.with(|network| {
        for (_, link) in network.links_of(ns.id) {
            let one = &link.counters;
            let _ = writeln!(
                text,
                "{:>6}: {:>7} {:>7} {:>4} {:>4}    0     0          0 {:>9} {:>8} {:>7}    0 {:>4}    0     0       0          0",
                link.name,
                one.rx_bytes,
                one.rx_packets,
                one.rx_errors,
                one.rx_dropped,
                one.rx_multicast,
                one.tx_bytes,
                one.tx_packets,
                one.tx_dropped,
            );
        }
    });
    text
}

/// The bytes of an IPv6 address without colons.
fn hex(ip: IpAddr) -> String {
    let octets = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    octets.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn if_inet6(_: &View, ns: &Rc<NetNs>) -> String {
    let mut text = String::new();
    ns.with(|network| {
        for (_, link) in network.links_of(ns.id) {
            let v6 = link
                .addresses
                .iter()
                .filter(|address| address.cidr.ip.is_ipv6());
            for address in v6 {
                // IPV6_ADDR_LINKLOCAL and IPV6_ADDR_LOOPBACK.
                let scope = match address.cidr.ip {
                    ip if net::is_link_local(ip) => 0x20,
                    ip if ip.is_loopback() => 0x10,
                    _ => 0,
                };
                let _ = writeln!(
                    text,
                    "{} {:02x} {:02x} {scope:02x} 80 {:>8}",
                    hex(address.cidr.ip),
                    link.index,
                    address.cidr.prefix,
                    link.name
                );
            }
        }
    });
    text
}

fn name(network: &Network, route: &Route) -> String {
    route
        .link
        .and_then(|link| network.link(link).ok())
        .map_or_else(|| "*".to_string(), |link| link.name.clone())
}

fn is_of_main(route: &&Route, v6: bool) -> bool {
    route.table == table::MAIN && route.dst.ip.is_ipv6() == v6
}

/// Words as the host's little-endian memory has them.
fn word(ip: Option<IpAddr>) -> String {
    let ip = match ip {
        Some(IpAddr::V4(ip)) => ip,
        _ => Ipv4Addr::UNSPECIFIED,
    };
    format!("{:08X}", u32::from_le_bytes(ip.octets()))
}

fn route(_: &View, ns: &Rc<NetNs>) -> String {
    let mut text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT                                                       \n".to_string();
    ns.with(|network| {
        let Ok(space) = network.space(ns.id) else {
            return;
        };
        let mut routes: Vec<&Route> = space
            .routes
            .iter()
            .filter(|route| is_of_main(route, false))
            .collect();
        order::sort_by_key(&mut routes, |route| (route.dst, route.metric));
        for route in routes {
            // RTF_UP, RTF_GATEWAY, RTF_HOST, RTF_REJECT.
            let flags = 1
                | u16::from(route.gateway.is_some()) << 1
                | u16::from(route.dst.is_host()) << 2
                | u16::from(matches!(
                    route.kind,
                    RouteKind::Unreachable | RouteKind::Prohibit
                )) << 9;
            let line = format!(
                "{}\t{}\t{}\t{flags:04X}\t0\t0\t{}\t{}\t0\t0\t0",
                name(network, route),
                word(Some(route.dst.ip)),
                word(route.gateway),
                route.metric,
                word(Some(route.dst.netmask().into())),
            );
            let _ = writeln!(text, "{line:<127}");
        }
    });
    text
}

fn ipv6_route(_: &View, ns: &Rc<NetNs>) -> String {
    let mut text = String::new();
    let none = "0".repeat(32);
    ns.with(|network| {
        let Ok(space) = network.space(ns.id) else {
            return;
        };
        let v6 = space.routes.iter().filter(|route| route.dst.ip.is_ipv6());
        for route in v6 {
            let flags: u32 = match route.kind {
                RouteKind::Local => 0x8020_0001,
                _ if route.gateway.is_some() => 3,
                _ => 1,
            };
            let _ = writeln!(
                text,
                "{} {:02x} {none} 00 {} {:08x} 00000001 00000000 {flags:08x} {:>8}",
                hex(route.dst.ip),
                route.dst.prefix,
                route.gateway.map_or_else(|| none.clone(), hex),
                route.metric,
                name(network, route),
            );
        }
    });
    text
}

fn arp(_: &View, ns: &Rc<NetNs>) -> String {
    let mut text =
        "IP address       HW type     Flags       HW address            Mask     Device\n"
            .to_string();
    ns.with(|network| {
        let Ok(space) = network.space(ns.id) else {
            return;
        };
        for ((link, ip), entry) in &space.neighbours.entries {
            let (IpAddr::V4(ip), Ok(link)) = (ip, network.link(*link)) else {
                continue;
            };
            // ATF_COM: complete; ATF_PERM.
            let flags = u8::from(entry.state.is_valid()) << 1
                | u8::from(entry.state == net::neighbour::State::Permanent) << 2;
            let _ = writeln!(
                text,
                "{:<16} 0x1         {:<11} {:<21} *        {}",
                ip.to_string(),
                format!("{flags:#x}"),
                entry.mac.to_string().replace('-', ":"),
                link.name,
            );
        }
    });
    text
}

fn table_names(ns: &NetNs, v6: bool) -> String {
    ns.with(|network| {
        let Ok(space) = network.space(ns.id) else {
            return String::new();
        };
        let names = space.tables(v6).registered().iter();
        names.map(|table| format!("{}\n", table.name())).collect()
    })
}

fn snmp(_: &View, ns: &Rc<NetNs>) -> String {
    let (s, forwards, open) = ns.with(|network| {
        let open = network
            .sockets_of(ns.id)
            .filter(|&(id, _)| {
                let info = network.stream_info(id);
                info.is_ok_and(|info| matches!(socket::inet::state_number(info.state), 1 | 8))
            })
            .count();
        let space = network.space(ns.id);
        space.map_or((net::Snmp::default(), false, 0), |space| {
            (space.snmp, space.settings.forward_v4, open)
        })
    });
    let forwarding = if forwards { 1 } else { 2 };
    format!(
        "Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates OutTransmits\n\
         Ip: {forwarding} 64 {} {} {} {} {} {} {} {} {} {} 0 {} {} 0 0 0 {} {}\n\
         Icmp: InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects InEchos InEchoReps InTimestamps InTimestampReps InAddrMasks InAddrMaskReps OutMsgs OutErrors OutRateLimitGlobal OutRateLimitHost OutDestUnreachs OutTimeExcds OutParmProbs OutSrcQuenchs OutRedirects OutEchos OutEchoReps OutTimestamps OutTimestampReps OutAddrMasks OutAddrMaskReps\n\
         Icmp: {} {} 0 0 0 0 0 0 {} 0 0 0 0 0 {} 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n\
         Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\n\
         Tcp: 1 200 120000 -1 {} {} {} {} {open} {} {} 0 {} {} 0\n\
         Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors\n\
         Udp: {} {} {} {} {} 0 0 0 0\n",
        s.ip_in_receives,
        s.ip_in_hdr_errors,
        s.ip_in_addr_errors,
        s.ip_forw_datagrams,
        s.ip_in_unknown_protos,
        s.ip_in_discards,
        s.ip_in_delivers,
        s.ip_out_requests,
        s.ip_out_discards,
        s.ip_out_no_routes,
        s.ip_reasm_reqds,
        s.ip_reasm_oks,
        s.ip_frag_creates,
        s.ip_out_requests + s.ip_forw_datagrams,
        s.icmp_in_msgs,
        s.icmp_in_errors,
        s.icmp_in_echos,
        s.icmp_out_msgs,
        s.tcp_active_opens,
        s.tcp_passive_opens,
        s.tcp_attempt_fails,
        s.tcp_estab_resets,
        s.tcp_in_segs,
        s.tcp_out_segs,
        s.tcp_in_errs,
        s.tcp_out_rsts,
        s.udp_in_datagrams,
        s.udp_no_ports,
        s.udp_in_errors,
        s.udp_out_datagrams,
        s.udp_rcvbuf_errors,
    )
}

/// `/proc/PID/net`.
pub(super) fn net_dir(task: &TaskRef, number: u64) -> InodeRef {
    task.sub_dir(number, 0o555, NetDir(task.clone()))
}

struct NetDir(TaskRef);

impl Dir for NetDir {
    fn lookup(&self, name: &[u8]) -> Result<InodeRef> {
        let known = FILES.iter().find(|(known, _)| known.as_bytes() == name);
        let &(name, text) = known.ok_or(Errno::ENOENT)?;
        let tid = self.0.view()?.task.tid();
        Ok(self.0.text_file(ino(tid, name) | 2, 0o444, move |view| {
            let net = Rc::clone(&view.task.ns().net);
            Ok(text(view, &net).into_bytes())
        }))
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let tid = self.0.view()?.task.tid();
        let entry = |(name, _): &(&str, Text)| Entry {
            name: name.as_bytes().to_vec(),
            ino: ino(tid, name) | 2,
            file_type: S_IFREG,
        };
        Ok(FILES.iter().map(entry).collect())
    }
}
