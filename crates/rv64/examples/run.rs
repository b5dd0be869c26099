//! Runs a static riscv64 program and says how fast: `cargo run --release -p rv64 --example run -- FILE
//! [ARGS]`. `RV64_COMPARE=1` runs it with `qemu-riscv64` too and prints the ratio of the times.

#![allow(clippy::disallowed_methods, reason = "measures the host")]

#[path = "support/program.rs"]
mod program;

use std::io::Write;
use std::process::Command;
use std::time::Instant;

use program::{End, Program};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(file) = args.first() else {
        eprintln!("usage: run FILE [ARGS]");
        std::process::exit(2);
    };
    let elf = std::fs::read(file).expect("the program cannot be read");
    let arguments: Vec<&str> = args.iter().map(String::as_str).collect();
    let start = Instant::now();
    let mut program = Program::load(&elf, &arguments);
    let end = program.run(u64::MAX);
    let ours = start.elapsed().as_secs_f64();
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
        let start = Instant::now();
        let output = Command::new("qemu-riscv64")
            .args(&args)
            .output()
            .expect("qemu-riscv64 is missing");
        let theirs = start.elapsed().as_secs_f64();
        let same = output.stdout == program.output;
        eprintln!(
            "qemu-riscv64 {theirs:.3} s; ratio {:.2}; same output: {same}",
            ours / theirs
        );
    }
}
