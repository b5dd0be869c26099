//! The LAN between machines: a learning switch whose cables can be bad.
//!
//! Machines share nothing but this. Frames are values in queues: a machine's owner carries what
//! [`crate::Network::take_frames`] gives into [`Switch::send`], and what [`Switch::poll`] gives into
//! [`crate::Network::deliver`].

use std::collections::BTreeMap;

use clock::{Instant, Rng};

use crate::bridge::Bridge;
use crate::fault::{Fate, Fault};
use crate::packet::{ETHERNET_BYTES, Frame};
use crate::types::{LinkId, PortId};

/// Frames under way at most, per port.
const QUEUE_MAX: usize = 1024;

/// The group of a port that hears all groups, and is heard by all.
pub const EVERY_GROUP: u32 = u32::MAX;

/// What is done to a port's cable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cable {
    /// It is plugged in.
    pub plugged: bool,
    /// Ports of different groups do not hear each other: a partition.
    pub group: u32,
    /// What is wrong with it.
    pub fault: Fault,
}

impl Default for Cable {
    fn default() -> Self {
        Cable {
            plugged: true,
            group: 0,
            fault: Fault::default(),
        }
    }
}

/// A port of the switch and the cable in it.
#[derive(Debug)]
struct Port {
    cable: Cable,
    /// When the cable is free again, if its rate is limited.
    free_at: Instant,
    waiting: usize,
}

/// A switch.
#[derive(Debug)]
pub struct Switch {
    ports: BTreeMap<PortId, Port>,
    known: Bridge,
    /// Frames by the time they arrive, and the order they were sent in.
    under_way: BTreeMap<(Instant, u64), (PortId, Vec<u8>)>,
    sequence: u64,
    rng: Rng,
    next_port: u32,
    /// Frames that were lost, for whatever reason.
    pub lost: u64,
}

impl Switch {
    /// A switch without ports; which frames are lost follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Switch {
        Switch {
            ports: BTreeMap::new(),
            known: Bridge::default(),
            under_way: BTreeMap::new(),
            sequence: 0,
            rng: Rng::new(seed),
            next_port: 0,
            lost: 0,
        }
    }

    /// A new port, plugged in.
    pub fn add_port(&mut self) -> PortId {
        let port = PortId(self.next_port);
        self.next_port += 1;
        self.ports.insert(
            port,
            Port {
                cable: Cable::default(),
                free_at: Instant(0),
                waiting: 0,
            },
        );
        port
    }

    /// Takes a port away, with what is under way to it.
    pub fn remove_port(&mut self, port: PortId) {
        self.ports.remove(&port);
        self.known.forget(LinkId(port.0));
        self.under_way.retain(|_, (to, _)| *to != port);
    }

    /// Pulls the cable out of a port, or plugs it in. What is under way to it is lost.
    pub fn plug(&mut self, id: PortId, plugged: bool) {
        let Some(port) = self.ports.get_mut(&id) else {
            return;
        };
        port.cable.plugged = plugged;
        if !plugged {
            port.waiting = 0;
            self.known.forget(LinkId(id.0));
            let before = self.under_way.len();
            self.under_way.retain(|_, (to, _)| *to != id);
            self.lost += (before - self.under_way.len()) as u64;
        }
    }

    /// Makes the cable of a port bad, or good again.
    pub fn set_fault(&mut self, port: PortId, fault: Fault) {
        if let Some(port) = self.ports.get_mut(&port) {
            port.cable.fault = fault;
        }
    }

    /// Puts a port into a group; only ports of one group hear each other.
    pub fn set_group(&mut self, port: PortId, group: u32) {
        if let Some(port) = self.ports.get_mut(&port) {
            port.cable.group = group;
        }
    }

    /// What was done to the cable of a port.
    #[must_use]
    pub fn cable(&self, port: PortId) -> Option<Cable> {
        self.ports.get(&port).map(|port| port.cable)
    }

    /// A frame comes in at a port.
    pub fn send(&mut self, now: Instant, from: PortId, bytes: Vec<u8>) {
        self.send_at(now, now, from, bytes);
    }

    /// A frame comes in at a port that was sent at another time than now: machines run ahead in their turns.
    /// What a slow cable takes counts from then.
    pub fn send_at(&mut self, now: Instant, sent: Instant, from: PortId, bytes: Vec<u8>) {
        let Some(port) = self.ports.get(&from) else {
            return;
        };
        if !port.cable.plugged || bytes.len() < ETHERNET_BYTES {
            self.lost += 1;
            return;
        }
        let group = port.cable.group;
        let frame = Frame::new(bytes);
        self.known.learn(frame.mac(6), LinkId(from.0), now);
        let known = self
            .known
            .find(frame.mac(0), now)
            .filter(|_| frame.mac(0).is_unicast());
        let targets: Vec<PortId> = match known {
            Some(port) => vec![PortId(port.0)],
            None => self.ports.keys().copied().collect(),
        };
        for to in targets.into_iter().filter(|&to| to != from) {
            // Both cables are on the way.
            for arriving in self.cross(now, sent, from, to, group, &frame.bytes) {
                self.sequence += 1;
                self.under_way
                    .insert((arriving.0, self.sequence), (to, arriving.1));
            }
        }
    }

    /// What becomes of a frame between two ports: when it arrives, once, twice or not at all.
    fn cross(
        &mut self,
        now: Instant,
        sent: Instant,
        from: PortId,
        to: PortId,
        group: u32,
        bytes: &[u8],
    ) -> Vec<(Instant, Vec<u8>)> {
        let may_hear = self.ports.get(&to).is_some_and(|port| {
            let Cable {
                plugged,
                group: other,
                ..
            } = port.cable;
            let together = [group, other].contains(&EVERY_GROUP) || group == other;
            plugged && together && port.waiting < QUEUE_MAX
        });
        if !may_hear {
            self.lost += u64::from(self.ports.contains_key(&to));
            return Vec::new();
        }
        let slow = [from, to].iter().any(|side| {
            let port = self.ports.get(side);
            port.is_some_and(|port| port.cable.fault.is_slow())
        });
        let mut copies = vec![(if slow { sent } else { now }, bytes.to_vec())];
        for side in [from, to] {
            let Some(port) = self.ports.get_mut(&side) else {
                return Vec::new();
            };
            let mut after = Vec::new();
            for (at, bytes) in copies {
                match port
                    .cable
                    .fault
                    .fate(&self.rng, at, bytes, &mut port.free_at)
                {
                    Fate::Lost => self.lost += 1,
                    Fate::Arrives(mut arriving) => after.append(&mut arriving),
                }
            }
            copies = after;
        }
        if let Some(port) = self.ports.get_mut(&to) {
            port.waiting += copies.len();
        }
        copies
    }

    /// The frames that have arrived by `now`, and at which port.
    pub fn poll(&mut self, now: Instant) -> Vec<(PortId, Vec<u8>)> {
        let mut arrived = Vec::new();
        while let Some(entry) = self.under_way.first_entry()
            && entry.key().0 <= now
        {
            let (to, bytes) = entry.remove();
            if let Some(port) = self.ports.get_mut(&to) {
                port.waiting = port.waiting.saturating_sub(1);
            }
            arrived.push((to, bytes));
        }
        arrived
    }

    /// When the next frame arrives.
    #[must_use]
    pub fn poll_at(&self) -> Option<Instant> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }
}
