//! Networks of both families and the addresses in them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Subnet {
    /// Its first address, which is the network's own.
    pub(crate) address: IpAddr,
    /// Length of the prefix.
    pub(crate) prefix: u8,
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// An address as a number.
fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn from_bits(bits: u128, v6: bool) -> IpAddr {
    match v6 {
        true => Ipv6Addr::from_bits(bits).into(),
        false => Ipv4Addr::from_bits(bits as u32).into(),
    }
}

/// Address and prefix as written.
pub(crate) fn parse_prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let max = if address.is_ipv4() { 32 } else { 128 };
    let is_plain = !prefix.starts_with(['0', '+']) || prefix == "0";
    let prefix = prefix.parse().ok().filter(|&prefix| prefix <= max)?;
    is_plain.then_some((address, prefix))
}

impl Subnet {
    /// The network an address is in.
    pub(crate) fn of(address: impl Into<IpAddr>, prefix: u8) -> Subnet {
        let address = address.into();
        let mut net = Subnet { address, prefix };
        net.address = from_bits(bits(address) & !net.host_mask(), net.is_v6());
        net
    }

    /// `a.b.c.d/n` or `a::b/n`; bits behind the prefix do not matter.
    pub(crate) fn parse(text: &str) -> Option<Subnet> {
        parse_prefix(text).map(|(address, prefix)| Subnet::of(address, prefix))
    }

    pub(crate) fn is_v6(&self) -> bool {
        self.address.is_ipv6()
    }

    /// The bits behind the prefix.
    fn host_mask(&self) -> u128 {
        let width = if self.is_v6() { 128 } else { 32 };
        let rest = width - u32::from(self.prefix);
        1u128.checked_shl(rest).unwrap_or(0).wrapping_sub(1)
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv6() == self.is_v6() && Subnet::of(address, self.prefix) == *self
    }

    pub(crate) fn overlaps(&self, other: &Subnet) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// Its last address: of IPv4, the broadcast address.
    pub(crate) fn last(&self) -> IpAddr {
        from_bits(bits(self.address) | self.host_mask(), self.is_v6())
    }

    /// An address of it that no host gets: the network's own, and the one for everybody.
    pub(crate) fn is_special(&self, ip: IpAddr) -> bool {
        let is_pair = !self.is_v6() && self.prefix >= 31;
        !is_pair && (ip == self.address || !self.is_v6() && ip == self.last())
    }

    /// The lowest address of `range` that a host of this network can have and nobody has.
    pub(crate) fn lowest_free(
        &self,
        range: &Subnet,
        taken: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        let (first, last) = (bits(range.address), bits(range.last()));
        (first..=last)
            .map(|bits| from_bits(bits, self.is_v6()))
            .find(|&ip| !self.is_special(ip) && !taken(ip))
    }

    /// The networks of a longer prefix in it, in order.
    pub(crate) fn parts(self, prefix: u8) -> impl Iterator<Item = Subnet> {
        let first = Subnet::of(self.address, prefix);
        let step = first.host_mask().wrapping_add(1);
        let (begin, end) = (bits(self.address), bits(self.last()));
        let starts = std::iter::successors(Some(begin), move |at| {
            at.checked_add(step).filter(|&next| next <= end && step > 0)
        });
        starts.map(move |start| Subnet::of(from_bits(start, self.is_v6()), prefix))
    }
}

/// The networks that Docker gives to bridges of which no subnet is said: the pools and what they are cut into.
pub(crate) fn default_pools() -> Vec<(Subnet, u8)> {
    let whole = |part| Subnet::of(Ipv4Addr::new(172, part, 0, 0), 16);
    let mut pools: Vec<(Subnet, u8)> = (17..32).map(|part| (whole(part), 16)).collect();
    pools.push((Subnet::of(Ipv4Addr::new(192, 168, 0, 0), 16), 20));
    pools
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_overlaps() {
        let net = Subnet::parse("10.1.2.3/29").unwrap();
        assert_eq!(net.to_string(), "10.1.2.0/29");
        assert_eq!(net.last(), Ipv4Addr::new(10, 1, 2, 7));
        assert!(net.contains(Ipv4Addr::new(10, 1, 2, 5).into()));
        for (other, overlaps) in [
            ("10.1.0.0/16", true),
            ("10.1.2.4/30", true),
            ("10.1.2.8/29", false),
            ("0.0.0.0/0", true),
            ("::/0", false),
        ] {
            let other = Subnet::parse(other).unwrap();
            assert_eq!(net.overlaps(&other), overlaps, "{other}");
            assert_eq!(other.overlaps(&net), overlaps, "{other}");
        }
        for wrong in [
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "x/8",
            "fd00::/129",
        ] {
            assert_eq!(Subnet::parse(wrong), None, "{wrong}");
        }
        let net = Subnet::parse("fd00:1::5/64").unwrap();
        assert_eq!(net.to_string(), "fd00:1::/64");
        assert!(net.contains("fd00:1::9".parse().unwrap()));
        assert!(net.overlaps(&Subnet::parse("::/0").unwrap()));
    }

    #[test]
    fn the_lowest_free_address() {
        let net = Subnet::parse("10.0.0.0/29").unwrap();
        let mut given = vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))];
        while let Some(ip) = net.lowest_free(&net, |ip| given.contains(&ip)) {
            given.push(ip);
        }
        let last: Vec<String> = given.iter().map(IpAddr::to_string).collect();
        let expected = (1..7).map(|last| format!("10.0.0.{last}"));
        assert_eq!(last, expected.collect::<Vec<_>>());
        for (net, range, expected) in [
            ("10.0.0.0/29", "10.0.0.4/30", "10.0.0.4"),
            ("10.0.0.0/31", "10.0.0.0/31", "10.0.0.0"),
            ("fd00::/64", "fd00::/64", "fd00::1"),
            ("fd00::/64", "fd00::8000/113", "fd00::8000"),
        ] {
            let parse = |text| Subnet::parse(text).unwrap();
            let first = parse(net).lowest_free(&parse(range), |_| false);
            assert_eq!(first, expected.parse().ok(), "{range}");
        }
    }

    #[test]
    fn pools_in_order() {
        let pools = default_pools().into_iter();
        let all = pools.flat_map(|(pool, size)| pool.parts(size));
        let all: Vec<String> = all.map(|pool| pool.to_string()).collect();
        assert_eq!(all.len(), 31);
        assert_eq!(all[1], "172.18.0.0/16");
        assert_eq!(all[30], "192.168.240.0/20");
        let own = Subnet::parse("fd00::/48").unwrap().parts(64);
        let own: Vec<String> = own.take(2).map(|pool| pool.to_string()).collect();
        assert_eq!(own, ["fd00::/64", "fd00:0:0:1::/64"]);
    }
}
