//! WebSocket (RFC 6455), the server's side, over an upgraded connection.
//!
//! A [`WebSocket`] is a byte stream: what is written becomes binary messages, what the client's messages say is
//! read, their boundaries are not kept. Pings are answered. No extensions; who wants a subprotocol reads the
//! request's header.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderValue};

use crate::{Io, IoError, IoStream};

/// Largest payload of a frame accepted.
const PAYLOAD_MAX: u64 = 1 << 20;
/// Bytes of answers to pings that may wait for a client that does not read them.
const PONGS_MAX: usize = 4096;
/// Bytes read at a time.
const READ_BYTES: usize = 8 * 1024;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What the answer's `Sec-WebSocket-Accept` says; `None`: this request opens no WebSocket.
#[must_use]
pub fn accept(headers: &HeaderMap) -> Option<HeaderValue> {
    let has = |name: &str, wanted: &str| {
        let mut values = headers.get_all(name).iter();
        values.any(|value| {
            let mut words = value.to_str().unwrap_or_default().split(',');
            words.any(|word| word.trim().eq_ignore_ascii_case(wanted))
        })
    };
    if !has("upgrade", "websocket")
        || !has("connection", "upgrade")
        || !has("sec-websocket-version", "13")
    {
        return None;
    }
    let key = headers.get("sec-websocket-key")?.as_bytes();
    let text = [key, b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    HeaderValue::from_str(&base64(&sha1(&text))).ok()
}

/// A frame that has begun.
#[derive(Clone, Copy)]
struct Frame {
    mask: [u8; 4],
    /// Bytes of the payload that have not come, and that have.
    left: u64,
    done: u64,
}

/// See the module's comment.
pub struct WebSocket {
    io: Io,
    /// Read and not looked at.
    raw: RefCell<VecDeque<u8>>,
    frame: Cell<Option<Frame>>,
    /// The client has said good-bye, or nonsense.
    over: Cell<bool>,
    /// Frames on their way out.
    out: RefCell<VecDeque<u8>>,
    /// Bytes of the message among them that its writer waits for.
    writing: Cell<usize>,
}

impl WebSocket {
    /// A connection whose handshake is done, as a byte stream.
    #[must_use]
    pub fn stream(io: Io) -> Io {
        Io::new(Rc::new(WebSocket {
            io,
            raw: RefCell::default(),
            frame: Cell::new(None),
            over: Cell::new(false),
            out: RefCell::default(),
            writing: Cell::new(0),
        }))
    }

    fn emit(&self, opcode: u8, payload: &[u8]) {
        let mut out = self.out.borrow_mut();
        out.push_back(0x80 | opcode);
        match payload.len() {
            length @ ..126 => out.push_back(length as u8),
            length @ ..0x1_0000 => {
                out.push_back(126);
                out.extend((length as u16).to_be_bytes());
            }
            length => {
                out.push_back(127);
                out.extend((length as u64).to_be_bytes());
            }
        }
        out.extend(payload);
    }

    /// Writes what is on its way out.
    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        let mut out = self.out.borrow_mut();
        while !out.is_empty() {
            let count = ready!(self.io.poll_write(cx, out.make_contiguous()))?;
            out.drain(..count);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes data of the frame that has begun, or begins one; `None`: more bytes are needed.
    fn take(&self, buf: &mut [u8]) -> Option<usize> {
        loop {
            if self.over.get() || buf.is_empty() {
                return Some(0);
            }
            let mut raw = self.raw.borrow_mut();
            let Some(mut frame) = self.frame.get() else {
                let (opcode, frame, length) = head(raw.make_contiguous())?;
                let control = opcode & 8 != 0;
                let known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
                // A client's frames are masked, and those of control are short.
                let Some(frame) = frame
                    .filter(|frame| known && frame.left <= if control { 125 } else { PAYLOAD_MAX })
                else {
                    drop(raw);
                    self.close();
                    continue;
                };
                if !control {
                    raw.drain(..length);
                    self.frame.set(Some(frame));
                    continue;
                }
                let end = length + frame.left as usize;
                if raw.len() < end {
                    return None;
                }
                let payload: Vec<u8> = raw.drain(..end).skip(length).collect();
                drop(raw);
                self.control(opcode, &unmasked(payload, frame.mask));
                continue;
            };
            if frame.left == 0 {
                self.frame.set(None);
                continue;
            }
            if raw.is_empty() {
                return None;
            }
            let count = buf.len().min(raw.len()).min(frame.left as usize);
            for (slot, byte) in buf.iter_mut().zip(raw.drain(..count)) {
                *slot = byte ^ frame.mask[(frame.done % 4) as usize];
                frame.done += 1;
            }
            frame.left -= count as u64;
            self.frame.set(Some(frame));
            return Some(count);
        }
    }

    fn control(&self, opcode: u8, payload: &[u8]) {
        match opcode {
            CLOSE => self.close(),
            PING if self.out.borrow().len() < PONGS_MAX => self.emit(PONG, payload),
            _ => {}
        }
    }

    fn close(&self) {
        if !self.over.replace(true) {
            self.emit(CLOSE, &[]);
        }
    }
}

impl IoStream for WebSocket {
    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoError>> {
        loop {
            let taken = self.take(buf);
            // Answers to what was read; one that cannot be written now goes with what is written next.
            if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
            if let Some(count) = taken {
                return Poll::Ready(Ok(count));
            }
            let mut bytes = [0; READ_BYTES];
            match ready!(self.io.poll_read(cx, &mut bytes))? {
                0 => self.over.set(true),
                count => self.raw.borrow_mut().extend(&bytes[..count]),
            }
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, IoError>> {
        // Called again with the same bytes until the whole message is out: nothing is lost at the end.
        if self.writing.get() == 0 {
            if self.over.get() {
                return Poll::Ready(Err(IoError("the WebSocket is closed")));
            }
            self.writing.set(buf.len());
            self.emit(BINARY, buf);
        }
        ready!(self.poll_flush(cx))?;
        Poll::Ready(Ok(self.writing.take()))
    }

    fn shutdown_write(&self) {
        self.close();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        // Who does not read misses the good-bye.
        let _ = self.poll_flush(&mut cx);
        self.io.shutdown_write();
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        self.shutdown_write();
    }
}

/// A frame's head: opcode, the frame (`None`: it is not masked) and the head's length; `None`: more bytes are needed.
fn head(raw: &[u8]) -> Option<(u8, Option<Frame>, usize)> {
    let (first, second) = (*raw.first()?, *raw.get(1)?);
    // Bits of extensions that nobody agreed on make it no opcode.
    let opcode = if first & 0x70 == 0 {
        first & 0x0f
    } else {
        0x0f
    };
    let (left, at) = match second & 0x7f {
        126 => (
            u64::from(u16::from_be_bytes(raw.get(2..4)?.try_into().ok()?)),
            4,
        ),
        127 => (u64::from_be_bytes(raw.get(2..10)?.try_into().ok()?), 10),
        length => (u64::from(length), 2),
    };
    if second & 0x80 == 0 {
        return Some((opcode, None, at));
    }
    let mask = raw.get(at..at + 4)?.try_into().ok()?;
    Some((
        opcode,
        Some(Frame {
            mask,
            left,
            done: 0,
        }),
        at + 4,
    ))
}

fn unmasked(mut payload: Vec<u8>, mask: [u8; 4]) -> Vec<u8> {
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    payload
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let value = group
            .iter()
            .fold(0_u32, |value, &byte| value << 8 | u32::from(byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            text.push(match place <= group.len() {
                true => char::from(DIGITS[(value >> (18 - 6 * place) & 63) as usize]),
                false => '=',
            });
        }
    }
    text
}

/// FIPS 180-4; nothing here rests on it but the handshake, which asks for it.
fn sha1(text: &[u8]) -> [u8; 20] {
    let mut state = [
        0x6745_2301_u32,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    let mut padded = text.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - text.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&(text.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        let mut words = [0_u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = bytes
                .iter()
                .fold(0, |word, &byte| word << 8 | u32::from(byte));
        }
        for at in 16..80 {
            words[at] =
                (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.iter().enumerate() {
            let (mixed, constant) = match at / 20 {
                0 => ((b & c) | (!b & d), 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = a
                .rotate_left(5)
                .wrapping_add(mixed)
                .wrapping_add(e)
                .wrapping_add(constant)
                .wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, value) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(value);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::duplex;
    use clock::Executor;

    #[test]
    fn the_handshake_of_the_specification() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        assert_eq!(accept(&headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        headers.remove("sec-websocket-key");
        assert_eq!(accept(&headers), None);
        let hex = |text: &[u8]| sha1(text).map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(hex(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let two = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hex(two), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
        assert_eq!(base64(b"foobar"), "Zm9vYmFy");
        assert_eq!(
            (base64(b"f"), base64(b"fo")),
            ("Zg==".into(), "Zm8=".into())
        );
    }

    /// What a client sends, and what the stream and the client have read of it in the end.
    fn session(sent: &[u8], answer: &'static [u8]) -> (Vec<u8>, Vec<u8>) {
        let executor = Executor::new();
        let (client, server) = duplex();
        let served = executor.spawn(async move {
            let socket = WebSocket::stream(server);
            socket.write_all(answer).await.unwrap();
            let (mut all, mut buf) = (Vec::new(), [0; 3]);
            while let Ok(count @ 1..) = socket.read(&mut buf).await {
                all.extend_from_slice(&buf[..count]);
            }
            all
        });
        let sent = sent.to_vec();
        let seen = executor.spawn(async move {
            // Byte by byte: frames come in pieces.
            for byte in sent {
                client.write_all(&[byte]).await.unwrap();
            }
            client.shutdown_write();
            let (mut all, mut buf) = (Vec::new(), [0; 1000]);
            while let Ok(count @ 1..) = client.read(&mut buf).await {
                all.extend_from_slice(&buf[..count]);
            }
            all
        });
        executor.run_until_stalled();
        (served.take().unwrap(), seen.take().unwrap())
    }

    #[test]
    fn messages_pings_and_the_end() {
        let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        let ping = b"\x89\x82\0\0\0\0hi";
        let close = b"\x88\x80\0\0\0\0";
        let sent = [&masked[..], ping, masked, close, masked].concat();
        let (read, seen) = session(&sent, b"out");
        assert_eq!(read, b"HelloHello");
        assert_eq!(seen, b"\x82\x03out\x8a\x02hi\x88\x00");
    }

    #[test]
    fn what_is_no_frame_ends_it() {
        for wrong in [
            &b"\x81\x05Hello"[..],
            b"\xc1\x81\0\0\0\0x",
            b"\x83\x81\0\0\0\0x",
            b"\x89\xfe\0\x80\0\0\0\0",
            b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
        ] {
            assert_eq!(
                session(wrong, b""),
                (vec![], b"\x88\x00".to_vec()),
                "{wrong:?}"
            );
        }
        // One that stops in the middle is at its end.
        assert_eq!(session(b"\x81\x85\0\0\0\0He", b"").0, b"He");
    }

    #[test]
    fn long_answers_have_long_heads() {
        let seen = session(b"", &[7; 70_000]).1;
        assert_eq!(seen[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
        assert_eq!(seen.len(), 10 + 70_000);
    }
}
