//! Fusion: which neighbouring instructions become one operation.
//!
//! The pairs are those that profiles of dash, bash, CPython and Go programs show most often. Layouts of a
//! pair's fields (`low` and `high` are the halves of `imm` and `ext`):
//!
//! | layout | first | second |
//! |---|---|---|
//! | short | `a`, `b`, `imm.low` | `c` (as its `a`), `ext.low` (`b`), `ext.high` (`c`), `imm.high` |
//! | wide | `a`, `b`, `c` | `ext.low` (`a`), `ext.high` (`b`), `imm` (its `imm`, or `c`) |
//! | branch | `a`, `b`, `imm.low` (its `imm`, or `c`) | `ext.high` and the low 9 bits of `c` are compared, the rest of `c` counts, `ext.low` is the link, `imm.high` the target in halfwords |
//! | return | `a`, `b`, `imm.low` | `ext.low` is the target register, `imm.high` its offset, `c` counts |
//! | shifts | `a` and `imm.low` of the right one, `b` | `c` and `imm.high` of the left one; `ext.low` (`a` of the third), `ext.high` (its other source) |
//! | run | registers in `a`, `c`, `ext.low`, `ext.high`; base in `b` | offsets divided by 8 in the bytes of `imm` |

use crate::lower::lower;
use crate::op::{Code, Insn, Op};

/// The operation for the first instructions of `insns` (with their page offsets), and how many it takes.
/// `before` instructions of the block come before them.
pub fn fuse(insns: &[(usize, Insn)], before: u16) -> (Op, usize) {
    let op = |i: usize| {
        insns
            .get(i)
            .map(|(at, insn)| lower(insn, *at as i32, before + 1 + i as u16))
    };
    let Some(first) = op(0) else {
        unreachable!("there is an instruction to lower")
    };
    let Some(second) = op(1) else {
        return (first, 1);
    };
    if let Some(third) = op(2)
        && let Some(found) = run(first, second, third, op(3))
            .or_else(|| epilogue(first, second, third))
            .or_else(|| Some((shifts(&first, &second, &third)?, 3)))
    {
        return found;
    }
    match two(first, second) {
        Some(fused) => (fused, 2),
        None => (first, 1),
    }
}

fn two(first: Op, second: Op) -> Option<Op> {
    constant(first, second).or_else(|| pair(as_addi(first), second))
}

/// True when two instructions become one operation.
pub fn joins(first: Op, second: Op) -> bool {
    two(first, second).is_some()
}

fn shifts(first: &Op, second: &Op, third: &Op) -> Option<Op> {
    shifts_or(first, second, third).or_else(|| zero_extended_add(first, second, third))
}

/// Two shifts of one register, to the left and to the right, and the `or` of both: a rotation, mostly.
pub fn shifts_or(first: &Op, second: &Op, third: &Op) -> Option<Op> {
    use Code::*;
    let (code, right, left) = match (first.code, second.code) {
        (Srliw, Slliw) => (ShiftsOrW, first, second),
        (Slliw, Srliw) => (ShiftsOrW, second, first),
        (Srli, Slli) => (ShiftsOr, first, second),
        (Slli, Srli) => (ShiftsOr, second, first),
        _ => return None,
    };
    let sources = [(first.a, second.a), (second.a, first.a)];
    let good = third.code == Or
        && first.b == second.b
        && first.a != first.b
        && first.a != second.a
        && sources.contains(&(third.b, third.c));
    good.then(|| Op {
        code,
        a: right.a,
        b: first.b,
        c: left.a,
        imm: halves(right.imm as u32, left.imm as u32) as i32,
        ext: u32::from(third.a),
    })
}

/// An index is made unsigned, and perhaps scaled, by two shifts and added to something.
fn zero_extended_add(first: &Op, second: &Op, third: &Op) -> Option<Op> {
    let good = (first.code, second.code, third.code) == (Code::Slli, Code::Srli, Code::Add)
        && first.a == second.a
        && first.a == second.b
        && (third.b == first.a || third.c == first.a);
    let other = if third.b == first.a { third.c } else { third.b };
    good.then(|| Op {
        code: Code::SlliSrliAdd,
        a: first.a,
        b: first.b,
        c: 0,
        imm: halves(first.imm as u32, second.imm as u32) as i32,
        ext: halves(u32::from(third.a), u32::from(other)),
    })
}

/// Copies and small constants are additions.
fn as_addi(op: Op) -> Op {
    match op.code {
        Code::Mv => Op {
            code: Code::Addi,
            imm: 0,
            ..op
        },
        Code::Li => Op {
            code: Code::Addi,
            b: 0,
            ..op
        },
        _ => op,
    }
}

fn short(value: i32) -> bool {
    i32::from(value as i16) == value
}

fn halves(low: u32, high: u32) -> u32 {
    low & 0xffff | high << 16
}

/// Three or four loads or stores of doublewords at one base.
fn run(first: Op, second: Op, third: Op, fourth: Option<Op>) -> Option<(Op, usize)> {
    let store = first.code == Code::Sd;
    if !store && first.code != Code::Ld {
        return None;
    }
    let fits = |op: &Op| {
        op.code == first.code
            && op.b == first.b
            && op.imm % 8 == 0
            && i8::try_from(op.imm / 8).is_ok()
    };
    // A load must not change the base of those behind it.
    let keeps_base = |op: &Op| store || op.a != op.b;
    let good = [&first, &second]
        .into_iter()
        .all(|op| fits(op) && keeps_base(op))
        && fits(&third);
    if !good {
        return None;
    }
    let fourth = fourth.filter(|op| fits(op) && keeps_base(&third));
    let code = match (store, fourth.is_some()) {
        (false, false) => Code::Ld3,
        (false, true) => Code::Ld4,
        (true, false) => Code::Sd3,
        (true, true) => Code::Sd4,
    };
    let byte = |op: Option<Op>| op.map_or(0, |op| (op.imm / 8) as u8);
    let offsets = [
        byte(Some(first)),
        byte(Some(second)),
        byte(Some(third)),
        byte(fourth),
    ];
    let fused = Op {
        code,
        a: first.a,
        b: first.b,
        c: second.a,
        imm: i32::from_le_bytes(offsets),
        ext: halves(u32::from(third.a), fourth.map_or(0, |op| u32::from(op.a))),
    };
    Some((fused, 3 + usize::from(fourth.is_some())))
}

/// The end of most functions: the return address is loaded, the stack pointer raised, `ra` jumped to.
fn epilogue(first: Op, second: Op, third: Op) -> Option<(Op, usize)> {
    let good = (first.code, second.code, third.code) == (Code::Ld, Code::Addi, Code::Jr)
        && second.a == second.b
        && third.imm == 0
        && short(first.imm)
        && short(second.imm);
    good.then(|| {
        let fused = Op {
            code: Code::LdAddiJr,
            a: first.a,
            b: first.b,
            c: second.a | third.c << 9,
            imm: halves(first.imm as u32, second.imm as u32) as i32,
            ext: u32::from(third.b),
        };
        (fused, 3)
    })
}

/// Upper and lower half of a constant or an address, and what is often done with an address.
fn constant(first: Op, second: Op) -> Option<Op> {
    use Code::*;
    let same = second.b == first.a;
    let sum = first.imm.checked_add(second.imm);
    match (first.code, second.code) {
        (Li, Addi) if same && second.a == first.a => Some(Op { imm: sum?, ..first }),
        (Li, Addiw) if same && second.a == first.a => Some(Op {
            imm: first.imm.wrapping_add(second.imm),
            ..first
        }),
        (La, Addi) if same && second.a == first.a => Some(Op { imm: sum?, ..first }),
        (La, Ld) if same => Some(Op {
            code: LaLd,
            a: first.a,
            b: 0,
            c: second.a,
            imm: first.imm,
            ext: second.imm as u32,
        }),
        (La, Lw) if same => Some(Op {
            code: LaLw,
            a: first.a,
            b: 0,
            c: second.a,
            imm: first.imm,
            ext: second.imm as u32,
        }),
        (La, Jalr) if same && second.a == first.a => Some(Op {
            code: Jal,
            imm: sum?,
            ..second
        }),
        _ => None,
    }
}

fn pair(first: Op, second: Op) -> Option<Op> {
    use Code::*;
    let branch = matches!(second.code, Beq | Bne | Blt | Bge | Bltu | Bgeu);
    if branch {
        return branch_pair(first, second);
    }
    if second.code == Jr {
        let good = first.code == Addi && short(first.imm) && short(second.imm);
        return good.then(|| Op {
            code: AddiJr,
            c: second.c,
            imm: halves(first.imm as u32, second.imm as u32) as i32,
            ext: u32::from(second.b),
            ..first
        });
    }
    // The addition's constant and the target share `imm`, its registers `b`.
    if second.code == Jal && first.code == Addi {
        let good = (-1024..1024).contains(&first.imm) && second.imm.abs() < 1 << 21;
        return good.then_some(Op {
            code: AddiJal,
            b: (first.a / 8) | ((first.b / 8) << 8),
            imm: (second.imm / 2) << 11 | first.imm & 0x7ff,
            ..second
        });
    }
    let second = as_addi(second);
    let wide = match (first.code, second.code) {
        (Add, Ld) => AddLd,
        (Add, Sd) => AddSd,
        (Add, Lw) => AddLw,
        (Add, Sb) => AddSb,
        (Add, Lbu) => AddLbu,
        (Add, Addi) => AddAddi,
        (Add, Add) => AddAdd,
        (Add, And) => AddAnd,
        (Xor, Xor) => XorXor,
        (Xor, And) => XorAnd,
        (Xor, Addw) => XorAddw,
        (Addw, Addw) => AddwAddw,
        (Or, Xor) => OrXor,
        (Add, Lhu) => AddLhu,
        (And, And) => AndAnd,
        (And, Or) => AndOr,
        (And, Xor) => AndXor,
        (And, Add) => AndAdd,
        (And, Addw) => AndAddw,
        (Or, Or) => OrOr,
        (Or, And) => OrAnd,
        (Or, Add) => OrAdd,
        (Or, Addw) => OrAddw,
        (Xor, Or) => XorOr,
        (Xor, Add) => XorAdd,
        (Add, Xor) => AddXor,
        (Addw, Xor) => AddwXor,
        (Addw, And) => AddwAnd,
        (Add, Or) => AddOr,
        _ => return short_pair(first, second),
    };
    let three = matches!(second.code, Add | And | Xor | Addw | Or);
    Some(Op {
        code: wide,
        imm: if three {
            i32::from(second.c)
        } else {
            second.imm
        },
        ext: halves(u32::from(second.a), u32::from(second.b)),
        ..first
    })
}

fn branch_pair(first: Op, second: Op) -> Option<Op> {
    use Code::*;
    let three = matches!(first.code, Add | Sub | Subw | And | Xor);
    let low = if three { i32::from(first.c) } else { first.imm };
    if !short(low) {
        return None;
    }
    let code = match (first.code, second.code) {
        (Addi, Beq) => AddiBeq,
        (Addi, Bne) => AddiBne,
        (Addi, Blt) => AddiBlt,
        (Addi, Bge) => AddiBge,
        (Addi, Bltu) => AddiBltu,
        (Addi, Bgeu) => AddiBgeu,
        (Andi, Beq) => AndiBeq,
        (Andi, Bne) => AndiBne,
        (Ld, Beq) => LdBeq,
        (Ld, Bne) => LdBne,
        (Lbu, Beq) => LbuBeq,
        (Lbu, Bne) => LbuBne,
        (Lw, Beq) => LwBeq,
        (Lw, Bne) => LwBne,
        (Addiw, Bne) => AddiwBne,
        (Slli, Blt) => SlliBlt,
        (Slli, Bge) => SlliBge,
        (Sd, Beq) => SdBeq,
        (Sd, Bne) => SdBne,
        (Sub, Beq) => SubBeq,
        (Sub, Bne) => SubBne,
        (Subw, Bne) => SubwBne,
        (And, Beq) => AndBeq,
        (And, Bne) => AndBne,
        (Xor, Beq) => XorBeq,
        (Xor, Bne) => XorBne,
        (Addiw, Beq) => AddiwBeq,
        (Lhu, Beq) => LhuBeq,
        (Lhu, Bne) => LhuBne,
        (Lhu, Bgeu) => LhuBgeu,
        (Ld, Bltu) => LdBltu,
        (Ld, Bgeu) => LdBgeu,
        (Lw, Blt) => LwBlt,
        (Lw, Bge) => LwBge,
        _ => return None,
    };
    Some(Op {
        code,
        a: first.a,
        b: first.b,
        c: second.b | second.c << 9,
        imm: halves(low as u32, (second.imm / 2) as u32) as i32,
        ext: u32::from(second.a) << 16,
    })
}

fn short_pair(first: Op, second: Op) -> Option<Op> {
    use Code::*;
    let code = match (first.code, second.code) {
        (Ld, Ld) => LdLd,
        (Ld, Addi) => LdAddi,
        (Ld, Sd) => LdSd,
        (Ld, Add) => LdAdd,
        (Ld, Slli) => LdSlli,
        (Ld, Lw) => LdLw,
        (Sd, Sd) => SdSd,
        (Sd, Addi) => SdAddi,
        (Sd, Ld) => SdLd,
        (Addi, Addi) => AddiAddi,
        (Addi, Ld) => AddiLd,
        (Addi, Sd) => AddiSd,
        (Addi, Add) => AddiAdd,
        (Addi, Slli) => AddiSlli,
        (Addi, Lbu) => AddiLbu,
        (Addi, Sb) => AddiSb,
        (Sb, Sb) => SbSb,
        (Sb, Addi) => SbAddi,
        (Lbu, Lbu) => LbuLbu,
        (Lbu, Addi) => LbuAddi,
        (Lbu, Slli) => LbuSlli,
        (Lw, Addi) => LwAddi,
        (Lw, Lw) => LwLw,
        (Sw, Sw) => SwSw,
        (Sw, Addi) => SwAddi,
        (Sw, Ld) => SwLd,
        (Slli, Add) => SlliAdd,
        (Slli, Srli) => SlliSrli,
        (Slli, Or) => SlliOr,
        (Srli, Xor) => SrliXor,
        (Slliw, Or) => SlliwOr,
        (Srliw, Slliw) => SrliwSlliw,
        (Slliw, Srliw) => SlliwSrliw,
        (Srliw, Or) => SrliwOr,
        (Addi, And) => AddiAnd,
        (Srli, Andi) => SrliAndi,
        (Addiw, Andi) => AddiwAndi,
        (Andi, Add) => AndiAdd,
        (Andi, Addw) => AndiAddw,
        _ => return None,
    };
    (short(first.imm) && short(second.imm)).then(|| Op {
        code,
        a: first.a,
        b: first.b,
        c: second.a,
        imm: halves(first.imm as u32, second.imm as u32) as i32,
        ext: halves(u32::from(second.b), u32::from(second.c)),
    })
}
