//! What Docker gives every container: mounts, devices, hidden and read-only paths.

use std::rc::Rc;

use os::{Os, View};

use crate::{Device, Mount, Rlimit};

/// Size of `/dev/shm` when nothing else is said.
pub const SHM_SIZE: i64 = 64 << 20;

/// Limits of a container's processes. They have them from containerd, whose service is given all that a
/// kernel allows: descriptors (capped by `fs.nr_open`), tasks and core files.
pub const RLIMITS: [Rlimit; 3] = [rlimit(7, 1 << 20), rlimit(6, u64::MAX), rlimit(4, u64::MAX)];

const fn rlimit(resource: u32, value: u64) -> Rlimit {
    Rlimit {
        resource,
        soft: value,
        hard: value,
    }
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_string(),
        kind: kind.to_string(),
        source: source.to_string(),
        options: options.iter().map(ToString::to_string).collect(),
    }
}

/// The mounts of a container, in Docker's order.
#[must_use]
pub fn mounts(privileged: bool, shm_size: i64) -> Vec<Mount> {
    let access = if privileged { "rw" } else { "ro" };
    let shm_size = format!("size={}", if shm_size > 0 { shm_size } else { SHM_SIZE });
    vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", access],
        ),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &[access, "nosuid", "noexec", "nodev"],
        ),
        mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        ),
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", &shm_size],
        ),
    ]
}

/// Paths hidden in a container that is not privileged.
#[must_use]
pub fn masked_paths() -> Vec<String> {
    [
        "/proc/asound",
        "/proc/acpi",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ]
    .map(str::to_string)
    .to_vec()
}

/// Paths read-only in a container that is not privileged.
#[must_use]
pub fn readonly_paths() -> Vec<String> {
    [
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
        "/proc/sysrq-trigger",
    ]
    .map(str::to_string)
    .to_vec()
}

/// The devices of every container.
#[must_use]
pub fn devices() -> Vec<Device> {
    [
        ("/dev/null", 1, 3),
        ("/dev/zero", 1, 5),
        ("/dev/full", 1, 7),
        ("/dev/random", 1, 8),
        ("/dev/urandom", 1, 9),
        ("/dev/tty", 5, 0),
    ]
    .map(|(path, major, minor)| Device {
        path: path.to_string(),
        mode: 0o020_666,
        major,
        minor,
        gid: if path == "/dev/tty" { 5 } else { 0 },
    })
    .to_vec()
}

/// Major number of a device.
#[must_use]
pub fn major(rdev: u64) -> u32 {
    (((rdev >> 8) & 0xfff) | ((rdev >> 32) & !0xfff)) as u32
}

/// Minor number of a device.
#[must_use]
pub fn minor(rdev: u64) -> u32 {
    ((rdev & 0xff) | ((rdev >> 12) & !0xff)) as u32
}

/// A device of the machine under another name, or `None` when it is none.
#[must_use]
pub fn host_device(os: &Rc<dyn Os>, host_path: &str, path: &str) -> Option<Device> {
    let metadata = os.metadata(View::Host, host_path.as_bytes(), true).ok()?;
    if !matches!(metadata.file_type(), 0o020_000 | 0o060_000) {
        return None;
    }
    let rdev = metadata.rdev;
    Some(Device {
        path: path.to_string(),
        mode: metadata.mode,
        major: major(rdev),
        minor: minor(rdev),
        gid: metadata.gid,
    })
}

/// Directories of the machine's `/dev` that a privileged container does not get.
const NOT_DEVICES: [&str; 4] = ["pts", "shm", "fd", "mqueue"];

/// Every device of the machine, for a privileged container.
#[must_use]
pub fn host_devices(os: &Rc<dyn Os>) -> Vec<Device> {
    let mut found = Vec::new();
    let mut directories = vec!["/dev".to_string()];
    while let Some(directory) = directories.pop() {
        for entry in os
            .read_dir(View::Host, directory.as_bytes())
            .unwrap_or_default()
        {
            let Ok(name) = String::from_utf8(entry.name) else {
                continue;
            };
            if NOT_DEVICES.contains(&name.as_str()) || name == "console" {
                continue;
            }
            let path = format!("{directory}/{name}");
            match os.metadata(View::Host, path.as_bytes(), false) {
                Ok(metadata) if metadata.is_dir() => directories.push(path),
                Ok(metadata) if !metadata.is_symlink() => {
                    found.extend(host_device(os, &path, &path));
                }
                _ => {}
            }
        }
    }
    found
}
