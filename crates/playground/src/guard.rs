//! The wall around a machine: a bug that panics in it is its end, and nobody else's.
//!
//! Where panics unwind this is `catch_unwind`. WebAssembly has no unwinding on stable Rust: there a panic is
//! a trap, which only JavaScript can catch, so the page's worker brings a guard of its own
//! ([`Config::guard`](crate::Config)). What the frames of a trap held is never dropped: references leak,
//! borrows last. So a machine that trapped is used no more; even dropping it is guarded.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs the closure to its end, or says what ended it.
pub type Guard = fn(&mut dyn FnMut()) -> Result<(), String>;

/// The guard of platforms where panics unwind. In WebAssembly it guards nothing.
pub fn unwinding(body: &mut dyn FnMut()) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        format!("panicked: {}", text.unwrap_or("without a message"))
    })
}

/// Runs a closure for its value under a guard.
pub(crate) fn run<T>(guard: Guard, body: impl FnOnce() -> T) -> Result<T, String> {
    let (mut body, mut value) = (Some(body), None);
    guard(&mut || value = body.take().map(|body| body()))?;
    value.ok_or_else(|| "the guard ran nothing".to_string())
}
