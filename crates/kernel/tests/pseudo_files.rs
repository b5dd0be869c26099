//! /proc, /sys and /sys/fs/cgroup as programs and daemons find them.

mod common;

use std::rc::Rc;

use kernel::os_impl::KernelOs;
use os::{
    CloneSpec, Credentials, Errno, ExitStatus, MountFlags, NamespaceFlags, NamespaceKind, Os,
    OsExt, TaskId, View, ext,
};

const HOST: View = View::Host;

fn read(os: &KernelOs, path: &str) -> String {
    let bytes = os.read_file_now(HOST, path.as_bytes());
    String::from_utf8_lossy(&bytes.unwrap_or_else(|errno| panic!("{path}: {errno:?}"))).into_owned()
}

fn write(os: &KernelOs, path: &str, value: &str) -> Result<(), Errno> {
    os.write_control(HOST, path, value)
}

/// Runs a script as root in new namespaces; gives its output.
fn script_in(
    os: &Rc<KernelOs>,
    spec: &CloneSpec,
    user: Option<Credentials>,
    script: &str,
) -> String {
    let task = os.clone_task(spec).unwrap();
    if let Some(user) = user {
        os.set_credentials(task, &user).unwrap();
    }
    run_script(os, task, script)
}

fn run_script(os: &Rc<KernelOs>, task: TaskId, script: &str) -> String {
    let (reader, writer) = os.pipe().unwrap();
    for fd in [1, 2] {
        os.set_fd(task, fd, &writer).unwrap();
    }
    drop(writer);
    let argv = ["sh", "-c", script].map(|word| word.as_bytes().to_vec());
    os.exec(task, b"/bin/sh", &argv, &[b"PATH=/bin".to_vec()])
        .unwrap();
    let seam = Rc::clone(os);
    let outcome = common::drive(os, async move {
        let mut output = Vec::new();
        loop {
            let some = ext::read_some(&reader, 4096).await.unwrap();
            if some.is_empty() {
                break;
            }
            output.extend(some);
        }
        let _ = seam.wait(task).await;
        output
    });
    String::from_utf8_lossy(&outcome.unwrap()).into_owned()
}

fn script(os: &Rc<KernelOs>, text: &str) -> String {
    script_in(os, &CloneSpec::default(), None, text)
}

#[test]
fn every_file_of_the_machine_can_be_read() {
    let os = common::empty_machine();
    let mut pending = vec!["/proc".to_string(), "/sys".to_string()];
    let mut count = 0;
    while let Some(dir) = pending.pop() {
        for entry in os
            .read_dir(HOST, dir.as_bytes())
            .unwrap_or_else(|errno| panic!("{dir}: {errno:?}"))
        {
            let path = format!("{dir}/{}", String::from_utf8(entry.name).unwrap());
            let metadata = os
                .metadata(HOST, path.as_bytes(), false)
                .unwrap_or_else(|errno| panic!("{path}: {errno:?}"));
            assert_eq!(metadata.file_type(), entry.file_type, "{path}");
            let is_mount_point = path == "/sys/fs/cgroup";
            assert!(metadata.ino == entry.ino || is_mount_point, "{path}");
            count += 1;
            if metadata.is_dir() {
                pending.push(path);
            } else if metadata.is_file() && metadata.mode & 0o444 != 0 {
                // Only reading another task's memory is refused, and what a link has not.
                match os.read_file_now(HOST, path.as_bytes()) {
                    Ok(_) => {}
                    Err(errno) => assert!(
                        path.ends_with("/mem")
                            || path.ends_with("smaps_rollup")
                            || path.ends_with("/lo/speed")
                            || path.ends_with("/lo/duplex"),
                        "{path}: {errno:?}"
                    ),
                }
            }
        }
    }
    assert!(count > 400, "{count} files");
}

#[test]
fn files_have_the_shape_programs_parse() {
    let os = common::empty_machine();
    for (path, wanted) in [
        ("/proc/version", "Linux version 6."),
        ("/proc/cpuinfo", "isa\t\t: rv64imafdc"),
        ("/proc/cpuinfo", "mmu\t\t: sv48"),
        ("/proc/meminfo", "MemTotal:        2097152 kB\n"),
        ("/proc/stat", "btime 1700000000\n"),
        ("/proc/uptime", "0.00 0.00\n"),
        ("/proc/loadavg", "0.00 0.00 0.00 1/1 1\n"),
        ("/proc/filesystems", "nodev\toverlay\n"),
        ("/proc/filesystems", "nodev\tcgroup2\n"),
        ("/proc/filesystems", "nodev\tmqueue\n"),
        (
            "/proc/mounts",
            "proc /proc proc rw,nosuid,nodev,noexec,relatime 0 0\n",
        ),
        ("/proc/1/stat", "1 (init) S 0 1 1 0 -1 "),
        ("/proc/1/cgroup", "0::/\n"),
        ("/proc/1/uid_map", "         0          0 4294967295\n"),
        ("/proc/1/setgroups", "allow\n"),
        ("/proc/1/oom_score_adj", "0\n"),
        ("/proc/1/net/dev", "    lo:       0 "),
        ("/proc/sys/kernel/cap_last_cap", "40\n"),
        ("/proc/sys/kernel/ngroups_max", "65536\n"),
        ("/proc/sys/kernel/hostname", "node1\n"),
        ("/proc/sys/vm/overcommit_memory", "0\n"),
        ("/proc/sys/net/core/somaxconn", "4096\n"),
        ("/sys/devices/system/cpu/online", "0\n"),
        (
            "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size",
            "2097152\n",
        ),
        (
            "/sys/devices/system/clocksource/clocksource0/current_clocksource",
            "riscv_clocksource\n",
        ),
        ("/sys/class/net/lo/mtu", "65536\n"),
        (
            "/sys/fs/cgroup/cgroup.controllers",
            "cpuset cpu io memory pids\n",
        ),
        (
            "/sys/fs/cgroup/cgroup.subtree_control",
            "cpuset cpu io memory pids\n",
        ),
    ] {
        let text = read(&os, path);
        assert!(text.contains(wanted), "{path}: {text}");
    }
}

#[test]
fn settings_are_checked_and_kept() {
    let os = common::empty_machine();
    for (path, value, outcome) in [
        ("kernel/hostname", "renamed\n", Ok(())),
        ("vm/swappiness", "201", Err(Errno::EINVAL)),
        ("vm/swappiness", "10\n", Ok(())),
        ("vm/overcommit_memory", "x", Err(Errno::EINVAL)),
        ("kernel/pid_max", "100", Err(Errno::EINVAL)),
        ("kernel/pid_max", "4096", Ok(())),
        ("net/ipv4/ip_local_port_range", "1024 2000", Ok(())),
        ("net/ipv4/ip_local_port_range", "1024", Err(Errno::EINVAL)),
    ] {
        assert_eq!(
            write(&os, &format!("/proc/sys/{path}"), value),
            outcome,
            "{path} {value:?}"
        );
    }
    assert_eq!(read(&os, "/proc/sys/kernel/hostname"), "renamed\n");
    assert_eq!(read(&os, "/proc/sys/vm/swappiness"), "10\n");
    assert_eq!(
        read(&os, "/proc/sys/net/ipv4/ip_local_port_range"),
        "1024\t2000\n"
    );
    assert_ne!(
        read(&os, "/proc/sys/kernel/random/uuid"),
        read(&os, "/proc/sys/kernel/random/uuid")
    );
    assert_eq!(
        read(&os, "/proc/sys/kernel/random/boot_id"),
        read(&os, "/proc/sys/kernel/random/boot_id")
    );
}

#[test]
fn mounts_on_files_and_directories_of_proc_and_sys_are_found_again() {
    let os = common::empty_machine();
    os.write_file(HOST, b"/tmp/fake", b"fake\n", 0o644).unwrap();
    os.mount(
        HOST,
        b"/tmp/fake",
        b"/proc/uptime",
        "",
        MountFlags::BIND,
        b"",
    )
    .unwrap();
    os.mount(HOST, b"/proc/sys", b"/proc/sys", "", MountFlags::BIND, b"")
        .unwrap();
    let read_only = MountFlags::BIND | MountFlags::REMOUNT | MountFlags::RDONLY;
    os.mount(HOST, b"", b"/proc/sys", "", read_only, b"")
        .unwrap();
    os.mount(
        HOST,
        b"tmpfs",
        b"/sys/firmware",
        "tmpfs",
        MountFlags::RDONLY,
        b"",
    )
    .unwrap();
    assert_eq!(read(&os, "/proc/uptime"), "fake\n");
    assert_eq!(
        write(&os, "/proc/sys/vm/swappiness", "1"),
        Err(Errno::EROFS)
    );
    assert_eq!(read(&os, "/proc/sys/vm/swappiness"), "60\n");
    assert_eq!(os.mkdir(HOST, b"/sys/firmware/x", 0o755), Err(Errno::EROFS));
    os.umount(HOST, b"/proc/sys", false).unwrap();
    write(&os, "/proc/sys/vm/swappiness", "1").unwrap();
}

#[test]
fn cgroup_files_follow_the_rules() {
    let os = common::empty_machine();
    let group = "/sys/fs/cgroup/a";
    os.mkdir(HOST, group.as_bytes(), 0o755).unwrap();
    for (file, value, outcome) in [
        ("memory.max", "64M", Ok(())),
        ("memory.max", "much", Err(Errno::EINVAL)),
        ("memory.swap.max", "0", Ok(())),
        ("cpu.max", "50000 100000", Ok(())),
        ("cpu.max", "1", Err(Errno::EINVAL)),
        ("cpu.weight", "0", Err(Errno::ERANGE)),
        ("pids.max", "max", Ok(())),
        ("cgroup.type", "threaded", Err(Errno::EOPNOTSUPP)),
        ("cgroup.freeze", "2", Err(Errno::ERANGE)),
        ("cgroup.procs", "99999", Err(Errno::ESRCH)),
        ("cgroup.subtree_control", "+memory +pids", Ok(())),
        ("cgroup.subtree_control", "+hugetlb", Err(Errno::EINVAL)),
        ("memory.reclaim", "1M", Err(Errno::EAGAIN)),
    ] {
        assert_eq!(
            write(&os, &format!("{group}/{file}"), value),
            outcome,
            "{file} {value:?}"
        );
    }
    assert_eq!(read(&os, "/sys/fs/cgroup/a/memory.max"), "67108864\n");
    assert_eq!(read(&os, "/sys/fs/cgroup/a/cpu.max"), "50000 100000\n");
    assert_eq!(read(&os, "/sys/fs/cgroup/a/pids.max"), "max\n");
    os.mkdir(HOST, b"/sys/fs/cgroup/a/b", 0o755).unwrap();
    assert_eq!(
        read(&os, "/sys/fs/cgroup/a/b/cgroup.controllers"),
        "memory pids\n"
    );
    assert!(!os.exists(HOST, b"/sys/fs/cgroup/a/b/cpu.max"));
    // Inner cgroups hold no processes, files cannot be made or removed.
    let task = os.clone_task(&CloneSpec::default()).unwrap();
    assert_eq!(
        write(&os, "/sys/fs/cgroup/a/cgroup.procs", &task.0.to_string()),
        Err(Errno::EBUSY)
    );
    write(&os, "/sys/fs/cgroup/a/b/cgroup.procs", &task.0.to_string()).unwrap();
    assert_eq!(read(&os, &format!("/proc/{}/cgroup", task.0)), "0::/a/b\n");
    assert_eq!(os.rmdir(HOST, b"/sys/fs/cgroup/a"), Err(Errno::EBUSY));
    assert!(os.unlink(HOST, b"/sys/fs/cgroup/a/memory.max").is_err());
    assert!(
        os.write_file(HOST, b"/sys/fs/cgroup/a/new", b"", 0o644)
            .is_err()
    );
    os.kill(task, 9).unwrap();
    let seam = Rc::clone(&os);
    assert_eq!(
        common::drive(&os, async move { seam.wait(task).await }),
        Ok(Ok(ExitStatus::Signaled(9)))
    );
    os.rmdir(HOST, b"/sys/fs/cgroup/a/b").unwrap();
    os.rmdir(HOST, b"/sys/fs/cgroup/a").unwrap();
}

#[test]
fn a_quota_halves_the_time_of_a_busy_loop() {
    let os = common::machine(&common::busybox());
    os.mkdir(HOST, b"/sys/fs/cgroup/slow", 0o755).unwrap();
    write(&os, "/sys/fs/cgroup/slow/cpu.max", "5000 10000").unwrap();
    let spec = CloneSpec {
        cgroup: "/slow".into(),
        ..CloneSpec::default()
    };
    let task = os.clone_task(&spec).unwrap();
    let argv = ["sh", "-c", "while :; do :; done"].map(|word| word.as_bytes().to_vec());
    os.exec(task, b"/bin/sh", &argv, &[]).unwrap();
    let seam = Rc::clone(&os);
    common::drive(&os, async move { seam.clock().sleep(200_000_000).await }).unwrap();
    let stat = read(&os, "/sys/fs/cgroup/slow/cpu.stat");
    let value = |name: &str| -> u64 {
        let line = stat
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.trim().parse().unwrap()
    };
    let used = value("usage_usec");
    assert!((95_000..=106_000).contains(&used), "{used} us of 200 ms");
    assert!(value("nr_throttled") >= 15, "{stat}");
}

#[test]
fn a_program_sees_itself() {
    let os = common::machine(&common::busybox());
    let output = script(
        &os,
        "readlink /proc/self/exe; cut -d' ' -f1-2 /proc/thread-self/stat; sh -c 'cat /proc/$$/cmdline; true' zero one | tr '\\0' ' '; echo; \
         cd /tmp; readlink /proc/self/cwd; cat /proc/self/comm; ls /proc/self/task | wc -l; \
         exec 7</bin/sh; readlink /proc/self/fd/7; grep -c . /proc/self/maps >/dev/null && echo maps; \
         cat /proc/self/environ | tr '\\0' '\\n' | grep PATH; ls /proc/self/fd/7; true",
    );
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "/bin/busybox");
    assert!(lines[1].ends_with(" (cut)"), "{output}");
    assert_eq!(
        lines[2..],
        [
            "sh -c cat /proc/$$/cmdline; true zero one ",
            "/tmp",
            "cat",
            "1",
            "/bin/busybox",
            "maps",
            "PATH=/bin",
            "/proc/self/fd/7"
        ]
    );
}

#[test]
fn strangers_see_little() {
    let os = common::machine(&common::busybox());
    let user = Credentials {
        uid: 1000,
        gid: 1000,
        ..Credentials::default()
    };
    let output = script_in(
        &os,
        &CloneSpec::default(),
        Some(user),
        "for f in environ maps fd mem auxv; do cat /proc/1/$f >/dev/null 2>&1 && echo $f; done; \
         readlink /proc/1/exe || echo no exe; readlink /proc/1/ns/net || echo no ns; cut -d' ' -f2 /proc/1/stat; \
         echo 5 2>/dev/null > /proc/sys/vm/swappiness || echo no sysctl; mkdir /sys/fs/cgroup/x 2>/dev/null || echo no cgroup; \
         echo -1000 2>/dev/null > /proc/self/oom_score_adj || echo no oom; echo 100 > /proc/self/oom_score_adj && cat /proc/self/oom_score_adj",
    );
    assert_eq!(
        output,
        "no exe\nno ns\n(init)\nno sysctl\nno cgroup\nno oom\n100\n"
    );
}

#[test]
fn tools_read_proc() {
    let os = common::machine(&common::busybox());
    let output = script(
        &os,
        "ps | head -3; free | head -2; uptime; pidof init; nproc; df /tmp | tail -1; vmstat 2>/dev/null; sysctl kernel.ostype",
    );
    for wanted in [
        "    1 0        [init]",
        "Mem:        2097152",
        "load average: 0.00",
        "\n1\n",
        "kernel.ostype = Linux",
    ] {
        assert!(output.contains(wanted), "{wanted:?} in {output}");
    }
}

#[test]
fn namespaces_by_system_calls() {
    let os = common::machine(&common::busybox());
    for (text, wanted) in [
        (
            "unshare -u sh -c 'hostname inner; hostname'; hostname",
            "inner\nnode1\n",
        ),
        (
            "unshare -m sh -c 'mount -t tmpfs x /tmp && touch /tmp/a && ls /tmp'; ls /tmp",
            "a\n",
        ),
        (
            "unshare -pf --mount-proc sh -c 'echo $$; ls -d /proc/[0-9]*; true'",
            "1\n/proc/1\n",
        ),
        ("unshare -Ur id -u; unshare -U id -u", "0\n65534\n"),
        (
            "unshare -Ur cat /proc/self/uid_map",
            "         0          0          1\n",
        ),
        (
            "unshare -i true && unshare -n cat /proc/net/dev | grep -c :",
            "1\n",
        ),
        (
            "sleep 50 & nsenter -t $! -u -m -p true && echo joined; kill %1",
            "joined\n",
        ),
        (
            "test $(readlink /proc/self/ns/uts) != $(unshare -u readlink /proc/self/ns/uts) && echo other",
            "other\n",
        ),
    ] {
        assert_eq!(script(&os, text), wanted, "{text}");
    }
    let user = Credentials {
        uid: 1000,
        gid: 1000,
        bounding: 0,
        ..Credentials::default()
    };
    let spec = CloneSpec::default();
    let output = script_in(
        &os,
        &spec,
        Some(user),
        "unshare -m true 2>/dev/null || echo refused; unshare -Ur sh -c 'id -u; hostname x 2>/dev/null || echo not mine'; \
         unshare -Uru sh -c 'hostname mine; hostname'; unshare -Urm sh -c 'mount -t tmpfs x /tmp && echo mounted; cat /root/x 2>/dev/null || echo unreadable'",
    );
    assert_eq!(output, "refused\n0\nnot mine\nmine\nmounted\nunreadable\n");
}

#[test]
fn a_container_has_its_own_proc_and_terminal_numbers() {
    let os = common::machine(&common::busybox());
    let kinds = [
        NamespaceKind::Pid,
        NamespaceKind::Mount,
        NamespaceKind::Cgroup,
        NamespaceKind::Net,
    ];
    let new = kinds.into_iter().fold(NamespaceFlags(0), |all, kind| {
        all | NamespaceFlags::of(kind)
    });
    os.mkdir_all(HOST, b"/sys/fs/cgroup/docker/id", 0o755)
        .unwrap();
    let task = os
        .clone_task(&CloneSpec {
            new,
            cgroup: "/docker/id".into(),
            ..CloneSpec::default()
        })
        .unwrap();
    let view = View::Task(task);
    os.mount(view, b"proc", b"/proc", "proc", MountFlags::NOSUID, b"")
        .unwrap();
    os.mount(
        view,
        b"devpts",
        b"/dev/pts",
        "devpts",
        MountFlags(0),
        b"newinstance,ptmxmode=0666,mode=620",
    )
    .unwrap();
    os.mount(
        view,
        b"cgroup",
        b"/sys/fs/cgroup",
        "cgroup2",
        MountFlags::RDONLY,
        b"",
    )
    .unwrap();
    assert_eq!(os.open_pty(view).unwrap().number, 0);
    let output = run_script(
        &os,
        task,
        "ls -d /proc/[0-9]*; cat /proc/1/cgroup; grep -c loop_ /proc/net/dev; head -1 /sys/fs/cgroup/cgroup.procs; true",
    );
    assert_eq!(output, "/proc/1\n0::/\n0\n1\n");
}

#[test]
fn a_machine_that_is_switched_off_is_gone() {
    let os = common::machine(&common::busybox());
    let output = script(
        &os,
        "sleep 100 & unshare -m sh -c 'mount -t tmpfs x /tmp; ls /proc/self/fd > /tmp/x'; mkdir /sys/fs/cgroup/a; ls /proc/1/ns >/dev/null; echo ok; kill %1",
    );
    assert_eq!(output, "ok\n");
    let endless = os.clone_task(&CloneSpec::default()).unwrap();
    let argv = ["sh", "-c", "while :; do sleep 1; done"].map(|word| word.as_bytes().to_vec());
    os.exec(endless, b"/bin/sh", &argv, &[]).unwrap();
    let seam = Rc::clone(&os);
    os.executor()
        .spawn(async move { seam.clock().sleep(u64::MAX).await });
    let kernel = Rc::downgrade(os.kernel());
    let root = Rc::downgrade(&os.kernel().cgroup_root);
    os.kernel().power_off();
    drop(os);
    assert!(
        kernel.upgrade().is_none(),
        "{} owners",
        kernel.strong_count()
    );
    assert!(
        root.upgrade().is_none(),
        "{} owners of the cgroup tree",
        root.strong_count()
    );
}
