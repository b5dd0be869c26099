//! What Docker refuses in a host configuration, with its words.

use engine_api::error::{ApiError, Result};
use engine_api::types::HostConfig;
use os::{OsExt, View};

use crate::Engine;

/// Docker's lowest memory limit.
const MEMORY_MIN: i64 = 6 << 20;

fn refuse<T>(text: impl Into<String>) -> Result<T> {
    Err(ApiError::invalid(text))
}

/// Checks limits, policies and modes.
pub(crate) fn host_config(engine: &Engine, host: &HostConfig) -> Result<()> {
    memory(host)?;
    cpus(engine, host)?;
    restart_policy(host)?;
    if !matches!(
        host.log_config.kind.as_str(),
        "" | "json-file" | "none" | "local"
    ) {
        return refuse(format!(
            "logger: no log driver named '{}' is registered",
            host.log_config.kind
        ));
    }
    if host.shm_size < 0 {
        return refuse("SHM size can not be less than 0");
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return refuse(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        ));
    }
    if let Some(name) = Some(host.runtime.as_str()).filter(|name| !matches!(*name, "" | "runc")) {
        return refuse(format!("unknown or invalid runtime name: {name}"));
    }
    for (list, what) in [(&host.cap_add, "CapAdd"), (&host.cap_drop, "CapDrop")] {
        for name in list.iter().flatten() {
            if !name.eq_ignore_ascii_case("ALL") && runtime::capabilities::parse(name).is_none() {
                return refuse(format!("invalid {what}: unknown capability: \"{name}\""));
            }
        }
    }
    let published = host
        .port_bindings
        .values()
        .any(|bindings| !bindings.is_empty());
    if published && !matches!(host.network_mode.as_str(), "host" | "none") {
        return Err(ApiError::not_implemented(
            "publishing ports is not supported by this version of Drydock: containers have no network yet \
             (only --network none and --network host)",
        ));
    }
    Ok(())
}

fn memory(host: &HostConfig) -> Result<()> {
    if host.memory != 0 && host.memory < MEMORY_MIN {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if host.memory > 0 && host.memory_swap > 0 && host.memory_swap < host.memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if host.memory == 0 && host.memory_swap > 0 {
        return refuse(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
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

fn restart_policy(host: &HostConfig) -> Result<()> {
    let policy = &host.restart_policy;
    match policy.name.as_str() {
        "" | "no" | "always" | "unless-stopped" => {
            if policy.maximum_retry_count != 0 {
                return refuse(
                    "invalid restart policy: maximum retry count can only be used with 'on-failure'",
                );
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
    if host.auto_remove && !matches!(policy.name.as_str(), "" | "no") {
        return refuse("can't create 'AutoRemove' container with restart policy");
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
