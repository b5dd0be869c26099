//! The packet filter: tables of chains of rules (iptables(8)), connection tracking, address translation.
//!
//! A packet passes PREROUTING, then INPUT or FORWARD, or OUTPUT when it is made here, and POSTROUTING when
//! it leaves. At each place `nat` decides the translation of a new connection once, and `filter` the fate of
//! every packet. Connections are only tracked while some rule asks for it: a namespace without rules
//! pays nothing.

pub mod conntrack;
pub mod nat;
pub mod rule;
pub mod xtables;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use abi::{Errno, Result};

pub use conntrack::{Conntrack, CtState, Track};
use rule::{Rule, Seen, Target};

/// Rules of a table at most.
const RULES_MAX: usize = 65_536;
/// Deepest chain of jumps; deeper ones are refused when the rule is added or cut when run.
const JUMPS_MAX: usize = 16;

/// Where a packet is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// After arrival.
    Prerouting,
    /// Before a socket of this host.
    Input,
    /// On its way through.
    Forward,
    /// From a socket of this host.
    Output,
    /// Before it leaves.
    Postrouting,
}

impl Hook {
    /// The built-in chain.
    #[must_use]
    pub fn chain(self) -> &'static str {
        match self {
            Hook::Prerouting => "PREROUTING",
            Hook::Input => "INPUT",
            Hook::Forward => "FORWARD",
            Hook::Output => "OUTPUT",
            Hook::Postrouting => "POSTROUTING",
        }
    }
}

/// A table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TableName {
    /// What may pass.
    Filter,
    /// What is translated.
    Nat,
}

impl TableName {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TableName::Filter => "filter",
            TableName::Nat => "nat",
        }
    }

    /// The table of a name.
    pub fn parse(name: &str) -> Result<TableName> {
        match name {
            "filter" => Ok(TableName::Filter),
            "nat" => Ok(TableName::Nat),
            _ => Err(Errno::ENOENT),
        }
    }

    fn built_in(self) -> &'static [Hook] {
        match self {
            TableName::Filter => &[Hook::Input, Hook::Forward, Hook::Output],
            TableName::Nat => &[
                Hook::Prerouting,
                Hook::Input,
                Hook::Output,
                Hook::Postrouting,
            ],
        }
    }
}

/// A chain.
#[derive(Clone, Default, Debug)]
pub struct Chain {
    /// What happens at its end, if it is built in: `true` lets through.
    pub policy: Option<bool>,
    /// Its rules.
    pub rules: Vec<Rule>,
    /// Packets and bytes that its policy decided on.
    pub counters: std::cell::Cell<(u64, u64)>,
}

/// What is to be done with a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Goes on.
    Accept,
    /// Dropped.
    Drop,
    /// Dropped, and the sender is told this.
    Reject(&'static str),
    /// Translated as the target says.
    Translate(Target),
}

/// A table of chains.
#[derive(Clone, Debug)]
pub struct Table {
    chains: BTreeMap<String, Chain>,
    rules: usize,
}

/// How a run of a chain ended.
enum End {
    Verdict(Verdict),
    /// Its end, or RETURN.
    Fell,
}

impl Table {
    fn new(name: TableName) -> Table {
        let built_in = name.built_in().iter().map(|hook| {
            let chain = Chain {
                policy: Some(true),
                ..Chain::default()
            };
            (hook.chain().to_string(), chain)
        });
        Table {
            chains: built_in.collect(),
            rules: 0,
        }
    }

    /// The verdict of a built-in chain; marks are put on the packet on the way.
    fn run(&self, hook: Hook, seen: &mut Seen<'_>) -> Verdict {
        let Some(chain) = self.chains.get(hook.chain()) else {
            return Verdict::Accept;
        };
        if let End::Verdict(verdict) = self.run_chain(chain, seen, JUMPS_MAX) {
            return verdict;
        }
        let (packets, bytes) = chain.counters.get();
        chain.counters.set((packets + 1, bytes + seen.len));
        if chain.policy == Some(false) {
            Verdict::Drop
        } else {
            Verdict::Accept
        }
    }

    fn run_chain(&self, chain: &Chain, seen: &mut Seen<'_>, jumps: usize) -> End {
        for rule in &chain.rules {
            if !rule.matches(seen) {
                continue;
            }
            rule.count(seen.len);
            match &rule.target {
                None => {}
                Some(Target::Accept) => return End::Verdict(Verdict::Accept),
                Some(Target::Drop) => return End::Verdict(Verdict::Drop),
                Some(Target::Reject(with)) => return End::Verdict(Verdict::Reject(with)),
                Some(Target::Return) => return End::Fell,
                Some(Target::Mark(value, mask)) => seen.mark = seen.mark & !mask ^ value,
                Some(Target::Jump(name) | Target::Goto(name)) => {
                    let Some(next) = self.chains.get(name).filter(|_| jumps > 0) else {
                        return End::Verdict(Verdict::Drop);
                    };
                    match self.run_chain(next, seen, jumps - 1) {
                        End::Fell if matches!(rule.target, Some(Target::Goto(_))) => {
                            return End::Fell;
                        }
                        End::Fell => {}
                        verdict @ End::Verdict(_) => return verdict,
                    }
                }
                Some(target) => return End::Verdict(Verdict::Translate(target.clone())),
            }
        }
        End::Fell
    }

    fn chain_mut(&mut self, name: &str) -> Result<&mut Chain> {
        self.chains.get_mut(name).ok_or(Errno::ENOENT)
    }

    /// The chains, by name.
    pub fn chains(&self) -> impl Iterator<Item = (&str, &Chain)> {
        self.chains
            .iter()
            .map(|(name, chain)| (name.as_str(), chain))
    }

    fn dump(&self, name: TableName, counters: bool) -> String {
        let mut text = format!("*{}\n", name.name());
        let built_in = name.built_in().iter().map(|hook| hook.chain());
        let own = self
            .chains
            .iter()
            .filter(|(_, chain)| chain.policy.is_none())
            .map(|(name, _)| name.as_str());
        let order: Vec<&str> = built_in.chain(own).collect();
        for name in &order {
            let chain = &self.chains[*name];
            let policy = match chain.policy {
                None => "-",
                Some(true) => "ACCEPT",
                Some(false) => "DROP",
            };
            let (packets, bytes) = chain.counters.get();
            let _ = writeln!(text, ":{name} {policy} [{packets}:{bytes}]");
        }
        for name in &order {
            for rule in &self.chains[*name].rules {
                if counters {
                    let (packets, bytes) = rule.counters.get();
                    let _ = write!(text, "[{packets}:{bytes}] ");
                }
                let _ = writeln!(text, "-A {name} {}", rule.emit());
            }
        }
        text + "COMMIT\n"
    }
}

/// The tables of a family in a namespace.
#[derive(Debug)]
pub struct Tables {
    filter: Table,
    nat: Table,
    tracking: bool,
    /// The tables somebody has used, the last one first.
    registered: Vec<TableName>,
}

impl Default for Tables {
    fn default() -> Self {
        Tables {
            filter: Table::new(TableName::Filter),
            nat: Table::new(TableName::Nat),
            tracking: false,
            registered: Vec::new(),
        }
    }
}

impl Tables {
    /// Some rule asks for connection tracking.
    #[must_use]
    pub fn needs_tracking(&self) -> bool {
        self.tracking
    }

    /// There is something a packet could meet in `filter`.
    #[must_use]
    pub fn filters(&self) -> bool {
        self.filter.rules > 0
            || self
                .filter
                .chains
                .values()
                .any(|chain| chain.policy == Some(false))
    }

    /// A table.
    #[must_use]
    pub fn table(&self, name: TableName) -> &Table {
        match name {
            TableName::Filter => &self.filter,
            TableName::Nat => &self.nat,
        }
    }

    fn table_mut(&mut self, name: TableName) -> &mut Table {
        match name {
            TableName::Filter => &mut self.filter,
            TableName::Nat => &mut self.nat,
        }
    }

    /// What `table` says at `hook`.
    #[must_use]
    pub fn run(&self, table: TableName, hook: Hook, seen: &mut Seen<'_>) -> Verdict {
        self.table(table).run(hook, seen)
    }

    /// The tables somebody has used, the last one first (`/proc/net/ip_tables_names`).
    #[must_use]
    pub fn registered(&self) -> &[TableName] {
        &self.registered
    }

    fn register(&mut self, name: TableName) {
        if !self.registered.contains(&name) {
            self.registered.insert(0, name);
        }
    }

    fn changed(&mut self) {
        for table in [&mut self.filter, &mut self.nat] {
            table.rules = table.chains.values().map(|chain| chain.rules.len()).sum();
        }
        self.tracking = self.nat.rules > 0
            || self
                .filter
                .chains
                .values()
                .any(|chain| chain.rules.iter().any(Rule::needs_tracking));
    }

    /// Does what an `iptables` command line says (without `iptables` and `-t TABLE`): `-A -I -D -C -R -N -X
    /// -F -P -Z -E`. Errors as iptables maps them: `ENOENT` no such chain or rule, `EEXIST`, `EINVAL`.
    pub fn command(&mut self, table: TableName, line: &str) -> Result<()> {
        self.register(table);
        let outcome = self.table_mut(table).command(table, &rule::words(line));
        self.changed();
        outcome
    }

    /// Replaces the tables that `text` names by what it says, as `iptables-restore` does; with `keep`
    /// (`--noflush`) only the chains that it declares are emptied.
    pub fn restore(&mut self, text: &str, keep: bool) -> Result<()> {
        let mut current: Option<(TableName, Table)> = None;
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('*') {
                let name = TableName::parse(name)?;
                let table = if keep {
                    self.table(name).clone()
                } else {
                    Table::new(name)
                };
                current = Some((name, table));
                continue;
            }
            let Some((name, table)) = &mut current else {
                return Err(Errno::EINVAL);
            };
            if line == "COMMIT" {
                if let Some((name, table)) = current.take() {
                    *self.table_mut(name) = table;
                    self.register(name);
                    self.changed();
                }
            } else if let Some(declared) = line.strip_prefix(':') {
                table.declare(declared)?;
            } else {
                table.command(*name, &rule::words(line))?;
            }
        }
        if current.is_some() {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// The tables as `iptables-save` prints them, without its comment lines.
    #[must_use]
    pub fn save(&self, counters: bool) -> String {
        self.filter.dump(TableName::Filter, counters) + &self.nat.dump(TableName::Nat, counters)
    }
}

impl Table {
    /// `NAME POLICY [packets:bytes]`.
    fn declare(&mut self, text: &str) -> Result<()> {
        let mut words = text.split_whitespace();
        let (name, policy) = (words.next(), words.next());
        let name = name.ok_or(Errno::EINVAL)?;
        let chain = self.chains.entry(name.to_string()).or_default();
        chain.rules.clear();
        if chain.policy.is_some() {
            chain.policy = Some(policy != Some("DROP"));
        }
        Ok(())
    }

    fn command(&mut self, name: TableName, words: &[String]) -> Result<()> {
        let word = |at: usize| words.get(at).map(String::as_str);
        // Counters in front of a restored rule are read and dropped.
        if word(0).is_some_and(|word| word.starts_with('[')) {
            return self.command(name, &words[1..]);
        }
        let chain = word(1);
        let needed = || chain.ok_or(Errno::EINVAL);
        let tail = |from: usize| words.get(from..).unwrap_or_default();
        match word(0).ok_or(Errno::EINVAL)? {
            "-A" | "--append" => {
                let rule = self.checked(name, tail(2))?;
                self.chain_mut(needed()?)?.rules.push(rule);
            }
            "-I" | "--insert" => {
                let number = word(2).and_then(|word| word.parse::<usize>().ok());
                let rule = self.checked(name, tail(if number.is_some() { 3 } else { 2 }))?;
                let rules = &mut self.chain_mut(needed()?)?.rules;
                let at = number.unwrap_or(1).max(1) - 1;
                if at > rules.len() {
                    return Err(Errno::E2BIG);
                }
                rules.insert(at, rule);
            }
            "-R" | "--replace" => {
                let number: usize = word(2)
                    .and_then(|word| word.parse().ok())
                    .ok_or(Errno::EINVAL)?;
                let rule = self.checked(name, tail(3))?;
                let rules = &mut self.chain_mut(needed()?)?.rules;
                let place = number.checked_sub(1).and_then(|at| rules.get_mut(at));
                *place.ok_or(Errno::E2BIG)? = rule;
            }
            "-D" | "--delete" => {
                let number = word(2).and_then(|word| word.parse::<usize>().ok());
                let at = match number {
                    Some(number) if words.len() == 3 => number.checked_sub(1),
                    _ => self.position(needed()?, tail(2))?,
                };
                let rules = &mut self.chain_mut(needed()?)?.rules;
                match at.filter(|&at| at < rules.len()) {
                    Some(at) => drop(rules.remove(at)),
                    None => return Err(Errno::ENOENT),
                }
            }
            "-C" | "--check" => {
                self.position(needed()?, tail(2))?.ok_or(Errno::ENOENT)?;
            }
            "-N" | "--new-chain" => {
                let new = needed()?;
                if self.chains.contains_key(new) {
                    return Err(Errno::EEXIST);
                }
                if new.is_empty() || new.len() > 28 || new.starts_with(['-', '!']) {
                    return Err(Errno::EINVAL);
                }
                self.chains.insert(new.to_string(), Chain::default());
            }
            "-X" | "--delete-chain" => self.delete_chains(chain)?,
            "-F" | "--flush" => match chain {
                Some(chain) => self.chain_mut(chain)?.rules.clear(),
                None => self
                    .chains
                    .values_mut()
                    .for_each(|chain| chain.rules.clear()),
            },
            "-Z" | "--zero" => {
                for (_, chain) in self
                    .chains
                    .iter()
                    .filter(|(name, _)| chain.is_none_or(|wanted| wanted == *name))
                {
                    chain.counters.set((0, 0));
                    chain
                        .rules
                        .iter()
                        .for_each(|rule| rule.counters.set((0, 0)));
                }
            }
            "-P" | "--policy" => {
                let accept = match word(2) {
                    Some("ACCEPT") => true,
                    Some("DROP") => false,
                    _ => return Err(Errno::EINVAL),
                };
                let chain = self.chain_mut(needed()?)?;
                if chain.policy.is_none() {
                    return Err(Errno::ENOENT);
                }
                chain.policy = Some(accept);
            }
            "-E" | "--rename-chain" => {
                let (old, new) = (needed()?, word(2).ok_or(Errno::EINVAL)?);
                if self.chains.contains_key(new) {
                    return Err(Errno::EEXIST);
                }
                let chain = self.chains.remove(old).ok_or(Errno::ENOENT)?;
                self.chains.insert(new.to_string(), chain);
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    fn position(&self, chain: &str, words: &[String]) -> Result<Option<usize>> {
        let wanted = Rule::parse_words(words)?;
        let chain = self.chains.get(chain).ok_or(Errno::ENOENT)?;
        Ok(chain.rules.iter().position(|rule| *rule == wanted))
    }

    /// A rule that may stand in this table: its chain exists, its target belongs here.
    fn checked(&self, name: TableName, words: &[String]) -> Result<Rule> {
        let rule = Rule::parse_words(words)?;
        let fits = match &rule.target {
            Some(Target::Jump(chain) | Target::Goto(chain)) => {
                let known = self.chains.get(chain).ok_or(Errno::ENOENT)?;
                known.policy.is_none()
            }
            Some(Target::Reject(_)) => name == TableName::Filter,
            Some(
                Target::Masquerade(_) | Target::Snat(_) | Target::Dnat(_) | Target::Redirect(_),
            ) => name == TableName::Nat,
            _ => true,
        };
        if !fits
            || self
                .chains
                .values()
                .map(|chain| chain.rules.len())
                .sum::<usize>()
                >= RULES_MAX
        {
            return Err(Errno::EINVAL);
        }
        Ok(rule)
    }

    fn delete_chains(&mut self, only: Option<&str>) -> Result<()> {
        let is_used = |chains: &BTreeMap<String, Chain>, name: &str| {
            chains.values().any(|chain| {
                chain.rules.iter().any(|rule| {
                    matches!(&rule.target, Some(Target::Jump(to) | Target::Goto(to)) if to == name)
                })
            })
        };
        let names: Vec<String> = match only {
            Some(name) => vec![name.to_string()],
            None => self
                .chains
                .iter()
                .filter(|(_, chain)| chain.policy.is_none())
                .map(|(name, _)| name.clone())
                .collect(),
        };
        for name in names {
            let chain = self.chains.get(&name).ok_or(Errno::ENOENT)?;
            if chain.policy.is_some() {
                return Err(Errno::EINVAL);
            }
            if !chain.rules.is_empty() {
                return Err(Errno::ENOTEMPTY);
            }
            if is_used(&self.chains, &name) {
                return Err(Errno::EMLINK);
            }
            self.chains.remove(&name);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Docker 26 writes for a published port, as its iptables-save shows it.
    const DOCKER: &str = "\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
";

    #[test]
    fn what_is_saved_is_what_was_restored() {
        let mut tables = Tables::default();
        tables.restore(DOCKER, false).unwrap();
        assert_eq!(tables.save(false), DOCKER);
        assert!(tables.needs_tracking() && tables.filters());
    }

    #[test]
    fn rules_are_read_and_written_alike() {
        for text in [
            "-j ACCEPT",
            "-s 10.0.0.0/8 ! -d 10.1.0.0/16 -i eth+ ! -o lo -p tcp -m tcp --sport 1:1023 ! --dport 80 -j DROP",
            "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j REJECT --reject-with tcp-reset",
            "-p icmp -m icmp --icmp-type 8 -j ACCEPT",
            "-m mark --mark 0x4000/0x4000 -j MASQUERADE",
            "-m comment --comment \"kube-system/dns has no endpoints\" -j REJECT --reject-with icmp-port-unreachable",
            "-m statistic --mode random --probability 0.50000000000 -j RETURN",
            "-j MARK --set-xmark 0x4000/0x4000",
            "-p udp -m udp --dport 53 -j DNAT --to-destination [fd00::2]:53",
            "-m limit --limit 3/hour --limit-burst 1 -j RETURN",
            "-p tcp -m multiport --dports 80,443,8000:8010 -j ACCEPT",
            "-j SNAT --to-source 10.0.0.1-10.0.0.9:1000-2000",
            "-p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080",
        ] {
            assert_eq!(Rule::parse(text).unwrap().emit(), text);
        }
        assert_eq!(Rule::parse("-m recent --set").err(), Some(Errno::ENOENT));
        assert_eq!(Rule::parse("-s 10.0.0.0/99").err(), Some(Errno::EINVAL));
        assert_eq!(Rule::parse("-p").err(), Some(Errno::EINVAL));
    }

    #[test]
    fn commands_have_the_errors_of_iptables() {
        let mut tables = Tables::default();
        let mut run = |line: &str| tables.command(TableName::Filter, line);
        assert_eq!(run("-A NOPE -j ACCEPT"), Err(Errno::ENOENT));
        assert_eq!(run("-N MINE"), Ok(()));
        assert_eq!(run("-N MINE"), Err(Errno::EEXIST));
        assert_eq!(run("-A FORWARD -j MINE"), Ok(()));
        assert_eq!(run("-X MINE"), Err(Errno::EMLINK));
        assert_eq!(
            run("-A MINE -j DNAT --to-destination 1.2.3.4"),
            Err(Errno::EINVAL)
        );
        assert_eq!(run("-A MINE -s 10.0.0.0/8 -j DROP"), Ok(()));
        assert_eq!(run("-C MINE -s 10.0.0.0/8 -j DROP"), Ok(()));
        assert_eq!(run("-D MINE -s 10.0.0.0/9 -j DROP"), Err(Errno::ENOENT));
        assert_eq!(run("-D MINE 1"), Ok(()));
        assert_eq!(run("-D FORWARD -j MINE"), Ok(()));
        assert_eq!(run("-X MINE"), Ok(()));
        assert_eq!(run("-P FORWARD DROP"), Ok(()));
        assert_eq!(run("-P FORWARD MAYBE"), Err(Errno::EINVAL));
    }
}
