//! HTTP/1.1 as text: bytes in, bytes out, over an in-memory connection.

use std::rc::Rc;

use clock::Executor;
use serve::io::duplex;
use serve::{Body, Io, IoStream, Request, Response, Service, h1, service_fn, upgrade};

/// Echoes the method, path and body; `/stream` answers in chunks; `/hijack` becomes an upper-casing stream.
fn service(executor: &Executor) -> Rc<dyn Service> {
    let executor = executor.clone();
    service_fn(move |mut request: Request| {
        let executor = executor.clone();
        async move {
            match request.uri().path() {
                "/stream" => {
                    let (sender, body) = Body::channel();
                    executor.spawn(async move {
                        for word in ["one", "two"] {
                            if sender.send(word).await.is_err() {
                                return;
                            }
                        }
                    });
                    Response::new(body)
                }
                "/never" => {
                    let (sender, body) = Body::channel();
                    executor.spawn(async move { sender.closed().await });
                    Response::new(body)
                }
                "/hijack" => {
                    let stream = upgrade::on_upgrade(&mut request).expect("offered").stream();
                    executor.spawn(async move {
                        let io = stream.await.expect("upgraded");
                        let mut buf = [0; 64];
                        loop {
                            let count = io.read(&mut buf).await.unwrap();
                            if count == 0 {
                                break io.shutdown_write();
                            }
                            io.write_all(&buf[..count].to_ascii_uppercase())
                                .await
                                .unwrap();
                        }
                    });
                    http::Response::builder()
                        .status(101)
                        .header("Upgrade", "tcp")
                        .body(Body::empty())
                        .unwrap()
                }
                path => {
                    let head = format!("{} {path} ", request.method());
                    let body = std::mem::replace(request.body_mut(), Body::empty());
                    match body.collect(1000).await {
                        Ok(bytes) => Response::new([head.into_bytes(), bytes].concat().into()),
                        Err(error) => http::Response::builder()
                            .status(400)
                            .body(error.to_string().into())
                            .unwrap(),
                    }
                }
            }
        }
    })
}

/// Sends `input` in pieces of `step` bytes and gives everything that came back, without Date lines.
fn talk(input: &str, step: usize) -> String {
    let executor = Executor::new();
    let (client, server) = duplex();
    let service = service(&executor);
    executor.spawn(async move { h1::serve_connection(server, service, || 0).await });
    let answer = executor.spawn(read_all(client.clone()));
    for piece in input.as_bytes().chunks(step) {
        let (io, piece) = (client.clone(), piece.to_vec());
        executor.spawn(async move { io.write_all(&piece).await });
        executor.run_until_stalled();
    }
    client.shutdown_write();
    executor.run_until_stalled();
    let text = String::from_utf8(answer.take().expect("the server closes")).unwrap();
    text.lines()
        .filter(|line| !line.starts_with("Date:"))
        .map(|line| line.trim_end().to_string() + "\n")
        .collect()
}

async fn read_all(io: Io) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buf = [0; 512];
    loop {
        match io.read(&mut buf).await {
            Ok(0) | Err(_) => return all,
            Ok(count) => all.extend_from_slice(&buf[..count]),
        }
    }
}

#[test]
fn requests_and_responses() {
    let cases = [
        (
            "GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
            "HTTP/1.1 200 OK\nContent-Length: 7\n\nGET /a\n",
        ),
        (
            "POST /b HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET /c HTTP/1.1\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\nContent-Length: 13\n\nPOST /b helloHTTP/1.1 200 OK\nContent-Length: 7\nConnection: close\n\nGET /c\n",
        ),
        (
            "PUT /d HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\nContent-Length: 12\n\nPUT /d abcde\n",
        ),
        (
            "HEAD /e HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\nContent-Length: 8\n\n",
        ),
        (
            "GET /stream HTTP/1.1\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nConnection: close\n\n3\none\n3\ntwo\n0\n\n",
        ),
        (
            "POST /hijack HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nshout",
            "HTTP/1.1 101 UPGRADED\nUpgrade: tcp\n\nSHOUT\n",
        ),
        (
            "POST /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 400 Bad Request\nContent-Type: text/plain; charset=utf-8\nConnection: close\nContent-Length: 65\n\n400 Bad Request: both Content-Length and Transfer-Encoding\n",
        ),
        (
            "nonsense\r\n\r\n",
            "HTTP/1.1 400 Bad Request\nContent-Type: text/plain; charset=utf-8\nConnection: close\nContent-Length: 39\n\n400 Bad Request: malformed HTTP request\n",
        ),
    ];
    for (input, expected) in cases {
        for step in [1, 7, 10_000] {
            let got = talk(input, step);
            let strip = |text: &str| {
                let lines = text
                    .lines()
                    .filter(|line| !(line.starts_with("Content-Length") && text.contains(" 400 ")));
                lines
                    .map(|line| line.trim_end())
                    .collect::<Vec<_>>()
                    .join("\n")
            };
            assert_eq!(
                strip(&got),
                strip(expected),
                "{input:?} in pieces of {step}"
            );
        }
    }
}

#[test]
fn a_client_that_leaves_ends_a_follow() {
    let executor = Executor::new();
    let (client, server) = duplex();
    let service = service(&executor);
    executor.spawn(async move { h1::serve_connection(server, service, || 0).await });
    let sent = client.clone();
    executor.spawn(async move { sent.write_all(b"GET /never HTTP/1.1\r\n\r\n").await });
    executor.run_until_stalled();
    assert_eq!(
        executor.task_count(),
        2,
        "the connection and the endless answer"
    );
    drop(client);
    executor.run_until_stalled();
    assert_eq!(executor.task_count(), 0);
}

#[test]
fn client_and_server_understand_each_other() {
    let executor = Executor::new();
    for (path, body, expected) in [
        ("/a", "", "GET /a "),
        ("/stream", "", "onetwo"),
        ("/b", "data", "GET /b data"),
    ] {
        let (client, server) = duplex();
        let service = service(&executor);
        executor.spawn(async move { h1::serve_connection(server, service, || 0).await });
        let inner = executor.clone();
        let got = executor.spawn(async move {
            let request = http::Request::get(path).body(Body::from(body)).unwrap();
            let (response, _) = h1::send(client, request, &inner).await.unwrap();
            response.into_body().collect(100).await.unwrap()
        });
        executor.run_until_stalled();
        assert_eq!(
            String::from_utf8(got.take().expect("complete")).unwrap(),
            expected
        );
    }
}
