//! System calls, context switches and the network: `benches/guest/bench.c` in machines, and under qemu-user
//! what needs one host only; nginx and redis with clients beside them.
//!
//! Rates are per second of this process's processor time: what a computer that does nothing else would reach.

use std::path::PathBuf;

use crate::{World, best, best_qemu, report};

/// What the program does on one host: its name here, its arguments, how many of what that is.
const ALONE: [(&str, [&str; 2], f64, &str); 5] = [
    ("getpid", ["getpid", "2000000"], 2e6, "system calls"),
    (
        "read and write of a byte",
        ["byte", "1000000"],
        2e6,
        "system calls",
    ),
    (
        "context switch over pipes",
        ["pipe", "200000"],
        4e5,
        "switches",
    ),
    ("TCP over loopback", ["loop", "2000"], 2000.0, "MiB"),
    (
        "UDP over loopback, there and back",
        ["udp", "200000"],
        2e5,
        "round trips",
    ),
];

/// Where two containers of a machine and two machines meet.
const TCP_MIB: u32 = 500;
const UDP_TRIPS: u32 = 50_000;
const HTTP_REQUESTS: u32 = 3000;
const REDIS_REQUESTS: u32 = 50_000;

fn guest() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/bench/guest")
}

/// Measures all of it.
pub fn run(world: &mut World) {
    let Ok(program) = std::fs::read(guest()) else {
        eprintln!("no {}: `cargo xtask bench` compiles it", guest().display());
        return;
    };
    world.sh("docker rm -f $(docker ps -aq) >/dev/null");
    world.sh_with("cat >/root/bench; chmod +x /root/bench", program.clone());
    alone(world);
    containers(world);
    servers(world);
    world.add_machine();
    world.sh_on("node2", "cat >/root/bench; chmod +x /root/bench", program);
    machines(world);
}

/// Seconds that a command takes beyond an empty one.
fn seconds(world: &mut World, commands: &str) -> f64 {
    let nothing = best(|| world.seconds_of("/root/bench getpid 1"));
    (best(|| world.seconds_of(commands)) - nothing).max(1e-9)
}

fn alone(world: &mut World) {
    for (name, arguments, count, unit) in ALONE {
        let ours = seconds(world, &format!("/root/bench {}", arguments.join(" ")));
        report(name, count / ours, &format!("{unit}/s"));
        if let Some(qemu) = best_qemu(&guest(), &arguments, &[]) {
            report(
                &format!("{name} under qemu-user"),
                count / qemu,
                &format!("{unit}/s"),
            );
            report(&format!("{name}: ours / qemu-user"), ours / qemu, "x");
        }
    }
}

/// Seconds of the whole playground for a command in a container.
fn in_client(world: &mut World, commands: &str) -> f64 {
    let commands = format!("docker exec client {commands} >/dev/null");
    let nothing = best(|| world.seconds_of("docker exec client /bench getpid 1"));
    (best(|| world.seconds_of(&commands)) - nothing).max(1e-9)
}

fn containers(world: &mut World) {
    let run = "docker run -d -v /root/bench:/bench";
    world.sh(&format!(
        "set -e; {run} --name sink busybox /bench sink 9; {run} --name echo busybox /bench echo 9; \
         {run} --name client busybox sleep 100000"
    ));
    let (sink, echo) = (address(world, "sink"), address(world, "echo"));
    let tcp = in_client(world, &format!("/bench send {sink} 9 {TCP_MIB}"));
    report(
        "TCP between two containers",
        f64::from(TCP_MIB) / tcp,
        "MiB/s",
    );
    let udp = in_client(world, &format!("/bench ping {echo} 9 {UDP_TRIPS}"));
    report(
        "UDP between two containers, there and back",
        f64::from(UDP_TRIPS) / udp,
        "round trips/s",
    );
}

fn address(world: &mut World, container: &str) -> String {
    let format = "{{.NetworkSettings.IPAddress}}";
    world
        .sh(&format!("docker inspect -f '{format}' {container}"))
        .trim()
        .to_string()
}

fn servers(world: &mut World) {
    world.sh("set -e; docker pull -q nginx; docker pull -q redis; docker run -d --name web nginx; docker run -d --name db redis; sleep 3");
    let (web, db) = (address(world, "web"), address(world, "db"));
    let http = in_client(world, &format!("/bench http {web} 80 {HTTP_REQUESTS}"));
    report(
        "nginx, a connection per request",
        f64::from(HTTP_REQUESTS) / http,
        "requests/s",
    );
    for (name, options) in [("", ""), (", 16 in a pipeline", "-P 16")] {
        let command = format!(
            "docker exec db redis-benchmark -h {db} -t get -n {REDIS_REQUESTS} -c 20 {options} --csv"
        );
        let nothing = best(|| world.seconds_of("docker exec db redis-cli ping"));
        let redis = best(|| world.seconds_of(&command)) - nothing;
        report(
            &format!("redis GET, 20 clients{name}"),
            f64::from(REDIS_REQUESTS) / redis,
            "requests/s",
        );
    }
    world.sh("docker rm -f $(docker ps -aq) >/dev/null");
}

/// From node1 to node2 over the LAN.
fn machines(world: &mut World) {
    world.sh_on(
        "node2",
        "(./bench sink 9 & ./bench echo 9 &) >/dev/null 2>&1 </dev/null",
        Vec::new(),
    );
    let ip = world.playground.lan().address("node2").expect("on the LAN");
    let tcp = seconds(world, &format!("/root/bench send {ip} 9 {TCP_MIB}"));
    report(
        "TCP between two machines",
        f64::from(TCP_MIB) / tcp,
        "MiB/s",
    );
    let udp = seconds(world, &format!("/root/bench ping {ip} 9 {UDP_TRIPS}"));
    report(
        "UDP between two machines, there and back",
        f64::from(UDP_TRIPS) / udp,
        "round trips/s",
    );
}
