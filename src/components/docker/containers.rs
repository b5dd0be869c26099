//! Containers: their states, ports, limits and load; one of them in detail.

use std::rc::Rc;

use yew::prelude::*;

use super::command::{Command, Here};
use super::details::DetailsView;
use crate::app::Msg;
use crate::components::{use_lang, use_text};
use crate::docker::{Container, Details, Docker, Load};
use crate::i18n::Message;
use crate::panels::Content;
use crate::units;

/// Properties of [`Containers`].
#[derive(Properties, PartialEq)]
pub(super) struct ContainersProps {
    pub(super) docker: Rc<Docker>,
    /// The id of the one that is shown in detail.
    pub(super) open: Option<String>,
    /// Another one is to be.
    pub(super) choose: Callback<Option<String>>,
}

/// See the module's comment.
#[component]
pub(super) fn Containers(props: &ContainersProps) -> Html {
    let text = use_text();
    let docker = &props.docker;
    let Some(containers) = &docker.containers else {
        return html! { <p class="hint">{ text(Message::DockerAsking) }</p> };
    };
    let rows = containers.iter().map(|container| {
        let open = props.open.as_ref() == Some(&container.id);
        let details = docker
            .details
            .clone()
            .filter(|it| it.inspect.id == container.id);
        html! {
            <Row
                key={container.id.clone()}
                container={container.clone()}
                load={docker.stats.get(&container.id).cloned()}
                {open}
                details={details.filter(|_| open)}
                choose={props.choose.clone()}
            />
        }
    });
    html! {
        <>
            <div class="commands">
                <Command line="docker ps -a" />
                <Command line="docker stats" />
            </div>
            if containers.is_empty() {
                <p class="hint">{ text(Message::NoContainers) }</p>
                <Command line="docker run -d --name web -p 8080:80 nginx" />
            }
            <ul class="containers" aria-label={text(Message::Containers)}>{ for rows }</ul>
        </>
    }
}

#[derive(Properties, PartialEq)]
struct RowProps {
    container: Rc<Container>,
    load: Option<Load>,
    open: bool,
    details: Option<Rc<Details>>,
    choose: Callback<Option<String>>,
}

#[component]
fn Row(props: &RowProps) -> Html {
    let (text, lang) = (use_text(), use_lang());
    let container = &*props.container;
    let choose = {
        let id = (!props.open).then(|| container.id.clone());
        props.choose.reform(move |_: MouseEvent| id.clone())
    };
    let inspect = &container.inspect;
    let running = container.state == "running";
    let failed = container.ended() && inspect.state.exit_code != 0;
    let class = if failed {
        "failed"
    } else {
        state_class(&container.state)
    };
    let health = (running && !inspect.state.health.is_empty()).then(|| {
        let health = inspect.state.health.clone();
        html! { <span class={classes!("tag", health.clone())}>{ health }</span> }
    });
    let policy = container.restart_policy();
    let limits = container.limits();
    html! {
        <li class={classes!("container", class)}>
            <button class="summary" aria-expanded={props.open.to_string()} onclick={choose}>
                <span class="state" aria-hidden="true"></span>
                <b class="name">{ container.name() }</b>
                <span class="image">{ &container.image }</span>
                <span class="since">{ &container.status }</span>
            </button>
            <div class="facts">
                { health }
                if failed {
                    <span class="tag bad">
                        { lang.fill(Message::ExitCode, &[&inspect.state.exit_code.to_string()]) }
                    </span>
                }
                if inspect.state.oom_killed {
                    <span class="tag bad">{ text(Message::OutOfMemory) }</span>
                }
                if inspect.restart_count > 0 {
                    <span class="tag">
                        { lang.fill(Message::Restarts, &[&inspect.restart_count.to_string()]) }
                    </span>
                }
                <Ports container={props.container.clone()} />
                if !limits.is_empty() {
                    <span class="tag" title={text(Message::Limits)}>
                        { text(Message::Limits) }{ " " }{ limits.join(" · ") }
                    </span>
                }
                if !policy.is_empty() {
                    <span class="tag">{ lang.fill(Message::RestartPolicy, &[&policy]) }</span>
                }
            </div>
            if let (true, Some(load)) = (running, &props.load) {
                <Meters load={load.clone()} />
            }
            if !inspect.state.error.is_empty() {
                <p class="error">{ &inspect.state.error }</p>
            }
            if props.open {
                <DetailsView
                    name={container.name().to_owned()}
                    container={props.container.clone()}
                    details={props.details.clone()}
                />
            }
        </li>
    }
}

fn state_class(state: &str) -> &'static str {
    match state {
        "running" => "running",
        "paused" => "paused",
        "restarting" | "removing" => "busy",
        "created" => "created",
        _ => "ended",
    }
}

#[derive(Properties, PartialEq)]
struct PortsProps {
    container: Rc<Container>,
}

/// Published ports; a click opens the page there.
#[component]
fn Ports(props: &PortsProps) -> Html {
    let text = use_text();
    let Some(here) = use_context::<Here>() else {
        return html! {};
    };
    let ports = props.container.published();
    let chips = ports.iter().map(|(public, private)| {
        let content = Content::Port {
            name: here.name.clone(),
            port: *public,
            ip: here.ip.clone(),
        };
        let open = here
            .act
            .reform(move |_: MouseEvent| Msg::Show(content.clone()));
        let words = format!("{public}→{private}");
        html! {
            <button
                key={words.clone()}
                class="chip"
                title={text(Message::OpenHere)}
                aria-label={format!("{}: {words}", text(Message::OpenPort))}
                onclick={open}
            >{ &words }</button>
        }
    });
    html! { <>{ for chips }</> }
}

#[derive(Properties, PartialEq)]
struct MetersProps {
    load: Load,
}

/// What it uses now.
#[component]
fn Meters(props: &MetersProps) -> Html {
    let text = use_text();
    let load = &props.load;
    let cpu = load.cpu as f64 / 100.0;
    let memory = units::share(load.memory, load.limit);
    // A busy processor is no trouble; a container without memory is about to be killed.
    let meter = |label: &'static str, share: f64, scarce: bool, words: String| {
        let width = format!("width: {:.1}%", share.clamp(0.0, 100.0));
        let class = classes!("bar", (scarce && share >= 90.0).then_some("full"));
        html! {
            <div class="meter">
                <span class="label">{ label }</span>
                <span
                    {class}
                    role="meter"
                    aria-label={label}
                    aria-valuenow={format!("{share:.1}")}
                    aria-valuemin="0"
                    aria-valuemax="100"
                    aria-valuetext={words.clone()}
                ><i style={width}></i></span>
                <span class="value">{ words }</span>
            </div>
        }
    };
    html! {
        <div class="meters">
            { meter(text(Message::Cpu), cpu, false, units::percent(cpu)) }
            { meter(
                text(Message::Memory),
                memory,
                true,
                format!("{} / {}", units::size(load.memory), units::size(load.limit)),
            ) }
        </div>
    }
}
