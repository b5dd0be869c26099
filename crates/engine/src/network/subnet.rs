//! IPv4 networks and the addresses in them.

use std::fmt;
use std::net::Ipv4Addr;

/// An IPv4 network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Subnet {
    /// Its first address, which is the network's own.
    pub(crate) address: Ipv4Addr,
    /// Length of the prefix.
    pub(crate) prefix: u8,
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Subnet {
    /// The network an address is in.
    pub(crate) fn of(address: Ipv4Addr, prefix: u8) -> Subnet {
        let bits = address.to_bits() & mask(prefix);
        Subnet {
            address: Ipv4Addr::from_bits(bits),
            prefix,
        }
    }

    /// `a.b.c.d/n`; bits behind the prefix do not matter.
    pub(crate) fn parse(text: &str) -> Option<Subnet> {
        let (address, prefix) = text.split_once('/')?;
        let prefix = prefix.parse().ok().filter(|&prefix| prefix <= 32)?;
        Some(Subnet::of(address.parse().ok()?, prefix))
    }

    pub(crate) fn contains(&self, address: Ipv4Addr) -> bool {
        Subnet::of(address, self.prefix) == *self
    }

    pub(crate) fn overlaps(&self, other: &Subnet) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// Its last address, which is the broadcast address.
    pub(crate) fn last(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() | !mask(self.prefix))
    }

    /// The lowest address of `range` that a host of this network can have and nobody has.
    pub(crate) fn lowest_free(
        &self,
        range: &Subnet,
        taken: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<Ipv4Addr> {
        let (first, last) = (range.address.to_bits(), range.last().to_bits());
        (first..=last)
            .map(Ipv4Addr::from_bits)
            .find(|&ip| ip != self.address && ip != self.last() && !taken(ip))
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// The networks that Docker gives to bridges of which no subnet is said, in order.
pub(crate) fn pools() -> impl Iterator<Item = Subnet> {
    let large = (17..32).map(|part| Subnet::of(Ipv4Addr::new(172, part, 0, 0), 16));
    let small = (0..16).map(|part| Subnet::of(Ipv4Addr::new(192, 168, part * 16, 0), 20));
    large.chain(small)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_overlaps() {
        let net = Subnet::parse("10.1.2.3/29").unwrap();
        assert_eq!(net.to_string(), "10.1.2.0/29");
        assert_eq!(net.last(), Ipv4Addr::new(10, 1, 2, 7));
        assert!(net.contains(Ipv4Addr::new(10, 1, 2, 5)));
        for (other, overlaps) in [
            ("10.1.0.0/16", true),
            ("10.1.2.4/30", true),
            ("10.1.2.8/29", false),
            ("0.0.0.0/0", true),
        ] {
            let other = Subnet::parse(other).unwrap();
            assert_eq!(net.overlaps(&other), overlaps, "{other}");
            assert_eq!(other.overlaps(&net), overlaps, "{other}");
        }
        for wrong in ["10.0.0.0", "10.0.0.0/33", "x/8", "fd00::/64"] {
            assert_eq!(Subnet::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_lowest_free_address() {
        let net = Subnet::parse("10.0.0.0/29").unwrap();
        let mut given = vec![Ipv4Addr::new(10, 0, 0, 1)];
        while let Some(ip) = net.lowest_free(&net, |ip| given.contains(&ip)) {
            given.push(ip);
        }
        let last: Vec<u8> = given.iter().map(|ip| ip.octets()[3]).collect();
        assert_eq!(last, [1, 2, 3, 4, 5, 6]);
        let upper = Subnet::parse("10.0.0.4/30").unwrap();
        let first = net.lowest_free(&upper, |_| false);
        assert_eq!(first, Some(Ipv4Addr::new(10, 0, 0, 4)));
    }

    #[test]
    fn pools_in_order() {
        let all: Vec<String> = pools().map(|pool| pool.to_string()).collect();
        assert_eq!(all.len(), 31);
        assert_eq!(all[1], "172.18.0.0/16");
        assert_eq!(all[30], "192.168.240.0/20");
    }
}
