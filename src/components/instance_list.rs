//! The list of instances and the button that adds one.

use yew::prelude::*;

use super::{Icon, use_text};
use crate::app::Msg;
use crate::i18n::Message;
use crate::network::Cable;
use crate::store::{Condition, Instance};

/// Properties of [`InstanceList`].
#[derive(Properties, PartialEq)]
pub struct InstanceListProps {
    /// In the order of the list.
    pub instances: Vec<Instance>,
    /// The one whose card is shown.
    pub selected: Option<String>,
    /// Whether one is being made.
    pub creating: bool,
    /// Whether instances can be added.
    pub ready: bool,
    /// What the user does.
    pub act: Callback<Msg>,
}

/// See the module's comment.
#[component]
pub fn InstanceList(props: &InstanceListProps) -> Html {
    let text = use_text();
    let add = props.act.reform(|_: MouseEvent| Msg::Add);
    let label = if props.creating {
        Message::Creating
    } else {
        Message::AddNewInstance
    };
    let items = props.instances.iter().map(|instance| {
        let selected = props.selected.as_ref() == Some(&instance.name);
        let name = instance.name.clone();
        let select = props
            .act
            .reform(move |_: MouseEvent| Msg::Select(name.clone()));
        let crashed = matches!(instance.condition, Condition::Crashed(_));
        html! {
            <li key={instance.name.clone()}>
                <button
                    class={classes!("instance", crashed.then_some("crashed"))}
                    aria-current={selected.then_some("true")}
                    onclick={select}
                >
                    { Icon::Person.html() }
                    <span class="lines">
                        <span class="ip">{ &instance.ip }</span>
                        <span class="hostname">{ &instance.hostname }</span>
                    </span>
                    if !crashed && instance.cable != Cable::default() {
                        <span
                            class={classes!("mark", "cable-mark")}
                            role="img"
                            aria-label={text(if instance.cable.plugged {
                                Message::LanChanged
                            } else {
                                Message::LanUnplugged
                            })}
                        >
                            { if instance.cable.plugged { Icon::Slow } else { Icon::Unplugged }.html() }
                        </span>
                    }
                    if crashed {
                        <span class="mark" role="img" aria-label={text(Message::Crashed)}>
                            { "!" }
                        </span>
                    }
                </button>
            </li>
        }
    });
    html! {
        <>
            <h2>{ text(Message::Instances) }</h2>
            <button class="primary add" disabled={!props.ready || props.creating} onclick={add}>
                <span aria-hidden="true">{ "+ " }</span>{ text(label) }
            </button>
            <ul class="instances">{ for items }</ul>
        </>
    }
}
