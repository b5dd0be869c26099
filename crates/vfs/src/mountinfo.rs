//! What `/proc/PID/mountinfo`, `/proc/PID/mounts` and `/proc/PID/mountstats` show (`proc(5)`).

use std::rc::Rc;

use crate::mount::{Mount, MountFlags, MountNamespace, Propagation};
use crate::path::{Dentry, Path};

/// One line of mountinfo, taken apart. Paths are as the asking task sees them.
#[derive(Clone, Debug)]
pub struct MountInfo {
    /// Mount id.
    pub id: u32,
    /// Id of the mount it hangs on; its own id at the top.
    pub parent_id: u32,
    /// `st_dev` of the file system.
    pub device: u64,
    /// The directory of the file system that shows at the mount point.
    pub root: Vec<u8>,
    /// Where it hangs.
    pub mount_point: Vec<u8>,
    /// `rw,nosuid,…` of the mount.
    pub options: String,
    /// Propagation type.
    pub propagation: Propagation,
    /// Type of the file system.
    pub fstype: &'static str,
    /// What was mounted.
    pub source: Vec<u8>,
    /// Options of the file system.
    pub super_options: String,
}

impl MountNamespace {
    /// The mounts a task with this root sees, as `/proc/PID/mountinfo` lists them.
    #[must_use]
    pub fn list(&self, root: &Path) -> Vec<MountInfo> {
        let mut mounts = self.mounts();
        order::sort_by_key(&mut mounts, |mount| mount.id);
        mounts
            .iter()
            .filter_map(|mount| info(mount, root))
            .collect()
    }
}

fn info(mount: &Rc<Mount>, root: &Path) -> Option<MountInfo> {
    let mount_point = name_below(&mount.root_path(), root)?;
    let flags = mount.flags.get();
    let super_flags = mount.super_block().flags.get();
    let shown = mount.fs().show_options();
    let mut super_options = rw(super_flags).to_string();
    if !shown.is_empty() {
        super_options.push(',');
        super_options.push_str(&shown);
    }
    let parent_id = mount.mount_point().map_or(mount.id, |place| place.mount.id);
    Some(MountInfo {
        id: mount.id,
        parent_id,
        device: mount.super_block().device,
        root: dentry_name(mount.root()),
        mount_point,
        options: options(flags),
        propagation: mount.propagation.get(),
        fstype: mount.fs().name(),
        source: mount.source.clone(),
        super_options,
    })
}

fn rw(flags: MountFlags) -> &'static str {
    if flags.contains(MountFlags::RDONLY) {
        "ro"
    } else {
        "rw"
    }
}

fn options(flags: MountFlags) -> String {
    let mut text = rw(flags).to_string();
    for (flag, name) in [
        (MountFlags::NOSUID, ",nosuid"),
        (MountFlags::NODEV, ",nodev"),
        (MountFlags::NOEXEC, ",noexec"),
        (MountFlags::NOATIME, ",noatime"),
        (MountFlags::NODIRATIME, ",nodiratime"),
        (MountFlags::RELATIME, ",relatime"),
        (MountFlags::NOSYMFOLLOW, ",nosymfollow"),
    ] {
        if flags.contains(flag) {
            text.push_str(name);
        }
    }
    text
}

impl MountInfo {
    /// The line of `/proc/PID/mountinfo`, with its newline.
    #[must_use]
    pub fn mountinfo_line(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(160);
        let (major, minor) = (major(self.device), minor(self.device));
        line.extend(format!("{} {} {major}:{minor} ", self.id, self.parent_id).bytes());
        escape(&self.root, &mut line);
        line.push(b' ');
        escape(&self.mount_point, &mut line);
        line.extend(format!(" {}", self.options).bytes());
        if let Some(group) = self.propagation.shared {
            line.extend(format!(" shared:{group}").bytes());
        }
        if let Some(group) = self.propagation.master {
            line.extend(format!(" master:{group}").bytes());
        }
        if self.propagation.unbindable {
            line.extend(b" unbindable");
        }
        line.extend(format!(" - {} ", self.fstype).bytes());
        escape(&self.source, &mut line);
        line.extend(format!(" {}\n", self.super_options).bytes());
        line
    }

    /// The line of `/proc/PID/mounts`, with its newline.
    #[must_use]
    pub fn mounts_line(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(120);
        escape(&self.source, &mut line);
        line.push(b' ');
        escape(&self.mount_point, &mut line);
        line.extend(format!(" {} ", self.fstype).bytes());
        // The file system's own ro/rw is folded into the mount's.
        let (super_rw, rest) = self.super_options.split_at(2);
        let (mount_rw, flags) = self.options.split_at(2);
        let rw = if super_rw == "ro" || mount_rw == "ro" {
            "ro"
        } else {
            "rw"
        };
        line.extend(format!("{rw}{flags}{rest} 0 0\n").bytes());
        line
    }
}

/// Spaces, tabs, newlines, backslashes and `#` in octal, as the kernel mangles names.
fn escape(text: &[u8], line: &mut Vec<u8>) {
    if text.is_empty() {
        line.extend(b"none");
    }
    for &byte in text {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => line.extend(format!("\\{byte:03o}").bytes()),
            _ => line.push(byte),
        }
    }
}

/// Major number of a `st_dev` in the encoding of `makedev(3)`.
#[must_use]
pub fn major(device: u64) -> u64 {
    (device >> 8) & 0xfff | (device >> 32) & 0xffff_f000
}

/// Minor number of a `st_dev` in the encoding of `makedev(3)`.
#[must_use]
pub fn minor(device: u64) -> u64 {
    device & 0xff | (device >> 12) & 0xffff_ff00
}

/// A device number from its parts, as `makedev(3)` makes it.
#[must_use]
pub fn makedev(major: u64, minor: u64) -> u64 {
    (major & 0xfff) << 8 | (major & !0xfff) << 32 | minor & 0xff | (minor & !0xff) << 12
}

/// The name of a dentry within its file system.
fn dentry_name(dentry: &Rc<Dentry>) -> Vec<u8> {
    let mut parts = Vec::new();
    let mut here = Rc::clone(dentry);
    while let Some(parent) = here.parent() {
        parts.push(here.name());
        here = parent;
    }
    let mut text = join(&parts);
    if dentry.is_deleted() {
        text.extend(b"//deleted");
    }
    text
}

fn join(parts_from_below: &[Rc<[u8]>]) -> Vec<u8> {
    let mut text = Vec::new();
    for part in parts_from_below.iter().rev() {
        text.push(b'/');
        text.extend_from_slice(part);
    }
    if text.is_empty() {
        text.push(b'/');
    }
    text
}

/// The absolute name of `path` for a task whose root is `root`; `None` when it is not below it.
#[must_use]
pub fn name_below(path: &Path, root: &Path) -> Option<Vec<u8>> {
    walk_up(path, root).ok()
}

/// The name as far up as the tree goes: `Ok` when that is `root`.
pub(crate) fn walk_up(path: &Path, root: &Path) -> Result<Vec<u8>, Vec<u8>> {
    let mut parts = Vec::new();
    let mut here = path.clone();
    loop {
        if here == *root {
            return Ok(join(&parts));
        }
        if here.is_mount_root() {
            match here.mount.mount_point() {
                Some(above) => here = above,
                None => return Err(join(&parts)),
            }
            continue;
        }
        let Some(parent) = here.dentry.parent() else {
            return Err(join(&parts));
        };
        parts.push(here.name());
        here.dentry = parent;
    }
}
