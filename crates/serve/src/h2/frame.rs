//! Frames (RFC 9113 §4 and §6).

/// Octets before a frame's payload.
pub(super) const HEAD_BYTES: usize = 9;
/// The largest payload we take: what every peer may send without asking.
pub(super) const PAYLOAD_BYTES_MAX: usize = 16_384;
/// What a client sends first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const HEADERS: u8 = 1;
    pub(in super::super) const PRIORITY: u8 = 2;
    pub(in super::super) const RST_STREAM: u8 = 3;
    pub(in super::super) const SETTINGS: u8 = 4;
    pub(in super::super) const PING: u8 = 6;
    pub(in super::super) const GOAWAY: u8 = 7;
    pub(in super::super) const WINDOW_UPDATE: u8 = 8;
    pub(in super::super) const CONTINUATION: u8 = 9;
}

pub(super) mod flag {
    pub(in super::super) const ACK: u8 = 1;
    pub(in super::super) const END_STREAM: u8 = 1;
    pub(in super::super) const END_HEADERS: u8 = 4;
    pub(in super::super) const PADDED: u8 = 8;
    pub(in super::super) const PRIORITY: u8 = 0x20;
}

pub(super) mod setting {
    pub(in super::super) const ENABLE_PUSH: u16 = 2;
    pub(in super::super) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(in super::super) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(in super::super) const MAX_FRAME_SIZE: u16 = 5;
}

/// Error codes (§7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// No error: the other side has what it needs.
    NoError = 0,
    /// The peer broke the protocol.
    Protocol = 1,
    /// The peer sent more than its window.
    FlowControl = 3,
    /// A frame on a stream that has ended.
    StreamClosed = 5,
    /// A frame of a wrong size.
    FrameSize = 6,
    /// The stream was not begun.
    RefusedStream = 7,
    /// Nobody wants the stream any more.
    Cancel = 8,
    /// A header block that cannot be decoded.
    Compression = 9,
    /// Too much of something.
    EnhanceYourCalm = 11,
}

/// A frame's head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    pub(super) fn parse(bytes: &[u8]) -> Option<Head> {
        let head: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
        Some(Head {
            length: u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize,
            kind: head[3],
            flags: head[4],
            stream: number(&head[5..]) & 0x7fff_ffff,
        })
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The first four octets as a number; the caller knows that they are there.
pub(super) fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .take(4)
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Adds a frame to `out`. Payloads are cut by whoever makes them.
pub(super) fn emit(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The payload without its padding and, for HEADERS, its priority.
pub(super) fn content(head: Head, payload: &[u8]) -> Option<&[u8]> {
    let mut content = payload;
    if head.has(flag::PADDED) && matches!(head.kind, kind::DATA | kind::HEADERS) {
        let (&padding, rest) = content.split_first()?;
        content = rest.get(..rest.len().checked_sub(usize::from(padding))?)?;
    }
    if head.kind == kind::HEADERS && head.has(flag::PRIORITY) {
        content = content.get(5..)?;
    }
    Some(content)
}
