//! What the playground's own host serves over HTTP: the repositories that apt, pip and npm install from.
//!
//! They ask `http://packages.drydock/debian/…`, `/pypi/…`, `/npm/…` from machines and containers, and get the static
//! files below `packages/` of the playground's folder, part by part as they are asked for. `cargo xtask images`
//! makes them.

use std::rc::{Rc, Weak};

use clock::Executor;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, StatusCode};
use net::Endpoint;
use serve::{Body, LocalBoxFuture, Request, Response, Service};

use crate::fetch::Fetcher;
use crate::gateway::Gateway;
use crate::lan::GATEWAY;
use crate::registry::{PART_BYTES, parts, plain};

/// The repositories' name on the LAN.
pub const PACKAGES: &str = "packages.drydock";
const PORT: u16 = 80;

/// Begins to serve.
pub(crate) fn start(gateway: &Rc<Gateway>, fetcher: &Fetcher, executor: &Executor) {
    gateway.add_name(PACKAGES, GATEWAY);
    let web = Web {
        gateway: Rc::downgrade(gateway),
        fetcher: fetcher.clone(),
        executor: executor.clone(),
    };
    let at = Endpoint::new(GATEWAY, PORT);
    executor.spawn(Rc::clone(gateway).serve_http(at, Rc::new(web), executor.clone()));
}

/// See the module's comment.
#[derive(Clone)]
struct Web {
    /// Weak: the gateway is what runs this.
    gateway: Weak<Gateway>,
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
        let path = request.uri().path();
        let response = match static_file(path) {
            Some(file) => self.file(&file).await,
            None => not_found(),
        };
        match wanted(path) {
            Some(wanted) if response.status() == StatusCode::NOT_FOUND => self.not_here(wanted),
            _ => response,
        }
    }

    /// pip says only that there is no such package. npm prints what the answer says.
    fn not_here(&self, wanted: Wanted) -> Response {
        let name = wanted.name;
        if let Some(gateway) = self.gateway.upgrade() {
            gateway.hint_no_package(&name, wanted.list);
        }
        let list = wanted.list;
        let why = format!(
            "{name} is not among this playground's packages: http://{PACKAGES}{list} has the list"
        );
        let why = serde_json::json!({ "error": why }).to_string();
        let mut response = plain(StatusCode::NOT_FOUND, why);
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }

    async fn file(&self, file: &str) -> Response {
        // A package's file name says its version; the lists change with the repository.
        let immutable = file.contains("/pool/") || file.contains("/-/");
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
        let media_type = HeaderValue::from_static(media_type(file));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, media_type);
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

fn media_type(file: &str) -> &'static str {
    match file.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("json") => "application/json",
        Some("deb") => "application/vnd.debian.binary-package",
        Some("whl" | "tgz") => "application/octet-stream",
        _ => "text/plain; charset=utf-8",
    }
}

/// A package that somebody asks for by name.
struct Wanted {
    name: String,
    /// The path that lists those there are.
    list: &'static str,
}

fn wanted(path: &str) -> Option<Wanted> {
    let path = unescape(path)?;
    let under = |list: &'static str| {
        let name = path.strip_prefix(list)?.trim_end_matches('/');
        let name = name.to_string();
        (!name.is_empty()).then_some(Wanted { name, list })
    };
    under("/pypi/simple/").or_else(|| under("/npm/"))
}

/// The static file for a path of the repositories; none for what leads out of them. Folders have their lists in
/// files.
fn static_file(path: &str) -> Option<String> {
    let path = unescape(path.strip_prefix('/')?)?;
    let path = path.trim_end_matches('/');
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-+~/@".contains(&b);
    let inside = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let (repository, rest) = path.split_once('/').unwrap_or((path, ""));
    let list = match repository {
        "debian" => "",
        "pypi" if rest.starts_with("simple") => "/index.html",
        "npm" if !rest.contains("/-/") => "/index.json",
        "pypi" | "npm" => "",
        _ => return None,
    };
    (inside && path.bytes().all(plain)).then(|| format!("packages/{path}{list}"))
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
    let folder = |end| file.strip_suffix(end)?.rsplit('/').next();
    match name.split_once('_') {
        Some((package, _)) if name.ends_with(".deb") => package.to_string(),
        _ if name.ends_with(".whl") || name.ends_with(".tgz") => name.to_string(),
        _ => match folder("/index.html").or_else(|| folder("/index.json")) {
            Some(package) => package.to_string(),
            None => format!("packages ({name})"),
        },
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
            (
                "/pypi/simple/flask/",
                Some("packages/pypi/simple/flask/index.html"),
            ),
            ("/pypi/simple/", Some("packages/pypi/simple/index.html")),
            ("/pypi/pool/a-1.whl", Some("packages/pypi/pool/a-1.whl")),
            ("/npm/", Some("packages/npm/index.json")),
            (
                "/npm/@redis%2fclient",
                Some("packages/npm/@redis/client/index.json"),
            ),
            (
                "/npm/@redis/client/-/client-1.0.0.tgz",
                Some("packages/npm/@redis/client/-/client-1.0.0.tgz"),
            ),
            ("/npm/..%2fv2", None),
            ("/v2/catalog.json", None),
            ("/", None),
        ];
        for (path, file) in cases {
            assert_eq!(static_file(path).as_deref(), file, "{path}");
        }
    }

    #[test]
    fn packages_are_asked_for_by_name() {
        let cases = [
            ("/pypi/simple/numpy/", Some("numpy")),
            ("/npm/@nestjs%2fcore", Some("@nestjs/core")),
            ("/pypi/simple/", None),
            ("/npm/", None),
            ("/pypi/pool/x.whl", None),
            ("/debian/pool/x.deb", None),
        ];
        for (path, name) in cases {
            let wanted = wanted(path).map(|wanted| wanted.name);
            assert_eq!(wanted.as_deref(), name, "{path}");
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
            ("packages/pypi/simple/flask/index.html", "flask"),
            (
                "packages/pypi/pool/a_b-1-py3-none-any.whl",
                "a_b-1-py3-none-any.whl",
            ),
            (
                "packages/npm/express/-/express-5.1.0.tgz",
                "express-5.1.0.tgz",
            ),
        ];
        for (file, expected) in cases {
            assert_eq!(label(file), expected);
        }
    }
}
