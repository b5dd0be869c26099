//! Hostile peers of BuildKit's connections: one that speaks HTTP/2 as it likes, and a client that sends files.

use std::rc::Rc;

use buildkit::receive::{Target, Wanted, receive};
use buildkit::stat::{Packet, Stat};
use buildkit::{Call, Session};
use clock::{Clock, Executor};
use kernel::{Kernel, KernelOs};
use os::{Os, OsExt, View};
use serve::IoStream;
use serve::h2::{Connection, Limits};
use serve::io::duplex;
use vfs::inode::FileSystem;
use vfs::tmpfs::{Tmpfs, TmpfsOptions};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Sends the bytes to a server that echoes gRPC messages; nothing is left of the connection.
pub fn http2(bytes: &[u8]) {
    let executor = Executor::new();
    let (client, server) = duplex();
    let (connection, run) = Connection::server(server, Limits::default());
    executor.spawn(run);
    let spawner = executor.clone();
    executor.spawn(async move {
        while let Some(stream) = connection.accept().await {
            spawner.spawn(async move {
                let Ok(mut call) = Call::accept(stream).await else {
                    return;
                };
                let outcome = loop {
                    match call.receive().await {
                        Ok(Some(message)) => match call.send(&message).await {
                            Ok(()) => {}
                            Err(status) => break Err(status),
                        },
                        Ok(None) => break Ok(()),
                        Err(status) => break Err(status),
                    }
                };
                call.finish(&outcome);
            });
        }
    });
    let input = [PREFACE, bytes].concat();
    executor.spawn(async move {
        let _ = client.write_all(&input).await;
        client.shutdown_write();
        let mut buf = [0; 512];
        while matches!(client.read(&mut buf).await, Ok(1..)) {}
    });
    executor.run_until_stalled();
    assert_eq!(executor.task_count(), 0, "a connection hangs");
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags, 0, 0, 0, stream]);
    out.extend_from_slice(payload);
    out
}

/// Conversations to begin with.
pub fn http2_seeds() -> Vec<Vec<u8>> {
    let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0x10, 0, 0, 5, 0, 0, 0x40, 0]);
    let head = [0x83, 0x86, 0x44, 2, b'/', b'x', 0x40, 1, b'a', 1, b'b'];
    let coded = [
        0x83, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4,
        0xff,
    ];
    let message = [&[0, 0, 0, 0, 3][..], b"abc"].concat();
    let reset = frame(3, 0, 1, &[0, 0, 0, 8]);
    vec![
        [
            &settings[..],
            &frame(1, 4, 1, &head),
            &frame(0, 1, 1, &message),
        ]
        .concat(),
        [
            &settings[..],
            &frame(1, 4, 1, &coded),
            &frame(0, 9, 1, &[2, 0, 0, 0, 0, 0, 0, 0]),
        ]
        .concat(),
        [
            &settings[..],
            &frame(1, 0, 1, &head[..4]),
            &frame(9, 4, 1, &head[4..]),
            &reset,
        ]
        .concat(),
        [
            &settings[..],
            &frame(6, 0, 0, b"12345678"),
            &frame(8, 0, 0, &[0, 0, 0x10, 0]),
            &settings,
        ]
        .concat(),
        [
            &settings[..],
            &frame(1, 0x2c, 3, &[1, 0, 0, 0, 0, 9, 0x83, 0]),
            &frame(7, 0, 0, &[0; 8]),
        ]
        .concat(),
    ]
}

/// Receives a directory from a client that sends these packets: a length of two octets before each. Nothing
/// appears outside the directory, and nothing outside gets another name inside.
pub fn filesync(bytes: &[u8]) {
    let clock = Clock::new(0);
    let root: Rc<dyn FileSystem> = Tmpfs::new(&clock, TmpfsOptions::default());
    let kernel = Kernel::new(clock, Executor::new(), kernel::Config::default(), &root);
    let os: Rc<dyn Os> = KernelOs::new(Rc::clone(&kernel));
    let view = View::Host;
    os.mkdir(view, b"/in", 0o755).expect("a fresh machine");
    os.mkdir(view, b"/out", 0o755).expect("a fresh machine");
    os.write_file(view, b"/out/secret", b"secret", 0o600)
        .expect("a fresh machine");
    let before = os.read_dir(view, b"/").expect("readable");
    let (io, peer) = duplex();
    let (server, run) = Connection::server(peer, Limits::default());
    kernel.executor.spawn(run);
    let input = bytes.to_vec();
    kernel.executor.spawn(async move {
        let Some(stream) = server.accept().await else {
            return;
        };
        let Ok(mut call) = Call::accept(stream).await else {
            return;
        };
        let mut rest = &input[..];
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
            if call.send(&after[..length]).await.is_err() {
                return;
            }
            rest = &after[length..];
        }
        call.finish(&Ok(()));
    });
    let (connection, run) = Connection::client(io, Limits::default());
    kernel.executor.spawn(run);
    let target = Target {
        os: Rc::clone(&os),
        dir: b"/in".to_vec(),
    };
    kernel.executor.spawn(async move {
        let methods = ["/moby.filesync.v1.FileSync/DiffCopy"];
        let session = Session::new(
            "s".to_string(),
            String::new(),
            methods.into_iter(),
            connection,
        );
        let _ = receive(&session, &Wanted::default(), &target, |_| ()).await;
        session.close();
    });
    kernel.executor.run_until_stalled();
    assert_eq!(
        os.read_dir(view, b"/").expect("readable"),
        before,
        "something was written outside"
    );
    let names = os.read_dir(view, b"/out").expect("readable");
    assert_eq!(names.len(), 1, "something was written outside");
    let secret = os
        .metadata(view, b"/out/secret", false)
        .expect("still there");
    assert_eq!(
        (secret.nlink, secret.size),
        (1, 6),
        "a file outside was linked or changed"
    );
    kernel.power_off();
}

/// Transfers to begin with.
pub fn filesync_seeds() -> Vec<Vec<u8>> {
    let file = |path: &str, mode: u32, link: &str| {
        Packet::Stat(Some(Stat {
            path: path.as_bytes().to_vec(),
            mode,
            link: link.as_bytes().to_vec(),
            ..Stat::default()
        }))
    };
    let transfer = |packets: &[Packet]| {
        let mut all = Vec::new();
        for packet in packets {
            let bytes = packet.emit();
            all.extend((bytes.len() as u16).to_be_bytes());
            all.extend(bytes);
        }
        all
    };
    let data = |number: u32, text: &str| Packet::Data(number, text.as_bytes().to_vec());
    vec![
        transfer(&[
            file("dir", 0o040_755, ""),
            file("dir/file", 0o100_644, ""),
            file("dir/other", 0o100_644, "dir/file"),
            Packet::Stat(None),
            data(1, "content"),
            data(1, ""),
            Packet::Finish,
        ]),
        transfer(&[
            file("l", 0o120_777, "/out"),
            file("l/x", 0o100_644, ""),
            data(1, "x"),
            data(1, ""),
        ]),
        transfer(&[
            file("l", 0o120_777, "../out/secret"),
            file("l", 0o100_644, ""),
            data(1, "x"),
            data(1, ""),
        ]),
        transfer(&[
            file("l", 0o120_777, "/out"),
            file("h", 0o100_644, "l/secret"),
            Packet::Stat(None),
        ]),
        transfer(&[
            file("h", 0o100_644, "../out/secret"),
            data(0, "x"),
            data(0, ""),
        ]),
        transfer(&[
            file("../out/x", 0o040_755, ""),
            file("/out/x", 0o100_644, ""),
        ]),
        transfer(&[
            file("f", 0o010_644, ""),
            file("s", 0o140_755, ""),
            file("d", 0o020_666, ""),
            Packet::Request(0),
        ]),
        transfer(&[Packet::Error("no".to_string()), Packet::Finish]),
    ]
}
