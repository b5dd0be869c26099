//! Programs of the machine that the daemon starts, as dockerd starts `ps` and `git`.

use std::rc::Rc;

use engine_api::stream::Channel;
use futures_util::future::join;
use os::{CloneSpec, Errno, Handle, OpenFlags, Os, OsExt, TaskId, View, ext};

use crate::Engine;

/// Where programs are, in this order.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Bytes of each output that are kept.
const OUTPUT_MAX: usize = 4 << 20;

/// What a program left.
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A task that is killed if it is not waited for.
struct Running {
    os: Rc<dyn Os>,
    task: Option<TaskId>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            let os = Rc::clone(&self.os);
            let _ = os.kill(task, 9);
            let executor = os.executor();
            executor.spawn(async move {
                let _ = os.wait(task).await;
            });
        }
    }
}

/// Reads until nobody writes any more.
async fn read(handle: Rc<dyn Handle>, channel: Channel, heard: &dyn Fn(Channel, &[u8])) -> String {
    let mut output = Vec::new();
    loop {
        match ext::read_some(&handle, 64 * 1024).await {
            Ok(piece) if !piece.is_empty() => {
                heard(channel, &piece);
                let room = OUTPUT_MAX.saturating_sub(output.len());
                output.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            _ => return String::from_utf8_lossy(&output).into_owned(),
        }
    }
}

impl Engine {
    /// Runs a program to its end. `heard` is told what it writes. An error says why it cannot be run, as Go does.
    pub(crate) async fn run_program(
        &self,
        argv: &[&str],
        env: &[&str],
        directory: &str,
        heard: &dyn Fn(Channel, &[u8]),
    ) -> Result<Output, String> {
        let os = &self.os;
        let name = argv.first().copied().unwrap_or_default();
        let missing = || format!("exec: {name:?}: executable file not found in $PATH");
        let path = PATH
            .split(':')
            .map(|directory| format!("{directory}/{name}"))
            .find(|path| os.exists(View::Host, path.as_bytes()))
            .ok_or_else(missing)?;
        let failed = |errno: Errno| format!("fork/exec {path}: {}", errno.go_description());
        let spec = CloneSpec {
            name: name.chars().take(15).collect(),
            ..CloneSpec::default()
        };
        let task = os.clone_task(&spec).map_err(failed)?;
        let mut running = Running {
            os: Rc::clone(os),
            task: Some(task),
        };
        let flags = OpenFlags {
            read: true,
            write: true,
            ..OpenFlags::default()
        };
        let null = os
            .open(View::Host, b"/dev/null", flags, 0)
            .map_err(failed)?;
        let (stdout, to_stdout) = os.pipe().map_err(failed)?;
        let (stderr, to_stderr) = os.pipe().map_err(failed)?;
        for (fd, handle) in [&null, &to_stdout, &to_stderr].into_iter().enumerate() {
            os.set_fd(task, fd as u32, handle).map_err(failed)?;
        }
        os.set_cwd(task, directory.as_bytes()).map_err(failed)?;
        let bytes = |list: &[&str]| -> Vec<Vec<u8>> {
            list.iter().map(|text| text.as_bytes().to_vec()).collect()
        };
        let (argv, mut envp) = (bytes(argv), bytes(env));
        envp.push(format!("PATH={PATH}").into_bytes());
        loop {
            match os.exec(task, path.as_bytes(), &argv, &envp) {
                Ok(()) => break,
                Err(Errno::NOT_HERE_YET) => {
                    let _ = os.read_file(View::Host, path.as_bytes()).await;
                    os.clock().sleep(1_000_000).await;
                }
                Err(errno) => return Err(failed(errno)),
            }
        }
        drop((to_stdout, to_stderr));
        let outputs = join(
            read(stdout, Channel::Stdout, heard),
            read(stderr, Channel::Stderr, heard),
        );
        let (stdout, stderr) = outputs.await;
        let status = os.wait(task).await;
        running.task = None;
        Ok(Output {
            code: status.map_err(failed)?.code(),
            stdout,
            stderr,
        })
    }
}
