//! `drydockd serve`: the Docker Engine API of a machine on this computer's sockets.
//!
//! `docker`, or any other client, on this computer drives the engine of the emulated machine. Paths of bind
//! mounts are those of the machine.
//!
//! Reading order: [`listen`], [`reactor`] (connections as streams), [`local`] (who may ask), [`publish`]; the
//! loop below.

mod listen;
mod local;
mod publish;
mod reactor;

use std::cell::Cell;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use clock::Instant;
use playground::{ConsoleMode, Event, Playground};
use rustix::process::{Resource, getrlimit, setrlimit};
use serve::{Io, Service, h1};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::listen::Listener;
use self::local::Local;
use self::publish::Published;
use self::reactor::Reactor;
use crate::{Options, files};

/// Instructions between looks at the connections.
const FUEL: u64 = 1_000_000;
/// Clients at a time; more wait in the listener's backlog.
const CONNECTIONS_MAX: u64 = 4096;
/// Descriptors that are not clients'.
const OTHER_FDS: u64 = 64;
/// How often the machine's open ports are looked at.
const PORTS_EVERY: Duration = Duration::from_millis(100);

/// What `serve` is told.
#[derive(Default)]
pub struct Arguments {
    unix: Vec<PathBuf>,
    tcp: Vec<String>,
    publish: bool,
}

impl Arguments {
    /// Reads what follows the command.
    pub fn parse(words: &[String]) -> anyhow::Result<Arguments> {
        let mut arguments = Arguments::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .with_context(|| format!("{word} needs a value"))
            };
            match word.as_str() {
                "--unix" => arguments.unix.push(value()?.into()),
                "--tcp" => arguments.tcp.push(value()?.clone()),
                "--publish" => arguments.publish = true,
                _ => bail!(
                    "unknown argument {word:?} of serve: there are --unix, --tcp and --publish"
                ),
            }
        }
        if arguments.unix.is_empty() && arguments.tcp.is_empty() {
            arguments.unix.push(default_socket()?);
        }
        Ok(arguments)
    }

    fn listen(&self) -> anyhow::Result<Vec<Listener>> {
        let unix = self.unix.iter().map(|path| Listener::unix(path));
        let tcp = self.tcp.iter().map(|text| Listener::tcp(text));
        unix.chain(tcp).collect()
    }
}

/// In the user's own folder for such things.
fn default_socket() -> anyhow::Result<PathBuf> {
    let folder = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty());
    let folder = folder
        .context("XDG_RUNTIME_DIR is not set: say where by --unix PATH or --tcp 127.0.0.1:PORT")?;
    Ok(PathBuf::from(folder).join("drydock.sock"))
}

/// Boots a machine and serves its engine until it is interrupted.
pub fn serve(options: &Options, arguments: &Arguments) -> anyhow::Result<u8> {
    let (playground, name) = options.playground(ConsoleMode::None)?;
    let (interrupted, interrupt) = UnixStream::pair()?;
    interrupted.set_nonblocking(true)?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, interrupt.try_clone()?)?;
    }
    let mut server = Server {
        playground,
        options,
        name,
        started: std::time::Instant::now(),
        reactor: Reactor::default(),
        listeners: arguments.listen()?,
        published: arguments.publish.then(Published::default),
        ports_seen: Duration::ZERO,
        connections: Rc::default(),
        connections_max: raise_limit(),
        interrupted,
    };
    server.boot()?;
    while !server.step()? {}
    let name = std::mem::take(&mut server.name);
    options.wire.save(&mut server.playground, &name)?;
    Ok(0)
}

/// Asks for as many descriptors as there may be; gives how many clients can be served.
fn raise_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current.unwrap_or(u64::MAX);
    limit.current = limit.maximum;
    let now = match setrlimit(Resource::Nofile, limit) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => before,
    };
    now.saturating_sub(OTHER_FDS).clamp(1, CONNECTIONS_MAX)
}

/// One of the connections, which may end with its machine.
struct Counted(Rc<Cell<u64>>);

impl Counted {
    fn new(count: &Rc<Cell<u64>>) -> Counted {
        count.set(count.get() + 1);
        Counted(Rc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

struct Server<'a> {
    playground: Playground,
    options: &'a Options,
    name: String,
    started: std::time::Instant,
    reactor: Reactor,
    listeners: Vec<Listener>,
    /// `None`: nobody asked for it.
    published: Option<Published>,
    ports_seen: Duration,
    connections: Rc<Cell<u64>>,
    connections_max: u64,
    /// A signal writes here.
    interrupted: UnixStream,
}

impl Server<'_> {
    /// Waits for the machine, then says where it is.
    fn boot(&mut self) -> anyhow::Result<()> {
        while self.playground.machine(&self.name).is_none() {
            if self.step()? {
                bail!("interrupted");
            }
        }
        self.options.wire.attach(&mut self.playground, &self.name)?;
        if self.options.strace
            && let Some(machine) = self.playground.machine(&self.name)
        {
            machine.trace(Some(Box::new(|line| eprintln!("{line}"))));
        }
        let urls: Vec<String> = self.listeners.iter().map(Listener::url).collect();
        let first = urls.first().context("nothing is listened on")?;
        eprintln!(
            "The Docker of {} listens on {}.\n",
            self.name,
            urls.join(" and ")
        );
        eprintln!("  once    DOCKER_HOST={first} docker run --rm hello-world");
        eprintln!(
            "  always  docker context create drydock --docker host={first} && docker context use drydock\n"
        );
        eprintln!(
            "Paths of `-v` are those of the machine, not of this computer. Ctrl-C switches it off."
        );
        Ok(())
    }

    /// A turn of the machine, then of the connections; true when it is time to end.
    fn step(&mut self) -> anyhow::Result<bool> {
        let elapsed = self.started.elapsed();
        let now = Instant(elapsed.as_nanos() as u64);
        let turn = self.playground.turn(now, FUEL);
        for event in self.playground.take_events() {
            match event {
                Event::Failed { text, .. } => bail!("{text}"),
                Event::Crashed { name, cause } => bail!("{name} crashed: {cause}"),
                Event::Hint(hint) => eprintln!("{}", files::hint(&hint)),
                Event::Restarted { name } => eprintln!("{name} has been restarted"),
                Event::Off { name } => {
                    eprintln!("{name} has switched itself off");
                    return Ok(true);
                }
                Event::Added { .. } | Event::Deleted { .. } => {}
            }
        }
        let downloaded = files::answer(&self.playground, &self.options.images);
        self.look_at_ports(elapsed);
        let time = match turn.next_deadline {
            _ if turn.busy || downloaded => Some(Duration::ZERO),
            Some(deadline) => Some(Duration::from_nanos(deadline.since(now))),
            None => None,
        };
        let time = match self.published {
            Some(_) => Some(time.unwrap_or(PORTS_EVERY).min(PORTS_EVERY)),
            None => time,
        };
        self.wait(time)
    }

    fn look_at_ports(&mut self, elapsed: Duration) {
        let Some(published) = &mut self.published else {
            return;
        };
        if elapsed - self.ports_seen >= PORTS_EVERY {
            self.ports_seen = elapsed;
            for text in published.update(&self.playground, &self.name) {
                eprintln!("{text}");
            }
        }
    }

    fn wait(&self, time: Option<Duration>) -> anyhow::Result<bool> {
        let machine = self.playground.machine(&self.name);
        let room = self.connections_max.saturating_sub(self.connections.get());
        // Without a machine or without room, whoever knocks waits.
        let open = machine.is_some() && room > 0;
        let listeners = &self.listeners[..if open { self.listeners.len() } else { 0 }];
        let published = self.published.as_ref();
        let ports: Vec<_> = published
            .into_iter()
            .flat_map(Published::listeners)
            .collect();
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.interrupted.as_fd()];
        fds.extend(listeners.iter().map(AsFd::as_fd));
        fds.extend(ports.iter().map(|(_, listener)| listener.as_fd()));
        let ready = self.reactor.wait(&fds, time)?;
        if ready[0] {
            // What was written there is only how often.
            let _ = (&self.interrupted).read(&mut [0; 16]);
            return Ok(true);
        }
        let Some(machine) = machine else {
            return Ok(false);
        };
        let (own, others) = ready[1..].split_at(listeners.len());
        for (listener, _) in listeners.iter().zip(own).filter(|(_, ready)| **ready) {
            let engine: Rc<dyn Service> = Rc::<engine::Engine>::clone(machine.engine());
            let service: Rc<dyn Service> = match listener.is_tcp() {
                true => Rc::new(Local(engine)),
                false => engine,
            };
            while self.connections.get() < self.connections_max
                && let Some(socket) = listener.accept()?
            {
                self.converse(self.reactor.add(socket)?, machine, &service);
            }
        }
        for ((port, listener), _) in ports.iter().zip(others).filter(|(_, ready)| **ready) {
            if let Some(ip) = self.playground.lan().address(&self.name) {
                publish::forward(&self.playground, &self.reactor, listener, (ip, *port))?;
            }
        }
        Ok(false)
    }

    /// Serves a client until it goes away.
    fn converse(&self, io: Io, machine: &playground::Machine, service: &Rc<dyn Service>) {
        let (service, clock) = (Rc::clone(service), machine.os().clock());
        let counted = Counted::new(&self.connections);
        machine.os().executor().spawn(async move {
            let _counted = counted;
            // A connection that breaks concerns nobody else.
            let _ = h1::serve_connection(io, service, || clock.unix_seconds()).await;
        });
    }
}
