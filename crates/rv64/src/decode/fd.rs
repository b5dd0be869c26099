//! F and D: single- and double-precision floating point (manual chapters 20 and 21).

use super::Word;
use crate::op::{Code, Insn};

pub(super) fn decode(word: Word) -> Option<Insn> {
    use Code::*;
    match (word.opcode(), word.funct3()) {
        (0x07, 2) => return Some(word.insn(Flw, word.imm_i())),
        (0x07, 3) => return Some(word.insn(Fld, word.imm_i())),
        (0x27, 2) => return Some(word.insn(Fsw, word.imm_s())),
        (0x27, 3) => return Some(word.insn(Fsd, word.imm_s())),
        (0x07 | 0x27, _) => return None,
        _ => {}
    }
    // The format field: 0 is S, 1 is D.
    let double = match word.0 >> 25 & 3 {
        0 => false,
        1 => true,
        _ => return None,
    };
    let code = match word.opcode() {
        0x43 => [FmaddS, FmaddD],
        0x47 => [FmsubS, FmsubD],
        0x4b => [FnmsubS, FnmsubD],
        0x4f => [FnmaddS, FnmaddD],
        _ => return operation(word, double),
    };
    rounded(word, code[usize::from(double)])
}

/// Rounding modes 5 and 6 are reserved; 7 means the one in `frm`.
fn rounded(word: Word, code: Code) -> Option<Insn> {
    (!matches!(word.funct3(), 5 | 6)).then(|| word.insn(code, 0))
}

/// The OP-FP opcode.
fn operation(word: Word, double: bool) -> Option<Insn> {
    use Code::*;
    let rs2 = word.rs2();
    let pick = |single, other| if double { other } else { single };
    let by_rs2 = |codes: [Code; 4]| codes.get(usize::from(rs2)).copied();
    match word.0 >> 27 {
        0x00 => rounded(word, pick(FaddS, FaddD)),
        0x01 => rounded(word, pick(FsubS, FsubD)),
        0x02 => rounded(word, pick(FmulS, FmulD)),
        0x03 => rounded(word, pick(FdivS, FdivD)),
        0x0b if rs2 == 0 => rounded(word, pick(FsqrtS, FsqrtD)),
        0x08 if rs2 == u8::from(!double) => rounded(word, pick(FcvtSD, FcvtDS)),
        0x18 => {
            let codes = [
                [FcvtWS, FcvtWuS, FcvtLS, FcvtLuS],
                [FcvtWD, FcvtWuD, FcvtLD, FcvtLuD],
            ];
            rounded(word, by_rs2(codes[usize::from(double)])?)
        }
        0x1a => {
            let codes = [
                [FcvtSW, FcvtSWu, FcvtSL, FcvtSLu],
                [FcvtDW, FcvtDWu, FcvtDL, FcvtDLu],
            ];
            rounded(word, by_rs2(codes[usize::from(double)])?)
        }
        funct5 => {
            let code = match (funct5, word.funct3()) {
                (0x04, 0) => pick(FsgnjS, FsgnjD),
                (0x04, 1) => pick(FsgnjnS, FsgnjnD),
                (0x04, 2) => pick(FsgnjxS, FsgnjxD),
                (0x05, 0) => pick(FminS, FminD),
                (0x05, 1) => pick(FmaxS, FmaxD),
                (0x14, 0) => pick(FleS, FleD),
                (0x14, 1) => pick(FltS, FltD),
                (0x14, 2) => pick(FeqS, FeqD),
                (0x1c, 0) if rs2 == 0 => pick(FmvXW, FmvXD),
                (0x1c, 1) if rs2 == 0 => pick(FclassS, FclassD),
                (0x1e, 0) if rs2 == 0 => pick(FmvWX, FmvDX),
                _ => return None,
            };
            Some(word.insn(code, 0))
        }
    }
}
