//! Filters of system calls: from a profile (config-linux.md of the runtime specification, "seccomp") to a
//! program, which is what libseccomp does for runc.

use std::collections::BTreeMap;

use os::FilterInstruction;

/// `AUDIT_ARCH_RISCV64`.
const ARCH: u32 = 0xc000_00f3;

/// What becomes of a call: the value a filter gives (`seccomp(2)`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Action(pub u32);

impl Action {
    /// It is made.
    pub const ALLOW: Action = Action(0x7fff_0000);
    /// The process ends with SIGSYS.
    pub const KILL_PROCESS: Action = Action(0x8000_0000);

    /// It fails.
    #[must_use]
    pub const fn errno(number: u16) -> Action {
        Action(0x0005_0000 | number as u32)
    }

    /// By the name of the specification; `errno` is for those that give a number back.
    #[must_use]
    pub fn parse(name: &str, errno: u16) -> Option<Action> {
        Some(match name {
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action(0),
            "SCMP_ACT_KILL_PROCESS" => Action::KILL_PROCESS,
            "SCMP_ACT_TRAP" => Action(0x0003_0000),
            "SCMP_ACT_ERRNO" => Action::errno(errno),
            "SCMP_ACT_TRACE" => Action(0x7ff0_0000 | u32::from(errno)),
            "SCMP_ACT_LOG" => Action(0x7ffc_0000),
            "SCMP_ACT_ALLOW" => Action::ALLOW,
            _ => return None,
        })
    }
}

/// How an argument is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "SCMP_CMP_… of the specification")]
pub enum Comparison {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    MaskedEq,
}

impl Comparison {
    /// By the name of the specification.
    #[must_use]
    pub fn parse(name: &str) -> Option<Comparison> {
        Some(match name.strip_prefix("SCMP_CMP_")? {
            "NE" => Comparison::Ne,
            "LT" => Comparison::Lt,
            "LE" => Comparison::Le,
            "EQ" => Comparison::Eq,
            "GE" => Comparison::Ge,
            "GT" => Comparison::Gt,
            "MASKED_EQ" => Comparison::MaskedEq,
            _ => return None,
        })
    }
}

/// What has to hold for an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Condition {
    /// Which argument, from 0 on.
    pub index: u32,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what; for `MaskedEq` the mask.
    pub value: u64,
    /// For `MaskedEq` what is left.
    pub masked: u64,
}

/// What becomes of certain calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Their names; those the kernel does not know do not matter.
    pub names: Vec<String>,
    /// What becomes of them.
    pub action: Action,
    /// All have to hold.
    pub conditions: Vec<Condition>,
}

/// A profile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seccomp {
    /// For calls that no rule is about.
    pub default: Action,
    /// The rules; the first one that fits counts.
    pub rules: Vec<Rule>,
}

/// An instruction before its jumps are known.
enum Step {
    Do(FilterInstruction),
    /// Compares with `k`; where to go when it is so, and when not.
    If(u16, u32, To, To),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Next,
    /// This condition holds.
    Holds,
    /// The rule does not fit.
    Fails,
}

const fn load(at: u32) -> FilterInstruction {
    FilterInstruction {
        code: 0x20,
        yes: 0,
        no: 0,
        k: at,
    }
}

const fn give(action: Action) -> FilterInstruction {
    FilterInstruction {
        code: 0x06,
        yes: 0,
        no: 0,
        k: action.0,
    }
}

const fn jump(code: u16, k: u32, yes: u8, no: u8) -> FilterInstruction {
    FilterInstruction { code, yes, no, k }
}

const EQ: u16 = 0x15;
const GT: u16 = 0x25;
const GE: u16 = 0x35;
const AND: u16 = 0x54;

impl Condition {
    fn steps(&self) -> Vec<Step> {
        use Step::{Do, If};
        use To::{Fails, Holds, Next};
        let at = 16 + 8 * self.index;
        let (low, high) = (Do(load(at)), Do(load(at + 4)));
        let halves = |value: u64| (value as u32, (value >> 32) as u32);
        let (least, most) = halves(self.value);
        match self.comparison {
            Comparison::Eq => vec![
                high,
                If(EQ, most, Next, Fails),
                low,
                If(EQ, least, Holds, Fails),
            ],
            Comparison::Ne => vec![
                high,
                If(EQ, most, Next, Holds),
                low,
                If(EQ, least, Fails, Holds),
            ],
            Comparison::MaskedEq => {
                let (wanted_least, wanted_most) = halves(self.masked);
                vec![
                    high,
                    Do(jump(AND, most, 0, 0)),
                    If(EQ, wanted_most, Next, Fails),
                    low,
                    Do(jump(AND, least, 0, 0)),
                    If(EQ, wanted_least, Holds, Fails),
                ]
            }
            Comparison::Gt | Comparison::Ge => vec![
                high,
                If(GT, most, Holds, Next),
                If(EQ, most, Next, Fails),
                low,
                If(
                    if self.comparison == Comparison::Gt {
                        GT
                    } else {
                        GE
                    },
                    least,
                    Holds,
                    Fails,
                ),
            ],
            Comparison::Lt | Comparison::Le => vec![
                high,
                If(GT, most, Fails, Next),
                If(EQ, most, Next, Holds),
                low,
                If(
                    if self.comparison == Comparison::Lt {
                        GE
                    } else {
                        GT
                    },
                    least,
                    Fails,
                    Holds,
                ),
            ],
        }
    }
}

/// Instructions that give `action` when all conditions hold, and else go on behind themselves.
fn alternative(conditions: &[Condition], action: Action) -> Vec<FilterInstruction> {
    let parts: Vec<Vec<Step>> = conditions.iter().map(Condition::steps).collect();
    // With the instruction that gives the action.
    let length: usize = parts.iter().map(Vec::len).sum::<usize>() + 1;
    let (mut out, mut end_of_part) = (Vec::new(), 0);
    for part in parts {
        end_of_part += part.len();
        for step in part {
            let behind = out.len() + 1;
            let distance = |to| match to {
                To::Next => 0,
                To::Holds => (end_of_part - behind) as u8,
                To::Fails => (length - behind) as u8,
            };
            out.push(match step {
                Step::Do(instruction) => instruction,
                Step::If(code, k, yes, no) => jump(code, k, distance(yes), distance(no)),
            });
        }
    }
    out.push(give(action));
    out
}

impl Seccomp {
    /// The program, for a kernel that has `calls`.
    #[must_use]
    pub fn compile(&self, calls: &[(&'static str, u32)]) -> Vec<FilterInstruction> {
        let numbers: BTreeMap<&str, u32> = order::map(calls.iter().copied());
        let mut always: BTreeMap<u32, Action> = BTreeMap::new();
        let mut sometimes: BTreeMap<u32, Vec<FilterInstruction>> = BTreeMap::new();
        for rule in &self.rules {
            let known = rule
                .names
                .iter()
                .filter_map(|name| numbers.get(name.as_str()));
            for number in known {
                if always.contains_key(number) {
                    continue;
                }
                // A filter has 4096 instructions, an argument six conditions at most.
                match &rule.conditions[..] {
                    [] => {
                        always.insert(*number, rule.action);
                    }
                    conditions => sometimes
                        .entry(*number)
                        .or_default()
                        .extend(alternative(conditions, rule.action)),
                }
            }
        }
        let mut out = vec![
            load(4),
            jump(EQ, ARCH, 1, 0),
            give(Action::KILL_PROCESS),
            load(0),
        ];
        for (number, mut block) in sometimes {
            block.push(give(always.remove(&number).unwrap_or(self.default)));
            out.push(jump(EQ, number, 1, 0));
            out.push(jump(0x05, block.len() as u32, 0, 0));
            out.extend(block);
        }
        let mut ranges: Vec<(u32, u32, Action)> = Vec::new();
        for (number, action) in always {
            match ranges.last_mut() {
                Some((_, last, same)) if *last + 1 == number && *same == action => *last = number,
                _ => ranges.push((number, number, action)),
            }
        }
        for (first, last, action) in ranges {
            out.push(jump(GE, first, 0, 2));
            out.push(jump(GT, last, 1, 0));
            out.push(give(action));
        }
        out.push(give(self.default));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: [(&str, u32); 4] = [("one", 1), ("two", 2), ("three", 3), ("socket", 198)];

    /// Runs a program as the kernel does, over little-endian words.
    fn run(program: &[FilterInstruction], number: u32, argument: u64) -> u32 {
        let mut words = [0; 16];
        (words[0], words[1]) = (number, ARCH);
        (words[4], words[5]) = (argument as u32, (argument >> 32) as u32);
        let (mut a, mut at) = (0, 0);
        loop {
            let one = program[at];
            at += 1;
            let is_so = match one.code {
                0x20 => {
                    a = words[one.k as usize / 4];
                    continue;
                }
                AND => {
                    a &= one.k;
                    continue;
                }
                0x05 => {
                    at += one.k as usize;
                    continue;
                }
                0x06 => return one.k,
                EQ => a == one.k,
                GT => a > one.k,
                _ => a >= one.k,
            };
            at += usize::from(if is_so { one.yes } else { one.no });
        }
    }

    fn rule(names: &[&str], conditions: Vec<Condition>) -> Rule {
        Rule {
            names: names.iter().map(ToString::to_string).collect(),
            action: Action::ALLOW,
            conditions,
        }
    }

    #[test]
    fn calls_by_name() {
        let profile = Seccomp {
            default: Action::errno(1),
            rules: vec![rule(&["one", "two", "nosuch"], Vec::new())],
        };
        let program = profile.compile(&CALLS);
        for (number, allowed) in [(0, false), (1, true), (2, true), (3, false), (400, false)] {
            assert_eq!(
                run(&program, number, 0) == Action::ALLOW.0,
                allowed,
                "{number}"
            );
        }
        assert_eq!(run(&program, 3, 0), 0x0005_0001);
    }

    #[test]
    fn arguments_are_compared_with_all_their_bits() {
        const BIG: u64 = 5 << 32 | 7;
        let cases = [
            (Comparison::Eq, vec![BIG], vec![7, BIG + 1, 6 << 32 | 7]),
            (Comparison::Ne, vec![7, BIG + 1], vec![BIG]),
            (
                Comparison::Gt,
                vec![BIG + 1, 6 << 32],
                vec![BIG, 4 << 32 | 9],
            ),
            (
                Comparison::Ge,
                vec![BIG, 6 << 32],
                vec![BIG - 1, 4 << 32 | 9],
            ),
            (
                Comparison::Lt,
                vec![BIG - 1, 4 << 32 | 9],
                vec![BIG, 6 << 32],
            ),
            (
                Comparison::Le,
                vec![BIG, 4 << 32 | 9],
                vec![BIG + 1, 6 << 32],
            ),
            (Comparison::MaskedEq, vec![4, 12], vec![0, 1, 5]),
        ];
        for (comparison, fits, fails) in cases {
            let value = if comparison == Comparison::MaskedEq {
                7
            } else {
                BIG
            };
            let condition = Condition {
                index: 0,
                comparison,
                value,
                masked: 4,
            };
            let profile = Seccomp {
                default: Action::errno(1),
                rules: vec![rule(&["socket"], vec![condition])],
            };
            let program = profile.compile(&CALLS);
            for value in fits {
                assert_eq!(
                    run(&program, 198, value),
                    Action::ALLOW.0,
                    "{comparison:?} {value}"
                );
            }
            for value in fails {
                assert_eq!(
                    run(&program, 198, value),
                    0x0005_0001,
                    "{comparison:?} {value}"
                );
            }
        }
    }

    #[test]
    fn all_conditions_of_a_rule_and_any_of_several_rules() {
        let is = |comparison, value| Condition {
            index: 0,
            comparison,
            value,
            masked: 0,
        };
        let between = vec![is(Comparison::Gt, 10), is(Comparison::Lt, 20)];
        let profile = Seccomp {
            default: Action::errno(1),
            rules: vec![
                rule(&["socket"], between),
                rule(&["socket"], vec![is(Comparison::Eq, 3)]),
                rule(&["three"], Vec::new()),
            ],
        };
        let program = profile.compile(&CALLS);
        for (value, allowed) in [(10, false), (11, true), (19, true), (20, false), (3, true)] {
            assert_eq!(
                run(&program, 198, value) == Action::ALLOW.0,
                allowed,
                "{value}"
            );
        }
        assert_eq!(run(&program, 3, 0), Action::ALLOW.0);
    }
}
