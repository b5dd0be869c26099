//! The LAN: for each instance its cable, which can be pulled, and made bad.

use web_sys::{HtmlInputElement, HtmlSelectElement};
use yew::prelude::*;

use super::{PanelFrame, use_text};
use crate::app::Msg;
use crate::i18n::Message;
use crate::network::{Cable, Knob, PARTS};
use crate::protocol::ToWorker;
use crate::store::{Condition, Instance};

/// Properties of [`LanPanel`].
#[derive(Properties, PartialEq)]
pub struct LanPanelProps {
    /// In the order of the list.
    pub instances: Vec<Instance>,
    /// What the user does.
    pub act: Callback<Msg>,
    /// The panel is to go.
    pub close: Callback<()>,
}

/// See the module's comment.
#[component]
pub fn LanPanel(props: &LanPanelProps) -> Html {
    let text = use_text();
    let set = |name: &str, cable: Cable| {
        let name = name.to_owned();
        Msg::Send(ToWorker::Cable { name, cable })
    };
    let running = |instance: &&Instance| instance.condition == Condition::Running;
    let cables = props.instances.iter().filter(running).map(|instance| {
        let (name, cable) = (instance.name.clone(), instance.cable);
        let plug = {
            let name = name.clone();
            props.act.reform(move |event: Event| {
                let plugged = event.target_unchecked_into::<HtmlInputElement>().checked();
                set(&name, Cable { plugged, ..cable })
            })
        };
        let part = {
            let name = name.clone();
            props.act.reform(move |event: Event| {
                let value = event.target_unchecked_into::<HtmlSelectElement>().value();
                let part = value.parse().unwrap_or_default();
                set(&name, Cable { part, ..cable })
            })
        };
        let parts = (0..PARTS).map(|part| {
            let selected = part == cable.part;
            html! { <option value={part.to_string()} {selected}>{ Cable::part_name(part) }</option> }
        });
        let knobs = Knob::ALL.into_iter().map(|knob| {
            let name = name.clone();
            let turn = props
                .act
                .reform(move |typed: String| set(&name, cable.with(knob, &typed)));
            html! { <KnobField {knob} value={cable.get(knob)} {turn} /> }
        });
        let reset = {
            let name = name.clone();
            props
                .act
                .reform(move |_: MouseEvent| set(&name, Cable::default()))
        };
        html! {
            <fieldset class="cable" key={name.clone()}>
                <legend>{ &instance.name }<small>{ &instance.ip }</small></legend>
                <label class="switch">
                    <input type="checkbox" checked={cable.plugged} onchange={plug} />
                    <span>{ text(Message::LanPlugged) }</span>
                </label>
                <label>
                    <span>{ text(Message::LanPart) }</span>
                    <select onchange={part}>{ for parts }</select>
                </label>
                { for knobs }
                <button disabled={cable == Cable::default()} onclick={reset}>
                    { text(Message::LanReset) }
                </button>
            </fieldset>
        }
    });
    html! {
        <PanelFrame title={text(Message::Lan)} close={props.close.clone()}>
            <div class="body">
                <p class="hint">{ text(Message::LanDetail) }</p>
                { for cables }
            </div>
        </PanelFrame>
    }
}

#[derive(Properties, PartialEq)]
struct KnobFieldProps {
    knob: Knob,
    value: String,
    turn: Callback<String>,
}

/// A knob. What is shown changes with the cable and at no other time: somebody may be typing.
#[component]
fn KnobField(props: &KnobFieldProps) -> Html {
    let text = use_text();
    let node = use_node_ref();
    let show = {
        let node = node.clone();
        move |value: &String| {
            if let Some(field) = node.cast::<HtmlInputElement>() {
                field.set_value(value);
            }
        }
    };
    use_effect_with(props.value.clone(), show.clone());
    let turn = {
        let (turn, value) = (props.turn.clone(), props.value.clone());
        move |event: Event| {
            let typed = event.target_unchecked_into::<HtmlInputElement>().value();
            // What comes of it is shown when it is something else than before.
            show(&value);
            turn.emit(typed);
        }
    };
    html! {
        <label>
            <span>{ text(knob_text(props.knob)) }</span>
            <input
                ref={node}
                type="number"
                min="0"
                max={props.knob.max().to_string()}
                step="any"
                onchange={turn}
            />
            <small>{ props.knob.unit().0 }</small>
        </label>
    }
}

/// What a knob is called.
pub fn knob_text(knob: Knob) -> Message {
    match knob {
        Knob::Delay => Message::LanDelay,
        Knob::Jitter => Message::LanJitter,
        Knob::Loss => Message::LanLoss,
        Knob::Rate => Message::LanRate,
    }
}

/// Properties of [`CableState`].
#[derive(Properties, PartialEq)]
pub struct CableStateProps {
    /// The cable.
    pub cable: Cable,
}

/// What is not as usual with a cable, in a few words; nothing for a good one.
#[component]
pub fn CableState(props: &CableStateProps) -> Html {
    let text = use_text();
    let cable = props.cable;
    let mut words = Vec::new();
    if !cable.plugged {
        words.push(text(Message::LanUnplugged).to_owned());
    }
    if cable.part != 0 {
        let part = Cable::part_name(cable.part);
        words.push(format!("{} {part}", text(Message::LanPart)));
    }
    for knob in Knob::ALL {
        let value = cable.get(knob);
        if value != "0" {
            let (unit, _) = knob.unit();
            words.push(format!("{} {value} {unit}", text(knob_text(knob))));
        }
    }
    let class = classes!("cable-state", (!cable.plugged).then_some("unplugged"));
    html! {
        if !words.is_empty() {
            <span {class}>{ words.join(" · ") }</span>
        }
    }
}
