//! Runs a command in a machine whose root is a copy of a host directory:
//! `cargo run -p kernel --example run -- [--strace] ROOT COMMAND [ARG…]`.

use std::io::Write;
use std::path::Path;

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let trace = args.first().is_some_and(|arg| arg == "--strace");
    if trace {
        args.remove(0);
    }
    if args.len() < 2 {
        eprintln!("usage: run [--strace] ROOT COMMAND [ARG...]");
        std::process::exit(2);
    }
    let machine = match kernel::harness::Machine::from_directory(
        Path::new(&args[0]),
        kernel::Config::default(),
    ) {
        Ok(machine) => machine,
        Err(errno) => {
            eprintln!("run: {}: {errno}", args[0]);
            std::process::exit(2);
        }
    };
    if trace {
        machine.kernel.trace_new_tasks.set(true);
        machine
            .kernel
            .set_trace_sink(Some(Box::new(|line| eprintln!("{line}"))));
    }
    let argv: Vec<&str> = args[1..].iter().map(String::as_str).collect();
    let mut input = Vec::new();
    if std::env::var_os("STDIN").is_some() {
        let _ = std::io::Read::read_to_end(&mut std::io::stdin(), &mut input);
    }
    match machine.run_with(&argv, &input, u64::MAX) {
        Ok(output) => {
            let _ = std::io::stdout().write_all(&output.stdout);
            let _ = std::io::stderr().write_all(&output.stderr);
            if trace || std::env::var_os("STATS").is_some() {
                eprintln!(
                    "status {:?}, {} M fuel",
                    output.status,
                    output.fuel / 1_000_000
                );
                for line in machine.kernel.log_lines() {
                    eprintln!("log: {}", line.text);
                }
            }
            std::process::exit(output.code());
        }
        Err(errno) => {
            eprintln!("run: {}: {errno}", argv[0]);
            std::process::exit(2);
        }
    }
}
