//! The card of one instance: name, address, measurements, and what can be done with it.

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
    /// What the user does.
    pub act: Callback<Msg>,
}

/// See the module's comment.
#[component]
pub fn InstanceCard(props: &InstanceCardProps) -> Html {
    let text = use_text();
    let InstanceCardProps { instance, act } = props;
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
                    <p>{ text(Message::OpenPortNotYet) }</p>
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
