//! Packet capture: what goes through the links of machines, to be looked at and to be saved.
//!
//! A link keeps copies of its frames only while somebody captures it; after each turn they are taken out of the
//! machine into a ring here, whose oldest frames make room. Lines are made of those that are looked at and of no
//! others. Links of all network namespaces are told, containers' too: that is what `tcpdump` would be started for
//! in each of them.

use std::collections::{BTreeMap, VecDeque};

use clock::Instant;
use net::link::{Captured, Link, LinkKind};
use net::{LinkId, Network, NsId, pcap};

use crate::dissect;
use crate::machine::Machine;

/// Frames kept of a link.
const FRAMES_MAX: usize = 20_000;
/// Bytes kept of a link.
const BYTES_MAX: usize = 8 << 20;
/// Links captured at once, in all machines.
const CAPTURES_MAX: usize = 8;

/// A link of a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Names it for [`Captures`].
    pub link: u32,
    /// Its name in its namespace.
    pub name: String,
    /// The container it is in; none for the machine's own.
    pub container: Option<String>,
    /// `loopback`, `ethernet`, `bridge`, `veth` or `dummy`.
    pub kind: &'static str,
    /// Its hardware address.
    pub mac: String,
    /// Its addresses with their prefixes.
    pub addresses: Vec<String>,
    /// It is up, and there is a carrier.
    pub running: bool,
    /// Frames received and sent.
    pub packets: [u64; 2],
    /// Bytes received and sent.
    pub bytes: [u64; 2],
}

/// A captured frame in one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Counted from 1 since the capture began.
    pub number: u64,
    /// Nanoseconds since then.
    pub after_ns: u64,
    /// The link sent it; it received it otherwise.
    pub sent: bool,
    /// Bytes of the frame.
    pub length: usize,
    /// What it says.
    pub line: dissect::Line,
}

/// What there is of a capture.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Frames that can be saved.
    pub frames: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Frames that had to make room.
    pub dropped: u64,
}

#[derive(Default)]
struct Capture {
    began: Instant,
    epoch_ns: u64,
    frames: VecDeque<Captured>,
    bytes: usize,
    /// Frames that are not kept any more.
    dropped: u64,
    /// Frames whose lines were taken or left out.
    told: u64,
    running: bool,
}

impl Capture {
    fn add(&mut self, frames: Vec<Captured>) {
        for frame in frames {
            self.bytes += frame.bytes.len();
            self.frames.push_back(frame);
        }
        while self.frames.len() > FRAMES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.frames.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes.len();
            self.dropped += 1;
        }
    }

    fn count(&self) -> u64 {
        self.dropped + self.frames.len() as u64
    }
}

/// See the module's comment.
#[derive(Default)]
pub struct Captures(BTreeMap<(String, u32), Capture>);

impl Captures {
    pub(crate) fn start(
        &mut self,
        machine: &Machine,
        link: u32,
        epoch_ns: u64,
    ) -> Result<(), String> {
        let name = &machine.config().name;
        let key = (name.clone(), link);
        let others = self.0.iter().filter(|(known, _)| **known != key);
        if others.filter(|(_, capture)| capture.running).count() >= CAPTURES_MAX {
            return Err(format!("at most {CAPTURES_MAX} captures at once"));
        }
        let began = machine.kernel().net.with(|network| {
            network.take_capture(LinkId(link));
            network.start_capture(LinkId(link))
        });
        began.map_err(|errno| format!("{name}: capture: {errno}"))?;
        let capture = Capture {
            began: machine.kernel().clock.now(),
            epoch_ns,
            running: true,
            ..Capture::default()
        };
        self.0.insert(key, capture);
        Ok(())
    }

    pub(crate) fn stop(&mut self, name: &str, machine: Option<&Machine>, link: u32) {
        let Some(capture) = self.0.get_mut(&(name.to_string(), link)) else {
            return;
        };
        capture.running = false;
        if let Some(machine) = machine {
            let rest = machine.kernel().net.with(|network| {
                let rest = network.take_capture(LinkId(link));
                network.stop_capture(LinkId(link));
                rest
            });
            capture.add(rest);
        }
    }

    /// Stops all captures of a machine, and drops what they hold.
    pub(crate) fn end(&mut self, name: &str, machine: Option<&Machine>) {
        let own = self.0.keys().filter(|(of, _)| of == name);
        for (_, link) in own.cloned().collect::<Vec<_>>() {
            self.stop(name, machine, link);
        }
        self.forget(name);
    }

    /// Drops what was captured of a machine.
    pub(crate) fn forget(&mut self, name: &str) {
        self.0.retain(|(of, _), _| of != name);
    }

    /// Drops what was captured of a link, once nobody looks any more.
    pub fn discard(&mut self, name: &str, link: u32) {
        self.0.remove(&(name.to_string(), link));
    }

    /// Takes the frames out of the machines. Costs nothing while nothing is captured.
    pub(crate) fn collect<'a>(&mut self, machine: impl Fn(&str) -> Option<&'a Machine>) {
        for ((name, link), capture) in &mut self.0 {
            if !capture.running {
                continue;
            }
            let Some(machine) = machine(name) else {
                capture.running = false;
                continue;
            };
            let gone = |network: &Network| network.link(LinkId(*link)).is_err();
            let (frames, gone) = machine
                .kernel()
                .net
                .with(|network| (network.take_capture(LinkId(*link)), gone(network)));
            capture.add(frames);
            capture.running = !gone;
        }
    }

    /// Captures with something that was not told.
    #[must_use]
    pub fn untold(&self) -> Vec<(String, u32)> {
        let untold = self.0.iter().filter(|(_, it)| it.told < it.count());
        untold.map(|(key, _)| key.clone()).collect()
    }

    /// The lines since the last call, the newest `max` of them.
    pub fn take_lines(&mut self, name: &str, link: u32, max: usize) -> Vec<Packet> {
        let Some(capture) = self.0.get_mut(&(name.to_string(), link)) else {
            return Vec::new();
        };
        let count = capture.count();
        let first = capture
            .told
            .max(count.saturating_sub(max as u64))
            .max(capture.dropped);
        capture.told = count;
        let skipped = (first - capture.dropped) as usize;
        let frames = capture.frames.iter().skip(skipped);
        let packet = |(index, frame): (usize, &Captured)| Packet {
            number: first + index as u64 + 1,
            after_ns: frame.at.since(capture.began),
            sent: frame.sent,
            length: frame.bytes.len(),
            line: dissect::dissect(&frame.bytes),
        };
        frames.enumerate().map(packet).collect()
    }

    /// What there is of a capture.
    #[must_use]
    pub fn kept(&self, name: &str, link: u32) -> Kept {
        let capture = self.0.get(&(name.to_string(), link));
        capture.map_or_else(Kept::default, |capture| Kept {
            frames: capture.frames.len(),
            bytes: capture.bytes,
            dropped: capture.dropped,
        })
    }

    /// Whether a link is being captured.
    #[must_use]
    pub fn running(&self, name: &str, link: u32) -> bool {
        let capture = self.0.get(&(name.to_string(), link));
        capture.is_some_and(|capture| capture.running)
    }

    /// A capture as a file for Wireshark and `tcpdump -r`.
    #[must_use]
    pub fn file(&self, name: &str, link: u32) -> Option<Vec<u8>> {
        let capture = self.0.get(&(name.to_string(), link))?;
        let mut file = pcap::header();
        for frame in &capture.frames {
            pcap::append(&mut file, frame, capture.epoch_ns);
        }
        Some(file)
    }
}

/// The links of a machine: its own, then those of its containers.
#[must_use]
pub fn interfaces(machine: &Machine) -> Vec<Interface> {
    let kernel = machine.kernel();
    let host = kernel.init_ns.net.id;
    let mut spaces: Vec<(NsId, Option<String>)> = vec![(host, None)];
    for (name, task) in machine.engine().sandboxes() {
        let ns = kernel.task(task.0).map(|task| task.ns().net.id);
        // Containers may share a namespace, of the host or of each other.
        if let Some(ns) = ns.filter(|ns| spaces.iter().all(|(known, _)| known != ns)) {
            spaces.push((ns, Some(name)));
        }
    }
    kernel.net.read(|network| {
        let all = spaces.iter().flat_map(|(ns, container)| {
            let links = network.links_of(*ns);
            links.map(|(id, link)| describe(network, id, link, container.clone()))
        });
        all.collect()
    })
}

fn describe(network: &Network, id: LinkId, link: &Link, container: Option<String>) -> Interface {
    let counters = &link.counters;
    Interface {
        link: id.0,
        name: link.name.clone(),
        container,
        kind: match link.kind {
            LinkKind::Loopback => "loopback",
            LinkKind::Ethernet { .. } => "ethernet",
            _ => link.kind.name().unwrap_or_default(),
        },
        mac: dissect::mac_text(link.mac),
        addresses: link
            .addresses
            .iter()
            .map(|address| address.cidr.to_string())
            .collect(),
        running: link.up && network.has_carrier(id),
        packets: [counters.rx_packets, counters.tx_packets],
        bytes: [counters.rx_bytes, counters.tx_bytes],
    }
}
