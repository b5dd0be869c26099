//! The run: warm up, count, load and steps, mend, answer, remove, count again.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clock::{Instant, NANOS_PER_SEC, Rng};
use playground::Fault;

use crate::check::{self, Census};
use crate::digest::Digest;
use crate::heap_unsafe::Heap;
use crate::plan::{CLIENT, Kind, Life, NETWORK, Server};
use crate::steps::{PULLED, STEPS};
use crate::world::World;

/// What is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The images of `cargo xtask images`.
    pub images: PathBuf,
    /// Everything random follows from it.
    pub seed: u64,
    /// Minutes of the playground's time.
    pub minutes: u64,
    /// Machines.
    pub machines: usize,
    /// Servers, each in a container.
    pub servers: usize,
    /// Client containers of each machine.
    pub clients: usize,
    /// The program's allocator is [`crate::heap_unsafe::Counting`]: what it counts is compared, too.
    pub heap: bool,
    /// Everything is done once before the first count. Without that nothing is compared: for runs that are
    /// compared with each other.
    pub warm_up: bool,
    /// Steps are printed as they happen.
    pub verbose: bool,
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Report {
    /// The number of the whole run.
    pub digest: Digest,
    /// Steps.
    pub steps: u64,
    /// Requests of clients that were answered, and those that were not.
    pub requests: (u64, u64),
    /// Growth of the heap between the two counts, and what was left when the playground was gone.
    pub heap: [String; 2],
}

/// Bytes that may be left of a playground, or more after the run than before: tables that have grown, text
/// that is kept up to a bound (the kernel's log, events).
const HEAP_BYTES: i64 = 4 << 20;
/// What the code that was decoded since may be on the heap.
const CODE_BYTES: i64 = 48 << 20;
/// The kernel remembers connections for up to five days.
const SETTLE_S: u64 = 6 * 24 * 3600;

/// A run.
pub struct Soak {
    /// The machines.
    pub world: World,
    /// The servers.
    pub servers: Vec<Server>,
    options: Options,
    rng: Rng,
    digest: Digest,
    /// Steps so far.
    step: u64,
    /// When a machine's cable is good again.
    healing: Vec<(Instant, usize)>,
}

/// Runs it all. A failure says the seed and the step.
pub fn run(options: &Options) -> Result<Report> {
    let before = Heap::now();
    let mut report = {
        let world = World::boot(&options.images, options.seed, options.machines)?;
        let mut soak = Soak {
            world,
            servers: Vec::new(),
            options: options.clone(),
            rng: Rng::new(options.seed ^ 0x5150),
            digest: Digest::default(),
            step: 0,
            healing: Vec::new(),
        };
        let outcome = soak.whole();
        outcome.with_context(|| format!("seed {}, step {}", soak.options.seed, soak.step))?
    };
    let after = Heap::now();
    report.heap[1] = after.growth(&before);
    if options.heap && after.bytes - before.bytes > HEAP_BYTES {
        bail!(
            "seed {}: a playground is gone and its memory is not: {}",
            options.seed,
            report.heap[1]
        );
    }
    Ok(report)
}

impl Soak {
    fn whole(&mut self) -> Result<Report> {
        if self.options.warm_up {
            self.warm_up().context("warming up")?;
        }
        let (before, heap_before) = (check::census(&self.world)?, Heap::now());
        self.note(&format!("before: {before:?}"));
        self.set_up(self.options.servers, self.options.clients)?;
        let end = self
            .world
            .now()
            .plus(self.options.minutes * 60 * NANOS_PER_SEC);
        while self.world.now() < end {
            let pause = 500 + self.below(4500);
            self.world.pass(pause * 1_000_000)?;
            self.heal_due(false);
            self.any_step()?;
        }
        self.mend()?;
        self.everybody_answers()?;
        let requests = self.requests()?;
        self.tear_down()?;
        let after = check::census(&self.world)?;
        self.note(&format!("after: {after:?}"));
        let leaks = check::leaks(&before, &after);
        if !leaks.is_empty() && self.options.warm_up {
            bail!("left behind:\n{leaks}");
        }
        let heap_after = Heap::now();
        let growth = heap_after.growth(&heap_before);
        if self.options.heap && self.options.warm_up {
            let code = decoded(&after) - decoded(&before);
            let grown = heap_after.bytes - heap_before.bytes - code.clamp(0, CODE_BYTES);
            if grown > HEAP_BYTES {
                bail!("the heap has grown ({code} bytes of it decoded code): {growth}");
            }
        }
        Ok(Report {
            digest: self.digest,
            steps: self.step,
            requests,
            heap: [growth, String::new()],
        })
    }

    // ---- the parts of a run ----

    /// Everything once, and away again: what is made at first use is there when it is counted.
    fn warm_up(&mut self) -> Result<()> {
        self.set_up(self.options.machines * Kind::ALL.len(), 1)?;
        for (_, name, step) in STEPS {
            self.do_step(name, step)?;
        }
        for node in 0..self.options.machines {
            // The bridge has a link-local address since it first had a carrier, as on Linux.
            self.must(node, "docker run --rm busybox true")?;
            // Where a layer came from is remembered when the layer is gone, as in Docker.
            self.must(
                node,
                &format!("for i in {}; do docker pull -q $i; done", PULLED.join(" ")),
            )?;
        }
        self.mend()?;
        self.tear_down()
    }

    fn set_up(&mut self, servers: usize, clients: usize) -> Result<()> {
        let machines = self.options.machines;
        self.servers = (0..servers)
            .map(|number| Server::new(number, machines))
            .collect();
        let mut scripts = Vec::new();
        for node in 0..machines {
            let mut script = format!(
                "set -e\ncat >/root/client.sh <<'END'\n{CLIENT}END\ndocker network create {NETWORK}\n"
            );
            for kind in Kind::ALL {
                script.push_str(&format!("docker pull -q {}\n", kind.image()));
            }
            for server in self.servers.iter().filter(|server| server.node == node) {
                script.push_str(&server.run());
                script.push('\n');
            }
            for client in 0..clients {
                let targets = self.targets(node);
                script.push_str(&format!(
                    "docker run -d --name c{client} --network {NETWORK} -v /root/client.sh:/client.sh:ro busybox sh /client.sh {targets}\n"
                ));
            }
            scripts.push((node, script));
        }
        let outputs = self.world.run_all(&scripts)?;
        for (output, (node, _)) in outputs.iter().zip(&scripts) {
            let shown = output.text.lines().count();
            self.note(&format!("set up node{}: {shown} lines", node + 1));
            if output.status != 0 {
                bail!("setting up node{}: {}", node + 1, output.text);
            }
        }
        // Servers take a moment.
        self.world.pass(10 * NANOS_PER_SEC)
    }

    /// What a client of a machine asks, in an order of its own.
    fn targets(&mut self, node: usize) -> String {
        let nodes = self.world.nodes.clone();
        let mut targets: Vec<String> = self
            .servers
            .iter()
            .filter_map(|server| {
                if server.node == node {
                    Some(server.target())
                } else {
                    server.remote_target(&nodes[server.node])
                }
            })
            .collect();
        for at in (1..targets.len()).rev() {
            targets.swap(at, self.below(at as u64 + 1) as usize);
        }
        targets.join(" ")
    }

    fn any_step(&mut self) -> Result<()> {
        let total: u32 = STEPS.iter().map(|(weight, ..)| weight).sum();
        let mut dice = self.below(u64::from(total)) as u32;
        for (weight, name, step) in STEPS {
            if dice < weight {
                return self.do_step(name, step);
            }
            dice -= weight;
        }
        Ok(())
    }

    fn do_step(&mut self, name: &str, step: crate::steps::Step) -> Result<()> {
        self.step += 1;
        step(self).with_context(|| format!("{name:?}"))
    }

    /// Cables are good, nobody is paused or stopped, and has had time to come back.
    fn mend(&mut self) -> Result<()> {
        self.heal_due(true);
        for index in 0..self.servers.len() {
            let server = self.servers[index].clone();
            let verb = match server.life {
                Life::Up(_) => continue,
                Life::Stopped => "start",
                Life::Paused => "unpause",
            };
            self.must(server.node, &format!("docker {verb} {}", server.name))?;
            self.servers[index].life = Life::Up(self.world.now());
        }
        self.world.pass(90 * NANOS_PER_SEC)
    }

    /// Every server answers a client beside it, and one on another machine if it is published.
    fn everybody_answers(&mut self) -> Result<()> {
        let nodes = self.world.nodes.clone();
        for server in self.servers.clone() {
            let ask = |target: &str| format!("docker exec c0 sh /client.sh check {target}");
            self.must(server.node, &ask(&server.target()))?;
            let other = (server.node + 1) % nodes.len();
            if let Some(target) = server.remote_target(&nodes[server.node])
                && other != server.node
            {
                self.must(other, &ask(&target))?;
            }
        }
        Ok(())
    }

    /// What the clients counted. One that was never answered is a failure.
    fn requests(&mut self) -> Result<(u64, u64)> {
        let mut total = (0, 0);
        for node in 0..self.options.machines {
            for client in 0..self.options.clients {
                let printed = self.must(node, &format!("docker exec c{client} cat /hits"))?;
                let counts: Vec<u64> = printed
                    .split_whitespace()
                    .filter_map(|word| word.parse().ok())
                    .collect();
                let [answered, failed] = counts[..] else {
                    bail!("c{client} of node{}: {printed:?}", node + 1);
                };
                if answered == 0 {
                    bail!("c{client} of node{} was never answered", node + 1);
                }
                total = (total.0 + answered, total.1 + failed);
            }
        }
        Ok(total)
    }

    fn tear_down(&mut self) -> Result<()> {
        let commands = "set -e; docker rm -f $(docker ps -aq) >/dev/null; docker network rm app; docker network prune -f; docker volume prune -af; \
            docker rmi -f $(docker images -aq) >/dev/null; rm -f /root/client.sh; docker ps -aq; docker images -q; docker volume ls -q";
        self.servers.clear();
        for node in 0..self.options.machines {
            self.must(node, commands)?;
        }
        self.world.pass(SETTLE_S * NANOS_PER_SEC)
    }

    // ---- for the steps ----

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.rng.next_u64() % end
    }

    /// Something happened: it is part of the run's digest.
    pub fn note(&mut self, text: &str) {
        let at = self.world.now().0;
        let line = format!(
            "{:5} {:9.3} {}\n",
            self.step,
            at as f64 / 1e9,
            text.trim_end()
        );
        self.digest.add(&at.to_le_bytes());
        self.digest.add(line.as_bytes());
        if self.options.verbose {
            print!("{line}");
        }
    }

    /// Runs commands that must not fail; gives what they printed.
    pub fn must(&mut self, node: usize, commands: &str) -> Result<String> {
        let name = format!("node{}", node + 1);
        let output = self
            .world
            .run(node, commands)
            .with_context(|| format!("{name}: {commands}"))?;
        let shown: String = output.text.lines().collect::<Vec<_>>().join(" | ");
        self.note(&format!("{name}: {commands} -> {} {shown}", output.status));
        if output.status != 0 {
            bail!(
                "{name}: {commands}: status {}: {}",
                output.status,
                output.text
            );
        }
        Ok(output.text)
    }

    /// The cable of a machine is good again within so many seconds.
    pub fn heal_later(&mut self, node: usize, seconds_max: u64) {
        let after = 1 + self.below(seconds_max);
        let at = self.world.now().plus(after * NANOS_PER_SEC);
        self.healing.push((at, node));
    }

    fn heal_due(&mut self, all: bool) {
        let now = self.world.now();
        let due = |entry: &(Instant, usize)| all || entry.0 <= now;
        for (_, node) in self
            .healing
            .extract_if(.., |entry| due(entry))
            .collect::<Vec<_>>()
        {
            let name = self.world.nodes[node].clone();
            self.note(&format!("{name}: its cable is good"));
            let lan = self.world.playground.lan();
            lan.set_fault(&name, Fault::default());
            lan.plug(&name, true);
        }
    }
}

fn decoded(census: &[Census]) -> i64 {
    let bytes = census
        .iter()
        .filter_map(|one| one.get("decoded code bytes"));
    bytes.sum::<u64>() as i64
}
