//! Comparison, minimum, maximum, classification.

use super::{Format, NV};

/// An order-preserving integer for a number that is not NaN; both zeros are equal.
fn key(format: Format, bits: u64) -> i64 {
    let magnitude = (bits & (format.sign_bit() - 1)) as i64;
    if bits & format.sign_bit() != 0 {
        -magnitude
    } else {
        magnitude
    }
}

fn any_nan(format: Format, a: u64, b: u64) -> bool {
    format.is_nan(a) || format.is_nan(b)
}

fn any_signaling(format: Format, a: u64, b: u64) -> bool {
    format.is_signaling_nan(a) || format.is_signaling_nan(b)
}

/// `a == b`, quiet.
pub fn eq(format: Format, a: u64, b: u64, flags: &mut u32) -> bool {
    if any_nan(format, a, b) {
        *flags |= if any_signaling(format, a, b) { NV } else { 0 };
        return false;
    }
    key(format, a) == key(format, b)
}

/// `a < b`, signaling.
pub fn lt(format: Format, a: u64, b: u64, flags: &mut u32) -> bool {
    if any_nan(format, a, b) {
        *flags |= NV;
        return false;
    }
    key(format, a) < key(format, b)
}

/// `a <= b`, signaling.
pub fn le(format: Format, a: u64, b: u64, flags: &mut u32) -> bool {
    if any_nan(format, a, b) {
        *flags |= NV;
        return false;
    }
    key(format, a) <= key(format, b)
}

fn pick(format: Format, a: u64, b: u64, greater: bool, flags: &mut u32) -> u64 {
    *flags |= if any_signaling(format, a, b) { NV } else { 0 };
    match (format.is_nan(a), format.is_nan(b)) {
        (true, true) => format.canonical_nan(),
        (true, false) => b,
        (false, true) => a,
        (false, false) => {
            // Of the two zeros, the negative one counts as smaller.
            let less = (key(format, a), a & format.sign_bit() == 0)
                < (key(format, b), b & format.sign_bit() == 0);
            if less != greater { a } else { b }
        }
    }
}

/// The smaller number (`minimumNumber` of IEEE 754-2019).
pub fn min(format: Format, a: u64, b: u64, flags: &mut u32) -> u64 {
    pick(format, a, b, false, flags)
}

/// The greater number (`maximumNumber`).
pub fn max(format: Format, a: u64, b: u64, flags: &mut u32) -> u64 {
    pick(format, a, b, true, flags)
}

/// The mask that `fclass` gives.
pub fn class(format: Format, bits: u64) -> u64 {
    let negative = bits & format.sign_bit() != 0;
    let magnitude = bits & (format.sign_bit() - 1);
    let infinity = format.infinity(false);
    let class = match magnitude {
        _ if magnitude > infinity => {
            return if format.is_signaling_nan(bits) {
                1 << 8
            } else {
                1 << 9
            };
        }
        _ if magnitude == infinity => 0,
        _ if magnitude > format.fraction_mask() => 1,
        0 => 3,
        _ => 2,
    };
    // Negative classes are bits 0 to 3, positive ones 7 down to 4.
    1 << if negative { class } else { 7 - class }
}
