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
use crate::frame::{Frame, Stop};
use crate::hart::Hart;
use crate::lower::STATIC_ROUNDING;
use crate::mmu::{AddressSpace, FETCH_SIZE, FetchEntry, TLB_SIZE, Tables, TlbEntry};
use crate::muldiv;
use crate::op::{Code, Op};
use crate::slow::{self, Outcome};

const PAGE_MASK: u64 = !(PAGE_SIZE as u64 - 1);
/// The sign of a double.
const SIGN: u64 = 1 << 63;
/// The sign of a single.
const SIGN_SINGLE: u64 = 1 << 31;
const TWO_31: f64 = 2_147_483_648.0;
const TWO_63: f64 = 9_223_372_036_854_775_808.0;

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
                frame.stop_inside(&*code, index, $part, completed);
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

        macro_rules! atomic {
            ($op:expr) => {{
                let op: &Op = $op;
                let (address, operand) = (x!(op.b), x!(op.c));
                let mut result = 0;
                let reservation = &mut (*hart).reservation;
                let outcome = slow::atomic(
                    &mut *space,
                    &*code,
                    reservation,
                    op,
                    address,
                    operand,
                    &mut result,
                );
                if outcome == Outcome::Done || outcome == Outcome::CodeChanged {
                    x!(op.a) = result;
                }
                if outcome != Outcome::Done {
                    leave!(op, 0, Stop::Memory(outcome));
                }
            }};
        }
        // Fields of fused operations.
        macro_rules! low {
            ($op:expr) => {
                $op.imm as i16 as u64
            };
        }
        macro_rules! high {
            ($op:expr) => {
                ($op.imm >> 16) as u64
            };
        }
        macro_rules! ext_low {
            ($op:expr) => {
                $op.ext as u16
            };
        }
        macro_rules! ext_high {
            ($op:expr) => {
                $op.ext >> 16
            };
        }
        // Instructions that are fused with others; `$imm` is sign-extended.
        macro_rules! part {
            (Ld, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                x!($a) = load!($op, $part, x!($b).wrapping_add($imm), u64)
            };
            (Lw, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                x!($a) = load!($op, $part, x!($b).wrapping_add($imm), u32) as i32 as u64
            };
            (Lbu, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                x!($a) = u64::from(load!($op, $part, x!($b).wrapping_add($imm), u8))
            };
            (Lhu, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                x!($a) = u64::from(load!($op, $part, x!($b).wrapping_add($imm), u16))
            };
            (Sd, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                store!($op, $part, x!($b).wrapping_add($imm), x!($a), u64)
            };
            (Sw, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                store!($op, $part, x!($b).wrapping_add($imm), x!($a), u32)
            };
            (Sb, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                store!($op, $part, x!($b).wrapping_add($imm), x!($a), u8)
            };
            (Addi, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                x!($a) = x!($b).wrapping_add($imm)
            };
            (Andi, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                x!($a) = x!($b) & $imm
            };
            (Addiw, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                x!($a) = (x!($b) as i32).wrapping_add($imm as i32) as u64
            };
            (Slli, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                x!($a) = x!($b) << ($imm & 63)
            };
            (Srli, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                x!($a) = x!($b) >> ($imm & 63)
            };
            (Slliw, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                x!($a) = ((x!($b) as i32) << ($imm & 31)) as u64
            };
            (Srliw, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                x!($a) = (x!($b) as u32 >> ($imm & 31)) as i32 as u64
            };
            (Add, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                x!($a) = x!($b).wrapping_add(x!($c))
            };
            (Sub, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                x!($a) = x!($b).wrapping_sub(x!($c))
            };
            (Subw, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                x!($a) = (x!($b) as i32).wrapping_sub(x!($c) as i32) as u64
            };
            (Addw, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                x!($a) = (x!($b) as i32).wrapping_add(x!($c) as i32) as u64
            };
            (Or, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                x!($a) = x!($b) | x!($c)
            };
            (Xor, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                x!($a) = x!($b) ^ x!($c)
            };
            (And, $op:expr, $part:expr, $a:expr, $b:expr, $c:expr, $imm:expr) => {
                x!($a) = x!($b) & x!($c)
            };
        }
        // One of several accesses at the same base.
        macro_rules! run_address {
            ($op:expr, $part:expr) => {
                x!($op.b).wrapping_add((i64::from(($op.imm >> (8 * $part)) as i8) * 8) as u64)
            };
        }
        macro_rules! load_run {
            ($op:expr, $part:expr, $register:expr) => {
                x!($register) = load!($op, $part, run_address!($op, $part), u64)
            };
        }
        macro_rules! store_run {
            ($op:expr, $part:expr, $register:expr) => {
                store!($op, $part, run_address!($op, $part), x!($register), u64)
            };
        }
        macro_rules! one {
            ($op:expr, $code:ident) => {
                part!($code, $op, 0, $op.a, $op.b, $op.c, $op.imm as u64)
            };
        }
        // The layouts "short" and "wide" of `fuse.rs`.
        macro_rules! pair {
            ($op:expr, $first:ident, $second:ident) => {{
                part!($first, $op, 0, $op.a, $op.b, 0, low!($op));
                part!(
                    $second,
                    $op,
                    1,
                    $op.c,
                    ext_low!($op),
                    ext_high!($op),
                    high!($op)
                );
            }};
        }
        macro_rules! wide_pair {
            ($op:expr, $first:ident, $second:ident) => {{
                part!($first, $op, 0, $op.a, $op.b, $op.c, 0);
                part!(
                    $second,
                    $op,
                    1,
                    ext_low!($op),
                    ext_high!($op),
                    $op.imm,
                    $op.imm as u64
                );
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
        macro_rules! sum {
            ($op:expr, $a:expr, $b:expr) => {{
                let (a, b): (f64, f64) = ($a, $b);
                let value = a + b;
                if quick!($op) && fast::finite(value.to_bits()) {
                    x!($op.a) = value.to_bits();
                } else if (*hart).fcsr & 0xe1 | $op.imm as u32 & STATIC_ROUNDING == 0
                    && value.abs() < fast::SUM_MAX
                {
                    // An exact sum must not raise "inexact", and many programs only ever have those.
                    (*hart).fcsr |= u32::from(fast::sum_error(a, b, value) != 0.0);
                    x!($op.a) = value.to_bits();
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
        macro_rules! cast {
            ($op:expr, $value:expr, $limit:expr) => {{
                let value: f64 = $value;
                if $op.imm == 1 && value.abs() < $limit {
                    let truncated = value as i64;
                    (*hart).fcsr |= u32::from(truncated as f64 != value);
                    x!($op.a) = truncated as u64;
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
                    ($target:expr, $count:expr) => {{
                        remaining -= i64::from($count);
                        let link = op.ext as u16;
                        if link != 0 && remaining >= 0 {
                            ip = ops.add(usize::from(link));
                            continue;
                        }
                        target = base.wrapping_add($target as u64);
                        from = std::ptr::from_ref::<Op>(op).cast_mut();
                        break;
                    }};
                }
                macro_rules! branch {
                    ($cond:expr) => {
                        if $cond {
                            jump!(i64::from(op.imm), op.c)
                        }
                    };
                }
                macro_rules! branch_pair {
                    ($op:expr, $first:ident, $type:ty, $compare:tt) => {{
                        part!($first, $op, 0, $op.a, $op.b, low!($op), low!($op));
                        let (a, b) = (x!(ext_high!($op)) as $type, x!($op.c & 511) as $type);
                        if a $compare b {
                            jump!(i64::from($op.imm >> 16) * 2, $op.c >> 9)
                        }
                    }};
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

                    Code::Jump => jump!(i64::from(op.imm), op.c),
                    Code::Jal => {
                        x!(op.a) = base.wrapping_add(u64::from(op.ext >> 16));
                        jump!(i64::from(op.imm), op.c)
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
                    Code::Lw => one!(op, Lw),
                    Code::Ld | Code::Fld => one!(op, Ld),
                    Code::Lbu => one!(op, Lbu),
                    Code::Lhu => one!(op, Lhu),
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
                    Code::Sb => one!(op, Sb),
                    Code::Sh => store!(op, 0, x!(op.b).wrapping_add(op.imm as u64), x!(op.a), u16),
                    Code::Sw | Code::Fsw => one!(op, Sw),
                    Code::Sd | Code::Fsd => one!(op, Sd),

                    Code::Addi => one!(op, Addi),
                    Code::Slti => alu!(u64::from((x!(op.b) as i64) < i64::from(op.imm))),
                    Code::Sltiu => alu!(u64::from(x!(op.b) < op.imm as u64)),
                    Code::Xori => alu!(x!(op.b) ^ op.imm as u64),
                    Code::Ori => alu!(x!(op.b) | op.imm as u64),
                    Code::Andi => one!(op, Andi),
                    Code::Slli => one!(op, Slli),
                    Code::Srli => one!(op, Srli),
                    Code::Srai => alu!((x!(op.b) as i64 >> (op.imm & 63)) as u64),
                    Code::Add => one!(op, Add),
                    Code::Sub => one!(op, Sub),
                    Code::Sll => alu!(x!(op.b) << (x!(op.c) & 63)),
                    Code::Slt => alu!(u64::from((x!(op.b) as i64) < x!(op.c) as i64)),
                    Code::Sltu => alu!(u64::from(x!(op.b) < x!(op.c))),
                    Code::Xor => one!(op, Xor),
                    Code::Srl => alu!(x!(op.b) >> (x!(op.c) & 63)),
                    Code::Sra => alu!((x!(op.b) as i64 >> (x!(op.c) & 63)) as u64),
                    Code::Or => one!(op, Or),
                    Code::And => one!(op, And),
                    Code::Addiw => one!(op, Addiw),
                    Code::Slliw => one!(op, Slliw),
                    Code::Srliw => one!(op, Srliw),
                    Code::Sraiw => alu!((x!(op.b) as i32 >> (op.imm & 31)) as u64),
                    Code::Addw => one!(op, Addw),
                    Code::Subw => one!(op, Subw),
                    Code::Sllw => alu!(((x!(op.b) as i32) << (x!(op.c) & 31)) as u64),
                    Code::Srlw => alu!((x!(op.b) as u32 >> (x!(op.c) & 31)) as i32 as u64),
                    Code::Sraw => alu!((x!(op.b) as i32 >> (x!(op.c) & 31)) as u64),

                    Code::Mul => alu!(x!(op.b).wrapping_mul(x!(op.c))),
                    Code::Mulw => {
                        alu!((x!(op.b) as i32).wrapping_mul(x!(op.c) as i32) as u64);
                    }
                    Code::Mulh => alu!(muldiv::mulh(x!(op.b), x!(op.c))),
                    Code::Mulhsu => alu!(muldiv::mulhsu(x!(op.b), x!(op.c))),
                    Code::Mulhu => alu!(muldiv::mulhu(x!(op.b), x!(op.c))),
                    Code::Div => alu!(muldiv::div(x!(op.b), x!(op.c))),
                    Code::Divu => alu!(muldiv::divu(x!(op.b), x!(op.c))),
                    Code::Rem => alu!(muldiv::rem(x!(op.b), x!(op.c))),
                    Code::Remu => alu!(muldiv::remu(x!(op.b), x!(op.c))),
                    Code::Divw => alu!(muldiv::divw(x!(op.b), x!(op.c))),
                    Code::Divuw => alu!(muldiv::divuw(x!(op.b), x!(op.c))),
                    Code::Remw => alu!(muldiv::remw(x!(op.b), x!(op.c))),
                    Code::Remuw => alu!(muldiv::remuw(x!(op.b), x!(op.c))),

                    Code::AmoW => {
                        let (va, operand) = (x!(op.b), x!(op.c));
                        let entry = &*write.add((va >> 12) as usize % TLB_SIZE);
                        if entry.tag == va & PAGE_MASK && va & 3 == 0 {
                            let at = (va as usize).wrapping_add(entry.addend) as *mut i32;
                            let old = *at as u64;
                            *at = slow::modify(op.imm, old, operand as i32 as u64) as i32;
                            alu!(old);
                        } else {
                            atomic!(op);
                        }
                    }
                    Code::AmoD => {
                        let (va, operand) = (x!(op.b), x!(op.c));
                        let entry = &*write.add((va >> 12) as usize % TLB_SIZE);
                        if entry.tag == va & PAGE_MASK && va & 7 == 0 {
                            let at = (va as usize).wrapping_add(entry.addend) as *mut u64;
                            let old = *at;
                            *at = slow::modify(op.imm, old, operand);
                            alu!(old);
                        } else {
                            atomic!(op);
                        }
                    }
                    Code::LrW => {
                        let va = x!(op.b);
                        let entry = &*read.add((va >> 12) as usize % TLB_SIZE);
                        if entry.tag == va & PAGE_MASK && va & 3 == 0 {
                            let at = (va as usize).wrapping_add(entry.addend) as *const i32;
                            let old = *at as u64;
                            (*hart).reservation = Some((va, old));
                            alu!(old);
                        } else {
                            atomic!(op);
                        }
                    }
                    Code::LrD => {
                        let va = x!(op.b);
                        let entry = &*read.add((va >> 12) as usize % TLB_SIZE);
                        if entry.tag == va & PAGE_MASK && va & 7 == 0 {
                            let old = *((va as usize).wrapping_add(entry.addend) as *const u64);
                            (*hart).reservation = Some((va, old));
                            alu!(old);
                        } else {
                            atomic!(op);
                        }
                    }
                    Code::ScW => {
                        let (va, operand) = (x!(op.b), x!(op.c));
                        let entry = &*write.add((va >> 12) as usize % TLB_SIZE);
                        if entry.tag == va & PAGE_MASK && va & 3 == 0 {
                            let at = (va as usize).wrapping_add(entry.addend) as *mut i32;
                            let kept = (*hart).reservation.take() == Some((va, *at as u64));
                            if kept {
                                *at = operand as i32;
                            }
                            alu!(u64::from(!kept));
                        } else {
                            atomic!(op);
                        }
                    }
                    Code::ScD => {
                        let (va, operand) = (x!(op.b), x!(op.c));
                        let entry = &*write.add((va >> 12) as usize % TLB_SIZE);
                        if entry.tag == va & PAGE_MASK && va & 7 == 0 {
                            let at = (va as usize).wrapping_add(entry.addend) as *mut u64;
                            let kept = (*hart).reservation.take() == Some((va, *at));
                            if kept {
                                *at = operand;
                            }
                            alu!(u64::from(!kept));
                        } else {
                            atomic!(op);
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

                    Code::FaddD => sum!(op, double!(op.b), double!(op.c)),
                    Code::FsubD => sum!(op, double!(op.b), -double!(op.c)),
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
                    Code::FcvtDL => {
                        let value = x!(op.b) as i64;
                        if value.unsigned_abs() <= 1 << 53 || quick!(op) {
                            alu!((value as f64).to_bits());
                        } else {
                            slow_float!(op);
                        }
                    }
                    Code::FcvtDLu => {
                        let value = x!(op.b);
                        if value <= 1 << 53 || quick!(op) {
                            alu!((value as f64).to_bits());
                        } else {
                            slow_float!(op);
                        }
                    }
                    Code::FcvtSW | Code::FcvtSL => {
                        let value = x!(op.b) as i64;
                        let value = if op.code == Code::FcvtSW {
                            i64::from(value as i32)
                        } else {
                            value
                        };
                        if value.unsigned_abs() <= 1 << 24 || quick!(op) {
                            alu!(u64::from((value as f32).to_bits()) | BOX);
                        } else {
                            slow_float!(op);
                        }
                    }
                    // As C casts: towards zero, in range.
                    Code::FcvtWD => cast!(op, double!(op.b), TWO_31),
                    Code::FcvtLD => cast!(op, double!(op.b), TWO_63),
                    Code::FcvtWS => cast!(op, wide!(op.b), TWO_31),
                    Code::FcvtLS => cast!(op, wide!(op.b), TWO_63),
                    Code::FminD => {
                        let (a, b) = (double!(op.b), double!(op.c));
                        // Equal numbers may be zeros of different sign.
                        if a < b {
                            alu!(a.to_bits());
                        } else if b < a {
                            alu!(b.to_bits());
                        } else {
                            slow_float!(op);
                        }
                    }
                    Code::FmaxD => {
                        let (a, b) = (double!(op.b), double!(op.c));
                        // Equal numbers may be zeros of different sign.
                        if a > b {
                            alu!(a.to_bits());
                        } else if b > a {
                            alu!(b.to_bits());
                        } else {
                            slow_float!(op);
                        }
                    }
                    Code::FsgnjS => {
                        let (a, b) = (fpu::unbox(x!(op.b)), fpu::unbox(x!(op.c)));
                        alu!(b & SIGN_SINGLE | a & !SIGN_SINGLE | BOX);
                    }
                    Code::FsgnjnS => {
                        let (a, b) = (fpu::unbox(x!(op.b)), fpu::unbox(x!(op.c)));
                        alu!(!b & SIGN_SINGLE | a & !SIGN_SINGLE | BOX);
                    }
                    Code::FmvWX => alu!(x!(op.b) | BOX),
                    Code::FminS
                    | Code::FmaxS
                    | Code::FsgnjxS
                    | Code::FclassS
                    | Code::FclassD
                    | Code::FcvtWuS
                    | Code::FcvtLuS
                    | Code::FcvtSWu
                    | Code::FcvtSLu
                    | Code::FcvtWuD
                    | Code::FcvtLuD
                    | Code::FmvXW
                    | Code::FmvXD
                    | Code::FmvDX => slow_float!(op),

                    Code::AddLd => wide_pair!(op, Add, Ld),
                    Code::AddSd => wide_pair!(op, Add, Sd),
                    Code::AddLw => wide_pair!(op, Add, Lw),
                    Code::AddSb => wide_pair!(op, Add, Sb),
                    Code::AddLbu => wide_pair!(op, Add, Lbu),
                    Code::AddAddi => wide_pair!(op, Add, Addi),
                    Code::AddAdd => wide_pair!(op, Add, Add),
                    Code::AddAnd => wide_pair!(op, Add, And),
                    Code::XorXor => wide_pair!(op, Xor, Xor),
                    Code::XorAnd => wide_pair!(op, Xor, And),
                    Code::XorAddw => wide_pair!(op, Xor, Addw),
                    Code::AddwAddw => wide_pair!(op, Addw, Addw),
                    Code::OrXor => wide_pair!(op, Or, Xor),
                    Code::AddiBeq => branch_pair!(op, Addi, u64, ==),
                    Code::AddiBne => branch_pair!(op, Addi, u64, !=),
                    Code::AddiBlt => branch_pair!(op, Addi, i64, <),
                    Code::AddiBge => branch_pair!(op, Addi, i64, >=),
                    Code::AddiBltu => branch_pair!(op, Addi, u64, <),
                    Code::AddiBgeu => branch_pair!(op, Addi, u64, >=),
                    Code::AndiBeq => branch_pair!(op, Andi, u64, ==),
                    Code::AndiBne => branch_pair!(op, Andi, u64, !=),
                    Code::LdBeq => branch_pair!(op, Ld, u64, ==),
                    Code::LdBne => branch_pair!(op, Ld, u64, !=),
                    Code::LbuBeq => branch_pair!(op, Lbu, u64, ==),
                    Code::LbuBne => branch_pair!(op, Lbu, u64, !=),
                    Code::LwBeq => branch_pair!(op, Lw, u64, ==),
                    Code::LwBne => branch_pair!(op, Lw, u64, !=),
                    Code::AddiwBne => branch_pair!(op, Addiw, u64, !=),
                    Code::SlliBlt => branch_pair!(op, Slli, i64, <),
                    Code::SlliBge => branch_pair!(op, Slli, i64, >=),
                    Code::SdBeq => branch_pair!(op, Sd, u64, ==),
                    Code::SdBne => branch_pair!(op, Sd, u64, !=),
                    Code::LdLd => pair!(op, Ld, Ld),
                    Code::LdAddi => pair!(op, Ld, Addi),
                    Code::LdSd => pair!(op, Ld, Sd),
                    Code::LdAdd => pair!(op, Ld, Add),
                    Code::LdSlli => pair!(op, Ld, Slli),
                    Code::LdLw => pair!(op, Ld, Lw),
                    Code::SdSd => pair!(op, Sd, Sd),
                    Code::SdAddi => pair!(op, Sd, Addi),
                    Code::SdLd => pair!(op, Sd, Ld),
                    Code::AddiAddi => pair!(op, Addi, Addi),
                    Code::AddiLd => pair!(op, Addi, Ld),
                    Code::AddiSd => pair!(op, Addi, Sd),
                    Code::AddiAdd => pair!(op, Addi, Add),
                    Code::AddiSlli => pair!(op, Addi, Slli),
                    Code::AddiLbu => pair!(op, Addi, Lbu),
                    Code::AddiSb => pair!(op, Addi, Sb),
                    Code::SbSb => pair!(op, Sb, Sb),
                    Code::SbAddi => pair!(op, Sb, Addi),
                    Code::LbuLbu => pair!(op, Lbu, Lbu),
                    Code::LbuAddi => pair!(op, Lbu, Addi),
                    Code::LbuSlli => pair!(op, Lbu, Slli),
                    Code::LwAddi => pair!(op, Lw, Addi),
                    Code::LwLw => pair!(op, Lw, Lw),
                    Code::SwSw => pair!(op, Sw, Sw),
                    Code::SwAddi => pair!(op, Sw, Addi),
                    Code::SwLd => pair!(op, Sw, Ld),
                    Code::SlliAdd => pair!(op, Slli, Add),
                    Code::SlliSrli => pair!(op, Slli, Srli),
                    Code::SlliOr => pair!(op, Slli, Or),
                    Code::SrliXor => pair!(op, Srli, Xor),
                    Code::SlliwOr => pair!(op, Slliw, Or),
                    Code::SrliwSlliw => pair!(op, Srliw, Slliw),
                    Code::SlliwSrliw => pair!(op, Slliw, Srliw),
                    Code::SrliwOr => pair!(op, Srliw, Or),
                    Code::SubBeq => branch_pair!(op, Sub, u64, ==),
                    Code::SubBne => branch_pair!(op, Sub, u64, !=),
                    Code::SubwBne => branch_pair!(op, Subw, u64, !=),
                    Code::AndBeq => branch_pair!(op, And, u64, ==),
                    Code::AndBne => branch_pair!(op, And, u64, !=),
                    Code::XorBeq => branch_pair!(op, Xor, u64, ==),
                    Code::XorBne => branch_pair!(op, Xor, u64, !=),
                    Code::AddiwBeq => branch_pair!(op, Addiw, u64, ==),
                    Code::LhuBeq => branch_pair!(op, Lhu, u64, ==),
                    Code::LhuBne => branch_pair!(op, Lhu, u64, !=),
                    Code::LhuBgeu => branch_pair!(op, Lhu, u64, >=),
                    Code::LdBltu => branch_pair!(op, Ld, u64, <),
                    Code::LdBgeu => branch_pair!(op, Ld, u64, >=),
                    Code::LwBlt => branch_pair!(op, Lw, i64, <),
                    Code::LwBge => branch_pair!(op, Lw, i64, >=),
                    Code::AddLhu => wide_pair!(op, Add, Lhu),
                    Code::AndAnd => wide_pair!(op, And, And),
                    Code::AndOr => wide_pair!(op, And, Or),
                    Code::AndXor => wide_pair!(op, And, Xor),
                    Code::AndAdd => wide_pair!(op, And, Add),
                    Code::AndAddw => wide_pair!(op, And, Addw),
                    Code::OrOr => wide_pair!(op, Or, Or),
                    Code::OrAnd => wide_pair!(op, Or, And),
                    Code::OrAdd => wide_pair!(op, Or, Add),
                    Code::OrAddw => wide_pair!(op, Or, Addw),
                    Code::XorOr => wide_pair!(op, Xor, Or),
                    Code::XorAdd => wide_pair!(op, Xor, Add),
                    Code::AddXor => wide_pair!(op, Add, Xor),
                    Code::AddwXor => wide_pair!(op, Addw, Xor),
                    Code::AddwAnd => wide_pair!(op, Addw, And),
                    Code::AddOr => wide_pair!(op, Add, Or),
                    Code::AddiAnd => pair!(op, Addi, And),
                    Code::SrliAndi => pair!(op, Srli, Andi),
                    Code::AddiwAndi => pair!(op, Addiw, Andi),
                    Code::AndiAdd => pair!(op, Andi, Add),
                    Code::AndiAddw => pair!(op, Andi, Addw),
                    Code::ShiftsOr => {
                        let value = x!(op.b);
                        let (right, left) = (value >> (op.imm & 63), value << (op.imm >> 16 & 63));
                        x!(op.a) = right;
                        x!(op.c) = left;
                        x!(op.ext) = right | left;
                    }
                    Code::ShiftsOrW => {
                        let value = x!(op.b) as u32;
                        let right = (value >> (op.imm & 31)) as i32 as u64;
                        let left = (value << (op.imm >> 16 & 31)) as i32 as u64;
                        x!(op.a) = right;
                        x!(op.c) = left;
                        x!(op.ext) = right | left;
                    }
                    Code::SlliSrliAdd => {
                        let value = x!(op.b) << (op.imm & 63) >> (op.imm >> 16 & 63);
                        x!(op.a) = value;
                        x!(ext_low!(op)) = x!(ext_high!(op)).wrapping_add(value);
                    }

                    Code::LaLd => {
                        x!(op.a) = base.wrapping_add(op.imm as u64);
                        x!(op.c) = load!(
                            op,
                            1,
                            base.wrapping_add(op.imm as u64)
                                .wrapping_add(op.ext as i32 as u64),
                            u64
                        );
                    }
                    Code::LaLw => {
                        x!(op.a) = base.wrapping_add(op.imm as u64);
                        x!(op.c) = load!(
                            op,
                            1,
                            base.wrapping_add(op.imm as u64)
                                .wrapping_add(op.ext as i32 as u64),
                            u32
                        ) as i32 as u64;
                    }
                    Code::AddiJr => {
                        x!(op.a) = x!(op.b).wrapping_add(low!(op));
                        remaining -= i64::from(op.c);
                        target = x!(ext_low!(op)).wrapping_add(high!(op)) & !1;
                        from = std::ptr::null_mut();
                        break;
                    }
                    Code::AddiJal => {
                        let constant = (op.imm << 21 >> 21) as u64;
                        x!((op.b & 255) * 8) = x!((op.b >> 8) * 8).wrapping_add(constant);
                        x!(op.a) = base.wrapping_add(u64::from(op.ext >> 16));
                        jump!(i64::from(op.imm >> 11) * 2, op.c)
                    }
                    Code::LdAddiJr => {
                        x!(op.a) = load!(op, 0, x!(op.b).wrapping_add(low!(op)), u64);
                        x!(op.c & 511) = x!(op.c & 511).wrapping_add(high!(op));
                        remaining -= i64::from(op.c >> 9);
                        target = x!(ext_low!(op)) & !1;
                        from = std::ptr::null_mut();
                        break;
                    }
                    Code::Ld3 => {
                        load_run!(op, 0, op.a);
                        load_run!(op, 1, op.c);
                        load_run!(op, 2, ext_low!(op));
                    }
                    Code::Ld4 => {
                        load_run!(op, 0, op.a);
                        load_run!(op, 1, op.c);
                        load_run!(op, 2, ext_low!(op));
                        load_run!(op, 3, ext_high!(op));
                    }
                    Code::Sd3 => {
                        store_run!(op, 0, op.a);
                        store_run!(op, 1, op.c);
                        store_run!(op, 2, ext_low!(op));
                    }
                    Code::Sd4 => {
                        store_run!(op, 0, op.a);
                        store_run!(op, 1, op.c);
                        store_run!(op, 2, ext_low!(op));
                        store_run!(op, 3, ext_high!(op));
                    }

                    Code::Straddle => {
                        let next = base.wrapping_add(PAGE_SIZE as u64);
                        let entry = &*fetch.add((next >> 12) as usize % FETCH_SIZE);
                        let known = entry.tag == next
                            && u32::from(*entry.bytes.cast::<u16>()) == op.imm as u32;
                        if !known {
                            leave!(op, 0, Stop::At(*op))
                        }
                    }
                    Code::Ecall | Code::Ebreak | Code::Illegal => {
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
                let entry = &*fetch.add((target >> 12) as usize % FETCH_SIZE);
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
