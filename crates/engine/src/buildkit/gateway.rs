//! `moby.buildkit.v1.frontend.LLBBridge`: a client's own frontend asks for parts of its build.
//!
//! `docker buildx build` is one: it asks for what `dockerfile.v0` makes of the Dockerfile, and returns that
//! as the result. Nothing is built until then.

use std::collections::BTreeMap;

use buildkit::messages::{self, FrontendRequest, ReturnRequest};
use buildkit::{Call, Status};

use super::control::check_frontend;
use super::unknown_method;
use crate::Engine;

/// What the gateway can do, by BuildKit's names.
const GATEWAY: &[&str] = &[
    "solve.base",
    "return",
    "returnmap",
    "proto.refarray",
    "gateway.solve.metadata",
    "gateway.solve.evaluate",
    "frontend.caps",
];
/// What can be built. Clients ask for few of these.
const OPERATIONS: &[&str] = &[
    "source.image",
    "source.local",
    "source.local.unique",
    "source.local.sessionid",
    "source.local.includepatterns",
    "source.local.followpaths",
    "source.local.excludepatterns",
    "source.local.sharedkeyhint",
    "exec.meta.base",
    "exec.mount.bind",
    "exec.mount.cache",
    "exec.mount.tmpfs",
    "exec.mount.secret",
    "file.base",
    "constraints",
    "platform",
];

impl Engine {
    /// Answers a call of the service.
    pub(super) async fn gateway(&self, call: &mut Call) -> Result<(), Status> {
        let request = call.request().await?;
        let reference = call
            .metadata("buildkit-controlapi-buildid")
            .unwrap_or_default();
        let build = self.wait_for_build(reference).await?;
        let answer = match call.path.rsplit('/').next().unwrap_or_default() {
            "Ping" => messages::pong(GATEWAY, OPERATIONS, &self.worker()),
            "Return" => {
                build.give_back(ReturnRequest::parse(&request)?);
                buildkit::wire::Message::new()
            }
            "Solve" => {
                let request = FrontendRequest::parse(&request)?;
                if request.has_definition {
                    return Err(Status::unknown(
                        "solving an LLB definition is not supported: only Dockerfiles can be built here",
                    ));
                }
                check_frontend(&request.frontend)?;
                if let Some(what) = request.options.get("requestid") {
                    return Err(Status::unknown(format!("unsupported subrequest {what:?}")));
                }
                let reference = self.os.rng().hex(16);
                build.add_result(reference.clone(), request)?;
                messages::frontend_response(&reference, &BTreeMap::new())
            }
            _ => return Err(unknown_method(call)),
        };
        call.send(&answer.0).await
    }
}
