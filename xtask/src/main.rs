//! `cargo xtask`: everything about this repository that is not compiling Rust.
//!
//! One module per command, one line per command in the table below. A command's own arguments are
//! its module's business. Nothing here is part of the product; it runs natively, may use threads,
//! and may fail with `anyhow` chains.

mod added;
mod bench;
mod ci;
mod estargz;
mod hints;
mod images;
mod judge;
mod serve;
mod setup;
mod soak;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

/// A command: its name, what it does in one line, and its entry point.
struct Command {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> anyhow::Result<()>,
}

/// The command table, in the order `cargo xtask` lists it.
const COMMANDS: &[Command] = &[
    Command {
        name: "setup",
        about: "install what is missing to build, serve and test",
        run: setup::run,
    },
    Command {
        name: "images",
        about: "build the stock images from Debian packages; `images add REFERENCE` copies one",
        run: |args| match args.split_first() {
            Some((add, rest)) if add == "add" => added::run(rest),
            _ => images::run(args),
        },
    },
    Command {
        name: "serve",
        about: "build the page and serve it on loopback",
        run: serve::run,
    },
    Command {
        name: "test",
        about: "run every check CI runs",
        run: test::run,
    },
    Command {
        name: "bench",
        about: "measure, and keep the results",
        run: bench::run,
    },
    Command {
        name: "judge",
        about: "run the transcripts beside a real Docker and tell what differs",
        run: judge::run,
    },
    Command {
        name: "soak",
        about: "fifty servers under load and attack for an hour of playground time",
        run: soak::run,
    },
    Command {
        name: "ci",
        about: "what .ci/run calls",
        run: ci::run,
    },
    Command {
        name: "stage",
        about: "put the images into a build (Trunk calls it)",
        run: serve::stage,
    },
    Command {
        name: "tidy",
        about: "check the repository's own conventions",
        run: tidy::run,
    },
];

fn usage() -> String {
    let mut text = String::from("usage: cargo xtask <command> [arguments]\n\ncommands:\n");
    for command in COMMANDS {
        text.push_str(&format!("  {:<8} {}\n", command.name, command.about));
    }
    text
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(name) = args.first() else {
        print!("{}", usage());
        return ExitCode::SUCCESS;
    };
    if matches!(name.as_str(), "help" | "-h" | "--help") {
        print!("{}", usage());
        return ExitCode::SUCCESS;
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprint!("xtask: unknown command {name:?}\n\n{}", usage());
        return ExitCode::from(2);
    };
    match (command.run)(&args[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
