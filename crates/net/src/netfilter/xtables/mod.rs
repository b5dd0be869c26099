//! The tables as `iptables` and the kernel exchange them (x_tables.h, ip_tables.h, ip6_tables.h).
//!
//! A table is one piece of memory: entry after entry, each with matches and a target behind it. First come the
//! built-in chains, each ending with its policy, then the others, each between an entry that names it and one
//! that returns, and at the end an entry that is an error to reach. Jumps are offsets. `iptables` fetches the
//! whole, changes it, and hands the whole back; then it adds the counters of the rules that stayed.
//!
//! Here the piece is made from the [`Table`] when it is asked for, and read into one when it is set, so there
//! is one truth, whoever wrote the rules. What `extension` does not know is refused as by a kernel without
//! that module. Everything handed in is hostile.

mod entry;
mod extension;

use std::collections::{BTreeMap, BTreeSet};

use abi::{Errno, Result};

use super::rule::{Rule, Target};
use super::{Chain, Hook, RULES_MAX, Table, TableName, Tables};
use entry::{Entry, Outcome, Shape};
pub use extension::best_revision;

/// Packets and bytes.
pub type Counters = (u64, u64);

/// Where the chains of hooks begin and where their policies are, and how large it all is
/// (`struct ipt_getinfo`, and the head of `struct ipt_replace`).
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Info {
    /// The hooks it has, a bit each.
    pub hooks: u32,
    /// Offset of each hook's first entry.
    pub begins: [u32; 5],
    /// Offset of each hook's policy.
    pub policies: [u32; 5],
    /// Entries.
    pub entries: u32,
    /// Bytes of all entries.
    pub size: u32,
}

/// The number of a hook (`NF_INET_…`).
fn number(hook: Hook) -> usize {
    match hook {
        Hook::Prerouting => 0,
        Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    }
}

fn hooks_of(name: TableName) -> u32 {
    let bits = name.built_in().iter().map(|hook| 1 << number(*hook));
    bits.sum()
}

/// What stands at one place of the piece.
enum Item<'a> {
    Rule(&'a Rule),
    Policy(Hook, &'a Chain),
    Return,
    /// The beginning of a chain of the user's, or the end of everything.
    Name(&'a str),
}

impl Item<'_> {
    fn counters(&self) -> Counters {
        match self {
            Item::Rule(rule) => rule.counters.get(),
            Item::Policy(_, chain) => chain.counters.get(),
            Item::Return | Item::Name(_) => (0, 0),
        }
    }

    fn add(&self, more: Counters) {
        let sum = |was: Counters| (was.0.wrapping_add(more.0), was.1.wrapping_add(more.1));
        match self {
            Item::Rule(rule) => rule.counters.set(sum(rule.counters.get())),
            Item::Policy(_, chain) => chain.counters.set(sum(chain.counters.get())),
            Item::Return | Item::Name(_) => {}
        }
    }
}

impl Table {
    /// Everything in its order, and whose chain each belongs to.
    fn items(&self, name: TableName) -> Vec<(&str, Item<'_>)> {
        let mut items = Vec::new();
        for &hook in name.built_in() {
            if let Some(chain) = self.chains.get(hook.chain()) {
                let rules = chain.rules.iter().map(Item::Rule);
                let all = rules.chain([Item::Policy(hook, chain)]);
                items.extend(all.map(|item| (hook.chain(), item)));
            }
        }
        let own = self
            .chains
            .iter()
            .filter(|(_, chain)| chain.policy.is_none());
        for (name, chain) in own {
            items.push(("", Item::Name(name)));
            let rules = chain.rules.iter().map(Item::Rule);
            items.extend(
                rules
                    .chain([Item::Return])
                    .map(|item| (name.as_str(), item)),
            );
        }
        items.push(("", Item::Name(END)));
        items
    }

    /// As one piece.
    fn piece(&self, name: TableName, v6: bool) -> (Info, Vec<u8>) {
        let shape = Shape { v6 };
        let items = self.items(name);
        let mut info = Info {
            hooks: hooks_of(name),
            begins: [u32::MAX; 5],
            policies: [u32::MAX; 5],
            entries: items.len() as u32,
            size: 0,
        };
        let mut piece = Vec::new();
        let mut starts = BTreeMap::new();
        let mut jumps = Vec::new();
        for (chain, item) in &items {
            let at = piece.len();
            if !chain.is_empty() {
                starts.entry(*chain).or_insert(at);
            }
            let counters = item.counters();
            match item {
                Item::Rule(rule) => {
                    let verdict = shape.emit(&mut piece, rule, counters);
                    match (&rule.target, verdict) {
                        (Some(Target::Jump(to) | Target::Goto(to)), Some(verdict)) => {
                            jumps.push((verdict, to.as_str()));
                        }
                        // A rule without a target goes on behind itself.
                        (None, Some(verdict)) => {
                            let behind = piece.len() as u32;
                            put(&mut piece, verdict, behind);
                        }
                        _ => {}
                    }
                }
                Item::Policy(hook, chain) => {
                    info.policies[number(*hook)] = at as u32;
                    let target = match chain.policy {
                        Some(false) => Target::Drop,
                        _ => Target::Accept,
                    };
                    shape.emit(&mut piece, &only(target), counters);
                }
                Item::Return => {
                    shape.emit(&mut piece, &only(Target::Return), counters);
                }
                Item::Name(name) => shape.emit_name(&mut piece, name),
            }
        }
        for (verdict, to) in jumps {
            let to = starts.get(to).copied().unwrap_or(0);
            put(&mut piece, verdict, to as u32);
        }
        for hook in name.built_in() {
            let at = starts.get(hook.chain()).copied().unwrap_or(0);
            info.begins[number(*hook)] = at as u32;
        }
        info.size = piece.len() as u32;
        (info, piece)
    }

    /// Reads a piece.
    fn read(name: TableName, v6: bool, info: &Info, piece: &[u8]) -> Result<Table> {
        if info.hooks != hooks_of(name) || info.size as usize != piece.len() {
            return Err(Errno::EINVAL);
        }
        let entries = entries(Shape { v6 }, piece)?;
        let is_end = |entry: &Entry| matches!(&entry.outcome, Outcome::Name(name) if name == END);
        if entries.len() != info.entries as usize || !entries.last().is_some_and(is_end) {
            return Err(Errno::EINVAL);
        }
        let mut starts = BTreeMap::new();
        for hook in name.built_in() {
            let at = info.begins[number(*hook)];
            starts.insert(at, hook.chain().to_string());
        }
        for entry in &entries[..entries.len() - 1] {
            if let Outcome::Name(name) = &entry.outcome {
                starts.insert(entry.end, name.clone());
            }
        }
        let mut table = Table::new(name);
        let mut open: Option<(String, Vec<Entry>)> = None;
        for entry in entries {
            if matches!(entry.outcome, Outcome::Name(_)) {
                if let Some((chain, rules)) = open.take() {
                    table.close(chain, rules, &starts, None)?;
                }
                continue;
            }
            if let Some(chain) = starts.get(&entry.offset)
                && open.replace((chain.clone(), Vec::new())).is_some()
            {
                return Err(Errno::EINVAL);
            }
            let (chain, rules) = open.as_mut().ok_or(Errno::EINVAL)?;
            let hook = name.built_in().iter().find(|hook| hook.chain() == chain);
            let policy = hook.map(|hook| info.policies[number(*hook)]);
            let is_last = policy == Some(entry.offset);
            rules.push(entry);
            if is_last && let Some((chain, rules)) = open.take() {
                table.close(chain, rules, &starts, policy)?;
            }
        }
        table.rules = table.chains.values().map(|chain| chain.rules.len()).sum();
        if open.is_some() || table.rules > RULES_MAX || table.chains.len() != starts.len() {
            return Err(Errno::EINVAL);
        }
        for hook in name.built_in() {
            let mut done = BTreeSet::new();
            table.check(name, *hook, hook.chain(), &mut Vec::new(), &mut done)?;
        }
        Ok(table)
    }

    /// Adds a chain whose entries have all been seen. The last one is its policy, or the return.
    fn close(
        &mut self,
        name: String,
        mut entries: Vec<Entry>,
        starts: &BTreeMap<u32, String>,
        policy: Option<u32>,
    ) -> Result<()> {
        let last = entries.pop().ok_or(Errno::EINVAL)?;
        if last.rule != Rule::default() {
            return Err(Errno::EINVAL);
        }
        let policy = match (policy, &last.outcome) {
            (Some(_), Outcome::Verdict(entry::ACCEPT)) => Some(true),
            (Some(_), Outcome::Verdict(entry::DROP)) => Some(false),
            (None, Outcome::Verdict(entry::RETURN)) => None,
            _ => return Err(Errno::EINVAL),
        };
        let is_known = self.chains.contains_key(&name);
        if is_known != policy.is_some() {
            return Err(Errno::EEXIST);
        }
        let built_in: BTreeSet<&str> = order::set(
            self.chains
                .iter()
                .filter(|(_, chain)| chain.policy.is_some())
                .map(|(name, _)| name.as_str()),
        );
        let finish = |entry: Entry| -> Result<Rule> {
            let target = match entry.outcome {
                Outcome::Target(target) => Some(target),
                Outcome::Verdict(entry::ACCEPT) => Some(Target::Accept),
                Outcome::Verdict(entry::DROP) => Some(Target::Drop),
                Outcome::Verdict(entry::RETURN) => Some(Target::Return),
                Outcome::Verdict(to) => {
                    let to = u32::try_from(to).map_err(|_| Errno::EINVAL)?;
                    if to == entry.end && !entry.is_goto {
                        None
                    } else {
                        let chain = starts.get(&to).ok_or(Errno::EINVAL)?;
                        if built_in.contains(chain.as_str()) {
                            return Err(Errno::EINVAL);
                        }
                        Some(if entry.is_goto {
                            Target::Goto(chain.clone())
                        } else {
                            Target::Jump(chain.clone())
                        })
                    }
                }
                Outcome::Name(_) => return Err(Errno::EINVAL),
            };
            Ok(Rule {
                target,
                ..entry.rule
            })
        };
        let chain = Chain {
            policy,
            rules: entries.into_iter().map(finish).collect::<Result<_>>()?,
            ..Chain::default()
        };
        self.chains.insert(name, chain);
        Ok(())
    }

    /// What a hook can reach has no loop, and only targets that mean something there.
    fn check<'a>(
        &'a self,
        name: TableName,
        hook: Hook,
        chain: &'a str,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Result<()> {
        // As deep as anybody's rules go, and what a machine's stack bears.
        if path.contains(&chain) || path.len() > 64 {
            return Err(Errno::ELOOP);
        }
        if !done.insert(chain) {
            return Ok(());
        }
        path.push(chain);
        let rules = self.chains.get(chain).map(|chain| &chain.rules[..]);
        for rule in rules.unwrap_or_default() {
            let fits = match &rule.target {
                Some(Target::Jump(to) | Target::Goto(to)) => {
                    self.check(name, hook, to, path, done)?;
                    true
                }
                Some(Target::Reject(_)) => name == TableName::Filter,
                Some(Target::Masquerade(_)) => hook == Hook::Postrouting && name == TableName::Nat,
                Some(Target::Snat(_)) => {
                    matches!(hook, Hook::Postrouting | Hook::Input) && name == TableName::Nat
                }
                Some(Target::Dnat(_) | Target::Redirect(_)) => {
                    matches!(hook, Hook::Prerouting | Hook::Output) && name == TableName::Nat
                }
                _ => true,
            };
            if !fits {
                return Err(Errno::EINVAL);
            }
        }
        path.pop();
        Ok(())
    }
}

/// The name of the entry behind everything.
const END: &str = "ERROR";

/// A rule that asks nothing.
fn only(target: Target) -> Rule {
    Rule {
        target: Some(target),
        ..Rule::default()
    }
}

fn put(piece: &mut [u8], at: usize, value: u32) {
    if let Some(place) = piece.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

fn entries(shape: Shape, piece: &[u8]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut at = 0;
    while at < piece.len() {
        let entry = shape.parse(piece, at)?;
        at = entry.end as usize;
        entries.push(entry);
    }
    Ok(entries)
}

impl Tables {
    /// A table as one piece. Asking for it is what brings it into being (`/proc/net/ip_tables_names`).
    pub fn piece(&mut self, name: TableName, v6: bool) -> (Info, Vec<u8>) {
        self.register(name);
        self.table(name).piece(name, v6)
    }

    /// Puts another table in its place; gives the counters of the old one, entry by entry.
    pub fn replace(
        &mut self,
        name: TableName,
        v6: bool,
        info: &Info,
        piece: &[u8],
    ) -> Result<Vec<Counters>> {
        let new = Table::read(name, v6, info, piece)?;
        let old = std::mem::replace(self.table_mut(name), new);
        self.changed();
        self.register(name);
        let counters = old
            .items(name)
            .iter()
            .map(|(_, item)| item.counters())
            .collect();
        Ok(counters)
    }

    /// Entries of a table's piece.
    #[must_use]
    pub fn entries(&self, name: TableName) -> usize {
        self.table(name).items(name).len()
    }

    /// Adds to the counters, entry by entry.
    pub fn add_counters(&self, name: TableName, counters: &[Counters]) -> Result<()> {
        let items = self.table(name).items(name);
        if items.len() != counters.len() {
            return Err(Errno::EINVAL);
        }
        for ((_, item), more) in items.iter().zip(counters) {
            item.add(*more);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
