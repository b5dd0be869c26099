//! A small seeded generator (SplitMix64, Steele et al. 2014): reproducible, not cryptographic.

use std::cell::Cell;

/// A seeded source of random numbers.
#[derive(Debug)]
pub struct Rng(Cell<u64>);

impl Rng {
    /// A generator whose whole sequence follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Rng {
        Rng(Cell::new(seed))
    }

    /// The next 64 random bits.
    pub fn next_u64(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Fills `buf` with random bytes.
    pub fn fill(&self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }

    /// `2 * bytes` lower-case hexadecimal digits, as ids of containers are written.
    pub fn hex(&self, bytes: usize) -> String {
        let mut buf = vec![0; bytes];
        self.fill(&mut buf);
        buf.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
