//! Framing: a buffered reader and the two ways a body is delimited.

use std::task::Poll;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

use super::HEAD_BYTES_MAX;
use crate::{Body, BodyError, BodySender, Io, IoError, IoStream};

/// Bytes read at a time.
const READ_BYTES: usize = 16 * 1024;

/// A stream with what was read and not used yet.
pub(super) struct Reader {
    pub(super) io: Io,
    pub(super) ahead: Vec<u8>,
}

/// How a body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    Empty,
    Length(u64),
    Chunked,
    /// Until the stream ends (responses only).
    UntilEnd,
}

impl Framing {
    /// Reads the framing from a head. A request without both has no body.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Framing>, BodyError> {
        let chunked = headers.get_all(TRANSFER_ENCODING).iter().any(|value| {
            value
                .to_str()
                .is_ok_and(|text| text.to_ascii_lowercase().ends_with("chunked"))
        });
        let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
        let length = match (lengths.next(), lengths.next()) {
            (None, _) => None,
            (Some(value), None) => {
                let text = value.to_str().unwrap_or_default();
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                Some(
                    text.parse::<u64>()
                        .ok()
                        .filter(|_| digits)
                        .ok_or(BodyError::Malformed("bad Content-Length"))?,
                )
            }
            (Some(_), Some(_)) => {
                return Err(BodyError::Malformed("too many Content-Length fields"));
            }
        };
        match (chunked, length) {
            // Both at once is how requests are smuggled (RFC 9112 §6.3).
            (true, Some(_)) => Err(BodyError::Malformed(
                "both Content-Length and Transfer-Encoding",
            )),
            (true, None) => Ok(Some(Framing::Chunked)),
            (false, Some(0)) => Ok(Some(Framing::Empty)),
            (false, Some(length)) => Ok(Some(Framing::Length(length))),
            (false, None) => Ok(None),
        }
    }
}

impl Reader {
    pub(super) fn new(io: Io) -> Reader {
        Reader {
            io,
            ahead: Vec::new(),
        }
    }

    /// Reads more; false at the end of the stream. Nothing is lost when it is dropped half-way.
    async fn fill(&mut self) -> Result<bool, IoError> {
        // The buffer is there while bytes are taken over and not while they are waited for: a thousand
        // idle connections would have a thousand of them.
        std::future::poll_fn(|cx| {
            let mut buf = [0; READ_BYTES];
            let count = std::task::ready!(self.io.poll_read(cx, &mut buf))?;
            self.ahead.extend_from_slice(&buf[..count]);
            Poll::Ready(Ok(count > 0))
        })
        .await
    }

    /// Reads ahead until the peer goes away, which it reports as an error. With too much read ahead it
    /// only waits.
    pub(super) async fn watch(&mut self) -> Result<(), BodyError> {
        while self.ahead.len() < HEAD_BYTES_MAX {
            if !self.fill().await.map_err(|_| BodyError::Aborted)? {
                return Err(BodyError::Aborted);
            }
        }
        std::future::pending().await
    }

    /// The bytes of a head, up to and with the empty line; `None` when the stream ended before one began.
    pub(super) async fn head(&mut self) -> Result<Option<Vec<u8>>, BodyError> {
        loop {
            // Empty lines before a request line are skipped (RFC 9112 §2.2).
            let skip = self
                .ahead
                .iter()
                .take_while(|&&byte| byte == b'\r' || byte == b'\n')
                .count();
            self.ahead.drain(..skip);
            if let Some(end) = find(&self.ahead, b"\r\n\r\n") {
                return Ok(Some(self.ahead.drain(..end + 4).collect()));
            }
            if self.ahead.len() > HEAD_BYTES_MAX {
                return Err(BodyError::Malformed("head too large"));
            }
            if !self.fill().await.map_err(|_| BodyError::Aborted)? {
                return if self.ahead.is_empty() {
                    Ok(None)
                } else {
                    Err(BodyError::Aborted)
                };
            }
        }
    }

    async fn line(&mut self) -> Result<String, BodyError> {
        loop {
            if let Some(end) = find(&self.ahead, b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..end + 2).collect();
                return String::from_utf8(line[..end].to_vec())
                    .map_err(|_| BodyError::Malformed("bad chunk header"));
            }
            if self.ahead.len() > HEAD_BYTES_MAX {
                return Err(BodyError::Malformed("line too long"));
            }
            if !self.fill().await.map_err(|_| BodyError::Aborted)? {
                return Err(BodyError::Aborted);
            }
        }
    }

    /// Passes `length` bytes on. A receiver that has gone away does not stop the reading: the
    /// connection stays usable.
    async fn pass(&mut self, mut length: u64, to: &BodySender) -> Result<(), BodyError> {
        while length > 0 {
            if self.ahead.is_empty() && !self.fill().await.map_err(|_| BodyError::Aborted)? {
                return Err(BodyError::Aborted);
            }
            let count = (self.ahead.len() as u64).min(length);
            let chunk = if count as usize == self.ahead.len() {
                std::mem::take(&mut self.ahead)
            } else {
                self.ahead.drain(..count as usize).collect()
            };
            length -= count;
            let _ = to.send(Bytes::from(chunk)).await;
        }
        Ok(())
    }

    /// Reads a whole body into `to`, which ends with it.
    pub(super) async fn body(&mut self, framing: Framing, to: BodySender) -> Result<(), BodyError> {
        let outcome = self.read_body(framing, &to).await;
        if let Err(error) = &outcome {
            to.abort(error.clone());
        }
        outcome
    }

    async fn read_body(&mut self, framing: Framing, to: &BodySender) -> Result<(), BodyError> {
        match framing {
            Framing::Empty => Ok(()),
            Framing::Length(length) => self.pass(length, to).await,
            Framing::Chunked => loop {
                let line = self.line().await?;
                let digits = line.split(';').next().unwrap_or_default().trim();
                let size = Some(digits)
                    .filter(|digits| !digits.starts_with('+') && digits.len() <= 15)
                    .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                    .ok_or(BodyError::Malformed("bad chunk size"))?;
                if size == 0 {
                    while !self.line().await?.is_empty() {}
                    return Ok(());
                }
                self.pass(size, to).await?;
                if !self.line().await?.is_empty() {
                    return Err(BodyError::Malformed("malformed chunked encoding"));
                }
            },
            Framing::UntilEnd => loop {
                if self.ahead.is_empty() && !self.fill().await.map_err(|_| BodyError::Aborted)? {
                    return Ok(());
                }
                if to.send(std::mem::take(&mut self.ahead)).await.is_err() {
                    return Ok(());
                }
            },
        }
    }
}

/// Writes a body with its framing.
pub(super) async fn write_body(io: &Io, mut body: Body, chunked: bool) -> Result<(), IoError> {
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| IoError("body aborted"))?;
        if chunked {
            io.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())
                .await?;
        }
        io.write_all(&chunk).await?;
        if chunked {
            io.write_all(b"\r\n").await?;
        }
    }
    if chunked {
        io.write_all(b"0\r\n\r\n").await?;
    }
    Ok(())
}

/// Header lines.
pub(super) fn emit_headers(head: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        head.extend_from_slice(canonical(name.as_str()).as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
}

/// `content-type` as `Content-Type`: what people expect to read with `curl -v`.
fn canonical(name: &str) -> String {
    let mut upper = true;
    name.chars()
        .map(|letter| {
            let shown = if upper {
                letter.to_ascii_uppercase()
            } else {
                letter
            };
            upper = letter == '-';
            shown
        })
        .collect()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
