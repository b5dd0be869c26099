//! What the first process of a container and one of `docker exec` have in common: descriptors,
//! limits, who they are, what they execute.

use std::rc::Rc;

use os::{Credentials, Errno, Handle, NewPty, OpenFlags, Os, OsExt, TaskId, View};

use crate::error::Doing;
use crate::lookup::find_executable;
use crate::user::{self, User};
use crate::{ProcessSpec, RuntimeError, defaults};

/// What to connect a process to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stdio {
    /// Keep its standard input open for the daemon to write to.
    pub stdin: bool,
}

/// The daemon's ends of a process's descriptors.
#[derive(Default)]
pub struct DaemonEnds {
    /// Its standard input.
    pub stdin: Option<Rc<dyn Handle>>,
    /// Its standard output; with a terminal: everything.
    pub stdout: Option<Rc<dyn Handle>>,
    /// Its standard error.
    pub stderr: Option<Rc<dyn Handle>>,
    /// The master of its terminal.
    pub console: Option<Rc<dyn Handle>>,
}

/// What [`connect`] gives.
pub(crate) struct Connected {
    /// The daemon's ends.
    pub(crate) ends: DaemonEnds,
    /// The task's standard error, for a last word before exec.
    pub(crate) last_word: Rc<dyn Handle>,
    /// The number of its terminal.
    pub(crate) terminal: Option<u32>,
}

/// Connects descriptors 0, 1 and 2.
pub(crate) fn connect(
    os: &Rc<dyn Os>,
    task: TaskId,
    process: &ProcessSpec,
    stdio: Stdio,
) -> Result<Connected, RuntimeError> {
    let opening = || "open standard streams".to_string();
    if process.terminal {
        let NewPty {
            master,
            slave,
            number,
        } = os
            .open_pty(View::Task(task))
            .doing(|| "open /dev/ptmx".to_string())?;
        if let Some(size) = process.console_size {
            master.set_window_size(size).doing(opening)?;
        }
        for fd in 0..3 {
            os.set_fd(task, fd, &slave).doing(opening)?;
        }
        os.set_controlling_terminal(task, 0)
            .doing(|| "setctty".to_string())?;
        let ends = DaemonEnds {
            stdin: Some(Rc::clone(&master)),
            stdout: Some(Rc::clone(&master)),
            stderr: None,
            console: Some(master),
        };
        return Ok(Connected {
            ends,
            last_word: slave,
            terminal: Some(number),
        });
    }
    let mut ends = DaemonEnds::default();
    if stdio.stdin {
        let (reading, writing) = os.pipe().doing(opening)?;
        os.set_fd(task, 0, &reading).doing(opening)?;
        ends.stdin = Some(writing);
    } else {
        let flags = OpenFlags {
            read: true,
            ..OpenFlags::default()
        };
        let null = os.open(View::Host, b"/dev/null", flags, 0).doing(opening)?;
        os.set_fd(task, 0, &null).doing(opening)?;
    }
    let (reading, writing) = os.pipe().doing(opening)?;
    os.set_fd(task, 1, &writing).doing(opening)?;
    ends.stdout = Some(reading);
    let (reading, writing) = os.pipe().doing(opening)?;
    os.set_fd(task, 2, &writing).doing(opening)?;
    ends.stderr = Some(reading);
    Ok(Connected {
        ends,
        last_word: writing,
        terminal: None,
    })
}

/// A program that is found and may be executed.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// Absolute path in the container.
    pub(crate) path: String,
    /// Arguments.
    pub(crate) argv: Vec<Vec<u8>>,
    /// Environment.
    pub(crate) envp: Vec<Vec<u8>>,
}

/// Resolves the user of `process` in the files of the task's root.
pub(crate) async fn resolve_user(
    os: &Rc<dyn Os>,
    task: TaskId,
    process: &ProcessSpec,
) -> Result<User, RuntimeError> {
    let view = View::Task(task);
    let mut texts = [String::new(), String::new()];
    for (text, file) in texts.iter_mut().zip(["/etc/passwd", "/etc/group"]) {
        if let Ok(content) = os.read_file(view, file.as_bytes()).await {
            *text = String::from_utf8_lossy(&content).into_owned();
        }
    }
    user::resolve(
        &process.user,
        &process.additional_groups,
        &texts[0],
        &texts[1],
    )
    .map_err(RuntimeError::Daemon)
}

/// Limits, identity and working directory; then finds the program.
pub(crate) fn finish(
    os: &Rc<dyn Os>,
    task: TaskId,
    process: &ProcessSpec,
    user: &User,
) -> Result<Program, RuntimeError> {
    for limit in defaults::RLIMITS.iter().chain(&process.rlimits) {
        os.set_rlimit(task, limit.resource, limit.soft, limit.hard)
            .doing(|| {
                format!(
                    "error setting rlimits for ready process: error setting rlimit type {}",
                    limit.resource
                )
            })?;
    }
    if process.oom_score_adj != 0 {
        let path = format!("/proc/{}/oom_score_adj", task.0);
        os.write_control(View::Host, &path, &process.oom_score_adj.to_string())
            .doing(|| "write oom_score_adj".to_string())?;
    }
    let held = if user.uid == 0 {
        process.capabilities
    } else {
        0
    };
    let credentials = Credentials {
        uid: user.uid,
        gid: user.gid,
        groups: user.groups.clone(),
        bounding: process.capabilities,
        effective: held,
        permitted: held,
        inheritable: 0,
        ambient: 0,
        no_new_privs: process.no_new_privileges,
    };
    os.set_credentials(task, &credentials)
        .doing(|| "unable to set credentials".to_string())?;
    if let Some(filter) = &process.seccomp {
        os.set_seccomp(task, filter).doing(|| {
            "unable to init seccomp: error loading seccomp filter into kernel".to_string()
        })?;
    }
    let cwd = if process.cwd.is_empty() {
        "/"
    } else {
        &process.cwd
    };
    os.set_cwd(task, cwd.as_bytes()).map_err(|errno| {
        RuntimeError::Create(format!(
            "chdir to cwd (\"{cwd}\") set in config.json failed: {}",
            errno.go_description()
        ))
    })?;
    let mut env = process.env.clone();
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={}", user.home));
    }
    let path = env
        .iter()
        .rev()
        .find_map(|entry| entry.strip_prefix("PATH="));
    let name = process.args.first().map(String::as_str).unwrap_or_default();
    let file = find_executable(os, View::Task(task), name, path, cwd, user)
        .map_err(|why| RuntimeError::Create(format!("exec: \"{name}\": {why}")))?;
    Ok(Program {
        path: file,
        argv: process
            .args
            .iter()
            .map(|arg| arg.clone().into_bytes())
            .collect(),
        envp: env.into_iter().map(String::into_bytes).collect(),
    })
}

/// How often a program may turn out not to be in the machine yet: itself, its interpreter, theirs.
const ARRIVALS_MAX: usize = 64;

/// `execve(2)`, waiting for files that are not in the machine yet.
pub(crate) async fn execute(os: &Rc<dyn Os>, task: TaskId, program: &Program) -> Result<(), Errno> {
    for _ in 0..ARRIVALS_MAX {
        match os.exec(task, program.path.as_bytes(), &program.argv, &program.envp) {
            Err(Errno::NOT_HERE_YET) => {
                // Reading the file asks for it; an interpreter is asked for by exec itself.
                let _ = os
                    .read_file(View::Task(task), program.path.as_bytes())
                    .await;
                os.clock().sleep(1_000_000).await;
            }
            other => return other,
        }
    }
    Err(Errno::EIO)
}
