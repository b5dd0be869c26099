//! `tests/syscalls/*.c` on the real kernel and in Drydock, from the same source: the native run judges the
//! expectations, and `docs/syscall-tests.md` is printed from the run in Drydock.
//!
//! `DRYDOCK_WRITE_DOCS=1 cargo test -p kernel --test syscalls` writes the document anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use kernel::Config;
use kernel::harness::Machine;

/// Times a check that failed natively is tried: the machine may be busy.
const NATIVE_TRIES: usize = 3;
/// Instructions the whole suite may take in Drydock.
const BUDGET: u64 = 20_000_000_000;
/// Kernels older than this are not asked: they lack calls of the suite.
const NATIVE_RELEASE_MIN: (u32, u32) = (6, 12);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    Fail(String),
    Skip,
}

/// One line of a run.
#[derive(Clone, Debug)]
struct Check {
    family: String,
    case: String,
    what: String,
    verdict: Verdict,
}

fn parse(output: &str) -> Vec<Check> {
    let check = |line: &str| {
        let (verdict, rest) = line.split_once(' ')?;
        let (place, text) = rest.split_once(": ")?;
        let (family, case) = place.split_once(' ')?;
        let verdict = match verdict {
            "PASS" => Verdict::Pass,
            "SKIP" => Verdict::Skip,
            "FAIL" => Verdict::Fail(text.to_string()),
            _ => return None,
        };
        Some(Check {
            family: family.to_string(),
            case: case.to_string(),
            what: text.to_string(),
            verdict,
        })
    };
    output.lines().filter_map(check).collect()
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    path.metadata().and_then(|data| data.modified()).ok()
}

/// Compiles what is newer than its object file, and links.
fn build(compiler: &str, name: &str) -> PathBuf {
    let out = repository("target/syscalls").join(name);
    std::fs::create_dir_all(&out).expect("target is writable");
    let program = out.join("syscalls");
    let header = repository("tests/syscalls/check.h");
    let mut sources: Vec<PathBuf> = std::fs::read_dir(repository("tests/syscalls"))
        .expect("the cases")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "c"))
        .collect();
    sources.sort();
    let mut objects = Vec::new();
    let mut stale = !program.exists();
    for source in &sources {
        let object = out
            .join(source.file_stem().expect("a name"))
            .with_extension("o");
        let newest = modified(source).max(modified(&header));
        if modified(&object) < newest {
            let flags = ["-O1", "-std=gnu11", "-w", "-c", "-o"];
            run_tool(Command::new(compiler).args(flags).arg(&object).arg(source));
            stale = true;
        }
        objects.push(object);
    }
    if stale {
        let mut link = Command::new(compiler);
        link.args(["-static", "-o"]).arg(&program).args(&objects);
        run_tool(link.arg("-lpthread"));
    }
    program
}

fn run_tool(command: &mut Command) {
    let output = command.output();
    let output = output.unwrap_or_else(|error| {
        panic!("{command:?}: {error}; `cargo xtask setup` installs the compilers")
    });
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn run_native(program: &Path, arguments: &[&str]) -> Vec<Check> {
    run_command(Command::new(program).args(arguments))
}

fn run_command(command: &mut Command) -> Vec<Check> {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// What is about the processor can only be judged by another one of its kind.
fn judge_processor(program: &Path) {
    let mut qemu = Command::new("qemu-riscv64");
    let checks = run_command(qemu.args(["-cpu", "rv64"]).arg(program).arg("processor"));
    assert!(checks.len() > 100, "{} checks", checks.len());
    let failed: Vec<_> = checks
        .iter()
        .filter(|check| check.verdict != Verdict::Pass)
        .collect();
    assert!(failed.is_empty(), "qemu-riscv64: {failed:#?}");
}

/// The failures of a native run that stay when their cases are run again.
fn native_failures(program: &Path) -> (usize, Vec<Check>) {
    let all = run_native(program, &[]);
    let failed = |checks: &[Check]| -> Vec<Check> {
        let fails = |check: &&Check| matches!(check.verdict, Verdict::Fail(_));
        checks.iter().filter(fails).cloned().collect()
    };
    let passed = all.iter().filter(|check| check.verdict == Verdict::Pass);
    let passed = passed.count();
    let mut failures = failed(&all);
    for _ in 1..NATIVE_TRIES {
        let mut cases: Vec<_> = failures
            .iter()
            .map(|check| (check.family.clone(), check.case.clone()))
            .collect();
        cases.dedup();
        failures.clear();
        for (family, case) in cases {
            failures.extend(failed(&run_native(program, &[&family, &case])));
        }
    }
    (passed, failures)
}

fn native_is_new_enough() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(['.', '-'])
        .map(|part| part.trim().parse().unwrap_or(0));
    let found: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    found >= NATIVE_RELEASE_MIN
}

fn run_in_drydock(program: &Path) -> Vec<Check> {
    let machine = Machine::new(Config::default()).expect("a machine");
    for directory in ["/bin", "/var", "/var/tmp"] {
        machine
            .kernel
            .with_host_fs(|fs| fs.mkdir(None, directory.as_bytes(), 0o755))
            .expect("an empty root");
    }
    let bytes = std::fs::read(program).expect("just built");
    machine
        .write_file("/bin/syscalls", &bytes, 0o755)
        .expect("room");
    let output = machine
        .run_with(&["/bin/syscalls"], b"", BUDGET)
        .expect("it starts");
    assert_eq!(
        output.code(),
        0,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(machine.kernel.crashed(), None);
    parse(&output.text())
}

/// Checks that passed and that did not, by family and case, in the order of the run.
type Cases<'a> = BTreeMap<&'a str, Vec<(&'a str, usize, Vec<&'a str>)>>;

fn document(checks: &[Check]) -> String {
    let mut families: Cases<'_> = BTreeMap::new();
    for check in checks {
        let cases = families.entry(&check.family).or_default();
        if cases.last().is_none_or(|case| case.0 != check.case) {
            cases.push((&check.case, 0, Vec::new()));
        }
        let Some(case) = cases.last_mut() else {
            continue;
        };
        match &check.verdict {
            Verdict::Pass => case.1 += 1,
            Verdict::Fail(_) | Verdict::Skip => case.2.push(&check.what),
        }
    }
    let passed = checks.iter().filter(|check| check.verdict == Verdict::Pass);
    let mut text = format!(
        "# Syscall tests\n\n\
         Printed by `DRYDOCK_WRITE_DOCS=1 cargo test -p kernel --test syscalls`; the test compares.\n\n\
         The cases in `tests/syscalls/` are written from the man pages, compiled once for this computer and \
         once for riscv64, and run on the real Linux kernel and in Drydock. The real kernel judges the \
         expectations: a check that it does not pass is wrong and fails the test. (A sandbox that refuses \
         what a case needs, such as mounting, leaves that case out there.) Of the family \
         `processor` the judge is qemu-riscv64. What is listed is the run in Drydock: {} of {} checks pass.\n",
        passed.count(),
        checks.len()
    );
    for (family, cases) in families {
        let _ = write!(
            text,
            "\n## {family}\n\n| case | checks | passed | differs from Linux |\n|---|---:|---:|---|\n"
        );
        for (case, passed, differs) in cases {
            let _ = writeln!(
                text,
                "| {} | {} | {passed} | {} |",
                case.replace('_', " "),
                passed + differs.len(),
                differs.join("; ").replace('|', "\\|")
            );
        }
    }
    text
}

#[test]
fn linux_and_drydock_agree() {
    let guest = build("riscv64-linux-gnu-gcc", "riscv64");
    let checks = run_in_drydock(&guest);
    assert!(checks.len() > 1000, "{} checks", checks.len());

    judge_processor(&guest);
    if native_is_new_enough() {
        let (passed, failures) = native_failures(&build("gcc", "native"));
        assert!(failures.is_empty(), "on this Linux: {failures:#?}");
        assert!(passed > 800, "only {passed} checks ran on this Linux");
    } else {
        eprintln!("this kernel is too old to judge the expectations");
    }

    let path = repository("docs/syscall-tests.md");
    let text = document(&checks);
    if std::env::var_os("DRYDOCK_WRITE_DOCS").is_some() {
        std::fs::write(&path, &text).expect("docs is writable");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let failed: Vec<_> = checks
        .iter()
        .filter(|check| check.verdict != Verdict::Pass)
        .collect();
    assert!(
        kept == text,
        "docs/syscall-tests.md is old: run with DRYDOCK_WRITE_DOCS=1. Not passed: {failed:#?}"
    );
}
