//! Seeded random numbers (splitmix64), and the values that find bugs.

pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    /// An integer, often near a limit.
    pub fn integer(&mut self) -> u64 {
        let near = self.below(5).wrapping_sub(2);
        match self.below(8) {
            0 => near,
            1 => (1_u64 << 63).wrapping_add(near),
            2 => (1_u64 << 31).wrapping_add(near),
            3 => (1_u64 << 32).wrapping_add(near),
            4 => (1_u64 << self.below(64)).wrapping_add(near),
            5 => self.next() as i32 as u64,
            6 => self.next() >> self.below(64),
            _ => self.next(),
        }
    }

    /// The bits of a double, often special.
    pub fn double(&mut self) -> u64 {
        let sign = self.next() << 63;
        let magnitude = match self.below(12) {
            0 => 0,
            1 => 0x7ff0_0000_0000_0000,
            2 => 0x7ff8_0000_0000_0000,
            3 => 0x7ff0_0000_0000_0000 | self.next() >> 13 | 1,
            4 => self.next() >> 12 >> self.below(52),
            5 => 0x0010_0000_0000_0000 + self.below(4),
            6 => 0x7fef_ffff_ffff_ffff - self.below(4),
            7 => (self.below(2048) as f64).to_bits(),
            8 => {
                (1023 - 60 + self.below(120)) << 52
                    | self.next() >> 12 << self.below(52) & ((1 << 52) - 1)
            }
            9 => (1023 + self.below(66)) << 52 | self.next() >> 12,
            10 => 0x3ff0_0000_0000_0000 + self.below(3),
            _ => self.next() >> 1,
        };
        sign | magnitude
    }

    /// The bits of a single, often special.
    pub fn single(&mut self) -> u64 {
        let sign = (self.next() & 1) << 31;
        let magnitude = match self.below(12) {
            0 => 0,
            1 => 0x7f80_0000,
            2 => 0x7fc0_0000,
            3 => 0x7f80_0000 | self.next() & 0x7f_ffff | 1,
            4 => (self.next() & 0x7f_ffff) >> self.below(23),
            5 => 0x80_0000 + self.below(4),
            6 => 0x7f7f_ffff - self.below(4),
            7 => u64::from((self.below(2048) as f32).to_bits()),
            8 => {
                (127 - 30 + self.below(60)) << 23
                    | (self.next() & 0x7f_ffff) << self.below(23) & 0x7f_ffff
            }
            9 => (127 + self.below(66)) << 23 | self.next() & 0x7f_ffff,
            10 => 0x3f80_0000 + self.below(3),
            _ => self.next() & 0x7fff_ffff,
        };
        sign | magnitude
    }
}
