//! Machines for tests: the emulated kernel with the standard mounts and busybox, driven in virtual time.
//!
//! The guest is Debian's static busybox, from the images: `cargo xtask images` builds them;
//! `DRYDOCK_BUSYBOX` may name the program instead.

use std::cell::RefCell;
use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;

use clock::{Clock, Executor};
use kernel::os_impl::{KernelOs, boot::mount_standard};
use kernel::{Config, Kernel, Turn};
use os::testsuite::BUSYBOX;
use os::{Os, OsExt, View};
use vfs::inode::FileSystem;
use vfs::tmpfs::{Tmpfs, TmpfsOptions};

/// A test that takes longer in the machine's own time has failed.
const VIRTUAL_NS_MAX: u64 = 120 * clock::NANOS_PER_SEC;
/// And one that executes more instructions.
const INSTRUCTIONS_MAX: u64 = 4_000_000_000;

/// The guest program.
pub fn busybox() -> Vec<u8> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/images"));
    let candidates = [
        std::env::var_os("DRYDOCK_BUSYBOX").map(PathBuf::from),
        Some(root.join("trees/busybox/bin/busybox")),
    ];
    let found = candidates
        .into_iter()
        .flatten()
        .find_map(|path| std::fs::read(path).ok());
    found.expect(
        "no riscv64 busybox: run `cargo xtask test native` once (or `cargo xtask images --unpack busybox DIR` and set \
         DRYDOCK_BUSYBOX=DIR/bin/busybox)",
    )
}

/// A machine with nothing but the standard mounts.
pub fn empty_machine() -> Rc<KernelOs> {
    let clock = Clock::new(1_700_000_000 * clock::NANOS_PER_SEC);
    let root: Rc<dyn FileSystem> = Tmpfs::new(&clock, TmpfsOptions::default());
    let kernel = Kernel::new(clock, Executor::new(), Config::default(), &root);
    mount_standard(&kernel).expect("standard mounts");
    KernelOs::new(kernel)
}

/// A machine with busybox and links to all its applets.
pub fn machine(busybox: &[u8]) -> Rc<KernelOs> {
    let os = empty_machine();
    os.mkdir_all(View::Host, b"/bin", 0o755).expect("/bin");
    os.write_file(View::Host, BUSYBOX.as_bytes(), busybox, 0o755)
        .expect("busybox");
    for applet in APPLETS.split_ascii_whitespace() {
        os.symlink(View::Host, b"busybox", format!("/bin/{applet}").as_bytes())
            .expect(applet);
    }
    os
}

const APPLETS: &str = "awk cat chmod chown cut df dd echo env expr find free grep head hostname id kill ln ls \
    mkdir mkfifo mknod mount mv nproc nsenter pgrep pidof pivot_root printf ps pwd readlink rm rmdir sed seq \
    setsid sh sleep sort stat stty su sysctl tail test timeout top touch tr true tty umount uname uniq unshare \
    uptime usleep vmstat watch wc who xargs";

/// Runs a future on the machine to its end.
pub fn drive<T: 'static>(
    os: &Rc<KernelOs>,
    future: impl Future<Output = T> + 'static,
) -> Result<T, String> {
    let kernel = Rc::clone(os.kernel());
    let result = Rc::new(RefCell::new(None));
    let slot = Rc::clone(&result);
    let _join = kernel.executor.spawn(async move {
        let value = future.await;
        *slot.borrow_mut() = Some(value);
    });
    let mut instructions = 0;
    loop {
        match kernel.turn(kernel.clock.now(), 10_000_000) {
            Turn::Crashed(text) => return Err(format!("the kernel crashed: {text}")),
            Turn::Ran {
                busy,
                next_deadline,
                used,
            } => {
                instructions += used;
                if let Some(value) = result.borrow_mut().take() {
                    return Ok(value);
                }
                if kernel.clock.now().0 > VIRTUAL_NS_MAX || instructions > INSTRUCTIONS_MAX {
                    return Err("takes too long".to_string());
                }
                match next_deadline {
                    _ if busy => {}
                    Some(deadline) => kernel.clock.advance_to(deadline),
                    None => return Err("nobody can go on".to_string()),
                }
            }
        }
    }
}
