//! What an instance's Docker has: containers, images, networks, volumes and what happens to them.
//!
//! Every view shows documents of the Engine API (`crate::docker`) and says the commands that show the same. The
//! worker is told what is looked at, and tells of nothing else.

mod command;
mod containers;
mod details;
mod events;
mod images;
mod networks;
mod volumes;

use std::rc::Rc;

use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, KeyboardEvent};
use yew::prelude::*;

use super::{PanelFrame, use_text};
use crate::app::Msg;
use crate::docker::{Docker, Look, View};
use crate::i18n::Message;
use command::Here;
use containers::Containers;
use events::Events;
use images::Images;
use networks::Networks;
use volumes::Volumes;

/// Properties of [`DockerPanel`].
#[derive(Properties, PartialEq)]
pub struct DockerPanelProps {
    /// The instance.
    pub name: String,
    /// Its address.
    pub ip: String,
    /// Whether it runs.
    pub running: bool,
    /// What is known.
    pub docker: Rc<Docker>,
    /// What the user does.
    pub act: Callback<Msg>,
    /// The panel is to go.
    pub close: Callback<()>,
}

/// See the module's comment.
#[component]
pub fn DockerPanel(props: &DockerPanelProps) -> Html {
    let text = use_text();
    let view = use_state_eq(View::default);
    let open = use_state_eq(|| None::<String>);
    {
        let (act, name) = (props.act.clone(), props.name.clone());
        let look = Look {
            view: *view,
            container: (*open).clone(),
        };
        use_effect_with(look, move |look| {
            act.emit(Msg::Look(name, Some(look.clone())))
        });
    }
    {
        let act = props.act.clone();
        use_effect_with(props.name.clone(), move |name| {
            let name = name.clone();
            move || act.emit(Msg::Look(name, None))
        });
    }
    let here = Here {
        name: props.name.clone(),
        ip: props.ip.clone(),
        act: props.act.clone(),
    };
    let tabs = View::ALL.into_iter().map(|tab| {
        let selected = *view == tab;
        let choose = {
            let view = view.clone();
            move |_: MouseEvent| view.set(tab)
        };
        html! {
            <button
                role="tab"
                aria-selected={selected.to_string()}
                tabindex={if selected { "0" } else { "-1" }}
                onclick={choose}
            >
                { text(title(tab)) }
                if let Some(count) = count(&props.docker, tab) {
                    <small>{ count }</small>
                }
            </button>
        }
    });
    let list = use_node_ref();
    let on_key = {
        let (view, list) = (view.clone(), list.clone());
        move |event: KeyboardEvent| {
            let step = match event.key().as_str() {
                "ArrowLeft" => View::ALL.len() - 1,
                "ArrowRight" => 1,
                _ => return,
            };
            event.prevent_default();
            let at = View::ALL.iter().position(|it| *it == *view).unwrap_or(0);
            let at = (at + step) % View::ALL.len();
            view.set(View::ALL[at]);
            // The tab that is chosen has the keyboard.
            let tabs = list.cast::<HtmlElement>().map(|list| list.children());
            let tab = tabs.and_then(|tabs| tabs.item(at as u32));
            if let Some(Ok(tab)) = tab.map(JsCast::dyn_into::<HtmlElement>) {
                let _ = tab.focus();
            }
        }
    };
    let docker = props.docker.clone();
    let body = match *view {
        _ if !props.running => html! { <p class="hint">{ text(Message::DockerOff) }</p> },
        View::Containers => {
            let (open, act) = (open.clone(), open.clone());
            html! { <Containers {docker} open={(*open).clone()} choose={move |id| act.set(id)} /> }
        }
        View::Images => html! { <Images {docker} /> },
        View::Networks => html! { <Networks {docker} /> },
        View::Volumes => html! { <Volumes {docker} /> },
        View::Events => html! { <Events events={docker.events.clone()} /> },
    };
    html! {
        <PanelFrame title={format!("Docker: {}", props.name)} close={props.close.clone()}>
            <div
                ref={list}
                class="docker-tabs"
                role="tablist"
                aria-label="Docker"
                onkeydown={on_key}
            >
                { for tabs }
            </div>
            <div
                class="docker-view"
                role="tabpanel"
                aria-label={text(title(*view))}
                data-instance={props.name.clone()}
                tabindex="0"
            >
                <ContextProvider<Here> context={here}>{ body }</ContextProvider<Here>>
            </div>
        </PanelFrame>
    }
}

fn title(view: View) -> Message {
    match view {
        View::Containers => Message::Containers,
        View::Images => Message::Images,
        View::Networks => Message::Networks,
        View::Volumes => Message::Volumes,
        View::Events => Message::Events,
    }
}

/// How many there are, once that is known.
fn count(docker: &Docker, view: View) -> Option<usize> {
    match view {
        View::Containers => docker.containers.as_ref().map(|all| all.len()),
        View::Images => docker.images.as_ref().map(|all| all.len()),
        View::Networks => docker.networks.as_ref().map(|all| all.len()),
        View::Volumes => docker.volumes.as_ref().map(|all| all.len()),
        View::Events => None,
    }
}
