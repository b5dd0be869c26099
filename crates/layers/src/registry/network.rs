//! HTTP over the machine's own network: to a registry in a container, on another machine, anywhere the
//! machine's routes lead.
//!
//! TLS is not spoken. A server that should speak it is greeted with a true `ClientHello` (RFC 8446), so
//! that one without TLS is found out the way Docker finds it out.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::future::{Either, select};
use http::header::{HOST, USER_AGENT};
use http::{HeaderValue, Uri};
use os::{Errno, Handle, Os, OsExt, View};
use serve::{Io, IoError, IoStream, Request, Response, h1};

use super::dns;
use super::settings::{DAEMON_JSON, Settings};

/// Nanoseconds to connect, as in Docker.
const DIAL_NS: u64 = 30_000_000_000;
/// Nanoseconds for the first bytes of a TLS server.
const HANDSHAKE_NS: u64 = 10_000_000_000;

/// The network of a machine, as its daemon uses it.
pub(super) struct Network {
    pub(super) os: Rc<dyn Os>,
}

/// A TCP connection as a stream that remembers what went wrong.
struct TcpStream {
    handle: Rc<dyn Handle>,
    connected: Cell<bool>,
    error: Cell<Option<Errno>>,
}

impl TcpStream {
    fn failed(&self, error: Errno) -> IoError {
        self.error.set(Some(error));
        IoError(error.name())
    }
}

impl IoStream for TcpStream {
    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoError>> {
        let read = self.handle.poll_read(cx, buf);
        read.map_err(|error| self.failed(error))
    }

    fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, IoError>> {
        let written = self.handle.poll_write(cx, buf);
        if matches!(written, Poll::Ready(Ok(_))) {
            self.connected.set(true);
        }
        written.map_err(|error| self.failed(error))
    }

    fn shutdown_write(&self) {
        // A peer that is gone already makes no difference.
        let _ = self.handle.shutdown_write();
    }
}

/// Where a URL leads.
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

impl Place {
    pub(super) fn of(url: &Uri) -> Option<Place> {
        let tls = url.scheme_str() == Some("https");
        let host = url.host()?.trim_matches(['[', ']']).to_string();
        let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Some(Place { host, port, tls })
    }
}

impl Network {
    /// What the daemon is told, now.
    pub(super) async fn settings(&self) -> Settings {
        let text = self.os.read_file(View::Host, DAEMON_JSON.as_bytes()).await;
        Settings::parse(&text.unwrap_or_default())
    }

    /// True for a name that this machine's own file of hosts knows.
    pub(super) async fn in_hosts(&self, host: &str) -> bool {
        !dns::from_hosts(&self.os, host).await.is_empty()
    }

    /// Addresses of a host; the error is Go's.
    pub(super) async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        dns::lookup(&self.os, host).await
    }

    /// Sends a request to where its URL leads. The error is what Go's client says behind the URL.
    pub(super) async fn send(&self, mut request: Request) -> Result<Response, String> {
        let url = request.uri().clone();
        let place = Place::of(&url).ok_or("no Host in request URL")?;
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let headers = request.headers_mut();
        if let Ok(host) = HeaderValue::from_str(authority) {
            headers.insert(HOST, host);
        }
        headers.insert(USER_AGENT, HeaderValue::from_static("drydock"));
        let stream = self.connect(&place).await?;
        if place.tls {
            return Err(self.greet(&stream).await);
        }
        let io = Io::new(Rc::<TcpStream>::clone(&stream));
        let executor = self.os.executor();
        match h1::client::send(io, request, &executor).await {
            Ok((response, _)) => Ok(response),
            Err(error) => Err(match (stream.error.get(), error) {
                (Some(Errno::EPIPE), _) => "EOF".to_string(),
                (Some(errno), _) => format!("read tcp: {}", errno.go_description()),
                (None, IoError("connection closed before the response")) => "EOF".to_string(),
                (None, error) => error.to_string(),
            }),
        }
    }

    /// Connects to the first address that can be connected to.
    async fn connect(&self, place: &Place) -> Result<Rc<TcpStream>, String> {
        let mut first = None;
        let addresses = self.lookup(&place.host).await;
        let addresses = addresses.map_err(|error| format!("dial tcp: {error}"))?;
        for address in addresses {
            let address = SocketAddr::new(address, place.port);
            match self.dial(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    first.get_or_insert(format!("dial tcp {address}: {error}"));
                }
            }
        }
        Err(first.unwrap_or_else(|| "dial tcp: missing address".to_string()))
    }

    async fn dial(&self, address: SocketAddr) -> Result<Rc<TcpStream>, String> {
        let failed = |error: Errno| format!("connect: {}", error.go_description());
        let handle = self.os.tcp_connect(View::Host, address).map_err(failed)?;
        let stream = TcpStream {
            handle,
            connected: Cell::new(false),
            error: Cell::new(None),
        };
        // Nothing can be written before the connection stands.
        let standing = poll_fn(|cx| stream.handle.poll_write(cx, &[]));
        let patience = self.os.clock().sleep(DIAL_NS);
        match select(std::pin::pin!(standing), std::pin::pin!(patience)).await {
            Either::Left((Ok(_), _)) => Ok(Rc::new(stream)),
            Either::Left((Err(error), _)) => Err(failed(error)),
            Either::Right(_) => Err("i/o timeout".to_string()),
        }
    }

    /// Greets a server that should speak TLS; gives why nothing comes of it.
    async fn greet(&self, stream: &Rc<TcpStream>) -> String {
        let io = Io::new(Rc::<TcpStream>::clone(stream));
        let random: Vec<u8> = (0..8)
            .flat_map(|_| self.os.rng().next_u64().to_be_bytes())
            .collect();
        let answer = async {
            io.write_all(&client_hello(&random)).await?;
            let mut head = Vec::new();
            while head.len() < RECORD_HEADER {
                let mut buf = [0; RECORD_HEADER];
                let count = io.read(&mut buf[head.len()..]).await?;
                if count == 0 {
                    break;
                }
                head.extend_from_slice(&buf[..count]);
            }
            Ok::<_, IoError>(head)
        };
        let patience = self.os.clock().sleep(HANDSHAKE_NS);
        let answer = match select(std::pin::pin!(answer), std::pin::pin!(patience)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => return "net/http: TLS handshake timeout".to_string(),
        };
        match answer.as_deref() {
            Ok([]) | Err(_) => match stream.error.get() {
                Some(errno) if errno != Errno::EPIPE => {
                    format!("read tcp: {}", errno.go_description())
                }
                _ => "EOF".to_string(),
            },
            Ok(b"HTTP/") => "http: server gave HTTP response to HTTPS client".to_string(),
            Ok([ALERT | HANDSHAKE, 3, ..]) => {
                "tls: this server speaks TLS, which this version of Drydock does not".to_string()
            }
            Ok(_) => "tls: first record does not look like a TLS handshake".to_string(),
        }
    }
}

/// Bytes at the start of a TLS record.
const RECORD_HEADER: usize = 5;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// `bytes` behind their length in two bytes.
fn vector(bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut out = kind.to_be_bytes().to_vec();
    out.extend(vector(body));
    out
}

/// A `ClientHello` in its record: TLS 1.2, one suite, the usual curves and signatures. `random` has 64
/// bytes: the random and the session id.
fn client_hello(random: &[u8]) -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend_from_slice(&random[..32]);
    hello.push(32);
    hello.extend_from_slice(&random[32..64]);
    // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, and the same with RSA.
    hello.extend(vector(&[0xc0, 0x2b, 0xc0, 0x2f]));
    // No compression.
    hello.extend([1, 0]);
    let curves = extension(10, &vector(&[0, 29, 0, 23]));
    let points = extension(11, &[1, 0]);
    let signatures = extension(13, &vector(&[4, 3, 8, 4, 4, 1]));
    hello.extend(vector(&[curves, points, signatures].concat()));
    let length = (hello.len() as u32).to_be_bytes();
    let message = [&[1][..], &length[1..], &hello].concat();
    let mut record = vec![HANDSHAKE, 3, 1];
    record.extend(vector(&message));
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_well_formed() {
        let hello = client_hello(&[7; 64]);
        let length = |at: usize| usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
        assert_eq!(length(3), hello.len() - 5);
        assert_eq!(length(7), hello.len() - 9);
        // Version, random, session id, suites, compression; then the extensions to the end.
        let extensions = 9 + 2 + 32 + 33 + 6 + 2;
        assert_eq!(length(extensions), hello.len() - extensions - 2);
        // A server of lines sees the end of one.
        assert!(hello.contains(&b'\n'));
    }

    #[test]
    fn places() {
        let place = |url: &str| {
            let place = Place::of(&url.parse().unwrap()).unwrap();
            (place.host, place.port, place.tls)
        };
        assert_eq!(place("http://a/v2/"), ("a".into(), 80, false));
        assert_eq!(place("https://a/v2/"), ("a".into(), 443, true));
        assert_eq!(place("http://[::1]:5000/"), ("::1".into(), 5000, false));
    }
}
