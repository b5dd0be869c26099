//! Transcripts of a simulated LAN: `$ command`, and what it prints. `UPDATE=1` writes the files anew.
//!
//! A world is machines on one switch; `m1` is the machine's own namespace, `m1/c1` another in it. Commands
//! have the shape of the tools they stand for (`ip`, `iptables`, `ping`); `world` says what they do.

mod world;

use std::fs;
use std::path::Path;

fn run(text: &str) -> String {
    let mut world = world::World::new();
    let mut out = String::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            out += line;
            out.push('\n');
            out += &world.command(command);
        } else if line.starts_with('#') || line.is_empty() {
            out += line;
            out.push('\n');
        }
    }
    out
}

#[test]
fn transcripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/netsim");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "txt"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let mut wrong = String::new();
    for path in files {
        let expected = fs::read_to_string(&path).unwrap();
        let found = run(&expected);
        assert_eq!(found, run(&expected), "{path:?} is not the same twice");
        if found != expected {
            if std::env::var_os("UPDATE").is_some() {
                fs::write(&path, found).unwrap();
                continue;
            }
            wrong += &format!("{}:\n", path.display());
            for (number, pair) in expected.lines().zip(found.lines()).enumerate() {
                if pair.0 != pair.1 {
                    wrong += &format!("line {}\n  -{}\n  +{}\n", number + 1, pair.0, pair.1);
                    break;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
