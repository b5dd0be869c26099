//! A frame as tcpdump prints it, more or less.

use net::packet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Frame, Ip, checksum_is_right};

pub fn frame(bytes: &[u8]) -> String {
    let frame = Frame::new(bytes.to_vec());
    match frame.ethertype() {
        ETHERTYPE_ARP => arp(frame.packet()),
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => packet(frame.packet()),
        other => format!("ethertype {other:#06x}\n"),
    }
}

fn arp(packet: &[u8]) -> String {
    let ip = |at: usize| {
        let b = &packet[at..at + 4];
        format!("{}.{}.{}.{}", b[0], b[1], b[2], b[3])
    };
    if packet[7] == 1 {
        format!("ARP, Request who-has {} tell {}\n", ip(24), ip(14))
    } else {
        let mac: Vec<String> = packet[8..14].iter().map(|b| format!("{b:02x}")).collect();
        format!("ARP, Reply {} is-at {}\n", ip(14), mac.join(":"))
    }
}

fn packet(packet: &[u8]) -> String {
    let Some(ip) = Ip::parse(packet) else {
        return "malformed\n".to_string();
    };
    let payload = ip.payload(packet);
    let bad = if checksum_is_right(packet, &ip) || ip.fragment.is_some() {
        ""
    } else {
        " (bad checksum)"
    };
    if let Some(fragment) = ip.fragment {
        let sign = if fragment.more { "+" } else { "" };
        return format!(
            "IP {} > {}: frag {}@{}{sign}\n",
            ip.src,
            ip.dst,
            payload.len(),
            fragment.offset
        );
    }
    let text = match (ip.proto, ip.ports(packet)) {
        (6, Some((src, dst))) => {
            let names = [(2, "S"), (1, "F"), (4, "R"), (8, "P"), (16, ".")];
            let flags: String = names
                .iter()
                .filter(|(bit, _)| payload[13] & bit != 0)
                .map(|(_, name)| *name)
                .collect();
            let len = payload.len() - usize::from(payload[12] >> 4) * 4;
            let ports = (port(src), port(dst));
            format!(
                "{}.{} > {}.{}: Flags [{flags}], length {len}",
                ip.src, ports.0, ip.dst, ports.1
            )
        }
        (17, Some((src, dst))) => {
            let len = payload.len() - 8;
            let ports = (port(src), port(dst));
            format!(
                "{}.{} > {}.{}: UDP, length {len}",
                ip.src, ports.0, ip.dst, ports.1
            )
        }
        (1 | 58, _) => {
            let about = format!("type {} code {}", payload[0], payload[1]);
            format!(
                "{} > {}: ICMP {about}, length {}",
                ip.src,
                ip.dst,
                payload.len()
            )
        }
        (other, _) => format!("{} > {}: protocol {other}", ip.src, ip.dst),
    };
    format!("IP {text}{bad}\n")
}

/// Ports that are chosen at random are not shown.
pub fn port(port: u16) -> String {
    if port >= 32768 {
        "high".to_string()
    } else {
        port.to_string()
    }
}
