//! The targets and their seeds.

use std::io::Write;
use std::rc::Rc;

use clock::{Clock, Executor, Instant};
use kernel::{Kernel, KernelOs};
use layers::archive::{UnpackOptions, unpack};
use layers::estargz;
use mem::{PAGE_SIZE, Page};
use os::{CloneSpec, Os, OsExt, View};
use rv64::{AddressSpace, Counters, Hart, Prot, Sharing};
use serve::io::duplex;
use serve::{Body, IoStream, Request, Response, h1, service_fn};
use vfs::inode::FileSystem;
use vfs::tmpfs::{Tmpfs, TmpfsOptions};

/// Something that reads hostile bytes.
pub struct Target {
    /// Name on the command line.
    pub name: &'static str,
    /// Must return, whatever the bytes are.
    pub run: fn(&[u8]),
    /// Inputs to begin with: at least one.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "dockerfile",
        run: crate::dockerfile::run,
        seeds: crate::dockerfile::seeds,
    },
    Target {
        name: "frames",
        run: crate::frames::run,
        seeds: crate::frames::seeds,
    },
    Target {
        name: "instructions",
        run: instructions,
        seeds: instruction_seeds,
    },
    Target {
        name: "elf",
        run: elf,
        seeds: elf_seeds,
    },
    Target {
        name: "http",
        run: http,
        seeds: http_seeds,
    },
    Target {
        name: "websocket",
        run: websocket,
        seeds: websocket_seeds,
    },
    Target {
        name: "http2",
        run: crate::grpc::http2,
        seeds: crate::grpc::http2_seeds,
    },
    Target {
        name: "filesync",
        run: crate::grpc::filesync,
        seeds: crate::grpc::filesync_seeds,
    },
    Target {
        name: "tar",
        run: tar,
        seeds: tar_seeds,
    },
    Target {
        name: "estargz",
        run: estargz,
        seeds: estargz_seeds,
    },
    Target {
        name: "manifest",
        run: manifest,
        seeds: manifest_seeds,
    },
    Target {
        name: "reference",
        run: reference,
        seeds: reference_seeds,
    },
];

/// Decodes and executes the bytes as a program.
fn instructions(bytes: &[u8]) {
    for pair in bytes.chunks_exact(4) {
        let word = u32::from_le_bytes([pair[0], pair[1], pair[2], pair[3]]);
        let _ = rv64::disasm(word, 0x1000);
    }
    let mut space = AddressSpace::new();
    for (index, chunk) in bytes.chunks(PAGE_SIZE).enumerate() {
        let prot = Prot::READ | Prot::WRITE | Prot::EXEC;
        space.map(
            0x1000 + (index * PAGE_SIZE) as u64,
            Page::from_bytes(chunk),
            prot,
            Sharing::Private,
        );
    }
    let mut hart = Hart {
        pc: 0x1000,
        ..Hart::default()
    };
    hart.x[2] = 0x1800;
    hart.x[10] = 0x1400;
    let mut budget = 2000;
    for _ in 0..20 {
        let exit = rv64::run(&mut hart, &mut space, &mut budget, Counters::default());
        if matches!(exit, rv64::Exit::Budget) {
            return;
        }
        hart.pc = hart.pc.wrapping_add(4);
    }
}

fn instruction_seeds() -> Vec<Vec<u8>> {
    let words: [u32; 12] = [
        0x0000_0013,
        0x00a5_0533,
        0x0005_3283,
        0x00b5_3023,
        0xfe05_1ee3,
        0x0000_0073,
        0x0010_0073,
        0x1005_252f,
        0x02b5_0553,
        0x0000_100f,
        0x0030_2573,
        0x8082_4501,
    ];
    vec![
        words.iter().flat_map(|word| word.to_le_bytes()).collect(),
        vec![0; 64],
        vec![0xff; 64],
    ]
}

/// Executes the bytes as a program file of a machine, for a while.
fn elf(bytes: &[u8]) {
    let kernel = machine();
    let os: Rc<dyn Os> = KernelOs::new(Rc::clone(&kernel));
    os.write_file(View::Host, b"/program", bytes, 0o755)
        .expect("a fresh machine");
    let task = os
        .clone_task(&CloneSpec::default())
        .expect("a fresh machine");
    if os
        .exec(task, b"/program", &[b"program".to_vec()], &[])
        .is_ok()
    {
        let turn = kernel.turn(Instant(0), 20_000);
        assert!(!matches!(turn, kernel::Turn::Crashed(_)), "{turn:?}");
    }
    kernel.power_off();
}

fn elf_seeds() -> Vec<Vec<u8>> {
    // A header, one loadable segment, `li a7, 93; li a0, 0; ecall`.
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\0\x01\0\0\0".to_vec();
    for value in [0x10078_u64, 64, 0] {
        elf.extend(value.to_le_bytes());
    }
    elf.extend([5, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for value in [0_u64, 0x10000, 0x10000, 0x84, 0x84, 0x1000] {
        elf.extend(value.to_le_bytes());
    }
    for word in [0x05d0_0893_u32, 0x0000_0513, 0x0000_0073] {
        elf.extend(word.to_le_bytes());
    }
    vec![elf, b"#!/bin/sh\nexit 0\n".to_vec(), b"#!".to_vec()]
}

/// Sends the bytes to an HTTP server.
fn http(bytes: &[u8]) {
    let executor = Executor::new();
    let (client, server) = duplex();
    let echo = service_fn(|request: Request| async move {
        match request.into_body().collect(4096).await {
            Ok(bytes) => Response::new(bytes.into()),
            Err(error) => Response::new(Body::from(error.to_string())),
        }
    });
    executor.spawn(async move { h1::serve_connection(server, echo, || 0).await });
    let input = bytes.to_vec();
    executor.spawn(async move {
        let _ = client.write_all(&input).await;
        client.shutdown_write();
        let mut buf = [0; 512];
        while matches!(client.read(&mut buf).await, Ok(1..)) {}
    });
    executor.run_until_stalled();
    assert_eq!(executor.task_count(), 0, "a connection hangs");
}

fn http_seeds() -> Vec<Vec<u8>> {
    [
        "GET /v1.41/containers/json?all=1 HTTP/1.1\r\nHost: docker\r\nUser-Agent: x\r\n\r\n",
        "POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nConnection: close\r\n\r\n",
        "PUT /d HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nA: b\r\n\r\n",
        "POST /x HTTP/1.1\r\nExpect: 100-continue\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\nraw",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}

/// Sends the bytes to a WebSocket that says what it hears.
fn websocket(bytes: &[u8]) {
    let executor = Executor::new();
    let (client, server) = duplex();
    executor.spawn(async move {
        let socket = serve::websocket::WebSocket::stream(server);
        let mut buf = [0; 100];
        while let Ok(count @ 1..) = socket.read(&mut buf).await {
            if socket.write_all(&buf[..count]).await.is_err() {
                break;
            }
        }
    });
    let (input, reader) = (bytes.to_vec(), client.clone());
    executor.spawn(async move {
        let _ = client.write_all(&input).await;
        client.shutdown_write();
    });
    executor.spawn(async move {
        let mut buf = [0; 512];
        while matches!(reader.read(&mut buf).await, Ok(1..)) {}
    });
    executor.run_until_stalled();
    assert_eq!(executor.task_count(), 0, "a connection hangs");
}

fn websocket_seeds() -> Vec<Vec<u8>> {
    let hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x88\x80\0\0\0\0";
    let parts = b"\x02\x83\x01\x02\x03\x04abc\x89\x82\0\0\0\0hi\x80\x81\0\0\0\0d";
    let long = [&b"\x82\xfe\x01\x00\x05\x06\x07\x08"[..], &[7; 256]].concat();
    vec![hello.to_vec(), parts.to_vec(), long]
}

/// A machine with an empty root.
fn machine() -> Rc<Kernel> {
    let clock = Clock::new(0);
    let root: Rc<dyn FileSystem> = Tmpfs::new(&clock, TmpfsOptions::default());
    Kernel::new(clock, Executor::new(), kernel::Config::default(), &root)
}

/// Unpacks the bytes as a layer; nothing may appear outside the root.
fn tar(bytes: &[u8]) {
    let kernel = machine();
    let os: Rc<dyn Os> = KernelOs::new(Rc::clone(&kernel));
    let view = View::Host;
    os.mkdir(view, b"/layer", 0o755).expect("a fresh machine");
    let before = os.read_dir(view, b"/").expect("readable");
    let (inner, input) = (Rc::clone(&os), bytes.to_vec());
    let unpacking = kernel.executor.spawn(async move {
        let options = UnpackOptions {
            layer: true,
            ..UnpackOptions::default()
        };
        unpack(&inner, view, b"/layer", &input[..], options).await
    });
    while !unpacking.is_finished() {
        kernel.executor.run_until_stalled();
        match kernel.clock.next_deadline() {
            Some(at) => kernel.clock.advance_to(at),
            None => break,
        }
    }
    assert!(unpacking.is_finished(), "unpacking hangs");
    assert_eq!(
        os.read_dir(view, b"/").expect("readable"),
        before,
        "something was written outside the root"
    );
    kernel.power_off();
}

fn tar_entry(name: &str, kind: u8, link: &str, content: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut bytes = block.to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().div_ceil(512) * 512, 0);
    bytes
}

fn tar_seeds() -> Vec<Vec<u8>> {
    let archive = |entries: &[(&str, u8, &str, &[u8])]| {
        let mut bytes: Vec<u8> = entries
            .iter()
            .flat_map(|(name, kind, link, content)| tar_entry(name, *kind, link, content))
            .collect();
        bytes.extend([0; 1024]);
        bytes
    };
    vec![
        archive(&[
            ("dir/", b'5', "", b""),
            ("dir/file", b'0', "", b"content"),
            ("dir/.wh.gone", b'0', "", b""),
        ]),
        archive(&[("link", b'2', "/", b""), ("link/escape", b'0', "", b"x")]),
        archive(&[
            ("link", b'2', "..", b""),
            ("link/link/escape", b'0', "", b"x"),
        ]),
        archive(&[("../escape", b'0', "", b"x")]),
        archive(&[
            ("/absolute", b'0', "", b"x"),
            ("hard", b'1', "../../etc/passwd", b""),
        ]),
        archive(&[
            ("dev", b'3', "", b""),
            (".wh..wh..opq", b'0', "", b""),
            (".wh...", b'0', "", b""),
        ]),
        archive(&[
            ("././@LongLink", b'L', "", b"a/very/long/name"),
            ("x", b'0', "", b"x"),
        ]),
        archive(&[
            ("pax", b'x', "", b"19 path=../escaped\n"),
            ("x", b'0', "", b"x"),
        ]),
    ]
}

/// Reads the bytes as the end of an eStargz layer, a table and a chunk.
fn estargz(bytes: &[u8]) {
    let _ = estargz::parse_footer(bytes, bytes.len() as u64);
    if let Ok(toc) = estargz::parse_toc(bytes, None) {
        let _ = estargz::member_ends(&toc, bytes.len() as u64);
        for entry in &toc.entries {
            let _ = estargz::unpack_chunk(bytes, entry, entry.chunk_size.min(4096));
        }
    }
}

fn estargz_seeds() -> Vec<Vec<u8>> {
    let json = br#"{"version":1,"entries":[{"name":"a","type":"reg","size":3,"offset":0,"chunkDigest":"sha256:00"}]}"#;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    gzip.write_all(&tar_entry(estargz::TOC_NAME, b'0', "", json))
        .expect("to memory");
    let mut footer = vec![
        0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 26, 0, b'S', b'G', 22, 0,
    ];
    footer.extend(b"0000000000000000STARGZ\x01\0\0\xff\xff\0\0\0\0\0\0\0\0");
    vec![gzip.finish().expect("to memory"), footer]
}

/// Reads the bytes as a manifest, an index and a config.
fn manifest(bytes: &[u8]) {
    if let Ok(oci::ManifestDocument::Index(index)) = oci::ManifestDocument::parse(bytes) {
        let _ = index.select(&oci::Platform::host());
    }
    let _ = serde_json::from_slice::<oci::ImageConfig>(bytes);
    let _ = serde_json::from_slice::<oci::Catalog>(bytes);
}

fn manifest_seeds() -> Vec<Vec<u8>> {
    let digest = oci::Digest::of(b"");
    vec![
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"c","digest":"{digest}","size":2}},"layers":[{{"mediaType":"l","digest":"{digest}","size":3}}]}}"#
        )
        .into_bytes(),
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"m","digest":"{digest}","size":2,"platform":{{"architecture":"riscv64","os":"linux"}}}}]}}"#
        )
        .into_bytes(),
        br#"{"architecture":"riscv64","os":"linux","config":{"Env":["A=b"],"Cmd":null},"rootfs":{"type":"layers","diff_ids":[]},"history":[{"created_by":"x","empty_layer":true}]}"#
            .to_vec(),
    ]
}

/// Reads the bytes as an image name; what is read is written as it was meant.
fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(reference) = oci::Reference::parse(text) {
        let again = oci::Reference::parse(&reference.familiar());
        assert_eq!(
            again.as_ref().map(oci::Reference::familiar),
            Ok(reference.familiar()),
            "{text:?}"
        );
        if let Some(path) = oci::static_path(&format!("/v2/{}/manifests/latest", reference.path()))
        {
            assert!(!path.contains(".."), "{path}");
        }
    }
    let _ = oci::static_path(text);
    let _ = oci::Platform::parse(text);
}

fn reference_seeds() -> Vec<Vec<u8>> {
    [
        "busybox",
        "localhost:5000/a/b:tag",
        "a.example/x@sha256:0000",
        "user/app:1.0",
        "[::1]:80/x",
        "linux/riscv64/v1",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}
