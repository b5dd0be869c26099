//! What the M extension computes where Rust's operators do not say it (manual chapter 13): the upper half
//! of products, and division that never traps.

/// Upper half of the unsigned product.
#[inline(always)]
pub fn mulhu(a: u64, b: u64) -> u64 {
    if cfg!(target_arch = "wasm32") {
        // WebAssembly has no wide multiplication; four narrow ones are quicker than the library's.
        mulhu_by_parts(a, b)
    } else {
        ((u128::from(a) * u128::from(b)) >> 64) as u64
    }
}

fn mulhu_by_parts(a: u64, b: u64) -> u64 {
    const LOW: u64 = 0xffff_ffff;
    let (a_low, a_high, b_low, b_high) = (a & LOW, a >> 32, b & LOW, b >> 32);
    let middle = a_high * b_low + ((a_low * b_low) >> 32);
    let other = a_low * b_high + (middle & LOW);
    a_high * b_high + (middle >> 32) + (other >> 32)
}

/// Upper half of the signed product.
#[inline(always)]
pub fn mulh(a: u64, b: u64) -> u64 {
    mulhsu(a, b).wrapping_sub(if (b as i64) < 0 { a } else { 0 })
}

/// Upper half of the product of a signed and an unsigned number.
#[inline(always)]
pub fn mulhsu(a: u64, b: u64) -> u64 {
    mulhu(a, b).wrapping_sub(if (a as i64) < 0 { b } else { 0 })
}

/// Signed quotient; -1 for division by zero.
#[inline(always)]
pub fn div(a: u64, b: u64) -> u64 {
    if b == 0 {
        u64::MAX
    } else {
        (a as i64).wrapping_div(b as i64) as u64
    }
}

/// Unsigned quotient; all ones for division by zero.
#[inline(always)]
pub fn divu(a: u64, b: u64) -> u64 {
    a.checked_div(b).unwrap_or(u64::MAX)
}

/// Signed remainder; the dividend for division by zero.
#[inline(always)]
pub fn rem(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        (a as i64).wrapping_rem(b as i64) as u64
    }
}

/// Unsigned remainder; the dividend for division by zero.
#[inline(always)]
pub fn remu(a: u64, b: u64) -> u64 {
    a.checked_rem(b).unwrap_or(a)
}

/// [`div`] of 32-bit numbers, sign-extended, as all that follow.
#[inline(always)]
pub fn divw(a: u64, b: u64) -> u64 {
    if b as i32 == 0 {
        u64::MAX
    } else {
        (a as i32).wrapping_div(b as i32) as u64
    }
}

/// [`divu`] of 32-bit numbers.
#[inline(always)]
pub fn divuw(a: u64, b: u64) -> u64 {
    (a as u32).checked_div(b as u32).unwrap_or(u32::MAX) as i32 as u64
}

/// [`rem`] of 32-bit numbers.
#[inline(always)]
pub fn remw(a: u64, b: u64) -> u64 {
    if b as i32 == 0 {
        a as i32 as u64
    } else {
        (a as i32).wrapping_rem(b as i32) as u64
    }
}

/// [`remu`] of 32-bit numbers.
#[inline(always)]
pub fn remuw(a: u64, b: u64) -> u64 {
    (a as u32).checked_rem(b as u32).unwrap_or(a as u32) as i32 as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_halves_agree_with_wide_products() {
        let numbers = [
            0,
            1,
            2,
            0xffff_ffff,
            1 << 32,
            u64::MAX,
            1 << 63,
            (1 << 63) - 1,
            0x9e37_79b9_7f4a_7c15,
            0x1234_5678_9abc_def0,
        ];
        for a in numbers {
            for b in numbers {
                let unsigned = ((u128::from(a) * u128::from(b)) >> 64) as u64;
                assert_eq!(mulhu_by_parts(a, b), unsigned);
                assert_eq!(mulhu(a, b), unsigned);
                let signed = (i128::from(a as i64) * i128::from(b as i64)) >> 64;
                assert_eq!(mulh(a, b), signed as u64);
                let mixed = i128::from(a as i64).wrapping_mul(i128::from(b)) >> 64;
                assert_eq!(mulhsu(a, b), mixed as u64);
            }
        }
    }
}
