//! Machines on the LAN: they reach each other by address and by name, and nobody beyond.

use std::collections::BTreeMap;

use playground::Fault;
use world::World;

mod world;

fn two_machines() -> World {
    let mut world = World::boot(BTreeMap::new());
    world.add_machine();
    world
}

#[test]
fn machines_reach_each_other_by_address_and_name_and_nobody_else() {
    let mut world = two_machines();
    let (_, printed) = world.sh_on(
        "node1",
        "ip -4 -br addr show eth0; ip route; cat /etc/resolv.conf",
    );
    assert!(printed.contains("192.168.0.13/24"), "{printed}");
    assert!(
        printed.contains("default via 192.168.0.1 dev eth0"),
        "{printed}"
    );
    let (_, printed) = world.sh_on(
        "node1",
        "ping -c 2 -i 0.2 192.168.0.14; ping -c1 node2 | head -1",
    );
    assert!(
        printed.contains("2 packets transmitted, 2 received, 0% packet loss"),
        "{printed}"
    );
    assert!(printed.contains("PING node2 (192.168.0.14)"), "{printed}");
    let (_, printed) = world.sh_on(
        "node1",
        "curl -sS http://example.org/; curl -sS -m 5 http://192.0.2.7/; ping -c1 -W4 192.168.0.99",
    );
    assert!(
        printed.contains("Could not resolve host: example.org"),
        "{printed}"
    );
    assert!(printed.contains("192.0.2.7"), "{printed}");
    assert!(!printed.contains("timed out"), "{printed}");
    assert!(
        printed.contains("Destination Host Unreachable"),
        "{printed}"
    );
}

#[test]
fn a_file_crosses_a_bad_cable_whole_and_an_unplugged_machine_is_alone() {
    let mut world = two_machines();
    world.playground.lan().set_fault(
        "node2",
        Fault {
            loss_ppm: 20_000,
            delay_ns: 2_000_000,
            ..Fault::default()
        },
    );
    let server = world.start("node2", "seq 200000 > f; nc -lN 9 < f");
    let (_, printed) = world.sh_on(
        "node1",
        "sleep 1; nc -d node2 9 | sha256sum; seq 200000 | sha256sum",
    );
    let sums: Vec<&str> = printed.lines().collect();
    assert_eq!(sums[0], sums[1], "{printed}");
    drop(server);
    world.playground.lan().plug("node2", false);
    let (_, printed) = world.sh("ping -c1 -W1 192.168.0.14");
    assert!(printed.contains("100% packet loss"), "{printed}");
    let (_, printed) = world.sh_on("node2", "ip link show eth0");
    assert!(printed.contains("NO-CARRIER"), "{printed}");
    world.playground.lan().plug("node2", true);
    let (_, printed) = world.sh("ping -c1 -W5 192.168.0.14");
    assert!(printed.contains("1 received"), "{printed}");
}
