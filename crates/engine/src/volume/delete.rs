//! `DELETE /volumes/{name}`.

use engine_api::error::{Class, Result};
use engine_api::json;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation. With force, one that is not there is no error.
    pub(crate) async fn volume_delete(&self, context: Context) -> Result<Response> {
        match self.remove_volume(context.param(0)) {
            Err(error) if error.class == Class::NotFound && context.query.flag("force") => {}
            other => other?,
        }
        Ok(json::no_content())
    }
}
