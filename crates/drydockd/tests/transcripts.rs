//! Transcripts: `$ command` and what it prints, in `tests/transcripts/**/*.txt`.
//!
//! A file is one shell session on a fresh machine. Lines that begin with `$ ` are commands (`> `
//! continues one); the lines behind are its output, standard output and error together; `? N` says
//! that it ends with status N. In expected lines `[..]` is any text, and a line `...` any lines.
//! `#` begins a comment, before the first command or behind an empty line.
//!
//! Run one file: `TRANSCRIPT=sh/pipes cargo test -p drydockd --test transcripts`.
//! Files that begin with `#!host` hold on any Linux: `TRANSCRIPT_HOST=1` runs those with the bash of
//! this computer, which is how an expectation is checked before it judges us.
//! A file that begins with `#!options OPTIONS` is run on a machine made with those of drydockd.
//! Files that begin with `#!image NAME` need an image that `cargo xtask images` builds only when asked
//! for (`--only NAME`); where it is not, they are passed over.
//! Files with `#!client` in their head are run a second time, with the bash and the Docker client of this
//! computer against `drydockd serve`; versions of the client differ in some texts, so not all are.
//! `TRANSCRIPT_UPDATE=1` rewrites what a machine printed into the file, for looking at the difference.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

mod native;

/// A command with what is expected of it.
#[derive(Debug, Clone, PartialEq)]
struct Step {
    line: usize,
    command: String,
    output: Vec<String>,
    status: i32,
}

/// Separates the commands' outputs; no program prints it.
const MARK: char = '\u{1e}';

fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut blank = true;
    for (index, line) in text.lines().enumerate() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                line: index + 1,
                command: command.to_string(),
                output: Vec::new(),
                status: 0,
            });
        } else if let Some(step) = steps.last_mut() {
            match line.strip_prefix("> ") {
                Some(more) if step.output.is_empty() => {
                    step.command = format!("{}\n{more}", step.command)
                }
                _ if blank && line.starts_with('#') => {}
                _ => match line
                    .strip_prefix("? ")
                    .and_then(|status| status.parse().ok())
                {
                    Some(status) => step.status = status,
                    None => step.output.push(line.to_string()),
                },
            }
        }
        blank = line.is_empty();
    }
    for step in &mut steps {
        // Empty lines before a comment or the next command set it off; they are not output.
        while step.output.last().is_some_and(String::is_empty) {
            step.output.pop();
        }
    }
    steps
}

/// The shell script that runs the steps and marks where each ends.
fn script(steps: &[Step]) -> String {
    let mut script = String::from("exec 2>&1\n");
    for step in steps {
        let quoted = step.command.replace('\'', r"'\''");
        let _ = writeln!(
            script,
            "eval '{quoted}' </dev/null\nprintf '{MARK}%d{MARK}' $?"
        );
    }
    script
}

fn line_fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split("[..]");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        if let Some(part) = last.replace(part) {
            let part: &str = part;
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
    }
    match last {
        Some(part) => rest.ends_with(part),
        None => rest.is_empty(),
    }
}

fn fits(expected: &[String], actual: &[&str]) -> bool {
    match expected.split_first() {
        None => actual.is_empty(),
        Some((pattern, rest)) if pattern == "..." => {
            (0..=actual.len()).any(|skip| fits(rest, &actual[skip..]))
        }
        Some((pattern, rest)) => actual
            .split_first()
            .is_some_and(|(line, left)| line_fits(pattern, line) && fits(rest, left)),
    }
}

/// Compares; gives a report of what differs.
fn judge(steps: &[Step], printed: &str) -> Result<(), String> {
    let mut report = String::new();
    let mut fields = printed.split(MARK);
    for step in steps {
        let output = fields.next().unwrap_or_default();
        let status = fields
            .next()
            .and_then(|status| status.parse().ok())
            .unwrap_or(-1);
        let lines: Vec<&str> = output.lines().map(str::trim_end).collect();
        if !fits(&step.output, &lines) || status != step.status {
            let _ = writeln!(report, "line {}: $ {}", step.line, step.command);
            let expected = step.output.join("\n");
            let _ = writeln!(report, "--- expected (status {})\n{expected}", step.status);
            let _ = writeln!(
                report,
                "--- printed (status {status})\n{}",
                lines.join("\n")
            );
        }
        if status == -1 {
            let _ = writeln!(report, "the session ended here");
            break;
        }
    }
    if report.is_empty() {
        Ok(())
    } else {
        Err(report)
    }
}

fn updated(text: &str, steps: &[Step], printed: &str) -> String {
    let mut head: String = text
        .lines()
        .take_while(|line| !line.starts_with("$ "))
        .map(|line| format!("{line}\n"))
        .collect();
    let mut fields = printed.split(MARK);
    for step in steps {
        let _ = writeln!(head, "$ {}", step.command.replace('\n', "\n> "));
        let output = fields.next().unwrap_or_default();
        for line in output.lines() {
            let _ = writeln!(head, "{}", line.trim_end());
        }
        if let Some(status) = fields.next().filter(|status| *status != "0") {
            let _ = writeln!(head, "? {status}");
        }
        head.push('\n');
    }
    head
}

fn run(program: &mut Command, input: Option<&str>) -> (String, String) {
    let stdin = if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    };
    let mut child = program
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    if let Some(input) = input {
        child
            .stdin
            .take()
            .expect("piped")
            .write_all(input.as_bytes())
            .expect("the program reads");
    }
    let output = child.wait_with_output().expect("the program ends");
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn transcripts(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).expect("tests/transcripts is there") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "txt") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Who types the commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shell {
    /// The machine's.
    Machine,
    /// That of this computer, which stands for the machine's.
    Host,
    /// That of this computer, whose Docker client asks a machine.
    Client,
}

/// What a line `#!NAME REST` of the head says behind the name.
fn directive<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let head = text.lines().take_while(|line| line.starts_with("#!"));
    let mut found = head.filter_map(|line| line.strip_prefix("#!")?.strip_prefix(name));
    found.find_map(|rest| (rest.is_empty() || rest.starts_with(' ')).then(|| rest.trim()))
}

/// What the versions of the client say differently, left out or said in one way: where help is to be had,
/// whether an error ends in a full stop, how the IPv6 address of any host is written.
fn of_any_version(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with("See 'docker ") {
            continue;
        }
        if line.starts_with("Run 'docker ") && line.ends_with(" for more information") {
            lines.pop_if(|line| line.is_empty());
            continue;
        }
        let line = line.replace(":::", "[::]:");
        lines.push(match line.starts_with("docker: ") {
            true => line.trim_end_matches('.').to_string(),
            false => line,
        });
    }
    lines
}

fn check(path: &Path, shell: Shell) -> Result<(), String> {
    let text = std::fs::read_to_string(path).expect("readable");
    let mut steps = parse(&text);
    assert!(!steps.is_empty(), "{}: no command", path.display());
    let script = script(&steps);
    let options = directive(&text, "options").unwrap_or_default();
    let options: Vec<&str> = options.split_whitespace().collect();
    let (printed, errors) = match shell {
        Shell::Host => run(
            Command::new("bash")
                .arg("--norc")
                .env("LC_ALL", "C.UTF-8")
                .current_dir("/tmp"),
            Some(&script),
        ),
        Shell::Client => {
            let mut server = native::Server::start(&options);
            let (printed, errors) = run(
                Command::new("bash")
                    .arg("--norc")
                    .envs(server.environment())
                    .current_dir(&server.folder),
                Some(&script),
            );
            let (status, said) = server.stop();
            assert!(status.success(), "{}: drydockd: {status}", path.display());
            steps
                .iter_mut()
                .for_each(|step| step.output = of_any_version(&step.output.join("\n")));
            let fields = printed
                .split(MARK)
                .map(|text| of_any_version(text).join("\n"));
            let printed: Vec<String> = fields.collect();
            (printed.join(&MARK.to_string()), errors + &said)
        }
        Shell::Machine => run(
            Command::new(env!("CARGO_BIN_EXE_drydockd"))
                .args(options)
                .args(["run", &script]),
            None,
        ),
    };
    if shell != Shell::Client && std::env::var_os("TRANSCRIPT_UPDATE").is_some() {
        std::fs::write(path, updated(&text, &steps, &printed)).expect("writable");
    }
    judge(&steps, &printed).map_err(|report| match errors.trim() {
        "" => report,
        errors => format!("{report}\n--- drydockd said\n{errors}\n"),
    })
}

/// The image that a transcript's first line asks for and that has not been built.
fn missing_image(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let image = directive(&text, "image")?;
    let images = match std::env::var_os("DRYDOCK_IMAGES") {
        Some(images) => PathBuf::from(images),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/images"),
    };
    (!images.join("v2").join(image).is_dir()).then(|| image.to_string())
}

/// The transcripts that are asked for and can be run, and where they are.
fn wanted(directive_of: Option<&str>) -> (PathBuf, Vec<PathBuf>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/transcripts");
    let wanted = std::env::var("TRANSCRIPT").unwrap_or_default();
    let mut files = transcripts(&root);
    files.retain(|path| path.to_string_lossy().contains(&wanted));
    if let Some(name) = directive_of {
        files.retain(|path| {
            std::fs::read_to_string(path).is_ok_and(|text| directive(&text, name).is_some())
        });
    }
    files.retain(|path| match missing_image(path) {
        Some(image) => {
            println!("passed over {}: no image {image}", path.display());
            false
        }
        None => true,
    });
    (root, files)
}

/// Runs all of them and tells what differs.
fn judge_all(shell: Shell, root: &Path, files: &[PathBuf]) {
    // Machines are processes of their own: two at a time fill the two cores of CI.
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(path) =
                    files.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let name = path.strip_prefix(root).unwrap_or(path).display();
                    match check(path, shell) {
                        Ok(()) => println!("ok {name}"),
                        Err(report) => failures
                            .lock()
                            .expect("no panic")
                            .push(format!("=== {name}\n{report}")),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no panic");
    assert!(
        failures.is_empty(),
        "{} of {} transcripts failed\n{}",
        failures.len(),
        files.len(),
        failures.join("\n")
    );
}

#[test]
fn transcripts_hold() {
    let host = std::env::var_os("TRANSCRIPT_HOST").is_some();
    let (root, files) = wanted(host.then_some("host"));
    assert!(!files.is_empty(), "no transcript is called that");
    let shell = if host { Shell::Host } else { Shell::Machine };
    judge_all(shell, &root, &files);
}

/// With the Docker client of this computer, which is another version than the machine's.
#[test]
fn transcripts_hold_for_a_client_of_this_computer() {
    if !native::has_client() {
        // `cargo xtask test` installs one where it can.
        println!("PASSED OVER: there is no `docker` on this computer (Debian's docker-cli)");
        return;
    }
    let (root, files) = wanted(Some("client"));
    let all = std::env::var_os("TRANSCRIPT").is_none();
    assert!(!all || !files.is_empty(), "no transcript says #!client");
    judge_all(Shell::Client, &root, &files);
}

#[test]
fn the_format() {
    let head = "#!image a/b\n#!client\n# more\n#!late\n";
    for (name, rest) in [
        ("image", Some("a/b")),
        ("client", Some("")),
        ("late", None),
        ("cli", None),
    ] {
        assert_eq!(directive(head, name), rest, "{name}");
    }
    let text = "# head\n$ echo a \\\n> b\na b\n\n# comment\n$ false\n? 1\n\n$ ls\n...\nz[..]z\n";
    let steps = parse(text);
    let step = |line, command: &str, output: &[&str], status| Step {
        line,
        command: command.to_string(),
        output: output.iter().map(|line| (*line).to_string()).collect(),
        status,
    };
    assert_eq!(
        steps,
        [
            step(2, "echo a \\\nb", &["a b"], 0),
            step(7, "false", &[], 1),
            step(10, "ls", &["...", "z[..]z"], 0)
        ]
    );
    let printed = format!("a b\n{MARK}0{MARK}{MARK}1{MARK}x\ny\nzebra z\n{MARK}0{MARK}");
    assert_eq!(judge(&steps, &printed), Ok(()));
    let wrong = format!("a c\n{MARK}0{MARK}{MARK}0{MARK}x\n{MARK}0{MARK}");
    assert_eq!(
        judge(&steps, &wrong)
            .unwrap_err()
            .matches("expected")
            .count(),
        3
    );
    for (pattern, line, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a[..]", "abc", true),
        ("[..]c", "abc", true),
        ("a[..]b[..]c", "a1b2c", true),
        ("a[..]b[..]c", "a1c2b", false),
        ("[..]", "", true),
    ] {
        assert_eq!(line_fits(pattern, line), expected, "{pattern} {line}");
    }
}
