//! What the page shows of a machine's Docker, and images between the user's files and it.

use std::collections::BTreeMap;

use playground::transfer::TransferEvent;
use playground::views::{Document, Look, Part, View};
use serde_json::Value;
use world::World;

mod world;

fn look(view: View, container: Option<&str>) -> Option<Look> {
    let container = container.map(str::to_string);
    Some(Look { view, container })
}

/// The last document of each part.
#[derive(Default)]
struct Shown(BTreeMap<Part, Value>);

impl Shown {
    /// Goes on until the document of this part is as it should be; gives it.
    fn until(&mut self, world: &mut World, part: Part, is: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..1000 {
            for document in world.playground.views().take() {
                let mut value: Value = serde_json::from_str(&document.text).expect("JSON");
                if document.part == Part::Events
                    && let Some(Value::Array(known)) = self.0.remove(&Part::Events)
                {
                    // New ones only.
                    let new = value.as_array().cloned().unwrap_or_default();
                    value = [known, new].concat().into();
                }
                self.0.insert(document.part, value);
            }
            if let Some(value) = self.0.get(&part).filter(|value| is(value)) {
                return value.clone();
            }
            world.step();
        }
        panic!("{part:?} is not as it should be: {:#?}", self.0.get(&part));
    }
}

fn row<'a>(rows: &'a Value, key: &str, value: &str) -> &'a Value {
    let mut all = rows.as_array().expect("a list").iter();
    let found = all.find(|row| row[key] == value || row[key][0] == value);
    found.unwrap_or_else(|| panic!("no {key} {value}: {rows:#}"))
}

#[test]
fn containers_change_as_events_say_and_nothing_is_told_when_nobody_looks() {
    let (mut world, mut shown) = (World::boot(BTreeMap::new()), Shown::default());
    world.playground.look("node1", look(View::Containers, None));
    shown.until(&mut world, Part::Containers, |rows| {
        rows == &Value::Array(Vec::new())
    });
    world.sh(
        "docker run -d --name one --memory 64m --cpus 0.5 --restart on-failure busybox sleep 9999",
    );
    let rows = shown.until(&mut world, Part::Containers, |rows| {
        rows[0]["State"] == "running" && rows[0]["Status"] != "Up Less than a second"
    });
    let one = row(&rows, "Names", "/one");
    let inspect = &one["Inspect"];
    assert_eq!(inspect["HostConfig"]["Memory"], 64 << 20);
    assert_eq!(inspect["HostConfig"]["NanoCpus"], 500_000_000);
    assert_eq!(inspect["HostConfig"]["RestartPolicy"]["Name"], "on-failure");
    assert_eq!(inspect["Networks"]["bridge"]["IPAddress"], "172.17.0.2");
    let stats = shown.until(&mut world, Part::Stats, |rows| {
        rows[0]["Memory"].as_u64() > Some(0)
    });
    assert_eq!(
        (&stats[0]["Id"], &stats[0]["Limit"]),
        (&one["Id"], &Value::from(64 << 20))
    );

    world.sh("docker run -d --name busy busybox sh -c 'while :; do :; done'");
    let stats = shown.until(&mut world, Part::Stats, |rows| {
        let rows = rows.as_array().into_iter().flatten();
        rows.into_iter().any(|row| row["Cpu"].as_u64() > Some(1000))
    });
    assert_eq!(stats.as_array().map(Vec::len), Some(2));
    world.sh("docker kill busy; docker rm busy; docker stop -t 0 one");
    let rows = shown.until(&mut world, Part::Containers, |rows| {
        rows[0]["State"] == "exited"
    });
    assert_eq!(rows[0]["Inspect"]["State"]["ExitCode"], 137);
    assert_eq!(rows.as_array().map(Vec::len), Some(1));

    world.playground.look("node1", None);
    world.sh("docker start one; sleep 3");
    assert_eq!(world.playground.views().take(), Vec::<Document>::new());
    assert!(world.crashed.is_empty(), "{:?}", world.crashed);
}

#[test]
fn details_say_what_a_container_changed_and_what_was_copied_up() {
    let (mut world, mut shown) = (World::boot(BTreeMap::new()), Shown::default());
    // Between two commands the clock goes to the next deadline: the view's is never far.
    world.playground.look("node1", look(View::Events, None));
    let (_, printed) = world.sh(
        "docker run -d --name one busybox sh -c 'echo said; echo more >> /etc/passwd; echo new > /etc/new; \
         mv /etc/new /etc/group; rm /etc/shadow; echo here > /root/added; exec sleep 9999'; sleep 2; \
         docker run --rm busybox wc -c /etc/passwd /etc/group",
    );
    let words: Vec<&str> = printed.split_whitespace().collect();
    let size = |name| {
        let at = words.iter().position(|word| *word == name).expect(name);
        words[at - 1].parse::<u64>().expect("a size")
    };
    world
        .playground
        .look("node1", look(View::Containers, Some(words[0])));
    let details = shown.until(&mut world, Part::Details, |it| it["Logs"] == "said\n");
    assert_eq!(details["Inspect"]["Name"], "/one");
    let change = |path| row(&details["Changes"], "Path", path);
    let passwd = change("/etc/passwd");
    let below = serde_json::json!({ "Layer": 0, "Size": size("/etc/passwd"), "Copied": true });
    assert_eq!(
        (&passwd["Kind"], &passwd["Below"]),
        (&Value::from(0), &below)
    );
    assert_eq!(passwd["Size"], size("/etc/passwd") + 5);
    // A new file in the place of an old one was not copied from it.
    let group = change("/etc/group");
    let below = serde_json::json!({ "Layer": 0, "Size": size("/etc/group"), "Copied": false });
    assert_eq!((&group["Size"], &group["Below"]), (&Value::from(4), &below));
    assert_eq!(change("/etc/shadow")["Kind"], 2);
    assert_eq!(change("/etc")["Directory"], true);
    assert_eq!(change("/root/added")["Kind"], 1);
    assert_eq!(change("/root/added")["Below"], Value::Null);

    // What it changes without an event is seen too.
    let (_, printed) = world.sh("docker exec one touch /root/later && echo done");
    assert_eq!(printed, "done\n");
    shown.until(&mut world, Part::Details, |it| {
        let mut all = it["Changes"].as_array().into_iter().flatten();
        all.any(|row| row["Path"] == "/root/later")
    });
    world.sh("docker rm -f one");
    shown.until(&mut world, Part::Details, Value::is_null);
}

#[test]
fn images_networks_volumes_and_events_are_the_engines() {
    let (mut world, mut shown) = (World::boot(BTreeMap::new()), Shown::default());
    world.sh("docker pull -q busybox; docker network create web; docker volume create data");
    world.playground.look("node1", look(View::Images, None));
    let rows = shown.until(&mut world, Part::Images, |rows| {
        rows[0]["Layers"].is_array()
    });
    let busybox = row(&rows, "RepoTags", "busybox:latest");
    assert_eq!(busybox["Layers"].as_array().map(Vec::len), Some(1));
    assert!(
        busybox["History"][0]["CreatedBy"].is_string(),
        "{busybox:#}"
    );
    world.sh("docker tag busybox mine:1");
    shown.until(&mut world, Part::Images, |rows| {
        rows[0]["RepoTags"].as_array().map(Vec::len) == Some(2)
    });

    world.playground.look("node1", look(View::Networks, None));
    shown.until(&mut world, Part::Networks, |rows| {
        rows.as_array().map(Vec::len) == Some(4)
    });
    world.sh("docker run -d --name one --network web --network-alias alias -v data:/data busybox sh -c 'echo four > /data/f; sleep 9999'");
    let rows = shown.until(&mut world, Part::Networks, |rows| {
        row(rows, "Name", "web")["Containers"]
            .as_object()
            .is_some_and(|all| all.len() == 1)
    });
    let attached = row(&rows, "Name", "web")["Containers"]
        .as_object()
        .expect("seen")
        .values();
    assert_eq!(attached.map(|it| &it["Name"]).collect::<Vec<_>>(), ["one"]);

    world.playground.look("node1", look(View::Volumes, None));
    let rows = shown.until(&mut world, Part::Volumes, |rows| {
        rows[0]["UsageData"]["Size"] == 5
    });
    assert_eq!(rows[0]["Name"], "data");

    // Who begins to look hears of what happened before.
    shown.0.clear();
    world.playground.look("node1", None);
    world.playground.look("node1", look(View::Events, None));
    let events = shown.until(&mut world, Part::Events, |_| true);
    let actions = events.as_array().expect("a list").iter();
    let actions: Vec<String> = actions
        .map(|event| {
            format!(
                "{} {}",
                event["Type"].as_str().unwrap_or_default(),
                event["Action"].as_str().unwrap_or_default()
            )
        })
        .collect();
    for expected in [
        "image pull",
        "network create",
        "volume create",
        "image tag",
        "container create",
        "container start",
    ] {
        assert!(
            actions.iter().any(|action| action == expected),
            "{expected}: {actions:?}"
        );
    }
    world.sh("docker kill one");
    shown.until(&mut world, Part::Events, |events| {
        events
            .as_array()
            .into_iter()
            .flatten()
            .any(|event| event["Action"] == "die")
    });
}

/// Runs a transfer to its end, giving pieces of the archive; gives what came and how it ended.
fn transfer(
    world: &mut World,
    archive: &[u8],
    piece: usize,
) -> (Vec<u8>, usize, Result<String, String>) {
    let (mut came, mut layers, mut at) = (Vec::new(), 0, 0);
    for _ in 0..100_000 {
        world.step();
        for event in world.playground.transfers().take_events() {
            match event {
                TransferEvent::Wanted { id, done_bytes } => {
                    assert_eq!(done_bytes, at as u64);
                    let end = archive.len().min(at + piece);
                    world
                        .playground
                        .transfers()
                        .give(id, archive[at..end].to_vec());
                    at = end;
                }
                TransferEvent::Layer {
                    bytes: (done, total),
                    ..
                } => {
                    assert!(done <= total);
                    layers += 1;
                }
                TransferEvent::Piece {
                    id,
                    bytes,
                    done_bytes,
                } => {
                    came.extend(bytes);
                    assert_eq!(done_bytes, came.len() as u64);
                    world.playground.transfers().taken(id);
                }
                TransferEvent::Ended { outcome, .. } => return (came, layers, outcome),
            }
        }
    }
    panic!("it does not end");
}

#[test]
fn an_image_goes_out_and_comes_in_again() {
    let mut world = World::boot(BTreeMap::new());
    world.sh("docker pull -q busybox; docker tag busybox mine:1");
    world
        .playground
        .save_image("node1", 1, "mine:1")
        .expect("begun");
    let (archive, _, outcome) = transfer(&mut world, &[], 1);
    assert_eq!(outcome, Ok(String::new()));
    world.sh("docker rmi mine:1 busybox");
    world.playground.load_images("node1", 2).expect("begun");
    let (_, layers, outcome) = transfer(&mut world, &archive, 100_000);
    assert_eq!(outcome, Ok("Loaded image: mine:1\n".to_string()));
    assert!(layers > 0);
    let (status, printed) = world.sh("docker run --rm mine:1 echo here");
    assert_eq!((status, printed.as_str()), (0, "here\n"));

    // What is no archive, what is cut, an image that is not there.
    world.playground.load_images("node1", 3).expect("begun");
    let (_, _, outcome) = transfer(&mut world, b"hello, this is no archive", 7);
    assert!(outcome.is_err(), "{outcome:?}");
    world.sh("docker rmi mine:1");
    world.playground.load_images("node1", 4).expect("begun");
    let (_, _, outcome) = transfer(&mut world, &archive[..archive.len() / 2], 100_000);
    assert!(outcome.is_err(), "{outcome:?}");
    world
        .playground
        .save_image("node1", 5, "nothing")
        .expect("begun");
    let (_, _, outcome) = transfer(&mut world, &[], 1);
    assert_eq!(outcome, Err("No such image: nothing".to_string()));

    // One that is given up leaves nothing behind.
    world.playground.load_images("node1", 6).expect("begun");
    world.step();
    world
        .playground
        .transfers()
        .give(6, archive[..200_000].to_vec());
    world.step();
    world.playground.transfers().cancel(6);
    let (_, printed) = world.sh("sleep 1; ls /var/lib/docker/tmp; docker images -q");
    assert_eq!(printed, "");
    world
        .playground
        .load_images("node9", 7)
        .expect_err("there is no such machine");
}
