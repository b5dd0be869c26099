//! Machines on the LAN: they reach each other by address and by name, and nobody beyond.

use std::collections::BTreeMap;

use playground::Fault;
use playground::internet::Hint;
use playground::ports::{PortEvent, PortRequest};
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
