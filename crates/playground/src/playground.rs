//! All machines together, for the page's worker and the native console.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::rc::Rc;

use clock::{Clock, Executor, Instant, JoinHandle, NANOS_PER_SEC};
use kernel::Power;
use net::Cable;
use vfs::inode::FileSystem;

use crate::budget::Budget;
use crate::capture::Captures;
use crate::fetch::{FetchRequest, Fetched, Fetcher};
use crate::guard::{self, Guard};
use crate::internet::Hint;
use crate::lan::Lan;
use crate::machine::{Machine, MachineConfig, Off, Turned};
use crate::ports::Ports;
use crate::registry::StaticRegistry;
use crate::rootfs::{self, NodeImage};
use crate::transfer::Transfers;
use crate::views::{Look, Views};
use crate::web;

/// Machines at most, as in Play with Docker.
const MACHINES_MAX: usize = 5;

/// What runs on the consoles of machines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConsoleMode {
    /// Nothing: commands are run by [`Machine::run`].
    None,
    /// A login shell, once.
    Once,
    /// A login shell, and another one whenever it ends.
    Respawn,
}

/// What a playground is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Everything random follows from it.
    pub seed: u64,
    /// Nanoseconds from 1970 to instant 0.
    pub epoch_ns: u64,
    /// Memory of each machine, in bytes.
    pub memory: u64,
    /// Size of each machine's disk, in bytes.
    pub disk: u64,
    /// Bytes that all guests together may have, on disks and in memory.
    pub guests: u64,
    /// What runs on the consoles.
    pub console: ConsoleMode,
    /// The image of a machine's root file system, such as `drydock/node:latest`.
    pub node_image: String,
    /// What keeps a bug in one machine from ending all.
    pub guard: Guard,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            seed: 1,
            epoch_ns: 0,
            memory: 1 << 30,
            disk: 1 << 30,
            // A tab has 4 GiB at most, and a quarter of them for everything else.
            guests: 3 << 30,
            console: ConsoleMode::Respawn,
            node_image: "drydock/node:latest".to_string(),
            guard: guard::unwinding,
        }
    }
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A machine runs.
    Added {
        /// Its name.
        name: String,
        /// Its address.
        ip: String,
    },
    /// A machine could not be made.
    Failed {
        /// Its name would have been.
        name: String,
        /// Why.
        text: String,
    },
    /// A machine is gone.
    Deleted {
        /// Its name.
        name: String,
    },
    /// A bug of ours stopped a machine; its last screen stays.
    Crashed {
        /// Its name.
        name: String,
        /// Message, seed and turn.
        cause: String,
    },
    /// A machine begins anew, with the disks it had.
    Restarted {
        /// Its name.
        name: String,
    },
    /// A machine has switched itself off.
    Off {
        /// Its name.
        name: String,
    },
    /// Something about the network that a learner should know.
    Hint(Hint),
}

/// Load of a machine.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Stats {
    /// Bytes in use.
    pub memory_used: u64,
    /// Bytes it may use.
    pub memory_limit: u64,
    /// Share of the time since the last look in which it computed, in percent.
    pub cpu_percent: f64,
}

/// What a turn left behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn {
    /// There is more to compute at once.
    pub busy: bool,
    /// When something is to happen by itself.
    pub next_deadline: Option<Instant>,
}

struct Host {
    /// `None` after a crash, and while it is off.
    machine: Option<Machine>,
    /// While it is off.
    off: Option<Off>,
    /// What is looked at of its Docker.
    look: Option<Look>,
    /// What was done to its cable, while it is off.
    cable: Option<Cable>,
    /// When its load was looked at last, and how long it had been idle until then.
    looked: (Instant, u64),
}

/// The playground.
pub struct Playground {
    config: Config,
    clock: Clock,
    executor: Executor,
    fetcher: Fetcher,
    budget: Budget,
    lan: Lan,
    ports: Rc<Ports>,
    captures: Captures,
    views: Views,
    transfers: Transfers,
    hosts: BTreeMap<String, Host>,
    /// Machines that wait for the image.
    starting: BTreeSet<String>,
    /// The image on its way.
    loading: Option<JoinHandle<Result<Rc<NodeImage>, String>>>,
    image: Option<Rc<NodeImage>>,
    next_number: u64,
    /// Generation of the image's arrivals that machines were told of.
    arrivals_seen: u64,
    events: Vec<Event>,
}

impl Playground {
    /// A playground without machines.
    #[must_use]
    pub fn new(config: Config) -> Playground {
        let (clock, executor) = (Clock::new(config.epoch_ns), Executor::new());
        let (lan, fetcher) = (Lan::new(config.seed, &clock, &executor), Fetcher::new());
        web::start(lan.gateway(), &fetcher, &executor);
        Playground {
            budget: Budget::new(config.guests, MACHINES_MAX as u64, config.disk),
            ports: Ports::new(lan.gateway(), &executor, &clock),
            lan,
            captures: Captures::default(),
            views: Views::default(),
            transfers: Transfers::default(),
            clock,
            config,
            executor,
            fetcher,
            hosts: BTreeMap::new(),
            starting: BTreeSet::new(),
            loading: None,
            image: None,
            next_number: 1,
            arrivals_seen: 0,
            events: Vec::new(),
        }
    }

    /// Where its downloads are asked for.
    #[must_use]
    pub fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// What its own tasks run on: those that are no machine's.
    #[must_use]
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// The LAN its machines are on.
    #[must_use]
    pub fn lan(&self) -> &Lan {
        &self.lan
    }

    /// Requests to ports of its machines.
    #[must_use]
    pub fn ports(&self) -> &Rc<Ports> {
        &self.ports
    }

    /// What is captured of the links of machines.
    pub fn captures(&mut self) -> &mut Captures {
        &mut self.captures
    }

    /// Begins to capture what goes through a link of a machine, or anew.
    pub fn start_capture(&mut self, name: &str, link: u32) -> Result<(), String> {
        let machine = self.hosts.get(name).and_then(|host| host.machine.as_ref());
        let machine = machine.ok_or_else(|| format!("no such instance: {name}"))?;
        self.captures.start(machine, link, self.config.epoch_ns)
    }

    /// Captures no more; what was captured stays.
    pub fn stop_capture(&mut self, name: &str, link: u32) {
        let machine = self.hosts.get(name).and_then(|host| host.machine.as_ref());
        self.captures.stop(name, machine, link);
    }

    /// Looks at the Docker of a machine, or no more; [`Playground::views`] has what is seen.
    pub fn look(&mut self, name: &str, look: Option<Look>) {
        let Some(host) = self.hosts.get_mut(name) else {
            return;
        };
        host.look.clone_from(&look);
        match (&host.machine, look) {
            (Some(machine), Some(look)) => self.views.look(machine, look),
            _ => self.views.end(name),
        }
    }

    /// What is looked at of the Docker of machines.
    #[must_use]
    pub fn views(&self) -> &Views {
        &self.views
    }

    /// Begins to load an archive of images into the Docker of a machine.
    pub fn load_images(&self, name: &str, id: u32) -> Result<(), String> {
        let machine = self.machine(name);
        let machine = machine.ok_or_else(|| format!("no such instance: {name}"))?;
        self.transfers.load(machine, id)
    }

    /// Begins to read an image of the Docker of a machine as an archive.
    pub fn save_image(&self, name: &str, id: u32, image: &str) -> Result<(), String> {
        let machine = self.machine(name);
        let machine = machine.ok_or_else(|| format!("no such instance: {name}"))?;
        self.transfers.save(machine, id, image)
    }

    /// Images on their way in and out.
    #[must_use]
    pub fn transfers(&self) -> &Transfers {
        &self.transfers
    }

    /// The TCP ports that somebody on a machine listens on, as others on the LAN reach them.
    #[must_use]
    pub fn open_ports(&self, name: &str) -> Vec<u16> {
        let machine = self.machine(name);
        machine.map_or_else(Vec::new, |machine| self.lan.open_ports(machine.kernel()))
    }

    /// Downloads nobody has begun.
    #[must_use]
    pub fn take_requests(&self) -> Vec<FetchRequest> {
        self.fetcher.take_requests()
    }

    /// The answer to a download.
    pub fn fetched(&self, id: u32, answer: Result<Fetched, String>) {
        self.fetcher.answer(id, answer);
    }

    /// Starts a machine; gives its name. [`Event::Added`] or [`Event::Failed`] follows.
    pub fn add_instance(&mut self) -> Result<String, String> {
        if self.hosts.len() + self.starting.len() >= MACHINES_MAX {
            return Err("Max instances reached".to_string());
        }
        let name = format!("node{}", self.next_number);
        self.next_number += 1;
        self.preload();
        self.starting.insert(name.clone());
        Ok(name)
    }

    /// Begins to load the machines' image, if nobody has: a playground that is looked at has its first
    /// machine soon. What fails here is tried again for the machine, and told there.
    pub fn preload(&mut self) {
        if self.image.is_some() || self.loading.is_some() {
            return;
        }
        rv64::warm_up();
        let (fetcher, executor) = (self.fetcher.clone(), self.executor.clone());
        let (clock, image) = (self.clock.clone(), self.config.node_image.clone());
        let load = async move { rootfs::load(&fetcher, &executor, &clock, &image).await };
        self.loading = Some(self.executor.spawn(load));
    }

    /// Drops a machine with everything in it.
    pub fn delete_instance(&mut self, name: &str) -> Result<(), String> {
        if !self.starting.remove(name) {
            let host = self.hosts.remove(name);
            let host = host.ok_or_else(|| format!("no such instance: {name}"))?;
            self.lan.leave(name);
            self.captures.forget(name);
            self.views.end(name);
            self.transfers.forget(name);
            // A machine that is being deleted can do no more harm: what ends its end is nobody's business.
            let _ = guard::run(self.config.guard, || drop(host));
        }
        self.events.push(Event::Deleted {
            name: name.to_string(),
        });
        Ok(())
    }

    /// Restarts a machine in good order, or switches one on that is off. Asked for again on its way down, it
    /// ends at once. [`Event::Restarted`] follows.
    pub fn restart_instance(&mut self, name: &str) -> Result<(), String> {
        let host = self.hosts.get(name);
        let host = host.ok_or_else(|| format!("no such instance: {name}"))?;
        if let Some(machine) = &host.machine {
            machine.init().press(Power::Restart);
        } else if host.off.is_some() {
            self.switch_on(name);
        }
        Ok(())
    }

    /// A machine, as long as it runs.
    #[must_use]
    pub fn machine(&self, name: &str) -> Option<&Machine> {
        self.hosts.get(name)?.machine.as_ref()
    }

    /// Names of machines with something to show.
    #[must_use]
    pub fn output_ready(&self) -> Vec<String> {
        self.hosts
            .iter()
            .filter(|(_, host)| {
                host.machine.as_ref().is_some_and(Machine::has_output)
                    || host.off.as_ref().is_some_and(Off::has_output)
            })
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Takes at most `bytes_max` of what a machine's console shows.
    #[must_use]
    pub fn output(&self, name: &str, bytes_max: usize) -> Vec<u8> {
        match self.hosts.get(name) {
            Some(Host {
                machine: Some(machine),
                ..
            }) => machine.output(bytes_max),
            Some(Host { off: Some(off), .. }) => off.output(bytes_max),
            _ => Vec::new(),
        }
    }

    /// The new size of a machine's console.
    pub fn resize(&self, name: &str, cols: u16, rows: u16) {
        match self.hosts.get(name) {
            Some(Host {
                machine: Some(machine),
                ..
            }) => machine.resize(cols, rows),
            Some(Host { off: Some(off), .. }) => off.resize(cols, rows),
            _ => {}
        }
    }

    /// What happened since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Goes on after the playground was saved, and perhaps much later restored: no time has passed for its
    /// machines, but what day it is has changed. [`Event::Added`] tells of each anew, and [`Event::Off`] of those
    /// that are off; crashed ones are gone.
    pub fn resume(&mut self, realtime_ns: u64) {
        self.hosts
            .retain(|_, host| host.machine.is_some() || host.off.is_some());
        self.events.clear();
        self.ports.cancel_all();
        self.lan.gateway().internet().cancel_all();
        self.views.end_all();
        self.transfers.cancel_all();
        // Who looked is gone with the page it was.
        for (name, host) in &self.hosts {
            self.captures.end(name, host.machine.as_ref());
        }
        self.config.epoch_ns = realtime_ns.saturating_sub(self.clock.now().0);
        self.clock.set_realtime(realtime_ns);
        for (name, host) in &mut self.hosts {
            host.look = None;
            let config = match (&host.machine, &host.off) {
                (Some(machine), _) => {
                    machine.kernel().clock.set_realtime(realtime_ns);
                    machine.trace(None);
                    machine.config()
                }
                (None, Some(off)) => {
                    off.clock().set_realtime(realtime_ns);
                    off.config()
                }
                (None, None) => continue,
            };
            let (name, ip) = (name.clone(), config.ip.clone());
            let added = Event::Added {
                name: name.clone(),
                ip,
            };
            self.events.push(added);
            if host.off.is_some() {
                self.events.push(Event::Off { name });
            }
        }
    }

    /// Load of a machine since the last call for it.
    pub fn stats(&mut self, name: &str) -> Option<Stats> {
        let host = self.hosts.get_mut(name)?;
        let machine = host.machine.as_ref()?;
        let kernel = machine.kernel();
        let now = (kernel.clock.now(), kernel.idle_ns.get());
        let elapsed = now.0.since(host.looked.0).max(1);
        let idle = now.1.saturating_sub(host.looked.1).min(elapsed);
        let memory_used = kernel.cgroup_root.memory.account.current();
        host.looked = now;
        Some(Stats {
            memory_used,
            memory_limit: machine.config().memory,
            cpu_percent: (elapsed - idle) as f64 / elapsed as f64 * 100.0,
        })
    }

    /// Bytes that guests have, on disks and in memory, with what is here of their image.
    #[must_use]
    pub fn guest_bytes(&self) -> u64 {
        self.budget.used()
    }

    /// Bytes that are here of the machines' image.
    #[must_use]
    pub fn image_bytes(&self) -> u64 {
        self.image.as_ref().map_or(0, |image| image.bytes_here())
    }

    /// Lets everything work until `fuel` instructions are spent or nobody can go on.
    pub fn turn(&mut self, now: Instant, fuel: u64) -> Turn {
        self.clock.advance_to(now);
        let now = self.clock.now();
        self.executor.run_until_stalled();
        self.start_machines(now);
        self.tell_arrivals();
        let mut busy = self.executor.has_ready();
        let mut next_deadline = self.clock.next_deadline();
        let machines = |host: &&Host| host.machine.is_some();
        let running = self.hosts.values().filter(machines).count().max(1) as u64;
        let mut crashed = Vec::new();
        for (name, host) in &self.hosts {
            let Some(machine) = &host.machine else {
                continue;
            };
            let turned = guard::run(self.config.guard, || machine.turn(now, fuel / running));
            match turned.unwrap_or_else(|text| Turned::Crashed(machine.describe_crash(&text))) {
                Turned::Ran {
                    busy: more,
                    next_deadline: deadline,
                    ..
                } => {
                    busy |= more;
                    next_deadline = [next_deadline, deadline].into_iter().flatten().min();
                }
                Turned::Crashed(cause) => crashed.push((name.clone(), cause)),
            }
        }
        busy |= self.follow_power();
        let carried = self.lan.carry(now, self.config.guard);
        let hosts = &self.hosts;
        self.captures
            .collect(|name| hosts.get(name)?.machine.as_ref());
        busy |= carried.any;
        for (name, text) in carried.crashed {
            let machine = self.hosts.get(&name).and_then(|host| host.machine.as_ref());
            let cause = machine.map(|machine| machine.describe_crash(&text));
            crashed.push((name, cause.unwrap_or(text)));
        }
        for (name, cause) in crashed {
            self.crash(name, cause);
        }
        // What machines asked of the playground's own tasks (downloads) is begun before anybody sleeps,
        // and what those brought is told in the next turn.
        self.executor.run_until_stalled();
        let hints = self.lan.gateway().take_hints().into_iter();
        self.events.extend(hints.map(Event::Hint));
        busy |= self.loading.as_ref().is_some_and(JoinHandle::is_finished);
        busy |= self
            .image
            .as_ref()
            .is_some_and(|image| image.arrivals().generation() != self.arrivals_seen);
        let own = [self.clock.next_deadline(), self.lan.next_deadline()];
        next_deadline = [next_deadline].into_iter().chain(own).flatten().min();
        Turn {
            busy,
            next_deadline,
        }
    }

    /// Switches machines off that have gone down, and those on again that want to be; true when there were any.
    fn follow_power(&mut self) -> bool {
        let down = |host: &Host| host.machine.as_ref()?.kernel().power();
        let down: Vec<(String, Power)> = self
            .hosts
            .iter()
            .filter_map(|(name, host)| Some((name.clone(), down(host)?)))
            .collect();
        for (name, power) in &down {
            let cable = self.lan.cable(name);
            self.lan.leave(name);
            self.views.end(name);
            self.transfers.forget(name);
            let Some(host) = self.hosts.get_mut(name) else {
                continue;
            };
            self.captures.end(name, host.machine.as_ref());
            let old = host.machine.take();
            match guard::run(self.config.guard, || old.map(Machine::switch_off)) {
                Ok(off) => host.off = off,
                Err(text) => {
                    self.crash(name.clone(), text);
                    continue;
                }
            }
            host.cable = cable;
            match power {
                Power::Restart => self.switch_on(name),
                Power::Off | Power::Halt => self.events.push(Event::Off { name: name.clone() }),
            }
        }
        !down.is_empty()
    }

    /// A machine is dead. What it had is given back, as far as that goes: it may well crash again.
    fn crash(&mut self, name: String, cause: String) {
        self.lan.leave(&name);
        self.views.end(&name);
        self.transfers.forget(&name);
        let dead = self
            .hosts
            .get_mut(&name)
            .and_then(|host| host.machine.take());
        let _ = guard::run(self.config.guard, || drop(dead));
        self.events.push(Event::Crashed { name, cause });
    }

    /// Content that one machine asked for may be what another one waits for.
    fn tell_arrivals(&mut self) {
        let generation = self
            .image
            .as_ref()
            .map_or(0, |image| image.arrivals().generation());
        if std::mem::replace(&mut self.arrivals_seen, generation) != generation {
            for machine in self.hosts.values().filter_map(|host| host.machine.as_ref()) {
                machine
                    .kernel()
                    .init_ns
                    .mnt
                    .mounts
                    .table()
                    .arrivals()
                    .wake_all();
            }
        }
    }

    fn start_machines(&mut self, now: Instant) {
        if self.loading.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(outcome) = self.loading.take().and_then(|load| load.take())
        {
            match outcome {
                Ok(image) => {
                    image.charge_to(self.budget.reserve(image.bytes_max()));
                    self.image = Some(image);
                }
                Err(text) => {
                    let failed = std::mem::take(&mut self.starting).into_iter();
                    self.events.extend(failed.map(|name| Event::Failed {
                        name,
                        text: text.clone(),
                    }));
                }
            }
        }
        let Some(image) = self.image.clone() else {
            return;
        };
        for name in std::mem::take(&mut self.starting) {
            let booted = guard::run(self.config.guard, || self.boot(&name, now, &image));
            match booted.flatten() {
                Ok(machine) => {
                    let ip = machine.config().ip.clone();
                    let host = Host {
                        machine: Some(machine),
                        off: None,
                        look: None,
                        cable: None,
                        looked: (now, 0),
                    };
                    self.hosts.insert(name.clone(), host);
                    self.events.push(Event::Added { name, ip });
                }
                Err(text) => self.events.push(Event::Failed { name, text }),
            }
        }
    }

    fn boot(&self, name: &str, now: Instant, image: &Rc<NodeImage>) -> Result<Machine, String> {
        let number: u64 = name.trim_start_matches("node").parse().unwrap_or(1);
        // The first addresses belong to the network's own devices, as in Play with Docker.
        let ip = Ipv4Addr::new(192, 168, 0, u8::try_from(12 + number).unwrap_or(u8::MAX));
        let config = MachineConfig {
            name: name.to_string(),
            ip: ip.to_string(),
            seed: self
                .config
                .seed
                .wrapping_add(number.wrapping_mul(NANOS_PER_SEC)),
            memory: self.config.memory,
            epoch_ns: self.config.epoch_ns,
            budget: self.budget.machine(),
        };
        let (clock, executor) = (Clock::new(self.config.epoch_ns), Executor::new());
        clock.advance_to(now);
        let root: Rc<dyn FileSystem> = image.new_root(&clock, &config.budget.disk)?;
        let registry = Rc::new(StaticRegistry {
            fetcher: self.fetcher.clone(),
            executor: executor.clone(),
        });
        self.start(Off::new(config, root, registry, clock, executor), now)
    }

    /// Switches a machine on, with its cable in the switch and a shell on its console.
    fn start(&self, off: Off, now: Instant) -> Result<Machine, String> {
        let machine = off.boot(now)?;
        let (name, ip) = (&machine.config().name, &machine.config().ip);
        let ip = ip
            .parse()
            .map_err(|_| format!("{name}: no address: {ip}"))?;
        self.lan
            .join(name, ip, machine.kernel())
            .map_err(|errno| format!("{name}: joining the LAN: {errno}"))?;
        match self.config.console {
            ConsoleMode::None => {}
            mode => machine.start_console(mode == ConsoleMode::Respawn),
        }
        Ok(machine)
    }

    /// Switches a machine on that is off.
    fn switch_on(&mut self, name: &str) {
        let Some(host) = self.hosts.get_mut(name) else {
            return;
        };
        let (Some(off), cable) = (host.off.take(), host.cable.take()) else {
            return;
        };
        let now = self.clock.now();
        let booted = guard::run(self.config.guard, || self.start(off, now)).flatten();
        let (name, machine) = match booted {
            Ok(machine) => (name.to_string(), machine),
            Err(text) => return self.crash(name.to_string(), text),
        };
        if let Some(cable) = cable {
            self.lan.set_cable(&name, cable);
        }
        if let Some(host) = self.hosts.get_mut(&name) {
            if let Some(look) = host.look.clone() {
                self.views.look(&machine, look);
            }
            host.machine = Some(machine);
            host.looked = (now, 0);
        }
        self.events.push(Event::Restarted { name });
    }
}
