//! A browser's engine runs a function in a quickly made form first and optimises it beside, when it has
//! been busy in it. For a function as large as the interpreter's loop that takes a while: it is better
//! spent while the first program is still being downloaded.

use mem::{PAGE_SIZE, Page};

use crate::hart::{Counters, Hart};
use crate::mmu::{AddressSpace, Prot, Sharing};
use crate::run::run;

/// `addi x5, x5, -1`, and `bne x5, x0` back to it.
const LOOP: [u32; 2] = [0xfff2_8293, 0xfe02_9ee3];
const AT: u64 = PAGE_SIZE as u64;
/// Enough to be noticed, and too little to be felt: less than a millisecond.
const TURNS: u64 = 20_000;

/// Runs a small program of no effect.
pub fn warm_up() {
    let mut space = AddressSpace::new();
    let code: Vec<u8> = LOOP.iter().flat_map(|insn| insn.to_le_bytes()).collect();
    space.map(
        AT,
        Page::from_bytes(&code),
        Prot::READ | Prot::EXEC,
        Sharing::Private,
    );
    let mut hart = Hart {
        pc: AT,
        ..Hart::default()
    };
    hart.x[5] = TURNS;
    let mut budget = 2 * TURNS;
    run(&mut hart, &mut space, &mut budget, Counters::default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_counts_down() {
        let decoded = LOOP.map(crate::decode);
        assert_eq!(crate::disasm(LOOP[0], AT), "addi t0,t0,-1");
        assert_eq!(decoded[1].imm, -4);
        warm_up();
    }
}
