//! The daemon's life: it starts from what is on disk and ends leaving that behind.
//!
//! An [`Engine`] is there as long as its machine; the daemon in it comes up ([`Engine::start_up`]) and goes
//! down, in good order ([`Engine::shut_down`]) or not ([`Engine::crash`]), any number of times.

use std::rc::Rc;

use engine_api::container::stop::Stop;
use os::{OsExt, View};

use crate::Engine;
use crate::monitor::timeout;
use crate::settings::Settings;
use crate::state::Container;

/// Nanoseconds a container with `--rm` may take to go when the daemon ends.
const REMOVAL: u64 = 10_000_000_000;

/// Nanoseconds for what was said last to reach those who listen.
const LAST_WORDS: u64 = 10_000_000;

/// Where the daemon is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Phase {
    /// It has never been up.
    #[default]
    New,
    /// It works.
    Up,
    /// It stops its containers.
    Stopping,
    /// It has ended.
    Down,
}

impl Engine {
    /// Reads what an earlier daemon left, makes the bridges and starts the containers whose restart policy
    /// asks for it. Containers that still run go on, with `live-restore`; others are stopped first.
    pub async fn start_up(&self, settings: Settings) {
        if self.phase.get() == Phase::Up {
            return;
        }
        let live_restore = settings.live_restore;
        *self.settings.borrow_mut() = settings;
        self.events.forget();
        self.load_volumes();
        self.load_networks();
        self.load_containers();
        if live_restore {
            for container in self.all_containers() {
                self.watch_health(&container);
            }
        } else {
            self.stop_all().await;
        }
        self.phase.set(Phase::Up);
        self.phase_changed.wake_all();
        self.prepare_networks();
        let mut waiting = Vec::new();
        for container in self.all_containers() {
            if container.live.borrow().is_some() {
                continue;
            }
            if container.wants_start_at_boot() {
                waiting.push(container);
            } else if container.data.borrow().host_config.auto_remove {
                let _ = self.remove(&container, true, true).await;
            }
        }
        while !waiting.is_empty() {
            // What `--link` leads to starts first, unless links go round.
            let is_free = |container: &Rc<Container>| {
                let links = self.linked(&container.data.borrow());
                !links
                    .iter()
                    .any(|(_, child)| waiting.iter().any(|it| it.id == child.id))
            };
            let next = waiting.iter().position(is_free).unwrap_or(0);
            let container = waiting.remove(next);
            // Why it does not start is in its state, as for every failed start.
            let _ = self.start(&container).await;
        }
    }

    /// Stops all containers as `docker stop` would, unless they are to go on (`live-restore`); their restart
    /// policies stay for the next daemon.
    pub async fn shut_down(&self) {
        if self.phase.get() != Phase::Up {
            return;
        }
        self.phase.set(Phase::Stopping);
        if !self.settings.borrow().live_restore {
            self.stop_all().await;
        }
        // Those who listen hear of the last end, too.
        self.os.clock().sleep(LAST_WORDS).await;
        self.forget();
    }

    async fn stop_all(&self) {
        let running = self.all_containers().into_iter();
        let stops: Vec<_> = running
            .filter(|container| container.is_running())
            .map(|container| {
                let engine = self.rc();
                self.os
                    .executor()
                    .spawn(async move { engine.stop_for_good(&container).await })
            })
            .collect();
        for stop in stops {
            stop.await;
        }
    }

    async fn stop_for_good(&self, container: &Rc<Container>) {
        // What does not end goes with the machine.
        let _ = self
            .stop(
                container,
                Stop {
                    timeout: None,
                    signal: None,
                },
            )
            .await;
        if container.data.borrow().host_config.auto_remove {
            let gone = container
                .changed
                .wait_for(|| container.removed.get().then_some(()));
            timeout(&self.os.clock(), REMOVAL, gone).await;
        }
    }

    /// The daemon is killed, and its builds with it. Containers are not its children: they go on.
    pub fn crash(&self) {
        if !matches!(self.phase.get(), Phase::Up | Phase::Stopping) {
            return;
        }
        let building = std::mem::take(&mut *self.build_containers.borrow_mut());
        self.forget();
        for container in building.into_values() {
            if let Some(live) = &*container.live.borrow() {
                for pid in runtime::cgroup::pids(&self.os, live.runtime.cgroup()) {
                    let _ = self.os.kill(os::TaskId(pid), 9);
                }
            }
        }
    }

    /// Nothing is known any more; who still waits for something of a container learns that it is over.
    fn forget(&self) {
        self.phase.set(Phase::Down);
        let containers = std::mem::take(&mut *self.containers.borrow_mut());
        for (id, container) in containers {
            if container.live.borrow().is_some() {
                // It is in nobody's care until there is a daemon again.
                container.end_health();
                self.left.borrow_mut().insert(id, container);
                continue;
            }
            // From now on nothing of it is written to disk.
            container.removed.set(true);
            container.changed.wake_all();
            container.log.written.wake_all();
        }
        self.execs.borrow_mut().clear();
        self.volumes.borrow_mut().clear();
        self.networks.borrow_mut().clear();
        self.chosen_subnets.borrow_mut().clear();
        self.reserved_names.borrow_mut().clear();
        self.events.forget();
        self.phase_changed.wake_all();
    }

    /// The daemon has read its configuration again.
    pub fn reload(&self, settings: Settings) {
        self.settings.borrow_mut().reload(settings);
        self.daemon_event("reload");
    }

    /// Waits for the first daemon; false: there is none any more.
    pub(crate) async fn wait_up(&self) -> bool {
        self.phase_changed
            .wait_for(|| (self.phase.get() != Phase::New).then_some(()))
            .await;
        self.phase.get() != Phase::Down
    }

    /// Whether ends of containers are the daemon's own doing.
    pub(crate) fn is_ending(&self) -> bool {
        self.phase.get() != Phase::Up
    }

    /// Whether there is a daemon that could carry something out.
    pub(crate) fn is_away(&self) -> bool {
        matches!(self.phase.get(), Phase::New | Phase::Down)
    }
}

/// Twelve groups of characters, as `docker info` shows an id; the same for every daemon on this disk.
pub(crate) fn daemon_id(os: &Rc<dyn os::Os>, root: &str) -> String {
    let path = format!("{root}/engine-id");
    if let Ok(kept) = os.read_file_now(View::Host, path.as_bytes())
        && let Ok(kept) = String::from_utf8(kept)
        && !kept.is_empty()
    {
        return kept;
    }
    let hex = os.rng().hex(16);
    let id = format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    );
    let _ = os.write_file(View::Host, path.as_bytes(), id.as_bytes(), 0o600);
    id
}
