//! C: compressed instructions (manual chapter 26). Each is decoded to the instruction it stands for.

use super::illegal;
use crate::op::{Code, Insn};

/// Return address and stack pointer, the registers with a meaning here.
const RA: u8 = 1;
const SP: u8 = 2;

/// A 16-bit instruction and its fields.
#[derive(Clone, Copy)]
struct Half(u32);

impl Half {
    /// `len` bits from bit `low`, put at bit `at`.
    fn field(self, low: u32, len: u32, at: u32) -> i32 {
        ((self.0 >> low & ((1 << len) - 1)) << at) as i32
    }
    fn rd(self) -> u8 {
        self.field(7, 5, 0) as u8
    }
    fn rs2(self) -> u8 {
        self.field(2, 5, 0) as u8
    }
    /// The three-bit register in bits 4:2.
    fn low(self) -> u8 {
        self.field(2, 3, 0) as u8 + 8
    }
    /// The three-bit register in bits 9:7.
    fn high(self) -> u8 {
        self.field(7, 3, 0) as u8 + 8
    }
    /// The six-bit signed immediate.
    fn imm6(self) -> i32 {
        -self.field(12, 1, 5) | self.field(2, 5, 0)
    }
    fn shift(self) -> i32 {
        self.field(12, 1, 5) | self.field(2, 5, 0)
    }
    /// Offset of word and doubleword accesses relative to a three-bit register.
    fn offset_w(self) -> i32 {
        self.field(10, 3, 3) | self.field(6, 1, 2) | self.field(5, 1, 6)
    }
    fn offset_d(self) -> i32 {
        self.field(10, 3, 3) | self.field(5, 2, 6)
    }
    fn offset_j(self) -> i32 {
        -self.field(12, 1, 11)
            | self.field(11, 1, 4)
            | self.field(9, 2, 8)
            | self.field(8, 1, 10)
            | self.field(7, 1, 6)
            | self.field(6, 1, 7)
            | self.field(3, 3, 1)
            | self.field(2, 1, 5)
    }
    fn offset_b(self) -> i32 {
        -self.field(12, 1, 8)
            | self.field(10, 2, 3)
            | self.field(5, 2, 6)
            | self.field(3, 2, 1)
            | self.field(2, 1, 5)
    }

    fn insn(self, code: Code, rd: u8, rs1: u8, rs2: u8, imm: i32) -> Insn {
        Insn {
            code,
            rd,
            rs1,
            rs2,
            rs3: 0,
            rm: 0,
            imm,
            len: 2,
            bits: self.0,
        }
    }
}

pub(super) fn decode(bits: u16) -> Insn {
    let half = Half(u32::from(bits));
    let funct3 = half.field(13, 3, 0);
    let decoded = match bits & 3 {
        0 => quadrant0(half, funct3),
        1 => quadrant1(half, funct3),
        _ => quadrant2(half, funct3),
    };
    decoded.unwrap_or_else(|| illegal(u32::from(bits), 2))
}

fn quadrant0(half: Half, funct3: i32) -> Option<Insn> {
    use Code::*;
    let (rd, base) = (half.low(), half.high());
    Some(match funct3 {
        0 => {
            let imm = half.field(11, 2, 4)
                | half.field(7, 4, 6)
                | half.field(6, 1, 2)
                | half.field(5, 1, 3);
            // All zero is the instruction defined to be illegal; the other zero immediates are reserved.
            if imm == 0 {
                return None;
            }
            half.insn(Addi, rd, SP, 0, imm)
        }
        1 => half.insn(Fld, rd, base, 0, half.offset_d()),
        2 => half.insn(Lw, rd, base, 0, half.offset_w()),
        3 => half.insn(Ld, rd, base, 0, half.offset_d()),
        5 => half.insn(Fsd, 0, base, rd, half.offset_d()),
        6 => half.insn(Sw, 0, base, rd, half.offset_w()),
        7 => half.insn(Sd, 0, base, rd, half.offset_d()),
        _ => return None,
    })
}

fn quadrant1(half: Half, funct3: i32) -> Option<Insn> {
    use Code::*;
    let rd = half.rd();
    Some(match funct3 {
        0 => half.insn(Addi, rd, rd, 0, half.imm6()),
        1 if rd != 0 => half.insn(Addiw, rd, rd, 0, half.imm6()),
        2 => half.insn(Addi, rd, 0, 0, half.imm6()),
        3 if half.imm6() == 0 => return None,
        3 if rd == SP => {
            let imm = -half.field(12, 1, 9)
                | half.field(6, 1, 4)
                | half.field(5, 1, 6)
                | half.field(3, 2, 7)
                | half.field(2, 1, 5);
            half.insn(Addi, SP, SP, 0, imm)
        }
        3 => half.insn(Lui, rd, 0, 0, half.imm6() << 12),
        4 => arithmetic(half)?,
        5 => half.insn(Jal, 0, 0, 0, half.offset_j()),
        6 => half.insn(Beq, 0, half.high(), 0, half.offset_b()),
        7 => half.insn(Bne, 0, half.high(), 0, half.offset_b()),
        _ => return None,
    })
}

fn arithmetic(half: Half) -> Option<Insn> {
    use Code::*;
    let rd = half.high();
    Some(match half.field(10, 2, 0) {
        0 => half.insn(Srli, rd, rd, 0, half.shift()),
        1 => half.insn(Srai, rd, rd, 0, half.shift()),
        2 => half.insn(Andi, rd, rd, 0, half.imm6()),
        _ => {
            let code = match (half.field(12, 1, 0), half.field(5, 2, 0)) {
                (0, 0) => Sub,
                (0, 1) => Xor,
                (0, 2) => Or,
                (0, _) => And,
                (_, 0) => Subw,
                (_, 1) => Addw,
                _ => return None,
            };
            half.insn(code, rd, rd, half.low(), 0)
        }
    })
}

fn quadrant2(half: Half, funct3: i32) -> Option<Insn> {
    use Code::*;
    let (rd, rs2) = (half.rd(), half.rs2());
    let load_d = half.field(12, 1, 5) | half.field(5, 2, 3) | half.field(2, 3, 6);
    let load_w = half.field(12, 1, 5) | half.field(4, 3, 2) | half.field(2, 2, 6);
    let store_d = half.field(10, 3, 3) | half.field(7, 3, 6);
    let store_w = half.field(9, 4, 2) | half.field(7, 2, 6);
    Some(match funct3 {
        0 => half.insn(Slli, rd, rd, 0, half.shift()),
        1 => half.insn(Fld, rd, SP, 0, load_d),
        2 if rd != 0 => half.insn(Lw, rd, SP, 0, load_w),
        3 if rd != 0 => half.insn(Ld, rd, SP, 0, load_d),
        4 => match (half.field(12, 1, 0), rd, rs2) {
            (0, 0, 0) => return None,
            (0, _, 0) => half.insn(Jalr, 0, rd, 0, 0),
            (0, ..) => half.insn(Add, rd, 0, rs2, 0),
            (_, 0, 0) => half.insn(Ebreak, 0, 0, 0, 0),
            (_, _, 0) => half.insn(Jalr, RA, rd, 0, 0),
            _ => half.insn(Add, rd, rd, rs2, 0),
        },
        5 => half.insn(Fsd, 0, SP, rs2, store_d),
        6 => half.insn(Sw, 0, SP, rs2, store_w),
        7 => half.insn(Sd, 0, SP, rs2, store_d),
        _ => return None,
    })
}
