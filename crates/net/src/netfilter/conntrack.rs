//! Connection tracking: what belongs together, in both directions, and until when
//! (`nf_conntrack`, and `conntrack -L`'s view of it).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use clock::{Instant, NANOS_PER_SEC};

use crate::packet::{Ip, proto};

/// Connections at most (`nf_conntrack_max`). When all are in use, new ones are dropped, as on Linux.
const CONNECTIONS_MAX: usize = 16_384;

/// What a packet shows of the connection it belongs to. Of an echo `src_port` is the identifier and
/// `dst_port` the message's type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Tuple {
    /// Protocol.
    pub proto: u8,
    /// Source.
    pub src: IpAddr,
    /// Source port.
    pub src_port: u16,
    /// Destination.
    pub dst: IpAddr,
    /// Destination port.
    pub dst_port: u16,
}

impl Tuple {
    /// The tuple of a packet; `None` for what cannot be tracked.
    #[must_use]
    pub fn of(packet: &[u8], ip: &Ip) -> Option<Tuple> {
        let (src_port, dst_port) = match ip.icmp(packet) {
            Some((kind, _)) => {
                inverse_icmp(kind, ip.is_v6())?;
                let raw = ip.payload(packet);
                (u16::from_be_bytes([raw[4], raw[5]]), u16::from(kind))
            }
            None if matches!(ip.proto, proto::ICMP | proto::ICMPV6) => return None,
            None => ip.ports(packet).unwrap_or((0, 0)),
        };
        Some(Tuple {
            proto: ip.proto,
            src: ip.src,
            src_port,
            dst: ip.dst,
            dst_port,
        })
    }

    /// The tuple of the answer.
    #[must_use]
    pub fn inverse(&self) -> Tuple {
        let is_icmp = matches!(self.proto, proto::ICMP | proto::ICMPV6);
        let (src_port, dst_port) = if is_icmp {
            let kind = inverse_icmp(self.dst_port as u8, self.src.is_ipv6());
            (self.src_port, u16::from(kind.unwrap_or(0)))
        } else {
            (self.dst_port, self.src_port)
        };
        Tuple {
            proto: self.proto,
            src: self.dst,
            src_port,
            dst: self.src,
            dst_port,
        }
    }
}

/// The ICMP message that answers one, of those that are asked and answered.
fn inverse_icmp(kind: u8, v6: bool) -> Option<u8> {
    Some(match (kind, v6) {
        (8, false) => 0,
        (0, false) => 8,
        (13, false) => 14,
        (14, false) => 13,
        (128, true) => 129,
        (129, true) => 128,
        _ => return None,
    })
}

/// How a packet stands to its connection (`--ctstate`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CtState {
    /// Belongs to none and cannot begin one.
    Invalid,
    /// Begins one, or comes before any answer.
    New,
    /// Of a connection that has been answered.
    Established,
    /// An error about one.
    Related,
    /// Not looked at.
    Untracked,
}

/// A packet's place in a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Track {
    /// The connection; 0 is none.
    pub id: u64,
    /// It goes the way of the answers.
    pub is_reply: bool,
    /// How it stands to the connection.
    pub state: CtState,
}

impl Track {
    const INVALID: Track = Track {
        id: 0,
        is_reply: false,
        state: CtState::Invalid,
    };
    const UNTRACKED: Track = Track {
        id: 0,
        is_reply: false,
        state: CtState::Untracked,
    };
}

/// States of a TCP connection as seen from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "named as nf_conntrack does")]
pub enum TcpState {
    None,
    SynSent,
    SynRecv,
    Established,
    FinWait,
    CloseWait,
    LastAck,
    TimeWait,
    Close,
}

impl TcpState {
    fn name(self) -> &'static str {
        match self {
            TcpState::None => "NONE",
            TcpState::SynSent => "SYN_SENT",
            TcpState::SynRecv => "SYN_RECV",
            TcpState::Established => "ESTABLISHED",
            TcpState::FinWait => "FIN_WAIT",
            TcpState::CloseWait => "CLOSE_WAIT",
            TcpState::LastAck => "LAST_ACK",
            TcpState::TimeWait => "TIME_WAIT",
            TcpState::Close => "CLOSE",
        }
    }

    /// How long a connection is remembered in this state, in seconds.
    fn timeout(self) -> u64 {
        match self {
            TcpState::None | TcpState::Close => 10,
            TcpState::SynSent | TcpState::FinWait | TcpState::TimeWait => 120,
            TcpState::SynRecv | TcpState::CloseWait => 60,
            TcpState::Established => 432_000,
            TcpState::LastAck => 30,
        }
    }

    /// The state after a segment with these flags.
    fn after(self, tcp_flags: u8, is_reply: bool) -> TcpState {
        const FIN: u8 = 1;
        const SYN: u8 = 2;
        const RST: u8 = 4;
        const ACK: u8 = 16;
        if tcp_flags & RST != 0 {
            return TcpState::Close;
        }
        match (tcp_flags & (SYN | ACK), self) {
            (SYN, TcpState::None) => TcpState::SynSent,
            (both, TcpState::SynSent) if both == SYN | ACK && is_reply => TcpState::SynRecv,
            (ACK, TcpState::SynRecv) if tcp_flags & FIN != 0 => TcpState::FinWait,
            (ACK, TcpState::SynRecv) if !is_reply => TcpState::Established,
            // The beginning was not seen: taken as it is.
            (_, TcpState::None) => TcpState::Established,
            (_, TcpState::Established) if tcp_flags & FIN != 0 => TcpState::FinWait,
            (_, TcpState::FinWait | TcpState::CloseWait) if tcp_flags & FIN != 0 => {
                TcpState::LastAck
            }
            (ACK, TcpState::FinWait) => TcpState::CloseWait,
            (ACK, TcpState::LastAck) => TcpState::TimeWait,
            (_, same) => same,
        }
    }
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// As its first packet came.
    pub original: Tuple,
    /// As answers come: the inverse, changed by address translation.
    pub reply: Tuple,
    /// State, if it is TCP.
    pub tcp: TcpState,
    /// An answer was seen.
    pub is_replied: bool,
    /// Not dropped early: both sides have talked.
    pub is_assured: bool,
    /// A packet of it has left or arrived; before that its tuples bind nobody.
    pub is_confirmed: bool,
    /// Source translation has been decided; destination translation has.
    pub is_set_up: [bool; 2],
    /// When it is forgotten.
    pub expires: Instant,
    /// Packets and bytes of the original direction and of answers.
    pub counters: [(u64, u64); 2],
    /// Its mark.
    pub mark: u32,
}

impl Connection {
    /// The destination is translated.
    #[must_use]
    pub fn has_dnat(&self) -> bool {
        let target = self.reply.inverse();
        target.dst != self.original.dst || target.dst_port != self.original.dst_port
    }

    /// The source is translated.
    #[must_use]
    pub fn has_snat(&self) -> bool {
        let target = self.reply.inverse();
        target.src != self.original.src || target.src_port != self.original.src_port
    }

    fn timeout(&self) -> u64 {
        match (self.original.proto, self.is_assured) {
            (proto::TCP, _) if self.tcp == TcpState::Established && !self.is_assured => 300,
            (proto::TCP, _) => self.tcp.timeout(),
            (proto::UDP, true) => 120,
            (proto::UDP | proto::ICMP | proto::ICMPV6, _) => 30,
            _ => 600,
        }
    }
}

/// The connections of a namespace.
#[derive(Default, Debug)]
pub struct Conntrack {
    connections: BTreeMap<u64, Connection>,
    by_tuple: BTreeMap<Tuple, (u64, bool)>,
    next_id: u64,
    /// New connections that were dropped because the table is full.
    pub full_drops: u64,
}

impl Conntrack {
    /// All connections.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.connections.values().filter(|one| one.is_confirmed)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// A connection.
    #[must_use]
    pub fn get(&self, track: Track) -> Option<&Connection> {
        self.connections.get(&track.id)
    }

    /// A connection, to be changed.
    pub fn get_mut(&mut self, track: Track) -> Option<&mut Connection> {
        self.connections.get_mut(&track.id)
    }

    /// As the first packet came of the connection whose answers go this way.
    #[must_use]
    pub fn original_of(&self, answer: &Tuple) -> Option<Tuple> {
        let (id, is_answer) = self.by_tuple.get(answer)?;
        let one = self.connections.get(id).filter(|_| *is_answer)?;
        Some(one.original)
    }

    /// Some connection has this tuple.
    #[must_use]
    pub fn is_taken(&self, tuple: &Tuple, but: u64) -> bool {
        self.by_tuple.get(tuple).is_some_and(|&(id, _)| id != but)
    }

    /// Finds the connection of a packet or begins one. `None`: the packet has to be dropped, there is no room.
    pub fn track(&mut self, packet: &[u8], ip: &Ip, now: Instant) -> Option<Track> {
        if ip.is_icmp_error(packet) {
            return Some(self.related(packet, ip).unwrap_or(Track::INVALID));
        }
        if let (Some((133..=137, _)), true) = (ip.icmp(packet), ip.is_v6()) {
            return Some(Track::UNTRACKED);
        }
        if is_everybody(ip.dst) && ip.is_v6() {
            return Some(Track::UNTRACKED);
        }
        let Some(tuple) = Tuple::of(packet, ip) else {
            return Some(Track::INVALID);
        };
        let tcp_flags = if ip.proto == proto::TCP {
            ip.payload(packet).get(13).copied().unwrap_or(0)
        } else {
            0
        };
        let mut found = self.by_tuple.get(&tuple).copied();
        if let Some((id, is_reply)) = found
            && self.is_over(id, is_reply, tcp_flags, now)
        {
            self.remove(id);
            found = None;
        }
        let len = ip.end as u64;
        match found {
            Some((id, is_reply)) => {
                let known = self.connections.get_mut(&id)?;
                Some(known.see(id, is_reply, tcp_flags, len, now))
            }
            None => self.begin(tuple, tcp_flags, len, now),
        }
    }

    /// A connection that has ended, and a packet that begins one in its place; or one whose time is over.
    fn is_over(&self, id: u64, is_reply: bool, tcp_flags: u8, now: Instant) -> bool {
        let Some(known) = self.connections.get(&id) else {
            return true;
        };
        let ended = matches!(known.tcp, TcpState::TimeWait | TcpState::Close);
        known.expires <= now || (ended && tcp_flags & 0x17 == 2 && !is_reply)
    }

    fn begin(&mut self, tuple: Tuple, tcp_flags: u8, len: u64, now: Instant) -> Option<Track> {
        // A reset, or the second half of a handshake, begins nothing.
        if tcp_flags & 4 != 0 || tcp_flags & 0x12 == 0x12 {
            return Some(Track::INVALID);
        }
        if tuple.proto == proto::ICMP && !matches!(tuple.dst_port, 8 | 13)
            || tuple.proto == proto::ICMPV6 && tuple.dst_port != 128
        {
            return Some(Track::INVALID);
        }
        if self.connections.len() >= CONNECTIONS_MAX {
            self.expire(now);
            if self.connections.len() >= CONNECTIONS_MAX && !self.drop_early() {
                self.full_drops += 1;
                return None;
            }
        }
        self.next_id += 1;
        let id = self.next_id;
        let mut connection = Connection {
            original: tuple,
            reply: tuple.inverse(),
            tcp: TcpState::None,
            is_replied: false,
            is_assured: false,
            is_confirmed: false,
            is_set_up: [false; 2],
            expires: now,
            counters: [(0, 0); 2],
            mark: 0,
        };
        let track = connection.see(id, false, tcp_flags, len, now);
        self.connections.insert(id, connection);
        Some(track)
    }

    /// Drops the oldest connection that has not been answered.
    fn drop_early(&mut self) -> bool {
        let victim = self.connections.iter().find(|(_, one)| !one.is_assured);
        match victim.map(|(&id, _)| id) {
            Some(id) => {
                self.remove(id);
                true
            }
            None => false,
        }
    }

    /// The connection an ICMP error is about.
    fn related(&self, packet: &[u8], ip: &Ip) -> Option<Track> {
        let inner = packet.get(ip.header + 8..ip.end)?;
        let about = parse_quoted(inner)?;
        // The error goes the way of an answer to the packet it quotes.
        let tuple = Tuple::of(inner, &about)?.inverse();
        let &(id, is_reply) = self.by_tuple.get(&tuple)?;
        Some(Track {
            id,
            is_reply,
            state: CtState::Related,
        })
    }

    /// The packet that began it goes its way: from now on its tuples bind.
    pub fn confirm(&mut self, track: Track) {
        if let Some(one) = self.connections.get_mut(&track.id)
            && !one.is_confirmed
        {
            one.is_confirmed = true;
            self.by_tuple.insert(one.original, (track.id, false));
            self.by_tuple.entry(one.reply).or_insert((track.id, true));
        }
    }

    /// The packet was dropped: a connection it began never was.
    pub fn forget_unconfirmed(&mut self, track: Track) {
        if self.get(track).is_some_and(|one| !one.is_confirmed) {
            self.connections.remove(&track.id);
        }
    }

    fn remove(&mut self, id: u64) {
        if let Some(one) = self.connections.remove(&id) {
            for tuple in [one.original, one.reply] {
                if self.by_tuple.get(&tuple).is_some_and(|entry| entry.0 == id) {
                    self.by_tuple.remove(&tuple);
                }
            }
        }
    }

    /// Forgets the connections that `is_meant` (`conntrack -D`).
    pub fn delete(&mut self, is_meant: impl Fn(&Connection) -> bool) -> usize {
        let ids: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, one)| is_meant(one))
            .map(|(&id, _)| id)
            .collect();
        for &id in &ids {
            self.remove(id);
        }
        ids.len()
    }

    /// Forgets what is over.
    pub fn expire(&mut self, now: Instant) {
        self.delete(|one| one.expires <= now);
    }

    /// When the next connection is over.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.connections.values().map(|one| one.expires).min()
    }

    /// The lines of `/proc/net/nf_conntrack`.
    #[must_use]
    pub fn dump(&self, now: Instant) -> String {
        let mut text = String::new();
        for one in self.iter() {
            one.print(now, &mut text);
        }
        text
    }
}

impl Connection {
    /// A packet of it goes by.
    fn see(&mut self, id: u64, is_reply: bool, tcp_flags: u8, len: u64, now: Instant) -> Track {
        let counter = &mut self.counters[usize::from(is_reply)];
        *counter = (counter.0 + 1, counter.1 + len);
        if is_reply {
            self.is_replied = true;
        }
        if self.original.proto == proto::TCP {
            let before = self.tcp;
            self.tcp = before.after(tcp_flags, is_reply);
            if self.tcp == TcpState::Established && before == TcpState::SynRecv
                || self.is_replied && before == TcpState::Established
            {
                self.is_assured = true;
            }
        } else if self.original.proto == proto::UDP && self.is_replied && !is_reply {
            self.is_assured = true;
        }
        self.expires = now.plus(self.timeout() * NANOS_PER_SEC);
        let state = if is_reply || self.is_replied {
            CtState::Established
        } else {
            CtState::New
        };
        Track {
            id,
            is_reply,
            state,
        }
    }

    fn print(&self, now: Instant, text: &mut String) {
        let (family, number) = if self.original.src.is_ipv4() {
            ("ipv4", 2)
        } else {
            ("ipv6", 10)
        };
        let name = match self.original.proto {
            proto::TCP => "tcp",
            proto::UDP => "udp",
            proto::ICMP => "icmp",
            proto::ICMPV6 => "icmpv6",
            _ => "unknown",
        };
        let left = self.expires.since(now) / NANOS_PER_SEC;
        let _ = write!(
            text,
            "{family}     {number} {name:<8} {} {left} ",
            self.original.proto
        );
        if self.original.proto == proto::TCP {
            let _ = write!(text, "{} ", self.tcp.name());
        }
        print_tuple(&self.original, text);
        if !self.is_replied {
            text.push_str("[UNREPLIED] ");
        }
        print_tuple(&self.reply, text);
        if self.is_assured {
            text.push_str("[ASSURED] ");
        }
        let _ = writeln!(text, "mark={} use=1", self.mark);
    }
}

fn print_tuple(tuple: &Tuple, text: &mut String) {
    let _ = write!(text, "src={} dst={} ", tuple.src, tuple.dst);
    let _ = match tuple.proto {
        proto::ICMP | proto::ICMPV6 => write!(
            text,
            "type={} code=0 id={} ",
            tuple.dst_port, tuple.src_port
        ),
        _ => write!(text, "sport={} dport={} ", tuple.src_port, tuple.dst_port),
    };
}

fn is_everybody(ip: IpAddr) -> bool {
    ip.is_multicast()
}

/// Reads the header of a packet that an ICMP error quotes: it is cut, which `Ip::parse` would not take.
#[must_use]
pub fn parse_quoted(inner: &[u8]) -> Option<Ip> {
    let address = |at: usize| -> Option<[u8; 4]> { inner.get(at..at + 4)?.try_into().ok() };
    match inner.first()? >> 4 {
        4 => {
            let header = usize::from(inner[0] & 15) * 4;
            if header < 20 || inner.len() < header + 8 {
                return None;
            }
            Some(Ip {
                src: IpAddr::from(address(12)?),
                dst: IpAddr::from(address(16)?),
                proto: inner[9],
                ttl: inner[8],
                tos: inner[1],
                header,
                end: inner.len(),
                dont_fragment: inner[6] & 0x40 != 0,
                fragment: None,
            })
        }
        6 => {
            let wide = |at: usize| -> Option<[u8; 16]> { inner.get(at..at + 16)?.try_into().ok() };
            if inner.len() < 48 {
                return None;
            }
            Some(Ip {
                src: IpAddr::from(wide(8)?),
                dst: IpAddr::from(wide(24)?),
                proto: inner[6],
                ttl: inner[7],
                tos: 0,
                header: 40,
                end: inner.len(),
                dont_fragment: true,
                fragment: None,
            })
        }
        _ => None,
    }
}
