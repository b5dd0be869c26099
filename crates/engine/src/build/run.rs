//! The containers of a build: those in which `RUN` runs, and in the classic builder those that are committed.

use std::cell::RefCell;
use std::rc::Rc;

use engine_api::error::{ApiError, Result};
use engine_api::stream::Channel;
use engine_api::timestamp;
use engine_api::types::{Config, HostConfig, NetworkingConfig, State as RunState};
use oci::Digest;
use os::{OsExt, View};

use crate::Engine;
use crate::container::create::host_defaults;
use crate::container::validate;
use crate::state::{Container, Data, Mount};

/// A container to make.
pub(super) struct Step {
    /// What runs, where and as whom.
    pub(super) config: Config,
    pub(super) host: HostConfig,
    /// The image's name in lists, and its id.
    pub(super) image: String,
    /// Its files.
    pub(super) top: Option<Digest>,
    /// Mounts besides those of the host's configuration.
    pub(super) mounts: Vec<Mount>,
    /// See [`Data::hidden`].
    pub(super) hidden: bool,
}

/// Containers that are killed and removed when this goes, unless they were taken out before.
pub(super) struct Containers {
    engine: Rc<Engine>,
    list: RefCell<Vec<Rc<Container>>>,
}

impl Containers {
    pub(super) fn new(engine: &Rc<Engine>) -> Containers {
        Containers {
            engine: Rc::clone(engine),
            list: RefCell::default(),
        }
    }

    pub(super) fn add(&self, container: &Rc<Container>) {
        self.list.borrow_mut().push(Rc::clone(container));
    }

    /// They are somebody else's business now.
    pub(super) fn take(&self) -> Vec<Rc<Container>> {
        std::mem::take(&mut self.list.borrow_mut())
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for container in self.take() {
            let engine = Rc::clone(&self.engine);
            self.engine.os.executor().spawn(async move {
                let _ = engine.remove(&container, true, true).await;
            });
        }
    }
}

impl Engine {
    /// Makes a container for a step.
    pub(super) async fn step_container(&self, step: Step) -> Result<Rc<Container>> {
        let Step {
            mut config,
            mut host,
            image,
            top,
            mounts,
            hidden,
        } = step;
        validate::host_config(self, &mut host, false)?;
        host_defaults(&mut host);
        host.log_config.kind = "none".to_string();
        let networking = self.networking(NetworkingConfig::default(), &host, "")?;
        let id = self.os.rng().hex(32);
        if config.hostname.is_empty() {
            config.hostname = match host.network_mode.as_str() {
                "host" => self.hostname(),
                _ => id[..12].to_string(),
            };
        }
        config.healthcheck = None;
        config.image.clone_from(&image);
        let words = config.cmd.clone().unwrap_or_default();
        let (path, args) = match words.split_first() {
            Some((path, args)) => (path.clone(), args.to_vec()),
            None => return Err(ApiError::invalid("no command specified")),
        };
        let name = match hidden {
            true => id.clone(),
            false => self.reserve_name("", &id)?,
        };
        let data = Data {
            id: id.clone(),
            created_nanos: self.now(),
            name: name.clone(),
            path,
            args,
            image,
            config,
            state: RunState {
                status: "created".to_string(),
                started_at: timestamp::ZERO.to_string(),
                finished_at: timestamp::ZERO.to_string(),
                ..RunState::default()
            },
            networking,
            host_config: host,
            mounts,
            hidden,
            ..Data::default()
        };
        let outcome = self.make_over(data, top).await;
        if !hidden {
            self.release_name(&name);
        }
        if outcome.is_err() {
            let _ = self.store.remove_container(&id);
            let directory = format!("{}/containers/{id}", self.config.root);
            let _ = self.os.remove_all(View::Host, directory.as_bytes());
        }
        outcome
    }

    /// Runs a step's container to its end; gives its exit code.
    pub(super) async fn run_step(
        &self,
        container: &Rc<Container>,
        log: &dyn Fn(Channel, &[u8]),
    ) -> Result<i32> {
        let attached = container.streams.attach(true, true);
        // A start that has begun is carried through, also when the client goes away in the middle.
        let (engine, own) = (self.rc(), Rc::clone(container));
        let start = async move { engine.start(&own).await };
        self.os.executor().spawn(start).await?;
        while let Some((channel, bytes)) = attached.0.next().await {
            log(channel, &bytes);
        }
        container.wait_stopped().await;
        Ok(container.exit_code())
    }
}
