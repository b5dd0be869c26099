//! What a container is, in memory and on disk.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use clock::WaitQueue;
use engine_api::error::{ApiError, Result};
use engine_api::json;
use engine_api::timestamp;
use engine_api::types::{Config, HostConfig, MountPoint, NetworkingConfig, State};
use os::{Handle, Os, OsExt, View};
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::human;
use crate::lock::Lock;
use crate::logs::LogFile;
use crate::network::sandbox::Sandbox;
use crate::streams::Streams;

/// What is kept in `config.v2.json` (and `host_config` in `hostconfig.json`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Data {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    /// Nanoseconds since 1970.
    pub(crate) created_nanos: u64,
    /// Without a slash.
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) args: Vec<String>,
    /// `sha256:…`.
    pub(crate) image: String,
    pub(crate) config: Config,
    pub(crate) state: State,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) networking: NetworkingConfig,
    pub(crate) restart_count: u32,
    pub(crate) has_been_manually_stopped: bool,
    pub(crate) has_been_started_before: bool,
    #[serde(skip)]
    pub(crate) host_config: HostConfig,
    /// A step of BuildKit's: no list shows it, no event tells of it and no file keeps it.
    #[serde(skip)]
    pub(crate) hidden: bool,
}

/// A mount point with what is not shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Mount {
    /// What is shown.
    pub(crate) point: MountPoint,
    /// An anonymous volume: goes with `rm -v` and `--rm`.
    pub(crate) anonymous: bool,
    /// An empty volume is filled with what the image has there.
    pub(crate) copy: bool,
    /// What is to be mounted is made, as a directory, when it is not there.
    pub(crate) create_source: bool,
    /// A directory in the volume that is mounted instead of it.
    pub(crate) subpath: String,
    /// Mount options of a tmpfs.
    pub(crate) tmpfs_options: Vec<String>,
    /// An image that is mounted: its id.
    pub(crate) image: String,
    /// The layer of the store through which it is mounted.
    pub(crate) layer: String,
}

/// A container that runs.
pub(crate) struct Live {
    pub(crate) runtime: Rc<runtime::Container>,
    pub(crate) console: Option<Rc<dyn Handle>>,
}

/// A container.
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) directory: String,
    pub(crate) data: RefCell<Data>,
    pub(crate) live: RefCell<Option<Live>>,
    /// Its networks, from before its first process to after its last.
    pub(crate) sandbox: RefCell<Option<Sandbox>>,
    pub(crate) streams: Streams,
    pub(crate) log: LogFile,
    /// Taken by whoever starts, stops or removes it.
    pub(crate) lock: Lock,
    /// How often it has ended.
    pub(crate) exits: Cell<u64>,
    pub(crate) removed: Cell<bool>,
    /// Woken at every change of state.
    pub(crate) changed: WaitQueue,
    /// Processes killed for memory since the last start.
    pub(crate) oom_kills: Cell<u64>,
    /// A pending restart must not happen.
    pub(crate) restart_cancelled: Cell<bool>,
    /// Which health monitor is the current one.
    pub(crate) health_turn: Cell<u64>,
    /// Nanoseconds the next restart waits.
    pub(crate) restart_delay: Cell<u64>,
}

impl Container {
    pub(crate) fn new(os: &Rc<dyn Os>, root: &str, data: Data) -> Rc<Container> {
        let id = data.id.clone();
        let directory = format!("{root}/containers/{id}");
        let log = LogFile::new(os, &format!("{directory}/{id}-json.log"), &data);
        Rc::new(Container {
            id,
            directory,
            data: RefCell::new(data),
            live: RefCell::default(),
            sandbox: RefCell::default(),
            streams: Streams::default(),
            log,
            lock: Lock::default(),
            exits: Cell::default(),
            removed: Cell::default(),
            changed: WaitQueue::new(),
            oom_kills: Cell::default(),
            restart_cancelled: Cell::default(),
            restart_delay: Cell::default(),
            health_turn: Cell::default(),
        })
    }

    pub(crate) fn name(&self) -> String {
        self.data.borrow().name.clone()
    }

    pub(crate) fn short_id(&self) -> &str {
        &self.id[..self.id.len().min(12)]
    }

    /// Its cgroup: below Docker's own, or below that of `--cgroup-parent`.
    pub(crate) fn cgroup(&self) -> String {
        let parent = &self.data.borrow().host_config.cgroup_parent;
        match runtime::path::clean(&format!("/{parent}")).as_str() {
            "/" => format!("/docker/{}", self.id),
            parent => format!("{parent}/{}", self.id),
        }
    }

    pub(crate) fn tty(&self) -> bool {
        self.data.borrow().config.tty
    }

    pub(crate) fn is_running(&self) -> bool {
        self.data.borrow().state.running
    }

    pub(crate) fn exit_code(&self) -> i32 {
        self.data.borrow().state.exit_code
    }

    /// The running container, or Docker's error.
    pub(crate) fn running(&self) -> Result<Rc<runtime::Container>> {
        let not_running = || ApiError::conflict(format!("container {} is not running", self.id));
        self.live
            .borrow()
            .as_ref()
            .map(|live| Rc::clone(&live.runtime))
            .ok_or_else(not_running)
    }

    /// Whether the restart policy wants it running when the daemon starts.
    pub(crate) fn wants_start_at_boot(&self) -> bool {
        let data = self.data.borrow();
        match data.host_config.restart_policy.name.as_str() {
            "always" => data.has_been_started_before,
            "unless-stopped" => data.has_been_started_before && !data.has_been_manually_stopped,
            "on-failure" => {
                data.has_been_started_before
                    && data.state.exit_code != 0
                    && !data.has_been_manually_stopped
            }
            _ => false,
        }
    }

    /// `running`, `exited` and so on.
    pub(crate) fn status(&self) -> &'static str {
        let state = &self.data.borrow().state;
        match state {
            state if state.restarting => "restarting",
            state if state.paused => "paused",
            state if state.running => "running",
            state if state.dead => "dead",
            state if state.started_at == timestamp::ZERO => "created",
            _ => "exited",
        }
    }

    /// `Up 3 minutes` and so on.
    pub(crate) fn status_text(&self, now: u64) -> String {
        let status = self.status();
        let state = &self.data.borrow().state;
        let since = |time: &str| {
            human::duration(now.saturating_sub(timestamp::parse_rfc3339(time).unwrap_or(now)))
        };
        match status {
            "restarting" => format!(
                "Restarting ({}) {} ago",
                state.exit_code,
                since(&state.finished_at)
            ),
            "paused" => format!("Up {} (Paused)", since(&state.started_at)),
            "running" => {
                let up = since(&state.started_at);
                match state.health.as_ref().map(|health| health.status.as_str()) {
                    Some("starting") => format!("Up {up} (health: starting)"),
                    Some(status) => format!("Up {up} ({status})"),
                    None => format!("Up {up}"),
                }
            }
            "dead" => "Dead".to_string(),
            // A container that failed to start has an exit code but no time.
            "created" => "Created".to_string(),
            _ => format!(
                "Exited ({}) {} ago",
                state.exit_code,
                since(&state.finished_at)
            ),
        }
    }

    /// Changes the data, keeps it on disk and tells whoever waits.
    pub(crate) fn update<T>(&self, os: &Rc<dyn Os>, change: impl FnOnce(&mut Data) -> T) -> T {
        let outcome = {
            let mut data = self.data.borrow_mut();
            let outcome = change(&mut data);
            data.state.status = String::new();
            outcome
        };
        let status = self.status().to_string();
        self.data.borrow_mut().state.status = status;
        self.save(os);
        self.changed.wake_all();
        outcome
    }

    /// Writes both files. A full disk must not stop a container from ending, so it is no error here.
    fn save(&self, os: &Rc<dyn Os>) {
        let data = self.data.borrow();
        if self.removed.get() || data.hidden {
            return;
        }
        let documents = [
            ("config.v2.json", serde_json::to_vec(&*data)),
            ("hostconfig.json", serde_json::to_vec(&data.host_config)),
        ];
        for (name, document) in documents {
            let path = format!("{}/{name}", self.directory);
            if let Ok(document) = document {
                let _ = os.write_file(View::Host, path.as_bytes(), &document, 0o600);
            }
        }
    }

    /// Waits until it does not run (nor restart).
    pub(crate) async fn wait_stopped(&self) {
        self.changed
            .wait_for(|| (!self.is_running() || self.removed.get()).then_some(()))
            .await;
    }
}

impl Engine {
    /// Reads the containers an earlier engine left. Those that still run are known; whatever else ran then does
    /// not run now.
    pub(crate) fn load_containers(&self) {
        let mut left = std::mem::take(&mut *self.left.borrow_mut());
        left.retain(|_, container| container.live.borrow().is_some());
        let root = format!("{}/containers", self.config.root);
        let _ = self.os.mkdir_all(View::Host, root.as_bytes(), 0o710);
        for entry in self
            .os
            .read_dir(View::Host, root.as_bytes())
            .unwrap_or_default()
        {
            let id = String::from_utf8_lossy(&entry.name).into_owned();
            if let Some(container) = left.remove(&id) {
                self.containers.borrow_mut().insert(id, container);
                continue;
            }
            let read = |name: &str| {
                self.os
                    .read_file_now(View::Host, format!("{root}/{id}/{name}").as_bytes())
                    .ok()
            };
            let Some(mut data) = read("config.v2.json")
                .and_then(|bytes| json::parse::<Data>(&bytes).ok())
                .filter(|data| data.id == id)
            else {
                // It was never made to its end, or is half gone.
                let _ = self.store.remove_container(&id);
                let directory = format!("{root}/{id}");
                let _ = self.os.remove_all(View::Host, directory.as_bytes());
                continue;
            };
            data.host_config = read("hostconfig.json")
                .and_then(|bytes| json::parse(&bytes).ok())
                .unwrap_or_default();
            let was_running = data.state.running;
            let container = Container::new(&self.os, &self.config.root, data);
            if was_running {
                let now = timestamp::format(self.now());
                container.update(&self.os, |data| {
                    data.state = State {
                        exit_code: 255,
                        finished_at: now,
                        started_at: std::mem::take(&mut data.state.started_at),
                        ..State::default()
                    };
                });
            }
            self.containers.borrow_mut().insert(id, container);
        }
    }
}
