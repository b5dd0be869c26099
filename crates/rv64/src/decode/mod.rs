//! Instruction decoding: bits to [`Insn`], one file per extension.

pub mod a;
mod c;
mod fd;
mod i;
mod m;
pub mod zicsr;

use crate::op::{Code, Insn};

/// Decodes the instruction whose first two bytes are the low half of `bits`. Any value is accepted:
/// what does not exist is [`Code::Illegal`] (of the length its low bits say).
#[must_use]
pub fn decode(bits: u32) -> Insn {
    if bits & 3 != 3 {
        return c::decode(bits as u16);
    }
    let word = Word(bits);
    let decoded = match word.opcode() {
        0x2f => a::decode(word),
        0x33 | 0x3b if word.funct7() == 1 => m::decode(word),
        0x07 | 0x27 | 0x43 | 0x47 | 0x4b | 0x4f | 0x53 => fd::decode(word),
        0x73 if word.funct3() != 0 => zicsr::decode(word),
        _ => i::decode(word),
    };
    decoded.unwrap_or_else(|| illegal(bits, 4))
}

fn illegal(bits: u32, len: u8) -> Insn {
    Insn {
        code: Code::Illegal,
        rd: 0,
        rs1: 0,
        rs2: 0,
        rs3: 0,
        rm: 0,
        imm: 0,
        len,
        bits,
    }
}

/// A 32-bit instruction and its fields.
#[derive(Clone, Copy)]
struct Word(u32);

impl Word {
    fn opcode(self) -> u32 {
        self.0 & 0x7f
    }
    fn rd(self) -> u8 {
        (self.0 >> 7 & 31) as u8
    }
    fn rs1(self) -> u8 {
        (self.0 >> 15 & 31) as u8
    }
    fn rs2(self) -> u8 {
        (self.0 >> 20 & 31) as u8
    }
    fn rs3(self) -> u8 {
        (self.0 >> 27) as u8
    }
    fn funct3(self) -> u32 {
        self.0 >> 12 & 7
    }
    fn funct7(self) -> u32 {
        self.0 >> 25
    }
    fn imm_i(self) -> i32 {
        self.0 as i32 >> 20
    }
    fn imm_s(self) -> i32 {
        (self.0 as i32 >> 25) << 5 | i32::from(self.rd())
    }
    fn imm_b(self) -> i32 {
        let word = self.0;
        (word as i32 >> 31) << 12
            | ((word >> 7 & 1) << 11 | (word >> 25 & 0x3f) << 5 | (word >> 8 & 0xf) << 1) as i32
    }
    fn imm_u(self) -> i32 {
        (self.0 & 0xffff_f000) as i32
    }
    fn imm_j(self) -> i32 {
        let word = self.0;
        (word as i32 >> 31) << 20
            | (word & 0xf_f000 | (word >> 20 & 1) << 11 | (word >> 21 & 0x3ff) << 1) as i32
    }

    /// An instruction with this word's registers and `imm`.
    fn insn(self, code: Code, imm: i32) -> Insn {
        Insn {
            code,
            rd: self.rd(),
            rs1: self.rs1(),
            rs2: self.rs2(),
            rs3: self.rs3(),
            rm: self.funct3() as u8,
            imm,
            len: 4,
            bits: self.0,
        }
    }
}
