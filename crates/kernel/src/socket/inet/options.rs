//! Options of TCP, IP and IPv6: what programs set is kept and given back, and what the network acts on is
//! told to it.

use std::cell::RefCell;

use abi::{Errno, Result};

use net::socket::Kind;

use super::super::{SocketFile, consts as c};
use super::InetSocket;

/// Levels.
pub(super) const IPPROTO_IP: u32 = 0;
pub(super) const IPPROTO_TCP: u32 = 6;
pub(super) const IPPROTO_UDP: u32 = 17;
pub(super) const IPPROTO_IPV6: u32 = 41;
/// `IPV6_V6ONLY`.
pub(super) const IPV6_V6ONLY: u32 = 26;

const TCP_INFO: u32 = 11;
const TCP_CONGESTION: u32 = 13;

/// Option numbers of `tcp(7)` with the values a new socket has.
const TCP_DEFAULTS: &[(u32, i32)] = &[
    (1, 0),
    (2, 65483),
    (3, 0),
    (4, 7200),
    (5, 75),
    (6, 9),
    (7, 6),
    (8, 60),
    (9, 0),
    (10, 0),
    (12, 1),
    (18, 0),
    (19, 0),
    (23, 0),
    (24, 0),
    (25, -1),
    (30, 0),
    (36, 0),
];

/// Option numbers of `ip(7)`.
const IP_DEFAULTS: &[(u32, i32)] = &[
    (1, 0),
    (2, 64),
    (3, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (10, 1),
    (11, 0),
    (12, 0),
    (13, 0),
    (14, 65535),
    (15, 0),
    (18, 0),
    (19, 0),
    (20, 0),
    (24, 0),
    (32, 0),
    (33, 1),
    (34, 1),
    (49, 1),
    (50, 0),
];

/// Option numbers of `ipv6(7)`.
const IPV6_DEFAULTS: &[(u32, i32)] = &[
    (16, 64),
    (17, 0),
    (18, 1),
    (19, 1),
    (23, 1),
    (24, 65535),
    (25, 0),
    (26, 0),
    (29, 0),
    (49, 0),
    (51, 0),
    (62, 0),
    (66, 0),
    (67, 0),
    (70, 1),
    (72, 0),
    (74, 0),
    (78, 0),
];

/// What was set on a socket.
#[derive(Default)]
pub(super) struct Options(RefCell<Vec<(u32, u32, i32)>>);

fn default_of(family: u16, is_tcp: bool, level: u32, name: u32) -> Result<i32> {
    let table = match level {
        IPPROTO_TCP if is_tcp => TCP_DEFAULTS,
        // An IPv6 socket has IPv4 in it, but not the other way round.
        IPPROTO_IP => IP_DEFAULTS,
        IPPROTO_IPV6 if family == c::AF_INET6 => IPV6_DEFAULTS,
        IPPROTO_TCP | IPPROTO_UDP | IPPROTO_IPV6 => return Err(Errno::ENOPROTOOPT),
        _ => return Err(Errno::ENOPROTOOPT),
    };
    table
        .iter()
        .find(|entry| entry.0 == name)
        .map(|entry| entry.1)
        .ok_or(Errno::ENOPROTOOPT)
}

impl Options {
    pub fn get(&self, family: u16, is_tcp: bool, level: u32, name: u32) -> Result<i32> {
        let default = default_of(family, is_tcp, level, name)?;
        let kept = self
            .0
            .borrow()
            .iter()
            .find(|entry| (entry.0, entry.1) == (level, name))
            .map(|entry| entry.2);
        Ok(kept.unwrap_or(default))
    }

    pub fn set(
        &self,
        family: u16,
        is_tcp: bool,
        level: u32,
        name: u32,
        value: &[u8],
    ) -> Result<i32> {
        if level == IPPROTO_TCP && is_tcp && name == TCP_CONGESTION {
            return if value.starts_with(b"cubic") || value.starts_with(b"reno") {
                Ok(0)
            } else {
                Err(Errno::ENOENT)
            };
        }
        // Joining and leaving groups: a bridge floods them to everybody, and a bound socket takes them
        // (IP_MULTICAST_ALL is the default).
        if level == IPPROTO_IP && matches!(name, 35 | 36)
            || level == IPPROTO_IPV6 && matches!(name, 20 | 21)
        {
            return Ok(0);
        }
        default_of(family, is_tcp, level, name)?;
        let value = match value {
            [a, b, c, d, ..] => i32::from_le_bytes([*a, *b, *c, *d]),
            [a, ..] if level == IPPROTO_IP => i32::from(*a),
            _ => return Err(Errno::EINVAL),
        };
        let mut kept = self.0.borrow_mut();
        kept.retain(|entry| (entry.0, entry.1) != (level, name));
        kept.push((level, name, value));
        Ok(value)
    }
}

/// Levels of filters for ICMP.
const SOL_ICMPV6: u32 = 58;
const SOL_RAW: u32 = 255;

impl Options {
    /// An accepted connection begins with the options of the listening socket.
    pub fn inherit(&self, from: &Options) {
        *self.0.borrow_mut() = from.0.borrow().clone();
    }
}

impl InetSocket {
    /// Sets an option of the internet's levels.
    pub(super) fn set_inet_option(&self, level: u32, name: u32, value: &[u8]) -> Result<()> {
        let is_raw = matches!(self.kind, Kind::Raw(_));
        match (level, name) {
            (SOL_RAW | SOL_ICMPV6, 1) if is_raw || self.kind == Kind::Ping => {
                let mut filter = [0; 8];
                for (word, raw) in filter.iter_mut().zip(value.chunks_exact(4)) {
                    *word = u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
                }
                return self.tell(|options| options.icmp_filter = filter);
            }
            // IPV6_CHECKSUM of an ICMPv6 socket, which has one anyway.
            (SOL_RAW | IPPROTO_IPV6, 7) if is_raw => return Ok(()),
            (IPPROTO_IPV6, IPV6_V6ONLY) => {
                let is_bound = self.name(false)?.is_some() && !is_raw;
                if is_bound {
                    return Err(Errno::EINVAL);
                }
            }
            _ => {}
        }
        let is_tcp = self.kind == Kind::Tcp;
        let value = self.options.set(self.family, is_tcp, level, name, value)?;
        let on = value != 0;
        let hops = u8::try_from(value).ok();
        let seconds = value.max(1) as u32;
        match (level, name) {
            (IPPROTO_TCP, 1) => self.tell(|options| options.no_delay = on),
            (IPPROTO_TCP, 4) => self.tell(|options| options.keep_alive_s.0 = seconds),
            (IPPROTO_TCP, 5) => self.tell(|options| options.keep_alive_s.1 = seconds),
            (IPPROTO_TCP, 18) => self.tell(|options| options.user_timeout_ms = value.max(0) as u32),
            (IPPROTO_IP, 1) | (IPPROTO_IPV6, 67) => self.tell(|options| options.tos = value as u8),
            (IPPROTO_IP, 2) | (IPPROTO_IPV6, 16) => self.tell(|options| options.ttl = hops),
            (IPPROTO_IP, 3) => self.tell(|options| options.header_included = on),
            (IPPROTO_IP, 10) | (IPPROTO_IPV6, 23) => {
                self.tell(|options| options.dont_fragment = on)
            }
            (IPPROTO_IP, 11) | (IPPROTO_IPV6, 25) => {
                self.tell(|options| options.receive_errors = on)
            }
            (IPPROTO_IP, 33) | (IPPROTO_IPV6, 18) => {
                self.tell(|options| options.multicast_ttl = hops.unwrap_or(1))
            }
            (IPPROTO_IPV6, IPV6_V6ONLY) => self.tell(|options| options.v6_only = on),
            _ => Ok(()),
        }
    }

    /// An option of `SOL_SOCKET` that the network acts on.
    pub(super) fn set_common_option(&self, name: u32, value: i32) {
        let on = value != 0;
        let bytes = value.max(0) as usize;
        // The socket is there as long as this is.
        let _ = match name {
            c::SO_REUSEADDR => self.tell(|options| options.reuse_address = on),
            c::SO_REUSEPORT => self.tell(|options| options.reuse_port = on),
            c::SO_BROADCAST => self.tell(|options| options.broadcast = on),
            c::SO_KEEPALIVE => self.tell(|options| options.keep_alive = on),
            c::SO_MARK => self.tell(|options| options.mark = value as u32),
            c::SO_LINGER => self.tell(|options| options.linger_s = u32::try_from(value).ok()),
            c::SO_SNDBUF => self.tell(|options| options.buffers.0 = bytes),
            c::SO_RCVBUF => self.tell(|options| options.buffers.1 = bytes),
            _ => Ok(()),
        };
    }

    fn tell(&self, change: impl FnOnce(&mut net::socket::Options)) -> Result<()> {
        self.with(|network| network.set_options(self.id, change))
    }
}

/// Options that are no integer: `TCP_INFO` and `TCP_CONGESTION`.
#[must_use]
pub fn structured_option(file: &SocketFile, level: u32, name: u32) -> Option<Vec<u8>> {
    let socket = file.socket.as_any().downcast_ref::<InetSocket>()?;
    match (level, name) {
        (IPPROTO_TCP, TCP_CONGESTION) => Some(b"cubic\0\0\0\0\0\0\0\0\0\0\0".to_vec()),
        (IPPROTO_TCP, TCP_INFO) => {
            let about = socket.with(|network| network.stream_info(socket.id)).ok()?;
            let mut info = vec![0; 232];
            info[0] = super::state_number(about.state);
            // Maximum segment sizes sent and received, and the path's unit.
            for (at, value) in [(16, about.mss), (20, about.mss), (56, about.mtu)] {
                info[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            Some(info)
        }
        _ => None,
    }
}
