//! The messages of `moby.buildkit.v1` and `moby.buildkit.v1.frontend`, with the field numbers of BuildKit
//! 0.13. What is read are plain structures; what is only written are functions.

use std::collections::BTreeMap;

use crate::Status;
use crate::wire::{Malformed, Message, Value, fields};

type Map = BTreeMap<String, String>;

impl From<Malformed> for Status {
    fn from(_: Malformed) -> Status {
        Status::new(
            crate::grpc::code::INTERNAL,
            "grpc: error while unmarshaling request",
        )
    }
}

fn add(map: &mut Map, entry: Value<'_>) -> Result<(), Malformed> {
    let (key, value) = entry.entry()?;
    map.insert(key, value.text());
    Ok(())
}

/// A kind and its options.
fn typed(value: Value<'_>) -> Result<(String, Map), Malformed> {
    let (mut kind, mut attrs) = (String::new(), Map::new());
    for field in fields(value.bytes()) {
        match field? {
            (1, text) => kind = text.text(),
            (2, entry) => add(&mut attrs, entry)?,
            _ => {}
        }
    }
    Ok((kind, attrs))
}

/// An exporter: where a result goes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Exporter {
    /// `moby`, `local`, `tar`; empty: nowhere.
    pub kind: String,
    /// Its options.
    pub attrs: Map,
}

/// `Control.Solve`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SolveRequest {
    /// Names the build.
    pub reference: String,
    /// A graph of operations was given instead of a frontend.
    pub has_definition: bool,
    /// Where the result goes.
    pub exporters: Vec<Exporter>,
    /// Whom to ask for files.
    pub session: String,
    /// Who reads the build's description; empty: the client itself, by way of the gateway.
    pub frontend: String,
    /// Its options.
    pub frontend_attrs: Map,
    /// Kinds of caches that are to be written.
    pub cache_exports: Vec<String>,
    /// Caches that may be used: kinds and options.
    pub cache_imports: Vec<(String, Map)>,
    /// What the build is to be allowed beyond the usual.
    pub entitlements: Vec<String>,
    /// Not a build that a user began.
    pub internal: bool,
}

impl SolveRequest {
    /// Reads a message.
    pub fn parse(bytes: &[u8]) -> Result<SolveRequest, Malformed> {
        let mut request = SolveRequest::default();
        let mut only = Exporter::default();
        for field in fields(bytes) {
            let (number, value) = field?;
            match number {
                1 => request.reference = value.text(),
                2 => request.has_definition = !value.bytes().is_empty(),
                3 => only.kind = value.text(),
                4 => add(&mut only.attrs, value)?,
                5 => request.session = value.text(),
                6 => request.frontend = value.text(),
                7 => add(&mut request.frontend_attrs, value)?,
                8 => {
                    for field in fields(value.bytes()) {
                        match field? {
                            (4, entry) => request.cache_exports.push(typed(entry)?.0),
                            (5, entry) => request.cache_imports.push(typed(entry)?),
                            _ => {}
                        }
                    }
                }
                9 => request.entitlements.push(value.text()),
                11 => request.internal = value.number() != 0,
                13 => {
                    let (kind, attrs) = typed(value)?;
                    request.exporters.push(Exporter { kind, attrs });
                }
                _ => {}
            }
        }
        // Clients before 0.13 have one exporter, in fields of its own.
        if request.exporters.is_empty() && !only.kind.is_empty() {
            request.exporters.push(only);
        }
        Ok(request)
    }
}

/// The answer to it.
#[must_use]
pub fn solve_response(exporter: &Map) -> Message {
    let mut message = Message::new();
    message.map(1, exporter);
    message
}

/// `LLBBridge.Solve`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FrontendRequest {
    /// A graph of operations was given.
    pub has_definition: bool,
    /// Who reads the build's description.
    pub frontend: String,
    /// Its options.
    pub options: Map,
    /// Do everything at once, not when the result is used.
    pub evaluate: bool,
}

impl FrontendRequest {
    /// Reads a message.
    pub fn parse(bytes: &[u8]) -> Result<FrontendRequest, Malformed> {
        let mut request = FrontendRequest::default();
        for field in fields(bytes) {
            let (number, value) = field?;
            match number {
                1 => request.has_definition = !value.bytes().is_empty(),
                2 => request.frontend = value.text(),
                3 => add(&mut request.options, value)?,
                14 => request.evaluate = value.number() != 0,
                _ => {}
            }
        }
        Ok(request)
    }
}

/// The answer to it: one reference.
#[must_use]
pub fn frontend_response(reference: &str, metadata: &BTreeMap<String, Vec<u8>>) -> Message {
    let (mut inner, mut result, mut message) = (Message::new(), Message::new(), Message::new());
    inner.text(1, reference);
    result.message(3, &inner);
    for (key, value) in metadata {
        let mut entry = Message::new();
        entry.text(1, key).bytes(2, value);
        result.message(10, &entry);
    }
    message.message(3, &result);
    message
}

/// `LLBBridge.Return`: how the client's own frontend ended.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ReturnRequest {
    /// What it gives back; may be nothing.
    pub reference: Option<String>,
    /// It gave several, one a platform.
    pub is_map: bool,
    /// Why it failed.
    pub error: Option<Status>,
}

impl ReturnRequest {
    /// Reads a message.
    pub fn parse(bytes: &[u8]) -> Result<ReturnRequest, Malformed> {
        let mut request = ReturnRequest::default();
        for field in fields(bytes) {
            match field? {
                (1, result) => {
                    for field in fields(result.bytes()) {
                        match field? {
                            (1, old) => request.reference = Some(old.text()),
                            (2 | 4, _) => request.is_map = true,
                            (3, reference) => {
                                for field in fields(reference.bytes()) {
                                    if let (1, id) = field? {
                                        request.reference = Some(id.text());
                                    }
                                }
                            }
                            _ => {}
                        }
                    }
                }
                (2, error) => request.error = Some(Status::parse(error.bytes())),
                _ => {}
            }
        }
        request.reference = request.reference.filter(|id| !id.is_empty());
        Ok(request)
    }
}

/// The one text in field 1 of a small request.
pub fn first_text(bytes: &[u8]) -> Result<String, Malformed> {
    let mut text = String::new();
    for field in fields(bytes) {
        if let (1, value) = field? {
            text = value.text();
        }
    }
    Ok(text)
}

/// `PruneRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PruneRequest {
    /// Also what an image needs.
    pub all: bool,
    /// Keep what was used within so many nanoseconds.
    pub keep_duration: i64,
    /// Keep so many bytes.
    pub keep_bytes: i64,
}

impl PruneRequest {
    /// Reads a message.
    pub fn parse(bytes: &[u8]) -> Result<PruneRequest, Malformed> {
        let mut request = PruneRequest::default();
        for field in fields(bytes) {
            match field? {
                (2, value) => request.all = value.number() != 0,
                (3, value) => request.keep_duration = value.number() as i64,
                (4, value) => request.keep_bytes = value.number() as i64,
                _ => {}
            }
        }
        Ok(request)
    }
}

/// `UsageRecord`: one entry of the build cache.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct UsageRecord {
    /// Its identity.
    pub id: String,
    /// A build may change it.
    pub mutable: bool,
    /// In use by a build that runs.
    pub in_use: bool,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub created: u64,
    /// Likewise.
    pub last_used: Option<u64>,
    /// How often.
    pub usage_count: u64,
    /// What made it.
    pub description: String,
    /// `regular`, `source.local`, …
    pub kind: String,
    /// An image has it too.
    pub shared: bool,
    /// What it is based on.
    pub parents: Vec<String>,
}

impl UsageRecord {
    /// Writes a message.
    #[must_use]
    pub fn emit(&self) -> Message {
        let mut message = Message::new();
        message
            .text(1, &self.id)
            .number(2, u64::from(self.mutable))
            .number(3, u64::from(self.in_use))
            .number(4, self.size)
            .time(6, self.created);
        if let Some(time) = self.last_used {
            message.time(7, time);
        }
        message
            .number(8, self.usage_count)
            .text(9, &self.description)
            .text(10, &self.kind)
            .number(11, u64::from(self.shared));
        for parent in &self.parents {
            message.text(12, parent);
        }
        message
    }
}

/// One step, as the progress display shows it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Vertex {
    /// Its identity.
    pub digest: String,
    /// The steps it needs.
    pub inputs: Vec<String>,
    /// What the user reads.
    pub name: String,
    /// It did not have to be done.
    pub cached: bool,
    /// Nanoseconds since 1970.
    pub started: Option<u64>,
    /// Likewise.
    pub completed: Option<u64>,
    /// Why it failed.
    pub error: String,
}

/// Progress inside a step.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct VertexStatus {
    /// Identity within the step, and what the user reads.
    pub id: String,
    /// The step.
    pub vertex: String,
    /// How far.
    pub current: u64,
    /// Of how much; 0 when nobody knows.
    pub total: u64,
    /// Nanoseconds since 1970.
    pub timestamp: u64,
    /// Likewise.
    pub started: Option<u64>,
    /// Likewise.
    pub completed: Option<u64>,
}

/// What `Control.Status` tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// A step.
    Vertex(Vertex),
    /// Progress inside one.
    Status(VertexStatus),
    /// What a step's program wrote: step, time, stream, bytes.
    Log(String, u64, u32, Vec<u8>),
    /// Something to think about: step and text.
    Warning(String, String),
}

/// `StatusResponse`.
#[must_use]
pub fn status_response<'a>(all: impl IntoIterator<Item = &'a Progress>) -> Message {
    let mut message = Message::new();
    for one in all {
        let mut inner = Message::new();
        let field = match one {
            Progress::Vertex(vertex) => {
                inner.text(1, &vertex.digest);
                for input in &vertex.inputs {
                    inner.text(2, input);
                }
                inner
                    .text(3, &vertex.name)
                    .number(4, u64::from(vertex.cached));
                times(&mut inner, &[(5, vertex.started), (6, vertex.completed)]);
                inner.text(7, &vertex.error);
                1
            }
            Progress::Status(status) => {
                inner
                    .text(1, &status.id)
                    .text(2, &status.vertex)
                    .number(4, status.current)
                    .number(5, status.total)
                    .time(6, status.timestamp);
                times(&mut inner, &[(7, status.started), (8, status.completed)]);
                2
            }
            Progress::Log(vertex, time, stream, bytes) => {
                inner
                    .text(1, vertex)
                    .time(2, *time)
                    .number(3, u64::from(*stream))
                    .bytes(4, bytes);
                3
            }
            Progress::Warning(vertex, text) => {
                inner.text(1, vertex).number(2, 1).text(3, text);
                4
            }
        };
        message.message(field, &inner);
    }
    message
}

fn times(message: &mut Message, all: &[(u32, Option<u64>)]) {
    for (field, time) in all {
        if let Some(time) = time {
            message.time(*field, *time);
        }
    }
}

/// `WorkerRecord`: who does the work.
#[must_use]
pub fn worker_record(id: &str, architecture: &str, labels: &Map, version: &Message) -> Message {
    let (mut platform, mut message) = (Message::new(), Message::new());
    platform.text(1, architecture).text(2, "linux");
    message
        .text(1, id)
        .map(2, labels)
        .message(3, &platform)
        .message(5, version);
    message
}

/// `BuildkitVersion`.
#[must_use]
pub fn version(package: &str, version: &str, revision: &str) -> Message {
    let mut message = Message::new();
    message.text(1, package).text(2, version).text(3, revision);
    message
}

/// `PongResponse`: what the gateway and the operations can do.
#[must_use]
pub fn pong(frontend: &[&str], operations: &[&str], worker: &Message) -> Message {
    let mut message = Message::new();
    for (field, list) in [(1, frontend), (2, operations)] {
        for name in list {
            let mut capability = Message::new();
            capability.text(1, name).number(2, 1);
            message.message(field, &capability);
        }
    }
    message.message(3, worker);
    message
}

/// `errdefs.Source`, as BuildKit's clients expect it among the details of a status: the lines of a
/// Dockerfile that an error is about, both ends counted from 1.
#[must_use]
pub fn source_detail(filename: &str, data: &[u8], ranges: &[(u32, u32)]) -> (String, Vec<u8>) {
    let mut encoded = crate::grpc::base64(data);
    while !encoded.len().is_multiple_of(4) {
        encoded.push('=');
    }
    let ranges: Vec<String> = ranges
        .iter()
        .map(|(start, end)| {
            format!("{{\"start\":{{\"line\":{start}}},\"end\":{{\"line\":{end}}}}}")
        })
        .collect();
    let mut name = String::new();
    for character in filename.chars() {
        match character {
            '"' | '\\' => name.extend(['\\', character]),
            character if character.is_control() => name.push('?'),
            character => name.push(character),
        }
    }
    let json = format!(
        "{{\"info\":{{\"filename\":\"{name}\",\"data\":\"{encoded}\",\"language\":\"Dockerfile\"}},\"ranges\":[{}]}}",
        ranges.join(",")
    );
    let kind = "github.com/moby/buildkit/errdefs.Source+json";
    (kind.to_string(), json.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        let map: Map = [("name".to_string(), "x".to_string())].into();
        let mut message = Message::new();
        message
            .text(1, "ref")
            .text(3, "moby")
            .map(4, &map)
            .text(5, "session")
            .number(11, 1);
        let request = SolveRequest::parse(&message.0).unwrap();
        let exporter = Exporter {
            kind: "moby".to_string(),
            attrs: map.clone(),
        };
        assert_eq!(request.exporters[0], exporter);
        assert!(request.internal && request.session == "session" && request.reference == "ref");
        let mut inner = Message::new();
        inner.text(1, "moby").map(2, &map);
        message.message(13, &inner);
        assert_eq!(
            SolveRequest::parse(&message.0).unwrap().exporters,
            [exporter]
        );

        let mut message = Message::new();
        message.text(2, "dockerfile.v0").map(3, &map).number(5, 1);
        let request = FrontendRequest::parse(&message.0).unwrap();
        assert_eq!(
            (request.frontend.as_str(), &request.options),
            ("dockerfile.v0", &map)
        );

        // What the gateway gives is what the client returns.
        let response = frontend_response("r1", &BTreeMap::new());
        let (number, result) = fields(&response.0).next().unwrap().unwrap();
        assert_eq!(number, 3);
        let mut message = Message::new();
        message.bytes(1, result.bytes());
        let returned = ReturnRequest::parse(&message.0).unwrap();
        assert_eq!(returned.reference.as_deref(), Some("r1"));
        let mut message = Message::new();
        message.message(2, &Status::unknown("no").emit());
        let returned = ReturnRequest::parse(&message.0).unwrap();
        assert_eq!(returned.error, Some(Status::unknown("no")));
        assert_eq!(ReturnRequest::parse(&[]).unwrap(), ReturnRequest::default());
        assert!(SolveRequest::parse(b"\x0a\x05x").is_err());
    }
}
