//! `POST /containers/{id}/update`: limits and restart policy.

use engine_api::error::{ApiError, Result};
use engine_api::json;
use engine_api::types::{HostConfig, UpdateBody};
use serve::Response;

use crate::Engine;
use crate::container::validate;
use crate::dispatch::Context;
use crate::spec::resources;

/// Why an update does not fit what the container has already.
fn conflict(host: &HostConfig, update: &UpdateBody) -> Option<&'static str> {
    let both = |new: i64, old: i64| new > 0 && old > 0;
    [
        (
            both(update.nano_cpus, host.cpu_period),
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        ),
        (
            both(update.nano_cpus, host.cpu_quota),
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
        ),
        (
            both(update.cpu_period, host.nano_cpus),
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        ),
        (
            both(update.cpu_quota, host.nano_cpus),
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
        // Without a limit so far there is none of swap either, and this holds.
        (
            update.memory != 0 && update.memory > host.memory_swap && update.memory_swap == 0,
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the \
             same time",
        ),
        (
            host.auto_remove && !matches!(update.restart_policy.name.as_str(), "" | "no"),
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        ),
    ]
    .into_iter()
    .find_map(|(wrong, text)| wrong.then_some(text))
}

/// Takes over what is set.
fn apply(host: &mut HostConfig, update: &UpdateBody) {
    for (place, value) in [
        (&mut host.cpu_shares, update.cpu_shares),
        (&mut host.memory, update.memory),
        (&mut host.cpu_period, update.cpu_period),
        (&mut host.cpu_quota, update.cpu_quota),
        (&mut host.memory_reservation, update.memory_reservation),
        (&mut host.memory_swap, update.memory_swap),
        (&mut host.nano_cpus, update.nano_cpus),
    ] {
        if value != 0 {
            *place = value;
        }
    }
    if update.blkio_weight != 0 {
        host.blkio_weight = update.blkio_weight;
    }
    if !update.cpuset_cpus.is_empty() {
        host.cpuset_cpus.clone_from(&update.cpuset_cpus);
    }
    if !update.cpuset_mems.is_empty() {
        host.cpuset_mems.clone_from(&update.cpuset_mems);
    }
    if update.pids_limit.is_some() {
        // 0 and less take the limit away.
        host.pids_limit = update
            .pids_limit
            .map(|limit| if limit > 0 { limit } else { -1 });
    }
    if !update.restart_policy.name.is_empty() {
        host.restart_policy = update.restart_policy.clone();
    }
}

impl Engine {
    /// The operation.
    pub(crate) async fn container_update(&self, mut context: Context) -> Result<Response> {
        let update: UpdateBody = context.json().await?;
        let mut alone = HostConfig::default();
        apply(&mut alone, &update);
        let warnings = validate::host_config(self, &mut alone, true)?;
        let container = self.find_container(context.param(0))?;
        let failed = |what: &str| format!("Cannot update container {}: {what}", container.id);
        let mut host = container.data.borrow().host_config.clone();
        if let Some(why) = conflict(&host, &update) {
            return Err(ApiError::conflict(failed(why)));
        }
        apply(&mut host, &update);
        if let Ok(runtime) = container.running() {
            runtime
                .update(&resources(&host))
                .map_err(|error| ApiError::system(failed(&error.to_string())))?;
        }
        container.update(&self.os, |data| data.host_config = host);
        self.container_event(&container, "update", &[]);
        Ok(json::emit(
            200,
            &serde_json::json!({ "Warnings": (!warnings.is_empty()).then_some(warnings) }),
        ))
    }
}
