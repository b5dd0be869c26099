//! Entry points for fuzzers: any input is fine, a panic is a bug.

use mem::{PAGE_SIZE, Page};

use crate::{AddressSpace, Counters, Exit, Hart, Prot, Sharing, disasm};

const BASE: u64 = 0x1000;
const BUDGET: u64 = 2000;

/// Decodes and prints every instruction of `bytes`.
pub fn decode(bytes: &[u8]) {
    for window in bytes.windows(4) {
        let bits = u32::from_le_bytes([window[0], window[1], window[2], window[3]]);
        let text = disasm(bits, BASE);
        assert!(!text.is_empty());
    }
}

/// Executes `bytes` as a program that may overwrite itself, in blocks and in single steps, and asserts that
/// both end the same way.
pub fn execute(bytes: &[u8]) {
    let run = |slice: u64| {
        let mut space = AddressSpace::new();
        let mut va = BASE;
        for chunk in bytes.chunks(PAGE_SIZE).take(4) {
            let prot = Prot::READ | Prot::WRITE | Prot::EXEC;
            space.map(va, Page::from_bytes(chunk), prot, Sharing::Private);
            va += PAGE_SIZE as u64;
        }
        let mut hart = Hart {
            pc: BASE,
            ..Hart::default()
        };
        // Registers that point into the program make its loads and stores succeed.
        for (i, register) in hart.x.iter_mut().enumerate().skip(1) {
            *register = BASE + i as u64 * 128;
        }
        let mut left = BUDGET;
        let exit = loop {
            let mut budget = slice.min(left);
            left -= budget;
            let exit = crate::run(&mut hart, &mut space, &mut budget, Counters::default());
            left += budget;
            if exit != Exit::Budget || left == 0 {
                break exit;
            }
        };
        (hart, exit, left)
    };
    assert_eq!(run(1), run(BUDGET));
}

#[cfg(test)]
mod tests {
    #[test]
    fn short_inputs_are_fine() {
        for len in 0..9 {
            super::decode(&[0xff; 9][..len]);
            super::execute(&[0x13; 9][..len]);
        }
    }
}
