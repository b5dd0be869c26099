//! The state machine of one TCP connection: smoltcp's socket in an interface of its own.
//!
//! smoltcp drives its sockets from an `Interface` that looks through all of them for every packet. Here the
//! network finds the connection by its addresses first, and each connection has an interface with one
//! socket: a packet costs the same however many connections there are. The interface's device is [`Wire`],
//! which takes one packet in and collects those that go out; where they go is the network's business.
//!
//! What smoltcp's socket has not, and [`super::stream`] adds: backlog and accept queue, errors (it only knows
//! "closed"), timeouts that run while something is unanswered and not on idle connections, what happens
//! after `close(2)`, TIME-WAIT without buffers, path MTU.
//!
//! smoltcp waits a second at least before it sends something again, Linux 200 ms. That cannot be set; so once
//! a connection stands, time goes five times as fast for its engine, and what is measured in seconds takes
//! five times as many. The handshake keeps real time: there both wait a second.

use std::net::IpAddr;
use std::num::NonZeroUsize;

use clock::Instant;
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{
    Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, PacketMeta, RxToken,
    TxToken,
};
use smoltcp::socket::tcp::{self, CongestionControl, SocketBuffer};
use smoltcp::time::Duration;
use smoltcp::wire::{HardwareAddress, IpCidr};

use crate::namespace::Endpoint;
use crate::packet::{ETHERNET_BYTES, Frame};

pub use smoltcp::socket::tcp::State as TcpState;

/// Bytes of a send or receive buffer.
pub(crate) const BUFFER_BYTES: usize = 128 * 1024;
/// The largest packet.
const LARGEST: Option<NonZeroUsize> = NonZeroUsize::new(65_535);
/// Segments that one call sends at most.
const SEGMENTS_MAX: usize = 512;

/// A connection that is over, kept to answer what is still on its way. The last segment it sent was an
/// acknowledgement of everything: it is sent again for every FIN that comes.
#[derive(Debug)]
pub struct TimeWait {
    /// When it is forgotten.
    pub(crate) expires: Instant,
    /// Its last segment.
    pub(crate) last: Option<Vec<u8>>,
}

/// The device of a connection's interface.
#[derive(Debug)]
struct Wire {
    mtu: usize,
    input: Option<Frame>,
    output: Vec<Frame>,
}

struct Incoming(Frame);

impl RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0.packet())
    }
}

struct Outgoing<'a> {
    frames: &'a mut Vec<Frame>,
    /// Bytes of data per segment, if the packet stands for several.
    segment: u16,
}

impl Outgoing<'_> {
    fn new(frames: &mut Vec<Frame>) -> Outgoing<'_> {
        Outgoing { frames, segment: 0 }
    }
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = Frame::for_packet(len);
        frame.segment = self.segment;
        let result = f(frame.packet_mut());
        self.frames.push(frame);
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segment = meta.segmentation_offload_size.map_or(0, Into::into);
    }
}

impl Device for Wire {
    type RxToken<'a> = Incoming;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Incoming, Outgoing<'_>)> {
        let frame = self.input.take()?;
        Some((Incoming(frame), Outgoing::new(&mut self.output)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Outgoing<'_>> {
        Some(Outgoing::new(&mut self.output))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut checksum = ChecksumCapabilities::ignored();
        // The network checks what comes in, and fills in what goes out on a wire.
        checksum.ipv4 = Checksum::Tx;
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ip;
        caps.max_transmission_unit = self.mtu;
        caps.checksum = checksum;
        // One packet for many segments, which are cut where they leave the machine.
        (caps.segmentation.tcpv4, caps.segmentation.tcpv6) = (LARGEST, LARGEST);
        caps
    }
}

/// A connection.
pub(crate) struct Engine {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    wire: Wire,
    local: IpAddr,
    seed: u64,
    /// Since when time goes faster.
    stands_since: Option<Instant>,
    /// Seconds of silence after which a sign of life is asked for.
    keep_alive_s: Option<u64>,
    /// The last segment sent, as TIME-WAIT needs it.
    last: Vec<u8>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({:?})", self.state())
    }
}

/// How much faster time goes for the engine of a connection that stands.
const PACE: u64 = 5;
/// How long an acknowledgement may wait for company, in milliseconds.
const ACK_DELAY_MS: u64 = 10;

fn instant(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros((now.0 / 1000) as i64)
}

/// What a connection is made with.
pub(crate) struct EngineSpec {
    pub(crate) local: Endpoint,
    pub(crate) mtu: usize,
    pub(crate) buffers: (usize, usize),
    pub(crate) seed: u64,
}

impl Engine {
    fn new(spec: &EngineSpec, now: Instant) -> Engine {
        let (send, receive) = (
            spec.buffers.0.clamp(2048, 4 << 20),
            spec.buffers.1.clamp(2048, 4 << 20),
        );
        let mut socket = tcp::Socket::new(
            SocketBuffer::new(vec![0; receive]),
            SocketBuffer::new(vec![0; send]),
        );
        socket.set_congestion_control(CongestionControl::Cubic);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        let mut wire = Wire {
            mtu: spec.mtu.min(65_535),
            input: None,
            output: Vec::new(),
        };
        let interface = interface(&mut wire, spec.local.ip, spec.seed, instant(now));
        Engine {
            interface,
            sockets,
            handle,
            wire,
            local: spec.local.ip,
            seed: spec.seed,
            stands_since: None,
            keep_alive_s: None,
            last: Vec::new(),
        }
    }

    /// One that sends a SYN.
    pub(crate) fn connect(spec: &EngineSpec, to: Endpoint, now: Instant) -> Option<Engine> {
        let mut engine = Engine::new(spec, now);
        let socket = engine.sockets.get_mut::<tcp::Socket<'_>>(engine.handle);
        let local = (spec.local.ip, spec.local.port);
        socket
            .connect(engine.interface.context(), (to.ip, to.port), local)
            .ok()?;
        Some(engine)
    }

    /// One that waits for a SYN.
    pub(crate) fn listen(spec: &EngineSpec, now: Instant) -> Option<Engine> {
        let mut engine = Engine::new(spec, now);
        let local = (spec.local.ip, spec.local.port);
        engine.socket_mut().listen(local).ok()?;
        Some(engine)
    }

    pub(crate) fn socket(&self) -> &tcp::Socket<'static> {
        self.sockets.get::<tcp::Socket<'static>>(self.handle)
    }

    pub(crate) fn socket_mut(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut::<tcp::Socket<'static>>(self.handle)
    }

    pub(crate) fn state(&self) -> TcpState {
        self.socket().state()
    }

    /// Takes a packet in, does what is due, and gives the packets that go out.
    pub(crate) fn step(&mut self, input: Option<Frame>, now: Instant) -> Vec<Frame> {
        let real = now;
        let mut now = self.time(real);
        if input.is_some() {
            self.wire.input = input;
            self.interface
                .poll_ingress_single(now, &mut self.wire, &mut self.sockets);
        }
        if self.stands_since.is_none() && self.state() == TcpState::Established {
            self.stands_since = Some(real);
            now = self.time(real);
            self.socket_mut()
                .set_ack_delay(Some(Duration::from_millis(ACK_DELAY_MS * PACE)));
            self.set_keep_alive(self.keep_alive_s);
        }
        for _ in 0..SEGMENTS_MAX {
            let sent = self
                .interface
                .poll_egress(now, &mut self.wire, &mut self.sockets);
            if sent == PollResult::None {
                break;
            }
        }
        if let Some(frame) = self.wire.output.last()
            && frame.bytes.len() <= ETHERNET_BYTES + 40 + 60
        {
            self.last.clear();
            self.last.extend_from_slice(frame.packet());
        }
        std::mem::take(&mut self.wire.output)
    }

    /// The time as the engine has it.
    fn time(&self, now: Instant) -> smoltcp::time::Instant {
        match self.stands_since {
            Some(since) => instant(since.plus(now.since(since).saturating_mul(PACE))),
            None => instant(now),
        }
    }

    /// How much faster it goes.
    fn pace(&self) -> u64 {
        self.stands_since.map_or(1, |_| PACE)
    }

    /// When [`Engine::step`] has something to do.
    pub(crate) fn poll_at(&mut self, now: Instant) -> Option<Instant> {
        let time = self.time(now);
        let at = self.interface.poll_at(time, &self.sockets)?;
        let at = Instant((at.total_micros().max(0) as u64) * 1000);
        let real = match self.stands_since {
            // Rounded up, or it would be a moment too early.
            Some(since) => since.plus(at.since(since).div_ceil(PACE)),
            None => at,
        };
        Some(real.max(now))
    }

    /// The largest packet on the path is another.
    pub(crate) fn set_mtu(&mut self, mtu: usize, now: Instant) {
        if mtu != self.wire.mtu && mtu >= 68 {
            self.wire.mtu = mtu.min(65_535);
            let time = self.time(now);
            self.interface = interface(&mut self.wire, self.local, self.seed, time);
        }
    }

    pub(crate) fn mtu(&self) -> usize {
        self.wire.mtu
    }

    /// Sets how long the peer may leave something unanswered.
    pub(crate) fn set_timeout(&mut self, seconds: Option<u64>) {
        let timeout = seconds.map(|seconds| Duration::from_secs(seconds * self.pace()));
        if self.socket().timeout() != timeout {
            self.socket_mut().set_timeout(timeout);
        }
    }

    /// Sets after how many seconds of silence a sign of life is asked for.
    pub(crate) fn set_keep_alive(&mut self, seconds: Option<u64>) {
        self.keep_alive_s = seconds;
        let interval = seconds.map(|seconds| Duration::from_secs(seconds * self.pace()));
        if self.socket().keep_alive() != interval {
            self.socket_mut().set_keep_alive(interval);
        }
    }

    /// What is left of it when it is over.
    pub(crate) fn into_time_wait(self, expires: Instant) -> TimeWait {
        TimeWait {
            expires,
            last: Some(self.last).filter(|last| !last.is_empty()),
        }
    }
}

fn interface(wire: &mut Wire, local: IpAddr, seed: u64, now: smoltcp::time::Instant) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut interface = Interface::new(config, wire, now);
    let prefix = if local.is_ipv4() { 32 } else { 128 };
    interface.update_ip_addrs(|addresses| {
        let _ = addresses.push(IpCidr::new(local.into(), prefix));
    });
    interface
}
