//! The network part of the seam ([`os::network::Network`]), on crate `net`.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};

use net::link::{Address, Scope};
use net::netfilter::TableName;
use net::packet::Mac as EthernetAddress;
use net::route::{Add, Route as NetRoute, RouteKind, table};
use net::socket::Kind;
use net::upper::{IpvlanMode, MacvlanMode};
use net::{Cidr, Endpoint, LinkId, Network as Stack};
use os::network::{
    Link, LinkChange, LinkStatistics, Mac, Network, NewLink, Route, TcpListener, UdpSocket, Wire,
};
use os::{Errno, Handle, Result, View};
use vfs::file::{OpenFile, OpenFlags};

use super::KernelOs;
use super::handle::OsHandle;
use crate::kernel::Kernel;
use crate::namespaces::{NetNs, NetStack};
use crate::socket::inet::{InetSocket, emit_address, parse_address};
use crate::socket::{Ancillary, Outgoing, SockAddr, Socket, SocketFile, consts};

/// Connections that may wait at a daemon's socket.
const BACKLOG: u32 = 4096;

impl KernelOs {
    fn net(&self, view: View) -> Result<Rc<NetNs>> {
        Ok(match view {
            View::Host => Rc::clone(&self.kernel.init_ns.net),
            View::Task(id) => Rc::clone(&self.task(id)?.ns().net),
        })
    }

    /// Works with a link.
    fn with_link<R>(
        &self,
        view: View,
        name: &str,
        f: impl FnOnce(&mut Stack, LinkId) -> Result<R>,
    ) -> Result<R> {
        let net = self.net(view)?;
        net.with(|network| {
            let id = network.find_link(net.id, name)?;
            f(network, id)
        })
    }
}

fn mac(mac: Mac) -> EthernetAddress {
    EthernetAddress(mac)
}

fn parse_route(network: &Stack, net: &NetNs, route: &Route) -> Result<NetRoute> {
    let link = match &route.link {
        Some(name) => Some(network.find_link(net.id, name)?),
        None => None,
    };
    let (ip, prefix) = route.destination;
    let mut new = NetRoute::unicast(Cidr::new(ip, prefix), route.gateway, link);
    if route.metric > 0 {
        new.metric = route.metric;
    }
    Ok(new)
}

impl Network for KernelOs {
    fn link_add(&self, view: View, name: &str, new: &NewLink) -> Result<()> {
        let net = self.net(view)?;
        let peer_net = match new {
            NewLink::Veth { peer_view, .. } => Some(self.net(*peer_view)?),
            _ => None,
        };
        net.with(|network| match new {
            NewLink::Bridge { mac: own } => {
                network.add_bridge(net.id, name, own.map(mac)).map(drop)
            }
            NewLink::Dummy => network.add_dummy(net.id, name, None).map(drop),
            NewLink::Macvlan { parent, mode } => {
                let lower = network.find_link(net.id, parent)?;
                let mode = match mode {
                    os::network::MacvlanMode::Private => MacvlanMode::Private,
                    os::network::MacvlanMode::Vepa => MacvlanMode::Vepa,
                    os::network::MacvlanMode::Bridge => MacvlanMode::Bridge,
                    os::network::MacvlanMode::Passthru => MacvlanMode::Passthru,
                };
                network
                    .add_macvlan(net.id, name, lower, mode, None)
                    .map(drop)
            }
            NewLink::Ipvlan { parent, mode } => {
                let lower = network.find_link(net.id, parent)?;
                let mode = match mode {
                    os::network::IpvlanMode::L2 => IpvlanMode::L2,
                    os::network::IpvlanMode::L3 => IpvlanMode::L3,
                    os::network::IpvlanMode::L3s => IpvlanMode::L3s,
                };
                network.add_ipvlan(net.id, name, lower, mode).map(drop)
            }
            NewLink::Veth {
                mac: own,
                peer,
                peer_mac,
                ..
            } => {
                let peer_ns = peer_net.as_ref().map_or(net.id, |peer| peer.id);
                let macs = (own.map(mac), peer_mac.map(mac));
                network
                    .add_veth(net.id, name, (peer_ns, Some(peer)), macs)
                    .map(drop)
            }
        })
    }

    fn link_delete(&self, view: View, name: &str) -> Result<()> {
        self.with_link(view, name, Stack::delete_link)
    }

    fn link_set(&self, view: View, name: &str, change: &LinkChange) -> Result<()> {
        let net = self.net(view)?;
        let place = match change {
            LinkChange::Namespace(view) => Some(self.net(*view)?),
            _ => None,
        };
        self.with_link(view, name, |network, id| match change {
            LinkChange::Up(up) => network.set_up(id, *up),
            LinkChange::Master(None) => network.set_master(id, None),
            LinkChange::Master(Some(master)) => {
                let master = network.find_link(net.id, master)?;
                network.set_master(id, Some(master))
            }
            LinkChange::Mtu(mtu) => network.set_mtu(id, *mtu),
            LinkChange::Mac(new) => network.set_mac(id, mac(*new)),
            LinkChange::Name(name) => network.rename_link(id, name),
            LinkChange::Namespace(_) => {
                let ns = place.as_ref().map_or(net.id, |place| place.id);
                network.move_link(id, ns)
            }
            LinkChange::Hairpin(on) => network.change_link(id, |link| link.hairpin = *on),
        })
    }

    fn links(&self, view: View) -> Result<Vec<Link>> {
        let net = self.net(view)?;
        Ok(net.with(|network| {
            let links = network.links_of(net.id);
            links
                .map(|(id, link)| Link {
                    name: link.name.clone(),
                    index: link.index,
                    mac: link.mac.0,
                    mtu: link.mtu,
                    up: link.up,
                    carrier: link.up && network.has_carrier(id),
                    master: link
                        .master
                        .and_then(|master| network.link(master).ok())
                        .map(|master| master.name.clone()),
                    addresses: link
                        .addresses
                        .iter()
                        .map(|address| (address.cidr.ip, address.cidr.prefix))
                        .collect(),
                    statistics: LinkStatistics {
                        rx_bytes: link.counters.rx_bytes,
                        rx_packets: link.counters.rx_packets,
                        rx_errors: link.counters.rx_errors,
                        rx_dropped: link.counters.rx_dropped,
                        tx_bytes: link.counters.tx_bytes,
                        tx_packets: link.counters.tx_packets,
                        tx_dropped: link.counters.tx_dropped,
                    },
                })
                .collect()
        }))
    }

    fn address_add(&self, view: View, link: &str, ip: IpAddr, prefix: u8) -> Result<()> {
        let cidr = Cidr::new(ip, prefix);
        let new = Address {
            cidr,
            broadcast: cidr.broadcast(),
            scope: match net::is_link_local(ip) {
                true => Scope::Link,
                false => Scope::Global,
            },
            label: String::new(),
        };
        self.with_link(view, link, |network, id| network.add_address(id, new))
    }

    fn address_delete(&self, view: View, link: &str, ip: IpAddr, prefix: u8) -> Result<()> {
        let cidr = Cidr::new(ip, prefix);
        self.with_link(view, link, |network, id| network.remove_address(id, cidr))
    }

    fn route_add(&self, view: View, route: &Route) -> Result<()> {
        let net = self.net(view)?;
        net.with(|network| {
            let new = parse_route(network, &net, route)?;
            network.add_route(net.id, new, Add::New)
        })
    }

    fn route_delete(&self, view: View, route: &Route) -> Result<()> {
        let net = self.net(view)?;
        net.with(|network| {
            let wanted = parse_route(network, &net, route)?;
            let is_meant = |old: &NetRoute| {
                old.table == table::MAIN
                    && old.dst == wanted.dst
                    && (wanted.link.is_none() || old.link == wanted.link)
                    && (wanted.gateway.is_none() || old.gateway == wanted.gateway)
                    && (route.metric == 0 || old.metric == route.metric)
            };
            network.remove_route(net.id, is_meant).map(drop)
        })
    }

    fn routes(&self, view: View) -> Result<Vec<Route>> {
        let net = self.net(view)?;
        net.with(|network| {
            let name = |link: Option<LinkId>| {
                let link = network.link(link?).ok()?;
                Some(link.name.clone())
            };
            let space = network.space(net.id)?;
            let main = space
                .routes
                .iter()
                .filter(|route| route.table == table::MAIN && route.kind == RouteKind::Unicast);
            Ok(main
                .map(|route| Route {
                    destination: (route.dst.ip, route.dst.prefix),
                    gateway: route.gateway,
                    link: name(route.link),
                    metric: route.metric,
                })
                .collect())
        })
    }

    fn packet_filter(&self, view: View, v6: bool, table: &str, line: &str) -> Result<()> {
        let table = TableName::parse(table)?;
        let net = self.net(view)?;
        net.with(|network| {
            let space = network.space_mut(net.id)?;
            space.tables_mut(v6).command(table, line)
        })
    }

    fn packet_filter_save(&self, view: View, v6: bool, counters: bool) -> Result<String> {
        let net = self.net(view)?;
        net.with(|network| Ok(network.space(net.id)?.tables(v6).save(counters)))
    }

    fn connections(&self, view: View) -> Result<String> {
        let net = self.net(view)?;
        net.with(|network| {
            let now = network.now();
            Ok(network.space(net.id)?.conntrack.dump(now))
        })
    }

    fn tcp_listen(&self, view: View, address: SocketAddr) -> Result<Rc<dyn TcpListener>> {
        let socket = DaemonSocket::new(self, view, address, Kind::Tcp)?;
        socket.socket.common_option(consts::SO_REUSEADDR, 1);
        let (to, scope) = parse_address(&socket.net, &socket.sockaddr(address), socket.family)?;
        socket.socket.bind_to(to, scope)?;
        socket.socket.start_listening(BACKLOG)?;
        Ok(Rc::new(socket))
    }

    fn tcp_connect(&self, view: View, address: SocketAddr) -> Result<Rc<dyn Handle>> {
        let socket = DaemonSocket::new(self, view, address, Kind::Tcp)?;
        let (to, scope) = parse_address(&socket.net, &socket.sockaddr(address), socket.family)?;
        match socket.socket.connect_to(to, scope, true) {
            Ok(()) | Err(Errno::EINPROGRESS) => Ok(socket.handle(Rc::clone(&socket.socket))),
            Err(errno) => Err(errno),
        }
    }

    fn udp_bind(&self, view: View, address: SocketAddr) -> Result<Rc<dyn UdpSocket>> {
        let socket = DaemonSocket::new(self, view, address, Kind::Udp)?;
        let (to, scope) = parse_address(&socket.net, &socket.sockaddr(address), socket.family)?;
        socket.socket.bind_to(to, scope)?;
        Ok(Rc::new(socket))
    }

    fn ethernet_add(&self, name: &str, own: Mac) -> Result<Rc<dyn Wire>> {
        let net = &self.kernel.init_ns.net;
        let link = net.with(|network| network.add_ethernet(net.id, name, mac(own)))?;
        Ok(Rc::new(EthernetWire {
            stack: Rc::clone(&self.kernel.net),
            link,
        }))
    }
}

/// A socket of a daemon, in some namespace.
struct DaemonSocket {
    kernel: Rc<Kernel>,
    net: Rc<NetNs>,
    family: u16,
    socket: Rc<InetSocket>,
}

impl DaemonSocket {
    fn new(os: &KernelOs, view: View, address: SocketAddr, kind: Kind) -> Result<DaemonSocket> {
        let net = os.net(view)?;
        let family = if address.is_ipv4() {
            consts::AF_INET
        } else {
            consts::AF_INET6
        };
        let socket = InetSocket::new(&net, family, kind)?;
        if family == consts::AF_INET6 {
            let id = socket.id;
            net.with(|network| network.set_options(id, |options| options.v6_only = true))?;
        }
        Ok(DaemonSocket {
            kernel: Rc::clone(&os.kernel),
            net,
            family,
            socket,
        })
    }

    fn sockaddr(&self, address: SocketAddr) -> SockAddr {
        let scope = match address {
            SocketAddr::V6(address) => address.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        let endpoint = Endpoint::new(address.ip(), address.port());
        emit_address(endpoint, self.family, scope)
    }

    /// An address of the network as daemons have it: mapped ones are IPv4.
    fn address(&self, name: &SockAddr) -> Result<SocketAddr> {
        let (endpoint, _) = parse_address(&self.net, name, self.family)?;
        Ok(SocketAddr::new(endpoint.ip, endpoint.port))
    }

    fn handle(&self, socket: Rc<InetSocket>) -> Rc<dyn Handle> {
        let what = (self.family, consts::SOCK_STREAM, 6);
        let file = SocketFile::new(&self.kernel, &self.net, what, socket);
        OsHandle::of(OpenFile::new(
            file,
            None,
            OpenFlags::RDWR | OpenFlags::NONBLOCK,
        ))
    }
}

impl TcpListener for DaemonSocket {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<(Rc<dyn Handle>, SocketAddr)>> {
        for _ in 0..2 {
            match self.socket.accept_next() {
                Err(Errno::EAGAIN) => {
                    self.socket.poll(Some(cx.waker()));
                }
                Err(errno) => return Poll::Ready(Err(errno)),
                Ok(socket) => {
                    // One that was reset already has no peer any more: who reads hears of it.
                    let peer = socket
                        .peer_name()
                        .and_then(|name| self.address(&name))
                        .unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
                    return Poll::Ready(Ok((self.handle(socket), peer)));
                }
            }
        }
        Poll::Pending
    }

    fn local_address(&self) -> Result<SocketAddr> {
        self.address(&self.socket.local_name()?)
    }
}

impl UdpSocket for DaemonSocket {
    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<Result<(usize, SocketAddr)>> {
        for _ in 0..2 {
            match self.socket.receive(buf, 0) {
                Err(Errno::EAGAIN) => {
                    self.socket.poll(Some(cx.waker()));
                }
                Err(errno) => return Poll::Ready(Err(errno)),
                Ok(received) => {
                    let from = received.from.ok_or(Errno::EIO);
                    let from = from.and_then(|from| self.address(&from));
                    return Poll::Ready(from.map(|from| (received.count, from)));
                }
            }
        }
        Poll::Pending
    }

    fn send(&self, data: &[u8], to: SocketAddr) -> Result<()> {
        let message = Outgoing {
            data,
            to: Some(self.sockaddr(to)),
            ancillary: Ancillary::default(),
            flags: 0,
        };
        self.socket.send(None, message).map(drop)
    }

    fn local_address(&self) -> Result<SocketAddr> {
        self.address(&self.socket.local_name()?)
    }
}

/// The cable of an Ethernet port.
struct EthernetWire {
    stack: Rc<NetStack>,
    link: LinkId,
}

impl Wire for EthernetWire {
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Vec<u8>> {
        let frame = self.stack.with(|network| network.take_frame(self.link));
        match frame {
            Some(frame) => Poll::Ready(frame),
            None => {
                self.stack.frames_wait.register(cx.waker());
                Poll::Pending
            }
        }
    }

    fn deliver(&self, frame: Vec<u8>) {
        self.stack.with(|network| network.deliver(self.link, frame));
    }

    fn plug(&self, plugged: bool) {
        // A port that is gone has no cable.
        let _ = self.stack.with(|network| network.plug(self.link, plugged));
    }
}
