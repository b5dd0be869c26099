//! Fusion: which neighbouring instructions become one operation.

use crate::lower::lower;
use crate::op::{Insn, Op};

/// The operation for the first instructions of `insns` (with their page offsets), and how many it takes.
/// `before` instructions of the block come before them.
pub fn fuse(insns: &[(usize, Insn)], before: u16) -> (Op, usize) {
    let (at, insn) = &insns[0];
    (lower(insn, *at as i32, before + 1), 1)
}
