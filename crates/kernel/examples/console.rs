//! Runs a command on a terminal and types at it:
//! `cargo run -p kernel --example console -- [--strace] ROOT COMMAND [ARG…] < SCRIPT`.
//!
//! Each line of the script is typed and followed by the Enter key; `\xNN` is a byte, `\c` at the end leaves
//! Enter out. After each line the machine runs until nobody can go on for 200 ms of its time.

use std::io::{Read, Write};
use std::path::Path;
use std::rc::Rc;

use clock::NANOS_PER_SEC;

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let trace = args.first().is_some_and(|arg| arg == "--strace");
    if trace {
        args.remove(0);
    }
    if args.len() < 2 {
        eprintln!("usage: console [--strace] ROOT COMMAND [ARG...] < SCRIPT");
        std::process::exit(2);
    }
    if let Err(errno) = run(&args, trace) {
        eprintln!("console: {errno}");
        std::process::exit(1);
    }
}

fn run(args: &[String], trace: bool) -> kernel::Result<()> {
    let machine =
        kernel::harness::Machine::from_directory(Path::new(&args[0]), kernel::Config::default())?;
    if trace {
        machine.kernel.trace_new_tasks.set(true);
        machine
            .kernel
            .set_trace_sink(Some(Box::new(|line| eprintln!("{line}"))));
    }
    let (console, slave) = kernel::dev::new_console(&machine.kernel)?;
    console.resize(24, 80);
    let argv: Vec<&str> = args[1..].iter().map(String::as_str).collect();
    let files = [Rc::clone(&slave), Rc::clone(&slave), Rc::clone(&slave)];
    let task = machine.start(&argv, files)?;
    console
        .tty()
        .attach(&task.group.session(), &task.group.process_group());
    drop(slave);
    let mut script = String::new();
    let _ = std::io::stdin().read_to_string(&mut script);
    let pause = |millis: u64| {
        let until = machine.now().plus(millis * NANOS_PER_SEC / 1000);
        let wake = machine
            .kernel
            .clock
            .wake_at(until, std::task::Waker::noop().clone());
        machine.run_until(20_000_000_000, || {
            machine.now() >= until || task.group.is_zombie()
        });
        machine.kernel.clock.cancel(wake);
        let mut output = Vec::new();
        console.drain_output(&mut output);
        let _ = std::io::stdout().write_all(&output);
        let _ = std::io::stdout().flush();
    };
    pause(500);
    for line in script.lines() {
        let (line, enter) = line
            .strip_suffix("\\c")
            .map_or((line, true), |line| (line, false));
        let mut keys = unescape(line);
        if enter {
            keys.push(b'\r');
        }
        console.write_input(&keys);
        pause(200);
    }
    pause(1000);
    println!("\n[{:?}]", task.group.status());
    Ok(())
}

fn unescape(line: &str) -> Vec<u8> {
    let mut keys = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find("\\x") {
        keys.extend_from_slice(&rest.as_bytes()[..at]);
        let digits = rest.get(at + 2..at + 4).unwrap_or_default();
        keys.extend(u8::from_str_radix(digits, 16).ok());
        rest = rest.get(at + 4..).unwrap_or_default();
    }
    keys.extend_from_slice(rest.as_bytes());
    keys
}
