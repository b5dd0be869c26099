//! The end of a container: exit code, restart policy, automatic removal.

use std::future::poll_fn;
use std::rc::Rc;

use clock::JoinHandle;
use engine_api::timestamp;
use futures_util::future::{Either, select};

use crate::Engine;
use crate::state::{Container, Data};

/// Nanoseconds the streams of an ended container may still take.
const DRAIN: u64 = 2_000_000_000;
/// The first delay of a restart; it doubles.
const DELAY_FIRST: u64 = 100_000_000;
/// The longest delay of a restart.
const DELAY_MAX: u64 = 60_000_000_000;
/// Who ran this long starts with the first delay again.
const DELAY_RESET: u64 = 10_000_000_000;

/// Whether the policy of `data` wants a restart after this end.
fn wants_restart(data: &Data, exit_code: i32) -> bool {
    let policy = &data.host_config.restart_policy;
    if data.has_been_manually_stopped {
        return false;
    }
    match policy.name.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => {
            exit_code != 0
                && (policy.maximum_retry_count == 0
                    || i64::from(data.restart_count) < policy.maximum_retry_count)
        }
        _ => false,
    }
}

/// `future`, or `None` when it takes longer.
pub(crate) async fn timeout<T>(
    clock: &clock::Clock,
    nanos: u64,
    future: impl Future<Output = T>,
) -> Option<T> {
    match select(std::pin::pin!(future), clock.sleep(nanos)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}

impl Engine {
    /// Waits for the end of a container that has been started.
    pub(crate) fn watch(
        &self,
        container: &Rc<Container>,
        runtime: Rc<runtime::Container>,
        pumps: Vec<JoinHandle<()>>,
    ) {
        let (engine, container) = (self.rc(), Rc::clone(container));
        let oom_watch = self.watch_memory(&container, &runtime);
        self.os.executor().spawn(async move {
            let exit_code = runtime.wait().await.unwrap_or(255);
            oom_watch.abort();
            engine.note_oom(&container, &runtime);
            // With a shared pid namespace, children that hold the streams outlive their parent.
            runtime.delete();
            for pump in pumps {
                let handle = std::pin::pin!(pump);
                timeout(&engine.os.clock(), DRAIN, handle).await;
            }
            engine.ended(&container, exit_code).await;
        });
    }

    /// Tells of every process of a container that is killed for memory when it is.
    fn watch_memory(
        &self,
        container: &Rc<Container>,
        runtime: &Rc<runtime::Container>,
    ) -> JoinHandle<()> {
        let (engine, container) = (self.rc(), Rc::clone(container));
        let runtime = Rc::clone(runtime);
        container.oom_kills.set(0);
        self.os.executor().spawn(async move {
            let Some(events) = runtime::cgroup::events(&engine.os, runtime.cgroup()) else {
                return;
            };
            loop {
                poll_fn(|cx| events.poll_change(cx)).await;
                // Reading arms it again; once the cgroup is gone there is nothing to tell.
                if events.read_at(0, &mut [0; 512]).is_err() {
                    return;
                }
                engine.note_oom(&container, &runtime);
            }
        })
    }

    /// Something of a container may have been killed for memory since the last look.
    fn note_oom(&self, container: &Rc<Container>, runtime: &runtime::Container) {
        let kills = runtime::cgroup::oom_kills(&self.os, runtime.cgroup());
        if kills > container.oom_kills.replace(kills) {
            container.update(&self.os, |data| data.state.oom_killed = true);
            self.container_event(container, "oom", &[]);
        }
    }

    async fn ended(&self, container: &Rc<Container>, exit_code: i32) {
        // A start that is still going on finishes first.
        let guard = container.lock.take().await;
        container.live.borrow_mut().take();
        container.log.flush();
        self.unmount_shm(container);
        self.unmount_images(container);
        let _ = self.store.unmount_container(&container.id);
        let now = self.now();
        let started = timestamp::parse_rfc3339(&container.data.borrow().state.started_at);
        let ran_for = now.saturating_sub(started.unwrap_or(now));
        let restart = wants_restart(&container.data.borrow(), exit_code)
            && !container.removed.get()
            && !self.is_ending();
        container.exits.set(container.exits.get() + 1);
        container.restart_cancelled.set(false);
        container.end_health();
        container.update(&self.os, |data| {
            data.restart_count += u32::from(restart);
            let state = &mut data.state;
            state.running = restart;
            state.restarting = restart;
            state.paused = false;
            state.pid = 0;
            state.exit_code = exit_code;
            state.finished_at = timestamp::format(now);
        });
        container.streams.end();
        self.say_networks(container, "disconnect");
        self.leave_networks(container);
        for mount in container
            .data
            .borrow()
            .mounts
            .iter()
            .filter(|mount| mount.point.kind == "volume")
        {
            let id = ("container", container.id.clone());
            self.volume_event("unmount", &mount.point.name, &[id]);
            self.unmount_volume(&mount.point.name);
        }
        self.container_event(
            container,
            "die",
            &[
                ("execDuration", (ran_for / 1_000_000_000).to_string()),
                ("exitCode", exit_code.to_string()),
            ],
        );
        drop(guard);
        if restart {
            self.restart_later(container, ran_for);
        } else if container.data.borrow().host_config.auto_remove && !self.is_away() {
            let (engine, container) = (self.rc(), Rc::clone(container));
            self.os.executor().spawn(async move {
                let _ = engine.remove(&container, true, true).await;
            });
        }
    }

    fn restart_later(&self, container: &Rc<Container>, ran_for: u64) {
        let delay = match container.restart_delay.get() {
            0 => DELAY_FIRST,
            _ if ran_for >= DELAY_RESET => DELAY_FIRST,
            delay => (delay * 2).min(DELAY_MAX),
        };
        container.restart_delay.set(delay);
        let (engine, container) = (self.rc(), Rc::clone(container));
        self.os.executor().spawn(async move {
            let cancelled = container.changed.wait_for(|| {
                (container.restart_cancelled.get() || container.removed.get()).then_some(())
            });
            let cancelled = timeout(&engine.os.clock(), delay, cancelled)
                .await
                .is_some();
            if cancelled {
                container.update(&engine.os, |data| {
                    data.state.running = false;
                    data.state.restarting = false;
                });
                return;
            }
            // Why it does not start is in its state.
            let _ = engine.start_again(&container).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let data = |name: &str, maximum, count| {
            let mut data = Data {
                restart_count: count,
                ..Data::default()
            };
            data.host_config.restart_policy.name = name.to_string();
            data.host_config.restart_policy.maximum_retry_count = maximum;
            data
        };
        for (name, maximum, count, exit_code, expected) in [
            ("", 0, 0, 1, false),
            ("no", 0, 0, 1, false),
            ("always", 0, 9, 0, true),
            ("unless-stopped", 0, 9, 0, true),
            ("on-failure", 0, 9, 1, true),
            ("on-failure", 0, 9, 0, false),
            ("on-failure", 3, 2, 1, true),
            ("on-failure", 3, 3, 1, false),
        ] {
            assert_eq!(
                wants_restart(&data(name, maximum, count), exit_code),
                expected,
                "{name}"
            );
        }
        let mut stopped = data("always", 0, 0);
        stopped.has_been_manually_stopped = true;
        assert!(!wants_restart(&stopped, 0));
    }
}
