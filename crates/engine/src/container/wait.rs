//! `POST /containers/{id}/wait`: headers at once, the exit code when it is known.

use std::rc::Rc;

use engine_api::container::wait::Condition;
use engine_api::error::Result;
use engine_api::json;
use engine_api::types::WaitResponse;
use serve::{Body, Response};

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation. What is waited for is fixed now, before the answer is read: a client starts the
    /// container as soon as it has the headers.
    pub(crate) async fn container_wait(&self, context: Context) -> Result<Response> {
        let condition = Condition::parse(&context.query)?;
        let container = self.find_container(context.param(0))?;
        let exits = container.exits.get();
        let (sender, body) = Body::channel();
        self.os.executor().spawn(async move {
            let own = Rc::clone(&container);
            let ended = container.changed.wait_for(|| {
                let over = match condition {
                    Condition::NotRunning => !own.is_running() || own.removed.get(),
                    Condition::NextExit => own.exits.get() > exits || own.removed.get(),
                    Condition::Removed => own.removed.get(),
                };
                over.then_some(())
            });
            let gone = sender.closed();
            let (ended, gone) = (std::pin::pin!(ended), std::pin::pin!(gone));
            futures_util::future::select(ended, gone).await;
            let answer = WaitResponse {
                status_code: container.exit_code(),
                error: None,
            };
            let text = serde_json::to_string(&answer).unwrap_or_default() + "\n";
            let _ = sender.send(text).await;
        });
        Ok(json::response(200, body, Some("application/json")))
    }
}
