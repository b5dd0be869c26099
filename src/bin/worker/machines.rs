//! The engine the worker drives in the product: crate `playground`.
//!
//! Only names and units are translated here. Time at the seam is nanoseconds since 1970; the
//! machines count from the moment they were made.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use clock::Instant;
use playground::internet::{self, Hint};
use playground::{Config, Event, Playground, ports};

use drydock::docker::Look;
use drydock::internet::{InternetAnswer, InternetRequest};
use drydock::network::{Cable, CaptureStep};
use drydock::ports::{PortEvent, PortRequest};
use drydock::protocol::FromWorker;
use drydock::worker::{Engine, FetchRequest, Fetched, Slice, TransferStep};

use crate::docker::{self, Moves};
use crate::looks::{self, Looks};
use crate::trace::Trace;

/// How often the page is told of memory and CPU.
const STATS_NS: u64 = 1_000_000_000;

/// The machines.
pub struct Machines {
    playground: Playground,
    epoch_ns: u64,
    /// Names of running machines, for their measurements.
    names: Vec<String>,
    /// Of machines that are or were traced.
    traces: BTreeMap<String, Trace>,
    /// Of the network, as far as the page looks at it.
    looks: Looks,
    /// Of images on their way in and out.
    moves: Moves,
    measured: Instant,
    /// The last instant a turn was called for.
    turned: Instant,
}

/// A playground whose instant 0 is now and whose machines crash alone.
pub fn open(seed: u64, now_ns: u64) -> Result<Box<dyn Engine>, String> {
    let config = Config {
        seed,
        epoch_ns: now_ns,
        guard: crate::browser::guard,
        ..Config::default()
    };
    let mut playground = Playground::new(config);
    playground.preload();
    Ok(Box::new(Machines {
        playground,
        epoch_ns: now_ns,
        names: Vec::new(),
        traces: BTreeMap::new(),
        looks: Looks::default(),
        moves: Moves::default(),
        measured: Instant(0),
        turned: Instant(0),
    }))
}

impl Machines {
    fn translate(&mut self, event: Event) -> FromWorker {
        match event {
            Event::Added { name, ip } => {
                self.names.push(name.clone());
                self.looks.tell_cable(&self.playground, &name);
                FromWorker::InstanceAdded {
                    // A machine is called what it is named.
                    hostname: name.clone(),
                    name,
                    ip,
                }
            }
            Event::Failed { name, text } => FromWorker::InstanceFailed {
                text: format!("{name}: {text}"),
            },
            Event::Deleted { name } => {
                self.names.retain(|known| *known != name);
                self.traces.remove(&name);
                self.looks.forget(&name);
                FromWorker::InstanceDeleted { name }
            }
            Event::Restarted { name } => {
                self.looks.tell_cable(&self.playground, &name);
                FromWorker::Power { name, on: true }
            }
            Event::Off { name } => FromWorker::Power { name, on: false },
            Event::Crashed { name, cause } => {
                self.names.retain(|known| *known != name);
                FromWorker::Crashed { name, cause }
            }
            Event::Hint(Hint::NoInternet { name }) => FromWorker::NoInternet { name },
            Event::Hint(Hint::NoTls) => FromWorker::NoTls,
            Event::Hint(Hint::NoPackage { name, list }) => FromWorker::NoPackage { name, list },
        }
    }

    fn measure(&mut self, messages: &mut Vec<FromWorker>) {
        for name in &self.names {
            if let Some(stats) = self.playground.stats(name) {
                messages.push(FromWorker::Stats {
                    name: name.clone(),
                    mem_used: stats.memory_used,
                    mem_limit: stats.memory_limit,
                    cpu_percent: stats.cpu_percent,
                });
                messages.push(FromWorker::Ports {
                    name: name.clone(),
                    ports: self.playground.open_ports(name),
                });
            }
        }
    }
}

impl Engine for Machines {
    fn add_instance(&mut self) -> Result<(), String> {
        self.playground.add_instance().map(drop)
    }

    fn delete_instance(&mut self, name: &str) -> Result<(), String> {
        self.playground.delete_instance(name)
    }

    fn restart_instance(&mut self, name: &str) -> Result<(), String> {
        self.playground.restart_instance(name)
    }

    fn input(&mut self, name: &str, bytes: &[u8]) {
        if let Some(machine) = self.playground.machine(name) {
            machine.input(bytes);
        }
    }

    fn resize(&mut self, name: &str, cols: u16, rows: u16) {
        self.playground.resize(name, cols, rows);
    }

    fn trace(&mut self, name: &str, on: bool) {
        if let Some(machine) = self.playground.machine(name) {
            let trace = self.traces.entry(name.to_owned()).or_default().clone();
            let sink = Box::new(move |line: &str| trace.line(line));
            machine.trace(on.then_some(sink as _));
        }
    }

    fn set_cable(&mut self, name: &str, cable: Cable) {
        self.playground.lan().set_cable(name, looks::to_net(cable));
        self.looks.tell_cable(&self.playground, name);
    }

    fn watch(&mut self, name: &str, on: bool) {
        self.looks.watch(&self.playground, name, on);
    }

    fn capture(&mut self, name: &str, link: u32, step: CaptureStep) -> Result<(), String> {
        self.looks.capture(&mut self.playground, name, link, step)
    }

    fn fetched(&mut self, id: u32, answer: Result<Fetched, String>) {
        let answer = answer.map(|fetched| playground::Fetched {
            status: fetched.status,
            body: fetched.body.into(),
        });
        self.playground.fetched(id, answer);
    }

    fn requests(&mut self) -> Vec<FetchRequest> {
        let requests = self.playground.take_requests().into_iter();
        requests
            .map(|request| FetchRequest {
                id: request.id,
                path: request.path,
                range: request.range,
                immutable: request.immutable,
                label: request.label,
            })
            .collect()
    }

    fn turn(&mut self, now_ns: u64, fuel: u64) -> Slice {
        let now = Instant(now_ns.saturating_sub(self.epoch_ns));
        self.turned = now;
        let turn = self.playground.turn(now, fuel);
        if turn.busy {
            return Slice::Busy;
        }
        // Idle machines are measured too.
        let measure = (!self.names.is_empty()).then(|| self.measured.plus(STATS_NS));
        let packets = self.looks.next_deadline(&mut self.playground);
        match [turn.next_deadline, measure, packets]
            .into_iter()
            .flatten()
            .min()
        {
            Some(deadline) => Slice::Until(self.epoch_ns.saturating_add(deadline.0)),
            None => Slice::Idle,
        }
    }

    fn output_ready(&mut self) -> Vec<String> {
        let mut names = self.playground.output_ready();
        let traced = self.traces.iter().filter(|(_, trace)| !trace.is_empty());
        for (name, _) in traced {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    fn output(&mut self, name: &str, bytes_max: usize) -> Vec<u8> {
        let trace = self.traces.get(name);
        let mut bytes = trace.map_or_else(Vec::new, |trace| trace.take(bytes_max));
        let left = bytes_max - bytes.len().min(bytes_max);
        bytes.extend(self.playground.output(name, left));
        bytes
    }

    fn port_request(&mut self, id: u32, request: PortRequest, body: Vec<u8>) {
        // The service worker has looked: it is four numbers.
        let ip = request.ip.parse().unwrap_or(Ipv4Addr::UNSPECIFIED);
        let request = ports::PortRequest {
            ip,
            port: request.port,
            method: request.method,
            target: request.target,
            headers: request.headers,
            body,
        };
        self.playground.ports().request(id, request);
    }

    fn port_taken(&mut self, id: u32, bytes: usize) {
        self.playground.ports().taken(id, bytes);
    }

    fn port_cancel(&mut self, id: u32) {
        self.playground.ports().cancel(id);
    }

    fn port_events(&mut self) -> Vec<PortEvent> {
        let events = self.playground.ports().take_events().into_iter();
        let event = |event| match event {
            ports::PortEvent::Head {
                id,
                status,
                headers,
            } => PortEvent::Head {
                id,
                status,
                headers,
            },
            ports::PortEvent::Data { id, bytes } => PortEvent::Data { id, bytes },
            ports::PortEvent::End { id } => PortEvent::End { id },
            ports::PortEvent::Failed { id, text } => PortEvent::Failed { id, text },
        };
        events.map(event).collect()
    }

    fn internet(&mut self, on: bool) {
        self.playground.lan().gateway().internet().switch(on);
    }

    fn internet_requests(&mut self) -> Vec<InternetRequest> {
        let requests = self.playground.lan().gateway().internet().take_requests();
        let requests = requests.into_iter();
        requests
            .map(|request| InternetRequest {
                id: request.id,
                method: request.method,
                address: request.address,
                headers: request.headers,
                body: request.body,
            })
            .collect()
    }

    fn internet_answer(&mut self, id: u32, answer: InternetAnswer) {
        let answer = match answer {
            InternetAnswer::Answered {
                status,
                headers,
                body,
            } => Ok(internet::InternetResponse {
                status,
                headers,
                body,
            }),
            InternetAnswer::Cors => Err(internet::Refusal::Cors),
            InternetAnswer::Unreachable { text } => Err(internet::Refusal::Unreachable(text)),
        };
        let gateway = self.playground.lan().gateway();
        gateway.internet().answer(id, answer);
    }

    fn look(&mut self, name: &str, look: Option<Look>) {
        self.playground.look(name, look);
    }

    fn load_images(&mut self, name: &str, id: u32) -> Result<(), String> {
        self.playground.load_images(name, id)
    }

    fn load_piece(&mut self, id: u32, bytes: Vec<u8>) {
        self.playground.transfers().give(id, bytes);
    }

    fn save_image(&mut self, name: &str, id: u32, image: &str) -> Result<(), String> {
        self.playground.save_image(name, id, image)
    }

    fn piece_taken(&mut self, id: u32) {
        self.playground.transfers().taken(id);
    }

    fn cancel_transfer(&mut self, id: u32) {
        self.playground.transfers().cancel(id);
    }

    fn transfer_steps(&mut self) -> Vec<TransferStep> {
        self.moves.take_steps()
    }

    fn restored(&mut self, now_ns: u64) {
        // The machines' own time stood still, as in a computer that was suspended.
        self.epoch_ns = now_ns.saturating_sub(self.turned.0);
        self.names.clear();
        self.traces.clear();
        self.looks = Looks::default();
        self.moves = Moves::default();
        self.playground.resume(now_ns);
    }

    fn events(&mut self, now_ns: u64) -> Vec<FromWorker> {
        let events = self.playground.take_events();
        let mut messages: Vec<_> = events
            .into_iter()
            .map(|event| self.translate(event))
            .collect();
        let now = Instant(now_ns.saturating_sub(self.epoch_ns));
        if now.since(self.measured) >= STATS_NS {
            self.measured = now;
            self.measure(&mut messages);
            self.looks.tell_interfaces(&self.playground);
        }
        self.looks.tell_packets(&mut self.playground, now);
        messages.append(&mut self.looks.take());
        messages.extend(self.playground.views().take().into_iter().map(docker::told));
        for event in self.playground.transfers().take_events() {
            messages.extend(self.moves.hear(event));
        }
        messages
    }
}
