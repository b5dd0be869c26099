//! `HEAD /_ping` and `GET /_ping`: what clients negotiate the version with.

use engine_api::error::Result;
use engine_api::json;
use http::HeaderValue;
use serve::{Body, Response};

use crate::Engine;

impl Engine {
    /// The operation.
    pub(crate) async fn ping(&self, head: bool) -> Result<Response> {
        let body = if head { "" } else { "OK" };
        let mut response = json::response(200, Body::from(body), Some("text/plain; charset=utf-8"));
        for (name, value) in [
            // BuildKit is what `docker build` means.
            ("builder-version", "2"),
            ("swarm", "inactive"),
            ("cache-control", "no-cache, no-store, must-revalidate"),
            ("pragma", "no-cache"),
        ] {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    }
}
