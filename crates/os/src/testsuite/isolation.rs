//! Namespaces and cgroups.

use std::rc::Rc;

use super::{capture, exec, read_to_end, shell, spawn, text};
use crate::{
    CloneSpec, Errno, ExitStatus, MountFlags, NamespaceFlags, NamespaceKind, Os, OsExt, TaskId,
    View, ext,
};

const HOST: View = View::Host;
const MS: u64 = 1_000_000;

pub(super) fn of(kinds: &[NamespaceKind]) -> NamespaceFlags {
    kinds.iter().fold(NamespaceFlags(0), |all, &kind| {
        all | NamespaceFlags::of(kind)
    })
}

/// A task in a cgroup.
fn spawn_in(os: &Rc<dyn Os>, cgroup: &str, new: NamespaceFlags) -> Result<TaskId, Errno> {
    os.clone_task(&CloneSpec {
        new,
        name: "test".into(),
        cgroup: cgroup.into(),
        ..CloneSpec::default()
    })
}

fn control(os: &Rc<dyn Os>, path: &str, value: &str) {
    os.write_control(HOST, &format!("/sys/fs/cgroup{path}"), value)
        .expect(path);
}

fn read(os: &Rc<dyn Os>, path: &str) -> String {
    text(os, &format!("/sys/fs/cgroup{path}"))
}

pub(super) async fn a_pid_namespace_starts_at_1(os: Rc<dyn Os>) {
    let task = spawn(&os, of(&[NamespaceKind::Pid, NamespaceKind::Mount]));
    assert_eq!(os.namespaced_pid(task), Ok(1));
    os.mount(
        View::Task(task),
        b"proc",
        b"/proc",
        "proc",
        MountFlags(0),
        b"",
    )
    .unwrap();
    let (output, _) = shell(
        &os,
        task,
        "echo $$; sh -c 'echo $PPID $$'; echo /proc/[0-9]*; readlink /proc/self; true",
    )
    .await;
    assert_eq!(output, "1\n1 2\n/proc/1\n3\n");
}

pub(super) async fn init_of_a_pid_namespace_takes_all_with_it(os: Rc<dyn Os>) {
    let task = spawn(&os, of(&[NamespaceKind::Pid]));
    let output = capture(&os, task);
    exec(
        &os,
        task,
        &["sh", "-c", "sleep 1000 & sleep 1000 & echo started; wait"],
    )
    .unwrap();
    assert_eq!(ext::read_some(&output, 100).await.unwrap(), b"started\n");
    let inside = os
        .clone_task(&CloneSpec {
            join: vec![(NamespaceKind::Pid, task)],
            ..CloneSpec::default()
        })
        .unwrap();
    assert!(os.namespaced_pid(inside).unwrap() > 1);
    // From inside, a signal without handler does nothing to init; from outside SIGKILL does.
    os.kill(task, 15).unwrap();
    os.clock().sleep(5 * MS).await;
    os.kill(task, 0).unwrap();
    os.kill(task, 9).unwrap();
    assert_eq!(os.wait(task).await, Ok(ExitStatus::Signaled(9)));
    assert_eq!(os.wait(inside).await, Ok(ExitStatus::Signaled(9)));
    // Nobody holds the pipe any more.
    assert_eq!(read_to_end(&output).await, "");
}

pub(super) async fn host_names_differ(os: Rc<dyn Os>) {
    let task = spawn(&os, of(&[NamespaceKind::Uts]));
    os.set_hostname(task, b"inside").unwrap();
    os.set_domainname(task, b"example").unwrap();
    assert_eq!(
        os.set_hostname(task, &[b'x'; 65]).err(),
        Some(Errno::EINVAL)
    );
    let (output, _) = shell(
        &os,
        task,
        "hostname; cat /proc/sys/kernel/domainname; hostname again; hostname",
    )
    .await;
    assert_eq!(output, "inside\nexample\nagain\n");
    assert_ne!(text(&os, "/proc/sys/kernel/hostname"), "again\n");
}

pub(super) async fn network_namespaces_have_their_own_loopback(os: Rc<dyn Os>) {
    let task = spawn(&os, of(&[NamespaceKind::Net]));
    assert_eq!(os.link_up(task, "eth0").err(), Some(Errno::ENODEV));
    os.link_up(task, "lo").unwrap();
    let (output, _) = shell(
        &os,
        task,
        "cat /proc/net/dev | grep -c lo:; readlink /proc/self/ns/net",
    )
    .await;
    let host = os.read_link(HOST, b"/proc/1/ns/net").unwrap();
    assert!(
        output.starts_with("1\nnet:[")
            && !output.contains(&String::from_utf8_lossy(&host).into_owned()),
        "{output}"
    );
}

pub(super) async fn joining_namespaces(os: Rc<dyn Os>) {
    let all = [
        NamespaceKind::Pid,
        NamespaceKind::Uts,
        NamespaceKind::Ipc,
        NamespaceKind::Net,
        NamespaceKind::Mount,
    ];
    let first = spawn(&os, of(&all));
    os.set_hostname(first, b"shared").unwrap();
    exec(&os, first, &["sleep", "1000"]).unwrap();
    let spec = CloneSpec {
        join: all.iter().map(|&kind| (kind, first)).collect(),
        ..CloneSpec::default()
    };
    let second = os.clone_task(&spec).unwrap();
    assert_eq!(os.namespaced_pid(second), Ok(2));
    for name in ["pid", "uts", "ipc", "net", "mnt"] {
        let link = |task: TaskId| {
            os.read_link(HOST, format!("/proc/{}/ns/{name}", task.0).as_bytes())
                .unwrap()
        };
        assert_eq!(link(first), link(second), "{name}");
        assert_ne!(
            link(first),
            os.read_link(HOST, format!("/proc/1/ns/{name}").as_bytes())
                .unwrap(),
            "{name}"
        );
    }
    assert_eq!(shell(&os, second, "hostname").await.0, "shared\n");
    os.kill(first, 9).unwrap();
    os.wait(first).await.unwrap();
}

pub(super) async fn cgroups_count_and_bound_tasks(os: Rc<dyn Os>) {
    os.mkdir(HOST, b"/sys/fs/cgroup/box", 0o755).unwrap();
    control(&os, "/box/pids.max", "3\n");
    let task = spawn_in(&os, "/box", NamespaceFlags(0)).unwrap();
    assert_eq!(
        (
            read(&os, "/box/pids.current"),
            read(&os, "/box/cgroup.procs")
        ),
        ("1\n".into(), format!("{}\n", task.0))
    );
    assert_eq!(text(&os, &format!("/proc/{}/cgroup", task.0)), "0::/box\n");
    let output = capture(&os, task);
    exec(
        &os,
        task,
        &[
            "sh",
            "-c",
            "for i in 1 2 3 4; do sleep 1000 & done; echo never",
        ],
    )
    .unwrap();
    // The shell gives up when it cannot fork.
    assert_ne!(os.wait(task).await, Ok(ExitStatus::Exited(0)));
    assert_ne!(read(&os, "/box/pids.events"), "max 0\n");
    assert_eq!(
        os.rmdir(HOST, b"/sys/fs/cgroup/box").err(),
        Some(Errno::EBUSY)
    );
    control(&os, "/box/cgroup.kill", "1");
    while read(&os, "/box/cgroup.events").starts_with("populated 1") {
        os.clock().sleep(MS).await;
    }
    let output = read_to_end(&output).await;
    assert!(
        output.contains("can't fork") && !output.contains("never"),
        "{output}"
    );
    os.rmdir(HOST, b"/sys/fs/cgroup/box").unwrap();
    assert_eq!(
        spawn_in(&os, "/box", NamespaceFlags(0)).err(),
        Some(Errno::ENOENT)
    );
}

pub(super) async fn memory_limits_kill(os: Rc<dyn Os>) {
    os.mkdir(HOST, b"/sys/fs/cgroup/small", 0o755).unwrap();
    control(&os, "/small/memory.max", "8M");
    let task = spawn_in(&os, "/small", NamespaceFlags(0)).unwrap();
    let (_, status) = shell(&os, task, "x=0123456789abcdef; while :; do x=$x$x; done").await;
    assert_eq!(status, ExitStatus::Signaled(9));
    let events = read(&os, "/small/memory.events");
    assert!(events.contains("oom_kill 1\n"), "{events}");
    assert_eq!(read(&os, "/small/memory.max"), "8388608\n");
    assert!(
        read(&os, "/small/memory.peak")
            .trim()
            .parse::<u64>()
            .unwrap()
            <= 8 << 20
    );
    assert_eq!(read(&os, "/small/memory.current"), "0\n");
    os.rmdir(HOST, b"/sys/fs/cgroup/small").unwrap();
}

pub(super) async fn freezing_stops_and_thawing_goes_on(os: Rc<dyn Os>) {
    os.mkdir(HOST, b"/sys/fs/cgroup/ice", 0o755).unwrap();
    let task = spawn_in(&os, "/ice", NamespaceFlags(0)).unwrap();
    let output = capture(&os, task);
    exec(
        &os,
        task,
        &[
            "sh",
            "-c",
            "echo ready; while :; do echo tick >> /tmp/ticks; sleep 0.001; done",
        ],
    )
    .unwrap();
    assert_eq!(ext::read_some(&output, 100).await.unwrap(), b"ready\n");
    os.clock().sleep(20 * MS).await;
    control(&os, "/ice/cgroup.freeze", "1");
    assert!(read(&os, "/ice/cgroup.events").contains("frozen 1"));
    let before = text(&os, "/tmp/ticks").len();
    os.clock().sleep(50 * MS).await;
    assert_eq!(text(&os, "/tmp/ticks").len(), before);
    control(&os, "/ice/cgroup.freeze", "0");
    os.clock().sleep(50 * MS).await;
    assert!(text(&os, "/tmp/ticks").len() > before);
    // A frozen task can be killed.
    control(&os, "/ice/cgroup.freeze", "1");
    os.kill(task, 9).unwrap();
    assert_eq!(os.wait(task).await, Ok(ExitStatus::Signaled(9)));
}

pub(super) async fn cgroup_kill_ends_everybody(os: Rc<dyn Os>) {
    os.mkdir_all(HOST, b"/sys/fs/cgroup/top/leaf", 0o755)
        .unwrap();
    let task = spawn_in(&os, "/top/leaf", NamespaceFlags(0)).unwrap();
    let output = capture(&os, task);
    exec(
        &os,
        task,
        &["sh", "-c", "sleep 1000 & sleep 1000 & echo ready; wait"],
    )
    .unwrap();
    assert_eq!(ext::read_some(&output, 100).await.unwrap(), b"ready\n");
    control(&os, "/top/cgroup.kill", "1");
    assert_eq!(os.wait(task).await, Ok(ExitStatus::Signaled(9)));
    assert_eq!(read_to_end(&output).await, "");
    os.clock().sleep(MS).await;
    assert!(read(&os, "/top/cgroup.events").starts_with("populated 0"));
}

pub(super) async fn a_cgroup_namespace_hides_what_is_above(os: Rc<dyn Os>) {
    os.mkdir_all(HOST, b"/sys/fs/cgroup/docker/one", 0o755)
        .unwrap();
    let task = spawn_in(
        &os,
        "/docker/one",
        of(&[NamespaceKind::Cgroup, NamespaceKind::Mount]),
    )
    .unwrap();
    let view = View::Task(task);
    os.mount(
        view,
        b"cgroup",
        b"/sys/fs/cgroup",
        "cgroup2",
        MountFlags::RDONLY,
        b"",
    )
    .unwrap();
    let script = "cat /proc/self/cgroup; ls /sys/fs/cgroup | grep -c docker; test -e /sys/fs/cgroup/cgroup.freeze && echo leaf; mkdir /sys/fs/cgroup/x 2>/dev/null || echo read-only";
    let (output, _) = shell(&os, task, script).await;
    assert_eq!(output, "0::/\n0\nleaf\nread-only\n");
}
