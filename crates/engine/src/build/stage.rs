//! What a stage is while it is built: its configuration so far, and the instructions that change nothing else.

use std::collections::BTreeMap;

use dockerfile::{Health, Instruction, Kind, shell};
use engine_api::container::kill::parse_signal;
use engine_api::error::{ApiError, Result};
use oci::{Digest, Empty, Healthcheck, ImageConfig};

use super::args::Args;

/// What Docker puts before commands in shell form.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];
/// `PATH` of an image that says nothing.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// See the module's comment.
#[derive(Clone, Default)]
pub(super) struct State {
    /// The image as it would be if the stage ended here.
    pub(super) image: ImageConfig,
    /// Its top layer.
    pub(super) top: Option<Digest>,
    /// Its id; `None`: nothing yet (`FROM scratch`), or it is not kept as an image.
    pub(super) id: Option<Digest>,
    /// `CMD` was said in this stage, so `ENTRYPOINT` leaves it alone.
    cmd_set: bool,
}

/// `["a" "b"]`, as Go prints a list of quoted texts.
fn quoted(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|item| go_quote(item)).collect();
    format!("[{}]", items.join(" "))
}

/// A text in Go's quotes.
pub(super) fn go_quote(text: &str) -> String {
    let mut out = String::from('"');
    for ch in text.chars() {
        match ch {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            ch if (ch as u32) < 0x20 || ch == '\u{7f}' => {
                out.push_str(&format!("\\x{:02x}", ch as u32));
            }
            ch => out.push(ch),
        }
    }
    out + "\""
}

/// A duration as Go prints it: `1m30s`, `500ms`.
fn go_duration(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_string();
    }
    let trim = |value: f64| {
        let text = format!("{value:.9}");
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    };
    if nanos < 1_000_000_000 {
        return format!("{}ms", trim(nanos as f64 / 1e6));
    }
    let seconds = nanos / 1_000_000_000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let rest = (nanos - (hours * 3600 + minutes * 60) * 1_000_000_000) as f64 / 1e9;
    match (hours, minutes) {
        (0, 0) => format!("{}s", trim(rest)),
        (0, _) => format!("{minutes}m{}s", trim(rest)),
        _ => format!("{hours}h{minutes}m{}s", trim(rest)),
    }
}

/// Replaces or adds a variable.
pub(super) fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let entry = format!("{name}={value}");
    let same = |known: &&mut String| known.split('=').next() == Some(name);
    match env.iter_mut().find(same) {
        Some(known) => *known = entry,
        None => env.push(entry),
    }
}

/// `a/../b` becomes what it means, below `base` unless it is absolute.
pub(super) fn join_path(base: &str, path: &str) -> String {
    let joined = match path.starts_with('/') {
        true => path.to_string(),
        false => format!("/{base}/{path}"),
    };
    dockerfile::ignore::clean(&joined)
}

/// The ports of one `EXPOSE` word.
fn ports(word: &str) -> Result<Vec<String>> {
    let invalid = |why: String| ApiError::system(why);
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(invalid(format!("invalid proto: {protocol}")));
    }
    // What is before a colon is for publishing and means nothing here.
    let range = range.rsplit(':').next().unwrap_or(range);
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<u16>().ok().filter(|&port| port > 0);
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first..=last)
            .map(|port| format!("{port}/{protocol}"))
            .collect()),
        _ => Err(invalid(format!("Invalid containerPort: {range}"))),
    }
}

impl State {
    /// Nothing: `FROM scratch`.
    pub(super) fn scratch(os: &str, architecture: &str) -> State {
        let mut state = State::default();
        state.image.os = os.to_string();
        state.image.architecture = architecture.to_string();
        state.default_path();
        state
    }

    /// On top of an image or another stage.
    pub(super) fn over(image: ImageConfig, top: Option<Digest>, id: Option<Digest>) -> State {
        let mut state = State {
            image,
            top,
            id,
            cmd_set: false,
        };
        state.default_path();
        state
    }

    fn default_path(&mut self) {
        let env = &mut self.image.config.env;
        if !env.iter().any(|entry| entry.starts_with("PATH=")) {
            env.push(PATH.to_string());
        }
    }

    /// What `ONBUILD` kept for images made from this one, which are not kept further.
    pub(super) fn take_triggers(&mut self) -> Vec<String> {
        std::mem::take(&mut self.image.config.on_build)
    }

    pub(super) fn shell(&self) -> Vec<String> {
        match self.image.config.shell.is_empty() {
            true => SHELL.map(str::to_string).to_vec(),
            false => self.image.config.shell.clone(),
        }
    }

    /// The words of a command, a shell before those in shell form.
    pub(super) fn words(&self, command: &dockerfile::Command) -> Vec<String> {
        let mut words = match command.shell {
            true => self.shell(),
            false => Vec::new(),
        };
        words.extend(command.words.iter().cloned());
        words
    }

    /// The variables an instruction sees: those of `ENV` before those of `ARG`.
    pub(super) fn variables(&self, args: &Args) -> BTreeMap<String, String> {
        let mut all = args.all();
        for entry in &self.image.config.env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            all.insert(name.to_string(), value.to_string());
        }
        all
    }

    /// Carries out an instruction that changes the configuration only; gives what the history says of it.
    /// `None`: the instruction does more. `later` is the form in which BuildKit tells it.
    pub(super) fn configure(
        &mut self,
        instruction: &Instruction,
        args: &mut Args,
        escape: char,
        later: bool,
    ) -> Result<Option<String>> {
        let variables = self.variables(args);
        let lookup = |name: &str| variables.get(name).cloned();
        let expand = |text: &str| -> Result<String> {
            shell::expand(text, escape, &lookup).map_err(ApiError::invalid)
        };
        let words = |list: &[String]| -> Result<Vec<String>> {
            list.iter().map(|word| expand(word)).collect()
        };
        let config = &mut self.image.config;
        Ok(Some(match &instruction.kind {
            Kind::Add(_) | Kind::Copy(_) | Kind::Run(_) | Kind::Workdir(_) => return Ok(None),
            Kind::Env(pairs) => {
                let mut text = "ENV".to_string();
                for (name, value) in pairs {
                    let (name, value) = (expand(name)?, expand(value)?);
                    set_env(&mut config.env, &name, &value);
                    text += &format!(" {name}={value}");
                }
                text
            }
            Kind::Label(pairs) => {
                let mut text = "LABEL".to_string();
                for (name, value) in pairs {
                    let (name, value) = (expand(name)?, expand(value)?);
                    text += &format!(" {name}={value}");
                    config.labels.insert(name, value);
                }
                text
            }
            Kind::Maintainer(text) => {
                self.image.author = Some(text.clone());
                format!("MAINTAINER {text}")
            }
            Kind::Arg(pairs) => {
                let mut text = "ARG".to_string();
                for (name, value) in pairs {
                    let name = expand(name)?;
                    let value = value.as_deref().map(expand).transpose()?;
                    text += &format!(" {name}");
                    if let Some(value) = &value {
                        text += &format!("={value}");
                    }
                    args.declare(&name, value);
                }
                text
            }
            Kind::Cmd(command) => {
                let words = self.words(command);
                let text = format!("CMD {}", quoted(&words));
                self.image.config.cmd = Some(words);
                self.cmd_set = true;
                text
            }
            Kind::Entrypoint(command) => {
                let words = self.words(command);
                let text = format!("ENTRYPOINT {}", quoted(&words));
                self.image.config.entrypoint = Some(words);
                // A command for another entrypoint makes no sense for this one.
                if !self.cmd_set {
                    self.image.config.cmd = None;
                }
                text
            }
            Kind::Expose(list) => {
                let mut shown = Vec::new();
                let mut all = Vec::new();
                for word in list {
                    let more = shell::expand_words(word, escape, &lookup);
                    for word in more.map_err(ApiError::invalid)? {
                        all.extend(ports(&word)?);
                        shown.push(word);
                    }
                }
                order::sort(&mut all);
                let map: Vec<String> = all.iter().map(|port| format!("{port}:{{}}")).collect();
                let ports = all.into_iter().map(|port| (port, Empty {}));
                config.exposed_ports.extend(ports);
                match later {
                    true => format!("EXPOSE map[{}]", map.join(" ")),
                    false => format!("EXPOSE {}", shown.join(" ")),
                }
            }
            Kind::Healthcheck(health) => {
                let check = healthcheck(health);
                let text = health_text(&check);
                config.healthcheck = Some(check);
                text
            }
            Kind::Onbuild(trigger) => {
                config.on_build.push(trigger.clone());
                format!("ONBUILD {trigger}")
            }
            Kind::Shell(list) => {
                config.shell.clone_from(list);
                format!("SHELL [{}]", list.join(" "))
            }
            Kind::StopSignal(text) => {
                let signal = expand(text)?;
                parse_signal(&signal)
                    .map_err(|_| ApiError::invalid(format!("invalid signal: {signal}")))?;
                config.stop_signal = Some(signal.clone());
                format!("STOPSIGNAL {signal}")
            }
            Kind::User(text) => {
                config.user = expand(text)?;
                format!("USER {}", config.user)
            }
            Kind::Volume(list) => {
                let list = words(list)?;
                if list.iter().any(|volume| volume.trim().is_empty()) {
                    return Err(ApiError::invalid(
                        "VOLUME specified can not be an empty string",
                    ));
                }
                let volumes = list.iter().map(|volume| (volume.clone(), Empty {}));
                config.volumes.extend(volumes);
                format!("VOLUME [{}]", list.join(" "))
            }
        }))
    }

    /// Carries out `WORKDIR` but for the directory itself.
    pub(super) fn set_workdir(&mut self, text: &str, args: &Args, escape: char) -> Result<String> {
        let variables = self.variables(args);
        let path = shell::expand(text, escape, &|name| variables.get(name).cloned())
            .map_err(ApiError::invalid)?;
        if path.is_empty() {
            return Err(ApiError::invalid("cannot normalize nothing"));
        }
        let path = join_path(&self.image.config.working_dir, &path);
        self.image.config.working_dir.clone_from(&path);
        Ok(path)
    }
}

fn healthcheck(health: &Health) -> Healthcheck {
    Healthcheck {
        test: health.test.clone(),
        interval: health.interval,
        timeout: health.timeout,
        start_period: health.start_period,
        start_interval: health.start_interval,
        retries: health.retries,
    }
}

/// The check as Go's `%q` prints it.
fn health_text(check: &Healthcheck) -> String {
    let retries = match u32::try_from(check.retries).ok().and_then(char::from_u32) {
        Some(ch) if (' '..='~').contains(&ch) => format!("'{ch}'"),
        Some(ch) => match ch {
            '\u{7}' => "'\\a'".to_string(),
            '\u{8}' => "'\\b'".to_string(),
            '\t' => "'\\t'".to_string(),
            '\n' => "'\\n'".to_string(),
            '\u{b}' => "'\\v'".to_string(),
            '\u{c}' => "'\\f'".to_string(),
            '\r' => "'\\r'".to_string(),
            ch => format!("'\\x{:02x}'", ch as u32),
        },
        None => "'\u{fffd}'".to_string(),
    };
    let times = [
        check.interval,
        check.timeout,
        check.start_period,
        check.start_interval,
    ];
    let times: Vec<String> = times
        .iter()
        .map(|&time| format!("\"{}\"", go_duration(time)))
        .collect();
    format!(
        "HEALTHCHECK &{{{} {} {retries}}}",
        quoted(&check.test),
        times.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(lines: &str) -> (State, Vec<String>) {
        let file = dockerfile::parse(format!("FROM scratch\n{lines}").as_bytes()).expect("valid");
        let mut state = State::scratch("linux", "riscv64");
        let mut args = Args::default();
        let mut said = Vec::new();
        for instruction in &file.stages[0].instructions {
            let text = state.configure(instruction, &mut args, '\\', false);
            said.push(text.expect("carried out").expect("configuration only"));
        }
        (state, said)
    }

    #[test]
    fn history_as_docker_writes_it() {
        let (state, said) = state(
            "ENV A=1 B=\"x y\"\nENV C=$A\nARG D=$B E\nCMD [\"sh\", \"-c\", \"a \\\"b\\\"\"]\nENTRYPOINT run it\n\
             EXPOSE 80 5000-5001/udp\nLABEL a=b \"c d\"=$D\nVOLUME [\"/a\", \"/b\"]\nUSER me:$A\n\
             STOPSIGNAL SIGINT\nSHELL [\"/bin/bash\", \"-c\"]\nONBUILD RUN x\nMAINTAINER me\n\
             HEALTHCHECK --interval=90s --timeout=500ms --retries=3 CMD true",
        );
        assert_eq!(
            said,
            [
                "ENV A=1 B=x y",
                "ENV C=1",
                "ARG D=x y E",
                "CMD [\"sh\" \"-c\" \"a \\\"b\\\"\"]",
                "ENTRYPOINT [\"/bin/sh\" \"-c\" \"run it\"]",
                "EXPOSE 5000-5001/udp 80",
                "LABEL a=b c d=x y",
                "VOLUME [/a /b]",
                "USER me:1",
                "STOPSIGNAL SIGINT",
                "SHELL [/bin/bash -c]",
                "ONBUILD RUN x",
                "MAINTAINER me",
                "HEALTHCHECK &{[\"CMD-SHELL\" \"true\"] \"1m30s\" \"500ms\" \"0s\" \"0s\" '\\x03'}",
            ]
        );
        assert_eq!(
            state.image.config.exposed_ports.keys().collect::<Vec<_>>(),
            ["5000/udp", "5001/udp", "80/tcp"]
        );
    }

    #[test]
    fn a_new_entrypoint_takes_the_old_command_away() {
        let mut image = ImageConfig::default();
        image.config.cmd = Some(vec!["old".to_string()]);
        let file = dockerfile::parse(b"FROM x\nENTRYPOINT [\"e\"]").expect("valid");
        let mut state = State::over(image, None, None);
        let instruction = &file.stages[0].instructions[0];
        state
            .configure(instruction, &mut Args::default(), '\\', false)
            .expect("valid");
        assert_eq!(state.image.config.cmd, None);
    }

    #[test]
    fn paths() {
        for (base, path, joined) in [
            ("", "a", "/a"),
            ("/a", "b/../c", "/a/c"),
            ("/a", "/b/", "/b"),
            ("/a", "../..", "/"),
        ] {
            assert_eq!(join_path(base, path), joined);
        }
    }
}
