//! A server of one folder of static files, for development and for the browser tests.
//!
//! HTTP/1.1 (RFC 9110, 9112) as far as a browser needs it for such a folder: GET and HEAD,
//! keep-alive, one byte range, validators, gzip. It sends no header a plain web host would not, so
//! that what works here works there. For measurements it can be as slow as a line, and counts what
//! it sent. Loopback only; not for publishing.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Bytes of request line and headers that are read before giving up.
const HEAD_BYTES_MAX: u64 = 32 * 1024;

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(60);

/// Bytes written at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// A bound server.
pub struct Server {
    listener: TcpListener,
    site: Arc<Site>,
}

/// What all connections share.
struct Site {
    /// Canonical, so that what is inside can be told.
    folder: PathBuf,
    /// Begins and ends with a slash.
    base: String,
    line: Arc<Line>,
    /// Compressed files by validator.
    compressed: Mutex<HashMap<String, Arc<Vec<u8>>>>,
}

/// The line to the browser.
#[derive(Default)]
pub struct Line {
    /// How fast it is; 0 is as fast as it goes.
    bytes_per_second: u64,
    sent: AtomicU64,
    /// When what has been sent will have passed.
    free: Mutex<Option<Instant>>,
}

impl Line {
    /// A line of this speed, shared by all connections.
    pub fn new(bytes_per_second: u64) -> Arc<Line> {
        Arc::new(Line {
            bytes_per_second,
            ..Line::default()
        })
    }

    /// Bytes sent so far, headers included.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn write(&self, output: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.chunks(CHUNK_BYTES) {
            self.wait(chunk.len() as u64);
            output.write_all(chunk)?;
            self.sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn wait(&self, bytes: u64) {
        let Some(nanos) = (bytes * 1_000_000_000).checked_div(self.bytes_per_second) else {
            return;
        };
        let until = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = free.map_or_else(Instant::now, |free| free.max(Instant::now()));
            *free.insert(begin + Duration::from_nanos(nanos))
        };
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
    }
}

impl Server {
    /// Binds to loopback. `base` is the path the folder appears under.
    pub fn bind(folder: &Path, base: &str, port: u16, line: Arc<Line>) -> io::Result<Server> {
        Ok(Server {
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, port))?,
            site: Arc::new(Site::new(folder, base, line)?),
        })
    }

    /// Where the page is.
    pub fn url(&self) -> String {
        let address = self.listener.local_addr();
        let port = address.map_or(0, |address| address.port());
        format!("http://127.0.0.1:{port}{}", self.site.base)
    }

    /// Serves until the process ends.
    pub fn run(self) {
        for stream in self.listener.incoming().flatten() {
            let site = Arc::clone(&self.site);
            std::thread::spawn(move || {
                // A connection that breaks is the browser's business.
                let _ = site.connection(stream);
            });
        }
    }
}

/// The parts of a request that matter to a file.
#[derive(Debug, Default)]
struct Request {
    method: String,
    target: String,
    range: Option<String>,
    if_range: Option<String>,
    if_none_match: Option<String>,
    gzip: bool,
    close: bool,
}

/// Reads a request without a body. `None` is the end of the connection.
fn read_request(input: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut input = input.take(HEAD_BYTES_MAX);
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let mut request = Request {
        method: words.next().unwrap_or_default().to_owned(),
        target: words.next().unwrap_or_default().to_owned(),
        ..Request::default()
    };
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Ok(Some(request));
        };
        let value = value.trim().to_owned();
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value),
            "if-range" => request.if_range = Some(value),
            "if-none-match" => request.if_none_match = Some(value),
            "accept-encoding" => request.gzip = value.contains("gzip"),
            "connection" => request.close = value.eq_ignore_ascii_case("close"),
            // Nothing here takes a body; the rest of the connection would be misread.
            "content-length" | "transfer-encoding" => request.close = true,
            _ => {}
        }
    }
}

/// An answer: a status, headers, and part of a file or a short text.
struct Answer {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Body,
}

enum Body {
    Text(&'static str),
    Bytes(Arc<Vec<u8>>),
    Part { file: File, first: u64, length: u64 },
}

impl Answer {
    fn plain(status: &'static str) -> Answer {
        Answer {
            status,
            headers: vec![("content-type", "text/plain; charset=utf-8".to_owned())],
            body: Body::Text(status),
        }
    }

    fn send(self, output: &mut impl Write, head_only: bool, line: &Line) -> io::Result<()> {
        let length = match &self.body {
            Body::Text(text) => text.len() as u64,
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Part { length, .. } => *length,
        };
        let mut head = format!("HTTP/1.1 {}\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.status.starts_with("304") {
            head.push_str(&format!("content-length: {length}\r\n"));
        }
        head.push_str("\r\n");
        line.write(output, head.as_bytes())?;
        if head_only {
            return output.flush();
        }
        match self.body {
            Body::Text(text) => line.write(output, text.as_bytes())?,
            Body::Bytes(bytes) => line.write(output, &bytes)?,
            Body::Part {
                mut file,
                first,
                length,
            } => {
                file.seek(SeekFrom::Start(first))?;
                let mut file = file.take(length);
                let mut chunk = vec![0; CHUNK_BYTES];
                loop {
                    match file.read(&mut chunk)? {
                        0 => break,
                        count => line.write(output, &chunk[..count])?,
                    }
                }
            }
        }
        output.flush()
    }
}

impl Site {
    fn new(folder: &Path, base: &str, line: Arc<Line>) -> io::Result<Site> {
        let base = match base.trim_matches('/') {
            "" => "/".to_owned(),
            inner => format!("/{inner}/"),
        };
        Ok(Site {
            folder: folder.canonicalize()?,
            base,
            line,
            compressed: Mutex::default(),
        })
    }

    fn connection(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(IDLE))?;
        stream.set_nodelay(true)?;
        let mut input = BufReader::new(stream.try_clone()?);
        let mut output = stream;
        while let Some(request) = read_request(&mut input)? {
            let head_only = request.method == "HEAD";
            self.answer(&request)
                .send(&mut output, head_only, &self.line)?;
            if request.close {
                break;
            }
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> Answer {
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            let mut answer = Answer::plain("405 Method Not Allowed");
            answer.headers.push(("allow", "GET, HEAD".to_owned()));
            return answer;
        }
        let path = request.target.split(['?', '#']).next().unwrap_or_default();
        if self.base != "/" && path == self.base.trim_end_matches('/') {
            let mut answer = Answer::plain("308 Permanent Redirect");
            answer.headers.push(("location", self.base.clone()));
            return answer;
        }
        let file = path
            .strip_prefix(&self.base)
            .and_then(percent_decode)
            .and_then(|path| resolve(&self.folder, &path));
        match file.and_then(|path| Some((File::open(&path).ok()?, path))) {
            Some((file, path)) => self.serve_file(request, file, &path),
            None => Answer::plain("404 Not Found"),
        }
    }

    fn serve_file(&self, request: &Request, mut file: File, path: &Path) -> Answer {
        let Ok(metadata) = file.metadata() else {
            return Answer::plain("404 Not Found");
        };
        let size = metadata.len();
        let packed = request.gzip && request.range.is_none() && compressible(path) && size > 1024;
        let etag = etag(&metadata, packed);
        let mut headers = vec![
            ("content-type", content_type(path).to_owned()),
            ("cache-control", cache_control(path).to_owned()),
            ("accept-ranges", "bytes".to_owned()),
            ("etag", etag.clone()),
        ];
        if compressible(path) {
            headers.push(("vary", "accept-encoding".to_owned()));
        }
        let known = request.if_none_match.as_deref().unwrap_or_default();
        if known.split(',').any(|tag| tag.trim() == etag) {
            return Answer {
                status: "304 Not Modified",
                headers,
                body: Body::Text(""),
            };
        }
        if packed && let Ok(bytes) = self.pack(&etag, &mut file) {
            headers.push(("content-encoding", "gzip".to_owned()));
            return Answer {
                status: "200 OK",
                headers,
                body: Body::Bytes(bytes),
            };
        }
        let same = request.if_range.as_ref().is_none_or(|tag| *tag == etag);
        let range = request.range.as_deref().filter(|_| same);
        let (status, first, length) = match range.map(|range| byte_range(range, size)) {
            None | Some(Range::Whole) => ("200 OK", 0, size),
            Some(Range::Part(first, last)) => {
                headers.push(("content-range", format!("bytes {first}-{last}/{size}")));
                ("206 Partial Content", first, last - first + 1)
            }
            Some(Range::Outside) => {
                let mut answer = Answer::plain("416 Range Not Satisfiable");
                let size = format!("bytes */{size}");
                answer.headers.push(("content-range", size));
                return answer;
            }
        };
        Answer {
            status,
            headers,
            body: Body::Part {
                file,
                first,
                length,
            },
        }
    }

    /// A file's compressed form, made once.
    fn pack(&self, etag: &str, file: &mut File) -> io::Result<Arc<Vec<u8>>> {
        let mut compressed = self
            .compressed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = compressed.get(etag) {
            return Ok(Arc::clone(bytes));
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        io::copy(file, &mut encoder)?;
        let bytes = Arc::new(encoder.finish()?);
        compressed.insert(etag.to_owned(), Arc::clone(&bytes));
        Ok(bytes)
    }
}

/// The file a path names, if it is inside the folder. A folder names its `index.html`.
fn resolve(folder: &Path, path: &str) -> Option<PathBuf> {
    let plain = |segment: &str| segment != ".." && !segment.contains(['\0', '\\']);
    if !path.split('/').all(plain) || path.starts_with('/') {
        return None;
    }
    let mut file = folder.join(path);
    if file.is_dir() {
        file.push("index.html");
    }
    // What links lead to counts, not what they are called.
    let file = file.canonicalize().ok()?;
    (file.starts_with(folder) && file.is_file()).then_some(file)
}

/// What a `Range` header asks of a file (RFC 9110 §14).
#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// Not a range we answer: the whole is always allowed.
    Whole,
    /// First and last byte.
    Part(u64, u64),
    /// Nothing of it is in the file.
    Outside,
}

fn byte_range(header: &str, size: u64) -> Range {
    let Some(spec) = header.strip_prefix("bytes=") else {
        return Range::Whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Range::Whole;
    };
    if spec.contains(',') {
        return Range::Whole;
    }
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if last < first => Range::Whole,
        (Ok(first), _) if first >= size => Range::Outside,
        (Ok(first), Ok(last)) => Range::Part(first, last.min(size - 1)),
        (Ok(first), Err(_)) if last.is_empty() => Range::Part(first, size - 1),
        (Err(_), Ok(0)) if first.is_empty() => Range::Outside,
        (Err(_), Ok(_)) if first.is_empty() && size == 0 => Range::Outside,
        (Err(_), Ok(suffix)) if first.is_empty() => {
            Range::Part(size.saturating_sub(suffix), size - 1)
        }
        _ => Range::Whole,
    }
}

/// What web hosts compress: text, and programs.
fn compressible(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let extension = extension.unwrap_or_default();
    matches!(extension, "html" | "js" | "css" | "json" | "svg" | "wasm")
}

fn etag(metadata: &fs::Metadata, packed: bool) -> String {
    let modified = metadata.modified().ok();
    let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let since = since.unwrap_or_default().as_nanos();
    let form = if packed { "-gz" } else { "" };
    format!("\"{:x}-{since:x}{form}\"", metadata.len())
}

fn content_type(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Names with a hash in them never change what they name: blobs, and what Trunk writes.
fn cache_control(path: &Path) -> &'static str {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.unwrap_or_default();
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let stem = name.split(['.', '_']).next().unwrap_or_default();
    let hashed = stem
        .rsplit_once('-')
        .is_some_and(|(_, hash)| (12..=16).contains(&hash.len()) && hex(hash));
    let blob =
        name.len() == 64 && hex(name) && path.parent().is_some_and(|p| p.ends_with("sha256"));
    if hashed || blob {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    }
}

/// Undoes `%xx`. `None` is a path that is not text.
fn percent_decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = (*first == b'%').then(|| tail.get(..2)).flatten();
        let code = digits.and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16).ok()
        });
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (header, size, range) in [
            ("bytes=0-0", 10, Range::Part(0, 0)),
            ("bytes=2-5", 10, Range::Part(2, 5)),
            ("bytes=2-500", 10, Range::Part(2, 9)),
            ("bytes=7-", 10, Range::Part(7, 9)),
            ("bytes=-3", 10, Range::Part(7, 9)),
            ("bytes=-30", 10, Range::Part(0, 9)),
            ("bytes=-0", 10, Range::Outside),
            ("bytes=-1", 0, Range::Outside),
            ("bytes=10-", 10, Range::Outside),
            ("bytes=0-", 0, Range::Outside),
            ("bytes=5-2", 10, Range::Whole),
            ("bytes=0-1,3-4", 10, Range::Whole),
            ("bytes=a-b", 10, Range::Whole),
            ("lines=0-1", 10, Range::Whole),
        ] {
            assert_eq!(byte_range(header, size), range, "{header} of {size}");
        }
    }

    /// A folder with a page, a blob and a secret beside it.
    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("drydock-http-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("dist/blobs/sha256")).unwrap();
        fs::write(folder.join("secret"), "secret").unwrap();
        fs::write(folder.join("dist/index.html"), "page").unwrap();
        fs::write(folder.join("dist/worker_bg.wasm"), "wasm").unwrap();
        fs::write(
            folder.join("dist/blobs/sha256").join("ab".repeat(32)),
            "0123456789",
        )
        .unwrap();
        folder
    }

    fn ask(folder: &Path, base: &str, head: &str) -> String {
        let head = format!("{}\r\n\r\n", head.replace('\n', "\r\n"));
        let request = read_request(&mut head.as_bytes()).unwrap().unwrap();
        let site = Site::new(&folder.join("dist"), base, Line::new(0)).unwrap();
        let mut bytes = Vec::new();
        site.answer(&request)
            .send(&mut bytes, request.method == "HEAD", &site.line)
            .unwrap();
        assert_eq!(site.line.sent(), bytes.len() as u64);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn files_ranges_and_validators() {
        let folder = folder("files");
        let page = ask(&folder, "/a/", "GET /a/?x HTTP/1.1");
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        assert!(page.ends_with("\r\n\r\npage"), "{page}");
        let wasm = ask(&folder, "/", "HEAD /worker_bg.wasm HTTP/1.1");
        assert!(
            wasm.contains("content-type: application/wasm\r\n"),
            "{wasm}"
        );
        assert!(wasm.ends_with("content-length: 4\r\n\r\n"), "{wasm}");
        let part = ask(
            &folder,
            "/",
            &format!(
                "GET /blobs/sha%32%356/{} HTTP/1.1\nRange: bytes=2-4",
                "ab".repeat(32)
            ),
        );
        assert!(part.starts_with("HTTP/1.1 206 "), "{part}");
        assert!(part.contains("content-range: bytes 2-4/10\r\n"), "{part}");
        assert!(part.contains("immutable"), "{part}");
        assert!(part.ends_with("\r\n\r\n234"), "{part}");
        let etag = page
            .lines()
            .find_map(|line| line.strip_prefix("etag: "))
            .unwrap();
        let again = ask(
            &folder,
            "/",
            &format!("GET / HTTP/1.1\nIf-None-Match: {etag}"),
        );
        assert!(again.starts_with("HTTP/1.1 304 "), "{again}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn nothing_outside_the_folder() {
        let folder = folder("escape");
        std::os::unix::fs::symlink(folder.join("secret"), folder.join("dist/link")).unwrap();
        for path in [
            "/../secret",
            "/%2e%2e/secret",
            "/blobs/..%2f../secret",
            "//etc/passwd",
            "/link",
            "/nothing",
            "/%ff",
            "/blobs",
        ] {
            let reply = ask(&folder, "/", &format!("GET {path} HTTP/1.1"));
            assert!(reply.starts_with("HTTP/1.1 404 "), "{path}: {reply}");
        }
        let outside = ask(&folder, "/a/", "GET /index.html HTTP/1.1");
        assert!(outside.starts_with("HTTP/1.1 404 "), "{outside}");
        let redirect = ask(&folder, "/a/", "GET /a HTTP/1.1");
        assert!(redirect.contains("location: /a/\r\n"), "{redirect}");
        let post = ask(&folder, "/", "POST / HTTP/1.1\nContent-Length: 3");
        assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
        fs::remove_dir_all(folder).unwrap();
    }
}
