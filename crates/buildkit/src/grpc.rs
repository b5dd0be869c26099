//! gRPC over HTTP/2 (its protocol document is `PROTOCOL-HTTP2.md`): messages with a prefix of five octets,
//! a status in the trailers.

use std::fmt;
use std::fmt::Write as _;

use serve::h2::{Connection, Fields, Stream, StreamError};

use crate::wire::{Message, fields};

/// Octets of one message.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Status codes, as far as they are used.
pub mod code {
    /// Success.
    pub const OK: u32 = 0;
    /// The caller gave up.
    pub const CANCELED: u32 = 1;
    /// An error that says it all in its text.
    pub const UNKNOWN: u32 = 2;
    /// The request makes no sense.
    pub const INVALID_ARGUMENT: u32 = 3;
    /// It is not there.
    pub const NOT_FOUND: u32 = 5;
    /// Too much of something.
    pub const RESOURCE_EXHAUSTED: u32 = 8;
    /// No such method.
    pub const UNIMPLEMENTED: u32 = 12;
    /// Something is broken.
    pub const INTERNAL: u32 = 13;
    /// The connection is gone.
    pub const UNAVAILABLE: u32 = 14;
}

/// How a call failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// One of [`code`].
    pub code: u32,
    /// What a user reads.
    pub message: String,
    /// Further values for the client: type and bytes of each.
    pub details: Vec<(String, Vec<u8>)>,
}

impl Status {
    /// A status with a text.
    pub fn new(code: u32, message: impl Into<String>) -> Status {
        Status {
            code,
            message: message.into(),
            details: Vec::new(),
        }
    }

    /// An error that is all text.
    pub fn unknown(message: impl Into<String>) -> Status {
        Status::new(code::UNKNOWN, message)
    }

    /// `google.rpc.Status`.
    #[must_use]
    pub fn emit(&self) -> Message {
        let mut message = Message::new();
        message
            .number(1, u64::from(self.code))
            .text(2, &self.message);
        for (kind, value) in &self.details {
            let mut any = Message::new();
            any.text(1, kind).bytes(2, value);
            message.message(3, &any);
        }
        message
    }

    /// The other way.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Status {
        let mut status = Status::new(code::OK, "");
        for field in fields(bytes).map_while(Result::ok) {
            match field {
                (1, value) => status.code = value.number() as u32,
                (2, value) => status.message = value.text(),
                (3, value) => {
                    let mut any = (String::new(), Vec::new());
                    for field in fields(value.bytes()).map_while(Result::ok) {
                        match field {
                            (1, kind) => any.0 = kind.text(),
                            (2, value) => any.1 = value.bytes().to_vec(),
                            _ => {}
                        }
                    }
                    status.details.push(any);
                }
                _ => {}
            }
        }
        status
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<StreamError> for Status {
    fn from(error: StreamError) -> Status {
        match error {
            // CANCEL of RFC 9113.
            StreamError::Reset(8) => Status::new(code::CANCELED, "context canceled"),
            StreamError::Reset(_) => Status::new(code::INTERNAL, error.to_string()),
            StreamError::Gone => Status::new(code::UNAVAILABLE, error.to_string()),
        }
    }
}

fn field(name: &str, value: &str) -> (String, String) {
    (name.to_string(), value.to_string())
}

/// One call, at either end.
pub struct Call {
    stream: Stream,
    /// Method, as `/package.Service/Method`.
    pub path: String,
    metadata: Fields,
    server: bool,
    /// The first header fields were sent (servers), or came (clients).
    begun: bool,
    /// Bytes of a message that is not complete.
    pending: Vec<u8>,
}

impl Call {
    /// The server's end of a stream the peer began.
    pub async fn accept(stream: Stream) -> Result<Call, Status> {
        let metadata = stream.fields().await?;
        let get = |name: &str| metadata.iter().find(|(own, _)| own == name);
        Ok(Call {
            path: get(":path")
                .map(|(_, path)| path.clone())
                .unwrap_or_default(),
            stream,
            metadata,
            server: true,
            begun: false,
            pending: Vec::new(),
        })
    }

    /// Calls a method.
    pub fn open(
        connection: &Connection,
        path: &str,
        metadata: &[(String, String)],
    ) -> Result<Call, Status> {
        let mut fields = vec![
            field(":method", "POST"),
            field(":scheme", "http"),
            field(":path", path),
            field(":authority", "localhost"),
            field("content-type", "application/grpc"),
            field("te", "trailers"),
        ];
        fields.extend_from_slice(metadata);
        Ok(Call {
            stream: connection.open(&fields, false)?,
            path: path.to_string(),
            metadata: Fields::new(),
            server: false,
            begun: false,
            pending: Vec::new(),
        })
    }

    /// The first value of a name in the peer's metadata.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Option<&str> {
        let found = self.metadata.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The next message; `None` after the last.
    pub async fn receive(&mut self) -> Result<Option<Vec<u8>>, Status> {
        if !self.server && !std::mem::replace(&mut self.begun, true) {
            self.metadata = self.stream.fields().await?;
            if self.metadata("grpc-status").is_some() {
                let own = std::mem::take(&mut self.metadata);
                return ended(&own).map(|()| None);
            }
            if self.metadata(":status") != Some("200") {
                return Err(Status::new(code::UNAVAILABLE, "unexpected HTTP status"));
            }
        }
        loop {
            if let Some((head, rest)) = self.pending.split_first_chunk::<5>() {
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                if head[0] != 0 {
                    return Err(Status::new(
                        code::UNIMPLEMENTED,
                        "grpc: compressed messages are not supported",
                    ));
                }
                if length > MESSAGE_BYTES_MAX {
                    let text = format!(
                        "grpc: received message larger than max ({length} vs. {MESSAGE_BYTES_MAX})"
                    );
                    return Err(Status::new(code::RESOURCE_EXHAUSTED, text));
                }
                if let Some(message) = rest.get(..length) {
                    let message = message.to_vec();
                    self.pending.drain(..5 + length);
                    return Ok(Some(message));
                }
            }
            let Some(bytes) = self.stream.data().await? else {
                break;
            };
            self.pending.extend_from_slice(&bytes);
        }
        if !self.pending.is_empty() {
            return Err(Status::new(code::INTERNAL, "unexpected EOF"));
        }
        match self.server {
            true => Ok(None),
            false => ended(&self.stream.trailers().unwrap_or_default()).map(|()| None),
        }
    }

    /// The message of a call that has one.
    pub async fn request(&mut self) -> Result<Vec<u8>, Status> {
        Ok(self.receive().await?.unwrap_or_default())
    }

    /// Sends a message, waiting for the peer's window.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), Status> {
        self.begin()?;
        let mut bytes = Vec::with_capacity(message.len() + 5);
        bytes.push(0);
        bytes.extend_from_slice(&(message.len() as u32).to_be_bytes());
        bytes.extend_from_slice(message);
        match self.stream.send_data(&bytes, false).await {
            // The server wants nothing more: it has said why.
            Err(StreamError::Reset(0)) if !self.server => loop {
                if self.receive().await?.is_none() {
                    return Err(Status::new(code::UNAVAILABLE, "EOF"));
                }
            },
            outcome => Ok(outcome?),
        }
    }

    /// A client says that it has sent its last message.
    pub async fn half_close(&mut self) -> Result<(), Status> {
        match self.stream.send_data(&[], true).await {
            // The server has ended the call already.
            Err(StreamError::Reset(0)) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    fn begin(&mut self) -> Result<(), StreamError> {
        if self.server && !std::mem::replace(&mut self.begun, true) {
            let fields = [
                field(":status", "200"),
                field("content-type", "application/grpc"),
            ];
            self.stream.send_fields(&fields, false)?;
        }
        Ok(())
    }

    /// A server ends the call.
    pub fn finish(mut self, outcome: &Result<(), Status>) {
        let mut fields = Vec::new();
        // A call that fails before it said anything has trailers only.
        if !std::mem::replace(&mut self.begun, true) {
            fields = vec![
                field(":status", "200"),
                field("content-type", "application/grpc"),
            ];
        }
        match outcome {
            Ok(()) => fields.push(field("grpc-status", "0")),
            Err(status) => {
                fields.push(field("grpc-status", &status.code.to_string()));
                fields.push(field("grpc-message", &percent_encode(&status.message)));
                if !status.details.is_empty() {
                    let details = base64(&status.emit().0);
                    fields.push(field("grpc-status-details-bin", &details));
                }
            }
        }
        // A peer that has gone needs no status.
        let _ = self.stream.send_fields(&fields, true);
    }

    /// Completes when the peer has given the call up.
    pub async fn given_up(&self) -> Status {
        self.stream.given_up().await.into()
    }
}

/// The outcome in a call's trailers.
fn ended(trailers: &Fields) -> Result<(), Status> {
    let get = |name: &str| {
        let found = trailers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    };
    match get("grpc-status").and_then(|text| text.parse().ok()) {
        Some(code::OK) => Ok(()),
        Some(code) => Err(Status::new(
            code,
            percent_decode(get("grpc-message").unwrap_or_default()),
        )),
        None => Err(Status::new(
            code::INTERNAL,
            "server closed the stream without sending trailers",
        )),
    }
}

fn percent_encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

fn percent_decode(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match digits.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) if byte == b'%' => {
                out.push(decoded);
                rest = &after[2..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// RFC 4648 §4, without padding: gRPC's form of binary metadata.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len() * 4 / 3 + 3);
    for chunk in bytes.chunks(3) {
        let mut word = 0_u32;
        for index in 0..3 {
            word = word << 8 | u32::from(chunk.get(index).copied().unwrap_or(0));
        }
        for index in 0..=chunk.len() {
            out.push(char::from(DIGITS[(word >> (18 - 6 * index) & 63) as usize]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::Executor;
    use serve::h2::Limits;
    use serve::io::duplex;

    #[test]
    fn texts_survive_trailers() {
        for (text, encoded) in [("a b", "a b"), ("100%", "100%25"), ("né\n", "n%C3%A9%0A")] {
            assert_eq!(percent_encode(text), encoded);
            assert_eq!(percent_decode(encoded), text);
        }
        assert_eq!(percent_decode("%zz%4"), "%zz%4");
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        let status = Status {
            details: vec![("type".to_string(), b"{}".to_vec())],
            ..Status::unknown("no")
        };
        assert_eq!(Status::parse(&status.emit().0), status);
    }

    #[test]
    fn calls_and_their_ends() {
        let executor = Executor::new();
        let (client_io, server_io) = duplex();
        let (server, run) = Connection::server(server_io, Limits::default());
        executor.spawn(run);
        executor.spawn(async move {
            while let Some(stream) = server.accept().await {
                let mut call = Call::accept(stream).await.unwrap();
                let outcome = match call.path.as_str() {
                    "/s/Echo" => loop {
                        match call.receive().await {
                            Ok(Some(message)) => call.send(&message).await.unwrap(),
                            Ok(None) => break Ok(()),
                            Err(status) => break Err(status),
                        }
                    },
                    path => Err(Status::new(
                        code::UNIMPLEMENTED,
                        format!("unknown method {path}"),
                    )),
                };
                call.finish(&outcome);
            }
        });
        let (client, run) = Connection::client(client_io, Limits::default());
        executor.spawn(run);
        let done = executor.spawn(async move {
            let mut call = Call::open(&client, "/s/Echo", &[]).unwrap();
            let long = vec![7; 300_000];
            call.send(b"one").await.unwrap();
            call.send(&[]).await.unwrap();
            call.send(&long).await.unwrap();
            call.half_close().await.unwrap();
            for expected in [&b"one"[..], b"", &long] {
                assert_eq!(call.receive().await.unwrap().as_deref(), Some(expected));
            }
            assert_eq!(call.receive().await, Ok(None));
            let mut call = Call::open(&client, "/s/Other", &[]).unwrap();
            let error = call.receive().await.unwrap_err();
            // A call that the server has ended tells why, whatever is done with it.
            assert_eq!(call.half_close().await, Ok(()));
            let mut call = Call::open(&client, "/s/Other", &[]).unwrap();
            let refused = loop {
                if let Err(status) = call.send(&long).await {
                    break status;
                }
            };
            assert_eq!(refused, error);
            client.close();
            error
        });
        executor.run_until_stalled();
        let expected = Status::new(code::UNIMPLEMENTED, "unknown method /s/Other");
        assert_eq!(done.take(), Some(expected));
        assert_eq!(executor.task_count(), 0);
    }
}
