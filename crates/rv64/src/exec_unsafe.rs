//! The interpreter's loop.
//!
//! [`execute`] runs operations from one place in a [`CodePage`] until something needs the caller
//! (`run.rs`): it follows jumps inside a page by index and into other pages through the fetch TLB, and
//! accesses memory through the load and store TLBs. Everything rare is a call to a cold function.
//!
//! Unsafe because registers, operations and guest memory are reached by raw pointers:
//! - operations only come from `lower.rs` and `fuse.rs`, whose register offsets lie inside [`Hart`] and
//!   whose links are indices of operations of the same page;
//! - every block ends with a jump, so `ip` never runs off the end;
//! - TLB entries are valid as long as they can be found (`tlb_unsafe.rs`), and nothing that changes the
//!   address space runs meanwhile but the slow paths here, which only add entries.
#![allow(unsafe_code)]

use mem::PAGE_SIZE;

use crate::block::CodePage;
use crate::fpu::{self, BOX, Operands, fast};
use crate::hart::Hart;
use crate::lower::STATIC_ROUNDING;
use crate::mmu::{AddressSpace, FetchEntry, TLB_SIZE, Tables, TlbEntry};
use crate::op::{Code, Op};
use crate::slow::{self, Outcome};

const PAGE_MASK: u64 = !(PAGE_SIZE as u64 - 1);
/// The sign of a double.
const SIGN: u64 = 1 << 63;
const TWO_31: f64 = 2_147_483_648.0;
const TWO_63: f64 = 9_223_372_036_854_775_808.0;

/// Why the loop stopped.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// Before the instruction at `hart.pc`: the budget does not allow another block.
    Budget,
    /// Before the instruction at `hart.pc`: it is not decoded, or its page is not in the fetch TLB.
    Enter,
    /// At this operation, which the loop does not do; `hart.pc` is there.
    At(Op),
    /// A memory access ended so; `hart.pc` is at its instruction, or behind it when that was completed.
    Memory(Outcome),
}

/// What the loop works on.
pub struct Frame<'a> {
    pub hart: &'a mut Hart,
    pub space: &'a mut AddressSpace,
    /// Instructions that may be executed before the next block must fit; below zero stops.
    pub remaining: i64,
    /// Guest address of the page.
    pub base: u64,
}

/// Notes in the frame that the loop stops in instruction `part` of operation `index`, or behind it when
/// that was `completed`. `frame.remaining` has been lowered up to the start of the operation's block.
#[cold]
#[inline(never)]
fn stop_inside(frame: &mut Frame<'_>, code: &CodePage, index: usize, part: usize, completed: bool) {
    let ops = code.ops().borrow();
    let done = part + usize::from(completed);
    frame.remaining -= (ops.count_before(index) + done as u64) as i64;
    frame.hart.pc = frame.base.wrapping_add(ops.offset_of(index, done));
}

/// Runs `start` from operation `index` on.
#[allow(clippy::cognitive_complexity)]
pub fn execute(frame: &mut Frame<'_>, start: &CodePage, index: usize) -> Stop {
    let hart: *mut Hart = &raw mut *frame.hart;
    let regs: *mut u8 = hart.cast();
    let space: *mut AddressSpace = &raw mut *frame.space;
    // SAFETY: see the module's text; `space` is borrowed by the frame and so alive.
    unsafe {
        let tables: *mut Tables = (*space).tables();
        let read: *const TlbEntry = (&raw const (*tables).read).cast();
        let write: *const TlbEntry = (&raw const (*tables).write).cast();
        let fetch: *const FetchEntry = (&raw const (*tables).fetch).cast();
        let mut code: *const CodePage = start;
        let mut base = frame.base;
        let mut remaining = frame.remaining;
        let mut ops: *mut Op = (*(*code).ops().as_ptr()).ops.as_mut_ptr();
        let mut ip: *const Op = ops.add(index);
        // Where to go when control leaves the inner loop, and the operation that should be linked to it.
        let mut target: u64;
        let mut from: *mut Op;

        macro_rules! x {
            ($offset:expr) => {
                *regs.add($offset as usize).cast::<u64>()
            };
        }
        macro_rules! leave {
            ($op:expr, $part:expr, $stop:expr) => {{
                let stop = $stop;
                frame.remaining = remaining;
                frame.base = base;
                let index = std::ptr::from_ref::<Op>($op).offset_from(ops) as usize;
                let completed = matches!(stop, Stop::Memory(Outcome::CodeChanged));
                stop_inside(frame, &*code, index, $part, completed);
                return stop;
            }};
        }
        macro_rules! load {
            ($op:expr, $part:expr, $va:expr, $type:ty) => {{
                let va: u64 = $va;
                let entry = &*read.add((va >> 12) as usize % TLB_SIZE);
                if entry.tag == va.wrapping_add(size_of::<$type>() as u64 - 1) & PAGE_MASK {
                    ((va as usize).wrapping_add(entry.addend) as *const $type).read_unaligned()
                } else {
                    let mut value = 0;
                    let outcome = slow::load(&mut *space, va, size_of::<$type>(), &mut value);
                    if outcome != Outcome::Done {
                        leave!($op, $part, Stop::Memory(outcome));
                    }
                    value as $type
                }
            }};
        }
        macro_rules! store {
            ($op:expr, $part:expr, $va:expr, $value:expr, $type:ty) => {{
                let va: u64 = $va;
                let value = $value as $type;
                let entry = &*write.add((va >> 12) as usize % TLB_SIZE);
                if entry.tag == va.wrapping_add(size_of::<$type>() as u64 - 1) & PAGE_MASK {
                    ((va as usize).wrapping_add(entry.addend) as *mut $type).write_unaligned(value);
                } else {
                    let outcome = slow::store(
                        &mut *space,
                        &*code,
                        va,
                        size_of::<$type>(),
                        u64::from(value),
                    );
                    if outcome != Outcome::Done {
                        leave!($op, $part, Stop::Memory(outcome));
                    }
                }
            }};
        }

        macro_rules! double {
            ($offset:expr) => {
                f64::from_bits(x!($offset))
            };
        }
        macro_rules! single {
            ($offset:expr) => {
                f32::from_bits(fpu::unbox(x!($offset)) as u32)
            };
        }
        macro_rules! wide {
            ($offset:expr) => {
                f64::from(single!($offset))
            };
        }
        macro_rules! slow_float {
            ($op:expr) => {{
                let op: &Op = $op;
                let operands = Operands {
                    a: x!(op.b),
                    b: x!(op.c),
                    c: x!(op.ext),
                };
                match slow::float(op, operands, &mut (*hart).fcsr) {
                    Some(value) => x!(op.a) = value,
                    None => leave!(op, 0, Stop::At(*op)),
                }
            }};
        }
        // Host arithmetic gives the result when the mode is "nearest", the result is `$good`, and "inexact"
        // has been raised before, as it has in nearly all programs: then there is no flag to compute.
        macro_rules! quick {
            ($op:expr) => {
                (*hart).fcsr & 0xe1 | $op.imm as u32 & STATIC_ROUNDING == 1
            };
        }
        macro_rules! float {
            ($op:expr, $value:expr, $good:ident) => {{
                let bits = ($value).to_bits();
                if quick!($op) && fast::$good(bits) {
                    x!($op.a) = bits;
                } else {
                    slow_float!($op);
                }
            }};
        }
        macro_rules! float_single {
            ($op:expr, $value:expr, $good:ident) => {{
                let bits = ($value).to_bits();
                if quick!($op) && fast::$good(bits) {
                    x!($op.a) = u64::from(bits) | BOX;
                } else {
                    slow_float!($op);
                }
            }};
        }
        macro_rules! fused {
            ($op:expr, $a:expr, $c:expr) => {{
                if quick!($op)
                    && let Some(value) = fast::fused($a, double!($op.c), $c)
                    && fast::normal(value.to_bits())
                {
                    x!($op.a) = value.to_bits();
                } else {
                    slow_float!($op);
                }
            }};
        }
        macro_rules! fused_single {
            ($op:expr, $a:expr, $c:expr) => {{
                let value = fast::fused_single($a, wide!($op.c), $c);
                if quick!($op) && fast::normal_single(value.to_bits()) {
                    x!($op.a) = u64::from(value.to_bits()) | BOX;
                } else {
                    slow_float!($op);
                }
            }};
        }
        macro_rules! compare {
            ($op:expr, $a:expr, $b:expr, $compare:tt) => {{
                let (a, b) = ($a, $b);
                if a.is_nan() || b.is_nan() {
                    slow_float!($op);
                } else {
                    x!($op.a) = u64::from(a $compare b);
                }
            }};
        }

        loop {
            // Inner loop: one turn is one operation. It is left by `break` with `target` set.
            loop {
                let op = &*ip;
                ip = ip.add(1);

                // `target` relative to the page; goes by the link if there is one.
                macro_rules! jump {
                    ($target:expr) => {{
                        remaining -= i64::from(op.c);
                        let link = op.ext as u16;
                        if link != 0 && remaining >= 0 {
                            ip = ops.add(usize::from(link));
                            continue;
                        }
                        target = base.wrapping_add($target as i64 as u64);
                        from = std::ptr::from_ref::<Op>(op).cast_mut();
                        break;
                    }};
                }
                macro_rules! branch {
                    ($cond:expr) => {
                        if $cond {
                            jump!(op.imm)
                        }
                    };
                }
                macro_rules! alu {
                    ($value:expr) => {
                        x!(op.a) = $value
                    };
                }

                match op.code {
                    Code::Nop | Code::Fence | Code::FenceI => {}
                    Code::Li | Code::Lui => alu!(op.imm as u64),
                    Code::La | Code::Auipc => alu!(base.wrapping_add(op.imm as u64)),
                    Code::Mv => alu!(x!(op.b)),
                    Code::Sextw => alu!(x!(op.b) as i32 as u64),

                    Code::Jump => jump!(op.imm),
                    Code::Jal => {
                        x!(op.a) = base.wrapping_add(u64::from(op.ext >> 16));
                        jump!(op.imm)
                    }
                    Code::Jr => {
                        remaining -= i64::from(op.c);
                        target = x!(op.b).wrapping_add(op.imm as u64) & !1;
                        from = std::ptr::null_mut();
                        break;
                    }
                    Code::Jalr => {
                        remaining -= i64::from(op.c);
                        target = x!(op.b).wrapping_add(op.imm as u64) & !1;
                        x!(op.a) = base.wrapping_add(u64::from(op.ext >> 16));
                        from = std::ptr::null_mut();
                        break;
                    }
                    Code::Beq => branch!(x!(op.a) == x!(op.b)),
                    Code::Bne => branch!(x!(op.a) != x!(op.b)),
                    Code::Blt => branch!((x!(op.a) as i64) < x!(op.b) as i64),
                    Code::Bge => branch!(x!(op.a) as i64 >= x!(op.b) as i64),
                    Code::Bltu => branch!(x!(op.a) < x!(op.b)),
                    Code::Bgeu => branch!(x!(op.a) >= x!(op.b)),

                    Code::Lb => {
                        alu!(load!(op, 0, x!(op.b).wrapping_add(op.imm as u64), u8) as i8 as u64)
                    }
                    Code::Lh => {
                        alu!(load!(op, 0, x!(op.b).wrapping_add(op.imm as u64), u16) as i16 as u64)
                    }
                    Code::Lw => {
                        alu!(load!(op, 0, x!(op.b).wrapping_add(op.imm as u64), u32) as i32 as u64)
                    }
                    Code::Ld | Code::Fld => {
                        alu!(load!(op, 0, x!(op.b).wrapping_add(op.imm as u64), u64))
                    }
                    Code::Lbu => alu!(u64::from(load!(
                        op,
                        0,
                        x!(op.b).wrapping_add(op.imm as u64),
                        u8
                    ))),
                    Code::Lhu => alu!(u64::from(load!(
                        op,
                        0,
                        x!(op.b).wrapping_add(op.imm as u64),
                        u16
                    ))),
                    Code::Lwu => alu!(u64::from(load!(
                        op,
                        0,
                        x!(op.b).wrapping_add(op.imm as u64),
                        u32
                    ))),
                    Code::Flw => alu!(
                        u64::from(load!(op, 0, x!(op.b).wrapping_add(op.imm as u64), u32))
                            | 0xffff_ffff_0000_0000
                    ),
                    Code::Sb => store!(op, 0, x!(op.b).wrapping_add(op.imm as u64), x!(op.a), u8),
                    Code::Sh => store!(op, 0, x!(op.b).wrapping_add(op.imm as u64), x!(op.a), u16),
                    Code::Sw | Code::Fsw => {
                        store!(op, 0, x!(op.b).wrapping_add(op.imm as u64), x!(op.a), u32)
                    }
                    Code::Sd | Code::Fsd => {
                        store!(op, 0, x!(op.b).wrapping_add(op.imm as u64), x!(op.a), u64)
                    }

                    Code::Addi => alu!(x!(op.b).wrapping_add(op.imm as u64)),
                    Code::Slti => alu!(u64::from((x!(op.b) as i64) < i64::from(op.imm))),
                    Code::Sltiu => alu!(u64::from(x!(op.b) < op.imm as u64)),
                    Code::Xori => alu!(x!(op.b) ^ op.imm as u64),
                    Code::Ori => alu!(x!(op.b) | op.imm as u64),
                    Code::Andi => alu!(x!(op.b) & op.imm as u64),
                    Code::Slli => alu!(x!(op.b) << (op.imm & 63)),
                    Code::Srli => alu!(x!(op.b) >> (op.imm & 63)),
                    Code::Srai => alu!((x!(op.b) as i64 >> (op.imm & 63)) as u64),
                    Code::Add => alu!(x!(op.b).wrapping_add(x!(op.c))),
                    Code::Sub => alu!(x!(op.b).wrapping_sub(x!(op.c))),
                    Code::Sll => alu!(x!(op.b) << (x!(op.c) & 63)),
                    Code::Slt => alu!(u64::from((x!(op.b) as i64) < x!(op.c) as i64)),
                    Code::Sltu => alu!(u64::from(x!(op.b) < x!(op.c))),
                    Code::Xor => alu!(x!(op.b) ^ x!(op.c)),
                    Code::Srl => alu!(x!(op.b) >> (x!(op.c) & 63)),
                    Code::Sra => alu!((x!(op.b) as i64 >> (x!(op.c) & 63)) as u64),
                    Code::Or => alu!(x!(op.b) | x!(op.c)),
                    Code::And => alu!(x!(op.b) & x!(op.c)),
                    Code::Addiw => alu!((x!(op.b) as i32).wrapping_add(op.imm) as u64),
                    Code::Slliw => alu!(((x!(op.b) as i32) << (op.imm & 31)) as u64),
                    Code::Srliw => alu!((x!(op.b) as u32 >> (op.imm & 31)) as i32 as u64),
                    Code::Sraiw => alu!((x!(op.b) as i32 >> (op.imm & 31)) as u64),
                    Code::Addw => alu!((x!(op.b) as i32).wrapping_add(x!(op.c) as i32) as u64),
                    Code::Subw => alu!((x!(op.b) as i32).wrapping_sub(x!(op.c) as i32) as u64),
                    Code::Sllw => alu!(((x!(op.b) as i32) << (x!(op.c) & 31)) as u64),
                    Code::Srlw => alu!((x!(op.b) as u32 >> (x!(op.c) & 31)) as i32 as u64),
                    Code::Sraw => alu!((x!(op.b) as i32 >> (x!(op.c) & 31)) as u64),

                    Code::Mul => alu!(x!(op.b).wrapping_mul(x!(op.c))),
                    Code::Mulh => {
                        alu!(
                            (i128::from(x!(op.b) as i64) * i128::from(x!(op.c) as i64) >> 64)
                                as u64
                        );
                    }
                    Code::Mulhsu => {
                        let product =
                            i128::from(x!(op.b) as i64).wrapping_mul(u128::from(x!(op.c)) as i128);
                        alu!((product >> 64) as u64);
                    }
                    Code::Mulhu => alu!((u128::from(x!(op.b)) * u128::from(x!(op.c)) >> 64) as u64),
                    Code::Mulw => alu!((x!(op.b) as i32).wrapping_mul(x!(op.c) as i32) as u64),
                    Code::Div => {
                        let (b, c) = (x!(op.b) as i64, x!(op.c) as i64);
                        alu!(if c == 0 {
                            u64::MAX
                        } else {
                            b.wrapping_div(c) as u64
                        });
                    }
                    Code::Divu => {
                        let (b, c) = (x!(op.b), x!(op.c));
                        alu!(b.checked_div(c).unwrap_or(u64::MAX));
                    }
                    Code::Rem => {
                        let (b, c) = (x!(op.b) as i64, x!(op.c) as i64);
                        alu!(if c == 0 {
                            b as u64
                        } else {
                            b.wrapping_rem(c) as u64
                        });
                    }
                    Code::Remu => {
                        let (b, c) = (x!(op.b), x!(op.c));
                        alu!(b.checked_rem(c).unwrap_or(b));
                    }
                    Code::Divw => {
                        let (b, c) = (x!(op.b) as i32, x!(op.c) as i32);
                        alu!(if c == 0 {
                            u64::MAX
                        } else {
                            b.wrapping_div(c) as u64
                        });
                    }
                    Code::Divuw => {
                        let (b, c) = (x!(op.b) as u32, x!(op.c) as u32);
                        alu!(b.checked_div(c).unwrap_or(u32::MAX) as i32 as u64);
                    }
                    Code::Remw => {
                        let (b, c) = (x!(op.b) as i32, x!(op.c) as i32);
                        alu!(if c == 0 {
                            b as u64
                        } else {
                            b.wrapping_rem(c) as u64
                        });
                    }
                    Code::Remuw => {
                        let (b, c) = (x!(op.b) as u32, x!(op.c) as u32);
                        alu!(b.checked_rem(c).unwrap_or(b) as i32 as u64);
                    }

                    Code::LrW | Code::LrD | Code::ScW | Code::ScD | Code::AmoW | Code::AmoD => {
                        let (address, operand) = (x!(op.b), x!(op.c));
                        let mut result = 0;
                        let outcome = slow::atomic(
                            &mut *space,
                            &*code,
                            &mut (*hart).reservation,
                            op,
                            address,
                            operand,
                            &mut result,
                        );
                        if outcome == Outcome::Done || outcome == Outcome::CodeChanged {
                            alu!(result);
                        }
                        if outcome != Outcome::Done {
                            leave!(op, 0, Stop::Memory(outcome));
                        }
                    }

                    Code::Csrrw
                    | Code::Csrrs
                    | Code::Csrrc
                    | Code::Csrrwi
                    | Code::Csrrsi
                    | Code::Csrrci => {
                        let source = x!(op.b & 0xf8);
                        match slow::float_csr(&mut (*hart).fcsr, op, source) {
                            Some(old) => alu!(old),
                            None => leave!(op, 0, Stop::At(*op)),
                        }
                    }

                    Code::FaddD => float!(op, double!(op.b) + double!(op.c), finite),
                    Code::FsubD => float!(op, double!(op.b) - double!(op.c), finite),
                    Code::FmulD => float!(op, double!(op.b) * double!(op.c), normal),
                    Code::FdivD => float!(op, double!(op.b) / double!(op.c), normal),
                    Code::FsqrtD => float!(op, double!(op.b).sqrt(), normal),
                    Code::FmaddD => fused!(op, double!(op.b), double!(op.ext)),
                    Code::FmsubD => fused!(op, double!(op.b), -double!(op.ext)),
                    Code::FnmsubD => fused!(op, -double!(op.b), double!(op.ext)),
                    Code::FnmaddD => fused!(op, -double!(op.b), -double!(op.ext)),
                    Code::FaddS => float_single!(op, single!(op.b) + single!(op.c), finite_single),
                    Code::FsubS => float_single!(op, single!(op.b) - single!(op.c), finite_single),
                    Code::FmulS => float_single!(op, single!(op.b) * single!(op.c), normal_single),
                    Code::FdivS => float_single!(op, single!(op.b) / single!(op.c), normal_single),
                    Code::FsqrtS => float_single!(op, single!(op.b).sqrt(), normal_single),
                    Code::FmaddS => fused_single!(op, wide!(op.b), wide!(op.ext)),
                    Code::FmsubS => fused_single!(op, wide!(op.b), -wide!(op.ext)),
                    Code::FnmsubS => fused_single!(op, -wide!(op.b), wide!(op.ext)),
                    Code::FnmaddS => fused_single!(op, -wide!(op.b), -wide!(op.ext)),

                    Code::FsgnjD => alu!(x!(op.c) & SIGN | x!(op.b) & !SIGN),
                    Code::FsgnjnD => alu!(!x!(op.c) & SIGN | x!(op.b) & !SIGN),
                    Code::FsgnjxD => alu!(x!(op.b) ^ x!(op.c) & SIGN),
                    Code::FeqD => compare!(op, double!(op.b), double!(op.c), ==),
                    Code::FltD => compare!(op, double!(op.b), double!(op.c), <),
                    Code::FleD => compare!(op, double!(op.b), double!(op.c), <=),
                    Code::FeqS => compare!(op, single!(op.b), single!(op.c), ==),
                    Code::FltS => compare!(op, single!(op.b), single!(op.c), <),
                    Code::FleS => compare!(op, single!(op.b), single!(op.c), <=),
                    // Exact conversions.
                    Code::FcvtDW => alu!(f64::from(x!(op.b) as i32).to_bits()),
                    Code::FcvtDWu => alu!(f64::from(x!(op.b) as u32).to_bits()),
                    Code::FcvtDS => {
                        let value = single!(op.b);
                        if value.is_nan() {
                            slow_float!(op);
                        } else {
                            alu!(f64::from(value).to_bits());
                        }
                    }
                    Code::FcvtSD => {
                        let value = double!(op.b) as f32;
                        float_single!(op, value, normal_single)
                    }
                    // As C casts: towards zero, in range.
                    Code::FcvtWD | Code::FcvtLD => {
                        let value = double!(op.b);
                        let truncated = value as i64;
                        let in_range = value.abs()
                            < if op.code == Code::FcvtWD {
                                TWO_31
                            } else {
                                TWO_63
                            };
                        if op.imm == 1 && in_range {
                            (*hart).fcsr |= u32::from(truncated as f64 != value);
                            alu!(truncated as u64);
                        } else {
                            slow_float!(op);
                        }
                    }
                    Code::FminS
                    | Code::FmaxS
                    | Code::FminD
                    | Code::FmaxD
                    | Code::FsgnjS
                    | Code::FsgnjnS
                    | Code::FsgnjxS
                    | Code::FclassS
                    | Code::FclassD
                    | Code::FcvtWS
                    | Code::FcvtWuS
                    | Code::FcvtLS
                    | Code::FcvtLuS
                    | Code::FcvtSW
                    | Code::FcvtSWu
                    | Code::FcvtSL
                    | Code::FcvtSLu
                    | Code::FcvtWuD
                    | Code::FcvtLuD
                    | Code::FcvtDL
                    | Code::FcvtDLu
                    | Code::FmvWX
                    | Code::FmvXW
                    | Code::FmvXD
                    | Code::FmvDX => slow_float!(op),

                    Code::Straddle | Code::Ecall | Code::Ebreak | Code::Illegal => {
                        leave!(op, 0, Stop::At(*op))
                    }
                }
            }

            // Control goes to `target`.
            let page = target & PAGE_MASK;
            if remaining < 0 {
                (*hart).pc = target;
                frame.remaining = remaining;
                return Stop::Budget;
            }
            if page != base {
                let entry = &*fetch.add((target >> 12) as usize % TLB_SIZE);
                match &entry.code {
                    Some(other) if entry.tag == page && other.live() => {
                        code = &raw const **other;
                        ops = (*other.ops().as_ptr()).ops.as_mut_ptr();
                        base = page;
                        from = std::ptr::null_mut();
                    }
                    _ => {
                        (*hart).pc = target;
                        frame.remaining = remaining;
                        return Stop::Enter;
                    }
                }
            }
            let index = (*code).entry(target);
            if index == 0 {
                (*hart).pc = target;
                frame.remaining = remaining;
                return Stop::Enter;
            }
            if !from.is_null() {
                (*from).ext |= u32::from(index);
            }
            ip = ops.add(usize::from(index));
        }
    }
}
