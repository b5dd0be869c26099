//! The CPU: RV64GC in user mode (I, M, A, F, D, C, Zicsr, Zifencei), and the memory it sees.
//!
//! [`run`] executes a [`Hart`] in an [`AddressSpace`] until its budget is used up or something needs the
//! kernel ([`Exit`]). Instructions are decoded once into blocks of 16-byte operations that are attached to
//! the [`mem::Page`] they came from, so every process that maps a page shares them; one `match` loop runs
//! them. The reasons are in ARCHITECTURE.md.
//!
//! Not here: privileged modes, devices, interrupts, system calls, signals, what memory a process *should*
//! have (crate `kernel`).
//!
//! Specification: The RISC-V Instruction Set Manual, volume I (unprivileged), 20240411.

mod hart;
mod mmu;
mod run;

mod decode;
mod disasm;
mod op;

mod block;
mod cache;
mod exec_unsafe;
mod frame;
mod fuse;
mod lower;
mod muldiv;
mod schedule;
mod slow;
mod warm_up;

mod fpu;
pub mod softfloat;

pub mod fuzz;

pub use cache::CodeCache;
pub use decode::decode;
pub use disasm::disasm;
pub use hart::{Counters, Exit, Hart};
pub use mmu::{Access, AddressSpace, Fault, Mapped, Prot, Sharing};
pub use op::{Code, Insn};
pub use run::run;
pub use warm_up::warm_up;
