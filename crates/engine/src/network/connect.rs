//! `POST /networks/{id}/connect`: one more network for a container, running or not.

use std::rc::Rc;

use engine_api::error::{ApiError, Result};
use engine_api::json;
use engine_api::types::{EndpointSettings, Network, NetworkConnectBody};
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;
use crate::state::Container;

impl Engine {
    /// The operation.
    pub(crate) async fn network_connect(&self, mut context: Context) -> Result<Response> {
        let body: NetworkConnectBody = context.json().await?;
        let container = self.find_container(&body.container);
        let settings = body.endpoint_config.unwrap_or_default();
        let network = match (self.find_network(context.param(0)), &container) {
            (Ok(network), _) => network,
            // What there is not yet may be there when the container starts.
            (Err(_), Ok(container)) if !container.is_running() => {
                return self.connect_later(container, context.param(0), settings);
            }
            (Err(error), _) => return Err(error),
        };
        let container = container?;
        self.check_endpoint(&network.name, &settings)?;
        let _guard = container.lock.take().await;
        check_mode(&container, &network)?;
        let known = container
            .data
            .borrow()
            .networking
            .endpoints_config
            .contains_key(&network.name);
        if known {
            return Err(ApiError::forbidden(format!(
                "endpoint with name {} already exists in network {}",
                container.name(),
                network.name
            )));
        }
        if container.is_running() {
            self.connect_running(&container, &network, &settings)?;
        }
        container.update(&self.os, |data| {
            let all = &mut data.networking.endpoints_config;
            all.insert(network.name.clone(), settings);
        });
        if container.is_running() {
            self.say_network(&container.id, &network.name, "connect");
        }
        Ok(json::response(200, serve::Body::empty(), None))
    }

    fn connect_later(
        &self,
        container: &Container,
        network: &str,
        settings: EndpointSettings,
    ) -> Result<Response> {
        container.update(&self.os, |data| {
            let all = &mut data.networking.endpoints_config;
            all.insert(network.to_string(), settings);
        });
        Ok(json::response(200, serve::Body::empty(), None))
    }

    fn connect_running(
        &self,
        container: &Rc<Container>,
        network: &Network,
        settings: &EndpointSettings,
    ) -> Result<()> {
        let endpoint = self.allocate(container, network, settings)?;
        let task = match &*container.sandbox.borrow() {
            Some(sandbox) => sandbox.task,
            None => None,
        };
        let outcome = match task {
            Some(task) => self
                .plug_endpoint(&endpoint, task)
                .and_then(|()| self.ensure_resolver(container, task)),
            None => Ok(()),
        };
        if let Err(error) = outcome {
            self.drop_endpoint(container, &network.name);
            return Err(error);
        }
        if let Some(address) = &endpoint.address {
            self.add_hosts(container, address);
        }
        self.turn_ways_out(container)
    }

    /// Takes one endpoint away from a running container.
    pub(crate) fn drop_endpoint(&self, container: &Container, network: &str) {
        let (gone, task) = match &mut *container.sandbox.borrow_mut() {
            Some(sandbox) => {
                let endpoints = &mut sandbox.endpoints;
                let at = endpoints.iter().position(|one| one.network == network);
                (at.map(|at| endpoints.remove(at)), sandbox.task)
            }
            None => (None, None),
        };
        if let Some(gone) = gone {
            self.unplug_from(&gone, task);
        }
    }
}

/// A container that has no network of its own, or is meant to have none, gets no other.
pub(crate) fn check_mode(container: &Container, network: &Network) -> Result<()> {
    let data = container.data.borrow();
    let mode = data.host_config.network_mode.as_str();
    let text = match () {
        () if mode.starts_with("container:") => {
            "container sharing network namespace with another container or host cannot be connected to any other \
             network"
        }
        () if mode == "host" || network.name == "host" => {
            "container cannot be disconnected from host network or connected to host network"
        }
        () if network.name == "none" || data.networking.endpoints_config.contains_key("none") => {
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        }
        () => return Ok(()),
    };
    Err(ApiError::invalid(text))
}
