//! One row an instruction and case: operands and result by the manual's text, not by another emulator.
//!
//! `name rs1 rs2 = rd` for integer instructions (an immediate takes the place of `rs2`), and
//! `name rs1 rs2 [rs3] = rd flags` for floating-point ones, with values written as numbers or as bits.

use mem::Page;
use rv64::{AddressSpace, Counters, Exit, Hart, Prot, Sharing};

use super::assemble::{ECALL, i_type, r_type};

/// Runs one instruction with x1, x2 (and f1, f2, f3) set; its result goes to x5 or f5.
fn execute(bits: u32, operands: [u64; 3], fcsr: u32) -> Hart {
    let page = Page::from_bytes(&[bits.to_le_bytes(), ECALL.to_le_bytes()].concat());
    let mut space = AddressSpace::new();
    space.map(0x1000, page, Prot::READ | Prot::EXEC, Sharing::Private);
    let mut hart = Hart {
        pc: 0x1000,
        fcsr,
        ..Hart::default()
    };
    for (i, operand) in operands.into_iter().enumerate() {
        hart.x[i + 1] = operand;
        hart.f[i + 1] = operand;
    }
    let exit = rv64::run(&mut hart, &mut space, &mut 1000, Counters::default());
    assert_eq!(exit, Exit::Ecall, "{}", rv64::disasm(bits, 0));
    hart
}

/// A number as a row has it: decimal or hexadecimal, maybe negative.
fn integer(text: &str) -> u64 {
    let (negative, digits) = text
        .strip_prefix('-')
        .map_or((false, text), |rest| (true, rest));
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    let value = value.unwrap_or_else(|_| panic!("bad number {text}"));
    if negative {
        value.wrapping_neg()
    } else {
        value
    }
}

/// Opcode, `funct3` and `funct7` (or nothing, for immediates).
fn integer_encoding(name: &str) -> (u32, u32, Option<u32>) {
    match name {
        "addi" => (0x13, 0, None),
        "slti" => (0x13, 2, None),
        "sltiu" => (0x13, 3, None),
        "xori" => (0x13, 4, None),
        "ori" => (0x13, 6, None),
        "andi" => (0x13, 7, None),
        "addiw" => (0x1b, 0, None),
        "add" => (0x33, 0, Some(0)),
        "sub" => (0x33, 0, Some(0x20)),
        "sll" => (0x33, 1, Some(0)),
        "slt" => (0x33, 2, Some(0)),
        "sltu" => (0x33, 3, Some(0)),
        "srl" => (0x33, 5, Some(0)),
        "sra" => (0x33, 5, Some(0x20)),
        "addw" => (0x3b, 0, Some(0)),
        "subw" => (0x3b, 0, Some(0x20)),
        "sllw" => (0x3b, 1, Some(0)),
        "srlw" => (0x3b, 5, Some(0)),
        "sraw" => (0x3b, 5, Some(0x20)),
        "mul" => (0x33, 0, Some(1)),
        "mulh" => (0x33, 1, Some(1)),
        "mulhsu" => (0x33, 2, Some(1)),
        "mulhu" => (0x33, 3, Some(1)),
        "div" => (0x33, 4, Some(1)),
        "divu" => (0x33, 5, Some(1)),
        "rem" => (0x33, 6, Some(1)),
        "remu" => (0x33, 7, Some(1)),
        "mulw" => (0x3b, 0, Some(1)),
        "divw" => (0x3b, 4, Some(1)),
        "divuw" => (0x3b, 5, Some(1)),
        "remw" => (0x3b, 6, Some(1)),
        "remuw" => (0x3b, 7, Some(1)),
        _ => panic!("no encoding for {name}"),
    }
}

#[test]
fn integer_instructions() {
    let table = "
        addi 1 -1 = 0
        addi 0x7fffffffffffffff 1 = 0x8000000000000000
        slti -1 0 = 1
        sltiu 1 -1 = 1
        sltiu 0 1 = 1
        xori 5 -1 = -6
        ori 8 -2048 = -2040
        andi -1 0x7ff = 0x7ff
        addiw 0x7fffffff 1 = -0x80000000
        addiw 0x1ffffffff 0 = -1
        add -1 2 = 1
        sub 0 1 = -1
        sll 1 64 = 1
        sll 1 63 = 0x8000000000000000
        slt -1 1 = 1
        sltu -1 1 = 0
        srl -1 60 = 15
        sra -16 66 = -4
        addw 0x7fffffff 1 = -0x80000000
        subw 0 0x80000000 = -0x80000000
        sllw 1 31 = -0x80000000
        sllw 1 32 = 1
        srlw 0xffffffff80000000 31 = 1
        sraw 0x80000000 31 = -1
        mul 0x100000000 0x100000000 = 0
        mulh -1 -1 = 0
        mulh 0x8000000000000000 0x8000000000000000 = 0x4000000000000000
        mulhsu -1 -1 = -1
        mulhu -1 -1 = -2
        div 7 -2 = -3
        div 1 0 = -1
        div 0x8000000000000000 -1 = 0x8000000000000000
        divu 7 0 = -1
        divu -1 2 = 0x7fffffffffffffff
        rem -7 2 = -1
        rem 7 0 = 7
        rem 0x8000000000000000 -1 = 0
        remu -1 10 = 5
        remu 5 0 = 5
        mulw 0x80000000 2 = 0
        divw 0x80000000 -1 = -0x80000000
        divw 5 0x100000000 = -1
        divuw 0xffffffff 1 = -1
        divuw 1 0 = -1
        remw 0x80000000 -1 = 0
        remw 0x180000005 0 = -0x7ffffffb
        remuw 0xffffffff 16 = 15
        remuw 0xfffffffff 0 = -1
    ";
    for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let words: Vec<&str> = row.split_whitespace().collect();
        let &[name, a, b, "=", result] = words.as_slice() else {
            panic!("bad row {row}")
        };
        let (opcode, funct3, funct7) = integer_encoding(name);
        let bits = match funct7 {
            Some(funct7) => r_type(opcode, 5, funct3, 1, 2, funct7),
            None => i_type(opcode, 5, funct3, 1, integer(b) as i32),
        };
        let hart = execute(bits, [integer(a), integer(b), 0], 0);
        assert_eq!(hart.x[5], integer(result), "{row}");
    }
}

/// The bits of a floating-point operand: `s` and `d` numbers, `0x` bits, or a name.
fn float(text: &str, single: bool) -> u64 {
    let boxed = |bits: u32| u64::from(bits) | 0xffff_ffff_0000_0000;
    match (text, single) {
        ("nan", true) => boxed(0x7fc0_0000),
        ("snan", true) => boxed(0x7fa0_0000),
        ("nan", false) => 0x7ff8_0000_0000_0000,
        ("snan", false) => 0x7ff4_0000_0000_0000,
        ("min", true) => boxed(f32::MIN_POSITIVE.to_bits()),
        ("min", false) => f64::MIN_POSITIVE.to_bits(),
        ("max", true) => boxed(f32::MAX.to_bits()),
        ("max", false) => f64::MAX.to_bits(),
        ("tiny", true) => boxed(1),
        ("tiny", false) => 1,
        (text, _) if text.starts_with("0x") => integer(text),
        (text, true) => boxed(text.parse::<f32>().expect(text).to_bits()),
        (text, false) => text.parse::<f64>().expect(text).to_bits(),
    }
}

/// `funct5` (or the whole opcode of a fused one), `rs2` where it is part of the name, and `funct3` where
/// it is not the rounding mode.
fn float_encoding(name: &str) -> (u32, Option<u32>, Option<u32>) {
    match name {
        "fadd" => (0, None, None),
        "fsub" => (1, None, None),
        "fmul" => (2, None, None),
        "fdiv" => (3, None, None),
        "fsqrt" => (0xb, Some(0), None),
        "fsgnj" => (4, None, Some(0)),
        "fsgnjn" => (4, None, Some(1)),
        "fsgnjx" => (4, None, Some(2)),
        "fmin" => (5, None, Some(0)),
        "fmax" => (5, None, Some(1)),
        "fmadd" => (0x43, None, None),
        "fmsub" => (0x47, None, None),
        "fnmsub" => (0x4b, None, None),
        "fnmadd" => (0x4f, None, None),
        "fle" => (0x14, None, Some(0)),
        "flt" => (0x14, None, Some(1)),
        "feq" => (0x14, None, Some(2)),
        "fclass" => (0x1c, Some(0), Some(1)),
        "fcvt.w" => (0x18, Some(0), None),
        "fcvt.wu" => (0x18, Some(1), None),
        "fcvt.l" => (0x18, Some(2), None),
        "fcvt.lu" => (0x18, Some(3), None),
        _ => panic!("no encoding for {name}"),
    }
}

#[test]
fn floating_point_instructions() {
    // Flags: n inexact, u underflow, o overflow, z division by zero, v invalid.
    let table = "
        fadd.d 1 2 rne = 3 -
        fadd.d 1 1e-30 rne = 1 n
        fadd.d 1 1e-30 rup = 1.0000000000000002 n
        fadd.d 1 -1 rne = 0 -
        fadd.d 1 -1 rdn = -0.0 -
        fadd.d inf -inf rne = nan v
        fadd.d nan 1 rne = nan -
        fadd.d snan 1 rne = nan v
        fadd.d max max rne = inf on
        fadd.d max max rtz = max on
        fsub.d tiny tiny rne = 0 -
        fmul.d min 0.5 rne = 0x8000000000000 -
        fmul.d tiny 0.5 rne = 0 un
        fmul.d tiny 0.5 rmm = tiny un
        fmul.d tiny 0.5 rup = tiny un
        fmul.d inf 0 rne = nan v
        fdiv.d 1 0 rne = inf z
        fdiv.d -1 0 rne = -inf z
        fdiv.d 0 0 rne = nan v
        fdiv.d 1 3 rne = 0.3333333333333333 n
        fdiv.d 1 3 rup = 0.33333333333333337 n
        fsqrt.d 4 0 rne = 2 -
        fsqrt.d 2 0 rne = 1.4142135623730951 n
        fsqrt.d -1 0 rne = nan v
        fsqrt.d -0.0 0 rne = -0.0 -
        fsgnjn.d 1 1 rne = -1 -
        fsgnjx.d -1 -1 rne = 1 -
        fmin.d -0.0 0 rne = -0.0 -
        fmax.d -0.0 0 rne = 0 -
        fmin.d nan 1 rne = 1 -
        fmax.d snan 1 rne = 1 v
        fmin.d nan nan rne = nan -
        fmadd.d 2 3 4 rne = 10 -
        fmsub.d 2 3 4 rne = 2 -
        fnmsub.d 2 3 4 rne = -2 -
        fnmadd.d 2 3 4 rne = -10 -
        fmadd.d 0x3ff0000000000001 0x3ff0000000000001 -1 rne = 0x3cc0000000000000 n
        fmadd.d inf 0 nan rne = nan v
        fadd.s 16777216 1 rne = 16777216 n
        fadd.s 16777216 1 rmm = 16777218 n
        fadd.s 0x3f800000 1 rne = nan -
        fmul.s max 2 rdn = max on
        fdiv.s 1 3 rtz = 0.33333331 n
        fmul.s min 0.5 rne = 0xffffffff00400000 -
        feq.d nan 1 rne = 0 -
        feq.d snan 1 rne = 0 v
        flt.d nan 1 rne = 0 v
        fle.d -0.0 0 rne = 1 -
        flt.s -inf 1 rne = 1 -
        fclass.d -inf 0 rne = 1 -
        fclass.d tiny 0 rne = 32 -
        fclass.s snan 0 rne = 256 -
        fclass.s nan 0 rne = 512 -
        fcvt.w.d 2.5 0 rne = 2 n
        fcvt.w.d 2.5 0 rmm = 3 n
        fcvt.w.d -2.5 0 rdn = -3 n
        fcvt.w.d 1e10 0 rtz = 0x7fffffff v
        fcvt.w.d nan 0 rtz = 0x7fffffff v
        fcvt.wu.d -1 0 rtz = 0 v
        fcvt.wu.d -0.5 0 rtz = 0 n
        fcvt.wu.d 4294967295 0 rtz = -1 -
        fcvt.wu.d 1e10 0 rtz = -1 v
        fcvt.l.d -1e30 0 rtz = 0x8000000000000000 v
        fcvt.lu.s inf 0 rtz = -1 v
        fcvt.lu.d 18446744073709549568 0 rtz = 0xfffffffffffff800 -
    ";
    for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
        // Once with clear flags, once with all raised before (that takes other ways through the code).
        for before in [0, 0x1f] {
            check_float(row, before);
        }
    }
}

fn check_float(row: &str, before: u32) {
    let (left, right) = row.split_once(" = ").expect(row);
    let words: Vec<&str> = left.split_whitespace().collect();
    let (name, format) = words[0].rsplit_once('.').expect(row);
    let single = format == "s";
    let values = &words[1..words.len() - 1];
    let rounding = ["rne", "rtz", "rdn", "rup", "rmm"];
    let rm = rounding
        .iter()
        .position(|mode| *mode == words[words.len() - 1])
        .expect(row) as u32;
    let (funct5, rs2, funct3) = float_encoding(name);
    let mut operands = [0; 3];
    for (operand, value) in operands.iter_mut().zip(values) {
        *operand = float(value, single);
    }
    let fmt = u32::from(!single);
    let bits = if funct5 > 0x1f {
        r_type(funct5, 5, rm, 1, 2, 3 << 2 | fmt)
    } else {
        r_type(
            0x53,
            5,
            funct3.unwrap_or(rm),
            1,
            rs2.unwrap_or(2),
            funct5 << 2 | fmt,
        )
    };
    let hart = execute(bits, operands, before);
    let (result, flags) = right.split_once(' ').expect(row);
    if matches!(funct5, 0x14 | 0x18 | 0x1c) {
        assert_eq!(hart.x[5], integer(result), "{row}");
    } else {
        assert_eq!(hart.f[5], float(result, single), "{row}");
    }
    let raised = "nuozv"
        .chars()
        .enumerate()
        .filter(|(_, flag)| flags.contains(*flag));
    let expected = raised.fold(before, |sum, (bit, _)| sum | 1 << bit);
    assert_eq!(hart.fcsr, expected, "flags of {row}");
}
