//! Measures a machine natively: `cargo xtask bench` runs this and keeps what it prints.
//!
//! One line a result: `name<TAB>value<TAB>unit`. Times are processor time of this process, the best of
//! several runs, because these machines are noisy; what is worth quoting are ratios within one run.
//! `qemu-riscv64` runs the same busybox on the same work for comparison, where it is installed.
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the host's clock"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clock::Instant;
use mem::Page;
use playground::{Config, ConsoleMode, Playground};
use rv64::{AddressSpace, Prot, Sharing};
use serve::{Body, Service};

/// Instructions per turn.
const FUEL: u64 = 5_000_000;
/// Runs of each measurement; the best counts.
const RUNS: usize = 3;
/// Containers in a long list.
const LISTED: u64 = 200;
/// Containers in the memory measurement, beside the first.
const CONTAINERS: u64 = 50;

/// Work for the interpreter: arguments of busybox, and what its standard input is.
const WORK: [(&str, &[&str], usize); 4] = [
    ("sha256sum", &["sha256sum"], 8 << 20),
    ("gzip", &["gzip", "-c"], 4 << 20),
    (
        "awk",
        &["awk", "BEGIN{for(i=0;i<600000;i++)s+=i%7;print s}"],
        0,
    ),
    ("sort", &["sort"], 1 << 20),
];

fn main() {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/images");
    if !images.join("v2").is_dir() {
        eprintln!(
            "no images in {}: run `cargo xtask images` first",
            images.display()
        );
        std::process::exit(1);
    }
    fork();
    let mut world = World::boot(images);
    report("boot to the first command", world.seconds_of("true"), "s");
    world.sh("docker pull -q busybox");
    docker(&mut world);
    work(&mut world);
    idle(&mut world);
    network::run(&mut world);
}

fn report(name: &str, value: f64, unit: &str) {
    println!("{name}\t{value:.6}\t{unit}");
}

/// Processor time of this process in seconds.
fn cpu() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

fn best(mut measure: impl FnMut() -> f64) -> f64 {
    (0..RUNS).map(|_| measure()).fold(f64::INFINITY, f64::min)
}

/// Fork of a process with 50 MB of its own, and its end.
fn fork() {
    let mut space = AddressSpace::new();
    for page in 0..12_800 {
        space.map(
            0x1000_0000 + page * 4096,
            Page::zeroed(),
            Prot::READ | Prot::WRITE,
            Sharing::Private,
        );
    }
    let times = 100;
    let seconds = best(|| {
        let started = cpu();
        for _ in 0..times {
            drop(space.fork());
        }
        (cpu() - started) / f64::from(times)
    });
    report("fork of 50 MB", seconds * 1e3, "ms");
}

struct World {
    playground: Playground,
    images: PathBuf,
    now: Instant,
}

impl World {
    fn boot(images: PathBuf) -> World {
        let config = Config {
            console: ConsoleMode::None,
            memory: 4 << 30,
            ..Config::default()
        };
        let mut world = World {
            playground: Playground::new(config),
            images,
            now: Instant(0),
        };
        world.add_machine();
        world
    }

    fn add_machine(&mut self) {
        let name = self.playground.add_instance().expect("room for a machine");
        while self.playground.machine(&name).is_none() {
            self.step();
        }
    }

    fn step(&mut self) {
        let turn = self.playground.turn(self.now, FUEL);
        for event in self.playground.take_events() {
            assert!(
                matches!(event, playground::Event::Added { .. }),
                "{event:?}"
            );
        }
        if files::answer(&self.playground, &self.images) || turn.busy {
            return;
        }
        if let Some(deadline) = turn.next_deadline {
            self.now = self.now.max(deadline);
        }
    }

    /// Runs commands; gives their output.
    fn sh_with(&mut self, commands: &str, stdin: Vec<u8>) -> String {
        self.sh_on("node1", commands, stdin)
    }

    /// Runs commands on a machine; gives their output.
    fn sh_on(&mut self, node: &str, commands: &str, stdin: Vec<u8>) -> String {
        let machine = self.playground.machine(node).expect("booted");
        let command = machine.run(commands, stdin);
        while command.status().is_none() {
            self.step();
        }
        let status = command.status().expect("just seen").expect("bash runs");
        assert_eq!(
            status.code(),
            0,
            "{commands}: {}",
            String::from_utf8_lossy(&command.stderr.borrow())
        );
        let output = command.stdout.borrow();
        String::from_utf8_lossy(&output).into_owned()
    }

    fn sh(&mut self, commands: &str) -> String {
        self.sh_with(commands, Vec::new())
    }

    fn machine(&self) -> &playground::Machine {
        self.playground.machine("node1").expect("booted")
    }

    fn seconds_of(&mut self, commands: &str) -> f64 {
        let started = cpu();
        self.sh(commands);
        cpu() - started
    }

    /// A request to the engine without any client; gives the body.
    fn engine(&mut self, method: &str, path: &str, body: &str) -> String {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("Content-Type", "application/json")
            .body(Body::from(body.to_string()))
            .expect("a valid request");
        let call = self.machine().engine().call(request);
        let executor = self.machine().os().executor();
        let answer = executor.spawn(async move {
            let response = call.await;
            let status = response.status();
            (
                status,
                response
                    .into_body()
                    .collect(1 << 20)
                    .await
                    .unwrap_or_default(),
            )
        });
        while !answer.is_finished() {
            self.step();
        }
        let (status, body) = answer.take().expect("just finished");
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(status.is_success(), "{method} {path}: {status} {body}");
        body
    }

    fn create_and_start(&mut self, command: &str) {
        let body = format!("{{\"Image\":\"busybox\",\"OpenStdin\":true,\"Cmd\":[{command}]}}");
        let created = self.engine("POST", "/v1.45/containers/create", &body);
        let id = created.split('"').nth(3).expect("an id").to_string();
        self.engine("POST", &format!("/v1.45/containers/{id}/start"), "");
    }
}

fn docker(world: &mut World) {
    let seconds = best(|| {
        let started = cpu();
        world.create_and_start("\"true\"");
        cpu() - started
    });
    report(
        "container create and start in the engine",
        seconds * 1e3,
        "ms",
    );
    let seconds = best(|| world.seconds_of("docker run --rm busybox true"));
    report("docker run --rm busybox true", seconds, "s");
    let seconds = best(|| world.seconds_of("docker ps"));
    report("docker ps", seconds, "s");
    match client_under_qemu(&world.images, &["ps"]) {
        Some(qemu) => {
            report("docker ps under qemu-user", qemu, "s");
            report("docker ps: ours / qemu-user", seconds / qemu, "x");
        }
        None => eprintln!("no ratio for docker ps: qemu-riscv64 or the node's tree is not there"),
    }
    world.sh("docker rm -f $(docker ps -aq) >/dev/null");
    cached_build(world);
    many(world);
}

/// A build of ten steps, each in the cache, by the builder that the client takes by itself.
fn cached_build(world: &mut World) {
    world.sh(
        "mkdir -p /root/cached && cd /root/cached && { echo FROM busybox; \
         for step in 1 2 3 4 5 6 7 8 9 10; do echo RUN echo $step \\> /step$step; done; } >Dockerfile",
    );
    let build = "docker build -q /root/cached >/dev/null";
    world.sh(build);
    let seconds = best(|| world.seconds_of(build));
    report("docker build of ten cached steps", seconds, "s");
}

/// A list of many containers.
fn many(world: &mut World) {
    for number in 0..LISTED {
        let path = format!("/v1.45/containers/create?name=many{number}");
        world.engine("POST", &path, "{\"Image\":\"busybox\"}");
    }
    let seconds = best(|| {
        let started = cpu();
        world.engine("GET", "/v1.45/containers/json?all=1", "");
        cpu() - started
    });
    report("list of 200 containers in the engine", seconds * 1e3, "ms");
    let seconds = best(|| world.seconds_of("docker ps -a >/dev/null"));
    report("docker ps -a of 200 containers", seconds, "s");
    let seconds = best(|| world.seconds_of("docker inspect $(docker ps -aq) >/dev/null"));
    report("docker inspect of 200 containers", seconds, "s");
    world.sh("docker rm -f $(docker ps -aq) >/dev/null");
}

/// Processor time of the node's Docker client under qemu-user, asking a machine of its own.
fn client_under_qemu(images: &Path, arguments: &[&str]) -> Option<f64> {
    let tree = images.join("trees/drydock/node");
    let mut server = Command::new(env!("CARGO_BIN_EXE_drydockd"))
        .args(["serve", "--tcp", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut said = String::new();
    let stderr = server.stderr.as_mut()?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stderr), &mut said).ok()?;
    let host = format!(
        "tcp://{}",
        said.trim_end().strip_suffix('.')?.split("tcp://").nth(1)?
    );
    let run = || {
        let before = children();
        let mut command = Command::new("qemu-riscv64");
        command
            .arg("-L")
            .arg(&tree)
            .arg(tree.join("usr/bin/docker"));
        command.args(arguments).env("DOCKER_HOST", &host);
        let ended = command.stdout(Stdio::null()).status();
        ended.ok().filter(std::process::ExitStatus::success)?;
        Some(children() - before)
    };
    // The kernel counts in steps of 10 ms.
    let times = 10;
    let total = (0..times).map(|_| run()).sum::<Option<f64>>();
    // It is ours, and has nothing to lose.
    let _ = server.kill();
    let _ = server.wait();
    total.map(|total| total / f64::from(times))
}

/// Memory of idle containers over the first.
fn idle(world: &mut World) {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        statm
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse::<f64>().ok())
            .unwrap_or(0.0)
            * 4096.0
    };
    // Waiting for input: a sleeping one would wake when idle time is jumped over.
    world.create_and_start("\"cat\"");
    world.sh("sleep 1");
    let (before, charged) = (
        resident(),
        world.playground.stats("node1").expect("there").memory_used,
    );
    for _ in 0..CONTAINERS {
        // Waiting for input: a sleeping one would wake when idle time is jumped over.
        world.create_and_start("\"cat\"");
    }
    world.sh("sleep 1");
    report(
        "50 idle containers over the first, of this process",
        (resident() - before) / 1e6,
        "MB",
    );
    let charged = world
        .playground
        .stats("node1")
        .expect("there")
        .memory_used
        .saturating_sub(charged);
    report(
        "50 idle containers over the first, as the machine counts",
        charged as f64 / 1e6,
        "MB",
    );
}

/// The same work in a machine and under qemu-user.
fn work(world: &mut World) {
    world.sh("docker create --name bb busybox >/dev/null; docker cp bb:/bin/busybox /root/busybox; docker rm bb >/dev/null");
    let busybox = world.images.join("trees/busybox/bin/busybox");
    let nothing = best(|| world.seconds_of("/root/busybox true"));
    for (name, arguments, input) in WORK {
        let quoted: Vec<String> = arguments
            .iter()
            .map(|argument| format!("'{argument}'"))
            .collect();
        let commands = format!("/root/busybox {} >/dev/null", quoted.join(" "));
        let data = bytes(input);
        let ours = best(|| {
            let started = cpu();
            world.sh_with(&commands, data.clone());
            cpu() - started
        }) - nothing;
        report(&format!("busybox {name}"), ours, "s");
        match best_qemu(&busybox, arguments, &data) {
            Some(qemu) => {
                report(&format!("busybox {name} under qemu-user"), qemu, "s");
                report(
                    &format!("busybox {name}: ours / qemu-user"),
                    ours / qemu,
                    "x",
                );
            }
            None => eprintln!(
                "no ratio for {name}: qemu-riscv64 or {} is not there",
                busybox.display()
            ),
        }
    }
}

fn best_qemu(program: &Path, arguments: &[&str], input: &[u8]) -> Option<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let before = children();
        let mut child = Command::new("qemu-riscv64")
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let mut stdin = child.stdin.take()?;
        std::io::Write::write_all(&mut stdin, input).ok()?;
        drop(stdin);
        child
            .wait()
            .ok()
            .filter(std::process::ExitStatus::success)?;
        best = best.min(children() - before);
    }
    Some(best)
}

/// Processor time of the children that have ended, in seconds.
fn children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks: f64 = [13, 14]
        .iter()
        .filter_map(|&at| fields.get(at)?.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}

/// Lines of pseudo-random words: neither trivial nor impossible to compress.
fn bytes(count: usize) -> Vec<u8> {
    let rng = clock::Rng::new(7);
    let mut bytes = Vec::with_capacity(count + 32);
    while bytes.len() < count {
        bytes.extend(
            format!(
                "{:06} {}\n",
                rng.next_u64() % 1_000_000,
                rng.next_u64() % 97
            )
            .bytes(),
        );
    }
    bytes.truncate(count);
    bytes
}

mod network;

#[path = "../../src/files.rs"]
#[allow(dead_code, reason = "the program uses all of it")]
mod files;
