//! The program of the `hello-world` image: a static riscv64 ELF file, made here instruction by
//! instruction, so that building it needs no cross compiler and always gives the same bytes.
//!
//! It writes its message to standard output and exits: 0 when all of it was written, 1 when not.
//! Sources: the RISC-V unprivileged specification (RV64I encodings), the ELF-64 object format.

const MESSAGE: &str = "
Hello from Drydock!
If you can read this, everything between your keyboard and a container works.

Here is what just happened:
 1. The docker command you typed sent a request to the Docker Engine of this node.
 2. The engine looked for the \"hello-world\" image, and pulled it if it was missing:
    a manifest, a config and one layer, each checked against its digest.
 3. The engine made a container out of it: namespaces, a control group, and a root
    file system with exactly one file in it.
 4. The kernel ran that file, a riscv64 program of a few dozen instructions. It wrote
    this text, and your terminal shows it.

No server was involved: node, kernel and engine run in this tab (or in the drydockd
process, if that is where you are).

For something bigger, try a whole Debian:
 $ docker run -it --rm debian bash

";

/// Where the program is loaded; the customary address of static RISC-V programs.
const BASE: u64 = 0x10000;
const HEADERS_SIZE: u64 = 64 + 56;

const ZERO: u32 = 0;
const A0: u32 = 10;
const A1: u32 = 11;
const A2: u32 = 12;
const A7: u32 = 17;
const S0: u32 = 8;
const S1: u32 = 9;

const SYS_WRITE: i32 = 64;
const SYS_EXIT_GROUP: i32 = 94;

/// `addi rd, rs1, imm`
fn addi(rd: u32, rs1: u32, imm: i32) -> u32 {
    (imm as u32 & 0xfff) << 20 | rs1 << 15 | rd << 7 | 0x13
}

/// `add rd, rs1, rs2`
fn add(rd: u32, rs1: u32, rs2: u32) -> u32 {
    rs2 << 20 | rs1 << 15 | rd << 7 | 0x33
}

/// `sub rd, rs1, rs2`
fn sub(rd: u32, rs1: u32, rs2: u32) -> u32 {
    0x20 << 25 | rs2 << 20 | rs1 << 15 | rd << 7 | 0x33
}

/// `lui rd, imm`: `imm` is the upper twenty bits.
fn lui(rd: u32, imm: u32) -> u32 {
    imm << 12 | rd << 7 | 0x37
}

/// A conditional branch over `offset` bytes; `function` 0 is equal, 1 not equal, 5 not less.
fn branch(function: u32, rs1: u32, rs2: u32, offset: i32) -> u32 {
    let bits = offset as u32;
    (bits >> 12 & 1) << 31
        | (bits >> 5 & 0x3f) << 25
        | rs2 << 20
        | rs1 << 15
        | function << 12
        | (bits >> 1 & 0xf) << 8
        | (bits >> 11 & 1) << 7
        | 0x63
}

const ECALL: u32 = 0x73;

/// Loads a 32-bit constant; always two instructions, so that offsets do not depend on the value.
fn load(rd: u32, value: u64) -> [u32; 2] {
    // The second instruction adds a signed number, so the first rounds to the nearest 4 KiB.
    let upper = (value + 0x800) >> 12;
    let lower = value as i32 - ((upper << 12) as i32);
    [lui(rd, upper as u32), addi(rd, rd, lower)]
}

/// `s0` walks over the message, `s1` counts what is left: write may take less than it is given.
fn code(message: u64, length: u64) -> Vec<u32> {
    let mut code = Vec::new();
    code.extend(load(S0, message));
    code.extend(load(S1, length));
    let top = code.len();
    code.push(addi(A0, ZERO, 1));
    code.push(addi(A1, S0, 0));
    code.push(addi(A2, S1, 0));
    code.push(addi(A7, ZERO, SYS_WRITE));
    code.push(ECALL);
    // An error or nothing written: leave with what is left not zero.
    code.push(branch(5, ZERO, A0, 4 * 4));
    code.push(add(S0, S0, A0));
    code.push(sub(S1, S1, A0));
    code.push(branch(1, S1, ZERO, (top as i32 - code.len() as i32) * 4));
    // exit_group(left != 0): sltu a0, zero, s1
    code.push(S1 << 20 | ZERO << 15 | 3 << 12 | A0 << 7 | 0x33);
    code.push(addi(A7, ZERO, SYS_EXIT_GROUP));
    code.push(ECALL);
    code
}

/// The ELF file.
pub fn program() -> Vec<u8> {
    let entry = BASE + HEADERS_SIZE;
    let length = MESSAGE.len() as u64;
    let code_size = code(0, 0).len() as u64 * 4;
    let code = code(entry + code_size, length);
    let size = HEADERS_SIZE + code_size + length;

    let mut file = Vec::new();
    // Identification: 64 bits, little endian, version 1, System V.
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let halves = |file: &mut Vec<u8>, values: &[u16]| {
        values
            .iter()
            .for_each(|value| file.extend_from_slice(&value.to_le_bytes()));
    };
    let words = |file: &mut Vec<u8>, values: &[u32]| {
        values
            .iter()
            .for_each(|value| file.extend_from_slice(&value.to_le_bytes()));
    };
    let longs = |file: &mut Vec<u8>, values: &[u64]| {
        values
            .iter()
            .for_each(|value| file.extend_from_slice(&value.to_le_bytes()));
    };
    // Executable for RISC-V (243), version 1.
    halves(&mut file, &[2, 243]);
    words(&mut file, &[1]);
    // Entry, program headers, no sections; flags: double-float ABI, as every Debian program.
    longs(&mut file, &[entry, 64, 0]);
    words(&mut file, &[4]);
    halves(&mut file, &[64, 56, 1, 0, 0, 0]);
    // One segment: load, readable and executable, the whole file, page aligned.
    words(&mut file, &[1, 5]);
    longs(&mut file, &[0, BASE, BASE, size, size, 0x1000]);
    words(&mut file, &code);
    file.extend_from_slice(MESSAGE.as_bytes());
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words taken from the specification's own encoding tables.
    #[test]
    fn encodings() {
        assert_eq!(addi(A0, ZERO, 1), 0x0010_0513);
        assert_eq!(addi(A7, ZERO, 64), 0x0400_0893);
        assert_eq!(addi(A0, A0, -1), 0xfff5_0513);
        assert_eq!(add(A0, A1, A2), 0x00c5_8533);
        assert_eq!(sub(A0, A1, A2), 0x40c5_8533);
        assert_eq!(lui(A0, 0x12345), 0x1234_5537);
        assert_eq!(branch(1, A0, ZERO, -4), 0xfe05_1ee3);
        assert_eq!(branch(0, A0, A1, 8), 0x00b5_0463);
        assert_eq!(load(A0, 0x10fff), [lui(A0, 0x11), addi(A0, A0, -1)]);
    }

    #[test]
    fn headers_describe_the_file() {
        let file = program();
        let needs = super::super::elf::needs(&file).expect("an ELF file");
        assert!(needs.interpreter.is_none() && needs.libraries.is_empty());
        assert!(file.ends_with(MESSAGE.as_bytes()));
        let size = u64::from_le_bytes(file[96..104].try_into().unwrap());
        assert_eq!(size, file.len() as u64);
    }
}
