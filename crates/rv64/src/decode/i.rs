//! RV64I (manual chapters 2 and 4) and Zifencei (chapter 6).

use super::Word;
use crate::op::{Code, Insn};

pub(super) fn decode(word: Word) -> Option<Insn> {
    use Code::*;
    let funct3 = word.funct3() as usize;
    match word.opcode() {
        0x37 => Some(word.insn(Lui, word.imm_u())),
        0x17 => Some(word.insn(Auipc, word.imm_u())),
        0x6f => Some(word.insn(Jal, word.imm_j())),
        0x67 if funct3 == 0 => Some(word.insn(Jalr, word.imm_i())),
        0x63 => {
            let code = [
                Some(Beq),
                Some(Bne),
                None,
                None,
                Some(Blt),
                Some(Bge),
                Some(Bltu),
                Some(Bgeu),
            ];
            Some(word.insn(code[funct3]?, word.imm_b()))
        }
        0x03 => {
            let code = [
                Some(Lb),
                Some(Lh),
                Some(Lw),
                Some(Ld),
                Some(Lbu),
                Some(Lhu),
                Some(Lwu),
                None,
            ];
            Some(word.insn(code[funct3]?, word.imm_i()))
        }
        0x23 => {
            let code = [
                Some(Sb),
                Some(Sh),
                Some(Sw),
                Some(Sd),
                None,
                None,
                None,
                None,
            ];
            Some(word.insn(code[funct3]?, word.imm_s()))
        }
        0x13 => immediate(word),
        0x1b => immediate_word(word),
        0x33 => register(word),
        0x3b => register_word(word),
        0x0f => fence(word),
        0x73 => match word.0 {
            0x0000_0073 => Some(word.insn(Ecall, 0)),
            0x0010_0073 => Some(word.insn(Ebreak, 0)),
            _ => None,
        },
        _ => None,
    }
}

fn immediate(word: Word) -> Option<Insn> {
    use Code::*;
    let shift = word.imm_i() & 63;
    match (word.funct3(), word.0 >> 26) {
        (0, _) => Some(word.insn(Addi, word.imm_i())),
        (1, 0) => Some(word.insn(Slli, shift)),
        (2, _) => Some(word.insn(Slti, word.imm_i())),
        (3, _) => Some(word.insn(Sltiu, word.imm_i())),
        (4, _) => Some(word.insn(Xori, word.imm_i())),
        (5, 0) => Some(word.insn(Srli, shift)),
        (5, 0x10) => Some(word.insn(Srai, shift)),
        (6, _) => Some(word.insn(Ori, word.imm_i())),
        (7, _) => Some(word.insn(Andi, word.imm_i())),
        _ => None,
    }
}

fn immediate_word(word: Word) -> Option<Insn> {
    use Code::*;
    let shift = word.imm_i() & 31;
    match (word.funct3(), word.funct7()) {
        (0, _) => Some(word.insn(Addiw, word.imm_i())),
        (1, 0) => Some(word.insn(Slliw, shift)),
        (5, 0) => Some(word.insn(Srliw, shift)),
        (5, 0x20) => Some(word.insn(Sraiw, shift)),
        _ => None,
    }
}

fn register(word: Word) -> Option<Insn> {
    use Code::*;
    let code = match (word.funct7(), word.funct3()) {
        (0, 0) => Add,
        (0, 1) => Sll,
        (0, 2) => Slt,
        (0, 3) => Sltu,
        (0, 4) => Xor,
        (0, 5) => Srl,
        (0, 6) => Or,
        (0, 7) => And,
        (0x20, 0) => Sub,
        (0x20, 5) => Sra,
        _ => return None,
    };
    Some(word.insn(code, 0))
}

fn register_word(word: Word) -> Option<Insn> {
    use Code::*;
    let code = match (word.funct7(), word.funct3()) {
        (0, 0) => Addw,
        (0, 1) => Sllw,
        (0, 5) => Srlw,
        (0x20, 0) => Subw,
        (0x20, 5) => Sraw,
        _ => return None,
    };
    Some(word.insn(code, 0))
}

/// Reserved fields of fences are ignored, as the manual asks for.
fn fence(word: Word) -> Option<Insn> {
    match word.funct3() {
        0 => Some(word.insn(Code::Fence, 0)),
        1 => Some(word.insn(Code::FenceI, 0)),
        _ => None,
    }
}
