//! Health checks: a command in the container, again and again, and what its exit codes mean.
//!
//! A monitor runs while its container does and is not frozen. Whoever stops it raises the container's
//! `health_turn`; a monitor whose turn is over ends by itself.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use engine_api::timestamp;
use engine_api::types::{Config, ExecConfig, Health, HealthResult};
use futures_util::future::{Either, select};
use oci::Healthcheck;
use os::TaskId;

use crate::Engine;
use crate::exec::Exec;
use crate::monitor::timeout;
use crate::state::Container;
use crate::streams::Streams;

const SECOND: u64 = 1_000_000_000;
/// Between two probes, and how long one may take, when nothing is said.
const INTERVAL: u64 = 30 * SECOND;
/// Failures in a row that make a container unhealthy, when nothing is said.
const RETRIES: i64 = 3;
/// Results that are kept.
const RESULTS_MAX: usize = 5;
/// Bytes of a probe's output that are kept.
const OUTPUT_MAX: usize = 4096;
/// Nanoseconds a killed probe may take to end.
const KILL_PATIENCE: u64 = 2 * SECOND;

const STARTING: &str = "starting";

/// The command of a check, or `None` when there is none to run.
fn command(config: &Config) -> Option<Vec<String>> {
    let (kind, rest) = config.healthcheck.as_ref()?.test.split_first()?;
    match kind.as_str() {
        "CMD" => Some(rest.to_vec()),
        "CMD-SHELL" => {
            let shell = config.shell.clone().filter(|shell| !shell.is_empty());
            let mut all = shell.unwrap_or_else(|| vec!["/bin/sh".to_string(), "-c".to_string()]);
            all.extend_from_slice(rest);
            Some(all)
        }
        _ => None,
    }
}

fn or_default(nanos: i64, default: u64) -> u64 {
    match u64::try_from(nanos) {
        Ok(nanos @ 1..) => nanos,
        _ => default,
    }
}

/// What a result does to a container's health.
fn judge(health: &mut Health, check: &Healthcheck, started: u64, begun: u64, result: HealthResult) {
    let exit_code = result.exit_code;
    let log = health.log.get_or_insert_default();
    log.push(result);
    let excess = log.len().saturating_sub(RESULTS_MAX);
    log.drain(..excess);
    if exit_code == 0 {
        health.failing_streak = 0;
        health.status = "healthy".to_string();
        return;
    }
    let grace = or_default(check.start_period, 0);
    if health.status == STARTING && begun.saturating_sub(started) < grace {
        return;
    }
    health.failing_streak += 1;
    let retries = if check.retries > 0 {
        check.retries
    } else {
        RETRIES
    };
    if health.failing_streak >= retries {
        health.status = "unhealthy".to_string();
    }
}

/// A time span as Go prints it.
fn go_duration(nanos: u64) -> String {
    let (minutes, seconds) = (nanos / (60 * SECOND), nanos % (60 * SECOND));
    let (unit, name) = match seconds {
        SECOND.. => (SECOND, "s"),
        _ if minutes > 0 || nanos == 0 => (SECOND, "s"),
        1_000_000.. => (1_000_000, "ms"),
        1000.. => (1000, "µs"),
        _ => (1, "ns"),
    };
    let fraction = seconds % unit;
    let digits = unit.ilog10() as usize;
    let mut text = format!("{}", seconds / unit);
    if fraction > 0 {
        let padded = format!("{fraction:0digits$}");
        text = format!("{text}.{}", padded.trim_end_matches('0'));
    }
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{text}{name}"),
        (0, minutes) => format!("{minutes}m{text}{name}"),
        (hours, minutes) => format!("{hours}h{minutes}m{text}{name}"),
    }
}

impl Engine {
    /// The container has been started: its health is unknown again.
    pub(crate) fn begin_health(&self, container: &Rc<Container>) {
        if command(&container.data.borrow().config).is_none() {
            return;
        }
        container.update(&self.os, |data| {
            let health = data.state.health.get_or_insert_default();
            health.status = STARTING.to_string();
            health.failing_streak = 0;
        });
        self.watch_health(container);
    }

    /// Runs the monitor of a container that has a health; one that runs already ends.
    pub(crate) fn watch_health(&self, container: &Rc<Container>) {
        let turn = container.end_health();
        let (command, check) = {
            let data = container.data.borrow();
            match (command(&data.config), &data.config.healthcheck) {
                (Some(command), Some(check)) if data.state.health.is_some() => {
                    (command, check.clone())
                }
                _ => return,
            }
        };
        let (engine, container) = (self.rc(), Rc::clone(container));
        self.os.executor().spawn(async move {
            while engine.health_turn(&container, turn, &check, &command).await {}
        });
    }

    /// Waits for the next probe and takes it; false when the monitor's time is over.
    async fn health_turn(
        &self,
        container: &Rc<Container>,
        turn: u64,
        check: &Healthcheck,
        command: &[String],
    ) -> bool {
        let over = || container.health_turn.get() != turn || container.removed.get();
        let started = {
            let data = container.data.borrow();
            timestamp::parse_rfc3339(&data.state.started_at).unwrap_or(0)
        };
        let starting = {
            let data = container.data.borrow();
            data.state
                .health
                .as_ref()
                .is_some_and(|health| health.status == STARTING)
        };
        let interval = or_default(check.interval, INTERVAL);
        let grace = or_default(check.start_period, 0);
        let in_grace = self.now().saturating_sub(started) < grace;
        let wait = match in_grace && starting {
            true => or_default(check.start_interval, interval),
            false => interval,
        };
        let ended = container.changed.wait_for(|| over().then_some(()));
        if timeout(&self.os.clock(), wait, ended).await.is_some() {
            return false;
        }
        let begun = self.now();
        let probe = std::pin::pin!(self.probe(container, check, command));
        let ended = std::pin::pin!(container.changed.wait_for(|| over().then_some(())));
        let Either::Left(((exit_code, output), _)) = select(probe, ended).await else {
            return false;
        };
        let result = HealthResult {
            start: timestamp::format(begun),
            end: timestamp::format(self.now()),
            exit_code,
            output,
        };
        let changed = container.update(&self.os, |data| {
            let health = data.state.health.get_or_insert_default();
            let before = health.status.clone();
            judge(health, check, started, begun, result);
            (before != health.status).then(|| health.status.clone())
        });
        if let Some(status) = changed {
            self.container_event(container, &format!("health_status: {status}"), &[]);
        }
        true
    }

    /// Runs the command once: its exit code and output.
    async fn probe(
        &self,
        container: &Rc<Container>,
        check: &Healthcheck,
        command: &[String],
    ) -> (i32, String) {
        let config = ExecConfig {
            attach_stdout: true,
            attach_stderr: true,
            cmd: Some(command.to_vec()),
            ..ExecConfig::default()
        };
        let exec = self.new_exec(container, config);
        let attached = exec.streams.attach(true, true);
        let outcome = self.exec_run(container, &exec, None).await;
        if let Err(error) = outcome {
            self.forget_exec(&exec);
            return (-1, error.message);
        }
        let mut output = Vec::new();
        let limit = or_default(check.timeout, INTERVAL);
        let reading = async {
            while let Some((_, bytes)) = attached.0.next().await {
                let room = OUTPUT_MAX.saturating_sub(output.len()).min(bytes.len());
                output.extend_from_slice(&bytes[..room]);
            }
        };
        let clock = self.os.clock();
        let ended = timeout(&clock, limit, reading).await.is_some();
        if !ended {
            let _ = self.os.kill(TaskId(exec.pid.get()), 9);
            let rest = async { while attached.0.next().await.is_some() {} };
            timeout(&clock, KILL_PATIENCE, rest).await;
        }
        self.forget_exec(&exec);
        let output = String::from_utf8_lossy(&output).into_owned();
        match (ended, output.as_str()) {
            (true, _) => (exec.exit_code.get().unwrap_or(-1), output),
            (false, "") => (
                -1,
                format!("Health check exceeded timeout ({})", go_duration(limit)),
            ),
            (false, text) => (
                -1,
                format!(
                    "Health check exceeded timeout ({}): {text}",
                    go_duration(limit)
                ),
            ),
        }
    }

    /// A process that is to be started in a container, and known under its id.
    pub(crate) fn new_exec(&self, container: &Container, config: ExecConfig) -> Rc<Exec> {
        let id = self.os.rng().hex(32);
        let exec = Rc::new(Exec {
            id: id.clone(),
            container: container.id.clone(),
            config,
            running: Cell::default(),
            started: Cell::default(),
            exit_code: Cell::default(),
            pid: Cell::default(),
            console: RefCell::default(),
            streams: Streams::default(),
        });
        let action = format!("exec_create: {}", exec.command());
        self.container_event(container, &action, &[("execID", id)]);
        self.remember_exec(&exec);
        exec
    }
}

impl Container {
    /// Ends the monitor that runs, if one does; gives the number of the next.
    pub(crate) fn end_health(&self) -> u64 {
        self.health_turn.set(self.health_turn.get() + 1);
        self.changed.wake_all();
        self.health_turn.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streaks() {
        let check = Healthcheck {
            retries: 2,
            start_period: 10,
            ..Healthcheck::default()
        };
        let mut health = Health {
            status: STARTING.to_string(),
            ..Health::default()
        };
        for (begun, exit_code, streak, status) in [
            (5, 1, 0, "starting"),
            (15, 1, 1, "starting"),
            (16, 1, 2, "unhealthy"),
            (17, 0, 0, "healthy"),
            (18, 1, 1, "healthy"),
            (19, 2, 2, "unhealthy"),
        ] {
            let result = HealthResult {
                exit_code,
                ..HealthResult::default()
            };
            judge(&mut health, &check, 0, begun, result);
            assert_eq!(
                (health.failing_streak, health.status.as_str()),
                (streak, status)
            );
        }
        assert_eq!(health.log.map(|log| log.len()), Some(RESULTS_MAX));
    }

    #[test]
    fn durations() {
        for (nanos, text) in [
            (30 * SECOND, "30s"),
            (90 * SECOND, "1m30s"),
            (3600 * SECOND, "1h0m0s"),
            (1_500_000_000, "1.5s"),
            (250_000_000, "250ms"),
            (0, "0s"),
        ] {
            assert_eq!(go_duration(nanos), text);
        }
    }

    #[test]
    fn commands() {
        let config = |test: &[&str]| Config {
            healthcheck: Some(Healthcheck {
                test: test.iter().map(ToString::to_string).collect(),
                ..Healthcheck::default()
            }),
            ..Config::default()
        };
        assert_eq!(command(&config(&["CMD", "a", "b"])).unwrap(), ["a", "b"]);
        assert_eq!(
            command(&config(&["CMD-SHELL", "a b"])).unwrap(),
            ["/bin/sh", "-c", "a b"]
        );
        assert_eq!(command(&config(&["NONE"])), None);
        assert_eq!(command(&Config::default()), None);
    }
}
