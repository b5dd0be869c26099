//! `GET /events`.

use crate::Filters;
use crate::error::{ApiError, Result};
use crate::query::Query;
use crate::timestamp;
use crate::types::Event;

/// The parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    /// Past ones from this time (nanoseconds since 1970).
    pub since: Option<u64>,
    /// Until this time.
    pub until: Option<u64>,
    /// Only these.
    pub filters: Filters,
}

impl Events {
    /// Parses; `now` is nanoseconds since 1970.
    pub fn parse(query: &Query, now: u64) -> Result<Events> {
        let time = |name| timestamp::parse(query.text(name), now).map_err(ApiError::invalid);
        let (since, until) = (time("since")?, time("until")?);
        if since.zip(until).is_some_and(|(since, until)| since > until) {
            return Err(ApiError::invalid(format!(
                "`since` time ({}) cannot be after `until` time ({})",
                query.text("since"),
                query.text("until")
            )));
        }
        Ok(Events {
            since,
            until,
            filters: Filters::parse(query.text("filters"))?,
        })
    }

    /// Whether an event is wanted.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        let filters = &self.filters;
        let attributes = &event.actor.attributes;
        let by_noun = |noun: &str, own_name: &str| {
            filters.any(noun, |value| {
                event.kind == noun
                    && (event.actor.id == value
                        || event.actor.id.starts_with(value)
                        || attributes.get("name").is_some_and(|name| name == value)
                        || own_name == value)
            })
        };
        let image = attributes.get("image").map_or("", String::as_str);
        let action = event.action.split(':').next().unwrap_or_default();
        filters.exact("type", &event.kind)
            && filters.exact("scope", &event.scope)
            && filters.any("event", |value| value == event.action || value == action)
            && by_noun("container", "")
            && by_noun("volume", "")
            && by_noun("network", "")
            && filters.any("image", |value| {
                let name = if event.kind == "image" {
                    event.actor.id.as_str()
                } else {
                    image
                };
                name == value || name.split(':').next() == Some(value)
            })
            && filters.labels(attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Actor;

    #[test]
    fn filters_choose() {
        let event = Event {
            kind: "container".to_string(),
            action: "start".to_string(),
            scope: "local".to_string(),
            actor: Actor {
                id: "abcdef".to_string(),
                attributes: [("name", "web"), ("image", "busybox:1"), ("x", "y")]
                    .map(|(name, value)| (name.to_string(), value.to_string()))
                    .into(),
            },
            ..Event::default()
        };
        for (filters, expected) in [
            ("", true),
            (r#"{"type":["container"]}"#, true),
            (r#"{"type":["image"]}"#, false),
            (r#"{"event":["start","stop"],"container":["web"]}"#, true),
            (r#"{"container":["abc"]}"#, true),
            (r#"{"container":["other"]}"#, false),
            (r#"{"image":["busybox"]}"#, true),
            (r#"{"label":["x=y"]}"#, true),
            (r#"{"label":["x=z"]}"#, false),
        ] {
            let events = Events {
                since: None,
                until: None,
                filters: Filters::parse(filters).unwrap(),
            };
            assert_eq!(events.wants(&event), expected, "{filters}");
        }
    }
}
