//! What the interpreter's loop calls when the quick way is not open: TLB misses, accesses that cross a
//! page, stores to pages with code, atomics, CSRs.

use mem::PAGE_SIZE;

use crate::block::CodePage;
use crate::decode::a::amo;
use crate::decode::zicsr::csr;
use crate::fpu::{self, Operands};
use crate::mmu::{AddressSpace, Fault};
use crate::op::{Code, Op};

/// How a memory access went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Done, but it changed the code that is running.
    CodeChanged,
    /// Nothing has happened.
    Fault(Fault),
    /// Nothing has happened: an atomic access must be aligned.
    Misaligned(u64),
}

/// Loads `size` bytes, at most 8.
#[cold]
#[inline(never)]
pub fn load(space: &mut AddressSpace, va: u64, size: usize, value: &mut u64) -> Outcome {
    let mut bytes = [0; 8];
    let offset = va as usize % PAGE_SIZE;
    let read = if offset + 8 <= PAGE_SIZE {
        // A plain TLB miss. Reading too much does no harm.
        space.readable(va).map(|page| page.read(offset, &mut bytes))
    } else {
        space.read(va, &mut bytes[..size])
    };
    match read {
        Ok(()) => {
            *value = u64::from_le_bytes(bytes);
            Outcome::Done
        }
        Err(fault) => Outcome::Fault(fault),
    }
}

/// Stores the low `size` bytes of `value`. `running` is the code that the store is part of.
#[cold]
#[inline(never)]
pub fn store(
    space: &mut AddressSpace,
    running: &CodePage,
    va: u64,
    size: usize,
    value: u64,
) -> Outcome {
    // Both pages must be there before anything is written.
    let last = va.wrapping_add(size as u64 - 1);
    if last as usize % PAGE_SIZE < size - 1 {
        for page in [va, last & !(PAGE_SIZE as u64 - 1)] {
            if let Err(fault) = space.writable(page) {
                return Outcome::Fault(fault);
            }
        }
    }
    match space.write(va, &value.to_le_bytes()[..size]) {
        Ok(()) if running.live() => Outcome::Done,
        Ok(()) => Outcome::CodeChanged,
        Err(fault) => Outcome::Fault(fault),
    }
}

/// Does an instruction of the A extension at `va`.
#[inline(never)]
pub fn atomic(
    space: &mut AddressSpace,
    running: &CodePage,
    reservation: &mut Option<(u64, u64)>,
    op: &Op,
    va: u64,
    operand: u64,
    result: &mut u64,
) -> Outcome {
    let wide = matches!(op.code, Code::LrD | Code::ScD | Code::AmoD);
    let size = if wide { 8 } else { 4 };
    if !va.is_multiple_of(size as u64) {
        return Outcome::Misaligned(va);
    }
    let mut bytes = [0; 8];
    let load = matches!(op.code, Code::LrW | Code::LrD);
    let page = match if load {
        space.readable(va)
    } else {
        space.writable(va)
    } {
        Ok(page) => page,
        Err(fault) => return Outcome::Fault(fault),
    };
    let offset = va as usize % PAGE_SIZE;
    page.read(offset, &mut bytes[..size]);
    let old = u64::from_le_bytes(bytes);
    let old = if wide { old } else { old as i32 as u64 };
    let new = match op.code {
        Code::LrW | Code::LrD => {
            *reservation = Some((va, old));
            *result = old;
            return Outcome::Done;
        }
        Code::ScW | Code::ScD => {
            let kept = reservation.take() == Some((va, old));
            *result = u64::from(!kept);
            if !kept {
                return Outcome::Done;
            }
            operand
        }
        _ => {
            *result = old;
            modify(
                op.imm,
                old,
                if wide { operand } else { operand as i32 as u64 },
            )
        }
    };
    page.write(offset, &new.to_le_bytes()[..size]);
    if running.live() {
        Outcome::Done
    } else {
        Outcome::CodeChanged
    }
}

/// What an AMO stores. 32-bit values come sign-extended; that also orders unsigned ones right.
#[inline(always)]
pub fn modify(funct5: i32, old: u64, operand: u64) -> u64 {
    match funct5 {
        amo::ADD => old.wrapping_add(operand),
        amo::XOR => old ^ operand,
        amo::OR => old | operand,
        amo::AND => old & operand,
        amo::MIN => (old as i64).min(operand as i64) as u64,
        amo::MAX => (old as i64).max(operand as i64) as u64,
        amo::MINU => old.min(operand),
        amo::MAXU => old.max(operand),
        _ => operand,
    }
}

/// Does a CSR instruction on `fflags`, `frm` or `fcsr`; returns the old value. `None` for other CSRs.
/// `source` is the register named by `op.b` (unless that is an immediate).
#[inline(never)]
pub fn float_csr(fcsr: &mut u32, op: &Op, source: u64) -> Option<u64> {
    let (shift, mask) = match op.imm {
        csr::FFLAGS => (0, 0x1f),
        csr::FRM => (5, 7),
        csr::FCSR => (0, 0xff),
        _ => return None,
    };
    let old = *fcsr >> shift & mask;
    let operand = match op.code {
        Code::Csrrwi | Code::Csrrsi | Code::Csrrci => u32::from(op.b),
        _ => source as u32,
    };
    let new = match op.code {
        Code::Csrrw | Code::Csrrwi => operand,
        Code::Csrrs | Code::Csrrsi => old | operand,
        _ => old & !operand,
    };
    *fcsr = *fcsr & !(mask << shift) | (new & mask) << shift;
    Some(u64::from(old))
}

/// Does a floating-point instruction. `None` when its rounding mode is reserved.
#[inline(never)]
pub fn float(op: &Op, operands: Operands, fcsr: &mut u32) -> Option<u64> {
    fpu::execute(op.code, op.imm as u32 & 7, operands, fcsr)
}
