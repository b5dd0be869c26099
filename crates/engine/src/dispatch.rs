//! From a request to its operation, and from an operation's outcome to a response.

use std::collections::BTreeMap;
use std::rc::Rc;

use engine_api::error::{ApiError, Result};
use engine_api::stream::content_type;
use engine_api::{Operation, Query, Support, Version, json, routes, version};
use http::header::{CONNECTION, CONTENT_TYPE, SERVER, UPGRADE};
use http::{HeaderMap, HeaderValue};
use layers::registry::Credentials;
use layers::registry::auth::decode;
use serde::de::DeserializeOwned;
use serve::upgrade::{OnUpgrade, on_upgrade};
use serve::{Body, Request, Response};

use crate::{Engine, swarm};

/// What an operation gets.
pub(crate) struct Context {
    pub(crate) version: Version,
    pub(crate) query: Query,
    pub(crate) body: Body,
    params: Vec<String>,
    content_type: Option<String>,
    headers: HeaderMap,
    upgrade: Option<OnUpgrade>,
    /// The client asked for an upgrade by name.
    wants_upgrade: bool,
}

impl Context {
    /// A path parameter; the route table guarantees that it is there.
    pub(crate) fn param(&self, index: usize) -> &str {
        self.params.get(index).map_or("", String::as_str)
    }

    /// The first value of a header field, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All values of a header field.
    pub(crate) fn header_values(&self, name: &str) -> Vec<String> {
        let all = self.headers.get_all(name).iter();
        all.filter_map(|value| value.to_str().ok().map(str::to_string))
            .collect()
    }

    /// Takes the promise of the connection.
    pub(crate) fn take_upgrade(&mut self) -> Result<OnUpgrade> {
        let taken = self.upgrade.take();
        taken.ok_or_else(|| ApiError::invalid("the connection cannot be hijacked"))
    }

    /// The body, which has to say that it is JSON.
    pub(crate) async fn document(&mut self) -> Result<Vec<u8>> {
        let body = std::mem::replace(&mut self.body, Body::empty());
        json::collect(body, self.content_type.as_deref()).await
    }

    /// The body as a value; nothing at all is the default.
    pub(crate) async fn json<T: DeserializeOwned + Default>(&mut self) -> Result<T> {
        json::parse_or_default(&self.document().await?)
    }

    /// Who the client is for a registry (`X-Registry-Auth`); what cannot be read is nobody, as in Docker.
    pub(crate) fn credentials(&self) -> Credentials {
        let given = self.headers.get("x-registry-auth");
        let given = given.and_then(|value| decode(value.to_str().ok()?));
        let read = given.and_then(|text| json::parse(&text).ok());
        read.unwrap_or_default()
    }

    /// Who the client is for several registries (`X-Registry-Config`).
    pub(crate) fn credentials_by_host(&self) -> BTreeMap<String, Credentials> {
        let given = self.headers.get("x-registry-config");
        let given = given.and_then(|value| decode(value.to_str().ok()?));
        let read = given.and_then(|text| json::parse(&text).ok());
        read.unwrap_or_default()
    }

    /// Takes the connection as a WebSocket.
    pub(crate) fn websocket(&mut self) -> Result<(Response, OnUpgrade)> {
        let accept = serve::websocket::accept(&self.headers).zip(self.upgrade.take());
        let (accept, upgrade) =
            accept.ok_or_else(|| ApiError::invalid("not websocket protocol"))?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(http::header::SEC_WEBSOCKET_ACCEPT, accept);
        Ok((response, upgrade))
    }

    /// Takes the connection: the answer to give, and the promise of the stream.
    pub(crate) fn hijack(&mut self, tty: bool) -> Result<(Response, OnUpgrade)> {
        let upgrade = self.upgrade.take().ok_or_else(|| {
            ApiError::invalid(
                "error attaching, invalid argument: the connection cannot be hijacked",
            )
        })?;
        let mut response = Response::new(Body::empty());
        let kind = match self.wants_upgrade {
            true => content_type(tty, self.version),
            false => "application/vnd.docker.raw-stream",
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if self.wants_upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
            *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
        } else {
            response.extensions_mut().insert(serve::h1::server::Hijack);
        }
        Ok((response, upgrade))
    }
}

/// Answers a request.
pub(crate) async fn answer(engine: Rc<Engine>, request: Request) -> Response {
    let outdated = Version::is_outdated(request.uri().path());
    let mut response = match route(&engine, request).await {
        Ok(response) => response,
        // Clients of that age show the body as it is.
        Err(error) if outdated => json::response(
            error.class.status(),
            Body::from(error.message + "\n"),
            Some("text/plain; charset=utf-8"),
        ),
        Err(error) => error.into_response(),
    };
    let server = format!("Docker/{} (linux)", engine.config.version);
    let headers = response.headers_mut();
    for (name, value) in [
        ("api-version", version::NEWEST.to_string()),
        (
            "docker-experimental",
            engine.settings.borrow().experimental.to_string(),
        ),
        ("ostype", "linux".to_string()),
        (SERVER.as_str(), server),
    ] {
        if let (Ok(name), Ok(value)) = (
            http::HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(&value),
        ) {
            headers.insert(name, value);
        }
    }
    response
}

async fn route(engine: &Rc<Engine>, mut request: Request) -> Result<Response> {
    if !engine.wait_up().await {
        return Err(ApiError::unavailable(
            "the daemon of this machine is not running",
        ));
    }
    let upgrade = on_upgrade(&mut request);
    let (head, body) = request.into_parts();
    let (version, path) = Version::split(head.uri.path())?;
    let (route, params) = routes::find(head.method.as_str(), path, version)?;
    if route.support == Support::Experimental && !engine.settings.borrow().experimental {
        return Err(ApiError::not_implemented(
            "This experimental feature is disabled by default. Start the Docker daemon in experimental mode in order \
             to enable it.",
        ));
    }
    let context = Context {
        version,
        query: Query::parse(head.uri.query().unwrap_or_default()),
        body,
        params,
        content_type: head
            .headers
            .get(CONTENT_TYPE)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        upgrade,
        wants_upgrade: head.headers.contains_key(UPGRADE),
        headers: head.headers,
    };
    match route.operation {
        swarm if swarm.of_swarm() => Err(swarm::answer(swarm, context).await?),
        operation => run(engine, operation, context).await,
    }
}

/// The operations that are there, each by the method of its name.
async fn run(engine: &Rc<Engine>, operation: Operation, context: Context) -> Result<Response> {
    match operation {
        Operation::ContainerList => engine.container_list(context).await,
        Operation::ContainerCreate => engine.container_create(context).await,
        Operation::ContainerPrune => engine.container_prune(context).await,
        Operation::ContainerInspect => engine.container_inspect(context).await,
        Operation::CheckpointCreate => engine.checkpoint_create(context).await,
        Operation::CheckpointList => engine.checkpoint_list(&context),
        Operation::CheckpointDelete => engine.checkpoint_delete(&context),
        Operation::ContainerTop => engine.container_top(context).await,
        Operation::ContainerLogs => engine.container_logs(context).await,
        Operation::ContainerChanges => engine.container_changes(context).await,
        Operation::ContainerExport => engine.container_export(context).await,
        Operation::ContainerStats => engine.container_stats(context).await,
        Operation::ContainerResize => engine.container_resize(context).await,
        Operation::ContainerStart => engine.container_start(context).await,
        Operation::ContainerStop => engine.container_stop(context).await,
        Operation::ContainerRestart => engine.container_restart(context).await,
        Operation::ContainerKill => engine.container_kill(context).await,
        Operation::ContainerUpdate => engine.container_update(context).await,
        Operation::ContainerRename => engine.container_rename(context).await,
        Operation::ContainerPause => engine.container_pause(context).await,
        Operation::ContainerUnpause => engine.container_unpause(context).await,
        Operation::ContainerAttach => engine.container_attach(context, false).await,
        Operation::ContainerAttachWebsocket => engine.container_attach(context, true).await,
        Operation::ContainerWait => engine.container_wait(context).await,
        Operation::ContainerDelete => engine.container_delete(context).await,
        Operation::ContainerArchiveInfo => engine.container_archive_info(context).await,
        Operation::ContainerArchiveGet => engine.container_archive_get(context).await,
        Operation::ContainerArchivePut => engine.container_archive_put(context).await,
        Operation::ExecCreate => engine.exec_create(context).await,
        Operation::ExecStart => engine.exec_start(context).await,
        Operation::ExecResize => engine.exec_resize(context).await,
        Operation::ExecInspect => engine.exec_inspect(context).await,
        Operation::ImageList => engine.image_list(context).await,
        Operation::ImageCreate => engine.image_create(context).await,
        Operation::ImageSearch => engine.image_search(context).await,
        Operation::ImagePrune => engine.image_prune(context).await,
        Operation::ImageInspect => engine.image_inspect(context).await,
        Operation::ImageHistory => engine.image_history(context).await,
        Operation::ImagePush => engine.image_push(context).await,
        Operation::DistributionInspect => engine.distribution_inspect(context).await,
        Operation::Auth => engine.auth(context).await,
        Operation::ImageTag => engine.image_tag(context).await,
        Operation::ImageCommit => engine.image_commit(context).await,
        Operation::ImageSave => engine.image_save(context).await,
        Operation::ImageSaveMany => engine.image_save_many(context).await,
        Operation::ImageLoad => engine.image_load(context).await,
        Operation::ImageDelete => engine.image_delete(context).await,
        Operation::Session => engine.session(context).await,
        Operation::Grpc => engine.grpc(context).await,
        Operation::NetworkList => engine.network_list(context).await,
        Operation::NetworkCreate => engine.network_create(context).await,
        Operation::NetworkConnect => engine.network_connect(context).await,
        Operation::NetworkDisconnect => engine.network_disconnect(context).await,
        Operation::NetworkInspect => engine.network_inspect(context).await,
        Operation::NetworkPrune => engine.network_prune(context).await,
        Operation::ImageBuild => engine.image_build(context).await,
        Operation::BuildCancel => engine.build_cancel(context).await,
        Operation::BuildPrune => engine.build_prune(context).await,
        Operation::NetworkDelete => engine.network_delete(context).await,
        Operation::VolumeList => engine.volume_list(context).await,
        Operation::VolumeCreate => engine.volume_create(context).await,
        Operation::VolumePrune => engine.volume_prune(context).await,
        Operation::VolumeInspect => engine.volume_inspect(context).await,
        Operation::VolumeDelete => engine.volume_delete(context).await,
        Operation::Ping => engine.ping(false).await,
        Operation::PingHead => engine.ping(true).await,
        Operation::SystemVersion => engine.system_version(context).await,
        Operation::SystemInfo => engine.system_info(context).await,
        Operation::SystemEvents => engine.system_events(context).await,
        Operation::SystemDiskUsage => engine.system_disk_usage(context).await,
        Operation::VolumeUpdate => Err(ApiError::unavailable(
            "volume update only valid for cluster volumes, but swarm is unavailable",
        )),
        Operation::PluginList => engine.plugin_list(&context),
        Operation::PluginCreate => engine.plugin_create(&context),
        Operation::PluginPrivileges | Operation::PluginPull => engine.plugin_pull(context).await,
        Operation::PluginInspect
        | Operation::PluginEnable
        | Operation::PluginDisable
        | Operation::PluginPush
        | Operation::PluginUpgrade
        | Operation::PluginSet
        | Operation::PluginDelete => engine.plugin_change(operation, context).await,
        other => Err(ApiError::unsupported(format!("{other:?}"))),
    }
}
