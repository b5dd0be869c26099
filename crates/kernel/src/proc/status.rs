//! The text files of a task: `stat`, `status`, `limits`, `cgroup`, `mounts`, id maps and the like.

use std::fmt::Write;
use std::rc::Rc;

use abi::signal::SigSet;
use abi::{Errno, Result};
use vfs::Capability;

use super::task::View;
use super::ticks;
use crate::namespaces::UserNs;
use crate::namespaces::user::{IdKind, MapWriter};
use crate::pseudo::parse_number;
use crate::task::{RLIM_INFINITY, RLIM_NLIMITS, RLIMIT_SIGPENDING, TaskState, Usage};

impl View {
    /// The user namespace ids are shown in: that of whoever looks.
    fn user_ns(&self) -> Rc<UserNs> {
        match self.kernel.current() {
            Some(task) => Rc::clone(&task.ns().user),
            None => Rc::clone(&self.kernel.init_ns.user),
        }
    }

    fn usage(&self) -> Usage {
        if self.thread {
            self.task.usage()
        } else {
            self.task.group.usage()
        }
    }

    fn state(&self) -> char {
        if self.task.group.is_zombie() {
            'Z'
        } else {
            self.task.state_letter()
        }
    }

    fn has_mm(&self) -> bool {
        !self.task.group.is_kernel_task()
            && !self.task.is_dead()
            && !matches!(self.task.state(), TaskState::New)
    }
}

/// Flags of `stat`: kernel thread, forked but not execed.
const PF_KTHREAD: u64 = 0x0020_0000;
const PF_FORKNOEXEC: u64 = 0x40;
const PF_RANDOMIZE: u64 = 0x0040_0000;

pub(super) fn stat(view: &View) -> Result<Vec<u8>> {
    let (task, group, ns) = (&view.task, &view.task.group, &view.fs.ns);
    let number = if view.thread {
        task.tid_in(ns)
    } else {
        group.tgid_in(ns)
    };
    let parent = group.parent().map_or(0, |parent| parent.tgid_in(ns));
    let (pgrp, session) = (
        group.process_group().pid.in_ns(ns),
        group.session().pid.in_ns(ns),
    );
    let terminal = group.terminal();
    let device = terminal.as_ref().map_or(0, |terminal| terminal.device());
    let foreground = terminal.and_then(|terminal| terminal.foreground());
    let foreground = foreground.map_or(-1, |group| i64::from(group.pid.in_ns(ns)));
    let mut flags = if group.is_kernel_task() {
        PF_KTHREAD
    } else {
        PF_RANDOMIZE
    };
    if !group.did_exec.get() {
        flags |= PF_FORKNOEXEC;
    }
    let (usage, children) = (view.usage(), group.children_usage());
    let nice = task.nice.get();
    let threads = group.thread_count().max(1);
    let start = ticks(task.start.since(view.kernel.boot));
    let inspect = view.inspect().is_ok() && view.has_mm();
    let mm = task.mm();
    let (size, resident) = if view.has_mm() {
        (mm.size(), mm.resident_pages())
    } else {
        (0, 0)
    };
    let layout = if inspect {
        mm.layout.get()
    } else {
        Default::default()
    };
    let rss_limit = match group.limits.soft(5) {
        RLIM_INFINITY => u64::MAX,
        limit => limit,
    };
    let (ignored, caught) = group.handlers.borrow().sets();
    // The old fields show the first 31 signals only.
    let low = |set: SigSet| set.0 & 0x7fff_ffff;
    let pending = if view.thread {
        task.pending.borrow().set
    } else {
        task.pending_set()
    };
    let exit_code = match (inspect, group.status()) {
        (true, Some(status)) => status.word(),
        _ => 0,
    };
    let mut line = format!("{number} (").into_bytes();
    line.extend(task.comm());
    let rest = format!(
        ") {state} {parent} {pgrp} {session} {device} {foreground} {flags} {minor} {child_minor} {major} \
         {child_major} {utime} {stime} {cutime} {cstime} {priority} {nice} {threads} 0 {start} {size} {resident} \
         {rss_limit} {start_code} {end_code} {start_stack} 0 0 {pending} {blocked} {ignored} {caught} {wchan} 0 0 \
         {exit_signal} 0 0 {policy} 0 0 0 {start_data} {end_data} {start_brk} {arg_start} {arg_end} {env_start} \
         {env_end} {exit_code}\n",
        state = view.state(),
        minor = usage.minor_faults,
        child_minor = children.minor_faults,
        major = usage.major_faults,
        child_major = children.major_faults,
        utime = ticks(usage.user_ns),
        stime = ticks(usage.system_ns),
        cutime = ticks(children.user_ns),
        cstime = ticks(children.system_ns),
        priority = 20 + nice,
        start_code = layout.start_code,
        end_code = layout.end_code,
        start_stack = layout.start_stack,
        pending = low(pending),
        blocked = low(task.sigmask.get()),
        ignored = low(ignored),
        caught = low(caught),
        wchan = u8::from(matches!(task.state(), TaskState::Blocked { .. })),
        exit_signal = group.exit_signal.get(),
        policy = task.sched_policy.get(),
        start_data = layout.start_data,
        end_data = layout.end_data,
        start_brk = layout.start_brk,
        arg_start = layout.arg_start,
        arg_end = layout.arg_end,
        env_start = layout.env_start,
        env_end = layout.env_end,
    );
    line.extend(rest.bytes());
    Ok(line)
}

pub(super) fn statm(view: &View) -> Result<Vec<u8>> {
    if !view.has_mm() {
        return Ok(b"0 0 0 0 0 0 0\n".to_vec());
    }
    let mm = view.task.mm();
    let layout = mm.layout.get();
    let sizes = super::maps::sizes(&mm);
    let text = (layout.end_code - layout.start_code.min(layout.end_code)).div_ceil(4096);
    let shared = sizes.resident - sizes.resident_anon.min(sizes.resident);
    Ok(format!(
        "{} {} {shared} {text} 0 {} 0\n",
        mm.size() / 4096,
        sizes.resident,
        sizes.data
    )
    .into_bytes())
}

fn state_name(letter: char) -> &'static str {
    match letter {
        'R' => "R (running)",
        'S' => "S (sleeping)",
        'D' => "D (disk sleep)",
        'T' => "T (stopped)",
        't' => "t (tracing stop)",
        'Z' => "Z (zombie)",
        _ => "X (dead)",
    }
}

pub(super) fn status(view: &View) -> Result<Vec<u8>> {
    let (task, group, ns) = (&view.task, &view.task.group, &view.fs.ns);
    let (creds, user) = (task.creds(), view.user_ns());
    let uid = |id: u32| user.shown_uid(id);
    let gid = |id: u32| user.shown_gid(id);
    let mut text = b"Name:\t".to_vec();
    for byte in task.comm() {
        match byte {
            b'\n' => text.extend(b"\\n"),
            b'\\' => text.extend(b"\\\\"),
            byte => text.push(byte),
        }
    }
    let mut out = String::with_capacity(1200);
    let parent = group.parent().map_or(0, |parent| parent.tgid_in(ns));
    let number = if view.thread {
        task.tid_in(ns)
    } else {
        group.tgid_in(ns)
    };
    let _ = write!(
        out,
        "\nUmask:\t{:04o}\nState:\t{}\nTgid:\t{}\nNgid:\t0\nPid:\t{number}\nPPid:\t{parent}\nTracerPid:\t0\n",
        task.fs().umask.get(),
        state_name(view.state()),
        group.tgid_in(ns),
    );
    let _ = writeln!(
        out,
        "Uid:\t{}\t{}\t{}\t{}",
        uid(creds.uid),
        uid(creds.euid),
        uid(creds.suid),
        uid(creds.fsuid)
    );
    let _ = writeln!(
        out,
        "Gid:\t{}\t{}\t{}\t{}",
        gid(creds.gid),
        gid(creds.egid),
        gid(creds.sgid),
        gid(creds.fsgid)
    );
    let _ = writeln!(
        out,
        "FDSize:\t{}",
        if task.is_dead() {
            0
        } else {
            task.files().size()
        }
    );
    let groups: String = creds
        .groups
        .iter()
        .map(|&id| format!("{} ", gid(id)))
        .collect();
    let _ = writeln!(out, "Groups:\t{groups}");
    // Numbers from the reader's namespace inwards.
    let chain = |pid: &crate::namespaces::Pid| -> String {
        let levels = pid.numbers().iter().skip(ns.level as usize);
        let seen: String = levels.map(|(_, number)| format!("\t{number}")).collect();
        // A group or session outside the namespace; an empty value makes procps give up on the file.
        if seen.is_empty() {
            "\t0".to_string()
        } else {
            seen
        }
    };
    let (process_group, session) = (group.process_group(), group.session());
    let _ = writeln!(
        out,
        "NStgid:{}\nNSpid:{}\nNSpgid:{}\nNSsid:{}\nKthread:\t{}",
        chain(&group.pid()),
        chain(&task.pid()),
        chain(&process_group.pid),
        chain(&session.pid),
        u8::from(group.is_kernel_task()),
    );
    if view.has_mm() {
        memory_lines(view, &mut out);
    }
    let threads = group.thread_count().max(1);
    let (ignored, caught) = group.handlers.borrow().sets();
    let queued = task.pending.borrow().len() + group.pending.borrow().len();
    let _ = write!(
        out,
        "Threads:\t{threads}\nSigQ:\t{queued}/{}\nSigPnd:\t{:016x}\nShdPnd:\t{:016x}\nSigBlk:\t{:016x}\n\
         SigIgn:\t{:016x}\nSigCgt:\t{:016x}\n",
        group.limits.soft(RLIMIT_SIGPENDING),
        task.pending.borrow().set.0,
        group.pending_set().0,
        task.sigmask.get().0,
        ignored.0,
        caught.0,
    );
    let (seccomp, filters) = task.seccomp_mode();
    let _ = write!(
        out,
        "CapInh:\t{:016x}\nCapPrm:\t{:016x}\nCapEff:\t{:016x}\nCapBnd:\t{:016x}\nCapAmb:\t{:016x}\n\
         NoNewPrivs:\t{}\nSeccomp:\t{seccomp}\nSeccomp_filters:\t{filters}\nCpus_allowed:\t1\nCpus_allowed_list:\t0\n\
         Mems_allowed:\t1\nMems_allowed_list:\t0\n",
        creds.inheritable,
        creds.permitted,
        creds.effective,
        creds.bounding,
        creds.ambient,
        u8::from(creds.no_new_privs),
    );
    let usage = task.usage();
    let _ = write!(
        out,
        "voluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}\n",
        usage.voluntary_switches, usage.involuntary_switches
    );
    text.extend(out.bytes());
    Ok(text)
}

fn memory_lines(view: &View, out: &mut String) {
    let mm = view.task.mm();
    let sizes = super::maps::sizes(&mm);
    let layout = mm.layout.get();
    let code = (layout.end_code - layout.start_code.min(layout.end_code)).div_ceil(1024);
    let kb = |pages: u64| pages * 4;
    for (name, value) in [
        ("VmPeak", mm.peak_size.get().max(mm.size()) / 1024),
        ("VmSize", mm.size() / 1024),
        ("VmLck", mm.locked.get() / 1024),
        ("VmPin", 0),
        ("VmHWM", kb(mm.peak_resident.get().max(sizes.resident))),
        ("VmRSS", kb(sizes.resident)),
        ("RssAnon", kb(sizes.resident_anon)),
        ("RssFile", kb(sizes.resident_file)),
        ("RssShmem", kb(sizes.resident_shmem)),
        ("VmData", kb(sizes.data)),
        ("VmStk", kb(sizes.stack)),
        ("VmExe", code),
        ("VmLib", kb(sizes.library).saturating_sub(code)),
        ("VmPTE", kb(sizes.resident / 512 + 1)),
        ("VmSwap", 0),
    ] {
        let label = format!("{name}:");
        let _ = writeln!(out, "{label}\t{value:>8} kB");
    }
    out.push_str("CoreDumping:\t0\nTHP_enabled:\t0\n");
}

/// Name and unit of each limit, by number.
const LIMITS: [(&str, &str); RLIM_NLIMITS] = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
];

pub(super) fn limits(view: &View) -> Result<Vec<u8>> {
    let show = |value: u64| match value {
        RLIM_INFINITY => "unlimited".to_string(),
        value => value.to_string(),
    };
    let mut text = format!(
        "{:<25} {:<20} {:<20} {:<10}\n",
        "Limit", "Soft Limit", "Hard Limit", "Units"
    );
    for (number, (name, unit)) in LIMITS.iter().enumerate() {
        let limit = view.task.group.limits.get(number);
        let _ = write!(
            text,
            "{name:<25} {:<20} {:<20} ",
            show(limit.soft),
            show(limit.hard)
        );
        if unit.is_empty() {
            text.push('\n');
        } else {
            let _ = writeln!(text, "{unit:<10}");
        }
    }
    Ok(text.into_bytes())
}

pub(super) fn comm(view: &View) -> Result<Vec<u8>> {
    let mut name = view.task.comm();
    name.push(b'\n');
    Ok(name)
}

/// A thread may rename those of its own process.
pub(super) fn write_comm(view: &View, text: &[u8]) -> Result<()> {
    let same = view
        .kernel
        .current()
        .is_none_or(|task| Rc::ptr_eq(&task.group, &view.task.group));
    if !same {
        return Err(Errno::EINVAL);
    }
    view.task.set_comm(text.strip_suffix(b"\n").unwrap_or(text));
    Ok(())
}

pub(super) fn syscall(view: &View) -> Result<Vec<u8>> {
    let state = &view.task.syscall;
    if !matches!(view.task.state(), TaskState::Blocked { .. }) || !state.active.get() {
        return Ok(b"running\n".to_vec());
    }
    let mut text = state.number.get().to_string();
    for arg in state.args.get() {
        let _ = write!(text, " {arg:#x}");
    }
    let hart = view.task.hart.borrow();
    let _ = writeln!(text, " {:#x} {:#x}", hart.x[2], hart.pc);
    Ok(text.into_bytes())
}

pub(super) fn sched(view: &View) -> Result<Vec<u8>> {
    let (task, usage) = (&view.task, view.task.usage());
    let name = String::from_utf8_lossy(&task.comm()).into_owned();
    let run = usage.user_ns + usage.system_ns;
    let (voluntary, involuntary) = (usage.voluntary_switches, usage.involuntary_switches);
    let text = format!(
        "{name} ({}, #threads: {})\n\
         -------------------------------------------------------------------\n\
         se.sum_exec_runtime                          : {:>14}.{:06}\n\
         nr_switches                                  : {:>21}\n\
         nr_voluntary_switches                        : {voluntary:>21}\n\
         nr_involuntary_switches                      : {involuntary:>21}\n\
         policy                                       : {:>21}\n\
         prio                                         : {:>21}\n",
        task.tid_in(&view.fs.ns),
        task.group.thread_count().max(1),
        run / 1_000_000,
        run % 1_000_000,
        voluntary + involuntary,
        task.sched_policy.get(),
        120 + task.nice.get(),
    );
    Ok(text.into_bytes())
}

pub(super) fn schedstat(view: &View) -> Result<Vec<u8>> {
    let usage = view.task.usage();
    let (run, waited, slices) = (
        usage.user_ns + usage.system_ns,
        usage.waited_ns,
        usage.slices,
    );
    Ok(format!("{run} {waited} {slices}\n").into_bytes())
}

pub(super) fn children(view: &View) -> Result<Vec<u8>> {
    if !view.task.is_leader() {
        return Ok(Vec::new());
    }
    let numbers = view.task.group.children();
    let text: String = numbers
        .iter()
        .map(|child| child.tgid_in(&view.fs.ns))
        .filter(|&number| number != 0)
        .map(|number| format!("{number} "))
        .collect();
    Ok(text.into_bytes())
}

// ---- mounts ----

pub(super) fn mounts(view: &View) -> Result<Vec<u8>> {
    mount_list(view, |mount| mount.mounts_line())
}

pub(super) fn mountinfo(view: &View) -> Result<Vec<u8>> {
    mount_list(view, |mount| mount.mountinfo_line())
}

pub(super) fn mountstats(view: &View) -> Result<Vec<u8>> {
    mount_list(view, |mount| {
        let mut line = b"device ".to_vec();
        line.extend_from_slice(if mount.source.is_empty() {
            b"none"
        } else {
            &mount.source
        });
        line.extend_from_slice(b" mounted on ");
        line.extend_from_slice(&mount.mount_point);
        line.extend(format!(" with fstype {}\n", mount.fstype).bytes());
        line
    })
}

fn mount_list(
    view: &View,
    line: impl Fn(&vfs::mountinfo::MountInfo) -> Vec<u8>,
) -> Result<Vec<u8>> {
    if view.task.is_dead() {
        return Err(Errno::EINVAL);
    }
    let root = view.task.fs().root();
    Ok(view
        .task
        .ns()
        .mnt
        .mounts
        .list(&root)
        .iter()
        .flat_map(line)
        .collect())
}

// ---- cgroup, out of memory ----

pub(super) fn cgroup(view: &View) -> Result<Vec<u8>> {
    let root = match view.kernel.current() {
        Some(task) => Rc::clone(&task.ns().cgroup.root),
        None => Rc::clone(&view.kernel.cgroup_root),
    };
    let mut line = b"0::".to_vec();
    line.extend(view.task.cgroup().path_from(&root));
    line.push(b'\n');
    Ok(line)
}

pub(super) fn oom_score(view: &View) -> Result<Vec<u8>> {
    let total = (view.kernel.config.memory / 4096).max(1);
    let resident = if view.has_mm() {
        view.task.mm().resident_pages()
    } else {
        0
    };
    let adjust = i64::from(view.task.group.oom_score_adj.get());
    // 666 is where the kernel's own scale puts a process without memory.
    let score = (2000 * (resident * 1000 / total) as i64 / 3000) + 666 + adjust * 2 / 3;
    Ok(format!("{}\n", score.clamp(0, 2000)).into_bytes())
}

pub(super) fn oom_score_adj(view: &View) -> Result<Vec<u8>> {
    Ok(format!("{}\n", view.task.group.oom_score_adj.get()).into_bytes())
}

pub(super) fn write_oom_score_adj(view: &View, text: &[u8]) -> Result<()> {
    set_oom_score_adj(view, parse_number(text)?)
}

fn set_oom_score_adj(view: &View, value: i64) -> Result<()> {
    if !(-1000..=1000).contains(&value) {
        return Err(Errno::EINVAL);
    }
    let cell = &view.task.group.oom_score_adj;
    let privileged = view
        .kernel
        .current()
        .is_none_or(|task| view.kernel.capable(&task, Capability::SysResource));
    if value < i64::from(cell.get()) && !privileged {
        return Err(Errno::EACCES);
    }
    cell.set(value as i32);
    Ok(())
}

/// The old file, from -17 (never) to 15.
pub(super) fn oom_adj(view: &View) -> Result<Vec<u8>> {
    let adjust = view.task.group.oom_score_adj.get();
    let old = if adjust == 1000 {
        15
    } else {
        adjust * 17 / 1000
    };
    Ok(format!("{old}\n").into_bytes())
}

pub(super) fn write_oom_adj(view: &View, text: &[u8]) -> Result<()> {
    match parse_number(text)? {
        15 => set_oom_score_adj(view, 1000),
        value @ -17..=14 => set_oom_score_adj(view, value * 1000 / 17),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn io(view: &View) -> Result<Vec<u8>> {
    view.inspect()?;
    let io = view.task.group.io.get();
    let text = format!(
        "rchar: {}\nwchar: {}\nsyscr: {}\nsyscw: {}\nread_bytes: {}\nwrite_bytes: {}\ncancelled_write_bytes: 0\n",
        io.read_bytes,
        io.written_bytes,
        io.reads,
        io.writes,
        io.disk_read_bytes,
        io.disk_written_bytes
    );
    Ok(text.into_bytes())
}

// ---- user namespaces ----

fn map_text(view: &View, kind: IdKind) -> Vec<u8> {
    let ns = Rc::clone(&view.task.ns().user);
    // The ids on the right are those of the reader's namespace; its own, of its parent's.
    let reader = view.user_ns();
    let lower = if Rc::ptr_eq(&ns, &reader) {
        ns.parent.clone().unwrap_or(reader)
    } else {
        reader
    };
    let mut text = String::new();
    for extent in ns.map(kind).extents() {
        let shown = match kind {
            IdKind::User => lower.local_uid(extent.outside),
            IdKind::Group => lower.local_gid(extent.outside),
        };
        let _ = writeln!(
            text,
            "{:>10} {:>10} {:>10}",
            extent.inside,
            shown.unwrap_or(u32::MAX),
            extent.count
        );
    }
    text.into_bytes()
}

pub(super) fn uid_map(view: &View) -> Result<Vec<u8>> {
    Ok(map_text(view, IdKind::User))
}

pub(super) fn gid_map(view: &View) -> Result<Vec<u8>> {
    Ok(map_text(view, IdKind::Group))
}

pub(super) fn write_uid_map(view: &View, text: &[u8]) -> Result<()> {
    write_map(view, IdKind::User, text)
}

pub(super) fn write_gid_map(view: &View, text: &[u8]) -> Result<()> {
    write_map(view, IdKind::Group, text)
}

fn write_map(view: &View, kind: IdKind, text: &[u8]) -> Result<()> {
    let ns = Rc::clone(&view.task.ns().user);
    let parent = ns.parent.clone().ok_or(Errno::EPERM)?;
    let text = std::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    let writer = match view.kernel.current() {
        None => MapWriter {
            euid: 0,
            egid: 0,
            has_setid_in_parent: true,
        },
        Some(task) => {
            if !view.kernel.capable_in(&task, &ns, Capability::SysAdmin) {
                return Err(Errno::EPERM);
            }
            let own = Rc::clone(&task.ns().user);
            if !Rc::ptr_eq(&own, &ns) && !Rc::ptr_eq(&own, &parent) {
                return Err(Errno::EPERM);
            }
            let capability = if kind == IdKind::User {
                Capability::Setuid
            } else {
                Capability::Setgid
            };
            let creds = task.creds();
            MapWriter {
                euid: creds.euid,
                egid: creds.egid,
                has_setid_in_parent: view.kernel.capable_in(&task, &parent, capability),
            }
        }
    };
    ns.write_map(kind, text, &writer)
}

pub(super) fn setgroups(view: &View) -> Result<Vec<u8>> {
    let allowed = view.task.ns().user.setgroups_allowed.get();
    Ok(if allowed {
        b"allow\n".to_vec()
    } else {
        b"deny\n".to_vec()
    })
}

pub(super) fn write_setgroups(view: &View, text: &[u8]) -> Result<()> {
    let ns = Rc::clone(&view.task.ns().user);
    if view
        .kernel
        .current()
        .is_some_and(|task| !view.kernel.capable_in(&task, &ns, Capability::SysAdmin))
    {
        return Err(Errno::EPERM);
    }
    ns.write_setgroups(std::str::from_utf8(text).map_err(|_| Errno::EINVAL)?)
}

pub(super) fn timer_slack(view: &View) -> Result<Vec<u8>> {
    view.inspect()?;
    Ok(format!("{}\n", view.task.group.timer_slack.get()).into_bytes())
}

pub(super) fn write_timer_slack(view: &View, text: &[u8]) -> Result<()> {
    view.inspect()?;
    let value = u64::try_from(parse_number(text)?).map_err(|_| Errno::EINVAL)?;
    view.task.group.timer_slack.set(value);
    Ok(())
}
