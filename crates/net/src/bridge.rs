//! A learning bridge (IEEE 802.1D without spanning tree, as `ip link add type bridge` makes it).

use std::collections::BTreeMap;

use clock::{Instant, NANOS_PER_SEC};

use crate::packet::Mac;
use crate::types::LinkId;

/// Addresses that are remembered at most; a flood of made-up ones pushes out nothing that is known.
const ADDRESSES_MAX: usize = 4096;

/// Where a hardware address was seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The port.
    pub port: LinkId,
    /// When it was seen last.
    pub at: Instant,
}

/// What a bridge knows.
#[derive(Clone, Debug)]
pub struct Bridge {
    addresses: BTreeMap<[u8; 6], Seen>,
    /// Its ports, in the order they came.
    pub ports: Vec<LinkId>,
    /// How long an address is remembered, in nanoseconds.
    pub ageing_ns: u64,
}

impl Default for Bridge {
    fn default() -> Self {
        Bridge {
            addresses: BTreeMap::new(),
            ports: Vec::new(),
            ageing_ns: 300 * NANOS_PER_SEC,
        }
    }
}

impl Bridge {
    /// A frame from `mac` came in at `port`.
    pub fn learn(&mut self, mac: Mac, port: LinkId, now: Instant) {
        if !mac.is_unicast() {
            return;
        }
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&mac.0) {
            let ageing = self.ageing_ns;
            self.addresses.retain(|_, seen| now.since(seen.at) < ageing);
            if self.addresses.len() >= ADDRESSES_MAX {
                return;
            }
        }
        self.addresses.insert(mac.0, Seen { port, at: now });
    }

    /// The port behind which `mac` is, if it was seen lately.
    #[must_use]
    pub fn find(&self, mac: Mac, now: Instant) -> Option<LinkId> {
        let seen = self.addresses.get(&mac.0)?;
        (now.since(seen.at) < self.ageing_ns).then_some(seen.port)
    }

    /// Forgets what was learned from a port.
    pub fn forget(&mut self, port: LinkId) {
        self.addresses.retain(|_, seen| seen.port != port);
    }

    /// All addresses with their ports.
    pub fn entries(&self, now: Instant) -> impl Iterator<Item = (Mac, Seen)> + '_ {
        let fresh = move |seen: &Seen| now.since(seen.at) < self.ageing_ns;
        self.addresses
            .iter()
            .filter(move |(_, seen)| fresh(seen))
            .map(|(mac, seen)| (Mac::from_bytes(mac), *seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_learned_moved_and_forgotten() {
        let mut bridge = Bridge::default();
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        bridge.learn(mac, LinkId(1), Instant(0));
        assert_eq!(bridge.find(mac, Instant(1)), Some(LinkId(1)));
        bridge.learn(mac, LinkId(2), Instant(2));
        assert_eq!(bridge.find(mac, Instant(3)), Some(LinkId(2)));
        assert_eq!(bridge.find(mac, Instant(400 * NANOS_PER_SEC)), None);
        bridge.forget(LinkId(2));
        assert_eq!(bridge.entries(Instant(3)).count(), 0);
        for number in 0..2 * ADDRESSES_MAX as u32 {
            let b = number.to_be_bytes();
            bridge.learn(Mac([2, 1, b[0], b[1], b[2], b[3]]), LinkId(1), Instant(3));
        }
        assert_eq!(bridge.entries(Instant(3)).count(), ADDRESSES_MAX);
    }
}
