//! A: atomic instructions (manual chapter 14). The ordering bits have no effect: there is one hart.

use super::Word;
use crate::op::{Code, Insn};

/// `funct5` of the read-modify-write instructions.
pub mod amo {
    pub const ADD: i32 = 0;
    pub const SWAP: i32 = 1;
    pub const XOR: i32 = 4;
    pub const OR: i32 = 8;
    pub const AND: i32 = 12;
    pub const MIN: i32 = 16;
    pub const MAX: i32 = 20;
    pub const MINU: i32 = 24;
    pub const MAXU: i32 = 28;
}

pub(super) fn decode(word: Word) -> Option<Insn> {
    let wide = match word.funct3() {
        2 => false,
        3 => true,
        _ => return None,
    };
    let funct5 = (word.0 >> 27) as i32;
    let code = match funct5 {
        2 if word.rs2() != 0 => return None,
        2 => [Code::LrW, Code::LrD],
        3 => [Code::ScW, Code::ScD],
        amo::ADD
        | amo::SWAP
        | amo::XOR
        | amo::OR
        | amo::AND
        | amo::MIN
        | amo::MAX
        | amo::MINU
        | amo::MAXU => [Code::AmoW, Code::AmoD],
        _ => return None,
    };
    Some(word.insn(code[usize::from(wide)], funct5))
}
