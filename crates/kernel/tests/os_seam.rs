//! The emulated kernel passes the suite of crate `os` (`os::testsuite`). `OS_TEST=NAME` runs a part.

mod common;

use std::rc::Rc;

use os::Os;
use os::testsuite::{ALL, Test};

fn run(test: &Test, busybox: &[u8]) -> Result<(), String> {
    let os = common::machine(busybox);
    let seam: Rc<dyn Os> = os.clone();
    let outcome = common::drive(&os, (test.run)(seam));
    if outcome.is_err() {
        for line in os.kernel().log_lines() {
            eprintln!("  {}", line.text);
        }
    }
    os.kernel().power_off();
    outcome
}

#[test]
fn the_kernel_passes_the_suite_of_the_seam() {
    let busybox = common::busybox();
    let only = std::env::var("OS_TEST").unwrap_or_default();
    let mut failed = Vec::new();
    for test in ALL.iter().filter(|test| test.name.contains(&only)) {
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(test, &busybox)));
        match outcome {
            Ok(Ok(())) => println!("ok     {}", test.name),
            Ok(Err(text)) => {
                println!("FAILED {}: {text}", test.name);
                failed.push(test.name);
            }
            Err(_) => {
                println!("FAILED {}", test.name);
                failed.push(test.name);
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {} failed: {failed:#?}",
        failed.len(),
        ALL.len()
    );
}
