//! Text of an instruction, for traces and oops reports: `addi a0,sp,16`.
//!
//! Compressed instructions are shown as what they stand for; there are no pseudo-instructions.

use std::fmt::Write;

use crate::decode::zicsr::csr;
use crate::decode::{a::amo, decode};
use crate::op::{Code, Insn};

const X: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4",
    "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4",
    "t5", "t6",
];
const F: [&str; 32] = [
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2",
    "fa3", "fa4", "fa5", "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9",
    "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
];
const ROUNDING: [&str; 8] = ["rne", "rtz", "rdn", "rup", "rmm", "?", "?", "dyn"];

/// The text of the instruction at `pc`, whose first two bytes are in the low half of `bits`.
#[must_use]
pub fn disasm(bits: u32, pc: u64) -> String {
    let insn = decode(bits);
    let mut text = mnemonic(&insn);
    // Writing to a string does not fail.
    let _ = operands(&insn, pc, &mut text);
    text
}

/// The name, from that of the [`Code`]: `FcvtWuD` is `fcvt.wu.d`.
fn mnemonic(insn: &Insn) -> String {
    use Code::*;
    let name = match insn.code {
        Illegal => {
            return if insn.len == 2 {
                ".half".to_owned()
            } else {
                ".word".to_owned()
            };
        }
        FenceI => return "fence.i".to_owned(),
        AmoW | AmoD => {
            let name = match i32::from(insn.bits.to_le_bytes()[3] >> 3) {
                amo::ADD => "amoadd",
                amo::SWAP => "amoswap",
                amo::XOR => "amoxor",
                amo::OR => "amoor",
                amo::AND => "amoand",
                amo::MIN => "amomin",
                amo::MAX => "amomax",
                amo::MINU => "amominu",
                _ => "amomaxu",
            };
            return format!("{name}.{}", if insn.code == AmoW { 'w' } else { 'd' });
        }
        code => format!("{code:?}"),
    };
    let is_float = name.starts_with('F') && !matches!(insn.code, Fence | Flw | Fsw | Fld | Fsd);
    let is_atomic = matches!(insn.code, LrW | LrD | ScW | ScD);
    let mut text = String::new();
    for (i, letter) in name.chars().enumerate() {
        if i > 0 && letter.is_uppercase() && (is_float || is_atomic) {
            text.push('.');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

fn operands(insn: &Insn, pc: u64, out: &mut String) -> std::fmt::Result {
    use Code::*;
    let x = |register: u8| X[usize::from(register)];
    let f = |register: u8| F[usize::from(register)];
    let Insn {
        rd,
        rs1,
        rs2,
        rs3,
        rm,
        imm,
        ..
    } = *insn;
    let target = pc.wrapping_add(imm as u64);
    let rounding = if rm == 7 {
        String::new()
    } else {
        format!(",{}", ROUNDING[usize::from(rm)])
    };
    match insn.code {
        Lui | Auipc => write!(out, " {},{:#x}", x(rd), imm as u32 >> 12),
        Jal => write!(out, " {},{target:#x}", x(rd)),
        Jalr | Lb | Lh | Lw | Ld | Lbu | Lhu | Lwu => write!(out, " {},{imm}({})", x(rd), x(rs1)),
        Beq | Bne | Blt | Bge | Bltu | Bgeu => write!(out, " {},{},{target:#x}", x(rs1), x(rs2)),
        Sb | Sh | Sw | Sd => write!(out, " {},{imm}({})", x(rs2), x(rs1)),
        Addi | Slti | Sltiu | Xori | Ori | Andi | Slli | Srli | Srai | Addiw | Slliw | Srliw
        | Sraiw => {
            write!(out, " {},{},{imm}", x(rd), x(rs1))
        }
        Fence | FenceI | Ecall | Ebreak => Ok(()),
        Csrrw | Csrrs | Csrrc => write!(out, " {},{},{}", x(rd), csr_name(imm), x(rs1)),
        Csrrwi | Csrrsi | Csrrci => write!(out, " {},{},{rs1}", x(rd), csr_name(imm)),
        LrW | LrD => write!(out, " {},({})", x(rd), x(rs1)),
        ScW | ScD | AmoW | AmoD => write!(out, " {},{},({})", x(rd), x(rs2), x(rs1)),
        Flw | Fld => write!(out, " {},{imm}({})", f(rd), x(rs1)),
        Fsw | Fsd => write!(out, " {},{imm}({})", f(rs2), x(rs1)),
        FmaddS | FmsubS | FnmsubS | FnmaddS | FmaddD | FmsubD | FnmsubD | FnmaddD => {
            write!(out, " {},{},{},{}{rounding}", f(rd), f(rs1), f(rs2), f(rs3))
        }
        FsqrtS | FsqrtD | FcvtSD => write!(out, " {},{}{rounding}", f(rd), f(rs1)),
        FcvtDS => write!(out, " {},{}", f(rd), f(rs1)),
        FaddS | FsubS | FmulS | FdivS | FaddD | FsubD | FmulD | FdivD => {
            write!(out, " {},{},{}{rounding}", f(rd), f(rs1), f(rs2))
        }
        FsgnjS | FsgnjnS | FsgnjxS | FminS | FmaxS | FsgnjD | FsgnjnD | FsgnjxD | FminD | FmaxD => {
            write!(out, " {},{},{}", f(rd), f(rs1), f(rs2))
        }
        FeqS | FltS | FleS | FeqD | FltD | FleD => write!(out, " {},{},{}", x(rd), f(rs1), f(rs2)),
        FclassS | FclassD | FmvXW | FmvXD => write!(out, " {},{}", x(rd), f(rs1)),
        FcvtWS | FcvtWuS | FcvtLS | FcvtLuS | FcvtWD | FcvtWuD | FcvtLD | FcvtLuD => {
            write!(out, " {},{}{rounding}", x(rd), f(rs1))
        }
        FcvtDW | FcvtDWu | FmvWX | FmvDX => write!(out, " {},{}", f(rd), x(rs1)),
        FcvtSW | FcvtSWu | FcvtSL | FcvtSLu | FcvtDL | FcvtDLu => {
            write!(out, " {},{}{rounding}", f(rd), x(rs1))
        }
        Illegal => write!(out, " {:#x}", insn.bits),
        // Three integer registers.
        _ => write!(out, " {},{},{}", x(rd), x(rs1), x(rs2)),
    }
}

fn csr_name(number: i32) -> &'static str {
    match number {
        csr::FFLAGS => "fflags",
        csr::FRM => "frm",
        csr::FCSR => "fcsr",
        csr::CYCLE => "cycle",
        csr::TIME => "time",
        _ => "instret",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_have_their_manual_names() {
        let table = [
            (0x0101_0513, "addi a0,sp,16"),
            (0x0000_853e, "add a0,zero,a5"),
            (0xfe05_1ee3, "bne a0,zero,0xffc"),
            (0x0000_0073, "ecall"),
            (0x1005_252f, "lr.w a0,(a0)"),
            (0x0cb5_252f, "amoswap.w a0,a1,(a0)"),
            (0x02b5_7553, "fadd.d fa0,fa0,fa1"),
            (0xc205_1553, "fcvt.w.d a0,fa0,rtz"),
            (0x0030_2573, "csrrs a0,fcsr,zero"),
            (0x0000_0000, ".half 0x0"),
        ];
        for (bits, text) in table {
            assert_eq!(disasm(bits, 0x1000), text);
        }
    }
}
