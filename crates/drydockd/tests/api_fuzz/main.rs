//! Hostile requests to every route of the table: wrong types, huge fields, odd ids, broken bodies, upgrades
//! that are none. What comes back is Docker's error, and what the engine holds stays consistent.
//!
//! Another or a longer run: `API_FUZZ_SEED=N API_FUZZ_RUNS=M cargo test -p drydockd --test api_fuzz -- --nocapture`.

#![recursion_limit = "256"]

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use clock::{JoinHandle, Rng};
use engine_api::Operation;
use engine_api::routes::{ROUTES, Route, Support};
use serde_json::Value;
use serve::{Body, Request, Response, Service, upgrade};
use world::World;

mod bodies;
#[path = "../world/mod.rs"]
mod world;

/// Requests per route.
const RUNS: u64 = 40;
/// Turns of the machine after which an answer is not coming: it waits for something, as `wait` does.
const TURNS_MAX: usize = 300;
/// Bytes read of an answer: streams go on for ever.
const ANSWER_MAX: usize = 1 << 20;

/// What a path parameter may be.
const IDS: &[&str] = &[
    "box",
    "idle",
    "busybox",
    "bridge",
    "data",
    "nosuch",
    "..",
    ".",
    "%2e%2e",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "%00",
    "a%00b",
    "%",
    "%zz",
    "%ff%fe",
    "%ed%95%9c%ea%b8%80",
    "-rf",
    "--",
    "%20",
    "a%20b",
    "a%0ab",
    "%22%3e%3cscript%3e",
    "sha256:",
    "sha256:zz",
    "busybox@sha256:00",
    "busybox:",
    ":latest",
    "@",
    "UPPER",
    "a//b",
    "0",
    "9999999999999999999999",
    "host",
    "none",
    "container:",
    "container:box",
];

/// Names of query parameters, of all routes together: most mean nothing to most routes.
const NAMES: &[&str] = &[
    "all",
    "author",
    "changes",
    "comment",
    "condition",
    "container",
    "copyUIDGID",
    "detachKeys",
    "details",
    "dockerfile",
    "filters",
    "follow",
    "force",
    "fromImage",
    "fromSrc",
    "h",
    "limit",
    "link",
    "logs",
    "message",
    "name",
    "names",
    "noOverwriteDirNonDir",
    "noprune",
    "one-shot",
    "path",
    "pause",
    "platform",
    "ps_args",
    "quiet",
    "q",
    "remote",
    "repo",
    "shared-size",
    "signal",
    "since",
    "size",
    "stderr",
    "stdin",
    "stdout",
    "stream",
    "t",
    "tag",
    "tail",
    "target",
    "term",
    "timestamps",
    "type",
    "until",
    "v",
    "w",
    "buildargs",
    "labels",
    "version",
    "remove",
    "dangling",
    "before",
    "manifests",
    "oom_kill_disable",
    "digests",
    "networkmode",
    "cachefrom",
];

/// What they may be.
const VALUES: &[&str] = &[
    "",
    "1",
    "0",
    "true",
    "maybe",
    "-1",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "1e400",
    "NaN",
    "%00",
    "..",
    "/",
    "/tmp",
    "/../../etc/shadow",
    "%ff",
    "busybox",
    "busybox:latest",
    "sha256:0000",
    "ctrl-x,ctrl-y",
    "ctrl-",
    "SIGKILL",
    "99",
    "removed",
    "not-running",
    "{}",
    "[]",
    "null",
    "{",
    "{\"label\":[\"a=b\"]}",
    "{\"label\":{\"a\":true}}",
    "{\"status\":{\"x\":5}}",
    "{\"status\":[\"running\"],\"exited\":[\"x\"]}",
    "{\"until\":[\"-1h\"],\"dangling\":[\"2\"]}",
    "{\"since\":[\"nosuch\"],\"before\":[\"\"],\"name\":[\"(\"],\"id\":[\"[\"]}",
    "{\"ancestor\":[\"\"],\"volume\":[\"/\"],\"network\":[\"%00\"],\"publish\":[\"x\"],\"expose\":[\"9-1\"]}",
    "{\"\":[\"\"]}",
    "1.5",
    "-5m",
    "2020-13-45T99:99:99Z",
    "1600000000.999999999999",
    "linux/amd64",
    "linux/%00",
    "{\"os\":5}",
    "ENV A=b",
    "RUN x",
    "FROM",
    "-ef%20%00",
    "aux%20-x",
];

struct Fuzz {
    world: World,
    rng: Rng,
    /// How often each status came.
    seen: BTreeMap<u16, u64>,
    /// Messages of class 5xx, without what differs.
    failures: BTreeSet<String>,
}

impl Fuzz {
    fn new(seed: u64) -> Fuzz {
        let mut world = World::boot(BTreeMap::new());
        let (status, said) = world.sh(
            "docker pull -q busybox; docker run -di --name box busybox cat; \
             docker create --name idle busybox true; docker volume create data",
        );
        assert_eq!(status, 0, "{said}");
        Fuzz {
            world,
            rng: Rng::new(seed),
            seen: BTreeMap::new(),
            failures: BTreeSet::new(),
        }
    }

    fn below(&self, limit: usize) -> usize {
        (self.rng.next_u64() % limit.max(1) as u64) as usize
    }

    fn one_of<T: Copy>(&self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// True once in `n` times.
    fn once_in(&self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn path(&self, route: &Route) -> String {
        let parts = route.pattern.split('/').skip(1);
        let parts = parts.map(|part| match part.starts_with('{') {
            false => part.to_string(),
            true if self.once_in(20) => "x".repeat(4096),
            // Those that are there: what comes behind the look-up is to be reached.
            true if !self.once_in(4) => self.one_of(&IDS[..5]).to_string(),
            true => self.one_of(IDS).to_string(),
        });
        let version = match self.once_in(15) {
            true => self.one_of(&["/v0.1", "/v9.99", "/v1.", "/v"]),
            false => self.one_of(&["", "/v1.24", "/v1.41", "/v1.45", "/v1.51"]),
        };
        format!("{version}/{}", parts.collect::<Vec<_>>().join("/"))
    }

    fn query(&self) -> String {
        let pair = |_| {
            let value = match self.once_in(30) {
                true => "9".repeat(5000),
                false => escape(self.one_of(VALUES)),
            };
            format!("{}={value}", self.one_of(NAMES))
        };
        (0..self.below(8).saturating_sub(2))
            .map(pair)
            .collect::<Vec<_>>()
            .join("&")
    }

    /// What is sent: bytes, and whether the client goes away behind them.
    fn body(&self, route: &Route) -> (Vec<u8>, bool) {
        let bytes = match self.below(20) {
            0 => Vec::new(),
            1 => self.one_of(bodies::BROKEN).to_vec(),
            2 => [b"[".repeat(20_000), b"]".repeat(20_000)].concat(),
            _ => {
                let mut document = bodies::template(route.operation);
                for _ in 0..self.below(3) {
                    self.spoil(&mut document);
                }
                let mut bytes = document.to_string().into_bytes();
                if self.once_in(25) {
                    bytes.truncate(self.below(bytes.len()));
                }
                bytes
            }
        };
        (bytes, self.once_in(30))
    }

    /// Puts something that does not belong there into some place of a document.
    fn spoil(&self, document: &mut Value) {
        let mut place = document;
        loop {
            let children = match place {
                Value::Object(members) => members.len(),
                Value::Array(items) => items.len(),
                _ => 0,
            };
            if children == 0 || self.once_in(12) {
                break;
            }
            let index = self.below(children);
            place = match place {
                Value::Object(members) => match members.values_mut().nth(index) {
                    Some(child) => child,
                    None => return,
                },
                Value::Array(items) => &mut items[index],
                _ => return,
            };
        }
        *place = bodies::odd(self.below(bodies::ODD));
    }

    fn request(&self, route: &Route) -> Option<Request> {
        let method = match self.once_in(25) {
            true => self.one_of(&[
                "GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "BREW",
            ]),
            false => route.method,
        };
        let uri = format!("{}?{}", self.path(route), self.query());
        let (bytes, goes_away) = self.body(route);
        let mut builder = http::Request::builder().method(method).uri(uri);
        builder = match self.below(30) {
            0 => builder,
            1 => builder.header("Content-Type", "text/plain"),
            2 => builder.header("Content-Type", "application/x-tar"),
            _ => builder.header("Content-Type", "application/json"),
        };
        builder = match self.below(6) {
            0 => builder.header("Upgrade", "tcp"),
            1 => builder
                .header("Upgrade", "websocket")
                .header("Sec-WebSocket-Key", "AAAA"),
            2 => builder
                .header("X-Registry-Auth", "e30=")
                .header("X-Registry-Config", "!!"),
            _ => builder,
        };
        let body = match goes_away {
            false => bytes.into(),
            true => {
                let (sender, body) = Body::channel();
                sender.abort(serve::BodyError::Aborted);
                body
            }
        };
        // What `http` does not take does not get to the engine.
        builder.body(body).ok()
    }

    /// Sends a request; `None`: the answer waits for something that does not happen.
    fn send(&mut self, mut request: Request, hijackable: bool) -> Option<(Response, Vec<u8>)> {
        let machine = self.world.playground.machine("node1").expect("it runs");
        let (engine, executor) = (Rc::clone(machine.engine()), machine.os().executor());
        let promise = hijackable.then(|| upgrade::attach(&mut request));
        let call = executor.spawn(async move {
            let mut response = engine.call(request).await;
            let (_client, server) = serve::io::duplex();
            if let Some(promise) = promise {
                // The client closes at once.
                promise.fulfil(server);
            }
            let mut bytes = Vec::new();
            let body = response.body_mut();
            while let Some(Ok(chunk)) = body.next().await {
                bytes.extend_from_slice(&chunk);
                if bytes.len() > ANSWER_MAX {
                    break;
                }
            }
            (response, bytes)
        });
        for _ in 0..TURNS_MAX {
            self.world.step();
            assert!(self.world.crashed.is_empty(), "{:?}", self.world.crashed);
            if call.is_finished() {
                return call.take();
            }
        }
        call.abort();
        None
    }

    fn get(&mut self, path: &str) -> Value {
        let request = http::Request::get(path)
            .body(Body::empty())
            .expect("a path");
        let (response, bytes) = self.send(request, false).expect("an answer");
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(response.status(), 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    fn attack(&mut self, route: &Route) {
        let Some(request) = self.request(route) else {
            return;
        };
        let line = format!("{} {:.500}", request.method(), request.uri().to_string());
        let old = line.contains(" /v0.") || line.contains(" /v1./") || line.contains(" /v/");
        let (hijackable, as_asked) = (self.once_in(2), request.method() == route.method);
        let Some((response, bytes)) = self.send(request, hijackable) else {
            return;
        };
        let status = response.status().as_u16();
        *self.seen.entry(status).or_default() += 1;
        if status < 400 || old || line.starts_with("HEAD") {
            return;
        }
        let text = String::from_utf8_lossy(&bytes);
        let document: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let message = match response.headers().get(http::header::CONTENT_TYPE) {
            // `attach` tells its error where the stream would have been, as Docker does.
            Some(kind) if kind == "application/vnd.docker.raw-stream" => text.trim_end(),
            _ => document["message"].as_str().unwrap_or_default(),
        };
        assert!(!message.is_empty(), "{line}: {status} {text:?}");
        // A route that is said to be there is there, whatever is asked of it.
        if status == 501 && as_asked && route.support == Support::Full {
            panic!("{line}: {message}");
        }
        if status == 500 {
            self.failures
                .insert(format!("{:?}: {message:.150}", route.operation));
        }
    }

    /// Everything that is listed can be looked at, and names are had once.
    fn check(&mut self) {
        let containers = self.get("/containers/json?all=1&size=1");
        let mut names = BTreeSet::new();
        for container in containers.as_array().expect("a list") {
            let id = container["Id"].as_str().expect("an id");
            let inspected = self.get(&format!("/containers/{id}/json"));
            assert_eq!(inspected["Id"], container["Id"]);
            for name in container["Names"].as_array().expect("names") {
                assert!(names.insert(name.to_string()), "{name} is had twice");
            }
        }
        for (list, one, key) in [
            ("/images/json?all=1", "/images/{}/json", "Id"),
            ("/networks", "/networks/{}", "Id"),
        ] {
            for item in self.get(list).as_array().expect("a list") {
                let id = item[key].as_str().expect("an id").to_string();
                assert_eq!(self.get(&one.replace("{}", &id))[key], item[key]);
            }
        }
        let volumes = self.get("/volumes");
        for volume in volumes["Volumes"].as_array().into_iter().flatten() {
            let name = volume["Name"].as_str().expect("a name");
            assert_eq!(
                self.get(&format!("/volumes/{}", escape(name)))["Name"],
                volume["Name"]
            );
        }
        self.get("/info");
        self.get("/system/df");
    }
}

/// Percent-encodes what may not stand in a query as it is.
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~%/:,".contains(&byte);
    let byte = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn setting(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn the_bodies_that_are_spoiled_are_right_before() {
    let mut fuzz = Fuzz::new(0);
    for (path, operation) in [
        ("/networks/create", Operation::NetworkCreate),
        ("/volumes/create", Operation::VolumeCreate),
        ("/containers/create?name=whole", Operation::ContainerCreate),
        ("/containers/box/exec", Operation::ExecCreate),
        ("/containers/box/update", Operation::ContainerUpdate),
        ("/networks/net/connect", Operation::NetworkConnect),
    ] {
        let builder = http::Request::post(path).header("Content-Type", "application/json");
        let body = bodies::template(operation).to_string();
        let request = builder.body(body.into()).expect("a request");
        let (response, bytes) = fuzz.send(request, false).expect("an answer");
        let text = String::from_utf8_lossy(&bytes);
        assert!(response.status().is_success(), "{operation:?}: {text}");
    }
}

/// Everybody wants the same name at the same time.
#[test]
fn a_name_is_given_once_however_many_ask() {
    let mut fuzz = Fuzz::new(0);
    let machine = fuzz.world.playground.machine("node1").expect("it runs");
    let (engine, executor) = (Rc::clone(machine.engine()), machine.os().executor());
    let ask = |method: &str, path: &str, body: &str| {
        let builder = http::Request::builder().method(method).uri(path);
        let builder = builder.header("Content-Type", "application/json");
        let request = builder.body(body.to_string().into()).expect("a request");
        let engine = Rc::clone(&engine);
        executor.spawn(async move { engine.call(request).await.status().as_u16() })
    };
    let image = "{\"Image\":\"busybox\",\"Cmd\":[\"cat\"],\"OpenStdin\":true}";
    for round in 0..20 {
        let (mut creates, mut others) = (Vec::new(), Vec::new());
        for number in 0..6 {
            creates.push(ask("POST", "/containers/create?name=same", image));
            // Each round begins them in another order.
            match (round + number) % 4 {
                0 => others.push(ask("POST", "/containers/same/start", "")),
                1 => others.push(ask("DELETE", "/containers/same?force=1", "")),
                2 => others.push(ask("POST", "/containers/same/rename?name=other", "")),
                _ => others.push(ask("DELETE", "/containers/other?force=1", "")),
            }
        }
        let pending = |all: &[JoinHandle<u16>]| all.iter().any(|one| !one.is_finished());
        for _ in 0..TURNS_MAX {
            if !pending(&creates) && !pending(&others) {
                break;
            }
            fuzz.world.step();
        }
        assert!(fuzz.world.crashed.is_empty(), "{:?}", fuzz.world.crashed);
        for create in &creates {
            let status = create.take().expect("an answer");
            assert!([201, 409].contains(&status), "create: {status}");
        }
        for other in &others {
            let status = other.take().expect("an answer");
            assert!([204, 304, 404, 409].contains(&status), "{status}");
        }
        fuzz.check();
    }
    let left = "docker rm -f same other >/dev/null 2>&1; docker ps -aq | wc -l";
    assert_eq!(fuzz.world.sh(left).1, "2\n");
}

#[test]
fn every_route_survives_hostile_requests() {
    let mut fuzz = Fuzz::new(setting("API_FUZZ_SEED", 1));
    for run in 0..setting("API_FUZZ_RUNS", RUNS) {
        for route in ROUTES {
            fuzz.attack(route);
        }
        fuzz.check();
        // What requests have removed is there again for the next.
        if run % 5 == 4 {
            fuzz.world.sh(
                "docker pull -q busybox; docker run -di --name box busybox cat; docker start box; \
                 docker unpause box; docker create --name idle busybox true; docker volume create data",
            );
        }
    }
    println!("{:?}", fuzz.seen);
    for failure in &fuzz.failures {
        println!("{failure}");
    }
    let (status, said) = fuzz.world.sh("docker run --rm busybox echo well");
    assert!(status == 0 && said.ends_with("well\n"), "{said}");
}
