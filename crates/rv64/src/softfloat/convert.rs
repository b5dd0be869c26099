//! Conversion to and from integers and between formats.

use super::round::{Unrounded, shift_round};
use super::{Format, NV, NX, Round, Value};

/// An integer format of `fcvt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Int {
    /// `w`
    I32,
    /// `wu`
    U32,
    /// `l`
    I64,
    /// `lu`
    U64,
}

impl Int {
    /// The greatest magnitude of a positive and of a negative number.
    const fn limits(self) -> (u64, u64) {
        match self {
            Int::I32 => (i32::MAX as u64, 1 << 31),
            Int::U32 => (u32::MAX as u64, 0),
            Int::I64 => (i64::MAX as u64, 1 << 63),
            Int::U64 => (u64::MAX, 0),
        }
    }

    /// As a register holds it: 32-bit results are sign-extended, unsigned ones too.
    const fn extend(self, value: u64) -> u64 {
        match self {
            Int::I32 | Int::U32 => value as i32 as u64,
            Int::I64 | Int::U64 => value,
        }
    }
}

/// To an integer; what does not fit becomes the nearest that does, and NaN the greatest.
pub fn to_int(format: Format, rm: Round, bits: u64, int: Int, flags: &mut u32) -> u64 {
    let (positive, negative) = int.limits();
    let saturate = |sign: bool, flags: &mut u32| {
        *flags |= NV;
        int.extend(if sign {
            negative.wrapping_neg()
        } else {
            positive
        })
    };
    let value = match format.unpack(bits) {
        Value::Zero(_) => return 0,
        Value::Nan => return saturate(false, flags),
        Value::Infinity(sign) => return saturate(sign, flags),
        Value::Finite(value) => value,
    };
    if value.exponent > 63 {
        return saturate(value.sign, flags);
    }
    let shift = (63 - value.exponent) as u32;
    // Only a shift of 0 could carry out of 64 bits, and that one does not round.
    let (magnitude, inexact) = shift_round(rm, value.sign, value.significand, false, shift);
    if magnitude > if value.sign { negative } else { positive } {
        return saturate(value.sign, flags);
    }
    *flags |= if inexact { NX } else { 0 };
    int.extend(if value.sign {
        magnitude.wrapping_neg()
    } else {
        magnitude
    })
}

/// From an integer in a register.
pub fn from_int(format: Format, rm: Round, value: u64, int: Int, flags: &mut u32) -> u64 {
    let (sign, magnitude) = match int {
        Int::I32 => ((value as i32) < 0, u64::from((value as i32).unsigned_abs())),
        Int::U32 => (false, u64::from(value as u32)),
        Int::I64 => ((value as i64) < 0, (value as i64).unsigned_abs()),
        Int::U64 => (false, value),
    };
    if magnitude == 0 {
        return 0;
    }
    let shift = magnitude.leading_zeros();
    let unrounded = Unrounded {
        sign,
        exponent: 63 - shift as i32,
        significand: magnitude << shift,
        sticky: false,
    };
    format.round(rm, unrounded, flags)
}

/// From one format to another.
pub fn resize(from: Format, to: Format, rm: Round, bits: u64, flags: &mut u32) -> u64 {
    match from.unpack(bits) {
        Value::Nan => {
            *flags |= if from.is_signaling_nan(bits) { NV } else { 0 };
            to.canonical_nan()
        }
        Value::Zero(sign) => to.zero(sign),
        Value::Infinity(sign) => to.infinity(sign),
        Value::Finite(value) => {
            let unrounded = Unrounded {
                sign: value.sign,
                exponent: value.exponent,
                significand: value.significand,
                sticky: false,
            };
            to.round(rm, unrounded, flags)
        }
    }
}
