//! Links: `RTM_NEWLINK`, `RTM_DELLINK`, `RTM_GETLINK`, `RTM_SETLINK`.

use std::rc::Rc;

use abi::{Errno, Result};
use net::link::{Link, LinkKind};
use net::upper::{IpvlanMode, MacvlanMode};
use net::{LinkId, Network, NsId, flags};

use super::super::Caller;
use super::kind;
use super::message::{Attributes, CREATE, EXCL, Header, MULTI, Message, put_attribute, word_at};
use crate::namespaces::NetNs;
use crate::namespaces::nsfs::{NsFile, NsRef};

/// Bytes of `struct ifinfomsg`.
const INFO_BYTES: usize = 16;

/// `IFLA_…`.
mod attribute {
    pub const ADDRESS: u16 = 1;
    pub const BROADCAST: u16 = 2;
    pub const IFNAME: u16 = 3;
    pub const MTU: u16 = 4;
    pub const LINK: u16 = 5;
    pub const QDISC: u16 = 6;
    pub const MASTER: u16 = 10;
    pub const PROTINFO: u16 = 12;
    pub const TXQLEN: u16 = 13;
    pub const OPERSTATE: u16 = 16;
    pub const LINKMODE: u16 = 17;
    pub const LINKINFO: u16 = 18;
    pub const NET_NS_PID: u16 = 19;
    pub const IFALIAS: u16 = 20;
    pub const STATS64: u16 = 23;
    pub const GROUP: u16 = 27;
    pub const NET_NS_FD: u16 = 28;
    pub const PROMISCUITY: u16 = 30;
    pub const NUM_TX_QUEUES: u16 = 31;
    pub const NUM_RX_QUEUES: u16 = 32;
    pub const CARRIER: u16 = 33;
    pub const LINK_NETNSID: u16 = 37;
    pub const ALT_IFNAME: u16 = 53;
    /// In LINKINFO.
    pub const INFO_KIND: u16 = 1;
    pub const INFO_DATA: u16 = 2;
    pub const INFO_SLAVE_KIND: u16 = 4;
    /// In INFO_DATA of macvlan and ipvlan.
    pub const UPPER_MODE: u16 = 1;
    pub const UPPER_FLAGS: u16 = 2;
    /// In INFO_DATA of a pair.
    pub const VETH_PEER: u16 = 1;
}
use attribute as a;

/// The index in front of a request's attributes.
fn index(body: &[u8]) -> u32 {
    word_at(body, 4)
}

/// The link an `ifinfomsg` with its attributes names, by index or by name.
fn find(network: &Network, ns: NsId, body: &[u8]) -> Result<LinkId> {
    let attributes = Attributes::parse(body.get(INFO_BYTES..).unwrap_or_default());
    match index(body) {
        0 => {
            let name = attributes.text(a::IFNAME)?;
            let name = name.or(attributes.text(a::ALT_IFNAME)?);
            network.find_link(ns, name.ok_or(Errno::EINVAL)?)
        }
        index => network.link_by_index(ns, index),
    }
}

/// All links.
pub fn dump(net: &NetNs, header: &Header) -> Vec<Vec<u8>> {
    net.with(|network| {
        let ids: Vec<LinkId> = network.links_of(net.id).map(|(id, _)| id).collect();
        ids.into_iter()
            .filter_map(|id| describe(network, id, header, MULTI))
            .collect()
    })
}

/// One link.
pub fn get(net: &NetNs, header: &Header, body: &[u8]) -> Result<Vec<u8>> {
    net.with(|network| {
        let id = find(network, net.id, body)?;
        describe(network, id, header, 0).ok_or(Errno::ENODEV)
    })
}

/// Operational state (RFC 2863) as `IFLA_OPERSTATE` numbers it.
fn state(link: &Link, carrier: bool, elsewhere: bool) -> u8 {
    match (&link.kind, link.up, carrier) {
        (_, false, _) => 2,
        (LinkKind::Loopback | LinkKind::Dummy, ..) => 0,
        (_, _, true) => 6,
        // The other end of the pair is down. Once it has been up, and is in another namespace, Linux cannot
        // tell any more.
        (LinkKind::Veth { .. }, ..) if !link.had_carrier || !elsewhere => 3,
        _ => 2,
    }
}

/// `struct rtnl_link_stats64`.
fn stats(link: &Link) -> [u8; 192] {
    let one = &link.counters;
    let mut raw = [0; 192];
    let values = [
        one.rx_packets,
        one.tx_packets,
        one.rx_bytes,
        one.tx_bytes,
        one.rx_errors,
        0,
        one.rx_dropped,
        one.tx_dropped,
        one.rx_multicast,
    ];
    for (at, value) in values.into_iter().enumerate() {
        raw[at * 8..at * 8 + 8].copy_from_slice(&value.to_le_bytes());
    }
    raw
}

fn info(link: &Link, carrier: bool) -> [u8; INFO_BYTES] {
    let mut info = [0; INFO_BYTES];
    let hardware: u16 = if link.is_loopback() { 772 } else { 1 };
    info[2..4].copy_from_slice(&hardware.to_le_bytes());
    info[4..8].copy_from_slice(&link.index.to_le_bytes());
    info[8..12].copy_from_slice(&link.flags(carrier).to_le_bytes());
    info
}

/// `RTM_NEWLINK` about a link.
pub fn describe(network: &Network, id: LinkId, header: &Header, flags: u16) -> Option<Vec<u8>> {
    let link = network.link(id).ok()?;
    let carrier = network.has_carrier(id);
    let broadcast = if link.is_loopback() {
        [0; 6]
    } else {
        [0xff; 6]
    };
    let qdisc: &[u8] = match (link.up, &link.kind) {
        (false, _) if !link.was_up => b"noop\0",
        (_, LinkKind::Ethernet { .. }) => b"fq_codel\0",
        _ => b"noqueue\0",
    };
    let name = [link.name.as_bytes(), b"\0"].concat();
    let peer = match link.kind {
        LinkKind::Veth { peer } => peer.and_then(|peer| network.link(peer).ok()),
        _ => link.lower().and_then(|lower| network.link(lower).ok()),
    };
    let elsewhere = peer.is_some_and(|peer| peer.ns != link.ns);
    let mut message = Message::new(kind::NEWLINK, flags, header)
        .bytes(&info(link, carrier))
        .attribute(a::IFNAME, &name)
        .attribute(a::TXQLEN, &link.queue_len.to_le_bytes())
        .attribute(a::OPERSTATE, &[state(link, carrier, elsewhere)])
        .attribute(a::LINKMODE, &[0])
        .attribute(a::MTU, &link.mtu.to_le_bytes())
        .attribute(a::GROUP, &0u32.to_le_bytes())
        .attribute(a::PROMISCUITY, &0u32.to_le_bytes())
        .attribute(a::NUM_TX_QUEUES, &1u32.to_le_bytes())
        .attribute(a::NUM_RX_QUEUES, &1u32.to_le_bytes())
        .attribute(a::CARRIER, &[u8::from(carrier)])
        .attribute(a::QDISC, qdisc)
        .attribute(a::ADDRESS, &link.mac.0)
        .attribute(a::BROADCAST, &broadcast)
        .attribute(a::STATS64, &stats(link));
    if let Some(alias) = &link.alias {
        message = message.attribute(a::IFALIAS, &[alias.as_bytes(), b"\0"].concat());
    }
    if let Some(master) = link.master.and_then(|master| network.link(master).ok()) {
        message = message.attribute(a::MASTER, &master.index.to_le_bytes());
    }
    if let Some(peer) = peer {
        message = message.attribute(a::LINK, &peer.index.to_le_bytes());
        if elsewhere {
            message = message.attribute(a::LINK_NETNSID, &0u32.to_le_bytes());
        }
    }
    if let Some(kind) = link.kind.name() {
        let mut about = Vec::new();
        put_attribute(&mut about, a::INFO_KIND, kind.as_bytes());
        if let Some(bridge) = link.bridge() {
            put_attribute(&mut about, a::INFO_DATA, &bridge_data(bridge));
        }
        let mut data = Vec::new();
        match link.kind {
            LinkKind::Macvlan { mode, .. } => {
                put_attribute(&mut data, a::UPPER_MODE, &mode.number().to_le_bytes());
                put_attribute(&mut data, a::UPPER_FLAGS, &0u16.to_le_bytes());
            }
            LinkKind::Ipvlan { mode, .. } => {
                put_attribute(&mut data, a::UPPER_MODE, &mode.number().to_le_bytes());
                put_attribute(&mut data, a::UPPER_FLAGS, &0u16.to_le_bytes());
            }
            _ => {}
        }
        if !data.is_empty() {
            put_attribute(&mut about, a::INFO_DATA, &data);
        }
        if link.master.is_some() {
            put_attribute(&mut about, a::INFO_SLAVE_KIND, b"bridge");
        }
        message = message.attribute(a::LINKINFO, &about);
    }
    Some(message.finish())
}

/// What a bridge is set to, in hundredths of seconds. There is no spanning tree to be set.
fn bridge_data(bridge: &net::bridge::Bridge) -> Vec<u8> {
    const FORWARD_DELAY: u16 = 1;
    const HELLO_TIME: u16 = 2;
    const MAX_AGE: u16 = 3;
    const AGEING_TIME: u16 = 4;
    const STP_STATE: u16 = 5;
    const PRIORITY: u16 = 6;
    let ageing = (bridge.ageing_ns / 10_000_000) as u32;
    let mut data = Vec::new();
    for (number, value) in [
        (FORWARD_DELAY, 1500),
        (HELLO_TIME, 200),
        (MAX_AGE, 2000),
        (AGEING_TIME, ageing),
        (STP_STATE, 0u32),
    ] {
        put_attribute(&mut data, number, &value.to_le_bytes());
    }
    put_attribute(&mut data, PRIORITY, &0x8000u16.to_le_bytes());
    data
}

/// The ports of bridges (`bridge link`): who asks with the family of bridges sees only them.
pub fn dump_ports(net: &NetNs, header: &Header) -> Vec<Vec<u8>> {
    net.with(|network| {
        let mut found = Vec::new();
        for (id, link) in network.links_of(net.id) {
            let Some(master) = link.master.and_then(|master| network.link(master).ok()) else {
                continue;
            };
            let carrier = network.has_carrier(id);
            let mut info = info(link, carrier);
            info[0] = super::neighbour::BRIDGE as u8;
            let mut port = Vec::new();
            // Forwarding or disabled, priority, cost.
            let forwards = if link.up && carrier { 3 } else { 0 };
            put_attribute(&mut port, 1, &[forwards]);
            put_attribute(&mut port, 2, &32u16.to_le_bytes());
            put_attribute(&mut port, 3, &2u32.to_le_bytes());
            put_attribute(&mut port, 4, &[u8::from(link.hairpin)]);
            let mut message = Message::new(kind::NEWLINK, MULTI, header)
                .bytes(&info)
                .attribute(a::IFNAME, &[link.name.as_bytes(), b"\0"].concat())
                .attribute(a::MASTER, &master.index.to_le_bytes())
                .attribute(a::MTU, &link.mtu.to_le_bytes())
                .attribute(a::OPERSTATE, &[state(link, carrier, true)])
                .attribute(a::PROTINFO | NESTED, &port);
            if let LinkKind::Veth { peer: Some(peer) } = link.kind
                && let Ok(peer) = network.link(peer)
            {
                message = message.attribute(a::LINK, &peer.index.to_le_bytes());
            }
            found.push(message.finish());
        }
        found
    })
}

/// The value is attributes itself.
const NESTED: u16 = 0x8000;

/// `RTM_DELLINK` about a link that is gone.
pub fn gone(index: u32, header: &Header) -> Vec<u8> {
    let mut info = [0; INFO_BYTES];
    info[4..8].copy_from_slice(&index.to_le_bytes());
    Message::new(kind::DELLINK, 0, header).bytes(&info).finish()
}

/// The namespace a link is to be in.
fn target(caller: Caller<'_>, attributes: &Attributes<'_>) -> Result<Option<Rc<NetNs>>> {
    if let Some(fd) = attributes.word(a::NET_NS_FD) {
        let file = caller.t.files().get(fd as i32)?;
        let file = file.file.as_any().downcast_ref::<NsFile>();
        return match file.map(|file| &file.0) {
            Some(NsRef::Net(net)) => Ok(Some(Rc::clone(net))),
            _ => Err(Errno::EINVAL),
        };
    }
    if let Some(pid) = attributes.word(a::NET_NS_PID) {
        let task = caller.t.pid_ns().task(pid).ok_or(Errno::ESRCH)?;
        return Ok(Some(Rc::clone(&task.ns().net)));
    }
    Ok(None)
}

/// `RTM_NEWLINK` and `RTM_SETLINK`: a new link, or changes to one.
pub fn change(caller: Caller<'_>, net: &NetNs, header: &Header, body: &[u8]) -> Result<()> {
    let attributes = Attributes::parse(body.get(INFO_BYTES..).unwrap_or_default());
    let place = target(caller, &attributes)?;
    let known = net.with(|network| find(network, net.id, body));
    let is_named = index(body) != 0 || attributes.text(a::IFNAME)?.is_some();
    match known {
        Ok(_) if header.flags & EXCL != 0 => Err(Errno::EEXIST),
        Ok(id) => net.with(|network| apply(network, net.id, id, body, &attributes, place.as_ref())),
        Err(errno) if header.flags & CREATE == 0 || index(body) != 0 => Err(errno),
        Err(Errno::ENODEV | Errno::EINVAL) => {
            create(caller, net, body, &attributes, place.as_ref(), is_named)
        }
        Err(errno) => Err(errno),
    }
}

fn create(
    caller: Caller<'_>,
    net: &NetNs,
    body: &[u8],
    attributes: &Attributes<'_>,
    place: Option<&Rc<NetNs>>,
    is_named: bool,
) -> Result<()> {
    let about = Attributes::parse(attributes.get(a::LINKINFO).unwrap_or_default());
    let kind = about.text(a::INFO_KIND)?.ok_or(Errno::EOPNOTSUPP)?;
    let ns = place.map_or(net.id, |place| place.id);
    let mac = attributes.mac(a::ADDRESS)?;
    let free = net.with(|network| free_name(network, ns, kind));
    let name = match attributes.text(a::IFNAME)? {
        Some(name) if is_named => name.to_string(),
        _ => free,
    };
    let data = Attributes::parse(about.get(a::INFO_DATA).unwrap_or_default());
    let peer = data.get(a::VETH_PEER).unwrap_or_default();
    let peer_attributes = Attributes::parse(peer.get(INFO_BYTES..).unwrap_or_default());
    let peer_place = target(caller, &peer_attributes)?;
    net.with(|network| {
        let id = match kind {
            "bridge" => network.add_bridge(ns, &name, mac)?,
            "dummy" => network.add_dummy(ns, &name, mac)?,
            "macvlan" | "ipvlan" => {
                let lower = attributes.word(a::LINK).ok_or(Errno::EINVAL)?;
                let lower = network.link_by_index(net.id, lower)?;
                let mode = data.get(a::UPPER_MODE);
                match kind {
                    "macvlan" => {
                        // Without a word it is the switch that decides.
                        let number = data.word(a::UPPER_MODE).unwrap_or(2);
                        let mode = MacvlanMode::from_number(number)?;
                        network.add_macvlan(ns, &name, lower, mode, mac)?
                    }
                    _ => {
                        let number = mode.and_then(|raw| Some([*raw.first()?, *raw.get(1)?]));
                        // Without a word packets are routed.
                        let mode = IpvlanMode::from_number(number.map_or(1, u16::from_le_bytes))?;
                        network.add_ipvlan(ns, &name, lower, mode)?
                    }
                }
            }
            "veth" => {
                let peer_ns = peer_place.as_ref().map_or(net.id, |place| place.id);
                let peer_name = peer_attributes.text(a::IFNAME)?;
                let macs = (mac, peer_attributes.mac(a::ADDRESS)?);
                let pair = network.add_veth(ns, &name, (peer_ns, peer_name), macs)?;
                apply(network, peer_ns, pair.1, peer, &peer_attributes, None)?;
                pair.0
            }
            _ => return Err(Errno::EOPNOTSUPP),
        };
        apply(network, ns, id, body, attributes, None)
    })
}

fn free_name(network: &Network, ns: NsId, kind: &str) -> String {
    let names = (0..).map(|number| format!("{kind}{number}"));
    let mut free = names.filter(|name| network.find_link(ns, name).is_err());
    free.next().unwrap_or_default()
}

/// Changes a link as the attributes and flags say.
fn apply(
    network: &mut Network,
    ns: NsId,
    id: LinkId,
    body: &[u8],
    attributes: &Attributes<'_>,
    place: Option<&Rc<NetNs>>,
) -> Result<()> {
    if let Some(place) = place {
        network.move_link(id, place.id)?;
    }
    if let Some(mac) = attributes.mac(a::ADDRESS)?
        && network.link(id)?.mac != mac
    {
        network.set_mac(id, mac)?;
    }
    if let Some(mtu) = attributes.word(a::MTU) {
        network.set_mtu(id, mtu)?;
    }
    if index(body) != 0
        && let Some(name) = attributes.text(a::IFNAME)?
    {
        network.rename_link(id, name)?;
    }
    if let Some(len) = attributes.word(a::TXQLEN) {
        network.change_link(id, |link| link.queue_len = len)?;
    }
    if let Some(alias) = attributes.text(a::IFALIAS)? {
        let alias = Some(alias.to_string()).filter(|alias| !alias.is_empty());
        network.change_link(id, |link| link.alias = alias)?;
    }
    match attributes.word(a::MASTER) {
        Some(0) => network.set_master(id, None)?,
        Some(index) => {
            let master = network.link_by_index(ns, index)?;
            network.set_master(id, Some(master))?;
        }
        None => {}
    }
    let (bits, mask) = (word_at(body, 8), word_at(body, 12));
    // Without a mask the flags that are set are meant.
    let mask = if mask == 0 { bits } else { mask };
    if mask & flags::PROMISC != 0 {
        let kept = bits & flags::PROMISC;
        network.change_link(id, |link| {
            link.extra_flags = link.extra_flags & !flags::PROMISC | kept;
        })?;
    }
    if mask & flags::UP != 0 {
        network.set_up(id, bits & flags::UP != 0)?;
    }
    Ok(())
}

/// `RTM_DELLINK`.
pub fn delete(net: &NetNs, body: &[u8]) -> Result<()> {
    net.with(|network| {
        let id = find(network, net.id, body)?;
        network.delete_link(id)
    })
}
