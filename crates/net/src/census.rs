//! How many of everything there are: what a check for leaks compares.

use crate::network::Network;

impl Network {
    /// Counts of what a machine's network holds, by name.
    #[must_use]
    pub fn census(&self) -> Vec<(&'static str, u64)> {
        let spaces = || self.spaces.values();
        let rules = |v6: bool| {
            let is_rule = |line: &&str| line.starts_with("-A");
            spaces()
                .map(|space| space.tables(v6).save(false).lines().filter(is_rule).count())
                .sum::<usize>()
        };
        let counts = [
            ("network namespaces", self.spaces.len()),
            ("links", self.links.len()),
            ("sockets", self.sockets.len()),
            ("frames on their way", self.work.len()),
            ("network timers", self.timer_count()),
            (
                "connections",
                spaces().map(|space| space.connections.len()).sum(),
            ),
            (
                "ends of connections",
                spaces().map(|space| space.time_wait.len()).sum(),
            ),
            (
                "tracked connections",
                spaces().map(|space| space.conntrack.len()).sum(),
            ),
            (
                "ports",
                spaces()
                    .map(|space| space.tcp_ports.len() + space.udp_ports.len())
                    .sum(),
            ),
            (
                "routes",
                spaces().map(|space| space.routes.iter().count()).sum(),
            ),
            ("netfilter rules", rules(false) + rules(true)),
        ];
        counts
            .into_iter()
            .map(|(name, count)| (name, count as u64))
            .collect()
    }
}
