//! Lowering: an [`Insn`] becomes an [`Op`].
//!
//! What the fields mean: `a` is the destination and `b`, `c` are the sources, as byte offsets into
//! [`Hart`](crate::Hart); stores and branches have no destination and use `a` for a source. Results for
//! `x0` go to a register nobody reads, or the operation becomes [`Code::Nop`]. Jumps have in `c` how many
//! instructions of the block have retired when they are taken (themselves included), in `imm` the target
//! and in the high half of `ext` the return address, both relative to the page.

use crate::op::{Code, Insn, Op};

/// Offset in `Hart` of `sink`.
const SINK: u16 = 32 * 8;
/// Offset in `Hart` of `f`.
const F: u16 = 33 * 8;

/// Set in `imm` of a floating-point operation that names a rounding mode other than the nearest.
pub const STATIC_ROUNDING: u32 = 0x100;

fn x(register: u8) -> u16 {
    u16::from(register) * 8
}

fn x_dest(register: u8) -> u16 {
    if register == 0 { SINK } else { x(register) }
}

fn f(register: u8) -> u16 {
    F + u16::from(register) * 8
}

/// An operation without operands.
pub fn plain(code: Code) -> Op {
    Op {
        code,
        a: 0,
        b: 0,
        c: 0,
        imm: 0,
        ext: 0,
    }
}

/// A jump to page offset `target` after `count` instructions.
pub fn jump(target: i32, count: u16, link: u16) -> Op {
    Op {
        c: count,
        imm: target,
        ext: u32::from(link),
        ..plain(Code::Jump)
    }
}

/// The operation for `insn` at page offset `at`, the `count`th instruction of its block.
pub fn lower(insn: &Insn, at: i32, count: u16) -> Op {
    use Code::*;
    let Insn {
        code,
        rd,
        rs1,
        rs2,
        rs3,
        rm,
        imm,
        len,
        ..
    } = *insn;
    let op = Op {
        code,
        a: x_dest(rd),
        b: x(rs1),
        c: x(rs2),
        imm,
        ext: 0,
    };
    let return_address = ((at + i32::from(len)) as u32) << 16;
    let static_rounding = if matches!(rm, 1..=4) {
        STATIC_ROUNDING as i32
    } else {
        0
    };
    let fp = Op {
        imm: i32::from(rm) | static_rounding,
        ..op
    };
    match code {
        Lui | Auipc | Addi | Slti | Sltiu | Xori | Ori | Andi | Slli | Srli | Srai | Add | Sub
        | Sll | Slt | Sltu | Xor | Srl | Sra | Or | And | Addiw | Slliw | Srliw | Sraiw | Addw
        | Subw | Sllw | Srlw | Sraw | Mul | Mulh | Mulhsu | Mulhu | Div | Divu | Rem | Remu
        | Mulw | Divw | Divuw | Remw | Remuw
            if rd == 0 =>
        {
            plain(Nop)
        }
        Fence | FenceI => plain(Nop),
        Lui => Op { code: Li, ..op },
        Auipc => Op {
            code: La,
            imm: imm + at,
            ..op
        },
        Addi if rs1 == 0 => Op { code: Li, ..op },
        Addi if imm == 0 => Op { code: Mv, ..op },
        Add | Or | Xor | Sub if rs2 == 0 => Op { code: Mv, ..op },
        Add | Or | Xor if rs1 == 0 => Op {
            code: Mv,
            b: x(rs2),
            ..op
        },
        Addiw if imm == 0 => Op { code: Sextw, ..op },
        Jal if rd == 0 => jump(at + imm, count, 0),
        Jal => Op {
            c: count,
            imm: at + imm,
            ext: return_address,
            ..op
        },
        Jalr if rd == 0 => Op {
            code: Jr,
            c: count,
            ..op
        },
        Jalr => Op {
            c: count,
            ext: return_address,
            ..op
        },
        Beq | Bne | Blt | Bge | Bltu | Bgeu => Op {
            a: x(rs1),
            b: x(rs2),
            c: count,
            imm: at + imm,
            ..op
        },
        Sb | Sh | Sw | Sd => Op { a: x(rs2), ..op },
        Flw => Op { a: f(rd), ..op },
        Fld => Op {
            code: Ld,
            a: f(rd),
            ..op
        },
        Fsw => Op {
            code: Sw,
            a: f(rs2),
            ..op
        },
        Fsd => Op {
            code: Sd,
            a: f(rs2),
            ..op
        },
        Csrrwi | Csrrsi | Csrrci => Op {
            b: u16::from(rs1),
            ..op
        },
        FmaddS | FmsubS | FnmsubS | FnmaddS | FmaddD | FmsubD | FnmsubD | FnmaddD => Op {
            a: f(rd),
            b: f(rs1),
            c: f(rs2),
            ext: u32::from(f(rs3)),
            ..fp
        },
        FaddS | FsubS | FmulS | FdivS | FsqrtS | FaddD | FsubD | FmulD | FdivD | FsqrtD
        | FsgnjS | FsgnjnS | FsgnjxS | FminS | FmaxS | FsgnjD | FsgnjnD | FsgnjxD | FminD
        | FmaxD | FcvtSD | FcvtDS => {
            let copy = code == FsgnjD && rs1 == rs2;
            Op {
                code: if copy { Mv } else { code },
                a: f(rd),
                b: f(rs1),
                c: f(rs2),
                ..fp
            }
        }
        // Conversions to integers look at the mode themselves.
        FcvtWD | FcvtLD | FcvtWS | FcvtLS => Op {
            b: f(rs1),
            imm: i32::from(rm),
            ..op
        },
        FeqS | FltS | FleS | FeqD | FltD | FleD | FclassS | FclassD | FcvtWuS | FcvtLuS
        | FcvtWuD | FcvtLuD => Op {
            b: f(rs1),
            c: f(rs2),
            ..fp
        },
        FcvtSW | FcvtSWu | FcvtSL | FcvtSLu | FcvtDW | FcvtDWu | FcvtDL | FcvtDLu | FmvWX => {
            Op { a: f(rd), ..fp }
        }
        FmvXW => Op {
            code: Sextw,
            b: f(rs1),
            ..op
        },
        FmvXD => Op {
            code: Mv,
            b: f(rs1),
            ..op
        },
        FmvDX => Op {
            code: Mv,
            a: f(rd),
            ..op
        },
        Illegal => Op {
            ext: insn.bits,
            ..plain(Illegal)
        },
        _ => op,
    }
}
