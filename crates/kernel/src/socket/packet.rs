//! Packet sockets (`packet(7)`): frames as they come and go at a link, for `tcpdump` and its like. The taps are
//! in crate `net`; here are the system calls, and the ring.
//!
//! *The ring* (`PACKET_RX_RING`, version 2) is memory that the program maps: a row of places of one size, each
//! with a word that says whose it is. A frame is put into the next place that is the kernel's, and the program
//! gives it back by writing the word. Frames wait in the tap until the program looks at the socket: who has a
//! ring polls it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use abi::{Errno, Result};
use clock::WaitQueue;
use mem::{Account, Page};
use net::tap::{ALL, Tap, Tapped};
use net::{LinkId, Mac, Network, SocketId};
use vfs::Capability;
use vfs::file::Events;

use super::{Ancillary, Caller, Outgoing, Received, SockAddr, Socket, consts as c};
use crate::kernel::Kernel;
use crate::mm::SharedPages;
use crate::namespaces::NetNs;
use crate::task::Task;

/// `SOL_PACKET` and its options.
const SOL_PACKET: u32 = 263;
mod option {
    pub const ADD_MEMBERSHIP: u32 = 1;
    pub const DROP_MEMBERSHIP: u32 = 2;
    pub const RX_RING: u32 = 5;
    pub const STATISTICS: u32 = 6;
    pub const AUXDATA: u32 = 8;
    pub const VERSION: u32 = 10;
    pub const HDRLEN: u32 = 11;
    pub const RESERVE: u32 = 12;
    pub const TIMESTAMP: u32 = 17;
    pub const IGNORE_OUTGOING: u32 = 23;
}

/// `TPACKET_V2`, the only version there is, and the bytes of its header.
const VERSION: u32 = 1;
const HEADER: usize = 32;
/// Bytes of `struct sockaddr_ll`.
const ADDRESS: usize = 20;
/// Room for the link's header, and for its longest.
const ALIGNMENT: usize = 16;
/// Bytes of a ring at most.
const RING_MAX: u64 = 64 << 20;
/// Whose a place is.
const STATUS_KERNEL: u32 = 0;
const STATUS_USER: u32 = 1;
/// Frames have been lost.
const STATUS_LOSING: u32 = 4;

const PAGE: u64 = 4096;

/// A ring that is set up.
struct Ring {
    pages: Rc<SharedPages>,
    account: Rc<Account>,
    block: u64,
    frame: u64,
    count: u64,
    /// The next place.
    head: u64,
    /// Bytes left free before each frame.
    reserve: usize,
}

impl Ring {
    /// Where a place is: places do not lie across blocks.
    fn place(&self, number: u64) -> u64 {
        let per_block = self.block / self.frame;
        number / per_block * self.block + number % per_block * self.frame
    }

    fn each_page(
        &self,
        at: u64,
        len: usize,
        mut f: impl FnMut(&Page, usize, std::ops::Range<usize>),
    ) -> Result<()> {
        let mut done = 0;
        while done < len {
            let at = at + done as u64;
            let offset = (at % PAGE) as usize;
            let count = (len - done).min(PAGE as usize - offset);
            let page = self.pages.page(at / PAGE, &self.account);
            let page = page.map_err(|_| Errno::ENOMEM)?;
            f(&page, offset, done..done + count);
            done += count;
        }
        Ok(())
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.each_page(at, bytes.len(), |page, offset, range| {
            page.write(offset, &bytes[range]);
        })
    }

    fn status(&self, number: u64) -> u32 {
        let mut raw = [0; 4];
        let read = self.each_page(self.place(number), 4, |page, offset, range| {
            page.read(offset, &mut raw[range]);
        });
        // What cannot be had is not the kernel's to fill.
        read.map_or(STATUS_USER, |()| u32::from_le_bytes(raw))
    }

    /// Puts a frame into its place: header, address, then the packet so that it is aligned.
    fn put(&self, tapped: &Tapped, epoch_ns: u64, cooked: bool, lost: bool) -> Result<()> {
        let at = self.place(self.head);
        let link_header = if cooked { 0 } else { 14 };
        let head = HEADER.next_multiple_of(ALIGNMENT) + ADDRESS;
        let net = (head + ALIGNMENT).next_multiple_of(ALIGNMENT) + self.reserve;
        let mac = net - link_header;
        let room = (self.frame as usize).saturating_sub(mac);
        let kept = tapped.data.len().min(room);
        let lost = if lost { STATUS_LOSING } else { 0 };
        let nanos = epoch_ns + tapped.at.0;
        let mut raw = [0; HEADER + ADDRESS];
        let words = [
            (4, tapped.full as u32),
            (8, kept as u32),
            (12, mac as u32 | (net as u32) << 16),
            (16, (nanos / clock::NANOS_PER_SEC) as u32),
            (20, (nanos % clock::NANOS_PER_SEC) as u32),
        ];
        for (at, word) in words {
            raw[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        raw[HEADER..].copy_from_slice(&address_of(tapped));
        self.write(at, &raw)?;
        self.write(at + mac as u64, &tapped.data[..kept])?;
        // The place is the program's only when everything is there.
        self.write(at, &(STATUS_USER | lost).to_le_bytes())
    }
}

/// `struct sockaddr_ll` of a frame.
fn address_of(tapped: &Tapped) -> [u8; ADDRESS] {
    let mut raw = link_address(tapped.protocol, tapped.index, tapped.hardware);
    raw[10] = tapped.kind;
    raw[11] = 6;
    raw[12..18].copy_from_slice(&tapped.source.0);
    raw
}

fn link_address(protocol: u16, index: u32, hardware: u16) -> [u8; ADDRESS] {
    let mut raw = [0; ADDRESS];
    raw[..2].copy_from_slice(&c::AF_PACKET.to_le_bytes());
    raw[2..4].copy_from_slice(&protocol.to_be_bytes());
    raw[4..8].copy_from_slice(&index.to_le_bytes());
    raw[8..10].copy_from_slice(&hardware.to_le_bytes());
    raw
}

/// A packet socket. Dropping it closes it.
pub struct PacketSocket {
    net: Rc<NetNs>,
    kernel: std::rc::Weak<Kernel>,
    id: SocketId,
    cooked: bool,
    wait: Rc<WaitQueue>,
    ring: RefCell<Option<Ring>>,
    version: Cell<u32>,
    reserve: Cell<u32>,
    auxdata: Cell<bool>,
}

/// A new packet socket; its protocol is given as it goes over the wire.
pub fn new(
    k: &Rc<Kernel>,
    t: &Task,
    net: &Rc<NetNs>,
    kind: u32,
    protocol: u32,
) -> Result<Rc<dyn Socket>> {
    if !k.capable_in(t, &net.owner, Capability::NetRaw) {
        return Err(Errno::EPERM);
    }
    let cooked = match kind {
        c::SOCK_RAW => false,
        c::SOCK_DGRAM => true,
        _ => return Err(Errno::ESOCKTNOSUPPORT),
    };
    let protocol = (protocol as u16).swap_bytes();
    let (id, wait) = net.with(|network| {
        let id = network.add_tap(net.id, cooked, protocol)?;
        Ok::<_, Errno>((id, Rc::clone(&network.tap(id)?.wait)))
    })?;
    Ok(Rc::new(PacketSocket {
        net: Rc::clone(net),
        kernel: Rc::downgrade(k),
        id,
        cooked,
        wait,
        ring: RefCell::new(None),
        version: Cell::new(0),
        reserve: Cell::new(0),
        auxdata: Cell::new(false),
    }))
}

impl PacketSocket {
    fn with<R>(&self, f: impl FnOnce(&mut Tap) -> R) -> Result<R> {
        self.net.with(|network| network.tap_mut(self.id).map(f))
    }

    /// The link an address names, and its protocol.
    fn parse(&self, address: &SockAddr) -> Result<(Option<LinkId>, u16)> {
        let raw = address.bytes();
        if raw.len() < 12 || address.family() != c::AF_PACKET {
            return Err(Errno::EINVAL);
        }
        let protocol = u16::from_be_bytes([raw[2], raw[3]]);
        let index = u32::from_le_bytes([raw[4], raw[5], raw[6], raw[7]]);
        let link = match index {
            0 => None,
            index => Some(
                self.net
                    .with(|network| network.link_by_index(self.net.id, index))?,
            ),
        };
        Ok((link, protocol))
    }

    /// Moves what has come from the tap into the ring, as far as places are the kernel's.
    fn fill(&self) {
        let mut ring = self.ring.borrow_mut();
        let (Some(ring), Some(kernel)) = (ring.as_mut(), self.kernel.upgrade()) else {
            return;
        };
        let epoch_ns = kernel.clock.realtime().saturating_sub(kernel.clock.now().0);
        while ring.status(ring.head) == STATUS_KERNEL {
            let Ok(Some(tapped)) = self.with(|tap| tap.next(false)) else {
                return;
            };
            if ring.put(&tapped, epoch_ns, self.cooked, false).is_err() {
                return;
            }
            ring.head = (ring.head + 1) % ring.count;
        }
    }

    /// The place before the next one is the program's: it has something to read.
    fn has_place_to_read(&self) -> bool {
        let ring = self.ring.borrow();
        ring.as_ref().is_some_and(|ring| {
            let before = (ring.head + ring.count - 1) % ring.count;
            ring.status(before) != STATUS_KERNEL
        })
    }

    fn set_ring(&self, k: &Kernel, value: &[u8]) -> Result<()> {
        let word = |at: usize| -> Result<u64> {
            let raw = value.get(at..at + 4).ok_or(Errno::EINVAL)?;
            Ok(u64::from(u32::from_le_bytes([
                raw[0], raw[1], raw[2], raw[3],
            ])))
        };
        let (block, blocks, frame, frames) = (word(0)?, word(4)?, word(8)?, word(12)?);
        if blocks == 0 {
            *self.ring.borrow_mut() = None;
            return if frames == 0 {
                Ok(())
            } else {
                Err(Errno::EINVAL)
            };
        }
        if self.ring.borrow().is_some() {
            return Err(Errno::EBUSY);
        }
        let least = HEADER + ADDRESS + self.reserve.get() as usize;
        let fits = self.version.get() == VERSION
            && block > 0
            && block % PAGE == 0
            && frame >= least as u64
            && frame % ALIGNMENT as u64 == 0
            && frame <= block
            && block / frame * blocks == frames;
        if !fits {
            return Err(Errno::EINVAL);
        }
        if block * blocks > RING_MAX {
            return Err(Errno::ENOMEM);
        }
        *self.ring.borrow_mut() = Some(Ring {
            pages: SharedPages::new(),
            account: k.payer.account(),
            block,
            frame,
            count: frames,
            head: 0,
            reserve: self.reserve.get() as usize,
        });
        Ok(())
    }

    /// `PACKET_ADD_MEMBERSHIP`: listening to what is for others sets a flag of the link.
    fn set_membership(&self, value: &[u8], join: bool) -> Result<()> {
        const PROMISCUOUS: u16 = 1;
        if value.len() < 8 {
            return Err(Errno::EINVAL);
        }
        let index = u32::from_le_bytes([value[0], value[1], value[2], value[3]]);
        let kind = u16::from_le_bytes([value[4], value[5]]);
        self.net.with(|network| {
            let link = network.link_by_index(self.net.id, index)?;
            if kind != PROMISCUOUS {
                return Ok(());
            }
            let tap = network.tap_mut(self.id)?;
            if join {
                tap.promiscuous.push(link);
            } else {
                let at = tap.promiscuous.iter().position(|known| *known == link);
                tap.promiscuous.remove(at.ok_or(Errno::EADDRNOTAVAIL)?);
            }
            Ok(())
        })
    }

    /// `getsockopt(2)` of `SOL_PACKET`; `given` is what the program has put there.
    fn packet_option(&self, name: u32, given: &[u8]) -> Result<Vec<u8>> {
        let number = |value: u32| Ok(value.to_le_bytes().to_vec());
        match name {
            option::STATISTICS => {
                let (seen, drops) = self.with(Tap::take_statistics)?;
                Ok([seen.to_le_bytes(), drops.to_le_bytes()].concat())
            }
            option::VERSION => number(self.version.get()),
            option::HDRLEN => {
                let raw = given.first_chunk::<4>().ok_or(Errno::EINVAL)?;
                match u32::from_le_bytes(*raw) {
                    VERSION => number(HEADER as u32),
                    _ => Err(Errno::EINVAL),
                }
            }
            option::RESERVE => number(self.reserve.get()),
            option::AUXDATA => number(u32::from(self.auxdata.get())),
            option::TIMESTAMP => number(0),
            option::IGNORE_OUTGOING => number(u32::from(self.with(|tap| tap.ignores_outgoing)?)),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }
}

/// `getsockopt(2)` of `SOL_PACKET`; `None` for other sockets.
pub fn packet_option(
    socket: &dyn Socket,
    level: u32,
    name: u32,
    given: &[u8],
) -> Option<Result<Vec<u8>>> {
    let socket = socket.as_any().downcast_ref::<PacketSocket>()?;
    (level == SOL_PACKET).then(|| socket.packet_option(name, given))
}

impl Socket for PacketSocket {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn bind(&self, _caller: Caller<'_>, address: &SockAddr) -> Result<()> {
        let (link, protocol) = self.parse(address)?;
        self.net.with(|network| {
            let protocol = match protocol {
                0 => network.tap(self.id)?.protocol,
                protocol => protocol,
            };
            network.bind_tap(self.id, link, protocol)
        })
    }

    fn connect(&self, _caller: Caller<'_>, _address: &SockAddr, _nonblocking: bool) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    fn send(&self, _caller: Option<Caller<'_>>, message: Outgoing<'_>) -> Result<usize> {
        let (link, to) = match &message.to {
            Some(address) => {
                let raw = address.bytes();
                let to = raw.get(12..18).map(Mac::from_bytes);
                (self.parse(address)?, to)
            }
            None => (self.with(|tap| (tap.link, tap.protocol))?, None),
        };
        let (link, protocol) = (link.0.ok_or(Errno::ENXIO)?, link.1);
        let sent = message.data.len();
        self.net.with(|network: &mut Network| {
            if !self.cooked {
                return network.send_frame(link, message.data.to_vec());
            }
            let to = to.ok_or(Errno::EDESTADDRREQ)?;
            let from = network.link(link)?.mac;
            let mut frame = [&to.0[..], &from.0[..], &protocol.to_be_bytes()].concat();
            frame.extend_from_slice(message.data);
            network.send_frame(link, frame).map(|_| sent)
        })
    }

    fn receive(&self, buf: &mut [u8], flags: u32) -> Result<Received> {
        let next = self.with(|tap| match tap.error.take() {
            Some(errno) => Err(errno),
            // What has a ring comes by the ring.
            None if self.ring.borrow().is_some() => Ok(None),
            None => Ok(tap.next(flags & c::MSG_PEEK != 0)),
        })??;
        let tapped = next.ok_or(Errno::EAGAIN)?;
        let count = tapped.data.len().min(buf.len());
        buf[..count].copy_from_slice(&tapped.data[..count]);
        let mut ancillary = Ancillary::default();
        if self.auxdata.get() {
            // struct tpacket_auxdata: status, lengths, where headers begin, no VLAN.
            let mut raw = [0; 20];
            raw[..4].copy_from_slice(&STATUS_USER.to_le_bytes());
            raw[4..8].copy_from_slice(&(tapped.full as u32).to_le_bytes());
            raw[8..12].copy_from_slice(&(tapped.data.len() as u32).to_le_bytes());
            let net: u16 = if self.cooked { 0 } else { 14 };
            raw[14..16].copy_from_slice(&net.to_le_bytes());
            ancillary
                .others
                .push((SOL_PACKET, option::AUXDATA, raw.to_vec()));
        }
        Ok(Received {
            count,
            full: tapped.data.len(),
            from: Some(SockAddr::new(&address_of(&tapped))),
            ancillary,
            flags: 0,
        })
    }

    fn shutdown(&self, _read: bool, _write: bool) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    fn local_name(&self) -> Result<SockAddr> {
        self.net.with(|network| {
            let tap = network.tap(self.id)?;
            let Some(link) = tap.link.and_then(|link| network.link(link).ok()) else {
                return Ok(SockAddr::new(&link_address(tap.protocol, 0, 0)));
            };
            let hardware = if link.is_loopback() { 772 } else { 1 };
            let mut raw = link_address(tap.protocol, link.index, hardware);
            raw[11] = 6;
            raw[12..18].copy_from_slice(&link.mac.0);
            Ok(SockAddr::new(&raw))
        })
    }

    fn peer_name(&self) -> Result<SockAddr> {
        Err(Errno::EOPNOTSUPP)
    }

    fn poll(&self, waker: Option<&Waker>) -> Events {
        if let Some(waker) = waker {
            self.wait.register(waker);
        }
        self.fill();
        let (waits, failed) = self
            .with(|tap| (tap.is_readable(), tap.error.is_some()))
            .unwrap_or((false, true));
        let mut events = Events::OUT | Events::WRNORM;
        let readable = match self.ring.borrow().is_some() {
            true => self.has_place_to_read(),
            false => waits,
        };
        if readable {
            events |= Events::IN | Events::RDNORM;
        }
        if failed {
            events |= Events::ERR;
        }
        events
    }

    fn take_error(&self) -> Option<Errno> {
        self.with(|tap| tap.error.take()).ok().flatten()
    }

    fn readable(&self) -> usize {
        self.with(|tap| tap.first_len()).unwrap_or(0)
    }

    fn set_option(&self, caller: Caller<'_>, level: u32, name: u32, value: &[u8]) -> Result<()> {
        if level != SOL_PACKET {
            return Err(Errno::ENOPROTOOPT);
        }
        let number = || {
            let raw = value.first_chunk::<4>().ok_or(Errno::EINVAL)?;
            Ok::<_, Errno>(u32::from_le_bytes(*raw))
        };
        match name {
            option::ADD_MEMBERSHIP => self.set_membership(value, true),
            option::DROP_MEMBERSHIP => self.set_membership(value, false),
            option::RX_RING => self.set_ring(caller.k, value),
            option::VERSION if self.ring.borrow().is_some() => Err(Errno::EBUSY),
            option::VERSION if number()? > VERSION => Err(Errno::EINVAL),
            option::VERSION => {
                self.version.set(number()?);
                Ok(())
            }
            option::RESERVE if self.ring.borrow().is_some() => Err(Errno::EBUSY),
            option::RESERVE if number()? > 0xffff => Err(Errno::EINVAL),
            option::RESERVE => {
                self.reserve.set(number()?);
                Ok(())
            }
            option::AUXDATA => {
                self.auxdata.set(number()? != 0);
                Ok(())
            }
            // There is only the kernel's own time.
            option::TIMESTAMP => Ok(()),
            option::IGNORE_OUTGOING => {
                let ignores = number()? != 0;
                self.with(|tap| tap.ignores_outgoing = ignores)
            }
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn attach_filter(&self, program: Option<net::bpf::Program>) -> Result<()> {
        self.with(|tap| tap.program = program)
    }

    fn page(&self, index: u64) -> Result<Option<Page>> {
        let ring = self.ring.borrow();
        let ring = ring.as_ref().ok_or(Errno::EINVAL)?;
        if index >= ring.block * (ring.count / (ring.block / ring.frame)) / PAGE {
            return Err(Errno::EINVAL);
        }
        let page = ring.pages.page(index, &ring.account);
        page.map(Some).map_err(|_| Errno::ENOMEM)
    }
}

impl Drop for PacketSocket {
    fn drop(&mut self) {
        self.net.with(|network| network.drop_tap(self.id));
    }
}

/// The lines of `/proc/net/packet`.
#[must_use]
pub fn proc_packet(net: &NetNs) -> String {
    let mut text =
        String::from("sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n");
    let files = super::sockets_of(net);
    for file in files.iter().filter(|file| file.family == c::AF_PACKET) {
        let Some(socket) = file.socket.as_any().downcast_ref::<PacketSocket>() else {
            continue;
        };
        let shown = net.stack.read(|network| {
            let tap = network.tap(socket.id).ok()?;
            let link = tap.link.and_then(|link| network.link(link).ok());
            Some((tap.protocol, link.map_or(0, |link| link.index)))
        });
        let (protocol, index) = shown.unwrap_or((ALL, 0));
        text += &format!(
            "{:016x} 3      {:<4} {protocol:04x}   {index:<5} 1 {:<6} {:<6} {:<6}\n",
            file.ino,
            file.kind,
            socket.readable(),
            file.uid,
            file.ino,
        );
    }
    text
}
