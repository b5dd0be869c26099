//! What Docker refuses in a host configuration, with its words.

use engine_api::error::{ApiError, Result};
use engine_api::types::{Config, HostConfig, LogConfig};
use oci::Healthcheck;
use os::{OsExt, View};

use crate::Engine;

/// Docker's lowest memory limit.
const MEMORY_MIN: i64 = 6 << 20;

fn refuse<T>(text: impl Into<String>) -> Result<T> {
    Err(ApiError::invalid(text))
}

/// What the daemon says beside the answer, one line each.
type Warnings = Vec<String>;

/// Checks a container's own part: working directory (which it cleans), stop signal, environment and
/// health check.
pub(crate) fn config(config: &mut Config) -> Result<()> {
    if !config.working_dir.is_empty() {
        if !config.working_dir.starts_with('/') {
            return refuse(format!(
                "the working directory '{}' is invalid, it needs to be an absolute path",
                config.working_dir
            ));
        }
        config.working_dir = runtime::path::clean(&config.working_dir);
    }
    if !config.stop_signal.is_empty() {
        // A number is taken as it is; whether there is such a signal is seen when it is sent.
        let number = config.stop_signal.parse::<i64>();
        if number.unwrap_or(0) == 0 {
            engine_api::container::kill::parse_signal(&config.stop_signal)?;
        }
    }
    for entry in config.env.iter().flatten() {
        if entry.is_empty() || entry.starts_with('=') {
            return refuse(format!("invalid environment variable: {entry}"));
        }
    }
    config.healthcheck.as_ref().map_or(Ok(()), health)
}

fn health(check: &Healthcheck) -> Result<()> {
    const MINIMUM: i64 = 1_000_000;
    for (value, what) in [
        (check.interval, "Interval"),
        (check.timeout, "Timeout"),
        (check.start_period, "StartPeriod"),
        (check.start_interval, "StartInterval"),
    ] {
        if value != 0 && value < MINIMUM {
            return refuse(format!("{what} in Healthcheck cannot be less than 1ms"));
        }
    }
    match check.retries < 0 {
        true => refuse("Retries in Healthcheck cannot be negative"),
        false => Ok(()),
    }
}

/// Which settings go together with the network mode and with the UTS namespace.
pub(crate) fn modes(config: &Config, host: &HostConfig) -> Result<()> {
    let mode = &host.network_mode;
    if mode == "host" && host.links.as_ref().is_some_and(|links| !links.is_empty()) {
        return refuse(
            "conflicting options: host type networking can't be used with links. This would result in undefined \
             behavior",
        );
    }
    if let Some(other) = mode.strip_prefix("container") {
        let other = match other.strip_prefix(':') {
            Some(name) => name,
            None if other.is_empty() => "",
            None => return Ok(()),
        };
        let set = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        for (wrong, text) in [
            (
                other.is_empty(),
                "invalid network mode: invalid container format container:<name|id>",
            ),
            (
                !config.hostname.is_empty(),
                "conflicting options: hostname and the network mode",
            ),
            (
                set(&host.links),
                "conflicting options: container type network can't be used with links. This would result in \
                 undefined behavior",
            ),
            (
                set(&host.dns),
                "conflicting options: dns and the network mode",
            ),
            (
                set(&host.extra_hosts),
                "conflicting options: custom host-to-IP mapping and the network mode",
            ),
            (
                !host.port_bindings.is_empty() || host.publish_all_ports,
                "conflicting options: port publishing and the container type network mode",
            ),
            (
                config
                    .exposed_ports
                    .as_ref()
                    .is_some_and(|ports| !ports.is_empty()),
                "conflicting options: port exposing and the container type network mode",
            ),
        ] {
            if wrong {
                return refuse(text);
            }
        }
    }
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return refuse("conflicting options: hostname and the UTS mode");
    }
    Ok(())
}

/// Checks limits, policies and modes; settings this kernel has no use for are taken out, with a warning.
pub(crate) fn host_config(
    engine: &Engine,
    host: &mut HostConfig,
    update: bool,
) -> Result<Warnings> {
    if host.auto_remove && !matches!(host.restart_policy.name.as_str(), "" | "no") {
        return refuse("can't create 'AutoRemove' container with restart policy");
    }
    for entry in host.extra_hosts.iter().flatten() {
        extra_host(entry)?;
    }
    crate::network::ports::check(host)?;
    restart_policy(host)?;
    for (list, what) in [(&host.cap_add, "CapAdd"), (&host.cap_drop, "CapDrop")] {
        for name in list.iter().flatten() {
            if !name.eq_ignore_ascii_case("ALL") && runtime::capabilities::parse(name).is_none() {
                let name = name.to_ascii_uppercase();
                let name = name.strip_prefix("CAP_").unwrap_or(&name);
                return refuse(format!(
                    "invalid {what}: unknown capability: \"CAP_{name}\""
                ));
            }
        }
    }
    if !matches!(host.isolation.as_str(), "" | "default") {
        return refuse(format!(
            "invalid isolation ({}): linux only supports 'default'",
            host.isolation
        ));
    }
    if host
        .annotations
        .iter()
        .flatten()
        .any(|(key, _)| key.is_empty())
    {
        return refuse(
            "invalid Annotations: the empty string is not permitted as an annotation key",
        );
    }
    let mut warnings = Warnings::new();
    memory(host, update, &mut warnings)?;
    cpus(engine, host)?;
    cpusets(engine, host)?;
    if host.blkio_weight != 0 && !(10..=1000).contains(&host.blkio_weight) {
        return refuse("Range of blkio weight is from 10 to 1000");
    }
    namespaces(host)?;
    if host.shm_size < 0 {
        return refuse("SHM size can not be less than 0");
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return refuse(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        ));
    }
    if host.network_mode == "host" && !host.port_bindings.is_empty() {
        warnings.push("Published ports are discarded when using host network mode".to_string());
    }
    let runtimes = ["", "runc", "io.containerd.runc.v2"];
    if let Some(name) = Some(host.runtime.as_str()).filter(|name| !runtimes.contains(name)) {
        return refuse(format!("unknown or invalid runtime name: {name}"));
    }
    Ok(warnings)
}

/// `NAME:ADDRESS`.
fn extra_host(entry: &str) -> Result<()> {
    let Some((name, address)) = entry
        .split_once([':', '='])
        .filter(|(name, _)| !name.is_empty())
    else {
        return refuse(format!("bad format for add-host: \"{entry}\""));
    };
    let _ = name;
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    match address == "host-gateway" || bare.parse::<std::net::IpAddr>().is_ok() {
        true => Ok(()),
        false => refuse(format!("invalid IP address in add-host: \"{address}\"")),
    }
}

fn namespaces(host: &HostConfig) -> Result<()> {
    let of_container = |mode: &str| {
        mode.strip_prefix("container:")
            .is_some_and(|name| !name.is_empty())
    };
    let known = |mode: &String, list: &[&str]| mode.is_empty() || list.contains(&mode.as_str());
    let ipc = &host.ipc_mode;
    if !known(ipc, &["none", "private", "host", "shareable"]) && !of_container(ipc) {
        return refuse(format!("invalid IPC mode: {ipc}"));
    }
    let pid = &host.pid_mode;
    if !known(pid, &["host"]) && !of_container(pid) {
        return refuse(format!("invalid PID mode: {pid}"));
    }
    if !known(&host.uts_mode, &["host"]) {
        return refuse(format!("invalid UTS mode: {}", host.uts_mode));
    }
    if !known(&host.cgroupns_mode, &["private", "host"]) {
        return refuse(format!(
            "invalid cgroup namespace mode: {}",
            host.cgroupns_mode
        ));
    }
    Ok(())
}

/// Options of `--security-opt`.
pub(crate) fn security_options(host: &HostConfig) -> Result<()> {
    for option in host.security_opt.iter().flatten() {
        if matches!(option.as_str(), "no-new-privileges" | "disable") {
            continue;
        }
        let Some((key, value)) = option.split_once('=').or_else(|| option.split_once(':')) else {
            return Err(ApiError::system(format!(
                "invalid --security-opt 1: \"{option}\""
            )));
        };
        let known = match key {
            "label" | "apparmor" | "seccomp" => true,
            "no-new-privileges" | "writable-cgroups" => parse_bool(value).is_some(),
            _ => false,
        };
        if !known {
            return Err(ApiError::system(format!(
                "invalid --security-opt 2: \"{option}\""
            )));
        }
    }
    Ok(())
}

/// A boolean as Go's `strconv.ParseBool` takes it.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Options of the log drivers of Docker.
const LOG_OPTIONS: [(&str, &str); 9] = [
    (
        "json-file",
        "max-file max-size compress labels labels-regex env env-regex tag",
    ),
    ("local", "max-file max-size compress"),
    (
        "syslog",
        "env env-regex labels labels-regex syslog-address syslog-facility syslog-tls-ca-cert syslog-tls-cert \
         syslog-tls-key syslog-tls-skip-verify tag syslog-format",
    ),
    (
        "fluentd",
        "env env-regex labels labels-regex tag fluentd-address fluentd-async fluentd-async-reconnect-interval \
         fluentd-buffer-limit fluentd-max-retries fluentd-request-ack fluentd-retry-wait \
         fluentd-sub-second-precision fluentd-write-timeout",
    ),
    (
        "gelf",
        "gelf-address tag labels labels-regex env env-regex gelf-compression-level gelf-compression-type \
         gelf-tcp-max-reconnect gelf-tcp-reconnect-delay",
    ),
    (
        "awslogs",
        "tag awslogs-region awslogs-endpoint awslogs-group awslogs-stream awslogs-create-group \
         awslogs-create-stream awslogs-datetime-format awslogs-multiline-pattern \
         awslogs-credentials-endpoint awslogs-force-flush-interval-seconds \
         awslogs-max-buffered-events awslogs-format",
    ),
    (
        "splunk",
        "splunk-url splunk-token splunk-source splunk-sourcetype splunk-index splunk-capath splunk-caname \
         splunk-insecureskipverify splunk-format splunk-verify-connection splunk-gzip splunk-gzip-level \
         splunk-index-acknowledgment env env-regex labels labels-regex tag",
    ),
    ("journald", "labels labels-regex env env-regex tag"),
    (
        "gcplogs",
        "env env-regex labels labels-regex gcp-project gcp-log-cmd gcp-meta-zone gcp-meta-name gcp-meta-id",
    ),
];

/// Driver and options of the log.
pub(crate) fn log_config(log: &LogConfig) -> Result<()> {
    let kind = match log.kind.as_str() {
        "" => "json-file",
        "none" => return Ok(()),
        kind => kind,
    };
    let known = LOG_OPTIONS.iter().find(|(name, _)| *name == kind);
    let Some((_, known)) = known else {
        return refuse(format!(
            "error looking up logging plugin {kind}: plugin \"{kind}\" not found"
        ));
    };
    let option = |name: &str| log.config.get(name).map(String::as_str);
    let non_blocking = match option("mode") {
        None | Some("" | "blocking") => false,
        Some("non-blocking") => true,
        Some(mode) => return refuse(format!("logger: logging mode not supported: {mode}")),
    };
    if let Some(size) = option("max-buffer-size") {
        if !non_blocking {
            return refuse(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            );
        }
        if crate::logs::parse_size(size).is_none() {
            return refuse(format!(
                "error parsing option max-buffer-size: invalid size: '{size}'"
            ));
        }
    }
    for name in log.config.keys() {
        let common = matches!(name.as_str(), "mode" | "max-buffer-size");
        if !common && !known.split_whitespace().any(|known| known == name) {
            return refuse(match kind {
                "local" => format!("unknown log opt '{name}' for log driver local"),
                kind => format!("unknown log opt '{name}' for {kind} log driver"),
            });
        }
    }
    match kind {
        "awslogs" if option("awslogs-group").is_none() => {
            refuse("must specify a value for log opt 'awslogs-group'")
        }
        "gelf" if option("gelf-address").is_none() => {
            refuse("gelf-address is a required parameter")
        }
        _ => Ok(()),
    }
}

fn memory(host: &mut HostConfig, update: bool, warnings: &mut Warnings) -> Result<()> {
    // Clients send -1 for "not said".
    host.memory_swappiness = host.memory_swappiness.filter(|&value| value != -1);
    if host.memory != 0 && host.memory < MEMORY_MIN {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if host.memory > 0 && host.memory_swap > 0 && host.memory_swap < host.memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if host.memory == 0 && host.memory_swap > 0 && !update {
        return refuse(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    // Control groups version 2 have neither.
    if host.memory_swappiness.take().is_some() {
        warnings.push(
            "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory \
             swappiness discarded."
                .to_string(),
        );
    }
    if host.oom_kill_disable.take() == Some(true) {
        warnings.push(
            "Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_string(),
        );
    }
    if host.memory_reservation > 0 && host.memory_reservation < MEMORY_MIN {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if host.memory > 0 && host.memory_reservation > host.memory {
        return refuse(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    Ok(())
}

fn cpus(engine: &Engine, host: &HostConfig) -> Result<()> {
    if host.nano_cpus > 0 && host.cpu_period > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if host.nano_cpus > 0 && host.cpu_quota > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    let count = engine.cpu_count();
    if host.nano_cpus < 0 || host.nano_cpus > i64::from(count) * 1_000_000_000 {
        return refuse(format!(
            "range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
        ));
    }
    if host.cpu_shares < 0 {
        return refuse(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            host.cpu_shares
        ));
    }
    if host.cpu_realtime_period != 0 || host.cpu_realtime_runtime != 0 {
        return refuse("kernel does not support CPU real-time scheduler");
    }
    if host.cpu_period != 0 && !(1000..=1_000_000).contains(&host.cpu_period) {
        return refuse(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if host.cpu_quota > 0 && host.cpu_quota < 1000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    Ok(())
}

/// Numbers of a list such as `0-2,7`.
fn number_list(text: &str) -> Option<std::collections::BTreeSet<u32>> {
    const MAXIMUM: u32 = 8192;
    let mut numbers = std::collections::BTreeSet::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let number = |text: &str| text.parse::<u32>().ok().filter(|&number| number <= MAXIMUM);
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if last < first {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

fn cpusets(engine: &Engine, host: &HostConfig) -> Result<()> {
    let cpus = match engine.cpu_count() {
        1 => "0".to_string(),
        count => format!("0-{}", count - 1),
    };
    for (wanted, available, word, what) in [
        (&host.cpuset_cpus, cpus, "CPUs", "cpus"),
        (&host.cpuset_mems, "0".to_string(), "memory nodes", "mems"),
    ] {
        let Some(numbers) = number_list(wanted) else {
            return refuse(format!(
                "Invalid value {wanted} for cpuset {what}: invalid format: {wanted}"
            ));
        };
        if !number_list(&available).is_some_and(|known| numbers.is_subset(&known)) {
            return refuse(format!(
                "Requested {word} are not available - requested {wanted}, available: {available}"
            ));
        }
    }
    Ok(())
}

fn restart_policy(host: &HostConfig) -> Result<()> {
    let policy = &host.restart_policy;
    match policy.name.as_str() {
        "" | "no" | "always" | "unless-stopped" => {
            if policy.maximum_retry_count != 0 {
                let more = match policy.maximum_retry_count < 0 {
                    true => " and cannot be negative",
                    false => "",
                };
                return refuse(format!(
                    "invalid restart policy: maximum retry count can only be used with 'on-failure'{more}"
                ));
            }
        }
        "on-failure" => {
            if policy.maximum_retry_count < 0 {
                return refuse("invalid restart policy: maximum retry count cannot be negative");
            }
        }
        other => {
            return refuse(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or \
                 'unless-stopped'"
            ));
        }
    }
    Ok(())
}

impl Engine {
    /// CPUs of the machine.
    pub(crate) fn cpu_count(&self) -> u32 {
        let text = self
            .os
            .read_file_now(View::Host, b"/proc/cpuinfo")
            .unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        (text
            .lines()
            .filter(|line| line.starts_with("processor"))
            .count() as u32)
            .max(1)
    }
}
