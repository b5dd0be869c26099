//! `drydockd console`: a machine's login shell in this terminal, paced by the real clock.

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, bail};
use clock::Instant;
use playground::{ConsoleMode, Event};
use rustix::termios::{self, OptionalActions, Termios};

use crate::{Options, files};

/// Instructions between looks at the keyboard.
const FUEL: u64 = 2_000_000;
/// Longest sleep: the window may have got another size meanwhile.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// The terminal in raw mode, given back as it was.
struct Raw(Termios);

impl Raw {
    fn new() -> anyhow::Result<Raw> {
        let stdin = std::io::stdin();
        let before = termios::tcgetattr(&stdin)
            .context("console needs a terminal; use `drydockd run` without one")?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(&stdin, OptionalActions::Flush, &raw)?;
        Ok(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that has gone away.
        let _ = termios::tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}

fn keyboard() -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buf = [0; 4096];
        while let Ok(count) = std::io::stdin().read(&mut buf) {
            if count == 0 || sender.send(buf[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Boots a machine and gives its login shell; ends with its status.
pub fn console(options: &Options) -> anyhow::Result<u8> {
    let (mut playground, name) = options.playground(ConsoleMode::Once)?;
    let raw = Raw::new()?;
    let keys = keyboard();
    let started = std::time::Instant::now();
    let mut size = (0, 0);
    let (mut traced, mut attached) = (false, false);
    loop {
        let now = Instant(started.elapsed().as_nanos() as u64);
        let turn = playground.turn(now, FUEL);
        for event in playground.take_events() {
            match event {
                Event::Failed { text, .. } => bail!("{text}"),
                Event::Crashed { name, cause } => bail!("{name} crashed: {cause}"),
                // The terminal is raw: a line feed alone would not return the carriage.
                Event::Hint(hint) => eprint!("\r\n{}\r\n", files::hint(&hint)),
                Event::Off { .. } => {
                    let shown = playground.output(&name, usize::MAX);
                    std::io::stdout().write_all(&shown)?;
                    drop(raw);
                    options.wire.save(&mut playground, &name)?;
                    return Ok(0);
                }
                Event::Added { .. } | Event::Deleted { .. } | Event::Restarted { .. } => {}
            }
        }
        let downloaded = files::answer(&playground, &options.images);
        let mut wait = match turn.next_deadline {
            _ if turn.busy || downloaded => Duration::ZERO,
            Some(deadline) => Duration::from_nanos(deadline.since(now)).min(SLEEP_MAX),
            None => SLEEP_MAX,
        };
        if !attached && playground.machine(&name).is_some() {
            attached = true;
            options.wire.attach(&mut playground, &name)?;
        }
        if let Some(machine) = playground.machine(&name) {
            if options.strace && !std::mem::replace(&mut traced, true) {
                machine.trace(Some(Box::new(|line| eprint!("{line}\r\n"))));
            }
            let window =
                termios::tcgetwinsize(std::io::stdout()).map(|size| (size.ws_col, size.ws_row));
            if let Ok(now) = window
                && now != size
            {
                size = now;
                machine.resize(size.0, size.1);
            }
            let output = machine.output(usize::MAX);
            std::io::stdout()
                .write_all(&output)
                .and_then(|()| std::io::stdout().flush())?;
            if let Some(status) = machine.console_ended() {
                drop(raw);
                options.wire.save(&mut playground, &name)?;
                return Ok(status.code() as u8);
            }
            if !output.is_empty() {
                wait = Duration::ZERO;
            }
            match keys.recv_timeout(wait) {
                Ok(bytes) => machine.input(&bytes),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("the keyboard is gone"),
            }
        }
    }
}
