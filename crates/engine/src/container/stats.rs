//! `GET /containers/{id}/stats`.

use engine_api::container::stats::Stats;
use engine_api::error::Result;
use engine_api::{Version, json};
use serve::{Body, Response};

use crate::Engine;
use crate::dispatch::Context;
use crate::stats::{Sample, document};

const SECOND: u64 = 1_000_000_000;

impl Engine {
    /// The operation.
    pub(crate) async fn container_stats(&self, context: Context) -> Result<Response> {
        let container = self.find_container(context.param(0))?;
        let mut wanted = Stats::parse(&context.query);
        wanted.one_shot &= context.version >= Version(1, 41);
        let (sender, body) = Body::channel();
        let engine = self.rc();
        self.os.executor().spawn(async move {
            let mut before = Sample::default();
            let mut first = true;
            loop {
                let now = engine.sample(&container);
                // Without a second sample there is no CPU percentage.
                let skip = first && !wanted.stream && !wanted.one_shot && container.is_running();
                if !skip {
                    let text = document(&container, &now, &before).to_string() + "\n";
                    if sender.send(text).await.is_err() || !wanted.stream {
                        return;
                    }
                }
                if container.removed.get() {
                    return;
                }
                (before, first) = (now, false);
                engine.os.clock().sleep(SECOND).await;
            }
        });
        Ok(json::response(200, body, Some("application/json")))
    }
}
