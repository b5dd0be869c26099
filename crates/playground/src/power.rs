//! The machine's end in good order: what its init does, and `reboot`, `poweroff`, `halt` and `shutdown`, the
//! builtin programs that ask it to. They print what systemd's print.
//!
//! Docker is stopped first, as by `service docker stop`; then all processes get SIGTERM and, some seconds later,
//! SIGKILL; then the kernel goes down. With `--force` it goes down at once, as if the plug had been pulled.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use clock::{JoinHandle, NANOS_PER_SEC};
use kernel::builtin::Invocation;
use kernel::{Kernel, Power, ThreadGroup};
use os::{Os, OsExt, TaskId, View, ext};

use crate::dockerd;
use crate::machine::Console;

/// Names of the one program.
const NAMES: [&str; 4] = ["halt", "poweroff", "reboot", "shutdown"];

/// Nanoseconds Docker has to stop its containers.
const DOCKER_NS: u64 = 90 * NANOS_PER_SEC;
/// Nanoseconds between SIGTERM and SIGKILL.
const TERM_NS: u64 = 5 * NANOS_PER_SEC;
/// Nanoseconds between two looks at who is left.
const LOOK_NS: u64 = 20_000_000;
/// Nanoseconds in which a terminal shows what it was sent last.
const SHOWN_NS: u64 = 100_000_000;

const SIGHUP: u32 = 1;
const SIGKILL: u32 = 9;
const SIGTERM: u32 = 15;
const SIGCONT: u32 = 18;

/// See the module's comment.
pub struct Init {
    kernel: Weak<Kernel>,
    os: Weak<dyn Os>,
    console: Rc<Console>,
    ending: Cell<bool>,
    /// What is to happen later.
    scheduled: RefCell<Option<JoinHandle<()>>>,
}

impl Init {
    pub(crate) fn new(kernel: &Rc<Kernel>, os: &Rc<dyn Os>, console: &Rc<Console>) -> Rc<Init> {
        Rc::new(Init {
            kernel: Rc::downgrade(kernel),
            os: Rc::downgrade(os),
            console: Rc::clone(console),
            ending: Cell::new(false),
            scheduled: RefCell::default(),
        })
    }

    /// Whether the machine is on its way down.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.ending.get()
    }

    /// The machine's button: it ends in good order, and if that takes too long for whoever presses it, a second
    /// time at once.
    pub fn press(self: &Rc<Self>, power: Power) {
        match self.kernel.upgrade() {
            Some(kernel) if self.ending.get() => kernel.go_down(power),
            _ => self.shut_down(power),
        }
    }

    fn shut_down(self: &Rc<Self>, power: Power) {
        let (Some(kernel), Some(os)) = (self.kernel.upgrade(), self.os.upgrade()) else {
            return;
        };
        if self.ending.replace(true) {
            return;
        }
        self.tell(&os, &format!("The system will {} now!", verb(power)));
        os.executor().clone().spawn(async move {
            stop_docker(&os).await;
            signal_all(&kernel, &os, &[SIGTERM, SIGHUP, SIGCONT]);
            gone(&kernel, &os, TERM_NS).await;
            signal_all(&kernel, &os, &[SIGKILL]);
            gone(&kernel, &os, NANOS_PER_SEC).await;
            os.clock().sleep(SHOWN_NS).await;
            kernel.go_down(power);
        });
    }

    /// Another one in its place; `None`: nothing will happen.
    fn schedule(&self, task: Option<JoinHandle<()>>) {
        let earlier = std::mem::replace(&mut *self.scheduled.borrow_mut(), task);
        if let Some(earlier) = earlier {
            earlier.abort();
        }
    }

    /// Tells who sits at the machine.
    fn tell(&self, os: &Rc<dyn Os>, text: &str) {
        let host = os.read_file_now(View::Host, b"/proc/sys/kernel/hostname");
        let host = String::from_utf8_lossy(&host.unwrap_or_default()).into_owned();
        let (host, date) = (host.trim(), date(os.clock().unix_seconds()));
        let text =
            format!("\r\nBroadcast message from root@{host} ({date}):\r\n\r\n{text}\r\n\r\n");
        self.console.show(text.as_bytes());
    }
}

fn verb(power: Power) -> &'static str {
    match power {
        Power::Restart => "reboot",
        Power::Off => "power off",
        Power::Halt => "halt",
    }
}

async fn stop_docker(os: &Rc<dyn Os>) {
    let Some(pid) = dockerd::running(os) else {
        return;
    };
    if os.kill(TaskId(pid), SIGTERM).is_err() {
        return;
    }
    let until = os.clock().now().plus(DOCKER_NS);
    while dockerd::running(os) == Some(pid) && os.clock().now() < until {
        os.clock().sleep(LOOK_NS).await;
    }
}

/// Processes with a program, of the machine and of its containers.
fn processes(kernel: &Kernel) -> impl Iterator<Item = Rc<ThreadGroup>> {
    let all = kernel.init_ns.pid.processes().into_iter();
    all.filter(|group| !group.is_kernel_task() && !group.is_zombie())
}

fn signal_all(kernel: &Kernel, os: &Rc<dyn Os>, signals: &[u32]) {
    for group in processes(kernel) {
        for &signal in signals {
            // Whoever has ended meanwhile needs none.
            let _ = os.kill(TaskId(group.pid().global()), signal);
        }
    }
}

async fn gone(kernel: &Kernel, os: &Rc<dyn Os>, nanos: u64) {
    let until = os.clock().now().plus(nanos);
    while processes(kernel).next().is_some() && os.clock().now() < until {
        os.clock().sleep(LOOK_NS).await;
    }
}

/// Adds the program to the machine and, to a new one, its files.
pub(crate) fn install(
    kernel: &Rc<Kernel>,
    os: &Rc<dyn Os>,
    init: &Rc<Init>,
    new: bool,
) -> os::Result<()> {
    let weak = Rc::downgrade(init);
    let program = kernel.add_builtin(Rc::new(move |invocation| {
        let init = Weak::clone(&weak);
        Box::pin(async move {
            match init.upgrade() {
                Some(init) => run(&init, &invocation).await,
                None => 1,
            }
        })
    }));
    for name in NAMES.iter().filter(|_| new) {
        let path = format!("/usr/sbin/{name}");
        os.write_file(View::Host, path.as_bytes(), &program, 0o755)?;
    }
    Ok(())
}

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// To go down: after so many minutes, or at a minute of the day; `None` is at once, without a farewell.
    Down(Power, Option<When>),
    Cancel,
    /// Only the record that no file here keeps.
    Nothing,
    Help,
    Wrong(String),
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum When {
    Minutes(u64),
    OfDay(u64),
}

fn parse(argv: &[Vec<u8>]) -> Asked {
    let words: Vec<_> = argv
        .iter()
        .map(|word| String::from_utf8_lossy(word))
        .collect();
    let (path, words) = match words.split_first() {
        Some((path, words)) => (path.as_ref(), words),
        None => ("", words.as_slice()),
    };
    let name = path.rsplit('/').next().unwrap_or_default();
    let mut power = match name {
        "reboot" => Power::Restart,
        "halt" => Power::Halt,
        _ => Power::Off,
    };
    let timed = name == "shutdown";
    let (mut force, mut nothing) = (false, false);
    let mut rest = Vec::new();
    for word in words {
        match word.as_ref() {
            "--help" => return Asked::Help,
            "-c" if timed => return Asked::Cancel,
            "-k" if timed => nothing = true,
            "-r" if timed => power = Power::Restart,
            "-h" if timed => power = Power::Off,
            "-w" | "--wtmp-only" if !timed => nothing = true,
            "-f" | "--force" if !timed => force = true,
            "-ff" if !timed => force = true,
            "-d" | "--no-wtmp" | "-n" | "--no-sync" if !timed => {}
            "-P" | "--poweroff" => power = Power::Off,
            "-p" if !timed => power = Power::Off,
            "-H" | "--halt" => power = Power::Halt,
            "--reboot" => power = Power::Restart,
            "--no-wall" => {}
            option if option.starts_with("--") => {
                return Asked::Wrong(format!("{name}: unrecognized option '{option}'"));
            }
            option if option.starts_with('-') && option.len() > 1 => {
                let letter = option.chars().nth(1).unwrap_or('-');
                return Asked::Wrong(format!("{name}: invalid option -- '{letter}'"));
            }
            other => rest.push(other),
        }
    }
    if !timed && !rest.is_empty() {
        return Asked::Wrong("Too many arguments.".to_string());
    }
    let when = match rest.first() {
        // The words behind the time are for those who sit at the machine; the message here is enough.
        Some(time) => match parse_time(time) {
            Some(when) => when,
            None => return Asked::Wrong(format!("Failed to parse time specification: {time}")),
        },
        None if timed => When::Minutes(1),
        None => When::Minutes(0),
    };
    match nothing {
        true => Asked::Nothing,
        false => Asked::Down(power, (!force).then_some(when)),
    }
}

fn parse_time(text: &str) -> Option<When> {
    if text == "now" {
        return Some(When::Minutes(0));
    }
    if let Some((hours, minutes)) = text.split_once(':') {
        let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
        return (hours < 24 && minutes < 60).then_some(When::OfDay(60 * hours + minutes));
    }
    let minutes: u64 = text.trim_start_matches('+').parse().ok()?;
    (minutes <= 366 * 24 * 60).then_some(When::Minutes(minutes))
}

async fn run(init: &Rc<Init>, invocation: &Invocation) -> u8 {
    let say = async |text: &str| {
        if let Some(err) = invocation.descriptor(2) {
            // Who has closed it does not want to know.
            let _ = ext::write_all(&err, text.as_bytes()).await;
        }
    };
    let (power, when) = match parse(&invocation.argv) {
        Asked::Help => {
            say(
                "Usage: shutdown [-r | -h | -P | -H | -k | -c] [now | +MINUTES | HH:MM]\n       \
                 reboot | poweroff | halt [--force]\n",
            )
            .await;
            return 0;
        }
        Asked::Wrong(why) => {
            say(&format!("{why}\n")).await;
            return 1;
        }
        _ if invocation.euid() != 0 => {
            say("Call to Reboot failed: Interactive authentication required.\n").await;
            return 1;
        }
        Asked::Nothing => return 0,
        Asked::Cancel => {
            init.schedule(None);
            return 0;
        }
        Asked::Down(power, when) => (power, when),
    };
    let (Some(kernel), Some(os)) = (init.kernel.upgrade(), init.os.upgrade()) else {
        return 1;
    };
    let now = os.clock().unix_seconds();
    let seconds = match when {
        None => {
            kernel.go_down(power);
            return 0;
        }
        Some(When::Minutes(0)) => {
            init.shut_down(power);
            return 0;
        }
        Some(When::Minutes(minutes)) => 60 * minutes,
        Some(When::OfDay(minute)) => {
            let today = now - now % 86400 + 60 * minute;
            if today > now {
                today - now
            } else {
                today + 86400 - now
            }
        }
    };
    let what = match power {
        Power::Restart => "Reboot",
        Power::Off => "Shutdown",
        Power::Halt => "Halt",
    };
    let at = date(now + seconds);
    say(&format!(
        "{what} scheduled for {at}, use 'shutdown -c' to cancel.\n"
    ))
    .await;
    let (weak, clock) = (Rc::downgrade(init), os.clock());
    let task = os.executor().spawn(async move {
        clock.sleep(seconds * NANOS_PER_SEC).await;
        if let Some(init) = weak.upgrade() {
            init.shut_down(power);
        }
    });
    init.schedule(Some(task));
    0
}

/// As systemd writes a time.
fn date(unix_seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let day = DAYS[(unix_seconds / 86400 % 7) as usize];
    let text = engine::timestamp(unix_seconds * NANOS_PER_SEC);
    let time = text.get(..19).unwrap_or_default().replace('T', " ");
    format!("{day} {time} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let parsed = |line: &str| {
            let words = line.split_whitespace();
            let words: Vec<Vec<u8>> = words.map(|word| word.as_bytes().to_vec()).collect();
            parse(&words)
        };
        let (now, off) = (Some(When::Minutes(0)), Power::Off);
        for (line, expected) in [
            ("/usr/sbin/reboot", Asked::Down(Power::Restart, now)),
            ("reboot -f", Asked::Down(Power::Restart, None)),
            ("halt", Asked::Down(Power::Halt, now)),
            ("halt -p", Asked::Down(off, now)),
            ("shutdown -r now", Asked::Down(Power::Restart, now)),
            ("shutdown -h now", Asked::Down(off, now)),
            ("shutdown", Asked::Down(off, Some(When::Minutes(1)))),
            (
                "shutdown +5 Lunch",
                Asked::Down(off, Some(When::Minutes(5))),
            ),
            ("shutdown 23:30", Asked::Down(off, Some(When::OfDay(1410)))),
            ("shutdown -c", Asked::Cancel),
            ("shutdown -k now", Asked::Nothing),
            (
                "shutdown 24:00",
                Asked::Wrong("Failed to parse time specification: 24:00".to_string()),
            ),
            (
                "reboot now",
                Asked::Wrong("Too many arguments.".to_string()),
            ),
            (
                "reboot -c",
                Asked::Wrong("reboot: invalid option -- 'c'".to_string()),
            ),
        ] {
            assert_eq!(parsed(line), expected, "{line}");
        }
    }

    #[test]
    fn dates() {
        assert_eq!(date(0), "Thu 1970-01-01 00:00:00 UTC");
        assert_eq!(date(1_800_000_000), "Fri 2027-01-15 08:00:00 UTC");
    }
}
