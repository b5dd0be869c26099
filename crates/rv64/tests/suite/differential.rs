//! Random programs give the same registers, flags and memory here and under qemu-user.
//!
//! `RV64_SEEDS=FROM..TO` chooses other seeds; `RV64_KEEP=1` keeps the programs in `target/tmp`. `DRYDOCK_SKIP_QEMU=1` skips this where qemu cannot be had.

use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;

use super::generate::{DUMP, FLOAT_CASE, float_program, program};
use crate::program::{End, Program, SLICE};

const STEPS: usize = 3000;

fn qemu(elf: &[u8], name: &str) -> Result<Vec<u8>, String> {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.elf"));
    std::fs::write(&path, elf).map_err(|error| error.to_string())?;
    let make_executable = Command::new("chmod").arg("+x").arg(&path).status();
    assert!(make_executable.is_ok_and(|status| status.success()));
    let output = Command::new("qemu-riscv64").arg(&path).output();
    if std::env::var_os("RV64_KEEP").is_none() {
        let _ = std::fs::remove_file(&path);
    }
    let output = output.map_err(|error| {
        format!("qemu-riscv64: {error} (Debian and Ubuntu: apt install qemu-user)")
    })?;
    if !output.status.success() {
        return Err(format!("qemu-riscv64 ended with {}", output.status));
    }
    Ok(output.stdout)
}

fn ours(elf: &[u8], slice: u64) -> Result<Vec<u8>, String> {
    let mut program = Program::load(elf, &["random"]);
    match program.run_sliced(100_000_000, slice) {
        End::Status(0) => Ok(program.output),
        end => Err(format!("{end:x?} at {:#x}", program.hart.pc)),
    }
}

/// What differs, in words; `None` when nothing does.
fn difference(seed: u64, steps: usize) -> Option<String> {
    let elf = program(seed, steps);
    let theirs = match qemu(&elf, &format!("random-{seed}")) {
        Ok(output) => output,
        Err(error) => return Some(error),
    };
    assert_eq!(
        theirs.len() as u64,
        DUMP,
        "the program's dump is not complete"
    );
    for slice in [SLICE, 77] {
        match ours(&elf, slice) {
            Ok(output) if output == theirs => {}
            Ok(output) => {
                let word =
                    |bytes: &[u8], at| u64::from_le_bytes(*bytes[at..].first_chunk::<8>().unwrap());
                let at = (0..DUMP as usize)
                    .step_by(8)
                    .find(|&at| word(&output, at) != word(&theirs, at))?;
                let name = match (at as u64).checked_sub(3 * 4096).map(|at| at / 8) {
                    None => format!("buffer + {at:#x}"),
                    Some(register @ 0..32) => format!("x{register}"),
                    Some(register @ 32..64) => format!("f{}", register - 32),
                    Some(_) => "fcsr".to_owned(),
                };
                let (got, expected) = (word(&output, at), word(&theirs, at));
                return Some(format!(
                    "{name}: {got:#x}, qemu has {expected:#x} (slices of {slice})"
                ));
            }
            Err(error) => return Some(error),
        }
    }
    None
}

/// The shortest program with this seed that differs.
fn shrink(seed: u64) -> String {
    let (mut good, mut bad) = (0, STEPS);
    while bad - good > 1 {
        let middle = usize::midpoint(good, bad);
        if difference(seed, middle).is_some() {
            bad = middle
        } else {
            good = middle
        }
    }
    let text = difference(seed, bad).unwrap_or_default();
    let elf = program(seed, bad);
    let code_end = elf.len() as u64 - DUMP;
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("differs-{seed}.elf"));
    let _ = std::fs::write(&path, &elf);
    format!(
        "seed {seed}, {bad} steps ({code_end} bytes): {text}; kept as {}",
        path.display()
    )
}

/// The seeds to try; `None` where there is no qemu and that is accepted.
fn seeds(count: u64) -> Option<Range<u64>> {
    if std::env::var_os("DRYDOCK_SKIP_QEMU").is_some() {
        eprintln!("skipped: DRYDOCK_SKIP_QEMU is set");
        return None;
    }
    let chosen = std::env::var("RV64_SEEDS").ok().and_then(|text| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    Some(chosen.unwrap_or(0..count))
}

#[test]
fn random_programs_run_as_under_qemu() {
    let mut failures = Vec::new();
    for seed in seeds(40).unwrap_or_default() {
        if difference(seed, STEPS).is_some() {
            failures.push(shrink(seed));
        }
        if failures.len() == 4 {
            break;
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn floating_point_is_as_under_qemu() {
    for seed in seeds(10).unwrap_or_default() {
        let (elf, words) = float_program(seed, 4000);
        let theirs = qemu(&elf, &format!("float-{seed}")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(theirs.len(), words.len() * FLOAT_CASE);
        for slice in [SLICE, 1] {
            let output = ours(&elf, slice).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let pairs = output.chunks(FLOAT_CASE).zip(theirs.chunks(FLOAT_CASE));
            for (i, (ours, theirs)) in pairs.enumerate() {
                let text = rv64::disasm(words[i], 0);
                let word =
                    |bytes: &[u8], at| u64::from_le_bytes(*bytes[at..].first_chunk::<8>().unwrap());
                let pair = |bytes| (word(bytes, 0), word(bytes, 8));
                assert_eq!(
                    pair(ours),
                    pair(theirs),
                    "seed {seed}, case {i}: {text} (ours, qemu's)"
                );
            }
        }
    }
}
