//! Internet sockets on the loopback interface (`ip(7)`, `tcp(7)`, `udp(7)`, `ipv6(7)`).
//!
//! A connection is a pair of byte channels: no packets, no retransmission, nothing is lost. What programs see
//! of TCP is there: backlogs, half-closed connections, resets, refused connections. Every destination
//! but this host's loopback is `ENETUNREACH`. Crate `net` replaces this when machines get a wire.

mod icmp;
mod options;
mod ports;
mod tcp;
mod udp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use abi::{Errno, Result};
use vfs::Capability;

pub use icmp::IcmpSocket;
pub use options::structured_option;
pub use tcp::TcpSocket;
pub use udp::UdpSocket;

use super::{SockAddr, Socket, consts as c};
use crate::kernel::Kernel;
use crate::namespaces::NetNs;
use crate::task::Task;

/// `IPPROTO_…`.
const ICMP: u32 = 1;
const TCP: u32 = 6;
const UDP: u32 = 17;
const ICMPV6: u32 = 58;

/// An address and a port. Mapped addresses (`::ffff:127.0.0.1`) are kept as what they stand for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Address.
    pub ip: IpAddr,
    /// Port.
    pub port: u16,
}

impl Endpoint {
    /// Reads a `sockaddr_in` or `sockaddr_in6` given to a socket of `family`.
    pub fn parse(address: &SockAddr, family: u16) -> Result<Endpoint> {
        let raw = address.bytes();
        let needed = if family == c::AF_INET { 16 } else { 24 };
        if raw.len() < needed && (address.family() == family || raw.len() < 16) {
            return Err(Errno::EINVAL);
        }
        let port = u16::from_be_bytes([raw[2], raw[3]]);
        match (address.family(), family) {
            (c::AF_INET, c::AF_INET) => Ok(Endpoint {
                ip: Ipv4Addr::new(raw[4], raw[5], raw[6], raw[7]).into(),
                port,
            }),
            (c::AF_INET6, c::AF_INET6) => {
                let bytes: [u8; 16] = raw[8..24].try_into().map_err(|_| Errno::EINVAL)?;
                Ok(Endpoint {
                    ip: Ipv6Addr::from(bytes).to_canonical(),
                    port,
                })
            }
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    /// Writes it as a socket of `family` shows it.
    #[must_use]
    pub fn emit(&self, family: u16) -> SockAddr {
        let mut raw = [0; 28];
        raw[..2].copy_from_slice(&family.to_le_bytes());
        raw[2..4].copy_from_slice(&self.port.to_be_bytes());
        if family == c::AF_INET {
            if let IpAddr::V4(ip) = self.ip {
                raw[4..8].copy_from_slice(&ip.octets());
            }
            return SockAddr::new(&raw[..16]);
        }
        let ip = match self.ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        raw[8..24].copy_from_slice(&ip.octets());
        SockAddr::new(&raw)
    }

    /// No address, no port.
    #[must_use]
    pub fn unspecified(family: u16) -> Endpoint {
        let ip = if family == c::AF_INET {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        Endpoint { ip, port: 0 }
    }

    /// As `/proc/net/tcp` writes it: words of four bytes as the host's little-endian memory has them.
    #[must_use]
    pub fn proc_text(&self, family: u16) -> String {
        let octets = match (self.ip, family) {
            (IpAddr::V4(ip), c::AF_INET) => ip.octets().to_vec(),
            (IpAddr::V4(ip), _) if ip.is_unspecified() => vec![0; 16],
            (IpAddr::V4(ip), _) => ip.to_ipv6_mapped().octets().to_vec(),
            (IpAddr::V6(ip), _) => ip.octets().to_vec(),
        };
        let words = octets.chunks_exact(4).map(|word| {
            format!(
                "{:08X}",
                u32::from_le_bytes([word[0], word[1], word[2], word[3]])
            )
        });
        format!("{}:{:04X}", words.collect::<String>(), self.port)
    }
}

/// Where a packet to `target` goes on this host: its loopback interface, or nowhere.
fn route(net: &NetNs, target: Endpoint) -> Result<Endpoint> {
    let ip = match target.ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    if ip.is_loopback() && net.loopback_up.get() {
        return Ok(Endpoint {
            ip,
            port: target.port,
        });
    }
    Err(Errno::ENETUNREACH)
}

/// The address a packet to `target` comes from, unless its socket is bound to one.
fn source_for(target: &Endpoint) -> IpAddr {
    match target.ip {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// An address a socket may be bound to: any, or one of the loopback interface.
fn check_local(net: &NetNs, ip: IpAddr) -> Result<()> {
    let known = ip.is_unspecified() || (ip.is_loopback() && net.loopback_up.get());
    if known {
        Ok(())
    } else {
        Err(Errno::EADDRNOTAVAIL)
    }
}

/// The first port that needs no privilege.
fn first_free_port(net: &NetNs) -> u16 {
    let sysctls = net.sysctls.borrow();
    sysctls
        .get("net/ipv4/ip_unprivileged_port_start")
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1024)
}

/// `EACCES` when the caller may not bind to a privileged port.
fn check_port(k: &Kernel, t: &Task, net: &NetNs, port: u16) -> Result<()> {
    if port == 0
        || port >= first_free_port(net)
        || k.capable_in(t, &net.owner, Capability::NetBindService)
    {
        return Ok(());
    }
    Err(Errno::EACCES)
}

/// A new socket of `AF_INET` or `AF_INET6`.
pub fn new(
    k: &Rc<Kernel>,
    t: &Task,
    net: &Rc<NetNs>,
    family: u16,
    kind: u32,
    protocol: u32,
) -> Result<Rc<dyn Socket>> {
    match (kind, protocol) {
        (c::SOCK_STREAM, 0 | TCP) => Ok(TcpSocket::new(net, family)),
        (c::SOCK_DGRAM, 0 | UDP) => Ok(UdpSocket::new(net, family)),
        (c::SOCK_DGRAM, ICMP) if family == c::AF_INET => Ok(IcmpSocket::new(net, family, false)),
        (c::SOCK_DGRAM, ICMPV6) if family == c::AF_INET6 => Ok(IcmpSocket::new(net, family, false)),
        (c::SOCK_RAW, 0) => Err(Errno::EPROTONOSUPPORT),
        (c::SOCK_RAW, _) if !k.capable_in(t, &net.owner, Capability::NetRaw) => Err(Errno::EPERM),
        (c::SOCK_RAW, ICMP) if family == c::AF_INET => Ok(IcmpSocket::new(net, family, true)),
        (c::SOCK_RAW, ICMPV6) if family == c::AF_INET6 => Ok(IcmpSocket::new(net, family, true)),
        (c::SOCK_STREAM | c::SOCK_DGRAM | c::SOCK_RAW, _) => Err(Errno::EPROTONOSUPPORT),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

/// The protocol that `SO_PROTOCOL` tells.
#[must_use]
pub fn shown_protocol(family: u16, kind: u32, protocol: u32) -> u32 {
    match (family, kind, protocol) {
        (c::AF_INET | c::AF_INET6, c::SOCK_STREAM, 0) => TCP,
        (c::AF_INET | c::AF_INET6, c::SOCK_DGRAM, 0) => UDP,
        _ => protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike() {
        let raw = [2, 0, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        let endpoint = Endpoint::parse(&SockAddr::new(&raw), c::AF_INET).unwrap();
        assert_eq!(
            endpoint,
            Endpoint {
                ip: Ipv4Addr::LOCALHOST.into(),
                port: 8080
            }
        );
        assert_eq!(endpoint.emit(c::AF_INET).bytes(), raw);
        assert_eq!(endpoint.proc_text(c::AF_INET), "0100007F:1F90");
        let mapped = endpoint.emit(c::AF_INET6);
        assert_eq!(Endpoint::parse(&mapped, c::AF_INET6).unwrap(), endpoint);
        assert_eq!(
            endpoint.proc_text(c::AF_INET6),
            "0000000000000000FFFF00000100007F:1F90"
        );
        assert_eq!(
            Endpoint::parse(&SockAddr::new(&raw), c::AF_INET6),
            Err(Errno::EAFNOSUPPORT)
        );
        assert_eq!(
            Endpoint::parse(&SockAddr::new(&raw[..8]), c::AF_INET),
            Err(Errno::EINVAL)
        );
    }
}
