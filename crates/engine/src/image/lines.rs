//! The lines that pull and load tell of their progress, between the work and the answer's body.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use clock::{JoinHandle, WaitQueue};
use engine_api::error::Result;
use engine_api::image::progress::{self, Detail};
use engine_api::json;
use futures_util::future::select;
use serve::{Body, Response};

use crate::Engine;

/// Nanoseconds between two lines about the same layer, as in Docker.
const RATE: u64 = 100_000_000;

/// See the module's comment.
#[derive(Default)]
pub(crate) struct Lines {
    queue: RefCell<VecDeque<String>>,
    outcome: RefCell<Option<Result<()>>>,
    wait: WaitQueue,
    /// When something was last told about a layer.
    told: RefCell<BTreeMap<String, (u64, Cow<'static, str>)>>,
}

impl Lines {
    pub(crate) fn push(&self, line: String) {
        self.queue.borrow_mut().push_back(line);
        self.wait.wake_all();
    }

    /// A layer's state; of what changes quickly not every change is told.
    pub(crate) fn layer(
        &self,
        id: &str,
        status: impl Into<Cow<'static, str>>,
        progress: Option<(u64, u64)>,
        now: u64,
    ) {
        let status = status.into();
        let mut told = self.told.borrow_mut();
        let recent = told
            .get(id)
            .is_some_and(|(at, last)| *last == status && now.saturating_sub(*at) < RATE);
        let last = progress.is_some_and(|(current, total)| current == total);
        if recent && !last {
            return;
        }
        told.insert(id.to_string(), (now, status.clone()));
        drop(told);
        let (current, total) = progress.unwrap_or_default();
        self.push(progress::layer(id, &status, Detail { current, total }));
    }

    /// There will be no more.
    pub(crate) fn finish(&self, outcome: Result<()>) {
        *self.outcome.borrow_mut() = Some(outcome);
        self.wait.wake_all();
    }

    /// All lines so far once there are some; `None` when there will be none any more.
    async fn next(&self) -> Option<String> {
        self.wait
            .wait_for(|| {
                let lines: String = self.queue.borrow_mut().drain(..).collect();
                match (lines.is_empty(), self.outcome.borrow().is_some()) {
                    (false, _) => Some(Some(lines)),
                    (true, true) => Some(None),
                    (true, false) => None,
                }
            })
            .await
    }
}

impl Engine {
    /// The answer made of lines; a client that goes away ends the work. An error is the last line; one
    /// before the first line is the answer's status if `refuses`, as for a pull.
    pub(crate) async fn stream(
        &self,
        lines: Rc<Lines>,
        task: JoinHandle<()>,
        refuses: bool,
    ) -> Result<Response> {
        let first = lines.next().await;
        if let (None, true, Some(Err(error))) = (&first, refuses, &*lines.outcome.borrow()) {
            return Err(error.clone());
        }
        let (sender, body) = Body::channel();
        self.os.executor().spawn(async move {
            let sending = async {
                let mut next = first;
                while let Some(text) = next {
                    if sender.send(text).await.is_err() {
                        return;
                    }
                    next = lines.next().await;
                }
                let failure = match &*lines.outcome.borrow() {
                    Some(Err(error)) => Some(progress::error(&error.message)),
                    _ => None,
                };
                if let Some(text) = failure {
                    let _ = sender.send(text).await;
                }
            };
            let gone = sender.closed();
            let (sending, gone) = (std::pin::pin!(sending), std::pin::pin!(gone));
            select(sending, gone).await;
            // Ctrl-C in the client ends the work.
            if sender.is_closed() && !task.is_finished() {
                task.abort();
            }
        });
        Ok(json::response(200, body, Some("application/json")))
    }
}
