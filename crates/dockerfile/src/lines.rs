//! A file becomes lines: directives, comments and continuations are dealt with, heredocs taken out.

use crate::Error;
use crate::heredoc::{self, Heredoc};
use crate::instruction::Span;
use crate::words::is_blank;

/// Bytes of the longest line.
const LINE_MAX: usize = 65_535;
/// Instructions of the longest file; an image has at most 127 layers anyway.
const INSTRUCTIONS_MAX: usize = 10_000;

/// An instruction's line.
#[derive(Debug)]
pub(crate) struct Line {
    /// Continuations joined.
    pub(crate) text: String,
    pub(crate) lines: Span,
    pub(crate) heredocs: Vec<Heredoc>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) escape: char,
    pub(crate) syntax: Option<String>,
    pub(crate) check: Option<String>,
    pub(crate) lines: Vec<Line>,
    pub(crate) warnings: Vec<String>,
}

struct Directives {
    /// They are at the top only: the first other line ends them.
    over: bool,
    escape: Option<char>,
    syntax: Option<String>,
    check: Option<String>,
}

/// `# name=value`.
fn directive(line: &str) -> Option<(String, &str)> {
    let rest = line.strip_prefix('#')?.trim_start();
    let (name, value) = rest.split_once('=')?;
    let (name, value) = (name.trim_end(), value.trim());
    let plain = name.starts_with(|ch: char| ch.is_ascii_alphabetic())
        && name.chars().all(|ch| ch.is_ascii_alphanumeric());
    (plain && !value.is_empty()).then(|| (name.to_lowercase(), value))
}

impl Directives {
    fn look(&mut self, line: &str) -> Result<(), String> {
        if self.over {
            return Ok(());
        }
        let known = directive(line);
        let Some((name, value)) = known else {
            self.over = true;
            return Ok(());
        };
        let twice = match name.as_str() {
            "escape" => self.escape.is_some(),
            "syntax" => self.syntax.is_some(),
            "check" => self.check.is_some(),
            _ => {
                self.over = true;
                return Ok(());
            }
        };
        if twice {
            return Err(format!("only one {name} parser directive can be used"));
        }
        match name.as_str() {
            "escape" => match value {
                "`" => self.escape = Some('`'),
                "\\" => self.escape = Some('\\'),
                _ => {
                    return Err(format!(
                        "invalid escape token '{value}' does not match ` or \\"
                    ));
                }
            },
            "syntax" => self.syntax = Some(value.to_string()),
            _ => self.check = Some(value.to_string()),
        }
        Ok(())
    }
}

/// Takes the continuation mark away; true when there was none.
fn trim_continuation(line: &str, escape: char) -> (&str, bool) {
    let Some(rest) = line.trim_end_matches([' ', '\t']).strip_suffix(escape) else {
        return (line, true);
    };
    match rest.ends_with(escape) {
        true => (line, true),
        false => (rest, false),
    }
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// Instructions that may have heredocs, also behind `ONBUILD`, unless in JSON form.
fn may_have_heredocs(line: &str) -> bool {
    let mut rest = line.trim();
    loop {
        let (word, after) = rest.split_once(is_blank).unwrap_or((rest, ""));
        match word.to_lowercase().as_str() {
            "onbuild" => rest = after.trim_start(),
            "run" | "copy" | "add" => {
                return !matches!(crate::words::json(after), Ok(Some(_)));
            }
            _ => return false,
        }
    }
}

/// Cuts a file.
pub(crate) fn split(text: &[u8]) -> Result<Lines, Error> {
    let text = String::from_utf8_lossy(text);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut directives = Directives {
        over: false,
        escape: None,
        syntax: None,
        check: None,
    };
    let mut found = Vec::new();
    let mut warnings = Vec::new();
    let mut raw = text.split_inclusive('\n');
    let mut current = 0;
    let failed = |message: String, lines: Span| Error {
        message,
        lines,
        early: true,
    };
    let bounded = |line: &str, current: usize| match line.len() > LINE_MAX {
        true => Err(failed(
            format!("dockerfile line greater than maximum allowed size of {LINE_MAX}"),
            (current, current),
        )),
        false => Ok(()),
    };
    while let Some(line) = raw.next() {
        current += 1;
        let start = current;
        bounded(line, current)?;
        let line = line.trim_end_matches(['\r', '\n']).trim_start();
        directives
            .look(line)
            .map_err(|message| failed(message, (current, current)))?;
        if line.starts_with('#') {
            continue;
        }
        let escape = directives.escape.unwrap_or('\\');
        let (first, mut ended) = trim_continuation(line, escape);
        if ended && first.is_empty() {
            continue;
        }
        if found.len() == INSTRUCTIONS_MAX {
            return Err(failed(
                format!("dockerfile has more than {INSTRUCTIONS_MAX} instructions"),
                (current, current),
            ));
        }
        let mut joined = first.to_string();
        let mut empty_line = false;
        while !ended {
            let Some(next) = raw.next() else { break };
            current += 1;
            bounded(next, current)?;
            let next = next.trim_end_matches(['\r', '\n']);
            if is_comment(next) {
                continue;
            }
            if next.trim().is_empty() {
                empty_line = true;
                continue;
            }
            let (part, end) = trim_continuation(next, escape);
            joined.push_str(part);
            ended = end;
        }
        if empty_line {
            warnings.push(format!("Empty continuation line found in: {joined}"));
        }
        let mut heredocs = Vec::new();
        if joined.contains("<<") && may_have_heredocs(&joined) {
            heredocs = heredoc::in_line(&joined);
            for heredoc in &mut heredocs {
                let mut terminated = false;
                for next in raw.by_ref() {
                    current += 1;
                    let mut end = next.trim_end_matches(['\r', '\n']);
                    if heredoc.chomp {
                        end = end.trim_start_matches('\t');
                    }
                    if end == heredoc.name {
                        terminated = true;
                        break;
                    }
                    heredoc.content.push_str(next);
                }
                if !terminated {
                    return Err(failed("unterminated heredoc".to_string(), (start, current)));
                }
            }
        }
        found.push(Line {
            text: joined,
            lines: (start, current),
            heredocs,
        });
    }
    if found.is_empty() {
        return Err(failed(
            "file with no instructions".to_string(),
            (current.max(1), current.max(1)),
        ));
    }
    Ok(Lines {
        escape: directives.escape.unwrap_or('\\'),
        syntax: directives.syntax,
        check: directives.check,
        lines: found,
        warnings,
    })
}
