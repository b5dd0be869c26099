//! What the interpreter's loop gets and gives back.

use crate::block::CodePage;
use crate::hart::Hart;
use crate::mmu::AddressSpace;
use crate::op::Op;
use crate::slow::Outcome;

/// Why the loop stopped.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// Before the instruction at `hart.pc`: the budget does not allow another block.
    Budget,
    /// Before the instruction at `hart.pc`: it is not decoded, or its page is not in the fetch TLB.
    Enter,
    /// At this operation, which the loop does not do; `hart.pc` is there.
    At(Op),
    /// A memory access ended so; `hart.pc` is at its instruction, or behind it when that was completed.
    Memory(Outcome),
}

/// What the loop works on.
pub struct Frame<'a> {
    pub hart: &'a mut Hart,
    pub space: &'a mut AddressSpace,
    /// Instructions that may be executed before the next block must fit; below zero stops.
    pub remaining: i64,
    /// Guest address of the page.
    pub base: u64,
}

impl Frame<'_> {
    /// Notes that the loop stops in instruction `part` of operation `index`, or behind it when that was
    /// `completed`. `remaining` has been lowered up to the start of the operation's block.
    #[cold]
    #[inline(never)]
    pub fn stop_inside(&mut self, code: &CodePage, index: usize, part: usize, completed: bool) {
        let ops = code.ops().borrow();
        let done = part + usize::from(completed);
        self.remaining -= (ops.count_before(index) + done as u64) as i64;
        self.hart.pc = self.base.wrapping_add(ops.offset_of(index, done));
    }
}
