//! The emulated kernel passes the suite of crate `os` (`os::testsuite`).
//!
//! The guest is Debian's static busybox, from the images: `cargo xtask images` builds them;
//! `DRYDOCK_BUSYBOX` may name the program instead. Time is virtual: the machine jumps from deadline to
//! deadline.

use std::path::PathBuf;
use std::rc::Rc;

use clock::{Clock, Executor};
use kernel::os_impl::{KernelOs, boot::mount_standard};
use kernel::{Config, Kernel, Turn};
use os::testsuite::{ALL, BUSYBOX, Test};
use os::{Os, OsExt, View};
use vfs::inode::FileSystem;
use vfs::tmpfs::{Tmpfs, TmpfsOptions};

/// A test that takes longer in the machine's own time has failed.
const VIRTUAL_NS_MAX: u64 = 120 * clock::NANOS_PER_SEC;
/// And one that executes more instructions.
const INSTRUCTIONS_MAX: u64 = 4_000_000_000;

fn busybox() -> Vec<u8> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/images"));
    let candidates = [
        std::env::var_os("DRYDOCK_BUSYBOX").map(PathBuf::from),
        Some(root.join("trees/busybox/bin/busybox")),
        Some(root.join("quick/busybox/bin/busybox")),
    ];
    let found = candidates
        .into_iter()
        .flatten()
        .find_map(|path| std::fs::read(path).ok());
    found.expect(
        "no riscv64 busybox: run `cargo xtask images` (or `cargo xtask images --unpack busybox DIR` and set \
         DRYDOCK_BUSYBOX=DIR/bin/busybox)",
    )
}

fn machine(busybox: &[u8]) -> Rc<KernelOs> {
    let clock = Clock::new(1_700_000_000 * clock::NANOS_PER_SEC);
    let root: Rc<dyn FileSystem> = Tmpfs::new(&clock, TmpfsOptions::default());
    let kernel = Kernel::new(clock, Executor::new(), Config::default(), &root);
    mount_standard(&kernel).expect("standard mounts");
    let os = KernelOs::new(kernel);
    os.mkdir_all(View::Host, b"/bin", 0o755).expect("/bin");
    os.write_file(View::Host, BUSYBOX.as_bytes(), busybox, 0o755)
        .expect("busybox");
    for applet in [
        "cat", "grep", "hostname", "id", "ls", "mkdir", "mount", "readlink", "sh", "sleep", "sort",
        "stty", "test", "tr", "true", "tty",
    ] {
        os.symlink(View::Host, b"busybox", format!("/bin/{applet}").as_bytes())
            .expect(applet);
    }
    os
}

fn run(test: &Test, busybox: &[u8]) -> Result<(), String> {
    let os = machine(busybox);
    let kernel = Rc::clone(os.kernel());
    let join = kernel.executor.spawn((test.run)(os));
    let mut instructions = 0;
    let outcome = loop {
        let now = kernel.clock.now();
        match kernel.turn(now, 10_000_000) {
            Turn::Crashed(text) => break Err(format!("the kernel crashed: {text}")),
            Turn::Ran {
                busy,
                next_deadline,
                used,
            } => {
                instructions += used;
                if join.is_finished() {
                    break Ok(());
                }
                if kernel.clock.now().0 > VIRTUAL_NS_MAX || instructions > INSTRUCTIONS_MAX {
                    break Err("takes too long".to_string());
                }
                match next_deadline {
                    _ if busy => {}
                    Some(deadline) => kernel.clock.advance_to(deadline),
                    None => break Err("nobody can go on".to_string()),
                }
            }
        }
    };
    if outcome.is_err() {
        for line in kernel.log_lines() {
            eprintln!("  {}", line.text);
        }
    }
    kernel.power_off();
    outcome
}

#[test]
fn the_kernel_passes_the_suite_of_the_seam() {
    let busybox = busybox();
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
