//! Addition, multiplication, division, square root, fused multiply-add.

use super::round::Unrounded;
use super::{DZ, Finite, Format, NV, Round, Value};

/// `wide * 2^(exponent - 127)` with bit 127 of `wide` set.
#[derive(Clone, Copy)]
struct Wide {
    sign: bool,
    exponent: i32,
    wide: u128,
}

impl From<Finite> for Wide {
    fn from(value: Finite) -> Wide {
        Wide {
            sign: value.sign,
            exponent: value.exponent,
            wide: u128::from(value.significand) << 64,
        }
    }
}

/// The NaN result; invalid when an operand was signaling.
fn nan(format: Format, operands: &[u64], flags: &mut u32) -> u64 {
    if operands.iter().any(|&bits| format.is_signaling_nan(bits)) {
        *flags |= NV;
    }
    format.canonical_nan()
}

fn invalid(format: Format, flags: &mut u32) -> u64 {
    *flags |= NV;
    format.canonical_nan()
}

/// The zero that a sum of opposite numbers is.
fn cancelled(format: Format, rm: Round) -> u64 {
    format.zero(rm == Round::Down)
}

/// The sum of two numbers whose low 16 bits of `wide` are zero.
fn add_wide(format: Format, rm: Round, a: Wide, b: Wide, flags: &mut u32) -> u64 {
    let (big, small) = if (a.exponent, a.wide) >= (b.exponent, b.wide) {
        (a, b)
    } else {
        (b, a)
    };
    let distance = (big.exponent - small.exponent) as u32;
    // Two bits of headroom; nothing is lost because the low bits are zero.
    let high = big.wide >> 2;
    let low = small.wide >> 2;
    let (low, lost) = match distance {
        0 => (low, false),
        1..=127 => (low >> distance, low << (128 - distance) != 0),
        _ => (0, true),
    };
    let sum = if big.sign == small.sign {
        high + low
    } else {
        // Rounding looks at 65 bits at most and so much is left when anything was lost (distance > 14):
        // one less and sticky stands for the exact difference.
        high - low - u128::from(lost)
    };
    if sum == 0 {
        return cancelled(format, rm);
    }
    let unrounded = Unrounded::from_wide(big.sign, big.exponent + 2, sum, lost);
    format.round(rm, unrounded, flags)
}

/// `a + b`.
pub fn add(format: Format, rm: Round, a: u64, b: u64, flags: &mut u32) -> u64 {
    match (format.unpack(a), format.unpack(b)) {
        (Value::Nan, _) | (_, Value::Nan) => nan(format, &[a, b], flags),
        (Value::Infinity(x), Value::Infinity(y)) if x != y => invalid(format, flags),
        (Value::Infinity(_), _) => a,
        (_, Value::Infinity(_)) => b,
        (Value::Zero(x), Value::Zero(y)) => {
            if x == y {
                a
            } else {
                cancelled(format, rm)
            }
        }
        (Value::Zero(_), _) => b,
        (_, Value::Zero(_)) => a,
        (Value::Finite(x), Value::Finite(y)) => add_wide(format, rm, x.into(), y.into(), flags),
    }
}

fn product(a: Finite, b: Finite) -> Wide {
    let wide = u128::from(a.significand) * u128::from(b.significand);
    let shift = wide.leading_zeros();
    Wide {
        sign: a.sign != b.sign,
        exponent: a.exponent + b.exponent + 1 - shift as i32,
        wide: wide << shift,
    }
}

/// `a * b`.
pub fn mul(format: Format, rm: Round, a: u64, b: u64, flags: &mut u32) -> u64 {
    let (x, y) = (format.unpack(a), format.unpack(b));
    let sign = x.sign() != y.sign();
    match (x, y) {
        (Value::Nan, _) | (_, Value::Nan) => nan(format, &[a, b], flags),
        (Value::Infinity(_), Value::Zero(_)) | (Value::Zero(_), Value::Infinity(_)) => {
            invalid(format, flags)
        }
        (Value::Infinity(_), _) | (_, Value::Infinity(_)) => format.infinity(sign),
        (Value::Zero(_), _) | (_, Value::Zero(_)) => format.zero(sign),
        (Value::Finite(x), Value::Finite(y)) => {
            let p = product(x, y);
            format.round(
                rm,
                Unrounded::from_wide(sign, p.exponent, p.wide, false),
                flags,
            )
        }
    }
}

/// `a * b + c` rounded once; the signs of the product and of `c` can be inverted.
pub fn fma(
    format: Format,
    rm: Round,
    operands: [u64; 3],
    negate_product: bool,
    negate_c: bool,
    flags: &mut u32,
) -> u64 {
    let [a, b, c] = operands;
    let c = c ^ format.zero(negate_c);
    let (x, y, z) = (format.unpack(a), format.unpack(b), format.unpack(c));
    let sign = (x.sign() != y.sign()) != negate_product;
    match (x, y) {
        // Infinity times zero is invalid even when `c` is a quiet NaN.
        (Value::Infinity(_), Value::Zero(_)) | (Value::Zero(_), Value::Infinity(_)) => {
            return invalid(format, flags);
        }
        (Value::Nan, _) | (_, Value::Nan) => return nan(format, &[a, b, c], flags),
        _ if matches!(z, Value::Nan) => return nan(format, &[a, b, c], flags),
        (Value::Infinity(_), _) | (_, Value::Infinity(_)) => {
            return match z {
                Value::Infinity(other) if other != sign => invalid(format, flags),
                _ => format.infinity(sign),
            };
        }
        _ => {}
    }
    match (x, y, z) {
        (.., Value::Infinity(_)) => c,
        (Value::Finite(x), Value::Finite(y), z) => {
            let p = Wide {
                sign,
                ..product(x, y)
            };
            match z {
                Value::Finite(z) => add_wide(format, rm, p, z.into(), flags),
                _ => format.round(
                    rm,
                    Unrounded::from_wide(sign, p.exponent, p.wide, false),
                    flags,
                ),
            }
        }
        // The product is zero.
        (.., Value::Zero(other)) => {
            if other == sign {
                c
            } else {
                cancelled(format, rm)
            }
        }
        _ => c,
    }
}

/// `a / b`.
pub fn div(format: Format, rm: Round, a: u64, b: u64, flags: &mut u32) -> u64 {
    let (x, y) = (format.unpack(a), format.unpack(b));
    let sign = x.sign() != y.sign();
    match (x, y) {
        (Value::Nan, _) | (_, Value::Nan) => nan(format, &[a, b], flags),
        (Value::Infinity(_), Value::Infinity(_)) | (Value::Zero(_), Value::Zero(_)) => {
            invalid(format, flags)
        }
        (Value::Infinity(_), _) => format.infinity(sign),
        (_, Value::Infinity(_)) | (Value::Zero(_), _) => format.zero(sign),
        (_, Value::Zero(_)) => {
            *flags |= DZ;
            format.infinity(sign)
        }
        (Value::Finite(x), Value::Finite(y)) => {
            // The quotient of significands is in (1/2, 2): 63 or 64 bits of it.
            let dividend = u128::from(x.significand) << 63;
            let divisor = u128::from(y.significand);
            let (quotient, remainder) = (dividend / divisor, dividend % divisor);
            let exponent = x.exponent - y.exponent + 64;
            format.round(
                rm,
                Unrounded::from_wide(sign, exponent, quotient, remainder != 0),
                flags,
            )
        }
    }
}

/// The square root of `a`.
pub fn sqrt(format: Format, rm: Round, a: u64, flags: &mut u32) -> u64 {
    match format.unpack(a) {
        Value::Nan => nan(format, &[a], flags),
        Value::Zero(_) | Value::Infinity(false) => a,
        Value::Infinity(true) => invalid(format, flags),
        Value::Finite(x) if x.sign => invalid(format, flags),
        Value::Finite(x) => {
            // An even exponent and a radicand of 127 or 128 bits: the root has 64.
            let odd = x.exponent & 1;
            let radicand = u128::from(x.significand) << (63 + odd);
            let root = radicand.isqrt();
            let exponent = (x.exponent - odd) / 2 + 64;
            let sticky = root * root != radicand;
            format.round(
                rm,
                Unrounded::from_wide(false, exponent, root, sticky),
                flags,
            )
        }
    }
}
