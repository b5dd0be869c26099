//! Decoded code of one page.
//!
//! A [`CodePage`] is attached to the [`Page`] it was made from and is filled block by block, when a
//! block is first entered. A block has one entry and any number of exits: it goes on behind conditional
//! branches, and at the target of a jump inside the page, up to any other jump, the page's end, code that
//! is decoded already, or [`BLOCK_MAX`] instructions. An instruction that crosses the page's end is a block
//! for itself. Nothing in it depends on the address the page is mapped at.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mem::{Code as PageCode, PAGE_SIZE, Page};

use crate::cache::CodeCache;
use crate::decode::decode;
use crate::fuse::fuse;
use crate::lower::{jump, plain};
use crate::op::{Code, Insn, Op};
use crate::schedule::{computes, schedule};

/// Instructions in a block, at most.
pub const BLOCK_MAX: usize = 64;
/// Operations of a page, at most: when overlapping blocks have made more, all are decoded anew.
const OPS_MAX: usize = 24 << 10;
const HALVES: usize = PAGE_SIZE / 2;

/// Where an operation came from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Page offset of its first instruction.
    pub at: u16,
    /// Number of instructions.
    pub count: u8,
    /// Bit `i` is set when its instruction `i` has four bytes.
    pub long: u8,
}

/// The operations of a page. Operation 0 is never executed: index 0 means "not decoded".
#[derive(Default)]
pub struct Ops {
    pub ops: Vec<Op>,
    origins: Vec<Origin>,
    /// First operations of the blocks, ascending.
    starts: Vec<u16>,
}

/// See the module's text.
#[repr(C)]
pub struct CodePage {
    /// Index of the operation a block begins with, for each halfword of the page; 0 when there is none.
    entries: [Cell<u16>; HALVES],
    live: Cell<bool>,
    /// A bit for each halfword that was decoded.
    covered: [Cell<u64>; HALVES / 64],
    ops: RefCell<Ops>,
    /// The bytes as they were, for a page that may change behind our back.
    snapshot: Option<Box<[u8; PAGE_SIZE]>>,
    /// Where it is counted, and with how many bytes.
    counted: Option<(Rc<CodeCache>, Cell<usize>)>,
    /// The TLB that was last asked to forget stores to the page.
    flushed: Cell<usize>,
}

impl Drop for CodePage {
    fn drop(&mut self) {
        if let Some((cache, bytes)) = &self.counted {
            cache.count(bytes.get(), 0);
        }
    }
}

impl PageCode for CodePage {
    fn written(&self, offset: usize, len: usize) -> bool {
        len != 0
            && (offset / 2..=(offset + len - 1) / 2)
                .any(|half| self.covered[half / 64].get() >> (half % 64) & 1 != 0)
    }

    fn forget(&self) {
        self.live.set(false);
    }

    fn as_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}

impl CodePage {
    /// For `page`, with nothing decoded yet; what it takes is counted in `cache`.
    pub fn new(page: &Page, cache: &Rc<CodeCache>) -> CodePage {
        let snapshot = page.is_stored_elsewhere().then(|| {
            let mut bytes = Box::new([0; PAGE_SIZE]);
            page.read(0, &mut *bytes);
            bytes
        });
        let mut code = CodePage::empty();
        code.snapshot = snapshot;
        code.counted = Some((Rc::clone(cache), Cell::new(0)));
        code.ops.borrow_mut().push(
            plain(Code::Illegal),
            Origin {
                at: 0,
                count: 0,
                long: 0,
            },
        );
        code.count(&code.ops.borrow());
        code
    }

    /// Tells the cache how large this is now.
    fn count(&self, ops: &Ops) {
        if let Some((cache, counted)) = &self.counted {
            let snapshot = self.snapshot.as_ref().map_or(0, |_| PAGE_SIZE);
            let bytes = size_of::<CodePage>() + snapshot + ops.allocated();
            cache.count(counted.replace(bytes), bytes);
        }
    }

    /// Frees the operations. For a page that was told to [forget](PageCode::forget) it and that nobody is
    /// just executing.
    pub fn discard(&self) {
        self.live.set(false);
        let mut ops = self.ops.borrow_mut();
        *ops = Ops::default();
        self.count(&ops);
    }

    fn empty() -> CodePage {
        CodePage {
            entries: [const { Cell::new(0) }; HALVES],
            live: Cell::new(true),
            covered: [const { Cell::new(0) }; HALVES / 64],
            ops: RefCell::default(),
            snapshot: None,
            counted: None,
            flushed: Cell::new(0),
        }
    }

    /// True when `tlb`, a TLB's address, was not the last to be asked to forget stores to the page. Once it
    /// has, it is given no new ones as long as this is the page's code.
    pub fn is_first_seen_by(&self, tlb: usize) -> bool {
        self.flushed.replace(tlb) != tlb
    }

    /// A page with one instruction only, at page offset `at`; for single steps and for instructions that
    /// cross a page boundary. Returns its index too.
    pub fn single(insn: &Insn, at: usize) -> (CodePage, u16) {
        let code = CodePage::empty();
        let mut ops = code.ops.borrow_mut();
        ops.push(
            plain(Code::Illegal),
            Origin {
                at: 0,
                count: 0,
                long: 0,
            },
        );
        ops.starts.push(1);
        ops.emit(&[(at, *insn)]);
        let end = at + usize::from(insn.len);
        ops.push(
            jump(end as i32, 1, 0),
            Origin {
                at: end as u16,
                count: 0,
                long: 0,
            },
        );
        drop(ops);
        (code, 1)
    }

    /// False when a page that is stored to from elsewhere has other bytes than those decoded.
    pub fn is_current(&self, page: &Page) -> bool {
        if !page.is_stored_elsewhere() {
            return true;
        }
        let mut bytes = [0; PAGE_SIZE];
        page.read(0, &mut bytes);
        self.snapshot.as_ref().is_some_and(|old| **old == bytes)
    }

    /// False once the page has dropped this code: it must not be entered any more.
    #[inline(always)]
    pub fn live(&self) -> bool {
        self.live.get()
    }

    /// The operation to begin with at a page offset, 0 when it is not decoded.
    #[inline(always)]
    pub fn entry(&self, offset: u64) -> u16 {
        self.entries[offset as usize / 2 % HALVES].get()
    }

    /// The operations, for the interpreter.
    pub fn ops(&self) -> &RefCell<Ops> {
        &self.ops
    }

    /// Decodes the block at a page offset. `None` when there is no room.
    pub fn add_block(&self, page: &Page, offset: usize) -> Option<u16> {
        let mut bytes = [0; PAGE_SIZE];
        page.read(0, &mut bytes);
        let mut ops = self.ops.borrow_mut();
        if ops.ops.len() + BLOCK_MAX + 1 > OPS_MAX {
            return None;
        }
        let mut insns = Vec::with_capacity(BLOCK_MAX);
        let (end, goes_on) = self.scan(&bytes, offset, &mut insns);
        for (at, insn) in &insns {
            self.cover(*at);
            self.cover(at + usize::from(insn.len) - 2);
        }
        schedule(&mut insns);
        let index = ops.ops.len() as u16;
        ops.starts.push(index);
        ops.emit(&insns);
        let count = insns.len() as u16;
        let origin = Origin {
            at: end as u16,
            count: 0,
            long: 0,
        };
        if goes_on {
            let link = if end < PAGE_SIZE {
                self.entry(end as u64)
            } else {
                0
            };
            ops.push(jump(end as i32, count, link), origin);
        }
        self.count(&ops);
        self.entries[offset / 2].set(index);
        Some(index)
    }

    /// Decodes the block of an instruction that crosses into the next page: it begins with a check that
    /// its second half is still there.
    pub fn add_straddling(&self, insn: &Insn) -> Option<u16> {
        let mut ops = self.ops.borrow_mut();
        if ops.ops.len() + 3 > OPS_MAX {
            return None;
        }
        let at = PAGE_SIZE - 2;
        self.cover(at);
        let index = ops.ops.len() as u16;
        ops.starts.push(index);
        let origin = Origin {
            at: at as u16,
            count: 0,
            long: 0,
        };
        let check = Op {
            imm: (insn.bits >> 16) as i32,
            ..plain(Code::Straddle)
        };
        ops.push(check, origin);
        ops.emit(&[(at, *insn)]);
        ops.push(jump(at as i32 + 4, 1, 0), origin);
        self.count(&ops);
        self.entries[at / 2].set(index);
        Some(index)
    }

    /// Notes that the halfword at a page offset is code.
    fn cover(&self, at: usize) {
        let half = at / 2;
        let word = &self.covered[half / 64];
        word.set(word.get() | 1 << (half % 64));
    }

    /// Where a jump leads that the block can simply follow: into this page, to code that is neither decoded
    /// nor in the block.
    fn followed(&self, at: usize, insn: &Insn, insns: &[(usize, Insn)]) -> Option<usize> {
        if insn.code != Code::Jal || insn.rd != 0 || insns.is_empty() {
            return None;
        }
        let target = usize::try_from(at as i64 + i64::from(insn.imm)).ok()?;
        let new = target < PAGE_SIZE
            && self.entry(target as u64) == 0
            && target != at
            && insns.iter().all(|(at, _)| *at != target);
        new.then_some(target)
    }

    /// Collects the instructions of the block at `offset`; returns where it ends and whether code goes on
    /// there.
    fn scan(
        &self,
        bytes: &[u8; PAGE_SIZE],
        offset: usize,
        insns: &mut Vec<(usize, Insn)>,
    ) -> (usize, bool) {
        let mut at = offset;
        loop {
            if at >= PAGE_SIZE
                || insns.len() == BLOCK_MAX
                || !insns.is_empty() && self.entry(at as u64) != 0
            {
                return (at, true);
            }
            let half = |at: usize| u32::from(bytes[at]) | u32::from(bytes[at + 1]) << 8;
            let low = half(at);
            let long = low & 3 == 3;
            if long && at + 4 > PAGE_SIZE {
                return (at, true);
            }
            let insn = decode(if long { low | half(at + 2) << 16 } else { low });
            let followed = self.followed(at, &insn, insns);
            insns.push((at, insn));
            if let Some(target) = followed {
                at = target;
                continue;
            }
            at += usize::from(insn.len);
            if ends_block(insn.code) {
                return (at, false);
            }
        }
    }
}

/// False when an operation of these instructions could stop before one that does not follow the others in
/// memory (`schedule.rs` may have moved those): then its address would not be known.
fn keeps_addresses(insns: &[(usize, Insn)]) -> bool {
    insns.iter().all(|(_, insn)| computes(insn))
        || insns.windows(2).all(|pair| match pair {
            [(at, insn), (next, _)] => at + usize::from(insn.len) == *next,
            _ => true,
        })
}

fn ends_block(code: Code) -> bool {
    matches!(
        code,
        Code::Jal | Code::Jalr | Code::Ecall | Code::Ebreak | Code::Illegal
    )
}

impl Ops {
    /// Bytes of the lists.
    fn allocated(&self) -> usize {
        self.ops.capacity() * size_of::<Op>()
            + self.origins.capacity() * size_of::<Origin>()
            + self.starts.capacity() * size_of::<u16>()
    }

    fn push(&mut self, op: Op, origin: Origin) {
        self.ops.push(op);
        self.origins.push(origin);
    }

    /// Appends the operations for `insns`, fused where possible. Jumps that the block has followed become
    /// part of the operation before them.
    fn emit(&mut self, insns: &[(usize, Insn)]) {
        let mut done = 0;
        while done < insns.len() {
            let behind = insns.get(done + 1..).unwrap_or_default();
            let followed = |insn: &Insn| insn.code == Code::Jal && insn.rd == 0;
            // A jump that is the last instruction is one; what can be fused ends before a followed one.
            let straight = behind
                .iter()
                .position(|(_, insn)| followed(insn))
                .unwrap_or(behind.len());
            let is_last = done + 1 + straight + 1 >= insns.len();
            let end = if is_last {
                insns.len()
            } else {
                done + 1 + straight
            };
            let mut fused = fuse(&insns[done..end], done as u16);
            if !keeps_addresses(&insns[done..done + fused.1]) {
                fused = fuse(&insns[done..=done], done as u16);
            }
            let (op, count) = fused;
            let mut long = 0;
            for (i, (_, insn)) in insns[done..done + count].iter().enumerate() {
                long |= u8::from(insn.len == 4) << i;
            }
            let at = insns[done].0 as u16;
            done += count;
            let mut count = count as u8;
            while done + 1 < insns.len() && followed(&insns[done].1) {
                done += 1;
                count += 1;
            }
            self.push(op, Origin { at, count, long });
        }
    }

    /// Where instruction `part` of operation `index` begins, as a page offset.
    pub fn offset_of(&self, index: usize, part: usize) -> u64 {
        let origin = self.origins[index];
        (0..part).fold(u64::from(origin.at), |at, i| {
            at + 2 + 2 * u64::from(origin.long >> i & 1)
        })
    }

    /// Instructions of operation `index`'s block that come before it.
    pub fn count_before(&self, index: usize) -> u64 {
        let block = self
            .starts
            .partition_point(|&start| usize::from(start) <= index)
            - 1;
        let start = usize::from(self.starts[block]);
        self.origins[start..index]
            .iter()
            .map(|origin| u64::from(origin.count))
            .sum()
    }
}
