//! Matches and targets (`libxt_*.so` and the kernel's `xt_*` modules): what each revision looks like.
//!
//! One structure may hold several of our matches: that of `tcp` has both ports and the flags.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use abi::{Errno, Result};

use crate::netfilter::nat::Range;
use crate::netfilter::rule::{AddressType, Limit, Match, REJECTIONS, Side, Target, Test};
use crate::packet::proto;

/// A match or target as it is handed over.
pub struct Emitted {
    pub name: &'static str,
    pub revision: u8,
    pub data: Vec<u8>,
}

/// Revisions of matches: IPv4 and IPv6, or one of them.
const MATCHES: &[(&str, &[u8], Option<bool>)] = &[
    ("addrtype", &[1], None),
    ("comment", &[0], None),
    ("conntrack", &[3], None),
    ("icmp", &[0], Some(false)),
    ("icmp6", &[0], Some(true)),
    ("limit", &[0], None),
    ("mark", &[1], None),
    ("multiport", &[1], None),
    ("state", &[0], None),
    ("statistic", &[0], None),
    ("tcp", &[0], None),
    ("udp", &[0], None),
];

const TARGETS: &[(&str, &[u8], Option<bool>)] = &[
    ("", &[0], None),
    ("DNAT", &[0, 2], Some(false)),
    ("DNAT", &[1, 2], Some(true)),
    ("ERROR", &[0], None),
    ("MARK", &[2], None),
    ("MASQUERADE", &[0], None),
    ("REDIRECT", &[0], None),
    ("REJECT", &[0], None),
    ("SNAT", &[0], Some(false)),
    ("SNAT", &[1], Some(true)),
];

/// Whether a revision of a match or target is there (`IPT_SO_GET_REVISION_…`): `ENOENT` when there is none
/// at all, `EPROTONOSUPPORT` when there are others. Gives the highest one.
pub fn best_revision(name: &str, revision: u8, is_target: bool, v6: bool) -> Result<u8> {
    let table = if is_target { TARGETS } else { MATCHES };
    let found = table
        .iter()
        .find(|(known, _, family)| *known == name && family.is_none_or(|family| family == v6));
    let (_, revisions, _) = found.ok_or(Errno::ENOENT)?;
    if !revisions.contains(&revision) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    revisions.last().copied().ok_or(Errno::ENOENT)
}

/// Of both: the kinds of addresses `addrtype` can ask for (`XT_ADDRTYPE_…`).
const ADDRESS_TYPES: [(AddressType, u16); 4] = [
    (AddressType::Unicast, 1 << 1),
    (AddressType::Local, 1 << 2),
    (AddressType::Broadcast, 1 << 3),
    (AddressType::Multicast, 1 << 5),
];

/// States of connections: our bits, in the order of `CT_NAMES`, and those of `conntrack`.
const STATES: [u16; 7] = [1, 1 << 3, 1 << 2, 1 << 1, 1 << 8, 1 << 6, 1 << 7];

/// Bytes of `struct xt_conntrack_mtinfo3`, and where its flags are.
const CONNTRACK_BYTES: usize = 164;
const CONNTRACK_FLAGS: usize = 146;
/// `XT_CONNTRACK_STATE`, and that it was asked for as `-m state`.
const CONNTRACK_STATE: u16 = 1;
const CONNTRACK_ALIAS: u16 = 1 << 13;

const COMMENT_BYTES: usize = 256;
const MULTIPORT_PORTS: usize = 15;

fn u16_at(data: &[u8], at: usize) -> Result<u16> {
    let raw = data.get(at..at + 2).ok_or(Errno::EINVAL)?;
    Ok(u16::from_le_bytes([raw[0], raw[1]]))
}

fn u32_at(data: &[u8], at: usize) -> Result<u32> {
    let raw = data.get(at..at + 4).ok_or(Errno::EINVAL)?;
    Ok(u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]))
}

fn set_u16(data: &mut [u8], at: usize, value: u16) {
    data[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// The matches of a rule, those together that share a structure.
pub fn emit_matches(matches: &[Match], protocol: Option<u8>) -> Vec<Emitted> {
    let mut all = Vec::new();
    let mut rest = matches;
    while let Some(first) = rest.first() {
        let module = first.module(protocol);
        let shares = |at: usize| {
            let kind = std::mem::discriminant(&rest[at]);
            let before = &rest[..at];
            matches!(module, "tcp" | "udp" | "addrtype")
                && rest[at].module(protocol) == module
                && before.iter().all(|one| std::mem::discriminant(one) != kind)
        };
        let count = (1..rest.len())
            .find(|&at| !shares(at))
            .unwrap_or(rest.len());
        let (group, behind) = rest.split_at(count);
        all.push(emit_group(module, group));
        rest = behind;
    }
    all
}

fn emit_group(module: &'static str, group: &[Match]) -> Emitted {
    // `state` is spoken through conntrack's newest revision, which remembers what it was called.
    let (name, revision) = match module {
        "state" => ("conntrack", 3),
        "conntrack" => ("conntrack", 3),
        "addrtype" | "mark" | "multiport" => (module, 1),
        _ => (module, 0),
    };
    let mut data = match module {
        "tcp" | "udp" => {
            let mut data = vec![0; if module == "tcp" { 12 } else { 10 }];
            set_u16(&mut data, 2, u16::MAX);
            set_u16(&mut data, 6, u16::MAX);
            data
        }
        "addrtype" => vec![0; 8],
        _ => Vec::new(),
    };
    for one in group {
        emit_match(module, one, &mut data);
    }
    Emitted {
        name,
        revision,
        data,
    }
}

fn emit_match(module: &str, one: &Match, data: &mut Vec<u8>) {
    // Where tcp and udp keep what is inverted.
    let inverse = if module == "udp" { 8 } else { 11 };
    match one {
        Match::SourcePort(test) | Match::DestinationPort(test) => {
            let is_source = matches!(one, Match::SourcePort(_));
            let at = if is_source { 0 } else { 4 };
            set_u16(data, at, test.value.0);
            set_u16(data, at + 2, test.value.1);
            data[inverse] |= u8::from(test.not) << u8::from(!is_source);
        }
        Match::TcpFlags(test) => {
            (data[9], data[10]) = test.value;
            data[inverse] |= u8::from(test.not) << 2;
        }
        Match::SourceType(test) | Match::DestinationType(test) => {
            let is_source = matches!(one, Match::SourceType(_));
            let known = ADDRESS_TYPES.iter().find(|(kind, _)| *kind == test.value);
            let at = if is_source { 0 } else { 2 };
            set_u16(data, at, known.map_or(0, |(_, bit)| *bit));
            data[4] |= u8::from(test.not) << u8::from(!is_source);
        }
        Match::MultiPort(side, test) => emit_multiport(*side, test, data),
        Match::IcmpType(test) => {
            let (kind, first, last) = test.value;
            data.extend_from_slice(&[kind, first, last, u8::from(test.not)]);
        }
        Match::CtState(test) | Match::State(test) => {
            data.resize(CONNTRACK_BYTES, 0);
            let alias = match one {
                Match::State(_) => CONNTRACK_ALIAS,
                _ => 0,
            };
            let states = STATES.iter().enumerate();
            let set = states.filter(|(at, _)| test.value >> at & 1 != 0);
            let mask = set.fold(0, |mask, (_, bit)| mask | bit);
            set_u16(data, CONNTRACK_FLAGS, CONNTRACK_STATE | alias);
            set_u16(data, CONNTRACK_FLAGS + 2, u16::from(test.not));
            set_u16(data, CONNTRACK_FLAGS + 4, mask);
        }
        Match::Mark(test) => {
            data.extend_from_slice(&test.value.0.to_le_bytes());
            data.extend_from_slice(&test.value.1.to_le_bytes());
            data.extend_from_slice(&u32::from(test.not).to_le_bytes());
        }
        Match::Probability(part) => {
            data.resize(24, 0);
            data[4..8].copy_from_slice(&part.to_le_bytes());
        }
        Match::Limit(limit) => {
            data.extend_from_slice(&limit.period.to_le_bytes());
            data.extend_from_slice(&limit.burst.to_le_bytes());
            // What the kernel keeps there of its own.
            data.resize(40, 0);
        }
        Match::Comment(text) => {
            let len = text.len().min(COMMENT_BYTES - 1);
            data.extend_from_slice(&text.as_bytes()[..len]);
            data.resize(COMMENT_BYTES, 0);
        }
        Match::Module(_) => {}
    }
}

/// `struct xt_multiport_v1`: a range takes two places, the first of them marked.
fn emit_multiport(side: Side, test: &Test<Vec<(u16, u16)>>, data: &mut Vec<u8>) {
    data.resize(48, 0);
    data[0] = match side {
        Side::Source => 0,
        Side::Destination => 1,
        Side::Either => 2,
    };
    let mut count = 0;
    for &(first, last) in &test.value {
        let places = if first == last { 1 } else { 2 };
        if count + places > MULTIPORT_PORTS {
            break;
        }
        set_u16(data, 2 + 2 * count, first);
        if places == 2 {
            data[32 + count] = 1;
            set_u16(data, 4 + 2 * count, last);
        }
        count += places;
    }
    data[1] = count as u8;
    data[47] = u8::from(test.not);
}

/// What a structure of a match asks.
pub fn parse_match(
    name: &str,
    revision: u8,
    data: &[u8],
    v6: bool,
    protocol: Option<u8>,
) -> Result<Vec<Match>> {
    best_revision(name, revision, false, v6)?;
    Ok(match name {
        "tcp" | "udp" => parse_ports(name, data, protocol)?,
        "icmp" | "icmp6" => {
            let raw = data.first_chunk::<4>().ok_or(Errno::EINVAL)?;
            let not = raw[3] & 1 != 0;
            let value = (raw[0], raw[1], raw[2]);
            vec![Match::IcmpType(Test { not, value })]
        }
        "conntrack" => vec![parse_conntrack(data)?],
        "state" => {
            let mask = u32_at(data, 0)?;
            let not = false;
            let value = parse_states(mask as u16)?;
            vec![Match::State(Test { not, value })]
        }
        "addrtype" => parse_address_types(data)?,
        "mark" => {
            let not = *data.get(8).ok_or(Errno::EINVAL)? != 0;
            let value = (u32_at(data, 0)?, u32_at(data, 4)?);
            vec![Match::Mark(Test { not, value })]
        }
        "limit" => {
            let (period, burst) = (u32_at(data, 0)?, u32_at(data, 4)?);
            if burst == 0 || period.checked_mul(burst).is_none() {
                return Err(Errno::ERANGE);
            }
            vec![Match::Limit(Limit::new(period, burst))]
        }
        "multiport" => vec![parse_multiport(data)?],
        "statistic" => {
            // Every so many packets, and the inverse, are not here.
            if u16_at(data, 0)? != 0 || u16_at(data, 2)? != 0 {
                return Err(Errno::EINVAL);
            }
            vec![Match::Probability(u32_at(data, 4)?)]
        }
        "comment" => {
            let data = data.get(..COMMENT_BYTES).ok_or(Errno::EINVAL)?;
            let end = data.iter().position(|&byte| byte == 0);
            let text = &data[..end.ok_or(Errno::EINVAL)?];
            vec![Match::Comment(String::from_utf8_lossy(text).into_owned())]
        }
        _ => return Err(Errno::ENOENT),
    })
}

fn parse_ports(name: &str, data: &[u8], protocol: Option<u8>) -> Result<Vec<Match>> {
    let (own, inverse, module) = match name {
        "tcp" => (proto::TCP, 11, "tcp"),
        _ => (proto::UDP, 8, "udp"),
    };
    let inverse = *data.get(inverse).ok_or(Errno::EINVAL)?;
    if protocol != Some(own) || inverse & !7 != 0 {
        return Err(Errno::EINVAL);
    }
    let mut found = Vec::new();
    let ports = |at: usize, bit: u8| -> Result<Option<Test<(u16, u16)>>> {
        let value = (u16_at(data, at)?, u16_at(data, at + 2)?);
        let not = inverse >> bit & 1 != 0;
        Ok((not || value != (0, u16::MAX)).then_some(Test { not, value }))
    };
    found.extend(ports(0, 0)?.map(Match::SourcePort));
    found.extend(ports(4, 1)?.map(Match::DestinationPort));
    if name == "tcp" {
        // Options of TCP are not looked at.
        if data[8] != 0 {
            return Err(Errno::EINVAL);
        }
        let (value, not) = ((data[9], data[10]), inverse & 4 != 0);
        if not || value != (0, 0) {
            found.push(Match::TcpFlags(Test { not, value }));
        }
    }
    if found.is_empty() {
        found.push(Match::Module(module));
    }
    Ok(found)
}

fn parse_states(mask: u16) -> Result<u8> {
    let states = STATES.iter().enumerate();
    let set = states.filter(|(_, bit)| mask & *bit != 0);
    let (bits, known) = set.fold((0, 0), |(bits, known), (at, bit)| {
        (bits | 1 << at, known | bit)
    });
    if known == mask {
        Ok(bits)
    } else {
        Err(Errno::EINVAL)
    }
}

fn parse_conntrack(data: &[u8]) -> Result<Match> {
    let flags = u16_at(data, CONNTRACK_FLAGS)?;
    let inverse = u16_at(data, CONNTRACK_FLAGS + 2)?;
    // Only the state is asked for here.
    if flags & !CONNTRACK_ALIAS != CONNTRACK_STATE || inverse & !CONNTRACK_STATE != 0 {
        return Err(Errno::EINVAL);
    }
    let test = Test {
        not: inverse != 0,
        value: parse_states(u16_at(data, CONNTRACK_FLAGS + 4)?)?,
    };
    Ok(if flags & CONNTRACK_ALIAS != 0 {
        Match::State(test)
    } else {
        Match::CtState(test)
    })
}

fn parse_address_types(data: &[u8]) -> Result<Vec<Match>> {
    let flags = u32_at(data, 4)?;
    // Only the whole host is looked at, not one link of it.
    if flags & !3 != 0 {
        return Err(Errno::EINVAL);
    }
    let mut found = Vec::new();
    for (at, bit) in [(0, 0), (2, 1)] {
        let mask = u16_at(data, at)?;
        if mask == 0 {
            continue;
        }
        let known = ADDRESS_TYPES.iter().find(|(_, bit)| *bit == mask);
        let test = Test {
            not: flags >> bit & 1 != 0,
            value: known.ok_or(Errno::EINVAL)?.0,
        };
        found.push(if at == 0 {
            Match::SourceType(test)
        } else {
            Match::DestinationType(test)
        });
    }
    Ok(found)
}

fn parse_multiport(data: &[u8]) -> Result<Match> {
    let data = data.get(..48).ok_or(Errno::EINVAL)?;
    let side = match data[0] {
        0 => Side::Source,
        1 => Side::Destination,
        2 => Side::Either,
        _ => return Err(Errno::EINVAL),
    };
    let count = usize::from(data[1]);
    if count > MULTIPORT_PORTS {
        return Err(Errno::EINVAL);
    }
    let (mut value, mut at) = (Vec::new(), 0);
    while at < count {
        let first = u16_at(data, 2 + 2 * at)?;
        let is_range = data[32 + at] != 0;
        at += 1;
        let last = if is_range && at < count {
            at += 1;
            u16_at(data, 2 * at)?
        } else {
            first
        };
        value.push((first, last));
    }
    let not = data[47] != 0;
    Ok(Match::MultiPort(side, Test { not, value }))
}

/// Reasons of `REJECT`, by their number.
fn reasons(v6: bool) -> &'static [(u32, &'static str)] {
    if v6 {
        &[
            (0, "icmp6-no-route"),
            (1, "icmp6-adm-prohibited"),
            (4, "icmp6-port-unreachable"),
            (6, "tcp-reset"),
        ]
    } else {
        &[
            (0, "icmp-net-unreachable"),
            (1, "icmp-host-unreachable"),
            (2, "icmp-proto-unreachable"),
            (3, "icmp-port-unreachable"),
            (5, "icmp-net-prohibited"),
            (6, "icmp-host-prohibited"),
            (7, "tcp-reset"),
            (8, "icmp-admin-prohibited"),
        ]
    }
}

/// A target that is not the standard one.
pub fn emit_target(target: &Target, v6: bool) -> Emitted {
    let (name, revision, data) = match target {
        Target::Reject(with) => {
            let known = reasons(v6).iter().find(|(_, name)| name == with);
            let port = if v6 { 4u32 } else { 3 };
            let number = known.map_or(port, |(number, _)| *number);
            ("REJECT", 0, number.to_le_bytes().to_vec())
        }
        Target::Mark(value, mask) => {
            let data = [value.to_le_bytes(), mask.to_le_bytes()].concat();
            ("MARK", 2, data)
        }
        Target::Masquerade(range) => ("MASQUERADE", 0, emit_range(range, v6)),
        Target::Redirect(range) => ("REDIRECT", 0, emit_range(range, v6)),
        Target::Snat(range) => ("SNAT", u8::from(v6), emit_range(range, v6)),
        Target::Dnat(range) => {
            let mut data = emit_long_range(range);
            // The base of a shifted range of ports: none.
            data.resize(44, 0);
            ("DNAT", 2, data)
        }
        // The standard target is made elsewhere.
        Target::Accept | Target::Drop | Target::Return | Target::Jump(_) | Target::Goto(_) => {
            ("", 0, vec![0; 8])
        }
    };
    Emitted {
        name,
        revision,
        data,
    }
}

/// `NF_NAT_RANGE_…`: addresses are named, ports are.
const MAP_IPS: u32 = 1;
const MAP_PORTS: u32 = 2;

fn range_flags(range: &Range) -> u32 {
    let ips = if range.addresses.is_some() {
        MAP_IPS
    } else {
        0
    };
    let ports = if range.ports.is_some() { MAP_PORTS } else { 0 };
    ips | ports
}

fn emit_range(range: &Range, v6: bool) -> Vec<u8> {
    if v6 {
        return emit_long_range(range);
    }
    // `struct nf_nat_ipv4_multi_range_compat`: how many, and then the one there may be.
    let mut data = 1u32.to_le_bytes().to_vec();
    data.extend_from_slice(&range_flags(range).to_le_bytes());
    let (first, last) = range.addresses.unwrap_or((NOWHERE, NOWHERE));
    for ip in [first, last] {
        match ip {
            IpAddr::V4(ip) => data.extend_from_slice(&ip.octets()),
            IpAddr::V6(_) => data.extend_from_slice(&[0; 4]),
        }
    }
    emit_range_ports(range, &mut data);
    data
}

const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// `struct nf_nat_range`.
fn emit_long_range(range: &Range) -> Vec<u8> {
    let mut data = range_flags(range).to_le_bytes().to_vec();
    let (first, last) = range.addresses.unwrap_or((NOWHERE, NOWHERE));
    for ip in [first, last] {
        let start = data.len();
        match ip {
            IpAddr::V4(ip) => data.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => data.extend_from_slice(&ip.octets()),
        }
        data.resize(start + 16, 0);
    }
    emit_range_ports(range, &mut data);
    data
}

fn emit_range_ports(range: &Range, data: &mut Vec<u8>) {
    let (first, last) = range.ports.unwrap_or((0, 0));
    data.extend_from_slice(&first.to_be_bytes());
    data.extend_from_slice(&last.to_be_bytes());
}

/// What a structure of a target does.
pub fn parse_target(name: &str, revision: u8, data: &[u8], v6: bool) -> Result<Target> {
    best_revision(name, revision, true, v6)?;
    let is_long = v6 || revision > 0;
    let range = || parse_range(data, is_long, v6);
    Ok(match name {
        "REJECT" => {
            let number = u32_at(data, 0)?;
            let known = reasons(v6).iter().find(|(known, _)| *known == number);
            let (_, name) = known.ok_or(Errno::EINVAL)?;
            let own = REJECTIONS.iter().find(|known| *known == name);
            Target::Reject(own.ok_or(Errno::EINVAL)?)
        }
        "MARK" => Target::Mark(u32_at(data, 0)?, u32_at(data, 4)?),
        "MASQUERADE" => Target::Masquerade(range()?),
        "REDIRECT" => Target::Redirect(range()?),
        "SNAT" => Target::Snat(range()?),
        "DNAT" => Target::Dnat(range()?),
        _ => return Err(Errno::ENOENT),
    })
}

fn parse_range(data: &[u8], is_long: bool, v6: bool) -> Result<Range> {
    let data = match is_long {
        true => data,
        // There has been only one for long.
        false if u32_at(data, 0)? == 1 => &data[4..],
        false => return Err(Errno::EINVAL),
    };
    let flags = u32_at(data, 0)?;
    // Ports by chance and addresses that stick are not here.
    if flags & !(MAP_IPS | MAP_PORTS) != 0 {
        return Err(Errno::EINVAL);
    }
    let width = if is_long { 16 } else { 4 };
    let address = |at: usize| -> Result<IpAddr> {
        let raw = data.get(at..at + width).ok_or(Errno::EINVAL)?;
        match (raw.first_chunk::<16>(), raw.first_chunk::<4>()) {
            (Some(ip), _) if v6 => Ok(Ipv6Addr::from(*ip).into()),
            (_, Some(ip)) => Ok(Ipv4Addr::from(*ip).into()),
            _ => Err(Errno::EINVAL),
        }
    };
    let port = |at: usize| u16_at(data, at).map(u16::swap_bytes);
    let addresses = (address(4)?, address(4 + width)?);
    let ports = (port(4 + 2 * width)?, port(6 + 2 * width)?);
    Ok(Range {
        addresses: (flags & MAP_IPS != 0).then_some(addresses),
        ports: (flags & MAP_PORTS != 0).then_some(ports),
    })
}
