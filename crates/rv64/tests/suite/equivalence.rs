//! Blocks do what single steps do, whatever the bytes are: random memory is executed in slices of one
//! instruction and of many, and registers, exits, counts and memory must agree.

use mem::{PAGE_SIZE, Page};
use rv64::{AddressSpace, Counters, Exit, Hart, Prot, Sharing};

use super::assemble::{b_type, i_type, ld, r_type, sd};
use super::rng::Rng;

const BASE: u64 = 0x4000;
const PAGES: u64 = 4;

struct Machine {
    hart: Hart,
    space: AddressSpace,
    left: u64,
}

/// What memory is filled with.
type Fill = fn(&mut Rng, &mut Vec<u8>);

/// Mostly 16-bit patterns, which are nearly all valid; 32-bit ones with a valid opcode.
fn any(rng: &mut Rng, bytes: &mut Vec<u8>) {
    if rng.below(3) == 0 {
        let opcode = rng.one_of(&[
            0x03, 0x07, 0x0f, 0x13, 0x17, 0x1b, 0x23, 0x27, 0x2f, 0x33, 0x37, 0x3b, 0x43, 0x53,
            0x63, 0x67, 0x6f, 0x73,
        ]);
        bytes.extend((rng.next() as u32 & !0x7f | opcode).to_le_bytes());
    } else {
        bytes.extend((rng.next() as u16).to_le_bytes());
    }
}

/// Arithmetic on six registers, so that nearly everything depends on something near; rotations spread
/// over other instructions; now and then an access that may fault, or a branch.
fn arithmetic(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let mut put = |word: u32| bytes.extend(word.to_le_bytes());
    let register = |rng: &mut Rng| 5 + rng.below(6) as u32;
    let compute = |rng: &mut Rng| {
        let (rd, rs1, rs2) = (register(rng), register(rng), register(rng));
        let word = 8 * rng.below(2) as u32;
        match rng.below(4) {
            0 => r_type(0x33, rd, rng.below(8) as u32, rs1, rs2, 0),
            1 => r_type(0x33 + word, rd, 0, rs1, rs2, 0x20 * rng.below(2) as u32),
            2 => i_type(0x13 + word, rd, 0, rs1, rng.below(4096) as i32 - 2048),
            _ => i_type(
                0x13,
                rd,
                rng.one_of(&[4, 6, 7]),
                rs1,
                rng.below(64) as i32 - 32,
            ),
        }
    };
    match rng.below(12) {
        0..4 => {
            let word = 8 * rng.below(2) as u32;
            let (source, right, left) = (register(rng), register(rng), register(rng));
            let amount = 1 + rng.below(31) as i32;
            let shifts = [
                i_type(0x13 + word, right, 5, source, amount),
                i_type(0x13 + word, left, 1, source, 32 - amount),
            ];
            let first = rng.below(2) as usize;
            let or = r_type(0x33, register(rng), 6, right, left, 0);
            for part in [shifts[first], shifts[1 - first], or] {
                put(part);
                for _ in 0..rng.below(3) {
                    put(compute(rng));
                }
            }
        }
        4 => {
            let (index, source) = (register(rng), register(rng));
            put(i_type(0x13, index, 1, source, 32));
            put(i_type(0x13, index, 5, index, 29 + rng.below(4) as i32));
            put(r_type(0x33, register(rng), 0, register(rng), index, 0));
        }
        5 => put(ld(register(rng), register(rng), 8 * rng.below(8) as i32)),
        6 => put(sd(register(rng), register(rng), 8 * rng.below(8) as i32)),
        7 => put(b_type(
            rng.one_of(&[0, 1, 4, 5, 6, 7]),
            register(rng),
            register(rng),
            8,
        )),
        _ => put(compute(rng)),
    }
}

/// Memory full of instructions, executable and writable, with a hole behind it.
fn machine(seed: u64, fill: Fill) -> Machine {
    let mut rng = Rng::new(seed);
    let mut space = AddressSpace::new();
    for page in 0..PAGES {
        let mut bytes = Vec::with_capacity(PAGE_SIZE);
        while bytes.len() < PAGE_SIZE - 4 {
            fill(&mut rng, &mut bytes);
        }
        bytes.resize(PAGE_SIZE, rng.next() as u8);
        let prot = if page == 3 {
            Prot::READ | Prot::WRITE
        } else {
            Prot::READ | Prot::WRITE | Prot::EXEC
        };
        space.map(
            BASE + page * PAGE_SIZE as u64,
            Page::from_bytes(&bytes),
            prot,
            Sharing::Private,
        );
    }
    let mut hart = Hart::default();
    for register in 1..32 {
        hart.x[register] = match rng.below(3) {
            0 => rng.integer(),
            _ => BASE + rng.below(PAGES * PAGE_SIZE as u64),
        };
        hart.f[register] = rng.double();
    }
    hart.pc = BASE + rng.below(3 * PAGE_SIZE as u64);
    Machine {
        hart,
        space,
        left: 3000,
    }
}

/// Runs in slices; an exit that is not the end of a slice is noted, and execution goes on behind it.
fn run(machine: &mut Machine, slice: u64, exits: &mut Vec<(Exit, u64, u64)>) {
    while machine.left > 0 && exits.len() < 20 {
        let given = slice.min(machine.left);
        let mut budget = given;
        let counters = Counters {
            time: 1,
            time_per_65536: 0,
            instret: 3000 - machine.left,
        };
        let exit = rv64::run(&mut machine.hart, &mut machine.space, &mut budget, counters);
        machine.left -= given - budget;
        if exit == Exit::Budget {
            assert_eq!(budget, 0, "a slice ended early");
            continue;
        }
        exits.push((exit, machine.hart.pc, machine.left));
        // Somewhere else, as a signal handler would be.
        let next = machine.hart.pc.wrapping_mul(0x9e37_79b9) ^ (exits.len() as u64 * 0x777);
        machine.hart.pc = BASE + next % (3 * PAGE_SIZE as u64);
    }
}

fn check(seed: u64, fill: Fill) {
    let [mut steps, mut blocks, mut odd] = [0; 3].map(|_| machine(seed, fill));
    let (mut a, mut b, mut c) = (Vec::new(), Vec::new(), Vec::new());
    run(&mut steps, 1, &mut a);
    run(&mut blocks, 1 << 20, &mut b);
    run(&mut odd, 101, &mut c);
    assert_eq!(a, b, "seed {seed}: exits of steps and blocks");
    assert_eq!(a, c, "seed {seed}: exits of steps and short slices");
    for other in [&mut blocks, &mut odd] {
        assert_eq!(steps.hart, other.hart, "seed {seed}");
        for page in 0..PAGES {
            let mut pair = [[0; PAGE_SIZE]; 2];
            let va = BASE + page * PAGE_SIZE as u64;
            steps.space.read(va, &mut pair[0]).unwrap();
            other.space.read(va, &mut pair[1]).unwrap();
            assert!(pair[0] == pair[1], "seed {seed}: memory at {va:#x}");
        }
    }
}

#[test]
fn blocks_do_what_single_steps_do() {
    for seed in 0..3000 {
        check(seed, any);
    }
}

#[test]
fn arithmetic_may_be_done_in_another_order() {
    for seed in 0..3000 {
        check(seed, arithmetic);
    }
}

#[test]
fn any_bits_decode() {
    for bits in 0..=u16::MAX {
        let insn = rv64::decode(u32::from(bits));
        assert_eq!(insn.len, if bits & 3 == 3 { 4 } else { 2 });
    }
    let mut rng = Rng::new(1);
    for _ in 0..1_000_000 {
        let bits = rng.next() as u32 | 3;
        assert_eq!(rv64::decode(bits).len, 4);
    }
}
