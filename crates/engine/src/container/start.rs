//! `POST /containers/{id}/start`: from a configuration to a running program.

use std::rc::Rc;

use engine_api::error::{ApiError, Result};
use engine_api::stream::Channel;
use engine_api::{json, timestamp};
use runtime::{RuntimeError, Stdio};
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;
use crate::state::{Container, Live};
use crate::streams::pump;

/// How long a start waits at most for other programs, for those that read from the disk (their pages may
/// have to be downloaded), and between two looks, in nanoseconds.
const LET_RUN_MAX: u64 = 20_000_000;
const LET_READ_MAX: u64 = 500_000_000;
const LET_RUN_STEP: u64 = 250_000;

/// What a failed start means: the container's exit code and the answer (as dockerd decides it).
pub(crate) fn start_failure(error: &RuntimeError) -> (i32, ApiError) {
    let text = error.to_string();
    let lower = text.to_ascii_lowercase();
    if lower.contains("permission denied") {
        return (126, ApiError::invalid(text));
    }
    if lower.contains("is a directory") {
        // Clients look for these words to tell 126 from 125.
        return (126, ApiError::invalid(format!("{text}: permission denied")));
    }
    if lower.contains("not a directory") {
        let hint = "Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified \
                    host path exists and is the expected type";
        return (127, ApiError::invalid(format!("{text}: {hint}")));
    }
    if lower.contains("executable file not found") || lower.contains("no such file or directory") {
        return (127, ApiError::invalid(text));
    }
    match error {
        RuntimeError::Daemon(_) => (128, ApiError::invalid(text)),
        _ => (128, ApiError::system(text)),
    }
}

impl Engine {
    /// The operation.
    pub(crate) async fn container_start(&self, context: Context) -> Result<Response> {
        let length = context.header("content-length");
        if length.and_then(|text| text.parse::<u64>().ok()) > Some(7) {
            return Err(ApiError::invalid(
                "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
            ));
        }
        let container = self.find_container(context.param(0))?;
        self.check_checkpoint(&container, context.query.text("checkpoint"))?;
        self.start(&container).await?;
        Ok(json::no_content())
    }

    /// Starts a container because somebody asked for it.
    pub(crate) async fn start(&self, container: &Rc<Container>) -> Result<()> {
        let _guard = container.lock.take().await;
        {
            let state = &container.data.borrow().state;
            match () {
                () if container.removed.get() => {
                    return Err(ApiError::not_found(format!(
                        "No such container: {}",
                        container.id
                    )));
                }
                () if state.paused => {
                    return Err(ApiError::conflict(
                        "cannot start a paused container, try unpause instead",
                    ));
                }
                () if state.running && !state.restarting => return Err(ApiError::not_modified()),
                () => {}
            }
        }
        container.restart_delay.set(0);
        container.update(&self.os, |data| {
            data.has_been_manually_stopped = false;
            data.restart_count = 0;
        });
        self.bring_up(container).await
    }

    /// Starts a container because its restart policy wants it.
    pub(crate) async fn start_again(&self, container: &Rc<Container>) -> Result<()> {
        let _guard = container.lock.take().await;
        if container.removed.get() || container.live.borrow().is_some() {
            return Ok(());
        }
        self.bring_up(container).await
    }

    /// The lock is held by the caller.
    async fn bring_up(&self, container: &Rc<Container>) -> Result<()> {
        let Err((exit_code, error)) = self.try_bring_up(container).await else {
            return Ok(());
        };
        self.leave_networks(container);
        self.unmount_shm(container);
        self.unmount_images(container);
        let _ = self.store.unmount_container(&container.id);
        let volumes: Vec<String> = container
            .data
            .borrow()
            .mounts
            .iter()
            .filter(|mount| mount.point.kind == "volume")
            .map(|mount| mount.point.name.clone())
            .collect();
        for name in volumes {
            self.unmount_volume(&name);
        }
        container.streams.end();
        container.exits.set(container.exits.get() + 1);
        container.update(&self.os, |data| {
            data.state.running = false;
            data.state.restarting = false;
            data.state.exit_code = exit_code;
            data.state.error.clone_from(&error.message);
        });
        if container.data.borrow().host_config.auto_remove {
            let (engine, container) = (self.rc(), Rc::clone(container));
            self.os.executor().spawn(async move {
                let _ = engine.remove(&container, true, true).await;
            });
        }
        Err(error)
    }

    /// Lets the other programs of the machine go on until all wait for something, or it has taken long. A
    /// start takes a hundred milliseconds on a computer, and clients count on that: Compose sends its start,
    /// then asks for events, and would wait for ever for the end of a program that was over in between.
    async fn let_others_run(&self) {
        let clock = self.os.clock();
        for waited in (0..LET_READ_MAX).step_by(LET_RUN_STEP as usize) {
            let (running, blocked) = self.os.running_and_blocked();
            if blocked == 0 && (running == 0 || waited >= LET_RUN_MAX) {
                return;
            }
            clock.sleep(LET_RUN_STEP).await;
        }
    }

    async fn try_bring_up(
        &self,
        container: &Rc<Container>,
    ) -> std::result::Result<(), (i32, ApiError)> {
        let failed = |error: ApiError| (128, error);
        crate::logs::check_options(&container.data.borrow().host_config.log_config)
            .map_err(failed)?;
        let mount = self
            .store
            .mount_container(&container.id)
            .map_err(|error| (128, ApiError::system(error.to_string())))?;
        self.join_networks(container).map_err(failed)?;
        self.write_files(container).map_err(failed)?;
        self.rewrite_links_to(container);
        self.mount_shm(container).map_err(failed)?;
        self.prepare_mounts(container).map_err(failed)?;
        let spec = self
            .runtime_spec(container, &mount.merged)
            .map_err(failed)?;
        let stdio = Stdio {
            stdin: container.data.borrow().config.open_stdin,
        };
        let (runtime, ends) = runtime::create(&self.os, &spec, stdio)
            .await
            .map_err(|error| start_failure(&error))?;
        let runtime = Rc::new(runtime);
        if let Err(error) = self.plug(container, runtime.init()) {
            let _ = self.os.kill(runtime.init(), 9);
            let _ = runtime.wait().await;
            runtime.delete();
            return Err(failed(error));
        }
        self.say_networks(container, "connect");
        *container.live.borrow_mut() = Some(Live {
            runtime: Rc::clone(&runtime),
            console: ends.console,
        });
        container
            .streams
            .open_stdin(ends.stdin.filter(|_| stdio.stdin));
        let outputs = [
            (Channel::Stdout, ends.stdout),
            (Channel::Stderr, ends.stderr),
        ];
        let pumps = outputs
            .into_iter()
            .filter_map(|(channel, handle)| Some((channel, handle?)))
            .map(|(channel, handle)| {
                let container = Rc::clone(container);
                self.os.executor().spawn(pump(handle, move |bytes| {
                    let container = Rc::clone(&container);
                    async move {
                        container.log.append(channel, &bytes);
                        container.streams.publish(channel, bytes).await;
                    }
                }))
            })
            .collect();
        self.let_others_run().await;
        runtime
            .start()
            .await
            .map_err(|error| start_failure(&error))?;
        let now = timestamp::format(self.now());
        container.update(&self.os, |data| {
            data.has_been_started_before = true;
            let state = &mut data.state;
            (state.running, state.paused, state.restarting) = (true, false, false);
            (state.exit_code, state.oom_killed) = (0, false);
            state.pid = runtime.init().0;
            state.error.clear();
            state.started_at = now;
        });
        for mount in container
            .data
            .borrow()
            .mounts
            .iter()
            .filter(|mount| mount.point.kind == "volume")
        {
            let more = [
                ("container", container.id.clone()),
                ("destination", mount.point.destination.clone()),
                ("propagation", mount.point.propagation.clone()),
                ("read/write", mount.point.rw.to_string()),
            ];
            self.volume_event("mount", &mount.point.name, &more);
        }
        self.container_event(container, "start", &[]);
        self.begin_health(container);
        self.watch(container, runtime, pumps);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_api::error::Class;

    #[test]
    fn failures_have_dockers_exit_codes() {
        for (text, code, class) in [
            (
                "exec: \"foo\": executable file not found in $PATH",
                127,
                Class::InvalidParameter,
            ),
            (
                "exec: \"/x\": stat /x: no such file or directory",
                127,
                Class::InvalidParameter,
            ),
            (
                "exec: \"/etc\": is a directory",
                126,
                Class::InvalidParameter,
            ),
            (
                "exec: \"/etc/passwd\": permission denied",
                126,
                Class::InvalidParameter,
            ),
            ("something else", 128, Class::System),
        ] {
            let (exit_code, error) = start_failure(&RuntimeError::Create(text.to_string()));
            assert_eq!((exit_code, error.class), (code, class), "{text}");
            assert!(error.message.starts_with(
                "failed to create task for container: failed to create shim task: OCI runtime create \
                 failed: runc create failed: unable to start container process: "
            ));
            let end = error.message.trim_end_matches(": permission denied");
            assert!(
                end.ends_with(": unknown") || text.contains("passwd"),
                "{end}"
            );
        }
    }
}
