//! Names of things: ids, networks, interface flags.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use abi::{Errno, Result};

/// A network namespace. Numbers are never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NsId(pub u32);

/// A link (interface) of a machine. Numbers are never used twice; the interface index of a namespace is
/// [`crate::link::Link::index`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u32);

/// A socket. Numbers are never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SocketId(pub u32);

/// A port of a switch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortId(pub u32);

/// An address and the length of its network's prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Cidr {
    /// Address.
    pub ip: IpAddr,
    /// Bits of the prefix.
    pub prefix: u8,
}

impl Cidr {
    /// `ip/prefix`; longer prefixes than the family has are cut.
    #[must_use]
    pub fn new(ip: IpAddr, prefix: u8) -> Cidr {
        let prefix = prefix.min(if ip.is_ipv4() { 32 } else { 128 });
        Cidr { ip, prefix }
    }

    /// One address alone.
    #[must_use]
    pub fn host(ip: IpAddr) -> Cidr {
        Cidr::new(ip, 128)
    }

    /// Everything: `0.0.0.0/0` or `::/0`.
    #[must_use]
    pub fn all(v6: bool) -> Cidr {
        let ip = if v6 {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        Cidr { ip, prefix: 0 }
    }

    /// The prefix covers the whole address.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.prefix == if self.ip.is_ipv4() { 32 } else { 128 }
    }

    /// The network: host bits are 0.
    #[must_use]
    pub fn network(&self) -> Cidr {
        let ip = match self.ip {
            IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip) & mask4(self.prefix)).into(),
            IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) & mask6(self.prefix)).into(),
        };
        Cidr { ip, ..*self }
    }

    /// The netmask of an IPv4 network.
    #[must_use]
    pub fn netmask(&self) -> Ipv4Addr {
        Ipv4Addr::from(mask4(self.prefix))
    }

    /// The broadcast address of an IPv4 network that has one.
    #[must_use]
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.ip {
            IpAddr::V4(ip) if self.prefix < 31 => {
                Some(Ipv4Addr::from(u32::from(ip) | !mask4(self.prefix)))
            }
            _ => None,
        }
    }

    /// The address is in the network.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                (u32::from(net) ^ u32::from(ip)) & mask4(self.prefix) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                (u128::from(net) ^ u128::from(ip)) & mask6(self.prefix) == 0
            }
            _ => false,
        }
    }
}

fn mask4(prefix: u8) -> u32 {
    u32::MAX
        .checked_shl(32 - u32::from(prefix.min(32)))
        .unwrap_or(0)
}

fn mask6(prefix: u8) -> u128 {
    u128::MAX
        .checked_shl(128 - u32::from(prefix.min(128)))
        .unwrap_or(0)
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = Errno;

    /// `10.0.0.0/8`, or an address alone.
    fn from_str(text: &str) -> Result<Cidr> {
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| Errno::EINVAL)?;
        let max = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => max,
            Some(prefix) => prefix.parse().map_err(|_| Errno::EINVAL)?,
        };
        if prefix > max {
            return Err(Errno::EINVAL);
        }
        Ok(Cidr { ip, prefix })
    }
}

/// `IFF_…` (netdevice(7)).
pub mod flags {
    #![allow(missing_docs, reason = "named as in netdevice(7)")]
    pub const UP: u32 = 1;
    pub const BROADCAST: u32 = 2;
    pub const LOOPBACK: u32 = 8;
    pub const RUNNING: u32 = 0x40;
    pub const PROMISC: u32 = 0x100;
    pub const MULTICAST: u32 = 0x1000;
    pub const LOWER_UP: u32 = 0x1_0000;
}

/// The address is a link-local one of IPv6.
#[must_use]
pub fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let cidr: Cidr = "172.17.0.1/16".parse().unwrap();
        assert_eq!(cidr.network().to_string(), "172.17.0.0/16");
        assert_eq!(cidr.netmask().to_string(), "255.255.0.0");
        assert_eq!(cidr.broadcast().unwrap().to_string(), "172.17.255.255");
        assert!(cidr.contains("172.17.9.9".parse().unwrap()));
        assert!(!cidr.contains("172.18.0.1".parse().unwrap()));
        assert!(Cidr::all(false).contains("1.2.3.4".parse().unwrap()));
        assert!(!Cidr::all(false).contains("::1".parse().unwrap()));
        assert_eq!("10.0.0.0/33".parse::<Cidr>(), Err(Errno::EINVAL));
        assert_eq!("fe80::1".parse::<Cidr>().unwrap().prefix, 128);
    }
}
