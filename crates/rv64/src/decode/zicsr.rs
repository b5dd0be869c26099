//! Zicsr (manual chapter 7): the control and status registers that user mode has.

use super::Word;
use crate::op::{Code, Insn};

/// Register numbers.
pub mod csr {
    pub const FFLAGS: i32 = 0x001;
    pub const FRM: i32 = 0x002;
    pub const FCSR: i32 = 0x003;
    pub const CYCLE: i32 = 0xc00;
    pub const TIME: i32 = 0xc01;
    pub const INSTRET: i32 = 0xc02;
}

pub(super) fn decode(word: Word) -> Option<Insn> {
    use Code::*;
    let code = [
        None,
        Some(Csrrw),
        Some(Csrrs),
        Some(Csrrc),
        None,
        Some(Csrrwi),
        Some(Csrrsi),
        Some(Csrrci),
    ];
    let code = code[word.funct3() as usize]?;
    let number = (word.0 >> 20) as i32;
    // `csrrs` and `csrrc` with x0 (or immediate 0) do not write, so they may read a read-only register.
    let writes = matches!(code, Csrrw | Csrrwi) || word.rs1() != 0;
    match number {
        csr::FFLAGS | csr::FRM | csr::FCSR => {}
        csr::CYCLE | csr::TIME | csr::INSTRET if !writes => {}
        _ => return None,
    }
    Some(word.insn(code, number))
}
