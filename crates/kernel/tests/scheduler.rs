//! Who gets how much of the processor, and how soon: shares between cgroups and between tasks, measured in
//! virtual time. Busy loops are busybox's; what they had is read from `cpu.stat`.

mod common;

use std::rc::Rc;

use kernel::os_impl::KernelOs;
use os::{CloneSpec, Os, OsExt, TaskId, View};

const HOST: View = View::Host;
const CGROUPS: &str = "/sys/fs/cgroup";
/// Instructions of a slice, and room for the system call it may end in.
const SLICE_NS: u64 = 450_000;

fn machine() -> Rc<KernelOs> {
    let os = common::machine(&common::busybox());
    let control = format!("{CGROUPS}/cgroup.subtree_control");
    os.write_control(HOST, &control, "+cpu").unwrap();
    os
}

/// Makes a cgroup, with controllers for those below when there will be some.
fn cgroup(os: &KernelOs, path: &str, limits: &[(&str, &str)], inner: bool) {
    let path = format!("{CGROUPS}/{path}");
    os.mkdir(HOST, path.as_bytes(), 0o755).unwrap();
    for (file, value) in limits {
        os.write_control(HOST, &format!("{path}/{file}"), value)
            .unwrap();
    }
    if inner {
        os.write_control(HOST, &format!("{path}/cgroup.subtree_control"), "+cpu")
            .unwrap();
    }
}

fn start(os: &KernelOs, cgroup: &str, script: &str) -> TaskId {
    let task = os
        .clone_task(&CloneSpec {
            cgroup: format!("/{cgroup}"),
            ..CloneSpec::default()
        })
        .unwrap();
    let argv = ["sh", "-c", script].map(|word| word.as_bytes().to_vec());
    os.exec(task, b"/bin/sh", &argv, &[b"PATH=/bin".to_vec()])
        .unwrap();
    task
}

const LOOP: &str = "while :; do :; done";

fn loops(os: &KernelOs, cgroup: &str, count: u32) {
    for _ in 0..count {
        start(os, cgroup, LOOP);
    }
}

fn run_ms(os: &Rc<KernelOs>, ms: u64) {
    let clock = os.clock();
    common::drive(os, async move { clock.sleep(ms * 1_000_000).await }).unwrap();
}

fn used_us(os: &KernelOs, cgroup: &str) -> u64 {
    let stat = os
        .read_file_now(HOST, format!("{CGROUPS}/{cgroup}/cpu.stat").as_bytes())
        .unwrap();
    let stat = String::from_utf8(stat).unwrap();
    let usage = stat.lines().next().unwrap().strip_prefix("usage_usec ");
    usage.unwrap().parse().unwrap()
}

/// Lets `ms` pass and gives what each cgroup had of it, in percent of what they had together.
fn shares<const N: usize>(os: &Rc<KernelOs>, cgroups: [&str; N], ms: u64) -> [f64; N] {
    let before = cgroups.map(|cgroup| used_us(os, cgroup));
    run_ms(os, ms);
    let mut had = cgroups.map(|cgroup| used_us(os, cgroup) as f64);
    for (had, before) in had.iter_mut().zip(before) {
        *had -= before as f64;
    }
    let all: f64 = had.iter().sum();
    had.map(|had| had * 100.0 / all)
}

#[track_caller]
fn close(shares: &[f64], expected: &[f64]) {
    for (share, expected) in shares.iter().zip(expected) {
        assert!(
            (share - expected).abs() <= 0.04 * expected,
            "{shares:?}, not {expected:?}"
        );
    }
}

#[test]
fn cgroups_share_by_weight_however_many_tasks_they_have() {
    let os = machine();
    cgroup(&os, "one", &[("cpu.weight", "100")], false);
    cgroup(&os, "three", &[("cpu.weight", "300")], false);
    loops(&os, "one", 5);
    loops(&os, "three", 1);
    close(&shares(&os, ["one", "three"], 400), &[25.0, 75.0]);
    // A weight that is changed holds from then on.
    os.write_control(HOST, &format!("{CGROUPS}/one/cpu.weight"), "900")
        .unwrap();
    close(&shares(&os, ["one", "three"], 400), &[75.0, 25.0]);
    // Who is alone has all.
    os.write_control(HOST, &format!("{CGROUPS}/one/cgroup.freeze"), "1")
        .unwrap();
    close(&shares(&os, ["three", "one"], 500), &[100.0]);
}

#[test]
fn weights_count_at_each_level_and_beside_tasks() {
    let os = machine();
    cgroup(&os, "docker", &[], true);
    cgroup(&os, "docker/a", &[("cpu.weight", "39")], false);
    cgroup(&os, "docker/b", &[("cpu.weight", "117")], false);
    cgroup(&os, "beside", &[("cpu.weight", "300")], false);
    loops(&os, "docker/a", 2);
    loops(&os, "docker/b", 3);
    loops(&os, "beside", 1);
    close(
        &shares(&os, ["docker/a", "docker/b", "beside"], 800),
        &[6.25, 18.75, 75.0],
    );
    // Tasks of the root compete with the cgroups beside them; `docker` has as much as one of nice 0.
    let before = used_us(&os, "");
    start(&os, "", LOOP);
    let [docker, beside] = shares(&os, ["docker", "beside"], 800);
    close(&[docker, beside], &[25.0, 75.0]);
    let all = (used_us(&os, "") - before) as f64;
    assert!((790_000.0..850_000.0).contains(&all), "{all}");
}

#[test]
fn nice_levels_count_within_a_cgroup_only() {
    let os = machine();
    // In one cgroup: 1024 to 335. Their clocks tell what they had.
    cgroup(&os, "flat", &[], false);
    let zero = start(&os, "flat", LOOP);
    let five = start(
        &os,
        "flat",
        "/bin/busybox renice -n 5 $$ >/dev/null 2>&1 || exit 1; while :; do :; done",
    );
    run_ms(&os, 20);
    let had = |task: TaskId| {
        let stat = os
            .read_file_now(HOST, format!("/proc/{}/schedstat", task.0).as_bytes())
            .unwrap();
        let stat = String::from_utf8(stat).unwrap();
        stat.split(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let before = (had(zero), had(five));
    run_ms(&os, 400);
    let (zero, five) = (had(zero) - before.0, had(five) - before.1);
    let share = zero * 100.0 / (zero + five);
    close(&[share, 100.0 - share], &[75.35, 24.65]);
    // In another cgroup it takes nothing from anybody.
    cgroup(&os, "nice", &[], false);
    start(
        &os,
        "nice",
        "/bin/busybox renice -n 19 $$; while :; do :; done",
    );
    run_ms(&os, 20);
    close(&shares(&os, ["nice", "flat"], 400), &[50.0, 50.0]);
}

#[test]
fn a_quota_binds_beside_weights() {
    let os = machine();
    cgroup(
        &os,
        "tenth",
        &[("cpu.weight", "10000"), ("cpu.max", "10000 100000")],
        false,
    );
    cgroup(&os, "rest", &[], false);
    loops(&os, "tenth", 3);
    loops(&os, "rest", 1);
    run_ms(&os, 100);
    close(&shares(&os, ["tenth", "rest"], 1000), &[10.0, 90.0]);
}

/// Nanoseconds a task waited for its turn, and how often it got one.
fn waited(os: &KernelOs, task: TaskId) -> (u64, u64) {
    let stat = os
        .read_file_now(HOST, format!("/proc/{}/schedstat", task.0).as_bytes())
        .unwrap();
    let stat = String::from_utf8(stat).unwrap();
    let mut words = stat.split_whitespace().skip(1);
    let mut next = || words.next().unwrap().parse().unwrap();
    (next(), next())
}

#[test]
fn who_sleeps_and_wakes_does_not_wait_for_ten_busy_loops() {
    let os = machine();
    cgroup(&os, "busy", &[], false);
    cgroup(&os, "shell", &[], false);
    loops(&os, "busy", 10);
    let sleeper = "while :; do usleep 5000; done";
    // Both in a cgroup of its own and in that of the loops.
    let own = start(&os, "shell", sleeper);
    let among = start(&os, "busy", sleeper);
    run_ms(&os, 200);
    for (task, slices_max) in [(own, 1), (among, 2)] {
        let before = waited(&os, task);
        run_ms(&os, 400);
        let after = waited(&os, task);
        let (waited, turns) = (after.0 - before.0, after.1 - before.1);
        assert!(turns > 40, "{turns} turns");
        let average = waited / turns;
        assert!(
            average <= slices_max * SLICE_NS,
            "{average} ns from waking to running, on average"
        );
    }
}

#[test]
fn a_task_that_is_killed_while_it_waits_leaves_the_queue() {
    let os = machine();
    cgroup(&os, "busy", &[], false);
    let tasks: Vec<TaskId> = (0..4).map(|_| start(&os, "busy", LOOP)).collect();
    run_ms(&os, 10);
    for &task in &tasks {
        os.kill(task, 9).unwrap();
    }
    let seam = Rc::clone(&os);
    common::drive(&os, async move {
        for task in tasks {
            seam.wait(task).await.unwrap();
        }
        seam.clock().sleep(1_000_000).await;
    })
    .unwrap();
    let kernel = os.kernel();
    let turn = kernel.turn(kernel.clock.now(), 1_000_000);
    assert!(
        matches!(
            turn,
            kernel::Turn::Ran {
                busy: false,
                used: 0,
                ..
            }
        ),
        "{turn:?}"
    );
    os.rmdir(HOST, format!("{CGROUPS}/busy").as_bytes())
        .unwrap();
}
