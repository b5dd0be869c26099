//! What this thread has allocated and not freed. A circle of references, or a table that only grows, is in no
//! count of the kernel's; it is in this one.
//!
//! A program that wants to know makes [`Counting`] its global allocator.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counted.
pub struct Counting;

/// What lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heap {
    /// Bytes.
    pub bytes: i64,
    /// Allocations, by the power of two of their size.
    pub by_size: [i64; SIZES],
}

const SIZES: usize = 32;

thread_local! {
    static BYTES: Cell<i64> = const { Cell::new(0) };
    static BY_SIZE: [Cell<i64>; SIZES] = const { [const { Cell::new(0) }; SIZES] };
}

fn count(size: usize, sign: i64) {
    let class = (usize::BITS - size.leading_zeros()) as usize;
    // A thread that ends has no counters any more: what it frees then is nobody's business.
    let _ = BYTES.try_with(|bytes| bytes.set(bytes.get() + sign * size as i64));
    let _ = BY_SIZE.try_with(|counts| {
        let count = &counts[class.min(SIZES - 1)];
        count.set(count.get() + sign);
    });
}

impl Heap {
    /// As it is now.
    #[must_use]
    pub fn now() -> Heap {
        Heap {
            bytes: BYTES.with(Cell::get),
            by_size: BY_SIZE.with(|counts| std::array::from_fn(|class| counts[class].get())),
        }
    }

    /// Where there is more than in `before`.
    #[must_use]
    pub fn growth(&self, before: &Heap) -> String {
        let mut text = format!("{} bytes;", self.bytes - before.bytes);
        for (class, (now, then)) in self.by_size.iter().zip(before.by_size).enumerate() {
            if *now != then {
                text.push_str(&format!(" {:+} of <{}", now - then, 1u64 << class));
            }
        }
        text
    }
}

// SAFETY: every call is the system allocator's, with the arguments unchanged; counting allocates nothing, for
// the counters are constants until they are changed and have no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller's promise about `layout` is what the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: the block came from the system's allocator with this layout.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), -1);
        count(size, 1);
        // SAFETY: the block came from the system's allocator with this layout.
        unsafe { System.realloc(block, layout, size) }
    }
}
