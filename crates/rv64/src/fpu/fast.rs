//! Host arithmetic where it provably gives the same result and flags.
//!
//! The host rounds to nearest even, as nearly all programs do. A result in the normal range raises nothing
//! but "inexact", and whether it is exact can be computed: the error of a sum is a floating-point number
//! (Knuth's TwoSum), a product is exact when its significands have few enough bits, a quotient or a root
//! when multiplying back gives the operand. Everything else (NaN, infinity, tiny results) is left to
//! `softfloat`.

use crate::op::Code;
use crate::softfloat::NX;

use super::{BOX, unbox};

const D_INFINITY: u64 = 0x7ff0_0000_0000_0000;
const S_INFINITY: u32 = 0x7f80_0000;

/// Below this, the intermediate values of [`sum_error`] do not overflow.
pub const SUM_MAX: f64 = 1e300;

/// True when a double is not infinite and not NaN.
#[inline(always)]
pub fn finite(bits: u64) -> bool {
    bits & (u64::MAX >> 1) < D_INFINITY
}

/// True when a double is normal, finite and not near underflow.
#[inline(always)]
pub fn normal(bits: u64) -> bool {
    (bits >> 52 & 0x7ff).wrapping_sub(2) < 0x7fd
}

/// [`finite`] for a single.
#[inline(always)]
pub fn finite_single(bits: u32) -> bool {
    bits & (u32::MAX >> 1) < S_INFINITY
}

/// [`normal`] for a single.
#[inline(always)]
pub fn normal_single(bits: u32) -> bool {
    (bits >> 23 & 0xff).wrapping_sub(2) < 0xfd
}

/// The result of `code` rounded to nearest even, if this is one of the quick cases. Sets NX if it must.
pub fn nearest(code: Code, operands: [u64; 3], flags: &mut u32) -> Option<u64> {
    let (result, exact) = match code {
        Code::FaddD | Code::FsubD | Code::FmulD | Code::FdivD | Code::FsqrtD => {
            double(code, operands)?
        }
        Code::FaddS | Code::FsubS | Code::FmulS | Code::FdivS | Code::FsqrtS => {
            single(code, operands)?
        }
        Code::FmaddD | Code::FmsubD | Code::FnmsubD | Code::FnmaddD if *flags & NX != 0 => {
            let [a, b, c] = operands.map(f64::from_bits);
            let (a, c) = signs(code, a, c);
            let result = fused(a, b, c)?.to_bits();
            if !normal(result) {
                return None;
            }
            return Some(result);
        }
        Code::FmaddS | Code::FmsubS | Code::FnmsubS | Code::FnmaddS if *flags & NX != 0 => {
            let [a, b, c] = operands.map(|bits| f64::from(f32::from_bits(unbox(bits) as u32)));
            let (a, c) = signs(code, a, c);
            let result = fused_single(a, b, c).to_bits();
            if !normal_single(result) {
                return None;
            }
            return Some(BOX | u64::from(result));
        }
        _ => return None,
    };
    *flags |= if exact { 0 } else { NX };
    Some(result)
}

/// The four kinds of fused multiply-add as the first, by the signs of the product and of the addend.
#[inline(always)]
fn signs(code: Code, a: f64, c: f64) -> (f64, f64) {
    match code {
        Code::FmsubD | Code::FmsubS => (a, -c),
        Code::FnmsubD | Code::FnmsubS => (-a, c),
        Code::FnmaddD | Code::FnmaddS => (-a, -c),
        _ => (a, c),
    }
}

fn double(code: Code, operands: [u64; 3]) -> Option<(u64, bool)> {
    let [a, b, _] = operands.map(f64::from_bits);
    let sum = matches!(code, Code::FaddD | Code::FsubD);
    // The computations of exactness below count on full significands.
    if !sum && (a.is_subnormal() || b.is_subnormal() && code != Code::FsqrtD) {
        return None;
    }
    let (result, exact) = match code {
        Code::FaddD | Code::FsubD => {
            let b = if code == Code::FsubD { -b } else { b };
            let result = a + b;
            // The intermediate values of TwoSum must not overflow; an infinite operand is exact.
            if result.abs() < SUM_MAX {
                (result, sum_error(a, b, result) == 0.0)
            } else if result.is_infinite() && (a.is_infinite() || b.is_infinite()) {
                (result, true)
            } else {
                return None;
            }
        }
        Code::FmulD => (a * b, product_is_exact(a, b)),
        Code::FdivD => {
            let result = a / b;
            (result, product_is_exact(result, b) && result * b == a)
        }
        _ => {
            let result = a.sqrt();
            (
                result,
                product_is_exact(result, result) && result * result == a,
            )
        }
    };
    let bits = result.to_bits();
    if sum || normal(bits) {
        return Some((bits, exact));
    }
    // A zero operand makes an exact zero, except where the result is infinite or NaN.
    let zero = a == 0.0 || code == Code::FmulD && b == 0.0;
    (zero && result == 0.0).then_some((bits, true))
}

fn single(code: Code, operands: [u64; 3]) -> Option<(u64, bool)> {
    let [a, b, _] = operands.map(|bits| f32::from_bits(unbox(bits) as u32));
    // A double holds a product of singles, and is precise enough that rounding twice does no harm.
    let (wide_a, wide_b) = (f64::from(a), f64::from(b));
    let (result, exact) = match code {
        Code::FaddS | Code::FsubS => {
            let wide_b = if code == Code::FsubS { -wide_b } else { wide_b };
            let sum = wide_a + wide_b;
            let result = sum as f32;
            (
                result,
                sum_error(wide_a, wide_b, sum) == 0.0 && f64::from(result) == sum,
            )
        }
        Code::FmulS => {
            let result = a * b;
            (result, f64::from(result) == wide_a * wide_b)
        }
        Code::FdivS => {
            let result = a / b;
            (result, f64::from(result) * wide_b == wide_a)
        }
        _ => {
            let result = a.sqrt();
            (result, f64::from(result) * f64::from(result) == wide_a)
        }
    };
    let bits = result.to_bits();
    let sum = matches!(code, Code::FaddS | Code::FsubS);
    let good = if sum {
        finite_single(bits)
    } else {
        normal_single(bits)
    };
    let zero = result == 0.0 && (a == 0.0 || code == Code::FmulS && b == 0.0);
    (good || zero).then_some((BOX | u64::from(bits), exact || zero))
}

/// What `a + b` lost when it was rounded to `sum` (Knuth).
#[inline(always)]
pub fn sum_error(a: f64, b: f64, sum: f64) -> f64 {
    let b_part = sum - a;
    let a_part = sum - b_part;
    (a - a_part) + (b - b_part)
}

/// Whether the product of two normal doubles fits into 53 bits.
fn product_is_exact(a: f64, b: f64) -> bool {
    // Odd parts: their product has as many bits as both together, or one less.
    let odd = |x: f64| {
        let significand = x.to_bits() & ((1 << 52) - 1) | 1 << 52;
        significand >> significand.trailing_zeros()
    };
    let (a, b) = (odd(a), odd(b));
    let bits = 128 - a.leading_zeros() - b.leading_zeros();
    bits <= 53 || bits == 54 && a * b < 1 << 53
}

/// `a * b + c` rounded once. `None` outside the range where this way of computing it is exact; the caller
/// must also check that the result is [`normal`].
#[inline(always)]
pub fn fused(a: f64, b: f64, c: f64) -> Option<f64> {
    if cfg!(target_arch = "wasm32") {
        fused_by_parts(a, b, c)
    } else {
        Some(a.mul_add(b, c))
    }
}

/// Fused multiply-add from ordinary operations (Boldo and Melquiond, "Emulation of FMA and correctly
/// rounded sums: proved algorithms using rounding to odd", 2008).
fn fused_by_parts(a: f64, b: f64, c: f64) -> Option<f64> {
    let exponent = |x: f64| (x.to_bits() >> 52 & 0x7ff) as u32;
    // Products and errors must neither overflow nor become subnormal.
    if exponent(a).wrapping_sub(623) > 800
        || exponent(b).wrapping_sub(623) > 800
        || exponent(c) > 1900
    {
        return None;
    }
    let product = a * b;
    let error = product_error(a, b, product);
    let low_sum = c + error;
    let low_error = sum_error(c, error, low_sum);
    let high = product + low_sum;
    let high_error = sum_error(product, low_sum, high);
    Some(high + add_to_odd(high_error, low_error))
}

/// What `a * b` lost when it was rounded to `product` (Dekker).
#[inline(always)]
fn product_error(a: f64, b: f64, product: f64) -> f64 {
    // The upper 26 bits, rounded to nearest, so that the rest has 26 bits and a sign.
    let upper = |x: f64| f64::from_bits(x.to_bits().wrapping_add(1 << 26) & !((1 << 27) - 1));
    let (a_high, b_high) = (upper(a), upper(b));
    let (a_low, b_low) = (a - a_high, b - b_high);
    ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
}

/// `a + b` rounded to odd: an inexact sum becomes the neighbour whose last bit is set.
#[inline(always)]
fn add_to_odd(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let error = sum_error(a, b, sum);
    let bits = sum.to_bits();
    if error == 0.0 || bits & 1 != 0 {
        return sum;
    }
    // Towards the exact value: away from zero when the error has the sum's sign.
    let away = (error > 0.0) == (sum > 0.0);
    f64::from_bits(if away { bits + 1 } else { bits - 1 })
}

/// `a * b + c` of singles given as doubles, rounded once to single.
#[inline(always)]
pub fn fused_single(a: f64, b: f64, c: f64) -> f32 {
    // The product is exact.
    add_to_odd(a * b, c) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enough of a generator for these tests.
    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn fused_by_parts_is_fused() {
        let mut state = 88_172_645_463_325_252;
        let mut compared = 0;
        for round in 0..2_000_000_u64 {
            // Exponents close to each other or any, significands with few or many bits.
            let mut number = || {
                let exponent = match round % 4 {
                    0 => random(&mut state) % 2047,
                    1 => 1023 - 400 + random(&mut state) % 800,
                    _ => 1023 - 60 + random(&mut state) % 120,
                };
                let significand = (random(&mut state) >> 12) >> (random(&mut state) % 52);
                let significand = significand << (random(&mut state) % 12) & ((1 << 52) - 1);
                f64::from_bits(random(&mut state) << 63 | exponent << 52 | significand)
            };
            let (a, b, other) = (number(), number(), number());
            let c = match round % 3 {
                0 => -(a * b) * (1.0 + f64::EPSILON * (round % 7) as f64),
                1 if round % 5 == 0 => 0.0,
                _ => other,
            };
            let expected = a.mul_add(b, c);
            if normal(expected.to_bits())
                && let Some(got) = fused_by_parts(a, b, c)
            {
                assert_eq!(got.to_bits(), expected.to_bits(), "{a:e} * {b:e} + {c:e}");
                compared += 1;
            }
        }
        assert!(compared > 1_000_000);
    }
}
