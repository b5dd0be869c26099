//! Running: what happens between the interpreter's loop and the kernel.

use mem::{PAGE_SIZE, Page};

use crate::block::{BLOCK_MAX, CodePage};
use crate::decode::decode;
use crate::decode::zicsr::csr;
use crate::exec_unsafe::execute;
use crate::frame::{Frame, Stop};
use crate::hart::{Counters, Exit, Hart};
use crate::mmu::{AddressSpace, Fault};
use crate::op::{Code, Insn, Op};
use crate::slow::Outcome;

/// Room that must be left for a block to be entered, so that the budget is never overdrawn.
const ROOM: u64 = BLOCK_MAX as u64;

/// Executes instructions from `hart.pc` until [`Exit`] says why not further. `budget` is how many may be
/// executed; it is lowered by exactly those that retired (an instruction that exits has not). Call it with
/// about a million at a time.
pub fn run(
    hart: &mut Hart,
    space: &mut AddressSpace,
    budget: &mut u64,
    counters: Counters,
) -> Exit {
    hart.x[0] = 0;
    hart.pc &= !1;
    let start = (*budget).min(i64::MAX as u64);
    let mut cpu = Cpu {
        hart,
        space,
        start,
        left: start,
        counters,
    };
    let exit = loop {
        let step = if cpu.left < ROOM {
            cpu.step()
        } else {
            cpu.run_blocks()
        };
        if let Some(exit) = step {
            break exit;
        }
    };
    *budget -= cpu.start - cpu.left;
    exit
}

/// True when the last halfword of the page begins a 32-bit instruction.
fn is_long(page: &Page) -> bool {
    let mut byte = [0];
    page.read(PAGE_SIZE - 2, &mut byte);
    byte[0] & 3 == 3
}

struct Cpu<'a> {
    hart: &'a mut Hart,
    space: &'a mut AddressSpace,
    start: u64,
    left: u64,
    counters: Counters,
}

impl Cpu<'_> {
    /// Runs blocks while there is room for one.
    fn run_blocks(&mut self) -> Option<Exit> {
        let pc = self.hart.pc;
        let offset = pc % PAGE_SIZE as u64;
        // Most runs go on where a system call was.
        if let Some(code) = self.space.fetched(pc)
            && let index @ 1.. = code.entry(offset)
        {
            return self.execute(&code, usize::from(index), self.left - ROOM);
        }
        self.space.code_cache().evict();
        self.space.drop_evicted();
        let (code, page) = match self.space.fetchable(pc) {
            Ok(found) => found,
            Err(fault) => return Some(Exit::Fault(fault)),
        };
        let index = match code.entry(offset) {
            0 if offset == PAGE_SIZE as u64 - 2 && is_long(&page) => match self.fetch(pc) {
                Ok(insn) => code.add_straddling(&insn),
                Err(fault) => return Some(Exit::Fault(fault)),
            },
            0 => code.add_block(&page, offset as usize),
            index => Some(index),
        };
        let Some(index) = index else {
            page.forget_code();
            return None;
        };
        // With one more owner it would look shared, and a store to it would fault.
        drop(page);
        self.execute(&code, usize::from(index), self.left - ROOM)
    }

    /// Executes one instruction that cannot run in a block: its end is too near, of the budget or of the page.
    #[cold]
    fn step(&mut self) -> Option<Exit> {
        if self.left == 0 {
            return Some(Exit::Budget);
        }
        match self.fetch(self.hart.pc) {
            Ok(insn) => {
                let (code, index) = CodePage::single(&insn, self.hart.pc as usize % PAGE_SIZE);
                self.execute(&code, usize::from(index), 0)
            }
            Err(fault) => Some(Exit::Fault(fault)),
        }
    }

    /// Decodes the instruction at `pc`, which may cross into the next page.
    fn fetch(&mut self, pc: u64) -> Result<Insn, Fault> {
        let half = |page: &Page, va: u64| {
            let mut bytes = [0; 2];
            page.read(va as usize % PAGE_SIZE, &mut bytes);
            u32::from(u16::from_le_bytes(bytes))
        };
        let mut bits = half(&self.space.executable(pc)?, pc);
        if bits & 3 == 3 {
            let next = pc.wrapping_add(2);
            bits |= half(&self.space.executable(next)?, next) << 16;
        }
        Ok(decode(bits))
    }

    /// Runs the loop from an operation on, and handles what stopped it. `room` is how many instructions
    /// may be executed before the last block begins.
    fn execute(&mut self, code: &CodePage, index: usize, room: u64) -> Option<Exit> {
        let mut frame = Frame {
            base: self.hart.pc & !(PAGE_SIZE as u64 - 1),
            hart: self.hart,
            space: self.space,
            remaining: room as i64,
        };
        let stop = execute(&mut frame, code, index);
        self.left -= (room as i64 - frame.remaining) as u64;
        match stop {
            Stop::Budget | Stop::Enter | Stop::Memory(Outcome::Done | Outcome::CodeChanged) => None,
            Stop::Memory(Outcome::Fault(fault)) => Some(Exit::Fault(fault)),
            Stop::Memory(Outcome::Misaligned(addr)) => Some(Exit::Misaligned { addr }),
            Stop::At(op) => self.at(&op),
        }
    }

    /// Does what the loop left to us.
    fn at(&mut self, op: &Op) -> Option<Exit> {
        match op.code {
            Code::Ecall => Some(Exit::Ecall),
            Code::Ebreak => Some(Exit::Ebreak),
            Code::Illegal => Some(Exit::Illegal {
                instruction: op.ext,
            }),
            // The check of the second half failed, or could not be made because the next page is not in
            // the fetch TLB: put it there for the next time.
            Code::Straddle => {
                let _ = self.space.fetchable(self.hart.pc.wrapping_add(2));
                self.step()
            }
            Code::Csrrw
            | Code::Csrrs
            | Code::Csrrc
            | Code::Csrrwi
            | Code::Csrrsi
            | Code::Csrrci => self.read_counter(),
            // A floating-point instruction whose dynamic rounding mode is reserved.
            _ => Some(match self.fetch(self.hart.pc) {
                Ok(insn) => Exit::Illegal {
                    instruction: insn.bits,
                },
                Err(fault) => Exit::Fault(fault),
            }),
        }
    }

    /// `rdtime` and its like; the decoder has made sure that nothing is written.
    fn read_counter(&mut self) -> Option<Exit> {
        if self.left == 0 {
            return Some(Exit::Budget);
        }
        let insn = match self.fetch(self.hart.pc) {
            Ok(insn) => insn,
            Err(fault) => return Some(Exit::Fault(fault)),
        };
        let retired = self.start - self.left;
        let value = match insn.imm {
            csr::TIME => {
                let passed = (u128::from(retired) * u128::from(self.counters.time_per_65536)) >> 16;
                self.counters.time.wrapping_add(passed as u64)
            }
            _ => self.counters.instret.wrapping_add(retired),
        };
        if insn.rd != 0 {
            self.hart.x[usize::from(insn.rd)] = value;
        }
        self.hart.pc = self.hart.pc.wrapping_add(4);
        self.left -= 1;
        None
    }
}
