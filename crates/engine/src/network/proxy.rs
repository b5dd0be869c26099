//! The userland proxy: a listener on the host's address that passes on what the packet filter does not
//! translate (connections to 127.0.0.1, from containers, and over IPv6). What arrives through it comes
//! from the bridge's own address, as with Docker's `docker-proxy`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;

use clock::{Instant, JoinHandle, WaitQueue};
use futures_util::future::{select, try_join};
use os::network::{TcpListener, UdpSocket};
use os::{Errno, Handle, Os, View, ext};

/// Nanoseconds after which a client of UDP that says nothing more is forgotten.
const UDP_IDLE: u64 = 90_000_000_000;
/// Clients of UDP at once.
const UDP_CLIENTS_MAX: usize = 1024;
/// The largest datagram.
const DATAGRAM_BYTES: usize = 65_535;

/// A task that ends with its holder.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Default)]
struct Stop {
    stopped: Cell<bool>,
    changed: WaitQueue,
}

impl Stop {
    async fn wait(&self) {
        self.changed
            .wait_for(|| self.stopped.get().then_some(()))
            .await;
    }
}

/// A proxy. Dropping it closes its listener and its connections.
pub(crate) struct Proxy {
    _serve: Task,
    stop: Rc<Stop>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.stopped.set(true);
        self.stop.changed.wake_all();
    }
}

impl Proxy {
    /// Listens at `from` of the host, for what is at `to`.
    pub(crate) fn start(
        os: &Rc<dyn Os>,
        udp: bool,
        from: SocketAddr,
        to: SocketAddr,
    ) -> os::Result<Proxy> {
        let stop = Rc::<Stop>::default();
        let serve = match udp {
            true => {
                let front = os.udp_bind(View::Host, from)?;
                os.executor().spawn(serve_udp(Rc::clone(os), front, to))
            }
            false => {
                let listener = os.tcp_listen(View::Host, from)?;
                let stop = Rc::clone(&stop);
                os.executor()
                    .spawn(serve_tcp(Rc::clone(os), listener, to, stop))
            }
        };
        Ok(Proxy {
            _serve: Task(serve),
            stop,
        })
    }
}

async fn serve_tcp(os: Rc<dyn Os>, listener: Rc<dyn TcpListener>, to: SocketAddr, stop: Rc<Stop>) {
    loop {
        let client = match poll_fn(|cx| listener.poll_accept(cx)).await {
            Ok((client, _)) => client,
            Err(Errno::ECONNABORTED) => continue,
            Err(_) => return,
        };
        let Ok(server) = os.tcp_connect(View::Host, to) else {
            continue;
        };
        let stop = Rc::clone(&stop);
        os.executor().spawn(async move {
            let spliced = std::pin::pin!(splice(&client, &server));
            select(spliced, std::pin::pin!(stop.wait())).await;
        });
    }
}

/// Passes on both directions, each until its own end; an error ends both.
async fn splice(client: &Rc<dyn Handle>, server: &Rc<dyn Handle>) {
    let pass = async |from: &Rc<dyn Handle>, to: &Rc<dyn Handle>| {
        ext::copy(from, to).await?;
        to.shutdown_write()
    };
    // Whoever is still there sees the connection close.
    let _ = try_join(pass(client, server), pass(server, client)).await;
}

/// A client of UDP: the socket that stands for it, and what brings answers back.
struct Flow {
    socket: Rc<dyn UdpSocket>,
    used: Rc<Cell<Instant>>,
    answers: Task,
}

async fn serve_udp(os: Rc<dyn Os>, front: Rc<dyn UdpSocket>, to: SocketAddr) {
    let mut flows: BTreeMap<SocketAddr, Flow> = BTreeMap::new();
    let mut buf = vec![0; DATAGRAM_BYTES];
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0u16; 8], 0)),
    };
    loop {
        // What the network says of an earlier datagram is no reason to stop.
        let Ok((count, client)) = poll_fn(|cx| front.poll_receive(cx, &mut buf)).await else {
            continue;
        };
        flows.retain(|_, flow| !flow.answers.0.is_finished());
        let now = os.clock().now();
        if !flows.contains_key(&client) {
            let socket = match os.udp_bind(View::Host, any) {
                Ok(socket) if flows.len() < UDP_CLIENTS_MAX => socket,
                _ => continue,
            };
            let used = Rc::new(Cell::new(now));
            let answers = answers(
                Rc::clone(&os),
                Rc::clone(&socket),
                Rc::clone(&front),
                client,
                Rc::clone(&used),
            );
            let answers = Task(os.executor().spawn(answers));
            let flow = Flow {
                socket,
                used,
                answers,
            };
            flows.insert(client, flow);
        }
        if let Some(flow) = flows.get(&client) {
            flow.used.set(now);
            // Datagrams may be lost.
            let _ = flow.socket.send(&buf[..count], to);
        }
    }
}

async fn answers(
    os: Rc<dyn Os>,
    socket: Rc<dyn UdpSocket>,
    front: Rc<dyn UdpSocket>,
    client: SocketAddr,
    used: Rc<Cell<Instant>>,
) {
    let mut buf = vec![0; DATAGRAM_BYTES];
    let clock = os.clock();
    loop {
        let idle_at = used.get().plus(UDP_IDLE);
        if idle_at <= clock.now() {
            return;
        }
        let rest = idle_at.since(clock.now());
        let received = poll_fn(|cx| socket.poll_receive(cx, &mut buf));
        match crate::monitor::timeout(&clock, rest, received).await {
            Some(Ok((count, _))) => {
                used.set(clock.now());
                let _ = front.send(&buf[..count], client);
            }
            // Nobody listens there now; the client's next datagram tries again.
            Some(Err(_)) => return,
            None => {}
        }
    }
}
