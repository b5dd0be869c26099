//! The way out for who switches it on: programs' plain HTTP requests, carried out by the playground's owner.
//!
//! Switched on, names of the Internet lead to [`ADDRESS`] on the LAN. What is asked there at port 80 becomes a
//! request of the browser (`fetch`), which asks the server by HTTPS first, and lets us read the answer only if
//! the server allows it to pages of other origins (CORS). What cannot be had is a 502 whose text says why.
//!
//! *Not here:* HTTPS of programs. It is encrypted from end to end, so there is nothing to make a request of; a
//! client's greeting is answered with TLS's own alert. Nor any other protocol or port.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::rc::Rc;

use clock::Executor;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use net::Endpoint;
use serve::{Io, IoStream, LocalBoxFuture, Request, Response, Service};

use crate::calls::Calls;
use crate::gateway::Gateway;
use crate::registry::plain;
use crate::web::host;

/// Where names of the Internet lead.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);

/// Bytes of a request's body; larger uploads are refused.
const BODY_BYTES_MAX: usize = 8 << 20;

/// `access_denied`, fatal (RFC 8446 §6), as a record of its own.
const TLS_ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// A request to carry out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InternetRequest {
    /// Names the answer.
    pub id: u32,
    /// The method.
    pub method: String,
    /// Host, path and query; the scheme is the browser's business.
    pub address: String,
    /// Those that a page may set.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What a server answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InternetResponse {
    /// The status.
    pub status: u16,
    /// Those that the server lets pages see.
    pub headers: Vec<(String, String)>,
    /// The body, decompressed.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The server is there, and does not let pages of other origins read it.
    Cors,
    /// The server does not answer, as the browser says it.
    Unreachable(String),
}

/// What a learner should know about the Internet, each once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hint {
    /// A name of the Internet was asked for, and there is none here.
    NoInternet {
        /// The name.
        name: String,
    },
    /// A program tried HTTPS at the gateway, which it cannot pass on.
    NoTls,
    /// pip or npm asked for a package that the playground has not.
    NoPackage {
        /// The package.
        name: String,
        /// The address of the list of those there are.
        list: String,
    },
}

type Answer = Result<InternetResponse, Refusal>;

/// See the module's comment. Clones share it.
#[derive(Clone, Default)]
pub struct Internet {
    on: Rc<Cell<bool>>,
    calls: Calls<InternetRequest, Answer>,
}

impl Internet {
    /// Begins to serve.
    pub(crate) fn start(&self, gateway: &Rc<Gateway>, executor: &Executor) {
        let at = |port| Endpoint::new(ADDRESS, port);
        let service = Rc::new(self.clone());
        executor.spawn(Rc::clone(gateway).serve_http(at(80), service, executor.clone()));
        let hinted = Rc::clone(gateway);
        let refuse = move |io| {
            hinted.hint_no_tls();
            refuse_tls(io)
        };
        executor.spawn(Rc::clone(gateway).serve(at(443), executor.clone(), refuse));
    }

    /// Whether requests are passed on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.get()
    }

    /// Switches it on or off. What is on its way comes to its end.
    pub fn switch(&self, on: bool) {
        self.on.set(on);
    }

    /// Takes the requests that nobody has begun.
    #[must_use]
    pub fn take_requests(&self) -> Vec<InternetRequest> {
        self.calls.take()
    }

    /// What became of a request.
    pub fn answer(&self, id: u32, answer: Result<InternetResponse, Refusal>) {
        self.calls.answer(id, answer);
    }

    /// Who carried requests out is gone with the page it was.
    pub(crate) fn cancel_all(&self) {
        let gone = || {
            Err(Refusal::Unreachable(
                "the page was closed meanwhile".to_string(),
            ))
        };
        self.calls.answer_all(gone);
    }

    async fn forward(&self, request: Request) -> Response {
        let name = host(&request);
        if !self.is_on() {
            return gateway_error(&format!(
                "The gateway to the Internet is switched off (Settings), so {name} cannot be asked."
            ));
        }
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query();
        let target = target.map_or("/", |target| target.as_str());
        let address = format!("{name}{target}");
        let Ok(body) = body.collect(BODY_BYTES_MAX).await else {
            let text = format!("The gateway takes at most {BODY_BYTES_MAX} bytes in a request.\n");
            return plain(StatusCode::PAYLOAD_TOO_LARGE, text);
        };
        let make = |id| InternetRequest {
            id,
            method: head.method.to_string(),
            address: address.clone(),
            headers: of_pages(&head.headers),
            body,
        };
        match self.calls.ask(make).await {
            Ok(answer) => to_response(answer),
            Err(refusal) => gateway_error(&explain(&refusal, &name, &address)),
        }
    }
}

impl Service for Internet {
    fn call(&self, request: Request) -> LocalBoxFuture<Response> {
        let internet = self.clone();
        Box::pin(async move { internet.forward(request).await })
    }
}

/// The headers that are passed on. Others are the browser's to set, or would make it ask the server for leave
/// before every request.
fn of_pages(headers: &HeaderMap) -> Vec<(String, String)> {
    let wanted = |name: &str| {
        matches!(
            name,
            "accept" | "accept-language" | "authorization" | "content-type" | "range"
        ) || name.starts_with("x-")
    };
    let passed = headers.iter().filter(|(name, _)| wanted(name.as_str()));
    passed
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_string())))
        .collect()
}

/// The body is as long as it is: length and coding were those of the transfer to the browser.
fn to_response(answer: InternetResponse) -> Response {
    let mut response = Response::new(answer.body.into());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
            headers.append(name, value);
        }
    }
    for of_transfer in [CONTENT_LENGTH, CONTENT_ENCODING, TRANSFER_ENCODING] {
        headers.remove(of_transfer);
    }
    headers.insert(VIA, HeaderValue::from_static("1.1 drydock"));
    response
}

fn gateway_error(text: &str) -> Response {
    let mut response = plain(StatusCode::BAD_GATEWAY, format!("{text}\n"));
    let headers = response.headers_mut();
    headers.insert(VIA, HeaderValue::from_static("1.1 drydock"));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, text);
    response
}

/// What a program prints, and with it whoever typed the command reads.
fn explain(refusal: &Refusal, name: &str, address: &str) -> String {
    match refusal {
        Refusal::Cors => format!(
            "CORS refused http://{address}\n\n\
             This playground runs in a web page, and {name} does not let other sites' pages read what it\n\
             sends (it answers without Access-Control-Allow-Origin). Only servers that allow it can be read\n\
             from here. What to do: take the same file from a server that does, or open it in the browser\n\
             and paste it into the terminal."
        ),
        Refusal::Unreachable(why) => format!(
            "{name} cannot be reached: {why}\n\n\
             The browser asked for http://{address} (by HTTPS, as pages must) and got no answer. There may be\n\
             no such server, or it speaks no HTTPS, or this computer is offline."
        ),
    }
}

/// Says no in the words of TLS, once the client has said something.
async fn refuse_tls(io: Io) {
    let mut hello = [0; 512];
    if io.read(&mut hello).await.is_ok_and(|count| count > 0) {
        // The client may be gone: then nobody needs to be told.
        let _ = io.write_all(&TLS_ALERT).await;
        io.shutdown_write();
        // Closing with something unread would reset the connection, and the alert would be lost.
        while io.read(&mut hello).await.is_ok_and(|count| count > 0) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serve::Body;

    fn request(text: &str) -> Request {
        let mut lines = text.lines();
        let mut words = lines.next().unwrap_or_default().split(' ');
        let mut builder = http::Request::builder()
            .method(words.next().unwrap_or_default())
            .uri(words.next().unwrap_or_default());
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            builder = builder.header(name, value);
        }
        builder
            .body(Body::from(b"body".to_vec()))
            .expect("a request")
    }

    /// What the owner is asked, and what the program gets for the owner's answer.
    fn forwarded(text: &str, answer: Answer) -> (Vec<InternetRequest>, String) {
        let (executor, internet) = (Executor::new(), Internet::default());
        internet.switch(true);
        let (asking, request) = (internet.clone(), request(text));
        let task = executor.spawn(async move {
            let response = asking.forward(request).await;
            let mut text = format!("{}\n", response.status().as_u16());
            for (name, value) in response.headers() {
                text.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or("?")));
            }
            let body = response
                .into_body()
                .collect(1 << 20)
                .await
                .unwrap_or_default();
            text + "\n" + &String::from_utf8_lossy(&body)
        });
        executor.run_until_stalled();
        let asked = internet.take_requests();
        for request in &asked {
            internet.answer(request.id, answer.clone());
        }
        executor.run_until_stalled();
        (asked, task.take().expect("an answer"))
    }

    #[test]
    fn requests_go_out_with_what_pages_may_say() {
        let answer = InternetResponse {
            status: 203,
            headers: vec![
                ("content-type".into(), "text/x".into()),
                ("content-length".into(), "9".into()),
                ("content-encoding".into(), "gzip".into()),
            ],
            body: b"answer".to_vec(),
        };
        let (asked, printed) = forwarded(
            "POST /a?b=c HTTP/1.1\nhost: Example.org:80\nuser-agent: curl/8\naccept: */*\n\
             x-mine: 1\ncookie: a=b\ncontent-type: text/plain\nconnection: close",
            Ok(answer),
        );
        let header = |name: &str, value: &str| (name.to_string(), value.to_string());
        assert_eq!(
            asked,
            [InternetRequest {
                id: 0,
                method: "POST".into(),
                address: "example.org/a?b=c".into(),
                headers: vec![
                    header("accept", "*/*"),
                    header("x-mine", "1"),
                    header("content-type", "text/plain"),
                ],
                body: b"body".to_vec(),
            }]
        );
        assert_eq!(
            printed,
            "203\ncontent-type: text/x\nvia: 1.1 drydock\n\nanswer"
        );
    }

    #[test]
    fn refusals_say_why() {
        let get = "GET / HTTP/1.1\nhost: example.org";
        let (_, printed) = forwarded(get, Err(Refusal::Cors));
        assert!(
            printed.starts_with("502\n") && printed.contains("CORS refused http://example.org/"),
            "{printed}"
        );
        let (_, printed) = forwarded(get, Err(Refusal::Unreachable("Failed to fetch".into())));
        assert!(
            printed.contains("example.org cannot be reached: Failed to fetch"),
            "{printed}"
        );
    }

    #[test]
    fn nothing_goes_out_while_it_is_off() {
        let (executor, internet) = (Executor::new(), Internet::default());
        let (asking, request) = (
            internet.clone(),
            request("GET / HTTP/1.1\nhost: example.org"),
        );
        let task = executor.spawn(async move { asking.forward(request).await.status() });
        executor.run_until_stalled();
        assert_eq!(internet.take_requests(), []);
        assert_eq!(task.take(), Some(StatusCode::BAD_GATEWAY));
    }
}
