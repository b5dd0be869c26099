//! Options of TCP, IP and IPv6: what programs set is kept and given back; little of it has an effect on a
//! loopback that loses and delays nothing.

use std::cell::RefCell;

use abi::{Errno, Result};

use super::super::{SocketFile, consts as c};

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
        // Joining and leaving groups: there is nobody to hear from.
        if level == IPPROTO_IP && matches!(name, 35 | 36)
            || level == IPPROTO_IPV6 && matches!(name, 20 | 21)
        {
            return Err(Errno::ENODEV);
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

/// Options that are no integer: `TCP_INFO` and `TCP_CONGESTION`.
#[must_use]
pub fn structured_option(file: &SocketFile, level: u32, name: u32) -> Option<Vec<u8>> {
    let tcp = file.socket.as_any().downcast_ref::<super::TcpSocket>()?;
    match (level, name) {
        (IPPROTO_TCP, TCP_CONGESTION) => Some(b"cubic\0\0\0\0\0\0\0\0\0\0\0".to_vec()),
        (IPPROTO_TCP, TCP_INFO) => {
            let mut info = vec![0; 232];
            info[0] = tcp.state_number();
            // Maximum segment sizes sent and received, and the path's unit.
            for (at, value) in [(16, 65483u32), (20, 65483), (56, 65535)] {
                info[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            Some(info)
        }
        _ => None,
    }
}
