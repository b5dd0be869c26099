//! The driver: `fuzz TARGET RUNS SEED`.

use std::process::ExitCode;

use fuzz::TARGETS;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    let parsed = match &arguments[..] {
        [name, runs, seed] => {
            let target = TARGETS.iter().find(|target| target.name == name);
            target
                .zip(runs.parse::<u64>().ok())
                .zip(seed.parse::<u64>().ok())
        }
        _ => None,
    };
    let Some(((target, runs), seed)) = parsed else {
        eprintln!("usage: fuzz TARGET RUNS SEED\ntargets: {}", names.join(" "));
        return ExitCode::from(2);
    };
    // In small steps, so that a finding says between which seeds it is.
    let mut done: u64 = 0;
    while done < runs {
        let count = 1000.min(runs - done);
        println!("{} {}..{}", target.name, seed + done, seed + done + count);
        fuzz::run(target, count, seed + done);
        done += count;
    }
    ExitCode::SUCCESS
}
