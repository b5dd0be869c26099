//! `/plugins`: an engine that has none and knows of none.

use engine_api::error::{ApiError, Result};
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// What needs a plugin that is there.
    pub(crate) fn plugin_change(&self, context: &Context) -> Result<Response> {
        Err(ApiError::not_found(format!(
            "plugin {:?} not found",
            context.param(0)
        )))
    }

    /// What fetches one: registries here have images only.
    pub(crate) fn plugin_pull(&self, context: &Context) -> Result<Response> {
        let remote = context.query.text("remote");
        if remote.is_empty() {
            return Err(ApiError::invalid("invalid reference format"));
        }
        Err(ApiError::not_found(format!(
            "pull access denied for {remote}, repository does not exist or may require 'docker login'"
        )))
    }
}
