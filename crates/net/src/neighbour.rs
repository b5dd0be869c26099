//! Neighbour tables: which hardware address an IP address of a link has (ARP, and NDP for IPv6), with the
//! states of RFC 4861 §7.3 as `ip neigh` shows them.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use clock::{Instant, NANOS_PER_SEC};

use crate::packet::{Frame, Mac};
use crate::types::LinkId;

/// Neighbours of a namespace at most.
pub const NEIGHBOURS_MAX: usize = 1024;
/// Frames that wait for an answer at most.
const WAITING_MAX: usize = 64;
/// Requests that are sent before the neighbour has failed.
pub const PROBES_MAX: u8 = 3;
/// Between two requests.
pub const RETRY_NS: u64 = NANOS_PER_SEC;
/// How long a confirmation holds.
pub const REACHABLE_NS: u64 = 30 * NANOS_PER_SEC;
/// How long a stale entry is used before it is asked about.
pub const DELAY_NS: u64 = 5 * NANOS_PER_SEC;
/// How long a stale or failed entry is kept that nobody uses.
pub const KEEP_NS: u64 = 60 * NANOS_PER_SEC;

/// `NUD_…`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Asked for, no answer yet.
    Incomplete,
    /// Confirmed lately.
    Reachable,
    /// Known, not confirmed lately.
    Stale,
    /// Used while stale: asked about soon.
    Delay,
    /// Being asked about.
    Probe,
    /// Did not answer.
    Failed,
    /// Set by hand.
    Permanent,
}

impl State {
    /// `NUD_…`.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            State::Incomplete => 1,
            State::Reachable => 2,
            State::Stale => 4,
            State::Delay => 8,
            State::Probe => 16,
            State::Failed => 32,
            State::Permanent => 128,
        }
    }

    /// Its hardware address can be used.
    #[must_use]
    pub fn is_valid(self) -> bool {
        !matches!(self, State::Incomplete | State::Failed)
    }
}

/// A neighbour.
#[derive(Debug)]
pub struct Neighbour {
    /// State.
    pub state: State,
    /// Its hardware address, once known.
    pub mac: Mac,
    /// When the state was last confirmed or changed.
    pub since: Instant,
    /// When something is to be done about it.
    pub timer: Option<Instant>,
    /// Requests sent in this state.
    pub probes: u8,
    /// It is a router (IPv6).
    pub is_router: bool,
    waiting: VecDeque<Frame>,
}

impl Neighbour {
    /// An entry nobody has asked about yet.
    #[must_use]
    pub fn new(state: State, mac: Mac, now: Instant) -> Neighbour {
        Neighbour {
            state,
            mac,
            since: now,
            timer: None,
            probes: 0,
            is_router: false,
            waiting: VecDeque::new(),
        }
    }

    /// Puts a frame where it waits for the answer; gives the one that had to go.
    pub fn wait(&mut self, frame: Frame) -> Option<Frame> {
        self.waiting.push_back(frame);
        if self.waiting.len() > WAITING_MAX {
            return self.waiting.pop_front();
        }
        None
    }

    /// Takes what waits.
    pub fn take_waiting(&mut self) -> VecDeque<Frame> {
        std::mem::take(&mut self.waiting)
    }
}

/// The neighbours of a namespace.
#[derive(Default, Debug)]
pub struct Neighbours {
    /// By link and address.
    pub entries: BTreeMap<(LinkId, IpAddr), Neighbour>,
}

impl Neighbours {
    /// Makes room for a new entry by dropping one that is not in use; false when there is none.
    pub fn make_room(&mut self) -> bool {
        if self.entries.len() < NEIGHBOURS_MAX {
            return true;
        }
        let oldest = self
            .entries
            .iter()
            .filter(|(_, entry)| matches!(entry.state, State::Stale | State::Failed))
            .min_by_key(|(_, entry)| entry.since)
            .map(|(key, _)| *key);
        match oldest {
            Some(key) => self.entries.remove(&key).is_some(),
            None => false,
        }
    }
}
