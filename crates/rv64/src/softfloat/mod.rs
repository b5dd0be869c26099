//! IEEE 754 arithmetic in integers: any rounding mode, exact flags, the RISC-V NaN rules.
//!
//! Functions work on the bits of a value in a [`Format`] and return bits; they add to the caller's flags.
//! They are exact and slow: `fpu` uses host arithmetic where that provably gives the same.
//!
//! Source: manual chapter 20 (single) and 21 (double); IEEE 754-2019 for rounding and exceptions. RISC-V
//! detects tininess after rounding and returns the canonical NaN for every NaN result.

mod arith;
mod compare;
mod convert;
mod round;

pub use arith::{add, div, fma, mul, sqrt};
pub use compare::{class, eq, le, lt, max, min};
pub use convert::{Int, from_int, resize, to_int};

/// Inexact.
pub const NX: u32 = 1;
/// Underflow.
pub const UF: u32 = 2;
/// Overflow.
pub const OF: u32 = 4;
/// Division by zero.
pub const DZ: u32 = 8;
/// Invalid operation.
pub const NV: u32 = 16;

/// A rounding mode, numbered as in the `rm` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// To nearest, ties to even.
    Nearest = 0,
    /// Towards zero.
    Zero = 1,
    /// Down.
    Down = 2,
    /// Up.
    Up = 3,
    /// To nearest, ties away from zero.
    Away = 4,
}

impl Round {
    /// The mode with number `rm`; 5 to 7 are none.
    #[must_use]
    pub fn from_bits(rm: u32) -> Option<Round> {
        Some(match rm {
            0 => Round::Nearest,
            1 => Round::Zero,
            2 => Round::Down,
            3 => Round::Up,
            4 => Round::Away,
            _ => return None,
        })
    }
}

/// A binary interchange format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Stored bits of the significand.
    fraction_bits: u32,
    exponent_bits: u32,
}

/// binary32.
pub const SINGLE: Format = Format {
    fraction_bits: 23,
    exponent_bits: 8,
};
/// binary64.
pub const DOUBLE: Format = Format {
    fraction_bits: 52,
    exponent_bits: 11,
};

impl Format {
    const fn bias(self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }
    /// The exponent of the smallest normal number.
    const fn min_exponent(self) -> i32 {
        1 - self.bias()
    }
    const fn sign_bit(self) -> u64 {
        1 << (self.fraction_bits + self.exponent_bits)
    }
    const fn fraction_mask(self) -> u64 {
        (1 << self.fraction_bits) - 1
    }
    /// Infinity of the given sign.
    const fn infinity(self, sign: bool) -> u64 {
        let bits = ((1 << self.exponent_bits) - 1) << self.fraction_bits;
        if sign { bits | self.sign_bit() } else { bits }
    }
    /// The NaN that all operations return.
    #[must_use]
    pub const fn canonical_nan(self) -> u64 {
        self.infinity(false) | 1 << (self.fraction_bits - 1)
    }
    const fn zero(self, sign: bool) -> u64 {
        if sign { self.sign_bit() } else { 0 }
    }

    fn is_nan(self, bits: u64) -> bool {
        bits & !self.sign_bit() > self.infinity(false)
    }
    fn is_signaling_nan(self, bits: u64) -> bool {
        self.is_nan(bits) && bits & 1 << (self.fraction_bits - 1) == 0
    }

    fn unpack(self, bits: u64) -> Value {
        let sign = bits & self.sign_bit() != 0;
        let fraction = bits & self.fraction_mask();
        let exponent = (bits >> self.fraction_bits) as i32 & ((1 << self.exponent_bits) - 1);
        if exponent == (1 << self.exponent_bits) - 1 {
            return if fraction == 0 {
                Value::Infinity(sign)
            } else {
                Value::Nan
            };
        }
        if exponent == 0 && fraction == 0 {
            return Value::Zero(sign);
        }
        let (integer, exponent) = if exponent == 0 {
            (0, 1)
        } else {
            (1 << self.fraction_bits, exponent)
        };
        let shift = (integer | fraction).leading_zeros();
        Value::Finite(Finite {
            sign,
            exponent: exponent - self.bias() + 63 - shift as i32 - self.fraction_bits as i32,
            significand: (integer | fraction) << shift,
        })
    }
}

/// A value taken apart.
#[derive(Clone, Copy, Debug)]
enum Value {
    Zero(bool),
    Finite(Finite),
    Infinity(bool),
    Nan,
}

/// The number `significand * 2^(exponent - 63)`, bit 63 of the significand set.
#[derive(Clone, Copy, Debug)]
struct Finite {
    sign: bool,
    exponent: i32,
    significand: u64,
}

impl Value {
    fn sign(self) -> bool {
        match self {
            Value::Zero(sign) | Value::Infinity(sign) => sign,
            Value::Finite(finite) => finite.sign,
            Value::Nan => false,
        }
    }
}
