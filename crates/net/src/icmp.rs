//! ICMP and ICMPv6: echoes, and the errors that packets come back with.

use std::net::IpAddr;

use abi::Errno;

use crate::network::Network;
use crate::packet::{self, Frame, Ip, IpSpec, proto};
use crate::resolve::{ADVERTISEMENT, SOLICITATION};
use crate::types::{LinkId, NsId};

/// Why a packet did not arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Problem {
    /// No route.
    Network,
    /// The neighbour does not answer.
    Host,
    /// Nobody speaks that protocol.
    Protocol,
    /// No socket at that port.
    Port,
    /// Too long for the next link, which takes this much.
    TooBig(u32),
    /// A rule forbids it.
    Prohibited,
    /// A rule forbids it to this network.
    NetworkProhibited,
    /// A rule forbids it to this host.
    HostProhibited,
    /// Too many hops.
    TimeExceeded,
}

impl Problem {
    /// Type, code and the second word of the message.
    fn message(self, v6: bool) -> (u8, u8, u32) {
        match (self, v6) {
            (Problem::Network, false) => (3, 0, 0),
            (Problem::Host, false) => (3, 1, 0),
            (Problem::Protocol, false) => (3, 2, 0),
            (Problem::Port, false) => (3, 3, 0),
            (Problem::TooBig(mtu), false) => (3, 4, mtu.min(0xffff)),
            (Problem::NetworkProhibited, false) => (3, 9, 0),
            (Problem::HostProhibited, false) => (3, 10, 0),
            (Problem::Prohibited, false) => (3, 13, 0),
            (Problem::TimeExceeded, false) => (11, 0, 0),
            (Problem::Network, true) => (1, 0, 0),
            (Problem::Prohibited | Problem::NetworkProhibited | Problem::HostProhibited, true) => {
                (1, 1, 0)
            }
            (Problem::Host, true) => (1, 3, 0),
            (Problem::Port, true) => (1, 4, 0),
            (Problem::TooBig(mtu), true) => (2, 0, mtu),
            (Problem::TimeExceeded, true) => (3, 0, 0),
            // Parameter problem, and it is the next header that is not known.
            (Problem::Protocol, true) => (4, 1, 6),
        }
    }

    /// What `REJECT --reject-with` means.
    fn rejection(with: &str) -> Problem {
        match with {
            "icmp-net-unreachable" | "icmp6-no-route" => Problem::Network,
            "icmp-host-unreachable" => Problem::Host,
            "icmp-proto-unreachable" => Problem::Protocol,
            "icmp-net-prohibited" => Problem::NetworkProhibited,
            "icmp-host-prohibited" => Problem::HostProhibited,
            "icmp-admin-prohibited" | "icmp6-adm-prohibited" => Problem::Prohibited,
            _ => Problem::Port,
        }
    }
}

/// What an ICMP error means to a socket: the error number, and whether it ends a connection that is just
/// being made.
#[must_use]
pub fn errno_of(v6: bool, kind: u8, code: u8) -> Option<(Errno, bool)> {
    if v6 {
        return Some(match (kind, code) {
            (1, 0) => (Errno::ENETUNREACH, false),
            (1, 1 | 5 | 6) => (Errno::EACCES, true),
            (1, 2 | 3) => (Errno::EHOSTUNREACH, false),
            (1, 4) => (Errno::ECONNREFUSED, true),
            (2, _) => (Errno::EMSGSIZE, false),
            (3, _) => (Errno::EHOSTUNREACH, false),
            (4, _) => (Errno::EPROTO, true),
            _ => return None,
        });
    }
    Some(match (kind, code) {
        (3, 0 | 6) => (Errno::ENETUNREACH, false),
        (3, 1 | 5 | 7 | 12) => (Errno::EHOSTUNREACH, false),
        (3, 2) => (Errno::ENOPROTOOPT, true),
        (3, 3) => (Errno::ECONNREFUSED, true),
        (3, 4) => (Errno::EMSGSIZE, false),
        (3, 8) => (Errno::ENONET, true),
        (3, 9..=11 | 13..=15) => (Errno::EHOSTUNREACH, true),
        (11, _) => (Errno::EHOSTUNREACH, false),
        (12, _) => (Errno::EPROTO, true),
        _ => return None,
    })
}

impl Network {
    /// Tells the sender of a packet why it did not arrive. `link` is where it came in; packets of this host
    /// have none.
    pub(crate) fn icmp_error(
        &mut self,
        ns: NsId,
        link: Option<LinkId>,
        frame: &Frame,
        about: &Ip,
        problem: Problem,
    ) {
        let packet = frame.packet();
        let not_first = about.fragment.is_some_and(|fragment| fragment.offset > 0);
        let is_group =
            about.dst.is_multicast() || matches!(about.dst, IpAddr::V4(dst) if dst.is_broadcast());
        let too_big = matches!(problem, Problem::TooBig(_));
        if about.is_icmp_error(packet)
            || not_first
            || (is_group && !(too_big && about.is_v6()))
            || about.src.is_unspecified()
            || about.src.is_multicast()
        {
            return;
        }
        let v6 = about.is_v6();
        let (kind, code, rest) = problem.message(v6);
        let quoted_max = if v6 { 1280 - 48 } else { 576 - 28 };
        let mut quoted = packet[..about.end.min(packet.len())].to_vec();
        if frame.partial {
            let mut whole = frame.clone();
            whole.complete();
            quoted = whole.packet().to_vec();
        }
        quoted.truncate(quoted_max);
        let mut header = [kind, code, 0, 0, 0, 0, 0, 0];
        header[4..].copy_from_slice(&rest.to_be_bytes());
        // It comes from the address that was asked for, if that is ours; else from the one nearest the sender.
        let source = if self.is_local(ns, about.dst) && !about.dst.is_multicast() {
            Some(about.dst)
        } else {
            self.route(
                ns,
                about.src,
                link.filter(|_| crate::types::is_link_local(about.src)),
            )
            .and_then(|hop| self.source_for(ns, about.src, &hop))
            .ok()
        };
        let Some(source) = source else { return };
        self.count(ns, |snmp| snmp.icmp_out_msgs += 1);
        let spec = self.icmp_spec(source, about.src, 64);
        let answer = packet::build(&spec, &[&header, &quoted]);
        let only = link.filter(|_| crate::types::is_link_local(about.src));
        // Nobody waits for what an error message meets.
        let _ = self.output(ns, answer, only);
    }

    fn icmp_spec(&self, src: IpAddr, dst: IpAddr, ttl: u8) -> IpSpec {
        IpSpec {
            src,
            dst,
            proto: if src.is_ipv6() {
                proto::ICMPV6
            } else {
                proto::ICMP
            },
            ttl,
            tos: 0,
            dont_fragment: false,
            id: self.rng.next_u64() as u16,
        }
    }

    /// What a REJECT target does.
    pub(crate) fn reject(
        &mut self,
        ns: NsId,
        link: Option<LinkId>,
        frame: &Frame,
        ip: &Ip,
        with: &'static str,
    ) {
        if with == "tcp-reset" {
            if ip.proto == proto::TCP {
                self.send_reset(ns, frame, ip);
            }
            return;
        }
        self.icmp_error(ns, link, frame, ip, Problem::rejection(with));
    }

    /// An ICMP message for this host.
    pub(crate) fn icmp_input(&mut self, ns: NsId, link: LinkId, frame: &Frame, ip: &Ip) {
        let Some((kind, code)) = ip.icmp(frame.packet()) else {
            self.count(ns, |snmp| snmp.icmp_in_errors += 1);
            return;
        };
        self.count(ns, |snmp| snmp.icmp_in_msgs += 1);
        let v6 = ip.is_v6();
        match (kind, v6) {
            (8, false) | (128, true) => self.answer_echo(ns, link, frame, ip),
            (0, false) | (129, true) => self.ping_input(ns, link, frame, ip),
            (SOLICITATION | ADVERTISEMENT, true) => self.discovery_input(ns, link, frame, ip),
            _ if ip.is_icmp_error(frame.packet()) => {
                self.error_input(ns, link, frame, ip, kind, code);
            }
            _ => {}
        }
    }

    fn answer_echo(&mut self, ns: NsId, link: LinkId, frame: &Frame, ip: &Ip) {
        let Some(space) = self.spaces.get_mut(&ns) else {
            return;
        };
        space.snmp.icmp_in_echos += 1;
        let is_broadcast = !ip.is_v6()
            && (ip.dst.is_multicast()
                || space
                    .routes
                    .find(ip.dst, None)
                    .is_none_or(|route| route.kind != crate::route::RouteKind::Local));
        if space.settings.ignore_echo || is_broadcast {
            return;
        }
        space.snmp.icmp_out_msgs += 1;
        let mut message = ip.payload(frame.packet()).to_vec();
        message[0] = if ip.is_v6() { 129 } else { 0 };
        let only = Some(link).filter(|_| crate::types::is_link_local(ip.src));
        let source = if ip.dst.is_multicast() {
            match self
                .route(ns, ip.src, only)
                .and_then(|hop| self.source_for(ns, ip.src, &hop))
            {
                Ok(source) => source,
                Err(_) => return,
            }
        } else {
            ip.dst
        };
        let spec = IpSpec {
            tos: ip.tos,
            ..self.icmp_spec(source, ip.src, 64)
        };
        let answer = packet::build(&spec, &[&message]);
        let _ = self.output(ns, answer, only);
    }
}
