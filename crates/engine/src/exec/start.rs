//! `POST /exec/{id}/start`.

use std::rc::Rc;

use engine_api::container::attach::detach_keys;
use engine_api::error::{ApiError, Result};
use engine_api::json;
use engine_api::stream::Channel;
use engine_api::types::ExecStartBody;
use os::WindowSize;
use runtime::{ProcessSpec, Rlimit, Stdio, capabilities, path::clean};
use serve::{Body, Response};

use super::Exec;
use crate::Engine;
use crate::container::start_failure;
use crate::dispatch::Context;
use crate::monitor::timeout;
use crate::spec::merge_env;
use crate::state::Container;
use crate::streams::{Connection, pump};

/// Nanoseconds between the answer's head and the process: clients such as docker-py read the head through a
/// buffer and the stream past it, and would lose output that comes with the head. (In Docker a process
/// takes longer than this to start.)
const HEAD_FIRST: u64 = 10_000_000;
/// Nanoseconds the streams of an ended process may still take.
const DRAIN: u64 = 2_000_000_000;

impl Engine {
    /// The operation.
    pub(crate) async fn exec_start(&self, mut context: Context) -> Result<Response> {
        let exec = self.find_exec(context.param(0))?;
        let start: ExecStartBody = context.json().await?;
        let container = self.find_container(&exec.container)?;
        super::create::check_active(&container, &container.id)?;
        // Whoever does not detach has its answer before anything is tried: refusals come as output. Compose
        // counts on that and starts what it has attached to a second time.
        let refusal = exec.started.replace(true).then(|| exec.refusal());
        let size = start.console_size.or(exec.config.console_size);
        if start.detach {
            refusal.map_or(Ok(()), Err)?;
            self.exec_run(&container, &exec, size).await?;
            return Ok(json::response(200, Body::empty(), None));
        }
        let (response, upgraded) = context.hijack(start.tty)?;
        let config = &exec.config;
        let attached = exec.streams.attach(
            config.attach_stdout && refusal.is_none(),
            config.attach_stderr && refusal.is_none(),
        );
        let engine = self.rc();
        self.os.executor().spawn(async move {
            let Ok(io) = upgraded.stream().await else {
                return;
            };
            engine.os.clock().sleep(HEAD_FIRST).await;
            let connection = Connection {
                io,
                // Whoever starts it says in which form it wants the output.
                tty: start.tty,
                stdin: exec.config.attach_stdin,
                close_stdin: !exec.config.tty,
                detach_keys: match exec.config.tty {
                    true => detach_keys(&exec.config.detach_keys).unwrap_or_default(),
                    false => Vec::new(),
                },
            };
            let outcome = match refusal {
                Some(refusal) => Err(refusal),
                None => engine.exec_run(&container, &exec, size).await,
            };
            if let Err(error) = outcome {
                // The answer is on its way already: the error goes where the output would.
                let text = format!("{}\r\n", error.message);
                let _ = connection.write(Channel::Stdout, text.as_bytes()).await;
                return;
            }
            if connection.carry(&exec.streams, &attached).await {
                engine.container_event(&container, "exec_detach", &[("execID", exec.id.clone())]);
            }
        });
        Ok(response)
    }

    /// Runs the command in the container.
    pub(crate) async fn exec_run(
        &self,
        container: &Rc<Container>,
        exec: &Rc<Exec>,
        size: Option<[u16; 2]>,
    ) -> Result<()> {
        let action = format!("exec_start: {}", exec.command());
        self.container_event(container, &action, &[("execID", exec.id.clone())]);
        let runtime = container.running()?;
        let links = self.link_environment(&container.data.borrow());
        let rlimits = self.rlimits(&container.data.borrow().host_config);
        let spec = process_spec(container, exec, &links, rlimits.unwrap_or_default(), size);
        let stdio = Stdio {
            stdin: exec.config.attach_stdin,
        };
        let (process, ends) = runtime::exec(&self.os, &runtime, &spec, stdio)
            .await
            .map_err(|error| {
                let (code, answer) = start_failure(&error);
                exec.exit_code.set(Some(code));
                answer
            })?;
        exec.pid.set(process.task().0);
        exec.running.set(true);
        *exec.console.borrow_mut() = ends.console;
        exec.streams.open_stdin(ends.stdin.filter(|_| stdio.stdin));
        let outputs = [
            (Channel::Stdout, ends.stdout),
            (Channel::Stderr, ends.stderr),
        ];
        let pumps: Vec<_> = outputs
            .into_iter()
            .filter_map(|(channel, handle)| Some((channel, handle?)))
            .map(|(channel, handle)| {
                let exec = Rc::clone(exec);
                self.os.executor().spawn(pump(handle, move |bytes| {
                    let exec = Rc::clone(&exec);
                    async move { exec.streams.publish(channel, bytes).await }
                }))
            })
            .collect();
        let (engine, container, exec) = (self.rc(), Rc::clone(container), Rc::clone(exec));
        self.os.executor().spawn(async move {
            let exit_code = process.wait().await.unwrap_or(255);
            for pump in pumps {
                timeout(&engine.os.clock(), DRAIN, std::pin::pin!(pump)).await;
            }
            exec.exit_code.set(Some(exit_code));
            exec.running.set(false);
            exec.console.borrow_mut().take();
            exec.streams.end();
            let more = [
                ("execID", exec.id.clone()),
                ("exitCode", exit_code.to_string()),
            ];
            engine.container_event(&container, "exec_die", &more);
        });
        Ok(())
    }
}

impl Exec {
    /// What a second start is told.
    fn refusal(&self) -> ApiError {
        let what = match self.exit_code.get() {
            Some(_) => "has already run",
            None => "is already running",
        };
        ApiError::conflict(format!("exec command {} {what}", self.id))
    }
}

fn process_spec(
    container: &Container,
    exec: &Exec,
    links: &[String],
    rlimits: Vec<Rlimit>,
    size: Option<[u16; 2]>,
) -> ProcessSpec {
    let data = container.data.borrow();
    let config = &exec.config;
    let mut env = crate::spec::environment(&data, links);
    if config.tty && !env.iter().any(|entry| entry.starts_with("TERM=")) {
        env.push("TERM=xterm".to_string());
    }
    merge_env(&mut env, config.env.iter().flatten());
    let first = |own: &str, other: &str| {
        if own.is_empty() {
            other.to_string()
        } else {
            own.to_string()
        }
    };
    let [rows, cols] = size.unwrap_or_default();
    ProcessSpec {
        terminal: config.tty,
        console_size: (rows > 0 && cols > 0).then_some(WindowSize { rows, cols }),
        user: first(&config.user, &data.config.user),
        additional_groups: data.host_config.group_add.clone().unwrap_or_default(),
        args: config.cmd.clone().unwrap_or_default(),
        env,
        cwd: clean(&first(&config.working_dir, &data.config.working_dir)),
        // 0 stands for those of the container.
        capabilities: if config.privileged {
            capabilities::ALL
        } else {
            0
        },
        no_new_privileges: false,
        // That of the container.
        seccomp: None,
        rlimits,
        oom_score_adj: data.host_config.oom_score_adj,
    }
}
