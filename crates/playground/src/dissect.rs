//! A captured frame in one line, as lists of packets show it: who to whom, which protocol, what it says.
//!
//! Only what the frame itself holds is told: no stream is put together, sequence numbers are those on the wire.
//! Ports say what is spoken where the bytes do not: DNS. Frames are hostile input: what is cut short is told as
//! far as it goes, and what programs send is shown without its control characters.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use net::packet::{
    ETHERNET_BYTES, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Frame, Ip, Mac, proto,
};

/// Bytes of a program's own text that are shown.
const TEXT_BYTES_MAX: usize = 120;
/// Records of a DNS answer that are shown.
const ANSWERS_MAX: usize = 4;
const DNS_PORT: u16 = 53;

/// See the module's comment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Who sent it: an address, of IP where there is one.
    pub source: String,
    /// Whom it is for.
    pub destination: String,
    /// The innermost protocol that was recognised.
    pub protocol: &'static str,
    /// What it says.
    pub info: String,
}

/// Tells a frame in one line.
#[must_use]
pub fn dissect(bytes: &[u8]) -> Line {
    let frame = Frame::new(bytes[..bytes.len().min(ETHERNET_BYTES)].to_vec());
    let packet = bytes.get(ETHERNET_BYTES..).unwrap_or_default();
    let link = |protocol, info| Line {
        source: mac_text(frame.mac(6)),
        destination: match frame.mac(0) {
            all if all.is_broadcast() => "broadcast".to_string(),
            one => mac_text(one),
        },
        protocol,
        info,
    };
    if bytes.len() < ETHERNET_BYTES {
        return link("?", format!("{} bytes", bytes.len()));
    }
    match frame.ethertype() {
        ETHERTYPE_ARP => link("ARP", arp(packet).unwrap_or_default()),
        kind @ (ETHERTYPE_IPV4 | ETHERTYPE_IPV6) => {
            let name = if kind == ETHERTYPE_IPV4 {
                "IPv4"
            } else {
                "IPv6"
            };
            let Some(ip) = Ip::parse(packet) else {
                return link(name, "malformed header".to_string());
            };
            let (protocol, info) = inside(&ip, packet).unwrap_or((name, String::new()));
            Line {
                source: ip.src.to_string(),
                destination: ip.dst.to_string(),
                protocol,
                info,
            }
        }
        other => link("Ethernet", format!("type 0x{other:04x}")),
    }
}

/// A hardware address as Linux tools write it.
#[must_use]
pub fn mac_text(mac: Mac) -> String {
    mac.0.map(|byte| format!("{byte:02x}")).join(":")
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let raw = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([raw[0], raw[1]]))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    let raw = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes([raw[0], raw[1], raw[2], raw[3]]))
}

fn ipv4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    long(bytes, at).map(Ipv4Addr::from)
}

fn ipv6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    let raw: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
    Some(Ipv6Addr::from(raw))
}

/// RFC 826.
fn arp(packet: &[u8]) -> Option<String> {
    let (sender, target) = (ipv4(packet, 14)?, ipv4(packet, 24)?);
    Some(match word(packet, 6)? {
        1 if sender == target => format!("announces {sender}"),
        1 => format!("who-has {target} tell {sender}"),
        2 => format!(
            "{sender} is-at {}",
            mac_text(Mac::from_bytes(packet.get(8..14)?))
        ),
        other => format!("operation {other}"),
    })
}

fn inside(ip: &Ip, packet: &[u8]) -> Option<(&'static str, String)> {
    let message = ip.payload(packet);
    if let Some(fragment) = ip.fragment.filter(|fragment| fragment.offset > 0) {
        let more = if fragment.more { ", more follow" } else { "" };
        let name = if ip.is_v6() { "IPv6" } else { "IPv4" };
        let info = format!(
            "fragment {:#06x} at {}, {} bytes{more}",
            fragment.id,
            fragment.offset,
            message.len()
        );
        return Some((name, info));
    }
    match ip.proto {
        proto::ICMP => Some(("ICMP", icmp(message)?)),
        proto::ICMPV6 => Some(("ICMPv6", icmpv6(message)?)),
        proto::UDP => udp(message),
        proto::TCP => tcp(message),
        other => Some((
            if ip.is_v6() { "IPv6" } else { "IPv4" },
            format!("protocol {other}, {} bytes", message.len()),
        )),
    }
}

fn echo(what: &str, message: &[u8]) -> Option<String> {
    let (id, seq) = (word(message, 4)?, word(message, 6)?);
    let len = message.len() - 8;
    Some(format!("echo {what} id={id} seq={seq} len={len}"))
}

/// An ICMP error, and the packet it is about.
fn about(what: &str, message: &[u8]) -> String {
    let mut text = what.to_string();
    let packet = message.get(8..).unwrap_or_default();
    // The packet is cut short, so its header is read without its length.
    let addresses = match packet.first().map(|byte| byte >> 4) {
        Some(4) => ipv4(packet, 16).map(|to| to.to_string()),
        Some(6) => ipv6(packet, 24).map(|to| to.to_string()),
        _ => None,
    };
    if let Some(to) = addresses {
        let _ = write!(text, ", of a packet to {to}");
    }
    text
}

/// RFC 792.
fn icmp(message: &[u8]) -> Option<String> {
    let (kind, code) = (*message.first()?, *message.get(1)?);
    Some(match (kind, code) {
        (8, _) => echo("request", message)?,
        (0, _) => echo("reply", message)?,
        (3, 0) => about("network unreachable", message),
        (3, 1) => about("host unreachable", message),
        (3, 2) => about("protocol unreachable", message),
        (3, 3) => about("port unreachable", message),
        (3, 4) => about(
            &format!("fragmentation needed, MTU {}", word(message, 6)?),
            message,
        ),
        (3, 9 | 10 | 13) => about("administratively prohibited", message),
        (5, _) => format!("redirect to {}", ipv4(message, 4)?),
        (11, 0) => about("time to live exceeded", message),
        (11, 1) => about("reassembly time exceeded", message),
        _ => format!("type {kind} code {code}"),
    })
}

/// RFC 4443, RFC 4861.
fn icmpv6(message: &[u8]) -> Option<String> {
    let (kind, code) = (*message.first()?, *message.get(1)?);
    Some(match (kind, code) {
        (128, _) => echo("request", message)?,
        (129, _) => echo("reply", message)?,
        (1, 0) => about("no route", message),
        (1, 4) => about("port unreachable", message),
        (1, _) => about("destination unreachable", message),
        (2, _) => about(
            &format!("packet too big, MTU {}", long(message, 4)?),
            message,
        ),
        (3, _) => about("hop limit exceeded", message),
        (133, _) => "router solicitation".to_string(),
        (134, _) => "router advertisement".to_string(),
        (135, _) => format!("neighbour solicitation, who has {}", ipv6(message, 8)?),
        (136, _) => format!("neighbour advertisement of {}", ipv6(message, 8)?),
        (130..=132 | 143, _) => "multicast listener report".to_string(),
        _ => format!("type {kind} code {code}"),
    })
}

fn udp(message: &[u8]) -> Option<(&'static str, String)> {
    let (from, to) = (word(message, 0)?, word(message, 2)?);
    let payload = message.get(8..).unwrap_or_default();
    if from == DNS_PORT || to == DNS_PORT {
        let info = dns(payload).unwrap_or_else(|| "malformed".to_string());
        return Some(("DNS", info));
    }
    Some(("UDP", format!("{from} → {to} len={}", payload.len())))
}

/// RFC 9293, and what the first bytes of the payload say of what is spoken.
fn tcp(message: &[u8]) -> Option<(&'static str, String)> {
    let (from, to) = (word(message, 0)?, word(message, 2)?);
    let (seq, ack) = (long(message, 4)?, long(message, 8)?);
    let bits = *message.get(13)?;
    let header = usize::from(message[12] >> 4) * 4;
    let payload = message.get(header..).unwrap_or_default();
    let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
    let set = names
        .iter()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 != 0);
    let flags: Vec<&str> = set.map(|(_, name)| *name).collect();
    let mut info = format!("{from} → {to} [{}] seq={seq}", flags.join(", "));
    if bits & 0x10 != 0 {
        let _ = write!(info, " ack={ack}");
    }
    let window = word(message, 14)?;
    let _ = write!(info, " win={window} len={}", payload.len());
    match spoken(payload) {
        Some((name, text)) => Some((name, format!("{text}   {info}"))),
        None => Some(("TCP", info)),
    }
}

fn spoken(payload: &[u8]) -> Option<(&'static str, String)> {
    const METHODS: [&[u8]; 9] = [
        b"GET ",
        b"POST ",
        b"HEAD ",
        b"PUT ",
        b"DELETE ",
        b"PATCH ",
        b"OPTIONS ",
        b"CONNECT ",
        b"HTTP/1.",
    ];
    if METHODS.iter().any(|start| payload.starts_with(start)) {
        return Some(("HTTP", first_line(payload)));
    }
    if payload.starts_with(b"SSH-") {
        return Some(("SSH", first_line(payload)));
    }
    // Content type, version 3.x (RFC 8446 §5.1).
    if let [kind @ 20..=23, 3, 0..=4, _, _, rest @ ..] = payload {
        let what = match (kind, rest.first()) {
            (20, _) => "change cipher spec",
            (21, _) => "alert",
            (22, Some(1)) => "client hello",
            (22, Some(2)) => "server hello",
            (22, _) => "handshake",
            _ => "application data",
        };
        return Some(("TLS", what.to_string()));
    }
    None
}

/// The first line of a text, without what is not printable.
fn first_line(payload: &[u8]) -> String {
    let line = payload.split(|&byte| byte == b'\r' || byte == b'\n').next();
    let line = line.unwrap_or_default();
    printable(&line[..line.len().min(TEXT_BYTES_MAX)])
}

fn printable(bytes: &[u8]) -> String {
    let shown = |&byte: &u8| match byte {
        b' '..=b'~' => char::from(byte),
        _ => '.',
    };
    bytes.iter().map(shown).collect()
}

/// RFC 1035 §4.1: the question, and the first records of the answer.
fn dns(message: &[u8]) -> Option<String> {
    let (id, bits) = (word(message, 0)?, word(message, 2)?);
    let (questions, answers) = (word(message, 4)?, word(message, 6)?);
    let (mut at, mut asked) = (12, String::new());
    if questions > 0 {
        let (name, next) = name(message, at)?;
        asked = format!(" {} {name}", record_type(word(message, next)?));
        at = next + 4;
    }
    if bits & 0x8000 == 0 {
        return Some(format!("query {id:#06x}{asked}"));
    }
    let mut text = format!("response {id:#06x}{asked}");
    match bits & 15 {
        0 => {}
        1 => text += ", malformed query",
        2 => text += ", server failure",
        3 => text += ", no such name",
        5 => text += ", refused",
        code => {
            let _ = write!(text, ", error {code}");
        }
    }
    for number in 0..usize::from(answers) {
        if number == ANSWERS_MAX {
            text += ", …";
            break;
        }
        let (_, next) = name(message, at)?;
        let (kind, len) = (word(message, next)?, usize::from(word(message, next + 8)?));
        let data = next + 10;
        let value = match kind {
            1 => ipv4(message, data)?.to_string(),
            28 => ipv6(message, data)?.to_string(),
            2 | 5 | 12 => name(message, data)?.0,
            _ => format!("{len} bytes"),
        };
        let _ = write!(text, ", {} {value}", record_type(kind));
        at = data + len;
    }
    Some(text)
}

fn record_type(number: u16) -> String {
    let known = match number {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        41 => "OPT",
        65 => "HTTPS",
        255 => "ANY",
        other => return format!("TYPE{other}"),
    };
    known.to_string()
}

/// A name, and where what follows it begins.
fn name(message: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut name, mut at, mut end) = (String::new(), start, None);
    // A name has 128 labels at most; pointers may form a ring.
    for _ in 0..128 {
        let len = usize::from(*message.get(at)?);
        if len == 0 {
            let name = if name.is_empty() {
                ".".to_string()
            } else {
                name
            };
            return Some((name, end.unwrap_or(at + 1)));
        }
        if len & 0xc0 == 0xc0 {
            end = end.or(Some(at + 2));
            at = usize::from(word(message, at)? & 0x3fff);
            continue;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name += &printable(message.get(at + 1..at + 1 + len)?);
        at += 1 + len;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::packet::{IpSpec, build};

    const DNS_ANSWER: &[u8] = b"\x12\x34\x81\x80\x00\x01\x00\x02\x00\x00\x00\x00\
        \x03www\x05node2\x00\x00\x01\x00\x01\
        \xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x05\x00\x02\xc0\x10\
        \xc0\x10\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\xc0\xa8\x00\x0e";

    fn ip(proto: u8, v6: bool, message: &[u8]) -> Vec<u8> {
        let (src, dst) = if v6 {
            ("fe80::1".parse().unwrap(), "fe80::2".parse().unwrap())
        } else {
            (
                "192.168.0.13".parse().unwrap(),
                "192.168.0.14".parse().unwrap(),
            )
        };
        let spec = IpSpec {
            src,
            dst,
            proto,
            ttl: 64,
            tos: 0,
            dont_fragment: true,
            id: 0,
        };
        let mut frame = build(&spec, &[message]);
        let kind = if v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
        frame.set_ethernet(Mac([2; 6]), Mac([4; 6]), kind);
        frame.bytes
    }

    fn tcp_segment(flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut segment = vec![0x9c, 0x40, 0, 80, 0, 0, 0, 7, 0, 0, 0, 9, 0x50, flags];
        segment.extend([0xfa, 0xf0, 0, 0, 0, 0]);
        segment.extend(payload);
        segment
    }

    fn udp_datagram(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
        let words = [from, to, payload.len() as u16 + 8, 0];
        let mut datagram: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        datagram.extend(payload);
        datagram
    }

    fn arp_packet(operation: u8) -> Vec<u8> {
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0x42, 0xc0, 0xa8, 0, 13, 8, 6]);
        frame.extend([0, 1, 8, 0, 6, 4, 0, operation]);
        frame.extend([2, 0x42, 0xc0, 0xa8, 0, 13, 192, 168, 0, 13]);
        frame.extend([0, 0, 0, 0, 0, 0, 192, 168, 0, 14]);
        frame
    }

    #[test]
    fn each_protocol_is_told_in_its_own_words() {
        let mut unreachable = vec![3, 3, 0, 0, 0, 0, 0, 0, 0x45];
        unreachable.resize(8 + 16, 0);
        unreachable.extend([192, 168, 0, 14, 0, 1]);
        let cases: [(Vec<u8>, &str, &str); 15] = [
            (
                arp_packet(1),
                "ARP",
                "who-has 192.168.0.14 tell 192.168.0.13",
            ),
            (arp_packet(2), "ARP", "192.168.0.13 is-at 02:42:c0:a8:00:0d"),
            (
                ip(1, false, &[8, 0, 0, 0, 0, 5, 0, 1, b'x']),
                "ICMP",
                "echo request id=5 seq=1 len=1",
            ),
            (
                ip(1, false, &unreachable),
                "ICMP",
                "port unreachable, of a packet to 192.168.0.14",
            ),
            (
                ip(58, true, &[129, 0, 0, 0, 0, 5, 0, 2]),
                "ICMPv6",
                "echo reply id=5 seq=2 len=0",
            ),
            (
                ip(17, false, &udp_datagram(4000, 9, b"abc")),
                "UDP",
                "4000 → 9 len=3",
            ),
            (
                ip(17, false, &udp_datagram(53, 4000, DNS_ANSWER)),
                "DNS",
                "response 0x1234 A www.node2, CNAME node2, A 192.168.0.14",
            ),
            (
                ip(17, false, &udp_datagram(4000, 53, b"\x00\x01")),
                "DNS",
                "malformed",
            ),
            (
                ip(6, false, &tcp_segment(0x02, b"")),
                "TCP",
                "40000 → 80 [SYN] seq=7 win=64240 len=0",
            ),
            (
                ip(6, true, &tcp_segment(0x12, b"")),
                "TCP",
                "40000 → 80 [SYN, ACK] seq=7 ack=9 win=64240 len=0",
            ),
            (
                ip(
                    6,
                    false,
                    &tcp_segment(0x18, b"GET /a\x1b HTTP/1.1\r\nHost: x\r\n"),
                ),
                "HTTP",
                "GET /a. HTTP/1.1   40000 → 80 [PSH, ACK] seq=7 ack=9 win=64240 len=27",
            ),
            (
                ip(6, false, &tcp_segment(0x18, &[22, 3, 1, 0, 4, 1, 0, 0, 0])),
                "TLS",
                "client hello   40000 → 80 [PSH, ACK] seq=7 ack=9 win=64240 len=9",
            ),
            (ip(47, false, b"??"), "IPv4", "protocol 47, 2 bytes"),
            (
                [[1; 12].as_slice(), &[0x88, 0xcc]].concat(),
                "Ethernet",
                "type 0x88cc",
            ),
            (vec![1, 2, 3], "?", "3 bytes"),
        ];
        for (frame, protocol, info) in cases {
            let line = dissect(&frame);
            assert_eq!((line.protocol, line.info.as_str()), (protocol, info));
        }
        let line = dissect(&arp_packet(1));
        assert_eq!(line.source, "02:42:c0:a8:00:0d");
        assert_eq!(line.destination, "broadcast");
    }

    #[test]
    fn nothing_that_is_cut_or_broken_panics() {
        let frames = [
            arp_packet(1),
            ip(17, false, &udp_datagram(53, 53, DNS_ANSWER)),
            ip(6, false, &tcp_segment(0x18, b"GET / HTTP/1.1")),
            ip(58, true, &[135, 0, 0, 0]),
        ];
        for frame in frames {
            for cut in 0..frame.len() {
                let _ = dissect(&frame[..cut]);
                for value in [0, 0xff, 0xc0] {
                    let mut broken = frame.clone();
                    broken[cut] = value;
                    let _ = dissect(&broken);
                }
            }
        }
        // A name that points at itself.
        assert_eq!(name(b"\xc0\x00", 0), None);
    }
}
