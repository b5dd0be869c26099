//! One host: a kernel, its daemons, its consoles.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use clock::{Clock, Executor, Instant, WaitQueue};
use engine::Engine;
use kernel::Kernel;
use layers::Store;
use os::{
    CloneSpec, Errno, ExitStatus, Handle, MountFlags, Os, OsExt, TaskId, View, WindowSize, ext,
};
use serve::Service;
use vfs::inode::FileSystem;
use vfs::tmpfs::{Tmpfs, TmpfsOptions};

use crate::budget::MachineBudget;
use crate::dockerd;
use crate::power::{self, Init};

/// Output a console keeps before programs that write have to wait.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// Leaves the alternate screen, and what else a full-screen program may have left, behind. The cursor is saved first:
/// leaving restores it, also where there was no alternate screen.
const SCREEN_RESET: &[u8] = b"\x1b7\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1006l\x1b[!p\x1b[m";
/// Between the seeds of two boots.
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// Where Docker keeps its data.
const DOCKER_ROOT: &str = "/var/lib/docker";

/// What a machine is made with.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// Name, which is its host name.
    pub name: String,
    /// Its address on the playground's network.
    pub ip: String,
    /// Everything random follows from it.
    pub seed: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Nanoseconds from 1970 to instant 0 of the clock.
    pub epoch_ns: u64,
    /// What its memory and its disk are charged to.
    pub budget: MachineBudget,
}

/// What a turn of a machine left behind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Turned {
    /// It goes on.
    Ran {
        /// There is more to compute at once.
        busy: bool,
        /// When something is to happen by itself.
        next_deadline: Option<Instant>,
        /// Instructions executed.
        used: u64,
    },
    /// A bug of ours stopped it.
    Crashed(String),
}

/// A host of the playground.
pub struct Machine {
    config: MachineConfig,
    kernel: Rc<Kernel>,
    os: Rc<dyn Os>,
    engine: Rc<Engine>,
    console: Rc<Console>,
    init: Rc<Init>,
    hardware: Rc<Hardware>,
}

/// What a restart leaves as it was.
struct Hardware {
    root: Rc<dyn FileSystem>,
    /// Docker's data, a disk of its own.
    docker: Rc<dyn FileSystem>,
    registry: Rc<dyn Service>,
    clock: Clock,
    executor: Executor,
    /// How often it has been switched on.
    boots: Cell<u64>,
}

/// A machine that is switched off: its disks, and what its screen shows.
pub struct Off {
    config: MachineConfig,
    console: Rc<Console>,
    hardware: Rc<Hardware>,
    trace: Option<kernel::strace::TraceSink>,
}

/// The keyboard and screen of a machine, held on the outside.
#[derive(Default)]
pub(crate) struct Console {
    master: RefCell<Option<Rc<dyn Handle>>>,
    typed: RefCell<VecDeque<u8>>,
    output: RefCell<VecDeque<u8>>,
    size: Cell<WindowSize>,
    ended: Cell<Option<ExitStatus>>,
    changed: WaitQueue,
}

/// A program started from outside: its input, output and end.
pub struct Command {
    /// What it wrote to standard output, taken by the owner.
    pub stdout: Rc<RefCell<Vec<u8>>>,
    /// What it wrote to standard error.
    pub stderr: Rc<RefCell<Vec<u8>>>,
    status: Rc<RefCell<Option<os::Result<ExitStatus>>>>,
}

impl Command {
    /// How it ended, once it has and all its output is there.
    #[must_use]
    pub fn status(&self) -> Option<os::Result<ExitStatus>> {
        *self.status.borrow()
    }
}

impl Off {
    /// A new machine with a root file system; `registry` is where its Docker pulls from.
    #[must_use]
    pub fn new(
        config: MachineConfig,
        root: Rc<dyn FileSystem>,
        registry: Rc<dyn Service>,
        clock: Clock,
        executor: Executor,
    ) -> Off {
        // Docker's data lies on a file system of its own on the machine's disk, not in the overlay of the
        // root: containers' overlays are over plain layers, as on a host.
        let options = TmpfsOptions {
            mode: 0o710,
            ..TmpfsOptions::on_disk(&config.budget.disk)
        };
        let console = Console::default();
        console.size.set(WindowSize { rows: 24, cols: 80 });
        Off {
            config,
            console: Rc::new(console),
            hardware: Rc::new(Hardware {
                root,
                docker: Tmpfs::new(&clock, options),
                registry,
                clock,
                executor,
                boots: Cell::new(0),
            }),
            trace: None,
        }
    }

    /// As it was made.
    #[must_use]
    pub fn config(&self) -> &MachineConfig {
        &self.config
    }

    /// Its clock, which goes on.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.hardware.clock
    }

    /// Switches it on.
    pub fn boot(self, now: Instant) -> Result<Machine, String> {
        Machine::boot(self, now)
    }

    /// True when its screen has something to show.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.console.output.borrow().is_empty()
    }

    /// Takes at most `bytes_max` of it.
    #[must_use]
    pub fn output(&self, bytes_max: usize) -> Vec<u8> {
        self.console.take(bytes_max)
    }

    /// The terminal's new size.
    pub fn resize(&self, cols: u16, rows: u16) {
        self.console.size.set(WindowSize { rows, cols });
    }
}

impl Machine {
    /// The error says what could not be set up.
    fn boot(off: Off, now: Instant) -> Result<Machine, String> {
        let Off {
            config,
            console,
            hardware,
            trace,
        } = off;
        let (clock, executor) = (hardware.clock.clone(), hardware.executor.clone());
        clock.advance_to(now);
        let boots = hardware.boots.get();
        hardware.boots.set(boots + 1);
        let kernel_config = kernel::Config {
            // Names and numbers that an earlier run gave are on the disk: this one gives others.
            seed: config.seed.wrapping_add(boots.wrapping_mul(SEED_STEP)),
            memory: config.memory,
            hostname: config.name.clone(),
            budget: Some(Rc::clone(&config.budget.memory)),
            disk: Some(Rc::clone(&config.budget.disk)),
            ..kernel::Config::default()
        };
        let kernel = Kernel::new(clock, executor, kernel_config, &hardware.root);
        let docker = Rc::clone(&hardware.docker);
        let disk = move |_: &vfs::registry::MountRequest<'_>| Ok(Rc::clone(&docker));
        kernel.registry.register(kernel::DISK, disk);
        let failed = |what: &str, error: Errno| format!("{}: {what}: {error}", config.name);
        kernel::mount_standard(&kernel)
            .map_err(|error| failed("mounting /proc, /sys and /dev", error))?;
        let os: Rc<dyn Os> = kernel::KernelOs::new(Rc::clone(&kernel));
        if boots == 0 {
            configure(&os, &config).map_err(|error| failed("writing /etc", error))?;
        } else if let Ok(name) = os.read_file_now(View::Host, b"/etc/hostname") {
            // A name that is too long or empty is left alone, as init would.
            let _ = kernel.init_ns.uts.set_hostname(name.trim_ascii());
        }
        os.mkdir_all(View::Host, DOCKER_ROOT.as_bytes(), 0o710)
            .and_then(|()| {
                os.mount(
                    View::Host,
                    b"tmpfs",
                    DOCKER_ROOT.as_bytes(),
                    kernel::DISK,
                    MountFlags::default(),
                    b"",
                )
            })
            .map_err(|error| failed("mounting /var/lib/docker", error))?;
        let store = Store::open(Rc::clone(&os), DOCKER_ROOT)
            .map_err(|error| format!("{}: {error}", config.name))?;
        let registry = Rc::clone(&hardware.registry);
        let engine = Engine::new(Rc::clone(&os), store, registry, engine::Config::default());
        let init = Init::new(&kernel, &os, &console);
        dockerd::install(&kernel, &os, &engine, boots == 0)
            .map_err(|error| failed("writing dockerd", error))?;
        power::install(&kernel, &os, &init, boots == 0)
            .map_err(|error| failed("writing shutdown", error))?;
        dockerd::start(&os);
        let machine = Machine {
            config,
            kernel,
            os,
            engine,
            console,
            init,
            hardware,
        };
        machine.trace(trace);
        Ok(machine)
    }

    /// Switches it off, in whatever state it is.
    #[must_use]
    pub fn switch_off(self) -> Off {
        let console = Console::default();
        console.size.set(self.console.size.get());
        let shown = self.console.take(usize::MAX);
        console.show(&shown);
        // The end of a machine's own doing is told on its screen, which whatever program left as it is.
        if self.kernel.power().is_some()
            && let Some(line) = self.kernel.log_lines().last()
        {
            let micros = line.at.since(self.kernel.boot) / 1000;
            let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
            let text = format!("\r\n[{seconds:5}.{micros:06}] {}\r\n", line.text);
            console.show(SCREEN_RESET);
            console.show(text.as_bytes());
        }
        Off {
            config: self.config.clone(),
            console: Rc::new(console),
            hardware: Rc::clone(&self.hardware),
            trace: self.kernel.take_trace_sink(),
        }
    }

    /// Its init, which ends it in good order.
    #[must_use]
    pub fn init(&self) -> &Rc<Init> {
        &self.init
    }

    /// As it was made.
    #[must_use]
    pub fn config(&self) -> &MachineConfig {
        &self.config
    }

    /// The machine's kernel, for those who look inside (strace, statistics).
    #[must_use]
    pub fn kernel(&self) -> &Rc<Kernel> {
        &self.kernel
    }

    /// Sends the system calls of all programs, present and future, to `sink`; `None` stops that.
    pub fn trace(&self, sink: Option<kernel::strace::TraceSink>) {
        let on = sink.is_some();
        self.kernel.set_trace_sink(sink);
        self.kernel.trace_new_tasks.set(on);
        for task in self.kernel.init_ns.pid.tasks() {
            task.traced.set(on);
        }
    }

    /// The machine as its daemons see it.
    #[must_use]
    pub fn os(&self) -> &Rc<dyn Os> {
        &self.os
    }

    /// Its Docker.
    #[must_use]
    pub fn engine(&self) -> &Rc<Engine> {
        &self.engine
    }

    /// Starts a login shell on the console; with `respawn` another one whenever it ends.
    pub fn start_console(&self, respawn: bool) {
        let (os, console) = (Rc::clone(&self.os), Rc::clone(&self.console));
        let (init, ip) = (Rc::clone(&self.init), self.config.ip.clone());
        os.executor().spawn(async move {
            loop {
                match console.session(&os, &ip).await {
                    Ok(status) => console.ended.set(Some(status)),
                    Err(text) => {
                        console.show(format!("\r\n{text}\r\n").as_bytes());
                        console.ended.set(Some(ExitStatus::Exited(1)));
                        return;
                    }
                }
                if !respawn || init.is_ending() {
                    return;
                }
                console.show(b"\r\n");
            }
        });
    }

    /// How the console's last shell ended, once one has.
    #[must_use]
    pub fn console_ended(&self) -> Option<ExitStatus> {
        let ended = self.console.ended.get();
        // What ends with the whole machine has not ended by itself.
        ended.filter(|_| !self.init.is_ending())
    }

    /// Keys for the console.
    pub fn input(&self, bytes: &[u8]) {
        self.console.typed.borrow_mut().extend(bytes);
        self.console.changed.wake_all();
    }

    /// Takes at most `bytes_max` of what the console shows.
    #[must_use]
    pub fn output(&self, bytes_max: usize) -> Vec<u8> {
        self.console.take(bytes_max)
    }

    /// True when the console has something to show.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.console.output.borrow().is_empty()
    }

    /// The console's new size.
    pub fn resize(&self, cols: u16, rows: u16) {
        let size = WindowSize { rows, cols };
        self.console.size.set(size);
        if let Some(master) = &*self.console.master.borrow() {
            // A terminal that is just going away needs no size.
            let _ = master.set_window_size(size);
        }
    }

    /// Runs `bash -lc COMMANDS` without a terminal.
    pub fn run(&self, commands: &str, stdin: Vec<u8>) -> Command {
        let command = Command {
            stdout: Rc::default(),
            stderr: Rc::default(),
            status: Rc::default(),
        };
        let (stdout, stderr) = (Rc::clone(&command.stdout), Rc::clone(&command.stderr));
        let status = Rc::clone(&command.status);
        let (os, commands, ip) = (
            Rc::clone(&self.os),
            commands.to_string(),
            self.config.ip.clone(),
        );
        os.executor().spawn(async move {
            let outcome = run(&os, &commands, &ip, stdin, stdout, stderr).await;
            *status.borrow_mut() = Some(outcome);
        });
        command
    }

    /// The text of a crash, with what is needed to make it happen again.
    #[must_use]
    pub fn describe_crash(&self, text: &str) -> String {
        self.kernel.describe_crash(text)
    }

    /// Lets the machine work; see [`Kernel::turn`].
    pub fn turn(&self, now: Instant, fuel: u64) -> Turned {
        match self.kernel.turn(now, fuel) {
            kernel::Turn::Ran {
                busy,
                next_deadline,
                used,
            } => Turned::Ran {
                busy,
                next_deadline,
                used,
            },
            kernel::Turn::Crashed(text) => Turned::Crashed(text),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kernel.power_off();
    }
}

/// Files that differ from host to host.
fn configure(os: &Rc<dyn Os>, config: &MachineConfig) -> os::Result<()> {
    let (name, ip) = (&config.name, &config.ip);
    let hosts = format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
         ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n{ip}\t{name}\n"
    );
    os.mkdir_all(View::Host, b"/etc", 0o755)?;
    for (path, content) in [
        ("/etc/hostname", format!("{name}\n")),
        ("/etc/hosts", hosts),
        (
            "/etc/resolv.conf",
            format!("nameserver {}\n", crate::lan::GATEWAY),
        ),
    ] {
        os.write_file(View::Host, path.as_bytes(), content.as_bytes(), 0o644)?;
    }
    os.mkdir_all(View::Host, b"/root", 0o700)
}

/// Environment of a login on the machine.
fn environment(ip: &str, terminal: bool) -> Vec<Vec<u8>> {
    let mut variables = vec![
        "HOME=/root".to_string(),
        "USER=root".to_string(),
        "LOGNAME=root".to_string(),
        "SHELL=/bin/bash".to_string(),
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_string(),
        "LANG=C.UTF-8".to_string(),
        format!("PWD_IP_ADDRESS={ip}"),
    ];
    if terminal {
        variables.push("TERM=xterm-256color".to_string());
        variables.push("COLORTERM=truecolor".to_string());
    }
    variables.into_iter().map(String::into_bytes).collect()
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// `execve`, again when the program's bytes had to be fetched first.
pub(crate) async fn exec(
    os: &Rc<dyn Os>,
    task: TaskId,
    path: &str,
    argv: &[&str],
    envp: &[Vec<u8>],
) -> os::Result<()> {
    loop {
        match os.exec(task, path.as_bytes(), &words(argv), envp) {
            // The kernel has asked for the missing bytes; look again when time has passed.
            Err(Errno::NOT_HERE_YET) => os.clock().sleep(1_000_000).await,
            other => return other,
        }
    }
}

async fn run(
    os: &Rc<dyn Os>,
    commands: &str,
    ip: &str,
    stdin: Vec<u8>,
    stdout: Rc<RefCell<Vec<u8>>>,
    stderr: Rc<RefCell<Vec<u8>>>,
) -> os::Result<ExitStatus> {
    let task = os.clone_task(&CloneSpec {
        name: "bash".to_string(),
        ..CloneSpec::default()
    })?;
    let (input, writer) = os.pipe()?;
    let (out_reader, out) = os.pipe()?;
    let (err_reader, err) = os.pipe()?;
    for (fd, handle) in [(0, input), (1, out), (2, err)] {
        os.set_fd(task, fd, &handle)?;
    }
    let executor = os.executor();
    executor.spawn(async move { ext::write_all(&writer, &stdin).await });
    let readers = [(out_reader, stdout), (err_reader, stderr)].map(|(handle, sink)| {
        executor.spawn(async move {
            while let Ok(bytes) = ext::read_some(&handle, 64 * 1024).await {
                if bytes.is_empty() {
                    return;
                }
                sink.borrow_mut().extend(bytes);
            }
        })
    });
    os.set_cwd(task, b"/root")?;
    if let Err(error) = exec(
        os,
        task,
        "/bin/bash",
        &["bash", "-lc", commands],
        &environment(ip, false),
    )
    .await
    {
        // The task never ran a program: it must not stay behind.
        os.kill(task, 9)?;
        os.wait(task).await?;
        return Err(error);
    }
    let status = os.wait(task).await?;
    for reader in readers {
        reader.await;
    }
    Ok(status)
}

impl Console {
    pub(crate) fn show(&self, bytes: &[u8]) {
        self.output.borrow_mut().extend(bytes);
    }

    fn take(&self, bytes_max: usize) -> Vec<u8> {
        let mut output = self.output.borrow_mut();
        let count = output.len().min(bytes_max);
        let bytes = output.drain(..count).collect();
        drop(output);
        self.changed.wake_all();
        bytes
    }

    /// One login shell, from its start to its end.
    async fn session(self: &Rc<Self>, os: &Rc<dyn Os>, ip: &str) -> Result<ExitStatus, String> {
        let failed = |what: &str| {
            let what = what.to_string();
            move |error: Errno| format!("{what}: {error}")
        };
        let pty = os
            .open_pty(View::Host)
            .map_err(failed("opening a terminal"))?;
        let _ = pty.master.set_window_size(self.size.get());
        *self.master.borrow_mut() = Some(Rc::clone(&pty.master));
        let task = os
            .clone_task(&CloneSpec {
                name: "login".to_string(),
                ..CloneSpec::default()
            })
            .map_err(failed("starting a shell"))?;
        for fd in 0..3 {
            os.set_fd(task, fd, &pty.slave)
                .map_err(failed("starting a shell"))?;
        }
        os.set_controlling_terminal(task, 0)
            .map_err(failed("starting a shell"))?;
        drop(pty.slave);
        let _ = os.set_cwd(task, b"/root");
        if let Ok(motd) = os.read_file(View::Host, b"/etc/motd").await {
            self.show(
                &String::from_utf8_lossy(&motd)
                    .replace('\n', "\r\n")
                    .into_bytes(),
            );
        }
        if let Err(error) = exec(os, task, "/bin/bash", &["-bash"], &environment(ip, true)).await {
            let _ = os.kill(task, 9);
            let _ = os.wait(task).await;
            return Err(format!("/bin/bash: {error}"));
        }
        let executor = os.executor();
        let screen = executor.spawn(Rc::clone(self).screen(Rc::clone(&pty.master)));
        let keyboard = executor.spawn(Rc::clone(self).keyboard(Rc::clone(&pty.master)));
        let status = os
            .wait(task)
            .await
            .map_err(failed("waiting for the shell"))?;
        // Background programs may still hold the terminal; the next shell gets a new one.
        keyboard.abort();
        screen.abort();
        self.master.borrow_mut().take();
        let mut rest = vec![0; 4096];
        let left = poll_fn(|cx| match pty.master.poll_read(cx, &mut rest) {
            Poll::Ready(Ok(count)) => Poll::Ready(count),
            _ => Poll::Ready(0),
        });
        let count = left.await;
        self.show(&rest[..count]);
        Ok(status)
    }

    async fn screen(self: Rc<Self>, master: Rc<dyn Handle>) {
        loop {
            let room = || (self.output.borrow().len() < OUTPUT_BYTES_MAX).then_some(());
            self.changed.wait_for(room).await;
            match ext::read_some(&master, 16 * 1024).await {
                Ok(bytes) if !bytes.is_empty() => self.show(&bytes),
                _ => return,
            }
        }
    }

    async fn keyboard(self: Rc<Self>, master: Rc<dyn Handle>) {
        loop {
            let typed = || {
                let mut typed = self.typed.borrow_mut();
                let count = typed.len().min(4096);
                (count > 0).then(|| typed.drain(..count).collect::<Vec<u8>>())
            };
            let bytes = self.changed.wait_for(typed).await;
            if ext::write_all(&master, &bytes).await.is_err() {
                return;
            }
        }
    }
}
