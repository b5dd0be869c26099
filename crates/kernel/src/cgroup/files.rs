//! The interface files of a cgroup: one table of name, controller, mode and what reading and writing do.
//!
//! Source: "Interface Files" in Documentation/admin-guide/cgroup-v2.rst.

use std::cell::Cell;
use std::fmt::Write;
use std::rc::Rc;
use std::task::Waker;

use abi::{Errno, Result};
use mem::{Full, Kind};

use super::cpu::PERIOD_US;
use super::memory::Events;
use super::{Cgroup, Controllers, io, tasks};
use crate::Kernel;
use crate::sched::fair::{WEIGHT_UNIT, nice_weight};

/// Where a file is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In every cgroup.
    Everywhere,
    /// In every cgroup but the root.
    NotRoot,
}

type Read = fn(&Rc<Kernel>, &Rc<Cgroup>) -> Result<String>;
type Write_ = fn(&Rc<Kernel>, &Rc<Cgroup>, &str) -> Result<()>;
type Version = fn(&Cgroup, Option<&Waker>) -> u64;

/// One interface file.
pub struct FileSpec {
    /// Name.
    pub name: &'static str,
    /// Controller it belongs to; empty: core.
    pub controller: Controllers,
    /// Which cgroups have it.
    pub place: Place,
    /// What reading gives.
    pub read: Option<Read>,
    /// What writing does.
    pub write: Option<Write_>,
    /// For `poll`: changes when the text does.
    pub version: Option<Version>,
}

impl FileSpec {
    const fn new(name: &'static str, controller: Controllers, place: Place) -> FileSpec {
        FileSpec {
            name,
            controller,
            place,
            read: None,
            write: None,
            version: None,
        }
    }

    const fn core(name: &'static str, place: Place) -> FileSpec {
        FileSpec::new(name, Controllers::empty(), place)
    }

    const fn of(controller: Controllers, name: &'static str) -> FileSpec {
        FileSpec::new(name, controller, Place::NotRoot)
    }

    const fn read(mut self, read: Read) -> FileSpec {
        self.read = Some(read);
        self
    }

    const fn write(mut self, write: Write_) -> FileSpec {
        self.write = Some(write);
        self
    }

    const fn polled(mut self, version: Version) -> FileSpec {
        self.version = Some(version);
        self
    }

    /// Permission bits until somebody changes them.
    #[must_use]
    pub fn perm(&self) -> u32 {
        let read = if self.read.is_some() { 0o444 } else { 0 };
        let write = if self.write.is_some() { 0o200 } else { 0 };
        read | write
    }

    /// True when `cgroup` has this file now.
    #[must_use]
    pub fn is_in(&self, cgroup: &Cgroup) -> bool {
        let place = self.place == Place::Everywhere || !cgroup.is_root();
        place && cgroup.available().contains(self.controller)
    }
}

use Place::{Everywhere, NotRoot};

const CPU: Controllers = Controllers::CPU;
const IO: Controllers = Controllers::IO;
const MEMORY: Controllers = Controllers::MEMORY;
const PIDS: Controllers = Controllers::PIDS;
const CPUSET: Controllers = Controllers::CPUSET;

/// Every file, in the order `ls -U` shows them.
pub const FILES: &[FileSpec] = &[
    FileSpec::core("cgroup.type", NotRoot)
        .read(read_type)
        .write(write_type),
    FileSpec::core("cgroup.procs", Everywhere)
        .read(tasks::procs)
        .write(tasks::write_procs),
    FileSpec::core("cgroup.threads", Everywhere)
        .read(tasks::threads)
        .write(tasks::write_threads),
    FileSpec::core("cgroup.controllers", Everywhere).read(|_, c| Ok(line(c.available().list()))),
    FileSpec::core("cgroup.subtree_control", Everywhere)
        .read(|_, c| Ok(line(c.subtree_control().list())))
        .write(|_, c, text| c.write_subtree_control(text)),
    FileSpec::core("cgroup.events", NotRoot)
        .read(read_events)
        .polled(|c, waker| {
            register(waker, &c.events_changed);
            c.events_changed.generation()
        }),
    FileSpec::core("cgroup.max.descendants", Everywhere)
        .read(|_, c| Ok(max(c.max_descendants().get())))
        .write(|_, c, text| set_max(c.max_descendants(), text)),
    FileSpec::core("cgroup.max.depth", Everywhere)
        .read(|_, c| Ok(max(c.max_depth().get())))
        .write(|_, c, text| set_max(c.max_depth(), text)),
    FileSpec::core("cgroup.stat", Everywhere).read(|_, c| {
        Ok(format!(
            "nr_descendants {}\nnr_dying_descendants 0\n",
            c.descendant_count()
        ))
    }),
    FileSpec::core("cgroup.freeze", NotRoot)
        .read(|_, c| Ok(flag(c.freezer.is_asked())))
        .write(|_, c, text| parse_flag(text).map(|frozen| c.set_frozen(frozen))),
    FileSpec::core("cgroup.kill", NotRoot).write(tasks::kill_all),
    FileSpec::of(CPUSET, "cpuset.cpus")
        .read(|_, c| Ok(c.cpuset.cpus.list().to_string()))
        .write(|_, c, text| c.cpuset.cpus.write(text)),
    FileSpec::new("cpuset.cpus.effective", CPUSET, Everywhere).read(|_, _| Ok("0\n".into())),
    FileSpec::of(CPUSET, "cpuset.mems")
        .read(|_, c| Ok(c.cpuset.mems.list().to_string()))
        .write(|_, c, text| c.cpuset.mems.write(text)),
    FileSpec::new("cpuset.mems.effective", CPUSET, Everywhere).read(|_, _| Ok("0\n".into())),
    FileSpec::core("cpu.stat", Everywhere).read(read_cpu_stat),
    FileSpec::of(CPU, "cpu.max")
        .read(read_cpu_max)
        .write(write_cpu_max),
    FileSpec::of(CPU, "cpu.max.burst")
        .read(|_, c| Ok(format!("{}\n", c.cpu.burst_us.get())))
        .write(write_cpu_burst),
    FileSpec::of(CPU, "cpu.weight")
        .read(read_cpu_weight)
        .write(write_cpu_weight),
    FileSpec::of(CPU, "cpu.weight.nice")
        .read(read_cpu_nice)
        .write(write_cpu_nice),
    FileSpec::of(CPU, "cpu.idle")
        .read(|_, c| Ok(flag(c.cpu.idle.get())))
        .write(write_cpu_idle),
    FileSpec::new("io.stat", IO, Everywhere).read(read_io_stat),
    FileSpec::of(IO, "io.max")
        .read(read_io_max)
        .write(write_io_max),
    FileSpec::of(IO, "io.weight")
        .read(|_, c| Ok(format!("default {}\n", c.io.weight.0.get())))
        .write(write_io_weight),
    FileSpec::of(MEMORY, "memory.current")
        .read(|_, c| Ok(line(c.memory.account.current().to_string()))),
    FileSpec::of(MEMORY, "memory.peak").read(|_, c| Ok(line(c.memory.account.peak().to_string()))),
    FileSpec::of(MEMORY, "memory.min")
        .read(|_, c| Ok(number(&c.memory.min)))
        .write(|_, c, text| set_bytes(&c.memory.min, text)),
    FileSpec::of(MEMORY, "memory.low")
        .read(|_, c| Ok(number(&c.memory.low)))
        .write(|_, c, text| set_bytes(&c.memory.low, text)),
    FileSpec::of(MEMORY, "memory.high")
        .read(|_, c| Ok(max(c.memory.account.high())))
        .write(|_, c, text| parse_bytes(text).map(|high| c.memory.account.set_high(high))),
    FileSpec::of(MEMORY, "memory.max")
        .read(|_, c| Ok(max(c.memory.account.max())))
        .write(write_memory_max),
    FileSpec::of(MEMORY, "memory.events")
        .read(|_, c| Ok(events(&c.memory.events)))
        .polled(|c, waker| {
            register(waker, &c.memory.events_changed);
            c.memory.events_changed.generation()
        }),
    FileSpec::of(MEMORY, "memory.events.local").read(|_, c| Ok(events(&c.memory.local_events))),
    FileSpec::new("memory.stat", MEMORY, Everywhere).read(read_memory_stat),
    FileSpec::of(MEMORY, "memory.oom.group")
        .read(|_, c| Ok(flag(c.memory.oom_group.get())))
        .write(|_, c, text| parse_flag(text).map(|on| c.memory.oom_group.set(on))),
    FileSpec::of(MEMORY, "memory.reclaim").write(write_reclaim),
    FileSpec::of(MEMORY, "memory.swap.current").read(|_, _| Ok("0\n".into())),
    FileSpec::of(MEMORY, "memory.swap.max")
        .read(|_, c| Ok(max(c.memory.swap_max.get())))
        .write(|_, c, text| parse_bytes(text).map(|limit| c.memory.swap_max.set(limit))),
    FileSpec::of(MEMORY, "memory.swap.peak").read(|_, _| Ok("0\n".into())),
    FileSpec::of(MEMORY, "memory.swap.events").read(|_, _| Ok("high 0\nmax 0\nfail 0\n".into())),
    FileSpec::of(PIDS, "pids.current").read(|_, c| Ok(number(&c.pids.current))),
    FileSpec::of(PIDS, "pids.max")
        .read(|_, c| Ok(max(c.pids.max.get())))
        .write(|_, c, text| set_max(&c.pids.max, text)),
    FileSpec::of(PIDS, "pids.events").read(|_, c| Ok(format!("max {}\n", c.pids.denied.get()))),
    FileSpec::of(PIDS, "pids.peak").read(|_, c| Ok(number(&c.pids.peak))),
];

fn register(waker: Option<&Waker>, queue: &clock::WaitQueue) {
    if let Some(waker) = waker {
        queue.register(waker);
    }
}

fn line(text: String) -> String {
    text + "\n"
}

fn number(cell: &Cell<u64>) -> String {
    format!("{}\n", cell.get())
}

fn flag(on: bool) -> String {
    format!("{}\n", u8::from(on))
}

fn max(value: Option<u64>) -> String {
    value.map_or_else(|| "max\n".to_string(), |value| format!("{value}\n"))
}

fn parse_flag(text: &str) -> Result<bool> {
    match text.trim() {
        "0" => Ok(false),
        "1" => Ok(true),
        text if text.parse::<i64>().is_ok() => Err(Errno::ERANGE),
        _ => Err(Errno::EINVAL),
    }
}

fn set_max(cell: &Cell<Option<u64>>, text: &str) -> Result<()> {
    cell.set(match text.trim() {
        "max" => None,
        text => Some(text.parse().map_err(|_| Errno::EINVAL)?),
    });
    Ok(())
}

/// Bytes with an optional K, M, G or T, cut down to whole pages; `max` is `None`.
fn parse_bytes(text: &str) -> Result<Option<u64>> {
    let text = text.trim();
    if text == "max" {
        return Ok(None);
    }
    let (digits, shift) = match text.as_bytes().last().map(u8::to_ascii_lowercase) {
        Some(b'k') => (&text[..text.len() - 1], 10),
        Some(b'm') => (&text[..text.len() - 1], 20),
        Some(b'g') => (&text[..text.len() - 1], 30),
        Some(b't') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let count: u64 = digits.parse().map_err(|_| Errno::EINVAL)?;
    let bytes = count.checked_mul(1 << shift).ok_or(Errno::EINVAL)?;
    Ok(Some(bytes & !4095))
}

fn set_bytes(cell: &Cell<u64>, text: &str) -> Result<()> {
    cell.set(parse_bytes(text)?.unwrap_or(!4095));
    Ok(())
}

fn read_type(_: &Rc<Kernel>, cgroup: &Rc<Cgroup>) -> Result<String> {
    if cgroup.is_removed() {
        return Err(Errno::ENODEV);
    }
    Ok("domain\n".into())
}

/// Threaded cgroups are not supported, which the file says as a kernel says it of a wrong place.
fn write_type(_: &Rc<Kernel>, _: &Rc<Cgroup>, text: &str) -> Result<()> {
    match text.trim() {
        "threaded" => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::EINVAL),
    }
}

fn read_events(_: &Rc<Kernel>, cgroup: &Rc<Cgroup>) -> Result<String> {
    let (populated, frozen) = (
        u8::from(cgroup.is_populated()),
        u8::from(cgroup.is_frozen()),
    );
    Ok(format!("populated {populated}\nfrozen {frozen}\n"))
}

// ---- cpu ----

fn read_cpu_stat(_: &Rc<Kernel>, cgroup: &Rc<Cgroup>) -> Result<String> {
    let cpu = &cgroup.cpu;
    let (user, system) = (cpu.user_ns.get() / 1000, cpu.system_ns.get() / 1000);
    let mut text = format!(
        "usage_usec {}\nuser_usec {user}\nsystem_usec {system}\n",
        user + system
    );
    if !cgroup.is_root() && cgroup.available().contains(CPU) {
        let (periods, throttled) = (cpu.periods.get(), cpu.throttled.get());
        let usec = cpu.throttled_ns.get() / 1000;
        let _ = write!(
            text,
            "nr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec {usec}\nnr_bursts 0\nburst_usec 0\n"
        );
    }
    Ok(text)
}

fn read_cpu_max(_: &Rc<Kernel>, cgroup: &Rc<Cgroup>) -> Result<String> {
    let quota = cgroup.cpu.quota_us.get();
    let quota = quota.map_or_else(|| "max".to_string(), |quota| quota.to_string());
    Ok(format!("{quota} {}\n", cgroup.cpu.period_us.get()))
}

fn write_cpu_max(_: &Rc<Kernel>, cgroup: &Rc<Cgroup>, text: &str) -> Result<()> {
    let mut words = text.split_ascii_whitespace();
    let quota = match words.next().ok_or(Errno::EINVAL)? {
        "max" => None,
        word => Some(word.parse::<u64>().map_err(|_| Errno::EINVAL)?),
    };
    let period = match words.next() {
        Some(word) => word.parse::<u64>().map_err(|_| Errno::EINVAL)?,
        None => cgroup.cpu.period_us.get(),
    };
    let quota_ok = quota.is_none_or(|quota| (1000..=1 << 40).contains(&quota));
    if words.next().is_some() || !quota_ok || !(1000..=1_000_000).contains(&period) {
        return Err(Errno::EINVAL);
    }
    cgroup.cpu.quota_us.set(quota);
    cgroup.cpu.period_us.set(period);
    Ok(())
}

fn write_cpu_burst(_: &Rc<Kernel>, cgroup: &Rc<Cgroup>, text: &str) -> Result<()> {
    let burst: u64 = text.trim().parse().map_err(|_| Errno::EINVAL)?;
    if cgroup.cpu.quota_us.get().is_none_or(|quota| burst > quota) && burst > 0 {
        return Err(Errno::EINVAL);
    }
    cgroup.cpu.burst_us.set(burst);
    Ok(())
}

/// `cpu.weight` of a share of the scheduler, rounded.
fn weight_of(shares: u64) -> u64 {
    (shares * 100 + WEIGHT_UNIT / 2) / WEIGHT_UNIT
}

fn read_cpu_weight(_: &Rc<Kernel>, cgroup: &Rc<Cgroup>) -> Result<String> {
    let idle = cgroup.cpu.idle.get();
    let weight = if idle {
        0
    } else {
        weight_of(cgroup.cpu.shares.get())
    };
    Ok(format!("{weight}\n"))
}

fn write_cpu_weight(_: &Rc<Kernel>, cgroup: &Rc<Cgroup>, text: &str) -> Result<()> {
    let weight: u64 = text.trim().parse().map_err(|_| Errno::EINVAL)?;
    if !(1..=10_000).contains(&weight) {
        return Err(Errno::ERANGE);
    }
    set_shares(cgroup, (weight * WEIGHT_UNIT + 50) / 100)
}

/// `default 200` or `200`. A weight for one device is not kept: there is one device.
fn write_io_weight(_: &Rc<Kernel>, cgroup: &Rc<Cgroup>, text: &str) -> Result<()> {
    let text = text.trim();
    let weight = text.strip_prefix("default").unwrap_or(text).trim();
    let weight: u32 = weight.parse().map_err(|_| Errno::EINVAL)?;
    if !(1..=10_000).contains(&weight) {
        return Err(Errno::EINVAL);
    }
    cgroup.io.weight.0.set(weight);
    Ok(())
}

/// A cgroup that is idle has no other weight.
fn set_shares(cgroup: &Cgroup, shares: u64) -> Result<()> {
    if cgroup.cpu.idle.get() {
        return Err(Errno::EINVAL);
    }
    cgroup.cpu.shares.set(shares);
    Ok(())
}

fn read_cpu_nice(_: &Rc<Kernel>, cgroup: &Rc<Cgroup>) -> Result<String> {
    let weight = cgroup.cpu.weight();
    let nice = (-20..20).min_by_key(|&nice| nice_weight(nice).abs_diff(weight));
    Ok(format!("{}\n", nice.unwrap_or(0)))
}

fn write_cpu_nice(_: &Rc<Kernel>, cgroup: &Rc<Cgroup>, text: &str) -> Result<()> {
    let nice: i32 = text.trim().parse().map_err(|_| Errno::EINVAL)?;
    if !(-20..20).contains(&nice) {
        return Err(Errno::ERANGE);
    }
    set_shares(cgroup, nice_weight(nice))
}

/// An idle cgroup that is none any more has the usual weight.
fn write_cpu_idle(_: &Rc<Kernel>, cgroup: &Rc<Cgroup>, text: &str) -> Result<()> {
    let idle = parse_flag(text)?;
    if cgroup.cpu.idle.replace(idle) != idle {
        cgroup.cpu.shares.set(WEIGHT_UNIT);
    }
    Ok(())
}

/// The period of a cgroup nobody wrote to.
pub const DEFAULT_PERIOD_US: u64 = PERIOD_US;

// ---- io ----

fn read_io_stat(_: &Rc<Kernel>, cgroup: &Rc<Cgroup>) -> Result<String> {
    let (read, write) = (&cgroup.io.read, &cgroup.io.write);
    if read.operations.get() + write.operations.get() == 0 {
        return Ok(String::new());
    }
    let (major, minor) = io::DEVICE;
    Ok(format!(
        "{major}:{minor} rbytes={} wbytes={} rios={} wios={} dbytes=0 dios=0\n",
        read.bytes.get(),
        write.bytes.get(),
        read.operations.get(),
        write.operations.get()
    ))
}

/// The limits of `io.max` in its order.
fn io_limits(cgroup: &Cgroup) -> [(&'static str, &Cell<Option<u64>>); 4] {
    let (read, write) = (&cgroup.io.read, &cgroup.io.write);
    [
        ("rbps", &read.bytes_max),
        ("wbps", &write.bytes_max),
        ("riops", &read.operations_max),
        ("wiops", &write.operations_max),
    ]
}

/// A line for the device, when something is limited.
fn read_io_max(_: &Rc<Kernel>, cgroup: &Rc<Cgroup>) -> Result<String> {
    let limits = io_limits(cgroup);
    if limits.iter().all(|(_, limit)| limit.get().is_none()) {
        return Ok(String::new());
    }
    let (major, minor) = io::DEVICE;
    let mut text = format!("{major}:{minor}");
    for (name, limit) in limits {
        let _ = write!(text, " {name}={}", max(limit.get()).trim_end());
    }
    Ok(line(text))
}

/// `MAJ:MIN rbps=… wbps=… riops=… wiops=…`, any of them.
fn write_io_max(_: &Rc<Kernel>, cgroup: &Rc<Cgroup>, text: &str) -> Result<()> {
    let mut words = text.split_ascii_whitespace();
    let device = words.next().and_then(|word| word.split_once(':'));
    let (major, minor) = device.ok_or(Errno::EINVAL)?;
    let number = |text: &str| text.parse::<u32>().map_err(|_| Errno::EINVAL);
    if (number(major)?, number(minor)?) != io::DEVICE {
        return Err(Errno::ENODEV);
    }
    let limits = io_limits(cgroup);
    let mut new = limits.map(|(_, limit)| limit.get());
    for word in words {
        let (name, value) = word.split_once('=').ok_or(Errno::EINVAL)?;
        let which = limits.iter().position(|&(known, _)| known == name);
        new[which.ok_or(Errno::EINVAL)?] = match value {
            "max" => None,
            value => match value.parse().map_err(|_| Errno::EINVAL)? {
                0 => return Err(Errno::ERANGE),
                limit => Some(limit),
            },
        };
    }
    for ((_, limit), new) in limits.iter().zip(new) {
        limit.set(new);
    }
    Ok(())
}

// ---- memory ----

fn events(events: &Events) -> String {
    format!(
        "low 0\nhigh {}\nmax {}\noom {}\noom_kill {}\noom_group_kill 0\n",
        events.high.get(),
        events.max.get(),
        events.oom.get(),
        events.oom_kill.get()
    )
}

fn write_memory_max(kernel: &Rc<Kernel>, cgroup: &Rc<Cgroup>, text: &str) -> Result<()> {
    let account = &cgroup.memory.account;
    account.set_max(parse_bytes(text)?);
    // There is nothing to reclaim: whoever is too large for the new limit is killed.
    let mut before = u64::MAX;
    while cgroup.memory.is_over() && account.current() < before {
        before = account.current();
        kernel.out_of_memory(&Full(Rc::clone(account)));
    }
    Ok(())
}

/// There is nothing that could be reclaimed.
fn write_reclaim(_: &Rc<Kernel>, _: &Rc<Cgroup>, text: &str) -> Result<()> {
    match parse_bytes(text.split_ascii_whitespace().next().unwrap_or(""))? {
        Some(0) => Ok(()),
        Some(_) => Err(Errno::EAGAIN),
        None => Err(Errno::EINVAL),
    }
}

fn read_memory_stat(_: &Rc<Kernel>, cgroup: &Rc<Cgroup>) -> Result<String> {
    let memory = &cgroup.memory;
    let of = |kind| memory.account.of_kind(kind);
    let (anon, shmem, slab) = (of(Kind::Anon), of(Kind::Shmem), of(Kind::Slab));
    let (stack, tables) = (of(Kind::KernelStack), of(Kind::PageTables));
    let rows = [
        ("anon", anon),
        ("file", shmem),
        ("kernel", stack + tables + slab + of(Kind::Kernel)),
        ("kernel_stack", stack),
        ("pagetables", tables),
        ("sec_pagetables", 0),
        ("percpu", 0),
        ("sock", of(Kind::Sock)),
        ("vmalloc", 0),
        ("shmem", shmem),
        ("file_mapped", shmem),
        ("file_dirty", 0),
        ("file_writeback", 0),
        ("swapcached", 0),
        ("anon_thp", 0),
        ("file_thp", 0),
        ("shmem_thp", 0),
        ("inactive_anon", anon + shmem),
        ("active_anon", 0),
        ("inactive_file", 0),
        ("active_file", 0),
        ("unevictable", 0),
        ("slab_reclaimable", 0),
        ("slab_unreclaimable", slab),
        ("slab", slab),
        ("workingset_refault_anon", 0),
        ("workingset_refault_file", 0),
        ("pgscan", 0),
        ("pgsteal", 0),
        ("pgfault", memory.faults.get()),
        ("pgmajfault", memory.major_faults.get()),
    ];
    let mut text = String::with_capacity(640);
    for (name, value) in rows {
        let _ = writeln!(text, "{name} {value}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_suffixes_and_are_cut_to_pages() {
        for (text, bytes) in [
            ("max\n", Ok(None)),
            ("64M", Ok(Some(64 << 20))),
            ("4097", Ok(Some(4096))),
            ("1g", Ok(Some(1 << 30))),
            ("", Err(Errno::EINVAL)),
            ("-1", Err(Errno::EINVAL)),
            ("1x", Err(Errno::EINVAL)),
            ("99999999999999T", Err(Errno::EINVAL)),
        ] {
            assert_eq!(parse_bytes(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn weights_of_nice_values() {
        let weight = |nice| weight_of(nice_weight(nice));
        assert_eq!((weight(0), weight(-20), weight(19)), (100, 8668, 1));
        for weight in [1, 39, 100, 10_000] {
            assert_eq!(weight_of((weight * WEIGHT_UNIT + 50) / 100), weight);
        }
    }

    #[test]
    fn files_come_and_go_with_their_controllers() {
        let root = Cgroup::new_root(None);
        let child = root.create(b"child", (0, 0)).unwrap();
        let has = |cgroup: &Rc<Cgroup>, name: &str| {
            FILES
                .iter()
                .any(|file| file.name == name && file.is_in(cgroup))
        };
        assert!(
            has(&root, "memory.stat") && !has(&root, "memory.max") && !has(&root, "cgroup.freeze")
        );
        assert!(
            !has(&child, "memory.max") && has(&child, "cpu.stat") && has(&child, "cgroup.freeze")
        );
        root.write_subtree_control("+memory").unwrap();
        assert!(has(&child, "memory.max") && !has(&child, "pids.max"));
    }
}
