//! Machines that are restarted and switched off: what is on their disks stays, and nothing else.

mod world;

use std::collections::BTreeMap;
use std::rc::Rc;

use world::World;

/// Runs commands that end the machine; waits until it is on again, or off.
fn goes_down(world: &mut World, commands: &str) {
    let before = world.power.len();
    let _command = world.start("node1", commands);
    until_power(world, before);
}

fn until_power(world: &mut World, before: usize) {
    for _ in 0..200_000 {
        if world.power.len() > before {
            return;
        }
        world.step();
    }
    panic!("the machine does not go down");
}

fn expect(world: &mut World, commands: &str, expected: &str) {
    let (_, printed) = world.sh(commands);
    assert_eq!(printed.trim_end(), expected, "{commands}");
}

#[test]
fn a_restarted_host_keeps_what_docker_has_on_its_disk() {
    let mut world = World::boot(BTreeMap::new());
    let (status, printed) = world.sh("set -e; exec 2>&1
        docker pull -q busybox
        docker network create --subnet 10.9.0.0/24 own >/dev/null
        docker volume create kept >/dev/null
        docker tag busybox mine:1
        docker run -d --name always --restart always --network own --ip 10.9.0.7 -v kept:/v -p 8080:80 busybox \
            sh -c 'echo begun >> /v/f; mkdir -p /www; echo page > /www/index.html; exec httpd -f -h /www' >/dev/null
        docker run -d --name unless --restart unless-stopped busybox sleep 1000 >/dev/null
        docker run -d --name stopped --restart unless-stopped busybox sleep 1000 >/dev/null
        docker run -d --name astopped --restart always --stop-timeout 1 busybox sleep 1000 >/dev/null
        docker stop -t 0 stopped astopped >/dev/null
        docker run -d --name plain busybox sh -c \
            'echo in the log; echo changed > /file; trap \"exit 3\" TERM; while :; do sleep 0.1; done' >/dev/null
        docker run -d --name deaf --stop-timeout 1 busybox sleep 1000 >/dev/null
        docker run -d --name failing --restart on-failure busybox sh -c 'trap \"exit 5\" TERM; while :; do sleep 0.1; done' >/dev/null
        docker create --name made --restart always busybox true >/dev/null
        docker run -d --name gone --rm busybox sleep 1000 >/dev/null
        mkdir -p /etc/docker /srv; echo '{\"labels\": [\"rack=3\"]}' > /etc/docker/daemon.json
        echo kept > /srv/file; echo 10.0.0.9 friend >> /etc/hosts; echo renamed > /etc/hostname
        echo lost > /tmp/file; echo lost > /run/file; sysctl -qw vm.swappiness=10
        nohup sleep 5000 >/dev/null 2>&1 &
        sleep 1; docker ps -q | wc -l; docker info -f '{{.ID}}' > /root/id; cat /proc/sys/kernel/random/boot_id > /root/boot");
    assert_eq!(
        (status, printed.lines().last()),
        (0, Some("6")),
        "{printed}"
    );
    let before = world
        .playground
        .machine("node1")
        .map(|it| Rc::downgrade(it.kernel()));
    let before = before.expect("it runs");
    goes_down(&mut world, "reboot");
    assert_eq!(world.power, [("node1".to_string(), true)]);
    // Nothing of the old kernel is left.
    assert!(before.upgrade().is_none());
    world.sh("until docker ps >/dev/null 2>&1; do sleep 0.1; done; sleep 2");
    expect(
        &mut world,
        "docker ps -a --format '{{.Names}} {{.Status}}' | sed -E 's/(Up|Exited \\([0-9]+\\)) .*/\\1/' | sort",
        "always Up\nastopped Up\ndeaf Exited (137)\nfailing Up\nmade Created\nplain Exited (3)\nstopped Exited (137)\nunless Up",
    );
    for (commands, expected) in [
        (
            "docker logs plain; docker cp -q plain:/file - | tar xO",
            "in the log\nchanged",
        ),
        (
            "curl -s localhost:8080; docker exec always cat /v/f",
            "page\nbegun\nbegun",
        ),
        (
            "docker inspect -f '{{.NetworkSettings.Networks.own.IPAddress}} {{.RestartCount}}' always",
            "10.9.0.7 0",
        ),
        (
            "docker network ls --format '{{.Name}}' | sort | xargs",
            "bridge host none own",
        ),
        ("docker volume ls -q", "kept"),
        (
            "docker images --format '{{.Repository}}:{{.Tag}}' | sort | xargs",
            "busybox:latest mine:1",
        ),
        ("docker info -f '{{.Labels}} {{.Name}}'", "[rack=3] renamed"),
        (
            "[ $(docker info -f '{{.ID}}') = $(cat /root/id) ] && echo the same",
            "the same",
        ),
        (
            "cmp -s /proc/sys/kernel/random/boot_id /root/boot || echo another",
            "another",
        ),
        (
            "hostname; cat /srv/file; grep -c friend /etc/hosts",
            "renamed\nkept\n1",
        ),
        (
            "ls /tmp/file /run/file 2>/dev/null | wc -l; pgrep -f 'sleep 500[0]' | wc -l",
            "0\n0",
        ),
        (
            "cut -d. -f1 /proc/uptime | grep -c '^.$'; ip -br addr show eth0 | grep -o 192.168.0.13",
            "1\n192.168.0.13",
        ),
        (
            "docker start plain; docker exec plain cat /file",
            "plain\nchanged",
        ),
        // Names that are given now are others than before.
        ("docker run --rm busybox echo runs", "runs"),
        (
            "docker rm -f $(docker ps -aq) | wc -l; docker volume rm kept; docker network rm own",
            "8\nkept\nown",
        ),
    ] {
        expect(&mut world, commands, expected);
    }
}

#[test]
fn a_plug_that_is_pulled_leaves_what_was_on_the_disk() {
    let mut world = World::boot(BTreeMap::new());
    // They look at the clock now and then, or the test's time would jump to their end.
    world.sh(
        "loop='while :; do sleep 0.1; done'; docker run -d --name plain busybox sh -c \"$loop\"
        docker run -d --name again --restart on-failure busybox sh -c \"$loop\"",
    );
    goes_down(&mut world, "reboot -f");
    world.sh("until docker ps >/dev/null 2>&1; do sleep 0.1; done; sleep 1");
    // Nobody saw how they ended.
    expect(
        &mut world,
        "docker ps -a --format '{{.Names}} {{.Status}}' | sed -E 's/(Up|Exited \\([0-9]+\\)) .*/\\1/' | sort",
        "again Up\nplain Exited (255)",
    );
}

#[test]
fn a_machine_that_is_off_can_be_switched_on() {
    let mut world = World::boot(BTreeMap::new());
    world.add_machine();
    world.sh("echo kept > /srv/file");
    expect(
        &mut world,
        "shutdown -r +1 2>&1 | sed 's/for .*,/for X,/'; shutdown -c; sleep 90; echo on",
        "Reboot scheduled for X, use 'shutdown -c' to cancel.\non",
    );
    goes_down(&mut world, "poweroff");
    assert_eq!(world.power, [("node1".to_string(), false)]);
    assert!(world.playground.machine("node1").is_none());
    let (status, _) = world.sh_on("node2", "curl -s --connect-timeout 2 node1:80");
    assert_ne!(status, 0);
    world
        .playground
        .restart_instance("node1")
        .expect("it is off");
    until_power(&mut world, 1);
    expect(
        &mut world,
        "cat /srv/file; curl -s node2; echo $?",
        "kept\n7",
    );
    // The button restarts one that runs.
    world
        .playground
        .restart_instance("node1")
        .expect("it is on");
    until_power(&mut world, 2);
    expect(&mut world, "cat /srv/file; docker ps -q | wc -l", "kept\n0");
    assert!(world.crashed.is_empty());
}

#[test]
fn who_may_not_cannot() {
    let mut world = World::boot(BTreeMap::new());
    world.sh("docker pull -q busybox");
    for (commands, expected) in [
        (
            "su nobody -s /bin/sh -c reboot",
            "Call to Reboot failed: Interactive authentication required.",
        ),
        (
            "docker run --rm busybox reboot -f",
            "reboot: : Operation not permitted",
        ),
        // In a pid namespace of its own it is that one's init that ends, by SIGHUP.
        (
            "docker run --rm --privileged busybox sh -c 'reboot -f; sleep 5'; echo $?",
            "129",
        ),
    ] {
        expect(&mut world, commands, expected);
    }
}

#[test]
fn a_daemon_on_tcp_is_asked_from_another_machine() {
    let mut world = World::boot(BTreeMap::new());
    world.add_machine();
    expect(
        &mut world,
        "docker pull -q busybox; echo 'DOCKER_OPTS=\"-H tcp://0.0.0.0:2375 -H unix:///var/run/docker.sock\"' > /etc/default/docker
        service docker restart; grep -o 'API listen on .*[^\"]' /var/log/docker.log | tail -n 2; docker run -d --name there busybox sleep 1000 | wc -c",
        "docker.io/library/busybox:latest\nStopping Docker: docker.\nStarting Docker: docker.\nAPI listen on [::]:2375\nAPI listen on /var/run/docker.sock\n65",
    );
    for _ in 0..2 {
        let (_, printed) = world.sh_on(
            "node2",
            "export DOCKER_HOST=tcp://node1:2375; until docker info >/dev/null 2>&1; do sleep 1; done
            docker info 2>&1 | grep -A1 'Name:\\|DEPRECATION' | grep -v '^--'; docker run --rm busybox sh -c 'echo on $HOSTNAME' | wc -w; docker ps -aq | wc -l",
        );
        assert_eq!(
            printed,
            " Name: node1\n ID: \n[DEPRECATION NOTICE]: API is accessible on http://0.0.0.0:2375 without encryption.\n         Access to the remote API is equivalent to root access on the host. Refer\n2\n1\n"
                .replace(" ID: \n", &printed.lines().nth(1).map(|line| format!("{line}\n")).unwrap_or_default())
        );
        // The options hold when the machine begins anew, too.
        if world.power.is_empty() {
            goes_down(&mut world, "reboot");
        }
    }
}
