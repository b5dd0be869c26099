//! The system calls of TCP sockets.

use std::collections::VecDeque;

use abi::{Errno, Result};

use super::super::engine::{Engine, EngineSpec, TcpState};
use super::super::{Socket, State};
use super::{Listen, Stream, StreamInfo, has_ended, is_synchronized};
use crate::namespace::Endpoint;
use crate::network::Network;
use crate::types::{LinkId, SocketId, is_link_local};

impl Network {
    /// `listen(2)`; called again it changes the backlog.
    pub fn listen(&mut self, id: SocketId, backlog: u32) -> Result<()> {
        let socket = self.get(id)?;
        let stream = socket.stream().ok_or(Errno::EOPNOTSUPP)?;
        if stream.engine.is_some() && is_synchronized(stream.state()) {
            return Err(Errno::EINVAL);
        }
        let backlog = backlog.min(self.space(socket.ns)?.settings.backlog_max) as usize;
        let was_listening = stream.is_listening();
        let local = self.autobind(id)?;
        if !was_listening && self.has_rival(id, local) {
            return Err(Errno::EADDRINUSE);
        }
        let stream = self.get_mut(id)?.stream_mut().ok_or(Errno::EOPNOTSUPP)?;
        stream.engine = None;
        match &mut stream.listen {
            Some(listen) => listen.backlog = backlog,
            None => {
                stream.listen = Some(Listen {
                    backlog,
                    embryos: Vec::new(),
                    ready: VecDeque::new(),
                });
            }
        }
        self.touch(id);
        Ok(())
    }

    /// Another socket listens at the same place: sharing a port by SO_REUSEADDR ends there.
    fn has_rival(&self, id: SocketId, local: Endpoint) -> bool {
        let Ok(socket) = self.get(id) else {
            return false;
        };
        let owners = self
            .spaces
            .get(&socket.ns)
            .and_then(|space| space.tcp_ports.get(&local.port));
        owners.into_iter().flatten().any(|other| {
            *other != id
                && self.sockets.get(other).is_some_and(|other| {
                    other.stream().is_some_and(Stream::is_listening)
                        && other.local == socket.local
                        && !(other.options.reuse_port && socket.options.reuse_port)
                })
        })
    }

    /// `accept(2)`.
    pub fn accept(&mut self, id: SocketId) -> Result<SocketId> {
        loop {
            let stream = self.get_mut(id)?.stream_mut().ok_or(Errno::EOPNOTSUPP)?;
            let listen = stream.listen.as_mut().ok_or(Errno::EINVAL)?;
            let next = listen.ready.pop_front().ok_or(Errno::EAGAIN)?;
            // One that was reset in the meantime is still given out: its first call says so.
            if let Some(stream) = self.sockets.get_mut(&next).and_then(Socket::stream_mut) {
                stream.parent = None;
                return Ok(next);
            }
        }
    }

    /// `connect(2)` of a stream: `EINPROGRESS` or, for a blocking caller, `EAGAIN` while it goes on.
    pub fn connect_stream(
        &mut self,
        id: SocketId,
        to: Endpoint,
        scope: Option<LinkId>,
        nonblocking: bool,
    ) -> Result<()> {
        let socket = self.get_mut(id)?;
        if let Some(errno) = socket.error.take() {
            if let Some(stream) = socket.stream_mut() {
                (stream.engine, stream.connecting) = (None, false);
            }
            socket.remote = None;
            return Err(errno);
        }
        let stream = socket.stream_mut().ok_or(Errno::EOPNOTSUPP)?;
        if stream.is_listening() {
            return Err(Errno::EISCONN);
        }
        if stream.engine.is_some() {
            return match stream.state() {
                TcpState::SynSent | TcpState::SynReceived if nonblocking => Err(Errno::EALREADY),
                TcpState::SynSent | TcpState::SynReceived => Err(Errno::EAGAIN),
                // It failed, and SO_ERROR has told why: the next call begins anew.
                TcpState::Closed if stream.connecting => {
                    (stream.engine, stream.connecting) = (None, false);
                    socket.remote = None;
                    Err(Errno::ECONNABORTED)
                }
                _ if std::mem::take(&mut stream.connecting) => Ok(()),
                _ => Err(Errno::EISCONN),
            };
        }
        self.begin_connect(id, to, scope)?;
        self.run();
        let socket = self.get_mut(id)?;
        // The answer to a SYN comes later, even on loopback: who does not block relies on it.
        if nonblocking {
            return Err(Errno::EINPROGRESS);
        }
        match socket.stream().map(Stream::state) {
            Some(TcpState::SynSent | TcpState::SynReceived) => Err(Errno::EAGAIN),
            _ => self.connect_stream(id, to, scope, false),
        }
    }

    fn begin_connect(&mut self, id: SocketId, to: Endpoint, scope: Option<LinkId>) -> Result<()> {
        let mut to = to;
        if to.ip.is_unspecified() {
            to.ip = localhost(to.ip);
        }
        let socket = self.get(id)?;
        let (ns, options) = (socket.ns, socket.options.clone());
        if to.ip.is_multicast() || self.is_broadcast(ns, to.ip) {
            return Err(Errno::ENETUNREACH);
        }
        if to.port == 0 {
            return Err(Errno::ECONNREFUSED);
        }
        let (_, source) = self.path(id, to.ip, scope)?;
        let port = match self.get(id)?.local {
            Some(local) => local.port,
            None => self.take_port(id, Endpoint::new(source, 0))?.port,
        };
        let local = Endpoint::new(source, port);
        let space = self.space_mut(ns)?;
        if space.connections.contains_key(&(local, to)) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        space.time_wait.remove(&(local, to));
        space.snmp.tcp_active_opens += 1;
        let spec = EngineSpec {
            local,
            mtu: self.path_mtu(ns, to.ip, scope),
            buffers: options.buffers,
            seed: self.rng.next_u64(),
        };
        let engine = Engine::connect(&spec, to, self.now).ok_or(Errno::EADDRNOTAVAIL)?;
        let socket = self.get_mut(id)?;
        (socket.local, socket.remote) = (Some(local), Some(to));
        socket.scope = scope.filter(|_| is_link_local(to.ip)).or(socket.scope);
        if let Some(stream) = socket.stream_mut() {
            stream.engine = Some(engine);
            stream.connecting = true;
            (stream.read_shut, stream.write_shut) = (false, false);
        }
        self.space_mut(ns)?.connections.insert((local, to), id);
        self.apply_options(id);
        self.advance(id, None);
        Ok(())
    }

    /// Sends what fits.
    pub fn send_stream(&mut self, id: SocketId, data: &[u8]) -> Result<usize> {
        let socket = self.get_mut(id)?;
        if let Some(errno) = socket.error.take() {
            return Err(errno);
        }
        let stream = socket.stream_mut().ok_or(Errno::EOPNOTSUPP)?;
        if stream.write_shut {
            return Err(Errno::EPIPE);
        }
        let engine = stream.engine.as_mut().ok_or(Errno::EPIPE)?;
        if matches!(engine.state(), TcpState::SynSent | TcpState::SynReceived) {
            return Err(Errno::EAGAIN);
        }
        stream.connecting = false;
        let sent = engine
            .socket_mut()
            .send_slice(data)
            .map_err(|_| Errno::EPIPE)?;
        if sent == 0 && !data.is_empty() {
            return Err(Errno::EAGAIN);
        }
        self.advance(id, None);
        self.run();
        Ok(sent)
    }

    /// Receives what is there; 0 is the end.
    pub fn receive_stream(&mut self, id: SocketId, buf: &mut [u8], peek: bool) -> Result<usize> {
        let socket = self.get_mut(id)?;
        let error = socket.error;
        let stream = socket.stream_mut().ok_or(Errno::EOPNOTSUPP)?;
        let Some(engine) = &mut stream.engine else {
            return Err(socket.error.take().unwrap_or(Errno::ENOTCONN));
        };
        if matches!(engine.state(), TcpState::SynSent | TcpState::SynReceived) {
            return Err(Errno::EAGAIN);
        }
        stream.connecting = false;
        if engine.socket().can_recv() {
            let got = if peek {
                engine.socket_mut().peek_slice(buf)
            } else {
                engine.socket_mut().recv_slice(buf)
            };
            let count = got.unwrap_or(0);
            if !peek && is_synchronized(engine.state()) {
                self.advance(id, None);
                self.run();
            }
            return Ok(count);
        }
        if error.is_some() {
            let errno = socket.error.take();
            return Err(errno.unwrap_or(Errno::EIO));
        }
        if stream.read_shut || has_ended(engine.state()) {
            return Ok(0);
        }
        Err(Errno::EAGAIN)
    }

    /// `shutdown(2)` of a stream.
    pub fn shutdown_stream(&mut self, id: SocketId, read: bool, write: bool) -> Result<()> {
        let socket = self.get_mut(id)?;
        let stream = socket.stream_mut().ok_or(Errno::EOPNOTSUPP)?;
        if stream.is_listening() {
            if read {
                self.stop_listening(id);
                self.touch(id);
            }
            return Ok(());
        }
        let engine = stream.engine.as_mut().ok_or(Errno::ENOTCONN)?;
        if engine.state() == TcpState::Closed {
            return Err(Errno::ENOTCONN);
        }
        stream.read_shut |= read;
        if write && !std::mem::replace(&mut stream.write_shut, true) {
            engine.socket_mut().close();
        }
        self.touch(id);
        self.advance(id, None);
        self.run();
        Ok(())
    }

    /// Connections nobody has accepted are reset.
    fn stop_listening(&mut self, id: SocketId) {
        let listen = self
            .sockets
            .get_mut(&id)
            .and_then(Socket::stream_mut)
            .and_then(|stream| stream.listen.take());
        let Some(listen) = listen else { return };
        for child in listen.embryos.into_iter().chain(listen.ready) {
            if let Some(stream) = self.sockets.get_mut(&child).and_then(Socket::stream_mut) {
                stream.parent = None;
            }
            self.reset_connection(child);
        }
    }

    /// Ends a connection with a reset, and forgets it.
    fn reset_connection(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.is_orphan = true;
            if let Some(engine) = socket
                .stream_mut()
                .and_then(|stream| stream.engine.as_mut())
            {
                engine.socket_mut().abort();
            }
        }
        self.advance(id, None);
        self.drop_socket(id);
    }

    pub(crate) fn close_stream(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        let aborts = socket.options.linger_s == Some(0);
        let Some(stream) = socket.stream_mut() else {
            return;
        };
        if stream.is_listening() {
            self.stop_listening(id);
            self.drop_socket(id);
            return;
        }
        let Some(engine) = &mut stream.engine else {
            self.drop_socket(id);
            return;
        };
        match engine.state() {
            TcpState::Closed | TcpState::Listen | TcpState::SynSent => self.drop_socket(id),
            _ if aborts || engine.socket().can_recv() => self.reset_connection(id),
            TcpState::TimeWait => self.enter_time_wait(id),
            _ => {
                engine.socket_mut().close();
                socket.is_orphan = true;
                self.advance(id, None);
            }
        }
    }

    /// `connect(2)` to `AF_UNSPEC`: the connection is reset, the socket can be used again.
    pub fn disconnect_stream(&mut self, id: SocketId) -> Result<()> {
        let socket = self.get_mut(id)?;
        let kept = socket.bound_by_user;
        let stream = socket.stream_mut().ok_or(Errno::EOPNOTSUPP)?;
        if let Some(engine) = &mut stream.engine
            && engine.state() != TcpState::SynSent
        {
            engine.socket_mut().abort();
            self.advance(id, None);
        }
        self.stop_listening(id);
        self.forget_connection(id);
        self.set_socket_timer(id, None);
        if !kept {
            self.give_port_back(id);
        }
        let socket = self.get_mut(id)?;
        (socket.remote, socket.error) = (None, None);
        if !kept {
            socket.local = None;
        }
        if let Some(stream) = socket.stream_mut() {
            *stream = Stream::default();
        }
        self.touch(id);
        self.run();
        Ok(())
    }

    /// What tools show of a stream.
    pub fn stream_info(&self, id: SocketId) -> Result<StreamInfo> {
        let stream = self.get(id)?.stream().ok_or(Errno::EOPNOTSUPP)?;
        Ok(stream.info())
    }

    /// Bytes, or the next datagram's, that can be received (`FIONREAD`).
    #[must_use]
    pub fn readable(&self, id: SocketId) -> usize {
        match self.sockets.get(&id).map(|socket| &socket.state) {
            Some(State::Stream(stream)) => stream.readable(),
            Some(State::Datagrams(datagrams)) => datagrams.first_len(),
            None => 0,
        }
    }

    pub(crate) fn stream_options_changed(&mut self, id: SocketId) {
        let connected = self
            .sockets
            .get(&id)
            .and_then(Socket::stream)
            .is_some_and(|stream| stream.engine.is_some());
        if connected {
            self.apply_options(id);
            self.advance(id, None);
            self.run();
        }
    }

    /// Options that the engine acts on.
    pub(super) fn apply_options(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        let options = socket.options.clone();
        let Some(engine) = socket
            .stream_mut()
            .and_then(|stream| stream.engine.as_mut())
        else {
            return;
        };
        let tcp = engine.socket_mut();
        tcp.set_nagle_enabled(!options.no_delay);
        tcp.set_hop_limit(options.ttl.filter(|&ttl| ttl > 0));
        let idle = u64::from(options.keep_alive_s.0.max(1));
        engine.set_keep_alive(options.keep_alive.then_some(idle));
    }
}

fn localhost(like: std::net::IpAddr) -> std::net::IpAddr {
    match like {
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    }
}
