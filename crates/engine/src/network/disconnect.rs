//! `POST /networks/{id}/disconnect`.

use engine_api::error::{ApiError, Result};
use engine_api::json;
use engine_api::types::NetworkDisconnectBody;
use serve::Response;

use super::is_built_in;
use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation.
    pub(crate) async fn network_disconnect(&self, mut context: Context) -> Result<Response> {
        let body: NetworkDisconnectBody = context.json().await?;
        let network = self.find_network(context.param(0))?;
        let container = match self.find_container(&body.container) {
            Err(_) if body.force => {
                return Err(ApiError::not_found(format!(
                    "endpoint {} not found",
                    body.container
                )));
            }
            found => found?,
        };
        let _guard = container.lock.take().await;
        let name = &network.name;
        let mode = container.data.borrow().host_config.network_mode.clone();
        if name == "host" || mode == "host" {
            return Err(ApiError::invalid(
                "container cannot be disconnected from host network or connected to host network",
            ));
        }
        let names = {
            let data = container.data.borrow();
            let settings = data.networking.endpoints_config.get(name);
            let names = settings.map(|settings| self.dns_names(&container.id, &data, settings));
            let mut names = names.unwrap_or_default();
            names.retain(|known| *known != data.name);
            names
        };
        let known = container.update(&self.os, |data| {
            data.networking.endpoints_config.remove(name).is_some()
        });
        if !known {
            let the = if container.is_running() { "" } else { "the " };
            return Err(ApiError::forbidden(format!(
                "container {} is not connected to {the}network {name}",
                container.id
            )));
        }
        if container.is_running() {
            self.drop_endpoint(&container, name);
            if !is_built_in(name) {
                self.remove_hosts(&container, &names);
            }
            self.turn_ways_out(&container)?;
            self.say_network(&container.id, name, "disconnect");
        }
        Ok(json::response(200, serve::Body::empty(), None))
    }
}
