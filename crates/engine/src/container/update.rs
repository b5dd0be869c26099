//! `POST /containers/{id}/update`: limits and restart policy.

use engine_api::error::{ApiError, Result};
use engine_api::json;
use engine_api::types::{HostConfig, UpdateBody};
use serve::Response;

use crate::Engine;
use crate::container::validate;
use crate::dispatch::Context;
use crate::spec::resources;

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
    if !update.cpuset_cpus.is_empty() {
        host.cpuset_cpus.clone_from(&update.cpuset_cpus);
    }
    if !update.cpuset_mems.is_empty() {
        host.cpuset_mems.clone_from(&update.cpuset_mems);
    }
    if update.pids_limit.is_some() {
        host.pids_limit = update.pids_limit;
    }
    if !update.restart_policy.name.is_empty() {
        host.restart_policy = update.restart_policy.clone();
    }
}

impl Engine {
    /// The operation.
    pub(crate) async fn container_update(&self, context: Context) -> Result<Response> {
        let container = self.find_container(context.param(0))?;
        let update: UpdateBody = json::read(context.body).await?;
        let failed = |what: String| {
            ApiError::conflict(format!("Cannot update container {}: {what}", container.id))
        };
        let mut host = container.data.borrow().host_config.clone();
        if update.memory > 0
            && host.memory_swap > 0
            && update.memory_swap == 0
            && update.memory > host.memory_swap
        {
            return Err(failed(
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at \
                 the same time"
                    .to_string(),
            ));
        }
        apply(&mut host, &update);
        if host.auto_remove && !matches!(host.restart_policy.name.as_str(), "" | "no") {
            return Err(ApiError::conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        validate::host_config(self, &host)?;
        if let Ok(runtime) = container.running() {
            runtime
                .update(&resources(&host))
                .map_err(|error| failed(error.to_string()))?;
        }
        container.update(&self.os, |data| data.host_config = host);
        self.container_event(&container, "update", &[]);
        Ok(json::emit(200, &serde_json::json!({ "Warnings": [] })))
    }
}
