//! `GET /containers/{id}/logs`.

use engine_api::container::logs::Logs;
use engine_api::error::{ApiError, Result};
use engine_api::json;
use engine_api::stream::{content_type, frame};
use futures_util::future::select;
use serve::{Body, BodySender, Response};

use crate::Engine;
use crate::dispatch::Context;
use crate::logs::{self, Entry};
use crate::state::Container;

/// Sends entries; false when nobody reads any more.
async fn send(sender: &BodySender, entries: &[Entry], wanted: &Logs, tty: bool) -> bool {
    let mut text = Vec::new();
    for entry in entries {
        let (channel, line) = logs::render(entry, wanted);
        match tty {
            true => text.extend_from_slice(&line),
            false => text.extend_from_slice(&frame(channel, &line)),
        }
    }
    text.is_empty() || sender.send(text).await.is_ok()
}

async fn follow(container: &Container, wanted: &Logs, tty: bool, sender: &BodySender) {
    let mut reader = container.log.reader();
    let past = logs::select(reader.read(), wanted);
    if !send(sender, &past, wanted, tty).await || !wanted.follow {
        return;
    }
    loop {
        // Asked before reading: what is written in between is read the next time round.
        let seen = container.log.written.generation();
        let over = !container.is_running() || container.removed.get();
        let mut fresh = reader.read();
        fresh.retain(|entry| logs::wants(entry, wanted));
        if !send(sender, &fresh, wanted, tty).await || over {
            return;
        }
        let written = container
            .log
            .written
            .wait_for(|| (container.log.written.generation() != seen).then_some(()));
        let ended = container.wait_stopped();
        let gone = sender.closed();
        let (written, ended, gone) = (
            std::pin::pin!(written),
            std::pin::pin!(ended),
            std::pin::pin!(gone),
        );
        select(select(written, ended), gone).await;
        if sender.is_closed() {
            return;
        }
    }
}

impl Engine {
    /// The operation.
    pub(crate) async fn container_logs(&self, context: Context) -> Result<Response> {
        let wanted = Logs::parse(&context.query, self.now())?;
        let container = self.find_container(context.param(0))?;
        if !container.log.is_kept() {
            return Err(ApiError::not_implemented(
                "configured logging driver does not support reading",
            ));
        }
        let tty = container.tty();
        let (sender, body) = Body::channel();
        self.os.executor().spawn(async move {
            follow(&container, &wanted, tty, &sender).await;
        });
        Ok(json::response(
            200,
            body,
            Some(content_type(tty, context.version)),
        ))
    }
}
