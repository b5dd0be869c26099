//! Who serves and who asks.

use std::fmt::Write as _;

use clock::Instant;

/// The network of the servers and clients of a machine.
pub const NETWORK: &str = "app";

/// What a server is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// nginx.
    Nginx,
    /// Apache.
    Httpd,
    /// Redis.
    Redis,
    /// memcached.
    Memcached,
    /// busybox' `httpd`.
    Busybox,
    /// Python's `http.server`.
    Python,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] = [
        Kind::Nginx,
        Kind::Redis,
        Kind::Busybox,
        Kind::Memcached,
        Kind::Httpd,
        Kind::Python,
    ];

    /// Its image.
    #[must_use]
    pub fn image(self) -> &'static str {
        match self {
            Kind::Nginx => "nginx",
            Kind::Httpd => "httpd",
            Kind::Redis => "redis",
            Kind::Memcached => "memcached",
            Kind::Busybox => "busybox",
            Kind::Python => "python",
        }
    }

    /// Its command, if not the image's own.
    fn command(self) -> &'static str {
        match self {
            Kind::Busybox => " httpd -f -p 80 -h /bin",
            Kind::Python => " python3 -m http.server 80",
            _ => "",
        }
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Kind::Redis => 6379,
            Kind::Memcached => 11211,
            _ => 80,
        }
    }

    /// How [`CLIENT`] asks it.
    #[must_use]
    pub fn protocol(self) -> &'static str {
        match self {
            Kind::Redis => "redis",
            Kind::Memcached => "memcached",
            Kind::Busybox => "cat",
            _ => "http",
        }
    }
}

/// Where a server is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// It runs. Before that time it may still be on its way up.
    Up(Instant),
    /// It was stopped or killed.
    Stopped,
    /// It is paused.
    Paused,
}

/// A server in a container.
#[derive(Clone, Debug)]
pub struct Server {
    /// The container's name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The machine.
    pub node: usize,
    /// The machine's port that leads to it.
    pub published: Option<u16>,
    /// Where it is in its life.
    pub life: Life,
}

impl Server {
    /// Number `number` of the servers of `machines` machines.
    #[must_use]
    pub fn new(number: usize, machines: usize) -> Server {
        Server {
            name: format!("s{number}"),
            kind: Kind::ALL[number / machines % Kind::ALL.len()],
            node: number % machines,
            published: (number / machines)
                .is_multiple_of(2)
                .then_some(8000 + number as u16),
            life: Life::Up(Instant(0)),
        }
    }

    /// The command that makes it.
    #[must_use]
    pub fn run(&self) -> String {
        let mut text = format!("docker run -d --name {} --restart always", self.name);
        let _ = write!(text, " --network {NETWORK} --memory 256m");
        if let Some(port) = self.published {
            let _ = write!(text, " -p {port}:{}", self.kind.port());
        }
        let _ = write!(text, " {}{}", self.kind.image(), self.kind.command());
        text
    }

    /// How [`CLIENT`] finds it from the same network.
    #[must_use]
    pub fn target(&self) -> String {
        format!(
            "{}:{}:{}",
            self.kind.protocol(),
            self.name,
            self.kind.port()
        )
    }

    /// How [`CLIENT`] finds it from another machine.
    #[must_use]
    pub fn remote_target(&self, node: &str) -> Option<String> {
        let port = self.published?;
        Some(format!("{}:{node}:{port}", self.kind.protocol()))
    }
}

/// The program of a client: asks its targets one after the other and counts. `check` asks one, and says how
/// it went.
pub const CLIENT: &str = r#"#!/bin/sh
http() { wget -q -T 5 -O /dev/null "http://$1:$2/"; }
cat_() { wget -q -T 5 -O - "http://$1:$2/busybox" | wc -c | grep -q '......'; }
redis() { printf 'INCR n\r\nSET k v\r\nGET k\r\nQUIT\r\n' | nc -w 5 "$1" "$2" | grep -q '^v'; }
memcached() { printf 'set k 0 60 1\r\nv\r\nget k\r\nquit\r\n' | nc -w 5 "$1" "$2" | grep -q '^VALUE'; }
ask() {
  kind=${1%%:*} rest=${1#*:}
  [ "$kind" = cat ] && kind=cat_
  "$kind" "${rest%:*}" "${rest##*:}" 2>/dev/null
}
if [ "$1" = check ]; then
  ask "$2"
  exit
fi
ok=0 bad=0
while :; do
  for target in "$@"; do
    if ask "$target"; then ok=$((ok + 1)); else bad=$((bad + 1)); fi
    echo "$ok $bad" >/hits
    sleep 2
  done
done
"#;
