//! `/proc/sys`: settings of the kernel (`proc(5)`, Documentation/admin-guide/sysctl).
//!
//! One table: path, mode, where the value lives, and what may be written. Values nobody but the reader
//! uses are kept as they were written.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use abi::{Errno, Result};
use vfs::inode::{InodeRef, S_IFDIR, S_IFREG};

use super::{ProcFs, read_write};
use crate::Kernel;
use crate::namespaces::Namespaces;
use crate::pseudo::{Dir, Entry, ino_of, parse_number};
use crate::task::Task;

/// Who asks, and what he is in.
struct Asker {
    kernel: Rc<Kernel>,
    ns: Rc<Namespaces>,
    task: Option<Rc<Task>>,
}

type Get = fn(&Asker) -> String;
type Set = fn(&Asker, &str) -> Result<()>;

enum Value {
    /// Never changes.
    Fixed(&'static str),
    /// Made when it is read.
    Read(Get),
    /// Read and set by code.
    Both(Get, Set),
    /// A whole number in a range, kept for the machine. Default, least, most.
    Int(i64, i64, i64),
    /// A whole number in a range, kept per network namespace.
    NetInt(i64, i64, i64),
    /// Words, kept for the machine.
    Words(&'static str),
    /// Words, kept per network namespace.
    NetWords(&'static str),
}

use Value::{Both, Fixed, Int, NetInt, NetWords, Read, Words};

const MAX: i64 = i32::MAX as i64;

const FILES: &[(&str, Value)] = &[
    ("fs/aio-max-nr", Int(65_536, 0, i64::MAX)),
    ("fs/aio-nr", Fixed("0")),
    ("fs/dentry-state", Fixed("0\t0\t45\t0\t0\t0")),
    ("fs/epoll/max_user_watches", Int(1_000_000, 0, i64::MAX)),
    ("fs/file-max", Int(1_048_576, 0, i64::MAX)),
    (
        "fs/file-nr",
        Read(|asker| format!("{}\t0\t1048576", open_files(&asker.kernel))),
    ),
    ("fs/inode-nr", Fixed("0\t0")),
    ("fs/inode-state", Fixed("0\t0\t0\t0\t0\t0\t0")),
    ("fs/inotify/max_queued_events", Int(16_384, 0, MAX)),
    ("fs/inotify/max_user_instances", Int(128, 0, MAX)),
    ("fs/inotify/max_user_watches", Int(65_536, 0, MAX)),
    ("fs/lease-break-time", Int(45, 0, MAX)),
    ("fs/leases-enable", Int(1, 0, 1)),
    ("fs/mount-max", Int(100_000, 1, MAX)),
    ("fs/mqueue/msg_default", Int(10, 1, 65_536)),
    ("fs/mqueue/msg_max", Int(10, 1, 65_536)),
    ("fs/mqueue/msgsize_default", Int(8192, 128, 16_777_216)),
    ("fs/mqueue/msgsize_max", Int(8192, 128, 16_777_216)),
    ("fs/mqueue/queues_max", Int(256, 0, MAX)),
    ("fs/nr_open", Int(1_048_576, 64, MAX)),
    ("fs/overflowgid", Int(65_534, 0, 65_535)),
    ("fs/overflowuid", Int(65_534, 0, 65_535)),
    ("fs/pipe-max-size", Int(1_048_576, 4096, MAX)),
    ("fs/pipe-user-pages-hard", Int(0, 0, MAX)),
    ("fs/pipe-user-pages-soft", Int(16_384, 0, MAX)),
    ("fs/protected_fifos", Int(1, 0, 2)),
    ("fs/protected_hardlinks", Int(1, 0, 1)),
    ("fs/protected_regular", Int(2, 0, 2)),
    ("fs/protected_symlinks", Int(1, 0, 1)),
    ("fs/suid_dumpable", Int(0, 0, 2)),
    ("kernel/arch", Fixed("riscv64")),
    ("kernel/auto_msgmni", Int(0, 0, 1)),
    ("kernel/cad_pid", Fixed("1")),
    ("kernel/cap_last_cap", Fixed("40")),
    ("kernel/core_pattern", Words("core")),
    ("kernel/core_pipe_limit", Int(0, 0, MAX)),
    ("kernel/core_uses_pid", Int(0, 0, 1)),
    ("kernel/ctrl-alt-del", Int(0, 0, 1)),
    ("kernel/dmesg_restrict", Int(0, 0, 1)),
    (
        "kernel/domainname",
        Both(|asker| text(&asker.ns.uts.domainname()), set_domainname),
    ),
    (
        "kernel/hostname",
        Both(|asker| text(&asker.ns.uts.hostname()), set_hostname),
    ),
    ("kernel/io_uring_disabled", Fixed("2")),
    ("kernel/keys/maxbytes", Int(20_000, 0, MAX)),
    ("kernel/keys/maxkeys", Int(200, 0, MAX)),
    ("kernel/keys/root_maxbytes", Int(25_000_000, 0, MAX)),
    ("kernel/keys/root_maxkeys", Int(1_000_000, 0, MAX)),
    ("kernel/kptr_restrict", Int(1, 0, 2)),
    ("kernel/modprobe", Words("/sbin/modprobe")),
    (
        "kernel/msgmax",
        Both(
            |asker| asker.ns.ipc.msg_max.get().to_string(),
            |asker, text| set_cell(&asker.ns.ipc.msg_max, text),
        ),
    ),
    (
        "kernel/msgmnb",
        Both(
            |asker| asker.ns.ipc.msg_queue_bytes.get().to_string(),
            |asker, text| set_cell(&asker.ns.ipc.msg_queue_bytes, text),
        ),
    ),
    (
        "kernel/msgmni",
        Both(
            |asker| asker.ns.ipc.msg_count_max.get().to_string(),
            |asker, text| set_cell(&asker.ns.ipc.msg_count_max, text),
        ),
    ),
    ("kernel/ngroups_max", Fixed("65536")),
    (
        "kernel/ns_last_pid",
        Read(|asker| asker.ns.pid.last_pid().to_string()),
    ),
    (
        "kernel/osrelease",
        Read(|asker| asker.kernel.config.release.clone()),
    ),
    ("kernel/ostype", Fixed("Linux")),
    ("kernel/overflowgid", Int(65_534, 0, 65_535)),
    ("kernel/overflowuid", Int(65_534, 0, 65_535)),
    ("kernel/panic", Int(0, i32::MIN as i64, MAX)),
    ("kernel/panic_on_oops", Int(0, 0, 1)),
    ("kernel/perf_event_paranoid", Int(2, -1, 4)),
    (
        "kernel/pid_max",
        Both(|asker| asker.ns.pid.pid_max().to_string(), set_pid_max),
    ),
    ("kernel/printk", Words("4\t4\t1\t7")),
    ("kernel/pty/max", Int(4096, 0, MAX)),
    ("kernel/pty/nr", Fixed("0")),
    ("kernel/pty/reserve", Int(1024, 0, MAX)),
    (
        "kernel/random/boot_id",
        Read(|asker| {
            asker
                .kernel
                .extension(|| BootId(uuid(&asker.kernel)))
                .0
                .clone()
        }),
    ),
    ("kernel/random/entropy_avail", Fixed("256")),
    ("kernel/random/poolsize", Fixed("256")),
    ("kernel/random/urandom_min_reseed_secs", Int(60, 0, MAX)),
    ("kernel/random/uuid", Read(|asker| uuid(&asker.kernel))),
    ("kernel/random/write_wakeup_threshold", Int(256, 0, MAX)),
    ("kernel/randomize_va_space", Int(0, 0, 2)),
    ("kernel/sched_rr_timeslice_ms", Int(100, 0, MAX)),
    ("kernel/sched_rt_period_us", Int(1_000_000, 1, MAX)),
    ("kernel/sched_rt_runtime_us", Int(950_000, -1, MAX)),
    ("kernel/sem", Words("32000\t1024000000\t500\t32000")),
    ("kernel/shm_rmid_forced", Int(0, 0, 1)),
    (
        "kernel/shmall",
        Both(
            |asker| asker.ns.ipc.shm_all.get().to_string(),
            |asker, text| set_cell(&asker.ns.ipc.shm_all, text),
        ),
    ),
    (
        "kernel/shmmax",
        Both(
            |asker| asker.ns.ipc.shm_max.get().to_string(),
            |asker, text| set_cell(&asker.ns.ipc.shm_max, text),
        ),
    ),
    (
        "kernel/shmmni",
        Both(
            |asker| asker.ns.ipc.shm_count_max.get().to_string(),
            |asker, text| set_cell(&asker.ns.ipc.shm_count_max, text),
        ),
    ),
    ("kernel/sysrq", Int(0, 0, 511)),
    ("kernel/tainted", Fixed("0")),
    ("kernel/threads-max", Int(32_768, 1, MAX)),
    ("kernel/unprivileged_bpf_disabled", Fixed("2")),
    ("kernel/version", Fixed(super::system::VERSION)),
    ("net/bridge/bridge-nf-call-iptables", NetInt(0, 0, 1)),
    ("net/core/default_qdisc", Words("fq_codel")),
    ("net/core/netdev_max_backlog", Int(1000, 0, MAX)),
    ("net/core/optmem_max", Int(131_072, 0, MAX)),
    ("net/core/rmem_default", Int(212_992, 2304, MAX)),
    ("net/core/rmem_max", Int(212_992, 2304, MAX)),
    ("net/core/somaxconn", NetInt(4096, 0, MAX)),
    ("net/core/wmem_default", Int(212_992, 4608, MAX)),
    ("net/core/wmem_max", Int(212_992, 4608, MAX)),
    ("net/ipv4/conf/all/accept_redirects", NetInt(1, 0, 1)),
    ("net/ipv4/conf/all/forwarding", NetInt(0, 0, 1)),
    ("net/ipv4/conf/all/route_localnet", NetInt(0, 0, 1)),
    ("net/ipv4/conf/all/rp_filter", NetInt(0, 0, 2)),
    ("net/ipv4/conf/default/forwarding", NetInt(0, 0, 1)),
    ("net/ipv4/conf/default/rp_filter", NetInt(0, 0, 2)),
    ("net/ipv4/conf/lo/forwarding", NetInt(0, 0, 1)),
    ("net/ipv4/conf/lo/rp_filter", NetInt(0, 0, 2)),
    ("net/ipv4/icmp_echo_ignore_all", NetInt(0, 0, 1)),
    ("net/ipv4/ip_default_ttl", NetInt(64, 1, 255)),
    ("net/ipv4/ip_forward", NetInt(0, 0, 1)),
    ("net/ipv4/ip_local_port_range", NetWords("32768\t60999")),
    ("net/ipv4/ip_local_reserved_ports", NetWords("")),
    ("net/ipv4/ip_nonlocal_bind", NetInt(0, 0, 1)),
    (
        "net/ipv4/ip_unprivileged_port_start",
        NetInt(1024, 0, 65_535),
    ),
    ("net/ipv4/ping_group_range", NetWords("1\t0")),
    ("net/ipv4/tcp_available_congestion_control", Fixed("reno")),
    ("net/ipv4/tcp_congestion_control", NetWords("reno")),
    ("net/ipv4/tcp_ecn", NetInt(2, 0, 2)),
    ("net/ipv4/tcp_fastopen", NetInt(1, 0, MAX)),
    ("net/ipv4/tcp_fin_timeout", NetInt(60, 0, MAX)),
    ("net/ipv4/tcp_keepalive_intvl", NetInt(75, 1, 32_767)),
    ("net/ipv4/tcp_keepalive_probes", NetInt(9, 1, 127)),
    ("net/ipv4/tcp_keepalive_time", NetInt(7200, 1, 32_767)),
    ("net/ipv4/tcp_max_syn_backlog", NetInt(128, 0, MAX)),
    ("net/ipv4/tcp_rmem", NetWords("4096\t131072\t6291456")),
    ("net/ipv4/tcp_sack", NetInt(1, 0, 1)),
    ("net/ipv4/tcp_syn_retries", NetInt(6, 1, 127)),
    ("net/ipv4/tcp_syncookies", NetInt(1, 0, 2)),
    ("net/ipv4/tcp_timestamps", NetInt(1, 0, 2)),
    ("net/ipv4/tcp_tw_reuse", NetInt(2, 0, 2)),
    ("net/ipv4/tcp_window_scaling", NetInt(1, 0, 1)),
    ("net/ipv4/tcp_wmem", NetWords("4096\t16384\t4194304")),
    ("net/ipv6/conf/all/disable_ipv6", NetInt(0, 0, 1)),
    ("net/ipv6/conf/all/forwarding", NetInt(0, 0, 1)),
    ("net/ipv6/conf/default/disable_ipv6", NetInt(0, 0, 1)),
    ("net/ipv6/conf/default/forwarding", NetInt(0, 0, 1)),
    ("net/ipv6/conf/lo/disable_ipv6", NetInt(0, 0, 1)),
    ("net/unix/max_dgram_qlen", NetInt(512, 0, MAX)),
    ("user/max_cgroup_namespaces", Int(15_000, 0, MAX)),
    ("user/max_ipc_namespaces", Int(15_000, 0, MAX)),
    ("user/max_mnt_namespaces", Int(15_000, 0, MAX)),
    ("user/max_net_namespaces", Int(15_000, 0, MAX)),
    ("user/max_pid_namespaces", Int(15_000, 0, MAX)),
    ("user/max_user_namespaces", Int(15_000, 0, MAX)),
    ("user/max_uts_namespaces", Int(15_000, 0, MAX)),
    ("vm/admin_reserve_kbytes", Int(8192, 0, MAX)),
    ("vm/compact_memory", Int(0, 0, 1)),
    ("vm/dirty_background_bytes", Int(0, 0, i64::MAX)),
    ("vm/dirty_background_ratio", Int(10, 0, 100)),
    ("vm/dirty_bytes", Int(0, 0, i64::MAX)),
    ("vm/dirty_expire_centisecs", Int(3000, 0, MAX)),
    ("vm/dirty_ratio", Int(20, 0, 100)),
    ("vm/dirty_writeback_centisecs", Int(500, 0, MAX)),
    ("vm/drop_caches", Int(0, 1, 4)),
    ("vm/max_map_count", Int(65_530, 0, MAX)),
    ("vm/min_free_kbytes", Int(4096, 0, MAX)),
    ("vm/mmap_min_addr", Int(65_536, 0, i64::MAX)),
    ("vm/nr_hugepages", Fixed("0")),
    ("vm/nr_overcommit_hugepages", Fixed("0")),
    ("vm/oom_dump_tasks", Int(1, 0, 1)),
    ("vm/oom_kill_allocating_task", Int(0, 0, 1)),
    ("vm/overcommit_kbytes", Int(0, 0, i64::MAX)),
    ("vm/overcommit_memory", Int(0, 0, 2)),
    ("vm/overcommit_ratio", Int(50, 0, MAX)),
    ("vm/page-cluster", Int(3, 0, 31)),
    ("vm/panic_on_oom", Int(0, 0, 2)),
    ("vm/stat_interval", Int(1, 0, MAX)),
    ("vm/swappiness", Int(60, 0, 200)),
    ("vm/user_reserve_kbytes", Int(131_072, 0, MAX)),
    ("vm/vfs_cache_pressure", Int(100, 0, MAX)),
];

/// What was written, by path.
#[derive(Default)]
struct Written(RefCell<BTreeMap<&'static str, String>>);

/// Made once per boot.
struct BootId(String);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A random UUID (version 4).
fn uuid(kernel: &Kernel) -> String {
    let hex = kernel.rng.hex(16);
    let variant = ["8", "9", "a", "b"][(kernel.rng.next_u64() & 3) as usize];
    format!(
        "{}-{}-4{}-{variant}{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    )
}

fn open_files(kernel: &Kernel) -> usize {
    let tasks: Vec<Rc<Task>> = kernel.tasks.borrow().values().cloned().collect();
    tasks
        .iter()
        .filter(|task| task.is_leader())
        .map(|task| task.files().list().len())
        .sum()
}

fn set_cell(cell: &std::cell::Cell<u64>, text: &str) -> Result<()> {
    cell.set(text.parse().map_err(|_| Errno::EINVAL)?);
    Ok(())
}

fn set_hostname(asker: &Asker, name: &str) -> Result<()> {
    may_administer(asker, &asker.ns.uts.owner)?;
    asker.ns.uts.set_hostname(cut(name))
}

fn set_domainname(asker: &Asker, name: &str) -> Result<()> {
    may_administer(asker, &asker.ns.uts.owner)?;
    asker.ns.uts.set_domainname(cut(name))
}

/// What does not fit is cut off, as a fixed buffer does it.
fn cut(name: &str) -> &[u8] {
    let bytes = name.as_bytes();
    &bytes[..bytes.len().min(crate::namespaces::uts::NAME_MAX)]
}

fn may_administer(asker: &Asker, owner: &Rc<crate::namespaces::UserNs>) -> Result<()> {
    match &asker.task {
        Some(task)
            if !asker
                .kernel
                .capable_in(task, owner, vfs::Capability::SysAdmin) =>
        {
            Err(Errno::EPERM)
        }
        _ => Ok(()),
    }
}

fn set_pid_max(asker: &Asker, text: &str) -> Result<()> {
    let max = parse_number(text.as_bytes())?;
    if !(301..=4_194_304).contains(&max) {
        return Err(Errno::EINVAL);
    }
    asker.ns.pid.set_pid_max(max as u32);
    Ok(())
}

/// A setting of the machine or of a network namespace, for the code that follows it.
#[must_use]
pub fn number(kernel: &Kernel, ns: &Namespaces, path: &str) -> Option<i64> {
    let (path, value) = FILES.iter().find(|(known, _)| *known == path)?;
    let (default, written) = match value {
        Int(default, ..) => (
            *default,
            kernel
                .extension(Written::default)
                .0
                .borrow()
                .get(path)
                .cloned(),
        ),
        NetInt(default, ..) => (*default, ns.net.sysctls.borrow().get(*path).cloned()),
        _ => return None,
    };
    Some(
        written
            .and_then(|text| text.parse().ok())
            .unwrap_or(default),
    )
}

fn get(asker: &Asker, path: &'static str, value: &Value) -> String {
    let kept = |default: String| {
        let written = asker.kernel.extension(Written::default);
        let known = written.0.borrow().get(path).cloned();
        known.unwrap_or(default)
    };
    let kept_in_net = |default: String| {
        asker
            .ns
            .net
            .sysctls
            .borrow()
            .get(path)
            .cloned()
            .unwrap_or(default)
    };
    let mut line = match value {
        Fixed(text) => (*text).to_string(),
        Read(get) | Both(get, _) => get(asker),
        Int(default, ..) => kept(default.to_string()),
        Words(default) => kept((*default).to_string()),
        NetInt(default, ..) => kept_in_net(default.to_string()),
        NetWords(default) => kept_in_net((*default).to_string()),
    };
    line.push('\n');
    line
}

fn set(asker: &Asker, path: &'static str, value: &Value, written: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(written).map_err(|_| Errno::EINVAL)?;
    let text = text.trim_end_matches(['\n', '\0']).trim();
    let checked = |least: i64, most: i64| {
        let value = parse_number(text.as_bytes())?;
        if (least..=most).contains(&value) {
            Ok(value.to_string())
        } else {
            Err(Errno::EINVAL)
        }
    };
    let (new, per_net) = match value {
        Fixed(_) | Read(_) => return Err(Errno::EPERM),
        Both(_, set) => return set(asker, text),
        Int(_, least, most) => (checked(*least, *most)?, false),
        NetInt(_, least, most) => (checked(*least, *most)?, true),
        Words(_) => (text.to_string(), false),
        NetWords(default) => (words_like(text, default)?, true),
    };
    if per_net {
        may_set_net(asker)?;
        asker.ns.net.set_sysctl(path, new);
    } else {
        asker
            .kernel
            .extension(Written::default)
            .0
            .borrow_mut()
            .insert(path, new);
    }
    Ok(())
}

/// As many numbers as the default has, with tabs between.
fn words_like(text: &str, default: &str) -> Result<String> {
    let is_numeric = |text: &str| {
        text.split_ascii_whitespace()
            .all(|word| word.parse::<i64>().is_ok())
    };
    let count = default.split_ascii_whitespace().count();
    if count > 1 && (text.split_ascii_whitespace().count() != count || !is_numeric(text)) {
        return Err(Errno::EINVAL);
    }
    Ok(text.split_ascii_whitespace().collect::<Vec<_>>().join("\t"))
}

fn may_set_net(asker: &Asker) -> Result<()> {
    match &asker.task {
        Some(task)
            if !asker
                .kernel
                .capable_in(task, &asker.ns.net.owner, vfs::Capability::NetAdmin) =>
        {
            Err(Errno::EPERM)
        }
        _ => Ok(()),
    }
}

/// `/proc/sys`.
pub(super) fn root(fs: &Rc<ProcFs>) -> InodeRef {
    node(fs, String::new())
}

fn node(fs: &Rc<ProcFs>, path: String) -> InodeRef {
    let ino = match path.as_str() {
        "" => ino_of(b"sys", 1),
        path => ino_of(path.as_bytes(), 3),
    };
    let dir = SysctlDir {
        fs: Rc::clone(fs),
        path,
    };
    fs.maker().dir(ino, dir)
}

struct SysctlDir {
    fs: Rc<ProcFs>,
    path: String,
}

impl SysctlDir {
    fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.path.is_empty() {
            Some(path)
        } else {
            path.strip_prefix(self.path.as_str())?.strip_prefix('/')
        }
    }

    fn join(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_string()
        } else {
            format!("{}/{name}", self.path)
        }
    }
}

fn asker(fs: &ProcFs) -> Result<Asker> {
    let kernel = fs.kernel()?;
    let task = kernel.current();
    let ns = task
        .as_ref()
        .map_or_else(|| Rc::clone(&kernel.init_ns), |task| task.ns());
    Ok(Asker { kernel, ns, task })
}

impl Dir for SysctlDir {
    fn lookup(&self, name: &[u8]) -> Result<InodeRef> {
        let name = std::str::from_utf8(name).map_err(|_| Errno::ENOENT)?;
        let path = self.join(name);
        if let Some((path, value)) = FILES.iter().find(|(known, _)| *known == path) {
            let perm = if matches!(value, Fixed(_) | Read(_)) {
                0o444
            } else {
                0o644
            };
            let (reader, writer) = (Rc::clone(&self.fs), Rc::clone(&self.fs));
            let read = move || Ok(get(&asker(&reader)?, path, value).into_bytes());
            let write = move |text: &[u8]| set(&asker(&writer)?, path, value, text);
            return Ok(read_write(
                &self.fs.maker(),
                ino_of(path.as_bytes(), 3),
                perm,
                read,
                write,
            ));
        }
        let is_dir = FILES.iter().any(|(known, _)| {
            known
                .strip_prefix(path.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
        });
        if is_dir {
            Ok(node(&self.fs, path))
        } else {
            Err(Errno::ENOENT)
        }
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let names: BTreeSet<(&str, bool)> = order::set(
            FILES
                .iter()
                .filter_map(|(path, _)| self.below(path))
                .filter_map(|rest| {
                    rest.split('/')
                        .next()
                        .map(|name| (name, name.len() < rest.len()))
                }),
        );
        let entry = |(name, is_dir): (&str, bool)| Entry {
            name: name.as_bytes().to_vec(),
            ino: ino_of(self.join(name).as_bytes(), 3),
            file_type: if is_dir { S_IFDIR } else { S_IFREG },
        };
        Ok(names.into_iter().map(entry).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_without_doubles() {
        for pair in FILES.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{} before {}", pair[0].0, pair[1].0);
        }
    }

    #[test]
    fn lists_of_numbers_keep_their_length() {
        assert_eq!(
            words_like("1000 2000", "32768\t60999"),
            Ok("1000\t2000".into())
        );
        assert_eq!(words_like("1000", "32768\t60999"), Err(Errno::EINVAL));
        assert_eq!(words_like("a b", "32768\t60999"), Err(Errno::EINVAL));
        assert_eq!(words_like("cubic", "reno"), Ok("cubic".into()));
    }
}
