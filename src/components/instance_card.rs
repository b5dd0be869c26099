//! The card of one instance: name, address, measurements, and what can be done with it.

use web_sys::HtmlInputElement;
use yew::prelude::*;

use super::{Dialog, Icon, use_text};
use crate::app::Msg;
use crate::i18n::Message;
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
        act,
    } = props;
    let chips = address.iter().flat_map(|address| {
        let chip = |&port: &u16| {
            let href = address.emit((instance.ip.clone(), port));
            html! { <a class="port" {href} target="_blank" key={port}>{ port }</a> }
        };
        instance.ports.iter().map(chip)
    });
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
                    class="danger"
                    disabled={deleting}
                    onclick={set(&asking, true).reform(|_: MouseEvent| ())}
                >{ text(if deleting { Message::Deleting } else { Message::Delete }) }</button>
            </div>
            <dl class="measures">
                <div><dt>{ text(Message::Memory) }</dt><dd>{ memory }</dd></div>
                <div><dt>{ text(Message::Cpu) }</dt><dd>{ cpu }</dd></div>
            </dl>
            if *port {
                <Dialog title={text(Message::OpenPort)} close={set(&port, false)}>
                    if let Some(address) = address {
                        <OpenPort ip={instance.ip.clone()} address={address.clone()} />
                    } else {
                        <p>{ text(Message::OpenPortNever) }</p>
                    }
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

/// Properties of [`OpenPort`].
#[derive(Properties, PartialEq)]
struct OpenPortProps {
    ip: String,
    address: PortAddress,
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
    let href = port.map(|port| props.address.emit((props.ip.clone(), port)));
    html! {
        <>
            <p>{ text(Message::OpenPortDetail) }</p>
            <div class="row">
                <label>
                    { text(Message::PortNumber) }{ " " }
                    <input type="number" min="1" max="65535" oninput={typed} autofocus=true />
                </label>
                <a class="button" {href} target="_blank">{ text(Message::Open) }</a>
            </div>
        </>
    }
}
