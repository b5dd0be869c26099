//! `POST /auth`: whether a registry takes a password.

use engine_api::error::{ApiError, Result};
use engine_api::json;
use layers::registry::Credentials;
use oci::DEFAULT_DOMAIN;
use serde_json::json as value;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

/// The registry at an address as clients write it: `https://index.docker.io/v1/`, `localhost:5000`.
fn registry_of(address: &str) -> &str {
    let bare = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"))
        .unwrap_or(address);
    match bare.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" => DEFAULT_DOMAIN,
        host => host,
    }
}

impl Engine {
    /// The operation.
    pub(crate) async fn auth(&self, mut context: Context) -> Result<Response> {
        let credentials: Credentials = context.json().await?;
        let domain = registry_of(&credentials.serveraddress).to_string();
        self.registry
            .login(&domain, &credentials)
            .await
            .map_err(|error| ApiError::system(error.to_string()))?;
        let answer = value!({ "IdentityToken": "", "Status": "Login Succeeded" });
        Ok(json::emit(200, &answer))
    }
}

#[cfg(test)]
mod tests {
    use super::registry_of;

    #[test]
    fn addresses() {
        for (address, registry) in [
            ("", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("localhost:5000", "localhost:5000"),
            ("http://192.168.0.13:5000/v2/", "192.168.0.13:5000"),
        ] {
            assert_eq!(registry_of(address), registry);
        }
    }
}
