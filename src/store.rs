//! The page's state: what the worker has told and what the user has chosen.
//!
//! One struct, changed only by `apply` (messages of the worker) and the few verbs below it, so
//! that what the page shows can be tested without a page. Terminal contents are not here: bytes
//! go straight from the bridge to the terminal.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::docker::{Docker, Transferred};
use crate::network::{Cable, Captured, Interface, Packet};
use crate::panels::Panels;
use crate::protocol::{BUILD, FromWorker};

/// Where the session stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// The worker is loading.
    #[default]
    Starting,
    /// Instances can be added.
    Ready,
    /// The worker is dead; why.
    Failed(String),
    /// The user closed the session.
    Closed,
}

/// What an instance is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It runs.
    Running,
    /// It is switched off.
    Off,
    /// DELETE was pressed.
    Deleting,
    /// It stopped over a bug; the oops.
    Crashed(String),
}

/// The last measurement of an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Bytes in use.
    pub mem_used: u64,
    /// Bytes it may use.
    pub mem_limit: u64,
    /// Share of the time it computed.
    pub cpu_percent: f64,
}

/// One machine as the page knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: String,
    /// Its host name.
    pub hostname: String,
    /// What it is doing.
    pub condition: Condition,
    /// Unknown until first measured.
    pub stats: Option<Stats>,
    /// Whether its system calls are traced.
    pub tracing: bool,
    /// TCP ports that can be opened.
    pub ports: Vec<u16>,
    /// What is done to its cable.
    pub cable: Cable,
    /// Its interfaces and those of its containers, as long as somebody looks.
    pub interfaces: Rc<Vec<Interface>>,
    /// Captures by interface.
    pub captures: BTreeMap<u32, Capture>,
    /// Its Docker, as long as somebody looks.
    pub docker: Option<Rc<Docker>>,
}

impl Instance {
    /// What was seen of it holds no more: it has stopped, or began anew.
    fn forget_state(&mut self) {
        self.stats = None;
        self.ports.clear();
        if let Some(docker) = &mut self.docker {
            *docker = Rc::default();
        }
    }
}

/// Images on their way between the user's files and an instance's Docker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Names it in messages.
    pub id: u32,
    /// The instance.
    pub instance: String,
    /// The file that is loaded, or the image that is saved.
    pub what: String,
    /// The image goes out; an archive comes in otherwise.
    pub out: bool,
    /// Bytes that it has, as far as is known.
    pub total_bytes: u64,
    /// How far it is.
    pub state: Transferred,
}

impl Transfer {
    /// It goes on.
    pub fn running(&self) -> bool {
        !matches!(
            self.state,
            Transferred::Done { .. } | Transferred::Failed { .. }
        )
    }
}

/// Packets of a capture that are shown; all that are kept are in its file.
pub const PACKETS_SHOWN_MAX: usize = 300;

/// The capture of an interface.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// The newest packets.
    pub packets: Rc<VecDeque<Rc<Packet>>>,
    /// What there is in all.
    pub captured: Captured,
}

impl PartialEq for Capture {
    fn eq(&self, other: &Capture) -> bool {
        // Packets are added, never changed: the last says all.
        let last = |capture: &Capture| capture.packets.back().map(|packet| packet.number);
        self.captured == other.captured && last(self) == last(other)
    }
}

/// Something being downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// What it is.
    pub what: String,
    /// Bytes received.
    pub done_bytes: u64,
    /// Bytes in all, 0 if unknown.
    pub total_bytes: u64,
}

impl Download {
    /// Whether bytes are still missing.
    pub fn running(&self) -> bool {
        self.total_bytes == 0 || self.done_bytes < self.total_bytes
    }
}

/// Transfers on screen that are over; older ones make room.
const TRANSFERS_OVER_MAX: usize = 5;

/// Messages kept on screen; older ones make room.
const NOTICES_MAX: usize = 4;

/// See the module's comment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Store {
    /// Where the session stands.
    pub phase: Phase,
    /// In the order of the list.
    pub instances: Vec<Instance>,
    /// The instance whose card is shown.
    pub selected: Option<String>,
    /// Instances asked for and not there yet.
    pub creating: u32,
    /// Everything downloaded in this session, running or done.
    pub downloads: Vec<Download>,
    /// What went wrong lately.
    pub notices: Vec<String>,
    /// A save or restore on its way: bytes of memory done, and of how many.
    pub saving: Option<(u64, u64)>,
    /// When the playground was last kept in this browser, as the user's language writes it.
    pub kept: Option<String>,
    /// Images on their way, and those that have come or failed, until they are dismissed.
    pub transfers: Vec<Transfer>,
    /// Transfers so far.
    pub transferred: u32,
    /// The instance that a file is dragged over.
    pub dragged_over: Option<String>,
    /// What is shown beside the terminal.
    pub panels: Panels,
    /// Whether anything may have changed since the playground was last kept.
    pub changed: bool,
}

impl Store {
    /// Takes a message of the worker. Answers whether what is shown changed.
    pub fn apply(&mut self, message: FromWorker) -> bool {
        match message {
            FromWorker::Ready { build } if build != BUILD => {
                self.phase = Phase::Failed(format!("page {BUILD}, worker {build}"));
            }
            FromWorker::Ready { .. } => self.phase = Phase::Ready,
            FromWorker::Progress {
                what,
                done_bytes,
                total_bytes,
            } => self.progress(Download {
                what,
                done_bytes,
                total_bytes,
            }),
            FromWorker::InstanceAdded { name, ip, hostname } => self.added(name, ip, hostname),
            FromWorker::Output { .. } => {
                self.changed = true;
                return false;
            }
            FromWorker::Paused => {
                self.saving = Some((0, 0));
                self.changed = false;
            }
            FromWorker::Saving {
                done_bytes,
                total_bytes,
            } => self.saving = Some((done_bytes, total_bytes)),
            FromWorker::Saved { .. } | FromWorker::Restored { .. } => self.saving = None,
            FromWorker::NotSaved { text, .. } => {
                self.saving = None;
                self.notice(text);
            }
            FromWorker::NotRestored { .. } => self.saving = None,
            FromWorker::Forgotten => return false,
            FromWorker::Stats {
                name,
                mem_used,
                mem_limit,
                cpu_percent,
            } => {
                let stats = Some(Stats {
                    mem_used,
                    mem_limit,
                    cpu_percent,
                });
                self.changed |= cpu_percent > 1.0;
                match self.find(&name) {
                    Some(instance) if instance.stats != stats => instance.stats = stats,
                    _ => return false,
                }
            }
            FromWorker::Ports { name, ports } => match self.find(&name) {
                Some(instance) if instance.ports != ports => instance.ports = ports,
                _ => return false,
            },
            FromWorker::Cable { name, cable } => match self.find(&name) {
                Some(instance) if instance.cable != cable => instance.cable = cable,
                _ => return false,
            },
            FromWorker::Interfaces { name, interfaces } => match self.find(&name) {
                Some(instance) if *instance.interfaces != interfaces => {
                    instance.interfaces = Rc::new(interfaces);
                }
                _ => return false,
            },
            FromWorker::Packets {
                name,
                link,
                packets,
                captured,
            } => self.captured(&name, link, packets, captured),
            FromWorker::CaptureFile { .. } | FromWorker::ImageFile { .. } => return false,
            FromWorker::Docker { name, part, bytes } => {
                let instance = self.find(&name);
                let Some(docker) = instance.and_then(|it| it.docker.as_mut()) else {
                    return false;
                };
                if let Err(error) = Rc::make_mut(docker).apply(part, &bytes) {
                    self.notice(format!("{name}: {part:?}: {error}"));
                }
            }
            FromWorker::Transfer { id, state } => {
                match self.transfers.iter_mut().find(|it| it.id == id) {
                    Some(transfer) => transfer.state = state,
                    None => return false,
                }
            }
            FromWorker::InstanceDeleted { name } => self.deleted(&name),
            FromWorker::Power { name, on } => {
                if let Some(instance) = self.find(&name)
                    && instance.condition != Condition::Deleting
                {
                    instance.condition = if on {
                        Condition::Running
                    } else {
                        Condition::Off
                    };
                    instance.forget_state();
                }
            }
            FromWorker::Crashed { name, cause } => {
                if let Some(instance) = self.find(&name) {
                    instance.condition = Condition::Crashed(cause);
                    instance.forget_state();
                }
            }
            FromWorker::InstanceFailed { text } => {
                self.creating = self.creating.saturating_sub(1);
                self.notice(text);
            }
            FromWorker::Error { text } => self.notice(text),
            // The page says it in the user's language.
            FromWorker::NoInternet { .. } | FromWorker::NoTls | FromWorker::NoPackage { .. } => {}
            FromWorker::Panicked { text } => {
                self.creating = 0;
                self.phase = Phase::Failed(text);
            }
        }
        true
    }

    /// The instance whose card is shown.
    pub fn current(&self) -> Option<&Instance> {
        let name = self.selected.as_ref()?;
        self.instances
            .iter()
            .find(|instance| &instance.name == name)
    }

    /// Shows an instance's card.
    pub fn select(&mut self, name: &str) {
        if self.find(name).is_some() {
            self.selected = Some(name.to_owned());
        }
    }

    /// Shows the instance `step` places further down the list, around the end.
    pub fn select_step(&mut self, step: isize) {
        let count = self.instances.len() as isize;
        let here = self
            .instances
            .iter()
            .position(|instance| Some(&instance.name) == self.selected.as_ref());
        if let Some(here) = here {
            let there = (here as isize + step).rem_euclid(count) as usize;
            self.selected = Some(self.instances[there].name.clone());
        }
    }

    /// An instance by name.
    pub fn find(&mut self, name: &str) -> Option<&mut Instance> {
        self.instances
            .iter_mut()
            .find(|instance| instance.name == name)
    }

    /// All instances by name, with their addresses.
    pub fn hosts(&self) -> Vec<(String, String)> {
        let host = |instance: &Instance| (instance.name.clone(), instance.ip.clone());
        self.instances.iter().map(host).collect()
    }

    /// Takes a notice off the screen.
    pub fn dismiss(&mut self, index: usize) {
        if index < self.notices.len() {
            self.notices.remove(index);
        }
    }

    /// Puts a notice on the screen; the same one is not shown twice.
    pub fn notice(&mut self, text: String) {
        self.notices.retain(|shown| *shown != text);
        self.notices.push(text);
        if self.notices.len() > NOTICES_MAX {
            self.notices.remove(0);
        }
    }

    /// Bytes received in this session.
    pub fn downloaded_bytes(&self) -> u64 {
        self.downloads
            .iter()
            .map(|download| download.done_bytes)
            .sum()
    }

    /// Images set out; gives the transfer's number.
    pub fn transfer(&mut self, instance: &str, what: &str, out: bool, total_bytes: u64) -> u32 {
        self.transferred += 1;
        let over = self.transfers.iter().filter(|it| !it.running());
        if over.count() >= TRANSFERS_OVER_MAX
            && let Some(oldest) = self.transfers.iter().position(|it| !it.running())
        {
            self.transfers.remove(oldest);
        }
        self.transfers.push(Transfer {
            id: self.transferred,
            instance: instance.to_owned(),
            what: what.to_owned(),
            out,
            total_bytes,
            state: Transferred::Moved { done_bytes: 0 },
        });
        self.transferred
    }

    fn progress(&mut self, download: Download) {
        let known = self
            .downloads
            .iter_mut()
            .find(|known| known.what == download.what);
        match known {
            Some(known) => *known = download,
            None => self.downloads.push(download),
        }
    }

    fn captured(&mut self, name: &str, link: u32, new: Vec<Packet>, captured: Captured) {
        let Some(instance) = self.find(name) else {
            return;
        };
        let capture = instance.captures.entry(link).or_default();
        capture.captured = captured;
        let packets = Rc::make_mut(&mut capture.packets);
        if captured.frames == 0 {
            packets.clear();
        }
        packets.extend(new.into_iter().map(Rc::new));
        let surplus = packets.len().saturating_sub(PACKETS_SHOWN_MAX);
        packets.drain(..surplus);
    }

    fn added(&mut self, name: String, ip: String, hostname: String) {
        self.creating = self.creating.saturating_sub(1);
        self.selected = Some(name.clone());
        self.instances.push(Instance {
            name,
            ip,
            hostname,
            condition: Condition::Running,
            stats: None,
            tracing: false,
            ports: Vec::new(),
            cable: Cable::default(),
            interfaces: Rc::default(),
            captures: BTreeMap::new(),
            docker: None,
        });
        // node10 comes after node9.
        self.instances
            .sort_by_cached_key(|instance| (instance.hostname.len(), instance.hostname.clone()));
    }

    fn deleted(&mut self, name: &str) {
        let Some(index) = self
            .instances
            .iter()
            .position(|instance| instance.name == name)
        else {
            return;
        };
        self.instances.remove(index);
        self.panels.forget(name);
        if self.selected.as_deref() == Some(name) {
            let next = index.min(self.instances.len().saturating_sub(1));
            self.selected = self.instances.get(next).map(|next| next.name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(name: &str) -> FromWorker {
        FromWorker::InstanceAdded {
            name: name.into(),
            ip: "192.168.0.2".into(),
            hostname: name.into(),
        }
    }

    fn names(store: &Store) -> Vec<&str> {
        store.instances.iter().map(|i| i.name.as_str()).collect()
    }

    #[test]
    fn instances_are_sorted_and_the_newest_is_shown() {
        let mut store = Store {
            creating: 1,
            ..Store::default()
        };
        for name in ["node10", "node2", "node1"] {
            store.apply(added(name));
        }
        assert_eq!(names(&store), ["node1", "node2", "node10"]);
        assert_eq!(store.selected.as_deref(), Some("node1"));
        assert_eq!(store.creating, 0);
        store.select_step(-1);
        assert_eq!(store.selected.as_deref(), Some("node10"));
        store.select("node7");
        assert_eq!(store.selected.as_deref(), Some("node10"));
    }

    #[test]
    fn deleting_the_shown_instance_shows_its_neighbour() {
        let mut store = Store::default();
        for name in ["node1", "node2", "node3"] {
            store.apply(added(name));
        }
        for (gone, shown) in [
            ("node3", Some("node2")),
            ("node1", Some("node2")),
            ("node2", None),
        ] {
            store.apply(FromWorker::InstanceDeleted { name: gone.into() });
            assert_eq!(store.selected.as_deref(), shown);
        }
        assert!(store.current().is_none());
    }

    #[test]
    fn a_crash_stays_with_its_instance() {
        let mut store = Store::default();
        store.apply(added("node1"));
        store.apply(added("node2"));
        store.apply(FromWorker::Crashed {
            name: "node1".into(),
            cause: "oops".into(),
        });
        assert_eq!(
            store.instances[0].condition,
            Condition::Crashed("oops".into())
        );
        assert_eq!(store.instances[1].condition, Condition::Running);
    }

    #[test]
    fn an_instance_that_is_off_can_be_switched_on() {
        let mut store = Store::default();
        store.apply(added("node1"));
        for (on, condition) in [(false, Condition::Off), (true, Condition::Running)] {
            let name = "node1".into();
            store.apply(FromWorker::Power { name, on });
            assert_eq!(store.instances[0].condition, condition);
        }
    }

    #[test]
    fn notices_and_downloads_are_bounded_and_merged() {
        let mut store = Store::default();
        for n in 0..10 {
            store.apply(FromWorker::Error {
                text: format!("error {}", n % 6),
            });
            store.apply(FromWorker::Progress {
                what: "node image".into(),
                done_bytes: n,
                total_bytes: 9,
            });
        }
        assert_eq!(store.notices.len(), NOTICES_MAX);
        assert_eq!(store.downloads.len(), 1);
        assert!(!store.downloads[0].running());
        assert_eq!(store.downloaded_bytes(), 9);
    }

    #[test]
    fn a_capture_shows_its_newest_packets_and_a_new_one_begins_empty() {
        let mut store = Store::default();
        store.apply(added("node1"));
        let packets = |numbers: std::ops::Range<u64>, running| FromWorker::Packets {
            name: "node1".into(),
            link: 2,
            captured: Captured {
                running,
                frames: numbers.end,
                ..Captured::default()
            },
            packets: numbers
                .map(|number| Packet {
                    number,
                    after_us: 0,
                    sent: false,
                    length: 60,
                    source: String::new(),
                    destination: String::new(),
                    protocol: "ARP".into(),
                    info: String::new(),
                })
                .collect(),
        };
        store.apply(packets(0..200, true));
        store.apply(packets(200..400, true));
        let shown = &store.instances[0].captures[&2].packets;
        assert_eq!(shown.len(), PACKETS_SHOWN_MAX);
        assert_eq!(shown.front().unwrap().number, 100);
        store.apply(packets(0..0, true));
        assert!(store.instances[0].captures[&2].packets.is_empty());
    }

    #[test]
    fn transfers_are_told_of_until_there_are_too_many() {
        let mut store = Store::default();
        for n in 1..=TRANSFERS_OVER_MAX as u32 + 2 {
            assert_eq!(store.transfer("node1", "web.tar", false, 10), n);
            if n != 2 {
                let said = String::new();
                let state = Transferred::Done { said };
                assert!(store.apply(FromWorker::Transfer { id: n, state }));
            }
        }
        let ids: Vec<u32> = store.transfers.iter().map(|it| it.id).collect();
        // The second still runs.
        assert_eq!(ids, [2, 3, 4, 5, 6, 7]);
        let state = Transferred::Moved { done_bytes: 5 };
        assert!(!store.apply(FromWorker::Transfer { id: 1, state }));
    }

    #[test]
    fn docker_is_known_while_somebody_looks() {
        let mut store = Store::default();
        store.apply(added("node1"));
        let document = || FromWorker::Docker {
            name: "node1".into(),
            part: crate::docker::Part::Networks,
            bytes: br#"[{"Name":"web","Driver":"bridge","Id":"0123456789abcdef"}]"#.to_vec(),
        };
        assert!(!store.apply(document()));
        store.instances[0].docker = Some(Rc::default());
        assert!(store.apply(document()));
        let docker = store.instances[0].docker.clone().unwrap();
        let networks = docker.networks.clone().unwrap();
        assert_eq!(networks[0].bridge().unwrap(), "br-0123456789ab");
        // What is dead is not shown as if it were alive; what comes after a restart is.
        let cause = "oops".to_string();
        let name = "node1".to_string();
        store.apply(FromWorker::Crashed { name, cause });
        assert!(
            store.instances[0]
                .docker
                .clone()
                .unwrap()
                .networks
                .is_none()
        );
        let name = "node1".to_string();
        store.apply(FromWorker::Power { name, on: true });
        assert!(store.apply(document()));
        let name = "node1".to_string();
        store.apply(FromWorker::Power { name, on: false });
        assert!(
            store.instances[0]
                .docker
                .clone()
                .unwrap()
                .networks
                .is_none()
        );
    }

    #[test]
    fn another_build_of_the_worker_is_refused() {
        let mut store = Store::default();
        store.apply(FromWorker::Ready {
            build: "other".into(),
        });
        assert!(matches!(store.phase, Phase::Failed(_)));
    }
}
