//! A line becomes an instruction, lines become stages.

use crate::Error;
use crate::flags::{self, Flags, Type, Values};
use crate::heredoc::{self, Heredoc};
use crate::instruction::{Command, Copy, Dockerfile, Health, Instruction, Kind, Run, Span, Stage};
use crate::lines::{self, Line};
use crate::mount;
use crate::words::{self, is_blank};

/// All there are.
const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];
/// The shortest time between two health checks.
const HEALTH_MIN: i64 = 1_000_000;

/// How many letters have to be changed, put in or left out.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

/// ` (did you mean RUN?)` when one of the names is near.
pub(crate) fn did_you_mean(typed: &str, names: &[&str]) -> String {
    // A long word is no misspelling of these short ones.
    if typed.len() > 32 {
        return String::new();
    }
    let near = names
        .iter()
        .map(|name| (distance(&typed.to_lowercase(), &name.to_lowercase()), *name))
        .filter(|(distance, _)| *distance <= 2)
        .min();
    near.map_or(String::new(), |(_, name)| {
        format!(" (did you mean {name}?)")
    })
}

/// Parts of a line.
struct Parts<'a> {
    name: String,
    flags: Flags,
    rest: &'a str,
}

fn parts(line: &str) -> Parts<'_> {
    let line = line.trim();
    let (name, after) = line.split_once(is_blank).unwrap_or((line, ""));
    let (flags, rest) = flags::extract(after);
    Parts {
        name: name.to_uppercase(),
        flags,
        rest: rest.trim(),
    }
}

/// What the text of a line is wrong about. Errors that Docker finds while it cuts a file into words are told
/// as they are, later ones with the line's number.
enum Wrong {
    Plain(String),
    Located(String),
}

use Wrong::{Located, Plain};

impl From<String> for Wrong {
    fn from(message: String) -> Wrong {
        Located(message)
    }
}

fn locate(wrong: Wrong, lines: Span) -> Error {
    let (message, early) = match wrong {
        Plain(message) => (message, true),
        Located(message) => (
            format!("dockerfile parse error on line {}: {message}", lines.0),
            false,
        ),
    };
    Error {
        message,
        lines,
        early,
    }
}

fn no_stage(lines: Span) -> Error {
    Error {
        message: "no build stage in current context".to_string(),
        lines,
        early: false,
    }
}

fn command(rest: &str) -> Result<Command, Wrong> {
    Ok(match words::json(rest).map_err(Plain)? {
        Some(words) => Command {
            words,
            shell: false,
        },
        None if rest.is_empty() => Command {
            words: Vec::new(),
            shell: true,
        },
        None => Command {
            words: vec![rest.to_string()],
            shell: true,
        },
    })
}

fn list(rest: &str) -> Result<Vec<String>, Wrong> {
    let json = words::json(rest).map_err(Plain)?;
    Ok(json.unwrap_or_else(|| words::fields(rest)))
}

fn exactly_one(name: &str, rest: &str) -> Result<String, Wrong> {
    match rest {
        "" => Err(Located(format!("{name} requires exactly one argument"))),
        rest => Ok(rest.to_string()),
    }
}

fn at_least_one(name: &str) -> Wrong {
    Located(format!("{name} requires at least one argument"))
}

fn pairs(name: &str, rest: &str, escape: char) -> Result<Vec<(String, String)>, Wrong> {
    let pairs = words::pairs(rest, name, escape).map_err(Plain)?;
    if pairs.is_empty() {
        return Err(at_least_one(name));
    }
    if pairs.iter().any(|(key, _)| key.is_empty()) {
        return Err(Located(format!("{name} names can not be blank")));
    }
    Ok(pairs)
}

fn copy(name: &str, parts: &Parts<'_>, line: &Line, newest: bool) -> Result<Copy, Wrong> {
    let heredocs = &line.heredocs;
    let mut known = vec![
        ("chown", Type::Text),
        ("chmod", Type::Text),
        ("link", Type::Bool),
    ];
    if newest {
        known.push(("exclude", Type::List));
    }
    match name {
        "ADD" => known.extend([("keep-git-dir", Type::Bool), ("checksum", Type::Text)]),
        _ if newest => known.extend([("from", Type::Text), ("parents", Type::Bool)]),
        _ => known.push(("from", Type::Text)),
    }
    let mut words = list(parts.rest)?;
    let values: Values = parts.flags.parse(&known)?;
    if words.len() < 2 {
        let more = match words.len() {
            1 => ", but only one was provided. Destination could not be determined.",
            _ => "",
        };
        return Err(Located(format!(
            "{name} requires at least two arguments{more}"
        )));
    }
    let destination = words.pop().unwrap_or_default();
    if heredocs.iter().any(|heredoc| {
        heredoc::from_word(&destination).is_some_and(|other| other.name == heredoc.name)
    }) {
        return Err(Located(format!(
            "{name} cannot accept a heredoc as a destination"
        )));
    }
    let mut inline = Vec::new();
    let mut sources = Vec::new();
    for word in words {
        let found = heredoc::from_word(&word)
            .and_then(|found| heredocs.iter().find(|heredoc| heredoc.name == found.name));
        match found {
            Some(heredoc) => inline.push(heredoc.clone()),
            None => sources.push(word),
        }
    }
    Ok(Copy {
        sources,
        inline,
        destination,
        from: values.text("from"),
        chown: values.text("chown"),
        chmod: values.text("chmod"),
        checksum: values.text("checksum"),
        exclude: values.list("exclude"),
        link: values.flag("link"),
        parents: values.flag("parents"),
        keep_git_dir: values.flag("keep-git-dir"),
        flags: values.used(),
    })
}

fn run(parts: &Parts<'_>, heredocs: &[Heredoc], newest: bool) -> Result<Run, Wrong> {
    let command = command(parts.rest)?;
    let mut known = vec![("mount", Type::List), ("network", Type::Text)];
    if newest {
        known.extend([("security", Type::Text), ("device", Type::List)]);
    }
    let values = parts.flags.parse(&known)?;
    let network = values.text("network");
    if !matches!(network.as_str(), "" | "default" | "none" | "host") {
        return Err(Located(format!("invalid network mode: {network:?}")));
    }
    let security = values.text("security");
    if !matches!(security.as_str(), "" | "sandbox" | "insecure") {
        return Err(Located(format!("security {security:?} is not valid")));
    }
    let mounts = values.list("mount");
    let mounts: Result<_, String> = mounts
        .iter()
        .map(|text| mount::parse(text, newest))
        .collect();
    let mounts = mounts.map_err(Plain)?;
    Ok(Run {
        command,
        heredocs: heredocs.to_vec(),
        mounts,
        network,
        security,
        flags: values.used(),
    })
}

/// Go's durations: `1h30m`, `5s`, `500ms`.
fn duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest
            .find(|ch: char| !ch.is_ascii_digit() && ch != '.')
            .ok_or_else(|| format!("time: missing unit in duration {text:?}"))?;
        let number: f64 = rest[..end].parse().map_err(|_| invalid())?;
        rest = &rest[end..];
        let end = rest
            .find(|ch: char| ch.is_ascii_digit() || ch == '.')
            .unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "ns" => 1.0,
                "us" | "µs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                unit => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
            };
        rest = &rest[end..];
    }
    let total = total as i64;
    Ok(if text.starts_with('-') { -total } else { total })
}

fn health(parts: &Parts<'_>) -> Result<Health, Wrong> {
    let values = parts.flags.parse(&[
        ("interval", Type::Text),
        ("timeout", Type::Text),
        ("start-period", Type::Text),
        ("start-interval", Type::Text),
        ("retries", Type::Text),
    ])?;
    let (kind, rest) = parts
        .rest
        .split_once(char::is_whitespace)
        .unwrap_or((parts.rest, ""));
    let rest = rest.trim();
    let mut health = Health::default();
    match kind.to_uppercase().as_str() {
        "" => return Err(at_least_one("HEALTHCHECK")),
        "NONE" => {
            if !rest.is_empty() {
                return Err(Located("HEALTHCHECK NONE takes no arguments".to_string()));
            }
            health.test = vec!["NONE".to_string()];
            return Ok(health);
        }
        "CMD" => {
            let command = command(rest)?;
            if command.words.is_empty() {
                return Err(Located("Missing command after HEALTHCHECK CMD".to_string()));
            }
            let kind = if command.shell { "CMD-SHELL" } else { "CMD" };
            health.test = vec![kind.to_string()];
            health.test.extend(command.words);
        }
        _ => {
            return Err(Located(format!(
                "Unknown type {:?} in HEALTHCHECK (try CMD)",
                kind.to_uppercase()
            )));
        }
    }
    for (name, value) in [
        ("interval", &mut health.interval),
        ("timeout", &mut health.timeout),
        ("start-period", &mut health.start_period),
        ("start-interval", &mut health.start_interval),
    ] {
        let text = values.text(name);
        if text.is_empty() {
            continue;
        }
        *value = duration(&text)?;
        if *value < HEALTH_MIN && *value != 0 {
            return Err(Located(format!(
                "Interval {name:?} cannot be less than 1ms"
            )));
        }
    }
    let retries = values.text("retries");
    if !retries.is_empty() {
        health.retries = retries.parse().map_err(|_| {
            Located(format!(
                "strconv.ParseInt: parsing {retries:?}: invalid syntax"
            ))
        })?;
        if health.retries < 0 {
            return Err(Located(format!(
                "--retries cannot be negative ({})",
                health.retries
            )));
        }
    }
    Ok(health)
}

fn onbuild(rest: &str) -> Result<String, Wrong> {
    let trigger = rest.split(is_blank).next().unwrap_or_default();
    match trigger.to_uppercase().as_str() {
        "" => Err(at_least_one("ONBUILD")),
        "ONBUILD" => Err(Located(
            "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_string(),
        )),
        name @ ("MAINTAINER" | "FROM") => Err(Located(format!(
            "{name} isn't allowed as an ONBUILD trigger"
        ))),
        _ => Ok(rest.to_string()),
    }
}

/// How the lines of a file are to be read.
#[derive(Clone, Copy)]
struct Dialect {
    escape: char,
    /// With what the newest frontend knows: the file asks for it.
    newest: bool,
}

impl Dialect {
    fn of(lines: &lines::Lines) -> Dialect {
        Dialect {
            escape: lines.escape,
            newest: lines.syntax.is_some(),
        }
    }
}

fn kind(line: &Line, Dialect { escape, newest }: Dialect) -> Result<Kind, Wrong> {
    let parts = parts(&line.text);
    let rest = parts.rest;
    let name = parts.name.as_str();
    let kind = match name {
        "ADD" => return copy(name, &parts, line, newest).map(Kind::Add),
        "COPY" => return copy(name, &parts, line, newest).map(Kind::Copy),
        "RUN" => return run(&parts, &line.heredocs, newest).map(Kind::Run),
        "HEALTHCHECK" => return health(&parts).map(Kind::Healthcheck),
        "ARG" => {
            let words = words::words(rest, escape);
            if words.is_empty() {
                return Err(at_least_one("ARG"));
            }
            let pairs = words.into_iter().map(|word| match word.split_once('=') {
                Some(("", _)) => Err(Located("ARG names can not be blank".to_string())),
                Some((name, value)) => Ok((name.to_string(), Some(value.to_string()))),
                None => Ok((word, None)),
            });
            Kind::Arg(pairs.collect::<Result<_, _>>()?)
        }
        "CMD" => Kind::Cmd(command(rest)?),
        "ENTRYPOINT" => Kind::Entrypoint(command(rest)?),
        "ENV" => Kind::Env(pairs(name, rest, escape)?),
        "LABEL" => Kind::Label(pairs(name, rest, escape)?),
        "EXPOSE" => {
            let mut ports = words::fields(rest);
            order::sort(&mut ports);
            match ports.is_empty() {
                true => return Err(at_least_one(name)),
                false => Kind::Expose(ports),
            }
        }
        "MAINTAINER" => Kind::Maintainer(exactly_one(name, rest)?),
        "ONBUILD" => {
            // The instruction's own flags belong to it.
            let whole = line.text.trim();
            let rest = whole
                .split_once(is_blank)
                .map_or("", |(_, rest)| rest.trim());
            let text = onbuild(rest)?;
            let mut whole = text;
            for heredoc in &line.heredocs {
                whole.push('\n');
                whole.push_str(&heredoc.content);
                whole.push_str(&heredoc.name);
            }
            return Ok(Kind::Onbuild(whole));
        }
        "SHELL" => match words::json(rest).map_err(Plain)? {
            Some(words) if !words.is_empty() => Kind::Shell(words),
            None if !rest.is_empty() => {
                return Err(Located(
                    "SHELL requires the arguments to be in JSON form".to_string(),
                ));
            }
            _ => return Err(at_least_one(name)),
        },
        "STOPSIGNAL" => Kind::StopSignal(exactly_one(name, rest)?),
        "USER" => Kind::User(exactly_one(name, rest)?),
        "VOLUME" => {
            let volumes = list(rest)?;
            if volumes.is_empty() {
                return Err(at_least_one(name));
            }
            if volumes.iter().any(|volume| volume.trim().is_empty()) {
                return Err(Located(
                    "VOLUME specified can not be an empty string".to_string(),
                ));
            }
            Kind::Volume(volumes)
        }
        "WORKDIR" => Kind::Workdir(exactly_one(name, rest)?),
        _ => {
            let typed = line.text.trim();
            let typed = typed.split(is_blank).next().unwrap_or_default();
            return Err(Located(format!(
                "unknown instruction: {typed}{}",
                did_you_mean(typed, &NAMES)
            )));
        }
    };
    // These know no flags.
    parts.flags.parse(&[])?;
    Ok(kind)
}

fn instruction(line: &Line, dialect: Dialect) -> Result<Instruction, Error> {
    Ok(Instruction {
        kind: kind(line, dialect).map_err(|wrong| locate(wrong, line.lines))?,
        code: line.text.trim().to_string(),
        lines: line.lines,
    })
}

fn from(line: &Line) -> Result<Stage, Wrong> {
    let parts = parts(&line.text);
    let words = words::fields(parts.rest);
    let name = match &words[..] {
        [_] => String::new(),
        [_, as_word, name] if as_word.eq_ignore_ascii_case("as") => {
            let lower = name.to_lowercase();
            let valid = lower.starts_with(|ch: char| ch.is_ascii_lowercase())
                && lower
                    .chars()
                    .all(|ch| ch.is_ascii_lowercase() || ch.is_ascii_digit() || "-_.".contains(ch));
            if !valid {
                return Err(Located(format!(
                    "invalid name for build stage: {name:?}, name can't start with a number or contain symbols"
                )));
            }
            lower
        }
        _ => {
            return Err(Located(
                "FROM requires either one or three arguments".to_string(),
            ));
        }
    };
    let values = parts.flags.parse(&[("platform", Type::Text)])?;
    Ok(Stage {
        name,
        base: words[0].clone(),
        platform: values.text("platform"),
        code: line.text.trim().to_string(),
        lines: line.lines,
        instructions: Vec::new(),
    })
}

/// Parses a Dockerfile.
pub fn parse(text: &[u8]) -> Result<Dockerfile, Error> {
    let lines = lines::split(text)?;
    let dialect = Dialect::of(&lines);
    let mut dockerfile = Dockerfile {
        escape: lines.escape,
        syntax: lines.syntax,
        check: lines.check,
        meta_args: Vec::new(),
        stages: Vec::new(),
        warnings: lines.warnings,
    };
    for line in &lines.lines {
        if parts(&line.text).name == "FROM" {
            let stage = from(line).map_err(|wrong| locate(wrong, line.lines))?;
            dockerfile.stages.push(stage);
            continue;
        }
        let instruction = instruction(line, dialect)?;
        match (dockerfile.stages.last_mut(), &instruction.kind) {
            (Some(stage), _) => stage.instructions.push(instruction),
            (None, Kind::Arg(_)) => dockerfile.meta_args.push(instruction),
            (None, _) => {
                return Err(no_stage(line.lines));
            }
        }
    }
    if dockerfile.stages.is_empty() {
        // Nothing but ARGs.
        let lines = lines.lines.last().map_or((1, 1), |line| line.lines);
        return Err(no_stage(lines));
    }
    Ok(dockerfile)
}

/// Parses the instruction that `ONBUILD` kept.
pub fn parse_trigger(text: &str) -> Result<Instruction, Error> {
    let lines = lines::split(text.as_bytes())?;
    // Who kept it has read it.
    let dialect = Dialect {
        newest: true,
        ..Dialect::of(&lines)
    };
    let mut instruction = instruction(&lines.lines[0], dialect)?;
    if lines.lines.len() > 1 {
        return Err(locate(
            Plain("onbuild trigger should be a single expression".to_string()),
            (1, 1),
        ));
    }
    instruction.lines = (0, 0);
    Ok(instruction)
}

/// Parses what `--change` of `docker commit` and `docker import` takes: some instructions only.
pub fn parse_change(text: &str) -> Result<Vec<Instruction>, Error> {
    let lines = lines::split(text.as_bytes())?;
    let mut instructions = Vec::new();
    for line in &lines.lines {
        let name = parts(&line.text).name;
        let typed = line.text.trim().split(is_blank).next().unwrap_or_default();
        let allowed = matches!(
            name.as_str(),
            "CMD"
                | "ENTRYPOINT"
                | "ENV"
                | "EXPOSE"
                | "HEALTHCHECK"
                | "LABEL"
                | "ONBUILD"
                | "STOPSIGNAL"
                | "USER"
                | "VOLUME"
                | "WORKDIR"
        );
        if !allowed && NAMES.contains(&name.as_str()) {
            return Err(locate(
                Plain(format!("{typed} is not a valid change command")),
                line.lines,
            ));
        }
        instructions.push(instruction(line, Dialect::of(&lines))?);
    }
    Ok(instructions)
}
