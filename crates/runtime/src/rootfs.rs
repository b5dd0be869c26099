//! The file system a container sees: mounts in Docker's order, devices, `pivot_root(2)`, what is
//! hidden and what is read-only.
//!
//! Order matters: sources of binds are paths of the machine, so mounts come before the pivot; devices,
//! links, hidden and read-only paths come after it, when the kernel resolves paths in the container.

use std::rc::Rc;

use os::{Errno, MountFlags, Os, OsExt, TaskId, View};

use crate::error::Doing;
use crate::path::secure_join;
use crate::{Mount, RuntimeError, Spec};

/// Where the machine's root is kept between pivot and unmount.
const OLD_ROOT: &str = ".pivot_root";

/// Makes the mounts of `mounts` below `rootfs` and makes `rootfs` the root of the task.
pub(crate) fn enter(
    os: &Rc<dyn Os>,
    task: TaskId,
    rootfs: &str,
    mounts: &[Mount],
) -> Result<(), RuntimeError> {
    let view = View::Task(task);
    let root = rootfs.as_bytes();
    os.mount(
        view,
        b"",
        b"/",
        "",
        MountFlags::SLAVE | MountFlags::REC,
        b"",
    )
    .doing(|| "error making the mounts of the machine slaves".to_string())?;
    os.mount(
        view,
        root,
        root,
        "bind",
        MountFlags::BIND | MountFlags::REC,
        b"",
    )
    .doing(|| format!("error mounting rootfs {rootfs}"))?;
    for mount in mounts {
        mount_one(os, view, root, mount)?;
    }
    pivot(os, task, rootfs).doing(|| "error jailing process inside rootfs: pivot_root".to_string())
}

fn pivot(os: &Rc<dyn Os>, task: TaskId, rootfs: &str) -> Result<(), Errno> {
    let view = View::Task(task);
    let old = format!("{rootfs}/{OLD_ROOT}");
    match os.mkdir(view, old.as_bytes(), 0o700) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    os.pivot_root(task, rootfs.as_bytes(), old.as_bytes())?;
    let old = format!("/{OLD_ROOT}");
    os.mount(
        view,
        b"",
        old.as_bytes(),
        "",
        MountFlags::PRIVATE | MountFlags::REC,
        b"",
    )?;
    os.umount(view, old.as_bytes(), true)?;
    os.rmdir(view, old.as_bytes())
}

/// Options of `mount(8)`, separated by commas, as flags and the data of the file system.
#[must_use]
pub fn mount_options(text: &str) -> (MountFlags, String) {
    let options: Vec<String> = text
        .split(',')
        .filter(|option| !option.is_empty())
        .map(str::to_string)
        .collect();
    let (flags, _, data) = parse_options(&options);
    (flags, data)
}

/// Options of `mount(8)` that are flags; the others are data for the file system.
fn parse_options(options: &[String]) -> (MountFlags, MountFlags, String) {
    let (mut flags, mut propagation) = (MountFlags::default(), MountFlags::default());
    let mut data: Vec<&str> = Vec::new();
    for option in options {
        match option.as_str() {
            "ro" => flags = flags | MountFlags::RDONLY,
            "nosuid" => flags = flags | MountFlags::NOSUID,
            "nodev" => flags = flags | MountFlags::NODEV,
            "noexec" => flags = flags | MountFlags::NOEXEC,
            "bind" => flags = flags | MountFlags::BIND,
            "rbind" => flags = flags | MountFlags::BIND | MountFlags::REC,
            "relatime" => flags = flags | MountFlags::RELATIME,
            "strictatime" => flags = flags | MountFlags::STRICTATIME,
            "private" => propagation = MountFlags::PRIVATE,
            "rprivate" => propagation = MountFlags::PRIVATE | MountFlags::REC,
            "slave" => propagation = MountFlags::SLAVE,
            "rslave" => propagation = MountFlags::SLAVE | MountFlags::REC,
            "shared" => propagation = MountFlags::SHARED,
            "rshared" => propagation = MountFlags::SHARED | MountFlags::REC,
            "rw" | "defaults" | "suid" | "dev" | "exec" | "z" | "Z" | "nocopy" => {}
            other => data.push(other),
        }
    }
    (flags, propagation, data.join(","))
}

fn mount_one(os: &Rc<dyn Os>, view: View, root: &[u8], mount: &Mount) -> Result<(), RuntimeError> {
    let mounting = || {
        format!(
            "error mounting \"{}\" to rootfs at \"{}\"",
            mount.source, mount.destination
        )
    };
    let destination = secure_join(os, view, root, mount.destination.as_bytes()).doing(mounting)?;
    let (flags, propagation, mut data) = parse_options(&mount.options);
    let is_bind = mount.kind == "bind" || flags.0 & MountFlags::BIND.0 != 0;
    let existing = os.metadata(view, &destination, true).ok();
    let source_is_file = is_bind
        && !os
            .metadata(view, mount.source.as_bytes(), true)
            .doing(|| format!("{}: stat {}", mounting(), mount.source))?
            .is_dir();
    make_mount_point(os, view, &destination, source_is_file).doing(|| {
        format!(
            "{}: create mountpoint for {} mount",
            mounting(),
            mount.destination
        )
    })?;
    if is_bind {
        let bind =
            MountFlags(flags.0 & (MountFlags::BIND.0 | MountFlags::REC.0) | MountFlags::BIND.0);
        let detail = || {
            let rec = if bind.0 & MountFlags::REC.0 == 0 {
                ""
            } else {
                "|MS_REC"
            };
            format!(
                "{}: mount src={}, dst={}, flags=MS_BIND{rec}",
                mounting(),
                mount.source,
                mount.destination
            )
        };
        os.mount(
            view,
            mount.source.as_bytes(),
            &destination,
            "bind",
            bind,
            b"",
        )
        .doing(detail)?;
        let rest = flags.0 & !(MountFlags::BIND.0 | MountFlags::REC.0);
        if rest != 0 {
            let remount = MountFlags(rest) | MountFlags::BIND | MountFlags::REMOUNT;
            os.mount(view, b"", &destination, "", remount, b"")
                .doing(detail)?;
        }
    } else {
        let kind = if mount.kind == "cgroup" {
            "cgroup2"
        } else {
            &mount.kind
        };
        if let (true, Some(existing)) = (kind == "tmpfs" && !data.contains("mode="), existing) {
            // A directory of the image keeps its permissions.
            let comma = if data.is_empty() { "" } else { "," };
            data.push_str(&format!("{comma}mode={:o}", existing.mode & 0o7777));
        }
        match os.mount(
            view,
            mount.source.as_bytes(),
            &destination,
            kind,
            flags,
            data.as_bytes(),
        ) {
            // Message queues are a build option of the kernel.
            Err(Errno::ENODEV) if kind == "mqueue" => return Ok(()),
            other => other.doing(|| {
                format!(
                    "{}: mount src={}, dst={}, dstFd=, flags={:#x}",
                    mounting(),
                    mount.source,
                    mount.destination,
                    flags.0
                )
            })?,
        }
    }
    if propagation != MountFlags::default() {
        os.mount(view, b"", &destination, "", propagation, b"")
            .doing(mounting)?;
    }
    Ok(())
}

fn make_mount_point(os: &Rc<dyn Os>, view: View, path: &[u8], is_file: bool) -> Result<(), Errno> {
    match os.metadata(view, path, true) {
        Ok(metadata) if metadata.is_dir() == is_file => return Err(Errno::ENOTDIR),
        Ok(_) => return Ok(()),
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    if !is_file {
        return os.mkdir_all(view, path, 0o755);
    }
    if let Some(cut) = path
        .iter()
        .rposition(|&byte| byte == b'/')
        .filter(|&at| at > 0)
    {
        os.mkdir_all(view, &path[..cut], 0o755)?;
    }
    os.mknod(view, path, 0o100_755, 0)
}

/// The number of a device as `stat(2)` has it.
#[must_use]
pub(crate) fn device_number(major: u32, minor: u32) -> u64 {
    let (major, minor) = (u64::from(major), u64::from(minor));
    (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12) | ((major & !0xfff) << 32)
}

/// Devices and the usual links of `/dev`.
pub(crate) fn populate_dev(os: &Rc<dyn Os>, task: TaskId, spec: &Spec) -> Result<(), RuntimeError> {
    let view = View::Task(task);
    for device in &spec.devices {
        let path = device.path.as_bytes();
        if let Some(cut) = path
            .iter()
            .rposition(|&byte| byte == b'/')
            .filter(|&at| at > 0)
        {
            os.mkdir_all(view, &path[..cut], 0o755)
                .doing(|| format!("error creating device nodes: mkdir for {}", device.path))?;
        }
        match os.mknod(
            view,
            path,
            device.mode,
            device_number(device.major, device.minor),
        ) {
            Ok(()) => {
                let _ = os.lchown(view, path, 0, device.gid);
            }
            Err(Errno::EEXIST) => {}
            Err(errno) => {
                return Err(RuntimeError::init(format!(
                    "error creating device nodes: mknod {}: {}",
                    device.path,
                    errno.go_description()
                )));
            }
        }
    }
    for (target, link) in [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
        ("/proc/kcore", "/dev/core"),
        ("pts/ptmx", "/dev/ptmx"),
    ] {
        match os.symlink(view, target.as_bytes(), link.as_bytes()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => {
                return Err(RuntimeError::init(format!(
                    "error setting up ptmx and standard links: symlink {link}: {}",
                    errno.go_description()
                )));
            }
        }
    }
    Ok(())
}

/// Shows terminal `number` as `/dev/console`.
pub(crate) fn bind_console(
    os: &Rc<dyn Os>,
    task: TaskId,
    number: u32,
    uid: u32,
) -> Result<(), RuntimeError> {
    let view = View::Task(task);
    let terminal = format!("/dev/pts/{number}");
    let doing = || "error mounting /dev/console".to_string();
    if uid != 0 {
        let tty_group = os
            .metadata(view, terminal.as_bytes(), true)
            .map_or(5, |found| found.gid);
        let _ = os.lchown(view, terminal.as_bytes(), uid, tty_group);
    }
    match os.mknod(view, b"/dev/console", 0o100_600, 0) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno).doing(doing),
    }
    os.mount(
        view,
        terminal.as_bytes(),
        b"/dev/console",
        "bind",
        MountFlags::BIND,
        b"",
    )
    .doing(doing)
}

/// Kernel parameters, then what is hidden and what is read-only, then the root itself.
pub(crate) fn seal(os: &Rc<dyn Os>, task: TaskId, spec: &Spec) -> Result<(), RuntimeError> {
    let view = View::Task(task);
    for (name, value) in &spec.sysctl {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        os.write_control(view, &path, value)
            .doing(|| format!("open {path}"))?;
    }
    for path in &spec.readonly_paths {
        make_readonly(os, view, path)?;
    }
    for path in &spec.masked_paths {
        mask(os, view, path)?;
    }
    if spec.readonly_rootfs {
        let flags = MountFlags::BIND | MountFlags::REMOUNT | MountFlags::RDONLY;
        os.mount(view, b"", b"/", "", flags, b"")
            .doing(|| "error setting rootfs as readonly".to_string())?;
    }
    Ok(())
}

fn make_readonly(os: &Rc<dyn Os>, view: View, path: &str) -> Result<(), RuntimeError> {
    let target = path.as_bytes();
    match os.mount(
        view,
        target,
        target,
        "bind",
        MountFlags::BIND | MountFlags::REC,
        b"",
    ) {
        Ok(()) => {}
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(errno).doing(|| format!("bind {path}")),
    }
    let flags = MountFlags::BIND
        | MountFlags::REMOUNT
        | MountFlags::RDONLY
        | MountFlags::NOSUID
        | MountFlags::NODEV
        | MountFlags::NOEXEC;
    os.mount(view, b"", target, "", flags, b"")
        .doing(|| format!("make {path} read-only"))
}

fn mask(os: &Rc<dyn Os>, view: View, path: &str) -> Result<(), RuntimeError> {
    let target = path.as_bytes();
    let outcome = match os.metadata(view, target, true) {
        Err(_) => return Ok(()),
        Ok(metadata) if metadata.is_dir() => {
            os.mount(view, b"tmpfs", target, "tmpfs", MountFlags::RDONLY, b"")
        }
        Ok(_) => os.mount(view, b"/dev/null", target, "bind", MountFlags::BIND, b""),
    };
    outcome.doing(|| format!("can't mask path \"{path}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_split_into_flags_and_data() {
        let options = ["nosuid", "ro", "size=64m", "rprivate", "mode=1777", "rw"];
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let (flags, propagation, data) = parse_options(&options);
        assert_eq!(flags, MountFlags::NOSUID | MountFlags::RDONLY);
        assert_eq!(propagation, MountFlags::PRIVATE | MountFlags::REC);
        assert_eq!(data, "size=64m,mode=1777");
        assert_eq!(device_number(1, 3), 0x103);
        assert_eq!(device_number(259, 300), 0x11_032c);
    }
}
