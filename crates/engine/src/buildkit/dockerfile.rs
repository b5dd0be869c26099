//! `dockerfile.v0`: a Dockerfile of the client's becomes an image.

use std::collections::BTreeMap;
use std::rc::Rc;

use buildkit::Status;
use buildkit::messages::FrontendRequest;

use super::Build;
use crate::Engine;

impl Engine {
    /// Builds; gives what the exporter has to say.
    pub(super) async fn build_dockerfile(
        &self,
        build: Rc<Build>,
        _wanted: FrontendRequest,
    ) -> Result<BTreeMap<String, String>, Status> {
        self.wait_for_session(&build.request.session).await?;
        Err(Status::unknown(
            "Dockerfiles are built by the classic builder only",
        ))
    }
}
