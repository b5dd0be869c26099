//! What one hardware thread is: its registers, and why it stopped running.

use crate::mmu::Fault;

/// The registers of one hardware thread. The kernel has one for each task.
///
/// `x` must stay the first field and `sink` and `f` must follow: operations address registers by their
/// byte offset in this structure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Hart {
    /// Integer registers; `x[0]` is zero.
    pub x: [u64; 32],
    /// Where results for `x0` go; nobody reads it.
    pub sink: u64,
    /// Floating-point registers; a single-precision value has all upper bits set (it is "NaN-boxed").
    pub f: [u64; 32],
    /// Address of the next instruction.
    pub pc: u64,
    /// Rounding mode (bits 7:5) and accrued exception flags (bits 4:0).
    pub fcsr: u32,
    /// Address and value of the last load-reserved, until a store-conditional or a context switch.
    pub reservation: Option<(u64, u64)>,
}

impl Hart {
    /// What a context switch does: another task may write to memory before this one runs again, so
    /// its next store-conditional must fail.
    pub fn clear_reservation(&mut self) {
        self.reservation = None;
    }
}

/// What `rdtime`, `rdcycle` and `rdinstret` read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// `time` when [`crate::run`] is entered.
    pub time: u64,
    /// How much `time` advances for each 65,536 instructions retired; 0 holds it still within a run.
    pub time_per_65536: u64,
    /// Instructions retired before [`crate::run`] is entered.
    pub instret: u64,
}

/// Why [`crate::run`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The budget is used up.
    Budget,
    /// `pc` is at an `ecall`; the kernel adds 4 when it has served it.
    Ecall,
    /// `pc` is at an `ebreak` (or `c.ebreak`, of two bytes).
    Ebreak,
    /// The instruction at `pc` could not access memory; nothing of it has happened.
    Fault(Fault),
    /// The atomic instruction at `pc` has a misaligned address (`SIGBUS`, `BUS_ADRALN`); nothing of it has
    /// happened. Ordinary loads and stores may be misaligned.
    Misaligned {
        /// The address.
        addr: u64,
    },
    /// The instruction at `pc` does not exist. A 16-bit one is in the low half.
    Illegal {
        /// Its bits.
        instruction: u32,
    },
}
