//! Rounding a number of unlimited precision to a format.

use super::{Format, NX, OF, Round, UF};

/// A result before rounding: `significand * 2^(exponent - 63)` with bit 63 set, plus something smaller
/// than its last bit when `sticky`.
#[derive(Clone, Copy, Debug)]
pub struct Unrounded {
    pub sign: bool,
    pub exponent: i32,
    pub significand: u64,
    pub sticky: bool,
}

impl Unrounded {
    /// From a wide significand: `wide * 2^(exponent - 127)`, not zero; `sticky` as above.
    pub fn from_wide(sign: bool, exponent: i32, wide: u128, sticky: bool) -> Unrounded {
        let shift = wide.leading_zeros();
        let wide = wide << shift;
        Unrounded {
            sign,
            exponent: exponent - shift as i32,
            significand: (wide >> 64) as u64,
            sticky: sticky || wide as u64 != 0,
        }
    }
}

/// True when a number with these bits cut off (`half`: the first of them, `rest`: any other) goes up in
/// magnitude.
fn goes_up(rm: Round, sign: bool, odd: bool, half: bool, rest: bool) -> bool {
    match rm {
        Round::Nearest => half && (rest || odd),
        Round::Zero => false,
        Round::Down => sign && (half || rest),
        Round::Up => !sign && (half || rest),
        Round::Away => half,
    }
}

/// `significand >> shift`, rounded; and whether that was inexact.
pub fn shift_round(
    rm: Round,
    sign: bool,
    significand: u64,
    sticky: bool,
    shift: u32,
) -> (u64, bool) {
    let (kept, half, rest) = match shift {
        0 => (significand, false, sticky),
        1..=63 => (
            significand >> shift,
            significand >> (shift - 1) & 1 != 0,
            sticky || significand & ((1 << (shift - 1)) - 1) != 0,
        ),
        64 => (0, significand >> 63 != 0, sticky || significand << 1 != 0),
        _ => (0, false, sticky || significand != 0),
    };
    let up = goes_up(rm, sign, kept & 1 != 0, half, rest);
    (kept + u64::from(up), half || rest)
}

impl Format {
    /// Rounds to this format.
    pub fn round(self, rm: Round, value: Unrounded, flags: &mut u32) -> u64 {
        let Unrounded {
            sign,
            exponent,
            significand,
            sticky,
        } = value;
        let drop = 63 - self.fraction_bits;
        let (rounded, inexact) = shift_round(rm, sign, significand, sticky, drop);
        let carried = i32::from(rounded >> (self.fraction_bits + 1) != 0);
        if exponent >= self.min_exponent() {
            if exponent + carried > self.bias() {
                *flags |= OF | NX;
                return self.overflowed(rm, sign);
            }
            *flags |= if inexact { NX } else { 0 };
            // The integer bit, and a carry out of it, add one each to the exponent field.
            let field = (exponent - self.min_exponent()) as u64;
            return self.zero(sign) + (field << self.fraction_bits) + rounded;
        }
        let tiny = exponent + carried < self.min_exponent();
        let shift = drop.saturating_add((self.min_exponent() - exponent) as u32);
        let (rounded, inexact) = shift_round(rm, sign, significand, sticky, shift);
        if inexact {
            *flags |= if tiny { UF | NX } else { NX };
        }
        self.zero(sign) + rounded
    }

    fn overflowed(self, rm: Round, sign: bool) -> u64 {
        let to_infinity = match rm {
            Round::Nearest | Round::Away => true,
            Round::Zero => false,
            Round::Down => sign,
            Round::Up => !sign,
        };
        self.infinity(sign) - u64::from(!to_infinity)
    }
}
