//! Network namespaces (`network_namespaces(7)`): what crate `net` has of each, with the settings under
//! `/proc/sys/net` and what the socket families keep (abstract names).
//!
//! [`NetStack`] is the network of the machine and its time. Whoever works with it does so in
//! [`NetStack::with`], which afterwards wakes who has to know and sets the timer for what is due next;
//! nothing inside may call it again.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use clock::{Clock, Instant};
use mem::Payer;
use net::{Network, NsId};
use vfs::inode::Attachments;

use super::UserNs;

/// Woken by the clock when the network has something to do.
#[derive(Default)]
struct Due(AtomicBool);

impl Wake for Due {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The network of a machine.
pub struct NetStack {
    network: RefCell<Network>,
    clock: Clock,
    due: Arc<Due>,
    waker: Waker,
    /// The timer that is set, and its key.
    armed: Cell<Option<(Instant, u64)>>,
    /// The machine's own namespace: where hardware goes when its namespace ends.
    first: Cell<Option<NsId>>,
    /// Woken when frames wait to leave the machine, and when links or addresses change.
    pub frames_wait: clock::WaitQueue,
    /// Woken when links, addresses or routes change.
    pub events_wait: clock::WaitQueue,
    listeners: RefCell<Vec<std::rc::Weak<dyn NetListener>>>,
}

/// Who wants to hear of changes to links, addresses and routes: sockets of netlink groups.
pub trait NetListener {
    /// Something changed.
    fn changed(&self, network: &Network, event: net::Event);
}

impl NetStack {
    /// A network without namespaces.
    #[must_use]
    pub fn new(clock: &Clock, seed: u64) -> Rc<NetStack> {
        let due = Arc::new(Due::default());
        Rc::new(NetStack {
            network: RefCell::new(Network::new(seed)),
            clock: clock.clone(),
            waker: Waker::from(Arc::clone(&due)),
            due,
            armed: Cell::new(None),
            first: Cell::new(None),
            frames_wait: clock::WaitQueue::new(),
            events_wait: clock::WaitQueue::new(),
            listeners: RefCell::default(),
        })
    }

    /// Works with the network, at the machine's time.
    pub fn with<R>(&self, f: impl FnOnce(&mut Network) -> R) -> R {
        let mut network = self.network.borrow_mut();
        let result = f(network.at(self.clock.now()));
        let woken = network.take_woken();
        let due = network.poll_at();
        let leaving = network.has_frames();
        self.tell_listeners(&mut network);
        drop(network);
        for queue in woken {
            queue.wake_all();
        }
        if leaving {
            self.frames_wait.wake_all();
        }
        self.arm(due);
        result
    }

    /// Looks at the network: nothing comes of it.
    pub fn read<R>(&self, f: impl FnOnce(&Network) -> R) -> R {
        f(&self.network.borrow())
    }

    fn tell_listeners(&self, network: &mut Network) {
        let events = network.take_events();
        if events.is_empty() {
            return;
        }
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|listener| listener.strong_count() > 0);
        for listener in listeners.iter().filter_map(std::rc::Weak::upgrade) {
            for &event in &events {
                listener.changed(network, event);
            }
        }
        self.events_wait.wake_all();
    }

    /// Adds somebody who wants to hear of changes.
    pub fn listen(&self, listener: std::rc::Weak<dyn NetListener>) {
        let mut listeners = self.listeners.borrow_mut();
        // Only when it would grow anyway: adding stays cheap.
        if listeners.len() == listeners.capacity() {
            listeners.retain(|known| known.strong_count() > 0);
        }
        listeners.push(listener);
    }

    /// A timer that is set too early does no harm: it sets itself again. So it is only moved forward.
    fn arm(&self, due: Option<Instant>) {
        let Some(at) = due else { return };
        if let Some(armed) = self.armed.get() {
            if armed.0 <= at {
                return;
            }
            self.clock.cancel(armed);
        }
        // What is due already is done in a moment, not now: somebody is in the middle of something.
        let at = at.max(self.clock.now().plus(1));
        let key = self.clock.wake_at(at, self.waker.clone());
        self.armed.set(Some(key));
    }

    /// Does what is due, if anything is.
    pub fn poll_if_due(&self) {
        if self.due.0.swap(false, Ordering::Relaxed) {
            self.armed.set(None);
            let now = self.clock.now();
            self.with(|network| network.poll(now));
        }
    }
}

/// A network namespace.
pub struct NetNs {
    /// Inode number.
    pub inum: u64,
    /// Who has power over it.
    pub owner: Rc<UserNs>,
    /// The network of the machine.
    pub stack: Rc<NetStack>,
    /// Its number there.
    pub id: NsId,
    /// Values written below `/proc/sys/net`, by path; what is not here has its default.
    pub sysctls: RefCell<BTreeMap<String, String>>,
    /// What the socket families keep per namespace: abstract names.
    pub state: Attachments,
    /// Pays for what waits in sockets; empty: nobody does.
    pub payer: OnceCell<Rc<Payer>>,
}

impl NetNs {
    /// A namespace with nothing but a loopback interface. It has the IPv4 settings of `like`, as Linux
    /// gives new namespaces those of the first.
    #[must_use]
    pub fn new(inum: u64, owner: Rc<UserNs>, stack: &Rc<NetStack>, like: Option<&NetNs>) -> NetNs {
        let id = stack.with(Network::add_namespace);
        if stack.first.get().is_none() {
            stack.first.set(Some(id));
        }
        let new = NetNs {
            inum,
            owner,
            stack: Rc::clone(stack),
            id,
            sysctls: RefCell::default(),
            state: Attachments::default(),
            payer: like
                .and_then(|like| like.payer.get().cloned())
                .map_or_else(OnceCell::new, OnceCell::from),
        };
        let inherited: Vec<(String, String)> = like
            .map(|like| like.sysctls.borrow().clone())
            .into_iter()
            .flatten()
            .filter(|(path, _)| path.starts_with("net/ipv4/conf/") || path == IP_FORWARD)
            .collect();
        for (path, value) in inherited {
            new.set_sysctl(&path, value);
        }
        new
    }

    /// Works with the network.
    pub fn with<R>(&self, f: impl FnOnce(&mut Network) -> R) -> R {
        self.stack.with(f)
    }

    /// Brings the loopback interface up.
    pub fn loopback_up(&self) {
        self.with(|network| {
            if let Ok(lo) = network.find_link(self.id, "lo") {
                // A link of ours can be set up.
                let _ = network.set_up(lo, true);
            }
        });
    }

    /// Writes a setting below `/proc/sys/net`, whose value has been checked.
    pub fn set_sysctl(&self, path: &str, value: String) {
        const ALL: &str = "net/ipv4/conf/all/forwarding";
        let twin = match path {
            IP_FORWARD => Some(ALL),
            ALL => Some(IP_FORWARD),
            _ => None,
        };
        for path in twin.into_iter().chain([path]) {
            self.sysctls
                .borrow_mut()
                .insert(path.to_string(), value.clone());
        }
        let number = || value.trim().parse::<u32>().unwrap_or(0);
        self.with(|network| {
            let Ok(space) = network.space_mut(self.id) else {
                return;
            };
            let settings = &mut space.settings;
            match path {
                IP_FORWARD | ALL => settings.forward_v4 = number() != 0,
                "net/ipv4/conf/all/route_localnet" => settings.route_localnet = number() != 0,
                "net/ipv4/icmp_echo_ignore_all" => settings.ignore_echo = number() != 0,
                "net/ipv4/ip_default_ttl" => settings.ttl = number().clamp(1, 255) as u8,
                "net/core/somaxconn" => settings.backlog_max = number(),
                "net/bridge/bridge-nf-call-iptables" => settings.filter_bridged = number() != 0,
                "net/ipv6/conf/all/forwarding" => settings.forward_v6 = number() != 0,
                "net/ipv6/conf/all/disable_ipv6" => {
                    // A namespace that is there has links that are there.
                    let _ = network.set_ipv6(self.id, number() == 0);
                }
                "net/ipv4/ip_local_port_range" => {
                    let mut words = value.split_ascii_whitespace();
                    let mut port = || words.next()?.parse::<u16>().ok();
                    if let (Some(first), Some(last)) = (port(), port())
                        && first > 0
                        && first <= last
                    {
                        settings.ports = (first, last);
                    }
                }
                _ => {}
            }
        });
    }
}

const IP_FORWARD: &str = "net/ipv4/ip_forward";

impl Drop for NetNs {
    fn drop(&mut self) {
        let heir = self.stack.first.get().filter(|&first| first != self.id);
        self.with(|network| network.remove_namespace(self.id, heir));
    }
}
