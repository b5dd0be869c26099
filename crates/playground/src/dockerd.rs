//! `dockerd`, a builtin program of the machine: the engine as a process that can be started, signalled, killed
//! and started again; and the init script that does so.
//!
//! The process holds the daemon up: while it runs, the engine works and its sockets listen. SIGTERM stops the
//! containers first, SIGKILL takes them along; what is on the disk is what the next one begins with.

use std::rc::{Rc, Weak};

use engine::{Engine, Settings};
use kernel::Kernel;
use kernel::builtin::Invocation;
use os::{CloneSpec, Errno, ExitStatus, Handle, OpenFlags, Os, OsExt, TaskId, View, ext};
use serve::Service;

use crate::machine::exec;
use crate::socket::{self, Server};

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
    if let Err(errno) = exec(os, task, PROGRAM, &["dockerd"], &[path]).await {
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
    hosts: Vec<String>,
    pid_file: String,
    settings: String,
    debug: bool,
}

/// What a command line leads to.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Run(Options),
    Version,
    Help,
    Wrong(String),
}

const HELP: &str = "\nUsage:  dockerd [OPTIONS]\n\nA self-sufficient runtime for containers.\n\nOptions:\n\
    \x20     --config-file string   Daemon configuration file (default \"/etc/docker/daemon.json\")\n\
    \x20 -D, --debug                Enable debug mode\n\
    \x20     --help                 Print usage\n\
    \x20 -H, --host list            Daemon socket(s) to connect to\n\
    \x20 -p, --pidfile string       Path to use for daemon PID file (default \"/var/run/docker.pid\")\n\
    \x20 -v, --version              Print version information and quit\n";

fn parse(argv: &[Vec<u8>]) -> Parsed {
    let mut options = Options {
        pid_file: PID_FILE.to_string(),
        settings: SETTINGS.to_string(),
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
        match flag {
            "-v" | "--version" => return Parsed::Version,
            "-h" | "--help" => return Parsed::Help,
            "-D" | "--debug" => options.debug = true,
            "-H" | "--host" | "-p" | "--pidfile" | "--config-file" => {
                let Some(value) = joined.or_else(|| words.next().map(std::borrow::Cow::into_owned))
                else {
                    return Parsed::Wrong(format!("flag needs an argument: {flag}"));
                };
                match flag {
                    "-H" | "--host" => options.hosts.push(value),
                    "--config-file" => options.settings = value,
                    _ => options.pid_file = value,
                }
            }
            flag if flag.starts_with("--") => {
                return Parsed::Wrong(format!("unknown flag: {flag}"));
            }
            flag if flag.starts_with('-') => {
                let letter = flag.chars().nth(1).unwrap_or('-');
                return Parsed::Wrong(format!("unknown shorthand flag: '{letter}' in {flag}"));
            }
            _ => return Parsed::Wrong("\"dockerd\" accepts no arguments.".to_string()),
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
        let time = engine::timestamp(self.os.clock().realtime());
        let message = message.replace('\\', "\\\\").replace('"', "\\\"");
        let line = format!("time=\"{time}\" level={level} msg=\"{message}\"\n");
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
            log.error(&format!("{why}\nSee 'dockerd --help'.\n")).await;
            return 125;
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

/// The content of a settings file, as settings. There may be none.
fn settings(os: &Rc<dyn Os>, path: &str) -> Result<Settings, String> {
    let failed =
        |why: String| format!("unable to configure the Docker daemon with file {path}: {why}");
    match os.read_file_now(View::Host, path.as_bytes()) {
        Ok(text) => Settings::parse(&text).map_err(failed),
        Err(Errno::ENOENT | Errno::ENOTDIR) if path == SETTINGS => Ok(Settings::default()),
        Err(errno) => Err(failed(format!("open {path}: {}", errno.go_description()))),
    }
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
    let found = settings(os, &options.settings)?;
    if !options.hosts.is_empty() && !found.hosts.is_empty() {
        return Err(format!(
            "unable to configure the Docker daemon with file {}: the following directives are specified both as a \
             flag and in the configuration file: hosts: (from flag: [{}], from file: [{}])",
            options.settings,
            options.hosts.join(" "),
            found.hosts.join(" ")
        ));
    }
    log.line("info", "Starting up").await;
    for key in &found.ignored {
        let text = format!(
            "{key} in {} has no effect in this version of Drydock",
            options.settings
        );
        log.line("warning", &text).await;
    }
    if let Some(pid) = other_daemon(os, &options.pid_file) {
        return Err(format!(
            "failed to start daemon, ensure docker is not running or delete {}: process with PID {pid} is still \
             running",
            options.pid_file
        ));
    }
    let servers = listen(os, engine, options, &found)?;
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
    engine.start_up(with_flags(found, options));
    log.line("info", "Loading containers: done.").await;
    log.line("info", "Daemon has completed initialization")
        .await;
    for (path, _) in &servers {
        log.line("info", &format!("API listen on {path}")).await;
    }
    let ended_well = serve(os, engine, invocation, options, log).await;
    for (path, server) in servers {
        server.close();
        if ended_well {
            let _ = os.unlink(View::Host, path.as_bytes());
        }
    }
    if ended_well {
        let _ = os.unlink(View::Host, options.pid_file.as_bytes());
        log.line("info", "Daemon shutdown complete").await;
    }
    Ok(())
}

fn with_flags(mut settings: Settings, options: &Options) -> Settings {
    settings.debug |= options.debug;
    settings
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
                let file = &options.settings;
                let text = format!("Got signal to reload configuration, reloading from: {file}");
                log.line("info", &text).await;
                match settings(os, file) {
                    Ok(found) => engine.reload(with_flags(found, options)),
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

/// Sockets that are asked for, with their paths.
fn listen(
    os: &Rc<dyn Os>,
    engine: &Rc<Engine>,
    options: &Options,
    settings: &Settings,
) -> Result<Vec<(String, Server)>, String> {
    let mut hosts = [&options.hosts[..], &settings.hosts[..]].concat();
    if hosts.is_empty() {
        hosts.push(SOCKET.to_string());
    }
    let mut servers: Vec<(String, Server)> = Vec::new();
    for host in hosts {
        let failed = |why: String| format!("failed to load listeners: {why}");
        let path = match host.split_once("://") {
            Some(("unix", "")) => SOCKET.trim_start_matches("unix://"),
            Some(("unix", path)) => path,
            Some(("fd", _)) => {
                let why = "no sockets found via socket activation: make sure the service was started by systemd";
                return Err(failed(why.to_string()));
            }
            Some(("tcp", _)) => {
                let why = format!("{host}: this version of Drydock listens on Unix sockets only");
                return Err(failed(why));
            }
            _ => return Err(failed(format!("invalid bind address format: {host}"))),
        };
        // An old socket is in the way, of an earlier daemon.
        let listener = os
            .unix_listen(View::Host, path.as_bytes(), 0o660)
            .map_err(|errno| {
                let why = errno.go_description();
                failed(format!("can't create unix socket {path}: {why}"))
            })?;
        let service: Rc<dyn Service> = Rc::<Engine>::clone(engine);
        servers.push((path.to_string(), socket::serve(os, listener, service)));
    }
    Ok(servers)
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
        assert_eq!(
            parsed("-D -H unix:///a --host=unix:///b -p /p"),
            Parsed::Run(Options {
                hosts: vec!["unix:///a".to_string(), "unix:///b".to_string()],
                pid_file: "/p".to_string(),
                settings: SETTINGS.to_string(),
                debug: true,
            })
        );
        assert_eq!(parsed("-v"), Parsed::Version);
        for (line, why) in [
            ("--nosuch", "unknown flag: --nosuch"),
            ("-x", "unknown shorthand flag: 'x' in -x"),
            ("now", "\"dockerd\" accepts no arguments."),
            ("-H", "flag needs an argument: -H"),
        ] {
            assert_eq!(parsed(line), Parsed::Wrong(why.to_string()));
        }
    }
}
