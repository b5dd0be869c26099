//! `cargo run --profile native -p sim -- --seed N --minutes M`: a soak, or the same one again.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use sim::soak::{self, Options};

const USAGE: &str = "\
usage: sim [OPTIONS]

options:
  --seed N        everything random follows from it (default 1)
  --minutes M     how long, in the playground's time (default 60)
  --machines N    machines (default 3)
  --servers N     servers in containers, all machines together (default 50)
  --clients N     client containers of each machine (default 4)
  --images DIR    what `cargo xtask images` made (default: target/images of the checkout)
  --quiet         print the end only
";

#[global_allocator]
static HEAP: sim::heap_unsafe::Counting = sim::heap_unsafe::Counting;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<()> {
    let mut options = Options {
        images: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/images")),
        seed: 1,
        minutes: 60,
        machines: 3,
        servers: 50,
        clients: 4,
        heap: true,
        warm_up: true,
        verbose: true,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let value = arguments.next();
            value.with_context(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--seed" => options.seed = value()?.parse().context("--seed")?,
            "--minutes" => options.minutes = value()?.parse().context("--minutes")?,
            "--machines" => options.machines = value()?.parse().context("--machines")?,
            "--servers" => options.servers = value()?.parse().context("--servers")?,
            "--clients" => options.clients = value()?.parse().context("--clients")?,
            "--images" => options.images = value()?.into(),
            "--quiet" => options.verbose = false,
            "-h" | "--help" => {
                print!("{USAGE}");
                return Ok(());
            }
            _ => bail!("unknown argument {argument}\n\n{USAGE}"),
        }
    }
    let report = soak::run(&options)?;
    println!(
        "seed {}: {} steps, {} requests answered, {} not; nothing left behind; digest {}",
        options.seed, report.steps, report.requests.0, report.requests.1, report.digest
    );
    println!("heap after the run over before: {}", report.heap[0]);
    println!("heap after the playground over before: {}", report.heap[1]);
    Ok(())
}
