//! Encoding the few instructions that tests write by hand, and wrapping code in an ELF file.

/// Where [`elf`] puts the code and the data.
pub const CODE: u64 = 0x10000;
pub const DATA: u64 = 0x0200_0000;

pub fn r_type(opcode: u32, rd: u32, funct3: u32, rs1: u32, rs2: u32, funct7: u32) -> u32 {
    opcode | rd << 7 | funct3 << 12 | rs1 << 15 | rs2 << 20 | funct7 << 25
}

pub fn i_type(opcode: u32, rd: u32, funct3: u32, rs1: u32, imm: i32) -> u32 {
    opcode | rd << 7 | funct3 << 12 | rs1 << 15 | (imm as u32) << 20
}

pub fn s_type(opcode: u32, funct3: u32, rs1: u32, rs2: u32, imm: i32) -> u32 {
    let imm = imm as u32;
    opcode | (imm & 31) << 7 | funct3 << 12 | rs1 << 15 | rs2 << 20 | imm >> 5 << 25
}

pub fn b_type(funct3: u32, rs1: u32, rs2: u32, offset: i32) -> u32 {
    let imm = offset as u32;
    0x63 | (imm >> 11 & 1) << 7
        | (imm >> 1 & 15) << 8
        | funct3 << 12
        | rs1 << 15
        | rs2 << 20
        | (imm >> 5 & 0x3f) << 25
        | (imm >> 12 & 1) << 31
}

pub fn jal(rd: u32, offset: i32) -> u32 {
    let imm = offset as u32;
    0x6f | rd << 7
        | imm & 0xf_f000
        | (imm >> 11 & 1) << 20
        | (imm >> 1 & 0x3ff) << 21
        | (imm >> 20 & 1) << 31
}

pub fn addi(rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x13, rd, 0, rs1, imm)
}

pub fn lui(rd: u32, value: i32) -> u32 {
    0x37 | rd << 7 | value as u32 & 0xffff_f000
}

pub fn ld(rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x03, rd, 3, rs1, imm)
}

pub fn sd(rs2: u32, rs1: u32, imm: i32) -> u32 {
    s_type(0x23, 3, rs1, rs2, imm)
}

pub const ECALL: u32 = 0x73;

/// A static program: `code` (entered at its start) and writable `data`.
pub fn elf(code: &[u8], data: &[u8]) -> Vec<u8> {
    const HEADERS: u64 = 64 + 2 * 56;
    let code_at = 0x1000;
    let data_at = (code_at + code.len() as u64).next_multiple_of(0x1000);
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend(2_u16.to_le_bytes());
    file.extend(243_u16.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend(CODE.to_le_bytes());
    file.extend(64_u64.to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    // RVC, double-float ABI
    file.extend(5_u32.to_le_bytes());
    for half in [64_u16, 56, 2, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    for (flags, at, va, bytes) in [(5_u32, code_at, CODE, code), (6, data_at, DATA, data)] {
        file.extend(1_u32.to_le_bytes());
        file.extend(flags.to_le_bytes());
        let len = bytes.len() as u64;
        for word in [at, va, va, len, len, 0x1000] {
            file.extend(word.to_le_bytes());
        }
    }
    assert_eq!(file.len() as u64, HEADERS);
    file.resize(code_at as usize, 0);
    file.extend(code);
    file.resize(data_at as usize, 0);
    file.extend(data);
    file
}
