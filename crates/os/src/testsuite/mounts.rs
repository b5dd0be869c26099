//! Mounts and mount namespaces.

use std::rc::Rc;

use super::{shell, spawn, text};
use crate::{Errno, MountFlags, NamespaceFlags, NamespaceKind, Os, OsExt, View};

const HOST: View = View::Host;
const NONE: MountFlags = MountFlags(0);

pub(super) async fn tmpfs_and_umount(os: Rc<dyn Os>) {
    os.mkdir(HOST, b"/tmp/m", 0o755).unwrap();
    os.mount(
        HOST,
        b"tmpfs",
        b"/tmp/m",
        "tmpfs",
        MountFlags::NOSUID,
        b"size=64k",
    )
    .unwrap();
    os.write_file(HOST, b"/tmp/m/f", b"x", 0o644).unwrap();
    assert!(
        text(&os, "/proc/1/mountinfo")
            .lines()
            .any(|line| line.contains(" /tmp/m ") && line.contains("nosuid"))
    );
    let full = os.write_file(HOST, b"/tmp/m/g", &[1; 100_000], 0o644);
    assert_eq!(full.err(), Some(Errno::ENOSPC));
    os.umount(HOST, b"/tmp/m", false).unwrap();
    assert!(!os.exists(HOST, b"/tmp/m/f"));
    assert_eq!(os.umount(HOST, b"/tmp/m", false).err(), Some(Errno::EINVAL));
    assert_eq!(
        os.mount(HOST, b"x", b"/tmp/m", "nofs", NONE, b"").err(),
        Some(Errno::ENODEV)
    );
}

pub(super) async fn bind_and_read_only(os: Rc<dyn Os>) {
    os.mkdir_all(HOST, b"/tmp/from/sub", 0o755).unwrap();
    os.mkdir(HOST, b"/tmp/to", 0o755).unwrap();
    os.write_file(HOST, b"/tmp/from/sub/f", b"x", 0o644)
        .unwrap();
    os.mount(
        HOST,
        b"/tmp/from",
        b"/tmp/to",
        "",
        MountFlags::BIND | MountFlags::REC,
        b"",
    )
    .unwrap();
    assert_eq!(text(&os, "/tmp/to/sub/f"), "x");
    let read_only = MountFlags::BIND | MountFlags::REMOUNT | MountFlags::RDONLY;
    os.mount(HOST, b"", b"/tmp/to", "", read_only, b"").unwrap();
    assert_eq!(
        os.write_file(HOST, b"/tmp/to/sub/f", b"y", 0o644).err(),
        Some(Errno::EROFS)
    );
    os.write_file(HOST, b"/tmp/from/sub/f", b"z", 0o644)
        .unwrap();
    assert_eq!(text(&os, "/tmp/to/sub/f"), "z");
    // A single file over a file.
    os.write_file(HOST, b"/tmp/over", b"", 0o644).unwrap();
    os.mount(
        HOST,
        b"/tmp/from/sub/f",
        b"/tmp/over",
        "",
        MountFlags::BIND,
        b"",
    )
    .unwrap();
    assert_eq!(text(&os, "/tmp/over"), "z");
}

pub(super) async fn overlay_copies_up(os: Rc<dyn Os>) {
    for dir in ["lower", "upper", "work", "merged"] {
        os.mkdir(HOST, format!("/tmp/{dir}").as_bytes(), 0o755)
            .unwrap();
    }
    os.write_file(HOST, b"/tmp/lower/a", b"low", 0o644).unwrap();
    os.write_file(HOST, b"/tmp/lower/b", b"low", 0o644).unwrap();
    let options = b"lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work";
    os.mount(HOST, b"overlay", b"/tmp/merged", "overlay", NONE, options)
        .unwrap();
    os.write_file(HOST, b"/tmp/merged/a", b"new", 0o644)
        .unwrap();
    os.unlink(HOST, b"/tmp/merged/b").unwrap();
    assert_eq!(
        (text(&os, "/tmp/lower/a"), text(&os, "/tmp/upper/a")),
        ("low".into(), "new".into())
    );
    assert!(!os.exists(HOST, b"/tmp/merged/b") && os.exists(HOST, b"/tmp/lower/b"));
    let whiteout = os.metadata(HOST, b"/tmp/upper/b", false).unwrap();
    assert_eq!((whiteout.file_type(), whiteout.rdev), (0o020_000, 0));
    os.umount(HOST, b"/tmp/merged", false).unwrap();
}

pub(super) async fn a_mount_namespace_is_a_copy(os: Rc<dyn Os>) {
    os.mkdir(HOST, b"/tmp/m", 0o755).unwrap();
    let task = spawn(&os, NamespaceFlags::of(NamespaceKind::Mount));
    let view = View::Task(task);
    os.mount(view, b"tmpfs", b"/tmp/m", "tmpfs", NONE, b"")
        .unwrap();
    os.write_file(view, b"/tmp/m/inside", b"x", 0o644).unwrap();
    assert!(os.exists(view, b"/tmp/m/inside") && !os.exists(HOST, b"/tmp/m/inside"));
    let (output, _) = shell(
        &os,
        task,
        "cat /tmp/m/inside; grep -c /tmp/m /proc/self/mounts",
    )
    .await;
    assert_eq!(output, "x1\n");
    assert!(!text(&os, "/proc/1/mounts").contains("/tmp/m "));
}

pub(super) async fn pivot_root_into_a_new_tree(os: Rc<dyn Os>) {
    let task = spawn(&os, NamespaceFlags::of(NamespaceKind::Mount));
    let view = View::Task(task);
    os.mkdir(view, b"/tmp/root", 0o755).unwrap();
    os.mount(view, b"tmpfs", b"/tmp/root", "tmpfs", NONE, b"")
        .unwrap();
    for dir in ["bin", "old", "proc"] {
        os.mkdir(view, format!("/tmp/root/{dir}").as_bytes(), 0o755)
            .unwrap();
    }
    os.write_file(view, b"/tmp/root/bin/busybox", b"", 0o755)
        .unwrap();
    os.mount(
        view,
        b"/bin/busybox",
        b"/tmp/root/bin/busybox",
        "",
        MountFlags::BIND,
        b"",
    )
    .unwrap();
    os.pivot_root(task, b"/tmp/root", b"/tmp/root/old").unwrap();
    os.umount(view, b"/old", true).unwrap();
    os.rmdir(view, b"/old").unwrap();
    os.mount(view, b"proc", b"/proc", "proc", NONE, b"")
        .unwrap();
    assert!(!os.exists(view, b"/tmp") && os.exists(HOST, b"/tmp"));
    let (output, _) = shell(
        &os,
        task,
        "echo /*; pwd; cat /proc/self/mounts | grep -c ' / '",
    )
    .await;
    assert_eq!(output, "/bin /proc\n/\n1\n");
}
