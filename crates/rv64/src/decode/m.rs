//! M: integer multiplication and division (manual chapter 13).

use super::Word;
use crate::op::{Code, Insn};

pub(super) fn decode(word: Word) -> Option<Insn> {
    use Code::*;
    let wide = [Mul, Mulh, Mulhsu, Mulhu, Div, Divu, Rem, Remu];
    let code = match (word.opcode(), word.funct3()) {
        (0x33, funct3) => wide[funct3 as usize],
        (_, 0) => Mulw,
        (_, 4) => Divw,
        (_, 5) => Divuw,
        (_, 6) => Remw,
        (_, 7) => Remuw,
        _ => return None,
    };
    Some(word.insn(code, 0))
}
