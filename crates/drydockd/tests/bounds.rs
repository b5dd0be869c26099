//! All machines together stay within the playground's memory: five that fill everything they have get
//! errors or are killed for it, each in its own machine, and go on.

use std::path::{Path, PathBuf};

use clock::Instant;
use playground::{Config, ConsoleMode, Event, Playground};

#[path = "../src/files.rs"]
#[allow(dead_code, reason = "the program uses all of it")]
mod files;

/// Instructions per turn.
const FUEL: u64 = 5_000_000;
const MACHINES: usize = 5;
const MIB: u64 = 1 << 20;
/// Bytes for all guests: less than what five machines could use.
const GUESTS: u64 = 700 * MIB;

struct World {
    playground: Playground,
    images: PathBuf,
    now: Instant,
    used_max: u64,
}

impl World {
    fn step(&mut self) {
        let turn = self.playground.turn(self.now, FUEL);
        self.used_max = self.used_max.max(self.playground.guest_bytes());
        for event in self.playground.take_events() {
            let expected = matches!(event, Event::Added { .. } | Event::Deleted { .. });
            assert!(expected, "{event:?}");
        }
        let requests = self.playground.take_requests();
        let any = !requests.is_empty();
        for request in requests {
            let answer = files::read(&self.images, &request).expect("readable");
            self.playground.fetched(request.id, Ok(answer));
        }
        if let (false, false, Some(deadline)) = (any, turn.busy, turn.next_deadline) {
            self.now = self.now.max(deadline);
        }
    }

    /// Runs commands in all machines at the same time; gives what each printed.
    fn everywhere(&mut self, names: &[String], commands: &str) -> Vec<String> {
        let start = |name: &String| {
            let machine = self.playground.machine(name).expect("it is there");
            machine.run(commands, Vec::new())
        };
        let running: Vec<_> = names.iter().map(start).collect();
        while running.iter().any(|command| command.status().is_none()) {
            self.step();
        }
        let output = |command: &playground::machine::Command| {
            let text = [
                command.stdout.borrow().clone(),
                command.stderr.borrow().clone(),
            ]
            .concat();
            String::from_utf8_lossy(&text).into_owned()
        };
        running.iter().map(output).collect()
    }
}

#[test]
fn five_greedy_machines_share_one_budget() {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/images");
    files::check(&images).expect("`cargo xtask test` builds the images first");
    let mut playground = Playground::new(Config {
        console: ConsoleMode::None,
        memory: 128 * MIB,
        disk: 128 * MIB,
        guests: GUESTS,
        ..Config::default()
    });
    let add = |_| playground.add_instance().expect("there may be five");
    let names: Vec<String> = (0..MACHINES).map(add).collect();
    let mut world = World {
        playground,
        images,
        now: Instant(0),
        used_max: 0,
    };
    while names
        .iter()
        .any(|name| world.playground.machine(name).is_none())
    {
        world.step();
    }
    let fresh = world.playground.guest_bytes();

    // Disk, memory files and memory, all of it, and what each machine says to that.
    let greedy = "dd if=/dev/zero of=/fill bs=64K 2>&1 | head -n 1\n\
        dd if=/dev/zero of=/dev/shm/fill bs=64K count=320 status=none\n\
        (echo 1000 > /proc/self/oom_score_adj; exec tail /dev/zero) 2>/dev/null; echo $?";
    for output in world.everywhere(&names, greedy) {
        assert!(
            output.starts_with("dd: error writing '/fill': No space left on device\n"),
            "{output}"
        );
        let line = output.lines().nth(1);
        assert_eq!(line, Some("137"), "{output}");
    }
    assert!(
        world.used_max <= GUESTS,
        "{} bytes of {GUESTS}",
        world.used_max
    );
    assert!(
        world.used_max > GUESTS / 2,
        "{} bytes of {GUESTS}: nobody was greedy",
        world.used_max
    );

    let free = "rm /fill /dev/shm/fill; echo alive; df --output=pcent / | tail -n 1";
    for output in world.everywhere(&names, free) {
        let words: Vec<&str> = output.split_whitespace().collect();
        assert!(matches!(words[..], ["alive", "1%" | "2%"]), "{output}");
    }
    let after = world.playground.guest_bytes();
    assert!(
        after < fresh + 16 * MIB,
        "{after} bytes after {fresh} at the start"
    );

    for name in &names {
        world.playground.delete_instance(name).expect("it is there");
    }
    world.step();
    let left = world.playground.guest_bytes();
    assert_eq!(
        left,
        world.playground.image_bytes(),
        "machines leave nothing behind"
    );
}
