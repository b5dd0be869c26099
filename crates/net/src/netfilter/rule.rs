//! A rule: what it matches and what it does, read and written as `iptables-save` has it.

use std::cell::Cell;
use std::fmt::Write as _;
use std::net::IpAddr;

use abi::{Errno, Result};

use super::conntrack::CtState;
use super::nat::Range;
use crate::packet::proto;
use crate::types::Cidr;

/// Something that may be negated with `!`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Test<T> {
    /// It must not be so.
    pub not: bool,
    /// What is asked.
    pub value: T,
}

impl<T> Test<T> {
    fn holds(&self, found: bool) -> bool {
        found != self.not
    }
}

/// Kinds of addresses (`-m addrtype`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressType {
    /// An address of this host.
    Local,
    /// An address of another.
    Unicast,
    /// A broadcast address.
    Broadcast,
    /// A group.
    Multicast,
}

impl AddressType {
    const ALL: [(AddressType, &'static str); 4] = [
        (AddressType::Local, "LOCAL"),
        (AddressType::Unicast, "UNICAST"),
        (AddressType::Broadcast, "BROADCAST"),
        (AddressType::Multicast, "MULTICAST"),
    ];
}

/// What `--ctstate` asks for, a bit each, in the order `iptables-save` writes them.
pub const CT_NAMES: [&str; 7] = [
    "INVALID",
    "NEW",
    "RELATED",
    "ESTABLISHED",
    "UNTRACKED",
    "SNAT",
    "DNAT",
];

/// A match (`-m`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Match {
    /// Source ports of TCP or UDP.
    SourcePort(Test<(u16, u16)>),
    /// Destination ports of TCP or UDP.
    DestinationPort(Test<(u16, u16)>),
    /// Any of several ports (`-m multiport`).
    MultiPort(Side, Test<Vec<(u16, u16)>>),
    /// Flags of TCP that are looked at, and those of them that are set.
    TcpFlags(Test<(u8, u8)>),
    /// Type of an ICMP message, and its code from and to; [`ANY_ICMP`] is any type.
    IcmpType(Test<(u8, u8, u8)>),
    /// Bits of [`CT_NAMES`].
    CtState(Test<u8>),
    /// The same under its older name (`-m state`).
    State(Test<u8>),
    /// The kind of the source address.
    SourceType(Test<AddressType>),
    /// The kind of the destination address.
    DestinationType(Test<AddressType>),
    /// The mark, under a mask.
    Mark(Test<(u32, u32)>),
    /// A part of the packets, of 2^31.
    Probability(u32),
    /// So many packets in a time (`-m limit`).
    Limit(Limit),
    /// Matches everything and says why.
    Comment(String),
    /// A module that was named and asked nothing (`-m tcp`).
    Module(&'static str),
}

/// A bucket of tokens: one comes every `period` until there are `burst`, and every packet takes one.
#[derive(Clone, Debug)]
pub struct Limit {
    /// Between two tokens, in ten-thousandths of a second.
    pub period: u32,
    /// Tokens there can be.
    pub burst: u32,
    /// When it was looked at last, and what was in it, in nanoseconds of filling.
    level: Cell<Option<(u64, u64)>>,
}

impl PartialEq for Limit {
    /// The same limit, however much of it is left.
    fn eq(&self, other: &Limit) -> bool {
        (self.period, self.burst) == (other.period, other.burst)
    }
}

impl Eq for Limit {}

/// Units of [`Limit::period`] in times that have a name, as `iptables` looks through them.
const TIMES: [(u32, &str); 4] = [
    (24 * 3600 * 10_000, "day"),
    (3600 * 10_000, "hour"),
    (60 * 10_000, "min"),
    (10_000, "sec"),
];

impl Limit {
    /// A full bucket.
    #[must_use]
    pub fn new(period: u32, burst: u32) -> Limit {
        Limit {
            period,
            burst,
            level: Cell::new(None),
        }
    }

    fn takes(&self, now_ns: u64) -> bool {
        const UNIT_NS: u64 = 100_000;
        let token = u64::from(self.period) * UNIT_NS;
        let most = token.saturating_mul(u64::from(self.burst));
        let level = match self.level.get() {
            None => most,
            Some((then, level)) => most.min(level.saturating_add(now_ns.saturating_sub(then))),
        };
        let left = level.checked_sub(token);
        self.level.set(Some((now_ns, left.unwrap_or(level))));
        left.is_some()
    }

    /// `5/min`.
    fn parse(text: &str) -> Result<Limit> {
        let (count, time) = text.split_once('/').unwrap_or((text, "second"));
        let count: u32 = count.parse().map_err(|_| Errno::EINVAL)?;
        let names = ["day", "hour", "minute", "second"];
        let known = names.iter().position(|name| name.starts_with(time));
        let (unit, _) = TIMES[known.filter(|_| !time.is_empty()).ok_or(Errno::EINVAL)?];
        let period = unit.checked_div(count).filter(|&period| period > 0);
        Ok(Limit::new(period.ok_or(Errno::EINVAL)?, LIMIT_BURST))
    }

    fn emit(&self, text: &mut String) -> std::fmt::Result {
        let period = self.period.max(1);
        // The shortest time of which the rate is told without being far off.
        let fits = |unit: u32| period <= unit && unit / period >= unit % period;
        let last = TIMES.iter().skip(1).take_while(|(unit, _)| fits(*unit));
        let (unit, name) = last.last().unwrap_or(&TIMES[0]);
        write!(text, " --limit {}/{name}", unit / period)?;
        if self.burst == LIMIT_BURST {
            return Ok(());
        }
        write!(text, " --limit-burst {}", self.burst)
    }
}

/// `--limit-burst` that nobody gave.
const LIMIT_BURST: u32 = 5;

/// The type of `--icmp-type any`.
pub const ANY_ICMP: u8 = 255;
/// Mask and comparison of `--syn`: FIN, SYN, RST and ACK, of which only SYN is set.
pub const SYN: (u8, u8) = (0x17, 2);

/// Whose ports a list is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The sender's.
    Source,
    /// The receiver's.
    Destination,
    /// Either's.
    Either,
}

impl Side {
    const ALL: [(Side, &'static str); 3] = [
        (Side::Source, "--sports"),
        (Side::Destination, "--dports"),
        (Side::Either, "--ports"),
    ];
}

/// What a rule does (`-j`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// Lets it through.
    Accept,
    /// Drops it silently.
    Drop,
    /// Drops it and says so: with a reset, or with an ICMP message of that name.
    Reject(&'static str),
    /// Back to the calling chain.
    Return,
    /// Another chain, and on from here after it.
    Jump(String),
    /// Another chain instead of this.
    Goto(String),
    /// Source translation to the address of the link it leaves by.
    Masquerade(Range),
    /// Source translation.
    Snat(Range),
    /// Destination translation.
    Dnat(Range),
    /// Destination translation to this host.
    Redirect(Range),
    /// Changes the mark: value and mask of the bits to be cleared first.
    Mark(u32, u32),
}

/// Names of `--reject-with`.
pub(super) const REJECTIONS: [&str; 11] = [
    "icmp-port-unreachable",
    "icmp-net-unreachable",
    "icmp-host-unreachable",
    "icmp-proto-unreachable",
    "icmp-net-prohibited",
    "icmp-host-prohibited",
    "icmp-admin-prohibited",
    "icmp6-port-unreachable",
    "icmp6-adm-prohibited",
    "icmp6-no-route",
    "tcp-reset",
];

/// Names of `--tcp-flags`, from bit 0 on.
const TCP_FLAGS: [&str; 6] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];

/// A rule.
#[derive(Clone, Default, Debug)]
pub struct Rule {
    /// `-s`.
    pub src: Option<Test<Cidr>>,
    /// `-d`.
    pub dst: Option<Test<Cidr>>,
    /// `-i`.
    pub in_link: Option<Test<String>>,
    /// `-o`.
    pub out_link: Option<Test<String>>,
    /// `-p`.
    pub proto: Option<Test<u8>>,
    /// `-m`.
    pub matches: Vec<Match>,
    /// `-j`; a rule without one only counts.
    pub target: Option<Target>,
    /// Packets and bytes that matched.
    pub counters: Cell<(u64, u64)>,
}

impl PartialEq for Rule {
    /// The same rule, whatever it has counted.
    fn eq(&self, other: &Rule) -> bool {
        self.src == other.src
            && self.dst == other.dst
            && self.in_link == other.in_link
            && self.out_link == other.out_link
            && self.proto == other.proto
            && self.matches == other.matches
            && self.target == other.target
    }
}

/// What a rule is shown of a packet.
pub struct Seen<'a> {
    /// Source.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// The link it came by, empty when it was made here.
    pub in_link: &'a str,
    /// The link it leaves by, empty when it stays here.
    pub out_link: &'a str,
    /// Protocol.
    pub proto: u8,
    /// Source and destination port.
    pub ports: Option<(u16, u16)>,
    /// Flags, if it is TCP.
    pub tcp_flags: u8,
    /// Type and code, if it is ICMP.
    pub icmp: Option<(u8, u8)>,
    /// Bits of [`CT_NAMES`].
    pub ct_bits: u8,
    /// The mark.
    pub mark: u32,
    /// Length.
    pub len: u64,
    /// Now, in nanoseconds.
    pub now_ns: u64,
    /// A random number.
    pub dice: u32,
    /// The kind of an address.
    pub address_type: &'a dyn Fn(IpAddr) -> AddressType,
}

/// The bits of [`CT_NAMES`] for a packet.
#[must_use]
pub fn ct_bits(state: CtState, snat: bool, dnat: bool) -> u8 {
    let state = match state {
        CtState::Invalid => 1,
        CtState::New => 2,
        CtState::Related => 4,
        CtState::Established => 8,
        CtState::Untracked => 16,
    };
    state | u8::from(snat) << 5 | u8::from(dnat) << 6
}

fn link_matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('+') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

impl Rule {
    /// The packet is one the rule is about.
    #[must_use]
    pub fn matches(&self, seen: &Seen<'_>) -> bool {
        let address = |test: &Option<Test<Cidr>>, ip| {
            test.as_ref()
                .is_none_or(|test| test.holds(test.value.contains(ip)))
        };
        let link = |test: &Option<Test<String>>, name: &str| {
            test.as_ref()
                .is_none_or(|test| test.holds(link_matches(&test.value, name)))
        };
        let proto = |test: &Test<u8>| test.holds(test.value == seen.proto);
        self.proto.as_ref().is_none_or(proto)
            && link(&self.in_link, seen.in_link)
            && link(&self.out_link, seen.out_link)
            && address(&self.src, seen.src)
            && address(&self.dst, seen.dst)
            && self.matches.iter().all(|one| one.holds(seen))
    }

    /// Counts a packet.
    pub fn count(&self, len: u64) {
        let (packets, bytes) = self.counters.get();
        self.counters.set((packets + 1, bytes + len));
    }

    /// The rule asks for something connection tracking has to tell.
    #[must_use]
    pub fn needs_tracking(&self) -> bool {
        self.matches
            .iter()
            .any(|one| matches!(one, Match::CtState(_) | Match::State(_)))
    }
}

impl Match {
    fn holds(&self, seen: &Seen<'_>) -> bool {
        let within = |range: &(u16, u16), port: u16| (range.0..=range.1).contains(&port);
        match self {
            Match::SourcePort(test) => seen
                .ports
                .is_some_and(|ports| test.holds(within(&test.value, ports.0))),
            Match::DestinationPort(test) => seen
                .ports
                .is_some_and(|ports| test.holds(within(&test.value, ports.1))),
            Match::MultiPort(side, test) => seen.ports.is_some_and(|ports| {
                test.holds(test.value.iter().any(|range| {
                    *side != Side::Destination && within(range, ports.0)
                        || *side != Side::Source && within(range, ports.1)
                }))
            }),
            Match::TcpFlags(test) => test.holds(seen.tcp_flags & test.value.0 == test.value.1),
            Match::IcmpType(test) => seen.icmp.is_some_and(|(kind, code)| {
                let (wanted, first, last) = test.value;
                let is_so = kind == wanted && (first..=last).contains(&code);
                test.holds(wanted == ANY_ICMP || is_so)
            }),
            Match::CtState(test) | Match::State(test) => test.holds(seen.ct_bits & test.value != 0),
            Match::SourceType(test) => test.holds((seen.address_type)(seen.src) == test.value),
            Match::DestinationType(test) => test.holds((seen.address_type)(seen.dst) == test.value),
            Match::Mark(test) => test.holds(seen.mark & test.value.1 == test.value.0),
            Match::Probability(part) => seen.dice >> 1 < *part,
            Match::Limit(limit) => limit.takes(seen.now_ns),
            Match::Comment(_) | Match::Module(_) => true,
        }
    }
}

// ---- text ----

/// Words of a command line; double quotes hold one together.
pub(super) fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => (quoted, any) = (!quoted, true),
            '\\' if quoted => word.extend(chars.next()),
            char if char.is_whitespace() && !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            char => word.push(char),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

fn parse_proto(word: &str) -> Result<u8> {
    Ok(match word {
        "tcp" => proto::TCP,
        "udp" => proto::UDP,
        "icmp" => proto::ICMP,
        "ipv6-icmp" | "icmpv6" => proto::ICMPV6,
        "all" => 0,
        number => number.parse().map_err(|_| Errno::EINVAL)?,
    })
}

fn proto_name(number: u8) -> String {
    match number {
        proto::TCP => "tcp".to_string(),
        proto::UDP => "udp".to_string(),
        proto::ICMP => "icmp".to_string(),
        proto::ICMPV6 => "ipv6-icmp".to_string(),
        other => other.to_string(),
    }
}

fn parse_ports(word: &str, separator: char) -> Result<(u16, u16)> {
    let number = |text: &str, default| {
        if text.is_empty() {
            Ok(default)
        } else {
            text.parse().map_err(|_| Errno::EINVAL)
        }
    };
    match word.split_once(separator) {
        Some((first, last)) => Ok((number(first, 0)?, number(last, u16::MAX)?)),
        None => {
            let port = word.parse().map_err(|_| Errno::EINVAL)?;
            Ok((port, port))
        }
    }
}

fn ports_text(range: (u16, u16), separator: char) -> String {
    if range.0 == range.1 {
        range.0.to_string()
    } else {
        format!("{}{separator}{}", range.0, range.1)
    }
}

fn parse_number(word: &str) -> Result<u32> {
    let parsed = match word.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => word.parse(),
    };
    parsed.map_err(|_| Errno::EINVAL)
}

fn parse_masked(word: &str) -> Result<(u32, u32)> {
    match word.split_once('/') {
        Some((value, mask)) => Ok((parse_number(value)?, parse_number(mask)?)),
        None => Ok((parse_number(word)?, u32::MAX)),
    }
}

/// `172.17.0.2:80`, `[fd00::2]:80`, `10.0.0.1-10.0.0.9:1000-2000`, `:80`.
fn parse_range(word: &str) -> Result<Range> {
    let (addresses, ports) = if let Some(rest) = word.strip_prefix('[') {
        let (ip, rest) = rest.split_once(']').ok_or(Errno::EINVAL)?;
        (ip, rest.strip_prefix(':'))
    } else if word.matches(':').count() > 1 {
        (word, None)
    } else {
        match word.split_once(':') {
            Some((ip, ports)) => (ip, Some(ports)),
            None => (word, None),
        }
    };
    let ip = |text: &str| text.parse::<IpAddr>().map_err(|_| Errno::EINVAL);
    let addresses = match addresses.split_once('-') {
        _ if addresses.is_empty() => None,
        Some((first, last)) => Some((ip(first)?, ip(last)?)),
        None => Some((ip(addresses)?, ip(addresses)?)),
    };
    let ports = ports.map(|ports| parse_ports(ports, '-')).transpose()?;
    Ok(Range { addresses, ports })
}

fn range_text(range: &Range) -> String {
    let mut text = String::new();
    if let Some((first, last)) = range.addresses {
        let bracketed = first.is_ipv6() && range.ports.is_some();
        let all = if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        };
        text += &if bracketed { format!("[{all}]") } else { all };
    }
    if let Some(ports) = range.ports {
        let _ = write!(text, ":{}", ports_text(ports, '-'));
    }
    text
}

impl Rule {
    /// Reads what follows the chain's name in `-A CHAIN …`. What is not known is `EINVAL`: a rule that
    /// does less than it says would be worse than none.
    pub fn parse(text: &str) -> Result<Rule> {
        Rule::parse_words(&words(text))
    }

    pub(super) fn parse_words(words: &[String]) -> Result<Rule> {
        let mut rule = Rule::default();
        let mut rest = words.iter().map(String::as_str).peekable();
        let mut not = false;
        while let Some(word) = rest.next() {
            if word == "!" {
                not = true;
                continue;
            }
            let not = std::mem::take(&mut not);
            if matches!(word, "--syn") {
                rule.matches.push(Match::TcpFlags(Test { not, value: SYN }));
                continue;
            }
            let value = rest.next().ok_or(Errno::EINVAL)?;
            if matches!(word, "-j" | "--jump" | "-g" | "--goto") {
                rule.target = Some(parse_target(word, value, &mut rest)?);
                continue;
            }
            rule.parse_option(word, value, not, &mut rest)?;
        }
        Ok(rule)
    }

    fn parse_option<'a>(
        &mut self,
        word: &str,
        value: &'a str,
        not: bool,
        rest: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
    ) -> Result<()> {
        let network = || -> Result<Option<Test<Cidr>>> {
            let value = value.parse::<Cidr>()?.network();
            Ok(Some(Test { not, value }))
        };
        let name = || {
            Some(Test {
                not,
                value: value.to_string(),
            })
        };
        match word {
            "-s" | "--source" => self.src = network()?,
            "-d" | "--destination" => self.dst = network()?,
            "-i" | "--in-interface" => self.in_link = name(),
            "-o" | "--out-interface" => self.out_link = name(),
            "-p" | "--protocol" => match parse_proto(value)? {
                0 => {}
                value => self.proto = Some(Test { not, value }),
            },
            // What the modules add says itself what it is.
            "-m" | "--match" => match value {
                "tcp" | "udp" | "icmp" | "icmp6" | "conntrack" | "state" | "addrtype" | "mark"
                | "comment" | "statistic" | "multiport" | "limit" => {}
                _ => return Err(Errno::ENOENT),
            },
            "--tcp-flags" => {
                let set = parse_flags(rest.next().ok_or(Errno::EINVAL)?)?;
                let value = (parse_flags(value)?, set);
                self.matches.push(Match::TcpFlags(Test { not, value }));
            }
            "--limit-burst" => match self.matches.last_mut() {
                Some(Match::Limit(limit)) => {
                    limit.burst = value.parse().map_err(|_| Errno::EINVAL)?;
                }
                _ => return Err(Errno::EINVAL),
            },
            _ => self.matches.push(parse_match(word, value, not, rest)?),
        }
        Ok(())
    }
}

/// Names with commas between them, a bit each.
fn parse_bits(text: &str, names: &[&str]) -> Result<u8> {
    let bit = |name: &str| {
        let at = names.iter().position(|known| *known == name);
        at.map(|at| 1 << at).ok_or(Errno::EINVAL)
    };
    text.split(',')
        .map(bit)
        .try_fold(0, |all, bit| Ok(all | bit?))
}

fn bits_text(bits: u8, names: &[&str]) -> String {
    let named = names.iter().enumerate();
    let set = named.filter(|(at, _)| bits >> at & 1 != 0);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}

fn parse_flags(text: &str) -> Result<u8> {
    match text {
        "ALL" => Ok(0x3f),
        "NONE" => Ok(0),
        text => parse_bits(text, &TCP_FLAGS),
    }
}

fn flags_text(bits: u8) -> String {
    match bits {
        0 => "NONE".to_string(),
        bits => bits_text(bits, &TCP_FLAGS),
    }
}

/// `8`, `3/1`, `any`, or one of the two names everybody uses.
fn parse_icmp(text: &str) -> Result<(u8, u8, u8)> {
    let number = |text: &str| text.parse::<u8>().map_err(|_| Errno::EINVAL);
    Ok(match text {
        "any" => (ANY_ICMP, 0, 255),
        "echo-request" => (8, 0, 255),
        "echo-reply" => (0, 0, 255),
        text => match text.split_once('/') {
            Some((kind, code)) => (number(kind)?, number(code)?, number(code)?),
            None => (number(text)?, 0, 255),
        },
    })
}

fn parse_match<'a>(
    word: &str,
    value: &'a str,
    not: bool,
    rest: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
) -> Result<Match> {
    let address_type = || -> Result<Test<AddressType>> {
        let known = AddressType::ALL.iter().find(|(_, name)| *name == value);
        Ok(Test {
            not,
            value: known.ok_or(Errno::EINVAL)?.0,
        })
    };
    Ok(match word {
        "--sport" | "--source-port" => Match::SourcePort(Test {
            not,
            value: parse_ports(value, ':')?,
        }),
        "--dport" | "--destination-port" => Match::DestinationPort(Test {
            not,
            value: parse_ports(value, ':')?,
        }),
        "--sports" | "--dports" | "--ports" => {
            let ranges = value.split(',').map(|ports| parse_ports(ports, ':'));
            let value = ranges.collect::<Result<_>>()?;
            let side = Side::ALL.iter().find(|(_, option)| *option == word);
            Match::MultiPort(side.ok_or(Errno::EINVAL)?.0, Test { not, value })
        }
        "--icmp-type" | "--icmpv6-type" => Match::IcmpType(Test {
            not,
            value: parse_icmp(value)?,
        }),
        "--ctstate" => Match::CtState(Test {
            not,
            value: parse_bits(value, &CT_NAMES)?,
        }),
        "--state" => Match::State(Test {
            not,
            value: parse_bits(value, &CT_NAMES[..5])?,
        }),
        "--src-type" => Match::SourceType(address_type()?),
        "--dst-type" => Match::DestinationType(address_type()?),
        "--mark" => Match::Mark(Test {
            not,
            value: parse_masked(value)?,
        }),
        "--comment" => Match::Comment(value.to_string()),
        "--limit" if !not => Match::Limit(Limit::parse(value)?),
        "--mode" if value == "random" => {
            if rest.next() != Some("--probability") {
                return Err(Errno::EINVAL);
            }
            let part: f64 = rest
                .next()
                .and_then(|text| text.parse().ok())
                .filter(|part| (0.0..=1.0).contains(part))
                .ok_or(Errno::EINVAL)?;
            Match::Probability((part * f64::from(1u32 << 31)).round() as u32)
        }
        _ => return Err(Errno::EINVAL),
    })
}

fn parse_target<'a>(
    word: &str,
    name: &str,
    rest: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
) -> Result<Target> {
    if word.ends_with('g') || word == "--goto" {
        return Ok(Target::Goto(name.to_string()));
    }
    let mut option = |known: &str| -> Result<Option<&'a str>> {
        match rest.peek() {
            Some(word) if *word == known => {
                rest.next();
                rest.next().map(Some).ok_or(Errno::EINVAL)
            }
            _ => Ok(None),
        }
    };
    Ok(match name {
        "ACCEPT" => Target::Accept,
        "DROP" => Target::Drop,
        "RETURN" => Target::Return,
        "REJECT" => {
            let with = option("--reject-with")?.unwrap_or("icmp-port-unreachable");
            let known = REJECTIONS.iter().find(|known| **known == with);
            Target::Reject(known.ok_or(Errno::EINVAL)?)
        }
        "MASQUERADE" | "REDIRECT" => {
            let ports = option("--to-ports")?
                .map(|ports| parse_ports(ports, '-'))
                .transpose()?;
            let range = Range {
                addresses: None,
                ports,
            };
            if name == "REDIRECT" {
                Target::Redirect(range)
            } else {
                Target::Masquerade(range)
            }
        }
        "SNAT" => Target::Snat(parse_range(option("--to-source")?.ok_or(Errno::EINVAL)?)?),
        "DNAT" => Target::Dnat(parse_range(
            option("--to-destination")?.ok_or(Errno::EINVAL)?,
        )?),
        "MARK" => {
            if let Some(value) = option("--set-xmark")? {
                let (value, mask) = parse_masked(value)?;
                Target::Mark(value, mask)
            } else if let Some(value) = option("--or-mark")? {
                let bits = parse_number(value)?;
                Target::Mark(bits, bits)
            } else {
                let value = option("--set-mark")?.ok_or(Errno::EINVAL)?;
                Target::Mark(parse_number(value)?, u32::MAX)
            }
        }
        "LOG" | "TPROXY" | "NOTRACK" | "CT" | "QUEUE" | "NFQUEUE" => return Err(Errno::ENOENT),
        chain => Target::Jump(chain.to_string()),
    })
}

fn bang(not: bool) -> &'static str {
    if not { "! " } else { "" }
}

impl Rule {
    /// The rule as `iptables-save` writes it, after `-A CHAIN`.
    #[must_use]
    pub fn emit(&self) -> String {
        let mut text = String::new();
        for (option, test) in [("-s", &self.src), ("-d", &self.dst)] {
            if let Some(test) = test {
                let _ = write!(text, " {}{option} {}", bang(test.not), test.value);
            }
        }
        for (option, test) in [("-i", &self.in_link), ("-o", &self.out_link)] {
            if let Some(test) = test {
                let _ = write!(text, " {}{option} {}", bang(test.not), test.value);
            }
        }
        if let Some(test) = &self.proto {
            let _ = write!(text, " {}-p {}", bang(test.not), proto_name(test.value));
        }
        let mut module = "";
        let mut asked = Vec::new();
        for one in &self.matches {
            let own = one.module(self.proto.as_ref().map(|test| test.value));
            let kind = std::mem::discriminant(one);
            // A module asks for a thing once; for another it is named again.
            if own != module || asked.contains(&kind) {
                let _ = write!(text, " -m {own}");
                module = own;
                asked.clear();
            }
            asked.push(kind);
            one.emit(&mut text, own == "icmp6");
        }
        if let Some(target) = &self.target {
            target.emit(&mut text);
        }
        text.trim_start().to_string()
    }
}

impl Match {
    pub(super) fn module(&self, protocol: Option<u8>) -> &'static str {
        match self {
            Match::SourcePort(_) | Match::DestinationPort(_) | Match::TcpFlags(_) => {
                if protocol == Some(proto::UDP) {
                    "udp"
                } else {
                    "tcp"
                }
            }
            Match::MultiPort(..) => "multiport",
            Match::IcmpType(_) if protocol == Some(proto::ICMPV6) => "icmp6",
            Match::IcmpType(_) => "icmp",
            Match::CtState(_) => "conntrack",
            Match::State(_) => "state",
            Match::Module(name) => name,
            Match::SourceType(_) | Match::DestinationType(_) => "addrtype",
            Match::Mark(_) => "mark",
            Match::Probability(_) => "statistic",
            Match::Limit(_) => "limit",
            Match::Comment(_) => "comment",
        }
    }

    fn emit(&self, text: &mut String, is_v6: bool) {
        let type_name = |kind: AddressType| {
            AddressType::ALL
                .iter()
                .find(|(known, _)| *known == kind)
                .map_or("", |(_, name)| name)
        };
        let _ = match self {
            Match::SourcePort(test) => write!(
                text,
                " {}--sport {}",
                bang(test.not),
                ports_text(test.value, ':')
            ),
            Match::DestinationPort(test) => write!(
                text,
                " {}--dport {}",
                bang(test.not),
                ports_text(test.value, ':')
            ),
            Match::MultiPort(side, test) => {
                let option = Side::ALL.iter().find(|(known, _)| known == side);
                let ports: Vec<String> = test
                    .value
                    .iter()
                    .map(|range| ports_text(*range, ':'))
                    .collect();
                let option = option.map_or("", |(_, option)| option);
                write!(text, " {}{option} {}", bang(test.not), ports.join(","))
            }
            Match::TcpFlags(test) => {
                let (mask, set) = test.value;
                let (mask, set) = (flags_text(mask), flags_text(set));
                write!(text, " {}--tcp-flags {mask} {set}", bang(test.not))
            }
            Match::IcmpType(test) => {
                let option = if is_v6 { "icmpv6" } else { "icmp" };
                let _ = write!(text, " {}--{option}-type ", bang(test.not));
                match test.value {
                    (ANY_ICMP, ..) => write!(text, "any"),
                    (kind, 0, 255) => write!(text, "{kind}"),
                    (kind, code, _) => write!(text, "{kind}/{code}"),
                }
            }
            Match::CtState(test) => {
                let names = bits_text(test.value, &CT_NAMES);
                write!(text, " {}--ctstate {names}", bang(test.not))
            }
            Match::State(test) => {
                let names = bits_text(test.value, &CT_NAMES);
                write!(text, " {}--state {names}", bang(test.not))
            }
            Match::Module(_) => Ok(()),
            Match::SourceType(test) => write!(
                text,
                " {}--src-type {}",
                bang(test.not),
                type_name(test.value)
            ),
            Match::DestinationType(test) => write!(
                text,
                " {}--dst-type {}",
                bang(test.not),
                type_name(test.value)
            ),
            Match::Mark(test) => {
                let (value, mask) = test.value;
                let _ = write!(text, " {}--mark {value:#x}", bang(test.not));
                if mask == u32::MAX {
                    Ok(())
                } else {
                    write!(text, "/{mask:#x}")
                }
            }
            Match::Probability(part) => write!(
                text,
                " --mode random --probability {:.11}",
                f64::from(*part) / f64::from(1u32 << 31)
            ),
            Match::Limit(limit) => limit.emit(text),
            Match::Comment(comment) if comment.contains([' ', '"']) => {
                write!(text, " --comment \"{}\"", comment.replace('"', "\\\""))
            }
            Match::Comment(comment) => write!(text, " --comment {comment}"),
        };
    }
}

impl Target {
    fn emit(&self, text: &mut String) {
        let to_ports = |range: &Range| {
            range
                .ports
                .map(|ports| format!(" --to-ports {}", ports_text(ports, '-')))
                .unwrap_or_default()
        };
        let _ = match self {
            Target::Accept => write!(text, " -j ACCEPT"),
            Target::Drop => write!(text, " -j DROP"),
            Target::Return => write!(text, " -j RETURN"),
            Target::Reject(with) => write!(text, " -j REJECT --reject-with {with}"),
            Target::Jump(chain) => write!(text, " -j {chain}"),
            Target::Goto(chain) => write!(text, " -g {chain}"),
            Target::Masquerade(range) => write!(text, " -j MASQUERADE{}", to_ports(range)),
            Target::Redirect(range) => write!(text, " -j REDIRECT{}", to_ports(range)),
            Target::Snat(range) => write!(text, " -j SNAT --to-source {}", range_text(range)),
            Target::Dnat(range) => {
                write!(text, " -j DNAT --to-destination {}", range_text(range))
            }
            Target::Mark(value, mask) => write!(text, " -j MARK --set-xmark {value:#x}/{mask:#x}"),
        };
    }
}
