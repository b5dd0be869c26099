//! Datagrams with what comes along (`IP_PKTINFO`, `IP_RECVTTL`), and the error queue (`IP_RECVERR`).

use std::net::IpAddr;

use abi::{Errno, Result};
use net::socket::{Arrival, QueuedError};
use net::{Endpoint, Network};

use super::super::{Ancillary, Received, consts as c};
use super::options::{IPPROTO_IP, IPPROTO_IPV6};
use super::{InetSocket, emit_address};

/// Options that ask for something, and the control messages that bring it.
mod asked {
    pub const IP_TOS: u32 = 1;
    pub const IP_TTL: u32 = 2;
    pub const IP_PKTINFO: u32 = 8;
    pub const IP_RECVERR: u32 = 11;
    pub const IP_RECVTTL: u32 = 12;
    pub const IP_RECVTOS: u32 = 13;
    pub const IPV6_RECVERR: u32 = 25;
    pub const IPV6_RECVPKTINFO: u32 = 49;
    pub const IPV6_PKTINFO: u32 = 50;
    pub const IPV6_RECVHOPLIMIT: u32 = 51;
    pub const IPV6_HOPLIMIT: u32 = 52;
    pub const IPV6_RECVTCLASS: u32 = 66;
    pub const IPV6_TCLASS: u32 = 67;
}

impl InetSocket {
    fn asks(&self, level: u32, name: u32) -> bool {
        self.options
            .get(self.family, false, level, name)
            .is_ok_and(|value| value != 0)
    }

    /// Receives a datagram, cut to `buf`.
    pub(super) fn receive_arrival(&self, buf: &mut [u8], peek: bool) -> Result<Received> {
        let (arrival, index) = self.with(|network| {
            let arrival = network.receive_datagram(self.id, peek)?;
            let index = arrival.as_ref().map_or(0, |arrival| {
                InetSocket::index_of(network, Some(arrival.link))
            });
            Ok::<_, Errno>((arrival, index))
        })?;
        let Some(arrival) = arrival else {
            return Ok(Received::default());
        };
        let count = arrival.data.len().min(buf.len());
        buf[..count].copy_from_slice(&arrival.data[..count]);
        Ok(Received {
            count,
            full: arrival.data.len(),
            from: Some(emit_address(arrival.from, self.family, index)),
            ancillary: self.along(&arrival, index),
            flags: 0,
        })
    }

    /// What the program has asked to know beside.
    fn along(&self, arrival: &Arrival, index: u32) -> Ancillary {
        let mut along = Ancillary::default();
        let (ttl, tos) = (i32::from(arrival.ttl), i32::from(arrival.tos));
        if let IpAddr::V4(to) = arrival.to {
            if self.asks(IPPROTO_IP, asked::IP_PKTINFO) {
                let info = [index.to_le_bytes(), to.octets(), to.octets()].concat();
                along.others.push((IPPROTO_IP, asked::IP_PKTINFO, info));
            }
            if self.asks(IPPROTO_IP, asked::IP_RECVTTL) {
                along.numbers.push((IPPROTO_IP, asked::IP_TTL, ttl));
            }
            if self.asks(IPPROTO_IP, asked::IP_RECVTOS) {
                let tos = vec![arrival.tos];
                along.others.push((IPPROTO_IP, asked::IP_TOS, tos));
            }
        }
        if self.family != c::AF_INET6 {
            return along;
        }
        if self.asks(IPPROTO_IPV6, asked::IPV6_RECVPKTINFO) {
            let to = match arrival.to {
                IpAddr::V4(to) => to.to_ipv6_mapped(),
                IpAddr::V6(to) => to,
            };
            let info = [&to.octets()[..], &index.to_le_bytes()].concat();
            along.others.push((IPPROTO_IPV6, asked::IPV6_PKTINFO, info));
        }
        if self.asks(IPPROTO_IPV6, asked::IPV6_RECVHOPLIMIT) {
            along
                .numbers
                .push((IPPROTO_IPV6, asked::IPV6_HOPLIMIT, ttl));
        }
        if self.asks(IPPROTO_IPV6, asked::IPV6_RECVTCLASS) {
            along.numbers.push((IPPROTO_IPV6, asked::IPV6_TCLASS, tos));
        }
        along
    }

    /// Takes an entry of the error queue: what was sent, and why it did not arrive.
    pub(super) fn receive_error(&self, buf: &mut [u8]) -> Result<Received> {
        let error = self
            .with(|network: &mut Network| network.take_queued_error(self.id))
            .ok_or(Errno::EAGAIN)?;
        let count = error.data.len().min(buf.len());
        buf[..count].copy_from_slice(&error.data[..count]);
        let (level, kind) = if self.family == c::AF_INET {
            (IPPROTO_IP, asked::IP_RECVERR)
        } else {
            (IPPROTO_IPV6, asked::IPV6_RECVERR)
        };
        let mut ancillary = Ancillary::default();
        ancillary
            .others
            .push((level, kind, self.extended_error(&error)));
        Ok(Received {
            count,
            full: error.data.len(),
            from: Some(emit_address(error.destination, self.family, 0)),
            ancillary,
            flags: c::MSG_ERRQUEUE,
        })
    }

    /// `struct sock_extended_err` and the address of who sent the error.
    fn extended_error(&self, error: &QueuedError) -> Vec<u8> {
        let mut raw = (error.errno.0 as u32).to_le_bytes().to_vec();
        raw.extend_from_slice(&[error.origin, error.kind, error.code, 0]);
        raw.extend_from_slice(&error.info.to_le_bytes());
        raw.extend_from_slice(&[0; 4]);
        let offender = emit_address(Endpoint::new(error.offender, 0), self.family, 0);
        raw.extend_from_slice(offender.bytes());
        raw
    }
}
