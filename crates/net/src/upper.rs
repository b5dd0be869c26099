//! Links on another link of the machine, their *lower*: macvlan (a hardware address of its own) and ipvlan
//! (IP addresses of its own behind the lower's hardware address). The lower may be in another namespace. What
//! arrives at it is shown to them first; what they send leaves by it without going up at it, so they never
//! reach the host they are on.

use std::net::IpAddr;

use abi::{Errno, Result};

use crate::link::LinkKind;
use crate::network::Network;
use crate::packet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Frame, Ip, Mac};
use crate::types::{LinkId, NsId};

/// Whom a macvlan link reaches beside what is behind its lower.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MacvlanMode {
    /// Nobody.
    Private,
    /// Whom the switch sends its frames back to.
    Vepa,
    /// Its siblings.
    Bridge,
    /// It has the lower for itself.
    Passthru,
}

impl MacvlanMode {
    /// `MACVLAN_MODE_…`.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            MacvlanMode::Private => 1,
            MacvlanMode::Vepa => 2,
            MacvlanMode::Bridge => 4,
            MacvlanMode::Passthru => 8,
        }
    }

    /// From `MACVLAN_MODE_…`.
    pub fn from_number(number: u32) -> Result<MacvlanMode> {
        Ok(match number {
            1 => MacvlanMode::Private,
            2 => MacvlanMode::Vepa,
            4 => MacvlanMode::Bridge,
            8 => MacvlanMode::Passthru,
            _ => return Err(Errno::EINVAL),
        })
    }
}

/// How packets of an ipvlan link find their way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IpvlanMode {
    /// As on the lower's network.
    L2,
    /// By the routes of the lower's namespace; no broadcasts.
    L3,
    /// The same, past that namespace's packet filter (which [`IpvlanMode::L3`] here passes too).
    L3s,
}

impl IpvlanMode {
    /// `IPVLAN_MODE_…`.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            IpvlanMode::L2 => 0,
            IpvlanMode::L3 => 1,
            IpvlanMode::L3s => 2,
        }
    }

    /// From `IPVLAN_MODE_…`.
    pub fn from_number(number: u16) -> Result<IpvlanMode> {
        Ok(match number {
            0 => IpvlanMode::L2,
            1 => IpvlanMode::L3,
            2 => IpvlanMode::L3s,
            _ => return Err(Errno::EINVAL),
        })
    }
}

/// `IFF_NOARP`.
const NOARP: u32 = 0x80;

/// The address a frame is meant for: that of its packet, or the one an ARP message is for.
fn target(frame: &Frame) -> Option<IpAddr> {
    match frame.ethertype() {
        ETHERTYPE_ARP => {
            let target: [u8; 4] = frame.packet().get(24..28)?.try_into().ok()?;
            Some(target.into())
        }
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => Ip::parse(frame.packet()).map(|ip| ip.dst),
        _ => None,
    }
}

impl Network {
    /// `ip link add link LOWER name NAME type macvlan mode MODE`.
    pub fn add_macvlan(
        &mut self,
        ns: NsId,
        name: &str,
        lower: LinkId,
        mode: MacvlanMode,
        mac: Option<Mac>,
    ) -> Result<LinkId> {
        let lower = self.lowest(lower)?;
        let known = self.link(lower)?.uppers.clone();
        for &other in &known {
            match self.link(other)?.kind {
                LinkKind::Macvlan { mode: other, .. } => {
                    if [mode, other].contains(&MacvlanMode::Passthru) {
                        return Err(Errno::EINVAL);
                    }
                }
                _ => return Err(Errno::EBUSY),
            }
        }
        let mac = match mode {
            MacvlanMode::Passthru => mac.or(Some(self.link(lower)?.mac)),
            _ => mac,
        };
        self.add_upper(ns, name, lower, LinkKind::Macvlan { lower, mode }, mac)
    }

    /// `ip link add link LOWER name NAME type ipvlan mode MODE`.
    pub fn add_ipvlan(
        &mut self,
        ns: NsId,
        name: &str,
        lower: LinkId,
        mode: IpvlanMode,
    ) -> Result<LinkId> {
        let lower = self.lowest(lower)?;
        let below = self.link(lower)?;
        let mac = below.mac;
        for other in below.uppers.clone() {
            if !matches!(self.link(other)?.kind, LinkKind::Ipvlan { .. }) {
                return Err(Errno::EBUSY);
            }
        }
        let id = self.add_upper(ns, name, lower, LinkKind::Ipvlan { lower, mode }, Some(mac))?;
        if mode != IpvlanMode::L2 {
            self.change_link(id, |link| link.extra_flags |= NOARP)?;
        }
        Ok(id)
    }

    /// What is on another already is not put upon, but beside.
    fn lowest(&self, lower: LinkId) -> Result<LinkId> {
        let link = self.link(lower)?;
        if link.is_loopback() {
            return Err(Errno::EINVAL);
        }
        if link.master.is_some() {
            return Err(Errno::EBUSY);
        }
        Ok(link.lower().unwrap_or(lower))
    }

    fn add_upper(
        &mut self,
        ns: NsId,
        name: &str,
        lower: LinkId,
        kind: LinkKind,
        mac: Option<Mac>,
    ) -> Result<LinkId> {
        let id = self.add_link(ns, name, kind, mac)?;
        let mtu = self.link(lower)?.mtu;
        self.change_link(id, |link| link.mtu = mtu)?;
        self.change_link(lower, |link| link.uppers.push(id))?;
        Ok(id)
    }

    /// The other links on the same lower.
    fn siblings(&self, id: LinkId, lower: LinkId) -> Vec<LinkId> {
        let Some(below) = self.links.get(&lower) else {
            return Vec::new();
        };
        let uppers = below.uppers.iter().copied();
        uppers.filter(|&other| other != id).collect()
    }

    fn is_for(&self, upper: LinkId, frame: &Frame) -> bool {
        let Some(link) = self.links.get(&upper) else {
            return false;
        };
        match link.kind {
            LinkKind::Macvlan { mode, .. } => {
                mode == MacvlanMode::Passthru || link.mac == frame.mac(0)
            }
            LinkKind::Ipvlan { .. } => target(frame).is_some_and(|ip| self.owns(upper, ip)),
            _ => false,
        }
    }

    /// A link on another takes part in what is for everybody.
    fn hears_groups(&self, upper: LinkId) -> bool {
        let kind = self.links.get(&upper).map(|link| &link.kind);
        !matches!(kind, Some(LinkKind::Ipvlan { mode, .. }) if *mode != IpvlanMode::L2)
    }

    /// A frame has arrived at a link that others are on; what is left is for the link itself.
    pub(crate) fn lower_input(&mut self, uppers: &[LinkId], frame: Frame) -> Option<Frame> {
        if frame.mac(0).is_unicast() {
            return match uppers.iter().find(|&&upper| self.is_for(upper, &frame)) {
                Some(&upper) => {
                    self.arrive(upper, frame);
                    None
                }
                None => Some(frame),
            };
        }
        for &upper in uppers {
            if self.hears_groups(upper) {
                self.arrive(upper, frame.clone());
            }
        }
        Some(frame)
    }

    /// A frame leaves by a link that is on another.
    pub(crate) fn upper_output(&mut self, id: LinkId, lower: LinkId, mut frame: Frame) {
        (frame.track, frame.mark) = (None, 0);
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let (own, kind) = (link.mac, link.kind.clone());
        let siblings = self.siblings(id, lower);
        let near = !matches!(
            kind,
            LinkKind::Macvlan {
                mode: MacvlanMode::Private | MacvlanMode::Vepa | MacvlanMode::Passthru,
                ..
            }
        );
        let routed = matches!(kind, LinkKind::Ipvlan { mode, .. } if mode != IpvlanMode::L2);
        let is_group = !frame.mac(0).is_unicast();
        if is_group && routed {
            return;
        }
        if near && is_group {
            for &sibling in &siblings {
                self.arrive(sibling, frame.clone());
            }
        } else if near {
            if let Some(&sibling) = siblings.iter().find(|&&one| self.is_for(one, &frame)) {
                self.arrive(sibling, frame);
                return;
            }
            // Behind this hardware address there is only the host, which is not to be reached.
            if matches!(kind, LinkKind::Ipvlan { .. }) && !routed && frame.mac(0) == own {
                return;
            }
        }
        if routed {
            let ns = self.links.get(&lower).map(|link| link.ns);
            if let Some(ns) = ns {
                // Nobody hears what has no way.
                let _ = self.output(ns, frame, None);
            }
            return;
        }
        self.transmit(lower, frame);
    }
}
