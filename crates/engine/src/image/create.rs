//! `POST /images/create`: pull.
//!
//! What happens is told line by line. An error before the first line is the answer's status, one after
//! it is the last line, as in Docker.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use clock::WaitQueue;
use engine_api::error::{ApiError, Result};
use engine_api::image::create::Pull;
use engine_api::image::progress::{self, Detail};
use engine_api::json;
use futures_util::future::select;
use layers::registry::RegistryError;
use layers::{PullError, PullEvent};
use oci::{Platform, Reference};
use serve::{Body, Response};

use crate::Engine;
use crate::dispatch::Context;

/// Nanoseconds between two lines about the same download, as in Docker.
const RATE: u64 = 100_000_000;

/// Lines between the pull and the answer's body.
#[derive(Default)]
struct Lines {
    queue: RefCell<VecDeque<String>>,
    outcome: RefCell<Option<std::result::Result<(), PullError>>>,
    wait: WaitQueue,
    /// When something was last told about a layer.
    told: RefCell<std::collections::BTreeMap<String, (u64, &'static str)>>,
}

impl Lines {
    fn push(&self, line: String) {
        self.queue.borrow_mut().push_back(line);
        self.wait.wake_all();
    }

    fn event(&self, event: PullEvent, now: u64) {
        match event {
            PullEvent::PullingFrom { tag, name } => {
                self.push(progress::status(
                    Some(&tag),
                    &format!("Pulling from {name}"),
                ));
            }
            PullEvent::Layer {
                id,
                status,
                progress,
            } => {
                let mut told = self.told.borrow_mut();
                let recent = told
                    .get(&id)
                    .is_some_and(|&(at, last)| last == status && now.saturating_sub(at) < RATE);
                let last = progress.is_some_and(|(current, total)| current == total);
                if recent && !last {
                    return;
                }
                told.insert(id.clone(), (now, status));
                drop(told);
                let (current, total) = progress.unwrap_or_default();
                self.push(progress::layer(&id, status, Detail { current, total }));
            }
        }
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

/// The class of a pull's error.
fn pull_error(error: &PullError) -> ApiError {
    let text = error.to_string();
    match error {
        PullError::Registry(RegistryError::ManifestUnknown(_) | RegistryError::Denied(_))
        | PullError::NoMatchingManifest(_) => ApiError::not_found(text),
        _ => ApiError::system(text),
    }
}

impl Engine {
    /// Pulls a reference; one without tag and digest stands for all tags of its repository.
    async fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        lines: &Lines,
    ) -> std::result::Result<(), PullError> {
        let clock = self.os.clock();
        let tell = |event: PullEvent| lines.event(event, clock.now().0);
        let wanted = match reference.tag().is_some() || reference.digest().is_some() {
            true => vec![reference.clone()],
            false => self
                .registry
                .tags(reference)
                .await?
                .iter()
                .filter_map(|tag| reference.clone().with_tag(tag).ok())
                .collect(),
        };
        let mut newer = false;
        for reference in &wanted {
            let pulled = self
                .store
                .pull(&self.registry, reference, platform, &tell)
                .await?;
            newer |= pulled.newer;
            let digest = format!("Digest: {}", pulled.digest);
            lines.push(progress::status(None, &digest));
        }
        let shown = reference.familiar();
        self.image_event("pull", &shown, &reference.familiar_name());
        let news = match newer {
            true => "Downloaded newer image for",
            false => "Image is up to date for",
        };
        lines.push(progress::status(None, &format!("Status: {news} {shown}")));
        Ok(())
    }

    /// The operation.
    pub(crate) async fn image_create(&self, context: Context) -> Result<Response> {
        let pull = Pull::parse(&context.query)?;
        let platform = match pull.platform.as_str() {
            "" => Platform::host(),
            text => Platform::parse(text).ok_or_else(|| {
                ApiError::invalid(format!(
                    "\"{text}\": unknown operating system or architecture: invalid argument"
                ))
            })?,
        };
        let lines = Rc::new(Lines::default());
        let (engine, own) = (self.rc(), Rc::clone(&lines));
        let task = self.os.executor().spawn(async move {
            let outcome = engine.pull(&pull.reference, &platform, &own).await;
            *own.outcome.borrow_mut() = Some(outcome);
            own.wait.wake_all();
        });
        let first = lines.next().await;
        if let (None, Some(Err(error))) = (&first, &*lines.outcome.borrow()) {
            return Err(pull_error(error));
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
                    Some(Err(error)) => Some(progress::error(&error.to_string())),
                    _ => None,
                };
                if let Some(text) = failure {
                    let _ = sender.send(text).await;
                }
            };
            let gone = sender.closed();
            let (sending, gone) = (std::pin::pin!(sending), std::pin::pin!(gone));
            select(sending, gone).await;
            // Ctrl-C in the client ends the pull.
            if sender.is_closed() && !task.is_finished() {
                task.abort();
            }
        });
        Ok(json::response(200, body, Some("application/json")))
    }
}
