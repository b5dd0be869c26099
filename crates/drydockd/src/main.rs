//! Drydock natively: the same machines as in the page, in a terminal.
//!
//! `drydockd console` gives a machine's login shell; `drydockd run COMMANDS` boots a machine, runs the
//! commands in its shell and ends with their status; `drydockd serve` lets this computer's `docker` drive a
//! machine's. Images come from `cargo xtask images`.

mod console;
mod files;
mod run;
mod server;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use playground::{Config, ConsoleMode, Playground};

const USAGE: &str = "\
usage: drydockd [OPTIONS] console
       drydockd [OPTIONS] run COMMANDS
       drydockd [OPTIONS] serve [--unix PATH]... [--tcp 127.0.0.1:PORT]... [--publish]

  console        a machine's login shell in this terminal
  run COMMANDS   boot a machine, run COMMANDS with its `bash -lc`, print what they print,
                 end with their status; time is virtual: sleeping takes none
  serve          boot a machine and serve its Docker Engine API on Unix sockets and loopback addresses
                 (default: $XDG_RUNTIME_DIR/drydock.sock) until interrupted; with --publish, ports that
                 containers publish are open on 127.0.0.1 of this computer too

options:
  --images DIR   the static registry that `cargo xtask images` makes
                 (default: $DRYDOCK_IMAGES, else target/images of the checkout)
  --seed N       seed of everything random (default 1)
  --memory MIB   memory of the machine (default 1024)
  --disk MIB     size of the machine's disk (default 1024)
  --cable LIST   what is wrong with the machine's cable: delay=MS,jitter=MS,loss=PERCENT,rate=KBIT
                 (those that are to be set)
  --pcap FILE    write what goes through the machine's eth0 to FILE, for Wireshark and tcpdump -r;
                 of much traffic the last 8 MiB
  --strace       print the system calls of the machine's programs to standard error
  --backend NAME `emulated`; `linux` is not in this version
";

/// What the command line says.
pub struct Options {
    images: PathBuf,
    seed: u64,
    memory: u64,
    disk: u64,
    strace: bool,
    wire: wire::Wire,
}

impl Options {
    /// What a playground with one machine is made with.
    fn config(&self) -> Config {
        let config = Config::default();
        Config {
            seed: self.seed,
            memory: self.memory,
            disk: self.disk,
            guests: config.guests.max(3 * self.memory + 2 * self.disk),
            ..config
        }
    }

    /// A playground whose epoch is now, and the machine it begins to boot.
    fn playground(&self, console: ConsoleMode) -> anyhow::Result<(Playground, String)> {
        files::check(&self.images)?;
        let epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .context("the clock is before 1970")?;
        let mut playground = Playground::new(Config {
            epoch_ns: epoch.as_nanos() as u64,
            console,
            ..self.config()
        });
        let name = playground.add_instance().map_err(anyhow::Error::msg)?;
        Ok((playground, name))
    }
}

/// A number of mebibytes, in bytes.
fn mebibytes(option: &str, value: &str) -> anyhow::Result<u64> {
    let count: u64 = value.parse().with_context(|| option.to_string())?;
    let bytes = count.checked_mul(1 << 20).filter(|&bytes| bytes < 1 << 48);
    bytes.with_context(|| format!("{option} is too large"))
}

fn main() -> ExitCode {
    match start(std::env::args().skip(1).collect()) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("drydockd: {error:#}");
            ExitCode::from(125)
        }
    }
}

fn start(arguments: Vec<String>) -> anyhow::Result<u8> {
    let mut options = Options {
        images: default_images(),
        seed: 1,
        memory: Config::default().memory,
        disk: Config::default().disk,
        strace: false,
        wire: wire::Wire::default(),
    };
    let mut arguments = arguments.into_iter();
    let command = loop {
        let Some(argument) = arguments.next() else {
            bail!("no command\n\n{USAGE}")
        };
        let mut value = || {
            arguments
                .next()
                .with_context(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--images" => options.images = value()?.into(),
            "--seed" => options.seed = value()?.parse().context("--seed")?,
            "--memory" => options.memory = mebibytes("--memory", &value()?)?,
            "--disk" => options.disk = mebibytes("--disk", &value()?)?,
            "--cable" => options.wire.cable = wire::parse_cable(&value()?)?,
            "--pcap" => options.wire.pcap = Some(value()?.into()),
            "--strace" => options.strace = true,
            "--backend" => match value()?.as_str() {
                "emulated" => {}
                "linux" => {
                    bail!("the linux back-end is not in this version; use --backend emulated")
                }
                other => bail!("unknown back-end {other:?}: emulated or linux"),
            },
            "-h" | "--help" | "help" => {
                print!("{USAGE}");
                return Ok(0);
            }
            _ if argument.starts_with('-') => bail!("unknown option {argument}\n\n{USAGE}"),
            _ => break argument,
        }
    };
    let rest: Vec<String> = arguments.collect();
    match (command.as_str(), &rest[..]) {
        ("console", []) => console::console(&options),
        ("run", [commands]) => run::run(&options, commands),
        ("run", []) => bail!("run needs the commands as one argument"),
        ("serve", words) => server::serve(&options, &server::Arguments::parse(words)?),
        ("run", _) => bail!("run takes one argument: put the commands in quotes"),
        _ => bail!("unknown command {command:?}\n\n{USAGE}"),
    }
}

/// Where `cargo xtask images` of this checkout puts them.
fn default_images() -> PathBuf {
    match std::env::var_os("DRYDOCK_IMAGES") {
        Some(path) => path.into(),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/images")),
    }
}
