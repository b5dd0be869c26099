//! The interfaces of an instance, and the packets that go through one of them.

use web_sys::{HtmlElement, HtmlInputElement};
use yew::prelude::*;

use super::{PanelFrame, use_text};
use crate::app::Msg;
use crate::i18n::Message;
use crate::network::{CaptureStep, Interface};
use crate::protocol::ToWorker;
use crate::store::{Capture, Instance};
use crate::units;

/// Properties of [`CapturePanel`].
#[derive(Properties, PartialEq)]
pub struct CapturePanelProps {
    /// The instance.
    pub instance: Instance,
    /// What the user does.
    pub act: Callback<Msg>,
    /// The panel is to go.
    pub close: Callback<()>,
}

/// See the module's comment.
#[component]
pub fn CapturePanel(props: &CapturePanelProps) -> Html {
    let text = use_text();
    let CapturePanelProps {
        instance,
        act,
        close,
    } = props;
    let chosen = use_state(|| None::<u32>);
    let filter = use_state(String::new);
    {
        let act = act.clone();
        use_effect_with(instance.name.clone(), move |name| {
            let watch = |name: &str, on| {
                let name = name.to_owned();
                Msg::Send(ToWorker::Watch { name, on })
            };
            act.emit(watch(name, true));
            let name = name.clone();
            move || act.emit(watch(&name, false))
        });
    }
    let interfaces = &*instance.interfaces;
    // The machine's own way out, until somebody chooses.
    let usual = interfaces.iter().find(|it| it.name == "eth0");
    let link = chosen.or(usual.map(|it| it.link));
    let capture = link.and_then(|link| instance.captures.get(&link));
    let captured = capture.map(|capture| capture.captured).unwrap_or_default();
    let step = |step: CaptureStep| {
        let name = instance.name.clone();
        act.reform(move |_: MouseEvent| {
            let (name, link) = (name.clone(), link.unwrap_or_default());
            Msg::Send(ToWorker::Capture { name, link, step })
        })
    };
    let (start_text, start) = if captured.running {
        (Message::CaptureStop, step(CaptureStep::Stop))
    } else {
        (Message::CaptureStart, step(CaptureStep::Start))
    };
    let rows = interfaces.iter().map(|it| {
        let running = instance.captures.get(&it.link).is_some_and(|c| c.captured.running);
        let choose = {
            let (chosen, link) = (chosen.clone(), it.link);
            move |_: MouseEvent| chosen.set(Some(link))
        };
        html! {
            <li key={it.link}>
                <button
                    class={classes!("interface", (!it.running).then_some("down"))}
                    aria-pressed={(link == Some(it.link)).to_string()}
                    title={it.mac.clone()}
                    onclick={choose}
                >
                    <b>{ name_of(it) }</b>
                    if running {
                        <span class="dot" role="img" aria-label={text(Message::CaptureRunning)} />
                    }
                    <small>{ it.addresses.first().cloned().unwrap_or_default() }</small>
                    <small class="counts">
                        if it.running {
                            { format!("↓{} ↑{}", units::size(it.bytes[0]), units::size(it.bytes[1])) }
                        } else {
                            { text(Message::InterfaceDown) }
                        }
                    </small>
                </button>
            </li>
        }
    });
    let typed = {
        let filter = filter.clone();
        move |event: InputEvent| {
            filter.set(event.target_unchecked_into::<HtmlInputElement>().value());
        }
    };
    let count = |message: Message, number: u64| text(message).replace("{}", &number.to_string());
    html! {
        <PanelFrame
            title={format!("{}: {}", text(Message::CaptureTitle), instance.name)}
            close={close.clone()}
        >
            <ul class="interfaces" aria-label={text(Message::Interfaces)}>{ for rows }</ul>
            <div class="tools">
                <button class="primary" disabled={link.is_none()} onclick={start}>
                    { text(start_text) }
                </button>
                <button disabled={captured.frames == 0} onclick={step(CaptureStep::Save)}>
                    { text(Message::CaptureSave) }
                </button>
                <input
                    type="search"
                    placeholder={text(Message::CaptureFilter)}
                    aria-label={text(Message::CaptureFilter)}
                    oninput={typed}
                />
                <span class="kept">
                    { count(Message::CaptureKept, captured.frames) }
                    { format!(" · {}", units::size(captured.bytes)) }
                    if captured.dropped > 0 {
                        { " · " }{ count(Message::CaptureDropped, captured.dropped) }
                    }
                </span>
            </div>
            if let Some(capture) = capture {
                <Packets capture={capture.clone()} filter={(*filter).clone()} />
            } else {
                <p class="hint">{ text(Message::CaptureDetail) }</p>
            }
        </PanelFrame>
    }
}

fn name_of(interface: &Interface) -> String {
    match &interface.container {
        Some(container) => format!("{container}: {}", interface.name),
        None => interface.name.clone(),
    }
}

#[derive(Properties, PartialEq)]
struct PacketsProps {
    capture: Capture,
    filter: String,
}

/// The newest packets, which stay in sight unless somebody has scrolled up.
#[component]
fn Packets(props: &PacketsProps) -> Html {
    let text = use_text();
    let node = use_node_ref();
    let follows = use_mut_ref(|| true);
    {
        let (node, follows) = (node.clone(), follows.clone());
        let packets = &props.capture.packets;
        let last = packets.back().map(|packet| packet.number);
        use_effect_with(last, move |_| {
            if let Some(list) = node.cast::<HtmlElement>()
                && *follows.borrow()
            {
                list.set_scroll_top(list.scroll_height());
            }
        });
    }
    let on_scroll = move |event: Event| {
        let list = event.target_unchecked_into::<HtmlElement>();
        let rest = list.scroll_height() - list.scroll_top() - list.client_height();
        *follows.borrow_mut() = rest < 30;
    };
    let packets = props.capture.packets.iter();
    let rows = packets
        .filter(|packet| packet.has(&props.filter))
        .map(|packet| {
            let direction = if packet.sent { "↑" } else { "↓" };
            html! {
                <tr key={packet.number} class={packet.protocol.to_ascii_lowercase()}>
                    <td class="number">{ packet.number }</td>
                    <td class="number">{ packet.seconds() }</td>
                    <td>{ direction }</td>
                    <td>{ &packet.source }</td>
                    <td>{ &packet.destination }</td>
                    <td>{ &packet.protocol }</td>
                    <td class="number">{ packet.length }</td>
                    <td class="info">{ &packet.info }</td>
                </tr>
            }
        });
    html! {
        <div
            ref={node}
            class="packets"
            role="region"
            tabindex="0"
            aria-label={text(Message::Packets)}
            onscroll={on_scroll}
        >
            <table>
                <thead>
                    <tr>
                        <th scope="col">{ "#" }</th>
                        <th scope="col">{ text(Message::PacketTime) }</th>
                        <th></th>
                        <th scope="col">{ text(Message::PacketSource) }</th>
                        <th scope="col">{ text(Message::PacketDestination) }</th>
                        <th scope="col">{ text(Message::PacketProtocol) }</th>
                        <th scope="col">{ text(Message::PacketLength) }</th>
                        <th scope="col">{ text(Message::PacketInfo) }</th>
                    </tr>
                </thead>
                <tbody>{ for rows }</tbody>
            </table>
        </div>
    }
}
