//! The LAN between machines: one switch, and on it the playground's own host, the [`Gateway`].
//!
//! Machines share nothing but this (design decision 5): after each turn [`Lan::carry`] takes the frames that
//! left each machine to the switch, and what the switch lets through to where it goes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::rc::Rc;

use clock::{Clock, Executor, Instant};
use kernel::Kernel;
use net::route::{Add, Route};
use net::socket::TcpState;
use net::{Cable, Cidr, EVERY_GROUP, Fault, LinkId, Mac, Network, NsId, PortId, Switch};

use crate::gateway::Gateway;
use crate::guard::{self, Guard};

/// The LAN's network, as in Play with Docker.
pub const PREFIX: u8 = 24;
/// The gateway's address. It routes nowhere: there is no Internet behind it.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);

/// Rounds of frames per turn: two machines that answer each other at once must not hold up the others.
const ROUNDS_MAX: usize = 64;

/// A machine's place on the switch.
struct Station {
    name: String,
    ip: Ipv4Addr,
    link: LinkId,
    kernel: Rc<Kernel>,
}

/// What [`Lan::carry`] did.
#[derive(Default)]
pub struct Carried {
    /// Some frame arrived.
    pub any: bool,
    /// Machines that a frame brought down, with the cause.
    pub crashed: BTreeMap<String, String>,
}

impl Carried {
    /// Works with a machine's network, unless it has crashed; then it is written down.
    fn inside<T>(
        &mut self,
        guard: Guard,
        station: &Station,
        work: impl FnOnce(&mut Network) -> T,
    ) -> Option<T> {
        if self.crashed.contains_key(&station.name) {
            return None;
        }
        match guard::run(guard, || station.kernel.net.with(work)) {
            Ok(value) => Some(value),
            Err(cause) => {
                self.crashed.insert(station.name.clone(), cause);
                None
            }
        }
    }
}

/// See the module's comment.
pub struct Lan {
    switch: RefCell<Switch>,
    stations: RefCell<BTreeMap<PortId, Station>>,
    gateway: Rc<Gateway>,
    gateway_port: PortId,
}

impl Lan {
    /// A LAN with nothing but its gateway.
    #[must_use]
    pub fn new(seed: u64, clock: &Clock, executor: &Executor) -> Lan {
        let mut switch = Switch::new(seed);
        let gateway_port = switch.add_port();
        // Names and OPEN PORT go on in every part of a divided LAN; only pulling the cable ends them.
        switch.set_group(gateway_port, EVERY_GROUP);
        Lan {
            switch: RefCell::new(switch),
            stations: RefCell::default(),
            gateway: Gateway::start(seed, clock, executor),
            gateway_port,
        }
    }

    /// The playground's own host.
    #[must_use]
    pub fn gateway(&self) -> &Rc<Gateway> {
        &self.gateway
    }

    /// Gives a machine an Ethernet port with this address, and a cable to the switch.
    pub fn join(&self, name: &str, ip: Ipv4Addr, kernel: &Rc<Kernel>) -> abi::Result<()> {
        let ns = kernel.init_ns.net.id;
        let link = kernel.net.with(|network| set_up(network, ns, ip))?;
        let port = self.switch.borrow_mut().add_port();
        let station = Station {
            name: name.to_string(),
            ip,
            link,
            kernel: Rc::clone(kernel),
        };
        self.stations.borrow_mut().insert(port, station);
        self.gateway.add_name(name, ip);
        Ok(())
    }

    /// Takes a machine's cable out for good.
    pub fn leave(&self, name: &str) {
        let mut stations = self.stations.borrow_mut();
        stations.retain(|&port, station| {
            if station.name == name {
                self.switch.borrow_mut().remove_port(port);
            }
            station.name != name
        });
        self.gateway.remove_name(name);
    }

    fn port_of(&self, name: &str) -> Option<PortId> {
        let stations = self.stations.borrow();
        let mut ports = stations.iter();
        ports
            .find(|(_, station)| station.name == name)
            .map(|(&port, _)| port)
    }

    /// Unplugs a machine, or plugs it in again: its carrier goes and comes.
    pub fn plug(&self, name: &str, plugged: bool) {
        let Some(port) = self.port_of(name) else {
            return;
        };
        self.switch.borrow_mut().plug(port, plugged);
        if let Some(station) = self.stations.borrow().get(&port) {
            // The link is an Ethernet port: it was made as one.
            let _ = station
                .kernel
                .net
                .with(|network| network.plug(station.link, plugged));
        }
    }

    /// Delay, loss and the like on a machine's cable.
    pub fn set_fault(&self, name: &str, fault: Fault) {
        if let Some(port) = self.port_of(name) {
            self.switch.borrow_mut().set_fault(port, fault);
        }
    }

    /// What was done to a machine's cable.
    #[must_use]
    pub fn cable(&self, name: &str) -> Option<Cable> {
        let port = self.port_of(name)?;
        self.switch.borrow().cable(port)
    }

    /// Makes a machine's cable so: plugged in or not, in a part of a divided LAN, bad or good.
    pub fn set_cable(&self, name: &str, cable: Cable) {
        let Some(port) = self.port_of(name) else {
            return;
        };
        if self
            .cable(name)
            .is_some_and(|now| now.plugged != cable.plugged)
        {
            self.plug(name, cable.plugged);
        }
        let mut switch = self.switch.borrow_mut();
        switch.set_group(port, cable.group);
        switch.set_fault(port, cable.fault);
    }

    /// The address of a machine.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<Ipv4Addr> {
        let port = self.port_of(name)?;
        self.stations.borrow().get(&port).map(|station| station.ip)
    }

    /// The TCP ports that are listened on in a machine's own network and reached from the LAN, in order.
    #[must_use]
    pub fn open_ports(&self, kernel: &Kernel) -> Vec<u16> {
        let ns = kernel.init_ns.net.id;
        let mut ports: Vec<u16> = kernel.net.with(|network| {
            let sockets = network.sockets_of(ns).filter_map(|(id, socket)| {
                let local = socket.local.filter(|local| !local.ip.is_loopback())?;
                let info = network.stream_info(id).ok()?;
                (info.state == TcpState::Listen).then_some(local.port)
            });
            sockets.collect()
        });
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Carries frames until none is ready to arrive. What happens inside a machine happens under `guard`: one
    /// that a frame brings down gets no more of them.
    pub fn carry(&self, now: Instant, guard: Guard) -> Carried {
        let stations = self.stations.borrow();
        let mut switch = self.switch.borrow_mut();
        let mut carried = Carried::default();
        self.gateway.poll();
        for _ in 0..ROUNDS_MAX {
            for (&port, station) in stations.iter() {
                let taken = carried.inside(guard, station, Network::take_sent);
                for (_, sent, bytes) in taken.unwrap_or_default() {
                    switch.send_at(now, sent.max(now), port, bytes);
                }
            }
            for bytes in self.gateway.take_frames() {
                switch.send(now, self.gateway_port, bytes);
            }
            let arrived = switch.poll(now);
            if arrived.is_empty() {
                break;
            }
            carried.any = true;
            for (port, bytes) in arrived {
                let Some(station) = stations.get(&port) else {
                    self.gateway.deliver(bytes);
                    continue;
                };
                let link = station.link;
                carried.inside(guard, station, |network| network.deliver(link, bytes));
            }
        }
        carried
    }

    /// When something is due by itself: a delayed frame, a retransmission of the gateway.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let switch = self.switch.borrow().poll_at();
        [switch, self.gateway.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }
}

/// The MAC address that goes with an IPv4 address, as Docker chooses them.
#[must_use]
pub fn mac_of(ip: Ipv4Addr) -> Mac {
    let [a, b, c, d] = ip.octets();
    Mac([0x02, 0x42, a, b, c, d])
}

/// `eth0` with its address and the way to the gateway.
pub(crate) fn set_up(network: &mut Network, ns: NsId, ip: Ipv4Addr) -> abi::Result<LinkId> {
    let link = network.add_ethernet(ns, "eth0", mac_of(ip))?;
    let cidr = Cidr::new(ip.into(), PREFIX);
    network.add_address(link, net::address(cidr, net::link::Scope::Global))?;
    network.set_up(link, true)?;
    if ip != GATEWAY {
        let route = Route::unicast(Cidr::all(false), Some(GATEWAY.into()), Some(link));
        network.add_route(ns, route, Add::New)?;
    }
    Ok(link)
}
