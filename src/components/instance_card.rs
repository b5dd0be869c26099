//! The card of one instance: name, address, measurements, and what can be done with it.

use web_sys::HtmlInputElement;
use yew::prelude::*;

use super::lan_panel::CableState;
use super::{Dialog, Icon, use_text};
use crate::app::Msg;
use crate::i18n::Message;
use crate::panels::{Content, Panels};
use crate::protocol::ToWorker;
use crate::store::{Condition, Instance};
use crate::terminal::Wish;
use crate::units;

/// Properties of [`InstanceCard`].
#[derive(Properties, PartialEq)]
pub struct InstanceCardProps {
    /// The instance.
    pub instance: Instance,
    /// The address of the page of an instance's port; `None` where there can be none.
    pub address: Option<PortAddress>,
    /// What is shown beside the terminal.
    pub panels: Panels,
    /// What the user does.
    pub act: Callback<Msg>,
}

/// From an instance's IP address and a port to the address of its page.
pub type PortAddress = Callback<(String, u16), String>;

/// See the module's comment.
#[component]
pub fn InstanceCard(props: &InstanceCardProps) -> Html {
    let text = use_text();
    let InstanceCardProps {
        instance,
        address,
        panels,
        act,
    } = props;
    let toggle = |content: Content| act.reform(move |_: MouseEvent| Msg::Toggle(content.clone()));
    let shown = |content: &Content| panels.find(content).is_some().to_string();
    let chips = instance.ports.iter().map(|&port| {
        let content = port_of(instance, port);
        let href = address
            .as_ref()
            .map(|address| address.emit((instance.ip.clone(), port)));
        let tab = format!("{port}: {}", text(Message::OpenTab));
        html! {
            <span class="port" key={port}>
                <button
                    aria-pressed={shown(&content)}
                    title={text(Message::OpenHere)}
                    onclick={toggle(content)}
                >{ port }</button>
                if let Some(href) = href {
                    <a {href} target="_blank" aria-label={tab.clone()} title={tab}>
                        { Icon::Out.html() }
                    </a>
                }
            </span>
        }
    });
    let capture = Content::Capture {
        name: instance.name.clone(),
    };
    let docker = Content::Docker {
        name: instance.name.clone(),
    };
    let asking = use_state(|| false);
    let port = use_state(|| false);
    let set = |state: &UseStateHandle<bool>, on: bool| {
        let state = state.clone();
        Callback::from(move |()| state.set(on))
    };
    let deleting = instance.condition == Condition::Deleting;
    let running = instance.condition == Condition::Running;
    let delete = {
        let (act, name, asking) = (act.clone(), instance.name.clone(), asking.clone());
        Callback::from(move |_: MouseEvent| {
            asking.set(false);
            act.emit(Msg::Delete(name.clone()));
        })
    };
    let trace = {
        let (name, on) = (instance.name.clone(), !instance.tracing);
        act.reform(move |_: MouseEvent| Msg::Trace(name.clone(), on))
    };
    let off = instance.condition == Condition::Off;
    let restart = {
        let name = instance.name.clone();
        act.reform(move |_: MouseEvent| Msg::Send(ToWorker::RestartInstance { name: name.clone() }))
    };
    let fullscreen = act.reform(|_: MouseEvent| Msg::Wish(Wish::Fullscreen));
    let (memory, cpu) = match instance.stats {
        Some(stats) => (
            format!(
                "{} ({} / {})",
                units::percent(units::share(stats.mem_used, stats.mem_limit)),
                units::size(stats.mem_used),
                units::size(stats.mem_limit),
            ),
            units::percent(stats.cpu_percent),
        ),
        None => {
            let unknown = text(Message::NotMeasured).to_owned();
            (unknown.clone(), unknown)
        }
    };
    html! {
        <section class="card" aria-label={instance.name.clone()}>
            <div class="line">
                <h2>{ &instance.name }</h2>
                <label class="address">
                    <span>{ "IP" }</span>
                    <input
                        readonly=true
                        value={instance.ip.clone()}
                        size="15"
                        aria-label={text(Message::IpAddress)}
                    />
                </label>
                <button onclick={set(&port, true).reform(|_: MouseEvent| ())} disabled={!running}>
                    { text(Message::OpenPort) }
                </button>
                <span class="ports">{ for chips }</span>
                <button
                    aria-pressed={shown(&docker)}
                    title={text(Message::DockerDetail)}
                    disabled={!running}
                    onclick={toggle(docker)}
                >{ text(Message::Docker) }</button>
                <button
                    aria-pressed={shown(&capture)}
                    disabled={!running}
                    onclick={toggle(capture)}
                >{ text(Message::Capture) }</button>
                <button aria-pressed={shown(&Content::Lan)} onclick={toggle(Content::Lan)}>
                    { text(Message::Lan) }
                </button>
                <button
                    aria-pressed={instance.tracing.to_string()}
                    title={text(Message::TraceDetail)}
                    disabled={!running}
                    onclick={trace}
                >{ text(Message::Trace) }</button>
                <button
                    class="icon"
                    aria-label={text(Message::Fullscreen)}
                    title={format!("{} (Alt+Enter)", text(Message::Fullscreen))}
                    onclick={fullscreen}
                >{ Icon::Fullscreen.html() }</button>
                <button
                    title={text(Message::RestartDetail)}
                    disabled={!running && !off}
                    onclick={restart}
                >{ text(if off { Message::SwitchOn } else { Message::Restart }) }</button>
                <button
                    class="danger"
                    disabled={deleting}
                    onclick={set(&asking, true).reform(|_: MouseEvent| ())}
                >{ text(if deleting { Message::Deleting } else { Message::Delete }) }</button>
            </div>
            <dl class="measures">
                <div><dt>{ text(Message::Memory) }</dt><dd>{ memory }</dd></div>
                <div><dt>{ text(Message::Cpu) }</dt><dd>{ cpu }</dd></div>
                <CableState cable={instance.cable} />
            </dl>
            if *port {
                <Dialog title={text(Message::OpenPort)} close={set(&port, false)}>
                    <OpenPort
                        instance={instance.clone()}
                        address={address.clone()}
                        act={act.clone()}
                        close={set(&port, false)}
                    />
                </Dialog>
            }
            if *asking {
                <Dialog title={text(Message::DeleteQuestion)} close={set(&asking, false)}>
                    <p><b>{ &instance.name }</b>{ " — " }{ text(Message::DeleteDetail) }</p>
                    <div class="buttons">
                        <button onclick={set(&asking, false).reform(|_: MouseEvent| ())}>
                            { text(Message::Cancel) }
                        </button>
                        <button class="danger" onclick={delete}>{ text(Message::Delete) }</button>
                    </div>
                </Dialog>
            }
        </section>
    }
}

fn port_of(instance: &Instance, port: u16) -> Content {
    Content::Port {
        name: instance.name.clone(),
        ip: instance.ip.clone(),
        port,
    }
}

/// Properties of [`OpenPort`].
#[derive(Properties, PartialEq)]
struct OpenPortProps {
    instance: Instance,
    address: Option<PortAddress>,
    act: Callback<Msg>,
    close: Callback<()>,
}

/// Asks for a port that is not among the chips.
#[component]
fn OpenPort(props: &OpenPortProps) -> Html {
    let text = use_text();
    let port = use_state(|| None::<u16>);
    let typed = {
        let port = port.clone();
        Callback::from(move |event: InputEvent| {
            let value = event.target_unchecked_into::<HtmlInputElement>().value();
            port.set(value.parse().ok().filter(|&port| port > 0));
        })
    };
    let content = port.map(|port| port_of(&props.instance, port));
    let here = {
        let (act, close, content) = (props.act.clone(), props.close.clone(), content.clone());
        move |event: SubmitEvent| {
            event.prevent_default();
            if let Some(content) = content.clone() {
                act.emit(Msg::Show(content));
                close.emit(());
            }
        }
    };
    let tab = props.address.as_ref().map(|address| {
        let href = port.map(|port| address.emit((props.instance.ip.clone(), port)));
        html! { <a class="button" {href} target="_blank">{ text(Message::OpenTab) }</a> }
    });
    html! {
        <form onsubmit={here}>
            <p>{ text(Message::OpenPortDetail) }</p>
            if props.address.is_none() {
                <p>{ text(Message::OpenPortDirect) }</p>
            }
            <div class="row">
                <label>
                    { text(Message::PortNumber) }{ " " }
                    <input type="number" min="1" max="65535" oninput={typed} autofocus=true />
                </label>
            </div>
            <div class="buttons">
                { tab }
                <button class="primary" disabled={content.is_none()}>
                    { text(Message::OpenHere) }
                </button>
            </div>
        </form>
    }
}
