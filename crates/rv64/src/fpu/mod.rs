//! Floating-point instructions: registers in, register and flags out.
//!
//! Single-precision values are NaN-boxed: a register that is not boxed right counts as the canonical NaN.

pub mod fast;

use crate::op::Code;
use crate::softfloat::{self as soft, DOUBLE, Format, Int, Round, SINGLE};

/// The upper half of a register that holds a single.
pub const BOX: u64 = 0xffff_ffff_0000_0000;

/// The single in a register.
#[inline(always)]
pub fn unbox(bits: u64) -> u64 {
    if bits >= BOX {
        bits & !BOX
    } else {
        SINGLE.canonical_nan()
    }
}

/// The operands of an instruction: floating-point registers, or an integer one in `a`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Operands {
    pub a: u64,
    pub b: u64,
    pub c: u64,
}

/// Executes `code`, adding to the flags in `fcsr`. `rm` is the instruction's field. `None` when the
/// rounding mode is reserved (an illegal instruction).
pub fn execute(code: Code, rm: u32, operands: Operands, fcsr: &mut u32) -> Option<u64> {
    use Code::*;
    let Operands { a, b, c } = operands;
    let flags = fcsr;
    // Those without a rounding mode first.
    let result = match code {
        FsgnjS => sign_single(a, b, |x, y| y & S_SIGN | x & !S_SIGN),
        FsgnjnS => sign_single(a, b, |x, y| !y & S_SIGN | x & !S_SIGN),
        FsgnjxS => sign_single(a, b, |x, y| x ^ y & S_SIGN),
        FsgnjD => b & D_SIGN | a & !D_SIGN,
        FsgnjnD => !b & D_SIGN | a & !D_SIGN,
        FsgnjxD => a ^ b & D_SIGN,
        FminS => BOX | soft::min(SINGLE, unbox(a), unbox(b), flags),
        FmaxS => BOX | soft::max(SINGLE, unbox(a), unbox(b), flags),
        FminD => soft::min(DOUBLE, a, b, flags),
        FmaxD => soft::max(DOUBLE, a, b, flags),
        FeqS => u64::from(soft::eq(SINGLE, unbox(a), unbox(b), flags)),
        FltS => u64::from(soft::lt(SINGLE, unbox(a), unbox(b), flags)),
        FleS => u64::from(soft::le(SINGLE, unbox(a), unbox(b), flags)),
        FeqD => u64::from(soft::eq(DOUBLE, a, b, flags)),
        FltD => u64::from(soft::lt(DOUBLE, a, b, flags)),
        FleD => u64::from(soft::le(DOUBLE, a, b, flags)),
        FclassS => soft::class(SINGLE, unbox(a)),
        FclassD => soft::class(DOUBLE, a),
        FmvWX => BOX | a & !BOX,
        _ => {
            let rm = if rm == 7 { *flags >> 5 & 7 } else { rm };
            return rounded(code, Round::from_bits(rm)?, [a, b, c], flags);
        }
    };
    Some(result)
}

const S_SIGN: u64 = 1 << 31;
const D_SIGN: u64 = 1 << 63;

fn sign_single(a: u64, b: u64, f: impl Fn(u64, u64) -> u64) -> u64 {
    BOX | f(unbox(a), unbox(b))
}

fn rounded(code: Code, rm: Round, operands: [u64; 3], flags: &mut u32) -> Option<u64> {
    use Code::*;
    let [a, b, _] = operands;
    if rm == Round::Nearest
        && let Some(result) = fast::nearest(code, operands, flags)
    {
        return Some(result);
    }
    let to_int = |format, bits, int, flags| soft::to_int(format, rm, bits, int, flags);
    let from_int = |format, int, flags| soft::from_int(format, rm, a, int, flags);
    Some(match code {
        FaddD => soft::add(DOUBLE, rm, a, b, flags),
        FsubD => soft::add(DOUBLE, rm, a, negated(DOUBLE, b), flags),
        FmulD => soft::mul(DOUBLE, rm, a, b, flags),
        FdivD => soft::div(DOUBLE, rm, a, b, flags),
        FsqrtD => soft::sqrt(DOUBLE, rm, a, flags),
        FmaddD => soft::fma(DOUBLE, rm, operands, false, false, flags),
        FmsubD => soft::fma(DOUBLE, rm, operands, false, true, flags),
        FnmsubD => soft::fma(DOUBLE, rm, operands, true, false, flags),
        FnmaddD => soft::fma(DOUBLE, rm, operands, true, true, flags),
        FcvtWD => to_int(DOUBLE, a, Int::I32, flags),
        FcvtWuD => to_int(DOUBLE, a, Int::U32, flags),
        FcvtLD => to_int(DOUBLE, a, Int::I64, flags),
        FcvtLuD => to_int(DOUBLE, a, Int::U64, flags),
        FcvtDW => from_int(DOUBLE, Int::I32, flags),
        FcvtDWu => from_int(DOUBLE, Int::U32, flags),
        FcvtDL => from_int(DOUBLE, Int::I64, flags),
        FcvtDLu => from_int(DOUBLE, Int::U64, flags),
        FcvtDS => soft::resize(SINGLE, DOUBLE, rm, unbox(a), flags),
        FcvtWS => to_int(SINGLE, unbox(a), Int::I32, flags),
        FcvtWuS => to_int(SINGLE, unbox(a), Int::U32, flags),
        FcvtLS => to_int(SINGLE, unbox(a), Int::I64, flags),
        FcvtLuS => to_int(SINGLE, unbox(a), Int::U64, flags),
        _ => return single(code, rm, operands, flags).map(|bits| BOX | bits),
    })
}

/// Those with a single-precision result.
fn single(code: Code, rm: Round, operands: [u64; 3], flags: &mut u32) -> Option<u64> {
    use Code::*;
    let raw = operands[0];
    let operands = operands.map(unbox);
    let [a, b, _] = operands;
    let from_int = |int, flags| soft::from_int(SINGLE, rm, raw, int, flags);
    Some(match code {
        FaddS => soft::add(SINGLE, rm, a, b, flags),
        FsubS => soft::add(SINGLE, rm, a, negated(SINGLE, b), flags),
        FmulS => soft::mul(SINGLE, rm, a, b, flags),
        FdivS => soft::div(SINGLE, rm, a, b, flags),
        FsqrtS => soft::sqrt(SINGLE, rm, a, flags),
        FmaddS => soft::fma(SINGLE, rm, operands, false, false, flags),
        FmsubS => soft::fma(SINGLE, rm, operands, false, true, flags),
        FnmsubS => soft::fma(SINGLE, rm, operands, true, false, flags),
        FnmaddS => soft::fma(SINGLE, rm, operands, true, true, flags),
        FcvtSW => from_int(Int::I32, flags),
        FcvtSWu => from_int(Int::U32, flags),
        FcvtSL => from_int(Int::I64, flags),
        FcvtSLu => from_int(Int::U64, flags),
        FcvtSD => soft::resize(DOUBLE, SINGLE, rm, raw, flags),
        _ => return None,
    })
}

/// The sign inverted, also of a NaN (which then is still quiet or signaling).
fn negated(format: Format, bits: u64) -> u64 {
    bits ^ if format == DOUBLE { D_SIGN } else { S_SIGN }
}
