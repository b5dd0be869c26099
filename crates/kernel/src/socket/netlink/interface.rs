//! The old interface ioctls (`netdevice(7)`), as `ifconfig` and busybox use them.

use std::net::{IpAddr, Ipv4Addr};

use abi::{Errno, Result};
use net::link::{Address, Link, Scope};
use net::neighbour::State;
use net::route::{Add, Route, table};
use net::{Cidr, LinkId, Mac, Network, flags};
use vfs::file::UserMemory;

use super::super::consts as c;
use crate::namespaces::NetNs;

/// Bytes of `struct ifreq`: name, then a union.
const IFREQ_LEN: usize = 40;

/// `SIOC…`.
mod request {
    pub const ADDRT: u32 = 0x890b;
    pub const DELRT: u32 = 0x890c;
    pub const GIFNAME: u32 = 0x8910;
    pub const GIFCONF: u32 = 0x8912;
    pub const GIFFLAGS: u32 = 0x8913;
    pub const SIFFLAGS: u32 = 0x8914;
    pub const GIFADDR: u32 = 0x8915;
    pub const SIFADDR: u32 = 0x8916;
    pub const GIFDSTADDR: u32 = 0x8917;
    pub const GIFBRDADDR: u32 = 0x8919;
    pub const SIFBRDADDR: u32 = 0x891a;
    pub const GIFNETMASK: u32 = 0x891b;
    pub const SIFNETMASK: u32 = 0x891c;
    pub const GIFMETRIC: u32 = 0x891d;
    pub const GIFMTU: u32 = 0x8921;
    pub const SIFMTU: u32 = 0x8922;
    pub const SIFHWADDR: u32 = 0x8924;
    pub const GIFHWADDR: u32 = 0x8927;
    pub const GIFINDEX: u32 = 0x8933;
    pub const DARP: u32 = 0x8953;
    pub const GARP: u32 = 0x8954;
    pub const SARP: u32 = 0x8955;
    pub const GIFTXQLEN: u32 = 0x8942;
    pub const SIFTXQLEN: u32 = 0x8943;
    pub const BRADDBR: u32 = 0x89a0;
    pub const BRDELBR: u32 = 0x89a1;
    pub const BRADDIF: u32 = 0x89a2;
    pub const BRDELIF: u32 = 0x89a3;
    pub const GIFMAP: u32 = 0x8970;
}
use request as r;

/// Whether the request changes something, so that the caller needs `CAP_NET_ADMIN`.
#[must_use]
pub fn changes(request: u32) -> bool {
    matches!(
        request,
        r::ADDRT
            | r::DELRT
            | r::DARP
            | r::SARP
            | r::SIFFLAGS
            | r::SIFADDR
            | r::SIFBRDADDR
            | r::SIFNETMASK
            | r::SIFMTU
            | r::SIFHWADDR
            | r::SIFTXQLEN
            | r::BRADDBR..=r::BRDELIF
    )
}

/// A request of `netdevice(7)`; `ENOTTY` for everything else. Permission has been checked.
pub fn interface_ioctl(
    net: &NetNs,
    request: u32,
    argument: u64,
    memory: &dyn UserMemory,
) -> Result<u64> {
    match request {
        r::ADDRT | r::DELRT => return change_route(net, request, argument, memory),
        r::DARP | r::GARP | r::SARP => return neighbour(net, request, argument, memory),
        r::GIFCONF => return interface_list(net, argument, memory),
        r::BRADDBR | r::BRDELBR => return change_bridge(net, request, argument, memory),
        0x8910..=0x8970 | r::BRADDIF | r::BRDELIF => {}
        _ => return Err(Errno::ENOTTY),
    }
    let mut raw = [0; IFREQ_LEN];
    memory.read(argument, &mut raw)?;
    let number = u32::from_le_bytes([raw[16], raw[17], raw[18], raw[19]]);
    if request == r::GIFNAME {
        let name = net.with(|network| {
            let id = network.link_by_index(net.id, number)?;
            network.link(id).map(|link| link.name.clone())
        })?;
        raw[..16].fill(0);
        raw[..name.len()].copy_from_slice(name.as_bytes());
        memory.write(argument, &raw)?;
        return Ok(0);
    }
    let name = text(&raw[..16]);
    let value = net.with(|network| {
        let id = network.find_link(net.id, &name)?;
        match request {
            r::BRADDIF | r::BRDELIF => {
                let port = network.link_by_index(net.id, number)?;
                let master = Some(id).filter(|_| request == r::BRADDIF);
                network.set_master(port, master).map(|()| None)
            }
            request if changes(request) => change(network, id, request, &raw).map(|()| None),
            _ => answer(network, id, request).map(Some),
        }
    })?;
    if let Some(value) = value {
        raw[16..16 + value.len()].copy_from_slice(&value);
        memory.write(argument, &raw)?;
    }
    Ok(0)
}

/// A name, without the number of an alias (`eth0:1`).
fn text(raw: &[u8]) -> String {
    let end = raw
        .iter()
        .position(|&byte| byte == 0 || byte == b':')
        .unwrap_or(raw.len());
    String::from_utf8_lossy(&raw[..end]).into_owned()
}

/// `struct sockaddr_in` of an address.
fn inet(ip: Ipv4Addr) -> Vec<u8> {
    let mut address = vec![0; 16];
    address[..2].copy_from_slice(&c::AF_INET.to_le_bytes());
    address[4..8].copy_from_slice(&ip.octets());
    address
}

fn ipv4(link: &Link) -> Result<(Ipv4Addr, &Address)> {
    link.ipv4().ok_or(Errno::EADDRNOTAVAIL)
}

fn answer(network: &Network, id: LinkId, request: u32) -> Result<Vec<u8>> {
    let link = network.link(id)?;
    Ok(match request {
        r::GIFFLAGS => {
            let bits = link.flags(network.has_carrier(id));
            (bits as u16).to_le_bytes().to_vec()
        }
        r::GIFADDR | r::GIFDSTADDR => inet(ipv4(link)?.0),
        r::GIFBRDADDR => inet(ipv4(link)?.1.broadcast.unwrap_or(Ipv4Addr::UNSPECIFIED)),
        r::GIFNETMASK => inet(ipv4(link)?.1.cidr.netmask()),
        r::GIFMETRIC => 0u32.to_le_bytes().to_vec(),
        r::GIFMTU => link.mtu.to_le_bytes().to_vec(),
        r::GIFHWADDR => {
            let mut address = vec![0; 16];
            let hardware: u16 = if link.is_loopback() { 772 } else { 1 };
            address[..2].copy_from_slice(&hardware.to_le_bytes());
            address[2..8].copy_from_slice(&link.mac.0);
            address
        }
        r::GIFINDEX => link.index.to_le_bytes().to_vec(),
        r::GIFTXQLEN => link.queue_len.to_le_bytes().to_vec(),
        r::GIFMAP => vec![0; 24],
        _ => return Err(Errno::EOPNOTSUPP),
    })
}

fn change(network: &mut Network, id: LinkId, request: u32, raw: &[u8]) -> Result<()> {
    let word = u32::from_le_bytes([raw[16], raw[17], raw[18], raw[19]]);
    let ip = Ipv4Addr::new(raw[20], raw[21], raw[22], raw[23]);
    match request {
        r::SIFFLAGS => {
            let bits = u32::from(u16::from_le_bytes([raw[16], raw[17]]));
            network.set_up(id, bits & flags::UP != 0)
        }
        r::SIFMTU => network.set_mtu(id, word),
        r::SIFHWADDR => network.set_mac(id, Mac::from_bytes(&raw[18..24])),
        r::SIFTXQLEN => network.change_link(id, |link| link.queue_len = word),
        r::SIFADDR => {
            let old = network.link(id)?.ipv4().map(|(_, address)| address.cidr);
            if let Some(old) = old {
                network.remove_address(id, old)?;
            }
            if ip.is_unspecified() {
                return Ok(());
            }
            // The mask of its class, until another is set.
            let prefix = match ip.octets()[0] {
                0..128 => 8,
                128..192 => 16,
                _ => 24,
            };
            let cidr = Cidr::new(ip.into(), prefix);
            network.add_address(id, address(cidr))?;
            // Setting an address brings the link up (devinet_ioctl).
            network.set_up(id, true)
        }
        r::SIFNETMASK => {
            let prefix = u32::from(ip).leading_ones() as u8;
            let old = network.link(id)?.ipv4().map(|(_, address)| address.cidr);
            let old = old.ok_or(Errno::EADDRNOTAVAIL)?;
            network.remove_address(id, old)?;
            network.add_address(id, address(Cidr::new(old.ip, prefix)))
        }
        r::SIFBRDADDR => {
            let own = network.link(id)?.ipv4().map(|(_, address)| address.cidr);
            let own = own.ok_or(Errno::EADDRNOTAVAIL)?;
            network.change_link(id, |link| {
                for address in &mut link.addresses {
                    if address.cidr == own {
                        address.broadcast = Some(ip);
                    }
                }
            })
        }
        _ => Err(Errno::EOPNOTSUPP),
    }
}

fn address(cidr: Cidr) -> Address {
    Address {
        cidr,
        broadcast: cidr.broadcast(),
        scope: Scope::Global,
        label: String::new(),
    }
}

/// `SIOCGIFCONF`: a list of `ifreq` with the IPv4 addresses there are.
fn interface_list(net: &NetNs, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
    let mut raw = [0; 16];
    memory.read(argument, &mut raw)?;
    let room = i32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
    let mut pointer = [0; 8];
    pointer.copy_from_slice(&raw[8..]);
    let target = u64::from_le_bytes(pointer);
    let entries = net.with(|network| {
        let mut entries = Vec::new();
        for (_, link) in network.links_of(net.id) {
            for address in &link.addresses {
                let IpAddr::V4(ip) = address.cidr.ip else {
                    continue;
                };
                let mut entry = [0; IFREQ_LEN];
                let label = address.label.as_bytes();
                let len = label.len().min(15);
                entry[..len].copy_from_slice(&label[..len]);
                entry[16..32].copy_from_slice(&inet(ip));
                entries.push(entry);
            }
        }
        entries
    });
    let mut len = entries.len() * IFREQ_LEN;
    if target != 0 {
        let room = usize::try_from(room).map_err(|_| Errno::EINVAL)? / IFREQ_LEN;
        let fitting = &entries[..room.min(entries.len())];
        len = fitting.len() * IFREQ_LEN;
        memory.write(target, &fitting.concat())?;
    }
    memory.write(argument, &(len as i32).to_le_bytes())?;
    Ok(0)
}

/// `SIOCBRADDBR` and `SIOCBRDELBR`: the argument is the name.
fn change_bridge(net: &NetNs, request: u32, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
    let mut raw = [0; 16];
    memory.read(argument, &mut raw)?;
    let name = text(&raw);
    net.with(|network| {
        if request == r::BRADDBR {
            return network.add_bridge(net.id, &name, None).map(|_| 0);
        }
        let id = network.find_link(net.id, &name)?;
        if network.link(id)?.bridge().is_none() {
            return Err(Errno::EPERM);
        }
        network.delete_link(id).map(|()| 0)
    })
}

/// `SIOCADDRT` and `SIOCDELRT` (`struct rtentry`), as `route(8)` and busybox use them.
/// `struct arpreq`: a protocol's address, the hardware's, flags, a netmask, the link's name (arp(7)).
fn neighbour(net: &NetNs, request: u32, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
    const COMPLETE: u32 = 2;
    const PERMANENT: u32 = 4;
    let mut raw = [0; 68];
    memory.read(argument, &mut raw)?;
    if u16::from_le_bytes([raw[0], raw[1]]) != c::AF_INET {
        return Err(Errno::EPFNOSUPPORT);
    }
    let ip = IpAddr::from([raw[4], raw[5], raw[6], raw[7]]);
    let name = text(&raw[52..]);
    let found = net.with(|network| {
        let link = match name.as_str() {
            "" => network.space(net.id)?.routes.lookup(ip, None)?.link,
            name => network.find_link(net.id, name)?,
        };
        match request {
            r::SARP => {
                let flags = u32::from_le_bytes([raw[32], raw[33], raw[34], raw[35]]);
                let state = if flags & PERMANENT != 0 {
                    State::Permanent
                } else {
                    State::Stale
                };
                let mac = Mac::from_bytes(&raw[18..24]);
                network.set_neighbour(link, ip, mac, state)?;
                Ok(None)
            }
            r::DARP => {
                let gone = network.remove_neighbour(link, ip);
                gone.map(|()| None).map_err(|_| Errno::ENXIO)
            }
            _ => {
                let neighbours = &network.space(net.id)?.neighbours;
                let known = neighbours.entries.get(&(link, ip)).ok_or(Errno::ENXIO)?;
                Ok(Some((
                    known.mac,
                    known.state,
                    network.link(link)?.name.clone(),
                )))
            }
        }
    })?;
    let Some((mac, state, name)) = found else {
        return Ok(0);
    };
    let permanent = if state == State::Permanent {
        PERMANENT
    } else {
        0
    };
    let complete = if state.is_valid() { COMPLETE } else { 0 };
    raw[16..18].copy_from_slice(&1u16.to_le_bytes());
    raw[18..24].copy_from_slice(&mac.0);
    raw[32..36].copy_from_slice(&(permanent | complete).to_le_bytes());
    raw[52..].fill(0);
    raw[52..52 + name.len()].copy_from_slice(name.as_bytes());
    memory.write(argument, &raw)?;
    Ok(0)
}

fn change_route(net: &NetNs, request: u32, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
    const GATEWAY: u16 = 2;
    const HOST: u16 = 4;
    let mut raw = [0; 120];
    memory.read(argument, &mut raw)?;
    let ip = |at: usize| Ipv4Addr::new(raw[at + 4], raw[at + 5], raw[at + 6], raw[at + 7]);
    let bits = u16::from_le_bytes([raw[56], raw[57]]);
    let metric = i16::from_le_bytes([raw[82], raw[83]]);
    let mut pointer = [0; 8];
    pointer.copy_from_slice(&raw[88..96]);
    let device = u64::from_le_bytes(pointer);
    let prefix = if bits & HOST != 0 {
        32
    } else {
        u32::from(ip(40)).leading_ones() as u8
    };
    let dst = Cidr::new(ip(8).into(), prefix);
    if dst.network() != dst {
        return Err(Errno::EINVAL);
    }
    let gateway = (bits & GATEWAY != 0).then(|| IpAddr::from(ip(24)));
    let name = if device == 0 {
        None
    } else {
        let mut raw = [0; 16];
        memory.read(device, &mut raw)?;
        Some(text(&raw))
    };
    net.with(|network| {
        let link = match &name {
            Some(name) => Some(network.find_link(net.id, name)?),
            None => None,
        };
        if request == r::DELRT {
            let is_meant = |old: &Route| {
                old.dst == dst
                    && old.table == table::MAIN
                    && (link.is_none() || old.link == link)
                    && (gateway.is_none() || old.gateway == gateway)
            };
            return network.remove_route(net.id, is_meant).map(|_| 0);
        }
        let mut route = Route::unicast(dst, gateway, link);
        // One more than is meant, for compatibility.
        route.metric = u32::try_from(i32::from(metric) - 1).unwrap_or(0);
        network.add_route(net.id, route, Add::New).map(|()| 0)
    })
}
