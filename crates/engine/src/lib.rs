//! The daemon: containers, images, volumes and events behind the Docker Engine API.
//!
//! An [`Engine`] is a [`serve::Service`]. It keeps what Docker keeps, where Docker keeps it
//! (`/var/lib/docker/containers/ID/{config.v2.json,hostconfig.json,ID-json.log}`), so a restarted
//! engine finds its containers. Every operation of the route table in `engine-api` has a file here
//! with the same name; [`dispatch`](self) sends a request there.
//!
//! Reading order: `state` (what a container is), `spec` (how it becomes a runtime specification),
//! `container/create`, `container/start`, `monitor` (its end, restart policies), `streams` and `logs`.
//!
//! Not here: namespaces and mounts (crate `runtime`), layers (crate `layers`), HTTP (crate `serve`).

// `docker info` is one long document.
#![recursion_limit = "256"]

mod build;
mod buildkit;
mod container;
mod daemon;
mod dispatch;
mod events;
mod exec;
mod health;
mod human;
mod image;
mod lock;
mod logs;
mod monitor;
mod names;
mod network;
mod once;
mod plugin;
mod program;
mod registry;
mod seccomp;
mod settings;
mod spec;
mod state;
mod stats;
mod streams;
mod swarm;
mod system;
mod view;
mod volume;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use layers::Store;
use layers::registry::Registry;
use os::Os;
use serve::{LocalBoxFuture, Request, Response, Service};

pub use engine_api::timestamp::format as timestamp;
use events::Events;
use exec::Exec;
pub use settings::Settings;
use state::Container;
pub use view::{ContainerView, ImageView};

/// What an engine can be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything is kept.
    pub root: String,
    /// The version `docker version` shows for the server.
    pub version: String,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            root: "/var/lib/docker".to_string(),
            version: engine_api::version::ENGINE.to_string(),
        }
    }
}

/// The daemon of one machine.
pub struct Engine {
    this: Weak<Engine>,
    os: Rc<dyn Os>,
    store: Store,
    registry: Registry,
    config: Config,
    containers: RefCell<BTreeMap<String, Rc<Container>>>,
    /// Those that went on when a daemon ended.
    left: RefCell<BTreeMap<String, Rc<Container>>>,
    /// Those of BuildKit's steps, which nobody else sees.
    build_containers: RefCell<BTreeMap<String, Rc<Container>>>,
    build_cache: build::cache::BuildCache,
    /// Names that are being given to a container that is not there yet.
    reserved_names: RefCell<BTreeMap<String, String>>,
    execs: RefCell<BTreeMap<String, Rc<Exec>>>,
    volumes: RefCell<BTreeMap<String, engine_api::types::Volume>>,
    /// By name.
    networks: RefCell<BTreeMap<String, engine_api::types::Network>>,
    /// How many of its subnets the user chose, by a network's id.
    chosen_subnets: RefCell<BTreeMap<String, usize>>,
    /// Where the search for a free port of the host goes on, by address and protocol.
    next_ports: RefCell<BTreeMap<(std::net::IpAddr, &'static str), u16>>,
    events: Events,
    buildkit: buildkit::State,
    settings: RefCell<Settings>,
    phase: Cell<daemon::Phase>,
    phase_changed: clock::WaitQueue,
    /// Identifies this daemon (`docker info`).
    id: String,
}

impl Engine {
    /// An engine on `os` with the images of `store`; `registry` is where pulls go. The
    /// daemon in it is not up yet: [`Engine::start_up`].
    #[must_use]
    pub fn new(
        os: Rc<dyn Os>,
        store: Store,
        registry: Rc<dyn Service>,
        config: Config,
    ) -> Rc<Engine> {
        let id = daemon::daemon_id(&os, &config.root);
        Rc::new_cyclic(|this| Engine {
            this: this.clone(),
            registry: Registry::new(registry).with_network(&os),
            os,
            store,
            config,
            containers: RefCell::default(),
            left: RefCell::default(),
            build_containers: RefCell::default(),
            build_cache: build::cache::BuildCache::default(),
            reserved_names: RefCell::default(),
            execs: RefCell::default(),
            volumes: RefCell::default(),
            networks: RefCell::default(),
            chosen_subnets: RefCell::default(),
            next_ports: RefCell::default(),
            events: Events::default(),
            buildkit: buildkit::State::default(),
            settings: RefCell::default(),
            phase: Cell::default(),
            phase_changed: clock::WaitQueue::new(),
            id,
        })
    }

    /// A counted reference to this engine, for futures that outlive a call.
    pub(crate) fn rc(&self) -> Rc<Engine> {
        match self.this.upgrade() {
            Some(engine) => engine,
            None => unreachable!("an engine is only ever made inside an Rc"),
        }
    }

    /// The version it says it has.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.config.version
    }

    /// Nanoseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        self.os.clock().realtime()
    }
}

impl Service for Engine {
    fn call(&self, request: Request) -> LocalBoxFuture<Response> {
        // Spawned: an operation is carried through even if its client goes away in the middle.
        let task = self
            .os
            .executor()
            .spawn(dispatch::answer(self.rc(), request));
        Box::pin(task)
    }
}
