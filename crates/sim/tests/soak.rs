//! The short soak, and that a run can be repeated. The long one is `cargo xtask soak`.

use std::path::Path;

use sim::soak::{self, Options};

#[global_allocator]
static HEAP: sim::heap_unsafe::Counting = sim::heap_unsafe::Counting;

fn options(seed: u64, minutes: u64) -> Options {
    Options {
        images: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/images"),
        seed,
        minutes,
        machines: 2,
        servers: 8,
        clients: 1,
        heap: true,
        warm_up: true,
        verbose: false,
    }
}

#[test]
fn minutes_of_load_and_attack_leave_nothing_behind() {
    let report = soak::run(&options(1, 2)).unwrap();
    assert!(report.steps > 30, "{report:?}");
    assert!(report.requests.0 > 50, "{report:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let options = Options {
        servers: 6,
        warm_up: false,
        ..options(7, 1)
    };
    let run = || soak::run(&options).unwrap();
    let (first, second) = (run(), run());
    assert_eq!(first.digest, second.digest, "{first:?} {second:?}");
}
