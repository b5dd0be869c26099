//! Files of /proc about the machine as a whole.

use std::fmt::Write;
use std::rc::Rc;

use abi::{Errno, Result};
use clock::NANOS_PER_SEC;
use mem::Kind;
use vfs::inode::InodeRef;

use super::{ProcFs, kind, ticks};
use crate::Kernel;
use crate::cgroup::{Cgroup, io};
use crate::pseudo::{Body, Content, Dir, Entry, ino_of};
use crate::sched::load::FIXED_1;
use crate::task::TaskState;

type Text = fn(&Rc<Kernel>) -> String;

type Written = fn(&Rc<Kernel>, &[u8]) -> Result<()>;

enum What {
    Dir,
    Text(Text),
    /// Only written to.
    Trigger(Written),
}

/// A file or directory: path below /proc, mode, what it is.
struct Spec {
    path: &'static str,
    perm: u32,
    what: What,
}

const fn file(path: &'static str, text: Text) -> Spec {
    Spec {
        path,
        perm: 0o444,
        what: What::Text(text),
    }
}

const fn dir(path: &'static str) -> Spec {
    Spec {
        path,
        perm: 0o555,
        what: What::Dir,
    }
}

const FILES: &[Spec] = &[
    file("cgroups", cgroups),
    file("cmdline", |_| "console=ttyS0 root=/dev/root rw\n".into()),
    file("consoles", |_| {
        "ttyS0                -W- (EC   a)    4:64\n".into()
    }),
    file("cpuinfo", cpuinfo),
    file("devices", |_| DEVICES.into()),
    file("diskstats", diskstats),
    file("execdomains", |_| {
        "0-0\tLinux           \t[kernel]\n".into()
    }),
    file("filesystems", filesystems),
    file("interrupts", |_| {
        "           CPU0       \n  5:          0  RISC-V INTC   5 Edge      riscv-timer\n".into()
    }),
    file("iomem", |_| String::new()),
    file("ioports", |_| String::new()),
    file("loadavg", loadavg),
    file("locks", |_| String::new()),
    file("meminfo", meminfo),
    file("misc", |_| "229 fuse\n".into()),
    file("modules", |_| String::new()),
    file("partitions", partitions),
    file("softirqs", |_| {
        "                    CPU0       \n       TIMER:          0\n".into()
    }),
    file("stat", stat),
    file("swaps", |_| {
        "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".into()
    }),
    Spec {
        path: "sysrq-trigger",
        perm: 0o200,
        what: What::Trigger(sysrq),
    },
    file("uptime", uptime),
    file("version", version),
    file("vmstat", vmstat),
    dir("bus"),
    dir("driver"),
    dir("fs"),
    dir("irq"),
    dir("sysvipc"),
    file("sysvipc/msg", crate::sysv_msg::proc_msg),
    file("sysvipc/sem", crate::sysv_sem::proc_sem),
    file("sysvipc/shm", crate::sysv::proc_shm),
    dir("tty"),
    file("tty/drivers", |_| TTY_DRIVERS.into()),
    file("tty/ldiscs", |_| "n_tty       0\n".into()),
];

const DEVICES: &str = "Character devices:
  1 mem
  4 ttyS
  5 /dev/tty
  5 /dev/console
  5 /dev/ptmx
 10 misc
128 ptm
136 pts

Block devices:
254 virtblk
";

const TTY_DRIVERS: &str = "\
/dev/tty             /dev/tty        5       0 system:/dev/tty
/dev/console         /dev/console    5       1 system:console
/dev/ptmx            /dev/ptmx       5       2 system
serial               /dev/ttyS       4 64-67 serial
pty_slave            /dev/pts      136 0-1048575 pty:slave
pty_master           /dev/ptm      128 0-1048575 pty:master
";

/// The name of `path` when it is directly in `parent`.
fn name_in<'p>(parent: &str, path: &'p str) -> Option<&'p str> {
    let rest = if parent.is_empty() {
        path
    } else {
        path.strip_prefix(parent)?.strip_prefix('/')?
    };
    (!rest.contains('/')).then_some(rest)
}

/// The entry `name` of the directory `parent` (`""` for /proc itself).
pub(super) fn lookup(fs: &Rc<ProcFs>, parent: &'static str, name: &[u8]) -> Result<InodeRef> {
    let found = FILES
        .iter()
        .find(|spec| name_in(parent, spec.path).is_some_and(|known| known.as_bytes() == name));
    let spec = found.ok_or(Errno::ENOENT)?;
    let (maker, ino) = (fs.maker(), ino_of(spec.path.as_bytes(), 1));
    let owned = Rc::clone(fs);
    Ok(match spec.what {
        What::Dir => maker.dir(
            ino,
            SystemDir {
                fs: owned,
                path: spec.path,
            },
        ),
        What::Text(text) => maker.read_only(ino, spec.perm, move || {
            Ok(text(&owned.kernel()?).into_bytes())
        }),
        What::Trigger(written) => {
            let content = Rc::new(Trigger { fs: owned, written });
            maker.node(ino, spec.perm, Body::File(content))
        }
    })
}

struct Trigger {
    fs: Rc<ProcFs>,
    written: Written,
}

impl Content for Trigger {
    fn read(&self) -> Result<Vec<u8>> {
        Err(Errno::EIO)
    }

    fn write(&self, text: &[u8]) -> Result<()> {
        (self.written)(&self.fs.kernel()?, text)
    }
}

/// `/proc/sysrq-trigger` (Linux, Documentation/admin-guide/sysrq.rst). Of the keys there is `c`, which
/// crashes the machine the way a bug of ours would: it shows that the others go on.
fn sysrq(kernel: &Rc<Kernel>, text: &[u8]) -> Result<()> {
    match text.first() {
        Some(b'c') => {
            kernel.log("sysrq: Trigger a crash");
            panic!("sysrq triggered crash");
        }
        Some(_) => kernel.log("sysrq: HELP : crash(c)"),
        None => {}
    }
    Ok(())
}

/// The entries of the directory `parent`.
pub(super) fn entries(parent: &str) -> Vec<Entry> {
    let specs = FILES
        .iter()
        .filter_map(|spec| Some((name_in(parent, spec.path)?, spec)));
    specs
        .map(|(name, spec)| Entry {
            name: name.as_bytes().to_vec(),
            ino: ino_of(spec.path.as_bytes(), 1),
            file_type: kind(matches!(spec.what, What::Dir)),
        })
        .collect()
}

struct SystemDir {
    fs: Rc<ProcFs>,
    path: &'static str,
}

impl Dir for SystemDir {
    fn lookup(&self, name: &[u8]) -> Result<InodeRef> {
        lookup(&self.fs, self.path, name)
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        Ok(entries(self.path))
    }
}

/// Nanoseconds since boot.
pub(super) fn uptime_ns(kernel: &Kernel) -> u64 {
    kernel.clock.now().since(kernel.boot)
}

fn cgroups(kernel: &Rc<Kernel>) -> String {
    let count = kernel.cgroup_root.descendant_count() + 1;
    let mut text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n".to_string();
    for name in ["cpuset", "cpu", "io", "memory", "pids"] {
        let _ = writeln!(text, "{name}\t0\t{count}\t1");
    }
    text
}

fn cpuinfo(_: &Rc<Kernel>) -> String {
    let isa = "rv64imafdc_zicntr_zicsr_zifencei";
    format!(
        "processor\t: 0\nhart\t\t: 0\nisa\t\t: {isa}\nmmu\t\t: sv48\nuarch\t\t: drydock,rv64\n\
         mvendorid\t: 0x0\nmarchid\t\t: 0x0\nmimpid\t\t: 0x0\nhart isa\t: {isa}\n\n"
    )
}

fn filesystems(kernel: &Rc<Kernel>) -> String {
    kernel
        .registry
        .names()
        .iter()
        .map(|name| format!("nodev\t{name}\n"))
        .collect()
}

fn loadavg(kernel: &Rc<Kernel>) -> String {
    let [one, five, fifteen] = kernel.load.get().map(|load| {
        let rounded = load + FIXED_1 / 200;
        format!(
            "{}.{:02}",
            rounded / FIXED_1,
            rounded % FIXED_1 * 100 / FIXED_1
        )
    });
    let (running, all) = task_counts(kernel);
    let last = kernel.init_ns.pid.last_pid();
    format!("{one} {five} {fifteen} {}/{all} {last}\n", running.max(1))
}

/// Runnable and all tasks.
fn task_counts(kernel: &Kernel) -> (usize, usize) {
    let tasks = kernel.tasks.borrow();
    let running = tasks
        .values()
        .filter(|task| task.state() == TaskState::Runnable)
        .count();
    (running, tasks.len())
}

fn meminfo(kernel: &Rc<Kernel>) -> String {
    let account = &kernel.cgroup_root.memory.account;
    let of = |kind| account.of_kind(kind) / 1024;
    let total = kernel.config.memory / 1024;
    // What is neither in use nor taken by the other machines of the playground.
    let free = account.room() / 1024;
    let used = total.saturating_sub(free);
    let (anon, shmem, slab) = (of(Kind::Anon), of(Kind::Shmem), of(Kind::Slab));
    let mut text = String::with_capacity(1300);
    for (name, value) in [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", free),
        ("Buffers", 0),
        ("Cached", shmem),
        ("SwapCached", 0),
        ("Active", 0),
        ("Inactive", anon + shmem),
        ("Active(anon)", 0),
        ("Inactive(anon)", anon + shmem),
        ("Active(file)", 0),
        ("Inactive(file)", 0),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", anon),
        ("Mapped", shmem),
        ("Shmem", shmem),
        ("KReclaimable", 0),
        ("Slab", slab),
        ("SReclaimable", 0),
        ("SUnreclaim", slab),
        ("KernelStack", of(Kind::KernelStack)),
        ("PageTables", of(Kind::PageTables)),
        ("NFS_Unstable", 0),
        ("Bounce", 0),
        ("WritebackTmp", 0),
        ("CommitLimit", total / 2),
        ("Committed_AS", used),
        ("VmallocTotal", 67_108_863),
        ("VmallocUsed", 0),
        ("VmallocChunk", 0),
        ("Percpu", 0),
    ] {
        let label = format!("{name}:");
        let _ = writeln!(text, "{label:<15} {value:>8} kB");
    }
    for name in [
        "HugePages_Total:",
        "HugePages_Free:",
        "HugePages_Rsvd:",
        "HugePages_Surp:",
    ] {
        let _ = writeln!(text, "{name:<15} {:>8}", 0);
    }
    text.push_str("Hugepagesize:       2048 kB\nHugetlb:               0 kB\n");
    text
}

/// User, system and idle time since boot, in nanoseconds.
fn cpu_times(kernel: &Kernel) -> (u64, u64, u64) {
    let cpu = &kernel.cgroup_root.cpu;
    let (user, system) = (cpu.user_ns.get(), cpu.system_ns.get());
    (
        user,
        system,
        uptime_ns(kernel).saturating_sub(user + system),
    )
}

fn stat(kernel: &Rc<Kernel>) -> String {
    let (user, system, idle) = cpu_times(kernel);
    let (user, system, idle) = (ticks(user), ticks(system), ticks(idle));
    let boot_time = kernel
        .clock
        .unix_seconds()
        .saturating_sub(uptime_ns(kernel) / NANOS_PER_SEC);
    let (running, _) = task_counts(kernel);
    let blocked = kernel
        .tasks
        .borrow()
        .values()
        .filter(|task| task.state_letter() == 'D')
        .count();
    let (switches, forks) = (kernel.switches.get(), kernel.forks.get());
    format!(
        "cpu  {user} 0 {system} {idle} 0 0 0 0 0 0\ncpu0 {user} 0 {system} {idle} 0 0 0 0 0 0\n\
         intr {switches} 0 0 0 0 0\nctxt {switches}\nbtime {boot_time}\nprocesses {forks}\n\
         procs_running {}\nprocs_blocked {blocked}\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
        running.max(1)
    )
}

fn uptime(kernel: &Rc<Kernel>) -> String {
    let seconds = |nanos: u64| format!("{}.{:02}", nanos / NANOS_PER_SEC, nanos / 10_000_000 % 100);
    let (_, _, idle) = cpu_times(kernel);
    format!("{} {}\n", seconds(uptime_ns(kernel)), seconds(idle))
}

/// Size of the machine's disk in bytes; 0 without one.
pub(crate) fn disk_size(kernel: &Kernel) -> u64 {
    let disk = kernel.config.disk.as_ref();
    disk.and_then(|disk| disk.max()).unwrap_or(0)
}

/// Operations and sectors of 512 bytes that `/proc/diskstats` and `/sys/block/vda/stat` have, reading
/// first. The disk takes no time of its own.
pub(crate) fn disk_counts(kernel: &Kernel) -> String {
    let io = &kernel.cgroup_root.io;
    let [read, write] = [&io.read, &io.write].map(|flow| {
        let (operations, sectors) = (flow.operations.get(), flow.bytes.get().div_ceil(512));
        (operations, sectors)
    });
    format!(
        "{} 0 {} 0 {} 0 {} 0 0 0 0 0 0 0 0 0 0",
        read.0, read.1, write.0, write.1
    )
}

fn diskstats(kernel: &Rc<Kernel>) -> String {
    if disk_size(kernel) == 0 {
        return String::new();
    }
    let ((major, minor), name) = (io::DEVICE, io::DEVICE_NAME);
    format!("{major:>4} {minor:>7} {name} {}\n", disk_counts(kernel))
}

fn partitions(kernel: &Rc<Kernel>) -> String {
    let mut text = "major minor  #blocks  name\n\n".to_string();
    let size = disk_size(kernel);
    if size > 0 {
        let ((major, minor), name) = (io::DEVICE, io::DEVICE_NAME);
        let _ = writeln!(text, "{major:>4} {minor:>8} {:>10} {name}", size / 1024);
    }
    text
}

/// What `uname -v` says.
pub const VERSION: &str = "#1 SMP Drydock";

fn version(kernel: &Rc<Kernel>) -> String {
    format!(
        "Linux version {} (drydock@drydock) (rustc) {VERSION}\n",
        kernel.config.release
    )
}

fn vmstat(kernel: &Rc<Kernel>) -> String {
    let root: &Rc<Cgroup> = &kernel.cgroup_root;
    let account = &root.memory.account;
    let pages = |bytes: u64| bytes / 4096;
    let (anon, shmem) = (account.of_kind(Kind::Anon), account.of_kind(Kind::Shmem));
    let free = pages(account.room());
    let mut text = String::new();
    for (name, value) in [
        ("nr_free_pages", free),
        ("nr_inactive_anon", pages(anon)),
        ("nr_active_anon", 0),
        ("nr_inactive_file", 0),
        ("nr_active_file", 0),
        ("nr_anon_pages", pages(anon)),
        ("nr_mapped", pages(shmem)),
        ("nr_file_pages", pages(shmem)),
        ("nr_dirty", 0),
        ("nr_writeback", 0),
        ("nr_shmem", pages(shmem)),
        ("pgpgin", root.io.read.bytes.get() / 1024),
        ("pgpgout", root.io.write.bytes.get() / 1024),
        ("pswpin", 0),
        ("pswpout", 0),
        ("pgfault", root.memory.faults.get()),
        ("pgmajfault", root.memory.major_faults.get()),
        ("oom_kill", root.memory.events.oom_kill.get()),
    ] {
        let _ = writeln!(text, "{name} {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_directories() {
        assert_eq!(name_in("", "stat"), Some("stat"));
        assert_eq!(name_in("", "tty/drivers"), None);
        assert_eq!(name_in("tty", "tty/drivers"), Some("drivers"));
        assert_eq!(name_in("tt", "tty/drivers"), None);
    }
}
