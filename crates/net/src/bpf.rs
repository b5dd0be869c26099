//! Programs of the classic packet filter (bpf(4), `Documentation/networking/filter.rst`), interpreted.
//!
//! A program looks at the bytes of a packet and says how many of them are wanted; 0 is none. Loads beyond the
//! packet end it with 0. Some offsets are not of the packet but say things about it ([`About`]).

use abi::{Errno, Result};

/// Instructions at most.
const LEN_MAX: usize = 4096;
/// Words of scratch memory.
const MEMORY: usize = 16;

/// Offsets that are not in the packet: about it, from its network header on, from its link header on.
const ABOUT: u32 = 0xffff_f000;
const NETWORK: u32 = 0xfff0_0000;
const LINK: u32 = 0xffe0_0000;

/// An instruction (`struct sock_filter`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How many to skip when it is so.
    pub yes: u8,
    /// How many to skip when it is not.
    pub no: u8,
    /// Operand.
    pub k: u32,
}

/// What a program may ask beside the bytes.
#[derive(Clone, Copy, Default, Debug)]
pub struct About {
    /// Ethernet type.
    pub protocol: u16,
    /// `PACKET_…`.
    pub kind: u8,
    /// Index of the link.
    pub index: u32,
    /// `ARPHRD_…`.
    pub hardware: u16,
    /// A random number.
    pub dice: u32,
    /// Where the network header is.
    pub network: usize,
}

/// A program that can be run: it ends, and uses only memory it has.
#[derive(Clone, Debug)]
pub struct Program(Vec<Instruction>);

impl Program {
    /// Checks a program (bpf_check_classic).
    pub fn new(instructions: Vec<Instruction>) -> Result<Program> {
        let len = instructions.len();
        if len == 0 || len > LEN_MAX {
            return Err(Errno::EINVAL);
        }
        for (at, one) in instructions.iter().enumerate() {
            let behind = len - at - 1;
            let fits = match one.code & 7 {
                // ld, ldx: of a size and kind there is, from memory there is.
                0 | 1 => match one.code {
                    0x20 | 0x28 | 0x30 | 0x40 | 0x48 | 0x50 | 0x80 | 0x81 | 0xb1 | 0x00 | 0x01 => {
                        true
                    }
                    0x60 | 0x61 => (one.k as usize) < MEMORY,
                    _ => false,
                },
                2 | 3 => one.code & !7 == 0 && (one.k as usize) < MEMORY,
                4 => match one.code & 0xf0 {
                    0x30 | 0x90 if one.code & 8 == 0 => one.k != 0,
                    0x60 | 0x70 if one.code & 8 == 0 => one.k < 32,
                    operation => operation <= 0xa0 && one.code & 0xff00 == 0,
                },
                5 if one.code == 5 => (one.k as usize) < behind,
                5 => {
                    matches!(one.code & !8, 0x15 | 0x25 | 0x35 | 0x45)
                        && usize::from(one.yes.max(one.no)) < behind
                }
                6 => matches!(one.code, 0x06 | 0x16),
                _ => matches!(one.code, 0x07 | 0x87),
            };
            if !fits {
                return Err(Errno::EINVAL);
            }
        }
        let ends = instructions.last().is_some_and(|one| one.code & 7 == 6);
        if ends {
            Ok(Program(instructions))
        } else {
            Err(Errno::EINVAL)
        }
    }

    /// How many bytes of a packet are wanted.
    #[must_use]
    pub fn run(&self, packet: &[u8], about: &About) -> u32 {
        let (mut a, mut x, mut memory, mut at) = (0u32, 0u32, [0u32; MEMORY], 0);
        while let Some(one) = self.0.get(at) {
            at += 1;
            let operand = if one.code & 8 == 0 { one.k } else { x };
            match one.code & 7 {
                0 | 1 => {
                    let loaded = match one.code {
                        0x00 | 0x01 => Some(one.k),
                        0x60 | 0x61 => Some(memory[one.k as usize % MEMORY]),
                        0x80 | 0x81 => Some(packet.len() as u32),
                        // The length of an IPv4 header.
                        0xb1 => load(packet, about, one.k, 1).map(|byte| (byte & 15) * 4),
                        code => {
                            let size = match code & 0x18 {
                                0x00 => 4,
                                0x08 => 2,
                                _ => 1,
                            };
                            let from = if code & 0x40 == 0 { 0 } else { x };
                            load(packet, about, one.k.wrapping_add(from), size)
                        }
                    };
                    match loaded {
                        Some(value) if one.code & 7 == 0 => a = value,
                        Some(value) => x = value,
                        None => return 0,
                    }
                }
                2 => memory[one.k as usize % MEMORY] = a,
                3 => memory[one.k as usize % MEMORY] = x,
                4 => match compute(one.code & 0xf0, a, operand) {
                    Some(value) => a = value,
                    None => return 0,
                },
                5 => {
                    let is_so = match one.code & 0xf0 {
                        0x00 => {
                            at += one.k as usize;
                            continue;
                        }
                        0x10 => a == operand,
                        0x20 => a > operand,
                        0x30 => a >= operand,
                        _ => a & operand != 0,
                    };
                    at += usize::from(if is_so { one.yes } else { one.no });
                }
                6 => return if one.code & 0x10 == 0 { one.k } else { a },
                _ if one.code & 0x80 == 0 => x = a,
                _ => a = x,
            }
        }
        0
    }
}

/// Arithmetic; nothing when it divides by 0.
fn compute(operation: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match operation {
        0x00 => a.wrapping_add(operand),
        0x10 => a.wrapping_sub(operand),
        0x20 => a.wrapping_mul(operand),
        0x30 => a.checked_div(operand)?,
        0x40 => a | operand,
        0x50 => a & operand,
        0x60 => a.wrapping_shl(operand),
        0x70 => a.wrapping_shr(operand),
        0x80 => a.wrapping_neg(),
        0x90 => a.checked_rem(operand)?,
        _ => a ^ operand,
    })
}

/// Loads up to four bytes, or what an offset stands for.
fn load(packet: &[u8], about: &About, at: u32, size: usize) -> Option<u32> {
    let from = match at {
        ABOUT.. => {
            return Some(match at - ABOUT {
                0 => u32::from(about.protocol),
                4 => u32::from(about.kind),
                8 => about.index,
                28 => u32::from(about.hardware),
                56 => about.dice,
                // No tag of a VLAN, no mark, one processor.
                _ => 0,
            });
        }
        NETWORK.. => about.network + (at - NETWORK) as usize,
        LINK.. => (at - LINK) as usize,
        at => at as usize,
    };
    let bytes = packet.get(from..from.checked_add(size)?)?;
    Some(
        bytes
            .iter()
            .fold(0, |all, &byte| all << 8 | u32::from(byte)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(text: &[(u16, u8, u8, u32)]) -> Result<Program> {
        let one = |&(code, yes, no, k): &(u16, u8, u8, u32)| Instruction { code, yes, no, k };
        Program::new(text.iter().map(one).collect())
    }

    /// What `tcpdump -dd tcp port 80` prints for Ethernet, without its IPv6 part.
    const PORT_80: &[(u16, u8, u8, u32)] = &[
        (0x28, 0, 0, 12),
        (0x15, 0, 10, 0x800),
        (0x30, 0, 0, 23),
        (0x15, 0, 8, 6),
        (0x28, 0, 0, 20),
        (0x45, 6, 0, 0x1fff),
        (0xb1, 0, 0, 14),
        (0x48, 0, 0, 14),
        (0x15, 2, 0, 80),
        (0x48, 0, 0, 16),
        (0x15, 0, 1, 80),
        (0x06, 0, 0, 0x40000),
        (0x06, 0, 0, 0),
    ];

    fn segment(from: u16, to: u16) -> Vec<u8> {
        let mut frame = vec![0; 54];
        frame[12..14].copy_from_slice(&[8, 0]);
        (frame[14], frame[23]) = (0x45, 6);
        frame[34..36].copy_from_slice(&from.to_be_bytes());
        frame[36..38].copy_from_slice(&to.to_be_bytes());
        frame
    }

    #[test]
    fn a_filter_for_a_port() {
        let filter = program(PORT_80).unwrap();
        let about = About::default();
        assert_eq!(filter.run(&segment(80, 5), &about), 0x40000);
        assert_eq!(filter.run(&segment(5, 80), &about), 0x40000);
        assert_eq!(filter.run(&segment(5, 81), &about), 0);
        // A fragment has no ports, and what is cut short matches nothing.
        let mut fragment = segment(80, 80);
        fragment[21] = 1;
        assert_eq!(filter.run(&fragment, &about), 0);
        assert_eq!(filter.run(&segment(80, 80)[..30], &about), 0);
    }

    #[test]
    fn arithmetic_memory_and_what_is_said_about_a_packet() {
        let about = About {
            kind: 4,
            network: 14,
            ..About::default()
        };
        // ld #7; st M[3]; ld type; ldx M[3]; add x; mul #2; ret a
        let sum = [
            (0x00, 0, 0, 7),
            (0x02, 0, 0, 3),
            (0x20, 0, 0, ABOUT + 4),
            (0x61, 0, 0, 3),
            (0x0c, 0, 0, 0),
            (0x24, 0, 0, 2),
            (0x16, 0, 0, 0),
        ];
        assert_eq!(program(&sum).unwrap().run(&[], &about), 22);
        // The first byte of the network header.
        let first = [(0x30, 0, 0, NETWORK), (0x16, 0, 0, 0)];
        assert_eq!(program(&first).unwrap().run(&segment(1, 2), &about), 0x45);
        let divides = [(0x00, 0, 0, 7), (0x3c, 0, 0, 0), (0x16, 0, 0, 0)];
        assert_eq!(program(&divides).unwrap().run(&[], &about), 0);
    }

    #[test]
    fn programs_that_do_not_end_or_reach_beyond_are_refused() {
        for text in [
            &[][..],
            &[(0x00, 0, 0, 0)],
            &[(0x05, 0, 0, 1), (0x06, 0, 0, 0)],
            &[(0x15, 1, 0, 0), (0x06, 0, 0, 0)],
            &[(0x02, 0, 0, 16), (0x06, 0, 0, 0)],
            &[(0x34, 0, 0, 0), (0x06, 0, 0, 0)],
            &[(0x74, 0, 0, 32), (0x06, 0, 0, 0)],
            &[(0x99, 0, 0, 0), (0x06, 0, 0, 0)],
        ] {
            assert_eq!(program(text).err(), Some(Errno::EINVAL), "{text:?}");
        }
    }

    /// Whatever is accepted runs to its end.
    #[test]
    fn any_program_ends() {
        let rng = clock::Rng::new(1);
        let packet = segment(80, 80);
        for _ in 0..20_000 {
            let one = |_| {
                let bits = rng.next_u64();
                Instruction {
                    code: (bits & 0xff) as u16,
                    yes: (bits >> 8 & 3) as u8,
                    no: (bits >> 16 & 3) as u8,
                    k: (bits >> 32) as u32 >> (bits >> 24 & 31),
                }
            };
            let mut text: Vec<Instruction> = (0..6).map(one).collect();
            text.push(Instruction {
                code: 6,
                yes: 0,
                no: 0,
                k: 1,
            });
            if let Ok(program) = Program::new(text) {
                let _ = program.run(&packet, &About::default());
            }
        }
    }
}
