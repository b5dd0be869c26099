//! Control groups v2 (`cgroups(7)`), which are files: make one, write limits, read accounts, remove.

use std::rc::Rc;

use os::{Errno, Handle, OpenFlags, Os, OsExt, View};

use crate::{IoLimit, Resources, RuntimeError};

/// Where the hierarchy is mounted on the machine.
pub const MOUNT: &str = "/sys/fs/cgroup";

/// The directory of a cgroup on the machine.
#[must_use]
pub fn directory(cgroup: &str) -> String {
    format!("{MOUNT}{cgroup}")
}

/// Makes a cgroup and those above it, with the controllers containers use.
pub fn create(os: &Rc<dyn Os>, cgroup: &str) -> Result<(), RuntimeError> {
    let mut path = String::from(MOUNT);
    for part in cgroup.split('/').filter(|part| !part.is_empty()) {
        // Controllers one by one: the kernel refuses the whole write for one it does not have.
        for controller in ["+cpu", "+memory", "+pids", "+cpuset", "+io"] {
            let _ = os.write_control(
                View::Host,
                &format!("{path}/cgroup.subtree_control"),
                controller,
            );
        }
        path = format!("{path}/{part}");
        match os.mkdir(View::Host, path.as_bytes(), 0o755) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => {
                return Err(RuntimeError::Create(format!(
                    "unable to apply cgroup configuration: mkdir {path}: {}",
                    errno.go_description()
                )));
            }
        }
    }
    Ok(())
}

/// File and content of every limit that is set.
fn writes(resources: &Resources) -> Vec<(&'static str, String)> {
    let bytes = |value: i64| match value {
        ..0 => "max".to_string(),
        _ => value.to_string(),
    };
    let mut list = Vec::new();
    if let Some(memory) = resources.memory.filter(|&memory| memory != 0) {
        list.push(("memory.max", bytes(memory)));
    }
    let swap = match (resources.memory, resources.memory_swap) {
        (_, Some(-1)) => Some("max".to_string()),
        (Some(memory @ 1..), Some(total @ 1..)) => Some((total - memory).max(0).to_string()),
        // Docker's default: as much swap as memory.
        (Some(memory @ 1..), _) => Some(memory.to_string()),
        _ => None,
    };
    list.extend(swap.map(|swap| ("memory.swap.max", swap)));
    if let Some(low) = resources.memory_reservation.filter(|&low| low != 0) {
        list.push(("memory.low", bytes(low)));
    }
    if let Some(shares) = resources.cpu_shares.filter(|&shares| shares != 0) {
        list.push(("cpu.weight", cpu_weight(shares).to_string()));
    }
    if resources.cpu_quota.is_some() || resources.cpu_period.is_some() {
        let period = resources
            .cpu_period
            .filter(|&period| period != 0)
            .unwrap_or(100_000);
        let quota = match resources.cpu_quota {
            Some(quota @ 1..) => quota.to_string(),
            _ => "max".to_string(),
        };
        list.push(("cpu.max", format!("{quota} {period}")));
    }
    for (file, value) in [
        ("cpuset.cpus", &resources.cpuset_cpus),
        ("cpuset.mems", &resources.cpuset_mems),
    ] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            list.push((file, value.clone()));
        }
    }
    if let Some(weight) = resources.blkio_weight {
        list.push(("io.weight", io_weight(weight).to_string()));
    }
    // One write for each limit, as runc does.
    for limit in &resources.io {
        let IoLimit {
            major,
            minor,
            key,
            rate,
        } = limit;
        list.push(("io.max", format!("{major}:{minor} {key}={rate}")));
    }
    if let Some(pids) = resources.pids {
        list.push((
            "pids.max",
            if pids > 0 {
                pids.to_string()
            } else {
                "max".to_string()
            },
        ));
    }
    list
}

/// The weight that stands for cgroup v1 shares (the runtime specification's formula).
fn cpu_weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// The weight that stands for that of cgroup v1 (runc's formula).
fn io_weight(weight: u64) -> u64 {
    1 + (weight.clamp(10, 1000) - 10) * 9999 / 990
}

/// Writes limits.
pub fn apply(os: &Rc<dyn Os>, cgroup: &str, resources: &Resources) -> Result<(), RuntimeError> {
    for (file, value) in writes(resources) {
        let path = format!("{}/{file}", directory(cgroup));
        match os.write_control(View::Host, &path, &value) {
            Ok(()) => {}
            // Without swap accounting there is nothing to limit.
            Err(Errno::ENOENT) if file == "memory.swap.max" => {}
            Err(errno) => {
                return Err(RuntimeError::Create(format!(
                    "unable to apply cgroup configuration: failed to write \"{value}\": write {path}: {}",
                    errno.go_description()
                )));
            }
        }
    }
    Ok(())
}

/// A file of a cgroup, or an empty text.
#[must_use]
pub fn read(os: &Rc<dyn Os>, cgroup: &str, file: &str) -> String {
    let path = format!("{}/{file}", directory(cgroup));
    os.read_file_now(View::Host, path.as_bytes())
        .map(|content| String::from_utf8_lossy(&content).into_owned())
        .unwrap_or_default()
}

/// The value of `key` in a flat-keyed file such as `memory.stat`.
#[must_use]
pub fn keyed(content: &str, key: &str) -> Option<u64> {
    content.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

/// Pids, in the machine's numbering, of all tasks in a cgroup.
#[must_use]
pub fn pids(os: &Rc<dyn Os>, cgroup: &str) -> Vec<u32> {
    read(os, cgroup, "cgroup.procs")
        .lines()
        .filter_map(|line| line.trim().parse().ok())
        .collect()
}

/// `memory.events` of a cgroup, to wait for changes.
#[must_use]
pub fn events(os: &Rc<dyn Os>, cgroup: &str) -> Option<Rc<dyn Handle>> {
    let path = format!("{}/memory.events", directory(cgroup));
    let flags = OpenFlags {
        read: true,
        ..OpenFlags::default()
    };
    os.open(View::Host, path.as_bytes(), flags, 0).ok()
}

/// How often the memory limit has killed a task.
#[must_use]
pub fn oom_kills(os: &Rc<dyn Os>, cgroup: &str) -> u64 {
    keyed(&read(os, cgroup, "memory.events"), "oom_kill").unwrap_or(0)
}

/// Kills what is left in a cgroup and removes it with those below it.
pub fn remove(os: &Rc<dyn Os>, cgroup: &str) {
    for pid in pids(os, cgroup) {
        let _ = os.kill(os::TaskId(pid), 9);
    }
    // Innermost last on the list, first to go.
    let mut found = vec![directory(cgroup)];
    let mut next = 0;
    while next < found.len() && found.len() < 1024 {
        let path = found[next].clone();
        for entry in os.read_dir(View::Host, path.as_bytes()).unwrap_or_default() {
            if entry.file_type == 0o040_000 {
                found.push(format!("{path}/{}", String::from_utf8_lossy(&entry.name)));
            }
        }
        next += 1;
    }
    for path in found.iter().rev() {
        let _ = os.rmdir(View::Host, path.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_become_files() {
        let resources = Resources {
            memory: Some(64 << 20),
            cpu_quota: Some(50_000),
            cpu_shares: Some(1024),
            pids: Some(20),
            blkio_weight: Some(500),
            io: vec![IoLimit {
                major: 254,
                minor: 0,
                key: "wbps",
                rate: 1024,
            }],
            ..Resources::default()
        };
        let expected = [
            ("memory.max", "67108864"),
            ("memory.swap.max", "67108864"),
            ("cpu.weight", "39"),
            ("cpu.max", "50000 100000"),
            ("io.weight", "4950"),
            ("io.max", "254:0 wbps=1024"),
            ("pids.max", "20"),
        ];
        let got = writes(&resources);
        let got: Vec<_> = got
            .iter()
            .map(|(file, value)| (*file, value.as_str()))
            .collect();
        assert_eq!(got, expected);
        let unlimited = Resources {
            memory_swap: Some(-1),
            memory: Some(1 << 20),
            pids: Some(-1),
            ..Resources::default()
        };
        let got = writes(&unlimited);
        assert_eq!(got[1], ("memory.swap.max", "max".to_string()));
        assert_eq!(got[2], ("pids.max", "max".to_string()));
    }

    #[test]
    fn keyed_files() {
        let content = "low 0\noom 3\noom_kill 1\n";
        assert_eq!(keyed(content, "oom_kill"), Some(1));
        assert_eq!(keyed(content, "none"), None);
    }
}
