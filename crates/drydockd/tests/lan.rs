//! Machines on the LAN: they reach each other by address and by name, and nobody beyond.

use std::collections::BTreeMap;

use playground::capture::{self, Packet};
use playground::internet::{Hint, InternetRequest, InternetResponse, Refusal};
use playground::ports::{PortEvent, PortRequest};
use playground::{Cable, Fault};
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
        "curl -sS http://nothing.drydock/; dig _http._tcp.example.net SRV >/dev/null
         curl -sS http://example.org/; curl -sS -m 5 http://192.0.2.7/; ping -c1 -W4 192.168.0.99",
    );
    assert!(
        printed.contains("Could not resolve host: example.org"),
        "{printed}"
    );
    let name = "example.org".to_string();
    assert_eq!(world.hints, [Hint::NoInternet { name }]);
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

/// `20 packets transmitted, 13 received, 35% packet loss`: the numbers.
fn statistics(printed: &str) -> [f64; 3] {
    let line = printed
        .lines()
        .find(|line| line.contains("packets transmitted"));
    let line = line.unwrap_or_else(|| panic!("no statistics: {printed}"));
    let digits = |word: &str| word.trim_end_matches('%').parse().ok();
    let numbers: Vec<f64> = line.split(' ').filter_map(digits).collect();
    [numbers[0], numbers[1], numbers[2]]
}

#[test]
fn a_ping_stops_while_a_machine_is_unplugged_and_goes_on_after() {
    let mut world = two_machines();
    let ping = world.start("node1", "ping -i 0.2 -c 40 192.168.0.14");
    let replies = |ping: &playground::machine::Command| {
        let printed = String::from_utf8_lossy(&ping.stdout.borrow()).into_owned();
        printed.matches("bytes from 192.168.0.14").count()
    };
    while replies(&ping) < 10 {
        world.step();
    }
    let unplugged = Cable {
        plugged: false,
        ..Cable::default()
    };
    world.playground.lan().set_cable("node2", unplugged);
    assert_eq!(world.playground.lan().cable("node2"), Some(unplugged));
    world.sh("sleep 3");
    assert_eq!(replies(&ping), 10);
    world.playground.lan().set_cable("node2", Cable::default());
    while ping.status().is_none() {
        world.step();
    }
    let printed = String::from_utf8_lossy(&ping.stdout.borrow()).into_owned();
    let [sent, received, _] = statistics(&printed);
    assert_eq!(sent, 40.0);
    assert!((20.0..=28.0).contains(&received), "{printed}");
    assert!(printed.contains("icmp_seq=40"), "{printed}");
}

#[test]
fn loss_and_delay_of_a_cable_are_in_the_statistics_of_ping() {
    let mut world = two_machines();
    let bad = Cable {
        fault: Fault {
            loss_ppm: 200_000,
            delay_ns: 30_000_000,
            ..Fault::default()
        },
        ..Cable::default()
    };
    world.playground.lan().set_cable("node2", bad);
    // The neighbour's address is asked for over the bad cable too.
    let ping = "ping -q -c 200 -i 0.1 192.168.0.14";
    let (_, printed) = world.sh(&format!("ping -c 3 192.168.0.14 >/dev/null; {ping}"));
    let [_, _, loss] = statistics(&printed);
    // One frame in five is lost on the way there, and on the way back.
    assert!((26.0..=46.0).contains(&loss), "{printed}");
    let times = printed.split("rtt min/avg/max/mdev = ").nth(1);
    let times: Vec<f64> = times
        .unwrap_or_default()
        .split(['/', ' '])
        .filter_map(|time| time.parse().ok())
        .collect();
    assert!(times[0] >= 60.0 && times[2] < 65.0, "{printed}");
    world.playground.lan().set_cable("node2", Cable::default());
    let (_, printed) = world.sh("ping -q -c 20 -i 0.1 192.168.0.14");
    assert_eq!(statistics(&printed), [20.0, 20.0, 0.0]);
}

#[test]
fn parts_of_a_divided_lan_do_not_hear_each_other_but_know_names() {
    let mut world = two_machines();
    world.add_machine();
    let part = |group| Cable {
        group,
        ..Cable::default()
    };
    world.playground.lan().set_cable("node2", part(1));
    world.playground.lan().set_cable("node3", part(1));
    let (_, printed) = world.sh("ping -c1 -W1 node2");
    assert!(printed.contains("PING node2 (192.168.0.14)"), "{printed}");
    assert!(printed.contains("100% packet loss"), "{printed}");
    let (_, printed) = world.sh_on("node2", "ping -c1 -W1 node3; ip link show eth0");
    assert!(printed.contains("1 received"), "{printed}");
    assert!(!printed.contains("NO-CARRIER"), "{printed}");
    world.playground.lan().set_cable("node2", part(0));
    let (_, printed) = world.sh("ping -c1 -W5 node2; ping -c1 -W1 node3");
    assert!(printed.contains("1 received"), "{printed}");
    assert!(printed.contains("100% packet loss"), "{printed}");
}

/// Record headers of a pcap file, and what it says of itself (draft-ietf-opsawg-pcap).
fn pcap_records(file: &[u8]) -> Vec<(f64, usize)> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"));
    assert_eq!(word(0), 0xa1b2_3c4d, "little-endian, nanoseconds");
    assert_eq!(file[4..8], [2, 0, 4, 0], "version 2.4");
    assert_eq!(word(20), 1, "Ethernet");
    let (mut records, mut at) = (Vec::new(), 24);
    while at < file.len() {
        let (captured, length) = (word(at + 8) as usize, word(at + 12) as usize);
        assert!(captured <= length && captured <= word(16) as usize);
        records.push((f64::from(word(at)) + f64::from(word(at + 4)) / 1e9, length));
        at += 16 + captured;
    }
    assert_eq!(at, file.len());
    records
}

#[test]
fn what_goes_through_a_link_is_captured_told_and_saved() {
    let mut world = two_machines();
    let (status, printed) = world.sh(
        "docker run -d --name web -p 8080:80 busybox \
         sh -c 'echo hello > index.html; httpd -f -p 80'; until curl -so/dev/null 172.17.0.2; do sleep .1; done",
    );
    assert_eq!(status, 0, "{printed}");
    let machine = world.playground.machine("node1").expect("booted");
    let links = capture::interfaces(machine);
    let find = |container: Option<&str>, name: &str| {
        let mut all = links.iter();
        let found =
            all.find(|link| link.container.as_deref() == container && link.name.starts_with(name));
        found.unwrap_or_else(|| panic!("no {name} of {container:?} in {links:?}"))
    };
    let (wire, bridge) = (find(None, "eth0").link, find(None, "docker0").link);
    let inside = find(Some("web"), "eth0");
    assert!(inside.running && inside.addresses.contains(&"172.17.0.2/16".to_string()));
    assert_eq!(find(None, "lo").kind, "loopback");
    assert_eq!(find(None, "veth").kind, "veth");
    let inside = inside.link;
    for link in [wire, bridge, inside] {
        world
            .playground
            .start_capture("node1", link)
            .expect("a link");
    }
    assert!(world.playground.start_capture("node1", 9999).is_err());
    world.sh_on("node2", "curl -s http://node1:8080/; ping -c1 node1");
    let lines = |world: &mut World, link| -> Vec<Packet> {
        world.playground.captures().take_lines("node1", link, 1000)
    };
    let told = lines(&mut world, wire);
    let has = |told: &[Packet], protocol: &str, source: &str, info: &str| {
        let found = |packet: &&Packet| {
            packet.line.protocol == protocol
                && packet.line.source == source
                && packet.line.info.contains(info)
        };
        assert!(
            told.iter().any(|packet| found(&packet)),
            "{protocol} {info}: {told:#?}"
        );
    };
    has(&told, "TCP", "192.168.0.14", "→ 8080 [SYN] seq=");
    has(&told, "HTTP", "192.168.0.14", "GET / HTTP/1.1");
    has(&told, "HTTP", "192.168.0.13", "HTTP/1.1 200 OK");
    has(&told, "ICMP", "192.168.0.14", "echo request");
    assert!(told.iter().any(|packet| packet.sent) && told.iter().any(|packet| !packet.sent));
    // Before and after the destination was translated; the bridge does not see it twice.
    let bridged = lines(&mut world, bridge);
    has(&bridged, "HTTP", "192.168.0.14", "GET / HTTP/1.1");
    has(
        &lines(&mut world, inside),
        "HTTP",
        "192.168.0.14",
        "GET / HTTP/1.1",
    );
    assert_eq!(lines(&mut world, wire), []);

    world.playground.stop_capture("node1", wire);
    world.sh_on("node2", "ping -c1 node1");
    assert_eq!(lines(&mut world, wire), []);
    let kept = world.playground.captures().kept("node1", wire);
    assert_eq!((kept.frames, kept.dropped), (told.len(), 0));
    let file = world
        .playground
        .captures()
        .file("node1", wire)
        .expect("captured");
    let records = pcap_records(&file);
    let lengths: Vec<usize> = records.iter().map(|record| record.1).collect();
    let expected: Vec<usize> = told.iter().map(|packet| packet.length).collect();
    assert_eq!(lengths, expected);
    assert!(records.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    // Where the machine this runs on has the tool, it reads the file too.
    if let Some(read) = tcpdump(&file) {
        assert_eq!(read.lines().count(), records.len(), "{read}");
        assert!(read.contains("GET / HTTP/1.1"), "{read}");
        assert!(
            !read.contains("bad cksum") && !read.contains("incorrect"),
            "{read}"
        );
    }
    world.playground.captures().discard("node1", wire);
    assert_eq!(world.playground.captures().file("node1", wire), None);
}

/// What tcpdump reads in a file, if this machine has it.
fn tcpdump(file: &[u8]) -> Option<String> {
    let path = std::env::temp_dir().join(format!("drydock-{}.pcap", std::process::id()));
    std::fs::write(&path, file).expect("writable");
    let run = std::process::Command::new("tcpdump")
        .args(["-n", "-vv", "-r"])
        .arg(&path)
        .output();
    std::fs::remove_file(&path).expect("just written");
    let output = run.ok()?;
    assert!(output.status.success(), "{output:?}");
    // Further lines of a packet are indented.
    let text = String::from_utf8_lossy(&output.stdout)
        .replace("\n    ", " ")
        .replace("\n\t", " ");
    Some(text)
}

#[test]
fn a_capture_holds_so_much_and_no_more() {
    let mut world = World::boot(BTreeMap::new());
    let machine = world.playground.machine("node1").expect("booted");
    let links = capture::interfaces(machine);
    let lo = links
        .iter()
        .find(|link| link.name == "lo")
        .expect("lo")
        .link;
    world.playground.start_capture("node1", lo).expect("a link");
    let (_, printed) =
        world.sh("nc -lN 9 >/dev/null & sleep 1; head -c 30000000 /dev/zero | nc -N localhost 9");
    let kept = world.playground.captures().kept("node1", lo);
    assert!(
        kept.bytes <= 8 << 20 && kept.bytes > 4 << 20,
        "{kept:?} {printed}"
    );
    assert!(kept.dropped > 0, "{kept:?}");
    let told = world.playground.captures().take_lines("node1", lo, 10);
    assert_eq!(told.len(), 10);
    assert_eq!(told[9].number, kept.dropped + kept.frames as u64);
}

impl World {
    /// A request of the browser to a port of node1: status, where it leads, body; or why there is none.
    fn request(
        &mut self,
        id: u32,
        port: u16,
        (method, target, body): (&str, &str, &str),
    ) -> String {
        let ports = std::rc::Rc::clone(self.playground.ports());
        let request = PortRequest {
            ip: self.playground.lan().address("node1").expect("on the LAN"),
            port,
            method: method.to_string(),
            target: target.to_string(),
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
        };
        ports.request(id, request);
        let (mut answer, mut text) = (String::new(), Vec::new());
        loop {
            self.step();
            for event in ports.take_events() {
                match event {
                    PortEvent::Head {
                        status, headers, ..
                    } => {
                        let find = |(name, _): &&(String, String)| name == "location";
                        let to = headers
                            .iter()
                            .find(find)
                            .map(|(_, value)| format!("-> {value}"));
                        answer = format!("{status} {}", to.unwrap_or_default());
                    }
                    PortEvent::Data { bytes, .. } => {
                        ports.taken(id, bytes.len());
                        text.extend(bytes);
                    }
                    PortEvent::End { .. } => return answer + &String::from_utf8_lossy(&text),
                    PortEvent::Failed { text, .. } => return text,
                }
            }
        }
    }
}

/// A server whose answers show what came: cookies, bodies, redirects, chunks.
const SERVER: &str = r#"
import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        if self.path == "/login":
            return self.answer(302, Location="/", Set_Cookie="who=me; Path=/")
        if self.path == "/chunks":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for i in range(3):
                self.wfile.write(b"5\r\npart%d\r\n" % i)
                self.wfile.flush()
            return self.wfile.write(b"0\r\n\r\n")
        if self.path == "/large":
            return self.answer(200, b"x" * 3000000)
        shown = "%s %s %s" % (self.client_address[0], self.headers["Host"], self.headers.get("Cookie"))
        self.answer(200, shown.encode(), Content_Type="text/plain")
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(201, body.upper())
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"#;

#[test]
fn requests_of_the_browser_reach_a_port_of_a_machine() {
    let mut world = World::boot(BTreeMap::new());
    let run = format!(
        "cat > s.py <<'END'\n{SERVER}END\ndocker run -d --network host -v /root/s.py:/s.py python python3 -u /s.py"
    );
    assert_eq!(world.sh(&run).0, 0);
    while world.playground.open_ports("node1") != [8080] {
        world.step();
    }
    let cases = [
        (("GET", "/", ""), "200 192.168.0.1 192.168.0.13:8080 None"),
        (("GET", "/login", ""), "302 -> /"),
        (
            ("GET", "/?a=b", ""),
            "200 192.168.0.1 192.168.0.13:8080 who=me",
        ),
        (("POST", "/", "loud"), "201 LOUD"),
        (("GET", "/chunks", ""), "200 part0part1part2"),
    ];
    for (id, ((method, target, body), expected)) in cases.into_iter().enumerate() {
        let answer = world.request(id as u32, 8080, (method, target, body));
        assert_eq!(answer, expected, "{method} {target}");
    }
    let large = world.request(7, 8080, ("GET", "/large", ""));
    assert_eq!(large.len(), "200 ".len() + 3_000_000);
    let refused = world.request(8, 81, ("GET", "/", ""));
    assert_eq!(refused, "192.168.0.13:81: Connection refused");
}

/// Runs commands on `node1` while `server` stands for the Internet.
fn with_internet(
    world: &mut World,
    commands: &str,
    server: impl Fn(&InternetRequest) -> Result<InternetResponse, Refusal>,
) -> String {
    let command = world.start("node1", commands);
    while command.status().is_none() {
        world.step();
        let internet = world.playground.lan().gateway().internet();
        for request in internet.take_requests() {
            internet.answer(request.id, server(&request));
        }
    }
    let printed = [&command.stdout.borrow()[..], &command.stderr.borrow()[..]].concat();
    String::from_utf8_lossy(&printed).into_owned()
}

#[test]
fn plain_http_goes_out_where_it_is_switched_on_and_nothing_else_does() {
    let mut world = World::boot(BTreeMap::new());
    world.playground.lan().gateway().internet().switch(true);
    let server = |request: &InternetRequest| match request.address.as_str() {
        "closed.example/" => Err(Refusal::Cors),
        address => Ok(InternetResponse {
            status: 200,
            headers: vec![("content-type".into(), "text/x".into())],
            body: format!(
                "{} {address} {} bytes\n",
                request.method,
                request.body.len()
            )
            .into(),
        }),
    };
    let printed = with_internet(
        &mut world,
        "curl -sS http://example.org/a?b; curl -sS -d body=x http://example.org -w '%{content_type}\\n'
         curl -sS http://closed.example/ -o /tmp/why -w '%{http_code}\\n'; head -1 /tmp/why
         docker run --rm busybox wget -qO- http://example.org/ 2>/dev/null",
        server,
    );
    assert_eq!(
        printed,
        "GET example.org/a?b 0 bytes\nPOST example.org/ 6 bytes\ntext/x\n\
         502\nCORS refused http://closed.example/\nGET example.org/ 0 bytes\n"
    );
    let printed = with_internet(
        &mut world,
        "curl -sS https://example.org/; echo $?; curl -sS http://example.org:8080/; ping -c1 example.org",
        server,
    );
    assert!(
        printed.contains("\n35\n") || printed.starts_with("35\n"),
        "{printed}"
    );
    assert!(printed.contains("alert access denied"), "{printed}");
    assert!(printed.contains("Could not connect to server"), "{printed}");
    assert!(
        printed.contains("Destination Port Unreachable"),
        "{printed}"
    );
    assert_eq!(world.hints, [Hint::NoTls]);
    // Machines still have their own names, and without the gateway others are gone again.
    world.playground.lan().gateway().internet().switch(false);
    let (_, printed) = world.sh("getent hosts node1; sleep 6; curl -sS http://example.org/");
    assert!(printed.contains("Could not resolve host"), "{printed}");
}

#[test]
fn a_published_port_is_reached_from_another_machine() {
    let mut world = two_machines();
    let (status, printed) = world.sh_on(
        "node1",
        "docker run -d --name web -p 8080:80 nginx && docker run -d --name cache -p 6379:6379 redis && \
         for i in $(seq 50); do \
         curl -so /dev/null localhost:8080 && docker exec cache redis-cli ping && exit 0; sleep 0.1; done; exit 1",
    );
    assert_eq!(status, 0, "{printed}");
    let (_, printed) = world.sh_on(
        "node2",
        "curl -sS node1:8080 | grep title; curl -sS -m 5 192.168.0.13:8081; \
         docker run --rm redis redis-cli -h 192.168.0.13 incrby n 42",
    );
    assert!(
        printed.contains("<title>Welcome to nginx!</title>"),
        "{printed}"
    );
    assert!(
        printed.contains("Failed to connect to 192.168.0.13 port 8081"),
        "{printed}"
    );
    assert!(printed.contains("\n42"), "{printed}");
    // The server sees who asks, and what is stopped is shut.
    let (_, printed) = world.sh("docker logs web 2>/dev/null | grep GET; docker stop web");
    assert!(printed.contains("192.168.0.14 - - "), "{printed}");
    let (_, printed) = world.sh_on("node2", "curl -sS -m 5 node1:8080");
    assert!(
        printed.contains("Failed to connect to node1 port 8080"),
        "{printed}"
    );
}

#[test]
fn one_machine_logs_in_at_another_with_ssh() {
    let mut world = two_machines();
    let (status, printed) = world.sh_on(
        "node1",
        "ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key && mkdir -p /run/sshd && /usr/sbin/sshd && \
         useradd -m -s /bin/bash ann && echo ann:secret | chpasswd",
    );
    assert_eq!(status, 0, "{printed}");
    let (_, printed) = world.sh_on(
        "node2",
        "printf '#!/bin/sh\\necho secret\\n' > ask; chmod +x ask; export SSH_ASKPASS=./ask SSH_ASKPASS_REQUIRE=force; \
         mkdir -m 700 .ssh; ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519; \
         ssh-copy-id -o StrictHostKeyChecking=accept-new ann@node1 2>&1 | grep added; \
         unset SSH_ASKPASS SSH_ASKPASS_REQUIRE; \
         ssh -o BatchMode=yes ann@node1 'hostname; id -un; echo $SSH_CONNECTION'; \
         seq 100000 | ssh -o BatchMode=yes ann@node1 'cat > f; sha256sum f'; seq 100000 | sha256sum",
    );
    for expected in [
        "Number of key(s) added: 1",
        "node1\nann\n192.168.0.14 ",
        "192.168.0.13 22",
    ] {
        assert!(
            printed.replace('\r', "").contains(expected),
            "{expected}: {printed}"
        );
    }
    let sums: Vec<&str> = printed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.len() == 64)
        .collect();
    assert!(sums.len() == 2 && sums[0] == sums[1], "{printed}");
}
