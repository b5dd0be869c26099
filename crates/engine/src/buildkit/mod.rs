//! BuildKit: what `docker build` and `docker buildx build` speak, over `POST /grpc` and `POST /session`.
//!
//! Both become HTTP/2. In the first the client calls ([`control`], [`gateway`]); the second is turned
//! round: there the daemon calls, and asks the client for files, secrets and passwords (crate `buildkit`).
//! A [`Build`] is what the client's concurrent calls about one build have in common.

mod build;
mod control;
mod dockerfile;
mod export;
mod gateway;
mod source;
mod ssh;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};

use buildkit::{Call, Session, Status};
use clock::{NANOS_PER_SEC, WaitQueue};
use engine_api::error::{ApiError, Result};
use futures_util::future::{Either, select};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, StatusCode};
use serve::h2::{Connection, Limits};
use serve::upgrade::OnUpgrade;
use serve::{Body, Response};

use crate::Engine;
use crate::dispatch::Context;
pub(crate) use build::Build;

/// Sessions at a time: a client has one per build.
const SESSIONS_MAX: usize = 256;
/// How long a build waits for its session, as BuildKit does.
const SESSION_WAIT: u64 = 5 * NANOS_PER_SEC;

/// What the engine keeps for BuildKit's clients.
#[derive(Default)]
pub(crate) struct State {
    /// By id. Who is connected keeps them.
    sessions: RefCell<BTreeMap<String, Rc<Session>>>,
    sessions_changed: WaitQueue,
    /// By reference. The calls about a build keep it.
    builds: RefCell<BTreeMap<String, Weak<Build>>>,
    builds_changed: WaitQueue,
    /// Directories of contexts that builds are using.
    contexts: RefCell<BTreeSet<String>>,
}

impl State {
    /// Whether a build is using the directory of a context.
    pub(crate) fn in_use(&self, directory: &str) -> bool {
        self.contexts.borrow().contains(directory)
    }
}

impl Engine {
    /// Takes the connection for HTTP/2.
    fn h2c(&self, context: &mut Context) -> Result<(Response, OnUpgrade)> {
        let proto = context.header(UPGRADE.as_str()).unwrap_or_default();
        if proto != "h2c" {
            return Err(ApiError::invalid(match proto {
                "" => "no upgrade proto in request".to_string(),
                proto => format!("protocol {proto} not supported"),
            }));
        }
        let upgrade = context.take_upgrade()?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("h2c"));
        Ok((response, upgrade))
    }

    /// `POST /grpc`: the client calls.
    pub(crate) async fn grpc(&self, mut context: Context) -> Result<Response> {
        let (response, upgrade) = self.h2c(&mut context)?;
        let engine = self.rc();
        let executor = self.os.executor();
        executor.clone().spawn(async move {
            let Ok(io) = upgrade.stream().await else {
                return;
            };
            let (connection, run) = Connection::server(io, Limits::default());
            executor.spawn(run);
            while let Some(stream) = connection.accept().await {
                let engine = Rc::clone(&engine);
                executor.spawn(async move {
                    if let Ok(call) = Call::accept(stream).await {
                        engine.answer_call(call).await;
                    }
                });
            }
        });
        Ok(response)
    }

    /// Answers one call. A caller that gives it up ends whatever it began.
    async fn answer_call(self: Rc<Engine>, mut call: Call) {
        let outcome = match call.path.split('/').nth(1) {
            Some("moby.buildkit.v1.Control") => self.control(&mut call).await,
            Some("moby.buildkit.v1.frontend.LLBBridge") => self.gateway(&mut call).await,
            Some("grpc.health.v1.Health") => call.send(&[8, 1]).await,
            Some(service) => Err(Status::new(
                buildkit::grpc::code::UNIMPLEMENTED,
                format!("unknown service {service}"),
            )),
            None => Err(unknown_method(&call)),
        };
        call.finish(&outcome);
    }

    /// `POST /session`: the daemon calls.
    pub(crate) async fn session(&self, mut context: Context) -> Result<Response> {
        let header = |name: &str| {
            let name = format!("x-docker-expose-session-{name}");
            context.header(&name).unwrap_or_default().to_string()
        };
        let (id, shared_key) = (header("uuid"), header("sharedkey"));
        let methods = context.header_values("x-docker-expose-session-grpc-method");
        if id.is_empty() {
            return Err(ApiError::invalid("no session id in request"));
        }
        let known = self.buildkit.sessions.borrow();
        if known.contains_key(&id) {
            return Err(ApiError::conflict(format!("session {id} already exists")));
        }
        if known.len() >= SESSIONS_MAX {
            return Err(ApiError::unavailable("too many sessions"));
        }
        drop(known);
        let (response, upgrade) = self.h2c(&mut context)?;
        let engine = self.rc();
        let executor = self.os.executor();
        executor.clone().spawn(async move {
            let Ok(io) = upgrade.stream().await else {
                return;
            };
            let (connection, run) = Connection::client(io, Limits::default());
            executor.spawn(run);
            let methods = methods.iter().map(String::as_str);
            let session = Session::new(id.clone(), shared_key, methods, connection);
            let session = Rc::new(session);
            let state = &engine.buildkit;
            state
                .sessions
                .borrow_mut()
                .insert(id.clone(), Rc::clone(&session));
            state.sessions_changed.wake_all();
            session.closed().await;
            state.sessions.borrow_mut().remove(&id);
        });
        Ok(response)
    }

    /// The session with an id; it may be about to come.
    async fn wait_for_session(&self, id: &str) -> std::result::Result<Rc<Session>, Status> {
        let state = &self.buildkit;
        let found = || state.sessions.borrow().get(id).cloned();
        let found = std::pin::pin!(state.sessions_changed.wait_for(found));
        let clock = self.os.clock();
        let until = clock.now().plus(SESSION_WAIT);
        match select(found, std::pin::pin!(clock.sleep_until(until))).await {
            Either::Left((session, _)) => Ok(session),
            Either::Right(_) => Err(Status::unknown(format!(
                "no active session for {id}: context deadline exceeded"
            ))),
        }
    }
}

fn unknown_method(call: &Call) -> Status {
    let path = &call.path;
    Status::new(
        buildkit::grpc::code::UNIMPLEMENTED,
        format!("unknown method {path}"),
    )
}
