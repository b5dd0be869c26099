//! What the playground's own host serves over HTTP: the repository of Debian packages.
//!
//! apt in a machine or a container asks `http://packages.drydock/debian/…`, and gets the static files below
//! `packages/` of the playground's folder, part by part as they are asked for. `cargo xtask images` makes them.

use std::rc::Rc;

use clock::Executor;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, StatusCode};
use net::Endpoint;
use serve::{Body, LocalBoxFuture, Request, Response, Service};

use crate::fetch::Fetcher;
use crate::gateway::Gateway;
use crate::lan::GATEWAY;
use crate::registry::{PART_BYTES, parts, plain};

/// The repository's name on the LAN.
pub const PACKAGES: &str = "packages.drydock";
const PORT: u16 = 80;

/// Begins to serve.
pub(crate) fn start(gateway: &Rc<Gateway>, fetcher: &Fetcher, executor: &Executor) {
    gateway.add_name(PACKAGES, GATEWAY);
    let web = Web {
        fetcher: fetcher.clone(),
        executor: executor.clone(),
    };
    let at = Endpoint::new(GATEWAY, PORT);
    executor.spawn(Rc::clone(gateway).serve_http(at, Rc::new(web), executor.clone()));
}

/// See the module's comment.
#[derive(Clone)]
struct Web {
    fetcher: Fetcher,
    executor: Executor,
}

impl Service for Web {
    fn call(&self, request: Request) -> LocalBoxFuture<Response> {
        let web = self.clone();
        Box::pin(async move { web.answer(&request).await })
    }
}

impl Web {
    async fn answer(&self, request: &Request) -> Response {
        let host = host(request);
        if host != PACKAGES && host != GATEWAY.to_string() {
            let text = format!("{host} is not served here\n");
            return plain(StatusCode::MISDIRECTED_REQUEST, text);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let text = "packages can be read, and nothing else\n".to_string();
            return plain(StatusCode::METHOD_NOT_ALLOWED, text);
        }
        match static_file(request.uri().path()) {
            Some(file) => self.file(&file).await,
            None => not_found(),
        }
    }

    async fn file(&self, file: &str) -> Response {
        // A package's file name says its version; the lists change with the repository.
        let immutable = file.contains("/pool/");
        let label = label(file);
        let range = immutable.then_some((0, PART_BYTES - 1));
        let fetched = match self.fetcher.get(file, range, immutable, &label).await {
            Ok(fetched) => fetched,
            Err(why) => return plain(StatusCode::BAD_GATEWAY, format!("{why}\n")),
        };
        let body = match fetched.status {
            200 | 206 if range.is_none() || (fetched.body.len() as u64) < PART_BYTES => {
                fetched.body.into()
            }
            200 | 206 => {
                let (sender, body) = Body::channel();
                let (fetcher, file) = (self.fetcher.clone(), file.to_string());
                self.executor.spawn(async move {
                    parts(&fetcher, &file, &label, fetched.body, sender).await;
                });
                body
            }
            404 => return not_found(),
            status => {
                let text = format!("the playground's folder answered {status}\n");
                return plain(StatusCode::BAD_GATEWAY, text);
            }
        };
        let mut response = Response::new(body);
        let media_type = if immutable {
            "application/vnd.debian.binary-package"
        } else {
            "text/plain; charset=utf-8"
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        response
    }
}

fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "not found\n".to_string())
}

/// Whom a request is for, without the port.
pub(crate) fn host(request: &Request) -> String {
    let told = request.headers().get(HOST);
    let told = told.and_then(|host| host.to_str().ok());
    // Only a proxy's client writes the host into the request line, and that one counts.
    let host = request.uri().host().or(told).unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
    host.to_ascii_lowercase()
}

/// The static file for a path of the repository; none for what leads out of it.
fn static_file(path: &str) -> Option<String> {
    let path = unescape(path.strip_prefix('/')?)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-+~/".contains(&b);
    let inside = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    (path.starts_with("debian/") && inside && path.bytes().all(plain))
        .then(|| format!("packages/{path}"))
}

/// Percent-encoded bytes decoded; apt encodes `+` and `~`.
fn unescape(path: &str) -> Option<String> {
    let mut parts = path.split('%');
    let mut plain = parts.next()?.to_string();
    for part in parts {
        let byte = u8::from_str_radix(part.get(..2)?, 16).ok()?;
        plain.push(byte.is_ascii_graphic().then_some(char::from(byte))?);
        plain.push_str(part.get(2..)?);
    }
    Some(plain)
}

/// What the page's progress bar calls a download: the package, or the list of all of them.
fn label(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    match name.split_once('_') {
        Some((package, _)) => package.to_string(),
        None => format!("packages ({name})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_repository() {
        let cases = [
            (
                "/debian/dists/trixie/Release",
                Some("packages/debian/dists/trixie/Release"),
            ),
            (
                "/debian/pool/main/g/g%2b%2b/g%2B%2B_1%7e2_all.deb",
                Some("packages/debian/pool/main/g/g++/g++_1~2_all.deb"),
            ),
            ("/debian/../v2/catalog.json", None),
            ("/debian/%2e%2e/v2/catalog.json", None),
            ("/debian//Release", None),
            ("/debian/a%2", None),
            ("/debian/a%00b", None),
            ("/debian/a b", None),
            ("/debian/a?b", None),
            ("/v2/catalog.json", None),
            ("/", None),
        ];
        for (path, file) in cases {
            assert_eq!(static_file(path).as_deref(), file, "{path}");
        }
    }

    #[test]
    fn labels_are_package_names() {
        let cases = [
            (
                "packages/debian/pool/main/c/curl/curl_8.14.1-2_riscv64.deb",
                "curl",
            ),
            ("packages/debian/dists/trixie/Release", "packages (Release)"),
        ];
        for (file, expected) in cases {
            assert_eq!(label(file), expected);
        }
    }
}
