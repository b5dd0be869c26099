//! `drydockd run`: commands in a machine, without a terminal and in virtual time.

use std::io::{IsTerminal, Read, Write};

use anyhow::{Context, bail};
use clock::Instant;
use playground::{Config, ConsoleMode, Event, Playground};

use crate::{Options, files};

/// Instructions between looks at what was printed.
const FUEL: u64 = 5_000_000;

/// Boots a machine, runs `commands` and gives their status.
pub fn run(options: &Options, commands: &str) -> anyhow::Result<u8> {
    files::check(&options.images)?;
    let mut playground = Playground::new(Config {
        // A fixed date: the same seed and commands print the same.
        epoch_ns: 1_800_000_000_000_000_000,
        console: ConsoleMode::None,
        ..options.config()
    });
    let name = playground.add_instance().map_err(anyhow::Error::msg)?;
    let mut world = World {
        playground,
        options,
        now: Instant(0),
    };
    while world.playground.machine(&name).is_none() {
        if !world.step()? {
            bail!("{name} does not start: it waits for something that never comes");
        }
    }
    let mut stdin = Vec::new();
    if !std::io::stdin().is_terminal() {
        std::io::stdin()
            .read_to_end(&mut stdin)
            .context("reading standard input")?;
    }
    options.wire.attach(&mut world.playground, &name)?;
    let machine = world
        .playground
        .machine(&name)
        .context("the machine is gone")?;
    if options.strace {
        machine.trace(Some(Box::new(|line| eprintln!("{line}"))));
    }
    let command = machine.run(commands, stdin);
    let status = loop {
        let goes_on = world.step()?;
        pass(&command.stdout, &mut std::io::stdout())?;
        pass(&command.stderr, &mut std::io::stderr())?;
        if let Some(status) = command.status() {
            break status.map_err(|error| anyhow::anyhow!("/bin/bash: {error}"))?;
        }
        if !goes_on {
            bail!("deadlock: every program waits and nothing can wake one");
        }
    };
    options.wire.save(&mut world.playground, &name)?;
    Ok(status.code() as u8)
}

fn pass(buffer: &std::cell::RefCell<Vec<u8>>, to: &mut impl Write) -> anyhow::Result<()> {
    let bytes = std::mem::take(&mut *buffer.borrow_mut());
    to.write_all(&bytes)
        .and_then(|()| to.flush())
        .context("writing output")
}

struct World<'a> {
    playground: Playground,
    options: &'a Options,
    now: Instant,
}

impl World<'_> {
    /// One turn; when nobody can go on, time jumps to the next timer. False when there is none either.
    fn step(&mut self) -> anyhow::Result<bool> {
        let turn = self.playground.turn(self.now, FUEL);
        for event in self.playground.take_events() {
            match event {
                Event::Failed { text, .. } => bail!("{text}"),
                Event::Crashed { name, cause } => bail!("{name} crashed: {cause}"),
                Event::Hint(hint) => eprintln!("{}", files::hint(&hint)),
                Event::Restarted { name } => bail!("{name} was restarted: the commands are gone"),
                Event::Off { name } => bail!("{name} was switched off: the commands are gone"),
                Event::Added { .. } | Event::Deleted { .. } => {}
            }
        }
        if files::answer(&self.playground, &self.options.images) || turn.busy {
            return Ok(true);
        }
        if let Some(deadline) = turn.next_deadline {
            self.now = self.now.max(deadline);
        }
        Ok(turn.next_deadline.is_some())
    }
}
