//! The network part of the seam: links, addresses, routes, packet filter, sockets and wires, as a daemon that
//! makes networks for containers uses them (`ip(8)`, `iptables(8)`). Namespaces are named by [`View`].

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::{Handle, Result, View};

/// A hardware address.
pub type Mac = [u8; 6];

/// A link to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NewLink {
    /// A bridge.
    Bridge {
        /// Its hardware address; chosen if there is none.
        mac: Option<Mac>,
    },
    /// A pair.
    Veth {
        /// Hardware address of this end.
        mac: Option<Mac>,
        /// Where the other end is.
        peer_view: View,
        /// What the other end is called.
        peer: String,
        /// Hardware address of the other end.
        peer_mac: Option<Mac>,
    },
    /// One that takes everything and gives nothing.
    Dummy,
    /// A hardware address of its own on another link.
    Macvlan {
        /// The other link.
        parent: String,
        /// Whom it can reach.
        mode: MacvlanMode,
    },
    /// IP addresses of its own on another link, with that one's hardware address.
    Ipvlan {
        /// The other link.
        parent: String,
        /// How packets find their way.
        mode: IpvlanMode,
    },
}

/// Whom a macvlan link can reach beside what is behind its parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "named as ip-link(8) has them")]
pub enum MacvlanMode {
    Private,
    Vepa,
    Bridge,
    Passthru,
}

/// How packets of an ipvlan link find their way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "named as ip-link(8) has them")]
pub enum IpvlanMode {
    L2,
    L3,
    L3s,
}

/// A change to a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkChange {
    /// Up or down.
    Up(bool),
    /// A port of that bridge, or of none.
    Master(Option<String>),
    /// Largest packet.
    Mtu(u32),
    /// Hardware address.
    Mac(Mac),
    /// Name; the link has to be down.
    Name(String),
    /// Into another namespace.
    Namespace(View),
    /// As a port: frames may leave where they came in.
    Hairpin(bool),
}

/// A link as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Name.
    pub name: String,
    /// Index.
    pub index: u32,
    /// Hardware address.
    pub mac: Mac,
    /// Largest packet.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// There is something at the other end.
    pub carrier: bool,
    /// The bridge it is a port of.
    pub master: Option<String>,
    /// Addresses and lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// What went through it.
    pub statistics: LinkStatistics,
}

/// Counters of a link.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[allow(
    missing_docs,
    reason = "named as /sys/class/net/NAME/statistics has them"
)]
pub struct LinkStatistics {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_dropped: u64,
}

/// A route of the main table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Destination network; `0.0.0.0/0` is the default.
    pub destination: (IpAddr, u8),
    /// The router, if the destination is not on the link.
    pub gateway: Option<IpAddr>,
    /// The link; found by the gateway if it is not said.
    pub link: Option<String>,
    /// Of several the least is taken.
    pub metric: u32,
}

/// A listening TCP socket. Dropping it closes it.
pub trait TcpListener {
    /// The next connection, and who it is from.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<(Rc<dyn Handle>, SocketAddr)>>;

    /// Where it listens: with the port that was chosen.
    fn local_address(&self) -> Result<SocketAddr>;
}

/// A UDP socket. Dropping it closes it.
pub trait UdpSocket {
    /// The next datagram, cut to `buf`, and who it is from.
    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<Result<(usize, SocketAddr)>>;

    /// Sends a datagram.
    fn send(&self, data: &[u8], to: SocketAddr) -> Result<()>;

    /// Where it is bound.
    fn local_address(&self) -> Result<SocketAddr>;
}

/// The cable of an Ethernet port: what leaves the machine, and what comes in.
pub trait Wire {
    /// The next frame that leaves the machine.
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Vec<u8>>;

    /// A frame comes in.
    fn deliver(&self, frame: Vec<u8>);

    /// Plugs the cable in or out.
    fn plug(&self, plugged: bool);
}

/// The network, seen by root.
pub trait Network {
    /// `ip link add`.
    fn link_add(&self, view: View, name: &str, new: &NewLink) -> Result<()>;

    /// `ip link del`.
    fn link_delete(&self, view: View, name: &str) -> Result<()>;

    /// `ip link set`.
    fn link_set(&self, view: View, name: &str, change: &LinkChange) -> Result<()>;

    /// `ip -s addr`: all links, by index.
    fn links(&self, view: View) -> Result<Vec<Link>>;

    /// `ip addr add`, with the broadcast address of the network.
    fn address_add(&self, view: View, link: &str, ip: IpAddr, prefix: u8) -> Result<()>;

    /// `ip addr del`.
    fn address_delete(&self, view: View, link: &str, ip: IpAddr, prefix: u8) -> Result<()>;

    /// `ip route add`.
    fn route_add(&self, view: View, route: &Route) -> Result<()>;

    /// `ip route del`: what is `None` or 0 does not matter.
    fn route_delete(&self, view: View, route: &Route) -> Result<()>;

    /// `ip route`: both families.
    fn routes(&self, view: View) -> Result<Vec<Route>>;

    /// `iptables -t TABLE LINE`, or `ip6tables`: `-A -I -D -C -R -N -X -F -P -Z -E`. `ENOENT`: no such chain,
    /// rule, match or target; `EEXIST`: the chain is there.
    fn packet_filter(&self, view: View, v6: bool, table: &str, line: &str) -> Result<()>;

    /// `iptables-save`, without comments; with `counters` as `-c`.
    fn packet_filter_save(&self, view: View, v6: bool, counters: bool) -> Result<String>;

    /// `conntrack -L`.
    fn connections(&self, view: View) -> Result<String>;

    /// Listens on TCP; an IPv6 address takes IPv6 only.
    fn tcp_listen(&self, view: View, address: SocketAddr) -> Result<Rc<dyn TcpListener>>;

    /// Begins to connect. The handle can be read and written once the connection is there, and fails with
    /// the reason when it does not come to be.
    fn tcp_connect(&self, view: View, address: SocketAddr) -> Result<Rc<dyn Handle>>;

    /// Binds a UDP socket; an IPv6 address takes IPv6 only.
    fn udp_bind(&self, view: View, address: SocketAddr) -> Result<Rc<dyn UdpSocket>>;

    /// A new Ethernet port of the machine, plugged in and down.
    fn ethernet_add(&self, name: &str, mac: Mac) -> Result<Rc<dyn Wire>>;
}
