//! Pipes, terminals and sockets.

use std::rc::Rc;

use super::{capture, exec, read_to_end, spawn};
use crate::{Errno, ExitStatus, Handle, NamespaceFlags, Os, OsExt, View, WindowSize, ext};

const NONE: NamespaceFlags = NamespaceFlags(0);

pub(super) async fn a_pipe_carries_bytes_and_ends(os: Rc<dyn Os>) {
    let (reader, writer) = os.pipe().unwrap();
    // More than a pipe holds: the writer waits for the reader.
    let content: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    let sent = content.clone();
    let sending = os
        .executor()
        .spawn(async move { ext::write_all(&writer, &sent).await });
    let mut received = Vec::new();
    loop {
        let some = ext::read_some(&reader, 10_000).await.unwrap();
        if some.is_empty() {
            break;
        }
        received.extend(some);
    }
    assert!(received == content);
    assert_eq!(sending.take(), Some(Ok(())));
}

pub(super) async fn a_pipe_without_reader_breaks(os: Rc<dyn Os>) {
    let (reader, writer) = os.pipe().unwrap();
    drop(reader);
    assert_eq!(ext::write_all(&writer, b"x").await, Err(Errno::EPIPE));
}

pub(super) async fn programs_write_to_pipes(os: Rc<dyn Os>) {
    let task = spawn(&os, NONE);
    let (input, to_program) = os.pipe().unwrap();
    os.set_fd(task, 0, &input).unwrap();
    drop(input);
    let output = capture(&os, task);
    exec(&os, task, &["tr", "a-z", "A-Z"]).unwrap();
    ext::write_all(&to_program, b"hello\n").await.unwrap();
    drop(to_program);
    assert_eq!(read_to_end(&output).await, "HELLO\n");
    assert_eq!(os.wait(task).await, Ok(ExitStatus::Exited(0)));
    // Opening a descriptor again by its name works for pipes too.
    let task = spawn(&os, NONE);
    let output = capture(&os, task);
    exec(
        &os,
        task,
        &[
            "sh",
            "-c",
            "echo one > /dev/stdout; echo two > /proc/self/fd/2; readlink /proc/self/fd/1",
        ],
    )
    .unwrap();
    let text = read_to_end(&output).await;
    assert!(text.starts_with("one\ntwo\npipe:["), "{text}");
    os.wait(task).await.unwrap();
}

async fn read_until(handle: &Rc<dyn Handle>, end: &str) -> String {
    let mut all = String::new();
    while !all.contains(end) {
        let some = ext::read_some(handle, 1000).await.expect("read");
        assert!(!some.is_empty(), "ended after {all:?}");
        all.push_str(&String::from_utf8_lossy(&some));
    }
    all
}

/// A shell script in a session of its own with a terminal.
fn on_terminal(os: &Rc<dyn Os>, script: &str) -> (crate::TaskId, Rc<dyn Handle>) {
    let task = spawn(os, NONE);
    let pty = os.open_pty(View::Host).expect("open_pty");
    pty.master
        .set_window_size(WindowSize {
            rows: 30,
            cols: 100,
        })
        .expect("size");
    for fd in 0..3 {
        os.set_fd(task, fd, &pty.slave).expect("set_fd");
    }
    os.set_controlling_terminal(task, 0).expect("terminal");
    exec(os, task, &["sh", "-c", script]).expect("exec");
    (task, pty.master)
}

pub(super) async fn a_terminal_is_a_conversation(os: Rc<dyn Os>) {
    let (task, master) = on_terminal(&os, "stty size; tty; read name; echo hello $name");
    let greeting = read_until(&master, "/dev/pts/0\r\n").await;
    assert!(greeting.starts_with("30 100\r\n"), "{greeting:?}");
    ext::write_all(&master, b"you\r").await.unwrap();
    assert_eq!(
        read_until(&master, "hello you\r\n").await,
        "you\r\nhello you\r\n"
    );
    assert_eq!(os.wait(task).await, Ok(ExitStatus::Exited(0)));
    assert_eq!(ext::read_some(&master, 10).await, Err(Errno::EIO));
}

pub(super) async fn control_c_interrupts(os: Rc<dyn Os>) {
    let (task, master) = on_terminal(&os, "echo ready; sleep 1000; echo not reached");
    read_until(&master, "ready\r\n").await;
    os.clock().sleep(5_000_000).await;
    ext::write_all(&master, b"\x03").await.unwrap();
    assert_eq!(os.wait(task).await.map(ExitStatus::code), Ok(130));
    // A hangup ends the session.
    let (task, master) = on_terminal(&os, "echo ready; sleep 1000");
    read_until(&master, "ready\r\n").await;
    drop(master);
    assert_eq!(os.wait(task).await, Ok(ExitStatus::Signaled(1)));
}

pub(super) async fn window_size_reaches_the_program(os: Rc<dyn Os>) {
    let (task, master) = on_terminal(
        &os,
        "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.01; done",
    );
    read_until(&master, "ready\r\n").await;
    master
        .set_window_size(WindowSize { rows: 5, cols: 7 })
        .unwrap();
    assert_eq!(read_until(&master, "\r\n").await, "5 7\r\n");
    os.wait(task).await.unwrap();
}

pub(super) async fn unix_sockets_connect(os: Rc<dyn Os>) {
    let refused = os.unix_connect(View::Host, b"/run/none").err();
    assert_eq!(refused, Some(Errno::ENOENT));
    let listener = os.unix_listen(View::Host, b"/run/s", 0o660).unwrap();
    let metadata = os.metadata(View::Host, b"/run/s", false).unwrap();
    assert_eq!(metadata.mode, 0o140_660);
    let client = os.unix_connect(View::Host, b"/run/s").unwrap();
    let server = ext::accept(&listener).await.unwrap();
    ext::write_all(&client, b"question").await.unwrap();
    client.shutdown_write().unwrap();
    assert_eq!(read_to_end(&server).await, "question");
    ext::write_all(&server, b"answer").await.unwrap();
    drop(server);
    assert_eq!(read_to_end(&client).await, "answer");
    drop(listener);
    assert_eq!(
        os.unix_connect(View::Host, b"/run/s").err(),
        Some(Errno::ECONNREFUSED)
    );
    // An old socket file is replaced.
    let _again = os.unix_listen(View::Host, b"/run/s", 0o600).unwrap();
    os.unix_connect(View::Host, b"/run/s").unwrap();
}
