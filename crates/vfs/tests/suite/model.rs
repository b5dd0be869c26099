//! Random operations on an overlay and on a plain tmpfs with the same files: the answers and what is
//! to be seen afterwards must be the same. A failing seed is printed with its operations.

use clock::Rng;

use crate::script::{World, ok};

/// Names are few, so that operations meet.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn path(rng: &Rng) -> String {
    let depth = [1, 1, 2, 2, 3][(rng.next_u64() % 5) as usize];
    let name = |_| NAMES[(rng.next_u64() % NAMES.len() as u64) as usize];
    format!("/{}", (0..depth).map(name).collect::<Vec<_>>().join("/"))
}

/// A command with `@` for the directory it works in.
fn command(rng: &Rng) -> String {
    let (one, two, n) = (path(rng), path(rng), rng.next_u64() % 1000);
    match rng.next_u64() % 22 {
        0..=2 => format!("mkdir @{one}"),
        3 => format!("write @{one} text{n}"),
        4 => format!("append @{one} +{n}"),
        5 | 6 => format!("rm @{one}"),
        7 | 8 => format!("rmdir @{one}"),
        9..=12 => format!("mv @{one} @{two}"),
        13 => format!("mv-noreplace @{one} @{two}"),
        14 => format!("mv-exchange @{one} @{two}"),
        15 => format!("ln @{one} @{two}"),
        16 => format!("symlink t{n} @{one}"),
        17 => format!("chmod {:o} @{one}", n & 0o777),
        18 => format!("setx @{one} user.k v{n}"),
        19 => format!("truncate @{one} {}", n % 10),
        20 => format!("mknod @{one} s 0 0"),
        _ => format!("touch @{one} {n}"),
    }
}

/// Everything below a directory: types, modes, content, attributes.
fn dump(world: &mut World, dir: &str, out: &mut Vec<String>, base: usize) {
    let names = ok(world, &format!("ls {dir}"));
    for name in names.split_whitespace() {
        let path = format!("{dir}/{name}");
        let stat = ok(world, &format!("stat {path}"));
        let mut line = format!("{} {stat}", &path[base..]);
        match stat.split(' ').next() {
            Some("dir") => {}
            Some("file") => {
                line += &format!(" {:?}", ok(world, &format!("cat {path}")));
                line += &format!(" {}", world.run(&format!("getx {path} user.k")));
            }
            Some("link") => line += &ok(world, &format!("readlink {path}")),
            _ => {}
        }
        out.push(line);
        if stat.starts_with("dir") {
            dump(world, &path, out, base);
        }
    }
}

fn shown(world: &mut World, dir: &str) -> Vec<String> {
    let mut out = Vec::new();
    dump(world, dir, &mut out, dir.len());
    out
}

/// Hard links within a lower layer break at copy-up, which a plain file system does not do: the
/// lower layers are made without them.
fn layer_command(rng: &Rng) -> String {
    loop {
        let line = command(rng);
        if !line.starts_with("ln") && !line.starts_with("mv") && !line.starts_with("rm") {
            return line;
        }
    }
}

fn run(seed: u64, nested: bool) {
    let rng = Rng::new(seed);
    let mut world = World::new();
    let mut log = vec![format!("seed {seed}, nested {nested}")];
    let top = if nested { "/outer" } else { "" };
    for dir in ["/plain", "/low1", "/ou", "/ow", "/outer", "/ol"] {
        ok(&mut world, &format!("mkdir {dir}"));
    }
    if nested {
        ok(
            &mut world,
            "mount overlay /outer lowerdir=/ol,upperdir=/ou,workdir=/ow",
        );
    }
    for dir in ["/low2", "/up", "/work", "/m", "/scratch"] {
        ok(&mut world, &format!("mkdir {top}{dir}"));
    }
    // Two lower layers: the second is made as the upper layer of an overlay on the first, so that it
    // has whiteouts, opaque directories and redirects of its own.
    for _ in 0..25 {
        let line = layer_command(&rng);
        let both = ["/low1", "/plain"].map(|dir| world.run(&line.replace('@', dir)));
        assert_eq!(both[0], both[1], "{log:?}");
    }
    let first = format!("lowerdir=/low1,upperdir={top}/low2,workdir={top}/scratch,redirect_dir=on");
    ok(&mut world, &format!("mount overlay {top}/m {first}"));
    let step = |world: &mut World, log: &mut Vec<String>, line: String| {
        let here = world.run(&line.replace('@', &format!("{top}/m")));
        let plain = world.run(&line.replace('@', "/plain"));
        if here != plain || !plain.starts_with('!') {
            log.push(format!("{line} -> {plain}"));
        }
        assert_eq!(here, plain, "{}", log.join("\n"));
    };
    for _ in 0..30 {
        let mut line = command(&rng);
        while line.starts_with("ln") {
            line = command(&rng);
        }
        step(&mut world, &mut log, line);
    }
    ok(&mut world, &format!("umount {top}/m"));
    let data =
        format!("lowerdir={top}/low2:/low1,upperdir={top}/up,workdir={top}/work,redirect_dir=on");
    ok(&mut world, &format!("mount overlay {top}/m {data}"));
    log.push("second layer".to_string());
    let before = shown(&mut world, "/low1");
    for round in 0..6 {
        assert_eq!(
            shown(&mut world, &format!("{top}/m")),
            shown(&mut world, "/plain"),
            "{}",
            log.join("\n")
        );
        for _ in 0..25 {
            step(&mut world, &mut log, command(&rng));
        }
        if round % 2 == 1 {
            // All that matters must be in the layers.
            ok(&mut world, &format!("umount {top}/m"));
            ok(&mut world, &format!("mount overlay {top}/m {data}"));
            log.push("mounted again".to_string());
        }
    }
    assert_eq!(
        shown(&mut world, "/low1"),
        before,
        "the lower layer changed: {}",
        log.join("\n")
    );
}

#[test]
fn an_overlay_behaves_as_a_plain_file_system() {
    for seed in 0..seeds(150) {
        run(seed, false);
    }
}

#[test]
fn an_overlay_on_an_overlay_behaves_as_a_plain_file_system() {
    for seed in 0..seeds(60) {
        run(1_000_000 + seed, true);
    }
}

/// More for a longer run: `VFS_SEEDS=20000 cargo test -p vfs --release model`.
fn seeds(usual: u64) -> u64 {
    std::env::var("VFS_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}

/// Writes random transcripts with our answers, for a real kernel to judge:
/// `VFS_RANDOM=/tmp/random cargo test -p vfs random`, then `on_linux.py /tmp/random/*`.
#[test]
fn random_transcripts_are_written_on_demand() {
    let Ok(folder) = std::env::var("VFS_RANDOM") else {
        return;
    };
    std::fs::create_dir_all(&folder).unwrap();
    for seed in 0..seeds(100) {
        std::fs::write(format!("{folder}/{seed}.txt"), random_transcript(seed)).unwrap();
    }
}

fn random_transcript(seed: u64) -> String {
    let rng = Rng::new(seed);
    let mut world = World::new();
    let mut text = format!("# seed {seed}\n");
    let mut add = |world: &mut World, line: String| {
        let answer = world.run(&line);
        text += &format!("$ {line}\n");
        if !answer.is_empty() {
            text += &format!("{answer}\n");
        }
    };
    for dir in ["/l1", "/l2", "/u", "/w", "/w2", "/m"] {
        add(&mut world, format!("mkdir {dir}"));
    }
    for _ in 0..30 {
        add(&mut world, layer_command(&rng).replace('@', "/l1"));
    }
    let lower = [
        "lowerdir=/l1,upperdir=/l2,workdir=/w2",
        "lowerdir=/l2:/l1,upperdir=/u,workdir=/w",
    ];
    for layers in lower {
        add(
            &mut world,
            format!("mount overlay /m {layers},redirect_dir=on"),
        );
        for _ in 0..60 {
            add(&mut world, command(&rng).replace('@', "/m"));
            if rng.next_u64().is_multiple_of(4) {
                add(&mut world, format!("stat /m{}", path(&rng)));
                add(&mut world, format!("ls /m{}", path(&rng)));
                add(&mut world, format!("nlink /m{}", path(&rng)));
                add(&mut world, format!("ls /u{}", path(&rng)));
                add(&mut world, format!("stat /u{}", path(&rng)));
                add(
                    &mut world,
                    format!("getx /u{} trusted.overlay.redirect", path(&rng)),
                );
            }
        }
        add(&mut world, "umount /m".to_string());
    }
    text
}
