//! Who has which port in a network namespace.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::{Rc, Weak};

use abi::{Errno, Result};

use super::Endpoint;
use crate::namespaces::NetNs;

/// The range ports are taken from that nobody asked for (`ip_local_port_range`).
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32768..=60999;

/// A socket that can have a port.
pub(super) trait Portable {
    /// Where it is bound.
    fn bound_to(&self) -> Option<Endpoint>;
    /// An IPv6 socket that takes no IPv4 (`IPV6_V6ONLY`).
    fn is_v6_only(&self) -> bool;
    /// Whether both may have the same port.
    fn shares_with(&self, other: &Self) -> bool;
}

/// The ports of one protocol.
pub(super) struct Ports<T> {
    by_port: RefCell<BTreeMap<u16, Vec<Weak<T>>>>,
    next: Cell<u16>,
}

impl<T> Default for Ports<T> {
    fn default() -> Self {
        Ports {
            by_port: RefCell::default(),
            next: Cell::new(*EPHEMERAL.start()),
        }
    }
}

impl<T: Portable + 'static> Ports<T> {
    /// The ports of a namespace.
    pub fn of(net: &NetNs) -> Rc<Ports<T>> {
        net.state.get_or_insert_with(Ports::default)
    }

    fn at(&self, port: u16) -> Vec<Rc<T>> {
        self.by_port
            .borrow()
            .get(&port)
            .map_or_else(Vec::new, |sockets| {
                sockets.iter().filter_map(Weak::upgrade).collect()
            })
    }

    /// Gives a socket its port, or a free one for port 0; the endpoint it has now.
    pub fn take(&self, socket: &Rc<T>, wanted: Endpoint) -> Result<Endpoint> {
        let mut endpoint = wanted;
        if wanted.port == 0 {
            endpoint.port = self.free_port(socket, wanted.ip).ok_or(Errno::EADDRINUSE)?;
        } else if !self.is_free(socket, wanted) {
            return Err(Errno::EADDRINUSE);
        }
        let mut by_port = self.by_port.borrow_mut();
        by_port
            .entry(endpoint.port)
            .or_default()
            .push(Rc::downgrade(socket));
        Ok(endpoint)
    }

    fn is_free(&self, socket: &Rc<T>, wanted: Endpoint) -> bool {
        self.at(wanted.port).iter().all(|other| {
            let clash = other.bound_to().is_some_and(|bound| {
                overlap(wanted.ip, socket.is_v6_only(), bound.ip, other.is_v6_only())
            });
            Rc::ptr_eq(other, socket) || !clash || socket.shares_with(other)
        })
    }

    fn free_port(&self, socket: &Rc<T>, ip: IpAddr) -> Option<u16> {
        for _ in EPHEMERAL {
            let port = self.next.get();
            self.next.set(if port == *EPHEMERAL.end() {
                *EPHEMERAL.start()
            } else {
                port + 1
            });
            let nobody = self.at(port).iter().all(|other| Rc::ptr_eq(other, socket));
            if nobody && self.is_free(socket, Endpoint { ip, port }) {
                return Some(port);
            }
        }
        None
    }

    /// The socket is gone, or not bound any more.
    pub fn give_back(&self, port: u16, socket: *const T) {
        let mut by_port = self.by_port.borrow_mut();
        if let Some(sockets) = by_port.get_mut(&port) {
            sockets
                .retain(|other| !std::ptr::eq(other.as_ptr(), socket) && other.strong_count() > 0);
            if sockets.is_empty() {
                by_port.remove(&port);
            }
        }
    }

    /// Who receives what is sent to `target`: the one bound to that very address before one bound to any.
    /// Among equals the latest.
    pub fn find(&self, target: Endpoint, wanted: impl Fn(&T) -> bool) -> Option<Rc<T>> {
        let sockets = self.at(target.port);
        let takes = |socket: &&Rc<T>, exact: bool| {
            socket
                .bound_to()
                .is_some_and(|bound| match (bound.ip, target.ip) {
                    (own, there) if exact => own == there,
                    (IpAddr::V4(own), IpAddr::V4(_)) => own.is_unspecified(),
                    (IpAddr::V6(own), IpAddr::V6(_)) => own.is_unspecified(),
                    (IpAddr::V6(own), IpAddr::V4(_)) => {
                        own.is_unspecified() && !socket.is_v6_only()
                    }
                    _ => false,
                })
                && wanted(socket)
        };
        let found = [true, false]
            .into_iter()
            .find_map(|exact| sockets.iter().rev().find(|socket| takes(socket, exact)));
        found.cloned()
    }
}

/// Both addresses could be meant by one packet.
fn overlap(a: IpAddr, a_v6_only: bool, b: IpAddr, b_v6_only: bool) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
        (IpAddr::V6(a), IpAddr::V6(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
        (IpAddr::V6(a), IpAddr::V4(_)) => a.is_unspecified() && !a_v6_only,
        (IpAddr::V4(_), IpAddr::V6(b)) => b.is_unspecified() && !b_v6_only,
    }
}
