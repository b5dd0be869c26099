//! `GET /version`.

use engine_api::error::Result;
use engine_api::{json, version};
use os::{OsExt, View};
use serde_json::json;
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// What `uname -r` says.
    pub(crate) fn kernel_version(&self) -> String {
        let text = self
            .os
            .read_file_now(View::Host, b"/proc/sys/kernel/osrelease")
            .unwrap_or_default();
        String::from_utf8_lossy(&text).trim().to_string()
    }

    /// The operation.
    pub(crate) async fn system_version(&self, _context: Context) -> Result<Response> {
        let kernel = self.kernel_version();
        let (own, api, oldest) = (
            &self.config.version,
            version::NEWEST.to_string(),
            version::OLDEST.to_string(),
        );
        let mut answer = json!({
            "Platform": { "Name": "Drydock Engine" },
            "Components": [{
                "Name": "Engine",
                "Version": own,
                "Details": {
                    "ApiVersion": api,
                    "MinAPIVersion": oldest,
                    "Arch": "riscv64",
                    "BuildTime": "",
                    "Experimental": self.settings.borrow().experimental.to_string(),
                    "GitCommit": "",
                    "GoVersion": "",
                    "KernelVersion": kernel,
                    "Os": "linux",
                },
            }],
            "Version": own,
            "ApiVersion": api,
            "MinAPIVersion": oldest,
            "GitCommit": "",
            "GoVersion": "",
            "Os": "linux",
            "Arch": "riscv64",
            "KernelVersion": kernel,
            "BuildTime": "",
        });
        // Docker says it only when it is so.
        if self.settings.borrow().experimental {
            answer["Experimental"] = true.into();
        }
        Ok(json::emit(200, &answer))
    }
}
