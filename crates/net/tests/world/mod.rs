//! A LAN of simulated machines, driven by command lines.

mod ip;
mod show;
mod talk;

use std::collections::BTreeMap;

use abi::Errno;
use clock::Instant;
use net::{Cidr, Fault, LinkId, Mac, Network, NsId, PortId, SocketId, Switch, address};

pub struct Machine {
    pub network: Network,
    pub spaces: BTreeMap<String, NsId>,
    eth0: LinkId,
    port: PortId,
}

pub struct World {
    pub now: Instant,
    pub switch: Switch,
    pub machines: BTreeMap<String, Machine>,
    /// Sockets by name: machine, socket.
    pub sockets: BTreeMap<String, (String, SocketId)>,
}

pub type Reply = Result<String, Errno>;

/// `10ms`, `3s`, `50us`.
pub fn nanos(text: &str) -> u64 {
    for (unit, scale) in [
        ("ms", 1_000_000),
        ("us", 1000),
        ("ns", 1),
        ("s", 1_000_000_000),
    ] {
        if let Some(number) = text.strip_suffix(unit)
            && let Ok(number) = number.parse::<u64>()
        {
            return number * scale;
        }
    }
    panic!("no time: {text}")
}

impl World {
    pub fn new() -> World {
        World {
            now: Instant(1_000_000_000),
            switch: Switch::new(7),
            machines: BTreeMap::new(),
            sockets: BTreeMap::new(),
        }
    }

    /// Runs a command line; errors print as their text.
    pub fn command(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let reply = match words[0].strip_suffix(':') {
            Some(place) => self.at(place, &words[1..], line),
            None => self.global(&words),
        };
        self.settle();
        let mut text = reply.unwrap_or_else(|errno| format!("error: {}\n", describe(errno)));
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }

    fn global(&mut self, words: &[&str]) -> Reply {
        match words[0] {
            "machine" => self.add_machine(words[1]),
            "wait" => self.advance(nanos(words[1])),
            "cable" => {
                let port = self.machines[words[1]].port;
                self.switch.set_fault(port, fault(&words[2..]));
            }
            "unplug" | "plug" => {
                let machine = self.machines.get_mut(words[1]).unwrap();
                let plugged = words[0] == "plug";
                self.switch.plug(machine.port, plugged);
                machine.network.at(self.now).plug(machine.eth0, plugged)?;
            }
            "group" => {
                let port = self.machines[words[1]].port;
                self.switch.set_group(port, words[2].parse().unwrap());
            }
            "transfer" => return self.transfer(words),
            "lost" => return Ok(format!("{} frames", self.switch.lost)),
            other => panic!("no command {other}"),
        }
        Ok(String::new())
    }

    /// A machine with `eth0` at 192.168.0.N.
    fn add_machine(&mut self, name: &str) {
        let number = 10 + self.machines.len() as u8;
        let mut network = Network::new(u64::from(number));
        network.at(self.now);
        let ns = network.add_namespace();
        let lo = network.find_link(ns, "lo").unwrap();
        network.set_up(lo, true).unwrap();
        let mac = Mac([2, 0x42, 0xc0, 0xa8, 0, number]);
        let eth0 = network.add_ethernet(ns, "eth0", mac).unwrap();
        network.set_up(eth0, true).unwrap();
        let cidr: Cidr = format!("192.168.0.{number}/24").parse().unwrap();
        network
            .add_address(eth0, address(cidr, net::link::Scope::Global))
            .unwrap();
        let port = self.switch.add_port();
        let spaces = BTreeMap::from([(String::new(), ns)]);
        let machine = Machine {
            network,
            spaces,
            eth0,
            port,
        };
        self.machines.insert(name.to_string(), machine);
    }

    fn at(&mut self, place: &str, words: &[&str], line: &str) -> Reply {
        let (name, space) = place.split_once('/').unwrap_or((place, ""));
        let now = self.now;
        let machine = self.machines.get_mut(name).expect("no such machine");
        machine.network.at(now);
        if words[0] == "netns" {
            let ns = machine.network.add_namespace();
            machine.spaces.insert(words[2].to_string(), ns);
            let lo = machine.network.find_link(ns, "lo")?;
            machine.network.set_up(lo, true)?;
            return Ok(String::new());
        }
        let ns = machine.spaces[space];
        let rest = line.split_once(": ").unwrap().1;
        match words[0] {
            "ip" => machine.ip(ns, &words[1..]),
            "sysctl" => machine.sysctl(ns, words[1]),
            "iptables" | "ip6tables" => machine.iptables(ns, rest),
            "iptables-save" => Ok(machine.network.space(ns)?.tables(false).save(false)),
            "conntrack" => Ok(machine.network.space(ns)?.conntrack.dump(now)),
            "bridge" => machine.fdb(words[1], now),
            "capture" => {
                let link = machine.network.find_link(ns, words[1])?;
                machine.network.start_capture(link)?;
                Ok(String::new())
            }
            "captured" => {
                let link = machine.network.find_link(ns, words[1])?;
                let frames = machine.network.take_capture(link);
                Ok(frames.iter().map(|one| show::frame(&one.bytes)).collect())
            }
            "counters" => machine.counters(ns, words[1]),
            "ping" => self.ping(name, ns, &words[1..]),
            "traceroute" => self.traceroute(name, ns, words[1]),
            _ => self.talk(name, ns, words),
        }
    }

    /// Moves frames and time until nothing happens within a second.
    pub fn settle(&mut self) {
        let end = self.now.plus(1_000_000_000);
        self.run_until(end, true);
    }

    pub fn advance(&mut self, nanos: u64) {
        let end = self.now.plus(nanos);
        self.run_until(end, false);
        self.now = end;
    }

    /// Runs up to `end`; with `lazy` only what frames that are under way make of it, not timers.
    fn run_until(&mut self, end: Instant, lazy: bool) {
        for _ in 0..1_000_000 {
            while self.carry() {}
            let wire = self.switch.poll_at();
            let timers = self
                .machines
                .values()
                .filter_map(|machine| machine.network.poll_at())
                .min();
            let next = if lazy {
                wire
            } else {
                wire.into_iter().chain(timers).min()
            };
            match next {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => return,
            }
            for machine in self.machines.values_mut() {
                machine.network.poll(self.now);
            }
        }
        panic!("it never ends");
    }

    /// Takes frames from machines to the switch and back; true if there were any.
    fn carry(&mut self) -> bool {
        let mut any = false;
        for machine in self.machines.values_mut() {
            for (_, bytes) in machine.network.take_frames() {
                self.switch.send(self.now, machine.port, bytes);
                any = true;
            }
        }
        for (port, bytes) in self.switch.poll(self.now) {
            let machine = self
                .machines
                .values_mut()
                .find(|machine| machine.port == port)
                .unwrap();
            machine.network.at(self.now).deliver(machine.eth0, bytes);
            any = true;
        }
        any
    }
}

fn fault(words: &[&str]) -> Fault {
    let mut fault = Fault::default();
    for word in words {
        let (name, value) = word.split_once('=').unwrap();
        let percent = || (value.trim_end_matches('%').parse::<f64>().unwrap() * 10_000.0) as u32;
        match name {
            "delay" => fault.delay_ns = nanos(value),
            "jitter" => fault.jitter_ns = nanos(value),
            "loss" => fault.loss_ppm = percent(),
            "duplicate" => fault.duplicate_ppm = percent(),
            "corrupt" => fault.corrupt_ppm = percent(),
            "rate" => fault.rate_bps = value.parse().unwrap(),
            other => panic!("no fault {other}"),
        }
    }
    fault
}

/// An error as a tool prints it.
pub fn describe(errno: Errno) -> String {
    errno.to_string()
}
