//! `POST /containers/{id}/stop`: ask, wait, kill.

use std::rc::Rc;

use engine_api::container::kill::parse_signal;
use engine_api::container::stop::Stop;
use engine_api::error::{ApiError, Result};
use engine_api::json;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;
use crate::monitor::timeout;
use crate::state::Container;

const SECOND: u64 = 1_000_000_000;
/// Seconds before a container is killed when nothing else is said.
const TIMEOUT: i64 = 10;
/// Nanoseconds a killed container may take to end.
const KILL_PATIENCE: u64 = 10 * SECOND;
const SIGTERM: u32 = 15;
const SIGKILL: u32 = 9;

impl Engine {
    /// The operation.
    pub(crate) async fn container_stop(&self, context: Context) -> Result<Response> {
        let container = self.find_container(context.param(0))?;
        let stop = Stop::parse(&context.query)?;
        if !container.is_running() {
            return Err(ApiError::not_modified());
        }
        self.stop(&container, stop).await.map_err(|error| {
            ApiError::system(format!(
                "cannot stop container: {}: {}",
                context.param(0),
                error.message
            ))
        })?;
        Ok(json::no_content())
    }

    /// The signal `docker stop` sends to a container.
    pub(crate) fn stop_signal(container: &Container) -> u32 {
        parse_signal(&container.data.borrow().config.stop_signal).unwrap_or(SIGTERM)
    }

    /// Stops a container that runs.
    pub(crate) async fn stop(&self, container: &Rc<Container>, stop: Stop) -> Result<()> {
        let signal = match stop.signal {
            Some(signal) => signal?,
            None => Engine::stop_signal(container),
        };
        self.note_manual_stop(container);
        self.cancel_restart(container);
        let configured = container.data.borrow().config.stop_timeout;
        let seconds = stop.timeout.or(configured).unwrap_or(TIMEOUT);
        // One that has just ended is what was asked for.
        let _ = self.signal(container, signal);
        let clock = self.os.clock();
        let stopped = match u64::try_from(seconds) {
            Ok(seconds) => {
                timeout(
                    &clock,
                    seconds.saturating_mul(SECOND),
                    container.wait_stopped(),
                )
                .await
            }
            Err(_) => {
                container.wait_stopped().await;
                Some(())
            }
        };
        if stopped.is_none() {
            self.kill_and_wait(container).await?;
        }
        self.container_event(container, "stop", &[]);
        Ok(())
    }

    /// Somebody wants it stopped; a daemon that ends wants nothing.
    fn note_manual_stop(&self, container: &Container) {
        if !self.is_ending() {
            container.update(&self.os, |data| data.has_been_manually_stopped = true);
        }
    }

    /// Keeps a restart that is pending from happening.
    pub(crate) fn cancel_restart(&self, container: &Container) {
        if container.data.borrow().state.restarting {
            container.restart_cancelled.set(true);
            container.changed.wake_all();
        }
    }

    /// Kills a container and waits for its end.
    pub(crate) async fn kill_and_wait(&self, container: &Rc<Container>) -> Result<()> {
        self.note_manual_stop(container);
        self.cancel_restart(container);
        let _ = self.signal(container, SIGKILL);
        timeout(&self.os.clock(), KILL_PATIENCE, container.wait_stopped())
            .await
            .ok_or_else(|| {
                ApiError::system("tried to kill container, but did not receive an exit event")
            })
    }
}
