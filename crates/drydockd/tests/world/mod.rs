//! Machines in virtual time, driven from outside, over the images of `target/images`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clock::Instant;
use playground::internet::Hint;
use playground::machine::Command;
use playground::{Config, ConsoleMode, Event, Fetched, Playground};

#[path = "../../src/files.rs"]
#[allow(dead_code, reason = "the program uses all of it")]
mod files;

/// Instructions per turn.
const FUEL: u64 = 5_000_000;

/// Machines, whose registry may have evil images beside the real ones.
pub struct World {
    pub playground: Playground,
    images: PathBuf,
    evil: BTreeMap<String, Vec<u8>>,
    now: Instant,
    /// False: the host answers requests for a part with the whole file.
    ranges: bool,
    pub downloads: usize,
    pub crashed: Vec<String>,
    pub hints: Vec<Hint>,
    /// Machines that were restarted or switched on (true), or off.
    pub power: Vec<(String, bool)>,
}

impl World {
    pub fn boot(evil: BTreeMap<String, Vec<u8>>) -> World {
        World::boot_from(evil, true)
    }

    pub fn boot_from(evil: BTreeMap<String, Vec<u8>>, ranges: bool) -> World {
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/images");
        files::check(&images).expect("`cargo xtask test` builds the images first");
        let playground = Playground::new(Config {
            console: ConsoleMode::None,
            // No server of today expects to be started in the first second of 1970.
            epoch_ns: 1_800_000_000_000_000_000,
            ..Config::default()
        });
        let mut world = World {
            playground,
            images,
            evil,
            now: Instant(0),
            ranges,
            downloads: 0,
            crashed: Vec::new(),
            hints: Vec::new(),
            power: Vec::new(),
        };
        world.add_machine();
        world
    }

    /// Boots another machine: `node1`, `node2`, …
    pub fn add_machine(&mut self) {
        let name = self.playground.add_instance().expect("room for a machine");
        while self.playground.machine(&name).is_none() {
            self.step();
        }
    }

    pub fn step(&mut self) {
        let turn = self.playground.turn(self.now, FUEL);
        for event in self.playground.take_events() {
            match event {
                Event::Crashed { name, cause } => self.crashed.push(format!("{name}: {cause}")),
                Event::Hint(hint) => self.hints.push(hint),
                Event::Restarted { name } => self.power.push((name, true)),
                Event::Off { name } => self.power.push((name, false)),
                event => assert!(matches!(event, Event::Added { .. }), "{event:?}"),
            }
        }
        let requests = self.playground.take_requests();
        let any = !requests.is_empty();
        for mut request in requests {
            self.downloads += 1;
            if !self.ranges {
                request.range = None;
            }
            let answer = match self.evil.get(&request.path) {
                Some(body) => Fetched {
                    status: 200,
                    body: body.clone().into(),
                },
                None => files::read(&self.images, &request).expect("readable"),
            };
            self.playground.fetched(request.id, Ok(answer));
        }
        if let (false, false, Some(deadline)) = (any, turn.busy, turn.next_deadline) {
            self.now = self.now.max(deadline);
        }
    }

    /// Starts commands on a machine.
    pub fn start(&self, node: &str, commands: &str) -> Command {
        let machine = self.playground.machine(node).expect("booted");
        machine.run(commands, Vec::new())
    }

    /// Runs commands on `node1`; gives the status and everything printed.
    pub fn sh(&mut self, commands: &str) -> (i32, String) {
        self.sh_on("node1", commands)
    }

    /// Runs commands on a machine; gives the status and everything printed.
    pub fn sh_on(&mut self, node: &str, commands: &str) -> (i32, String) {
        let command = self.start(node, commands);
        while command.status().is_none() {
            self.step();
        }
        let status = command.status().expect("just seen").expect("bash runs");
        let (out, err) = (command.stdout.borrow(), command.stderr.borrow());
        let printed = [&out[..], &err[..]].concat();
        (
            status.code(),
            String::from_utf8_lossy(&printed).into_owned(),
        )
    }
}
