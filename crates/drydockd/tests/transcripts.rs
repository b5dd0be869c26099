//! Transcripts, `tests/transcripts/**/*.txt`, each a shell session on a fresh machine. Crate `transcript` has
//! the format.
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

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use transcript::{MARK, differences, directive, parse, script, updated};

mod native;

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
    let differences = differences(&steps, &printed);
    if differences.is_empty() {
        return Ok(());
    }
    let report: String = differences.iter().map(ToString::to_string).collect();
    Err(match errors.trim() {
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
