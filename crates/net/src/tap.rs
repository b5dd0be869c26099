//! Packet sockets (`packet(7)`): who listens to the frames of links, and sends frames of its own.
//!
//! A tap sees what a link receives before anything is done with it, and what it sends last of all. One for all
//! protocols sees both; one for a single protocol sees what comes in and is not a bridge's.

use std::collections::VecDeque;
use std::rc::Rc;

use abi::{Errno, Result};
use clock::{Instant, WaitQueue};

use crate::bpf::{About, Program};
use crate::network::Network;
use crate::packet::{ETHERNET_BYTES, Frame, Mac};
use crate::types::{LinkId, NsId, SocketId};

/// `ETH_P_ALL`.
pub const ALL: u16 = 3;
/// Bytes that wait in a tap at most, each frame with what it costs beside; and taps of a machine.
const QUEUE_BYTES_MAX: usize = 2 << 20;
const OVERHEAD_BYTES: usize = 256;
const TAPS_MAX: usize = 1024;

/// `PACKET_…`: for this host, for everybody, for a group, for another, sent by this host.
const HOST: u8 = 0;
const BROADCAST: u8 = 1;
const MULTICAST: u8 = 2;
const OTHER_HOST: u8 = 3;
const OUTGOING: u8 = 4;

/// A frame that a tap has seen.
#[derive(Clone, Debug)]
pub struct Tapped {
    /// When.
    pub at: Instant,
    /// `PACKET_…`.
    pub kind: u8,
    /// Ethernet type.
    pub protocol: u16,
    /// Index of the link.
    pub index: u32,
    /// `ARPHRD_…` of the link.
    pub hardware: u16,
    /// Who sent it.
    pub source: Mac,
    /// Its bytes, as many as the filter wanted.
    pub data: Vec<u8>,
    /// How many it had.
    pub full: usize,
}

/// A packet socket.
#[derive(Debug)]
pub struct Tap {
    /// Its namespace.
    pub ns: NsId,
    /// The link it listens to; all if there is none.
    pub link: Option<LinkId>,
    /// The Ethernet type it listens to; 0 is none.
    pub protocol: u16,
    /// It sees packets without their link's header (`SOCK_DGRAM`).
    pub cooked: bool,
    /// What it sends itself it does not want to see (`PACKET_IGNORE_OUTGOING`).
    pub ignores_outgoing: bool,
    /// What it wants to see.
    pub program: Option<Program>,
    /// Links it asked to take what is for others (`PACKET_MR_PROMISC`), once for each time it asked.
    pub promiscuous: Vec<LinkId>,
    /// The error that waits.
    pub error: Option<Errno>,
    /// Woken when something arrives.
    pub wait: Rc<WaitQueue>,
    queue: VecDeque<Tapped>,
    bytes: usize,
    seen: u32,
    drops: u32,
}

impl Tap {
    /// Something waits.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Bytes of the first frame.
    #[must_use]
    pub fn first_len(&self) -> usize {
        self.queue.front().map_or(0, |tapped| tapped.data.len())
    }

    /// The next frame; with `peek` it stays.
    pub fn next(&mut self, peek: bool) -> Option<Tapped> {
        if peek {
            return self.queue.front().cloned();
        }
        let tapped = self.queue.pop_front()?;
        self.bytes -= tapped.data.len() + OVERHEAD_BYTES;
        Some(tapped)
    }

    /// Frames that came, and those among them that found no room, since the last call.
    pub fn take_statistics(&mut self) -> (u32, u32) {
        (
            std::mem::take(&mut self.seen),
            std::mem::take(&mut self.drops),
        )
    }

    fn add(&mut self, mut tapped: Tapped, about: &About) {
        if let Some(program) = &self.program {
            let wanted = program.run(&tapped.data, about) as usize;
            if wanted == 0 {
                return;
            }
            tapped.data.truncate(wanted);
        }
        self.seen = self.seen.wrapping_add(1);
        let cost = tapped.data.len() + OVERHEAD_BYTES;
        if self.bytes + cost > QUEUE_BYTES_MAX {
            self.drops = self.drops.wrapping_add(1);
            return;
        }
        self.bytes += cost;
        self.queue.push_back(tapped);
    }
}

impl Network {
    /// `socket(2)` of `AF_PACKET`.
    pub fn add_tap(&mut self, ns: NsId, cooked: bool, protocol: u16) -> Result<SocketId> {
        if self.taps.len() >= TAPS_MAX {
            return Err(Errno::ENOBUFS);
        }
        let id = self.fresh_socket();
        let tap = Tap {
            ns,
            link: None,
            protocol,
            cooked,
            ignores_outgoing: false,
            program: None,
            promiscuous: Vec::new(),
            error: None,
            wait: Rc::new(WaitQueue::new()),
            queue: VecDeque::new(),
            bytes: 0,
            seen: 0,
            drops: 0,
        };
        self.taps.insert(id, tap);
        Ok(id)
    }

    /// A tap.
    pub fn tap(&self, id: SocketId) -> Result<&Tap> {
        self.taps.get(&id).ok_or(Errno::EBADF)
    }

    /// A tap, to be changed.
    pub fn tap_mut(&mut self, id: SocketId) -> Result<&mut Tap> {
        self.taps.get_mut(&id).ok_or(Errno::EBADF)
    }

    /// The taps of a namespace.
    pub fn taps_of(&self, ns: NsId) -> impl Iterator<Item = (SocketId, &Tap)> {
        let taps = self.taps.iter().filter(move |(_, tap)| tap.ns == ns);
        taps.map(|(&id, tap)| (id, tap))
    }

    /// `bind(2)`: a link, or all; a link that is down is an error that waits.
    pub fn bind_tap(&mut self, id: SocketId, link: Option<LinkId>, protocol: u16) -> Result<()> {
        let is_down = match link {
            Some(link) => !self.link(link)?.up,
            None => false,
        };
        let tap = self.tap_mut(id)?;
        (tap.link, tap.protocol) = (link, protocol);
        tap.error = is_down.then_some(Errno::ENETDOWN);
        Ok(())
    }

    /// `close(2)`.
    pub fn drop_tap(&mut self, id: SocketId) {
        self.taps.remove(&id);
    }

    /// Sends a frame as it is.
    pub fn send_frame(&mut self, link: LinkId, bytes: Vec<u8>) -> Result<usize> {
        let about = self.link(link)?;
        if !about.up {
            return Err(Errno::ENETDOWN);
        }
        let len = bytes.len();
        if len < ETHERNET_BYTES {
            return Err(Errno::EINVAL);
        }
        if len - ETHERNET_BYTES > about.mtu as usize {
            return Err(Errno::EMSGSIZE);
        }
        self.transmit(link, Frame::new(bytes));
        self.run();
        Ok(len)
    }

    /// Shows a frame that has come in to who listens to everything.
    pub(crate) fn tap_received(&mut self, id: LinkId, frame: &Frame) {
        if !self.taps.is_empty() {
            self.show_taps(id, frame, false, |tap, _| tap == ALL);
        }
    }

    /// Shows a frame that is for the host's protocols to who listens to this one.
    pub(crate) fn tap_risen(&mut self, id: LinkId, frame: &Frame) {
        if !self.taps.is_empty() {
            self.show_taps(id, frame, false, |tap, protocol| tap == protocol);
        }
    }

    /// Shows a frame that goes out.
    pub(crate) fn tap_sent(&mut self, id: LinkId, frame: &Frame) {
        if !self.taps.is_empty() {
            self.show_taps(id, frame, true, |tap, _| tap == ALL);
        }
    }

    fn show_taps(
        &mut self,
        id: LinkId,
        frame: &Frame,
        outgoing: bool,
        listens: impl Fn(u16, u16) -> bool,
    ) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let protocol = frame.ethertype();
        let destination = frame.mac(0);
        let kind = match destination {
            _ if outgoing => OUTGOING,
            to if to.is_broadcast() => BROADCAST,
            to if !to.is_unicast() && !link.is_loopback() => MULTICAST,
            to if to == link.mac || link.is_loopback() => HOST,
            _ => OTHER_HOST,
        };
        let hardware = if link.is_loopback() { 772 } else { 1 };
        let (ns, index, source) = (link.ns, link.index, frame.mac(6));
        let mut whole: Option<Vec<u8>> = None;
        for tap in self.taps.values_mut() {
            let is_meant = tap.ns == ns
                && tap.link.is_none_or(|bound| bound == id)
                && listens(tap.protocol, protocol)
                && !(outgoing && tap.ignores_outgoing);
            if !is_meant {
                continue;
            }
            let bytes = whole.get_or_insert_with(|| {
                let mut frame = frame.clone();
                frame.complete();
                frame.bytes
            });
            let header = if tap.cooked { ETHERNET_BYTES } else { 0 };
            let data = bytes.get(header..).unwrap_or_default().to_vec();
            let about = About {
                protocol,
                kind,
                index,
                hardware,
                dice: self.rng.next_u64() as u32,
                network: ETHERNET_BYTES - header,
            };
            let tapped = Tapped {
                at: self.now,
                kind,
                protocol,
                index,
                hardware,
                source,
                full: data.len(),
                data,
            };
            let before = tap.queue.len();
            tap.add(tapped, &about);
            if tap.queue.len() > before {
                let queue = Rc::clone(&tap.wait);
                if !self.woken.iter().any(|known| Rc::ptr_eq(known, &queue)) {
                    self.woken.push(queue);
                }
            }
        }
    }

    /// Who listened to a link that went down, or away, is told.
    pub(crate) fn tap_down(&mut self, id: LinkId) {
        let mut woken = Vec::new();
        for tap in self.taps.values_mut().filter(|tap| tap.link == Some(id)) {
            tap.error = Some(Errno::ENETDOWN);
            woken.push(Rc::clone(&tap.wait));
        }
        for queue in woken {
            self.wake(&queue);
        }
    }
}
