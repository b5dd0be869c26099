//! TCP sockets (`tcp(7)`): listening and accepting, connecting, errors, and what is left after `close(2)`.

mod calls;

use std::collections::VecDeque;

use abi::Errno;
use clock::{Instant, NANOS_PER_SEC};

use super::engine::{Engine, EngineSpec, TcpState};
use super::{Kind, Options, Ready, Socket};
use crate::namespace::Endpoint;
use crate::network::Network;
use crate::packet::{self, Frame, Ip, IpSpec, proto};
use crate::types::{LinkId, NsId, SocketId, is_link_local};

/// Seconds a SYN may stay unanswered (`tcp_syn_retries` 6), and a SYN-ACK (`tcp_synack_retries` 5).
const SYN_TIMEOUT_S: u64 = 127;
const SYN_ACK_TIMEOUT_S: u64 = 63;
/// Seconds that data may stay unanswered (`tcp_retries2` 15), and the end of a connection nobody has open.
const DATA_TIMEOUT_S: u64 = 924;
const ORPHAN_TIMEOUT_S: u64 = 100;
/// How long the end of the other side is waited for when nobody has the socket open (`tcp_fin_timeout`).
const FIN_TIMEOUT_NS: u64 = 60 * NANOS_PER_SEC;
/// How long a connection that is over is remembered.
const TIME_WAIT_NS: u64 = 60 * NANOS_PER_SEC;
const TIME_WAIT_MAX: usize = 4096;
/// Handshakes under way at a listening socket, at least.
const EMBRYOS_MIN: usize = 128;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Connections of a listening socket.
#[derive(Debug)]
struct Listen {
    backlog: usize,
    /// Shaking hands.
    embryos: Vec<SocketId>,
    /// Waiting to be accepted.
    ready: VecDeque<SocketId>,
}

/// A TCP socket.
#[derive(Default, Debug)]
pub struct Stream {
    engine: Option<Engine>,
    listen: Option<Listen>,
    /// The listening socket it will be accepted from.
    parent: Option<SocketId>,
    /// `connect` has not said yet that it succeeded.
    connecting: bool,
    /// Reading is shut down; writing is.
    read_shut: bool,
    write_shut: bool,
    /// What an ICMP message said that does not end the connection by itself.
    soft_error: Option<Errno>,
    /// When an end that nobody waits for is given up.
    deadline: Option<Instant>,
}

/// What tools show of a connection.
#[derive(Clone, Copy, Debug)]
pub struct StreamInfo {
    /// State.
    pub state: TcpState,
    /// Bytes not sent or not acknowledged; of a listening socket its backlog.
    pub send_queue: usize,
    /// Bytes not read; of a listening socket the connections that wait.
    pub receive_queue: usize,
    /// Largest segment the path takes.
    pub mss: u32,
    /// Path MTU.
    pub mtu: u32,
}

impl Stream {
    /// It listens.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.listen.is_some()
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> TcpState {
        match (&self.listen, &self.engine) {
            (Some(_), _) => TcpState::Listen,
            (None, Some(engine)) => match engine.state() {
                // An engine that waits for its SYN is nothing others see.
                TcpState::Listen => TcpState::Closed,
                state => state,
            },
            (None, None) => TcpState::Closed,
        }
    }

    /// What tools show.
    #[must_use]
    pub fn info(&self) -> StreamInfo {
        let (send_queue, receive_queue) = match (&self.listen, &self.engine) {
            (Some(listen), _) => (listen.backlog, listen.ready.len()),
            (None, Some(engine)) => (engine.socket().send_queue(), engine.socket().recv_queue()),
            (None, None) => (0, 0),
        };
        let mtu = self.engine.as_ref().map_or(1500, Engine::mtu) as u32;
        StreamInfo {
            state: self.state(),
            send_queue,
            receive_queue,
            mss: mtu.saturating_sub(40),
            mtu,
        }
    }

    /// Bytes that can be read.
    #[must_use]
    pub fn readable(&self) -> usize {
        self.engine
            .as_ref()
            .map_or(0, |engine| engine.socket().recv_queue())
    }

    pub(crate) fn ready(&self) -> Ready {
        if let Some(listen) = &self.listen {
            return Ready {
                readable: !listen.ready.is_empty(),
                ..Ready::default()
            };
        }
        let Some(engine) = &self.engine else {
            return Ready {
                writable: true,
                hung_up: true,
                ..Ready::default()
            };
        };
        let socket = engine.socket();
        let state = engine.state();
        if matches!(
            state,
            TcpState::SynSent | TcpState::SynReceived | TcpState::Listen
        ) {
            return Ready::default();
        }
        let peer_ended = self.read_shut || has_ended(state);
        let own_ended = self.write_shut || !socket.may_send();
        // Worth writing when a third of the buffer is free.
        let room = socket.send_capacity() - socket.send_queue();
        Ready {
            readable: socket.can_recv() || peer_ended,
            writable: own_ended || room * 3 >= socket.send_capacity(),
            peer_ended,
            hung_up: peer_ended && own_ended,
            ..Ready::default()
        }
    }
}

/// The other side has sent its end, or the connection is gone.
fn has_ended(state: TcpState) -> bool {
    matches!(
        state,
        TcpState::CloseWait
            | TcpState::LastAck
            | TcpState::Closing
            | TcpState::TimeWait
            | TcpState::Closed
            | TcpState::Listen
    )
}

fn is_synchronized(state: TcpState) -> bool {
    !matches!(
        state,
        TcpState::Closed | TcpState::Listen | TcpState::SynSent | TcpState::SynReceived
    )
}

impl Network {
    // ---- what arrives ----

    pub(crate) fn tcp_input(&mut self, ns: NsId, link: LinkId, frame: Frame, ip: &Ip) {
        let segments = frame.segment_count();
        self.count(ns, |snmp| snmp.tcp_in_segs += segments);
        let segment = ip.payload(frame.packet());
        let (Some((src, dst)), true) = (ip.ports(frame.packet()), segment.len() >= 20) else {
            self.count(ns, |snmp| snmp.tcp_in_errs += 1);
            return;
        };
        let flags = segment[13];
        if ip.dst.is_multicast() || ip.src.is_unspecified() || self.is_broadcast(ns, ip.dst) {
            return;
        }
        let key = (Endpoint::new(ip.dst, dst), Endpoint::new(ip.src, src));
        let Some(space) = self.spaces.get_mut(&ns) else {
            return;
        };
        if let Some(&id) = space.connections.get(&key) {
            self.advance(id, Some(frame));
            return;
        }
        if self.time_wait_input(ns, key, flags) {
            return;
        }
        if flags & RST != 0 {
            return;
        }
        let listener = if flags & (SYN | ACK) == SYN {
            self.find_listener(ns, key, link)
        } else {
            None
        };
        match listener {
            Some(listener) => self.begin_handshake(ns, link, listener, key, frame),
            None => self.send_reset(ns, &frame, ip),
        }
    }

    /// A segment for a connection that is over. True: it has been dealt with.
    fn time_wait_input(&mut self, ns: NsId, key: (Endpoint, Endpoint), flags: u8) -> bool {
        let now = self.now;
        let Some(space) = self.spaces.get_mut(&ns) else {
            return false;
        };
        let Some(old) = space.time_wait.get(&key) else {
            return false;
        };
        if old.expires <= now || flags & (SYN | ACK | RST) == SYN {
            space.time_wait.remove(&key);
            return false;
        }
        let answer = old.last.clone().filter(|_| flags & FIN != 0);
        if let Some(packet) = answer {
            let mut frame = Frame::for_packet(packet.len());
            frame.packet_mut().copy_from_slice(&packet);
            let _ = self.output(ns, frame, None);
        }
        true
    }

    /// The socket that listens for a connection: the one bound most exactly; of several that share a port
    /// the addresses decide.
    fn find_listener(&self, ns: NsId, key: (Endpoint, Endpoint), link: LinkId) -> Option<SocketId> {
        let owners = self.spaces.get(&ns)?.tcp_ports.get(&key.0.port)?;
        let scored = owners.iter().filter_map(|&id| {
            let socket = self.sockets.get(&id)?;
            let listens = socket.stream().is_some_and(Stream::is_listening);
            let score = socket.fit(key.0.ip, Some(key.1), link)?;
            listens.then_some((score, id))
        });
        let scored: Vec<(u32, SocketId)> = scored.collect();
        let best = scored.iter().map(|(score, _)| *score).max()?;
        let equal: Vec<SocketId> = scored
            .into_iter()
            .filter(|(score, _)| *score == best)
            .map(|(_, id)| id)
            .collect();
        let dice = usize::from(key.1.port).wrapping_mul(0x9e37) >> 4;
        equal.get(dice % equal.len().max(1)).copied()
    }

    /// A SYN for a listening socket: a connection that shakes hands, if there is room.
    fn begin_handshake(
        &mut self,
        ns: NsId,
        link: LinkId,
        listener: SocketId,
        key: (Endpoint, Endpoint),
        frame: Frame,
    ) {
        let Some(socket) = self.sockets.get(&listener) else {
            return;
        };
        let (v6, options) = (socket.v6, socket.options.clone());
        let Some(listen) = socket.stream().and_then(|stream| stream.listen.as_ref()) else {
            return;
        };
        let full = listen.ready.len() > listen.backlog
            || listen.embryos.len() > listen.backlog.max(EMBRYOS_MIN);
        if full {
            self.count(ns, |snmp| snmp.tcp_listen_drops += 1);
            return;
        }
        let mtu = self.path_mtu(ns, key.1.ip, Some(link));
        let spec = EngineSpec {
            local: key.0,
            mtu,
            buffers: options.buffers,
            seed: self.rng.next_u64(),
        };
        let (Some(engine), Ok(id)) = (
            Engine::listen(&spec, self.now),
            self.socket(ns, Kind::Tcp, v6),
        ) else {
            return;
        };
        if let Some(listen) = self.listen_mut(listener) {
            listen.embryos.push(id);
        }
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.local = Some(key.0);
            socket.remote = Some(key.1);
            socket.options = options;
            socket.scope = Some(link).filter(|_| is_link_local(key.1.ip));
            if let Some(stream) = socket.stream_mut() {
                stream.engine = Some(engine);
                stream.parent = Some(listener);
            }
        }
        if let Some(space) = self.spaces.get_mut(&ns) {
            space.connections.insert(key, id);
            space.snmp.tcp_passive_opens += 1;
        }
        self.apply_options(id);
        self.advance(id, Some(frame));
    }

    fn listen_mut(&mut self, id: SocketId) -> Option<&mut Listen> {
        self.sockets.get_mut(&id)?.stream_mut()?.listen.as_mut()
    }

    fn path_mtu(&self, ns: NsId, to: std::net::IpAddr, link: Option<LinkId>) -> usize {
        let only = link.filter(|_| is_link_local(to));
        let Ok(hop) = self.route(ns, to, only) else {
            return 1500;
        };
        let out = if hop.kind == crate::route::RouteKind::Local {
            self.loopback(ns)
        } else {
            Some(hop.link)
        };
        out.and_then(|id| self.links.get(&id))
            .map_or(1500, |link| link.mtu as usize)
    }

    /// Answers a segment nobody wants (RFC 9293 §3.5.2).
    pub(crate) fn send_reset(&mut self, ns: NsId, frame: &Frame, ip: &Ip) {
        let segment = ip.payload(frame.packet());
        if segment.len() < 20 || segment[13] & RST != 0 {
            return;
        }
        let word = |at: usize| {
            u32::from_be_bytes([
                segment[at],
                segment[at + 1],
                segment[at + 2],
                segment[at + 3],
            ])
        };
        let header_len = usize::from(segment[12] >> 4) * 4;
        let flags = segment[13];
        let mut reset = [0; 20];
        reset[..2].copy_from_slice(&segment[2..4]);
        reset[2..4].copy_from_slice(&segment[..2]);
        reset[12] = 5 << 4;
        if flags & ACK != 0 {
            reset[4..8].copy_from_slice(&word(8).to_be_bytes());
            reset[13] = RST;
        } else {
            let len = segment.len().saturating_sub(header_len) as u32
                + u32::from(flags & SYN != 0)
                + u32::from(flags & FIN != 0);
            reset[8..12].copy_from_slice(&word(4).wrapping_add(len).to_be_bytes());
            reset[13] = RST | ACK;
        }
        self.count(ns, |snmp| snmp.tcp_out_rsts += 1);
        let spec = IpSpec {
            src: ip.dst,
            dst: ip.src,
            proto: proto::TCP,
            ttl: 64,
            tos: 0,
            dont_fragment: true,
            id: 0,
        };
        let _ = self.output(ns, packet::build(&spec, &[&reset]), None);
    }

    // ---- a step of a connection ----

    /// Gives a connection a segment, or its turn; then looks what became of it.
    pub(crate) fn advance(&mut self, id: SocketId, input: Option<Frame>) {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        let (ns, only, is_orphan) = (socket.ns, socket.scope, socket.is_orphan);
        let (mark, options) = (socket.options.mark, timing(&socket.options));
        let Some(stream) = socket.stream_mut() else {
            return;
        };
        let Some(engine) = &mut stream.engine else {
            return;
        };
        let before = (
            engine.state(),
            engine.socket().recv_queue(),
            engine.socket().send_queue(),
        );
        let had_input = input.is_some();
        let was_reset = input.as_ref().is_some_and(is_reset);
        let mut out = engine.step(input, now);
        if is_orphan && engine.socket().can_recv() && engine.state() != TcpState::Closed {
            // Data for nobody.
            engine.socket_mut().abort();
            out.extend(engine.step(None, now));
        }
        engine.set_timeout(timeout(engine, options, is_orphan));
        let after = (
            engine.state(),
            engine.socket().recv_queue(),
            engine.socket().send_queue(),
        );
        let at = engine.poll_at(now);
        let segments = out.iter().map(Frame::segment_count).sum::<u64>();
        self.count(ns, |snmp| snmp.tcp_out_segs += segments);
        for mut frame in out {
            frame.mark = mark;
            if let Err(errno) = self.output(ns, frame, only) {
                self.output_failed(id, errno);
            }
        }
        if before != after {
            self.touch(id);
        }
        let died = matches!(after.0, TcpState::Closed | TcpState::Listen) && before.0 != after.0;
        if died {
            self.connection_ended(id, before.0, was_reset, had_input);
            return;
        }
        self.connection_went_on(id, before.0, after.0, at);
    }

    /// A segment could not be sent for a reason that will not pass.
    fn output_failed(&mut self, id: SocketId, errno: Errno) {
        if let Some(stream) = self.sockets.get_mut(&id).and_then(Socket::stream_mut)
            && matches!(
                errno,
                Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EPERM
            )
        {
            stream.soft_error = Some(errno).filter(|_| errno != Errno::EPERM);
        }
    }

    fn connection_went_on(
        &mut self,
        id: SocketId,
        before: TcpState,
        after: TcpState,
        at: Option<Instant>,
    ) {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        let is_orphan = socket.is_orphan;
        let Some(stream) = socket.stream_mut() else {
            return;
        };
        let parent = stream.parent;
        if is_orphan && after == TcpState::TimeWait {
            self.enter_time_wait(id);
            return;
        }
        if is_orphan && after == TcpState::FinWait2 && stream.deadline.is_none() {
            stream.deadline = Some(now.plus(FIN_TIMEOUT_NS));
        }
        let due = match (at, stream.deadline) {
            (Some(at), Some(deadline)) => Some(at.min(deadline)),
            (at, deadline) => at.or(deadline),
        };
        self.set_socket_timer(id, due);
        if let Some(parent) = parent
            && is_synchronized(after)
            && !is_synchronized(before)
            && let Some(listen) = self.listen_mut(parent)
        {
            listen.embryos.retain(|&embryo| embryo != id);
            listen.ready.push_back(id);
            self.touch(parent);
        }
    }

    fn connection_ended(
        &mut self,
        id: SocketId,
        before: TcpState,
        was_reset: bool,
        had_input: bool,
    ) {
        self.set_socket_timer(id, None);
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        let (ns, is_orphan) = (socket.ns, socket.is_orphan);
        let Some(stream) = socket.stream_mut() else {
            return;
        };
        let embryo_of = stream.parent.filter(|_| !is_synchronized(before));
        let soft = stream.soft_error;
        if was_reset {
            socket.error = Some(match before {
                TcpState::SynSent => Errno::ECONNREFUSED,
                TcpState::CloseWait => Errno::EPIPE,
                _ => Errno::ECONNRESET,
            });
            self.count(ns, |snmp| match before {
                TcpState::SynSent | TcpState::SynReceived => snmp.tcp_attempt_fails += 1,
                _ => snmp.tcp_estab_resets += 1,
            });
        } else if !had_input
            && !is_orphan
            && !matches!(before, TcpState::TimeWait | TcpState::Closing)
        {
            socket.error = Some(soft.unwrap_or(Errno::ETIMEDOUT));
        }
        self.touch(id);
        if let Some(parent) = embryo_of {
            if let Some(listen) = self.listen_mut(parent) {
                listen.embryos.retain(|&embryo| embryo != id);
            }
            self.drop_socket(id);
        } else if is_orphan {
            self.drop_socket(id);
        } else {
            self.forget_connection(id);
        }
    }

    /// The connection is over and nobody has it open: a note is kept in its place.
    fn enter_time_wait(&mut self, id: SocketId) {
        let expires = self.now.plus(TIME_WAIT_NS);
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        let (ns, ends) = (socket.ns, (socket.local, socket.remote));
        let engine = socket.stream_mut().and_then(|stream| stream.engine.take());
        self.drop_socket_with(id, ends);
        let (Some(engine), (Some(local), Some(remote)), Some(space)) =
            (engine, ends, self.spaces.get_mut(&ns))
        else {
            return;
        };
        space.forget_time_waits(self.now, TIME_WAIT_MAX);
        let key = (local, remote);
        space.time_wait_order.push_back((expires, key));
        space.time_wait.insert(key, engine.into_time_wait(expires));
        self.sweep_soon(ns);
    }

    fn drop_socket_with(&mut self, id: SocketId, ends: (Option<Endpoint>, Option<Endpoint>)) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            (socket.local, socket.remote) = ends;
        }
        self.drop_socket(id);
    }

    /// Its addresses are nobody's any more.
    pub(crate) fn forget_connection(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get(&id) else {
            return;
        };
        if let (Some(local), Some(remote), Some(space)) =
            (socket.local, socket.remote, self.spaces.get_mut(&socket.ns))
            && space.connections.get(&(local, remote)) == Some(&id)
        {
            space.connections.remove(&(local, remote));
        }
    }

    pub(crate) fn socket_timer(&mut self, id: SocketId) {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        socket.timer = None;
        let is_late = socket
            .stream_mut()
            .and_then(|stream| stream.deadline)
            .is_some_and(|deadline| deadline <= now);
        if is_late {
            // The other side never ended.
            self.drop_socket(id);
            return;
        }
        self.advance(id, None);
    }

    /// An ICMP error about a connection.
    pub(crate) fn stream_error(
        &mut self,
        ns: NsId,
        key: (Endpoint, Endpoint),
        errno: Errno,
        mtu: Option<u32>,
    ) {
        let now = self.now;
        let Some(&id) = self
            .spaces
            .get(&ns)
            .and_then(|space| space.connections.get(&key))
        else {
            return;
        };
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        let Some(stream) = socket.stream_mut() else {
            return;
        };
        let Some(engine) = &mut stream.engine else {
            return;
        };
        if let Some(mtu) = mtu {
            let mtu = (mtu as usize).clamp(552, engine.mtu());
            engine.set_mtu(mtu, now);
            return;
        }
        if engine.state() == TcpState::SynSent {
            stream.engine = None;
            socket.error = Some(errno);
            self.forget_connection(id);
            self.set_socket_timer(id, None);
            self.count(ns, |snmp| snmp.tcp_attempt_fails += 1);
            self.touch(id);
        } else {
            stream.soft_error = Some(errno);
        }
    }
}

/// What decides on a connection's timeout: `TCP_USER_TIMEOUT`, and keep-alive.
fn timing(options: &Options) -> (u32, Option<u64>) {
    let (idle, interval) = options.keep_alive_s;
    let silence = u64::from(idle) + 9 * u64::from(interval);
    (
        options.user_timeout_ms,
        options.keep_alive.then_some(silence),
    )
}

/// Seconds the other side may be silent now; none when nothing is asked of it.
fn timeout(engine: &Engine, options: (u32, Option<u64>), is_orphan: bool) -> Option<u64> {
    let (user_ms, keep_alive) = options;
    let unanswered = engine.socket().send_queue() > 0;
    match engine.state() {
        TcpState::SynSent => Some(SYN_TIMEOUT_S),
        TcpState::SynReceived => Some(SYN_ACK_TIMEOUT_S),
        TcpState::FinWait1 | TcpState::Closing | TcpState::LastAck if is_orphan => {
            Some(ORPHAN_TIMEOUT_S)
        }
        TcpState::FinWait1 | TcpState::Closing | TcpState::LastAck => Some(DATA_TIMEOUT_S),
        _ if unanswered && user_ms > 0 => Some(u64::from(user_ms).div_ceil(1000)),
        _ if unanswered => Some(DATA_TIMEOUT_S),
        _ => keep_alive,
    }
}

fn is_reset(frame: &Frame) -> bool {
    let packet = frame.packet();
    Ip::parse(packet).is_some_and(|ip| {
        ip.payload(packet)
            .get(13)
            .is_some_and(|flags| flags & RST != 0)
    })
}
