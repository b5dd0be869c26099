//! A short run of every target, the same inputs every time.

/// Runs per target: seconds in all, with unoptimised code.
const RUNS: u64 = 1500;

#[test]
fn every_target_survives() {
    for target in fuzz::TARGETS {
        fuzz::run(target, RUNS, 1);
    }
}

#[test]
fn the_seeds_themselves_are_read() {
    for target in fuzz::TARGETS {
        for seed in (target.seeds)() {
            (target.run)(&seed);
        }
    }
}
