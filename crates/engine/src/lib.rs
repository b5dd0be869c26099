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
mod plugin;
mod registry;
mod spec;
mod state;
mod stats;
mod streams;
mod system;
mod view;
mod volume;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};

use layers::Store;
use layers::registry::Registry;
use os::Os;
use serve::{LocalBoxFuture, Request, Response, Service};

use events::Events;
use exec::Exec;
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
            version: env!("CARGO_PKG_VERSION").to_string(),
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
    /// Those of BuildKit's steps, which nobody else sees.
    build_containers: RefCell<BTreeMap<String, Rc<Container>>>,
    build_cache: build::cache::BuildCache,
    /// Names that are being given to a container that is not there yet.
    reserved_names: RefCell<BTreeMap<String, String>>,
    execs: RefCell<BTreeMap<String, Rc<Exec>>>,
    volumes: RefCell<BTreeMap<String, engine_api::types::Volume>>,
    /// By name.
    networks: RefCell<BTreeMap<String, engine_api::types::Network>>,
    /// Ids of the networks whose subnet the user chose.
    chosen_subnets: RefCell<BTreeSet<String>>,
    events: Events,
    buildkit: buildkit::State,
    /// Identifies this daemon (`docker info`).
    id: String,
}

impl Engine {
    /// An engine on `os` with the images of `store`; `registry` is where pulls go. Containers that an
    /// earlier engine of this machine left are read.
    #[must_use]
    pub fn new(
        os: Rc<dyn Os>,
        store: Store,
        registry: Rc<dyn Service>,
        config: Config,
    ) -> Rc<Engine> {
        let id = daemon_id(&os);
        let engine = Rc::new_cyclic(|this| Engine {
            this: this.clone(),
            registry: Registry::new(registry).with_network(&os),
            os,
            store,
            config,
            containers: RefCell::default(),
            build_containers: RefCell::default(),
            build_cache: build::cache::BuildCache::default(),
            reserved_names: RefCell::default(),
            execs: RefCell::default(),
            volumes: RefCell::default(),
            networks: RefCell::default(),
            chosen_subnets: RefCell::default(),
            events: Events::default(),
            buildkit: buildkit::State::default(),
            id,
        });
        engine.load_volumes();
        engine.load_networks();
        engine.load_containers();
        engine
    }

    /// Makes the bridges and starts the containers whose restart policy asks for it. This happens in the
    /// first turn: as on a computer, the links of the hardware are there before those of Docker.
    pub fn run(&self) {
        let engine = self.rc();
        self.os.executor().spawn(async move {
            engine.prepare_networks();
            for container in engine.all_containers() {
                if container.wants_start_at_boot() {
                    // Why it does not start is in its state, as for every failed start.
                    let _ = engine.start(&container).await;
                }
            }
        });
    }

    /// A counted reference to this engine, for futures that outlive a call.
    pub(crate) fn rc(&self) -> Rc<Engine> {
        match self.this.upgrade() {
            Some(engine) => engine,
            None => unreachable!("an engine is only ever made inside an Rc"),
        }
    }

    /// Nanoseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        self.os.clock().realtime()
    }
}

/// Twelve groups of four, as `docker info` shows an id.
fn daemon_id(os: &Rc<dyn Os>) -> String {
    let hex = os.rng().hex(16);
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
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
