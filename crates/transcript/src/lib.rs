//! Transcripts: `$ command` and what it prints, in `tests/transcripts/**/*.txt`: their format, the shell script
//! that runs one, and the comparison. Who runs the script is not told here: drydockd's tests run it in a
//! machine, `cargo xtask judge` beside a real Docker.
//!
//! A file is one shell session. Lines that begin with `$ ` are commands (`> ` continues one); the lines behind
//! are its output, standard output and error together; `? N` says that it ends with status N. In expected lines
//! `[..]` is any text, and a line `...` any lines. `#` begins a comment, before the first command or behind an
//! empty line. `#!NAME REST` is a directive: one of the whole file in its first lines, `#!ours REASON` also before
//! a command: the playground differs there from a real Docker host and is right to; for the whole file, it is
//! about what only the playground has. `#!needs THING` before a command: a real host prints that only where it
//! has this (`cgroup2`: limits by version 2; `riscv64`: a processor that QEMU does not stand in for;
//! `capabilities`: root with all of them; `time`: nothing else to do; a path: this file).

use std::fmt::{self, Write as _};

/// A command with what is expected of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its line in the file, from 1.
    pub line: usize,
    /// What the shell is given.
    pub command: String,
    /// Patterns of the lines it prints.
    pub output: Vec<String>,
    /// The status it ends with.
    pub status: i32,
    /// Why a real Docker host prints something else.
    pub ours: Option<String>,
    /// What a real host must have to be compared.
    pub needs: Option<String>,
}

/// Separates the commands' outputs; no program prints it.
pub const MARK: char = '\u{1e}';

/// The steps of a transcript.
pub fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut blank = true;
    let (mut ours, mut needs) = (None, None);
    let head = head(text).count();
    for (index, line) in text.lines().enumerate() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                line: index + 1,
                command: command.to_string(),
                output: Vec::new(),
                status: 0,
                ours: ours.take(),
                needs: needs.take(),
            });
        } else if blank && line.starts_with('#') || steps.is_empty() {
            let directive = |name| line.strip_prefix(name).filter(|_| index >= head);
            ours = directive("#!ours ").map(str::to_string).or(ours);
            needs = directive("#!needs ").map(str::to_string).or(needs);
            // More comment may follow.
            continue;
        } else if let Some(step) = steps.last_mut() {
            match line.strip_prefix("> ") {
                Some(more) if step.output.is_empty() => {
                    step.command = format!("{}\n{more}", step.command)
                }
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

fn head(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| line.starts_with("#!"))
}

/// What a line `#!NAME REST` of the head says behind the name.
pub fn directive<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut found = head(text).filter_map(|line| line.strip_prefix("#!")?.strip_prefix(name));
    found.find_map(|rest| (rest.is_empty() || rest.starts_with(' ')).then(|| rest.trim()))
}

/// The shell script that runs the steps and marks where each ends.
pub fn script(steps: &[Step]) -> String {
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

/// A step that printed something else than expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The step.
    pub step: Step,
    /// What it printed.
    pub printed: Vec<String>,
    /// Its status; none when the session ended before or in it.
    pub status: Option<i32>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference {
            step,
            printed,
            status,
        } = self;
        writeln!(f, "line {}: $ {}", step.line, step.command)?;
        writeln!(f, "--- expected (status {})", step.status)?;
        writeln!(f, "{}", step.output.join("\n"))?;
        match status {
            Some(status) => writeln!(f, "--- printed (status {status})\n{}", printed.join("\n")),
            None => writeln!(
                f,
                "--- printed, and the session ended here\n{}",
                printed.join("\n")
            ),
        }
    }
}

/// Compares what a session printed with what its steps expect. Behind its end nothing is compared.
pub fn differences(steps: &[Step], printed: &str) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut fields = printed.split(MARK);
    for step in steps {
        let output = fields.next().unwrap_or_default();
        let status = fields.next().and_then(|status| status.parse().ok());
        let lines: Vec<&str> = output.lines().map(str::trim_end).collect();
        if !fits(&step.output, &lines) || status != Some(step.status) {
            differences.push(Difference {
                step: step.clone(),
                printed: lines.into_iter().map(str::to_string).collect(),
                status,
            });
        }
        if status.is_none() {
            break;
        }
    }
    differences
}

/// The transcript with what a session printed in place of what was expected.
pub fn updated(text: &str, steps: &[Step], printed: &str) -> String {
    let mut updated: String = text
        .lines()
        .take_while(|line| !line.starts_with("$ "))
        .map(|line| format!("{line}\n"))
        .collect();
    let mut fields = printed.split(MARK);
    for (index, step) in steps.iter().enumerate() {
        for (name, rest) in [("ours", &step.ours), ("needs", &step.needs)] {
            if let Some(rest) = rest.as_ref().filter(|_| index > 0) {
                let _ = writeln!(updated, "#!{name} {rest}");
            }
        }
        let _ = writeln!(updated, "$ {}", step.command.replace('\n', "\n> "));
        let output = fields.next().unwrap_or_default();
        for line in output.lines() {
            let _ = writeln!(updated, "{}", line.trim_end());
        }
        if let Some(status) = fields.next().filter(|status| *status != "0") {
            let _ = writeln!(updated, "? {status}");
        }
        updated.push('\n');
    }
    updated
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_of_the_head_or_before_a_command() {
        let head = "#!image a/b\n#!client\n# more\n#!late\n";
        for (name, rest) in [
            ("image", Some("a/b")),
            ("client", Some("")),
            ("late", None),
            ("cli", None),
        ] {
            assert_eq!(directive(head, name), rest, "{name}");
        }
        let text = "#!ours all\n# so\n#!ours first\n$ a\n#!ours printed\n\n# c\n#!ours why\n#!needs cgroup2\n# d\n$ b\n$ c\n";
        assert_eq!(directive(text, "ours"), Some("all"));
        let steps = parse(text);
        let ours: Vec<_> = steps.iter().map(|step| step.ours.as_deref()).collect();
        assert_eq!(ours, [Some("first"), Some("why"), None]);
        assert_eq!(steps[1].needs.as_deref(), Some("cgroup2"));
        assert_eq!(steps[0].output, ["#!ours printed"]);
        assert!(steps[1].output.is_empty());
        let printed = format!("x\n{MARK}0{MARK}{MARK}0{MARK}y\n{MARK}1{MARK}");
        let again = updated(text, &steps, &printed);
        assert_eq!(
            again,
            "#!ours all\n# so\n#!ours first\n$ a\nx\n\n#!ours why\n#!needs cgroup2\n$ b\n\n$ c\ny\n? 1\n\n"
        );
    }

    #[test]
    fn steps_and_what_differs() {
        let text =
            "# head\n$ echo a \\\n> b\na b\n\n# comment\n$ false\n? 1\n\n$ ls\n...\nz[..]z\n";
        let steps = parse(text);
        let step = |line, command: &str, output: &[&str], status| Step {
            line,
            command: command.to_string(),
            output: output.iter().map(|line| (*line).to_string()).collect(),
            status,
            ours: None,
            needs: None,
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
        assert_eq!(differences(&steps, &printed), []);
        let wrong = format!("a c\n{MARK}0{MARK}{MARK}0{MARK}x\n{MARK}0{MARK}");
        assert_eq!(differences(&steps, &wrong).len(), 3);
        let ended = format!("a b\n{MARK}0{MARK}so far");
        let differences = differences(&steps, &ended);
        assert_eq!(differences.len(), 1);
        assert_eq!(differences[0].status, None);
        assert_eq!(differences[0].printed, ["so far"]);
    }

    #[test]
    fn patterns_of_lines() {
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
}
