//! Linux numbers and layouts as riscv64 user space sees them: error numbers, flags, structures.
//!
//! Only constants, plain structures and their encoding; no behaviour. The source for each file is the
//! uapi header it names; riscv64 uses the asm-generic ones.

mod errno;
pub mod signal;

pub use errno::Errno;

/// What every kernel operation returns.
pub type Result<T> = std::result::Result<T, Errno>;
