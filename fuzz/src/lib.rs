//! Fuzz targets: functions that take bytes and must neither panic nor hang, whatever the bytes are.
//!
//! The targets are plain functions, so they run with the stable toolchain: the driver in `main.rs`
//! mutates seeds with a seeded generator, a bounded number of times. `cargo test -p fuzz` is its short
//! run; by hand: `cargo run --release -p fuzz -- TARGET RUNS SEED`. A finding is a seed number, which
//! reproduces it. The same functions fit `fuzz_target!` of cargo-fuzz where a nightly toolchain is at hand.

mod dockerfile;
mod frames;
mod grpc;
mod targets;

pub use targets::{TARGETS, Target};

use clock::Rng;

/// Longest input made by mutation.
const INPUT_BYTES_MAX: usize = 8192;

/// Runs a target `runs` times on inputs that follow from `seed`.
pub fn run(target: &Target, runs: u64, seed: u64) {
    for number in 0..runs {
        let input = input(target, seed.wrapping_add(number));
        (target.run)(&input);
    }
}

/// The input with a number: one of the target's seeds, mutated.
#[must_use]
pub fn input(target: &Target, number: u64) -> Vec<u8> {
    let rng = Rng::new(number);
    let below = |limit: usize| (rng.next_u64() % limit.max(1) as u64) as usize;
    let seeds = (target.seeds)();
    let mut bytes = seeds[below(seeds.len())].clone();
    for _ in 0..=below(8) {
        let at = below(bytes.len() + 1);
        match below(7) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << below(8);
                }
            }
            1 => bytes.insert(at, rng.next_u64() as u8),
            2 => bytes.truncate(at),
            3 => {
                // Numbers that sit on edges.
                let edges = [
                    0,
                    1,
                    0x7f,
                    0x80,
                    0xff,
                    0x7fff_ffff,
                    0x8000_0000,
                    u64::MAX,
                    i64::MAX as u64,
                    4096,
                ];
                let value = edges[below(edges.len())].to_le_bytes();
                let width = 1 << below(4);
                for (slot, byte) in bytes.iter_mut().skip(at).zip(&value[..width]) {
                    *slot = *byte;
                }
            }
            4 => {
                let end = (at + below(64)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => {
                let end = (at + below(64)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let other = &seeds[below(seeds.len())];
                let from = below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
        bytes.truncate(INPUT_BYTES_MAX.max(seeds[0].len()));
    }
    bytes
}
