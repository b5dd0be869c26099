//! Random programs that end by themselves: they load all registers, run random instructions on them and
//! on a small buffer, then write registers, `fcsr` and the buffer to standard output.

use rv64::{Code, decode};

use super::assemble::{DATA, ECALL, addi, b_type, elf, i_type, jal, ld, lui, r_type, s_type, sd};
use super::rng::Rng;

/// Registers that always point into the buffer: `sp`, and two that compressed instructions can name.
const BASES: [u32; 3] = [2, 8, 9];
/// Counts the turns of loops; scratch for addresses.
const COUNTER: u32 = 27;
const ADDRESS: u32 = 26;
const BUFFER: u64 = 3 * 4096;
/// What is written out: the buffer, then the registers.
pub const DUMP: u64 = BUFFER + 66 * 8;

fn reserved(register: u32) -> bool {
    BASES.contains(&register) || register == COUNTER || register == ADDRESS
}

fn destination(rng: &mut Rng) -> u32 {
    loop {
        let register = rng.below(32) as u32;
        if !reserved(register) {
            return register;
        }
    }
}

/// A random program of `count` steps (most are one instruction). A greater `count` with the same seed
/// begins with the same steps.
pub fn program(seed: u64, count: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut data: Vec<u8> = (0..BUFFER / 8)
        .flat_map(|_| rng.integer().to_le_bytes())
        .collect();
    for register in 0..32_u64 {
        let value = match register {
            2 | 8 => DATA + 4096 - 40 + rng.below(64),
            9 => DATA + 8192 - 128 + rng.below(200),
            _ => rng.integer(),
        };
        data.extend(value.to_le_bytes());
    }
    for _ in 0..32 {
        let value = if rng.below(2) == 0 {
            rng.double()
        } else {
            rng.single() | !0 << 32
        };
        data.extend(value.to_le_bytes());
    }
    data.extend([0; 16]);

    let mut code = Assembler { bytes: Vec::new() };
    code.prologue();
    let mut steps = 0;
    while steps < count {
        steps += code.step(&mut rng);
    }
    code.epilogue();
    elf(&code.bytes, &data)
}

/// Results that [`float_program`] writes for each case: value and flags.
pub const FLOAT_CASE: usize = 16;

/// `count` floating-point instructions on special values, with flags raised or not before, each followed by
/// a store of its result and of the flags. The program writes all of them to standard output.
pub fn float_program(seed: u64, count: usize) -> (Vec<u8>, Vec<u32>) {
    let mut rng = Rng::new(seed ^ 0xf10a7);
    let mut code = Assembler { bytes: Vec::new() };
    let mut words = Vec::new();
    let mut data = Vec::new();
    let results = DATA + (count as u64 * 24).next_multiple_of(4096);
    code.word(lui(8, DATA as i32));
    code.word(lui(9, results as i32));
    for _ in 0..count {
        // Operands in f1 to f3, or an integer in x6; the result goes to f0 or x5.
        let mut word = float(&mut rng);
        let from_integer = word & 0x7f == 0x53 && matches!(word >> 27, 0x1a | 0x1e);
        let to_integer = word & 0x7f == 0x53 && matches!(word >> 27, 0x14 | 0x18 | 0x1c);
        word &= !(31 << 7 | 31 << 15);
        word |= if to_integer { 5 << 7 } else { 0 } | if from_integer { 6 } else { 1 } << 15;
        match (word & 0x7f, word >> 27) {
            (0x53, 8 | 0xb | 0x18 | 0x1a | 0x1c | 0x1e) => {}
            (0x53, _) => word = word & !(31 << 20) | 2 << 20,
            _ => word = word & !(31 << 20 | 31 << 27) | 2 << 20 | 3 << 27,
        }
        words.push(word);
        let single = if word & 0x7f == 0x53 && word >> 27 == 8 {
            word >> 25 & 1 == 1
        } else {
            word >> 25 & 1 == 0
        };
        for _ in 0..3 {
            let value = match (from_integer, single) {
                (true, _) => rng.integer(),
                (_, true) if rng.below(50) != 0 => rng.single() | !0 << 32,
                _ => rng.double(),
            };
            data.extend(value.to_le_bytes());
        }
        for register in 0..3 {
            code.word(i_type(0x07, register + 1, 3, 8, register as i32 * 8));
        }
        code.word(ld(6, 8, 0));
        let flags = rng.one_of(&[0, 1, 1, 0x1f]);
        code.word(i_type(0x73, 0, 5, flags, 1));
        code.word(i_type(0x73, 0, 5, rng.below(5) as u32, 2));
        code.word(word);
        code.word(if to_integer {
            sd(5, 9, 0)
        } else {
            s_type(0x27, 3, 9, 0, 0)
        });
        code.word(i_type(0x73, 5, 2, 0, 1));
        code.word(sd(5, 9, 8));
        code.word(addi(8, 8, 24));
        code.word(addi(9, 9, 16));
    }
    let length = count * FLOAT_CASE;
    data.resize((results - DATA) as usize + length, 0);
    for word in [
        addi(10, 0, 1),
        lui(11, results as i32),
        lui(12, (length as i32 + 0x800) & !0xfff),
        addi(12, 12, length as i32 - ((length as i32 + 0x800) & !0xfff)),
        addi(17, 0, 64),
        ECALL,
        addi(10, 0, 0),
        addi(17, 0, 93),
        ECALL,
    ] {
        code.word(word);
    }
    (elf(&code.bytes, &data), words)
}

struct Assembler {
    bytes: Vec<u8>,
}

impl Assembler {
    fn word(&mut self, word: u32) {
        self.bytes.extend(word.to_le_bytes());
    }

    fn half(&mut self, half: u16) {
        self.bytes.extend(half.to_le_bytes());
    }

    fn prologue(&mut self) {
        self.word(lui(31, (DATA + BUFFER) as i32));
        for register in 0..32 {
            self.word(i_type(0x07, register, 3, 31, 256 + 8 * register as i32));
        }
        for register in 1..32 {
            self.word(ld(register, 31, 8 * register as i32));
        }
    }

    fn epilogue(&mut self) {
        // x27 is not dumped; it becomes the base.
        self.word(lui(COUNTER, (DATA + BUFFER) as i32));
        for register in 0..32 {
            self.word(sd(
                if register == COUNTER { 0 } else { register },
                COUNTER,
                8 * register as i32,
            ));
        }
        for register in 0..32 {
            self.word(s_type(
                0x27,
                3,
                COUNTER,
                register,
                256 + 8 * register as i32,
            ));
        }
        // frcsr
        self.word(i_type(0x73, 5, 2, 0, 3));
        self.word(sd(5, COUNTER, 512));
        for word in [
            addi(10, 0, 1),
            lui(11, DATA as i32),
            lui(12, 0x3000),
            addi(12, 12, 528),
            addi(17, 0, 64),
            ECALL,
        ] {
            self.word(word);
        }
        for word in [addi(10, 0, 0), addi(17, 0, 93), ECALL] {
            self.word(word);
        }
    }

    /// Appends one step; returns how many it counts for.
    fn step(&mut self, rng: &mut Rng) -> usize {
        match rng.below(100) {
            0..30 => self.word(plain(rng)),
            30..50 => self.half(compressed(rng)),
            50..60 => self.memory(rng),
            60..66 => self.atomic(rng),
            66..86 => self.float(rng),
            86..88 => self.float_csr(rng),
            88..96 => self.skip(rng),
            _ => return self.repeat(rng),
        }
        1
    }

    fn memory(&mut self, rng: &mut Rng) {
        let base = rng.one_of(&BASES);
        let offset = rng.below(1024) as i32 - 512;
        let word = match rng.below(4) {
            0 | 1 => i_type(0x03, destination(rng), rng.below(7) as u32, base, offset),
            2 => s_type(
                0x23,
                rng.below(4) as u32,
                base,
                rng.below(32) as u32,
                offset,
            ),
            _ if rng.below(2) == 0 => i_type(
                0x07,
                rng.below(32) as u32,
                2 + rng.below(2) as u32,
                base,
                offset,
            ),
            _ => s_type(
                0x27,
                2 + rng.below(2) as u32,
                base,
                rng.below(32) as u32,
                offset,
            ),
        };
        self.word(word);
    }

    /// An aligned address in the buffer, then an atomic instruction or a pair of them.
    fn atomic(&mut self, rng: &mut Rng) {
        self.word(lui(ADDRESS, DATA as i32));
        self.word(addi(ADDRESS, ADDRESS, rng.below(128) as i32 * 8));
        let width = 2 + rng.below(2) as u32;
        let amo = |rd, rs2, funct5: u32| r_type(0x2f, rd, width, ADDRESS, rs2, funct5 << 2);
        if rng.below(3) == 0 {
            if rng.below(4) != 0 {
                self.word(amo(destination(rng), 0, 2));
            }
            if rng.below(4) == 0 {
                self.word(s_type(0x23, 3, ADDRESS, rng.below(32) as u32, 0));
            }
            self.word(amo(destination(rng), rng.below(32) as u32, 3));
        } else {
            let funct5 = rng.one_of(&[0, 1, 4, 8, 12, 16, 20, 24, 28]);
            self.word(amo(destination(rng), rng.below(32) as u32, funct5));
        }
    }

    fn float(&mut self, rng: &mut Rng) {
        // Now and then a fresh special value, or everything would soon be NaN.
        if rng.below(3) == 0 {
            let at = BUFFER as i32 - 2048 + rng.below(200) as i32 * 8;
            self.word(lui(ADDRESS, (DATA + BUFFER) as i32));
            self.word(i_type(
                0x07,
                rng.below(32) as u32,
                3,
                ADDRESS,
                at - BUFFER as i32,
            ));
        }
        self.word(float(rng));
    }

    fn float_csr(&mut self, rng: &mut Rng) {
        let word = match rng.below(4) {
            // A valid rounding mode.
            0 | 1 => i_type(0x73, destination(rng), 5, rng.below(5) as u32, 2),
            2 => i_type(
                0x73,
                destination(rng),
                1 + rng.below(3) as u32,
                rng.below(32) as u32,
                1,
            ),
            _ => i_type(
                0x73,
                destination(rng),
                5 + rng.below(3) as u32,
                rng.below(32) as u32,
                1,
            ),
        };
        self.word(word);
    }

    /// A conditional branch or a jump over a few instructions.
    fn skip(&mut self, rng: &mut Rng) {
        let mut skipped = Assembler { bytes: Vec::new() };
        for _ in 0..rng.below(6) {
            match rng.below(3) {
                0 => skipped.half(compressed(rng)),
                1 => skipped.word(plain(rng)),
                _ => skipped.memory(rng),
            }
        }
        let offset = skipped.bytes.len() as i32 + 4;
        let (a, b) = (rng.below(32) as u32, rng.below(32) as u32);
        match rng.below(8) {
            0 => self.word(jal(destination(rng), offset)),
            1 => {
                // auipc, jalr
                self.word(0x17 | ADDRESS << 7);
                self.word(i_type(
                    0x67,
                    destination(rng),
                    0,
                    ADDRESS,
                    offset + 4 + rng.below(2) as i32,
                ));
            }
            _ => self.word(b_type(rng.one_of(&[0, 1, 4, 5, 6, 7]), a, b, offset)),
        }
        self.bytes.extend(skipped.bytes);
    }

    /// A loop of a few turns.
    fn repeat(&mut self, rng: &mut Rng) -> usize {
        self.word(addi(COUNTER, 0, 1 + rng.below(20) as i32));
        let mut body = Assembler { bytes: Vec::new() };
        let steps = 1 + rng.below(12) as usize;
        for _ in 0..steps {
            match rng.below(5) {
                0 => body.half(compressed(rng)),
                1 => body.word(plain(rng)),
                2 => body.memory(rng),
                3 => body.skip(rng),
                _ => body.float(rng),
            }
        }
        let length = body.bytes.len() as i32;
        self.bytes.extend(body.bytes);
        self.word(addi(COUNTER, COUNTER, -1));
        self.word(b_type(1, COUNTER, 0, -length - 4));
        steps
    }
}

/// An integer instruction that only computes.
fn plain(rng: &mut Rng) -> u32 {
    loop {
        let opcode = rng.one_of(&[0x13, 0x13, 0x1b, 0x33, 0x33, 0x3b, 0x37, 0x17]);
        let mut bits = rng.next() as u32 & !0x7f | opcode;
        if matches!(opcode, 0x33 | 0x3b) {
            bits = bits & 0x01ff_ffff | rng.one_of(&[0, 0x20, 1]) << 25;
        }
        let insn = decode(bits);
        if insn.code != Code::Illegal && !reserved(u32::from(insn.rd)) && insn.code != Code::Auipc {
            return bits;
        }
        if insn.code == Code::Auipc && !reserved(u32::from(insn.rd)) {
            return bits;
        }
    }
}

/// A compressed instruction that computes or accesses the buffer.
fn compressed(rng: &mut Rng) -> u16 {
    loop {
        let bits = rng.next() as u16;
        if bits & 3 == 3 {
            continue;
        }
        let insn = decode(u32::from(bits));
        let base = BASES.contains(&u32::from(insn.rs1));
        let good = match insn.code {
            Code::Illegal | Code::Ebreak | Code::Jal | Code::Jalr | Code::Beq | Code::Bne => false,
            Code::Lw | Code::Ld => base && !reserved(u32::from(insn.rd)),
            Code::Sw | Code::Sd | Code::Fsd | Code::Fld => base,
            _ => !reserved(u32::from(insn.rd)),
        };
        if good {
            return bits;
        }
    }
}

/// A floating-point instruction.
fn float(rng: &mut Rng) -> u32 {
    loop {
        let opcode = rng.one_of(&[0x43, 0x47, 0x4b, 0x4f, 0x53, 0x53, 0x53, 0x53, 0x53, 0x53]);
        let mut bits = rng.next() as u32 & !0x7f | opcode;
        // The format field is S or D; half of the time the rounding mode is dynamic.
        bits &= !(2 << 25);
        if rng.below(2) == 0 {
            bits |= 7 << 12;
        }
        if opcode == 0x53 {
            let funct5 = rng.one_of(&[0, 1, 2, 3, 4, 5, 8, 0xb, 0x14, 0x18, 0x1a, 0x1c, 0x1e]);
            bits = bits & 0x07ff_ffff | funct5 << 27;
            match funct5 {
                0x18 | 0x1a => bits &= !(0x1c << 20),
                8 => bits = bits & !(31 << 20) | u32::from(bits >> 25 & 1 == 0) << 20,
                0xb | 0x1c | 0x1e => bits &= !(31 << 20),
                _ => {}
            }
            if matches!(funct5, 4 | 5 | 0x14 | 0x1c | 0x1e) {
                bits = bits & !(7 << 12) | (rng.below(3) as u32) << 12;
            }
        }
        let insn = decode(bits);
        let to_integer = opcode == 0x53 && matches!(bits >> 27, 0x14 | 0x18 | 0x1c);
        if insn.code != Code::Illegal && !(to_integer && reserved(u32::from(insn.rd))) {
            return bits;
        }
    }
}
