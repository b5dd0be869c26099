//! The playground's own host on the LAN: what the page itself uses to reach machines, their name server, and
//! the server of [`crate::web`].
//!
//! It has a network and no kernel: sockets are called directly, by futures on the playground's executor.
//! Names are those of machines and of this host. All others get `SERVFAIL`, which programs report as they do
//! on a computer that is offline: there is no Internet behind this host, unless [`crate::internet`] is on.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::task::{Context, Poll};

use abi::Errno;
use clock::{Clock, Executor, Instant, WaitQueue};
use net::link::Scope;
use net::netfilter::TableName;
use net::socket::Kind;
use net::{Cidr, Endpoint, LinkId, Network, NsId, SocketId};
use serve::{Io, IoError, IoStream, Service, h1};
use simple_dns::rdata::{A, PTR, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

use crate::internet::{self, Hint, Internet};
use crate::lan::{GATEWAY, PREFIX, set_up};
use crate::web::PACKAGES;

/// Seconds a name may be remembered: machines come and go.
const TTL_S: u32 = 5;
const DNS_PORT: u16 = 53;
/// Connections served at a time; more wait in the backlog.
const CONNECTIONS_MAX: usize = 256;
const BACKLOG: u32 = 128;

/// See the module's comment.
pub struct Gateway {
    network: RefCell<Network>,
    ns: NsId,
    link: LinkId,
    clock: Clock,
    names: RefCell<BTreeMap<String, Ipv4Addr>>,
    internet: Internet,
    /// Names asked for that are not in the playground.
    strangers: Cell<u64>,
    hints: Hints,
}

/// What is to be told, and whether it was told before.
#[derive(Default)]
struct Hints {
    waiting: RefCell<Vec<Hint>>,
    no_internet: Cell<bool>,
    no_tls: Cell<bool>,
    no_package: Cell<bool>,
}

impl Gateway {
    /// A host with its address and its name server running.
    pub(crate) fn start(seed: u64, clock: &Clock, executor: &Executor) -> Rc<Gateway> {
        let mut network = Network::new(seed);
        let ns = network.add_namespace();
        // The network is new and the address is ours: nothing is in the way.
        let link = set_up(&mut network, ns, GATEWAY).unwrap_or(LinkId(0));
        if let Ok(space) = network.space_mut(ns) {
            // It has no route to anywhere else, and says so at once.
            space.settings.forward_v4 = true;
            // Who is behind this address cannot be asked by anything but HTTP, and not by ping either.
            let rule = format!("-A INPUT -d {} -p icmp -j REJECT", internet::ADDRESS);
            let _ = space.tables_mut(false).command(TableName::Filter, &rule);
        }
        let second = Cidr::new(internet::ADDRESS.into(), PREFIX);
        let _ = network.add_address(link, net::address(second, Scope::Global));
        let gateway = Rc::new(Gateway {
            network: RefCell::new(network),
            ns,
            link,
            clock: clock.clone(),
            names: RefCell::default(),
            internet: Internet::default(),
            strangers: Cell::new(0),
            hints: Hints::default(),
        });
        executor.spawn(Rc::clone(&gateway).serve_names());
        gateway.internet.start(&gateway, executor);
        gateway
    }

    fn with<R>(&self, f: impl FnOnce(&mut Network) -> R) -> R {
        let mut network = self.network.borrow_mut();
        let result = f(network.at(self.clock.now()));
        let woken = network.take_woken();
        network.take_events();
        drop(network);
        woken.iter().for_each(|queue| queue.wake_all());
        result
    }

    /// Does what is due.
    pub(crate) fn poll(&self) {
        let now = self.clock.now();
        if self.next_deadline().is_some_and(|at| at <= now) {
            self.with(|network| network.poll(now));
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.network.borrow().poll_at()
    }

    pub(crate) fn take_frames(&self) -> Vec<Vec<u8>> {
        let frames = self.network.borrow_mut().take_frames();
        frames.into_iter().map(|(_, bytes)| bytes).collect()
    }

    pub(crate) fn deliver(&self, bytes: Vec<u8>) {
        self.with(|network| network.deliver(self.link, bytes));
    }

    pub(crate) fn add_name(&self, name: &str, ip: Ipv4Addr) {
        self.names.borrow_mut().insert(name.to_string(), ip);
    }

    pub(crate) fn remove_name(&self, name: &str) {
        self.names.borrow_mut().remove(name);
    }

    /// How often a name was asked for that is not in the playground.
    #[must_use]
    pub fn strangers(&self) -> u64 {
        self.strangers.get()
    }

    /// The way out.
    #[must_use]
    pub fn internet(&self) -> &Internet {
        &self.internet
    }

    /// Takes what is to be told.
    pub(crate) fn take_hints(&self) -> Vec<Hint> {
        self.hints.waiting.take()
    }

    pub(crate) fn hint_no_tls(&self) {
        if !self.hints.no_tls.replace(true) {
            self.hints.waiting.borrow_mut().push(Hint::NoTls);
        }
    }

    /// A package that is not in the playground's repositories, and the path of the list of those that are.
    pub(crate) fn hint_no_package(&self, name: &str, list: &str) {
        if !self.hints.no_package.replace(true) {
            self.hints.waiting.borrow_mut().push(Hint::NoPackage {
                name: name.to_string(),
                list: format!("http://{PACKAGES}{list}"),
            });
        }
    }

    /// A name that is not in the playground. One without a dot is somebody's typing error, not the Internet's.
    fn stranger(&self, name: String) {
        self.strangers.set(self.strangers.get() + 1);
        // A service of a host is asked for before the host itself.
        let is_host = !name.starts_with('_');
        if is_host && is_of_internet(&name) && !self.hints.no_internet.replace(true) {
            self.hints
                .waiting
                .borrow_mut()
                .push(Hint::NoInternet { name });
        }
    }

    fn queue(&self, id: SocketId) -> Option<Rc<WaitQueue>> {
        let network = self.network.borrow();
        network.get(id).ok().map(|socket| Rc::clone(&socket.wait))
    }

    /// Does a call until it says something else than `EAGAIN`.
    fn poll_call<T>(
        &self,
        cx: &mut Context<'_>,
        id: SocketId,
        mut call: impl FnMut(&mut Network) -> abi::Result<T>,
    ) -> Poll<abi::Result<T>> {
        match self.with(&mut call) {
            Err(Errno::EAGAIN) => {
                if let Some(queue) = self.queue(id) {
                    queue.register(cx.waker());
                }
                Poll::Pending
            }
            other => Poll::Ready(other),
        }
    }

    /// A TCP connection to a host of the LAN.
    pub async fn connect(self: &Rc<Self>, ip: Ipv4Addr, port: u16) -> abi::Result<Io> {
        let id = self.with(|network| network.socket(self.ns, Kind::Tcp, false))?;
        let stream = Stream {
            gateway: Rc::clone(self),
            id,
        };
        let to = Endpoint::new(ip, port);
        poll_fn(|cx| {
            self.poll_call(cx, id, |network| {
                network.connect_stream(id, to, None, false)
            })
        })
        .await?;
        Ok(Io::new(Rc::new(stream)))
    }

    /// Serves HTTP at a port of this host.
    pub(crate) async fn serve_http(
        self: Rc<Self>,
        at: Endpoint,
        service: Rc<dyn Service>,
        executor: Executor,
    ) {
        let clock = self.clock.clone();
        let session = move |io| {
            let (service, clock) = (Rc::clone(&service), clock.clone());
            async move {
                // A connection that breaks concerns nobody else.
                let _ = h1::serve_connection(io, service, || clock.unix_seconds()).await;
            }
        };
        self.serve(at, executor, session).await;
    }

    /// Runs a `session` with each connection to a port of this host.
    pub(crate) async fn serve<F: Future<Output = ()> + 'static>(
        self: Rc<Self>,
        at: Endpoint,
        executor: Executor,
        session: impl Fn(Io) -> F,
    ) {
        let bound = self.with(|network| {
            let id = network.socket(self.ns, Kind::Tcp, false)?;
            network.bind(id, at, None)?;
            network.listen(id, BACKLOG)?;
            Ok::<_, Errno>(id)
        });
        let Ok(listener) = bound else { return };
        let open = Rc::<Connections>::default();
        loop {
            let room = || (open.count.get() < CONNECTIONS_MAX).then_some(());
            open.closed.wait_for(room).await;
            let accepted =
                poll_fn(|cx| self.poll_call(cx, listener, |network| network.accept(listener)));
            let Ok(id) = accepted.await else { return };
            let stream = Stream {
                gateway: Rc::clone(&self),
                id,
            };
            open.count.set(open.count.get() + 1);
            let (served, open) = (session(Io::new(Rc::new(stream))), Rc::clone(&open));
            executor.spawn(async move {
                served.await;
                open.count.set(open.count.get() - 1);
                open.closed.wake_all();
            });
        }
    }

    async fn serve_names(self: Rc<Self>) {
        let bound = self.with(|network| {
            let id = network.socket(self.ns, Kind::Udp, false)?;
            network.bind(id, Endpoint::new(GATEWAY, DNS_PORT), None)?;
            Ok::<_, Errno>(id)
        });
        let Ok(id) = bound else { return };
        loop {
            let arrival = poll_fn(|cx| {
                self.poll_call(cx, id, |network| {
                    network.receive_datagram(id, false)?.ok_or(Errno::EAGAIN)
                })
            });
            let Ok(arrival) = arrival.await else { continue };
            if let Some(answer) = self.answer(&arrival.data) {
                // A lost answer is asked for again.
                let to = Some((arrival.from, None));
                let _ = self.with(|network| network.send_datagram(id, &answer, to));
            }
        }
    }

    /// The answer to a DNS question (RFC 1035); none for what is not one.
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let asked = Packet::parse(question).ok()?;
        let first = asked.questions.first()?.clone();
        let mut reply = Packet::new_reply(asked.id());
        reply.set_flags(PacketFlag::RECURSION_AVAILABLE | PacketFlag::RECURSION_DESIRED);
        let name = first.qname.to_string().to_ascii_lowercase();
        let record = |data| ResourceRecord::new(first.qname.clone(), CLASS::IN, TTL_S, data);
        let machines = self.names.borrow();
        let outside = (self.internet.is_on() && is_of_internet(&name)).then_some(internet::ADDRESS);
        if let Some(ip) = machines.get(name.as_str()).or(outside.as_ref()) {
            if matches!(first.qtype, QTYPE::TYPE(TYPE::A) | QTYPE::ANY) {
                let address = u32::from(*ip);
                reply.answers.push(record(RData::A(A { address })));
            }
        } else if let Some(known) = reverse(&name).and_then(|ip| name_of(&machines, ip)) {
            let target = Name::new(known).ok()?.into_owned();
            reply.answers.push(record(RData::PTR(PTR(target))));
        } else {
            *reply.rcode_mut() = match is_of_playground(&name) {
                true => RCODE::NameError,
                false => RCODE::ServerFailure,
            };
            self.stranger(name);
        }
        reply.questions.push(first);
        reply.build_bytes_vec().ok()
    }
}

/// Names of this host's own zone: here it is known what there is not.
fn is_of_playground(name: &str) -> bool {
    name == "drydock" || name.ends_with(".drydock")
}

fn is_of_internet(name: &str) -> bool {
    name.contains('.') && !name.ends_with(".arpa") && !is_of_playground(name)
}

fn name_of(machines: &BTreeMap<String, Ipv4Addr>, ip: Ipv4Addr) -> Option<&str> {
    let mut all = machines.iter();
    all.find(|(_, known)| **known == ip)
        .map(|(name, _)| name.as_str())
}

/// The address that `4.3.2.1.in-addr.arpa` asks for.
fn reverse(name: &str) -> Option<Ipv4Addr> {
    let backwards: IpAddr = name.strip_suffix(".in-addr.arpa")?.parse().ok()?;
    let IpAddr::V4(backwards) = backwards else {
        return None;
    };
    let [d, c, b, a] = backwards.octets();
    Some(Ipv4Addr::new(a, b, c, d))
}

/// How many connections are being served.
#[derive(Default)]
struct Connections {
    count: Cell<usize>,
    closed: WaitQueue,
}

/// A TCP connection of the gateway. Dropping it closes it.
struct Stream {
    gateway: Rc<Gateway>,
    id: SocketId,
}

fn broken(errno: Errno) -> IoError {
    match errno {
        Errno::ECONNRESET => IoError("connection reset by peer"),
        Errno::ETIMEDOUT => IoError("connection timed out"),
        _ => IoError("broken pipe"),
    }
}

impl IoStream for Stream {
    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoError>> {
        self.gateway
            .poll_call(cx, self.id, |network| {
                network.receive_stream(self.id, buf, false)
            })
            .map_err(broken)
    }

    fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, IoError>> {
        self.gateway
            .poll_call(cx, self.id, |network| network.send_stream(self.id, buf))
            .map_err(broken)
    }

    fn shutdown_write(&self) {
        // Of a connection that is gone there is nothing to shut down.
        let _ = self
            .gateway
            .with(|network| network.shutdown_stream(self.id, false, true));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.gateway.with(|network| network.close(self.id));
    }
}
