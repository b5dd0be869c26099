//! What can be wrong with a cable: delay, jitter, loss, doubles, broken bits, a limited rate.
//! Everything follows from the generator it is given, so a run can be repeated.

use clock::{Instant, NANOS_PER_SEC, Rng};

/// A million: probabilities are parts of it.
const MILLION: u64 = 1_000_000;

/// A cable. The default is a perfect one.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Time a frame takes, in nanoseconds.
    pub delay_ns: u64,
    /// At most this much more, at random: frames may overtake each other.
    pub jitter_ns: u64,
    /// Frames of a million that are lost.
    pub loss_ppm: u32,
    /// Frames of a million that arrive twice.
    pub duplicate_ppm: u32,
    /// Frames of a million that arrive with a bit flipped.
    pub corrupt_ppm: u32,
    /// Bits per second; 0 is no limit.
    pub rate_bps: u64,
    /// Time a frame may wait for the cable to be free; more is lost. 0 is 100 ms.
    pub wait_ns_max: u64,
}

/// What becomes of a frame.
#[derive(PartialEq, Eq, Debug)]
pub enum Fate {
    /// It does not arrive.
    Lost,
    /// It arrives then, or several times.
    Arrives(Vec<(Instant, Vec<u8>)>),
}

impl Fault {
    /// Frames take their time.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.delay_ns > 0 || self.jitter_ns > 0 || self.rate_bps > 0
    }

    /// Decides what becomes of a frame that enters the cable at `now`; `free_at` is when the cable has sent
    /// what came before.
    pub fn fate(&self, rng: &Rng, now: Instant, mut bytes: Vec<u8>, free_at: &mut Instant) -> Fate {
        let happens = |ppm: u32| ppm > 0 && rng.next_u64() % MILLION < u64::from(ppm);
        if happens(self.loss_ppm) {
            return Fate::Lost;
        }
        let mut at = now;
        if self.rate_bps > 0 {
            let start = now.max(*free_at);
            let max = if self.wait_ns_max == 0 {
                NANOS_PER_SEC / 10
            } else {
                self.wait_ns_max
            };
            if start.since(now) > max {
                return Fate::Lost;
            }
            let bits = bytes.len() as u128 * 8 * u128::from(NANOS_PER_SEC);
            at = start.plus((bits / u128::from(self.rate_bps)) as u64);
            *free_at = at;
        }
        if happens(self.corrupt_ppm) && !bytes.is_empty() {
            let bit = rng.next_u64() as usize % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let arrival = || {
            let jitter = match self.jitter_ns {
                0 => 0,
                jitter => rng.next_u64() % jitter,
            };
            at.plus(self.delay_ns).plus(jitter)
        };
        let mut copies = vec![(arrival(), bytes.clone())];
        if happens(self.duplicate_ppm) {
            copies.push((arrival(), bytes));
        }
        Fate::Arrives(copies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_makes_frames_wait_and_then_lost() {
        let fault = Fault {
            rate_bps: 8_000_000,
            delay_ns: 5,
            ..Fault::default()
        };
        let (rng, mut free_at) = (Rng::new(1), Instant(0));
        let mut send = || fault.fate(&rng, Instant(0), vec![0; 1000], &mut free_at);
        let Fate::Arrives(first) = send() else {
            panic!("the first is lost")
        };
        assert_eq!(first[0].0, Instant(1_000_005));
        let lost = (0..200).filter(|_| send() == Fate::Lost).count();
        assert_eq!(lost, 100);
    }
}
