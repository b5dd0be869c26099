//! `…/containers/{id}/checkpoints`, in experimental mode. runc asks CRIU for a checkpoint, and there is no CRIU
//! for this processor: what is said is what Docker says on a host without it.

use engine_api::error::{ApiError, Result};
use engine_api::json;
use serde::Deserialize;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;
use crate::state::Container;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Create {
    #[serde(rename = "CheckpointID")]
    id: String,
}

fn is_name(text: &str) -> bool {
    let mut letters = text.chars();
    let first = letters
        .next()
        .is_some_and(|letter| letter.is_ascii_alphanumeric());
    first
        && text.len() > 1
        && letters.all(|letter| letter.is_ascii_alphanumeric() || "_.-".contains(letter))
}

impl Engine {
    /// Cannot be done.
    pub(crate) async fn checkpoint_create(&self, mut context: Context) -> Result<Response> {
        let container = self.find_container(context.param(0))?;
        container.running()?;
        if container.tty() {
            return Err(ApiError::system(
                "checkpoint not supported on containers with tty",
            ));
        }
        let create: Create = context.json().await?;
        if !is_name(&create.id) {
            return Err(ApiError::system(format!(
                "Invalid checkpoint ID ({}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
                create.id
            )));
        }
        Err(ApiError::system(format!(
            "Cannot checkpoint container {}: runc did not terminate successfully: exit status 1: CRIU version check \
             failed: exec: \"criu\": executable file not found in $PATH path= \
             /run/containerd/io.containerd.runtime.v2.task/moby/{}/criu-dump.log: unknown",
            context.param(0),
            container.id
        )))
    }

    /// There are none.
    pub(crate) fn checkpoint_list(&self, context: &Context) -> Result<Response> {
        self.find_container(context.param(0))?;
        Ok(json::emit(200, &serde_json::json!([])))
    }

    /// None of them.
    pub(crate) fn checkpoint_delete(&self, context: &Context) -> Result<Response> {
        let container = self.find_container(context.param(0))?;
        Err(no_checkpoint(&container, context.param(1)))
    }

    /// What a start from a checkpoint leads to.
    pub(crate) fn check_checkpoint(&self, container: &Container, name: &str) -> Result<()> {
        match name {
            "" => Ok(()),
            _ if !self.settings.borrow().experimental => Err(ApiError::invalid(
                "checkpoint is only supported in experimental mode",
            )),
            name => Err(no_checkpoint(container, name)),
        }
    }
}

fn no_checkpoint(container: &Container, name: &str) -> ApiError {
    let container = container.name();
    ApiError::system(format!(
        "checkpoint {name} does not exist for container /{container}"
    ))
}
