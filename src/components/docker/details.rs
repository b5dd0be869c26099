//! A container in detail: what it runs, what it changed of its image, what it wrote.

use std::rc::Rc;

use yew::prelude::*;

use super::command::Command;
use crate::components::{use_lang, use_text};
use crate::docker::stacks::layer_steps;
use crate::docker::{Change, Container, Details, Step, short};
use crate::i18n::{Lang, Message};
use crate::units;

/// Properties of [`DetailsView`].
#[derive(Properties, PartialEq)]
pub(super) struct DetailsViewProps {
    /// The container's name.
    pub(super) name: String,
    pub(super) container: Rc<Container>,
    /// `None` until they are there.
    pub(super) details: Option<Rc<Details>>,
}

/// See the module's comment.
#[component]
pub(super) fn DetailsView(props: &DetailsViewProps) -> Html {
    let (text, lang) = (use_text(), use_lang());
    let Some(details) = &props.details else {
        return html! { <p class="hint">{ text(Message::DockerAsking) }</p> };
    };
    let (name, inspect) = (&props.name, &details.inspect);
    let mounts = inspect.mounts.iter().map(|mount| {
        let from = if mount.name.is_empty() {
            &mount.source
        } else {
            &mount.name
        };
        html! {
            <li key={mount.destination.clone()}>
                <span class="tag">{ &mount.kind }</span>
                <code>{ format!("{from} → {}", mount.destination) }</code>
                if !mount.rw {
                    <span class="tag">{ text(Message::ReadOnly) }</span>
                }
            </li>
        }
    });
    let networks = inspect.networks.iter().map(|(network, endpoint)| {
        // Docker adds the short id of every container.
        let aliases = endpoint
            .aliases
            .iter()
            .filter(|it| short(&inspect.id) != it.as_str());
        let aliases: Vec<&str> = aliases.map(String::as_str).collect();
        html! {
            <li key={network.clone()}>
                <b>{ network }</b>{ " " }<code>{ &endpoint.ip_address }</code>
                if !aliases.is_empty() {
                    <small>{ " " }{ lang.fill(Message::AlsoCalled, &[&aliases.join(", ")]) }</small>
                }
            </li>
        }
    });
    let environment = inspect
        .config
        .env
        .iter()
        .map(|it| html! { <li><code>{ it }</code></li> });
    let steps = layer_steps(&details.layers, &details.history);
    let changes = details.changes.iter();
    let changes = changes.map(|change| change_row(change, &steps, text, lang));
    let more = details.changes_in_all.saturating_sub(details.changes.len());
    let command = [&inspect.path].into_iter().chain(&inspect.args);
    let command: Vec<String> = command.map(|word| quoted(word)).collect();
    let section = |title: Message, line: String, body: Html| {
        html! {
            <section>
                <div class="heading"><h4>{ text(title) }</h4><Command line={line} /></div>
                { body }
            </section>
        }
    };
    html! {
        <div class="details">
            { section(Message::DetailCommand, format!("docker inspect {name}"), html! {
                <p><code>{ command.join(" ") }</code>
                    if !inspect.config.working_dir.is_empty() {
                        <small>{ lang.fill(Message::DetailDirectory, &[&inspect.config.working_dir]) }</small>
                    }
                </p>
            }) }
            { section(Message::DetailChanges, format!("docker diff {name}"), html! {
                <>
                    if details.changes.is_empty() {
                        <p class="hint">{ text(Message::NoChanges) }</p>
                    }
                    <ul class="changes">{ for changes }</ul>
                    if more > 0 {
                        <p class="hint">{ lang.fill(Message::MoreChanges, &[&more.to_string()]) }</p>
                    }
                </>
            }) }
            { section(Message::DetailLogs, format!("docker logs -f {name}"), html! {
                if details.logs.is_empty() {
                    <p class="hint">{ text(Message::NoLogs) }</p>
                } else {
                    <pre class="log" tabindex="0" aria-label={text(Message::DetailLogs)}>{ plain(&details.logs) }</pre>
                }
            }) }
            { section(
                Message::DetailNetworks,
                format!("docker inspect -f '{{{{json .NetworkSettings.Networks}}}}' {name}"),
                html! { <ul>{ for networks }</ul> },
            ) }
            if !inspect.mounts.is_empty() {
                { section(
                    Message::DetailMounts,
                    format!("docker inspect -f '{{{{json .Mounts}}}}' {name}"),
                    html! { <ul>{ for mounts }</ul> },
                ) }
            }
            { section(
                Message::DetailEnvironment,
                format!("docker exec {name} env"),
                html! { <ul>{ for environment }</ul> },
            ) }
        </div>
    }
}

fn change_row(
    change: &Change,
    steps: &[Step],
    text: impl Fn(Message) -> &'static str,
    lang: Lang,
) -> Html {
    let (class, word) = match change.kind {
        0 => ("changed", Message::Changed),
        1 => ("added", Message::Added),
        _ => ("deleted", Message::Deleted),
    };
    let slash = if change.directory { "/" } else { "" };
    let below = change.below.as_ref().map(|below| {
        let layer = match below.layer {
            Some(number) => {
                let step = steps.get(number).map(|step| instruction(&step.created_by));
                let number = (number + 1).to_string();
                lang.fill(Message::LayerOf, &[&number, &step.unwrap_or_default()])
            }
            None => text(Message::LayerOfDocker).to_owned(),
        };
        let message = match (change.kind, below.copied) {
            (_, true) => Message::CopiedUp,
            (0, false) => Message::ReplacedBelow,
            _ => Message::HiddenBelow,
        };
        let words = lang.fill(message, &[&units::size(below.size), &layer]);
        html! { <small class={classes!("below", below.copied.then_some("copied"))}>{ words }</small> }
    });
    html! {
        <li key={change.path.clone()} class={class}>
            <abbr title={text(word)}>{ change.letter() }</abbr>
            <code>{ &change.path }{ slash }</code>
            if let Some(size) = change.size {
                <small>{ units::size(size) }</small>
            }
            { below }
        </li>
    }
}

/// An instruction of a history without what the builder put before it.
pub(super) fn instruction(created_by: &str) -> String {
    let text = created_by.trim_start_matches("/bin/sh -c #(nop)").trim();
    let text = match text.strip_prefix("/bin/sh -c ") {
        Some(run) => format!("RUN {run}"),
        None => text.to_owned(),
    };
    let text = text.trim_end_matches("# buildkit").trim_end();
    match text.char_indices().nth(90) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A log without the escape sequences that mean a terminal.
fn plain(log: &str) -> String {
    let mut text = String::with_capacity(log.len());
    let mut rest = log.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => {
                // A sequence ends with a letter; `[` begins one.
                let _ = rest
                    .by_ref()
                    .skip_while(|&c| c == '[')
                    .find(|&c| !c.is_ascii_digit() && !";?".contains(c));
            }
            '\r' => {}
            c => text.push(c),
        }
    }
    text
}
