//! One entry: what it says of addresses, links and the protocol, then its matches, then its target
//! (`struct ipt_entry`, `struct ip6t_entry`).

use std::net::IpAddr;

use abi::{Errno, Result};

use super::Counters;
use super::extension::{self, Emitted};
use crate::netfilter::rule::{Rule, Target, Test};
use crate::types::Cidr;

/// Verdicts of the standard target: minus the verdict, minus one.
pub const DROP: i32 = -1;
pub const ACCEPT: i32 = -2;
pub const RETURN: i32 = -5;

/// Bytes of the head of a match or target: size, name, revision.
const HEAD: usize = 32;
/// Bytes of a link's name.
const LINK: usize = 16;

/// `IPT_INV_…`.
mod inverted {
    pub const IN: u8 = 1;
    pub const OUT: u8 = 2;
    pub const SRC: u8 = 8;
    pub const DST: u8 = 0x10;
    pub const PROTO: u8 = 0x40;
    pub const ALL: u8 = IN | OUT | SRC | DST | PROTO;
}

/// Where things are in an entry of a family.
#[derive(Clone, Copy)]
pub struct Shape {
    /// IPv6.
    pub v6: bool,
}

/// What is at the end of an entry.
pub enum Outcome {
    /// The standard target: a verdict, or the offset it goes on at.
    Verdict(i32),
    /// The error target, which names a chain.
    Name(String),
    /// Another target.
    Target(Target),
}

/// An entry that was read.
pub struct Entry {
    /// Where it is.
    pub offset: u32,
    /// Where the next one is.
    pub end: u32,
    /// What it matches; its target is in `outcome`.
    pub rule: Rule,
    /// Its target.
    pub outcome: Outcome,
    /// Its jump does not come back.
    pub is_goto: bool,
}

fn word(raw: &[u8], at: usize) -> Result<u16> {
    let raw = raw.get(at..at + 2).ok_or(Errno::EINVAL)?;
    Ok(u16::from_le_bytes([raw[0], raw[1]]))
}

/// Text up to the first zero, which has to be there.
fn text(raw: &[u8]) -> Result<String> {
    let end = raw
        .iter()
        .position(|&byte| byte == 0)
        .ok_or(Errno::EINVAL)?;
    let text = std::str::from_utf8(&raw[..end]).map_err(|_| Errno::EINVAL)?;
    Ok(text.to_string())
}

fn emit_head(out: &mut Vec<u8>, name: &str, revision: u8, data: usize) {
    let size = (HEAD + data).next_multiple_of(8);
    out.extend_from_slice(&(size as u16).to_le_bytes());
    let mut named = [0; 29];
    let len = name.len().min(28);
    named[..len].copy_from_slice(&name.as_bytes()[..len]);
    out.extend_from_slice(&named);
    out.push(revision);
}

fn emit_extension(out: &mut Vec<u8>, one: &Emitted) {
    emit_head(out, one.name, one.revision, one.data.len());
    out.extend_from_slice(&one.data);
    out.resize(out.len().next_multiple_of(8), 0);
}

impl Shape {
    fn address(self) -> usize {
        if self.v6 { 16 } else { 4 }
    }

    /// Where the protocol is, behind addresses, masks, links and their masks.
    fn proto_at(self) -> usize {
        4 * self.address() + 4 * LINK
    }

    /// Where the flags are, and behind them what is inverted.
    fn flags_at(self) -> usize {
        self.proto_at() + if self.v6 { 3 } else { 2 }
    }

    fn target_at(self) -> usize {
        if self.v6 { 140 } else { 88 }
    }

    fn counters_at(self) -> usize {
        if self.v6 { 152 } else { 96 }
    }

    fn bytes(self) -> usize {
        self.counters_at() + 16
    }

    fn goto_flag(self) -> u8 {
        if self.v6 { 4 } else { 2 }
    }

    /// Puts an entry behind `out`; gives where its verdict is, if its target is the standard one.
    pub fn emit(self, out: &mut Vec<u8>, rule: &Rule, counters: Counters) -> Option<usize> {
        let start = out.len();
        self.emit_own(out, rule, counters);
        let protocol = rule.proto.as_ref().map(|test| test.value);
        for one in extension::emit_matches(&rule.matches, protocol) {
            emit_extension(out, &one);
        }
        let target = out.len() - start;
        let verdict = match &rule.target {
            Some(Target::Drop) => Some(DROP),
            Some(Target::Accept) => Some(ACCEPT),
            Some(Target::Return) => Some(RETURN),
            None | Some(Target::Jump(_) | Target::Goto(_)) => Some(0),
            Some(target) => {
                emit_extension(out, &extension::emit_target(target, self.v6));
                None
            }
        };
        if let Some(verdict) = verdict {
            emit_head(out, "", 0, 8);
            out.extend_from_slice(&verdict.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
        }
        let place = verdict.map(|_| out.len() - 8);
        self.emit_sizes(out, start, target);
        place
    }

    /// Puts the entry that names a chain behind `out`.
    pub fn emit_name(self, out: &mut Vec<u8>, name: &str) {
        let start = out.len();
        self.emit_own(out, &Rule::default(), (0, 0));
        emit_head(out, "ERROR", 0, 30);
        let mut named = [0; 32];
        let len = name.len().min(29);
        named[..len].copy_from_slice(&name.as_bytes()[..len]);
        out.extend_from_slice(&named);
        self.emit_sizes(out, start, self.bytes());
    }

    fn emit_sizes(self, out: &mut [u8], start: usize, target: usize) {
        let whole = (out.len() - start) as u16;
        let at = start + self.target_at();
        out[at..at + 2].copy_from_slice(&(target as u16).to_le_bytes());
        out[at + 2..at + 4].copy_from_slice(&whole.to_le_bytes());
    }

    fn emit_own(self, out: &mut Vec<u8>, rule: &Rule, counters: Counters) {
        let (start, address) = (out.len(), self.address());
        out.resize(start + self.bytes(), 0);
        let raw = &mut out[start..];
        let mut inverse = 0;
        for (at, bit, test) in [
            (0, inverted::SRC, &rule.src),
            (address, inverted::DST, &rule.dst),
        ] {
            let Some(test) = test else { continue };
            inverse |= if test.not { bit } else { 0 };
            match test.value.ip {
                IpAddr::V4(ip) if !self.v6 => raw[at..at + 4].copy_from_slice(&ip.octets()),
                IpAddr::V6(ip) if self.v6 => raw[at..at + 16].copy_from_slice(&ip.octets()),
                _ => {}
            }
            let mask = at + 2 * address;
            for bit in 0..usize::from(test.value.prefix).min(8 * address) {
                raw[mask + bit / 8] |= 0x80 >> (bit % 8);
            }
        }
        for (at, bit, test) in [
            (4 * address, inverted::IN, &rule.in_link),
            (4 * address + LINK, inverted::OUT, &rule.out_link),
        ] {
            let Some(test) = test else { continue };
            inverse |= if test.not { bit } else { 0 };
            let name = test.value.as_bytes();
            let len = name.len().min(LINK - 1);
            raw[at..at + len].copy_from_slice(&name[..len]);
            // The closing zero belongs to a whole name, and not to the beginning of one.
            let known = if name.ends_with(b"+") {
                len - 1
            } else {
                len + 1
            };
            let mask = at + 2 * LINK;
            raw[mask..mask + known].fill(0xff);
        }
        let mut flags = 0;
        if let Some(test) = &rule.proto {
            inverse |= if test.not { inverted::PROTO } else { 0 };
            flags |= u8::from(self.v6);
            raw[self.proto_at()] = test.value;
        }
        if matches!(rule.target, Some(Target::Goto(_))) {
            flags |= self.goto_flag();
        }
        raw[self.flags_at()] = flags;
        raw[self.flags_at() + 1] = inverse;
        let at = self.counters_at();
        raw[at..at + 8].copy_from_slice(&counters.0.to_le_bytes());
        raw[at + 8..at + 16].copy_from_slice(&counters.1.to_le_bytes());
    }

    /// Reads the entry at `offset`.
    pub fn parse(self, piece: &[u8], offset: usize) -> Result<Entry> {
        let raw = piece.get(offset..).ok_or(Errno::EINVAL)?;
        let target = usize::from(word(raw, self.target_at())?);
        let size = usize::from(word(raw, self.target_at() + 2)?);
        if target < self.bytes() || size < target + HEAD || size % 8 != 0 {
            return Err(Errno::EINVAL);
        }
        let raw = raw.get(..size).ok_or(Errno::EINVAL)?;
        let (mut rule, is_goto) = self.parse_own(raw)?;
        let protocol = rule.proto.as_ref().map(|test| test.value);
        let mut at = self.bytes();
        while at < target {
            let (len, name, revision) = parse_head(&raw[at..target])?;
            let data = &raw[at + HEAD..at + len];
            let found = extension::parse_match(&name, revision, data, self.v6, protocol)?;
            rule.matches.extend(found);
            at += len;
        }
        let (len, name, revision) = parse_head(&raw[target..])?;
        let data = &raw[target + HEAD..target + len];
        let outcome = match name.as_str() {
            "" => {
                let verdict = data.first_chunk::<4>().ok_or(Errno::EINVAL)?;
                Outcome::Verdict(i32::from_le_bytes(*verdict))
            }
            "ERROR" => Outcome::Name(text(data)?),
            name => Outcome::Target(extension::parse_target(name, revision, data, self.v6)?),
        };
        Ok(Entry {
            offset: u32::try_from(offset).map_err(|_| Errno::EINVAL)?,
            end: u32::try_from(offset + size).map_err(|_| Errno::EINVAL)?,
            rule,
            outcome,
            is_goto,
        })
    }

    fn parse_own(self, raw: &[u8]) -> Result<(Rule, bool)> {
        let address = self.address();
        let (flags, inverse) = (raw[self.flags_at()], raw[self.flags_at() + 1]);
        // Fragments have been put together before anybody looks, and TOS of IPv6 nobody asks for.
        if flags & !(self.goto_flag() | u8::from(self.v6)) != 0 || inverse & !inverted::ALL != 0 {
            return Err(Errno::EINVAL);
        }
        let network = |at: usize, bit: u8| -> Result<Option<Test<Cidr>>> {
            let mask = &raw[at + 2 * address..at + 3 * address];
            let prefix: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
            let leading = mask.iter().position(|&byte| byte != 0xff);
            let leading = leading.map_or(8 * address as u32, |whole| {
                8 * whole as u32 + mask[whole].leading_ones()
            });
            let not = inverse & bit != 0;
            if prefix != leading {
                return Err(Errno::EINVAL);
            }
            if prefix == 0 && !not {
                return Ok(None);
            }
            let octets = &raw[at..at + address];
            let ip = match (octets.first_chunk::<4>(), octets.first_chunk::<16>()) {
                (_, Some(ip)) => IpAddr::from(*ip),
                (Some(ip), None) => IpAddr::from(*ip),
                _ => return Err(Errno::EINVAL),
            };
            let value = Cidr::new(ip, prefix as u8);
            Ok(Some(Test { not, value }))
        };
        let link = |at: usize, bit: u8| -> Result<Option<Test<String>>> {
            let mask = &raw[at + 2 * LINK..at + 3 * LINK];
            let known = mask.iter().take_while(|&&byte| byte != 0).count();
            let not = inverse & bit != 0;
            if known == 0 && !not {
                return Ok(None);
            }
            let name = text(&raw[at..at + LINK])?;
            let value = if known > name.len() {
                name
            } else {
                name.get(..known).ok_or(Errno::EINVAL)?.to_string() + "+"
            };
            Ok(Some(Test { not, value }))
        };
        let proto = match raw[self.proto_at()] {
            0 => None,
            value => Some(Test {
                not: inverse & inverted::PROTO != 0,
                value,
            }),
        };
        let rule = Rule {
            src: network(0, inverted::SRC)?,
            dst: network(address, inverted::DST)?,
            in_link: link(4 * address, inverted::IN)?,
            out_link: link(4 * address + LINK, inverted::OUT)?,
            proto,
            ..Rule::default()
        };
        Ok((rule, flags & self.goto_flag() != 0))
    }
}

/// Size, name and revision of a match or target, of which `raw` has all.
fn parse_head(raw: &[u8]) -> Result<(usize, String, u8)> {
    let len = usize::from(word(raw, 0)?);
    if len < HEAD || len > raw.len() {
        return Err(Errno::EINVAL);
    }
    Ok((len, text(&raw[2..HEAD - 1])?, raw[HEAD - 1]))
}
