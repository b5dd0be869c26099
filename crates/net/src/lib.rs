//! The network of a machine, and the LAN between machines.
//!
//! ```text
//!  socket ──► output ─ OUTPUT ─ route ─ POSTROUTING ──► neighbour ──► link ──► veth peer · bridge · wire
//!    ▲                                                    ▲                        │
//!    └── INPUT ◄─ local? ◄── route ◄── PREROUTING ◄── ip input ◄── rise ◄── receive ┘
//!                   └─ no ─► FORWARD ─ POSTROUTING ───────┘
//! ```
//!
//! *Objects.* A [`Network`] belongs to one machine and owns everything: namespaces ([`Namespace`]: routes,
//! neighbours, rules, tracked connections, ports), [`link::Link`]s of all namespaces (loopback, veth ends,
//! bridges, Ethernet ports), and sockets ([`socket::Socket`]). They name each other by ids that are never used
//! twice, so what is gone is simply not found. A [`Switch`] belongs to nobody's machine: it connects them.
//!
//! *A frame's way.* Frames ([`packet::Frame`]) are values. Whatever arrives at a link goes into one queue and is
//! worked off in order by [`Network::run`], never by recursion: a packet over loopback, through a veth pair and
//! over a bridge is three entries. So there is one order of events, it is the same every time, and a ring of
//! bridges fills a bounded queue instead of the stack.
//! 1. `input`: link counters and captures, then the bridge the link is a port of, or `rise` to ARP or IP.
//!    IP: header checks, reassembly, PREROUTING, route; then INPUT and a socket, or TTL, FORWARD,
//!    POSTROUTING and out.
//! 2. `output`: a socket's packet: route, OUTPUT (which may change the destination, and so the route),
//!    POSTROUTING; to this host over loopback, or to a neighbour.
//! 3. `resolve`: ARP and neighbour discovery; packets wait, bounded, until the neighbour has answered.
//! 4. `link`: onto loopback, to the other end of the pair, over the bridge, or into the outbox from where the
//!    machine's owner carries frames to the switch.
//!
//! *TCP* is smoltcp's state machine, one interface per connection (`socket/engine`); demultiplexing, backlog,
//! errors, timeouts and TIME-WAIT are around it (`socket/stream`). smoltcp's wire types read and write headers.
//! UDP, ICMP and raw sockets are queues (`socket/datagram`).
//!
//! *Checksums* of packets made here are filled in when they leave the machine or are captured
//! ([`packet::Frame::partial`]); inside it they could not go wrong.
//!
//! *Large segments* stand for many until they leave the machine (`segment`).
//!
//! *Time* is an argument: [`Network::at`] and [`Network::poll`] take `now`, [`Network::poll_at`] says when
//! something is due. Nothing blocks: `EAGAIN`, and a wait queue that is woken. Every queue and table has a bound.
//! Frames are hostile input: whatever they hold, nothing panics (`fuzz/`).
//!
//! *Not here:* spanning tree, VLANs, policy routing beyond the three tables, multicast membership,
//! duplicate address detection, router advertisements, SYN cookies, selective acknowledgements when sending.

mod address;
pub mod bpf;
pub mod bridge;
mod census;
pub mod fault;
mod fragment;
mod icmp;
mod input;
pub mod link;
mod namespace;
pub mod neighbour;
pub mod netfilter;
mod network;
mod output;
pub mod packet;
pub mod pcap;
mod resolve;
pub mod route;
mod segment;
pub mod socket;
mod sweep;
mod switch;
pub mod tap;
mod types;
pub mod upper;

pub use fault::Fault;
pub use namespace::{Endpoint, Namespace, Settings, Snmp};
pub use network::{Event, Network, address};
pub use packet::Mac;
pub use switch::{Cable, EVERY_GROUP, Switch};
pub use types::{Cidr, LinkId, NsId, PortId, SocketId, flags, is_link_local};
