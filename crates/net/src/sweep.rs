//! What is over is forgotten, also when nothing else happens: tracked connections, ends of connections.
//!
//! Nobody waits for it, so a namespace is swept a moment after something in it was due, not on the dot.

use clock::NANOS_PER_SEC;

use crate::network::{Network, Timer};
use crate::types::NsId;

/// The least time between two sweeps of a namespace.
const PAUSE_NS: u64 = 10 * NANOS_PER_SEC;

impl Network {
    /// Something was added that will be over some day.
    pub(crate) fn sweep_soon(&mut self, ns: NsId) {
        let at = self.now.plus(PAUSE_NS);
        let Some(space) = self.spaces.get_mut(&ns) else {
            return;
        };
        if space.sweep.is_some_and(|planned| planned <= at) {
            return;
        }
        let old = space.sweep.replace(at);
        if let Some(old) = old {
            self.disarm(old, Timer::Sweep(ns));
        }
        self.arm(at, Timer::Sweep(ns));
    }

    /// Forgets what is over, and says when to look again.
    pub(crate) fn sweep(&mut self, ns: NsId) {
        let now = self.now;
        let Some(space) = self.spaces.get_mut(&ns) else {
            return;
        };
        space.sweep = None;
        space.conntrack.expire(now);
        space.forget_time_waits(now, usize::MAX);
        let ends = space.time_wait_order.front().map(|&(at, _)| at);
        let next = [space.conntrack.next_expiry(), ends];
        if let Some(next) = next.into_iter().flatten().min() {
            let at = next.max(now.plus(PAUSE_NS));
            space.sweep = Some(at);
            self.arm(at, Timer::Sweep(ns));
        }
    }
}
