//! What options do to the machine's cable, and what goes through it as a file.

use std::cell::Cell;
use std::path::PathBuf;

use anyhow::{Context, bail};
use playground::{Cable, Playground, capture};

/// The link that is captured: the machine's way out.
const LINK: &str = "eth0";

/// See the module's comment.
#[derive(Default)]
pub struct Wire {
    /// How the cable is.
    pub cable: Cable,
    /// Where what goes through it is written.
    pub pcap: Option<PathBuf>,
    /// The number of the link that is captured.
    link: Cell<u32>,
}

impl Wire {
    /// Makes the cable of a machine that has just booted so, and begins to capture.
    pub fn attach(&self, playground: &mut Playground, name: &str) -> anyhow::Result<()> {
        playground.lan().set_cable(name, self.cable);
        if self.pcap.is_some() {
            let link = link(playground, name)?;
            self.link.set(link);
            playground
                .start_capture(name, link)
                .map_err(anyhow::Error::msg)?;
        }
        Ok(())
    }

    /// Writes what was captured.
    pub fn save(&self, playground: &mut Playground, name: &str) -> anyhow::Result<()> {
        let Some(path) = &self.pcap else {
            return Ok(());
        };
        let link = self.link.get();
        playground.stop_capture(name, link);
        let file = playground.captures().file(name, link).unwrap_or_default();
        std::fs::write(path, file).with_context(|| format!("writing {}", path.display()))
    }
}

fn link(playground: &Playground, name: &str) -> anyhow::Result<u32> {
    let machine = playground.machine(name).context("the machine is gone")?;
    let links = capture::interfaces(machine);
    let found = links.iter().find(|link| link.name == LINK);
    Ok(found.with_context(|| format!("{name} has no {LINK}"))?.link)
}

/// Reads `delay=MS,jitter=MS,loss=PERCENT,rate=KBIT`.
pub fn parse_cable(text: &str) -> anyhow::Result<Cable> {
    let mut cable = Cable::default();
    for part in text.split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value: f64 = value
            .parse()
            .ok()
            .filter(|value| (0.0..=1e9).contains(value))
            .with_context(|| format!("--cable {part}: not a number"))?;
        let fault = &mut cable.fault;
        match key {
            "delay" => fault.delay_ns = (value * 1e6) as u64,
            "jitter" => fault.jitter_ns = (value * 1e6) as u64,
            "loss" => fault.loss_ppm = (value * 1e4) as u32,
            "rate" => fault.rate_bps = (value * 1e3) as u64,
            _ => bail!("--cable {key}: there are delay, jitter, loss and rate"),
        }
    }
    Ok(cable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cables_are_read_from_the_command_line() {
        let cable = parse_cable("delay=1.5,loss=25").expect("right");
        assert_eq!(cable.fault.delay_ns, 1_500_000);
        assert_eq!(cable.fault.loss_ppm, 250_000);
        assert!(cable.plugged);
        for wrong in ["", "delay", "loss=x", "loss=-1", "speed=3"] {
            assert!(parse_cable(wrong).is_err(), "{wrong}");
        }
    }
}
