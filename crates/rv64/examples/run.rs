//! Runs a static riscv64 program and says how fast: `cargo run --release -p rv64 --example run -- FILE
//! [ARGS]`. `RV64_COMPARE=1` runs it with `qemu-riscv64` too and prints the ratio of the times.

#![allow(clippy::disallowed_methods, reason = "measures the host")]

#[path = "support/program.rs"]
mod program;

use std::io::Write;
use std::process::Command;

use program::{End, Program, SLICE};

/// User time of this process or of its children, from /proc/self/stat, in steps of 10 ms: wall time says
/// nothing on a busy machine.
fn cpu_seconds(children: bool) -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields
        .split_whitespace()
        .nth(if children { 13 } else { 11 });
    ticks
        .and_then(|ticks| ticks.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 100.0
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(file) = args.first() else {
        eprintln!("usage: run FILE [ARGS]");
        std::process::exit(2);
    };
    let elf = std::fs::read(file).expect("the program cannot be read");
    let arguments: Vec<&str> = args.iter().map(String::as_str).collect();
    let start = cpu_seconds(false);
    let mut program = Program::load(&elf, &arguments);
    let end = program.run_sliced(u64::MAX, SLICE);
    let ours = cpu_seconds(false) - start;
    std::io::stdout()
        .write_all(&program.output)
        .expect("stdout is closed");
    let mips = program.retired as f64 / ours / 1e6;
    eprintln!(
        "{end:x?}: {} instructions, {ours:.3} s, {mips:.0} MIPS",
        program.retired
    );
    if !matches!(end, End::Status(_)) {
        eprintln!("{:x?}", program.hart);
    }
    if std::env::var_os("RV64_COMPARE").is_some() {
        let output = Command::new("qemu-riscv64")
            .args(&args)
            .output()
            .expect("qemu-riscv64 is missing");
        let theirs = cpu_seconds(true);
        let same = output.stdout == program.output;
        eprintln!(
            "qemu-riscv64 {theirs:.3} s; ratio {:.2}; same output: {same}",
            ours / theirs
        );
    }
}
