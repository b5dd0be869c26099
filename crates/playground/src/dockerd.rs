//! `dockerd`, a builtin program of the machine: the engine as a process that can be started, signalled, killed
//! and started again; and the init script that does so.
//!
//! The process holds the daemon up: while it runs, the engine works and its sockets listen. SIGTERM stops the
//! containers first, SIGKILL takes them along; what is on the disk is what the next one begins with.

use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use engine::{Engine, Settings};
use kernel::Kernel;
use kernel::builtin::Invocation;
use os::network::TcpListener;
use os::{CloneSpec, Errno, ExitStatus, Handle, Listener, OpenFlags, Os, OsExt, TaskId, View, ext};
use serde_json::{Map, Value};
use serve::Service;

use crate::machine::exec;
use crate::socket;

const PROGRAM: &str = "/usr/bin/dockerd";
const PID_FILE: &str = "/run/docker.pid";
const SETTINGS: &str = "/etc/docker/daemon.json";
const LOG: &str = "/var/log/docker.log";
/// Where it listens when nothing else is said.
const SOCKET: &str = "unix:///var/run/docker.sock";

/// Nanoseconds before one that was killed is started again.
const RESTART_NS: u64 = 2_000_000_000;

const SIGHUP: u32 = 1;
const SIGINT: u32 = 2;
const SIGTERM: u32 = 15;

/// Files of the machine: path, content, mode.
const FILES: [(&str, &str, u32); 2] = [
    (
        "/etc/init.d/docker",
        include_str!("node/docker.init"),
        0o755,
    ),
    ("/usr/sbin/service", include_str!("node/service"), 0o755),
];

/// Adds the program to the machine and, to a new one, its files.
pub(crate) fn install(
    kernel: &Rc<Kernel>,
    os: &Rc<dyn Os>,
    engine: &Rc<Engine>,
    new: bool,
) -> os::Result<()> {
    let (weak_os, weak_engine) = (Rc::downgrade(os), Rc::downgrade(engine));
    let program = kernel.add_builtin(Rc::new(move |invocation| {
        let (os, engine) = (Weak::clone(&weak_os), Weak::clone(&weak_engine));
        Box::pin(async move {
            match (os.upgrade(), engine.upgrade()) {
                (Some(os), Some(engine)) => run(&os, &engine, &invocation).await,
                // The machine is being switched off.
                _ => 1,
            }
        })
    }));
    if !new {
        return Ok(());
    }
    for directory in ["/usr/bin", "/usr/sbin", "/etc/init.d", "/var/log"] {
        os.mkdir_all(View::Host, directory.as_bytes(), 0o755)?;
    }
    for (path, content, mode) in FILES {
        os.write_file(View::Host, path.as_bytes(), content.as_bytes(), mode)?;
    }
    os.write_file(View::Host, PROGRAM.as_bytes(), &program, 0o755)
}

/// Starts it, as a machine does when it boots, and again when it was killed: Docker's unit for systemd says so,
/// too. One that ends by itself stays down.
pub(crate) fn start(os: &Rc<dyn Os>) {
    let own = Rc::clone(os);
    os.executor().spawn(async move {
        while let Ok(ExitStatus::Signaled(_)) = process(&own).await {
            own.clock().sleep(RESTART_NS).await;
        }
    });
}

/// What `/etc/default/docker` says to the init script, `DOCKER_OPTS="…"`.
fn boot_options(os: &Rc<dyn Os>) -> Vec<String> {
    let text = os.read_file_now(View::Host, b"/etc/default/docker");
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    let said = text
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix("DOCKER_OPTS="));
    let said = said.unwrap_or_default().trim_matches(['"', '\'']);
    said.split_whitespace().map(str::to_string).collect()
}

/// One process, from its start to its end.
async fn process(os: &Rc<dyn Os>) -> os::Result<ExitStatus> {
    let appending = OpenFlags {
        write: true,
        create: true,
        append: true,
        ..OpenFlags::default()
    };
    let reading = OpenFlags {
        read: true,
        ..OpenFlags::default()
    };
    let null = os.open(View::Host, b"/dev/null", reading, 0)?;
    let log = os.open(View::Host, LOG.as_bytes(), appending, 0o644)?;
    let task = os.clone_task(&CloneSpec {
        name: "dockerd".to_string(),
        ..CloneSpec::default()
    })?;
    for (fd, handle) in [(0, &null), (1, &log), (2, &log)] {
        os.set_fd(task, fd, handle)?;
    }
    drop((null, log));
    let path = b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_vec();
    let words = boot_options(os);
    let words: Vec<&str> = ["dockerd"]
        .into_iter()
        .chain(words.iter().map(String::as_str))
        .collect();
    if let Err(errno) = exec(os, task, PROGRAM, &words, &[path]).await {
        os.kill(task, 9)?;
        os.wait(task).await?;
        return Err(errno);
    }
    os.wait(task).await
}

/// The process that a machine's daemon is, if it runs.
pub(crate) fn running(os: &Rc<dyn Os>) -> Option<u32> {
    other_daemon(os, PID_FILE)
}

/// What the command line says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    /// What `daemon.json` could say, too.
    settings: Map<String, Value>,
    pid_file: String,
    file: String,
    validate: bool,
}

/// What a command line leads to.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Run(Options),
    Version,
    Help,
    /// An option is wrong.
    Wrong(String),
    /// There is something that is no option.
    Argument,
}

const HELP: &str = include_str!("node/dockerd.help");

/// How an option's value goes into the settings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flag,
    Number,
    Text,
    List,
    Map,
    Limits,
}

/// Options that `daemon.json` knows by another name, or whose values are no plain texts: option, letter, key, kind.
const OPTIONS: [(&str, &str, &str, Kind); 35] = [
    ("debug", "D", "debug", Kind::Flag),
    ("experimental", "", "experimental", Kind::Flag),
    ("icc", "", "icc", Kind::Flag),
    ("init", "", "init", Kind::Flag),
    ("ip-forward", "", "ip-forward", Kind::Flag),
    ("ip-masq", "", "ip-masq", Kind::Flag),
    ("ip6tables", "", "ip6tables", Kind::Flag),
    ("iptables", "", "iptables", Kind::Flag),
    ("ipv6", "", "ipv6", Kind::Flag),
    ("live-restore", "", "live-restore", Kind::Flag),
    ("no-new-privileges", "", "no-new-privileges", Kind::Flag),
    ("raw-logs", "", "raw-logs", Kind::Flag),
    ("selinux-enabled", "", "selinux-enabled", Kind::Flag),
    ("tls", "", "tls", Kind::Flag),
    ("tlsverify", "", "tlsverify", Kind::Flag),
    ("userland-proxy", "", "userland-proxy", Kind::Flag),
    (
        "max-concurrent-downloads",
        "",
        "max-concurrent-downloads",
        Kind::Number,
    ),
    (
        "max-concurrent-uploads",
        "",
        "max-concurrent-uploads",
        Kind::Number,
    ),
    (
        "max-download-attempts",
        "",
        "max-download-attempts",
        Kind::Number,
    ),
    ("mtu", "", "mtu", Kind::Number),
    ("shutdown-timeout", "", "shutdown-timeout", Kind::Number),
    ("host", "H", "hosts", Kind::List),
    ("label", "", "labels", Kind::List),
    ("dns", "", "dns", Kind::List),
    ("dns-opt", "", "dns-opts", Kind::List),
    ("dns-search", "", "dns-search", Kind::List),
    ("exec-opt", "", "exec-opts", Kind::List),
    ("insecure-registry", "", "insecure-registries", Kind::List),
    ("registry-mirror", "", "registry-mirrors", Kind::List),
    ("storage-opt", "", "storage-opts", Kind::List),
    ("log-opt", "", "log-opts", Kind::Map),
    ("default-ulimit", "", "default-ulimits", Kind::Limits),
    ("log-level", "l", "log-level", Kind::Text),
    ("storage-driver", "s", "storage-driver", Kind::Text),
    ("bridge", "b", "bridge", Kind::Text),
];

/// Options with a text, of the same name in `daemon.json`.
const TEXTS: [&str; 14] = [
    "bip",
    "cgroup-parent",
    "containerd",
    "data-root",
    "default-cgroupns-mode",
    "default-ipc-mode",
    "default-runtime",
    "default-shm-size",
    "exec-root",
    "group",
    "ip",
    "log-driver",
    "log-format",
    "userns-remap",
];

fn option(word: &str) -> Option<(&'static str, Kind)> {
    let (name, letter) = match word.strip_prefix("--") {
        Some(name) => (name, None),
        None => ("", word.strip_prefix('-')),
    };
    let known = |(long, short, key, kind): &(&'static str, &'static str, &'static str, Kind)| {
        let found =
            *long == name || letter.is_some_and(|letter| !letter.is_empty() && letter == *short);
        found.then_some((*key, *kind))
    };
    let text = || Some((*TEXTS.iter().find(|known| **known == name)?, Kind::Text));
    OPTIONS.iter().find_map(known).or_else(text)
}

/// Puts an option's value into the settings.
fn set(settings: &mut Map<String, Value>, key: &str, kind: Kind, value: &str) -> Option<()> {
    let pair = || value.split_once('=');
    let place = settings.entry(key);
    match kind {
        Kind::Flag => *place.or_insert(Value::Null) = Value::Bool(value.parse().ok()?),
        Kind::Number => *place.or_insert(Value::Null) = Value::from(value.parse::<i64>().ok()?),
        Kind::Text => *place.or_insert(Value::Null) = Value::from(value),
        Kind::List => {
            let list = place.or_insert_with(|| Value::Array(Vec::new()));
            list.as_array_mut()?.push(Value::from(value));
        }
        Kind::Map => {
            let (name, value) = pair()?;
            let members = place.or_insert_with(|| Value::Object(Map::new()));
            members
                .as_object_mut()?
                .insert(name.to_string(), Value::from(value));
        }
        Kind::Limits => {
            let (name, limits) = pair()?;
            let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
            let (soft, hard): (i64, i64) = (soft.parse().ok()?, hard.parse().ok()?);
            let limit = serde_json::json!({"Name": name, "Soft": soft, "Hard": hard});
            let members = place.or_insert_with(|| Value::Object(Map::new()));
            members.as_object_mut()?.insert(name.to_string(), limit);
        }
    }
    Some(())
}

fn parse(argv: &[Vec<u8>]) -> Parsed {
    let mut options = Options {
        pid_file: PID_FILE.to_string(),
        file: SETTINGS.to_string(),
        ..Options::default()
    };
    let mut words = argv
        .iter()
        .skip(1)
        .map(|word| String::from_utf8_lossy(word));
    while let Some(word) = words.next() {
        let (flag, joined) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_string())),
            _ => (&*word, None),
        };
        let known = match flag {
            "-v" | "--version" => return Parsed::Version,
            "-h" | "--help" => return Parsed::Help,
            "--validate" => {
                options.validate = true;
                continue;
            }
            "-p" | "--pidfile" | "--config-file" => Some(("", Kind::Text)),
            _ => option(flag),
        };
        let Some((key, kind)) = known else {
            return match (flag.starts_with("--"), flag.chars().nth(1)) {
                (true, _) => Parsed::Wrong(format!("unknown flag: {flag}")),
                (false, Some(letter)) if flag.starts_with('-') => {
                    Parsed::Wrong(format!("unknown shorthand flag: '{letter}' in {flag}"))
                }
                _ => Parsed::Argument,
            };
        };
        let value = match (kind, joined) {
            (_, Some(value)) => value,
            (Kind::Flag, None) => "true".to_string(),
            (_, None) => match words.next() {
                Some(value) => value.into_owned(),
                None => {
                    let letter = flag.trim_start_matches('-');
                    return Parsed::Wrong(match flag.starts_with("--") {
                        true => format!("flag needs an argument: {flag}"),
                        false => format!("flag needs an argument: '{letter}' in {flag}"),
                    });
                }
            },
        };
        match flag {
            "--config-file" => options.file = value,
            "-p" | "--pidfile" => options.pid_file = value,
            _ => {
                if set(&mut options.settings, key, kind, &value).is_none() {
                    return Parsed::Wrong(format!(
                        "invalid argument \"{value}\" for \"{flag}\" flag"
                    ));
                }
            }
        }
    }
    Parsed::Run(options)
}

/// The process's output.
struct Log<'a> {
    os: &'a Rc<dyn Os>,
    out: Option<Rc<dyn Handle>>,
    err: Option<Rc<dyn Handle>>,
}

impl Log<'_> {
    async fn write(handle: Option<&Rc<dyn Handle>>, text: &str) {
        if let Some(handle) = handle {
            // A daemon whose log cannot be written goes on.
            let _ = ext::write_all(handle, text.as_bytes()).await;
        }
    }

    async fn print(&self, text: &str) {
        Log::write(self.out.as_ref(), text).await;
    }

    async fn error(&self, text: &str) {
        Log::write(self.err.as_ref(), text).await;
    }

    async fn line(&self, level: &str, message: &str) {
        self.line_of(level, message, "").await;
    }

    /// A line with more fields, which begin with a blank.
    async fn line_of(&self, level: &str, message: &str, fields: &str) {
        let time = engine::timestamp(self.os.clock().realtime());
        let message = message.replace('\\', "\\\\").replace('"', "\\\"");
        let message = message.replace('\n', "\\n");
        let line = format!("time=\"{time}\" level={level} msg=\"{message}\"{fields}\n");
        self.error(&line).await;
    }
}

async fn run(os: &Rc<dyn Os>, engine: &Rc<Engine>, invocation: &Invocation) -> u8 {
    let log = Log {
        os,
        out: invocation.descriptor(1),
        err: invocation.descriptor(2),
    };
    let options = match parse(&invocation.argv) {
        Parsed::Run(options) => options,
        Parsed::Version => {
            let version = engine.version();
            log.print(&format!("Docker version {version}, build drydock\n"))
                .await;
            return 0;
        }
        Parsed::Help => {
            log.print(HELP).await;
            return 0;
        }
        Parsed::Wrong(why) => {
            log.error(&format!(
                "Status: {why}\nSee 'dockerd --help'., Code: 125\n"
            ))
            .await;
            return 1;
        }
        Parsed::Argument => {
            let usage = HELP.lines().skip(1).take(3).collect::<Vec<_>>().join("\n");
            let text =
                format!("\"dockerd\" accepts no argument(s).\nSee 'dockerd --help'.\n\n{usage}\n");
            log.error(&text).await;
            return 1;
        }
    };
    match daemon(os, engine, invocation, &options, &log).await {
        Ok(()) => 0,
        Err(why) => {
            log.error(&format!("{why}\n")).await;
            1
        }
    }
}

/// The content of the settings' file, which need not be there, and what options say.
fn settings(os: &Rc<dyn Os>, options: &Options) -> Result<Settings, String> {
    let path = &options.file;
    let failed =
        |why: String| format!("unable to configure the Docker daemon with file {path}: {why}");
    let text = match os.read_file_now(View::Host, path.as_bytes()) {
        Ok(text) => text,
        Err(Errno::ENOENT | Errno::ENOTDIR) if path == SETTINGS => Vec::new(),
        Err(errno) => return Err(failed(format!("open {path}: {}", errno.go_description()))),
    };
    let mut settings = Settings::parse(&text, &options.settings).map_err(failed)?;
    if settings.hosts.is_empty() {
        settings.hosts.push(SOCKET.to_string());
    }
    for host in &mut settings.hosts {
        let whole = bind_address(host).map_err(|why| {
            failed(format!(
                "merged configuration validation from file and command line flags failed: invalid bind address \
                 ({host}): {why}"
            ))
        })?;
        *host = whole;
    }
    Ok(settings)
}

/// Another daemon that runs.
fn other_daemon(os: &Rc<dyn Os>, pid_file: &str) -> Option<u32> {
    let text = os.read_file_now(View::Host, pid_file.as_bytes()).ok()?;
    let pid: u32 = String::from_utf8_lossy(&text).trim().parse().ok()?;
    os.kill(TaskId(pid), 0).ok().map(|()| pid)
}

async fn daemon(
    os: &Rc<dyn Os>,
    engine: &Rc<Engine>,
    invocation: &Invocation,
    options: &Options,
    log: &Log<'_>,
) -> Result<(), String> {
    if invocation.euid() != 0 {
        return Err("dockerd needs to be started with root privileges. To run dockerd in rootless mode as an \
                    unprivileged user, see https://docs.docker.com/go/rootless/"
            .to_string());
    }
    let found = settings(os, options)?;
    if options.validate {
        return match found.refused() {
            Some(why) => Err(why),
            None => {
                log.error("configuration OK\n").await;
                Ok(())
            }
        };
    }
    log.line("info", "Starting up").await;
    if found.experimental {
        log.line("warning", "Running experimental build").await;
    }
    for key in &found.ignored {
        let text = format!(
            "{key} in {} has no effect in this version of Drydock",
            options.file
        );
        log.line("warning", &text).await;
    }
    for key in ["insecure-registries", "registry-mirrors"] {
        if options.settings.contains_key(key) {
            let text = format!("{key} has no effect as an option: put it into {SETTINGS}");
            log.line("warning", &text).await;
        }
    }
    if let Some(pid) = other_daemon(os, &options.pid_file) {
        return Err(format!(
            "failed to start daemon, ensure docker is not running or delete {}: process with PID {pid} is still \
             running",
            options.pid_file
        ));
    }
    if let Some(why) = found.refused() {
        return Err(why);
    }
    let mut listeners = Vec::new();
    for host in &found.hosts {
        warn(os, host, found.knows_of_tls(), log).await;
        listeners.push(listen(os, host).map_err(|why| format!("failed to load listeners: {why}"))?);
    }
    if invocation.is_killed() {
        return Ok(());
    }
    let pid = invocation.pid().to_string();
    os.write_file(
        View::Host,
        options.pid_file.as_bytes(),
        pid.as_bytes(),
        0o644,
    )
    .map_err(|errno| {
        let (file, why) = (&options.pid_file, errno.go_description());
        format!("failed to start daemon: open {file}: {why}")
    })?;
    log.line("info", "Loading containers: start.").await;
    let warnings = found.warnings();
    engine.start_up(found).await;
    log.line("info", "Loading containers: done.").await;
    for warning in &warnings {
        log.line("warning", warning).await;
    }
    log.line("info", "Daemon has completed initialization")
        .await;
    let mut servers = Vec::new();
    for Listening { name, path, socket } in listeners {
        log.line("info", &format!("API listen on {name}")).await;
        let service: Rc<dyn Service> = Rc::<Engine>::clone(engine);
        servers.push((path, socket::serve(os, socket, service)));
    }
    let ended_well = serve(os, engine, invocation, options, log).await;
    for (path, server) in servers {
        server.close();
        if let Some(path) = path.filter(|_| ended_well) {
            let _ = os.unlink(View::Host, path.as_bytes());
        }
    }
    if ended_well {
        let _ = os.unlink(View::Host, options.pid_file.as_bytes());
        log.line("info", "Daemon shutdown complete").await;
    }
    Ok(())
}

/// Follows signals until one ends it; false: it was killed.
async fn serve(
    os: &Rc<dyn Os>,
    engine: &Rc<Engine>,
    invocation: &Invocation,
    options: &Options,
    log: &Log<'_>,
) -> bool {
    loop {
        match invocation.signal().await {
            None => {
                engine.crash();
                return false;
            }
            Some(SIGHUP) => {
                let file = &options.file;
                let text = format!("Got signal to reload configuration, reloading from: {file}");
                log.line("info", &text).await;
                match settings(os, options) {
                    Ok(found) => engine.reload(found),
                    Err(why) => log.line("error", &why).await,
                }
            }
            Some(signal @ (SIGINT | SIGTERM)) => {
                let name = if signal == SIGINT {
                    "interrupt"
                } else {
                    "terminated"
                };
                log.line("info", &format!("Processing signal '{name}'"))
                    .await;
                let down = std::pin::pin!(engine.shut_down());
                let killed = std::pin::pin!(killed(invocation));
                return match futures_util::future::select(down, killed).await {
                    futures_util::future::Either::Left(_) => true,
                    futures_util::future::Either::Right(_) => {
                        engine.crash();
                        false
                    }
                };
            }
            Some(_) => {}
        }
    }
}

/// Waits until the process is killed; other signals are too late.
async fn killed(invocation: &Invocation) {
    while invocation.signal().await.is_some() {}
}

/// A socket that is listened on.
struct Listening {
    /// As the log has it.
    name: String,
    /// The file of a Unix socket.
    path: Option<String>,
    socket: Rc<dyn Listener>,
}

/// Connections over TCP, without who they are from.
struct Tcp(Rc<dyn TcpListener>);

impl Listener for Tcp {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<os::Result<Rc<dyn Handle>>> {
        self.0.poll_accept(cx).map_ok(|(handle, _)| handle)
    }
}

/// An address of `--host` with what is left out of it.
fn bind_address(host: &str) -> Result<String, String> {
    let (scheme, rest) = match host.split_once("://") {
        Some(parts) => parts,
        None if host.is_empty() => return Ok(SOCKET.to_string()),
        None => ("tcp", host),
    };
    match scheme {
        "unix" if rest.is_empty() => Ok(SOCKET.to_string()),
        "unix" | "fd" => Ok(host.to_string()),
        "tcp" => {
            let (name, port) = rest.rsplit_once(':').unwrap_or((rest, ""));
            let name = if name.is_empty() { "localhost" } else { name };
            let port = if port.is_empty() { "2375" } else { port };
            match port.parse::<u16>() {
                Ok(port) => Ok(format!("tcp://{name}:{port}")),
                Err(_) => Err(format!(
                    "parse \"{host}\": invalid port \":{port}\" after host"
                )),
            }
        }
        scheme => Err(format!("unsupported proto '{scheme}'")),
    }
}

/// The address that a name stands for on this machine.
fn resolve(os: &Rc<dyn Os>, name: &str) -> Option<IpAddr> {
    if let Ok(address) = name.parse() {
        return Some(address);
    }
    let hosts = os.read_file_now(View::Host, b"/etc/hosts").ok()?;
    let hosts = String::from_utf8_lossy(&hosts).into_owned();
    hosts.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        (address.is_ipv4() && words.any(|word| word == name)).then_some(address)
    })
}

/// Who lets everybody in is told so, and waits, as with Docker.
async fn warn(os: &Rc<dyn Os>, host: &str, knows_of_tls: bool, log: &Log<'_>) {
    const OPEN: [&str; 3] = [
        "Binding to IP address without --tlsverify is insecure and gives root access on this machine to everyone who \
         has access to your network.",
        "Binding to an IP address, even on localhost, can also give access to scripts run in a browser. Be safe out \
         there!",
        "[DEPRECATION NOTICE] In future versions this will be a hard failure preventing the daemon from starting! \
         Learn more at: https://docs.docker.com/go/api-security/",
    ];
    const SLOWED: [&str; 4] = [
        "Binding to an IP address without --tlsverify is deprecated. Startup is intentionally being slowed down to \
         show this message",
        "Please consider generating tls certificates with client validation to prevent exposing unauthenticated root \
         access to your network",
        "You can override this by explicitly specifying '--tls=false' or '--tlsverify=false'",
        "Support for listening on TCP without authentication or explicit intent to run without authentication will be \
         removed in the next release",
    ];
    const SECOND: u64 = 1_000_000_000;
    let Some(address) = host.strip_prefix("tcp://") else {
        return;
    };
    let field = format!(" host=\"{host}\"");
    for text in OPEN {
        log.line_of("warning", text, &field).await;
    }
    os.clock().sleep(SECOND).await;
    let name = address.rsplit_once(':').map_or(address, |(name, _)| name);
    let here = name == "localhost" || resolve(os, name).is_some_and(|ip| ip.is_loopback());
    if knows_of_tls || here {
        return;
    }
    for text in SLOWED {
        log.line_of("warning", text, &field).await;
    }
    os.clock().sleep(15 * SECOND).await;
}

fn listen(os: &Rc<dyn Os>, host: &str) -> Result<Listening, String> {
    let (scheme, rest) = host.split_once("://").unwrap_or(("", host));
    match scheme {
        "unix" => {
            // An old socket is in the way, of an earlier daemon.
            let socket = os
                .unix_listen(View::Host, rest.as_bytes(), 0o660)
                .map_err(|errno| {
                    let why = errno.go_description();
                    format!("can't create unix socket {rest}: {why}")
                })?;
            Ok(Listening {
                name: rest.to_string(),
                path: Some(rest.to_string()),
                socket,
            })
        }
        "tcp" => {
            let (name, port) = rest.rsplit_once(':').unwrap_or((rest, "2375"));
            let port: u16 = port.parse().unwrap_or(2375);
            let name = name.trim_start_matches('[').trim_end_matches(']');
            let ip = resolve(os, name)
                .ok_or_else(|| format!("listen tcp: lookup {name}: no such host"))?;
            let socket = os
                .tcp_listen(View::Host, SocketAddr::new(ip, port))
                .map_err(|errno| format!("listen tcp {rest}: bind: {}", errno.go_description()))?;
            let local = socket.local_address().map_err(|errno| errno.to_string())?;
            Ok(Listening {
                name: match ip.is_unspecified() {
                    true => format!("[::]:{}", local.port()),
                    false => local.to_string(),
                },
                path: None,
                socket: Rc::new(Tcp(socket)),
            })
        }
        _ => Err(
            "no sockets found via socket activation: make sure the service was started by systemd"
                .to_string(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let parsed = |line: &str| {
            let words = format!("dockerd {line}");
            let words: Vec<Vec<u8>> = words
                .split_whitespace()
                .map(|word| word.as_bytes().to_vec())
                .collect();
            parse(&words)
        };
        let Parsed::Run(options) = parsed(
            "-D -H unix:///a --host=tcp://:2376 -p /p --log-opt max-size=1m --default-ulimit nofile=5:9 \
             --live-restore=false --max-concurrent-downloads 2",
        ) else {
            panic!("all of that can be said");
        };
        assert_eq!(
            (options.pid_file.as_str(), options.file.as_str()),
            ("/p", SETTINGS)
        );
        assert_eq!(
            Value::Object(options.settings),
            serde_json::json!({
                "debug": true, "hosts": ["unix:///a", "tcp://:2376"], "log-opts": {"max-size": "1m"},
                "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 5, "Hard": 9}}, "live-restore": false,
                "max-concurrent-downloads": 2,
            })
        );
        assert_eq!(parsed("-v"), Parsed::Version);
        assert_eq!(parsed("now"), Parsed::Argument);
        for (line, why) in [
            ("--nosuch", "unknown flag: --nosuch"),
            ("-x", "unknown shorthand flag: 'x' in -x"),
            ("-H", "flag needs an argument: 'H' in -H"),
            ("--mtu x", "invalid argument \"x\" for \"--mtu\" flag"),
        ] {
            assert_eq!(parsed(line), Parsed::Wrong(why.to_string()));
        }
    }

    #[test]
    fn addresses() {
        for (given, expected) in [
            ("", Ok(SOCKET)),
            ("unix://", Ok(SOCKET)),
            ("tcp://", Ok("tcp://localhost:2375")),
            ("tcp://0.0.0.0:1", Ok("tcp://0.0.0.0:1")),
            ("127.0.0.1:2375", Ok("tcp://127.0.0.1:2375")),
            ("foo://1.2.3.4", Err("unsupported proto 'foo'")),
            (
                "tcp://1.2.3.4:x",
                Err("parse \"tcp://1.2.3.4:x\": invalid port \":x\" after host"),
            ),
        ] {
            let expected = expected.map(str::to_string).map_err(str::to_string);
            assert_eq!(bind_address(given), expected);
        }
    }
}
