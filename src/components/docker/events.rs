//! What happened, newest first.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use wasm_bindgen::JsValue;
use yew::prelude::*;

use super::command::Command;
use crate::components::use_text;
use crate::docker::Event;
use crate::i18n::Message;

/// Properties of [`Events`].
#[derive(Properties)]
pub(super) struct EventsProps {
    pub(super) events: Rc<VecDeque<Rc<Event>>>,
}

impl PartialEq for EventsProps {
    fn eq(&self, other: &EventsProps) -> bool {
        // Events are added, never changed: the last says all.
        let last = |props: &EventsProps| props.events.back().cloned();
        self.events.len() == other.events.len() && last(self) == last(other)
    }
}

/// See the module's comment.
#[component]
pub(super) fn Events(props: &EventsProps) -> Html {
    let text = use_text();
    let kind = use_state_eq(|| None::<String>);
    let kinds: BTreeSet<&str> = props
        .events
        .iter()
        .map(|event| event.kind.as_str())
        .collect();
    let choice = |label: String, value: Option<String>| {
        let pressed = *kind == value;
        let choose = {
            let kind = kind.clone();
            move |_: MouseEvent| kind.set(value.clone())
        };
        html! {
            <button key={label.clone()} aria-pressed={pressed.to_string()} onclick={choose}>{ &label }</button>
        }
    };
    let all = choice(text(Message::AllEvents).to_owned(), None);
    let choices = kinds
        .into_iter()
        .map(|name| choice(name.to_owned(), Some(name.to_owned())));
    let events = props.events.iter().rev();
    let events = events.filter(|event| kind.as_ref().is_none_or(|kind| *kind == event.kind));
    let rows = events.map(|event| {
        let key = format!("{}{}{}", event.time_nano, event.action, event.actor.id);
        html! {
            <li {key} class={classes!("event", class(&event.action))}>
                <time>{ time_of_day(event.time_nano) }</time>
                <span class="kind">{ &event.kind }</span>
                <b>{ &event.action }</b>
                <span class="subject">{ event.subject() }</span>
                <small>{ event.attributes() }</small>
            </li>
        }
    });
    let line = match &*kind {
        Some(kind) => format!("docker events --since 1h -f type={kind}"),
        None => "docker events --since 1h".to_owned(),
    };
    html! {
        <>
            <div class="commands">
                <Command {line} />
                <div class="choices" role="group" aria-label={text(Message::FilterEvents)}>
                    { all }{ for choices }
                </div>
            </div>
            if props.events.is_empty() {
                <p class="hint">{ text(Message::NoEvents) }</p>
            }
            <ol class="events" aria-label={text(Message::Events)}>{ for rows }</ol>
        </>
    }
}

/// Beginnings and ends stand out.
fn class(action: &str) -> &'static str {
    match action {
        "start" | "create" | "pull" | "load" | "connect" | "unpause" => "begins",
        "die" | "kill" | "oom" | "destroy" | "delete" | "disconnect" => "ends",
        "health_status: unhealthy" => "ends",
        _ => "",
    }
}

/// The user's own time, to the millisecond.
fn time_of_day(nanos: u64) -> String {
    let ms = nanos / 1_000_000;
    let date = js_sys::Date::new(&JsValue::from_f64(ms as f64));
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        date.get_hours(),
        date.get_minutes(),
        date.get_seconds(),
        ms % 1000
    )
}
