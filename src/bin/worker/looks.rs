//! The page's looks at the network: cables, interfaces and captures, told only while somebody looks.

use std::collections::BTreeSet;

use clock::Instant;
use playground::{Fault, Playground, capture};

use drydock::network::{Cable, CaptureStep, Captured, Interface, Packet};
use drydock::protocol::FromWorker;
use drydock::store::PACKETS_SHOWN_MAX;

/// How often packets are told: a list that moves faster cannot be read.
const PACKETS_NS: u64 = 200_000_000;

/// See the module's comment.
#[derive(Default)]
pub struct Looks {
    /// Machines whose interfaces are looked at.
    watched: BTreeSet<String>,
    /// When packets were told last.
    told: Instant,
    messages: Vec<FromWorker>,
}

impl Looks {
    /// What there is to tell the page.
    pub fn take(&mut self) -> Vec<FromWorker> {
        std::mem::take(&mut self.messages)
    }

    /// A machine is gone.
    pub fn forget(&mut self, name: &str) {
        self.watched.remove(name);
    }

    /// How a machine's cable is.
    pub fn tell_cable(&mut self, playground: &Playground, name: &str) {
        if let Some(cable) = playground.lan().cable(name) {
            self.messages.push(FromWorker::Cable {
                name: name.to_owned(),
                cable: from_net(cable),
            });
        }
    }

    /// Begins or ends to tell of a machine's interfaces.
    pub fn watch(&mut self, playground: &Playground, name: &str, on: bool) {
        if on {
            self.watched.insert(name.to_owned());
            self.tell_interfaces(playground);
        } else {
            self.watched.remove(name);
        }
    }

    /// The interfaces of the machines that are looked at.
    pub fn tell_interfaces(&mut self, playground: &Playground) {
        for name in &self.watched {
            let Some(machine) = playground.machine(name) else {
                continue;
            };
            let interfaces = capture::interfaces(machine).into_iter().map(interface);
            self.messages.push(FromWorker::Interfaces {
                name: name.clone(),
                interfaces: interfaces.collect(),
            });
        }
    }

    /// A step of a capture.
    pub fn capture(
        &mut self,
        playground: &mut Playground,
        name: &str,
        link: u32,
        step: CaptureStep,
    ) -> Result<(), String> {
        match step {
            CaptureStep::Start => playground.start_capture(name, link)?,
            CaptureStep::Stop => playground.stop_capture(name, link),
            CaptureStep::Discard => {
                playground.stop_capture(name, link);
                playground.captures().discard(name, link);
                return Ok(());
            }
            CaptureStep::Save => {
                let bytes = playground.captures().file(name, link);
                self.messages.push(FromWorker::CaptureFile {
                    name: name.to_owned(),
                    link,
                    bytes: bytes.ok_or("nothing was captured")?,
                });
            }
        }
        self.tell(playground, name, link);
        Ok(())
    }

    fn tell(&mut self, playground: &mut Playground, name: &str, link: u32) {
        let captures = playground.captures();
        let packets = captures.take_lines(name, link, PACKETS_SHOWN_MAX);
        let kept = captures.kept(name, link);
        let captured = Captured {
            running: captures.running(name, link),
            frames: kept.frames as u64,
            bytes: kept.bytes as u64,
            dropped: kept.dropped,
        };
        self.messages.push(FromWorker::Packets {
            name: name.to_owned(),
            link,
            packets: packets.into_iter().map(packet).collect(),
            captured,
        });
    }

    /// What was captured since the last time, unless that was a moment ago.
    pub fn tell_packets(&mut self, playground: &mut Playground, now: Instant) {
        if now.since(self.told) < PACKETS_NS {
            return;
        }
        self.told = now;
        for (name, link) in playground.captures().untold() {
            self.tell(playground, &name, link);
        }
    }

    /// When there is something to tell.
    pub fn next_deadline(&self, playground: &mut Playground) -> Option<Instant> {
        let untold = !playground.captures().untold().is_empty();
        untold.then(|| self.told.plus(PACKETS_NS))
    }
}

fn interface(from: capture::Interface) -> Interface {
    Interface {
        link: from.link,
        name: from.name,
        container: from.container,
        mac: from.mac,
        addresses: from.addresses,
        running: from.running,
        packets: from.packets,
        bytes: from.bytes,
    }
}

fn packet(from: capture::Packet) -> Packet {
    Packet {
        number: from.number,
        after_us: from.after_ns / 1000,
        sent: from.sent,
        length: from.length as u32,
        source: from.line.source,
        destination: from.line.destination,
        protocol: from.line.protocol.to_owned(),
        info: from.line.info,
    }
}

/// A cable as the LAN takes it.
pub fn to_net(cable: Cable) -> playground::Cable {
    playground::Cable {
        plugged: cable.plugged,
        group: cable.part,
        fault: Fault {
            delay_ns: u64::from(cable.delay_us) * 1000,
            jitter_ns: u64::from(cable.jitter_us) * 1000,
            loss_ppm: cable.loss_ppm,
            rate_bps: cable.rate_bps.into(),
            ..Fault::default()
        },
    }
}

fn from_net(cable: playground::Cable) -> Cable {
    let fault = cable.fault;
    Cable {
        plugged: cable.plugged,
        part: cable.group,
        delay_us: (fault.delay_ns / 1000) as u32,
        jitter_us: (fault.jitter_ns / 1000) as u32,
        loss_ppm: fault.loss_ppm,
        rate_bps: fault.rate_bps as u32,
    }
}
