//! Bounds and lifetimes: deep trees, full disks, content that is not here, nothing left behind.

use std::cell::RefCell;
use std::rc::Rc;

use vfs::Errno;
use vfs::file::OpenFlags;
use vfs::inode::{Attr, FileSystem, S_IFREG};
use vfs::lazy::{Chunk, ContentSource, LazyEntry, LazyTree};
use vfs::mount::MountFlags;
use vfs::tmpfs::{Tmpfs, TmpfsOptions};

use crate::counting_unsafe::allocations;
use crate::script::{World, ok};

const OVERLAY: &str = "mount overlay /m lowerdir=/l,upperdir=/u,workdir=/w";

fn with_dirs(dirs: &[&str]) -> World {
    let mut world = World::new();
    for dir in dirs {
        ok(&mut world, &format!("mkdir {dir}"));
    }
    world
}

#[test]
fn a_very_deep_tree_is_made_and_freed() {
    let mut world = with_dirs(&["/l", "/u", "/w", "/m"]);
    ok(&mut world, OVERLAY);
    for (start, name) in [("/l", "d"), ("/m", "e")] {
        ok(&mut world, &format!("cd {start}"));
        for _ in 0..20_000 {
            ok(&mut world, &format!("mkdir {name}"));
            ok(&mut world, &format!("cd {name}"));
        }
        assert_eq!(ok(&mut world, "pwd").len(), 2 + 2 * 20_000);
    }
    // A write at the bottom copies all parents up.
    ok(&mut world, "cd /m");
    for _ in 0..20_000 {
        ok(&mut world, "cd d");
    }
    ok(&mut world, "write f text");
    ok(&mut world, "cd /");
    drop(world);
}

#[test]
fn mounts_on_mounts_are_freed_one_by_one() {
    let mut world = with_dirs(&["/m"]);
    for _ in 0..20_000 {
        let fs: Rc<dyn FileSystem> = Tmpfs::new(&world.clock, TmpfsOptions::default());
        let place = world.context().resolve(None, b"/m", true).unwrap();
        let mount = world
            .namespace
            .table()
            .mount(&fs, b"t", MountFlags::empty());
        drop((mount, place));
    }
    for _ in 0..500 {
        ok(&mut world, "mount tmpfs /m");
    }
    drop(world);
}

#[test]
fn nothing_is_left_when_a_namespace_is_dropped() {
    let mut world = with_dirs(&["/l", "/l/d", "/u", "/w", "/m", "/t"]);
    ok(&mut world, OVERLAY);
    ok(&mut world, "write /m/d/f text");
    ok(&mut world, "ln /m/d/f /m/d/g");
    ok(&mut world, "mv /m/d /m/e");
    ok(&mut world, "mount tmpfs /t");
    ok(&mut world, "bind /m /t");
    ok(&mut world, "open f /m/e/f rw");
    let (copy, _) = world.namespace.copy_tree();
    let systems: Vec<_> = copy
        .list(&copy.root())
        .iter()
        .map(|info| info.fstype)
        .collect();
    assert_eq!(systems, ["tmpfs", "overlay", "tmpfs", "overlay"]);
    let watched: Vec<_> = copy
        .mounts()
        .iter()
        .map(|mount| Rc::downgrade(mount.fs()))
        .collect();
    drop(copy);
    assert!(watched.iter().all(|fs| fs.strong_count() > 0));
    ok(&mut world, "rm /m/e/f");
    drop(world);
    assert!(watched.iter().all(|fs| fs.strong_count() == 0));
}

#[test]
fn a_removed_file_gives_its_pages_back_when_it_is_closed() {
    let mut world = World::new();
    let fs = Tmpfs::new(&world.clock, TmpfsOptions::default());
    ok(&mut world, "mkdir /t");
    let place = world.context().resolve(None, b"/t", true).unwrap();
    let as_fs: Rc<dyn FileSystem> = Rc::<Tmpfs>::clone(&fs);
    world
        .context()
        .mount_fs(&as_fs, b"t", &place, MountFlags::empty())
        .unwrap();
    ok(&mut world, "write /t/f text");
    ok(&mut world, "open f /t/f r");
    ok(&mut world, "rm /t/f");
    assert_eq!((fs.pages_used(), fs.inodes_used()), (1, 2));
    ok(&mut world, "close f");
    assert_eq!((fs.pages_used(), fs.inodes_used()), (0, 1));
    ok(&mut world, "open g /t tmpfile,rw");
    ok(&mut world, "put g text");
    ok(&mut world, "close g");
    assert_eq!((fs.pages_used(), fs.inodes_used()), (0, 1));
}

#[test]
fn a_full_upper_layer_leaves_nothing_half_done() {
    let mut world = with_dirs(&["/l", "/t", "/m"]);
    ok(&mut world, "mount tmpfs /t size=16k");
    ok(&mut world, "mkdir /t/u");
    ok(&mut world, "mkdir /t/w");
    ok(&mut world, "open big /l/big creat,w");
    for _ in 0..20 {
        ok(&mut world, &format!("put big {}", "x".repeat(1000)));
    }
    ok(
        &mut world,
        "mount overlay /m lowerdir=/l,upperdir=/t/u,workdir=/t/w",
    );
    assert_eq!(world.run("append /m/big more"), "! ENOSPC");
    assert_eq!(world.run("ls /t/w/work"), "");
    assert_eq!(world.run("ls /t/u"), "");
    assert_eq!(world.run("stat /m/big"), "file 644 0:0 20000");
    ok(&mut world, "write /m/small text");
    ok(&mut world, "truncate /m/big 0");
    ok(&mut world, "rm /m/big");
    assert_eq!(world.run("ls /m"), "small");
}

#[derive(Default)]
struct Asked(RefCell<Vec<Chunk>>);

impl ContentSource for Asked {
    fn request(&self, chunk: Chunk) {
        self.0.borrow_mut().push(chunk);
    }
}

#[test]
fn content_that_is_not_here_delays_copy_up_and_is_shared_by_containers() {
    let mut world = with_dirs(&["/l", "/u1", "/w1", "/m1", "/u2", "/w2", "/m2"]);
    let asked = Rc::new(Asked::default());
    let arrivals = Rc::clone(world.namespace.table().arrivals());
    let tree = LazyTree::new(Rc::<Asked>::clone(&asked), arrivals);
    let chunks = vec![
        Chunk {
            offset: 0,
            len: 4096,
            key: 7,
        },
        Chunk {
            offset: 4096,
            len: 4096,
            key: 8,
        },
    ];
    let attr = Attr {
        mode: S_IFREG | 0o755,
        size: 8192,
        ..Attr::default()
    };
    let entry = LazyEntry {
        path: b"bin/sh",
        attr,
        chunks,
        ..LazyEntry::default()
    };
    tree.insert(&entry).unwrap();
    let place = world.context().resolve(None, b"/l", true).unwrap();
    let fs: Rc<dyn FileSystem> = Rc::<LazyTree>::clone(&tree);
    world
        .context()
        .mount_fs(&fs, b"layer", &place, MountFlags::RDONLY)
        .unwrap();
    for n in [1, 2] {
        ok(
            &mut world,
            &format!("mount overlay /m{n} lowerdir=/l,upperdir=/u{n},workdir=/w{n}"),
        );
    }
    let ctx = world.context();
    let write = OpenFlags::WRONLY;
    let opened = ctx.open(None, b"/m1/bin/sh", write, 0).map(|_| ());
    assert_eq!(opened, Err(Errno::NOT_HERE_YET));
    // All that is missing was asked for at once, and nothing is half there.
    assert_eq!(
        asked
            .0
            .borrow()
            .iter()
            .map(|chunk| chunk.key)
            .collect::<Vec<_>>(),
        [7, 8]
    );
    assert_eq!(world.run("ls /u1/bin"), "");
    assert_eq!(world.run("ls /w1/work"), "");
    tree.arrived(7, Ok(&[1; 4096]));
    tree.arrived(8, Ok(&[2; 4096]));
    let ctx = world.context();
    let page = |path: &[u8]| {
        let file = ctx.open(None, path, OpenFlags::empty(), 0).unwrap();
        file.file.page(1, false).unwrap().unwrap()
    };
    assert!(page(b"/m1/bin/sh").is_same(&page(b"/m2/bin/sh")));
    ctx.open(None, b"/m1/bin/sh", write, 0)
        .unwrap()
        .write(b"changed")
        .unwrap();
    assert!(!page(b"/m1/bin/sh").is_same(&page(b"/m2/bin/sh")));
    assert_eq!(tree.pages_here(), 2);
    assert_eq!(world.run("write /l/bin/x y"), "! EROFS");
}

#[test]
fn looking_up_a_known_name_and_reading_do_not_allocate() {
    let mut world = with_dirs(&["/l", "/l/usr", "/l/usr/bin", "/u", "/w", "/m"]);
    ok(&mut world, "write /l/usr/bin/sh text");
    ok(&mut world, OVERLAY);
    let ctx = world.context();
    let mut buf = [0; 16];
    for path in [&b"/l/usr/../usr/bin/sh"[..], b"/m/usr/bin/sh"] {
        ctx.stat(None, path, true).unwrap();
        let file = ctx.open(None, path, OpenFlags::empty(), 0).unwrap();
        file.file.read_at(0, &mut buf).unwrap();
        let before = allocations();
        for _ in 0..100 {
            ctx.stat(None, path, true).unwrap();
            file.file.read_at(0, &mut buf).unwrap();
        }
        assert_eq!(
            allocations() - before,
            0,
            "{}",
            String::from_utf8_lossy(path)
        );
    }
}

#[test]
fn mounts_are_listed_as_proc_shows_them() {
    let mut world = with_dirs(&["/m", "/m/a", "/n"]);
    ok(&mut world, "mount tmpfs /n size=64k,mode=755");
    ok(&mut world, "bind /m/a /m/a");
    ok(&mut world, "remount /m/a ro,nosuid");
    ok(&mut world, "mkdir /n/sp");
    let lines = |world: &World, mountinfo: bool| {
        let list = world.namespace.list(&world.root);
        let line = |info: &vfs::mountinfo::MountInfo| {
            let line = if mountinfo {
                info.mountinfo_line()
            } else {
                info.mounts_line()
            };
            String::from_utf8(line).unwrap()
        };
        list.iter().map(line).collect::<String>()
    };
    assert_eq!(
        lines(&world, true),
        "1 1 0:32 / / rw,relatime - tmpfs rootfs rw,mode=755\n\
         2 1 0:33 / /n rw,relatime - tmpfs tmpfs rw,size=64k,mode=755\n\
         3 1 0:32 /m/a /m/a ro,nosuid,relatime - tmpfs rootfs rw,mode=755\n"
    );
    assert_eq!(
        lines(&world, false),
        "rootfs / tmpfs rw,relatime,mode=755 0 0\n\
         tmpfs /n tmpfs rw,relatime,size=64k,mode=755 0 0\n\
         rootfs /m/a tmpfs ro,nosuid,relatime,mode=755 0 0\n"
    );
    ok(&mut world, "chroot /n");
    assert_eq!(lines(&world, true).lines().count(), 1);
}
