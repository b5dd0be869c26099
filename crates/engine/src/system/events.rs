//! `GET /events`.

use engine_api::error::Result;
use engine_api::json;
use engine_api::system::events::Events;
use engine_api::types::Event;
use futures_util::future::select;
use serve::{Body, Response};

use crate::Engine;
use crate::dispatch::Context;

fn lines<'a>(events: impl Iterator<Item = &'a Event>) -> String {
    events
        .map(|event| serde_json::to_string(event).unwrap_or_default() + "\n")
        .collect()
}

impl Engine {
    /// The operation: past events from `since` (or up to `until`), then new ones until `until`.
    pub(crate) async fn system_events(&self, context: Context) -> Result<Response> {
        let wanted = Events::parse(&context.query, self.now())?;
        let engine = self.rc();
        let (sender, body) = Body::channel();
        let mut next = self.events.next();
        let since = wanted.since.or(wanted.until.map(|_| 0));
        let past: Vec<Event> = match since {
            Some(since) => self
                .events
                .since(0)
                .into_iter()
                .filter(|event| event.time_nano >= since)
                .filter(|event| wanted.until.is_none_or(|until| event.time_nano <= until))
                .filter(|event| wanted.wants(event))
                .collect(),
            None => Vec::new(),
        };
        self.os.executor().spawn(async move {
            if sender.send(lines(past.iter())).await.is_err() {
                return;
            }
            let clock = engine.os.clock();
            loop {
                let left = wanted.until.map(|until| until.saturating_sub(engine.now()));
                if left == Some(0) || sender.is_closed() {
                    return;
                }
                let fresh = engine.events.wait_past(next);
                let gone = sender.closed();
                let over = clock.sleep(left.unwrap_or(u64::MAX));
                let (fresh, gone, over) = (
                    std::pin::pin!(fresh),
                    std::pin::pin!(gone),
                    std::pin::pin!(over),
                );
                select(fresh, select(gone, over)).await;
                let events = engine.events.since(next);
                next = engine.events.next();
                let text = lines(events.iter().filter(|event| wanted.wants(event)));
                if sender.send(text).await.is_err() {
                    return;
                }
            }
        });
        Ok(json::response(200, body, Some("application/json")))
    }
}
