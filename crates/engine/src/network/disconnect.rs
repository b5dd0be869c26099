//! `POST /networks/{id}/disconnect`.

use engine_api::error::{ApiError, Result};
use engine_api::json;
use engine_api::types::NetworkDisconnectBody;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation.
    pub(crate) async fn network_disconnect(&self, mut context: Context) -> Result<Response> {
        let body: NetworkDisconnectBody = context.json().await?;
        let network = self.find_network(context.param(0))?;
        let container = self.find_container(&body.container)?;
        let _guard = container.lock.take().await;
        let name = &network.name;
        let mode = container.data.borrow().host_config.network_mode.clone();
        if name == "host" || mode == "host" {
            return Err(ApiError::invalid(
                "container cannot be disconnected from host network or connected to host network",
            ));
        }
        let known = container.update(&self.os, |data| {
            data.networking.endpoints_config.remove(name).is_some()
        });
        if !known {
            return Err(ApiError::forbidden(format!(
                "container {} is not connected to network {name}",
                container.id
            )));
        }
        if container.is_running() {
            let gone = self.drop_endpoint(&container, name);
            self.rewrite_hosts(&container, gone.as_deref(), None);
            self.turn_way_out(&container)?;
            self.say_network(&container.id, name, "disconnect");
        }
        Ok(json::response(200, serve::Body::empty(), None))
    }
}
