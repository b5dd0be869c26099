//! Order: arithmetic that can be fused is brought together.
//!
//! Compilers spread what belongs together (the two shifts and the `or` of a rotation, chains of sums)
//! over the instructions around it, for processors that do several at a time. An instruction that only
//! computes can be moved among others of its kind as long as every register is read and written in the
//! same order: between two accesses to memory, jumps or system instructions nobody sees the difference.

use crate::fuse::{joins, shifts_or};
use crate::lower::lower;
use crate::op::{Code, Insn, Op};

/// Shorter runs stay as they are.
const RUN_MIN: usize = 4;
/// How far ahead a partner is looked for.
const WINDOW: usize = 16;

/// An instruction of a run, and what it needs to be moved.
#[derive(Clone, Copy)]
struct Node {
    insn: (usize, Insn),
    op: Op,
    reads: u32,
    writes: u32,
    /// Part of two shifts and an `or` that will be one operation.
    reserved: bool,
}

/// Registers of instructions that were passed over.
#[derive(Clone, Copy, Default)]
struct Passed {
    reads: u32,
    writes: u32,
}

impl Passed {
    fn add(&mut self, node: &Node) {
        self.reads |= node.reads;
        self.writes |= node.writes;
    }

    /// True when an instruction may come before all that were passed over.
    fn lets(self, node: &Node) -> bool {
        node.writes & (self.reads | self.writes) == 0 && node.reads & self.writes == 0
    }
}

/// Reorders the instructions of a block in place.
pub fn schedule(insns: &mut [(usize, Insn)]) {
    let mut from = 0;
    while from < insns.len() {
        let len = insns[from..]
            .iter()
            .position(|(_, insn)| !computes(insn))
            .unwrap_or(insns.len() - from);
        if len >= RUN_MIN {
            order(&mut insns[from..from + len]);
        }
        from += len + 1;
    }
}

/// True for instructions that read registers and write one, and do nothing else.
pub fn computes(insn: &Insn) -> bool {
    use Code::*;
    insn.rd != 0
        && matches!(
            insn.code,
            Lui | Auipc
                | Addi
                | Slti
                | Sltiu
                | Xori
                | Ori
                | Andi
                | Slli
                | Srli
                | Srai
                | Add
                | Sub
                | Sll
                | Slt
                | Sltu
                | Xor
                | Srl
                | Sra
                | Or
                | And
                | Addiw
                | Slliw
                | Srliw
                | Sraiw
                | Addw
                | Subw
                | Sllw
                | Srlw
                | Sraw
                | Mul
                | Mulw
        )
}

fn node(&(at, insn): &(usize, Insn)) -> Node {
    Node {
        insn: (at, insn),
        op: lower(&insn, at as i32, 0),
        reads: reads(&insn),
        writes: 1 << insn.rd,
        reserved: false,
    }
}

/// A bit for each register an instruction that [`computes`] reads; where the second source would be there
/// may be a piece of an immediate.
fn reads(insn: &Insn) -> u32 {
    use Code::*;
    match insn.code {
        Lui | Auipc => 0,
        Addi | Slti | Sltiu | Xori | Ori | Andi | Slli | Srli | Srai | Addiw | Slliw | Srliw
        | Sraiw => 1 << insn.rs1,
        _ => 1 << insn.rs1 | 1 << insn.rs2,
    }
}

fn order(run: &mut [(usize, Insn)]) {
    let mut rest: Vec<Node> = run.iter().map(node).collect();
    reserve(&mut rest);
    let mut ordered = run.iter_mut();
    let mut put = |node: Node| {
        if let Some(place) = ordered.next() {
            *place = node.insn;
        }
    };
    while !rest.is_empty() {
        let leader = rest.remove(0);
        put(leader);
        let found = match leader.reserved {
            true => rotation(&leader, &rest),
            false => None,
        };
        if let Some((second, third)) = found {
            put(rest[second]);
            put(rest[third]);
            rest.remove(second.max(third));
            rest.remove(second.min(third));
        } else if let Some(partner) = partner(&leader, &rest) {
            put(rest.remove(partner));
        }
    }
}

/// Marks the parts of rotations, so that nothing else is fused with them.
fn reserve(run: &mut [Node]) {
    for third in 2..run.len() {
        if run[third].insn.1.code != Code::Or {
            continue;
        }
        let source = |register: u8| {
            run[..third]
                .iter()
                .rposition(|node| node.writes == 1 << register)
        };
        let Insn { rs1, rs2, .. } = run[third].insn.1;
        if let (Some(a), Some(b)) = (source(rs1), source(rs2))
            && shifts_or(&run[a.min(b)].op, &run[a.max(b)].op, &run[third].op).is_some()
        {
            for part in [a, b, third] {
                run[part].reserved = true;
            }
        }
    }
}

/// The other shift and the `or` of a rotation that begins with `leader`, if both may come next.
fn rotation(leader: &Node, rest: &[Node]) -> Option<(usize, usize)> {
    let mut passed = Passed::default();
    for (i, second) in rest.iter().enumerate().take(WINDOW) {
        if second.reserved && passed.lets(second) {
            let mut behind = passed;
            for (j, third) in rest.iter().enumerate().skip(i + 1).take(WINDOW) {
                if behind.lets(third) && shifts_or(&leader.op, &second.op, &third.op).is_some() {
                    return Some((i, j));
                }
                behind.add(third);
            }
        }
        passed.add(second);
    }
    None
}

/// The first instruction that may come next and can be fused with `leader`.
fn partner(leader: &Node, rest: &[Node]) -> Option<usize> {
    let mut passed = Passed::default();
    for (i, second) in rest.iter().enumerate().take(WINDOW) {
        if !second.reserved && passed.lets(second) && joins(leader.op, second.op) {
            return Some(i);
        }
        passed.add(second);
    }
    None
}
