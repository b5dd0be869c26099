//! HTTP/2 with both roles talking to each other, and frames as text: what a peer sends, what it gets.

use std::fmt::Write as _;

use clock::Executor;
use serve::h2::{Connection, Limits, StreamError};
use serve::io::duplex;
use serve::{Io, IoStream};

fn fields(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(n, v)| (n.to_string(), v.to_string()))
        .collect()
}

/// Echoes data and ends with trailers; `/never` waits for its client to give up.
fn echo_server(executor: &Executor, io: Io, limits: Limits) -> Connection {
    let (connection, run) = Connection::server(io, limits);
    executor.spawn(run);
    let own = connection.clone();
    let spawner = executor.clone();
    executor.spawn(async move {
        while let Some(stream) = own.accept().await {
            spawner.spawn(async move {
                let asked = stream.fields().await?;
                if asked.iter().any(|(_, value)| value == "/never") {
                    return Err(stream.given_up().await);
                }
                stream.send_fields(&fields(&[(":status", "200")]), false)?;
                while let Some(bytes) = stream.data().await? {
                    stream.send_data(&bytes.to_ascii_uppercase(), false).await?;
                }
                stream.send_fields(&fields(&[("grpc-status", "0")]), true)
            });
        }
    });
    connection
}

#[test]
fn both_roles_carry_streams_larger_than_their_windows() {
    let executor = Executor::new();
    let (client_io, server_io) = duplex();
    echo_server(&executor, server_io, Limits::default());
    let (client, run) = Connection::client(client_io, Limits::default());
    executor.spawn(run);
    let mut done = Vec::new();
    for number in 0..3 {
        let stream = client
            .open(&fields(&[(":method", "POST"), (":path", "/echo")]), false)
            .unwrap();
        let stream = std::rc::Rc::new(stream);
        let writer = std::rc::Rc::clone(&stream);
        executor.spawn(async move {
            let text = vec![b'a' + number; 3 << 20];
            writer.send_data(&text, true).await.unwrap();
        });
        done.push(executor.spawn(async move {
            let status = stream.fields().await.unwrap();
            let mut all = Vec::new();
            while let Some(bytes) = stream.data().await.unwrap() {
                all.extend(bytes);
            }
            assert!(all.iter().all(|byte| *byte == b'A' + number));
            (status, all.len(), stream.trailers())
        }));
    }
    executor.run_until_stalled();
    for one in done {
        let expected = (
            fields(&[(":status", "200")]),
            3 << 20,
            Some(fields(&[("grpc-status", "0")])),
        );
        assert_eq!(one.take().unwrap(), expected);
    }
    let asked = client.open(&fields(&[(":path", "/never")]), true).unwrap();
    executor.run_until_stalled();
    drop(asked);
    client.close();
    executor.run_until_stalled();
    assert_eq!(
        executor.task_count(),
        0,
        "nothing is left of a closed connection"
    );
    assert!(matches!(client.open(&[], true), Err(StreamError::Gone)));
}

/// One frame on the wire.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// `POST /`, complete.
const REQUEST: &[u8] = &[0x83, 0x84];
/// `POST /never`.
const NEVER: &[u8] = &[0x83, 0x04, 6, b'/', b'n', b'e', b'v', b'e', b'r'];
const SETTINGS: (u8, u8, u32, &[u8]) = (4, 0, 0, &[]);

/// Kind, flags, stream and payload.
type Sent<'a> = (u8, u8, u32, &'a [u8]);

/// What a server answers to `bytes`, in lines; its own first frames are left out.
fn answers(bytes: &[u8], limits: Limits) -> String {
    let executor = Executor::new();
    let (io, server_io) = duplex();
    let server = echo_server(&executor, server_io, limits);
    let bytes = bytes.to_vec();
    let writer = io.clone();
    executor.spawn(async move { writer.write_all(&bytes).await });
    let read = executor.spawn(async move {
        let mut all = Vec::new();
        let mut buf = [0; 4096];
        while let Ok(count @ 1..) = io.read(&mut buf).await {
            all.extend_from_slice(&buf[..count]);
        }
        all
    });
    executor.run_until_stalled();
    let open = !server.is_over();
    server.close();
    executor.run_until_stalled();
    let all = read.take().unwrap_or_default();
    let mut text = String::new();
    let mut rest = &all[..];
    let mut count = 0;
    while let Some(head) = rest.get(..9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = &rest[9..9 + length];
        rest = &rest[9 + length..];
        count += 1;
        if count > 2 && !(open && rest.is_empty()) {
            let _ = write!(text, "{} {:x} {}", head[3], head[4], head[8]);
            for byte in payload {
                let _ = write!(text, " {byte:02x}");
            }
            text.push('\n');
        }
    }
    let _ = write!(text, "{}", if open { "open" } else { "closed" });
    text
}

fn conversation(frames: &[Sent<'_>], limits: Limits) -> String {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    for (kind, flags, stream, payload) in frames {
        bytes.extend(frame(*kind, *flags, *stream, payload));
    }
    answers(&bytes, limits)
}

#[test]
fn frames_get_the_answers_of_rfc_9113() {
    let few = Limits {
        streams: 2,
        resets: 3,
    };
    let pad = [&[2_u8][..], b"hi", &[0, 0]].concat();
    let cases: &[(&str, &[Sent<'_>], &str)] = &[
        (
            "ping",
            &[SETTINGS, (6, 0, 0, b"12345678")],
            "4 1 0\n6 1 0 31 32 33 34 35 36 37 38\nopen",
        ),
        (
            "an exchange, padded data",
            &[SETTINGS, (1, 4, 1, REQUEST), (0, 9, 1, &pad)],
            "4 1 0\n1 4 1 08 03 32 30 30\n0 0 1 48 49\n1 5 1 00 0b 67 72 70 63 2d 73 74 61 74 75 73 01 30\nopen",
        ),
        (
            "a block in two pieces",
            &[SETTINGS, (1, 1, 1, &REQUEST[..1]), (9, 4, 1, &REQUEST[1..])],
            "4 1 0\n1 4 1 08 03 32 30 30\n1 5 1 00 0b 67 72 70 63 2d 73 74 61 74 75 73 01 30\nopen",
        ),
        (
            "unknown frame and setting",
            &[(4, 0, 0, &[0, 99, 0, 0, 0, 1]), (77, 0, 9, b"?")],
            "4 1 0\nopen",
        ),
        (
            "settings have to be first",
            &[(6, 0, 0, b"12345678")],
            "7 0 0 00 00 00 00 00 00 00 01\nclosed",
        ),
        (
            "data on an idle stream",
            &[SETTINGS, (0, 0, 1, b"x")],
            "4 1 0\n7 0 0 00 00 00 00 00 00 00 01\nclosed",
        ),
        (
            "headers on stream 0",
            &[SETTINGS, (1, 4, 0, REQUEST)],
            "4 1 0\n7 0 0 00 00 00 00 00 00 00 01\nclosed",
        ),
        (
            "an even stream",
            &[SETTINGS, (1, 4, 2, REQUEST)],
            "4 1 0\n7 0 0 00 00 00 00 00 00 00 01\nclosed",
        ),
        (
            "push",
            &[SETTINGS, (5, 4, 1, REQUEST)],
            "4 1 0\n7 0 0 00 00 00 00 00 00 00 01\nclosed",
        ),
        (
            "a frame inside a block",
            &[SETTINGS, (1, 0, 1, REQUEST), (6, 0, 0, b"12345678")],
            "4 1 0\n7 0 0 00 00 00 00 00 00 00 01\nclosed",
        ),
        (
            "more padding than payload",
            &[SETTINGS, (1, 12, 1, &[9, 1])],
            "4 1 0\n7 0 0 00 00 00 00 00 00 00 01\nclosed",
        ),
        (
            "a window of nothing more",
            &[SETTINGS, (8, 0, 0, &[0; 4])],
            "4 1 0\n7 0 0 00 00 00 00 00 00 00 01\nclosed",
        ),
        (
            "a window too large",
            &[SETTINGS, (8, 0, 0, &[0x7f, 0xff, 0xff, 0xff])],
            "4 1 0\n7 0 0 00 00 00 00 00 00 00 03\nclosed",
        ),
        (
            "a stream's window too large",
            &[
                SETTINGS,
                (1, 4, 1, NEVER),
                (8, 0, 1, &[0x7f, 0xff, 0xff, 0xff]),
            ],
            "4 1 0\n3 0 1 00 00 00 03\nopen",
        ),
        (
            "a bad header block",
            &[SETTINGS, (1, 4, 1, &[0x80])],
            "4 1 0\n7 0 0 00 00 00 00 00 00 00 09\nclosed",
        ),
        (
            "a reset of a wrong size",
            &[SETTINGS, (1, 4, 1, NEVER), (3, 0, 1, &[0; 5])],
            "4 1 0\n7 0 0 00 00 00 01 00 00 00 06\nclosed",
        ),
        (
            "one stream too many",
            &[
                SETTINGS,
                (1, 4, 1, NEVER),
                (1, 4, 3, NEVER),
                (1, 4, 5, NEVER),
            ],
            "4 1 0\n3 0 5 00 00 00 07\nopen",
        ),
        (
            "rapid reset",
            &[
                SETTINGS,
                (1, 4, 1, NEVER),
                (3, 0, 1, &[0, 0, 0, 8]),
                (1, 4, 3, NEVER),
                (3, 0, 3, &[0, 0, 0, 8]),
                (3, 0, 3, &[0, 0, 0, 8]),
                (3, 0, 3, &[0, 0, 0, 8]),
            ],
            "4 1 0\n7 0 0 00 00 00 03 00 00 00 0b\nclosed",
        ),
    ];
    for (what, frames, expected) in cases {
        assert_eq!(conversation(frames, few), *expected, "{what}");
    }
    assert_eq!(
        answers(b"GET / HTTP/1.1\r\n\r\n", few),
        "7 0 0 00 00 00 00 00 00 00 01\nclosed"
    );
    let huge = [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &[0xff, 0xff, 0xff, 4, 0, 0, 0, 0, 0],
    ]
    .concat();
    assert_eq!(answers(&huge, few), "7 0 0 00 00 00 00 00 00 00 06\nclosed");
}

/// A peer that sends more than it was allowed, or header blocks without an end.
#[test]
fn floods_end_the_connection() {
    let piece = [b'x'; 16_000];
    let mut frames = vec![SETTINGS, (1, 4, 1, NEVER)];
    frames.extend((0..17).map(|_| (0, 0, 1, &piece[..])));
    let text = conversation(&frames, Limits::default());
    assert_eq!(text, "4 1 0\n7 0 0 00 00 00 01 00 00 00 03\nclosed");
    let mut frames = vec![SETTINGS, (1, 0, 1, &piece[..])];
    frames.extend((0..9).map(|_| (9, 0, 1, &piece[..])));
    let text = conversation(&frames, Limits::default());
    assert_eq!(text, "4 1 0\n7 0 0 00 00 00 00 00 00 00 0b\nclosed");
}

/// A peer that asks and does not listen is not listened to: what waits for it stays small.
#[test]
fn a_deaf_peer_is_not_read_from() {
    let executor = Executor::new();
    let (io, server_io) = duplex();
    echo_server(&executor, server_io, Limits::default());
    let sent = std::rc::Rc::new(std::cell::Cell::new(0));
    let count = std::rc::Rc::clone(&sent);
    let writer = io.clone();
    executor.spawn(async move {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, 0, 0, &[]));
        let ping = frame(6, 0, 0, b"12345678");
        loop {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
            count.set(count.get() + bytes.len());
            bytes.clone_from(&ping);
        }
    });
    executor.run_until_stalled();
    assert!(sent.get() < 512 * 1024, "{}", sent.get());
    io.shutdown_write();
    drop(io);
    executor.clear();
}
