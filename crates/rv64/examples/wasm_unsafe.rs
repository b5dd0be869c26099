//! The same as `run.rs` for WebAssembly: `examples/run.mjs` calls these functions.
//!
//! `cargo build --release -p rv64 --example wasm --target wasm32-unknown-unknown`
#![allow(unsafe_code)]

#[path = "support/program.rs"]
mod program;

use std::cell::RefCell;

use program::{End, Program, SLICE};

thread_local! {
    static PROGRAM: RefCell<Option<Program>> = const { RefCell::new(None) };
}

/// Room for `len` bytes of a file or an argument.
// SAFETY: no other function of this module has the name.
#[unsafe(no_mangle)]
pub extern "C" fn allocate(len: usize) -> *mut u8 {
    Box::leak(vec![0; len].into_boxed_slice()).as_mut_ptr()
}

/// Loads the ELF file at `file`; `argument` has its arguments, one on each line.
///
/// # Safety
/// Both are ranges got from `allocate`, which this takes back.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn load(file: *mut u8, len: usize, argument: *mut u8, argument_len: usize) {
    // SAFETY: the caller's promise.
    let (file, argument) = unsafe {
        (
            Box::from_raw(std::ptr::slice_from_raw_parts_mut(file, len)),
            Box::from_raw(std::ptr::slice_from_raw_parts_mut(argument, argument_len)),
        )
    };
    let argument = String::from_utf8_lossy(&argument).into_owned();
    let arguments: Vec<&str> = argument.lines().collect();
    PROGRAM.with_borrow_mut(|program| *program = Some(Program::load(&file, &arguments)));
}

/// Runs `slices` times a million instructions: -1 means there is more to do, otherwise the exit status.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn run(slices: u32) -> i32 {
    PROGRAM.with_borrow_mut(|program| {
        let Some(program) = program else { return 255 };
        for _ in 0..slices {
            match program.run_sliced(program.retired + SLICE, SLICE) {
                End::Status(status) => return status,
                End::Stopped(_) => return 254,
                End::TooLong => {}
            }
        }
        -1
    })
}

/// Instructions so far.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn retired() -> f64 {
    PROGRAM.with_borrow(|program| {
        program
            .as_ref()
            .map_or(0.0, |program| program.retired as f64)
    })
}

/// Where the output is.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn output() -> *const u8 {
    PROGRAM.with_borrow(|program| {
        program
            .as_ref()
            .map_or(std::ptr::null(), |p| p.output.as_ptr())
    })
}

/// And how long.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn output_len() -> usize {
    PROGRAM.with_borrow(|program| program.as_ref().map_or(0, |program| program.output.len()))
}
