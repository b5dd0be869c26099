//! What every implementation of [`Os`] must do: named tests, to be run one by one, each on a fresh
//! machine.
//!
//! A test is a future that panics when something is wrong. The machine has the standard mounts (`/proc`,
//! `/sys`, cgroups, `/dev`, `/dev/pts`, `/tmp`, `/run`) and a static busybox at [`BUSYBOX`] with an empty
//! `/` otherwise. Nothing but the seam is used, so that a native implementation passes the same list.

mod channels;
mod files;
mod isolation;
mod mounts;
mod network;
mod tasks;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use crate::{CloneSpec, ExitStatus, Handle, NamespaceFlags, Os, OsExt, Result, TaskId, View, ext};

/// Where the guest program is.
pub const BUSYBOX: &str = "/bin/busybox";

type Run = fn(Rc<dyn Os>) -> Pin<Box<dyn Future<Output = ()>>>;

/// A test.
pub struct Test {
    /// What must hold.
    pub name: &'static str,
    /// Runs it.
    pub run: Run,
}

macro_rules! tests {
    ($($module:ident: $($name:ident),+;)+) => {
        /// All tests.
        pub const ALL: &[Test] = &[
            $($(Test { name: concat!(stringify!($module), "::", stringify!($name)), run: |os| Box::pin($module::$name(os)) },)+)+
        ];
    };
}

tests! {
    files: create_write_and_read, directories_and_links, errors_have_their_numbers, modes_owners_and_times,
        extended_attributes, sparse_files_and_truncation;
    mounts: tmpfs_and_umount, bind_and_read_only, overlay_copies_up, a_mount_namespace_is_a_copy, pivot_root_into_a_new_tree;
    tasks: exec_exit_and_wait, exec_errors, environment_arguments_and_directory, signals_end_tasks, an_embryo_can_be_killed,
        credentials_are_in_force, limits_are_in_force, a_task_shows_in_proc;
    isolation: a_pid_namespace_starts_at_1, init_of_a_pid_namespace_takes_all_with_it, host_names_differ,
        network_namespaces_have_their_own_loopback, joining_namespaces, cgroups_count_and_bound_tasks,
        memory_limits_kill, freezing_stops_and_thawing_goes_on, cgroup_kill_ends_everybody, a_cgroup_namespace_hides_what_is_above;
    channels: a_pipe_carries_bytes_and_ends, a_pipe_without_reader_breaks, programs_write_to_pipes, a_terminal_is_a_conversation,
        control_c_interrupts, window_size_reaches_the_program, unix_sockets_connect;
    network: links_are_made_changed_and_listed, programs_reach_each_other_over_a_bridge, rules_translate_and_refuse,
        a_wire_carries_frames;
}

/// A task with these namespaces of its own; it has no program yet.
fn spawn(os: &Rc<dyn Os>, new: NamespaceFlags) -> TaskId {
    let spec = CloneSpec {
        new,
        name: "test".to_string(),
        ..CloneSpec::default()
    };
    os.clone_task(&spec).expect("clone_task")
}

fn bytes(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// Makes a task run an applet of busybox.
fn exec(os: &Rc<dyn Os>, task: TaskId, argv: &[&str]) -> Result<()> {
    let environment = bytes(&["PATH=/bin", "HOME=/root"]);
    os.exec(task, BUSYBOX.as_bytes(), &bytes(argv), &environment)
}

/// Connects the output of a task that has not called exec; reading the handle gives it.
fn capture(os: &Rc<dyn Os>, task: TaskId) -> Rc<dyn Handle> {
    let (reader, writer) = os.pipe().expect("pipe");
    for fd in [1, 2] {
        os.set_fd(task, fd, &writer).expect("set_fd");
    }
    reader
}

async fn read_to_end(handle: &Rc<dyn Handle>) -> String {
    let mut all = Vec::new();
    loop {
        let some = ext::read_some(handle, 4096).await.expect("read");
        if some.is_empty() {
            return String::from_utf8_lossy(&all).into_owned();
        }
        all.extend(some);
    }
}

/// Runs a shell script in a task and gives its output and how it ended.
async fn shell(os: &Rc<dyn Os>, task: TaskId, script: &str) -> (String, ExitStatus) {
    let output = capture(os, task);
    exec(os, task, &["sh", "-c", script]).expect("exec sh");
    let text = read_to_end(&output).await;
    let status = os.wait(task).await.expect("wait");
    (text, status)
}

/// As [`shell`], in a new task in the machine's own namespaces; it must succeed.
async fn sh(os: &Rc<dyn Os>, script: &str) -> String {
    let task = spawn(os, NamespaceFlags::default());
    let (text, status) = shell(os, task, script).await;
    assert_eq!(status, ExitStatus::Exited(0), "{script}: {text}");
    text
}

fn text(os: &Rc<dyn Os>, path: &str) -> String {
    String::from_utf8_lossy(&os.read_file_now(View::Host, path.as_bytes()).expect(path))
        .into_owned()
}
