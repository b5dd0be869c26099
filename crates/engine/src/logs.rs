//! Log files, in the format of Docker's `json-file` driver: a JSON object a line.
//!
//! A file that has grown to its limit is renamed to `….1` and begun again; readers that follow finish
//! the old file first.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use clock::WaitQueue;
use engine_api::container::logs::Logs;
use engine_api::error::{ApiError, Result};
use engine_api::stream::Channel;
use engine_api::timestamp;
use engine_api::types::LogConfig;
use os::{Handle, OpenFlags, Os, View};
use serde::{Deserialize, Serialize};

use crate::state::Data;

/// Bytes of a line that has no end yet before it is written all the same.
const LINE_MAX: usize = 16 * 1024;
/// Size of a file when no `max-size` is given. Docker has no limit; a machine in a tab must have one.
const SIZE_MAX: u64 = 20 << 20;
/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Text with its end of line.
    pub(crate) log: String,
    /// `stdout` or `stderr`.
    pub(crate) stream: String,
    /// What `--log-opt` wants to be said with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) attrs: BTreeMap<String, String>,
    /// RFC 3339.
    pub(crate) time: String,
}

impl Entry {
    fn channel(&self) -> Channel {
        if self.stream == "stderr" {
            Channel::Stderr
        } else {
            Channel::Stdout
        }
    }

    fn nanos(&self) -> u64 {
        timestamp::parse_rfc3339(&self.time).unwrap_or(0)
    }
}

/// The log of a container.
pub(crate) struct LogFile {
    os: Rc<dyn Os>,
    path: String,
    size_max: u64,
    /// Files that are kept, the present one among them.
    files_max: usize,
    keep: bool,
    attributes: BTreeMap<String, String>,
    file: RefCell<Option<Rc<dyn Handle>>>,
    size: Cell<u64>,
    /// How often it was begun again.
    rotations: Cell<u64>,
    partial: RefCell<[Vec<u8>; 2]>,
    pub(crate) written: WaitQueue,
}

impl LogFile {
    pub(crate) fn new(os: &Rc<dyn Os>, path: &str, data: &Data) -> LogFile {
        let config = &data.host_config.log_config;
        let size_max = config
            .config
            .get("max-size")
            .and_then(|text| parse_size(text));
        LogFile {
            os: Rc::clone(os),
            path: path.to_string(),
            size_max: size_max.unwrap_or(SIZE_MAX),
            files_max: files_max(config),
            keep: config.kind != "none" && !is_remote(&config.kind),
            attributes: attributes(data),
            file: RefCell::default(),
            size: Cell::default(),
            rotations: Cell::default(),
            partial: RefCell::default(),
            written: WaitQueue::new(),
        }
    }

    pub(crate) fn path(&self) -> &str {
        if self.keep { &self.path } else { "" }
    }

    /// Whether there is a log to read.
    pub(crate) fn is_kept(&self) -> bool {
        self.keep
    }

    /// Adds what a stream wrote; whole lines are written.
    pub(crate) fn append(&self, channel: Channel, bytes: &[u8]) {
        if !self.keep {
            return;
        }
        let slot = usize::from(channel == Channel::Stderr);
        let mut pending = std::mem::take(&mut self.partial.borrow_mut()[slot]);
        pending.extend_from_slice(bytes);
        let mut start = 0;
        loop {
            let rest = &pending[start..];
            let end = match rest.iter().position(|&byte| byte == b'\n') {
                Some(at) => at + 1,
                None if rest.len() >= LINE_MAX => LINE_MAX,
                None => break,
            };
            self.write_entry(channel, &rest[..end.min(LINE_MAX)]);
            start += end.min(LINE_MAX);
        }
        pending.drain(..start);
        self.partial.borrow_mut()[slot] = pending;
    }

    /// Writes lines that never got their end.
    pub(crate) fn flush(&self) {
        for (slot, channel) in [Channel::Stdout, Channel::Stderr].into_iter().enumerate() {
            let rest = std::mem::take(&mut self.partial.borrow_mut()[slot]);
            if !rest.is_empty() {
                self.write_entry(channel, &rest);
            }
        }
        self.written.wake_all();
    }

    fn write_entry(&self, channel: Channel, line: &[u8]) {
        let entry = Entry {
            log: String::from_utf8_lossy(line).into_owned(),
            stream: channel.name().to_string(),
            attrs: self.attributes.clone(),
            time: timestamp::format(self.os.clock().realtime()),
        };
        let Ok(mut text) = serde_json::to_vec(&entry) else {
            return;
        };
        text.push(b'\n');
        if self.size.get() > 0 && self.size.get() + text.len() as u64 > self.size_max {
            self.rotate();
        }
        let Some(file) = self.writable() else { return };
        let mut done = 0;
        while done < text.len() {
            match file.write_at(self.size.get(), &text[done..]) {
                Ok(count @ 1..) => {
                    done += count;
                    self.size.set(self.size.get() + count as u64);
                }
                // The disk is full: the line is lost, the container goes on.
                _ => break,
            }
        }
        self.written.wake_all();
    }

    fn writable(&self) -> Option<Rc<dyn Handle>> {
        if self.file.borrow().is_none() {
            let flags = OpenFlags {
                write: true,
                create: true,
                ..OpenFlags::default()
            };
            let file = self
                .os
                .open(View::Host, self.path.as_bytes(), flags, 0o640)
                .ok()?;
            self.size
                .set(file.metadata().map_or(0, |metadata| metadata.size));
            *self.file.borrow_mut() = Some(file);
        }
        self.file.borrow().clone()
    }

    /// The file before the present one is number 1.
    fn numbered(&self, number: usize) -> String {
        match number {
            0 => self.path.clone(),
            number => format!("{}.{number}", self.path),
        }
    }

    fn rotate(&self) {
        let (os, oldest) = (&self.os, self.numbered(self.files_max - 1));
        let _ = os.unlink(View::Host, oldest.as_bytes());
        for number in (0..self.files_max - 1).rev() {
            let (from, to) = (self.numbered(number), self.numbered(number + 1));
            let _ = os.rename(View::Host, from.as_bytes(), to.as_bytes());
        }
        self.file.borrow_mut().take();
        self.size.set(0);
        self.rotations.set(self.rotations.get() + 1);
    }

    fn open(&self, path: &str) -> Option<Rc<dyn Handle>> {
        let flags = OpenFlags {
            read: true,
            ..OpenFlags::default()
        };
        self.os.open(View::Host, path.as_bytes(), flags, 0).ok()
    }

    /// A reader at the beginning of what is there.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader {
            log: self,
            old: (1..self.files_max)
                .filter_map(|number| self.open(&self.numbered(number)))
                .collect(),
            current: None,
            rotations: self.rotations.get(),
            offset: 0,
            rest: Vec::new(),
        }
    }
}

/// Reads entries in order.
pub(crate) struct Reader<'a> {
    log: &'a LogFile,
    /// The newest first.
    old: Vec<Rc<dyn Handle>>,
    current: Option<Rc<dyn Handle>>,
    rotations: u64,
    offset: u64,
    rest: Vec<u8>,
}

impl Reader<'_> {
    /// Entries that have come since the last call.
    pub(crate) fn read(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        while let Some(old) = self.old.pop() {
            self.drain(&old, &mut entries);
            self.offset = 0;
        }
        if self.current.is_none() {
            self.current = self.log.open(&self.log.path);
        }
        if let Some(current) = self.current.clone() {
            self.drain(&current, &mut entries);
        }
        if self.rotations != self.log.rotations.get() {
            self.rotations = self.log.rotations.get();
            self.offset = 0;
            self.current = self.log.open(&self.log.path);
            if let Some(current) = self.current.clone() {
                self.drain(&current, &mut entries);
            }
        }
        entries
    }

    fn drain(&mut self, file: &Rc<dyn Handle>, entries: &mut Vec<Entry>) {
        let mut buf = vec![0; CHUNK];
        while let Ok(count @ 1..) = file.read_at(self.offset, &mut buf) {
            self.offset += count as u64;
            self.rest.extend_from_slice(&buf[..count]);
            let end = self
                .rest
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |at| at + 1);
            let lines = self.rest[..end].split(|&byte| byte == b'\n');
            // A damaged line is left out, as Docker does.
            entries.extend(lines.filter_map(|line| serde_json::from_slice::<Entry>(line).ok()));
            self.rest.drain(..end);
        }
    }
}

/// The entries a request wants, out of what was read at its beginning.
pub(crate) fn select(entries: Vec<Entry>, logs: &Logs) -> Vec<Entry> {
    let mut wanted: Vec<Entry> = entries
        .into_iter()
        .filter(|entry| wants(entry, logs))
        .collect();
    if let Some(tail) = logs.tail {
        let skip = wanted.len().saturating_sub(tail);
        wanted.drain(..skip);
    }
    wanted
}

/// Whether a request wants an entry.
pub(crate) fn wants(entry: &Entry, logs: &Logs) -> bool {
    let streamed = match entry.channel() {
        Channel::Stderr => logs.stderr,
        _ => logs.stdout,
    };
    let nanos = entry.nanos();
    streamed
        && logs.since.is_none_or(|since| nanos >= since)
        && logs.until.is_none_or(|until| nanos <= until)
}

/// What is sent for an entry.
pub(crate) fn render(entry: &Entry, logs: &Logs) -> (Channel, Vec<u8>) {
    let mut text = String::new();
    if logs.timestamps {
        text = format!("{} ", fixed_width(entry.nanos()));
    }
    if logs.details {
        let attrs = entry.attrs.iter();
        let pairs: Vec<String> = attrs
            .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
            .collect();
        text += &format!("{} ", pairs.join(","));
    }
    (entry.channel(), (text + &entry.log).into_bytes())
}

/// As in the query of a URL.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            b' ' => "+".to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// How many files `max-file` allows. Who sets no limit has one of ours, and the file before it.
fn files_max(config: &LogConfig) -> usize {
    let said = config.config.get("max-file");
    let default = match config.kind.as_str() {
        "local" => 5,
        _ if config.config.contains_key("max-size") => 1,
        _ => 2,
    };
    said.and_then(|count| count.parse().ok())
        .unwrap_or(default)
        .clamp(1, 1000)
}

/// Labels, variables and the tag a log is to carry.
fn attributes(data: &Data) -> BTreeMap<String, String> {
    let options = &data.host_config.log_config.config;
    let option = |name: &str| options.get(name).map_or("", String::as_str);
    let env = data.config.env.iter().flatten();
    let env: BTreeMap<String, String> = order::map(
        env.filter_map(|entry| entry.split_once('='))
            .map(|(name, value)| (name.to_string(), value.to_string())),
    );
    let mut found = BTreeMap::new();
    for (from, list, pattern) in [
        (
            &data.config.labels,
            option("labels"),
            option("labels-regex"),
        ),
        (&env, option("env"), option("env-regex")),
    ] {
        let regex = Some(pattern)
            .filter(|pattern| !pattern.is_empty())
            .and_then(|pattern| regex_lite::Regex::new(pattern).ok());
        let wanted = |name: &str| {
            list.split(',').any(|known| known == name)
                || regex.as_ref().is_some_and(|regex| regex.is_match(name))
        };
        found.extend(
            from.iter()
                .filter(|(name, _)| wanted(name))
                .map(|(name, value)| (name.clone(), value.clone())),
        );
    }
    let mut tag = option("tag").to_string();
    for (field, value) in [
        ("{{.ID}}", data.id.get(..12).unwrap_or_default()),
        ("{{.FullID}}", data.id.as_str()),
        ("{{.Name}}", data.name.as_str()),
        ("{{.ImageName}}", data.config.image.as_str()),
        ("{{.ImageFullID}}", data.image.as_str()),
    ] {
        tag = tag.replace(field, value);
    }
    if !tag.is_empty() {
        found.insert("tag".to_string(), tag);
    }
    found
}

/// `logs -t` always has nine digits behind the second.
fn fixed_width(nanos: u64) -> String {
    let whole = timestamp::format(nanos - nanos % 1_000_000_000);
    format!(
        "{}.{:09}Z",
        whole.trim_end_matches('Z'),
        nanos % 1_000_000_000
    )
}

/// Docker's drivers.
pub(crate) const DRIVERS: [&str; 9] = [
    "awslogs",
    "fluentd",
    "gcplogs",
    "gelf",
    "journald",
    "json-file",
    "local",
    "splunk",
    "syslog",
];

/// Drivers that hand the log to a service, which no machine here has.
pub(crate) fn is_remote(kind: &str) -> bool {
    DRIVERS.contains(&kind) && !matches!(kind, "json-file" | "local")
}

/// What a log cannot be begun with.
pub(crate) fn check_options(config: &LogConfig) -> Result<()> {
    let failed = |why: String| {
        Err(ApiError::system(format!(
            "failed to create task for container: failed to initialize logging driver: {why}"
        )))
    };
    let option = |name: &str| config.config.get(name).map(String::as_str);
    let address = ["syslog-address", "fluentd-address", "splunk-url"];
    let named = address.iter().any(|name| option(name).is_some());
    match config.kind.as_str() {
        "journald" => return failed("journald is not enabled on this host".to_string()),
        "syslog" if !named => return failed("Unix syslog delivery error".to_string()),
        "splunk" if !named => return failed("splunk: splunk-url is expected".to_string()),
        "fluentd" if !named => {
            return failed("dial tcp 127.0.0.1:24224: connect: connection refused".to_string());
        }
        kind if is_remote(kind) => {
            return failed(format!(
                "{kind}: logs cannot be sent over the network by this version of Drydock"
            ));
        }
        _ => {}
    }
    if let Some(size) = option("max-size").filter(|size| parse_size(size).is_none()) {
        return failed(format!("invalid size: '{size}'"));
    }
    match option("max-file").map(|count| (count, count.parse::<i64>())) {
        Some((count, Err(_))) => {
            failed(format!("strconv.Atoi: parsing \"{count}\": invalid syntax"))
        }
        Some((_, Ok(..1))) => failed("max-file cannot be less than 1".to_string()),
        _ => Ok(()),
    }
}

/// `10m`, `1g`, `512k` or bytes.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let digits = text.trim_end_matches(['k', 'm', 'g']);
    let shift = match text.as_bytes().last() {
        Some(b'k') => 10,
        Some(b'm') => 20,
        Some(b'g') => 30,
        _ => 0,
    };
    digits
        .parse::<u64>()
        .ok()?
        .checked_shl(shift)
        .filter(|&size| size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(log: &str, stream: &str, nanos: u64) -> Entry {
        Entry {
            log: log.to_string(),
            stream: stream.to_string(),
            attrs: BTreeMap::new(),
            time: timestamp::format(nanos),
        }
    }

    #[test]
    fn requests_choose_lines() {
        let entries = || {
            vec![
                entry("a\n", "stdout", 1_000_000_000),
                entry("b\n", "stderr", 2_000_000_000),
                entry("c\n", "stdout", 3_000_000_000),
            ]
        };
        let all = Logs {
            stdout: true,
            stderr: true,
            follow: false,
            timestamps: false,
            details: false,
            since: None,
            until: None,
            tail: None,
        };
        let texts = |logs: &Logs| {
            select(entries(), logs)
                .into_iter()
                .map(|entry| entry.log)
                .collect::<String>()
        };
        assert_eq!(texts(&all), "a\nb\nc\n");
        assert_eq!(
            texts(&Logs {
                tail: Some(1),
                ..all.clone()
            }),
            "c\n"
        );
        assert_eq!(
            texts(&Logs {
                tail: Some(0),
                ..all.clone()
            }),
            ""
        );
        assert_eq!(
            texts(&Logs {
                stderr: false,
                tail: Some(2),
                ..all.clone()
            }),
            "a\nc\n"
        );
        assert_eq!(
            texts(&Logs {
                since: Some(2_000_000_000),
                ..all.clone()
            }),
            "b\nc\n"
        );
        assert_eq!(
            texts(&Logs {
                until: Some(1_500_000_000),
                ..all.clone()
            }),
            "a\n"
        );
        let marked = Logs {
            timestamps: true,
            ..all.clone()
        };
        let mut line = entry("x\n", "stdout", 1_500_000_000);
        assert_eq!(
            render(&line, &marked).1,
            b"1970-01-01T00:00:01.500000000Z x\n"
        );
        let detailed = Logs {
            details: true,
            ..all.clone()
        };
        assert_eq!(render(&line, &detailed).1, b" x\n");
        line.attrs.insert("a".to_string(), "b c/".to_string());
        assert_eq!(render(&line, &detailed).1, b"a=b+c%2F x\n");
        assert_eq!(parse_size("10m"), Some(10 << 20));
        assert_eq!(parse_size("x"), None);
    }
}
