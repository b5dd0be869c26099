//! Networks: the bridge, who hangs on it, and the ports of the instance that lead there.

use std::rc::Rc;

use yew::prelude::*;

use super::command::{Command, Here};
use crate::app::Msg;
use crate::components::{use_lang, use_text};
use crate::docker::{Attached, Container, Docker, Network, short};
use crate::i18n::Message;
use crate::panels::Content;

/// Properties of [`Networks`].
#[derive(Properties, PartialEq)]
pub(super) struct NetworksProps {
    pub(super) docker: Rc<Docker>,
}

/// See the module's comment.
#[component]
pub(super) fn Networks(props: &NetworksProps) -> Html {
    let text = use_text();
    let Some(networks) = &props.docker.networks else {
        return html! { <p class="hint">{ text(Message::DockerAsking) }</p> };
    };
    // Those with somebody on them first, then as Docker lists them.
    let mut sorted: Vec<&Network> = networks.iter().collect();
    sorted.sort_by_key(|network| (network.containers.is_empty(), network.driver != "bridge"));
    let drawn = sorted.into_iter().map(|network| {
        html! {
            <Drawn key={network.id.clone()} network={network.clone()} docker={props.docker.clone()} />
        }
    });
    html! {
        <>
            <div class="commands">
                <Command line="docker network ls" />
                // Docker's own three, and none of the user's.
                if networks.len() <= 3 {
                    <Command line="docker network create web" />
                }
            </div>
            { for drawn }
        </>
    }
}

#[derive(Properties, PartialEq)]
struct DrawnProps {
    network: Network,
    docker: Rc<Docker>,
}

/// One network: what it is, and a line for each container that hangs on it.
#[component]
fn Drawn(props: &DrawnProps) -> Html {
    let text = use_text();
    let network = &props.network;
    let containers = props.docker.containers.as_ref();
    let range = network.ipam.config.first().cloned().unwrap_or_default();
    let mut attached: Vec<_> = network.containers.iter().collect();
    attached.sort_by_key(|(_, attached)| address(attached));
    let nodes = attached.into_iter().map(|(id, attached)| {
        let container = containers.and_then(|all| all.iter().find(|it| it.id == *id));
        html! {
            <Node
                key={id.clone()}
                network={network.name.clone()}
                attached={attached.clone()}
                container={container.cloned()}
            />
        }
    });
    let note = match network.driver.as_str() {
        "host" => Some(Message::HostNetwork),
        "null" => Some(Message::NoneNetwork),
        _ if network.containers.is_empty() => Some(Message::NobodyAttached),
        _ => None,
    };
    html! {
        <section class="network" aria-label={network.name.clone()}>
            <div class="heading">
                <h4>{ &network.name }<small>{ &network.driver }</small></h4>
                <Command line={format!("docker network inspect {}", network.name)} />
            </div>
            <div class="drawing">
                if let Some(bridge) = network.bridge() {
                    <div class="bridge">
                        <b>{ bridge }</b>
                        <small>{ text(Message::Bridge) }</small>
                        <code>{ &range.subnet }</code>
                        if !range.gateway.is_empty() {
                            <small>{ text(Message::Gateway) }{ " " }<code>{ &range.gateway }</code></small>
                        }
                        if network.internal {
                            <span class="tag">{ text(Message::Internal) }</span>
                        }
                    </div>
                }
                if let Some(note) = note {
                    <p class="hint">{ text(note) }</p>
                }
                <ul class="nodes">{ for nodes }</ul>
            </div>
        </section>
    }
}

/// The address without its prefix, to sort by.
fn address(attached: &Attached) -> Vec<u8> {
    let ip = attached.ipv4_address.split('/').next().unwrap_or_default();
    ip.split('.').filter_map(|part| part.parse().ok()).collect()
}

#[derive(Properties, PartialEq)]
struct NodeProps {
    network: String,
    attached: Attached,
    container: Option<Rc<Container>>,
}

/// A container on a network, and the ports that lead to it from outside.
#[component]
fn Node(props: &NodeProps) -> Html {
    let (text, lang) = (use_text(), use_lang());
    let Some(here) = use_context::<Here>() else {
        return html! {};
    };
    let attached = &props.attached;
    let container = props.container.as_ref();
    let endpoint = container.and_then(|it| it.inspect.networks.get(&props.network));
    let own = container
        .map(|it| short(&it.id).to_owned())
        .unwrap_or_default();
    let aliases = endpoint.iter().flat_map(|it| &it.aliases);
    let aliases: Vec<&str> = aliases
        .map(String::as_str)
        .filter(|alias| *alias != own && *alias != attached.name)
        .collect();
    let ports = container.map(|it| it.published()).unwrap_or_default();
    let ports = ports.into_iter().map(|(public, private)| {
        let content = Content::Port {
            name: here.name.clone(),
            port: public,
            ip: here.ip.clone(),
        };
        let open = here
            .act
            .reform(move |_: MouseEvent| Msg::Show(content.clone()));
        let words = format!("{}:{public} → {private}", here.ip);
        html! {
            <button
                key={words.clone()}
                class="chip"
                title={text(Message::OpenHere)}
                onclick={open}
            >{ &words }</button>
        }
    });
    html! {
        <li class="node">
            <div class="box" title={attached.mac_address.clone()}>
                <b>{ &attached.name }</b>
                <code>{ &attached.ipv4_address }</code>
                if !aliases.is_empty() {
                    <small>{ lang.fill(Message::AlsoCalled, &[&aliases.join(", ")]) }</small>
                }
            </div>
            <div class="out">{ for ports }</div>
        </li>
    }
}
