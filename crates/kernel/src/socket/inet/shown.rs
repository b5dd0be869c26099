//! `/proc/net/tcp` and its kin, and `sockstat`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use net::socket::{Kind, TcpState};
use net::{Endpoint, SocketId};

use super::super::{consts as c, sockets_of};
use super::InetSocket;
use crate::namespaces::NetNs;

/// The state as `/proc/net/tcp`, `TCP_INFO` and `ss` number it.
#[must_use]
pub fn state_number(state: TcpState) -> u8 {
    match state {
        TcpState::Established => 1,
        TcpState::SynSent => 2,
        TcpState::SynReceived => 3,
        TcpState::FinWait1 => 4,
        TcpState::FinWait2 => 5,
        TcpState::TimeWait => 6,
        TcpState::Closed => 7,
        TcpState::CloseWait => 8,
        TcpState::LastAck => 9,
        TcpState::Listen => 10,
        TcpState::Closing => 11,
    }
}

/// As `/proc/net/tcp` writes it: words of four bytes as the host's little-endian memory has them.
fn text(endpoint: Endpoint, v6: bool) -> String {
    let octets = match (endpoint.ip, v6) {
        (IpAddr::V4(ip), false) => ip.octets().to_vec(),
        (IpAddr::V4(ip), true) if ip.is_unspecified() => vec![0; 16],
        (IpAddr::V4(ip), true) => ip.to_ipv6_mapped().octets().to_vec(),
        (IpAddr::V6(ip), _) => ip.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| {
        format!(
            "{:08X}",
            u32::from_le_bytes([word[0], word[1], word[2], word[3]])
        )
    });
    format!("{}:{:04X}", words.collect::<String>(), endpoint.port)
}

/// A socket as tools show it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Kind.
    pub kind: Kind,
    /// Of IPv6.
    pub v6: bool,
    /// Its end.
    pub local: Endpoint,
    /// The other end.
    pub remote: Endpoint,
    /// State number.
    pub state: u8,
    /// Bytes not sent and not read.
    pub queues: (usize, usize),
    /// Owner and inode; 0 when nobody has it open.
    pub owner: (u32, u64),
    /// Index of the link it is bound to.
    pub link: u32,
    /// It is one of IPv6 and takes nothing of IPv4.
    pub v6_only: bool,
}

fn any(v6: bool) -> Endpoint {
    if v6 {
        Endpoint::new(Ipv6Addr::UNSPECIFIED, 0)
    } else {
        Endpoint::new(Ipv4Addr::UNSPECIFIED, 0)
    }
}

/// All internet sockets of a namespace that are bound or connected, and connections in TIME-WAIT.
#[must_use]
pub fn shown(net: &NetNs) -> Vec<Shown> {
    let mut owners: BTreeMap<SocketId, (u32, u64)> = BTreeMap::new();
    for file in sockets_of(net) {
        if let Some(socket) = file.socket.as_any().downcast_ref::<InetSocket>() {
            owners.insert(socket.id, (file.uid, file.ino));
        }
    }
    net.with(|network| {
        let mut all = Vec::new();
        for (id, socket) in network.sockets_of(net.id) {
            let Some(local) = socket.local else { continue };
            let (state, queues) = match network.stream_info(id) {
                Ok(info) => (
                    state_number(info.state),
                    (info.send_queue, info.receive_queue),
                ),
                Err(_) => (
                    if socket.remote.is_some() { 1 } else { 7 },
                    (0, network.readable(id)),
                ),
            };
            all.push(Shown {
                kind: socket.kind,
                v6: socket.v6,
                local,
                remote: socket.remote.unwrap_or_else(|| any(socket.v6)),
                state,
                queues,
                owner: owners.get(&id).copied().unwrap_or((0, 0)),
                link: InetSocket::index_of(network, socket.options.link),
                v6_only: socket.options.v6_only,
            });
        }
        for (local, remote) in network.time_wait(net.id) {
            all.push(Shown {
                kind: Kind::Tcp,
                v6: local.ip.is_ipv6(),
                local,
                remote,
                state: state_number(TcpState::TimeWait),
                queues: (0, 0),
                owner: (0, 0),
                link: 0,
                v6_only: false,
            });
        }
        all
    })
}

/// The lines of `/proc/net/tcp` and its kin, by that name.
#[must_use]
pub fn proc_inet(net: &NetNs, table: &str) -> String {
    let wanted = |socket: &Shown| {
        let kind = match socket.kind {
            Kind::Tcp => "tcp",
            Kind::Udp => "udp",
            Kind::Ping => "icmp",
            Kind::Raw(_) => "raw",
        };
        table.strip_prefix(kind) == Some(if socket.v6 { "6" } else { "" })
    };
    let mut lines = String::new();
    for (at, socket) in shown(net).into_iter().filter(wanted).enumerate() {
        let (uid, ino) = socket.owner;
        let (send, receive) = match (socket.kind, socket.state) {
            // Of a listening socket the backlog is not shown as unsent.
            (Kind::Tcp, 10) => (0, socket.queues.1),
            _ => socket.queues,
        };
        let tail = if socket.kind == Kind::Tcp {
            "1 0000000000000000 100 0 0 10 0"
        } else {
            "2 0000000000000000 0"
        };
        let _ = writeln!(
            lines,
            "{at:4}: {} {} {:02X} {send:08X}:{receive:08X} 00:00000000 00000000 {uid:5}        0 {ino} {tail}",
            text(socket.local, socket.v6),
            text(socket.remote, socket.v6),
            socket.state,
        );
    }
    lines
}

/// `/proc/net/sockstat`.
#[must_use]
pub fn proc_sockstat(net: &NetNs) -> String {
    let all = shown(net);
    let used = sockets_of(net).len();
    let count = |kind: fn(Kind) -> bool, v6: Option<bool>| {
        all.iter()
            .filter(|socket| kind(socket.kind) && v6.is_none_or(|v6| socket.v6 == v6))
            .count()
    };
    let tcp = |kind| kind == Kind::Tcp;
    let waiting = all.iter().filter(|socket| socket.state == 6).count();
    let orphans = all
        .iter()
        .filter(|socket| {
            socket.kind == Kind::Tcp && socket.owner.1 == 0 && !matches!(socket.state, 3 | 6)
        })
        .count();
    let listed = count(tcp, Some(false)).saturating_sub(waiting);
    format!(
        "sockets: used {used}\nTCP: inuse {listed} orphan {orphans} tw {waiting} alloc {} mem 0\nUDP: inuse {} mem 0\nUDPLITE: inuse 0\nRAW: inuse {}\nFRAG: inuse 0 memory 0\n",
        count(tcp, None).saturating_sub(waiting),
        count(|kind| kind == Kind::Udp, Some(false)),
        count(|kind| matches!(kind, Kind::Raw(_)), Some(false)),
    )
}

/// Families by which [`shown`] is asked.
#[must_use]
pub fn family(socket: &Shown) -> u16 {
    if socket.v6 { c::AF_INET6 } else { c::AF_INET }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_words_of_the_host() {
        let endpoint = Endpoint::new(Ipv4Addr::LOCALHOST, 8080);
        assert_eq!(text(endpoint, false), "0100007F:1F90");
        assert_eq!(
            text(endpoint, true),
            "0000000000000000FFFF00000100007F:1F90"
        );
    }
}
