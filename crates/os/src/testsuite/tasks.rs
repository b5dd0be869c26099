//! Tasks: clone, exec, wait, credentials, limits, signals.

use std::rc::Rc;

use super::{BUSYBOX, bytes, capture, exec, read_to_end, sh, shell, spawn, text};
use crate::{CloneSpec, Credentials, Errno, ExitStatus, NamespaceFlags, Os, OsExt, TaskId, View};

const NONE: NamespaceFlags = NamespaceFlags(0);

pub(super) async fn exec_exit_and_wait(os: Rc<dyn Os>) {
    assert_eq!(sh(&os, "echo out; echo err >&2").await, "out\nerr\n");
    for (script, status) in [
        ("exit 7", ExitStatus::Exited(7)),
        ("kill -9 $$", ExitStatus::Signaled(9)),
    ] {
        let task = spawn(&os, NONE);
        assert_eq!(shell(&os, task, script).await.1, status, "{script}");
    }
    // Pipelines, background jobs and substitution: fork, wait and pipes inside the guest.
    assert_eq!(
        sh(
            &os,
            "(sleep 0.01; echo late) & wait; echo $(printf 'b\\na\\n' | sort | tr '\\n' ' ')"
        )
        .await,
        "late\na b\n"
    );
    let task = spawn(&os, NONE);
    exec(&os, task, &["true"]).unwrap();
    assert_eq!(os.wait(task).await, Ok(ExitStatus::Exited(0)));
    assert!(os.wait(task).await.is_err(), "waited for once");
    assert_eq!(os.kill(task, 0).err(), Some(Errno::ESRCH));
}

pub(super) async fn exec_errors(os: Rc<dyn Os>) {
    os.write_file(View::Host, b"/tmp/text", b"hello\n", 0o755)
        .unwrap();
    os.write_file(View::Host, b"/tmp/script", b"#!/bin/nothing\n", 0o755)
        .unwrap();
    os.write_file(View::Host, b"/tmp/plain", b"\x7fELF", 0o644)
        .unwrap();
    os.write_file(View::Host, b"/tmp/short", b"\x7fELF\x02\x01\x01", 0o755)
        .unwrap();
    let task = spawn(&os, NONE);
    for (path, errno) in [
        ("/none", Errno::ENOENT),
        ("/tmp/text", Errno::ENOEXEC),
        ("/tmp/script", Errno::ENOENT),
        ("/tmp/plain", Errno::EACCES),
        ("/tmp/short", Errno::ENOEXEC),
        ("/tmp", Errno::EACCES),
        ("/tmp/text/x", Errno::ENOTDIR),
    ] {
        let outcome = os.exec(task, path.as_bytes(), &bytes(&["x"]), &[]);
        assert_eq!(outcome, Err(errno), "{path}");
    }
    // The task is as before.
    assert_eq!(
        shell(&os, task, "echo ok").await,
        ("ok\n".into(), ExitStatus::Exited(0))
    );
}

pub(super) async fn environment_arguments_and_directory(os: Rc<dyn Os>) {
    os.mkdir(View::Host, b"/tmp/wd", 0o755).unwrap();
    let task = spawn(&os, NONE);
    assert_eq!(os.set_cwd(task, b"/tmp/none").err(), Some(Errno::ENOENT));
    os.set_cwd(task, b"/tmp/wd").unwrap();
    let output = capture(&os, task);
    let script = "echo \"$0|$1|$VAR|$(pwd)\"";
    os.exec(
        task,
        BUSYBOX.as_bytes(),
        &bytes(&["sh", "-c", script, "zero", "o n e"]),
        &bytes(&["VAR=v"]),
    )
    .unwrap();
    assert_eq!(read_to_end(&output).await, "zero|o n e|v|/tmp/wd\n");
    os.wait(task).await.unwrap();
    let umask = sh(&os, "umask").await;
    assert_eq!(umask, "0022\n");
}

pub(super) async fn signals_end_tasks(os: Rc<dyn Os>) {
    for signal in [9, 15] {
        let task = spawn(&os, NONE);
        exec(&os, task, &["sleep", "1000"]).unwrap();
        os.clock().sleep(1_000_000).await;
        os.kill(task, 0).unwrap();
        os.kill(task, signal).unwrap();
        assert_eq!(os.wait(task).await, Ok(ExitStatus::Signaled(signal)));
    }
    let task = spawn(&os, NONE);
    let output = capture(&os, task);
    exec(
        &os,
        task,
        &[
            "sh",
            "-c",
            "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.01; done",
        ],
    )
    .unwrap();
    assert_eq!(
        crate::ext::read_some(&output, 100).await.unwrap(),
        b"ready\n"
    );
    os.kill(task, 15).unwrap();
    assert_eq!(read_to_end(&output).await, "caught\n");
    assert_eq!(os.wait(task).await, Ok(ExitStatus::Exited(3)));
}

pub(super) async fn an_embryo_can_be_killed(os: Rc<dyn Os>) {
    let task = spawn(&os, NONE);
    assert!(text(&os, &format!("/proc/{}/stat", task.0)).contains("(test)"));
    os.kill(task, 9).unwrap();
    assert_eq!(os.wait(task).await, Ok(ExitStatus::Signaled(9)));
    assert_eq!(os.kill(TaskId(4_000_000), 0).err(), Some(Errno::ESRCH));
}

pub(super) async fn credentials_are_in_force(os: Rc<dyn Os>) {
    os.write_file(View::Host, b"/tmp/secret", b"s", 0o600)
        .unwrap();
    os.write_file(View::Host, b"/tmp/team", b"t", 0o640)
        .unwrap();
    os.lchown(View::Host, b"/tmp/team", 0, 77).unwrap();
    let task = spawn(&os, NONE);
    let user = Credentials {
        uid: 1000,
        gid: 1000,
        groups: vec![77],
        bounding: 0,
        ..Credentials::default()
    };
    os.set_credentials(task, &user).unwrap();
    let (output, _) = shell(&os, task, "id -u; id -G; cat /tmp/team; cat /tmp/secret 2>/dev/null || echo denied; grep CapEff /proc/self/status; mount -t tmpfs x /tmp 2>/dev/null || echo no mount").await;
    assert_eq!(
        output,
        "1000\n1000 77\ntdenied\nCapEff:\t0000000000000000\nno mount\n"
    );
    // Root without capabilities is not almighty.
    let task = spawn(&os, NONE);
    os.write_file(View::Host, b"/tmp/others", b"o", 0o600)
        .unwrap();
    os.lchown(View::Host, b"/tmp/others", 5, 5).unwrap();
    os.set_credentials(task, &Credentials::default()).unwrap();
    let (output, _) = shell(
        &os,
        task,
        "id -u; cat /tmp/others 2>/dev/null || echo denied; hostname x 2>/dev/null || echo no name",
    )
    .await;
    assert_eq!(output, "0\ndenied\nno name\n");
}

pub(super) async fn limits_are_in_force(os: Rc<dyn Os>) {
    let task = spawn(&os, NONE);
    os.set_rlimit(task, 7, 20, 30).unwrap();
    assert_eq!(os.set_rlimit(task, 7, 31, 30).err(), Some(Errno::EINVAL));
    assert_eq!(os.set_rlimit(task, 99, 1, 1).err(), Some(Errno::EINVAL));
    let (output, _) = shell(
        &os,
        task,
        "ulimit -n; ulimit -Hn; grep 'open files' /proc/self/limits",
    )
    .await;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..2], ["20", "30"]);
    assert_eq!(
        lines[2].split_whitespace().collect::<Vec<_>>(),
        ["Max", "open", "files", "20", "30", "files"]
    );
}

pub(super) async fn a_task_shows_in_proc(os: Rc<dyn Os>) {
    let parent = spawn(&os, NONE);
    let spec = CloneSpec {
        name: "child".to_string(),
        parent: Some(parent),
        ..CloneSpec::default()
    };
    let child = os.clone_task(&spec).unwrap();
    let stat = text(&os, &format!("/proc/{}/stat", child.0));
    assert!(
        stat.starts_with(&format!("{} (child) S {} ", child.0, parent.0)),
        "{stat}"
    );
    exec(&os, child, &["sleep", "1000"]).unwrap();
    os.clock().sleep(1_000_000).await;
    assert_eq!(
        text(&os, &format!("/proc/{}/cmdline", child.0)),
        "sleep\x001000\0"
    );
    assert_eq!(text(&os, &format!("/proc/{}/comm", child.0)), "busybox\n");
    let exe = os
        .read_link(View::Host, format!("/proc/{}/exe", child.0).as_bytes())
        .unwrap();
    assert_eq!(exe, BUSYBOX.as_bytes());
    let maps = text(&os, &format!("/proc/{}/maps", child.0));
    assert!(
        maps.lines()
            .any(|line| line.ends_with("[stack]") && line.contains("rw-p")),
        "{maps}"
    );
    assert!(maps.lines().any(|line| line.ends_with(BUSYBOX)), "{maps}");
    let status = text(&os, &format!("/proc/{}/status", child.0));
    assert!(
        status.contains("State:\tS (sleeping)")
            && status.contains(&format!("PPid:\t{}\n", parent.0)),
        "{status}"
    );
    os.kill(child, 9).unwrap();
    os.wait(child).await.unwrap();
    assert!(!os.exists(View::Host, format!("/proc/{}", child.0).as_bytes()));
}
