//! `drydockd serve` and clients that behave badly: they get Docker's errors, and the others go on.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;

use rustix::process::{Resource, getrlimit, setrlimit};

mod native;

use native::Server;

const JSON: &str = "Content-Type: application/json\r\n";

/// Sends bytes and reads until the server closes.
fn exchange(mut stream: impl Read + Write, bytes: &[u8]) -> String {
    // A server that closes early is an answer too.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn connect(server: &Server) -> UnixStream {
    UnixStream::connect(server.socket()).expect("it listens")
}

fn request(line: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// One request on a connection of its own: the status and the body.
fn ask(server: &Server, line: &str, body: &str) -> (u16, String) {
    let answer = exchange(connect(server), request(line, JSON, body).as_bytes());
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (
        status.unwrap_or_else(|| panic!("{line}: {answer:?}")),
        body.to_string(),
    )
}

fn is_well(server: &Server) {
    assert_eq!(ask(server, "GET /_ping", ""), (200, "OK".to_string()));
    assert_eq!(ask(server, "GET /containers/nosuch/json", "").0, 404);
}

/// Bytes of memory that a process has.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("it has memory");
    let kib = line.trim().trim_end_matches(" kB").parse::<u64>();
    kib.expect("a number") * 1024
}

/// Pulls busybox and starts a container of it.
fn run_busybox(server: &Server, name: &str, command: &str) {
    ask(
        server,
        "POST /images/create?fromImage=busybox&tag=latest",
        "",
    );
    let body = format!(r#"{{"Image":"busybox","Cmd":["sh","-c","{command}"]}}"#);
    let created = ask(
        server,
        &format!("POST /containers/create?name={name}"),
        &body,
    );
    assert_eq!(created.0, 201, "{}", created.1);
    let started = ask(server, &format!("POST /containers/{name}/start"), "");
    assert_eq!(started.0, 204, "{}", started.1);
}

#[test]
fn what_is_no_request_is_refused_and_the_server_goes_on() {
    let server = Server::start(&[]);
    let huge = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(10_000));
    for (what, bytes) in [
        ("noise", &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n"[..]),
        ("words", b"hello there\r\n\r\n"),
        ("version", b"GET / HTTP/9.9\r\n\r\n"),
        ("nul", b"GET /\0 HTTP/1.1\r\n\r\n"),
        ("long", huge.as_bytes()),
        ("headers", many.as_bytes()),
        ("lengths", b"POST /build HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
        ("length", b"POST /build HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
        (
            "smuggled",
            b"POST /auth HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
    ] {
        let answer = exchange(connect(&server), bytes);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{what}: {answer:?}");
        is_well(&server);
    }
    let broken = "POST /containers/create HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n";
    exchange(connect(&server), broken.as_bytes());
    is_well(&server);
}

#[test]
fn clients_that_go_away_or_are_slow_concern_nobody_else() {
    let server = Server::start(&[]);
    for part in [
        "",
        "GET /_pi",
        "GET /_ping HTTP/1.1\r\n",
        "POST /containers/create HTTP/1.1\r\nContent-Length: 100\r\n\r\n{",
        "POST /images/load HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nabc",
        "GET /events HTTP/1.1\r\n\r\n",
        "POST /containers/x/attach HTTP/1.1\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n",
    ] {
        for _ in 0..10 {
            connect(&server)
                .write_all(part.as_bytes())
                .expect("it reads");
        }
        is_well(&server);
    }
    // A byte at a time, with other clients in between.
    let mut slow = connect(&server);
    for byte in request("GET /version", "", "").bytes() {
        slow.write_all(&[byte]).expect("it reads");
        if byte == b' ' {
            is_well(&server);
        }
    }
    assert!(exchange(slow, b"").starts_with("HTTP/1.1 200 OK"));
}

#[test]
fn a_thousand_idle_connections_take_little_and_hinder_nobody() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("as many as there may be");
    let server = Server::start(&[]);
    is_well(&server);
    let before = memory(server.pid());
    let mut idle: Vec<UnixStream> = (0..1000).map(|_| connect(&server)).collect();
    for (number, stream) in idle.iter_mut().enumerate() {
        // Some say nothing, some stop in the middle of a word, some have had an answer.
        match number % 3 {
            0 => {}
            1 => stream.write_all(b"GET /_pi").expect("it reads"),
            _ => stream
                .write_all(b"GET /_ping HTTP/1.1\r\n\r\n")
                .expect("it reads"),
        }
    }
    is_well(&server);
    let grown = memory(server.pid()).saturating_sub(before);
    assert!(
        grown < 24 << 20,
        "a thousand connections take {grown} bytes"
    );
    let last = idle.pop().expect("a thousand");
    assert!(exchange(last, b"GET /_ping HTTP/1.1\r\nConnection: close\r\n\r\n").contains("OK"));
    drop(idle);
    is_well(&server);
}

#[test]
fn a_client_that_stops_reading_holds_up_its_container_only() {
    let server = Server::start(&[]);
    run_busybox(&server, "loud", "yes abcdefgh");
    let mut attach = connect(&server);
    let line = "POST /containers/loud/attach?stream=1&stdout=1 HTTP/1.1\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n";
    attach.write_all(line.as_bytes()).expect("it reads");
    let mut start = [0; 1000];
    attach.read_exact(&mut start).expect("there is output");
    // Nobody reads from here on; the log is bounded for this measurement by what waits for the client.
    for _ in 0..20 {
        is_well(&server);
    }
    let before = memory(server.pid());
    for _ in 0..20 {
        is_well(&server);
    }
    let grown = memory(server.pid()).saturating_sub(before);
    assert!(grown < 64 << 20, "what nobody reads takes {grown} bytes");
    drop(attach);
    assert_eq!(ask(&server, "POST /containers/loud/kill", "").0, 204);
}

#[test]
fn a_websocket_is_attached_to_a_container() {
    let server = Server::start(&[]);
    ask(
        &server,
        "POST /images/create?fromImage=busybox&tag=latest",
        "",
    );
    let body = r#"{"Image":"busybox","Cmd":["cat"],"OpenStdin":true,"StdinOnce":true}"#;
    assert_eq!(
        ask(&server, "POST /containers/create?name=cat", body).0,
        201
    );
    let path = "/containers/cat/attach/ws?stream=1&stdin=1&stdout=1";
    assert_eq!(ask(&server, &format!("GET {path}"), "").0, 400);
    let mut socket = connect(&server);
    let handshake = format!(
        "GET {path} HTTP/1.1\r\nHost: docker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(handshake.as_bytes()).expect("it reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    assert_eq!(ask(&server, "POST /containers/cat/start", "").0, 204);
    socket.write_all(b"\x82\x83\0\0\0\0hi\n").expect("it reads");
    let mut frame = [0; 5];
    socket.read_exact(&mut frame).expect("an answer");
    assert_eq!(&frame, b"\x82\x03hi\n");
    assert_eq!(ask(&server, "POST /containers/cat/kill", "").0, 204);
    let rest = exchange(socket, b"");
    assert_eq!(
        rest.as_bytes(),
        String::from_utf8_lossy(b"\x88\0").as_bytes()
    );
}

#[test]
fn web_pages_may_not_ask() {
    let server = Server::start(&[]);
    let tcp = || TcpStream::connect(&server.tcp).expect("it listens");
    for (headers, status) in [
        ("Host: 127.0.0.1\r\n", 200),
        ("Host: localhost:2375\r\n", 200),
        ("Host: example.com\r\n", 403),
        ("Host: 127.0.0.1\r\nOrigin: null\r\n", 403),
        ("Host: 127.0.0.1\r\nOrigin: https://example.com\r\n", 403),
        ("Host: 127.0.0.1\r\nOrigin: http://127.0.0.1:2375\r\n", 200),
    ] {
        let text = format!("GET /_ping HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        let answer = exchange(tcp(), text.as_bytes());
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{headers}: {answer}"
        );
    }
}

#[test]
fn it_listens_nowhere_else_and_leaves_nothing_behind() {
    let refused = Command::new(env!("CARGO_BIN_EXE_drydockd"))
        .args(["serve", "--tcp", "0.0.0.0:0"])
        .output()
        .expect("it runs");
    assert_eq!(refused.status.code(), Some(125));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("only loopback addresses"), "{said}");

    let mut server = Server::start(&[]);
    let socket = server.socket();
    let again = Command::new(env!("CARGO_BIN_EXE_drydockd"))
        .args(["serve", "--unix"])
        .arg(&socket)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("is in use"), "{said}");
    is_well(&server);
    // A client is in the middle of something.
    let mut events = connect(&server);
    events
        .write_all(b"GET /events HTTP/1.1\r\n\r\n")
        .expect("it reads");
    let (status, _) = server.stop();
    assert!(status.success() && !socket.exists(), "{status}");
}

#[test]
fn published_ports_are_open_on_this_computer() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("bound").port();
    drop(free);
    let server = Server::start_with(&[], &["--publish"]);
    ask(
        &server,
        "POST /images/create?fromImage=nginx&tag=latest",
        "",
    );
    let body = format!(
        r#"{{"Image":"nginx","HostConfig":{{"PortBindings":{{"80/tcp":[{{"HostPort":"{port}"}}]}}}}}}"#
    );
    assert_eq!(
        ask(&server, "POST /containers/create?name=web", &body).0,
        201
    );
    assert_eq!(ask(&server, "POST /containers/web/start", "").0, 204);
    let page = loop {
        // It is open when the machine's port has been seen.
        let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else {
            std::thread::yield_now();
            continue;
        };
        let answer = exchange(stream, b"GET / HTTP/1.0\r\n\r\n");
        if !answer.is_empty() {
            break answer;
        }
    };
    assert!(page.contains("Welcome to nginx"), "{page}");
}
