//! What happened: a short memory and whoever is listening.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

use clock::WaitQueue;
use engine_api::types::{Actor, Event};

use crate::Engine;
use crate::state::Container;

/// Events remembered, as in Docker.
const REMEMBERED: usize = 256;

/// The memory. Events are numbered, so a listener knows what it has seen.
#[derive(Default)]
pub(crate) struct Events {
    ring: RefCell<VecDeque<Event>>,
    /// Number of the first remembered event.
    first: Cell<u64>,
    wait: WaitQueue,
}

impl Events {
    /// The number of the next event.
    pub(crate) fn next(&self) -> u64 {
        self.first.get() + self.ring.borrow().len() as u64
    }

    /// Remembered events with number `from` or higher.
    pub(crate) fn since(&self, from: u64) -> Vec<Event> {
        let skip = from.saturating_sub(self.first.get()) as usize;
        self.ring.borrow().iter().skip(skip).cloned().collect()
    }

    /// Waits until there is an event with number `from`.
    pub(crate) async fn wait_past(&self, from: u64) {
        self.wait
            .wait_for(|| (self.next() > from).then_some(()))
            .await;
    }

    /// A new daemon does not know what an earlier one saw.
    pub(crate) fn forget(&self) {
        self.first.set(self.next());
        self.ring.borrow_mut().clear();
    }

    fn push(&self, event: Event) {
        let mut ring = self.ring.borrow_mut();
        if ring.len() == REMEMBERED {
            ring.pop_front();
            self.first.set(self.first.get() + 1);
        }
        ring.push_back(event);
        drop(ring);
        self.wait.wake_all();
    }
}

impl Engine {
    fn emit(&self, kind: &str, action: &str, id: &str, attributes: BTreeMap<String, String>) {
        let nanos = self.now();
        let (status, own_id, from) = match kind {
            "container" => {
                let image = attributes.get("image").cloned().unwrap_or_default();
                (action.to_string(), id.to_string(), image)
            }
            "image" => (action.to_string(), id.to_string(), String::new()),
            _ => Default::default(),
        };
        self.events.push(Event {
            status,
            id: own_id,
            from,
            kind: kind.to_string(),
            action: action.to_string(),
            actor: Actor {
                id: id.to_string(),
                attributes,
            },
            scope: "local".to_string(),
            time: nanos / 1_000_000_000,
            time_nano: nanos,
        });
    }

    /// Something happened to a container.
    pub(crate) fn container_event(
        &self,
        container: &Container,
        action: &str,
        more: &[(&str, String)],
    ) {
        let mut attributes = {
            let data = container.data.borrow();
            if data.hidden {
                return;
            }
            let mut attributes = data.config.labels.clone();
            attributes.insert("image".to_string(), data.config.image.clone());
            attributes.insert("name".to_string(), data.name.clone());
            attributes
        };
        attributes.extend(
            more.iter()
                .map(|(name, value)| ((*name).to_string(), value.clone())),
        );
        self.emit("container", action, &container.id, attributes);
    }

    /// Something happened to the daemon.
    pub(crate) fn daemon_event(&self, action: &str) {
        let attributes = BTreeMap::from([("name".to_string(), self.hostname())]);
        self.emit("daemon", action, &self.id, attributes);
    }

    /// Something happened to an image.
    pub(crate) fn image_event(&self, action: &str, id: &str, name: &str) {
        // Of an image that is gone nothing more is known than its name.
        let image = self.store.resolve(id).ok();
        let mut attributes = image.map_or_else(BTreeMap::new, |image| image.config.config.labels);
        attributes.insert("name".to_string(), name.to_string());
        self.emit("image", action, id, attributes);
    }

    /// A container joins or leaves a network.
    pub(crate) fn network_event(&self, action: &str, id: &str, more: &[(&str, &str)]) {
        let attributes = more
            .iter()
            .map(|(name, value)| ((*name).to_string(), (*value).to_string()));
        self.emit("network", action, id, attributes.collect());
    }

    /// What a prune of containers, images, volumes or networks brought back.
    pub(crate) fn prune_event(&self, kind: &str, reclaimed: u64) {
        let attributes = BTreeMap::from([("reclaimed".to_string(), reclaimed.to_string())]);
        self.emit(kind, "prune", "", attributes);
    }

    /// Something happened to a volume.
    pub(crate) fn volume_event(&self, action: &str, name: &str, more: &[(&str, String)]) {
        let mut attributes = BTreeMap::from([("driver".to_string(), "local".to_string())]);
        attributes.extend(
            more.iter()
                .map(|(name, value)| ((*name).to_string(), value.clone())),
        );
        self.emit("volume", action, name, attributes);
    }
}
