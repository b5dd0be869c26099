//! `/plugins`: an engine that has none and knows of none.

use engine_api::error::{ApiError, Result};
use engine_api::{Filters, Operation, json};
use oci::Reference;
use serde_json::Value;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

/// Errors without a class, as most of Docker's here.
fn reference(text: &str) -> Result<Reference> {
    Reference::parse(text).map_err(|error| ApiError::system(error.to_string()))
}

impl Engine {
    /// The list.
    pub(crate) fn plugin_list(&self, context: &Context) -> Result<Response> {
        Filters::parse(context.query.text("filters"))?.accept(&["enabled", "capability"])?;
        Ok(json::emit(200, &[0_u8; 0]))
    }

    /// What needs a plugin that is there.
    pub(crate) async fn plugin_change(
        &self,
        operation: Operation,
        mut context: Context,
    ) -> Result<Response> {
        let name = context.param(0).to_string();
        let mut shown = name.clone();
        match operation {
            Operation::PluginEnable => {
                let timeout = context.query.text("timeout");
                if timeout.parse::<i64>().is_err() {
                    return Err(ApiError::system(format!(
                        "strconv.Atoi: parsing \"{timeout}\": invalid syntax"
                    )));
                }
            }
            Operation::PluginUpgrade => {
                reference(context.query.text("remote"))?;
                shown =
                    Reference::parse(&name).map_or(name, |name| name.with_default_tag().familiar());
            }
            Operation::PluginSet => {
                let _: Value = json::parse_value(&context.document().await?)?;
            }
            _ => {}
        }
        Err(ApiError::not_found(format!("plugin {shown:?} not found")))
    }

    /// What fetches one: registries here have images only.
    pub(crate) async fn plugin_pull(&self, mut context: Context) -> Result<Response> {
        let remote = reference(context.query.text("remote"))?;
        let _: Value = json::parse_or_default(&context.document().await?)?;
        let name = remote.with_default_tag();
        Err(ApiError::not_found(format!(
            "error resolving plugin reference: {}: not found",
            name
        )))
    }

    /// What makes one of an archive: none here would run.
    pub(crate) fn plugin_create(&self, context: &Context) -> Result<Response> {
        let name = context.query.text("name");
        Reference::parse(name).map_err(|error| {
            ApiError::system(format!("failed to parse reference {name}: {error}"))
        })?;
        Err(ApiError::unsupported("docker plugin create"))
    }
}
