//! Machines in virtual time: while somebody computes, time goes with the instructions; when all sleep, it jumps.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clock::{Instant, NANOS_PER_SEC};
use playground::{Config, ConsoleMode, Event, Machine, Playground};

#[path = "../../drydockd/src/files.rs"]
#[allow(dead_code, reason = "drydockd uses all of it")]
mod files;

/// Instructions of all machines together in a turn: how far they are ahead of each other at most.
const FUEL: u64 = 3_000_000;
/// Seconds that a command may take, in the playground's time.
const PATIENCE_S: u64 = 300;

/// See the module's text.
pub struct World {
    /// The machines.
    pub playground: Playground,
    /// Their names.
    pub nodes: Vec<String>,
    images: PathBuf,
    now: Instant,
    /// Turns in a row in which nothing happened and nothing was due.
    idle: u32,
}

/// What a command left.
pub struct Output {
    /// Its exit status.
    pub status: i32,
    /// Standard output, then standard error.
    pub text: String,
}

impl World {
    /// Boots so many machines.
    pub fn boot(images: &Path, seed: u64, machines: usize) -> Result<World> {
        files::check(images)?;
        let playground = Playground::new(Config {
            seed,
            console: ConsoleMode::None,
            epoch_ns: 1_800_000_000 * NANOS_PER_SEC,
            memory: 2 << 30,
            disk: 2 << 30,
            guests: 8 << 30,
            ..Config::default()
        });
        let mut world = World {
            playground,
            nodes: Vec::new(),
            images: images.to_path_buf(),
            now: Instant(0),
            idle: 0,
        };
        for _ in 0..machines {
            let name = world
                .playground
                .add_instance()
                .map_err(anyhow::Error::msg)?;
            while world.playground.machine(&name).is_none() {
                world.step(None)?;
            }
            world.nodes.push(name);
        }
        Ok(world)
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// A machine.
    pub fn machine(&self, node: usize) -> Result<&Machine> {
        let name = self.nodes.get(node).context("no such machine")?;
        self.playground
            .machine(name)
            .with_context(|| format!("{name} is gone"))
    }

    /// One turn. Time does not go beyond `end`.
    fn step(&mut self, end: Option<Instant>) -> Result<()> {
        let turn = self.playground.turn(self.now, FUEL);
        for event in self.playground.take_events() {
            match event {
                Event::Failed { text, .. } => bail!("{text}"),
                Event::Crashed { name, cause } => bail!("{name} crashed: {cause}"),
                Event::Added { .. }
                | Event::Deleted { .. }
                | Event::Restarted { .. }
                | Event::Off { .. }
                | Event::Hint(_) => {}
            }
        }
        if files::answer(&self.playground, &self.images) {
            return Ok(());
        }
        let next = if turn.busy {
            Some(self.now.plus(FUEL / self.nodes.len().max(1) as u64))
        } else {
            turn.next_deadline.map(|at| at.max(self.now.plus(1)))
        };
        match [next, end].into_iter().flatten().min() {
            Some(at) => (self.now, self.idle) = (at.max(self.now), 0),
            // What the owner is waiting for may just have come.
            None if self.idle < 2 => self.idle += 1,
            None => bail!("every program waits and nothing can wake one"),
        }
        Ok(())
    }

    /// Lets time pass.
    pub fn pass(&mut self, nanos: u64) -> Result<()> {
        let end = self.now.plus(nanos);
        while self.now < end {
            self.step(Some(end))?;
        }
        Ok(())
    }

    /// Runs commands on a machine in bash. That they take for ever is an error, their own failure is not.
    pub fn run(&mut self, node: usize, commands: &str) -> Result<Output> {
        let outputs = self.run_all(&[(node, commands.to_string())])?;
        outputs.into_iter().next().context("nothing was run")
    }

    /// Runs commands on several machines at the same time.
    pub fn run_all(&mut self, commands: &[(usize, String)]) -> Result<Vec<Output>> {
        let mut running = Vec::new();
        for (node, commands) in commands {
            running.push(self.machine(*node)?.run(commands, Vec::new()));
        }
        let end = self.now.plus(PATIENCE_S * NANOS_PER_SEC);
        while running.iter().any(|command| command.status().is_none()) {
            if self.now >= end {
                bail!("not done after {PATIENCE_S} s");
            }
            self.step(Some(end))?;
        }
        let output = |command: playground::machine::Command| -> Result<Output> {
            let status = command.status().context("just seen")?;
            let status = status.map_err(|errno| anyhow::anyhow!("/bin/bash: {errno}"))?;
            let printed = [&command.stdout.borrow()[..], &command.stderr.borrow()[..]].concat();
            Ok(Output {
                status: status.code(),
                text: String::from_utf8_lossy(&printed).into_owned(),
            })
        };
        running.into_iter().map(output).collect()
    }
}
